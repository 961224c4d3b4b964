//! Questions about the plan's time axis, all in cloud time since t0.

use std::time::Duration;

use super::{ExperimentPlan, FaultPlan, JourneyPlan, LoadModel, Passes, Plan, StagePlan};
use crate::config::flow::groups;

/// The mean over passes: journeys by their weight; none where there are none.
pub(super) fn mean(journeys: &[JourneyPlan], of: impl Fn(&JourneyPlan) -> f64) -> Option<f64> {
    let weights: f64 = journeys.iter().map(|journey| journey.weight).sum();
    let sum: f64 = journeys.iter().map(|journey| journey.weight * of(journey)).sum();
    (weights > 0.0).then(|| sum / weights)
}

impl StagePlan {
    /// How long it ramps.
    #[must_use]
    pub fn ramp(&self) -> Duration {
        self.holds_at.saturating_sub(self.starts_at)
    }

    /// How long it holds.
    #[must_use]
    pub fn hold(&self) -> Duration {
        self.ends_at.saturating_sub(self.holds_at)
    }
}

impl FaultPlan {
    /// When its planned window ends: at the revert, or at once where it is irreversible.
    #[must_use]
    pub fn ends_at(&self) -> Duration {
        self.revert_at.unwrap_or(self.at)
    }
}

impl ExperimentPlan {
    /// When its first fault is injected.
    #[must_use]
    pub fn starts_at(&self) -> Duration {
        self.faults.iter().map(|fault| fault.at).min().unwrap_or_default()
    }

    /// When its settle time ends.
    #[must_use]
    pub fn ends_at(&self) -> Duration {
        let last = self.faults.iter().map(FaultPlan::ends_at).max().unwrap_or_default();
        last.saturating_add(self.settle)
    }
}

impl Plan {
    /// Users, or arrivals per second in the open model, at `offset`; straight lines while ramping, zero afterwards.
    #[must_use]
    pub fn level_at(&self, offset: Duration) -> f64 {
        let mut before = 0.0;
        for stage in &self.stages {
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

    /// The stage that runs at `offset`, with its index.
    #[must_use]
    pub fn stage_at(&self, offset: Duration) -> Option<(usize, &StagePlan)> {
        self.stages
            .iter()
            .enumerate()
            .find(|(_, stage)| offset >= stage.starts_at && offset < stage.ends_at)
    }

    /// The highest level of any stage.
    #[must_use]
    pub fn level_max(&self) -> f64 {
        self.stages.iter().map(|stage| stage.level).fold(0.0, f64::max)
    }

    /// Requests per second of real time that `level` means, answers taken as instant.
    #[must_use]
    pub fn expected_rate(&self, level: f64) -> f64 {
        let steps = mean(&self.journeys, |journey| journey.requests(Passes::Mean)).unwrap_or_default();
        let cycle = match self.model {
            LoadModel::Arrivals => Some(1.0),
            LoadModel::Users => {
                mean(&self.journeys, |journey| journey.cycle_seconds(Passes::Mean)).filter(|cycle| *cycle > 0.0)
            }
        };
        cycle.map_or(0.0, |cycle| level * steps / cycle)
    }

    /// The names of the groups of all journeys, in the order in which slices of a recording have them.
    #[must_use]
    pub fn groups(&self) -> Vec<&str> {
        self.journeys.iter().flat_map(|journey| groups(&journey.flow)).collect()
    }

    /// The real time of a cloud duration at this plan's pace.
    #[must_use]
    pub fn wall(&self, cloud: Duration) -> Duration {
        self.pace.to_real(cloud)
    }
}
