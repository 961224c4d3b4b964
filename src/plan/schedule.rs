//! When things happen: stages and experiments on the schedule, as written. Needs no target.

use std::time::Duration;

use super::{JourneyPlan, LoadModel, LoadPlan, StagePlan, loads};
use crate::config::{At, Config, Experiment, Load, Mistake, Place, Stage};
use crate::units::format_duration;

/// An experiment from its first fault to the end of its settle time.
struct Window<'c> {
    name: &'c str,
    starts_at: Duration,
    ends_at: Duration,
    place: &'c Place,
}

/// The schedule of a run: every load, and what they are together.
pub(super) struct Schedule {
    /// The one of all journeys where the profile names none.
    pub(super) loads: Vec<LoadPlan>,
    /// Of all loads.
    pub(super) model: LoadModel,
    /// Of the whole run.
    pub(super) stages: Vec<StagePlan>,
}

/// The schedule as written; where loads of both models run, `journeys` say how many requests each comes to.
pub(super) fn schedule(config: &Config, journeys: &[JourneyPlan]) -> Schedule {
    let profile = &config.profile;
    if profile.loads.is_empty() {
        let stages = stages(&profile.stages, Duration::ZERO);
        let model = model(&profile.stages);
        let load = LoadPlan {
            name: String::new(),
            journeys: (0..profile.journeys.len()).collect(),
            model,
            spacing: profile.spacing,
            stages: stages.clone(),
            iterations: None,
        };
        return Schedule {
            loads: vec![load],
            model,
            stages,
        };
    }
    let load = |load: &crate::config::loads::LoadEntry| LoadPlan {
        name: load.name.clone(),
        journeys: load.journeys.clone(),
        model: model(&load.stages),
        spacing: load.spacing,
        stages: stages(&load.stages, load.starts_at),
        iterations: load.iterations,
    };
    let loads: Vec<LoadPlan> = profile.loads.iter().map(load).collect();
    let (model, stages) = loads::whole(&loads, journeys);
    Schedule { loads, model, stages }
}

fn model(stages: &[Stage]) -> LoadModel {
    match stages.first().map(|stage| stage.load) {
        Some(Load::Arrivals(_)) => LoadModel::Arrivals,
        _ => LoadModel::Users,
    }
}

/// Stages one after another.
fn stages(of: &[Stage], starts_at: Duration) -> Vec<StagePlan> {
    let mut clock = starts_at;
    let mut stages = Vec::new();
    for stage in of {
        let starts_at = clock;
        let holds_at = starts_at.saturating_add(stage.ramp);
        clock = holds_at.saturating_add(stage.hold);
        stages.push(StagePlan {
            tier: stage.tier,
            level: stage.load.level(),
            starts_at,
            holds_at,
            ends_at: clock,
        });
    }
    stages
}

/// The instant that `at` means, if the schedule has its stage.
pub(super) fn instant(at: At, stages: &[StagePlan]) -> Option<Duration> {
    let stage = |number: usize| number.checked_sub(1).and_then(|index| stages.get(index));
    match at {
        At::Start(after) => Some(after),
        At::Stage(number, after) => stage(number).map(|stage| stage.starts_at.saturating_add(after)),
        At::Hold(Some(number), after) => stage(number).map(|stage| stage.holds_at.saturating_add(after)),
        At::Hold(None, after) => stages.last().map(|stage| stage.holds_at.saturating_add(after)),
    }
}

/// Every fault has its stage; experiments follow one another, so that each effect has one cause, and end before the
/// schedule does.
pub(super) fn check(config: &Config, stages: &[StagePlan], mistakes: &mut Vec<Mistake>) {
    let ends_at = stages.last().map(|stage| stage.ends_at).unwrap_or_default();
    let windows = config.experiments.iter();
    let mut windows: Vec<Window<'_>> = windows.filter_map(|one| window(one, stages, mistakes)).collect();
    windows.sort_by_key(|window| window.starts_at);
    for window in &windows {
        mistakes.extend(too_late(window, ends_at));
    }
    for pair in windows.windows(2) {
        mistakes.extend(too_soon(&pair[0], &pair[1]));
    }
}

fn window<'c>(experiment: &'c Experiment, stages: &[StagePlan], mistakes: &mut Vec<Mistake>) -> Option<Window<'c>> {
    let mut window: Option<Window<'c>> = None;
    for fault in &experiment.faults {
        let Some(at) = instant(fault.at.value, stages) else {
            let message = format!("there is no such stage; the profile has {}", stages.len());
            mistakes.push(Mistake::at(&fault.at.place, message).hint("stages count from 1"));
            continue;
        };
        let ends_at = at
            .saturating_add(fault.lasts.unwrap_or_default())
            .saturating_add(experiment.settle);
        window = Some(match window {
            None => Window {
                name: &experiment.name,
                starts_at: at,
                ends_at,
                place: &fault.at.place,
            },
            Some(window) => Window {
                starts_at: window.starts_at.min(at),
                ends_at: window.ends_at.max(ends_at),
                ..window
            },
        });
    }
    window
}

fn too_late(window: &Window<'_>, ends_at: Duration) -> Option<Mistake> {
    let over = window.ends_at.checked_sub(ends_at).filter(|over| !over.is_zero())?;
    let message = format!(
        "{} begins at {} and settles until {}, but the schedule ends at {}",
        window.name,
        format_duration(window.starts_at),
        format_duration(window.ends_at),
        format_duration(ends_at)
    );
    let over = format_duration(over);
    let hint = format!("begin it {over} earlier, or lengthen the last hold by that");
    Some(Mistake::at(window.place, message).hint(hint))
}

fn too_soon(before: &Window<'_>, window: &Window<'_>) -> Option<Mistake> {
    let by = before
        .ends_at
        .checked_sub(window.starts_at)
        .filter(|by| !by.is_zero())?;
    let message = format!(
        "{} begins at {}, while {} lasts until {}",
        window.name,
        format_duration(window.starts_at),
        before.name,
        format_duration(before.ends_at)
    );
    let by = format_duration(by);
    let hint = format!("begin it {by} later, or shorten the `settle` of {}", before.name);
    Some(Mistake::at(window.place, message).hint(hint))
}
