//! IAM: which actions a principal may use, by simulation. Changes nothing.

use std::collections::BTreeMap;

use super::{AwsError, Reader};

/// Actions of one simulation; the service takes 2,000 characters of them in all for some principals, so few at a time.
const ACTIONS_AT_ONCE: usize = 25;

impl Reader {
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
