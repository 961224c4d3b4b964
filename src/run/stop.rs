//! Stop conditions: watches the slices and says when one has held long enough. It stops nothing itself.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::plan::{Comparison, ExperimentPlan, Limit, Measure, Plan, Statistic, StopCondition, StopWhen};
use crate::recording::{Hist, Slice};

/// Watches every stop condition of a plan.
#[derive(Debug)]
pub struct StopWatch {
    watches: Vec<Watch>,
    /// Alarms that are in ALARM now, with their Region.
    alarmed: BTreeSet<(String, String)>,
}

#[derive(Debug)]
struct Watch {
    experiment: String,
    condition: StopCondition,
    /// Real seconds it must hold; at least one slice.
    needed: u64,
    /// Seconds since it began to hold, those in which nothing finished among them.
    held: u64,
    active_from: u64,
    active_until: u64,
}

/// A condition that held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Its experiment.
    pub experiment: String,
    /// As written.
    pub condition: String,
}

impl StopWatch {
    /// Watches for `plan`: a condition counts from its experiment's first fault to the end of its settle time.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let watches = plan
            .experiments
            .iter()
            .flat_map(|experiment| {
                experiment
                    .stop_when
                    .iter()
                    .map(|condition| Watch::new(plan, experiment, condition))
            })
            .collect();
        Self {
            watches,
            alarmed: BTreeSet::new(),
        }
    }

    /// Takes note of an alarm's state; says which condition is met by it in this second of the schedule.
    pub fn alarm(&mut self, region: &str, alarm: &str, state: &str, schedule_second: u64) -> Option<Stop> {
        let key = (alarm.to_owned(), region.to_owned());
        if state == "ALARM" {
            self.alarmed.insert(key);
        } else {
            self.alarmed.remove(&key);
        }
        self.alarmed(schedule_second)
    }

    /// An alarm may have been in ALARM before its experiment began.
    fn alarmed(&self, schedule_second: u64) -> Option<Stop> {
        let rings = |watch: &&Watch| match &watch.condition.when {
            StopWhen::Alarm { alarm } => {
                watch.is_active(schedule_second) && self.alarmed.iter().any(|(name, _)| name == alarm)
            }
            StopWhen::Measured { .. } => false,
        };
        self.watches.iter().find(rings).map(Watch::stop)
    }

    /// Takes the next slice, with the second of the schedule it belongs to; says which condition has now held for its
    /// whole time.
    pub fn observe(&mut self, slice: &Slice, schedule_second: u64) -> Option<Stop> {
        let measured = self
            .watches
            .iter_mut()
            .find_map(|watch| watch.observe(slice, schedule_second));
        measured.or_else(|| self.alarmed(schedule_second))
    }
}

impl Watch {
    fn new(plan: &Plan, experiment: &ExperimentPlan, condition: &StopCondition) -> Self {
        let from = experiment.faults.iter().map(|fault| fault.at).min().unwrap_or_default();
        let until = experiment
            .faults
            .iter()
            .map(|fault| fault.revert_at.unwrap_or(fault.at))
            .max()
            .unwrap_or_default();
        let real = |cloud: Duration| plan.pace.to_real(cloud);
        let lasts = match &condition.when {
            StopWhen::Measured { lasts, .. } => *lasts,
            StopWhen::Alarm { .. } => Duration::ZERO,
        };
        Self {
            experiment: experiment.name.clone(),
            condition: condition.clone(),
            needed: (real(lasts).as_secs_f64().ceil() as u64).max(1),
            held: 0,
            active_from: real(from).as_secs(),
            active_until: real(until + experiment.settle).as_secs(),
        }
    }

    fn observe(&mut self, slice: &Slice, schedule_second: u64) -> Option<Stop> {
        if !self.is_active(schedule_second) {
            self.held = 0;
            return None;
        }
        let breached = self.breached(slice);
        match breached {
            Some(false) => self.held = 0,
            // Under a blackout everybody waits: it says neither that the condition holds nor that it does not.
            None if self.held == 0 => {}
            Some(true) | None => self.held += 1,
        }
        (breached == Some(true) && self.held >= self.needed).then(|| self.stop())
    }

    fn is_active(&self, schedule_second: u64) -> bool {
        (self.active_from..=self.active_until).contains(&schedule_second)
    }

    fn stop(&self) -> Stop {
        Stop {
            experiment: self.experiment.clone(),
            condition: self.condition.text.clone(),
        }
    }

    /// Whether it holds in this second; none where nothing finished in it.
    fn breached(&self, slice: &Slice) -> Option<bool> {
        let StopWhen::Measured {
            measure,
            statistic,
            comparison,
            limit,
            ..
        } = &self.condition.when
        else {
            return Some(false);
        };
        match (measure, limit) {
            (Measure::Errors, Limit::Share(limit)) => {
                error_share(slice).map(|share| compare(*comparison, share, *limit))
            }
            (Measure::Latency, Limit::Duration(limit)) => {
                latency(slice, *statistic).map(|value| compare(*comparison, value, limit.as_secs_f64()))
            }
            _ => Some(false),
        }
    }
}

/// Share of the slice's finished requests that failed; none when nothing finished.
#[must_use]
pub fn error_share(slice: &Slice) -> Option<f64> {
    let failed: u64 = slice.steps.iter().map(|step| step.failures()).sum();
    let finished: u64 = failed + slice.steps.iter().map(|step| step.ok).sum::<u64>();
    (finished > 0).then(|| failed as f64 / finished as f64)
}

/// Latency of the slice in seconds; none when nothing finished.
#[must_use]
pub fn latency(slice: &Slice, statistic: Option<Statistic>) -> Option<f64> {
    let mut all = Hist::working();
    for step in &slice.steps {
        // A damaged histogram cannot come from a live shard; the judge reports one in a saved recording.
        step.latency.add_to(&mut all).ok()?;
    }
    if all.is_empty() {
        return None;
    }
    let us = match statistic.unwrap_or(Statistic::Percentile(99.0)) {
        Statistic::Percentile(percentile) => all.value_at_percentile(percentile) as f64,
        Statistic::Mean => all.mean(),
        Statistic::Max => all.max() as f64,
    };
    Some(us / 1e6)
}

fn compare(comparison: Comparison, value: f64, limit: f64) -> bool {
    match comparison {
        Comparison::Less => value < limit,
        Comparison::LessOrEqual => value <= limit,
        Comparison::Greater => value > limit,
        Comparison::GreaterOrEqual => value >= limit,
        Comparison::Equal => value == limit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{FailureKind, StepSlice};

    /// `errors > 50% for 4s`, in real seconds.
    fn watch() -> Watch {
        Watch {
            experiment: "blackout".to_owned(),
            condition: StopCondition {
                text: "errors > 50% for 4s".to_owned(),
                when: StopWhen::Measured {
                    measure: Measure::Errors,
                    statistic: None,
                    comparison: Comparison::Greater,
                    limit: Limit::Share(0.5),
                    lasts: Duration::from_secs(4),
                },
            },
            needed: 4,
            held: 0,
            active_from: 0,
            active_until: 100,
        }
    }

    /// A second in which so many requests went well and so many failed.
    fn second(ok: u64, failed: u64) -> Slice {
        let failed = (failed > 0).then_some((FailureKind::Timeout, failed));
        let step = StepSlice {
            ok,
            failed: failed.into_iter().collect(),
            ..StepSlice::default()
        };
        Slice {
            steps: vec![step],
            ..Slice::default()
        }
    }

    /// The second in which it is met, of seconds of which `F` failed, `.` went well, and in `_` nothing finished.
    fn met(seconds: &str) -> Option<usize> {
        let mut watch = watch();
        seconds.chars().enumerate().position(|(at, char)| {
            let slice = match char {
                'F' => second(1, 9),
                '.' => second(9, 1),
                _ => Slice::default(),
            };
            watch.observe(&slice, at as u64).is_some()
        })
    }

    #[test]
    fn a_condition_holds_over_seconds_in_which_nothing_finished() {
        for (seconds, expected) in [
            ("FFF", None),
            ("FFFF", Some(3)),
            ("FFF.FFF", None),
            (".F.FFFF", Some(6)),
            // Users who wait out their patience fail now and then, and nobody succeeds.
            ("F__F", Some(3)),
            ("F_______F", Some(8)),
            // What is silent from some time on has not failed any more.
            ("F________", None),
            ("____", None),
            ("F___.F__F", Some(8)),
        ] {
            assert_eq!(met(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn a_condition_counts_only_while_its_experiment_goes_on() {
        let mut watch = watch();
        watch.active_from = 3;
        let mut observed = (0..10).map(|at| watch.observe(&second(0, 5), at).is_some());
        assert_eq!(observed.position(|met| met), Some(6));
    }
}
