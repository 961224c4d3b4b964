//! Launches that fail for want of capacity in an AZ, for as long as an action of AWS FIS says so.

use std::collections::BTreeMap;

use super::{activity, balance};
use crate::lab::Lab;
use crate::lab::world::{AutoScalingGroup, CloudTime, Region};

/// How long after a launch failed in an AZ it is tried there again, cloud seconds [our choice; AWS names no time].
const AGAIN_AFTER_S: f64 = 60.0;

/// Where an instance can be launched: where it was wanted, or, if it may, in the emptiest AZ that has capacity. A launch
/// that fails on the way is recorded.
pub fn place(lab: &Lab, region: &str, group: &str, wanted: &str, cause: &str, elsewhere: bool) -> Option<String> {
    let now = lab.now();
    let mut world = lab.world();
    let state = world.regions.get_mut(region)?;
    let mut subnets = BTreeMap::from([(wanted.to_owned(), 0)]);
    if elsewhere {
        let others = balance::reachable(state, state.groups.get(group)?);
        let others = others.into_iter().filter(|(id, _)| id != wanted);
        // What is wanted comes first, whatever the others hold.
        subnets.extend(others.map(|(id, count)| (id, count + 1)));
    }
    while let Some(subnet) = balance::take_emptiest(&mut subnets) {
        if !fails(lab, state, group, &subnet, now) {
            return Some(subnet);
        }
        subnets.remove(&subnet);
        record(lab, state, group, &subnet, cause, now);
    }
    None
}

/// Whether a launch into a subnet fails now.
fn fails(lab: &Lab, region: &Region, group: &str, subnet: &str, now: CloudTime) -> bool {
    let Some(subnet) = region.subnets.get(subnet) else {
        return false;
    };
    let names = [subnet.az.clone(), region.zone_id(subnet)];
    let short = region
        .fis
        .shortages
        .iter()
        .find(|one| one.group == group && one.azs.iter().any(|az| names.contains(az)));
    let Some(shortage) = short else { return false };
    let failed = region
        .groups
        .get(group)
        .is_some_and(|group| failed_lately(group, &subnet.id, now));
    failed || lab.draw(0.0..=100.0) < shortage.percent
}

fn failed_lately(group: &AutoScalingGroup, subnet: &str, now: CloudTime) -> bool {
    let mut lately = group
        .activities
        .iter()
        .take_while(|one| now - one.start_time < AGAIN_AFTER_S);
    lately.any(|one| one.status_code == "Failed" && one.instance_id.is_none() && one.details.contains(subnet))
}

fn record(lab: &Lab, region: &mut Region, group: &str, subnet: &str, cause: &str, now: CloudTime) {
    let Some(az) = region.subnets.get(subnet).map(|subnet| subnet.az.clone()) else {
        return;
    };
    if let Some(group) = region
        .groups
        .get_mut(group)
        .filter(|group| !failed_lately(group, subnet, now))
    {
        activity::failed(lab, group, subnet, &az, cause.to_owned(), now);
    }
}
