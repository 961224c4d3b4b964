//! Objectives that no run of this profile can judge: what they measure does not happen in it. Only what is certain is
//! said here; what depends on how a run goes is the judge's to say.

use super::catalogue::Fault;
use super::error::{Mistake, Sink};
use super::experiment::Experiment;
use super::objective::{Comparison, Measure, Objective, Phase, Scope};
use super::objective_text::{measure_name, phase_name};
use super::profile::Profile;
use super::source::Spanned;

/// Tells each objective that asks of its measure what that cannot answer, whatever the profile says otherwise.
pub(super) fn check_form(profile: &Profile, experiments: &[Experiment], sink: &mut Sink) {
    for objective in each(profile, experiments) {
        sink.mistakes.extend(unanswerable(objective));
    }
}

fn each<'p>(profile: &'p Profile, experiments: &'p [Experiment]) -> impl Iterator<Item = &'p Spanned<Objective>> {
    let of_experiments = experiments.iter().flat_map(|experiment| &experiment.objectives);
    profile.objectives.iter().chain(of_experiments)
}

/// A lower limit on what has ended late or not at all, or a phase of what is measured of a fault and not of seconds.
fn unanswerable(objective: &Spanned<Objective>) -> Option<Mistake> {
    let Objective { text, measure, .. } = &objective.value;
    let name = measure_name(*measure);
    // Of these parts one is there, as it has been read; a subject in brackets comes before both.
    let part = |at: Option<usize>, length: usize| {
        let before = at.map_or(0, |byte| text[..byte].chars().count());
        objective.place.part(before, length)
    };
    let lower = match objective.value.comparison {
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
        Comparison::Less | Comparison::LessOrEqual | Comparison::Equal => "",
    };
    if is_wait(*measure) && !lower.is_empty() {
        let place = part(text.rfind(lower), lower.len());
        let message = format!("{name} can be too long and never too short, so it has no limit with `{lower}`");
        return Some(Mistake::at(&place, message).hint("write `<=` and the longest that it may take"));
    }
    let Scope::During(phase) = objective.value.scope else {
        return None;
    };
    if is_of_seconds(*measure) {
        return None;
    }
    let phase = format!("during {}", phase_name(phase));
    let at = text.rfind("during");
    let length = at.map_or(0, |byte| text[byte..].trim_end().chars().count());
    let message = format!("{name} is not measured second by second, so `{phase}` says nothing of it");
    let hint = format!("leave `{phase}` out, or name an experiment: `after EXPERIMENT`");
    Some(Mistake::at(&part(at, length), message).hint(hint))
}

/// Measured as how long something takes that ends late where it goes wrong.
fn is_wait(measure: Measure) -> bool {
    match measure {
        Measure::Outage
        | Measure::Recovery
        | Measure::Redundancy
        | Measure::ScaleOut
        | Measure::SelfHeal
        | Measure::Shift
        | Measure::FailBack => true,
        Measure::Latency
        | Measure::ServiceTime
        | Measure::Errors
        | Measure::Throughput
        | Measure::LostWrites
        | Measure::LateErrors
        | Measure::StaleShare
        | Measure::Share => false,
    }
}

/// Measured over the seconds of a scope, which a phase can choose.
fn is_of_seconds(measure: Measure) -> bool {
    match measure {
        Measure::Latency | Measure::ServiceTime | Measure::Errors | Measure::Throughput | Measure::Share => true,
        Measure::Outage
        | Measure::Recovery
        | Measure::LostWrites
        | Measure::Redundancy
        | Measure::ScaleOut
        | Measure::SelfHeal
        | Measure::LateErrors
        | Measure::Shift
        | Measure::FailBack
        | Measure::StaleShare => false,
    }
}

/// Tells each objective of the profile and its experiments that can only be inconclusive; `experiments` are all there are.
pub(super) fn check(profile: &Profile, experiments: &[Experiment], sink: &mut Sink) {
    for objective in each(profile, experiments) {
        if let Some((message, hint)) = unjudgeable(&objective.value, profile, experiments) {
            sink.push(told(objective, message).hint(hint));
        }
    }
}

fn told(objective: &Spanned<Objective>, message: String) -> Mistake {
    Mistake::at(&objective.place, format!("this can never be judged: {message}"))
}

fn unjudgeable(objective: &Objective, profile: &Profile, experiments: &[Experiment]) -> Option<(String, String)> {
    let measure = measure_name(objective.measure);
    if objective.measure == Measure::LostWrites && !writes(objective.subject.as_deref(), profile) {
        let ledger = objective.subject.as_deref().unwrap_or("orders");
        let message = match &objective.subject {
            Some(ledger) => format!("no step writes into the ledger {ledger:?}"),
            None => "no step writes into a ledger".to_owned(),
        };
        let hint = format!("add `ledger: {ledger}` to the step that writes, or leave the objective out");
        return Some((message, hint));
    }
    let mut faults = covered(&objective.scope, experiments);
    if let Some(wanted) = wanted(objective.measure)
        && !faults.clone().any(|fault| wanted.fits(fault))
    {
        let place = match &objective.scope {
            Scope::Experiment(name) => format!("{name} injects none"),
            Scope::Run | Scope::During(_) => "no experiment injects one".to_owned(),
        };
        let message = format!("{measure} is measured of {}, and {place}", wanted.what());
        return Some((
            message,
            "add it to an experiment, list that under `chaos`, or leave the objective out".to_owned(),
        ));
    }
    let phase = match objective.scope {
        Scope::During(Phase::Fault) => "fault",
        Scope::During(Phase::Recovery) => "recovery",
        _ => return None,
    };
    faults.next().is_none().then(|| {
        let message = format!("there is no phase {phase:?} without an experiment that injects a fault");
        (
            message,
            "list an experiment under `chaos`, or choose `during steady`".to_owned(),
        )
    })
}

fn writes(ledger: Option<&str>, profile: &Profile) -> bool {
    let mut steps = profile.journeys.iter().flat_map(|journey| &journey.steps);
    steps.any(|step| match (&step.ledger, ledger) {
        (Some(of), Some(ledger)) => of.value == ledger,
        (of, _) => of.is_some(),
    })
}

/// The faults that an objective of this scope can be about.
fn covered<'e>(scope: &'e Scope, experiments: &'e [Experiment]) -> impl Iterator<Item = &'e Fault> + Clone {
    let all = experiments.iter().filter(move |experiment| match scope {
        Scope::Experiment(name) => experiment.name == *name,
        Scope::Run | Scope::During(_) => true,
    });
    all.flat_map(|experiment| &experiment.faults).map(|entry| &entry.fault)
}

/// The faults that a measure is about.
#[derive(Clone, Copy)]
enum Wanted {
    Any,
    Failover,
    OfInstances,
    OfRegions,
}

fn wanted(measure: Measure) -> Option<Wanted> {
    match measure {
        Measure::Outage | Measure::Recovery => Some(Wanted::Any),
        Measure::Redundancy => Some(Wanted::Failover),
        Measure::SelfHeal | Measure::LateErrors => Some(Wanted::OfInstances),
        Measure::Shift | Measure::FailBack | Measure::StaleShare => Some(Wanted::OfRegions),
        Measure::Latency
        | Measure::ServiceTime
        | Measure::Errors
        | Measure::Throughput
        | Measure::LostWrites
        | Measure::ScaleOut
        | Measure::Share => None,
    }
}

impl Wanted {
    fn fits(self, fault: &Fault) -> bool {
        match self {
            Wanted::Any => true,
            Wanted::Failover => fault.fails_over(),
            Wanted::OfInstances => fault.costs_instances(),
            Wanted::OfRegions => fault.moves_users(),
        }
    }

    fn what(self) -> &'static str {
        match self {
            Wanted::Any => "a fault",
            Wanted::Failover => "`rds.failover` or `rds.failover_cluster`",
            Wanted::OfInstances => "a fault that costs a group instances",
            Wanted::OfRegions => "a fault that moves users to another Region",
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Sources, load};

    const PROFILE: &str = "\
name: x
target: http://127.0.0.1:1
stages: [{ tier: 1, users: 1, hold: 1m }]
journeys:
  order: { steps: [{ post: /orders, LEDGER }] }
ledgers: { orders: { read: '/orders/{{ id }}' } }
chaos: CHAOS
objectives: [ OBJECTIVE ]
";

    fn said(objective: &str, ledger: &str, fault: Option<&str>) -> Result<(), String> {
        let text = PROFILE
            .replace("OBJECTIVE", objective)
            .replace("LEDGER", ledger)
            .replace("CHAOS", if fault.is_some() { "[a.yaml]" } else { "[]" });
        let experiments = fault.map(|fault| {
            let text = format!("name: a\nhypothesis: x\nfaults: [{{ role: r, at: hold, {fault} }}]\n");
            ("a.yaml".to_owned(), text)
        });
        let sources = Sources {
            profile: ("x.yaml".to_owned(), text),
            experiments: experiments.into_iter().collect(),
            ..Sources::default()
        };
        load(&sources, &[]).map(|_| ()).map_err(|errors| errors.to_string())
    }

    const WRITES: &str = "ledger: orders";
    const READS: &str = "name: p";
    const FAILOVER: Option<&str> = Some("fault: rds.failover, irreversible: true");
    const SILENT: Option<&str> = Some("fault: network.deny_region, lasts: 1m");

    #[test]
    fn what_no_run_can_judge_is_a_mistake_with_a_remedy() {
        for (objective, ledger, fault, parts) in [
            (
                "lost_writes == 0",
                READS,
                FAILOVER,
                ["no step writes into a ledger", "ledger: orders"],
            ),
            (
                "lost_writes(orders) == 0",
                READS,
                None,
                ["into the ledger \"orders\"", "or leave the objective out"],
            ),
            (
                "outage <= 1m",
                WRITES,
                None,
                ["outage is measured of a fault", "under `chaos`"],
            ),
            (
                "recovery(order) <= 1m",
                WRITES,
                None,
                ["no experiment injects one", "under `chaos`"],
            ),
            (
                "redundancy(db) <= 1m",
                WRITES,
                SILENT,
                ["of `rds.failover`", "leave the objective out"],
            ),
            (
                "self_heal(web) <= 1m",
                WRITES,
                FAILOVER,
                ["costs a group instances", "no experiment"],
            ),
            (
                "late_errors(web) == 0",
                WRITES,
                SILENT,
                ["costs a group instances", "no experiment"],
            ),
            (
                "shift(dns) <= 1m after a",
                WRITES,
                FAILOVER,
                ["moves users to another Region", "a injects none"],
            ),
            (
                "errors < 1% during fault",
                WRITES,
                None,
                ["no phase \"fault\"", "during steady"],
            ),
            (
                "errors < 1% during recovery",
                WRITES,
                None,
                ["no phase \"recovery\"", "during steady"],
            ),
        ] {
            let told = said(objective, ledger, fault).expect_err(objective);
            for part in ["x.yaml:8:", "can never be judged"].into_iter().chain(parts) {
                assert!(told.contains(part), "{objective}: {part} is not in\n{told}");
            }
        }
    }

    #[test]
    fn what_a_measure_cannot_answer_is_a_mistake_at_its_place() {
        for (objective, place, parts) in [
            ("outage > 90s", "x.yaml:8:22", ["never too short", "write `<=`"]),
            (
                "recovery(order) >= 90s after a",
                "x.yaml:8:31",
                ["no limit with `>=`", "write `<=`"],
            ),
            (
                "self_heal(web) > 5m",
                "x.yaml:8:30",
                ["no limit with `>`", "write `<=`"],
            ),
            (
                "outage <= 90s during steady",
                "x.yaml:8:29",
                ["not measured second by second", "leave `during steady` out"],
            ),
            (
                "lost_writes(orders) == 0 during fault",
                "x.yaml:8:40",
                ["not measured second by second", "`after EXPERIMENT`"],
            ),
            (
                "scale_out(web) <= 6m during ramp",
                "x.yaml:8:36",
                ["`during ramp` says nothing", "leave `during ramp` out"],
            ),
        ] {
            let told = said(objective, WRITES, FAILOVER).expect_err(objective);
            for part in [place].into_iter().chain(parts) {
                assert!(told.contains(part), "{objective}: {part} is not in\n{told}");
            }
        }
    }

    #[test]
    fn each_measure_is_either_of_seconds_or_refuses_a_phase() {
        for measure in [
            "outage <= 1m",
            "recovery <= 1m",
            "lost_writes == 0",
            "redundancy(db) <= 1m",
            "scale_out(web) <= 1m",
            "self_heal(web) <= 1m",
            "late_errors(web) == 0",
            "shift(dns) <= 1m",
            "fail_back(dns) <= 1m",
            "stale_share(dns) <= 1%",
        ] {
            let objective = format!("{measure} during fault");
            let told = said(&objective, WRITES, FAILOVER).expect_err(&objective);
            assert!(told.contains("`during fault` says nothing"), "{told}");
        }
    }

    #[test]
    fn what_a_run_may_judge_is_none() {
        for (objective, fault) in [
            ("lost_writes == 0", None),
            ("lost_writes(orders) == 0", None),
            ("outage <= 1m", FAILOVER),
            ("recovery(order) <= 1m after a", FAILOVER),
            ("redundancy(db) <= 1m", FAILOVER),
            ("shift(dns) <= 1m", SILENT),
            ("errors < 1% during fault", FAILOVER),
            ("recovery(order) <= 1m during a", FAILOVER),
            ("latency p99 > 1ms", None),
            ("throughput >= 1/s during steady", None),
            ("errors < 1% during steady", None),
            ("scale_out(web) <= 6m", None),
        ] {
            assert_eq!(said(objective, WRITES, fault), Ok(()), "{objective}");
        }
    }
}
