//! What is missed only because the generator stood still is inconclusive; what is missed beside it stays missed.

use super::fixture::{Fate, Fixture, secs, well};
use super::{Outcome, judge};
use crate::judge::fixture::{objective, steady, under_test};
use crate::plan::{Comparison, Fault, Limit, Measure};
use crate::recording::{FailureKind, Hist};

/// Outside the experiment, which lasts from second 20 to 50.
const STOOD_STILL: u64 = 10;

fn timed_out_at(start: f64, second: u64) -> (f64, Option<FailureKind>) {
    let failed = start >= second as f64 && start < second as f64 + 0.3;
    (start + 0.01, failed.then_some(FailureKind::Timeout))
}

fn in_the_standstill(_: usize, start: f64) -> (f64, Option<FailureKind>) {
    timed_out_at(start, STOOD_STILL)
}

fn in_another_second(_: usize, start: f64) -> (f64, Option<FailureKind>) {
    timed_out_at(start, STOOD_STILL + 4)
}

/// The fault is felt for a second, and a standstill nine seconds later looks as if it still were.
fn felt_and_in_a_standstill(_: usize, start: f64) -> (f64, Option<FailureKind>) {
    let failed = (20.0..21.0).contains(&start) || (30.0..30.3).contains(&start);
    (start + 0.01, failed.then_some(FailureKind::Timeout))
}

fn run(fate: Fate, stood_still: &[u64]) -> Fixture {
    let mut outage = objective(
        "outage <= 60s",
        Measure::Outage,
        None,
        Limit::Duration(secs(60.0)),
        under_test(),
    );
    outage.comparison = Comparison::LessOrEqual;
    let errors = objective(
        "errors < 0.1% during steady",
        Measure::Errors,
        None,
        Limit::Share(0.001),
        steady(),
    );
    let mut fixture = Fixture::new(Fault::NetworkDenyRegion, "dns", vec![errors, outage], fate);
    let mut lag = Hist::working();
    lag.record_n(500, 98).expect("within bounds");
    lag.record_n(109_000, 2).expect("within bounds");
    for slice in &mut fixture.recording.slices {
        if stood_still.contains(&slice.second) {
            slice.steps.iter_mut().for_each(|step| step.lag = Hist::encode(&lag));
        }
    }
    fixture
}

#[test]
fn standstill_alone_accuses_nobody_and_another_second_still_does() {
    let cases: [(Fate, &[u64], Outcome); 5] = [
        (well, &[STOOD_STILL], Outcome::Met),
        (in_the_standstill, &[], Outcome::Missed),
        (in_the_standstill, &[STOOD_STILL], Outcome::Inconclusive),
        // What was in flight as it began is in the second before.
        (in_the_standstill, &[STOOD_STILL + 1], Outcome::Inconclusive),
        (in_another_second, &[STOOD_STILL], Outcome::Missed),
    ];
    for (case, (fate, stood_still, outcome)) in cases.into_iter().enumerate() {
        let fixture = run(fate, stood_still);
        let verdict = judge(&fixture.plan, &fixture.recording);
        assert_eq!(
            verdict.objectives[0].outcome, outcome,
            "{case}: {:?}",
            verdict.objectives[0]
        );
        assert_eq!(
            (verdict.honesty.stood_still, verdict.honesty.spoiled),
            (stood_still.len(), None)
        );
    }
    let fixture = run(in_the_standstill, &[STOOD_STILL]);
    let why = fixture.first().why;
    let told = "but not without the second in which the generator stood still (for up to 109ms)";
    assert!(why.starts_with("30 of ") && why.ends_with(told), "{why}");
}

#[test]
fn standstill_under_a_fault_does_not_lengthen_its_outage() {
    let outcome = |stood_still: &[u64]| {
        let fixture = run(felt_and_in_a_standstill, stood_still);
        judge(&fixture.plan, &fixture.recording).objectives.remove(1)
    };
    assert_eq!(outcome(&[]).outcome, Outcome::Missed, "{:?}", outcome(&[]));
    assert_eq!(outcome(&[30]).outcome, Outcome::Inconclusive, "{:?}", outcome(&[30]));
    assert_eq!(outcome(&[25]).outcome, Outcome::Missed, "{:?}", outcome(&[25]));
}
