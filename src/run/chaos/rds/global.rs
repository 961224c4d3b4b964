//! `rds.switchover_global` and `rds.failover_global`: another Region's cluster of a global cluster becomes the primary,
//! once it has every write, or as it is.

use crate::aws::{DbCluster, GlobalCluster};
use crate::plan::Role;
use crate::run::chaos::ChaosError;
use crate::run::chaos::before::GlobalBefore;
use crate::run::chaos::guard;
use crate::run::chaos::injection::Context;
use crate::run::chaos::runner::{Hand, Sight};

/// Checks that the Region's cluster is the primary, and that the one of the other Region can take over.
pub(in crate::run::chaos) async fn prepare(
    sight: &Sight<'_>,
    context: &Context<'_>,
    role: &str,
    to: &str,
) -> Result<GlobalBefore, ChaosError> {
    let Some(Role::DbCluster(id)) = context.target.roles.get(role) else {
        return Err(ChaosError::Refused("its role is not an Aurora cluster".to_owned()));
    };
    guard::region(context.target, to).map_err(ChaosError::Refused)?;
    let region = sight.region;
    let from = touched(sight, context, region, id).await?;
    let global = sight.reader.global_cluster_of(region, &from.arn).await?;
    let global = global.ok_or_else(|| ChaosError::Refused(format!("{id} in {region} belongs to no global cluster")))?;
    if global.writer().is_none_or(|writer| writer.arn != from.arn) {
        let id = &global.id;
        return Err(ChaosError::Refused(format!(
            "{region} is not the primary of {id}, so it has nothing to hand over"
        )));
    }
    let Some(secondary) = global.in_region(to) else {
        return Err(ChaosError::Refused(format!("{} has no cluster in {to}", global.id)));
    };
    let heir = touched(sight, context, to, secondary.cluster()).await?;
    guard::whole(&global).map_err(ChaosError::Degraded)?;
    for (region, cluster) in [(region, &from), (to, &heir)] {
        guard::serves(region, cluster).map_err(ChaosError::Degraded)?;
    }
    Ok(GlobalBefore {
        from: from.arn,
        to: secondary.arn.clone(),
        to_region: to.to_owned(),
        global: global.id,
    })
}

/// A cluster that may be touched.
async fn touched(sight: &Sight<'_>, context: &Context<'_>, region: &str, id: &str) -> Result<DbCluster, ChaosError> {
    let cluster = sight.reader.db_cluster(region, id).await?;
    let cluster = cluster
        .ok_or_else(|| ChaosError::Refused(format!("there is no Aurora cluster {id} in {region}; nothing to hit")))?;
    context.may_touch(&format!("{id} in {region}"), &cluster.tags)?;
    Ok(cluster)
}

/// Asks for the switchover, in the Region that hands over.
pub(in crate::run::chaos) async fn switch_over(hand: &Hand<'_>, before: &GlobalBefore) -> Result<(), ChaosError> {
    let GlobalBefore { global, to, .. } = before;
    let answer = hand.cloud.switchover_global_cluster(hand.region, global, to).await;
    hand.called("rds:SwitchoverGlobalCluster", &format!("{global}, to {to}"), answer)
}

/// Asks for the failover, in the Region that takes over: in a real one nobody else answers.
pub(in crate::run::chaos) async fn fail_over(hand: &Hand<'_>, before: &GlobalBefore) -> Result<(), ChaosError> {
    let GlobalBefore {
        global, to, to_region, ..
    } = before;
    let answer = hand.cloud.failover_global_cluster(to_region, global, to).await;
    let detail = format!("{global}, to {to}, AllowDataLoss");
    hand.called("rds:FailoverGlobalCluster", &detail, answer)
}

/// Looks for another primary, or for a status that shows it to be under way.
pub(in crate::run::chaos) async fn observe(
    hand: &Hand<'_>,
    before: &GlobalBefore,
) -> Result<Option<String>, ChaosError> {
    let reader = hand.cloud.reader();
    let Some(now) = reader.global_cluster(&before.to_region, &before.global).await? else {
        return Ok(None);
    };
    let moved = now.writer().filter(|writer| writer.arn == before.to);
    if let Some(writer) = moved {
        return Ok(Some(format!("{} writes in place of {}", writer.arn, before.from)));
    }
    let GlobalCluster { id, status, .. } = &now;
    let under_way = ["switching-over", "failing-over"].contains(&status.as_str());
    Ok(under_way.then(|| format!("{id} is {status}")))
}
