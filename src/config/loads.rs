//! Several loads in one run: which journeys each one makes, how much of it there is when, and after which other it starts.
//! The instants come out of the file alone: a load that waits for another waits for the end of its schedule.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::decode::{self, Fields};
use super::error::{Mistake, Sink};
use super::files::Files;
use super::journey::Journey;
use super::nearest::suggest;
use super::node::{Entry, Node};
use super::source::{Place, Spanned};
use super::stages::{self, Load, SCHEDULE_MAX, Spacing, Stage};
use crate::units::parse_duration;

/// A profile has as many at most; each costs every core a look at what is due.
const LOADS_MAX: usize = 100;

/// How often users make their journeys before they leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Iterations {
    /// Each user as often.
    Each(u32),
    /// All users together; whoever is free makes the next one.
    Shared(u64),
}

/// One load of several.
#[derive(Clone, Debug)]
pub struct LoadEntry {
    /// Its name.
    pub name: String,
    /// Indexes of its journeys.
    pub journeys: Vec<usize>,
    /// When it starts, cloud time since t0.
    pub starts_at: Duration,
    /// Its stages, at least one; a fixed number of iterations has one that lasts as long as they may take.
    pub stages: Vec<Stage>,
    /// How its arrivals are spaced.
    pub spacing: Spacing,
    /// How many passes its users make; as many as they come to when none.
    pub iterations: Option<Iterations>,
    /// Where.
    pub place: Place,
}

impl LoadEntry {
    fn lasts(&self) -> Duration {
        let lengths = self.stages.iter().map(|stage| stage.ramp.saturating_add(stage.hold));
        lengths.fold(Duration::ZERO, Duration::saturating_add)
    }
}

/// What a load waits for.
enum Start {
    At(Duration),
    After(Spanned<String>, Duration),
}

/// The loads of a profile with these journeys, in the order written.
pub(super) fn loads(node: &Node, journeys: &[Journey], files: &Files, sink: &mut Sink) -> Vec<LoadEntry> {
    let entries = decode::map(node, "`loads`", sink);
    if entries.is_empty() {
        let hint = "add `browse: { stages: [{ tier: 1, users: 1_000, hold: 5m }] }`, or write `stages` alone";
        sink.push(Mistake::at(&node.place, "there are no loads").hint(hint));
    }
    if entries.len() > LOADS_MAX {
        let message = format!("{} loads are more than {LOADS_MAX}", entries.len());
        sink.push(Mistake::at(&node.place, message).hint("put what runs together into one load with more journeys"));
        return Vec::new();
    }
    let mut read: Vec<(LoadEntry, Start)> = Vec::new();
    for entry in entries {
        read.extend(load(entry, journeys, files, sink));
    }
    if read.len() == entries.len() {
        start(&mut read, sink);
        nobody_left_out(node, journeys, &read, sink);
    }
    read.into_iter().map(|(load, _)| load).collect()
}

fn load(entry: &Entry, journeys: &[Journey], files: &Files, sink: &mut Sink) -> Option<(LoadEntry, Start)> {
    if parse_duration(&entry.key).is_ok() {
        let hint = "call it by a word, so that `start_after` can name it";
        sink.push(Mistake::at(&entry.place, format!("{:?} is a duration and no name", entry.key)).hint(hint));
    }
    let mut fields = Fields::of(&entry.node, format!("load {:?}", entry.key), sink)?;
    let named = fields.take("journeys");
    let start_after = fields.take("start_after");
    let (stages_node, iterations_node) = (fields.take("stages"), fields.take("iterations"));
    let spacing = fields.take("spacing");
    fields.finish(sink);
    let (stages, iterations) = match (stages_node, iterations_node) {
        (Some(node), None) => (stages::stages(node, files, sink), None),
        (None, Some(node)) => {
            let (stage, iterations) = self::iterations(node, sink)?;
            (vec![stage], Some(iterations))
        }
        (both, _) => {
            let message = match both {
                Some(_) => "a load has either `stages` or `iterations`",
                None => "the load has neither `stages` nor `iterations`",
            };
            let hint = "add `stages: [{ tier: 1, users: 1_000, hold: 5m }]` or \
                        `iterations: { tier: 1, users: 50, each: 10, within: 5m }`";
            sink.push(Mistake::at(&entry.place, message).hint(hint));
            return None;
        }
    };
    let spacing = spacing.and_then(|node| stages::spacing(node, &stages, sink));
    let load = LoadEntry {
        name: entry.key.clone(),
        journeys: named.map_or_else(|| (0..journeys.len()).collect(), |node| of_names(node, journeys, sink)),
        starts_at: Duration::ZERO,
        stages,
        spacing: spacing.unwrap_or_default(),
        iterations,
        place: entry.place.clone(),
    };
    let start = start_after.map_or(Some(Start::At(Duration::ZERO)), |node| self::start_after(node, sink))?;
    (!load.stages.is_empty()).then_some((load, start))
}

fn of_names(node: &Node, journeys: &[Journey], sink: &mut Sink) -> Vec<usize> {
    let mut found = Vec::new();
    let items = decode::list(node, "journeys", sink);
    for item in items {
        let Some(name) = decode::spanned(item, sink) else {
            continue;
        };
        let known = || journeys.iter().map(|journey| journey.name.as_str());
        match known().position(|known| known == name.value) {
            None => {
                let hint = suggest(&name.value, known());
                sink.push(Mistake::at(&name.place, format!("unknown journey {:?}", name.value)).hint(hint));
            }
            Some(index) if found.contains(&index) => {
                let hint = "name each once; `weight` says how often one is made";
                sink.push(Mistake::at(&name.place, format!("journey {:?} is named twice", name.value)).hint(hint));
            }
            Some(index) => found.push(index),
        }
    }
    if items.is_empty() {
        sink.push(Mistake::at(&node.place, "a load without journeys sends nothing").hint("name at least one"));
    }
    found
}

/// `2m`, `NAME` or `NAME + 1m`.
fn start_after(node: &Node, sink: &mut Sink) -> Option<Start> {
    let text = decode::spanned(node, sink)?;
    if let Ok(at) = parse_duration(&text.value) {
        return Some(Start::At(at));
    }
    let (name, after) = match text.value.split_once('+') {
        None => (text.value.trim(), Ok(Duration::ZERO)),
        Some((name, after)) => (name.trim(), parse_duration(after.trim())),
    };
    let Ok(after) = after else {
        let mistake = Mistake::at(&text.place, format!("{:?} is no start", text.value));
        sink.push(mistake.hint("write `2m`, the name of a load, or `NAME + 1m`"));
        return None;
    };
    let name = Spanned {
        value: name.to_owned(),
        place: text.place,
    };
    Some(Start::After(name, after))
}

fn iterations(node: &Node, sink: &mut Sink) -> Option<(Stage, Iterations)> {
    let mut fields = Fields::of(node, "`iterations`", sink)?;
    let tier = fields.require("tier", "1", sink);
    let tier = tier.and_then(|node| stages::tier(node, sink));
    let users = fields.require("users", "50", sink);
    let users = users.and_then(|node| stages::users(node, sink));
    let (each, shared) = (fields.take("each"), fields.take("shared"));
    let within = fields.require("within", "5m", sink).and_then(|node| {
        let within = decode::duration(node, sink)?;
        if within.is_zero() {
            sink.push(
                Mistake::at(&node.place, "no time is no time for any").hint("write how long they may take, e.g. 5m"),
            );
        }
        (!within.is_zero()).then_some(within)
    });
    fields.finish(sink);
    let mut some = |node: &Node, most: u64| {
        let count = decode::count(node, sink)?;
        if !(1..=most).contains(&count) {
            sink.push(Mistake::at(&node.place, format!("iterations are 1 to {most}")));
        }
        (1..=most).contains(&count).then_some(count)
    };
    let iterations = match (each, shared) {
        (Some(node), None) => some(node, u64::from(u32::MAX)).map(|each| Iterations::Each(each as u32)),
        (None, Some(node)) => some(node, u64::MAX >> 1).map(Iterations::Shared),
        _ => {
            let hint = "write `each: 10` for every user, or `shared: 500` for all of them together";
            sink.push(Mistake::at(&node.place, "`iterations` has either `each` or `shared`").hint(hint));
            None
        }
    };
    let stage = Stage {
        tier: tier?,
        load: Load::Users(users?),
        ramp: Duration::ZERO,
        hold: within?,
        place: node.place.clone(),
    };
    Some((stage, iterations?))
}

/// Gives every load its instant.
fn start(loads: &mut [(LoadEntry, Start)], sink: &mut Sink) {
    let names: Vec<String> = loads.iter().map(|(load, _)| load.name.clone()).collect();
    let mut ends: Vec<Option<Duration>> = vec![None; loads.len()];
    let position = |name: &str| names.iter().position(|known| known == name);
    // Each round places at least one more, or what is left waits for itself.
    for _ in 0..loads.len() {
        for (index, (load, start)) in loads
            .iter_mut()
            .enumerate()
            .filter(|(index, _)| ends[*index].is_none())
            .collect::<Vec<_>>()
        {
            let starts_at = match start {
                Start::At(at) => Some(*at),
                Start::After(name, after) => match position(&name.value) {
                    Some(before) => ends[before].map(|end| end.saturating_add(*after)),
                    None => {
                        let hint = suggest(&name.value, names.iter().map(String::as_str));
                        sink.push(Mistake::at(&name.place, format!("unknown load {:?}", name.value)).hint(hint));
                        Some(Duration::ZERO)
                    }
                },
            };
            if let Some(starts_at) = starts_at {
                load.starts_at = starts_at;
                ends[index] = Some(starts_at.saturating_add(load.lasts()));
            }
        }
    }
    if let Some((_, Start::After(name, _))) = loads
        .iter()
        .zip(&ends)
        .find_map(|(load, end)| end.is_none().then_some(load))
    {
        let mut chain = vec![name.value.as_str()];
        // Every load that has no end waits for another that has none.
        while let Some((_, Start::After(next, _))) = position(chain[chain.len() - 1]).map(|index| &loads[index]) {
            let closed = chain.contains(&next.value.as_str());
            chain.push(&next.value);
            if closed {
                break;
            }
        }
        let message = format!("a load waits for itself: {}", chain.join(", which starts after "));
        sink.push(Mistake::at(&name.place, message).hint("start one of them at an instant, e.g. `start_after: 2m`"));
    }
    let too_late = loads
        .iter()
        .zip(&ends)
        .find(|(_, end)| end.is_some_and(|end| end > SCHEDULE_MAX));
    if let Some(((load, _), _)) = too_late {
        let mistake = Mistake::at(
            &load.place,
            format!("{:?} ends later than 31 days after the start", load.name),
        );
        sink.push(mistake.hint("start it earlier or shorten its stages"));
    }
}

fn nobody_left_out(node: &Node, journeys: &[Journey], loads: &[(LoadEntry, Start)], sink: &mut Sink) {
    for (index, journey) in journeys.iter().enumerate() {
        if !loads.iter().any(|(load, _)| load.journeys.contains(&index)) {
            let hint = "name it in the `journeys` of a load, or take it out of the profile";
            sink.push(Mistake::at(&node.place, format!("journey {:?} is in no load", journey.name)).hint(hint));
        }
    }
}
