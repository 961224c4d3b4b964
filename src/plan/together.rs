//! Faults of one experiment that are in the world at the same time (experiments follow one another): none may hit what
//! another hits, and together they leave a Region, an AZ of each, and the healthy minimum of every group. What they hit by
//! then is the guards' to say; here it is what the plan knows.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Fault, FaultPlan, InventoryGroup, InventoryInstance, Role, TargetPlan};

const APART: &str = "move one of them, so that each effect has one cause";
const LESS: &str = "move one of them, or lower a share; `allow.healthy_min` is the word of the target's owner";

/// Why a fault cannot be in the world with the others, and what to do.
pub(super) fn clash(fault: &FaultPlan, others: &[FaultPlan], target: &TargetPlan) -> Option<(String, &'static str)> {
    let meets = |other: &&FaultPlan| fault.at <= other.ends_at() && other.at <= fault.ends_at();
    let others: Vec<&FaultPlan> = others.iter().filter(meets).collect();
    let twice = others
        .iter()
        .find_map(|other| same(fault, other, target))
        .or_else(|| nothing_left(fault, &others, target));
    let too_few = || Some((too_few_left(fault, &others, target)?, LESS));
    twice.map(|why| (why, APART)).or_else(too_few)
}

/// What both hit.
fn same(fault: &FaultPlan, other: &FaultPlan, target: &TargetPlan) -> Option<String> {
    if fault.region != other.region {
        return None;
    }
    let (one, two, region) = (&fault.role, &other.role, &fault.region);
    if one == two {
        return Some(format!("two faults hit {one:?} in {region} at the same time"));
    }
    let role = target.roles.get(one);
    if role.is_some() && role == target.roles.get(two) {
        return Some(format!(
            "two faults hit {one:?} in {region} at the same time, which is {two:?} too"
        ));
    }
    let shared = fault.resources.iter().find(|id| other.resources.contains(id))?;
    let kinds = [fault, other].map(|one| one.fault.entry().hits);
    // A group and a database may have the same name.
    (kinds[0] == kinds[1]).then(|| format!("two faults hit {shared} in {region} at the same time"))
}

/// The faults that are there whenever one more is, `fault` among them; those that are alone are the guards' to refuse.
fn meetings<'f>(fault: &'f FaultPlan, others: &[&'f FaultPlan]) -> Vec<(Duration, Vec<&'f FaultPlan>)> {
    let starts = others.iter().map(|other| other.at.max(fault.at)).chain([fault.at]);
    let starts: BTreeSet<Duration> = starts.collect();
    let meeting = |at: Duration| {
        let there = others.iter().filter(|other| other.at <= at && at <= other.ends_at());
        (at, there.copied().chain([fault]).collect::<Vec<_>>())
    };
    starts
        .into_iter()
        .map(meeting)
        .filter(|(_, there)| there.len() > 1)
        .collect()
}

/// All Regions, or all AZs of one, that would be cut off at the same time.
fn nothing_left(fault: &FaultPlan, others: &[&FaultPlan], target: &TargetPlan) -> Option<String> {
    for (_, there) in meetings(fault, others) {
        let left = match &fault.fault {
            Fault::NetworkDenyRegion => target.regions.iter().any(|region| !is_cut(region, &there)),
            Fault::NetworkDenyAz { .. } => an_az_is_left(&fault.region, &there, target),
            _ => true,
        };
        if !left {
            return Some(match &fault.fault {
                Fault::NetworkDenyRegion => "all Regions of the target are cut off at the same time".to_owned(),
                _ => format!("all AZs of {} are cut off at the same time", fault.region),
            });
        }
    }
    None
}

fn is_cut(region: &str, there: &[&FaultPlan]) -> bool {
    there
        .iter()
        .any(|one| one.region == region && one.fault == Fault::NetworkDenyRegion)
}

fn an_az_is_left(region: &str, there: &[&FaultPlan], target: &TargetPlan) -> bool {
    let cut = |az: &str| {
        let denies = |one: &&FaultPlan| matches!(&one.fault, Fault::NetworkDenyAz { az: denied } if denied == az);
        there.iter().any(|one| one.region == region && denies(one))
    };
    let Some(found) = target.inventory.regions.get(region) else {
        return true;
    };
    found.subnets.iter().any(|subnet| !cut(&subnet.az))
}

/// A group of which too few instances would serve while these faults are there: where one of them comes, or in every
/// other Region where that cuts its own off.
fn too_few_left(fault: &FaultPlan, others: &[&FaultPlan], target: &TargetPlan) -> Option<String> {
    let groups = target.roles.values().filter_map(|role| match role {
        Role::AutoScalingGroup(name) => Some(name.as_str()),
        _ => None,
    });
    let groups: BTreeSet<&str> = groups.collect();
    for (at, there) in meetings(fault, others) {
        for comes in there.iter().filter(|one| one.at == at) {
            let least = groups.iter().find_map(|name| too_few_of(name, comes, &there, target));
            if least.is_some() {
                return least;
            }
        }
    }
    None
}

fn too_few_of(name: &str, comes: &FaultPlan, there: &[&FaultPlan], target: &TargetPlan) -> Option<String> {
    let least = target.allow.as_ref().map_or(1, |allow| allow.healthy_min);
    let serving = |region: &str, there: &[&FaultPlan]| {
        let group = target.inventory.regions.get(region)?.groups.get(name)?;
        Some(serving(group, region, comes, there))
    };
    let too_few = |there: &[&FaultPlan]| {
        let few = |region: &str| serving(region, there).filter(|stay| *stay < least);
        match comes.fault {
            Fault::NetworkDenyRegion => {
                let others = target.regions.iter().filter(|other| **other != comes.region);
                let least: Option<Vec<u64>> = others.map(|other| few(other)).collect();
                least.and_then(|all| all.into_iter().max())
            }
            _ if serving(&comes.region, &[comes]) == serving(&comes.region, &[]) => None,
            _ => few(&comes.region),
        }
    };
    // What it takes alone, or what is too few already, is the guards' to refuse.
    if too_few(&[]).or_else(|| too_few(&[comes])).is_some() {
        return None;
    }
    let stay = too_few(there)?;
    let faults: Vec<String> = there
        .iter()
        .map(|one| format!("{} on {}", one.fault.name(), one.role))
        .collect();
    Some(format!(
        "{stay} of the instances of group {name} would stay in service under {}, and at least {least} must \
         (`allow.healthy_min`)",
        faults.join(" and ")
    ))
}

/// How many instances that are in service none of the faults takes. What is slow serves, but is not slowed where it is
/// needed.
fn serving(group: &InventoryGroup, region: &str, comes: &FaultPlan, there: &[&FaultPlan]) -> u64 {
    let there = || there.iter().filter(|fault| fault.region == region);
    let lost = |one: &InventoryInstance| {
        let by_disk = |fault: &FaultPlan| one.volumes.iter().any(|id| fault.resources.contains(id));
        there().any(|fault| match &fault.fault {
            Fault::NetworkDenyRegion => true,
            Fault::NetworkDenyAz { az } => *az == one.az,
            Fault::EbsPauseIo { .. } => by_disk(fault),
            Fault::EbsLatency { .. } => by_disk(fault) && std::ptr::eq(*fault, comes),
            other => other.share().is_some() && fault.resources.contains(&one.id),
        })
    };
    let in_service = group.instances.iter().filter(|one| one.in_service);
    in_service.filter(|one| !lost(one)).count() as u64
}
