//! Turns what the data plane counted in a minute into CloudWatch metrics, with AWS's names and dimensions.

use std::sync::Arc;

use crate::lab::Lab;
use crate::lab::data::{InstanceMinute, Latency, LoadBalancerMinute, MinuteStats};
use crate::lab::world::{AutoScalingGroup, CloudTime, LoadBalancer, MetricKey, MetricPoint, MetricStore, Region};

/// Minutes a series keeps: a day of cloud time.
const REMEMBERED: usize = 1440;

/// Publishes the minute that began at `minute`.
pub fn publish(lab: &Arc<Lab>, minute: CloudTime) {
    let stats = lab.data.take_minute();
    let visible_at = minute + 60.0 + lab.config.cloudwatch.delay.as_secs_f64();
    let mut guard = lab.world();
    let world = &mut *guard;
    for region in world.regions.values_mut() {
        let mut metrics = std::mem::take(&mut region.metrics);
        let mut to = Publisher {
            store: &mut metrics,
            minute,
            visible_at,
        };
        instances(&mut to, region, &stats);
        load_balancers(&mut to, region, &stats);
        databases(&mut to, region, &stats);
        region.metrics = metrics;
    }
    // Route 53 publishes to us-east-1 only, which the lab's primary Region stands for.
    if let Some(primary) = world.regions.values_mut().min_by_key(|region| region.index) {
        let mut to = Publisher {
            store: &mut primary.metrics,
            minute,
            visible_at,
        };
        for check in world.route53.health_checks.values() {
            let dimension = [("HealthCheckId", check.id.as_str())];
            let healthy = check.checkers.iter().filter(|c| c.healthy).count() as f64;
            let share = 100.0 * healthy / (check.checkers.len().max(1)) as f64;
            to.one(
                "AWS/Route53",
                "HealthCheckStatus",
                &dimension,
                f64::from(u8::from(check.healthy)),
            );
            to.one("AWS/Route53", "HealthCheckPercentageHealthy", &dimension, share);
        }
    }
}

struct Publisher<'s> {
    store: &'s mut MetricStore,
    minute: CloudTime,
    visible_at: CloudTime,
}

impl Publisher<'_> {
    fn one(&mut self, namespace: &str, name: &str, dimensions: &[(&str, &str)], value: f64) {
        self.many(namespace, name, dimensions, &[value]);
    }

    fn many(&mut self, namespace: &str, name: &str, dimensions: &[(&str, &str)], values: &[f64]) {
        if values.is_empty() {
            return;
        }
        let point = MetricPoint {
            minute: self.minute,
            visible_at: self.visible_at,
            count: values.len() as f64,
            sum: values.iter().sum(),
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            percentiles: None,
        };
        self.push(namespace, name, dimensions, point);
    }

    fn latency(&mut self, namespace: &str, name: &str, dimensions: &[(&str, &str)], latency: &Latency) {
        if latency.count == 0 {
            return;
        }
        let count = latency.count as f64;
        let point = MetricPoint {
            minute: self.minute,
            visible_at: self.visible_at,
            count,
            sum: count * latency.average,
            min: latency.min,
            max: latency.max,
            percentiles: Some((latency.p50, latency.p99)),
        };
        self.push(namespace, name, dimensions, point);
    }

    fn push(&mut self, namespace: &str, name: &str, dimensions: &[(&str, &str)], point: MetricPoint) {
        let mut dimensions: Vec<(String, String)> = dimensions
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        dimensions.sort();
        let key = MetricKey {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            dimensions,
        };
        let series = self.store.series.entry(key).or_default();
        series.push_back(point);
        while series.len() > REMEMBERED {
            series.pop_front();
        }
    }
}

fn instances(to: &mut Publisher<'_>, region: &Region, stats: &MinuteStats) {
    let mine = stats
        .instances
        .iter()
        .filter(|(id, _)| region.instances.contains_key(*id));
    for (id, InstanceMinute { busy, .. }) in mine {
        to.one("AWS/EC2", "CPUUtilization", &[("InstanceId", id)], 100.0 * busy);
    }
    for group in region.groups.values() {
        let dimension = [("AutoScalingGroupName", group.name.as_str())];
        to.many(
            "AWS/EC2",
            "CPUUtilization",
            &dimension,
            &warm_cpu(region, group, stats, to.minute),
        );
        let count = |state: &str| group.members.iter().filter(|m| m.lifecycle_state == state).count() as f64;
        let sizes = [
            ("GroupMinSize", f64::from(group.min)),
            ("GroupMaxSize", f64::from(group.max)),
            ("GroupDesiredCapacity", f64::from(group.desired)),
            ("GroupInServiceInstances", count("InService")),
            ("GroupPendingInstances", count("Pending")),
            ("GroupTerminatingInstances", count("Terminating")),
            ("GroupTotalInstances", group.members.len() as f64),
        ];
        for (name, value) in sizes {
            to.one("AWS/AutoScaling", name, &dimension, value);
        }
    }
}

/// CPU of the members that served for the whole minute. AWS's aggregate counts every instance and leaves the ones
/// that warm up out when it scales; the lab leaves them out here, which scales the same.
fn warm_cpu(region: &Region, group: &AutoScalingGroup, stats: &MinuteStats, minute: CloudTime) -> Vec<f64> {
    group
        .members
        .iter()
        .filter(|m| m.lifecycle_state == "InService")
        .filter(|m| {
            let ready = region.instances.get(&m.instance_id).and_then(|i| i.ready_at);
            ready.is_some_and(|at| at <= minute + 1.0)
        })
        .filter_map(|m| stats.instances.get(&m.instance_id))
        .map(|minute| 100.0 * minute.busy)
        .collect()
}

fn load_balancers(to: &mut Publisher<'_>, region: &Region, stats: &MinuteStats) {
    const ELB: &str = "AWS/ApplicationELB";
    for balancer in region.load_balancers.values() {
        let name = suffix(&balancer.arn, "loadbalancer/");
        let counted = stats.load_balancers.get(&balancer.arn).copied().unwrap_or_default();
        let LoadBalancerMinute {
            requests,
            target_2xx,
            target_4xx,
            target_5xx,
            elb_5xx,
            ..
        } = counted;
        let codes = [
            ("RequestCount", requests),
            ("HTTPCode_Target_2XX_Count", target_2xx),
            ("HTTPCode_Target_4XX_Count", target_4xx),
            ("HTTPCode_Target_5XX_Count", target_5xx),
            ("HTTPCode_ELB_5XX_Count", elb_5xx),
            ("HTTPCode_ELB_502_Count", counted.elb_502),
            ("HTTPCode_ELB_503_Count", counted.elb_503),
            ("HTTPCode_ELB_504_Count", counted.elb_504),
            ("TargetConnectionErrorCount", counted.target_connection_errors),
        ];
        for (metric, count) in codes {
            to.one(ELB, metric, &[("LoadBalancer", name)], count as f64);
        }
        to.latency(ELB, "TargetResponseTime", &[("LoadBalancer", name)], &counted.latency);
        target_group(to, region, balancer, &counted);
    }
}

fn target_group(to: &mut Publisher<'_>, region: &Region, balancer: &LoadBalancer, counted: &LoadBalancerMinute) {
    const ELB: &str = "AWS/ApplicationELB";
    let Some(group) = region.target_groups.get(&balancer.target_group_arn) else {
        return;
    };
    // The dimension of a target group starts with `targetgroup/`, that of a load balancer without `loadbalancer/`.
    let target_group = group.arn.rsplit_once(':').map_or(group.arn.as_str(), |(_, tail)| tail);
    let name = suffix(&balancer.arn, "loadbalancer/");
    let both = [("TargetGroup", target_group), ("LoadBalancer", name)];
    let count = |state: &str| group.targets.values().filter(|t| t.state == state).count() as f64;
    let (healthy, unhealthy) = (count("healthy"), count("unhealthy"));
    to.one(ELB, "HealthyHostCount", &both, healthy);
    to.one(ELB, "UnHealthyHostCount", &both, unhealthy);
    to.one(ELB, "RequestCount", &both, counted.requests as f64);
    if healthy > 0.0 {
        to.one(
            ELB,
            "RequestCountPerTarget",
            &[("TargetGroup", target_group)],
            counted.requests as f64 / healthy,
        );
    }
    to.latency(ELB, "TargetResponseTime", &both, &counted.latency);
}

fn databases(to: &mut Publisher<'_>, region: &Region, stats: &MinuteStats) {
    let instances = region.db_instances.keys().map(|id| ("DBInstanceIdentifier", id));
    let clusters = region.db_clusters.keys().map(|id| ("DBClusterIdentifier", id));
    for (dimension, id) in instances.chain(clusters) {
        let Some(counted) = stats.databases.get(&(region.name.clone(), id.clone())) else {
            continue;
        };
        let dimension = [(dimension, id.as_str())];
        to.one("AWS/RDS", "DatabaseConnections", &dimension, counted.connections as f64);
        to.one("AWS/RDS", "WriteIOPS", &dimension, counted.writes as f64 / 60.0);
        to.latency("AWS/RDS", "WriteLatency", &dimension, &counted.write_latency);
    }
}

fn suffix<'a>(arn: &'a str, marker: &str) -> &'a str {
    arn.split_once(marker).map_or(arn, |(_, tail)| tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_carries_count_sum_and_extremes_under_sorted_dimensions() {
        let mut store = MetricStore::default();
        let mut to = Publisher {
            store: &mut store,
            minute: 60.0,
            visible_at: 180.0,
        };
        to.many("AWS/EC2", "CPUUtilization", &[("b", "2"), ("a", "1")], &[10.0, 30.0]);
        to.many("AWS/EC2", "CPUUtilization", &[("c", "1")], &[]);
        let (key, series) = store.series.iter().next().unwrap();
        assert_eq!(store.series.len(), 1, "no values, no point");
        assert_eq!(key.dimensions[0].0, "a");
        let point = &series[0];
        assert_eq!((point.count, point.sum, point.min, point.max), (2.0, 40.0, 10.0, 30.0));
        assert_eq!(
            suffix("arn:aws:x:loadbalancer/app/shop/1", "loadbalancer/"),
            "app/shop/1"
        );
    }
}
