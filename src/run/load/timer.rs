//! A timer finer than a millisecond: tokio's own ticks in whole ones, which would be measured as the server's.
//! One timerfd a shard (timerfd_create(2)), watched like its sockets and never read.

use std::io;
use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::lookout::Watch;

/// The timer of one shard.
pub struct Timer {
    timer: TimerFd,
    set_for_us: Option<u64>,
}

impl Timer {
    /// A timer that `watch` tells of.
    pub fn new(watch: &Watch) -> io::Result<Self> {
        let timer = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
        )?;
        watch.watch_timer(timer.as_fd())?;
        Ok(Self {
            timer,
            set_for_us: None,
        })
    }

    /// Rings at `until_us`; both are microseconds of the same clock. A ring already due at that instant is kept.
    pub fn set(&mut self, until_us: u64, now_us: u64) -> io::Result<()> {
        if self.set_for_us == Some(until_us) {
            return Ok(());
        }
        // Zero would disarm it.
        let wait = Duration::from_micros(until_us.saturating_sub(now_us).max(1));
        let expiration = Expiration::OneShot(TimeSpec::from_duration(wait));
        self.timer.set(expiration, TimerSetTimeFlags::empty())?;
        self.set_for_us = Some(until_us);
        Ok(())
    }

    /// It rang: whatever was set is over. Setting it anew is a new edge, so the expirations need not be read (epoll(7)).
    pub fn rang(&mut self) {
        self.set_for_us = None;
    }
}
