//! Connections of one shard by address: which address comes next, how many connections, who waits for one.
//! Opens nothing and sends nothing; `transport` does.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::plan::DnsPolicy;

/// Requests that may wait for a connection to one address; the next one is dropped and counted.
pub const QUEUE_MAX: usize = 10_000;

/// Why a request has nowhere to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// No address is known.
    NoAddress,
    /// Too many wait for the address already.
    QueueFull,
}

/// The connections to one address. `C` is a connection that can be used again.
pub struct Pool<C> {
    address: SocketAddr,
    slots: Semaphore,
    waiting: Cell<usize>,
    idle: RefCell<Vec<C>>,
    retired: Cell<bool>,
}

impl<C> Pool<C> {
    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the right to one connection, in order of asking. Slots in use and idle connections together never
    /// exceed the limit, because whoever gets a slot takes an idle connection first.
    pub async fn slot(&self) -> SemaphorePermit<'_> {
        if let Ok(permit) = self.slots.try_acquire() {
            return permit;
        }
        let _waiting = Waiting::new(&self.waiting);
        self.slots.acquire().await.expect("the semaphore is never closed")
    }

    /// The connection used last, so that those too many grow old and are closed by the server.
    pub fn take_idle(&self) -> Option<C> {
        self.idle.borrow_mut().pop()
    }

    /// Gives a connection back; it is closed if its address left the answer meanwhile.
    pub fn give_back(&self, connection: C) {
        if !self.retired.get() {
            self.idle.borrow_mut().push(connection);
        }
    }
}

struct Waiting<'a>(&'a Cell<usize>);

impl<'a> Waiting<'a> {
    fn new(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// All pools of one shard, and the order in which addresses are used.
pub struct Pools<C> {
    port: u16,
    limit: usize,
    policy: DnsPolicy,
    answer: RefCell<Vec<IpAddr>>,
    turn: Cell<usize>,
    pools: RefCell<HashMap<IpAddr, Rc<Pool<C>>>>,
}

impl<C> Pools<C> {
    /// Pools of at most `limit` connections each.
    pub fn new(port: u16, limit: usize, policy: DnsPolicy, first_turn: usize) -> Self {
        Self {
            port,
            limit: limit.max(1),
            policy,
            answer: RefCell::new(Vec::new()),
            turn: Cell::new(first_turn),
            pools: RefCell::new(HashMap::new()),
        }
    }

    /// Users got a new DNS answer. Under `honour-ttl`, idle connections to addresses that left it are closed at
    /// once and busy ones after their request.
    pub fn set_answer(&self, addresses: &[IpAddr]) {
        *self.answer.borrow_mut() = addresses.to_vec();
        if self.policy == DnsPolicy::HonourTtl {
            self.pools.borrow_mut().retain(|address, pool| {
                let left = !addresses.contains(address);
                pool.retired.set(left);
                if left {
                    pool.idle.borrow_mut().clear();
                }
                !left || Rc::strong_count(pool) > 1
            });
        }
    }

    /// The pool for the next request: the answer's addresses in turn; under `pin`, old connections come first.
    pub fn route(&self) -> Result<Rc<Pool<C>>, NoRoute> {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        if self.policy == DnsPolicy::Pin
            && let Some(pool) = self.pinned(turn)
        {
            return Ok(pool);
        }
        let answer = self.answer.borrow();
        if answer.is_empty() {
            return Err(NoRoute::NoAddress);
        }
        let address = answer[turn % answer.len()];
        let mut pools = self.pools.borrow_mut();
        let pool = pools.entry(address).or_insert_with(|| {
            Rc::new(Pool {
                address: SocketAddr::new(address, self.port),
                slots: Semaphore::new(self.limit),
                waiting: Cell::new(0),
                idle: RefCell::new(Vec::new()),
                retired: Cell::new(false),
            })
        });
        if pool.waiting.get() >= QUEUE_MAX {
            return Err(NoRoute::QueueFull);
        }
        Ok(Rc::clone(pool))
    }

    fn pinned(&self, turn: usize) -> Option<Rc<Pool<C>>> {
        let pools = self.pools.borrow();
        let mut usable: Vec<_> = pools.values().filter(|pool| !pool.idle.borrow().is_empty()).collect();
        usable.sort_unstable_by_key(|pool| pool.address);
        (!usable.is_empty()).then(|| Rc::clone(usable[turn % usable.len()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, last])
    }

    fn pools(policy: DnsPolicy) -> Pools<u32> {
        let pools = Pools::new(80, 2, policy, 0);
        pools.set_answer(&[ip(1), ip(2)]);
        pools
    }

    #[test]
    fn addresses_take_turns_and_an_empty_answer_has_no_route() {
        let used = pools(DnsPolicy::HonourTtl);
        let turns: Vec<_> = (0..4).map(|_| used.route().unwrap().address().ip()).collect();
        assert_eq!(turns, [ip(1), ip(2), ip(1), ip(2)]);
        let empty = Pools::<u32>::new(80, 1, DnsPolicy::Pin, 0);
        assert_eq!(empty.route().err(), Some(NoRoute::NoAddress));
    }

    #[test]
    fn honour_ttl_gives_connections_up_when_their_address_left() {
        let used = pools(DnsPolicy::HonourTtl);
        let busy = used.route().unwrap();
        busy.give_back(1);
        used.set_answer(&[ip(2)]);
        assert_eq!(busy.take_idle(), None, "idle connections are closed at once");
        busy.give_back(2);
        assert_eq!(busy.take_idle(), None, "a busy one is closed after its request");
        assert!((0..3).all(|_| used.route().unwrap().address().ip() == ip(2)));
        used.set_answer(&[ip(1), ip(2)]);
        busy.give_back(3);
        assert_eq!(busy.take_idle(), Some(3), "an address that came back is used again");
    }

    #[test]
    fn pin_keeps_old_connections_and_opens_new_ones_by_the_new_answer() {
        let used = pools(DnsPolicy::Pin);
        used.route().unwrap().give_back(1);
        used.set_answer(&[ip(3)]);
        let pinned = used.route().unwrap();
        assert_eq!((pinned.address().ip(), pinned.take_idle()), (ip(1), Some(1)));
        assert_eq!(used.route().unwrap().address().ip(), ip(3));
    }

    #[tokio::test]
    async fn slots_are_limited_and_the_queue_is_bounded() {
        let used = pools(DnsPolicy::HonourTtl);
        used.set_answer(&[ip(1)]);
        let pool = used.route().unwrap();
        let (_one, two) = (pool.slot().await, pool.slot().await);
        let mut waiting: Vec<_> = (0..QUEUE_MAX).map(|_| Box::pin(pool.slot())).collect();
        for future in &mut waiting {
            assert!(futures_poll(future).is_pending());
        }
        assert_eq!(used.route().err(), Some(NoRoute::QueueFull));
        drop(two);
        assert!(futures_poll(&mut waiting[0]).is_ready());
        drop(waiting);
        assert!(used.route().is_ok());
    }

    fn futures_poll<F: Future + Unpin>(future: &mut F) -> std::task::Poll<F::Output> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        std::pin::Pin::new(future).poll(&mut context)
    }
}
