//! From texts to a configuration: a profile and its experiments together, and what can only be checked across files.

use std::collections::BTreeSet;

use super::error::{ConfigErrors, Mistake, Sink};
use super::experiment::{self, Experiment, Stop};
use super::files::{self, Files};
use super::message;
use super::nearest::suggest;
use super::node::{self, Node, Value};
use super::objective::{Measure, Objective};
use super::objective_text::{SubjectKind, measure_name, subject_kind, subject_place};
use super::overrides;
use super::profile::{self, Profile, TargetRef};
use super::protobuf::{self, ProtoReferences, Protos, Services};
use super::protocol::Protocol;
use super::source::{Place, Source, Spanned};
use super::{decode, judgeable, objective_text};

/// The texts of a profile and of the experiments it refers to, each with the name it goes by in messages.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The profile.
    pub profile: (String, String),
    /// The experiments, in the order of [`References::experiments`].
    pub experiments: Vec<(String, String)>,
    /// What stands in the files of [`References::files`].
    pub files: Files,
    /// The `.proto` files of [`References::protos`] with all that they import, less what every compiler knows.
    pub protos: Protos,
}

/// A path that the profile names.
pub type Reference = Spanned<String>;

/// What has to be read before a profile can be loaded.
#[derive(Clone, Debug)]
pub struct References {
    /// Experiment files.
    pub experiments: Vec<Reference>,
    /// Test data and bodies.
    pub files: Vec<Reference>,
    /// Descriptions of services.
    pub protos: ProtoReferences,
    /// The target; the lab when none is written.
    pub target: TargetRef,
    /// Where the target is written, if it is.
    pub target_place: Option<Place>,
}

/// Everything the user wrote, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The profile.
    pub profile: Profile,
    /// Its experiments, in the order written.
    pub experiments: Vec<Experiment>,
    /// The `lab:` section as JSON, `null` when there is none; the lab validates it.
    pub lab: serde_json::Value,
    root: Node,
}

impl Config {
    /// The names of the CloudWatch alarms that stop experiments.
    #[must_use]
    pub fn alarms(&self) -> Vec<String> {
        let stops = self.experiments.iter().flat_map(|experiment| &experiment.stop_when);
        let names: BTreeSet<&str> = stops.filter_map(Stop::alarm).collect();
        names.into_iter().map(str::to_owned).collect()
    }

    /// The lab's complaint about its section, at the line of that key; `path` is dotted and begins with `lab`.
    #[must_use]
    pub fn lab_mistake(&self, path: &str, message: &str) -> ConfigErrors {
        let mut node = &self.root;
        let mut place = None;
        for segment in path.split('.') {
            match &node.value {
                Value::Map(entries) => {
                    let Some(entry) = entries.iter().find(|entry| entry.key == segment) else {
                        break;
                    };
                    node = &entry.node;
                    place = Some(if matches!(node.value, Value::Scalar { .. }) && !is_unknown(message) {
                        node.place.clone()
                    } else {
                        entry.place.clone()
                    });
                }
                Value::List(items) => {
                    let Some(item) = segment.parse::<usize>().ok().and_then(|index| items.get(index)) else {
                        break;
                    };
                    node = item;
                    place = Some(item.place.clone());
                }
                Value::Scalar { .. } => break,
            }
        }
        let message = format!("{path}: {message}");
        ConfigErrors::new(vec![Mistake {
            message,
            place,
            hint: None,
        }])
    }
}

fn is_unknown(message: &str) -> bool {
    message.starts_with("unknown")
}

/// Which files a profile needs, with `overrides` applied.
pub fn references(name: &str, text: &str, overrides: &[(String, String)]) -> Result<References, ConfigErrors> {
    let mut sink = Sink::default();
    let references = profile_tree(name, text, overrides, &mut sink).map(|root| {
        let target = root.get("target").filter(|node| !node.is_null());
        References {
            experiments: root
                .get("chaos")
                .filter(|node| !node.is_null())
                .map(|node| profile::chaos(node, &mut sink))
                .unwrap_or_default(),
            files: files::named(&root, &mut sink),
            protos: protobuf::references(&root, &mut sink),
            target: target
                .and_then(|node| decode::text(node, &mut sink))
                .map_or(TargetRef::Lab, |text| TargetRef::read(&text)),
            target_place: target.map(|node| node.place.clone()),
        }
    });
    match references {
        // Whatever else is wrong is reported by `load`, together with the mistakes of the experiments.
        Some(references) => Ok(references),
        None => sink.finish(None),
    }
}

/// Whether a text is an experiment rather than a profile: it has faults, and no journeys.
#[must_use]
pub fn is_experiment(text: &str) -> bool {
    // What is wrong with it is said by whoever loads it.
    let tree = node::parse(&Source::new("", text), text, 0, &mut Sink::default());
    tree.is_some_and(|root| root.get("faults").is_some() && root.get("journeys").is_none())
}

/// Whether a text is a profile rather than an experiment: it has journeys, and no faults.
#[must_use]
pub fn is_profile(text: &str) -> bool {
    let tree = node::parse(&Source::new("", text), text, 0, &mut Sink::default());
    tree.is_some_and(|root| root.get("journeys").is_some() && root.get("faults").is_none())
}

/// Loads a profile with its experiments, or says everything that is wrong with them.
pub fn load(sources: &Sources, overrides: &[(String, String)]) -> Result<Config, ConfigErrors> {
    let mut sink = Sink::default();
    let (name, text) = &sources.profile;
    let root = profile_tree(name, text, overrides, &mut sink);
    let mut trees: Vec<Node> = Vec::new();
    for (name, text) in &sources.experiments {
        trees.extend(node::parse(&Source::new(name, text), text, 0, &mut sink));
    }
    let names: Vec<String> = trees.iter().filter_map(tree_name).collect();
    override_experiments(&mut trees, &names, overrides, &mut sink);
    let names: Vec<String> = trees.iter().filter_map(tree_name).collect();
    let profile = root
        .as_ref()
        .and_then(|root| profile::profile(root, &names, &sources.files, &sources.protos, &mut sink));
    let experiments: Vec<Experiment> = trees
        .iter()
        .filter_map(|tree| experiment::experiment(tree, &names, &mut sink))
        .collect();
    let twice = listed_twice(profile.as_ref(), &sources.experiments, &mut sink);
    if !twice {
        duplicates(&trees, &mut sink);
    }
    if let Some(profile) = &profile {
        across(profile, &experiments, &mut sink);
        judgeable::check_form(profile, &experiments, &mut sink);
        // What cannot be judged may only follow from a mistake.
        if sink.mistakes.is_empty() {
            judgeable::check(profile, &experiments, &mut sink);
        }
        if let Some(Services::Described(services)) = &profile.services {
            message::check(&profile.journeys, services, &[], &mut sink);
        }
    }
    let config = profile.zip(root).map(|(profile, root)| {
        let lab = root.get("lab").map_or(serde_json::Value::Null, Node::to_json);
        Config {
            profile,
            experiments,
            lab,
            root,
        }
    });
    sink.finish(config)
}

/// An experiment without a profile: its faults and what belongs to them. Objectives, which are about journeys, are left
/// out.
pub fn load_experiment(name: &str, text: &str) -> Result<Experiment, ConfigErrors> {
    let mut sink = Sink::default();
    let root = node::parse(&Source::new(name, text), text, 0, &mut sink);
    let experiment = root.and_then(|mut root| {
        if let Value::Map(entries) = &mut root.value {
            entries.retain(|entry| entry.key != "objectives");
        }
        experiment::experiment(&root, &[], &mut sink)
    });
    sink.finish(experiment)
}

fn profile_tree(name: &str, text: &str, overrides: &[(String, String)], sink: &mut Sink) -> Option<Node> {
    let mut root = node::parse(&Source::new(name, text), text, 0, sink)?;
    for (key, value) in overrides.iter().filter(|(key, _)| !key.starts_with("experiments.")) {
        overrides::apply(&mut root, key, value, 0, sink);
    }
    Some(root)
}

fn tree_name(tree: &Node) -> Option<String> {
    match &tree.get("name")?.value {
        Value::Scalar { text, .. } => Some(text.clone()),
        _ => None,
    }
}

/// `experiments.NAME.KEY=VALUE`.
fn override_experiments(trees: &mut [Node], names: &[String], overrides: &[(String, String)], sink: &mut Sink) {
    for (key, value) in overrides {
        let Some(rest) = key.strip_prefix("experiments.") else {
            continue;
        };
        let name = rest.split('.').next().unwrap_or_default();
        match trees.iter_mut().find(|tree| tree_name(tree).as_deref() == Some(name)) {
            Some(tree) if rest.contains('.') => overrides::apply(tree, key, value, 2, sink),
            Some(_) => {
                let place = Place::start(&Source::new("--set", &format!("{key}={value}"))).part(0, key.chars().count());
                let hint = format!("name a key of it, such as `{key}.settle=5m`");
                sink.push(Mistake::at(&place, "a whole experiment cannot be set").hint(hint));
            }
            None => {
                let place = Place::start(&Source::new("--set", &format!("{key}={value}")));
                let hint = suggest(name, names.iter().map(String::as_str));
                sink.push(
                    Mistake::at(&place.part(12, name.chars().count()), format!("no experiment {name:?}")).hint(hint),
                );
            }
        }
    }
}

/// Whether the profile names one file several times; its name being taken would only follow from that.
fn listed_twice(profile: Option<&Profile>, files: &[(String, String)], sink: &mut Sink) -> bool {
    let Some(profile) = profile else { return false };
    let mut twice = false;
    for (index, (reference, (name, _))) in profile.chaos.iter().zip(files).enumerate() {
        if files[..index].iter().any(|(other, _)| other == name) {
            let message = format!("{:?} is listed twice", reference.value);
            sink.push(Mistake::at(&reference.place, message).hint("list each experiment once"));
            twice = true;
        }
    }
    twice
}

fn duplicates(trees: &[Node], sink: &mut Sink) {
    for (index, tree) in trees.iter().enumerate() {
        let name = tree_name(tree);
        if let (Some(name), Some(first)) = (&name, trees[..index].iter().find(|other| tree_name(other) == name)) {
            let place = tree.get("name").map_or(&tree.place, |node| &node.place);
            let hint = format!("the other one is {}; name one of them differently", first.place.name());
            sink.push(Mistake::at(place, format!("two experiments are called {name:?}")).hint(hint));
        }
    }
}

/// Names that one part of the configuration uses and another defines.
fn across(profile: &Profile, experiments: &[Experiment], sink: &mut Sink) {
    let ledgers: Vec<&str> = profile.ledgers.iter().map(|ledger| ledger.name.as_str()).collect();
    let mut requests: Vec<&str> = Vec::new();
    for journey in &profile.journeys {
        requests.push(&journey.name);
        for step in &journey.steps {
            if !requests.contains(&step.name.as_str()) {
                requests.push(&step.name);
            }
            if let Some(ledger) = step
                .ledger
                .as_ref()
                .filter(|ledger| !ledgers.contains(&ledger.value.as_str()))
            {
                let hint = if ledgers.is_empty() {
                    format!(
                        "add `ledgers: {{ {}: {{ read: \"/{}/{{{{ id }}}}\" }} }}`",
                        ledger.value, ledger.value
                    )
                } else {
                    suggest(&ledger.value, ledgers.iter().copied())
                };
                sink.push(Mistake::at(&ledger.place, format!("unknown ledger {:?}", ledger.value)).hint(hint));
            }
        }
    }
    let mut groups: Vec<&str> = Vec::new();
    for group in profile.journeys.iter().flat_map(|journey| &journey.groups) {
        if profile.journeys.iter().any(|journey| journey.name == group.value) {
            let hint = "give the group a name of its own";
            sink.push(Mistake::at(&group.place, format!("{:?} is a journey", group.value)).hint(hint));
        }
        groups.push(&group.value);
    }
    let steps: Vec<&str> = profile
        .journeys
        .iter()
        .flat_map(|j| &j.steps)
        .map(|step| step.name.as_str())
        .collect();
    for probe in profile
        .probes
        .iter()
        .filter(|probe| !steps.contains(&probe.step.value.as_str()))
    {
        let hint = suggest(&probe.step.value, steps.iter().copied());
        sink.push(Mistake::at(&probe.step.place, format!("unknown step {:?}", probe.step.value)).hint(hint));
    }
    for probe in &profile.probes {
        let mut of = profile.journeys.iter().flat_map(|journey| &journey.steps);
        let named = of.find(|step| step.name == probe.step.value);
        if named.is_some_and(|step| step.protocol != Protocol::Http) {
            let message = format!("step {:?} does not speak HTTP", probe.step.value);
            sink.push(Mistake::at(&probe.step.place, message).hint("probes do; name a step such as `- get: /`"));
        }
        let of = profile.journeys.iter().flat_map(|journey| &journey.steps);
        for step in of.filter(|step| step.name == probe.step.value && step.has_variables()) {
            let hint = "a probe sends its one request alone; name a step that stands alone";
            let message = format!(
                "step {:?} needs what earlier steps extract or a feeder brings",
                step.name
            );
            sink.push(Mistake::at(&probe.step.place, message).hint(hint));
        }
    }
    let of_experiments = experiments.iter().flat_map(|experiment| &experiment.objectives);
    for objective in profile.objectives.iter().chain(of_experiments) {
        subject(objective, &requests, &groups, &ledgers, sink);
    }
}

/// Journeys, steps and ledgers are known here; roles only once the target is.
fn subject(objective: &Spanned<Objective>, requests: &[&str], groups: &[&str], ledgers: &[&str], sink: &mut Sink) {
    let Some(subject) = objective.value.subject.as_deref() else {
        return;
    };
    let is_place = subject.starts_with("region=") || subject.starts_with("az=");
    let measure = objective.value.measure;
    let (what, known) = match subject_kind(measure) {
        SubjectKind::Requests if is_place && matches!(measure, Measure::Errors | Measure::Throughput) => return,
        SubjectKind::Requests if groups.contains(&subject) => {
            if !matches!(measure, Measure::Latency | Measure::Errors | Measure::Throughput) {
                let message = format!("{} is not measured of the group {subject:?}", measure_name(measure));
                let hint = "`latency`, `errors` and `throughput` are; or name one of its steps";
                sink.push(Mistake::at(&objective_text::subject_place(objective), message).hint(hint));
            }
            return;
        }
        SubjectKind::Requests => ("journey or step", requests),
        SubjectKind::Ledger => ("ledger", ledgers),
        SubjectKind::Place if is_place => return,
        SubjectKind::Place => {
            let message = format!("{} is about a Region or an AZ, not {subject:?}", measure_name(measure));
            let hint = "write `share(region=eu-west-1)` or `share(az=eu-west-1a)`";
            sink.push(Mistake::at(&objective_text::subject_place(objective), message).hint(hint));
            return;
        }
        SubjectKind::Role => return,
    };
    if !known.contains(&subject) {
        let hint = suggest(subject, known.iter().copied());
        sink.push(Mistake::at(&subject_place(objective), format!("unknown {what} {subject:?}")).hint(hint));
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
