//! From a template's target to the resources it comes to at the moment.

use crate::lab::Lab;
use crate::lab::experiments::{Selection, Target};
use crate::lab::world::{InstanceState, Region, Tags, World};

use super::offer::{CLUSTER, DATABASE, GROUP, INSTANCE, ROLE, SPOT_INSTANCE, SUBNET, VOLUME};

/// ARNs of what a target comes to now; empty where nothing is there.
pub(super) fn resolve(lab: &Lab, region: &str, target: &Target) -> Vec<String> {
    let mut found: Vec<String> = {
        let world = lab.world();
        let Some(state) = world.regions.get(region) else {
            return Vec::new();
        };
        candidates(&world, state, &target.resource_type)
            .into_iter()
            .filter(|(arn, tags)| wanted(target, arn, tags))
            .map(|(arn, _)| arn)
            .collect()
    };
    let count = match target.selection {
        Selection::All => found.len(),
        Selection::Count(count) => count,
        Selection::Percent(percent) => (found.len() as f64 * percent / 100.0) as usize,
    };
    while found.len() > count {
        let index = (lab.draw(0.0..=1.0) * found.len() as f64) as usize;
        found.remove(index.min(found.len() - 1));
    }
    found
}

fn wanted(target: &Target, arn: &str, tags: &Tags) -> bool {
    if !target.arns.is_empty() {
        return target.arns.iter().any(|named| named == arn);
    }
    target.tags.iter().all(|(key, value)| tags.get(key) == Some(value))
}

/// Everything of a type that there is, with its tags.
fn candidates<'w>(world: &'w World, region: &'w Region, resource_type: &str) -> Vec<(String, &'w Tags)> {
    let arn = |kind: &str, id: &str| format!("arn:aws:ec2:{}:{}:{kind}/{id}", region.name, world.account);
    let gone = [InstanceState::Terminated, InstanceState::ShuttingDown];
    let there = region.instances.values().filter(|one| !gone.contains(&one.state));
    match resource_type {
        INSTANCE => there.map(|one| (arn("instance", &one.id), &one.tags)).collect(),
        SPOT_INSTANCE => there
            .filter(|one| one.spot)
            .map(|one| (arn("instance", &one.id), &one.tags))
            .collect(),
        VOLUME => there
            .map(|one| (arn("volume", &one.volume.id), &one.volume.tags))
            .collect(),
        GROUP => region.groups.values().map(|one| (one.arn.clone(), &one.tags)).collect(),
        ROLE => world
            .iam_roles
            .values()
            .map(|one| (one.arn.clone(), &one.tags))
            .collect(),
        SUBNET => region
            .subnets
            .values()
            .map(|one| (arn("subnet", &one.id), &one.tags))
            .collect(),
        DATABASE => region
            .db_instances
            .values()
            .map(|one| (one.arn.clone(), &one.tags))
            .collect(),
        CLUSTER => region
            .db_clusters
            .values()
            .map(|one| (one.arn.clone(), &one.tags))
            .collect(),
        _ => Vec::new(),
    }
}

/// The last part of an ARN, which names the resource.
pub(super) fn name_of(arn: &str) -> String {
    arn.rsplit(['/', ':']).next().unwrap_or_default().to_owned()
}
