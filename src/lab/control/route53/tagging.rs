//! Tags of health checks and hosted zones.

use super::super::Call;
use super::super::value::{Value, list, map};
use super::health_checks::no_check;
use super::path_id;
use super::zones::no_zone;
use crate::lab::error::AwsError;
use crate::lab::world::{Route53, Tags};

/// Most tags of one resource, and most resources of one ListTagsForResources (API reference, ChangeTagsForResource and
/// ListTagsForResources).
const MOST: usize = 10;

fn invalid(message: impl Into<String>) -> AwsError {
    AwsError::bad_request("InvalidInput", message.into())
}

fn tags_of<'r>(route53: &'r mut Route53, kind: &str, id: &str) -> Result<&'r mut Tags, AwsError> {
    match kind {
        "healthcheck" => {
            let check = route53.health_checks.get_mut(id).ok_or_else(|| no_check(id))?;
            Ok(&mut check.tags)
        }
        "hostedzone" => Ok(&mut route53.zones.get_mut(id).ok_or_else(|| no_zone(id))?.tags),
        _ => Err(invalid(format!("Invalid resource type: {kind}"))),
    }
}

fn shown(kind: &str, id: &str, tags: &Tags) -> Value {
    let tags = tags
        .iter()
        .map(|(key, value)| map([("Key", key.into()), ("Value", value.into())]));
    map([
        ("ResourceType", kind.into()),
        ("ResourceId", id.into()),
        ("Tags", list("Tag", tags)),
    ])
}

pub fn of_one(call: &Call<'_>) -> Result<Value, AwsError> {
    let (kind, id) = (path_id(call, 0), path_id(call, 1));
    let mut world = call.lab.world();
    let tags = tags_of(&mut world.route53, kind, id)?;
    Ok(map([("ResourceTagSet", shown(kind, id, tags))]))
}

pub fn of_some(call: &Call<'_>) -> Result<Value, AwsError> {
    let (kind, ids) = (path_id(call, 0), call.input.texts("ResourceIds"));
    if ids.is_empty() || ids.len() > MOST {
        return Err(invalid(format!("Specify from 1 to {MOST} resource ids")));
    }
    let mut world = call.lab.world();
    let mut sets = Vec::new();
    for id in ids {
        sets.push(shown(kind, id, tags_of(&mut world.route53, kind, id)?));
    }
    Ok(map([("ResourceTagSets", Value::List("ResourceTagSet", sets))]))
}

pub fn change(call: &Call<'_>) -> Result<Value, AwsError> {
    let (kind, id) = (path_id(call, 0), path_id(call, 1));
    let removed = call.input.texts("RemoveTagKeys");
    let mut world = call.lab.world();
    let tags = tags_of(&mut world.route53, kind, id)?;
    let mut after = tags.clone();
    after.retain(|key, _| !removed.contains(&key.as_str()));
    for tag in call.input.elements("AddTags") {
        let value = tag.text("Value").unwrap_or_default();
        after.insert(tag.required("Key")?.to_owned(), value.to_owned());
    }
    if after.len() > MOST {
        return Err(invalid(format!("A resource has at most {MOST} tags")));
    }
    *tags = after;
    Ok(Value::empty())
}
