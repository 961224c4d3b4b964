//! Tables of responses, however they are cut, and the same bytes given to hyper.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::handshake;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// What a user gets of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Whole { status: u16, body: Vec<u8> },
    Cut,
    Wrong,
}

#[derive(Default)]
struct Heard {
    status: u16,
    server: Vec<u8>,
    body: Vec<u8>,
}

impl Receiver for Heard {
    fn head(&mut self, head: &Head<'_>) {
        self.status = head.status;
        self.server = head.get("Server").unwrap_or_default().to_vec();
    }

    fn body(&mut self, piece: &[u8]) {
        self.body.extend_from_slice(piece);
    }
}

/// Reads pieces and then the end of the stream: the outcome, whether the connection can be used again, and what was
/// left over of the last piece.
fn read(pieces: &[&[u8]], to_head: bool) -> (Outcome, bool, usize) {
    let (mut reader, mut heard) = (Reader::default(), Heard::default());
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        match reader.feed(piece, to_head, &mut heard) {
            Err(_) => return (Outcome::Wrong, false, 0),
            Ok(Progress::More) => {}
            Ok(Progress::Whole { used, reusable }) => {
                let (status, body) = (heard.status, heard.body);
                return (Outcome::Whole { status, body }, reusable, piece.len() - used);
            }
        }
    }
    match reader.at_end() {
        AtEnd::Cut => (Outcome::Cut, false, 0),
        AtEnd::Whole => {
            let (status, body) = (heard.status, heard.body);
            (Outcome::Whole { status, body }, false, 0)
        }
    }
}

fn whole(status: u16, body: &str) -> Outcome {
    Outcome::Whole {
        status,
        body: body.as_bytes().to_vec(),
    }
}

#[test]
fn responses_end_where_their_head_says() {
    let table: [(&str, Outcome, bool); 26] = [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            whole(200, "hello"),
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
            whole(200, "hello"),
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\n\r\nhello",
            whole(200, "hello"),
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
            Outcome::Wrong,
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: five\r\n\r\nhello",
            Outcome::Wrong,
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
            Outcome::Wrong,
            false,
        ),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello", Outcome::Cut, false),
        ("HTTP/1.1 200 OK\r\n\r\nto the end", whole(200, "to the end"), false),
        (
            "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
            whole(200, "ok"),
            false,
        ),
        (
            "HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\ncontent-length: 2\r\n\r\nok",
            whole(200, "ok"),
            true,
        ),
        (
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            Outcome::Wrong,
            false,
        ),
        (
            "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n",
            whole(204, ""),
            true,
        ),
        (
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
            whole(304, ""),
            true,
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            whole(200, "ok"),
            true,
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
            whole(101, ""),
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            whole(200, "hello"),
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;a=b;c=\"d\"\r\nhe\r\n03 \r\nllo\r\n0\r\nx-sum: 1\r\ny: z\r\n\r\n",
            whole(200, "hello"),
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            whole(200, "hello"),
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
            whole(200, "x"),
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, gzip\r\n\r\nraw",
            whole(200, "raw"),
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
            Outcome::Wrong,
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nabc\r\n",
            Outcome::Wrong,
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10000000000000000\r\n",
            Outcome::Wrong,
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
            Outcome::Cut,
            false,
        ),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", Outcome::Wrong, false),
        (
            "HTTP/1.1 200 OK\r\nfolded: a\r\n b\r\ncontent-length: 0\r\n\r\n",
            Outcome::Wrong,
            false,
        ),
    ];
    for (text, outcome, reusable) in table {
        let (got, again, left) = read(&[text.as_bytes()], false);
        assert_eq!((&got, again, left), (&outcome, reusable, 0), "{text:?}");
    }
}

#[test]
fn a_head_has_no_body_whatever_it_says() {
    let text = b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n";
    assert_eq!(read(&[text], true), (whole(200, ""), true, 0));
    assert_eq!(read(&[text], false).0, Outcome::Cut);
}

#[test]
fn what_comes_unasked_is_left_over() {
    let text = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n";
    assert_eq!(read(&[text], false), (whole(200, "ok"), true, 17));
}

#[test]
fn heads_and_bodies_are_bounded() {
    let mut long = b"HTTP/1.1 200 OK\r\n".to_vec();
    while long.len() < 1 << 20 {
        long.extend_from_slice(b"x-filler: ");
        long.resize(long.len() + 60_000, b'x');
        long.extend_from_slice(b"\r\n");
    }
    for size in [1_000, 4_096, 65_536, 1 << 20] {
        let pieces: Vec<&[u8]> = long.chunks(size).collect();
        assert_eq!(read(&pieces, false).0, Outcome::Wrong, "{size}");
    }
    let mut reader = Reader::default();
    let mut heard = Heard::default();
    for byte in &long {
        if reader.feed(&[*byte], false, &mut heard).is_err() {
            break;
        }
        assert!(reader.kept.len() <= HEAD_MAX + 1, "memory is bounded");
    }
    let too_long = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", BODY_MAX + 1);
    assert_eq!(read(&[too_long.as_bytes()], false).0, Outcome::Wrong);
    let extension = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;{}\r\nx\r\n0\r\n\r\n",
        "e".repeat(20_000)
    );
    assert_eq!(read(&[extension.as_bytes()], false).0, Outcome::Wrong);
}

#[test]
fn a_reader_is_as_new_after_each_response() {
    let (mut reader, mut heard) = (Reader::default(), Heard::default());
    for _ in 0..3 {
        heard = Heard::default();
        let text = b"HTTP/1.1 200 OK\r\nSERVER: me\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
        let progress = reader.feed(text, false, &mut heard);
        assert_eq!(
            progress,
            Ok(Progress::Whole {
                used: text.len(),
                reusable: true
            })
        );
    }
    assert_eq!(
        (heard.status, heard.server.as_slice(), heard.body.as_slice()),
        (200, &b"me"[..], &b"ok"[..])
    );
}

/// Lines of heads, right and wrong, in any order.
fn header() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0u32..40).prop_map(|length| format!("Content-Length: {length}\r\n")),
        4 => Just("Transfer-Encoding: chunked\r\n".to_owned()),
        1 => Just("transfer-encoding: gzip\r\n".to_owned()),
        1 => Just("transfer-encoding:  gzip ,\tchunked \r\n".to_owned()),
        1 => Just("content-length: 7, 7\r\n".to_owned()),
        1 => Just("content-length: -1\r\n".to_owned()),
        2 => Just("connection: close\r\n".to_owned()),
        1 => Just("connection: keep-alive, x\r\n".to_owned()),
        2 => "[a-z-]{1,8}: [ -~]{0,12}\r\n",
        1 => "[ -~]{0,8}\r\n",
        1 => Just(" folded\r\n".to_owned()),
    ]
}

fn body() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-z]{0,40}",
        3 => prop::collection::vec(("[a-z]{1,20}", "(;[a-z=\"]{0,5})?"), 0..4).prop_map(|chunks| {
            let mut text = String::new();
            for (data, extension) in chunks {
                text += &format!("{:x}{extension}\r\n{data}\r\n", data.len());
            }
            text + "0\r\n\r\n"
        }),
        1 => "([0-9a-f]{1,3}\r\n[a-z]{0,9}\r\n){0,3}0\r\n(a: b\r\n)?\r\n",
        1 => "[0-9a-f;\r\n ]{0,20}",
    ]
}

fn response() -> impl Strategy<Value = Vec<u8>> {
    let status = prop_oneof![
        6 => Just("200 OK"), 1 => Just("204 No Content"), 1 => Just("304 Not Modified"), 1 => Just("404"),
        1 => Just("503 Service Unavailable"), 1 => Just("999 Odd"), 1 => Just("20 No"),
    ];
    let version = prop_oneof![8 => Just("HTTP/1.1"), 2 => Just("HTTP/1.0"), 1 => Just("HTTP/2.0")];
    let early = prop_oneof![4 => Just(""), 1 => Just("HTTP/1.1 100 Continue\r\n\r\n"), 1 => Just("HTTP/1.1 103 Early\r\na: b\r\n\r\n")];
    (early, version, status, prop::collection::vec(header(), 0..4), body()).prop_map(
        |(early, version, status, headers, body)| {
            format!("{early}{version} {status}\r\n{}\r\n{body}", headers.concat()).into_bytes()
        },
    )
}

/// hyper's view of the same bytes.
async fn hyper_reads(bytes: Vec<u8>, to_head: bool) -> Outcome {
    let (client, mut server) = tokio::io::duplex(1 << 20);
    let talk = async move {
        let mut request = [0; 1024];
        let _ = server.read(&mut request).await;
        let _ = server.write_all(&bytes).await;
        let _ = server.shutdown().await;
        // Kept open for reading, so that the end is a clean one.
        while server.read(&mut request).await.is_ok_and(|length| length > 0) {}
    };
    let ask = async move {
        let Ok((mut sender, connection)) = handshake::<_, Empty<Bytes>>(TokioIo::new(client)).await else {
            return Outcome::Wrong;
        };
        let method = if to_head { Method::HEAD } else { Method::GET };
        let request = Request::builder().method(method).uri("/").body(Empty::new());
        let exchange = async {
            let response = sender
                .send_request(request.expect("the request is a valid constant"))
                .await?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await?.to_bytes().to_vec();
            Ok::<_, hyper::Error>(Outcome::Whole { status, body })
        };
        // What happens on the connection after the response is not the response's outcome.
        let driven = async {
            let _ = connection.await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            outcome = exchange => outcome.unwrap_or_else(|error| {
                let cut = error.is_incomplete_message() || error.is_body_write_aborted()
                    || std::error::Error::source(&error)
                        .and_then(|source| source.downcast_ref::<std::io::Error>())
                        .is_some_and(|error| error.kind() == std::io::ErrorKind::UnexpectedEof);
                if cut { Outcome::Cut } else { Outcome::Wrong }
            }),
            () = driven => Outcome::Cut,
        }
    };
    tokio::select! {
        outcome = ask => outcome,
        () = async { talk.await; std::future::pending::<()>().await } => Outcome::Cut,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn differential_the_same_bytes_mean_the_same_to_hyper(bytes in response(), to_head in prop::bool::weighted(0.1)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let theirs = runtime.block_on(hyper_reads(bytes.clone(), to_head));
        let ours = read(&[&bytes], to_head).0;
        prop_assert_eq!(ours, theirs, "{}", String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn however_a_response_is_cut_it_means_the_same(
        bytes in response(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        let (cut, whole) = (read(&pieces, false), read(&[&bytes], false));
        prop_assert_eq!((cut.0, cut.1), (whole.0, whole.1));
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(read(&single, false).0, read(&[&bytes], false).0);
    }

    #[test]
    fn garbage_panics_nobody(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read(&[&bytes], false);
        let mut after_a_head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        after_a_head.extend(bytes);
        read(&[&after_a_head], false);
    }
}
