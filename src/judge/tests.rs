//! Every measure, met, missed and inconclusive, on synthetic recordings.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::fixture::*;
use super::{Outcome, Value, judge};
use crate::config::objective::{Limit, Measure, Objective, Scope};
use crate::event::Event;
use crate::plan::Fault;
use crate::recording::{Ended, FailureKind, GeneratorSlice, Hist, LedgerResult, LostWrite, ProbeSample};

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
        (found.outage.expect("felt").as_secs_f64() / PACE - 2.985).abs() < 0.021,
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
fn a_lasting_outage_is_missed_and_no_outage_is_a_recovery_of_zero() {
    let lasting = failover(recovery(120), down_for_good).first();
    assert_eq!((lasting.outcome, lasting.at_least), (Outcome::Missed, true));
    let unfelt = failover(recovery(120), well).first();
    assert_eq!(unfelt.outcome, Outcome::Met);
    assert_eq!(seconds(unfelt.measured), 0.0);
    assert!(unfelt.why.contains("no user felt it"), "{}", unfelt.why);
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
fn redundancy_needs_a_failover_and_a_standby() {
    let fixture = || {
        let objectives = vec![objective(
            "redundancy",
            Measure::Redundancy,
            Some("database"),
            limit(600),
            under_test(),
        )];
        let mut fixture = failover(objectives, well);
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
fn a_fault_that_ended_before_the_limit_leaves_the_shift_open() {
    // It lasts 450 s of cloud time: enough to miss 150 s, too little to tell about 600 s.
    for (seconds, outcome) in [(150, Outcome::Missed), (600, Outcome::Inconclusive)] {
        let mut stays = blackout(Measure::Shift, limit(seconds), dead_region);
        stays.routes(|_| 1.0);
        let verdict = stays.first();
        assert_eq!(verdict.outcome, outcome, "{verdict:?}");
    }
}

#[test]
fn a_fault_nobody_saw_leave_is_in_the_world_to_the_end() {
    let mut fixture = blackout(Measure::FailBack, limit(300), dead_region);
    fixture.routes(|_| 1.0);
    let seen = judge(&fixture.plan, &fixture.recording);
    assert!(seen.faults[0].reverted_at.is_some());
    let stuck = fixture.without_events(|event| matches!(event, Event::FaultReverted { .. }));
    let verdict = judge(&stuck.plan, &stuck.recording);
    assert_eq!(verdict.faults[0].reverted_at, None);
    assert_eq!(
        verdict.objectives[0].outcome,
        Outcome::Inconclusive,
        "{:?}",
        verdict.objectives
    );
}

#[test]
fn what_was_not_read_back_is_not_known_to_be_there() {
    let fixture = |ledgers, ended| {
        let objectives = vec![objective(
            "lost",
            Measure::LostWrites,
            Some("orders"),
            Limit::Count(0),
            under_test(),
        )];
        let mut fixture = failover(objectives, well);
        (fixture.recording.ledgers, fixture.recording.ended) = (ledgers, ended);
        judge(&fixture.plan, &fixture.recording)
    };
    assert_eq!(
        fixture(ledger(&[], 100, 0), Ended::Finished).faults[0].lost_writes,
        Some(0)
    );
    assert_eq!(
        fixture(ledger(&[21.0], 100, 5), Ended::Finished).faults[0].lost_writes,
        Some(1)
    );
    let unread = fixture(ledger(&[], 100, 100), Ended::Interrupted);
    assert_eq!(unread.faults[0].lost_writes, None);
    assert!(
        unread.objectives[0].why.contains("the run was interrupted"),
        "{:?}",
        unread.objectives
    );
}

#[test]
fn a_share_of_half_a_fault_window_is_not_that_of_the_whole() {
    let objectives = || {
        vec![objective(
            "errors",
            Measure::Errors,
            None,
            Limit::Share(0.2),
            under_test(),
        )]
    };
    let mut whole = failover(objectives(), down_for_good);
    assert_eq!(whole.first().outcome, Outcome::Missed);
    whole.recording.ended = Ended::Interrupted;
    whole.recording.duration = secs(30.0);
    whole.recording.slices.truncate(30);
    let verdict = whole.first();
    assert_eq!(verdict.outcome, Outcome::Inconclusive, "{verdict:?}");
    assert!(verdict.why.contains("the run ended before"), "{verdict:?}");
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
    let objectives = vec![objective(
        "scale_out(web)",
        Measure::ScaleOut,
        Some("web"),
        limit(360),
        Scope::Run,
    )];
    let mut fixture = Fixture::new(Fault::Ec2Terminate { share: 0.34 }, "web", objectives, well);
    fixture.cpu(2.0, 8.0, 30.0);
    fixture.cpu(10.0, 16.0, cpu);
    fixture.cpu(18.0, 58.0, 40.0);
    fixture
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
fn a_run_cut_short_keeps_its_misses_and_loses_its_passes() {
    let objectives = vec![
        objective("errors", Measure::Errors, None, Limit::Share(0.001), steady()),
        objective("throughput", Measure::Throughput, None, Limit::Rate(1000.0), steady()),
        recovery(3600).remove(0),
    ];
    let mut fixture = failover(objectives, down_for_good);
    fixture.recording.ended = Ended::Stopped;
    fixture.recording.duration = secs(30.0);
    fixture.recording.slices.truncate(30);
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
        [Outcome::Inconclusive, Outcome::Missed, Outcome::Inconclusive]
    );
    assert!(verdict.sentence.contains("errors > 90% for 3m"), "{}", verdict.sentence);
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
