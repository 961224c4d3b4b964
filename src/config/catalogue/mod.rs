//! The fault catalogue: which faults there are, with their parameters, and the form of an entry that describes one. The
//! entries are in `entries`; how a fault is injected stands in `run/chaos`.

mod entries;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::entries::CATALOGUE;
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

/// The operations of EC2 by the names that its API reference gives them, of the service's model of September 2026.
/// `api.errors` is for the namespace `ec2`: AWS FIS knows `kinesis` beside it, and no other (action reference).
pub fn ec2_operations() -> impl Iterator<Item = &'static str> {
    include_str!("ec2_operations.txt").lines()
}

/// How a fault that creates nothing marks what it changes, so that it can be undone without a journal: its name, and the
/// IAM actions that write the mark and take it off. Where AWS FIS injects it, the template tells of it instead.
const MARKS: [(&str, &str, &str); 7] = [
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
    ("rds.stop", "rds:AddTagsToResource", "rds:RemoveTagsFromResource"),
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
            let takes_share = entry.parameters.contains(&entries::SHARE);
            assert_eq!(fault.share().is_some(), takes_share, "{}", entry.name);
            assert_eq!(entry.reversible, !entry.revert.is_empty(), "{}", entry.name);
            let json = serde_json::to_value(&fault).expect("serialises");
            assert_eq!(json["name"], entry.name);
        }
    }

    #[test]
    fn operations_are_names_of_ec2_each_once_and_in_order() {
        let names: Vec<&str> = ec2_operations().collect();
        assert!(names.is_sorted() && names.windows(2).all(|pair| pair[0] != pair[1]));
        let is_name = |name: &&str| {
            name.starts_with(|first: char| first.is_ascii_uppercase())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        assert!(names.iter().all(is_name));
        for known in [
            "DescribeInstances",
            "RunInstances",
            "TerminateInstances",
            "DescribeVpcs",
        ] {
            assert!(names.contains(&known), "{known}");
        }
    }

    #[test]
    fn what_marks_is_reversible_and_in_the_catalogue() {
        for (name, ..) in MARKS {
            assert!(entry(name).is_some_and(|entry| entry.reversible), "{name}");
        }
    }
}
