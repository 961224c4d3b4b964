//! What somebody approves: everything that a run of a plan would do to the account, as canonical JSON, and its hash.
//! Of the same plan against an unchanged account it is always the same, and another one as soon as the plan resolves to
//! other resources, calls, limits or windows. What only moves load or says where the target answers is not in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{ExperimentPlan, FaultPlan, Plan, Role, StopWhen};

/// A change of what is hashed is a change of every hash; older ones are then told apart by this.
const VERSION: u64 = 2;

/// A plan as it can be approved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// SHA-256 of the text, in 64 hexadecimal digits.
    pub hash: String,
    /// The canonical JSON: keys in order, no spaces.
    pub text: String,
}

impl Plan {
    /// What an approval of this plan is of.
    #[must_use]
    pub fn approval(&self) -> Approval {
        let text = canonical(&deed(self));
        let mut hash = String::with_capacity(64);
        for byte in Sha256::digest(text.as_bytes()) {
            // Writing to a String cannot fail.
            let _ = write!(hash, "{byte:02x}");
        }
        Approval { hash, text }
    }

    /// Whether it breaks anything.
    #[must_use]
    pub fn has_faults(&self) -> bool {
        self.experiments.iter().any(|experiment| !experiment.faults.is_empty())
    }

    /// Whether the account that was asked is not the one that the target names.
    #[must_use]
    pub fn is_of_another_account(&self) -> bool {
        let (expected, found) = (&self.target.account, &self.target.inventory.account);
        matches!((expected, found), (Some(expected), Some(found)) if expected != found)
    }
}

fn deed(plan: &Plan) -> Value {
    let faults: BTreeMap<String, Value> = plan
        .experiments
        .iter()
        .flat_map(|experiment| {
            let each = experiment.faults.iter().enumerate();
            each.map(|(index, fault)| (format!("{}[{index}]", experiment.name), self::fault(plan, fault)))
        })
        .collect();
    let stops: BTreeMap<&str, Value> = plan
        .experiments
        .iter()
        .map(|experiment| (experiment.name.as_str(), stops(plan, experiment)))
        .collect();
    json!({
        "version": VERSION,
        "account": plan.target.account,
        "regions": plan.target.regions,
        "pace": plan.pace.to_string(),
        "seed": plan.seed,
        "allow": plan.target.allow,
        "claims": plan.claims(),
        "faults": faults,
        "stop_when": stops,
    })
}

/// As written, and the ARN of every alarm it means.
fn stops(plan: &Plan, experiment: &ExperimentPlan) -> Value {
    let mut all = Vec::new();
    for stop in &experiment.stop_when {
        all.push(stop.text.clone());
        if let StopWhen::Alarm { alarm } = &stop.when {
            let regions = plan.target.inventory.regions.values();
            all.extend(regions.filter_map(|region| Some(region.alarms.get(alarm)?.arn.clone())));
        }
    }
    all.into()
}

fn fault(plan: &Plan, fault: &FaultPlan) -> Value {
    json!({
        "fault": fault.fault,
        "role": fault.role,
        "region": fault.region,
        "from": fault.at.as_secs_f64(),
        "to": fault.revert_at.map(|at| at.as_secs_f64()),
        "resources": fault.resources,
        "chosen_from": chosen_from(plan, fault),
        "calls": fault.calls,
        "reverts": fault.reverts,
    })
}

/// The instances in service that a share is of; none where the fault takes no share.
fn chosen_from(plan: &Plan, fault: &FaultPlan) -> BTreeSet<String> {
    let Some(Role::AutoScalingGroup(name)) = plan.target.roles.get(&fault.role) else {
        return BTreeSet::new();
    };
    let region = plan.target.inventory.regions.get(&fault.region);
    let group = region.and_then(|region| region.groups.get(name));
    match (fault.fault.share(), group) {
        (Some(_), Some(group)) => {
            let in_service = group.instances.iter().filter(|instance| instance.in_service);
            in_service.map(|instance| instance.id.clone()).collect()
        }
        _ => BTreeSet::new(),
    }
}

/// JSON with the keys of every object in order, so that one value has one text.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(entries) => {
            let ordered: BTreeMap<&String, &Value> = entries.iter().collect();
            let entries: Vec<String> = ordered
                .into_iter()
                .map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), canonical(value)))
                .collect();
            format!("{{{}}}", entries.join(","))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        scalar => scalar.to_string(),
    }
}

/// What differs between what was approved and what would be done now, a line each; what is no approval's text differs as
/// a whole.
#[must_use]
pub fn changes(approved: &str, now: &str) -> Vec<String> {
    let read = |text: &str| serde_json::from_str::<Value>(text).ok();
    let mut lines = Vec::new();
    match (read(approved), read(now)) {
        (Some(approved), Some(now)) => differences("", &approved, &now, &mut lines),
        _ => lines.push("what was approved cannot be read".to_owned()),
    }
    lines
}

fn differences(path: &str, was: &Value, is: &Value, lines: &mut Vec<String>) {
    match (was, is) {
        (was, is) if was == is => {}
        (Value::Object(was), Value::Object(is)) => {
            let keys: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
            for key in keys {
                let below = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                let of = |side: &serde_json::Map<String, Value>| side.get(key).cloned().unwrap_or(Value::Null);
                differences(&below, &of(was), &of(is), lines);
            }
        }
        (Value::Array(was), Value::Array(is)) => {
            let only = |one: &[Value], other: &[Value]| -> Vec<String> {
                let missing = one.iter().filter(|item| !other.contains(item));
                missing.map(readable).collect()
            };
            let (gone, new) = (only(was, is), only(is, was));
            let order = gone.is_empty() && new.is_empty();
            lines.extend(gone.iter().map(|item| format!("{path}: without {item}")));
            lines.extend(new.iter().map(|item| format!("{path}: with {item}")));
            if order {
                lines.push(format!("{path}: in another order"));
            }
        }
        (was, is) => lines.push(format!("{path}: {} instead of {}", readable(is), readable(was))),
    }
}

/// A call as the plan prints it, everything else as JSON without the quotes around a text.
fn readable(value: &Value) -> String {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    match (text("action"), text("detail"), value.as_str()) {
        (Some(action), Some(detail), _) => format!("{action} {detail}"),
        (_, _, Some(text)) => text.to_owned(),
        _ => canonical(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_has_one_text() {
        let one: Value = serde_json::from_str(r#"{"b":[1,{"d":2.5,"c":"x\"y"}],"a":null}"#).unwrap();
        let other: Value = serde_json::from_str(r#"{ "a": null, "b": [1, {"c": "x\"y", "d": 2.5}] }"#).unwrap();
        assert_eq!(canonical(&one), r#"{"a":null,"b":[1,{"c":"x\"y","d":2.5}]}"#);
        assert_eq!(canonical(&one), canonical(&other));
    }

    #[test]
    fn what_changed_is_told_line_by_line() {
        let was = r#"{"seed":1,"faults":{"x[0]":{"resources":["i-1","i-2"],"calls":[
            {"action":"ec2:StopInstances","detail":"InstanceIds=i-1"}]}}}"#;
        let is = r#"{"seed":2,"faults":{"x[0]":{"resources":["i-2","i-3"],"calls":[
            {"action":"ec2:StopInstances","detail":"InstanceIds=i-3"}]}}}"#;
        assert_eq!(
            changes(was, is),
            [
                "faults.x[0].calls: without ec2:StopInstances InstanceIds=i-1",
                "faults.x[0].calls: with ec2:StopInstances InstanceIds=i-3",
                "faults.x[0].resources: without i-1",
                "faults.x[0].resources: with i-3",
                "seed: 2 instead of 1",
            ]
        );
        assert!(changes(was, was).is_empty());
        assert_eq!(changes("nonsense", is), ["what was approved cannot be read"]);
    }
}
