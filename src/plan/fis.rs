//! Faults as AWS FIS would inject them: who injects a fault, and the template with its exact resources.
//! A template reads and writes as the JSON that AWS takes, field for field.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::resolve::Effect;
use super::{CallPlan, Fault, TargetPlan};
use crate::config::fis::{ALARMS_MAX, FisAction, LONGEST, Lasts, PARALLEL_MAX, Via};
use crate::config::{FaultEntry, Mistake};
use crate::units::format_duration;

/// How much longer than the fault the action would last: FIS undoes it by itself this long after a run that died.
const LEASE: Duration = Duration::from_secs(60);

/// An experiment template of FIS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FisTemplate {
    /// What it is for.
    pub description: String,
    /// ARN of the role that FIS acts as.
    pub role_arn: String,
    /// Targets by name.
    pub targets: BTreeMap<String, FisTarget>,
    /// Actions by name.
    pub actions: BTreeMap<String, FisStep>,
    /// What stops it.
    pub stop_conditions: Vec<FisStop>,
}

/// Resources of one type, at most five.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FisTarget {
    /// `aws:ec2:instance` for example.
    pub resource_type: String,
    /// ARNs.
    pub resource_arns: Vec<String>,
    /// Always `ALL`: which they are was decided already.
    pub selection_mode: String,
}

/// One action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FisStep {
    /// `aws:ec2:stop-instances` for example.
    pub action_id: String,
    /// Parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// Names of targets by the action's own key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub targets: BTreeMap<String, String>,
    /// Actions that complete before it starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub start_after: Vec<String>,
}

/// A stop condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FisStop {
    /// `aws:cloudwatch:alarm` or `none`.
    pub source: String,
    /// ARN of the alarm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// What a template is made for.
#[derive(Clone, Copy, Debug)]
pub struct FisFor<'a> {
    /// The fault.
    pub fault: &'a Fault,
    /// Its Region.
    pub region: &'a str,
    /// How long the action lasts at most; none where the fault is irreversible.
    pub lasts: Option<Duration>,
    /// The account, twelve digits.
    pub account: &'a str,
}

impl FisTemplate {
    /// An empty template; `alarms` are names or ARNs.
    #[must_use]
    pub fn new(description: String, role_arn: String, alarms: &[String], region: &str, account: &str) -> Self {
        let stop = |alarm: &String| FisStop {
            source: "aws:cloudwatch:alarm".to_owned(),
            value: Some(if alarm.starts_with("arn:") {
                alarm.clone()
            } else {
                format!("arn:{}:cloudwatch:{region}:{account}:alarm:{alarm}", partition(region))
            }),
        };
        let mut stop_conditions: Vec<FisStop> = alarms.iter().map(stop).collect();
        if stop_conditions.is_empty() {
            stop_conditions.push(FisStop {
                source: "none".to_owned(),
                value: None,
            });
        }
        Self {
            description,
            role_arn,
            targets: BTreeMap::new(),
            actions: BTreeMap::new(),
            stop_conditions,
        }
    }

    /// Adds a fault on these resources (ids); those of more than five go to several actions at the same time.
    /// Nothing is added for a fault that FIS cannot inject.
    pub fn add(&mut self, of: &FisFor<'_>, name: &str, resources: &[String], start_after: &[String]) {
        let Some(action) = of.fault.fis() else { return };
        for (index, some) in resources.chunks(action.targets_max()).enumerate() {
            let name = match index {
                0 => name.to_owned(),
                more => format!("{name}-{}", more + 1),
            };
            let target = FisTarget {
                resource_type: action.resource_type.to_owned(),
                resource_arns: some.iter().map(|id| arn(action, of, id)).collect(),
                selection_mode: "ALL".to_owned(),
            };
            let step = FisStep {
                action_id: action.id.to_owned(),
                parameters: parameters(action, of),
                targets: BTreeMap::from([(action.target.to_owned(), name.clone())]),
                start_after: start_after.to_vec(),
            };
            self.targets.insert(name.clone(), target);
            self.actions.insert(name, step);
        }
    }

    /// How many resources the largest of its actions takes, of the five that it may.
    #[must_use]
    pub fn largest(&self) -> usize {
        let sizes = self.targets.values().map(|target| target.resource_arns.len());
        sizes.max().unwrap_or_default()
    }
}

impl FisStep {
    /// An action that only waits, so long as `duration` says in ISO 8601.
    pub(super) fn wait(duration: String) -> Self {
        Self {
            action_id: "aws:fis:wait".to_owned(),
            parameters: BTreeMap::from([("duration".to_owned(), duration)]),
            targets: BTreeMap::new(),
            start_after: Vec::new(),
        }
    }
}

fn parameters(action: &FisAction, of: &FisFor<'_>) -> BTreeMap<String, String> {
    let mut parameters: BTreeMap<String, String> = action
        .parameters
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    if let (Lasts::Parameter(key), Some(lasts)) = (action.lasts, of.lasts) {
        parameters.insert(key.to_owned(), iso(lasts));
    }
    if let Fault::AutoScalingInsufficientCapacity { az } = of.fault {
        parameters.insert("availabilityZoneIdentifiers".to_owned(), az.clone());
    }
    if let Fault::NetworkCrossRegion { to } = of.fault {
        parameters.insert("region".to_owned(), to.clone());
    }
    if let Fault::ApiErrors { operations, calls, .. } = of.fault {
        parameters.insert("operations".to_owned(), operations.join(","));
        parameters.insert("percentage".to_owned(), format!("{:.0}", calls * 100.0));
    }
    if let Fault::EbsLatency { latency, .. } = of.fault {
        for key in ["readIOLatencyMilliseconds", "writeIOLatencyMilliseconds"] {
            parameters.insert(key.to_owned(), latency.as_millis().to_string());
        }
    }
    parameters
}

/// How long the action of a fault lasts that is reverted after `lasts`: with the lease.
#[must_use]
pub fn leased(lasts: Duration) -> Duration {
    lasts.saturating_add(LEASE)
}

/// ISO 8601 in whole minutes, rounded up, since FIS takes a minute at least.
pub(super) fn iso(time: Duration) -> String {
    format!("PT{}M", time.as_millis().div_ceil(60_000).max(1))
}

fn arn(action: &FisAction, of: &FisFor<'_>, id: &str) -> String {
    let (partition, region, account) = (partition(of.region), of.region, of.account);
    match action.resource_type {
        // Of some resources the ARN does not follow from the name.
        _ if id.starts_with("arn:") => id.to_owned(),
        "aws:rds:db" => format!("arn:{partition}:rds:{region}:{account}:db:{id}"),
        "aws:rds:cluster" => format!("arn:{partition}:rds:{region}:{account}:cluster:{id}"),
        other => {
            let kind = other.rsplit([':', '-']).next().unwrap_or_default();
            format!("arn:{partition}:ec2:{region}:{account}:{kind}/{id}")
        }
    }
}

fn partition(region: &str) -> &'static str {
    match region.split('-').next() {
        Some("cn") => "aws-cn",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

/// The ARN of a role that is named, or given as an ARN.
pub(super) fn role_arn(role: &str, account: Option<&str>, region: Option<&str>) -> String {
    if role.starts_with("arn:") {
        return role.to_owned();
    }
    let partition = partition(region.unwrap_or_default());
    format!("arn:{partition}:iam::{}:role/{role}", account.unwrap_or_default())
}

/// The template of a fault that FIS shall inject; none where the API does it. What cannot be is a mistake where FIS was
/// asked for, and where it is free to choose a reason to take the API.
pub(super) fn choose(
    entry: &FaultEntry,
    of: &FisFor<'_>,
    alarms: &[&str],
    target: &TargetPlan,
    resources: &[String],
    mistakes: &mut Vec<Mistake>,
) -> Option<FisTemplate> {
    let action = match entry.via() {
        Via::Api => return None,
        Via::Fis | Via::Auto => of.fault.fis()?,
    };
    let alarms = alarms_in(alarms, of.region, target);
    let possible = possible(action, of, target, resources).and_then(|()| few_enough(&alarms));
    if let Err((message, remedy)) = possible {
        if entry.via() == Via::Fis {
            let hint = match action.only {
                true => remedy,
                false => format!("{remedy}, or write `via: api`"),
            };
            mistakes.push(Mistake::at(entry.via_place(), message).hint(hint));
        }
        return None;
    }
    // Nothing is known of the account before it is reached, so nothing is chosen for it yet.
    if entry.via() == Via::Auto && target.inventory.regions.is_empty() {
        return None;
    }
    let role = target.fis_role.clone().unwrap_or_default();
    let description = format!("tenfold: {} on {}", of.fault.name(), entry.role.value);
    let mut template = FisTemplate::new(description, role, &alarms, of.region, of.account);
    template.add(of, &step_name(of.fault), resources, &[]);
    Some(template)
}

/// Those of an experiment's alarms that are in a Region: FIS looks at no other.
pub(super) fn alarms_in(alarms: &[&str], region: &str, target: &TargetPlan) -> Vec<String> {
    let found = target.inventory.regions.get(region);
    let here = alarms
        .iter()
        .filter(|name| found.is_none_or(|found| found.alarms.contains_key(**name)));
    here.map(|name| (*name).to_owned()).collect()
}

fn few_enough(alarms: &[String]) -> Result<(), (String, String)> {
    if alarms.len() <= ALARMS_MAX {
        return Ok(());
    }
    let message = format!("AWS FIS takes {ALARMS_MAX} alarms, not {}", alarms.len());
    Err((message, "put several into a composite alarm".to_owned()))
}

/// The name of a fault's action in a template.
#[must_use]
pub fn step_name(fault: &Fault) -> String {
    fault.name().replace(['.', '_'], "-")
}

/// Whether FIS can inject a fault, as far as it is known; otherwise why not, and what would help FIS do it.
fn possible(
    action: &FisAction,
    of: &FisFor<'_>,
    target: &TargetPlan,
    resources: &[String],
) -> Result<(), (String, String)> {
    if target.fis_role.is_none() {
        let message = format!("the target {:?} names no role that AWS FIS acts as", target.name);
        return Err((message, "add `fis: { role: NAME }` to the target".to_owned()));
    }
    let found = target.inventory.regions.get(of.region);
    match found.map(|found| &found.fis_actions) {
        // Before the account was asked, or there is nothing in the Region.
        None => {}
        Some(None) => {
            let message = format!("AWS FIS does not answer in {}", of.region);
            return Err((message, "allow fis:ListActions".to_owned()));
        }
        Some(Some(known)) if !known.contains(action.id) => {
            let message = format!("AWS FIS in {} has no action {}", of.region, action.id);
            return Err((message, "use another Region".to_owned()));
        }
        Some(Some(_)) => {}
    }
    let most = PARALLEL_MAX * action.targets_max();
    if resources.len() > most {
        let message = format!(
            "AWS FIS takes {most} resources at the same time, not {}",
            resources.len()
        );
        return Err((message, "lower the fault's share".to_owned()));
    }
    if of.lasts.is_some_and(|lasts| lasts > LONGEST) {
        let most = format_duration(LONGEST.saturating_sub(LEASE));
        let message = format!("AWS FIS undoes everything after twelve hours, so `lasts` is {most} at most");
        return Err((message, "shorten it".to_owned()));
    }
    Ok(())
}

/// What is called for a fault that FIS injects, in place of the service's own API.
pub(super) fn effect(template: &FisTemplate, reversible: bool, region: &str, resources: Vec<String>) -> Effect {
    let account = template.role_arn.split(':').nth(4).unwrap_or("*");
    let own = |kind: &str| format!("arn:{}:fis:{region}:{account}:{kind}/*", partition(region));
    let call = |action: &str, detail: String| CallPlan {
        action: action.to_owned(),
        region: region.to_owned(),
        detail,
        resources: match action {
            "fis:CreateExperimentTemplate" => {
                vec![own("experiment-template"), own("action"), template.role_arn.clone()]
            }
            "fis:StartExperiment" => vec![own("experiment-template"), own("experiment")],
            "fis:StopExperiment" => vec![own("experiment")],
            _ => vec![own("experiment-template")],
        },
    };
    let mut steps = template.actions.iter().map(|(name, step)| {
        let parameters = step.parameters.iter().map(|(key, value)| format!(" {key}={value}"));
        let arns = template.targets.get(name).map(|target| target.resource_arns.join(","));
        format!(
            "{}{} on {}",
            step.action_id,
            parameters.collect::<String>(),
            arns.unwrap_or_default()
        )
    });
    let delete = call(
        "fis:DeleteExperimentTemplate",
        "the template, once its experiment has ended".to_owned(),
    );
    let mut calls = vec![
        call(
            "fis:CreateExperimentTemplate",
            steps.by_ref().collect::<Vec<_>>().join("; "),
        ),
        call("fis:StartExperiment", "the template".to_owned()),
    ];
    let mut reverts = Vec::new();
    if reversible {
        reverts.push(call("fis:StopExperiment", "the experiment, which undoes it".to_owned()));
        reverts.push(delete);
    } else {
        calls.push(delete);
    }
    Effect {
        resources,
        calls,
        reverts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fault: &Fault, lasts: Option<u64>) -> FisFor<'_> {
        FisFor {
            fault,
            region: "us-east-1",
            lasts: lasts.map(Duration::from_secs),
            account: "111122223333",
        }
    }

    #[test]
    fn a_template_is_written_with_awss_field_names() {
        let fault = Fault::Ec2Stop { share: 0.5 };
        let role = role_arn("fis", Some("111122223333"), Some("us-east-1"));
        let mut template = FisTemplate::new("d".to_owned(), role, &["busy".to_owned()], "us-east-1", "111122223333");
        template.add(&of(&fault, Some(360)), "stop", &["i-1".to_owned()], &[]);
        let written = serde_json::to_value(&template).expect("JSON");
        let expected = serde_json::json!({
            "description": "d",
            "roleArn": "arn:aws:iam::111122223333:role/fis",
            "targets": { "stop": {
                "resourceType": "aws:ec2:instance",
                "resourceArns": ["arn:aws:ec2:us-east-1:111122223333:instance/i-1"],
                "selectionMode": "ALL"
            } },
            "actions": { "stop": {
                "actionId": "aws:ec2:stop-instances",
                "parameters": { "startInstancesAfterDuration": "PT6M", "completeIfInstancesTerminated": "true" },
                "targets": { "Instances": "stop" }
            } },
            "stopConditions": [{
                "source": "aws:cloudwatch:alarm",
                "value": "arn:aws:cloudwatch:us-east-1:111122223333:alarm:busy"
            }]
        });
        assert_eq!(written, expected);
        let read: FisTemplate = serde_json::from_value(written).expect("reads back");
        assert_eq!(read, template);
    }

    #[test]
    fn volumes_have_an_action_each_since_one_action_takes_those_of_one_az() {
        let fault = Fault::EbsLatency {
            share: 0.5,
            latency: Duration::from_millis(500),
        };
        let volumes = ["vol-1".to_owned(), "vol-2".to_owned()];
        let mut template = FisTemplate::new(String::new(), String::new(), &[], "us-east-1", "111122223333");
        template.add(&of(&fault, Some(360)), "slow", &volumes, &[]);
        assert_eq!((template.largest(), template.actions.len()), (1, 2));
        let arn = &template.targets["slow-2"].resource_arns[0];
        assert_eq!(arn, "arn:aws:ec2:us-east-1:111122223333:volume/vol-2");
        let expected = serde_json::json!({
            "actionId": "aws:ebs:volume-io-latency",
            "parameters": {
                "duration": "PT6M",
                "readIOLatencyMilliseconds": "500", "readIOPercentage": "100",
                "writeIOLatencyMilliseconds": "500", "writeIOPercentage": "100",
            },
            "targets": { "Volumes": "slow" },
        });
        assert_eq!(serde_json::to_value(&template.actions["slow"]).expect("JSON"), expected);
    }

    #[test]
    fn the_region_that_is_not_reached_is_a_parameter() {
        let fault = Fault::NetworkCrossRegion {
            to: "eu-west-1".to_owned(),
        };
        let mut template = FisTemplate::new(String::new(), String::new(), &[], "us-east-1", "111122223333");
        template.add(&of(&fault, Some(360)), "cross", &["subnet-1".to_owned()], &[]);
        let expected = serde_json::json!({
            "actionId": "aws:network:route-table-disrupt-cross-region-connectivity",
            "parameters": { "duration": "PT6M", "region": "eu-west-1" },
            "targets": { "Subnets": "cross" },
        });
        assert_eq!(
            serde_json::to_value(&template.actions["cross"]).expect("JSON"),
            expected
        );
        assert_eq!(template.targets["cross"].resource_type, "aws:ec2:subnet");
    }

    #[test]
    fn a_spot_instance_is_an_instance_by_its_arn() {
        let fault = Fault::Ec2SpotInterruption { share: 0.5 };
        let mut template = FisTemplate::new(String::new(), String::new(), &[], "us-east-1", "111122223333");
        template.add(&of(&fault, None), "spot", &["i-1".to_owned()], &[]);
        let target = &template.targets["spot"];
        assert_eq!(target.resource_type, "aws:ec2:spot-instance");
        assert_eq!(
            target.resource_arns,
            ["arn:aws:ec2:us-east-1:111122223333:instance/i-1"]
        );
        assert_eq!(
            template.actions["spot"].parameters["durationBeforeInterruption"],
            "PT2M"
        );
    }

    #[test]
    fn more_than_five_resources_are_split_and_times_are_whole_minutes() {
        let fault = Fault::NetworkDenyRegion;
        let subnets: Vec<String> = (0..7).map(|index| format!("subnet-{index}")).collect();
        let mut template = FisTemplate::new(String::new(), String::new(), &[], "cn-north-1", "111122223333");
        let china = FisFor {
            region: "cn-north-1",
            ..of(&fault, Some(61))
        };
        template.add(&china, "cut", &subnets, &[]);
        assert_eq!(template.largest(), 5);
        assert_eq!(template.actions.keys().collect::<Vec<_>>(), ["cut", "cut-2"]);
        assert_eq!(template.actions["cut-2"].parameters["duration"], "PT2M");
        let arn = &template.targets["cut-2"].resource_arns[1];
        assert_eq!(arn, "arn:aws-cn:ec2:cn-north-1:111122223333:subnet/subnet-6");
        assert_eq!(template.stop_conditions[0].source, "none");
    }
}
