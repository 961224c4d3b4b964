//! Hosted zones.

use super::super::Call;
use super::super::value::{Value, list, map};
use super::{marked, most, path_id};
use crate::lab::error::AwsError;
use crate::lab::world::HostedZone;

pub fn no_zone(id: &str) -> AwsError {
    AwsError::not_found("NoSuchHostedZone", format!("No hosted zone found with ID: {id}"))
}

fn shown(zone: &HostedZone) -> Value {
    map([
        ("Id", format!("/hostedzone/{}", zone.id).into()),
        ("Name", (&zone.name).into()),
        ("CallerReference", (&zone.id).into()),
        ("Config", map([("PrivateZone", false.into())])),
        ("ResourceRecordSetCount", (zone.records.len() as i64).into()),
    ])
}

pub fn list_zones(call: &Call<'_>) -> Result<Value, AwsError> {
    let world = call.lab.world();
    let zones = world.route53.zones.values().collect();
    marked(
        call,
        "HostedZones",
        zones,
        |zone| zone.id.clone(),
        |zones| list("HostedZone", zones.into_iter().map(shown)),
    )
}

pub fn list_by_name(call: &Call<'_>) -> Result<Value, AwsError> {
    let most = most(call, 100)?;
    let dotted = |name: &str| format!("{}.", name.trim_end_matches('.'));
    let from = call.query.text("dnsname").map(dotted);
    let reversed = |name: &str| {
        name.trim_end_matches('.')
            .rsplit('.')
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let world = call.lab.world();
    let mut zones: Vec<&HostedZone> = world.route53.zones.values().collect();
    zones.sort_by_key(|zone| reversed(&zone.name));
    zones.retain(|zone| from.as_ref().is_none_or(|from| reversed(&zone.name) >= reversed(from)));
    let rest = zones.get(most).copied();
    Ok(map([
        (
            "HostedZones",
            list("HostedZone", zones.iter().take(most).map(|zone| shown(zone))),
        ),
        ("DNSName", call.query.text("dnsname").into()),
        ("IsTruncated", rest.is_some().into()),
        ("NextDNSName", rest.map(|zone| &zone.name).into()),
        ("NextHostedZoneId", rest.map(|zone| &zone.id).into()),
        ("MaxItems", most.to_string().into()),
    ]))
}

pub fn get(call: &Call<'_>) -> Result<Value, AwsError> {
    let id = path_id(call, 0);
    let world = call.lab.world();
    let zone = world.route53.zones.get(id).ok_or_else(|| no_zone(id))?;
    let servers = zone
        .records
        .iter()
        .filter(|record| record.record_type == "NS" && record.name == zone.name);
    let servers = servers.flat_map(|record| record.values.iter().map(|name| name.trim_end_matches('.')));
    Ok(map([
        ("HostedZone", shown(zone)),
        ("DelegationSet", map([("NameServers", list("NameServer", servers))])),
    ]))
}
