//! How long someone waits: think time and pacing, as a fixed time, a range or a distribution.
//! Says what was written and its mean; drawing from it is the generator's work.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::decode;
use super::error::{Mistake, Sink};
use super::node::Node;
use crate::units::{parse_duration, seconds};

/// Widest log-normal distribution: at 3 one wait in a thousand is ten thousand times the median.
const SIGMA_MAX: f64 = 3.0;

/// How a wait is written.
const FORMS: &str = "write 5s, 5s..25s, exponential(10s) or log_normal(8s, 0.6)";

/// A wait of real time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Wait {
    /// Any time between both ends is as likely; equal ends mean a constant.
    Uniform {
        /// Shortest.
        #[serde(with = "seconds")]
        min: Duration,
        /// Longest.
        #[serde(with = "seconds")]
        max: Duration,
    },
    /// As between the events of a Poisson process.
    Exponential {
        /// Mean.
        #[serde(with = "seconds")]
        mean: Duration,
    },
    /// As people read: many short waits, some long ones.
    LogNormal {
        /// Half of all waits are shorter.
        #[serde(with = "seconds")]
        median: Duration,
        /// Standard deviation of the logarithm.
        sigma: f64,
    },
}

impl Default for Wait {
    fn default() -> Self {
        Self::constant(Duration::ZERO)
    }
}

impl Wait {
    /// Always the same.
    #[must_use]
    pub fn constant(wait: Duration) -> Self {
        Self::Uniform { min: wait, max: wait }
    }

    /// Its mean, in seconds.
    #[must_use]
    pub fn mean(&self) -> f64 {
        match self {
            Self::Uniform { min, max } => (*min + *max).as_secs_f64() / 2.0,
            Self::Exponential { mean } => mean.as_secs_f64(),
            Self::LogNormal { median, sigma } => median.as_secs_f64() * (sigma * sigma / 2.0).exp(),
        }
    }

    /// All but one in a thousand are at most this long.
    #[must_use]
    pub fn longest(&self) -> Duration {
        // The quantiles of the exponential and of the normal distribution.
        const EXPONENTIAL: f64 = 6.908;
        const NORMAL: f64 = 3.090;
        match self {
            Self::Uniform { min, max } => *max.max(min),
            Self::Exponential { mean } => mean.mul_f64(EXPONENTIAL),
            Self::LogNormal { median, sigma } => median.mul_f64((NORMAL * sigma).exp()),
        }
    }
}

impl FromStr for Wait {
    type Err = String;

    /// Reads a wait as a profile has it; an error says how one is written.
    fn from_str(text: &str) -> Result<Self, String> {
        read(text).map_err(|error| match error {
            None => FORMS.to_owned(),
            Some((message, hint)) => format!("{message}; {hint}"),
        })
    }
}

/// A wait as written: `5s`, `5s..25s`, `exponential(10s)` or `log_normal(8s, 0.6)`.
pub(super) fn wait(node: &Node, what: &str, sink: &mut Sink) -> Option<Wait> {
    let text = decode::text(node, sink)?;
    match read(&text) {
        Ok(wait) => Some(wait),
        Err(None) => {
            sink.push(Mistake::at(&node.place, format!("{text:?} is not a {what}")).hint(FORMS));
            None
        }
        Err(Some((message, hint))) => {
            sink.push(Mistake::at(&node.place, message).hint(hint));
            None
        }
    }
}

fn read(text: &str) -> Result<Wait, Option<(String, String)>> {
    let duration = |text: &str| parse_duration(text.trim()).map_err(|_| None);
    if let Some((name, arguments)) = text.trim().split_once('(') {
        let arguments = arguments.strip_suffix(')').ok_or(None)?;
        return match (name.trim(), arguments.split_once(',')) {
            ("exponential", None) => Ok(Wait::Exponential {
                mean: duration(arguments)?,
            }),
            ("log_normal", Some((median, sigma))) => {
                let median = duration(median)?;
                let sigma: f64 = sigma.trim().parse().map_err(|_| None)?;
                if !(0.0..=SIGMA_MAX).contains(&sigma) {
                    return Err(Some((
                        format!("a sigma of {sigma} is not between 0 and {SIGMA_MAX}"),
                        "it is the standard deviation of the logarithm; people at a screen have about 0.6".to_owned(),
                    )));
                }
                Ok(Wait::LogNormal { median, sigma })
            }
            _ => Err(None),
        };
    }
    let (low, high) = text.split_once("..").unwrap_or((text, text));
    let (min, max) = (duration(low)?, duration(high)?);
    if min > max {
        return Err(Some((
            format!("{text:?} ends before it begins"),
            format!("write {}..{}", high.trim(), low.trim()),
        )));
    }
    Ok(Wait::Uniform { min, max })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_read_in_every_form() {
        let s = Duration::from_secs;
        let cases = [
            ("5s", Wait::constant(s(5)), 5.0),
            ("5s..25s", Wait::Uniform { min: s(5), max: s(25) }, 15.0),
            ("exponential(10s)", Wait::Exponential { mean: s(10) }, 10.0),
            (
                " log_normal( 8s , 1 ) ",
                Wait::LogNormal {
                    median: s(8),
                    sigma: 1.0,
                },
                8.0 * 0.5f64.exp(),
            ),
        ];
        for (text, wait, mean) in cases {
            assert_eq!(read(text), Ok(wait), "{text}");
            assert!((wait.mean() - mean).abs() < 1e-9, "{text}");
            let json = serde_json::to_string(&wait).expect("it is data");
            assert_eq!(serde_json::from_str::<Wait>(&json).expect(&json), wait);
        }
    }

    #[test]
    fn what_is_no_wait_is_said() {
        for text in [
            "",
            "5 parsecs",
            "exponential(5s",
            "exponential(1s, 2s)",
            "log_normal(1s)",
            "gamma(1s)",
        ] {
            assert_eq!(read(text), Err(None), "{text}");
        }
        for (text, message) in [
            ("25s..5s", "ends before it begins"),
            ("log_normal(1s, 9)", "not between 0 and 3"),
        ] {
            let Err(Some((said, _))) = read(text) else {
                panic!("{text} was read");
            };
            assert!(said.contains(message), "{said}");
        }
    }
}
