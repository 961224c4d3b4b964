//! Connections of one shard by address: which address comes next, how many connections, who waits for one.
//! Opens nothing and sends nothing; `transport` does. Connections and passes are numbers here.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use crate::plan::DnsPolicy;

/// Requests that may wait for a connection to one address; the next one is dropped and counted.
pub const QUEUE_MAX: usize = 100_000;
/// Connections that one turn of a shard opens at most. Opening one takes as long as ten requests, so that a crowd of
/// new ones would keep what is due waiting; meanwhile most are served by those that become free.
const OPENED_PER_TURN: u32 = 8;

/// Why a request has nowhere to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// No address is known.
    NoAddress,
    /// Too many wait for the address already.
    QueueFull,
}

/// Whom a request got to carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// This open connection.
    Idle(u32),
    /// The right to open a new one.
    New,
    /// Nobody yet: it stands in line.
    InLine,
}

/// What becomes of the room that a connection leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// This pass, the first in line, gets it.
    Pass(u32),
    /// Nobody needs it.
    Nobody,
}

/// A way into the target for one class of clients: they share neither answers nor connections with another.
struct Way {
    class: u32,
    door: u32,
    port: u16,
    policy: DnsPolicy,
    /// The pools of the answer's addresses.
    answer: Vec<u32>,
    /// Whose turn it is; classes that take turns with one another would else all get one address each.
    turn: usize,
}

struct Pool {
    way: u32,
    address: SocketAddr,
    /// How many requests share a connection.
    seats: usize,
    /// Seats of connections that are open, being opened or in use.
    taken: usize,
    idle: Vec<u32>,
    line: VecDeque<u32>,
    retired: bool,
}

impl Pool {
    #[inline]
    fn has_room(&self, connections_max: usize) -> bool {
        self.taken < connections_max.saturating_mul(self.seats)
    }
}

/// All pools of one shard, and the order in which addresses are used.
pub struct Pools {
    /// By class and door.
    ways: Box<[Way]>,
    doors: u32,
    limit: usize,
    /// How many requests share a connection of the first door.
    streams: usize,
    /// Never shrinks: as long as the list of addresses ever used.
    pools: Vec<Pool>,
    by_address: HashMap<(u32, IpAddr), u32>,
    /// How many more may be opened in this turn.
    openings: u32,
    /// Somebody stands in line for whom there is room.
    held_back: bool,
    /// The pool that is let open one next.
    let_open: usize,
}

impl Pools {
    /// Pools of at most `limit` connections each: one for each address, door (which are these ports) and class of
    /// clients (which do this with answers).
    /// Only through the first door, that of HTTP, do `streams` requests share a connection.
    #[must_use]
    pub fn new(ports: &[u16], limit: usize, streams: usize, policies: &[DnsPolicy], first_turn: usize) -> Self {
        let of_class = |(class, policy): (usize, &DnsPolicy)| {
            let policy = *policy;
            ports.iter().enumerate().map(move |(door, port)| Way {
                class: class as u32,
                door: door as u32,
                port: *port,
                policy,
                answer: Vec::new(),
                turn: first_turn,
            })
        };
        Self {
            ways: policies.iter().enumerate().flat_map(of_class).collect(),
            doors: ports.len() as u32,
            limit: limit.max(1),
            streams: streams.max(1),
            pools: Vec::new(),
            by_address: HashMap::new(),
            openings: OPENED_PER_TURN,
            held_back: false,
            let_open: 0,
        }
    }

    /// Users of a class got a new DNS answer. Under `honour-ttl`, idle connections to addresses that left it are given
    /// up at once, which is what is returned, and busy ones after their request.
    pub fn set_answer(&mut self, class: usize, addresses: &[IpAddr]) -> Vec<u32> {
        let mut given_up = Vec::new();
        for door in 0..self.doors {
            let way = class as u32 * self.doors + door;
            let answer: Vec<u32> = addresses.iter().map(|address| self.pool_of(way, *address)).collect();
            if self.ways[way as usize].policy == DnsPolicy::HonourTtl {
                self.retire_all_but(way, &answer, &mut given_up);
            }
            self.ways[way as usize].answer = answer;
        }
        given_up
    }

    fn retire_all_but(&mut self, way: u32, answer: &[u32], given_up: &mut Vec<u32>) {
        let of_way = |(_, pool): &(usize, &mut Pool)| pool.way == way;
        for (index, pool) in self.pools.iter_mut().enumerate().filter(of_way) {
            pool.retired = !answer.contains(&(index as u32));
            if pool.retired {
                pool.taken -= pool.idle.len();
                given_up.append(&mut pool.idle);
            }
        }
    }

    fn pool_of(&mut self, way: u32, address: IpAddr) -> u32 {
        let next = self.pools.len() as u32;
        let index = *self.by_address.entry((way, address)).or_insert(next);
        if index == next {
            let Way { port, door, .. } = self.ways[way as usize];
            self.pools.push(Pool {
                way,
                address: SocketAddr::new(address, port),
                seats: if door == 0 { self.streams } else { 1 },
                taken: 0,
                idle: Vec::new(),
                line: VecDeque::new(),
                retired: false,
            });
        }
        index
    }

    /// The pool for the next request of a class through `door`: the answer's addresses in turn; under `pin` and
    /// `jvm-30s`, old connections come first.
    #[inline]
    pub fn route(&mut self, class: u8, door: u32) -> Result<u32, NoRoute> {
        let index = u32::from(class) * self.doors + door;
        let way = &mut self.ways[index as usize];
        let turn = way.turn;
        way.turn = turn.wrapping_add(1);
        if matches!(way.policy, DnsPolicy::Pin | DnsPolicy::Jvm)
            && let Some(pool) = self.pinned(index, turn)
        {
            return Ok(pool);
        }
        let index = match self.ways[index as usize].answer.as_slice() {
            [] => return Err(NoRoute::NoAddress),
            [only] => *only,
            several => several[turn % several.len()],
        };
        if self.pools[index as usize].line.len() >= QUEUE_MAX {
            return Err(NoRoute::QueueFull);
        }
        Ok(index)
    }

    fn pinned(&self, way: u32, turn: usize) -> Option<u32> {
        let is_usable = |pool: &Pool| pool.way == way && !pool.idle.is_empty();
        let usable = || (0..self.pools.len()).filter(|index| is_usable(&self.pools[*index]));
        let count = usable().count();
        let index = usable().nth(turn.checked_rem(count)?)?;
        Some(index as u32)
    }

    /// Connections to the address and port that have most.
    #[must_use]
    pub fn busiest(&self) -> u64 {
        let mut taken: HashMap<SocketAddr, u64> = HashMap::new();
        for pool in &self.pools {
            *taken.entry(pool.address).or_default() += pool.taken.div_ceil(pool.seats) as u64;
        }
        taken.into_values().max().unwrap_or(0)
    }

    /// The address of a pool.
    #[must_use]
    #[inline]
    pub fn address(&self, pool: u32) -> SocketAddr {
        self.pools[pool as usize].address
    }

    /// Gives `pass` the connection used last (so that those too many grow old and are closed by the server), the
    /// right to open one, or a place in line.
    #[inline]
    pub fn take(&mut self, pool: u32, pass: u32) -> Slot {
        let pool = &mut self.pools[pool as usize];
        if let Some(connection) = pool.idle.pop() {
            return Slot::Idle(connection);
        }
        if pool.has_room(self.limit) {
            if self.openings > 0 && pool.line.is_empty() {
                self.openings -= 1;
                pool.taken += 1;
                return Slot::New;
            }
            self.held_back = true;
        }
        pool.line.push_back(pass);
        Slot::InLine
    }

    /// A turn of the shard begins, in which some connections may be opened again.
    #[inline]
    pub fn begin_turn(&mut self) {
        self.openings = OPENED_PER_TURN;
    }

    /// Somebody waits for the next turn to open a connection.
    #[must_use]
    #[inline]
    pub fn is_held_back(&self) -> bool {
        self.held_back
    }

    /// Who may open a connection now and was to wait for this turn, and in which pool.
    pub fn let_open(&mut self) -> Option<(u32, u32)> {
        if self.openings == 0 {
            return None;
        }
        let pools = &self.pools;
        let mut in_turn = (self.let_open.min(pools.len())..pools.len()).chain(0..self.let_open.min(pools.len()));
        let has_room = |index: &usize| !pools[*index].line.is_empty() && pools[*index].has_room(self.limit);
        let Some(index) = in_turn.find(has_room) else {
            self.held_back = false;
            return None;
        };
        // One address that refuses all of them must not keep the others from theirs.
        self.let_open = index + 1;
        let pool = &mut self.pools[index];
        let pass = pool.line.pop_front()?;
        pool.taken += 1;
        self.openings -= 1;
        Some((index as u32, pass))
    }

    /// Whether both are of one class and lead through one door, so that a connection of the one can serve the other.
    #[must_use]
    pub fn is_same_way(&self, one: u32, other: u32) -> bool {
        self.pools[one as usize].way == self.pools[other as usize].way
    }

    /// Whether a pool is of this class and leads through this door.
    #[must_use]
    pub fn is_way(&self, pool: u32, class: u8, door: u32) -> bool {
        self.pools[pool as usize].way == u32::from(class) * self.doors + door
    }

    /// Through which door a pool's connections go.
    #[must_use]
    pub fn door(&self, pool: u32) -> u32 {
        self.ways[self.pools[pool as usize].way as usize].door
    }

    /// Which class of clients a pool's connections belong to.
    #[must_use]
    pub fn class(&self, pool: u32) -> u32 {
        self.ways[self.pools[pool as usize].way as usize].class
    }

    /// A connection of a user's own is opened: nobody else waits for its room.
    pub fn take_own(&mut self, pool: u32) {
        self.pools[pool as usize].taken += 1;
    }

    /// `pass` stands in line no longer; it was the first to come, so it is found at once.
    pub fn leave_line(&mut self, pool: u32, pass: u32) {
        let line = &mut self.pools[pool as usize].line;
        if let Some(at) = line.iter().position(|waiting| *waiting == pass) {
            line.remove(at);
        }
    }

    /// Whether a connection that has just become free is to be closed, because its address left the answer.
    #[must_use]
    #[inline]
    pub fn is_retired(&self, pool: u32) -> bool {
        self.pools[pool as usize].retired
    }

    /// A connection is free: for the first in line, or for later.
    #[inline]
    pub fn give_back(&mut self, pool: u32, connection: u32) -> Next {
        let pool = &mut self.pools[pool as usize];
        match pool.line.pop_front() {
            Some(pass) => Next::Pass(pass),
            None => {
                pool.idle.push(connection);
                Next::Nobody
            }
        }
    }

    /// A connection was closed in use: the first in line may open one in its place.
    pub fn closed(&mut self, pool: u32) -> Next {
        let pool = &mut self.pools[pool as usize];
        match pool.line.pop_front() {
            Some(pass) => Next::Pass(pass),
            None => {
                pool.taken -= 1;
                Next::Nobody
            }
        }
    }

    /// An idle connection was closed by its peer. Nobody waits while one is idle.
    pub fn idle_closed(&mut self, pool: u32, connection: u32) {
        let pool = &mut self.pools[pool as usize];
        if let Some(at) = pool.idle.iter().position(|idle| *idle == connection) {
            pool.idle.swap_remove(at);
        }
        pool.taken -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, last])
    }

    fn pools(policy: DnsPolicy) -> Pools {
        let mut pools = Pools::new(&[80], 2, 1, &[policy], 0);
        pools.set_answer(0, &[ip(1), ip(2)]);
        pools
    }

    #[test]
    fn addresses_take_turns_and_an_empty_answer_has_no_route() {
        let mut used = pools(DnsPolicy::HonourTtl);
        let turns: Vec<_> = (0..4)
            .map(|_| used.route(0, 0).map(|pool| used.address(pool).ip()).unwrap())
            .collect();
        assert_eq!(turns, [ip(1), ip(2), ip(1), ip(2)]);
        let mut empty = Pools::new(&[80], 1, 1, &[DnsPolicy::Pin], 0);
        assert_eq!(empty.route(0, 0), Err(NoRoute::NoAddress));
    }

    #[test]
    fn honour_ttl_gives_connections_up_when_their_address_left() {
        let mut used = pools(DnsPolicy::HonourTtl);
        let east = used.route(0, 0).unwrap();
        assert_eq!((used.take(east, 1), used.take(east, 2)), (Slot::New, Slot::New));
        assert_eq!(used.give_back(east, 7), Next::Nobody);
        assert_eq!(used.set_answer(0, &[ip(2)]), [7], "idle connections are closed at once");
        assert!(used.is_retired(east), "a busy one is closed after its request");
        assert!((0..3).all(|_| used.route(0, 0).map(|pool| used.address(pool).ip()) == Ok(ip(2))));
        assert_eq!(used.set_answer(0, &[ip(1), ip(2)]), Vec::<u32>::new());
        assert!(!used.is_retired(east), "an address that came back is used again");
    }

    #[test]
    fn pin_keeps_old_connections_and_opens_new_ones_by_the_new_answer() {
        let mut used = pools(DnsPolicy::Pin);
        let old = used.route(0, 0).unwrap();
        used.take(old, 1);
        used.give_back(old, 7);
        assert_eq!(used.set_answer(0, &[ip(3)]), Vec::<u32>::new());
        assert_eq!(used.route(0, 0), Ok(old));
        assert_eq!(used.take(old, 2), Slot::Idle(7));
        let new = used.route(0, 0).unwrap();
        assert_eq!(used.address(new).ip(), ip(3));
    }

    #[test]
    fn connections_are_limited_and_the_line_is_bounded_and_fair() {
        let mut used = pools(DnsPolicy::HonourTtl);
        used.set_answer(0, &[ip(1)]);
        let pool = used.route(0, 0).unwrap();
        assert_eq!((used.take(pool, 1), used.take(pool, 2)), (Slot::New, Slot::New));
        for pass in 0..QUEUE_MAX as u32 {
            assert_eq!(used.route(0, 0), Ok(pool));
            assert_eq!(used.take(pool, 100 + pass), Slot::InLine);
        }
        assert_eq!(used.route(0, 0), Err(NoRoute::QueueFull));
        assert_eq!(used.busiest(), 2);
        used.leave_line(pool, 101);
        assert_eq!(used.give_back(pool, 7), Next::Pass(100));
        assert_eq!(used.closed(pool), Next::Pass(102), "who gave up is passed over");
        assert!(used.route(0, 0).is_ok());
    }

    #[test]
    fn what_is_closed_makes_room() {
        let mut used = pools(DnsPolicy::HonourTtl);
        used.set_answer(0, &[ip(1)]);
        let pool = used.route(0, 0).unwrap();
        assert_eq!((used.take(pool, 1), used.take(pool, 2)), (Slot::New, Slot::New));
        assert_eq!(used.closed(pool), Next::Nobody);
        assert_eq!(used.give_back(pool, 7), Next::Nobody);
        used.idle_closed(pool, 7);
        assert_eq!((used.take(pool, 3), used.take(pool, 4)), (Slot::New, Slot::New));
        assert_eq!(used.take(pool, 5), Slot::InLine);
    }

    #[test]
    fn a_crowd_of_connections_is_opened_over_several_turns_or_served_by_those_that_become_free() {
        let mut used = Pools::new(&[80], 100, 1, &[DnsPolicy::HonourTtl], 0);
        used.set_answer(0, &[ip(1), ip(2)]);
        let (first, second) = (used.route(0, 0).unwrap(), used.route(0, 0).unwrap());
        for pass in 0..OPENED_PER_TURN {
            assert_eq!(used.take(first, pass), Slot::New);
        }
        assert!(!used.is_held_back());
        for (pool, pass) in [(first, 20), (first, 21), (second, 22), (first, 23)] {
            assert_eq!(used.take(pool, pass), Slot::InLine);
        }
        assert!(used.is_held_back());
        assert_eq!(used.let_open(), None, "not in this turn");
        assert_eq!(used.give_back(first, 7), Next::Pass(20));
        used.begin_turn();
        assert_eq!(used.take(first, 24), Slot::InLine, "nobody overtakes who waits");
        let order = [(first, 21), (second, 22), (first, 23), (first, 24)];
        assert_eq!(std::array::from_fn(|_| used.let_open().unwrap()), order);
        assert!(used.is_held_back() && used.let_open().is_none());
        assert!(!used.is_held_back(), "nobody is left");
    }

    #[test]
    fn each_door_of_an_address_has_connections_and_a_line_of_its_own() {
        let mut used = Pools::new(&[80, 7], 1, 1, &[DnsPolicy::Pin], 0);
        used.set_answer(0, &[ip(1)]);
        let (web, other) = (used.route(0, 0).unwrap(), used.route(0, 1).unwrap());
        assert_eq!((used.address(web).port(), used.address(other).port()), (80, 7));
        assert_eq!((used.take(web, 1), used.take(other, 2)), (Slot::New, Slot::New));
        assert_eq!(used.give_back(web, 9), Next::Nobody);
        assert_eq!(
            used.route(0, 1),
            Ok(other),
            "an idle connection of another door is no use"
        );
        assert!(!used.is_same_way(web, other));
    }

    #[test]
    fn classes_share_neither_answers_nor_connections() {
        let mut used = Pools::new(&[80], 1, 1, &[DnsPolicy::HonourTtl, DnsPolicy::Pin], 0);
        for class in [0, 1] {
            used.set_answer(class, &[ip(1)]);
        }
        let (first, pinned) = (used.route(0, 0).unwrap(), used.route(1, 0).unwrap());
        assert_eq!((used.class(first), used.class(pinned)), (0, 1));
        assert_eq!((used.take(first, 1), used.take(pinned, 2)), (Slot::New, Slot::New));
        assert_eq!(used.busiest(), 2, "both go to one address");
        used.give_back(first, 7);
        used.give_back(pinned, 8);
        assert_eq!(
            used.set_answer(0, &[ip(2)]),
            [7],
            "the other class keeps its connection"
        );
        assert_eq!(used.route(1, 0), Ok(pinned));
        assert_eq!(used.take(pinned, 3), Slot::Idle(8));
        assert_eq!(used.route(1, 0), Ok(pinned), "its answer is still the old one");
        assert_eq!(used.route(0, 0).map(|pool| used.address(pool).ip()), Ok(ip(2)));
        assert!(!used.is_same_way(first, pinned));
    }
}
