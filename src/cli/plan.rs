//! `tenfold plan`: everything `run` would do, resolved against the target, and nothing of it done; `--preview` is beside.

use std::path::Path;

use crate::cli::args::{PlanArguments, ProfileArguments};
use crate::cli::exit::{Exit, Failure};
use crate::cli::target::Target;
use crate::cli::{approval, out, preview, profile, target};
use crate::config::Config;
use crate::plan::{self, Plan};

/// The plan with the hash that an approval names.
#[derive(serde::Serialize)]
struct Shown<'p> {
    #[serde(flatten)]
    plan: &'p Plan,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
}

/// Prints the plan.
pub(super) async fn plan(arguments: PlanArguments) -> Result<Exit, Failure> {
    with_target(&arguments.profile, async |target, resolved| {
        let printed = print(&arguments, &resolved, target.is_own_lab())?;
        if arguments.preview {
            return preview::preview(target, &resolved).await;
        }
        Ok(printed)
    })
    .await
}

/// Does something with a target that was connected to and a plan for it, and ends the target if it is a lab of ours,
/// whose files nobody needs.
pub(super) async fn with_target<T>(
    arguments: &ProfileArguments,
    work: impl AsyncFnOnce(&Target, Plan) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let config = profile::load(arguments)?;
    target::check(&config, arguments)?;
    let scratch = std::env::temp_dir().join(format!("tenfold-plan-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).map_err(|error| {
        Failure::usage(anyhow::Error::new(error).context(format!("cannot create {}", scratch.display())))
    })?;
    let done = connected(&config, arguments, &scratch, work).await;
    // What is left behind is the lab's configuration and its log; nobody needs them, and their absence is no error.
    let _ = std::fs::remove_dir_all(&scratch);
    done
}

async fn connected<T>(
    config: &Config,
    arguments: &ProfileArguments,
    scratch: &Path,
    work: impl AsyncFnOnce(&Target, Plan) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let target = target::connect(config, arguments, scratch).await?;
    let done = match target.plan(config, arguments) {
        Ok(resolved) => work(&target, resolved).await,
        Err(failure) => Err(failure),
    };
    target.end().await;
    done
}

fn print(arguments: &PlanArguments, resolved: &Plan, own_lab: bool) -> Result<Exit, Failure> {
    let hash = approval::shown(resolved, own_lab);
    if arguments.json {
        out::json(&Shown { plan: resolved, hash })?;
        return Ok(Exit::Met);
    }
    let mut text = plan::print(resolved);
    if let Some(hash) = hash {
        text.push_str(&format!("\nhash {hash}\n"));
    }
    out::print(&text)?;
    Ok(Exit::Met)
}
