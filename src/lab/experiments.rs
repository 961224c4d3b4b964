//! What AWS FIS knows in one Region: templates, experiments and the safety lever, as plain data.
//! What they do to the rest of the world is `dynamics::fis`'s business.

use std::collections::BTreeMap;
use std::time::Duration;

use super::world::{CloudTime, Tags};

/// FIS in one Region.
#[derive(Debug, Clone, Default)]
pub struct Fis {
    /// Templates by id (`EXT…`).
    pub templates: BTreeMap<String, Template>,
    /// Experiments by id (`EXP…`).
    pub experiments: BTreeMap<String, Experiment>,
    /// What a client token created, by operation and token.
    pub tokens: BTreeMap<(&'static str, String), String>,
    /// The safety lever.
    pub lever: Lever,
    /// AZs in which launches fail for want of capacity.
    pub shortages: Vec<Shortage>,
    /// Volumes whose I/O is disturbed.
    pub volume_faults: Vec<VolumeFault>,
    /// Roles whose calls fail.
    pub api_faults: Vec<ApiFault>,
    /// Subnets from which another Region is not reached.
    pub route_faults: Vec<RouteFault>,
}

/// A subnet from which another Region is not reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteFault {
    /// UUID of the action that did it.
    pub id: String,
    /// Subnet.
    pub subnet: String,
    /// The Region that is not reached.
    pub to: String,
}

/// A role whose calls fail.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiFault {
    /// UUID of the action that did it.
    pub id: String,
    /// Name of the role.
    pub role: String,
    /// Whose calls: `ec2`.
    pub service: String,
    /// Which of them.
    pub operations: Vec<String>,
    /// How many in a hundred.
    pub percent: f64,
    /// How they fail.
    pub error: ApiError,
}

/// How a call of a role fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiError {
    /// An internal error of the service.
    Internal,
    /// Too many calls.
    Throttled,
    /// The service is not there.
    Unavailable,
}

/// A volume whose I/O is disturbed.
#[derive(Debug, Clone, PartialEq)]
pub struct VolumeFault {
    /// UUID of the action that did it.
    pub id: String,
    /// Volume.
    pub volume: String,
    /// When it began.
    pub since: CloudTime,
    /// How.
    pub io: VolumeIo,
}

/// What is wrong with a volume's I/O.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum VolumeIo {
    /// It is paused.
    Paused,
    /// Writes take longer; what the lab's application reads is in memory.
    SlowWrites {
        /// How many in a hundred.
        percent: f64,
        /// By how much, real time.
        by: Duration,
    },
}

/// A group whose launches fail in some AZs.
#[derive(Debug, Clone, PartialEq)]
pub struct Shortage {
    /// UUID of the action that made it.
    pub id: String,
    /// Group.
    pub group: String,
    /// Names or ids of AZs.
    pub azs: Vec<String>,
    /// How many launches in a hundred fail.
    pub percent: f64,
}

/// The account's safety lever: engaged, nothing runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lever {
    /// Whether it is engaged.
    pub engaged: bool,
    /// Why it was last moved.
    pub reason: String,
}

/// An experiment template.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// `EXT…`.
    pub id: String,
    /// ARN.
    pub arn: String,
    /// Description.
    pub description: String,
    /// Targets by name.
    pub targets: BTreeMap<String, Target>,
    /// Actions by name.
    pub actions: BTreeMap<String, Action>,
    /// ARNs of the alarms that stop an experiment.
    pub stop_alarms: Vec<String>,
    /// Role that FIS acts as.
    pub role_arn: String,
    /// emptyTargetResolutionMode is `skip`.
    pub skips_empty: bool,
    /// Creation time.
    pub created_at: CloudTime,
    /// Tags.
    pub tags: Tags,
}

/// Resources that actions hit.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// `aws:ec2:instance` and so on.
    pub resource_type: String,
    /// The resources themselves.
    pub arns: Vec<String>,
    /// Tags they carry, where they are not named themselves.
    pub tags: Tags,
    /// How many of them.
    pub selection: Selection,
}

/// How many of the resources that match are hit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Selection {
    /// Every one.
    All,
    /// So many, at random.
    Count(usize),
    /// A share in percent, rounded down.
    Percent(f64),
}

/// One action of a template.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// `aws:ec2:stop-instances` and so on.
    pub action_id: String,
    /// Description.
    pub description: Option<String>,
    /// Parameters.
    pub parameters: BTreeMap<String, String>,
    /// Target names by the action's own key.
    pub targets: BTreeMap<String, String>,
    /// Actions that must have completed before it.
    pub start_after: Vec<String>,
}

/// An experiment: a template on its way through the states.
#[derive(Debug, Clone)]
pub struct Experiment {
    /// `EXP…`.
    pub id: String,
    /// ARN.
    pub arn: String,
    /// The template as it was when it started.
    pub template: Template,
    /// actionsMode is `skip-all`.
    pub skips_actions: bool,
    /// State.
    pub status: Status,
    /// Why it is in it.
    pub reason: String,
    /// States of the actions by name.
    pub actions: BTreeMap<String, ActionState>,
    /// ARNs of what each target came to, by its name; empty before it was resolved.
    pub resolved: BTreeMap<String, Vec<String>>,
    /// Creation time.
    pub created_at: CloudTime,
    /// When it began to run.
    pub started_at: Option<CloudTime>,
    /// When it ended.
    pub ended_at: Option<CloudTime>,
    /// Tags.
    pub tags: Tags,
}

/// State of one action.
#[derive(Debug, Clone, Default)]
pub struct ActionState {
    /// State.
    pub status: Status,
    /// Why it is in it.
    pub reason: String,
    /// When it began.
    pub started_at: Option<CloudTime>,
    /// When it ended.
    pub ended_at: Option<CloudTime>,
}

/// States of experiments and actions; `Skipped` is an action's only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Status {
    /// Not begun.
    #[default]
    Pending,
    /// Targets are being resolved.
    Initiating,
    /// Under way.
    Running,
    /// Over as planned.
    Completed,
    /// Being undone early.
    Stopping,
    /// Undone early.
    Stopped,
    /// Something went wrong.
    Failed,
    /// Never begun.
    Cancelled,
    /// Left out.
    Skipped,
}

impl Status {
    /// As AWS spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::Initiating => "initiating",
            Status::Running => "running",
            Status::Completed => "completed",
            Status::Stopping => "stopping",
            Status::Stopped => "stopped",
            Status::Failed => "failed",
            Status::Cancelled => "cancelled",
            Status::Skipped => "skipped",
        }
    }

    /// Whether it changes no more.
    #[must_use]
    pub fn has_ended(self) -> bool {
        matches!(
            self,
            Status::Completed | Status::Stopped | Status::Failed | Status::Cancelled | Status::Skipped
        )
    }
}
