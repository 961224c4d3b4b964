//! Bodies that do not end, do not come, or are more than they seem.

use std::io::Write as _;

use super::*;
use crate::run::coding::encode;

/// Whichever comes first: the bound of a body, or the user's patience.
const CUT_OFF: &[FailureKind] = &[FailureKind::Protocol, FailureKind::BodyTimeout];
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_bodies_without_end_are_cut_off_and_take_no_memory() {
    let chunk = [b"100000\r\n".as_slice(), &vec![b'x'; 1 << 20], b"\r\n"].concat();
    let much = || vec![b'x'; 1 << 20];
    let cases = [
        ("chunks", says_without_end(CHUNKED, chunk)),
        (
            "until an end that never comes",
            says_without_end("HTTP/1.1 200 OK\r\n\r\n", much()),
        ),
        (
            "a length that no disk holds",
            says_without_end(
                "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\n",
                much(),
            ),
        ),
    ];
    fail_in_little_memory(CUT_OFF, &cases, |_| {}).await;
    // Bodies that are looked at are kept as far as checks see.
    let looked_at = |plan: &mut Plan| plan.steps[0].expect.body = vec![Wanted::Contains("ok".to_owned())];
    fail_in_little_memory(CUT_OFF, &cases, looked_at).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_overhead_without_end_is_a_protocol_failure_and_takes_no_memory() {
    let ones = b"1;a=b\r\nx\r\n".repeat(1 << 16);
    fail_in_little_memory(
        &[FailureKind::Protocol],
        &[
            (
                "an extension without end",
                says_without_end(
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;",
                    vec![b'x'; 1 << 16],
                ),
            ),
            ("extensions without end", says_without_end(CHUNKED, ones)),
            (
                "trailers without end",
                says_without_end(
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
                    b"a: b\r\n".repeat(1 << 13),
                ),
            ),
        ],
        |_| {},
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_slow_drips_are_timeouts() {
    let drip = misdeed(|mut stream| async move {
        for byte in GOOD {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    fail(&[
        ("one byte and then another", FailureKind::BodyTimeout, drip),
        ("nothing", FailureKind::Timeout, says_no_more_than("")),
        (
            "half a head",
            FailureKind::BodyTimeout,
            says_no_more_than("HTTP/1.1 200 OK\r\nconten"),
        ),
        (
            "less than its length",
            FailureKind::BodyTimeout,
            says_no_more_than("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"),
        ),
        (
            "a chunk that does not come",
            FailureKind::BodyTimeout,
            says_no_more_than("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhe"),
        ),
        (
            "no end of the chunks",
            FailureKind::BodyTimeout,
            says_no_more_than("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n"),
        ),
    ])
    .await;
}

fn encoded(coding: &str, body: &[u8]) -> Misdeed {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\ncontent-length: {length}\r\n\r\n");
    says([head.as_bytes(), body].concat())
}

/// 256 MiB in a few hundred KiB; never in memory, which this is about.
fn bomb() -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let piece = vec![b'o'; 1 << 20];
    for _ in 0..256 {
        encoder.write_all(&piece).unwrap();
    }
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_gzip_bombs_are_protocol_failures_and_take_no_memory() {
    let bomb = bomb();
    let nested = encode(Coding::Zstd, &encode(Coding::Gzip, &bomb));
    let cut = encode(Coding::Gzip, b"this is ok");
    let cases = [
        ("a bomb", encoded("gzip", &bomb)),
        ("bombs in one another", encoded("gzip, gzip, zstd", &nested)),
        ("cut", encoded("gzip", &cut[..cut.len() - 1])),
        ("not encoded", encoded("gzip", b"this is ok")),
        ("in what nobody knows", encoded("rot13", b"this is ok")),
    ];
    let looked_at = |plan: &mut Plan| plan.steps[0].expect.body = vec![Wanted::Contains("ok".to_owned())];
    fail_in_little_memory(&[FailureKind::Protocol], &cases, looked_at).await;
    // A body nobody looks at is not decoded.
    are_fine("POST", &cases).await;
}
