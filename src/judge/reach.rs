//! When a Region stopped answering and when it answered again, from probes that are sent straight to it.
//! What users felt is `disturbance`; they may long be elsewhere.

use super::timeline::{FaultTimes, Timeline};
use crate::recording::ProbeSample;

/// Real seconds since t0. Each instant lies between two probes; the middle is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Reach {
    pub silent: f64,
    /// None when it never answered again.
    pub answered: Option<f64>,
}

/// The silence of the fault's Region; none without direct probes or without a silence.
pub(super) fn reach(timeline: &Timeline<'_>, fault: &FaultTimes<'_>) -> Option<Reach> {
    let window = timeline.window(fault)?;
    let mut probes: Vec<&ProbeSample> = timeline
        .recording
        .probes
        .iter()
        .filter(|probe| probe.direct && probe.sent_to == fault.plan.region)
        .collect();
    probes.sort_by_key(|probe| probe.started);
    let started = |probe: &&ProbeSample| probe.started.as_secs_f64();
    let from = probes.partition_point(|probe| probe.finished.as_secs_f64() < window.begin);
    let to = probes.partition_point(|probe| probe.started.as_secs_f64() <= window.end);
    let failed = |probe: &&&ProbeSample| probe.failure.is_some();
    let span = probes.get(from..to)?;
    let first = span.iter().position(|probe| failed(&probe))?;
    let last = span.iter().rposition(|probe| failed(&probe))?;
    let middle = |one: Option<&&ProbeSample>, other: &&ProbeSample| {
        one.map_or(started(other), |one| (started(one) + started(other)) / 2.0)
    };
    // The probe before the first failure may lie before the window.
    let before = (from + first).checked_sub(1).and_then(|index| probes.get(index));
    Some(Reach {
        silent: middle(before, &span[first]),
        answered: span.get(last + 1).map(|answered| middle(Some(&span[last]), answered)),
    })
}
