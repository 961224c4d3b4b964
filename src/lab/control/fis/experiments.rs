//! Experiments: started, looked at and stopped.

use super::super::Call;
use super::super::value::{Value, map, time};
use super::templates::{shown_action, shown_options, shown_stops, shown_targets};
use super::{id, invalid, missing, named, paged, shown_texts, texts};
use crate::lab::dynamics::fis;
use crate::lab::error::AwsError;
use crate::lab::experiments::{ActionState, Experiment};

pub fn start(call: &Call<'_>) -> Result<Value, AwsError> {
    let input = &call.input;
    let token = input.required("clientToken")?.to_owned();
    let template = input.required("experimentTemplateId")?;
    let options = input.get("experimentOptions").cloned().unwrap_or(Value::Null);
    let skips = match options.text("actionsMode") {
        None | Some("run-all") => false,
        Some("skip-all") => true,
        Some(other) => return Err(invalid(format!("{other} is no actionsMode."))),
    };
    let made = fis::start(call.lab, call.region, template, skips, texts(input, "tags"), token)?;
    Ok(map([("experiment", shown(&made))]))
}

pub fn stop(call: &Call<'_>) -> Result<Value, AwsError> {
    let stopped = fis::stop(call.lab, call.region, id(call))?;
    Ok(map([("experiment", shown(&stopped))]))
}

pub fn get(call: &Call<'_>) -> Result<Value, AwsError> {
    with(call, |experiment| Ok(map([("experiment", shown(experiment))])))
}

fn with<T>(call: &Call<'_>, read: impl FnOnce(&Experiment) -> Result<T, AwsError>) -> Result<T, AwsError> {
    let world = call.lab.world();
    let region = world.regions.get(call.region).ok_or_else(|| call.unknown_region())?;
    let found = region.fis.experiments.get(id(call));
    read(found.ok_or_else(|| missing("Experiment", id(call)))?)
}

pub fn list_all(call: &Call<'_>) -> Result<Value, AwsError> {
    let world = call.lab.world();
    let region = world.regions.get(call.region).ok_or_else(|| call.unknown_region())?;
    let of = call.query.text("experimentTemplateId");
    let all = region.fis.experiments.values();
    let wanted = all.filter(|one| of.is_none_or(|of| one.template.id == of)).collect();
    let show = |one: &Experiment| {
        map([
            ("id", (&one.id).into()),
            ("arn", (&one.arn).into()),
            ("experimentTemplateId", (&one.template.id).into()),
            ("state", state(one)),
            ("creationTime", time(one.created_at)),
            ("tags", shown_texts(&one.tags)),
            ("experimentOptions", options(one)),
        ])
    };
    paged(call, "experiments", wanted, |one| one.id.clone(), show)
}

pub fn resolved(call: &Call<'_>) -> Result<Value, AwsError> {
    let wanted = call.query.text("targetName");
    with(call, |experiment| {
        let mut all = Vec::new();
        for (name, arns) in &experiment.resolved {
            let kind = experiment
                .template
                .targets
                .get(name)
                .map(|target| &target.resource_type);
            if wanted.is_none_or(|wanted| wanted == name) {
                all.extend(arns.iter().map(|arn| (name, kind, arn)));
            }
        }
        paged(
            call,
            "resolvedTargets",
            all,
            |(name, _, arn)| format!("{name} {arn}"),
            |(name, kind, arn)| {
                map([
                    ("resourceType", kind.into()),
                    ("targetName", name.into()),
                    ("targetInformation", map([("arn", arn.into())])),
                ])
            },
        )
    })
}

fn state(experiment: &Experiment) -> Value {
    map([
        ("status", experiment.status.name().into()),
        ("reason", (&experiment.reason).into()),
    ])
}

fn options(experiment: &Experiment) -> Value {
    let mode = if experiment.skips_actions {
        "skip-all"
    } else {
        "run-all"
    };
    let [targeting, empty] = shown_options(&experiment.template);
    map([targeting, empty, ("actionsMode", mode.into())])
}

fn shown(experiment: &Experiment) -> Value {
    let template = &experiment.template;
    let unknown = ActionState::default();
    let actions = template.actions.iter().map(|(name, action)| {
        let now = experiment.actions.get(name).unwrap_or(&unknown);
        let [id, description, parameters, targets, after] = shown_action(action);
        let state = map([("status", now.status.name().into()), ("reason", (&now.reason).into())]);
        let shown = map([
            id,
            description,
            parameters,
            targets,
            after,
            ("state", state),
            ("startTime", time(now.started_at)),
            ("endTime", time(now.ended_at)),
        ]);
        (name.clone(), shown)
    });
    map([
        ("id", (&experiment.id).into()),
        ("arn", (&experiment.arn).into()),
        ("experimentTemplateId", (&template.id).into()),
        ("roleArn", (&template.role_arn).into()),
        ("state", state(experiment)),
        ("targets", shown_targets(template)),
        ("actions", named(actions)),
        ("stopConditions", shown_stops(template)),
        ("creationTime", time(experiment.created_at)),
        ("startTime", time(experiment.started_at)),
        ("endTime", time(experiment.ended_at)),
        ("tags", shown_texts(&experiment.tags)),
        ("experimentOptions", options(experiment)),
    ])
}
