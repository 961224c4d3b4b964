//! How CloudWatch judges an alarm: M of N datapoints, with AWS's rules for missing ones. Pure.

use std::collections::VecDeque;

use crate::lab::world::{Alarm, CloudTime, MetricPoint};

/// How many datapoints beyond N the evaluation range holds, to make up for missing ones.
const SPARE: usize = 2;

/// What the datapoints say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmVerdict {
    /// Within the threshold.
    Ok,
    /// Beyond it.
    Alarm,
    /// Nothing to judge by.
    InsufficientData,
    /// `ignore`: the state stays.
    Keep,
}

impl AlarmVerdict {
    /// The state as the API names it.
    #[must_use]
    pub fn state(self, before: &str) -> &str {
        match self {
            Self::Ok => "OK",
            Self::Alarm => "ALARM",
            Self::InsufficientData => "INSUFFICIENT_DATA",
            Self::Keep => before,
        }
    }
}

/// The evaluation range, oldest first: one statistic per period, none where the metric has no data.
#[must_use]
pub fn datapoints(
    alarm: &Alarm,
    series: Option<&VecDeque<MetricPoint>>,
    delay: f64,
    now: CloudTime,
) -> Vec<Option<f64>> {
    let period = f64::from(alarm.period_s.max(1));
    // The newest period that can be complete and visible now.
    let end = ((now - delay + 0.001) / period).floor() * period;
    let wanted = alarm.evaluation_periods as usize + SPARE;
    (1..=wanted)
        .rev()
        .map(|back| {
            let from = end - back as f64 * period;
            let points = || {
                let visible = |p: &&MetricPoint| p.visible_at <= now + 0.001;
                series
                    .into_iter()
                    .flatten()
                    .filter(visible)
                    .filter(|p| p.minute >= from && p.minute < from + period)
            };
            statistic(&alarm.statistic, points())
        })
        .collect()
}

/// Judges the evaluation range (oldest first).
#[must_use]
pub fn evaluate(alarm: &Alarm, range: &[Option<f64>]) -> AlarmVerdict {
    let n = alarm.evaluation_periods.max(1) as usize;
    let m = alarm.datapoints_to_alarm.clamp(1, n as u32) as usize;
    let existing: Vec<f64> = range.iter().rev().flatten().copied().take(n).collect();
    let breaching = existing
        .iter()
        .filter(|value| breaches(&alarm.comparison, **value, alarm.threshold))
        .count();
    let missing = n - existing.len();
    let fine = existing.len() - breaching;
    let by_count = |breaching: usize| {
        if breaching >= m {
            AlarmVerdict::Alarm
        } else {
            AlarmVerdict::Ok
        }
    };
    if missing == 0 {
        return by_count(breaching);
    }
    match alarm.treat_missing_data.as_str() {
        "breaching" => by_count(breaching + missing),
        "notBreaching" => by_count(breaching),
        _ if breaching >= m => AlarmVerdict::Alarm,
        _ if fine > 0 => AlarmVerdict::Ok,
        "ignore" => AlarmVerdict::Keep,
        // No premature alarm: with too few datapoints, all breaching, the oldest must be as old as M periods.
        _ if breaching > 0
            && range
                .iter()
                .rev()
                .rposition(Option::is_some)
                .is_some_and(|age| age + 1 >= m) =>
        {
            AlarmVerdict::Alarm
        }
        _ if breaching > 0 => AlarmVerdict::Keep,
        _ => AlarmVerdict::InsufficientData,
    }
}

/// StateReason in AWS's words.
#[must_use]
pub fn reason(alarm: &Alarm, range: &[Option<f64>], state: &str) -> String {
    let n = alarm.evaluation_periods.max(1) as usize;
    let recent: Vec<f64> = range.iter().rev().flatten().copied().take(n).collect();
    if state == "INSUFFICIENT_DATA" || recent.is_empty() {
        return format!("Insufficient Data: {n} datapoints were unknown.");
    }
    let breaching = |value: &&f64| breaches(&alarm.comparison, **value, alarm.threshold);
    let (count, was) = if state == "ALARM" {
        (recent.iter().filter(breaching).count(), "was")
    } else {
        (recent.iter().filter(|v| !breaching(v)).count(), "was not")
    };
    let values: Vec<String> = recent.iter().map(|value| format!("{value:.2}")).collect();
    let relation = relation(&alarm.comparison);
    format!(
        "Threshold Crossed: {count} out of the last {n} datapoints [{}] {was} {relation} the threshold ({:.1}).",
        values.join(", "),
        alarm.threshold
    )
}

fn relation(comparison: &str) -> &'static str {
    match comparison {
        "GreaterThanThreshold" => "greater than",
        "GreaterThanOrEqualToThreshold" => "greater than or equal to",
        "LessThanThreshold" => "less than",
        _ => "less than or equal to",
    }
}

fn breaches(comparison: &str, value: f64, threshold: f64) -> bool {
    match comparison {
        "GreaterThanThreshold" => value > threshold,
        "GreaterThanOrEqualToThreshold" => value >= threshold,
        "LessThanThreshold" => value < threshold,
        _ => value <= threshold,
    }
}

fn statistic<'p>(name: &str, points: impl Iterator<Item = &'p MetricPoint>) -> Option<f64> {
    let (mut count, mut sum, mut min, mut max) = (0.0, 0.0, f64::INFINITY, f64::NEG_INFINITY);
    for point in points {
        count += point.count;
        sum += point.sum;
        min = f64::min(min, point.min);
        max = f64::max(max, point.max);
    }
    (count > 0.0).then_some(match name {
        "Sum" => sum,
        "Minimum" => min,
        "Maximum" => max,
        "SampleCount" => count,
        _ => sum / count,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::world::MetricKey;

    fn alarm(m: u32, n: u32, missing: &str) -> Alarm {
        Alarm {
            name: "a".into(),
            arn: String::new(),
            description: String::new(),
            metric: MetricKey {
                namespace: "AWS/EC2".into(),
                name: "CPUUtilization".into(),
                dimensions: vec![],
            },
            statistic: "Average".into(),
            period_s: 60,
            evaluation_periods: n,
            datapoints_to_alarm: m,
            threshold: 40.0,
            comparison: "GreaterThanThreshold".into(),
            treat_missing_data: missing.into(),
            actions_enabled: true,
            alarm_actions: vec![],
            state: "OK".into(),
            state_reason: String::new(),
            state_updated_at: 0.0,
            state_transitioned_at: 0.0,
        }
    }

    /// `0` fine, `X` breaching, `-` missing, oldest first, as in AWS's tables.
    fn range(text: &str) -> Vec<Option<f64>> {
        text.chars()
            .map(|c| match c {
                '0' => Some(1.0),
                'X' => Some(99.0),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn missing_data_is_treated_as_in_the_tables_of_the_user_guide() {
        use AlarmVerdict::{Alarm, InsufficientData, Keep, Ok};
        let treatments = ["missing", "ignore", "breaching", "notBreaching"];
        let three_of_three = [
            ("0-X-X", [Ok; 4]),
            ("0----", [Ok; 4]),
            ("-----", [InsufficientData, Keep, Alarm, Ok]),
            ("0XX-X", [Alarm; 4]),
            ("--X--", [Alarm, Keep, Alarm, Ok]),
            ("---XX", [Keep, Keep, Alarm, Ok]),
        ];
        for (text, expected) in three_of_three {
            for (treatment, verdict) in treatments.iter().zip(expected) {
                assert_eq!(
                    evaluate(&alarm(3, 3, treatment), &range(text)),
                    verdict,
                    "{text} {treatment}"
                );
            }
        }
        let two_of_three = [
            ("0-X-X", [Alarm; 4]),
            ("00X0X", [Alarm; 4]),
            ("0-X--", [Ok, Ok, Alarm, Ok]),
            ("--X--", [Alarm, Keep, Alarm, Ok]),
        ];
        for (text, expected) in two_of_three {
            for (treatment, verdict) in treatments.iter().zip(expected) {
                assert_eq!(
                    evaluate(&alarm(2, 3, treatment), &range(text)),
                    verdict,
                    "{text} {treatment}"
                );
            }
        }
    }

    #[test]
    fn only_visible_whole_periods_are_judged() {
        let point = |minute: f64, value: f64| MetricPoint {
            minute,
            visible_at: minute + 120.0,
            count: 2.0,
            sum: 2.0 * value,
            min: value,
            max: value,
            percentiles: None,
        };
        let series: VecDeque<_> = (0..10).map(|i| point(f64::from(i) * 60.0, f64::from(i))).collect();
        let alarm = alarm(3, 3, "missing");
        assert_eq!(
            datapoints(&alarm, Some(&series), 60.0, 420.0),
            [Some(1.0), Some(2.0), Some(3.0), Some(4.0), Some(5.0)]
        );
        assert_eq!(datapoints(&alarm, Some(&series), 60.0, 419.0)[4], Some(4.0));
        assert_eq!(datapoints(&alarm, None, 60.0, 420.0), [None; 5]);
    }

    #[test]
    fn reasons_read_as_aws_writes_them() {
        let text = reason(&alarm(3, 3, "missing"), &range("0XXX"), "ALARM");
        assert_eq!(
            text,
            "Threshold Crossed: 3 out of the last 3 datapoints [99.00, 99.00, 99.00] was greater than the threshold (40.0)."
        );
    }
}
