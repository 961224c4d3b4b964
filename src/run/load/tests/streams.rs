//! Server-sent events and WebSocket sessions, from servers that keep to their standards and from servers that do not.

use std::pin::Pin;

use futures_util::future::join_all;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::tcp::{Deed, listen};
use super::*;

/// One user of a journey of these steps, whose every connection meets `deed`.
fn facing(address: SocketAddr, steps: Vec<StepPlan>) -> Plan {
    let mut plan = plan(address);
    plan.journeys[0].steps = (0..steps.len()).collect();
    plan.steps = steps;
    plan.client.request_timeout = Duration::from_millis(300);
    plan.client.shards = Some(1);
    plan.journeys[0].think = Wait::Uniform {
        min: Duration::from_millis(20),
        max: Duration::from_millis(20),
    };
    stage(&mut plan, 1.0, Duration::ZERO, Duration::from_secs(1));
    plan
}

fn events(until: EventsUntil) -> StepPlan {
    StepPlan {
        protocol: Protocol::Events(until),
        ..step("events", "GET", "/events")
    }
}

async fn watch_events(deed: Deed, until: EventsUntil) -> Ran {
    let (address, _) = listen(deed).await;
    let mut step = events(until);
    step.expect.body = vec![Wanted::Contains("second".to_owned())];
    let ran = run(facing(address, vec![step])).await;
    assert_eq!(ran.dropped(), 0);
    ran
}

/// Reads a request, says `$bytes`, and does the rest.
macro_rules! says {
    ($bytes:expr, $then:expr) => {
        |mut stream| {
            Box::pin(async move {
                let mut buffer = [0; 4096];
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all($bytes.as_ref()).await;
                let then: fn(TcpStream) -> Pin<Box<dyn Future<Output = ()> + Send>> = $then;
                then(stream).await;
            })
        }
    };
}

fn closes(_: TcpStream) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async {})
}

fn stays(mut stream: TcpStream) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let _ = stream.read(&mut [0; 64]).await;
    })
}

const TWO: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: first\n\nevent: end\ndata: second\n\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_read_until_there_are_enough() {
    let end = || EventsUntil::Event("end".to_owned());
    let data = || EventsUntil::Data("second".to_owned());
    let cases: [(Deed, EventsUntil); 5] = [
        (says!(TWO, stays), EventsUntil::Events(2)),
        (says!(TWO, stays), end()),
        (says!(TWO, stays), data()),
        (says!(TWO, closes), EventsUntil::End),
        (says!(TWO, stays), EventsUntil::For(Duration::from_millis(200))),
    ];
    let runs = cases.map(|(deed, until)| async move { (watch_events(deed, until.clone()).await, until) });
    for (ran, until) in join_all(runs).await {
        assert_eq!(ran.failed(), BTreeMap::new(), "{until:?}");
        assert!(ran.ok() >= 3, "{until:?}: {}", ran.ok());
        let stayed = ran.quantile(0.5, |step| &step.latency);
        let stays = matches!(until, EventsUntil::For(_));
        assert_eq!(stayed >= Duration::from_millis(195), stays, "{until:?}: {stayed:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_event_is_what_the_user_waits_for_not_the_head() {
    let ran = watch_events(
        |mut stream| {
            Box::pin(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let (head, events) = TWO.split_at(TWO.find("data").unwrap());
                let _ = stream.write_all(head.as_bytes()).await;
                tokio::time::sleep(Duration::from_millis(80)).await;
                let _ = stream.write_all(events.as_bytes()).await;
            })
        },
        EventsUntil::Events(2),
    )
    .await;
    assert_eq!(ran.failed(), BTreeMap::new());
    assert!(ran.quantile(0.0, |step| &step.first_byte) >= Duration::from_millis(75));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_event_streams_fail_each_by_its_name() {
    const PLAIN: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
    const HALF: &str =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: text/event-stream\r\n\r\n5\r\ndata:";
    let many = || EventsUntil::Events(9);
    let a_while = || EventsUntil::For(Duration::from_millis(200));
    let cases: [(&str, Deed, EventsUntil, FailureKind); 8] = [
        ("no stream", says!(PLAIN, stays), many(), FailureKind::Protocol),
        ("an error", says!(BUSY, stays), many(), FailureKind::Status5xx),
        ("too few", says!(TWO, closes), many(), FailureKind::Reset),
        ("too few in time", says!(TWO, stays), many(), FailureKind::BodyTimeout),
        ("cut", says!(HALF, closes), many(), FailureKind::Reset),
        ("silent", says!("", stays), many(), FailureKind::Timeout),
        ("silent for a while", says!("", stays), a_while(), FailureKind::Timeout),
        ("too short a while", says!(TWO, closes), a_while(), FailureKind::Reset),
    ];
    let runs = cases.map(|(what, deed, until, kind)| async move { (what, kind, watch_events(deed, until).await) });
    for (what, kind, ran) in join_all(runs).await {
        let failed = ran.failed();
        assert_eq!(
            (ran.ok(), failed.keys().collect::<Vec<_>>()),
            (0, vec![&kind]),
            "{what}"
        );
        assert!(failed[&kind] >= 2, "{what}: its user goes on: {failed:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_event_streams_without_end_fill_no_memory() {
    let ran = watch_events(
        |mut stream| {
            Box::pin(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: ";
                let _ = stream.write_all(head.as_bytes()).await;
                let piece = vec![b'x'; 1 << 16];
                while stream.write_all(&piece).await.is_ok() {}
            })
        },
        EventsUntil::Events(1),
    )
    .await;
    let kinds = [FailureKind::BodyTimeout, FailureKind::Protocol];
    let failed = ran.failed();
    assert!(
        !failed.is_empty() && failed.keys().all(|kind| kinds.contains(kind)),
        "{failed:?}"
    );
}

fn talk(name: &str, doing: WebSocketStep, message: &str) -> StepPlan {
    StepPlan {
        protocol: Protocol::WebSocket(doing),
        body: Some(Body {
            compress: None,
            content_type: String::new(),
            template: text(message),
            encoding: Encoding::Plain,
        }),
        ..step(name, "WEBSOCKET", "")
    }
}

/// Opens, says hello, waits for an answer that has `hello` in it, pings, and closes.
pub(in crate::run::load::tests) fn session() -> Vec<StepPlan> {
    let mut open = step("open", "GET", "/chat");
    open.protocol = Protocol::WebSocket(WebSocketStep::Open);
    open.expect.status = Some(101);
    let mut receive = talk(
        "receive",
        WebSocketStep::Receive(Wanted::Contains("hello".to_owned())),
        "",
    );
    receive.expect.json = vec![("$.hello".to_owned(), Wanted::Is("world".to_owned()))];
    vec![
        open,
        talk("send", WebSocketStep::SendText, "world"),
        receive,
        talk("ping", WebSocketStep::Ping, ""),
        talk("stay", WebSocketStep::Stay(Duration::from_millis(200)), ""),
        talk("close", WebSocketStep::Close, ""),
    ]
}

/// Answers each text with noise and with that text as JSON.
pub(in crate::run::load::tests) async fn hold_a_session<S>(
    stream: S,
) -> Result<(), tokio_tungstenite::tungstenite::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut socket = tokio_tungstenite::accept_async(stream).await?;
    while let Some(message) = socket.next().await {
        if let Message::Text(text) = message? {
            let answer = format!("{{\"hello\":\"{text}\"}}");
            for message in [Message::Ping("?".into()), Message::text("noise"), Message::text(answer)] {
                socket.send(message).await?;
            }
        }
    }
    Ok(())
}

fn polite(stream: TcpStream) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let _ = hold_a_session(stream).await;
    })
}

fn of_step(ran: &Ran, step: usize) -> (u64, BTreeMap<FailureKind, u64>) {
    let mut failed = BTreeMap::new();
    let slices = ran.slices.iter().map(|slice| &slice.steps[step]);
    let ok = slices.clone().map(|step| step.ok).sum();
    for (kind, count) in slices.flat_map(|step| &step.failed) {
        *failed.entry(*kind).or_default() += count;
    }
    (ok, failed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_opened_talked_in_and_closed_step_by_step() {
    for used_by in [ConnectionUse::Pool, ConnectionUse::PerUser, ConnectionUse::PerRequest] {
        let (address, connections) = listen(polite).await;
        let mut plan = facing(address, session());
        plan.stages[0].level = 8.0;
        plan.client.connections.used_by = used_by;
        plan.client.connections.pool = 4;
        let ran = run(plan).await;
        assert_eq!((ran.failed(), ran.dropped()), (BTreeMap::new(), 0), "{used_by:?}");
        let opened = of_step(&ran, 0).0;
        assert!(opened > 15, "{used_by:?}: {opened}");
        assert_eq!(opened, connections.load(Ordering::SeqCst), "{used_by:?}");
        assert!(opened - of_step(&ran, 5).0 <= 8, "{used_by:?}: sessions were closed");
        let most = ran.slices.iter().map(|slice| slice.generator.connections).max();
        assert!(used_by != ConnectionUse::Pool || most <= Some(4), "{most:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_left_open_ends_with_its_pass_and_one_that_is_gone_ends_its_pass() {
    static WENT_AWAY: AtomicU64 = AtomicU64::new(0);
    let until_close: Deed = |stream| {
        Box::pin(async move {
            let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
            while let Some(Ok(message)) = socket.next().await {
                if matches!(&message, Message::Close(Some(frame)) if frame.code == CloseCode::Away) {
                    WENT_AWAY.fetch_add(1, Ordering::SeqCst);
                }
            }
        })
    };
    let (address, connections) = listen(until_close).await;
    let mut plan = facing(address, session()[..2].to_vec());
    plan.client.connections.pool = 1;
    let ran = run(plan).await;
    assert_eq!((ran.failed(), ran.dropped()), (BTreeMap::new(), 0));
    let opened = connections.load(Ordering::SeqCst);
    assert!(of_step(&ran, 1).0 > 10 && opened > 10);
    let all_left = async {
        while WENT_AWAY.load(Ordering::SeqCst) < opened {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(5), all_left).await;
    assert!(waited.is_ok(), "of {opened}, {WENT_AWAY:?} said that they go");

    let mut steps = session();
    steps[2].expect.json[0].1 = Wanted::Is("other".to_owned());
    let (address, _) = listen(polite).await;
    let ran = run(facing(address, steps)).await;
    let (received, failed) = of_step(&ran, 2);
    assert_eq!(
        (received, failed.keys().collect::<Vec<_>>()),
        (0, vec![&FailureKind::Expectation])
    );
    let (opened, closed) = (of_step(&ran, 0).0, of_step(&ran, 5).0);
    assert!(
        opened >= 2 && closed + 1 >= opened,
        "an answer that is not as expected does not end the session: {opened} {closed}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_repeated_or_left_out_as_a_whole() {
    let whole = || {
        session()
            .iter()
            .enumerate()
            .map(|(place, _)| Flow::Request(place))
            .collect()
    };
    let repeated = Flow::Repeat {
        min: 2,
        max: 2,
        steps: whole(),
    };
    let some = Flow::Chance {
        share: 0.5,
        steps: whole(),
    };
    let two = Flow::Together {
        parts: vec![whole(), whole()],
        at_most: None,
    };
    for (flow, least, most) in [(repeated, 25, 40), (some, 4, 16), (two, 40, 40)] {
        let (address, connections) = listen(polite).await;
        let mut plan = facing(address, session());
        plan.model = LoadModel::Arrivals;
        plan.stages[0].level = 20.0;
        // Those of the last instant would be cut off.
        stage(&mut plan, 0.0, Duration::ZERO, Duration::from_secs(1));
        plan.journeys[0].flow = vec![flow];
        let ran = run(plan).await;
        assert_eq!((ran.failed(), ran.dropped()), (BTreeMap::new(), 0));
        let opened = of_step(&ran, 0).0;
        assert!((least..=most).contains(&opened), "{opened}");
        assert_eq!(opened, connections.load(Ordering::SeqCst));
        assert_eq!(opened, of_step(&ran, 3).0, "whoever opens one goes on in it");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_left_open_ends_where_its_pass_opens_the_next() {
    let (address, connections) = listen(polite).await;
    let mut plan = facing(address, session()[..2].to_vec());
    plan.client.connections.pool = 1;
    plan.journeys[0].flow = vec![Flow::Repeat {
        min: 3,
        max: 3,
        steps: vec![Flow::Request(0), Flow::Request(1)],
    }];
    let ran = run(plan).await;
    assert_eq!((ran.failed(), ran.dropped()), (BTreeMap::new(), 0));
    assert!(of_step(&ran, 1).0 > 10 && connections.load(Ordering::SeqCst) > 10);
}

/// Shakes hands by hand, then says `$bytes` and does the rest.
macro_rules! shakes_hands {
    ($bytes:expr, $then:expr) => {
        |mut stream| {
            Box::pin(async move {
                let mut asked = vec![0; 4096];
                let length = stream.read(&mut asked).await.unwrap_or_default();
                let asked = String::from_utf8_lossy(&asked[..length]).into_owned();
                let key = asked.lines().find_map(|line| line.split_once("sec-websocket-key: "));
                let key = key.or_else(|| asked.lines().find_map(|line| line.split_once("Sec-WebSocket-Key: ")));
                let accept = derive_accept_key(key.map_or("", |(_, key)| key).as_bytes());
                let head = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: {accept}\r\n\r\n"
                );
                let _ = stream.write_all(head.as_bytes()).await;
                // Not before the message is there.
                let _ = stream.read(&mut [0; 64]).await;
                let _ = stream.write_all($bytes.as_ref()).await;
                let then: fn(TcpStream) -> Pin<Box<dyn Future<Output = ()> + Send>> = $then;
                then(stream).await;
            })
        }
    };
}

async fn in_sessions((what, deed, kind): (&str, Deed, FailureKind)) -> (&str, FailureKind, Ran) {
    let (address, _) = listen(deed).await;
    (what, kind, run(facing(address, session())).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_websocket_servers_fail_each_by_its_name() {
    const WRONG_KEY: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: x\r\n\r\n";
    let opening: [(&str, Deed, FailureKind); 6] = [
        (
            "no upgrade",
            says!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", stays),
            FailureKind::Expectation,
        ),
        (
            "forbids",
            says!("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", stays),
            FailureKind::Status4xx,
        ),
        ("wrong key", says!(WRONG_KEY, stays), FailureKind::Protocol),
        ("garbage", says!("what?\r\n\r\n", stays), FailureKind::Protocol),
        ("closes", says!("", closes), FailureKind::Reset),
        ("silent", says!("", stays), FailureKind::Timeout),
    ];
    for (what, kind, ran) in join_all(opening.map(in_sessions)).await {
        let (ok, failed) = of_step(&ran, 0);
        assert_eq!((ok, failed.keys().collect::<Vec<_>>()), (0, vec![&kind]), "{what}");
        assert!(failed[&kind] >= 2, "{what}: its user goes on: {failed:?}");
        assert_eq!(
            (ran.dropped(), of_step(&ran, 1).0),
            (0, 0),
            "{what}: no session, no message"
        );
    }
    let talking: [(&str, Deed, FailureKind); 7] = [
        ("closes", shakes_hands!(b"\x88\x02\x03\xe8", stays), FailureKind::Reset),
        ("goes away", shakes_hands!(b"", closes), FailureKind::Reset),
        (
            "garbage",
            shakes_hands!(b"\xff\xffwhat is this?", stays),
            FailureKind::Protocol,
        ),
        (
            "masks",
            shakes_hands!(b"\x81\x82\0\0\0\0hi", stays),
            FailureKind::Protocol,
        ),
        (
            "a huge frame",
            shakes_hands!(b"\x82\x7f\x0f\xff\xff\xff\xff\xff\xff\xff", stays),
            FailureKind::Protocol,
        ),
        (
            "no UTF-8",
            shakes_hands!(b"\x81\x02\xc3\x28", stays),
            FailureKind::Protocol,
        ),
        (
            "says something else",
            shakes_hands!(b"\x81\x02hi", stays),
            FailureKind::BodyTimeout,
        ),
    ];
    for (what, kind, ran) in join_all(talking.map(in_sessions)).await {
        let (ok, failed) = of_step(&ran, 2);
        assert_eq!((ok, failed.keys().collect::<Vec<_>>()), (0, vec![&kind]), "{what}");
        assert!(failed[&kind] >= 2, "{what}: its user goes on: {failed:?}");
        assert_eq!(
            (ran.dropped(), of_step(&ran, 3).0),
            (0, 0),
            "{what}: the session is gone"
        );
    }
}
