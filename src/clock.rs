//! The one clock: real time since the run began, and the target's cloud time.
//! The harness and the lab each make a [`Clock`] from the same epoch and pace, so their cloud times agree.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::units::Pace;

/// Real and cloud time: at `epoch` both agree, afterwards cloud time passes `pace` times faster.
/// On AWS the pace is 1 and the two are the same.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    epoch: SystemTime,
    anchor: Instant,
    /// Real time that had passed since the epoch at the anchor.
    anchor_offset: Duration,
    pace: Pace,
}

impl Clock {
    /// A clock whose cloud time equals real time at `epoch`, which must not lie in the future.
    #[must_use]
    pub fn new(epoch: SystemTime, pace: Pace) -> Self {
        let anchor_offset = SystemTime::now().duration_since(epoch).unwrap_or_default();
        Self {
            epoch,
            anchor: Instant::now(),
            anchor_offset,
            pace,
        }
    }

    /// A clock whose epoch is now.
    #[must_use]
    pub fn starting_now(pace: Pace) -> Self {
        Self::new(SystemTime::now(), pace)
    }

    /// The pace of the target's cloud.
    #[must_use]
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// The instant at which cloud and real time agreed, in seconds since the Unix epoch.
    #[must_use]
    pub fn epoch_unix(&self) -> f64 {
        unix(self.epoch)
    }

    /// Real seconds since the Unix epoch, counted monotonically from the anchor.
    #[must_use]
    pub fn real_unix(&self) -> f64 {
        self.real_unix_at(Instant::now())
    }

    /// Real seconds since the Unix epoch at `instant`.
    #[must_use]
    pub fn real_unix_at(&self, instant: Instant) -> f64 {
        self.epoch_unix() + self.real_since_epoch(instant)
    }

    /// Cloud seconds since the Unix epoch: what the target's own timestamps show now.
    #[must_use]
    pub fn cloud_unix(&self) -> f64 {
        self.cloud_unix_at(Instant::now())
    }

    /// Cloud seconds since the Unix epoch at `instant`.
    #[must_use]
    pub fn cloud_unix_at(&self, instant: Instant) -> f64 {
        self.epoch_unix() + self.real_since_epoch(instant) * self.pace.times()
    }

    /// The real Unix seconds at which the target's clock showed `cloud_unix`.
    #[must_use]
    pub fn real_of_cloud(&self, cloud_unix: f64) -> f64 {
        self.epoch_unix() + (cloud_unix - self.epoch_unix()) / self.pace.times()
    }

    /// Waits until `cloud` has passed on the target's clock.
    pub async fn sleep_cloud(&self, cloud: Duration) {
        tokio::time::sleep(self.pace.to_real(cloud)).await;
    }

    fn real_since_epoch(&self, instant: Instant) -> f64 {
        let since_anchor = match instant.checked_duration_since(self.anchor) {
            Some(after) => after.as_secs_f64(),
            None => -self.anchor.duration_since(instant).as_secs_f64(),
        };
        self.anchor_offset.as_secs_f64() + since_anchor
    }
}

/// The clock of one run: offsets in real time since t0, the instant the schedule began.
#[derive(Clone, Copy, Debug)]
pub struct RunClock {
    clock: Clock,
    t0: Instant,
}

impl RunClock {
    /// A run that begins at `t0`.
    #[must_use]
    pub fn new(clock: Clock, t0: Instant) -> Self {
        Self { clock, t0 }
    }

    /// The target's clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The pace of the target's cloud.
    #[must_use]
    pub fn pace(&self) -> Pace {
        self.clock.pace()
    }

    /// The instant the schedule began.
    #[must_use]
    pub fn t0(&self) -> Instant {
        self.t0
    }

    /// Real time since t0; zero before it.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.t0.elapsed()
    }

    /// Real time from t0 to `instant`; zero before t0.
    #[must_use]
    pub fn offset(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.t0)
    }

    /// The instant at the real `offset` after t0.
    #[must_use]
    pub fn instant(&self, offset: Duration) -> Instant {
        self.t0 + offset
    }

    /// The real offset since t0 of a timestamp that the target wrote (cloud Unix seconds); zero before t0.
    #[must_use]
    pub fn offset_of_cloud(&self, cloud_unix: f64) -> Duration {
        let real = self.clock.real_of_cloud(cloud_unix) - self.clock.real_unix_at(self.t0);
        Duration::try_from_secs_f64(real).unwrap_or_default()
    }

    /// The real offset since t0 of a time that a clock of this machine showed (real Unix seconds); zero before t0.
    #[must_use]
    pub fn offset_of_real(&self, real_unix: f64) -> Duration {
        let real = real_unix - self.clock.real_unix_at(self.t0);
        Duration::try_from_secs_f64(real).unwrap_or_default()
    }

    /// Waits until the real `offset` after t0; returns at once when it has passed.
    pub async fn sleep_until(&self, offset: Duration) {
        tokio::time::sleep_until(self.instant(offset).into()).await;
    }
}

/// Seconds since the Unix epoch.
#[must_use]
pub fn unix(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// The time `seconds` after the Unix epoch.
#[must_use]
pub fn from_unix(seconds: f64) -> SystemTime {
    UNIX_EPOCH + Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clocks_of_one_epoch_agree_on_cloud_time() {
        let pace = Pace::new(30.0).expect("30 is a pace");
        let epoch = SystemTime::now() - Duration::from_secs(10);
        let (one, other) = (Clock::new(epoch, pace), Clock::new(epoch, pace));
        let instant = Instant::now();
        assert!((one.cloud_unix_at(instant) - other.cloud_unix_at(instant)).abs() < 0.05);
        assert!(one.cloud_unix_at(instant) - one.epoch_unix() >= 300.0);
        let cloud = one.cloud_unix_at(instant);
        assert!((one.real_of_cloud(cloud) - one.real_unix_at(instant)).abs() < 1e-3);
    }

    #[test]
    fn offsets_of_cloud_timestamps_are_real_time_since_t0() {
        let pace = Pace::new(60.0).expect("60 is a pace");
        let clock = Clock::starting_now(pace);
        let run = RunClock::new(clock, Instant::now());
        let cloud = clock.cloud_unix_at(run.t0() + Duration::from_secs(2));
        assert!((run.offset_of_cloud(cloud).as_secs_f64() - 2.0).abs() < 1e-3);
        assert_eq!(run.offset_of_cloud(0.0), Duration::ZERO);
    }
}
