//! `rds.failover_cluster`: a reader of an Aurora cluster takes over from its writer. A cluster without a reader has
//! nobody to take over: Aurora would create a writer anew, minutes later, so it is left alone.

use crate::aws::DbCluster;
use crate::plan::Role;
use crate::run::chaos::ChaosError;
use crate::run::chaos::before::Before;
use crate::run::chaos::guard;
use crate::run::chaos::injection::Context;
use crate::run::chaos::runner::{Hand, Sight};

/// Checks that somebody can take over, the named reader where one is named.
pub(in crate::run::chaos) async fn prepare(
    sight: &Sight<'_>,
    context: &Context<'_>,
    role: &str,
    reader: Option<&str>,
) -> Result<Before, ChaosError> {
    let cluster = available(sight, context, role).await?;
    let (id, region) = (&cluster.id, sight.region);
    let writer = cluster.writer().map(|writer| writer.id.clone());
    let writer = writer.ok_or_else(|| ChaosError::Degraded(format!("{id} in {region} has no writer at the moment")))?;
    if let Some(reader) = reader {
        guard::reads(region, &cluster, reader).map_err(ChaosError::Refused)?;
    }
    guard::can_take_over(region, &cluster).map_err(ChaosError::Degraded)?;
    Ok(Before::RdsFailoverCluster {
        cluster: cluster.id,
        writer,
        reader: reader.map(str::to_owned),
    })
}

/// The cluster of a role, available and allowed to be touched.
async fn available(sight: &Sight<'_>, context: &Context<'_>, role: &str) -> Result<DbCluster, ChaosError> {
    let Some(Role::DbCluster(id)) = context.target.roles.get(role) else {
        return Err(ChaosError::Refused("its role is not an Aurora cluster".to_owned()));
    };
    let region = sight.region;
    let cluster = sight.reader.db_cluster(region, id).await?;
    let cluster = cluster
        .ok_or_else(|| ChaosError::Refused(format!("there is no Aurora cluster {id} in {region}; nothing to hit")))?;
    context.may_touch(id, &cluster.tags)?;
    if cluster.status != "available" {
        let status = &cluster.status;
        return Err(ChaosError::Degraded(format!(
            "{id} in {region} is {status}, not available"
        )));
    }
    Ok(cluster)
}

/// Asks for the failover.
pub(in crate::run::chaos) async fn fail_over(
    hand: &Hand<'_>,
    cluster: &str,
    reader: Option<&str>,
) -> Result<(), ChaosError> {
    let answer = hand.cloud.failover_db_cluster(hand.region, cluster, reader).await;
    let detail = match reader {
        Some(reader) => format!("{cluster}, to {reader}"),
        None => cluster.to_owned(),
    };
    hand.called("rds:FailoverDBCluster", &detail, answer)
}

/// Looks for the failover: an event since `since` (cloud time), or another writer.
pub(in crate::run::chaos) async fn observe(
    hand: &Hand<'_>,
    cluster: &str,
    writer: &str,
    since: f64,
) -> Result<Option<String>, ChaosError> {
    let reader = hand.cloud.reader();
    let events = reader.db_cluster_events(hand.region, cluster, since).await?;
    // One that failed (RDS-EVENT-0069) is a failover that did not happen.
    let told = events
        .iter()
        .find(|event| event.message.contains("failover to DB instance"));
    if let Some(event) = told {
        return Ok(Some(format!("RDS event \"{}\"", event.message)));
    }
    let found = reader.db_cluster(hand.region, cluster).await?;
    let now = found.and_then(|found| Some(found.writer()?.id.clone()));
    let moved = now.filter(|now| now != writer);
    Ok(moved.map(|now| format!("{now} writes in place of {writer}")))
}
