//! `autoscaling.suspend`, `autoscaling.set_unhealthy` and what comes before `autoscaling.insufficient_capacity`.

use super::ChaosError;
use super::before::Before;
use super::ec2;
use super::injection::{Context, Pass};
use super::runner::{Hand, Sight};

/// Notes which of the processes are not suspended yet.
pub(super) async fn prepare_suspend(
    sight: &Sight<'_>,
    context: &Context<'_>,
    role: &str,
    processes: &[String],
) -> Result<Before, ChaosError> {
    let facts = ec2::facts(sight, context, ec2::group(sight, context, role).await?).await?;
    facts.sound().map_err(ChaosError::Degraded)?;
    let group = facts.group;
    context.may_touch(&group.name, &group.tags)?;
    let ours: Vec<String> = processes
        .iter()
        .filter(|process| !group.suspended.contains(process))
        .cloned()
        .collect();
    if ours.is_empty() {
        return Err(ChaosError::Refused(format!(
            "{} are suspended already in group {}",
            processes.join(", "),
            group.name
        )));
    }
    Ok(Before::AutoScalingSuspend {
        group: group.name,
        processes: ours,
    })
}

pub(super) async fn suspend(hand: &Hand<'_>, group: &str, processes: &[String]) -> Result<(), ChaosError> {
    let answer = hand.cloud.suspend_processes(hand.region, group, processes).await;
    let detail = format!("{group}: {}", processes.join(", "));
    hand.called("autoscaling:SuspendProcesses", &detail, answer)
}

pub(super) async fn observe(hand: &Hand<'_>, group: &str, processes: &[String]) -> Result<Option<String>, ChaosError> {
    let Some(found) = hand.cloud.reader().group(hand.region, group).await? else {
        return Ok(None);
    };
    let all = processes.iter().all(|process| found.suspended.contains(process));
    Ok(all.then(|| format!("{group} shows {} suspended", processes.join(", "))))
}

/// Those that somebody has resumed. A group that is gone has none.
pub(super) async fn no_longer_suspended(
    hand: &Hand<'_>,
    group: &str,
    processes: &[String],
) -> Result<Option<String>, ChaosError> {
    let Some(found) = hand.cloud.reader().group(hand.region, group).await? else {
        return Ok(None);
    };
    let resumed = processes.iter().filter(|process| !found.suspended.contains(process));
    let resumed: Vec<&str> = resumed.map(String::as_str).collect();
    Ok((!resumed.is_empty()).then(|| format!("{group} shows {} not suspended", resumed.join(", "))))
}

/// Looks whether the group could launch in the AZ at all, and elsewhere.
pub(super) async fn prepare_insufficient_capacity(
    sight: &Sight<'_>,
    context: &Context<'_>,
    role: &str,
    az: &str,
) -> Result<Before, ChaosError> {
    let group = ec2::group(sight, context, role).await?;
    let name = &group.name;
    context.may_touch(name, &group.tags)?;
    let subnets = sight.reader.subnets(sight.region, &group.subnets).await?;
    if !subnets.iter().any(|subnet| subnet.az == az) {
        return Err(ChaosError::Refused(format!("group {name} has no subnet in {az}")));
    }
    if subnets.iter().all(|subnet| subnet.az == az) {
        return Err(ChaosError::Refused(format!("{az} is the only AZ of group {name}")));
    }
    Ok(Before::AutoScalingInsufficientCapacity {
        group: group.arn,
        az: az.to_owned(),
    })
}

/// Somebody who has resumed one meanwhile has done the same.
pub(super) async fn resume(hand: &Hand<'_>, group: &str, processes: &[String]) -> Result<Pass, ChaosError> {
    let mut pass = Pass::default();
    // A group that is gone has no processes.
    let Some(found) = hand.cloud.reader().group(hand.region, group).await? else {
        return Ok(pass);
    };
    let still: Vec<String> = processes
        .iter()
        .filter(|process| found.suspended.contains(process))
        .cloned()
        .collect();
    if !still.is_empty() {
        let answer = hand.cloud.resume_processes(hand.region, group, &still).await;
        let detail = format!("{group}: {}", still.join(", "));
        hand.called("autoscaling:ResumeProcesses", &detail, answer)?;
        pass.left.push(format!("{group} has {} suspended", still.join(", ")));
    }
    Ok(pass)
}

pub(super) async fn set_unhealthy(hand: &Hand<'_>, instances: &[String]) -> Result<(), ChaosError> {
    for id in instances {
        if hand.is_ending() {
            return Err(ChaosError::Ending);
        }
        let answer = hand.cloud.set_instance_unhealthy(hand.region, id).await;
        hand.called("autoscaling:SetInstanceHealth", &format!("{id}: Unhealthy"), answer)?;
    }
    Ok(())
}

/// All of them are seen unhealthy, or leaving, or gone.
pub(super) async fn observe_unhealthy(
    hand: &Hand<'_>,
    group: &str,
    instances: &[String],
) -> Result<Option<String>, ChaosError> {
    let Some(found) = hand.cloud.reader().group(hand.region, group).await? else {
        return Ok(None);
    };
    let seen = |id: &String| match found.members.iter().find(|member| member.id == *id) {
        None => Some(format!("{id} has left {group}")),
        Some(member) if !member.healthy => Some(format!("{id} is unhealthy")),
        Some(member) => (!member.in_service).then(|| format!("{id} is leaving")),
    };
    let evidence: Option<Vec<String>> = instances.iter().map(seen).collect();
    Ok(evidence.map(|parts| parts.join(", ")))
}
