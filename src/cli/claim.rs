//! A run claims the Regions of its target before it sends anything, and gives them back when all it did is reverted. How is
//! `run::chaos::claim`'s business; in a lab of its own nobody else is.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use tokio::sync::{mpsc, oneshot};

use crate::cli::exit::{Exit, Failure};
use crate::cli::out;
use crate::cli::run_dir::{JOURNAL, RunDir};
use crate::cli::target::Target;
use crate::event::FaultId;
use crate::plan::Plan;
use crate::run::chaos::{ChaosError, Claims, Journal};
use crate::run::director::Interrupt;

/// Real time after which it is told what is waited for.
const SLOW: Duration = Duration::from_secs(3);

/// What a run has claimed; where it shares the account with nobody, nothing.
pub(super) struct Claimed(Option<Claims>);

/// Claims every Region, unless somebody else has; what failed is given back.
pub(super) async fn claim(
    target: &Target,
    plan: &Plan,
    journal: Option<&Arc<Journal>>,
    interrupts: &mut mpsc::Receiver<Interrupt>,
    run_dir: &RunDir,
) -> Result<Claimed, Failure> {
    let (Some((_, cloud)), Some(journal), false) = (&target.account, journal, target.is_own_lab()) else {
        return Ok(Claimed(None));
    };
    let mut claims = Claims::of(plan, cloud.clone(), Arc::clone(journal), target.clock);
    let made = tokio::select! {
        made = claims.make() => made.map_err(|error| failure(error, plan)),
        Some(_) = interrupts.recv() => Err(Failure {
            exit: Exit::Interrupted,
            error: anyhow!("interrupted before the load began"),
        }),
    };
    let claimed = Claimed(Some(claims));
    match made {
        Ok(()) => Ok(claimed),
        Err(failure) => Err(claimed.withdraw(failure, plan, run_dir).await),
    }
}

impl Claimed {
    /// Does something while it renews the claims, and has the run end where one is lost.
    pub(super) async fn during<T>(&self, interrupts: &mpsc::Sender<Interrupt>, work: impl Future<Output = T>) -> T {
        let Some(claims) = &self.0 else { return work.await };
        let (over, is_over) = oneshot::channel::<()>();
        let work = async {
            let done = work.await;
            drop(over);
            done
        };
        let kept = async {
            let lost = claims.keep(async { drop(is_over.await) }).await;
            if let Some(lost) = lost {
                // A run that is over needs no end.
                let _ = interrupts.send(Interrupt::ClaimLost(lost)).await;
            }
        };
        tokio::join!(work, kept).0
    }

    /// Gives everything back; what could not be, with how to undo it by hand.
    pub(super) async fn give_back(self) -> Vec<(FaultId, String)> {
        let Some(claims) = self.0 else { return Vec::new() };
        let released = claims.release();
        tokio::pin!(released);
        tokio::select! {
            left = &mut released => return left,
            () = tokio::time::sleep(SLOW) => out::tell("taking this run's claims off the account; AWS does not answer yet"),
        }
        released.await
    }

    /// Gives everything back after the run could not begin; what it fails with. Nothing is worth keeping of such a run
    /// unless something of it is left.
    pub(super) async fn withdraw(self, failure: Failure, plan: &Plan, run_dir: &RunDir) -> Failure {
        let left = self.give_back().await;
        if left.is_empty() {
            // Only a journal that tells of nothing is lost with it.
            let _ = run_dir.remove(JOURNAL);
            return failure;
        }
        out::tell_left(&left, plan.target.endpoint.as_deref());
        let error = anyhow!(
            "{failure}\nhint: a claim is left; undo it with: tenfold revert {}",
            run_dir.path().display()
        );
        Failure {
            exit: Exit::Unreverted,
            error,
        }
    }
}

fn failure(error: ChaosError, plan: &Plan) -> Failure {
    let account = plan.target.account.as_deref().unwrap_or("unknown");
    match error {
        ChaosError::Claimed(other) => Failure::usage(anyhow!(
            "another run has begun meanwhile in account {account}, perhaps on another machine: {other}\n\
             hint: where two begin at the same time both may withdraw; agree which of them begins again"
        )),
        ChaosError::Aws(error) if error.is_transient() => {
            Failure::unreachable(anyhow::Error::new(error).context("cannot claim the account for this run"))
        }
        other => Failure::usage(anyhow!(
            "cannot claim account {account} for this run: {other}\n\
             hint: `tenfold plan` prints the policy to claim, and `tenfold doctor` asks whether it is granted"
        )),
    }
}
