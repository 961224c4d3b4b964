//! What lies between a user and an answer: names, connections, TLS, redirects.

use tokio::net::UdpSocket;
use tokio_rustls::TlsAcceptor;

use super::super::client::full_backlog;
use super::super::dns::{Zone, dns, named, reply};
use super::super::tls::Authority;
use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_ends_and_resets_are_resets() {
    let resets_after = |bytes: &'static str| {
        misdeed(move |mut stream| async move {
            let _ = stream.write_all(bytes.as_bytes()).await;
            // Read before it is reset, or the reset takes it along.
            tokio::time::sleep(Duration::from_millis(5)).await;
            reset(&stream);
        })
    };
    let half_closes_after = |bytes: &'static str| {
        misdeed(move |mut stream| async move {
            let _ = stream.write_all(bytes.as_bytes()).await;
            let _ = stream.shutdown().await;
            swallow(&mut stream).await;
        })
    };
    const HEAD: &str = "HTTP/1.1 200 OK\r\nconten";
    const BODY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf";
    const CHUNK: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhe";
    fail(&[
        ("ends before", FailureKind::Reset, says("")),
        ("ends in the head", FailureKind::Reset, says(HEAD)),
        ("ends in the body", FailureKind::Reset, says(BODY)),
        ("ends in a chunk", FailureKind::Reset, says(CHUNK)),
        ("reset before", FailureKind::Reset, resets_after("")),
        ("reset in the head", FailureKind::Reset, resets_after(HEAD)),
        ("reset in the body", FailureKind::Reset, resets_after(BODY)),
        (
            "reset before an end without length",
            FailureKind::Reset,
            resets_after("HTTP/1.1 200 OK\r\n\r\nuntil"),
        ),
        ("half closed before", FailureKind::Reset, half_closes_after("")),
        ("half closed in the head", FailureKind::Reset, half_closes_after(HEAD)),
        ("half closed in the body", FailureKind::Reset, half_closes_after(BODY)),
    ])
    .await;
}

/// A server that answers the first request of each connection for as long as `well` says, and closes at every other one:
/// what came of it, and how many requests it read.
async fn closing(method: &str, well: fn(u64) -> bool) -> (Met, u64) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plan = one_user(listener.local_addr().unwrap());
    let asked = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&asked);
    tokio::spawn(async move {
        for number in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let asked = Arc::clone(&counted);
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                for first in [true, false] {
                    if !stream.read(&mut buffer).await.is_ok_and(|length| length > 0) {
                        return;
                    }
                    asked.fetch_add(1, Ordering::SeqCst);
                    if !first || !well(number) {
                        return;
                    }
                    let _ = stream.write_all(GOOD).await;
                }
            });
        }
    });
    let mut plan = plan;
    plan.steps[0].method = method.to_owned();
    let met = Met::by(&run(plan).await);
    (met, asked.load(Ordering::SeqCst))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_closes_of_a_reused_connection_are_tried_once_more_where_that_changes_nothing_and_counted() {
    let (met, asked) = closing("GET", |_| true).await;
    assert_eq!(met.failed, BTreeMap::new());
    assert!(
        met.ok > 20 && met.retries + 1 >= met.ok / 2,
        "{} {}",
        met.ok,
        met.retries
    );
    assert_eq!(asked, met.ok + met.retries);

    // Closed on the new connection too: that one is not reused, so it is the end.
    let (met, asked) = closing("GET", |number| number == 0).await;
    let failed = met.failed[&FailureKind::Reset];
    assert_eq!((met.ok, met.retries, met.failed.len()), (1, 1, 1));
    assert_eq!(asked, 2 + failed);
    assert!(failed > 20, "{failed}");

    let (met, asked) = closing("POST", |_| true).await;
    met.fails_every_second_time("a POST", &[FailureKind::Reset]);
    assert_eq!((met.retries, asked), (0, met.ok + met.failed[&FailureKind::Reset]));
}

/// Every second connection is met by `misdeed`, and every other one is good.
async fn meet_connecting(authority: &Authority, misdeed: Misdeed) -> Met {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut plan = one_user(listener.local_addr().unwrap());
    let good = authority.acceptor("127.0.0.1", 2020..4000);
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            let (good, misdeed) = (good.clone(), Arc::clone(&misdeed));
            tokio::spawn(async move {
                match number % 2 {
                    0 => talk(good, stream, GOOD).await,
                    _ => misdeed(stream).await,
                }
            });
        }
    });
    plan.target.scheme = "https".to_owned();
    plan.client.connections.used_by = ConnectionUse::PerRequest;
    plan.client.connect_timeout = Duration::from_millis(300);
    plan.client.request_timeout = Duration::from_millis(400);
    plan.client.tls.authorities = Some(authority.pem());
    Met::by(&run(plan).await)
}

/// Says `bytes` to a request through TLS, and takes its leave.
async fn talk(acceptor: TlsAcceptor, stream: TcpStream, bytes: &[u8]) {
    let Ok(mut stream) = acceptor.accept(stream).await else {
        return;
    };
    let mut buffer = [0; 4096];
    let _ = stream.read(&mut buffer).await;
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_tls_fails_each_by_its_name() {
    // Fatal, handshake_failure and internal_error (RFC 8446, section 6.2).
    const ALERT: &[u8] = b"\x15\x03\x03\x00\x02\x02\x28";
    const LATE_ALERT: &[u8] = b"\x15\x03\x03\x00\x02\x02\x50";
    let authority = Authority::new();
    let shows = |acceptor: TlsAcceptor| {
        misdeed(move |stream| {
            let acceptor = acceptor.clone();
            async move { talk(acceptor, stream, GOOD).await }
        })
    };
    // What comes after a good handshake, and past it.
    let then_says = |through: &'static [u8], past: &'static [u8]| {
        let acceptor = authority.acceptor("127.0.0.1", 2020..4000);
        misdeed(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                let mut stream = acceptor.accept(stream).await.unwrap();
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(through).await;
                let _ = stream.flush().await;
                let _ = stream.get_mut().0.write_all(past).await;
            }
        })
    };
    let says = |bytes: &'static [u8]| {
        misdeed(move |mut stream| async move {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(bytes).await;
        })
    };
    let resets = misdeed(|mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        reset(&stream);
    });
    let cases = [
        (
            "nobody vouches",
            FailureKind::Tls,
            shows(Authority::new().acceptor("127.0.0.1", 2020..4000)),
        ),
        (
            "another name",
            FailureKind::Tls,
            shows(authority.acceptor("shop.example.com", 2020..4000)),
        ),
        (
            "expired",
            FailureKind::Tls,
            shows(authority.acceptor("127.0.0.1", 2020..2021)),
        ),
        (
            "not yet valid",
            FailureKind::Tls,
            shows(authority.acceptor("127.0.0.1", 3999..4000)),
        ),
        ("an alert", FailureKind::Tls, says(ALERT)),
        ("no TLS", FailureKind::Tls, says(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
        (
            "a record of nothing known",
            FailureKind::Tls,
            says(b"\xff\xff\xff\xff\xff\xff\xff\xff"),
        ),
        (
            "silence",
            FailureKind::TlsTimeout,
            misdeed(|mut stream| async move { swallow(&mut stream).await }),
        ),
        ("ends in the handshake", FailureKind::Reset, says(b"")),
        ("reset in the handshake", FailureKind::Reset, resets),
        (
            "an alert after the handshake",
            FailureKind::Tls,
            then_says(b"", LATE_ALERT),
        ),
        (
            "a record that does not verify",
            FailureKind::Tls,
            then_says(b"", b"\x17\x03\x03\x00\x05never"),
        ),
        (
            "ends without saying so",
            FailureKind::Reset,
            then_says(b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b""),
        ),
    ];
    let met = join_all(
        cases
            .iter()
            .map(|(_, _, misdeed)| meet_connecting(&authority, Arc::clone(misdeed))),
    )
    .await;
    for ((what, kind, _), met) in cases.iter().zip(met) {
        met.fails_every_second_time(what, &[*kind]);
    }
}

/// Two addresses take turns, and one of them lets every packet drop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_silent_drops_are_connect_timeouts() {
    let good = serve("127.0.0.1:0", |_| async { answer(200, "") }).await;
    let _full = full_backlog(SocketAddr::from(([127, 0, 0, 2], good.address.port()))).await;
    let both = Zone::of(&[[127, 0, 0, 1], [127, 0, 0, 2]], 60);
    let (resolver, _) = dns(both).await;
    let mut plan = named(&good, resolver, DnsPolicy::HonourTtl);
    plan.client.connections.used_by = ConnectionUse::PerRequest;
    plan.client.connect_timeout = Duration::from_millis(200);
    plan.stages.clear();
    plan.ends_at = Duration::ZERO;
    stage(&mut plan, 2.0, Duration::ZERO, Duration::from_secs(2));
    let met = Met::by(&run(plan).await);
    assert_eq!(met.failed.keys().collect::<Vec<_>>(), [&FailureKind::ConnectTimeout]);
    let failed = met.failed[&FailureKind::ConnectTimeout];
    assert!(failed > 5 && met.ok > 5, "its users go on: {} {failed}", met.ok);
}

type Lie = Box<dyn Fn(&[u8], &Zone) -> Vec<Vec<u8>> + Send>;

/// A DNS server that says to a question what it likes, none or many, for a second, and then the truth.
async fn liar(lie: Lie) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let truth = std::sync::Mutex::new(Zone::of(&[[127, 0, 0, 1]], 60));
    tokio::spawn(async move {
        let began = Instant::now();
        let mut buffer = [0; 1500];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            let question = &buffer[..length];
            let said = match began.elapsed() < Duration::from_secs(1) {
                true => lie(question, &truth.lock().unwrap()),
                false => vec![reply(&truth, question, false)],
            };
            for datagram in said {
                socket.send_to(&datagram, from).await.unwrap();
            }
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_name_servers_fail_as_dns_until_they_tell_the_truth() {
    use hickory_proto::op::{Message, ResponseCode};
    use hickory_proto::rr::rdata::{A, CNAME};
    use hickory_proto::rr::{Name, RData, Record};
    // The truth but for one thing.
    let but = |change: fn(&mut Message)| -> Lie {
        Box::new(move |question, zone| {
            let zone = std::sync::Mutex::new(zone.clone());
            let mut answer = Message::from_vec(&reply(&zone, question, false)).unwrap();
            change(&mut answer);
            vec![answer.to_vec().unwrap()]
        })
    };
    let lies: [(&str, Lie); 10] = [
        ("says nothing", Box::new(|_, _| Vec::new())),
        (
            "garbage",
            Box::new(|_, _| vec![vec![0xff; 4000], Vec::new(), b"what?".to_vec()]),
        ),
        (
            "a name that leads into itself",
            Box::new(|question, _| {
                vec![
                    [
                        &question[..2],
                        b"\x81\x80\0\0\0\x01\0\0\0\0\xc0\x0c\0\x01\0\x01\0\0\0\x01\0\x04\x7f\0\0\x09",
                    ]
                    .concat(),
                ]
            }),
        ),
        ("the question itself", Box::new(|question, _| vec![question.to_vec()])),
        ("an answer to another question", but(|answer| answer.metadata.id ^= 1)),
        (
            "an answer about another name",
            but(|answer| {
                let other = Name::from_ascii("elsewhere.example.com.").unwrap();
                answer.queries[0].set_name(other);
            }),
        ),
        (
            "another name's address",
            but(|answer| answer.answers[0].name = Name::from_ascii("elsewhere.example.com.").unwrap()),
        ),
        (
            "aliases in a circle",
            but(|answer| {
                let [here, there] =
                    ["shop.example.com.", "elsewhere.example.com."].map(|name| Name::from_ascii(name).unwrap());
                answer.answers = vec![
                    Record::from_rdata(here.clone(), 60, RData::CNAME(CNAME(there.clone()))),
                    Record::from_rdata(there, 60, RData::CNAME(CNAME(here))),
                    Record::from_rdata(Name::root(), 60, RData::A(A::new(127, 0, 0, 9))),
                ];
            }),
        ),
        (
            "no such name",
            but(|answer| answer.metadata.response_code = ResponseCode::NXDomain),
        ),
        ("no address", but(|answer| answer.answers.clear())),
    ];
    let server = serve("127.0.0.1:0", |_| async { answer(200, "") }).await;
    let runs = lies.map(|(what, lie)| {
        let server = &server;
        async move {
            let mut plan = named(server, liar(lie).await, DnsPolicy::HonourTtl);
            // A lookup's patience is 200 ms then.
            plan.pace = Pace::new(30.0).unwrap();
            plan.stages.clear();
            plan.ends_at = Duration::ZERO;
            stage(&mut plan, 5.0, Duration::ZERO, Duration::from_secs(75));
            (what, run(plan).await)
        }
    });
    for (what, ran) in join_all(runs).await {
        let met = Met::by(&ran);
        assert_eq!(met.failed.keys().collect::<Vec<_>>(), [&FailureKind::Dns], "{what}");
        assert!(
            met.ok > 5 && met.failed[&FailureKind::Dns] > 5,
            "{what}: {} {:?}",
            met.ok,
            met.failed
        );
        assert!(ran.end.lookups_failed >= 2, "{what}: {}", ran.end.lookups_failed);
        assert_eq!(ran.answers().len(), 1, "{what}: only the truth was believed");
    }
}

/// Redirects in a circle, to nowhere and to others; the journey's other step shows that its user goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_redirects_fail_by_their_name() {
    let server = serve("127.0.0.1:0", |request: Request<Bytes>| {
        let location: Option<Vec<u8>> = match request.uri().path() {
            "/loop" => Some(b"/loop".to_vec()),
            "/ring" => Some(b"/of".to_vec()),
            "/of" => Some(b"/ring".to_vec()),
            "/away" => Some(b"http://127.0.0.2:9/".to_vec()),
            "/script" => Some(b"javascript:alert(1)".to_vec()),
            "/file" => Some(b"file:///etc/passwd".to_vec()),
            "/bytes" => Some(b"/\xff\xfe".to_vec()),
            "/long" => Some([b"http://".as_slice(), &[b'x'; 60_000]].concat()),
            "/empty" => Some(Vec::new()),
            _ => None,
        };
        let wrong = request.uri().path() != "/";
        async move {
            let answer = Response::builder().status(if wrong { 302 } else { 200 });
            let answer = match location {
                Some(location) => answer.header("location", location),
                None => answer,
            };
            answer.body(Full::default()).unwrap()
        }
    })
    .await;
    let paths = [
        "/loop", "/ring", "/away", "/script", "/file", "/bytes", "/long", "/empty", "/none",
    ];
    let runs = paths.map(|path| {
        let mut plan = one_user(server.address);
        plan.steps = vec![step("lost", "GET", path), step("page", "GET", "/")];
        plan.steps[0].redirects = 3;
        plan.journeys[0].steps = vec![0, 1];
        run(plan)
    });
    for (path, ran) in paths.iter().zip(join_all(runs).await) {
        let failed = ran.failed();
        assert_eq!(failed.keys().collect::<Vec<_>>(), [&FailureKind::Redirect], "{path}");
        let times = failed[&FailureKind::Redirect];
        assert!(
            times > 10 && ran.ok().abs_diff(times) <= 1,
            "{path}: {} {times}",
            ran.ok()
        );
    }
}
