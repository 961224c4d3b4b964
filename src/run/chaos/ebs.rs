//! `ebs.pause_io` and `ebs.latency`: which volumes AWS FIS is to disturb, and what EC2 tells of them meanwhile.

use std::time::Duration;

use super::before::DisksBefore;
use super::injection::Context;
use super::runner::{Hand, Sight};
use super::{ChaosError, ec2};

/// Within this EBS shows a volume whose I/O is paused as impaired (EBS user guide).
pub(super) const IMPAIRED_WITHIN: Duration = Duration::from_secs(120);

/// Chooses a share of the instances that a role's group has in service, and all their volumes.
pub(super) async fn prepare(
    sight: &Sight<'_>,
    context: &Context<'_>,
    role: &str,
    share: f64,
) -> Result<DisksBefore, ChaosError> {
    let (group, instances) = ec2::chosen(sight, context, role, share, |_| Ok(())).await?;
    if let Some(bare) = instances.iter().find(|instance| instance.volumes.is_empty()) {
        return Err(ChaosError::Refused(format!("{} has no EBS volume", bare.id)));
    }
    let disks = DisksBefore {
        group,
        instances: instances.iter().map(|instance| instance.id.clone()).collect(),
        volumes: instances.into_iter().flat_map(|instance| instance.volumes).collect(),
    };
    for volume in sight.reader.volumes(sight.region, &disks.volumes).await? {
        context.may_touch(&volume.id, &volume.tags)?;
    }
    Ok(disks)
}

/// One of them is enough: a volume that nobody writes to shows nothing, and a group may replace an instance that fails its
/// health checks before EBS calls its volume impaired.
pub(super) async fn observe_paused(hand: &Hand<'_>, disks: &DisksBefore) -> Result<Option<String>, ChaosError> {
    let reader = hand.cloud.reader();
    let impaired = reader.impaired_volumes(hand.region, &disks.volumes).await?;
    let mut seen: Vec<String> = impaired.into_iter().map(|id| format!("{id} is impaired")).collect();
    if let Some(group) = reader.group(hand.region, &disks.group).await? {
        for arn in &group.target_groups {
            let health = reader.target_health(hand.region, arn).await?;
            let ill = health
                .iter()
                .filter(|target| disks.instances.contains(&target.id) && target.state != "healthy");
            seen.extend(ill.map(|target| format!("{} is {}", target.id, target.state)));
        }
    }
    Ok((!seen.is_empty()).then(|| seen.join(", ")))
}
