//! The verdict as data: what the report prints and machines read. Every duration is cloud time unless its name says real.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ClassFindings, DnsMove};
use crate::event::FaultId;
use crate::plan::Limit;
use crate::units::{format_count, format_duration, format_rate, seconds};

/// Met, missed, or not to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The objective holds.
    Met,
    /// It does not.
    Missed,
    /// The fault never took effect, there was too little load, or the generator fell behind.
    Inconclusive,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Outcome::Met => "met",
            Outcome::Missed => "missed",
            Outcome::Inconclusive => "inconclusive",
        })
    }
}

/// The end of a fault that the run did not bring about.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EndedEarly {
    /// When it was first seen, cloud time since t0.
    #[serde(with = "seconds")]
    pub at: Duration,
    /// How it is known.
    pub evidence: String,
}

/// The end of a fault that came later than planned, because its revert failed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RevertedLate {
    /// When its revert began first, cloud time since t0.
    #[serde(with = "seconds")]
    pub due: Duration,
    /// When the revert began that took it out of the world, cloud time since t0; none where it was there when the run ended.
    #[serde(with = "seconds::option")]
    pub at: Option<Duration>,
    /// Why a try failed, of the last that did.
    pub why: String,
}

impl std::fmt::Display for RevertedLate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "was to be reverted at {} and was ", format_duration(self.due))?;
        match self.at {
            Some(at) => write!(f, "only at {}", format_duration(at)),
            None => f.write_str("not before the run ended"),
        }
    }
}

/// A measured value, in the unit of its measure, as a limit is.
pub type Value = Limit;

/// The judgement of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// Of the whole run.
    pub outcome: Outcome,
    /// In one sentence, with the reason.
    pub sentence: String,
    /// In the order of the plan.
    pub objectives: Vec<ObjectiveVerdict>,
    /// In the order of the plan.
    pub faults: Vec<FaultFindings>,
    /// In order of time.
    pub scale_outs: Vec<ScaleOut>,
    /// One per fault that made a Region's users leave.
    pub convergence: Vec<Convergence>,
    /// What each class of clients did; none where all users are alike.
    pub classes: Vec<ClassFindings>,
    /// Who moved when after the DNS answer did; none where all users are alike.
    pub moves: Vec<DnsMove>,
    /// How many changes of the answer came after them.
    pub moves_more: usize,
    /// Whether the generator can be believed.
    pub honesty: Honesty,
}

/// One objective.
#[derive(Clone, Debug, Serialize)]
pub struct ObjectiveVerdict {
    /// As written.
    pub objective: String,
    /// The experiment it belongs to.
    pub experiment: Option<String>,
    /// What was measured; a lower bound where `at_least` says so.
    pub measured: Option<Value>,
    /// The measured value had not ended when the observation did.
    pub at_least: bool,
    /// The limit.
    pub limit: Limit,
    /// Room left as a share of the limit; negative when missed, none where the limit is zero.
    pub margin: Option<f64>,
    /// The judgement.
    pub outcome: Outcome,
    /// How it was measured or why it was not.
    pub why: String,
}

/// What one fault did to users.
#[derive(Clone, Debug, Serialize)]
pub struct FaultFindings {
    /// Which.
    pub id: FaultId,
    /// Its name in the catalogue.
    pub fault: String,
    /// What the author believes.
    pub hypothesis: String,
    /// The role hit.
    pub role: String,
    /// The Region hit.
    pub region: String,
    /// Resources chosen.
    pub resources: Vec<String>,
    /// When its calls began, cloud time since t0; none when it never got into the world.
    #[serde(with = "seconds::option")]
    pub injected_at: Option<Duration>,
    /// When the revert that took it out of the world began, cloud time since t0.
    #[serde(with = "seconds::option")]
    pub reverted_at: Option<Duration>,
    /// Somebody else took it out of the world before its time; none where nobody did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_early: Option<EndedEarly>,
    /// Its revert failed for a while, or for good; none where it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reverted_late: Option<RevertedLate>,
    /// It could have been reverted and was not seen to be: it was in the world when the run ended.
    pub in_world_at_end: bool,
    /// When its experiment ended, cloud time since t0.
    #[serde(with = "seconds::option")]
    pub experiment_ended_at: Option<Duration>,
    /// Its effect was seen in the control plane.
    pub observed: bool,
    /// What was seen, or why nothing was.
    pub evidence: String,
    /// Injection to the first failed start.
    #[serde(with = "seconds::option")]
    pub onset: Option<Duration>,
    /// First failed start to last failed start, so nothing for a single failed request; `onset` plus this is at most
    /// `recovery`.
    #[serde(with = "seconds::option")]
    pub outage: Option<Duration>,
    /// Injection to the first success that started after the last failed start, of the slowest step.
    #[serde(with = "seconds::option")]
    pub recovery: Option<Duration>,
    /// Users were still failing when the experiment ended.
    pub unrecovered: bool,
    /// Steps that failed before the experiment as they did under the fault; nothing above speaks of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failing_before: Vec<String>,
    /// Users' requests that failed in the disturbance.
    pub failed: u64,
    /// Our own probes that failed in it; no objective on errors counts them.
    pub probes_failed: u64,
    /// The same for each step that felt it.
    pub steps: BTreeMap<String, StepFindings>,
    /// Recovery, split.
    pub parts: Parts,
    /// Injection to a standby in sync again.
    #[serde(with = "seconds::option")]
    pub redundancy: Option<Duration>,
    /// Injection to the group as large and healthy as just before (or as it wants to be by then, if that is less), with as
    /// many replacements serving as were killed.
    #[serde(with = "seconds::option")]
    pub self_heal: Option<Duration>,
    /// Failed requests started after the dead instances had left the target group.
    pub late_errors: Option<u64>,
    /// Acknowledged writes lost around it; none without a ledger, where none was acknowledged around it, and where nothing
    /// lost was seen but not all was read back.
    pub lost_writes: Option<u64>,
    /// Acknowledged writes of the run that were not read back: any of them may be lost.
    pub unread_writes: u64,
    /// Injection to fewer than 1 % of requests going to the dead Region.
    #[serde(with = "seconds::option")]
    pub shift: Option<Duration>,
    /// Share of requests to the dead Region after detection plus TTL.
    pub stale_share: Option<f64>,
    /// Revert to the Region having its users back.
    #[serde(with = "seconds::option")]
    pub fail_back: Option<Duration>,
    /// Injection to the Region's silence, by probes sent straight to it; none without such probes.
    #[serde(with = "seconds::option")]
    pub region_silent: Option<Duration>,
    /// Injection to the Region's first answer after it, by the same probes.
    #[serde(with = "seconds::option")]
    pub region_answered: Option<Duration>,
    /// What it does not reproduce.
    pub fidelity: String,
}

/// What one step felt of a fault.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepFindings {
    /// Injection to the first failed start.
    #[serde(with = "seconds")]
    pub onset: Duration,
    /// First failed start to last failed start, so nothing for a single failed request; `onset` plus this is at most
    /// `recovery`.
    #[serde(with = "seconds")]
    pub outage: Duration,
    /// Injection to the first success that started after the last failed start; none when there was none.
    #[serde(with = "seconds::option")]
    pub recovery: Option<Duration>,
    /// Users' requests that failed.
    pub failed: u64,
    /// Our own probes that failed.
    pub probes_failed: u64,
}

/// The parts of a recovery, as far as events tell them apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Parts {
    /// Injection to AWS noticing.
    #[serde(with = "seconds::option")]
    pub detect: Option<Duration>,
    /// Noticing to the replacement being ready.
    #[serde(with = "seconds::option")]
    pub promote: Option<Duration>,
    /// Ready to the users' answer naming it.
    #[serde(with = "seconds::option")]
    pub propagate: Option<Duration>,
    /// The rest: until the clients got through.
    #[serde(with = "seconds::option")]
    pub client: Option<Duration>,
}

/// One scaling decision and its instances; instants are cloud time since t0.
#[derive(Clone, Debug, Serialize)]
pub struct ScaleOut {
    /// Region.
    pub region: String,
    /// Group.
    pub group: String,
    /// Instances launched.
    pub instances: Vec<String>,
    /// How many of them a fault of the run killed before they served; they are not judged.
    pub killed: usize,
    /// End of the first minute over the target; after an earlier scale-out, of the first since that one was in service.
    #[serde(with = "seconds::option")]
    pub breach: Option<Duration>,
    /// The alarm went to ALARM; none where it already was, see `in_alarm_since`.
    #[serde(with = "seconds::option")]
    pub alarm: Option<Duration>,
    /// The alarm had been in ALARM since then, raised by an earlier breach that an earlier scale-out answered.
    #[serde(with = "seconds::option")]
    pub in_alarm_since: Option<Duration>,
    /// The first scaling activity began.
    #[serde(with = "seconds")]
    pub activity: Duration,
    /// The slowest instance was in service: its activity had ended, or it served.
    #[serde(with = "seconds::option")]
    pub in_service: Option<Duration>,
    /// The slowest instance had served its first request.
    #[serde(with = "seconds::option")]
    pub first_served: Option<Duration>,
    /// Breach to first served; none while either is unknown.
    #[serde(with = "seconds::option")]
    pub total: Option<Duration>,
}

/// Where requests went around the loss of a Region.
#[derive(Clone, Debug, Serialize)]
pub struct Convergence {
    /// Which fault.
    pub fault: FaultId,
    /// The dead Region.
    pub region: String,
    /// Cloud seconds since the injection (the middle of the measured second), share of started requests to the Region.
    pub points: Vec<(f64, f64)>,
}

/// The generator's own health.
#[derive(Clone, Debug, Serialize)]
pub struct Honesty {
    /// Requests finished.
    pub requests: u64,
    /// p99 of lag over the run, real time.
    #[serde(with = "seconds")]
    pub lag_p99: Duration,
    /// Its bound.
    #[serde(with = "seconds")]
    pub lag_p99_max: Duration,
    /// Seconds whose own p99 of lag was over the bound.
    pub stood_still: usize,
    /// Highest CPU share of a shard.
    pub cpu_max: f64,
    /// Its bound.
    pub cpu_bound: f64,
    /// Share of seconds over the bound.
    pub cpu_over: f64,
    /// Highest CPU of the process, cores.
    pub cpu_process_max: f64,
    /// Highest resident memory, bytes.
    pub resident_max: u64,
    /// Most open connections, each one descriptor.
    pub connections_max: u64,
    /// Highest share of the machine's CPU time that was stolen in a second.
    pub steal_max: f64,
    /// Its bound.
    pub steal_bound: f64,
    /// Share of seconds over the bound.
    pub steal_over: f64,
    /// Share of TCP segments that were sent again outside faults and recoveries.
    pub retransmits: f64,
    /// Its bound.
    pub retransmits_bound: f64,
    /// The same over the whole run; a fault may well cause them, so nothing is concluded from it.
    pub retransmits_run: f64,
    /// Most descriptors in use, as far as the kernel says.
    pub descriptors_max: u64,
    /// How many there may be; zero where that was not recorded.
    pub descriptors_limit: u64,
    /// Most local ports in use to one address.
    pub ports_max: u64,
    /// How many there are; zero where that was not recorded.
    pub ports_limit: u64,
    /// Requests intended and not sent.
    pub dropped_requests: u64,
    /// Attempts after the first one of a request.
    pub retries: u64,
    /// What the recording could not keep.
    pub dropped_records: BTreeMap<String, u64>,
    /// Why the run's measurements are not believed; none when they are.
    pub spoiled: Option<String>,
}

/// Writes a measured value or a limit as a person would.
#[must_use]
pub fn format_value(value: &Value) -> String {
    match value {
        Limit::Duration(duration) => format_duration(*duration),
        Limit::Share(share) => format_share(*share),
        Limit::Count(count) => format_count(*count),
        Limit::Rate(rate) => format!("{}/s", format_rate(*rate)),
    }
}

/// The same, with digits enough to tell it from a limit that it just misses or meets.
#[must_use]
pub fn format_beside(value: &Value, limit: &Limit) -> String {
    let short = format_value(value);
    if value == limit || short != format_value(limit) {
        return short;
    }
    match value {
        Limit::Duration(duration) => format!("{:.6}s", duration.as_secs_f64()),
        Limit::Share(share) => format!("{:.4}%", share * 100.0),
        Limit::Rate(rate) => format!("{rate:.3}/s"),
        Limit::Count(_) => short,
    }
}

/// Writes a share in percent, with more digits the smaller it is.
#[must_use]
pub fn format_share(share: f64) -> String {
    let percent = share * 100.0;
    if percent == 0.0 || (99.95..100.05).contains(&percent) {
        format!("{percent:.0}%")
    } else if percent < 0.1 {
        format!("{percent:.3}%")
    } else if percent < 10.0 {
        format!("{percent:.2}%")
    } else {
        format!("{percent:.1}%")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_rate_is_not_rounded_to_another_one() {
        let rates = [(0.5, "0.5/s"), (2.4, "2.4/s"), (4_499.6, "4,500/s")];
        for (rate, written) in rates {
            assert_eq!(format_value(&Limit::Rate(rate)), written);
        }
    }

    #[test]
    fn what_just_misses_its_limit_is_not_rounded_to_it() {
        let ms = |ms| Limit::Duration(Duration::from_micros(ms));
        for (value, limit, written) in [
            (Limit::Rate(298.5), Limit::Rate(299.0), "298.500/s"),
            (Limit::Rate(299.0), Limit::Rate(299.0), "299/s"),
            (Limit::Rate(200.0), Limit::Rate(299.0), "200/s"),
            (Limit::Share(0.99996), Limit::Share(1.0), "99.9960%"),
            (ms(90_000_200), ms(90_000_000), "90.000200s"),
            (Limit::Count(3), Limit::Count(0), "3"),
        ] {
            assert_eq!(format_beside(&value, &limit), written);
        }
    }
}
