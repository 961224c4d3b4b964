//! Zonal shifts against the lab: renewed while their fault lasts, and gone when nobody renews them.

use std::sync::Arc;
use std::time::Duration;

use tenfold::event::Event;
use tenfold::run::chaos::revert_journal;

use crate::fis_in_lab::{Bench, REGION, drained, evidence, fault};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zonal_shift_empties_an_az_and_is_renewed_until_it_is_cancelled() {
    let entry = "fault: elb.zonal_shift, role: web, az: us-east-1b, lasts: 10m";
    let bench = Bench::start(entry, "", serde_json::json!({})).await;
    let answer = || {
        let world = bench.lab.world();
        let balancer = world.regions[REGION]
            .load_balancers
            .values()
            .next()
            .expect("a load balancer");
        let found = tenfold::lab::dynamics::dns::addresses_of(&world, &balancer.dns_name);
        found.into_iter().map(|address| address.octets()[2]).collect::<Vec<_>>()
    };
    assert_eq!(answer(), [1, 2, 3]);
    let (runner, mut seen) = bench.runner();
    let runner = Arc::new(runner);
    runner.inject(fault()).await.expect("is injected");
    assert!(evidence(&drained(&mut seen)).contains("away from use1-az2 is active"));
    assert_eq!(answer(), [1, 3]);
    let tending = tokio::spawn({
        let runner = Arc::clone(&runner);
        async move { runner.tend(fault()).await }
    });
    // A shift of three minutes is still there after eight, since somebody renews it.
    bench.clock.clock().sleep_cloud(Duration::from_secs(480)).await;
    assert_eq!(answer(), [1, 3]);
    runner.revert(fault()).await.expect("is reverted");
    assert_eq!(answer(), [1, 2, 3]);
    tending.await.expect("it ends with the fault");
    assert!(
        !drained(&mut seen)
            .iter()
            .any(|event| matches!(event, Event::StopConditionMet { .. }))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zonal_shift_of_a_dead_run_is_cancelled_or_expires() {
    let entry = "fault: elb.zonal_shift, role: web, az: us-east-1b, lasts: 10m";
    let bench = Bench::start(entry, "", serde_json::json!({})).await;
    let statuses = || {
        let world = bench.lab.world();
        let shifts = world.regions[REGION].zonal_shifts.values();
        let mut all: Vec<&str> = shifts.map(|shift| shift.status.name()).collect();
        all.sort_unstable();
        all.join(" ")
    };
    let (runner, _seen) = bench.runner();
    runner.inject(fault()).await.expect("is injected");
    drop(runner);
    assert_eq!(statuses(), "ACTIVE");
    let summary = revert_journal(&bench.journal(), &bench.writer, |_| true)
        .await
        .expect("is readable");
    assert_eq!(summary.reverted, vec![fault()], "{summary:?}");
    assert_eq!(statuses(), "CANCELED");
    std::fs::remove_file(bench.journal()).expect("another run");
    let (runner, _seen) = bench.runner();
    runner.inject(fault()).await.expect("is injected again");
    bench.clock.clock().sleep_cloud(Duration::from_secs(200)).await;
    assert_eq!(statuses(), "CANCELED EXPIRED", "nobody renewed it");
    let summary = revert_journal(&bench.journal(), &bench.writer, |_| true)
        .await
        .expect("is readable");
    assert_eq!(summary.reverted, vec![fault()], "{summary:?}");
}
