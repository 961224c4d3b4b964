//! Where the time of requests went: distributions of everything that was timed, of the whole run and by step. Real
//! time, in milliseconds; each from one merged histogram, never an average of percentiles.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::plan::Plan;
use crate::recording::{Hist, Recording, StepSlice};
use crate::units::{format_count, format_duration};

/// A distribution, from one merged histogram (error below 1 %), in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Distribution {
    /// How many it is of.
    pub count: u64,
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

impl Distribution {
    /// Of the parts together; none of nothing.
    #[must_use]
    pub fn of<'a>(parts: impl Iterator<Item = &'a Hist>) -> Option<Self> {
        Self::of_merged(&merged(parts))
    }

    fn of_merged(merged: &Histogram<u64>) -> Option<Self> {
        if merged.is_empty() {
            return None;
        }
        let at = |quantile| merged.value_at_quantile(quantile) as f64 / 1e3;
        Some(Self {
            count: merged.len(),
            mean: merged.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: merged.max() as f64 / 1e3,
        })
    }

    /// p50, p90, p99, p99.9 and the largest, as a person reads them.
    #[must_use]
    pub(super) fn figures(&self) -> [String; 5] {
        [self.p50, self.p90, self.p99, self.p999, self.max].map(|millis| match millis {
            0.0 => "0".to_owned(),
            millis => format_duration(Duration::from_secs_f64(millis / 1e3)),
        })
    }
}

fn merged<'a>(parts: impl Iterator<Item = &'a Hist>) -> Histogram<u64> {
    let mut merged = Hist::working();
    for part in parts {
        // A damaged histogram adds nothing; the judge says so.
        let _ = part.add_to(&mut merged);
    }
    merged
}

/// Latency of successes: that of all without that of failures, which is exact. None where a recording from before they
/// were kept apart has failures.
fn of_successes<'a, I: Iterator<Item = &'a StepSlice>>(cells: impl Fn() -> I) -> Option<Distribution> {
    if cells().any(|step| step.failures() > 0 && step.latency_failed.is_empty()) {
        return None;
    }
    let mut all = merged(cells().map(|step| &step.latency));
    all.subtract(merged(cells().map(|step| &step.latency_failed))).ok()?;
    Distribution::of_merged(&all)
}

/// What is timed of every request; none where a recording does not have it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RequestTimes {
    /// From the intended start to the end.
    pub latency: Option<Distribution>,
    /// The same of those that succeeded.
    pub latency_ok: Option<Distribution>,
    /// The same of those that failed.
    pub latency_failed: Option<Distribution>,
    /// From the moment a connection was free to the end.
    pub service_time: Option<Distribution>,
    /// From the intended start to the actual one.
    pub lag: Option<Distribution>,
    /// Waiting for a connection, from the actual start.
    pub blocked: Option<Distribution>,
    /// From sending to the first byte of the answer, of those that got one.
    pub first_byte: Option<Distribution>,
    /// How long streams of events were silent, from the head to the first event and from each to the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gaps: Option<Distribution>,
}

/// Everything that was timed in a run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Times {
    /// Of all requests.
    #[serde(flatten)]
    pub all: RequestTimes,
    /// Connects, of the connections that were opened.
    pub connect: Option<Distribution>,
    /// TLS handshakes, the same.
    pub tls: Option<Distribution>,
    /// By step.
    pub steps: BTreeMap<String, RequestTimes>,
    /// By group: of passes through all of it, from the intended start of the first request to the end of the last.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, RequestTimes>,
}

impl RequestTimes {
    fn of<'a, I: Iterator<Item = &'a StepSlice>>(cells: impl Fn() -> I) -> Self {
        let of = |hist: fn(&StepSlice) -> &Hist| Distribution::of(cells().map(hist));
        Self {
            latency: of(|step| &step.latency),
            latency_ok: of_successes(&cells),
            latency_failed: of(|step| &step.latency_failed),
            service_time: of(|step| &step.service_time),
            lag: of(|step| &step.lag),
            blocked: of(|step| &step.blocked),
            first_byte: of(|step| &step.first_byte),
            gaps: of(|step| &step.gaps),
        }
    }

    /// Those there are, each with its name and what it says.
    fn rows(&self) -> impl Iterator<Item = Row> {
        // Where nothing failed, successes are all there is.
        let ok = self.latency_failed.and(self.latency_ok);
        let rows = [
            ("latency", self.latency, "from the intended start"),
            ("· ok", ok, "of those that succeeded"),
            ("· failed", self.latency_failed, "of those that failed"),
            ("service", self.service_time, "from a free connection"),
            ("lag", self.lag, "of the generator"),
            ("blocked", self.blocked, "waiting for a connection"),
            ("first byte", self.first_byte, "from sending"),
            ("gap", self.gaps, "between events of a stream"),
        ];
        rows.into_iter()
            .filter_map(|(name, of, what)| Some(Row::new(name, of?, what)))
    }
}

/// One line of a table of times.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub name: &'static str,
    pub of: Distribution,
    pub what: String,
}

impl Row {
    fn new(name: &'static str, of: Distribution, what: impl Into<String>) -> Self {
        Self {
            name,
            of,
            what: what.into(),
        }
    }
}

impl Times {
    /// Takes them from a recording.
    #[must_use]
    pub fn new(plan: &Plan, recording: &Recording) -> Self {
        let slices = &recording.slices;
        let of_step = |index: usize| RequestTimes::of(|| slices.iter().filter_map(move |slice| slice.steps.get(index)));
        let of_group =
            |index: usize| RequestTimes::of(|| slices.iter().filter_map(move |slice| slice.groups.get(index)));
        Self {
            all: RequestTimes::of(|| slices.iter().flat_map(|slice| &slice.steps)),
            connect: Distribution::of(slices.iter().map(|slice| &slice.connect)),
            tls: Distribution::of(slices.iter().map(|slice| &slice.tls)),
            groups: plan
                .groups()
                .into_iter()
                .enumerate()
                .map(|(index, group)| (group.to_owned(), of_group(index)))
                .collect(),
            steps: plan
                .steps
                .iter()
                .enumerate()
                .map(|(index, step)| (step.name.clone(), of_step(index)))
                .collect(),
        }
    }

    /// Those of the whole run.
    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = self.all.rows().collect();
        if let Some(connect) = self.connect {
            rows.push(Row::new(
                "connect",
                connect,
                format!("of {} opened", format_count(connect.count)),
            ));
        }
        rows.extend(self.tls.map(|tls| Row::new("tls", tls, "handshakes")));
        rows
    }

    /// Those of each step, then those of each group.
    pub(super) fn step_rows(&self) -> Vec<(&str, Vec<Row>)> {
        let rows = |(name, times)| (String::as_str(name), RequestTimes::rows(times).collect());
        self.steps.iter().chain(&self.groups).map(rows).collect()
    }

    /// A table for a terminal, its lines indented by two; nothing where nothing was timed.
    pub(super) fn table(&self) -> String {
        let rows = self.rows();
        if rows.is_empty() {
            return String::new();
        }
        let mut out = "                  p50      p90      p99    p99.9      max\n".to_owned();
        for row in rows {
            let [p50, p90, p99, p999, max] = row.of.figures();
            out += &format!(
                "  {:<10} {p50:>8} {p90:>8} {p99:>8} {p999:>8} {max:>8}   {}\n",
                row.name, row.what
            );
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::FailureKind;

    /// Successes after 10 ms, 20 ms and so on, failures after 1 s.
    fn step(ok: u64, failed: u64) -> StepSlice {
        let (mut all, mut failures) = (Hist::working(), Hist::working());
        for number in 1..=ok {
            all.record(number * 10_000).expect("within bounds");
        }
        all.record_n(1_000_000, failed).expect("within bounds");
        failures.record_n(1_000_000, failed).expect("within bounds");
        StepSlice {
            ok,
            failed: BTreeMap::from([(FailureKind::Reset, failed)]),
            latency: Hist::encode(&all),
            latency_failed: Hist::encode(&failures),
            ..StepSlice::default()
        }
    }

    #[test]
    fn successes_are_what_is_left_without_failures() {
        let (mixed, alone) = ([step(90, 30), step(40, 0)], [step(90, 0), step(40, 0)]);
        let times = RequestTimes::of(|| mixed.iter());
        assert_eq!(times.latency_ok, RequestTimes::of(|| alone.iter()).latency);
        let counts = [times.latency, times.latency_ok, times.latency_failed].map(|of| of.map(|of| of.count));
        assert_eq!(counts, [Some(160), Some(130), Some(30)]);
        assert!(times.latency.unwrap().p99 > 900.0 && times.latency_ok.unwrap().max < 910.0);
    }

    #[test]
    fn an_older_recording_does_not_pass_its_failures_off_as_successes() {
        let mut old = step(90, 30);
        old.latency_failed = Hist::default();
        let times = RequestTimes::of(|| std::iter::once(&old));
        assert_eq!((times.latency.map(|of| of.count), times.latency_ok), (Some(120), None));
        let read: StepSlice =
            serde_json::from_str(r#"{"ok":1,"failed":{},"latency":"","service_time":"","lag":""}"#).unwrap();
        assert!(read.blocked.is_empty() && read.first_byte.is_empty());
    }

    #[test]
    fn a_table_names_what_was_timed_and_nothing_else() {
        let mut waited = Hist::working();
        waited.record_n(0, 95).expect("within bounds");
        waited.record_n(3_000, 5).expect("within bounds");
        let mixed = [step(90, 30)];
        let mut times = Times {
            all: RequestTimes::of(|| mixed.iter()),
            ..Times::default()
        };
        times.all.blocked = Distribution::of_merged(&waited);
        times.connect = Distribution::of_merged(&waited);
        insta::assert_snapshot!(times.table());
        let gaps = |times: &Times| (times.table().contains("\n  gap "), serde_json::to_value(times).unwrap());
        let (shown, written) = gaps(&times);
        assert!(
            !shown && written.get("gaps").is_none(),
            "nothing was streamed: {written}"
        );
        times.all.gaps = Distribution::of_merged(&waited);
        let (shown, written) = gaps(&times);
        assert!(shown && written["gaps"]["count"] == 100, "{written}");
        assert_eq!(Times::default().table(), "");
    }
}
