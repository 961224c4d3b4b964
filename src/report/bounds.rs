//! What AWS documents for the faults of the catalogue, shown beside what was measured. Judges nothing.

const CLUSTER: &str = "less than 60 s, often less than 30 s (Aurora with a replica)";

/// Client outage.
pub(super) fn outage(fault: &str) -> Option<&'static str> {
    match fault {
        "rds.failover" => Some("typically 60–120 s (RDS Multi-AZ)"),
        "rds.failover_cluster" => Some(CLUSTER),
        _ => None,
    }
}

/// Recovery.
pub(super) fn recovery(fault: &str) -> Option<&'static str> {
    match fault {
        "rds.failover" => Some("typically 60–120 s (RDS Multi-AZ)"),
        "rds.failover_cluster" => Some(CLUSTER),
        "rds.failover_global" | "rds.switchover_global" => Some("in the order of minutes (Aurora Global Database)"),
        "network.deny_region" => Some("up to 150 s: 3 × 30 s checks, 60 s TTL (Route 53)"),
        _ => None,
    }
}

/// Detection.
pub(super) fn detect(fault: &str) -> Option<&'static str> {
    match fault {
        "network.deny_region" => Some("90 s: 3 failures, 30 s apart (Route 53)"),
        "ec2.terminate" => Some("60 s: 2 failures, 30 s apart (target group)"),
        _ => None,
    }
}

/// Propagation to the users' resolvers.
pub(super) fn propagate(fault: &str) -> Option<&'static str> {
    (fault == "network.deny_region").then_some("60 s TTL of an alias")
}

/// Replacement of instances.
pub(super) fn self_heal(fault: &str) -> Option<&'static str> {
    (fault == "ec2.terminate").then_some("most replaced in less than 5 min (EC2 Auto Scaling FAQ)")
}

/// Users moving to another Region.
pub(super) fn shift(fault: &str) -> Option<&'static str> {
    (fault == "network.deny_region").then_some("up to 150 s: 3 × 30 s checks, 60 s TTL (Route 53)")
}

/// Acknowledged writes.
pub(super) fn lost_writes(fault: &str) -> Option<&'static str> {
    match fault {
        "rds.failover" => Some("0: the standby is synchronous"),
        "rds.failover_cluster" => Some("0: all members share one storage volume"),
        "rds.switchover_global" => Some("0: the secondary has every write before it takes over"),
        "rds.failover_global" => Some("what was written within the lag, typically less than 1 s"),
        _ => None,
    }
}
