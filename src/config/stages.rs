//! Stages: how much load there is when, as a profile's author wrote it, and how arrivals are spaced.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::decode::{self, Fields};
use super::error::{Mistake, Sink};
use super::files::Files;
use super::journey::Journey;
use super::node::{Node, Value};
use super::replay;
use super::source::Place;

/// Longest schedule; whatever is longer was written by mistake.
pub(super) const SCHEDULE_MAX: Duration = Duration::from_secs(31 * 24 * 3600);

/// One user is a row of data; past this the rows no longer fit the memory of any one machine.
pub(super) const USERS_MAX: u64 = 100_000_000;

/// How much load a stage reaches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Load {
    /// Users with think time.
    Users(u64),
    /// Arrivals per second of real time.
    Arrivals(f64),
}

impl Load {
    /// The number alone.
    #[must_use]
    pub fn level(self) -> f64 {
        match self {
            Load::Users(users) => users as f64,
            Load::Arrivals(rate) => rate,
        }
    }
}

/// How the arrivals of the open model are spaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spacing {
    /// At equal distances.
    #[default]
    Even,
    /// As independent users come: a Poisson process.
    Poisson,
}

const SPACINGS: [(&str, Spacing); 2] = [("even", Spacing::Even), ("poisson", Spacing::Poisson)];

/// One ramp and hold.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Tier 1 to 6.
    pub tier: u8,
    /// Reached at the end of the ramp.
    pub load: Load,
    /// Cloud time.
    pub ramp: Duration,
    /// Cloud time.
    pub hold: Duration,
    /// Where.
    pub place: Place,
}

/// Requests per second (real time) that `load` means with these journeys, answers taken as instant.
fn expected_rate(load: Load, journeys: &[&Journey]) -> f64 {
    let weights: f64 = journeys.iter().map(|journey| journey.weight).sum();
    let steps: f64 = journeys.iter().map(|journey| journey.weight * journey.requests()).sum();
    let think: f64 = journeys.iter().map(|journey| journey.weight * journey.cycle()).sum();
    match load {
        Load::Users(users) if think > 0.0 => users as f64 * steps / think,
        Load::Arrivals(rate) if weights > 0.0 => rate * steps / weights,
        _ => 0.0,
    }
}

/// Notes a stage that means more than the client's rate limit lets through.
pub(super) fn rate_possible(node: &Node, stages: &[Stage], journeys: &[&Journey], limit: f64, sink: &mut Sink) {
    let Some(highest) = stages.iter().max_by(|a, b| a.load.level().total_cmp(&b.load.level())) else {
        return;
    };
    let rate = expected_rate(highest.load, journeys);
    if rate > limit {
        let place = if highest.place.name() == node.place.name() {
            &highest.place
        } else {
            &node.place
        };
        let message =
            format!("this stage means about {rate:.0} requests/s, more than client.rate_limit of {limit:.0}/s allows");
        sink.push(
            Mistake::at(place, message).hint("raise client.rate_limit, or use fewer users or longer think times"),
        );
    }
}

/// The `spacing` of a profile with these stages.
pub(super) fn spacing(node: &Node, stages: &[Stage], sink: &mut Sink) -> Option<Spacing> {
    let spacing = decode::choice(node, "spacing", &SPACINGS, sink)?;
    if stages.iter().any(|stage| matches!(stage.load, Load::Users(_))) {
        let hint =
            "users come when they have thought; `think: exponential(10s)` makes their requests a Poisson process";
        sink.push(Mistake::at(&node.place, "`spacing` is for `arrivals`").hint(hint));
    }
    Some(spacing)
}

/// The stages of a profile, recorded curves written out.
pub(super) fn stages(node: &Node, files: &Files, sink: &mut Sink) -> Vec<Stage> {
    let items = decode::list(node, "stages", sink);
    if items.is_empty() && matches!(node.value, Value::List(_)) {
        sink.push(
            Mistake::at(&node.place, "there are no stages")
                .hint("add `- { tier: 1, users: 1_000, ramp: 1m, hold: 5m }`"),
        );
    }
    let mut stages: Vec<Stage> = Vec::new();
    for item in items {
        match item.get("replay") {
            Some(_) => stages.extend(replay::stages(item, files, sink)),
            None => stages.extend(stage(item, sink)),
        }
    }
    not_too_long(&stages, sink);
    for stage in stages.iter().skip(1) {
        if matches!(stage.load, Load::Users(_)) != matches!(stages[0].load, Load::Users(_)) {
            let hint = "use `users` in every stage (closed model) or `arrivals` in every stage (open model)";
            sink.push(Mistake::at(&stage.place, "stages mix `users` and `arrivals`").hint(hint));
        }
    }
    stages
}

fn not_too_long(stages: &[Stage], sink: &mut Sink) {
    let mut whole = Duration::ZERO;
    for stage in stages {
        whole = whole.saturating_add(stage.ramp).saturating_add(stage.hold);
        if whole > SCHEDULE_MAX {
            let mistake = Mistake::at(&stage.place, "with this stage the schedule lasts longer than 31 days");
            sink.push(mistake.hint("shorten `ramp` or `hold`; they are cloud time, such as 90s, 5m or 1h30m"));
            return;
        }
    }
}

/// A tier.
pub(super) fn tier(node: &Node, sink: &mut Sink) -> Option<u8> {
    let tier = decode::count(node, sink)?;
    let tier = u8::try_from(tier).ok().filter(|tier| (1..=6).contains(tier));
    if tier.is_none() {
        let hint = "1 is up to 1,000 users, 2 up to 10,000, and so on";
        sink.push(Mistake::at(&node.place, "a tier is a number from 1 to 6").hint(hint));
    }
    tier
}

/// A number of users.
pub(super) fn users(node: &Node, sink: &mut Sink) -> Option<u64> {
    let users = decode::count(node, sink)?;
    if users == 0 {
        sink.push(Mistake::at(&node.place, "zero users send nothing").hint("write at least one user"));
    }
    if users > USERS_MAX {
        sink.push(Mistake::at(&node.place, "more than 100_000_000 users").hint("write fewer users"));
    }
    (1..=USERS_MAX).contains(&users).then_some(users)
}

fn stage(node: &Node, sink: &mut Sink) -> Option<Stage> {
    let mut fields = Fields::of(node, "a stage", sink)?;
    let tier = fields.require("tier", "1", sink).and_then(|node| tier(node, sink));
    let users_node = fields.take("users");
    let arrivals_node = fields.take("arrivals");
    let ramp = fields
        .take("ramp")
        .map_or(Some(Duration::ZERO), |node| decode::duration(node, sink));
    let hold = fields
        .require("hold", "5m", sink)
        .and_then(|node| decode::duration(node, sink));
    fields.finish(sink);
    if ramp
        .zip(hold)
        .is_some_and(|(ramp, hold)| ramp.is_zero() && hold.is_zero())
    {
        sink.push(Mistake::at(&node.place, "a stage without ramp and hold takes no time").hint("add `hold: 5m`"));
    }
    let load = match (users_node, arrivals_node) {
        (Some(_), Some(arrivals)) => {
            let hint = "`users` think between requests (closed model), `arrivals` come whatever happens (open model); keep one";
            sink.push(Mistake::at(&arrivals.place, "a stage has either `users` or `arrivals`").hint(hint));
            None
        }
        (Some(node), None) => users(node, sink).map(Load::Users),
        (None, Some(node)) => decode::rate(node, sink).and_then(|rate| {
            if rate <= 0.0 {
                sink.push(Mistake::at(&node.place, "zero arrivals send nothing").hint("write a rate such as 500/s"));
            }
            if rate > USERS_MAX as f64 {
                let message = "more than 100_000_000 arrivals a second";
                sink.push(Mistake::at(&node.place, message).hint("write a lower rate"));
            }
            (rate > 0.0 && rate <= USERS_MAX as f64).then_some(Load::Arrivals(rate))
        }),
        (None, None) => {
            sink.push(
                Mistake::at(&node.place, "the stage has no load").hint("add `users: 1_000` or `arrivals: 500/s`"),
            );
            None
        }
    };
    Some(Stage {
        tier: tier?,
        load: load?,
        ramp: ramp?,
        hold: hold?,
        place: node.place.clone(),
    })
}
