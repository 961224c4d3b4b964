//! Elastic Load Balancing: targets that are registered and deregistered on request, and health checks that change.
//! Where requests go then, and what the checks find, is `data`'s; what a group does about it is `autoscaling`'s.

use std::sync::Arc;

use super::autoscaling::targets;
use super::region_mut;
use crate::lab::Lab;
use crate::lab::error::AwsError;
use crate::lab::world::{Instance, InstanceState, Region, TargetGroup};

/// What ModifyTargetGroup changes; none leaves as it is.
#[derive(Clone, Debug, Default)]
pub struct HealthCheckChange {
    /// HealthCheckPath.
    pub path: Option<String>,
    /// HealthCheckIntervalSeconds.
    pub interval_s: Option<u32>,
    /// HealthCheckTimeoutSeconds.
    pub timeout_s: Option<u32>,
    /// HealthyThresholdCount.
    pub healthy_threshold: Option<u32>,
    /// UnhealthyThresholdCount.
    pub unhealthy_threshold: Option<u32>,
}

/// RegisterTargets: all of them or none. One that drains is registered anew, one that is registered keeps its health.
pub fn register(lab: &Arc<Lab>, region: &str, arn: &str, ids: &[String]) -> Result<(), AwsError> {
    let now = lab.now();
    let mut world = lab.world();
    let region = region_mut(&mut world, region)?;
    group_mut(region, arn)?;
    let instances = ids
        .iter()
        .map(|id| region.instances.get(id).cloned().ok_or_else(|| not_valid(id)))
        .collect::<Result<Vec<Instance>, AwsError>>()?;
    if let Some(idle) = instances
        .iter()
        .find(|instance| instance.state != InstanceState::Running)
    {
        let message = format!(
            "The following targets are not in a running state and cannot be registered: '{}'",
            idle.id
        );
        return Err(AwsError::bad_request("InvalidTarget", message));
    }
    let group = [arn.to_owned()];
    for instance in &instances {
        targets::register(region, &group, instance, now);
    }
    Ok(())
}

/// DeregisterTargets: each drains for the deregistration delay, with no new request. What is not registered is no
/// error, as documented.
pub fn deregister(lab: &Arc<Lab>, region: &str, arn: &str, ids: &[String]) -> Result<(), AwsError> {
    let now = lab.now();
    let mut world = lab.world();
    let group = group_mut(region_mut(&mut world, region)?, arn)?;
    for id in ids {
        if let Some(target) = group.targets.get_mut(id) {
            targets::drain(target, now);
        }
    }
    Ok(())
}

/// ModifyTargetGroup; the next check of each target is made the new way. Targets keep the health they have.
pub fn modify(lab: &Arc<Lab>, region: &str, arn: &str, change: HealthCheckChange) -> Result<(), AwsError> {
    let mut world = lab.world();
    let group = group_mut(region_mut(&mut world, region)?, arn)?;
    let interval = change.interval_s.unwrap_or(group.health_check_interval_s);
    let timeout = change.timeout_s.unwrap_or(group.health_check_timeout_s);
    if timeout >= interval {
        let message = format!("Health check timeout {timeout} must be smaller than the interval {interval}");
        return Err(AwsError::bad_request("InvalidConfigurationRequest", message));
    }
    group.health_check_interval_s = interval;
    group.health_check_timeout_s = timeout;
    if let Some(path) = change.path {
        group.health_check_path = path;
    }
    group.healthy_threshold = change.healthy_threshold.unwrap_or(group.healthy_threshold);
    group.unhealthy_threshold = change.unhealthy_threshold.unwrap_or(group.unhealthy_threshold);
    Ok(())
}

fn group_mut<'r>(region: &'r mut Region, arn: &str) -> Result<&'r mut TargetGroup, AwsError> {
    region
        .target_groups
        .get_mut(arn)
        .ok_or_else(|| AwsError::bad_request("TargetGroupNotFound", "One or more target groups not found"))
}

fn not_valid(id: &str) -> AwsError {
    AwsError::bad_request(
        "InvalidTarget",
        format!("The following targets are not valid instances: '{id}'"),
    )
}
