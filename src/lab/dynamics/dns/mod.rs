//! DNS of the lab: what a name answers (`answer`), the server that says it (`server`), and a watch that writes every
//! change of an answer into the truth.

mod answer;
mod server;

pub use answer::{Answer, Resolution, addresses_of, resolve};
pub use server::{Sockets, bind, serve};

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use serde_json::json;

use super::poll;
use crate::lab::Lab;
use crate::lab::truth::{TruthState, What};
use crate::lab::world::{Routing, World};

/// How often the watch looks at the answers, cloud seconds.
const WATCH_S: f64 = 0.5;

/// An answer to watch: the record's name and the client Region, empty where it does not matter.
type Watched = (String, String);

/// Starts the watch that writes into the truth when the answer of a record changes.
pub(super) fn spawn_watch(lab: &Arc<Lab>) {
    let lab = lab.clone();
    tokio::spawn(async move {
        let mut known: BTreeMap<Watched, BTreeSet<Ipv4Addr>> = current(&lab.world());
        loop {
            poll(&lab, WATCH_S).await;
            let now = current(&lab.world());
            for ((name, region), addresses) in &now {
                if known.get(&(name.clone(), region.clone())) == Some(addresses) {
                    continue;
                }
                let detail = json!({"addresses": addresses});
                lab.truth
                    .write(What::Dns, name.trim_end_matches('.'), region, TruthState::Up, detail);
            }
            known = now;
        }
    });
}

/// Every routed record's possible addresses, for each client Region where that matters.
fn current(world: &World) -> BTreeMap<Watched, BTreeSet<Ipv4Addr>> {
    let mut answers = BTreeMap::new();
    let records = world.route53.zones.values().flat_map(|zone| &zone.served);
    for record in records.filter(|record| record.record_type == "A") {
        let by_region = matches!(record.routing, Routing::Latency(_));
        let everywhere = [String::new()];
        let regions: Vec<&String> = if by_region {
            world.regions.keys().collect()
        } else {
            everywhere.iter().collect()
        };
        for region in regions {
            let client = Some(region.as_str()).filter(|region| !region.is_empty());
            answers.insert(
                (record.name.clone(), region.clone()),
                answer::possible(world, &record.name, client).into_iter().collect(),
            );
        }
    }
    answers
}
