//! An experiment: a hypothesis, faults on the time axis, stop conditions, objectives.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::catalogue::{self, ApiError, CATALOGUE, Entry, Fault, LATENCY_RANGE, PROCESS_NAMES};
use super::decode::{self, Fields};
use super::error::{Mistake, Sink};
use super::fis::Via;
use super::nearest::{nearest, suggest};
use super::node::{Node, Value};
use super::objective::{Comparison, Limit, Measure, Objective, Statistic};
use super::objective_text;
use super::source::{Place, Spanned};
use crate::units::{format_duration, parse_duration, seconds};

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
    pub fault: Fault,
    /// The role it hits.
    pub role: Spanned<String>,
    /// The Region; the first when none.
    pub region: Option<Spanned<String>>,
    /// When.
    pub at: Spanned<At>,
    /// Who injects it, where that is written.
    pub via: Option<Spanned<Via>>,
    /// Where a parameter is written, by its key.
    pub parameters: BTreeMap<&'static str, Place>,
    /// Until its revert; none for irreversible ones.
    pub lasts: Option<Duration>,
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
    /// Where.
    pub place: Place,
    /// When.
    pub when: StopWhen,
}

/// What a stop condition watches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum StopWhen {
    /// What users see.
    Measured {
        /// `errors` or `latency`.
        measure: Measure,
        /// For latency.
        statistic: Option<Statistic>,
        /// Comparison.
        comparison: Comparison,
        /// Limit.
        limit: Limit,
        /// For how long, cloud time.
        #[serde(with = "seconds")]
        lasts: Duration,
    },
    /// A CloudWatch alarm, in whichever Region of the target has one of the name.
    Alarm {
        /// AlarmName.
        alarm: String,
    },
}

impl Stop {
    /// The alarm it watches, if it is one.
    #[must_use]
    pub fn alarm(&self) -> Option<&str> {
        match &self.when {
            StopWhen::Alarm { alarm } => Some(alarm),
            StopWhen::Measured { .. } => None,
        }
    }
}

impl Experiment {
    /// The CloudWatch alarms that stop it, by name.
    #[must_use]
    pub fn alarms(&self) -> Vec<&str> {
        self.stop_when.iter().filter_map(Stop::alarm).collect()
    }

    /// The same as if each of its faults said `via`.
    #[must_use]
    pub fn by(mut self, via: Via) -> Self {
        for fault in &mut self.faults {
            let place = fault.via_place().clone();
            fault.via = Some(Spanned { value: via, place });
        }
        self
    }
}

impl FaultEntry {
    /// Who injects it: as written, otherwise the API, and AWS FIS where no API does it.
    #[must_use]
    pub fn via(&self) -> Via {
        let only = self.fault.fis().is_some_and(|action| action.only);
        let written = self.via.as_ref().map(|via| via.value);
        if only { Via::Fis } else { written.unwrap_or_default() }
    }

    /// Where that is written, or what it would stand beside.
    #[must_use]
    pub fn via_place(&self) -> &Place {
        self.via.as_ref().map_or(&self.role.place, |via| &via.place)
    }
}

/// Every key that is a parameter of some fault.
const PARAMETERS: [&str; 10] = [
    "share",
    "latency",
    "error",
    "operations",
    "calls",
    "processes",
    "az",
    "reader",
    "to",
    "data_may_be_lost",
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
    let via = fields.take("via").and_then(|node| via(node, sink));
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
    let faults = items
        .iter()
        .filter_map(|item| fault(item, via.as_ref(), sink))
        .collect();
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

fn fault(node: &Node, of_all: Option<&Spanned<Via>>, sink: &mut Sink) -> Option<FaultEntry> {
    let mut fields = Fields::of(node, "a fault", sink)?;
    let kind_node = fields.require("fault", "rds.failover", sink);
    let kind_name = kind_node.and_then(|node| decode::text(node, sink));
    let role = fields
        .require("role", "web", sink)
        .and_then(|node| decode::spanned(node, sink));
    let region = fields.take("region").and_then(|node| decode::spanned(node, sink));
    let given: BTreeMap<&'static str, &Node> = PARAMETERS
        .into_iter()
        .filter_map(|key| Some((key, fields.take(key)?)))
        .collect();
    let written = fields.take("via").and_then(|node| via(node, sink));
    let via = written.clone().or_else(|| of_all.cloned());
    let at = fields.require("at", "hold + 4m", sink).and_then(|node| at(node, sink));
    let lasts_node = fields.take("lasts");
    let lasts = lasts_node.and_then(|node| decode::duration(node, sink));
    let irreversible_node = fields.take("irreversible");
    let irreversible = irreversible_node
        .and_then(|node| decode::boolean(node, sink))
        .unwrap_or(false);
    fields.finish(sink);

    let (kind_node, kind_name) = kind_node.zip(kind_name)?;
    let Some(entry) = catalogue::entry(&kind_name) else {
        let hint = suggest(&kind_name, CATALOGUE.iter().map(|entry| entry.name));
        sink.push(Mistake::at(&kind_node.place, format!("unknown fault {kind_name:?}")).hint(hint));
        return None;
    };
    if entry.reversible && lasts_node.is_none() {
        let message = format!("{kind_name} is reverted, but `lasts` does not say when");
        sink.push(Mistake::at(&kind_node.place, message).hint("add `lasts: 5m`"));
    }
    if let (Some(node), Some(Duration::ZERO)) = (lasts_node, lasts) {
        sink.push(Mistake::at(&node.place, "what lasts no time breaks nothing").hint("write `lasts: 5m`"));
    }
    if let (true, Some(place)) = (
        entry.reversible && irreversible,
        irreversible_node.map(|node| &node.place),
    ) {
        sink.push(Mistake::at(place, format!("{kind_name} can be reverted")).hint("remove `irreversible`"));
    }
    if !entry.reversible && !irreversible {
        let message = format!("{kind_name} cannot be undone, and the experiment does not say that it knows");
        sink.push(Mistake::at(&kind_node.place, message).hint("add `irreversible: true`"));
    }
    if let (false, Some(node)) = (entry.reversible, lasts_node) {
        let hint = "remove `lasts`; how long it is felt is what the run measures";
        sink.push(Mistake::at(&node.place, format!("{kind_name} cannot be undone, so it has no end")).hint(hint));
    }
    let fault = parameters(entry, kind_node, &given, sink);
    let action = fault.as_ref().map_or(entry.fis(), Fault::fis);
    if let Some(via) = via.as_ref().filter(|via| via.value == Via::Fis && action.is_none()) {
        let as_written = if entry.fis().is_some() {
            " with these parameters"
        } else {
            ""
        };
        let message = format!("AWS FIS has no action that does what {kind_name} does{as_written}");
        sink.push(Mistake::at(&via.place, message).hint("write `via: auto`, or `via: api` with the fault"));
    }
    let only = entry.fis().is_some_and(|action| action.only);
    // What all faults of an experiment are told does not bind the one that has no choice.
    if let Some(via) = written.as_ref().filter(|via| via.value == Via::Api && only) {
        let message = format!("no API does what {kind_name} does, only AWS FIS");
        sink.push(Mistake::at(&via.place, message).hint("write `via: fis`"));
    }
    Some(FaultEntry {
        fault: fault?,
        role: role?,
        region,
        at: at?,
        via,
        parameters: given.iter().map(|(key, node)| (*key, node.place.clone())).collect(),
        lasts,
    })
}

/// The fault with what is given for it; what it lacks or does not take is a mistake.
fn parameters(
    entry: &Entry,
    kind_node: &Node,
    given: &BTreeMap<&'static str, &Node>,
    sink: &mut Sink,
) -> Option<Fault> {
    let name = entry.name;
    for (key, node) in given {
        if !entry.parameters.iter().any(|parameter| parameter.key == *key) {
            let message = format!("{name} takes no `{key}`");
            sink.push(Mistake::at(&node.place, message).hint(format!("remove `{key}`")));
        }
    }
    for parameter in entry.parameters {
        if !parameter.optional && !given.contains_key(parameter.key) {
            let message = format!("{name} does not say {}", parameter.says);
            let hint = format!("add `{}: {}`", parameter.key, parameter.form);
            sink.push(Mistake::at(&kind_node.place, message).hint(hint));
        }
    }
    let share = given.get("share").and_then(|node| share(node, sink));
    let latency = given.get("latency").and_then(|node| latency(node, sink));
    let error = given
        .get("error")
        .and_then(|node| decode::choice(node, "error", &ApiError::WORDS, sink));
    let operations = given.get("operations").and_then(|node| operations(node, sink));
    let calls = given.get("calls").and_then(|node| calls(node, sink));
    let processes = given.get("processes").and_then(|node| processes(node, sink));
    let az = given.get("az").and_then(|node| decode::text(node, sink));
    let to = given.get("to").and_then(|node| decode::text(node, sink));
    let knows = given.get("data_may_be_lost").and_then(|node| knows(name, node, sink));
    let reader = given.get("reader").map(|node| decode::text(node, sink));
    Some(match name {
        "ec2.stop" => Fault::Ec2Stop { share: share? },
        "ec2.terminate" => Fault::Ec2Terminate { share: share? },
        "ec2.reboot" => Fault::Ec2Reboot { share: share? },
        "ec2.spot_interruption" => Fault::Ec2SpotInterruption { share: share? },
        "api.errors" => Fault::ApiErrors {
            error: error?,
            operations: operations?,
            calls: calls?,
        },
        "ebs.pause_io" => Fault::EbsPauseIo { share: share? },
        "ebs.latency" => Fault::EbsLatency {
            share: share?,
            latency: latency?,
        },
        "autoscaling.suspend" => Fault::AutoScalingSuspend { processes: processes? },
        "autoscaling.insufficient_capacity" => Fault::AutoScalingInsufficientCapacity { az: az? },
        "autoscaling.set_unhealthy" => Fault::AutoScalingSetUnhealthy { share: share? },
        "elb.deregister" => Fault::ElbDeregister { share: share? },
        "elb.break_health_check" => Fault::ElbBreakHealthCheck,
        "elb.zonal_shift" => Fault::ElbZonalShift { az: az? },
        "network.deny_az" => Fault::NetworkDenyAz { az: az? },
        "network.deny_region" => Fault::NetworkDenyRegion,
        "network.cross_region" => Fault::NetworkCrossRegion { to: to? },
        "rds.failover" => Fault::RdsFailover,
        "rds.reboot" => Fault::RdsReboot,
        "rds.stop" => Fault::RdsStop,
        "rds.failover_cluster" => Fault::RdsFailoverCluster {
            // One that was given and cannot be read is none that was left out.
            reader: match reader {
                Some(reader) => Some(reader?),
                None => None,
            },
        },
        "rds.switchover_global" => Fault::RdsSwitchoverGlobal { to: to? },
        "rds.failover_global" => knows.and(to).map(|to| Fault::RdsFailoverGlobal { to })?,
        "route53.invert_health_check" => Fault::Route53InvertHealthCheck,
        "route53.zero_weight" => Fault::Route53ZeroWeight,
        other => unreachable!("{other} is in the catalogue and a test reads each of its faults"),
    })
}

fn via(node: &Node, sink: &mut Sink) -> Option<Spanned<Via>> {
    let value = decode::choice(node, "way to inject a fault", &Via::WORDS, sink)?;
    Some(Spanned {
        value,
        place: node.place.clone(),
    })
}

/// The words that data may be lost, which only `true` says.
fn knows(fault: &str, node: &Node, sink: &mut Sink) -> Option<()> {
    if decode::boolean(node, sink)? {
        return Some(());
    }
    let message = format!("{fault} may lose acknowledged writes, and they may not be lost here");
    let hint = "use rds.switchover_global, which loses none, or write `data_may_be_lost: true`";
    sink.push(Mistake::at(&node.place, message).hint(hint));
    None
}

fn share(node: &Node, sink: &mut Sink) -> Option<f64> {
    let share = decode::share(node, sink)?;
    if share <= 0.0 {
        sink.push(Mistake::at(&node.place, "a share of 0% breaks nothing"));
    }
    Some(share)
}

fn operations(node: &Node, sink: &mut Sink) -> Option<Vec<String>> {
    let items = decode::list(node, "operations", sink);
    if items.is_empty() {
        sink.push(Mistake::at(&node.place, "no operation fails").hint("write `operations: [DescribeInstances]`"));
        return None;
    }
    let mut names = Vec::new();
    for item in items {
        let name = decode::text(item, sink)?;
        let known: Vec<&str> = catalogue::ec2_operations().collect();
        if !known.contains(&name.as_str()) {
            let message = format!("{name:?} is no operation of EC2, whose calls alone this fault lets fail");
            let hint = match nearest(&name, &known) {
                Some(near) => format!("did you mean {near:?}?"),
                None => "write it as the EC2 API reference does: DescribeInstances".to_owned(),
            };
            sink.push(Mistake::at(&item.place, message).hint(hint));
        } else if names.contains(&name) {
            sink.push(Mistake::at(&item.place, format!("{name} stands here twice")).hint("name it once"));
        }
        names.push(name);
    }
    Some(names)
}

fn calls(node: &Node, sink: &mut Sink) -> Option<f64> {
    let calls = decode::share(node, sink)?;
    let percent = calls * 100.0;
    if percent < 1.0 - 1e-9 || (percent - percent.round()).abs() > 1e-9 {
        let message = "AWS FIS takes whole percent of the calls, from 1% to 100%";
        sink.push(Mistake::at(&node.place, message).hint("write `calls: 50%`"));
    }
    Some(calls)
}

fn latency(node: &Node, sink: &mut Sink) -> Option<Duration> {
    let latency = decode::duration(node, sink)?;
    if !LATENCY_RANGE.contains(&latency) {
        let (least, most) = (
            format_duration(*LATENCY_RANGE.start()),
            format_duration(*LATENCY_RANGE.end()),
        );
        let message = format!("a latency is {least} to {most}, not {}", format_duration(latency));
        sink.push(Mistake::at(&node.place, message).hint("write `latency: 500ms`"));
    }
    Some(latency)
}

fn processes(node: &Node, sink: &mut Sink) -> Option<Vec<String>> {
    let items = decode::list(node, "processes", sink);
    if items.is_empty() {
        sink.push(Mistake::at(&node.place, "no process is suspended").hint("write `processes: [Launch]`"));
        return None;
    }
    let mut names = Vec::new();
    for item in items {
        let name = decode::text(item, sink)?;
        if !PROCESS_NAMES.contains(&name.as_str()) {
            let message = format!("{name:?} is no process of Auto Scaling");
            sink.push(Mistake::at(&item.place, message).hint(suggest(&name, PROCESS_NAMES)));
        } else if names.contains(&name) {
            sink.push(Mistake::at(&item.place, format!("{name} stands here twice")));
        }
        names.push(name);
    }
    Some(names)
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
    let items = decode::list(node, "stop_when", sink).iter();
    items.filter_map(|item| stop(item, sink)).collect()
}

fn stop(item: &Node, sink: &mut Sink) -> Option<Stop> {
    let text = match &item.value {
        Value::Scalar { text, .. } => text.trim(),
        _ => "",
    };
    let place = item.place.clone();
    if let Some(rest) = text.strip_prefix("alarm") {
        let alarm = rest.trim();
        if alarm.is_empty() || !rest.starts_with(' ') {
            let mistake = Mistake::at(&place, format!("{text:?} names no alarm"));
            sink.push(mistake.hint("write `alarm NAME`, the name of a CloudWatch alarm, or `errors > 90% for 3m`"));
            return None;
        }
        return Some(Stop {
            text: text.to_owned(),
            place,
            when: StopWhen::Alarm {
                alarm: alarm.to_owned(),
            },
        });
    }
    let condition = objective_text::condition(item, sink)?;
    let objective = condition.objective;
    Some(Stop {
        text: objective.text,
        place,
        when: StopWhen::Measured {
            measure: objective.measure,
            statistic: objective.statistic,
            comparison: objective.comparison,
            limit: objective.limit,
            lasts: condition.lasts,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source::Source;

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

    fn read(text: &str) -> Result<Experiment, String> {
        let mut sink = Sink::default();
        let node = crate::config::node::parse(&Source::new("t.yaml", text), text, 0, &mut sink).expect("YAML");
        let read = experiment(&node, &[], &mut sink);
        sink.finish(read).map_err(|errors| errors.to_string())
    }

    #[test]
    fn who_injects_a_fault_is_said_for_all_or_for_each() {
        let of = |of_all: &str, fault: &str, of_one: &str| {
            let text =
                format!("{{ name: n, hypothesis: h, {of_all} faults: [{{ role: r, at: 1m, {fault}{of_one} }}] }}");
            read(&text).map(|experiment| experiment.faults[0].via())
        };
        let deny = "fault: network.deny_region, lasts: 5m";
        assert_eq!(of("", deny, ""), Ok(Via::Api));
        assert_eq!(of("via: fis,", deny, ""), Ok(Via::Fis));
        assert_eq!(of("via: fis,", deny, ", via: auto"), Ok(Via::Auto));
        let only = "fault: autoscaling.insufficient_capacity, az: a, lasts: 5m";
        assert_eq!(of("", only, ""), Ok(Via::Fis));
        assert_eq!(of("via: auto,", "fault: rds.stop, lasts: 5m", ""), Ok(Via::Auto));
        let cluster = "fault: rds.failover_cluster, irreversible: true";
        assert_eq!(of("via: fis,", cluster, ""), Ok(Via::Fis));
        assert_eq!(of("via: auto,", cluster, ", reader: shop-db-2"), Ok(Via::Auto));
        for (of_all, fault, of_one, said) in [
            ("", deny, ", via: chaos", "unknown way to inject a fault"),
            (
                "via: fis,",
                cluster,
                ", reader: shop-db-2",
                "has no action that does what rds.failover_cluster does with these parameters",
            ),
            (
                "via: fis,",
                "fault: rds.stop, lasts: 5m",
                "",
                "has no action that does what rds.stop does",
            ),
            (
                "",
                only,
                ", via: api",
                "no API does what autoscaling.insufficient_capacity does",
            ),
        ] {
            let errors = of(of_all, fault, of_one).expect_err(said);
            assert!(errors.contains(said), "{said} in\n{errors}");
        }
    }

    #[test]
    fn a_latency_is_one_that_fis_takes() {
        let of = |latency: &str| {
            let fault = format!("fault: ebs.latency, role: r, share: 34%, latency: {latency}, at: 1m, lasts: 5m");
            read(&format!("{{ name: n, hypothesis: h, faults: [{{ {fault} }}] }}"))
        };
        let read = of("500ms").expect("it is right");
        let latency = Duration::from_millis(500);
        assert_eq!(read.faults[0].fault, Fault::EbsLatency { share: 0.34, latency });
        for bad in ["9ms", "61s"] {
            let told = of(bad).expect_err(bad);
            assert!(
                told.contains("a latency is 10ms to 1m") && told.contains("hint:"),
                "{told}"
            );
        }
    }

    #[test]
    fn the_calls_that_fail_are_those_that_fis_lets_fail() {
        let of = |rest: &str| {
            let fault = format!("fault: api.errors, role: r, {rest}, at: 1m, lasts: 5m");
            read(&format!("{{ name: n, hypothesis: h, faults: [{{ {fault} }}] }}"))
        };
        let read = of("error: throttle, operations: [RunInstances], calls: 50%").expect("it is right");
        let id = read.faults[0].fault.fis().map(|action| action.id);
        assert_eq!(id, Some("aws:fis:inject-api-throttle-error"));
        for (bad, said) in [
            ("error: timeout, operations: [RunInstances], calls: 50%", "timeout"),
            (
                "error: throttle, operations: [run-instances], calls: 50%",
                "did you mean \"RunInstances\"",
            ),
            (
                "error: throttle, operations: [DescribeInstance], calls: 50%",
                "\"DescribeInstance\" is no operation of EC2",
            ),
            (
                "error: throttle, operations: [PutRecord], calls: 50%",
                "as the EC2 API reference does",
            ),
            (
                "error: throttle, operations: [RunInstances, RunInstances], calls: 50%",
                "RunInstances stands here twice",
            ),
            ("error: throttle, operations: [], calls: 50%", "no operation fails"),
            (
                "error: throttle, operations: [RunInstances], calls: 0.5%",
                "whole percent",
            ),
        ] {
            let told = of(bad).expect_err(bad);
            assert!(told.contains(said), "{told}");
        }
    }

    #[test]
    fn an_alarm_is_a_stop_condition() {
        let read = |text: &str| {
            let mut sink = Sink::default();
            let node = crate::config::node::parse(&Source::new("t.yaml", text), text, 0, &mut sink).expect("YAML");
            let read = stops(&node, &mut sink);
            sink.finish(Some(read))
        };
        let all = read("[ alarm shop 5xx, errors > 90% for 3m ]").unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!((all[0].alarm(), all[1].alarm()), (Some("shop 5xx"), None));
        for bad in ["[ alarm ]", "[ alarms shop ]", "[ { alarm: shop } ]"] {
            let told = read(bad).expect_err(bad).to_string();
            assert!(told.contains("t.yaml:1:3"), "{told}");
        }
    }

    #[test]
    fn the_readme_names_every_fault() {
        for entry in CATALOGUE {
            let row = format!("| `{}` |", entry.name);
            assert!(include_str!("../../README.md").contains(&row), "{row}");
        }
    }

    #[test]
    fn every_fault_of_the_catalogue_is_read_as_itself() {
        for entry in CATALOGUE {
            let given: String = entry
                .parameters
                .iter()
                .map(|parameter| format!(", {}: {}", parameter.key, parameter.form))
                .collect();
            let end = if entry.reversible {
                "lasts: 5m"
            } else {
                "irreversible: true"
            };
            let text = format!("{{ fault: {}, role: r, at: hold{given}, {end} }}", entry.name);
            let mut sink = Sink::default();
            let node = crate::config::node::parse(&Source::new("t.yaml", &text), &text, 0, &mut sink).expect("YAML");
            let read = fault(&node, None, &mut sink);
            let read = sink.finish(read).unwrap_or_else(|errors| panic!("{text}: {errors}"));
            assert_eq!(read.fault.entry().name, entry.name);
        }
    }
}
