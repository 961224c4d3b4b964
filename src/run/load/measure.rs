//! What one shard measures: working histograms and counters of the current second, and pulses of the whole run.
//! Nothing here waits or sends; a finished second leaves as a [`ShardSecond`]. Memory is bounded however long it runs
//! and however much is sent: pulses grow with the run, up to a fixed number of cells a step.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::counts::Counts;
use super::pulses::Cells;
use super::reasons::Reasons;
use super::seconds::ShardSecond;
use super::stream::Took;
use crate::recording::{ClassSlice, FailureKind, GeneratorSlice, Hist, Pulse, PulseCell, ServedBy, Slice, StepSlice};

/// Distinct servers kept apart per shard; a header that never repeats must not fill the memory.
const SERVED_MAX: usize = 4096;
/// Addresses kept apart per shard and class of clients; names whose answer is always another must not either.
const DESTINATIONS_MAX: usize = 1024;

struct WorkingStep {
    ok: u64,
    failed: [u64; FailureKind::ALL.len()],
    latency_ok: Counts,
    latency_failed: Counts,
    service_time: Counts,
    lag: Counts,
    /// Only of those that waited; how many did not is known from the count of all.
    blocked: Counts,
    first_byte: Counts,
    /// None until the step is a stream that is read.
    gaps: Option<Gaps>,
}

impl WorkingStep {
    fn has_gaps(&self) -> bool {
        self.gaps.as_ref().is_some_and(|Gaps(gaps)| !gaps.borrow().is_empty())
    }
}

/// How long the streams of one step were silent: shared with those who read them, who may do so for hours.
#[derive(Clone)]
pub struct Gaps(Rc<RefCell<Histogram<u64>>>);

impl Gaps {
    /// A silence is over.
    pub fn record(&self, silence: Duration) {
        let micros = u64::try_from(silence.as_micros()).unwrap_or(u64::MAX);
        self.0.borrow_mut().saturating_record(micros);
    }
}

impl WorkingStep {
    fn new() -> Self {
        Self {
            ok: 0,
            failed: [0; FailureKind::ALL.len()],
            latency_ok: Counts::default(),
            latency_failed: Counts::default(),
            service_time: Counts::default(),
            lag: Counts::default(),
            blocked: Counts::default(),
            first_byte: Counts::default(),
            gaps: None,
        }
    }
}

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

/// Who answers, and how often well and badly.
#[derive(Default)]
struct Served {
    by: ServedBy,
    ok: u64,
    failed: u64,
}

/// Where requests of one class of clients went: how many started towards it, and those of them that nobody answered.
struct Sent {
    class: usize,
    /// None for what is beyond the bound of destinations.
    address: Option<IpAddr>,
    region: String,
    /// The index of the place behind the address, for answers that do not say who served; zero where it is not known.
    server: usize,
    started: u64,
    failed: u64,
}

/// What one class of clients did.
#[derive(Clone, Copy, Default)]
struct WorkingClass {
    intended: u64,
    dropped: u64,
    retries: u64,
    ok: u64,
    failed: u64,
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
    served_index: HashMap<Box<[u8]>, usize>,
    served: Vec<Served>,
    sent: Vec<Sent>,
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
            retries: 0,
            steps: (0..kept.steps).map(|_| WorkingStep::new()).collect(),
            groups: (0..kept.groups).map(|_| WorkingStep::new()).collect(),
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
            served_index: HashMap::new(),
            served: vec![Served::default()],
            sent: Vec::new(),
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

    /// A request was sent once more, to the destination of this index.
    pub fn retried(&mut self, destination: usize) {
        self.retries += 1;
        if let Some(sent) = self.sent.get_mut(destination) {
            sent.started += 1;
            if let Some(of) = self.classes.get_mut(sent.class) {
                of.retries += 1;
            }
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
        let server = self.server(place.as_bytes());
        let class = class as usize;
        let of_class = self.sent.iter().filter(|known| known.class == class).count();
        // Where all users are alike, only the Region is told.
        let address = (!self.classes.is_empty() && of_class < DESTINATIONS_MAX).then_some(address);
        let is_same = |known: &Sent| {
            known.class == class && known.address == address && known.region == region && known.server == server
        };
        match self.sent.iter().position(is_same) {
            Some(index) => index,
            None => {
                self.sent.push(Sent {
                    class,
                    address,
                    region: region.to_owned(),
                    server,
                    started: 0,
                    failed: 0,
                });
                self.sent.len() - 1
            }
        }
    }

    /// A request started towards the destination of this index.
    #[inline]
    pub fn started(&mut self, step: usize, intended_us: u64, started_us: u64, destination: Option<usize>) {
        let lag = started_us.saturating_sub(intended_us);
        self.steps[step].lag.add(lag.max(1));
        if let Some(sent) = destination.and_then(|destination| self.sent.get_mut(destination)) {
            sent.started += 1;
        }
    }

    /// The index of the server that this header names; zero where it names none.
    #[inline]
    pub fn server(&mut self, header: &[u8]) -> usize {
        match self.served_index.get(header) {
            Some(index) => *index,
            None if self.served.len() >= SERVED_MAX || header.is_empty() => 0,
            None => {
                self.served.push(Served {
                    by: ServedBy::parse(&String::from_utf8_lossy(header)),
                    ..Served::default()
                });
                self.served_index.insert(header.into(), self.served.len() - 1);
                self.served.len() - 1
            }
        }
    }

    /// A success was served by the server of this index, or, where the answer names none, by the place that was asked.
    #[inline]
    pub fn served(&mut self, index: usize, destination: usize) {
        let index = match self.sent.get(destination) {
            Some(sent) if index == 0 => sent.server,
            _ => index,
        };
        self.served[index].ok += 1;
    }

    /// A failure: of the server of this index, or, where the answer names none or there is none, of the Region that
    /// was asked.
    pub fn served_badly(&mut self, index: usize, destination: usize) {
        match self.sent.get_mut(destination) {
            Some(sent) if index == 0 => sent.failed += 1,
            _ => self.served[index].failed += 1,
        }
    }

    /// The Region of an index of [`Recorder::destination`].
    #[must_use]
    #[inline]
    pub fn sent_to(&self, index: usize) -> &str {
        self.sent.get(index).map_or("", |sent| &sent.region)
    }

    /// Who served, by index.
    #[must_use]
    #[inline]
    pub fn served_by(&self, index: usize) -> &ServedBy {
        &self.served[index].by
    }

    /// A request is over.
    #[inline]
    pub fn finished(&mut self, request: &Finished) {
        let step = &mut self.steps[request.step];
        let since = |from: u64| request.finished_us.saturating_sub(from).max(1);
        let latency = match request.failure {
            None => &mut step.latency_ok,
            Some(_) => &mut step.latency_failed,
        };
        latency.add(since(request.intended_us));
        step.service_time.add(since(request.served_from_us));
        let blocked = request.served_from_us.saturating_sub(request.started_us);
        if blocked > 0 {
            step.blocked.add(blocked);
        }
        if let Some(first_byte) = request.first_byte {
            step.first_byte.add(first_byte.max(1));
        }
        if let Some(of) = self.classes.get_mut(usize::from(request.class)) {
            match request.failure {
                None => of.ok += 1,
                Some(_) => of.failed += 1,
            }
        }
        match request.failure {
            None => step.ok += 1,
            Some(kind) => step.failed[kind as usize] += 1,
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
        let none = || Gaps(Rc::new(RefCell::new(Hist::working())));
        self.steps[step].gaps.get_or_insert_with(none).clone()
    }

    /// A pass has been through a group, which took so long and failed as its first request that did.
    pub fn group_finished(&mut self, group: usize, took_us: u64, failure: Option<FailureKind>) {
        let group = &mut self.groups[group];
        match failure {
            None => {
                group.ok += 1;
                group.latency_ok.add(took_us.max(1));
            }
            Some(kind) => {
                group.failed[kind as usize] += 1;
                group.latency_failed.add(took_us.max(1));
            }
        }
    }

    /// Closes the current second and begins the next one.
    pub fn close_second(&mut self, users: u64, generator: GeneratorSlice) -> ShardSecond {
        let mut steps: Vec<StepSlice> = {
            let steps = self.steps.iter_mut();
            steps.map(|step| take_step(step, &mut self.scratch)).collect()
        };
        self.reasons.hand_over(&mut steps);
        let groups = {
            let groups = self.groups.iter_mut();
            groups.map(|group| take_group(group, &mut self.scratch)).collect()
        };
        let (mut served, mut served_failed, mut sent) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for of in &mut self.served {
            count(&mut served, || of.by.clone(), &mut of.ok);
            count(&mut served_failed, || of.by.clone(), &mut of.failed);
        }
        let mut classes: Vec<ClassSlice> = self.classes.iter_mut().map(take_class).collect();
        for of in &mut self.sent {
            if let Some(class) = classes.get_mut(of.class) {
                class.attempts += of.started;
                if let Some(address) = of.address.filter(|_| of.started > 0) {
                    *class.sent.entry(address).or_default() += of.started;
                }
            }
            count(&mut sent, || of.region.clone(), &mut of.started);
            let by = ServedBy {
                region: of.region.clone(),
                ..ServedBy::default()
            };
            count(&mut served_failed, || by, &mut of.failed);
        }
        let slice = Slice {
            second: self.second,
            users,
            intended: std::mem::take(&mut self.intended),
            dropped: std::mem::take(&mut self.dropped),
            unmade: std::mem::take(&mut self.unmade),
            retries: std::mem::take(&mut self.retries),
            steps,
            groups,
            connect: take(&mut self.connect),
            tls: take(&mut self.tls),
            served,
            served_failed,
            sent,
            classes,
            generator,
        };
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
            || self.sent.iter().any(|sent| sent.started > 0)
            || self
                .steps
                .iter()
                .any(|step| !step.service_time.is_empty() || !step.lag.is_empty() || step.has_gaps())
    }

    /// The pulses of the run, by step index.
    #[must_use]
    pub fn into_pulses(self) -> Vec<Pulse> {
        let cell = self.cell;
        self.pulses.into_iter().map(|cells| cells.into_pulse(cell)).collect()
    }
}

/// Moves a count into a map, if there is one.
fn count<K: Ord>(into: &mut BTreeMap<K, u64>, key: impl FnOnce() -> K, count: &mut u64) {
    if *count > 0 {
        *into.entry(key()).or_default() += std::mem::take(count);
    }
}

fn take(histogram: &mut Histogram<u64>) -> Hist {
    let hist = Hist::encode(histogram);
    if !hist.is_empty() {
        histogram.reset();
    }
    hist
}

fn take_class(class: &mut WorkingClass) -> ClassSlice {
    let WorkingClass {
        intended,
        dropped,
        retries,
        ok,
        failed,
    } = std::mem::take(class);
    ClassSlice {
        intended,
        dropped,
        retries,
        ok,
        failed,
        ..ClassSlice::default()
    }
}

/// A group waits for no connection; its requests do.
fn take_group(group: &mut WorkingStep, scratch: &mut Histogram<u64>) -> StepSlice {
    StepSlice {
        blocked: Hist::default(),
        ..take_step(group, scratch)
    }
}

fn take_step(step: &mut WorkingStep, scratch: &mut Histogram<u64>) -> StepSlice {
    let failed = FailureKind::ALL
        .into_iter()
        .zip(step.failed)
        .filter(|(_, count)| *count > 0);
    let failed: BTreeMap<FailureKind, u64> = failed.collect();
    // Most requests wait for no connection, so they are not recorded one by one.
    let finished = step.ok + failed.values().sum::<u64>();
    step.blocked.add_many(0, finished - step.blocked.len());
    // One of successes becomes one of all; where nothing failed they are the same.
    step.latency_ok.add_all(&step.latency_failed);
    let slice = StepSlice {
        ok: std::mem::take(&mut step.ok),
        failed,
        why: BTreeMap::new(),
        latency: step.latency_ok.take(scratch),
        latency_failed: step.latency_failed.take(scratch),
        service_time: step.service_time.take(scratch),
        lag: step.lag.take(scratch),
        blocked: step.blocked.take(scratch),
        first_byte: step.first_byte.take(scratch),
        gaps: match &step.gaps {
            Some(Gaps(gaps)) => take(&mut gaps.borrow_mut()),
            None => Hist::default(),
        },
    };
    step.failed = [0; FailureKind::ALL.len()];
    slice
}

#[cfg(test)]
mod tests {
    use super::super::pulses::merge_pulses;
    use super::super::seconds::{fold_into_next, merge};
    use super::*;

    fn request(number: u64) -> Finished {
        Finished {
            step: (number % 2) as usize,
            class: (number % 4 / 2) as u8,
            intended_us: number * 1000,
            started_us: number * 1000 + number % 7,
            served_from_us: number * 1000 + number % 7 + (number % 11).saturating_sub(5),
            first_byte: (number % 10 != 3).then_some(100 + number % 90),
            finished_us: number * 1000 + 300 + number * 13 % 5000,
            failure: (number % 10 == 3).then_some(FailureKind::ALL[(number % 10) as usize]),
        }
    }

    fn feed(recorder: &mut Recorder, number: u64) {
        let request = request(number);
        recorder.intended(request.class);
        if number % 50 == 49 {
            recorder.dropped(request.class);
            return;
        }
        let region = ["us-east-1", "eu-west-1"][(number % 2) as usize];
        let address = IpAddr::from([127, 0, 0, (number % 6) as u8]);
        let region = recorder.destination(u32::from(request.class), address, region, "");
        recorder.started(request.step, request.intended_us, request.started_us, Some(region));
        let server = recorder.server(format!("i-{}/us-east-1a/us-east-1", number % 3).as_bytes());
        match request.failure {
            None => recorder.served(server, region),
            Some(_) => recorder.served_badly(if number % 4 == 1 { 0 } else { server }, region),
        }
        recorder.finished(&request);
        recorder.opened(Took {
            connect: Duration::from_micros(number % 77),
            tls: number.is_multiple_of(5).then_some(Duration::from_micros(1000 + number)),
        });
    }

    fn kept(steps: usize, groups: usize, classes: usize) -> Kept {
        Kept {
            steps,
            groups,
            classes,
            pulses: true,
        }
    }

    #[test]
    fn shards_merge_to_exactly_one_run() {
        let run = Duration::from_secs(60);
        let mut whole = Recorder::new(0, kept(2, 0, 2), run);
        let mut shards = [
            Recorder::new(0, kept(2, 0, 2), run),
            Recorder::new(1, kept(2, 0, 2), run),
            Recorder::new(2, kept(2, 0, 2), run),
        ];
        for number in 0..5000 {
            feed(&mut whole, number);
            feed(&mut shards[(number % 3) as usize], number);
        }
        let generator = GeneratorSlice::default();
        let expected = serde_json::to_value(merge(vec![whole.close_second(7, generator)])).unwrap();
        let parts = [1, 2, 4]
            .iter()
            .zip(&mut shards)
            .map(|(users, shard)| shard.close_second(*users, generator));
        assert_eq!(serde_json::to_value(merge(parts.collect())).unwrap(), expected);
        assert_eq!(expected["intended"], 5000);

        let mut pulses = Vec::new();
        for shard in shards {
            merge_pulses(&mut pulses, shard.into_pulses());
        }
        assert_eq!(
            serde_json::to_value(&pulses).unwrap(),
            serde_json::to_value(whole.into_pulses()).unwrap()
        );
    }

    #[test]
    fn a_second_that_could_not_be_handed_over_is_folded_into_the_next() {
        let (mut one, mut split) = (
            Recorder::new(0, kept(2, 0, 2), Duration::ZERO),
            Recorder::new(0, kept(2, 0, 2), Duration::ZERO),
        );
        (0..300).for_each(|number| feed(&mut one, number));
        let whole = one.close_second(5, GeneratorSlice::default());
        (0..100).for_each(|number| feed(&mut split, number));
        let earlier = split.close_second(3, GeneratorSlice::default());
        (100..300).for_each(|number| feed(&mut split, number));
        let mut next = split.close_second(5, GeneratorSlice::default());
        fold_into_next(&earlier, &mut next);
        assert_eq!(next.slice.second, 1);
        next.slice.second = 0;
        assert_eq!(
            serde_json::to_value(&next.slice).unwrap(),
            serde_json::to_value(&whole.slice).unwrap()
        );
    }

    #[test]
    fn every_kind_of_failure_has_its_own_count() {
        let mut recorder = Recorder::new(0, kept(1, 0, 0), Duration::ZERO);
        for (number, kind) in FailureKind::ALL.into_iter().enumerate() {
            for _ in 0..=number {
                recorder.finished(&Finished {
                    step: 0,
                    failure: Some(kind),
                    ..request(0)
                });
            }
        }
        let step = &recorder.close_second(0, GeneratorSlice::default()).slice.steps[0];
        let counts: Vec<u64> = FailureKind::ALL.iter().map(|kind| step.failed[kind]).collect();
        assert_eq!(counts, (1..=FailureKind::ALL.len() as u64).collect::<Vec<_>>());
    }

    #[test]
    fn latency_of_failures_is_kept_apart_and_within_that_of_all() {
        let (mut recorder, mut all, mut failed) = (
            Recorder::new(0, kept(1, 0, 0), Duration::ZERO),
            Hist::working(),
            Hist::working(),
        );
        for number in 0..3000 {
            let request = Finished {
                step: 0,
                ..request(number)
            };
            recorder.finished(&request);
            let latency = request.finished_us - request.intended_us;
            all.record(latency).unwrap();
            if request.failure.is_some() {
                failed.record(latency).unwrap();
            }
        }
        let step = &recorder.close_second(0, GeneratorSlice::default()).slice.steps[0];
        assert_eq!(step.latency, Hist::encode(&all));
        assert_eq!(step.latency_failed, Hist::encode(&failed));
        assert_eq!(failed.len(), step.failures());
    }

    #[test]
    fn who_did_not_wait_counts_among_those_who_did() {
        let mut recorder = Recorder::new(0, kept(1, 0, 0), Duration::ZERO);
        for number in 0..100 {
            recorder.finished(&Finished {
                step: 0,
                class: 0,
                intended_us: 0,
                started_us: 1_000,
                served_from_us: if number < 10 { 51_000 } else { 1_000 },
                first_byte: (number > 0).then_some(7_000),
                finished_us: 60_000,
                failure: None,
            });
        }
        let step = &recorder.close_second(0, GeneratorSlice::default()).slice.steps[0];
        let decoded = |hist: &Hist| {
            let mut all = Hist::working();
            hist.add_to(&mut all).unwrap();
            all
        };
        let blocked = decoded(&step.blocked);
        assert_eq!((blocked.len(), blocked.value_at_quantile(0.9)), (100, 0));
        assert!(blocked.equivalent(blocked.value_at_quantile(0.91), 50_000));
        let first_byte = decoded(&step.first_byte);
        assert_eq!(first_byte.len(), 99);
        assert!(first_byte.equivalent(first_byte.max(), 7_000));
        let empty = recorder.close_second(0, GeneratorSlice::default());
        assert!(empty.slice.steps[0].blocked.is_empty());
    }

    #[test]
    fn silences_belong_to_the_second_in_which_they_end_and_merge_over_shards() {
        let mut shards = [0, 1].map(|shard| Recorder::new(shard, kept(2, 0, 0), Duration::ZERO));
        let close = |shards: &mut [Recorder; 2]| {
            let parts = shards
                .iter_mut()
                .map(|shard| shard.close_second(0, GeneratorSlice::default()));
            merge(parts.collect())
        };
        // Who reads a stream holds on to it for as long as that lasts.
        let reader = shards[0].gaps(1);
        assert!(!shards[0].is_dirty());
        reader.record(Duration::from_millis(40));
        assert!(shards[0].is_dirty());
        shards[1].gaps(1).record(Duration::from_secs(2));
        let first = close(&mut shards);
        reader.record(Duration::ZERO);
        let second = close(&mut shards);
        let of = |slice: &Slice, step: usize| {
            let mut all = Hist::working();
            slice.steps[step].gaps.add_to(&mut all).unwrap();
            (all.len(), all.max() / 10_000)
        };
        assert_eq!((of(&first, 1), of(&second, 1)), ((2, 200), (1, 0)));
        assert_eq!(of(&first, 0), (0, 0), "no stream, no silence");
        let written = serde_json::to_value(&first.steps[0]).unwrap();
        assert!(written.get("gaps").is_none(), "{written}");
    }

    #[test]
    fn pulses_keep_first_and_last_instants() {
        let mut recorder = Recorder::new(0, kept(1, 0, 0), Duration::from_secs(1000));
        let mut finish = |started_us, finished_us, failure| {
            recorder.finished(&Finished {
                step: 0,
                class: 0,
                intended_us: started_us,
                started_us,
                served_from_us: started_us,
                first_byte: None,
                finished_us,
                failure,
            });
        };
        finish(20_500, 90_000, Some(FailureKind::Timeout));
        finish(20_100, 95_000, Some(FailureKind::Reset));
        finish(39_999, 40_500, None);
        finish(40_000, 41_000, None);
        let pulses = recorder.into_pulses();
        assert_eq!(pulses[0].cell, Duration::from_millis(20));
        let cell = pulses[0].cells[&1];
        assert_eq!((cell.ok, cell.failed), (1, 2));
        assert_eq!(cell.first_failed_started_us, Some(20_100));
        assert_eq!(cell.last_failed_finished_us, Some(95_000));
        assert_eq!(cell.first_ok_finished_us, Some(40_500));
        assert_eq!(pulses[0].cells[&2].ok, 1);
    }
}
