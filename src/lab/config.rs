//! The lab's configuration: every constant of its behaviour as a field with its default, in cloud time.
//! Reads no files; the caller hands over the `lab:` section of a profile as JSON.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::units::{format_duration, parse_duration};

/// A mistake in the lab's configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct LabConfigError {
    /// Where, e.g. `lab.web.maxx`.
    pub path: String,
    /// What is wrong and what would be right.
    pub message: String,
}

/// Everything that can be set about the lab's cloud.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LabConfig {
    /// The account that owns everything, twelve digits.
    pub account: String,
    /// Region names; the first is the primary.
    pub regions: Vec<String>,
    /// Availability Zones in each Region, 2 to 6.
    pub azs: u8,
    /// The hosted zone, without trailing dot.
    pub zone: String,
    /// The record that users resolve, without trailing dot.
    pub record: String,
    /// How the record routes between Regions.
    pub routing: RoutingPolicy,
    /// Route 53's TTL of an alias to a load balancer (documented: 60 s).
    #[serde(with = "cloud")]
    pub alias_ttl: Duration,
    /// EvaluateTargetHealth of the record's aliases. Off, so that the health checks alone decide; with it, an alias
    /// also fails over when no target of its load balancer is healthy.
    pub evaluate_target_health: bool,
    /// How long a record change takes to reach the DNS servers (documented: within 60 s).
    pub propagation: Range,
    /// Whether resources carry the tag `chaos: allowed`, without which a careful harness breaks nothing.
    pub tagged: bool,
    /// EC2 state changes.
    pub ec2: Ec2Config,
    /// The Auto Scaling group and its instances.
    pub web: WebConfig,
    /// The load balancer.
    pub load_balancer: LoadBalancerConfig,
    /// The database.
    pub database: DatabaseConfig,
    /// Route 53 health checks.
    pub health_checks: HealthCheckConfig,
    /// CloudWatch.
    pub cloudwatch: CloudWatchConfig,
    /// The AWS endpoint's manners.
    pub control_plane: ControlPlaneConfig,
    /// AWS FIS.
    pub fis: FisConfig,
    /// Network ACLs.
    pub network_acl: NetworkAclConfig,
}

/// Route 53 routing between Regions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoutingPolicy {
    /// The first Region is PRIMARY, the second SECONDARY.
    Failover,
    /// The nearest Region by EDNS client subnet.
    Latency,
    /// By weight: the first Region 255, each other one 1. Resolvers keep one answer for all their users until its TTL
    /// ends, so that even weights would send all of them now here, now there; these leave the users where they are
    /// until a weight or a health check changes, and yet no Region has the weight zero.
    Weighted,
}

/// EC2 durations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ec2Config {
    /// `stopping` to `stopped`.
    pub stopping: Range,
    /// `shutting-down` to `terminated`.
    pub shutting_down: Range,
    /// A control for tests: off, TerminateInstances is accepted and nothing comes of it.
    pub terminate_has_effect: bool,
}

/// The web tier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebConfig {
    /// Name of the Auto Scaling group, target group and load balancer.
    pub name: String,
    /// MinSize.
    pub min: u32,
    /// MaxSize.
    pub max: u32,
    /// DesiredCapacity at the start.
    pub desired: u32,
    /// Target of the target-tracking policy, percent CPU.
    pub target_cpu: f64,
    /// Requests one instance serves in parallel.
    pub workers: u32,
    /// Median service time; real time, since it is a latency.
    #[serde(with = "cloud")]
    pub service_time: Duration,
    /// Sigma of the log-normal service time.
    pub service_sigma: f64,
    /// Requests that may wait for a worker; more are answered 503.
    pub queue: u32,
    /// `pending` to `running`.
    pub boot: Range,
    /// `running` to the application serving.
    pub app_start: Range,
    /// Health check grace period.
    #[serde(with = "cloud")]
    pub grace: Duration,
    /// How long a new instance is counted as warming up.
    #[serde(with = "cloud")]
    pub warm_up: Duration,
    /// How often the group compares desired with actual.
    #[serde(with = "cloud")]
    pub reconcile: Duration,
    /// Suspended processes, e.g. `Launch`.
    pub suspended: Vec<String>,
    /// `EC2` or `ELB`.
    pub health_check_type: String,
    /// OnDemandPercentageAboveBaseCapacity of the group; the rest are Spot Instances.
    pub on_demand_percentage: u32,
    /// Whether the application of a Spot Instance reads its interruption notice and takes itself out of rotation.
    pub drains_on_notice: bool,
}

/// The Application Load Balancer and its target group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoadBalancerConfig {
    /// Health check path.
    pub health_check_path: String,
    /// Health check interval.
    #[serde(with = "cloud")]
    pub health_check_interval: Duration,
    /// Health check timeout.
    #[serde(with = "cloud")]
    pub health_check_timeout: Duration,
    /// Passes until healthy.
    pub healthy_threshold: u32,
    /// Failures until unhealthy.
    pub unhealthy_threshold: u32,
    /// Deregistration delay.
    #[serde(with = "cloud")]
    pub deregistration_delay: Duration,
    /// Idle timeout, also the patience with a silent target.
    #[serde(with = "cloud")]
    pub idle_timeout: Duration,
    /// Patience with a target that does not accept a connection.
    #[serde(with = "cloud")]
    pub connect_timeout: Duration,
}

/// How the standby gets the writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Replication {
    /// A write is acknowledged when both have it.
    Synchronous,
    /// The standby lags; a failover loses what had not arrived.
    Asynchronous,
}

/// What the database is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// An RDS instance, with a standby if it is Multi-AZ.
    Postgres,
    /// An Aurora cluster: a writer and readers.
    AuroraPostgresql,
}

impl Engine {
    /// As AWS names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Engine::Postgres => "postgres",
            Engine::AuroraPostgresql => "aurora-postgresql",
        }
    }
}

/// The RDS instance, or the Aurora cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseConfig {
    /// DBInstanceIdentifier, or DBClusterIdentifier, in every Region.
    pub name: String,
    /// Which of the two it is.
    pub engine: Engine,
    /// Whether there is a standby.
    pub multi_az: bool,
    /// How it replicates.
    pub replication: Replication,
    /// Lag of an asynchronous standby.
    pub standby_lag: Range,
    /// Detection of a crash (a forced failover needs none).
    pub detect: Range,
    /// Fence and promote.
    pub promote: Range,
    /// Recovery after promotion until writes are accepted.
    pub recover: Range,
    /// The whole failover stays within this range (documented: 60-120 s).
    pub total: Range,
    /// Until the new standby is in sync.
    pub resync: Range,
    /// Restart in place without Multi-AZ.
    pub restart: Range,
    /// `stopping` to `stopped`; statements fail from the call on (RDS documents no bound; minutes in practice).
    pub stop: Range,
    /// `starting` to `available` (the same).
    pub start: Range,
    /// Readers of a cluster, each in an AZ of its own.
    pub readers: u8,
    /// A cluster's failover to a reader, until it accepts writes (documented: service restored in less than 60 s, often
    /// less than 30 s; the endpoint's TTL comes on top).
    pub cluster_failover: Range,
    /// From then until the old writer is back as a reader [our choice].
    pub rejoin: Range,
    /// Whether the clusters of all Regions are one global cluster: then every application writes to its primary.
    pub global: bool,
    /// The Region of that primary; none where it is the first one.
    pub primary: Option<String>,
    /// Lag of the secondary Regions (documented: typically less than 1 s).
    pub global_lag: Range,
    /// A switchover to another Region, until it accepts writes (documented: in the order of minutes).
    pub global_switchover: Range,
    /// A failover to another Region, until it accepts writes (the same).
    pub global_failover: Range,
    /// From then until the old primary replicates again [our choice].
    pub global_rejoin: Range,
    /// TTL of the endpoint's DNS record (documented: 5 s).
    #[serde(with = "cloud")]
    pub endpoint_ttl: Duration,
    /// Time one statement takes; real time.
    #[serde(with = "cloud")]
    pub statement_time: Duration,
    /// Connections each instance may hold; statements beyond it are answered 503.
    pub connections: u32,
    /// How long an instance waits for a statement before it answers 503.
    #[serde(with = "cloud")]
    pub statement_timeout: Duration,
}

impl DatabaseConfig {
    /// By how much the standby of an instance lags behind; none where there is none, or where it does not lag.
    #[must_use]
    pub fn lag(&self) -> Option<Range> {
        let lags = self.multi_az && self.replication == Replication::Asynchronous;
        lags.then_some(self.standby_lag)
    }
}

/// Route 53 health checks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthCheckConfig {
    /// False sets the Disabled flag: they always say healthy.
    pub enabled: bool,
    /// RequestInterval, 10 s or 30 s.
    #[serde(with = "cloud")]
    pub interval: Duration,
    /// FailureThreshold.
    pub threshold: u32,
    /// How many checkers.
    pub checkers: u32,
    /// Patience with the connection.
    #[serde(with = "cloud")]
    pub connect_timeout: Duration,
    /// Patience with the answer.
    #[serde(with = "cloud")]
    pub answer_timeout: Duration,
    /// Share of checkers above which an endpoint is healthy (documented: 18 %).
    pub healthy_share: f64,
}

/// CloudWatch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CloudWatchConfig {
    /// How long after its minute a metric becomes visible.
    #[serde(with = "cloud")]
    pub delay: Duration,
}

/// The AWS endpoint's manners and faults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControlPlaneConfig {
    /// How far Describe calls may lag a change, about 2 s on AWS. Zero unless it is set, since scripts that were not
    /// written for it stumble, as they would on AWS.
    #[serde(with = "cloud")]
    pub lag: Duration,
    /// Describe calls per real second, per account, Region and action.
    pub read_rate: f64,
    /// Bucket of Describe calls.
    pub read_burst: u32,
    /// Mutating calls per real second, per account, Region and action.
    pub write_rate: f64,
    /// Bucket of mutating calls.
    pub write_burst: u32,
    /// Share of calls answered with throttling, 0 to 1.
    pub throttle_share: f64,
    /// Share of calls answered with a 5xx, 0 to 1.
    pub error_share: f64,
    /// Share of calls never answered, 0 to 1.
    pub timeout_share: f64,
    /// How long credentials of an assumed role last at most, real time.
    #[serde(with = "cloud")]
    pub session: Duration,
    /// Actions that the caller's policies deny, by their IAM names, such as `ec2:StopInstances`.
    pub denied: Vec<String>,
    /// Calls that are to go wrong, counted for each entry; the first entry that fits decides.
    pub misbehave: Vec<Misbehaviour>,
}

/// Some calls of one action that go wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Misbehaviour {
    /// Which, by AWS's name of the operation: `ReplaceNetworkAclAssociation`.
    pub action: String,
    /// How many of its calls are answered in order before.
    #[serde(default)]
    pub skip: u32,
    /// How many then go wrong.
    #[serde(default = "once")]
    pub times: u32,
    /// In which way.
    pub answer: Misanswer,
}

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Misanswer {
    /// It is throttled.
    Throttle,
    /// It gets a 5xx.
    Error,
    /// The caller is said to lack the permission.
    Denied,
    /// What it names is said not to exist, as where news of it has not got everywhere yet.
    NotFound,
    /// It has no effect and gets no answer.
    Timeout,
    /// It has its effect and gets no answer.
    SilentSuccess,
}

fn once() -> u32 {
    1
}

/// AWS FIS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FisConfig {
    /// Whether the account may use it.
    pub enabled: bool,
    /// How long an experiment is `pending`, and as long again `initiating`.
    pub initiating: Range,
}

/// Network ACLs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkAclConfig {
    /// From the call to its effect on packets.
    pub effect: Range,
}

/// A range of durations from which one is drawn; written `[30s, 90s]` or `45s`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// Shortest.
    pub min: Duration,
    /// Longest.
    pub max: Duration,
}

impl Range {
    /// A range in whole seconds.
    #[must_use]
    pub const fn seconds(min: u64, max: u64) -> Self {
        Self {
            min: Duration::from_secs(min),
            max: Duration::from_secs(max),
        }
    }
}

impl Serialize for Range {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        [format_duration(self.min), format_duration(self.max)].serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Range {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a duration such as 45s or a pair such as [30s, 90s]")]
        enum Form {
            One(String),
            Two([String; 2]),
        }
        let (min, max) = match Form::deserialize(deserializer)? {
            Form::One(one) => (one.clone(), one),
            Form::Two([min, max]) => (min, max),
        };
        let min = parse_duration(&min).map_err(serde::de::Error::custom)?;
        let max = parse_duration(&max).map_err(serde::de::Error::custom)?;
        if min > max {
            return Err(serde::de::Error::custom(
                "the first duration of a range must not exceed the second",
            ));
        }
        Ok(Self { min, max })
    }
}

mod cloud {
    use super::{Deserialize, Deserializer, Duration, Serializer, format_duration, parse_duration};

    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_duration(*duration))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        parse_duration(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl Default for LabConfig {
    fn default() -> Self {
        Self {
            account: "111122223333".to_owned(),
            regions: vec!["us-east-1".to_owned(), "eu-west-1".to_owned()],
            azs: 3,
            zone: "example.com".to_owned(),
            record: "shop.example.com".to_owned(),
            routing: RoutingPolicy::Failover,
            alias_ttl: Duration::from_secs(60),
            evaluate_target_health: false,
            propagation: Range::seconds(10, 60),
            tagged: true,
            ec2: Ec2Config::default(),
            web: WebConfig::default(),
            load_balancer: LoadBalancerConfig::default(),
            database: DatabaseConfig::default(),
            health_checks: HealthCheckConfig::default(),
            cloudwatch: CloudWatchConfig::default(),
            control_plane: ControlPlaneConfig::default(),
            fis: FisConfig::default(),
            network_acl: NetworkAclConfig::default(),
        }
    }
}

impl Default for Ec2Config {
    fn default() -> Self {
        Self {
            stopping: Range::seconds(10, 30),
            shutting_down: Range::seconds(5, 20),
            terminate_has_effect: true,
        }
    }
}

impl Default for WebConfig {
    fn default() -> Self {
        Self {
            name: "shop-web".to_owned(),
            min: 3,
            max: 12,
            desired: 3,
            target_cpu: 40.0,
            // 12 workers at a mean of 6.38 ms (median 6 ms, sigma 0.35) sustain about 1,880 requests a second.
            workers: 12,
            service_time: Duration::from_millis(6),
            service_sigma: 0.35,
            queue: 500,
            boot: Range::seconds(30, 90),
            app_start: Range::seconds(10, 30),
            grace: Duration::from_secs(300),
            warm_up: Duration::from_secs(300),
            reconcile: Duration::from_secs(5),
            suspended: Vec::new(),
            health_check_type: "ELB".to_owned(),
            on_demand_percentage: 100,
            drains_on_notice: false,
        }
    }
}

impl Default for LoadBalancerConfig {
    fn default() -> Self {
        Self {
            health_check_path: "/health".to_owned(),
            health_check_interval: Duration::from_secs(30),
            health_check_timeout: Duration::from_secs(5),
            healthy_threshold: 5,
            unhealthy_threshold: 2,
            deregistration_delay: Duration::from_secs(300),
            idle_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(10),
        }
    }
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            name: "shop-db".to_owned(),
            engine: Engine::Postgres,
            multi_az: true,
            replication: Replication::Synchronous,
            standby_lag: Range {
                min: Duration::from_millis(200),
                max: Duration::from_secs(2),
            },
            detect: Range::seconds(15, 30),
            promote: Range::seconds(25, 45),
            recover: Range::seconds(20, 60),
            total: Range::seconds(60, 120),
            resync: Range::seconds(180, 600),
            restart: Range::seconds(180, 360),
            stop: Range::seconds(120, 240),
            start: Range::seconds(180, 360),
            readers: 2,
            cluster_failover: Range::seconds(15, 45),
            rejoin: Range::seconds(20, 60),
            global: false,
            primary: None,
            global_lag: Range {
                min: Duration::from_millis(200),
                max: Duration::from_secs(1),
            },
            global_switchover: Range::seconds(60, 150),
            global_failover: Range::seconds(60, 150),
            global_rejoin: Range::seconds(60, 180),
            endpoint_ttl: Duration::from_secs(5),
            statement_time: Duration::from_millis(2),
            connections: 500,
            statement_timeout: Duration::from_secs(300),
        }
    }
}

impl Default for HealthCheckConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_secs(10),
            threshold: 3,
            checkers: 16,
            connect_timeout: Duration::from_secs(4),
            answer_timeout: Duration::from_secs(2),
            healthy_share: 0.18,
        }
    }
}

impl Default for CloudWatchConfig {
    fn default() -> Self {
        Self {
            delay: Duration::from_secs(60),
        }
    }
}

impl Default for FisConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            initiating: Range::seconds(1, 3),
        }
    }
}

impl Default for ControlPlaneConfig {
    fn default() -> Self {
        Self {
            lag: Duration::ZERO,
            read_rate: 100.0,
            read_burst: 200,
            write_rate: 20.0,
            write_burst: 50,
            throttle_share: 0.0,
            error_share: 0.0,
            timeout_share: 0.0,
            session: Duration::from_secs(3600),
            denied: Vec::new(),
            misbehave: Vec::new(),
        }
    }
}

impl Default for NetworkAclConfig {
    fn default() -> Self {
        Self {
            effect: Range::seconds(1, 5),
        }
    }
}

impl LabConfig {
    /// Reads the `lab:` section; what it does not mention keeps its default.
    pub fn from_json(section: Value) -> Result<Self, LabConfigError> {
        let defaults = serde_json::to_value(Self::default()).map_err(|error| whole(&error))?;
        let section = if section.is_null() {
            Value::Object(serde_json::Map::new())
        } else {
            section
        };
        check_keys("lab", &section, &defaults)?;
        check_leaves(&section, &defaults)?;
        let config: Self = serde_json::from_value(section).map_err(|error| whole(&error))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), LabConfigError> {
        let web = &self.web;
        let share = |share: f64| (0.0..=1.0).contains(&share);
        let plane = &self.control_plane;
        let rules = [
            (
                self.account.len() == 12 && self.account.bytes().all(|byte| byte.is_ascii_digit()),
                "lab.account",
                "an account is twelve digits",
            ),
            (
                (1..=16).contains(&self.regions.len()),
                "lab.regions",
                "name 1 to 16 Regions",
            ),
            (
                self.regions
                    .iter()
                    .enumerate()
                    .all(|(at, name)| !self.regions[..at].contains(name)),
                "lab.regions",
                "a Region is named twice",
            ),
            (
                (1..=6).contains(&self.azs),
                "lab.azs",
                "a Region has 1 to 6 Availability Zones",
            ),
            (
                self.record.ends_with(&self.zone),
                "lab.record",
                "the record must lie in lab.zone",
            ),
            (
                self.database.readers < self.azs || self.database.engine == Engine::Postgres,
                "lab.database.readers",
                "every member of a cluster has an AZ of its own, so there are fewer readers than lab.azs",
            ),
            (
                !self.database.global || self.database.engine == Engine::AuroraPostgresql,
                "lab.database.global",
                "only an Aurora cluster can be global: set lab.database.engine to aurora-postgresql",
            ),
            (
                self.database.primary.is_none() || self.database.global,
                "lab.database.primary",
                "only a global cluster has its primary in one Region: set lab.database.global to true",
            ),
            (
                self.database
                    .primary
                    .iter()
                    .all(|primary| self.regions.contains(primary)),
                "lab.database.primary",
                "the primary must be in one of lab.regions",
            ),
            (web.min <= web.max, "lab.web.min", "min must not exceed lab.web.max"),
            (
                (web.min..=web.max).contains(&web.desired),
                "lab.web.desired",
                "desired must lie between min and max",
            ),
            // Host octets 10 to 254 of each AZ hold the instances.
            (
                web.max <= 200,
                "lab.web.max",
                "the lab has room for 200 instances in a group",
            ),
            (
                web.workers > 0,
                "lab.web.workers",
                "an instance needs at least one worker",
            ),
            (
                (1.0..=100.0).contains(&web.target_cpu),
                "lab.web.target_cpu",
                "a CPU target is a percentage from 1 to 100",
            ),
            (
                (0.0..=3.0).contains(&web.service_sigma),
                "lab.web.service_sigma",
                "sigma is a number from 0 to 3",
            ),
            (
                ["EC2", "ELB"].contains(&web.health_check_type.as_str()),
                "lab.web.health_check_type",
                "health_check_type is EC2 or ELB",
            ),
            (
                web.on_demand_percentage <= 100,
                "lab.web.on_demand_percentage",
                "a percentage is a whole number from 0 to 100",
            ),
            (
                !self.load_balancer.health_check_interval.is_zero(),
                "lab.load_balancer.health_check_interval",
                "an interval must be longer than zero",
            ),
            (
                !self.health_checks.interval.is_zero(),
                "lab.health_checks.interval",
                "an interval must be longer than zero",
            ),
            (
                (1..=64).contains(&self.health_checks.checkers),
                "lab.health_checks.checkers",
                "use 1 to 64 checkers",
            ),
            (
                plane.read_rate > 0.0 && plane.write_rate > 0.0,
                "lab.control_plane.read_rate",
                "rates must be positive",
            ),
            (
                share(plane.throttle_share) && share(plane.error_share) && share(plane.timeout_share),
                "lab.control_plane",
                "shares are numbers from 0 to 1",
            ),
        ];
        for (holds, path, message) in rules {
            if !holds {
                return Err(LabConfigError {
                    path: path.to_owned(),
                    message: message.to_owned(),
                });
            }
        }
        const PROCESSES: [&str; 9] = [
            "Launch",
            "Terminate",
            "HealthCheck",
            "ReplaceUnhealthy",
            "AZRebalance",
            "AlarmNotification",
            "AddToLoadBalancer",
            "ScheduledActions",
            "InstanceRefresh",
        ];
        for process in &web.suspended {
            if !PROCESSES.contains(&process.as_str()) {
                let near = nearest(process, PROCESSES);
                return Err(LabConfigError {
                    path: "lab.web.suspended".to_owned(),
                    message: format!("{process:?} is not an Auto Scaling process; did you mean {near}?"),
                });
            }
        }
        Ok(())
    }
}

fn whole(error: &serde_json::Error) -> LabConfigError {
    LabConfigError {
        path: "lab".to_owned(),
        message: error.to_string(),
    }
}

fn check_keys(path: &str, given: &Value, defaults: &Value) -> Result<(), LabConfigError> {
    let Value::Object(known) = defaults else { return Ok(()) };
    let Value::Object(given) = given else {
        return Err(LabConfigError {
            path: path.to_owned(),
            message: format!("expected a section with keys such as {}", list(known.keys().take(4))),
        });
    };
    for (key, value) in given {
        let here = format!("{path}.{key}");
        match known.get(key) {
            Some(default) => check_keys(&here, value, default)?,
            None => {
                let near = nearest(key, known.keys().map(String::as_str));
                return Err(LabConfigError {
                    path: here,
                    message: format!("unknown key; did you mean {near}?"),
                });
            }
        }
    }
    Ok(())
}

/// Finds the value that does not fit by trying each one alone on top of the defaults, since serde_json's
/// errors do not say where in a value they arose.
fn check_leaves(section: &Value, defaults: &Value) -> Result<(), LabConfigError> {
    fn visit(path: &mut Vec<String>, given: &Value, root: &Value) -> Result<(), LabConfigError> {
        if let Value::Object(map) = given {
            for (key, value) in map {
                path.push(key.clone());
                visit(path, value, root)?;
                path.pop();
            }
            return Ok(());
        }
        let pointer: String = path.iter().map(|key| format!("/{key}")).collect();
        let mut trial = root.clone();
        if let Some(place) = trial.pointer_mut(&pointer) {
            *place = given.clone();
        }
        match serde_json::from_value::<LabConfig>(trial) {
            Ok(_) => Ok(()),
            Err(error) => Err(LabConfigError {
                path: format!("lab{}", pointer.replace('/', ".")),
                message: error.to_string(),
            }),
        }
    }
    visit(&mut Vec::new(), section, defaults)
}

fn list<'a>(keys: impl Iterator<Item = &'a String>) -> String {
    keys.map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> &'a str {
    candidates
        .into_iter()
        .min_by_key(|candidate| distance(word, candidate))
        .unwrap_or_default()
}

fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (at, one) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (place, other) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(one != *other);
            diagonal = row[place + 1];
            row[place + 1] = replaced.min(row[place] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_defaults_survive_their_own_text() {
        let text = serde_json::to_value(LabConfig::default()).expect("defaults serialise");
        assert_eq!(LabConfig::from_json(text), Ok(LabConfig::default()));
        assert_eq!(LabConfig::from_json(Value::Null), Ok(LabConfig::default()));
    }

    #[test]
    fn what_is_set_is_set_and_the_rest_keeps_its_default() {
        let config = LabConfig::from_json(json!({
            "web": {"max": 6, "boot": ["40s", "1m"], "suspended": ["Launch"]},
            "database": {"replication": "asynchronous", "promote": "30s"},
        }))
        .expect("it is right");
        assert_eq!(config.web.max, 6);
        assert_eq!(config.web.boot, Range::seconds(40, 60));
        assert_eq!(config.web.min, 3);
        assert_eq!(config.database.replication, Replication::Asynchronous);
        assert_eq!(config.database.promote, Range::seconds(30, 30));
    }

    #[test]
    fn mistakes_name_their_place_and_the_remedy() {
        let cases = [
            (json!({"web": {"maxx": 3}}), "lab.web.maxx", "max"),
            (json!({"databse": {}}), "lab.databse", "database"),
            (json!({"web": 3}), "lab.web", "section"),
            (json!({"web": {"grace": "5"}}), "lab.web.grace", "duration"),
            (json!({"web": {"boot": ["90s", "30s"]}}), "lab.web.boot", "range"),
            (json!({"web": {"max": -1}}), "lab.web.max", "invalid value"),
            (json!({"web": {"max": 2}}), "lab.web.min", "max"),
            (
                json!({"web": {"on_demand_percentage": 101}}),
                "lab.web.on_demand_percentage",
                "0 to 100",
            ),
            (json!({"web": {"suspended": ["Lunch"]}}), "lab.web.suspended", "Launch"),
            (json!({"account": "12"}), "lab.account", "twelve"),
            (json!({"routing": "random"}), "lab.routing", "failover"),
            (
                json!({"database": {"primary": "eu-west-1"}}),
                "lab.database.primary",
                "global to true",
            ),
            (
                json!({"database": {"engine": "aurora-postgresql", "global": true, "primary": "mars-1"}}),
                "lab.database.primary",
                "lab.regions",
            ),
            (
                json!({"control_plane": {"misbehave": [{"action": "StopInstances", "answer": "shrug"}]}}),
                "lab.control_plane.misbehave",
                "silent_success",
            ),
        ];
        for (section, path, word) in cases {
            let error = LabConfig::from_json(section.clone()).expect_err("it is wrong");
            assert_eq!(error.path, path, "{section}");
            assert!(error.message.contains(word), "{section}: {}", error.message);
        }
    }
}
