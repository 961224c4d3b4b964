//! Starting the lab: binds everything on loopback, builds the initial world and spawns what keeps it moving.
//! Knows no command line; `cli` prints the announcement.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use super::config::{Engine, LabConfig};
use super::data::DataPlane;
use super::dynamics::{self, dns};
use super::truth::Truth;
use super::world::APP_ROLE;
use super::{Lab, build, control};
use crate::clock::Clock;
use crate::units::Pace;

/// Why the lab could not start.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// It serves loopback only.
    #[error("the lab binds to loopback addresses only, not to {0}")]
    NotLoopback(IpAddr),
    /// A socket could not be bound.
    #[error("cannot bind {what} at {address}")]
    Bind {
        /// For what.
        what: &'static str,
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The truth file could not be created.
    #[error("cannot create the truth file {path}")]
    Truth {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// How to run a lab, as opposed to what is in it.
#[derive(Debug, Clone)]
pub struct LabOptions {
    /// How many times faster than real its cloud lives.
    pub pace: Pace,
    /// Seed of every draw.
    pub seed: u64,
    /// Where to write the truth, if anywhere.
    pub truth: Option<PathBuf>,
    /// Address of the control plane and the DNS server; loopback only.
    pub bind: IpAddr,
    /// Port of the control plane, 0 for any free one.
    pub port: u16,
    /// Port of the DNS server, 0 for any free one.
    pub dns_port: u16,
}

impl LabOptions {
    /// A lab at `pace` on free ports of 127.0.0.1, with seed 1 and no truth file.
    #[must_use]
    pub fn at_pace(pace: Pace) -> Self {
        Self {
            pace,
            seed: 1,
            truth: None,
            bind: IpAddr::from([127, 0, 0, 1]),
            port: 0,
            dns_port: 0,
        }
    }
}

/// What a harness needs to know to use the lab: one line of JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Announcement {
    /// `lab`.
    pub name: String,
    /// Account id.
    pub account: String,
    /// Regions, primary first.
    pub regions: Vec<String>,
    /// Where users go.
    pub entry: String,
    /// AWS endpoint.
    pub endpoint: String,
    /// DNS server.
    pub resolver: String,
    /// Epoch and pace.
    pub clock: AnnouncedClock,
    /// AWS resources by role, as in a target file.
    pub roles: BTreeMap<String, BTreeMap<String, String>>,
    /// What may be broken.
    pub allow: Allow,
    /// How an answer says what served it.
    pub served_by: ServedBy,
    /// The role that AWS FIS acts as.
    pub fis: BTreeMap<String, String>,
}

/// The lab's clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnnouncedClock {
    /// Unix seconds at which cloud and real time agreed.
    pub epoch: f64,
    /// Times faster than real.
    pub pace: f64,
}

/// What may be broken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Allow {
    /// Tag that a resource must carry.
    pub tag: BTreeMap<String, String>,
    /// Largest share of a role, e.g. `34%`.
    pub share: String,
}

/// How an answer says what served it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServedBy {
    /// Header name.
    pub header: String,
}

/// Starts a lab: data plane, control plane and DNS server are bound when this returns.
pub async fn start(config: LabConfig, options: LabOptions) -> Result<(Arc<Lab>, Announcement), LabError> {
    if !options.bind.is_loopback() {
        return Err(LabError::NotLoopback(options.bind));
    }
    let lab = start_data_plane(config, &options)?;
    let wanted = SocketAddr::new(options.bind, options.port);
    let endpoint = TcpListener::bind(wanted)
        .await
        .map_err(bind_error("the AWS endpoint", wanted))?;
    let endpoint_address = endpoint.local_addr().map_err(bind_error("the AWS endpoint", wanted))?;
    let wanted = SocketAddr::new(options.bind, options.dns_port);
    let names = dns::bind(wanted).await.map_err(bind_error("the DNS server", wanted))?;
    let resolver = names.address().map_err(bind_error("the DNS server", wanted))?;
    dns::serve(&lab, names);
    tokio::spawn(control::serve(Arc::clone(&lab), endpoint));
    dynamics::spawn_all(&lab);
    let announcement = announce(&lab, format!("http://{endpoint_address}"), resolver.to_string());
    Ok((lab, announcement))
}

/// Builds the initial world and serves it; nothing moves by itself yet and nobody can ask for changes.
pub(super) fn start_data_plane(config: LabConfig, options: &LabOptions) -> Result<Arc<Lab>, LabError> {
    let clock = Clock::starting_now(options.pace);
    let truth = Truth::new(clock, options.truth.as_deref()).map_err(|source| LabError::Truth {
        path: options.truth.clone().unwrap_or_default(),
        source,
    })?;
    let port = free_port().map_err(|source| LabError::Bind {
        what: "the data plane",
        address: "127.10.1.5 (no free port from 20000 to 32000)".to_owned(),
        source,
    })?;
    raise_descriptor_limit();
    let data = DataPlane::new(port, truth.clone());
    let lab = Arc::new(Lab::new(config, clock, truth, data, options.seed));
    let world = build::world(&lab);
    lab.data.prepare(&lab, &world);
    *lab.world() = world;
    lab.data.start_balancers(&lab).map_err(|source| LabError::Bind {
        what: "the load balancers",
        address: format!("127.10.1.5:{port}"),
        source,
    })?;
    let ready: Vec<_> = {
        let world = lab.world();
        let instances = world.regions.values().flat_map(|region| region.instances.values());
        instances
            .map(|instance| (instance.id.clone(), instance.address))
            .collect()
    };
    for (id, address) in ready {
        lab.data.open_instance(&lab, &id, address);
    }
    Ok(lab)
}

fn bind_error(what: &'static str, address: SocketAddr) -> impl Fn(std::io::Error) -> LabError {
    move |source| LabError::Bind {
        what,
        address: address.to_string(),
        source,
    }
}

/// A port that nothing uses, neither another program on loopback nor another lab. Below the range from which the kernel takes ports for outgoing
/// connections, so that none of those can take it later.
fn free_port() -> std::io::Result<u16> {
    let mut last = std::io::Error::from(std::io::ErrorKind::AddrInUse);
    for _ in 0..200 {
        // Not from the lab's seed: two labs of one seed must not fight over a port.
        let port = fastrand::u16(20_000..32_000);
        let free = |address: [u8; 4]| std::net::TcpListener::bind((std::net::Ipv4Addr::from(address), port));
        match free([127, 0, 0, 1]).and_then(|_held| free([127, 10, 1, 5])) {
            Ok(_) => return Ok(port),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Lets this process open as many sockets as it may; thousands of users keep thousands of connections.
fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Without it the lab still works for fewer users.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

fn announce(lab: &Lab, endpoint: String, resolver: String) -> Announcement {
    let mut announcement = Announcement {
        entry: format!("http://{}:{}", lab.config.record, lab.data.port()),
        endpoint,
        resolver,
        clock: AnnouncedClock {
            epoch: lab.clock.epoch_unix(),
            pace: lab.clock.pace().times(),
        },
        ..Announcement::foreseen(&lab.config)
    };
    let zone = lab.world().route53.zones.keys().next().cloned();
    if let (Some(dns), Some(zone)) = (announcement.roles.get_mut("dns"), zone) {
        dns.insert("hosted_zone".to_owned(), zone);
    }
    announcement
}

impl Announcement {
    /// What a lab of this configuration will be to a harness, as far as that is known before it runs: where it answers,
    /// its clock and the id of its zone are not.
    #[must_use]
    pub fn foreseen(config: &LabConfig) -> Self {
        let one = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let database = match config.database.engine {
            Engine::Postgres => "db_instance",
            Engine::AuroraPostgresql => "db_cluster",
        };
        let dns = BTreeMap::from([
            ("hosted_zone".to_owned(), "Z".to_owned()),
            ("record".to_owned(), config.record.clone()),
        ]);
        Self {
            name: "lab".to_owned(),
            account: config.account.clone(),
            regions: config.regions.clone(),
            entry: format!("http://{}", config.record),
            endpoint: "http://127.0.0.1".to_owned(),
            resolver: "127.0.0.1:53".to_owned(),
            clock: AnnouncedClock { epoch: 0.0, pace: 1.0 },
            roles: BTreeMap::from([
                ("web".to_owned(), one("auto_scaling_group", &config.web.name)),
                ("app".to_owned(), one("iam_role", APP_ROLE)),
                ("database".to_owned(), one(database, &config.database.name)),
                ("dns".to_owned(), dns),
            ]),
            allow: Allow {
                tag: one("chaos", "allowed"),
                share: "34%".to_owned(),
            },
            served_by: ServedBy {
                header: "x-served-by".to_owned(),
            },
            fis: one("role", &format!("arn:aws:iam::{}:role/tenfold-fis", config.account)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> LabOptions {
        LabOptions::at_pace(Pace::new(60.0).expect("a pace"))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn it_announces_what_it_serves_in_one_line() {
        let (lab, announcement) = start(LabConfig::default(), options()).await.expect("it starts");
        let text = serde_json::to_string(&announcement).expect("it serialises");
        assert!(!text.contains('\n'));
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["name"], "lab");
        assert_eq!(value["entry"], format!("http://shop.example.com:{}", lab.data.port()));
        assert_eq!(value["roles"]["web"]["auto_scaling_group"], "shop-web");
        assert_eq!(value["roles"]["database"]["db_instance"], "shop-db");
        assert_eq!(value["roles"]["dns"]["record"], "shop.example.com");
        assert_eq!(
            value["allow"],
            serde_json::json!({"tag": {"chaos": "allowed"}, "share": "34%"})
        );
        assert_eq!(value["served_by"]["header"], "x-served-by");
        assert_eq!(value["clock"]["pace"], 60.0);
        let endpoint = announcement.endpoint.trim_start_matches("http://");
        tokio::net::TcpStream::connect(endpoint)
            .await
            .expect("the endpoint listens");
        tokio::net::TcpStream::connect(&announcement.resolver)
            .await
            .expect("the DNS server listens");
    }

    #[tokio::test]
    async fn it_refuses_to_leave_loopback() {
        let wide = LabOptions {
            bind: IpAddr::from([0, 0, 0, 0]),
            ..options()
        };
        let refused = start(LabConfig::default(), wide).await.expect_err("it must refuse");
        assert!(matches!(refused, LabError::NotLoopback(_)), "{refused}");
    }

    /// Asks the resolver for the A records of `name`.
    async fn resolve(resolver: &str, name: &str) -> Vec<std::net::Ipv4Addr> {
        let mut query = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            query.push(u8::try_from(label.len()).expect("a short label"));
            query.extend(label.bytes());
        }
        query.extend([0, 0, 1, 0, 1]);
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        socket.send_to(&query, resolver).await.expect("sent");
        let mut buf = [0; 512];
        let length = socket.recv(&mut buf).await.expect("an answer");
        let message = hickory_proto::op::Message::from_vec(&buf[..length]).expect("a DNS message");
        let addresses = message.answers.iter().filter_map(|record| match &record.data {
            hickory_proto::rr::RData::A(address) => Some(address.0),
            _ => None,
        });
        addresses.collect()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_user_gets_from_the_announcement_to_an_answer_by_dns_alone() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (lab, announcement) = start(LabConfig::default(), options()).await.expect("it starts");
        let addresses = resolve(&announcement.resolver, "shop.example.com").await;
        assert_eq!(addresses.len(), 3, "{addresses:?}");
        for address in addresses {
            assert_eq!(address.octets()[..2], [127, 10], "the primary Region");
            let mut stream = tokio::net::TcpStream::connect((address, lab.data.port()))
                .await
                .expect("it listens");
            let request = b"GET / HTTP/1.1\r\nHost: shop.example.com\r\nConnection: close\r\n\r\n";
            stream.write_all(request).await.expect("sent");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("an answer");
            assert!(
                answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("x-served-by: i-0"),
                "{answer}"
            );
        }
    }
}
