//! The boundary to the wire: HTTP/1.1 over sockets of its own, for one shard, without a task or an allocation per
//! request. Connections are lent to whoever speaks something else. Who waits for what, and what is measured, is the
//! shard's matter.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::connection::{Broken, Connection, Happened, Link, NOBODY};
use super::deadlines::Deadlines;
use super::door::Door;
use super::http1::Receiver;
use super::http2::{Hold, Sessions};
use super::lookout::{Event, Watch};
use super::pool::{Next, NoRoute, Pools, Slot};
use super::ready::{Ready, Token};
use super::share;
use super::stream::{Opening, Stream};
use crate::plan::DnsPolicy;

/// Shared by all connections of a shard; a read that fills it is followed by another.
const BUFFER: usize = 64 * 1024;

/// How a shard connects.
#[derive(Clone, Debug)]
pub struct TransportSettings {
    /// Where connections go; the first is that of HTTP/1.1.
    pub doors: Arc<[Door]>,
    /// Connections per address and door at most, all shards together.
    pub connections_max: usize,
    /// Requests at once on each connection of HTTP/2; none where HTTP/1.1 is spoken.
    pub streams: Option<usize>,
    /// What a new DNS answer does to connections, by class of clients.
    pub policies: Arc<[DnsPolicy]>,
    /// Older connections are closed after their request, real time.
    pub age_max: Option<Duration>,
    /// Each carries one request, whatever its server would take.
    pub once: bool,
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

/// What a look around saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Something happened to the connection in this slot.
    Connection(u32),
    /// Something happened to what is lent to this pass.
    Lent(u32),
    /// The timer rang.
    Timer,
    /// It is over.
    Nothing,
}

/// The connections of one shard.
pub struct Transport {
    doors: Arc<[Door]>,
    pools: Pools,
    connections: Vec<Connection>,
    free: Vec<u32>,
    open: u64,
    /// Most of them at once since that was asked last.
    open_most: u64,
    buffer: Box<[u8]>,
    ready: Ready,
    watch: Watch,
    age_max_us: u64,
    once: bool,
    /// When idle connections have been so for too long; none where they may be for ever.
    idle: Option<Deadlines>,
    sources: Arc<[IpAddr]>,
    turn: usize,
    /// Where HTTP/2 is spoken.
    sessions: Option<Sessions>,
}

impl Transport {
    /// No connection is opened yet. Shards start at different turns, so that few requests spread over all addresses.
    #[must_use]
    pub fn new(settings: &TransportSettings, shard: usize, shards: usize, ready: Ready, watch: Watch) -> Self {
        let ports: Vec<u16> = settings.doors.iter().map(|door| door.port).collect();
        Self {
            pools: Pools::new(
                &ports,
                share(settings.connections_max, shard, shards),
                settings.streams.unwrap_or(1),
                &settings.policies,
                shard,
            ),
            doors: Arc::clone(&settings.doors),
            connections: Vec::new(),
            free: Vec::new(),
            open: 0,
            open_most: 0,
            buffer: vec![0; BUFFER].into(),
            ready,
            watch,
            once: settings.once,
            age_max_us: settings.age_max.map_or(u64::MAX, |age| age.as_micros() as u64),
            idle: settings.idle_max.map(|idle| Deadlines::new(idle.as_micros() as u64)),
            sources: Arc::clone(&settings.sources),
            turn: shard,
            sessions: settings.streams.map(Sessions::new),
        }
    }

    /// Sees what has happened to sockets and timer, without waiting; whether anything has.
    #[inline]
    pub fn look_around(&mut self) -> io::Result<bool> {
        self.watch.look()
    }

    /// What was seen with the last look around; a connection that is gone since needs none.
    #[inline]
    pub fn seen(&self, index: usize) -> Option<Seen> {
        Some(match self.watch.event(index)? {
            Event::Timer => Seen::Timer,
            Event::Socket { slot, generation, what } => match self.connections.get(slot as usize) {
                Some(connection) if connection.generation == generation => {
                    connection.signs.take(what);
                    match connection.link {
                        Link::Lent => Seen::Lent(connection.pass),
                        _ => Seen::Connection(slot),
                    }
                }
                _ => Seen::Nothing,
            },
        })
    }

    /// Has [`Token::Watch`] ring for what happens after this, once.
    pub fn ring(&mut self) {
        self.watch.ring();
    }

    /// Some connections are read by tasks, which need their turns of the runtime.
    #[must_use]
    #[inline]
    pub fn has_tasks(&self) -> bool {
        self.sessions.is_some()
    }

    /// Users of a class got a new DNS answer.
    pub fn set_answer(&mut self, class: usize, addresses: &[IpAddr]) {
        for connection in self.pools.set_answer(class, addresses) {
            self.forget(connection);
        }
    }

    /// Connections that were open at once since this was asked last, at most. Those of HTTP/2, which last, are counted as
    /// they are.
    pub fn take_most_open(&mut self) -> u64 {
        let most = std::mem::replace(&mut self.open_most, self.open);
        most + self.sessions.as_ref().map_or(0, Sessions::open)
    }

    /// Most connections to one address, open or being opened: each takes a local port.
    #[must_use]
    pub fn busiest(&self) -> u64 {
        self.pools.busiest()
    }

    /// Chooses where the next request of a class through `door` goes.
    #[inline]
    pub fn route(&mut self, class: u8, door: u32) -> Result<u32, NoRoute> {
        self.pools.route(class, door)
    }

    /// Where the connection that a user keeps goes, if the next request of its class through `door` can use it.
    #[must_use]
    pub fn kept_pool(&self, own: Option<Own>, class: u8, door: u32) -> Option<u32> {
        let kept = self.connections[self.find(own?)? as usize].pool;
        (!self.pools.is_retired(kept) && self.pools.is_way(kept, class, door)).then_some(kept)
    }

    /// The class of clients that a pool belongs to.
    #[must_use]
    pub fn class(&self, pool: u32) -> u32 {
        self.pools.class(pool)
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

    /// A turn of the shard begins, in which some connections may be opened again.
    #[inline]
    pub fn begin_turn(&mut self) {
        self.pools.begin_turn();
    }

    /// Somebody waits for the next turn to open a connection.
    #[must_use]
    #[inline]
    pub fn is_held_back(&self) -> bool {
        self.pools.is_held_back()
    }

    /// Who may open a connection now and was to wait for this turn, and in which pool.
    pub fn let_open(&mut self) -> Option<(u32, u32)> {
        self.pools.let_open()
    }

    /// Asks for the connection that a user keeps, or the right to open one of its own; one to an address that has left
    /// the answer, or through another door, is given up.
    pub fn take_own(&mut self, pool: u32, own: Option<Own>) -> Slot {
        if let Some(index) = own.and_then(|own| self.find(own)) {
            if let Some(idle) = &mut self.idle {
                idle.remove(index);
            }
            let kept = self.connections[index as usize].pool;
            if !self.pools.is_retired(kept) && self.pools.is_same_way(kept, pool) {
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
        let connection = &mut self.connections[index as usize];
        connection.opened_us = match &connection.link {
            Link::Seat(seat) => seat.opened_us(now_us),
            _ => now_us,
        };
    }

    fn is_reusable(&self, index: u32, reusable: bool, now_us: u64) -> bool {
        let connection = &self.connections[index as usize];
        reusable
            && !self.once
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
        let door = self.pools.door(pool);
        let tls = || self.doors[door as usize].tls.clone();
        let connection = &mut self.connections[index as usize];
        let link = match &mut self.sessions {
            // Its frames are read and written by a task.
            Some(sessions) if door == 0 => {
                Link::Joining(sessions.join(pool, || Opening::new(address, source, tls(), None)))
            }
            _ => {
                let signs = Arc::clone(&connection.signs);
                let lookout = self.watch.lookout(index, connection.generation, signs);
                Link::Opening(Opening::new(address, source, tls(), Some(lookout)))
            }
        };
        connection.begin(link, pool, pass);
        index
    }

    fn add(&mut self) -> u32 {
        let index = u32::try_from(self.connections.len()).expect("descriptors run out first");
        let bell = self.ready.bell(Token::Connection(index));
        self.connections.push(Connection::new(bell));
        index
    }

    /// Sends `request` for `pass` over an open connection.
    #[inline]
    pub fn send(&mut self, connection: u32, pass: u32, request: &[u8], to_head: bool) -> Result<(), Broken> {
        self.connections[connection as usize].send(pass, request, to_head, &mut self.buffer)
    }

    /// Lends an open connection to an exchange of `pass` that speaks over it in its own way, until
    /// [`Transport::take_back`] or [`Transport::close`]; none where it is lent already.
    pub fn lend(&mut self, connection: u32, pass: u32) -> Option<Stream> {
        let connection = &mut self.connections[connection as usize];
        connection.pass = pass;
        match std::mem::replace(&mut connection.link, Link::Lent) {
            Link::Open(stream) => Some(stream),
            other => {
                connection.link = other;
                None
            }
        }
    }

    /// What a request of `pass` on a seat of HTTP/2 needs; none where that takes no more requests.
    pub fn hold(&mut self, connection: u32, pass: u32) -> Option<Hold> {
        let connection = &mut self.connections[connection as usize];
        connection.pass = pass;
        match &connection.link {
            Link::Seat(seat) => seat.hold(),
            _ => None,
        }
    }

    /// The exchange is over and its connection as good as before.
    pub fn take_back(&mut self, connection: u32, stream: Stream) {
        let connection = &mut self.connections[connection as usize];
        if let Link::Lent = connection.link {
            connection.link = Link::Open(stream);
            connection.listening = false;
        }
    }

    /// It has carried a request before.
    #[must_use]
    pub fn is_reused(&self, connection: u32) -> bool {
        self.connections[connection as usize].reused
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
        match &self.connections[connection as usize].link {
            Link::Opening(opening) => opening.is_handshake(),
            Link::Joining(joining) => joining.is_handshake(),
            _ => false,
        }
    }

    /// Looks at a connection whose bell rang.
    #[inline]
    pub fn look(&mut self, index: u32, receiver: &mut impl Receiver) -> Happened {
        let connection = &mut self.connections[index as usize];
        connection.bell.hush();
        connection.listening = false;
        match &mut connection.link {
            Link::None | Link::Lent | Link::Seat(_) => Happened::Nothing,
            Link::Joining(_) => self.look_joining(index),
            Link::Opening(opening) => {
                let mut context = Context::from_waker(&connection.waker);
                match opening.poll(&mut context) {
                    Poll::Pending => Happened::Nothing,
                    Poll::Ready(Ok((stream, took))) => {
                        connection.link = Link::Open(stream);
                        self.open += 1;
                        self.open_most = self.open_most.max(self.open);
                        Happened::Opened(Some(took))
                    }
                    Poll::Ready(Err(error)) => Happened::NotOpened(error, self.close(index)),
                }
            }
            Link::Open(_) if connection.pass == NOBODY => self.look_idle(index),
            Link::Open(_) => connection.go_on(&mut self.buffer, receiver),
        }
    }

    fn look_joining(&mut self, index: u32) -> Happened {
        let connection = &mut self.connections[index as usize];
        let Link::Joining(joining) = &mut connection.link else {
            return Happened::Nothing;
        };
        let guest = joining.is_guest();
        match joining.poll(&mut Context::from_waker(&connection.waker)) {
            Poll::Pending => Happened::Nothing,
            Poll::Ready(Ok((seat, took))) => {
                connection.link = Link::Seat(seat);
                connection.reused = guest;
                Happened::Opened(took)
            }
            Poll::Ready(Err(error)) => Happened::NotOpened(error, self.close(index)),
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
            if let Link::Seat(seat) = &self.connections[index as usize].link {
                seat.leave();
            }
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
        if let Link::Open(_) | Link::Lent = connection.link {
            self.open -= 1;
        }
        connection.reset();
        if let Some(idle) = &mut self.idle {
            idle.remove(index);
        }
        self.free.push(index);
    }
}
