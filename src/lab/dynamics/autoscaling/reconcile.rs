//! One reconciliation of every group: new members go in service, ill ones are taken out, gaps are filled, excess
//! leaves, zones are evened out. Each step is recorded as a scaling activity.

use std::sync::Arc;

use super::activity::{self, Illness};
use super::{balance, capacity, names, policy, targets};
use crate::lab::Lab;
use crate::lab::dynamics::ec2;
use crate::lab::world::{
    AutoScalingGroup, CloudTime, GroupMember, Instance, InstanceState, Region, ScalingMemory, Tags, World,
};

/// A launch that was decided: where, and why.
struct Launch {
    subnet_id: String,
    cause: String,
    /// Another AZ will do where this one has no capacity.
    elsewhere: bool,
}

/// Reconciles every group of every Region once.
pub fn all(lab: &Arc<Lab>) {
    let groups = names(&lab.world());
    for (region, group) in groups {
        let (launches, terminations) = {
            let now = lab.now();
            let mut guard = lab.world();
            let World { regions, scaling, .. } = &mut *guard;
            let Some(state) = regions.get_mut(&region) else {
                continue;
            };
            let memory = scaling.entry((region.clone(), group.clone())).or_default();
            let decided = decide(lab, state, &group, memory, now);
            policy::settle_cause(&mut guard, &region, &group);
            decided
        };
        for id in terminations {
            // An instance that is already gone is what was wanted.
            let _ = ec2::terminate(lab, &region, &[id]);
        }
        for wanted in launches {
            launch(lab, &region, &group, wanted);
        }
    }
}

/// Takes a member out of service: no new requests, and an activity that says why. The caller ends the instance.
pub fn take_out(lab: &Lab, region: &mut Region, group: &str, instance_id: &str, cause: String, now: CloudTime) {
    targets::deregister(region, instance_id, now);
    let instance = region.instances.get(instance_id).cloned();
    let Some(group) = region.groups.get_mut(group) else {
        return;
    };
    let Some(member) = group.members.iter_mut().find(|m| m.instance_id == instance_id) else {
        return;
    };
    let was_pending = member.lifecycle_state == "Pending";
    member.lifecycle_state = "Terminating".to_owned();
    if was_pending {
        let message = "Instance became unhealthy while waiting for instance to be in InService state.";
        activity::finish(group, instance_id, now, Some(message));
    }
    match instance {
        Some(instance) => activity::terminating(lab, group, &instance, cause, "InProgress", now),
        None => group.members.retain(|m| m.instance_id != instance_id),
    }
}

fn decide(
    lab: &Lab,
    region: &mut Region,
    name: &str,
    memory: &mut ScalingMemory,
    now: CloudTime,
) -> (Vec<Launch>, Vec<String>) {
    ec2::forget_terminated(region, now);
    targets::forget_drained(region, now);
    enter_service(region, name, now);
    forget_gone(region, name, now);
    let mut terminations = take_out_ill(lab, region, name, memory, now);
    terminations.extend(drained(region, name));
    shrink(lab, region, name, memory, now);
    (fill(region, name, memory, now), terminations)
}

/// Members whose instance runs go in service and are registered with the load balancer.
fn enter_service(region: &mut Region, name: &str, now: CloudTime) {
    let Some(group) = region.groups.get_mut(name) else {
        return;
    };
    let runs = |m: &GroupMember| {
        region
            .instances
            .get(&m.instance_id)
            .is_some_and(|i| i.state == InstanceState::Running)
    };
    let mut entered = Vec::new();
    for member in group
        .members
        .iter_mut()
        .filter(|m| m.lifecycle_state == "Pending" && runs(m))
    {
        member.lifecycle_state = "InService".to_owned();
        member.in_service_at = Some(now);
        entered.push(member.instance_id.clone());
    }
    for id in &entered {
        activity::finish(group, id, now, None);
    }
    if !group.suspended.contains_key("AddToLoadBalancer") {
        let arns = group.target_group_arns.clone();
        for id in entered {
            if let Some(instance) = region.instances.get(&id).cloned() {
                targets::register(region, &arns, &instance, now);
            }
        }
    }
}

/// Terminating members whose instance is terminated leave the group; that ends their activity.
fn forget_gone(region: &mut Region, name: &str, now: CloudTime) {
    let Some(group) = region.groups.get_mut(name) else {
        return;
    };
    let gone = |m: &GroupMember| {
        m.lifecycle_state == "Terminating"
            && region
                .instances
                .get(&m.instance_id)
                .is_none_or(|i| i.state == InstanceState::Terminated)
    };
    let ids: Vec<String> = group
        .members
        .iter()
        .filter(|m| gone(m))
        .map(|m| m.instance_id.clone())
        .collect();
    for id in ids {
        activity::finish(group, &id, now, None);
        group.members.retain(|m| m.instance_id != id);
    }
}

/// Marks members unhealthy and takes them out, as far as the suspended processes let it.
fn take_out_ill(lab: &Lab, region: &mut Region, name: &str, memory: &mut ScalingMemory, now: CloudTime) -> Vec<String> {
    defer_when_unreachable(region, name, memory, now);
    let Some(group) = region.groups.get(name) else {
        return Vec::new();
    };
    let checks = !group.suspended.contains_key("HealthCheck");
    let replaces = !["ReplaceUnhealthy", "Terminate"]
        .iter()
        .any(|p| group.suspended.contains_key(*p));
    let ill: Vec<(String, Illness)> = group
        .members
        .iter()
        .filter(|m| m.lifecycle_state != "Terminating")
        .filter_map(|m| Some((m.instance_id.clone(), illness(region, group, m, memory, checks, now)?)))
        .collect();
    let mut terminations = Vec::new();
    for (id, illness) in ill {
        if let Some(member) = region
            .groups
            .get_mut(name)
            .and_then(|group| group.members.iter_mut().find(|m| m.instance_id == id))
        {
            member.health_status = "Unhealthy".to_owned();
        }
        if replaces {
            take_out(lab, region, name, &id, activity::taken_out(now, illness), now);
            memory.set_unhealthy.retain(|other| *other != id);
            memory.replacing += 1;
            terminations.push(id);
        }
    }
    terminations
}

/// While no subnet of the group can be reached, every target fails its check and nothing could be launched.
/// Taking members out then would leave the Region empty when the network returns, so the load balancer's verdict
/// waits until the targets had time to pass their checks again. Our choice: AWS documents only that an AZ without
/// capacity is skipped.
fn defer_when_unreachable(region: &Region, name: &str, memory: &mut ScalingMemory, now: CloudTime) {
    let Some(group) = region.groups.get(name) else { return };
    if !group.subnet_ids.is_empty() && balance::reachable(region, group).is_empty() {
        let longest = group
            .target_group_arns
            .iter()
            .filter_map(|arn| region.target_groups.get(arn))
            .map(|t| f64::from((t.healthy_threshold + 2) * t.health_check_interval_s + t.health_check_timeout_s))
            .fold(0.0, f64::max);
        memory.deferred_until = now + longest;
    }
}

fn illness(
    region: &Region,
    group: &AutoScalingGroup,
    member: &GroupMember,
    memory: &ScalingMemory,
    checks: bool,
    now: CloudTime,
) -> Option<Illness> {
    if memory.set_unhealthy.contains(&member.instance_id) {
        return Some(Illness::SetByUser);
    }
    if !checks {
        return None;
    }
    let state = region.instances.get(&member.instance_id).map(|i| i.state);
    if !matches!(state, Some(InstanceState::Pending | InstanceState::Running)) {
        return Some(Illness::NotRunning);
    }
    let past_grace = member
        .in_service_at
        .is_some_and(|at| now - at >= f64::from(group.health_check_grace_s));
    let fails = group.health_check_type.contains("ELB")
        && past_grace
        && now >= memory.deferred_until
        && targets::unhealthy(region, &group.target_group_arns, &member.instance_id);
    fails.then_some(Illness::Elb)
}

/// Terminating members that no target group drains any more.
fn drained(region: &mut Region, name: &str) -> Vec<String> {
    let Some(group) = region.groups.get_mut(name) else {
        return Vec::new();
    };
    let registered = |id: &str| region.target_groups.values().any(|t| t.targets.contains_key(id));
    let runs = |id: &str| {
        region
            .instances
            .get(id)
            .is_some_and(|i| i.state == InstanceState::Running)
    };
    let ids: Vec<String> = group
        .members
        .iter()
        .filter(|m| m.lifecycle_state == "Terminating" && runs(&m.instance_id) && !registered(&m.instance_id))
        .map(|m| m.instance_id.clone())
        .collect();
    for id in &ids {
        activity::advance(group, id, "InProgress", 60);
    }
    ids
}

/// Takes out what is in service beyond the desired capacity, after its connections have drained.
fn shrink(lab: &Lab, region: &mut Region, name: &str, memory: &ScalingMemory, now: CloudTime) {
    loop {
        let Some(group) = region.groups.get(name) else { return };
        let in_service = group
            .members
            .iter()
            .filter(|m| m.lifecycle_state == "InService")
            .count();
        if in_service <= group.desired as usize || group.suspended.contains_key("Terminate") {
            return;
        }
        let Some(id) = balance::victim(region, group) else {
            return;
        };
        let cause = activity::shrunk(now, memory.cause.as_deref(), &id, in_service, group.desired);
        take_out(lab, region, name, &id, cause, now);
        if let Some(group) = region.groups.get_mut(name) {
            activity::advance(group, &id, "WaitingForELBConnectionDraining", 30);
        }
    }
}

/// Decides launches up to the desired capacity, or one that evens the zones out.
fn fill(region: &Region, name: &str, memory: &mut ScalingMemory, now: CloudTime) -> Vec<Launch> {
    let Some(group) = region.groups.get(name) else {
        return Vec::new();
    };
    if group.suspended.contains_key("Launch") {
        return Vec::new();
    }
    let mut subnets = balance::reachable(region, group);
    let count = group
        .members
        .iter()
        .filter(|m| m.lifecycle_state != "Terminating")
        .count();
    let missing = (group.desired as usize).saturating_sub(count);
    if missing == 0 {
        memory.replacing = 0;
        return rebalance(group, &mut subnets, count, now).into_iter().collect();
    }
    let mut launches = Vec::new();
    for _ in 0..missing {
        let Some(subnet_id) = balance::take_emptiest(&mut subnets) else {
            break;
        };
        let cause = if memory.replacing > 0 {
            memory.replacing -= 1;
            activity::replaced(now)
        } else {
            activity::started(now, memory.cause.as_deref(), count, group.desired)
        };
        launches.push(Launch {
            subnet_id,
            cause,
            elsewhere: true,
        });
    }
    launches
}

fn rebalance(
    group: &AutoScalingGroup,
    subnets: &mut std::collections::BTreeMap<String, usize>,
    count: usize,
    now: CloudTime,
) -> Option<Launch> {
    let blocked = ["AZRebalance", "Terminate"]
        .iter()
        .any(|p| group.suspended.contains_key(*p));
    let busy = group.members.iter().any(|m| m.lifecycle_state != "InService");
    if blocked || busy || count != group.desired as usize || !balance::uneven(subnets) {
        return None;
    }
    let cause = activity::rebalanced(now, &group.azs.join(" "), count, count + 1);
    balance::take_emptiest(subnets).map(|subnet_id| Launch {
        subnet_id,
        cause,
        elsewhere: false,
    })
}

fn launch(lab: &Arc<Lab>, region: &str, group: &str, wanted: Launch) {
    let tags: Tags = match lab.world().regions.get(region).and_then(|r| r.groups.get(group)) {
        Some(group) => {
            let propagated = group.tags.iter().filter(|(key, _)| !group.own_tags.contains(*key));
            propagated.map(|(key, value)| (key.clone(), value.clone())).collect()
        }
        None => return,
    };
    let Launch {
        subnet_id,
        cause,
        elsewhere,
    } = wanted;
    let Some(subnet_id) = capacity::place(lab, region, group, &subnet_id, &cause, elsewhere) else {
        return;
    };
    let Some(id) = ec2::launch(lab, region, &subnet_id, Some(group), tags) else {
        return;
    };
    let now = lab.now();
    let mut world = lab.world();
    let Some(state) = world.regions.get_mut(region) else {
        return;
    };
    let Some(instance): Option<Instance> = state.instances.get(&id).cloned() else {
        return;
    };
    let Some(group) = state.groups.get_mut(group) else {
        return;
    };
    group.members.push(GroupMember {
        instance_id: id,
        az: instance.az.clone(),
        lifecycle_state: "Pending".to_owned(),
        health_status: "Healthy".to_owned(),
        in_service_at: None,
    });
    activity::launching(lab, group, &instance, cause, now);
}
