//! Record sets: listing them in DNS order, and change batches, which apply as a whole or not at all.

use super::super::Call;
use super::super::value::{Value, list, map, time};
use super::zones::no_zone;
use super::{most, path_id};
use crate::lab::dynamics::route53::{self, ChangeAction};
use crate::lab::error::AwsError;
use crate::lab::world::{AliasTarget, DnsChange, RecordSet, Routing};

/// Most changes of one batch.
const MOST_CHANGES: usize = 1000;

/// What orders record sets: the labels of the name from the right, then type, then identifier.
fn order(record: &RecordSet) -> (Vec<String>, String, String) {
    let identifier = record.set_identifier.clone().unwrap_or_default();
    (labels(&record.name), record.record_type.clone(), identifier)
}

fn labels(name: &str) -> Vec<String> {
    name.trim_end_matches('.').rsplit('.').map(str::to_lowercase).collect()
}

pub fn list_records(call: &Call<'_>) -> Result<Value, AwsError> {
    let id = path_id(call, 0);
    let most = most(call, 300)?;
    let name = call.query.text("name").map(labels);
    let record_type = call.query.text("type").unwrap_or_default().to_owned();
    let identifier = call.query.text("identifier").unwrap_or_default().to_owned();
    if name.is_none() && !record_type.is_empty() {
        return Err(AwsError::bad_request("InvalidInput", "a start type needs a start name"));
    }
    let start = name.map(|name| (name, record_type, identifier));
    let world = call.lab.world();
    let zone = world.route53.zones.get(id).ok_or_else(|| no_zone(id))?;
    let mut records: Vec<&RecordSet> = zone.records.iter().collect();
    records.sort_by_key(|record| order(record));
    records.retain(|record| start.as_ref().is_none_or(|start| order(record) >= *start));
    let next = records.get(most).copied();
    Ok(map([
        (
            "ResourceRecordSets",
            list(
                "ResourceRecordSet",
                records.iter().take(most).map(|record| shown(record)),
            ),
        ),
        ("IsTruncated", next.is_some().into()),
        ("NextRecordName", next.map(|record| &record.name).into()),
        ("NextRecordType", next.map(|record| &record.record_type).into()),
        (
            "NextRecordIdentifier",
            next.and_then(|record| record.set_identifier.as_ref()).into(),
        ),
        ("MaxItems", most.to_string().into()),
    ]))
}

fn shown(record: &RecordSet) -> Value {
    let weight = match record.routing {
        Routing::Weighted(weight) => Some(weight),
        _ => None,
    };
    let region = match &record.routing {
        Routing::Latency(region) => Some(region),
        _ => None,
    };
    let failover = match &record.routing {
        Routing::Failover(role) => Some(role),
        _ => None,
    };
    let values = record.values.iter().map(|value| map([("Value", value.into())]));
    let alias = record.alias.as_ref().map(|alias| {
        map([
            ("HostedZoneId", (&alias.hosted_zone_id).into()),
            ("DNSName", (&alias.dns_name).into()),
            ("EvaluateTargetHealth", alias.evaluate_target_health.into()),
        ])
    });
    map([
        ("Name", (&record.name).into()),
        ("Type", (&record.record_type).into()),
        ("SetIdentifier", record.set_identifier.as_ref().into()),
        ("Weight", weight.into()),
        ("Region", region.into()),
        ("Failover", failover.into()),
        (
            "MultiValueAnswer",
            (record.routing == Routing::Multivalue).then_some(true).into(),
        ),
        ("TTL", record.ttl_s.into()),
        (
            "ResourceRecords",
            if record.alias.is_some() {
                Value::Null
            } else {
                list("ResourceRecord", values)
            },
        ),
        ("AliasTarget", alias.into()),
        ("HealthCheckId", record.health_check_id.as_ref().into()),
    ])
}

fn bad_batch(message: impl std::fmt::Display) -> AwsError {
    AwsError::bad_request("InvalidChangeBatch", format!("[{message}]"))
}

fn read(input: &Value) -> Result<RecordSet, AwsError> {
    let name = input.required("Name")?.trim_end_matches('.').to_lowercase() + ".";
    let set_identifier = input.text("SetIdentifier").map(str::to_owned);
    let mut policies = Vec::new();
    if let Some(weight) = input.whole("Weight", 0..=255)? {
        policies.push(Routing::Weighted(weight as u32));
    }
    if let Some(region) = input.text("Region") {
        policies.push(Routing::Latency(region.to_owned()));
    }
    match input.text("Failover") {
        None => {}
        Some(role @ ("PRIMARY" | "SECONDARY")) => policies.push(Routing::Failover(role.to_owned())),
        Some(other) => return Err(bad_batch(format!("Invalid Failover value {other}"))),
    }
    if input.flag("MultiValueAnswer")? == Some(true) {
        policies.push(Routing::Multivalue);
    }
    if policies.len() > 1 {
        return Err(bad_batch(format!("More than one routing policy for [name='{name}']")));
    }
    let routing = policies.pop().unwrap_or(Routing::Simple);
    if (routing == Routing::Simple) != set_identifier.is_none() {
        return Err(bad_batch(format!(
            "A set identifier goes with a routing policy, and only with one: [name='{name}']"
        )));
    }
    let alias = match input.get("AliasTarget") {
        None => None,
        Some(alias) => Some(AliasTarget {
            dns_name: alias.required("DNSName")?.trim_end_matches('.').to_lowercase() + ".",
            hosted_zone_id: alias.required("HostedZoneId")?.to_owned(),
            evaluate_target_health: alias.flag("EvaluateTargetHealth")?.unwrap_or(false),
        }),
    };
    let ttl_s = input.whole("TTL", 0..=i64::from(i32::MAX))?.map(|ttl| ttl as u32);
    let records = input.elements("ResourceRecords");
    let values = records
        .iter()
        .map(|record| record.required("Value").map(str::to_owned))
        .collect::<Result<Vec<_>, _>>()?;
    if alias.is_some() == (ttl_s.is_some() || !values.is_empty())
        || alias.is_none() && (ttl_s.is_none() || values.is_empty())
    {
        let message = "Invalid request: Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords]]";
        return Err(AwsError::bad_request("InvalidInput", message));
    }
    Ok(RecordSet {
        name,
        record_type: input.required("Type")?.to_owned(),
        set_identifier,
        routing,
        ttl_s,
        values,
        alias,
        health_check_id: input.text("HealthCheckId").map(str::to_owned),
    })
}

pub fn change(call: &Call<'_>) -> Result<Value, AwsError> {
    let id = path_id(call, 0);
    let batch = call.input.get("ChangeBatch").unwrap_or(&Value::Null);
    let changes = batch.elements("Changes");
    if changes.is_empty() || changes.len() > MOST_CHANGES {
        return Err(AwsError::bad_request(
            "InvalidInput",
            format!("Give from 1 to {MOST_CHANGES} changes"),
        ));
    }
    let mut batch = Vec::new();
    for change in changes {
        let record = read(change.get("ResourceRecordSet").unwrap_or(&Value::Null))?;
        let known = |check: &String| call.lab.world().route53.health_checks.contains_key(check);
        if let Some(check) = record.health_check_id.as_ref().filter(|check| !known(check)) {
            return Err(AwsError::not_found(
                "NoSuchHealthCheck",
                format!("No health check exists with id {check}"),
            ));
        }
        let action = match change.required("Action")? {
            "CREATE" => ChangeAction::Create,
            "UPSERT" => ChangeAction::Upsert,
            "DELETE" => ChangeAction::Delete,
            other => return Err(AwsError::bad_request("InvalidInput", format!("Unknown action {other}"))),
        };
        batch.push((action, record));
    }
    let change = route53::change_records(call.lab, id, &batch)?;
    Ok(map([("ChangeInfo", shown_change(call, &change))]))
}

fn shown_change(call: &Call<'_>, change: &DnsChange) -> Value {
    map([
        ("Id", format!("/change/{}", change.id).into()),
        (
            "Status",
            if change.in_sync_at <= call.now {
                "INSYNC"
            } else {
                "PENDING"
            }
            .into(),
        ),
        ("SubmittedAt", time(change.submitted_at)),
    ])
}

pub fn get_change(call: &Call<'_>) -> Result<Value, AwsError> {
    let id = path_id(call, 0);
    let world = call.lab.world();
    let change = world
        .route53
        .changes
        .get(id)
        .ok_or_else(|| AwsError::not_found("NoSuchChange", format!("A change with the ID {id} does not exist")))?;
    Ok(map([("ChangeInfo", shown_change(call, change))]))
}

#[cfg(test)]
mod tests {
    use super::super::super::xml;
    use super::*;

    #[test]
    fn a_record_is_an_alias_or_has_ttl_and_values() {
        let bare = xml::parse("<R><Name>a.example.com</Name><Type>A</Type></R>").expect("well-formed");
        assert_eq!(read(&bare).expect_err("neither").code, "InvalidInput");
        let lonely = "<R><Name>a.example.com</Name><Type>A</Type><Failover>PRIMARY</Failover><AliasTarget>\
                      <HostedZoneId>Z</HostedZoneId><DNSName>lb</DNSName></AliasTarget></R>";
        let lonely = xml::parse(lonely).expect("well-formed");
        assert_eq!(read(&lonely).expect_err("no identifier").code, "InvalidChangeBatch");
    }
}
