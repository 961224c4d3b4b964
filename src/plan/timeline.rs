//! Questions about the plan's time axis, all in cloud time since t0.

use std::time::Duration;

use super::loads;
use super::{ExperimentPlan, FaultPlan, JourneyPlan, LoadPlan, Plan, StagePlan};

/// The mean over passes: journeys by their weight; none where there are none.
pub(super) fn mean<'j>(
    journeys: impl IntoIterator<Item = &'j JourneyPlan>,
    of: impl Fn(&JourneyPlan) -> f64,
) -> Option<f64> {
    let (mut weights, mut sum) = (0.0, 0.0);
    for journey in journeys {
        weights += journey.weight;
        sum += journey.weight * of(journey);
    }
    (weights > 0.0).then(|| sum / weights)
}

impl StagePlan {
    /// How long it ramps.
    #[must_use]
    pub fn ramp(&self) -> Duration {
        self.holds_at.saturating_sub(self.starts_at)
    }

    /// When it has its level: at the end of the ramp, just before whatever comes next.
    pub(super) fn reached_at(&self) -> Duration {
        self.holds_at.min(self.ends_at.saturating_sub(loads::BEFORE))
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
    /// What the stages of the run give at `offset`; straight lines while ramping, zero afterwards.
    #[must_use]
    pub fn level_at(&self, offset: Duration) -> f64 {
        loads::level_at(&self.stages, offset)
    }

    /// The stage that runs at `offset`, with its index.
    #[must_use]
    pub fn stage_at(&self, offset: Duration) -> Option<(usize, &StagePlan)> {
        self.stages
            .iter()
            .enumerate()
            .find(|(_, stage)| offset >= stage.starts_at && offset < stage.ends_at)
    }

    /// Whether it is measured when exactly requests failed and went well again, which only experiments are judged by.
    #[must_use]
    pub fn keeps_pulses(&self) -> bool {
        !self.experiments.is_empty()
    }

    /// The highest level there ever is; users and arrivals are added up where a run has both.
    #[must_use]
    pub fn level_max(&self) -> f64 {
        self.peak(|_, level| level)
    }

    /// Requests per second of real time expected at the end of a stage's ramp, answers taken as instant.
    #[must_use]
    pub fn expected_rate(&self, stage: &StagePlan) -> f64 {
        let loads = self.each_load();
        let [load] = loads.as_slice() else {
            let at = |load: &LoadPlan| load.expected_rate(&self.journeys, load.level_at(stage.reached_at()));
            return loads.iter().map(at).sum();
        };
        load.expected_rate(&self.journeys, stage.level)
    }

    /// The names of the groups of all journeys, in the order in which slices of a recording have them.
    #[must_use]
    pub fn groups(&self) -> Vec<&str> {
        self.journeys.iter().flat_map(JourneyPlan::groups).collect()
    }

    /// The real time of a cloud duration at this plan's pace.
    #[must_use]
    pub fn wall(&self, cloud: Duration) -> Duration {
        self.pace.to_real(cloud)
    }
}
