//! Until a database has a standby in sync again after it lost its primary.

use super::Value;
use super::objectives::Finding;
use super::timeline::{FaultTimes, Timeline};
use crate::event::Event;
use crate::plan::Role;

/// Whether an event says that a failover is over, of an instance or of a cluster.
fn is_complete(message: &str) -> bool {
    let message = message.to_lowercase();
    message.contains("failover") && message.contains("complete")
}

/// Injection to the first description with a standby, available, after a failover was seen.
pub(super) fn redundancy(timeline: &Timeline<'_>, fault: &FaultTimes<'_>) -> Finding {
    let (Some(injected), Some(window)) = (fault.instant(), timeline.window(fault)) else {
        return Finding::Unknown("the fault never got into the world".to_owned());
    };
    let role = timeline.plan.target.roles.get(&fault.plan.role);
    let Some((role, database)) = role.and_then(|role| Some((role, role.database()?))) else {
        return Finding::Unknown(format!("role {} is no database", fault.plan.role));
    };
    let region = &fault.plan.region;
    let described = |event: &Event| match event {
        Event::DatabasePolled {
            region: in_region,
            database: name,
            status,
            az,
            secondary_az,
            multi_az,
        } if in_region == region && name == database => {
            Some((status.clone(), az.clone(), secondary_az.is_some(), *multi_az))
        }
        _ => None,
    };
    let before = timeline
        .events()
        .filter(|(at, _)| *at <= injected)
        .filter_map(|(_, event)| described(event))
        .next_back()
        .map(|(_, az, _, multi_az)| (az, multi_az))
        .or_else(|| {
            let found = timeline.plan.target.inventory.regions.get(region)?;
            if let Some(cluster) = found.clusters.get(database) {
                let (_, az) = cluster.writer.as_ref()?;
                return Some((az.clone(), !cluster.readers.is_empty()));
            }
            let found = found.databases.get(database)?;
            Some((found.az.clone(), found.multi_az))
        });
    let Some((az_before, multi_az)) = before else {
        return Finding::Unknown(format!("{database} in {region} was never described before the fault"));
    };
    if !multi_az {
        return Finding::Never(format!(
            "{database} in {region} is not Multi-AZ: it has no standby or reader to restore"
        ));
    }
    let mut failed_over = None;
    let mut polled = false;
    for (at, event) in timeline.events().filter(|(at, _)| *at > injected && *at <= window.end) {
        if let Event::DatabaseEvent {
            region: in_region,
            database: name,
            message,
        } = event
            && in_region == region
            && name == database
            && is_complete(message)
        {
            failed_over.get_or_insert(at);
        }
        let Some((status, az, standby, multi_az)) = described(event) else {
            continue;
        };
        polled = true;
        if az != az_before {
            failed_over.get_or_insert(at);
        }
        if failed_over.is_some() && multi_az && standby && status == "available" {
            return Finding::Reached(
                Value::Duration(timeline.cloud(at - injected)),
                match role {
                    Role::DbCluster(_) => format!("a reader could take over again from the writer in {az}"),
                    _ => format!("the standby was in sync again with the primary in {az}"),
                },
            );
        }
    }
    let waited = Value::Duration(timeline.cloud(window.end - injected));
    match (failed_over, polled) {
        (Some(_), _) => Finding::AtLeast(waited, "no standby was seen after the failover".to_owned(), window.cut),
        (None, true) => Finding::AtLeast(waited, "no failover was seen".to_owned(), window.cut),
        (None, false) => Finding::Unknown("the database did not change in any description after the fault".to_owned()),
    }
}
