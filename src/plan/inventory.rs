//! What was found in the account before the run, as plain data. How it was found is not known here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Role;

/// Everything found, by Region.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Inventory {
    /// Account id the credentials belong to.
    pub account: Option<String>,
    /// Regions by name.
    pub regions: BTreeMap<String, InventoryRegion>,
    /// ARNs of IAM roles by name.
    #[serde(default)]
    pub iam_roles: BTreeMap<String, String>,
}

impl Inventory {
    /// Whether what a role names was found, in whichever Region; none of a record, which is looked for by what it leads to.
    #[must_use]
    pub fn has(&self, role: &Role) -> Option<bool> {
        let mut regions = self.regions.values();
        match role {
            Role::AutoScalingGroup(name) => Some(regions.any(|region| region.groups.contains_key(name))),
            Role::DbInstance(id) => Some(regions.any(|region| region.databases.contains_key(id))),
            Role::DbCluster(id) => Some(regions.any(|region| region.clusters.contains_key(id))),
            Role::IamRole(name) => Some(self.iam_roles.contains_key(name)),
            Role::Dns { .. } => None,
        }
    }
}

/// One Region.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct InventoryRegion {
    /// Auto Scaling groups by name.
    pub groups: BTreeMap<String, InventoryGroup>,
    /// RDS instances by identifier.
    pub databases: BTreeMap<String, InventoryDatabase>,
    /// Aurora clusters by identifier.
    #[serde(default)]
    pub clusters: BTreeMap<String, InventoryCluster>,
    /// Subnets of the groups' VPC.
    pub subnets: Vec<InventorySubnet>,
    /// Addresses of the Region's load balancers.
    pub edge: Vec<IpAddr>,
    /// DNS names of the Region's load balancers.
    pub load_balancers: Vec<String>,
    /// Records of the target's names that lead to the Region's load balancers.
    #[serde(default)]
    pub records: Vec<InventoryRecord>,
    /// Ids of the actions that AWS FIS has there; none where it did not answer or was not asked.
    #[serde(default)]
    pub fis_actions: Option<BTreeSet<String>>,
    /// Alarms that stop conditions name, by name.
    #[serde(default)]
    pub alarms: BTreeMap<String, InventoryAlarm>,
}

/// A CloudWatch alarm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryAlarm {
    /// ARN.
    pub arn: String,
    /// `OK`, `ALARM`, `INSUFFICIENT_DATA`.
    pub state: String,
    /// The metrics it looks at; none of one that is made of other alarms.
    pub metrics: Vec<InventoryMetric>,
}

/// A metric of CloudWatch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryMetric {
    /// `AWS/ApplicationELB`.
    pub namespace: String,
    /// `UnHealthyHostCount`.
    pub name: String,
    /// Dimensions by name.
    pub dimensions: BTreeMap<String, String>,
}

/// An Auto Scaling group.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct InventoryGroup {
    /// AutoScalingGroupARN.
    #[serde(default)]
    pub arn: String,
    /// MinSize.
    pub min: u32,
    /// MaxSize.
    pub max: u32,
    /// DesiredCapacity.
    pub desired: u32,
    /// Members.
    pub instances: Vec<InventoryInstance>,
    /// Target group ARNs.
    pub target_groups: Vec<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// CPU target of its target-tracking policy, percent.
    pub cpu_target: Option<f64>,
}

/// An instance of a group.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct InventoryInstance {
    /// Instance id.
    pub id: String,
    /// AZ.
    pub az: String,
    /// In service.
    pub in_service: bool,
    /// Whether it is a Spot Instance.
    #[serde(default)]
    pub spot: bool,
    /// Ids of its EBS volumes.
    #[serde(default)]
    pub volumes: Vec<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// An RDS instance.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct InventoryDatabase {
    /// Multi-AZ.
    pub multi_az: bool,
    /// Status.
    pub status: String,
    /// Primary AZ.
    pub az: String,
    /// Standby AZ.
    pub secondary_az: Option<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// An Aurora cluster.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct InventoryCluster {
    /// Status.
    pub status: String,
    /// The member that writes, and its AZ.
    pub writer: Option<(String, String)>,
    /// The other members, and the AZ of each.
    pub readers: BTreeMap<String, String>,
    /// The global cluster that it belongs to.
    #[serde(default)]
    pub global: Option<InventoryGlobal>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// An Aurora global cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryGlobal {
    /// Identifier.
    pub id: String,
    /// Region of the primary.
    pub writer: Option<String>,
    /// ARN of its cluster in each Region.
    pub members: BTreeMap<String, String>,
}

/// A subnet with its network ACL.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct InventorySubnet {
    /// Subnet id.
    pub id: String,
    /// VPC.
    pub vpc: String,
    /// AZ.
    pub az: String,
    /// Association id now.
    pub association: String,
    /// Network ACL now.
    pub network_acl: String,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// A record set that sends users to a Region.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryRecord {
    /// Hosted zone.
    pub hosted_zone: String,
    /// Name.
    pub name: String,
    /// `A`, `AAAA` or `CNAME`.
    pub record_type: String,
    /// SetIdentifier; none for a record without a routing policy.
    pub set_identifier: Option<String>,
    /// Weight; none where it is not weighted.
    pub weight: Option<i64>,
    /// Health check that decides about it.
    pub health_check: Option<String>,
}

impl InventoryRecord {
    /// Whether it is of this name, with or without the final dot.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        let bare = |name: &str| name.trim_end_matches('.').to_ascii_lowercase();
        bare(&self.name) == bare(name)
    }
}
