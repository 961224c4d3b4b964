//! `ec2.terminate`: a share of a group's in-service instances, chosen when it happens, by the run's seed.

use super::ChaosError;
use super::cloud::Cloud;
use super::guard;
use super::journal::Before;
use super::runner::Hand;
use crate::plan::{Allow, Role};

/// Chooses the victims.
pub(super) async fn prepare<C: Cloud>(
    hand: &Hand<'_, C>,
    role: Option<&Role>,
    share: f64,
    allow: Option<&Allow>,
    seed: u64,
) -> Result<Before, ChaosError> {
    let Some(Role::AutoScalingGroup(name)) = role else {
        return Err(ChaosError::Refused("its role is not an Auto Scaling group".to_owned()));
    };
    let region = hand.region;
    let group = hand.cloud.group(region, name).await?;
    let group = group.ok_or_else(|| {
        ChaosError::Refused(format!(
            "there is no Auto Scaling group {name} in {region}; nothing to terminate"
        ))
    })?;
    let in_service: Vec<String> = group
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
    let described = hand.cloud.instances(region, &in_service).await?;
    let (mut candidates, mut refusal) = (Vec::new(), None);
    for instance in described {
        match guard::tagged(allow, &instance.id, &instance.tags) {
            Ok(()) if instance.state == "running" => candidates.push(instance.id),
            Ok(()) => {}
            Err(why) => refusal = Some(why),
        }
    }
    if candidates.len() < count {
        let why = refusal.unwrap_or_else(|| format!("only {} of its instances are running", candidates.len()));
        return Err(ChaosError::Refused(format!("group {name} in {region}: {why}")));
    }
    Ok(Before::Ec2Terminate {
        group: name.clone(),
        instances: choose(candidates, count, seed, &hand.fault.to_string()),
    })
}

/// Terminates them.
pub(super) async fn act<C: Cloud>(hand: &Hand<'_, C>, instances: &[String]) -> Result<(), ChaosError> {
    let answer = hand.cloud.terminate(hand.region, instances).await;
    hand.called("ec2:TerminateInstances", &instances.join(", "), answer)
}

/// Looks for all of them leaving; none while some have not.
pub(super) async fn observe<C: Cloud>(hand: &Hand<'_, C>, instances: &[String]) -> Result<Option<String>, ChaosError> {
    let described = hand.cloud.instances(hand.region, instances).await?;
    let gone = |id: &String| {
        let instance = described.iter().find(|instance| instance.id == *id)?;
        let gone = matches!(instance.state.as_str(), "shutting-down" | "terminated");
        gone.then(|| format!("{id} is {}", instance.state))
    };
    let evidence: Option<Vec<String>> = instances.iter().map(gone).collect();
    Ok(evidence.map(|parts| parts.join(", ")))
}

/// The same candidates, seed and fault always give the same choice, in whatever order they are listed.
fn choose(mut candidates: Vec<String>, count: usize, seed: u64, fault: &str) -> Vec<String> {
    candidates.sort();
    // FNV-1a: the standard library's hasher may change between releases.
    let hash = |state: u64, byte: u8| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let salt = fault.bytes().fold(0xcbf2_9ce4_8422_2325, hash);
    fastrand::Rng::with_seed(seed ^ salt).shuffle(&mut candidates);
    candidates.truncate(count);
    candidates.sort();
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_depends_on_seed_and_fault_only() {
        let ids: Vec<String> = (0..30).map(|index| format!("i-{index:02}")).collect();
        let reversed = ids.iter().rev().cloned().collect();
        let first = choose(ids.clone(), 10, 7, "instance-loss[0]");
        assert_eq!(first, choose(reversed, 10, 7, "instance-loss[0]"));
        assert_eq!(first.len(), 10);
        assert_ne!(first, choose(ids.clone(), 10, 8, "instance-loss[0]"));
        assert_ne!(first, choose(ids, 10, 7, "instance-loss[1]"));
    }
}
