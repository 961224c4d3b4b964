//! Server-sent events and WebSocket sessions, from servers that keep to their standards and from servers that do not.

use std::pin::Pin;

use futures_util::future::join_all;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data};

use super::super::deflate;
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

/// The head of a stream, an event after 100 ms, another after 300 ms more, and then comments that nobody sees.
fn stalls(mut stream: TcpStream) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let _ = stream.read(&mut [0; 4096]).await;
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        let events = [(0, head), (100, "data: first\n\n"), (300, "data: second\n\n")];
        for (after, said) in events.into_iter().chain([(20, ": still here\n\n"); 100]) {
            tokio::time::sleep(Duration::from_millis(after)).await;
            if stream.write_all(said.as_bytes()).await.is_err() {
                return;
            }
        }
    })
}

async fn with_gap(until: EventsUntil, gap_ms: Option<u64>) -> Ran {
    let (address, _) = listen(stalls).await;
    let mut step = events(until);
    step.expect.gap = gap_ms.map(Duration::from_millis);
    let mut plan = facing(address, vec![step]);
    plan.client.request_timeout = Duration::from_secs(1);
    run(plan).await
}

fn gaps(ran: &Ran) -> (u64, Duration, Duration) {
    let mut all = Hist::working();
    for slice in &ran.slices {
        slice.steps[0].gaps.add_to(&mut all).unwrap();
    }
    let [least, most] = [all.min(), all.max()].map(Duration::from_micros);
    (all.len(), least, most)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silences_of_a_stream_are_measured_from_its_head_to_the_last_that_its_user_saw() {
    let millis = Duration::from_millis;
    let for_a_while = EventsUntil::For(millis(1000));
    let (enough, left, given_up) = tokio::join!(
        with_gap(EventsUntil::Events(2), None),
        with_gap(for_a_while, None),
        with_gap(EventsUntil::Events(9), None)
    );
    let (count, least, most) = gaps(&enough);
    assert_eq!(count, 2 * enough.ok(), "one for each event");
    assert!(
        least >= millis(95) && least < most && most >= millis(295),
        "{least:?} {most:?}"
    );
    // A second after the request, 400 ms of which went by before the last event.
    for (what, ran, ok) in [("left", left, true), ("given up", given_up, false)] {
        assert_eq!((ran.ok() > 0, ran.failed().is_empty()), (ok, ok), "{what}");
        let (count, _, most) = gaps(&ran);
        let streams = ran.ok() + ran.failed().values().sum::<u64>();
        assert_eq!(count, 3 * streams, "{what}: a stall counts though no event ended it");
        assert!(most >= millis(450), "{what}: {most:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_silent_for_longer_than_expected_fails_at_that_instant() {
    let forever = || EventsUntil::For(Duration::from_secs(3));
    let cases = [
        ("before the first event", forever(), 40, 0, true),
        ("between two", forever(), 200, 1, true),
        ("after the last", forever(), 450, 2, true),
        ("never", EventsUntil::Events(2), 2_000, 2, false),
        ("only after enough", EventsUntil::Events(2), 450, 2, false),
    ];
    let runs = cases.map(|(what, until, gap, events, fails)| async move {
        (what, gap, events, fails, with_gap(until, Some(gap)).await)
    });
    for (what, gap, events, fails, ran) in join_all(runs).await {
        let failed = ran.failed();
        let kinds: Vec<_> = failed.keys().copied().collect();
        let expected = if fails { vec![FailureKind::Expectation] } else { vec![] };
        assert_eq!((kinds, ran.ok() > 0), (expected, !fails), "{what}");
        let (count, _, most) = gaps(&ran);
        let streams = ran.ok() + failed.values().sum::<u64>();
        assert_eq!(count, (events + u64::from(fails)) * streams, "{what}");
        if fails {
            let latency = ran.quantile(0.5, |step| &step.latency);
            assert!(
                latency < Duration::from_millis(1500),
                "{what}: at once, not in the end: {latency:?}"
            );
            assert!(most >= Duration::from_millis(gap), "{what}: {most:?}");
        }
    }
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
        plan.client.connections.pool = Some(4);
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
    plan.client.connections.pool = Some(1);
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
    plan.client.connections.pool = Some(1);
    plan.journeys[0].flow = vec![Flow::Repeat {
        min: 3,
        max: 3,
        steps: vec![Flow::Request(0), Flow::Request(1)],
    }];
    let ran = run(plan).await;
    assert_eq!((ran.failed(), ran.dropped()), (BTreeMap::new(), 0));
    assert!(of_step(&ran, 1).0 > 10 && connections.load(Ordering::SeqCst) > 10);
}

/// Says something each 50 ms, four times; then only pings come.
fn pushes(stream: TcpStream) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else {
            return;
        };
        let news = std::iter::repeat_n(Message::text("news"), 4);
        for message in news.chain(std::iter::repeat_n(Message::Ping("?".into()), 40)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if socket.send(message).await.is_err() {
                return;
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_stays_in_a_session_notices_that_nothing_comes() {
    let stay = |length: u64, gap_ms: Option<u64>| async move {
        let (address, _) = listen(pushes).await;
        let mut stays = talk("stay", WebSocketStep::Stay(Duration::from_millis(length)), "");
        stays.expect.gap = gap_ms.map(Duration::from_millis);
        run(facing(address, vec![session().swap_remove(0), stays])).await
    };
    let (fine, silent, unasked) = tokio::join!(stay(200, Some(1000)), stay(1500, Some(400)), stay(600, None));
    let of_stays = |ran: &Ran, hist: fn(&StepSlice) -> &Hist| {
        let mut all = Hist::working();
        for slice in &ran.slices {
            hist(&slice.steps[1]).add_to(&mut all).unwrap();
        }
        (all.len(), Duration::from_micros(all.max()))
    };
    let gaps = |ran: &Ran| of_stays(ran, |step| &step.gaps);
    let (ok, failed) = of_step(&fine, 1);
    assert!(ok >= 2 && failed.is_empty(), "{failed:?}");
    assert!(gaps(&fine).0 >= 2 * ok, "{ok}: {:?}", gaps(&fine));
    let (ok, failed) = of_step(&silent, 1);
    assert_eq!(
        (ok, failed.keys().collect::<Vec<_>>()),
        (0, vec![&FailureKind::Expectation])
    );
    let (gap, latency) = (gaps(&silent).1, of_stays(&silent, |step| &step.latency).1);
    assert!(gap >= Duration::from_millis(400), "{gap:?}");
    assert!(latency < Duration::from_millis(1400), "at once: {latency:?}");
    assert_eq!((of_step(&unasked, 1).1, gaps(&unasked).0), (BTreeMap::new(), 0));
}

/// Shakes hands by hand, with `$fields` beside what every server says, then says `$bytes` and does the rest.
macro_rules! shakes_hands {
    ($bytes:expr, $then:expr) => {
        shakes_hands!("", $bytes, $then)
    };
    ($fields:expr, $bytes:expr, $then:expr) => {
        |mut stream| {
            Box::pin(async move {
                let mut asked = vec![0; 4096];
                let length = stream.read(&mut asked).await.unwrap_or_default();
                let asked = String::from_utf8_lossy(&asked[..length]).into_owned();
                let key = asked.lines().find_map(|line| line.split_once("sec-websocket-key: "));
                let key = key.or_else(|| asked.lines().find_map(|line| line.split_once("Sec-WebSocket-Key: ")));
                let accept = derive_accept_key(key.map_or("", |(_, key)| key).as_bytes());
                let head = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: {accept}\r\n{}\r\n",
                    $fields
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

/// The same with compression offered.
fn compressing() -> Vec<StepPlan> {
    let mut steps = session();
    let offer = ("sec-websocket-extensions".to_owned(), text(DEFLATE_OFFER));
    steps[0].headers.push(offer);
    steps
}

const DEFLATE: &str = "sec-websocket-extensions: permessage-deflate; server_no_context_takeover\r\n";

/// A message of so many zeros, compressed.
fn zeros(length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let frame = deflate::compressed(Data::Binary, &vec![0; length]);
    frame.format(&mut bytes).unwrap();
    bytes
}

/// Agrees to compress and greets in the same breath, takes a message, which has to be compressed, and answers it.
fn compresses(mut stream: TcpStream) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let mut asked = vec![0; 4096];
        let length = stream.read(&mut asked).await.unwrap_or_default();
        let mut fields = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut fields);
        let _ = request.parse(&asked[..length]);
        let field = |name: &str| {
            request
                .headers
                .iter()
                .find(|field| field.name.eq_ignore_ascii_case(name))
        };
        let offer = field("sec-websocket-extensions").map_or(&b""[..], |field| field.value);
        let key = field("sec-websocket-key").map_or(&b""[..], |field| field.value);
        let agreed = if offer == DEFLATE_OFFER.as_bytes() { DEFLATE } else { "" };
        let accept = derive_accept_key(key);
        let mut said = format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n{agreed}sec-websocket-accept: {accept}\r\n\r\n"
        )
        .into_bytes();
        let frames = |texts: &[&str], said: &mut Vec<u8>| {
            for text in texts {
                deflate::compressed(Data::Text, text.as_bytes()).format(said).unwrap();
            }
        };
        frames(&["welcome", &"noise ".repeat(10_000)], &mut said);
        let _ = stream.write_all(&said).await;
        let mut frame = [0; 64];
        if stream.read(&mut frame).await.is_ok_and(|length| length > 0) && frame[0] == 0xc1 {
            said.clear();
            frames(&["{\"hello\":\"world\"}"], &mut said);
            let _ = stream.write_all(&said).await;
        }
        let _ = stream.read(&mut frame).await;
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_compressed_both_ways_where_the_server_agrees() {
    let (address, _) = listen(compresses).await;
    let ran = run(facing(address, compressing()[..3].to_vec())).await;
    assert_eq!(ran.failed(), BTreeMap::new());
    assert!(of_step(&ran, 2).0 > 10, "{}", of_step(&ran, 2).0);
    // A server that does not know it has its messages as they are.
    let (address, _) = listen(polite).await;
    let ran = run(facing(address, compressing())).await;
    assert_eq!(ran.failed(), BTreeMap::new());
    assert!(of_step(&ran, 5).0 >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_websocket_compression_is_a_protocol_failure_and_fills_no_memory() {
    type Case = (&'static str, Deed, Vec<StepPlan>, usize);
    let cases: [Case; 7] = [
        ("nobody offered it", shakes_hands!(DEFLATE, b"", stays), session(), 0),
        (
            "another was offered",
            shakes_hands!("sec-websocket-extensions: x-other\r\n", b"", stays),
            compressing(),
            0,
        ),
        (
            "a window that is not ours",
            shakes_hands!(
                "sec-websocket-extensions: permessage-deflate; client_max_window_bits=9\r\n",
                b"",
                stays
            ),
            compressing(),
            0,
        ),
        ("not agreed on", shakes_hands!(zeros(10), stays), compressing(), 2),
        (
            "garbage",
            shakes_hands!(DEFLATE, b"\xc1\x04\xff\xff\xff\xff", stays),
            compressing(),
            2,
        ),
        (
            "a bomb",
            shakes_hands!(DEFLATE, zeros((16 << 20) + 1), stays),
            compressing(),
            2,
        ),
        (
            "text that is none",
            shakes_hands!(DEFLATE, b"\xc1\x04\x3a\xac\x01\x00", stays),
            compressing(),
            2,
        ),
    ];
    let runs = cases.map(|(what, deed, steps, step)| async move {
        let (address, _) = listen(deed).await;
        let mut plan = facing(address, steps);
        plan.client.request_timeout = Duration::from_secs(5);
        (what, step, run(plan).await)
    });
    for (what, step, ran) in join_all(runs).await {
        let (ok, failed) = of_step(&ran, step);
        let kinds: Vec<_> = failed.keys().collect();
        assert_eq!((ok, kinds), (0, vec![&FailureKind::Protocol]), "{what}");
        assert!(
            failed[&FailureKind::Protocol] >= 2,
            "{what}: its user goes on: {failed:?}"
        );
    }
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
