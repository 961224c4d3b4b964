//! What most likely helps against an answer of AWS, by its kind; `doctor` says it, and every command that AWS ends.

use crate::aws::{AwsError, ErrorKind};
use crate::run::chaos::ChaosError;

/// What AWS said, wherever among the causes of an error it is.
pub(super) fn said_by_aws(error: &anyhow::Error) -> Option<&AwsError> {
    error.chain().find_map(|cause| {
        let within = || match cause.downcast_ref() {
            Some(ChaosError::Aws(error)) => Some(error),
            _ => None,
        };
        cause.downcast_ref::<AwsError>().or_else(within)
    })
}

/// What most likely helps; the endpoint where it is known to be another than AWS's.
pub(super) fn remedy(error: &AwsError, endpoint: Option<&str>) -> String {
    let AwsError { action, region, .. } = error;
    let no_credentials = error.message.to_lowercase().contains("credential");
    match (error.kind, error.code.as_str(), endpoint) {
        (ErrorKind::Denied, "ExpiredToken" | "InvalidClientTokenId" | "SignatureDoesNotMatch" | "AuthFailure", _) => {
            format!(
                "get fresh credentials; `aws sts get-caller-identity` shows whether they are believed, and if they are, \
                 {region} is no Region that is enabled for the account"
            )
        }
        (ErrorKind::Denied, ..) => format!("allow {action} in {region} to whoever the credentials belong to"),
        (ErrorKind::Throttled, ..) => "other callers use the account's rate up; try again in a minute".to_owned(),
        _ if no_credentials => {
            "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; the SDK found none that it could use"
                .to_owned()
        }
        (ErrorKind::Unreachable, "DispatchFailure" | "Timeout", Some(endpoint)) => {
            format!(
                "nobody answers at {endpoint}; start it, or correct `endpoint` of the target (a lab has another one each time)"
            )
        }
        (ErrorKind::Unreachable, "DispatchFailure" | "Timeout", None) => {
            format!("check `regions` ({region}) and `endpoint` of the target, the network from here, and HTTPS_PROXY")
        }
        (ErrorKind::Unreachable, ..) => {
            "AWS had an error of its own; try again, and look at the AWS Health Dashboard".to_owned()
        }
        (ErrorKind::NotFound | ErrorKind::Other, ..) => {
            format!("correct what the target names, by what {action} says of it")
        }
    }
}
