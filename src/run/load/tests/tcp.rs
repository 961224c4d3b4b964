//! Raw TCP: lines, lengths and ends of connections, from servers that keep to it and from servers that do not.

use futures_util::future::join_all;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::*;

pub(in crate::run::load::tests) type Deed = fn(TcpStream) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// Does `deed` with every connection; where, and how many there were.
pub(in crate::run::load::tests) async fn listen(deed: Deed) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(deed(stream));
        }
    });
    (address, connections)
}

/// Answers each line with `+` and the same line.
pub(in crate::run::load::tests) fn echo(stream: TcpStream) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        while stream.read_line(&mut line).await.is_ok_and(|length| length > 0) {
            let answer = format!("+{line}");
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
            line.clear();
        }
    })
}

pub(in crate::run::load::tests) fn tcp(name: &str, port: Option<u16>, send: &[Part], until: TcpUntil) -> StepPlan {
    StepPlan {
        protocol: Protocol::Tcp(TcpStep {
            port,
            tls: false,
            until,
            close: false,
        }),
        body: Some(Body {
            content_type: String::new(),
            template: Template { parts: send.to_vec() },
            encoding: Encoding::Plain,
            compress: None,
        }),
        ..step(name, "TCP", "")
    }
}

fn said(said: &str) -> Part {
    Part::Text(said.to_owned())
}

pub(in crate::run::load::tests) fn crlf() -> TcpUntil {
    TcpUntil::Delimiter("\r\n".to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tcp_answers_are_checked_and_kept_and_connections_shared_or_of_each_user() {
    let web = serve("127.0.0.1:0", |_| async { answer(200, "") }).await;
    for (used_by, opened) in [
        (ConnectionUse::Pool, 1..=2),
        (ConnectionUse::PerUser, 10..=10),
        (ConnectionUse::PerRequest, 60..=1000),
    ] {
        let (address, connections) = listen(echo).await;
        let mut plan = plan(web.address);
        let mut hello = tcp(
            "hello",
            Some(address.port()),
            &[said("HELLO "), Part::Unique, said("\r\n")],
            crlf(),
        );
        hello.expect.body = vec![Wanted::Contains("+HELLO".to_owned())];
        hello.extract = vec![Extract {
            name: "id".to_owned(),
            from: Source::Regex("HELLO (.+)$".to_owned()),
        }];
        let mut again = tcp(
            "again",
            Some(address.port()),
            &[said("AGAIN "), Part::Variable("id".to_owned()), said("\r\n")],
            crlf(),
        );
        again.expect.body = vec![Wanted::Matches(r"^\+AGAIN [^ ]{8,}$".to_owned())];
        plan.steps = vec![hello, again];
        plan.journeys[0].steps = vec![0, 1];
        plan.client.connections.used_by = used_by;
        plan.client.connections.pool = Some(2);
        stage(&mut plan, 10.0, Duration::ZERO, Duration::from_secs(1));
        let ran = run(plan).await;
        assert_eq!(ran.failed(), BTreeMap::new(), "{used_by:?}");
        assert!(ran.ok() > 60, "{used_by:?}: {}", ran.ok());
        let connections = connections.load(Ordering::SeqCst);
        assert!(opened.contains(&connections), "{used_by:?}: {connections}");
        assert!(ran.quantile(0.5, |step| &step.first_byte) > Duration::ZERO);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tcp_and_http_share_an_address_and_no_connection() {
    let (address, connections) = listen(echo).await;
    let web = serve("127.0.0.1:0", |_| async { answer(200, "") }).await;
    let mut plan = plan(web.address);
    plan.steps = vec![
        step("page", "GET", "/"),
        tcp("line", Some(address.port()), &[said("a\r\n")], crlf()),
    ];
    plan.journeys[0].steps = vec![0, 1];
    plan.client.connections.pool = Some(1);
    stage(&mut plan, 5.0, Duration::ZERO, Duration::from_secs(1));
    let ran = run(plan).await;
    assert_eq!(ran.failed(), BTreeMap::new());
    let pages: u64 = ran.slices.iter().map(|slice| slice.steps[0].ok).sum();
    assert_eq!((pages, web.requests()), (ran.ok() - pages, pages));
    assert!(web.connections() == 1 && connections.load(Ordering::SeqCst) == 1);
}

/// One user whose every request meets `deed`; by what it failed.
async fn meets(deed: Deed, until: TcpUntil) -> (u64, BTreeMap<FailureKind, u64>) {
    let (address, _) = listen(deed).await;
    let mut plan = plan(address);
    plan.steps = vec![tcp("line", None, &[said("a\r\n")], until)];
    plan.client.request_timeout = Duration::from_millis(300);
    plan.client.shards = Some(1);
    plan.journeys[0].think = Wait::Uniform {
        min: Duration::from_millis(20),
        max: Duration::from_millis(20),
    };
    stage(&mut plan, 1.0, Duration::ZERO, Duration::from_secs(1));
    let ran = run(plan).await;
    assert_eq!(ran.dropped(), 0);
    (ran.ok(), ran.failed())
}

/// Reads a line, says `$bytes`, and closes.
macro_rules! says {
    ($bytes:expr) => {
        |mut stream| {
            Box::pin(async move {
                let mut buffer = [0; 64];
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all($bytes.as_ref()).await;
            })
        }
    };
}

/// The same, and the connection stays open.
macro_rules! says_and_stays {
    ($bytes:expr) => {
        |mut stream| {
            Box::pin(async move {
                let mut buffer = [0; 64];
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all($bytes.as_ref()).await;
                let _ = stream.read(&mut buffer).await;
            })
        }
    };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_tcp_servers_fail_each_by_its_name() {
    let cases: [(&str, Deed, TcpUntil, FailureKind); 6] = [
        ("closes silently", says!(""), crlf(), FailureKind::Reset),
        ("closes in between", says!("half"), crlf(), FailureKind::Reset),
        ("says too little", says!("abc"), TcpUntil::Bytes(4), FailureKind::Reset),
        ("says nothing", says_and_stays!(""), crlf(), FailureKind::Timeout),
        (
            "stops talking",
            says_and_stays!("half\r"),
            crlf(),
            FailureKind::BodyTimeout,
        ),
        (
            "promises too much",
            says_and_stays!(b"\xff\xff\xff\xffabc"),
            TcpUntil::Prefix(4),
            FailureKind::Protocol,
        ),
    ];
    let runs = cases.map(|(what, deed, until, kind)| async move { (what, kind, meets(deed, until).await) });
    for (what, kind, (ok, failed)) in join_all(runs).await {
        assert_eq!((ok, failed.keys().collect::<Vec<_>>()), (0, vec![&kind]), "{what}");
        assert!(failed[&kind] >= 2, "{what}: its user goes on: {failed:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tcp_answers_end_with_the_connection_after_bytes_or_where_a_length_says() {
    let cases: [(Deed, TcpUntil); 4] = [
        (says!("all of it"), TcpUntil::Close),
        (says_and_stays!("abcd and what nobody asked for"), TcpUntil::Bytes(4)),
        (says_and_stays!(b"\0\x02ok"), TcpUntil::Prefix(2)),
        (says_and_stays!(""), TcpUntil::Sent),
    ];
    let runs = cases.map(|(deed, until)| async move { (until.clone(), meets(deed, until).await) });
    for (until, (ok, failed)) in join_all(runs).await {
        assert!(ok >= 1 && failed.len() <= 1, "{until:?}: {ok} {failed:?}");
        assert!(failed.values().sum::<u64>() <= ok + 1, "{until:?}: {failed:?}");
        if until == TcpUntil::Close {
            assert!(ok > 20 && failed.is_empty(), "{ok} {failed:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_tcp_answer_stops_at_the_patience_and_fills_no_memory() {
    let (_, failed) = meets(
        |mut stream| {
            Box::pin(async move {
                let piece = vec![b'x'; 1 << 16];
                while stream.write_all(&piece).await.is_ok() {}
            })
        },
        crlf(),
    )
    .await;
    let kinds = [FailureKind::BodyTimeout, FailureKind::Protocol];
    assert!(
        !failed.is_empty() && failed.keys().all(|kind| kinds.contains(kind)),
        "{failed:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tcp_port_where_nobody_listens_refuses() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let web = serve("127.0.0.1:0", |_| async { answer(200, "") }).await;
    let mut plan = plan(web.address);
    plan.steps = vec![tcp("line", Some(port), &[said("a\r\n")], crlf())];
    stage(&mut plan, 2.0, Duration::ZERO, Duration::from_millis(500));
    let ran = run(plan).await;
    assert_eq!(
        (ran.ok(), ran.failed().keys().collect::<Vec<_>>()),
        (0, vec![&FailureKind::Refused])
    );
}
