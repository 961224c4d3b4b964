//! What the target-tracking policy does when one of its alarms is in ALARM. The alarms are `cloudwatch`'s.

use super::tracking::{Observation, scale_in, scale_out};
use crate::lab::dynamics::iso;
use crate::lab::world::{Alarm, AutoScalingGroup, CloudTime, MetricPoint, World};

/// Executes the policy `policy_arn` for an alarm in ALARM; answers what it changed, or none when it had nothing to do.
pub fn execute(world: &mut World, region: &str, policy_arn: &str, alarm: &Alarm, now: CloudTime) -> Option<(u32, u32)> {
    let state = world.regions.get_mut(region)?;
    let point = latest(state.metrics.series.get(&alarm.metric)?, now)?.clone();
    let group = state.groups.values_mut().find(|g| g.policy.arn == policy_arn)?;
    if group.suspended.contains_key("AlarmNotification") || point.count <= 0.0 {
        return None;
    }
    let high = group.policy.alarm_names.first() == Some(&alarm.name);
    let seen = Observation {
        desired: group.desired,
        min: group.min,
        max: group.max,
        metric: point.sum / point.count,
        counted: point.count as u32,
        in_motion: in_motion(group, point.minute),
    };
    let target = group.policy.target_value;
    let wanted = if high {
        scale_out(seen, target)
    } else {
        scale_in(seen, target)
    }?;
    let before = std::mem::replace(&mut group.desired, wanted);
    let cause = format!(
        "At {} a monitor alarm {} in state ALARM triggered policy {} changing the desired capacity from {before} to \
         {wanted}.",
        iso(now),
        alarm.name,
        group.policy.name
    );
    let key = (region.to_owned(), group.name.clone());
    world.scaling.entry(key).or_default().cause = Some(cause);
    Some((before, wanted))
}

/// Instances are coming or going, or came after the minute the metric describes.
fn in_motion(group: &AutoScalingGroup, minute: CloudTime) -> bool {
    let settled = |at: Option<CloudTime>| at.is_some_and(|at| at <= minute);
    group.members.len() != group.desired as usize
        || group
            .members
            .iter()
            .any(|m| m.lifecycle_state != "InService" || !settled(m.in_service_at))
        || group
            .activities
            .iter()
            .take_while(|a| a.start_time >= minute)
            .any(|a| a.end_time.is_none())
}

fn latest(series: &std::collections::VecDeque<MetricPoint>, now: CloudTime) -> Option<&MetricPoint> {
    series.iter().rev().find(|point| point.visible_at <= now)
}

/// The sentence for a desired capacity that a user set.
#[must_use]
pub fn user_request(now: CloudTime, group: &AutoScalingGroup, before: u32) -> String {
    format!(
        "At {} a user request update of AutoScalingGroup constraints to min: {}, max: {}, desired: {} changing the \
         desired capacity from {before} to {}.",
        iso(now),
        group.min,
        group.max,
        group.desired,
        group.desired
    )
}

/// The sentence for an instance that a user took out with TerminateInstanceInAutoScalingGroup.
#[must_use]
pub fn user_termination(now: CloudTime, shrinks: Option<(u32, u32)>) -> String {
    match shrinks {
        Some((from, to)) => format!(
            "At {} instance was taken out of service in response to a user request, shrinking the capacity from \
             {from} to {to}.",
            iso(now)
        ),
        None => format!(
            "At {} an instance was taken out of service in response to a user request.",
            iso(now)
        ),
    }
}

/// Uses the sentence of the last change of desired capacity once all of it was acted upon.
pub fn settle_cause(world: &mut World, region: &str, group: &str) {
    let Some(state) = world.regions.get(region).and_then(|r| r.groups.get(group)) else {
        return;
    };
    if state
        .members
        .iter()
        .filter(|m| m.lifecycle_state != "Terminating")
        .count()
        == state.desired as usize
        && let Some(memory) = world.scaling.get_mut(&(region.to_owned(), group.to_owned()))
    {
        memory.cause = None;
    }
}
