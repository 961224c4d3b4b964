//! Faults against the inventory: which resources, which API calls, which reverts, and what is not reproduced.

use std::collections::{BTreeMap, BTreeSet};

use super::{CallPlan, Fault, Inventory, InventoryInstance, Role};

/// What a fault would touch and call.
#[derive(Debug, Default)]
pub(super) struct Effect {
    pub(super) resources: Vec<String>,
    pub(super) calls: Vec<CallPlan>,
    pub(super) reverts: Vec<CallPlan>,
}

/// Resolves a fault; an empty effect when the target has nothing of the kind, which the run then finds inconclusive.
pub(super) fn effect(fault: &Fault, role: &Role, region: &str, inventory: &Inventory) -> Effect {
    let call = |action: &str, detail: String| CallPlan {
        action: action.to_owned(),
        region: region.to_owned(),
        detail,
    };
    let Some(found) = inventory.regions.get(region) else {
        return Effect::default();
    };
    match (fault, role) {
        (Fault::Ec2Terminate { share }, Role::AutoScalingGroup(name)) => {
            let resources = found
                .groups
                .get(name)
                .map(|group| pick_share(&group.instances, *share))
                .unwrap_or_default();
            let calls = match resources.as_slice() {
                [] => Vec::new(),
                ids => vec![call("ec2:TerminateInstances", format!("InstanceIds={}", ids.join(",")))],
            };
            Effect {
                resources,
                calls,
                reverts: Vec::new(),
            }
        }
        (Fault::RdsFailover, Role::DbInstance(name)) if found.databases.contains_key(name) => {
            let detail = format!("DBInstanceIdentifier={name} ForceFailover=true");
            Effect {
                resources: vec![name.clone()],
                calls: vec![call("rds:RebootDBInstance", detail)],
                reverts: Vec::new(),
            }
        }
        (Fault::NetworkDenyRegion, _) => {
            let mut effect = Effect::default();
            let vpcs: BTreeSet<&str> = found.subnets.iter().map(|subnet| subnet.vpc.as_str()).collect();
            for vpc in &vpcs {
                effect.calls.push(call(
                    "ec2:CreateNetworkAcl",
                    format!("VpcId={vpc} (a new ACL denies everything)"),
                ));
            }
            for subnet in &found.subnets {
                effect.resources.push(subnet.id.clone());
                let detail = format!(
                    "AssociationId={} of {}: {} -> the new ACL",
                    subnet.association, subnet.id, subnet.network_acl
                );
                effect.calls.push(call("ec2:ReplaceNetworkAclAssociation", detail));
                let detail = format!("the new association of {} -> {}", subnet.id, subnet.network_acl);
                effect.reverts.push(call("ec2:ReplaceNetworkAclAssociation", detail));
            }
            for vpc in &vpcs {
                effect
                    .reverts
                    .push(call("ec2:DeleteNetworkAcl", format!("the new ACL of {vpc}")));
            }
            effect
        }
        _ => Effect::default(),
    }
}

/// The instances that `share` of a group's in-service instances means: rounded to the nearest, at least one, spread
/// over the AZs beginning with the fullest, always the same for the same group.
#[must_use]
pub fn pick_share(instances: &[InventoryInstance], share: f64) -> Vec<String> {
    let mut zones: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for instance in instances.iter().filter(|instance| instance.in_service) {
        zones.entry(&instance.az).or_default().push(&instance.id);
    }
    let total: usize = zones.values().map(Vec::len).sum();
    if total == 0 {
        return Vec::new();
    }
    let wanted = ((total as f64 * share).round() as usize).clamp(1, total);
    let mut zones: Vec<Vec<&str>> = zones.into_values().collect();
    zones.iter_mut().for_each(|zone| zone.sort_unstable());
    zones.sort_by_key(|zone| std::cmp::Reverse(zone.len()));
    let longest = zones.first().map_or(0, Vec::len);
    (0..longest)
        .flat_map(|turn| zones.iter().filter_map(move |zone| zone.get(turn)))
        .take(wanted)
        .map(|id| (*id).to_owned())
        .collect()
}

/// What a fault does not reproduce of the real thing.
pub(super) fn fidelity(fault: &Fault) -> &'static str {
    match fault {
        Fault::Ec2Terminate { .. } => {
            "TerminateInstances resets connections at once; a failing host may hang instead, and hardware rarely fails \
             in several AZs together"
        }
        Fault::RdsFailover => {
            "a forced failover skips the detection (15-30 s) that a crash of the primary needs first; storage and network \
             stay sound"
        }
        Fault::NetworkDenyRegion => {
            "packets to and from the subnets vanish as in a Region outage, but the AWS control plane of the Region keeps \
             answering, and traffic that never crosses a subnet's border goes on"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn group(zones: &[&str]) -> Vec<InventoryInstance> {
        let instance = |(index, az): (usize, &&str)| InventoryInstance {
            id: format!("i-{index:02}"),
            az: (*az).to_owned(),
            in_service: true,
            ..InventoryInstance::default()
        };
        zones.iter().enumerate().map(instance).collect()
    }

    #[test]
    fn a_share_is_rounded_and_spread() {
        assert_eq!(pick_share(&group(&["a", "b", "c"]), 0.34), ["i-00"]);
        assert_eq!(
            pick_share(&group(&["a", "a", "b", "b", "c", "c", "a"]), 0.34),
            ["i-00", "i-02"]
        );
        assert_eq!(pick_share(&group(&["a"]), 0.01), ["i-00"]);
        assert_eq!(pick_share(&group(&["a", "a"]), 1.0).len(), 2);
        assert!(pick_share(&[], 0.5).is_empty());
    }

    proptest! {
        #[test]
        fn a_share_never_exceeds_the_group(count in 1usize..40, share in 0.0f64..=1.0) {
            let zones: Vec<&str> = ["a", "b", "c"].into_iter().cycle().take(count).collect();
            let picked = pick_share(&group(&zones), share);
            let distinct: BTreeSet<&String> = picked.iter().collect();
            prop_assert_eq!(distinct.len(), picked.len());
            prop_assert!((picked.len() as f64 - count as f64 * share).abs() <= 1.0);
        }
    }
}
