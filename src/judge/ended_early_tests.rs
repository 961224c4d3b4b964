//! A fault that somebody else ended before its time: what it broke stays broken, and nothing else is proven by it.

use super::fixture::*;
use super::{Outcome, judge};
use crate::config::objective::{Limit, Measure, Objective, Phase, Scope};
use crate::event::{Event, FaultId};
use crate::plan::Fault;
use crate::recording::Ended;

fn recovery(seconds: u64) -> Objective {
    let limit = Limit::Duration(std::time::Duration::from_secs(seconds));
    objective("recovery(order)", Measure::Recovery, Some("order"), limit, under_test())
}

/// The fault is planned for fifteen seconds, and somebody puts it back after five.
fn ended_early(objectives: Vec<Objective>) -> Fixture {
    let fixture = Fixture::new(Fault::NetworkDenyRegion, "dns", objectives, orders_fail_at_first);
    let reverts = |event: &Event| matches!(event, Event::FaultRevertStarted { .. } | Event::FaultReverted { .. });
    let mut fixture = fixture.without_events(reverts);
    let fault = FaultId {
        experiment: "test".to_owned(),
        index: 0,
    };
    let evidence = "subnet-1 is under acl-1, seen by reading it back".to_owned();
    fixture.event(
        INJECTED + 5.0,
        Event::FaultEndedEarly {
            fault: fault.clone(),
            evidence,
        },
    );
    fixture.event(INJECTED + 5.2, Event::FaultRevertStarted { fault: fault.clone() });
    fixture.event(INJECTED + 6.0, Event::FaultReverted { fault });
    fixture
}

#[test]
fn what_held_under_it_is_inconclusive_and_what_it_broke_is_missed() {
    let objectives = vec![
        errors(0.9, under_test()),
        errors(0.9, Scope::Run),
        errors(0.9, Scope::During(Phase::Fault)),
        errors(0.9, Scope::During(Phase::Recovery)),
        // A share of the whole window may yet become smaller.
        errors(0.001, under_test()),
        recovery(3600),
        recovery(30),
        errors(0.9, steady()),
    ];
    let fixture = ended_early(objectives);
    let verdict = judge(&fixture.plan, &fixture.recording);
    let outcomes: Vec<Outcome> = verdict.objectives.iter().map(|objective| objective.outcome).collect();
    let unproven = [Outcome::Inconclusive; 6].into_iter();
    let expected: Vec<Outcome> = unproven.chain([Outcome::Missed, Outcome::Met]).collect();
    assert_eq!(outcomes, expected, "{:#?}", verdict.objectives);
    let why = &verdict.objectives[0].why;
    assert!(
        why.ends_with("but network.deny_region ended early, at 12m30s, and not by this run"),
        "{why}"
    );
}

#[test]
fn the_window_of_the_fault_ends_there_and_the_sentence_says_so() {
    let fixture = ended_early(vec![errors(0.9, steady())]);
    let verdict = judge(&fixture.plan, &fixture.recording);
    assert_eq!(fixture.recording.ended, Ended::Finished);
    assert_eq!(verdict.outcome, Outcome::Inconclusive, "nothing held under it");
    let end = "network.deny_region (test[0]) ended early, at 12m30s, and not by this run: subnet-1 is under acl-1, seen by \
               reading it back.";
    assert!(verdict.sentence.ends_with(end), "{}", verdict.sentence);
    assert!(
        verdict
            .sentence
            .starts_with("Inconclusive: a fault was not in the world"),
        "{}",
        verdict.sentence
    );
    let found = &verdict.faults[0];
    assert_eq!(found.reverted_at, Some(cloud(INJECTED + 5.0)));
    assert_eq!(
        found.ended_early.as_ref().map(|ended| ended.at),
        Some(cloud(INJECTED + 5.0))
    );
    let settled = cloud(INJECTED + 5.0) + fixture.plan.experiments[0].settle;
    assert_eq!(found.experiment_ended_at, Some(settled));
    assert!(!found.in_world_at_end);
}

#[test]
fn one_whose_rest_could_not_be_undone_is_in_the_world_at_the_end() {
    let fixture = ended_early(vec![errors(0.9, under_test())]);
    let fixture = fixture.without_events(|event| matches!(event, Event::FaultReverted { .. }));
    let verdict = judge(&fixture.plan, &fixture.recording);
    assert!(verdict.faults[0].in_world_at_end && verdict.faults[0].reverted_at.is_none());
    assert_eq!(verdict.objectives[0].outcome, Outcome::Inconclusive);
}
