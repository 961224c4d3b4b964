//! Requests of one pass at the same time: what the server is asked at once, what goes on after it, and what is left of
//! each part.

use std::sync::Mutex;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::flow::{extracts_state, group, milliseconds, once, state_is, through};
use super::*;

/// A request as the server saw it.
#[derive(Clone, Debug)]
struct Asked {
    path: String,
    cookie: String,
    from: Instant,
    to: Instant,
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Asked>>>);

impl Log {
    fn all(&self) -> Vec<Asked> {
        let mut all = self.0.lock().unwrap().clone();
        all.sort_by_key(|asked| asked.from);
        all
    }

    /// Those whose name is this.
    fn of(&self, name: &str) -> Vec<Asked> {
        let is = |asked: &Asked| asked.path.split('/').nth(1) == Some(name);
        self.all().into_iter().filter(is).collect()
    }

    fn one(&self, name: &str) -> Asked {
        let found = self.of(name);
        assert_eq!(found.len(), 1, "{name}: {:?}", self.all());
        found[0].clone()
    }

    fn count(&self, name: &str) -> usize {
        self.of(name).len()
    }

    /// The most that were under way at once.
    fn at_once(&self) -> usize {
        let all = self.all();
        let under_way = |at: Instant| all.iter().filter(|asked| asked.from <= at && at < asked.to).count();
        all.iter().map(|asked| under_way(asked.from)).max().unwrap_or(0)
    }
}

/// Answers `/NAME/MS[/STATUS]` after so many milliseconds: with the name as its state and in two cookies.
async fn site(log: &Log) -> Server {
    let log = log.clone();
    serve("127.0.0.1:0", move |request: Request<Bytes>| {
        let (log, from) = (log.clone(), Instant::now());
        async move {
            let path = request.uri().path().to_owned();
            let parts: Vec<&str> = path.split('/').collect();
            let number = |place: usize| parts.get(place).and_then(|part| part.parse::<u16>().ok());
            tokio::time::sleep(Duration::from_millis(number(2).unwrap_or(0).into())).await;
            let cookie = request.headers().get("cookie");
            log.0.lock().unwrap().push(Asked {
                cookie: cookie.map_or("", |cookie| cookie.to_str().unwrap()).to_owned(),
                from,
                to: Instant::now(),
                path: path.clone(),
            });
            Response::builder()
                .status(number(3).unwrap_or(200))
                .header("state", parts[1])
                .header("set-cookie", format!("last={}", parts[1]))
                .header("set-cookie", format!("{}=1", parts[1]))
                .body(Full::default())
                .unwrap()
        }
    })
    .await
}

fn together(at_most: Option<u32>, parts: &[&[usize]]) -> Flow<Template> {
    let row = |part: &&[usize]| part.iter().map(|place| Flow::Request(*place)).collect();
    Flow::Together {
        parts: parts.iter().map(row).collect(),
        at_most,
    }
}

fn extracts(step: &mut StepPlan, name: &str) {
    extracts_state(step);
    step.extract[0].name = name.to_owned();
}

/// `/NAME/` and these variables.
fn path_of(name: &str, variables: &[&str]) -> Template {
    let mut parts = vec![Part::Text(format!("/{name}/"))];
    for variable in variables {
        parts.push(Part::Variable((*variable).to_owned()));
        parts.push(Part::Text("-".to_owned()));
    }
    Template { parts }
}

impl Ran {
    /// The longest latency of a step, milliseconds.
    fn longest(&self, step: usize) -> u64 {
        let mut all = Hist::working();
        for slice in &self.slices {
            slice.steps[step].latency.add_to(&mut all).unwrap();
        }
        all.max() / 1_000
    }
}

fn apart(one: Instant, other: Instant) -> Duration {
    one.max(other) - one.min(other)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_are_sent_at_once_and_the_pass_goes_on_when_the_last_has_ended() {
    let log = Log::default();
    let server = site(&log).await;
    let paths = ["/page/20", "/css/100", "/js/250", "/me/20", "/cart/20", "/after/0"];
    let flow = vec![
        Flow::Request(0),
        together(None, &[&[1], &[2], &[3, 4]]),
        Flow::Request(5),
    ];
    let ran = run(once(server.address, &paths, flow)).await;
    assert_eq!((ran.ok(), ran.intended(), ran.dropped()), (6, 6, 0));
    assert_eq!(ran.failed(), BTreeMap::new());
    let [page, css, js, me, cart, after] = ["page", "css", "js", "me", "cart", "after"].map(|name| log.one(name));
    let soon = Duration::from_millis(90);
    for part in [&css, &js, &me] {
        assert!(
            part.from >= page.to && apart(part.from, page.to) < soon,
            "{:?}",
            log.all()
        );
    }
    assert!(cart.from >= me.to && cart.to < js.to, "{:?}", log.all());
    assert!(
        after.from >= js.to && apart(after.from, js.to) < soon,
        "{:?}",
        log.all()
    );
    // Each request has its own times; nobody waits for the others.
    for (step, from, to) in [(1, 100, 180), (2, 250, 330), (3, 20, 80), (4, 20, 80), (5, 0, 60)] {
        let took = ran.longest(step);
        assert!((from..to).contains(&took), "{step}: {took} ms");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_most_so_many_go_on_at_once_and_the_next_is_due_when_one_has_ended() {
    for (at_most, once_at_most) in [(Some(2), 2), (Some(1), 1), (None, 6)] {
        let log = Log::default();
        let server = site(&log).await;
        let paths = ["/a/100", "/b/60", "/c/60", "/d/60", "/e/60", "/f/60", "/after/0"];
        let parts: [&[usize]; 6] = [&[0], &[1], &[2], &[3], &[4], &[5]];
        let flow = vec![together(at_most, &parts), Flow::Request(6)];
        let ran = run(once(server.address, &paths, flow)).await;
        assert_eq!((ran.ok(), ran.intended()), (7, 7));
        assert_eq!(log.at_once(), once_at_most);
        if at_most == Some(2) {
            assert!(log.one("c").from >= log.one("b").to, "{:?}", log.all());
            assert!(log.one("c").from < log.one("a").to, "{:?}", log.all());
        }
        let last = ["a", "b", "c", "d", "e", "f"].map(|name| log.one(name).to);
        assert!(last.iter().all(|to| log.one("after").from >= *to));
        for step in 1..6 {
            let took = ran.longest(step);
            assert!(took < 100, "the wait for a place is no latency: {took} ms");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_fails_counts_and_the_pass_ends_where_it_lacks_what_was_to_come() {
    let paths = ["/bad/20/503", "/slow/150", "/other/20", "/next/0", "/after/0"];
    // Whether something is extracted of what fails; at most so many at once; who is asked besides.
    let cases: [(bool, Option<u32>, &[&str]); 4] = [
        (false, None, &["slow", "other", "next", "after"]),
        (true, None, &["slow", "other", "next"]),
        // What was not begun is begun no more, but what was is waited for and goes its way.
        (true, Some(2), &["slow"]),
        (true, Some(1), &[]),
    ];
    for (keeps, at_most, others) in cases {
        let log = Log::default();
        let server = site(&log).await;
        let flow = vec![together(at_most, &[&[0], &[1], &[2, 3]]), Flow::Request(4)];
        let mut plan = once(server.address, &paths, flow);
        if keeps {
            extracts_state(&mut plan.steps[0]);
        }
        let ran = run(plan).await;
        assert_eq!(ran.failed(), BTreeMap::from([(FailureKind::Status5xx, 1)]));
        assert_eq!((ran.ok(), ran.dropped()), (others.len() as u64, 0));
        for name in ["slow", "other", "next", "after"] {
            let asked = usize::from(others.contains(&name));
            assert_eq!(log.count(name), asked, "{keeps} {at_most:?} {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_have_their_own_patience_and_stand_in_line_for_their_own_connections() {
    let log = Log::default();
    let server = site(&log).await;
    let paths = ["/slow/1500", "/a/150", "/b/150", "/c/150", "/after/0"];
    let flow = vec![together(None, &[&[0], &[1], &[2], &[3]]), Flow::Request(4)];
    let mut plan = once(server.address, &paths, flow);
    plan.client.connections.pool = Some(2);
    plan.steps[0].timeout = Some(Duration::from_millis(400));
    let ran = run(plan).await;
    assert_eq!(ran.failed(), BTreeMap::from([(FailureKind::Timeout, 1)]));
    assert_eq!((ran.ok(), log.count("after")), (4, 1));
    let [a, b, c] = ["a", "b", "c"].map(|name| log.one(name));
    assert!(b.from >= a.to && c.from >= b.to, "{:?}", log.all());
    // Who waits for a connection of the pool does so after it was due.
    assert!((300..380).contains(&ran.longest(2)), "{}", ran.longest(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_parts_extract_and_their_cookies_are_known_afterwards_in_the_order_of_the_steps() {
    let log = Log::default();
    let server = site(&log).await;
    let paths = ["/page/0", "/a/150", "/b/40", "/c/0", "/d/0", "/after/0"];
    let flow = vec![
        Flow::Request(0),
        together(None, &[&[1], &[2], &[3, 4]]),
        Flow::Request(5),
    ];
    let mut plan = once(server.address, &paths, flow);
    plan.journeys[0].cookies = true;
    for (step, name) in [(0, "page"), (1, "a"), (2, "b"), (3, "c")] {
        extracts(&mut plan.steps[step], name);
    }
    plan.steps[4].path = path_of("d", &["page", "a", "b", "c"]);
    plan.steps[5].path = path_of("after", &["page", "a", "b", "c"]);
    let ran = run(plan).await;
    assert_eq!((ran.ok(), ran.failed()), (6, BTreeMap::new()));
    assert_eq!(log.one("d").path, "/d/page---c-", "no part knows what others extract");
    assert_eq!(log.one("after").path, "/after/page-a-b-c-");
    for name in ["a", "b", "c"] {
        assert_eq!(log.one(name).cookie, "last=page; page=1", "{name}");
    }
    assert_eq!(log.one("d").cookie, "page=1; last=c; c=1");
    // The answer to `a` came last, but stands first.
    assert_eq!(log.one("after").cookie, "page=1; a=1; b=1; c=1; last=d; d=1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_around_and_within_are_timed_and_fail_with_what_is_in_them() {
    for bad in [false, true] {
        let log = Log::default();
        let server = site(&log).await;
        let last = if bad { "/d/100/500" } else { "/d/100" };
        let paths = ["/page/100", "/a/200", "/b/400", "/c/100", last, "/after/100"];
        let inner = group("inner", vec![Flow::Request(3), Flow::Request(4)]);
        let parts = Flow::Together {
            parts: vec![vec![Flow::Request(1)], vec![Flow::Request(2)], vec![inner]],
            at_most: None,
        };
        let outer = group("outer", vec![parts]);
        let all = group("all", vec![Flow::Request(0), outer, Flow::Request(5)]);
        let mut plan = once(server.address, &paths, vec![all]);
        // The pass begins in the middle of the first second.
        stage(&mut plan, 0.0, Duration::ZERO, Duration::from_secs(1));
        let ran = run(plan).await;
        // One after another it would be 1,000 ms in all, and 800 of parts.
        for (number, from, to) in [(0, 600, 950), (1, 400, 750), (2, 200, 390)] {
            let failed = BTreeMap::from_iter(bad.then_some((FailureKind::Status5xx, 1)));
            assert_eq!(through(&ran, number), (u64::from(!bad), failed), "{number}");
            let took = ran
                .slices
                .iter()
                .filter_map(|slice| slice.groups.get(number))
                .fold(0, |most, group| {
                    let mut all = Hist::working();
                    let times = if bad { &group.latency_failed } else { &group.latency };
                    times.add_to(&mut all).unwrap();
                    most.max(all.max() / 1_000)
                });
            assert!((from..to).contains(&took), "{bad} {number}: {took} ms");
        }
    }
}

/// One user who makes so many passes.
fn by_user(plan: &mut Plan, passes: u32) {
    plan.model = LoadModel::Users;
    plan.loads = vec![LoadPlan {
        name: "user".to_owned(),
        journeys: vec![0],
        model: LoadModel::Users,
        spacing: Spacing::Even,
        stages: plan.stages.clone(),
        iterations: Some(Iterations::Each(passes)),
    }];
    plan.journeys[0].think = milliseconds(20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_opens_further_connections_of_its_own_which_last_as_long_as_the_pass() {
    for (at_most, each) in [(Some(3), 3), (Some(1), 1), (None, 4)] {
        for user in [false, true] {
            let log = Log::default();
            let server = site(&log).await;
            let paths = ["/page/0", "/a/30", "/b/30", "/c/30", "/d/30", "/after/0"];
            let parts: [&[usize]; 4] = [&[1], &[2], &[3], &[4]];
            let twice = Flow::Repeat {
                min: 2,
                max: 2,
                steps: vec![together(at_most, &parts)],
            };
            let flow = vec![Flow::Request(0), twice, Flow::Request(5)];
            let mut plan = once(server.address, &paths, flow);
            plan.client.connections.used_by = ConnectionUse::PerUser;
            let passes = if user { 3 } else { 1 };
            if user {
                by_user(&mut plan, passes);
            }
            let ran = run(plan).await;
            assert_eq!((ran.ok(), ran.failed()), (u64::from(passes) * 10, BTreeMap::new()));
            assert_eq!(log.at_once(), each as usize);
            // One is kept from pass to pass.
            assert_eq!(
                server.connections(),
                1 + u64::from(passes) * (each - 1),
                "{at_most:?} {user}"
            );
            let open = ran.slices.iter().map(|slice| slice.generator.connections);
            assert!(open.max() <= Some(each));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_is_tried_again_as_any_request_and_the_others_do_not_wait_for_it() {
    let times = Arc::new(AtomicU64::new(0));
    let log = Log::default();
    let (seen, asked) = (Arc::clone(&times), log.clone());
    let server = serve("127.0.0.1:0", move |request: Request<Bytes>| {
        let now = Instant::now();
        let path = request.uri().path().to_owned();
        let fails = path == "/flaky" && seen.fetch_add(1, Ordering::SeqCst) == 0;
        let moved = path == "/moved";
        asked.0.lock().unwrap().push(Asked {
            path,
            cookie: String::new(),
            from: now,
            to: now,
        });
        async move {
            let status = if fails { 503 } else { 200 };
            let answer = Response::builder().status(if moved { 302 } else { status });
            answer.header("location", "/there").body(Full::default()).unwrap()
        }
    })
    .await;
    let paths = ["/flaky", "/fine", "/moved", "/after"];
    let flow = vec![together(None, &[&[0], &[1], &[2]]), Flow::Request(3)];
    let mut plan = once(server.address, &paths, flow);
    plan.steps[2].redirects = 1;
    plan.client.retries = Some(Retries {
        attempts: 2,
        base: Duration::from_millis(200),
        jitter: false,
        ..Retries::default()
    });
    let ran = run(plan).await;
    assert_eq!((ran.ok(), ran.intended(), ran.failed()), (4, 4, BTreeMap::new()));
    assert_eq!(ran.slices.iter().map(|slice| slice.retries).sum::<u64>(), 1);
    let flaky = log.of("flaky");
    let waited = Duration::from_millis(195);
    assert!(flaky.len() == 2 && apart(flaky[0].from, flaky[1].from) >= waited);
    assert!(log.one("after").from >= flaky[1].to, "{:?}", log.all());
    assert!(apart(log.one("there").from, log.one("fine").from) < waited);
    assert!(ran.longest(1) < 100 && ran.longest(0) >= 195);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_together_ends_with_the_run_and_nothing_more_is_begun() {
    for cut in [false, true] {
        let log = Log::default();
        let server = site(&log).await;
        let paths = ["/before/0", "/slow/1500", "/first/0", "/never/0", "/late/0", "/after/0"];
        let waits = vec![Flow::Request(2), Flow::Pause(milliseconds(60_000)), Flow::Request(3)];
        let parts = Flow::Together {
            parts: vec![vec![Flow::Request(1)], waits, vec![Flow::Request(4)]],
            at_most: Some(2),
        };
        let flow = vec![Flow::Request(0), group("all", vec![parts]), Flow::Request(5)];
        let mut plan = once(server.address, &paths, flow);
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
        let slow = log.count("slow");
        assert!(slow >= 5 && log.count("first") == slow, "{slow}");
        for name in ["never", "late", "after"] {
            assert_eq!(log.count(name), 0, "{name}");
        }
        assert_eq!((ran.dropped(), ran.failed()), (0, BTreeMap::new()));
        assert_eq!(ran.ok() as usize, log.all().len());
        assert_eq!(
            through(&ran, 0),
            (0, BTreeMap::new()),
            "what the run cuts off counts as nothing"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_seed_makes_the_same_choices_in_every_part() {
    let log = Log::default();
    let server = site(&log).await;
    let mut counts = Vec::new();
    for seed in [42, 42, 43] {
        let paths = ["/a", "/b", "/c"];
        let random = |name: &str| Template {
            parts: vec![Part::Text(format!("/{name}/0/200/")), Part::Random(1, 1_000_000_000)],
        };
        let chance = Flow::Chance {
            share: 0.5,
            steps: vec![Flow::Request(0)],
        };
        let some = Flow::Repeat {
            min: 1,
            max: 3,
            steps: vec![Flow::Request(1)],
        };
        let parts = Flow::Together {
            parts: vec![vec![chance], vec![some]],
            at_most: Some(1),
        };
        let mut plan = once(server.address, &paths, vec![parts, Flow::Request(2)]);
        for (step, name) in ["a", "b", "c"].iter().enumerate() {
            plan.steps[step].path = random(name);
        }
        plan.seed = seed;
        plan.stages[0].level = 100.0;
        // Those of the last instant would be cut off.
        stage(&mut plan, 0.0, Duration::ZERO, Duration::from_secs(1));
        log.0.lock().unwrap().clear();
        run(plan).await;
        assert_eq!(log.count("c"), 100);
        assert!((30..70).contains(&log.count("a")), "{}", log.count("a"));
        assert!((150..250).contains(&log.count("b")), "{}", log.count("b"));
        let mut paths: Vec<String> = log.all().into_iter().map(|asked| asked.path).collect();
        paths.sort();
        let numbers: std::collections::BTreeSet<&str> =
            paths.iter().filter_map(|path| path.rsplit('/').next()).collect();
        assert_eq!(numbers.len(), paths.len(), "no two requests draw from the same choices");
        counts.push(paths);
    }
    assert_eq!(counts[0], counts[1]);
    assert_ne!(counts[0], counts[2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_that_send_nothing_take_no_time_and_no_room() {
    let log = Log::default();
    let server = site(&log).await;
    let never = || Flow::If {
        condition: state_is("set"),
        steps: vec![Flow::Request(0)],
        otherwise: Vec::new(),
    };
    let nothing = Flow::Together {
        parts: vec![vec![never()], Vec::new(), vec![never()]],
        at_most: Some(2),
    };
    // So often within one turn that a step into each would overflow the stack.
    let often = Flow::Repeat {
        min: 30_000,
        max: 30_000,
        steps: vec![nothing.clone()],
    };
    let mut plan = once(server.address, &["/a/0", "/b/0"], vec![often, Flow::Request(1)]);
    extracts_state(&mut plan.steps[0]);
    let ran = run(plan).await;
    assert_eq!((log.count("a"), log.count("b"), ran.ok()), (0, 1, 1));
    // Nor does a user spin whose passes send nothing.
    let mut plan = once(server.address, &["/a/0"], vec![nothing]);
    extracts_state(&mut plan.steps[0]);
    plan.model = LoadModel::Users;
    plan.journeys[0].think = Wait::default();
    let ran = run(plan).await;
    assert_eq!((log.count("a"), ran.intended()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_that_are_not_sent_are_counted_and_end_the_pass_that_needs_them() {
    for keeps in [false, true] {
        let log = Log::default();
        let server = site(&log).await;
        let paths = ["/a/0", "/b/0", "/c/0", "/after/0"];
        let flow = vec![together(None, &[&[0], &[1], &[2]]), Flow::Request(3)];
        let mut plan = once(server.address, &paths, flow);
        if keeps {
            for (step, name) in ["a", "b", "c"].iter().enumerate() {
                extracts(&mut plan.steps[step], name);
            }
            plan.steps[3].path = path_of("after", &["a", "b", "c"]);
        }
        // Two may be sent at once, so that the third part never is.
        plan.client.rate_limit = Some(40.0);
        plan.stages[0].level = 10.0;
        let ran = run(plan).await;
        assert!(ran.dropped() >= 9, "{}", ran.dropped());
        assert_eq!(ran.intended(), ran.ok() + ran.dropped());
        let whole = log.of("after").iter().all(|asked| asked.path == "/after/a-b-c-");
        assert!(!keeps || whole, "{:?}", log.all());
        assert!(!keeps || log.count("after") < 3, "{:?}", log.all());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_together_is_repeated_chosen_and_left_out_like_any_step() {
    let log = Log::default();
    let server = site(&log).await;
    let paths = ["/ask/0", "/a/20", "/b/20", "/c/0", "/d/0"];
    let flow = vec![
        Flow::Request(0),
        Flow::Repeat {
            min: 3,
            max: 3,
            steps: vec![together(None, &[&[1], &[2]]), Flow::Request(3)],
        },
        Flow::If {
            condition: state_is("ask"),
            steps: vec![together(None, &[&[4], &[4]])],
            otherwise: vec![together(None, &[&[1], &[2]])],
        },
        Flow::Until {
            condition: state_is("never"),
            at_most: 2,
            pause: Some(milliseconds(20)),
            steps: vec![together(Some(1), &[&[4]])],
        },
    ];
    let mut plan = once(server.address, &paths, flow);
    extracts_state(&mut plan.steps[0]);
    let ran = run(plan).await;
    assert_eq!(ran.failed(), BTreeMap::new());
    let counts = ["ask", "a", "b", "c", "d"].map(|name| log.count(name));
    assert_eq!(counts, [1, 3, 3, 3, 4]);
    let (all, rounds) = (log.all(), log.of("c"));
    let before = |round: &Asked| all.iter().filter(|asked| asked.to <= round.from).count();
    assert_eq!(rounds.iter().map(before).collect::<Vec<_>>(), [3, 6, 9]);
}

/// Answers, refuses, stands still, stops in the middle of a head or hangs up, in turn.
async fn moody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicU64::new(0));
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let asked = Arc::clone(&asked);
            tokio::spawn(async move {
                let mut request = [0; 4096];
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    let head = match asked.fetch_add(1, Ordering::SeqCst) % 13 {
                        0 => return,
                        1 => "503 Oh\r\n",
                        2 => "200 OK\r\nstate: hal",
                        3 => {
                            tokio::time::sleep(Duration::from_millis(400)).await;
                            return;
                        }
                        4 => "302 Moved\r\nlocation: /there\r\n",
                        5 => "404 No\r\n",
                        _ => "200 OK\r\nstate: ask\r\nset-cookie: a=1\r\n",
                    };
                    let whole = head.ends_with('\n');
                    let answer = format!("HTTP/1.1 {head}");
                    let end = if whole { "content-length: 0\r\n\r\n" } else { "" };
                    if stream.write_all((answer + end).as_bytes()).await.is_err() || !whole {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_becomes_of_them_every_request_is_accounted_for_and_every_pass_ends() {
    for (connections, pool, cut) in [
        (ConnectionUse::Pool, 12, false),
        (ConnectionUse::Pool, 500, true),
        (ConnectionUse::PerUser, 1, false),
        (ConnectionUse::PerRequest, 40, true),
    ] {
        let paths = ["/a", "/b", "/c", "/d", "/e"];
        let waits = vec![
            Flow::Request(2),
            Flow::Pause(milliseconds(5)),
            group("within", vec![Flow::Request(3)]),
        ];
        let chance = Flow::Chance {
            share: 0.5,
            steps: vec![Flow::Request(1)],
        };
        let parts = Flow::Together {
            parts: vec![vec![Flow::Request(0)], vec![chance], waits, vec![Flow::Request(1)]],
            at_most: Some(3),
        };
        let rounds = Flow::Repeat {
            min: 1,
            max: 3,
            steps: vec![parts, Flow::Request(4)],
        };
        let mut plan = once(moody().await, &paths, vec![group("around", vec![rounds])]);
        plan.journeys[0].cookies = true;
        plan.journeys[0].think = milliseconds(2);
        extracts(&mut plan.steps[2], "third");
        plan.steps[0].redirects = 2;
        plan.client.connections.used_by = connections;
        plan.client.connections.pool = Some(pool);
        plan.client.request_timeout = Duration::from_millis(200);
        plan.client.rate_limit = Some(3_000.0);
        plan.client.retries = Some(Retries {
            attempts: 2,
            base: Duration::from_millis(10),
            ..Retries::default()
        });
        plan.model = LoadModel::Users;
        plan.stages[0].level = 60.0;
        // Two thirds of the users are to leave in the middle of it.
        stage(&mut plan, 20.0, Duration::ZERO, Duration::from_secs(1));
        let (stop, stopped) = watch::channel(false);
        let stopping = async {
            if cut {
                tokio::time::sleep(Duration::from_millis(1_700)).await;
                stop.send_replace(true);
            }
        };
        let (ran, ()) = tokio::join!(run_until(plan, stopped), stopping);
        let failed: u64 = ran.failed().values().sum();
        assert_eq!(ran.intended(), ran.ok() + failed + ran.dropped(), "{connections:?}");
        assert!(ran.ok() > 300 && failed > 100, "{connections:?}: {} {failed}", ran.ok());
        assert!(through(&ran, 0).0 + through(&ran, 1).0 > 0);
    }
}
