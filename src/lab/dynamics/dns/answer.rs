//! What a name answers now: Route 53's routing policies over the health of the records. Pure; draws are passed in.

use std::net::Ipv4Addr;

use crate::lab::world::{DbCluster, HostedZone, LoadBalancer, RecordSet, Region, Routing, World};

/// TTL of an RDS endpoint, seconds (documented).
const RDS_TTL_S: u32 = 5;
/// Records a multivalue answer holds at most (documented).
const MULTIVALUE_LIMIT: usize = 8;

/// Addresses with their TTL in cloud seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// TTL.
    pub ttl_s: u32,
    /// Addresses.
    pub addresses: Vec<Ipv4Addr>,
}

/// What the DNS servers know of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// It has addresses.
    Addresses(Answer),
    /// It exists without addresses.
    NoData,
    /// The zone has no such name.
    NoSuchName,
    /// Not a zone of the lab.
    NotOurs,
}

/// Answers an address query for `name` (with trailing dot, lower case) from a client in `client` (a Region), with
/// `draw` in 0..1 for weighted records.
#[must_use]
pub fn resolve(world: &World, name: &str, client: Option<&str>, alias_ttl_s: u32, draw: f64) -> Resolution {
    if let Some((region, balancer)) = find_load_balancer(world, name) {
        return Resolution::Addresses(Answer {
            ttl_s: alias_ttl_s,
            addresses: nodes(region, balancer),
        });
    }
    if let Some(address) = database(world, name) {
        return Resolution::Addresses(Answer {
            ttl_s: RDS_TTL_S,
            addresses: vec![address],
        });
    }
    let Some(zone) = world.route53.zones.values().find(|zone| is_in(name, &zone.name)) else {
        return if name.ends_with(".amazonaws.com.") {
            Resolution::NoSuchName
        } else {
            Resolution::NotOurs
        };
    };
    let records = candidates(world, zone, name, client);
    let chosen: Vec<&RecordSet> = match records.first().map(|record| &record.routing) {
        None if zone.served.iter().any(|record| record.name == name) || name == zone.name => return Resolution::NoData,
        None => return Resolution::NoSuchName,
        Some(Routing::Weighted(_)) => weighted(&records, draw).into_iter().collect(),
        Some(Routing::Multivalue) => records.into_iter().take(MULTIVALUE_LIMIT).collect(),
        Some(_) => records.into_iter().take(1).collect(),
    };
    let ttl_s = chosen.first().and_then(|record| record.ttl_s).unwrap_or(alias_ttl_s);
    let addresses: Vec<Ipv4Addr> = chosen.into_iter().flat_map(|record| values(world, record)).collect();
    if addresses.is_empty() {
        Resolution::NoData
    } else {
        Resolution::Addresses(Answer { ttl_s, addresses })
    }
}

/// Every address that `name` may answer now, whatever is drawn.
#[must_use]
pub fn possible(world: &World, name: &str, client: Option<&str>) -> Vec<Ipv4Addr> {
    let zone = world.route53.zones.values().find(|zone| is_in(name, &zone.name));
    let records = zone
        .map(|zone| candidates(world, zone, name, client))
        .unwrap_or_default();
    let spread = matches!(
        records.first().map(|r| &r.routing),
        Some(Routing::Weighted(_) | Routing::Multivalue)
    );
    let limit = if spread { records.len() } else { 1 };
    // A record without weight is answered only where no other has any.
    let some_weigh = records.iter().any(|record| weight(record) > 0.0);
    let drawn = |record: &&RecordSet| !some_weigh || weight(record) > 0.0;
    records
        .into_iter()
        .filter(drawn)
        .take(limit)
        .flat_map(|record| values(world, record))
        .collect()
}

/// The addresses of a name or address literal, as a health checker resolves them.
#[must_use]
pub fn addresses_of(world: &World, name: &str) -> Vec<Ipv4Addr> {
    if let Ok(address) = name.parse() {
        return vec![address];
    }
    let name = format!("{}.", name.trim_end_matches('.').to_ascii_lowercase());
    match resolve(world, &name, None, 0, 0.5) {
        Resolution::Addresses(answer) => answer.addresses,
        _ => Vec::new(),
    }
}

/// The address records of `name` that its routing policy may answer with, best first.
fn candidates<'w>(world: &'w World, zone: &'w HostedZone, name: &str, client: Option<&str>) -> Vec<&'w RecordSet> {
    let records: Vec<&RecordSet> = zone
        .served
        .iter()
        .filter(|record| record.name == name && record.record_type == "A")
        .collect();
    let mut alive: Vec<&RecordSet> = records
        .iter()
        .copied()
        .filter(|record| healthy(world, record))
        .collect();
    // Route 53 answers with something rather than nothing: all unhealthy counts as all healthy.
    if alive.is_empty() {
        alive = records;
    }
    match alive.first().map(|record| &record.routing) {
        Some(Routing::Failover(_)) => alive.sort_by_key(|r| r.routing != Routing::Failover("PRIMARY".to_owned())),
        Some(Routing::Latency(_)) => alive.sort_by_key(|r| match &r.routing {
            Routing::Latency(region) => distance(world, region, client),
            _ => usize::MAX,
        }),
        _ => {}
    }
    alive
}

/// A record is healthy when its health check is, and for an alias that evaluates its target, when the load balancer
/// has a healthy target too.
fn healthy(world: &World, record: &RecordSet) -> bool {
    let checked = match &record.health_check_id {
        Some(id) => world.route53.health_checks.get(id).is_none_or(|check| check.healthy),
        None => true,
    };
    let target = match &record.alias {
        Some(alias) if alias.evaluate_target_health => target_healthy(world, &alias.dns_name),
        _ => true,
    };
    checked && target
}

fn target_healthy(world: &World, dns_name: &str) -> bool {
    let Some((region, balancer)) = find_load_balancer(world, dns_name) else {
        return false;
    };
    region
        .target_groups
        .get(&balancer.target_group_arn)
        .is_some_and(|group| group.targets.values().any(|target| target.state == "healthy"))
}

/// Latency between Regions as the lab has it: none to one's own, then by place in the configuration.
fn distance(world: &World, region: &str, client: Option<&str>) -> usize {
    let index = |name: &str| world.regions.get(name).map_or(0, |region| usize::from(region.index));
    let from = client.map_or(0, index);
    index(region).abs_diff(from)
}

fn weight(record: &RecordSet) -> f64 {
    match record.routing {
        Routing::Weighted(weight) => f64::from(weight),
        _ => 0.0,
    }
}

fn weighted<'r>(records: &[&'r RecordSet], draw: f64) -> Option<&'r RecordSet> {
    let total: f64 = records.iter().map(|record| weight(record)).sum();
    // All weights zero: all alike, as documented.
    if total <= 0.0 {
        return records
            .get((draw * records.len() as f64) as usize)
            .or(records.last())
            .copied();
    }
    let mut left = draw * total;
    for record in records {
        left -= weight(record);
        if left < 0.0 {
            return Some(record);
        }
    }
    records.iter().rev().find(|record| weight(record) > 0.0).copied()
}

fn values(world: &World, record: &RecordSet) -> Vec<Ipv4Addr> {
    match &record.alias {
        Some(alias) => find_load_balancer(world, &alias.dns_name)
            .map(|(region, balancer)| nodes(region, balancer))
            .unwrap_or_default(),
        None => record.values.iter().filter_map(|value| value.parse().ok()).collect(),
    }
}

/// The nodes of a load balancer that its name answers: but for that in an AZ from which it is shifted away, or that
/// cannot be reached.
fn nodes(region: &Region, balancer: &LoadBalancer) -> Vec<Ipv4Addr> {
    let shifted = |az: &str| region.is_shifted(&balancer.arn, az);
    let answered = balancer.nodes.iter().filter(|node| node.in_dns && !shifted(&node.az));
    answered.map(|node| node.address).collect()
}

fn find_load_balancer<'w>(world: &'w World, name: &str) -> Option<(&'w Region, &'w LoadBalancer)> {
    let name = name.trim_end_matches('.');
    // AWS's console writes aliases with `dualstack.` in front.
    let name = name.strip_prefix("dualstack.").unwrap_or(name);
    let balancers = world
        .regions
        .values()
        .flat_map(|region| region.load_balancers.values().map(move |b| (region, b)));
    balancers
        .into_iter()
        .find(|(_, balancer)| balancer.dns_name.eq_ignore_ascii_case(name))
}

fn database(world: &World, name: &str) -> Option<Ipv4Addr> {
    let name = name.trim_end_matches('.');
    let of_region = |region: &Region| {
        let databases = region.db_instances.values();
        let instance = databases.into_iter().find(|db| db.endpoint.eq_ignore_ascii_case(name));
        instance.map(|db| db.endpoint_address).or_else(|| {
            let mut clusters = region.db_clusters.values();
            clusters.find_map(|cluster| cluster_address(region, cluster, name))
        })
    };
    let mut global = world.global_clusters.values();
    let global = global.find(|global| global.endpoint.eq_ignore_ascii_case(name));
    let global = global.and_then(|global| world.regions.get(&global.writer)?.db_clusters.get(&global.cluster));
    global
        .map(|primary| primary.endpoint_address)
        .or_else(|| world.regions.values().find_map(of_region))
}

/// What a cluster's endpoints lead to: the writer, or the first reader that is available and else the writer.
fn cluster_address(region: &Region, cluster: &DbCluster, name: &str) -> Option<Ipv4Addr> {
    if cluster.endpoint.eq_ignore_ascii_case(name) {
        return Some(cluster.endpoint_address);
    }
    if !cluster.reader_endpoint.eq_ignore_ascii_case(name) {
        return None;
    }
    let members = cluster.members.iter().filter_map(|id| region.db_instances.get(id));
    let mut readers = members.filter(|member| member.id != cluster.writer && member.status == "available");
    Some(
        readers
            .next()
            .map_or(cluster.endpoint_address, |reader| reader.endpoint_address),
    )
}

fn is_in(name: &str, zone: &str) -> bool {
    name == zone || name.strip_suffix(zone).is_some_and(|front| front.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::dynamics::route53::default_checkers;
    use crate::lab::world::{AliasTarget, HealthCheck, LoadBalancerNode, Route53, Tags, TargetGroup, TargetState};

    const NAME: &str = "shop.example.com.";

    fn check(id: &str) -> HealthCheck {
        HealthCheck {
            id: id.into(),
            check_type: "HTTP".into(),
            fqdn: String::new(),
            port: 80,
            resource_path: "/".into(),
            request_interval_s: 10,
            failure_threshold: 3,
            inverted: false,
            disabled: false,
            checkers: default_checkers(16),
            healthy: true,
            version: 1,
            caller_reference: String::new(),
            tags: Tags::new(),
        }
    }

    fn region(name: &str, index: u8) -> Region {
        let mut region = Region {
            name: name.into(),
            index,
            ..Region::default()
        };
        let target = TargetState {
            instance_id: "i-1".into(),
            address: Ipv4Addr::new(127, 10 + index, 1, 10),
            az: format!("{name}a"),
            state: "healthy".into(),
            reason: None,
            description: None,
            passes: 1,
            failures: 0,
            registered_at: 0.0,
            draining_since: None,
        };
        let group = TargetGroup {
            arn: "tg".into(),
            name: "web".into(),
            port: 80,
            load_balancer_arns: vec!["lb".into()],
            health_check_path: "/health".into(),
            health_check_interval_s: 30,
            health_check_timeout_s: 5,
            healthy_threshold: 5,
            unhealthy_threshold: 2,
            deregistration_delay_s: 300,
            targets: [("i-1".to_owned(), target)].into(),
            tags: Tags::new(),
        };
        let balancer = LoadBalancer {
            arn: "lb".into(),
            name: "web".into(),
            dns_name: format!("web.{name}.elb.amazonaws.com"),
            hosted_zone_id: "Z1".into(),
            nodes: vec![LoadBalancerNode {
                az: format!("{name}a"),
                subnet_id: "s".into(),
                address: Ipv4Addr::new(127, 10 + index, 1, 5),
                in_dns: true,
            }],
            target_group_arn: "tg".into(),
            port: 80,
            created_at: 0.0,
            tags: Tags::new(),
        };
        region.target_groups.insert("tg".into(), group);
        region.load_balancers.insert("lb".into(), balancer);
        region
    }

    fn record(region: &str, routing: Routing, check: Option<&str>) -> RecordSet {
        RecordSet {
            name: NAME.into(),
            record_type: "A".into(),
            set_identifier: Some(region.into()),
            routing,
            ttl_s: None,
            values: vec![],
            alias: Some(AliasTarget {
                dns_name: format!("web.{region}.elb.amazonaws.com."),
                hosted_zone_id: "Z1".into(),
                evaluate_target_health: true,
            }),
            health_check_id: check.map(str::to_owned),
        }
    }

    fn world(one: Routing, two: Routing) -> World {
        let served = vec![
            record("eu-west-1", two, Some("hc2")),
            record("us-east-1", one, Some("hc1")),
        ];
        let zone = HostedZone {
            id: "Z".into(),
            name: "example.com.".into(),
            records: served.clone(),
            served,
            batches_made: 0,
            batch_served: 0,
            tags: Tags::new(),
        };
        let regions = [("us-east-1", 0), ("eu-west-1", 1)].map(|(name, index)| (name.to_owned(), region(name, index)));
        World {
            regions: regions.into(),
            route53: Route53 {
                zones: [("Z".to_owned(), zone)].into(),
                health_checks: ["hc1", "hc2"].map(|id| (id.to_owned(), check(id))).into(),
                ..Route53::default()
            },
            ..World::default()
        }
    }

    fn failover() -> World {
        world(
            Routing::Failover("PRIMARY".into()),
            Routing::Failover("SECONDARY".into()),
        )
    }

    fn answered(world: &World, client: Option<&str>, draw: f64) -> u8 {
        match resolve(world, NAME, client, 60, draw) {
            Resolution::Addresses(answer) => {
                assert_eq!((answer.ttl_s, answer.addresses.len()), (60, 1));
                answer.addresses[0].octets()[1]
            }
            other => panic!("{other:?}"),
        }
    }

    fn sicken(world: &mut World, id: &str) {
        world.route53.health_checks.get_mut(id).unwrap().healthy = false;
    }

    #[test]
    fn failover_answers_the_primary_while_it_is_healthy_or_nothing_is() {
        let mut world = failover();
        assert_eq!(answered(&world, None, 0.0), 10);
        sicken(&mut world, "hc1");
        assert_eq!(answered(&world, None, 0.0), 11);
        sicken(&mut world, "hc2");
        assert_eq!(answered(&world, None, 0.0), 10, "all unhealthy counts as all healthy");
    }

    #[test]
    fn an_alias_without_a_healthy_target_is_unhealthy_if_it_evaluates_its_target() {
        let mut world = failover();
        let region = world.regions.get_mut("us-east-1").unwrap();
        region
            .target_groups
            .get_mut("tg")
            .unwrap()
            .targets
            .get_mut("i-1")
            .unwrap()
            .state = "unhealthy".into();
        assert_eq!(answered(&world, None, 0.0), 11);
        for record in &mut world.route53.zones.get_mut("Z").unwrap().served {
            record.alias.as_mut().unwrap().evaluate_target_health = false;
        }
        assert_eq!(answered(&world, None, 0.0), 10);
    }

    #[test]
    fn latency_answers_the_nearest_healthy_region() {
        let mut world = world(
            Routing::Latency("us-east-1".into()),
            Routing::Latency("eu-west-1".into()),
        );
        assert_eq!(answered(&world, Some("us-east-1"), 0.0), 10);
        assert_eq!(answered(&world, Some("eu-west-1"), 0.0), 11);
        assert_eq!(
            answered(&world, None, 0.0),
            10,
            "without a client subnet, the first Region"
        );
        sicken(&mut world, "hc2");
        assert_eq!(answered(&world, Some("eu-west-1"), 0.0), 10);
    }

    #[test]
    fn weights_share_the_answers_among_healthy_records() {
        let mut world = world(Routing::Weighted(90), Routing::Weighted(10));
        let to_first = (0..1000)
            .filter(|n| answered(&world, None, f64::from(*n) / 1000.0) == 10)
            .count();
        assert_eq!(to_first, 900);
        sicken(&mut world, "hc1");
        assert!((0..10).all(|n| answered(&world, None, f64::from(n) / 10.0) == 11));
        assert_eq!(possible(&world, NAME, None), [Ipv4Addr::new(127, 11, 1, 5)]);
    }

    #[test]
    fn a_record_of_weight_zero_is_answered_only_where_no_other_has_a_weight() {
        let mut world = world(Routing::Weighted(0), Routing::Weighted(1));
        assert!((0..10).all(|n| answered(&world, None, f64::from(n) / 10.0) == 11));
        assert_eq!(possible(&world, NAME, None), [Ipv4Addr::new(127, 11, 1, 5)]);
        // Those with a weight are all unhealthy, so that those without one count.
        sicken(&mut world, "hc2");
        assert!((0..10).all(|n| answered(&world, None, f64::from(n) / 10.0) == 10));
        assert_eq!(possible(&world, NAME, None), [Ipv4Addr::new(127, 10, 1, 5)]);
    }

    #[test]
    fn names_are_told_apart() {
        let world = failover();
        let ask = |name: &str| resolve(&world, name, None, 60, 0.0);
        assert_eq!(ask("nope.example.com."), Resolution::NoSuchName);
        assert_eq!(ask("example.com."), Resolution::NoData);
        assert_eq!(ask("example.org."), Resolution::NotOurs);
        assert_eq!(ask("notexample.com."), Resolution::NotOurs);
        let node = Ipv4Addr::new(127, 11, 1, 5);
        assert_eq!(addresses_of(&world, "web.eu-west-1.elb.amazonaws.com"), [node]);
        assert_eq!(addresses_of(&world, "127.0.0.9"), [Ipv4Addr::new(127, 0, 0, 9)]);
    }
}
