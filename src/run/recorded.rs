//! What a run keeps of what happened, within bounds; what there is no room for is counted.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::RunClock;
use crate::event::Stamped;
use crate::recording::{Ended, LedgerResult, ProbeSample, Pulse, RECORDING_VERSION, Recording, Slice, TokenAccount};
use crate::run::load::move_times;

/// Events kept at most; more are counted in `Recording::dropped`.
const EVENTS_MAX: usize = 200_000;
/// Probe results kept at most.
const PROBES_MAX: usize = 1_000_000;

/// The recording of a run that goes on.
#[derive(Default)]
pub(super) struct Recorded {
    /// Whole seconds, in order.
    slices: Vec<Slice>,
    keep: Keep,
    events: Vec<Stamped>,
    probes: Vec<ProbeSample>,
    dropped: BTreeMap<String, u64>,
}

/// How much of the past a run keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Every second with its histograms, so that it can be judged by phase.
    #[default]
    Seconds,
    /// The counts of every second, and one set of histograms for all but the last: enough for a summary, in memory that
    /// does not grow with what is measured.
    Totals,
}

impl Recorded {
    /// What keeps as much.
    pub(super) fn new(keep: Keep) -> Self {
        Self {
            keep,
            ..Self::default()
        }
    }

    /// Keeps a second.
    pub(super) fn second(&mut self, slice: Slice) {
        if self.keep == Keep::Totals
            && let [first, .., last] = self.slices.as_mut_slice()
        {
            move_times(last, first);
        }
        self.slices.push(slice);
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{Hist, StepSlice};

    fn slice(second: u64) -> Slice {
        let mut times = Hist::working();
        times.record(1_000 + second).expect("in range");
        let step = StepSlice {
            ok: 1,
            latency: Hist::encode(&times),
            ..StepSlice::default()
        };
        Slice {
            second,
            intended: 1,
            steps: vec![step],
            ..Slice::default()
        }
    }

    fn kept(keep: Keep) -> Vec<Slice> {
        let mut recorded = Recorded::new(keep);
        (0..20).for_each(|second| recorded.second(slice(second)));
        recorded.slices
    }

    fn merged(slices: &[Slice]) -> Vec<(u64, u64)> {
        let mut all = Hist::working();
        for step in slices.iter().flat_map(|slice| &slice.steps) {
            step.latency.add_to(&mut all).expect("it was encoded here");
        }
        all.iter_recorded()
            .map(|one| (one.value_iterated_to(), one.count_at_value()))
            .collect()
    }

    #[test]
    fn totals_keep_every_count_and_every_time_in_two_histograms() {
        let (seconds, totals) = (kept(Keep::Seconds), kept(Keep::Totals));
        assert_eq!(merged(&seconds), merged(&totals));
        let counts = |slices: &[Slice]| -> Vec<(u64, u64)> {
            slices.iter().map(|slice| (slice.second, slice.steps[0].ok)).collect()
        };
        assert_eq!(counts(&seconds), counts(&totals));
        let full = |slices: &[Slice]| slices.iter().filter(|slice| !slice.steps[0].latency.is_empty()).count();
        assert_eq!((full(&seconds), full(&totals)), (20, 2));
    }
}
