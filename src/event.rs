//! What happened, as a closed enum in the past tense; everything the user sees derives from it.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::seconds;

/// An event with its real offset since t0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stamped {
    /// Real time since t0: for what AWS dated itself, its own timestamp; otherwise when the harness saw it.
    #[serde(with = "seconds")]
    pub at: Duration,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// Everything that can happen in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// A stage's ramp began.
    StageStarted {
        /// Index.
        stage: usize,
    },
    /// A stage's hold began.
    HoldStarted {
        /// Index.
        stage: usize,
    },
    /// The intent is in the journal; calls follow.
    FaultStarted {
        /// Which.
        fault: FaultId,
        /// Resources chosen.
        resources: Vec<String>,
    },
    /// All calls were accepted.
    FaultInjected {
        /// Which.
        fault: FaultId,
    },
    /// The effect was seen in the control plane.
    FaultObserved {
        /// Which.
        fault: FaultId,
        /// What was seen.
        evidence: String,
    },
    /// The effect was looked for and not seen.
    FaultNotObserved {
        /// Which.
        fault: FaultId,
        /// What was looked for.
        reason: String,
    },
    /// The fault could not be injected; nothing of it is in the world.
    FaultFailed {
        /// Which.
        fault: FaultId,
        /// Why.
        error: String,
    },
    /// Somebody else has taken it out of the world before its time; `at` is when that was first seen, or begun.
    FaultEndedEarly {
        /// Which.
        fault: FaultId,
        /// How that is known.
        evidence: String,
    },
    /// The revert began; again where tries failed: the one that went through.
    FaultRevertStarted {
        /// Which.
        fault: FaultId,
    },
    /// The revert was read back and is complete.
    FaultReverted {
        /// Which.
        fault: FaultId,
    },
    /// A try to revert it failed, and it is tried again; told once for each reason.
    FaultRevertRetried {
        /// Which.
        fault: FaultId,
        /// Why it failed.
        error: String,
    },
    /// The revert failed; the fault is still in the world.
    FaultRevertFailed {
        /// Which.
        fault: FaultId,
        /// Why, and how to undo it by hand.
        error: String,
    },
    /// The users' DNS answer changed (also the first answer).
    DnsChanged {
        /// The class of clients whose users got it; none where all are alike.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        class: Option<String>,
        /// Name asked.
        name: String,
        /// Answer.
        addresses: Vec<IpAddr>,
        /// TTL of the answer, cloud time.
        #[serde(with = "seconds")]
        ttl: Duration,
    },
    /// Counts of a group as polled.
    GroupPolled {
        /// Region.
        region: String,
        /// Group name.
        group: String,
        /// Min size.
        min: u32,
        /// Desired capacity.
        desired: u32,
        /// Members in service.
        in_service: u32,
        /// Targets healthy at the load balancer.
        healthy: u32,
        /// Ids of the in-service members.
        members: Vec<String>,
        /// Ids of the targets that the load balancer still sends requests to (healthy or, when it fails open, all).
        routed: Vec<String>,
    },
    /// A scaling activity appeared or changed its status; `at` is its StartTime.
    ScalingActivity {
        /// Region.
        region: String,
        /// Group.
        group: String,
        /// ActivityId.
        id: String,
        /// Description.
        description: String,
        /// Cause.
        cause: String,
        /// StatusCode.
        status: String,
        /// Real offset of its EndTime.
        #[serde(with = "seconds::option")]
        ended: Option<Duration>,
    },
    /// An alarm changed its state; `at` is its StateTransitionedTimestamp.
    AlarmChanged {
        /// Region.
        region: String,
        /// AlarmName.
        alarm: String,
        /// OK, ALARM, INSUFFICIENT_DATA.
        state: String,
        /// StateReason.
        reason: String,
    },
    /// An alarm that stops experiments is in another state than when it was last looked at (also the first one).
    StopAlarmChanged {
        /// Region.
        region: String,
        /// AlarmName.
        alarm: String,
        /// OK, ALARM, INSUFFICIENT_DATA.
        state: String,
        /// StateReason.
        reason: String,
    },
    /// A group's CPU metric for one minute; `at` is the minute's end.
    CpuMeasured {
        /// Region.
        region: String,
        /// Group.
        group: String,
        /// Average percent.
        percent: f64,
    },
    /// The description of an RDS instance or an Aurora cluster changed (also the first one).
    DatabasePolled {
        /// Region.
        region: String,
        /// Identifier.
        database: String,
        /// DBInstanceStatus, or the cluster's Status.
        status: String,
        /// AZ of the primary or writer.
        az: String,
        /// AZ of the standby, or of a reader that could take over; none when there is none.
        secondary_az: Option<String>,
        /// Multi-AZ, or more than one member.
        multi_az: bool,
    },
    /// An RDS event; `at` is its Date.
    DatabaseEvent {
        /// Region.
        region: String,
        /// Identifier.
        database: String,
        /// Message.
        message: String,
    },
    /// A Route 53 health check changed its overall view (also the first one).
    HealthCheckChanged {
        /// HealthCheckId.
        health_check: String,
        /// What it checks.
        endpoint: String,
        /// Checkers that say healthy.
        healthy_checkers: u32,
        /// Checkers in all.
        checkers: u32,
        /// More than 18 % healthy.
        healthy: bool,
    },
    /// A token could not be renewed; users go on with the one they have, and it is tried again.
    TokenNotRenewed {
        /// Where it was asked for.
        token_url: String,
        /// What came instead.
        reason: String,
    },
    /// A token that could not be renewed is over; users send it all the same.
    TokenExpired {
        /// Where it was from.
        token_url: String,
    },
    /// A token was renewed that could not be before.
    TokenRenewed {
        /// Where it is from.
        token_url: String,
    },
    /// An AWS call of an observer or a fault failed.
    AwsCallFailed {
        /// `ec2:DescribeInstances`.
        action: String,
        /// Region.
        region: String,
        /// Error code and message.
        error: String,
    },
    /// A stop condition held long enough.
    StopConditionMet {
        /// The condition as written, or what ended the run in its place: an experiment of AWS FIS that was stopped.
        condition: String,
        /// Its experiment.
        experiment: String,
    },
    /// Someone paused the load: from now on no new passes are started.
    LoadPaused,
    /// Someone ended a pause, a hold, or both.
    Resumed,
    /// Someone scaled the load: from now on the level is that of the schedule times this.
    LoadScaled {
        /// The factor.
        times: f64,
    },
    /// Someone stopped the schedule's time.
    ScheduleHeld,
    /// Someone moved the schedule on to the start of a stage.
    Skipped {
        /// Index of that stage.
        stage: usize,
    },
    /// Someone put a mark on the time axis.
    Marked {
        /// What they wrote.
        text: String,
    },
    /// The run itself stood still, stopped or suspended with its machine; `at` is when it went on.
    RunFroze {
        /// For how long, real time.
        #[serde(with = "seconds")]
        lasted: Duration,
    },
    /// The user asked to stop.
    Interrupted,
    /// Somebody has taken off what kept other runs away.
    ClaimLost {
        /// Which claim, and how that is known.
        reason: String,
    },
    /// The target does not exist any more.
    TargetGone {
        /// How that is known.
        reason: String,
    },
}

impl Event {
    /// What a command to the run did, in a sentence; none for what nobody asked for.
    #[must_use]
    pub fn command(&self) -> Option<String> {
        match self {
            Event::LoadPaused => Some("paused: no new passes are started; the schedule goes on".to_owned()),
            Event::Resumed => Some("resumed".to_owned()),
            Event::ScheduleHeld => Some("held: the schedule stands still until resume".to_owned()),
            Event::LoadScaled { times } => Some(format!("scaled: {times} times the schedule from now on")),
            Event::Skipped { stage } => Some(format!("skipped to stage {}", stage + 1)),
            Event::Marked { text } => Some(format!("mark: {text}")),
            _ => None,
        }
    }

    /// A command that made another run of it; a mark changes nothing.
    #[must_use]
    pub fn steers(&self) -> bool {
        !matches!(self, Event::Marked { .. }) && self.command().is_some()
    }
}

/// A fault of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FaultId {
    /// Experiment name.
    pub experiment: String,
    /// Index of the fault within it.
    pub index: usize,
}

impl std::fmt::Display for FaultId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]", self.experiment, self.index)
    }
}

/// Begins the experiment of a claim, which is no fault: none of a profile may be named so.
const CLAIM: &str = "@claim-";

impl FaultId {
    /// What stands in a journal, and in a mark, for a run's claim of a Region by its index. It is another one for each run,
    /// so that of two that claim the same resource neither writes over the other's mark.
    #[must_use]
    pub fn claim(run: &str, index: usize) -> Self {
        Self {
            experiment: format!("{CLAIM}{run}"),
            index,
        }
    }

    /// Whether it stands for a claim.
    #[must_use]
    pub fn is_claim(&self) -> bool {
        self.experiment.starts_with(CLAIM)
    }

    /// Reads what [`std::fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (experiment, index) = text.strip_suffix(']')?.rsplit_once('[')?;
        Some(Self {
            experiment: experiment.to_owned(),
            index: index.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_read_back_as_written_and_only_a_mark_steers_nothing() {
        let commands = [
            Event::LoadPaused,
            Event::Resumed,
            Event::LoadScaled { times: 1.5 },
            Event::ScheduleHeld,
            Event::Skipped { stage: 2 },
            Event::Marked {
                text: "deploy".to_owned(),
            },
        ];
        for event in commands {
            let at = Duration::from_millis(1500);
            let text = serde_json::to_string(&Stamped {
                at,
                event: event.clone(),
            })
            .unwrap();
            let read: Stamped = serde_json::from_str(&text).unwrap();
            assert_eq!((read.at, &read.event), (at, &event), "{text}");
            assert_eq!(event.steers(), !text.contains("marked"), "{text}");
        }
        assert!(!Event::Interrupted.steers() && Event::Interrupted.command().is_none());
        // A tenfold that does not know an event must not judge as if it had not been.
        assert!(serde_json::from_str::<Stamped>(r#"{"at":1.0,"event":"from_the_future"}"#).is_err());
    }
}
