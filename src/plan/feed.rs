//! Whether feeders whose rows are taken once have enough of them, estimated before anything is sent.

use super::StagePlan;
use crate::config::feeder::{Feeder, RowOrder};
use crate::config::{Config, Load, Mistake};
use crate::units::{Pace, format_count};

/// Notes the feeders that would run dry.
pub(super) fn check(config: &Config, stages: &[StagePlan], pace: Pace, mistakes: &mut Vec<Mistake>) {
    for feeder in &config.profile.feeders {
        if feeder.order != RowOrder::Unique {
            continue;
        }
        let (rows, needed) = (feeder.table.rows(), passes(config, feeder, stages, pace));
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

/// How many passes take a row, answers taken as instant; users take one each at least.
fn passes(config: &Config, feeder: &Feeder, stages: &[StagePlan], pace: Pace) -> f64 {
    let journeys = &config.profile.journeys;
    let fed = |journey: &&crate::config::Journey| journey.feed.iter().any(|name| name.value == feeder.name);
    let weight: f64 = journeys.iter().map(|journey| journey.weight).sum();
    let share = journeys.iter().filter(fed).map(|journey| journey.weight).sum::<f64>() / weight;
    let cycle: f64 = journeys
        .iter()
        .map(|journey| journey.weight * journey.cycle())
        .sum::<f64>()
        / weight;
    let (mut before, mut peak, mut level_seconds) = (0.0, 0.0f64, 0.0);
    for stage in stages {
        let seconds = |from, to| pace.to_real(to).as_secs_f64() - pace.to_real(from).as_secs_f64();
        level_seconds += (before + stage.level) / 2.0 * seconds(stage.starts_at, stage.holds_at)
            + stage.level * seconds(stage.holds_at, stage.ends_at);
        (before, peak) = (stage.level, peak.max(stage.level));
    }
    match config.profile.stages.first().map(|stage| stage.load) {
        Some(Load::Arrivals(_)) => level_seconds * share,
        _ if cycle > 0.0 => (level_seconds / cycle).max(peak) * share,
        _ => peak * share,
    }
}
