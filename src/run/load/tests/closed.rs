//! The closed model: users come, think, and are counted once.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_model_sends_what_users_and_think_time_say() {
    let server = serve("127.0.0.1:0", |_| async { answer(200, "i-1/us-east-1a/us-east-1") }).await;
    let mut plan = plan(server.address);
    watch_pulses(&mut plan);
    stage(&mut plan, 200.0, Duration::ZERO, Duration::from_secs(3));
    let ran = run(plan).await;
    // 200 users, 100 ms of think time each: 2,000 requests a second, less what each request takes.
    assert!((5_000..=6_000).contains(&ran.ok()), "{}", ran.ok());
    assert_eq!(ran.ok(), server.requests(), "every request is counted once");
    assert_eq!(ran.intended(), ran.ok());
    assert_eq!(ran.failed(), BTreeMap::new());
    assert_eq!(ran.slices[1].users, 200);
    let connections = ran.slices[2].generator.connections;
    assert!(connections > 0 && connections <= server.connections(), "{connections}");
    let sent: u64 = ran.slices.iter().map(|slice| slice.sent.values().sum::<u64>()).sum();
    assert_eq!(sent, ran.ok());
    let served: u64 = ran
        .slices
        .iter()
        .flat_map(|slice| slice.served.iter())
        .map(|(by, count)| {
            assert_eq!(by.az, "us-east-1a");
            count
        })
        .sum();
    assert_eq!(served, ran.ok());
    let in_pulses: u64 = ran.end.pulses[0].cells.values().map(|cell| u64::from(cell.ok)).sum();
    assert_eq!(in_pulses, ran.ok());
    // Users were spread over their think time from the start: no tenth of the first second stands out.
    let tenth = |from: u32| -> u32 {
        ran.end.pulses[0]
            .cells
            .range(from..from + 10)
            .map(|(_, cell)| cell.ok)
            .sum()
    };
    assert!((100..=300).contains(&tenth(0)), "{}", tenth(0));
    assert!((100..=300).contains(&tenth(20)), "{}", tenth(20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_header_says_is_laid_to_the_place_of_the_address() {
    let server = serve("127.0.0.1:0", |_| async { answer(200, "") }).await;
    let mut plan = plan(server.address);
    stage(&mut plan, 20.0, Duration::ZERO, Duration::from_secs(1));
    let ran = run(plan).await;
    let mut served = BTreeMap::<String, u64>::new();
    for (by, count) in ran.slices.iter().flat_map(|slice| &slice.served) {
        *served.entry(by.to_string()).or_default() += count;
    }
    assert_eq!(served, BTreeMap::from([("/us-east-1a/us-east-1".to_owned(), ran.ok())]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_join_along_the_ramp_in_cloud_time_and_leave_again() {
    let server = serve("127.0.0.1:0", |_| async { answer(200, "") }).await;
    let mut plan = plan(server.address);
    plan.pace = Pace::new(10.0).unwrap();
    stage(&mut plan, 400.0, Duration::from_secs(20), Duration::from_secs(10));
    stage(&mut plan, 100.0, Duration::ZERO, Duration::from_secs(20));
    let ran = run(plan).await;
    let users: Vec<u64> = ran.slices.iter().map(|slice| slice.users).collect();
    assert!((190..=210).contains(&users[0]), "{users:?}");
    assert!((395..=400).contains(&users[1]), "{users:?}");
    assert_eq!(users[2..4], [400, 100], "{users:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_of_a_journey_run_in_order() {
    let server = serve("127.0.0.1:0", |request: Request<Bytes>| async move {
        let expected = ["/first", "/second", "/third"].contains(&request.uri().path());
        answer(if expected { 200 } else { 404 }, "")
    })
    .await;
    let mut plan = plan(server.address);
    plan.steps = vec![
        step("browse", "GET", "/first"),
        step("browse.2", "POST", "/second"),
        step("browse.3", "GET", "/third"),
    ];
    plan.journeys[0].steps = vec![0, 1, 2];
    stage(&mut plan, 20.0, Duration::ZERO, Duration::from_secs(1));
    let ran = run(plan).await;
    let by_step: Vec<u64> = (0..3)
        .map(|index| ran.slices.iter().map(|slice| slice.steps[index].ok).sum())
        .collect();
    assert!(
        by_step[0] > 100 && by_step[0] >= by_step[1] && by_step[1] >= by_step[2],
        "{by_step:?}"
    );
    assert!(by_step[0] - by_step[2] <= 20, "{by_step:?}");
    assert_eq!(ran.failed(), BTreeMap::new());
}

/// Users for a second, each of whose requests is a write that a ledger keeps.
fn orders(address: SocketAddr, users: f64) -> Plan {
    let mut plan = plan(address);
    plan.ledgers.insert(
        "orders".to_owned(),
        LedgerPlan {
            read: text("/orders/"),
            headers: Vec::new(),
            sign: None,
        },
    );
    plan.steps[0] = StepPlan {
        method: "POST".to_owned(),
        body: Some(Body {
            content_type: "text/plain".to_owned(),
            template: Template {
                parts: vec![Part::Unique],
            },
            encoding: Encoding::Plain,
            compress: None,
        }),
        expect: Expect {
            status: Some(201),
            ..Expect::default()
        },
        ledger: Some("orders".to_owned()),
        ..step("order", "POST", "/orders")
    };
    stage(&mut plan, users, Duration::ZERO, Duration::from_secs(1));
    plan
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_is_refused_when_it_is_tried_again_may_have_been_made_before() {
    for (first, unknown) in [(503, true), (429, false)] {
        let asked = Arc::new(AtomicU64::new(0));
        let server = serve("127.0.0.1:0", move |_| {
            let again = asked.fetch_add(1, Ordering::SeqCst) > 0;
            async move { answer(if again { 409 } else { first }, "i-1/us-east-1a/eu-west-1") }
        })
        .await;
        let mut plan = orders(server.address, 1.0);
        plan.client.retries = Some(Retries {
            attempts: 2,
            base: Duration::from_millis(1),
            non_idempotent: true,
            ..Retries::default()
        });
        let ran = run(plan).await;
        let retries: u64 = ran.slices.iter().map(|slice| slice.retries).sum();
        assert_eq!((retries, ran.end.acknowledged.len()), (1, 0), "{first}");
        assert_eq!(ran.end.unknown.len(), usize::from(unknown), "{first}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ledger_keeps_acknowledged_ids_and_marks_the_rest_unknown() {
    let seen = Arc::new(std::sync::Mutex::new(BTreeMap::new()));
    let written = Arc::clone(&seen);
    let server = serve("127.0.0.1:0", move |request: Request<Bytes>| {
        let id = String::from_utf8(request.body().to_vec()).unwrap();
        let mut written = written.lock().unwrap();
        let status = [201, 201, 503, 200, 409][written.len() % 5];
        assert!(written.insert(id, status).is_none(), "an id came twice");
        async move { answer(status, "i-1/us-east-1a/eu-west-1") }
    })
    .await;
    let ran = run(orders(server.address, 30.0)).await;
    let seen = seen.lock().unwrap();
    let of = |wanted: &[u16]| -> Vec<&String> {
        seen.iter()
            .filter(|(_, status)| wanted.contains(status))
            .map(|(id, _)| id)
            .collect()
    };
    let ids = |acks: &[crate::recording::Ack]| {
        let mut ids: Vec<String> = acks.iter().map(|ack| ack.id.clone()).collect();
        ids.sort();
        ids
    };
    assert!(seen.len() > 100);
    assert_eq!(ids(&ran.end.acknowledged).iter().collect::<Vec<_>>(), of(&[201]));
    assert_eq!(
        ids(&ran.end.unknown).iter().collect::<Vec<_>>(),
        of(&[503, 200]),
        "a refusal is an answer"
    );
    assert!(
        ran.end
            .acknowledged
            .iter()
            .all(|ack| ack.region == "eu-west-1" && ack.ledger == "orders")
    );
    assert!(ran.end.unknown.iter().all(|ack| ack.region == "us-east-1"));
    assert_eq!(ran.failed()[&FailureKind::Expectation] as usize, of(&[200]).len());
    assert_eq!(ran.failed()[&FailureKind::Status4xx] as usize, of(&[409]).len());
    assert_eq!(ran.failed()[&FailureKind::Status5xx] as usize, of(&[503]).len());
    let badly = ran.served_badly();
    assert_eq!(badly.len(), 1, "the answers say who failed: {badly:?}");
    assert_eq!(badly["eu-west-1"] as usize, of(&[200, 409, 503]).len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_the_load_at_once() {
    let server = serve("127.0.0.1:0", |_| async { answer(200, "") }).await;
    let mut plan = plan(server.address);
    stage(&mut plan, 10.0, Duration::ZERO, Duration::from_secs(60));
    let (stop, stopped) = watch::channel(false);
    let began = Instant::now();
    let stopping = async {
        tokio::time::sleep(Duration::from_millis(800)).await;
        stop.send_replace(true);
    };
    let (ran, ()) = tokio::join!(run_until(plan, stopped), stopping);
    assert!(began.elapsed() < Duration::from_secs(3));
    assert_eq!(ran.ok(), server.requests());
}
