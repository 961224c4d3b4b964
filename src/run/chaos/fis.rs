//! A fault by way of AWS FIS: a template with the exact resources, an experiment of it, and both gone afterwards.
//! What the world was like is the same before-image as for the API, so that the revert can say whether FIS has put
//! everything back, and does it itself where FIS has not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::before::{Before, FisBefore};
use super::injection::{Context, Over, Pass};
use super::journal::timestamp;
use super::mark::Mark;
use super::network::{self, TAG_EXPIRES, TAG_FAULT, TAG_RUN};
use super::runner::{Hand, Sight};
use super::scan::{Leftover, Scan};
use super::{ChaosError, ebs, ec2, guard, rds};
use crate::aws::{AwsError, ErrorKind, FisExperiment, NewAction, NewTemplate, Reader, Tags};
use crate::event::FaultId;
use crate::plan::{FaultPlan, FisFor, FisTemplate, leased, step_name};

/// How long an experiment may take until it runs: cloud time, and at least this in real time.
const START_PATIENCE: Duration = Duration::from_secs(180);
const START_PATIENCE_FLOOR: Duration = Duration::from_secs(20);
/// Pause between two looks at its state, cloud time.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// What the ids of templates and of experiments begin with.
const TEMPLATE: &str = "EXT";
const EXPERIMENT: &str = "EXP";
/// The type of the targets whose calls FIS lets fail.
const ROLE: &str = "aws:iam:role";

/// Asks whether FIS would do it, and makes the template of what was chosen.
pub(super) async fn prepare(
    sight: &Sight<'_>,
    context: &Context<'_>,
    fault: &FaultPlan,
    planned: &FisTemplate,
    world: Before,
) -> Result<Before, ChaosError> {
    let (reader, region) = (sight.reader, sight.region);
    let mut template = FisTemplate {
        targets: BTreeMap::new(),
        actions: BTreeMap::new(),
        ..planned.clone()
    };
    let of = FisFor {
        fault: &fault.fault,
        region,
        lasts: fault.revert_at.map(|end| leased(end.saturating_sub(fault.at))),
        account: context.target.account.as_deref().unwrap_or_default(),
    };
    template.add(&of, &step_name(&fault.fault), &world.resources(), &[]);
    if let Before::RdsFailover { failover: false, .. } = world {
        for step in template.actions.values_mut() {
            step.parameters.insert("forceFailover".to_owned(), "false".to_owned());
        }
    }
    own_roles_stay(sight, context, &template).await?;
    let known = reader.fis_actions(region).await?;
    if let Some(step) = template.actions.values().find(|step| !known.contains(&step.action_id)) {
        let why = format!("AWS FIS in {region} has no action {}", step.action_id);
        return Err(ChaosError::Refused(why));
    }
    if let Some(reason) = reader.safety_lever_engaged(region).await? {
        let why = format!("the safety lever of AWS FIS is engaged in {region}: {reason}");
        return Err(ChaosError::Refused(why));
    }
    let before = FisBefore {
        run: context.run.to_owned(),
        template,
        world: Box::new(world),
    };
    tags(sight.fault, region, &before, 0.0)?;
    Ok(Before::Fis(before))
}

/// Refuses a template that acts on a role by which this run reaches the account.
async fn own_roles_stay(sight: &Sight<'_>, context: &Context<'_>, template: &FisTemplate) -> Result<(), ChaosError> {
    let mut roles = roles_in(template).peekable();
    if roles.peek().is_none() {
        return Ok(());
    }
    let caller = sight.reader.caller(sight.region).await?.arn;
    let own = || {
        std::iter::once(&caller)
            .chain(&context.target.assume)
            .map(String::as_str)
    };
    roles
        .try_for_each(|role| guard::not_own_role(own(), role))
        .map_err(ChaosError::Refused)
}

/// ARNs of the roles that a template acts on.
fn roles_in(template: &FisTemplate) -> impl Iterator<Item = &str> {
    let of_roles = template.targets.values().filter(|target| target.resource_type == ROLE);
    of_roles.flat_map(|target| target.resource_arns.iter().map(String::as_str))
}

/// A template that was created, with what an experiment of it is started with.
struct Created {
    template: String,
    tags: Tags,
    token: String,
}

/// Creates the template, starts an experiment of it and waits until it runs; both are tagged as expiring at `expires`,
/// cloud time.
pub(super) async fn inject(hand: &Hand<'_>, before: &FisBefore, expires: f64) -> Result<(), ChaosError> {
    let Created { template, tags, token } = create(hand, before, expires).await?;
    let answer = hand.cloud.start_experiment(hand.region, &template, &tags, &token).await;
    let experiment = hand.called("fis:StartExperiment", &template, answer)?;
    hand.created(&experiment)?;
    runs(hand, &experiment).await
}

/// Creates the template and lets FIS resolve its targets, and nothing else; answers their ARNs.
pub(super) async fn resolve(hand: &Hand<'_>, before: &FisBefore, expires: f64) -> Result<BTreeSet<String>, ChaosError> {
    let Created { template, tags, token } = create(hand, before, expires).await?;
    let answer = hand
        .cloud
        .preview_experiment(hand.region, &template, &tags, &token)
        .await;
    let detail = format!("{template} with actionsMode=skip-all");
    let experiment = hand.called("fis:StartExperiment", &detail, answer)?;
    hand.created(&experiment)?;
    ended(hand).await;
    match self::experiment(hand).await? {
        Some(one) if one.status == "completed" => {
            Ok(hand.cloud.reader().resolved_targets(hand.region, &experiment).await?)
        }
        Some(one) => Err(ChaosError::Refused(told(&one))),
        None => Err(ChaosError::Refused(format!(
            "AWS FIS does not know experiment {experiment}"
        ))),
    }
}

async fn create(hand: &Hand<'_>, before: &FisBefore, expires: f64) -> Result<Created, ChaosError> {
    let tags = tags(hand.fault, hand.region, before, expires)?;
    let token = network::token(&before.run, 0, &hand.fault.to_string());
    let new = new_template(&before.template, &tags);
    let steps = new
        .actions
        .iter()
        .map(|(name, action)| format!("{name}: {}", action.id));
    let detail = steps.collect::<Vec<_>>().join(", ");
    let answer = hand.cloud.create_experiment_template(hand.region, &new, &token).await;
    let template = hand.called("fis:CreateExperimentTemplate", &detail, answer)?;
    hand.created(&template)?;
    if hand.is_ending() {
        return Err(ChaosError::Ending);
    }
    Ok(Created { template, tags, token })
}

/// What templates and experiments say of themselves, enough to undo them when the journal is lost; an error where they
/// would be too many.
fn tags(fault: &FaultId, region: &str, before: &FisBefore, expires: f64) -> Result<Tags, ChaosError> {
    let mark = Mark {
        run: before.run.clone(),
        fault: fault.clone(),
        region: region.to_owned(),
        expires: Some(expires),
        before: Before::clone(&before.world),
    };
    let mut tags = mark.tags()?;
    tags.extend([
        ("Name".to_owned(), format!("tenfold {fault}")),
        (TAG_RUN.to_owned(), before.run.clone()),
        (TAG_FAULT.to_owned(), fault.to_string()),
        (TAG_EXPIRES.to_owned(), timestamp(expires)),
    ]);
    Ok(tags)
}

fn new_template(template: &FisTemplate, tags: &Tags) -> NewTemplate {
    let targets = template.targets.iter();
    let actions = template.actions.iter();
    NewTemplate {
        description: template.description.clone(),
        role_arn: template.role_arn.clone(),
        targets: targets
            .map(|(name, one)| (name.clone(), (one.resource_type.clone(), one.resource_arns.clone())))
            .collect(),
        actions: actions
            .map(|(name, step)| {
                let action = NewAction {
                    id: step.action_id.clone(),
                    parameters: step.parameters.clone(),
                    targets: step.targets.clone(),
                };
                (name.clone(), action)
            })
            .collect(),
        stop_alarms: template
            .stop_conditions
            .iter()
            .filter_map(|stop| stop.value.clone())
            .collect(),
        tags: tags.clone(),
    }
}

/// Waits until an experiment runs, or has already done what it was to do.
async fn runs(hand: &Hand<'_>, id: &str) -> Result<(), ChaosError> {
    let deadline = Instant::now() + hand.pace.patience(START_PATIENCE).max(START_PATIENCE_FLOOR);
    loop {
        let state = match hand.cloud.reader().experiment(hand.region, id).await {
            Ok(Some(experiment)) if experiment.status == "running" || experiment.status == "completed" => return Ok(()),
            Ok(Some(experiment)) if experiment.has_ended() || experiment.status == "stopping" => {
                return Err(ChaosError::Refused(told(&experiment)));
            }
            Ok(Some(experiment)) => told(&experiment),
            Ok(None) => format!("AWS FIS does not know experiment {id} yet"),
            Err(error) if error.is_transient() => error.to_string(),
            Err(error) => return Err(error.into()),
        };
        if hand.is_ending() {
            return Err(ChaosError::Ending);
        }
        if Instant::now() >= deadline {
            return Err(ChaosError::Refused(state));
        }
        tokio::time::sleep(hand.pace.patience(LOOK_EVERY)).await;
    }
}

fn told(experiment: &FisExperiment) -> String {
    let FisExperiment { id, status, reason, .. } = experiment;
    // It stands in sentences of ours.
    format!(
        "experiment {id} of AWS FIS is {status}: {}",
        reason.trim_end_matches('.')
    )
}

/// The experiment that the fault started.
async fn experiment(hand: &Hand<'_>) -> Result<Option<FisExperiment>, ChaosError> {
    let created = hand.created_ids();
    match created.iter().find(|id| id.starts_with(EXPERIMENT)) {
        Some(id) => Ok(hand.cloud.reader().experiment(hand.region, id).await?),
        None => Ok(None),
    }
}

/// Evidence of the effect: the states of the experiment and of its actions, and what the world itself shows.
pub(super) async fn observe(hand: &Hand<'_>, before: &FisBefore, since: f64) -> Result<Option<String>, ChaosError> {
    let Some(experiment) = experiment(hand).await? else {
        return Ok(None);
    };
    let seen = match before.world.as_ref() {
        Before::Ec2Stop { instances, .. } => ec2::observe_stopped(hand, instances).await?,
        Before::Ec2Terminate { instances, .. } | Before::Ec2SpotInterruption { instances, .. } => {
            ec2::observe_gone(hand, instances).await?
        }
        Before::EbsPauseIo(disks) => ebs::observe_paused(hand, disks).await?,
        Before::EbsLatency(disks) => {
            all_run(&experiment).then(|| format!("I/O of {} takes longer from now on", disks.volumes.join(", ")))
        }
        Before::ApiErrors { role } => all_run(&experiment).then(|| format!("calls of {role} fail from now on")),
        Before::NetworkCrossRegion { subnets, to } => {
            all_run(&experiment).then(|| format!("nothing that leaves {} reaches {to} from now on", subnets.join(", ")))
        }
        Before::Ec2Reboot { group, instances } => ec2::observe_rebooting(hand, group, instances).await?,
        Before::NetworkDenyAz(before) | Before::NetworkDenyRegion(before) => {
            network::observe_by_fis(hand, before).await?
        }
        Before::RdsFailover {
            database, failover, az, ..
        } => rds::observe(hand, database, *failover, az, since).await?,
        Before::AutoScalingInsufficientCapacity { az, .. } => {
            let running = experiment.actions.values().any(|(_, status)| status == "running");
            running.then(|| format!("launches in {az} fail from now on"))
        }
        Before::RdsReboot { database } => rds::observe_restart(hand, database, since).await?,
        Before::RdsFailoverCluster { cluster, writer, .. } => {
            rds::cluster::observe(hand, cluster, writer, since).await?
        }
        _ => None,
    };
    let actions = experiment
        .actions
        .values()
        .map(|(id, status)| format!("{id} is {status}"));
    let actions = actions.collect::<Vec<_>>().join(", ");
    Ok(seen.map(|seen| {
        let FisExperiment { id, status, .. } = &experiment;
        format!("experiment {id} of AWS FIS is {status} ({actions}); {seen}")
    }))
}

fn all_run(experiment: &FisExperiment) -> bool {
    let mut actions = experiment.actions.values();
    !experiment.actions.is_empty() && actions.all(|(_, status)| status == "running")
}

/// Why the fault is over before its time, if it is: an alarm or the safety lever has stopped the experiment, say, or
/// somebody has put back what it changed.
pub(super) async fn over(hand: &Hand<'_>, before: &FisBefore) -> Result<Option<Over>, ChaosError> {
    let found = experiment(hand).await?;
    if let Some(one) = found.filter(|one| one.has_ended() || one.status == "stopping") {
        return Ok(Some(Over::stopped(told(&one))));
    }
    let put_back = match before.world.as_ref() {
        Before::Ec2Stop { instances, .. } => ec2::no_longer_stopped(hand, instances).await?,
        Before::NetworkDenyAz(before) | Before::NetworkDenyRegion(before) => {
            network::no_longer_cut(hand, before, true).await?
        }
        _ => None,
    };
    Ok(put_back.map(Over::put_back))
}

/// Stops what still runs, deletes the templates, and sees that the world is as it was. `deleted` holds the templates of
/// earlier passes.
pub(super) async fn undo(
    hand: &Hand<'_>,
    before: &FisBefore,
    deleted: &mut BTreeSet<String>,
) -> Result<Pass, ChaosError> {
    let mut pass = Pass::default();
    let templates = templates(hand, before).await?;
    let found = experiments(hand, &templates).await?;
    for experiment in &found {
        if experiment.has_ended() {
            continue;
        }
        if experiment.status != "stopping" {
            let answer = hand.cloud.stop_experiment(hand.region, &experiment.id).await;
            match hand.called("fis:StopExperiment", &experiment.id, answer) {
                // It may have ended just now; the next look tells.
                Ok(()) | Err(ChaosError::Aws(_)) => {}
                Err(other) => return Err(other),
            }
        }
        pass.left.push(told(experiment));
    }
    if !pass.left.is_empty() {
        return Ok(pass);
    }
    for template in &templates - &*deleted {
        let answer = hand.cloud.delete_experiment_template(hand.region, &template).await;
        match hand.called("fis:DeleteExperimentTemplate", &template, answer) {
            Err(ChaosError::Aws(error)) if error.kind != ErrorKind::NotFound => {
                pass.left.push(format!("{template}: {}", error.brief()));
            }
            Ok(()) | Err(ChaosError::Aws(_)) => {
                deleted.insert(template);
            }
            Err(other) => return Err(other),
        }
    }
    let of_world = match before.world.as_ref() {
        Before::Ec2Stop { instances, .. } => ec2::start_again(hand, instances).await?,
        Before::NetworkDenyAz(before) | Before::NetworkDenyRegion(before) => network::put_back(hand, before).await?,
        _ => Pass::default(),
    };
    pass.left.extend(of_world.left);
    pass.foreign.extend(of_world.foreign);
    // An experiment that has ended has put everything back, and there is none but the one that was noted.
    let noted = hand.created_ids().into_iter().filter(|id| id.starts_with(EXPERIMENT));
    pass.proven = noted.into_iter().any(|id| found.iter().any(|one| one.id == id));
    Ok(pass)
}

/// Templates of this fault: those that were noted, and those that carry its tags although nobody noted them.
async fn templates(hand: &Hand<'_>, before: &FisBefore) -> Result<BTreeSet<String>, ChaosError> {
    let ours =
        |tags: &Tags| tags.get(TAG_RUN) == Some(&before.run) && tags.get(TAG_FAULT) == Some(&hand.fault.to_string());
    let tagged = hand.cloud.reader().experiment_templates(hand.region).await?;
    let tagged = tagged.into_iter().filter(|(_, tags)| ours(tags)).map(|(id, _)| id);
    let noted = hand.created_ids().into_iter().filter(|id| id.starts_with(TEMPLATE));
    Ok(tagged.chain(noted).collect())
}

/// Experiments of these templates, and those that were noted.
async fn experiments(hand: &Hand<'_>, templates: &BTreeSet<String>) -> Result<Vec<FisExperiment>, ChaosError> {
    let reader = hand.cloud.reader();
    let mut found = Vec::new();
    for template in templates {
        found.extend(reader.experiments_of(hand.region, template).await?);
    }
    for id in hand.created_ids().into_iter().filter(|id| id.starts_with(EXPERIMENT)) {
        if !found.iter().any(|one: &FisExperiment| one.id == id) {
            found.extend(reader.experiment(hand.region, &id).await?);
        }
    }
    Ok(found)
}

/// Waits until the experiment of an irreversible fault has ended by itself, for as long as a start may take.
pub(super) async fn ended(hand: &Hand<'_>) {
    let deadline = Instant::now() + hand.pace.patience(START_PATIENCE).max(START_PATIENCE_FLOOR);
    while Instant::now() < deadline && !hand.is_ending() {
        if matches!(experiment(hand).await, Ok(Some(one)) if one.has_ended()) {
            return;
        }
        tokio::time::sleep(hand.pace.patience(LOOK_EVERY)).await;
    }
}

/// What runs left in a Region: templates, and experiments that have not ended, by their tags.
pub(super) async fn left_in(reader: &Reader, region: &str, scan: &mut Scan) -> Result<(), AwsError> {
    let mut found = reader.experiment_templates(region).await?;
    let experiments = reader.experiments(region).await?.into_iter();
    found.extend(experiments.filter(|one| !one.has_ended()).map(|one| (one.id, one.tags)));
    for (id, tags) in found {
        let Some(run) = tags.get(TAG_RUN) else { continue };
        // Its tags are of one fault alone, and so is the mark among them.
        let Some(mark) = Mark::read(&tags).0.pop() else {
            scan.strange.push(format!("{id} of run {run} in {region}"));
            continue;
        };
        let before = FisBefore {
            run: mark.run.clone(),
            template: FisTemplate::new(String::new(), String::new(), &[], region, ""),
            world: Box::new(mark.before),
        };
        scan.add(Leftover {
            region: region.to_owned(),
            run: mark.run,
            fault: mark.fault,
            expires: mark.expires,
            resources: vec![id],
            befores: vec![Before::Fis(before)],
        });
    }
    Ok(())
}

/// The commands that undo it without us.
pub(super) fn by_hand(before: &FisBefore, region: &str) -> String {
    format!(
        "`aws fis list-experiments --region {region}` shows those tagged {TAG_RUN}={}; stop each with `aws fis \
         stop-experiment --region {region} --id ID`, which puts back what it did, and delete its template with `aws fis \
         delete-experiment-template --region {region} --id ID`",
        before.run
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::FisTarget;

    #[test]
    fn the_roles_that_a_template_acts_on_are_found() {
        let role = "arn:aws:iam::111122223333:role/shop-web";
        let target = |resource_type: &str, arn: &str| FisTarget {
            resource_type: resource_type.to_owned(),
            resource_arns: vec![arn.to_owned()],
            selection_mode: "ALL".to_owned(),
        };
        let fis = "arn:aws:iam::111122223333:role/fis".to_owned();
        let mut template = FisTemplate::new(String::new(), fis, &[], "us-east-1", "111122223333");
        let instance = "arn:aws:ec2:us-east-1:111122223333:instance/i-1";
        template
            .targets
            .insert("stop".to_owned(), target("aws:ec2:instance", instance));
        assert_eq!(
            roles_in(&template).count(),
            0,
            "the role that FIS acts as is not acted on"
        );
        template.targets.insert("fail".to_owned(), target(ROLE, role));
        assert_eq!(roles_in(&template).collect::<Vec<_>>(), [role]);
    }
}
