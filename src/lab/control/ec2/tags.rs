//! Tags of EC2 resources.

use super::super::Call;
use super::super::value::{Value, fault, list, map};
use super::filter::Filters;
use super::{in_region, paged};
use crate::lab::error::AwsError;
use crate::lab::world::{Region, Tags};

/// AWS's limit of tags per resource.
pub(super) const MOST_TAGS: usize = 50;

pub(super) fn too_many() -> AwsError {
    fault(
        "TagLimitExceeded",
        "The maximum number of tags for a resource has been reached.",
    )
}

fn tags_of<'r>(region: &'r mut Region, id: &str) -> Option<&'r mut Tags> {
    let instances = region.instances.values_mut();
    let mut of_instances = instances.flat_map(|one| [(&one.id, &mut one.tags), (&one.volume.id, &mut one.volume.tags)]);
    if let Some((_, tags)) = of_instances.find(|(own, _)| *own == id) {
        return Some(tags);
    }
    if let Some(subnet) = region.subnets.get_mut(id) {
        return Some(&mut subnet.tags);
    }
    region.network_acls.get_mut(id).map(|acl| &mut acl.tags)
}

/// Runs `edit` on the tags of every resource of the request; on none when one is unknown.
fn edit(call: &Call<'_>, edit: impl Fn(&mut Tags) -> Result<(), AwsError>) -> Result<Value, AwsError> {
    let ids = call.input.texts("ResourceId");
    if ids.is_empty() {
        return Err(fault(
            "MissingParameter",
            "The request must contain the parameter resourceIdSet",
        ));
    }
    let mut world = call.lab.world();
    let region = world
        .regions
        .get_mut(call.region)
        .ok_or_else(|| call.unknown_region())?;
    for id in &ids {
        if tags_of(region, id).is_none() {
            return Err(fault("InvalidID", format!("The ID '{id}' is not valid")));
        }
    }
    for id in ids {
        if let Some(tags) = tags_of(region, id) {
            edit(tags)?;
        }
    }
    Ok(map([("return", true.into())]))
}

pub fn create(call: &Call<'_>) -> Result<Value, AwsError> {
    let mut wanted = Tags::new();
    for tag in call.input.elements("Tag") {
        let key = tag.required("Key")?;
        if key.starts_with("aws:") {
            let message = "Tag keys starting with 'aws:' are reserved for internal use";
            return Err(fault("InvalidParameterValue", message));
        }
        wanted.insert(key.to_owned(), tag.text("Value").unwrap_or_default().to_owned());
    }
    if wanted.is_empty() {
        return Err(fault(
            "MissingParameter",
            "The request must contain the parameter tagSet",
        ));
    }
    edit(call, |tags| {
        let mut after = tags.clone();
        after.extend(wanted.clone());
        if after.keys().filter(|key| !key.starts_with("aws:")).count() > MOST_TAGS {
            return Err(too_many());
        }
        *tags = after;
        Ok(())
    })
}

pub fn delete(call: &Call<'_>) -> Result<Value, AwsError> {
    let named = call.input.elements("Tag");
    edit(call, |tags| {
        if named.is_empty() {
            tags.retain(|key, _| key.starts_with("aws:"));
        }
        for tag in &named {
            let key = tag.required("Key")?;
            // With a value only a tag of that value is deleted.
            if tag
                .text("Value")
                .is_none_or(|value| tags.get(key).is_some_and(|has| has == value))
            {
                tags.remove(key);
            }
        }
        Ok(())
    })
}

pub fn describe(call: &Call<'_>) -> Result<Value, AwsError> {
    let filters = Filters::of(&call.input)?;
    in_region(call, |region, _| {
        let instances = region.instances.values().map(|item| (&item.id, "instance", &item.tags));
        let subnets = region.subnets.values().map(|item| (&item.id, "subnet", &item.tags));
        let volumes = region.instances.values().map(|item| &item.volume);
        let volumes = volumes.map(|item| (&item.id, "volume", &item.tags));
        let acls = region
            .network_acls
            .values()
            .map(|item| (&item.id, "network-acl", &item.tags));
        let mut found = Vec::new();
        for (id, resource_type, tags) in instances.chain(volumes).chain(subnets).chain(acls) {
            for (key, value) in tags {
                let own = Tags::from([(key.clone(), value.clone())]);
                let known = |name: &str| {
                    Some(vec![match name {
                        "resource-id" => id.clone(),
                        "resource-type" => resource_type.to_owned(),
                        "key" => key.clone(),
                        "value" => value.clone(),
                        _ => return None,
                    }])
                };
                if filters.pass(&own, known)? {
                    found.push((id, resource_type, key, value));
                }
            }
        }
        let (found, next) = paged(call, found, |(id, _, key, _)| format!("{id}/{key}"))?;
        let shown = found.into_iter().map(|(id, resource_type, key, value)| {
            map([
                ("resourceId", id.into()),
                ("resourceType", resource_type.into()),
                ("key", key.into()),
                ("value", value.into()),
            ])
        });
        Ok(map([("tagSet", list("item", shown)), ("nextToken", next.into())]))
    })
}
