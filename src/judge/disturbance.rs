//! What users of one step felt of a fault: onset, outage and recovery, from pulses and probes.
//!
//! What failed before the experiment as it does under the fault is not laid to the fault: `baseline` tells.
//!
//! An outage is told by when the requests that failed were started, as an onset is: a single failed request is none,
//! and onset plus outage is at most the recovery, which ends with the first success started after them.
//!
//! A pulse knows the exact start of the earliest failure of a cell and the finish of the latest one, so an onset is
//! exact and a recovery is late by at most one cell. A request in flight at the injection counts as hit by it, and not
//! by the fault of the experiment before.

use super::baseline::Baseline;
use super::timeline::{FaultTimes, Timeline, Window};
use crate::recording::{ProbeSample, Pulse};
use crate::units::format_count;

/// Attempts a window needs before "nobody failed" is believed.
pub(super) const ATTEMPTS_MIN: u64 = 10;

/// A share of failures that cannot be background noise.
const SUBSTANTIAL: f64 = 0.01;

/// So few failures need a larger share: at a low rate one stray failure is soon a percent.
const FEW: u64 = 2;

/// The share they need.
const SUBSTANTIAL_OF_FEW: f64 = 0.1;

/// Cloud seconds after an injection within which a fault may yet begin to be felt: the two minutes for which a Spot
/// interruption is announced, and one in which what is unhealthy is found.
const FELT_LATE: f64 = 180.0;

/// A step's disturbance, real seconds since t0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Disturbance {
    pub first_failed_start: f64,
    /// Where a cell holds more than one failure, its end.
    pub last_failed_start: f64,
    pub recovered: Option<f64>,
    /// Until when it is known not to have recovered, where it was not seen to: the last failed start, unless somebody asked
    /// after it.
    pub failing_until: f64,
    pub failed: Failed,
}

/// How many failed: the users' requests, which objectives count too, and our probes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Failed {
    pub requests: u64,
    pub probes: u64,
}

impl Failed {
    pub(super) fn all(self) -> u64 {
        self.requests + self.probes
    }
}

impl std::ops::AddAssign for Failed {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.probes += other.probes;
    }
}

impl std::iter::Sum for Failed {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |mut sum, one| {
            sum += one;
            sum
        })
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = |number: u64, noun: &str| {
            let plural = if number == 1 { "" } else { "s" };
            format!("{} {noun}{plural}", format_count(number))
        };
        match (self.requests, self.probes) {
            (requests, 0) => write!(f, "{} failed", count(requests, "request")),
            (0, probes) => write!(f, "{} failed", count(probes, "probe")),
            (requests, probes) => write!(
                f,
                "{} and {} failed",
                count(requests, "request"),
                count(probes, "probe")
            ),
        }
    }
}

/// What a step's users saw in a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Felt {
    /// Started while the fault was in the world; of one that a revert cannot take out of it, before its window ended.
    pub attempts: u64,
    /// None where nothing failed, and where it failed before as it did under the fault.
    pub disturbance: Option<Disturbance>,
    pub before: Option<Baseline>,
}

/// Failures that started close together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failures {
    pub start: f64,
    /// The latest start is no later than this.
    last_start: f64,
    pub finish: f64,
    pub count: Failed,
}

/// Measures one step under one fault; none when the fault never got into the world.
pub(super) fn felt(timeline: &Timeline<'_>, fault: &FaultTimes<'_>, step: usize) -> Option<Felt> {
    let injected = fault.instant()?;
    let window = timeline.window(fault)?;
    let pulse = timeline.recording.pulses.get(step);
    let probes = probes(timeline, step);
    let patience = patience(timeline);
    let failures: Vec<Failures> = failures(pulse, &probes)
        .into_iter()
        .filter(|failure| failure.finish >= injected && failure.start >= injected - patience)
        .collect();
    let in_window = attempts(pulse, &probes, injected, window.end);
    let gap = gap(timeline, pulse, in_window, window, step);
    let fault_end = if fault.reversible() {
        timeline.fault_end(fault).unwrap_or(window.end)
    } else {
        window.end
    };
    let next = timeline.next_experiment(&fault.id.experiment, window.end);
    let of_the_next =
        |cluster: &Failures| next.is_some_and(|next| cluster.start >= next - patience && cluster.finish >= next);
    let successors = successors(timeline, fault);
    let of_a_successor = |cluster: &Failures| {
        let mut later = successors.iter();
        later.any(|at| cluster.start >= at - patience && begins_with(*at, cluster, &failures))
    };
    let clusters: Vec<Failures> = clusters(&failures, gap, window.end)
        .into_iter()
        .filter(|cluster| cluster.start <= fault_end && !of_the_next(cluster) && !of_a_successor(cluster))
        .collect();
    let substantial: Vec<Failures> = clusters
        .iter()
        .filter(|cluster| {
            let around = self::attempts(pulse, &probes, cluster.start - gap, cluster.finish + gap);
            is_substantial(cluster.count.all(), around)
        })
        .copied()
        .collect();
    let chosen = if substantial.is_empty() {
        &clusters[..clusters.len().min(1)]
    } else {
        &substantial[..]
    };
    let disturbance = chosen.first().zip(chosen.last()).map(|(first, last)| {
        let first_failed_start = first.start.max(injected);
        let last_failed_start = last.last_start.min(window.end).max(first_failed_start);
        let still_failing = last.last_start > window.end;
        let first_ok = first_ok_after(pulse, &probes, last.last_start, window.end).filter(|_| !still_failing);
        Disturbance {
            first_failed_start,
            last_failed_start,
            recovered: first_ok.filter(|at| *at <= window.end),
            failing_until: first_ok.map_or(last_failed_start, |_| window.end),
            failed: chosen.iter().map(|cluster| cluster.count).sum(),
        }
    });
    let looked = (60.0 / timeline.pace()).max(2.0 * gap) + patience;
    let before = Baseline::of(pulse, &probes, window.begin, looked)
        .zip(disturbance)
        .and_then(|(before, under)| before.is_alike(pulse, &probes, &under).then_some(before));
    Some(Felt {
        attempts: attempts(pulse, &probes, injected, fault_end.min(window.end)),
        disturbance: disturbance.filter(|_| before.is_none()),
        before,
    })
}

/// When faults of the same experiment were injected so much later than an irreversible one that what begins with them is
/// theirs alone. One that can be reverted is to blame until it has left the world, whatever else is in it by then.
fn successors(timeline: &Timeline<'_>, fault: &FaultTimes<'_>) -> Vec<f64> {
    let Some(injected) = fault.instant().filter(|_| !fault.reversible()) else {
        return Vec::new();
    };
    let late = injected + FELT_LATE / timeline.pace();
    let others = timeline.faults.iter().filter(|other| {
        other.id.experiment == fault.id.experiment && other.id != fault.id && other.unproven().is_none()
    });
    others.filter_map(FaultTimes::instant).filter(|at| *at > late).collect()
}

/// Whether a cluster begins with what was injected at an instant: none of it was over by then.
fn begins_with(instant: f64, cluster: &Failures, failures: &[Failures]) -> bool {
    let of_cluster = |failure: &&Failures| (cluster.start..=cluster.last_start).contains(&failure.start);
    failures
        .iter()
        .filter(of_cluster)
        .all(|failure| failure.finish >= instant)
}

/// The probes that ask as users do.
fn probes<'a>(timeline: &Timeline<'a>, step: usize) -> Vec<&'a ProbeSample> {
    let all = timeline.recording.probes.iter();
    all.filter(|probe| probe.step == step && !probe.direct).collect()
}

/// How long a request may be in flight, real seconds.
pub(super) fn patience(timeline: &Timeline<'_>) -> f64 {
    let longest = timeline.plan.client.request_timeout_max();
    timeline.plan.pace.patience(longest).as_secs_f64()
}

/// Whether so many failures among so many attempts cannot be background noise.
pub(super) fn is_substantial(failed: u64, attempts: u64) -> bool {
    let needed = if failed > FEW { SUBSTANTIAL } else { SUBSTANTIAL_OF_FEW };
    failed as f64 / attempts.max(1) as f64 >= needed
}

/// Failed requests of a step that started in a span.
pub(super) fn failed_between(timeline: &Timeline<'_>, step: usize, from: f64, to: f64) -> u64 {
    let pulse = timeline.recording.pulses.get(step);
    let probes = probes(timeline, step);
    failures(pulse, &probes)
        .iter()
        .filter(|failure| failure.start >= from && failure.start < to)
        .map(|failure| failure.count.all())
        .sum()
}

/// Requests of a step that started in a span, whatever became of them.
pub(super) fn attempts_between(timeline: &Timeline<'_>, step: usize, from: f64, to: f64) -> u64 {
    let probes = probes(timeline, step);
    attempts(timeline.recording.pulses.get(step), &probes, from, to)
}

/// How long without a failure ends a disturbance: half a cloud minute, and long enough for a few requests and probes.
fn gap(timeline: &Timeline<'_>, pulse: Option<&Pulse>, attempts: u64, window: Window, step: usize) -> f64 {
    let cell = pulse.map_or(0.0, |pulse| pulse.cell.as_secs_f64());
    let probe = timeline
        .plan
        .probes
        .iter()
        .filter(|probe| probe.step == step && probe.region.is_none())
        .map(|probe| probe.interval.as_secs_f64())
        .fold(0.0, f64::max);
    let spacing = (window.end - window.begin) / attempts.max(1) as f64;
    (30.0 / timeline.pace())
        .max(4.0 * cell)
        .max(3.0 * probe)
        .max((5.0 * spacing).min(5.0))
}

pub(super) fn cell_span(pulse: &Pulse, index: u32) -> (f64, f64) {
    let width = pulse.cell.as_secs_f64();
    (f64::from(index) * width, (f64::from(index) + 1.0) * width)
}

fn micros(us: u64) -> f64 {
    us as f64 / 1e6
}

fn attempts(pulse: Option<&Pulse>, probes: &[&ProbeSample], from: f64, to: f64) -> u64 {
    let cells: u64 = pulse.map_or(0, |pulse| {
        pulse
            .cells
            .iter()
            .filter(|(index, _)| {
                let (start, end) = cell_span(pulse, **index);
                end > from && start <= to
            })
            .map(|(_, cell)| u64::from(cell.ok) + u64::from(cell.failed))
            .sum()
    });
    let probed = probes
        .iter()
        .filter(|probe| (from..=to).contains(&probe.started.as_secs_f64()))
        .count();
    cells + probed as u64
}

pub(super) fn failures(pulse: Option<&Pulse>, probes: &[&ProbeSample]) -> Vec<Failures> {
    let mut all = Vec::new();
    if let Some(pulse) = pulse {
        for (index, cell) in pulse.cells.iter().filter(|(_, cell)| cell.failed > 0) {
            let (start, end) = cell_span(pulse, *index);
            let first = cell.first_failed_started_us.map_or(start, micros);
            all.push(Failures {
                start: first,
                last_start: if cell.failed == 1 { first } else { end.max(first) },
                finish: cell.last_failed_finished_us.map_or(end, micros).max(first),
                count: Failed {
                    requests: u64::from(cell.failed),
                    probes: 0,
                },
            });
        }
    }
    for probe in probes.iter().filter(|probe| probe.failure.is_some()) {
        let start = probe.started.as_secs_f64();
        all.push(Failures {
            start,
            last_start: start,
            finish: probe.finished.as_secs_f64().max(start),
            count: Failed { requests: 0, probes: 1 },
        });
    }
    all.sort_by(|one, other| one.start.total_cmp(&other.start));
    all
}

/// Failures with pauses below `gap` belong together; those that begin after `end` do not count, except that they show
/// that a disturbance went on.
fn clusters(failures: &[Failures], gap: f64, end: f64) -> Vec<Failures> {
    let mut clusters: Vec<Failures> = Vec::new();
    for failure in failures.iter().copied() {
        match clusters.last_mut() {
            Some(cluster) if failure.start <= cluster.finish.max(cluster.last_start) + gap => {
                cluster.last_start = cluster.last_start.max(failure.last_start);
                cluster.finish = cluster.finish.max(failure.finish);
                cluster.count += failure.count;
            }
            _ if failure.start <= end => clusters.push(failure),
            _ => {}
        }
    }
    clusters
}

/// The earliest finish of a success that surely started after `start`.
fn first_ok_after(pulse: Option<&Pulse>, probes: &[&ProbeSample], start: f64, end: f64) -> Option<f64> {
    let cells = pulse.into_iter().flat_map(|pulse| {
        pulse.cells.iter().filter_map(move |(index, cell)| {
            let (begins, _) = cell_span(pulse, *index);
            // Cell bounds are products of the same width, so this tolerance only absorbs rounding.
            (begins + 1e-9 >= start && begins <= end)
                .then_some(cell.first_ok_finished_us)
                .flatten()
                .map(micros)
        })
    });
    let probed = probes
        .iter()
        .filter(|probe| probe.failure.is_none() && probe.started.as_secs_f64() > start)
        .map(|probe| probe.finished.as_secs_f64());
    cells.chain(probed).reduce(f64::min)
}
