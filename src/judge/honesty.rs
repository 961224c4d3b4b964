//! Whether the generator can be believed: lag, CPU and what was stolen of it, descriptors, ports, retransmits, what it
//! could not send and what the recording could not keep.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Honesty;
use super::standstill::Standstill;
use super::timeline::{Timeline, duration};
use super::verdict::format_share;
use crate::event::Event;
use crate::plan::{Phase, Plan, RowOrder};
use crate::recording::{GeneratorSlice, Hist, Slice};
use crate::units::{format_count, format_duration};

/// Share of seconds that may be over a bound on CPU time, and of time for which the generator may stand still.
const OVER_MAX: f64 = 0.2;

/// Share of requests that may stay unsent outside faults.
const UNSENT_MAX: f64 = 0.01;

/// TCP segments from which a share of them says something.
const SEGMENTS_MIN: u64 = 1_000;

/// The generator's health over the whole run.
pub(super) fn honesty(timeline: &Timeline<'_>, standstill: &Standstill) -> Honesty {
    let slices: Vec<&Slice> = timeline.recording.slices.iter().collect();
    let bounds = timeline.plan.honesty;
    let most = |of: fn(&GeneratorSlice) -> f64| slices.iter().map(|slice| of(&slice.generator)).fold(0.0, f64::max);
    let count =
        |of: &dyn Fn(&GeneratorSlice) -> u64| slices.iter().map(|slice| of(&slice.generator)).max().unwrap_or(0);
    Honesty {
        requests: slices.iter().map(|slice| requests(slice)).sum(),
        lag_p99: lag_p99(&slices),
        lag_p99_max: bounds.lag_p99_max,
        stood_still: standstill.seconds.len(),
        cpu_max: most(|generator| generator.cpu_busiest_shard),
        cpu_bound: bounds.cpu_max,
        cpu_over: over(&slices, |generator| generator.cpu_busiest_shard > bounds.cpu_max),
        cpu_process_max: most(|generator| generator.cpu_process),
        resident_max: count(&|generator| generator.resident_bytes),
        connections_max: count(&|generator| generator.connections),
        steal_max: most(|generator| generator.steal),
        steal_bound: bounds.steal_max,
        steal_over: over(&slices, |generator| generator.steal > bounds.steal_max),
        retransmits: retransmits(&calm(timeline, &slices)).1,
        retransmits_bound: bounds.retransmits_max,
        retransmits_run: retransmits(&slices).1,
        descriptors_max: count(&descriptors),
        descriptors_limit: count(&|generator| generator.descriptors_limit),
        ports_max: count(&|generator| generator.ports),
        ports_limit: count(&|generator| ports_limit(timeline.plan, generator)),
        dropped_requests: slices.iter().map(|slice| slice.dropped).sum(),
        retries: slices.iter().map(|slice| slice.retries).sum(),
        dropped_records: timeline.recording.dropped.clone(),
        spoiled: spoiled(timeline, &slices),
    }
}

/// Why what was measured in these seconds is not believed; none when it is.
pub(super) fn spoiled(timeline: &Timeline<'_>, slices: &[&Slice]) -> Option<String> {
    frozen(timeline)
        .or_else(|| lost(timeline))
        .or_else(|| late(timeline, slices))
        .or_else(|| absent(timeline, slices))
        .or_else(|| busy(timeline, slices))
        .or_else(|| scarce(timeline, slices))
        .or_else(|| {
            let calm = calm(timeline, slices);
            resent(timeline, &calm).or_else(|| unsent(timeline.plan, &calm))
        })
}

/// The run itself stood still, so that nobody knows what users would have felt, and what became of its faults.
fn frozen(timeline: &Timeline<'_>) -> Option<String> {
    let frozen = timeline.events().filter_map(|(at, event)| match event {
        Event::RunFroze { lasted } => Some((at, *lasted)),
        _ => None,
    });
    let (until, lasted) = frozen.max_by_key(|(_, lasted)| *lasted)?;
    Some(format!(
        "the run itself was frozen for {}, until {} of real time",
        format_duration(lasted),
        format_duration(duration(until))
    ))
}

fn lost(timeline: &Timeline<'_>) -> Option<String> {
    let mut dropped = timeline.recording.dropped.iter();
    let (what, count) = dropped.find(|(_, count)| **count > 0)?;
    Some(format!("the recording lost {count} {what}"))
}

fn late(timeline: &Timeline<'_>, slices: &[&Slice]) -> Option<String> {
    let (lag, bound) = (lag_p99(slices), timeline.plan.honesty.lag_p99_max);
    (lag > bound).then(|| {
        format!(
            "p99 of lag was {}, more than {}",
            format_duration(lag),
            format_duration(bound)
        )
    })
}

/// Nobody was there to send: who waits for answers asks less meanwhile, which few requests of a great many tell.
fn absent(timeline: &Timeline<'_>, slices: &[&Slice]) -> Option<String> {
    let bound = timeline.plan.honesty.lag_p99_max;
    let standstills = slices.iter().map(|slice| slice.generator.standstill);
    let absent: Duration = standstills.filter(|lasted| *lasted > bound).sum();
    (absent.as_secs_f64() > OVER_MAX * slices.len() as f64).then(|| {
        format!(
            "the generator stood still for {} of {} seconds",
            format_duration(absent),
            slices.len()
        )
    })
}

/// CPU time that was not there to be used, for whichever reason.
fn busy(timeline: &Timeline<'_>, slices: &[&Slice]) -> Option<String> {
    let bounds = timeline.plan.honesty;
    let hot = over(slices, |generator| generator.cpu_busiest_shard > bounds.cpu_max);
    let stolen = over(slices, |generator| generator.steal > bounds.steal_max);
    if hot > OVER_MAX {
        Some(format!(
            "a shard used more than {:.0}% of its core in {:.0}% of the seconds; more `client.shards` share the work",
            bounds.cpu_max * 100.0,
            hot * 100.0
        ))
    } else if stolen > OVER_MAX {
        Some(format!(
            "the machine's hypervisor took more than {} of its CPU time away in {:.0}% of the seconds",
            format_share(bounds.steal_max),
            stolen * 100.0
        ))
    } else {
        None
    }
}

/// Descriptors or ports so scarce that users may have waited for ours and not for the target.
fn scarce(timeline: &Timeline<'_>, slices: &[&Slice]) -> Option<String> {
    let (plan, bounds) = (timeline.plan, timeline.plan.honesty);
    type Use<'a> = &'a dyn Fn(&GeneratorSlice) -> (u64, u64);
    let watched: [(&str, f64, Use<'_>); 2] = [
        ("descriptors", bounds.descriptors_max, &|generator| {
            (descriptors(generator), generator.descriptors_limit)
        }),
        ("local ports to one address", bounds.ports_max, &|generator| {
            (generator.ports, ports_limit(plan, generator))
        }),
    ];
    watched.into_iter().find_map(|(what, bound, of)| {
        let (used, limit) = slices
            .iter()
            .map(|slice| of(&slice.generator))
            .max_by_key(|(used, _)| *used)?;
        (limit > 0 && used as f64 > bound * limit as f64).then(|| {
            format!(
                "{} of {} {what} were in use, more than {}",
                format_count(used),
                format_count(limit),
                format_share(bound)
            )
        })
    })
}

/// Each source address has ports of its own.
fn ports_limit(plan: &Plan, generator: &GeneratorSlice) -> u64 {
    let sources = plan.client.connections.sources.len().max(1) as u64;
    generator.ports_limit.saturating_mul(sources)
}

/// What was lost on the way and sent again made users wait; whether the target's or our network lost it cannot be told.
fn resent(timeline: &Timeline<'_>, calm: &[&Slice]) -> Option<String> {
    let bound = timeline.plan.honesty.retransmits_max;
    let (sent, share) = retransmits(calm);
    (sent >= SEGMENTS_MIN && share > bound).then(|| {
        format!(
            "{} of the TCP segments were sent again, more than {}",
            format_share(share),
            format_share(bound)
        )
    })
}

fn unsent(plan: &Plan, calm: &[&Slice]) -> Option<String> {
    let sum = |of: fn(&Slice) -> u64| calm.iter().map(|slice| of(slice)).sum::<u64>();
    let (unsent, unmade, rowless) = (sum(|of| of.dropped), sum(|of| of.unmade), sum(|of| of.rowless));
    let intended = sum(|of| of.intended);
    if unsent as f64 <= UNSENT_MAX * intended as f64 {
        return None;
    }
    // Whether the target was slow or the time too short cannot be told; the generator's fault it is not.
    let mut told = Vec::new();
    if unmade > 0 {
        told.push(format!(
            "{unmade} passes were left unmade when the time of their load was over"
        ));
    }
    if rowless > 0 {
        told.push(dry(plan, rowless));
    }
    let kept = unsent.saturating_sub(unmade + rowless);
    if kept > 0 {
        let sendable = intended.saturating_sub(unmade + rowless);
        told.push(format!("{kept} of {sendable} intended requests could not be sent"));
    }
    Some(told.join(", "))
}

/// Passes that found no row left, and the feeders of which it may have been.
fn dry(plan: &Plan, passes: u64) -> String {
    let unique = plan.feeders.iter().filter(|feeder| feeder.order == RowOrder::Unique);
    let names: Vec<&str> = unique.map(|feeder| feeder.name.as_str()).collect();
    format!(
        "{passes} passes were not made, for feeder {} gives each row once (`order: unique`) and had none left",
        names.join(" or ")
    )
}

/// The seconds outside faults and recoveries: in one, a full queue or a silent peer is the target's doing.
fn calm<'a>(timeline: &Timeline<'a>, slices: &[&Slice]) -> Vec<&'a Slice> {
    let wanted: BTreeSet<u64> = slices.iter().map(|slice| slice.second).collect();
    let all = timeline.recording.slices.iter().zip(&timeline.phases);
    all.filter(|(slice, phase)| {
        !matches!(phase, Some(Phase::Fault | Phase::Recovery)) && wanted.contains(&slice.second)
    })
    .map(|(slice, _)| slice)
    .collect()
}

/// TCP segments sent, and the share of them that were sent again.
fn retransmits(slices: &[&Slice]) -> (u64, f64) {
    let sum = |of: fn(&GeneratorSlice) -> u64| slices.iter().map(|slice| of(&slice.generator)).sum::<u64>();
    let sent = sum(|generator| generator.segments_sent);
    let resent = sum(|generator| generator.segments_resent);
    (sent, resent as f64 / sent.max(1) as f64)
}

/// Each connection is one, even where the kernel does not count them.
fn descriptors(generator: &GeneratorSlice) -> u64 {
    generator.descriptors.max(generator.connections)
}

fn requests(slice: &Slice) -> u64 {
    slice.steps.iter().map(|step| step.ok + step.failures()).sum()
}

/// p99 of lag over these seconds, all steps; zero where nothing was sent.
pub(super) fn lag_p99(slices: &[&Slice]) -> Duration {
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

/// Share of the seconds that are so.
fn over(slices: &[&Slice], so: impl Fn(&GeneratorSlice) -> bool) -> f64 {
    let over = slices.iter().filter(|slice| so(&slice.generator)).count();
    over as f64 / slices.len().max(1) as f64
}
