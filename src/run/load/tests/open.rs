//! The open model: arrivals come when they come.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_endpoint_does_not_slow_arrivals() {
    let epoch = Instant::now();
    // Silent from 1.2 s to 2.2 s after now, that is from about 1.0 s to 2.0 s of the run.
    let server = serve("127.0.0.1:0", move |_| async move {
        let (from, until) = (epoch + Duration::from_millis(1200), epoch + Duration::from_millis(2200));
        let now = Instant::now();
        if now >= from && now < until {
            tokio::time::sleep_until(until.into()).await;
        }
        answer(200, "")
    })
    .await;
    let mut plan = plan(server.address);
    plan.model = LoadModel::Arrivals;
    plan.client.connections.pool = Some(20);
    stage(&mut plan, 500.0, Duration::ZERO, Duration::from_secs(4));
    let ran = run(plan).await;
    assert_eq!(ran.intended(), 2000);
    assert_eq!(ran.ok() + ran.dropped(), 2000);
    for slice in &ran.slices[..4] {
        assert!(
            (470..=530).contains(&slice.intended),
            "second {}: {}",
            slice.second,
            slice.intended
        );
    }
    let p99 = ran.quantile(0.99, |step| &step.latency);
    assert!(
        p99 > Duration::from_millis(800) && p99 < Duration::from_millis(1300),
        "{p99:?}"
    );
    // One in four was due within the stall; half of them waited for at least half a second.
    let p80 = ran.quantile(0.80, |step| &step.latency);
    assert!(p80 > Duration::from_millis(50), "{p80:?}");
    // Only those 20 that held a connection were slow themselves: waiting is in the latency, not in the service time.
    let p95 = ran.quantile(0.95, |step| &step.service_time);
    assert!(p95 < Duration::from_millis(200), "{p95:?}");
    let lag = ran.quantile(0.99, |step| &step.lag);
    assert!(
        lag < Duration::from_millis(300),
        "the stall is not the generator's: {lag:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_safety_limit_drops_and_counts() {
    let server = serve("127.0.0.1:0", |_| async { answer(200, "") }).await;
    let mut plan = plan(server.address);
    plan.model = LoadModel::Arrivals;
    plan.client.rate_limit = Some(100.0);
    stage(&mut plan, 400.0, Duration::ZERO, Duration::from_secs(2));
    let ran = run(plan).await;
    assert_eq!(ran.intended(), 800);
    assert_eq!(ran.ok() + ran.dropped(), 800);
    assert!((180..=215).contains(&ran.ok()), "{}", ran.ok());
    assert_eq!(server.requests(), ran.ok());
}

/// More arrivals than any machine can start, on one shard.
fn unsendable(address: SocketAddr) -> Plan {
    let mut plan = plan(address);
    plan.model = LoadModel::Arrivals;
    plan.client.shards = Some(1);
    stage(&mut plan, 5_000_000.0, Duration::ZERO, Duration::from_secs(1));
    plan
}

/// Runs a plan and stops it `after` its start, as the director does at the end of the schedule.
async fn run_stopped(plan: Plan, after: Duration) -> Ran {
    let (stop, stopped) = watch::channel(false);
    let stopping = async {
        // It starts 200 ms after it is built.
        tokio::time::sleep(Duration::from_millis(200) + after).await;
        stop.send_replace(true);
    };
    tokio::join!(run_until(plan, stopped), stopping).0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arrivals_that_the_end_leaves_behind_are_intended_and_not_sent() {
    let server = serve("127.0.0.1:0", |_| async { answer(200, "") }).await;
    for classes in [false, true] {
        let mut plan = unsendable(server.address);
        if classes {
            let class = |name, share| ClassPlan::example(name, share, DnsPolicy::Pin);
            plan.client.classes = vec![class("many", 0.75), class("few", 0.25)];
        }
        let ran = run_stopped(plan, Duration::from_secs(1)).await;
        let failed: u64 = ran.failed().values().sum();
        assert_eq!(ran.intended(), 5_000_000);
        assert_eq!(ran.ok() + failed + ran.dropped(), 5_000_000);
        assert!(ran.dropped() > 1_000_000, "{}", ran.dropped());
        let by_class = |class: usize| -> u64 { ran.slices.iter().map(|slice| slice.classes[class].intended).sum() };
        if classes {
            assert!(by_class(0).abs_diff(3_750_000) < 10, "{}", by_class(0));
            assert_eq!(by_class(0) + by_class(1), 5_000_000);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_run_that_is_cut_short_what_was_due_until_then_counts() {
    let server = serve("127.0.0.1:0", |_| async { answer(200, "") }).await;
    let ran = run_stopped(unsendable(server.address), Duration::from_millis(500)).await;
    let failed: u64 = ran.failed().values().sum();
    assert_eq!(ran.intended(), ran.ok() + failed + ran.dropped());
    assert!((2_300_000..=3_500_000).contains(&ran.intended()), "{}", ran.intended());
}
