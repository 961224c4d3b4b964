//! The sockets of one shard, registered once and edge-triggered with an epoll of their own (epoll(7)): what happens to
//! one costs neither a lock nor a waker, as tokio's reactor would, and is looked at right away. The reactor is told only
//! that something has happened to any of them, so that the shard can sleep there with everything else it waits for.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Waker};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use tokio::io::unix::AsyncFd;

use super::ready::{Bell, Ready, Token};

/// Events taken at once; more are taken with the next look.
const EVENTS_MAX: usize = 1024;
/// What is not a connection: no slot has this number.
const TIMER: u64 = u64::MAX;

const READABLE: u8 = 1;
const WRITABLE: u8 = 2;
const ENDED: u8 = 4;

/// What a socket was last said to be ready for.
#[derive(Debug, Default)]
pub struct Signs(AtomicU8);

impl Signs {
    /// There may be something to read.
    #[inline]
    pub fn is_readable(&self) -> bool {
        self.has(READABLE)
    }

    /// There may be room to write.
    #[inline]
    pub fn is_writable(&self) -> bool {
        self.has(WRITABLE)
    }

    /// The peer has ended it, so that no further event will tell of what is left to read.
    #[inline]
    pub fn is_ended(&self) -> bool {
        self.has(ENDED)
    }

    /// Everything was read; the next event tells of more.
    #[inline]
    pub fn was_read(&self) {
        self.set(self.get() & !READABLE);
    }

    /// There is no room to write; an event tells of the next.
    #[inline]
    pub fn was_filled(&self) {
        self.set(self.get() & !WRITABLE);
    }

    /// Of a socket that nothing has happened to yet.
    pub fn clear(&self) {
        self.set(0);
    }

    // One thread alone looks at them: what an atomic is needed for is only that a stream can be sent to a task.
    #[inline]
    fn get(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline]
    fn set(&self, signs: u8) {
        self.0.store(signs, Ordering::Relaxed);
    }

    #[inline]
    fn has(&self, sign: u8) -> bool {
        self.get() & sign != 0
    }

    /// Something has happened.
    #[inline]
    pub fn take(&self, events: EpollFlags) {
        let mut signs = self.get();
        if events.contains(EpollFlags::EPOLLIN) {
            signs |= READABLE;
        }
        if events.contains(EpollFlags::EPOLLOUT) {
            signs |= WRITABLE;
        }
        if events.intersects(EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
            signs |= READABLE | WRITABLE | ENDED;
        }
        self.set(signs);
    }
}

/// Where a connection's socket is registered, and under what.
#[derive(Clone, Debug)]
pub struct Lookout {
    registry: Arc<Registry>,
    /// The connection's slot, and how many it has had: an event of one that is gone is told from those of the next.
    slot: u32,
    generation: u32,
    /// The slot's.
    pub signs: Arc<Signs>,
}

impl Lookout {
    /// Has the socket watched from now on, for as long as it is open.
    pub fn watch(&self, socket: impl AsFd) -> io::Result<()> {
        self.signs.clear();
        let data = u64::from(self.generation) << 32 | u64::from(self.slot);
        self.registry.add(
            socket,
            data,
            EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP,
        )
    }
}

#[derive(Debug)]
struct Registry(Epoll);

impl Registry {
    fn add(&self, socket: impl AsFd, data: u64, events: EpollFlags) -> io::Result<()> {
        self.0
            .add(socket, EpollEvent::new(events | EpollFlags::EPOLLET, data))?;
        Ok(())
    }
}

/// The epoll as tokio wants its descriptors.
struct Descriptor(Arc<Registry>);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.0.0.as_raw_fd()
    }
}

/// What has happened.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// To the socket of this slot's connection of this number.
    Socket {
        /// The slot.
        slot: u32,
        /// How many connections it has had.
        generation: u32,
        /// What.
        what: EpollFlags,
    },
    /// The timer rang.
    Timer,
}

/// All watched sockets of a shard.
pub struct Watch {
    registry: Arc<Registry>,
    asleep: AsyncFd<Descriptor>,
    bell: Arc<Bell>,
    waker: Waker,
    events: Box<[EpollEvent]>,
    found: usize,
}

impl Watch {
    /// Nothing is watched; rings [`Token::Watch`] when something happens to who sleeps. Needs the shard's runtime
    /// around it.
    pub fn new(ready: &Ready) -> io::Result<Self> {
        let registry = Arc::new(Registry(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?));
        let bell = ready.bell(Token::Watch);
        // SAFETY: the descriptor is open and stays the same for as long as `Descriptor`, which the `AsyncFd` owns.
        #[allow(unsafe_code)]
        let asleep = unsafe { AsyncFd::register(Descriptor(Arc::clone(&registry))) }?;
        Ok(Self {
            waker: Waker::from(Arc::clone(&bell)),
            registry,
            asleep,
            bell,
            events: vec![EpollEvent::empty(); EVENTS_MAX].into(),
            found: 0,
        })
    }

    /// Where the socket of a slot's connection of this number is to be registered.
    #[must_use]
    pub fn lookout(&self, slot: u32, generation: u32, signs: Arc<Signs>) -> Lookout {
        Lookout {
            registry: Arc::clone(&self.registry),
            slot,
            generation,
            signs,
        }
    }

    /// Watches the timer too.
    pub fn watch_timer(&self, timer: BorrowedFd<'_>) -> io::Result<()> {
        self.registry.add(timer, TIMER, EpollFlags::EPOLLIN)
    }

    /// Sees what has happened since it looked last, without waiting; whether anything has.
    #[inline]
    pub fn look(&mut self) -> io::Result<bool> {
        self.found = match self.registry.0.wait(&mut self.events, EpollTimeout::ZERO) {
            Ok(found) => found,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        Ok(self.found > 0)
    }

    /// What was seen with the last look, in its order.
    #[must_use]
    #[inline]
    pub fn event(&self, index: usize) -> Option<Event> {
        let event = self.events[..self.found].get(index)?;
        Some(match event.data() {
            TIMER => Event::Timer,
            data => Event::Socket {
                slot: data as u32,
                generation: (data >> 32) as u32,
                what: event.events(),
            },
        })
    }

    /// From now on the bell rings for the next that happens, once. Look once more after it: what happened before it was
    /// asked for does not ring.
    pub fn ring(&mut self) {
        self.bell.hush();
        let mut context = Context::from_waker(&self.waker);
        // An error of the descriptor shows in the look that follows.
        while let Poll::Ready(Ok(mut guard)) = self.asleep.poll_read_ready(&mut context) {
            guard.clear_ready();
        }
    }
}
