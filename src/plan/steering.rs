//! The schedule as it is steered while a run goes on: which instant of the schedule a real instant stands for, how much
//! of its level is wanted, and what may not be asked of it. Pure arithmetic over microseconds of real time since t0;
//! who asks, and what the load does about it, is `run`'s.
//!
//! - A *pause* stops the users' own time and no arrival is due in it; the schedule goes on.
//! - A *hold* stops the schedule's time; the load stays at the level it has.
//! - A *scale* multiplies the level of the schedule from its instant on.
//! - A *skip* moves the schedule's time forward; nothing moves it back.

use std::time::Duration;

use super::Plan;
use crate::units::{format_count, format_duration};

/// The largest factor of a level.
pub const SCALE_MAX: f64 = 100.0;
/// The highest level that scaling may lead to, where the plan itself does not go higher: what one process can remember.
pub const SCALED_LEVEL_MAX: f64 = 10_000_000.0;

/// One turn of the wheel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Steer {
    /// No new passes.
    Pause,
    /// The end of a pause and of a hold.
    Resume,
    /// The schedule's time stands still.
    Hold,
    /// The level of the schedule times this.
    Scale(f64),
    /// The schedule goes on from this instant of its own.
    Skip(u64),
}

/// The schedule's time and what is wanted of its level, from one instant of real time on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Steering {
    since_us: u64,
    schedule_us: u64,
    /// How long the load was paused before `since_us`.
    asleep_us: u64,
    paused: bool,
    held: bool,
    times: f64,
}

impl Default for Steering {
    fn default() -> Self {
        Self {
            since_us: 0,
            schedule_us: 0,
            asleep_us: 0,
            paused: false,
            held: false,
            times: 1.0,
        }
    }
}

impl Steering {
    /// What it is from `at_us` on.
    #[must_use]
    pub fn steered(self, at_us: u64, steer: Steer) -> Self {
        let at_us = at_us.max(self.since_us);
        let mut next = Self {
            since_us: at_us,
            schedule_us: self.schedule_us(at_us),
            asleep_us: at_us - self.awake_us(at_us),
            ..self
        };
        match steer {
            Steer::Pause => next.paused = true,
            Steer::Hold => next.held = true,
            Steer::Resume => (next.paused, next.held) = (false, false),
            Steer::Scale(times) => next.times = times,
            Steer::Skip(to_us) => next.schedule_us = next.schedule_us.max(to_us),
        }
        next
    }

    /// The real instant from which on it is so.
    #[must_use]
    #[inline]
    pub fn since_us(&self) -> u64 {
        self.since_us
    }

    /// No new passes are started.
    #[must_use]
    #[inline]
    pub fn paused(&self) -> bool {
        self.paused
    }

    /// The schedule's time stands still.
    #[must_use]
    #[inline]
    pub fn held(&self) -> bool {
        self.held
    }

    /// What the level of the schedule is multiplied with.
    #[must_use]
    #[inline]
    pub fn times(&self) -> f64 {
        self.times
    }

    /// Where the schedule is at a real instant.
    #[must_use]
    #[inline]
    pub fn schedule_us(&self, real_us: u64) -> u64 {
        if self.held {
            self.schedule_us
        } else {
            self.schedule_us + real_us.saturating_sub(self.since_us)
        }
    }

    /// When the schedule gets to an instant of its own; where it has passed that already, the instant from which on it
    /// is steered like this. None while it is held before it.
    #[must_use]
    #[inline]
    pub fn real_us(&self, schedule_us: u64) -> Option<u64> {
        match schedule_us.checked_sub(self.schedule_us) {
            None | Some(0) => Some(self.since_us),
            Some(_) if self.held => None,
            Some(ahead_us) => Some(self.since_us.saturating_add(ahead_us)),
        }
    }

    /// The users' own time at a real instant: it stands still in a pause, so that afterwards nobody is overdue.
    #[must_use]
    #[inline]
    pub fn awake_us(&self, real_us: u64) -> u64 {
        let until_us = if self.paused { self.since_us } else { real_us };
        until_us.saturating_sub(self.asleep_us)
    }

    /// The real instant of the users' own; meaningless in a pause.
    #[must_use]
    #[inline]
    pub fn real_of_awake_us(&self, awake_us: u64) -> u64 {
        awake_us + self.asleep_us
    }
}

/// Why a run is not steered as asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SteerError {
    /// There is nothing to skip to.
    #[error("no stage comes after this one\nhint: end the run with Ctrl-C; what is in the world is reverted")]
    LastStage,
    /// A fault of the plan would never be injected.
    #[error(
        "the experiment {experiment} would be left out; it begins at {at} of the schedule, before the next stage does\n\
         hint: let it come, or run a profile without it"
    )]
    LeavesOut {
        /// Its name.
        experiment: String,
        /// Its first fault, as a person reads it.
        at: String,
    },
    /// An experiment is being measured.
    #[error("the experiment {experiment} is under way\nhint: skip once it has settled, at {until} of the schedule")]
    UnderWay {
        /// Its name.
        experiment: String,
        /// The end of its settle time, as a person reads it.
        until: String,
    },
    /// A fault is in the world.
    #[error("{fault} is in the world\nhint: skip once it is reverted and has settled")]
    InWorld {
        /// Which.
        fault: String,
    },
    /// Not a factor.
    #[error("a scale is a number above 0 and at most {SCALE_MAX}, e.g. 1.5")]
    Scale,
    /// Too much for one process.
    #[error(
        "{times} times the schedule is up to {level}, more than {most}\n\
         hint: what has to be that high belongs into the stages of the profile"
    )]
    TooHigh {
        /// The factor.
        times: f64,
        /// The level it leads to.
        level: String,
        /// The highest there may be.
        most: String,
    },
}

impl Plan {
    /// An instant of the schedule in real microseconds since t0.
    #[must_use]
    pub fn schedule_us(&self, at: Duration) -> u64 {
        self.wall(at).as_micros() as u64
    }

    /// The stage a skip leads to when the schedule is at `schedule_us`; refused where it would leave out a fault or the
    /// measurement of one.
    pub fn skip_from(&self, schedule_us: u64) -> Result<usize, SteerError> {
        let starts = |stage: &super::StagePlan| self.schedule_us(stage.starts_at);
        let next = self.stages.iter().position(|stage| starts(stage) > schedule_us);
        let next = next.ok_or(SteerError::LastStage)?;
        let to_us = starts(&self.stages[next]);
        let in_the_way = self.experiments.iter().find(|experiment| {
            self.schedule_us(experiment.ends_at()) > schedule_us && self.schedule_us(experiment.starts_at()) < to_us
        });
        match in_the_way {
            None => Ok(next),
            Some(experiment) if self.schedule_us(experiment.starts_at()) > schedule_us => Err(SteerError::LeavesOut {
                experiment: experiment.name.clone(),
                at: format_duration(experiment.starts_at()),
            }),
            Some(experiment) => Err(SteerError::UnderWay {
                experiment: experiment.name.clone(),
                until: format_duration(experiment.ends_at()),
            }),
        }
    }

    /// Whether the level may be multiplied with `times`.
    pub fn check_scale(&self, times: f64) -> Result<(), SteerError> {
        if !(times > 0.0 && times <= SCALE_MAX) {
            return Err(SteerError::Scale);
        }
        let (peak, most) = (self.level_max(), self.level_max().max(SCALED_LEVEL_MAX));
        if peak * times > most {
            return Err(SteerError::TooHigh {
                times,
                level: format_count((peak * times) as u64),
                most: format_count(most as u64),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn after(steers: &[(u64, Steer)]) -> Steering {
        let steer = |steering: Steering, (at_us, steer): &(u64, Steer)| steering.steered(*at_us, *steer);
        steers.iter().fold(Steering::default(), steer)
    }

    #[test]
    fn the_schedule_follows_holds_and_skips_and_no_pause() {
        use Steer::{Hold, Pause, Resume, Scale, Skip};
        // Steered like this, at a real instant: the schedule and the users' own time.
        type Case<'a> = (&'a [(u64, Steer)], u64, u64, u64);
        let cases: [Case<'_>; 8] = [
            (&[], 700, 700, 700),
            (&[(100, Pause)], 700, 700, 100),
            (&[(100, Pause), (300, Resume)], 700, 700, 500),
            (&[(100, Hold)], 700, 100, 700),
            (&[(100, Hold), (300, Resume)], 700, 500, 700),
            (&[(100, Hold), (200, Pause), (300, Resume)], 700, 500, 600),
            (&[(100, Skip(400)), (200, Scale(2.0))], 700, 1000, 700),
            (&[(100, Hold), (200, Skip(400)), (250, Skip(50))], 700, 400, 700),
        ];
        for (steers, at_us, schedule_us, awake_us) in cases {
            let steering = after(steers);
            assert_eq!(steering.schedule_us(at_us), schedule_us, "{steers:?}");
            assert_eq!(steering.awake_us(at_us), awake_us, "{steers:?}");
        }
    }

    #[test]
    fn what_lies_ahead_never_comes_while_it_is_held() {
        let held = after(&[(100, Steer::Hold)]);
        assert_eq!(held.real_us(100), Some(100));
        assert_eq!(held.real_us(101), None);
        assert_eq!(held.steered(150, Steer::Resume).real_us(101), Some(151));
        let skipped = after(&[(100, Steer::Skip(500))]);
        assert_eq!(skipped.real_us(300), Some(100), "what was skipped lies behind it");
    }

    proptest! {
        #[test]
        fn real_and_schedule_time_are_each_other_s_inverse_and_never_go_back(
            steers in prop::collection::vec((0u64..1000, 0usize..5), 0..20),
            ahead in 1u64..10_000,
        ) {
            let (mut steering, mut at_us) = (Steering::default(), 0);
            let (mut schedule_us, mut awake_us) = (0, 0);
            for (pause, which) in steers {
                at_us += pause;
                let skip = Steer::Skip(steering.schedule_us(at_us) + 7);
                let steer = [Steer::Pause, Steer::Resume, Steer::Hold, Steer::Scale(2.0), skip][which];
                steering = steering.steered(at_us, steer);
                prop_assert!(steering.schedule_us(at_us) >= schedule_us);
                prop_assert!(steering.awake_us(at_us) >= awake_us);
                (schedule_us, awake_us) = (steering.schedule_us(at_us), steering.awake_us(at_us));
            }
            let steering = steering.steered(at_us, Steer::Resume);
            let wanted_us = steering.schedule_us(at_us) + ahead;
            let real_us = steering.real_us(wanted_us).unwrap();
            prop_assert_eq!(steering.schedule_us(real_us), wanted_us);
            prop_assert_eq!(steering.real_of_awake_us(steering.awake_us(real_us)), real_us);
        }
    }
}
