//! `ec2.stop`, `ec2.terminate` and `ec2.reboot`: a share of a group's in-service instances, chosen when it happens, by
//! the run's seed. Faults that hit instances in another way choose them here too.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ChaosError;
use super::guard::{self, GroupFacts, Refusal};
use super::injection::{Context, Pass};
use super::mark;
use super::runner::{Hand, Sight};
use crate::aws::{AwsError, ErrorKind, Group, Instance};
use crate::event::FaultId;
use crate::plan::{Role, choose};

/// Time between the notice of a Spot interruption and its instance's end.
pub(super) const SPOT_NOTICE: Duration = Duration::from_secs(120);
/// The code of a call that an instance's state does not allow.
const STATE_MISMATCH: &str = "IncorrectInstanceState";

/// The group that a role stands for.
pub(super) async fn group(sight: &Sight<'_>, context: &Context<'_>, role: &str) -> Result<Group, ChaosError> {
    let Some(Role::AutoScalingGroup(name)) = context.target.roles.get(role) else {
        return Err(ChaosError::Refused("its role is not an Auto Scaling group".to_owned()));
    };
    let region = sight.region;
    let group = sight.reader.group(region, name).await?;
    let group = group.ok_or_else(|| {
        ChaosError::Refused(format!(
            "there is no Auto Scaling group {name} in {region}; nothing to hit"
        ))
    })?;
    mark::of_nobody_else(context.run, name, &group.tags).map_err(ChaosError::Refused)?;
    Ok(group)
}

/// Instances by id; none of them when AWS has forgotten one, which spoils the whole call.
pub(super) async fn described(sight: &Sight<'_>, ids: &[String]) -> Result<Vec<Instance>, AwsError> {
    match sight.reader.instances(sight.region, ids).await {
        Err(error) if error.kind == ErrorKind::NotFound => Ok(Vec::new()),
        answer => answer,
    }
}

/// A group with the targets of its target groups, and what the run's own faults take of it.
pub(super) async fn facts(sight: &Sight<'_>, context: &Context<'_>, group: Group) -> Result<GroupFacts, ChaosError> {
    let mut targets = Vec::new();
    for arn in &group.target_groups {
        targets.push((arn.clone(), sight.reader.target_health(sight.region, arn).await?));
    }
    let lost = lost(sight, context, &group).await?;
    Ok(GroupFacts { group, targets, lost })
}

/// The members that the run's own faults take away, and by what.
async fn lost(
    sight: &Sight<'_>,
    context: &Context<'_>,
    group: &Group,
) -> Result<BTreeMap<String, FaultId>, ChaosError> {
    let mut lost = context.own.lost_instances(sight.region);
    let cut = context.own.cut_subnets(sight.region);
    if cut.is_empty() {
        return Ok(lost);
    }
    let ids: Vec<String> = group.members.iter().map(|member| member.id.clone()).collect();
    let mut members = described(sight, &ids).await?;
    if members.is_empty() {
        // One by one: an instance that AWS has forgotten must not hide the others.
        for id in &ids {
            members.extend(described(sight, std::slice::from_ref(id)).await?);
        }
    }
    for instance in members {
        let by = instance.subnet.and_then(|subnet| cut.get(&subnet).cloned());
        lost.extend(by.map(|by| (instance.id, by)));
    }
    Ok(lost)
}

/// Chooses a share of the instances that a role's group has in service; answers the group's name and their ids.
pub(super) async fn victims(
    sight: &Sight<'_>,
    context: &Context<'_>,
    role: &str,
    share: f64,
) -> Result<(String, Vec<String>), ChaosError> {
    let (group, chosen) = chosen(sight, context, role, share, |_| Ok(())).await?;
    Ok((group, chosen.into_iter().map(|instance| instance.id).collect()))
}

/// As [`victims`], of Spot Instances.
pub(super) async fn spot_victims(
    sight: &Sight<'_>,
    context: &Context<'_>,
    role: &str,
    share: f64,
) -> Result<(String, Vec<String>), ChaosError> {
    let is_spot = |instance: &Instance| {
        let refusal = || format!("{} is no Spot Instance", instance.id);
        instance.spot.then_some(()).ok_or_else(refusal)
    };
    let (group, chosen) = chosen(sight, context, role, share, is_spot).await?;
    Ok((group, chosen.into_iter().map(|instance| instance.id).collect()))
}

/// Chooses as many instances as a share of those in service means, of those that are `fit` and may be touched.
pub(super) async fn chosen(
    sight: &Sight<'_>,
    context: &Context<'_>,
    role: &str,
    share: f64,
    fit: impl Fn(&Instance) -> Result<(), Refusal>,
) -> Result<(String, Vec<Instance>), ChaosError> {
    let (region, allow) = (sight.region, context.target.allow.as_ref());
    let facts = facts(sight, context, group(sight, context, role).await?).await?;
    let name = &facts.group.name;
    let in_service: Vec<String> = facts
        .group
        .members
        .iter()
        .filter(|member| member.in_service)
        .map(|member| member.id.clone())
        .collect();
    if in_service.is_empty() {
        return Err(ChaosError::Refused(format!(
            "group {name} in {region} has no instance in service"
        )));
    }
    let count = guard::victims(allow, share, in_service.len()).map_err(ChaosError::Refused)?;
    facts.sound().map_err(ChaosError::Degraded)?;
    let own = context.target.runner.instance.as_ref();
    let described = described(sight, &in_service).await?;
    let (mut candidates, mut refusal) = (Vec::new(), None);
    for instance in &described {
        mark::of_nobody_else(context.run, &instance.id, &instance.tags).map_err(ChaosError::Refused)?;
        match guard::tagged(allow, &instance.id, &instance.tags).and_then(|()| fit(instance)) {
            Ok(()) if own == Some(&instance.id) => refusal = Some(format!("{} is where this run is", instance.id)),
            Ok(()) if instance.state == "running" => candidates.push(instance.id.clone()),
            Ok(()) => {}
            Err(why) => refusal = Some(why),
        }
    }
    if candidates.len() < count {
        let why = refusal.unwrap_or_else(|| format!("only {} of its instances are running", candidates.len()));
        return Err(ChaosError::Refused(format!("group {name} in {region}: {why}")));
    }
    let planned = |instance: &&Instance| {
        let mut ids = instance.volumes.iter().chain([&instance.id]);
        ids.any(|id| context.planned.contains(id))
    };
    let planned: Vec<String> = described.iter().filter(planned).map(|one| one.id.clone()).collect();
    let victims = choose(candidates, &planned, count, context.seed, &sight.fault.to_string());
    facts
        .enough_without(allow, |member| victims.contains(&member.id))
        .map_err(ChaosError::Refused)?;
    let chosen = described.into_iter().filter(|one| victims.contains(&one.id));
    let mut chosen: Vec<Instance> = chosen.collect();
    chosen.sort_by(|one, other| one.id.cmp(&other.id));
    Ok((facts.group.name, chosen))
}

pub(super) async fn terminate(hand: &Hand<'_>, instances: &[String]) -> Result<(), ChaosError> {
    let answer = hand.cloud.terminate_instances(hand.region, instances).await;
    hand.called("ec2:TerminateInstances", &instances.join(", "), answer)
}

pub(super) async fn stop(hand: &Hand<'_>, instances: &[String]) -> Result<(), ChaosError> {
    let answer = hand.cloud.stop_instances(hand.region, instances).await;
    match hand.called("ec2:StopInstances", &instances.join(", "), answer) {
        // An attempt without an answer had its effect, and the next one found them further on.
        Err(ChaosError::Aws(error))
            if error.code == STATE_MISMATCH && observe_stopped(hand, instances).await?.is_some() =>
        {
            Ok(())
        }
        other => other,
    }
}

pub(super) async fn reboot(hand: &Hand<'_>, instances: &[String]) -> Result<(), ChaosError> {
    let answer = hand.cloud.reboot_instances(hand.region, instances).await;
    hand.called("ec2:RebootInstances", &instances.join(", "), answer)
}

/// Evidence once every instance is in one of these states.
async fn all_are(hand: &Hand<'_>, instances: &[String], states: &[&str]) -> Result<Option<String>, ChaosError> {
    let described = described(&hand.sight(), instances).await?;
    let seen = |id: &String| {
        let instance = described.iter().find(|instance| instance.id == *id)?;
        let seen = states.contains(&instance.state.as_str());
        seen.then(|| format!("{id} is {}", instance.state))
    };
    let evidence: Option<Vec<String>> = instances.iter().map(seen).collect();
    Ok(evidence.map(|parts| parts.join(", ")))
}

pub(super) async fn observe_gone(hand: &Hand<'_>, instances: &[String]) -> Result<Option<String>, ChaosError> {
    all_are(hand, instances, &["shutting-down", "terminated"]).await
}

pub(super) async fn observe_stopped(hand: &Hand<'_>, instances: &[String]) -> Result<Option<String>, ChaosError> {
    all_are(hand, instances, &["stopping", "stopped", "shutting-down", "terminated"]).await
}

/// The first of them that somebody has started.
pub(super) async fn no_longer_stopped(hand: &Hand<'_>, instances: &[String]) -> Result<Option<String>, ChaosError> {
    for id in instances {
        // One by one: an instance that AWS has forgotten must not hide the others.
        let found = described(&hand.sight(), std::slice::from_ref(id)).await?;
        let started = found
            .iter()
            .find(|one| ["pending", "running"].contains(&one.state.as_str()));
        if let Some(instance) = started {
            return Ok(Some(format!("{id} is {}", instance.state)));
        }
    }
    Ok(None)
}

/// No state shows a reboot, so what counts is that neither EC2 nor the load balancer calls them ready.
pub(super) async fn observe_rebooting(
    hand: &Hand<'_>,
    group: &str,
    instances: &[String],
) -> Result<Option<String>, ChaosError> {
    let reader = hand.cloud.reader();
    let mut away = reader.not_ready(hand.region, instances).await?;
    if let Some(group) = reader.group(hand.region, group).await? {
        for arn in &group.target_groups {
            let health = reader.target_health(hand.region, arn).await?;
            away.extend(
                health
                    .into_iter()
                    .filter(|target| target.state != "healthy")
                    .map(|target| target.id),
            );
        }
    }
    let all = instances.iter().all(|id| away.contains(id));
    Ok(all.then(|| format!("{} are not ready", instances.join(", "))))
}

/// Starts what is stopped. What is terminated was replaced by its group: the goal is a group with what it wants, not
/// the same instance.
pub(super) async fn start_again(hand: &Hand<'_>, instances: &[String]) -> Result<Pass, ChaosError> {
    let mut pass = Pass::default();
    let mut stopped = Vec::new();
    for id in instances {
        // One by one: an instance that AWS has forgotten must not hide the others.
        for instance in described(&hand.sight(), std::slice::from_ref(id)).await? {
            match instance.state.as_str() {
                "stopping" => pass.left.push(format!("{id} is stopping")),
                "stopped" => stopped.push(id.clone()),
                _ => {}
            }
        }
    }
    if !stopped.is_empty() {
        let answer = hand.cloud.start_instances(hand.region, &stopped).await;
        hand.called("ec2:StartInstances", &stopped.join(", "), answer)?;
        pass.left.push(format!("{} are stopped", stopped.join(", ")));
    }
    Ok(pass)
}
