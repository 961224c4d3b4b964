//! What one shard measures: working histograms and counters of the current second, and pulses of the whole run.
//! Nothing here waits or sends; a finished second leaves as a [`ShardSecond`].

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::recording::{FailureKind, GeneratorSlice, Hist, Pulse, PulseCell, ServedBy, Slice, StepSlice};

/// One shard's share of one second.
#[derive(Clone, Debug)]
pub struct ShardSecond {
    /// Which shard.
    pub shard: usize,
    /// What it measured; sums and merged histograms over shards give the whole second.
    pub slice: Slice,
}

/// Merges the shards of one second into what one generator would have measured.
#[must_use]
pub fn merge(seconds: Vec<ShardSecond>) -> Slice {
    let mut parts = seconds.into_iter().map(|second| second.slice);
    let mut whole = parts.next().unwrap_or_default();
    for part in parts {
        absorb(&mut whole, &part);
        whole.users += part.users;
        let generator = &mut whole.generator;
        generator.cpu_busiest_shard = generator.cpu_busiest_shard.max(part.generator.cpu_busiest_shard);
        generator.cpu_process = generator.cpu_process.max(part.generator.cpu_process);
        generator.resident_bytes = generator.resident_bytes.max(part.generator.resident_bytes);
        generator.connections += part.generator.connections;
    }
    whole
}

/// Adds an earlier second of the same shard that could not be handed over in time; nothing counted is lost.
pub fn fold_into_next(earlier: &ShardSecond, next: &mut ShardSecond) {
    absorb(&mut next.slice, &earlier.slice);
    let generator = &mut next.slice.generator;
    generator.cpu_busiest_shard = generator
        .cpu_busiest_shard
        .max(earlier.slice.generator.cpu_busiest_shard);
    generator.cpu_process = generator.cpu_process.max(earlier.slice.generator.cpu_process);
}

fn absorb(whole: &mut Slice, part: &Slice) {
    whole.intended += part.intended;
    whole.dropped += part.dropped;
    whole.retries += part.retries;
    if whole.steps.len() < part.steps.len() {
        whole.steps.resize_with(part.steps.len(), StepSlice::default);
    }
    for (into, step) in whole.steps.iter_mut().zip(&part.steps) {
        into.ok += step.ok;
        for (kind, count) in &step.failed {
            *into.failed.entry(*kind).or_default() += count;
        }
        into.latency = sum(&into.latency, &step.latency);
        into.service_time = sum(&into.service_time, &step.service_time);
        into.lag = sum(&into.lag, &step.lag);
    }
    for (served, count) in &part.served {
        *whole.served.entry(served.clone()).or_default() += count;
    }
    for (region, count) in &part.sent {
        *whole.sent.entry(region.clone()).or_default() += count;
    }
}

fn sum(one: &Hist, other: &Hist) -> Hist {
    match (one.is_empty(), other.is_empty()) {
        (_, true) => one.clone(),
        (true, false) => other.clone(),
        (false, false) => {
            let mut both = Hist::working();
            for part in [one, other] {
                part.add_to(&mut both).expect("a shard encoded it in this process");
            }
            Hist::encode(&both)
        }
    }
}

const KINDS: [FailureKind; 11] = [
    FailureKind::Dns,
    FailureKind::Refused,
    FailureKind::ConnectTimeout,
    FailureKind::Timeout,
    FailureKind::Reset,
    FailureKind::Protocol,
    FailureKind::Status4xx,
    FailureKind::Status5xx,
    FailureKind::Expectation,
    FailureKind::Tls,
    FailureKind::Redirect,
];

/// Distinct servers kept apart per shard; a header that never repeats must not fill the memory.
const SERVED_MAX: usize = 4096;

struct WorkingStep {
    ok: u64,
    failed: [u64; KINDS.len()],
    latency: Histogram<u64>,
    service_time: Histogram<u64>,
    lag: Histogram<u64>,
}

/// A finished request; instants are microseconds of real time since t0.
#[derive(Clone, Copy, Debug)]
pub struct Finished {
    /// Step index.
    pub step: usize,
    /// When it was meant to start.
    pub intended_us: u64,
    /// When it was handed to the transport.
    pub started_us: u64,
    /// When a connection was free for it; the difference to the start is waiting for a connection.
    pub served_from_us: u64,
    /// When it was over.
    pub finished_us: u64,
    /// None for a success.
    pub failure: Option<FailureKind>,
}

/// The measurements of one shard.
pub struct Recorder {
    shard: usize,
    second: u64,
    intended: u64,
    dropped: u64,
    retries: u64,
    steps: Vec<WorkingStep>,
    pulses: Vec<Cells>,
    cell: Duration,
    cell_us: u64,
    served_index: HashMap<Box<[u8]>, usize>,
    served: Vec<(ServedBy, u64)>,
    sent: Vec<(String, u64)>,
}

impl Recorder {
    /// Working memory for `steps` steps of a run of `run` (real time).
    #[must_use]
    pub fn new(shard: usize, steps: usize, run: Duration) -> Self {
        let cell = (run / 50_000).max(Duration::from_millis(10));
        let step = || WorkingStep {
            ok: 0,
            failed: [0; KINDS.len()],
            latency: Hist::working(),
            service_time: Hist::working(),
            lag: Hist::working(),
        };
        Self {
            shard,
            second: 0,
            intended: 0,
            dropped: 0,
            retries: 0,
            steps: (0..steps).map(|_| step()).collect(),
            pulses: (0..steps).map(|_| Cells::default()).collect(),
            cell,
            cell_us: cell.as_micros() as u64,
            served_index: HashMap::new(),
            served: vec![(ServedBy::default(), 0)],
            sent: Vec::new(),
        }
    }

    /// A request's due time came.
    #[inline]
    pub fn intended(&mut self) {
        self.intended += 1;
    }

    /// A request was not sent because of the safety limit, a full queue or the generator's own limits.
    pub fn dropped(&mut self) {
        self.dropped += 1;
    }

    /// A request was sent once more, towards the region of this index.
    pub fn retried(&mut self, region: usize) {
        self.retries += 1;
        if let Some((_, count)) = self.sent.get_mut(region) {
            *count += 1;
        }
    }

    /// The index under which requests to `region` are counted.
    pub fn region(&mut self, region: &str) -> usize {
        match self.sent.iter().position(|(known, _)| known == region) {
            Some(index) => index,
            None => {
                self.sent.push((region.to_owned(), 0));
                self.sent.len() - 1
            }
        }
    }

    /// A request started towards the region of this index.
    #[inline]
    pub fn started(&mut self, step: usize, intended_us: u64, started_us: u64, region: Option<usize>) {
        let lag = started_us.saturating_sub(intended_us);
        self.steps[step].lag.saturating_record(lag.max(1));
        if let Some((_, count)) = region.and_then(|region| self.sent.get_mut(region)) {
            *count += 1;
        }
    }

    /// The index of the server that this header names; zero where it names none.
    #[inline]
    pub fn server(&mut self, header: &[u8]) -> usize {
        match self.served_index.get(header) {
            Some(index) => *index,
            None if self.served.len() >= SERVED_MAX || header.is_empty() => 0,
            None => {
                let served = ServedBy::parse(&String::from_utf8_lossy(header));
                self.served.push((served, 0));
                self.served_index.insert(header.into(), self.served.len() - 1);
                self.served.len() - 1
            }
        }
    }

    /// A success was served by the server of this index.
    #[inline]
    pub fn served(&mut self, index: usize) {
        self.served[index].1 += 1;
    }

    /// The Region of an index of [`Recorder::region`].
    #[must_use]
    #[inline]
    pub fn sent_to(&self, index: usize) -> &str {
        self.sent.get(index).map_or("", |(region, _)| region)
    }

    /// Who served, by index.
    #[must_use]
    #[inline]
    pub fn served_by(&self, index: usize) -> &ServedBy {
        &self.served[index].0
    }

    /// A request is over.
    #[inline]
    pub fn finished(&mut self, request: &Finished) {
        let step = &mut self.steps[request.step];
        let since = |from: u64| request.finished_us.saturating_sub(from).max(1);
        step.latency.saturating_record(since(request.intended_us));
        step.service_time.saturating_record(since(request.served_from_us));
        let cell_index = u32::try_from(request.started_us / self.cell_us).unwrap_or(u32::MAX);
        let cell = self.pulses[request.step].cell(cell_index);
        match request.failure {
            None => {
                step.ok += 1;
                cell.merge(&PulseCell {
                    ok: 1,
                    first_ok_finished_us: Some(request.finished_us),
                    ..PulseCell::default()
                });
            }
            Some(kind) => {
                step.failed[kind as usize] += 1;
                cell.merge(&PulseCell {
                    failed: 1,
                    first_failed_started_us: Some(request.started_us),
                    last_failed_finished_us: Some(request.finished_us),
                    ..PulseCell::default()
                });
            }
        }
    }

    /// Closes the current second and begins the next one.
    pub fn close_second(&mut self, users: u64, generator: GeneratorSlice) -> ShardSecond {
        let steps = self.steps.iter_mut().map(take_step).collect();
        let counted = |(_, count): &&mut (ServedBy, u64)| *count > 0;
        let mut served = BTreeMap::new();
        for (by, count) in self.served.iter_mut().filter(counted) {
            *served.entry(by.clone()).or_default() += std::mem::take(count);
        }
        let mut sent = BTreeMap::new();
        for (region, count) in self.sent.iter_mut().filter(|(_, count)| *count > 0) {
            sent.insert(region.clone(), std::mem::take(count));
        }
        let slice = Slice {
            second: self.second,
            users,
            intended: std::mem::take(&mut self.intended),
            dropped: std::mem::take(&mut self.dropped),
            retries: std::mem::take(&mut self.retries),
            steps,
            served,
            sent,
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
            || self.sent.iter().any(|(_, count)| *count > 0)
            || self
                .steps
                .iter()
                .any(|step| !step.latency.is_empty() || !step.lag.is_empty())
    }

    /// The pulses of the run, by step index.
    #[must_use]
    pub fn into_pulses(self) -> Vec<Pulse> {
        let cell = self.cell;
        self.pulses.into_iter().map(|cells| cells.into_pulse(cell)).collect()
    }
}

/// Cells that are side by side in time are side by side in memory.
const BLOCK_BITS: u32 = 6;

/// The cells of one step while they are filled: blocks, made when something falls into them.
#[derive(Default)]
struct Cells {
    blocks: Vec<Option<Box<[PulseCell; 1 << BLOCK_BITS]>>>,
}

impl Cells {
    #[inline]
    fn cell(&mut self, index: u32) -> &mut PulseCell {
        let (block, within) = (
            (index >> BLOCK_BITS) as usize,
            (index & ((1 << BLOCK_BITS) - 1)) as usize,
        );
        if self.blocks.len() <= block {
            self.blocks.resize_with(block + 1, || None);
        }
        &mut self.blocks[block].get_or_insert_with(|| Box::new([PulseCell::default(); 1 << BLOCK_BITS]))[within]
    }

    fn into_pulse(self, cell: Duration) -> Pulse {
        let blocks = self.blocks.into_iter().enumerate();
        let filled = blocks.filter_map(|(number, block)| Some((number, block?)));
        let cells = filled.flat_map(|(number, block)| {
            let first = (number as u32) << BLOCK_BITS;
            (first..).zip(*block)
        });
        Pulse {
            cell,
            cells: cells.filter(|(_, cell)| cell.ok + cell.failed > 0).collect(),
        }
    }
}

fn take_step(step: &mut WorkingStep) -> StepSlice {
    let take = |histogram: &mut Histogram<u64>| {
        let hist = Hist::encode(histogram);
        if !hist.is_empty() {
            histogram.reset();
        }
        hist
    };
    let failed = KINDS
        .iter()
        .map(|kind| (*kind, step.failed[*kind as usize]))
        .filter(|(_, count)| *count > 0);
    let slice = StepSlice {
        ok: step.ok,
        failed: failed.collect(),
        latency: take(&mut step.latency),
        service_time: take(&mut step.service_time),
        lag: take(&mut step.lag),
    };
    step.ok = 0;
    step.failed = [0; KINDS.len()];
    slice
}

/// Adds the pulses of another shard.
pub fn merge_pulses(into: &mut Vec<Pulse>, part: Vec<Pulse>) {
    if into.is_empty() {
        *into = part;
        return;
    }
    for (into, part) in into.iter_mut().zip(part) {
        for (index, cell) in part.cells {
            into.cells.entry(index).or_default().merge(&cell);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(number: u64) -> Finished {
        Finished {
            step: (number % 2) as usize,
            intended_us: number * 1000,
            started_us: number * 1000 + number % 7,
            served_from_us: number * 1000 + number % 11,
            finished_us: number * 1000 + 300 + number * 13 % 5000,
            failure: (number % 10 == 3).then_some(KINDS[(number % 10) as usize]),
        }
    }

    fn feed(recorder: &mut Recorder, number: u64) {
        let request = request(number);
        recorder.intended();
        let region = recorder.region(["us-east-1", "eu-west-1"][(number % 2) as usize]);
        recorder.started(request.step, request.intended_us, request.started_us, Some(region));
        if request.failure.is_none() {
            let server = recorder.server(format!("i-{}/us-east-1a/us-east-1", number % 3).as_bytes());
            recorder.served(server);
        }
        recorder.finished(&request);
    }

    #[test]
    fn shards_merge_to_exactly_one_run() {
        let run = Duration::from_secs(60);
        let mut whole = Recorder::new(0, 2, run);
        let mut shards = [
            Recorder::new(0, 2, run),
            Recorder::new(1, 2, run),
            Recorder::new(2, 2, run),
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
        let (mut one, mut split) = (Recorder::new(0, 2, Duration::ZERO), Recorder::new(0, 2, Duration::ZERO));
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
    fn pulses_keep_first_and_last_instants() {
        let mut recorder = Recorder::new(0, 1, Duration::from_secs(1000));
        let mut finish = |started_us, finished_us, failure| {
            recorder.finished(&Finished {
                step: 0,
                intended_us: started_us,
                started_us,
                served_from_us: started_us,
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
