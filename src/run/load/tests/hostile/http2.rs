//! Over HTTP/2, frame by frame: floods, bombs, frames that must not be and ends in the middle.

use super::*;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

/// `:status: 200` by its number in the static table (RFC 7541, appendix A).
pub(super) const STATUS_200: u8 = 0x88;

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header field that the table of the connection does not keep; both lengths below 127.
pub(super) fn field(name: &str, value: &str) -> Vec<u8> {
    [
        &[0, name.len() as u8],
        name.as_bytes(),
        &[value.len() as u8],
        value.as_bytes(),
    ]
    .concat()
}

/// What is said to a request on this stream, and then again and again; where that is nothing, the connection ends.
pub(super) type Says = fn(u32) -> (Vec<u8>, Vec<u8>);

pub(super) async fn next_frame(stream: &mut TcpStream) -> Option<(u8, u8, u32)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    stream.read_exact(&mut vec![0; length as usize]).await.ok()?;
    let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    Some((head[3], head[4], id))
}

/// Every second request is answered well.
async fn serve_one(mut stream: TcpStream, asked: Arc<AtomicU64>, says: Says) -> Option<()> {
    stream.read_exact(&mut [0; 24]).await.ok()?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.ok()?;
    loop {
        let (kind, flags, id) = next_frame(&mut stream).await?;
        if kind == SETTINGS && flags == 0 {
            stream.write_all(&frame(SETTINGS, 1, 0, &[])).await.ok()?;
        }
        if kind != HEADERS {
            continue;
        }
        if asked.fetch_add(1, Ordering::SeqCst) % 2 == 1 {
            let (once, ever) = says(id);
            stream.write_all(&once).await.ok()?;
            while !ever.is_empty() {
                stream.write_all(&ever).await.ok()?;
            }
            return None;
        }
        let good = frame(HEADERS, END_HEADERS | END_STREAM, id, &[STATUS_200]);
        stream.write_all(&good).await.ok()?;
    }
}

async fn meet_over_http2(says: Says) -> Met {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicU64::new(0));
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve_one(stream, Arc::clone(&asked), says));
        }
    });
    let mut plan = one_user(address);
    plan.client.connections.http2 = Some(4);
    // Not sent again on another connection.
    plan.steps[0].method = "POST".to_owned();
    let ran = run(plan).await;
    server.abort();
    Met::by(&ran)
}

async fn fail_over_http2(kind: FailureKind, cases: &[(&str, Says)]) {
    let _alone = MEMORY.lock().await;
    let before = resident();
    let met = join_all(cases.iter().map(|(_, says)| meet_over_http2(*says))).await;
    for ((what, _), met) in cases.iter().zip(met) {
        met.fails_every_second_time(what, &[kind]);
        assert!(met.memory < before + LITTLE, "{what}: {before} {}", met.memory);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_http2_floods_run_into_the_patience_and_take_no_memory() {
    let cases: [(&str, Says); 3] = [
        ("pings", |_| (Vec::new(), frame(PING, 0, 0, &[7; 8]).repeat(1_000))),
        ("settings", |_| (Vec::new(), frame(SETTINGS, 0, 0, &[]).repeat(1_000))),
        ("room to send", |id| {
            (Vec::new(), frame(WINDOW_UPDATE, 0, id, &[0, 0, 0, 1]).repeat(1_000))
        }),
    ];
    fail_over_http2(FailureKind::Timeout, &cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_http2_bombs_and_frames_that_must_not_be_are_protocol_failures_and_take_no_memory() {
    let cases: [(&str, Says); 8] = [
        ("a body without end", |id| {
            let head = frame(HEADERS, END_HEADERS, id, &[STATUS_200]);
            (head, frame(DATA, 0, id, &[b'x'; 16_384]))
        }),
        ("pieces of a body that are empty", |id| {
            let head = frame(HEADERS, END_HEADERS, id, &[STATUS_200]);
            (head, frame(DATA, 0, id, &[]).repeat(1_000))
        }),
        ("a head without end", |id| {
            let head = frame(HEADERS, 0, id, &[STATUS_200]);
            let more = field("x-more", &"y".repeat(100)).repeat(100);
            (head, frame(CONTINUATION, 0, id, &more))
        }),
        ("a head that grows by its table", |id| {
            // One field of 4,000 bytes is kept, and named 16,000 times by a byte each.
            let kept = [&[0x40, 1, b'x', 0x7f, 0xa1, 0x1e][..], &[b'y'; 4_000]].concat();
            let bomb = [&[STATUS_200][..], &kept, &[0xbe; 12_000]].concat();
            (frame(HEADERS, END_HEADERS | END_STREAM, id, &bomb), Vec::new())
        }),
        ("a body of no stream", |_| (frame(DATA, 0, 0, b"x"), Vec::new())),
        ("a frame longer than was allowed", |id| {
            (frame(DATA, 0, id, &[0; 20_000]), Vec::new())
        }),
        ("a head within another", |id| {
            let other = frame(HEADERS, END_HEADERS, id, &[STATUS_200]);
            ([frame(HEADERS, 0, id, &[STATUS_200]), other].concat(), Vec::new())
        }),
        ("HTTP/1.1", |_| (GOOD.to_vec(), Vec::new())),
    ];
    fail_over_http2(FailureKind::Protocol, &cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_http2_bodies_byte_by_byte_take_no_memory() {
    let bytes: Says = |id| {
        let head = frame(HEADERS, END_HEADERS, id, &[STATUS_200]);
        (head, frame(DATA, 0, id, b"x").repeat(10_000))
    };
    let _alone = MEMORY.lock().await;
    let before = resident();
    let met = meet_over_http2(bytes).await;
    // Whichever is first: his patience, or more than the server was allowed to send.
    met.fails_every_second_time("a byte a frame", &[FailureKind::BodyTimeout, FailureKind::Protocol]);
    assert!(met.memory < before + LITTLE, "{before} {}", met.memory);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_http2_ends_in_the_middle_are_resets() {
    let cases: [(&str, Says); 5] = [
        ("of a request", |_| (Vec::new(), Vec::new())),
        ("of a body", |id| {
            let head = frame(HEADERS, END_HEADERS, id, &[STATUS_200]);
            ([head, frame(DATA, 0, id, b"half")].concat(), Vec::new())
        }),
        ("of a stream", |id| {
            (frame(RST_STREAM, 0, id, &[0, 0, 0, 2]), Vec::new())
        }),
        ("with an error of the server", |id| {
            let last = [&id.to_be_bytes()[..], &[0, 0, 0, 2]].concat();
            (frame(GOAWAY, 0, 0, &last), Vec::new())
        }),
        // It has looked at the request, which therefore is not sent again.
        ("with a farewell", |id| {
            let last = [&id.to_be_bytes()[..], &[0; 4]].concat();
            (frame(GOAWAY, 0, 0, &last), Vec::new())
        }),
    ];
    fail_over_http2(FailureKind::Reset, &cases).await;
}
