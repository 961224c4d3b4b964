//! What a run keeps of what happened, within bounds; what there is no room for is counted.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::RunClock;
use crate::event::Stamped;
use crate::recording::{Ended, LedgerResult, ProbeSample, Pulse, RECORDING_VERSION, Recording, Slice, TokenAccount};

/// Events kept at most; more are counted in `Recording::dropped`.
const EVENTS_MAX: usize = 200_000;
/// Probe results kept at most.
const PROBES_MAX: usize = 1_000_000;

/// The recording of a run that goes on.
#[derive(Default)]
pub(super) struct Recorded {
    /// Whole seconds, in order.
    pub(super) slices: Vec<Slice>,
    events: Vec<Stamped>,
    probes: Vec<ProbeSample>,
    dropped: BTreeMap<String, u64>,
}

impl Recorded {
    /// Keeps an event.
    pub(super) fn event(&mut self, stamped: Stamped) {
        if self.events.len() < EVENTS_MAX {
            self.events.push(stamped);
        } else {
            self.lost([("events".to_owned(), 1)]);
        }
    }

    /// Keeps what a probe found.
    pub(super) fn probe(&mut self, sample: ProbeSample) {
        if self.probes.len() < PROBES_MAX {
            self.probes.push(sample);
        } else {
            self.lost([("probes".to_owned(), 1)]);
        }
    }

    /// Counts what could not be kept.
    pub(super) fn lost(&mut self, what: impl IntoIterator<Item = (String, u64)>) {
        for (what, count) in what.into_iter().filter(|(_, count)| *count > 0) {
            *self.dropped.entry(what).or_default() += count;
        }
    }

    /// All of it, once the run is over.
    pub(super) fn recording(
        mut self,
        clock: RunClock,
        duration: Duration,
        ended: Ended,
        pulses: Vec<Pulse>,
        ledgers: BTreeMap<String, LedgerResult>,
        tokens: Vec<TokenAccount>,
    ) -> Recording {
        self.events.sort_by_key(|stamped| stamped.at);
        Recording {
            version: RECORDING_VERSION,
            recorded_by: env!("CARGO_PKG_VERSION").to_owned(),
            t0_unix: clock.clock().real_unix_at(clock.t0()),
            epoch_unix: clock.clock().epoch_unix(),
            duration,
            ended,
            slices: self.slices,
            pulses,
            probes: self.probes,
            ledgers,
            tokens,
            events: self.events,
            dropped: self.dropped,
        }
    }
}
