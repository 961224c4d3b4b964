//! `tenfold revert RUN_DIR`: undoes what a dead run left in the world, from its journal.

use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;

use crate::aws::{Clients, ConnectOptions};
use crate::cli::args::RevertArguments;
use crate::cli::control::{self, Alive};
use crate::cli::exit::{Exit, Failure};
use crate::cli::lab_child::LAB_CONFIG;
use crate::cli::out;
use crate::cli::run_dir::{JOURNAL, RunDir};
use crate::cli::scan;
use crate::cli::target::credentials;
use crate::event::FaultId;
use crate::plan::Plan;
use crate::run::chaos::{self, ChaosError};
use crate::units::format_duration;

/// Real time within which a lab that still runs accepts a connection.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// Reverts a dead run.
pub(super) async fn revert(arguments: RevertArguments) -> Result<Exit, Failure> {
    match (arguments.run_dir, arguments.target) {
        (Some(run_dir), _) => revert_run(&run_dir).await,
        (None, Some(target)) => scan::scan(&target, arguments.all).await,
        (None, None) => Err(anyhow!("a run directory is missing\nhint: give one, or --scan --target FILE").into()),
    }
}

async fn revert_run(run_dir: &Path) -> Result<Exit, Failure> {
    let run_dir = RunDir::open(run_dir)?;
    let journal = run_dir.file(JOURNAL);
    if !journal.exists() {
        let hint = "without it nothing is known of what the run did; what it left in the account is found with: \
                    tenfold revert --scan --target FILE";
        return Err(anyhow!("{} does not exist\nhint: {hint}", journal.display()).into());
    }
    let plan = run_dir.load_plan()?;
    if own_lab_is_gone(&run_dir, &plan).await {
        out::line("the lab of this run has ended, and its cloud with it; nothing is left to undo")?;
        return Ok(Exit::Met);
    }
    let clients = connect(&plan).await;
    // Who goes on keeps what it has claimed: nobody else may begin meanwhile.
    let alive = control::alive(run_dir.path()).await;
    let chosen = |fault: &FaultId| alive.is_none() || !fault.is_claim();
    let summary = chaos::revert_journal(&journal, &clients.writer(), chosen)
        .await
        .map_err(failure)?;
    let mut printed = Ok(());
    for done in &summary.reverted {
        // What failed must be told whatever becomes of standard output.
        printed = printed.and(out::line(&format!("reverted: {done}")));
    }
    out::tell_left(&summary.failed, plan.target.endpoint.as_deref());
    if summary.failed.is_empty() {
        if summary.unreadable > 0 {
            out::tell_unreadable(summary.unreadable);
            return Ok(Exit::Unreverted);
        }
        printed?;
        match &alive {
            None => out::line("nothing of this run is in the world")?,
            Some(alive) => out::line(&format!(
                "no fault of this run is in the world; it goes on (process {}) and keeps its claims",
                alive.process
            ))?,
        }
        return goes_on(alive, &run_dir, &plan).map(|()| Exit::Met);
    }
    let again = run_dir.path().display();
    out::tell(&format!(
        "hint: once AWS can be reached, undo it with: tenfold revert {again}"
    ));
    Ok(Exit::Unreverted)
}

/// Fails where the run lives and is yet to inject something: what was found is true for a moment only.
fn goes_on(alive: Option<Alive>, run_dir: &RunDir, plan: &Plan) -> Result<(), Failure> {
    let Some(alive) = alive else {
        return Ok(());
    };
    let begun = chaos::begun(&run_dir.file(JOURNAL)).map_err(failure)?;
    let yet: Vec<String> = chaos::in_time(plan)
        .into_iter()
        .filter(|(id, fault)| fault.at.as_secs_f64() >= alive.schedule && !begun.contains(id))
        .map(|(id, fault)| format!("{id} {} at {}", fault.fault.name(), format_duration(fault.at)))
        .collect();
    if yet.is_empty() {
        return Ok(());
    }
    let at = format_duration(Duration::from_secs(alive.schedule as u64));
    let process = alive.process;
    Err(Failure::usage(anyhow!(
        "but the run goes on (process {process}), is at {at}, and will inject {}\n\
         hint: stop it with Ctrl-C where it runs, or with: kill -TERM {process}",
        yet.join(", ")
    )))
}

/// Clients of the account that a saved run touched.
pub(super) async fn connect(plan: &Plan) -> Clients {
    Clients::connect(&ConnectOptions {
        endpoint: plan.target.endpoint.clone(),
        regions: plan.target.regions.clone(),
        pace: plan.pace,
        assume: plan.target.assume.clone(),
        credentials: credentials(plan.target.endpoint.as_deref()),
    })
    .await
}

/// Whether the run's cloud was the lab that `run` starts and ends, and that lab does not answer any more.
async fn own_lab_is_gone(run_dir: &RunDir, plan: &Plan) -> bool {
    let endpoint = plan
        .target
        .endpoint
        .as_deref()
        .and_then(|url| url.strip_prefix("http://"));
    let Some(address) = endpoint.filter(|_| run_dir.file(LAB_CONFIG).exists()) else {
        return false;
    };
    let answer = tokio::time::timeout(ANSWERS_WITHIN, tokio::net::TcpStream::connect(address)).await;
    matches!(answer, Ok(Err(_)))
}

pub(super) fn failure(error: ChaosError) -> Failure {
    match error {
        ChaosError::StillThere { .. } => Failure {
            exit: Exit::Unreverted,
            error: error.into(),
        },
        ChaosError::Aws(_) => Failure::unreachable(anyhow::Error::new(error).context("cannot reach AWS")),
        _ => Failure::usage(error),
    }
}
