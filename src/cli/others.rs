//! One run at a time in an account and Region, wherever the others are: what a run has claimed, or has in the world, says
//! whose it is. That two which begin together do not both go on is `claim`'s; the lock of this machine is in `lock`.

use anyhow::anyhow;

use crate::aws::Reader;
use crate::cli::exit::{Exit, Failure};
use crate::cli::out;
use crate::clock::Clock;
use crate::plan::TargetPlan;
use crate::run::chaos::{self, ChaosError};

/// Fails where another run has something in the account, or left it there.
pub(super) async fn none(reader: &Reader, target: &TargetPlan, clock: &Clock) -> Result<(), Failure> {
    let unreachable = |error: ChaosError| {
        Failure::unreachable(anyhow::Error::new(error).context("cannot see whether another run is under way"))
    };
    let found = chaos::in_account(reader, clock.pace()).await.map_err(unreachable)?;
    for unseen in &found.unseen {
        out::tell(&format!(
            "warning: runs of other machines are not looked for everywhere: {unseen}"
        ));
    }
    for strange in &found.strange {
        out::tell(&format!(
            "warning: {strange} is a run's, but does not say how it is undone"
        ));
    }
    let Some(first) = found.left.first() else {
        return Ok(());
    };
    let account = target.account.as_deref().unwrap_or("unknown");
    let scan = format!("tenfold revert --scan --target FILE, with the file of {}", target.name);
    let (exit, what, hint) = if found.left.iter().all(|one| one.is_expired(clock.cloud_unix())) {
        let what = "a run has ended and left something";
        (Exit::Unreverted, what, format!("undo it first with: {scan}"))
    } else {
        let what = "another run is under way, perhaps on another machine, or died";
        let hint = format!("wait for its end; if it died, undo what it left with: {scan} and --all");
        (Exit::Usage, what, hint)
    };
    Err(Failure {
        exit,
        error: anyhow!(
            "{what} in account {account}: {first}\nhint: two runs would measure each other's faults; {hint}"
        ),
    })
}
