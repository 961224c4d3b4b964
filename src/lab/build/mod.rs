//! The world as it is when the lab starts: every Region with its network, group, load balancer and database, as if
//! it had been running for an hour. Opens no sockets; `serve` does.

mod regional;
mod routing;

use super::Lab;
use super::world::{APP_ROLE, IamRole, Tags, World};

/// How long, in cloud seconds, everything has existed when the lab starts.
const AGE: f64 = 3600.0;

/// The initial world of `lab`'s configuration; resources carry the data plane's port.
#[must_use]
pub fn world(lab: &Lab) -> World {
    let mut world = World {
        account: lab.config.account.clone(),
        ..World::default()
    };
    for (index, name) in lab.config.regions.iter().enumerate() {
        // The configuration allows at most 16 Regions.
        let index = u8::try_from(index).unwrap_or(u8::MAX);
        world.regions.insert(name.clone(), regional::region(lab, name, index));
    }
    if lab.config.database.global {
        regional::join(lab, &mut world);
    }
    world.route53 = routing::route53(lab, &world);
    let role = IamRole {
        arn: format!("arn:aws:iam::{}:role/{APP_ROLE}", world.account),
        created_at: lab.now() - AGE,
        tags: tags(&[("Name", APP_ROLE)]),
    };
    world.iam_roles.insert(APP_ROLE.to_owned(), role);
    if !lab.config.tagged {
        untag(&mut world);
    }
    world
}

/// Takes the tag off everything that a fault may hit.
fn untag(world: &mut World) {
    for region in world.regions.values_mut() {
        let groups = region.groups.values_mut().map(|group| &mut group.tags);
        let instances = region.instances.values_mut();
        let instances = instances.flat_map(|instance| [&mut instance.tags, &mut instance.volume.tags]);
        let subnets = region.subnets.values_mut().map(|subnet| &mut subnet.tags);
        let databases = region.db_instances.values_mut().map(|database| &mut database.tags);
        let clusters = region.db_clusters.values_mut().map(|cluster| &mut cluster.tags);
        let targets = region.target_groups.values_mut().map(|group| &mut group.tags);
        let balancers = region.load_balancers.values_mut().map(|balancer| &mut balancer.tags);
        let of_load_balancing = targets.chain(balancers);
        for tags in groups
            .chain(instances)
            .chain(subnets)
            .chain(databases)
            .chain(clusters)
            .chain(of_load_balancing)
        {
            tags.remove("chaos");
        }
    }
    for global in world.global_clusters.values_mut() {
        global.tags.remove("chaos");
    }
    let checks = world.route53.health_checks.values_mut().map(|check| &mut check.tags);
    let zones = world.route53.zones.values_mut().map(|zone| &mut zone.tags);
    let roles = world.iam_roles.values_mut().map(|role| &mut role.tags);
    for tags in checks.chain(zones).chain(roles) {
        tags.remove("chaos");
    }
}

fn tags(pairs: &[(&str, &str)]) -> Tags {
    // CloudFormation puts the second on whatever a stack makes.
    let always = [("chaos", "allowed"), ("aws:cloudformation:stack-name", "shop")];
    always
        .iter()
        .chain(pairs)
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::lab::config::{Engine, LabConfig, RoutingPolicy};
    use crate::lab::data::DataPlane;
    use crate::lab::truth::Truth;
    use crate::lab::world::{AutoScalingGroup, Routing};
    use crate::units::Pace;
    use std::collections::BTreeSet;

    fn built(config: LabConfig, seed: u64) -> World {
        let clock = Clock::starting_now(Pace::new(30.0).expect("a pace"));
        let truth = Truth::new(clock, None).expect("no file");
        let lab = Lab::new(config, clock, truth.clone(), DataPlane::new(25_000, truth), seed);
        world(&lab)
    }

    #[test]
    fn every_region_is_whole_and_its_parts_refer_to_one_another() {
        let world = built(LabConfig::default(), 1);
        assert_eq!(world.regions.len(), 2);
        for (index, name) in ["us-east-1", "eu-west-1"].into_iter().enumerate() {
            let region = &world.regions[name];
            assert_eq!((usize::from(region.index), region.subnets.len()), (index, 3));
            let group: &AutoScalingGroup = &region.groups["shop-web"];
            let azs: BTreeSet<_> = group.members.iter().map(|member| member.az.as_str()).collect();
            assert_eq!(azs.len(), 3, "one instance per AZ");
            let balancer = region.load_balancers.values().next().expect("one");
            let targets = &region.target_groups[&balancer.target_group_arn].targets;
            for member in &group.members {
                let instance = &region.instances[&member.instance_id];
                assert_eq!(targets[&instance.id].address, instance.address);
                assert_eq!(instance.address.octets()[1], 10 + region.index);
                assert_eq!(instance.tags["chaos"], "allowed");
            }
            assert!(balancer.dns_name.ends_with(&format!(".{name}.elb.amazonaws.com")));
            let db = &region.db_instances["shop-db"];
            assert_ne!(Some(&db.az), db.secondary_az.as_ref());
            for alarm in &group.policy.alarm_names {
                assert_eq!(
                    region.alarms[alarm].alarm_actions,
                    std::slice::from_ref(&group.policy.arn)
                );
            }
            for subnet in region.subnets.values() {
                assert!(region.network_acls[&subnet.network_acl_id].is_default);
            }
        }
    }

    #[test]
    fn a_cluster_has_a_writer_and_readers_in_other_azs() {
        let mut config = LabConfig::default();
        config.database.engine = Engine::AuroraPostgresql;
        let world = built(config, 1);
        for region in world.regions.values() {
            let cluster = &region.db_clusters["shop-db"];
            assert_eq!(cluster.members, ["shop-db-1", "shop-db-2", "shop-db-3"]);
            assert_eq!((region.db_instances.len(), cluster.writer.as_str()), (3, "shop-db-1"));
            let members = || cluster.members.iter().map(|id| &region.db_instances[id]);
            let azs: BTreeSet<_> = members().map(|member| member.az.as_str()).collect();
            assert_eq!(azs.len(), 3);
            assert!(members().all(|member| member.cluster.as_deref() == Some("shop-db")));
            assert_eq!(
                cluster.endpoint_address,
                region.db_instances["shop-db-1"].endpoint_address
            );
        }
    }

    #[test]
    fn the_record_routes_as_configured() {
        let failover = built(LabConfig::default(), 1);
        let zone = failover.route53.zones.values().next().expect("one");
        assert_eq!(zone.records, zone.served);
        let policies: Vec<_> = zone
            .records
            .iter()
            .filter(|record| record.name == "shop.example.com.")
            .map(|record| &record.routing)
            .collect();
        assert_eq!(
            policies,
            [
                &Routing::Failover("PRIMARY".into()),
                &Routing::Failover("SECONDARY".into())
            ]
        );
        let latency = built(
            LabConfig {
                routing: RoutingPolicy::Latency,
                ..LabConfig::default()
            },
            1,
        );
        let zone = latency.route53.zones.values().next().expect("one");
        let records = zone.records.iter().filter(|record| record.name == "shop.example.com.");
        for record in records {
            assert!(matches!(record.routing, Routing::Latency(_)) && record.health_check_id.is_some());
        }
        let weighted = built(
            LabConfig {
                routing: RoutingPolicy::Weighted,
                ..LabConfig::default()
            },
            1,
        );
        let zone = weighted.route53.zones.values().next().expect("one");
        let records = zone.records.iter().filter(|record| record.name == "shop.example.com.");
        let weights: Vec<_> = records
            .map(|record| (record.routing.clone(), record.health_check_id.is_some()))
            .collect();
        assert_eq!(weights, [(Routing::Weighted(255), true), (Routing::Weighted(1), true)]);
    }

    #[test]
    fn the_tag_is_on_everything_that_a_fault_may_hit_or_on_nothing() {
        for (tagged, engine) in [
            (true, Engine::Postgres),
            (false, Engine::Postgres),
            (false, Engine::AuroraPostgresql),
        ] {
            let mut config = LabConfig {
                tagged,
                ..LabConfig::default()
            };
            config.database.engine = engine;
            config.database.global = engine == Engine::AuroraPostgresql;
            let world = built(config, 1);
            let mut tags: Vec<&Tags> = Vec::new();
            for region in world.regions.values() {
                tags.extend(region.groups.values().map(|one| &one.tags));
                tags.extend(region.instances.values().flat_map(|one| [&one.tags, &one.volume.tags]));
                tags.extend(region.subnets.values().map(|one| &one.tags));
                tags.extend(region.db_instances.values().map(|one| &one.tags));
                tags.extend(region.db_clusters.values().map(|one| &one.tags));
                tags.extend(region.target_groups.values().map(|one| &one.tags));
                tags.extend(region.load_balancers.values().map(|one| &one.tags));
            }
            tags.extend(world.global_clusters.values().map(|one| &one.tags));
            tags.extend(world.route53.health_checks.values().map(|one| &one.tags));
            tags.extend(world.route53.zones.values().map(|one| &one.tags));
            tags.extend(world.iam_roles.values().map(|one| &one.tags));
            assert!(tags.iter().all(|tags| tags.contains_key("chaos") == tagged), "{tags:?}");
        }
    }

    #[test]
    fn one_seed_gives_one_world() {
        let ids = |seed| {
            built(LabConfig::default(), seed).regions["us-east-1"]
                .instances
                .keys()
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(ids(5), ids(5));
        assert_ne!(ids(5), ids(6));
    }
}
