//! Tags of load balancers and target groups.

use super::super::Call;
use super::super::tags;
use super::super::value::{Value, fault, list, map};
use super::{no_load_balancer, no_target_group};
use crate::lab::error::AwsError;
use crate::lab::world::{Region, Tags};

/// Most resources of one DescribeTags call.
const MOST_TAGGED: usize = 20;

fn missing(arn: &str) -> AwsError {
    if arn.contains(":targetgroup/") {
        no_target_group()
    } else {
        no_load_balancer()
    }
}

fn tags_of<'r>(region: &'r Region, arn: &str) -> Result<&'r Tags, AwsError> {
    let of_balancer = region.load_balancers.get(arn).map(|lb| &lb.tags);
    let found = of_balancer.or_else(|| region.target_groups.get(arn).map(|group| &group.tags));
    found.ok_or_else(|| missing(arn))
}

pub fn describe(call: &Call<'_>, region: &Region) -> Result<Value, AwsError> {
    let arns = call.input.texts("ResourceArns");
    if arns.is_empty() || arns.len() > MOST_TAGGED {
        return Err(fault(
            "ValidationError",
            format!("Specify from 1 to {MOST_TAGGED} resource ARNs"),
        ));
    }
    let mut shown = Vec::new();
    for arn in arns {
        let tags = tags_of(region, arn)?
            .iter()
            .map(|(key, value)| map([("Key", key.into()), ("Value", value.into())]));
        shown.push(map([("ResourceArn", arn.into()), ("Tags", list("member", tags))]));
    }
    Ok(map([("TagDescriptions", Value::List("member", shown))]))
}

/// Runs `edit` on the tags of every resource of the request; on none when one is unknown.
fn edit(call: &Call<'_>, edit: impl Fn(&mut Tags) -> Result<(), AwsError>) -> Result<Value, AwsError> {
    let arns = call.input.texts("ResourceArns");
    let mut world = call.lab.world();
    let region = world
        .regions
        .get_mut(call.region)
        .ok_or_else(|| call.unknown_region())?;
    for arn in &arns {
        tags_of(region, arn)?;
    }
    for arn in arns {
        let of_group = region.target_groups.get_mut(arn).map(|group| &mut group.tags);
        let of_balancer = region.load_balancers.get_mut(arn).map(|lb| &mut lb.tags);
        if let Some(tags) = of_group.or(of_balancer) {
            edit(tags)?;
        }
    }
    Ok(Value::empty())
}

pub fn add(call: &Call<'_>) -> Result<Value, AwsError> {
    let wanted = tags::wanted(call, |key| {
        fault(
            "ValidationError",
            format!("The tag '{key}' does not satisfy the pattern of tags"),
        )
    })?;
    let too_many = || fault("TooManyTags", "You have exceeded the maximum number of tags");
    edit(call, |of| tags::add(of, &wanted, too_many))
}

pub fn remove(call: &Call<'_>) -> Result<Value, AwsError> {
    edit(call, |of| {
        tags::remove(call, of);
        Ok(())
    })
}
