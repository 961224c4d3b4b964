//! EC2 Auto Scaling: groups keep their desired capacity, heal, spread over AZs and follow their policy.
//! Calls change what is desired; `reconcile` makes it so.

mod activity;
mod balance;
mod capacity;
pub(super) mod policy;
mod reconcile;
pub(super) mod targets;
mod tracking;

use std::sync::Arc;

use super::{poll, region_mut};
use crate::lab::Lab;
use crate::lab::error::AwsError;
use crate::lab::world::{AutoScalingGroup, GroupMember, Region, ScalingActivity, World, next_is_spot};

/// The processes that SuspendProcesses knows.
pub const PROCESSES: [&str; 9] = [
    "Launch",
    "Terminate",
    "AddToLoadBalancer",
    "AlarmNotification",
    "AZRebalance",
    "HealthCheck",
    "InstanceRefresh",
    "ReplaceUnhealthy",
    "ScheduledActions",
];

/// Starts the loop that compares desired with actual.
pub(super) fn spawn(lab: &Arc<Lab>) {
    let lab = lab.clone();
    tokio::spawn(async move {
        loop {
            reconcile::all(&lab);
            poll(&lab, lab.config.web.reconcile.as_secs_f64()).await;
        }
    });
}

/// Whether the next instance of a group is a Spot Instance, by those that it has and are not leaving.
pub(super) fn launches_spot(region: &Region, group: &str) -> bool {
    let Some(group) = region.groups.get(group) else {
        return false;
    };
    let stays = |member: &&GroupMember| member.lifecycle_state != "Terminating";
    let members = group.members.iter().filter(stays);
    let found = members.filter_map(|member| region.instances.get(&member.instance_id));
    let (spot, on_demand): (Vec<_>, Vec<_>) = found.partition(|instance| instance.spot);
    let all = spot.len() + on_demand.len();
    next_is_spot(on_demand.len(), all, group.on_demand_percentage)
}

/// SuspendProcesses; all of them when none is named.
pub fn suspend(lab: &Arc<Lab>, region: &str, group: &str, processes: &[String]) -> Result<(), AwsError> {
    let processes = valid(processes)?;
    let mut world = lab.world();
    let group = group_mut(region_mut(&mut world, region)?, group)?;
    let at = super::iso(lab.now());
    for process in processes {
        group
            .suspended
            .entry(process)
            .or_insert_with(|| format!("User suspended at {at}"));
    }
    Ok(())
}

/// ResumeProcesses; all of them when none is named.
pub fn resume(lab: &Arc<Lab>, region: &str, group: &str, processes: &[String]) -> Result<(), AwsError> {
    let processes = valid(processes)?;
    let mut world = lab.world();
    let group = group_mut(region_mut(&mut world, region)?, group)?;
    group.suspended.retain(|process, _| !processes.contains(process));
    Ok(())
}

/// UpdateAutoScalingGroup; what is none stays. A desired capacity outside new bounds moves to the bound.
pub fn update(
    lab: &Arc<Lab>,
    region: &str,
    group: &str,
    min: Option<u32>,
    max: Option<u32>,
    desired: Option<u32>,
) -> Result<(), AwsError> {
    let now = lab.now();
    let mut world = lab.world();
    let state = group_mut(region_mut(&mut world, region)?, group)?;
    let (min, max) = (min.unwrap_or(state.min), max.unwrap_or(state.max));
    if min > max {
        let message = format!("Max bound, {max}, must be greater than or equal to min bound, {min}");
        return Err(AwsError::bad_request("ValidationError", message));
    }
    if let Some(desired) = desired.filter(|desired| !(min..=max).contains(desired)) {
        let message =
            format!("Desired capacity:{desired} must be between the specified min size:{min} and max size:{max}");
        return Err(AwsError::bad_request("ValidationError", message));
    }
    let before = state.desired;
    (state.min, state.max) = (min, max);
    state.desired = desired.unwrap_or(before).clamp(min, max);
    if state.desired != before {
        let sentence = policy::user_request(now, state, before);
        world
            .scaling
            .entry((region.to_owned(), group.to_owned()))
            .or_default()
            .cause = Some(sentence);
    }
    Ok(())
}

/// SetDesiredCapacity.
pub fn set_desired(lab: &Arc<Lab>, region: &str, group: &str, desired: u32) -> Result<(), AwsError> {
    {
        let mut world = lab.world();
        let state = group_mut(region_mut(&mut world, region)?, group)?;
        let (bound, limit) = if desired > state.max {
            ("above max", state.max)
        } else {
            ("below min", state.min)
        };
        if !(state.min..=state.max).contains(&desired) {
            let message =
                format!("New SetDesiredCapacity value {desired} is {bound} value {limit} for the AutoScalingGroup.");
            return Err(AwsError::bad_request("ValidationError", message));
        }
    }
    update(lab, region, group, None, None, Some(desired))
}

/// SetInstanceHealth; `Unhealthy` members are replaced by the next reconciliation.
pub fn set_instance_health(
    lab: &Arc<Lab>,
    region: &str,
    instance_id: &str,
    status: &str,
    respect_grace: bool,
) -> Result<(), AwsError> {
    if !["Healthy", "Unhealthy"].contains(&status) {
        let message = format!("Unexpected HealthStatus {status}. Valid values are: Healthy, Unhealthy");
        return Err(AwsError::bad_request("ValidationError", message));
    }
    let now = lab.now();
    let mut world = lab.world();
    let group = group_of(region_mut(&mut world, region)?, instance_id)?;
    let name = group.name.clone();
    let grace = f64::from(group.health_check_grace_s);
    let Some(member) = group.members.iter_mut().find(|m| m.instance_id == instance_id) else {
        return Ok(());
    };
    if status == "Unhealthy" && respect_grace && member.in_service_at.is_none_or(|at| now - at < grace) {
        return Ok(());
    }
    member.health_status = status.to_owned();
    let memory = world.scaling.entry((region.to_owned(), name)).or_default();
    memory.set_unhealthy.retain(|id| id != instance_id);
    if status == "Unhealthy" {
        memory.set_unhealthy.push(instance_id.to_owned());
    }
    Ok(())
}

/// TerminateInstanceInAutoScalingGroup.
pub fn terminate_instance(
    lab: &Arc<Lab>,
    region: &str,
    instance_id: &str,
    decrement: bool,
) -> Result<ScalingActivity, AwsError> {
    let now = lab.now();
    let activity = {
        let mut world = lab.world();
        let state = region_mut(&mut world, region)?;
        let group = group_of(state, instance_id)?;
        let name = group.name.clone();
        if decrement && group.desired <= group.min {
            let message = format!(
                "Currently, desiredSize equals minSize ({}). Terminating instance without replacement will violate group's min size constraint. Either set shouldDecrementDesiredCapacity flag to false or lower group's min size.",
                group.min
            );
            return Err(AwsError::bad_request("ValidationError", message));
        }
        let shrinks = decrement.then_some((group.desired, group.desired.saturating_sub(1)));
        if let Some((_, to)) = shrinks {
            group.desired = to;
        }
        let cause = policy::user_termination(now, shrinks);
        reconcile::take_out(lab, state, &name, instance_id, cause, now);
        let group = group_mut(state, &name)?;
        group
            .activities
            .front()
            .cloned()
            .ok_or_else(|| no_instance(instance_id))?
    };
    super::ec2::terminate(lab, region, &[instance_id.to_owned()])?;
    Ok(activity)
}

fn valid(processes: &[String]) -> Result<Vec<String>, AwsError> {
    if processes.is_empty() {
        return Ok(PROCESSES.map(str::to_owned).to_vec());
    }
    match processes.iter().find(|process| !PROCESSES.contains(&process.as_str())) {
        Some(unknown) => {
            let message = format!("The following process types are invalid: [{unknown}]");
            Err(AwsError::bad_request("ValidationError", message))
        }
        None => Ok(processes.to_vec()),
    }
}

fn group_mut<'r>(region: &'r mut Region, name: &str) -> Result<&'r mut AutoScalingGroup, AwsError> {
    region.groups.get_mut(name).ok_or_else(|| {
        let message = format!("AutoScalingGroup name not found - AutoScalingGroup '{name}' not found");
        AwsError::bad_request("ValidationError", message)
    })
}

fn group_of<'r>(region: &'r mut Region, instance_id: &str) -> Result<&'r mut AutoScalingGroup, AwsError> {
    let has = |group: &&mut AutoScalingGroup| group.members.iter().any(|m| m.instance_id == instance_id);
    region
        .groups
        .values_mut()
        .find(has)
        .ok_or_else(|| no_instance(instance_id))
}

fn no_instance(instance_id: &str) -> AwsError {
    let message = format!("Instance Id not found - No managed instance found for instance ID: {instance_id}");
    AwsError::bad_request("ValidationError", message)
}

/// Region and group names, so that none is borrowed while the world changes.
fn names(world: &World) -> Vec<(String, String)> {
    let groups = |region: &Region| region.groups.keys().cloned().collect::<Vec<_>>();
    world
        .regions
        .iter()
        .flat_map(|(name, region)| groups(region).into_iter().map(|g| (name.clone(), g)))
        .collect()
}
