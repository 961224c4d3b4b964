//! One objective against the timeline: which faults and seconds it covers, what is found, how that compares.

use super::disturbance::{self, ATTEMPTS_MIN, Felt};
use super::scaling::{self, Decision};
use super::timeline::{FaultTimes, Timeline};
use super::{
    ObjectiveVerdict, Outcome, Value, format_value, group, honesty, losses, overstay, redundancy, routing, traffic,
};
use crate::plan::{Comparison, Fault, Limit, Measure, Objective, Phase, Scope, Statistic};
use crate::units::format_duration;

/// Seconds by which an instant may miss another that it is computed to be.
const ROUNDED: f64 = 1e-3;

/// What looking for a measure brought.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Finding {
    /// A value, and how it was measured.
    Reached(Value, String),
    /// It ended between two looks, at the latest with the second.
    Between {
        earliest: Value,
        latest: Value,
        why: String,
    },
    /// It had not ended after this long, when the observation of it had to end: only a limit that is no longer is surely
    /// missed. The flag says that the run was cut short.
    AtLeast(Value, String, bool),
    /// Some were completed, the slowest in `done`; another had not ended after `waiting`.
    Pending { done: Value, waiting: Value, why: String },
    /// It surely does not happen.
    Never(String),
    /// It cannot be told.
    Unknown(String),
}

impl Finding {
    /// The duration, where one was reached.
    pub(super) fn reached(&self) -> Option<std::time::Duration> {
        match self {
            Finding::Reached(Limit::Duration(duration), _)
            | Finding::Between {
                latest: Limit::Duration(duration),
                ..
            } => Some(*duration),
            _ => None,
        }
    }
}

/// Judges one objective.
pub(super) fn evaluate(timeline: &Timeline<'_>, objective: &Objective, decisions: &[Decision]) -> ObjectiveVerdict {
    let experiment = match &objective.scope {
        Scope::Experiment(name) => Some(name.clone()),
        Scope::Run | Scope::During(_) => None,
    };
    let mut verdict = ObjectiveVerdict {
        objective: objective.text.clone(),
        experiment,
        measured: None,
        at_least: false,
        limit: objective.limit,
        margin: None,
        outcome: Outcome::Inconclusive,
        why: String::new(),
    };
    if let Some(why) = unproven(timeline, objective) {
        verdict.why = why;
        return verdict;
    }
    let finding = find(timeline, objective, decisions);
    conclude(&mut verdict, objective, finding);
    if objective.measure != Measure::Redundancy
        && let Some(why) = honesty::spoiled(timeline, &timeline.slices(&objective.scope))
            .or_else(|| honesty::spoiled(timeline, &timeline.slices(&Scope::Run)))
    {
        verdict.outcome = Outcome::Inconclusive;
        verdict.why = format!("the measurement is spoilt: {why}");
    } else if could_change(&verdict, objective)
        && let Some(why) = cut_short(timeline, &objective.scope)
    {
        verdict.outcome = Outcome::Inconclusive;
        verdict.why = format!("{}, but {why}", verdict.why);
    }
    let another = [
        unplanned(timeline, objective),
        overstay::overstayed(timeline, objective, &verdict, decisions),
    ];
    // What is lost is lost, whatever the experiment was.
    if objective.measure == Measure::LostWrites && verdict.outcome == Outcome::Missed {
        return verdict;
    }
    for why in another.into_iter().flatten() {
        verdict.outcome = Outcome::Inconclusive;
        verdict.why = format!("{}, but {why}", verdict.why);
    }
    verdict
}

/// Why an experiment was not the planned one; what the control plane alone shows does not depend on the load.
fn unplanned(timeline: &Timeline<'_>, objective: &Objective) -> Option<String> {
    let Scope::Experiment(name) = &objective.scope else {
        return None;
    };
    let window = timeline.windows.get(name.as_str())?;
    let seconds = timeline.steered.unplanned(window.begin, window.end);
    (seconds > 0 && objective.measure != Measure::Redundancy)
        .then(|| format!("the load was paused or scaled in {seconds}s of the experiment"))
}

fn unproven(timeline: &Timeline<'_>, objective: &Objective) -> Option<String> {
    let Scope::Experiment(name) = &objective.scope else {
        return None;
    };
    let covered = timeline.faults_in(&objective.scope);
    if covered.is_empty() {
        return Some(format!("{name} injects no fault"));
    }
    covered.into_iter().find_map(|index| timeline.faults[index].unproven())
}

/// Whether the rest of a run that was cut short might have told otherwise: what held so far may yet break, and a share
/// or a percentile of a whole window is not that of its beginning. What is too long or too many stays so.
fn could_change(verdict: &ObjectiveVerdict, objective: &Objective) -> bool {
    let of_the_whole = match objective.measure {
        Measure::Errors | Measure::Throughput | Measure::Share | Measure::StaleShare => true,
        Measure::Latency | Measure::ServiceTime => objective.statistic != Some(Statistic::Max),
        _ => false,
    };
    match verdict.outcome {
        Outcome::Met => true,
        Outcome::Missed => of_the_whole && verdict.measured.is_some(),
        Outcome::Inconclusive => false,
    }
}

/// Why what is measured over a scope is not what would have been: a fault or the run was over too soon.
fn cut_short(timeline: &Timeline<'_>, scope: &Scope) -> Option<String> {
    let unfinished = |name: &str| timeline.windows.get(name).is_none_or(|window| window.cut);
    let of_faults = !matches!(scope, Scope::During(Phase::Steady | Phase::Ramp));
    let mut covered = timeline.faults_in(scope).into_iter().filter(|_| of_faults);
    if let Some(why) = covered.find_map(|index| timeline.faults[index].cut_off(timeline)) {
        return Some(why);
    }
    let cut = match scope {
        Scope::Experiment(name) => unfinished(name),
        Scope::During(Phase::Fault | Phase::Recovery) => {
            let experiments = &timeline.plan.experiments;
            timeline.cut() && experiments.iter().any(|experiment| unfinished(&experiment.name))
        }
        Scope::Run | Scope::During(_) => timeline.cut(),
    };
    cut.then(|| "the run ended before this was over".to_owned())
}

/// Looks for what an objective measures.
pub(super) fn find(timeline: &Timeline<'_>, objective: &Objective, decisions: &[Decision]) -> Finding {
    let steps = match steps(timeline, objective) {
        Ok(steps) => steps,
        Err(why) => return Finding::Unknown(why),
    };
    let covered = timeline.faults_in(&objective.scope);
    let each = |wanted: fn(&Fault) -> bool, measure: &dyn Fn(&FaultTimes<'_>) -> Finding| {
        let matching = covered
            .iter()
            .map(|index| &timeline.faults[*index])
            .filter(|fault| wanted(&fault.plan.fault))
            .map(|fault| match fault.unproven() {
                Some(why) => Finding::Unknown(why),
                None => measure(fault),
            });
        worst(matching).unwrap_or_else(|| Finding::Unknown("no fault here can be measured that way".to_owned()))
    };
    let any = |_: &Fault| true;
    match objective.measure {
        Measure::Latency | Measure::ServiceTime | Measure::Errors | Measure::Throughput | Measure::Share => {
            traffic::measure(timeline, objective, &timeline.slices(&objective.scope), &steps)
        }
        Measure::Outage | Measure::Recovery => each(any, &|fault| {
            let mut of: Vec<(bool, Finding)> = steps
                .iter()
                .map(|step| {
                    let seen = disturbance::felt(timeline, fault, *step);
                    let hit = seen.is_some_and(|seen| seen.disturbance.is_some());
                    (hit, felt(timeline, fault, *step, seen, objective.measure))
                })
                .collect();
            // Of those that took equally long the last one speaks: a step that was hit, where there is one.
            of.sort_by_key(|(hit, _)| *hit);
            worst(of.into_iter().map(|(_, finding)| finding))
                .unwrap_or_else(|| Finding::Unknown("the profile has no such step".to_owned()))
        }),
        Measure::LostWrites => losses::lost_writes(timeline, objective),
        Measure::Redundancy => each(Fault::fails_over, &|fault| redundancy::redundancy(timeline, fault)),
        Measure::ScaleOut => scaling::scale_out(timeline, objective, decisions),
        Measure::SelfHeal => each(Fault::costs_instances, &|fault| group::self_heal(timeline, fault)),
        Measure::LateErrors => {
            let named = objective
                .subject
                .as_deref()
                .filter(|subject| is_step(timeline, subject));
            each(Fault::costs_instances, &|fault| match group::late_errors(
                timeline,
                fault,
                named.map(|_| steps.as_slice()),
            ) {
                Ok((count, why)) => Finding::Reached(Value::Count(count), why),
                Err(finding) => finding,
            })
        }
        Measure::Shift => each(Fault::moves_users, &|fault| routing::shift(timeline, fault)),
        Measure::FailBack => each(Fault::moves_users, &|fault| routing::fail_back(timeline, fault)),
        Measure::StaleShare => each(
            Fault::moves_users,
            &|fault| match routing::stale_share(timeline, fault) {
                Ok((share, why)) => Finding::Reached(Value::Share(share), why),
                Err(finding) => finding,
            },
        ),
    }
}

/// The finding that speaks most against an objective.
fn worst(findings: impl Iterator<Item = Finding>) -> Option<Finding> {
    findings.max_by(|one, other| {
        rank(one)
            .cmp(&rank(other))
            .then_with(|| size(one).total_cmp(&size(other)))
    })
}

fn rank(finding: &Finding) -> u8 {
    match finding {
        Finding::Reached(..) | Finding::Between { .. } => 0,
        Finding::Unknown(_) => 1,
        Finding::Pending { .. } => 2,
        Finding::AtLeast(..) => 3,
        Finding::Never(_) => 4,
    }
}

fn size(finding: &Finding) -> f64 {
    match finding {
        Finding::Reached(value, _) | Finding::AtLeast(value, ..) => number(value),
        Finding::Pending { waiting: value, .. } | Finding::Between { latest: value, .. } => number(value),
        Finding::Never(_) | Finding::Unknown(_) => 0.0,
    }
}

fn number(value: &Value) -> f64 {
    match value {
        Limit::Duration(duration) => duration.as_secs_f64(),
        Limit::Share(number) | Limit::Rate(number) => *number,
        Limit::Count(count) => *count as f64,
    }
}

fn felt(timeline: &Timeline<'_>, fault: &FaultTimes<'_>, step: usize, seen: Option<Felt>, measure: Measure) -> Finding {
    let (Some(felt), Some(injected), Some(window)) = (seen, fault.instant(), timeline.window(fault)) else {
        return Finding::Unknown("the fault never got into the world".to_owned());
    };
    let name = timeline.plan.steps.get(step).map_or("", |step| step.name.as_str());
    if let Some(before) = felt.before {
        return Finding::Unknown(format!(
            "{name} was failing before the fault: {} of {} in the {} before it",
            before.failed,
            before.attempts,
            format_duration(timeline.cloud(before.looked))
        ));
    }
    let Some(disturbance) = felt.disturbance else {
        return if felt.attempts < ATTEMPTS_MIN {
            Finding::Unknown(format!(
                "only {} requests of {name} were started under the fault",
                felt.attempts
            ))
        } else {
            Finding::Reached(
                Value::Duration(Default::default()),
                format!("no user felt it: none of {} requests of {name} failed", felt.attempts),
            )
        };
    };
    let Some(recovered) = disturbance.recovered else {
        let from = match measure {
            Measure::Outage => disturbance.first_failed_start,
            _ => injected,
        };
        return Finding::AtLeast(
            Value::Duration(timeline.cloud(window.end - from)),
            format!("{name} was still failing when its observation ended"),
            window.cut,
        );
    };
    let (value, until) = match measure {
        Measure::Outage => (
            disturbance.last_failed_start - disturbance.first_failed_start,
            "from the start of the first to that of the last",
        ),
        _ => (
            recovered - injected,
            "from injection to the first success after the last failure",
        ),
    };
    Finding::Reached(
        Value::Duration(timeline.cloud(value)),
        if measure == Measure::Outage && disturbance.failed.all() == 1 {
            format!("{name}: no more than {}", disturbance.failed)
        } else {
            format!("{name}: {}, {until}", disturbance.failed)
        },
    )
}

fn is_step(timeline: &Timeline<'_>, subject: &str) -> bool {
    timeline.plan.steps.iter().any(|step| step.name == subject)
        || timeline.plan.journeys.iter().any(|journey| journey.name == subject)
}

/// The steps an objective speaks of: a step's or a journey's, else all.
fn steps(timeline: &Timeline<'_>, objective: &Objective) -> Result<Vec<usize>, String> {
    let all = || (0..timeline.plan.steps.len()).collect();
    let by_step = matches!(
        objective.measure,
        Measure::Latency
            | Measure::ServiceTime
            | Measure::Errors
            | Measure::Throughput
            | Measure::Outage
            | Measure::Recovery
            | Measure::LateErrors
    );
    let Some(subject) = objective.subject.as_deref().filter(|_| by_step) else {
        return Ok(all());
    };
    if subject.starts_with("region=") || subject.starts_with("az=") {
        return Ok(all());
    }
    if let Some(journey) = timeline.plan.journeys.iter().find(|journey| journey.name == subject) {
        return Ok(journey.steps.clone());
    }
    if let Some(index) = timeline.plan.steps.iter().position(|step| step.name == subject) {
        return Ok(vec![index]);
    }
    if objective.measure == Measure::LateErrors || timeline.plan.groups().contains(&subject) {
        return Ok(all());
    }
    Err(format!("{subject} is no journey and no step of the profile"))
}

fn conclude(verdict: &mut ObjectiveVerdict, objective: &Objective, finding: Finding) {
    let met = |value: &Value| holds(value, objective.comparison, &objective.limit);
    match finding {
        Finding::Reached(value, why) => {
            verdict.margin = margin(&value, objective);
            verdict.outcome = if met(&value) { Outcome::Met } else { Outcome::Missed };
            verdict.measured = Some(value);
            verdict.why = why;
        }
        Finding::Between { earliest, latest, why } => {
            let told = met(&latest) == met(&earliest);
            verdict.margin = margin(&latest, objective).filter(|_| told);
            verdict.outcome = match met(&latest) {
                _ if !told => Outcome::Inconclusive,
                true => Outcome::Met,
                false => Outcome::Missed,
            };
            verdict.why = if told {
                why
            } else {
                format!(
                    "{why}, between {} and {}: polled too seldom to tell",
                    format_value(&earliest),
                    format_value(&latest)
                )
            };
            verdict.measured = Some(latest);
        }
        Finding::AtLeast(value, why, cut) => {
            // What had not ended after as long as the limit takes longer than that.
            let over = !met(&value) || number(&value) + ROUNDED >= number(&objective.limit);
            verdict.margin = margin(&value, objective).filter(|_| over);
            verdict.measured = Some(value);
            verdict.at_least = true;
            verdict.outcome = if over { Outcome::Missed } else { Outcome::Inconclusive };
            verdict.why = match (over, cut) {
                (true, _) => why,
                (false, true) => format!("{why}, and it was cut short"),
                (false, false) => format!("{why}, too early to tell"),
            };
        }
        Finding::Pending { done, waiting, why } => {
            if met(&waiting) {
                verdict.margin = margin(&done, objective);
                verdict.outcome = if met(&done) { Outcome::Met } else { Outcome::Missed };
                verdict.measured = Some(done);
            } else {
                verdict.margin = margin(&waiting, objective);
                verdict.outcome = Outcome::Missed;
                verdict.measured = Some(waiting);
                verdict.at_least = true;
            }
            verdict.why = why;
        }
        Finding::Never(why) => {
            verdict.outcome = Outcome::Missed;
            verdict.why = why;
        }
        Finding::Unknown(why) => verdict.why = why,
    }
    if verdict.at_least
        && let Some(Limit::Duration(duration)) = verdict.measured
    {
        verdict.why = format!("{} after {}", verdict.why, format_duration(duration));
    }
}

fn holds(value: &Value, comparison: Comparison, limit: &Limit) -> bool {
    let (value, limit) = (number(value), number(limit));
    match comparison {
        Comparison::Less => value < limit,
        Comparison::LessOrEqual => value <= limit,
        Comparison::Greater => value > limit,
        Comparison::GreaterOrEqual => value >= limit,
        Comparison::Equal => value == limit,
    }
}

fn margin(value: &Value, objective: &Objective) -> Option<f64> {
    let (value, limit) = (number(value), number(&objective.limit));
    if limit <= 0.0 || !value.is_finite() {
        return None;
    }
    let room = match objective.comparison {
        Comparison::Less | Comparison::LessOrEqual => limit - value,
        Comparison::Greater | Comparison::GreaterOrEqual => value - limit,
        Comparison::Equal => return None,
    };
    Some(room / limit)
}
