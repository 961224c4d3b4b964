//! Whether the generator can be believed: lag, CPU, what it could not send and what the recording could not keep.

use std::time::Duration;

use super::Honesty;
use super::timeline::Timeline;
use crate::plan::Phase;
use crate::recording::{Hist, Slice};
use crate::units::format_duration;

/// Share of seconds that may be over the CPU bound.
const CPU_OVER_MAX: f64 = 0.2;

/// Share of requests that may stay unsent outside faults.
const UNSENT_MAX: f64 = 0.01;

/// The generator's health over the whole run.
pub(super) fn honesty(timeline: &Timeline<'_>) -> Honesty {
    let slices: Vec<&Slice> = timeline.recording.slices.iter().collect();
    let bounds = timeline.plan.honesty;
    let most = |of: fn(&Slice) -> f64| slices.iter().map(|slice| of(slice)).fold(0.0, f64::max);
    Honesty {
        requests: slices.iter().map(|slice| requests(slice)).sum(),
        lag_p99: lag_p99(&slices),
        lag_p99_max: bounds.lag_p99_max,
        cpu_max: most(|slice| slice.generator.cpu_busiest_shard),
        cpu_bound: bounds.cpu_max,
        cpu_over: cpu_over(timeline, &slices),
        cpu_process_max: most(|slice| slice.generator.cpu_process),
        resident_max: slices
            .iter()
            .map(|slice| slice.generator.resident_bytes)
            .max()
            .unwrap_or(0),
        connections_max: slices
            .iter()
            .map(|slice| slice.generator.connections)
            .max()
            .unwrap_or(0),
        dropped_requests: slices.iter().map(|slice| slice.dropped).sum(),
        dropped_records: timeline.recording.dropped.clone(),
        spoiled: spoiled(timeline, &slices),
    }
}

/// Why what was measured in these seconds is not believed; none when it is.
pub(super) fn spoiled(timeline: &Timeline<'_>, slices: &[&Slice]) -> Option<String> {
    let bounds = timeline.plan.honesty;
    if let Some((what, count)) = timeline.recording.dropped.iter().find(|(_, count)| **count > 0) {
        return Some(format!("the recording lost {count} {what}"));
    }
    let lag = lag_p99(slices);
    if lag > bounds.lag_p99_max {
        return Some(format!(
            "p99 of lag was {}, more than {}",
            format_duration(lag),
            format_duration(bounds.lag_p99_max)
        ));
    }
    let over = cpu_over(timeline, slices);
    if over > CPU_OVER_MAX {
        return Some(format!(
            "a shard used more than {:.0}% of its core in {:.0}% of the seconds",
            bounds.cpu_max * 100.0,
            over * 100.0
        ));
    }
    // In a fault a full queue is the target's doing; outside one it is ours.
    let calm = timeline
        .recording
        .slices
        .iter()
        .zip(&timeline.phases)
        .filter(|(slice, phase)| {
            !matches!(phase, Some(Phase::Fault | Phase::Recovery)) && slices.iter().any(|of| of.second == slice.second)
        });
    let (unsent, intended) = calm.fold((0u64, 0u64), |(unsent, intended), (slice, _)| {
        (unsent + slice.dropped, intended + slice.intended)
    });
    if unsent as f64 > UNSENT_MAX * intended as f64 {
        return Some(format!("{unsent} of {intended} intended requests could not be sent"));
    }
    None
}

fn requests(slice: &Slice) -> u64 {
    slice.steps.iter().map(|step| step.ok + step.failures()).sum()
}

fn lag_p99(slices: &[&Slice]) -> Duration {
    let mut merged = Hist::working();
    for step in slices.iter().flat_map(|slice| &slice.steps) {
        // A damaged histogram adds nothing; the latency measures report it.
        let _ = step.lag.add_to(&mut merged);
    }
    if merged.is_empty() {
        return Duration::ZERO;
    }
    Duration::from_micros(merged.value_at_quantile(0.99))
}

fn cpu_over(timeline: &Timeline<'_>, slices: &[&Slice]) -> f64 {
    let over = slices
        .iter()
        .filter(|slice| slice.generator.cpu_busiest_shard > timeline.plan.honesty.cpu_max)
        .count();
    over as f64 / slices.len().max(1) as f64
}
