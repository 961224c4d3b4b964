//! Faults of one experiment that are in the world at the same time: none may hit what another hits, and together they
//! leave a Region, and an AZ of each. What they hit by then is the guards' to say; here it is what the plan knows.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Fault, FaultPlan, TargetPlan};

/// Why a fault cannot be in the world with the others.
pub(super) fn clash(fault: &FaultPlan, others: &[FaultPlan], target: &TargetPlan) -> Option<String> {
    let meets = |other: &&FaultPlan| fault.at <= other.ends_at() && other.at <= fault.ends_at();
    let others: Vec<&FaultPlan> = others.iter().filter(meets).collect();
    others
        .iter()
        .find_map(|other| same(fault, other, target))
        .or_else(|| nothing_left(fault, &others, target))
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

/// All Regions, or all AZs of one, that would be cut off at the same time.
fn nothing_left(fault: &FaultPlan, others: &[&FaultPlan], target: &TargetPlan) -> Option<String> {
    let starts = others.iter().map(|other| other.at.max(fault.at)).chain([fault.at]);
    for at in starts.collect::<BTreeSet<Duration>>() {
        let there = others.iter().filter(|other| other.at <= at && at <= other.ends_at());
        let there: Vec<&FaultPlan> = there.copied().chain([fault]).collect();
        let left = match &fault.fault {
            Fault::NetworkDenyRegion => target.regions.iter().any(|region| !is_cut(region, &there)),
            Fault::NetworkDenyAz { .. } => an_az_is_left(&fault.region, &there, target),
            _ => true,
        };
        // What one alone cuts off is the guards' to refuse.
        if !left && there.len() > 1 {
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
