//! `api.errors`: the IAM role whose calls AWS FIS lets fail. Neither the one that FIS acts as, nor the run's own.

use super::before::Before;
use super::injection::Context;
use super::runner::Sight;
use super::{ChaosError, guard};
use crate::plan::Role;

pub(super) async fn prepare(sight: &Sight<'_>, context: &Context<'_>, role: &str) -> Result<Before, ChaosError> {
    let Some(Role::IamRole(name)) = context.target.roles.get(role) else {
        return Err(ChaosError::Refused("its role is not an IAM role".to_owned()));
    };
    let found = sight.reader.iam_role(name).await?;
    let found = found.ok_or_else(|| ChaosError::Refused(format!("there is no IAM role {name}; nothing to hit")))?;
    context.may_touch(name, &found.tags)?;
    let caller = sight.reader.caller(sight.region).await?.arn;
    let own = std::iter::once(&caller).chain(&context.target.assume);
    guard::not_own_role(own.map(String::as_str), &found.arn)
        .and_then(|()| guard::not_fis_role(context.target.fis_role.as_deref(), &found.arn))
        .map_err(ChaosError::Refused)?;
    Ok(Before::ApiErrors { role: found.arn })
}
