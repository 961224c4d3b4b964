//! A timer finer than a millisecond: tokio's own ticks in whole ones, which would be measured as the server's.
//! One timerfd a shard (timerfd_create(2)); it rings the shard's list and is never read.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd, RawFd};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::unix::AsyncFd;

use super::ready::{Bell, Ready, Token};

/// A timerfd as tokio wants its descriptors.
struct Descriptor(TimerFd);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// The timer of one shard.
pub struct Timer {
    timer: AsyncFd<Descriptor>,
    bell: Arc<Bell>,
    waker: Waker,
    set_for_us: Option<u64>,
}

impl Timer {
    /// A timer that rings [`Token::Timer`]; needs the shard's runtime around it.
    pub fn new(ready: &Ready) -> io::Result<Self> {
        let timer = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
        )?;
        let bell = ready.bell(Token::Timer);
        let waker = Waker::from(Arc::clone(&bell));
        // SAFETY: the descriptor is open and stays the same for as long as `Descriptor`, which the `AsyncFd` owns.
        #[allow(unsafe_code)]
        let timer = unsafe { AsyncFd::register(Descriptor(timer)) }?;
        let mut this = Self {
            timer,
            bell,
            waker,
            set_for_us: None,
        };
        this.listen();
        Ok(this)
    }

    /// Rings at `until_us`; both are microseconds of the same clock. A ring already due at that instant is kept.
    pub fn set(&mut self, until_us: u64, now_us: u64) -> io::Result<()> {
        if self.set_for_us == Some(until_us) {
            return Ok(());
        }
        // Zero would disarm it.
        let wait = Duration::from_micros(until_us.saturating_sub(now_us).max(1));
        let expiration = Expiration::OneShot(TimeSpec::from_duration(wait));
        self.timer.get_ref().0.set(expiration, TimerSetTimeFlags::empty())?;
        self.set_for_us = Some(until_us);
        Ok(())
    }

    /// It rang: whatever was set is over.
    pub fn rang(&mut self) {
        self.set_for_us = None;
        self.bell.hush();
        self.listen();
    }

    fn listen(&mut self) {
        let mut context = Context::from_waker(&self.waker);
        // Edge-triggered: setting it anew is a new edge, so the expirations need not be read (epoll(7)).
        while let Poll::Ready(Ok(mut guard)) = self.timer.poll_read_ready(&mut context) {
            guard.clear_ready();
        }
    }
}
