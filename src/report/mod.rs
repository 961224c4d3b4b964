//! What people and machines read: terminal, JSON (the versioned contract), HTML, JUnit.
//! All of them are made from one [`Report`]; the same plan and recording give the same bytes.

mod bounds;
mod classes;
mod failures;
mod hlog;
mod html;
mod json;
mod junit;
mod load;
mod places;
mod series;
mod terminal;
mod text;
mod times;
mod tokens;

#[cfg(test)]
mod tests;

pub use failures::Failures;
pub use hlog::hlog;
pub use html::html;
pub use json::json;
pub use junit::junit;
pub use load::{GeneratorSummary, LoadSummary};
pub use places::{Outcomes, Places};
pub use series::Series;
pub use terminal::terminal;
pub use times::{Distribution, RequestTimes, Times};
pub use tokens::TokenSummary;

use std::time::Duration;

use serde::Serialize;

use crate::event::Stamped;
use crate::judge::Verdict;
use crate::plan::{LoadModel, Plan};
use crate::recording::{Ended, Recording};
use crate::units::seconds;

/// Version of `report.json`; grows when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 2;

/// Everything a reader sees. Durations are cloud time and in seconds unless a name says otherwise.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Version of tenfold that recorded the run.
    pub tenfold: String,
    /// Unix seconds (real) at which the schedule began.
    pub started_unix: f64,
    /// Real time the run took.
    #[serde(with = "seconds")]
    pub real_duration: Duration,
    /// How it ended.
    pub ended: Ended,
    /// What was planned.
    pub plan: PlanSummary,
    /// The judgement.
    pub verdict: Verdict,
    /// Where the time of requests went, real milliseconds.
    pub times: Times,
    /// Requests for tokens, by client; none where nobody wanted any.
    pub tokens: Vec<TokenSummary>,
    /// Requests that failed, by step and kind; none where all were answered as expected.
    pub failures: Vec<Failures>,
    /// How requests ended, by Region, AZ and instance.
    pub places: Places,
    /// Per-second values, all arrays of one length.
    pub series: Series,
    /// What the run was told while it went on, in order of time.
    pub commands: Vec<CommandSummary>,
    /// The command that runs it again; not the same run where `commands` steered it.
    pub rerun: String,
}

/// A command to the run that took effect.
#[derive(Clone, Debug, Serialize)]
pub struct CommandSummary {
    /// When.
    #[serde(with = "seconds")]
    pub at: Duration,
    /// What it did.
    pub did: String,
    /// It made another run of it than the plan's; a mark does not.
    pub steers: bool,
}

/// The plan, as far as a reader needs it.
#[derive(Clone, Debug, Serialize)]
pub struct PlanSummary {
    /// The profile's name.
    pub name: String,
    /// The system under test.
    pub target: String,
    /// Its Regions.
    pub regions: Vec<String>,
    /// How many times faster than real the target's cloud lived.
    pub pace: f64,
    /// Seed.
    pub seed: u64,
    /// Open or closed model.
    pub model: LoadModel,
    /// Stages.
    pub stages: Vec<StageSummary>,
    /// Step names by index.
    pub steps: Vec<String>,
    /// Cloud time of the whole schedule.
    #[serde(with = "seconds")]
    pub duration: Duration,
}

/// One stage.
#[derive(Clone, Debug, Serialize)]
pub struct StageSummary {
    /// Tier.
    pub tier: u8,
    /// Users or arrivals per second.
    pub level: f64,
    /// Ramp begins.
    #[serde(with = "seconds")]
    pub starts_at: Duration,
    /// Hold begins.
    #[serde(with = "seconds")]
    pub holds_at: Duration,
    /// Ends.
    #[serde(with = "seconds")]
    pub ends_at: Duration,
}

impl Report {
    /// Puts a judged run together.
    #[must_use]
    pub fn new(plan: &Plan, recording: &Recording, verdict: Verdict) -> Self {
        Self {
            schema: SCHEMA,
            tenfold: recording.recorded_by.clone(),
            started_unix: recording.t0_unix,
            real_duration: recording.duration,
            ended: recording.ended,
            plan: PlanSummary {
                name: plan.name.clone(),
                target: plan.target.name.clone(),
                regions: plan.target.regions.clone(),
                pace: plan.pace.times(),
                seed: plan.seed,
                model: plan.model,
                stages: plan
                    .stages
                    .iter()
                    .map(|stage| StageSummary {
                        tier: stage.tier,
                        level: stage.level,
                        starts_at: stage.starts_at,
                        holds_at: stage.holds_at,
                        ends_at: stage.ends_at,
                    })
                    .collect(),
                steps: plan.steps.iter().map(|step| step.name.clone()).collect(),
                duration: plan.ends_at,
            },
            verdict,
            times: Times::new(plan, recording),
            tokens: TokenSummary::all(recording),
            failures: Failures::all(plan, recording),
            places: Places::new(recording),
            series: Series::new(plan, recording),
            commands: commands(plan, recording),
            rerun: plan.rerun.clone(),
        }
    }
}

fn commands(plan: &Plan, recording: &Recording) -> Vec<CommandSummary> {
    let summary = |stamped: &Stamped| {
        Some(CommandSummary {
            at: plan.pace.to_cloud(stamped.at),
            did: stamped.event.command()?,
            steers: stamped.event.steers(),
        })
    };
    recording.events.iter().filter_map(summary).collect()
}
