//! What changes targets and target groups.

use super::super::Call;
use super::super::value::{Value, fault, list, map};
use super::{group, no_target_group, shown_target_group};
use crate::lab::dynamics::elasticloadbalancingv2::{self, HealthCheckChange};
use crate::lab::error::AwsError;

/// Longest health-check path (API reference, ModifyTargetGroup).
const LONGEST_PATH: usize = 1024;

pub fn register(call: &Call<'_>) -> Result<Value, AwsError> {
    let arn = call.input.required("TargetGroupArn")?;
    let (ids, port) = (targets(call)?, port(call)?);
    if let Some((_, other)) = ids.iter().find(|(_, other)| other.is_some_and(|other| other != port)) {
        let other = other.unwrap_or_default();
        let message = format!("Port {other}: the instances of the lab serve at port {port} only");
        return Err(fault("ValidationError", message));
    }
    let ids: Vec<String> = ids.into_iter().map(|(id, _)| id).collect();
    elasticloadbalancingv2::register(call.lab, call.region, arn, &ids)?;
    Ok(Value::empty())
}

pub fn deregister(call: &Call<'_>) -> Result<Value, AwsError> {
    let arn = call.input.required("TargetGroupArn")?;
    let (ids, port) = (targets(call)?, port(call)?);
    // A target is an id with its port: with another port it is another one, which is not registered.
    let ours = ids
        .into_iter()
        .filter(|(_, other)| other.is_none_or(|other| other == port));
    let ids: Vec<String> = ours.map(|(id, _)| id).collect();
    elasticloadbalancingv2::deregister(call.lab, call.region, arn, &ids)?;
    Ok(Value::empty())
}

/// Ids and ports of the request's targets.
fn targets(call: &Call<'_>) -> Result<Vec<(String, Option<u16>)>, AwsError> {
    let mut targets = Vec::new();
    for target in call.input.elements("Targets") {
        let port = target.whole("Port", 1..=65_535)?.map(|port| port as u16);
        targets.push((target.required("Id")?.to_owned(), port));
    }
    if targets.is_empty() {
        return Err(fault("ValidationError", "At least one target must be specified"));
    }
    Ok(targets)
}

fn port(call: &Call<'_>) -> Result<u16, AwsError> {
    let world = call.lab.world();
    let region = world.regions.get(call.region).ok_or_else(|| call.unknown_region())?;
    Ok(group(call, region)?.port)
}

pub fn modify(call: &Call<'_>) -> Result<Value, AwsError> {
    let input = &call.input;
    let arn = input.required("TargetGroupArn")?;
    fixed(call)?;
    let whole = |name: &str, range| {
        let bad = |error: AwsError| fault("ValidationError", error.message);
        let value = input.whole(name, range).map_err(bad)?;
        Ok::<_, AwsError>(value.map(|value| value as u32))
    };
    let change = HealthCheckChange {
        path: input.text("HealthCheckPath").map(path).transpose()?,
        interval_s: whole("HealthCheckIntervalSeconds", 5..=300)?,
        timeout_s: whole("HealthCheckTimeoutSeconds", 2..=120)?,
        healthy_threshold: whole("HealthyThresholdCount", 2..=10)?,
        unhealthy_threshold: whole("UnhealthyThresholdCount", 2..=10)?,
    };
    elasticloadbalancingv2::modify(call.lab, call.region, arn, change)?;
    let world = call.lab.world();
    let region = world.regions.get(call.region).ok_or_else(|| call.unknown_region())?;
    let group = region.target_groups.get(arn).ok_or_else(no_target_group)?;
    Ok(map([(
        "TargetGroups",
        list("member", [shown_target_group(region, group)]),
    )]))
}

/// Refuses what the lab's health checks cannot be: anything but HTTP at the targets' own port with 200 for a success.
fn fixed(call: &Call<'_>) -> Result<(), AwsError> {
    let matcher = call.input.get("Matcher").and_then(|matcher| matcher.text("HttpCode"));
    for (name, given, only) in [
        ("HealthCheckProtocol", call.input.text("HealthCheckProtocol"), "HTTP"),
        ("HealthCheckPort", call.input.text("HealthCheckPort"), "traffic-port"),
        ("HealthCheckEnabled", call.input.text("HealthCheckEnabled"), "true"),
        ("Matcher.HttpCode", matcher, "200"),
    ] {
        if given.is_some_and(|given| given != only) {
            let message = format!("{name} of the lab's target groups is {only} and cannot be changed");
            return Err(fault("InvalidConfigurationRequest", message));
        }
    }
    Ok(())
}

fn path(text: &str) -> Result<String, AwsError> {
    let sound = text.starts_with('/') && text.len() <= LONGEST_PATH && text.bytes().all(|byte| byte.is_ascii_graphic());
    if sound {
        return Ok(text.to_owned());
    }
    let message = format!(
        "Health check path '{text}' must begin with a '/' character, and can contain only printable ASCII characters, \
         without spaces"
    );
    Err(fault("ValidationError", message))
}
