//! Faults against the inventory: which resources, which API calls, which reverts, and what is not reproduced.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    CallPlan, Fault, Hits, Inventory, InventoryGroup, InventoryInstance, InventoryRecord, InventoryRegion,
    InventorySubnet, Role,
};

/// What a fault would touch and call.
#[derive(Debug, Default)]
pub(super) struct Effect {
    pub(super) resources: Vec<String>,
    pub(super) calls: Vec<CallPlan>,
    pub(super) reverts: Vec<CallPlan>,
}

/// Resolves a fault; an empty effect when the target has nothing of the kind, which the run then finds inconclusive.
pub(super) fn effect(fault: &Fault, role: &Role, region: &str, inventory: &Inventory) -> Effect {
    let Some(found) = inventory.regions.get(region) else {
        return Effect::default();
    };
    let calls = Calls { region };
    match role {
        Role::AutoScalingGroup(name) => match found.groups.get(name) {
            Some(group) if fault.entry().hits == Hits::Group => calls.on_group(fault, name, group),
            _ => calls.on_network(fault, found),
        },
        Role::DbInstance(name) if fault.entry().hits == Hits::Database => match found.databases.get(name) {
            Some(_) => calls.on_database(fault, name),
            None => Effect::default(),
        },
        Role::Dns { hosted_zone, record } if fault.entry().hits == Hits::Dns => {
            let of_role = |one: &&InventoryRecord| one.hosted_zone == *hosted_zone && one.is_named(record);
            calls.on_records(fault, found.records.iter().filter(of_role))
        }
        _ => calls.on_network(fault, found),
    }
}

/// Writes the calls of one Region.
struct Calls<'r> {
    region: &'r str,
}

impl Calls<'_> {
    fn call(&self, action: &str, detail: String) -> CallPlan {
        CallPlan {
            action: action.to_owned(),
            region: self.region.to_owned(),
            detail,
        }
    }

    fn on_group(&self, fault: &Fault, name: &str, group: &InventoryGroup) -> Effect {
        if let Fault::AutoScalingSuspend { processes } = fault {
            let detail = format!("AutoScalingGroupName={name} ScalingProcesses={}", processes.join(","));
            return Effect {
                resources: vec![name.to_owned()],
                calls: vec![self.call("autoscaling:SuspendProcesses", detail.clone())],
                reverts: vec![self.call("autoscaling:ResumeProcesses", detail)],
            };
        }
        if *fault == Fault::ElbBreakHealthCheck {
            let each = |now: &'static str| {
                move |arn: &String| {
                    let detail = format!("TargetGroupArn={arn} HealthCheckPath={now}");
                    self.call("elasticloadbalancing:ModifyTargetGroup", detail)
                }
            };
            return Effect {
                resources: group.target_groups.clone(),
                calls: group
                    .target_groups
                    .iter()
                    .map(each("one that no target answers"))
                    .collect(),
                reverts: group.target_groups.iter().map(each("as it was")).collect(),
            };
        }
        let resources = pick_share(&group.instances, fault.share().unwrap_or_default());
        if resources.is_empty() {
            return Effect::default();
        }
        let ids = resources.join(",");
        let instances = format!("InstanceIds={ids}");
        let targets = |action: &str| {
            let call = |arn: &String| self.call(action, format!("TargetGroupArn={arn} Targets={ids}"));
            group.target_groups.iter().map(call).collect::<Vec<_>>()
        };
        let (calls, reverts) = match fault {
            Fault::Ec2Stop { .. } => (
                vec![self.call("ec2:StopInstances", instances.clone())],
                vec![self.call(
                    "ec2:StartInstances",
                    format!("{instances}, those that are stopped then"),
                )],
            ),
            Fault::Ec2Terminate { .. } => (vec![self.call("ec2:TerminateInstances", instances)], Vec::new()),
            Fault::Ec2Reboot { .. } => (vec![self.call("ec2:RebootInstances", instances)], Vec::new()),
            Fault::AutoScalingSetUnhealthy { .. } => {
                let each = |id: &String| {
                    let detail = format!("InstanceId={id} HealthStatus=Unhealthy");
                    self.call("autoscaling:SetInstanceHealth", detail)
                };
                (resources.iter().map(each).collect(), Vec::new())
            }
            _ => (
                targets("elasticloadbalancing:DeregisterTargets"),
                targets("elasticloadbalancing:RegisterTargets"),
            ),
        };
        Effect {
            resources,
            calls,
            reverts,
        }
    }

    fn on_database(&self, fault: &Fault, name: &str) -> Effect {
        let id = format!("DBInstanceIdentifier={name}");
        let (call, revert) = match fault {
            Fault::RdsFailover => (("rds:RebootDBInstance", format!("{id} ForceFailover=true")), None),
            Fault::RdsStop => (("rds:StopDBInstance", id.clone()), Some(("rds:StartDBInstance", id))),
            _ => (("rds:RebootDBInstance", id), None),
        };
        Effect {
            resources: vec![name.to_owned()],
            calls: vec![self.call(call.0, call.1)],
            reverts: revert
                .into_iter()
                .map(|(action, detail)| self.call(action, detail))
                .collect(),
        }
    }

    fn on_records<'i>(&self, fault: &Fault, records: impl Iterator<Item = &'i InventoryRecord>) -> Effect {
        let mut effect = Effect::default();
        for record in records {
            match (fault, &record.health_check, record.weight) {
                (Fault::Route53InvertHealthCheck, Some(check), _) if !effect.resources.contains(check) => {
                    let detail = |inverted: &str| format!("HealthCheckId={check} Inverted={inverted}");
                    effect.resources.push(check.clone());
                    effect
                        .calls
                        .push(self.call("route53:UpdateHealthCheck", detail("turned over")));
                    effect
                        .reverts
                        .push(self.call("route53:UpdateHealthCheck", detail("as it was")));
                }
                (Fault::Route53ZeroWeight, _, Some(weight)) if weight > 0 => {
                    let set = record.set_identifier.as_deref().unwrap_or_default();
                    let of = format!("{} {} of {}", record.name, record.record_type, record.hosted_zone);
                    let detail = |weight: i64| format!("UPSERT {of} SetIdentifier={set} Weight={weight}");
                    effect.resources.push(set.to_owned());
                    effect
                        .calls
                        .push(self.call("route53:ChangeResourceRecordSets", detail(0)));
                    effect
                        .reverts
                        .push(self.call("route53:ChangeResourceRecordSets", detail(weight)));
                }
                _ => {}
            }
        }
        effect
    }

    fn on_network(&self, fault: &Fault, found: &InventoryRegion) -> Effect {
        let cut = |subnet: &&InventorySubnet| match fault {
            Fault::NetworkDenyAz { az } => subnet.az == *az,
            fault => *fault == Fault::NetworkDenyRegion,
        };
        let subnets: Vec<&InventorySubnet> = found.subnets.iter().filter(cut).collect();
        let vpcs: BTreeSet<&str> = subnets.iter().map(|subnet| subnet.vpc.as_str()).collect();
        let mut effect = Effect::default();
        for vpc in &vpcs {
            let detail = format!("VpcId={vpc} (a new ACL denies everything)");
            effect.calls.push(self.call("ec2:CreateNetworkAcl", detail));
        }
        for subnet in subnets {
            effect.resources.push(subnet.id.clone());
            let detail = format!(
                "AssociationId={} of {}: {} -> the new ACL",
                subnet.association, subnet.id, subnet.network_acl
            );
            effect.calls.push(self.call("ec2:ReplaceNetworkAclAssociation", detail));
            let detail = format!("the new association of {} -> {}", subnet.id, subnet.network_acl);
            effect
                .reverts
                .push(self.call("ec2:ReplaceNetworkAclAssociation", detail));
        }
        for vpc in &vpcs {
            effect
                .reverts
                .push(self.call("ec2:DeleteNetworkAcl", format!("the new ACL of {vpc}")));
        }
        effect
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
