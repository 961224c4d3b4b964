//! Journeys with loops, conditions, chances and pauses: what the server is asked is what the profile says.

use std::sync::Mutex;

use super::*;

/// Paths in the order in which they were asked for.
type Asked = Arc<Mutex<Vec<(String, Instant)>>>;

/// Jobs: `POST /jobs/N` starts one, `GET /jobs/ID` says `done` from the third time on; everything else is `/x`.
async fn jobs(asked: &Asked) -> Server {
    let asked = Arc::clone(asked);
    serve("127.0.0.1:0", move |request: Request<Bytes>| {
        let path = request.uri().path().to_owned();
        let mut asked = asked.lock().unwrap();
        asked.push((path.clone(), Instant::now()));
        let times = asked.iter().filter(|(before, _)| *before == path).count();
        let state = if times >= 3 { "done" } else { "pending" };
        async move {
            Response::builder()
                .status(200)
                .header("state", state)
                .body(Full::from("hello"))
                .unwrap()
        }
    })
    .await
}

fn count(asked: &Asked, path: &str) -> usize {
    asked.lock().unwrap().iter().filter(|(asked, _)| asked == path).count()
}

/// One user who makes one pass of this flow in a second; with a step for each path.
pub(super) fn once(address: SocketAddr, paths: &[&str], flow: Vec<Flow<Template>>) -> Plan {
    let mut plan = plan(address);
    plan.client.shards = Some(1);
    plan.steps = paths.iter().map(|path| step(path, "GET", path)).collect();
    plan.journeys[0].steps = (0..paths.len()).collect();
    plan.journeys[0].flow = flow;
    plan.model = LoadModel::Arrivals;
    stage(&mut plan, 1.0, Duration::ZERO, Duration::from_secs(1));
    plan
}

pub(super) fn milliseconds(milliseconds: u64) -> Wait {
    Wait::constant(Duration::from_millis(milliseconds))
}

pub(super) fn state_is(state: &str) -> Condition<Template> {
    let variable = Part::Variable("state".to_owned());
    Condition {
        left: Template { parts: vec![variable] },
        relation: Relation::Is,
        right: text(state),
    }
}

pub(super) fn extracts_state(step: &mut StepPlan) {
    step.extract = vec![Extract {
        name: "state".to_owned(),
        from: Source::Header("state".to_owned()),
    }];
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loops_within_loops_go_round_as_often_as_they_say() {
    let asked = Asked::default();
    let server = jobs(&asked).await;
    let inner = Flow::Repeat {
        min: 4,
        max: 4,
        steps: vec![Flow::Request(1)],
    };
    let outer = Flow::Repeat {
        min: 3,
        max: 3,
        steps: vec![Flow::Request(0), inner],
    };
    let ran = run(once(server.address, &["/a", "/b", "/c"], vec![outer, Flow::Request(2)])).await;
    assert_eq!((ran.ok(), ran.intended()), (16, 16));
    assert_eq!(server.requests(), 16);
    let paths: String = asked.lock().unwrap().iter().map(|(path, _)| &path[1..]).collect();
    assert_eq!(paths, "abbbbabbbbabbbbc");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rounds_of_a_range_are_drawn_and_the_same_seed_draws_the_same() {
    let asked = Asked::default();
    let server = jobs(&asked).await;
    let mut counts = Vec::new();
    for _ in 0..2 {
        let some = Flow::Repeat {
            min: 1,
            max: 3,
            steps: vec![Flow::Request(1)],
        };
        let mut plan = once(server.address, &["/a", "/b"], vec![Flow::Request(0), some]);
        plan.stages[0].level = 300.0;
        // Those of the last instant would be cut off.
        stage(&mut plan, 0.0, Duration::ZERO, Duration::from_secs(1));
        asked.lock().unwrap().clear();
        run(plan).await;
        assert_eq!(count(&asked, "/a"), 300);
        counts.push(count(&asked, "/b"));
    }
    assert!((540..660).contains(&counts[0]), "{counts:?}");
    assert_eq!(counts[0], counts[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polling_ends_when_it_is_done_or_has_asked_often_enough() {
    for (state, polls) in [("done", 3), ("never", 5)] {
        let asked = Asked::default();
        let server = jobs(&asked).await;
        let until = Flow::Until {
            condition: state_is(state),
            at_most: 5,
            pause: Some(milliseconds(30)),
            steps: vec![Flow::Request(0)],
        };
        let mut plan = once(server.address, &["/job", "/after"], vec![until, Flow::Request(1)]);
        extracts_state(&mut plan.steps[0]);
        let ran = run(plan).await;
        assert_eq!(ran.failed(), BTreeMap::new());
        assert_eq!((count(&asked, "/job"), count(&asked, "/after")), (polls, 1), "{state}");
        let asked = asked.lock().unwrap();
        let paused =
            |pair: &[(String, Instant)]| pair[1].0 == "/after" || pair[1].1 - pair[0].1 >= Duration::from_millis(29);
        assert!(asked.windows(2).all(paused), "{asked:?}");
        let last = &asked[polls - 1..];
        assert!(
            last[1].1 - last[0].1 < Duration::from_millis(29),
            "nobody waits after the last round"
        );
        // The pause is the user's own: what comes after it is due when it is over.
        assert!(ran.quantile(0.99, |step| &step.latency) < Duration::from_millis(25));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_decides_which_way_a_pass_goes() {
    for (state, way) in [("pending", "/yes"), ("done", "/no")] {
        let asked = Asked::default();
        let server = jobs(&asked).await;
        let either = Flow::If {
            condition: state_is(state),
            steps: vec![Flow::Request(1)],
            otherwise: vec![Flow::Request(2)],
        };
        let flow = vec![Flow::Request(0), either, Flow::Request(3)];
        let mut plan = once(server.address, &["/ask", "/yes", "/no", "/after"], flow);
        extracts_state(&mut plan.steps[0]);
        run(plan).await;
        let paths: Vec<String> = asked.lock().unwrap().iter().map(|(path, _)| path.clone()).collect();
        assert_eq!(paths, ["/ask", way, "/after"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn some_passes_take_a_step_that_has_a_chance() {
    let asked = Asked::default();
    let server = jobs(&asked).await;
    let some = Flow::Chance {
        share: 0.3,
        steps: vec![Flow::Request(0)],
    };
    let mut plan = once(server.address, &["/some", "/all"], vec![some, Flow::Request(1)]);
    plan.stages[0].level = 1_000.0;
    let ran = run(plan).await;
    assert_eq!(count(&asked, "/all"), 1_000);
    assert!(
        (250..350).contains(&count(&asked, "/some")),
        "{}",
        count(&asked, "/some")
    );
    assert_eq!(ran.intended() as usize, asked.lock().unwrap().len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_whose_pass_sends_nothing_does_not_spin() {
    let asked = Asked::default();
    let server = jobs(&asked).await;
    let never = Flow::If {
        condition: state_is("set"),
        steps: vec![Flow::Request(0)],
        otherwise: Vec::new(),
    };
    let mut plan = once(server.address, &["/a"], vec![never]);
    extracts_state(&mut plan.steps[0]);
    plan.model = LoadModel::Users;
    plan.journeys[0].think = Wait::default();
    let ran = run(plan).await;
    assert_eq!((server.requests(), ran.intended()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_ends_with_the_run_and_nothing_is_sent_after_it() {
    for cut in [false, true] {
        let asked = Asked::default();
        let server = jobs(&asked).await;
        let flow = vec![Flow::Request(0), Flow::Pause(milliseconds(60_000)), Flow::Request(1)];
        let mut plan = once(server.address, &["/before", "/after"], flow);
        plan.stages[0].level = 20.0;
        let began = Instant::now();
        let (stop, stopped) = watch::channel(false);
        let stopping = async {
            if cut {
                tokio::time::sleep(Duration::from_millis(700)).await;
                stop.send_replace(true);
            }
        };
        let (ran, ()) = tokio::join!(run_until(plan, stopped), stopping);
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert!(count(&asked, "/before") >= 5, "{}", count(&asked, "/before"));
        assert_eq!(count(&asked, "/after"), 0);
        assert_eq!(ran.dropped(), 0);
    }
}

pub(super) fn group(name: &str, steps: Vec<Flow<Template>>) -> Flow<Template> {
    Flow::Group {
        name: name.to_owned(),
        steps,
    }
}

/// Passes through the group of this number that went well, and those that did not.
pub(super) fn through(ran: &Ran, number: usize) -> (u64, BTreeMap<FailureKind, u64>) {
    let (mut ok, mut failed) = (0, BTreeMap::new());
    for group in ran.slices.iter().filter_map(|slice| slice.groups.get(number)) {
        ok += group.ok;
        for (kind, count) in &group.failed {
            *failed.entry(*kind).or_default() += count;
        }
    }
    (ok, failed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_timed_from_its_first_request_to_its_last_with_the_pauses_between() {
    let asked = Asked::default();
    let server = jobs(&asked).await;
    let wait = |of| Flow::Pause(milliseconds(of));
    let inner = group("inner", vec![wait(100), Flow::Request(1), wait(150)]);
    let outer = group("outer", vec![Flow::Request(0), inner, wait(10), Flow::Request(2)]);
    let ran = run(once(
        server.address,
        &["/a", "/b", "/c"],
        vec![wait(20), outer, wait(20)],
    ))
    .await;
    assert_eq!(ran.ok(), 3);
    for (number, from, to) in [(0, 260, 340), (1, 0, 80)] {
        assert_eq!(through(&ran, number), (1, BTreeMap::new()));
        let mut all = Hist::working();
        for slice in &ran.slices {
            slice.groups[number].latency.add_to(&mut all).unwrap();
        }
        let took = all.max() / 1_000;
        assert!((from..to).contains(&took), "{number}: {took} ms");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_fails_with_any_of_its_requests_and_one_that_the_run_cuts_off_counts_as_nothing() {
    let server = serve("127.0.0.1:0", |request: Request<Bytes>| async move {
        answer(if request.uri().path() == "/bad" { 503 } else { 200 }, "")
    })
    .await;
    let flow = vec![
        group(
            "all",
            vec![Flow::Request(0), group("bad", vec![Flow::Request(1)]), Flow::Request(2)],
        ),
        group("fine", vec![Flow::Request(3)]),
        group(
            "cut",
            vec![Flow::Request(4), Flow::Pause(milliseconds(60_000)), Flow::Request(5)],
        ),
    ];
    let paths = ["/1", "/bad", "/3", "/4", "/5", "/6"];
    let ran = run(once(server.address, &paths, flow.clone())).await;
    let failed = BTreeMap::from([(FailureKind::Status5xx, 1)]);
    assert_eq!(through(&ran, 0), (0, failed.clone()));
    assert_eq!(through(&ran, 1), (0, failed.clone()));
    assert_eq!(through(&ran, 2), (1, BTreeMap::new()));
    assert_eq!(through(&ran, 3), (0, BTreeMap::new()));
    // Nor does a pass go on that lacks what the failed request was to bring: its groups have failed.
    let mut needy = once(server.address, &paths, flow);
    extracts_state(&mut needy.steps[1]);
    let ran = run(needy).await;
    assert_eq!(through(&ran, 0), (0, failed.clone()));
    assert_eq!(through(&ran, 1), (0, failed));
    assert_eq!(through(&ran, 2), (0, BTreeMap::new()));
}
