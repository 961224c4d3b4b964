//! IAM: roles, and which actions a principal may use, by simulation. Changes nothing.

use std::collections::BTreeMap;

use super::{AwsError, ErrorKind, Reader, Tags};

/// Actions of one simulation; the service takes 2,000 characters of them in all for some principals, so few at a time.
const ACTIONS_AT_ONCE: usize = 25;

/// An IAM role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IamRole {
    /// ARN.
    pub arn: String,
    /// Tags.
    pub tags: Tags,
}

impl Reader {
    /// The role of this name; none where there is none.
    pub async fn iam_role(&self, name: &str) -> Result<Option<IamRole>, AwsError> {
        const ACTION: &str = "iam:GetRole";
        let request = self.shared.iam.get_role().role_name(name);
        let answer = match self.global().call(ACTION, request.send()).await {
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
            answer => answer?,
        };
        Ok(answer.role.map(|role| IamRole {
            arn: role.arn,
            tags: role
                .tags
                .unwrap_or_default()
                .into_iter()
                .map(|tag| (tag.key, tag.value))
                .collect(),
        }))
    }

    /// What SimulatePrincipalPolicy says of each action: `allowed`, `explicitDeny` or `implicitDeny`. It knows the
    /// principal's policies, its boundary and the organization's, but not conditions on what is not given here.
    pub async fn simulate(&self, principal: &str, actions: &[&str]) -> Result<BTreeMap<String, String>, AwsError> {
        const ACTION: &str = "iam:SimulatePrincipalPolicy";
        let mut decisions = BTreeMap::new();
        for some in actions.chunks(ACTIONS_AT_ONCE) {
            let names = some.iter().map(|action| (*action).to_owned()).collect();
            let request = self
                .shared
                .iam
                .simulate_principal_policy()
                .policy_source_arn(principal)
                .set_action_names(Some(names));
            let pages = request.into_paginator().items().send();
            let results: Vec<_> = self.global().call(ACTION, pages.collect::<Result<_, _>>()).await?;
            for result in results {
                decisions.insert(result.eval_action_name, result.eval_decision.as_str().to_owned());
            }
        }
        Ok(decisions)
    }
}
