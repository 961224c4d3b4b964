//! Registration of a group's instances with its target groups. Health is `data`'s: it writes each target's state.

use crate::lab::world::{CloudTime, Instance, Region, TargetState};

/// Registers an instance with the target groups; one that is registered and not draining keeps its health.
pub fn register(region: &mut Region, target_group_arns: &[String], instance: &Instance, now: CloudTime) {
    for arn in target_group_arns {
        let Some(group) = region.target_groups.get_mut(arn) else {
            continue;
        };
        if group
            .targets
            .get(&instance.id)
            .is_some_and(|target| target.state != "draining")
        {
            continue;
        }
        let target = TargetState {
            instance_id: instance.id.clone(),
            address: instance.address,
            az: instance.az.clone(),
            state: "initial".to_owned(),
            reason: Some("Elb.RegistrationInProgress".to_owned()),
            description: Some("Target registration is in progress".to_owned()),
            passes: 0,
            failures: 0,
            registered_at: now,
            draining_since: None,
        };
        group.targets.insert(instance.id.clone(), target);
    }
}

/// Begins to drain an instance everywhere; answers for how long, zero when it was registered nowhere.
pub fn deregister(region: &mut Region, instance_id: &str, now: CloudTime) -> u32 {
    let mut longest = 0;
    for group in region.target_groups.values_mut() {
        let Some(target) = group.targets.get_mut(instance_id) else {
            continue;
        };
        drain(target, now);
        longest = longest.max(group.deregistration_delay_s);
    }
    longest
}

/// Begins to drain a target: it gets no new request. One that drains already goes on as it does.
pub fn drain(target: &mut TargetState, now: CloudTime) {
    if target.draining_since.is_none() {
        target.state = "draining".to_owned();
        target.reason = Some("Target.DeregistrationInProgress".to_owned());
        target.description = Some("Target deregistration is in progress".to_owned());
        target.draining_since = Some(now);
    }
}

/// Removes targets whose deregistration delay has passed.
pub fn forget_drained(region: &mut Region, now: CloudTime) {
    for group in region.target_groups.values_mut() {
        let delay = f64::from(group.deregistration_delay_s);
        group
            .targets
            .retain(|_, target| target.draining_since.is_none_or(|since| now - since < delay));
    }
}

/// Whether any target group calls the instance unhealthy.
#[must_use]
pub fn unhealthy(region: &Region, target_group_arns: &[String], instance_id: &str) -> bool {
    target_group_arns
        .iter()
        .filter_map(|arn| region.target_groups.get(arn)?.targets.get(instance_id))
        .any(|target| target.state == "unhealthy")
}
