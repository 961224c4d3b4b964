//! `tenfold revert RUN_DIR`: undoes what a dead run left in the world, from its journal.

use anyhow::anyhow;

use crate::aws::{Clients, ConnectOptions};
use crate::cli::args::RevertArguments;
use crate::cli::exit::{Exit, Failure};
use crate::cli::run_dir::RunDir;
use crate::cli::target::credentials;
use crate::run::chaos::{self, ChaosError};

/// Reverts a dead run.
pub(super) async fn revert(arguments: RevertArguments) -> Result<Exit, Failure> {
    let run_dir = RunDir::open(&arguments.run_dir)?;
    let journal = run_dir.file("journal.jsonl");
    if !journal.exists() {
        let hint = "without it nothing is known of what the run did; check the directory";
        return Err(anyhow!("{} does not exist\nhint: {hint}", journal.display()).into());
    }
    let plan = run_dir.load_plan()?;
    let clients = Clients::connect(&ConnectOptions {
        endpoint: plan.target.endpoint.clone(),
        regions: plan.target.regions.clone(),
        pace: plan.pace,
        credentials: credentials(plan.target.endpoint.as_deref()),
    })
    .await;
    let summary = chaos::revert_journal(&journal, &clients.writer())
        .await
        .map_err(failure)?;
    for done in &summary.reverted {
        anstream::println!("reverted: {done}");
    }
    for (fault, left) in &summary.failed {
        anstream::eprintln!("error: {fault} is still in the world: {left}");
    }
    if summary.failed.is_empty() {
        anstream::println!("nothing of this run is in the world");
        return Ok(Exit::Met);
    }
    Ok(Exit::Unreverted)
}

fn failure(error: ChaosError) -> Failure {
    match error {
        ChaosError::StillThere { .. } => Failure {
            exit: Exit::Unreverted,
            error: error.into(),
        },
        ChaosError::Aws(_) => Failure::unreachable(anyhow::Error::new(error).context("cannot reach AWS")),
        _ => Failure::usage(error),
    }
}
