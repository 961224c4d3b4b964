//! Whether feeders whose rows are taken once have enough of them, estimated before anything is sent.

use super::timeline::mean;
use super::{JourneyPlan, LoadModel, Passes, StagePlan};
use crate::config::Mistake;
use crate::config::feeder::{Feeder, RowOrder};
use crate::units::{Pace, format_count};

/// The load that takes the rows.
pub(super) struct FedLoad<'p> {
    pub(super) journeys: &'p [JourneyPlan],
    pub(super) model: LoadModel,
    pub(super) stages: &'p [StagePlan],
    pub(super) pace: Pace,
}

/// Notes the feeders that would run dry; journeys name them by their places.
pub(super) fn check(feeders: &[Feeder], load: &FedLoad<'_>, mistakes: &mut Vec<Mistake>) {
    let once = |(_, feeder): &(usize, &Feeder)| feeder.order == RowOrder::Unique;
    for (index, feeder) in feeders.iter().enumerate().filter(once) {
        let (rows, needed) = (feeder.table.rows(), load.passes(index));
        if needed.floor() > rows as f64 {
            let message = format!(
                "feeder {:?} has {} rows, and about {} passes take one each: it runs dry",
                feeder.name,
                format_count(rows as u64),
                format_count(needed as u64)
            );
            let hint = "add rows, or write `order: sequential`, which starts again after the last one";
            mistakes.push(Mistake::at(&feeder.place, message).hint(hint));
        }
    }
}

impl FedLoad<'_> {
    /// How many passes take a row of this feeder, answers taken as instant; users take one each at least.
    fn passes(&self, feeder: usize) -> f64 {
        let fed = |journey: &JourneyPlan| f64::from(u8::from(journey.feed.contains(&feeder)));
        let share = mean(self.journeys, fed).unwrap_or_default();
        let cycle = mean(self.journeys, |journey| journey.cycle_seconds(Passes::Mean)).unwrap_or_default();
        let peak = self.stages.iter().map(|stage| stage.level).fold(0.0, f64::max);
        let all = match self.model {
            LoadModel::Arrivals => self.level_seconds(),
            LoadModel::Users if cycle > 0.0 => (self.level_seconds() / cycle).max(peak),
            LoadModel::Users => peak,
        };
        all * share
    }

    /// The level summed up over real time.
    fn level_seconds(&self) -> f64 {
        let real = |at| self.pace.to_real(at).as_secs_f64();
        let (mut before, mut sum) = (0.0, 0.0);
        for stage in self.stages {
            let (ramp, hold) = (real(stage.ramp()), real(stage.hold()));
            sum += (before + stage.level) / 2.0 * ramp + stage.level * hold;
            before = stage.level;
        }
        sum
    }
}
