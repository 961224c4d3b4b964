//! The summary of an ad hoc run, for people and for scripts. Percentiles come from merged histograms only.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::judge::Honesty;
use crate::plan::{LoadModel, Plan};
use crate::recording::{Hist, Recording, StepSlice};
use crate::units::{format_count, format_duration};

/// What an ad hoc run measured.
#[derive(Clone, Debug, Serialize)]
pub struct LoadSummary {
    /// Host and port.
    pub target: String,
    /// Closed or open model.
    pub model: LoadModel,
    /// Users, or requests a second asked for.
    pub level: f64,
    /// Seconds of load.
    pub seconds: f64,
    /// Requests whose time came.
    pub intended: u64,
    /// Requests that ended, well or not.
    pub requests: u64,
    /// Requests that ended, a second.
    pub rate: f64,
    /// Requests answered as expected.
    pub ok: u64,
    /// Failures by kind.
    pub failed: BTreeMap<String, u64>,
    /// Requests that were not sent: the generator's own limits, or too many waiting already.
    pub not_sent: u64,
    /// From the intended start, milliseconds.
    pub latency_ms: Distribution,
    /// From the moment a connection was free, milliseconds.
    pub service_time_ms: Distribution,
    /// How late requests started, milliseconds.
    pub lag_ms: Distribution,
    /// Answers by who served them, where they say so.
    pub served: BTreeMap<String, u64>,
    /// The generator itself.
    pub generator: GeneratorSummary,
}

/// A distribution, from one merged histogram (error below 1 %).
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Distribution {
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// Largest.
    pub max: f64,
}

/// What the generator used.
#[derive(Clone, Debug, Serialize)]
pub struct GeneratorSummary {
    /// CPU seconds of the whole process for a million requests, while the load ran.
    pub cpu_seconds_per_million: f64,
    /// Cores used on average.
    pub cores: f64,
    /// Most connections open at once.
    pub connections: u64,
    /// Most memory resident, bytes.
    pub resident_bytes: u64,
    /// Why the figures are not to be believed; none when they are.
    pub spoiled: Option<String>,
}

impl LoadSummary {
    /// Sums a recording up.
    #[must_use]
    pub fn new(plan: &Plan, recording: &Recording, honesty: &Honesty) -> Self {
        let slices = &recording.slices;
        let steps = || slices.iter().flat_map(|slice| &slice.steps);
        let ok: u64 = steps().map(|step| step.ok).sum();
        let requests = ok + steps().map(StepSlice::failures).sum::<u64>();
        let mut failed = BTreeMap::new();
        for (kind, count) in steps().flat_map(|step| &step.failed) {
            *failed.entry(super::text::failure(*kind).to_owned()).or_default() += count;
        }
        let mut served = BTreeMap::new();
        let named = slices.iter().flat_map(|slice| &slice.served);
        for (by, count) in named.filter(|(by, _)| !by.instance.is_empty()) {
            *served.entry(by.to_string()).or_default() += count;
        }
        let seconds = plan.ends_at.min(recording.duration).as_secs_f64();
        let cpu: f64 = slices.iter().map(|slice| slice.generator.cpu_process).sum();
        Self {
            target: plan.target.name.clone(),
            model: plan.model,
            level: plan.stages.first().map_or(0.0, |stage| stage.level),
            seconds,
            intended: slices.iter().map(|slice| slice.intended).sum(),
            requests,
            rate: requests as f64 / seconds.max(1e-9),
            ok,
            failed,
            not_sent: slices.iter().map(|slice| slice.dropped).sum(),
            latency_ms: Distribution::of(steps().map(|step| &step.latency)),
            service_time_ms: Distribution::of(steps().map(|step| &step.service_time)),
            lag_ms: Distribution::of(steps().map(|step| &step.lag)),
            served,
            generator: GeneratorSummary {
                cpu_seconds_per_million: cpu * 1e6 / requests.max(1) as f64,
                cores: cpu / slices.len().max(1) as f64,
                connections: honesty.connections_max,
                resident_bytes: honesty.resident_max,
                spoiled: honesty.spoiled.clone(),
            },
        }
    }

    /// As JSON on one line.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("a summary holds only numbers and texts")
    }

    /// For a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out).expect("writing to memory cannot fail");
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let asked = match self.model {
            LoadModel::Users => format!("{} users", format_count(self.level as u64)),
            LoadModel::Arrivals => format!("{} requests/s asked", format_count(self.level as u64)),
        };
        writeln!(out, "{} for {:.1}s, {asked}", self.target, self.seconds)?;
        writeln!(
            out,
            "  requests   {}, {}/s, {} ok",
            format_count(self.requests),
            format_count(self.rate as u64),
            format_count(self.ok)
        )?;
        for (kind, count) in &self.failed {
            writeln!(out, "  failed     {} {kind}", format_count(*count))?;
        }
        if self.not_sent > 0 {
            writeln!(out, "  not sent   {}", format_count(self.not_sent))?;
        }
        writeln!(out, "                 p50      p90      p99    p99.9      max")?;
        self.latency_ms.row(out, "latency", "from the intended start")?;
        self.service_time_ms.row(out, "service", "from a free connection")?;
        self.lag_ms.row(out, "lag", "of the generator")?;
        for (by, count) in &self.served {
            writeln!(out, "  served by  {by}: {}", format_count(*count))?;
        }
        let generator = &self.generator;
        writeln!(
            out,
            "  generator  {:.2} CPU s per million requests, {:.2} cores, {} MiB, {} connections",
            generator.cpu_seconds_per_million,
            generator.cores,
            generator.resident_bytes >> 20,
            format_count(generator.connections)
        )?;
        match &generator.spoiled {
            Some(reason) => writeln!(out, "  not to be believed: {reason}"),
            None => Ok(()),
        }
    }
}

impl Distribution {
    fn of<'a>(parts: impl Iterator<Item = &'a Hist>) -> Self {
        let mut merged: Histogram<u64> = Hist::working();
        for part in parts {
            part.add_to(&mut merged).expect("this process encoded it");
        }
        if merged.is_empty() {
            return Self::default();
        }
        let at = |quantile| merged.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            mean: merged.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: merged.max() as f64 / 1e3,
        }
    }

    fn row(&self, out: &mut String, name: &str, what: &str) -> std::fmt::Result {
        let figure = |millis: f64| format_duration(Duration::from_secs_f64(millis / 1e3));
        writeln!(
            out,
            "  {name:<9} {:>8} {:>8} {:>8} {:>8} {:>8}   {what}",
            figure(self.p50),
            figure(self.p90),
            figure(self.p99),
            figure(self.p999),
            figure(self.max)
        )
    }
}
