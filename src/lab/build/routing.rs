//! Route 53 at the start: the hosted zone, the users' record and a health check per Region.

use std::collections::BTreeMap;

use super::{AGE, tags};
use crate::lab::Lab;
use crate::lab::config::RoutingPolicy;
use crate::lab::world::{
    AliasTarget, CheckerView, HealthCheck, HostedZone, LoadBalancer, RecordSet, Region, Route53, Routing, World,
};

/// The Regions that Route 53 health checkers check from (Route 53 API, `HealthCheckRegion`).
const CHECKER_REGIONS: [&str; 8] = [
    "us-east-1",
    "us-west-1",
    "us-west-2",
    "eu-west-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-northeast-1",
    "sa-east-1",
];
/// Weight of the first Region's record, the highest that Route 53 takes; why it is not as low as the others', see
/// [`RoutingPolicy::Weighted`].
const WEIGHT_FIRST: u32 = 255;
const WEIGHT_OTHERS: u32 = 1;
const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// The global routing of `world`'s Regions.
pub(super) fn route53(lab: &Lab, world: &World) -> Route53 {
    let mut health_checks = BTreeMap::new();
    let mut routed = Vec::new();
    for (place, name) in lab.config.regions.iter().enumerate() {
        let Some(region) = world.regions.get(name) else {
            continue;
        };
        let Some(balancer) = region.load_balancers.values().next() else {
            continue;
        };
        let check = health_check(lab, region, balancer);
        if let Some(routing) = routing(lab.config.routing, place, name) {
            // A SECONDARY needs no check: it is what is left.
            let checked = routing != Routing::Failover("SECONDARY".to_owned());
            routed.push(users_record(
                lab,
                region,
                balancer,
                routing,
                checked.then(|| check.id.clone()),
            ));
        }
        health_checks.insert(check.id.clone(), check);
    }
    let zone_name = format!("{}.", lab.config.zone);
    let mut records = delegation(&zone_name);
    records.extend(routed);
    let id = format!("Z{}", lab.random_text(UPPER, 20));
    let zone = HostedZone {
        id: id.clone(),
        tags: tags(&[("Name", &lab.config.zone), ("role", "dns")]),
        name: zone_name,
        served: records.clone(),
        batches_made: 0,
        batch_served: 0,
        records,
    };
    Route53 {
        zones: BTreeMap::from([(id, zone)]),
        health_checks,
        changes: BTreeMap::new(),
    }
}

fn routing(policy: RoutingPolicy, place: usize, region: &str) -> Option<Routing> {
    match (policy, place) {
        (RoutingPolicy::Latency, _) => Some(Routing::Latency(region.to_owned())),
        (RoutingPolicy::Weighted, 0) => Some(Routing::Weighted(WEIGHT_FIRST)),
        (RoutingPolicy::Weighted, _) => Some(Routing::Weighted(WEIGHT_OTHERS)),
        (RoutingPolicy::Failover, 0) => Some(Routing::Failover("PRIMARY".to_owned())),
        (RoutingPolicy::Failover, 1) => Some(Routing::Failover("SECONDARY".to_owned())),
        // A failover record has one secondary; further Regions stand by without users.
        (RoutingPolicy::Failover, _) => None,
    }
}

fn users_record(
    lab: &Lab,
    region: &Region,
    balancer: &LoadBalancer,
    routing: Routing,
    health_check_id: Option<String>,
) -> RecordSet {
    RecordSet {
        name: format!("{}.", lab.config.record),
        record_type: "A".to_owned(),
        set_identifier: Some(region.name.clone()),
        routing,
        ttl_s: None,
        values: Vec::new(),
        alias: Some(AliasTarget {
            dns_name: format!("{}.", balancer.dns_name),
            hosted_zone_id: balancer.hosted_zone_id.clone(),
            evaluate_target_health: lab.config.evaluate_target_health,
        }),
        health_check_id,
    }
}

fn health_check(lab: &Lab, region: &Region, balancer: &LoadBalancer) -> HealthCheck {
    let config = &lab.config.health_checks;
    let checkers = (0..config.checkers)
        .zip(CHECKER_REGIONS.iter().cycle())
        .map(|(number, from)| CheckerView {
            region: (*from).to_owned(),
            ip: format!("15.177.{}.{}", 2 * number + 2, 10 + u32::from(region.index)),
            healthy: true,
            streak: 0,
            status: "Success: HTTP Status Code 200, OK".to_owned(),
            checked_at: lab.now() - AGE,
        });
    HealthCheck {
        id: lab.uuid(),
        check_type: "HTTP".to_owned(),
        fqdn: balancer.dns_name.clone(),
        port: balancer.port,
        resource_path: lab.config.load_balancer.health_check_path.clone(),
        request_interval_s: u32::try_from(config.interval.as_secs()).unwrap_or(u32::MAX).max(1),
        failure_threshold: config.threshold,
        inverted: false,
        disabled: !config.enabled,
        checkers: checkers.collect(),
        healthy: true,
        version: 1,
        caller_reference: format!("{}-{}", lab.config.web.name, region.name),
        tags: tags(&[
            ("Name", &format!("{}-{}", lab.config.web.name, region.name)),
            ("role", "dns"),
        ]),
    }
}

/// The records that Route 53 makes with every zone.
fn delegation(zone: &str) -> Vec<RecordSet> {
    let servers = [
        "ns-2048.awsdns-64.com.",
        "ns-2049.awsdns-65.net.",
        "ns-2050.awsdns-66.org.",
        "ns-2051.awsdns-67.co.uk.",
    ];
    let record = |record_type: &str, ttl, values| RecordSet {
        name: zone.to_owned(),
        record_type: record_type.to_owned(),
        set_identifier: None,
        routing: Routing::Simple,
        ttl_s: Some(ttl),
        values,
        alias: None,
        health_check_id: None,
    };
    let authority = format!("{} awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400", servers[0]);
    vec![
        record("NS", 172_800, servers.map(str::to_owned).to_vec()),
        record("SOA", 900, vec![authority]),
    ]
}
