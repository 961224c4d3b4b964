//! The actions that the lab's FIS offers: those that have an effect in the lab, and no others.
//! Ids, keys and parameters as in the FIS user guide's action reference.

/// An action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Its id.
    pub id: &'static str,
    /// What it does.
    pub description: &'static str,
    /// Parameters, and whether each is required.
    pub parameters: &'static [(&'static str, bool)],
    /// The parameter that says how long it lasts, where one does.
    pub lasts: Option<&'static str>,
    /// Key and type of what it hits; none where it hits nothing.
    pub target: Option<(&'static str, &'static str)>,
}

/// EC2 instances.
pub const INSTANCE: &str = "aws:ec2:instance";
/// Auto Scaling groups.
pub const GROUP: &str = "aws:ec2:autoscaling-group";
/// Subnets.
pub const SUBNET: &str = "aws:ec2:subnet";
/// RDS instances.
pub const DATABASE: &str = "aws:rds:db";

/// Aurora clusters.
pub const CLUSTER: &str = "aws:rds:cluster";

/// Every action, by id.
pub const OFFERS: [Offer; 8] = [
    Offer {
        id: "aws:ec2:asg-insufficient-instance-capacity-error",
        description: "Launches of the specified Auto Scaling groups fail for want of capacity.",
        parameters: &[
            ("duration", true),
            ("availabilityZoneIdentifiers", true),
            ("percentage", false),
        ],
        lasts: Some("duration"),
        target: Some(("AutoScalingGroups", GROUP)),
    },
    Offer {
        id: "aws:ec2:reboot-instances",
        description: "Reboot the specified EC2 instances.",
        parameters: &[],
        lasts: None,
        target: Some(("Instances", INSTANCE)),
    },
    Offer {
        id: "aws:ec2:stop-instances",
        description: "Stop the specified EC2 instances.",
        parameters: &[
            ("startInstancesAfterDuration", false),
            ("completeIfInstancesTerminated", false),
        ],
        lasts: Some("startInstancesAfterDuration"),
        target: Some(("Instances", INSTANCE)),
    },
    Offer {
        id: "aws:ec2:terminate-instances",
        description: "Terminate the specified EC2 instances.",
        parameters: &[],
        lasts: None,
        target: Some(("Instances", INSTANCE)),
    },
    Offer {
        id: "aws:fis:wait",
        description: "Wait for the specified duration.",
        parameters: &[("duration", true)],
        lasts: Some("duration"),
        target: None,
    },
    Offer {
        id: "aws:network:disrupt-connectivity",
        description: "Disrupt network connectivity for the specified subnets.",
        parameters: &[("duration", true), ("scope", true)],
        lasts: Some("duration"),
        target: Some(("Subnets", SUBNET)),
    },
    Offer {
        id: "aws:rds:failover-db-cluster",
        description: "Failover a DB Cluster to one of the replicas.",
        parameters: &[],
        lasts: None,
        target: Some(("Clusters", CLUSTER)),
    },
    Offer {
        id: "aws:rds:reboot-db-instances",
        description: "Reboot the specified DB instances.",
        parameters: &[("forceFailover", false)],
        lasts: None,
        target: Some(("DBInstances", DATABASE)),
    },
];

/// The action of that id.
#[must_use]
pub fn offer(id: &str) -> Option<&'static Offer> {
    OFFERS.iter().find(|offer| offer.id == id)
}
