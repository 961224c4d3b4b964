//! STS: whose account this is, and who asks.

use super::{AwsError, Reader};

impl Reader {
    /// Id of the account that the credentials belong to.
    pub async fn account(&self, region: &str) -> Result<String, AwsError> {
        const ACTION: &str = "sts:GetCallerIdentity";
        let clients = self.region(ACTION, region)?;
        let answer = clients
            .gate
            .call(ACTION, clients.sts.get_caller_identity().send())
            .await?;
        answer
            .account
            .ok_or_else(|| AwsError::incomplete(ACTION, region, "account"))
    }

    /// ARN of whom the credentials belong to.
    pub async fn caller(&self, region: &str) -> Result<String, AwsError> {
        const ACTION: &str = "sts:GetCallerIdentity";
        let clients = self.region(ACTION, region)?;
        let request = clients.sts.get_caller_identity();
        let answer = clients.gate.call(ACTION, request.send()).await?;
        answer.arn.ok_or_else(|| AwsError::incomplete(ACTION, region, "ARN"))
    }
}
