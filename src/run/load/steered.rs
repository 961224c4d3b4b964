//! The load as it is steered: the plan's steering and, for arrivals, how many were due before it took effect. It is a
//! value that the director makes and every shard gets, so all of them agree on which arrival is due when. Starts nothing.

use super::curve::Curve;
use crate::plan::{Steer, Steering};

/// How the load is steered from one instant on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Steered {
    /// The schedule's time and the share of its level.
    pub steering: Steering,
    /// The integral of the rate until then, all shards together; none while nothing was ever steered, so that the
    /// arrivals of a run that nobody touches are the plan's to the last bit.
    arrivals: Option<f64>,
}

impl Steered {
    /// What it is from `at_us` on.
    #[must_use]
    pub fn steered(&self, curve: &Curve, at_us: u64, steer: Steer) -> Self {
        let at_us = at_us.max(self.steering.since_us());
        Self {
            steering: self.steering.steered(at_us, steer),
            arrivals: Some(self.arrivals_until(curve, at_us)),
        }
    }

    /// The integral of the steered rate from t0 to `at_us`, which lies after this took effect.
    #[must_use]
    pub fn arrivals_until(&self, curve: &Curve, at_us: u64) -> f64 {
        let steering = &self.steering;
        let before = self.arrivals.unwrap_or_default();
        if steering.paused() {
            return before;
        }
        let since_us = steering.since_us();
        let from_us = steering.schedule_us(since_us);
        let more = if steering.held() {
            curve.level(from_us) * at_us.saturating_sub(since_us) as f64 / 1e6
        } else {
            curve.integral(steering.schedule_us(at_us)) - curve.integral(from_us)
        };
        before + more * steering.times()
    }

    /// The instant of the arrival at this integral of the rate; none while the load is paused, and past the end of the schedule. One that was
    /// due before this took effect is due then.
    #[must_use]
    #[inline]
    pub fn arrival_us(&self, curve: &Curve, mass: f64) -> Option<u64> {
        match self.arrivals {
            None => curve.instant_us(mass),
            Some(before) => self.steered_arrival_us(curve, before, mass),
        }
    }

    fn steered_arrival_us(&self, curve: &Curve, before: f64, mass: f64) -> Option<u64> {
        let steering = &self.steering;
        if steering.paused() {
            return None;
        }
        let since_us = steering.since_us();
        let from_us = steering.schedule_us(since_us);
        let more = (mass - before) / steering.times();
        if more <= 0.0 {
            Some(since_us)
        } else if steering.held() {
            let rate = curve.level(from_us);
            (rate > 0.0).then(|| since_us + (more / rate * 1e6).round() as u64)
        } else {
            steering.real_us(curve.reaches(curve.integral(from_us) + more)?)
        }
    }

    /// Whether the arrival at this integral was due before this took effect.
    #[must_use]
    pub fn is_past(&self, mass: f64) -> bool {
        self.arrivals.is_some_and(|before| mass <= before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::StagePlan;
    use crate::units::Pace;
    use proptest::prelude::*;
    use std::time::Duration;

    /// 100/s for ten seconds, a ramp of ten to 300/s, ten seconds of that.
    fn curve() -> Curve {
        let secs = Duration::from_secs;
        let stage = |level, starts_at, holds_at, ends_at| StagePlan {
            tier: 1,
            level,
            starts_at: secs(starts_at),
            holds_at: secs(holds_at),
            ends_at: secs(ends_at),
        };
        Curve::new(&[stage(100.0, 0, 0, 10), stage(300.0, 10, 20, 30)], Pace::REAL)
    }

    const SECOND: u64 = 1_000_000;

    /// The instants of all arrivals of a run that is steered like this, each as the shards would see it then.
    fn arrivals(steers: &[(u64, Steer)]) -> Vec<u64> {
        let curve = curve();
        let mut steered = Steered::default();
        let (mut mass, mut all) = (0.5, Vec::new());
        for (at_us, steer) in steers {
            let next = steered.steered(&curve, *at_us, *steer);
            while next.is_past(mass) {
                all.push(steered.arrival_us(&curve, mass).unwrap_or(*at_us).min(*at_us));
                mass += 1.0;
            }
            steered = next;
        }
        while let Some(at_us) = steered.arrival_us(&curve, mass) {
            all.push(at_us);
            mass += 1.0;
        }
        all
    }

    fn within(all: &[u64], from: u64, to: u64) -> usize {
        all.iter().filter(|at| (from..to).contains(*at)).count()
    }

    #[test]
    fn arrivals_follow_the_steered_rate_and_nothing_is_made_up_for() {
        use Steer::{Hold, Pause, Resume, Scale, Skip};
        // Steered like this: how many arrive in a second of real time.
        type Case<'a> = (&'a [(u64, Steer)], u64, usize);
        let cases: [Case<'_>; 11] = [
            (&[], 3, 100),
            (&[(2, Pause), (5, Resume)], 3, 0),
            (&[(2, Pause), (5, Resume)], 5, 100),
            (&[(2, Scale(1.5))], 3, 150),
            (&[(2, Scale(0.5)), (4, Scale(1.0))], 4, 100),
            (&[(2, Hold)], 60, 100),
            (&[(15, Hold), (17, Scale(2.0))], 40, 400),
            (&[(15, Hold), (100, Resume)], 100, 210),
            (&[(2, Skip(20 * SECOND))], 2, 300),
            (&[(2, Skip(20 * SECOND))], 12, 0),
            (&[(2, Hold), (3, Pause), (4, Resume)], 4, 100),
        ];
        for (steers, second, count) in cases {
            let steers: Vec<(u64, Steer)> = steers.iter().map(|(at, steer)| (at * SECOND, *steer)).collect();
            let mut until = steers.clone();
            if steers
                .last()
                .is_some_and(|(_, steer)| matches!(steer, Hold | Scale(2.0)))
            {
                // What is held has no end of its own.
                until.push((200 * SECOND, Resume));
            }
            let all = arrivals(&until);
            let found = within(&all, second * SECOND, (second + 1) * SECOND);
            assert!(found.abs_diff(count) <= 1, "{steers:?}: {found} and not {count}");
        }
    }

    #[test]
    fn a_run_that_nobody_steers_is_the_plan_s_to_the_microsecond() {
        let curve = curve();
        let steered = Steered::default();
        for index in 0..4_000 {
            let mass = f64::from(index) + 0.5;
            assert_eq!(steered.arrival_us(&curve, mass), curve.instant_us(mass));
        }
    }

    proptest! {
        #[test]
        fn arrivals_stay_even_and_in_order(
            steers in prop::collection::vec((0u64..3_000_000, 0usize..5, 0.1f64..3.0), 1..8),
        ) {
            let mut at_us = 0;
            let mut turns: Vec<(u64, Steer)> = Vec::new();
            for (wait_us, which, times) in steers {
                at_us += wait_us;
                let steer = [Steer::Pause, Steer::Resume, Steer::Hold, Steer::Scale(times), Steer::Skip(at_us + 1)];
                turns.push((at_us, steer[which]));
            }
            turns.push((at_us + 1, Steer::Resume));
            let all = arrivals(&turns);
            prop_assert!(all.windows(2).all(|two| two[0] <= two[1]), "out of order");
            // Three times 300/s is the highest rate there can be: no burst within any tenth of a second.
            for from in (0..40 * SECOND).step_by(100_000) {
                prop_assert!(within(&all, from, from + 100_000) <= 92, "a burst at {}", from);
            }
        }
    }
}
