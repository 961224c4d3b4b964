//! EC2 over `ec2Query`: instances and their volumes, subnets, network ACLs, tags, Regions and AZs.

mod filter;
mod instances;
mod interfaces;
mod network;
mod regions;
mod tags;
mod volumes;

use super::Call;
use super::page::page;
use super::value::{Value, invalid, list, map};
use crate::lab::error::AwsError;
use crate::lab::world::{Region, Tags};

/// Answers one EC2 operation.
pub fn answer(call: &Call<'_>) -> Result<Value, AwsError> {
    let known: fn(&Call<'_>) -> Result<Value, AwsError> = match call.action {
        "DescribeInstances" => instances::describe,
        "DescribeInstanceStatus" => instances::describe_status,
        "TerminateInstances" => instances::terminate,
        "StopInstances" => instances::stop,
        "StartInstances" => instances::start,
        "RebootInstances" => instances::reboot,
        "DescribeVolumes" => volumes::describe,
        "DescribeVolumeStatus" => volumes::describe_status,
        "DescribeSubnets" => network::describe_subnets,
        "DescribeVpcs" => network::describe_vpcs,
        "DescribeNetworkInterfaces" => interfaces::describe,
        "DescribeNetworkAcls" => network::describe_acls,
        "CreateNetworkAcl" => network::create_acl,
        "CreateNetworkAclEntry" => network::create_entry,
        "ReplaceNetworkAclEntry" => network::replace_entry,
        "DeleteNetworkAclEntry" => network::delete_entry,
        "ReplaceNetworkAclAssociation" => network::replace_association,
        "DeleteNetworkAcl" => network::delete_acl,
        "CreateTags" => tags::create,
        "DeleteTags" => tags::delete,
        "DescribeTags" => tags::describe,
        "DescribeAvailabilityZones" => regions::describe_zones,
        "DescribeRegions" => regions::describe_regions,
        other => return Err(call.unknown(other)),
    };
    if call.input.flag("DryRun")? == Some(true) {
        let message = "Request would have succeeded, but DryRun flag is set.";
        return Err(AwsError::new("DryRunOperation", message, 412));
    }
    known(call)
}

/// Runs `read` on the Region the request was signed for.
fn in_region<T>(call: &Call<'_>, read: impl FnOnce(&Region, &str) -> Result<T, AwsError>) -> Result<T, AwsError> {
    let world = call.world();
    let region = world.regions.get(call.region).ok_or_else(|| call.unknown_region())?;
    read(region, &world.account)
}

/// The page of `items` that the request asks for, and its `nextToken`.
fn paged<T>(call: &Call<'_>, items: Vec<T>, key: impl Fn(&T) -> String) -> Result<(Vec<T>, Option<String>), AwsError> {
    // EC2 accepts pages from 5 to 1000 items and answers everything when none is asked for.
    let most = call
        .input
        .whole("MaxResults", 5..=1000)?
        .map_or(usize::MAX, |most| most as usize);
    page(items, key, call.input.text("NextToken"), most, "InvalidNextToken")
}

fn tag_set(tags: &Tags) -> Value {
    list(
        "item",
        tags.iter()
            .map(|(key, value)| map([("key", key.into()), ("value", value.into())])),
    )
}

/// Tags of the first `TagSpecification` for `resource_type`.
fn specified_tags(call: &Call<'_>, resource_type: &str) -> Result<Tags, AwsError> {
    let mut tags = Tags::new();
    for specification in call.input.elements("TagSpecification") {
        if specification.text("ResourceType") != Some(resource_type) {
            return Err(invalid(
                "TagSpecification",
                "names a resource type that this operation does not create",
            ));
        }
        for tag in specification.elements("Tag") {
            tags.insert(
                tag.required("Key")?.to_owned(),
                tag.text("Value").unwrap_or_default().to_owned(),
            );
        }
    }
    if tags.len() > tags::MOST_TAGS {
        return Err(tags::too_many());
    }
    Ok(tags)
}
