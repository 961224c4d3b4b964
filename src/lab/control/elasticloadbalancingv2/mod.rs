//! Elastic Load Balancing v2 over `awsQuery`: the load balancers, which are fixed, their target groups and targets.
//! What changes targets and target groups is in `changes`, what changes tags in `tagging`.

mod changes;
mod tagging;

use super::Call;
use super::page::page;
use super::value::{Value, fault, list, map, time};
use crate::lab::error::AwsError;
use crate::lab::world::{LoadBalancer, Region, TargetGroup};

/// Answers one Elastic Load Balancing operation.
pub fn answer(call: &Call<'_>) -> Result<Value, AwsError> {
    let read: fn(&Call<'_>, &Region) -> Result<Value, AwsError> = match call.action {
        "DescribeLoadBalancers" => load_balancers,
        "DescribeTargetGroups" => target_groups,
        "DescribeTargetHealth" => target_health,
        "DescribeListeners" => listeners,
        "DescribeTags" => tagging::describe,
        "DescribeTargetGroupAttributes" => target_group_attributes,
        "RegisterTargets" => return changes::register(call),
        "DeregisterTargets" => return changes::deregister(call),
        "ModifyTargetGroup" => return changes::modify(call),
        "AddTags" => return tagging::add(call),
        "RemoveTags" => return tagging::remove(call),
        other => return Err(call.unknown(other)),
    };
    let world = call.world();
    read(
        call,
        world.regions.get(call.region).ok_or_else(|| call.unknown_region())?,
    )
}

fn no_load_balancer() -> AwsError {
    fault("LoadBalancerNotFound", "One or more load balancers not found")
}

fn no_target_group() -> AwsError {
    fault("TargetGroupNotFound", "One or more target groups not found")
}

fn paged<T>(call: &Call<'_>, items: Vec<T>, key: impl Fn(&T) -> String) -> Result<(Vec<T>, Option<String>), AwsError> {
    let most = call.input.whole("PageSize", 1..=400)?.unwrap_or(400) as usize;
    page(items, key, call.input.text("Marker"), most, "ValidationError")
}

/// The items that `arns` and `names` ask for; every item when both are empty, `missing` when one is not there.
fn select<'r, T>(
    items: impl Iterator<Item = &'r T>,
    arns: &[&str],
    names: &[&str],
    arn: impl Fn(&T) -> &str,
    name: impl Fn(&T) -> &str,
    missing: fn() -> AwsError,
) -> Result<Vec<&'r T>, AwsError> {
    let all: Vec<&T> = items.collect();
    let known = arns.iter().all(|wanted| all.iter().any(|item| arn(item) == *wanted))
        && names.iter().all(|wanted| all.iter().any(|item| name(item) == *wanted));
    if !known {
        return Err(missing());
    }
    let any = arns.is_empty() && names.is_empty();
    Ok(all
        .into_iter()
        .filter(|item| any || arns.contains(&arn(item)) || names.contains(&name(item)))
        .collect())
}

fn load_balancers(call: &Call<'_>, region: &Region) -> Result<Value, AwsError> {
    let (arns, names) = (call.input.texts("LoadBalancerArns"), call.input.texts("Names"));
    let all = region.load_balancers.values();
    let chosen = select(all, &arns, &names, |lb| &lb.arn, |lb| &lb.name, no_load_balancer)?;
    let (chosen, next) = paged(call, chosen, |lb| lb.arn.clone())?;
    let shown = chosen.into_iter().map(|lb| shown_load_balancer(region, lb));
    Ok(map([
        ("LoadBalancers", list("member", shown)),
        ("NextMarker", next.into()),
    ]))
}

fn shown_load_balancer(region: &Region, lb: &LoadBalancer) -> Value {
    let zones = lb.nodes.iter().map(|node| {
        map([
            ("ZoneName", (&node.az).into()),
            ("SubnetId", (&node.subnet_id).into()),
            ("LoadBalancerAddresses", list::<Value>("member", [])),
        ])
    });
    map([
        ("LoadBalancerArn", (&lb.arn).into()),
        ("DNSName", (&lb.dns_name).into()),
        ("CanonicalHostedZoneId", (&lb.hosted_zone_id).into()),
        ("CreatedTime", time(lb.created_at)),
        ("LoadBalancerName", (&lb.name).into()),
        ("Scheme", "internet-facing".into()),
        ("VpcId", (&region.vpc_id).into()),
        ("State", map([("Code", "active".into())])),
        ("Type", "application".into()),
        ("AvailabilityZones", list("member", zones)),
        ("SecurityGroups", list::<Value>("member", [])),
        ("IpAddressType", "ipv4".into()),
    ])
}

fn target_groups(call: &Call<'_>, region: &Region) -> Result<Value, AwsError> {
    let (arns, names) = (call.input.texts("TargetGroupArns"), call.input.texts("Names"));
    let all = region.target_groups.values();
    let mut chosen = select(
        all,
        &arns,
        &names,
        |group| &group.arn,
        |group| &group.name,
        no_target_group,
    )?;
    if let Some(lb) = call.input.text("LoadBalancerArn") {
        if !region.load_balancers.contains_key(lb) {
            return Err(no_load_balancer());
        }
        chosen.retain(|group| group.load_balancer_arns.iter().any(|arn| arn == lb));
    }
    let (chosen, next) = paged(call, chosen, |group| group.arn.clone())?;
    let shown = chosen.into_iter().map(|group| shown_target_group(region, group));
    Ok(map([
        ("TargetGroups", list("member", shown)),
        ("NextMarker", next.into()),
    ]))
}

fn shown_target_group(region: &Region, group: &TargetGroup) -> Value {
    map([
        ("TargetGroupArn", (&group.arn).into()),
        ("TargetGroupName", (&group.name).into()),
        ("Protocol", "HTTP".into()),
        ("ProtocolVersion", "HTTP1".into()),
        ("Port", group.port.into()),
        ("VpcId", (&region.vpc_id).into()),
        ("HealthCheckProtocol", "HTTP".into()),
        ("HealthCheckPort", "traffic-port".into()),
        ("HealthCheckEnabled", true.into()),
        ("HealthCheckIntervalSeconds", group.health_check_interval_s.into()),
        ("HealthCheckTimeoutSeconds", group.health_check_timeout_s.into()),
        ("HealthyThresholdCount", group.healthy_threshold.into()),
        ("UnhealthyThresholdCount", group.unhealthy_threshold.into()),
        ("HealthCheckPath", (&group.health_check_path).into()),
        ("Matcher", map([("HttpCode", "200".into())])),
        ("LoadBalancerArns", list("member", &group.load_balancer_arns)),
        ("TargetType", "instance".into()),
        ("IpAddressType", "ipv4".into()),
    ])
}

/// The target group whose ARN the request gives.
fn group<'r>(call: &Call<'_>, region: &'r Region) -> Result<&'r TargetGroup, AwsError> {
    region
        .target_groups
        .get(call.input.required("TargetGroupArn")?)
        .ok_or_else(no_target_group)
}

fn target_health(call: &Call<'_>, region: &Region) -> Result<Value, AwsError> {
    let group = group(call, region)?;
    let shown = |id: &str, port: u16, state: &str, reason: Option<&str>, description: Option<&str>| {
        let health = map([
            ("State", state.into()),
            ("Reason", reason.into()),
            ("Description", description.into()),
        ]);
        map([
            ("Target", map([("Id", id.into()), ("Port", port.into())])),
            ("HealthCheckPort", port.to_string().into()),
            ("TargetHealth", health),
        ])
    };
    let one = |id: &str| match group.targets.get(id) {
        Some(target) => shown(
            id,
            group.port,
            &target.state,
            target.reason.as_deref(),
            target.description.as_deref(),
        ),
        None => shown(
            id,
            group.port,
            "unused",
            Some("Target.NotRegistered"),
            Some("Target is not registered to the target group"),
        ),
    };
    let mut wanted = Vec::new();
    for target in call.input.elements("Targets") {
        let id = target.required("Id")?;
        if !region.instances.contains_key(id) {
            return Err(fault(
                "InvalidTarget",
                format!("The following targets are not valid: '{id}'"),
            ));
        }
        wanted.push(one(id));
    }
    if wanted.is_empty() {
        wanted = group.targets.keys().map(|id| one(id)).collect();
    }
    Ok(map([("TargetHealthDescriptions", Value::List("member", wanted))]))
}

fn listener_arn(lb: &LoadBalancer) -> String {
    let id = lb.arn.rsplit('/').next().unwrap_or_default();
    format!("{}/{id}", lb.arn.replacen(":loadbalancer/", ":listener/", 1))
}

fn listeners(call: &Call<'_>, region: &Region) -> Result<Value, AwsError> {
    let arns = call.input.texts("ListenerArns");
    let mut chosen: Vec<&LoadBalancer> = region.load_balancers.values().collect();
    match call.input.text("LoadBalancerArn") {
        Some(arn) => chosen.retain(|lb| lb.arn == arn),
        None if arns.is_empty() => {
            return Err(fault(
                "ValidationError",
                "You must specify either listener ARNs or a load balancer ARN",
            ));
        }
        None => {}
    }
    if chosen.is_empty() {
        return Err(no_load_balancer());
    }
    if arns
        .iter()
        .any(|arn| !chosen.iter().any(|lb| listener_arn(lb) == **arn))
    {
        return Err(fault("ListenerNotFound", "One or more listeners not found"));
    }
    chosen.retain(|lb| arns.is_empty() || arns.contains(&listener_arn(lb).as_str()));
    let (chosen, next) = paged(call, chosen, |lb| lb.arn.clone())?;
    let shown = chosen.into_iter().map(|lb| {
        let action = map([
            ("Type", "forward".into()),
            ("TargetGroupArn", (&lb.target_group_arn).into()),
        ]);
        map([
            ("ListenerArn", listener_arn(lb).into()),
            ("LoadBalancerArn", (&lb.arn).into()),
            ("Port", lb.port.into()),
            ("Protocol", "HTTP".into()),
            ("DefaultActions", list("member", [action])),
        ])
    });
    Ok(map([("Listeners", list("member", shown)), ("NextMarker", next.into())]))
}

fn target_group_attributes(call: &Call<'_>, region: &Region) -> Result<Value, AwsError> {
    let group = group(call, region)?;
    let attributes = [
        (
            "deregistration_delay.timeout_seconds",
            group.deregistration_delay_s.to_string(),
        ),
        ("stickiness.enabled", "false".to_owned()),
        ("load_balancing.algorithm.type", "round_robin".to_owned()),
        ("slow_start.duration_seconds", "0".to_owned()),
        (
            "load_balancing.cross_zone.enabled",
            "use_load_balancer_configuration".to_owned(),
        ),
    ];
    let shown = attributes.map(|(key, value)| map([("Key", key.into()), ("Value", value.into())]));
    Ok(map([("Attributes", list("member", shown))]))
}
