//! (plan, recording) -> verdict. Pure, so that a saved run can be judged again: no clock, no files, no sockets.
//!
//! A recording is in real time; everything a verdict reports as a duration is cloud time unless its name says
//! otherwise. What cannot be believed is inconclusive, never a pass.

mod asked_for;
mod baseline;
mod classes;
mod disturbance;
mod faults;
mod group;
mod honesty;
mod losses;
mod moves;
mod objectives;
mod overstay;
mod reach;
mod redundancy;
mod routing;
mod scaling;
mod standstill;
mod steered;
mod timeline;
mod traffic;
mod verdict;

#[cfg(test)]
mod blame_tests;
#[cfg(test)]
mod ended_early_tests;
#[cfg(test)]
mod evidence_tests;
#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod honesty_tests;
#[cfg(test)]
mod overstay_tests;
#[cfg(test)]
mod standstill_tests;
#[cfg(test)]
mod steered_tests;
#[cfg(test)]
mod tests;

pub use classes::ClassFindings;
pub use moves::{ClassMove, DnsMove};
use standstill::Standstill;
pub use timeline::Timeline;
pub use verdict::*;

use crate::event::Event;
use crate::plan::{Measure, Plan};
use crate::recording::{Ended, Recording};
use crate::units::format_duration;

/// Judges a recording against the plan it was made from.
#[must_use]
pub fn judge(plan: &Plan, recording: &Recording) -> Verdict {
    let mut timeline = Timeline::new(plan, recording);
    let mut findings = faults::findings(&timeline);
    timeline.settle_phases(&findings);
    let scale_outs = scaling::decisions(&timeline);
    faults::complete(&timeline, &mut findings);
    let standstill = Standstill::of(plan, recording);
    let honesty = honesty::honesty(&timeline, &standstill);
    let mut objectives: Vec<_> = plan
        .objectives
        .iter()
        .map(|objective| objectives::evaluate(&timeline, objective, &scale_outs))
        .collect();
    standstill.reconsider(plan, recording, &mut objectives);
    let faults_proven = findings
        .iter()
        .all(|fault| fault.observed && fault.ended_early.is_none() && fault.reverted_late.is_none());
    let outcome = run_outcome(plan, &objectives, &honesty, faults_proven, recording.ended);
    let (moves, moves_more) = moves::moves(&timeline);
    Verdict {
        outcome,
        sentence: sentence(outcome, &objectives, &findings, &honesty, recording),
        convergence: routing::convergence(&timeline, &findings),
        classes: classes::findings(&timeline),
        moves,
        moves_more,
        objectives,
        faults: findings,
        scale_outs: scale_outs.iter().map(|decision| decision.summary(&timeline)).collect(),
        honesty,
    }
}

/// Without `faults_proven` some fault of the plan was not seen to be in the world, or did not end as planned: nothing held
/// under it. What is lost is lost, even where the measurement is spoilt.
fn run_outcome(
    plan: &Plan,
    objectives: &[ObjectiveVerdict],
    honesty: &Honesty,
    faults_proven: bool,
    ended: Ended,
) -> Outcome {
    let any = |outcome| objectives.iter().any(|objective| objective.outcome == outcome);
    let mut pairs = plan.objectives.iter().zip(objectives);
    let lost = pairs.any(|(of, verdict)| of.measure == Measure::LostWrites && verdict.outcome == Outcome::Missed);
    if honesty.spoiled.is_some() && !lost {
        Outcome::Inconclusive
    } else if any(Outcome::Missed) {
        Outcome::Missed
    } else if any(Outcome::Inconclusive) || objectives.is_empty() || !faults_proven || ended != Ended::Finished {
        Outcome::Inconclusive
    } else {
        Outcome::Met
    }
}

fn sentence(
    outcome: Outcome,
    objectives: &[ObjectiveVerdict],
    faults: &[FaultFindings],
    honesty: &Honesty,
    recording: &Recording,
) -> String {
    let prefix = match recording.ended {
        Ended::Finished => String::new(),
        Ended::Stopped => stopped_by(recording),
        Ended::Interrupted => "Interrupted and reverted. ".to_owned(),
        Ended::Unreachable => "The target or AWS could not be reached. ".to_owned(),
        Ended::Unreverted => "A fault is still in the world. ".to_owned(),
    };
    let of = |wanted| objectives.iter().filter(move |objective| objective.outcome == wanted);
    let first = |wanted| {
        of(wanted)
            .map(|objective| match &objective.measured {
                Some(value) if !objective.at_least && outcome == Outcome::Missed => {
                    format!(
                        "{} (measured {}: {})",
                        objective.objective,
                        format_beside(value, &objective.limit),
                        objective.why
                    )
                }
                _ => format!("{} ({})", objective.objective, objective.why),
            })
            .next()
            .unwrap_or_default()
    };
    let total = objectives.len();
    let body = match outcome {
        Outcome::Met => {
            let felt = faults.iter().filter(|fault| fault.observed).count();
            format!(
                "It held: {} met under {}.",
                all_of(total, "objective"),
                count(felt, "fault")
            )
        }
        Outcome::Missed => {
            let missed = of(Outcome::Missed).count();
            let also = of(Outcome::Inconclusive).count();
            let rest = if also > 0 {
                format!(
                    " {} inconclusive.",
                    count(also, "more objective").replace("more objectives", "more")
                )
            } else {
                String::new()
            };
            format!(
                "It did not hold: {missed} of {} missed, first {}.{rest}",
                count(total, "objective"),
                first(Outcome::Missed)
            )
        }
        Outcome::Inconclusive => match &honesty.spoiled {
            Some(why) => format!("Inconclusive: the measurement is spoilt; {why}."),
            None if total == 0 => "Inconclusive: there is no objective to judge by.".to_owned(),
            None if of(Outcome::Inconclusive).count() == 0 => match faults.iter().find(|fault| !fault.observed) {
                Some(fault) if recording.ended == Ended::Finished => format!("Inconclusive: {}.", fault.evidence),
                None if recording.ended == Ended::Finished => {
                    "Inconclusive: a fault was not in the world for as long as planned, or for longer.".to_owned()
                }
                _ => "Inconclusive: the run ended before its schedule did.".to_owned(),
            },
            None => format!(
                "Inconclusive: {} of {} could not be judged, first {}.",
                of(Outcome::Inconclusive).count(),
                count(total, "objective"),
                first(Outcome::Inconclusive)
            ),
        },
    };
    prefix + &body + &ended_early(faults) + &reverted_late(faults) + &steered(recording)
}

/// What somebody else took out of the world.
fn ended_early(faults: &[FaultFindings]) -> String {
    let told = faults.iter().filter_map(|fault| {
        let EndedEarly { at, evidence } = fault.ended_early.as_ref()?;
        let (id, name, at) = (&fault.id, &fault.fault, format_duration(*at));
        Some(format!(
            " {name} ({id}) ended early, at {at}, and not by this run: {evidence}."
        ))
    });
    told.collect()
}

/// What was in the world past its revert.
fn reverted_late(faults: &[FaultFindings]) -> String {
    let told = faults.iter().filter_map(|fault| {
        let late = fault.reverted_late.as_ref()?;
        Some(format!(" {} ({}) {late}: {}.", fault.fault, fault.id, late.why))
    });
    told.collect()
}

/// Commands make another run of it than the plan's.
fn steered(recording: &Recording) -> String {
    let steers = recording.events.iter().filter(|stamped| stamped.event.steers());
    match steers.count() {
        0 => String::new(),
        commands => format!(" The run was steered by {}.", count(commands, "command")),
    }
}

fn stopped_by(recording: &Recording) -> String {
    let told = recording.events.iter().find_map(|stamped| match &stamped.event {
        Event::StopConditionMet { condition, .. } => {
            Some(format!("Stopped by the stop condition \"{condition}\" and reverted. "))
        }
        Event::ClaimLost { reason } => Some(format!("Stopped and reverted, for {reason}. ")),
        _ => None,
    });
    told.unwrap_or_else(|| "Stopped by a stop condition and reverted. ".to_owned())
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn all_of(number: usize, noun: &str) -> String {
    if number == 1 {
        format!("the only {noun} was")
    } else {
        format!("all {number} {noun}s were")
    }
}
