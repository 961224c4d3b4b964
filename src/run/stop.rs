//! Stop conditions: watches the slices and says when one has held long enough. It stops nothing itself.

use std::collections::VecDeque;
use std::time::Duration;

use crate::plan::{Comparison, ExperimentPlan, Limit, Measure, Plan, Statistic, StopCondition};
use crate::recording::{Hist, Slice};

/// Watches every stop condition of a plan.
#[derive(Debug)]
pub struct StopWatch {
    watches: Vec<Watch>,
}

#[derive(Debug)]
struct Watch {
    experiment: String,
    condition: StopCondition,
    /// Real seconds it must hold; at least one slice.
    needed: usize,
    recent: VecDeque<Slice>,
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
        Self { watches }
    }

    /// Takes the next slice, with the second of the schedule it belongs to; says which condition has now held for its
    /// whole time.
    pub fn observe(&mut self, slice: &Slice, schedule_second: u64) -> Option<Stop> {
        self.watches
            .iter_mut()
            .find_map(|watch| watch.observe(slice, schedule_second))
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
        Self {
            experiment: experiment.name.clone(),
            condition: condition.clone(),
            needed: (real(condition.lasts).as_secs_f64().ceil() as usize).max(1),
            recent: VecDeque::new(),
            active_from: real(from).as_secs(),
            active_until: real(until + experiment.settle).as_secs(),
        }
    }

    fn observe(&mut self, slice: &Slice, schedule_second: u64) -> Option<Stop> {
        if schedule_second < self.active_from || schedule_second > self.active_until {
            self.recent.clear();
            return None;
        }
        if !self.breached(slice) {
            self.recent.clear();
            return None;
        }
        self.recent.push_back(Slice {
            second: slice.second,
            ..Slice::default()
        });
        (self.recent.len() >= self.needed).then(|| Stop {
            experiment: self.experiment.clone(),
            condition: self.condition.text.clone(),
        })
    }

    fn breached(&self, slice: &Slice) -> bool {
        let condition = &self.condition;
        match (condition.measure, condition.limit) {
            (Measure::Errors, Limit::Share(limit)) => {
                error_share(slice).is_some_and(|share| compare(condition.comparison, share, limit))
            }
            (Measure::Latency, Limit::Duration(limit)) => latency(slice, condition.statistic)
                .is_some_and(|value| compare(condition.comparison, value, limit.as_secs_f64())),
            _ => false,
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
