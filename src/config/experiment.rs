//! An experiment: a hypothesis, faults on the time axis, stop conditions, objectives.

use std::time::Duration;

use super::decode::{self, Fields};
use super::error::{Mistake, Sink};
use super::nearest::suggest;
use super::node::Node;
use super::objective::{Comparison, Limit, Measure, Objective, Statistic};
use super::objective_text;
use super::source::{Place, Spanned};
use crate::units::parse_duration;

/// What the experiment's author wrote, checked.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// Its name.
    pub name: String,
    /// What the author believes.
    pub hypothesis: String,
    /// Faults in order.
    pub faults: Vec<FaultEntry>,
    /// How long after its last fault's end it still belongs to the experiment, cloud time.
    pub settle: Duration,
    /// Stop conditions.
    pub stop_when: Vec<Stop>,
    /// Objectives; measured over this experiment unless they say otherwise.
    pub objectives: Vec<Spanned<Objective>>,
    /// Where it begins.
    pub place: Place,
}

/// One fault.
#[derive(Clone, Debug)]
pub struct FaultEntry {
    /// Which.
    pub kind: FaultKind,
    /// The role it hits.
    pub role: Spanned<String>,
    /// The Region; the first when none.
    pub region: Option<Spanned<String>>,
    /// When.
    pub at: Spanned<At>,
    /// Where its share is written, if it takes one.
    pub share_place: Option<Place>,
    /// Until its revert; none for irreversible ones.
    pub lasts: Option<Duration>,
}

/// The faults that exist, with their parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FaultKind {
    /// `ec2.terminate`.
    Ec2Terminate {
        /// Share of the group, 0 to 1.
        share: f64,
    },
    /// `rds.failover`.
    RdsFailover,
    /// `network.deny_region`.
    NetworkDenyRegion,
}

/// A point on the time axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// After the start of the run.
    Start(Duration),
    /// After a stage's ramp began; stages count from 1.
    Stage(usize, Duration),
    /// After a stage's hold began; the last stage when none is named.
    Hold(Option<usize>, Duration),
}

/// When to stop and revert everything.
#[derive(Clone, Debug, PartialEq)]
pub struct Stop {
    /// As written.
    pub text: String,
    /// `errors` or `latency`.
    pub measure: Measure,
    /// For latency.
    pub statistic: Option<Statistic>,
    /// Comparison.
    pub comparison: Comparison,
    /// Limit.
    pub limit: Limit,
    /// For how long, cloud time.
    pub lasts: Duration,
}

/// Name, whether it can be reverted, whether it takes a share.
const CATALOGUE: [(&str, bool, bool); 3] = [
    ("ec2.terminate", false, true),
    ("rds.failover", false, false),
    ("network.deny_region", true, false),
];

/// Reads what stands in an experiment's tree.
pub(super) fn experiment(root: &Node, names: &[String], sink: &mut Sink) -> Option<Experiment> {
    let mut fields = Fields::of(root, "the experiment", sink)?;
    let name = fields
        .require("name", "my-experiment", sink)
        .and_then(|node| decode::name(node, sink));
    let hypothesis = fields
        .require("hypothesis", "what you believe will happen", sink)
        .and_then(|node| decode::text(node, sink));
    let faults_node = fields.require(
        "faults",
        "[{ fault: rds.failover, role: database, at: hold + 4m, irreversible: true }]",
        sink,
    );
    let settle = fields
        .take("settle")
        .map_or(Some(Duration::from_secs(300)), |node| decode::duration(node, sink));
    let stop_when = fields
        .take("stop_when")
        .map(|node| stops(node, sink))
        .unwrap_or_default();
    let objectives = fields.take("objectives").map(|node| {
        decode::list(node, "objectives", sink)
            .iter()
            .filter_map(|item| objective_text::objective(item, names, name.as_deref(), sink))
            .collect()
    });
    fields.finish(sink);
    let items = faults_node
        .map(|node| decode::list(node, "faults", sink))
        .unwrap_or_default();
    if let (Some(node), []) = (faults_node, items) {
        sink.push(Mistake::at(&node.place, "the experiment breaks nothing").hint("add a fault"));
    }
    let faults = items.iter().filter_map(|item| fault(item, sink)).collect();
    Some(Experiment {
        name: name?,
        hypothesis: hypothesis.unwrap_or_default(),
        faults,
        settle: settle?,
        stop_when,
        objectives: objectives.unwrap_or_default(),
        place: root.place.clone(),
    })
}

fn fault(node: &Node, sink: &mut Sink) -> Option<FaultEntry> {
    let mut fields = Fields::of(node, "a fault", sink)?;
    let kind_node = fields.require("fault", "rds.failover", sink);
    let kind_name = kind_node.and_then(|node| decode::text(node, sink));
    let role = fields
        .require("role", "web", sink)
        .and_then(|node| decode::spanned(node, sink));
    let region = fields.take("region").and_then(|node| decode::spanned(node, sink));
    let share_node = fields.take("share");
    let share = share_node.and_then(|node| {
        let share = decode::share(node, sink)?;
        if share <= 0.0 {
            sink.push(Mistake::at(&node.place, "a share of 0% breaks nothing"));
        }
        Some(share)
    });
    let at = fields.require("at", "hold + 4m", sink).and_then(|node| at(node, sink));
    let lasts_node = fields.take("lasts");
    let lasts = lasts_node.and_then(|node| decode::duration(node, sink));
    let irreversible_node = fields.take("irreversible");
    let irreversible = irreversible_node
        .and_then(|node| decode::boolean(node, sink))
        .unwrap_or(false);
    fields.finish(sink);

    let (kind_node, kind_name) = kind_node.zip(kind_name)?;
    let Some((_, reversible, takes_share)) = CATALOGUE.iter().find(|(known, ..)| *known == kind_name) else {
        let hint = suggest(&kind_name, CATALOGUE.iter().map(|(known, ..)| *known));
        sink.push(Mistake::at(&kind_node.place, format!("unknown fault {kind_name:?}")).hint(hint));
        return None;
    };
    if *reversible && lasts_node.is_none() {
        let message = format!("{kind_name} is reverted, but `lasts` does not say when");
        sink.push(Mistake::at(&kind_node.place, message).hint("add `lasts: 5m`"));
    }
    if let (true, Some(place)) = (*reversible && irreversible, irreversible_node.map(|node| &node.place)) {
        sink.push(Mistake::at(place, format!("{kind_name} can be reverted")).hint("remove `irreversible`"));
    }
    if !*reversible && !irreversible {
        let message = format!("{kind_name} cannot be undone, and the experiment does not say that it knows");
        sink.push(Mistake::at(&kind_node.place, message).hint("add `irreversible: true`"));
    }
    if let (false, Some(node)) = (*reversible, lasts_node) {
        let hint = "remove `lasts`; how long it is felt is what the run measures";
        sink.push(Mistake::at(&node.place, format!("{kind_name} cannot be undone, so it has no end")).hint(hint));
    }
    if *takes_share && share_node.is_none() {
        let message = format!("{kind_name} does not say how many instances");
        sink.push(Mistake::at(&kind_node.place, message).hint("add `share: 34%`"));
    }
    if let (false, Some(node)) = (*takes_share, share_node) {
        sink.push(Mistake::at(&node.place, format!("{kind_name} takes no share")).hint("remove `share`"));
    }
    let kind = match kind_name.as_str() {
        "ec2.terminate" => FaultKind::Ec2Terminate { share: share? },
        "rds.failover" => FaultKind::RdsFailover,
        _ => FaultKind::NetworkDenyRegion,
    };
    Some(FaultEntry {
        kind,
        role: role?,
        region,
        at: at?,
        share_place: share_node.map(|node| node.place.clone()),
        lasts,
    })
}

fn at(node: &Node, sink: &mut Sink) -> Option<Spanned<At>> {
    let text = decode::text(node, sink)?;
    let value = read_at(&text);
    if value.is_none() {
        let mistake = Mistake::at(&node.place, format!("{text:?} is no point in time"));
        sink.push(mistake.hint("write `5m`, `hold + 4m`, `stage 2 + 1m` or `stage 2 hold + 1m`"));
    }
    value.map(|value| Spanned {
        value,
        place: node.place.clone(),
    })
}

fn read_at(text: &str) -> Option<At> {
    let (anchor, after) = match text.split_once('+') {
        Some((anchor, after)) => (anchor.trim(), parse_duration(after).ok()?),
        None => match parse_duration(text) {
            Ok(offset) => return Some(At::Start(offset)),
            Err(_) => (text.trim(), Duration::ZERO),
        },
    };
    let words: Vec<&str> = anchor.split_whitespace().collect();
    let stage = |text: &str| text.parse::<usize>().ok().filter(|stage| *stage > 0);
    match words.as_slice() {
        ["hold"] => Some(At::Hold(None, after)),
        ["start"] => Some(At::Start(after)),
        ["stage", number] => Some(At::Stage(stage(number)?, after)),
        ["stage", number, "hold"] => Some(At::Hold(Some(stage(number)?), after)),
        _ => None,
    }
}

fn stops(node: &Node, sink: &mut Sink) -> Vec<Stop> {
    let mut stops = Vec::new();
    for item in decode::list(node, "stop_when", sink) {
        let Some(condition) = objective_text::condition(item, sink) else {
            continue;
        };
        let objective = condition.objective;
        stops.push(Stop {
            text: objective.text,
            measure: objective.measure,
            statistic: objective.statistic,
            comparison: objective.comparison,
            limit: objective.limit,
            lasts: condition.lasts,
        });
    }
    stops
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_in_time_are_read() {
        let minutes = |m: u64| Duration::from_secs(m * 60);
        for (text, at) in [
            ("5m", At::Start(minutes(5))),
            ("hold", At::Hold(None, Duration::ZERO)),
            ("hold + 4m", At::Hold(None, minutes(4))),
            ("hold+4m", At::Hold(None, minutes(4))),
            ("stage 2 hold + 1m", At::Hold(Some(2), minutes(1))),
            ("stage 2 + 1m", At::Stage(2, minutes(1))),
        ] {
            assert_eq!(read_at(text), Some(at), "{text}");
        }
        for bad in [
            "",
            "4",
            "hold 4m",
            "hold - 4m",
            "stage 0",
            "stage x hold",
            "hold + hold",
            "hold + 4",
        ] {
            assert_eq!(read_at(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_readme_names_every_fault() {
        for (name, ..) in CATALOGUE {
            assert!(
                include_str!("../../README.md").contains(&format!("| `{name}` |")),
                "{name}"
            );
        }
    }
}
