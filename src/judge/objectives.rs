//! One objective against the timeline: which faults and seconds it covers, what is found, how that compares.

use std::time::Duration;

use super::disturbance::{self, ATTEMPTS_MIN, Disturbance, Felt};
use super::scaling::{self, Decision};
use super::timeline::{FaultTimes, Timeline, Window};
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
    /// The same, with what it was found of.
    fn of(mut self, what: &str) -> Self {
        let (Finding::Reached(_, why)
        | Finding::Between { why, .. }
        | Finding::AtLeast(_, why, _)
        | Finding::Pending { why, .. }
        | Finding::Never(why)
        | Finding::Unknown(why)) = &mut self;
        *why = format!("{why} ({what})");
        self
    }

    /// The duration, where one was reached.
    pub(super) fn reached(&self) -> Option<Duration> {
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
    let findings = find(timeline, objective, decisions);
    verdict = conclude_worst(verdict, objective, findings);
    // What is lost is lost, whatever the load and the experiment were.
    if objective.measure == Measure::LostWrites && verdict.outcome == Outcome::Missed {
        return verdict;
    }
    if objective.measure != Measure::Redundancy
        && let Some(why) = honesty::spoiled(timeline, &timeline.slices(&objective.scope))
            .or_else(|| honesty::spoiled(timeline, &timeline.slices(&Scope::Run)))
    {
        verdict.outcome = Outcome::Inconclusive;
        verdict.why = format!("the measurement is spoilt: {why}");
    }
    // A spoilt one cannot change any more.
    let cut_short = could_change(&verdict, objective)
        .then(|| cut_short(timeline, &objective.scope))
        .flatten();
    let overstayed = overstay::overstayed(timeline, objective, &verdict, decisions);
    // Of a fault that stays until the end, that it was to be reverted says more.
    let cut_short = cut_short.filter(|_| overstayed.is_none() || timeline.cut());
    let doubts = [cut_short, unplanned(timeline, objective), overstayed];
    let doubts: Vec<String> = doubts.into_iter().flatten().collect();
    if !doubts.is_empty() {
        verdict.outcome = Outcome::Inconclusive;
        verdict.why = format!("{}, but {}", verdict.why, doubts.join(", and "));
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

/// Looks for what an objective measures: what each fault and each step that it is about brought, at least one of them.
pub(super) fn find(timeline: &Timeline<'_>, objective: &Objective, decisions: &[Decision]) -> Vec<Finding> {
    let steps = match steps(timeline, objective) {
        Ok(steps) => steps,
        Err(why) => return vec![Finding::Unknown(why)],
    };
    let each = |wanted: fn(&Fault) -> bool, measure: &dyn Fn(&FaultTimes<'_>) -> Finding| {
        let of_fault = |fault: &FaultTimes<'_>| vec![measure(fault)];
        of_faults(covered(timeline, objective, wanted), &of_fault)
    };
    match objective.measure {
        Measure::Latency | Measure::ServiceTime | Measure::Errors | Measure::Throughput | Measure::Share => {
            let slices = timeline.slices(&objective.scope);
            vec![traffic::measure(timeline, objective, &slices, &steps)]
        }
        Measure::Outage | Measure::Recovery => {
            let of_fault = |fault: &FaultTimes<'_>| felt_by(timeline, fault, &steps, objective.measure);
            of_faults(covered(timeline, objective, |_| true), &of_fault)
        }
        Measure::LostWrites => vec![losses::lost_writes(timeline, objective)],
        Measure::ScaleOut => vec![scaling::scale_out(timeline, objective, decisions)],
        Measure::Redundancy | Measure::SelfHeal | Measure::LateErrors => of_role(timeline, objective, &steps),
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

/// The faults of an objective's scope that it is measured of.
fn covered<'t, 'a>(
    timeline: &'t Timeline<'a>,
    objective: &Objective,
    wanted: fn(&Fault) -> bool,
) -> Vec<&'t FaultTimes<'a>> {
    let covered = timeline.faults_in(&objective.scope).into_iter();
    let faults = covered.map(|index| &timeline.faults[index]);
    faults.filter(|fault| wanted(&fault.plan.fault)).collect()
}

/// What each of these faults brought; one without proof brought nothing that can be believed.
fn of_faults(faults: Vec<&FaultTimes<'_>>, measure: &dyn Fn(&FaultTimes<'_>) -> Vec<Finding>) -> Vec<Finding> {
    let several = faults.len() > 1;
    let of_fault = |fault: &FaultTimes<'_>| {
        let found = match fault.unproven() {
            Some(why) => vec![Finding::Unknown(why)],
            None => measure(fault),
        };
        let named = |finding: Finding| match several {
            true => finding.of(&format!("{} {}", fault.id, fault.plan.fault.name())),
            false => finding,
        };
        found.into_iter().map(named).collect::<Vec<_>>()
    };
    let found: Vec<Finding> = faults.into_iter().flat_map(of_fault).collect();
    if found.is_empty() {
        return vec![Finding::Unknown("no fault here can be measured that way".to_owned())];
    }
    found
}

/// What is measured of the very role that a fault hits: what hits another one says nothing of it.
fn of_role(timeline: &Timeline<'_>, objective: &Objective, steps: &[usize]) -> Vec<Finding> {
    let subject = objective.subject.as_deref();
    let wanted = match objective.measure {
        Measure::Redundancy => Fault::fails_over,
        _ => Fault::costs_instances,
    };
    let mut faults = covered(timeline, objective, wanted);
    let any = !faults.is_empty();
    faults.retain(|fault| hits(timeline, fault, subject));
    if let (Some(role), true, true) = (subject, any, faults.is_empty()) {
        return vec![Finding::Unknown(format!("no fault here hits the role {role}"))];
    }
    let named = subject.filter(|subject| is_step(timeline, subject)).map(|_| steps);
    of_faults(faults, &|fault| {
        vec![match objective.measure {
            Measure::Redundancy => redundancy::redundancy(timeline, fault),
            Measure::SelfHeal => group::self_heal(timeline, fault),
            _ => match group::late_errors(timeline, fault, named) {
                Ok((count, why)) => Finding::Reached(Value::Count(count), why),
                Err(finding) => finding,
            },
        }]
    })
}

/// Whether a fault hits what stands for a role, under whichever name; a step is no role, so any fault may have hit it.
fn hits(timeline: &Timeline<'_>, fault: &FaultTimes<'_>, subject: Option<&str>) -> bool {
    let Some(subject) = subject.filter(|subject| *subject != fault.plan.role) else {
        return true;
    };
    let roles = &timeline.plan.target.roles;
    match roles.get(subject) {
        Some(role) => roles.get(&fault.plan.role) == Some(role),
        None => is_step(timeline, subject),
    }
}

/// The longest of what was measured; none unless each of it ended.
pub(super) fn longest(findings: &[Finding]) -> Option<Duration> {
    let mut reached = findings.iter().map(Finding::reached);
    reached.try_fold(Duration::ZERO, |longest, one| Some(longest.max(one?)))
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

/// What users of each of these steps felt of a fault.
fn felt_by(timeline: &Timeline<'_>, fault: &FaultTimes<'_>, steps: &[usize], measure: Measure) -> Vec<Finding> {
    let of_step = |step: &usize| {
        let seen = disturbance::felt(timeline, fault, *step);
        let hit = seen.is_some_and(|seen| seen.disturbance.is_some());
        (hit, felt(timeline, fault, *step, seen, measure))
    };
    let mut of: Vec<(bool, Finding)> = steps.iter().map(of_step).collect();
    if of.is_empty() {
        return vec![Finding::Unknown("the profile has no such step".to_owned())];
    }
    // Of those that took equally long the last one speaks: a step that was hit, where there is one.
    of.sort_by_key(|(hit, _)| *hit);
    of.into_iter().map(|(_, finding)| finding).collect()
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
        return unrecovered(timeline, name, injected, window, &disturbance, measure);
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

/// A step that was not seen to succeed again: what took at least so long may surely be too long, and no more is known of
/// one that nobody asked again.
fn unrecovered(
    timeline: &Timeline<'_>,
    name: &str,
    injected: f64,
    window: Window,
    felt: &Disturbance,
    measure: Measure,
) -> Finding {
    let lasted = match measure {
        Measure::Outage => felt.last_failed_start - felt.first_failed_start,
        _ => felt.failing_until - injected,
    };
    let why = if felt.failing_until < window.end {
        format!("{name} was not asked again after its last failure")
    } else {
        format!("{name} was still failing when its observation ended")
    };
    match timeline.cloud(lasted) {
        Duration::ZERO => Finding::Unknown(why),
        lasted => Finding::AtLeast(Value::Duration(lasted), why, window.cut),
    }
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

/// Concludes each finding for itself, so that what is sure of one is not hidden by another; the worst one speaks for all,
/// and of those that are equally bad what surely never happens, then the largest.
fn conclude_worst(verdict: ObjectiveVerdict, objective: &Objective, findings: Vec<Finding>) -> ObjectiveVerdict {
    let concluded = findings.into_iter().map(|finding| {
        let (never, size) = (matches!(finding, Finding::Never(_)), size(&finding));
        let mut one = verdict.clone();
        conclude(&mut one, objective, finding);
        (one, never, size)
    });
    let worst = concluded.max_by(|(one, never, size), (other, other_never, other_size)| {
        gravity(one.outcome)
            .cmp(&gravity(other.outcome))
            .then_with(|| never.cmp(other_never))
            .then_with(|| size.total_cmp(other_size))
    });
    worst.map_or(verdict, |(worst, ..)| worst)
}

/// How much an outcome speaks against an objective.
fn gravity(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Met => 0,
        Outcome::Inconclusive => 1,
        Outcome::Missed => 2,
    }
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
