//! Targets, health checks and databases that are changed through the endpoint, and what users meet then.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_elasticloadbalancingv2::types::{
    Matcher, TargetDescription, TargetHealthReasonEnum, TargetHealthStateEnum,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{REGION, code, lab};
use crate::lab::Lab;
use crate::lab::truth::{TruthState, What};

type Elb = aws_sdk_elasticloadbalancingv2::Client;

/// Longest that anything here is waited for.
const PATIENCE: Duration = Duration::from_secs(15);

/// State and reason of each target.
type Health = BTreeMap<String, (TargetHealthStateEnum, Option<TargetHealthReasonEnum>)>;

async fn target_group(client: &Elb) -> String {
    let groups = client.describe_target_groups().send().await.expect("target groups");
    groups.target_groups()[0].target_group_arn().expect("an arn").to_owned()
}

async fn health(client: &Elb, arn: &str, ids: &[&str]) -> Health {
    let targets = ids.iter().map(|id| target(id));
    let request = client.describe_target_health().target_group_arn(arn);
    let targets: Vec<TargetDescription> = targets.collect();
    let request = request.set_targets((!targets.is_empty()).then_some(targets));
    let described = request.send().await.expect("target health");
    let described = described.target_health_descriptions.unwrap_or_default().into_iter();
    described
        .filter_map(|one| {
            let health = one.target_health?;
            Some((one.target?.id?, (health.state?, health.reason)))
        })
        .collect()
}

fn target(id: &str) -> TargetDescription {
    TargetDescription::builder().id(id).build()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn entry(lab: &Lab) -> SocketAddr {
    let world = lab.world();
    let balancer = world.regions[REGION].load_balancers.values().next().expect("one");
    SocketAddr::from((balancer.nodes[0].address, balancer.port))
}

/// Status of a request through the load balancer, and the instance that answered it.
async fn ask(lab: &Lab, head: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(entry(lab)).await.expect("the load balancer listens");
    let length = body.len();
    let request =
        format!("{head} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let status = answer
        .get(9..12)
        .and_then(|status| status.parse().ok())
        .expect("a status");
    let served = answer.lines().find_map(|line| line.strip_prefix("x-served-by: "));
    let instance = served.and_then(|served| served.split('/').next()).unwrap_or_default();
    (status, instance.to_owned())
}

/// The instances that answer a few dozen requests, each of which must succeed.
async fn serving(lab: &Lab) -> Vec<String> {
    let mut seen = Vec::new();
    for _ in 0..24 {
        let (status, instance) = ask(lab, "GET /", "").await;
        assert_eq!(status, 200);
        if !seen.contains(&instance) {
            seen.push(instance);
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deregistered_target_drains_without_new_requests_and_comes_back_when_registered() {
    let (lab, sdk) = lab(serde_json::json!({"load_balancer": {"deregistration_delay": "2m"}})).await;
    let client = Elb::new(&sdk);
    let arn = target_group(&client).await;
    let ids: Vec<String> = health(&client, &arn, &[]).await.into_keys().collect();
    let victim = ids[0].as_str();
    let deregister = |id: &str| {
        client
            .deregister_targets()
            .target_group_arn(&arn)
            .targets(target(id))
            .send()
    };
    let register = |id: &str| {
        client
            .register_targets()
            .target_group_arn(&arn)
            .targets(target(id))
            .send()
    };
    let began = lab.now();
    deregister(victim).await.expect("deregistered");
    let draining = (
        TargetHealthStateEnum::Draining,
        Some(TargetHealthReasonEnum::DeregistrationInProgress),
    );
    assert_eq!(health(&client, &arn, &[]).await[victim], draining);
    until("nobody is sent to it", async || {
        !serving(&lab).await.iter().any(|id| id == victim)
    })
    .await;
    deregister(victim).await.expect("repeating it is harmless");
    until("the delay is over", async || {
        !health(&client, &arn, &[]).await.contains_key(victim)
    })
    .await;
    let took = lab.now() - began;
    assert!(
        (110.0..=180.0).contains(&took),
        "the delay is two minutes, not {took:.0} s"
    );
    let not_registered = (
        TargetHealthStateEnum::Unused,
        Some(TargetHealthReasonEnum::NotRegistered),
    );
    assert_eq!(health(&client, &arn, &[victim]).await[victim], not_registered);
    deregister(victim).await.expect("what is not registered is no error");
    assert_eq!(serving(&lab).await.len(), 2);
    // Auto Scaling neither misses it nor puts it back.
    assert!(
        lab.world().regions[REGION].groups["shop-web"]
            .members
            .iter()
            .all(|one| one.lifecycle_state == "InService")
    );

    register(victim).await.expect("registered");
    assert_ne!(
        health(&client, &arn, &[]).await[victim].0,
        TargetHealthStateEnum::Draining
    );
    until("it serves again", async || {
        serving(&lab).await.iter().any(|id| id == victim)
    })
    .await;
    assert_eq!(
        health(&client, &arn, &[]).await[victim],
        (TargetHealthStateEnum::Healthy, None)
    );
    // While it drains it may be registered again at once.
    deregister(victim).await.expect("deregistered");
    register(victim).await.expect("registered");
    until("it is healthy", async || {
        health(&client, &arn, &[]).await[victim].0 == TargetHealthStateEnum::Healthy
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_targets_are_refused_with_the_codes_of_aws() {
    let (_lab, sdk) = lab(serde_json::json!({})).await;
    let client = Elb::new(&sdk);
    let arn = target_group(&client).await;
    let id = health(&client, &arn, &[]).await.into_keys().next().expect("a target");
    let register = || client.register_targets().target_group_arn(&arn);
    assert_eq!(code(register().targets(target("i-0")).send().await), "InvalidTarget");
    let other_port = TargetDescription::builder().id(&id).port(1).build();
    assert_eq!(
        code(register().targets(other_port.clone()).send().await),
        "ValidationError"
    );
    assert_eq!(code(register().send().await), "ValidationError");
    let unknown = client
        .register_targets()
        .target_group_arn("arn:none")
        .targets(target(&id));
    assert_eq!(code(unknown.send().await), "TargetGroupNotFound");
    let unknown = client
        .deregister_targets()
        .target_group_arn("arn:none")
        .targets(target(&id));
    assert_eq!(code(unknown.send().await), "TargetGroupNotFound");
    let other = client.deregister_targets().target_group_arn(&arn).targets(other_port);
    other.send().await.expect("with another port it is not registered");
    assert_eq!(health(&client, &arn, &[]).await[&id].0, TargetHealthStateEnum::Healthy);

    let stopped = aws_sdk_ec2::Client::new(&sdk).stop_instances().instance_ids(&id);
    stopped.send().await.expect("stopped");
    assert_eq!(code(register().targets(target(&id)).send().await), "InvalidTarget");

    let modify = || client.modify_target_group().target_group_arn(&arn);
    assert_eq!(
        code(modify().health_check_path("health").send().await),
        "ValidationError"
    );
    assert_eq!(
        code(modify().health_check_interval_seconds(1).send().await),
        "ValidationError"
    );
    let timeout = modify()
        .health_check_interval_seconds(10)
        .health_check_timeout_seconds(10);
    assert_eq!(code(timeout.send().await), "InvalidConfigurationRequest");
    let matcher = modify().matcher(Matcher::builder().http_code("200-499").build());
    assert_eq!(code(matcher.send().await), "InvalidConfigurationRequest");
    let unknown = client
        .modify_target_group()
        .target_group_arn("arn:none")
        .health_check_path("/");
    assert_eq!(code(unknown.send().await), "TargetGroupNotFound");
    let changed = modify().unhealthy_threshold_count(5).health_check_interval_seconds(20);
    let changed = changed.send().await.expect("changed");
    let group = &changed.target_groups()[0];
    assert_eq!(
        (
            group.unhealthy_threshold_count(),
            group.health_check_interval_seconds(),
            group.health_check_path()
        ),
        (Some(5), Some(20), Some("/health"))
    );
}

async fn set_path(client: &Elb, arn: &str, path: &str) {
    let modify = client
        .modify_target_group()
        .target_group_arn(arn)
        .health_check_path(path);
    let changed = modify.send().await.expect("changed");
    assert_eq!(changed.target_groups()[0].health_check_path(), Some(path));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_wrong_path_all_targets_fail_and_all_are_asked_nonetheless() {
    let (lab, sdk) = lab(serde_json::json!({"web": {"health_check_type": "EC2"}})).await;
    let client = Elb::new(&sdk);
    let arn = target_group(&client).await;
    let before = health(&client, &arn, &[]).await;
    set_path(&client, &arn, "/nowhere").await;
    let mismatch = (
        TargetHealthStateEnum::Unhealthy,
        Some(TargetHealthReasonEnum::ResponseCodeMismatch),
    );
    until("all fail", async || {
        health(&client, &arn, &[]).await.values().all(|one| *one == mismatch)
    })
    .await;
    assert_eq!(serving(&lab).await.len(), 3, "the load balancer fails open");
    set_path(&client, &arn, "/health").await;
    until("all pass", async || health(&client, &arn, &[]).await == before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_asks_the_load_balancer_replaces_what_fails_a_wrong_path() {
    let (lab, sdk) = lab(serde_json::json!({})).await;
    let client = Elb::new(&sdk);
    let arn = target_group(&client).await;
    let before: Vec<String> = health(&client, &arn, &[]).await.into_keys().collect();
    set_path(&client, &arn, "/nowhere").await;
    let members = || {
        let world = lab.world();
        let members = world.regions[REGION].groups["shop-web"].members.iter();
        let serving = members.filter(|one| one.lifecycle_state == "InService");
        serving.map(|one| one.instance_id.clone()).collect::<Vec<_>>()
    };
    until("all are replaced", async || {
        let now = members();
        now.len() == 3 && !now.iter().any(|id| before.contains(id))
    })
    .await;
    // Within their grace period the new ones are left alone.
    set_path(&client, &arn, "/health").await;
    let new = members();
    until("the new ones are healthy", async || {
        let health = health(&client, &arn, &[]).await;
        new.iter().all(|id| {
            health
                .get(id)
                .is_some_and(|one| one.0 == TargetHealthStateEnum::Healthy)
        })
    })
    .await;
    assert_eq!(members(), new);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_database_answers_nobody_until_it_is_started() {
    let (lab, sdk) = lab(serde_json::json!({"database": {"stop": "60s", "start": "120s"}})).await;
    let client = aws_sdk_rds::Client::new(&sdk);
    let status = async || {
        let described = client.describe_db_instances().send().await.expect("described");
        described.db_instances()[0]
            .db_instance_status()
            .unwrap_or_default()
            .to_owned()
    };
    let order = async |id: &str| {
        let body = format!("{{\"id\":\"{id}\",\"item\":1}}");
        ask(&lab, "POST /orders", &body).await.0
    };
    assert_eq!(order("a").await, 201);
    let start = || client.start_db_instance().db_instance_identifier("shop-db").send();
    let stop = || client.stop_db_instance().db_instance_identifier("shop-db").send();
    assert_eq!(code(start().await), "InvalidDBInstanceState");
    let began = lab.now();
    let stopping = stop().await.expect("it is available").db_instance.expect("it is shown");
    assert_eq!(stopping.db_instance_status(), Some("stopping"));
    assert_eq!(order("b").await, 503);
    assert_eq!(ask(&lab, "GET /", "").await.0, 200, "what needs no database goes on");
    assert_eq!(code(stop().await), "InvalidDBInstanceState");
    assert_eq!(code(start().await), "InvalidDBInstanceState");
    until("it is stopped", async || status().await == "stopped").await;
    let took = lab.now() - began;
    assert!((60.0..=90.0).contains(&took), "{took}");
    let reboot = client
        .reboot_db_instance()
        .db_instance_identifier("shop-db")
        .send()
        .await;
    assert_eq!(code(reboot), "InvalidDBInstanceState");
    assert_eq!(order("c").await, 503);
    let starting = start().await.expect("it is stopped").db_instance.expect("it is shown");
    assert_eq!(starting.db_instance_status(), Some("starting"));
    assert_eq!(order("d").await, 503);
    until("it is available", async || status().await == "available").await;
    assert_eq!(order("e").await, 201);
    assert_eq!(ask(&lab, "GET /orders/a", "").await.0, 200, "it has what it had");
    assert_eq!(
        told(&lab),
        ["DB instance shutdown", "DB instance stopped", "DB instance started"]
    );
    let lines = lab.truth.lines().into_iter().filter(|line| line.what == What::Database);
    let lines: Vec<(TruthState, f64)> = lines.map(|line| (line.state, line.cloud)).collect();
    assert_eq!(
        (lines[0].0, lines[1].0, lines.len()),
        (TruthState::Down, TruthState::Up, 2)
    );
    assert!(
        lines[0].1 - began < 30.0 && lines[1].1 - began >= 180.0,
        "{began} {lines:?}"
    );
    let unknown = client.stop_db_instance().db_instance_identifier("none").send().await;
    assert_eq!(code(unknown), "DBInstanceNotFound");
}

/// What the database's events say, oldest first.
fn told(lab: &Arc<Lab>) -> Vec<String> {
    let world = lab.world();
    world.regions[REGION]
        .db_events
        .iter()
        .map(|event| event.message.clone())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whether_load_balancing_may_be_touched_is_a_tag_like_any_other() {
    for tagged in [true, false] {
        let (_lab, sdk) = lab(serde_json::json!({"tagged": tagged})).await;
        let client = Elb::new(&sdk);
        let arn = target_group(&client).await;
        let described = client.describe_tags().resource_arns(&arn).send().await.expect("tags");
        let tags = described.tag_descriptions()[0].tags();
        let allowed = tags
            .iter()
            .any(|tag| (tag.key(), tag.value()) == (Some("chaos"), Some("allowed")));
        assert_eq!(allowed, tagged);
    }
}
