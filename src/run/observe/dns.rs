//! Lookups of the observers: one question, one answer, no hosts file and no search list when a server is given.
//! A cache honours the TTL; the load has its own lookups and does not share these.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::plan::Plan;
use crate::units::Pace;

/// Cloud time a server may take to answer, and in real time at least.
const PATIENCE: Duration = Duration::from_secs(3);
const PATIENCE_FLOOR: Duration = Duration::from_millis(500);
/// Tries over UDP, which may lose datagrams.
const TRIES: usize = 3;
/// How long an answer of the system's resolver is believed, since it tells no TTL.
const SYSTEM_TTL: Duration = Duration::from_secs(5);

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// The server or the system could not be asked.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Nobody answered.
    #[error("no answer in time")]
    Timeout(#[from] tokio::time::error::Elapsed),
    /// It cannot be asked for.
    #[error("{0:?} is not a host name")]
    Name(String),
    /// Not DNS.
    #[error("the answer is not DNS")]
    Malformed,
    /// No such name, or the server would not say.
    #[error("the server answered {0}")]
    Refused(ResponseCode),
    /// A name without addresses.
    #[error("the name has no address")]
    Empty,
}

/// Addresses with the TTL of the answer, cloud time.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) ttl: Duration,
}

/// The addresses of a plan's entry and how long they are good for, cloud time, as its own resolver says.
pub async fn entry_answer(plan: &Plan) -> Result<(Vec<IpAddr>, Duration), LookupError> {
    let target = &plan.target;
    let answer = resolve(target.resolver, &target.host, plan.pace).await?;
    Ok((answer.addresses, answer.ttl))
}

/// Asks `server`, or the system when there is none.
pub(super) async fn resolve(server: Option<SocketAddr>, host: &str, pace: Pace) -> Result<Answer, LookupError> {
    if let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse() {
        return Ok(Answer {
            addresses: vec![address],
            ttl: Duration::from_secs(u64::from(u32::MAX)),
        });
    }
    let Some(server) = server else {
        let found: Vec<IpAddr> = tokio::net::lookup_host((host, 0)).await?.map(|one| one.ip()).collect();
        let answer = Answer {
            addresses: found,
            ttl: SYSTEM_TTL,
        };
        return if answer.addresses.is_empty() {
            Err(LookupError::Empty)
        } else {
            Ok(answer)
        };
    };
    let mut last = LookupError::Empty;
    for _ in 0..TRIES {
        match ask(server, host, pace).await {
            Err(error @ (LookupError::Io(_) | LookupError::Timeout(_))) => last = error,
            settled => return settled,
        }
    }
    Err(last)
}

async fn ask(server: SocketAddr, host: &str, pace: Pace) -> Result<Answer, LookupError> {
    let mut name = Name::from_utf8(host).map_err(|_| LookupError::Name(host.to_owned()))?;
    name.set_fqdn(true);
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name, RecordType::A));
    let bytes = question.to_vec().map_err(|_| LookupError::Malformed)?;
    let patience = pace.patience(PATIENCE).max(PATIENCE_FLOOR);
    let mut answer = timeout(patience, over_udp(server, question.metadata.id, &bytes)).await??;
    if answer.metadata.truncation {
        answer = timeout(patience, over_tcp(server, &bytes)).await??;
    }
    if answer.metadata.response_code != ResponseCode::NoError {
        return Err(LookupError::Refused(answer.metadata.response_code));
    }
    let ttl = answer.answers.iter().map(|record| record.ttl).min().unwrap_or_default();
    let addresses: Vec<IpAddr> = answer
        .answers
        .iter()
        .filter_map(|record| record.data.ip_addr())
        .collect();
    if addresses.is_empty() {
        return Err(LookupError::Empty);
    }
    Ok(Answer {
        addresses,
        ttl: Duration::from_secs(u64::from(ttl)),
    })
}

async fn over_udp(server: SocketAddr, id: u16, question: &[u8]) -> Result<Message, LookupError> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // A stray datagram is no answer; the one asked for may still come.
        if let Ok(answer) = Message::from_vec(&buffer[..length])
            && answer.metadata.id == id
        {
            return Ok(answer);
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &[u8]) -> Result<Message, LookupError> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(|_| LookupError::Malformed)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(question).await?;
    let length = stream.read_u16().await?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await?;
    Message::from_vec(&buffer).map_err(|_| LookupError::Malformed)
}

/// One name, asked again when its TTL has passed.
pub(super) struct Cached {
    server: Option<SocketAddr>,
    host: String,
    pace: Pace,
    known: tokio::sync::Mutex<Option<(Answer, Instant)>>,
}

impl Cached {
    pub(super) fn new(server: Option<SocketAddr>, host: &str, pace: Pace) -> Self {
        Self {
            server,
            host: host.to_owned(),
            pace,
            known: tokio::sync::Mutex::new(None),
        }
    }

    /// Addresses now. An old answer is kept while no new one comes, as resolvers do.
    pub(super) async fn addresses(&self) -> Result<Vec<IpAddr>, LookupError> {
        let mut known = self.known.lock().await;
        if let Some((answer, until)) = &*known
            && Instant::now() < *until
        {
            return Ok(answer.addresses.clone());
        }
        match (resolve(self.server, &self.host, self.pace).await, &*known) {
            (Ok(answer), _) => {
                let until = Instant::now() + self.pace.to_real(answer.ttl);
                let addresses = answer.addresses.clone();
                *known = Some((answer, until));
                Ok(addresses)
            }
            (Err(_), Some((answer, _))) => Ok(answer.addresses.clone()),
            (Err(error), None) => Err(error),
        }
    }
}
