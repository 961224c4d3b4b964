//! AWS FIS through its SDK: templates, experiments with real effects, what stops them, and quotas.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_fis::Client;
use aws_sdk_fis::types::{
    ActionsMode, CreateExperimentTemplateActionInput as ActionInput,
    CreateExperimentTemplateExperimentOptionsInput as OptionsInput,
    CreateExperimentTemplateStopConditionInput as StopInput, CreateExperimentTemplateTargetInput as TargetInput,
    EmptyTargetResolutionMode, ExperimentStatus, SafetyLeverStatusInput, StartExperimentExperimentOptionsInput,
    UpdateSafetyLeverStateInput,
};

use super::{REGION, code, plain_lab};
use crate::lab::Lab;
use crate::lab::world::InstanceState;

const ROLE: &str = "arn:aws:iam::111122223333:role/fis";

/// What a test asks of one action.
struct Asked<'a> {
    action: &'a str,
    target: (&'a str, &'a str),
    arns: Vec<String>,
    parameters: &'a [(&'a str, &'a str)],
    alarm: Option<String>,
    empty: EmptyTargetResolutionMode,
}

impl<'a> Asked<'a> {
    fn of(
        action: &'a str,
        target: (&'a str, &'a str),
        arns: Vec<String>,
        parameters: &'a [(&'a str, &'a str)],
    ) -> Self {
        Self {
            action,
            target,
            arns,
            parameters,
            alarm: None,
            empty: EmptyTargetResolutionMode::Fail,
        }
    }

    fn stop_for(arns: Vec<String>, parameters: &'a [(&'a str, &'a str)]) -> Self {
        Self::of(
            "aws:ec2:stop-instances",
            ("Instances", "aws:ec2:instance"),
            arns,
            parameters,
        )
    }

    fn request(
        &self,
        client: &Client,
    ) -> aws_sdk_fis::operation::create_experiment_template::builders::CreateExperimentTemplateFluentBuilder {
        let target = TargetInput::builder()
            .resource_type(self.target.1)
            .set_resource_arns(Some(self.arns.clone()))
            .selection_mode("ALL")
            .build()
            .expect("whole");
        let mut action = ActionInput::builder()
            .action_id(self.action)
            .targets(self.target.0, "hit");
        for (key, value) in self.parameters {
            action = action.parameters(*key, *value);
        }
        let stop = match &self.alarm {
            None => StopInput::builder().source("none"),
            Some(arn) => StopInput::builder().source("aws:cloudwatch:alarm").value(arn),
        };
        client
            .create_experiment_template()
            .description("a test")
            .role_arn(ROLE)
            .stop_conditions(stop.build().expect("whole"))
            .targets("hit", target)
            .actions("act", action.build().expect("whole"))
            .experiment_options(
                OptionsInput::builder()
                    .empty_target_resolution_mode(self.empty.clone())
                    .build(),
            )
            .tags("tenfold:run", "r1")
    }

    async fn template(&self, client: &Client) -> String {
        let made = self.request(client).send().await.expect("a template");
        made.experiment_template()
            .and_then(|one| one.id())
            .expect("an id")
            .to_owned()
    }
}

async fn start(client: &Client, template: &str) -> String {
    let started = client
        .start_experiment()
        .experiment_template_id(template)
        .send()
        .await
        .expect("started");
    started.experiment().and_then(|one| one.id()).expect("an id").to_owned()
}

/// Waits until the experiment is in one of these states.
async fn reaches(client: &Client, id: &str, wanted: &[ExperimentStatus]) -> (ExperimentStatus, String) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = client.get_experiment().id(id).send().await.expect("an experiment");
        let state = answer
            .experiment()
            .and_then(|one| one.state())
            .expect("a state")
            .clone();
        let status = state.status().expect("a status").clone();
        if wanted.contains(&status) {
            return (status, state.reason().unwrap_or_default().to_owned());
        }
        assert!(Instant::now() < deadline, "{state:?} instead of {wanted:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volumes_of_one_action_are_in_one_az_and_what_was_begun_ends() {
    let (lab, sdk) = plain_lab().await;
    let client = Client::new(&sdk);
    let volumes: Vec<String> = {
        let world = lab.world();
        let all = world.regions["us-east-1"].instances.values();
        all.map(|one| format!("arn:aws:ec2:us-east-1:{}:volume/{}", world.account, one.volume.id))
            .collect()
    };
    let pause = |arns: &[String]| {
        let target = ("Volumes", "aws:ec2:ebs-volume");
        Asked::of(
            "aws:ebs:pause-volume-io",
            target,
            arns.to_vec(),
            &[("duration", "PT1M")],
        )
    };
    let template = pause(&volumes).template(&client).await;
    let id = start(&client, &template).await;
    let (_, reason) = reaches(&client, &id, &[ExperimentStatus::Failed]).await;
    assert!(reason.contains("same Availability Zone"), "{reason}");
    let disturbed = || lab.world().regions["us-east-1"].fis.volume_faults.len();
    assert_eq!(disturbed(), 0);
    let template = pause(&volumes[..1]).template(&client).await;
    let id = start(&client, &template).await;
    reaches(&client, &id, &[ExperimentStatus::Running]).await;
    reaches(&client, &id, &[ExperimentStatus::Completed]).await;
    assert_eq!(disturbed(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_region_that_is_not_reached_is_another_one_and_is_reached_again() {
    let (lab, sdk) = plain_lab().await;
    let client = Client::new(&sdk);
    let isolate = |to: &'static str| {
        Asked::of(
            "aws:network:route-table-disrupt-cross-region-connectivity",
            ("Subnets", "aws:ec2:subnet"),
            subnets(&lab),
            if to == REGION {
                &[("duration", "PT1M"), ("region", REGION)]
            } else {
                &[("duration", "PT1M"), ("region", "eu-west-1")]
            },
        )
    };
    let not_reached = || lab.world().regions[REGION].fis.route_faults.len();
    let template = isolate(REGION).template(&client).await;
    let id = start(&client, &template).await;
    let (_, reason) = reaches(&client, &id, &[ExperimentStatus::Failed]).await;
    assert!(reason.contains("the Region of the subnets themselves"), "{reason}");
    assert_eq!(not_reached(), 0);
    let template = isolate("eu-west-1").template(&client).await;
    let id = start(&client, &template).await;
    reaches(&client, &id, &[ExperimentStatus::Running]).await;
    assert_eq!(not_reached(), 3);
    reaches(&client, &id, &[ExperimentStatus::Completed]).await;
    assert_eq!(not_reached(), 0);
}

fn instances(lab: &Lab) -> Vec<String> {
    let world = lab.world();
    let all = world.regions[REGION].instances.keys();
    all.map(|id| format!("arn:aws:ec2:{REGION}:111122223333:instance/{id}"))
        .collect()
}

fn subnets(lab: &Lab) -> Vec<String> {
    let world = lab.world();
    let all = world.regions[REGION].subnets.keys();
    all.map(|id| format!("arn:aws:ec2:{REGION}:111122223333:subnet/{id}"))
        .collect()
}

/// Nobody but FIS may act on the instances in these tests.
fn keep_the_group_still(lab: &Arc<Lab>) {
    let all = ["HealthCheck", "ReplaceUnhealthy", "Terminate"].map(str::to_owned);
    crate::lab::dynamics::autoscaling::suspend(lab, REGION, "shop-web", &all).expect("suspended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_experiment_stops_instances_and_starts_them_again() {
    let (lab, sdk) = plain_lab().await;
    keep_the_group_still(&lab);
    let client = Client::new(&sdk);
    let hit = instances(&lab)[0].clone();
    let id = hit.rsplit('/').next().expect("an id").to_owned();
    let state = || lab.world().regions[REGION].instances[&id].state;
    let asked = Asked::stop_for(vec![hit.clone()], &[("startInstancesAfterDuration", "PT2M")]);
    let template = asked.template(&client).await;
    let listed = client.list_experiment_templates().send().await.expect("listed");
    assert_eq!(
        listed.experiment_templates()[0].tags().expect("tags")["tenfold:run"],
        "r1"
    );
    let shown = client
        .get_experiment_template()
        .id(&template)
        .send()
        .await
        .expect("shown");
    let shown = shown.experiment_template().expect("a template").clone();
    assert_eq!(
        shown.actions().expect("actions")["act"].action_id(),
        Some("aws:ec2:stop-instances")
    );
    assert_eq!(shown.stop_conditions()[0].source(), Some("none"));

    let experiment = start(&client, &template).await;
    reaches(&client, &experiment, &[ExperimentStatus::Running]).await;
    let deadline = Instant::now() + Duration::from_secs(5);
    while state() == InstanceState::Running && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(
        matches!(state(), InstanceState::Stopping | InstanceState::Stopped),
        "{:?}",
        state()
    );
    let targets = client
        .list_experiment_resolved_targets()
        .experiment_id(&experiment)
        .send()
        .await
        .expect("targets");
    assert_eq!(
        targets.resolved_targets()[0].target_information().expect("what")["arn"],
        hit
    );
    let (ended, _) = reaches(
        &client,
        &experiment,
        &[ExperimentStatus::Completed, ExperimentStatus::Failed],
    )
    .await;
    assert_eq!(ended, ExperimentStatus::Completed);
    assert!(
        matches!(state(), InstanceState::Pending | InstanceState::Running),
        "{:?}",
        state()
    );
    let again = client.stop_experiment().id(&experiment).send().await;
    assert_eq!(code(again), "ValidationException");
    client
        .delete_experiment_template()
        .id(&template)
        .send()
        .await
        .expect("deleted");
    let gone = client.get_experiment_template().id(&template).send().await;
    assert_eq!(code(gone), "ResourceNotFoundException");
    let of_template = client
        .list_experiments()
        .experiment_template_id(&template)
        .send()
        .await
        .expect("listed");
    assert_eq!(
        of_template.experiments().len(),
        1,
        "an experiment outlives its template"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_experiment_puts_the_network_back() {
    let (lab, sdk) = plain_lab().await;
    let client = Client::new(&sdk);
    let under = || {
        let world = lab.world();
        let region = &world.regions[REGION];
        let acls: Vec<String> = region.subnets.values().map(|one| one.network_acl_id.clone()).collect();
        (acls, region.network_acls.len())
    };
    let before = under();
    let parameters = [("duration", "PT10M"), ("scope", "all")];
    let hits = ("Subnets", "aws:ec2:subnet");
    let asked = Asked::of("aws:network:disrupt-connectivity", hits, subnets(&lab), &parameters);
    let experiment = start(&client, &asked.template(&client).await).await;
    reaches(&client, &experiment, &[ExperimentStatus::Running]).await;
    let deadline = Instant::now() + Duration::from_secs(5);
    while !lab.world().regions[REGION].subnets.values().all(|one| one.silent) {
        assert!(Instant::now() < deadline, "the subnets never went silent");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(under().1, before.1 + 3, "a copy for each subnet");
    client.stop_experiment().id(&experiment).send().await.expect("stopping");
    let (_, reason) = reaches(&client, &experiment, &[ExperimentStatus::Stopped]).await;
    assert_eq!(reason, "Experiment was stopped by the user.");
    assert_eq!(under(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_stops_it_and_so_does_the_safety_lever() {
    let (lab, sdk) = plain_lab().await;
    keep_the_group_still(&lab);
    let client = Client::new(&sdk);
    let arn = {
        let world = lab.world();
        world.regions[REGION]
            .alarms
            .values()
            .next()
            .expect("an alarm")
            .arn
            .clone()
    };
    let alarm = |state: &str| {
        let mut world = lab.world();
        let alarms = &mut world.regions.get_mut(REGION).expect("a Region").alarms;
        let alarm = alarms.values_mut().find(|one| one.arn == arn).expect("the alarm");
        alarm.state = state.to_owned();
    };
    let mut asked = Asked::stop_for(
        vec![instances(&lab)[0].clone()],
        &[("startInstancesAfterDuration", "PT1H")],
    );
    asked.alarm = Some(arn.clone());
    let template = asked.template(&client).await;
    let experiment = start(&client, &template).await;
    reaches(&client, &experiment, &[ExperimentStatus::Running]).await;
    // CloudWatch looks once a minute and puts its own verdict back, which is late enough.
    alarm("ALARM");
    let (_, reason) = reaches(&client, &experiment, &[ExperimentStatus::Stopped]).await;
    assert_eq!(reason, "Experiment halted by stop condition.");
    alarm("OK");

    let unalarmed = Asked::stop_for(
        vec![instances(&lab)[1].clone()],
        &[("startInstancesAfterDuration", "PT1H")],
    );
    let template = unalarmed.template(&client).await;
    let running = start(&client, &template).await;
    reaches(&client, &running, &[ExperimentStatus::Running]).await;
    let engage = |status| {
        UpdateSafetyLeverStateInput::builder()
            .status(status)
            .reason("a test")
            .build()
            .expect("whole")
    };
    let lever = client
        .update_safety_lever_state()
        .id("default")
        .state(engage(SafetyLeverStatusInput::Engaged));
    lever.send().await.expect("engaged");
    reaches(&client, &running, &[ExperimentStatus::Stopped]).await;
    let refused = start(&client, &template).await;
    reaches(&client, &refused, &[ExperimentStatus::Cancelled]).await;
    let twice = client
        .update_safety_lever_state()
        .id("default")
        .state(engage(SafetyLeverStatusInput::Engaged));
    assert_eq!(code(twice.send().await), "ConflictException");
    let shown = client.get_safety_lever().id("default").send().await.expect("a lever");
    let state = shown
        .safety_lever()
        .and_then(|lever| lever.state())
        .expect("a state")
        .clone();
    assert_eq!(state.reason(), Some("a test"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preview_resolves_and_touches_nothing_and_nothing_found_is_a_failure() {
    let (lab, sdk) = plain_lab().await;
    let client = Client::new(&sdk);
    let hits = ("Instances", "aws:ec2:instance");
    let asked = Asked::of(
        "aws:ec2:terminate-instances",
        hits,
        vec![instances(&lab)[0].clone()],
        &[],
    );
    let preview = StartExperimentExperimentOptionsInput::builder()
        .actions_mode(ActionsMode::SkipAll)
        .build();
    let started = client
        .start_experiment()
        .experiment_template_id(asked.template(&client).await)
        .experiment_options(preview)
        .send()
        .await
        .expect("started");
    let id = started.experiment().and_then(|one| one.id()).expect("an id").to_owned();
    reaches(&client, &id, &[ExperimentStatus::Completed]).await;
    let ended = client.get_experiment().id(&id).send().await.expect("an experiment");
    let actions = ended
        .experiment()
        .and_then(|one| one.actions())
        .expect("actions")
        .clone();
    assert_eq!(
        actions["act"]
            .state()
            .and_then(|one| one.status())
            .expect("a status")
            .as_str(),
        "skipped"
    );
    let running = |one: &crate::lab::world::Instance| one.state == InstanceState::Running;
    assert!(lab.world().regions[REGION].instances.values().all(running));

    let nowhere = format!("arn:aws:ec2:{REGION}:111122223333:instance/i-00000000000000000");
    let mut asked = Asked::of("aws:ec2:terminate-instances", hits, vec![nowhere], &[]);
    let failing = start(&client, &asked.template(&client).await).await;
    let (_, reason) = reaches(&client, &failing, &[ExperimentStatus::Failed]).await;
    assert!(reason.contains("empty set"), "{reason}");
    asked.empty = EmptyTargetResolutionMode::Skip;
    let skipping = start(&client, &asked.template(&client).await).await;
    reaches(&client, &skipping, &[ExperimentStatus::Completed]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_or_too_much_is_refused_with_awss_codes() {
    let (lab, sdk) = plain_lab().await;
    keep_the_group_still(&lab);
    let client = Client::new(&sdk);
    let one = || vec![instances(&lab)[0].clone()];
    let hits = ("Instances", "aws:ec2:instance");
    let wrong = [
        Asked::of("aws:ec2:disrupt-network-connectivity", hits, one(), &[]),
        Asked::of("aws:ec2:terminate-instances", ("Subnets", "aws:ec2:subnet"), one(), &[]),
        Asked::of(
            "aws:ec2:terminate-instances",
            ("Instances", "aws:ec2:subnet"),
            one(),
            &[],
        ),
        Asked::of("aws:ec2:terminate-instances", hits, one(), &[("duration", "PT1M")]),
        Asked::stop_for(one(), &[("startInstancesAfterDuration", "5m")]),
        Asked::of(
            "aws:network:disrupt-connectivity",
            ("Subnets", "aws:ec2:subnet"),
            subnets(&lab),
            &[("duration", "PT1M")],
        ),
        Asked::stop_for(vec![one()[0].clone(); 6], &[]),
    ];
    for asked in wrong {
        let refused = asked.request(&client).send().await;
        assert_eq!(code(refused), "ValidationException", "{}", asked.action);
    }
    let nothing = client.start_experiment().experiment_template_id("EXTnone").send().await;
    assert_eq!(code(nothing), "ResourceNotFoundException");
    let unknown = client.get_action().id("aws:ec2:nothing").send().await;
    assert_eq!(code(unknown), "ResourceNotFoundException");
    let known = client
        .get_action()
        .id("aws:network:disrupt-connectivity")
        .send()
        .await
        .expect("an action");
    let parameters = known
        .action()
        .and_then(|one| one.parameters())
        .expect("parameters")
        .clone();
    assert_eq!(parameters["scope"].required(), Some(true));
    let listed = client.list_actions().send().await.expect("actions");
    assert!(
        listed
            .actions()
            .iter()
            .any(|one| one.id() == Some("aws:rds:reboot-db-instances"))
    );

    // The token that made it is answered with it, and the sixth at once is one too many.
    let asked = Asked::stop_for(one(), &[("startInstancesAfterDuration", "PT1H")]);
    let twice = [asked.request(&client), asked.request(&client)].map(|one| one.client_token("t1"));
    let [first, second] = twice.map(|one| async move { one.send().await.expect("a template").experiment_template });
    assert_eq!(first.await, second.await);
    let template = asked.template(&client).await;
    for _ in 0..5 {
        start(&client, &template).await;
    }
    let sixth = client.start_experiment().experiment_template_id(&template).send().await;
    assert_eq!(code(sixth), "ServiceQuotaExceededException");
}
