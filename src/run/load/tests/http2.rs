//! HTTP/2: streams that share connections, and servers that refuse, reset, leave or speak something else.

use h2::Reason;
use h2::server::SendResponse;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

/// What a server does with a request: its number on the connection and in all, its head and body.
type Deed = fn(u64, u64, http::request::Parts, Bytes, SendResponse<Bytes>);

struct Http2 {
    address: SocketAddr,
    connections: Arc<AtomicU64>,
    requests: Arc<AtomicU64>,
    /// Most requests that one connection had open at once.
    at_once: Arc<AtomicU64>,
}

/// Leaves every connection, gracefully, after so many requests.
async fn listen(leaves_after: u64, streams_max: u32, deed: Deed) -> Http2 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Http2 {
        address: listener.local_addr().unwrap(),
        connections: Arc::default(),
        requests: Arc::default(),
        at_once: Arc::default(),
    };
    let (connections, requests, at_once) = (
        Arc::clone(&server.connections),
        Arc::clone(&server.requests),
        Arc::clone(&server.at_once),
    );
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            connections.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(talk(
                stream,
                leaves_after,
                streams_max,
                deed,
                requests.clone(),
                at_once.clone(),
            ));
        }
    });
    server
}

async fn talk(
    stream: TcpStream,
    leaves_after: u64,
    streams_max: u32,
    deed: Deed,
    requests: Arc<AtomicU64>,
    at_once: Arc<AtomicU64>,
) {
    let mut builder = h2::server::Builder::new();
    let Ok(mut connection) = builder
        .max_concurrent_streams(streams_max)
        .handshake::<_, Bytes>(stream)
        .await
    else {
        return;
    };
    let open = Arc::new(AtomicU64::new(0));
    let mut here = 0;
    while let Some(Ok((request, answer))) = connection.accept().await {
        here += 1;
        let all = requests.fetch_add(1, Ordering::SeqCst) + 1;
        at_once.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let (open, number) = (Arc::clone(&open), here);
        tokio::spawn(async move {
            let (head, mut stream) = request.into_parts();
            let mut body = Vec::new();
            while let Some(Ok(piece)) = stream.data().await {
                body.extend_from_slice(&piece);
                let _ = stream.flow_control().release_capacity(piece.len());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            open.fetch_sub(1, Ordering::SeqCst);
            deed(number, all, head, body.into(), answer);
        });
        if here == leaves_after {
            connection.graceful_shutdown();
        }
    }
}

fn fine(_: u64, _: u64, head: http::request::Parts, body: Bytes, mut answer: SendResponse<Bytes>) {
    let status = if head.headers.contains_key("host") { 400 } else { 200 };
    let response = Response::builder()
        .status(status)
        .header("x-length", body.len())
        .body(())
        .unwrap();
    if let Ok(mut stream) = answer.send_response(response, head.method == "HEAD")
        && head.method != "HEAD"
    {
        let _ = stream.send_data(Bytes::from(format!("got {}", body.len())), true);
    }
}

fn plan_of(server: &Http2, connections: usize, streams: usize, users: f64) -> Plan {
    let mut plan = plan(server.address);
    plan.client.shards = Some(1);
    plan.client.connections.pool = Some(connections);
    plan.client.connections.http2 = Some(streams);
    plan.client.request_timeout = Duration::from_secs(2);
    stage(&mut plan, users, Duration::ZERO, Duration::from_secs(1));
    plan
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_streams_share_connections_up_to_what_both_sides_allow() {
    for (connections, streams, streams_max, opened, at_once) in
        [(2, 10, 100, 2, 10), (20, 1, 100, 20, 1), (1, 20, 3, 1, 3)]
    {
        let server = listen(u64::MAX, streams_max, fine).await;
        let mut plan = plan_of(&server, connections, streams, 20.0);
        plan.journeys[0].think = Wait::constant(Duration::ZERO);
        let ran = run(plan).await;
        assert!(ran.failed().is_empty(), "{:?}", ran.failed());
        assert!(
            ran.ok() > 20 && ran.ok() == server.requests.load(Ordering::SeqCst),
            "{}",
            ran.ok()
        );
        assert_eq!(server.connections.load(Ordering::SeqCst), opened);
        assert_eq!(server.at_once.load(Ordering::SeqCst), at_once);
        let open = ran.slices.iter().map(|slice| slice.generator.connections).max();
        assert_eq!(open, Some(opened), "connections are counted, not streams");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_requests_of_a_pass_at_the_same_time_share_its_connection() {
    let server = listen(u64::MAX, 100, fine).await;
    let mut plan = plan_of(&server, 1, 10, 1.0);
    plan.journeys[0].flow = vec![Flow::Together {
        parts: vec![vec![Flow::Request(0)]; 8],
        at_most: Some(6),
    }];
    let ran = run(plan).await;
    assert!(ran.failed().is_empty(), "{:?}", ran.failed());
    assert!(ran.ok() > 20, "{}", ran.ok());
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    assert_eq!(server.at_once.load(Ordering::SeqCst), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_bodies_larger_than_every_window_go_out_whole_and_heads_have_none() {
    let server = listen(u64::MAX, 100, fine).await;
    let mut plan = plan_of(&server, 1, 4, 4.0);
    plan.steps = vec![step("upload", "POST", "/"), step("head", "HEAD", "/")];
    plan.steps[0].body = Some(Body {
        content_type: "text/plain".to_owned(),
        template: text(&"x".repeat(300_000)),
        encoding: Encoding::Plain,
        compress: None,
    });
    plan.steps[0].expect.status = Some(200);
    plan.journeys[0].steps = vec![0, 1];
    let ran = run(plan).await;
    assert!(ran.failed().is_empty(), "{:?}", ran.failed());
    assert!(ran.ok() > 8, "{}", ran.ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_servers_that_leave_gracefully_lose_no_request() {
    let server = listen(5, 100, fine).await;
    let ran = run(plan_of(&server, 2, 4, 8.0)).await;
    assert!(ran.failed().is_empty(), "{:?}", ran.failed());
    assert!(server.connections.load(Ordering::SeqCst) > 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_http2_resets_end_their_stream_and_refused_ones_are_sent_again() {
    let reset = listen(u64::MAX, 100, |_, _, _, _, mut answer| {
        answer.send_reset(Reason::INTERNAL_ERROR)
    })
    .await;
    let ran = run(plan_of(&reset, 1, 4, 4.0)).await;
    let kinds: Vec<_> = ran.failed().into_keys().collect();
    assert_eq!((ran.ok(), kinds), (0, vec![FailureKind::Reset]));

    let refusing = listen(u64::MAX, 100, |here, all, head, body, mut answer| {
        // The very first one too: a connection need not have carried anything for that.
        match here == 1 || all.is_multiple_of(9) {
            true => answer.send_reset(Reason::REFUSED_STREAM),
            false => fine(here, all, head, body, answer),
        }
    })
    .await;
    let ran = run(plan_of(&refusing, 1, 4, 4.0)).await;
    assert!(ran.failed().is_empty(), "{:?}", ran.failed());
    assert!(
        ran.ok() < refusing.requests.load(Ordering::SeqCst),
        "some were sent twice"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_http2_silence_and_other_protocols_are_named() {
    let silent = listen(u64::MAX, 100, |_, _, _, _, answer| {
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(60)).await;
            drop(answer);
        });
    })
    .await;
    let mut plan_of_silent = plan_of(&silent, 1, 4, 4.0);
    plan_of_silent.client.request_timeout = Duration::from_millis(300);
    let ran = run(plan_of_silent).await;
    assert_eq!(ran.failed().into_keys().collect::<Vec<_>>(), [FailureKind::Timeout]);

    let garbage = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = garbage.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = garbage.accept().await.unwrap();
            tokio::spawn(async move {
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            });
        }
    });
    let ran = run(plan_of(&Http2 { address, ..silent }, 1, 4, 4.0)).await;
    assert_eq!(ran.ok(), 0);
    let kinds: Vec<_> = ran.failed().into_keys().collect();
    assert!(
        kinds
            .iter()
            .all(|kind| matches!(kind, FailureKind::Protocol | FailureKind::Reset))
            && !kinds.is_empty(),
        "{kinds:?}"
    );
}

/// Signs in with a cookie and a redirect, and is overloaded now and then: hardly ever six times in a row for one user.
fn shop(_: u64, all: u64, head: http::request::Parts, _: Bytes, mut answer: SendResponse<Bytes>) {
    let knows = head.headers.get("cookie").is_some_and(|cookie| cookie == "sid=7");
    let answered = Response::builder();
    let answered = match (head.uri.path(), knows) {
        ("/login", _) => answered
            .status(303)
            .header("location", "/account")
            .header("set-cookie", "sid=7; Path=/"),
        ("/account", true) if all.is_multiple_of(9) => answered.status(503),
        ("/account", true) => answered.status(200),
        _ => answered.status(401),
    };
    let _ = answer.send_response(answered.body(()).unwrap(), true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_has_cookies_redirects_retries_and_an_age_as_http1_has() {
    let server = listen(u64::MAX, 100, shop).await;
    let mut plan = plan_of(&server, 1, 4, 4.0);
    plan.journeys[0].cookies = true;
    plan.steps[0].path = text("/login");
    plan.steps[0].redirects = 3;
    plan.client.retries = Some(Retries {
        attempts: 5,
        base: Duration::from_millis(1),
        ..Retries::default()
    });
    plan.client.connections.max_age = Some(Duration::from_millis(200));
    let ran = run(plan).await;
    assert!(ran.failed().is_empty(), "{:?}", ran.failed());
    let asked = server.requests.load(Ordering::SeqCst);
    let retries: u64 = ran.slices.iter().map(|slice| slice.retries).sum();
    assert!(
        retries > 0 && asked >= ran.ok() * 2 + retries,
        "{asked} {retries} {}",
        ran.ok()
    );
    let connections = server.connections.load(Ordering::SeqCst);
    assert!(
        (3..=20).contains(&connections),
        "each is left after 200 ms: {connections}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raw_tcp_beside_http2_has_connections_of_its_own_as_many_as_the_client_keeps() {
    let server = listen(u64::MAX, 100, fine).await;
    let (lines, connections) = tcp::listen(tcp::echo).await;
    let mut plan = plan_of(&server, 2, 10, 20.0);
    let mut line = tcp::tcp(
        "line",
        Some(lines.port()),
        &[Part::Text("ping\r\n".to_owned())],
        tcp::crlf(),
    );
    line.expect.body = vec![Wanted::Is("+ping".to_owned())];
    plan.steps.push(line);
    plan.journeys[0].steps = vec![0, 1];
    let ran = run(plan).await;
    assert!(ran.failed().is_empty(), "{:?}", ran.failed());
    let of_step = |step: usize| ran.slices.iter().map(|slice| slice.steps[step].ok).sum::<u64>();
    assert!(of_step(0) > 20 && of_step(1) > 20, "{}, {}", of_step(0), of_step(1));
    assert_eq!(connections.load(Ordering::SeqCst), 2, "streams are of HTTP/2");
}
