//! Where the generator itself falls behind, its measurements say so.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forced_lag_is_visible_and_no_lag_is_small() {
    let server = serve("127.0.0.1:0", |_| async { answer(200, "") }).await;
    let (mut lags, mut longest) = (Vec::new(), Vec::new());
    for forced in [Duration::ZERO, Duration::from_millis(200)] {
        let mut plan = plan(server.address);
        plan.client.forced_lag = forced;
        stage(&mut plan, 50.0, Duration::ZERO, Duration::from_secs(3));
        let ran = run(plan).await;
        lags.push((
            ran.quantile(0.5, |step| &step.lag),
            ran.quantile(0.99, |step| &step.lag),
        ));
        let standstills = ran.slices.iter().map(|slice| slice.generator.standstill);
        longest.push(standstills.max().unwrap_or_default());
    }
    assert!(
        longest[0] < Duration::from_millis(100) && longest[1] >= Duration::from_millis(190),
        "{longest:?}"
    );
    assert!(lags[0].0 < Duration::from_millis(5), "{lags:?}");
    assert!(lags[1].1 > Duration::from_millis(100), "{lags:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seconds_nobody_takes_are_folded_and_come_back_whole() {
    let server = serve("127.0.0.1:0", |_| async { answer(200, "") }).await;
    let mut plan = plan(server.address);
    stage(&mut plan, 20.0, Duration::ZERO, Duration::from_secs(12));
    let plan = Arc::new(plan);
    let crowds = assemble(Arc::clone(&plan)).await;
    let clock = RunClock::new(Clock::starting_now(plan.pace), Instant::now());
    let (seconds_tx, mut seconds_rx) = mpsc::channel(1);
    let (events_tx, _events_rx) = mpsc::channel(1);
    let (_stop, stopped) = watch::channel(false);
    let load = start(plan, crowds, clock, seconds_tx, events_tx, unsteered(stopped)).unwrap();
    let end = load.join().await;
    let mut seconds = end.rest;
    while let Some(second) = seconds_rx.recv().await {
        seconds.push(second);
    }
    assert!(seconds.len() < 24, "{}", seconds.len());
    let ok: u64 = seconds
        .iter()
        .flat_map(|second| &second.slice.steps)
        .map(|step| step.ok)
        .sum();
    assert_eq!(ok, server.requests());
}

/// Prints what a request costs; run by hand: `cargo test --release cost_per_request -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "a measurement, not a check"]
async fn cost_per_request() {
    let server = serve("127.0.0.1:0", |_| async { answer(200, "i-1/us-east-1a/us-east-1") }).await;
    let mut plan = plan(server.address);
    plan.client.shards = Some(1);
    plan.journeys[0].think = Wait::Uniform {
        min: Duration::from_secs(10),
        max: Duration::from_secs(30),
    };
    stage(&mut plan, 100_000.0, Duration::from_secs(5), Duration::from_secs(10));
    let ran = run(plan).await;
    let hold = &ran.slices[6..14];
    let requests: u64 = hold.iter().flat_map(|slice| &slice.steps).map(|step| step.ok).sum();
    let cpu: f64 = hold.iter().map(|slice| slice.generator.cpu_busiest_shard).sum::<f64>() / hold.len() as f64;
    println!(
        "{} requests/s, busiest shard {cpu:.3} of a core, about {:.1} CPU seconds per million; lag p50 {:?} p99 {:?}; \
         latency p50 {:?} p99 {:?}; {} MiB resident (server in the same process); failed {:?}",
        requests / hold.len() as u64,
        cpu * 1e6 * hold.len() as f64 / requests as f64,
        ran.quantile(0.5, |step| &step.lag),
        ran.quantile(0.99, |step| &step.lag),
        ran.quantile(0.5, |step| &step.latency),
        ran.quantile(0.99, |step| &step.latency),
        hold[0].generator.resident_bytes >> 20,
        ran.failed(),
    );
}
