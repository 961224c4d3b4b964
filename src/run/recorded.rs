//! What a run keeps of what happened, within bounds; what there is no room for is counted.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::clock::RunClock;
use crate::event::Stamped;
use crate::recording::{Ended, LedgerResult, ProbeSample, Pulse, RECORDING_VERSION, Recording, Slice, TokenAccount};
use crate::run::load::move_measured;
use crate::run::spool::Spool;

/// Events kept at most; more are counted in `Recording::dropped`.
const EVENTS_MAX: usize = 200_000;
/// Probe results kept at most.
const PROBES_MAX: usize = 1_000_000;
/// Seconds for which room is made ahead at most: four hours.
const RESERVED_MAX: usize = 14_400;

/// The recording of a run that goes on.
#[derive(Default)]
pub(super) struct Recorded {
    /// Whole seconds, in order, after those on disk.
    slices: Vec<Slice>,
    spool: Option<Spool>,
    totals: bool,
    events: Vec<Stamped>,
    probes: Vec<ProbeSample>,
    dropped: BTreeMap<String, u64>,
}

/// How much of the past a run keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Every second with its histograms, so that it can be judged by phase.
    #[default]
    Seconds,
    /// The same, in this file until the run is over, so that its memory does not grow with time either.
    OnDisk(PathBuf),
    /// The generator's health in every second, and everything else in one slice for all but the last: enough for a
    /// summary, in memory that does not grow with what is measured.
    Totals,
}

impl Recorded {
    /// What keeps as much of a run that is planned to last so long; a longer one makes more room when it needs it.
    ///
    /// # Errors
    /// When the file for its seconds cannot be created.
    pub(super) fn new(keep: Keep, length: Duration) -> std::io::Result<Self> {
        let seconds = usize::try_from(length.as_secs() + 1).unwrap_or(usize::MAX);
        let spool = match &keep {
            Keep::OnDisk(path) => Some(Spool::create(path)?),
            Keep::Seconds | Keep::Totals => None,
        };
        Ok(Self {
            slices: match spool {
                Some(_) => Vec::new(),
                None => Vec::with_capacity(seconds.min(RESERVED_MAX)),
            },
            spool,
            totals: keep == Keep::Totals,
            ..Self::default()
        })
    }

    /// Keeps a second.
    pub(super) fn second(&mut self, slice: Slice) {
        if self.totals
            && let [first, .., last] = self.slices.as_mut_slice()
        {
            move_measured(last, first);
        }
        // A disk that takes no more is asked no more: the rest has room in memory, in order behind what is there.
        let on_disk = match &mut self.spool {
            Some(spool) if self.slices.is_empty() => spool.add(&slice).is_ok(),
            _ => false,
        };
        if !on_disk {
            self.slices.push(slice);
        }
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

    fn spooled(&mut self, spool: Spool) -> Vec<Slice> {
        let (slices, lost) = spool.take();
        self.lost([("seconds".to_owned(), lost)]);
        slices
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
        let mut slices = match self.spool.take() {
            Some(spool) => self.spooled(spool),
            None => Vec::new(),
        };
        slices.append(&mut self.slices);
        Recording {
            version: RECORDING_VERSION,
            recorded_by: env!("CARGO_PKG_VERSION").to_owned(),
            t0_unix: clock.clock().real_unix_at(clock.t0()),
            epoch_unix: clock.clock().epoch_unix(),
            duration,
            ended,
            slices,
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
    use crate::clock::Clock;
    use crate::recording::{GeneratorSlice, Hist, StepSlice};
    use crate::units::Pace;

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

    fn recorded(keep: Keep) -> Recording {
        let mut recorded = Recorded::new(keep, Duration::from_secs(5)).unwrap();
        (0..20).for_each(|second| recorded.second(slice(second)));
        end(recorded)
    }

    fn end(recorded: Recorded) -> Recording {
        let clock = RunClock::new(Clock::starting_now(Pace::REAL), std::time::Instant::now());
        recorded.recording(
            clock,
            Duration::ZERO,
            Ended::Finished,
            Vec::new(),
            BTreeMap::new(),
            Vec::new(),
        )
    }

    fn kept(keep: Keep) -> Vec<Slice> {
        recorded(keep).slices
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

    #[test]
    fn seconds_on_disk_are_those_that_memory_would_hold() {
        let dir = tempfile::tempdir().unwrap();
        let on_disk = recorded(Keep::OnDisk(dir.path().join("seconds.jsonl")));
        assert!(on_disk.dropped.is_empty());
        let text = |slices: &[Slice]| serde_json::to_string(slices).unwrap();
        assert_eq!(text(&on_disk.slices), text(&kept(Keep::Seconds)));
    }

    #[test]
    fn seconds_that_the_disk_does_not_take_stay_in_memory() {
        // Each write to it fails, as on a disk that is full.
        let recording = recorded(Keep::OnDisk("/dev/full".into()));
        assert!(recording.dropped.is_empty());
        assert_eq!(recording.slices.len(), 20);
    }

    #[test]
    fn seconds_that_are_gone_from_the_disk_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seconds.jsonl");
        let mut recorded = Recorded::new(Keep::OnDisk(path.clone()), Duration::ZERO).unwrap();
        (0..3).for_each(|second| recorded.second(slice(second)));
        std::fs::write(path, "").unwrap();
        let recording = end(recorded);
        assert_eq!((recording.slices.len(), recording.dropped["seconds"]), (0, 3));
    }
}
