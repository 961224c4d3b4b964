//! `tenfold plan`: everything `run` would do, resolved against the target, and nothing of it done.

use crate::cli::args::PlanArguments;
use crate::cli::exit::{Exit, Failure};
use crate::cli::{out, profile, target};
use crate::plan;

/// Prints the plan.
pub(super) async fn plan(arguments: PlanArguments) -> Result<Exit, Failure> {
    let config = profile::load(&arguments.profile)?;
    target::check(&config, &arguments.profile)?;
    let scratch = std::env::temp_dir().join(format!("tenfold-plan-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).map_err(|error| {
        Failure::usage(anyhow::Error::new(error).context(format!("cannot create {}", scratch.display())))
    })?;
    let printed = print(&arguments, &config, &scratch).await;
    // What is left behind is the lab's configuration and its log; nobody needs them, and their absence is no error.
    let _ = std::fs::remove_dir_all(&scratch);
    printed
}

async fn print(
    arguments: &PlanArguments,
    config: &crate::config::Config,
    scratch: &std::path::Path,
) -> Result<Exit, Failure> {
    let target = target::connect(config, &arguments.profile, scratch).await?;
    let resolved = target.plan(config, &arguments.profile);
    target.end().await;
    let resolved = resolved?;
    if arguments.json {
        out::json(&resolved)?;
    } else {
        out::print(&plan::print(&resolved))?;
    }
    Ok(Exit::Met)
}
