//! What will happen, as data: arrival curves, fault windows, targets and every API call, before anything moves.
//! Pure: no clock, no sockets, no unseeded randomness.

mod adhoc;
mod alarms;
mod approval;
mod build;
mod capacity;
mod choice;
mod claim;
mod client;
mod environment;
mod export;
mod feed;
mod fis;
mod flow;
mod in_base64;
mod inventory;
mod journey;
mod loads;
mod oauth2;
mod policy;
mod print;
mod resolve;
mod schedule;
mod steering;
mod timeline;
mod together;
mod unmarked;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use crate::config::StopWhen;
pub use crate::config::body::Encoding;
pub use crate::config::calendar::Calendar;
pub use crate::config::catalogue::{self, CATALOGUE, Fault, Hits};
pub use crate::config::checks::{Expect, Extract, Source, Wanted};
pub use crate::config::compression::{Coding, DEFLATE_OFFER};
pub use crate::config::connections::{ConnectionUse, Connections};
pub use crate::config::entry::Entry;
pub use crate::config::feeder::{RowOrder, Table};
pub use crate::config::fis::Via;
pub use crate::config::flow::{Condition, Flow, Passes, Relation};
pub use crate::config::loads::Iterations;
pub use crate::config::oauth2::{CredentialsIn, TokenUse};
pub use crate::config::objective::{Comparison, Limit, Measure, Objective, Phase, Scope, Statistic};
pub use crate::config::protocol::{EventsUntil, GrpcStep, MessagesUntil, Protocol, TcpStep, TcpUntil, WebSocketStep};
pub use crate::config::retry::{Retries, RetryOn};
pub use crate::config::stages::Spacing;
pub use crate::config::tls::{Identity, TlsSettings};
pub use crate::config::wait::Wait;
use crate::units::{Pace, seconds};
pub use adhoc::{AdHoc, Amount};
pub use approval::{Approval, changes};
pub use build::{PlanErrors, PlanOptions, build};
pub use capacity::{Addresses, Capacity, Limits, capacity};
pub use choice::{choose, how_many};
pub use claim::{ClaimOn, ClaimPlan};
pub use client::{CONNECTION_FIELDS, ClassPlan, ClientPlan, DnsPolicy};
pub use environment::MissingVariable;
pub use export::export_fis;
pub use fis::{FisFor, FisStep, FisStop, FisTarget, FisTemplate, leased, step_name};
pub use inventory::{
    Inventory, InventoryAlarm, InventoryCluster, InventoryDatabase, InventoryGlobal, InventoryGroup, InventoryInstance,
    InventoryMetric, InventoryRecord, InventoryRegion, InventorySubnet,
};
pub use journey::{Body, FeederPlan, JourneyPlan, Part, SigV4Plan, StepPlan, Template};
pub use loads::LoadPlan;
pub use oauth2::OAuth2Plan;
pub use policy::{policy, without_tags};
pub use print::{ASKED_LATER, actions, print, times as print_times};
pub use steering::{Steer, SteerError, Steering};
pub use unmarked::unmarked;

/// A resolved run. All instants and durations are cloud time since t0 unless a field says real time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The profile's name.
    pub name: String,
    /// The command that runs it again; the command line writes it, and an older recording has none.
    #[serde(default)]
    pub rerun: String,
    /// Seed of every random choice of the run.
    pub seed: u64,
    /// How fast the target's cloud lives.
    pub pace: Pace,
    /// The system under test.
    pub target: TargetPlan,
    /// Tables of test data.
    #[serde(default)]
    pub feeders: Vec<FeederPlan>,
    /// Journeys; a step is identified by its index in [`Plan::steps`].
    pub journeys: Vec<JourneyPlan>,
    /// Every step of every journey, in order.
    pub steps: Vec<StepPlan>,
    /// Clients that get tokens; [`Part::Token`] is one of them by its index.
    #[serde(default)]
    pub token_clients: Vec<OAuth2Plan>,
    /// Open or closed model, of all loads.
    pub model: LoadModel,
    /// How arrivals of the open model are spaced, where there is one load.
    #[serde(default)]
    pub spacing: Spacing,
    /// Stages of the whole run in order; they follow one another without gap.
    pub stages: Vec<StagePlan>,
    /// The loads, each with stages of its own; empty where there is one, of all journeys, whose stages are the run's.
    #[serde(default)]
    pub loads: Vec<LoadPlan>,
    /// How the generator behaves as a client.
    pub client: ClientPlan,
    /// What the services that steps call look like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<ServicesPlan>,
    /// Ledgers by name.
    pub ledgers: BTreeMap<String, LedgerPlan>,
    /// Probes.
    pub probes: Vec<ProbePlan>,
    /// Experiments, ordered by their first fault.
    pub experiments: Vec<ExperimentPlan>,
    /// Objectives of the profile, then of each experiment.
    pub objectives: Vec<Objective>,
    /// Bounds beyond which a measurement of the generator is not believed.
    pub honesty: HonestyPlan,
    /// When the schedule ends.
    #[serde(with = "seconds")]
    pub ends_at: Duration,
}

/// The system under test as the harness needs it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TargetPlan {
    /// Its name.
    pub name: String,
    /// Scheme of the entry: `http` or `https`.
    pub scheme: String,
    /// Host name users resolve.
    pub host: String,
    /// Port.
    pub port: u16,
    /// DNS server to ask; the system's when none.
    pub resolver: Option<SocketAddr>,
    /// AWS endpoint override; none for AWS itself.
    pub endpoint: Option<String>,
    /// Expected account; none for a plain URL target.
    pub account: Option<String>,
    /// ARNs of roles to assume one after the other to reach it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assume: Vec<String>,
    /// Regions, the primary first; empty for a plain URL target.
    pub regions: Vec<String>,
    /// AZs of its Regions, where they are known before it is reached.
    #[serde(skip)]
    pub azs: BTreeMap<String, BTreeSet<String>>,
    /// Roles by name.
    pub roles: BTreeMap<String, Role>,
    /// What may be touched.
    pub allow: Option<Allow>,
    /// Where the harness itself runs, as far as that is known.
    #[serde(default)]
    pub runner: RunnerPlan,
    /// ARN of the role that AWS FIS acts as.
    #[serde(default)]
    pub fis_role: Option<String>,
    /// Response header naming instance/AZ/Region as `i-…/us-east-1a/us-east-1`.
    pub served_by: Option<String>,
    /// Region of each address users may be sent to, as the target file says or as resolved before the run.
    pub edge: BTreeMap<IpAddr, String>,
    /// AZ of each address of which the target file says it.
    #[serde(default)]
    pub zones: BTreeMap<IpAddr, String>,
    /// What was found in the account before the run.
    pub inventory: Inventory,
}

impl TargetPlan {
    /// A plain URL: nothing of AWS is known of it.
    #[must_use]
    pub fn entry(name: String, scheme: String, host: String, port: u16) -> Self {
        Self {
            name,
            scheme,
            host,
            port,
            resolver: None,
            endpoint: None,
            account: None,
            assume: Vec::new(),
            regions: Vec::new(),
            azs: BTreeMap::new(),
            roles: BTreeMap::new(),
            allow: None,
            runner: RunnerPlan::default(),
            fis_role: None,
            served_by: None,
            edge: BTreeMap::new(),
            zones: BTreeMap::new(),
            inventory: Inventory::default(),
        }
    }

    /// AZ and Region behind an address, written as an answer's header would name them; empty where neither is known.
    #[must_use]
    pub fn place(&self, address: IpAddr) -> String {
        match (self.zones.get(&address), self.edge.get(&address)) {
            (None, None) => String::new(),
            (az, region) => {
                let part = |part: Option<&String>| part.cloned().unwrap_or_default();
                format!("/{}/{}", part(az), part(region))
            }
        }
    }
}

/// AWS resources by role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// An Auto Scaling group, of this name in each Region.
    AutoScalingGroup(String),
    /// An RDS instance, of this identifier in each Region.
    DbInstance(String),
    /// An IAM role, of this name.
    IamRole(String),
    /// An Aurora cluster, of this identifier in each Region.
    DbCluster(String),
    /// A record in a hosted zone.
    Dns {
        /// Zone id.
        hosted_zone: String,
        /// Record name.
        record: String,
    },
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Role::AutoScalingGroup(name) => write!(f, "Auto Scaling group {name}"),
            Role::DbInstance(id) => write!(f, "RDS instance {id}"),
            Role::DbCluster(id) => write!(f, "Aurora cluster {id}"),
            Role::IamRole(name) => write!(f, "IAM role {name}"),
            Role::Dns { hosted_zone, record } => write!(f, "record {record} of hosted zone {hosted_zone}"),
        }
    }
}

impl Role {
    /// The identifier of what keeps data with a standby or a reader beside it.
    #[must_use]
    pub fn database(&self) -> Option<&str> {
        match self {
            Role::DbInstance(id) | Role::DbCluster(id) => Some(id),
            Role::AutoScalingGroup(_) | Role::IamRole(_) | Role::Dns { .. } => None,
        }
    }
}

/// Limits on what the harness may touch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Allow {
    /// Tag key and value a resource must carry.
    pub tag: Option<(String, String)>,
    /// Largest share (0 to 1) of a role's instances one fault may take.
    pub share: f64,
    /// Most instances of a role that one fault may take.
    #[serde(default)]
    pub count: Option<u64>,
    /// How many targets of a group must stay in service and healthy.
    #[serde(default = "one")]
    pub healthy_min: u64,
    /// When faults may be injected; always when none.
    #[serde(default)]
    pub calendar: Option<Calendar>,
}

/// What older plans mean by saying nothing.
fn one() -> u64 {
    1
}

impl Allow {
    /// Everything that carries the tag, up to the share, with one healthy target left.
    #[must_use]
    pub fn up_to(tag: Option<(String, String)>, share: f64) -> Self {
        Self {
            tag,
            share,
            count: None,
            healthy_min: one(),
            calendar: None,
        }
    }

    /// Whether tags allow a resource to be touched.
    #[must_use]
    pub fn covers(&self, tags: &BTreeMap<String, String>) -> bool {
        self.tag
            .as_ref()
            .is_none_or(|(key, value)| tags.get(key) == Some(value))
    }
}

/// Where the harness itself runs in the account, so that it does not cut itself off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunnerPlan {
    /// Instance id.
    pub instance: Option<String>,
    /// Subnet id.
    pub subnet: Option<String>,
}

/// Open or closed model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadModel {
    /// Closed: users with think time; stages give users.
    Users,
    /// Open: arrivals per second; stages give arrivals.
    Arrivals,
    /// Loads of both; stages of the run give the requests per second that are expected of all together.
    Mixed,
}

impl LoadModel {
    /// What a second of a recording counts as `users`: of arrivals, those that are not answered yet.
    #[must_use]
    pub fn counted(self) -> &'static str {
        match self {
            LoadModel::Users => "users",
            LoadModel::Arrivals => "arrivals in flight",
            LoadModel::Mixed => "users and arrivals in flight",
        }
    }
}

/// One stage: ramp to `level`, then hold.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StagePlan {
    /// Tier 1-6.
    pub tier: u8,
    /// Users, or arrivals per second (of real time) in the open model, at the end of the ramp; requests per second
    /// where a run has both.
    pub level: f64,
    /// When its ramp begins.
    #[serde(with = "seconds")]
    pub starts_at: Duration,
    /// When its hold begins.
    #[serde(with = "seconds")]
    pub holds_at: Duration,
    /// When it ends.
    #[serde(with = "seconds")]
    pub ends_at: Duration,
}

/// What services of gRPC look like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServicesPlan {
    /// A FileDescriptorSet, whole with what it imports.
    Descriptors(#[serde(with = "in_base64")] Vec<u8>),
    /// As the target says when the run begins; nothing runs by this.
    Reflection,
}

/// A ledger: how an acknowledged write is read back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LedgerPlan {
    /// Path template with `{{ id }}`.
    pub read: Template,
    /// Headers of the read.
    #[serde(default)]
    pub headers: Vec<(String, Template)>,
    /// How the read is signed; not at all when none.
    #[serde(default)]
    pub sign: Option<SigV4Plan>,
}

/// A probe: one request each interval, every result kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProbePlan {
    /// Index of the step whose request it sends.
    pub step: usize,
    /// Real time between probes.
    #[serde(with = "seconds")]
    pub interval: Duration,
    /// Sent straight to this Region's load balancers, past DNS; as users are sent when none.
    #[serde(default)]
    pub region: Option<String>,
}

/// One experiment on the time axis.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExperimentPlan {
    /// Its name.
    pub name: String,
    /// What the author believes.
    pub hypothesis: String,
    /// Faults in order.
    pub faults: Vec<FaultPlan>,
    /// Conditions that stop the run and revert everything.
    pub stop_when: Vec<StopCondition>,
    /// How long after its last fault's end it belongs to the experiment.
    #[serde(with = "seconds")]
    pub settle: Duration,
}

/// A fault with its window.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FaultPlan {
    /// Which fault, with its parameters.
    pub fault: Fault,
    /// The role it hits.
    pub role: String,
    /// The Region it hits.
    pub region: String,
    /// When it is injected.
    #[serde(with = "seconds")]
    pub at: Duration,
    /// When it is reverted; none where it is irreversible.
    #[serde(with = "seconds::option")]
    pub revert_at: Option<Duration>,
    /// Who injects it, as written.
    #[serde(default)]
    pub via: Via,
    /// The template by which AWS FIS injects it; none where the service's own API does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fis: Option<FisTemplate>,
    /// API calls that inject it, as planned against the inventory.
    pub calls: Vec<CallPlan>,
    /// API calls that revert it; empty where it is irreversible.
    pub reverts: Vec<CallPlan>,
    /// Resources it would hit now.
    pub resources: Vec<String>,
    /// What it does not reproduce.
    pub fidelity: String,
}

/// One API call of the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallPlan {
    /// `ec2:TerminateInstances`, also the IAM action.
    pub action: String,
    /// Region.
    pub region: String,
    /// Resource or parameters, readable.
    pub detail: String,
    /// ARNs of what it is called on, for the policy that permits it.
    #[serde(default)]
    pub resources: Vec<String>,
}

/// `errors > 90% for 3m`, `alarm shop-5xx`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StopCondition {
    /// As written.
    pub text: String,
    /// What it watches.
    #[serde(flatten)]
    pub when: StopWhen,
}

/// Bounds on the generator itself, real time. Shares are 0 to 1.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct HonestyPlan {
    /// p99 of lag at most.
    #[serde(with = "seconds")]
    pub lag_p99_max: Duration,
    /// Share of one core a shard may use at most.
    pub cpu_max: f64,
    /// Share of the machine's CPU time that may be stolen.
    pub steal_max: f64,
    /// Share of TCP segments that may be sent again outside faults.
    pub retransmits_max: f64,
    /// Share of the descriptors that may be in use.
    pub descriptors_max: f64,
    /// Share of the local ports that may be in use to one address.
    pub ports_max: f64,
    /// Requests a phase needs at least before a share or a percentile is believed.
    pub requests_min: u64,
}

impl Default for HonestyPlan {
    fn default() -> Self {
        Self {
            lag_p99_max: Duration::from_millis(50),
            cpu_max: 0.95,
            steal_max: 0.1,
            retransmits_max: 0.05,
            descriptors_max: 0.95,
            ports_max: 0.95,
            requests_min: 100,
        }
    }
}

#[cfg(test)]
mod tests;
