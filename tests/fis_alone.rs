//! Faults that AWS FIS alone can inject, against the lab: what each does to the application there, what it leaves alone, and
//! that it ends. Those that go either way are in `fis_in_lab`, whose lab this uses.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tenfold::aws::{Clients, ConnectOptions, Writer};
use tenfold::lab::Lab;
use tenfold::lab::truth::{TruthLine, What};
use tenfold::lab::world::InstanceState;
use tenfold::run::chaos::{Journal, RunHeader, Runner};
use tokio::sync::mpsc;

use crate::fis_in_lab::{Bench, REGION, drained, evidence, fault};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_capacity_in_an_az_launches_fail_there_and_succeed_elsewhere() {
    let entry = "fault: autoscaling.insufficient_capacity, role: web, az: us-east-1b, lasts: 10m";
    let bench = Bench::start(entry, "", serde_json::json!({})).await;
    let (runner, mut seen) = bench.runner();
    runner.inject(fault()).await.expect("is injected");
    assert!(evidence(&drained(&mut seen)).contains("launches in us-east-1b fail"));
    let group = bench.group().await;
    let of_az = |az: &str| {
        group
            .members
            .iter()
            .find(|member| member.az == az)
            .expect("a member")
            .id
            .clone()
    };
    let victim = of_az("us-east-1b");
    bench
        .writer
        .terminate_instances(REGION, &[victim])
        .await
        .expect("terminated");
    let deadline = Instant::now() + Duration::from_secs(15);
    let replaced = loop {
        let now = bench
            .reader
            .group(REGION, "shop-web")
            .await
            .expect("answers")
            .expect("a group");
        let new = now
            .members
            .iter()
            .find(|one| !group.members.iter().any(|old| old.id == one.id));
        if let Some(new) = new {
            break new.clone();
        }
        assert!(Instant::now() < deadline, "{:?}", now.members);
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_ne!(replaced.az, "us-east-1b");
    let activities = bench
        .reader
        .scaling_activities(REGION, "shop-web")
        .await
        .expect("activities");
    let failed = activities
        .iter()
        .find(|one| one.status == "Failed")
        .expect("a launch failed");
    assert!(
        failed.description.contains("sufficient m7i.large capacity"),
        "{}",
        failed.description
    );
    runner.revert(fault()).await.expect("is reverted");
    assert!(bench.lab.world().regions[REGION].fis.shortages.is_empty());
    assert_eq!(bench.world().await.0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_spot_instance_goes_after_its_notice_and_is_replaced_by_another() {
    let spot = serde_json::json!({ "web": { "on_demand_percentage": 0 } });
    let entry = "fault: ec2.spot_interruption, role: web, share: 34%, irreversible: true";
    let bench = Bench::start(entry, "", spot).await;
    let victim = bench.plan.experiments[0].faults[0].resources[0].clone();
    let (runner, mut seen) = bench.runner();
    let began = bench.lab.clock.cloud_unix();
    runner.inject(fault()).await.expect("is injected");
    let said = evidence(&drained(&mut seen));
    assert!(said.contains(&victim) && said.contains("of AWS FIS"), "{said}");
    assert!(
        bench.lab.clock.cloud_unix() - began >= 120.0,
        "not before its notice is over"
    );
    let ended = bench.lab.world().regions[REGION].instances[&victim].clone();
    assert!(ended.state_reason.starts_with("Service initiated"), "{ended:?}");
    let deadline = Instant::now() + Duration::from_secs(20);
    let replaced = || {
        let world = bench.lab.world();
        let region = &world.regions[REGION];
        let members = &region.groups["shop-web"].members;
        let serves =
            |id: &String| *id != victim && region.instances[id].spot && region.instances[id].ready_at.is_some();
        members.iter().filter(|member| serves(&member.instance_id)).count() == 3
    };
    while !replaced() {
        assert!(
            Instant::now() < deadline,
            "{:?}",
            bench.lab.world().regions[REGION].groups
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(bench.world().await.0, 0, "no template is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_that_reads_its_notice_is_asked_no_more_and_its_instance_ends_all_the_same() {
    for reads in [true, false] {
        let spot = serde_json::json!({ "web": { "on_demand_percentage": 0, "drains_on_notice": reads } });
        let entry = "fault: ec2.spot_interruption, role: web, share: 34%, irreversible: true";
        let bench = Bench::start(entry, "", spot).await;
        let victim = bench.plan.experiments[0].faults[0].resources[0].clone();
        // What the load balancer calls the instance while it runs.
        let states = async {
            let mut states = std::collections::BTreeSet::new();
            loop {
                {
                    let world = bench.lab.world();
                    let region = &world.regions[REGION];
                    if region.instances[&victim].state != InstanceState::Running {
                        return states;
                    }
                    let targets = region
                        .target_groups
                        .values()
                        .filter_map(|group| group.targets.get(&victim));
                    states.extend(targets.map(|target| target.state.clone()));
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let (runner, _seen) = bench.runner();
        let (injected, states) = tokio::join!(runner.inject(fault()), states);
        injected.expect("is injected");
        let states: Vec<&str> = states.iter().map(String::as_str).collect();
        let expected: &[&str] = if reads { &["draining", "healthy"] } else { &["healthy"] };
        assert_eq!(states, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_demand_instances_are_not_interrupted() {
    let mixed = serde_json::json!({ "web": { "on_demand_percentage": 66 } });
    let entry = "fault: ec2.spot_interruption, role: web, share: 34%, irreversible: true";
    for (lab, refused) in [(serde_json::json!({}), true), (mixed, false)] {
        let bench = Bench::start(entry, "", lab).await;
        let planned = &bench.plan.experiments[0].faults[0].resources;
        let (runner, _seen) = bench.runner();
        let injected = runner.inject(fault()).await;
        if refused {
            let said = injected.expect_err("there is none").to_string();
            assert!(planned.is_empty() && said.contains("is no Spot Instance"), "{said}");
            continue;
        }
        injected.expect("one of three is a Spot Instance");
        assert!(bench.lab.world().regions[REGION].instances[&planned[0]].spot);
    }
}

/// A lab whose group does not replace what fails its health checks, and the first volume of a plan against it.
async fn with_disks(entry: &str) -> (Bench, String, std::net::SocketAddr) {
    let keeps = serde_json::json!({ "web": { "health_check_type": "EC2" } });
    let bench = Bench::start(entry, "", keeps).await;
    let volume = bench.plan.experiments[0].faults[0].resources[0].clone();
    let world = bench.lab.world();
    let mut instances = world.regions[REGION].instances.values();
    let of = instances.find(|one| one.volume.id == volume).expect("it is attached");
    let address = (of.address, bench.lab.data.port()).into();
    drop(world);
    (bench, volume, address)
}

/// How long an instance takes to answer for its health; none within `limit`.
async fn answers(address: std::net::SocketAddr, limit: Duration) -> Option<Duration> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let exchange = async {
        let began = Instant::now();
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
        let request = b"GET /health HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("read");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        began.elapsed()
    };
    tokio::time::timeout(limit, exchange).await.ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_whose_disk_stalls_answers_nobody_until_it_goes_on() {
    let (bench, volume, address) = with_disks("fault: ebs.pause_io, role: web, share: 34%, lasts: 10m").await;
    let soon = Duration::from_secs(5);
    assert!(answers(address, soon).await.is_some());
    let (runner, mut seen) = bench.runner();
    runner.inject(fault()).await.expect("is injected");
    let said = evidence(&drained(&mut seen));
    let id = volume.replacen("vol-", "i-", 1);
    let seen = [format!("{volume} is impaired"), format!("{id} is unhealthy")];
    assert!(seen.iter().any(|seen| said.contains(seen)), "{said}");
    assert_eq!(answers(address, Duration::from_millis(300)).await, None);
    let group = bench.group().await;
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let health = bench
            .reader
            .target_health(REGION, &group.target_groups[0])
            .await
            .expect("answers");
        if health.iter().any(|target| target.state == "unhealthy") {
            break;
        }
        assert!(Instant::now() < deadline, "{health:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    runner.revert(fault()).await.expect("is reverted");
    assert!(answers(address, soon).await.is_some());
    assert!(bench.lab.world().regions[REGION].fis.volume_faults.is_empty());
    assert_eq!(bench.world().await.0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_disk_makes_the_answers_slower_and_a_reboot_does_not_mend_it() {
    let entry = "fault: ebs.latency, role: web, share: 34%, latency: 400ms, lasts: 10m";
    let (bench, volume, address) = with_disks(entry).await;
    let (slow, soon) = (Duration::from_millis(400), Duration::from_secs(5));
    let (runner, mut seen) = bench.runner();
    runner.inject(fault()).await.expect("is injected");
    let said = evidence(&drained(&mut seen));
    assert!(said.contains(&format!("I/O of {volume} takes longer")), "{said}");
    assert!(answers(address, soon).await.is_some_and(|took| took >= slow));
    let id = volume.replacen("vol-", "i-", 1);
    bench
        .writer
        .reboot_instances(REGION, std::slice::from_ref(&id))
        .await
        .expect("rebooted");
    let deadline = Instant::now() + Duration::from_secs(15);
    while bench.lab.data.is_open(&id) || bench.lab.world().regions[REGION].instances[&id].ready_at.is_some() {
        assert!(Instant::now() < deadline, "it does not go down");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    while !bench.lab.data.is_open(&id) {
        assert!(Instant::now() < deadline, "it does not come up");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(answers(address, soon).await.is_some_and(|took| took >= slow));
    runner.revert(fault()).await.expect("is reverted");
    assert!(answers(address, soon).await.is_some_and(|took| took < slow));
}

const CROSS_REGION: &str = "fault: network.cross_region, role: web, to: eu-west-1, lasts: 10m";

/// What an instance of a Region answers to an order: its status.
async fn order(lab: &Lab, region: &str, id: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let address = lab.world().regions[region]
        .instances
        .values()
        .next()
        .expect("an instance")
        .address;
    let mut stream = tokio::net::TcpStream::connect((address, lab.data.port()))
        .await
        .expect("it listens");
    let body = format!(r#"{{"id":"{id}","item":7}}"#);
    let request = format!(
        "POST /orders HTTP/1.1\r\nhost: web\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("read");
    answer.split(' ').nth(1).expect("a status").to_owned()
}

/// A lab whose applications write to a primary in the second Region.
fn primary_elsewhere() -> serde_json::Value {
    serde_json::json!({"database": {
        "engine": "aurora-postgresql", "global": true, "primary": "eu-west-1", "statement_timeout": "30s",
    }})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_leaves_for_the_other_region_vanishes_and_nothing_else_does() {
    let bench = Bench::start(CROSS_REGION, "", primary_elsewhere()).await;
    let lab = &bench.lab;
    let zones = |region: &str| {
        let of = |line: &TruthLine| line.what == What::Zone && line.region == region;
        lab.truth.lines().into_iter().filter(of).count()
    };
    assert_eq!(order(lab, REGION, "before").await, "201");
    let (runner, mut seen) = bench.runner();
    runner.inject(fault()).await.expect("is injected");
    let said = evidence(&drained(&mut seen));
    assert!(said.contains("reaches eu-west-1 from now on"), "{said}");
    assert_eq!((zones(REGION), zones("eu-west-1")), (3, 0));
    assert_eq!(order(lab, REGION, "during").await, "503");
    assert_eq!(order(lab, "eu-west-1", "there").await, "201");
    let page = std::net::SocketAddr::from((
        lab.world().regions[REGION]
            .instances
            .values()
            .next()
            .expect("one")
            .address,
        lab.data.port(),
    ));
    assert!(answers(page, Duration::from_secs(5)).await.is_some());
    runner.revert(fault()).await.expect("is reverted");
    assert_eq!(order(lab, REGION, "after").await, "201");
    assert!(lab.world().regions[REGION].fis.route_faults.is_empty());
    assert_eq!(bench.world().await.0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_in_the_own_region_is_reached_all_the_time() {
    let own = serde_json::json!({"database": {"engine": "aurora-postgresql", "global": true}});
    let bench = Bench::start(CROSS_REGION, "", own).await;
    let (runner, _seen) = bench.runner();
    runner.inject(fault()).await.expect("is injected");
    assert_eq!(order(&bench.lab, REGION, "during").await, "201");
    runner.revert(fault()).await.expect("is reverted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_stay_where_a_subnet_has_no_tag_or_the_other_region_could_not_serve() {
    let bench = Bench::start(CROSS_REGION, "", primary_elsewhere()).await;
    let (runner, _seen) = bench.runner();
    let refused = async || runner.inject(fault()).await.expect_err("is refused").to_string();
    let subnet = bench.plan.target.inventory.regions[REGION].subnets[0].id.clone();
    let tag = |region: &mut tenfold::lab::world::Region, tagged: bool| {
        let tags = &mut region.subnets.get_mut(&subnet).expect("the subnet").tags;
        if tagged {
            tags.insert("chaos".to_owned(), "allowed".to_owned());
        } else {
            tags.remove("chaos");
        }
    };
    let home = |change: &dyn Fn(&mut tenfold::lab::world::Region)| {
        change(bench.lab.world().regions.get_mut(REGION).expect("the Region"));
    };
    home(&|region| tag(region, false));
    let said = refused().await;
    assert!(
        said.contains(&format!("{subnet} is not tagged chaos=allowed")),
        "{said}"
    );
    home(&|region| tag(region, true));
    for target in bench
        .lab
        .world()
        .regions
        .get_mut("eu-west-1")
        .expect("the other Region")
        .target_groups
        .values_mut()
    {
        target.targets.clear();
    }
    let said = refused().await;
    assert!(said.contains("in eu-west-1"), "{said}");
    assert_eq!(bench.world().await.0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_without_the_tag_is_left_alone() {
    let (bench, volume, _) = with_disks("fault: ebs.pause_io, role: web, share: 34%, lasts: 10m").await;
    for instance in bench
        .lab
        .world()
        .regions
        .get_mut(REGION)
        .expect("it is there")
        .instances
        .values_mut()
    {
        instance.volume.tags.remove("chaos");
    }
    let (runner, _seen) = bench.runner();
    let said = runner.inject(fault()).await.expect_err("it is refused").to_string();
    assert!(
        said.contains(&format!("{volume} is not tagged chaos=allowed")),
        "{said}"
    );
    assert_eq!(bench.world().await.0, 0);
}

/// The account as somebody sees it who acts as a role of that name.
async fn acting_as(bench: &Bench, role: &str) -> Clients {
    let account = bench.lab.world().account.clone();
    Clients::connect(&ConnectOptions {
        endpoint: bench.plan.target.endpoint.clone(),
        regions: bench.plan.target.regions.clone(),
        pace: bench.plan.pace,
        assume: vec![format!("arn:aws:iam::{account}:role/{role}")],
        credentials: Some(("test".to_owned(), "test".to_owned())),
    })
    .await
}

const API_ERRORS: &str =
    "fault: api.errors, role: app, error: unavailable, operations: [DescribeSubnets], calls: 100%, lasts: 10m";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_a_role_fail_while_those_of_others_and_other_calls_of_its_own_do_not() {
    let bench = Bench::start(API_ERRORS, "", serde_json::json!({})).await;
    let (app, other) = (
        acting_as(&bench, "shop-app").await.reader(),
        acting_as(&bench, "operations").await.reader(),
    );
    let vpc = bench.plan.target.inventory.regions[REGION].subnets[0].vpc.clone();
    assert!(app.subnets_of(REGION, &vpc).await.is_ok());
    let (runner, mut seen) = bench.runner();
    runner.inject(fault()).await.expect("is injected");
    let said = evidence(&drained(&mut seen));
    assert!(said.contains(":role/shop-app fail from now on"), "{said}");
    let failed = app.subnets_of(REGION, &vpc).await.expect_err("it fails");
    assert_eq!(failed.code, "Unavailable");
    assert!(app.network_acls(REGION, &vpc).await.is_ok());
    assert!(other.subnets_of(REGION, &vpc).await.is_ok());
    assert!(bench.reader.subnets_of(REGION, &vpc).await.is_ok());
    runner.revert(fault()).await.expect("is reverted");
    assert!(app.subnets_of(REGION, &vpc).await.is_ok());
    assert_eq!(bench.world().await.0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_the_runs_own_role_nor_one_without_the_tag_is_hit() {
    let bench = Bench::start(API_ERRORS, "", serde_json::json!({})).await;
    let own = acting_as(&bench, "shop-app").await.writer();
    let journal =
        |name: &str| Journal::create(&bench.folder.path().join(name), RunHeader::new(&bench.plan)).expect("a journal");
    let (events, _seen) = mpsc::channel(1000);
    let run = |writer: Writer, name: &str| {
        let plan = Arc::clone(&bench.plan);
        Runner::new(plan, writer, bench.clock, journal(name), events.clone())
    };
    let said = run(own, "own.jsonl")
        .inject(fault())
        .await
        .expect_err("its own")
        .to_string();
    let acts = said.contains("this run itself acts as arn:") && said.contains(":role/shop-app");
    assert!(acts, "{said}");
    if let Some(role) = bench.lab.world().iam_roles.get_mut("shop-app") {
        role.tags.remove("chaos");
    }
    let refused = run(bench.writer.clone(), "other.jsonl").inject(fault()).await;
    let said = refused.expect_err("it has no tag").to_string();
    assert!(said.contains("shop-app is not tagged chaos=allowed"), "{said}");
    assert_eq!(bench.world().await.0, 0);
}
