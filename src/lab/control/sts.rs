//! STS over `awsQuery`: whose account this is.

use super::Call;
use super::value::{Value, map};
use crate::lab::error::AwsError;

/// Answers one STS operation.
pub fn answer(call: &Call<'_>) -> Result<Value, AwsError> {
    match call.action {
        "GetCallerIdentity" => {
            let account = call.lab.world().account.clone();
            Ok(map([
                ("Arn", format!("arn:aws:iam::{account}:user/tenfold").into()),
                ("UserId", "AIDAEXAMPLEEXAMPLE12".into()),
                ("Account", account.into()),
            ]))
        }
        other => Err(call.unknown(other)),
    }
}
