//! AWS FIS: which actions there are, templates, experiments with their states, and the safety lever.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_fis::types::{
    AccountTargeting, ActionsMode, CreateExperimentTemplateActionInput, CreateExperimentTemplateExperimentOptionsInput,
    CreateExperimentTemplateStopConditionInput, CreateExperimentTemplateTargetInput, EmptyTargetResolutionMode,
    SafetyLeverStatus, StartExperimentExperimentOptionsInput,
};

use super::{AwsError, Called, ErrorKind, Reader, Tags, Writer};

/// A template that is to be created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTemplate {
    /// What it is for.
    pub description: String,
    /// ARN of the role that FIS acts as.
    pub role_arn: String,
    /// Type and ARNs of the targets, by name.
    pub targets: BTreeMap<String, (String, Vec<String>)>,
    /// Actions by name.
    pub actions: BTreeMap<String, NewAction>,
    /// ARNs of the alarms that stop it.
    pub stop_alarms: Vec<String>,
    /// Tags.
    pub tags: Tags,
}

/// An action of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewAction {
    /// `aws:ec2:stop-instances` for example.
    pub id: String,
    /// Parameters.
    pub parameters: BTreeMap<String, String>,
    /// Names of targets by the action's own key.
    pub targets: BTreeMap<String, String>,
}

/// An experiment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FisExperiment {
    /// Id, `EXP…`.
    pub id: String,
    /// `pending`, `initiating`, `running`, `completed`, `stopping`, `stopped`, `failed`, `cancelled`.
    pub status: String,
    /// Why it is in it.
    pub reason: String,
    /// Ids and states of its actions, by name; empty where a list answered it.
    pub actions: BTreeMap<String, (String, String)>,
    /// Tags.
    pub tags: Tags,
}

impl FisExperiment {
    /// Whether it changes no more.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.status.as_str(), "completed" | "stopped" | "failed" | "cancelled")
    }
}

impl Reader {
    /// Ids of every action that FIS has in a Region.
    pub async fn fis_actions(&self, region: &str) -> Result<BTreeSet<String>, AwsError> {
        const ACTION: &str = "fis:ListActions";
        let clients = self.region(ACTION, region)?;
        let pages = clients.fis.list_actions().into_paginator().items().send();
        let actions: Vec<_> = clients.gate.call(ACTION, pages.collect::<Result<_, _>>()).await?;
        Ok(actions.into_iter().filter_map(|action| action.id).collect())
    }

    /// Why nothing may be started; none while the safety lever is disengaged.
    pub async fn safety_lever_engaged(&self, region: &str) -> Result<Option<String>, AwsError> {
        const ACTION: &str = "fis:GetSafetyLever";
        let clients = self.region(ACTION, region)?;
        let request = clients.fis.get_safety_lever().id("default");
        let answer = clients.gate.call(ACTION, request.send()).await?;
        let state = answer.safety_lever.and_then(|lever| lever.state);
        Ok(state
            .filter(|state| state.status != Some(SafetyLeverStatus::Disengaged))
            .map(|state| state.reason.unwrap_or_default()))
    }

    /// Ids and tags of every template.
    pub async fn experiment_templates(&self, region: &str) -> Result<Vec<(String, Tags)>, AwsError> {
        const ACTION: &str = "fis:ListExperimentTemplates";
        let clients = self.region(ACTION, region)?;
        let pages = clients.fis.list_experiment_templates().into_paginator().items().send();
        let templates: Vec<_> = clients.gate.call(ACTION, pages.collect::<Result<_, _>>()).await?;
        Ok(templates
            .into_iter()
            .filter_map(|one| Some((one.id?, one.tags.unwrap_or_default().into_iter().collect())))
            .collect())
    }

    /// The experiments that were started from a template.
    pub async fn experiments_of(&self, region: &str, template: &str) -> Result<Vec<FisExperiment>, AwsError> {
        self.list_experiments(region, Some(template)).await
    }

    /// Every experiment of a Region that FIS remembers.
    pub async fn experiments(&self, region: &str) -> Result<Vec<FisExperiment>, AwsError> {
        self.list_experiments(region, None).await
    }

    async fn list_experiments(&self, region: &str, template: Option<&str>) -> Result<Vec<FisExperiment>, AwsError> {
        const ACTION: &str = "fis:ListExperiments";
        let clients = self.region(ACTION, region)?;
        let request = clients
            .fis
            .list_experiments()
            .set_experiment_template_id(template.map(str::to_owned));
        let pages = request.into_paginator().items().send();
        let experiments: Vec<_> = clients.gate.call(ACTION, pages.collect::<Result<_, _>>()).await?;
        Ok(experiments
            .into_iter()
            .map(|one| {
                let (status, reason) = state(one.state);
                FisExperiment {
                    id: one.id.unwrap_or_default(),
                    status,
                    reason,
                    actions: BTreeMap::new(),
                    tags: one.tags.unwrap_or_default().into_iter().collect(),
                }
            })
            .collect())
    }

    /// ARNs of what an experiment's targets came to.
    pub async fn resolved_targets(&self, region: &str, experiment: &str) -> Result<BTreeSet<String>, AwsError> {
        const ACTION: &str = "fis:ListExperimentResolvedTargets";
        let clients = self.region(ACTION, region)?;
        let mut found = BTreeSet::new();
        let mut next = None;
        loop {
            let request = clients.fis.list_experiment_resolved_targets().experiment_id(experiment);
            let answer = clients.gate.call(ACTION, request.set_next_token(next).send()).await?;
            let targets = answer.resolved_targets.unwrap_or_default().into_iter();
            found.extend(targets.filter_map(|one| one.target_information?.remove("arn")));
            next = answer.next_token;
            if next.is_none() {
                return Ok(found);
            }
        }
    }

    /// An experiment with the states of its actions; none when there is no such experiment.
    pub async fn experiment(&self, region: &str, id: &str) -> Result<Option<FisExperiment>, AwsError> {
        const ACTION: &str = "fis:GetExperiment";
        let clients = self.region(ACTION, region)?;
        let request = clients.fis.get_experiment().id(id);
        let found = match clients.gate.call(ACTION, request.send()).await {
            Ok(answer) => answer.experiment,
            Err(error) if error.kind == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(found.map(|one| {
            let (status, reason) = state(one.state);
            let actions = one.actions.unwrap_or_default().into_iter();
            FisExperiment {
                id: one.id.unwrap_or_default(),
                status,
                reason,
                actions: actions
                    .map(|(name, action)| {
                        let status = action.state.and_then(|state| state.status);
                        let status = status.map(|status| status.as_str().to_owned());
                        (name, (action.action_id.unwrap_or_default(), status.unwrap_or_default()))
                    })
                    .collect(),
                tags: one.tags.unwrap_or_default().into_iter().collect(),
            }
        }))
    }
}

impl Writer {
    /// Creates a template; answers its id. The same token creates it only once.
    pub async fn create_experiment_template(
        &self,
        region: &str,
        template: &NewTemplate,
        token: &str,
    ) -> Result<Called<String>, AwsError> {
        const ACTION: &str = "fis:CreateExperimentTemplate";
        let clients = self.reader().region(ACTION, region)?;
        let incomplete = |_| AwsError::incomplete(ACTION, region, "member that a template needs");
        let (mut targets, mut actions) = (Vec::new(), Vec::new());
        for (name, (kind, arns)) in &template.targets {
            let target = CreateExperimentTemplateTargetInput::builder()
                .resource_type(kind)
                .set_resource_arns(Some(arns.clone()))
                .selection_mode("ALL");
            targets.push((name, target.build().map_err(incomplete)?));
        }
        for (name, action) in &template.actions {
            let input = CreateExperimentTemplateActionInput::builder()
                .action_id(&action.id)
                .set_parameters(Some(action.parameters.clone().into_iter().collect()))
                .set_targets(Some(action.targets.clone().into_iter().collect()));
            actions.push((name, input.build().map_err(incomplete)?));
        }
        let stops = stop_conditions(&template.stop_alarms).map_err(incomplete)?;
        self.persist(async || {
            let options = CreateExperimentTemplateExperimentOptionsInput::builder()
                .account_targeting(AccountTargeting::SingleAccount)
                .empty_target_resolution_mode(EmptyTargetResolutionMode::Fail);
            let mut request = clients
                .fis
                .create_experiment_template()
                .client_token(token)
                .description(&template.description)
                .role_arn(&template.role_arn)
                .set_stop_conditions(Some(stops.clone()))
                .experiment_options(options.build())
                .set_tags(Some(template.tags.clone().into_iter().collect()));
            for (name, target) in &targets {
                request = request.targets(*name, target.clone());
            }
            for (name, action) in &actions {
                request = request.actions(*name, action.clone());
            }
            let answer = clients.gate.call(ACTION, request.send()).await?;
            let id = answer.experiment_template.and_then(|made| made.id);
            id.ok_or_else(|| AwsError::incomplete(ACTION, region, "template id"))
        })
        .await
    }

    /// Starts an experiment; answers its id. The same token starts it only once.
    pub async fn start_experiment(
        &self,
        region: &str,
        template: &str,
        tags: &Tags,
        token: &str,
    ) -> Result<Called<String>, AwsError> {
        self.start(region, template, tags, token, ActionsMode::RunAll).await
    }

    /// Starts an experiment that does nothing but resolve its targets; answers its id.
    pub async fn preview_experiment(
        &self,
        region: &str,
        template: &str,
        tags: &Tags,
        token: &str,
    ) -> Result<Called<String>, AwsError> {
        self.start(region, template, tags, token, ActionsMode::SkipAll).await
    }

    async fn start(
        &self,
        region: &str,
        template: &str,
        tags: &Tags,
        token: &str,
        mode: ActionsMode,
    ) -> Result<Called<String>, AwsError> {
        const ACTION: &str = "fis:StartExperiment";
        let clients = self.reader().region(ACTION, region)?;
        self.persist(async || {
            let options = StartExperimentExperimentOptionsInput::builder().actions_mode(mode.clone());
            let request = clients
                .fis
                .start_experiment()
                .client_token(token)
                .experiment_template_id(template)
                .experiment_options(options.build())
                .set_tags(Some(tags.clone().into_iter().collect()));
            let answer = clients.gate.call(ACTION, request.send()).await?;
            let id = answer.experiment.and_then(|started| started.id);
            id.ok_or_else(|| AwsError::incomplete(ACTION, region, "experiment id"))
        })
        .await
    }

    /// Stops an experiment, which undoes what it did; refused for one that has ended.
    pub async fn stop_experiment(&self, region: &str, id: &str) -> Result<Called<()>, AwsError> {
        const ACTION: &str = "fis:StopExperiment";
        let clients = self.reader().region(ACTION, region)?;
        self.persist(async || {
            let request = clients.fis.stop_experiment().id(id);
            clients.gate.call(ACTION, request.send()).await.map(|_| ())
        })
        .await
    }

    /// Deletes a template; an experiment that was started from it goes on.
    pub async fn delete_experiment_template(&self, region: &str, id: &str) -> Result<Called<()>, AwsError> {
        const ACTION: &str = "fis:DeleteExperimentTemplate";
        let clients = self.reader().region(ACTION, region)?;
        self.persist(async || {
            let request = clients.fis.delete_experiment_template().id(id);
            clients.gate.call(ACTION, request.send()).await.map(|_| ())
        })
        .await
    }
}

fn stop_conditions(
    alarms: &[String],
) -> Result<Vec<CreateExperimentTemplateStopConditionInput>, aws_sdk_fis::error::BuildError> {
    let builder = CreateExperimentTemplateStopConditionInput::builder;
    if alarms.is_empty() {
        return Ok(vec![builder().source("none").build()?]);
    }
    let of_alarms = alarms
        .iter()
        .map(|arn| builder().source("aws:cloudwatch:alarm").value(arn).build());
    of_alarms.collect()
}

fn state(state: Option<aws_sdk_fis::types::ExperimentState>) -> (String, String) {
    let Some(state) = state else { return Default::default() };
    let status = state.status.map(|status| status.as_str().to_owned());
    (status.unwrap_or_default(), state.reason.unwrap_or_default())
}
