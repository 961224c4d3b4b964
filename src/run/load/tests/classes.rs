//! Classes of clients: each follows the DNS, keeps connections and tries again in its own way, and is counted for itself.

use std::sync::Mutex;

use super::dns::{EAST, WEST, Zone, dns, named, two_regions};
use super::*;
use crate::recording::ClassSlice;

/// What every class did, all seconds together.
fn totals(ran: &Ran) -> Vec<ClassSlice> {
    let mut totals = vec![ClassSlice::default(); ran.slices[0].classes.len()];
    for slice in &ran.slices {
        for (total, class) in totals.iter_mut().zip(&slice.classes) {
            total.merge(class);
        }
    }
    totals
}

/// By second and class: how many attempts went to an address.
fn sent(ran: &Ran, second: usize, class: usize, address: [u8; 4]) -> u64 {
    let sent = &ran.slices[second].classes[class].sent;
    sent.get(&IpAddr::from(address)).copied().unwrap_or(0)
}

/// Six real seconds at pace 15 with a TTL of 15 s, so of one real second; at 2.0 s the name moves from east to west.
/// Everything that the classes sent is what the servers got.
async fn moved(used_by: ConnectionUse, classes: Vec<ClassPlan>) -> Ran {
    let (east, west) = two_regions().await;
    let zone = Zone {
        addresses: vec![EAST],
        ttl: 15,
        ..Zone::default()
    };
    let (resolver, zone) = dns(zone).await;
    let mut plan = named(&east, resolver, DnsPolicy::HonourTtl);
    plan.pace = Pace::new(15.0).unwrap();
    plan.stages.clear();
    plan.ends_at = Duration::ZERO;
    stage(&mut plan, 50.0, Duration::ZERO, Duration::from_secs(90));
    plan.client.connections.used_by = used_by;
    plan.client.classes = classes;
    let changing = change(&zone, Duration::from_millis(2200));
    let (ran, ()) = tokio::join!(run(plan), changing);
    assert_eq!((ran.failed(), ran.dropped()), (BTreeMap::new(), 0));
    let totals = totals(&ran);
    let to = |address: [u8; 4]| -> u64 {
        let sent = totals.iter().filter_map(|class| class.sent.get(&IpAddr::from(address)));
        sent.sum()
    };
    assert_eq!((to(EAST), to(WEST)), (east.requests(), west.requests()));
    assert_eq!(totals.iter().map(|class| class.ok).sum::<u64>(), ran.ok());
    assert_eq!(totals.iter().map(|class| class.intended).sum::<u64>(), ran.intended());
    ran
}

async fn change(zone: &Mutex<Zone>, after: Duration) {
    tokio::time::sleep(after).await;
    zone.lock().unwrap().addresses = vec![WEST];
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_connections_go_where_the_answer_of_their_class_says() {
    let classes = vec![
        ClassPlan::example("browser", 0.5, DnsPolicy::HonourTtl),
        ClassPlan::example("jvm", 0.3, DnsPolicy::Jvm),
        ClassPlan::example("stuck", 0.2, DnsPolicy::Forever),
    ];
    let ran = moved(ConnectionUse::PerRequest, classes).await;
    for class in 0..3 {
        assert!(sent(&ran, 1, class, EAST) > 50, "{class}");
        assert_eq!(sent(&ran, 1, class, WEST), 0, "{class}");
    }
    assert_eq!(sent(&ran, 3, 0, EAST), 0, "a second after the change is a TTL");
    assert!(sent(&ran, 3, 0, WEST) > 150);
    assert!(
        sent(&ran, 3, 1, EAST) > 50,
        "a JVM asks every 30 s of cloud time, two of real"
    );
    assert_eq!(sent(&ran, 4, 1, EAST), 0);
    assert!(sent(&ran, 4, 1, WEST) > 100);
    for second in 0..6 {
        assert!(sent(&ran, second, 2, EAST) > 50, "{second}");
        assert_eq!(sent(&ran, second, 2, WEST), 0, "{second}");
    }
    let learned = |name: &str| {
        let changed = ran.events.iter().filter_map(|stamped| match &stamped.event {
            Event::DnsChanged { class, addresses, .. } if class.as_deref() == Some(name) => {
                Some((stamped.at.as_secs(), addresses.clone()))
            }
            _ => None,
        });
        changed.collect::<Vec<_>>()
    };
    let (east, west) = (vec![IpAddr::from(EAST)], vec![IpAddr::from(WEST)]);
    assert_eq!(learned("browser"), [(0, east.clone()), (2, west.clone())]);
    assert_eq!(learned("jvm"), [(0, east.clone()), (3, west)]);
    assert_eq!(learned("stuck"), [(0, east)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_class_that_keeps_its_connections_stays_while_another_leaves() {
    for used_by in [ConnectionUse::Pool, ConnectionUse::PerUser] {
        let classes = vec![
            ClassPlan::example("browser", 0.5, DnsPolicy::HonourTtl),
            ClassPlan::example("jvm", 0.3, DnsPolicy::Jvm),
            ClassPlan::example("pinned", 0.2, DnsPolicy::Pin),
        ];
        let ran = moved(used_by, classes).await;
        for second in 3..6 {
            assert_eq!(sent(&ran, second, 0, EAST), 0, "{used_by:?} {second}");
            assert!(sent(&ran, second, 0, WEST) > 150, "{used_by:?} {second}");
            assert!(sent(&ran, second, 2, EAST) > 20, "{used_by:?} {second}");
        }
        assert!(sent(&ran, 5, 1, EAST) > 20, "{used_by:?}: what is open stays open");
        if used_by == ConnectionUse::PerUser {
            assert_eq!(sent(&ran, 5, 2, WEST), 0, "each user has a connection to east");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_retries_is_that_of_the_class_that_makes_it() {
    let server = serve("127.0.0.1:0", |_| async { answer(503, "i-1/us-east-1a/us-east-1") }).await;
    let storm = |budget| Retries {
        attempts: 3,
        base: Duration::from_millis(200),
        cap: Duration::from_millis(200),
        jitter: false,
        budget,
        ..Retries::default()
    };
    let retrying = |name: &str, share, budget| ClassPlan {
        retries: Some(storm(budget)),
        ..ClassPlan::example(name, share, DnsPolicy::HonourTtl)
    };
    let mut plan = plan(server.address);
    plan.client.shards = Some(1);
    plan.client.classes = vec![
        ClassPlan::example("calm", 0.3, DnsPolicy::HonourTtl),
        retrying("eager", 0.3, None),
        retrying("thrifty", 0.4, Some(0.1)),
    ];
    stage(&mut plan, 50.0, Duration::ZERO, Duration::from_secs(3));
    let ran = run(plan).await;
    let all = totals(&ran);
    let [calm, eager, thrifty] = all.as_slice() else {
        panic!("{all:?}")
    };
    assert!(calm.intended > 300, "{calm:?}");
    assert_eq!(
        (calm.attempts, calm.retries, calm.failed),
        (calm.intended, 0, calm.intended)
    );
    assert!(eager.intended > 50, "{eager:?}");
    assert_eq!((eager.attempts, eager.failed), (3 * eager.intended, eager.intended));
    assert_eq!(thrifty.attempts, thrifty.intended + thrifty.retries);
    // Ten come first, then one is earned by ten requests.
    assert!(thrifty.retries <= 10 + thrifty.intended / 10 + 1, "{thrifty:?}");
    assert_eq!(all.iter().map(|class| class.attempts).sum::<u64>(), server.requests());
    assert_eq!(
        ran.slices.iter().map(|slice| slice.retries).sum::<u64>(),
        eager.retries + thrifty.retries
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_all_users_are_alike_no_class_is_counted() {
    let server = serve("127.0.0.1:0", |_| async { answer(200, "i-1/us-east-1a/us-east-1") }).await;
    let mut plan = plan(server.address);
    stage(&mut plan, 5.0, Duration::ZERO, Duration::from_secs(1));
    let ran = run(plan).await;
    assert!(ran.ok() > 20 && ran.slices.iter().all(|slice| slice.classes.is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_class_has_its_own_patience() {
    let server = serve("127.0.0.1:0", |_| async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        answer(200, "i-1/us-east-1a/us-east-1")
    })
    .await;
    let impatient = ClassPlan {
        request_timeout: Duration::from_millis(300),
        ..ClassPlan::example("impatient", 0.5, DnsPolicy::HonourTtl)
    };
    let mut plan = plan(server.address);
    plan.client.classes = vec![impatient, ClassPlan::example("patient", 0.5, DnsPolicy::HonourTtl)];
    stage(&mut plan, 20.0, Duration::ZERO, Duration::from_secs(2));
    let ran = run(plan).await;
    let all = totals(&ran);
    assert!(all[0].ok == 0 && all[0].failed > 20, "{all:?}");
    assert!(all[1].failed == 0 && all[1].ok > 10, "{all:?}");
    assert_eq!(ran.failed(), BTreeMap::from([(FailureKind::Timeout, all[0].failed)]));
}
