//! The IAM policies that the calls of a fault need, those that inject it apart from those that undo it: bound to the
//! resources of the plan and, where an action knows it, to the tag that the target demands.
//!
//! Which conditions an action knows is from the Service Authorization Reference.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::CallPlan;

/// The tag that everything bears that a run creates.
const OWN_TAG: &str = "tenfold:run";
/// Every tag that a run writes.
const OWN_TAGS: &str = "tenfold:*";
/// The actions by which what a run changes is marked, and that know the keys of the tags; Route 53's does not.
const MARKS: [&str; 8] = [
    "autoscaling:CreateOrUpdateTags",
    "autoscaling:DeleteTags",
    "ec2:CreateTags",
    "ec2:DeleteTags",
    "elasticloadbalancing:AddTags",
    "elasticloadbalancing:RemoveTags",
    "rds:AddTagsToResource",
    "rds:RemoveTagsFromResource",
];

/// A condition, as its operator, key and value.
type Condition = (&'static str, String, String);

/// A statement before those alike are put together: what may be done, if, on what.
type Statements = BTreeMap<(Vec<Condition>, String), BTreeSet<String>>;

/// The policy document for these calls, one line of JSON; none where there are no calls.
#[must_use]
pub fn policy(calls: &[CallPlan], tag: Option<&(String, String)>) -> Option<String> {
    let mut statements = Statements::new();
    for call in calls {
        for (action, resources, conditions) in permits(call, tag) {
            statements
                .entry((conditions, action.to_owned()))
                .or_default()
                .extend(resources);
        }
    }
    if statements.is_empty() {
        return None;
    }
    // Actions on the same resources under the same conditions share a statement.
    let mut grouped: BTreeMap<(BTreeSet<String>, Vec<Condition>), Vec<String>> = BTreeMap::new();
    for ((conditions, action), resources) in statements {
        grouped.entry((resources, conditions)).or_default().push(action);
    }
    let statements: Vec<Value> = grouped
        .into_iter()
        .map(|((resources, conditions), actions)| statement(&actions, &resources, &conditions))
        .collect();
    Some(json!({ "Version": "2012-10-17", "Statement": statements }).to_string())
}

/// The actions of these calls that no condition on a tag can bind, so that their resources alone do.
#[must_use]
pub fn without_tags(calls: &[CallPlan]) -> BTreeSet<&str> {
    let actions = calls.iter().map(|call| call.action.as_str());
    actions
        .filter(|action| knows_no_tag(action))
        .chain(
            calls
                .iter()
                .filter(|call| creates_acl(call))
                .map(|call| call.action.as_str()),
        )
        .collect()
}

fn creates_acl(call: &CallPlan) -> bool {
    call.action == "ec2:CreateNetworkAcl"
}

fn statement(actions: &[String], resources: &BTreeSet<String>, conditions: &[Condition]) -> Value {
    let mut statement = Map::new();
    statement.insert("Effect".to_owned(), json!("Allow"));
    statement.insert("Action".to_owned(), json!(actions));
    statement.insert("Resource".to_owned(), json!(resources));
    let conditions = conditions
        .iter()
        .map(|(operator, key, value)| ((*operator).to_owned(), json!({ key: value })));
    let conditions: Map<String, Value> = conditions.collect();
    if !conditions.is_empty() {
        statement.insert("Condition".to_owned(), Value::Object(conditions));
    }
    Value::Object(statement)
}

/// What one call needs: action, resources, conditions, each of another operator.
fn permits<'c>(call: &'c CallPlan, tag: Option<&(String, String)>) -> Vec<(&'c str, Vec<String>, Vec<Condition>)> {
    let tagged = || -> Vec<Condition> {
        let of_tag =
            |(key, value): &(String, String)| ("StringEquals", format!("aws:ResourceTag/{key}"), value.clone());
        tag.map(of_tag).into_iter().collect()
    };
    let own = |key: &str| vec![("StringLike", format!("{key}/{OWN_TAG}"), "*".to_owned())];
    let on_instances =
        |resources: &[String]| -> Vec<String> { resources.iter().map(|arn| every_instance_beside(arn)).collect() };
    let resources = call.resources.clone();
    let acls = vec![acls_beside(&resources)];
    match call.action.as_str() {
        // The VPC is not what is broken, so nobody has to have tagged it; the ACL is born with the run's own tag.
        "ec2:CreateNetworkAcl" => vec![
            (&call.action, resources, Vec::new()),
            (&call.action, acls.clone(), own("aws:RequestTag")),
            (
                "ec2:CreateTags",
                acls,
                vec![(
                    "StringEquals",
                    "ec2:CreateAction".to_owned(),
                    "CreateNetworkAcl".to_owned(),
                )],
            ),
        ],
        // The ACL to put back is whichever the subnet had.
        "ec2:ReplaceNetworkAclAssociation" => {
            vec![(&call.action, resources, tagged()), (&call.action, acls, Vec::new())]
        }
        "ec2:DeleteNetworkAcl" => vec![(&call.action, resources, own("aws:ResourceTag"))],
        // Which instances a share takes is decided again when it is injected, so that the tag binds them, and not the id.
        action if is_on_instances(action) && tag.is_some() => {
            vec![(&call.action, on_instances(&resources), tagged())]
        }
        // Nobody may change another tag by it, above all not the one that allows chaos.
        action if MARKS.contains(&action) => {
            let resources = match action.starts_with("ec2:") && tag.is_some() {
                true => on_instances(&resources),
                false => resources,
            };
            let mut conditions = tagged();
            conditions.extend([
                ("ForAllValues:StringLike", "aws:TagKeys".to_owned(), OWN_TAGS.to_owned()),
                ("Null", "aws:TagKeys".to_owned(), "false".to_owned()),
            ]);
            vec![(&call.action, resources, conditions)]
        }
        // The role that FIS acts as is handed over with the template.
        "fis:CreateExperimentTemplate" => {
            let (role, own): (Vec<String>, Vec<String>) = resources.into_iter().partition(|arn| arn.contains(":iam:"));
            vec![
                ("fis:TagResource", own.clone(), Vec::new()),
                (&call.action, own, Vec::new()),
                ("iam:PassRole", role, Vec::new()),
            ]
        }
        // The global cluster is in no Region, and what is broken are its clusters.
        "rds:SwitchoverGlobalCluster" | "rds:FailoverGlobalCluster" => {
            let (global, clusters): (Vec<String>, Vec<String>) =
                resources.into_iter().partition(|arn| arn.contains(":global-cluster:"));
            vec![(&call.action, clusters, tagged()), (&call.action, global, Vec::new())]
        }
        action if knows_no_tag(action) => vec![(&call.action, resources, Vec::new())],
        _ => vec![(&call.action, resources, tagged())],
    }
}

/// What it touches bears no tag of the target's owner: records do not, and templates are the run's own.
fn knows_no_tag(action: &str) -> bool {
    ["route53:", "fis:", "arc-zonal-shift:"]
        .iter()
        .any(|service| action.starts_with(service))
}

fn is_on_instances(action: &str) -> bool {
    action.starts_with("ec2:") && action.ends_with("Instances")
}

fn every_instance_beside(arn: &str) -> String {
    let place = arn.rsplit_once('/').map_or(arn, |(place, _)| place);
    format!("{place}/*")
}

/// Every network ACL of the account and Region of these resources.
fn acls_beside(resources: &[String]) -> String {
    let first = resources.first().map_or("arn:aws:ec2:*:*:", String::as_str);
    let place: Vec<&str> = first.split(':').take(5).collect();
    format!("{}:network-acl/*", place.join(":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(action: &str, resource: &str) -> CallPlan {
        CallPlan {
            action: action.to_owned(),
            region: "us-east-1".to_owned(),
            detail: String::new(),
            resources: vec![resource.to_owned()],
        }
    }

    fn read(calls: &[CallPlan]) -> Value {
        let tag = ("chaos".to_owned(), "allowed".to_owned());
        serde_json::from_str(&policy(calls, Some(&tag)).expect("there are calls")).expect("it is JSON")
    }

    #[test]
    fn what_knows_tags_is_bound_to_the_targets_tag() {
        let instance = "arn:aws:ec2:us-east-1:111122223333:instance/i-1";
        let any = "arn:aws:ec2:us-east-1:111122223333:instance/*";
        let document = read(&[call("ec2:StopInstances", instance)]);
        assert_eq!(
            document,
            json!({ "Version": "2012-10-17", "Statement": [{
                "Effect": "Allow", "Action": ["ec2:StopInstances"], "Resource": [any],
                "Condition": { "StringEquals": { "aws:ResourceTag/chaos": "allowed" } },
            }] })
        );
        assert!(without_tags(&[call("ec2:StopInstances", instance)]).is_empty());
        let untagged = policy(&[call("ec2:StopInstances", instance)], None).expect("there is a call");
        assert!(
            untagged.contains(instance) && !untagged.contains("Condition"),
            "{untagged}"
        );
        assert_eq!(policy(&[], None), None);
    }

    #[test]
    fn what_knows_no_tags_is_bound_to_its_resource_and_said_to_be() {
        let calls = [call("route53:UpdateHealthCheck", "arn:aws:route53:::healthcheck/h1")];
        let document = read(&calls);
        assert!(document["Statement"][0].get("Condition").is_none(), "{document}");
        assert_eq!(
            document["Statement"][0]["Resource"],
            json!(["arn:aws:route53:::healthcheck/h1"])
        );
        assert_eq!(without_tags(&calls), BTreeSet::from(["route53:UpdateHealthCheck"]));
    }

    #[test]
    fn the_clusters_of_a_global_one_are_bound_to_the_tag() {
        let mut handover = call(
            "rds:FailoverGlobalCluster",
            "arn:aws:rds:eu-west-1:111122223333:cluster:db",
        );
        let global = "arn:aws:rds::111122223333:global-cluster:all".to_owned();
        handover.resources.push(global.clone());
        let document = read(&[handover]);
        let statements = document["Statement"].as_array().expect("statements");
        let of_global = statements.iter().find(|one| one["Resource"] == json!([global]));
        assert!(
            of_global.is_some_and(|one| one.get("Condition").is_none()),
            "{document}"
        );
        let others = statements.iter().filter(|one| one["Resource"] != json!([global]));
        assert!(
            others.into_iter().all(|one| one.get("Condition").is_some()),
            "{document}"
        );
    }

    #[test]
    fn a_mark_can_be_no_other_tag() {
        let instance = "arn:aws:ec2:us-east-1:111122223333:instance/i-1";
        for (action, resource) in [
            ("ec2:CreateTags", instance),
            ("ec2:DeleteTags", instance),
            ("elasticloadbalancing:AddTags", "arn:aws:elasticloadbalancing:x"),
            ("rds:AddTagsToResource", "arn:aws:rds:x"),
        ] {
            let document = read(&[call(action, resource)]);
            assert_eq!(
                document["Statement"][0]["Condition"],
                json!({
                    "StringEquals": { "aws:ResourceTag/chaos": "allowed" },
                    "ForAllValues:StringLike": { "aws:TagKeys": "tenfold:*" },
                    "Null": { "aws:TagKeys": "false" },
                }),
                "{action}"
            );
        }
        let untagged = policy(&[call("ec2:CreateTags", instance)], None).expect("there is a call");
        assert!(
            untagged.contains(instance) && untagged.contains("tenfold:*"),
            "{untagged}"
        );
    }

    #[test]
    fn a_network_acl_can_be_made_and_deleted_only_as_the_runs_own() {
        let calls = [
            call("ec2:CreateNetworkAcl", "arn:aws:ec2:us-east-1:111122223333:vpc/vpc-1"),
            call(
                "ec2:ReplaceNetworkAclAssociation",
                "arn:aws:ec2:us-east-1:111122223333:subnet/subnet-1",
            ),
            call(
                "ec2:ReplaceNetworkAclAssociation",
                "arn:aws:ec2:us-east-1:111122223333:subnet/subnet-2",
            ),
            call(
                "ec2:DeleteNetworkAcl",
                "arn:aws:ec2:us-east-1:111122223333:network-acl/*",
            ),
        ];
        let document = read(&calls);
        let statements = document["Statement"].as_array().expect("statements");
        let of = |action: &str, key: &str| {
            let has = |one: &&Value| one["Action"].as_array().is_some_and(|all| all.contains(&json!(action)));
            let found = statements
                .iter()
                .filter(has)
                .find(|one| one["Condition"].to_string().contains(key));
            found.unwrap_or_else(|| panic!("{action} {key} in {document}")).clone()
        };
        of("ec2:CreateNetworkAcl", "aws:RequestTag/tenfold:run");
        of("ec2:CreateTags", "ec2:CreateAction");
        of("ec2:DeleteNetworkAcl", "aws:ResourceTag/tenfold:run");
        let subnets = of("ec2:ReplaceNetworkAclAssociation", "aws:ResourceTag/chaos");
        assert_eq!(subnets["Resource"].as_array().map(Vec::len), Some(2), "{subnets}");
    }
}
