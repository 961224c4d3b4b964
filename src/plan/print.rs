//! The plan as text: what a run would do, with every API call and its revert, the blast radius and the IAM actions.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::{
    CallPlan, ClaimPlan, ClassPlan, Fault, FaultPlan, Hits, Inventory, Iterations, LoadModel, Plan, Protocol, Role,
    ServicesPlan, StagePlan, TokenUse, Via, catalogue, policy, unmarked, without_tags,
};
use crate::units::{format_count, format_duration, format_rate};

/// What is not known of a plan whose services the target describes itself.
pub const ASKED_LATER: &str = "when a run begins, the target is asked what its services of gRPC look like (reflection); \
                               methods and messages are checked only then";

/// Calls the observers make, by the kind of role; the write calls come from the faults.
const READS: [&str; 4] = [
    "sts:GetCallerIdentity",
    "ec2:DescribeInstances",
    "ec2:DescribeSubnets",
    "ec2:DescribeNetworkAcls",
];
const READS_GROUP: [&str; 8] = [
    "autoscaling:DescribeAutoScalingGroups",
    "autoscaling:DescribePolicies",
    "autoscaling:DescribeScalingActivities",
    "cloudwatch:DescribeAlarms",
    "cloudwatch:GetMetricData",
    "elasticloadbalancing:DescribeLoadBalancers",
    "elasticloadbalancing:DescribeTargetGroups",
    "elasticloadbalancing:DescribeTargetHealth",
];
/// What tells of a run that is elsewhere, or died, before one that has faults begins.
const READS_OTHERS: [&str; 14] = [
    "arc-zonal-shift:ListZonalShifts",
    "autoscaling:DescribeAutoScalingGroups",
    "ec2:DescribeInstances",
    "ec2:DescribeNetworkAcls",
    "elasticloadbalancing:DescribeTags",
    "elasticloadbalancing:DescribeTargetGroups",
    "fis:ListExperimentTemplates",
    "fis:ListExperiments",
    "rds:DescribeDBClusters",
    "rds:DescribeDBInstances",
    "route53:ListHealthChecks",
    "route53:ListHostedZones",
    "route53:ListTagsForResources",
    "sts:GetCallerIdentity",
];
const READS_DATABASE: [&str; 2] = ["rds:DescribeDBInstances", "rds:DescribeEvents"];
const READS_CLUSTER: [&str; 4] = [
    "rds:DescribeDBClusters",
    "rds:DescribeDBInstances",
    "rds:DescribeEvents",
    "rds:DescribeGlobalClusters",
];
const READS_DNS: [&str; 3] = [
    "route53:GetHealthCheck",
    "route53:GetHealthCheckStatus",
    "route53:ListResourceRecordSets",
];

/// What a run calls where AWS FIS injects a fault.
const READS_FIS: [&str; 5] = [
    "fis:GetExperiment",
    "fis:GetSafetyLever",
    "fis:ListActions",
    "fis:ListExperimentTemplates",
    "fis:ListExperiments",
];
const INJECT_FIS: [&str; 4] = [
    "fis:CreateExperimentTemplate",
    "fis:StartExperiment",
    "fis:TagResource",
    "iam:PassRole",
];
const REVERT_FIS: [&str; 2] = ["fis:DeleteExperimentTemplate", "fis:StopExperiment"];

/// Everything `run` would do, for reading.
#[must_use]
pub fn print(plan: &Plan) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = head(plan, &mut out)
        .and_then(|()| loads(plan, &mut out))
        .and_then(|()| stages(plan, &mut out))
        .and_then(|()| experiments(plan, &mut out))
        .and_then(|()| claims(plan, &mut out))
        .and_then(|()| objectives(plan, &mut out))
        .and_then(|()| permissions(plan, &mut out));
    out
}

fn head(plan: &Plan, out: &mut String) -> std::fmt::Result {
    let target = &plan.target;
    writeln!(
        out,
        "plan {}: {} of cloud time, {} at pace {}, seed {}",
        plan.name,
        format_duration(plan.ends_at),
        format_duration(plan.wall(plan.ends_at)),
        plan.pace,
        plan.seed
    )?;
    writeln!(
        out,
        "target {}: {}://{}:{}",
        target.name, target.scheme, target.host, target.port
    )?;
    if let Some(account) = &target.account {
        writeln!(out, "account {account}, Regions {}", target.regions.join(", "))?;
    }
    if let Some(allow) = &target.allow {
        let tag = allow
            .tag
            .as_ref()
            .map_or_else(|| "any tag".to_owned(), |(key, value)| format!("tag {key}={value}"));
        let count = allow
            .count
            .map(|count| format!(" and {count} instances"))
            .unwrap_or_default();
        writeln!(
            out,
            "allowed to touch: {tag}, at most {}{count} of a role; healthy targets that must stay: {}",
            percent(allow.share),
            allow.healthy_min
        )?;
        if let Some(calendar) = &allow.calendar {
            writeln!(out, "allowed when: {calendar}")?;
        }
    }
    let own = [&target.runner.instance, &target.runner.subnet];
    let own: Vec<&str> = own.into_iter().flatten().map(String::as_str).collect();
    if !own.is_empty() {
        writeln!(out, "this runs on {}, which it does not hit", own.join(" in "))?;
    }
    for client in &plan.token_clients {
        let tokens = match client.tokens {
            TokenUse::Shared(1) => "one for all users".to_owned(),
            TokenUse::Shared(count) => format!("{count} for all users"),
            TokenUse::PerUser => "one for each user".to_owned(),
        };
        let spacing = format_duration(client.spacing);
        let url = client.token_url.shown();
        writeln!(out, "tokens from {url}: {tokens}, asked for at most once in {spacing}")?;
    }
    let calls = plan.steps.iter().any(|step| matches!(step.protocol, Protocol::Grpc(_)));
    if calls && plan.services == Some(ServicesPlan::Reflection) {
        writeln!(out, "{ASKED_LATER}")?;
    }
    Ok(())
}

fn loads(plan: &Plan, out: &mut String) -> std::fmt::Result {
    for load in &plan.loads {
        let names: Vec<&str> = load
            .journeys
            .iter()
            .filter_map(|index| plan.journeys.get(*index))
            .map(|journey| journey.name.as_str())
            .collect();
        writeln!(
            out,
            "\nload {} ({}), journeys {}, from {} to {}",
            load.name,
            model(load.model),
            names.join(", "),
            format_duration(load.starts_at()),
            format_duration(load.ends_at())
        )?;
        if let Some(iterations) = load.iterations {
            let count = match iterations {
                Iterations::Each(each) => format!("{} of each user", format_count(u64::from(each))),
                Iterations::Shared(shared) => format!("{} of all users together", format_count(shared)),
            };
            writeln!(
                out,
                "  iterations: {count}; what is not made by the end is counted as not sent"
            )?;
        }
        for (index, stage) in load.stages.iter().enumerate() {
            let rate = load.expected_rate(&plan.journeys, stage.level);
            self::stage(index, stage, load.model, rate, out)?;
        }
    }
    Ok(())
}

fn model(model: LoadModel) -> &'static str {
    match model {
        LoadModel::Users => "closed: users think between requests",
        LoadModel::Arrivals => "open: arrivals come whatever happens",
        LoadModel::Mixed => "closed and open",
    }
}

fn stages(plan: &Plan, out: &mut String) -> std::fmt::Result {
    let all = if plan.loads.is_empty() {
        model(plan.model).to_owned()
    } else {
        format!(
            "all loads; {}; steady while every load that runs holds",
            model(plan.model)
        )
    };
    writeln!(out, "\nload ({all})")?;
    for (index, stage) in plan.stages.iter().enumerate() {
        self::stage(index, stage, plan.model, plan.expected_rate(stage), out)?;
    }
    let weights: f64 = plan.journeys.iter().map(|journey| journey.weight).sum();
    for journey in &plan.journeys {
        let share = if plan.loads.is_empty() {
            format!("{} of passes", percent(journey.weight / weights))
        } else {
            format!("weight {}", journey.weight)
        };
        let steps = super::flow::written(plan, journey);
        writeln!(out, "  journey {}: {share}, steps {steps}", journey.name)?;
    }
    plan.client.classes.iter().try_for_each(|class| self::class(class, out))
}

fn class(class: &ClassPlan, out: &mut String) -> std::fmt::Result {
    let retries = match &class.retries {
        None => "no retries".to_owned(),
        Some(retries) => format!("{} attempts", retries.attempts),
    };
    writeln!(
        out,
        "  class {}: {} of users, DNS {}, {retries}",
        class.name,
        percent(class.share),
        class.dns
    )
}

fn stage(index: usize, stage: &StagePlan, model: LoadModel, expected: f64, out: &mut String) -> std::fmt::Result {
    let rate = format_rate(expected);
    let level = match model {
        LoadModel::Users if expected == 0.0 => {
            let users = format_count(stage.level as u64);
            format!("{users} users, as many requests/s as they are answered")
        }
        LoadModel::Users => format!("{} users, about {rate} requests/s", format_count(stage.level as u64)),
        LoadModel::Arrivals => format!("{}/s arrivals", format_rate(stage.level)),
        LoadModel::Mixed => format!("about {rate} requests/s"),
    };
    writeln!(
        out,
        "  stage {} (tier {}): {level}; ramp {} from {}, hold {} from {} to {}",
        index + 1,
        stage.tier,
        format_duration(stage.ramp()),
        format_duration(stage.starts_at),
        format_duration(stage.hold()),
        format_duration(stage.holds_at),
        format_duration(stage.ends_at)
    )
}

fn experiments(plan: &Plan, out: &mut String) -> std::fmt::Result {
    for experiment in &plan.experiments {
        writeln!(out, "\nexperiment {}: {}", experiment.name, experiment.hypothesis)?;
        writeln!(
            out,
            "  from {} to {} (wall {} to {})",
            format_duration(experiment.starts_at()),
            format_duration(experiment.ends_at()),
            format_duration(plan.wall(experiment.starts_at())),
            format_duration(plan.wall(experiment.ends_at()))
        )?;
        for fault in &experiment.faults {
            self::fault(plan, fault, out)?;
        }
        for stop in &experiment.stop_when {
            writeln!(out, "  stops and reverts everything when {}", stop.text)?;
        }
    }
    Ok(())
}

fn fault(plan: &Plan, fault: &FaultPlan, out: &mut String) -> std::fmt::Result {
    let window = times(plan, fault);
    writeln!(
        out,
        "  fault {} on {} in {}: {window}",
        fault.fault.name(),
        fault.role,
        fault.region
    )?;
    writeln!(
        out,
        "    blast radius: {}",
        blast_radius(fault, &plan.target.roles, &plan.target.inventory)
    )?;
    by(fault, out)?;
    for call in &fault.calls {
        writeln!(out, "    call   {} {}", call.action, call.detail)?;
    }
    for call in &fault.reverts {
        writeln!(out, "    revert {} {}", call.action, call.detail)?;
    }
    policies(plan, [("inject", &fault.calls), ("revert", &fault.reverts)], out)?;
    unbound(plan, fault, out)?;
    let entry = fault.fault.entry();
    writeln!(out, "    cost   {}", entry.cost)?;
    if let Some(quota) = entry.quota {
        writeln!(out, "    quota  {quota}")?;
    }
    let refused = unmarked(fault, &plan.target);
    if let Some(why) = &refused {
        writeln!(out, "    refused as things are: {why}")?;
    }
    if fault.calls.is_empty() && refused.is_none() {
        writeln!(
            out,
            "    call   none: the target has nothing of this kind, so the experiment will be inconclusive"
        )?;
    }
    writeln!(out, "    not reproduced: {}", fault.fidelity)
}

/// What says whose the account is while the run lasts.
fn claims(plan: &Plan, out: &mut String) -> std::fmt::Result {
    if !plan.has_faults() {
        return Ok(());
    }
    writeln!(
        out,
        "\nclaims, while the run lasts, so that no other begins (not in a lab of its own)"
    )?;
    let claims = plan.claims();
    for claim in &claims {
        writeln!(out, "  {}", claim.region)?;
        writeln!(out, "    call   {} {}", claim.call.action, claim.call.detail)?;
        writeln!(out, "    revert {} {}", claim.revert.action, claim.revert.detail)?;
    }
    let all = |of: fn(&ClaimPlan) -> &CallPlan| claims.iter().map(of).cloned().collect::<Vec<_>>();
    policies(
        plan,
        [
            ("claim", &all(|one| &one.call)),
            ("end a claim", &all(|one| &one.revert)),
        ],
        out,
    )?;
    for region in unclaimed(plan, &claims) {
        writeln!(
            out,
            "  {region}: none, for no group and no database of the target there may be touched; what another machine runs is \
             seen only by what it has in the world"
        )?;
    }
    Ok(())
}

/// Regions that the run does not claim.
fn unclaimed<'p>(plan: &'p Plan, claims: &[ClaimPlan]) -> Vec<&'p str> {
    let regions = plan.target.regions.iter().map(String::as_str);
    let is_claimed = |region: &&str| claims.iter().any(|claim| claim.region == *region);
    regions.filter(|region| !is_claimed(region)).collect()
}

/// When a fault begins and ends, in cloud time and on the wall.
#[must_use]
pub fn times(plan: &Plan, fault: &FaultPlan) -> String {
    match fault.revert_at {
        Some(end) => format!(
            "{} to {} (wall {} to {})",
            format_duration(fault.at),
            format_duration(end),
            format_duration(plan.wall(fault.at)),
            format_duration(plan.wall(end))
        ),
        None => format!(
            "{} (wall {}), irreversible",
            format_duration(fault.at),
            format_duration(plan.wall(fault.at))
        ),
    }
}

/// What a role must be allowed that makes these calls, each for its purpose.
fn policies(plan: &Plan, calls: [(&str, &Vec<CallPlan>); 2], out: &mut String) -> std::fmt::Result {
    for (what, calls) in calls {
        if let Some(document) = policy(calls, tag(plan)) {
            writeln!(out, "    IAM policy to {what} {document}")?;
        }
    }
    Ok(())
}

/// The tag that the target's owner marks by what may be touched.
fn tag(plan: &Plan) -> Option<&(String, String)> {
    plan.target.allow.as_ref().and_then(|allow| allow.tag.as_ref())
}

/// What the policy of a fault cannot bind to that tag.
fn unbound(plan: &Plan, fault: &FaultPlan, out: &mut String) -> std::fmt::Result {
    let all: Vec<&str> = without_tags(&fault.calls).into_iter().collect();
    if let (false, Some((key, _))) = (all.is_empty(), tag(plan)) {
        writeln!(
            out,
            "    not bound to the tag {key} by IAM: {}, only to the resource",
            all.join(", ")
        )?;
    }
    Ok(())
}

/// Who injects it, where that is not simply the API.
fn by(fault: &FaultPlan, out: &mut String) -> std::fmt::Result {
    let chosen = if fault.via == Via::Auto {
        " (chosen by auto)"
    } else {
        ""
    };
    let Some(template) = &fault.fis else {
        return match fault.via {
            Via::Api => Ok(()),
            _ => writeln!(out, "    by     the service's own API{chosen}"),
        };
    };
    writeln!(
        out,
        "    by     AWS FIS{chosen}, as {}; quota: 1 of 5 experiments at the same time, {} of 20 actions, {} of 5 \
         targets an action",
        template.role_arn,
        template.actions.len(),
        template.largest()
    )?;
    let alarms = template.stop_conditions.iter().filter_map(|stop| stop.value.as_deref());
    for alarm in alarms {
        writeln!(out, "    stops  when {alarm} is in ALARM")?;
    }
    Ok(())
}

fn blast_radius(fault: &FaultPlan, roles: &BTreeMap<String, Role>, inventory: &Inventory) -> String {
    if fault.resources.is_empty() {
        return "nothing".to_owned();
    }
    let listed = fault.resources.join(", ");
    let region = inventory.regions.get(&fault.region);
    let count = fault.resources.len();
    match (fault.fault.entry().hits, roles.get(&fault.role)) {
        (Hits::Group, Some(Role::AutoScalingGroup(name))) if fault.fault.share().is_some() => {
            let group = region.and_then(|region| region.groups.get(name));
            let total = group.map_or(0, |group| {
                group.instances.iter().filter(|instance| instance.in_service).count()
            });
            let share = percent(fault.fault.share().unwrap_or_default());
            if matches!(fault.fault, Fault::EbsPauseIo { .. } | Fault::EbsLatency { .. }) {
                let hit = group.map_or(0, |group| {
                    let volumes =
                        |one: &&super::InventoryInstance| one.volumes.iter().any(|id| fault.resources.contains(id));
                    group.instances.iter().filter(volumes).count()
                });
                return format!(
                    "the volumes of {hit} of {total} instances now ({listed}); those of {share} of those in service then, \
                     these first"
                );
            }
            format!("{count} of {total} instances now ({listed}); {share} of those in service then, these first")
        }
        (Hits::Group, _) if matches!(fault.fault, Fault::AutoScalingSuspend { .. }) => {
            format!("the group {listed}, which goes on with what it has")
        }
        (Hits::Group, _) if matches!(fault.fault, Fault::ElbZonalShift { .. }) => {
            format!("every user of {listed} whom DNS would send to that AZ")
        }
        (Hits::Group, _) if matches!(fault.fault, Fault::AutoScalingInsufficientCapacity { .. }) => {
            format!("the launches of {listed} in that AZ")
        }
        (Hits::Group, _) => format!("every target of {listed}"),
        (Hits::Database, _) if fault.fault == Fault::RdsFailover => {
            format!("{listed}, and every write to it until the standby has taken over")
        }
        (Hits::Database, _) => format!("{listed}, and everything that reads or writes it until it is back"),
        (Hits::IamRole, _) => format!("EC2's answers in {} to whoever acts as {listed}", fault.region),
        (Hits::Cluster, _) if matches!(fault.fault, Fault::RdsFailoverGlobal { .. }) => format!(
            "{listed}: every write in any Region until the other has taken over, and for ever those that had not reached it"
        ),
        (Hits::Cluster, _) if fault.fault.hands_over_to().is_some() => {
            format!("{listed}: every write in any Region until the other has taken over")
        }
        (Hits::Cluster, _) => format!("{listed}, and every write to it until a reader has taken over"),
        (Hits::Dns, _) => format!("every user whom DNS sends to {} ({listed})", fault.region),
        (Hits::Network, _) if matches!(fault.fault, Fault::NetworkCrossRegion { .. }) => format!(
            "whatever {count} subnets of {} ({listed}) send to the other Region",
            fault.region
        ),
        (Hits::Network, _) => format!("every resource in {count} subnets of {} ({listed})", fault.region),
    }
}

fn objectives(plan: &Plan, out: &mut String) -> std::fmt::Result {
    writeln!(out, "\nobjectives")?;
    for objective in &plan.objectives {
        match &objective.scope {
            super::Scope::Experiment(name) if !objective.text.contains(name.as_str()) => {
                writeln!(out, "  {} after {name}", objective.text)?
            }
            _ => writeln!(out, "  {}", objective.text)?,
        }
    }
    Ok(())
}

/// Every IAM action that a run of the plan uses: to observe, to inject and to revert.
#[must_use]
pub fn actions(plan: &Plan) -> BTreeSet<&'static str> {
    let Permissions {
        observe,
        inject,
        revert,
        ..
    } = Permissions::of(plan);
    observe.into_iter().chain(inject).chain(revert).collect()
}

/// IAM actions by what they are for.
struct Permissions {
    observe: BTreeSet<&'static str>,
    inject: BTreeSet<&'static str>,
    revert: BTreeSet<&'static str>,
    /// Of the role that AWS FIS acts as.
    role: BTreeSet<&'static str>,
}

impl Permissions {
    fn of(plan: &Plan) -> Self {
        let faults = || plan.experiments.iter().flat_map(|experiment| &experiment.faults);
        let by_api = || faults().filter(|fault| fault.fis.is_none());
        let by_fis = || faults().filter(|fault| fault.fis.is_some());
        let every = |of: fn(&catalogue::Entry) -> &'static [&'static str]| {
            move |fault: &FaultPlan| of(fault.fault.entry()).iter().copied()
        };
        let mut observe = observing(plan);
        observe.extend(faults().flat_map(every(|entry| entry.reads)));
        if plan.has_faults() {
            observe.extend(READS_OTHERS);
        }
        let marks = || by_api().filter_map(|fault| fault.fault.entry().marks());
        let mut inject: BTreeSet<&str> = by_api().flat_map(every(|entry| entry.inject)).collect();
        inject.extend(marks().map(|(write, _)| write));
        // What FIS has not undone is undone by us, so those of the revert are needed either way.
        let mut revert: BTreeSet<&str> = faults().flat_map(every(|entry| entry.revert)).collect();
        revert.extend(marks().map(|(_, erase)| erase));
        let claims = plan.claims();
        inject.extend(claims.iter().map(ClaimPlan::write));
        revert.extend(claims.iter().map(ClaimPlan::erase));
        if by_fis().next().is_some() {
            observe.extend(READS_FIS);
            inject.extend(INJECT_FIS);
            revert.extend(REVERT_FIS);
        }
        let of_role = by_fis().flat_map(every(|entry| entry.inject));
        let of_role = of_role.chain(by_fis().flat_map(every(|entry| entry.revert)));
        Self {
            // What ends an experiment is the run's own to call.
            role: of_role.filter(|action| !REVERT_FIS.contains(action)).collect(),
            observe,
            inject,
            revert,
        }
    }
}

/// What the observers call.
fn observing(plan: &Plan) -> BTreeSet<&'static str> {
    let mut reads: BTreeSet<&str> = READS.into_iter().collect();
    for role in plan.target.roles.values() {
        match role {
            Role::AutoScalingGroup(_) => reads.extend(READS_GROUP),
            Role::DbInstance(_) => reads.extend(READS_DATABASE),
            Role::DbCluster(_) => reads.extend(READS_CLUSTER),
            Role::Dns { .. } => reads.extend(READS_DNS),
            Role::IamRole(_) => drop(reads.insert("iam:GetRole")),
        }
    }
    reads
}

fn permissions(plan: &Plan, out: &mut String) -> std::fmt::Result {
    if plan.target.regions.is_empty() {
        return writeln!(out, "\nno AWS call is made");
    }
    let Permissions {
        observe,
        inject,
        revert,
        role,
    } = Permissions::of(plan);
    let mut all = vec![("observe", observe), ("inject", inject), ("revert", revert)];
    if !role.is_empty() {
        all.push(("give to the role of AWS FIS", role));
    }
    for (what, actions) in all {
        writeln!(
            out,
            "{}IAM actions to {what}",
            if what == "observe" { "\n" } else { "" }
        )?;
        for action in &actions {
            writeln!(out, "  {action}")?;
        }
        if actions.is_empty() {
            writeln!(out, "  none")?;
        }
    }
    Ok(())
}

pub(super) fn percent(share: f64) -> String {
    let text = format!("{:.1}", share * 100.0);
    format!("{}%", text.strip_suffix(".0").unwrap_or(&text))
}
