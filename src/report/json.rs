//! `report.json`: deterministic bytes. Keys are sorted and fractions rounded, so that a run judged again from its
//! files gives the same text as the run itself.

use serde_json::Value;

use super::Report;

/// Digits kept after the point; finer than anything measured.
const DIGITS: f64 = 1e6;

/// The report as indented JSON with a final newline.
#[must_use]
pub fn json(report: &Report) -> String {
    let mut value = serde_json::to_value(report).expect("a report has only string keys");
    round(&mut value);
    let mut text = serde_json::to_string_pretty(&value).expect("a JSON value always serialises");
    text.push('\n');
    text
}

/// The value of anything serialisable with the same rounding, for the page's script.
pub(super) fn rounded(of: &impl serde::Serialize) -> String {
    let mut value = serde_json::to_value(of).expect("report parts have only string keys");
    round(&mut value);
    value.to_string()
}

fn round(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            if let Some(float) = number.as_f64() {
                *value = serde_json::json!((float * DIGITS).round() / DIGITS);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(round),
        Value::Object(map) => map.values_mut().for_each(round),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::judge::fixture::{Fixture, well};
    use crate::judge::judge;
    use crate::plan::Fault;
    use crate::recording::Recording;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// Read one bit off, an instant of the year 2026 may be another microsecond.
        #[test]
        fn a_recording_that_was_saved_gives_the_same_report(t0 in 1.79e9..1.8e9_f64) {
            let mut fixture = Fixture::new(Fault::RdsFailover, "database", Vec::new(), well);
            let verdict = judge(&fixture.plan, &fixture.recording);
            let told = |recording: &Recording| json(&Report::new(&fixture.plan, recording, verdict.clone()));
            for t0_unix in [t0, 1_795_490_533.923_589_5] {
                fixture.recording.t0_unix = t0_unix;
                let saved = serde_json::to_vec(&fixture.recording).expect("serialises");
                let read: Recording = serde_json::from_slice(&saved).expect("parses");
                prop_assert_eq!(read.t0_unix, t0_unix);
                prop_assert_eq!(told(&read), told(&fixture.recording));
            }
        }
    }
}
