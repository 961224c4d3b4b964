//! One Region's resources at the start. Route 53, which is global, is built in `routing`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;

use super::{AGE, tags};
use crate::lab::Lab;
use crate::lab::config::Engine;
use crate::lab::world::{
    Alarm, AutoScalingGroup, CloudTime, DbCluster, DbInstance, GlobalCluster, GroupMember, Instance, InstanceState,
    LoadBalancer, LoadBalancerNode, MetricKey, NetworkAcl, NetworkAclEntry, Region, Subnet, TargetGroup, TargetState,
    TargetTrackingPolicy, Volume, World, next_is_spot,
};

/// Host octet of the load balancer's node in each AZ.
const BALANCER_HOST: u8 = 5;
/// Host octet of the database, or of the cluster's member, in each AZ.
const DATABASE_HOST: u8 = 8;
/// Host octet of the first instance in each AZ.
const FIRST_INSTANCE_HOST: u8 = 10;
const LOWER: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
const DIGITS: &[u8] = b"0123456789";
const HEX: &[u8] = b"0123456789abcdef";

/// The Region `name`, the `index`th of the configuration.
pub(super) fn region(lab: &Lab, name: &str, index: u8) -> Region {
    let born = lab.now() - AGE;
    let mut region = Region {
        name: name.to_owned(),
        index,
        vpc_id: lab.new_id("vpc-"),
        ..Region::default()
    };
    add_network(lab, &mut region);
    add_balancer(lab, &mut region, born);
    add_group(lab, &mut region, born);
    match lab.config.database.engine {
        Engine::Postgres => add_database(lab, &mut region, born),
        Engine::AuroraPostgresql => add_cluster(lab, &mut region, born),
    }
    region
}

fn arn(lab: &Lab, region: &Region, service: &str, resource: &str) -> String {
    format!("arn:aws:{service}:{}:{}:{resource}", region.name, lab.config.account)
}

fn address(region: &Region, az: u8, host: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 10 + region.index, az, host)
}

/// The Region's subnets by AZ.
fn by_az(region: &Region) -> Vec<Subnet> {
    let mut subnets: Vec<Subnet> = region.subnets.values().cloned().collect();
    subnets.sort_by_key(|subnet| subnet.az_index);
    subnets
}

fn add_network(lab: &Lab, region: &mut Region) {
    let entry = |rule_number, allow, egress| NetworkAclEntry {
        rule_number,
        protocol: "-1".to_owned(),
        allow,
        egress,
        cidr_block: "0.0.0.0/0".to_owned(),
    };
    let acl = NetworkAcl {
        id: lab.new_id("acl-"),
        is_default: true,
        entries: vec![
            entry(100, true, true),
            entry(32767, false, true),
            entry(100, true, false),
            entry(32767, false, false),
        ],
        tags: tags(&[("Name", "default")]),
    };
    for (az, az_index) in lab.config.azs_of(&region.name).into_iter().zip(1..) {
        let id = lab.new_id("subnet-");
        let subnet = Subnet {
            id: id.clone(),
            az: az.clone(),
            az_index,
            cidr: format!("127.{}.{az_index}.0/24", 10 + region.index),
            acl_association_id: lab.new_id("aclassoc-"),
            network_acl_id: acl.id.clone(),
            silent: false,
            tags: tags(&[("Name", &format!("shop-{az}")), ("role", "network")]),
        };
        region.subnets.insert(id, subnet);
    }
    region.network_acls.insert(acl.id.clone(), acl);
}

fn add_balancer(lab: &Lab, region: &mut Region, born: CloudTime) {
    let name = &lab.config.web.name;
    let config = &lab.config.load_balancer;
    let seconds = |duration: std::time::Duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
    let role = tags(&[("Name", name), ("role", "web")]);
    let suffix = lab.random_text(HEX, 16);
    let balancer_arn = arn(
        lab,
        region,
        "elasticloadbalancing",
        &format!("loadbalancer/app/{name}/{suffix}"),
    );
    let suffix = lab.random_text(HEX, 16);
    let group_arn = arn(
        lab,
        region,
        "elasticloadbalancing",
        &format!("targetgroup/{name}/{suffix}"),
    );
    let group = TargetGroup {
        arn: group_arn.clone(),
        name: name.clone(),
        port: lab.data.port(),
        load_balancer_arns: vec![balancer_arn.clone()],
        health_check_path: config.health_check_path.clone(),
        health_check_interval_s: seconds(config.health_check_interval),
        health_check_timeout_s: seconds(config.health_check_timeout),
        healthy_threshold: config.healthy_threshold,
        unhealthy_threshold: config.unhealthy_threshold,
        deregistration_delay_s: seconds(config.deregistration_delay),
        targets: BTreeMap::new(),
        tags: role.clone(),
    };
    let node = |subnet: Subnet| LoadBalancerNode {
        az: subnet.az,
        subnet_id: subnet.id,
        address: address(region, subnet.az_index, BALANCER_HOST),
        in_dns: true,
    };
    let balancer = LoadBalancer {
        arn: balancer_arn.clone(),
        name: name.clone(),
        dns_name: format!(
            "{name}-{}.{}.elb.amazonaws.com",
            lab.random_text(DIGITS, 10),
            region.name
        ),
        hosted_zone_id: balancer_zone(&region.name).to_owned(),
        nodes: by_az(region).into_iter().map(node).collect(),
        target_group_arn: group_arn.clone(),
        port: lab.data.port(),
        created_at: born,
        tags: role,
    };
    region.target_groups.insert(group_arn, group);
    region.load_balancers.insert(balancer_arn, balancer);
}

/// The hosted zone ids of Application Load Balancers (AWS General Reference, "Elastic Load Balancing endpoints").
fn balancer_zone(region: &str) -> &'static str {
    match region {
        "us-east-2" => "Z3AADJGX6KTTL2",
        "us-west-1" => "Z368ELLRRE2KJ0",
        "us-west-2" => "Z1H1FL5HABSF5",
        "eu-west-1" => "Z32O12XQLNTSW2",
        "eu-west-2" => "ZHURV8PSTC4K8",
        "eu-central-1" => "Z215JYRZR1TBD5",
        "ap-northeast-1" => "Z14GRHDCWA56QT",
        "ap-southeast-1" => "Z1LMS91P8CMLE5",
        "ap-southeast-2" => "Z1GM3OXH4ZPM65",
        _ => "Z35SXDOTRQ7X7K",
    }
}

fn add_group(lab: &Lab, region: &mut Region, born: CloudTime) {
    let web = &lab.config.web;
    let subnets = by_az(region);
    let group_tags = tags(&[("Name", &web.name), ("role", "web")]);
    let target_group_arns: Vec<String> = region.target_groups.keys().cloned().collect();
    let (mut members, mut on_demand) = (Vec::new(), 0);
    for (number, subnet) in (0..web.desired).zip(subnets.iter().cycle()) {
        let round = number / u32::from(lab.config.azs);
        let host = FIRST_INSTANCE_HOST.saturating_add(u8::try_from(round).unwrap_or(u8::MAX));
        let mut instance_tags = group_tags.clone();
        instance_tags.insert("aws:autoscaling:groupName".to_owned(), web.name.clone());
        let id = lab.new_id("i-");
        let instance = Instance {
            volume: Volume::root(&id, &group_tags),
            spot: next_is_spot(on_demand, members.len(), web.on_demand_percentage),
            id,
            subnet_id: subnet.id.clone(),
            az: subnet.az.clone(),
            address: address(region, subnet.az_index, host),
            state: InstanceState::Running,
            launched_at: born,
            running_at: Some(born + 60.0),
            ready_at: Some(born + 80.0),
            terminated_at: None,
            state_reason: String::new(),
            group: Some(web.name.clone()),
            tags: instance_tags,
        };
        on_demand += usize::from(!instance.spot);
        members.push(GroupMember {
            instance_id: instance.id.clone(),
            az: instance.az.clone(),
            lifecycle_state: "InService".to_owned(),
            health_status: "Healthy".to_owned(),
            in_service_at: Some(born + 90.0),
        });
        for group in region.target_groups.values_mut() {
            let healthy = TargetState {
                instance_id: instance.id.clone(),
                address: instance.address,
                az: instance.az.clone(),
                state: "healthy".to_owned(),
                reason: None,
                description: None,
                passes: group.healthy_threshold,
                failures: 0,
                registered_at: born + 60.0,
                draining_since: None,
            };
            group.targets.insert(instance.id.clone(), healthy);
        }
        region.instances.insert(instance.id.clone(), instance);
    }
    let policy = add_policy(lab, region, born);
    let suspended = web.suspended.iter().map(|process| (process.clone(), suspension(born)));
    let group = AutoScalingGroup {
        name: web.name.clone(),
        arn: arn(
            lab,
            region,
            "autoscaling",
            &format!("autoScalingGroup:{}:autoScalingGroupName/{}", lab.uuid(), web.name),
        ),
        min: web.min,
        max: web.max,
        desired: web.desired,
        azs: subnets.iter().map(|subnet| subnet.az.clone()).collect(),
        subnet_ids: subnets.iter().map(|subnet| subnet.id.clone()).collect(),
        health_check_type: web.health_check_type.clone(),
        health_check_grace_s: u32::try_from(web.grace.as_secs()).unwrap_or(u32::MAX),
        members,
        suspended: suspended.collect(),
        activities: VecDeque::new(),
        target_group_arns,
        on_demand_percentage: web.on_demand_percentage,
        policy,
        created_at: born,
        tags: group_tags,
        own_tags: BTreeSet::new(),
    };
    region.groups.insert(web.name.clone(), group);
}

fn suspension(at: CloudTime) -> String {
    let at = jiff::Timestamp::from_second(at as i64)
        .map(|at| at.to_string())
        .unwrap_or_default();
    format!("User suspended at {at}")
}

/// Target tracking with its two alarms (practitioners' numbers: high 3 x 1 min, low 15 x 1 min below 90 % of target).
fn add_policy(lab: &Lab, region: &mut Region, born: CloudTime) -> TargetTrackingPolicy {
    let web = &lab.config.web;
    let name = format!("{}-cpu", web.name);
    let resource = format!(
        "scalingPolicy:{}:autoScalingGroupName/{}:policyName/{name}",
        lab.uuid(),
        web.name
    );
    let policy_arn = arn(lab, region, "autoscaling", &resource);
    let mut alarm_names = Vec::new();
    for (kind, periods, comparison, threshold) in [
        ("AlarmHigh", 3, "GreaterThanThreshold", web.target_cpu),
        ("AlarmLow", 15, "LessThanThreshold", web.target_cpu * 0.9),
    ] {
        let alarm_name = format!("TargetTracking-{}-{kind}-{}", web.name, lab.uuid());
        let alarm = Alarm {
            name: alarm_name.clone(),
            arn: arn(lab, region, "cloudwatch", &format!("alarm:{alarm_name}")),
            description: format!("DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {policy_arn}."),
            metric: MetricKey {
                namespace: "AWS/EC2".to_owned(),
                name: "CPUUtilization".to_owned(),
                dimensions: vec![("AutoScalingGroupName".to_owned(), web.name.clone())],
            },
            statistic: "Average".to_owned(),
            period_s: 60,
            evaluation_periods: periods,
            datapoints_to_alarm: periods,
            threshold,
            comparison: comparison.to_owned(),
            treat_missing_data: "missing".to_owned(),
            actions_enabled: true,
            alarm_actions: vec![policy_arn.clone()],
            state: "INSUFFICIENT_DATA".to_owned(),
            state_reason: "Unchecked: Initial alarm creation".to_owned(),
            state_updated_at: born,
            state_transitioned_at: born,
        };
        region.alarms.insert(alarm_name.clone(), alarm);
        alarm_names.push(alarm_name);
    }
    TargetTrackingPolicy {
        name,
        arn: policy_arn,
        target_value: web.target_cpu,
        alarm_names,
    }
}

fn add_database(lab: &Lab, region: &mut Region, born: CloudTime) {
    let config = &lab.config.database;
    let subnets = by_az(region);
    let Some(primary) = subnets.first() else { return };
    let standby = subnets.get(1).filter(|_| config.multi_az);
    let db = DbInstance {
        id: config.name.clone(),
        arn: arn(lab, region, "rds", &format!("db:{}", config.name)),
        status: "available".to_owned(),
        cluster: None,
        multi_az: config.multi_az,
        az: primary.az.clone(),
        secondary_az: standby.map(|subnet| subnet.az.clone()),
        endpoint: format!(
            "{}.{}.{}.rds.amazonaws.com",
            config.name,
            lab.random_text(LOWER, 12),
            region.name
        ),
        endpoint_address: address(region, primary.az_index, DATABASE_HOST),
        standby_in_sync: standby.is_some(),
        failover: None,
        created_at: born,
        tags: tags(&[("Name", &config.name), ("role", "database")]),
    };
    region.db_instances.insert(db.id.clone(), db);
}

/// A cluster with its writer in the first AZ and a reader in each of the next.
fn add_cluster(lab: &Lab, region: &mut Region, born: CloudTime) {
    let config = &lab.config.database;
    let suffix = lab.random_text(LOWER, 12);
    let endpoint = |front: &str, kind: &str| format!("{front}.{kind}{suffix}.{}.rds.amazonaws.com", region.name);
    let tags = tags(&[("Name", &config.name), ("role", "database")]);
    let mut members = Vec::new();
    for (subnet, number) in by_az(region).into_iter().zip(1..=u32::from(config.readers) + 1) {
        let id = format!("{}-{number}", config.name);
        members.push(DbInstance {
            arn: arn(lab, region, "rds", &format!("db:{id}")),
            status: "available".to_owned(),
            cluster: Some(config.name.clone()),
            multi_az: false,
            endpoint: endpoint(&id, ""),
            endpoint_address: address(region, subnet.az_index, DATABASE_HOST),
            az: subnet.az,
            secondary_az: None,
            standby_in_sync: false,
            failover: None,
            created_at: born,
            tags: tags.clone(),
            id,
        });
    }
    let Some(writer) = members.first() else { return };
    let cluster = DbCluster {
        id: config.name.clone(),
        arn: arn(lab, region, "rds", &format!("cluster:{}", config.name)),
        status: "available".to_owned(),
        members: members.iter().map(|member| member.id.clone()).collect(),
        writer: writer.id.clone(),
        endpoint: endpoint(&config.name, "cluster-"),
        reader_endpoint: endpoint(&config.name, "cluster-ro-"),
        endpoint_address: writer.endpoint_address,
        created_at: born,
        tags,
    };
    region.db_clusters.insert(cluster.id.clone(), cluster);
    let members = members.into_iter().map(|member| (member.id.clone(), member));
    region.db_instances.extend(members);
}

/// Makes the clusters of all Regions one global cluster.
pub(super) fn join(lab: &Lab, world: &mut World) {
    let name = &lab.config.database.name;
    let id = format!("{name}-global");
    let primary = lab.config.database.primary.as_ref().or(lab.config.regions.first());
    let arn = |region: &Region| Some((region.name.clone(), region.db_clusters.get(name)?.arn.clone()));
    let global = GlobalCluster {
        arn: format!("arn:aws:rds::{}:global-cluster:{id}", lab.config.account),
        status: "available".to_owned(),
        cluster: name.clone(),
        members: world.regions.values().filter_map(arn).collect(),
        writer: primary.cloned().unwrap_or_default(),
        resyncing: BTreeSet::new(),
        handover: None,
        endpoint: format!("{id}.global-{}.global.rds.amazonaws.com", lab.random_text(LOWER, 12)),
        tags: tags(&[("Name", &id), ("role", "database")]),
        id: id.clone(),
    };
    world.global_clusters.insert(id, global);
}
