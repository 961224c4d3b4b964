//! What will happen, as data: arrival curves, fault windows, targets and every API call, before anything moves.
//! Pure: no clock, no sockets, no unseeded randomness.

mod adhoc;
mod build;
mod capacity;
mod environment;
mod feed;
mod in_base64;
mod inventory;
mod print;
mod resolve;
mod schedule;
mod steering;
mod timeline;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use crate::config::body::Encoding;
pub use crate::config::checks::{Expect, Extract, Source, Wanted};
pub use crate::config::connections::ConnectionUse;
pub use crate::config::feeder::{RowOrder, Table};
pub use crate::config::objective::{Comparison, Limit, Measure, Objective, Phase, Scope, Statistic};
pub use crate::config::profile::Spacing;
pub use crate::config::retry::{Retries, RetryOn};
pub use crate::config::wait::Wait;
use crate::units::{Pace, seconds};
pub use adhoc::{AdHoc, Amount};
pub use build::{PlanErrors, PlanOptions, build, check};
pub use capacity::{Addresses, Capacity, Limits, capacity};
pub use environment::MissingVariable;
pub use inventory::{
    Inventory, InventoryDatabase, InventoryGroup, InventoryInstance, InventoryRegion, InventorySubnet,
};
pub use print::print;
pub use resolve::pick_share;
pub use steering::{Steer, SteerError, Steering};

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
    /// Open or closed model.
    pub model: LoadModel,
    /// How arrivals of the open model are spaced.
    #[serde(default)]
    pub spacing: Spacing,
    /// Stages in order; they follow one another without gap.
    pub stages: Vec<StagePlan>,
    /// How the generator behaves as a client.
    pub client: ClientPlan,
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
    /// Regions, the primary first; empty for a plain URL target.
    pub regions: Vec<String>,
    /// Roles by name.
    pub roles: BTreeMap<String, Role>,
    /// What may be touched.
    pub allow: Option<Allow>,
    /// Response header naming instance/AZ/Region as `i-…/us-east-1a/us-east-1`.
    pub served_by: Option<String>,
    /// Region of each address users may be sent to, as resolved before the run.
    pub edge: BTreeMap<IpAddr, String>,
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
            regions: Vec::new(),
            roles: BTreeMap::new(),
            allow: None,
            served_by: None,
            edge: BTreeMap::new(),
            inventory: Inventory::default(),
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
    /// A record in a hosted zone.
    Dns {
        /// Zone id.
        hosted_zone: String,
        /// Record name.
        record: String,
    },
}

/// Limits on what the harness may touch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Allow {
    /// Tag key and value a resource must carry.
    pub tag: Option<(String, String)>,
    /// Largest share (0 to 1) of a role's instances one fault may take.
    pub share: f64,
}

/// A table of test data.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FeederPlan {
    /// Its name.
    pub name: String,
    /// Order of its rows.
    pub order: RowOrder,
    /// Its rows; not written down, for they may be many or nobody's business.
    #[serde(skip)]
    pub table: Arc<Table>,
}

/// One journey.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct JourneyPlan {
    /// Its name.
    pub name: String,
    /// Relative weight, positive.
    pub weight: f64,
    /// Think time after each pass, real time.
    pub think: Wait,
    /// From the start of one pass to that of the next at least, real time; users of the closed model only.
    #[serde(default)]
    pub pacing: Option<Wait>,
    /// Answers' cookies are sent back within the pass.
    #[serde(default)]
    pub cookies: bool,
    /// Indexes into [`Plan::feeders`]: each pass takes a row of each.
    #[serde(default)]
    pub feed: Vec<usize>,
    /// Indexes into [`Plan::steps`].
    pub steps: Vec<usize>,
}

impl JourneyPlan {
    /// The wait that mostly decides when a user comes again.
    #[must_use]
    pub fn cycle(&self) -> Wait {
        match self.pacing {
            Some(pacing) if pacing.mean() > self.think.mean() => pacing,
            _ => self.think,
        }
    }
}

/// One request of a journey.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StepPlan {
    /// Unique over the plan: the journey's name, with `.2` and so on for further steps, or the given name.
    pub name: String,
    /// Journey index.
    pub journey: usize,
    /// HTTP method, upper case.
    pub method: String,
    /// Path template.
    pub path: Template,
    /// Extra headers.
    pub headers: Vec<(String, Template)>,
    /// Body template with its content type.
    pub body: Option<Body>,
    /// Patience for its answer (cloud time, never below 200 ms real); the client's when none.
    #[serde(default, with = "seconds::option")]
    pub timeout: Option<Duration>,
    /// Redirects within the target that are followed at most; none by default, and a redirect is then an answer.
    #[serde(default)]
    pub redirects: u32,
    /// What an answer must be.
    #[serde(default)]
    pub expect: Expect,
    /// What later steps of the journey take from the answer.
    #[serde(default)]
    pub extract: Vec<Extract>,
    /// Ledger that records the acknowledged id.
    pub ledger: Option<String>,
}

/// A body.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Body {
    /// Content-Type.
    pub content_type: String,
    /// The text.
    pub template: Template,
    /// How holes are filled.
    #[serde(default)]
    pub encoding: Encoding,
}

/// A compiled text with holes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Template {
    /// Pieces in order.
    pub parts: Vec<Part>,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Literal text.
    Text(String),
    /// `{{ random(min, max) }}`, both ends included.
    Random(u64, u64),
    /// `{{ unique }}`: an id no other request of the run has; the same within one request.
    Unique,
    /// `{{ id }}`: only in a ledger's read path.
    Id,
    /// `{{ name }}`: what an earlier step of the pass extracted, or a feeder brought.
    Variable(String),
    /// `{{ env(NAME) }}`: a variable of the environment; see [`Plan::with_environment`].
    Env(String),
    /// What this gives, in Base64.
    Base64(Template),
    /// Bytes as they are.
    #[serde(with = "in_base64")]
    Bytes(Vec<u8>),
}

/// Open or closed model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadModel {
    /// Closed: users with think time; stages give users.
    Users,
    /// Open: arrivals per second; stages give arrivals.
    Arrivals,
}

/// One stage: ramp to `level`, then hold.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StagePlan {
    /// Tier 1-6.
    pub tier: u8,
    /// Users, or arrivals per second (of real time) in the open model, at the end of the ramp.
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

/// The generator as a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientPlan {
    /// What happens to a connection when the DNS answer no longer has its address.
    pub dns: DnsPolicy,
    /// Connections per shard and address at most.
    pub connections_max: usize,
    /// Who uses a connection.
    #[serde(default)]
    pub connections: ConnectionUse,
    /// Older connections are closed after their request (cloud time, never below 200 ms real).
    #[serde(default, with = "seconds::option")]
    pub connection_age: Option<Duration>,
    /// Connections that nobody used for so long are closed (cloud time, never below 200 ms real).
    #[serde(default, with = "seconds::option")]
    pub connection_idle: Option<Duration>,
    /// Local addresses that connections come from in turn; the system's choice when none.
    #[serde(default)]
    pub sources: Vec<IpAddr>,
    /// Patience for a connect (cloud time, never below 200 ms real).
    #[serde(with = "seconds")]
    pub connect_timeout: Duration,
    /// Patience for a whole request (cloud time, never below 200 ms real).
    #[serde(with = "seconds")]
    pub request_timeout: Duration,
    /// Requests per second of real time at most, a safety limit; what exceeds it is counted as dropped.
    pub rate_limit: Option<f64>,
    /// Shards (threads); one per core when none.
    pub shards: Option<usize>,
    /// How failed requests are tried again; not at all when none.
    #[serde(default)]
    pub retries: Option<Retries>,
    /// How TLS is spoken, where the target's scheme is https.
    #[serde(default)]
    pub tls: TlsPlan,
    /// A real delay added before each start, to force lag in tests of the honesty checks.
    #[serde(with = "seconds")]
    pub forced_lag: Duration,
}

/// How TLS is spoken.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct TlsPlan {
    /// Certificates are verified.
    pub verify: bool,
    /// Authorities believed besides the system's, PEM.
    pub authorities: Option<String>,
    /// Sessions are resumed.
    pub resume: bool,
    /// The name in the certificate and in the clear (SNI); the target's host when none.
    pub server_name: Option<String>,
    /// Keys are written to the file that SSLKEYLOGFILE names.
    pub key_log: bool,
    /// The client's own certificates and key, PEM; never written down.
    #[serde(skip)]
    pub identity: Option<Identity>,
}

/// A client's certificates and key, PEM.
#[derive(Clone)]
pub struct Identity {
    /// Its certificate, then those that lead to an authority.
    pub certificates: String,
    /// The private key.
    pub key: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

impl Default for TlsPlan {
    fn default() -> Self {
        Self {
            verify: true,
            authorities: None,
            resume: true,
            server_name: None,
            key_log: false,
            identity: None,
        }
    }
}

/// DNS policy of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DnsPolicy {
    /// Ask again when the TTL ends; give old connections up when their address left the answer.
    HonourTtl,
    /// Ask again for new connections only; keep old ones.
    Pin,
    /// Ask once.
    Forever,
}

/// A ledger: how an acknowledged write is read back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LedgerPlan {
    /// Path template with `{{ id }}`.
    pub read: Template,
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
    /// API calls that inject it, as planned against the inventory.
    pub calls: Vec<CallPlan>,
    /// API calls that revert it; empty where it is irreversible.
    pub reverts: Vec<CallPlan>,
    /// Resources it would hit now.
    pub resources: Vec<String>,
    /// What it does not reproduce.
    pub fidelity: String,
}

/// The fault catalogue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "name")]
pub enum Fault {
    /// `ec2.terminate`: EC2 TerminateInstances on a share of a group's instances.
    #[serde(rename = "ec2.terminate")]
    Ec2Terminate {
        /// Share of the group's in-service instances, 0 to 1, rounded to the nearest and at least one.
        share: f64,
    },
    /// `rds.failover`: RDS RebootDBInstance with ForceFailover.
    #[serde(rename = "rds.failover")]
    RdsFailover,
    /// `network.deny_region`: replaces the network ACL of every subnet of the Region with one that denies all.
    #[serde(rename = "network.deny_region")]
    NetworkDenyRegion,
}

impl Fault {
    /// Its name in the catalogue.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Fault::Ec2Terminate { .. } => "ec2.terminate",
            Fault::RdsFailover => "rds.failover",
            Fault::NetworkDenyRegion => "network.deny_region",
        }
    }
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
}

/// `errors > 90% for 3m`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StopCondition {
    /// As written.
    pub text: String,
    /// Only `errors` and `latency` are allowed.
    pub measure: Measure,
    /// Statistic for latency.
    pub statistic: Option<Statistic>,
    /// Comparison.
    pub comparison: Comparison,
    /// Limit.
    pub limit: Limit,
    /// For how long it must hold.
    #[serde(with = "seconds")]
    pub lasts: Duration,
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
