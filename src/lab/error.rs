//! An error as AWS answers it: code, message, HTTP status. `control` puts it on the wire in each protocol's shape.
//! Holds no errors of the lab itself, only what a caller of AWS would see.

/// What AWS answers instead of a result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct AwsError {
    /// AWS's error code, e.g. `InvalidInstanceID.NotFound`.
    pub code: String,
    /// AWS's sentence.
    pub message: String,
    /// HTTP status.
    pub status: u16,
}

impl AwsError {
    /// An error with its code, message and HTTP status.
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>, status: u16) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            status,
        }
    }

    /// A client error with status 400, the one most services use for everything.
    #[must_use]
    pub fn bad_request(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(code, message, 400)
    }

    /// A client error with status 404.
    #[must_use]
    pub fn not_found(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(code, message, 404)
    }
}
