//! When what happened: instants of faults, windows of experiments, and the phase of every recorded second.
//! Internally real seconds since t0 as `f64`; [`Timeline::cloud`] turns them into what a verdict reports.

use std::collections::BTreeMap;
use std::time::Duration;

use super::FaultFindings;
use super::steered::Steered;
use crate::event::{Event, FaultId};
use crate::plan::{ExperimentPlan, FaultPlan, Phase, Plan, Scope};
use crate::recording::{Ended, Recording, Slice};
use crate::units::format_duration;

/// Real seconds: a run that ended this shortly before the end of a window has seen all of it.
const AT_ITS_END: f64 = 0.1;

/// The instants of one fault, real seconds since t0.
#[derive(Clone, Debug)]
pub(super) struct FaultTimes<'a> {
    pub id: FaultId,
    pub experiment: &'a ExperimentPlan,
    pub plan: &'a FaultPlan,
    pub resources: Vec<String>,
    pub started: Option<f64>,
    pub injected: Option<f64>,
    pub observed: Option<String>,
    pub not_observed: Option<String>,
    pub failed: Option<String>,
    /// When somebody else took it out of the world, and how that is known.
    pub ended_early: Option<(f64, String)>,
    /// When its revert began first, whatever became of that.
    pub revert_due: Option<f64>,
    /// Why a try to revert it failed, of the last that did.
    pub revert_failed: Option<String>,
    pub revert_started: Option<f64>,
    pub reverted: Option<f64>,
}

impl FaultTimes<'_> {
    /// Whether a revert can take it out of the world; any other fault is over with its injection.
    pub fn reversible(&self) -> bool {
        self.plan.revert_at.is_some()
    }

    /// When its revert began, by whomever; none unless that revert was seen to be complete: until then it is in the world.
    pub fn leaving(&self) -> Option<f64> {
        let ended = self.ended_early.as_ref().map(|(at, _)| *at);
        let started = [self.revert_started, ended].into_iter().flatten();
        Some(started.fold(self.reverted?, f64::min))
    }

    /// Why it was not in the world for as long as planned, where somebody else ended it.
    pub fn cut_off(&self, timeline: &Timeline<'_>) -> Option<String> {
        let (at, _) = self.ended_early.as_ref()?;
        let (fault, at) = (self.plan.fault.name(), format_duration(timeline.cloud(*at)));
        Some(format!("{fault} ended early, at {at}, and not by this run"))
    }

    /// In the world, and nothing took it out before the run ended.
    pub fn stays(&self) -> bool {
        self.reversible() && self.instant().is_some() && self.reverted.is_none()
    }

    /// The instant of injection: its effect may begin with the first call, so it counts from the journalled intent.
    pub fn instant(&self) -> Option<f64> {
        if self.failed.is_some() || (self.injected.is_none() && self.observed.is_none()) {
            return None;
        }
        self.started.or(self.injected)
    }

    /// Why nothing measured under this fault can be believed; none when its effect was seen.
    pub fn unproven(&self) -> Option<String> {
        let name = self.plan.fault.name();
        if let Some(error) = &self.failed {
            Some(format!("{name} could not be injected: {error}"))
        } else if let Some(reason) = &self.not_observed {
            Some(format!("{name} had no effect: {reason}"))
        } else if self.started.is_none() && self.injected.is_none() {
            Some(format!("{name} was never injected"))
        } else if self.observed.is_none() {
            Some(format!("the effect of {name} was not confirmed before the run ended"))
        } else {
            None
        }
    }
}

/// From the first injection of an experiment to the end of its settle time, real seconds since t0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Window {
    pub begin: f64,
    pub end: f64,
    /// The run, or the fault by somebody else's hand, ended before the window did.
    pub cut: bool,
}

/// A plan and its recording on one time axis.
pub struct Timeline<'a> {
    pub(super) plan: &'a Plan,
    pub(super) recording: &'a Recording,
    pub(super) faults: Vec<FaultTimes<'a>>,
    pub(super) windows: BTreeMap<&'a str, Window>,
    /// Phase of each slice, by its position; none where the load was not the plan's.
    pub(super) phases: Vec<Option<Phase>>,
    pub(super) steered: Steered,
    /// End of what was measured, real seconds: reverts that fail may go on long after the load has ended.
    pub(super) end: f64,
}

impl<'a> Timeline<'a> {
    /// When the load ended, real seconds: with the schedule as it was steered, or with the run.
    #[must_use]
    pub fn load_end(&self) -> f64 {
        let ran = self.recording.duration.as_secs_f64();
        self.steered.end(self.plan).min(ran)
    }

    /// Lays the recording's events over the plan.
    #[must_use]
    pub fn new(plan: &'a Plan, recording: &'a Recording) -> Self {
        let mut faults = Vec::new();
        for experiment in &plan.experiments {
            for (index, fault) in experiment.faults.iter().enumerate() {
                let id = FaultId {
                    experiment: experiment.name.clone(),
                    index,
                };
                faults.push(fault_times(id, experiment, fault, recording));
            }
        }
        let mut timeline = Self {
            plan,
            recording,
            faults,
            windows: BTreeMap::new(),
            phases: Vec::new(),
            steered: Steered::new(plan, recording),
            end: measured_until(recording),
        };
        timeline.windows = plan
            .experiments
            .iter()
            .filter_map(|experiment| Some((experiment.name.as_str(), timeline.window_of(experiment)?)))
            .collect();
        timeline
    }

    fn window_of(&self, experiment: &ExperimentPlan) -> Option<Window> {
        let of = || {
            self.faults
                .iter()
                .filter(|fault| fault.id.experiment == experiment.name)
        };
        let begin = of().filter_map(FaultTimes::instant).reduce(f64::min)?;
        let last = of().filter_map(|fault| self.fault_end(fault)).reduce(f64::max)?;
        let planned = last + self.real(experiment.settle);
        // Experiments follow one another: where this one was late, the next one ends it.
        let next = self.next_experiment(&experiment.name, begin).unwrap_or(planned);
        Some(Window {
            begin,
            end: planned.min(next).min(self.end).max(begin),
            cut: of().any(|fault| fault.stays() || fault.ended_early.is_some()) || self.ends_before(planned),
        })
    }

    /// The first injection of another experiment at or after this instant, real seconds since t0.
    pub(super) fn next_experiment(&self, experiment: &str, after: f64) -> Option<f64> {
        let others = self.faults.iter().filter(|fault| fault.id.experiment != experiment);
        others
            .filter_map(FaultTimes::instant)
            .filter(|instant| *instant >= after)
            .reduce(f64::min)
    }

    /// The first injection of any fault after this instant, real seconds since t0.
    pub(super) fn next_fault(&self, after: f64) -> Option<f64> {
        let injected = self.faults.iter().filter_map(FaultTimes::instant);
        injected.filter(|instant| *instant > after).reduce(f64::min)
    }

    /// The run was cut short before this instant, real seconds since t0.
    fn ends_before(&self, planned: f64) -> bool {
        self.recording.ended != Ended::Finished && planned > self.end + AT_ITS_END
    }

    /// The run was cut short before the end of its schedule.
    pub(super) fn cut(&self) -> bool {
        self.ends_before(self.steered.end(self.plan))
    }

    /// When a fault left the world: the end of the run where no revert was seen, its injection where there is none.
    pub(super) fn fault_end(&self, fault: &FaultTimes<'_>) -> Option<f64> {
        let instant = fault.instant()?;
        Some(match fault.reverted {
            Some(_) if fault.ended_early.is_some() => fault.leaving().unwrap_or(instant).max(instant),
            Some(reverted) => reverted,
            None if fault.reversible() => self.end.max(instant),
            None => instant,
        })
    }

    /// Sets the phase of every second; needs the measured recoveries, which end irreversible faults.
    pub(super) fn settle_phases(&mut self, findings: &[FaultFindings]) {
        let pace = self.pace();
        let mut windows = Vec::new();
        for (fault, found) in self.faults.iter().zip(findings) {
            let (Some(instant), Some(window)) = (fault.instant(), self.windows.get(fault.id.experiment.as_str()))
            else {
                continue;
            };
            let end = if fault.reversible() {
                self.fault_end(fault).unwrap_or(window.end)
            } else if found.unrecovered {
                window.end
            } else {
                instant + found.recovery.unwrap_or_default().as_secs_f64() / pace
            };
            let until = if self.overstay(fault).is_some() {
                end
            } else {
                end.min(window.end)
            };
            windows.push((instant, until));
        }
        let overlaps = |second: f64, from: f64, to: f64| second < to && second + 1.0 > from;
        self.phases = self
            .recording
            .slices
            .iter()
            .map(|slice| {
                let second = slice.second as f64;
                if self.steered.scaled(slice.second) {
                    return None;
                }
                Some(if windows.iter().any(|(from, to)| overlaps(second, *from, *to)) {
                    Phase::Fault
                } else if self
                    .windows
                    .values()
                    .any(|window| overlaps(second, window.begin, window.end))
                {
                    Phase::Recovery
                } else if self.steered.steady(self.plan, slice.second) {
                    Phase::Steady
                } else {
                    Phase::Ramp
                })
            })
            .collect();
    }

    /// The slices a scope covers.
    pub(super) fn slices(&self, scope: &Scope) -> Vec<&'a Slice> {
        let slices = self.recording.slices.iter().zip(&self.phases);
        match scope {
            Scope::Run => slices.filter(|(_, of)| of.is_some()).map(|(slice, _)| slice).collect(),
            Scope::During(phase) => slices
                .filter(|(_, of)| **of == Some(*phase))
                .map(|(slice, _)| slice)
                .collect(),
            Scope::Experiment(name) => match self.windows.get(name.as_str()) {
                Some(window) => {
                    // A second in which the next experiment begins is that one's.
                    let next = self.next_experiment(name, window.begin).unwrap_or(f64::INFINITY);
                    slices
                        .map(|(slice, _)| slice)
                        .filter(|slice| {
                            let (from, to) = (slice.second as f64, slice.second as f64 + 1.0);
                            from < window.end && to > window.begin && to <= next
                        })
                        .collect()
                }
                None => Vec::new(),
            },
        }
    }

    /// The faults a scope covers.
    pub(super) fn faults_in(&self, scope: &Scope) -> Vec<usize> {
        (0..self.faults.len())
            .filter(|index| match scope {
                Scope::Experiment(name) => self.faults[*index].id.experiment == *name,
                Scope::Run | Scope::During(_) => true,
            })
            .collect()
    }

    pub(super) fn window(&self, fault: &FaultTimes<'_>) -> Option<Window> {
        self.windows.get(fault.id.experiment.as_str()).copied()
    }

    pub(super) fn pace(&self) -> f64 {
        self.plan.pace.times()
    }

    /// Real seconds in which `cloud` passes.
    pub(super) fn real(&self, cloud: Duration) -> f64 {
        cloud.as_secs_f64() / self.pace()
    }

    /// The cloud time of real seconds; zero for what is negative.
    pub(super) fn cloud(&self, real: f64) -> Duration {
        duration(real * self.pace())
    }

    /// Events with their real instants.
    pub(super) fn events(&self) -> impl DoubleEndedIterator<Item = (f64, &'a Event)> + Clone {
        self.recording
            .events
            .iter()
            .map(|stamped| (stamped.at.as_secs_f64(), &stamped.event))
    }
}

fn measured_until(recording: &Recording) -> f64 {
    let run = recording.duration.as_secs_f64();
    let last = recording.slices.last();
    last.map_or(run, |slice| run.min(slice.second as f64 + 1.0))
}

/// A duration of `seconds`, to the nanosecond; zero for what is negative or no number.
pub(super) fn duration(seconds: f64) -> Duration {
    if seconds.is_nan() || seconds <= 0.0 {
        return Duration::ZERO;
    }
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

fn fault_times<'a>(
    id: FaultId,
    experiment: &'a ExperimentPlan,
    plan: &'a FaultPlan,
    recording: &Recording,
) -> FaultTimes<'a> {
    let mut times = FaultTimes {
        id,
        experiment,
        plan,
        resources: Vec::new(),
        started: None,
        injected: None,
        observed: None,
        not_observed: None,
        failed: None,
        ended_early: None,
        revert_due: None,
        revert_failed: None,
        revert_started: None,
        reverted: None,
    };
    for stamped in &recording.events {
        let at = stamped.at.as_secs_f64();
        match &stamped.event {
            Event::FaultStarted { fault, resources } if *fault == times.id => {
                times.started = Some(at);
                times.resources.clone_from(resources);
            }
            Event::FaultInjected { fault } if *fault == times.id => times.injected = Some(at),
            Event::FaultObserved { fault, evidence } if *fault == times.id => times.observed = Some(evidence.clone()),
            Event::FaultNotObserved { fault, reason } if *fault == times.id => {
                times.not_observed = Some(reason.clone());
            }
            Event::FaultFailed { fault, error } if *fault == times.id => times.failed = Some(error.clone()),
            Event::FaultEndedEarly { fault, evidence } if *fault == times.id && times.ended_early.is_none() => {
                times.ended_early = Some((at, evidence.clone()));
            }
            // A revert that failed is tried again: the last try before it was complete is the one that did it.
            Event::FaultRevertStarted { fault } if *fault == times.id && times.reverted.is_none() => {
                times.revert_due.get_or_insert(at);
                times.revert_started = Some(at);
            }
            Event::FaultRevertRetried { fault, error } if *fault == times.id => {
                times.revert_failed = Some(error.clone());
            }
            Event::FaultRevertFailed { fault, error } if *fault == times.id => {
                // It goes on about what to do by hand, which a try before has not.
                times.revert_failed.get_or_insert_with(|| error.clone());
            }
            Event::FaultReverted { fault } if *fault == times.id => times.reverted = Some(at),
            _ => {}
        }
    }
    if times.observed.is_some() {
        // Seen after all: an earlier look in vain no longer counts.
        times.not_observed = None;
    }
    times
}
