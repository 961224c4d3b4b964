//! Per-second arrays for the charts, one value per recorded second in every array.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::event::Event;
use crate::plan::Plan;
use crate::recording::{ClassSlice, FailureKind, Hist, Recording, Slice};

/// What the charts draw. `null` where there was nothing to measure.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Series {
    /// Cloud seconds since t0 at which each real second began.
    pub cloud: Vec<f64>,
    /// Users alive, or requests in flight in the open model.
    pub users: Vec<u64>,
    /// Requests intended per second of real time.
    pub intended: Vec<u64>,
    /// Requests that succeeded.
    pub ok: Vec<u64>,
    /// Requests that could not be sent.
    pub dropped: Vec<u64>,
    /// Attempts after the first one of a request.
    pub retries: Vec<u64>,
    /// Median latency, milliseconds.
    pub p50: Vec<Option<f64>>,
    /// 95th percentile.
    pub p95: Vec<Option<f64>>,
    /// 99th percentile.
    pub p99: Vec<Option<f64>>,
    /// Failures by kind.
    pub errors: BTreeMap<String, Vec<u64>>,
    /// Share of started requests by the Region they were sent to.
    pub sent: BTreeMap<String, Vec<Option<f64>>>,
    /// Share of answers by the AZ that served them.
    pub zones: BTreeMap<String, Vec<Option<f64>>>,
    /// Classes of clients by name; none where all users are alike.
    pub classes: BTreeMap<String, ClassSeries>,
    /// Auto Scaling groups by `Region group`.
    pub groups: BTreeMap<String, GroupSeries>,
}

/// One class of clients over time.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ClassSeries {
    /// Requests intended.
    pub intended: Vec<u64>,
    /// Attempts, the first ones included.
    pub attempts: Vec<u64>,
    /// Requests that succeeded.
    pub ok: Vec<u64>,
    /// Requests that failed, after all their attempts.
    pub failed: Vec<u64>,
    /// Attempts per intended request.
    pub amplification: Vec<Option<f64>>,
}

/// One group over time.
#[derive(Clone, Debug, Default, Serialize)]
pub struct GroupSeries {
    /// DesiredCapacity as last polled.
    pub desired: Vec<Option<u32>>,
    /// In service as last polled.
    pub in_service: Vec<Option<u32>>,
    /// Members that answered a request in that second.
    pub serving: Vec<u64>,
}

impl Series {
    /// Takes them from a recording.
    #[must_use]
    pub fn new(plan: &Plan, recording: &Recording) -> Self {
        let slices = &recording.slices;
        let mut series = Self {
            cloud: slices
                .iter()
                .map(|slice| slice.second as f64 * plan.pace.times())
                .collect(),
            users: slices.iter().map(|slice| slice.users).collect(),
            intended: slices.iter().map(|slice| slice.intended).collect(),
            ok: slices
                .iter()
                .map(|slice| slice.steps.iter().map(|step| step.ok).sum())
                .collect(),
            dropped: slices.iter().map(|slice| slice.dropped).collect(),
            retries: slices.iter().map(|slice| slice.retries).collect(),
            ..Self::default()
        };
        for slice in slices {
            let [p50, p95, p99] = percentiles(slice);
            series.p50.push(p50);
            series.p95.push(p95);
            series.p99.push(p99);
        }
        series.errors = errors(slices);
        series.sent = shares(slices, |slice| {
            slice
                .sent
                .iter()
                .map(|(region, count)| (region.clone(), *count))
                .collect()
        });
        series.zones = shares(slices, |slice| {
            slice
                .served
                .iter()
                .map(|(served, count)| (served.az.clone(), *count))
                .collect()
        });
        series.classes = classes(plan, slices);
        series.groups = groups(recording);
        series
    }
}

fn percentiles(slice: &Slice) -> [Option<f64>; 3] {
    let mut merged = Hist::working();
    for step in &slice.steps {
        // A damaged histogram leaves a gap in the chart; the judge says so.
        let _ = step.latency.add_to(&mut merged);
    }
    [50.0, 95.0, 99.0]
        .map(|percentile| (!merged.is_empty()).then(|| merged.value_at_percentile(percentile) as f64 / 1000.0))
}

fn errors(slices: &[Slice]) -> BTreeMap<String, Vec<u64>> {
    let kinds: BTreeSet<FailureKind> = slices
        .iter()
        .flat_map(|slice| &slice.steps)
        .flat_map(|step| step.failed.keys().copied())
        .collect();
    kinds
        .into_iter()
        .map(|kind| {
            let counts = slices
                .iter()
                .map(|slice| slice.steps.iter().filter_map(|step| step.failed.get(&kind)).sum())
                .collect();
            (super::text::failure(kind).to_owned(), counts)
        })
        .collect()
}

fn shares(slices: &[Slice], counts: impl Fn(&Slice) -> Vec<(String, u64)>) -> BTreeMap<String, Vec<Option<f64>>> {
    let counted: Vec<Vec<(String, u64)>> = slices.iter().map(counts).collect();
    let names: BTreeSet<&String> = counted.iter().flatten().map(|(name, _)| name).collect();
    names
        .into_iter()
        .map(|name| {
            let values = counted
                .iter()
                .map(|second| {
                    let all: u64 = second.iter().map(|(_, count)| count).sum();
                    let mine: u64 = second.iter().filter(|(of, _)| of == name).map(|(_, count)| count).sum();
                    (all > 0).then(|| mine as f64 / all as f64)
                })
                .collect();
            let shown = if name.is_empty() { "unknown" } else { name.as_str() };
            (shown.to_owned(), values)
        })
        .collect()
}

fn classes(plan: &Plan, slices: &[Slice]) -> BTreeMap<String, ClassSeries> {
    let nothing = ClassSlice::default();
    let of = |index: usize| {
        let mut series = ClassSeries::default();
        for slice in slices {
            let class = slice.classes.get(index).unwrap_or(&nothing);
            series.intended.push(class.intended);
            series.attempts.push(class.attempts);
            series.ok.push(class.ok);
            series.failed.push(class.failed);
            series.amplification.push(class.amplification());
        }
        series
    };
    let classes = plan.client.classes.iter().enumerate();
    classes.map(|(index, class)| (class.name.clone(), of(index))).collect()
}

fn groups(recording: &Recording) -> BTreeMap<String, GroupSeries> {
    /// Instant, desired, in service.
    type Poll = (f64, u32, u32);
    let mut polls: BTreeMap<(&str, &str), Vec<Poll>> = BTreeMap::new();
    for stamped in &recording.events {
        if let Event::GroupPolled {
            region,
            group,
            desired,
            in_service,
            ..
        } = &stamped.event
        {
            polls
                .entry((region, group))
                .or_default()
                .push((stamped.at.as_secs_f64(), *desired, *in_service));
        }
    }
    polls
        .into_iter()
        .map(|((region, group), polls)| {
            let mut series = GroupSeries::default();
            for slice in &recording.slices {
                let end = slice.second as f64 + 1.0;
                let last = polls.iter().rev().find(|(at, ..)| *at < end);
                series.desired.push(last.map(|(_, desired, _)| *desired));
                series.in_service.push(last.map(|(.., in_service)| *in_service));
                let serving: BTreeSet<&str> = slice
                    .served
                    .keys()
                    .filter(|served| served.region == region && !served.instance.is_empty())
                    .map(|served| served.instance.as_str())
                    .collect();
                series.serving.push(serving.len() as u64);
            }
            (format!("{region} {group}"), series)
        })
        .collect()
}
