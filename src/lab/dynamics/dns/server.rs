//! The authoritative DNS server on UDP and TCP. TTLs on the wire are cloud seconds: 60 means 60 s of the cloud's
//! clock. Serves addresses, SOA and NS; takes the client's Region from EDNS client subnet, else from its address.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Edns, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use hickory_proto::rr::rdata::{A, NS, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use tokio::net::{TcpListener, UdpSocket};

use super::answer::{Answer, Resolution, resolve};
use crate::lab::Lab;
use crate::lab::world::World;

/// How long an idle TCP connection to the server lives, real time.
const TCP_IDLE: Duration = Duration::from_secs(30);
/// TTL of SOA and NS, and of the absence of a name.
const NEGATIVE_TTL_S: u32 = 60;
/// How often another port is tried when a free UDP port is taken on TCP.
const PORT_ATTEMPTS: usize = 32;
/// Largest UDP answer, the size that survives unfragmented.
const PAYLOAD: u16 = 1232;

/// The bound sockets of the server, both on one port.
#[derive(Debug)]
pub struct Sockets {
    udp: UdpSocket,
    tcp: TcpListener,
}

impl Sockets {
    /// Where it answers.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.udp.local_addr()
    }
}

/// Binds UDP and TCP to one port, any free one for port 0.
pub async fn bind(address: SocketAddr) -> io::Result<Sockets> {
    let mut attempts = PORT_ATTEMPTS;
    loop {
        let udp = UdpSocket::bind(address).await?;
        attempts -= 1;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok(Sockets { udp, tcp }),
            Err(error) if address.port() != 0 || attempts == 0 => return Err(error),
            Err(_) => {}
        }
    }
}

/// Serves the lab's names until the task is dropped.
pub fn serve(lab: &Arc<Lab>, sockets: Sockets) {
    let mut server = Server::new(Handler { lab: lab.clone() });
    server.register_socket(sockets.udp);
    server.register_listener(sockets.tcp, TCP_IDLE, 64);
    tokio::spawn(async move {
        // It ends only when its sockets fail, and then nobody is left to tell.
        let _ = server.block_until_done().await;
    });
}

struct Handler {
    lab: Arc<Lab>,
}

/// What goes into the sections of a response.
#[derive(Default)]
struct Sections {
    code: Option<ResponseCode>,
    answers: Vec<Record>,
    soa: Vec<Record>,
}

impl RequestHandler for Handler {
    // Written out because the trait is an `async_trait`, a macro that this crate does not otherwise need.
    fn handle_request<'s, 'r, 'f, R, T>(
        &'s self,
        request: &'r Request,
        response: R,
    ) -> Pin<Box<dyn Future<Output = ResponseInfo> + Send + 'f>>
    where
        R: ResponseHandler + 'f,
        T: Time + 'f,
        's: 'f,
        'r: 'f,
        Self: 'f,
    {
        Box::pin(self.respond(request, response))
    }
}

impl Handler {
    async fn respond<R: ResponseHandler>(&self, request: &Request, mut response: R) -> ResponseInfo {
        let subnet = client_subnet(request);
        let sections = self.sections(request, subnet.as_ref());
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.authoritative = sections.code != Some(ResponseCode::Refused);
        metadata.response_code = sections.code.unwrap_or(ResponseCode::NoError);
        let edns = request.edns.as_ref().map(|_| reply_edns(subnet));
        let mut builder = MessageResponseBuilder::from_message_request(request);
        if let Some(edns) = &edns {
            builder.edns(edns);
        }
        let no_records: &[Record] = &[];
        let message = builder.build(metadata, &sections.answers, no_records, &sections.soa, no_records);
        match response.send_response(message).await {
            Ok(info) => info,
            // The client has gone; the server only wants to log a header.
            Err(_) => hickory_proto::op::Header {
                metadata,
                counts: Default::default(),
            }
            .into(),
        }
    }

    fn sections(&self, request: &Request, subnet: Option<&ClientSubnet>) -> Sections {
        let refused = |code| Sections {
            code: Some(code),
            ..Sections::default()
        };
        if request.metadata.op_code != OpCode::Query {
            return refused(ResponseCode::NotImp);
        }
        let Ok(info) = request.request_info() else {
            return refused(ResponseCode::FormErr);
        };
        let name = Name::from(info.query.name());
        let text = name.to_ascii().to_ascii_lowercase();
        // Not from the lab's seed: how many queries come is the clients' doing, and must not shift its other draws.
        let draw = fastrand::f64();
        let ttl_s = u32::try_from(self.lab.config.alias_ttl.as_secs()).unwrap_or(60);
        let world = self.lab.world();
        let client = client_region(&world, subnet.map(ClientSubnet::addr).unwrap_or(request.src().ip()));
        let resolution = resolve(&world, &text, client.as_deref(), ttl_s, draw);
        if resolution == Resolution::NotOurs {
            return refused(ResponseCode::Refused);
        }
        let zone = zone_of(&world, &text);
        let soa = || zone.as_ref().map(|zone| soa(zone)).into_iter().collect::<Vec<_>>();
        let at_apex = zone.as_ref().is_some_and(|zone| *zone == text);
        match (info.query.query_type(), resolution) {
            (RecordType::A | RecordType::ANY, Resolution::Addresses(answer)) => Sections {
                answers: addresses(&name, &answer),
                ..Sections::default()
            },
            (RecordType::SOA, _) if at_apex => Sections {
                answers: soa(),
                ..Sections::default()
            },
            (RecordType::NS, _) if at_apex => Sections {
                answers: vec![name_server(&name)],
                ..Sections::default()
            },
            (_, Resolution::NoSuchName) => Sections {
                code: Some(ResponseCode::NXDomain),
                soa: soa(),
                ..Sections::default()
            },
            _ => Sections {
                soa: soa(),
                ..Sections::default()
            },
        }
    }
}

fn addresses(name: &Name, answer: &Answer) -> Vec<Record> {
    let record = |address: &Ipv4Addr| Record::from_rdata(name.clone(), answer.ttl_s, RData::A(A(*address)));
    answer.addresses.iter().map(record).collect()
}

fn server_name() -> Name {
    Name::from_str("ns-1.awsdns-01.org.").unwrap_or_default()
}

fn name_server(zone: &Name) -> Record {
    Record::from_rdata(zone.clone(), NEGATIVE_TTL_S, RData::NS(NS(server_name())))
}

fn soa(zone: &str) -> Record {
    let contact = Name::from_str("awsdns-hostmaster.amazon.com.").unwrap_or_default();
    let soa = SOA::new(server_name(), contact, 1, 7200, 900, 1_209_600, NEGATIVE_TTL_S);
    Record::from_rdata(
        Name::from_str(zone).unwrap_or_default(),
        NEGATIVE_TTL_S,
        RData::SOA(soa),
    )
}

fn zone_of(world: &World, name: &str) -> Option<String> {
    let ours = world.route53.zones.values().map(|zone| zone.name.clone());
    ours.into_iter()
        .find(|zone| name == zone || name.ends_with(&format!(".{zone}")))
}

fn client_subnet(request: &Request) -> Option<ClientSubnet> {
    match request.edns.as_ref()?.option(EdnsCode::Subnet)? {
        EdnsOption::Subnet(subnet) => Some(*subnet),
        _ => None,
    }
}

/// The subnet goes back with a scope that says it was used (RFC 7871).
fn reply_edns(subnet: Option<ClientSubnet>) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD).set_version(0);
    if let Some(mut subnet) = subnet {
        subnet.set_scope_prefix(subnet.source_prefix());
        edns.options_mut().insert(EdnsOption::Subnet(subnet));
    }
    edns
}

/// Region r's clients come from 127.(10 + r).0.0/16; none for the rest of the world.
fn client_region(world: &World, address: IpAddr) -> Option<String> {
    let IpAddr::V4(address) = address else { return None };
    let [127, second, _, _] = address.octets() else {
        return None;
    };
    let index = second.checked_sub(10)?;
    world
        .regions
        .values()
        .find(|region| region.index == index)
        .map(|region| region.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::world::Region;

    #[test]
    fn clients_belong_to_the_region_of_their_subnet() {
        let mut world = World::default();
        for (index, name) in ["us-east-1", "eu-west-1"].iter().enumerate() {
            let region = Region {
                name: (*name).into(),
                index: index as u8,
                ..Region::default()
            };
            world.regions.insert((*name).into(), region);
        }
        let region = |text: &str| client_region(&world, text.parse().unwrap());
        assert_eq!(region("127.10.3.0").as_deref(), Some("us-east-1"));
        assert_eq!(region("127.11.0.0").as_deref(), Some("eu-west-1"));
        assert_eq!(region("127.0.0.1"), None);
        assert_eq!(region("127.200.0.1"), None);
        assert_eq!(region("10.10.0.1"), None);
        assert_eq!(region("::1"), None);
    }

    #[tokio::test]
    async fn both_sockets_share_a_port() {
        let sockets = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        assert_eq!(sockets.address().unwrap(), sockets.tcp.local_addr().unwrap());
    }
}
