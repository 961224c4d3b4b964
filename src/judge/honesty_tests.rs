//! Every bound on the generator, tripped one at a time; and what must not trip it.

use std::time::Duration;

use super::fixture::{Fixture, LENGTH, well};
use super::{Honesty, Outcome, judge};
use crate::event::Event;
use crate::judge::fixture::{objective, steady};
use crate::plan::{Fault, Limit, Measure, Plan};
use crate::recording::{GeneratorSlice, Hist, Recording, Slice};

/// Healthy, with limits that are known; the fault lasts from second 20 to 35, and its experiment to 50.
fn healthy() -> Fixture {
    let objectives = vec![objective(
        "errors < 1% during steady",
        Measure::Errors,
        None,
        Limit::Share(0.01),
        steady(),
    )];
    let mut fixture = Fixture::new(Fault::NetworkDenyRegion, "dns", objectives, well);
    for slice in &mut fixture.recording.slices {
        slice.generator = GeneratorSlice {
            steal: 0.01,
            segments_sent: 1_000,
            segments_resent: 1,
            descriptors: 100,
            descriptors_limit: 1_000,
            ports: 40,
            ports_limit: 500,
            ..slice.generator
        };
    }
    fixture
}

fn honesty_of(change: impl Fn(&mut Slice)) -> Honesty {
    let mut fixture = healthy();
    fixture.recording.slices.iter_mut().for_each(change);
    let verdict = judge(&fixture.plan, &fixture.recording);
    let believed = verdict.honesty.spoiled.is_none();
    let expected = if believed { Outcome::Met } else { Outcome::Inconclusive };
    assert_eq!(verdict.outcome, expected, "{}", verdict.sentence);
    assert_eq!(verdict.objectives[0].outcome, expected, "{:?}", verdict.objectives[0]);
    verdict.honesty
}

#[test]
fn honesty_holds_within_every_bound() {
    let honesty = honesty_of(|_| {});
    assert_eq!(honesty.spoiled, None);
    assert_eq!((honesty.descriptors_max, honesty.ports_max), (100, 40));
    assert!((honesty.retransmits - 0.001).abs() < 1e-9, "{honesty:?}");
}

#[test]
fn honesty_ends_where_the_run_itself_stood_still() {
    let mut fixture = healthy();
    let froze = |seconds| Event::RunFroze {
        lasted: Duration::from_secs(seconds),
    };
    fixture.event(12.0, froze(6));
    fixture.event(40.0, froze(17));
    let verdict = judge(&fixture.plan, &fixture.recording);
    assert_eq!(verdict.outcome, Outcome::Inconclusive);
    let why = "the run itself was frozen for 17s, until 40s of real time";
    assert_eq!(verdict.honesty.spoiled.as_deref(), Some(why));
    assert!(verdict.sentence.contains(why), "{}", verdict.sentence);
    assert_eq!(verdict.objectives[0].outcome, Outcome::Inconclusive);
}

type Change = fn(&mut Slice);

#[test]
fn honesty_ends_beyond_each_bound_and_says_which() {
    let cases: [(&str, Change); 11] = [
        ("p99 of lag was 401ms, more than 100ms", |slice| {
            let mut lag = Hist::working();
            lag.record_n(400_000, 100).expect("within bounds");
            slice.steps.iter_mut().for_each(|step| step.lag = Hist::encode(&lag));
        }),
        ("a shard used more than 90% of its core", |slice| {
            slice.generator.cpu_busiest_shard = 0.97
        }),
        ("took more than 10.0% of its CPU time away in", |slice| {
            slice.generator.steal = 0.3
        }),
        ("the generator stood still for 13s of 60 seconds", |slice| {
            if slice.second < 13 {
                slice.generator.standstill = Duration::from_secs(1);
            }
        }),
        ("960 of 1,000 descriptors were in use", |slice| {
            if slice.second == 30 {
                slice.generator.descriptors = 960;
            }
        }),
        ("490 of 500 local ports to one address were in use", |slice| {
            slice.generator.ports = 490
        }),
        ("of the TCP segments were sent again", |slice| {
            slice.generator.segments_resent = 80
        }),
        ("intended requests could not be sent", |slice| slice.dropped = 5),
        (
            "passes were left unmade when the time of their load was over",
            |slice| {
                (slice.dropped, slice.unmade) = (5, 5);
            },
        ),
        ("gives each row once (`order: unique`) and had none left", |slice| {
            (slice.dropped, slice.rowless) = (5, 5);
        }),
        ("were left unmade when the time of their load was over, ", |slice| {
            (slice.dropped, slice.unmade) = (5, 3);
        }),
    ];
    for (why, change) in cases {
        let honesty = honesty_of(change);
        let spoiled = honesty.spoiled.unwrap_or_default();
        assert!(spoiled.contains(why), "{why}: {spoiled:?}");
    }
}

#[test]
fn honesty_counts_the_ports_of_every_source_address() {
    let mut fixture = healthy();
    for slice in &mut fixture.recording.slices {
        slice.generator.ports = 490;
    }
    let spoiled = |plan: &Plan| judge(plan, &fixture.recording).honesty.spoiled;
    assert!(spoiled(&fixture.plan).is_some());
    let mut plan = fixture.plan.clone();
    plan.client.connections.sources = ["127.0.0.2", "127.0.0.3"]
        .map(|ip| ip.parse().expect("an address"))
        .to_vec();
    assert_eq!(spoiled(&plan), None);
}

#[test]
fn honesty_is_told_by_connections_where_descriptors_are_not_known() {
    let spoiled = honesty_of(|slice| (slice.generator.descriptors, slice.generator.connections) = (0, 999)).spoiled;
    assert_eq!(
        spoiled.as_deref(),
        Some("999 of 1,000 descriptors were in use, more than 95.0%")
    );
}

/// A Region that is silent makes every peer send again: that is the fault, not the generator's network.
#[test]
fn honesty_blames_no_retransmits_of_a_fault_on_the_generator() {
    let honesty = honesty_of(|slice| {
        if (20..50).contains(&slice.second) {
            slice.generator.segments_resent = 700;
        }
    });
    assert_eq!(honesty.spoiled, None);
    assert!(
        honesty.retransmits < 0.01 && honesty.retransmits_run > 0.3,
        "{honesty:?}"
    );
}

#[test]
fn honesty_needs_more_than_a_few_seconds_of_theft_and_more_than_a_few_segments() {
    let some = honesty_of(|slice| {
        if slice.second < LENGTH / 10 {
            slice.generator.steal = 0.9;
        }
    });
    assert_eq!((some.spoiled, some.steal_max), (None, 0.9));
    let few = honesty_of(|slice| (slice.generator.segments_sent, slice.generator.segments_resent) = (5, 2));
    assert_eq!(few.spoiled, None);
}

#[test]
fn honesty_of_an_older_recording_is_not_doubted_for_what_it_does_not_have() {
    let fixture = healthy();
    let mut value = serde_json::to_value(&fixture.recording).expect("writes");
    for slice in value["slices"].as_array_mut().expect("a list") {
        let generator = slice["generator"].as_object_mut().expect("an object");
        let known = ["cpu_busiest_shard", "cpu_process", "resident_bytes", "connections"];
        generator.retain(|key, _| known.contains(&key.as_str()));
    }
    let old: Recording = serde_json::from_value(value).expect("reads");
    let mut plan = serde_json::to_value(&fixture.plan).expect("writes");
    let bounds = plan["honesty"].as_object_mut().expect("an object");
    bounds.retain(|key, _| ["lag_p99_max", "cpu_max", "requests_min"].contains(&key.as_str()));
    let plan = serde_json::from_value(plan).expect("reads");
    let verdict = judge(&plan, &old);
    assert_eq!(verdict.outcome, Outcome::Met, "{}", verdict.sentence);
    assert_eq!(verdict.honesty.descriptors_limit, 0);
}
