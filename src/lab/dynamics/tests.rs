//! The lab's moving parts together, on a running lab at a high pace: each test breaks something and watches it heal.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::{ec2, network, rds, route53};
use crate::lab::truth::{TruthLine, TruthState, What};
use crate::lab::world::{AutoScalingGroup, DbCluster, DbInstance, Region, ScalingActivity};
use crate::lab::{Announcement, Lab, LabConfig, LabOptions, start};
use crate::units::Pace;

const HOME: &str = "us-east-1";
const AWAY: &str = "eu-west-1";

async fn lab(pace: f64, config: serde_json::Value) -> (Arc<Lab>, Announcement) {
    let config = LabConfig::from_json(config).expect("a valid configuration");
    let options = LabOptions::at_pace(Pace::new(pace).expect("a pace"));
    start(config, options).await.expect("a lab")
}

fn home<T>(lab: &Lab, read: impl FnOnce(&Region) -> T) -> T {
    read(&lab.world().regions[HOME])
}

fn group<T>(lab: &Lab, read: impl FnOnce(&AutoScalingGroup) -> T) -> T {
    home(lab, |region| read(&region.groups["shop-web"]))
}

fn db(lab: &Lab) -> DbInstance {
    home(lab, |region| region.db_instances["shop-db"].clone())
}

fn in_service(lab: &Lab) -> Vec<String> {
    group(lab, |g| {
        let members = g.members.iter().filter(|m| m.lifecycle_state == "InService");
        members.map(|m| m.instance_id.clone()).collect()
    })
}

fn healthy_targets(lab: &Lab) -> usize {
    home(lab, |region| {
        let targets = region.target_groups.values().flat_map(|group| group.targets.values());
        targets.filter(|target| target.state == "healthy").count()
    })
}

/// Waits until `holds`, at most `minutes` of cloud time; answers how many cloud seconds it took.
async fn until(lab: &Lab, what: &str, minutes: f64, mut holds: impl FnMut() -> bool) -> f64 {
    let began = lab.now();
    while !holds() {
        let waited = lab.now() - began;
        assert!(waited < minutes * 60.0, "{what}: not after {waited:.0} s of cloud time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    lab.now() - began
}

fn truth(lab: &Lab, what: What) -> Vec<TruthLine> {
    lab.truth.lines().into_iter().filter(|line| line.what == what).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminated_instance_is_replaced_with_the_activities_of_aws() {
    let (lab, _) = lab(120.0, serde_json::json!({})).await;
    let before = in_service(&lab);
    assert_eq!((before.len(), healthy_targets(&lab)), (3, 3));
    let victim = before[0].clone();
    let changes = ec2::terminate(&lab, HOME, std::slice::from_ref(&victim)).expect("it exists");
    assert_eq!(changes[0].previous, crate::lab::world::InstanceState::Running);
    let unknown = ec2::terminate(&lab, HOME, &["i-none".to_owned()]).expect_err("unknown");
    assert_eq!(unknown.code, "InvalidInstanceID.NotFound");
    until(&lab, "a replacement", 6.0, || {
        let now = in_service(&lab);
        now.len() == 3 && !now.contains(&victim)
    })
    .await;
    until(&lab, "the replacement is healthy", 6.0, || healthy_targets(&lab) == 3).await;
    until(&lab, "the termination ends", 2.0, || {
        group(&lab, |g| g.activities.iter().all(|a| a.end_time.is_some()))
    })
    .await;
    let activities: Vec<ScalingActivity> = group(&lab, |g| g.activities.iter().cloned().collect());
    assert_eq!(activities.len(), 2, "{activities:#?}");
    let [launch, terminate] = activities.as_slice() else {
        panic!("two activities")
    };
    assert_eq!(terminate.description, format!("Terminating EC2 instance: {victim}"));
    assert!(
        terminate
            .cause
            .contains("in response to an EC2 health check that indicated it had been terminated or stopped")
    );
    assert!(launch.description.starts_with("Launching a new EC2 instance: i-"));
    assert!(
        launch.cause.contains("unhealthy instance needing to be replaced"),
        "{}",
        launch.cause
    );
    assert!(launch.status_code == "Successful" && launch.progress == 100);
    let azs: std::collections::BTreeSet<_> = group(&lab, |g| g.members.iter().map(|m| m.az.clone()).collect());
    assert_eq!(azs.len(), 3, "one per AZ again");
    let instances = truth(&lab, What::Instance);
    assert!(
        instances
            .iter()
            .any(|line| line.id == victim && line.state == TruthState::Down)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_fires_the_high_alarm_and_its_end_the_low_one() {
    // One slow worker per instance, so that a few clients are a heavy load that costs this machine nothing.
    let config = serde_json::json!({
        "regions": [HOME],
        "web": {"max": 6, "workers": 1, "service_time": "20ms"},
    });
    let (lab, _) = lab(120.0, config).await;
    let (node, port) = home(&lab, |region| {
        let balancer = region.load_balancers.values().next().expect("one");
        (balancer.nodes[0].address, balancer.port)
    });
    let stop = Arc::new(AtomicBool::new(false));
    for _ in 0..8 {
        tokio::spawn(client(SocketAddr::from((node, port)), stop.clone()));
    }
    let took = until(&lab, "scale-out", 10.0, || group(&lab, |g| g.desired > 3)).await;
    assert!(took >= 170.0, "three minutes of data come first, not {took:.0} s");
    let high = group(&lab, |g| g.policy.alarm_names[0].clone());
    let history = home(&lab, |region| region.alarm_history.clone());
    let of_high = |kind: &str| {
        history
            .iter()
            .filter(|h| h.alarm == high && h.item_type == kind)
            .count()
    };
    assert!(of_high("StateUpdate") >= 1 && of_high("Action") >= 1, "{history:#?}");
    until(&lab, "more instances in service", 5.0, || in_service(&lab).len() > 3).await;
    let cause = group(&lab, |g| g.activities.back().map(|a| a.cause.clone())).expect("an activity");
    assert!(
        cause.contains(&format!(
            "a monitor alarm {high} in state ALARM triggered policy shop-web-cpu"
        )),
        "{cause}"
    );
    assert!(cause.contains("changing the desired capacity from 3 to "), "{cause}");
    stop.store(true, Ordering::Relaxed);
    let peak = group(&lab, |g| g.desired);
    assert!(peak <= 6);
    let took = until(&lab, "scale-in", 40.0, || {
        group(&lab, |g| {
            g.desired < g.max && g.activities[0].description.starts_with("Term")
        })
    })
    .await;
    assert!(took >= 14.0 * 60.0, "fifteen quiet minutes come first, not {took:.0} s");
    let (desired, status) = group(&lab, |g| (g.desired, g.activities[0].status_code.clone()));
    assert_eq!(status, "WaitingForELBConnectionDraining");
    assert!(desired >= 3);
}

async fn client(to: SocketAddr, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect(to).await else {
            return;
        };
        let request = b"GET / HTTP/1.1\r\nHost: shop.example.com\r\nConnection: close\r\n\r\n";
        let mut answer = Vec::new();
        if stream.write_all(request).await.is_err() || stream.read_to_end(&mut answer).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forced_failover_swaps_the_zones_within_its_documented_time() {
    let (lab, _) = lab(120.0, serde_json::json!({"regions": [HOME]})).await;
    let before = db(&lab);
    let refused = rds::reboot(&lab, HOME, "nope", true).expect_err("unknown");
    assert_eq!((refused.code.as_str(), refused.status), ("DBInstanceNotFound", 404));
    rds::reboot(&lab, HOME, "shop-db", true).expect("it is available");
    assert_eq!(db(&lab).status, "rebooting");
    assert_eq!(
        rds::reboot(&lab, HOME, "shop-db", true).expect_err("busy").code,
        "InvalidDBInstanceState"
    );
    until(&lab, "available", 3.0, || db(&lab).status == "available").await;
    let after = db(&lab);
    assert_eq!(Some(&after.az), before.secondary_az.as_ref());
    assert_ne!(after.endpoint_address, before.endpoint_address);
    assert_eq!((after.secondary_az, after.standby_in_sync), (None, false));
    let again = rds::reboot(&lab, HOME, "shop-db", true).expect_err("no standby yet");
    assert_eq!(again.code, "InvalidDBInstanceState");
    let messages: Vec<String> = home(&lab, |region| {
        let events = region.db_events.iter().filter(|e| e.categories == ["failover"]);
        events.map(|e| e.message.clone()).collect()
    });
    assert_eq!(
        messages,
        [
            "Multi-AZ instance failover started.",
            "Multi-AZ instance failover completed."
        ]
    );
    let lines = truth(&lab, What::Database);
    assert_eq!(
        lines.iter().map(|l| l.state).collect::<Vec<_>>(),
        [TruthState::Down, TruthState::Up]
    );
    let outage = lines[1].cloud - lines[0].cloud;
    assert!((60.0..=120.0).contains(&outage), "{outage}");
    let took = until(&lab, "redundant", 12.0, || db(&lab).standby_in_sync).await;
    assert!((170.0..=620.0).contains(&took), "{took}");
    assert_eq!(db(&lab).secondary_az, Some(before.az));
    assert_eq!(
        truth(&lab, What::Database).pop().map(|l| l.state),
        Some(TruthState::Redundant)
    );
}

fn cluster(lab: &Lab) -> DbCluster {
    home(lab, |region| region.db_clusters["shop-db"].clone())
}

/// What the cluster's events say, oldest first.
fn told_of_cluster(lab: &Lab) -> Vec<String> {
    home(lab, |region| {
        let events = region
            .db_events
            .iter()
            .filter(|event| event.source_type == "db-cluster");
        events.map(|event| event.message.clone()).collect()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_fails_over_to_a_reader_within_a_minute_and_loses_nothing() {
    let aurora = serde_json::json!({"regions": [HOME], "database": {"engine": "aurora-postgresql"}});
    let (lab, _) = lab(120.0, aurora).await;
    let fail_over = |id: &str, reader| rds::cluster::fail_over(&lab, HOME, id, reader).map_err(|error| error.code);
    assert_eq!(fail_over("none", None).expect_err("unknown"), "DBClusterNotFoundFault");
    let writer = fail_over("shop-db", Some("shop-db-1")).expect_err("it writes already");
    assert_eq!(writer, "InvalidDBInstanceState");
    let stranger = fail_over("shop-db", Some("other")).expect_err("no member");
    assert_eq!(stranger, "InvalidParameterValue");
    assert!(told_of_cluster(&lab).is_empty(), "what is refused tells nothing");
    let before = cluster(&lab);
    fail_over("shop-db", Some("shop-db-3")).expect("it is available");
    assert_eq!(cluster(&lab).status, "failing-over");
    assert_eq!(
        fail_over("shop-db", None).expect_err("busy"),
        "InvalidDBClusterStateFault"
    );
    until(&lab, "available", 2.0, || cluster(&lab).status == "available").await;
    let after = cluster(&lab);
    assert_eq!(after.writer, "shop-db-3");
    assert_ne!(after.endpoint_address, before.endpoint_address);
    assert_eq!(
        told_of_cluster(&lab),
        [
            "Started cross AZ failover to DB instance: shop-db-3",
            "Completed failover to DB instance: shop-db-3"
        ]
    );
    let old = || home(&lab, |region| region.db_instances["shop-db-1"].status.clone());
    until(&lab, "the old writer reads", 2.0, || old() == "available").await;
    let lines = truth(&lab, What::Database);
    let states: Vec<_> = lines.iter().map(|line| line.state).collect();
    assert_eq!(states[..2], [TruthState::Down, TruthState::Up], "{states:?}");
    let outage = lines[1].cloud - lines[0].cloud;
    assert!((14.0..60.0).contains(&outage), "{outage}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_leaves_a_silent_az_by_itself_but_not_without_a_reader() {
    for (readers, moves) in [(2, true), (0, false)] {
        let aurora = serde_json::json!({
            "regions": [HOME],
            "database": {"engine": "aurora-postgresql", "readers": readers, "detect": "15s"},
        });
        let (lab, _) = lab(120.0, aurora).await;
        let subnet = home(&lab, |region| {
            let first = region.subnets.values().find(|subnet| subnet.az_index == 1);
            first.expect("a subnet").id.clone()
        });
        lab.data.set_silent(&lab, &subnet, true);
        if moves {
            until(&lab, "another writer", 3.0, || cluster(&lab).writer != "shop-db-1").await;
        } else {
            let refused = rds::cluster::fail_over(&lab, HOME, "shop-db", None).expect_err("nobody reads");
            assert_eq!(refused.code, "InvalidDBClusterStateFault");
            lab.clock.sleep_cloud(Duration::from_secs(60)).await;
            assert_eq!(cluster(&lab).writer, "shop-db-1");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_global_cluster_is_handed_over_with_every_write_or_as_it_is() {
    for loses in [false, true] {
        let lag = "60s";
        let aurora = serde_json::json!({
            "database": {"engine": "aurora-postgresql", "global": true, "global_lag": lag},
        });
        let (lab, _) = lab(120.0, aurora).await;
        let arn = |region: &str| lab.world().regions[region].db_clusters["shop-db"].arn.clone();
        let (home, away) = (arn(HOME), arn(AWAY));
        let hand_over = |id: &str, to: &str| rds::global::hand_over(&lab, id, to, loses).map_err(|error| error.code);
        assert_eq!(
            hand_over("none", &away).expect_err("unknown"),
            "GlobalClusterNotFoundFault"
        );
        assert_eq!(
            hand_over("shop-db-global", "none").expect_err("unknown"),
            "DBClusterNotFoundFault"
        );
        let already = hand_over("shop-db-global", &home).expect_err("it writes already");
        assert_eq!(already, "InvalidDBClusterStateFault");
        let database = lab.data.database(AWAY, "shop-db").expect("both Regions write to one");
        let primary = database.endpoint_address();
        let order = crate::lab::data::Order { item: "7".to_owned() };
        database.write(primary, "late", order).await.expect("it serves");
        hand_over("shop-db-global", &away).expect("it is available");
        let again = hand_over("shop-db-global", &away).expect_err("busy");
        assert_eq!(again, "InvalidGlobalClusterStateFault");
        let global = || lab.world().global_clusters["shop-db-global"].clone();
        until(&lab, "available", 4.0, || global().status == "available").await;
        assert_eq!(global().writer, AWAY);
        assert_eq!(
            database.endpoint_address().octets()[1],
            11,
            "an address of the other Region"
        );
        assert_eq!(database.order_count(), usize::from(!loses));
        assert_eq!(global().resyncing.contains(HOME), loses);
        until(&lab, "whole", 4.0, || global().resyncing.is_empty()).await;
        let lost = truth(&lab, What::Database)
            .into_iter()
            .any(|line| line.state == TruthState::Lost);
        assert_eq!(lost, loses);
        // In a secondary Region a failover within it is nobody's outage.
        let before = truth(&lab, What::Database).len();
        rds::cluster::fail_over(&lab, HOME, "shop-db", None).expect("it is available");
        until(&lab, "another writer", 3.0, || cluster(&lab).status == "available").await;
        let down = |line: &TruthLine| line.state == TruthState::Down;
        assert!(!truth(&lab, What::Database)[before..].iter().any(down));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_primary_of_a_silent_region_takes_no_write_until_another_region_takes_over() {
    let aurora = serde_json::json!({
        "database": {"engine": "aurora-postgresql", "global": true, "global_lag": "60s"},
    });
    let (lab, _) = lab(120.0, aurora).await;
    let database = lab.data.database(AWAY, "shop-db").expect("both Regions write to one");
    let order = || crate::lab::data::Order { item: "7".to_owned() };
    let write = async |id: &str| {
        let written = database.write(database.endpoint_address(), id, order());
        tokio::time::timeout(Duration::from_millis(300), written).await
    };
    write("late").await.expect("in time").expect("it serves");
    for subnet in home(&lab, |region| region.subnets.keys().cloned().collect::<Vec<_>>()) {
        lab.data.set_silent(&lab, &subnet, true);
    }
    assert!(write("cut off").await.is_err(), "nobody answers");
    // Longer than the lag: what had not left the Region does not arrive later.
    lab.clock.sleep_cloud(Duration::from_secs(90)).await;
    let away = lab.world().regions[AWAY].db_clusters["shop-db"].arn.clone();
    rds::global::hand_over(&lab, "shop-db-global", &away, true).expect("it is available");
    let status = || lab.world().global_clusters["shop-db-global"].status.clone();
    until(&lab, "available", 4.0, || status() == "available").await;
    write("after").await.expect("in time").expect("the other Region serves");
    let lines = truth(&lab, What::Database);
    let lost = lines
        .iter()
        .find(|line| line.state == TruthState::Lost)
        .expect("a loss");
    assert_eq!(lost.detail["ids"], serde_json::json!(["late"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_of_a_cluster_restarts_and_does_not_stop_alone() {
    let aurora = serde_json::json!({
        "regions": [HOME],
        "database": {"engine": "aurora-postgresql", "restart": "60s"},
    });
    let (lab, _) = lab(120.0, aurora).await;
    let stop = rds::stop(&lab, HOME, "shop-db-2").expect_err("it does not stand alone");
    assert_eq!(stop.code, "InvalidParameterCombination");
    let status = |id: &str| home(&lab, |region| region.db_instances[id].status.clone());
    for (id, felt) in [("shop-db-2", 0), ("shop-db-1", 2)] {
        rds::reboot(&lab, HOME, id, false).expect("it is available");
        assert_eq!(status(id), "rebooting");
        until(&lab, "available", 3.0, || status(id) == "available").await;
        assert_eq!(truth(&lab, What::Database).len(), felt, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_region_loses_its_users_to_the_secondary_and_gets_them_back() {
    let (lab, announced) = lab(60.0, serde_json::json!({})).await;
    let resolver: SocketAddr = announced.resolver.parse().expect("an address");
    assert_eq!(regions_answered(resolver).await, [10]);
    let members = in_service(&lab);
    let (vpc, associations) = home(&lab, |region| {
        let mut subnets = region.subnets.values();
        let pairs = subnets
            .by_ref()
            .map(|s| (s.acl_association_id.clone(), s.network_acl_id.clone()));
        (region.vpc_id.clone(), pairs.collect::<Vec<_>>())
    });
    let denying = network::create_acl(&lab, HOME, &vpc, Default::default(), None)
        .expect("an ACL")
        .id;
    let mut undo = Vec::new();
    for (association, old_acl) in associations {
        let new = network::replace_association(&lab, HOME, &association, &denying).expect("a new association");
        assert_ne!(new, association);
        undo.push((new, old_acl));
    }
    assert_eq!(
        network::delete_acl(&lab, HOME, &denying).expect_err("in use").code,
        "DependencyViolation"
    );
    let silent = |region: &Region| region.subnets.values().all(|subnet| subnet.silent);
    let took = until(&lab, "silence", 1.0, || home(&lab, silent)).await;
    assert!(took <= 8.0, "{took}");
    let check_healthy = || {
        let world = lab.world();
        world
            .route53
            .health_checks
            .values()
            .find(|c| c.fqdn.contains(HOME))
            .is_some_and(|c| c.healthy)
    };
    let took = until(&lab, "the health check fails", 3.0, || !check_healthy()).await;
    assert!(
        (15.0..=75.0).contains(&took),
        "three checks of 10 s with a patience of 12 s, not {took:.0} s"
    );
    assert_eq!(regions_answered(resolver).await, [11]);
    let other = lab.world().regions[AWAY]
        .target_groups
        .values()
        .map(|t| t.targets.len())
        .sum::<usize>();
    assert_eq!(other, 3);
    until(&lab, "unhealthy targets", 5.0, || healthy_targets(&lab) == 0).await;
    lab.clock.sleep_cloud(Duration::from_secs(120)).await;
    for (association, acl) in undo {
        network::replace_association(&lab, HOME, &association, &acl).expect("back");
    }
    until(&lab, "the check passes again", 5.0, check_healthy).await;
    until(&lab, "healthy targets", 6.0, || healthy_targets(&lab) == 3).await;
    until(&lab, "the primary answers again", 1.0, || {
        truth(&lab, What::Dns)
            .last()
            .is_some_and(|line| line.detail["addresses"][0] == "127.10.1.5")
    })
    .await;
    assert_eq!(regions_answered(resolver).await, [10]);
    network::delete_acl(&lab, HOME, &denying).expect("no longer in use");
    lab.clock.sleep_cloud(Duration::from_secs(120)).await;
    assert_eq!(
        in_service(&lab),
        members,
        "no instance was replaced for a fault of the network"
    );
    let answers = truth(&lab, What::Dns);
    assert_eq!(answers.len(), 2, "{answers:#?}");
    assert_eq!(answers[0].id, "shop.example.com");
    assert_eq!(answers[0].detail["addresses"][0], "127.11.1.5");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_zone_leaves_the_name_of_its_load_balancer_and_comes_back() {
    let (lab, announced) = lab(120.0, serde_json::json!({})).await;
    let resolver: SocketAddr = announced.resolver.parse().expect("an address");
    let before = addresses_answered(resolver).await;
    assert_eq!(before.len(), 3);
    let (vpc, association, acl, zone) = home(&lab, |region| {
        let subnet = region
            .subnets
            .values()
            .find(|subnet| subnet.az_index == 2)
            .expect("it is there");
        let (association, acl) = (subnet.acl_association_id.clone(), subnet.network_acl_id.clone());
        (region.vpc_id.clone(), association, acl, subnet.az_index)
    });
    let denying = network::create_acl(&lab, HOME, &vpc, Default::default(), None)
        .expect("an ACL")
        .id;
    let new = network::replace_association(&lab, HOME, &association, &denying).expect("a new association");
    let of_zone = |address: &Ipv4Addr| address.octets()[2] == zone;
    let began = lab.now();
    while addresses_answered(resolver).await.iter().any(of_zone) {
        assert!(lab.now() - began < 120.0, "its address stays in the answer");
    }
    let took = lab.now() - began;
    assert!(
        (20.0..=70.0).contains(&took),
        "three looks, 10 s apart, not {took:.0} s"
    );
    assert_eq!(addresses_answered(resolver).await.len(), 2);
    network::replace_association(&lab, HOME, &new, &acl).expect("back");
    let began = lab.now();
    while addresses_answered(resolver).await != before {
        assert!(lab.now() - began < 120.0, "its address does not come back");
    }
}

/// The Regions (second octets) of the addresses that the lab's DNS server answers for the users' name.
async fn regions_answered(resolver: SocketAddr) -> Vec<u8> {
    let addresses = addresses_answered(resolver).await;
    assert_eq!(addresses.len(), 3, "one address per AZ");
    let mut regions: Vec<u8> = addresses.iter().map(|address| address.octets()[1]).collect();
    regions.dedup();
    regions
}

async fn addresses_answered(resolver: SocketAddr) -> Vec<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(
        Name::from_ascii("shop.example.com.").expect("a name"),
        RecordType::A,
    ));
    socket
        .send_to(&message.to_vec().expect("encodes"), resolver)
        .await
        .expect("sent");
    let mut buffer = [0; 1500];
    let received = tokio::time::timeout(Duration::from_secs(2), socket.recv(&mut buffer)).await;
    let length = received.expect("an answer in time").expect("an answer");
    let answer = Message::from_vec(&buffer[..length]).expect("DNS");
    assert!(answer.metadata.authoritative);
    let mut addresses: Vec<Ipv4Addr> = answer
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::A(address) => {
                assert_eq!(record.ttl, 60);
                Some(address.0)
            }
            _ => None,
        })
        .collect();
    addresses.sort();
    addresses
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_change_reaches_the_servers_in_order_and_within_a_minute() {
    let (lab, _) = lab(120.0, serde_json::json!({"regions": [HOME]})).await;
    let (zone, template) = {
        let world = lab.world();
        let zone = world.route53.zones.values().next().expect("one");
        (
            zone.id.clone(),
            zone.records
                .iter()
                .find(|r| r.record_type == "A")
                .expect("the users' record")
                .clone(),
        )
    };
    let record = |value: &str| crate::lab::world::RecordSet {
        name: "static.example.com.".to_owned(),
        routing: crate::lab::world::Routing::Simple,
        set_identifier: None,
        alias: None,
        health_check_id: None,
        ttl_s: Some(30),
        values: vec![value.to_owned()],
        ..template.clone()
    };
    let upsert = |value: &str| route53::change_records(&lab, &zone, &[(route53::ChangeAction::Upsert, record(value))]);
    let first = upsert("127.0.0.1").expect("a change");
    let second = upsert("127.0.0.2").expect("a change");
    assert!(second.in_sync_at >= first.in_sync_at && second.in_sync_at - lab.now() <= 60.0);
    let answer = || super::dns::addresses_of(&lab.world(), "static.example.com");
    assert!(answer().is_empty(), "not there yet");
    until(&lab, "in sync", 2.0, || answer() == [Ipv4Addr::new(127, 0, 0, 2)]).await;
    assert!(lab.now() >= second.in_sync_at - 0.5);
}
