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
/// Spot Instances.
pub const SPOT_INSTANCE: &str = "aws:ec2:spot-instance";
/// EBS volumes.
pub const VOLUME: &str = "aws:ec2:ebs-volume";
/// Subnets.
pub const SUBNET: &str = "aws:ec2:subnet";
/// RDS instances.
pub const DATABASE: &str = "aws:rds:db";

/// Aurora clusters.
pub const CLUSTER: &str = "aws:rds:cluster";
/// IAM roles.
pub const ROLE: &str = "aws:iam:role";

const API_ERROR: Offer = Offer {
    id: "",
    description: "",
    parameters: &[
        ("duration", true),
        ("service", true),
        ("percentage", true),
        ("operations", true),
    ],
    lasts: Some("duration"),
    target: Some(("Roles", ROLE)),
};

/// Every action, by id.
pub const OFFERS: [Offer; 15] = [
    Offer {
        id: "aws:ebs:pause-volume-io",
        description: "Pause I/O of the specified EBS volumes.",
        parameters: &[("duration", true)],
        lasts: Some("duration"),
        target: Some(("Volumes", VOLUME)),
    },
    Offer {
        id: "aws:ebs:volume-io-latency",
        description: "Inject latency into I/O of the specified EBS volumes.",
        parameters: &[
            ("duration", true),
            ("readIOPercentage", false),
            ("readIOLatencyMilliseconds", false),
            ("writeIOPercentage", false),
            ("writeIOLatencyMilliseconds", false),
        ],
        lasts: Some("duration"),
        target: Some(("Volumes", VOLUME)),
    },
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
        id: "aws:ec2:send-spot-instance-interruptions",
        description: "Send Spot Instance interruption notices to the specified Spot Instances.",
        parameters: &[("durationBeforeInterruption", true)],
        lasts: Some("durationBeforeInterruption"),
        target: Some(("SpotInstances", SPOT_INSTANCE)),
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
        id: "aws:fis:inject-api-internal-error",
        description: "Inject internal errors into requests of the specified IAM roles.",
        ..API_ERROR
    },
    Offer {
        id: "aws:fis:inject-api-throttle-error",
        description: "Inject throttling errors into requests of the specified IAM roles.",
        ..API_ERROR
    },
    Offer {
        id: "aws:fis:inject-api-unavailable-error",
        description: "Inject unavailable errors into requests of the specified IAM roles.",
        ..API_ERROR
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
        id: "aws:network:route-table-disrupt-cross-region-connectivity",
        description: "Block traffic from the specified subnets to the specified Region, by their route tables.",
        parameters: &[("duration", true), ("region", true)],
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
