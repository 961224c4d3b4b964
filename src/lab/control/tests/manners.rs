//! Throttling, injected failures and requests without a signature.

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
