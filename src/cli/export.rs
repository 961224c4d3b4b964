//! `tenfold export fis EXPERIMENT`: an experiment's faults as a template of AWS FIS, on the target as it is now.
//! Creates nothing.

use std::path::Path;

use anyhow::anyhow;

use crate::cli::args::{ExportArguments, ExportCommand, ProfileArguments};
use crate::cli::exit::{Exit, Failure};
use crate::cli::{out, profile, target};
use crate::config::{self, Config, Experiment};
use crate::plan::{self, Via};

/// The seed of a run that names none.
const SEED: u64 = 1;

/// Prints the template.
pub(super) async fn export(arguments: ExportArguments) -> Result<Exit, Failure> {
    let ExportCommand::Fis { experiment, target } = arguments.command;
    let text = profile::read(&experiment)?;
    if config::is_profile(&text) {
        return Err(Failure::usage(anyhow!(
            "{} is a profile, not an experiment\nhint: give one of the files that it lists under `chaos`",
            experiment.display()
        )));
    }
    let experiment = config::load_experiment(&experiment.display().to_string(), &text).map_err(Failure::usage)?;
    let mut config = profile::load_empty()?;
    // So that the account is asked what it has of AWS FIS.
    config.experiments = vec![experiment.clone().by(Via::Fis)];
    let scratch = std::env::temp_dir().join(format!("tenfold-export-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).map_err(|error| {
        Failure::usage(anyhow::Error::new(error).context(format!("cannot create {}", scratch.display())))
    })?;
    let printed = print(&config, &experiment, target, &scratch).await;
    // Only the lab's configuration and log are left behind there, which nobody needs.
    let _ = std::fs::remove_dir_all(&scratch);
    printed
}

async fn print(config: &Config, experiment: &Experiment, target: String, scratch: &Path) -> Result<Exit, Failure> {
    let arguments = ProfileArguments {
        profile: Path::new("").to_owned(),
        set: Vec::new(),
        target: Some(target),
        pace: None,
        seed: None,
    };
    let target = target::connect(config, &arguments, scratch).await?;
    let template = plan::export_fis(experiment, &target.described, SEED).map_err(Failure::usage);
    target.end().await;
    out::json(&template?)?;
    if experiment.stop_when.iter().any(|stop| stop.alarm().is_none()) {
        out::tell(
            "note: AWS FIS stops at alarms only: the template leaves out what `stop_when` says of users, which `tenfold run` keeps",
        );
    }
    Ok(Exit::Met)
}
