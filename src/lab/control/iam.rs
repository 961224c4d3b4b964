//! IAM over `awsQuery`, as far as a simulation needs it: the lab's only policy is the list of what is denied.

use super::Call;
use super::value::{Value, fault, list, map};
use crate::lab::error::AwsError;

/// Answers one IAM operation.
pub fn answer(call: &Call<'_>) -> Result<Value, AwsError> {
    match call.action {
        "SimulatePrincipalPolicy" => simulate(call),
        other => Err(call.unknown(other)),
    }
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
