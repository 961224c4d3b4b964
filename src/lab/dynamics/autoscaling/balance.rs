//! Where a group's next instance goes and which one leaves: even over the AZs that can be reached. Pure.

use std::collections::BTreeMap;

use crate::lab::world::{AutoScalingGroup, GroupMember, Region};

/// Members that are in service or coming, per subnet that can be reached; AZs that went silent are left out.
#[must_use]
pub fn reachable(region: &Region, group: &AutoScalingGroup) -> BTreeMap<String, usize> {
    let subnets = group
        .subnet_ids
        .iter()
        .filter_map(|id| region.subnets.get(id))
        .filter(|subnet| !subnet.silent);
    subnets
        .map(|subnet| {
            let here = |m: &&GroupMember| m.az == subnet.az && m.lifecycle_state != "Terminating";
            (subnet.id.clone(), group.members.iter().filter(here).count())
        })
        .collect()
}

/// The emptiest subnet, which is counted as having one more from now on.
pub fn take_emptiest(subnets: &mut BTreeMap<String, usize>) -> Option<String> {
    let (id, count) = subnets.iter_mut().min_by_key(|(_, count)| **count)?;
    *count += 1;
    Some(id.clone())
}

/// Whether one AZ has at least two more than another, which is what AZRebalance acts upon.
#[must_use]
pub fn uneven(subnets: &BTreeMap<String, usize>) -> bool {
    match (subnets.values().min(), subnets.values().max()) {
        (Some(min), Some(max)) => max - min >= 2,
        _ => false,
    }
}

/// The member that scale-in takes: the oldest one in the fullest AZ, as the default termination policy does.
#[must_use]
pub fn victim(region: &Region, group: &AutoScalingGroup) -> Option<String> {
    let in_service = || group.members.iter().filter(|m| m.lifecycle_state == "InService");
    let launched = |m: &GroupMember| region.instances.get(&m.instance_id).map_or(0.0, |i| i.launched_at);
    let crowd = |az: &str| in_service().filter(|m| m.az == az).count();
    let fullest = in_service().map(|m| crowd(&m.az)).max()?;
    in_service()
        .filter(|m| crowd(&m.az) == fullest)
        .min_by(|a, b| launched(a).total_cmp(&launched(b)))
        .map(|m| m.instance_id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(&str, usize)]) -> BTreeMap<String, usize> {
        pairs.iter().map(|(id, count)| ((*id).to_owned(), *count)).collect()
    }

    #[test]
    fn launches_spread_over_the_emptiest_zones() {
        let mut subnets = counts(&[("a", 2), ("b", 0), ("c", 1)]);
        let taken: Vec<_> = (0..4).filter_map(|_| take_emptiest(&mut subnets)).collect();
        assert_eq!(taken, ["b", "b", "c", "a"]);
        assert_eq!(take_emptiest(&mut BTreeMap::new()), None);
    }

    #[test]
    fn a_difference_of_two_is_uneven() {
        assert!(uneven(&counts(&[("a", 3), ("b", 3), ("c", 0)])));
        assert!(!uneven(&counts(&[("a", 1), ("b", 2), ("c", 1)])));
        assert!(!uneven(&BTreeMap::new()));
    }
}
