//! What too little was seen of is inconclusive: nobody was there to fail, to leave, to come back, to lose a write.

use std::collections::BTreeMap;

use super::fixture::*;
use super::{ObjectiveVerdict, Outcome, judge};
use crate::config::objective::{Limit, Measure, Objective, Scope};
use crate::event::Event;
use crate::plan::Fault;
use crate::recording::{Ended, FailureKind, LedgerResult, Pulse};

fn limit(seconds: u64) -> Limit {
    Limit::Duration(std::time::Duration::from_secs(seconds))
}

fn of_orders(measure: Measure, seconds: u64) -> Objective {
    objective("of orders", measure, Some("order"), limit(seconds), under_test())
}

fn seconds(verdict: &ObjectiveVerdict) -> f64 {
    match verdict.measured {
        Some(Limit::Duration(duration)) => duration.as_secs_f64(),
        other => panic!("not a duration: {other:?}"),
    }
}

/// Leaves of a step's requests and probes only those that start outside these seconds.
fn silence(fixture: &mut Fixture, step: usize, from: f64, to: f64) {
    let Pulse { cell, cells } = &mut fixture.recording.pulses[step];
    let width = cell.as_secs_f64();
    cells.retain(|index, _| !(from..to).contains(&(f64::from(*index) * width)));
    let probes = &mut fixture.recording.probes;
    probes.retain(|probe| probe.step != step || !(from..to).contains(&probe.started.as_secs_f64()));
}

#[test]
fn nobody_who_came_when_the_fault_was_gone_can_say_that_it_was_not_felt() {
    let blackout = || {
        let objectives = vec![of_orders(Measure::Recovery, 120), of_orders(Measure::Outage, 120)];
        Fixture::new(Fault::NetworkDenyRegion, "dns", objectives, well)
    };
    assert_eq!(outcomes(&blackout()), [Outcome::Met, Outcome::Met]);
    let mut silent = blackout();
    silence(&mut silent, 1, INJECTED, INJECTED + 15.2);
    assert_eq!(outcomes(&silent), [Outcome::Inconclusive, Outcome::Inconclusive]);
    let why = silent.first().why;
    assert_eq!(why, "only 0 requests of order were started under the fault");
}

#[test]
fn one_failure_after_which_nobody_asked_tells_neither_way() {
    let fate: Fate = |step, start| {
        let failed = step == 1 && (INJECTED + 1.0..INJECTED + 1.02).contains(&start);
        (start + 0.01, failed.then_some(FailureKind::Reset))
    };
    let judged = |asked_again: bool, recovery: u64| {
        let objectives = vec![of_orders(Measure::Outage, 60), of_orders(Measure::Recovery, recovery)];
        let mut fixture = Fixture::new(Fault::RdsFailover, "database", objectives, fate);
        // A rare step, without probes: it is asked a few times before the failure, and not after it.
        silence(&mut fixture, 1, INJECTED, INJECTED + 1.0);
        if !asked_again {
            silence(&mut fixture, 1, INJECTED + 1.02, LENGTH as f64);
        }
        judge(&fixture.plan, &fixture.recording).objectives
    };
    let again = judged(true, 60);
    assert_eq!(again[0].outcome, Outcome::Met, "{again:?}");
    let not_again = judged(false, 60);
    for verdict in &not_again {
        assert_eq!(verdict.outcome, Outcome::Inconclusive, "{verdict:?}");
        assert!(verdict.why.starts_with("order was not asked again"), "{}", verdict.why);
    }
    // It surely took until that failure.
    let late = judged(false, 20);
    assert_eq!(late[1].outcome, Outcome::Missed, "{late:?}");
}

fn lost(scope: Scope) -> Objective {
    objective("lost", Measure::LostWrites, Some("orders"), Limit::Count(0), scope)
}

#[test]
fn where_no_write_was_acknowledged_around_an_experiment_none_was_kept() {
    let run = |scope| {
        let mut fixture = Fixture::new(Fault::RdsFailover, "database", vec![lost(scope)], well);
        let ledger = LedgerResult {
            acknowledged: BTreeMap::from([(EAST.to_owned(), 1_000)]),
            found: 1_000,
            ..Default::default()
        };
        fixture.recording.ledgers.insert("orders".to_owned(), ledger);
        fixture
    };
    assert_eq!(run(under_test()).first().outcome, Outcome::Met);
    // The last writes come well before the minute that leads up to the fault, and the next ones when it has settled.
    let mut silent = run(under_test());
    silence(&mut silent, 1, 17.0, 51.0);
    let verdict = silent.first();
    assert_eq!(verdict.outcome, Outcome::Inconclusive, "{verdict:?}");
    assert!(
        verdict.why.starts_with("no write was acknowledged around"),
        "{}",
        verdict.why
    );
    let card = judge(&silent.plan, &silent.recording).faults.remove(0);
    assert_eq!(card.lost_writes, None);
    let mut of_the_run = run(Scope::Run);
    silence(&mut of_the_run, 1, 17.0, 51.0);
    assert_eq!(of_the_run.first().outcome, Outcome::Met);
    // Writes into another ledger are none of this one.
    let mut other = run(under_test());
    other.plan.steps[1].ledger = Some("carts".to_owned());
    assert_eq!(other.first().outcome, Outcome::Inconclusive);
}

fn moved(measure: Measure, seconds: u64) -> Fixture {
    let objectives = vec![objective("x", measure, Some("dns"), limit(seconds), under_test())];
    Fixture::new(Fault::Route53ZeroWeight, "dns", objectives, well)
}

/// Requests to the two Regions in each second.
fn sent(fixture: &mut Fixture, of: impl Fn(u64) -> (u64, u64)) {
    for slice in &mut fixture.recording.slices {
        let (east, west) = of(slice.second);
        slice.sent = BTreeMap::from([(EAST.to_owned(), east), (WEST.to_owned(), west)]);
        slice.sent.retain(|_, count| *count > 0);
    }
}

#[test]
fn one_request_elsewhere_does_not_show_that_users_left() {
    let shift = |limit, of: fn(u64) -> (u64, u64)| {
        let mut fixture = moved(Measure::Shift, limit);
        sent(&mut fixture, of);
        fixture.first()
    };
    // Users leave at 22 s, and are seen elsewhere until the revert at 35 s.
    let many = shift(
        150,
        |second| if (22..36).contains(&second) { (0, 100) } else { (100, 0) },
    );
    assert_eq!(many.outcome, Outcome::Met, "{many:?}");
    let one = |second| match second {
        34 => (0, 1),
        22..35 => (0, 0),
        _ => (100, 0),
    };
    let verdict = shift(150, one);
    assert_eq!(verdict.outcome, Outcome::Inconclusive, "{verdict:?}");
    assert!(
        verdict.why.starts_with("only 1 requests were started"),
        "{}",
        verdict.why
    );
    // They surely stayed until then.
    assert_eq!(shift(30, one).outcome, Outcome::Missed);
    let at_once = shift(150, |second| match second {
        34 => (0, 1),
        20..35 => (0, 0),
        _ => (100, 0),
    });
    assert_eq!(at_once.outcome, Outcome::Inconclusive, "{at_once:?}");
}

/// The same throws of a coin in every run: so many of so many requests go to the first Region, by chance.
fn thrown(second: u64, of: u64, share: f64) -> (u64, u64) {
    let mut state = second.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bd1_e995;
    let mut east = 0;
    for _ in 0..of {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        if (state >> 11) as f64 / (1u64 << 53) as f64 <= share {
            east += 1;
        }
    }
    (east, of - east)
}

fn fail_back(seconds: u64, of: impl Fn(u64) -> (u64, u64)) -> ObjectiveVerdict {
    let mut fixture = moved(Measure::FailBack, seconds);
    sent(&mut fixture, of);
    fixture.first()
}

#[test]
fn an_even_split_is_back_although_no_second_is_quite_even() {
    let split = |away: u64, of: u64, after: f64| {
        move |second: u64| match second {
            24..35 => (0, of),
            _ if (35..away).contains(&second) => (0, of),
            35.. => thrown(second, of, after),
            _ => thrown(second, of, 0.5),
        }
    };
    let back = fail_back(120, split(38, 250, 0.5));
    assert_eq!((back.outcome, seconds(&back)), (Outcome::Met, 90.0), "{back:?}");
    let late = fail_back(60, split(38, 250, 0.5));
    assert_eq!((late.outcome, seconds(&late)), (Outcome::Missed, 90.0), "{late:?}");
    // Nobody comes back, and half of them do.
    for share in [0.0, 0.25] {
        let away = fail_back(120, split(38, 250, share));
        assert_eq!((away.outcome, away.at_least), (Outcome::Missed, true), "{away:?}");
    }
    let few = fail_back(120, split(38, 20, 0.0));
    assert_eq!(few.outcome, Outcome::Missed, "{few:?}");
    // So few requests could not tell a half from a quarter.
    let few = fail_back(120, split(38, 20, 0.5));
    assert_eq!(few.outcome, Outcome::Inconclusive, "{few:?}");
}

#[test]
fn who_comes_back_half_way_first_is_back_when_all_are() {
    let back = fail_back(600, |second| match second {
        24..35 => (0, 250),
        35..42 => thrown(second, 250, 0.3),
        _ => thrown(second, 250, 0.5),
    });
    assert_eq!((back.outcome, seconds(&back)), (Outcome::Met, 210.0), "{back:?}");
}

#[test]
fn one_request_does_not_show_that_users_are_back() {
    let of = |second| match second {
        24..35 => (0, 100),
        40.. => (1, 0),
        35.. => (0, 0),
        _ => (100, 0),
    };
    let verdict = fail_back(600, of);
    assert_eq!(verdict.outcome, Outcome::Inconclusive, "{verdict:?}");
    let busy = |second| match second {
        24..42 => (0, 100),
        42.. => (1, 0),
        _ => (100, 0),
    };
    let since = fail_back(600, busy);
    assert_eq!(
        (since.outcome, since.at_least),
        (Outcome::Inconclusive, true),
        "{since:?}"
    );
    assert_eq!(fail_back(180, busy).outcome, Outcome::Missed);
}

/// A group over its CPU target from 10 s on, for so long.
fn hot(until: f64) -> Fixture {
    busy_until(until, 80.0)
}

fn outcomes(fixture: &Fixture) -> Vec<Outcome> {
    let verdict = judge(&fixture.plan, &fixture.recording);
    verdict.objectives.iter().map(|one| one.outcome).collect()
}

/// The last launch came to nothing.
fn fails(fixture: &mut Fixture, status: &str, instance: &str) {
    for stamped in &mut fixture.recording.events {
        if let Event::ScalingActivity {
            id,
            description,
            status: of,
            ..
        } = &mut stamped.event
            && *id == format!("activity-{instance}")
        {
            *of = status.to_owned();
            *description = "Launching a new EC2 instance.  Status Reason: there is no capacity.".to_owned();
        }
    }
}

#[test]
fn launches_that_all_failed_answer_no_breach() {
    for (until, why) in [
        (16.0, "no added instance served a request"),
        (40.0, "and every launch for it failed"),
    ] {
        let mut fixture = hot(until);
        fixture.launch(15.0, 15.5, "i-a");
        fails(&mut fixture, "Failed", "i-a");
        let verdict = fixture.first();
        assert_eq!(verdict.outcome, Outcome::Missed, "{verdict:?}");
        assert!(verdict.why.contains(why), "{}", verdict.why);
    }
    // A decision that was withdrawn was no longer wanted.
    let mut cancelled = hot(16.0);
    cancelled.launch(15.0, 15.5, "i-a");
    fails(&mut cancelled, "Cancelled", "i-a");
    assert_eq!(cancelled.first().outcome, Outcome::Inconclusive);
}

#[test]
fn a_failed_launch_does_not_hide_behind_one_for_another_breach() {
    let mut fixture = hot(16.0);
    fixture.launch(15.0, 15.5, "i-a");
    fails(&mut fixture, "Failed", "i-a");
    let mut fixture =
        fixture.without_events(|event| matches!(event, Event::CpuMeasured { percent, .. } if *percent == 40.0));
    fixture.cpu(18.0, 34.0, 40.0);
    fixture.cpu(36.0, 40.0, 80.0);
    fixture.cpu(42.0, 58.0, 40.0);
    let cause = "a monitor alarm TargetTracking-shop-web-AlarmHigh-1 in state ALARM to 6. ";
    fixture.launch_for(40.0, 42.0, "i-b", cause);
    fixture.serves("i-b", 42);
    let judged = judge(&fixture.plan, &fixture.recording);
    assert_eq!(judged.objectives[0].outcome, Outcome::Missed, "{:?}", judged.objectives);
    assert_eq!(judged.scale_outs.len(), 2, "{:?}", judged.scale_outs);
}

#[test]
fn a_failed_launch_that_is_tried_again_takes_until_that_serves() {
    let again = "At 2026-01-01T00:05:00Z an instance was started in response to a difference between desired and actual \
                 capacity, increasing the capacity from 3 to 5.";
    let by_alarm = "a monitor alarm TargetTracking-shop-web-AlarmHigh-1 in state ALARM to 6. ";
    for cause in [again, by_alarm] {
        let mut fixture = hot(18.0);
        fixture.launch(15.0, 15.5, "i-a");
        fails(&mut fixture, "Failed", "i-a");
        fixture.launch_for(17.5, 19.0, "i-b", cause);
        fixture.serves("i-b", 19);
        let judged = judge(&fixture.plan, &fixture.recording);
        let verdict = &judged.objectives[0];
        assert_eq!(
            (verdict.outcome, seconds(verdict)),
            (Outcome::Met, 270.0),
            "{verdict:?}"
        );
        assert_eq!(judged.scale_outs.len(), 1);
        assert_eq!(judged.scale_outs[0].instances, ["i-b"]);
    }
}

#[test]
fn what_fills_a_gap_that_no_failed_launch_left_is_no_scale_out() {
    let gap = "an instance was started in response to a difference between desired and actual capacity.";
    let mut fixture = hot(16.0);
    fixture.launch(15.0, 18.0, "i-a");
    fixture.serves("i-a", 18);
    fixture.launch_for(15.2, 30.0, "i-b", gap);
    fixture.serves("i-b", 30);
    let judged = judge(&fixture.plan, &fixture.recording);
    assert_eq!(judged.objectives[0].outcome, Outcome::Met, "{:?}", judged.objectives);
    assert_eq!(judged.scale_outs[0].instances, ["i-a"]);
}

/// A group loses an instance, and nobody is sent to its Region.
fn unvisited() -> Fixture {
    let mut fixture = losing_one();
    for slice in &mut fixture.recording.slices {
        slice.served.clear();
        slice.sent = BTreeMap::from([(WEST.to_owned(), 100)]);
    }
    fixture.poll(19.0, 3, &["i-1", "i-2", "i-3"], &["i-1", "i-2", "i-3"]);
    fixture.poll(21.0, 2, &["i-2", "i-3"], &["i-2", "i-3"]);
    fixture
}

#[test]
fn a_group_that_nobody_is_sent_to_heals_by_its_health_and_has_no_late_errors() {
    let mut healed = unvisited();
    healed.poll(26.0, 3, &["i-2", "i-3", "i-9"], &["i-2", "i-3", "i-9"]);
    assert_eq!(outcomes(&healed), [Outcome::Met, Outcome::Inconclusive]);
    assert_eq!(outcomes(&unvisited()), [Outcome::Missed, Outcome::Inconclusive]);
    // Where users are sent there, the new one must be seen to serve.
    for slice in &mut healed.recording.slices {
        slice.sent.insert(EAST.to_owned(), 100);
    }
    assert_eq!(outcomes(&healed), [Outcome::Missed, Outcome::Met]);
}

/// A fault that takes an instance, with what is asked of its group.
fn losing_one() -> Fixture {
    let of = |measure, limit| objective("x", measure, Some("web"), limit, under_test());
    let objectives = vec![
        of(Measure::SelfHeal, limit(300)),
        of(Measure::LateErrors, Limit::Count(0)),
    ];
    Fixture::new(Fault::Ec2Terminate { share: 0.34 }, "web", objectives, well)
}

/// A group without a load balancer loses an instance.
fn unbalanced(seen_serving: bool) -> Fixture {
    let mut fixture = losing_one();
    for region in fixture.plan.target.inventory.regions.values_mut() {
        region.groups.values_mut().for_each(|group| group.target_groups.clear());
    }
    if !seen_serving {
        fixture
            .recording
            .slices
            .iter_mut()
            .for_each(|slice| slice.served.clear());
    }
    fixture.poll(19.0, 3, &["i-1", "i-2", "i-3"], &[]);
    fixture.poll(21.0, 3, &["i-2", "i-3"], &[]);
    fixture
}

#[test]
fn a_group_without_a_load_balancer_heals_by_what_it_says_itself() {
    let mut healed = unbalanced(false);
    healed.poll(26.0, 3, &["i-2", "i-3", "i-9"], &[]);
    assert_eq!(outcomes(&healed), [Outcome::Met, Outcome::Inconclusive]);
    assert_eq!(seconds(&healed.first()), 180.0);
    let card = judge(&healed.plan, &healed.recording).faults.remove(0);
    assert_eq!((card.late_errors, card.parts.detect), (None, None));
    assert_eq!(outcomes(&unbalanced(false)), [Outcome::Missed, Outcome::Inconclusive]);
    // Its instances are seen to serve users: so must the new one.
    let mut silent = unbalanced(true);
    silent.poll(26.0, 3, &["i-2", "i-3", "i-9"], &[]);
    assert_eq!(outcomes(&silent), [Outcome::Missed, Outcome::Inconclusive]);
}

#[test]
fn an_outage_that_lasts_to_the_end_of_the_run_is_missed_by_its_last_failure() {
    let fate: Fate = |step, start| {
        let failed = step == 1 && start >= INJECTED;
        (start + 0.01, failed.then_some(FailureKind::Refused))
    };
    let objectives = vec![of_orders(Measure::Outage, 200), of_orders(Measure::Recovery, 200)];
    let fixture = Fixture::new(Fault::RdsFailover, "database", objectives, fate).cut(30.0, Ended::Stopped);
    let verdict = judge(&fixture.plan, &fixture.recording);
    for of in &verdict.objectives {
        assert_eq!((of.outcome, of.at_least), (Outcome::Missed, true), "{of:?}");
    }
}
