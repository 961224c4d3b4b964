//! What shards measure merges to exactly one run, nothing counted is lost or told twice.

use super::super::pulses::merge_pulses;
use super::super::seconds::{fold_into_next, merge};
use super::*;

fn request(number: u64) -> Finished {
    Finished {
        step: (number % 2) as usize,
        class: (number % 4 / 2) as u8,
        intended_us: number * 1000,
        started_us: number * 1000 + number % 7,
        served_from_us: number * 1000 + number % 7 + (number % 11).saturating_sub(5),
        first_byte: (number % 10 != 3).then_some(100 + number % 90),
        finished_us: number * 1000 + 300 + number * 13 % 5000,
        failure: (number % 10 == 3).then_some(FailureKind::ALL[(number % 10) as usize]),
    }
}

fn feed(recorder: &mut Recorder, number: u64) {
    let request = request(number);
    recorder.intended(request.class);
    if number % 50 == 49 {
        recorder.dropped(request.class);
        return;
    }
    let region = ["us-east-1", "eu-west-1"][(number % 2) as usize];
    let address = IpAddr::from([127, 0, 0, (number % 6) as u8]);
    let region = recorder.destination(u32::from(request.class), address, region, "");
    recorder.started(request.step, request.intended_us, request.started_us, Some(region));
    let server = recorder.server(format!("i-{}/us-east-1a/us-east-1", number % 3).as_bytes());
    match request.failure {
        None => recorder.served(server, region),
        Some(_) => recorder.served_badly(if number % 4 == 1 { 0 } else { server }, region),
    }
    recorder.finished(&request);
    recorder.opened(Took {
        connect: Duration::from_micros(number % 77),
        tls: number.is_multiple_of(5).then_some(Duration::from_micros(1000 + number)),
    });
}

fn kept(steps: usize, groups: usize, classes: usize) -> Kept {
    Kept {
        steps,
        groups,
        classes,
        pulses: true,
    }
}

#[test]
fn shards_merge_to_exactly_one_run() {
    let run = Duration::from_secs(60);
    let mut whole = Recorder::new(0, kept(2, 0, 2), run);
    let mut shards = [
        Recorder::new(0, kept(2, 0, 2), run),
        Recorder::new(1, kept(2, 0, 2), run),
        Recorder::new(2, kept(2, 0, 2), run),
    ];
    for number in 0..5000 {
        feed(&mut whole, number);
        feed(&mut shards[(number % 3) as usize], number);
    }
    let generator = GeneratorSlice::default();
    let expected = serde_json::to_value(merge(vec![whole.close_second(7, generator)])).unwrap();
    let parts = [1, 2, 4]
        .iter()
        .zip(&mut shards)
        .map(|(users, shard)| shard.close_second(*users, generator));
    assert_eq!(serde_json::to_value(merge(parts.collect())).unwrap(), expected);
    assert_eq!(expected["intended"], 5000);

    let mut pulses = Vec::new();
    for shard in shards {
        merge_pulses(&mut pulses, shard.into_pulses());
    }
    assert_eq!(
        serde_json::to_value(&pulses).unwrap(),
        serde_json::to_value(whole.into_pulses()).unwrap()
    );
}

#[test]
fn a_second_that_could_not_be_handed_over_is_folded_into_the_next() {
    let (mut one, mut split) = (
        Recorder::new(0, kept(2, 0, 2), Duration::ZERO),
        Recorder::new(0, kept(2, 0, 2), Duration::ZERO),
    );
    (0..300).for_each(|number| feed(&mut one, number));
    let whole = one.close_second(5, GeneratorSlice::default());
    (0..100).for_each(|number| feed(&mut split, number));
    let earlier = split.close_second(3, GeneratorSlice::default());
    (100..300).for_each(|number| feed(&mut split, number));
    let mut next = split.close_second(5, GeneratorSlice::default());
    fold_into_next(&earlier, &mut next);
    assert_eq!(next.slice.second, 1);
    next.slice.second = 0;
    assert_eq!(
        serde_json::to_value(&next.slice).unwrap(),
        serde_json::to_value(&whole.slice).unwrap()
    );
}

#[test]
fn every_kind_of_failure_has_its_own_count() {
    let mut recorder = Recorder::new(0, kept(1, 0, 0), Duration::ZERO);
    for (number, kind) in FailureKind::ALL.into_iter().enumerate() {
        for _ in 0..=number {
            recorder.finished(&Finished {
                step: 0,
                failure: Some(kind),
                ..request(0)
            });
        }
    }
    let step = &recorder.close_second(0, GeneratorSlice::default()).slice.steps[0];
    let counts: Vec<u64> = FailureKind::ALL.iter().map(|kind| step.failed[kind]).collect();
    assert_eq!(counts, (1..=FailureKind::ALL.len() as u64).collect::<Vec<_>>());
}

#[test]
fn latency_of_failures_is_kept_apart_and_within_that_of_all() {
    let (mut recorder, mut all, mut failed) = (
        Recorder::new(0, kept(1, 0, 0), Duration::ZERO),
        Hist::working(),
        Hist::working(),
    );
    for number in 0..3000 {
        let request = Finished {
            step: 0,
            ..request(number)
        };
        recorder.finished(&request);
        let latency = request.finished_us - request.intended_us;
        all.record(latency).unwrap();
        if request.failure.is_some() {
            failed.record(latency).unwrap();
        }
    }
    let step = &recorder.close_second(0, GeneratorSlice::default()).slice.steps[0];
    assert_eq!(step.latency, Hist::encode(&all));
    assert_eq!(step.latency_failed, Hist::encode(&failed));
    assert_eq!(failed.len(), step.failures());
}

#[test]
fn who_did_not_wait_counts_among_those_who_did() {
    let mut recorder = Recorder::new(0, kept(1, 0, 0), Duration::ZERO);
    for number in 0..100 {
        recorder.finished(&Finished {
            step: 0,
            class: 0,
            intended_us: 0,
            started_us: 1_000,
            served_from_us: if number < 10 { 51_000 } else { 1_000 },
            first_byte: (number > 0).then_some(7_000),
            finished_us: 60_000,
            failure: None,
        });
    }
    let step = &recorder.close_second(0, GeneratorSlice::default()).slice.steps[0];
    let decoded = |hist: &Hist| {
        let mut all = Hist::working();
        hist.add_to(&mut all).unwrap();
        all
    };
    let blocked = decoded(&step.blocked);
    assert_eq!((blocked.len(), blocked.value_at_quantile(0.9)), (100, 0));
    assert!(blocked.equivalent(blocked.value_at_quantile(0.91), 50_000));
    let first_byte = decoded(&step.first_byte);
    assert_eq!(first_byte.len(), 99);
    assert!(first_byte.equivalent(first_byte.max(), 7_000));
    let empty = recorder.close_second(0, GeneratorSlice::default());
    assert!(empty.slice.steps[0].blocked.is_empty());
}

#[test]
fn who_gave_up_in_line_has_a_latency_and_no_service_time() {
    let mut recorder = Recorder::new(0, kept(1, 0, 0), Duration::ZERO);
    recorder.finished(&Finished {
        step: 0,
        class: 0,
        intended_us: 0,
        started_us: 1_000,
        served_from_us: 60_000,
        first_byte: None,
        finished_us: 60_000,
        failure: Some(FailureKind::BlockedTimeout),
    });
    let step = &recorder.close_second(0, GeneratorSlice::default()).slice.steps[0];
    assert!(step.service_time.is_empty(), "nobody served it");
    assert_eq!(step.failures(), 1);
    let mut blocked = Hist::working();
    step.blocked.add_to(&mut blocked).unwrap();
    assert!(blocked.equivalent(blocked.max(), 59_000));
    assert!(!step.latency.is_empty());
}

#[test]
fn silences_belong_to_the_second_in_which_they_end_and_merge_over_shards() {
    let mut shards = [0, 1].map(|shard| Recorder::new(shard, kept(2, 0, 0), Duration::ZERO));
    let close = |shards: &mut [Recorder; 2]| {
        let parts = shards
            .iter_mut()
            .map(|shard| shard.close_second(0, GeneratorSlice::default()));
        merge(parts.collect())
    };
    // Who reads a stream holds on to it for as long as that lasts.
    let reader = shards[0].gaps(1);
    assert!(!shards[0].is_dirty());
    reader.record(Duration::from_millis(40));
    assert!(shards[0].is_dirty());
    shards[1].gaps(1).record(Duration::from_secs(2));
    let first = close(&mut shards);
    reader.record(Duration::ZERO);
    let second = close(&mut shards);
    let of = |slice: &Slice, step: usize| {
        let mut all = Hist::working();
        slice.steps[step].gaps.add_to(&mut all).unwrap();
        (all.len(), all.max() / 10_000)
    };
    assert_eq!((of(&first, 1), of(&second, 1)), ((2, 200), (1, 0)));
    assert_eq!(of(&first, 0), (0, 0), "no stream, no silence");
    let written = serde_json::to_value(&first.steps[0]).unwrap();
    assert!(written.get("gaps").is_none(), "{written}");
}

#[test]
fn pulses_keep_first_and_last_instants() {
    let mut recorder = Recorder::new(0, kept(1, 0, 0), Duration::from_secs(1000));
    let mut finish = |started_us, finished_us, failure| {
        recorder.finished(&Finished {
            step: 0,
            class: 0,
            intended_us: started_us,
            started_us,
            served_from_us: started_us,
            first_byte: None,
            finished_us,
            failure,
        });
    };
    finish(20_500, 90_000, Some(FailureKind::Timeout));
    finish(20_100, 95_000, Some(FailureKind::Reset));
    finish(39_999, 40_500, None);
    finish(40_000, 41_000, None);
    let pulses = recorder.into_pulses();
    assert_eq!(pulses[0].cell, Duration::from_millis(20));
    let cell = pulses[0].cells[&1];
    assert_eq!((cell.ok, cell.failed), (1, 2));
    assert_eq!(cell.first_failed_started_us, Some(20_100));
    assert_eq!(cell.last_failed_finished_us, Some(95_000));
    assert_eq!(cell.first_ok_finished_us, Some(40_500));
    assert_eq!(pulses[0].cells[&2].ok, 1);
}
