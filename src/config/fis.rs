//! What of the fault catalogue AWS FIS can inject: action id, resource type and parameters, by fault. Data only.
//! Ids, target keys and parameters are those of the FIS user guide's action reference; whether the account has them is
//! asked (`ListActions`) before anything is created.

use serde::{Deserialize, Serialize};

use super::catalogue::{ApiError, Entry, Fault};

/// Who injects a fault, as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// The service's own API.
    #[default]
    Api,
    /// AWS FIS.
    Fis,
    /// AWS FIS where the account has it with this action, and the API elsewhere.
    Auto,
}

impl Via {
    /// As it is written.
    pub const WORDS: [(&'static str, Via); 3] = [("api", Via::Api), ("fis", Via::Fis), ("auto", Via::Auto)];
}

/// How long an action lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasts {
    /// The call is all there is.
    AtOnce,
    /// As long as the parameter of this name says; then FIS undoes it.
    Parameter(&'static str),
}

/// An action of FIS that does what a fault does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FisAction {
    /// Its id.
    pub id: &'static str,
    /// Type of the resources that it takes.
    pub resource_type: &'static str,
    /// The key by which it takes them.
    pub target: &'static str,
    /// How long it lasts.
    pub lasts: Lasts,
    /// Parameters that are the same whatever it hits.
    pub parameters: &'static [(&'static str, &'static str)],
    /// Each resource needs an action of its own: of several an action asks what is not known here, that all are in one
    /// AZ.
    pub apart: bool,
    /// No API does the same.
    pub only: bool,
    /// What FIS undoes by itself, when the time is over or the experiment is stopped.
    pub undone: &'static str,
}

/// Resources that one target of a template names, and that one action takes unless the quota was raised.
pub const TARGETS_MAX: usize = 5;
/// Actions that run at the same time (quota; not adjustable in every Region).
pub const PARALLEL_MAX: usize = 10;
/// Stop conditions of one template (quota).
pub const ALARMS_MAX: usize = 5;
/// Longest action and experiment.
pub const LONGEST: std::time::Duration = std::time::Duration::from_secs(12 * 3600);

const INSTANCES: FisAction = FisAction {
    id: "",
    resource_type: "aws:ec2:instance",
    target: "Instances",
    lasts: Lasts::AtOnce,
    parameters: &[],
    apart: false,
    only: false,
    undone: "nothing",
};
const INTERNAL_ERROR: FisAction = FisAction {
    id: "aws:fis:inject-api-internal-error",
    resource_type: "aws:iam:role",
    target: "Roles",
    lasts: Lasts::Parameter("duration"),
    parameters: &[("service", "ec2")],
    apart: false,
    only: true,
    undone: "calls are answered as before",
};
const THROTTLE_ERROR: FisAction = FisAction {
    id: "aws:fis:inject-api-throttle-error",
    ..INTERNAL_ERROR
};
const UNAVAILABLE_ERROR: FisAction = FisAction {
    id: "aws:fis:inject-api-unavailable-error",
    ..INTERNAL_ERROR
};
const VOLUMES: FisAction = FisAction {
    id: "",
    resource_type: "aws:ec2:ebs-volume",
    target: "Volumes",
    lasts: Lasts::Parameter("duration"),
    parameters: &[],
    apart: true,
    only: true,
    undone: "I/O goes on as before",
};
const CONNECTIVITY: FisAction = FisAction {
    id: "aws:network:disrupt-connectivity",
    resource_type: "aws:ec2:subnet",
    target: "Subnets",
    lasts: Lasts::Parameter("duration"),
    parameters: &[("scope", "all")],
    apart: false,
    only: false,
    undone: "each subnet is put back under its network ACL, and the copy deleted",
};
const REBOOT_DB: FisAction = FisAction {
    id: "aws:rds:reboot-db-instances",
    resource_type: "aws:rds:db",
    target: "DBInstances",
    lasts: Lasts::AtOnce,
    parameters: &[],
    apart: false,
    only: false,
    undone: "nothing",
};

/// By the fault's name.
const ACTIONS: [(&str, FisAction); 14] = [
    ("api.errors", INTERNAL_ERROR),
    (
        "autoscaling.insufficient_capacity",
        FisAction {
            id: "aws:ec2:asg-insufficient-instance-capacity-error",
            resource_type: "aws:ec2:autoscaling-group",
            target: "AutoScalingGroups",
            lasts: Lasts::Parameter("duration"),
            parameters: &[],
            apart: false,
            only: true,
            undone: "launches succeed again",
        },
    ),
    (
        "ebs.latency",
        FisAction {
            id: "aws:ebs:volume-io-latency",
            parameters: &[("readIOPercentage", "100"), ("writeIOPercentage", "100")],
            ..VOLUMES
        },
    ),
    (
        "ebs.pause_io",
        FisAction {
            id: "aws:ebs:pause-volume-io",
            ..VOLUMES
        },
    ),
    (
        "ec2.spot_interruption",
        FisAction {
            id: "aws:ec2:send-spot-instance-interruptions",
            resource_type: "aws:ec2:spot-instance",
            target: "SpotInstances",
            parameters: &[("durationBeforeInterruption", "PT2M")],
            only: true,
            ..INSTANCES
        },
    ),
    (
        "ec2.stop",
        FisAction {
            id: "aws:ec2:stop-instances",
            lasts: Lasts::Parameter("startInstancesAfterDuration"),
            // A group replaces what is stopped; without this the action would fail then.
            parameters: &[("completeIfInstancesTerminated", "true")],
            undone: "the instances are started again",
            ..INSTANCES
        },
    ),
    (
        "ec2.terminate",
        FisAction {
            id: "aws:ec2:terminate-instances",
            ..INSTANCES
        },
    ),
    (
        "ec2.reboot",
        FisAction {
            id: "aws:ec2:reboot-instances",
            ..INSTANCES
        },
    ),
    (
        "network.cross_region",
        FisAction {
            id: "aws:network:route-table-disrupt-cross-region-connectivity",
            parameters: &[],
            only: true,
            undone: "each subnet is put back under its route table, and the copy deleted",
            ..CONNECTIVITY
        },
    ),
    ("network.deny_az", CONNECTIVITY),
    ("network.deny_region", CONNECTIVITY),
    (
        "rds.failover",
        FisAction {
            parameters: &[("forceFailover", "true")],
            ..REBOOT_DB
        },
    ),
    (
        "rds.reboot",
        FisAction {
            parameters: &[("forceFailover", "false")],
            ..REBOOT_DB
        },
    ),
    (
        "rds.failover_cluster",
        FisAction {
            id: "aws:rds:failover-db-cluster",
            resource_type: "aws:rds:cluster",
            target: "Clusters",
            ..REBOOT_DB
        },
    ),
];

impl FisAction {
    /// How many resources one action takes.
    #[must_use]
    pub fn targets_max(&self) -> usize {
        if self.apart { 1 } else { TARGETS_MAX }
    }
}

impl Entry {
    /// The action of FIS that does the same, where there is one.
    #[must_use]
    pub fn fis(&self) -> Option<&'static FisAction> {
        let found = ACTIONS.iter().find(|(name, _)| *name == self.name);
        found.map(|(_, action)| action)
    }
}

impl Fault {
    /// The action of FIS that does the same with these parameters, where there is one.
    #[must_use]
    pub fn fis(&self) -> Option<&'static FisAction> {
        match self {
            Fault::ApiErrors { error, .. } => Some(match error {
                ApiError::Internal => &INTERNAL_ERROR,
                ApiError::Throttle => &THROTTLE_ERROR,
                ApiError::Unavailable => &UNAVAILABLE_ERROR,
            }),
            // The action takes no parameters.
            Fault::RdsFailoverCluster { reader: Some(_) } => None,
            other => other.entry().fis(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::catalogue;

    #[test]
    fn every_action_belongs_to_a_fault_and_ends_as_the_fault_does() {
        for (name, action) in ACTIONS {
            let entry = catalogue::entry(name).unwrap_or_else(|| panic!("{name} is no fault"));
            assert_eq!(entry.fis(), Some(&action));
            assert_eq!(entry.reversible, action.lasts != Lasts::AtOnce, "{name}");
            assert_eq!(action.id.split(':').count(), 3, "{name}: {}", action.id);
        }
        assert!(catalogue::entry("route53.zero_weight").is_some_and(|entry| entry.fis().is_none()));
    }
}
