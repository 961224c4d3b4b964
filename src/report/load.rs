//! The summary of an ad hoc run, for people and for scripts. Percentiles come from merged histograms only.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::{CommandSummary, Distribution, Failures, Times, commands};
use crate::judge::{Honesty, Timeline};
use crate::plan::{LoadModel, Plan};
use crate::recording::{Recording, StepSlice};
use crate::units::{format_count, format_duration, format_rate};

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
    /// The same by step, with the reason of the first of each kind.
    pub failures: Vec<Failures>,
    /// Requests that were not sent: the generator's own limits, or too many waiting already.
    pub not_sent: u64,
    /// From the intended start, milliseconds.
    pub latency_ms: Distribution,
    /// The same of those that succeeded.
    pub latency_ok_ms: Option<Distribution>,
    /// The same of those that failed.
    pub latency_failed_ms: Option<Distribution>,
    /// From the moment a connection was free, milliseconds.
    pub service_time_ms: Distribution,
    /// How late requests started, milliseconds.
    pub lag_ms: Distribution,
    /// Waiting for a connection, milliseconds.
    pub blocked_ms: Option<Distribution>,
    /// From sending to the first byte of the answer, milliseconds.
    pub first_byte_ms: Option<Distribution>,
    /// Connects, milliseconds.
    pub connect_ms: Option<Distribution>,
    /// TLS handshakes, milliseconds.
    pub tls_ms: Option<Distribution>,
    /// Answers by who served them, where they say so.
    pub served: BTreeMap<String, u64>,
    /// What it was told while it went on.
    pub commands: Vec<CommandSummary>,
    /// The generator itself.
    pub generator: GeneratorSummary,
    #[serde(skip)]
    times: Times,
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
    /// Highest share of the machine's CPU time stolen in a second.
    pub steal: f64,
    /// Share of TCP segments that were sent again.
    pub retransmits: f64,
    /// Most descriptors in use.
    pub descriptors: u64,
    /// Most local ports in use to one address.
    pub ports: u64,
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
        let seconds = Timeline::new(plan, recording).load_end();
        let times = Times::new(plan, recording);
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
            failures: Failures::all(plan, recording),
            not_sent: slices.iter().map(|slice| slice.dropped).sum(),
            latency_ms: times.all.latency.unwrap_or_default(),
            latency_ok_ms: times.all.latency_ok,
            latency_failed_ms: times.all.latency_failed,
            service_time_ms: times.all.service_time.unwrap_or_default(),
            lag_ms: times.all.lag.unwrap_or_default(),
            blocked_ms: times.all.blocked,
            first_byte_ms: times.all.first_byte,
            connect_ms: times.connect,
            tls_ms: times.tls,
            served,
            commands: commands(plan, recording),
            generator: GeneratorSummary {
                cpu_seconds_per_million: cpu * 1e6 / requests.max(1) as f64,
                cores: cpu / seconds.max(1e-9),
                connections: honesty.connections_max,
                steal: honesty.steal_max,
                retransmits: honesty.retransmits_run,
                descriptors: honesty.descriptors_max,
                ports: honesty.ports_max,
                resident_bytes: honesty.resident_max,
                spoiled: honesty.spoiled.clone(),
            },
            times,
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
            LoadModel::Users if self.level == 1.0 => "1 user".to_owned(),
            LoadModel::Users => format!("{} users", format_count(self.level as u64)),
            LoadModel::Arrivals | LoadModel::Mixed => format!("{} requests/s asked", format_rate(self.level)),
        };
        writeln!(out, "{} for {:.1}s, {asked}", self.target, self.seconds)?;
        writeln!(
            out,
            "  requests   {}, {}/s, {} ok",
            format_count(self.requests),
            format_rate(self.rate),
            format_count(self.ok)
        )?;
        for (kind, count) in &self.failed {
            let mut of_kind = self.failures.iter().filter(|failures| failures.kind == kind.as_str());
            let first = of_kind.find_map(|failures| failures.first.as_ref());
            let why = first.map(|first| format!(", the first: {first}")).unwrap_or_default();
            writeln!(out, "  failed     {} {kind}{why}", format_count(*count))?;
        }
        if self.not_sent > 0 {
            writeln!(out, "  not sent   {}", format_count(self.not_sent))?;
        }
        out.push_str(&self.times.table());
        for (by, count) in &self.served {
            writeln!(out, "  served by  {by}: {}", format_count(*count))?;
        }
        for command in &self.commands {
            writeln!(out, "  steered    at {}: {}", format_duration(command.at), command.did)?;
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
