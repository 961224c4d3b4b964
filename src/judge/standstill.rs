//! Seconds in which the generator's machine stood still: an objective that is missed only because of them is not missed.
//!
//! A machine that stops for a tenth of a second makes users late, and in a lab, which shares it, makes answers late too;
//! none of that is the target's doing. p99 over a run of an hour does not show it. So whatever users felt is judged once
//! more without these seconds, and what is missed only with them is inconclusive. A standstill flatters nobody, so what
//! is met stays met. What the control plane alone tells is not judged again.

use std::collections::BTreeSet;
use std::time::Duration;

use super::objectives;
use super::timeline::Timeline;
use super::{ObjectiveVerdict, Outcome, faults, honesty};
use crate::plan::{Measure, Plan};
use crate::recording::Recording;
use crate::units::format_duration;

/// The seconds of a recording whose own p99 of lag was over the bound, or in which a shard looked at nobody for longer.
#[derive(Clone, Debug, Default)]
pub(super) struct Standstill {
    pub seconds: BTreeSet<u64>,
    longest: Duration,
}

impl Standstill {
    pub fn of(plan: &Plan, recording: &Recording) -> Self {
        let mut found = Self::default();
        for slice in &recording.slices {
            let late = honesty::lag_p99(&[slice]).max(slice.generator.standstill);
            if late > plan.honesty.lag_p99_max {
                found.seconds.insert(slice.second);
                found.longest = found.longest.max(late);
            }
        }
        found
    }

    /// Takes back what is missed only with these seconds.
    pub fn reconsider(&self, plan: &Plan, recording: &Recording, verdicts: &mut [ObjectiveVerdict]) {
        let accused = |verdict: &ObjectiveVerdict, measure| verdict.outcome == Outcome::Missed && is_felt(measure);
        let any = || {
            let mut pairs = verdicts.iter().zip(&plan.objectives);
            pairs.any(|(verdict, objective)| accused(verdict, objective.measure))
        };
        if self.seconds.is_empty() || !any() {
            return;
        }
        let without = self.without(recording);
        let mut timeline = Timeline::new(plan, &without);
        timeline.settle_phases(&faults::findings(&timeline));
        for (verdict, objective) in verdicts.iter_mut().zip(&plan.objectives) {
            if !accused(verdict, objective.measure) {
                continue;
            }
            if objectives::evaluate(&timeline, objective, &[]).outcome != Outcome::Missed {
                verdict.outcome = Outcome::Inconclusive;
                verdict.why = format!("{}, but not without {self}", verdict.why);
            }
        }
    }

    /// The recording without what users and probes saw around these seconds: the one before holds what was in flight
    /// when a standstill began, the one after what had queued up.
    fn without(&self, recording: &Recording) -> Recording {
        let around = |second: u64| (second.saturating_sub(1)..=second + 1).any(|near| self.seconds.contains(&near));
        let mut rest = recording.clone();
        rest.slices.retain(|slice| !around(slice.second));
        for pulse in &mut rest.pulses {
            let cell = pulse.cell;
            pulse.cells.retain(|at, _| !around((cell * *at).as_secs()));
        }
        rest.probes.retain(|probe| !around(probe.started.as_secs()));
        rest
    }
}

impl std::fmt::Display for Standstill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = match self.seconds.len() {
            1 => "the second".to_owned(),
            several => format!("the {several} seconds"),
        };
        write!(
            f,
            "{seconds} in which the generator stood still (for up to {})",
            format_duration(self.longest)
        )
    }
}

/// Told by what users and probes saw, and not by the control plane or a ledger.
fn is_felt(measure: Measure) -> bool {
    match measure {
        Measure::Latency
        | Measure::ServiceTime
        | Measure::Errors
        | Measure::Throughput
        | Measure::Share
        | Measure::Outage
        | Measure::Recovery
        | Measure::LateErrors
        | Measure::Shift
        | Measure::FailBack
        | Measure::StaleShare => true,
        Measure::LostWrites | Measure::Redundancy | Measure::ScaleOut | Measure::SelfHeal => false,
    }
}
