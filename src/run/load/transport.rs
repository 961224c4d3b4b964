//! The boundary to the wire: HTTP/1.1 over sockets of its own, for one shard, without a task or an allocation per
//! request. Who waits for what, and what is measured, is the shard's matter.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, Wake as _, Waker};
use std::time::Duration;

use tokio::io::ReadBuf;

use super::deadlines::Deadlines;
use super::http1::{AtEnd, Progress, Reader, Receiver};
use super::pool::{Next, NoRoute, Pools, Slot};
use super::ready::{Bell, Ready, Token};
use super::stream::{Opening, Stream, Took, is_tls};
use crate::plan::DnsPolicy;
use crate::recording::FailureKind;
use crate::run::tls::Tls;

/// Shared by all connections of a shard; a read that fills it is followed by another.
const BUFFER: usize = 64 * 1024;
/// Reads of one connection in a row before others get their turn, so that an endless body starves nobody.
const READS_PER_TURN: usize = 16;
const NOBODY: u32 = u32::MAX;

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
    /// None speaks in the clear.
    pub tls: Option<Arc<Tls>>,
    /// Older connections are closed after their request, real time.
    pub age_max: Option<Duration>,
    /// Connections that nobody used for so long are closed, real time.
    pub idle_max: Option<Duration>,
    /// Local addresses to come from, in turn.
    pub sources: Arc<[IpAddr]>,
}

/// A connection of a user's own, for as long as it is open: the same slot can be another connection later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own {
    connection: u32,
    generation: u32,
}

/// What a look at a connection found.
#[derive(Debug)]
pub enum Happened {
    /// Nothing yet.
    Nothing,
    /// It is open and waits for its first request.
    Opened(Took),
    /// It could not be opened, and is gone; who may open one in its room.
    NotOpened(io::Error, Next),
    /// The response is whole.
    Answered {
        /// Whether it may carry another request.
        reusable: bool,
    },
    /// It broke with the response not whole; the shard closes it.
    Broken(Broken),
    /// It was idle and its peer closed it; it is gone, and nobody missed it.
    GoneIdle,
}

/// How a connection broke under a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// What the user sees.
    pub kind: FailureKind,
    /// Not one byte of a response had come.
    pub silent: bool,
    /// Not one byte of the request had left.
    pub unsent: bool,
    /// It had carried a request before, so its end may have crossed this one on the way (RFC 9112, section 9.3.1).
    pub reused: bool,
}

enum Link {
    None,
    Opening(Opening),
    Open(Stream),
}

struct Connection {
    bell: Arc<Bell>,
    waker: Waker,
    link: Link,
    pool: u32,
    pass: u32,
    reader: Reader,
    /// What the socket has not taken yet.
    unsent: Vec<u8>,
    /// Everything is written, but TLS has not sent all of it.
    unflushed: bool,
    to_head: bool,
    reused: bool,
    written: bool,
    heard: bool,
    /// The bell is told of the next byte already.
    listening: bool,
    opened_us: u64,
    /// How many connections this slot has had.
    generation: u32,
}

/// The connections of one shard.
pub struct Transport {
    tls: Option<Arc<Tls>>,
    pools: Pools,
    connections: Vec<Connection>,
    free: Vec<u32>,
    open: u64,
    buffer: Box<[u8]>,
    ready: Ready,
    age_max_us: u64,
    /// When idle connections have been so for too long; none where they may be for ever.
    idle: Option<Deadlines>,
    sources: Arc<[IpAddr]>,
    turn: usize,
}

impl Transport {
    /// No connection is opened yet. Shards start at different turns, so that few requests spread over all addresses.
    #[must_use]
    pub fn new(settings: &TransportSettings, first_turn: usize, ready: Ready) -> Self {
        Self {
            pools: Pools::new(settings.port, settings.connections_max, settings.policy, first_turn),
            tls: settings.tls.clone(),
            connections: Vec::new(),
            free: Vec::new(),
            open: 0,
            buffer: vec![0; BUFFER].into(),
            ready,
            age_max_us: settings.age_max.map_or(u64::MAX, |age| age.as_micros() as u64),
            idle: settings.idle_max.map(|idle| Deadlines::new(idle.as_micros() as u64)),
            sources: Arc::clone(&settings.sources),
            turn: first_turn,
        }
    }

    /// Users got a new DNS answer.
    pub fn set_answer(&mut self, addresses: &[IpAddr]) {
        for connection in self.pools.set_answer(addresses) {
            self.forget(connection);
        }
    }

    /// Open connections.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open
    }

    /// Most connections to one address, open or being opened: each takes a local port.
    #[must_use]
    pub fn busiest(&self) -> u64 {
        self.pools.busiest()
    }

    /// Chooses where the next request goes.
    #[inline]
    pub fn route(&mut self) -> Result<u32, NoRoute> {
        self.pools.route()
    }

    /// The address of a pool.
    #[must_use]
    pub fn address(&self, pool: u32) -> SocketAddr {
        self.pools.address(pool)
    }

    /// The pass that a connection works for.
    #[must_use]
    #[inline]
    pub fn pass(&self, connection: u32) -> Option<u32> {
        let pass = self.connections[connection as usize].pass;
        (pass != NOBODY).then_some(pass)
    }

    /// Asks for a connection for `pass`.
    #[inline]
    pub fn take(&mut self, pool: u32, pass: u32) -> Slot {
        let slot = self.pools.take(pool, pass);
        if let (Slot::Idle(connection), Some(idle)) = (slot, &mut self.idle) {
            idle.remove(connection);
        }
        slot
    }

    /// Asks for the connection that a user keeps, or the right to open one of its own; one to an address that has left
    /// the answer is given up.
    pub fn take_own(&mut self, pool: u32, own: Option<Own>) -> Slot {
        if let Some(index) = own.and_then(|own| self.find(own)) {
            if let Some(idle) = &mut self.idle {
                idle.remove(index);
            }
            if !self.pools.is_retired(self.connections[index as usize].pool) {
                return Slot::Idle(index);
            }
            self.close(index);
        }
        self.pools.take_own(pool);
        Slot::New
    }

    /// The request on a user's own connection is over; none when it can carry no other.
    pub fn release_own(&mut self, index: u32, reusable: bool, now_us: u64) -> Option<Own> {
        if !self.is_reusable(index, reusable, now_us) {
            self.close(index);
            return None;
        }
        let connection = &mut self.connections[index as usize];
        connection.pass = NOBODY;
        connection.reused = true;
        let own = Own {
            connection: index,
            generation: connection.generation,
        };
        if matches!(self.look_idle(index), Happened::GoneIdle) {
            return None;
        }
        if let Some(idle) = &mut self.idle {
            idle.push(index, now_us);
        }
        Some(own)
    }

    /// The user who kept it is gone.
    pub fn give_up(&mut self, own: Own) {
        if let Some(index) = self.find(own) {
            self.close(index);
        }
    }

    fn find(&self, own: Own) -> Option<u32> {
        let connection = self.connections.get(own.connection as usize)?;
        let same = connection.generation == own.generation && connection.pass == NOBODY;
        (same && matches!(connection.link, Link::Open(_))).then_some(own.connection)
    }

    /// Closes what nobody has used for too long.
    pub fn expire_idle(&mut self, now_us: u64) {
        while let Some(index) = self.idle.as_mut().and_then(|idle| idle.pop_due(now_us)) {
            let pool = self.connections[index as usize].pool;
            self.pools.idle_closed(pool, index);
            self.forget(index);
        }
    }

    /// When to do so next.
    #[must_use]
    #[inline]
    pub fn idle_until_us(&self) -> Option<u64> {
        self.idle.as_ref()?.next_us()
    }

    /// A connection has opened at this instant.
    pub fn opened(&mut self, index: u32, now_us: u64) {
        self.connections[index as usize].opened_us = now_us;
    }

    fn is_reusable(&self, index: u32, reusable: bool, now_us: u64) -> bool {
        let connection = &self.connections[index as usize];
        reusable
            && connection.unsent.is_empty()
            && !connection.unflushed
            && !self.pools.is_retired(connection.pool)
            && now_us.saturating_sub(connection.opened_us) < self.age_max_us
    }

    /// `pass` waits no longer.
    pub fn leave_line(&mut self, pool: u32, pass: u32) {
        self.pools.leave_line(pool, pass);
    }

    /// Begins to open a connection for `pass`; its bell rings when that is done.
    pub fn connect(&mut self, pool: u32, pass: u32) -> u32 {
        let address = self.pools.address(pool);
        let source = match &*self.sources {
            [] => None,
            sources => sources.get(self.turn % sources.len()).copied(),
        };
        self.turn = self.turn.wrapping_add(1);
        let index = self.free.pop().unwrap_or_else(|| self.add());
        let connection = &mut self.connections[index as usize];
        connection.link = Link::Opening(Opening::new(address, source, self.tls.clone()));
        (connection.pool, connection.pass) = (pool, pass);
        (connection.reused, connection.listening, connection.heard) = (false, false, false);
        connection.bell.wake_by_ref();
        index
    }

    fn add(&mut self) -> u32 {
        let index = u32::try_from(self.connections.len()).expect("descriptors run out first");
        let bell = self.ready.bell(Token::Connection(index));
        self.connections.push(Connection {
            waker: Waker::from(Arc::clone(&bell)),
            bell,
            link: Link::None,
            pool: 0,
            pass: NOBODY,
            reader: Reader::default(),
            unsent: Vec::new(),
            unflushed: false,
            to_head: false,
            reused: false,
            written: false,
            heard: false,
            listening: false,
            opened_us: 0,
            generation: 0,
        });
        index
    }

    /// Sends `request` for `pass` over an open connection.
    #[inline]
    pub fn send(&mut self, connection: u32, pass: u32, request: &[u8], to_head: bool) -> Result<(), Broken> {
        let connection = &mut self.connections[connection as usize];
        connection.pass = pass;
        connection.to_head = to_head;
        (connection.written, connection.heard) = (false, false);
        let written = connection.write(request)?;
        connection.unsent.clear();
        connection.unsent.extend_from_slice(&request[written..]);
        if !connection.listening {
            connection.listen(&mut self.buffer);
        }
        Ok(())
    }

    /// Something of an answer has come on a connection in use.
    #[must_use]
    #[inline]
    pub fn has_heard(&self, connection: u32) -> bool {
        self.connections[connection as usize].heard
    }

    /// It is connected and shakes hands.
    #[must_use]
    pub fn is_handshake(&self, connection: u32) -> bool {
        matches!(&self.connections[connection as usize].link, Link::Opening(opening) if opening.is_handshake())
    }

    /// Looks at a connection whose bell rang.
    #[inline]
    pub fn look(&mut self, index: u32, receiver: &mut impl Receiver) -> Happened {
        let connection = &mut self.connections[index as usize];
        connection.bell.hush();
        connection.listening = false;
        match &mut connection.link {
            Link::None => Happened::Nothing,
            Link::Opening(opening) => {
                let mut context = Context::from_waker(&connection.waker);
                match opening.poll(&mut context) {
                    Poll::Pending => Happened::Nothing,
                    Poll::Ready(Ok((stream, took))) => {
                        connection.link = Link::Open(stream);
                        self.open += 1;
                        Happened::Opened(took)
                    }
                    Poll::Ready(Err(error)) => Happened::NotOpened(error, self.close(index)),
                }
            }
            Link::Open(_) if connection.pass == NOBODY => self.look_idle(index),
            Link::Open(_) => connection.go_on(&mut self.buffer, receiver),
        }
    }

    fn look_idle(&mut self, index: u32) -> Happened {
        let connection = &mut self.connections[index as usize];
        if connection.listen(&mut self.buffer) {
            return Happened::Nothing;
        }
        // The end, or bytes nobody asked for: either way it can carry nothing more.
        let pool = connection.pool;
        self.pools.idle_closed(pool, index);
        self.forget(index);
        Happened::GoneIdle
    }

    /// The request on it is over; says who may use its room now, and the connection if it can still be used.
    #[inline]
    pub fn release(&mut self, index: u32, reusable: bool, now_us: u64) -> (Next, Option<u32>) {
        if !self.is_reusable(index, reusable, now_us) {
            return (self.close(index), None);
        }
        let connection = &mut self.connections[index as usize];
        connection.pass = NOBODY;
        connection.reused = true;
        let pool = connection.pool;
        let next = self.pools.give_back(pool, index);
        if next == Next::Nobody && matches!(self.look_idle(index), Happened::GoneIdle) {
            return (Next::Nobody, None);
        }
        if let (Next::Nobody, Some(idle)) = (next, &mut self.idle) {
            idle.push(index, now_us);
        }
        (next, Some(index))
    }

    /// Closes a connection in use; says who may open one in its room.
    pub fn close(&mut self, index: u32) -> Next {
        let pool = self.connections[index as usize].pool;
        self.forget(index);
        self.pools.closed(pool)
    }

    /// Closes a connection in use; its room stays its pass's own, who opens another one.
    pub fn replace(&mut self, index: u32) -> u32 {
        let Connection { pool, pass, .. } = self.connections[index as usize];
        self.forget(index);
        self.connect(pool, pass)
    }

    fn forget(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        if let Link::Open(_) = connection.link {
            self.open -= 1;
        }
        connection.link = Link::None;
        connection.pass = NOBODY;
        connection.generation = connection.generation.wrapping_add(1);
        if let Some(idle) = &mut self.idle {
            idle.remove(index);
        }
        connection.reader.reset();
        connection.unsent = Vec::new();
        connection.unflushed = false;
        self.free.push(index);
    }
}

impl Connection {
    /// Writes what the socket takes.
    #[inline]
    fn write(&mut self, request: &[u8]) -> Result<usize, Broken> {
        let Link::Open(stream) = &mut self.link else {
            return Ok(0);
        };
        let mut context = Context::from_waker(&self.waker);
        let mut written = 0;
        while written < request.len() {
            match stream.poll_write(&mut context, &request[written..]) {
                Poll::Pending => break,
                Poll::Ready(Ok(count)) => {
                    written += count;
                    self.written = true;
                }
                Poll::Ready(Err(error)) => return Err(self.broken(io_failure(&error))),
            }
        }
        self.unflushed = match stream.poll_flush(&mut context) {
            Poll::Pending => true,
            Poll::Ready(Ok(())) => false,
            Poll::Ready(Err(error)) => return Err(self.broken(io_failure(&error))),
        };
        Ok(written)
    }

    /// Has the bell rung when the peer says something; false if it has said something already, or is gone.
    #[inline]
    fn listen(&mut self, buffer: &mut [u8]) -> bool {
        let Link::Open(stream) = &mut self.link else {
            return false;
        };
        let mut context = Context::from_waker(&self.waker);
        if self.pass == NOBODY {
            let mut buffer = ReadBuf::new(buffer);
            self.listening = stream.poll_read(&mut context, &mut buffer).is_pending();
        } else {
            match stream.poll_readable(&mut context) {
                Poll::Pending => self.listening = true,
                // The answer is there already, or the readiness is stale; a look will tell.
                Poll::Ready(()) => self.bell.wake_by_ref(),
            }
        }
        self.listening
    }

    /// Sends what is left to send and reads what has come.
    #[inline]
    fn go_on(&mut self, buffer: &mut [u8], receiver: &mut impl Receiver) -> Happened {
        if !self.unsent.is_empty() || self.unflushed {
            let unsent = std::mem::take(&mut self.unsent);
            match self.write(&unsent) {
                Ok(written) => self.unsent = unsent[written..].to_vec(),
                Err(broken) => return Happened::Broken(broken),
            }
        }
        for _ in 0..READS_PER_TURN {
            let Link::Open(stream) = &mut self.link else {
                return Happened::Nothing;
            };
            let mut context = Context::from_waker(&self.waker);
            let mut read = ReadBuf::new(buffer);
            let input = match stream.poll_read(&mut context, &mut read) {
                Poll::Pending => {
                    self.listening = true;
                    return Happened::Nothing;
                }
                Poll::Ready(Err(error)) => return Happened::Broken(self.broken(io_failure(&error))),
                Poll::Ready(Ok(())) => read.filled(),
            };
            if input.is_empty() {
                return match self.reader.at_end() {
                    AtEnd::Whole => Happened::Answered { reusable: false },
                    AtEnd::Cut => Happened::Broken(self.broken(FailureKind::Reset)),
                };
            }
            self.heard = true;
            match self.reader.feed(input, self.to_head, receiver) {
                Ok(Progress::More) => {}
                Ok(Progress::Whole { used, reusable }) => {
                    // What came unasked belongs to no request.
                    let reusable = reusable && used == input.len();
                    return Happened::Answered { reusable };
                }
                Err(_) => return Happened::Broken(self.broken(FailureKind::Protocol)),
            }
        }
        self.bell.wake_by_ref();
        Happened::Nothing
    }

    fn broken(&self, kind: FailureKind) -> Broken {
        Broken {
            kind: match kind {
                FailureKind::Timeout if self.heard => FailureKind::BodyTimeout,
                kind => kind,
            },
            silent: !self.heard,
            unsent: !self.written,
            reused: self.reused,
        }
    }
}

fn io_failure(error: &io::Error) -> FailureKind {
    match error.kind() {
        io::ErrorKind::TimedOut => FailureKind::Timeout,
        _ if is_tls(error) => FailureKind::Tls,
        _ => FailureKind::Reset,
    }
}

/// What a failed connect means to the user; none where the generator itself lacks what it takes.
#[must_use]
pub fn connect_failure(error: &io::Error) -> Option<FailureKind> {
    use nix::errno::Errno;
    if is_tls(error) {
        return Some(FailureKind::Tls);
    }
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE | Errno::ENFILE | Errno::EADDRNOTAVAIL | Errno::ENOBUFS | Errno::ENOMEM) => None,
        Some(Errno::ECONNRESET | Errno::ECONNABORTED | Errno::EPIPE) => Some(FailureKind::Reset),
        Some(Errno::ETIMEDOUT | Errno::EHOSTUNREACH | Errno::ENETUNREACH | Errno::EHOSTDOWN) => {
            Some(FailureKind::ConnectTimeout)
        }
        _ => Some(FailureKind::Refused),
    }
}
