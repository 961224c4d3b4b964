//! AWS FIS: templates become experiments, which go through their states and do to the world what their actions say,
//! until their time is over, somebody stops them, an alarm does, or the safety lever.
//! Not modelled: roles and their permissions, logs, reports, several accounts, filters of targets.

mod effect;
mod experiment;
pub mod offer;
mod resolve;

use std::sync::Arc;

use super::{iso, region_mut};
use crate::lab::Lab;
use crate::lab::error::AwsError;
use crate::lab::experiments::{ActionState, Experiment, Lever, Status, Template};
use crate::lab::world::{CloudTime, Tags};

/// Experiments that may be under way at the same time (quota).
const ACTIVE_MAX: usize = 5;
/// Templates (quota).
const TEMPLATES_MAX: usize = 500;
/// Resources of one action (quota).
pub const TARGETS_MAX: usize = 5;
const LETTERS: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz123456789";

/// `PT1M30S` in cloud seconds.
#[must_use]
pub fn seconds_of(duration: &str) -> Option<f64> {
    let span: jiff::SignedDuration = duration.parse().ok()?;
    (duration.starts_with('P') && span.is_positive()).then(|| span.as_secs_f64())
}

fn quota(message: String) -> AwsError {
    AwsError::new("ServiceQuotaExceededException", message, 402)
}

fn no_template(id: &str) -> AwsError {
    AwsError::not_found(
        "ResourceNotFoundException",
        format!("Experiment template {id} does not exist."),
    )
}

fn no_experiment(id: &str) -> AwsError {
    AwsError::not_found("ResourceNotFoundException", format!("Experiment {id} does not exist."))
}

/// A new id and its ARN.
fn identity(lab: &Lab, region: &str, prefix: &str, kind: &str) -> (String, String) {
    let id = format!("{prefix}{}", lab.random_text(LETTERS, 15));
    let arn = format!("arn:aws:fis:{region}:{}:{kind}/{id}", lab.config.account);
    (id, arn)
}

/// CreateExperimentTemplate; the same token answers the same template.
pub fn create_template(
    lab: &Arc<Lab>,
    region: &str,
    mut template: Template,
    token: String,
) -> Result<Template, AwsError> {
    let (id, arn) = identity(lab, region, "EXT", "experiment-template");
    let mut world = lab.world();
    let fis = &mut region_mut(&mut world, region)?.fis;
    let token = ("CreateExperimentTemplate", token);
    if let Some(made) = fis.tokens.get(&token).and_then(|id| fis.templates.get(id)) {
        return Ok(made.clone());
    }
    if fis.templates.len() >= TEMPLATES_MAX {
        return Err(quota(format!(
            "There are {TEMPLATES_MAX} experiment templates already."
        )));
    }
    (template.id, template.arn, template.created_at) = (id.clone(), arn, lab.clock.cloud_unix());
    fis.tokens.insert(token, id.clone());
    fis.templates.insert(id, template.clone());
    Ok(template)
}

/// DeleteExperimentTemplate; experiments that were started from it go on.
pub fn delete_template(lab: &Arc<Lab>, region: &str, id: &str) -> Result<Template, AwsError> {
    let mut world = lab.world();
    let fis = &mut region_mut(&mut world, region)?.fis;
    fis.templates.remove(id).ok_or_else(|| no_template(id))
}

/// StartExperiment: its states follow by themselves; the same token answers the same experiment.
pub fn start(
    lab: &Arc<Lab>,
    region: &str,
    template: &str,
    skips_actions: bool,
    tags: Tags,
    token: String,
) -> Result<Experiment, AwsError> {
    let token = ("StartExperiment", token);
    let (template, made) = {
        let mut world = lab.world();
        let fis = &mut region_mut(&mut world, region)?.fis;
        let made = fis.tokens.get(&token).and_then(|id| fis.experiments.get(id)).cloned();
        (
            fis.templates
                .get(template)
                .cloned()
                .ok_or_else(|| no_template(template)),
            made,
        )
    };
    if let Some(made) = made {
        return Ok(made);
    }
    let template = template?;
    for (name, target) in &template.targets {
        if resolve::resolve(lab, region, target).len() > TARGETS_MAX {
            return Err(quota(format!(
                "Target {name} resolves to more than {TARGETS_MAX} resources."
            )));
        }
    }
    let (id, arn) = identity(lab, region, "EXP", "experiment");
    let now = lab.now();
    let mut world = lab.world();
    let fis = &mut region_mut(&mut world, region)?.fis;
    let active = fis.experiments.values().filter(|one| !one.status.has_ended()).count();
    if active >= ACTIVE_MAX {
        return Err(quota(format!("There are {ACTIVE_MAX} active experiments already.")));
    }
    let actions = template.actions.keys();
    let mut experiment = Experiment {
        id: id.clone(),
        arn,
        actions: actions.map(|name| (name.clone(), ActionState::default())).collect(),
        template,
        skips_actions,
        status: Status::Pending,
        reason: "Experiment is pending.".to_owned(),
        resolved: Default::default(),
        created_at: now,
        started_at: None,
        ended_at: None,
        tags,
    };
    let engaged = fis.lever.engaged;
    if engaged {
        experiment.end(Status::Cancelled, "The safety lever is engaged.", now);
    }
    fis.tokens.insert(token, id.clone());
    fis.experiments.insert(id.clone(), experiment.clone());
    drop(world);
    if !engaged {
        tokio::spawn(experiment::run(lab.clone(), region.to_owned(), id));
    }
    Ok(experiment)
}

/// StopExperiment: what it did is undone, then it is `stopped`.
pub fn stop(lab: &Arc<Lab>, region: &str, id: &str) -> Result<Experiment, AwsError> {
    let mut world = lab.world();
    let fis = &mut region_mut(&mut world, region)?.fis;
    let experiment = fis.experiments.get_mut(id).ok_or_else(|| no_experiment(id))?;
    if experiment.status.has_ended() {
        let message = format!("Experiment {id} is {} already.", experiment.status.name());
        return Err(AwsError::bad_request("ValidationException", message));
    }
    experiment.status = Status::Stopping;
    experiment.reason = "Experiment is being stopped by the user.".to_owned();
    Ok(experiment.clone())
}

/// UpdateSafetyLeverState: engaged, it stops whatever runs.
pub fn move_lever(lab: &Arc<Lab>, region: &str, engaged: bool, reason: String) -> Result<Lever, AwsError> {
    let mut world = lab.world();
    let lever = &mut region_mut(&mut world, region)?.fis.lever;
    if lever.engaged == engaged {
        let state = if engaged { "engaged" } else { "disengaged" };
        let message = format!("The safety lever is {state} already.");
        return Err(AwsError::new("ConflictException", message, 409));
    }
    *lever = Lever { engaged, reason };
    Ok(lever.clone())
}

impl Experiment {
    /// Puts it and what of it never began or still goes on into a final state.
    fn end(&mut self, status: Status, reason: &str, now: CloudTime) {
        (self.status, self.reason, self.ended_at) = (status, reason.to_owned(), Some(now));
        for action in self.actions.values_mut().filter(|action| !action.status.has_ended()) {
            action.status = Status::Cancelled;
            action.reason = format!("The experiment ended at {}.", iso(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_iso_8601() {
        assert_eq!(seconds_of("PT1M"), Some(60.0));
        assert_eq!(seconds_of("PT1M30S"), Some(90.0));
        assert_eq!(seconds_of("PT12H"), Some(43_200.0));
        for wrong in ["", "5m", "PT", "P", "PT0S", "-PT1M"] {
            assert_eq!(seconds_of(wrong), None, "{wrong}");
        }
    }
}
