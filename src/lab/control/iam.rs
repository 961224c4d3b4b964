//! IAM over `awsQuery`: roles to look at, and a simulation; the lab's only policy is the list of what is denied.

use super::Call;
use super::value::{Value, fault, list, map, time};
use crate::lab::error::AwsError;

/// Answers one IAM operation.
pub fn answer(call: &Call<'_>) -> Result<Value, AwsError> {
    match call.action {
        "GetRole" => role(call),
        "SimulatePrincipalPolicy" => simulate(call),
        other => Err(call.unknown(other)),
    }
}

fn role(call: &Call<'_>) -> Result<Value, AwsError> {
    let name = call.input.required("RoleName")?;
    let world = call.world();
    let role = world.iam_roles.get(name).ok_or_else(|| {
        let message = format!("The role with name {name} cannot be found.");
        AwsError::not_found("NoSuchEntity", message)
    })?;
    let tags = role
        .tags
        .iter()
        .map(|(key, value)| map([("Key", key.into()), ("Value", value.into())]));
    let shown = map([
        ("Path", "/".into()),
        ("RoleName", name.into()),
        ("RoleId", "AROAEXAMPLEEXAMPLE12".into()),
        ("Arn", (&role.arn).into()),
        ("CreateDate", time(role.created_at)),
        ("Tags", list("member", tags)),
    ]);
    Ok(map([("Role", shown)]))
}

fn simulate(call: &Call<'_>) -> Result<Value, AwsError> {
    let principal = call.input.required("PolicySourceArn")?;
    let account = call.lab.world().account.clone();
    if !principal.starts_with(&format!("arn:aws:iam::{account}:")) {
        return Err(fault(
            "NoSuchEntity",
            format!("The principal {principal} does not exist"),
        ));
    }
    let actions = call.input.texts("ActionNames");
    if actions.is_empty() {
        return Err(fault("ValidationError", "ActionNames must name at least one action"));
    }
    let denied = &call.lab.config.control_plane.denied;
    let results = actions.into_iter().map(|action| {
        let refused = denied.iter().any(|one| one.eq_ignore_ascii_case(action));
        let decision = if refused { "explicitDeny" } else { "allowed" };
        map([
            ("EvalActionName", action.into()),
            ("EvalResourceName", "*".into()),
            ("EvalDecision", decision.into()),
            ("MatchedStatements", list::<Value>("member", [])),
            ("MissingContextValues", list::<Value>("member", [])),
        ])
    });
    Ok(map([
        ("EvaluationResults", list("member", results)),
        ("IsTruncated", false.into()),
    ]))
}
