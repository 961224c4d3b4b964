//! Over gRPC, frame by frame: answers that are none, that are cut off, or that no such method gives.

use super::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, SETTINGS, STATUS_200, Says, field, frame,
    next_frame,
};
use std::future::poll_fn;

use h2::Reason;
use h2::server::SendResponse;

use super::*;
use crate::run::load::tests::grpc::{begin, calling, impatient, last_is, left, track};

/// `:status: 503`, by the name's number in the static table of HPACK.
const STATUS_503: &[u8] = &[0x08, 3, b'5', b'0', b'3'];

/// What becomes of the connection when something bad has been said.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Closes,
    /// It carries the next request.
    Stays,
}

/// A head that begins an answer of gRPC.
fn head(id: u32) -> Vec<u8> {
    let fields = [&[STATUS_200][..], &field("content-type", "application/grpc")].concat();
    frame(HEADERS, END_HEADERS, id, &fields)
}

fn trailers(id: u32, status: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, id, &field("grpc-status", status))
}

/// A message of this length, of which so many bytes come.
fn message(id: u32, compressed: u8, length: u32, bytes: &[u8]) -> Vec<u8> {
    frame(DATA, 0, id, &[&[compressed], &length.to_be_bytes()[..], bytes].concat())
}

/// The item, or the position, of number 5.
fn item(id: u32) -> Vec<u8> {
    message(id, 0, 2, &[8, 5])
}

fn good(id: u32) -> Vec<u8> {
    [head(id), item(id), trailers(id, "0")].concat()
}

async fn serve_one(mut stream: TcpStream, asked: Arc<AtomicU64>, says: Says, then: Then) -> Option<()> {
    stream.read_exact(&mut [0; 24]).await.ok()?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.ok()?;
    loop {
        let (kind, flags, id) = next_frame(&mut stream).await?;
        if kind == SETTINGS && flags == 0 {
            stream.write_all(&frame(SETTINGS, 1, 0, &[])).await.ok()?;
        }
        // The message has come.
        if kind != DATA || flags & END_STREAM == 0 {
            continue;
        }
        if asked.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
            stream.write_all(&good(id)).await.ok()?;
            continue;
        }
        let (once, ever) = says(id);
        stream.write_all(&once).await.ok()?;
        while !ever.is_empty() {
            stream.write_all(&ever).await.ok()?;
        }
        if then == Then::Closes {
            return None;
        }
    }
}

/// A server and how many connections it has had.
async fn listen(says: Says, then: Then) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, connections) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(serve_one(stream, Arc::clone(&asked), says, then));
        }
    });
    (address, connections)
}

/// A user whose patience a busy machine does not try.
fn patient(address: SocketAddr) -> Plan {
    let mut plan = one_user(address);
    plan.client.request_timeout = Duration::from_secs(3);
    plan
}

/// A user who calls `GetItem` and looks at the item.
fn asking(address: SocketAddr) -> Plan {
    let mut plan = calling(patient(address), "GetItem", MessagesUntil::End);
    plan.steps[0].expect.json = vec![("$.id".to_owned(), Wanted::Is("5".to_owned()))];
    plan
}

/// One who reads the positions of `Track`, the last of which is the fifth.
fn reading(address: SocketAddr, until: MessagesUntil) -> Plan {
    let mut plan = calling(patient(address), "Track", until);
    plan.steps[0].expect.json = vec![("$.number".to_owned(), Wanted::Is("5".to_owned()))];
    plan
}

/// Each is said to every second call, and fails as its kind in little memory.
async fn fail_over_grpc(kind: FailureKind, then: Then, cases: &[(&str, Says)]) {
    fail_as(kind, then, cases, asking).await;
}

async fn fail_as(kind: FailureKind, then: Then, cases: &[(&str, Says)], plan: impl Fn(SocketAddr) -> Plan) {
    let _alone = MEMORY.lock().await;
    let before = resident();
    let meet = async |says: Says| {
        let (address, connections) = listen(says, then).await;
        let met = Met::by(&run(plan(address)).await);
        (met, connections.load(Ordering::SeqCst))
    };
    let met = join_all(cases.iter().map(|(_, says)| meet(*says))).await;
    for ((what, _), (met, connections)) in cases.iter().zip(met) {
        met.fails_every_second_time(what, &[kind]);
        assert!(met.memory < before + LITTLE, "{what}: {before} {}", met.memory);
        // An answer that is one leaves the connection as it is.
        let answered = [FailureKind::Grpc, FailureKind::Status5xx].contains(&kind);
        let Met {
            ok, failed, retries, ..
        } = &met;
        assert_eq!(
            connections == 1,
            answered,
            "{what}: {connections} {ok} {failed:?} {retries}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_grpc_answers_that_are_none_are_protocol_failures() {
    let cases: [(&str, Says); 14] = [
        ("no trailers", |id| {
            let last = frame(DATA, END_STREAM, id, &[0, 0, 0, 0, 2, 8, 5]);
            ([head(id), last].concat(), Vec::new())
        }),
        ("trailers without a status", |id| {
            let trailers = frame(HEADERS, END_HEADERS | END_STREAM, id, &field("x-status", "0"));
            ([head(id), item(id), trailers].concat(), Vec::new())
        }),
        ("a status that is none", |id| {
            ([head(id), item(id), trailers(id, "fine")].concat(), Vec::new())
        }),
        ("a status that no number of gRPC is", |id| {
            ([head(id), item(id), trailers(id, "-1")].concat(), Vec::new())
        }),
        ("another content type", |id| {
            let fields = [&[STATUS_200][..], &field("content-type", "text/html")].concat();
            let head = frame(HEADERS, END_HEADERS, id, &fields);
            ([head, item(id), trailers(id, "0")].concat(), Vec::new())
        }),
        ("no content type", |id| {
            let head = frame(HEADERS, END_HEADERS, id, &[STATUS_200]);
            ([head, item(id), trailers(id, "0")].concat(), Vec::new())
        }),
        ("a message that is compressed", |id| {
            let message = message(id, 1, 2, &[8, 5]);
            ([head(id), message, trailers(id, "0")].concat(), Vec::new())
        }),
        ("a message that is cut off", |id| {
            let message = message(id, 0, 20, &[8, 5]);
            ([head(id), message, trailers(id, "0")].concat(), Vec::new())
        }),
        ("a length that is cut off", |id| {
            let start = frame(DATA, 0, id, &[0, 0, 0]);
            ([head(id), start, trailers(id, "0")].concat(), Vec::new())
        }),
        ("no message where all is well", |id| {
            ([head(id), trailers(id, "0")].concat(), Vec::new())
        }),
        ("two messages where one is to come", |id| {
            ([head(id), item(id), item(id), trailers(id, "0")].concat(), Vec::new())
        }),
        ("bytes that are no such message", |id| {
            // A field of number 1 whose type is not a number's.
            let message = message(id, 0, 3, &[10, 1, 0xff]);
            ([head(id), message, trailers(id, "0")].concat(), Vec::new())
        }),
        ("bytes that are no message at all", |id| {
            let message = message(id, 0, 4, &[0xff; 4]);
            ([head(id), message, trailers(id, "0")].concat(), Vec::new())
        }),
        ("trailers without end", |id| {
            let more = field("x-more", &"y".repeat(100)).repeat(10_000);
            let pieces = more.chunks(16_000).map(|piece| frame(CONTINUATION, 0, id, piece));
            let start = frame(HEADERS, END_STREAM, id, &field("grpc-status", "0"));
            (
                [head(id), item(id), start, pieces.collect::<Vec<_>>().concat()].concat(),
                Vec::new(),
            )
        }),
    ];
    fail_over_grpc(FailureKind::Protocol, Then::Stays, &cases).await;
    fail_over_grpc(FailureKind::Protocol, Then::Closes, &cases[..13]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_grpc_messages_too_long_to_be_one_are_protocol_failures_and_take_no_memory() {
    let cases: [(&str, Says); 3] = [
        ("longer than 64 MiB", |id| {
            let start = message(id, 0, (64 << 20) + 1, &[]);
            ([head(id), start].concat(), frame(DATA, 0, id, &[0; 16_384]))
        }),
        ("as long as can be said", |id| {
            let start = message(id, 0, u32::MAX, &[]);
            ([head(id), start].concat(), frame(DATA, 0, id, &[0; 16_384]))
        }),
        ("messages without end", |id| (head(id), item(id).repeat(1_000))),
    ];
    fail_over_grpc(FailureKind::Protocol, Then::Closes, &cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_grpc_ends_in_the_middle_of_a_message_are_resets() {
    let cases: [(&str, Says); 4] = [
        ("of the connection", |id| {
            ([head(id), message(id, 0, 20, &[8, 5])].concat(), Vec::new())
        }),
        ("of the stream", |id| {
            let reset = frame(RST_STREAM, 0, id, &[0, 0, 0, 2]);
            ([head(id), message(id, 0, 20, &[8, 5]), reset].concat(), Vec::new())
        }),
        ("with an error of the server", |id| {
            let last = [&id.to_be_bytes()[..], &[0, 0, 0, 2]].concat();
            let farewell = frame(GOAWAY, 0, 0, &last);
            ([head(id), message(id, 0, 20, &[8, 5]), farewell].concat(), Vec::new())
        }),
        ("with a farewell", |id| {
            let last = [&id.to_be_bytes()[..], &[0; 4]].concat();
            let farewell = frame(GOAWAY, 0, 0, &last);
            ([head(id), message(id, 0, 20, &[8, 5]), farewell].concat(), Vec::new())
        }),
    ];
    fail_over_grpc(FailureKind::Reset, Then::Closes, &cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_grpc_answers_that_never_become_whole_run_into_the_patience() {
    let cases: [(&str, Says); 2] = [
        ("half a message", |id| {
            ([head(id), message(id, 0, 20, &[8, 5])].concat(), Vec::new())
        }),
        ("no status", |id| ([head(id), item(id)].concat(), Vec::new())),
    ];
    let impatient = |address| {
        let mut plan = asking(address);
        plan.client.request_timeout = Duration::from_millis(300);
        plan
    };
    fail_as(FailureKind::BodyTimeout, Then::Stays, &cases, impatient).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_grpc_statuses_other_than_expected_are_named_and_leave_the_connection() {
    let cases: [(&str, Says); 5] = [
        ("nothing but a status", |id| {
            let fields = [
                &[STATUS_200][..],
                &field("content-type", "application/grpc"),
                &field("grpc-status", "5"),
                &field("grpc-message", "no%20such%20item"),
            ];
            let only = frame(HEADERS, END_HEADERS | END_STREAM, id, &fields.concat());
            (only, Vec::new())
        }),
        ("an error after a message", |id| {
            ([head(id), item(id), trailers(id, "13")].concat(), Vec::new())
        }),
        ("an error within a message", |id| {
            let half = message(id, 0, 20, &[8, 5]);
            ([head(id), half, trailers(id, "14")].concat(), Vec::new())
        }),
        ("an error after what is no message", |id| {
            let none = message(id, 0, 4, &[0xff; 4]);
            ([head(id), none, trailers(id, "13")].concat(), Vec::new())
        }),
        ("a status that nobody knows yet", |id| {
            ([head(id), item(id), trailers(id, "200")].concat(), Vec::new())
        }),
    ];
    fail_over_grpc(FailureKind::Grpc, Then::Stays, &cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_grpc_answers_of_a_proxy_are_what_they_are() {
    let cases: [(&str, Says); 2] = [
        ("without a body", |id| {
            (frame(HEADERS, END_HEADERS | END_STREAM, id, STATUS_503), Vec::new())
        }),
        ("with a page", |id| {
            let fields = [STATUS_503, &field("content-type", "text/html")].concat();
            let head = frame(HEADERS, END_HEADERS, id, &fields);
            let page = frame(DATA, END_STREAM, id, b"<h1>no service</h1>");
            ([head, page].concat(), Vec::new())
        }),
    ];
    fail_over_grpc(FailureKind::Status5xx, Then::Stays, &cases).await;
}

/// Nobody looks at the item, so what it is made of does not matter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_grpc_bytes_that_nobody_looks_at_cost_nothing() {
    let garbage: Says = |id| {
        let message = message(id, 0, 4, &[0xff; 4]);
        ([head(id), message, trailers(id, "0")].concat(), Vec::new())
    };
    let (address, connections) = listen(garbage, Then::Stays).await;
    let mut plan = asking(address);
    plan.steps[0].expect = Expect::default();
    let met = Met::by(&run(plan).await);
    assert_eq!(met.failed, BTreeMap::new());
    assert!(met.ok > 10, "{}", met.ok);
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_grpc_streams_are_named_as_single_answers_are() {
    let to_the_end = |address| reading(address, MessagesUntil::End);
    let protocol: [(&str, Says); 6] = [
        ("no trailers", |id| {
            let last = frame(DATA, END_STREAM, id, &[0, 0, 0, 0, 2, 8, 5]);
            ([head(id), item(id), last].concat(), Vec::new())
        }),
        ("a second message that is compressed", |id| {
            let second = message(id, 1, 2, &[8, 5]);
            ([head(id), item(id), second, trailers(id, "0")].concat(), Vec::new())
        }),
        ("a second message that is cut off", |id| {
            let second = message(id, 0, 20, &[8, 5]);
            ([head(id), item(id), second, trailers(id, "0")].concat(), Vec::new())
        }),
        ("a second message longer than 64 MiB", |id| {
            let second = message(id, 0, (64 << 20) + 1, &[]);
            ([head(id), item(id), second].concat(), Vec::new())
        }),
        ("a last message that is none", |id| {
            let last = message(id, 0, 4, &[0xff; 4]);
            ([head(id), item(id), last, trailers(id, "0")].concat(), Vec::new())
        }),
        ("another content type", |id| {
            let fields = [&[STATUS_200][..], &field("content-type", "text/html")].concat();
            let head = frame(HEADERS, END_HEADERS, id, &fields);
            ([head, item(id), trailers(id, "0")].concat(), Vec::new())
        }),
    ];
    fail_as(FailureKind::Protocol, Then::Stays, &protocol, to_the_end).await;
    let resets: [(&str, Says); 2] = [
        ("a reset between two messages", |id| {
            let reset = frame(RST_STREAM, 0, id, &[0, 0, 0, 2]);
            ([head(id), item(id), reset].concat(), Vec::new())
        }),
        ("a farewell between two messages", |id| {
            let last = [&id.to_be_bytes()[..], &[0; 4]].concat();
            ([head(id), item(id), frame(GOAWAY, 0, 0, &last)].concat(), Vec::new())
        }),
    ];
    fail_as(FailureKind::Reset, Then::Closes, &resets, to_the_end).await;
}

/// Sends messages as fast as they are taken, until it is told to stop.
async fn flood(answer: SendResponse<Bytes>, piece: Bytes) -> Option<Reason> {
    let mut stream = begin(answer);
    loop {
        stream.reserve_capacity(piece.len());
        match poll_fn(|context| stream.poll_capacity(context)).await {
            Some(Ok(room)) if room >= piece.len() => stream.send_data(piece.clone(), false).ok()?,
            Some(Ok(_)) => {}
            _ => return left(&mut stream).await,
        }
    }
}

/// Whoever leaves after a while does so however much comes, and whatever comes after enough messages is not looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_grpc_streams_that_never_stop_are_left_or_run_into_the_patience() {
    let _alone = MEMORY.lock().await;
    let before = resident();
    let messages = || Bytes::from([0, 0, 0, 0, 2, 8, 5].repeat(2_000));
    let a_while = || MessagesUntil::For(Duration::from_millis(100));
    let left_at_once = track(
        MessagesUntil::Messages(2),
        |_| {},
        move |answer| flood(answer, messages()),
    )
    .await;
    let left_in_time = track(
        a_while(),
        |plan| last_is(plan, 5),
        move |answer| flood(answer, messages()),
    )
    .await;
    let endless = track(MessagesUntil::End, impatient, move |answer| flood(answer, messages())).await;
    // One message of 64 MiB, and what is left of it.
    let long = track(
        MessagesUntil::End,
        |plan| {
            impatient(plan);
            last_is(plan, 5);
        },
        |answer| {
            let start = [&[0, 4, 0, 0, 0][..], &[8; 16_379]].concat();
            flood(answer, Bytes::from(start))
        },
    )
    .await;
    let garbage = track(
        MessagesUntil::Messages(2),
        |plan| last_is(plan, 5),
        |answer| async move {
            let mut stream = begin(answer);
            let bytes = [&[0, 0, 0, 0, 2, 8, 5].repeat(2)[..], &[0xff; 64]].concat();
            stream.send_data(bytes.into(), false).ok()?;
            left(&mut stream).await
        },
    )
    .await;
    for (what, tracked) in [
        ("at once", &left_at_once),
        ("in time", &left_in_time),
        ("garbage", &garbage),
    ] {
        tracked.all(None);
        assert_eq!(tracked.connections, 1, "{what}");
    }
    endless.all(Some(FailureKind::BodyTimeout));
    assert!(long.ran.ok() == 0 && !long.ran.failed().is_empty());
    for tracked in [left_at_once, left_in_time, endless, long, garbage] {
        let memory = Met::by(&tracked.ran).memory;
        assert!(memory < before + LITTLE, "{before} {memory}");
    }
}

/// What a server still sends of streams that were left is not taken for its fault, however many there are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_grpc_servers_that_go_on_with_streams_that_were_left_keep_their_connection() {
    let _alone = MEMORY.lock().await;
    let before = resident();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let counts: [Arc<AtomicU64>; 2] = std::array::from_fn(|_| Arc::default());
    let [connections, late] = counts.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            connections.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(go_on(stream, Arc::clone(&late)));
        }
    });
    let mut plan = reading(address, MessagesUntil::Messages(1));
    plan.client.connections.pool = Some(1);
    plan.client.connections.http2 = Some(20);
    plan.journeys[0].think = Wait::constant(Duration::from_millis(5));
    plan.stages[0].level = 20.0;
    let met = Met::by(&run(plan).await);
    assert_eq!(met.failed, BTreeMap::new());
    let [connections, late] = counts.map(|count| count.load(Ordering::SeqCst));
    // The h2 crate by itself forgives a connection a thousand of them, or 17,000 where it remembers the streams.
    assert!(late > 20_000, "{late}");
    assert!(met.memory < before + LITTLE, "{before} {}", met.memory);
    assert_eq!(connections, 1);
}

/// Messages of a stream that come when its user has left.
const LATE: u64 = 100;

/// Answers with a message, and sends more once its user has left.
async fn go_on(mut stream: TcpStream, late: Arc<AtomicU64>) -> Option<()> {
    stream.read_exact(&mut [0; 24]).await.ok()?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.ok()?;
    loop {
        let (kind, flags, id) = next_frame(&mut stream).await?;
        let says = match kind {
            SETTINGS if flags == 0 => frame(SETTINGS, 1, 0, &[]),
            DATA if flags & END_STREAM != 0 => [head(id), item(id)].concat(),
            RST_STREAM => {
                late.fetch_add(LATE, Ordering::SeqCst);
                item(id).repeat(LATE as usize)
            }
            _ => continue,
        };
        stream.write_all(&says).await.ok()?;
    }
}
