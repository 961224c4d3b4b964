//! `tenfold plan`: everything `run` would do, resolved against the target, and nothing of it done; `--preview` is beside.

use std::path::Path;

use crate::cli::args::{PlanArguments, ProfileArguments};
use crate::cli::exit::{Exit, Failure};
use crate::cli::target::Target;
use crate::cli::{approval, begin, out, preview, profile, target};
use crate::config::Config;
use crate::plan::{self, ClaimPlan, Plan};

/// The plan with the hash that an approval names.
#[derive(serde::Serialize)]
struct Shown<'p> {
    #[serde(flatten)]
    plan: &'p Plan,
    /// What the run claims while it lasts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    claims: Vec<ClaimPlan>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    /// What AWS FIS made of it, with `--preview`.
    #[serde(skip_serializing_if = "Option::is_none")]
    preview: Option<Vec<preview::Line<'p>>>,
}

/// Prints the plan.
pub(super) async fn plan(arguments: PlanArguments) -> Result<Exit, Failure> {
    with_target(&arguments.profile, async |target, resolved| {
        let (hash, against) = hash(target, &resolved).await;
        let exit = match arguments.json {
            true => json(target, &resolved, hash, arguments.preview).await,
            false => text(target, &resolved, hash, arguments.preview).await,
        }?;
        Ok(match against {
            Some(against) if exit == Exit::Met => against,
            _ => exit,
        })
    })
    .await
}

/// The hash of what may be approved. An account that is another one, or that a dead run left broken, is not what the run
/// would find, so there is none then, and the exit code says so; another run that is under way will end.
async fn hash(target: &Target, resolved: &Plan) -> (Option<String>, Option<Exit>) {
    let (mut worthless, is_others) = (None, resolved.is_of_another_account());
    for failure in begin::against(target, resolved).await {
        if is_others || failure.exit == Exit::Unreverted {
            worthless.get_or_insert(failure.exit);
            out::tell(&format!(
                "error: no approval of this would be worth anything: {failure}"
            ));
        } else {
            out::tell(&format!("warning: the run would not begin now: {failure}"));
        }
    }
    if let (false, Err(failure)) = (target.is_own_lab(), begin::is_allowed(resolved)) {
        out::tell(&format!("warning: the run would not begin: {failure}"));
    }
    let hash = match worthless {
        None => approval::shown(resolved, target.is_own_lab()),
        Some(_) => None,
    };
    (hash, worthless)
}

/// The plan, what AWS FIS said where it was asked, and the hash as the last line.
async fn text(target: &Target, resolved: &Plan, hash: Option<String>, preview: bool) -> Result<Exit, Failure> {
    out::print(&plan::print(resolved))?;
    let mut exit = Exit::Met;
    if preview {
        match preview::preview(target, resolved).await? {
            None => out::line("\nAWS FIS injects no fault of this plan, so there is nothing to preview")?,
            Some(preview) => {
                out::print(&preview.text())?;
                exit = preview.exit();
            }
        }
    }
    if let Some(hash) = hash {
        out::line(&format!("\nhash {hash}"))?;
    }
    Ok(exit)
}

/// One object, with what AWS FIS said in it where it was asked: an empty list where it injects nothing.
async fn json(target: &Target, resolved: &Plan, hash: Option<String>, preview: bool) -> Result<Exit, Failure> {
    let asked = match preview {
        true => preview::preview(target, resolved).await?,
        false => None,
    };
    let lines = || asked.as_ref().map(preview::Preview::lines).unwrap_or_default();
    out::json(&Shown {
        plan: resolved,
        claims: resolved.claims(),
        hash,
        preview: preview.then(lines),
    })?;
    Ok(asked.map_or(Exit::Met, |preview| preview.exit()))
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
