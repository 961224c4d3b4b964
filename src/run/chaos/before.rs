//! Before-images: what each fault is about to change, as it was, enough to put it back or to say why nothing can.
//! They are data in the journal, not code; undoing is not their work.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::aws::RecordSet;
use crate::plan::{ClaimOn, FisTemplate};

/// What a fault is about to change, as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "fault")]
pub enum Before {
    /// Running instances that will be stopped.
    Ec2Stop {
        /// Group.
        group: String,
        /// Instances.
        instances: Vec<String>,
    },
    /// Instances that will be terminated; nothing brings them back, their group replaces them.
    Ec2Terminate {
        /// Group.
        group: String,
        /// Instances.
        instances: Vec<String>,
    },
    /// Instances that will be rebooted.
    Ec2Reboot {
        /// Group.
        group: String,
        /// Instances.
        instances: Vec<String>,
    },
    /// Spot Instances that will be interrupted; their group replaces them.
    Ec2SpotInterruption {
        /// Group.
        group: String,
        /// Instances.
        instances: Vec<String>,
    },
    /// An IAM role whose calls will fail.
    ApiErrors {
        /// ARN.
        role: String,
    },
    /// Volumes whose I/O will be paused.
    EbsPauseIo(DisksBefore),
    /// Volumes whose I/O will take longer.
    EbsLatency(DisksBefore),
    /// Processes of a group that are not suspended yet, and will be.
    AutoScalingSuspend {
        /// Group.
        group: String,
        /// AWS's names.
        processes: Vec<String>,
    },
    /// A group whose launches will fail in an AZ.
    AutoScalingInsufficientCapacity {
        /// ARN of the group.
        group: String,
        /// AZ.
        az: String,
    },
    /// Instances that will be reported as unhealthy.
    AutoScalingSetUnhealthy {
        /// Group.
        group: String,
        /// Instances.
        instances: Vec<String>,
    },
    /// Targets that will be deregistered.
    ElbDeregister {
        /// Targets.
        targets: Vec<TargetBefore>,
    },
    /// Target groups whose health-check path will be another one.
    ElbBreakHealthCheck {
        /// Target groups.
        groups: Vec<PathBefore>,
    },
    /// Load balancers that will be shifted away from an AZ.
    ElbZonalShift(ShiftBefore),
    /// Subnets of an AZ that will be put under an ACL that denies everything.
    NetworkDenyAz(NetworkBefore),
    /// Subnets that will be put under an ACL that denies everything.
    NetworkDenyRegion(NetworkBefore),
    /// Subnets from which another Region will not be reached.
    NetworkCrossRegion {
        /// Subnets.
        subnets: Vec<String>,
        /// That Region.
        to: String,
    },
    /// A database that will be rebooted; it comes back by itself.
    RdsFailover {
        /// Identifier.
        database: String,
        /// Whether the standby is asked to take over; a single-AZ instance can only restart.
        failover: bool,
        /// AZ of the primary.
        az: String,
        /// AZ of the standby.
        secondary_az: Option<String>,
    },
    /// A database that will be restarted where it is.
    RdsReboot {
        /// Identifier.
        database: String,
    },
    /// A database that is available, and will be stopped.
    RdsStop {
        /// Identifier.
        database: String,
    },
    /// A cluster whose writer will be another one; the old writer comes back as a reader by itself.
    RdsFailoverCluster {
        /// Identifier.
        cluster: String,
        /// The member that writes.
        writer: String,
        /// The reader that takes over; none where Aurora chooses.
        reader: Option<String>,
    },
    /// A global cluster whose primary will be another one, with every write.
    RdsSwitchoverGlobal(GlobalBefore),
    /// A global cluster whose primary will be another one, as it is.
    RdsFailoverGlobal(GlobalBefore),
    /// Health checks that will be turned over.
    Route53InvertHealthCheck {
        /// Health checks.
        checks: Vec<CheckBefore>,
    },
    /// Records whose weight will be zero.
    Route53ZeroWeight {
        /// Zone.
        hosted_zone: String,
        /// The records as they were.
        sets: Vec<RecordSet>,
    },
    /// Something of the above that AWS FIS does.
    Fis(FisBefore),
    /// No fault: what will say by its mark that a run has the Region for itself.
    Claim {
        /// Id of the run.
        run: String,
        /// Which of its claims.
        index: usize,
        /// The machine that runs it.
        host: String,
        /// What bears the mark.
        on: ClaimOn,
    },
}

/// A fault of AWS FIS: the template that will be created, and the world before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FisBefore {
    /// Id of the run, the tag of what it creates.
    pub run: String,
    /// The template.
    pub template: FisTemplate,
    /// What the world was like, as for the API.
    pub world: Box<Before>,
}

/// Volumes whose I/O will be disturbed, and whose they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisksBefore {
    /// Group.
    pub group: String,
    /// Instances of it.
    pub instances: Vec<String>,
    /// Their volumes.
    pub volumes: Vec<String>,
}

/// A target as it was registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetBefore {
    /// ARN of the target group.
    pub target_group: String,
    /// Instance.
    pub id: String,
    /// Port.
    pub port: Option<i32>,
}

/// A target group's health check as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathBefore {
    /// ARN of the target group.
    pub target_group: String,
    /// Path.
    pub path: String,
}

/// Load balancers before a zonal shift: under none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShiftBefore {
    /// ARNs.
    pub load_balancers: Vec<String>,
    /// Id of the AZ.
    pub away_from: String,
    /// What the shift will say of whose it is.
    pub comment: String,
}

/// A global cluster before another Region takes over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GlobalBefore {
    /// Identifier.
    pub global: String,
    /// ARN of the primary.
    pub from: String,
    /// ARN of the cluster that takes over.
    pub to: String,
    /// Its Region.
    pub to_region: String,
}

/// A Route 53 health check as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckBefore {
    /// Id.
    pub id: String,
    /// Inverted.
    pub inverted: bool,
    /// HealthCheckVersion.
    pub version: i64,
}

/// Subnets and their ACLs as they were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkBefore {
    /// Id of the run, the tag of what it creates.
    pub run: String,
    /// Subnets.
    pub subnets: Vec<SubnetBefore>,
}

/// One subnet as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetBefore {
    /// Subnet.
    pub subnet: String,
    /// VPC.
    pub vpc: String,
    /// Association at the time; worthless after the first replacement, kept as evidence.
    pub association: String,
    /// Network ACL to put back.
    pub network_acl: String,
}

impl Before {
    /// What the world was like, whoever injects the fault.
    #[must_use]
    pub fn world(&self) -> &Before {
        match self {
            Before::Fis(before) => &before.world,
            other => other,
        }
    }

    /// Whether an API call can undo it; of AWS FIS at least the template is always to be deleted.
    #[must_use]
    pub fn is_reversible(&self) -> bool {
        match self {
            Before::Ec2Stop { .. }
            | Before::ApiErrors { .. }
            | Before::EbsPauseIo(_)
            | Before::EbsLatency(_)
            | Before::AutoScalingSuspend { .. }
            | Before::AutoScalingInsufficientCapacity { .. }
            | Before::ElbDeregister { .. }
            | Before::ElbBreakHealthCheck { .. }
            | Before::ElbZonalShift(_)
            | Before::NetworkDenyAz(_)
            | Before::NetworkDenyRegion(_)
            | Before::NetworkCrossRegion { .. }
            | Before::RdsStop { .. }
            | Before::Route53InvertHealthCheck { .. }
            | Before::Route53ZeroWeight { .. }
            | Before::Claim { .. }
            | Before::Fis(_) => true,
            Before::Ec2Terminate { .. }
            | Before::Ec2Reboot { .. }
            | Before::Ec2SpotInterruption { .. }
            | Before::AutoScalingSetUnhealthy { .. }
            | Before::RdsFailover { .. }
            | Before::RdsReboot { .. }
            | Before::RdsFailoverCluster { .. }
            | Before::RdsSwitchoverGlobal(_)
            | Before::RdsFailoverGlobal(_) => false,
        }
    }

    /// Whether the instances that it hits never serve again.
    #[must_use]
    pub fn takes_for_good(&self) -> bool {
        matches!(
            self.world(),
            Before::Ec2Terminate { .. } | Before::Ec2SpotInterruption { .. } | Before::AutoScalingSetUnhealthy { .. }
        )
    }

    /// Ids of what it hits.
    #[must_use]
    pub fn resources(&self) -> Vec<String> {
        match self {
            Before::Ec2Stop { instances, .. }
            | Before::Ec2Terminate { instances, .. }
            | Before::Ec2Reboot { instances, .. }
            | Before::Ec2SpotInterruption { instances, .. }
            | Before::AutoScalingSetUnhealthy { instances, .. } => instances.clone(),
            Before::ApiErrors { role } => vec![role.clone()],
            Before::EbsPauseIo(disks) | Before::EbsLatency(disks) => disks.volumes.clone(),
            Before::AutoScalingSuspend { group, .. } | Before::AutoScalingInsufficientCapacity { group, .. } => {
                vec![group.clone()]
            }
            Before::ElbDeregister { targets } => {
                let ids: BTreeSet<String> = targets.iter().map(|target| target.id.clone()).collect();
                ids.into_iter().collect()
            }
            Before::ElbBreakHealthCheck { groups } => groups.iter().map(|one| one.target_group.clone()).collect(),
            Before::ElbZonalShift(before) => before.load_balancers.clone(),
            Before::NetworkDenyAz(before) | Before::NetworkDenyRegion(before) => {
                before.subnets.iter().map(|one| one.subnet.clone()).collect()
            }
            Before::NetworkCrossRegion { subnets, .. } => subnets.clone(),
            Before::RdsFailover { database, .. } | Before::RdsReboot { database } | Before::RdsStop { database } => {
                vec![database.clone()]
            }
            Before::RdsFailoverCluster { cluster, .. } => vec![cluster.clone()],
            Before::RdsSwitchoverGlobal(before) | Before::RdsFailoverGlobal(before) => {
                vec![before.from.clone(), before.to.clone()]
            }
            Before::Fis(before) => before.world.resources(),
            Before::Claim { on, .. } => vec![on.id().to_owned()],
            Before::Route53InvertHealthCheck { checks } => checks.iter().map(|check| check.id.clone()).collect(),
            Before::Route53ZeroWeight { sets, .. } => sets
                .iter()
                .map(|set| set.set_identifier.clone().unwrap_or_default())
                .collect(),
        }
    }
}
