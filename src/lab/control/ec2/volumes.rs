//! Volumes: each instance has one, its root; what they are, and what their status checks say.

use super::super::Call;
use super::super::value::{Value, fault, list, map, time};
use super::filter::Filters;
use super::{in_region, paged, tag_set};
use crate::lab::dynamics::ebs;
use crate::lab::error::AwsError;
use crate::lab::world::{Instance, InstanceState, Region};

/// Name of every root device.
pub const DEVICE: &str = "/dev/xvda";

/// What DescribeInstances shows of an instance's volume.
pub fn mapping(instance: &Instance) -> Value {
    let volume = map([
        ("volumeId", (&instance.volume.id).into()),
        ("status", "attached".into()),
        ("attachTime", time(instance.launched_at)),
        ("deleteOnTermination", true.into()),
    ]);
    map([("deviceName", DEVICE.into()), ("ebs", volume)])
}

pub fn describe(call: &Call<'_>) -> Result<Value, AwsError> {
    in_region(call, |region, _| {
        let (chosen, next) = paged(call, chosen(call, region)?, |one| one.volume.id.clone())?;
        Ok(map([
            ("volumeSet", list("item", chosen.into_iter().map(shown))),
            ("nextToken", next.into()),
        ]))
    })
}

pub fn describe_status(call: &Call<'_>) -> Result<Value, AwsError> {
    in_region(call, |region, _| {
        let (chosen, next) = paged(call, chosen(call, region)?, |one| one.volume.id.clone())?;
        let statuses = chosen.into_iter().map(|instance| {
            let impaired = ebs::is_impaired(region, &instance.volume.id, call.now);
            let (status, check) = if impaired {
                ("impaired", "failed")
            } else {
                ("ok", "passed")
            };
            let detail = map([("name", "io-enabled".into()), ("status", check.into())]);
            map([
                ("volumeId", (&instance.volume.id).into()),
                ("availabilityZone", (&instance.az).into()),
                (
                    "volumeStatus",
                    map([("status", status.into()), ("details", list("item", [detail]))]),
                ),
                ("actionsSet", list::<Value>("item", [])),
                ("eventsSet", list::<Value>("item", [])),
            ])
        });
        Ok(map([
            ("volumeStatusSet", list("item", statuses)),
            ("nextToken", next.into()),
        ]))
    })
}

/// The instances whose volumes the request names or filters: a terminated instance has none any more.
fn chosen<'r>(call: &Call<'_>, region: &'r Region) -> Result<Vec<&'r Instance>, AwsError> {
    let named = call.input.texts("VolumeId");
    let all = region.instances.values();
    let all: Vec<&Instance> = all.filter(|one| one.state != InstanceState::Terminated).collect();
    for id in &named {
        if !id.starts_with("vol-") {
            let message = format!("Value ({id}) for parameter volume is invalid. Expected: 'vol-...'.");
            return Err(fault("InvalidParameterValue", message));
        }
        if !all.iter().any(|one| one.volume.id == *id) {
            return Err(fault(
                "InvalidVolume.NotFound",
                format!("The volume '{id}' does not exist."),
            ));
        }
    }
    let filters = Filters::of(&call.input)?;
    let mut chosen = Vec::new();
    for instance in all {
        let asked = named.is_empty() || named.contains(&instance.volume.id.as_str());
        if asked && filters.pass(&instance.volume.tags, |name| values(instance, name))? {
            chosen.push(instance);
        }
    }
    Ok(chosen)
}

fn values(instance: &Instance, name: &str) -> Option<Vec<String>> {
    Some(vec![match name {
        "volume-id" => instance.volume.id.clone(),
        "attachment.instance-id" => instance.id.clone(),
        "availability-zone" => instance.az.clone(),
        "status" => "in-use".to_owned(),
        _ => return None,
    }])
}

fn shown(instance: &Instance) -> Value {
    let attachment = map([
        ("volumeId", (&instance.volume.id).into()),
        ("instanceId", (&instance.id).into()),
        ("device", DEVICE.into()),
        ("status", "attached".into()),
        ("attachTime", time(instance.launched_at)),
        ("deleteOnTermination", true.into()),
    ]);
    map([
        ("volumeId", (&instance.volume.id).into()),
        ("size", 8.into()),
        ("availabilityZone", (&instance.az).into()),
        ("status", "in-use".into()),
        ("createTime", time(instance.launched_at)),
        ("volumeType", "gp3".into()),
        ("iops", 3000.into()),
        ("throughput", 125.into()),
        ("encrypted", false.into()),
        ("multiAttachEnabled", false.into()),
        ("attachmentSet", list("item", [attachment])),
        ("tagSet", tag_set(&instance.volume.tags)),
    ])
}
