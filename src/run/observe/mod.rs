//! Probes: the control plane, write probes, ledgers. Changes nothing in the account.
//! Pollers tell what AWS says as events; write probes tell what a user would have seen, without the load's waiting.

mod clock_offset;
mod control_plane;
mod discover;
mod dns;
mod exchange;
mod inventory;
mod pollers;
mod probe;
mod read_back;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

pub use clock_offset::{NoClock, clock_offset};
pub use discover::{Found, FoundBalancer, Tagged, discover};
pub use dns::{LookupError, entry_answer};
pub use exchange::Access;
pub use inventory::{alarms, ask_fis, edge, inventory};
pub use read_back::{read_back, unread};

use self::control_plane::Sink;
use crate::aws::Reader;
use crate::clock::RunClock;
use crate::event::Stamped;
use crate::plan::Plan;
use crate::recording::{Ack, ProbeSample};

/// Running observers.
pub struct Observe {
    pollers: JoinSet<()>,
    probes: JoinSet<probe::ProbeEnd>,
    sink: Arc<Sink>,
}

/// What is left when the observers have ended.
#[derive(Debug, Default)]
pub struct ObserveEnd {
    /// Writes of probes that were acknowledged.
    pub acknowledged: Vec<Ack>,
    /// Writes of probes whose outcome was never learned.
    pub unknown: Vec<Ack>,
    /// What could not be kept, with a count each.
    pub dropped: BTreeMap<String, u64>,
}

/// Starts the pollers (when there is an account to look into) and the write probes on the current runtime.
/// They begin at t0 and end once `stop` says true.
pub fn start(
    plan: &Arc<Plan>,
    access: &Access,
    reader: Option<Reader>,
    clock: RunClock,
    events: mpsc::Sender<Stamped>,
    probes: mpsc::Sender<ProbeSample>,
    stop: &watch::Receiver<bool>,
) -> Observe {
    let sink = Arc::new(Sink::new(clock, events));
    let mut observe = Observe {
        pollers: JoinSet::new(),
        probes: JoinSet::new(),
        sink: Arc::clone(&sink),
    };
    if let Some(reader) = reader {
        pollers::spawn_all(&mut observe.pollers, plan, &reader, &sink, stop);
    }
    probe::spawn_all(&mut observe.probes, plan, access, clock, &probes, stop);
    observe
}

impl Observe {
    /// Waits for the observers to end, which they do soon after `stop` said true.
    pub async fn join(mut self) -> ObserveEnd {
        while self.pollers.join_next().await.is_some() {}
        let mut end = ObserveEnd::default();
        let mut over = probe::Over::default();
        while let Some(joined) = self.probes.join_next().await {
            if let Ok(probe) = joined {
                end.acknowledged.extend(probe.acknowledged);
                end.unknown.extend(probe.unknown);
                over.add(&probe.over);
            }
        }
        let counts = [
            ("events of observers", self.sink.dropped()),
            ("probes not sent", over.not_sent),
            ("probe results", over.results),
            ("probe writes", over.writes),
        ];
        for (what, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            end.dropped.insert(what.to_owned(), count);
        }
        end
    }
}
