//! Aurora's global clusters: a secondary Region takes over from the primary, in a switchover with every write and in a
//! failover without those that had not reached it yet.

use std::sync::Arc;

use super::cluster::{address_of_writer, not_found, set_status};
use super::{CLUSTER, event};
use crate::lab::Lab;
use crate::lab::data::DatabaseState;
use crate::lab::dynamics::sleep_until;
use crate::lab::error::AwsError;
use crate::lab::world::{CloudTime, GlobalHandover, World};

/// When the phases end, in cloud time.
#[derive(Debug)]
struct Phases {
    /// The old primary takes no more writes.
    stopped_at: CloudTime,
    /// The secondary is promoted, and the global endpoint's record leads to it.
    promoted_at: CloudTime,
    /// It accepts writes.
    accepts_writes_at: CloudTime,
    /// The old primary replicates again.
    whole_at: CloudTime,
}

/// SwitchoverGlobalCluster, or with `loses` FailoverGlobalCluster that allows data loss: the cluster of that ARN becomes
/// the primary.
pub fn hand_over(lab: &Arc<Lab>, id: &str, to: &str, loses: bool) -> Result<(), AwsError> {
    let now = lab.now();
    let config = &lab.config.database;
    let lasts = if loses {
        config.global_failover
    } else {
        config.global_switchover
    };
    let lasts = lab.draw_duration(lasts).as_secs_f64();
    let rejoins = lab.draw_duration(config.global_rejoin).as_secs_f64();
    // A quarter to stop and to catch up, half to promote, the rest until the engine accepts writes [our choice].
    let phases = Phases {
        stopped_at: now + lasts / 4.0,
        promoted_at: now + lasts * 0.75,
        accepts_writes_at: now + lasts,
        whole_at: now + lasts + if loses { rejoins } else { 0.0 },
    };
    let handover = begin(&mut lab.world(), id, to, loses, now)?;
    tokio::spawn(run(lab.clone(), id.to_owned(), handover, phases));
    Ok(())
}

fn begin(world: &mut World, id: &str, to: &str, loses: bool, now: CloudTime) -> Result<GlobalHandover, AwsError> {
    let global = world
        .global_clusters
        .get(id)
        .ok_or_else(|| AwsError::not_found("GlobalClusterNotFoundFault", format!("Global cluster {id} not found.")))?;
    let known = global.members.iter().find(|(_, arn)| **arn == to);
    let (to, _) = known.ok_or_else(|| not_found(to))?;
    if global.status != "available" || !global.resyncing.is_empty() {
        return Err(wrong_state(format!("Global cluster {id} is not in available state.")));
    }
    if *to == global.writer {
        let message = format!("The DB cluster in {to} is the primary of {id} already.");
        return Err(AwsError::bad_request("InvalidDBClusterStateFault", message));
    }
    let handover = GlobalHandover {
        from: global.writer.clone(),
        to: to.clone(),
        loses,
    };
    let cluster = global.cluster.clone();
    for region in [&handover.from, &handover.to] {
        let state = world.regions.get(region);
        let status = state
            .and_then(|state| state.db_clusters.get(&cluster))
            .map(|one| one.status.as_str());
        if status != Some("available") {
            let message = format!("DB cluster {cluster} in {region} is not in available state.");
            return Err(AwsError::bad_request("InvalidDBClusterStateFault", message));
        }
    }
    let status = if loses { "failing-over" } else { "switching-over" };
    if let Some(global) = world.global_clusters.get_mut(id) {
        global.status = status.to_owned();
        global.handover = Some(handover.clone());
    }
    for region in [&handover.from, &handover.to] {
        if let Some(state) = world.regions.get_mut(region) {
            set_status(state, &cluster, status);
        }
    }
    if !loses {
        let to = &handover.to;
        tell(
            world,
            to,
            &cluster,
            &format!("Global switchover to DB cluster {cluster} in Region {to} started."),
            now,
        );
    }
    Ok(handover)
}

async fn run(lab: Arc<Lab>, id: String, handover: GlobalHandover, phases: Phases) {
    let GlobalHandover { from, to, loses } = &handover;
    let Some(cluster) = lab
        .world()
        .global_clusters
        .get(&id)
        .map(|global| global.cluster.clone())
    else {
        return;
    };
    let Some(database) = lab.data.database(from, &cluster) else {
        return;
    };
    database.set_state(DatabaseState::Hung);
    sleep_until(&lab, phases.stopped_at).await;
    database.set_state(DatabaseState::Fenced);
    if *loses {
        database.lose_unreplicated();
    } else {
        let shut = format!("Old primary DB cluster {cluster} in Region {from} successfully shut down.");
        tell(&mut lab.world(), from, &cluster, &shut, phases.stopped_at);
    }
    sleep_until(&lab, phases.promoted_at).await;
    let address = {
        let mut world = lab.world();
        if let Some(global) = world.global_clusters.get_mut(&id) {
            global.writer = to.clone();
            if *loses {
                global.resyncing.insert(from.clone());
            }
        }
        if !loses {
            let promoted = format!("New primary DB cluster {cluster} in Region {to} was successfully promoted.");
            tell(&mut world, to, &cluster, &promoted, phases.promoted_at);
        }
        world
            .regions
            .get(to)
            .and_then(|state| address_of_writer(state, &cluster))
    };
    if let Some(address) = address {
        database.move_endpoint(address);
    }
    sleep_until(&lab, phases.accepts_writes_at).await;
    database.set_state(DatabaseState::Serving);
    accept(&mut lab.world(), &id, &cluster, &handover, lab.now());
    sleep_until(&lab, phases.whole_at).await;
    let mut world = lab.world();
    if *loses {
        if let Some(global) = world.global_clusters.get_mut(&id) {
            global.resyncing.remove(from);
        }
        let over =
            format!("Finished resynchronizing members of DB cluster {cluster} in Region {to} after global failover.");
        tell(&mut world, to, &cluster, &over, phases.whole_at);
    }
    drop(world);
    database.mark_redundant();
}

/// The new primary accepts writes.
fn accept(world: &mut World, id: &str, cluster: &str, handover: &GlobalHandover, now: CloudTime) {
    let GlobalHandover { from, to, loses } = handover;
    if let Some(global) = world.global_clusters.get_mut(id) {
        global.status = "available".to_owned();
        global.handover = None;
    }
    for region in [from, to] {
        if let Some(state) = world.regions.get_mut(region) {
            set_status(state, cluster, "available");
        }
    }
    if *loses {
        tell(
            world,
            to,
            cluster,
            &format!("Global failover to DB cluster {cluster} in Region {to} completed."),
            now,
        );
        let resync =
            format!("Started resynchronizing members of DB cluster {cluster} in Region {to} after global failover.");
        tell(world, to, cluster, &resync, now);
    } else {
        tell(
            world,
            to,
            cluster,
            &format!("Global switchover to DB cluster {cluster} in Region {to} finished."),
            now,
        );
    }
    let dns = "Aurora finished changing the DNS name that the global writer endpoint resolves to.";
    tell(world, to, cluster, dns, now);
}

fn tell(world: &mut World, region: &str, cluster: &str, message: &str, at: CloudTime) {
    if let Some(state) = world.regions.get_mut(region) {
        event(state, CLUSTER, cluster, message, "global failover", at);
    }
}

fn wrong_state(message: String) -> AwsError {
    AwsError::bad_request("InvalidGlobalClusterStateFault", message)
}
