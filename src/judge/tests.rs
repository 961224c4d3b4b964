//! Every measure, met, missed and inconclusive, on synthetic recordings.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::fixture::*;
use super::{Outcome, Value, judge};
use crate::config::objective::{Limit, Measure, Objective, Phase, Scope, Statistic};
use crate::event::Event;
use crate::plan::{Fault, Role};
use crate::recording::{Ended, FailureKind, GeneratorSlice, Hist, LedgerResult, LostWrite, ProbeSample, ServedBy};

fn limit(seconds: u64) -> Limit {
    Limit::Duration(Duration::from_secs(seconds))
}

fn recovery(seconds: u64) -> Vec<Objective> {
    vec![objective(
        "recovery(order)",
        Measure::Recovery,
        Some("order"),
        limit(seconds),
        under_test(),
    )]
}

fn redundancy() -> Vec<Objective> {
    vec![objective(
        "redundancy",
        Measure::Redundancy,
        Some("database"),
        limit(600),
        under_test(),
    )]
}

fn failover(objectives: Vec<Objective>, fate: Fate) -> Fixture {
    Fixture::new(Fault::RdsFailover, "database", objectives, fate)
}

/// Orders that start between 20 s and 23 s fail; those of the first second hang until 21 s.
fn down_for_three_seconds(step: usize, start: f64) -> (f64, Option<FailureKind>) {
    if step == 0 || !(INJECTED..INJECTED + 3.0).contains(&start) {
        (start + 0.01, None)
    } else if start < INJECTED + 1.0 {
        (INJECTED + 1.0, Some(FailureKind::Reset))
    } else {
        (start + 0.005, Some(FailureKind::Status5xx))
    }
}

fn down_for_good(step: usize, start: f64) -> (f64, Option<FailureKind>) {
    if step == 1 && start > INJECTED {
        (start + 0.2, Some(FailureKind::Timeout))
    } else {
        well(step, start)
    }
}

fn seconds(value: Option<Value>) -> f64 {
    match value {
        Some(Limit::Duration(duration)) => duration.as_secs_f64(),
        other => panic!("not a duration: {other:?}"),
    }
}

#[test]
fn recovery_and_outage_are_exact_to_a_cell() {
    let met = failover(recovery(120), down_for_three_seconds);
    let verdict = met.first();
    assert_eq!(verdict.outcome, Outcome::Met, "{verdict:?}");
    // The last failed start is below 23.0 s, the next success finishes at 23.011 s.
    assert!((seconds(verdict.measured) / PACE - 3.011).abs() < 0.021, "{verdict:?}");
    let found = &judge(&met.plan, &met.recording).faults[0];
    assert!(found.onset.expect("felt").as_secs_f64() / PACE < 0.021);
    assert!(
        (found.outage.expect("felt").as_secs_f64() / PACE - 2.98).abs() < 0.021,
        "{:?}",
        found.outage
    );
    assert!(!found.steps.contains_key("browse"));
    assert_eq!(
        failover(recovery(60), down_for_three_seconds).first().outcome,
        Outcome::Missed
    );
    let outage = vec![objective(
        "outage",
        Measure::Outage,
        Some("order"),
        limit(80),
        under_test(),
    )];
    assert_eq!(
        failover(outage, down_for_three_seconds).first().outcome,
        Outcome::Missed
    );
}

#[test]
fn a_request_in_flight_at_the_injection_is_hit_by_it() {
    let fate: Fate = |step, start| {
        if step == 1 && start > INJECTED - 0.3 && start < INJECTED {
            (INJECTED + 0.5, Some(FailureKind::Reset))
        } else if step == 1 && (INJECTED..INJECTED + 1.0).contains(&start) {
            (start + 0.01, Some(FailureKind::Status5xx))
        } else {
            well(step, start)
        }
    };
    let fixture = failover(recovery(60), fate);
    let found = judge(&fixture.plan, &fixture.recording).faults.remove(0);
    assert_eq!(found.onset, Some(Duration::ZERO));
    assert!((found.recovery.expect("recovered").as_secs_f64() / PACE - 1.01).abs() < 0.03);
}

#[test]
fn onset_and_outage_are_never_longer_than_the_recovery() {
    // Requests hang for two seconds, long after others succeed again.
    let hanging: Fate = |step, start| {
        if step == 1 && (INJECTED + 0.5..INJECTED + 1.5).contains(&start) {
            (start + 2.0, Some(FailureKind::Timeout))
        } else {
            well(step, start)
        }
    };
    for fate in [hanging, down_for_three_seconds, dead_region] {
        let fixture = failover(recovery(120), fate);
        let found = judge(&fixture.plan, &fixture.recording).faults.remove(0);
        let (onset, outage) = (found.onset.expect("felt"), found.outage.expect("felt"));
        assert!(
            outage > Duration::ZERO && found.recovery >= Some(onset + outage),
            "{found:?}"
        );
        for step in found.steps.values() {
            assert!(step.recovery >= Some(step.onset + step.outage), "{step:?}");
        }
    }
}

#[test]
fn one_failed_request_is_no_outage() {
    let fate: Fate = |step, start| {
        if step == 0 && (INJECTED..INJECTED + 0.02).contains(&start) {
            (start + 0.2, Some(FailureKind::Reset))
        } else {
            well(step, start)
        }
    };
    let outage = objective("outage", Measure::Outage, None, limit(90), under_test());
    let fixture = failover(vec![outage], fate);
    let verdict = judge(&fixture.plan, &fixture.recording);
    let found = &verdict.faults[0];
    assert_eq!((found.failed, found.outage), (1, Some(Duration::ZERO)));
    assert_eq!(seconds(verdict.objectives[0].measured), 0.0);
    assert_eq!(verdict.objectives[0].why, "browse: no more than 1 request failed");
}

#[test]
fn a_card_counts_the_requests_that_objectives_count_and_its_probes_apart() {
    let errors = objective("errors", Measure::Errors, None, Limit::Share(0.0), under_test());
    let fixture = failover(vec![errors, recovery(120).remove(0)], down_for_three_seconds);
    let verdict = judge(&fixture.plan, &fixture.recording);
    let found = &verdict.faults[0];
    // 50 requests and 10 probes a second for three seconds.
    assert_eq!((found.failed, found.probes_failed), (150, 30));
    assert!(
        verdict.objectives[0].why.starts_with("150 of"),
        "{:?}",
        verdict.objectives
    );
    assert!(verdict.objectives[1].why.contains("150 requests and 30 probes failed"));
}

#[test]
fn a_lasting_outage_is_missed_and_no_outage_is_a_recovery_of_zero() {
    let lasting = failover(recovery(120), down_for_good).first();
    assert_eq!((lasting.outcome, lasting.at_least), (Outcome::Missed, true));
    // It was watched for a quarter of an hour, which is just too long for one limit and says nothing of the other.
    let as_long = failover(recovery(900), down_for_good).first();
    assert_eq!(as_long.outcome, Outcome::Missed, "{as_long:?}");
    let open = failover(recovery(930), down_for_good).first();
    assert_eq!((open.outcome, open.at_least), (Outcome::Inconclusive, true), "{open:?}");
    assert!(open.why.ends_with("too early to tell after 15m"), "{}", open.why);
    let unfelt = failover(recovery(120), well).first();
    assert_eq!(unfelt.outcome, Outcome::Met);
    assert_eq!(seconds(unfelt.measured), 0.0);
    assert!(unfelt.why.contains("no user felt it"), "{}", unfelt.why);
}

#[test]
fn what_failed_before_the_fault_as_it_did_under_it_is_not_laid_to_the_fault() {
    let outage = || objective("outage", Measure::Outage, Some("order"), limit(60), under_test());
    let always: Fate = |step, start| match step {
        1 => (start + 0.01, Some(FailureKind::Expectation)),
        _ => well(step, start),
    };
    let hanging: Fate = |step, start| match step {
        1 => (start + 1.0, Some(FailureKind::Timeout)),
        _ => well(step, start),
    };
    let every_other: Fate = |step, start| match step {
        1 if ((start * 50.0) as u64).is_multiple_of(2) => (start + 0.01, Some(FailureKind::Expectation)),
        _ => well(step, start),
    };
    for fate in [always, hanging, every_other] {
        let fixture = failover(vec![recovery(120).remove(0), outage()], fate);
        let verdict = judge(&fixture.plan, &fixture.recording);
        for of in &verdict.objectives {
            assert_eq!(of.outcome, Outcome::Inconclusive, "{of:?}");
            assert!(of.why.starts_with("order was failing before the fault: "), "{}", of.why);
        }
        let found = &verdict.faults[0];
        assert_eq!(found.failing_before, ["order"]);
        assert_eq!((found.onset, found.outage, found.unrecovered), (None, None, false));
    }
}

#[test]
fn a_fault_is_blamed_for_what_it_made_worse() {
    let worse: Fate = |step, start| match step {
        1 if ((start * 50.0) as u64).is_multiple_of(4) => (start + 0.01, Some(FailureKind::Expectation)),
        _ => down_for_three_seconds(step, start),
    };
    let fixture = failover(recovery(120), worse);
    let verdict = judge(&fixture.plan, &fixture.recording);
    assert_eq!(
        verdict.objectives[0].outcome,
        Outcome::Missed,
        "{:?}",
        verdict.objectives
    );
    assert!(verdict.faults[0].failing_before.is_empty() && verdict.faults[0].onset.is_some());
}

#[test]
fn a_stray_failure_long_after_is_not_the_outage() {
    let fate: Fate = |step, start| {
        if step == 1 && (40.0..40.02).contains(&start) {
            (start + 0.01, Some(FailureKind::Reset))
        } else {
            down_for_three_seconds(step, start)
        }
    };
    assert_eq!(failover(recovery(120), fate).first().outcome, Outcome::Met);
}

#[test]
fn an_outage_that_comes_back_before_the_end_counts_whole() {
    let fate: Fate = |step, start| {
        if step == 1 && (30.0..32.0).contains(&start) {
            (start + 0.01, Some(FailureKind::Status5xx))
        } else {
            down_for_three_seconds(step, start)
        }
    };
    let verdict = failover(recovery(120), fate).first();
    assert_eq!(verdict.outcome, Outcome::Missed);
    assert!((seconds(verdict.measured) / PACE - 12.011).abs() < 0.03, "{verdict:?}");
}

#[test]
fn what_the_next_experiment_hits_is_not_laid_to_the_one_before() {
    fn hit_by_one_at(next: f64, start: f64, step: usize) -> (f64, Option<FailureKind>) {
        if step == 1 && start >= next - 0.3 {
            (start + 0.3, Some(FailureKind::Timeout))
        } else {
            down_for_three_seconds(step, start)
        }
    }
    // The window of the first ends at 50 s: a fault that was late by the plan ends it sooner, one that was not finds
    // requests in flight that were started in it.
    const INSIDE: f64 = 49.9;
    const AFTER: f64 = 50.1;
    let fates: [(f64, Fate); 2] = [
        (INSIDE, |step, start| hit_by_one_at(INSIDE, start, step)),
        (AFTER, |step, start| hit_by_one_at(AFTER, start, step)),
    ];
    for (next, fate) in fates {
        let mut objectives = recovery(120);
        let errors = objective(
            "errors",
            Measure::Errors,
            Some("order"),
            Limit::Share(0.11),
            under_test(),
        );
        objectives.push(errors);
        let mut fixture = failover(objectives, fate);
        assert_eq!(fixture.first().outcome, Outcome::Missed, "one experiment, one cause");
        fixture.another_experiment(next);
        let verdict = fixture.first();
        assert_eq!(verdict.outcome, Outcome::Met, "{verdict:?}");
        assert!((90.0..92.0).contains(&seconds(verdict.measured)), "{verdict:?}");
        let judged = judge(&fixture.plan, &fixture.recording);
        let errors = &judged.objectives[1];
        assert!(errors.why.starts_with("150 of 1,4"), "{errors:?}");
        let cards = judged.faults;
        assert!(cards[1].failed > 400, "{cards:?}");
        assert_eq!(cards[0].failed, 150, "{cards:?}");
    }
}

#[test]
fn a_fault_without_proof_is_inconclusive() {
    type Unwanted = fn(&Event) -> bool;
    let gone: [(Unwanted, &str); 2] = [
        (|event| matches!(event, Event::FaultObserved { .. }), "not confirmed"),
        (
            |event| {
                matches!(
                    event,
                    Event::FaultStarted { .. } | Event::FaultInjected { .. } | Event::FaultObserved { .. }
                )
            },
            "never injected",
        ),
    ];
    for (unwanted, why) in gone {
        let verdict = failover(recovery(120), down_for_good).without_events(unwanted).first();
        assert_eq!(verdict.outcome, Outcome::Inconclusive);
        assert!(verdict.why.contains(why), "{}", verdict.why);
    }
    let mut failed = failover(recovery(120), well);
    let id = crate::event::FaultId {
        experiment: "test".to_owned(),
        index: 0,
    };
    failed.event(
        INJECTED,
        Event::FaultFailed {
            fault: id,
            error: "InvalidDBInstanceState".to_owned(),
        },
    );
    assert_eq!(failed.first().outcome, Outcome::Inconclusive);
}

#[test]
fn nothing_held_under_a_fault_that_was_not_there() {
    let errors = || objective("errors < 100%", Measure::Errors, None, Limit::Share(1.0), Scope::Run);
    let there = failover(vec![errors()], well);
    assert_eq!(judge(&there.plan, &there.recording).outcome, Outcome::Met);
    let gone = failover(vec![errors()], well).without_events(|event| matches!(event, Event::FaultObserved { .. }));
    let verdict = judge(&gone.plan, &gone.recording);
    assert_eq!(verdict.objectives[0].outcome, Outcome::Met);
    assert_eq!(verdict.outcome, Outcome::Inconclusive);
    assert!(verdict.sentence.contains("was not confirmed"), "{}", verdict.sentence);
}

#[test]
fn a_spoiled_generator_never_passes_and_never_accuses() {
    for fate in [well as Fate, down_for_good] {
        let mut late = failover(recovery(120), fate);
        let mut lag = Hist::working();
        lag.record_n(400_000, 100).expect("within bounds");
        for step in late.recording.slices.iter_mut().flat_map(|slice| &mut slice.steps) {
            step.lag = Hist::encode(&lag);
        }
        let mut hot = failover(recovery(120), fate);
        for slice in &mut hot.recording.slices {
            slice.generator = GeneratorSlice {
                cpu_busiest_shard: 0.97,
                ..slice.generator
            };
        }
        let mut lossy = failover(recovery(120), fate);
        lossy.recording.dropped.insert("events".to_owned(), 3);
        for fixture in [late, hot, lossy] {
            let verdict = judge(&fixture.plan, &fixture.recording);
            assert_eq!(verdict.outcome, Outcome::Inconclusive);
            assert_eq!(verdict.objectives[0].outcome, Outcome::Inconclusive);
            assert!(verdict.honesty.spoiled.is_some());
        }
    }
}

#[test]
fn traffic_measures_take_only_their_phase() {
    let cases = [
        (Measure::Latency, None, limit(1), Outcome::Met),
        (
            Measure::Latency,
            Some("order"),
            Limit::Duration(Duration::from_millis(2)),
            Outcome::Missed,
        ),
        (Measure::Errors, None, Limit::Share(0.001), Outcome::Met),
        (Measure::Throughput, None, Limit::Rate(95.0), Outcome::Met),
        (Measure::Throughput, None, Limit::Rate(200.0), Outcome::Missed),
        (Measure::Share, Some("az=us-east-1b"), Limit::Share(0.6), Outcome::Met),
        (
            Measure::Share,
            Some("region=eu-west-1"),
            Limit::Share(0.95),
            Outcome::Missed,
        ),
        (
            Measure::Throughput,
            Some("region=us-east-1"),
            Limit::Rate(95.0),
            Outcome::Met,
        ),
        (
            Measure::Throughput,
            Some("az=us-east-1a"),
            Limit::Rate(95.0),
            Outcome::Missed,
        ),
        (Measure::Latency, Some("nobody"), limit(1), Outcome::Inconclusive),
    ];
    for (measure, subject, limit, outcome) in cases {
        let fixture = failover(
            vec![objective("x", measure, subject, limit, steady())],
            down_for_three_seconds,
        );
        let verdict = fixture.first();
        assert_eq!(verdict.outcome, outcome, "{measure:?} {subject:?}: {verdict:?}");
    }
    let during = vec![objective(
        "errors",
        Measure::Errors,
        None,
        Limit::Share(0.001),
        under_test(),
    )];
    assert_eq!(
        failover(during, down_for_three_seconds).first().outcome,
        Outcome::Missed
    );
}

#[test]
fn errors_of_a_place_are_those_that_ended_there() {
    let judged = |subject, failed: &[(&str, u64)]| {
        let objective = objective("x", Measure::Errors, Some(subject), Limit::Share(0.1), under_test());
        let mut fixture = failover(vec![objective], down_for_three_seconds);
        for slice in &mut fixture.recording.slices {
            let failed = failed.iter().map(|(by, count)| (ServedBy::parse(by), *count));
            slice.served_failed = failed.collect();
        }
        fixture.first()
    };
    // 33 and 67 successes a second in two AZs of the first Region.
    let bad = [("i-1/us-east-1a/us-east-1", 11), ("//eu-west-1", 50)];
    for (subject, outcome, share) in [
        ("az=us-east-1a", Outcome::Missed, Some(0.25)),
        ("az=us-east-1b", Outcome::Met, Some(0.0)),
        ("region=us-east-1", Outcome::Met, Some(11.0 / 111.0)),
        ("region=eu-west-1", Outcome::Missed, Some(1.0)),
        ("region=ap-south-1", Outcome::Inconclusive, None),
    ] {
        let verdict = judged(subject, &bad);
        assert_eq!(verdict.outcome, outcome, "{subject}: {verdict:?}");
        assert_eq!(verdict.measured, share.map(Limit::Share), "{subject}");
    }
    let old = judged("region=us-east-1", &[]);
    assert_eq!(old.outcome, Outcome::Inconclusive, "{old:?}");
    assert!(old.why.contains("does not say where"), "{old:?}");
}

#[test]
fn too_few_requests_are_inconclusive() {
    let mut fixture = failover(
        vec![objective(
            "errors",
            Measure::Errors,
            None,
            Limit::Share(0.001),
            steady(),
        )],
        well,
    );
    fixture.plan.honesty.requests_min = 1_000_000;
    assert_eq!(fixture.first().outcome, Outcome::Inconclusive);
}

fn ledger(lost_at: &[f64], acknowledged: u64, unreadable: u64) -> BTreeMap<String, LedgerResult> {
    let lost = lost_at
        .iter()
        .map(|at| LostWrite {
            id: at.to_string(),
            acknowledged: secs(*at),
            region: EAST.to_owned(),
        })
        .collect();
    BTreeMap::from([(
        "orders".to_owned(),
        LedgerResult {
            acknowledged: BTreeMap::from([(EAST.to_owned(), acknowledged)]),
            lost,
            unreadable,
            ..Default::default()
        },
    )])
}

#[test]
fn lost_writes_count_around_the_injection() {
    let cases = [
        (ledger(&[], 100, 0), Outcome::Met),
        (ledger(&[19.0], 100, 0), Outcome::Missed),
        (ledger(&[17.0], 100, 0), Outcome::Met),
        (ledger(&[], 100, 2), Outcome::Inconclusive),
        (ledger(&[21.0], 100, 2), Outcome::Missed),
        (ledger(&[], 0, 0), Outcome::Inconclusive),
        (BTreeMap::new(), Outcome::Inconclusive),
    ];
    for (ledgers, outcome) in cases {
        let mut fixture = failover(
            vec![objective(
                "lost",
                Measure::LostWrites,
                Some("orders"),
                Limit::Count(0),
                under_test(),
            )],
            well,
        );
        fixture.recording.ledgers = ledgers;
        assert_eq!(fixture.first().outcome, outcome, "{:?}", fixture.recording.ledgers);
    }
}

#[test]
fn writes_that_were_not_read_back_are_not_counted_as_kept() {
    let cases = [
        (ledger(&[], 100, 0), Some(0), 0),
        (ledger(&[], 100, 100), None, 100),
        (ledger(&[21.0], 100, 7), Some(1), 7),
        (ledger(&[], 0, 0), None, 0),
        (BTreeMap::new(), None, 0),
    ];
    for (ledgers, lost, unread) in cases {
        let mut fixture = failover(recovery(120), well);
        fixture.recording.ledgers = ledgers;
        let found = judge(&fixture.plan, &fixture.recording).faults.remove(0);
        assert_eq!((found.lost_writes, found.unread_writes), (lost, unread));
    }
}

#[test]
fn an_interrupted_run_says_that_it_did_not_read_back() {
    let lost = |ended: Ended| {
        let objectives = vec![objective(
            "lost",
            Measure::LostWrites,
            Some("orders"),
            Limit::Count(0),
            under_test(),
        )];
        let mut fixture = failover(objectives, well).cut(30.0, ended);
        fixture.recording.ledgers = ledger(&[], 600, 600);
        fixture
    };
    let mut interrupted = lost(Ended::Interrupted);
    interrupted.event(29.9, Event::Interrupted);
    assert_eq!(
        interrupted.first().why,
        "600 acknowledged writes were not read back: the run was interrupted"
    );
    assert_eq!(
        lost(Ended::Stopped).first().why,
        "600 acknowledged writes could not be read back"
    );
}

#[test]
fn redundancy_needs_a_failover_and_a_standby() {
    let fixture = || {
        let mut fixture = failover(redundancy(), well);
        fixture.database(0.0, "available", "us-east-1a", Some("us-east-1b"), true);
        fixture
    };
    let mut met = fixture();
    met.database(21.0, "rebooting", "us-east-1a", Some("us-east-1b"), true);
    met.database(23.0, "available", "us-east-1b", None, true);
    met.database(30.0, "available", "us-east-1b", Some("us-east-1a"), true);
    let verdict = met.first();
    assert_eq!((verdict.outcome, seconds(verdict.measured)), (Outcome::Met, 300.0));
    let mut bare = fixture();
    bare.database(23.0, "available", "us-east-1b", None, true);
    assert_eq!(bare.first().outcome, Outcome::Missed);
    let mut single = fixture().without_events(|event| matches!(event, Event::DatabasePolled { .. }));
    single.database(0.0, "available", "us-east-1a", None, false);
    assert_eq!(single.first().outcome, Outcome::Missed);
    assert_eq!(fixture().first().outcome, Outcome::Inconclusive);
}

#[test]
fn the_redundancy_of_a_cluster_is_a_reader_that_could_take_over() {
    let fault = Fault::RdsFailoverCluster { reader: None };
    let mut fixture = Fixture::new(fault, "database", redundancy(), down_for_three_seconds);
    fixture
        .plan
        .target
        .roles
        .insert("database".to_owned(), Role::DbCluster("shop-db".to_owned()));
    fixture.database(0.0, "available", "us-east-1a", Some("us-east-1b"), true);
    fixture.database(21.0, "failing-over", "us-east-1b", None, true);
    let told = |message: &str| Event::DatabaseEvent {
        region: "us-east-1".to_owned(),
        database: "shop-db".to_owned(),
        message: message.to_owned(),
    };
    fixture.event(20.1, told("Started cross AZ failover to DB instance: shop-db-2"));
    fixture.event(22.0, told("Completed failover to DB instance: shop-db-2"));
    fixture.database(30.0, "available", "us-east-1b", Some("us-east-1a"), true);
    let verdict = fixture.first();
    assert_eq!((verdict.outcome, seconds(verdict.measured)), (Outcome::Met, 300.0));
    assert!(verdict.why.contains("a reader could take over"), "{}", verdict.why);
    let verdict = judge(&fixture.plan, &fixture.recording);
    let found = &verdict.faults[0];
    assert!(
        found.redundancy.is_some() && found.parts.promote.is_some(),
        "{:?}",
        found.parts
    );
}

fn terminated(measure: Measure, limit: Limit, fate: Fate) -> Fixture {
    let objectives = vec![objective("x", measure, None, limit, under_test())];
    let mut fixture = Fixture::new(Fault::Ec2Terminate { share: 0.34 }, "web", objectives, fate);
    fixture.poll(19.0, 3, &["i-1", "i-2", "i-3"], &["i-1", "i-2", "i-3"]);
    fixture
}

#[test]
fn self_heal_needs_the_replacement_to_serve() {
    let mut met = terminated(Measure::SelfHeal, limit(300), well);
    met.poll(21.0, 3, &["i-2", "i-3"], &["i-2", "i-3"]);
    met.poll(26.0, 3, &["i-2", "i-3", "i-9"], &["i-2", "i-3", "i-9"]);
    let silent = met.first();
    assert_eq!((silent.outcome, silent.at_least), (Outcome::Missed, true), "{silent:?}");
    met.serves("i-9", 27);
    let verdict = met.first();
    assert_eq!((verdict.outcome, seconds(verdict.measured)), (Outcome::Met, 210.0));
    let mut stuck = terminated(Measure::SelfHeal, limit(300), well);
    stuck.poll(21.0, 3, &["i-2", "i-3"], &["i-2", "i-3"]);
    assert_eq!(stuck.first().outcome, Outcome::Missed);
    assert_eq!(
        terminated(Measure::SelfHeal, limit(300), well).first().outcome,
        Outcome::Inconclusive
    );
}

const FIVE: [&str; 5] = ["i-1", "i-2", "i-3", "i-4", "i-5"];

/// A group of five, at a minimum of three, that loses two.
fn lost_two_of_five(seconds: u64) -> Fixture {
    let objectives = vec![objective("x", Measure::SelfHeal, None, limit(seconds), under_test())];
    let mut fixture = Fixture::new(Fault::Ec2Terminate { share: 0.34 }, "web", objectives, well);
    for stamped in &mut fixture.recording.events {
        if let Event::FaultStarted { resources, .. } = &mut stamped.event {
            resources.push("i-2".to_owned());
        }
    }
    fixture.poll_wanting(19.0, 3, 5, &FIVE, &FIVE);
    fixture.poll_wanting(21.0, 3, 5, &FIVE[2..], &FIVE[2..]);
    fixture
}

#[test]
fn self_heal_needs_as_many_instances_as_before_and_not_only_the_minimum() {
    let mut group = lost_two_of_five(300);
    let four = ["i-3", "i-4", "i-5", "i-8"];
    let five = ["i-3", "i-4", "i-5", "i-8", "i-9"];
    group.poll_wanting(23.0, 3, 5, &four, &four);
    group.serves("i-8", 23);
    assert_eq!(group.first().outcome, Outcome::Missed);
    group.poll_wanting(25.0, 3, 5, &five, &four);
    group.poll_wanting(27.0, 3, 5, &five, &five);
    let one = group.first();
    assert_eq!((one.outcome, one.at_least), (Outcome::Missed, true), "{one:?}");
    assert!(one.why.contains("1 of 2 replacements"), "{}", one.why);
    group.serves("i-9", 26);
    let healed = group.first();
    assert_eq!((healed.outcome, seconds(healed.measured)), (Outcome::Met, 210.0));
    assert_eq!(healed.why, "2 replacements served");
}

#[test]
fn what_was_launched_before_or_for_an_alarm_replaces_none_of_the_dead() {
    let mut group = lost_two_of_five(300);
    let six = ["i-3", "i-4", "i-5", "i-7", "i-8", "i-9"];
    let unhealthy = "At 2026-01-01T00:00:00Z an instance was launched in response to an unhealthy instance.";
    group.launch_for(18.0, 22.0, "i-7", unhealthy);
    group.launch(21.0, 23.0, "i-8");
    group.launch_for(21.0, 23.0, "i-9", unhealthy);
    for instance in ["i-7", "i-8", "i-9"] {
        group.serves(instance, 23);
    }
    group.poll_wanting(24.0, 3, 6, &six, &six);
    let verdict = group.first();
    assert_eq!(verdict.outcome, Outcome::Missed, "{verdict:?}");
    assert!(verdict.why.contains("1 of 2 replacements"), "{}", verdict.why);
}

#[test]
fn a_group_scaled_in_meanwhile_need_not_be_as_large_as_before() {
    let mut group = lost_two_of_five(300);
    let four = ["i-3", "i-4", "i-5", "i-8"];
    group.serves("i-8", 23);
    group.poll_wanting(24.0, 3, 4, &four, &four);
    let verdict = group.first();
    assert_eq!(
        (verdict.outcome, seconds(verdict.measured)),
        (Outcome::Met, 120.0),
        "{verdict:?}"
    );
    let mut smaller = lost_two_of_five(300);
    smaller.poll_wanting(24.0, 3, 3, &FIVE[2..], &FIVE[2..]);
    assert_eq!(smaller.first().outcome, Outcome::Met);
}

#[test]
fn a_group_that_was_not_polled_before_the_fault_cannot_be_said_to_be_as_before() {
    let mut group = lost_two_of_five(300);
    group.poll_wanting(26.0, 3, 5, &FIVE[2..], &FIVE[2..]);
    let group = group.without_events(|event| matches!(event, Event::GroupPolled { members, .. } if members.len() == 5));
    assert_eq!(group.first().outcome, Outcome::Inconclusive);
}

#[test]
fn a_limit_between_two_looks_is_left_open() {
    // Two looks are at least 0.2 s apart, 6 s of cloud time: healed after 174 s to 180 s.
    for (seconds, outcome) in [
        (173, Outcome::Missed),
        (177, Outcome::Inconclusive),
        (180, Outcome::Met),
    ] {
        let mut group = terminated(Measure::SelfHeal, limit(seconds), well);
        group.poll(21.0, 3, &["i-2", "i-3"], &["i-2", "i-3"]);
        group.poll(26.0, 3, &["i-2", "i-3", "i-9"], &["i-2", "i-3", "i-9"]);
        group.serves("i-9", 22);
        assert_eq!(group.first().outcome, outcome, "{:?}", group.first());
    }
}

#[test]
fn a_look_after_the_window_does_not_make_a_group_late_that_may_have_healed_in_it() {
    // As at a high pace: the window ends at 21 s, the looks are at 20.95 s and at 21.05 s.
    let window = |last: Option<f64>| {
        let mut group = terminated(Measure::SelfHeal, limit(30), well);
        group.plan.experiments[0].settle = cloud(1.0);
        group.poll(20.85, 3, &["i-2", "i-3"], &["i-2", "i-3"]);
        group.serves("i-9", 20);
        if let Some(at) = last {
            group.poll(at, 3, &["i-2", "i-3", "i-9"], &["i-2", "i-3", "i-9"]);
        }
        group.first()
    };
    assert_eq!(window(Some(21.05)).outcome, Outcome::Inconclusive);
    assert_eq!(window(None).outcome, Outcome::Inconclusive);
    // Every change is told: what is told of long after the limit came after it.
    assert_eq!(window(Some(22.5)).outcome, Outcome::Missed);
}

#[test]
fn late_errors_start_when_the_dead_instances_have_left() {
    let burst: Fate = |step, start| {
        if (20.0..21.0).contains(&start) {
            (start + 0.01, Some(FailureKind::Status5xx))
        } else {
            well(step, start)
        }
    };
    let mut met = terminated(Measure::LateErrors, Limit::Count(0), burst);
    met.poll(20.5, 3, &["i-2"], &["i-1", "i-2"]);
    met.poll(21.5, 3, &["i-2"], &["i-2", "i-3"]);
    assert_eq!(met.first().outcome, Outcome::Met);
    let mut missed = terminated(Measure::LateErrors, Limit::Count(0), burst);
    missed.poll(20.5, 3, &["i-2"], &["i-2"]);
    assert_eq!(missed.first().outcome, Outcome::Missed);
    let mut stays = terminated(Measure::LateErrors, Limit::Count(0), burst);
    stays.poll(20.5, 3, &["i-2"], &["i-1", "i-2"]);
    assert_eq!(stays.first().outcome, Outcome::Missed);
    let unpolled = terminated(Measure::LateErrors, Limit::Count(0), burst);
    assert_eq!(unpolled.first().outcome, Outcome::Inconclusive);
}

#[test]
fn late_errors_are_not_those_of_the_next_fault() {
    let next: Fate = |step, start| {
        if (29.9..31.0).contains(&start) {
            (start + 0.2, Some(FailureKind::Status5xx))
        } else {
            well(step, start)
        }
    };
    let mut fixture = terminated(Measure::LateErrors, Limit::Count(0), next);
    fixture.poll(20.5, 3, &["i-2"], &["i-2"]);
    assert_eq!(fixture.first().outcome, Outcome::Missed, "there is one fault only");
    let faults = &mut fixture.plan.experiments[0].faults;
    faults.push(faults[0].clone());
    faults[1].fault = Fault::RdsFailover;
    fixture.fault_observed(30.0, 30.1, &second_fault(), "shop-db");
    let verdict = fixture.first();
    assert_eq!(verdict.outcome, Outcome::Met, "{verdict:?}");
}

fn second_fault() -> crate::event::FaultId {
    crate::event::FaultId {
        experiment: "test".to_owned(),
        index: 1,
    }
}

fn blackout(measure: Measure, limit: Limit, fate: Fate) -> Fixture {
    let objectives = vec![objective("x", measure, Some("dns"), limit, under_test())];
    let mut fixture = Fixture::new(Fault::NetworkDenyRegion, "dns", objectives, fate);
    fixture.dns(0.0, "127.10.0.5");
    fixture
}

fn dead_region(step: usize, start: f64) -> (f64, Option<FailureKind>) {
    if (INJECTED..INJECTED + 4.4).contains(&start) {
        (start + 0.5, Some(FailureKind::ConnectTimeout))
    } else {
        well(step, start)
    }
}

#[test]
fn shift_is_found_inside_the_second_it_ends_in() {
    let away = |second| if (25..36).contains(&second) { 0.0 } else { 1.0 };
    let mut met = blackout(Measure::Shift, limit(150), dead_region);
    met.routes(away);
    let verdict = met.first();
    assert_eq!(verdict.outcome, Outcome::Met, "{verdict:?}");
    assert!((seconds(verdict.measured) / PACE - 4.4).abs() < 0.03, "{verdict:?}");
    let mut stays = blackout(Measure::Shift, limit(150), dead_region);
    stays.routes(|_| 1.0);
    assert_eq!(stays.first().outcome, Outcome::Missed);
    let mut elsewhere = blackout(Measure::Shift, limit(150), dead_region);
    elsewhere.routes(|_| 0.0);
    assert_eq!(elsewhere.first().outcome, Outcome::Inconclusive);
    let curve = judge(&met.plan, &met.recording).convergence.remove(0);
    assert_eq!(curve.region, EAST);
    assert!(curve.points.iter().any(|(at, share)| *at < 0.0 && *share == 1.0));
}

#[test]
fn users_who_are_moved_from_a_sound_region_are_followed_as_well() {
    // They leave within the two seconds after 22 and are back from 38 on.
    let away = |second| if (24..38).contains(&second) { 0.0 } else { 1.0 };
    for fault in [Fault::Route53InvertHealthCheck, Fault::Route53ZeroWeight] {
        let of = |measure, limit| objective("x", measure, Some("dns"), limit, under_test());
        let objectives = vec![of(Measure::Shift, limit(150)), of(Measure::FailBack, limit(300))];
        let mut fixture = Fixture::new(fault, "dns", objectives, well);
        fixture.dns(0.0, "127.10.0.5");
        fixture.routes(away);
        let verdict = judge(&fixture.plan, &fixture.recording);
        let outcomes: Vec<Outcome> = verdict.objectives.iter().map(|one| one.outcome).collect();
        assert_eq!(outcomes, [Outcome::Met, Outcome::Met], "{:?}", verdict.objectives);
        assert_eq!(verdict.convergence.len(), 1);
        assert!(verdict.faults[0].shift.is_some() && verdict.faults[0].region_silent.is_none());
        fixture.routes(|_| 1.0);
        let stayed = judge(&fixture.plan, &fixture.recording);
        assert_eq!(stayed.objectives[0].outcome, Outcome::Missed, "{:?}", stayed.objectives);
    }
}

/// Users who are never sent elsewhere while the Region is dead.
fn nobody_leaves(measure: Measure, limit: Limit) -> Fixture {
    let fate: Fate = |step, start| {
        if start >= INJECTED {
            (start + 0.1, Some(FailureKind::ConnectTimeout))
        } else {
            well(step, start)
        }
    };
    let mut fixture = blackout(measure, limit, fate);
    fixture.routes(|_| 1.0);
    fixture
}

#[test]
fn a_shift_is_missed_only_when_the_region_was_dead_for_longer_than_the_limit() {
    let shift = || nobody_leaves(Measure::Shift, limit(150));
    for ended in [Ended::Stopped, Ended::Interrupted] {
        let early = shift().cut(22.0, ended).first();
        assert_eq!(early.outcome, Outcome::Inconclusive, "{early:?}");
        assert!(early.why.ends_with("too early to tell after 1m"), "{}", early.why);
        let late = shift().cut(27.5, ended).first();
        assert_eq!(late.outcome, Outcome::Missed, "{late:?}");
    }
    // A run may end by its schedule and its fault still have been shorter than the limit.
    assert_eq!(
        nobody_leaves(Measure::Shift, limit(1000)).first().outcome,
        Outcome::Inconclusive
    );
}

#[test]
fn the_partial_second_in_which_a_run_was_cut_does_not_accuse() {
    let mut left = blackout(Measure::Shift, limit(150), dead_region);
    left.routes(|second| if second < 25 { 1.0 } else { 0.0 });
    let verdict = left.cut(25.4, Ended::Interrupted).first();
    assert_eq!(verdict.outcome, Outcome::Inconclusive, "{verdict:?}");
}

#[test]
fn route_53_is_not_accused_before_it_had_the_time_to_give_up() {
    let stale = || nobody_leaves(Measure::StaleShare, Limit::Share(0.01));
    assert_eq!(stale().first().outcome, Outcome::Missed);
    assert_eq!(stale().cut(23.0, Ended::Stopped).first().outcome, Outcome::Inconclusive);
}

#[test]
fn a_load_balancer_is_not_accused_by_a_run_cut_short() {
    let mut stays = terminated(Measure::LateErrors, Limit::Count(0), well);
    stays.poll(20.5, 3, &["i-2"], &["i-1", "i-2"]);
    assert_eq!(stays.cut(21.0, Ended::Stopped).first().outcome, Outcome::Inconclusive);
}

#[test]
fn a_fault_that_was_never_reverted_stays_in_the_world_until_the_end() {
    let objectives = vec![
        objective("fail_back", Measure::FailBack, Some("dns"), limit(300), under_test()),
        objective("errors", Measure::Errors, None, Limit::Share(0.001), steady()),
    ];
    let fate: Fate = |step, start| {
        if start >= INJECTED + 15.0 {
            (start + 0.01, Some(FailureKind::Refused))
        } else {
            well(step, start)
        }
    };
    let mut fixture = Fixture::new(Fault::NetworkDenyRegion, "dns", objectives, fate);
    fixture.routes(|second| if second < 25 { 1.0 } else { 0.0 });
    let mut fixture = fixture.without_events(|event| matches!(event, Event::FaultReverted { .. }));
    fixture.recording.ended = Ended::Unreverted;
    // Tries to revert it went on after the load had ended.
    fixture.recording.duration = secs(LENGTH as f64 + 20.0);
    let verdict = judge(&fixture.plan, &fixture.recording);
    assert_eq!(verdict.faults[0].reverted_at, None);
    assert!(verdict.faults[0].in_world_at_end);
    assert_eq!(verdict.faults[0].experiment_ended_at, Some(cloud(LENGTH as f64)));
    assert_eq!(verdict.faults[0].fail_back, None);
    let outcomes: Vec<Outcome> = verdict.objectives.iter().map(|objective| objective.outcome).collect();
    assert_eq!(
        outcomes,
        [Outcome::Inconclusive, Outcome::Met],
        "{:?}",
        verdict.objectives
    );
    assert!(verdict.objectives[0].why.contains("not reverted"));
}

#[test]
fn a_revert_that_failed_once_began_with_the_try_that_succeeded() {
    let mut fixture = nobody_leaves(Measure::Shift, limit(150));
    let fault = crate::event::FaultId {
        experiment: "test".to_owned(),
        index: 0,
    };
    fixture.event(INJECTED + 5.0, Event::FaultRevertStarted { fault });
    let found = judge(&fixture.plan, &fixture.recording).faults.remove(0);
    assert_eq!(found.reverted_at, Some(cloud(INJECTED + 15.0)));
    assert!(!found.in_world_at_end);
}

#[test]
fn stale_share_counts_after_detection_plus_ttl() {
    let fixture = |share: fn(u64) -> f64, detected: bool| {
        let mut fixture = blackout(Measure::StaleShare, Limit::Share(0.01), dead_region);
        fixture.routes(share);
        if detected {
            fixture.unhealthy(23.0);
        }
        fixture
    };
    assert_eq!(
        fixture(|second| if second < 25 { 1.0 } else { 0.0 }, true)
            .first()
            .outcome,
        Outcome::Met
    );
    assert_eq!(
        fixture(|second| if second < 25 { 1.0 } else { 0.05 }, true)
            .first()
            .outcome,
        Outcome::Missed
    );
    assert_eq!(fixture(|_| 1.0, false).first().outcome, Outcome::Missed);
    let mut few = fixture(|_| 0.0, true);
    few.plan.honesty.requests_min = 1_000_000;
    assert_eq!(few.first().outcome, Outcome::Inconclusive);
}

#[test]
fn fail_back_waits_for_the_former_share() {
    let fixture = |share: fn(u64) -> f64| {
        let mut fixture = blackout(Measure::FailBack, limit(300), dead_region);
        fixture.routes(share);
        fixture
    };
    let met = fixture(|second| if (25..40).contains(&second) { 0.0 } else { 1.0 }).first();
    assert_eq!((met.outcome, seconds(met.measured)), (Outcome::Met, 150.0));
    assert_eq!(
        fixture(|second| if second >= 25 { 0.0 } else { 1.0 }).first().outcome,
        Outcome::Missed
    );
    assert_eq!(fixture(|_| 0.0).first().outcome, Outcome::Inconclusive);
}

fn scaling(cpu: f64) -> Fixture {
    busy_until(16.0, cpu)
}

#[test]
fn scale_out_runs_from_breach_to_first_served() {
    let mut met = scaling(80.0);
    met.launch(15.0, 18.0, "i-a");
    met.launch(15.1, 18.5, "i-b");
    met.serves("i-a", 18);
    met.serves("i-b", 20);
    let verdict = met.first();
    assert_eq!(
        (verdict.outcome, seconds(verdict.measured)),
        (Outcome::Met, 300.0),
        "{verdict:?}"
    );
    let found = judge(&met.plan, &met.recording).scale_outs;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].instances, ["i-a", "i-b"]);
    assert_eq!(found[0].breach, Some(cloud(10.0)));
    assert_eq!(found[0].in_service, Some(cloud(18.5)));
    met.serves("i-b", 30);
    let mut slow = scaling(80.0);
    slow.launch(15.0, 18.0, "i-a");
    slow.serves("i-a", 40);
    assert_eq!(slow.first().outcome, Outcome::Missed);
    let mut unserved = scaling(80.0);
    unserved.launch(15.0, 18.0, "i-a");
    assert_eq!(unserved.first().outcome, Outcome::Missed);
}

/// The stages a report shows, in cloud seconds, and what they add up to.
fn stages(of: &super::ScaleOut) -> (Vec<f64>, f64) {
    let stages = [of.breach, of.alarm, Some(of.activity), of.in_service, of.first_served];
    let at: Vec<f64> = stages.iter().flatten().map(Duration::as_secs_f64).collect();
    let sum = at.windows(2).map(|pair| pair[1] - pair[0]).sum();
    (at, sum)
}

/// A launch for which the alarm of the group's target tracking is given as the cause.
fn launch_by_alarm(scaling: &mut Fixture, at: f64, ended: f64, id: &str, desired: u32) {
    let cause = format!("a monitor alarm TargetTracking-shop-web-AlarmHigh-1 in state ALARM to {desired}. ");
    scaling.launch_for(at, ended, id, &cause);
}

#[test]
fn the_stages_of_every_scale_out_are_in_order_and_add_up_to_its_total() {
    let mut scaling = scaling(80.0);
    scaling.cpu(16.0, 34.0, 80.0);
    let mut scaling =
        scaling.without_events(|event| matches!(event, Event::CpuMeasured { percent, .. } if *percent == 40.0));
    scaling.alarm(14.0, "ALARM");
    launch_by_alarm(&mut scaling, 15.0, 18.0, "i-a", 4);
    scaling.serves("i-a", 18);
    // Still too much: the alarm stays in ALARM, and the second wave serves before its activity ends.
    launch_by_alarm(&mut scaling, 24.0, 28.6, "i-b", 5);
    scaling.serves("i-b", 27);
    let found = judge(&scaling.plan, &scaling.recording).scale_outs;
    assert_eq!(found.len(), 2);
    for scale_out in &found {
        let (at, sum) = stages(scale_out);
        assert!(at.is_sorted(), "{scale_out:?}");
        let total = scale_out.total.expect("it was complete").as_secs_f64();
        assert!((sum - total).abs() < 1e-6, "{sum} is not {total}");
    }
    assert_eq!((found[0].alarm, found[0].in_alarm_since), (Some(cloud(14.0)), None));
    assert_eq!((found[1].alarm, found[1].in_alarm_since), (None, Some(cloud(14.0))));
    assert!(found[1].breach > found[0].in_service);
}

/// The group grows again in the moment in which the instance before came into service, for a minute that ended earlier.
#[test]
fn a_scale_out_is_not_laid_to_the_breach_that_an_earlier_one_answered() {
    let mut scaling = scaling(80.0);
    scaling.cpu(16.0, 18.0, 80.0);
    let mut scaling =
        scaling.without_events(|event| matches!(event, Event::CpuMeasured { percent, .. } if *percent == 40.0));
    scaling.alarm(14.0, "ALARM");
    for (at, ended, id, desired) in [(15.0, 18.5, "i-a", 4), (18.5, 20.0, "i-b", 5)] {
        launch_by_alarm(&mut scaling, at, ended, id, desired);
        scaling.serves(id, ended as u64);
    }
    let found = judge(&scaling.plan, &scaling.recording).scale_outs;
    let (first, second) = (found[0].activity, found[1].breach.expect("it was seen"));
    assert!(second > first && second <= found[1].activity, "{found:?}");
}

#[test]
fn a_scale_out_whose_instances_were_killed_is_kept_and_not_judged() {
    let mut scaling = scaling(80.0);
    scaling.launch(15.0, 18.0, "i-1x");
    for stamped in &mut scaling.recording.events {
        if let Event::FaultStarted { resources, .. } = &mut stamped.event {
            resources.push("i-1x".to_owned());
        }
    }
    let verdict = judge(&scaling.plan, &scaling.recording);
    assert_eq!(verdict.objectives[0].outcome, Outcome::Inconclusive);
    assert!(
        verdict.objectives[0].why.contains("killed by a fault"),
        "{:?}",
        verdict.objectives
    );
    assert_eq!((verdict.scale_outs.len(), verdict.scale_outs[0].killed), (1, 1));
    // One that had served before it was killed counts like any other.
    scaling.serves("i-1x", 18);
    let verdict = judge(&scaling.plan, &scaling.recording);
    assert_eq!(
        (verdict.scale_outs[0].killed, verdict.objectives[0].outcome),
        (0, Outcome::Met)
    );
}

#[test]
fn a_group_that_does_not_or_cannot_grow_is_missed_and_a_calm_one_proves_nothing() {
    let mut ignored = scaling(80.0);
    ignored.cpu(16.5, 40.0, 90.0);
    let ignored =
        ignored.without_events(|event| matches!(event, Event::CpuMeasured { percent, .. } if *percent < 60.0));
    assert_eq!(ignored.first().outcome, Outcome::Missed);
    let calm = scaling(50.0).first();
    assert_eq!(calm.outcome, Outcome::Inconclusive, "{calm:?}");
}

#[test]
fn a_run_cut_short_keeps_what_was_too_long_and_loses_what_was_not_over() {
    let objectives = vec![
        objective("errors", Measure::Errors, None, Limit::Share(0.001), steady()),
        objective("throughput", Measure::Throughput, None, Limit::Rate(1000.0), steady()),
        recovery(3600).remove(0),
        recovery(120).remove(0),
    ];
    let mut fixture = failover(objectives, down_for_good).cut(30.0, Ended::Stopped);
    fixture.event(
        30.0,
        Event::StopConditionMet {
            condition: "errors > 90% for 3m".to_owned(),
            experiment: "test".to_owned(),
        },
    );
    let verdict = judge(&fixture.plan, &fixture.recording);
    let outcomes: Vec<Outcome> = verdict.objectives.iter().map(|objective| objective.outcome).collect();
    assert_eq!(
        outcomes,
        [
            Outcome::Inconclusive,
            Outcome::Inconclusive,
            Outcome::Inconclusive,
            Outcome::Missed
        ]
    );
    assert!(verdict.sentence.contains("errors > 90% for 3m"), "{}", verdict.sentence);
}

#[test]
fn a_run_whose_claim_was_taken_off_says_so() {
    let mut fixture = failover(recovery(120), down_for_good).cut(30.0, Ended::Stopped);
    let reason = "somebody has taken this run's claim".to_owned();
    fixture.event(30.0, Event::ClaimLost { reason });
    let sentence = judge(&fixture.plan, &fixture.recording).sentence;
    let told = "Stopped and reverted, for somebody has taken this run's claim. ";
    assert!(sentence.starts_with(told), "{sentence}");
}

#[test]
fn a_share_of_a_window_that_the_end_of_the_run_cut_is_inconclusive() {
    let errors = |scope| objective("errors", Measure::Errors, None, Limit::Share(0.001), scope);
    for ended in [Ended::Stopped, Ended::Interrupted] {
        let fixture = failover(vec![errors(under_test())], down_for_three_seconds);
        let verdict = fixture.cut(22.5, ended).first();
        assert_eq!(verdict.outcome, Outcome::Inconclusive, "{verdict:?}");
        assert!(
            verdict
                .why
                .ends_with("requests failed, but the run ended before this was over"),
            "{}",
            verdict.why
        );
        // The experiment was over at 50 s, so was every fault of the run.
        for scope in [under_test(), Scope::During(Phase::Fault)] {
            let whole = failover(vec![errors(scope)], down_for_three_seconds).cut(52.0, ended);
            assert_eq!(whole.first().outcome, Outcome::Missed);
        }
    }
}

#[test]
fn the_slowest_request_of_a_run_cut_short_was_too_slow_whatever_would_have_come() {
    let mut of = objective(
        "latency max",
        Measure::Latency,
        None,
        Limit::Duration(Duration::from_millis(5)),
        under_test(),
    );
    of.statistic = Some(Statistic::Max);
    let fixture = failover(vec![of], well).cut(30.0, Ended::Stopped);
    assert_eq!(fixture.first().outcome, Outcome::Missed);
}

#[test]
fn the_run_is_as_bad_as_its_worst_objective() {
    let errors = |limit| objective("errors", Measure::Errors, None, Limit::Share(limit), under_test());
    let unknown = objective(
        "lost",
        Measure::LostWrites,
        Some("orders"),
        Limit::Count(0),
        under_test(),
    );
    let cases = [
        (vec![errors(0.5)], Outcome::Met),
        (vec![errors(0.5), unknown.clone()], Outcome::Inconclusive),
        (vec![errors(0.0001), unknown], Outcome::Missed),
        (vec![], Outcome::Inconclusive),
    ];
    for (objectives, outcome) in cases {
        let fixture = failover(objectives, down_for_three_seconds);
        assert_eq!(judge(&fixture.plan, &fixture.recording).outcome, outcome);
    }
}

fn any_measure() -> impl Strategy<Value = Measure> {
    prop::sample::select(vec![
        Measure::Latency,
        Measure::ServiceTime,
        Measure::Errors,
        Measure::Throughput,
        Measure::Outage,
        Measure::Recovery,
        Measure::LostWrites,
        Measure::Redundancy,
        Measure::ScaleOut,
        Measure::SelfHeal,
        Measure::LateErrors,
        Measure::Shift,
        Measure::FailBack,
        Measure::StaleShare,
        Measure::Share,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_recording_makes_the_judge_panic(
        kind in 0usize..3,
        measures in prop::collection::vec((any_measure(), 0usize..5, 0usize..3), 1..6),
        kept in prop::collection::vec(any::<bool>(), 64),
        times in prop::collection::vec(0.0f64..1e9, 16),
        slices in 0usize..60,
        pulses in 0usize..3,
        huge in any::<u64>(),
        limit in 0u64..400,
    ) {
        let (fault, role) = [
            (Fault::RdsFailover, "database"),
            (Fault::NetworkDenyRegion, "dns"),
            (Fault::Ec2Terminate { share: 0.3 }, "web"),
        ][kind].clone();
        let subjects = [None, Some("order"), Some("dns"), Some("region=us-east-1"), Some("")];
        let scopes = [Scope::Run, steady(), under_test()];
        let objectives = measures
            .into_iter()
            .map(|(measure, subject, scope)| {
                let limit = Limit::Duration(Duration::from_secs(limit));
                objective("x", measure, subjects[subject], limit, scopes[scope].clone())
            })
            .collect();
        let mut fixture = Fixture::new(fault, role, objectives, down_for_three_seconds);
        fixture.poll(21.0, u32::MAX, &[], &["i-1"]);
        fixture.poll(22.0, 0, &["i-2"], &[]);
        fixture.database(22.0, "available", "", None, true);
        fixture.unhealthy(22.0);
        fixture.dns(22.0, "127.11.0.5");
        fixture.cpu(1.0, 50.0, f64::from(huge as u32));
        fixture.launch(times[0], times[1], "i-");
        let mut keep = kept.iter().cycle();
        fixture.recording.events.retain(|_| *keep.next().unwrap_or(&true));
        for (stamped, at) in fixture.recording.events.iter_mut().zip(times.iter().cycle()) {
            if *at > 5e8 {
                stamped.at = Duration::from_secs_f64(*at);
            }
        }
        fixture.recording.slices.truncate(slices);
        fixture.recording.pulses.truncate(pulses);
        for slice in &mut fixture.recording.slices {
            slice.dropped = huge % 1000;
            slice.generator.cpu_busiest_shard = if huge % 2 == 0 { f64::NAN } else { 0.1 };
        }
        fixture.recording.duration = Duration::from_secs_f64(times[2]);
        let verdict = judge(&fixture.plan, &fixture.recording);
        prop_assert_eq!(verdict.objectives.len(), fixture.plan.objectives.len());
        let report = crate::report::Report::new(&fixture.plan, &fixture.recording, verdict);
        prop_assert!(!crate::report::json(&report).is_empty());
        prop_assert!(!crate::report::terminal(&report, true).is_empty());
    }
}

/// Probes sent straight to the dead Region each 100 ms, failing from `silent` to `answered`.
fn directly_probed(silent: f64, answered: f64) -> Fixture {
    let mut fixture = blackout(Measure::Shift, limit(150), well);
    for index in 0..LENGTH * 10 {
        let started = index as f64 * 0.1;
        let failed = started > silent && started < answered;
        fixture.recording.probes.push(ProbeSample {
            step: 0,
            started: secs(started),
            finished: secs(started + if failed { 0.2 } else { 0.001 }),
            failure: failed.then_some(FailureKind::ConnectTimeout),
            sent_to: EAST.to_owned(),
            direct: true,
        });
    }
    fixture
}

#[test]
fn a_regions_silence_is_told_by_the_probes_that_ask_it_directly() {
    let fixture = directly_probed(INJECTED + 0.03, INJECTED + 10.02);
    let fault = &judge(&fixture.plan, &fixture.recording).faults[0];
    let near = |measured: Option<Duration>, real: f64| {
        let measured = measured.expect("it was measured").as_secs_f64() / PACE;
        assert!((measured - real).abs() <= 0.1, "{measured} is not {real}");
    };
    near(fault.region_silent, 0.03);
    near(fault.region_answered, 10.02);
    assert_eq!(fault.failed, 0, "what the Region did is not what users felt");
}

#[test]
fn a_region_that_never_answers_again_has_no_answer() {
    let fixture = directly_probed(INJECTED + 0.03, f64::INFINITY);
    let fault = &judge(&fixture.plan, &fixture.recording).faults[0];
    assert!(fault.region_silent.is_some());
    assert_eq!(fault.region_answered, None);
}

#[test]
fn without_direct_probes_a_regions_silence_is_not_guessed() {
    let fixture = blackout(Measure::Shift, limit(150), well);
    let fault = &judge(&fixture.plan, &fixture.recording).faults[0];
    assert_eq!((fault.region_silent, fault.region_answered), (None, None));
}
