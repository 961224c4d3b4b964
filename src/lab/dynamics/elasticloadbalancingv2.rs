//! Elastic Load Balancing: targets that are registered and deregistered on request, health checks that change, and nodes
//! whose addresses leave the load balancer's name while their AZ cannot be reached. Where requests go then, and what the checks find, is `data`'s; what a group does about it is `autoscaling`'s.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::autoscaling::targets;
use super::{poll, region_mut};
use crate::lab::Lab;
use crate::lab::error::AwsError;
use crate::lab::world::{Instance, InstanceState, LoadBalancerNode, Region, TargetGroup};

/// How often nodes are looked at, cloud seconds, and how many looks in a row change what is believed of one [as of
/// Route 53's fast health checks; AWS documents that it watches nodes, and not how often].
const WATCH_S: f64 = 10.0;
const LOOKS: u32 = 3;

/// Starts the watch on the nodes of every load balancer.
pub(super) fn spawn(lab: &Arc<Lab>) {
    let lab = lab.clone();
    tokio::spawn(async move {
        let mut against = BTreeMap::new();
        loop {
            poll(&lab, WATCH_S).await;
            for region in lab.world().regions.values_mut() {
                look(region, &mut against);
            }
        }
    });
}

/// One look at the nodes of a Region; `against` counts, by address, the looks in a row that speak against what is
/// believed of a node. Where none of a load balancer's nodes can be reached, no answer would be better than another.
fn look(region: &mut Region, against: &mut BTreeMap<Ipv4Addr, u32>) {
    let subnets = &region.subnets;
    let reachable = |node: &LoadBalancerNode| subnets.get(&node.subnet_id).is_some_and(|subnet| !subnet.silent);
    for balancer in region.load_balancers.values_mut() {
        let some = balancer.nodes.iter().any(reachable);
        for node in &mut balancer.nodes {
            let looks = against.entry(node.address).or_default();
            if !some || reachable(node) == node.in_dns {
                *looks = 0;
                continue;
            }
            *looks += 1;
            if *looks >= LOOKS {
                node.in_dns = !node.in_dns;
                *looks = 0;
            }
        }
    }
}

/// What ModifyTargetGroup changes; none leaves as it is.
#[derive(Clone, Debug, Default)]
pub struct HealthCheckChange {
    /// HealthCheckPath.
    pub path: Option<String>,
    /// HealthCheckIntervalSeconds.
    pub interval_s: Option<u32>,
    /// HealthCheckTimeoutSeconds.
    pub timeout_s: Option<u32>,
    /// HealthyThresholdCount.
    pub healthy_threshold: Option<u32>,
    /// UnhealthyThresholdCount.
    pub unhealthy_threshold: Option<u32>,
}

/// RegisterTargets: all of them or none. One that drains is registered anew, one that is registered keeps its health.
pub fn register(lab: &Arc<Lab>, region: &str, arn: &str, ids: &[String]) -> Result<(), AwsError> {
    let now = lab.now();
    let mut world = lab.world();
    let region = region_mut(&mut world, region)?;
    group_mut(region, arn)?;
    let instances = ids
        .iter()
        .map(|id| region.instances.get(id).cloned().ok_or_else(|| not_valid(id)))
        .collect::<Result<Vec<Instance>, AwsError>>()?;
    if let Some(idle) = instances
        .iter()
        .find(|instance| instance.state != InstanceState::Running)
    {
        let message = format!(
            "The following targets are not in a running state and cannot be registered: '{}'",
            idle.id
        );
        return Err(AwsError::bad_request("InvalidTarget", message));
    }
    let group = [arn.to_owned()];
    for instance in &instances {
        targets::register(region, &group, instance, now);
    }
    Ok(())
}

/// DeregisterTargets: each drains for the deregistration delay, with no new request. What is not registered is no
/// error, as documented.
pub fn deregister(lab: &Arc<Lab>, region: &str, arn: &str, ids: &[String]) -> Result<(), AwsError> {
    let now = lab.now();
    let mut world = lab.world();
    let group = group_mut(region_mut(&mut world, region)?, arn)?;
    for id in ids {
        if let Some(target) = group.targets.get_mut(id) {
            targets::drain(target, now);
        }
    }
    Ok(())
}

/// ModifyTargetGroup; the next check of each target is made the new way. Targets keep the health they have.
pub fn modify(lab: &Arc<Lab>, region: &str, arn: &str, change: HealthCheckChange) -> Result<(), AwsError> {
    let mut world = lab.world();
    let group = group_mut(region_mut(&mut world, region)?, arn)?;
    let interval = change.interval_s.unwrap_or(group.health_check_interval_s);
    let timeout = change.timeout_s.unwrap_or(group.health_check_timeout_s);
    if timeout >= interval {
        let message = format!("Health check timeout {timeout} must be smaller than the interval {interval}");
        return Err(AwsError::bad_request("InvalidConfigurationRequest", message));
    }
    group.health_check_interval_s = interval;
    group.health_check_timeout_s = timeout;
    if let Some(path) = change.path {
        group.health_check_path = path;
    }
    group.healthy_threshold = change.healthy_threshold.unwrap_or(group.healthy_threshold);
    group.unhealthy_threshold = change.unhealthy_threshold.unwrap_or(group.unhealthy_threshold);
    Ok(())
}

fn group_mut<'r>(region: &'r mut Region, arn: &str) -> Result<&'r mut TargetGroup, AwsError> {
    region
        .target_groups
        .get_mut(arn)
        .ok_or_else(|| AwsError::bad_request("TargetGroupNotFound", "One or more target groups not found"))
}

fn not_valid(id: &str) -> AwsError {
    AwsError::bad_request(
        "InvalidTarget",
        format!("The following targets are not valid instances: '{id}'"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::world::{LoadBalancer, Subnet, Tags};

    fn region(zones: usize) -> Region {
        let mut region = Region::default();
        let mut nodes = Vec::new();
        for zone in (1..).take(zones) {
            let subnet = Subnet {
                id: format!("subnet-{zone}"),
                az: format!("us-east-1{zone}"),
                az_index: zone,
                cidr: String::new(),
                acl_association_id: String::new(),
                network_acl_id: String::new(),
                silent: false,
                tags: Tags::new(),
            };
            nodes.push(LoadBalancerNode {
                az: subnet.az.clone(),
                subnet_id: subnet.id.clone(),
                address: Ipv4Addr::new(127, 10, zone, 5),
                in_dns: true,
            });
            region.subnets.insert(subnet.id.clone(), subnet);
        }
        let balancer = LoadBalancer {
            arn: "lb".into(),
            name: "web".into(),
            dns_name: "web".into(),
            hosted_zone_id: "Z1".into(),
            nodes,
            target_group_arn: "tg".into(),
            port: 80,
            created_at: 0.0,
            tags: Tags::new(),
        };
        region.load_balancers.insert("lb".into(), balancer);
        region
    }

    fn silence(region: &mut Region, silent: [bool; 3]) {
        for (subnet, silent) in region.subnets.values_mut().zip(silent) {
            subnet.silent = silent;
        }
    }

    #[test]
    fn three_looks_in_a_row_decide_about_a_node_and_none_does_when_all_are_silent() {
        let mut region = region(3);
        let mut against = BTreeMap::new();
        let mut looks = |region: &mut Region, silent: [bool; 3], count: u32| {
            silence(region, silent);
            (0..count).for_each(|_| look(region, &mut against));
            let nodes = &region.load_balancers["lb"].nodes;
            nodes.iter().map(|node| node.in_dns).collect::<Vec<_>>()
        };
        let (one, all, none) = ([true, false, false], [true; 3], [false; 3]);
        assert_eq!(looks(&mut region, one, 2), [true; 3]);
        assert_eq!(looks(&mut region, none, 1), [true; 3]);
        assert_eq!(looks(&mut region, one, 2), [true; 3], "they were not in a row");
        assert_eq!(looks(&mut region, all, 9), [true; 3], "nothing would be better");
        assert_eq!(looks(&mut region, one, 3), [false, true, true]);
        assert_eq!(looks(&mut region, all, 9), [false, true, true]);
        assert_eq!(looks(&mut region, none, 2), [false, true, true]);
        assert_eq!(looks(&mut region, none, 1), [true; 3]);
    }
}
