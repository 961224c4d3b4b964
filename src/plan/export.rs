//! An experiment as one template of AWS FIS, for those who run it there without this harness.

use std::collections::BTreeSet;
use std::time::Duration;

use super::build::{self, PlanErrors};
use super::fis::{FisFor, FisStep, FisTemplate, alarms_in, iso, step_name};
use super::{FaultPlan, StagePlan, TargetPlan};
use crate::config::fis::{LONGEST, Via};
use crate::config::{ConfigErrors, Experiment, Mistake};

/// Actions of one template (quota).
const ACTIONS_MAX: usize = 20;
/// A stage that is there from the beginning, since only the distances between faults count.
const STAGE: StagePlan = StagePlan {
    tier: 1,
    level: 1.0,
    starts_at: Duration::ZERO,
    holds_at: Duration::ZERO,
    ends_at: LONGEST,
};

/// The faults of an experiment on the resources that the target has now. The first begins at once, later ones wait as
/// long as the experiment says. `seed` decides which of several instances are hit.
pub fn export_fis(experiment: &Experiment, target: &TargetPlan, seed: u64) -> Result<FisTemplate, PlanErrors> {
    let mut mistakes = Vec::new();
    for entry in experiment.faults.iter().filter(|entry| entry.fault.fis().is_none()) {
        let message = format!("AWS FIS has no action that does what {} does", entry.fault.name());
        mistakes.push(Mistake::at(&entry.role.place, message).hint("leave it out of what is exported"));
    }
    let by_fis = experiment.clone().by(Via::Fis);
    let planned = build::experiment(&by_fis, &[STAGE], target, seed, &mut mistakes);
    // Those that have no place in a run of one stage were left out silently.
    let lost = by_fis
        .faults
        .iter()
        .filter(|_| planned.faults.len() < by_fis.faults.len());
    if mistakes.is_empty() {
        mistakes.extend(lost.take(1).map(|entry| {
            let hint = "write `at` without a stage";
            Mistake::at(&entry.at.place, "a template of AWS FIS has no stages").hint(hint)
        }));
    }
    let places = by_fis.faults.iter().map(|entry| &entry.role.place);
    for (fault, place) in planned
        .faults
        .iter()
        .zip(places)
        .filter(|(fault, _)| fault.resources.is_empty())
    {
        let message = format!("the target has nothing that {} could hit", fault.fault.name());
        mistakes.push(Mistake::at(place, message).hint("name another role or Region"));
    }
    let regions: BTreeSet<&str> = planned.faults.iter().map(|fault| fault.region.as_str()).collect();
    if regions.len() > 1 {
        let regions: Vec<&str> = regions.iter().copied().collect();
        let message = format!(
            "a template of AWS FIS is of one Region, and these faults of {}",
            regions.join(", ")
        );
        mistakes.push(Mistake::at(&experiment.place, message).hint("split the experiment"));
    }
    let template = template(experiment, &planned.faults, target);
    if template.actions.len() > ACTIONS_MAX {
        let message = format!("a template of AWS FIS has {ACTIONS_MAX} actions at most");
        mistakes.push(Mistake::at(&experiment.place, message).hint("split the experiment"));
    }
    if mistakes.is_empty() {
        Ok(template)
    } else {
        Err(ConfigErrors::new(mistakes).into())
    }
}

fn template(experiment: &Experiment, faults: &[FaultPlan], target: &TargetPlan) -> FisTemplate {
    let account = target.account.as_deref().unwrap_or_default();
    let region = faults.first().map(|fault| fault.region.as_str()).unwrap_or_default();
    let description: String = format!("{}: {}", experiment.name, experiment.hypothesis)
        .chars()
        .take(512)
        .collect();
    let role = target.fis_role.clone().unwrap_or_default();
    let mut template = FisTemplate::new(
        description,
        role,
        &alarms_in(&experiment.alarms(), region, target),
        region,
        account,
    );
    let first = faults.iter().map(|fault| fault.at).min().unwrap_or_default();
    for (index, fault) in faults.iter().enumerate() {
        let name = match faults {
            [_] => step_name(&fault.fault),
            _ => format!("{}-{}", index + 1, step_name(&fault.fault)),
        };
        let wait = fault.at.saturating_sub(first);
        let mut after = Vec::new();
        if !wait.is_zero() {
            let before = format!("{name}-waits");
            template.actions.insert(before.clone(), FisStep::wait(iso(wait)));
            after.push(before);
        }
        let of = FisFor {
            fault: &fault.fault,
            region: &fault.region,
            lasts: fault.revert_at.map(|end| end.saturating_sub(fault.at)),
            account,
        };
        template.add(&of, &name, &fault.resources, &after);
    }
    template
}
