//! One second of one shard, and how the shards of a second become one slice: sums, and histograms added bucket by
//! bucket. Measures nothing itself.

use crate::recording::{ClassSlice, Hist, Slice, StepSlice};

/// One shard's share of one second.
#[derive(Clone, Debug)]
pub struct ShardSecond {
    /// Which shard.
    pub shard: usize,
    /// What it measured; sums and merged histograms over shards give the whole second.
    pub slice: Slice,
}

/// Merges the shards of one second into what one generator would have measured.
#[must_use]
pub fn merge(seconds: Vec<ShardSecond>) -> Slice {
    let mut parts = seconds.into_iter().map(|second| second.slice);
    let mut whole = parts.next().unwrap_or_default();
    for part in parts {
        absorb(&mut whole, &part);
        whole.users += part.users;
        whole.generator.merge(&part.generator);
    }
    whole
}

/// Adds an earlier second of the same shard that could not be handed over in time; nothing counted is lost.
pub fn fold_into_next(earlier: &ShardSecond, next: &mut ShardSecond) {
    absorb(&mut next.slice, &earlier.slice);
    next.slice.generator.follow(&earlier.slice.generator);
}

fn absorb(whole: &mut Slice, part: &Slice) {
    whole.intended += part.intended;
    whole.dropped += part.dropped;
    whole.unmade += part.unmade;
    whole.rowless += part.rowless;
    whole.retries += part.retries;
    add(&mut whole.connect, &part.connect);
    add(&mut whole.tls, &part.tls);
    absorb_steps(&mut whole.steps, &part.steps);
    absorb_steps(&mut whole.groups, &part.groups);
    for (served, count) in &part.served {
        *whole.served.entry(served.clone()).or_default() += count;
    }
    for (served, count) in &part.served_failed {
        *whole.served_failed.entry(served.clone()).or_default() += count;
    }
    if whole.classes.len() < part.classes.len() {
        whole.classes.resize_with(part.classes.len(), ClassSlice::default);
    }
    for (into, class) in whole.classes.iter_mut().zip(&part.classes) {
        into.merge(class);
    }
    for (region, count) in &part.sent {
        *whole.sent.entry(region.clone()).or_default() += count;
    }
}

/// Moves what a second counted and measured to another: what is left of it is the generator's health, which is of its
/// second alone.
pub fn move_measured(from: &mut Slice, into: &mut Slice) {
    absorb(into, from);
    *from = Slice {
        second: from.second,
        users: from.users,
        generator: std::mem::take(&mut from.generator),
        ..Slice::default()
    };
}

fn absorb_steps(whole: &mut Vec<StepSlice>, part: &[StepSlice]) {
    if whole.len() < part.len() {
        whole.resize_with(part.len(), StepSlice::default);
    }
    for (into, step) in whole.iter_mut().zip(part) {
        absorb_step(into, step);
    }
}

fn absorb_step(into: &mut StepSlice, step: &StepSlice) {
    into.ok += step.ok;
    for (kind, count) in &step.failed {
        *into.failed.entry(*kind).or_default() += count;
    }
    for (kind, why) in &step.why {
        into.why.entry(*kind).or_insert_with(|| why.clone());
    }
    add(&mut into.latency, &step.latency);
    add(&mut into.latency_failed, &step.latency_failed);
    add(&mut into.service_time, &step.service_time);
    add(&mut into.lag, &step.lag);
    add(&mut into.blocked, &step.blocked);
    add(&mut into.first_byte, &step.first_byte);
    add(&mut into.gaps, &step.gaps);
}

fn add(into: &mut Hist, part: &Hist) {
    match (into.is_empty(), part.is_empty()) {
        (_, true) => {}
        (true, false) => into.clone_from(part),
        (false, false) => {
            let mut both = Hist::working();
            for part in [&*into, part] {
                part.add_to(&mut both).expect("a shard encoded it in this process");
            }
            *into = Hist::encode(&both);
        }
    }
}
