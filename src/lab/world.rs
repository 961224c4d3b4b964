//! The lab's state: every AWS resource as plain data, one struct per thing that AWS describes.
//! No sockets and no timers: `data` serves traffic, `dynamics` moves the state on, `control` reads and changes it
//! on request. All instants are cloud time, in seconds since the Unix epoch.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;

use super::experiments::Fis;

/// Cloud time in seconds since the Unix epoch.
pub type CloudTime = f64;

/// Tags of a resource.
pub type Tags = BTreeMap<String, String>;

/// The whole cloud: Regions by name and the global Route 53 state.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// The account that owns everything, twelve digits.
    pub account: String,
    /// Regions by name, e.g. `us-east-1`.
    pub regions: BTreeMap<String, Region>,
    /// Route 53 is global.
    pub route53: Route53,
    /// IAM roles by name; IAM is global too.
    pub iam_roles: BTreeMap<String, IamRole>,
    /// Aurora global clusters by identifier.
    pub global_clusters: BTreeMap<String, GlobalCluster>,
    /// What each Auto Scaling group remembers between reconciliations, by Region and group name.
    pub scaling: BTreeMap<(String, String), ScalingMemory>,
}

/// Name of the role that the lab's application would act as, if it asked AWS for anything.
pub const APP_ROLE: &str = "shop-app";

/// An IAM role.
#[derive(Debug, Clone)]
pub struct IamRole {
    /// ARN.
    pub arn: String,
    /// CreateDate.
    pub created_at: CloudTime,
    /// Tags.
    pub tags: Tags,
}

/// What Auto Scaling remembers of a group and no call describes.
#[derive(Debug, Clone, Default)]
pub struct ScalingMemory {
    /// Why the desired capacity last changed; the first sentence of the causes that follow from it.
    pub cause: Option<String>,
    /// Unhealthy members taken out whose replacement has not been launched yet.
    pub replacing: u32,
    /// Instances whose SetInstanceHealth verdict stands until they are replaced.
    pub set_unhealthy: Vec<String>,
    /// Until then the load balancer's verdict on members is not acted upon.
    pub deferred_until: CloudTime,
}

/// One Region's resources.
#[derive(Debug, Clone, Default)]
pub struct Region {
    /// Its name, e.g. `us-east-1`.
    pub name: String,
    /// Its place in the configuration; the first Region is the primary. Addresses are 127.(10 + index).az.host.
    pub index: u8,
    /// Its control plane answers nobody, as if the way to it were cut; what belongs to no Region answers on.
    pub unreachable: bool,
    /// The only VPC.
    pub vpc_id: String,
    /// One subnet per AZ, by subnet id.
    pub subnets: BTreeMap<String, Subnet>,
    /// Network ACLs by id.
    pub network_acls: BTreeMap<String, NetworkAcl>,
    /// The network ACL that each client token created.
    pub acl_tokens: BTreeMap<String, String>,
    /// EC2 instances by id; terminated ones stay for an hour of cloud time, as on AWS.
    pub instances: BTreeMap<String, Instance>,
    /// Auto Scaling groups by name.
    pub groups: BTreeMap<String, AutoScalingGroup>,
    /// Load balancers by ARN.
    pub load_balancers: BTreeMap<String, LoadBalancer>,
    /// Target groups by ARN.
    pub target_groups: BTreeMap<String, TargetGroup>,
    /// RDS instances by identifier, those of clusters too.
    pub db_instances: BTreeMap<String, DbInstance>,
    /// Aurora clusters by identifier.
    pub db_clusters: BTreeMap<String, DbCluster>,
    /// RDS events, oldest first.
    pub db_events: Vec<DbEvent>,
    /// CloudWatch metrics.
    pub metrics: MetricStore,
    /// CloudWatch alarms by name.
    pub alarms: BTreeMap<String, Alarm>,
    /// Alarm history, oldest first.
    pub alarm_history: Vec<AlarmHistoryItem>,
    /// AWS FIS.
    pub fis: Fis,
    /// Zonal shifts by id, those that are over too.
    pub zonal_shifts: BTreeMap<String, ZonalShift>,
}

impl Region {
    /// `use1-az1` for `us-east-1a`: the first letters of the Region's parts and its number, as AWS shortens them.
    #[must_use]
    pub fn zone_id(&self, subnet: &Subnet) -> String {
        let mut parts = self.name.split('-');
        let area = parts.next().unwrap_or_default();
        let rest: String = parts.filter_map(|part| part.chars().next()).collect();
        format!("{area}{rest}-az{}", subnet.az_index)
    }

    /// Whether a load balancer is shifted away from an AZ, by its name.
    #[must_use]
    pub fn is_shifted(&self, load_balancer: &str, az: &str) -> bool {
        let of_az = |id: &str| {
            self.subnets
                .values()
                .any(|subnet| subnet.az == az && self.zone_id(subnet) == id)
        };
        self.zonal_shifts.values().any(|shift| {
            shift.status == ShiftStatus::Active && shift.resource == load_balancer && of_az(&shift.away_from)
        })
    }
}

/// A subnet: one AZ's slice of the VPC.
#[derive(Debug, Clone)]
pub struct Subnet {
    /// `subnet-…`.
    pub id: String,
    /// AZ name, e.g. `us-east-1a`.
    pub az: String,
    /// AZ number from 1, the third octet of every address in it.
    pub az_index: u8,
    /// The block, e.g. `127.10.1.0/24`.
    pub cidr: String,
    /// `aclassoc-…`; a new one with each replacement.
    pub acl_association_id: String,
    /// The network ACL in force by the API (its effect follows 1-5 s later).
    pub network_acl_id: String,
    /// Whether packets to and from the subnet vanish now; the data plane keeps it.
    pub silent: bool,
    /// Tags.
    pub tags: Tags,
}

/// A network ACL.
#[derive(Debug, Clone)]
pub struct NetworkAcl {
    /// `acl-…`.
    pub id: String,
    /// The VPC's default ACL, which allows everything.
    pub is_default: bool,
    /// Rules; evaluated by number, first match, then deny.
    pub entries: Vec<NetworkAclEntry>,
    /// Tags.
    pub tags: Tags,
}

/// One rule of a network ACL.
#[derive(Debug, Clone)]
pub struct NetworkAclEntry {
    /// 1-32766, or 32767 for the final deny.
    pub rule_number: i32,
    /// `-1` for all protocols.
    pub protocol: String,
    /// `allow` or `deny`.
    pub allow: bool,
    /// Outbound rule.
    pub egress: bool,
    /// Block it matches.
    pub cidr_block: String,
}

/// EC2 instance states, with AWS's codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceState {
    /// Code 0.
    Pending,
    /// Code 16.
    Running,
    /// Code 32.
    ShuttingDown,
    /// Code 48.
    Terminated,
    /// Code 64.
    Stopping,
    /// Code 80.
    Stopped,
}

/// An EC2 instance.
#[derive(Debug, Clone)]
pub struct Instance {
    /// `i-…` with 17 hex digits.
    pub id: String,
    /// Its subnet.
    pub subnet_id: String,
    /// Its AZ.
    pub az: String,
    /// Where it listens.
    pub address: Ipv4Addr,
    /// State now.
    pub state: InstanceState,
    /// When it was launched.
    pub launched_at: CloudTime,
    /// When it became `running`.
    pub running_at: Option<CloudTime>,
    /// When its application began to serve.
    pub ready_at: Option<CloudTime>,
    /// When it left `running` for good.
    pub terminated_at: Option<CloudTime>,
    /// StateTransitionReason, as AWS words it.
    pub state_reason: String,
    /// The Auto Scaling group that launched it.
    pub group: Option<String>,
    /// Whether it is a Spot Instance.
    pub spot: bool,
    /// Its root volume, which is born with it and goes with it.
    pub volume: Volume,
    /// Tags, with `aws:autoscaling:groupName` where a group launched it.
    pub tags: Tags,
}

/// An EBS volume.
#[derive(Debug, Clone)]
pub struct Volume {
    /// `vol-…` with 17 hex digits.
    pub id: String,
    /// Tags.
    pub tags: Tags,
}

impl Volume {
    /// The root volume of an instance, with the tags that the launch template gives to both.
    #[must_use]
    pub fn root(instance_id: &str, tags: &Tags) -> Self {
        Self {
            id: instance_id.replacen("i-", "vol-", 1),
            tags: tags.clone(),
        }
    }
}

/// An Auto Scaling group.
#[derive(Debug, Clone)]
pub struct AutoScalingGroup {
    /// Name and ARN.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// MinSize.
    pub min: u32,
    /// MaxSize.
    pub max: u32,
    /// DesiredCapacity.
    pub desired: u32,
    /// AZ names.
    pub azs: Vec<String>,
    /// Subnet ids.
    pub subnet_ids: Vec<String>,
    /// `EC2` or `ELB`.
    pub health_check_type: String,
    /// Seconds of cloud time.
    pub health_check_grace_s: u32,
    /// Members now.
    pub members: Vec<GroupMember>,
    /// Suspended processes with AWS's reason text.
    pub suspended: BTreeMap<String, String>,
    /// Scaling activities, newest first as AWS answers them.
    pub activities: VecDeque<ScalingActivity>,
    /// Target groups its instances register with.
    pub target_group_arns: Vec<String>,
    /// OnDemandPercentageAboveBaseCapacity; the rest are Spot Instances.
    pub on_demand_percentage: u32,
    /// Its target-tracking policy.
    pub policy: TargetTrackingPolicy,
    /// Creation time.
    pub created_at: CloudTime,
    /// Tags.
    pub tags: Tags,
    /// Keys of those that launched instances do not get (PropagateAtLaunch is false).
    pub own_tags: BTreeSet<String>,
}

/// Whether the next instance of a group that has `all`, `on_demand` of them On-Demand, is a Spot Instance.
#[must_use]
pub fn next_is_spot(on_demand: usize, all: usize, on_demand_percentage: u32) -> bool {
    let wanted = ((all + 1) * on_demand_percentage as usize).div_ceil(100);
    on_demand >= wanted
}

/// One member of a group.
#[derive(Debug, Clone)]
pub struct GroupMember {
    /// Instance id.
    pub instance_id: String,
    /// AZ name.
    pub az: String,
    /// `Pending`, `InService`, `Terminating`.
    pub lifecycle_state: String,
    /// `Healthy` or `Unhealthy`.
    pub health_status: String,
    /// When it went in service.
    pub in_service_at: Option<CloudTime>,
}

/// A scaling activity.
#[derive(Debug, Clone)]
pub struct ScalingActivity {
    /// UUID.
    pub id: String,
    /// `Launching a new EC2 instance: i-…` or `Terminating EC2 instance: i-…`.
    pub description: String,
    /// AWS's sentence; the patterns are in aws-systems.md section 3.
    pub cause: String,
    /// When it began.
    pub start_time: CloudTime,
    /// When it ended.
    pub end_time: Option<CloudTime>,
    /// `PreInService`, `InProgress`, `Successful`, `Failed`, `Cancelled`.
    pub status_code: String,
    /// Present for failures.
    pub status_message: Option<String>,
    /// 0-100.
    pub progress: u32,
    /// JSON text with Subnet ID and Availability Zone.
    pub details: String,
    /// The instance concerned.
    pub instance_id: Option<String>,
}

/// Target tracking on the group's average CPU.
#[derive(Debug, Clone)]
pub struct TargetTrackingPolicy {
    /// PolicyName.
    pub name: String,
    /// PolicyARN.
    pub arn: String,
    /// Percent.
    pub target_value: f64,
    /// Alarm names, high then low.
    pub alarm_names: Vec<String>,
}

/// An Application Load Balancer.
#[derive(Debug, Clone)]
pub struct LoadBalancer {
    /// LoadBalancerArn.
    pub arn: String,
    /// LoadBalancerName.
    pub name: String,
    /// DNSName, answered by the lab's DNS server with one address per AZ.
    pub dns_name: String,
    /// CanonicalHostedZoneId.
    pub hosted_zone_id: String,
    /// One node per AZ: (AZ, subnet id, address).
    pub nodes: Vec<LoadBalancerNode>,
    /// The target group its listener forwards to.
    pub target_group_arn: String,
    /// Listener port.
    pub port: u16,
    /// Creation time.
    pub created_at: CloudTime,
    /// Tags.
    pub tags: Tags,
}

/// A load balancer's node in one AZ.
#[derive(Debug, Clone)]
pub struct LoadBalancerNode {
    /// AZ name.
    pub az: String,
    /// Subnet id.
    pub subnet_id: String,
    /// Where it listens.
    pub address: Ipv4Addr,
    /// Whether the load balancer's name has its address; not while its AZ alone cannot be reached.
    pub in_dns: bool,
}

/// A zonal shift of a load balancer.
#[derive(Debug, Clone, PartialEq)]
pub struct ZonalShift {
    /// UUID.
    pub id: String,
    /// LoadBalancerArn.
    pub resource: String,
    /// AZ id, e.g. `use1-az1`.
    pub away_from: String,
    /// Comment.
    pub comment: String,
    /// When it began.
    pub started_at: CloudTime,
    /// When it ends by itself.
    pub expires_at: CloudTime,
    /// Status.
    pub status: ShiftStatus,
}

/// Status of a zonal shift.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShiftStatus {
    /// In force.
    Active,
    /// Ended by itself.
    Expired,
    /// Ended by a call.
    Canceled,
}

impl ShiftStatus {
    /// As AWS spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ShiftStatus::Active => "ACTIVE",
            ShiftStatus::Expired => "EXPIRED",
            ShiftStatus::Canceled => "CANCELED",
        }
    }
}

/// A target group with the health of its targets.
#[derive(Debug, Clone)]
pub struct TargetGroup {
    /// TargetGroupArn.
    pub arn: String,
    /// TargetGroupName.
    pub name: String,
    /// Port of the targets.
    pub port: u16,
    /// Load balancers that use it.
    pub load_balancer_arns: Vec<String>,
    /// Health check path.
    pub health_check_path: String,
    /// Seconds.
    pub health_check_interval_s: u32,
    /// Seconds.
    pub health_check_timeout_s: u32,
    /// HealthyThresholdCount.
    pub healthy_threshold: u32,
    /// UnhealthyThresholdCount.
    pub unhealthy_threshold: u32,
    /// deregistration_delay.timeout_seconds.
    pub deregistration_delay_s: u32,
    /// Registered targets by instance id.
    pub targets: BTreeMap<String, TargetState>,
    /// Tags.
    pub tags: Tags,
}

/// One registered target.
#[derive(Debug, Clone)]
pub struct TargetState {
    /// Instance id.
    pub instance_id: String,
    /// Where it listens.
    pub address: Ipv4Addr,
    /// Its AZ.
    pub az: String,
    /// `initial`, `healthy`, `unhealthy`, `draining`, `unused`.
    pub state: String,
    /// `Elb.RegistrationInProgress`, `Target.FailedHealthChecks`, …; none when healthy.
    pub reason: Option<String>,
    /// AWS's sentence for the reason.
    pub description: Option<String>,
    /// Consecutive passes.
    pub passes: u32,
    /// Consecutive failures.
    pub failures: u32,
    /// Registered at.
    pub registered_at: CloudTime,
    /// When draining began.
    pub draining_since: Option<CloudTime>,
}

/// An RDS instance.
#[derive(Debug, Clone)]
pub struct DbInstance {
    /// DBInstanceIdentifier.
    pub id: String,
    /// DBInstanceArn.
    pub arn: String,
    /// `available`, `rebooting`, `stopping`, `stopped`, `starting`.
    pub status: String,
    /// The cluster that it is a member of.
    pub cluster: Option<String>,
    /// MultiAZ.
    pub multi_az: bool,
    /// AZ of the primary.
    pub az: String,
    /// AZ of the standby; none while it is being rebuilt or when not Multi-AZ.
    pub secondary_az: Option<String>,
    /// Endpoint.Address.
    pub endpoint: String,
    /// Address behind the endpoint now (its DNS answer).
    pub endpoint_address: Ipv4Addr,
    /// Whether the standby has every acknowledged write; false means no redundancy.
    pub standby_in_sync: bool,
    /// A failover in progress, none otherwise.
    pub failover: Option<DbFailover>,
    /// Creation time.
    pub created_at: CloudTime,
    /// Tags.
    pub tags: Tags,
}

/// An Aurora cluster. Its members are RDS instances that share its storage, so that none lacks a write.
#[derive(Debug, Clone)]
pub struct DbCluster {
    /// DBClusterIdentifier.
    pub id: String,
    /// DBClusterArn.
    pub arn: String,
    /// `available`, `failing-over`.
    pub status: String,
    /// Identifiers of its instances in the order of their promotion tiers.
    pub members: Vec<String>,
    /// Which of them writes.
    pub writer: String,
    /// Endpoint: the writer's.
    pub endpoint: String,
    /// ReaderEndpoint.
    pub reader_endpoint: String,
    /// Address behind the endpoint now (its DNS answer).
    pub endpoint_address: Ipv4Addr,
    /// Creation time.
    pub created_at: CloudTime,
    /// Tags.
    pub tags: Tags,
}

/// An Aurora global cluster: the clusters of several Regions, one of which writes.
#[derive(Debug, Clone)]
pub struct GlobalCluster {
    /// GlobalClusterIdentifier.
    pub id: String,
    /// GlobalClusterArn.
    pub arn: String,
    /// `available`, `switching-over`, `failing-over`.
    pub status: String,
    /// DBClusterIdentifier of its clusters, the same in every Region.
    pub cluster: String,
    /// ARN of its cluster in each Region.
    pub members: BTreeMap<String, String>,
    /// Region of the primary.
    pub writer: String,
    /// Regions whose cluster is put together anew after a failover.
    pub resyncing: BTreeSet<String>,
    /// The switchover or failover in progress, none otherwise.
    pub handover: Option<GlobalHandover>,
    /// Endpoint: that of the primary's writer, whichever Region it is in.
    pub endpoint: String,
    /// Tags.
    pub tags: Tags,
}

/// A switchover or failover of a global cluster.
#[derive(Debug, Clone)]
pub struct GlobalHandover {
    /// Region of the old primary.
    pub from: String,
    /// Region of the new one.
    pub to: String,
    /// Whether what had not reached it is lost.
    pub loses: bool,
}

impl World {
    /// Whether a Region's cluster is a secondary of a global cluster, so that nobody writes to it.
    #[must_use]
    pub fn is_secondary(&self, region: &str, cluster: &str) -> bool {
        let globals = self.global_clusters.values();
        let mut of_cluster = globals.filter(|one| one.cluster == cluster && one.members.contains_key(region));
        of_cluster.any(|one| one.writer != region)
    }
}

/// The phases of a database failover, in cloud time.
#[derive(Debug, Clone)]
pub struct DbFailover {
    /// When writes stopped.
    pub started_at: CloudTime,
    /// When the old primary is fenced and its connections are reset.
    pub fenced_at: CloudTime,
    /// When the endpoint's record changes.
    pub endpoint_at: CloudTime,
    /// When it accepts writes again.
    pub accepts_writes_at: CloudTime,
    /// When the new standby is in sync, or the old writer is back as a reader; none without Multi-AZ.
    pub redundant_at: Option<CloudTime>,
}

/// An RDS event as DescribeEvents answers it.
#[derive(Debug, Clone)]
pub struct DbEvent {
    /// DB identifier.
    pub source_id: String,
    /// `db-instance` or `db-cluster`.
    pub source_type: String,
    /// AWS's text.
    pub message: String,
    /// Categories, e.g. `failover`.
    pub categories: Vec<String>,
    /// When.
    pub date: CloudTime,
}

/// Per-minute CloudWatch data: (namespace, metric, dimensions) -> points.
#[derive(Debug, Clone, Default)]
pub struct MetricStore {
    /// Series by key.
    pub series: BTreeMap<MetricKey, VecDeque<MetricPoint>>,
}

/// What identifies a metric.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetricKey {
    /// E.g. `AWS/EC2`.
    pub namespace: String,
    /// E.g. `CPUUtilization`.
    pub name: String,
    /// Sorted name-value pairs.
    pub dimensions: Vec<(String, String)>,
}

/// One minute of one metric.
#[derive(Debug, Clone)]
pub struct MetricPoint {
    /// Start of the minute it describes.
    pub minute: CloudTime,
    /// When it becomes visible (60 s after the minute).
    pub visible_at: CloudTime,
    /// SampleCount.
    pub count: f64,
    /// Sum.
    pub sum: f64,
    /// Minimum.
    pub min: f64,
    /// Maximum.
    pub max: f64,
    /// p50 and p99 where the metric has them.
    pub percentiles: Option<(f64, f64)>,
}

/// A CloudWatch alarm.
#[derive(Debug, Clone)]
pub struct Alarm {
    /// AlarmName.
    pub name: String,
    /// AlarmArn.
    pub arn: String,
    /// AlarmDescription.
    pub description: String,
    /// The metric.
    pub metric: MetricKey,
    /// `Average`, `Sum`, `Maximum`, `Minimum`.
    pub statistic: String,
    /// Seconds.
    pub period_s: u32,
    /// EvaluationPeriods (N).
    pub evaluation_periods: u32,
    /// DatapointsToAlarm (M).
    pub datapoints_to_alarm: u32,
    /// Threshold.
    pub threshold: f64,
    /// `GreaterThanThreshold`, `LessThanThreshold`, …
    pub comparison: String,
    /// `missing`, `notBreaching`, `breaching`, `ignore`.
    pub treat_missing_data: String,
    /// ActionsEnabled.
    pub actions_enabled: bool,
    /// AlarmActions.
    pub alarm_actions: Vec<String>,
    /// `OK`, `ALARM`, `INSUFFICIENT_DATA`.
    pub state: String,
    /// StateReason.
    pub state_reason: String,
    /// StateUpdatedTimestamp.
    pub state_updated_at: CloudTime,
    /// StateTransitionedTimestamp.
    pub state_transitioned_at: CloudTime,
}

/// One entry of an alarm's history.
#[derive(Debug, Clone)]
pub struct AlarmHistoryItem {
    /// AlarmName.
    pub alarm: String,
    /// `StateUpdate`, `Action`, `ConfigurationUpdate`.
    pub item_type: String,
    /// HistorySummary.
    pub summary: String,
    /// HistoryData, JSON.
    pub data: String,
    /// When.
    pub at: CloudTime,
}

/// Route 53: zones, records, health checks and pending changes.
#[derive(Debug, Clone, Default)]
pub struct Route53 {
    /// Hosted zones by id (`Z…`).
    pub zones: BTreeMap<String, HostedZone>,
    /// Health checks by id.
    pub health_checks: BTreeMap<String, HealthCheck>,
    /// Changes by id (`C…`), with the instant they reach the DNS servers.
    pub changes: BTreeMap<String, DnsChange>,
}

/// A hosted zone.
#[derive(Debug, Clone)]
pub struct HostedZone {
    /// `Z…`.
    pub id: String,
    /// With trailing dot, e.g. `example.com.`.
    pub name: String,
    /// Record sets as the API shows them.
    pub records: Vec<RecordSet>,
    /// Record sets as the DNS servers know them; follows `records` within 60 s of a change.
    pub served: Vec<RecordSet>,
    /// Batches of changes that were made.
    pub batches_made: u64,
    /// The last of them that the DNS servers know.
    pub batch_served: u64,
    /// Tags.
    pub tags: Tags,
}

impl HostedZone {
    /// The records after the batch of this number reach the DNS servers, unless those of a later one have: two that are
    /// due together may come in any order.
    pub(in crate::lab) fn serve(&mut self, batch: u64, records: Vec<RecordSet>) {
        if batch > self.batch_served {
            self.batch_served = batch;
            self.served = records;
        }
    }
}

/// A record set.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordSet {
    /// With trailing dot.
    pub name: String,
    /// `A`, `NS`, `SOA`, `CNAME`.
    pub record_type: String,
    /// SetIdentifier.
    pub set_identifier: Option<String>,
    /// Routing.
    pub routing: Routing,
    /// Seconds; none for an alias.
    pub ttl_s: Option<u32>,
    /// Values; empty for an alias.
    pub values: Vec<String>,
    /// Alias to a load balancer's DNS name.
    pub alias: Option<AliasTarget>,
    /// HealthCheckId.
    pub health_check_id: Option<String>,
}

/// An alias target.
#[derive(Debug, Clone, PartialEq)]
pub struct AliasTarget {
    /// DNSName with trailing dot.
    pub dns_name: String,
    /// HostedZoneId of the load balancer.
    pub hosted_zone_id: String,
    /// EvaluateTargetHealth.
    pub evaluate_target_health: bool,
}

/// Routing policy of a record set.
#[derive(Debug, Clone, PartialEq)]
pub enum Routing {
    /// No policy.
    Simple,
    /// `PRIMARY` or `SECONDARY`.
    Failover(String),
    /// By latency: the Region of the record.
    Latency(String),
    /// Weight 0-255.
    Weighted(u32),
    /// Multivalue answer.
    Multivalue,
}

/// A Route 53 health check with its checkers' views.
#[derive(Debug, Clone)]
pub struct HealthCheck {
    /// UUID.
    pub id: String,
    /// `HTTP`.
    pub check_type: String,
    /// Name or address that is checked.
    pub fqdn: String,
    /// Port.
    pub port: u16,
    /// Path.
    pub resource_path: String,
    /// 10 or 30 s.
    pub request_interval_s: u32,
    /// FailureThreshold.
    pub failure_threshold: u32,
    /// Inverted.
    pub inverted: bool,
    /// Disabled: always healthy.
    pub disabled: bool,
    /// One per checker.
    pub checkers: Vec<CheckerView>,
    /// Overall view: more than 18 % of checkers healthy, inversion and `disabled` applied.
    pub healthy: bool,
    /// HealthCheckVersion.
    pub version: u64,
    /// CallerReference.
    pub caller_reference: String,
    /// Tags.
    pub tags: Tags,
}

/// One checker's view.
#[derive(Debug, Clone)]
pub struct CheckerView {
    /// Where it checks from.
    pub region: String,
    /// Its address, as GetHealthCheckStatus shows it.
    pub ip: String,
    /// Healthy in its own view.
    pub healthy: bool,
    /// Consecutive results against its view.
    pub streak: u32,
    /// Last result's sentence.
    pub status: String,
    /// When it last checked.
    pub checked_at: CloudTime,
}

/// A change to a zone on its way to the DNS servers.
#[derive(Debug, Clone)]
pub struct DnsChange {
    /// `C…`.
    pub id: String,
    /// The zone.
    pub zone_id: String,
    /// Submitted at.
    pub submitted_at: CloudTime,
    /// INSYNC from then on.
    pub in_sync_at: CloudTime,
}
