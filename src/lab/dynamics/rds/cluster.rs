//! Aurora: a cluster's failover to a reader, in its phases. The members share one storage volume, so that no
//! acknowledged write is lost whoever takes over.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::{CLUSTER, FENCED_PERCENT, INSTANCE, event, is_silent};
use crate::lab::Lab;
use crate::lab::data::DatabaseState;
use crate::lab::dynamics::{region_mut, sleep_until};
use crate::lab::error::AwsError;
use crate::lab::world::{CloudTime, DbCluster, DbInstance, Region};

/// Who takes over from whom, and when the phases end, in cloud time.
#[derive(Debug)]
struct Failover {
    from: String,
    to: String,
    /// The old writer's connections are reset.
    fenced_at: CloudTime,
    /// The reader is promoted, and the endpoint's record leads to it.
    endpoint_at: CloudTime,
    /// The new writer accepts writes.
    accepts_writes_at: CloudTime,
    /// The old writer is back as a reader.
    rejoined_at: CloudTime,
}

/// FailoverDBCluster: the named reader takes over, or the available one of the best promotion tier.
pub fn fail_over(lab: &Arc<Lab>, region: &str, id: &str, reader: Option<&str>) -> Result<(), AwsError> {
    let failover = begin(lab, region, id, reader)?;
    tokio::spawn(run(lab.clone(), region.to_owned(), id.to_owned(), failover));
    Ok(())
}

fn begin(lab: &Lab, region: &str, id: &str, reader: Option<&str>) -> Result<Failover, AwsError> {
    let now = lab.now();
    let config = &lab.config.database;
    let lasts = lab.draw_duration(config.cluster_failover).as_secs_f64();
    // The record changes on the way: promotion takes the first half, the engine's start the rest [our choice].
    let promoted = lasts / 2.0;
    let fenced = lab.draw_duration(FENCED_PERCENT).as_secs_f64() / 100.0 * promoted;
    let rejoined = lab.draw_duration(config.rejoin).as_secs_f64();
    let mut world = lab.world();
    let region = region_mut(&mut world, region)?;
    let cluster = region.db_clusters.get(id).ok_or_else(|| not_found(id))?;
    if cluster.status != "available" {
        return Err(wrong_state(format!("DB cluster {id} is not in available state.")));
    }
    let to = heir(region, cluster, reader)?;
    let from = cluster.writer.clone();
    let az = |region: &Region, id: &str| region.db_instances.get(id).map(|db| db.az.clone());
    let kind = if az(region, &from) == az(region, &to) {
        "same"
    } else {
        "cross"
    };
    set_status(region, id, "failing-over");
    for member in [&from, &to] {
        set_member_status(region, member, "rebooting");
    }
    let started = format!("Started {kind} AZ failover to DB instance: {to}");
    event(region, CLUSTER, id, &started, "failover", now);
    Ok(Failover {
        from,
        to,
        fenced_at: now + fenced,
        endpoint_at: now + promoted,
        accepts_writes_at: now + lasts,
        rejoined_at: now + lasts + rejoined,
    })
}

/// The reader that takes over.
fn heir(region: &Region, cluster: &DbCluster, wanted: Option<&str>) -> Result<String, AwsError> {
    let ready = |db: &&DbInstance| db.id != cluster.writer && db.status == "available" && !is_silent(region, &db.az);
    let mut members = cluster.members.iter().filter_map(|id| region.db_instances.get(id));
    let Some(wanted) = wanted else {
        let found = members.find(ready);
        return found
            .map(|db| db.id.clone())
            .ok_or_else(|| wrong_state(format!("DB cluster {} has no reader that is available.", cluster.id)));
    };
    let member = members.find(|db| db.id.eq_ignore_ascii_case(wanted) || db.arn == wanted);
    let member = member.ok_or_else(|| {
        let message = format!("DB instance {wanted} is not a member of DB cluster {}.", cluster.id);
        AwsError::bad_request("InvalidParameterValue", message)
    })?;
    if ready(&member) {
        return Ok(member.id.clone());
    }
    let message = format!("DB instance {} is not a reader that is available.", member.id);
    Err(AwsError::bad_request("InvalidDBInstanceState", message))
}

async fn run(lab: Arc<Lab>, region: String, id: String, failover: Failover) {
    // Nobody writes to a secondary of a global cluster.
    let secondary = lab.world().is_secondary(&region, &id);
    let database = lab.data.database(&region, &id).filter(|_| !secondary);
    let set = |state| {
        if let Some(database) = &database {
            database.set_state(state);
        }
    };
    set(DatabaseState::Hung);
    sleep_until(&lab, failover.fenced_at).await;
    set(DatabaseState::Fenced);
    sleep_until(&lab, failover.endpoint_at).await;
    let promoted = {
        let mut world = lab.world();
        let state = world.regions.get_mut(&region);
        state.and_then(|state| promote(state, &id, &failover.to))
    };
    if let (Some(database), Some(address)) = (&database, promoted) {
        database.move_endpoint(address);
    }
    sleep_until(&lab, failover.accepts_writes_at).await;
    set(DatabaseState::Serving);
    let now = lab.now();
    if let Some(state) = lab.world().regions.get_mut(&region) {
        set_status(state, &id, "available");
        set_member_status(state, &failover.to, "available");
        event(
            state,
            INSTANCE,
            &failover.to,
            "DB instance restarted",
            "availability",
            now,
        );
        let over = format!("Completed failover to DB instance: {}", failover.to);
        event(state, CLUSTER, &id, &over, "failover", now);
    }
    sleep_until(&lab, failover.rejoined_at).await;
    let now = lab.now();
    if let Some(state) = lab.world().regions.get_mut(&region) {
        set_member_status(state, &failover.from, "available");
        event(
            state,
            INSTANCE,
            &failover.from,
            "DB instance restarted",
            "availability",
            now,
        );
    }
    if let Some(database) = &database {
        database.mark_redundant();
    }
}

/// The address that a cluster's endpoint leads to.
pub(super) fn address_of_writer(region: &Region, id: &str) -> Option<Ipv4Addr> {
    Some(region.db_clusters.get(id)?.endpoint_address)
}

/// The reader writes from now on; answers its address.
fn promote(region: &mut Region, id: &str, to: &str) -> Option<Ipv4Addr> {
    let address = region.db_instances.get(to)?.endpoint_address;
    let cluster = region.db_clusters.get_mut(id)?;
    cluster.writer = to.to_owned();
    cluster.endpoint_address = address;
    Some(address)
}

/// Clusters whose writer's AZ is silent while a reader's is not.
pub(super) fn stranded(lab: &Lab) -> Vec<(String, String)> {
    let world = lab.world();
    let mut found = Vec::new();
    for region in world.regions.values() {
        for cluster in region.db_clusters.values() {
            let writer = region.db_instances.get(&cluster.writer);
            let cut_off = writer.is_some_and(|writer| is_silent(region, &writer.az));
            if cut_off && cluster.status == "available" && heir(region, cluster, None).is_ok() {
                found.push((region.name.clone(), cluster.id.clone()));
            }
        }
    }
    found
}

pub(super) fn set_status(region: &mut Region, id: &str, status: &str) {
    if let Some(cluster) = region.db_clusters.get_mut(id) {
        cluster.status = status.to_owned();
    }
}

fn set_member_status(region: &mut Region, id: &str, status: &str) {
    if let Some(member) = region.db_instances.get_mut(id) {
        member.status = status.to_owned();
    }
}

/// The error for a cluster that is not there.
pub(in crate::lab) fn not_found(id: &str) -> AwsError {
    AwsError::not_found("DBClusterNotFoundFault", format!("DBCluster {id} not found."))
}

fn wrong_state(message: String) -> AwsError {
    AwsError::bad_request("InvalidDBClusterStateFault", message)
}
