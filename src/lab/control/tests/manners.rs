//! Throttling, injected failures and requests without a signature.

use std::time::Duration;

use aws_sdk_ec2::config::timeout::TimeoutConfig;
use aws_sdk_ec2::error::SdkError;
use serde_json::json;

use super::{code, lab};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_is_throttled_per_action() {
    let (_lab, sdk) = lab(json!({"control_plane": {"read_rate": 0.01, "read_burst": 2}})).await;
    let ec2 = aws_sdk_ec2::Client::new(&sdk);
    for _ in 0..2 {
        ec2.describe_regions().send().await.expect("within the burst");
    }
    assert_eq!(code(ec2.describe_regions().send().await), "RequestLimitExceeded");
    ec2.describe_subnets()
        .send()
        .await
        .expect("another action has its own bucket");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn injected_errors_have_each_services_code() {
    let (_lab, sdk) = lab(json!({"control_plane": {"throttle_share": 1.0}})).await;
    let rds = aws_sdk_rds::Client::new(&sdk);
    assert_eq!(code(rds.describe_db_instances().send().await), "Throttling");
    let cloudwatch = aws_sdk_cloudwatch::Client::new(&sdk);
    assert!(code(cloudwatch.describe_alarms().send().await).starts_with("Throttling"));
    let (_lab, sdk) = lab(json!({"control_plane": {"error_share": 1.0}})).await;
    let ec2 = aws_sdk_ec2::Client::new(&sdk);
    let error = ec2.describe_regions().send().await.expect_err("an error");
    assert_eq!(
        error.raw_response().map(|response| response.status().as_u16()),
        Some(500)
    );
    let route53 = aws_sdk_route53::Client::new(&sdk);
    assert_eq!(code(route53.list_hosted_zones().send().await), "InternalFailure");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certain_calls_go_wrong_in_the_way_that_was_asked_for() {
    let wrong = |action: &str, skip: u32, answer: &str| json!({"action": action, "skip": skip, "answer": answer});
    let misbehave = json!([
        wrong("DescribeRegions", 1, "throttle"),
        wrong("DescribeRegions", 2, "error"),
        wrong("DescribeRegions", 3, "denied"),
        wrong("SuspendProcesses", 0, "denied"),
        wrong("StopInstances", 0, "timeout"),
        wrong("StopInstances", 1, "silent_success"),
    ]);
    let (lab, sdk) = lab(json!({"control_plane": {"misbehave": misbehave}})).await;
    let timeouts = TimeoutConfig::builder().operation_timeout(Duration::from_millis(300));
    let config = aws_sdk_ec2::config::Builder::from(&sdk).timeout_config(timeouts.build());
    let ec2 = aws_sdk_ec2::Client::from_conf(config.build());
    ec2.describe_regions().send().await.expect("the first is in order");
    assert_eq!(code(ec2.describe_regions().send().await), "RequestLimitExceeded");
    assert_eq!(code(ec2.describe_regions().send().await), "InternalError");
    assert_eq!(code(ec2.describe_regions().send().await), "UnauthorizedOperation");
    ec2.describe_regions().send().await.expect("no more is wrong");
    let groups = aws_sdk_autoscaling::Client::new(&sdk);
    let suspended = groups
        .suspend_processes()
        .auto_scaling_group_name("shop-web")
        .send()
        .await;
    assert_eq!(code(suspended), "AccessDenied");

    let id = lab.world().regions["us-east-1"].instances.keys().next().cloned();
    let id = id.expect("an instance");
    let state = || format!("{:?}", lab.world().regions["us-east-1"].instances[&id].state);
    for (effect, had) in [
        (false, "neither effect nor answer"),
        (true, "its effect, and no answer"),
    ] {
        let answer = ec2.stop_instances().instance_ids(&id).send().await;
        assert!(matches!(answer, Err(SdkError::TimeoutError(_))), "{answer:?}");
        assert_eq!(state() != "Running", effect, "{had}: {}", state());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_describes_may_lag_a_change_and_catches_up() {
    let (lab, sdk) = lab(json!({"control_plane": {"lag": "5m"}})).await;
    let ec2 = aws_sdk_ec2::Client::new(&sdk);
    let acls = async || {
        let answer = ec2.describe_network_acls().send().await.expect("ACLs");
        answer.network_acls().len()
    };
    assert_eq!(acls().await, 1);
    let vpc = lab.world().regions["us-east-1"].vpc_id.clone();
    let created = ec2.create_network_acl().vpc_id(&vpc).client_token("once").send().await;
    let created = created.expect("created").network_acl().cloned().expect("an ACL");
    // 300 s at pace 120: the first answers come a hundredth of that after the change.
    let mut seen = Vec::new();
    for _ in 0..10 {
        seen.push(acls().await);
    }
    assert!(seen.contains(&1), "{seen:?}");
    let again = ec2.create_network_acl().vpc_id(&vpc).client_token("once").send().await;
    let again = again.expect("answered").network_acl().cloned().expect("an ACL");
    assert_eq!(again.network_acl_id(), created.network_acl_id(), "a token creates once");
    lab.clock.sleep_cloud(Duration::from_secs(301)).await;
    for _ in 0..10 {
        assert_eq!(acls().await, 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unsigned_request_is_refused() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (_lab, sdk) = lab(json!({})).await;
    let address = sdk
        .endpoint_url()
        .and_then(|url| url.strip_prefix("http://"))
        .expect("an address");
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("connected");
    let request = "GET /2013-04-01/hostedzone HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert!(answer.contains("<Code>MissingAuthenticationToken</Code>"), "{answer}");
    assert!(
        answer.contains("\r\ndate: "),
        "the Date header is there, in real time: {answer}"
    );
}

/// For trying clients by hand: `LAB_PACE=60 LAB_SECONDS=60 cargo test --release --lib by_hand -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "serves until its time is over"]
async fn by_hand() {
    let (_lab, sdk) = lab(json!({})).await;
    println!("endpoint {}", sdk.endpoint_url().unwrap_or_default());
    let seconds = std::env::var("LAB_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(60);
    tokio::time::sleep(std::time::Duration::from_secs(seconds)).await;
}
