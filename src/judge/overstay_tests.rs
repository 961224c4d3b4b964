//! A fault whose revert failed for a while: what was over before its time is proven, and nothing else.

use super::fixture::*;
use super::{Outcome, judge};
use crate::config::objective::{Limit, Measure, Objective, Phase, Scope};
use crate::event::{Event, FaultId};
use crate::plan::Fault;
use crate::recording::{Ended, FailureKind};

const REFUSED: &str = "ec2:ReplaceNetworkAclAssociation: UnauthorizedOperation: not allowed";

/// When the revert is due, real seconds.
const DUE: f64 = INJECTED + 15.0;

fn lasting(measure: Measure, seconds: u64) -> Objective {
    let limit = Limit::Duration(std::time::Duration::from_secs(seconds));
    objective("of orders", measure, Some("order"), limit, under_test())
}

fn fault() -> FaultId {
    FaultId {
        experiment: "test".to_owned(),
        index: 0,
    }
}

/// The revert is due at [`DUE`] and refused; it goes through so many seconds later, where it does.
fn refused(objectives: Vec<Objective>, fate: Fate, through_after: Option<f64>) -> Fixture {
    let fixture = Fixture::new(Fault::NetworkDenyRegion, "dns", objectives, fate);
    let mut fixture = fixture.without_events(|event| matches!(event, Event::FaultReverted { .. }));
    let error = REFUSED.to_owned();
    fixture.event(DUE + 0.05, Event::FaultRevertRetried { fault: fault(), error });
    if let Some(after) = through_after {
        fixture.event(DUE + after, Event::FaultRevertStarted { fault: fault() });
        fixture.event(DUE + after + 0.2, Event::FaultReverted { fault: fault() });
    }
    fixture
}

fn outcomes(fixture: &Fixture) -> Vec<Outcome> {
    let verdict = judge(&fixture.plan, &fixture.recording);
    verdict.objectives.iter().map(|objective| objective.outcome).collect()
}

#[test]
fn only_what_was_over_before_the_revert_was_due_is_judged() {
    let objectives = vec![
        errors(0.9, under_test()),
        errors(0.9, Scope::Run),
        errors(0.9, Scope::During(Phase::Fault)),
        errors(0.9, Scope::During(Phase::Recovery)),
        errors(0.001, under_test()),
        lasting(Measure::Recovery, 3600),
        lasting(Measure::Recovery, 30),
        lasting(Measure::Outage, 3600),
        errors(0.9, steady()),
    ];
    let fixture = refused(objectives, orders_fail_at_first, Some(10.0));
    let unproven = [Outcome::Inconclusive; 5].into_iter();
    let judged = [Outcome::Met, Outcome::Missed, Outcome::Met, Outcome::Met];
    let expected: Vec<Outcome> = unproven.chain(judged).collect();
    let verdict = judge(&fixture.plan, &fixture.recording);
    assert_eq!(outcomes(&fixture), expected, "{:#?}", verdict.objectives);
    let why = &verdict.objectives[0].why;
    let end = "but network.deny_region was to be reverted at 17m30s and was only at 22m30s";
    assert!(why.ends_with(end), "{why}");
}

#[test]
fn what_users_felt_past_the_due_revert_is_inconclusive() {
    let fate: Fate = |step, start| match step {
        1 if (INJECTED..DUE + 10.0).contains(&start) => (start + 0.01, Some(FailureKind::Reset)),
        _ => well(step, start),
    };
    let objectives = vec![
        lasting(Measure::Recovery, 60),
        lasting(Measure::Recovery, 3600),
        lasting(Measure::Outage, 60),
    ];
    let fixture = refused(objectives, fate, Some(10.0));
    assert_eq!(outcomes(&fixture), [Outcome::Inconclusive; 3]);
}

#[test]
fn the_run_is_inconclusive_and_the_sentence_and_the_fault_say_why() {
    let fixture = refused(vec![errors(0.9, steady())], orders_fail_at_first, Some(10.0));
    let verdict = judge(&fixture.plan, &fixture.recording);
    assert_eq!(fixture.recording.ended, Ended::Finished);
    assert_eq!(verdict.outcome, Outcome::Inconclusive, "nothing held under it");
    let told = "network.deny_region (test[0]) was to be reverted at 17m30s and was only at 22m30s: \
                ec2:ReplaceNetworkAclAssociation: UnauthorizedOperation: not allowed.";
    assert!(verdict.sentence.ends_with(told), "{}", verdict.sentence);
    let begin = "Inconclusive: a fault was not in the world for as long as planned, or for longer.";
    assert!(verdict.sentence.starts_with(begin), "{}", verdict.sentence);
    let found = &verdict.faults[0];
    let late = found.reverted_late.as_ref().expect("it was late");
    assert_eq!((late.due, late.at), (cloud(DUE), Some(cloud(DUE + 10.0))));
    assert_eq!(found.reverted_at, late.at);
    let xml = crate::report::junit(&crate::report::Report::new(&fixture.plan, &fixture.recording, verdict));
    assert!(xml.contains("failures=\"0\" errors=\"1\""), "{xml}");
    assert!(
        xml.contains("the run as a whole") && xml.contains("was only at 22m30s"),
        "{xml}"
    );
}

#[test]
fn a_call_that_is_refused_once_is_no_late_revert() {
    let fixture = refused(vec![errors(0.9, under_test())], orders_fail_at_first, Some(1.0));
    let verdict = judge(&fixture.plan, &fixture.recording);
    assert_eq!(verdict.outcome, Outcome::Met, "{}", verdict.sentence);
    assert_eq!(verdict.faults[0].reverted_late, None);
}

#[test]
fn one_that_was_never_reverted_is_told_as_such() {
    let mut fixture = refused(vec![errors(0.9, steady())], orders_fail_at_first, None);
    fixture.recording.ended = Ended::Unreverted;
    let verdict = judge(&fixture.plan, &fixture.recording);
    assert_eq!(verdict.outcome, Outcome::Inconclusive);
    assert!(
        verdict.sentence.contains("and was not before the run ended: ec2:"),
        "{}",
        verdict.sentence
    );
    assert!(verdict.faults[0].in_world_at_end);
}

#[test]
fn an_experiment_that_began_meanwhile_is_not_the_planned_one() {
    let after = Scope::Experiment("next".to_owned());
    let mut fixture = refused(vec![errors(0.9, after)], orders_fail_at_first, Some(10.0));
    fixture.another_experiment(DUE + 5.0);
    let of_next = fixture.first();
    assert_eq!(of_next.outcome, Outcome::Inconclusive);
    assert!(
        of_next.why.contains("network.deny_region was to be reverted"),
        "{}",
        of_next.why
    );
    let after = Scope::Experiment("next".to_owned());
    let mut fixture = refused(vec![errors(0.9, after)], orders_fail_at_first, Some(5.0));
    fixture.another_experiment(DUE + 6.0);
    assert!(
        !fixture.first().why.contains("was to be reverted"),
        "it was over by then"
    );
}
