//! A load that is paused, scaled, held and moved on while it runs.

use super::*;
use crate::plan::Steer;
use crate::run::load::{Steered, curves};

/// Runs `plan` and steers it once the given seconds are over.
async fn run_steered(plan: Plan, steers: &[(u64, Steer)]) -> Ran {
    let curves = curves(&plan, plan.pace);
    let (_stop, stop) = watch::channel(false);
    let (told, steered) = watch::channel(vec![Steered::default(); curves.len()]);
    let signals = Signals {
        steered,
        ..unsteered(stop)
    };
    run_with(plan, signals, |second, now| {
        for (_, steer) in steers.iter().filter(|(after, _)| *after == second) {
            told.send_modify(|told| {
                for (steered, curve) in told.iter_mut().zip(&curves) {
                    *steered = steered.steered(curve, now.as_micros() as u64, *steer);
                }
            });
        }
    })
    .await
}

impl Ran {
    /// Requests intended by second.
    fn intended_each(&self) -> Vec<u64> {
        self.slices.iter().map(|slice| slice.intended).collect()
    }
}

fn arrivals(address: SocketAddr, rate: f64, seconds: u64) -> Plan {
    let mut plan = plan(address);
    plan.model = LoadModel::Arrivals;
    stage(&mut plan, rate, Duration::ZERO, Duration::from_secs(seconds));
    plan
}

fn near(count: u64, wanted: u64) -> bool {
    count.abs_diff(wanted) <= wanted / 10 + 2
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arrivals_of_a_pause_are_neither_sent_later_nor_dropped() {
    let server = serve("127.0.0.1:0", |_| async { answer(200, "") }).await;
    let plan = arrivals(server.address, 200.0, 7);
    let ran = run_steered(plan, &[(0, Steer::Pause), (3, Steer::Resume)]).await;
    let intended = ran.intended_each();
    assert!(near(intended[0], 200), "{intended:?}");
    assert!(intended[2] == 0 && intended[3] == 0, "{intended:?}");
    assert!(near(intended[5], 200) && intended[4] < 240, "a burst: {intended:?}");
    assert_eq!(ran.dropped(), 0);
    assert_eq!(ran.ok(), intended.iter().sum::<u64>());
    assert!(ran.quantile(0.99, |step| &step.lag) < Duration::from_millis(100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_overdue_after_a_pause() {
    let server = serve("127.0.0.1:0", |_| async { answer(200, "") }).await;
    let mut plan = plan(server.address);
    stage(&mut plan, 20.0, Duration::ZERO, Duration::from_secs(7));
    let ran = run_steered(plan, &[(0, Steer::Pause), (3, Steer::Resume)]).await;
    let intended = ran.intended_each();
    assert!(intended[2] == 0 && intended[3] == 0, "{intended:?}");
    assert!(near(intended[5], intended[0]), "{intended:?}");
    assert_eq!(ran.slices[2].users, 20, "they sleep and do not leave");
    // Latency counts from the moment a request was due: the time asleep is not in it.
    assert!(ran.quantile(1.0, |step| &step.latency) < Duration::from_millis(500));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scale_multiplies_users_and_arrivals_from_then_on() {
    let server = serve("127.0.0.1:0", |_| async { answer(200, "") }).await;
    let coming = arrivals(server.address, 200.0, 5);
    let mut plan = super::plan(server.address);
    stage(&mut plan, 20.0, Duration::ZERO, Duration::from_secs(4));
    let (coming, there) = tokio::join!(
        run_steered(coming, &[(0, Steer::Scale(2.5)), (2, Steer::Scale(1.0))]),
        run_steered(plan, &[(0, Steer::Scale(3.0)), (1, Steer::Scale(0.5))]),
    );
    let intended = coming.intended_each();
    assert!(near(intended[2], 500) && near(intended[4], 200), "{intended:?}");
    let users: Vec<u64> = there.slices.iter().map(|slice| slice.users).collect();
    assert!(users[0] == 20 && users[1] == 60 && users[3] == 10, "{users:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_keeps_the_level_and_a_skip_shortens_the_run() {
    let server = serve("127.0.0.1:0", |_| async { answer(200, "") }).await;
    let mut plan = arrivals(server.address, 100.0, 3);
    stage(&mut plan, 300.0, Duration::ZERO, Duration::from_secs(3));
    let (held, skipped) = tokio::join!(
        run_steered(plan.clone(), &[(0, Steer::Hold), (4, Steer::Resume)]),
        run_steered(plan, &[(0, Steer::Skip(3_000_000))]),
    );
    let intended = held.intended_each();
    assert!((9..=11).contains(&intended.len()), "six seconds and four: {intended:?}");
    assert!(intended[..6].iter().all(|count| near(*count, 100)), "{intended:?}");
    assert!(near(intended[8], 300), "{intended:?}");

    let intended = skipped.intended_each();
    assert!(intended.len() <= 5, "{intended:?}");
    assert!(near(intended[2], 300), "{intended:?}");
    assert_eq!(skipped.dropped(), 0);
}
