//! `route53.invert_health_check` and `route53.zero_weight`. Route 53 is global: the fault's Region says whose records.

use serde_json::{Value, json};

use super::ChaosError;
use super::before::{Before, CheckBefore};
use super::injection::{Context, Foreign, Pass};
use super::runner::{Hand, Sight};
use crate::aws::{AwsError, RecordSet};
use crate::plan::{InventoryRecord, Role};

/// The code of a conditional write that came too late.
const VERSION_MISMATCH: &str = "HealthCheckVersionMismatch";

/// The zone and name of the role, and its records that lead to the Region.
fn records<'c>(
    sight: &Sight<'_>,
    context: &'c Context<'_>,
    role: &str,
) -> Result<(&'c str, &'c str, Vec<&'c InventoryRecord>), ChaosError> {
    let Some(Role::Dns { hosted_zone, record }) = context.target.roles.get(role) else {
        return Err(ChaosError::Refused("its role is not a DNS record".to_owned()));
    };
    let found = context.target.inventory.regions.get(sight.region);
    let records: Vec<&InventoryRecord> = found
        .iter()
        .flat_map(|found| &found.records)
        .filter(|one| one.hosted_zone == *hosted_zone && one.is_named(record))
        .collect();
    if records.is_empty() {
        return Err(ChaosError::Refused(format!(
            "no record of {record} leads to {}",
            sight.region
        )));
    }
    Ok((hosted_zone, record, records))
}

/// Notes how each health check of the Region's records stands.
pub(super) async fn prepare_invert(sight: &Sight<'_>, context: &Context<'_>, role: &str) -> Result<Before, ChaosError> {
    let (_, record, records) = records(sight, context, role)?;
    let mut ids: Vec<&String> = records.iter().filter_map(|one| one.health_check.as_ref()).collect();
    ids.sort();
    ids.dedup();
    if ids.is_empty() {
        return Err(ChaosError::Refused(format!(
            "no health check decides about {record} in {}",
            sight.region
        )));
    }
    another_leads_elsewhere(sight, context, role).await?;
    let mut checks = Vec::new();
    for id in ids {
        let tags = sight.reader.route53_tags("healthcheck", id).await?;
        context.may_touch(&format!("health check {id}"), &tags)?;
        let check = sight.reader.health_check(id).await?;
        checks.push(CheckBefore {
            id: id.clone(),
            inverted: check.inverted,
            version: check.version,
        });
    }
    Ok(Before::Route53InvertHealthCheck { checks })
}

/// Where every answer counted as unhealthy, Route 53 would give all of them, and nobody would move.
async fn another_leads_elsewhere(sight: &Sight<'_>, context: &Context<'_>, role: &str) -> Result<(), ChaosError> {
    let (hosted_zone, record, ours) = records(sight, context, role)?;
    let is_ours = |set: &RecordSet| {
        ours.iter()
            .any(|one| one.record_type == set.record_type && one.set_identifier == set.set_identifier)
    };
    let all = sight.reader.record_sets(hosted_zone, record).await?;
    for set in all.iter().filter(|set| !is_ours(set)) {
        match &set.health_check {
            None => return Ok(()),
            Some(id) => {
                // What the checkers say is told as it is, before it is turned over.
                let inverted = sight.reader.health_check(id).await?.inverted;
                if sight.reader.health_check_view(id).await?.is_healthy() != inverted {
                    return Ok(());
                }
            }
        }
    }
    Err(ChaosError::Refused(format!(
        "no other record of {record} is healthy, so users would have nowhere to go"
    )))
}

pub(super) async fn invert(hand: &Hand<'_>, checks: &[CheckBefore]) -> Result<(), ChaosError> {
    for check in checks {
        if hand.is_ending() {
            return Err(ChaosError::Ending);
        }
        let answer = hand.cloud.set_inverted(&check.id, !check.inverted, check.version).await;
        let detail = format!("{}: Inverted={}", check.id, !check.inverted);
        match hand.called("route53:UpdateHealthCheck", &detail, answer) {
            // An attempt without an answer had its effect, and the next one came too late.
            Err(ChaosError::Aws(error)) if error.code == VERSION_MISMATCH && is_turned(hand, check).await? => {}
            other => other?,
        }
    }
    Ok(())
}

async fn is_turned(hand: &Hand<'_>, check: &CheckBefore) -> Result<bool, AwsError> {
    let now = hand.cloud.reader().health_check(&check.id).await?;
    Ok(now.inverted != check.inverted && now.version == check.version + 1)
}

pub(super) async fn observe_inverted(hand: &Hand<'_>, checks: &[CheckBefore]) -> Result<Option<String>, ChaosError> {
    let mut parts = Vec::new();
    for check in checks {
        let now = hand.cloud.reader().health_check(&check.id).await?;
        if now.inverted == check.inverted {
            return Ok(None);
        }
        parts.push(format!("health check {} of {} is inverted", check.id, now.endpoint));
    }
    Ok(Some(parts.join(", ")))
}

/// The first of them that somebody has turned back.
pub(super) async fn no_longer_inverted(hand: &Hand<'_>, checks: &[CheckBefore]) -> Result<Option<String>, ChaosError> {
    for check in checks {
        if hand.cloud.reader().health_check(&check.id).await?.inverted == check.inverted {
            return Ok(Some(format!("health check {} is as it was", check.id)));
        }
    }
    Ok(None)
}

/// Whoever has turned it back has done the same; who has changed anything else meanwhile has raised the version.
pub(super) async fn turn_back(hand: &Hand<'_>, checks: &[CheckBefore]) -> Result<Pass, ChaosError> {
    let mut pass = Pass::default();
    for check in checks {
        let now = hand.cloud.reader().health_check(&check.id).await?;
        if now.inverted == check.inverted {
            continue;
        }
        if now.version != check.version + 1 {
            pass.foreign.push(Foreign {
                found: format!("health check {} is at version {}", check.id, now.version),
                by_hand: turn_back_by_hand(std::slice::from_ref(check)),
            });
            continue;
        }
        let answer = hand.cloud.set_inverted(&check.id, check.inverted, now.version).await;
        let detail = format!("{}: Inverted={}", check.id, check.inverted);
        hand.called("route53:UpdateHealthCheck", &detail, answer)?;
        pass.left.push(format!("health check {} is inverted", check.id));
    }
    Ok(pass)
}

pub(super) fn turn_back_by_hand(checks: &[CheckBefore]) -> String {
    let commands: Vec<String> = checks
        .iter()
        .map(|check| {
            let flag = if check.inverted { "--inverted" } else { "--no-inverted" };
            format!(
                "`aws route53 update-health-check --health-check-id {} {flag}`",
                check.id
            )
        })
        .collect();
    commands.join(", ")
}

/// Notes the weighted records of the Region as they are.
pub(super) async fn prepare_weight(sight: &Sight<'_>, context: &Context<'_>, role: &str) -> Result<Before, ChaosError> {
    let (hosted_zone, record, records) = records(sight, context, role)?;
    let tags = sight.reader.route53_tags("hostedzone", hosted_zone).await?;
    context.may_touch(&format!("hosted zone {hosted_zone}"), &tags)?;
    let all = sight.reader.record_sets(hosted_zone, record).await?;
    let is_ours = |set: &RecordSet| {
        records
            .iter()
            .any(|one| one.record_type == set.record_type && one.set_identifier == set.set_identifier)
    };
    let weighs = |set: &RecordSet| set.weight.is_some_and(|weight| weight > 0);
    let (ours, others): (Vec<RecordSet>, Vec<RecordSet>) = all.into_iter().filter(weighs).partition(is_ours);
    if ours.is_empty() {
        return Err(ChaosError::Refused(format!(
            "no record of {record} that leads to {} has a weight above zero",
            sight.region
        )));
    }
    // When all weights are zero, Route 53 answers with all records alike.
    if let Some(alone) = ours
        .iter()
        .find(|set| !others.iter().any(|other| other.record_type == set.record_type))
    {
        return Err(ChaosError::Refused(format!(
            "no other {} record of {record} has a weight above zero",
            alone.record_type
        )));
    }
    Ok(Before::Route53ZeroWeight {
        hosted_zone: hosted_zone.to_owned(),
        sets: ours,
    })
}

fn without_weight(set: &RecordSet) -> RecordSet {
    RecordSet {
        weight: Some(0),
        ..set.clone()
    }
}

fn set_name(set: &RecordSet) -> &str {
    set.set_identifier.as_deref().unwrap_or_default()
}

pub(super) async fn zero_weight(hand: &Hand<'_>, hosted_zone: &str, sets: &[RecordSet]) -> Result<(), ChaosError> {
    for set in sets {
        if hand.is_ending() {
            return Err(ChaosError::Ending);
        }
        let answer = hand.cloud.upsert_record_set(hosted_zone, &without_weight(set)).await;
        let detail = format!("{} {}: Weight=0", set.name, set_name(set));
        hand.called("route53:ChangeResourceRecordSets", &detail, answer)?;
    }
    Ok(())
}

async fn as_now(hand: &Hand<'_>, hosted_zone: &str, set: &RecordSet) -> Result<Option<RecordSet>, AwsError> {
    let all = hand.cloud.reader().record_sets(hosted_zone, &set.name).await?;
    let same = |one: &RecordSet| one.record_type == set.record_type && one.set_identifier == set.set_identifier;
    Ok(all.into_iter().find(same))
}

pub(super) async fn observe_zero(
    hand: &Hand<'_>,
    hosted_zone: &str,
    sets: &[RecordSet],
) -> Result<Option<String>, ChaosError> {
    let mut parts = Vec::new();
    for set in sets {
        match as_now(hand, hosted_zone, set).await? {
            Some(now) if now.weight == Some(0) => parts.push(format!("{} has the weight 0", set_name(set))),
            _ => return Ok(None),
        }
    }
    Ok(Some(parts.join(", ")))
}

/// The first of them that somebody has given a weight, or taken away.
pub(super) async fn no_longer_zero(
    hand: &Hand<'_>,
    hosted_zone: &str,
    sets: &[RecordSet],
) -> Result<Option<String>, ChaosError> {
    for set in sets {
        let weight = as_now(hand, hosted_zone, set).await?.map(|now| now.weight);
        if weight != Some(Some(0)) {
            let weight = weight
                .flatten()
                .map_or("no weight".to_owned(), |weight| format!("the weight {weight}"));
            return Ok(Some(format!("{} of {} has {weight}", set_name(set), set.name)));
        }
    }
    Ok(None)
}

pub(super) async fn weigh_again(hand: &Hand<'_>, hosted_zone: &str, sets: &[RecordSet]) -> Result<Pass, ChaosError> {
    let mut pass = Pass::default();
    for set in sets {
        let now = as_now(hand, hosted_zone, set).await?;
        if now.as_ref() == Some(set) {
            continue;
        }
        if now.as_ref() != Some(&without_weight(set)) {
            // Whatever else they meant to change stays: only its weight is the fault's.
            let with_weight = RecordSet {
                weight: set.weight,
                ..now.unwrap_or_else(|| set.clone())
            };
            pass.foreign.push(Foreign {
                found: format!("record {} of {}", set_name(set), set.name),
                by_hand: upsert_by_hand(hosted_zone, &with_weight),
            });
            continue;
        }
        let answer = hand.cloud.upsert_record_set(hosted_zone, set).await;
        let weight = set.weight.unwrap_or_default();
        let detail = format!("{} {}: Weight={weight}", set.name, set_name(set));
        hand.called("route53:ChangeResourceRecordSets", &detail, answer)?;
        pass.left.push(format!("{} has the weight 0", set_name(set)));
    }
    Ok(pass)
}

pub(super) fn weigh_by_hand(hosted_zone: &str, sets: &[RecordSet]) -> String {
    let commands: Vec<String> = sets.iter().map(|set| upsert_by_hand(hosted_zone, set)).collect();
    commands.join(", ")
}

/// The command that writes a record, whole: Route 53 changes no part of one.
fn upsert_by_hand(hosted_zone: &str, set: &RecordSet) -> String {
    let mut record = json!({ "Name": set.name, "Type": set.record_type });
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            record[key] = value;
        }
    };
    put("SetIdentifier", set.set_identifier.as_ref().map(|id| json!(id)));
    put("Weight", set.weight.map(|weight| json!(weight)));
    put("TTL", set.ttl.map(|ttl| json!(ttl)));
    let values: Vec<Value> = set.values.iter().map(|value| json!({ "Value": value })).collect();
    put("ResourceRecords", (!values.is_empty()).then_some(json!(values)));
    let alias = set.alias.as_ref().map(
        |(name, zone, evaluate)| json!({ "DNSName": name, "HostedZoneId": zone, "EvaluateTargetHealth": evaluate }),
    );
    put("AliasTarget", alias);
    put("HealthCheckId", set.health_check.as_ref().map(|id| json!(id)));
    let batch = json!({ "Changes": [{ "Action": "UPSERT", "ResourceRecordSet": record }] });
    // A shell's quotes around it; an apostrophe within ends and begins them again.
    let batch = batch.to_string().replace('\'', r"'\''");
    format!("`aws route53 change-resource-record-sets --hosted-zone-id {hosted_zone} --change-batch '{batch}'`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_puts_a_weight_back_names_the_whole_record() {
        let set = RecordSet {
            name: "shop.example.com.".to_owned(),
            record_type: "A".to_owned(),
            set_identifier: Some("it's".to_owned()),
            weight: Some(7),
            alias: Some(("lb.example.com".to_owned(), "Z2".to_owned(), true)),
            ..RecordSet::default()
        };
        let command = weigh_by_hand("Z1", &[set]);
        let (head, batch) = command.split_once(" --change-batch '").expect("a batch");
        assert_eq!(head, "`aws route53 change-resource-record-sets --hosted-zone-id Z1");
        let batch = batch.strip_suffix("'`").expect("its end").replace(r"'\''", "'");
        let batch: Value = serde_json::from_str(&batch).expect("JSON");
        let change = &batch["Changes"][0];
        assert_eq!(change["Action"], "UPSERT");
        let expected = json!({
            "Name": "shop.example.com.", "Type": "A", "SetIdentifier": "it's", "Weight": 7,
            "AliasTarget": { "DNSName": "lb.example.com", "HostedZoneId": "Z2", "EvaluateTargetHealth": true },
        });
        assert_eq!(change["ResourceRecordSet"], expected);
    }
}
