//! How the control plane is watched: one look after another on a cadence, failures told but not too often.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use crate::aws::AwsError;
use crate::clock::RunClock;
use crate::event::{Event, Stamped};

/// Looks never follow one another faster than this in real time, however fast the cloud lives.
const CADENCE_FLOOR: Duration = Duration::from_millis(200);
/// The same failure is told once in this cloud time, and at most once in this real time.
const FAILURE_EVERY: Duration = Duration::from_secs(60);
const FAILURE_EVERY_FLOOR: Duration = Duration::from_secs(1);

/// Where observers put what they see. It never waits: what there is no room for is counted.
pub(super) struct Sink {
    clock: RunClock,
    events: mpsc::Sender<Stamped>,
    dropped: AtomicU64,
    told: Mutex<HashMap<(&'static str, String, String), Instant>>,
}

impl Sink {
    pub(super) fn new(clock: RunClock, events: mpsc::Sender<Stamped>) -> Self {
        Self {
            clock,
            events,
            dropped: AtomicU64::new(0),
            told: Mutex::default(),
        }
    }

    pub(super) fn clock(&self) -> &RunClock {
        &self.clock
    }

    /// What the target's clock showed at t0.
    pub(super) fn t0_cloud(&self) -> f64 {
        self.clock.clock().cloud_unix_at(self.clock.t0())
    }

    /// Tells something that was seen now.
    pub(super) fn now(&self, event: Event) {
        self.at(self.clock.elapsed(), event);
    }

    /// Tells something that AWS dated itself.
    pub(super) fn dated(&self, cloud_unix: f64, event: Event) {
        self.at(self.clock.offset_of_cloud(cloud_unix), event);
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn at(&self, at: Duration, event: Event) {
        if self.events.try_send(Stamped { at, event }).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn failed(&self, error: &AwsError) {
        let every = self.clock.pace().to_real(FAILURE_EVERY).max(FAILURE_EVERY_FLOOR);
        let key = (error.action, error.region.clone(), error.code.clone());
        let now = Instant::now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.get(&key).is_some_and(|last| now.duration_since(*last) < every) {
            return;
        }
        told.insert(key, now);
        drop(told);
        self.now(Event::AwsCallFailed {
            action: error.action.to_owned(),
            region: error.region.clone(),
            error: error.brief(),
        });
    }
}

/// One thing that is looked at again and again.
pub(super) trait Look: Send + 'static {
    /// Cloud time between two looks.
    const EVERY: Duration;

    /// Looks once and tells what changed.
    fn look(&mut self, sink: &Sink) -> impl Future<Output = Result<(), AwsError>> + Send;
}

/// Looks on the cadence until told to stop.
pub(super) async fn watch<L: Look>(mut look: L, sink: Arc<Sink>, mut stop: watch::Receiver<bool>) {
    let every = sink.clock.pace().to_real(L::EVERY).max(CADENCE_FLOOR);
    let mut ticks = tokio::time::interval_at(sink.clock.t0().into(), every);
    // A slow answer must not be followed by a burst of calls.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let looking = async {
        loop {
            ticks.tick().await;
            if let Err(error) = look.look(&sink).await {
                sink.failed(&error);
            }
        }
    };
    tokio::select! {
        () = looking => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::ErrorKind;
    use crate::clock::Clock;
    use crate::units::Pace;

    fn sink(room: usize) -> (Sink, mpsc::Receiver<Stamped>) {
        let (events, seen) = mpsc::channel(room);
        let clock = RunClock::new(Clock::starting_now(Pace::new(60.0).unwrap()), Instant::now());
        (Sink::new(clock, events), seen)
    }

    fn error(code: &str) -> AwsError {
        AwsError {
            action: "rds:DescribeEvents",
            region: "us-east-1".to_owned(),
            code: code.to_owned(),
            message: "no".to_owned(),
            kind: ErrorKind::Throttled,
            attempts: 1,
        }
    }

    #[tokio::test]
    async fn the_same_failure_is_not_told_again_at_once() {
        let (sink, mut seen) = sink(100);
        for _ in 0..50 {
            sink.failed(&error("Throttling"));
        }
        sink.failed(&error("AccessDenied"));
        assert_eq!(std::iter::from_fn(|| seen.try_recv().ok()).count(), 2);
        assert_eq!(sink.dropped(), 0);
    }

    #[tokio::test]
    async fn what_there_is_no_room_for_is_counted() {
        let (sink, _seen) = sink(3);
        for _ in 0..10 {
            sink.now(Event::Interrupted);
        }
        assert_eq!(sink.dropped(), 7);
    }
}
