//! Whether feeders whose rows are taken once have enough of them, estimated before anything is sent.

use super::{Iterations, JourneyPlan, LoadModel, LoadPlan, Passes};
use crate::config::Mistake;
use crate::config::feeder::{Feeder, RowOrder};
use crate::units::{Pace, format_count};

/// The loads that take the rows.
pub(super) struct FedLoads<'p> {
    pub(super) journeys: &'p [JourneyPlan],
    pub(super) loads: &'p [LoadPlan],
    pub(super) pace: Pace,
}

/// Notes the feeders that would run dry; journeys name them by their places.
pub(super) fn check(feeders: &[Feeder], loads: &FedLoads<'_>, mistakes: &mut Vec<Mistake>) {
    let once = |(_, feeder): &(usize, &Feeder)| feeder.order == RowOrder::Unique;
    for (index, feeder) in feeders.iter().enumerate().filter(once) {
        let (rows, needed) = (feeder.table.rows(), loads.passes(index));
        if needed.floor() > rows as f64 {
            let message = format!(
                "feeder {:?} has {} rows, and about {} passes take one each (`order: unique`): it runs dry",
                feeder.name,
                format_count(rows as u64),
                format_count(needed as u64)
            );
            let hint = "add rows, or write `order: sequential`, which starts again after the last one";
            mistakes.push(Mistake::at(&feeder.place, message).hint(hint));
        }
    }
}

impl FedLoads<'_> {
    /// How many passes take a row of this feeder, answers taken as instant; users take one each at least.
    fn passes(&self, feeder: usize) -> f64 {
        self.loads.iter().map(|load| self.passes_of(load, feeder)).sum()
    }

    fn passes_of(&self, load: &LoadPlan, feeder: usize) -> f64 {
        let fed = |journey: &JourneyPlan| f64::from(u8::from(journey.feed.contains(&feeder)));
        let share = load.mean(self.journeys, fed).unwrap_or_default();
        let cycle = load.mean(self.journeys, |journey| journey.cycle_seconds(Passes::Mean));
        let cycle = cycle.unwrap_or_default();
        let all = match (load.iterations, load.model) {
            (Some(Iterations::Each(each)), _) => load.level_max() * f64::from(each),
            (Some(Iterations::Shared(shared)), _) => shared as f64,
            (None, LoadModel::Users) if cycle > 0.0 => (self.level_seconds(load) / cycle).max(load.level_max()),
            (None, LoadModel::Users) => load.level_max(),
            (None, LoadModel::Arrivals | LoadModel::Mixed) => self.level_seconds(load),
        };
        all * share
    }

    /// The level summed up over real time.
    fn level_seconds(&self, load: &LoadPlan) -> f64 {
        let real = |at| self.pace.to_real(at).as_secs_f64();
        let (mut before, mut sum) = (0.0, 0.0);
        for stage in &load.stages {
            let (ramp, hold) = (real(stage.ramp()), real(stage.hold()));
            sum += (before + stage.level) / 2.0 * ramp + stage.level * hold;
            before = stage.level;
        }
        sum
    }
}
