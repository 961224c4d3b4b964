//! The fault catalogue: what each fault does, what it hits, how its effect is seen and undone, and what it does not
//! reproduce. Data only; how a fault is injected stands in `run/chaos`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::seconds;

/// A fault with its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name")]
pub enum Fault {
    /// EC2 StopInstances on a share of a group's instances.
    #[serde(rename = "ec2.stop")]
    Ec2Stop {
        /// Share of the group's in-service instances, 0 to 1, rounded to the nearest and at least one.
        share: f64,
    },
    /// EC2 TerminateInstances on a share of a group's instances.
    #[serde(rename = "ec2.terminate")]
    Ec2Terminate {
        /// As for `ec2.stop`.
        share: f64,
    },
    /// EC2 RebootInstances on a share of a group's instances.
    #[serde(rename = "ec2.reboot")]
    Ec2Reboot {
        /// As for `ec2.stop`.
        share: f64,
    },
    /// A Spot interruption on a share of a group's instances; AWS FIS alone can do this.
    #[serde(rename = "ec2.spot_interruption")]
    Ec2SpotInterruption {
        /// As for `ec2.stop`.
        share: f64,
    },
    /// EC2 answers calls of an IAM role with errors; AWS FIS alone can do this.
    #[serde(rename = "api.errors")]
    ApiErrors {
        /// With which.
        error: ApiError,
        /// Names of EC2's operations.
        operations: Vec<String>,
        /// Share of the calls, 0 to 1.
        calls: f64,
    },
    /// I/O of the volumes of a share of a group's instances is paused; AWS FIS alone can do this.
    #[serde(rename = "ebs.pause_io")]
    EbsPauseIo {
        /// As for `ec2.stop`.
        share: f64,
    },
    /// I/O of the volumes of a share of a group's instances takes longer; AWS FIS alone can do this.
    #[serde(rename = "ebs.latency")]
    EbsLatency {
        /// As for `ec2.stop`.
        share: f64,
        /// By how much each I/O takes longer; real time.
        #[serde(with = "seconds")]
        latency: Duration,
    },
    /// Auto Scaling SuspendProcesses.
    #[serde(rename = "autoscaling.suspend")]
    AutoScalingSuspend {
        /// AWS's names of the processes.
        processes: Vec<String>,
    },
    /// Launches of a group fail in one AZ; AWS FIS alone can do this.
    #[serde(rename = "autoscaling.insufficient_capacity")]
    AutoScalingInsufficientCapacity {
        /// Name of the AZ.
        az: String,
    },
    /// Auto Scaling SetInstanceHealth on a share of a group's instances.
    #[serde(rename = "autoscaling.set_unhealthy")]
    AutoScalingSetUnhealthy {
        /// As for `ec2.stop`.
        share: f64,
    },
    /// Elastic Load Balancing DeregisterTargets on a share of a group's targets.
    #[serde(rename = "elb.deregister")]
    ElbDeregister {
        /// As for `ec2.stop`.
        share: f64,
    },
    /// Elastic Load Balancing ModifyTargetGroup with a path that no target answers.
    #[serde(rename = "elb.break_health_check")]
    ElbBreakHealthCheck,
    /// ARC StartZonalShift of the load balancers of a group, away from one AZ.
    #[serde(rename = "elb.zonal_shift")]
    ElbZonalShift {
        /// Name of the AZ.
        az: String,
    },
    /// A network ACL that denies everything, on the subnets of one AZ.
    #[serde(rename = "network.deny_az")]
    NetworkDenyAz {
        /// Name of the AZ.
        az: String,
    },
    /// A network ACL that denies everything, on every subnet of a Region.
    #[serde(rename = "network.deny_region")]
    NetworkDenyRegion,
    /// What leaves the subnets of a Region for another Region vanishes; AWS FIS alone can do this.
    #[serde(rename = "network.cross_region")]
    NetworkCrossRegion {
        /// The Region that is not reached.
        to: String,
    },
    /// RDS RebootDBInstance with ForceFailover.
    #[serde(rename = "rds.failover")]
    RdsFailover,
    /// RDS RebootDBInstance without it.
    #[serde(rename = "rds.reboot")]
    RdsReboot,
    /// RDS StopDBInstance.
    #[serde(rename = "rds.stop")]
    RdsStop,
    /// RDS FailoverDBCluster.
    #[serde(rename = "rds.failover_cluster")]
    RdsFailoverCluster {
        /// Identifier of the reader that takes over; none where Aurora chooses.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reader: Option<String>,
    },
    /// RDS SwitchoverGlobalCluster.
    #[serde(rename = "rds.switchover_global")]
    RdsSwitchoverGlobal {
        /// The Region that takes over.
        to: String,
    },
    /// RDS FailoverGlobalCluster with AllowDataLoss.
    #[serde(rename = "rds.failover_global")]
    RdsFailoverGlobal {
        /// The Region that takes over.
        to: String,
    },
    /// Route 53 UpdateHealthCheck with `Inverted` turned over.
    #[serde(rename = "route53.invert_health_check")]
    Route53InvertHealthCheck,
    /// Route 53 ChangeResourceRecordSets with the weight of a Region's record at zero.
    #[serde(rename = "route53.zero_weight")]
    Route53ZeroWeight,
}

/// An error that AWS FIS injects into calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApiError {
    /// An internal error of the service.
    Internal,
    /// Too many calls.
    Throttle,
    /// The service is not there.
    Unavailable,
}

impl ApiError {
    /// As it is written.
    pub const WORDS: [(&'static str, ApiError); 3] = [
        ("internal", ApiError::Internal),
        ("throttle", ApiError::Throttle),
        ("unavailable", ApiError::Unavailable),
    ];
}

/// What kind of role a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hits {
    /// An Auto Scaling group.
    Group,
    /// An RDS instance.
    Database,
    /// An Aurora cluster.
    Cluster,
    /// A record of a hosted zone.
    Dns,
    /// An IAM role.
    IamRole,
    /// The subnets of any role's Region.
    Network,
}

impl Hits {
    /// In words, with their article.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Hits::Group => "an Auto Scaling group",
            Hits::Database => "an RDS instance",
            Hits::Cluster => "an Aurora cluster",
            Hits::Dns => "a DNS record",
            Hits::IamRole => "an IAM role",
            Hits::Network => "any role; the subnets of its Region",
        }
    }
}

/// A parameter of a fault, by its key in the experiment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its key.
    pub key: &'static str,
    /// What it says.
    pub says: &'static str,
    /// How it is written.
    pub form: &'static str,
    /// Whether it may be left out.
    pub optional: bool,
}

/// One fault of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What it does, one sentence.
    pub does: &'static str,
    /// What it hits.
    pub hits: Hits,
    /// Parameters.
    pub parameters: &'static [Parameter],
    /// What must hold before it is injected, beside what the guard asks of every fault.
    pub precondition: &'static str,
    /// How its effect is seen.
    pub observed: &'static str,
    /// Whether an API call undoes it.
    pub reversible: bool,
    /// How it is undone; for what cannot be undone, what is checked in its place.
    pub undo: &'static str,
    /// What it does not reproduce of the real thing.
    pub fidelity: &'static str,
    /// What it costs beside what runs anyway, in words; prices differ by Region and time.
    pub cost: &'static str,
    /// What it uses of a quota while it lasts, where that is known.
    pub quota: Option<&'static str>,
    /// IAM actions that inject it.
    pub inject: &'static [&'static str],
    /// IAM actions that undo it.
    pub revert: &'static [&'static str],
    /// IAM actions it looks with, beside those of the observers.
    pub reads: &'static [&'static str],
}

const SHARE: Parameter = Parameter {
    key: "share",
    says: "how many of the group's instances in service, rounded to the nearest and at least one",
    form: "34%",
    optional: false,
};
const PROCESSES: Parameter = Parameter {
    key: "processes",
    says: "which processes, by AWS's names",
    form: "[Launch, Terminate]",
    optional: false,
};
const AZ: Parameter = Parameter {
    key: "az",
    says: "which AZ of the Region",
    form: "us-east-1a",
    optional: false,
};
const TO: Parameter = Parameter {
    key: "to",
    says: "which Region takes over",
    form: "eu-west-1",
    optional: false,
};
const NOT_REACHED: Parameter = Parameter {
    key: "to",
    says: "which other Region is not reached from the subnets",
    form: "eu-west-1",
    optional: false,
};
const DATA_MAY_BE_LOST: Parameter = Parameter {
    key: "data_may_be_lost",
    says: "that acknowledged writes may be lost for ever",
    form: "true",
    optional: false,
};
const READER: Parameter = Parameter {
    key: "reader",
    says: "which reader takes over, where Aurora is not to choose",
    form: "shop-db-2",
    optional: true,
};

const ERROR: Parameter = Parameter {
    key: "error",
    says: "with which error: `internal`, `throttle` or `unavailable`",
    form: "throttle",
    optional: false,
};
const OPERATIONS: Parameter = Parameter {
    key: "operations",
    says: "to which operations of EC2, by AWS's names",
    form: "[DescribeInstances]",
    optional: false,
};
const CALLS: Parameter = Parameter {
    key: "calls",
    says: "how many of the calls, in whole percent",
    form: "100%",
    optional: false,
};
const LATENCY: Parameter = Parameter {
    key: "latency",
    says: "by how much each I/O takes longer",
    form: "500ms",
    optional: false,
};

/// What `latency` may be: the least of volumes that are not io2, and the most (EBS user guide).
pub const LATENCY_RANGE: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);

/// The processes that SuspendProcesses takes, by the API reference of SuspendProcesses.
pub const PROCESS_NAMES: [&str; 9] = [
    "Launch",
    "Terminate",
    "AddToLoadBalancer",
    "AlarmNotification",
    "AZRebalance",
    "HealthCheck",
    "InstanceRefresh",
    "ReplaceUnhealthy",
    "ScheduledActions",
];

/// Every fault, by system.
pub const CATALOGUE: [Entry; 24] = [
    Entry {
        name: "ec2.stop",
        does: "stops instances; their group replaces them, or they are started again",
        hits: Hits::Group,
        parameters: &[SHARE],
        precondition: "enough instances of the group are running and in service",
        observed: "DescribeInstances shows each of them stopping, stopped or already replaced",
        reversible: true,
        undo: "StartInstances for those that are stopped; what the group has terminated meanwhile is left to the group",
        fidelity: "StopInstances shuts the operating system down in order; a failing host hangs or vanishes instead",
        cost: "a replacement from the group for each instance, billed from its start; a stopped instance's disks stay billed",
        quota: None,
        inject: &["ec2:StopInstances"],
        revert: &["ec2:StartInstances"],
        reads: &[],
    },
    Entry {
        name: "ec2.terminate",
        does: "terminates instances; their group replaces them",
        hits: Hits::Group,
        parameters: &[SHARE],
        precondition: "enough instances of the group are running and in service",
        observed: "DescribeInstances shows each of them shutting-down or terminated",
        reversible: false,
        undo: "nothing brings them back; self_heal measures how long the group takes to replace them",
        fidelity: "TerminateInstances resets connections at once; a failing host may hang instead, and hardware rarely \
                   fails in several AZs together",
        cost: "a replacement from the group for each instance, billed from its start",
        quota: None,
        inject: &["ec2:TerminateInstances"],
        revert: &[],
        reads: &[],
    },
    Entry {
        name: "ec2.reboot",
        does: "reboots instances",
        hits: Hits::Group,
        parameters: &[SHARE],
        precondition: "enough instances of the group are running and in service",
        observed: "DescribeInstanceStatus or the load balancer's target health shows each of them not ready",
        reversible: false,
        undo: "they come back by themselves; recovery measures when",
        fidelity: "the operating system restarts in order; a crash would leave its disks and connections as they were",
        cost: "nothing: a reboot begins no new billing period",
        quota: None,
        inject: &["ec2:RebootInstances"],
        revert: &[],
        reads: &[
            "ec2:DescribeInstanceStatus",
            "elasticloadbalancing:DescribeTargetHealth",
        ],
    },
    Entry {
        name: "ec2.spot_interruption",
        does: "interrupts Spot Instances, two minutes after their notice; their group replaces them",
        hits: Hits::Group,
        parameters: &[SHARE],
        precondition: "enough instances of the group are Spot Instances, running and in service",
        observed: "after the two minutes of notice DescribeInstances shows each of them shutting-down or terminated",
        reversible: false,
        undo: "nothing calls a notice back; self_heal measures how long the group takes to replace them, the two minutes \
               included",
        fidelity: "rebalance recommendation and notice come together, as they may in a real interruption; Spot capacity has \
                   not run out, so that the next Spot Instance is launched at once. The lab's application does not \
                   listen to the notice, and its group does not rebalance, so that nothing is drained",
        cost: "a replacement from the group for each instance, billed from its start",
        quota: Some("one of five experiments of AWS FIS at the same time"),
        inject: &["ec2:DescribeInstances", "ec2:SendSpotInstanceInterruptions"],
        revert: &[],
        reads: &[],
    },
    Entry {
        name: "api.errors",
        does: "answers calls that an IAM role makes of EC2's API with errors",
        hits: Hits::IamRole,
        parameters: &[ERROR, OPERATIONS, CALLS],
        precondition: "the role is there, and neither AWS FIS nor this run acts as it",
        observed: "GetExperiment shows the action running; no other call tells, but who acts as the role may",
        reversible: true,
        undo: "StopExperiment, after which calls are answered as before",
        fidelity: "of all services AWS FIS does it for EC2 and Kinesis, and this fault for EC2; other callers are served, \
                   while a control plane that is ill fails everybody",
        cost: "AWS FIS bills each minute of an action",
        quota: Some("one of five experiments of AWS FIS at the same time"),
        inject: &[
            "fis:InjectApiInternalError",
            "fis:InjectApiThrottleError",
            "fis:InjectApiUnavailableError",
        ],
        revert: &["fis:StopExperiment"],
        reads: &["iam:GetRole", "sts:GetCallerIdentity"],
    },
    Entry {
        name: "ebs.pause_io",
        does: "pauses I/O between instances and all their EBS volumes",
        hits: Hits::Group,
        parameters: &[SHARE],
        precondition: "enough instances of the group are running and in service; AWS FIS refuses those that are not built on Nitro",
        observed: "DescribeVolumeStatus shows one of the volumes impaired, which EBS does within two minutes, or \
                   DescribeTargetHealth one of the instances not healthy",
        reversible: true,
        undo: "StopExperiment, after which I/O goes on",
        fidelity: "nothing is lost or torn: what waits is written when I/O goes on. How soon users feel it depends on \
                   what the application keeps in memory; the lab's writes a line of its log for each answer",
        cost: "AWS FIS bills each minute of an action, one for each volume; a replacement from a group whose health \
               checks fail",
        quota: Some("one of five experiments of AWS FIS at the same time, and an action of ten for each volume"),
        inject: &["ec2:DescribeVolumes", "ec2:PauseVolumeIO"],
        revert: &["fis:StopExperiment"],
        reads: &[
            "ec2:DescribeVolumeStatus",
            "ec2:DescribeVolumes",
            "elasticloadbalancing:DescribeTargetHealth",
        ],
    },
    Entry {
        name: "ebs.latency",
        does: "lets each I/O between instances and all their EBS volumes take longer",
        hits: Hits::Group,
        parameters: &[SHARE, LATENCY],
        precondition: "enough instances of the group are running and in service; AWS FIS refuses those that are not built on Nitro",
        observed: "GetExperiment shows every action running; no other call tells, but users may",
        reversible: true,
        undo: "StopExperiment, after which I/O is as fast as before",
        fidelity: "every read and every write takes as much longer, while a volume that is ill is slow now and then. How \
                   much users feel depends on what the application keeps in memory; the lab's writes a line of its log \
                   for each answer and reads nothing",
        cost: "AWS FIS bills each minute of an action, one for each volume",
        quota: Some("one of five experiments of AWS FIS at the same time, and an action of ten for each volume"),
        inject: &["ec2:DescribeVolumes", "ec2:InjectVolumeIOLatency"],
        revert: &["fis:StopExperiment"],
        reads: &["ec2:DescribeVolumes"],
    },
    Entry {
        name: "autoscaling.suspend",
        does: "suspends processes of the group, so that it does not launch, replace or scale",
        hits: Hits::Group,
        parameters: &[PROCESSES],
        precondition: "not all of them are suspended already",
        observed: "DescribeAutoScalingGroups shows them suspended",
        reversible: true,
        undo: "ResumeProcesses for those that were not suspended before",
        fidelity: "nothing fails by itself: what it breaks shows only under load or together with another fault",
        cost: "nothing by itself; a group that may not scale in keeps what it has",
        quota: None,
        inject: &["autoscaling:SuspendProcesses"],
        revert: &["autoscaling:ResumeProcesses"],
        reads: &[],
    },
    Entry {
        name: "autoscaling.insufficient_capacity",
        does: "lets the group's launches in one AZ fail for want of capacity",
        hits: Hits::Group,
        parameters: &[AZ],
        precondition: "the group has a launch template, and another AZ stays",
        observed: "GetExperiment shows the action running; a launch in the AZ shows as a failed scaling activity",
        reversible: true,
        undo: "StopExperiment, after which launches succeed again",
        fidelity: "nothing fails until the group wants to launch, and what runs in the AZ goes on; a real shortage may \
                   hit other instance types and other callers too",
        inject: &["ec2:InjectApiError"],
        revert: &["fis:StopExperiment"],
        reads: &[],
        cost: "AWS FIS bills each minute of an action",
        quota: Some("one of five experiments of AWS FIS at the same time"),
    },
    Entry {
        name: "autoscaling.set_unhealthy",
        does: "reports instances as unhealthy to their group, which replaces them",
        hits: Hits::Group,
        parameters: &[SHARE],
        precondition: "enough instances of the group are running and in service",
        observed: "DescribeAutoScalingGroups shows each of them unhealthy, leaving or gone",
        reversible: false,
        undo: "the group acts within seconds; self_heal measures how long it takes to replace them",
        fidelity: "the instances go on serving until the group takes them out, which an ill one might not",
        cost: "a replacement from the group for each instance, billed from its start",
        quota: None,
        inject: &["autoscaling:SetInstanceHealth"],
        revert: &[],
        reads: &[],
    },
    Entry {
        name: "elb.deregister",
        does: "takes targets out of the group's target groups",
        hits: Hits::Group,
        parameters: &[SHARE],
        precondition: "enough targets are healthy, and one stays",
        observed: "DescribeTargetHealth shows each of them draining or not registered",
        reversible: true,
        undo: "RegisterTargets for those whose instance still runs and that are not registered",
        fidelity: "requests in flight end in order during the deregistration delay; a target that dies cuts them",
        cost: "nothing by itself; the others may make the group scale out",
        quota: None,
        inject: &["elasticloadbalancing:DeregisterTargets"],
        revert: &["elasticloadbalancing:RegisterTargets"],
        reads: &[
            "elasticloadbalancing:DescribeTargetHealth",
            "elasticloadbalancing:DescribeTags",
        ],
    },
    Entry {
        name: "elb.break_health_check",
        does: "gives the group's target groups a health-check path that no target answers with success",
        hits: Hits::Group,
        parameters: &[],
        precondition: "a target is healthy, and the health check is by HTTP",
        observed: "DescribeTargetGroups shows the path, and DescribeTargetHealth a target that fails it",
        reversible: true,
        undo: "ModifyTargetGroup with the path as it was, unless somebody has changed it meanwhile",
        fidelity: "targets stay sound, and a load balancer whose targets all fail sends to all of them (fail open); a \
                   group with health checks of type ELB replaces them nonetheless",
        cost: "nothing by itself; a group with health checks of type ELB replaces every instance",
        quota: None,
        inject: &["elasticloadbalancing:ModifyTargetGroup"],
        revert: &["elasticloadbalancing:ModifyTargetGroup"],
        reads: &[
            "elasticloadbalancing:DescribeTargetGroups",
            "elasticloadbalancing:DescribeTargetHealth",
            "elasticloadbalancing:DescribeTags",
        ],
    },
    Entry {
        name: "elb.zonal_shift",
        does: "shifts the group's load balancers away from one AZ, as for an AZ that is ill",
        hits: Hits::Group,
        parameters: &[AZ],
        precondition: "another AZ stays, and no load balancer is under a zonal shift; on AWS it must be enabled on each",
        observed: "ListZonalShifts shows each of them active",
        reversible: true,
        undo: "CancelZonalShift; a shift expires by itself within three minutes and is renewed each minute meanwhile",
        fidelity: "the AZ is sound: its instances go on, and who has a connection to its node keeps it; what is tried is \
                   whether the other AZs bear the load",
        inject: &["arc-zonal-shift:StartZonalShift", "arc-zonal-shift:UpdateZonalShift"],
        revert: &["arc-zonal-shift:CancelZonalShift"],
        reads: &["arc-zonal-shift:ListZonalShifts", "elasticloadbalancing:DescribeTags"],
        cost: "nothing",
        quota: Some("one zonal shift of each load balancer at the same time"),
    },
    Entry {
        name: "network.deny_az",
        does: "puts the subnets of one AZ under a network ACL that denies everything",
        hits: Hits::Network,
        parameters: &[AZ],
        precondition: "another AZ of the Region stays",
        observed: "DescribeNetworkAcls shows every subnet of the AZ under the new ACL",
        reversible: true,
        undo: "ReplaceNetworkAclAssociation back, then DeleteNetworkAcl, unless somebody has moved a subnet meanwhile",
        fidelity: "packets to and from the subnets vanish as in the loss of an AZ, but its instances, disks and control \
                   plane stay, and traffic within a subnet goes on",
        cost: "nothing by itself; groups may launch in the other AZs, and data between AZs is billed",
        quota: Some("one of the 200 network ACLs that a VPC may have by default"),
        inject: &[
            "ec2:CreateNetworkAcl",
            "ec2:CreateTags",
            "ec2:ReplaceNetworkAclAssociation",
        ],
        revert: &["ec2:ReplaceNetworkAclAssociation", "ec2:DeleteNetworkAcl"],
        reads: &[],
    },
    Entry {
        name: "network.deny_region",
        does: "puts every subnet of the Region under a network ACL that denies everything",
        hits: Hits::Network,
        parameters: &[],
        precondition: "another Region of the target stays",
        observed: "DescribeNetworkAcls shows every subnet under the new ACL",
        reversible: true,
        undo: "ReplaceNetworkAclAssociation back, then DeleteNetworkAcl, unless somebody has moved a subnet meanwhile",
        fidelity: "packets to and from the subnets vanish as in a Region outage, but the AWS control plane of the Region \
                   keeps answering, and traffic that never crosses a subnet's border goes on",
        cost: "nothing by itself; the other Region may scale out",
        quota: Some("one of the 200 network ACLs that a VPC may have by default"),
        inject: &[
            "ec2:CreateNetworkAcl",
            "ec2:CreateTags",
            "ec2:ReplaceNetworkAclAssociation",
        ],
        revert: &["ec2:ReplaceNetworkAclAssociation", "ec2:DeleteNetworkAcl"],
        reads: &[],
    },
    Entry {
        name: "network.cross_region",
        does: "lets everything vanish that leaves the subnets of a Region for another Region",
        hits: Hits::Network,
        parameters: &[NOT_REACHED],
        precondition: "another Region of the target stays, and this run is in none of the subnets",
        observed: "GetExperiment shows every action running; no other call that a run makes tells, but who serves users \
                   from these subnets may",
        reversible: true,
        undo: "StopExperiment, after which each subnet is put back under its route table",
        fidelity: "route tables block what the subnets send to the Region's public addresses and over VPC peering, while \
                   what arrives from there may pass; what goes by a transit gateway has an action of its own, and what \
                   AWS's services do between Regions goes on: Aurora and S3 replicate as before",
        cost: "AWS FIS bills each minute of an action",
        quota: Some(
            "one of five experiments of AWS FIS at the same time; a route table of the VPC must take 250 routes (350 \
             where us-east-1 is not reached) beside its own",
        ),
        inject: &[
            "ec2:CreateManagedPrefixList",
            "ec2:CreateNetworkInterface",
            "ec2:CreateRoute",
            "ec2:CreateRouteTable",
            "ec2:CreateTags",
            "ec2:ModifyManagedPrefixList",
            "ec2:ModifyVpcEndpoint",
            "ec2:ReplaceRouteTableAssociation",
        ],
        revert: &["fis:StopExperiment"],
        reads: &[],
    },
    Entry {
        name: "rds.failover",
        does: "fails the primary of a Multi-AZ instance over to its standby; a single-AZ instance only restarts",
        hits: Hits::Database,
        parameters: &[],
        precondition: "the instance is available, and a Multi-AZ one has its standby",
        observed: "an RDS event tells of the failover, or DescribeDBInstances shows the AZs swapped",
        reversible: false,
        undo: "it comes back by itself; recovery and redundancy measure when",
        fidelity: "a forced failover skips the detection (15-30 s) that a crash of the primary needs first; storage and \
                   network stay sound",
        cost: "nothing by itself",
        quota: None,
        inject: &["rds:RebootDBInstance"],
        revert: &[],
        reads: &[],
    },
    Entry {
        name: "rds.reboot",
        does: "restarts the database engine where it is",
        hits: Hits::Database,
        parameters: &[],
        precondition: "the instance is available",
        observed: "an RDS event tells of the restart, or DescribeDBInstances shows it rebooting",
        reversible: false,
        undo: "it comes back by itself; recovery measures when",
        fidelity: "the engine shuts down in order; a crash needs recovery of its log first",
        cost: "nothing by itself",
        quota: None,
        inject: &["rds:RebootDBInstance"],
        revert: &[],
        reads: &[],
    },
    Entry {
        name: "rds.stop",
        does: "stops the instance, standby and all",
        hits: Hits::Database,
        parameters: &[],
        precondition: "the instance is available",
        observed: "DescribeDBInstances shows it stopping or stopped",
        reversible: true,
        undo: "StartDBInstance once it is stopped, and the wait until it is available (minutes)",
        fidelity: "the engine shuts down in order, and AWS starts the instance by itself after seven days",
        cost: "instance hours pause; storage, backups and the standby's storage stay billed",
        quota: None,
        inject: &["rds:StopDBInstance"],
        revert: &["rds:StartDBInstance"],
        reads: &[],
    },
    Entry {
        name: "rds.failover_cluster",
        does: "lets a reader of an Aurora cluster take over from its writer",
        hits: Hits::Cluster,
        parameters: &[READER],
        precondition: "the cluster and all its members are available, and one of them is a reader, the named one if named",
        observed: "an RDS event tells of the failover, or DescribeDBClusters shows another writer",
        reversible: false,
        undo: "the old writer comes back as a reader by itself; recovery and redundancy measure when",
        fidelity: "a forced failover skips the detection that a crash of the writer needs first; the storage stays sound, \
                   and who is connected to a reader may not feel it",
        cost: "nothing by itself",
        quota: None,
        inject: &["rds:FailoverDBCluster"],
        revert: &[],
        reads: &["rds:DescribeDBClusters"],
    },
    Entry {
        name: "rds.switchover_global",
        does: "lets another Region's cluster take over from the primary of an Aurora global cluster, with every write",
        hits: Hits::Cluster,
        parameters: &[TO],
        precondition: "the Region is the primary, and all clusters of the global one are available and replicate",
        observed: "DescribeGlobalClusters shows it switching over, or another writer",
        reversible: false,
        undo: "SwitchoverGlobalCluster back is a fault of its own, with an outage of its own; recovery measures this one",
        fidelity: "both Regions are sound and no write is lost; in a disaster the primary is gone, and with it what had \
                   not been replicated",
        cost: "nothing by itself; writes from the old Region cross to the new one, and data between Regions is billed",
        quota: None,
        inject: &["rds:SwitchoverGlobalCluster"],
        revert: &[],
        reads: &["rds:DescribeDBClusters", "rds:DescribeGlobalClusters"],
    },
    Entry {
        name: "rds.failover_global",
        does: "lets another Region's cluster take over as it is: acknowledged writes that had not reached it are lost",
        hits: Hits::Cluster,
        parameters: &[TO, DATA_MAY_BE_LOST],
        precondition: "the Region is the primary, and all clusters of the global one are available and replicate",
        observed: "DescribeGlobalClusters shows it failing over, or another writer",
        reversible: false,
        undo: "nothing brings lost writes back; lost_writes counts them, and the old primary is put together anew by itself",
        fidelity: "the old primary is sound and replicates to the last, so that less is lost than in a disaster",
        cost: "storage for the old primary's volume, which is kept in a snapshot; data between Regions is billed",
        quota: None,
        inject: &["rds:FailoverGlobalCluster"],
        revert: &[],
        reads: &["rds:DescribeDBClusters", "rds:DescribeGlobalClusters"],
    },
    Entry {
        name: "route53.invert_health_check",
        does: "turns the health checks of the Region's record over, so that a healthy Region counts as unhealthy",
        hits: Hits::Dns,
        parameters: &[],
        precondition: "the Region's record has a health check",
        observed: "GetHealthCheck shows it inverted",
        reversible: true,
        undo: "UpdateHealthCheck back, with the version that the inversion left, unless somebody has changed it meanwhile",
        fidelity: "DNS moves users away although the Region is sound, so those who stay are served; the health check's \
                   own detection time is left out",
        cost: "nothing by itself; the other Region may scale out",
        quota: None,
        inject: &["route53:UpdateHealthCheck"],
        revert: &["route53:UpdateHealthCheck"],
        reads: &[
            "route53:GetHealthCheck",
            "route53:ListResourceRecordSets",
            "route53:ListTagsForResource",
        ],
    },
    Entry {
        name: "route53.zero_weight",
        does: "sets the weight of the Region's record to zero",
        hits: Hits::Dns,
        parameters: &[],
        precondition: "the record is weighted, and another one of its name has a weight above zero",
        observed: "ListResourceRecordSets shows the weight of zero",
        reversible: true,
        undo: "ChangeResourceRecordSets with the record as it was, unless somebody has changed it meanwhile",
        fidelity: "DNS moves users away although the Region is sound, so those who stay are served",
        cost: "nothing by itself; the other Region may scale out",
        quota: None,
        inject: &["route53:ChangeResourceRecordSets"],
        revert: &["route53:ChangeResourceRecordSets"],
        reads: &["route53:ListResourceRecordSets", "route53:ListTagsForResource"],
    },
];

/// How a fault that creates nothing marks what it changes, so that it can be undone without a journal: its name, and the
/// IAM actions that write the mark and take it off. Where AWS FIS injects it, the template tells of it instead.
const MARKS: [(&str, &str, &str); 6] = [
    ("ec2.stop", "ec2:CreateTags", "ec2:DeleteTags"),
    (
        "autoscaling.suspend",
        "autoscaling:CreateOrUpdateTags",
        "autoscaling:DeleteTags",
    ),
    (
        "elb.deregister",
        "elasticloadbalancing:AddTags",
        "elasticloadbalancing:RemoveTags",
    ),
    (
        "elb.break_health_check",
        "elasticloadbalancing:AddTags",
        "elasticloadbalancing:RemoveTags",
    ),
    (
        "route53.invert_health_check",
        "route53:ChangeTagsForResource",
        "route53:ChangeTagsForResource",
    ),
    (
        "route53.zero_weight",
        "route53:ChangeTagsForResource",
        "route53:ChangeTagsForResource",
    ),
];

impl Entry {
    /// IAM actions that mark what it changes, and that take the mark off; none where it writes none.
    #[must_use]
    pub fn marks(&self) -> Option<(&'static str, &'static str)> {
        let of_it = MARKS.iter().find(|(name, ..)| *name == self.name);
        of_it.map(|(_, write, erase)| (*write, *erase))
    }
}

/// The entry of this name.
#[must_use]
pub fn entry(name: &str) -> Option<&'static Entry> {
    CATALOGUE.iter().find(|entry| entry.name == name)
}

impl Fault {
    /// Its name in the catalogue.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Fault::Ec2Stop { .. } => "ec2.stop",
            Fault::Ec2Terminate { .. } => "ec2.terminate",
            Fault::Ec2Reboot { .. } => "ec2.reboot",
            Fault::Ec2SpotInterruption { .. } => "ec2.spot_interruption",
            Fault::ApiErrors { .. } => "api.errors",
            Fault::EbsPauseIo { .. } => "ebs.pause_io",
            Fault::EbsLatency { .. } => "ebs.latency",
            Fault::AutoScalingSuspend { .. } => "autoscaling.suspend",
            Fault::AutoScalingInsufficientCapacity { .. } => "autoscaling.insufficient_capacity",
            Fault::AutoScalingSetUnhealthy { .. } => "autoscaling.set_unhealthy",
            Fault::ElbDeregister { .. } => "elb.deregister",
            Fault::ElbBreakHealthCheck => "elb.break_health_check",
            Fault::ElbZonalShift { .. } => "elb.zonal_shift",
            Fault::NetworkDenyAz { .. } => "network.deny_az",
            Fault::NetworkDenyRegion => "network.deny_region",
            Fault::NetworkCrossRegion { .. } => "network.cross_region",
            Fault::RdsFailover => "rds.failover",
            Fault::RdsReboot => "rds.reboot",
            Fault::RdsStop => "rds.stop",
            Fault::RdsFailoverCluster { .. } => "rds.failover_cluster",
            Fault::RdsSwitchoverGlobal { .. } => "rds.switchover_global",
            Fault::RdsFailoverGlobal { .. } => "rds.failover_global",
            Fault::Route53InvertHealthCheck => "route53.invert_health_check",
            Fault::Route53ZeroWeight => "route53.zero_weight",
        }
    }

    /// What the catalogue says of it.
    #[must_use]
    pub fn entry(&self) -> &'static Entry {
        entry(self.name()).expect("every fault has its entry: a test compares them")
    }

    /// The share of a group's instances it takes, 0 to 1; none where it takes none.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        match self {
            Fault::Ec2Stop { share }
            | Fault::Ec2Terminate { share }
            | Fault::Ec2Reboot { share }
            | Fault::Ec2SpotInterruption { share }
            | Fault::EbsPauseIo { share }
            | Fault::EbsLatency { share, .. }
            | Fault::AutoScalingSetUnhealthy { share }
            | Fault::ElbDeregister { share } => Some(*share),
            _ => None,
        }
    }

    /// The Region that takes over a global cluster; none of any other fault.
    #[must_use]
    pub fn hands_over_to(&self) -> Option<&str> {
        match self {
            Fault::RdsSwitchoverGlobal { to } | Fault::RdsFailoverGlobal { to } => Some(to),
            _ => None,
        }
    }

    /// Whether a database loses its primary to a standby.
    #[must_use]
    pub fn fails_over(&self) -> bool {
        matches!(self, Fault::RdsFailover | Fault::RdsFailoverCluster { .. })
    }

    /// Whether it makes a Region's users leave for another one.
    #[must_use]
    pub fn moves_users(&self) -> bool {
        matches!(
            self,
            Fault::NetworkDenyRegion | Fault::Route53InvertHealthCheck | Fault::Route53ZeroWeight
        )
    }

    /// Whether its group has to replace the instances it hits.
    #[must_use]
    pub fn costs_instances(&self) -> bool {
        matches!(
            self,
            Fault::Ec2Stop { .. }
                | Fault::Ec2Terminate { .. }
                | Fault::Ec2SpotInterruption { .. }
                | Fault::AutoScalingSetUnhealthy { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each() -> Vec<Fault> {
        let az = "us-east-1a".to_owned();
        vec![
            Fault::Ec2Stop { share: 0.5 },
            Fault::Ec2Terminate { share: 0.5 },
            Fault::Ec2Reboot { share: 0.5 },
            Fault::Ec2SpotInterruption { share: 0.5 },
            Fault::ApiErrors {
                error: ApiError::Throttle,
                operations: vec!["DescribeInstances".to_owned()],
                calls: 1.0,
            },
            Fault::EbsPauseIo { share: 0.5 },
            Fault::EbsLatency {
                share: 0.5,
                latency: Duration::from_millis(500),
            },
            Fault::AutoScalingSuspend {
                processes: vec!["Launch".to_owned()],
            },
            Fault::AutoScalingInsufficientCapacity { az: az.clone() },
            Fault::AutoScalingSetUnhealthy { share: 0.5 },
            Fault::ElbDeregister { share: 0.5 },
            Fault::ElbBreakHealthCheck,
            Fault::ElbZonalShift { az: az.clone() },
            Fault::NetworkDenyAz { az },
            Fault::NetworkDenyRegion,
            Fault::NetworkCrossRegion {
                to: "eu-west-1".to_owned(),
            },
            Fault::RdsFailover,
            Fault::RdsReboot,
            Fault::RdsStop,
            Fault::RdsFailoverCluster { reader: None },
            Fault::RdsSwitchoverGlobal {
                to: "eu-west-1".to_owned(),
            },
            Fault::RdsFailoverGlobal {
                to: "eu-west-1".to_owned(),
            },
            Fault::Route53InvertHealthCheck,
            Fault::Route53ZeroWeight,
        ]
    }

    #[test]
    fn every_fault_has_an_entry_that_agrees_with_it() {
        let names: Vec<&str> = each().iter().map(Fault::name).collect();
        let entries: Vec<&str> = CATALOGUE.iter().map(|entry| entry.name).collect();
        assert_eq!(names, entries);
        for fault in each() {
            let entry = fault.entry();
            let takes_share = entry.parameters.contains(&SHARE);
            assert_eq!(fault.share().is_some(), takes_share, "{}", entry.name);
            assert_eq!(entry.reversible, !entry.revert.is_empty(), "{}", entry.name);
            let json = serde_json::to_value(&fault).expect("serialises");
            assert_eq!(json["name"], entry.name);
        }
    }

    #[test]
    fn what_marks_is_reversible_and_in_the_catalogue() {
        for (name, ..) in MARKS {
            assert!(entry(name).is_some_and(|entry| entry.reversible), "{name}");
        }
    }
}
