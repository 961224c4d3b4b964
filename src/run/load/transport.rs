//! The boundary to the wire: one HTTP/1.1 request in, one classified outcome out. A faster path can replace what is
//! behind [`Transport`] without the shard noticing. Measures nothing but when a connection was free.

use std::cell::Cell;
use std::error::Error as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::io::Counted;
use super::pool::{NoRoute, Pool, Pools};
use crate::plan::DnsPolicy;
use crate::recording::FailureKind;

/// Bytes of a body that are read; a longer one is a failure, since it would be measured as the target's latency.
pub const BODY_MAX: u64 = 1 << 20;

/// How a shard connects.
#[derive(Clone, Debug)]
pub struct TransportSettings {
    /// Port of every address.
    pub port: u16,
    /// Connections per address at most.
    pub connections_max: usize,
    /// Real time.
    pub connect_timeout: Duration,
    /// What a new DNS answer does to connections.
    pub policy: DnsPolicy,
    /// Header that names who served.
    pub served_by: Option<HeaderName>,
}

/// Where a request will go.
pub struct Route(Rc<Pool<Connection>>);

impl Route {
    /// Its address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.0.address().ip()
    }
}

/// What became of a request.
#[derive(Debug)]
pub struct Exchange {
    /// When a connection (or the right to open one) was free; none if that never happened.
    pub free_at: Option<Instant>,
    /// Whether any of it may have reached the target.
    pub sent: bool,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a request ended.
#[derive(Debug)]
pub enum Outcome {
    /// A whole response came.
    Answered {
        /// Status code.
        status: u16,
        /// The header that names who served.
        served_by: Option<HeaderValue>,
    },
    /// None came.
    Failed(FailureKind),
    /// The generator itself could not send it (no descriptors, no local ports).
    NotSent,
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    read: Rc<Cell<u64>>,
}

/// HTTP over connections of its own, for one shard.
pub struct Transport {
    pools: Pools<Connection>,
    settings: TransportSettings,
    open: Rc<Cell<u64>>,
}

#[derive(Default)]
struct Progress {
    free_at: Cell<Option<Instant>>,
    connecting: Cell<bool>,
    sent: Cell<bool>,
}

impl Transport {
    /// No connection is opened yet. Shards start at different turns, so that few requests spread over all addresses.
    #[must_use]
    pub fn new(settings: TransportSettings, first_turn: usize) -> Self {
        Self {
            pools: Pools::new(settings.port, settings.connections_max, settings.policy, first_turn),
            settings,
            open: Rc::default(),
        }
    }

    /// Users got a new DNS answer.
    pub fn set_answer(&self, addresses: &[IpAddr]) {
        self.pools.set_answer(addresses);
    }

    /// Open connections.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.open.get()
    }

    /// Chooses where the next request goes.
    pub fn route(&self) -> Result<Route, NoRoute> {
        self.pools.route().map(Route)
    }

    /// Sends what `make` gives (the same each time) and waits for the whole response until `deadline`.
    pub async fn exchange(
        &self,
        route: Route,
        make: &dyn Fn() -> Option<Request<Full<Bytes>>>,
        idempotent: bool,
        deadline: Instant,
    ) -> Exchange {
        let progress = Progress::default();
        let attempt = self.attempt(&route.0, make, idempotent, &progress);
        let outcome = timeout_at(deadline, attempt).await.unwrap_or_else(|_| {
            Outcome::Failed(match progress.connecting.get() {
                true => FailureKind::ConnectTimeout,
                false => FailureKind::Timeout,
            })
        });
        Exchange {
            free_at: progress.free_at.get(),
            sent: progress.sent.get(),
            outcome,
        }
    }

    async fn attempt(
        &self,
        pool: &Pool<Connection>,
        make: &dyn Fn() -> Option<Request<Full<Bytes>>>,
        idempotent: bool,
        progress: &Progress,
    ) -> Outcome {
        let _slot = pool.slot().await;
        progress.free_at.set(Some(Instant::now()));
        let mut retried = false;
        loop {
            let Some(request) = make() else {
                return Outcome::Failed(FailureKind::Protocol);
            };
            let mut reused = None;
            while !retried && let Some(mut idle) = pool.take_idle() {
                // Closed while idle: nothing was sent on it, so nothing is retried.
                if idle.sender.ready().await.is_ok() {
                    reused = Some(idle);
                    break;
                }
            }
            let may_retry = reused.is_some();
            let mut connection = match reused {
                Some(connection) => connection,
                None => {
                    progress.connecting.set(true);
                    let connected = self.connect(pool.address()).await;
                    progress.connecting.set(false);
                    match connected {
                        Ok(connection) => connection,
                        Err(outcome) => return outcome,
                    }
                }
            };
            let sent_before = progress.sent.replace(true);
            let read_before = connection.read.get();
            match connection.sender.try_send_request(request).await {
                Ok(response) => {
                    let outcome = self.drain(response).await;
                    if matches!(outcome, Outcome::Answered { .. }) {
                        pool.give_back(connection);
                    }
                    return outcome;
                }
                Err(mut failed) => {
                    let untouched = failed.take_message().is_some();
                    if untouched {
                        progress.sent.set(sent_before);
                    }
                    let kind = classify(failed.error());
                    let silent = connection.read.get() == read_before && kind == FailureKind::Reset;
                    // As browsers do: an idle connection may have been closed just then (RFC 9112, 9.3.1).
                    if may_retry && (untouched || (idempotent && silent)) {
                        retried = true;
                        continue;
                    }
                    return Outcome::Failed(kind);
                }
            }
        }
    }

    async fn connect(&self, address: SocketAddr) -> Result<Connection, Outcome> {
        let connected = timeout(self.settings.connect_timeout, TcpStream::connect(address)).await;
        let stream = match connected {
            Err(_) => return Err(Outcome::Failed(FailureKind::ConnectTimeout)),
            Ok(Err(error)) => return Err(connect_failure(&error)),
            Ok(Ok(stream)) => stream,
        };
        // Without it a small request may wait for an acknowledgement; a socket that refuses it is still usable.
        let _ = stream.set_nodelay(true);
        let read = Rc::new(Cell::new(0));
        let stream = TokioIo::new(Counted::new(stream, Rc::clone(&read)));
        let (sender, driver) = match Builder::new().handshake(stream).await {
            Ok(parts) => parts,
            Err(error) => return Err(Outcome::Failed(classify(&error))),
        };
        let open = Open::new(&self.open);
        tokio::task::spawn_local(async move {
            let _open = open;
            // The request that used the connection reports the error; an idle connection's end is no failure.
            let _ = driver.await;
        });
        Ok(Connection { sender, read })
    }

    async fn drain(&self, response: Response<Incoming>) -> Outcome {
        let (head, mut body) = response.into_parts();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            match frame {
                Err(error) => return Outcome::Failed(classify(&error)),
                Ok(frame) => length += frame.data_ref().map_or(0, |data| data.len() as u64),
            }
            if length > BODY_MAX {
                return Outcome::Failed(FailureKind::Protocol);
            }
        }
        let served_by = self.settings.served_by.as_ref();
        Outcome::Answered {
            status: head.status.as_u16(),
            served_by: served_by.and_then(|name| head.headers.get(name).cloned()),
        }
    }
}

struct Open(Rc<Cell<u64>>);

impl Open {
    fn new(count: &Rc<Cell<u64>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

fn connect_failure(error: &io::Error) -> Outcome {
    use nix::errno::Errno;
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE | Errno::ENFILE | Errno::EADDRNOTAVAIL | Errno::ENOBUFS | Errno::ENOMEM) => Outcome::NotSent,
        Some(Errno::ECONNRESET | Errno::ECONNABORTED | Errno::EPIPE) => Outcome::Failed(FailureKind::Reset),
        Some(Errno::ETIMEDOUT | Errno::EHOSTUNREACH | Errno::ENETUNREACH | Errno::EHOSTDOWN) => {
            Outcome::Failed(FailureKind::ConnectTimeout)
        }
        _ => Outcome::Failed(FailureKind::Refused),
    }
}

fn classify(error: &hyper::Error) -> FailureKind {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return match io.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => FailureKind::Protocol,
                io::ErrorKind::TimedOut => FailureKind::Timeout,
                _ => FailureKind::Reset,
            };
        }
        source = inner.source();
    }
    let broken_off = error.is_incomplete_message() || error.is_canceled() || error.is_closed();
    if broken_off || error.is_body_write_aborted() {
        FailureKind::Reset
    } else {
        FailureKind::Protocol
    }
}
