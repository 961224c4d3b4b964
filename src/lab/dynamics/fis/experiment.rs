//! One experiment on its way: `pending`, `initiating`, `running`, and however it ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::effect::{self, Effect};
use super::offer::offer;
use super::{resolve, seconds_of};
use crate::lab::Lab;
use crate::lab::dynamics::{pause, poll};
use crate::lab::experiments::{Action, Experiment, Status, Template};
use crate::lab::world::{CloudTime, Region};

/// How often FIS looks after a running experiment, cloud seconds [our choice].
const STEP_S: f64 = 1.0;

/// An action that is in the world.
struct UnderWay {
    effect: Effect,
    ends_at: CloudTime,
}

struct Run {
    lab: Arc<Lab>,
    region: String,
    id: String,
    under_way: BTreeMap<String, UnderWay>,
    /// Why the experiment fails, once one of its actions has.
    failure: Option<String>,
}

/// Sees an experiment through.
pub(super) async fn run(lab: Arc<Lab>, region: String, id: String) {
    let mut run = Run {
        lab,
        region,
        id,
        under_way: BTreeMap::new(),
        failure: None,
    };
    pause(&run.lab, run.lab.config.fis.initiating).await;
    run.enter(Status::Initiating, "Experiment is initiating.");
    pause(&run.lab, run.lab.config.fis.initiating).await;
    if run.resolve() {
        while !run.step() {
            poll(&run.lab, STEP_S).await;
        }
    }
}

impl Run {
    /// Changes the experiment, which stays in the world for as long as the lab lives.
    fn edit<T>(&self, edit: impl FnOnce(&mut Experiment, CloudTime) -> T) -> Option<T> {
        let now = self.lab.now();
        let mut world = self.lab.world();
        let region = world.regions.get_mut(&self.region)?;
        region.fis.experiments.get_mut(&self.id).map(|one| edit(one, now))
    }

    /// The next state on the way to running, unless somebody has stopped it.
    fn enter(&self, status: Status, reason: &str) {
        self.edit(|experiment, now| {
            if experiment.status == Status::Stopping {
                return;
            }
            (experiment.status, experiment.reason) = (status, reason.to_owned());
            if status == Status::Running {
                experiment.started_at = Some(now);
            }
        });
    }

    fn end(&self, status: Status, reason: &str) {
        self.edit(|experiment, now| experiment.end(status, reason, now));
    }

    /// Resolves the targets, once; false where the experiment has ended with it.
    fn resolve(&self) -> bool {
        let Some((template, skips, stopping)) = self.edit(|experiment, _| {
            (
                experiment.template.clone(),
                experiment.skips_actions,
                experiment.status == Status::Stopping,
            )
        }) else {
            return false;
        };
        if stopping {
            self.end(Status::Stopped, "Experiment was stopped by the user.");
            return false;
        }
        let resolved: BTreeMap<String, Vec<String>> = template
            .targets
            .iter()
            .map(|(name, target)| (name.clone(), resolve::resolve(&self.lab, &self.region, target)))
            .collect();
        let empty = resolved
            .iter()
            .find(|(_, arns)| arns.is_empty())
            .map(|(name, _)| name.clone());
        self.edit(|experiment, _| experiment.resolved = resolved.clone());
        if let Some(name) = empty.filter(|_| !template.skips_empty) {
            self.end(
                Status::Failed,
                &format!("Target resolution returned empty set for target {name}."),
            );
            return false;
        }
        if let Some(missing) = self.missing_alarm(&template) {
            self.end(Status::Failed, &format!("Stop condition {missing} does not exist."));
            return false;
        }
        let skipped = |action: &Action| {
            let empty = |name: &String| resolved.get(name).is_none_or(Vec::is_empty);
            skips || (!action.targets.is_empty() && action.targets.values().all(empty))
        };
        self.edit(|experiment, now| {
            for (name, action) in &template.actions {
                if let Some(state) = experiment.actions.get_mut(name).filter(|_| skipped(action)) {
                    state.status = Status::Skipped;
                    state.reason = "Action was skipped.".to_owned();
                    (state.started_at, state.ended_at) = (Some(now), Some(now));
                }
            }
        });
        self.enter(Status::Running, "Experiment is running.");
        true
    }

    fn missing_alarm(&self, template: &Template) -> Option<String> {
        let world = self.lab.world();
        let alarms = world.regions.get(&self.region).map(|region| &region.alarms)?;
        let known = |arn: &&String| alarms.values().any(|alarm| alarm.arn == **arn);
        template.stop_alarms.iter().find(|arn| !known(arn)).cloned()
    }

    /// One look after it; true once it has ended.
    fn step(&mut self) -> bool {
        let Some(experiment) = self.edit(|experiment, _| experiment.clone()) else {
            return true;
        };
        if self.failure.is_some() || self.is_halted(&experiment) {
            return self.wind_up();
        }
        self.finish_due();
        for (name, action) in &experiment.template.actions {
            let state = |name: &String| experiment.actions.get(name).map(|state| state.status);
            let over = |status: Option<Status>| matches!(status, Some(Status::Completed | Status::Skipped));
            let due = state(name) == Some(Status::Pending) && action.start_after.iter().all(|one| over(state(one)));
            if due && self.failure.is_none() {
                self.begin(name, action, &experiment);
            }
        }
        let ended = self.edit(|experiment, _| experiment.actions.values().all(|action| action.status.has_ended()));
        if self.failure.is_none() && ended == Some(true) {
            self.end(Status::Completed, "Experiment completed.");
            return true;
        }
        false
    }

    /// Whether it has to stop: somebody asked for it, an alarm of its is in ALARM, or the safety lever is engaged.
    fn is_halted(&self, experiment: &Experiment) -> bool {
        if experiment.status == Status::Stopping {
            return true;
        }
        let reason = {
            let world = self.lab.world();
            let Some(region) = world.regions.get(&self.region) else {
                return true;
            };
            halted_by(region, &experiment.template)
        };
        let Some(reason) = reason else { return false };
        self.edit(|experiment, _| (experiment.status, experiment.reason) = (Status::Stopping, reason.to_owned()));
        true
    }

    fn begin(&mut self, name: &str, action: &Action, experiment: &Experiment) {
        let resolved = action
            .targets
            .values()
            .filter_map(|target| experiment.resolved.get(target));
        let arns: Vec<String> = resolved.flatten().cloned().collect();
        let lasts = offer(&action.action_id)
            .and_then(|offer| action.parameters.get(offer.lasts?))
            .and_then(|text| seconds_of(text))
            .unwrap_or_default();
        match effect::begin(&self.lab, &self.region, action, &arns) {
            Ok(effect) => {
                let ends_at = self.lab.now() + lasts;
                self.action(name, Status::Running, "Action is running.");
                self.under_way.insert(name.to_owned(), UnderWay { effect, ends_at });
            }
            Err(error) => self.fail(name, &error.to_string()),
        }
    }

    /// Undoes the actions whose time is over.
    fn finish_due(&mut self) {
        let now = self.lab.now();
        let due: Vec<String> = self
            .under_way
            .iter()
            .filter(|(_, one)| one.ends_at <= now)
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            self.undo(&name, Status::Completed, "Action was completed.");
        }
    }

    /// Undoes one action, which may take several looks.
    fn undo(&mut self, name: &str, status: Status, reason: &str) {
        let Some(one) = self.under_way.get_mut(name) else {
            return;
        };
        match one.effect.undo(&self.lab, &self.region) {
            Ok(false) => {}
            Ok(true) => {
                self.under_way.remove(name);
                self.action(name, status, reason);
            }
            Err(error) => {
                self.under_way.remove(name);
                self.fail(name, &error);
            }
        }
    }

    /// Undoes everything; true once nothing is left.
    fn wind_up(&mut self) -> bool {
        for name in self.under_way.keys().cloned().collect::<Vec<_>>() {
            self.action(&name, Status::Stopping, "Action is being stopped.");
            self.undo(&name, Status::Stopped, "Action was stopped.");
        }
        if !self.under_way.is_empty() {
            return false;
        }
        match self.failure.take() {
            Some(reason) => self.end(Status::Failed, &reason),
            None => {
                let reason = self.edit(|experiment, _| experiment.reason.clone()).unwrap_or_default();
                self.end(Status::Stopped, &reason.replace("is being", "was"));
            }
        }
        true
    }

    fn fail(&mut self, name: &str, why: &str) {
        self.action(name, Status::Failed, why);
        self.failure = Some(format!("Action {name} failed: {why}"));
    }

    fn action(&self, name: &str, status: Status, reason: &str) {
        self.edit(|experiment, now| {
            let Some(state) = experiment.actions.get_mut(name) else {
                return;
            };
            (state.status, state.reason) = (status, reason.to_owned());
            state.started_at.get_or_insert(now);
            state.ended_at = status.has_ended().then_some(now);
        });
    }
}

fn halted_by(region: &Region, template: &Template) -> Option<&'static str> {
    let alarmed = |arn: &String| {
        region
            .alarms
            .values()
            .any(|alarm| alarm.arn == *arn && alarm.state == "ALARM")
    };
    if region.fis.lever.engaged {
        Some("Experiment is halted by the safety lever.")
    } else if template.stop_alarms.iter().any(alarmed) {
        Some("Experiment halted by stop condition.")
    } else {
        None
    }
}
