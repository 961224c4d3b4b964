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
