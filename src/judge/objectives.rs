//! One objective against the timeline: which faults and seconds it covers, what is found, how that compares.

use super::disturbance::{self, ATTEMPTS_MIN};
use super::scaling::{self, Decision};
use super::timeline::{FaultTimes, Timeline};
use super::{ObjectiveVerdict, Outcome, Value, group, honesty, redundancy, routing, traffic};
use crate::plan::{Comparison, Fault, Limit, Measure, Objective, Scope};
use crate::recording::Ended;
use crate::units::format_duration;

/// Cloud seconds before an injection from which on a lost write is laid to the experiment.
const LOSS_LEAD: f64 = 60.0;

/// What looking for a measure brought.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Finding {
    /// A value, and how it was measured.
    Reached(Value, String),
    /// It had not ended after this long; the flag says that the run was cut short.
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
            Finding::Reached(Limit::Duration(duration), _) => Some(*duration),
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
        verdict.why = format!("the generator spoilt it: {why}");
    } else if is_open(verdict.outcome, objective) && cut_short(timeline, &objective.scope) {
        verdict.outcome = Outcome::Inconclusive;
        verdict.why = format!("{}, but the run ended before this was over", verdict.why);
    }
    verdict
}

/// Whether the rest of a window that was cut short could still have changed an outcome: what was met might have been
/// missed, and under a fault a share or a percentile of the worst part is not that of the whole window.
fn is_open(outcome: Outcome, objective: &Objective) -> bool {
    let of_the_whole = matches!(
        objective.measure,
        Measure::Latency
            | Measure::ServiceTime
            | Measure::Errors
            | Measure::Throughput
            | Measure::Share
            | Measure::StaleShare
    );
    let in_a_window = matches!(objective.scope, Scope::Experiment(_));
    outcome == Outcome::Met || (outcome == Outcome::Missed && of_the_whole && in_a_window)
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

fn cut_short(timeline: &Timeline<'_>, scope: &Scope) -> bool {
    match scope {
        Scope::Experiment(name) => timeline.windows.get(name.as_str()).is_none_or(|window| window.cut),
        Scope::Run | Scope::During(_) => {
            timeline.recording.ended != Ended::Finished && timeline.end + 1.0 < timeline.real(timeline.plan.ends_at)
        }
    }
}

fn find(timeline: &Timeline<'_>, objective: &Objective, decisions: &[Decision]) -> Finding {
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
    let region = |fault: &Fault| *fault == Fault::NetworkDenyRegion;
    let terminate = |fault: &Fault| matches!(fault, Fault::Ec2Terminate { .. });
    match objective.measure {
        Measure::Latency | Measure::ServiceTime | Measure::Errors | Measure::Throughput | Measure::Share => {
            traffic::measure(timeline, objective, &timeline.slices(&objective.scope), &steps)
        }
        Measure::Outage | Measure::Recovery => each(any, &|fault| {
            let of = steps.iter().map(|step| felt(timeline, fault, *step, objective.measure));
            worst(of).unwrap_or_else(|| Finding::Unknown("the profile has no such step".to_owned()))
        }),
        Measure::LostWrites => lost_writes(timeline, objective),
        Measure::Redundancy => each(|fault| *fault == Fault::RdsFailover, &|fault| {
            redundancy::redundancy(timeline, fault)
        }),
        Measure::ScaleOut => scaling::scale_out(timeline, objective, decisions),
        Measure::SelfHeal => each(terminate, &|fault| group::self_heal(timeline, fault)),
        Measure::LateErrors => {
            let named = objective
                .subject
                .as_deref()
                .filter(|subject| is_step(timeline, subject));
            each(
                terminate,
                &|fault| match group::late_errors(timeline, fault, named.map(|_| steps.as_slice())) {
                    Ok((count, why)) => Finding::Reached(Value::Count(count), why),
                    Err(finding) => finding,
                },
            )
        }
        Measure::Shift => each(region, &|fault| routing::shift(timeline, fault)),
        Measure::FailBack => each(region, &|fault| routing::fail_back(timeline, fault)),
        Measure::StaleShare => each(region, &|fault| match routing::stale_share(timeline, fault) {
            Ok((share, why)) => Finding::Reached(Value::Share(share), why),
            Err(finding) => finding,
        }),
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
        Finding::Reached(..) => 0,
        Finding::Unknown(_) => 1,
        Finding::Pending { .. } => 2,
        Finding::AtLeast(..) => 3,
        Finding::Never(_) => 4,
    }
}

fn size(finding: &Finding) -> f64 {
    match finding {
        Finding::Reached(value, _) | Finding::AtLeast(value, ..) => number(value),
        Finding::Pending { waiting, .. } => number(waiting),
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

fn felt(timeline: &Timeline<'_>, fault: &FaultTimes<'_>, step: usize, measure: Measure) -> Finding {
    let (Some(felt), Some(injected), Some(window)) = (
        disturbance::felt(timeline, fault, step),
        fault.instant(),
        timeline.window(fault),
    ) else {
        return Finding::Unknown("the fault never got into the world".to_owned());
    };
    let name = timeline.plan.steps.get(step).map_or("", |step| step.name.as_str());
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
            disturbance.last_failed_finish - disturbance.first_failed_start,
            "from first to last failure",
        ),
        _ => (
            recovered - injected,
            "from injection to the first success after the last failure",
        ),
    };
    Finding::Reached(
        Value::Duration(timeline.cloud(value)),
        format!("{name}: {} failed, {until}", disturbance.failed),
    )
}

/// Real seconds between which an acknowledged write belongs to an experiment.
pub(super) fn loss_window(timeline: &Timeline<'_>, experiment: &str) -> Option<(f64, f64)> {
    let window = timeline.windows.get(experiment)?;
    Some((window.begin - LOSS_LEAD / timeline.pace(), window.end))
}

fn lost_writes(timeline: &Timeline<'_>, objective: &Objective) -> Finding {
    let span = match &objective.scope {
        Scope::Experiment(name) => match loss_window(timeline, name) {
            Some(span) => span,
            None => return Finding::Unknown("the experiment never began".to_owned()),
        },
        Scope::Run | Scope::During(_) => (f64::NEG_INFINITY, f64::INFINITY),
    };
    let wanted = objective.subject.as_deref();
    let ledgers: Vec<_> = timeline
        .recording
        .ledgers
        .iter()
        .filter(|(name, _)| wanted.is_none_or(|wanted| wanted == *name))
        .map(|(_, ledger)| ledger)
        .collect();
    if ledgers.is_empty() {
        return Finding::Unknown("the ledger was not read back".to_owned());
    }
    let acknowledged: u64 = ledgers.iter().flat_map(|ledger| ledger.acknowledged.values()).sum();
    if acknowledged == 0 {
        return Finding::Unknown("no write was acknowledged".to_owned());
    }
    let lost = ledgers
        .iter()
        .flat_map(|ledger| &ledger.lost)
        .filter(|lost| (span.0..=span.1).contains(&lost.acknowledged.as_secs_f64()))
        .count() as u64;
    let unreadable: u64 = ledgers.iter().map(|ledger| ledger.unreadable).sum();
    if lost == 0 && unreadable > 0 {
        return Finding::Unknown(match timeline.recording.ended {
            // The user waits for the prompt, so nothing is read.
            Ended::Interrupted => {
                format!("{unreadable} acknowledged writes were not read back: the run was interrupted")
            }
            _ => format!("{unreadable} acknowledged writes could not be read back"),
        });
    }
    Finding::Reached(
        Value::Count(lost),
        format!("of {acknowledged} acknowledged writes of the run"),
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
    if let Some(journey) = timeline.plan.journeys.iter().find(|journey| journey.name == subject) {
        return Ok(journey.steps.clone());
    }
    if let Some(index) = timeline.plan.steps.iter().position(|step| step.name == subject) {
        return Ok(vec![index]);
    }
    if objective.measure == Measure::LateErrors {
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
        Finding::AtLeast(value, why, cut) => {
            let over = !met(&value);
            verdict.margin = margin(&value, objective).filter(|_| over);
            verdict.measured = Some(value);
            verdict.at_least = true;
            verdict.outcome = if over || !cut {
                Outcome::Missed
            } else {
                Outcome::Inconclusive
            };
            verdict.why = if cut && !over {
                format!("{why}, and it was observed for too short a time to tell")
            } else {
                why
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
