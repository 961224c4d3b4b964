//! How many shards a plan has on this machine, how many connections they may have and what they begin with. Whether
//! the machine has descriptors and ports for them is the plan's `capacity`.

use std::time::Duration;

use crate::plan::{LoadPlan, Plan};

/// Requests a second for which one shard is enough: they may cost 160 us each, three times what those of a small journey
/// do. Shards that have little to do wake up for each request and each answer: at 5,000/s two cost a third more CPU time
/// than one, and their lag is twice as long.
const SHARD_RATE: f64 = 6_000.0;

/// Cores that this process may use.
#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// How many shards a plan has on this machine: as many as its requests need, and no more than there are cores, or
/// connections to share.
#[must_use]
pub fn shards(plan: &Plan) -> usize {
    let wanted = plan.client.shards.unwrap_or_else(|| needed(plan).min(cores()));
    plan.client.connections.shards_of(wanted).max(1)
}

/// Connections that a plan may have to one address: more cores can do with more, however many shards share them.
#[must_use]
pub fn connections_max(plan: &Plan) -> usize {
    let shares = plan.client.shards.unwrap_or_else(cores);
    plan.client.connections.pool_of(shares)
}

/// Requests a second of one shard when the plan begins; of users who do not think, none are foreseen.
pub(super) fn first_rate(plan: &Plan, shards: usize) -> f64 {
    let loads = plan.each_load();
    let rate = |load: &LoadPlan| load.expected_rate(&plan.journeys, load.level_at(Duration::ZERO));
    loads.iter().map(rate).sum::<f64>() / shards as f64
}

/// Users who do not think send as much as is answered, so nobody knows what their requests need.
pub(super) fn needed(plan: &Plan) -> usize {
    let rate = plan.peak(|load, level| match load.expected_rate(&plan.journeys, level) {
        0.0 if level > 0.0 => f64::INFINITY,
        rate => rate,
    });
    (rate / SHARD_RATE).ceil() as usize
}
