//! How a step failed before an experiment: what fails then as it does under the fault is not shown to be the fault's.

use super::disturbance::{self, Disturbance, cell_span};
use crate::recording::{ProbeSample, Pulse};

/// A share of failures before the fault that is this part of the share under it is the same one.
const ALIKE: f64 = 0.9;

/// How a step failed before an experiment, where more than strays did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Baseline {
    pub failed: u64,
    pub attempts: u64,
    /// Real seconds.
    pub looked: f64,
}

impl Baseline {
    /// How a step failed for so long before an instant; none where no more than strays did. What was in flight then may
    /// have been hit by what came.
    pub(super) fn of(pulse: Option<&Pulse>, probes: &[&ProbeSample], instant: f64, looked: f64) -> Option<Self> {
        let from = instant - looked;
        let failures = disturbance::failures(pulse, probes).into_iter();
        let failed = failures.filter(|failure| failure.start >= from && failure.finish < instant);
        let failed: u64 = failed.map(|failure| failure.count.all()).sum();
        let attempts = failed + succeeded(pulse, probes, from, instant);
        (failed > 0 && disturbance::is_substantial(failed, attempts)).then_some(Self {
            failed,
            attempts,
            looked,
        })
    }

    /// Whether the step failed no more under a disturbance, neither when that began nor in all of it.
    pub(super) fn is_alike(&self, pulse: Option<&Pulse>, probes: &[&ProbeSample], under: &Disturbance) -> bool {
        let (from, until) = (under.first_failed_start, under.last_failed_start);
        let soon = from + self.looked;
        let worst = share(pulse, probes, from, soon).max(share(pulse, probes, from, until.max(soon)));
        self.failed as f64 >= ALIKE * worst * self.attempts as f64
    }
}

/// The share of failures among what was started in a span.
fn share(pulse: Option<&Pulse>, probes: &[&ProbeSample], from: f64, to: f64) -> f64 {
    let failures = disturbance::failures(pulse, probes).into_iter();
    let failed = failures.filter(|failure| failure.start >= from && failure.start <= to);
    let failed: u64 = failed.map(|failure| failure.count.all()).sum();
    failed as f64 / (failed + succeeded(pulse, probes, from, to)).max(1) as f64
}

/// Successes that surely started in a span.
pub(super) fn succeeded(pulse: Option<&Pulse>, probes: &[&ProbeSample], from: f64, to: f64) -> u64 {
    let cells = pulse.into_iter().flat_map(|pulse| {
        let within = pulse.cells.iter().filter(move |(index, _)| {
            let (start, end) = cell_span(pulse, **index);
            start >= from && end <= to
        });
        within.map(|(_, cell)| u64::from(cell.ok))
    });
    let probed = probes
        .iter()
        .filter(|probe| probe.failure.is_none() && (from..to).contains(&probe.started.as_secs_f64()));
    cells.sum::<u64>() + probed.count() as u64
}
