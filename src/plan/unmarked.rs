//! What of a fault's resources the target's owner has not marked as allowed: the guard will refuse it, and who plans a game
//! day wants to know before the hour of load that comes first. Looks at groups, their instances, subnets and databases;
//! the tags of whatever else a fault may hit are only asked for at its time.

use std::collections::BTreeMap;

use super::{FaultPlan, Hits, InventoryRegion, Role, TargetPlan};

/// Why a guard would refuse a fault as the account is, as far as that is a matter of tags.
#[must_use]
pub fn unmarked(fault: &FaultPlan, target: &TargetPlan) -> Option<String> {
    let allow = target.allow.as_ref()?;
    let (key, value) = allow.tag.as_ref()?;
    let region = target.inventory.regions.get(&fault.region)?;
    let group = match target.roles.get(&fault.role) {
        Some(Role::AutoScalingGroup(name)) => region.groups.get(name).map(|group| (name, group)),
        _ => None,
    };
    if let (Some((name, group)), Some(_), true) = (group, fault.fault.share(), fault.resources.is_empty()) {
        // None was taken, for those that are not marked are not looked at.
        let in_service = group.instances.iter().filter(|one| one.in_service);
        let all = in_service.clone().count() > 0 && in_service.clone().all(|one| !allow.covers(&one.tags));
        return all.then(|| format!("no instance in service of group {name} is tagged {key}={value}"));
    }
    let is_bare = |id: &&String| tags(fault, region, id).is_some_and(|tags| !allow.covers(tags));
    let bare: Vec<&str> = fault.resources.iter().filter(is_bare).map(String::as_str).collect();
    match bare.as_slice() {
        [] => None,
        [one] => Some(format!("{one} is not tagged {key}={value}")),
        several => Some(format!("{} are not tagged {key}={value}", several.join(", "))),
    }
}

/// The tags of what a fault hits, where the inventory has them.
fn tags<'r>(fault: &FaultPlan, region: &'r InventoryRegion, id: &str) -> Option<&'r BTreeMap<String, String>> {
    match fault.fault.entry().hits {
        Hits::Database => region.databases.get(id).map(|one| &one.tags),
        Hits::Cluster => region.clusters.get(id).map(|one| &one.tags),
        Hits::Group => {
            let group = |(name, group): (&'r String, &'r super::InventoryGroup)| {
                (name == id || group.arn == id).then_some(&group.tags)
            };
            region.groups.iter().find_map(group)
        }
        Hits::Network => region.subnets.iter().find(|one| one.id == id).map(|one| &one.tags),
        Hits::Dns | Hits::IamRole => None,
    }
}
