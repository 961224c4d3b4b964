//! Instances: what they are, and the calls that end, stop, start and reboot them.

use std::collections::BTreeSet;

use super::super::Call;
use super::super::value::{Value, fault, list, map, time};
use super::filter::Filters;
use super::{in_region, paged, tag_set, volumes};
use crate::lab::dynamics::ec2::{self, StateChange};
use crate::lab::error::AwsError;
use crate::lab::world::{Instance, InstanceState, Region};

/// Every instance is of this type; the lab's capacity comes from its configuration, not from the type.
const INSTANCE_TYPE: &str = "m7i.large";
const IMAGE: &str = "ami-0123456789abcdef0";

pub fn describe(call: &Call<'_>) -> Result<Value, AwsError> {
    in_region(call, |region, account| {
        let (chosen, next) = paged(call, chosen(call, region)?, |instance| instance.id.clone())?;
        let reservations = chosen.into_iter().map(|instance| {
            map([
                ("reservationId", instance.id.replacen("i-", "r-", 1).into()),
                ("ownerId", account.into()),
                ("groupSet", list::<Value>("item", [])),
                ("instancesSet", list("item", [shown(region, instance)])),
            ])
        });
        Ok(map([
            ("reservationSet", list("item", reservations)),
            ("nextToken", next.into()),
        ]))
    })
}

/// The instances that the request names or filters.
fn chosen<'r>(call: &Call<'_>, region: &'r Region) -> Result<Vec<&'r Instance>, AwsError> {
    let named = call.input.texts("InstanceId");
    let filters = Filters::of(&call.input)?;
    let candidates: Vec<&Instance> = match named.is_empty() {
        true => region.instances.values().collect(),
        false => find(region, &named)?,
    };
    let mut chosen = Vec::new();
    for instance in candidates {
        if filters.pass(&instance.tags, |name| filter_values(region, instance, name))? {
            chosen.push(instance);
        }
    }
    Ok(chosen)
}

fn filter_values(region: &Region, instance: &Instance, name: &str) -> Option<Vec<String>> {
    Some(vec![match name {
        "instance-id" => instance.id.clone(),
        "instance-state-name" => state_name(instance.state).to_owned(),
        "instance-state-code" => state_code(instance.state).to_string(),
        "subnet-id" | "network-interface.subnet-id" => instance.subnet_id.clone(),
        "vpc-id" => region.vpc_id.clone(),
        "availability-zone" => instance.az.clone(),
        "private-ip-address" => instance.address.to_string(),
        "instance-type" => INSTANCE_TYPE.to_owned(),
        "instance-lifecycle" if instance.spot => "spot".to_owned(),
        "instance-lifecycle" => return Some(Vec::new()),
        "block-device-mapping.volume-id" => instance.volume.id.clone(),
        "image-id" => IMAGE.to_owned(),
        _ => return None,
    }])
}

/// The instances of those ids, or EC2's error for the ones that are malformed or unknown.
fn find<'r>(region: &'r Region, ids: &[&str]) -> Result<Vec<&'r Instance>, AwsError> {
    for id in ids {
        let well_formed = id
            .strip_prefix("i-")
            .is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if !well_formed {
            return Err(fault("InvalidInstanceID.Malformed", format!("Invalid id: \"{id}\"")));
        }
    }
    let unknown: Vec<&str> = ids
        .iter()
        .copied()
        .filter(|id| !region.instances.contains_key(*id))
        .collect();
    match unknown.as_slice() {
        [] => Ok(ids.iter().filter_map(|id| region.instances.get(*id)).collect()),
        [one] => Err(fault(
            "InvalidInstanceID.NotFound",
            format!("The instance ID '{one}' does not exist"),
        )),
        many => {
            let message = format!("The instance IDs '{}' do not exist", many.join(", "));
            Err(fault("InvalidInstanceID.NotFound", message))
        }
    }
}

fn shown(region: &Region, instance: &Instance) -> Value {
    // A terminated instance has left its network, and AWS no longer shows one.
    let networked = instance.state != InstanceState::Terminated;
    let address = instance.address.to_string();
    let private_dns = format!("ip-{}.{}.compute.internal", address.replace('.', "-"), region.name);
    let reason = instance.state_reason.as_str();
    let ended = !matches!(instance.state, InstanceState::Pending | InstanceState::Running) && !reason.is_empty();
    map([
        ("instanceId", (&instance.id).into()),
        ("imageId", IMAGE.into()),
        ("instanceState", state(instance.state)),
        ("privateDnsName", if networked { private_dns.into() } else { "".into() }),
        ("dnsName", "".into()),
        ("reason", reason.into()),
        ("amiLaunchIndex", 0.into()),
        ("productCodes", list::<Value>("item", [])),
        ("instanceType", INSTANCE_TYPE.into()),
        ("instanceLifecycle", instance.spot.then_some("spot").into()),
        ("launchTime", time(instance.launched_at)),
        (
            "placement",
            map([
                ("availabilityZone", (&instance.az).into()),
                ("tenancy", "default".into()),
            ]),
        ),
        ("monitoring", map([("state", "enabled".into())])),
        ("subnetId", networked.then_some(&instance.subnet_id).into()),
        ("vpcId", networked.then_some(&region.vpc_id).into()),
        ("privateIpAddress", networked.then_some(address).into()),
        (
            "stateReason",
            if ended {
                let (code, says) = if reason.starts_with(ec2::SERVICE) {
                    ("Server.SpotInstanceTermination", "Spot instance termination")
                } else {
                    ("Client.UserInitiatedShutdown", "User initiated shutdown")
                };
                map([("code", code.into()), ("message", format!("{code}: {says}").into())])
            } else {
                Value::Null
            },
        ),
        ("architecture", "x86_64".into()),
        ("rootDeviceType", "ebs".into()),
        ("rootDeviceName", volumes::DEVICE.into()),
        (
            "blockDeviceMapping",
            list("item", networked.then(|| volumes::mapping(instance))),
        ),
        ("hypervisor", "xen".into()),
        ("tagSet", tag_set(&instance.tags)),
    ])
}

pub fn describe_status(call: &Call<'_>) -> Result<Value, AwsError> {
    let all = call.input.flag("IncludeAllInstances")?.unwrap_or(false);
    in_region(call, |region, _| {
        let mut instances = chosen(call, region)?;
        // AWS answers only running instances unless asked for all.
        instances.retain(|instance| all || instance.state == InstanceState::Running);
        let (instances, next) = paged(call, instances, |instance| instance.id.clone())?;
        let statuses = instances.into_iter().map(|instance| {
            let (status, check) = match (instance.state, instance.ready_at) {
                (InstanceState::Running, Some(ready)) if ready <= call.now => ("ok", "passed"),
                (InstanceState::Running, _) => ("initializing", "initializing"),
                _ => ("not-applicable", "not-applicable"),
            };
            let summary = || {
                let detail = map([("name", "reachability".into()), ("status", check.into())]);
                let shown = if status == "not-applicable" {
                    Value::Null
                } else {
                    list("item", [detail])
                };
                map([("status", status.into()), ("details", shown)])
            };
            map([
                ("instanceId", (&instance.id).into()),
                ("availabilityZone", (&instance.az).into()),
                ("instanceState", state(instance.state)),
                ("systemStatus", summary()),
                ("instanceStatus", summary()),
            ])
        });
        Ok(map([
            ("instanceStatusSet", list("item", statuses)),
            ("nextToken", next.into()),
        ]))
    })
}

pub fn terminate(call: &Call<'_>) -> Result<Value, AwsError> {
    let ids = named(call)?;
    if !call.lab.config.ec2.terminate_has_effect {
        return changed(Vec::new());
    }
    changed(ec2::terminate(call.lab, call.region, &ids)?)
}

pub fn stop(call: &Call<'_>) -> Result<Value, AwsError> {
    let ids = named(call)?;
    changed(ec2::stop(call.lab, call.region, &ids)?)
}

pub fn start(call: &Call<'_>) -> Result<Value, AwsError> {
    let ids = named(call)?;
    changed(ec2::start(call.lab, call.region, &ids)?)
}

pub fn reboot(call: &Call<'_>) -> Result<Value, AwsError> {
    ec2::reboot(call.lab, call.region, &named(call)?)?;
    Ok(map([("return", true.into())]))
}

/// The ids of the request, each once; an error names every unknown one, as EC2's does.
fn named(call: &Call<'_>) -> Result<Vec<String>, AwsError> {
    let ids = call.input.texts("InstanceId");
    if ids.is_empty() {
        return Err(fault(
            "MissingParameter",
            "The request must contain the parameter InstanceId",
        ));
    }
    let ids: BTreeSet<&str> = ids.into_iter().collect();
    let ids: Vec<&str> = ids.into_iter().collect();
    in_region(call, |region, _| find(region, &ids).map(|_| ()))?;
    Ok(ids.into_iter().map(str::to_owned).collect())
}

fn changed(changes: Vec<StateChange>) -> Result<Value, AwsError> {
    let shown = changes.iter().map(|change| {
        map([
            ("instanceId", (&change.instance_id).into()),
            ("currentState", state(change.current)),
            ("previousState", state(change.previous)),
        ])
    });
    Ok(map([("instancesSet", list("item", shown))]))
}

fn state(state: InstanceState) -> Value {
    map([("code", state_code(state).into()), ("name", state_name(state).into())])
}

fn state_code(state: InstanceState) -> i32 {
    match state {
        InstanceState::Pending => 0,
        InstanceState::Running => 16,
        InstanceState::ShuttingDown => 32,
        InstanceState::Terminated => 48,
        InstanceState::Stopping => 64,
        InstanceState::Stopped => 80,
    }
}

fn state_name(state: InstanceState) -> &'static str {
    match state {
        InstanceState::Pending => "pending",
        InstanceState::Running => "running",
        InstanceState::ShuttingDown => "shutting-down",
        InstanceState::Terminated => "terminated",
        InstanceState::Stopping => "stopping",
        InstanceState::Stopped => "stopped",
    }
}
