//! What one shard measures: working histograms and counters of the current second, and pulses of the whole run.
//! Nothing here waits or sends; a finished second leaves as a [`ShardSecond`]. Memory is bounded however long it runs
//! and however much is sent: pulses grow with the run, up to a fixed number of cells a step.

mod places;
mod working;

use std::net::IpAddr;
use std::time::Duration;

use hdrhistogram::Histogram;

use self::places::Places;
pub use self::working::Gaps;
use self::working::{WorkingClass, WorkingStep, take};
use super::pulses::Cells;
use super::reasons::Reasons;
use super::seconds::ShardSecond;
use super::stream::Took;
use crate::recording::{FailureKind, GeneratorSlice, Hist, Pulse, PulseCell, ServedBy, Slice, StepSlice};

/// A finished request; instants are microseconds of real time since t0.
#[derive(Clone, Copy, Debug)]
pub struct Finished {
    /// Step index.
    pub step: usize,
    /// Class of clients of who made it.
    pub class: u8,
    /// When it was meant to start.
    pub intended_us: u64,
    /// When it was handed to the transport.
    pub started_us: u64,
    /// When a connection was free for it; the difference to the start is waiting for a connection.
    pub served_from_us: u64,
    /// How long after it was sent the first of its answer was seen, microseconds; none where nothing came.
    pub first_byte: Option<u64>,
    /// When it was over.
    pub finished_us: u64,
    /// None for a success.
    pub failure: Option<FailureKind>,
}

impl Finished {
    fn in_pulse(&self) -> PulseCell {
        match self.failure {
            None => PulseCell {
                ok: 1,
                first_ok_finished_us: Some(self.finished_us),
                ..PulseCell::default()
            },
            Some(_) => PulseCell {
                failed: 1,
                first_failed_started_us: Some(self.started_us),
                last_failed_finished_us: Some(self.finished_us),
                ..PulseCell::default()
            },
        }
    }
}

/// How many of each the measurements are kept of.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// Steps of the plan.
    pub steps: usize,
    /// Groups of its journeys.
    pub groups: usize,
    /// Classes of clients; none where all are alike.
    pub classes: usize,
    /// Pulses of the steps too, which only experiments are judged by.
    pub pulses: bool,
}

/// The measurements of one shard.
pub struct Recorder {
    shard: usize,
    second: u64,
    intended: u64,
    dropped: u64,
    unmade: u64,
    rowless: u64,
    retries: u64,
    steps: Vec<WorkingStep>,
    groups: Vec<WorkingStep>,
    reasons: Reasons,
    connect: Histogram<u64>,
    tls: Histogram<u64>,
    /// For taking counts.
    scratch: Histogram<u64>,
    pulses: Vec<Cells>,
    cell: Duration,
    cell_us: u64,
    places: Places,
    /// Empty where all users are alike.
    classes: Box<[WorkingClass]>,
}

impl Recorder {
    /// Working memory for a run of `run` (real time).
    #[must_use]
    pub fn new(shard: usize, kept: Kept, run: Duration) -> Self {
        let cell = (run / 50_000).max(Duration::from_millis(10));
        Self {
            shard,
            second: 0,
            intended: 0,
            dropped: 0,
            unmade: 0,
            rowless: 0,
            retries: 0,
            steps: (0..kept.steps).map(|_| WorkingStep::default()).collect(),
            groups: (0..kept.groups).map(|_| WorkingStep::default()).collect(),
            reasons: Reasons::new(kept.steps),
            connect: Hist::working(),
            tls: Hist::working(),
            scratch: Hist::working(),
            pulses: (0..kept.steps)
                .filter(|_| kept.pulses)
                .map(|_| Cells::default())
                .collect(),
            cell,
            cell_us: cell.as_micros() as u64,
            places: Places::new(kept.classes > 0),
            classes: vec![WorkingClass::default(); kept.classes].into(),
        }
    }

    /// The due time of a request of this class came.
    #[inline]
    pub fn intended(&mut self, class: u8) {
        self.intended += 1;
        if let Some(of) = self.classes.get_mut(usize::from(class)) {
            of.intended += 1;
        }
    }

    /// A request was not sent because of the safety limit, a full queue or the generator's own limits.
    pub fn dropped(&mut self, class: u8) {
        self.dropped += 1;
        if let Some(of) = self.classes.get_mut(usize::from(class)) {
            of.dropped += 1;
        }
    }

    /// The due time of so many requests of this class came, and none of them was sent.
    pub fn not_sent(&mut self, class: u8, requests: u64) {
        self.intended += requests;
        self.dropped += requests;
        if let Some(of) = self.classes.get_mut(usize::from(class)) {
            of.intended += requests;
            of.dropped += requests;
        }
    }

    /// So many passes were to be made and never were; each would have sent a request at least. Whose they were is not
    /// known, so no class counts them.
    pub fn unmade(&mut self, passes: u64) {
        self.intended += passes;
        self.dropped += passes;
        self.unmade += passes;
    }

    /// A pass of this class was due for which a feeder had no row left.
    pub fn rowless(&mut self, class: u8) {
        self.not_sent(class, 1);
        self.rowless += 1;
    }

    /// A request was sent once more, to the destination of this index.
    pub fn retried(&mut self, destination: usize) {
        self.retries += 1;
        if let Some(sent) = self.places.started(destination)
            && let Some(of) = self.classes.get_mut(sent.class)
        {
            of.retries += 1;
        }
    }

    /// A connection is open.
    pub fn opened(&mut self, took: Took) {
        let micros = |took: Duration| u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        self.connect.saturating_record(micros(took.connect));
        if let Some(handshake) = took.tls {
            self.tls.saturating_record(micros(handshake));
        }
    }

    /// The index under which requests of a class to an address of `region` are counted.
    pub fn destination(&mut self, class: u32, address: IpAddr, region: &str, place: &str) -> usize {
        self.places.destination(class, address, region, place)
    }

    /// A request started towards the destination of this index.
    #[inline]
    pub fn started(&mut self, step: usize, intended_us: u64, started_us: u64, destination: Option<usize>) {
        self.steps[step].started(started_us.saturating_sub(intended_us));
        if let Some(destination) = destination {
            self.places.started(destination);
        }
    }

    /// The index of the server that this header names; zero where it names none.
    #[inline]
    pub fn server(&mut self, header: &[u8]) -> usize {
        self.places.server(header)
    }

    /// A success was served by the server of this index, or, where the answer names none, by the place that was asked.
    #[inline]
    pub fn served(&mut self, index: usize, destination: usize) {
        self.places.served(index, destination);
    }

    /// A failure: of the server of this index, or, where the answer names none or there is none, of the Region that
    /// was asked.
    pub fn served_badly(&mut self, index: usize, destination: usize) {
        self.places.served_badly(index, destination);
    }

    /// The Region of an index of [`Recorder::destination`].
    #[must_use]
    #[inline]
    pub fn sent_to(&self, index: usize) -> &str {
        self.places.sent(index).map_or("", |sent| &sent.region)
    }

    /// Who served, by index.
    #[must_use]
    #[inline]
    pub fn served_by(&self, index: usize) -> &ServedBy {
        self.places.served_by(index)
    }

    /// A request is over.
    #[inline]
    pub fn finished(&mut self, request: &Finished) {
        self.steps[request.step].finished(request);
        if let Some(of) = self.classes.get_mut(usize::from(request.class)) {
            match request.failure {
                None => of.ok += 1,
                Some(_) => of.failed += 1,
            }
        }
        if let Some(cells) = self.pulses.get_mut(request.step) {
            let index = u32::try_from(request.started_us / self.cell_us).unwrap_or(u32::MAX);
            cells.cell(index).merge(&request.in_pulse());
        }
    }

    /// Why a request of this step fails as this kind, where nobody has told it yet.
    pub fn reason(&mut self, step: usize, kind: FailureKind, why: impl FnOnce() -> String) {
        self.reasons.tell(step, kind, why);
    }

    /// Where the silences of a step's streams are taken down.
    pub fn gaps(&mut self, step: usize) -> Gaps {
        self.steps[step].gaps()
    }

    /// A pass has been through a group, which took so long and failed as its first request that did.
    pub fn group_finished(&mut self, group: usize, took_us: u64, failure: Option<FailureKind>) {
        self.groups[group].outcome(took_us, failure);
    }

    /// Closes the current second and begins the next one.
    pub fn close_second(&mut self, users: u64, generator: GeneratorSlice) -> ShardSecond {
        let steps = self.steps.iter_mut();
        let mut steps: Vec<StepSlice> = steps.map(|step| step.take(&mut self.scratch)).collect();
        self.reasons.hand_over(&mut steps);
        let groups = self.groups.iter_mut();
        let mut slice = Slice {
            second: self.second,
            users,
            intended: std::mem::take(&mut self.intended),
            dropped: std::mem::take(&mut self.dropped),
            unmade: std::mem::take(&mut self.unmade),
            rowless: std::mem::take(&mut self.rowless),
            retries: std::mem::take(&mut self.retries),
            steps,
            groups: groups.map(|group| group.take_group(&mut self.scratch)).collect(),
            connect: take(&mut self.connect),
            tls: take(&mut self.tls),
            classes: self.classes.iter_mut().map(WorkingClass::take).collect(),
            generator,
            ..Slice::default()
        };
        self.places.take(&mut slice);
        self.second += 1;
        ShardSecond {
            shard: self.shard,
            slice,
        }
    }

    /// Whether the current second holds anything.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.intended > 0
            || self.dropped > 0
            || !self.connect.is_empty()
            || self.places.is_dirty()
            || self.steps.iter().any(WorkingStep::is_dirty)
    }

    /// The pulses of the run, by step index.
    #[must_use]
    pub fn into_pulses(self) -> Vec<Pulse> {
        let cell = self.cell;
        self.pulses.into_iter().map(|cells| cells.into_pulse(cell)).collect()
    }
}

#[cfg(test)]
mod tests;
