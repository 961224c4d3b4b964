//! The time for which a schedule asked for something, which is what throughput is over. Counts no requests.

use super::timeline::Timeline;
use crate::plan::{JourneyPlan, LoadPlan};
use crate::recording::Slice;

/// For how long, in seconds, the schedule asked for any of these journeys in these seconds.
pub(super) fn asked_for(timeline: &Timeline<'_>, slices: &[&Slice], is_of: impl Fn(&JourneyPlan) -> bool) -> f64 {
    let plan = timeline.plan;
    let mut windows: Vec<(u64, u64)> = Vec::new();
    for load in plan.each_load() {
        let mut journeys = load.journeys.iter().filter_map(|index| plan.journeys.get(*index));
        if !journeys.any(&is_of) {
            continue;
        }
        let until = match load.iterations {
            // Its users may have been done long before; their last answer tells.
            Some(_) => last_answer_us(timeline, &load).min(plan.schedule_us(load.ends_at())),
            None => plan.schedule_us(load.ends_at()),
        };
        windows.push((plan.schedule_us(load.starts_at()), until));
    }
    let windows = apart(windows);
    let ended_us = timeline.recording.duration.as_micros() as u64;
    let within = |slice: &&Slice| timeline.steered.within(&windows, slice.second, ended_us);
    slices.iter().map(within).sum()
}

/// The end of the last second in which anything of a load ended.
fn last_answer_us(timeline: &Timeline<'_>, load: &LoadPlan) -> u64 {
    let journeys = load
        .journeys
        .iter()
        .filter_map(|index| timeline.plan.journeys.get(*index));
    let steps: Vec<usize> = journeys.flat_map(|journey| &journey.steps).copied().collect();
    let ended = |slice: &&Slice| {
        let mut cells = steps.iter().filter_map(|step| slice.steps.get(*step));
        cells.any(|step| step.ok + step.failures() > 0)
    };
    let last = timeline.recording.slices.iter().rev().find(ended);
    last.map_or(0, |slice| (slice.second + 1) * 1_000_000)
}

/// The same windows in order, each instant in one of them.
fn apart(mut windows: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    windows.sort_unstable();
    let mut apart: Vec<(u64, u64)> = Vec::new();
    for (from, to) in windows {
        match apart.last_mut() {
            Some((_, last)) if from <= *last => *last = to.max(*last),
            _ => apart.push((from, to)),
        }
    }
    apart
}
