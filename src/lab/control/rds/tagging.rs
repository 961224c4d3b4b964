//! Tags of RDS instances and of Aurora's clusters, by ARN.

use super::super::Call;
use super::super::tags;
use super::super::value::{Value, fault, map};
use super::{in_region, not_found, tag_list};
use crate::lab::error::AwsError;
use crate::lab::world::{Region, Tags};

fn named<'c>(call: &'c Call<'_>) -> Result<&'c str, AwsError> {
    let arn = call.input.required("ResourceName")?;
    if !arn.starts_with("arn:aws:rds:") {
        return Err(fault("InvalidParameterValue", format!("Invalid resource name: {arn}")));
    }
    Ok(arn)
}

fn unknown(arn: &str) -> AwsError {
    not_found(arn.rsplit(':').next().unwrap_or_default())
}

pub fn show(call: &Call<'_>) -> Result<Value, AwsError> {
    let arn = named(call)?;
    in_region(call, |region| {
        let instances = region.db_instances.values().map(|db| (&db.arn, &db.tags));
        let clusters = region.db_clusters.values().map(|cluster| (&cluster.arn, &cluster.tags));
        let (_, tags) = instances
            .chain(clusters)
            .find(|(of, _)| *of == arn)
            .ok_or_else(|| unknown(arn))?;
        Ok(map([("TagList", tag_list(tags))]))
    })
}

fn tags_of<'r>(region: &'r mut Region, arn: &str) -> Result<&'r mut Tags, AwsError> {
    let instances = region.db_instances.values_mut().map(|db| (&db.arn, &mut db.tags));
    let clusters = region
        .db_clusters
        .values_mut()
        .map(|cluster| (&cluster.arn, &mut cluster.tags));
    let found = instances.chain(clusters).find(|(of, _)| *of == arn);
    found.map(|(_, tags)| tags).ok_or_else(|| unknown(arn))
}

fn edit(call: &Call<'_>, edit: impl FnOnce(&mut Tags) -> Result<(), AwsError>) -> Result<Value, AwsError> {
    let arn = named(call)?;
    let mut world = call.lab.world();
    let region = world
        .regions
        .get_mut(call.region)
        .ok_or_else(|| call.unknown_region())?;
    edit(tags_of(region, arn)?)?;
    Ok(Value::empty())
}

pub fn add(call: &Call<'_>) -> Result<Value, AwsError> {
    let wanted = tags::wanted(call, |key| {
        fault(
            "InvalidParameterValue",
            format!("The tag {key} holds what no tag may hold, or is too long"),
        )
    })?;
    let too_many = || fault("InvalidParameterValue", format!("More than {} tags", tags::MOST));
    edit(call, |of| tags::add(of, &wanted, too_many))
}

pub fn remove(call: &Call<'_>) -> Result<Value, AwsError> {
    edit(call, |of| {
        tags::remove(call, of);
        Ok(())
    })
}
