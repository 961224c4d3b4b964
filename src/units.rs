//! Durations, rates, shares and the pace: what a user writes and what the harness computes with.
//! Holds no clock and starts nothing; `clock` tells the time.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The shortest wait, in real time, that may stand for someone's patience (timeouts, retry backoff, idle limits).
/// At a high pace a scaled timeout would otherwise fall below what an operating system schedules reliably.
pub const PATIENCE_FLOOR: Duration = Duration::from_millis(200);

/// How many times faster than real the target's cloud lives; 1 on AWS.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pace(f64);

/// A pace that is not a finite number from 1 to 1000.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pace is a number from 1 to 1000, not {0:?}")]
pub struct PaceError(String);

impl Pace {
    /// Real time: the pace of AWS.
    pub const REAL: Pace = Pace(1.0);

    /// A pace of `times`; fails outside 1 to 1000.
    pub fn new(times: f64) -> Result<Self, PaceError> {
        if times.is_finite() && (1.0..=1000.0).contains(&times) {
            Ok(Self(times))
        } else {
            Err(PaceError(times.to_string()))
        }
    }

    /// The factor itself.
    #[must_use]
    pub fn times(self) -> f64 {
        self.0
    }

    /// The real time in which `cloud` passes.
    #[must_use]
    pub fn to_real(self, cloud: Duration) -> Duration {
        cloud.div_f64(self.0)
    }

    /// The cloud time that passes in `real`.
    #[must_use]
    pub fn to_cloud(self, real: Duration) -> Duration {
        real.mul_f64(self.0)
    }

    /// The real time of a wait that stands for patience: scaled, but never below [`PATIENCE_FLOOR`]
    /// unless the wait itself is shorter.
    #[must_use]
    pub fn patience(self, cloud: Duration) -> Duration {
        self.to_real(cloud).max(PATIENCE_FLOOR.min(cloud))
    }
}

impl FromStr for Pace {
    type Err = PaceError;
    fn from_str(text: &str) -> Result<Self, PaceError> {
        text.parse::<f64>()
            .ok()
            .and_then(|times| Self::new(times).ok())
            .ok_or_else(|| PaceError(text.to_owned()))
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The longest duration that anyone means; sums of a few such are far from what a clock can count to.
pub const DURATION_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A text that is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// It is something else.
    #[error("{0:?} is not a duration; write a number with a unit, such as 300ms, 90s, 5m or 1h30m")]
    Not(String),
    /// Longer than [`DURATION_MAX`].
    #[error("{0:?} is longer than ten years")]
    TooLong(String),
}

/// Parses `300ms`, `90s`, `5m`, `1h30m`, up to [`DURATION_MAX`]. A bare number is refused, since its unit would be a guess.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let error = || DurationError::Not(text.to_owned());
    let trimmed = text.trim();
    if !trimmed.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(error());
    }
    let parsed = jiff::SignedDuration::from_str(trimmed).map_err(|_| error())?;
    match Duration::try_from(parsed) {
        Ok(duration) if duration > DURATION_MAX => Err(DurationError::TooLong(text.to_owned())),
        other => other.map_err(|_| error()),
    }
}

/// Writes a duration as a person would: `850ms`, `12.4s`, `3m20s`, `1h5m`.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1000.0;
    if ms < 10.0 {
        return if ms == 0.0 {
            "0s".to_owned()
        } else {
            format!("{ms:.2}ms")
        };
    }
    if ms < 1000.0 {
        return format!("{ms:.0}ms");
    }
    let tenths = (ms / 100.0).round() as u64;
    if tenths < 600 {
        return if tenths.is_multiple_of(10) {
            format!("{}s", tenths / 10)
        } else {
            format!("{}.{}s", tenths / 10, tenths % 10)
        };
    }
    let seconds = (ms / 1000.0).round() as u64;
    let (hours, minutes, rest) = (seconds / 3600, seconds % 3600 / 60, seconds % 60);
    match (hours, minutes, rest) {
        (0, minutes, 0) => format!("{minutes}m"),
        (0, minutes, rest) => format!("{minutes}m{rest:02}s"),
        (hours, 0, _) => format!("{hours}h"),
        (hours, minutes, _) => format!("{hours}h{minutes}m"),
    }
}

/// Writes a rate a second without its unit: `100,000`, or `0.5` where whole ones would not tell it.
#[must_use]
pub fn format_rate(rate: f64) -> String {
    match rate {
        rate if rate < 0.01 && rate > 0.0 => format!("{rate:.6}"),
        rate if rate < 10.0 && rate.fract() != 0.0 => {
            let digits = format!("{rate:.2}");
            digits.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        rate => format_count(rate.round().max(0.0) as u64),
    }
}

/// Writes a count with thousands separators: `100,000`.
#[must_use]
pub fn format_count(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Serde for a `Duration` as seconds with a fraction, the unit of every file we write.
pub mod seconds {
    use super::Duration;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes seconds.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(duration.as_secs_f64())
    }

    /// Reads seconds; refuses what no `Duration` can hold.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        Duration::try_from_secs_f64(seconds).map_err(serde::de::Error::custom)
    }

    /// The same for an optional duration.
    pub mod option {
        use super::Duration;
        use serde::{Deserialize, Deserializer, Serializer};

        /// Writes seconds or null.
        pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
            match duration {
                Some(duration) => serializer.serialize_some(&duration.as_secs_f64()),
                None => serializer.serialize_none(),
            }
        }

        /// Reads seconds or null.
        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
            Option::<f64>::deserialize(deserializer)?
                .map(|seconds| Duration::try_from_secs_f64(seconds).map_err(serde::de::Error::custom))
                .transpose()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_parse_with_units_and_are_refused_without() {
        assert_eq!(parse_duration("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        for bad in ["", "5", "5 parsecs", "-3s", "m5", "1e9h1"] {
            assert!(parse_duration(bad).is_err(), "{bad:?}");
        }
        assert_eq!(parse_duration("87600h"), Ok(DURATION_MAX));
        assert!(matches!(parse_duration("87601h"), Err(DurationError::TooLong(_))));
    }

    #[test]
    fn patience_scales_but_keeps_its_floor() {
        let pace = Pace::new(30.0).expect("30 is a pace");
        assert_eq!(pace.patience(Duration::from_secs(60)), Duration::from_secs(2));
        assert_eq!(pace.patience(Duration::from_secs(3)), PATIENCE_FLOOR);
        assert_eq!(pace.patience(Duration::from_millis(50)), Duration::from_millis(50));
        assert!(Pace::new(0.5).is_err() && Pace::new(f64::NAN).is_err());
    }

    #[test]
    fn counts_and_durations_read_well() {
        assert_eq!(format_count(1_234_567), "1,234,567");
        assert_eq!(format_count(12), "12");
        let rates = [0.0, 0.000_5, 0.5, 1.0 / 3.0, 2.999, 7.0, 9.998, 12.4, 60_000.0].map(format_rate);
        assert_eq!(rates, ["0", "0.000500", "0.5", "0.33", "3", "7", "10", "12", "60,000"]);
        let cases = [
            (0, "0s"),
            (850, "850ms"),
            (12_400, "12.4s"),
            (200_000, "3m20s"),
            (3_900_000, "1h5m"),
            (59_999, "1m"),
        ];
        for (ms, text) in cases {
            assert_eq!(format_duration(Duration::from_millis(ms)), text);
        }
    }

    proptest! {
        #[test]
        fn whole_second_durations_survive_a_round_trip(seconds in 1u64..3600) {
            let duration = Duration::from_secs(seconds);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
    }
}
