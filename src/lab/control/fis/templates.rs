//! Experiment templates: checked when they are created, as AWS does, so that a wrong one is never started.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Call;
use super::super::value::{Value, list, map, time};
use super::{id, invalid, members, missing, named, paged, shown_texts, texts};
use crate::lab::dynamics::fis::{self, offer, seconds_of};
use crate::lab::error::AwsError;
use crate::lab::experiments::{Action, Selection, Target, Template};

/// Actions of one template (quota).
const ACTIONS_MAX: usize = 20;
/// Stop conditions of one template (quota).
const STOPS_MAX: usize = 5;

pub fn create(call: &Call<'_>) -> Result<Value, AwsError> {
    let input = &call.input;
    let token = input.required("clientToken")?.to_owned();
    let template = Template {
        id: String::new(),
        arn: String::new(),
        description: input.required("description")?.to_owned(),
        targets: targets(input)?,
        actions: actions(input)?,
        stop_alarms: stop_alarms(input)?,
        role_arn: role(input)?,
        skips_empty: skips_empty(input)?,
        created_at: call.now,
        tags: texts(input, "tags"),
    };
    check(&template)?;
    let made = fis::create_template(call.lab, call.region, template, token)?;
    Ok(map([("experimentTemplate", shown(&made))]))
}

fn role(input: &Value) -> Result<String, AwsError> {
    let role = input.required("roleArn")?;
    if !(role.starts_with("arn:") && role.contains(":iam::") && role.contains(":role/")) {
        return Err(invalid(format!("{role} is no ARN of a role.")));
    }
    Ok(role.to_owned())
}

fn skips_empty(input: &Value) -> Result<bool, AwsError> {
    let options = input.get("experimentOptions").cloned().unwrap_or(Value::Null);
    match options.text("emptyTargetResolutionMode") {
        None | Some("fail") => Ok(false),
        Some("skip") => Ok(true),
        Some(other) => Err(invalid(format!("{other} is no emptyTargetResolutionMode."))),
    }
}

fn stop_alarms(input: &Value) -> Result<Vec<String>, AwsError> {
    let conditions = input.elements("stopConditions");
    if conditions.is_empty() {
        return Err(invalid("stopConditions must have at least one member."));
    }
    if conditions.len() > STOPS_MAX {
        return Err(fis_quota("stop conditions", STOPS_MAX));
    }
    let mut alarms = Vec::new();
    for condition in conditions {
        match condition.required("source")? {
            "none" => {}
            "aws:cloudwatch:alarm" => alarms.push(condition.required("value")?.to_owned()),
            other => return Err(invalid(format!("{other} is no source of a stop condition."))),
        }
    }
    Ok(alarms)
}

fn fis_quota(what: &str, most: usize) -> AwsError {
    let message = format!("A template has at most {most} {what}.");
    AwsError::new("ServiceQuotaExceededException", message, 402)
}

fn targets(input: &Value) -> Result<BTreeMap<String, Target>, AwsError> {
    let mut found = BTreeMap::new();
    for (name, value) in members(input, "targets") {
        let arns: Vec<String> = value.texts("resourceArns").into_iter().map(str::to_owned).collect();
        let tags = texts(value, "resourceTags");
        if arns.is_empty() == tags.is_empty() {
            return Err(invalid(format!(
                "Target {name} needs either resourceArns or resourceTags."
            )));
        }
        if arns.len() > fis::TARGETS_MAX {
            return Err(invalid(format!(
                "Target {name} has {} resourceArns; at most {} may be named.",
                arns.len(),
                fis::TARGETS_MAX
            )));
        }
        if !value.elements("filters").is_empty() {
            return Err(invalid("The lab does not filter targets; name them."));
        }
        let target = Target {
            resource_type: value.required("resourceType")?.to_owned(),
            arns,
            tags,
            selection: selection(value.required("selectionMode")?)?,
        };
        found.insert(name.to_owned(), target);
    }
    Ok(found)
}

/// `ALL`, `COUNT(n)` or `PERCENT(n)`.
fn selection(text: &str) -> Result<Selection, AwsError> {
    let within = |word: &str| text.strip_prefix(word)?.strip_prefix('(')?.strip_suffix(')');
    let count = within("COUNT")
        .and_then(|text| text.parse().ok())
        .filter(|count| *count > 0);
    let percent = within("PERCENT").and_then(|text| text.parse::<f64>().ok());
    match (
        text,
        count,
        percent.filter(|percent| *percent > 0.0 && *percent <= 100.0),
    ) {
        ("ALL", ..) => Ok(Selection::All),
        (_, Some(count), _) => Ok(Selection::Count(count)),
        (_, _, Some(percent)) => Ok(Selection::Percent(percent)),
        _ => Err(invalid(format!("{text} is no selectionMode."))),
    }
}

fn actions(input: &Value) -> Result<BTreeMap<String, Action>, AwsError> {
    let all = members(input, "actions");
    if all.is_empty() {
        return Err(invalid("actions must have at least one member."));
    }
    if all.len() > ACTIONS_MAX {
        return Err(fis_quota("actions", ACTIONS_MAX));
    }
    let mut found = BTreeMap::new();
    for (name, value) in all {
        let action = Action {
            action_id: value.required("actionId")?.to_owned(),
            description: value.text("description").map(str::to_owned),
            parameters: texts(value, "parameters"),
            targets: texts(value, "targets"),
            start_after: value.texts("startAfter").into_iter().map(str::to_owned).collect(),
        };
        found.insert(name.to_owned(), action);
    }
    Ok(found)
}

/// What can only be said of a template as a whole.
fn check(template: &Template) -> Result<(), AwsError> {
    for (name, action) in &template.actions {
        let offer = offer::offer(&action.action_id)
            .ok_or_else(|| invalid(format!("Action {name}: {} does not exist.", action.action_id)))?;
        for (key, value) in &action.parameters {
            if !offer.parameters.iter().any(|(known, _)| known == key) {
                return Err(invalid(format!("Action {name}: {} takes no {key}.", offer.id)));
            }
            if key == "percentage" && !value.parse().is_ok_and(|percent: u8| (1..=100).contains(&percent)) {
                return Err(invalid(format!("Action {name}: {value} is no percentage.")));
            }
            if let Some((from, to)) = outside(offer, key, value) {
                return Err(invalid(format!(
                    "Action {name}: {key} must be from {from} to {to}, not {value}."
                )));
            }
        }
        let required = offer.parameters.iter().filter(|(_, required)| *required);
        if let Some((key, _)) = required
            .into_iter()
            .find(|(key, _)| !action.parameters.contains_key(*key))
        {
            return Err(invalid(format!("Action {name}: {} needs {key}.", offer.id)));
        }
        if action.parameters.get("service").is_some_and(|service| service != "ec2") {
            // FIS knows kinesis too, which the lab does not have.
            return Err(invalid(format!(
                "Action {name}: the lab knows the service \"ec2\" only."
            )));
        }
        if action.parameters.get("scope").is_some_and(|scope| scope != "all") {
            return Err(invalid(format!("Action {name}: the lab knows the scope \"all\" only.")));
        }
        check_target(template, name, action, offer)?;
        if let Some(unknown) = action
            .start_after
            .iter()
            .find(|one| !template.actions.contains_key(*one))
        {
            return Err(invalid(format!(
                "Action {name} starts after {unknown}, which does not exist."
            )));
        }
    }
    check_order(template)
}

/// The range that a parameter must be in, by the action reference, where its value is not.
fn outside(offer: &offer::Offer, key: &str, value: &str) -> Option<(&'static str, &'static str)> {
    let (from, to) = match key {
        // Volumes of the lab are not io2, which take 1 ms.
        "readIOLatencyMilliseconds" | "writeIOLatencyMilliseconds" => ("10", "60000"),
        "readIOPercentage" | "writeIOPercentage" => ("0.1", "100"),
        "durationBeforeInterruption" => ("PT2M", "PT15M"),
        _ if offer.lasts != Some(key) => return None,
        _ if offer.id.starts_with("aws:ebs:") => ("PT1S", "PT12H"),
        _ => ("PT1M", "PT12H"),
    };
    let number = |text: &str| seconds_of(text).or(text.parse().ok());
    let inside = number(value).is_some_and(|value| number(from) <= Some(value) && Some(value) <= number(to));
    (!inside).then_some((from, to))
}

fn check_target(template: &Template, name: &str, action: &Action, offer: &offer::Offer) -> Result<(), AwsError> {
    let Some((key, kind)) = offer.target else {
        return if action.targets.is_empty() {
            Ok(())
        } else {
            Err(invalid(format!("Action {name}: {} takes no target.", offer.id)))
        };
    };
    let named = match action.targets.iter().next() {
        Some((given, target)) if given == key && action.targets.len() == 1 => target,
        _ => return Err(invalid(format!("Action {name}: {} takes one target, {key}.", offer.id))),
    };
    let target = template
        .targets
        .get(named)
        .ok_or_else(|| invalid(format!("Action {name}: target {named} does not exist.")))?;
    if target.resource_type == kind {
        Ok(())
    } else {
        let given = &target.resource_type;
        Err(invalid(format!(
            "Action {name}: target {named} is {given}, not {kind}."
        )))
    }
}

/// No action waits for itself, however indirectly.
fn check_order(template: &Template) -> Result<(), AwsError> {
    let mut begun: BTreeSet<&str> = BTreeSet::new();
    loop {
        let before = begun.len();
        for (name, action) in &template.actions {
            if action.start_after.iter().all(|one| begun.contains(one.as_str())) {
                begun.insert(name);
            }
        }
        if begun.len() == template.actions.len() {
            return Ok(());
        }
        if begun.len() == before {
            return Err(invalid("Actions start after one another in a circle."));
        }
    }
}

pub fn list_all(call: &Call<'_>) -> Result<Value, AwsError> {
    let world = call.lab.world();
    let region = world.regions.get(call.region).ok_or_else(|| call.unknown_region())?;
    let show = |template: &Template| {
        map([
            ("id", (&template.id).into()),
            ("arn", (&template.arn).into()),
            ("description", (&template.description).into()),
            ("creationTime", time(template.created_at)),
            ("lastUpdateTime", time(template.created_at)),
            ("tags", shown_texts(&template.tags)),
        ])
    };
    let all = region.fis.templates.values().collect();
    paged(call, "experimentTemplates", all, |one| one.id.clone(), show)
}

pub fn get(call: &Call<'_>) -> Result<Value, AwsError> {
    let world = call.lab.world();
    let region = world.regions.get(call.region).ok_or_else(|| call.unknown_region())?;
    let found = region.fis.templates.get(id(call));
    let template = found.ok_or_else(|| missing("Experiment template", id(call)))?;
    Ok(map([("experimentTemplate", shown(template))]))
}

pub fn delete(call: &Call<'_>) -> Result<Value, AwsError> {
    let template = fis::delete_template(call.lab, call.region, id(call))?;
    Ok(map([("experimentTemplate", shown(&template))]))
}

fn shown(template: &Template) -> Value {
    let actions = template
        .actions
        .iter()
        .map(|(name, action)| (name.clone(), map(shown_action(action))));
    map([
        ("id", (&template.id).into()),
        ("arn", (&template.arn).into()),
        ("description", (&template.description).into()),
        ("targets", shown_targets(template)),
        ("actions", named(actions)),
        ("stopConditions", shown_stops(template)),
        ("creationTime", time(template.created_at)),
        ("lastUpdateTime", time(template.created_at)),
        ("roleArn", (&template.role_arn).into()),
        ("tags", shown_texts(&template.tags)),
        ("experimentOptions", map(shown_options(template))),
    ])
}

/// Options of a template.
pub fn shown_options(template: &Template) -> [(&'static str, Value); 2] {
    let mode = if template.skips_empty { "skip" } else { "fail" };
    [
        ("accountTargeting", "single-account".into()),
        ("emptyTargetResolutionMode", mode.into()),
    ]
}

/// What a template says of an action.
pub fn shown_action(action: &Action) -> [(&'static str, Value); 5] {
    [
        ("actionId", (&action.action_id).into()),
        ("description", action.description.as_ref().into()),
        ("parameters", shown_texts(&action.parameters)),
        ("targets", shown_texts(&action.targets)),
        ("startAfter", list("member", &action.start_after)),
    ]
}

/// Targets as they were given.
pub fn shown_targets(template: &Template) -> Value {
    let show = |target: &Target| {
        let selection = match target.selection {
            Selection::All => "ALL".to_owned(),
            Selection::Count(count) => format!("COUNT({count})"),
            Selection::Percent(percent) => format!("PERCENT({percent})"),
        };
        map([
            ("resourceType", (&target.resource_type).into()),
            ("resourceArns", list("member", &target.arns)),
            ("resourceTags", shown_texts(&target.tags)),
            ("filters", list::<Value>("member", [])),
            ("selectionMode", selection.into()),
            ("parameters", Value::empty()),
        ])
    };
    named(
        template
            .targets
            .iter()
            .map(|(name, target)| (name.clone(), show(target))),
    )
}

/// Stop conditions; AWS shows the absence of any as one of the source `none`.
pub fn shown_stops(template: &Template) -> Value {
    let none = template
        .stop_alarms
        .is_empty()
        .then(|| map([("source", "none".into())]));
    let alarms = template
        .stop_alarms
        .iter()
        .map(|arn| map([("source", "aws:cloudwatch:alarm".into()), ("value", arn.into())]));
    list("member", alarms.chain(none))
}
