//! AWS FIS over `restJson1`: the operation comes from the method and the path.

mod experiments;
mod templates;

use super::Call;
use super::page::page;
use super::value::{Value, list, map};
use crate::lab::dynamics::fis::{self, offer};
use crate::lab::error::AwsError;
use crate::lab::experiments::Lever;
use crate::lab::world::Tags;

/// The one safety lever of an account.
const LEVER: &str = "default";

/// The operation of a method and path, and the ids in the path.
pub fn operation<'p>(method: &str, segments: &[&'p str]) -> Option<(&'static str, Vec<&'p str>)> {
    Some(match (method, segments) {
        ("POST", ["experimentTemplates"]) => ("CreateExperimentTemplate", vec![]),
        ("GET", ["experimentTemplates"]) => ("ListExperimentTemplates", vec![]),
        ("GET", ["experimentTemplates", id]) => ("GetExperimentTemplate", vec![*id]),
        ("DELETE", ["experimentTemplates", id]) => ("DeleteExperimentTemplate", vec![*id]),
        ("POST", ["experiments"]) => ("StartExperiment", vec![]),
        ("GET", ["experiments"]) => ("ListExperiments", vec![]),
        ("GET", ["experiments", id]) => ("GetExperiment", vec![*id]),
        ("DELETE", ["experiments", id]) => ("StopExperiment", vec![*id]),
        ("GET", ["experiments", id, "resolvedTargets"]) => ("ListExperimentResolvedTargets", vec![*id]),
        ("GET", ["actions"]) => ("ListActions", vec![]),
        ("GET", ["actions", id]) => ("GetAction", vec![*id]),
        ("GET", ["safetyLevers", id]) => ("GetSafetyLever", vec![*id]),
        ("PATCH", ["safetyLevers", id, "state"]) => ("UpdateSafetyLeverState", vec![*id]),
        ("GET", ["tags", arn]) => ("ListTagsForResource", vec![*arn]),
        ("POST", ["tags", arn]) => ("TagResource", vec![*arn]),
        _ => return None,
    })
}

/// Answers one FIS operation.
pub fn answer(call: &Call<'_>) -> Result<Value, AwsError> {
    if !call.lab.config.fis.enabled {
        let message = "This account has no AWS FIS.";
        return Err(AwsError::new("AccessDeniedException", message, 403));
    }
    let answer = match call.action {
        "CreateExperimentTemplate" => templates::create(call),
        "ListExperimentTemplates" => templates::list_all(call),
        "GetExperimentTemplate" => templates::get(call),
        "DeleteExperimentTemplate" => templates::delete(call),
        "StartExperiment" => experiments::start(call),
        "ListExperiments" => experiments::list_all(call),
        "GetExperiment" => experiments::get(call),
        "StopExperiment" => experiments::stop(call),
        "ListExperimentResolvedTargets" => experiments::resolved(call),
        "ListActions" => actions(call),
        "GetAction" => action(call),
        "GetSafetyLever" => lever(call),
        "UpdateSafetyLeverState" => move_lever(call),
        "ListTagsForResource" => tags(call),
        "TagResource" => tag(call),
        other => Err(call.unknown(other)),
    };
    answer.map_err(|error| match error.code.as_str() {
        "MissingParameter" | "InvalidParameterValue" => invalid(error.message),
        _ => error,
    })
}

fn invalid(message: impl Into<String>) -> AwsError {
    AwsError::bad_request("ValidationException", message)
}

fn missing(what: &str, id: &str) -> AwsError {
    AwsError::not_found("ResourceNotFoundException", format!("{what} {id} does not exist."))
}

fn id<'c>(call: &'c Call<'_>) -> &'c str {
    call.path_ids.first().map(String::as_str).unwrap_or_default()
}

/// The page that the query asks for, as the member `name`.
fn paged<T>(
    call: &Call<'_>,
    name: &'static str,
    items: Vec<T>,
    key: impl Fn(&T) -> String,
    show: impl Fn(T) -> Value,
) -> Result<Value, AwsError> {
    let most = call.query.whole("maxResults", 1..=100)?.unwrap_or(100) as usize;
    let token = call.query.text("nextToken");
    let (items, next) = page(items, key, token, most, "ValidationException")?;
    Ok(map([
        (name, list("member", items.into_iter().map(show))),
        ("nextToken", next.into()),
    ]))
}

/// A map with names that are the caller's.
fn named(members: impl IntoIterator<Item = (String, Value)>) -> Value {
    Value::Map(members.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

/// The members of a map with names that are the caller's.
fn members<'v>(value: &'v Value, name: &str) -> Vec<(&'v str, &'v Value)> {
    match value.get(name) {
        Some(Value::Map(members)) => members.iter().map(|(name, value)| (name.as_ref(), value)).collect(),
        _ => Vec::new(),
    }
}

/// A map from texts to texts.
fn texts(value: &Value, name: &str) -> Tags {
    let pairs = members(value, name).into_iter();
    pairs
        .filter_map(|(name, value)| Some((name.to_owned(), value.as_text()?.to_owned())))
        .collect()
}

fn shown_texts(texts: &Tags) -> Value {
    named(texts.iter().map(|(name, value)| (name.clone(), value.into())))
}

fn shown_action(call: &Call<'_>, offer: &offer::Offer) -> Value {
    let targets = offer
        .target
        .map(|(key, kind)| (key.to_owned(), map([("resourceType", kind.into())])));
    let parameters = offer.parameters.iter().map(|(name, required)| {
        let one = map([("description", (*name).into()), ("required", (*required).into())]);
        ((*name).to_owned(), one)
    });
    map([
        ("id", offer.id.into()),
        (
            "arn",
            format!("arn:aws:fis:{}:aws:action/{}", call.region, offer.id).into(),
        ),
        ("description", offer.description.into()),
        ("parameters", named(parameters)),
        ("targets", named(targets)),
        ("tags", Value::empty()),
    ])
}

fn actions(call: &Call<'_>) -> Result<Value, AwsError> {
    let all = offer::OFFERS.iter().collect();
    paged(
        call,
        "actions",
        all,
        |one| one.id.to_owned(),
        |one| shown_action(call, one),
    )
}

fn action(call: &Call<'_>) -> Result<Value, AwsError> {
    let offer = offer::offer(id(call)).ok_or_else(|| missing("Action", id(call)))?;
    Ok(map([("action", shown_action(call, offer))]))
}

fn shown_lever(call: &Call<'_>, lever: &Lever) -> Value {
    let account = &call.lab.config.account;
    let state = map([
        ("status", if lever.engaged { "engaged" } else { "disengaged" }.into()),
        ("reason", (&lever.reason).into()),
    ]);
    let one = map([
        ("id", LEVER.into()),
        (
            "arn",
            format!("arn:aws:fis:{}:{account}:safety-lever/{LEVER}", call.region).into(),
        ),
        ("state", state),
    ]);
    map([("safetyLever", one)])
}

fn is_lever(call: &Call<'_>) -> Result<(), AwsError> {
    if id(call) == LEVER {
        Ok(())
    } else {
        Err(missing("Safety lever", id(call)))
    }
}

fn lever(call: &Call<'_>) -> Result<Value, AwsError> {
    is_lever(call)?;
    let world = call.lab.world();
    let region = world.regions.get(call.region).ok_or_else(|| call.unknown_region())?;
    Ok(shown_lever(call, &region.fis.lever))
}

fn move_lever(call: &Call<'_>) -> Result<Value, AwsError> {
    is_lever(call)?;
    let state = call.input.get("state").cloned().unwrap_or(Value::Null);
    let reason = state.required("reason")?.to_owned();
    let engaged = match state.required("status")? {
        "engaged" => true,
        "disengaged" => false,
        other => return Err(invalid(format!("{other} is no state of the safety lever."))),
    };
    let lever = fis::move_lever(call.lab, call.region, engaged, reason)?;
    Ok(shown_lever(call, &lever))
}

/// Does something with the tags of the template or experiment in the path.
fn with_tags<T>(call: &Call<'_>, act: impl FnOnce(&mut Tags) -> T) -> Result<T, AwsError> {
    let arn = id(call);
    let mut world = call.lab.world();
    let region = world
        .regions
        .get_mut(call.region)
        .ok_or_else(|| call.unknown_region())?;
    let fis = &mut region.fis;
    let templates = fis.templates.values_mut().map(|one| (&one.arn, &mut one.tags));
    let experiments = fis.experiments.values_mut().map(|one| (&one.arn, &mut one.tags));
    let mut all = templates.chain(experiments);
    let (_, tags) = all
        .find(|(one, _)| *one == arn)
        .ok_or_else(|| missing("Resource", arn))?;
    Ok(act(tags))
}

fn tags(call: &Call<'_>) -> Result<Value, AwsError> {
    with_tags(call, |tags| map([("tags", shown_texts(tags))]))
}

fn tag(call: &Call<'_>) -> Result<Value, AwsError> {
    let more = texts(&call.input, "tags");
    with_tags(call, |tags| tags.extend(more)).map(|()| Value::Null)
}
