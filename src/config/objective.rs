//! Objectives: one line of text each, typed. Parsing lives here; measuring them is the judge's work.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One objective: `MEASURE[(SUBJECT)] [STATISTIC] COMPARISON LIMIT [during PHASE | after EXPERIMENT]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Objective {
    /// The line as written.
    pub text: String,
    /// What is measured.
    pub measure: Measure,
    /// A journey, step, ledger, role, or `region=NAME` / `az=NAME`; none means everything.
    pub subject: Option<String>,
    /// Only for latency-like measures; p99 when none is written.
    pub statistic: Option<Statistic>,
    /// How the measured value is compared with the limit.
    pub comparison: Comparison,
    /// The limit.
    pub limit: Limit,
    /// When it is measured.
    pub scope: Scope,
}

/// What an objective measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Latency from the intended start, of every finished request.
    Latency,
    /// Service time from the actual start.
    ServiceTime,
    /// Share of finished requests that failed.
    Errors,
    /// Successful requests per second of real time.
    Throughput,
    /// Client outage: first failed start to last failed finish of the fault, cloud time.
    Outage,
    /// Injection to the first success after the last failed start, cloud time.
    Recovery,
    /// Acknowledged writes that could not be read back, a count.
    LostWrites,
    /// Injection to redundancy restored (standby in sync), cloud time.
    Redundancy,
    /// Breach to the first request served by an added instance, the slowest scale-out, cloud time.
    ScaleOut,
    /// Injection to the group at its minimum, in service and serving again, cloud time.
    SelfHeal,
    /// Failed requests started after the dead instances had left the target group, a count.
    LateErrors,
    /// Injection to fewer than 1 % of started requests going to the dead Region, cloud time.
    Shift,
    /// Revert to at least 99 % of started requests going to the returned Region, cloud time.
    FailBack,
    /// Share of requests started towards the dead Region after detection plus TTL.
    StaleShare,
    /// Share of successful requests served by a Region or AZ.
    Share,
}

/// Which statistic of a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    /// A percentile, e.g. 99.9.
    Percentile(f64),
    /// Arithmetic mean.
    Mean,
    /// Maximum.
    Max,
}

/// Comparison of measured value and limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// `<`
    #[serde(rename = "<")]
    Less,
    /// `<=`
    #[serde(rename = "<=")]
    LessOrEqual,
    /// `>`
    #[serde(rename = ">")]
    Greater,
    /// `>=`
    #[serde(rename = ">=")]
    GreaterOrEqual,
    /// `==`
    #[serde(rename = "==")]
    Equal,
}

/// The limit, in the unit of its measure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "unit", content = "value")]
pub enum Limit {
    /// A duration.
    Duration(#[serde(with = "crate::units::seconds")] Duration),
    /// A share from 0 to 1, written in percent.
    Share(f64),
    /// A count.
    Count(u64),
    /// Per second.
    Rate(f64),
}

/// When an objective is measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The whole run.
    Run,
    /// A phase: ramp, steady, fault, recovery.
    During(Phase),
    /// One experiment, from its first injection to the end of its settle time.
    Experiment(String),
}

/// The phases of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// While the number of users grows.
    Ramp,
    /// Holds outside fault and recovery.
    Steady,
    /// From an injection to its revert, or to the measured recovery where it is irreversible.
    Fault,
    /// From the end of a fault to the end of its experiment.
    Recovery,
}
