//! The loads of a run: each with its journeys and a schedule of its own, and what they are together. Instants are cloud
//! time since t0.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::timeline::mean;
use super::{Iterations, JourneyPlan, LoadModel, Passes, Plan, Spacing, StagePlan};

/// Just before an instant: what ends there still counts, and what begins there does not yet.
pub(super) const BEFORE: Duration = Duration::from_nanos(1);

/// One load of several in a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoadPlan {
    /// Its name.
    pub name: String,
    /// Indexes into [`Plan::journeys`].
    pub journeys: Vec<usize>,
    /// Open or closed; never mixed.
    pub model: LoadModel,
    /// How arrivals are spaced.
    pub spacing: Spacing,
    /// Its stages, at least one, without gap; the first begins when the load does.
    pub stages: Vec<StagePlan>,
    /// How many passes its users make; as many as they come to when none.
    #[serde(default)]
    pub iterations: Option<Iterations>,
}

impl LoadPlan {
    /// When it starts.
    #[must_use]
    pub fn starts_at(&self) -> Duration {
        self.stages.first().map(|stage| stage.starts_at).unwrap_or_default()
    }

    /// When its schedule ends.
    #[must_use]
    pub fn ends_at(&self) -> Duration {
        self.stages.last().map(|stage| stage.ends_at).unwrap_or_default()
    }

    /// Users, or arrivals per second, at `offset`; straight lines while ramping, zero before it starts and afterwards.
    #[must_use]
    pub fn level_at(&self, offset: Duration) -> f64 {
        level_at(&self.stages, offset)
    }

    /// The highest level of any stage.
    #[must_use]
    pub fn level_max(&self) -> f64 {
        self.stages.iter().map(|stage| stage.level).fold(0.0, f64::max)
    }

    /// Requests per second of real time that `level` of it means, answers taken as instant.
    #[must_use]
    pub fn expected_rate(&self, journeys: &[JourneyPlan], level: f64) -> f64 {
        let steps = self
            .mean(journeys, |journey| journey.requests(Passes::Mean))
            .unwrap_or_default();
        let cycle = match self.model {
            LoadModel::Users => self
                .mean(journeys, |journey| journey.cycle_seconds(Passes::Mean))
                .filter(|cycle| *cycle > 0.0),
            LoadModel::Arrivals | LoadModel::Mixed => Some(1.0),
        };
        cycle.map_or(0.0, |cycle| level * steps / cycle)
    }

    /// The mean over its passes, of all journeys by their weight; none where it has none.
    pub(super) fn mean(&self, journeys: &[JourneyPlan], of: impl Fn(&JourneyPlan) -> f64) -> Option<f64> {
        mean(self.journeys.iter().filter_map(|index| journeys.get(*index)), of)
    }

    fn stage_at(&self, offset: Duration) -> Option<&StagePlan> {
        let index = self.stages.partition_point(|stage| stage.ends_at <= offset);
        self.stages.get(index).filter(|stage| stage.starts_at <= offset)
    }
}

impl Plan {
    /// Every load of the run; the one of all journeys where the plan names none.
    #[must_use]
    pub fn each_load(&self) -> Vec<LoadPlan> {
        if !self.loads.is_empty() {
            return self.loads.clone();
        }
        vec![LoadPlan {
            name: String::new(),
            journeys: (0..self.journeys.len()).collect(),
            model: self.model,
            spacing: self.spacing,
            stages: self.stages.clone(),
            iterations: None,
        }]
    }

    /// The most there ever is of something that grows with the level of every load, all loads together.
    #[must_use]
    pub fn peak(&self, of: impl Fn(&LoadPlan, f64) -> f64) -> f64 {
        let loads = self.each_load();
        if let [load] = loads.as_slice() {
            return of(load, load.level_max());
        }
        let at = |offset: Duration| loads.iter().map(|load| of(load, load.level_at(offset))).sum::<f64>();
        let instants = instants(&loads);
        let both = instants.iter().flat_map(|at| [*at, at.saturating_sub(BEFORE)]);
        both.map(at).fold(0.0, f64::max)
    }
}

/// Users, or arrivals per second, of these stages at `offset`.
pub(super) fn level_at(stages: &[StagePlan], offset: Duration) -> f64 {
    let mut before = 0.0;
    for stage in stages {
        if offset < stage.starts_at {
            return before;
        }
        if offset < stage.holds_at {
            let into = offset.saturating_sub(stage.starts_at).as_secs_f64() / stage.ramp().as_secs_f64();
            return before + (stage.level - before) * into;
        }
        if offset < stage.ends_at {
            return stage.level;
        }
        before = stage.level;
    }
    0.0
}

/// Every instant at which a load begins to ramp, to hold or to end.
fn instants(loads: &[LoadPlan]) -> BTreeSet<Duration> {
    let stages = loads.iter().flat_map(|load| &load.stages);
    stages
        .flat_map(|stage| [stage.starts_at, stage.holds_at, stage.ends_at])
        .collect()
}

/// What these loads are together: their model, and stages of the whole run. It holds while every load that runs does,
/// and ramps while any does; while none runs it ramps too, for there is no load to be steady. A stage's tier is the
/// highest of those that run.
pub(super) fn whole(loads: &[LoadPlan], journeys: &[JourneyPlan]) -> (LoadModel, Vec<StagePlan>) {
    let same = |load: &LoadPlan| load.model == loads[0].model;
    let model = if loads.iter().all(same) {
        loads[0].model
    } else {
        LoadModel::Mixed
    };
    let level = |offset: Duration| {
        let of = |load: &LoadPlan| match model {
            LoadModel::Mixed => load.expected_rate(journeys, load.level_at(offset)),
            LoadModel::Users | LoadModel::Arrivals => load.level_at(offset),
        };
        // What is a nanosecond short of its level has it.
        (loads.iter().map(of).sum::<f64>() * 1e3).round() / 1e3
    };
    let mut stages: Vec<StagePlan> = Vec::new();
    let mut tier = 1;
    let cuts: Vec<Duration> = std::iter::once(Duration::ZERO).chain(instants(loads)).collect();
    for cut in cuts.windows(2).filter(|cut| cut[0] < cut[1]) {
        let (from, to) = (cut[0], cut[1]);
        let running: Vec<&StagePlan> = loads.iter().filter_map(|load| load.stage_at(from)).collect();
        tier = running.iter().map(|stage| stage.tier).max().unwrap_or(tier);
        let holds = !running.is_empty() && running.iter().all(|stage| stage.holds_at <= from);
        let level = level(to.saturating_sub(BEFORE));
        match stages.last_mut() {
            // The ramp goes on, or comes to its hold.
            Some(last) if last.holds_at == last.ends_at => {
                (last.tier, last.level, last.ends_at) = (tier, level, to);
                last.holds_at = if holds { from } else { to };
            }
            _ => stages.push(StagePlan {
                tier,
                level,
                starts_at: from,
                holds_at: if holds { from } else { to },
                ends_at: to,
            }),
        }
    }
    (model, stages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::wait::Wait;

    const S: fn(u64) -> Duration = Duration::from_secs;

    /// Ramps and holds, each to a level.
    fn load(model: LoadModel, starts_at: u64, stages: &[(f64, u64, u64)]) -> LoadPlan {
        let mut clock = S(starts_at);
        let stages = stages.iter().map(|(level, ramp, hold)| {
            let starts_at = clock;
            clock += S(ramp + hold);
            StagePlan {
                tier: 1,
                level: *level,
                starts_at,
                holds_at: starts_at + S(*ramp),
                ends_at: clock,
            }
        });
        LoadPlan {
            name: "load".to_owned(),
            journeys: vec![0],
            model,
            spacing: Spacing::Even,
            stages: stages.collect(),
            iterations: None,
        }
    }

    fn journeys() -> Vec<JourneyPlan> {
        vec![JourneyPlan {
            weight: 1.0,
            think: Wait::Uniform { min: S(10), max: S(10) },
            steps: vec![0, 1],
            ..JourneyPlan::default()
        }]
    }

    /// Level, start, hold and end of each stage.
    fn shape(loads: &[LoadPlan]) -> (LoadModel, Vec<(f64, u64, u64, u64)>) {
        let (model, stages) = whole(loads, &journeys());
        let of = |stage: &StagePlan| {
            let at = |at: Duration| at.as_secs();
            (stage.level, at(stage.starts_at), at(stage.holds_at), at(stage.ends_at))
        };
        (model, stages.iter().map(of).collect())
    }

    #[test]
    fn the_whole_holds_while_every_load_that_runs_does() {
        use LoadModel::{Arrivals, Mixed, Users};
        let browse = load(Users, 0, &[(100.0, 10, 50)]);
        let alone = (Users, vec![(100.0, 0, 10, 60)]);
        assert_eq!(shape(std::slice::from_ref(&browse)), alone);
        let second = load(Users, 30, &[(40.0, 10, 20)]);
        assert_eq!(
            shape(&[browse.clone(), second]),
            (Users, vec![(100.0, 0, 10, 30), (140.0, 30, 40, 60)])
        );
        // A spike within the hold is a stage, and what comes after it another.
        let spike = load(Users, 20, &[(400.0, 0, 10)]);
        assert_eq!(
            shape(&[browse.clone(), spike]),
            (
                Users,
                vec![(100.0, 0, 10, 20), (500.0, 20, 20, 30), (100.0, 30, 30, 60)]
            )
        );
        // A hundred users who think for ten seconds send twenty requests a second; so do ten arrivals.
        let arrivals = load(Arrivals, 70, &[(10.0, 0, 10)]);
        assert_eq!(
            shape(&[browse, arrivals]),
            (Mixed, vec![(20.0, 0, 10, 60), (20.0, 60, 70, 80)])
        );
        let late = load(Arrivals, 5, &[(10.0, 0, 10)]);
        assert_eq!(
            shape(&[late]),
            (Arrivals, vec![(10.0, 0, 5, 15)]),
            "nothing runs before"
        );
    }

    #[test]
    fn a_load_has_no_level_before_it_starts_and_after_it_ends() {
        let load = load(LoadModel::Users, 10, &[(50.0, 0, 10), (10.0, 10, 0)]);
        let levels = [0, 9, 10, 19, 25, 30].map(|at| load.level_at(S(at)));
        assert_eq!(levels, [0.0, 0.0, 50.0, 50.0, 30.0, 0.0]);
    }
}
