//! STS: whose account this is, and who asks.

use super::{AwsError, Reader};

/// Whom the credentials belong to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// Id of the account.
    pub account: String,
    /// ARN of the user, or of the session of a role.
    pub arn: String,
}

impl Reader {
    /// Whom the credentials belong to.
    pub async fn caller(&self, region: &str) -> Result<Caller, AwsError> {
        const ACTION: &str = "sts:GetCallerIdentity";
        let clients = self.region(ACTION, region)?;
        let request = clients.sts.get_caller_identity();
        let answer = clients.gate.call(ACTION, request.send()).await?;
        let missing = |what| move || AwsError::incomplete(ACTION, region, what);
        Ok(Caller {
            account: answer.account.ok_or_else(missing("account"))?,
            arn: answer.arn.ok_or_else(missing("ARN"))?,
        })
    }
}
