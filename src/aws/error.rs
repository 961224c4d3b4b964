//! What went wrong with a call, in AWS's own words and one of a few kinds. Carries no request, so no secrets.

use std::error::Error;

use aws_sdk_ec2::config::http::HttpResponse;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};

/// Longest message kept; some endpoints answer with whole pages.
const MESSAGE_MAX: usize = 400;

/// A failed AWS call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{action} in {region} failed: {code}: {message}")]
pub struct AwsError {
    /// `ec2:DescribeInstances`.
    pub action: &'static str,
    /// Region the call went to.
    pub region: String,
    /// AWS's error code, or a word of ours where no answer came.
    pub code: String,
    /// AWS's message.
    pub message: String,
    /// What kind of failure it is.
    pub kind: ErrorKind,
    /// How many times the call was tried.
    pub attempts: u32,
}

/// Kinds of failure that callers treat differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Too many calls.
    Throttled,
    /// No answer, or a 5xx: the service could not do its work.
    Unreachable,
    /// The credentials are not allowed to do this.
    Denied,
    /// The resource does not exist.
    NotFound,
    /// Anything else that AWS refused.
    Other,
}

/// The result of a changing call, with what failed before it succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Called<T> {
    /// The answer.
    pub value: T,
    /// Failures of earlier attempts, oldest first.
    pub retried: Vec<AwsError>,
}

impl AwsError {
    /// Code and message, as events show them.
    #[must_use]
    pub fn brief(&self) -> String {
        format!("{}: {}", self.code, self.message)
    }

    /// Whether the same call may succeed a moment later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, ErrorKind::Throttled | ErrorKind::Unreachable)
    }

    /// An answer that lacks what AWS always gives.
    pub(super) fn incomplete(action: &'static str, region: &str, missing: &str) -> Self {
        Self {
            action,
            region: region.to_owned(),
            code: "IncompleteAnswer".to_owned(),
            message: format!("the answer has no {missing}"),
            kind: ErrorKind::Other,
            attempts: 1,
        }
    }

    /// A resource that a describe call did not return.
    pub(super) fn absent(action: &'static str, region: &str, what: &str) -> Self {
        Self {
            action,
            region: region.to_owned(),
            code: "NotFound".to_owned(),
            message: format!("{what} does not exist"),
            kind: ErrorKind::NotFound,
            attempts: 1,
        }
    }

    pub(super) fn from_sdk<E>(action: &'static str, region: &str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let (code, message) = match error {
            SdkError::ServiceError(service) => {
                let code = service.err().code().map(str::to_owned);
                let message = service.err().message().unwrap_or("no message").to_owned();
                (code, message)
            }
            SdkError::TimeoutError(_) => (Some("Timeout".to_owned()), "no answer in time".to_owned()),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => {
                (Some("Timeout".to_owned()), "no answer in time".to_owned())
            }
            SdkError::DispatchFailure(_) => (Some("DispatchFailure".to_owned()), chain(error)),
            other => (None, chain(other)),
        };
        let answered = matches!(error, SdkError::ServiceError(_) | SdkError::ResponseError(_));
        let code = code.unwrap_or_else(|| status.map_or("NoCode".to_owned(), |status| format!("Http{status}")));
        Self {
            action,
            region: region.to_owned(),
            kind: kind(&code, status, answered),
            code,
            message: message.chars().take(MESSAGE_MAX).collect(),
            attempts: 1,
        }
    }
}

fn kind(code: &str, status: Option<u16>, answered: bool) -> ErrorKind {
    const THROTTLED: [&str; 7] = [
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
        "PriorRequestNotComplete",
        "RequestThrottled",
    ];
    const DENIED: [&str; 8] = [
        "UnauthorizedOperation",
        "AccessDenied",
        "AccessDeniedException",
        "AuthFailure",
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "OptInRequired",
    ];
    if THROTTLED.contains(&code) || status == Some(429) {
        ErrorKind::Throttled
    } else if DENIED.contains(&code) || status == Some(403) {
        ErrorKind::Denied
    } else if !answered || status.is_some_and(|status| status >= 500) {
        ErrorKind::Unreachable
    } else if code.ends_with("NotFound")
        || code.ends_with("NotFoundFault")
        || code == "ResourceNotFoundException"
        || code.starts_with("NoSuch")
    {
        ErrorKind::NotFound
    } else {
        ErrorKind::Other
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_fall_into_the_kinds_that_callers_act_on() {
        let cases = [
            ("RequestLimitExceeded", Some(503), true, ErrorKind::Throttled),
            ("Throttling", Some(400), true, ErrorKind::Throttled),
            ("UnauthorizedOperation", Some(403), true, ErrorKind::Denied),
            ("InternalError", Some(500), true, ErrorKind::Unreachable),
            ("Timeout", None, false, ErrorKind::Unreachable),
            ("InvalidInstanceID.NotFound", Some(400), true, ErrorKind::NotFound),
            ("DBInstanceNotFound", Some(404), true, ErrorKind::NotFound),
            ("ResourceNotFoundException", Some(404), true, ErrorKind::NotFound),
            ("NoSuchHealthCheck", Some(404), true, ErrorKind::NotFound),
            ("InvalidDBInstanceState", Some(400), true, ErrorKind::Other),
        ];
        for (code, status, answered, expected) in cases {
            assert_eq!(kind(code, status, answered), expected, "{code}");
        }
    }
}
