//! What a run keeps of what happened, within bounds; what there is no room for is counted.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::RunClock;
use crate::event::Stamped;
use crate::recording::{Ended, LedgerResult, ProbeSample, Pulse, RECORDING_VERSION, Recording, Slice, TokenAccount};
use crate::run::load::move_measured;

/// Events kept at most; more are counted in `Recording::dropped`.
const EVENTS_MAX: usize = 200_000;
/// Probe results kept at most.
const PROBES_MAX: usize = 1_000_000;
/// Seconds for which room is made ahead at most: four hours.
const RESERVED_MAX: usize = 14_400;

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
    /// The generator's health in every second, and everything else in one slice for all but the last: enough for a
    /// summary, in memory that does not grow with what is measured.
    Totals,
}

impl Recorded {
    /// What keeps as much of a run that is planned to last so long; a longer one makes more room when it needs it.
    pub(super) fn new(keep: Keep, length: Duration) -> Self {
        let seconds = usize::try_from(length.as_secs() + 1).unwrap_or(usize::MAX);
        Self {
            slices: Vec::with_capacity(seconds.min(RESERVED_MAX)),
            keep,
            ..Self::default()
        }
    }

    /// Keeps a second.
    pub(super) fn second(&mut self, slice: Slice) {
        if self.keep == Keep::Totals
            && let [first, .., last] = self.slices.as_mut_slice()
        {
            move_measured(last, first);
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
    use crate::recording::{GeneratorSlice, Hist, StepSlice};

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
            users: 10 + second,
            intended: 1,
            steps: vec![step],
            generator: GeneratorSlice {
                connections: second,
                ..GeneratorSlice::default()
            },
            ..Slice::default()
        }
    }

    fn kept(keep: Keep) -> Vec<Slice> {
        let mut recorded = Recorded::new(keep, Duration::from_secs(5));
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
    fn totals_keep_every_count_and_every_time_in_two_slices() {
        let (seconds, totals) = (kept(Keep::Seconds), kept(Keep::Totals));
        assert_eq!(merged(&seconds), merged(&totals));
        let sums = |slices: &[Slice]| -> (u64, u64) {
            let ok = slices.iter().flat_map(|slice| &slice.steps).map(|step| step.ok);
            (slices.iter().map(|slice| slice.intended).sum(), ok.sum())
        };
        assert_eq!(sums(&seconds), (20, 20));
        assert_eq!(sums(&totals), (20, 20));
        let full = |slices: &[Slice]| slices.iter().filter(|slice| !slice.steps.is_empty()).count();
        assert_eq!((full(&seconds), full(&totals)), (20, 2));
        let health = |slices: &[Slice]| -> Vec<(u64, u64, u64)> {
            let of = |slice: &Slice| (slice.second, slice.users, slice.generator.connections);
            slices.iter().map(of).collect()
        };
        assert_eq!(health(&seconds), health(&totals));
    }
}
