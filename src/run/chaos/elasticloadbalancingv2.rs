//! `elb.deregister` and `elb.break_health_check`.

use std::collections::{BTreeMap, BTreeSet};

use super::ChaosError;
use super::before::{Before, PathBefore, TargetBefore};
use super::ec2;
use super::injection::{Context, Foreign, Pass};
use super::runner::{Hand, Sight};

/// A path that no target answers with success; a person who finds it knows whose it is.
const NO_SUCH_PATH: &str = "/tenfold-breaks-this-health-check";

/// What of a target's state means that no new request is sent to it.
const OUT: [&str; 4] = ["draining", "unused", "unhealthy.draining", "unavailable"];

/// Chooses targets that are healthy.
pub(super) async fn prepare_deregister(
    sight: &Sight<'_>,
    context: &Context<'_>,
    role: &str,
    share: f64,
) -> Result<Before, ChaosError> {
    let (group, victims) = ec2::victims(sight, context, role, share).await?;
    let arns = target_groups(sight, context, role).await?;
    let mut targets = Vec::new();
    for arn in &arns {
        let health = sight.reader.target_health(sight.region, arn).await?;
        let healthy: BTreeSet<&str> = health
            .iter()
            .filter(|target| target.state == "healthy")
            .map(|target| target.id.as_str())
            .collect();
        let ours: Vec<&crate::aws::Target> = health
            .iter()
            .filter(|target| victims.contains(&target.id) && !OUT.contains(&target.state.as_str()))
            .collect();
        let stay = healthy.iter().filter(|id| !victims.iter().any(|victim| victim == *id));
        if !ours.is_empty() && stay.count() == 0 {
            return Err(ChaosError::Refused(format!("no healthy target would stay in {arn}")));
        }
        targets.extend(ours.into_iter().map(|target| TargetBefore {
            target_group: arn.clone(),
            id: target.id.clone(),
            port: target.port,
        }));
    }
    if targets.is_empty() {
        return Err(ChaosError::Refused(format!(
            "no target of group {group} is registered; nothing to deregister"
        )));
    }
    Ok(Before::ElbDeregister { targets })
}

/// The role's target groups, each of which may be touched.
async fn target_groups(sight: &Sight<'_>, context: &Context<'_>, role: &str) -> Result<Vec<String>, ChaosError> {
    let facts = ec2::facts(sight, context, ec2::group(sight, context, role).await?).await?;
    facts.sound().map_err(ChaosError::Degraded)?;
    let group = facts.group;
    let arns = group.target_groups;
    if arns.is_empty() {
        return Err(ChaosError::Refused(format!("group {} has no target group", group.name)));
    }
    let tags = sight.reader.elb_tags(sight.region, &arns).await?;
    for arn in &arns {
        let tags = tags.get(arn).cloned().unwrap_or_default();
        context.may_touch(arn, &tags)?;
    }
    Ok(arns)
}

fn by_group(targets: &[TargetBefore]) -> BTreeMap<&str, Vec<(String, Option<i32>)>> {
    let mut groups: BTreeMap<&str, Vec<(String, Option<i32>)>> = BTreeMap::new();
    for target in targets {
        let of_group = groups.entry(&target.target_group).or_default();
        of_group.push((target.id.clone(), target.port));
    }
    groups
}

fn ids(targets: &[(String, Option<i32>)]) -> String {
    let ids: Vec<&str> = targets.iter().map(|(id, _)| id.as_str()).collect();
    ids.join(", ")
}

pub(super) async fn deregister(hand: &Hand<'_>, targets: &[TargetBefore]) -> Result<(), ChaosError> {
    for (arn, targets) in by_group(targets) {
        if hand.is_ending() {
            return Err(ChaosError::Ending);
        }
        let answer = hand.cloud.deregister_targets(hand.region, arn, &targets).await;
        let detail = format!("{arn}: {}", ids(&targets));
        hand.called("elasticloadbalancing:DeregisterTargets", &detail, answer)?;
    }
    Ok(())
}

/// All of them get no new request.
pub(super) async fn observe_deregistered(
    hand: &Hand<'_>,
    targets: &[TargetBefore],
) -> Result<Option<String>, ChaosError> {
    let mut parts = Vec::new();
    for (arn, targets) in by_group(targets) {
        let health = hand.cloud.reader().target_health(hand.region, arn).await?;
        for (id, _) in &targets {
            match health.iter().find(|target| target.id == *id) {
                None => parts.push(format!("{id} is not registered")),
                Some(target) if OUT.contains(&target.state.as_str()) => parts.push(format!("{id} is {}", target.state)),
                Some(_) => return Ok(None),
            }
        }
    }
    Ok(Some(parts.join(", ")))
}

/// The first of them that somebody has registered again.
pub(super) async fn no_longer_deregistered(
    hand: &Hand<'_>,
    targets: &[TargetBefore],
) -> Result<Option<String>, ChaosError> {
    for (arn, targets) in by_group(targets) {
        let health = hand.cloud.reader().target_health(hand.region, arn).await?;
        let ours = |id: &str| targets.iter().any(|(ours, _)| ours == id);
        let back = health
            .iter()
            .find(|target| ours(&target.id) && !OUT.contains(&target.state.as_str()));
        if let Some(target) = back {
            return Ok(Some(format!("{} is {} in {arn}", target.id, target.state)));
        }
    }
    Ok(None)
}

/// Targets whose instance is gone are their group's business.
pub(super) async fn register_again(hand: &Hand<'_>, targets: &[TargetBefore]) -> Result<Pass, ChaosError> {
    let mut pass = Pass::default();
    let all: Vec<String> = targets.iter().map(|target| target.id.clone()).collect();
    let described = ec2::described(&hand.sight(), &all).await?;
    let runs = |id: &str| {
        let instance = described.iter().find(|instance| instance.id == id);
        instance.is_some_and(|instance| matches!(instance.state.as_str(), "running" | "pending"))
    };
    for (arn, mut targets) in by_group(targets) {
        let health = hand.cloud.reader().target_health(hand.region, arn).await?;
        let registered = |id: &str| {
            let target = health.iter().find(|target| target.id == id);
            target.is_some_and(|target| !OUT.contains(&target.state.as_str()))
        };
        targets.retain(|(id, _)| runs(id) && !registered(id));
        if targets.is_empty() {
            continue;
        }
        let answer = hand.cloud.register_targets(hand.region, arn, &targets).await;
        let detail = format!("{arn}: {}", ids(&targets));
        hand.called("elasticloadbalancing:RegisterTargets", &detail, answer)?;
        pass.left
            .push(format!("{} are not registered with {arn}", ids(&targets)));
    }
    Ok(pass)
}

pub(super) fn register_by_hand(targets: &[TargetBefore], region: &str) -> String {
    let commands: Vec<String> = by_group(targets)
        .into_iter()
        .map(|(arn, targets)| {
            let described = |(id, port): &(String, Option<i32>)| match port {
                Some(port) => format!("Id={id},Port={port}"),
                None => format!("Id={id}"),
            };
            let targets: Vec<String> = targets.iter().map(described).collect();
            let targets = targets.join(" ");
            format!("`aws elbv2 register-targets --region {region} --target-group-arn {arn} --targets {targets}`")
        })
        .collect();
    commands.join(", ")
}

/// Notes the paths as they are.
pub(super) async fn prepare_path(sight: &Sight<'_>, context: &Context<'_>, role: &str) -> Result<Before, ChaosError> {
    let arns = target_groups(sight, context, role).await?;
    let mut groups = Vec::new();
    for found in sight.reader.target_groups(sight.region, &arns).await? {
        let Some(path) = found.health_check_path else {
            return Err(ChaosError::Refused(format!(
                "the health check of {} is not by HTTP",
                found.arn
            )));
        };
        if path == NO_SUCH_PATH {
            return Err(ChaosError::Refused(format!(
                "the health check of {} is broken already",
                found.arn
            )));
        }
        let health = sight.reader.target_health(sight.region, &found.arn).await?;
        if !health.iter().any(|target| target.state == "healthy") {
            return Err(ChaosError::Refused(format!("{} has no healthy target", found.arn)));
        }
        groups.push(PathBefore {
            target_group: found.arn,
            path,
        });
    }
    Ok(Before::ElbBreakHealthCheck { groups })
}

pub(super) async fn break_path(hand: &Hand<'_>, groups: &[PathBefore]) -> Result<(), ChaosError> {
    for group in groups {
        if hand.is_ending() {
            return Err(ChaosError::Ending);
        }
        set_path(hand, group, NO_SUCH_PATH).await?;
    }
    Ok(())
}

async fn set_path(hand: &Hand<'_>, group: &PathBefore, path: &str) -> Result<(), ChaosError> {
    let arn = &group.target_group;
    let answer = hand.cloud.set_health_check_path(hand.region, arn, path).await;
    let detail = format!("{arn}: HealthCheckPath={path}");
    hand.called("elasticloadbalancing:ModifyTargetGroup", &detail, answer)
}

/// A target of each group fails the check.
pub(super) async fn observe_broken(hand: &Hand<'_>, groups: &[PathBefore]) -> Result<Option<String>, ChaosError> {
    let mut parts = Vec::new();
    for group in groups {
        let health = hand
            .cloud
            .reader()
            .target_health(hand.region, &group.target_group)
            .await?;
        let Some(ill) = health.iter().find(|target| target.state.starts_with("unhealthy")) else {
            return Ok(None);
        };
        let reason = ill.reason.as_deref().unwrap_or("no reason given");
        parts.push(format!("{} of {} is unhealthy ({reason})", ill.id, group.target_group));
    }
    Ok(Some(parts.join(", ")))
}

/// The first of them that somebody has given another path.
pub(super) async fn no_longer_broken(hand: &Hand<'_>, groups: &[PathBefore]) -> Result<Option<String>, ChaosError> {
    let arns: Vec<String> = groups.iter().map(|group| group.target_group.clone()).collect();
    let found = hand.cloud.reader().target_groups(hand.region, &arns).await?;
    let other = |path: &&str| *path != NO_SUCH_PATH;
    let mut mended = found.iter().filter_map(|one| {
        let path = one.health_check_path.as_deref().filter(other)?;
        Some(format!("{} has the health-check path {path}", one.arn))
    });
    Ok(mended.next())
}

pub(super) async fn mend_path(hand: &Hand<'_>, groups: &[PathBefore]) -> Result<Pass, ChaosError> {
    let mut pass = Pass::default();
    let arns: Vec<String> = groups.iter().map(|group| group.target_group.clone()).collect();
    let found = hand.cloud.reader().target_groups(hand.region, &arns).await?;
    for group in groups {
        let now = found.iter().find(|one| one.arn == group.target_group);
        match now.and_then(|one| one.health_check_path.as_deref()) {
            Some(path) if path == group.path => {}
            Some(NO_SUCH_PATH) => {
                set_path(hand, group, &group.path).await?;
                pass.left.push(format!("{} has the broken path", group.target_group));
            }
            Some(path) => pass.foreign.push(Foreign {
                found: format!(
                    "{} has the health-check path {path}, which is neither the old one nor ours",
                    group.target_group
                ),
                by_hand: mend_by_hand(std::slice::from_ref(group), hand.region),
            }),
            None => pass.foreign.push(Foreign {
                found: format!("{} has no health-check path any more, or is gone", group.target_group),
                by_hand: format!("create it again with the path {}, or forget it", group.path),
            }),
        }
    }
    Ok(pass)
}

pub(super) fn mend_by_hand(groups: &[PathBefore], region: &str) -> String {
    let commands: Vec<String> = groups
        .iter()
        .map(|group| {
            let (arn, path) = (&group.target_group, &group.path);
            format!(
                "`aws elbv2 modify-target-group --region {region} --target-group-arn {arn} --health-check-path {path}`"
            )
        })
        .collect();
    commands.join(", ")
}
