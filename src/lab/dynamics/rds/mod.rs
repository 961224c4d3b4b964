//! RDS: reboots, failovers in their phases, the rebuilding of the standby, stops and starts, and the events that tell
//! of them. Aurora's clusters stand in `cluster` and `global`.
//! What a statement meets in each phase is `data`'s; this says when the phases change.

pub mod cluster;
pub mod global;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use super::{pause, poll, region_mut, sleep_until};
use crate::lab::Lab;
use crate::lab::config::{DatabaseConfig, Range, Replication};
use crate::lab::data::{Database, DatabaseState};
use crate::lab::error::AwsError;
use crate::lab::world::{CloudTime, DbEvent, DbFailover, DbInstance, Region};

/// The source types of events.
const INSTANCE: &str = "db-instance";
const CLUSTER: &str = "db-cluster";

/// How often RDS looks after its instances, cloud seconds [our choice].
const WATCH_S: f64 = 5.0;

/// When the old primary is fenced, in percent of the way to the promotion; a range so that it is drawn like the
/// others [our choice].
const FENCED_PERCENT: Range = Range::seconds(40, 70);

/// Starts the watch that fails over a database whose primary's AZ has gone silent and stays so.
pub(super) fn spawn(lab: &Arc<Lab>) {
    let lab = lab.clone();
    tokio::spawn(async move {
        // Since when each database has been stranded, and when that counts as detected.
        let mut suspects: BTreeMap<(String, String), (CloudTime, CloudTime)> = BTreeMap::new();
        loop {
            poll(&lab, WATCH_S).await;
            let now = lab.now();
            let stranded = [stranded(&lab), cluster::stranded(&lab)].concat();
            suspects.retain(|key, _| stranded.contains(key));
            for key in stranded {
                let detect = || now + lab.draw_duration(lab.config.database.detect).as_secs_f64();
                let (since, detected_at) = *suspects.entry(key.clone()).or_insert_with(|| (now, detect()));
                if now < detected_at {
                    continue;
                }
                suspects.remove(&key);
                let (region, id) = key;
                if is_cluster(&lab, &region, &id) {
                    // Somebody may have begun one just now.
                    let _ = cluster::fail_over(&lab, &region, &id, None);
                } else if let Ok(failover) = begin(&lab, &region, &id, since) {
                    tokio::spawn(fail_over(lab.clone(), region, id, failover));
                }
            }
        }
    });
}

/// RebootDBInstance: with a forced failover the standby takes over, otherwise the instance restarts in place.
pub fn reboot(lab: &Arc<Lab>, region: &str, id: &str, force_failover: bool) -> Result<(), AwsError> {
    if force_failover {
        let failover = begin(lab, region, id, lab.now())?;
        tokio::spawn(fail_over(lab.clone(), region.to_owned(), id.to_owned(), failover));
        return Ok(());
    }
    {
        let mut world = lab.world();
        available(region_mut(&mut world, region)?, id)?.status = "rebooting".to_owned();
    }
    tokio::spawn(restart(lab.clone(), region.to_owned(), id.to_owned()));
    Ok(())
}

/// StopDBInstance: the engine shuts down at once, standby and all; `stopped` follows. The lab does not start it by
/// itself after seven days.
pub fn stop(lab: &Arc<Lab>, region: &str, id: &str) -> Result<(), AwsError> {
    {
        let mut world = lab.world();
        let db = available(region_mut(&mut world, region)?, id)?;
        stands_alone(db)?;
        db.status = "stopping".to_owned();
    }
    tokio::spawn(shut_down(lab.clone(), region.to_owned(), id.to_owned()));
    Ok(())
}

/// StartDBInstance, of one that is stopped.
pub fn start(lab: &Arc<Lab>, region: &str, id: &str) -> Result<(), AwsError> {
    {
        let mut world = lab.world();
        let db = instance(region_mut(&mut world, region)?, id)?;
        stands_alone(db)?;
        if db.status != "stopped" {
            let message = format!("Instance {id} is not in stopped state.");
            return Err(AwsError::bad_request("InvalidDBInstanceState", message));
        }
        db.status = "starting".to_owned();
    }
    tokio::spawn(start_up(lab.clone(), region.to_owned(), id.to_owned()));
    Ok(())
}

/// Draws the phases of a failover that is promoted from `now` on. The total is measured from the loss at `since`
/// until writes are accepted, and stays within its documented range.
fn phases(config: &DatabaseConfig, draw: impl Fn(Range) -> Duration, since: CloudTime, now: CloudTime) -> DbFailover {
    let seconds = |range| draw(range).as_secs_f64();
    let promote = seconds(config.promote);
    // A few seconds inside the range, so that scheduling does not carry the total over its edge.
    let least = config.total.min.as_secs_f64() + 2.0;
    let most = (config.total.max.as_secs_f64() - 5.0).max(least);
    let total = (now - since + promote + seconds(config.recover)).clamp(least, most);
    // The old primary is fenced on the way to the promotion; its connections hang until then.
    let fenced = seconds(FENCED_PERCENT) / 100.0 * promote;
    let endpoint_at = now + promote;
    let accepts_writes_at = (since + total).max(endpoint_at);
    DbFailover {
        started_at: since,
        fenced_at: now + fenced,
        endpoint_at,
        accepts_writes_at,
        redundant_at: Some(accepts_writes_at + seconds(config.resync)),
    }
}

/// Checks that a failover is possible and puts it into the world.
fn begin(lab: &Lab, region: &str, id: &str, since: CloudTime) -> Result<DbFailover, AwsError> {
    let now = lab.now();
    let failover = phases(&lab.config.database, |range| lab.draw_duration(range), since, now);
    let mut world = lab.world();
    let region = region_mut(&mut world, region)?;
    let db = available(region, id)?;
    if !db.multi_az {
        let message = "Cannot reboot with failover: the DB instance is not a Multi-AZ deployment.";
        return Err(AwsError::bad_request("InvalidParameterCombination", message));
    }
    if !db.standby_in_sync || db.secondary_az.is_none() {
        let message = format!("Instance {id} cannot fail over: its standby is not in sync yet.");
        return Err(AwsError::bad_request("InvalidDBInstanceState", message));
    }
    db.status = "rebooting".to_owned();
    db.standby_in_sync = false;
    db.failover = Some(failover.clone());
    let started = "Multi-AZ instance failover started.";
    event(region, INSTANCE, id, started, "failover", now);
    Ok(failover)
}

async fn fail_over(lab: Arc<Lab>, region: String, id: String, phases: DbFailover) {
    let Some(database) = lab.data.database(&region, &id) else {
        return;
    };
    database.set_state(DatabaseState::Hung);
    sleep_until(&lab, phases.fenced_at).await;
    database.set_state(DatabaseState::Fenced);
    if lab.config.database.replication == Replication::Asynchronous {
        database.lose_unreplicated();
    }
    sleep_until(&lab, phases.endpoint_at).await;
    let old_az = swap(&lab, &region, &id);
    if let Some(address) = endpoint_address(&lab, &region, &id) {
        database.move_endpoint(address);
    }
    sleep_until(&lab, phases.accepts_writes_at).await;
    database.set_state(DatabaseState::Serving);
    let now = lab.now();
    if let Some(state) = lab.world().regions.get_mut(&region) {
        if let Some(db) = state.db_instances.get_mut(&id) {
            db.status = "available".to_owned();
        }
        event(state, INSTANCE, &id, "DB instance restarted", "availability", now);
        let over = "Multi-AZ instance failover completed.";
        event(state, INSTANCE, &id, over, "failover", now);
    }
    sleep_until(&lab, phases.redundant_at.unwrap_or(now)).await;
    // A standby cannot be rebuilt in an AZ that cannot be reached.
    let cut_off = |az: &str| {
        let world = lab.world();
        let state = world.regions.get(&region);
        state.is_some_and(|state| is_silent(state, az))
    };
    while old_az.as_deref().is_some_and(cut_off) {
        poll(&lab, WATCH_S).await;
    }
    if let Some(db) = lab
        .world()
        .regions
        .get_mut(&region)
        .and_then(|r| r.db_instances.get_mut(&id))
    {
        db.secondary_az = old_az;
        db.standby_in_sync = true;
        db.failover = None;
    }
    database.mark_redundant();
}

/// The standby's AZ becomes the primary's; answers the old primary's AZ, where the new standby is built.
fn swap(lab: &Lab, region: &str, id: &str) -> Option<String> {
    let mut world = lab.world();
    let state = world.regions.get_mut(region)?;
    let db = state.db_instances.get_mut(id)?;
    let new_az = db.secondary_az.take()?;
    let index = state.subnets.values().find(|s| s.az == new_az)?.az_index;
    let [first, second, _, host] = db.endpoint_address.octets();
    db.endpoint_address = Ipv4Addr::new(first, second, index, host);
    Some(std::mem::replace(&mut db.az, new_az))
}

async fn restart(lab: Arc<Lab>, region: String, id: String) {
    // Nobody's statements go to a reader.
    let database = written_by(&lab, &region, &id);
    let set = |state| {
        if let Some(database) = &database {
            database.set_state(state);
        }
    };
    let ends_at = lab.now() + lab.draw_duration(lab.config.database.restart).as_secs_f64();
    note(&lab, &region, &id, "DB instance shutdown", "availability");
    set(DatabaseState::Fenced);
    sleep_until(&lab, ends_at).await;
    set(DatabaseState::Serving);
    set_status(&lab, &region, &id, "available");
    note(&lab, &region, &id, "DB instance restarted", "availability");
}

async fn shut_down(lab: Arc<Lab>, region: String, id: String) {
    if let Some(database) = lab.data.database(&region, &id) {
        database.set_state(DatabaseState::Fenced);
    }
    note(&lab, &region, &id, "DB instance shutdown", "availability");
    pause(&lab, lab.config.database.stop).await;
    set_status(&lab, &region, &id, "stopped");
    note(&lab, &region, &id, "DB instance stopped", "notification");
}

async fn start_up(lab: Arc<Lab>, region: String, id: String) {
    pause(&lab, lab.config.database.start).await;
    if let Some(database) = lab.data.database(&region, &id) {
        database.set_state(DatabaseState::Serving);
    }
    set_status(&lab, &region, &id, "available");
    note(&lab, &region, &id, "DB instance started", "notification");
}

/// The data that an instance writes: its own, or as the writer of a cluster that of the cluster.
fn written_by(lab: &Lab, region: &str, id: &str) -> Option<Arc<Database>> {
    let of = {
        let world = lab.world();
        let state = world.regions.get(region)?;
        match &state.db_instances.get(id)?.cluster {
            None => id.to_owned(),
            Some(cluster) => {
                let cluster = state.db_clusters.get(cluster).filter(|cluster| cluster.writer == id)?;
                if world.is_secondary(region, &cluster.id) {
                    return None;
                }
                cluster.id.clone()
            }
        }
    };
    lab.data.database(region, &of)
}

fn set_status(lab: &Lab, region: &str, id: &str, status: &str) {
    let mut world = lab.world();
    if let Some(db) = world
        .regions
        .get_mut(region)
        .and_then(|region| region.db_instances.get_mut(id))
    {
        db.status = status.to_owned();
    }
}

/// Databases whose primary's AZ is silent while the standby's is not.
fn stranded(lab: &Lab) -> Vec<(String, String)> {
    let world = lab.world();
    let mut found = Vec::new();
    for region in world.regions.values() {
        for db in region.db_instances.values() {
            let Some(standby) = db.secondary_az.as_deref().filter(|_| db.standby_in_sync) else {
                continue;
            };
            if db.status == "available" && is_silent(region, &db.az) && !is_silent(region, standby) {
                found.push((region.name.clone(), db.id.clone()));
            }
        }
    }
    found
}

fn is_cluster(lab: &Lab, region: &str, id: &str) -> bool {
    let world = lab.world();
    let state = world.regions.get(region);
    state.is_some_and(|state| state.db_clusters.contains_key(id))
}

/// A member of a cluster is not stopped or started without the others.
fn stands_alone(db: &DbInstance) -> Result<(), AwsError> {
    if db.cluster.is_none() {
        return Ok(());
    }
    let message = "aurora-postgresql DB instances are not eligible for stopping and starting.";
    Err(AwsError::bad_request("InvalidParameterCombination", message))
}

fn instance<'r>(region: &'r mut Region, id: &str) -> Result<&'r mut DbInstance, AwsError> {
    region
        .db_instances
        .get_mut(id)
        .ok_or_else(|| AwsError::not_found("DBInstanceNotFound", format!("DBInstance {id} not found.")))
}

fn available<'r>(region: &'r mut Region, id: &str) -> Result<&'r mut DbInstance, AwsError> {
    let db = instance(region, id)?;
    if db.status != "available" {
        let message = format!("Instance {id} is not in available state.");
        return Err(AwsError::bad_request("InvalidDBInstanceState", message));
    }
    Ok(db)
}

fn endpoint_address(lab: &Lab, region: &str, id: &str) -> Option<Ipv4Addr> {
    Some(lab.world().regions.get(region)?.db_instances.get(id)?.endpoint_address)
}

fn is_silent(region: &Region, az: &str) -> bool {
    region.subnets.values().any(|subnet| subnet.az == az && subnet.silent)
}

fn note(lab: &Lab, region: &str, id: &str, message: &str, category: &str) {
    let now = lab.now();
    if let Some(region) = lab.world().regions.get_mut(region) {
        event(region, INSTANCE, id, message, category, now);
    }
}

fn event(region: &mut Region, kind: &str, id: &str, message: &str, category: &str, date: CloudTime) {
    region.db_events.push(DbEvent {
        source_id: id.to_owned(),
        source_type: kind.to_owned(),
        message: message.to_owned(),
        categories: vec![category.to_owned()],
        date,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failover_takes_sixty_to_a_hundred_and_twenty_seconds() {
        let random = std::cell::RefCell::new(fastrand::Rng::with_seed(7));
        let draw = |range: Range| range.min + (range.max - range.min).mul_f64(random.borrow_mut().f64());
        for number in 0..500 {
            // A forced failover has no detection; a crash was noticed up to 35 s ago.
            let now = 1000.0;
            let since = now - f64::from(number % 36);
            let phases = phases(&DatabaseConfig::default(), draw, since, now);
            let total = phases.accepts_writes_at - phases.started_at;
            assert!((60.0..=120.0).contains(&total), "{phases:?}");
            assert!(phases.fenced_at < phases.endpoint_at && phases.endpoint_at <= phases.accepts_writes_at);
            let resync = phases.redundant_at.expect("it is Multi-AZ") - phases.accepts_writes_at;
            assert!((180.0..=600.0).contains(&resync), "{resync}");
        }
    }
}
