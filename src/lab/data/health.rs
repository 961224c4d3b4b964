//! The load balancer's health checks: one HTTP request per target and interval over a fresh connection, and the
//! thresholds that turn results into AWS's target states. Routing on them is `balancer`'s business.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1::Builder;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;

use super::balancer::{Balancer, Node};
use crate::lab::Lab;
use crate::lab::world::{CloudTime, InstanceState, Region, TargetState};

/// How often the registered targets are looked at, in real time.
const TICK: Duration = Duration::from_millis(50);

/// A check's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CheckResult {
    Passed,
    TimedOut,
    Refused,
    Status(u16),
}

/// Runs the checks of a balancer's target group for ever.
pub(crate) async fn run(lab: Arc<Lab>, balancer: Arc<Balancer>) {
    let mut next: HashMap<(String, Ipv4Addr), Instant> = HashMap::new();
    loop {
        for due in due(&lab, &balancer, &mut next) {
            tokio::spawn(check_target(Arc::clone(&lab), Arc::clone(&balancer), due));
        }
        tokio::time::sleep(TICK).await;
    }
}

struct Due {
    instance_id: String,
    target: SocketAddrV4,
    path: String,
    timeout: Duration,
}

fn due(lab: &Lab, balancer: &Balancer, next: &mut HashMap<(String, Ipv4Addr), Instant>) -> Vec<Due> {
    let now = Instant::now();
    let cloud_now = lab.now();
    let pace = lab.clock.pace();
    let mut world = lab.world();
    let Some(region) = world.regions.get_mut(&balancer.region) else {
        return Vec::new();
    };
    settle(region, &balancer.target_group_arn, cloud_now);
    let Some(group) = region.target_groups.get(&balancer.target_group_arn) else {
        return Vec::new();
    };
    next.retain(|(id, address), _| group.targets.get(id).is_some_and(|target| target.address == *address));
    let interval = pace.to_real(Duration::from_secs(u64::from(group.health_check_interval_s.max(1))));
    let timeout = pace.patience(Duration::from_secs(u64::from(group.health_check_timeout_s.max(1))));
    let mut due = Vec::new();
    for target in group
        .targets
        .values()
        .filter(|target| !["draining", "unused"].contains(&target.state.as_str()))
    {
        let at = next.entry((target.instance_id.clone(), target.address)).or_insert(now);
        if *at <= now {
            *at = (*at + interval).max(now + interval / 2);
            due.push(Due {
                instance_id: target.instance_id.clone(),
                target: SocketAddrV4::new(target.address, group.port),
                path: group.health_check_path.clone(),
                timeout,
            });
        }
    }
    due
}

/// Ends what drained long enough, and sets aside targets whose instance is not running.
fn settle(region: &mut Region, target_group_arn: &str, now: CloudTime) {
    let instances = &region.instances;
    let Some(group) = region.target_groups.get_mut(target_group_arn) else {
        return;
    };
    let delay = f64::from(group.deregistration_delay_s);
    group
        .targets
        .retain(|_, target| target.draining_since.is_none_or(|since| now - since < delay));
    for target in group.targets.values_mut() {
        let state = instances.get(&target.instance_id).map(|instance| instance.state);
        match (state, target.state.as_str()) {
            (_, "draining") | (Some(InstanceState::Running | InstanceState::Pending), _) | (_, "unused") => {}
            _ => {
                target.state = "unused".to_owned();
                target.reason = Some("Target.InvalidState".to_owned());
                target.description = Some("Target is in the stopped state".to_owned());
            }
        }
        // A stopped instance that runs again starts its checks anew.
        if target.reason.as_deref() == Some("Target.InvalidState") && state == Some(InstanceState::Running) {
            target.state = "initial".to_owned();
            target.reason = Some("Elb.InitialHealthChecking".to_owned());
            target.description = Some("Initial health checks in progress".to_owned());
            (target.passes, target.failures) = (0, 0);
        }
    }
}

async fn check_target(lab: Arc<Lab>, balancer: Arc<Balancer>, due: Due) {
    // Each node checks on AWS; one that can reach its targets speaks for all here.
    let Some(node) = balancer
        .nodes
        .iter()
        .find(|node| !node.gate.is_silent())
        .or(balancer.nodes.first())
    else {
        return;
    };
    let result = check(node, due.target, &due.path, due.timeout).await;
    let mut world = lab.world();
    let target = world
        .regions
        .get_mut(&balancer.region)
        .and_then(|region| region.target_groups.get_mut(&balancer.target_group_arn))
        .and_then(|group| {
            let thresholds = (group.healthy_threshold, group.unhealthy_threshold);
            group
                .targets
                .get_mut(&due.instance_id)
                .map(|target| (target, thresholds))
        });
    // It may have been deregistered, or its address given to another, while the check was under way.
    if let Some((target, (healthy, unhealthy))) = target.filter(|(target, _)| target.address == *due.target.ip()) {
        let before = target.state.clone();
        apply(target, result, healthy, unhealthy);
        if target.state != before {
            balancer.refresh.notify_one();
        }
    }
}

async fn check(node: &Node, target: SocketAddrV4, path: &str, limit: Duration) -> CheckResult {
    let exchange = async {
        let stream = node
            .gate
            .connect(node.address, target)
            .await
            .map_err(|_| CheckResult::Refused)?;
        let (mut sender, connection) = Builder::new()
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|_| CheckResult::Refused)?;
        let request = Request::get(path)
            .header(HOST, target.to_string())
            .header(CONNECTION, "close")
            .header(USER_AGENT, "ELB-HealthChecker/2.0")
            .body(Empty::<Bytes>::new())
            .map_err(|_| CheckResult::Refused)?;
        // Ends by itself when the sender is dropped.
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(|_| CheckResult::Refused)?;
        Ok(response.status())
    };
    match tokio::time::timeout(limit, exchange).await {
        Ok(Ok(StatusCode::OK)) => CheckResult::Passed,
        Ok(Ok(status)) => CheckResult::Status(status.as_u16()),
        Ok(Err(failure)) => failure,
        Err(_) => CheckResult::TimedOut,
    }
}

/// Moves a target's state on by one result.
fn apply(target: &mut TargetState, result: CheckResult, healthy_threshold: u32, unhealthy_threshold: u32) {
    if result == CheckResult::Passed {
        target.failures = 0;
        target.passes = target.passes.saturating_add(1);
        // A new target is healthy after one pass (ELB user guide).
        let needed = if target.state == "initial" {
            1
        } else {
            healthy_threshold
        };
        if target.state != "healthy" && target.passes >= needed {
            target.state = "healthy".to_owned();
            (target.reason, target.description) = (None, None);
        }
        return;
    }
    target.passes = 0;
    target.failures = target.failures.saturating_add(1);
    if target.failures >= unhealthy_threshold && ["initial", "healthy", "unhealthy"].contains(&target.state.as_str()) {
        target.state = "unhealthy".to_owned();
        let (reason, description) = match result {
            CheckResult::TimedOut => ("Target.Timeout", "Request timed out".to_owned()),
            CheckResult::Status(code) => (
                "Target.ResponseCodeMismatch",
                format!("Health checks failed with these codes: [{code}]"),
            ),
            CheckResult::Refused | CheckResult::Passed => {
                ("Target.FailedHealthChecks", "Health checks failed".to_owned())
            }
        };
        target.reason = Some(reason.to_owned());
        target.description = Some(description);
    } else if target.state == "initial" {
        target.reason = Some("Elb.InitialHealthChecking".to_owned());
        target.description = Some("Initial health checks in progress".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::world::TargetGroup;

    fn group() -> TargetGroup {
        let mut group = TargetGroup {
            arn: "arn".into(),
            name: "shop-web".into(),
            port: 80,
            load_balancer_arns: Vec::new(),
            health_check_path: "/health".into(),
            health_check_interval_s: 30,
            health_check_timeout_s: 5,
            healthy_threshold: 5,
            unhealthy_threshold: 2,
            deregistration_delay_s: 300,
            targets: std::collections::BTreeMap::new(),
            tags: std::collections::BTreeMap::new(),
        };
        let target = TargetState {
            instance_id: "i-1".into(),
            address: Ipv4Addr::new(127, 10, 1, 10),
            az: "us-east-1a".into(),
            state: "initial".into(),
            reason: Some("Elb.RegistrationInProgress".into()),
            description: None,
            passes: 0,
            failures: 0,
            registered_at: 0.0,
            draining_since: None,
        };
        group.targets.insert("i-1".into(), target);
        group
    }

    #[test]
    fn thresholds_move_a_target_between_states() {
        use CheckResult::{Passed, Refused, Status, TimedOut};
        let cases: [(&[CheckResult], &str, Option<&str>); 8] = [
            (&[], "initial", Some("Elb.RegistrationInProgress")),
            (&[Refused], "initial", Some("Elb.InitialHealthChecking")),
            (&[Refused, Passed], "healthy", None),
            (&[Refused, Refused], "unhealthy", Some("Target.FailedHealthChecks")),
            (&[Passed, TimedOut], "healthy", None),
            (&[Passed, TimedOut, TimedOut], "unhealthy", Some("Target.Timeout")),
            (
                &[Status(503), Status(503), Passed, Passed, Passed, Passed],
                "unhealthy",
                Some("Target.ResponseCodeMismatch"),
            ),
            (
                &[Refused, Refused, Passed, Passed, Passed, Passed, Passed],
                "healthy",
                None,
            ),
        ];
        for (results, state, reason) in cases {
            let mut group = group();
            let target = group.targets.get_mut("i-1").expect("it is registered");
            results.iter().for_each(|result| apply(target, *result, 5, 2));
            assert_eq!(
                (target.state.as_str(), target.reason.as_deref()),
                (state, reason),
                "{results:?}"
            );
        }
    }

    #[test]
    fn a_draining_target_goes_after_its_delay() {
        let mut region = Region::default();
        let mut group = group();
        let target = group.targets.get_mut("i-1").expect("it is registered");
        (target.state, target.draining_since) = ("draining".into(), Some(100.0));
        region.target_groups.insert("arn".into(), group);
        settle(&mut region, "arn", 399.0);
        assert_eq!(region.target_groups["arn"].targets["i-1"].state, "draining");
        settle(&mut region, "arn", 400.0);
        assert!(region.target_groups["arn"].targets.is_empty());
    }
}
