//! The users' DNS: one stream of lookups of each class of clients for all shards, publishing every answer.
//! Asks one server over UDP, and over TCP when the answer was cut; reads no hosts file and no search list.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::clock::RunClock;
use crate::event::{Event, Stamped};
use crate::plan::{ClassPlan, DnsPolicy, TargetPlan};

/// Cloud time a server may take to answer.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);
/// Cloud time from a failed lookup to the next.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Cloud time a JVM keeps an answer: the default of `networkaddress.cache.ttl` without a security manager.
const JVM_KEEPS: Duration = Duration::from_secs(30);
/// Cloud time a JVM keeps a failure: the default of `networkaddress.cache.negative.ttl`.
const JVM_KEEPS_FAILURE: Duration = Duration::from_secs(10);
/// Real time between lookups at least, whatever the TTL says.
const SPACING_MIN: Duration = Duration::from_millis(50);
/// The UDP payload recommended by the DNS flag day of 2020.
const UDP_PAYLOAD: u16 = 1232;

/// The addresses users are sent to now; empty until the first answer.
pub type Answer = Arc<[IpAddr]>;
/// By class of clients.
pub type Answers = Vec<Answer>;

/// Why no lookup is possible.
#[derive(Debug, thiserror::Error)]
pub enum ResolverError {
    /// Neither the target nor the system names a DNS server.
    #[error("no DNS server is known for {0:?}: the target names none and /etc/resolv.conf has no nameserver")]
    NoServer(String),
    /// Not a host name.
    #[error("{0:?} is not a host name")]
    Name(String),
    /// The thread could not start.
    #[error("cannot start the resolver")]
    Thread(#[from] io::Error),
}

/// Running lookups; they end when this is stopped or dropped.
#[derive(Debug)]
pub struct Resolver {
    answers: watch::Receiver<Answers>,
    failures: Arc<AtomicU64>,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Resolver {
    /// Starts looking the target's host up, each class of clients for itself; an address literal needs no lookup.
    pub fn start(
        target: &TargetPlan,
        classes: &[ClassPlan],
        clock: RunClock,
        events: mpsc::Sender<Stamped>,
    ) -> Result<Self, ResolverError> {
        let failures = Arc::new(AtomicU64::new(0));
        if let Some(address) = literal(target) {
            let (_, answers) = watch::channel(vec![Answer::from([address]); classes.len()]);
            return Ok(Self {
                answers,
                failures,
                running: None,
            });
        }
        let mut name = Name::from_utf8(&target.host).map_err(|_| ResolverError::Name(target.host.clone()))?;
        name.set_fqdn(true);
        let server = match target.resolver {
            Some(server) => server,
            None => system_server().ok_or_else(|| ResolverError::NoServer(target.host.clone()))?,
        };
        let (publish, answers) = watch::channel(vec![Answer::from([]); classes.len()]);
        let (stop, stopped) = oneshot::channel();
        let publish = Arc::new(publish);
        let of_class = |(index, class): (usize, &ClassPlan)| Lookups {
            index,
            class: (!class.name.is_empty()).then(|| class.name.clone()),
            host: target.host.clone(),
            name: name.clone(),
            server,
            policy: class.dns,
            clock,
            events: events.clone(),
            publish: Arc::clone(&publish),
            failures: Arc::clone(&failures),
        };
        let all: Vec<Lookups> = classes.iter().enumerate().map(of_class).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("resolver".to_owned()).spawn(move || {
            runtime.block_on(async {
                let lookups: JoinSet<()> = all.into_iter().map(Lookups::run).collect();
                tokio::select! {
                    _ = lookups.join_all() => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self {
            answers,
            failures,
            running: Some((stop, thread)),
        })
    }

    /// The answers as they change.
    #[must_use]
    pub fn answers(&self) -> watch::Receiver<Answers> {
        self.answers.clone()
    }

    /// Ends the lookups and returns how many failed.
    pub fn stop(self) -> u64 {
        if let Some((stop, thread)) = self.running {
            // An error only means that the lookups ended already (policy `forever`).
            let _ = stop.send(());
            let _ = thread.join();
        }
        self.failures.load(Ordering::Relaxed)
    }
}

fn literal(target: &TargetPlan) -> Option<IpAddr> {
    let host = target.host.trim_start_matches('[').trim_end_matches(']');
    match host.parse() {
        Ok(address) => Some(address),
        // RFC 6761: the name means the loopback interface whatever a server says.
        Err(_) => (target.resolver.is_none() && host == "localhost").then_some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
    }
}

fn system_server() -> Option<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").ok()?;
    first_nameserver(&text)
}

fn first_nameserver(text: &str) -> Option<SocketAddr> {
    text.lines().find_map(|line| {
        let address = line.trim().strip_prefix("nameserver")?.split_whitespace().next()?;
        Some(SocketAddr::new(address.parse().ok()?, 53))
    })
}

#[derive(Debug, thiserror::Error)]
enum LookupError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("no answer in time")]
    Timeout(#[from] tokio::time::error::Elapsed),
    #[error("the message is not DNS")]
    Malformed,
    #[error("the server answered {0}")]
    Refused(ResponseCode),
    #[error("the name has no address")]
    Empty,
}

struct Found {
    addresses: Vec<IpAddr>,
    ttl: Duration,
}

/// Whether a message answers this question (RFC 5452, section 9.1).
fn is_answer(message: &Message, question: &Message) -> bool {
    message.metadata.message_type == MessageType::Response
        && message.metadata.id == question.metadata.id
        && message.queries == question.queries
}

/// The addresses of `name` itself or of what it is an alias for; whatever else an answer holds was not asked for.
fn addresses(answer: &Message, name: &Name, kind: RecordType) -> Option<Found> {
    let mut found = Found {
        addresses: Vec::new(),
        ttl: Duration::from_secs(u64::from(u32::MAX)),
    };
    let mut name = name;
    // Aliases that lead round in a circle end with the records there are.
    for _ in 0..=answer.answers.len() {
        let mut alias = None;
        for record in answer.answers.iter().filter(|record| record.name == *name) {
            match &record.data {
                RData::CNAME(to) => alias = Some(&to.0),
                data if record.record_type() == kind => found.addresses.extend(data.ip_addr()),
                _ => continue,
            }
            // Aliases count with their own TTL: the answer is as old as its shortest part.
            found.ttl = found.ttl.min(Duration::from_secs(u64::from(record.ttl)));
        }
        match alias {
            Some(alias) if found.addresses.is_empty() => name = alias,
            _ => break,
        }
    }
    (!found.addresses.is_empty()).then_some(found)
}

/// The lookups of one class of clients.
struct Lookups {
    index: usize,
    class: Option<String>,
    host: String,
    name: Name,
    server: SocketAddr,
    policy: DnsPolicy,
    clock: RunClock,
    events: mpsc::Sender<Stamped>,
    publish: Arc<watch::Sender<Answers>>,
    failures: Arc<AtomicU64>,
}

impl Lookups {
    async fn run(self) {
        let pace = self.clock.pace();
        let mut known: Vec<IpAddr> = Vec::new();
        loop {
            let asked = Instant::now();
            let again = match self.look_up().await {
                Ok(found) => {
                    let mut sorted = found.addresses.clone();
                    sorted.sort_unstable();
                    sorted.dedup();
                    if sorted != known {
                        known = sorted;
                        self.announce(found.addresses, found.ttl).await;
                    }
                    match self.policy {
                        DnsPolicy::Forever => return,
                        DnsPolicy::Jvm => pace.to_real(JVM_KEEPS),
                        DnsPolicy::HonourTtl | DnsPolicy::Pin => pace.to_real(found.ttl),
                    }
                }
                Err(_) => {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    match self.policy {
                        DnsPolicy::Jvm => pace.to_real(JVM_KEEPS_FAILURE),
                        DnsPolicy::HonourTtl | DnsPolicy::Pin | DnsPolicy::Forever => pace.patience(RETRY_AFTER),
                    }
                }
            };
            tokio::time::sleep_until(asked + again.max(SPACING_MIN)).await;
        }
    }

    async fn announce(&self, addresses: Vec<IpAddr>, ttl: Duration) {
        let at = self.clock.elapsed();
        let answer = Answer::from(addresses.as_slice());
        self.publish.send_modify(|answers| answers[self.index] = answer);
        let event = Event::DnsChanged {
            class: self.class.clone(),
            name: self.host.clone(),
            addresses,
            ttl,
        };
        // The users' view has changed either way; a closed channel means that nobody records any more.
        let _ = self.events.send(Stamped { at, event }).await;
    }

    async fn look_up(&self) -> Result<Found, LookupError> {
        match self.ask(RecordType::A).await {
            Err(LookupError::Empty) => self.ask(RecordType::AAAA).await,
            other => other,
        }
    }

    async fn ask(&self, kind: RecordType) -> Result<Found, LookupError> {
        let mut question = Message::query();
        question.metadata.recursion_desired = true;
        question.add_query(Query::query(self.name.clone(), kind));
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_PAYLOAD);
        question.set_edns(edns);
        let bytes = question.to_vec().map_err(|_| LookupError::Malformed)?;
        let patience = self.clock.pace().patience(LOOKUP_TIMEOUT);
        let mut answer = timeout(patience, self.over_udp(&question, &bytes)).await??;
        if answer.metadata.truncation {
            answer = timeout(patience, self.over_tcp(&question, &bytes)).await??;
        }
        if answer.metadata.response_code != ResponseCode::NoError {
            return Err(LookupError::Refused(answer.metadata.response_code));
        }
        addresses(&answer, &self.name, kind).ok_or(LookupError::Empty)
    }

    async fn over_udp(&self, question: &Message, bytes: &[u8]) -> Result<Message, LookupError> {
        let any: IpAddr = match self.server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(self.server).await?;
        socket.send(bytes).await?;
        let mut buffer = [0; 4096];
        loop {
            let length = socket.recv(&mut buffer).await?;
            // A stray datagram is no answer; the one asked for may still come.
            if let Ok(answer) = Message::from_vec(&buffer[..length])
                && is_answer(&answer, question)
            {
                return Ok(answer);
            }
        }
    }

    async fn over_tcp(&self, question: &Message, bytes: &[u8]) -> Result<Message, LookupError> {
        let mut stream = TcpStream::connect(self.server).await?;
        let length = u16::try_from(bytes.len()).map_err(|_| LookupError::Malformed)?;
        let mut framed = length.to_be_bytes().to_vec();
        framed.extend_from_slice(bytes);
        stream.write_all(&framed).await?;
        let length = stream.read_u16().await?;
        let mut buffer = vec![0; usize::from(length)];
        stream.read_exact(&mut buffer).await?;
        match Message::from_vec(&buffer) {
            Ok(answer) if is_answer(&answer, question) => Ok(answer),
            _ => Err(LookupError::Malformed),
        }
    }
}
