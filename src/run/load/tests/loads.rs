//! Several loads in one run: each with its journeys, its users or arrivals, its time and its passes.

use super::*;

const S: fn(u64) -> Duration = Duration::from_secs;

/// A load of one journey of its own, which asks for `/NAME`; it holds `level` for the given real seconds.
fn load(plan: &mut Plan, name: &str, model: LoadModel, level: f64, (from, to): (u64, u64)) {
    let index = plan.steps.len();
    plan.steps.push(StepPlan {
        journey: index,
        ..step(name, "GET", &format!("/{name}"))
    });
    plan.journeys.push(JourneyPlan {
        name: name.to_owned(),
        steps: vec![index],
        ..plan.journeys[0].clone()
    });
    plan.ends_at = plan.ends_at.max(S(to));
    plan.loads.push(LoadPlan {
        name: name.to_owned(),
        journeys: vec![index],
        model,
        spacing: Spacing::Even,
        stages: vec![StagePlan {
            tier: 1,
            level,
            starts_at: S(from),
            holds_at: S(from),
            ends_at: S(to),
        }],
        iterations: None,
    });
}

impl Ran {
    /// Requests of a step by second.
    fn ok_each(&self, step: usize) -> Vec<u64> {
        self.slices.iter().map(|slice| slice.steps[step].ok).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_load_asks_for_its_own_in_its_own_time() {
    use LoadModel::{Arrivals, Users};
    let server = serve("127.0.0.1:0", |_| async { answer(200, "") }).await;
    let mut plan = plan(server.address);
    load(&mut plan, "people", Users, 20.0, (0, 4));
    load(&mut plan, "early", Users, 30.0, (0, 1));
    load(&mut plan, "burst", Arrivals, 100.0, (2, 3));
    load(&mut plan, "late", Arrivals, 50.0, (3, 4));
    plan.model = LoadModel::Mixed;
    let ran = run(plan).await;
    let near = |counts: &[u64], wanted: &[u64]| {
        let fits = |(count, wanted): (&u64, &u64)| count.abs_diff(*wanted) <= wanted / 10 + 2;
        assert!(counts.iter().zip(wanted).all(fits), "{counts:?} and not {wanted:?}");
    };
    assert_eq!(
        ran.ok_each(0).iter().sum::<u64>(),
        0,
        "a journey of no load is never made"
    );
    near(&ran.ok_each(1), &[200, 200, 200, 200]);
    near(&ran.ok_each(2), &[300, 0, 0, 0]);
    near(&ran.ok_each(3), &[0, 0, 100, 0]);
    near(&ran.ok_each(4), &[0, 0, 0, 50]);
    assert_eq!(ran.ok_each(3).iter().sum::<u64>(), 100);
    assert_eq!(ran.ok_each(4).iter().sum::<u64>(), 50);
    let users: Vec<u64> = ran.slices.iter().map(|slice| slice.users).collect();
    assert!(
        users[0] == 50 && users[1] == 20,
        "who has no load any more leaves: {users:?}"
    );
    assert_eq!(ran.dropped(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fixed_number_of_passes_is_made_and_no_more() {
    let server = serve("127.0.0.1:0", |_| async { answer(200, "") }).await;
    let mut plan = plan(server.address);
    load(&mut plan, "each", LoadModel::Users, 15.0, (0, 2));
    load(&mut plan, "shared", LoadModel::Users, 7.0, (0, 2));
    plan.loads[0].iterations = Some(Iterations::Each(4));
    plan.loads[1].iterations = Some(Iterations::Shared(41));
    let ran = run(plan).await;
    let made = |step: usize| ran.ok_each(step).iter().sum::<u64>();
    assert_eq!((made(1), made(2)), (60, 41));
    assert_eq!((ran.intended(), ran.dropped()), (101, 0));
    assert_eq!(ran.slices[1].users, 0, "who has made all of them leaves");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passes_that_were_not_made_in_time_are_counted() {
    let server = serve("127.0.0.1:0", |_| async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        answer(200, "")
    })
    .await;
    for iterations in [Iterations::Each(50), Iterations::Shared(150)] {
        for ends_at in [1, 2] {
            let mut plan = plan(server.address);
            load(&mut plan, "slow", LoadModel::Users, 3.0, (0, 1));
            plan.loads[0].iterations = Some(iterations);
            // Whether the run ends with the load or goes on after it.
            plan.ends_at = S(ends_at);
            let ran = run(plan).await;
            assert!((6..=15).contains(&ran.ok()), "{}", ran.ok());
            assert_eq!((ran.intended(), ran.ok() + ran.dropped()), (150, 150), "{iterations:?}");
            let unmade: u64 = ran.slices.iter().map(|slice| slice.unmade).sum();
            assert_eq!(unmade, ran.dropped(), "nothing else kept them");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_who_are_to_leave_finish_their_pass_and_are_cut_after_a_grace() {
    let server = serve("127.0.0.1:0", |_| async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        answer(200, "")
    })
    .await;
    // Ten users for a real second; their passes take 1.4 s or 20 s, and at pace 60 the grace is half a second.
    let together = Flow::Together {
        parts: (0..200).map(|place| vec![Flow::Request(place)]).collect(),
        at_most: Some(1),
    };
    for (steps, flow, requests) in [
        (14, vec![], 140..=140),
        (200, vec![], 130..=180),
        (200, vec![together], 130..=180),
    ] {
        let mut plan = plan(server.address);
        plan.pace = Pace::new(60.0).unwrap();
        load(&mut plan, "long", LoadModel::Users, 10.0, (0, 60));
        plan.journeys[1].steps = vec![1; steps];
        plan.journeys[1].flow = flow;
        plan.journeys[1].think = Wait::constant(Duration::from_secs(600));
        plan.loads[0].iterations = Some(Iterations::Each(1));
        plan.ends_at = S(4 * 60);
        let ran = run(plan).await;
        assert!(requests.contains(&ran.ok()), "{}: {}", steps, ran.ok());
        assert_eq!(
            (ran.intended(), ran.dropped()),
            (ran.ok(), 0),
            "what was begun has ended"
        );
        assert_eq!(
            (ran.slices[0].users, ran.slices[2].users),
            (10, 0),
            "and its users are gone"
        );
    }
}

#[test]
fn there_are_as_many_shards_as_the_expected_requests_need() {
    let needed = |users: f64, think: Duration| {
        let mut plan = plan(SocketAddr::from(([127, 0, 0, 1], 1)));
        plan.journeys[0].think = Wait::constant(think);
        stage(&mut plan, users, Duration::ZERO, Duration::from_secs(3));
        crate::run::load::sizing::needed(&plan)
    };
    let second = Duration::from_secs(1);
    assert_eq!(
        [0.0, 1.0, 6_000.0, 6_001.0, 60_000.0].map(|users| needed(users, second)),
        [0, 1, 1, 2, 10]
    );
    assert_eq!(needed(50.0, Duration::ZERO), usize::MAX, "as many as are answered");
}

#[test]
fn the_first_second_is_foreseen_by_the_plan() {
    let first = |model, ramp| {
        let mut plan = plan(SocketAddr::from(([127, 0, 0, 1], 1)));
        plan.journeys[0].think = Wait::constant(Duration::from_secs(2));
        plan.model = model;
        stage(&mut plan, 60_000.0, ramp, Duration::from_secs(5));
        crate::run::load::sizing::first_rate(&plan, 2)
    };
    assert_eq!(first(LoadModel::Arrivals, Duration::ZERO), 30_000.0);
    assert_eq!(first(LoadModel::Users, Duration::ZERO), 15_000.0);
    assert_eq!(first(LoadModel::Arrivals, Duration::from_secs(1)), 0.0);
}
