//! EC2 Auto Scaling over `awsQuery`. It sets what a caller may set; the group's own loop acts on it.

use super::Call;
use super::page::page;
use super::value::{Value, fault, list, map, time};
use crate::lab::dynamics::autoscaling;
use crate::lab::error::AwsError;
use crate::lab::world::{AutoScalingGroup, ScalingActivity};

/// Answers one Auto Scaling operation.
pub fn answer(call: &Call<'_>) -> Result<Value, AwsError> {
    match call.action {
        "DescribeAutoScalingGroups" => describe_groups(call),
        "DescribeAutoScalingInstances" => describe_instances(call),
        "DescribeScalingActivities" => describe_activities(call),
        "DescribePolicies" => describe_policies(call),
        "SuspendProcesses" => suspend(call),
        "ResumeProcesses" => resume(call),
        "SetDesiredCapacity" => set_desired(call),
        "SetInstanceHealth" => set_health(call),
        "TerminateInstanceInAutoScalingGroup" => terminate(call),
        "UpdateAutoScalingGroup" => update(call),
        "CreateOrUpdateTags" => create_tags(call),
        "DeleteTags" => delete_tags(call),
        other => Err(call.unknown(other)),
    }
}

fn validation(message: impl Into<String>) -> AwsError {
    fault("ValidationError", message)
}

fn no_group(name: &str) -> AwsError {
    validation(format!(
        "AutoScalingGroup name not found - AutoScalingGroup {name} not found"
    ))
}

/// The page that the request asks for.
fn paged<T>(call: &Call<'_>, items: Vec<T>, key: impl Fn(&T) -> String) -> Result<(Vec<T>, Option<String>), AwsError> {
    let most = call.input.whole("MaxRecords", 1..=100)?.unwrap_or(50) as usize;
    page(items, key, call.input.text("NextToken"), most, "InvalidNextToken")
}

fn describe_groups(call: &Call<'_>) -> Result<Value, AwsError> {
    let names = call.input.texts("AutoScalingGroupNames");
    let filters = call.input.elements("Filters");
    let world = call.world();
    let region = world.regions.get(call.region).ok_or_else(|| call.unknown_region())?;
    let mut groups = Vec::new();
    for group in region
        .groups
        .values()
        .filter(|group| names.is_empty() || names.contains(&group.name.as_str()))
    {
        let mut pass = true;
        for filter in &filters {
            pass &= passes(group, filter)?;
        }
        if pass {
            groups.push(group);
        }
    }
    let (groups, next) = paged(call, groups, |group| group.name.clone())?;
    Ok(map([
        ("AutoScalingGroups", list("member", groups.into_iter().map(shown))),
        ("NextToken", next.into()),
    ]))
}

fn passes(group: &AutoScalingGroup, filter: &Value) -> Result<bool, AwsError> {
    let name = filter.required("Name")?;
    let values = filter.texts("Values");
    Ok(match name.strip_prefix("tag:") {
        Some(key) => group
            .tags
            .get(key)
            .is_some_and(|value| values.contains(&value.as_str())),
        None if name == "tag-key" => group.tags.keys().any(|key| values.contains(&key.as_str())),
        None if name == "tag-value" => group.tags.values().any(|value| values.contains(&value.as_str())),
        None => return Err(validation(format!("Filter type {name} is not correct."))),
    })
}

fn shown(group: &AutoScalingGroup) -> Value {
    // A group of On-Demand Instances alone is made without a mixed instances policy.
    let launched_from = if group.on_demand_percentage < 100 {
        ("MixedInstancesPolicy", mixed_instances(group))
    } else {
        ("LaunchTemplate", launch_template(group))
    };
    let members = group.members.iter().map(|member| {
        map([
            ("InstanceId", (&member.instance_id).into()),
            ("InstanceType", "m7i.large".into()),
            ("AvailabilityZone", (&member.az).into()),
            ("LifecycleState", (&member.lifecycle_state).into()),
            ("HealthStatus", (&member.health_status).into()),
            ("LaunchTemplate", launch_template(group)),
            ("ProtectedFromScaleIn", false.into()),
        ])
    });
    let suspended = group
        .suspended
        .iter()
        .map(|(process, reason)| map([("ProcessName", process.into()), ("SuspensionReason", reason.into())]));
    let tags = group.tags.iter().map(|(key, value)| {
        map([
            ("ResourceId", (&group.name).into()),
            ("ResourceType", "auto-scaling-group".into()),
            ("Key", key.into()),
            ("Value", value.into()),
            ("PropagateAtLaunch", (!group.own_tags.contains(key)).into()),
        ])
    });
    map([
        ("AutoScalingGroupName", (&group.name).into()),
        ("AutoScalingGroupARN", (&group.arn).into()),
        launched_from,
        ("MinSize", group.min.into()),
        ("MaxSize", group.max.into()),
        ("DesiredCapacity", group.desired.into()),
        ("DefaultCooldown", 300.into()),
        ("AvailabilityZones", list("member", &group.azs)),
        ("LoadBalancerNames", list::<Value>("member", [])),
        ("TargetGroupARNs", list("member", &group.target_group_arns)),
        ("HealthCheckType", (&group.health_check_type).into()),
        ("HealthCheckGracePeriod", group.health_check_grace_s.into()),
        ("Instances", list("member", members)),
        ("CreatedTime", time(group.created_at)),
        ("SuspendedProcesses", list("member", suspended)),
        ("VPCZoneIdentifier", group.subnet_ids.join(",").into()),
        ("EnabledMetrics", list::<Value>("member", [])),
        ("Tags", list("member", tags)),
        ("TerminationPolicies", list("member", ["Default"])),
        ("NewInstancesProtectedFromScaleIn", false.into()),
    ])
}

fn mixed_instances(group: &AutoScalingGroup) -> Value {
    let distribution = map([
        ("OnDemandAllocationStrategy", "lowest-price".into()),
        ("OnDemandBaseCapacity", 0.into()),
        ("OnDemandPercentageAboveBaseCapacity", group.on_demand_percentage.into()),
        ("SpotAllocationStrategy", "price-capacity-optimized".into()),
    ]);
    map([
        (
            "LaunchTemplate",
            map([("LaunchTemplateSpecification", launch_template(group))]),
        ),
        ("InstancesDistribution", distribution),
    ])
}

fn launch_template(group: &AutoScalingGroup) -> Value {
    map([
        ("LaunchTemplateName", (&group.name).into()),
        ("Version", "$Default".into()),
    ])
}

fn describe_instances(call: &Call<'_>) -> Result<Value, AwsError> {
    let ids = call.input.texts("InstanceIds");
    let world = call.world();
    let region = world.regions.get(call.region).ok_or_else(|| call.unknown_region())?;
    let members = region
        .groups
        .values()
        .flat_map(|group| group.members.iter().map(move |member| (group, member)));
    let chosen = members
        .filter(|(_, member)| ids.is_empty() || ids.contains(&member.instance_id.as_str()))
        .collect();
    let (chosen, next) = paged(call, chosen, |(_, member)| member.instance_id.clone())?;
    let shown = chosen.into_iter().map(|(group, member)| {
        map([
            ("InstanceId", (&member.instance_id).into()),
            ("InstanceType", "m7i.large".into()),
            ("AutoScalingGroupName", (&group.name).into()),
            ("AvailabilityZone", (&member.az).into()),
            ("LifecycleState", (&member.lifecycle_state).into()),
            // Unlike DescribeAutoScalingGroups, this operation answers the health in capitals.
            ("HealthStatus", member.health_status.to_uppercase().into()),
            ("LaunchTemplate", launch_template(group)),
            ("ProtectedFromScaleIn", false.into()),
        ])
    });
    Ok(map([
        ("AutoScalingInstances", list("member", shown)),
        ("NextToken", next.into()),
    ]))
}

fn describe_activities(call: &Call<'_>) -> Result<Value, AwsError> {
    let ids = call.input.texts("ActivityIds");
    let wanted = call.input.text("AutoScalingGroupName");
    let world = call.world();
    let region = world.regions.get(call.region).ok_or_else(|| call.unknown_region())?;
    if let Some(name) = wanted.filter(|name| !region.groups.contains_key(*name)) {
        return Err(no_group(name));
    }
    let mut found: Vec<(&AutoScalingGroup, &ScalingActivity)> = region
        .groups
        .values()
        .filter(|group| wanted.is_none_or(|name| name == group.name))
        .flat_map(|group| group.activities.iter().map(move |activity| (group, activity)))
        .filter(|(_, activity)| ids.is_empty() || ids.contains(&activity.id.as_str()))
        .collect();
    found.sort_by(|one, other| other.1.start_time.total_cmp(&one.1.start_time));
    let most = call.input.whole("MaxRecords", 1..=100)?.unwrap_or(100) as usize;
    let token = call.input.text("NextToken");
    let (found, next) = page(
        found,
        |(_, activity)| activity.id.clone(),
        token,
        most,
        "InvalidNextToken",
    )?;
    let shown = found
        .into_iter()
        .map(|(group, activity)| shown_activity(group, activity));
    Ok(map([("Activities", list("member", shown)), ("NextToken", next.into())]))
}

fn shown_activity(group: &AutoScalingGroup, activity: &ScalingActivity) -> Value {
    map([
        ("ActivityId", (&activity.id).into()),
        ("AutoScalingGroupName", (&group.name).into()),
        ("Description", (&activity.description).into()),
        ("Cause", (&activity.cause).into()),
        ("StartTime", time(activity.start_time)),
        ("EndTime", time(activity.end_time)),
        ("StatusCode", (&activity.status_code).into()),
        ("StatusMessage", activity.status_message.as_ref().into()),
        ("Progress", activity.progress.into()),
        ("Details", (&activity.details).into()),
        ("AutoScalingGroupARN", (&group.arn).into()),
    ])
}

fn describe_policies(call: &Call<'_>) -> Result<Value, AwsError> {
    let wanted = call.input.text("AutoScalingGroupName");
    let names = call.input.texts("PolicyNames");
    let world = call.world();
    let region = world.regions.get(call.region).ok_or_else(|| call.unknown_region())?;
    if let Some(name) = wanted.filter(|name| !region.groups.contains_key(*name)) {
        return Err(no_group(name));
    }
    let groups = region
        .groups
        .values()
        .filter(|group| wanted.is_none_or(|name| name == group.name));
    let matching = |group: &&AutoScalingGroup| {
        names.is_empty() || names.contains(&group.policy.name.as_str()) || names.contains(&group.policy.arn.as_str())
    };
    let (groups, next) = paged(call, groups.filter(matching).collect(), |group| group.name.clone())?;
    let policies = groups.into_iter().map(|group| {
        let policy = &group.policy;
        let alarms = policy.alarm_names.iter().map(|name| {
            let arn = region.alarms.get(name).map(|alarm| &alarm.arn);
            map([("AlarmName", name.into()), ("AlarmARN", arn.into())])
        });
        let metric = map([("PredefinedMetricType", "ASGAverageCPUUtilization".into())]);
        map([
            ("AutoScalingGroupName", (&group.name).into()),
            ("PolicyName", (&policy.name).into()),
            ("PolicyARN", (&policy.arn).into()),
            ("PolicyType", "TargetTrackingScaling".into()),
            ("StepAdjustments", list::<Value>("member", [])),
            ("Alarms", list("member", alarms)),
            (
                "TargetTrackingConfiguration",
                map([
                    ("PredefinedMetricSpecification", metric),
                    ("TargetValue", policy.target_value.into()),
                    ("DisableScaleIn", false.into()),
                ]),
            ),
            ("Enabled", true.into()),
        ])
    });
    Ok(map([
        ("ScalingPolicies", list("member", policies)),
        ("NextToken", next.into()),
    ]))
}

fn processes(call: &Call<'_>) -> Vec<String> {
    call.input
        .texts("ScalingProcesses")
        .into_iter()
        .map(str::to_owned)
        .collect()
}

fn suspend(call: &Call<'_>) -> Result<Value, AwsError> {
    let name = call.input.required("AutoScalingGroupName")?;
    autoscaling::suspend(call.lab, call.region, name, &processes(call))?;
    Ok(Value::Null)
}

fn resume(call: &Call<'_>) -> Result<Value, AwsError> {
    let name = call.input.required("AutoScalingGroupName")?;
    autoscaling::resume(call.lab, call.region, name, &processes(call))?;
    Ok(Value::Null)
}

/// A group's size in the request.
fn size(call: &Call<'_>, name: &str) -> Result<Option<u32>, AwsError> {
    let size = call
        .input
        .whole(name, 0..=10_000)
        .map_err(|error| validation(error.message))?;
    Ok(size.map(|size| size as u32))
}

fn set_desired(call: &Call<'_>) -> Result<Value, AwsError> {
    let name = call.input.required("AutoScalingGroupName")?;
    let Some(wanted) = size(call, "DesiredCapacity")? else {
        return Err(validation("DesiredCapacity is required"));
    };
    autoscaling::set_desired(call.lab, call.region, name, wanted)?;
    Ok(Value::Null)
}

fn set_health(call: &Call<'_>) -> Result<Value, AwsError> {
    let id = call.input.required("InstanceId")?;
    let status = call.input.required("HealthStatus")?;
    let respect_grace = call.input.flag("ShouldRespectGracePeriod")?.unwrap_or(true);
    autoscaling::set_instance_health(call.lab, call.region, id, status, respect_grace)?;
    Ok(Value::Null)
}

fn terminate(call: &Call<'_>) -> Result<Value, AwsError> {
    let id = call.input.required("InstanceId")?;
    let Some(decrement) = call.input.flag("ShouldDecrementDesiredCapacity")? else {
        return Err(validation("ShouldDecrementDesiredCapacity is required"));
    };
    let group = {
        let world = call.world();
        let region = world.regions.get(call.region).ok_or_else(|| call.unknown_region())?;
        region
            .groups
            .values()
            .find(|group| group.members.iter().any(|member| member.instance_id == id))
            .cloned()
    };
    let activity = autoscaling::terminate_instance(call.lab, call.region, id, decrement)?;
    let shown = group.map(|group| shown_activity(&group, &activity));
    Ok(map([("Activity", shown.into())]))
}

fn update(call: &Call<'_>) -> Result<Value, AwsError> {
    let name = call.input.required("AutoScalingGroupName")?;
    let sizes = (
        size(call, "MinSize")?,
        size(call, "MaxSize")?,
        size(call, "DesiredCapacity")?,
    );
    let grace = call.input.whole("HealthCheckGracePeriod", 0..=86_400)?;
    let health_check_type = match call.input.text("HealthCheckType") {
        None => None,
        Some(kind @ ("EC2" | "ELB")) => Some(kind.to_owned()),
        Some(other) => return Err(validation(format!("Invalid Health Check Type: {other}"))),
    };
    autoscaling::update(call.lab, call.region, name, sizes.0, sizes.1, sizes.2)?;
    let mut world = call.lab.world();
    let region = world
        .regions
        .get_mut(call.region)
        .ok_or_else(|| call.unknown_region())?;
    let group = region.groups.get_mut(name).ok_or_else(|| no_group(name))?;
    if let Some(kind) = health_check_type {
        group.health_check_type = kind;
    }
    if let Some(grace) = grace {
        group.health_check_grace_s = grace as u32;
    }
    Ok(Value::Null)
}

/// Most tags of a group (Auto Scaling User Guide, tags: 50).
const MOST_TAGS: usize = 50;

/// Runs `edit` on the group of each tag of the request; on none when one names a group that is not there.
fn tag(
    call: &Call<'_>,
    edit: impl Fn(&mut AutoScalingGroup, &Value) -> Result<(), AwsError>,
) -> Result<Value, AwsError> {
    let tags = call.input.elements("Tags");
    let mut world = call.lab.world();
    let region = world
        .regions
        .get_mut(call.region)
        .ok_or_else(|| call.unknown_region())?;
    for tag in &tags {
        let name = tag.required("ResourceId")?;
        if tag.required("ResourceType")? != "auto-scaling-group" || !region.groups.contains_key(name) {
            return Err(no_group(name));
        }
    }
    for tag in &tags {
        if let Some(group) = region.groups.get_mut(tag.required("ResourceId")?) {
            edit(group, tag)?;
        }
    }
    Ok(Value::Null)
}

fn create_tags(call: &Call<'_>) -> Result<Value, AwsError> {
    tag(call, |group, tag| {
        let key = tag.required("Key")?.to_owned();
        if group.tags.len() == MOST_TAGS && !group.tags.contains_key(&key) {
            return Err(fault(
                "LimitExceeded",
                "The maximum number of tags for a group has been reached",
            ));
        }
        if tag.flag("PropagateAtLaunch")?.unwrap_or(true) {
            group.own_tags.remove(&key);
        } else {
            group.own_tags.insert(key.clone());
        }
        group.tags.insert(key, tag.text("Value").unwrap_or_default().to_owned());
        Ok(())
    })
}

fn delete_tags(call: &Call<'_>) -> Result<Value, AwsError> {
    tag(call, |group, tag| {
        let key = tag.required("Key")?;
        group.tags.remove(key);
        group.own_tags.remove(key);
        Ok(())
    })
}
