//! Whether a run may begin now: what is asked before anybody looks at what it would do, by `run` itself and by all that
//! tell beforehand what it would say.

use anyhow::anyhow;
use jiff::Timestamp;

use crate::aws::Reader;
use crate::cli::exit::{Exit, Failure};
use crate::cli::lock::Lock;
use crate::cli::others;
use crate::cli::run_dir::RunDir;
use crate::cli::target::Target;
use crate::plan::Plan;
use crate::run::chaos;

/// Fails where the run may not begin; what nobody else may begin meanwhile.
pub(super) async fn may(target: &Target, plan: &Plan, run_dir: &RunDir) -> Result<Option<Lock>, Failure> {
    if !plan.has_faults() {
        return Ok(None);
    }
    in_window(plan)?;
    let Some(reader) = outside(target) else {
        return Ok(None);
    };
    its_account(plan)?;
    let lock = Lock::take(plan, run_dir.path())?;
    others::none(reader, &plan.target, &target.clock).await?;
    is_allowed(plan)?;
    hits_something(plan, reader).await?;
    Ok(Some(lock))
}

/// Why no run of this plan would begin now whatever the hour: the account is another one, somebody else is at it, or has
/// left something.
pub(super) async fn against(target: &Target, plan: &Plan) -> Vec<Failure> {
    let (true, Some(reader)) = (plan.has_faults(), outside(target)) else {
        return Vec::new();
    };
    if let Err(failure) = its_account(plan) {
        return vec![failure];
    }
    match Lock::look(plan) {
        // What holds the lock is most likely what is found in the account.
        Err(failure) => vec![failure],
        Ok(()) => Vec::from_iter(others::none(reader, &plan.target, &target.clock).await.err()),
    }
}

/// Whether every fault of a run that begins now would come when the target may be touched.
pub(super) fn in_window(plan: &Plan) -> Result<(), Failure> {
    match chaos::closed(plan, Timestamp::now()) {
        None => Ok(()),
        Some((fault, why)) => Err(Failure::usage(anyhow!(
            "begun now, {fault} would come when it may not: {why}\n\
             hint: begin when the target allows it, or change `allow` with its owner"
        ))),
    }
}

/// The account, unless it is that of a lab of its own: it ends with the run, and takes with it whatever was done to it.
fn outside(target: &Target) -> Option<&Reader> {
    let account = target.account.as_ref().filter(|_| !target.is_own_lab());
    account.map(|(reader, _)| reader)
}

/// Whether the credentials are of the account that the target names.
fn its_account(plan: &Plan) -> Result<(), Failure> {
    if !plan.is_of_another_account() {
        return Ok(());
    }
    let text = |account: &Option<String>| account.clone().unwrap_or_default();
    let (expected, found) = (text(&plan.target.account), text(&plan.target.inventory.account));
    Err(Failure::usage(anyhow!(
        "the credentials belong to account {found}, the target is {expected}\n\
         hint: use credentials of {expected}, or correct `account` of the target with its owner"
    )))
}

/// Whether what the faults would hit is marked as allowed, as far as the plan knows.
pub(super) fn is_allowed(plan: &Plan) -> Result<(), Failure> {
    match chaos::not_allowed(plan) {
        None => Ok(()),
        Some((fault, why)) => Err(Failure::usage(anyhow!(
            "{fault} would be refused: {why}\n\
             hint: its owner marks what may be broken by the tag that `allow` of the target names; see all of it with: --dry-run"
        ))),
    }
}

/// Whether every fault that finds nothing in the plan would find something all the same; its guards say.
async fn hits_something(plan: &Plan, reader: &Reader) -> Result<(), Failure> {
    let mut faults = plan.experiments.iter().flat_map(|experiment| &experiment.faults);
    if faults.all(|fault| !fault.resources.is_empty()) {
        return Ok(());
    }
    let rehearsed = chaos::rehearse(plan, reader, Timestamp::now()).await;
    let empty = rehearsed.into_iter().filter(|one| one.plan.resources.is_empty());
    for one in empty {
        let Err(why) = one.hits else { continue };
        let exit = match &why {
            chaos::ChaosError::Aws(error) if error.is_transient() => Exit::Unreachable,
            _ => Exit::Usage,
        };
        return Err(Failure {
            exit,
            error: anyhow!(
                "{} would be refused now: {why}\nhint: correct `roles` of the target; see all of it with: --dry-run",
                one.fault
            ),
        });
    }
    Ok(())
}
