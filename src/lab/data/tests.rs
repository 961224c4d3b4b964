//! The data plane as its clients meet it: over sockets, against a data plane in which nothing moves by itself.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::DatabaseState;
use crate::lab::serve::start_data_plane;
use crate::lab::truth::{TruthLine, TruthState, What};
use crate::lab::{Lab, LabConfig, LabOptions};
use crate::units::Pace;

const SOON: Duration = Duration::from_millis(500);
const LONG: Duration = Duration::from_secs(20);

fn lab(config: serde_json::Value) -> Arc<Lab> {
    let config = LabConfig::from_json(config).expect("a right configuration");
    let options = LabOptions::at_pace(Pace::new(60.0).expect("a pace"));
    start_data_plane(config, &options).expect("it starts")
}

fn node(lab: &Lab, az: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(127, 10, az, 5), lab.data.port())
}

fn first_instance(lab: &Lab) -> (String, Ipv4Addr, String) {
    let world = lab.world();
    let instances = &world.regions["us-east-1"].instances;
    let instance = instances
        .values()
        .find(|instance| instance.az == "us-east-1a")
        .expect("one in AZ a");
    (instance.id.clone(), instance.address, instance.subnet_id.clone())
}

/// Reads one answer with Content-Length: status, head and body.
async fn answer(stream: &mut TcpStream) -> std::io::Result<(u16, String, String)> {
    let mut buf = Vec::new();
    loop {
        if let Some(end) = buf.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buf[..end]).to_ascii_lowercase();
            let length = head
                .split("content-length: ")
                .nth(1)
                .and_then(|rest| rest.split("\r\n").next());
            let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
            if buf.len() >= end + 4 + length {
                let status = head[9..12].parse().expect("a status");
                return Ok((status, head, String::from_utf8_lossy(&buf[end + 4..]).into_owned()));
            }
        }
        if stream.read_buf(&mut buf).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn request(to: SocketAddrV4, text: &str) -> std::io::Result<(u16, String, String)> {
    let mut stream = TcpStream::connect(to).await?;
    stream.write_all(text.as_bytes()).await?;
    answer(&mut stream).await
}

async fn get(to: SocketAddrV4, path: &str) -> std::io::Result<(u16, String, String)> {
    request(to, &format!("GET {path} HTTP/1.1\r\nHost: shop.example.com\r\n\r\n")).await
}

async fn post_order(to: SocketAddrV4, id: &str) -> std::io::Result<(u16, String, String)> {
    let body = format!("{{\"id\":\"{id}\",\"item\":7}}");
    let length = body.len();
    request(
        to,
        &format!("POST /orders HTTP/1.1\r\nHost: shop\r\nContent-Length: {length}\r\n\r\n{body}"),
    )
    .await
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < LONG, "still not so: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_spread_over_all_instances_and_say_who_served_them() {
    let lab = lab(serde_json::json!({}));
    let mut served_by = std::collections::BTreeSet::new();
    for turn in 0..6 {
        let (status, head, body) = get(node(&lab, turn % 3 + 1), "/").await.expect("an answer");
        assert_eq!((status, body.contains("open")), (200, true));
        let by = head
            .split("x-served-by: ")
            .nth(1)
            .and_then(|rest| rest.split("\r\n").next())
            .expect("the header");
        assert!(by.starts_with("i-0") && by.ends_with("/us-east-1"), "{by}");
        served_by.insert(by.to_owned());
    }
    assert_eq!(served_by.len(), 3);
    assert_eq!(get(node(&lab, 1), "/nothing").await.expect("an answer").0, 404);
    assert_eq!(get(node(&lab, 1), "/products/7").await.expect("an answer").0, 200);
    let minute = lab.data.take_minute();
    let balancer = minute
        .load_balancers
        .values()
        .find(|minute| minute.requests > 0)
        .expect("one had requests");
    assert_eq!((balancer.requests, balancer.target_2xx, balancer.target_4xx), (8, 7, 1));
    assert_eq!(minute.instances.values().map(|minute| minute.requests).sum::<u64>(), 8);
    assert!(
        balancer.latency.p50 > 0.002 && balancer.latency.p99 < 0.5,
        "{balancer:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_subnet_hangs_and_comes_back() {
    let lab = lab(serde_json::json!({}));
    let (_, _, subnet) = first_instance(&lab);
    let mut open = TcpStream::connect(node(&lab, 1)).await.expect("it listens");
    lab.data.set_silent(&lab, &subnet, true);
    assert!(
        timeout(SOON, TcpStream::connect(node(&lab, 1))).await.is_err(),
        "connect must time out, not be refused"
    );
    open.write_all(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
        .await
        .expect("the kernel takes it");
    assert!(
        timeout(SOON, answer(&mut open)).await.is_err(),
        "an open connection must hang"
    );
    assert!(lab.world().regions["us-east-1"].subnets[&subnet].silent);
    // The other zones' nodes stop routing to the silent zone once its target fails its checks.
    until("only the other zones serve", async || {
        let mut fine = true;
        for _ in 0..3 {
            fine &= matches!(timeout(SOON, get(node(&lab, 2), "/")).await, Ok(Ok((200, _, _))));
        }
        fine
    })
    .await;
    lab.data.set_silent(&lab, &subnet, false);
    let back = timeout(Duration::from_secs(5), get(node(&lab, 1), "/")).await;
    assert_eq!(back.expect("in time").expect("an answer").0, 200);
    let truth: Vec<_> = lab.truth.lines().iter().map(|line| (line.what, line.state)).collect();
    let expected = [
        (What::Zone, TruthState::Down),
        (What::Region, TruthState::Degraded),
        (What::Zone, TruthState::Up),
        (What::Region, TruthState::Up),
    ];
    assert!(truth.ends_with(&expected), "{truth:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_to_a_region_that_is_not_reached_waits_until_it_is() {
    let lab = lab(serde_json::json!({"database": {
        "engine": "aurora-postgresql", "global": true, "primary": "eu-west-1",
    }}));
    let (instance, address, subnet) = first_instance(&lab);
    assert!(lab.data.is_open(&instance));
    let at = SocketAddrV4::new(address, lab.data.port());
    assert_eq!(post_order(at, "a").await.expect("an answer").0, 201);
    lab.data.set_unreached(&subnet, ["eu-west-1".to_owned()].into());
    let waiting = tokio::spawn(async move { post_order(at, "b").await });
    assert_eq!(get(at, "/").await.expect("an answer").0, 200);
    tokio::time::sleep(SOON).await;
    assert!(!waiting.is_finished(), "nobody answers");
    lab.data.set_silent(&lab, &subnet, true);
    lab.data.set_silent(&lab, &subnet, false);
    lab.data.set_unreached(&subnet, Default::default());
    assert_eq!(waiting.await.expect("it ran").expect("an answer").0, 201);
    let zone = |line: &TruthLine| (line.what == What::Zone).then_some(line.state);
    let states: Vec<_> = lab.truth.lines().iter().filter_map(zone).collect();
    let (down, part, up) = (TruthState::Down, TruthState::Degraded, TruthState::Up);
    assert_eq!(states, [part, down, part, up]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_is_down_in_the_truth_when_all_its_subnets_are_silent() {
    let lab = lab(serde_json::json!({}));
    let subnets: Vec<String> = lab.world().regions["us-east-1"].subnets.keys().cloned().collect();
    subnets
        .iter()
        .for_each(|subnet| lab.data.set_silent(&lab, subnet, true));
    let line = lab.truth.lines().pop().expect("a line");
    assert_eq!(
        (line.what, line.state, line.id.as_str()),
        (What::Region, TruthState::Down, "us-east-1")
    );
    assert!(timeout(SOON, get(node(&lab, 3), "/")).await.is_err());
    let other = SocketAddrV4::new(Ipv4Addr::new(127, 11, 1, 5), lab.data.port());
    assert_eq!(get(other, "/").await.expect("the other Region serves").0, 200);
    subnets
        .iter()
        .for_each(|subnet| lab.data.set_silent(&lab, subnet, false));
    let line = lab.truth.lines().pop().expect("a line");
    assert_eq!((line.what, line.state), (What::Region, TruthState::Up));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_an_instance_resets_and_refuses_and_the_balancer_leaves_it_out() {
    let lab = lab(serde_json::json!({}));
    let (id, address, _) = first_instance(&lab);
    let instance = SocketAddrV4::new(address, lab.data.port());
    let mut open = TcpStream::connect(instance).await.expect("it listens");
    open.write_all(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
        .await
        .expect("sent");
    answer(&mut open).await.expect("an answer");
    lab.data.close_instance(&id);
    let mut buf = [0; 1];
    let closed = timeout(SOON, open.read(&mut buf))
        .await
        .expect("at once")
        .expect_err("not a clean end");
    assert_eq!(closed.kind(), std::io::ErrorKind::ConnectionReset);
    until("its address refuses", async || {
        TcpStream::connect(instance)
            .await
            .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    })
    .await;
    // The instance still counts as running here, so only the health checks can find out.
    until("the target is unhealthy", async || {
        let world = lab.world();
        let group = world.regions["us-east-1"].target_groups.values().next().expect("one");
        group
            .targets
            .get(&id)
            .is_none_or(|target| target.state != "healthy" && target.state != "initial")
    })
    .await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    for _ in 0..6 {
        assert_eq!(get(node(&lab, 2), "/").await.expect("an answer").0, 200);
    }
    let line = lab
        .truth
        .lines()
        .into_iter()
        .rfind(|line| line.what == What::Instance)
        .expect("a line");
    assert_eq!((line.id.as_str(), line.state), (id.as_str(), TruthState::Down));
    assert!(
        lab.data
            .take_minute()
            .load_balancers
            .values()
            .all(|minute| minute.elb_503 == 0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_survive_and_a_database_outage_is_felt_and_written() {
    let lab = lab(serde_json::json!({}));
    assert_eq!(post_order(node(&lab, 1), "a-1").await.expect("an answer").0, 201);
    let (status, _, body) = get(node(&lab, 2), "/orders/a-1").await.expect("an answer");
    assert_eq!((status, body.as_str()), (200, r#"{"id":"a-1","item":7}"#));
    assert_eq!(get(node(&lab, 2), "/orders/a-2").await.expect("an answer").0, 404);
    assert_eq!(
        request(
            node(&lab, 1),
            "POST /orders HTTP/1.1\r\nHost: s\r\nContent-Length: 2\r\n\r\n{}"
        )
        .await
        .expect("an answer")
        .0,
        400
    );
    let database = lab.data.database("us-east-1", "shop-db").expect("it is there");
    database.set_state(DatabaseState::Hung);
    assert!(
        timeout(SOON, post_order(node(&lab, 1), "a-2")).await.is_err(),
        "it must hang"
    );
    let hanging = tokio::spawn({
        let to = node(&lab, 1);
        async move { post_order(to, "a-3").await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    database.set_state(DatabaseState::Fenced);
    assert_eq!(hanging.await.expect("it ran").expect("an answer").0, 503);
    assert_eq!(post_order(node(&lab, 1), "a-4").await.expect("an answer").0, 503);
    assert_eq!(
        get(node(&lab, 1), "/").await.expect("an answer").0,
        200,
        "pages without the database still work"
    );
    database.move_endpoint(Ipv4Addr::new(127, 10, 2, 8));
    database.set_state(DatabaseState::Serving);
    until("orders are taken again", async || {
        post_order(node(&lab, 1), "a-5")
            .await
            .is_ok_and(|(status, _, _)| status == 201)
    })
    .await;
    // Each instance follows the endpoint within its own TTL.
    until("the first order is still there", async || {
        let mut found = true;
        for _ in 0..3 {
            found &= get(node(&lab, 1), "/orders/a-1")
                .await
                .is_ok_and(|(status, _, _)| status == 200);
        }
        found
    })
    .await;
    let lines = lab.truth.lines();
    let states: Vec<_> = lines
        .iter()
        .filter(|line| line.what == What::Database)
        .map(|line| line.state)
        .collect();
    assert_eq!(states, [TruthState::Down, TruthState::Up]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_never_answers_is_a_504_and_none_at_all_a_503() {
    let lab = lab(serde_json::json!({"web": {"min": 0, "desired": 1}}));
    let (id, _, subnet) = first_instance(&lab);
    lab.data.set_silent(&lab, &subnet, true);
    // Fails open to the only target, which is silent: at pace 60 patience is a second at most.
    let answer = timeout(Duration::from_secs(5), get(node(&lab, 2), "/"))
        .await
        .expect("in time");
    assert_eq!(answer.expect("an answer").0, 504);
    for region in lab.world().regions.values_mut() {
        region
            .target_groups
            .values_mut()
            .for_each(|group| drop(group.targets.remove(&id)));
    }
    until("no target is left", async || {
        get(node(&lab, 2), "/")
            .await
            .is_ok_and(|(status, head, _)| status == 503 && head.contains("awselb/2.0"))
    })
    .await;
}

/// A measurement, printed: CPU of lab and client together at 5,000 requests a second over 50 connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement for a person to read; run with --ignored --nocapture"]
async fn measure_cpu_at_five_thousand_requests_a_second() {
    let lab = lab(serde_json::json!({}));
    let cpu = || {
        let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).expect("usage");
        let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        seconds(usage.user_time()) + seconds(usage.system_time())
    };
    let measure = async |to: Option<SocketAddrV4>| {
        let (began, used) = (Instant::now(), cpu());
        let mut clients = tokio::task::JoinSet::new();
        for number in 0..100_u32 {
            let to = to.unwrap_or(node(&lab, u8::try_from(number % 3).expect("small") + 1));
            clients.spawn(async move {
                let mut stream = TcpStream::connect(to).await.expect("it listens");
                let mut tick = tokio::time::interval(Duration::from_millis(20));
                let mut done = 0_u32;
                let mut buf = [0; 2048];
                for _ in 0..250 {
                    tick.tick().await;
                    stream
                        .write_all(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
                        .await
                        .expect("sent");
                    let read = stream.read(&mut buf).await.expect("an answer");
                    done += u32::from(buf[..read].starts_with(b"HTTP/1.1 200"));
                }
                done
            });
        }
        let done: u32 = clients.join_all().await.into_iter().sum();
        let elapsed = began.elapsed().as_secs_f64();
        println!(
            "{:.0} answered a second, {:.2} cores",
            f64::from(done) / elapsed,
            (cpu() - used) / elapsed
        );
    };
    println!("through load balancer and instances, client included:");
    measure(None).await;
    let sink = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let std::net::SocketAddr::V4(address) = sink.local_addr().expect("bound") else {
        unreachable!("IPv4")
    };
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = sink.accept().await {
            tokio::spawn(async move {
                let mut buf = [0; 2048];
                while stream.read(&mut buf).await.is_ok_and(|read| read > 0) {
                    let answered = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                    answered.expect("sent");
                }
            });
        }
    });
    println!("the same client against a bare echo, to subtract:");
    measure(Some(address)).await;
}
