//! Which fault is blamed, for which role, and that no sure miss is hidden behind what cannot be told.

use super::fixture::*;
use super::{ObjectiveVerdict, Outcome, judge};
use crate::config::objective::{Limit, Measure, Objective, Scope};
use crate::event::{Event, FaultId};
use crate::plan::{Comparison, Fault, Role};
use crate::recording::{FailureKind, Hist, LedgerResult, LostWrite};

fn limit(seconds: u64) -> Limit {
    Limit::Duration(std::time::Duration::from_secs(seconds))
}

fn of_orders(measure: Measure, seconds: u64) -> Objective {
    objective("of orders", measure, Some("order"), limit(seconds), under_test())
}

fn failing(start: f64, failed: bool) -> (f64, Option<FailureKind>) {
    (start + 0.01, failed.then_some(FailureKind::Status5xx))
}

/// A second fault in the experiment of the first one.
fn and_then(fixture: &mut Fixture, fault: Fault, role: &str, at: f64) {
    let faults = &mut fixture.plan.experiments[0].faults;
    let mut next = faults[0].clone();
    (next.fault, next.role, next.at, next.revert_at) = (fault, role.to_owned(), cloud(at), None);
    faults.push(next);
    let id = FaultId {
        experiment: "test".to_owned(),
        index: faults.len() - 1,
    };
    fixture.fault_observed(at, at, &id, "another");
}

fn verdicts(fixture: &Fixture) -> Vec<ObjectiveVerdict> {
    judge(&fixture.plan, &fixture.recording).objectives
}

/// The group of the role `web` loses an instance and heals; `api` is another group.
fn of_two_groups(subject: &str) -> Fixture {
    let of = |measure, limit| objective("of a role", measure, Some(subject), limit, under_test());
    let objectives = vec![
        of(Measure::SelfHeal, limit(300)),
        of(Measure::LateErrors, Limit::Count(0)),
    ];
    let mut fixture = Fixture::new(Fault::Ec2Terminate { share: 0.34 }, "web", objectives, well);
    for (role, group) in [("api", "shop-api"), ("front", "shop-web")] {
        let stands_for = Role::AutoScalingGroup(group.to_owned());
        fixture.plan.target.roles.insert(role.to_owned(), stands_for);
    }
    fixture.poll(19.0, 3, &["i-1", "i-2", "i-3"], &["i-1", "i-2", "i-3"]);
    fixture.poll(21.0, 3, &["i-2", "i-3"], &["i-2", "i-3"]);
    fixture.poll(26.0, 3, &["i-2", "i-3", "i-9"], &["i-2", "i-3", "i-9"]);
    fixture.serves("i-9", 26);
    fixture
}

#[test]
fn a_fault_says_nothing_of_a_role_that_it_did_not_hit() {
    for (subject, outcome) in [
        ("web", Outcome::Met),
        // Another name of the same group.
        ("front", Outcome::Met),
        ("api", Outcome::Inconclusive),
        ("unheard-of", Outcome::Inconclusive),
    ] {
        for verdict in verdicts(&of_two_groups(subject)) {
            assert_eq!(verdict.outcome, outcome, "{subject}: {verdict:?}");
            let told = verdict.why == format!("no fault here hits the role {subject}");
            assert_eq!(told, outcome == Outcome::Inconclusive, "{}", verdict.why);
        }
    }
}

#[test]
fn the_failover_of_a_database_says_nothing_of_another_one() {
    let redundancy = |role| objective("redundancy", Measure::Redundancy, Some(role), limit(600), under_test());
    let objectives = vec![redundancy("database"), redundancy("db2")];
    let mut fixture = Fixture::new(Fault::RdsFailover, "database", objectives, well);
    let other = Role::DbInstance("shop-db-2".to_owned());
    fixture.plan.target.roles.insert("db2".to_owned(), other);
    fixture.database(0.0, "available", "us-east-1a", Some("us-east-1b"), true);
    fixture.database(30.0, "available", "us-east-1b", Some("us-east-1a"), true);
    let outcomes: Vec<Outcome> = verdicts(&fixture).iter().map(|verdict| verdict.outcome).collect();
    assert_eq!(outcomes, [Outcome::Met, Outcome::Inconclusive]);
}

#[test]
fn a_sure_miss_is_not_hidden_by_what_cannot_be_told() {
    // Orders fail for three seconds; of browsing there are too few requests to say anything.
    let fate: Fate = |step, start| failing(start, step == 1 && (20.0..23.0).contains(&start));
    let outage = objective("outage", Measure::Outage, None, limit(60), under_test());
    let mut fixture = Fixture::new(Fault::RdsFailover, "database", vec![outage], fate);
    fixture.recording.pulses[0].cells.clear();
    let verdict = fixture.first();
    assert_eq!(verdict.outcome, Outcome::Missed, "{verdict:?}");
    assert!(verdict.why.starts_with("order: 150 requests"), "{}", verdict.why);
    // The same is inconclusive where orders were in time.
    fixture.plan.objectives[0].limit = limit(120);
    assert_eq!(fixture.first().outcome, Outcome::Inconclusive);
}

#[test]
fn a_sure_miss_is_not_hidden_by_what_has_not_lasted_as_long_yet() {
    // Orders were down for nine seconds; browsing fails since three.
    let fate: Fate = |step, start| match step {
        1 => failing(start, (20.0..29.0).contains(&start)),
        _ => failing(start, start >= 47.0),
    };
    let outage = objective("outage", Measure::Outage, None, limit(240), under_test());
    let fixture = Fixture::new(Fault::RdsFailover, "database", vec![outage], fate);
    let verdict = fixture.first();
    assert_eq!(
        (verdict.outcome, verdict.at_least),
        (Outcome::Missed, false),
        "{verdict:?}"
    );
    assert!(verdict.why.starts_with("order: 450 requests"), "{}", verdict.why);
}

/// An instance is lost at 20 s and users feel it for two seconds; the database fails over at 32 s and they feel that.
fn two_faults(objectives: Vec<Objective>, fate: Fate) -> Fixture {
    let mut fixture = Fixture::new(Fault::Ec2Terminate { share: 0.34 }, "web", objectives, fate);
    and_then(&mut fixture, Fault::RdsFailover, "database", 32.0);
    fixture
}

#[test]
fn a_fault_is_not_blamed_for_what_a_later_one_of_its_experiment_did() {
    let fate: Fate = |step, start| {
        let down = (20.0..22.0).contains(&start) || (32.0..34.0).contains(&start);
        failing(start, step == 1 && down)
    };
    let objectives = || vec![of_orders(Measure::Recovery, 120), of_orders(Measure::Outage, 120)];
    let fixture = two_faults(objectives(), fate);
    for verdict in verdicts(&fixture) {
        assert_eq!(verdict.outcome, Outcome::Met, "{verdict:?}");
    }
    let cards = judge(&fixture.plan, &fixture.recording).faults;
    assert_eq!((cards[0].failed, cards[1].failed), (100, 100));
    let mut unseen = fixture;
    // A fault whose effect was not seen takes no blame off another; nor is anything known of the experiment then.
    let second = |event: &Event| matches!(event, Event::FaultObserved { fault, .. } if fault.index == 1);
    unseen = unseen.without_events(second);
    let cards = judge(&unseen.plan, &unseen.recording).faults;
    assert_eq!(cards[0].failed, 200);
}

#[test]
fn what_a_later_fault_found_failing_stays_with_the_one_before() {
    let fate: Fate = |step, start| failing(start, step == 1 && (30.0..34.0).contains(&start));
    let fixture = two_faults(vec![of_orders(Measure::Recovery, 360)], fate);
    let verdict = fixture.first();
    assert_eq!(verdict.outcome, Outcome::Missed, "{verdict:?}");
    // Of several faults it is told which one brought it.
    assert!(verdict.why.ends_with("[0] ec2.terminate)"), "{}", verdict.why);
}

#[test]
fn faults_that_may_both_be_felt_share_the_blame() {
    let fate: Fate = |step, start| failing(start, step == 1 && (32.5..34.0).contains(&start));
    // One that is felt late: the second fault comes within the three minutes of the first.
    let mut soon = Fixture::new(Fault::Ec2Terminate { share: 0.34 }, "web", Vec::new(), fate);
    and_then(&mut soon, Fault::RdsFailover, "database", INJECTED + 5.0);
    // One that can be reverted, and is in the world until 35 s.
    let mut there = Fixture::new(Fault::NetworkDenyRegion, "dns", Vec::new(), fate);
    and_then(&mut there, Fault::RdsFailover, "database", 32.0);
    for fixture in [soon, there] {
        let cards = judge(&fixture.plan, &fixture.recording).faults;
        assert_eq!((cards[0].failed, cards[1].failed), (75, 75));
    }
}

fn with_lost_writes(objectives: Vec<Objective>) -> Fixture {
    let mut fixture = Fixture::new(Fault::RdsFailover, "database", objectives, well);
    let ledger = LedgerResult {
        acknowledged: std::collections::BTreeMap::from([(EAST.to_owned(), 100)]),
        lost: vec![LostWrite {
            id: "1".to_owned(),
            acknowledged: secs(21.0),
            region: EAST.to_owned(),
        }],
        ..Default::default()
    };
    fixture.recording.ledgers.insert("orders".to_owned(), ledger);
    fixture
}

#[test]
fn what_is_lost_is_lost_although_the_measurement_is_spoilt() {
    let lost = |scope| objective("lost", Measure::LostWrites, Some("orders"), Limit::Count(0), scope);
    for scope in [under_test(), Scope::Run] {
        let mut fixture = with_lost_writes(vec![lost(scope), errors(0.5, under_test())]);
        let mut lag = Hist::working();
        lag.record_n(400_000, 100).expect("within bounds");
        for step in fixture.recording.slices.iter_mut().flat_map(|slice| &mut slice.steps) {
            step.lag = Hist::encode(&lag);
        }
        let verdict = judge(&fixture.plan, &fixture.recording);
        assert!(verdict.honesty.spoiled.is_some());
        let outcomes: Vec<Outcome> = verdict.objectives.iter().map(|one| one.outcome).collect();
        assert_eq!(outcomes, [Outcome::Missed, Outcome::Inconclusive]);
        assert_eq!(verdict.outcome, Outcome::Missed);
        assert!(
            verdict
                .sentence
                .starts_with("It did not hold: 1 of 2 objectives missed"),
            "{}",
            verdict.sentence
        );
    }
    // That some may be lost is no more than before.
    let mut some = with_lost_writes(vec![lost(under_test())]);
    some.plan.objectives[0].comparison = Comparison::LessOrEqual;
    some.plan.objectives[0].limit = Limit::Count(1);
    some.recording.dropped.insert("events".to_owned(), 3);
    assert_eq!(
        judge(&some.plan, &some.recording).outcome,
        Outcome::Inconclusive,
        "what holds is not believed"
    );
}
