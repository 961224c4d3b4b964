//! Reads the files a command names and has them checked; the only place that opens a profile.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::anyhow;

use crate::cli::args::ProfileArguments;
use crate::cli::exit::{Exit, Failure};
use crate::cli::{out, protos, steady, target};
use crate::config::{self, Config, ConfigErrors, FILE_MAX, Files, Reference, Sources};
use crate::lab::LabConfig;
use crate::plan::ASKED_LATER;

/// Loads the profile with its experiments and overrides; an experiment alone gets the built-in load.
pub(super) fn load(arguments: &ProfileArguments) -> Result<Config, Failure> {
    let text = read(&arguments.profile)?;
    if config::is_experiment(&text) {
        return steady::load(arguments, text);
    }
    load_text(
        (arguments.profile.display().to_string(), text),
        &arguments.profile,
        &arguments.set,
    )
}

fn load_text(profile: (String, String), path: &Path, set: &[String]) -> Result<Config, Failure> {
    let overrides = overrides(set)?;
    let references = config::references(&profile.0, &profile.1, &overrides).map_err(Failure::usage)?;
    let mut experiments = Vec::new();
    for reference in &references.experiments {
        let found = locate(Path::new(&reference.value), path);
        let text = std::fs::read_to_string(&found).map_err(|error| {
            let (place, path) = (&reference.place, &reference.value);
            Failure::usage(match error.kind() {
                ErrorKind::InvalidData => ConfigErrors::not_text(place, path),
                _ => ConfigErrors::unreadable(place, path, &error.to_string()),
            })
        })?;
        experiments.push((found.display().to_string(), text));
    }
    let sources = Sources {
        profile,
        experiments,
        files: files(&references.files, path)?,
        protos: protos::read(&references.protos, path)?,
    };
    config::load(&sources, &overrides).map_err(Failure::usage)
}

fn files(references: &[Reference], profile: &Path) -> Result<Files, Failure> {
    let mut files = Files::new();
    for reference in references {
        let (place, path) = (&reference.place, &reference.value);
        let found = locate(Path::new(path), profile);
        let unreadable = |error: std::io::Error| ConfigErrors::unreadable(place, path, &error.to_string());
        let length = std::fs::metadata(&found)
            .map_err(|error| Failure::usage(unreadable(error)))?
            .len();
        if length > FILE_MAX {
            return Err(Failure::usage(ConfigErrors::too_long(place, path, FILE_MAX)));
        }
        let bytes = std::fs::read(&found).map_err(|error| Failure::usage(unreadable(error)))?;
        files.insert(path.clone(), bytes);
    }
    Ok(files)
}

/// `tenfold validate`.
pub(super) fn validate(arguments: &ProfileArguments) -> Result<Exit, Failure> {
    let config = load(arguments)?;
    target::check(&config, arguments)?;
    let faults: usize = config
        .experiments
        .iter()
        .map(|experiment| experiment.faults.len())
        .sum();
    let profile = &config.profile;
    let of_loads = profile.loads.iter().map(|load| load.stages.len());
    let stages = profile.stages.len() + of_loads.sum::<usize>();
    let loads = match profile.loads.len() {
        0 => String::new(),
        loads => format!("{}, ", count_of(loads, "load")),
    };
    out::line(&format!(
        "{}: {}, {loads}{}, {} with {}; no mistakes",
        arguments.profile.display(),
        count_of(profile.journeys.len(), "journey"),
        count_of(stages, "stage"),
        count_of(config.experiments.len(), "experiment"),
        count_of(faults, "fault")
    ))?;
    let of_experiments = config.experiments.iter().map(|experiment| experiment.objectives.len());
    if profile.objectives.len() + of_experiments.sum::<usize>() == 0 {
        out::line("note: there are no objectives, so a run is inconclusive and ends with exit code 3")?;
    }
    if !config.services_to_ask_for().is_empty() {
        out::line(&format!("note: {ASKED_LATER}"))?;
    }
    Ok(Exit::Met)
}

/// `1 stage`, `2 stages`.
fn count_of(count: usize, what: &str) -> String {
    let many = if count == 1 { "" } else { "s" };
    format!("{count} {what}{many}")
}

/// The lab section, checked by the lab, mistakes shown at their line.
pub(super) fn check_lab(config: &Config) -> Result<LabConfig, Failure> {
    LabConfig::from_json(lab_section(config))
        .map_err(|error| Failure::usage(config.lab_mistake(&error.path, &error.message)))
}

/// The lab section; an absent one is the default lab.
pub(super) fn lab_section(config: &Config) -> serde_json::Value {
    if config.lab.is_null() {
        serde_json::json!({})
    } else {
        config.lab.clone()
    }
}

/// A profile of nothing but the lab.
const DEFAULT: &str =
    "{name: lab, target: lab, journeys: {browse: {steps: [{get: /}]}}, stages: [{tier: 1, users: 1, hold: 1s}]}";

/// A profile that loads nothing worth the name, for what needs none.
pub(super) fn load_empty() -> Result<Config, Failure> {
    load_text(("no profile".to_owned(), DEFAULT.to_owned()), Path::new(""), &[])
}

/// The configuration of a lab that runs alone: a profile's `lab:` section, or the defaults, with overrides.
pub(super) fn load_lab(profile: Option<&Path>, set: &[String]) -> Result<LabConfig, Failure> {
    let set: Vec<String> = set.iter().map(|one| format!("lab.{one}")).collect();
    let (source, path) = match profile {
        Some(path) => ((path.display().to_string(), read(path)?), path),
        None => (("the default lab".to_owned(), DEFAULT.to_owned()), Path::new("")),
    };
    check_lab(&load_text(source, path, &set)?)
}

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        let path = path.display();
        Failure::usage(match error.kind() {
            ErrorKind::InvalidData => anyhow!("{path} is not UTF-8 text\nhint: save the file as UTF-8"),
            _ => anyhow!("cannot read {path}: {error}\nhint: check the path"),
        })
    })
}

/// What `--set` says, as keys and values.
pub(super) fn overrides(set: &[String]) -> Result<Vec<(String, String)>, Failure> {
    set.iter()
        .map(|one| {
            one.split_once('=')
                .map(|(key, value)| (key.trim().to_owned(), value.to_owned()))
                .ok_or_else(|| {
                    Failure::usage(anyhow!(
                        "--set {one} is not KEY=VALUE\nhint: write e.g. --set stages.0.users=500"
                    ))
                })
        })
        .collect()
}

/// A path in a profile is meant from where the command is run, or else from beside or above the profile.
pub(super) fn locate(path: &Path, profile: &Path) -> PathBuf {
    let beside = profile.parent().map(|folder| folder.join(path));
    let above = profile.parent().and_then(Path::parent).map(|folder| folder.join(path));
    let candidates = [Some(path.to_owned()), beside, above];
    candidates
        .into_iter()
        .flatten()
        .find(|candidate| candidate.exists())
        .unwrap_or_else(|| path.to_owned())
}
