//! `latency.hlog`: the latency of every second and step as an HdrHistogram V2 interval log, which HistogramLogProcessor
//! and everything else that knows the format can read. The histograms are those of the recording, merged no further.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::plan::Plan;
use crate::recording::{Hist, Recording};

/// Values are microseconds; the column of maxima, which people read, is in milliseconds as Java's writer has it.
const MAX_VALUE_DIVISOR: f64 = 1e3;
const VERSION: &str = "[Histogram log format version 1.3]";
const LEGEND: &str = "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n";
/// How long a slice is.
const INTERVAL: Duration = Duration::from_secs(1);

/// The log: an interval for each second in which requests of a step finished, tagged with the step's name.
#[must_use]
pub fn hlog(plan: &Plan, recording: &Recording) -> String {
    let mut log = header(plan, recording);
    let mut serializer = V2DeflateSerializer::new();
    let mut writer = IntervalLogWriterBuilder::new()
        .with_max_value_divisor(MAX_VALUE_DIVISOR)
        .begin_log_with(&mut log, &mut serializer)
        .expect("writing to memory cannot fail");
    let tags: Vec<String> = plan.steps.iter().map(|step| tag(&step.name)).collect();
    for slice in &recording.slices {
        for (step, name) in slice.steps.iter().zip(&tags) {
            let mut latency = Hist::working();
            // One that is damaged is left out here; the judge says so.
            if step.latency.add_to(&mut latency).is_ok() && !latency.is_empty() {
                writer
                    .write_histogram(&latency, Duration::from_secs(slice.second), INTERVAL, Tag::new(name))
                    .expect("writing to memory cannot fail");
            }
        }
    }
    String::from_utf8(log).expect("the log is made of texts and base64")
}

/// Intervals count from the start of the run in real UTC, which is both times that readers know.
fn header(plan: &Plan, recording: &Recording) -> Vec<u8> {
    let start = start(recording.t0_unix);
    let mut log = Vec::new();
    IntervalLogWriterBuilder::new()
        .add_comment(VERSION)
        .add_comment(&format!(
            "tenfold {}: {}, latency from the intended start in microseconds; a tag is a step",
            recording.recorded_by, plan.name
        ))
        .with_start_time(start)
        .with_base_time(start)
        .begin_log_with(&mut log, &mut V2DeflateSerializer::new())
        .expect("writing to memory cannot fail");
    log.extend_from_slice(LEGEND.as_bytes());
    log
}

fn start(unix: f64) -> SystemTime {
    UNIX_EPOCH + Duration::try_from_secs_f64(unix).unwrap_or_default()
}

/// The name without what ends a tag.
fn tag(name: &str) -> String {
    name.replace([',', ' ', '\r', '\n'], "_")
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::judge::fixture::{Fixture, well};
    use crate::plan::Fault;

    #[test]
    fn what_is_read_from_the_log_is_what_was_recorded() {
        let mut fixture = Fixture::new(Fault::RdsFailover, "database", Vec::new(), well);
        fixture.plan.steps[1].name = "order, paid".to_owned();
        fixture.recording.t0_unix = 1_700_000_000.25;
        let log = hlog(&fixture.plan, &fixture.recording);
        let mut read = [Hist::working(), Hist::working()];
        let mut intervals = 0;
        for entry in IntervalLogIterator::new(log.as_bytes()) {
            match entry.expect("every line is well-formed") {
                LogEntry::StartTime(at) | LogEntry::BaseTime(at) => {
                    assert_eq!(at, Duration::from_secs_f64(1_700_000_000.25));
                }
                LogEntry::Interval(interval) => {
                    let step = match interval.tag().expect("each has a tag").as_str() {
                        "browse" => 0,
                        "order__paid" => 1,
                        other => panic!("{other}"),
                    };
                    assert_eq!(interval.start_timestamp(), Duration::from_secs(intervals / 2));
                    assert_eq!(interval.duration(), INTERVAL);
                    let bytes = base64::Engine::decode(
                        &base64::engine::general_purpose::STANDARD,
                        interval.encoded_histogram(),
                    );
                    let histogram = Deserializer::new()
                        .deserialize::<u64, _>(&mut bytes.expect("is base64").as_slice())
                        .expect("is a V2 histogram");
                    assert!((interval.max() - histogram.max() as f64 / 1e3).abs() < 0.001);
                    read[step].add(&histogram).expect("same bounds");
                    intervals += 1;
                }
            }
        }
        let mut recorded = [Hist::working(), Hist::working()];
        for slice in &fixture.recording.slices {
            for (step, all) in slice.steps.iter().zip(&mut recorded) {
                step.latency.add_to(all).expect("is whole");
            }
        }
        assert_eq!(read, recorded);
        assert_eq!(intervals, 120);
    }

    #[test]
    fn the_header_says_when_in_what_and_of_what() {
        let mut fixture = Fixture::new(Fault::RdsFailover, "database", Vec::new(), well);
        fixture.recording.slices.clear();
        insta::assert_snapshot!(hlog(&fixture.plan, &fixture.recording));
    }
}
