//! Tells when the run itself stood still: its process stopped, or its machine suspended. Nothing was measured meanwhile,
//! and its watchdog may have reverted what it had in the world. How late single requests were is not its business.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::clock::RunClock;
use crate::event::{Event, Stamped};

/// Real time between two beats.
const BEAT: Duration = Duration::from_secs(1);
/// A beat that is so late was not only waiting for a busy core; well below what a watchdog waits.
const FROZEN_MIN: Duration = Duration::from_secs(5);

/// Beats until what it answers is dropped, and sends an event for each time that the run stood still.
pub(super) fn watch(clock: RunClock, events: mpsc::Sender<Stamped>) -> JoinSet<()> {
    let mut heart = JoinSet::new();
    heart.spawn(async move {
        let mut ticks = tokio::time::interval(BEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = awake();
        loop {
            ticks.tick().await;
            let now = awake();
            if let Some(lasted) = stood_still(last, now) {
                let at = clock.elapsed();
                let event = Event::RunFroze { lasted };
                // Nobody reads any more: the run has ended.
                let _ = events.send(Stamped { at, event }).await;
            }
            last = now;
        }
    });
    heart
}

/// Time since the machine booted, the time that it was suspended too.
fn awake() -> Option<Duration> {
    clock_gettime(ClockId::CLOCK_BOOTTIME).ok().map(Duration::from)
}

/// How much later than it should have come this beat is, if that is too much.
fn stood_still(last: Option<Duration>, now: Option<Duration>) -> Option<Duration> {
    let late = now?.saturating_sub(last?).saturating_sub(BEAT);
    (late >= FROZEN_MIN).then_some(late)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_beat_that_is_far_too_late_is_a_standstill() {
        let at = |seconds| Some(Duration::from_secs_f64(seconds));
        assert_eq!(stood_still(at(10.0), at(11.0)), None);
        assert_eq!(stood_still(at(10.0), at(15.9)), None);
        assert_eq!(stood_still(at(10.0), at(51.0)), at(40.0));
        assert_eq!(stood_still(None, at(51.0)), None);
        assert!(awake().is_some());
    }
}
