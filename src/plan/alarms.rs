//! CloudWatch alarms as stop conditions: whether there are such, and whether one looks at what the fault changes on
//! purpose, so that it would stop every run of it.

use super::{Fault, FaultPlan, InventoryAlarm, InventoryMetric, InventoryRegion, Role, TargetPlan};
use crate::config::{Mistake, Stop};

/// Metrics of a target group's health; the second dimension of each is the load balancer.
const TARGET_HEALTH: [&str; 2] = ["HealthyHostCount", "UnHealthyHostCount"];
/// Namespaces of load balancers.
const BALANCERS: [&str; 2] = ["AWS/ApplicationELB", "AWS/NetworkELB"];

const ROUTE_53: &str = "AWS/Route53";

/// Says what is wrong with the alarms of an experiment, as far as the target is known.
pub(super) fn check(stops: &[Stop], faults: &[FaultPlan], target: &TargetPlan, mistakes: &mut Vec<Mistake>) {
    // Nothing is known of alarms before the target is reached.
    if target.inventory.account.is_none() {
        return;
    }
    for stop in stops {
        let Some(name) = stop.alarm() else { continue };
        let found: Vec<(&String, &InventoryAlarm)> = target
            .inventory
            .regions
            .iter()
            .filter_map(|(region, found)| Some((region, found.alarms.get(name)?)))
            .collect();
        if found.is_empty() {
            let message = format!("there is no alarm {name:?} in {}", target.regions.join(", "));
            let hint = "names of alarms are case-sensitive: `aws cloudwatch describe-alarms` lists them";
            mistakes.push(Mistake::at(&stop.place, message).hint(hint));
        }
        for (region, alarm) in found {
            if alarm.state == "ALARM" {
                let message = format!("alarm {name:?} is in ALARM in {region} already, before anything is broken");
                let hint = "see to it first, or name another one";
                mistakes.push(Mistake::at(&stop.place, message).hint(hint));
            }
            if let Some((fault, metric)) = perturbed(alarm, region, faults, target) {
                let message = format!(
                    "alarm {name:?} looks at {} {}, which {} changes on purpose",
                    metric.namespace,
                    metric.name,
                    fault.fault.name()
                );
                let hint = "it would stop every run; name one on what users see, such as their errors or latency";
                mistakes.push(Mistake::at(&stop.place, message).hint(hint));
            }
        }
    }
}

/// A fault and the metric of the alarm that it changes by itself.
fn perturbed<'p>(
    alarm: &'p InventoryAlarm,
    region: &str,
    faults: &'p [FaultPlan],
    target: &TargetPlan,
) -> Option<(&'p FaultPlan, &'p InventoryMetric)> {
    for fault in faults {
        let (Some(role), Some(found)) = (
            target.roles.get(&fault.role),
            target.inventory.regions.get(&fault.region),
        ) else {
            continue;
        };
        // Route 53 is global: its metrics are all in one Region, whatever they are about.
        let here = |metric: &&InventoryMetric| fault.region == region || metric.namespace == ROUTE_53;
        let mut metrics = alarm.metrics.iter().filter(here);
        if let Some(metric) = metrics.find(|metric| changes(fault, role, found, metric)) {
            return Some((fault, metric));
        }
    }
    None
}

fn changes(fault: &FaultPlan, role: &Role, found: &InventoryRegion, metric: &InventoryMetric) -> bool {
    let name = metric.name.as_str();
    let is_of = |id: &str| metric.dimensions.values().any(|value| value == id);
    // The dimension is the end of the target group's ARN.
    let target_health = |group: &String| {
        let arns = found.groups.get(group).map(|group| &group.target_groups);
        let is_of = |arn: &String| metric.dimensions.values().any(|value| arn.ends_with(value.as_str()));
        let health = BALANCERS.contains(&metric.namespace.as_str()) && TARGET_HEALTH.contains(&name);
        health && arns.is_some_and(|arns| arns.iter().any(is_of))
    };
    let instances = || {
        let status = metric.namespace == "AWS/EC2" && name.starts_with("StatusCheckFailed");
        status && fault.resources.iter().any(|id| is_of(id))
    };
    let route53 = |checks: &[&String]| {
        metric.namespace == ROUTE_53 && name.starts_with("HealthCheck") && checks.iter().any(|id| is_of(id))
    };
    match (&fault.fault, role) {
        (
            Fault::Ec2Stop { .. }
            | Fault::Ec2Terminate { .. }
            | Fault::Ec2SpotInterruption { .. }
            | Fault::EbsPauseIo { .. }
            | Fault::AutoScalingSetUnhealthy { .. },
            Role::AutoScalingGroup(group),
        ) => {
            let counts = metric.namespace == "AWS/AutoScaling" && name.starts_with("Group") && is_of(group);
            counts || target_health(group) || instances()
        }
        (Fault::Ec2Reboot { .. }, Role::AutoScalingGroup(group)) => target_health(group) || instances(),
        (Fault::ElbDeregister { .. } | Fault::ElbBreakHealthCheck, Role::AutoScalingGroup(group)) => {
            target_health(group)
        }
        (Fault::NetworkDenyAz { .. } | Fault::NetworkDenyRegion, _) => {
            found.groups.keys().any(target_health)
                || route53(
                    &found
                        .records
                        .iter()
                        .filter_map(|record| record.health_check.as_ref())
                        .collect::<Vec<_>>(),
                )
        }
        (Fault::Route53InvertHealthCheck, _) => route53(&fault.resources.iter().collect::<Vec<_>>()),
        (Fault::RdsFailover | Fault::RdsReboot | Fault::RdsStop, Role::DbInstance(id))
        | (Fault::RdsFailoverCluster { .. }, Role::DbCluster(id)) => {
            metric.namespace == "AWS/RDS" && name == "DatabaseConnections" && is_of(id)
        }
        _ => false,
    }
}
