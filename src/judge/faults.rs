//! Findings per fault: what users felt, put together with what AWS said meanwhile.

use std::collections::BTreeMap;

use super::disturbance::{self, Disturbance, Failed};
use super::losses::{self, Losses};
use super::timeline::{FaultTimes, Timeline};
use super::{EndedEarly, FaultFindings, Parts, StepFindings, group, reach, redundancy, routing};
use crate::event::Event;
use crate::plan::Fault;

/// What users felt, for every fault of the plan.
pub(super) fn findings(timeline: &Timeline<'_>) -> Vec<FaultFindings> {
    timeline.faults.iter().map(|fault| users(timeline, fault)).collect()
}

/// Adds what the control plane and the ledgers say.
pub(super) fn complete(timeline: &Timeline<'_>, findings: &mut [FaultFindings]) {
    for (fault, found) in timeline.faults.iter().zip(findings) {
        if fault.instant().is_none() {
            continue;
        }
        if let Some(losses) = losses(timeline, fault) {
            found.lost_writes = losses.known();
            found.unread_writes = losses.unread;
        }
        match &fault.plan.fault {
            costly if costly.costs_instances() => {
                found.self_heal = group::self_heal(timeline, fault).reached();
                found.late_errors = group::late_errors(timeline, fault, None).ok().map(|(count, _)| count);
            }
            failing if failing.fails_over() => found.redundancy = redundancy::redundancy(timeline, fault).reached(),
            moving if moving.moves_users() => {
                found.shift = routing::shift(timeline, fault).reached();
                found.stale_share = routing::stale_share(timeline, fault).ok().map(|(share, _)| share);
                found.fail_back = routing::fail_back(timeline, fault).reached();
                // Only a Region that is cut off falls silent.
                let cut_off = *moving == Fault::NetworkDenyRegion;
                if let (true, Some(reach), Some(injected)) = (cut_off, reach::reach(timeline, fault), fault.instant()) {
                    found.region_silent = Some(timeline.cloud(reach.silent - injected));
                    found.region_answered = reach.answered.map(|at| timeline.cloud(at - injected));
                }
            }
            _ => {}
        }
        found.parts = parts(timeline, fault, found);
    }
}

fn users(timeline: &Timeline<'_>, fault: &FaultTimes<'_>) -> FaultFindings {
    let injected = fault.instant();
    let mut steps = BTreeMap::new();
    let mut all: Vec<Disturbance> = Vec::new();
    let mut failing_before = Vec::new();
    for (index, step) in timeline.plan.steps.iter().enumerate() {
        let felt = disturbance::felt(timeline, fault, index);
        if felt.is_some_and(|felt| felt.before.is_some()) {
            failing_before.push(step.name.clone());
        }
        if let (Some(disturbance), Some(injected)) = (felt.and_then(|felt| felt.disturbance), injected) {
            steps.insert(step.name.clone(), step_findings(timeline, injected, &disturbance));
            all.push(disturbance);
        }
    }
    let unrecovered = all.iter().any(|disturbance| disturbance.recovered.is_none());
    let least = |of: fn(&Disturbance) -> f64| all.iter().map(of).reduce(f64::min);
    let most = |of: fn(&Disturbance) -> f64| all.iter().map(of).reduce(f64::max);
    let onset = least(|disturbance| disturbance.first_failed_start);
    let ended = most(|disturbance| disturbance.last_failed_start);
    let failed: Failed = all.iter().map(|disturbance| disturbance.failed).sum();
    let recovered = if unrecovered {
        None
    } else {
        most(|disturbance| disturbance.recovered.unwrap_or_default())
    };
    let since = |at: Option<f64>, from: Option<f64>| at.zip(from).map(|(at, from)| timeline.cloud(at - from));
    FaultFindings {
        id: fault.id.clone(),
        fault: fault.plan.fault.name().to_owned(),
        hypothesis: fault.experiment.hypothesis.clone(),
        role: fault.plan.role.clone(),
        region: fault.plan.region.clone(),
        resources: if fault.resources.is_empty() {
            fault.plan.resources.clone()
        } else {
            fault.resources.clone()
        },
        injected_at: injected.map(|at| timeline.cloud(at)),
        reverted_at: fault.leaving().map(|at| timeline.cloud(at)),
        ended_early: fault.ended_early.as_ref().map(|(at, evidence)| EndedEarly {
            at: timeline.cloud(*at),
            evidence: evidence.clone(),
        }),
        reverted_late: timeline.overstay(fault).map(|overstay| overstay.told(timeline)),
        in_world_at_end: fault.stays(),
        experiment_ended_at: timeline.window(fault).map(|window| timeline.cloud(window.end)),
        observed: fault.unproven().is_none(),
        evidence: fault.unproven().or_else(|| fault.observed.clone()).unwrap_or_default(),
        onset: since(onset, injected),
        outage: since(ended, onset),
        recovery: since(recovered, injected),
        unrecovered,
        failing_before,
        failed: failed.requests,
        probes_failed: failed.probes,
        steps,
        parts: Parts::default(),
        redundancy: None,
        self_heal: None,
        late_errors: None,
        lost_writes: None,
        unread_writes: 0,
        shift: None,
        stale_share: None,
        fail_back: None,
        region_silent: None,
        region_answered: None,
        fidelity: fault.plan.fidelity.clone(),
    }
}

fn step_findings(timeline: &Timeline<'_>, injected: f64, felt: &Disturbance) -> StepFindings {
    StepFindings {
        onset: timeline.cloud(felt.first_failed_start - injected),
        outage: timeline.cloud(felt.last_failed_start - felt.first_failed_start),
        recovery: felt.recovered.map(|at| timeline.cloud(at - injected)),
        failed: felt.failed.requests,
        probes_failed: felt.failed.probes,
    }
}

fn losses(timeline: &Timeline<'_>, fault: &FaultTimes<'_>) -> Option<Losses> {
    let span = losses::loss_window(timeline, &fault.id.experiment)?;
    let ledgers: Vec<_> = timeline.recording.ledgers.iter().collect();
    Some(losses::losses(timeline, &ledgers, Some(span)))
}

/// Splits the recovery at the instants the control plane dated; a part stays none where no event marks its end.
fn parts(timeline: &Timeline<'_>, fault: &FaultTimes<'_>, found: &FaultFindings) -> Parts {
    let (Some(injected), Some(recovery)) = (fault.instant(), found.recovery) else {
        return Parts::default();
    };
    let recovered = injected + timeline.real(recovery);
    let (detected, ready, known) = match &fault.plan.fault {
        failing if failing.fails_over() => {
            let message = |needles: &[&str]| {
                timeline.events().find_map(|(at, event)| match event {
                    Event::DatabaseEvent { region, message, .. }
                        if *region == fault.plan.region
                            && at >= injected
                            && needles.iter().any(|needle| message.contains(needle)) =>
                    {
                        Some(at)
                    }
                    _ => None,
                })
            };
            // Of an instance, and of a cluster (RDS-EVENT-0072, 0073 and 0071).
            const STARTED: [&str; 2] = ["failover started", "AZ failover to DB instance"];
            const OVER: [&str; 3] = [
                "failover completed",
                "failover to standby complete",
                "Completed failover",
            ];
            (message(&STARTED), message(&OVER), None)
        }
        moving if moving.moves_users() => (
            routing::detected(timeline, fault),
            None,
            routing::answered_elsewhere(timeline, fault),
        ),
        costly if costly.costs_instances() => (group::left_target_group(timeline, fault), None, None),
        _ => (None, None, None),
    };
    let mut last = injected;
    let mut part = |at: Option<f64>| {
        let at = at.filter(|at| *at >= last && *at <= recovered)?;
        let length = timeline.cloud(at - last);
        last = at;
        Some(length)
    };
    let detect = part(detected);
    let promote = part(ready);
    let propagate = part(known);
    let client = if detect.is_some() || promote.is_some() || propagate.is_some() {
        Some(timeline.cloud(recovered - last))
    } else {
        None
    };
    Parts {
        detect,
        promote,
        propagate,
        client,
    }
}
