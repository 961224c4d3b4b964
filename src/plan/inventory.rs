//! What was found in the account before the run, as plain data. How it was found is not known here.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Everything found, by Region.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Inventory {
    /// Account id the credentials belong to.
    pub account: Option<String>,
    /// Regions by name.
    pub regions: BTreeMap<String, InventoryRegion>,
}

/// One Region.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct InventoryRegion {
    /// Auto Scaling groups by name.
    pub groups: BTreeMap<String, InventoryGroup>,
    /// RDS instances by identifier.
    pub databases: BTreeMap<String, InventoryDatabase>,
    /// Subnets of the groups' VPC.
    pub subnets: Vec<InventorySubnet>,
    /// Addresses of the Region's load balancers.
    pub edge: Vec<IpAddr>,
    /// DNS names of the Region's load balancers.
    pub load_balancers: Vec<String>,
}

/// An Auto Scaling group.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct InventoryGroup {
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
