//! What is judged of a run that was steered: which seconds count, and what an experiment still proves.

use std::time::Duration;

use super::fixture::{Fixture, cloud, objective, steady, under_test, well};
use super::steered::Steered;
use super::{Outcome, Value, judge};
use crate::config::objective::{Limit, Measure, Phase, Scope};
use crate::event::Event;
use crate::judge::Timeline;
use crate::plan::{Fault, LoadPlan, Objective, StagePlan};
use crate::recording::{Ended, FailureKind, LedgerResult, LostWrite};

const SCALED: Event = Event::LoadScaled { times: 2.0 };
const UNSCALED: Event = Event::LoadScaled { times: 1.0 };

fn fixture(objectives: Vec<Objective>, events: &[(f64, Event)]) -> Fixture {
    let mut fixture = Fixture::new(Fault::RdsFailover, "database", objectives, well);
    for (at, event) in events {
        fixture.event(*at, event.clone());
    }
    fixture
}

/// The phase of each second of the run's first 20: five of ramp, then the hold.
fn phases(events: &[(f64, Event)]) -> String {
    let fixture = fixture(Vec::new(), events);
    let mut timeline = Timeline::new(&fixture.plan, &fixture.recording);
    timeline.settle_phases(&[]);
    let letter = |phase: &Option<Phase>| match phase {
        Some(Phase::Ramp) => 'r',
        Some(Phase::Steady) => 's',
        Some(Phase::Fault | Phase::Recovery) => 'f',
        None => '-',
    };
    timeline.phases.iter().take(20).map(letter).collect()
}

#[test]
fn phases_follow_the_steered_schedule() {
    let cases: [(&[(f64, Event)], &str); 8] = [
        (&[], "rrrrrsssssssssssssss"),
        (
            &[(3.0, Event::ScheduleHeld), (8.0, Event::Resumed)],
            "rrrrrrrrrrssssssssss",
        ),
        (
            &[(8.0, Event::ScheduleHeld), (12.0, Event::Resumed)],
            "rrrrrsssssssssssssss",
        ),
        (
            &[(7.0, Event::LoadPaused), (9.5, Event::Resumed)],
            "rrrrrsssssssssssssss",
        ),
        (&[(7.5, SCALED), (9.0, UNSCALED)], "rrrrrss----sssssssss"),
        (&[(7.5, SCALED)], "rrrrrss-------------"),
        (
            &[(2.5, Event::LoadScaled { times: 0.5 }), (4.0, UNSCALED)],
            "rr---sssssssssssssss",
        ),
        (&[(7.0, Event::Marked { text: "x".to_owned() })], "rrrrrsssssssssssssss"),
    ];
    for (events, expected) in cases {
        assert_eq!(phases(events), expected, "{events:?}");
    }
}

#[test]
fn the_second_of_a_skip_is_no_hold_and_the_schedule_ends_earlier() {
    let mut fixture = fixture(Vec::new(), &[(7.5, Event::Skipped { stage: 1 })]);
    let mut second = fixture.plan.stages[0].clone();
    fixture.plan.stages[0].ends_at = cloud(30.0);
    (second.starts_at, second.holds_at) = (cloud(30.0), cloud(30.0));
    fixture.plan.stages.push(second);
    let steered = Steered::new(&fixture.plan, &fixture.recording);
    let steady = |second| steered.steady(&fixture.plan, second);
    assert!(steady(6) && !steady(7) && steady(8));
    // 60 seconds of schedule, of which 22.5 were left out; nothing is held any more after that.
    assert!((steered.end(&fixture.plan) - 37.5).abs() < 1e-3);
    assert!(!steady(37));
    fixture.event(10.0, Event::ScheduleHeld);
    let held = Steered::new(&fixture.plan, &fixture.recording);
    assert_eq!(held.end(&fixture.plan), f64::INFINITY);
}

#[test]
fn a_second_in_which_one_hold_follows_another_is_steady_and_one_with_a_ramp_is_not() {
    let mut fixture = fixture(Vec::new(), &[]);
    let mut second = fixture.plan.stages[0].clone();
    fixture.plan.stages[0].ends_at = cloud(7.5);
    (second.starts_at, second.holds_at) = (cloud(7.5), cloud(7.5));
    fixture.plan.stages.push(second);
    let steady = |fixture: &Fixture| {
        let steered = Steered::new(&fixture.plan, &fixture.recording);
        (4..10)
            .map(|second| steered.steady(&fixture.plan, second))
            .collect::<Vec<_>>()
    };
    assert_eq!(steady(&fixture), [false, true, true, true, true, true]);
    fixture.plan.stages[1].holds_at = cloud(8.0);
    assert_eq!(steady(&fixture), [false, true, true, false, true, true]);
    fixture.event(7.6, Event::ScheduleHeld);
    assert_eq!(
        steady(&fixture),
        [false, true, true, false, false, false],
        "a ramp that is held"
    );
}

#[test]
fn an_interrupted_run_is_cut_by_its_steered_schedule() {
    let errors = || vec![objective("errors", Measure::Errors, None, Limit::Share(0.01), steady())];
    for (events, outcome) in [
        (&[][..], Outcome::Met),
        (
            &[(8.0, Event::ScheduleHeld), (9.0, Event::Resumed)][..],
            Outcome::Inconclusive,
        ),
    ] {
        let mut fixture = fixture(errors(), events);
        fixture.recording.ended = Ended::Interrupted;
        assert_eq!(fixture.first().outcome, outcome, "{events:?}");
    }
}

#[test]
fn a_pause_dilutes_no_throughput_and_hides_no_failure() {
    let throughput = |limit| objective("throughput", Measure::Throughput, None, Limit::Rate(limit), steady());
    let mut paused = fixture(
        vec![throughput(95.0)],
        &[(8.0, Event::LoadPaused), (12.0, Event::Resumed)],
    );
    for slice in &mut paused.recording.slices[8..12] {
        slice.steps.iter_mut().for_each(|step| *step = Default::default());
    }
    assert_eq!(paused.first().outcome, Outcome::Met, "{:?}", paused.first());
    let unsaid = Fixture {
        plan: paused.plan.clone(),
        recording: paused.recording.clone(),
    };
    let unsaid = unsaid.without_events(|event| matches!(event, Event::LoadPaused | Event::Resumed));
    assert_eq!(unsaid.first().outcome, Outcome::Missed, "{:?}", unsaid.first());

    // What was under way when the target hung ends in the pause.
    paused.plan.objectives = vec![objective(
        "errors",
        Measure::Errors,
        None,
        Limit::Share(0.001),
        steady(),
    )];
    paused.recording.slices[9].steps[0]
        .failed
        .insert(FailureKind::Timeout, 40);
    assert_eq!(paused.first().outcome, Outcome::Missed, "{:?}", paused.first());
}

/// What an objective on throughput measured, per second.
fn rate(fixture: &Fixture) -> f64 {
    match fixture.first().measured {
        Some(Value::Rate(rate)) => rate,
        other => panic!("{other:?}"),
    }
}

#[test]
fn throughput_is_over_the_time_for_which_the_schedule_asked() {
    let throughput = |subject, scope| {
        vec![objective(
            "throughput",
            Measure::Throughput,
            subject,
            Limit::Rate(1.0),
            scope,
        )]
    };
    let ok = |fixture: &Fixture| -> f64 {
        let steps = fixture.recording.slices.iter().flat_map(|slice| &slice.steps);
        steps.map(|step| step.ok as f64).sum()
    };
    // Answers that come when nobody is asked any more, and a last second that is none.
    let mut drained = fixture(throughput(None, Scope::Run), &[]);
    drained.plan.stages[0].ends_at = cloud(50.5);
    let expected = ok(&drained) / 50.5;
    assert!((rate(&drained) - expected).abs() < 0.01, "{:?}", drained.first());
    // A run that was cut short.
    let mut cut = fixture(throughput(None, Scope::Run), &[]);
    cut.recording.slices.truncate(2);
    cut.recording.duration = Duration::from_millis(1_300);
    let expected = ok(&cut) / 1.3;
    assert!((rate(&cut) - expected).abs() < 0.01, "{:?}", cut.first());
    // A load that was only there for a while, beside or after another.
    for (from, to) in [(0.0, 20.0), (20.0, 60.0), (15.0, 45.5)] {
        let mut several = fixture(throughput(Some("order"), Scope::Run), &[]);
        let load = |name: &str, journey, from, to| LoadPlan {
            name: name.to_owned(),
            journeys: vec![journey],
            model: several.plan.model,
            spacing: several.plan.spacing,
            stages: vec![StagePlan {
                starts_at: cloud(from),
                holds_at: cloud(from),
                ends_at: cloud(to),
                ..several.plan.stages[0].clone()
            }],
            iterations: None,
        };
        several.plan.loads = vec![load("a", 0, 0.0, 60.0), load("b", 1, from, to)];
        for slice in &mut several.recording.slices {
            slice.steps[1].ok = if (from..to).contains(&(slice.second as f64)) {
                30
            } else {
                0
            };
        }
        let seconds = to.ceil() - from;
        let expected = 30.0 * seconds / (to - from);
        assert!((rate(&several) - expected).abs() < 0.01, "{:?}", several.first());
    }
    // None of it was asked for.
    let mut nothing = fixture(throughput(None, Scope::Run), &[]);
    nothing.plan.stages[0].ends_at = Duration::ZERO;
    assert_eq!(nothing.first().outcome, Outcome::Inconclusive, "{:?}", nothing.first());
}

#[test]
fn scaled_seconds_count_nowhere() {
    for scope in [steady(), Scope::Run] {
        let errors = objective("errors", Measure::Errors, None, Limit::Share(0.001), scope);
        let mut fixture = fixture(vec![errors], &[(8.0, SCALED), (10.0, UNSCALED)]);
        fixture.recording.slices[9].steps[0]
            .failed
            .insert(FailureKind::Status5xx, 400);
        assert_eq!(fixture.first().outcome, Outcome::Met, "{:?}", fixture.first());
        let fixture = fixture.without_events(|event| matches!(event, Event::LoadScaled { .. }));
        assert_eq!(fixture.first().outcome, Outcome::Missed, "{:?}", fixture.first());
    }
}

#[test]
fn an_experiment_that_was_paused_or_scaled_proves_nothing() {
    let outage = || {
        let limit = Limit::Duration(cloud(1.0));
        vec![objective(
            "outage(order)",
            Measure::Outage,
            Some("order"),
            limit,
            under_test(),
        )]
    };
    let cases: [(&[(f64, Event)], Outcome); 5] = [
        (&[], Outcome::Met),
        (
            &[(22.0, Event::LoadPaused), (24.0, Event::Resumed)],
            Outcome::Inconclusive,
        ),
        (&[(22.0, SCALED), (24.0, UNSCALED)], Outcome::Inconclusive),
        (&[(6.0, SCALED), (10.0, UNSCALED)], Outcome::Met),
        (&[(22.0, Event::ScheduleHeld), (24.0, Event::Resumed)], Outcome::Met),
    ];
    for (events, outcome) in cases {
        let verdict = fixture(outage(), events).first();
        assert_eq!(verdict.outcome, outcome, "{events:?}: {verdict:?}");
        if outcome == Outcome::Inconclusive {
            assert!(verdict.why.contains("paused or scaled in"), "{verdict:?}");
        }
    }
}

#[test]
fn a_write_that_was_lost_stays_lost() {
    let lost = objective(
        "lost_writes(orders) == 0",
        Measure::LostWrites,
        Some("orders"),
        Limit::Count(0),
        under_test(),
    );
    let mut fixture = fixture(vec![lost], &[(22.0, SCALED), (24.0, UNSCALED)]);
    let write = LostWrite {
        id: "1".to_owned(),
        acknowledged: std::time::Duration::from_secs(21),
        region: super::fixture::EAST.to_owned(),
    };
    let ledger = LedgerResult {
        acknowledged: [(super::fixture::EAST.to_owned(), 500)].into(),
        found: 499,
        lost: vec![write],
        ..LedgerResult::default()
    };
    fixture.recording.ledgers.insert("orders".to_owned(), ledger);
    assert_eq!(fixture.first().outcome, Outcome::Missed, "{:?}", fixture.first());
    let ledger = fixture.recording.ledgers.get_mut("orders").unwrap();
    (ledger.found, ledger.lost) = (500, Vec::new());
    assert_eq!(fixture.first().outcome, Outcome::Inconclusive, "{:?}", fixture.first());
}

#[test]
fn the_sentence_says_that_a_run_was_steered() {
    let sentence = |events: &[(f64, Event)]| {
        let fixture = fixture(Vec::new(), events);
        judge(&fixture.plan, &fixture.recording).sentence
    };
    let commands = [(8.0, Event::ScheduleHeld), (9.0, Event::Resumed)];
    assert!(sentence(&commands).ends_with(" The run was steered by 2 commands."));
    let mark = [(8.0, Event::Marked { text: "x".to_owned() })];
    assert_eq!(sentence(&mark), sentence(&[]));
}
