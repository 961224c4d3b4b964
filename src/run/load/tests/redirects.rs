//! Redirects: those that are followed are not the step's answer, and every other answer is.

use super::*;

fn wanting_etag(address: SocketAddr, path: &str, status: u16) -> Plan {
    let mut plan = plan(address);
    let mut look = step("look", "GET", path);
    look.redirects = 3;
    look.expect = Expect {
        status: Some(status),
        headers: vec![("etag".to_owned(), Wanted::Exists)],
        ..Expect::default()
    };
    plan.steps = vec![look];
    stage(&mut plan, 2.0, Duration::ZERO, Duration::from_millis(500));
    plan
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_followed_is_spared_the_checks_of_its_head() {
    let server = serve("127.0.0.1:0", |request: Request<Bytes>| {
        let answer = Response::builder();
        let answer = match request.uri().path() {
            "/moved" => answer.status(302).header("location", "/here"),
            "/here" => answer.status(200).header("etag", "t-1"),
            _ => answer.status(304),
        };
        async move { answer.body(Full::default()).unwrap() }
    })
    .await;
    let followed = run(wanting_etag(server.address, "/moved", 200)).await;
    assert_eq!(followed.failed(), BTreeMap::new());
    assert!(followed.ok() > 0);
    let own = run(wanting_etag(server.address, "/unchanged", 304)).await;
    assert_eq!(own.ok(), 0);
    assert_eq!(own.failed().keys().collect::<Vec<_>>(), [&FailureKind::Expectation]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_that_is_not_followed_says_where_to_or_how_many() {
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let server = serve("127.0.0.1:0", move |request: Request<Bytes>| {
        let answer = Response::builder().status(302);
        let answer = match request.uri().path() {
            "/away" => answer.header("location", "https://id.test/login?code=hunter2"),
            "/nowhere" => answer,
            _ => answer.header("location", "/round"),
        };
        count.fetch_add(1, Ordering::Relaxed);
        async move { answer.body(Full::default()).unwrap() }
    })
    .await;
    for (path, why) in [
        ("/away", "to https://id.test/login, which is not on the target"),
        ("/round", "more redirects than the 3 that are followed"),
        ("/nowhere", "without a Location to go to"),
    ] {
        asked.store(0, Ordering::Relaxed);
        let ran = run(wanting_etag(server.address, path, 200)).await;
        let times = if path == "/round" { 4 } else { 1 };
        let ended: u64 = ran.failed().values().sum();
        assert_eq!(asked.load(Ordering::Relaxed), times * ended, "{path}");
        assert_eq!(ran.why(), BTreeMap::from([(FailureKind::Redirect, why.to_owned())]));
    }
}
