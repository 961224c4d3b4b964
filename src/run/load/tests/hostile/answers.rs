//! Answers that are none, and strange ones that are.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_garbage_is_a_protocol_failure() {
    let head = |lines: &str| says(format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\nok"));
    let wrong = FailureKind::Protocol;
    fail(&[
        ("no HTTP", wrong, says("\u{0}\u{1}\u{2} nothing of HTTP \r\n\r\n")),
        ("another protocol", wrong, says("SSH-2.0-OpenSSH_9.2\r\n\r\n")),
        ("another version", wrong, says("HTTP/3.0 200 OK\r\n\r\n")),
        ("no status", wrong, says("HTTP/1.1 OK\r\n\r\n")),
        ("obs-fold", wrong, head("folded: a\r\n b")),
        ("a control character", wrong, head("a: b\u{0}c")),
        ("no colon", wrong, head("what is this?")),
        (
            "more fields than anybody needs",
            wrong,
            head(&vec!["a: b"; 101].join("\r\n")),
        ),
        ("two lengths", wrong, head("content-length: 1\r\ncontent-length: 2")),
        ("two lengths in one", wrong, head("content-length: 1, 2")),
        ("a length below nothing", wrong, head("content-length: -1")),
        ("a length in words", wrong, head("content-length: two")),
        ("no length at all", wrong, head("content-length:")),
        (
            "a length beyond numbers",
            wrong,
            head("content-length: 99999999999999999999"),
        ),
        (
            "a chunk of no size",
            wrong,
            head("transfer-encoding: chunked\r\n\r\nzz"),
        ),
        (
            "a chunk beyond numbers",
            wrong,
            head("transfer-encoding: chunked\r\n\r\n1ffffffffffffffff"),
        ),
        (
            "a chunk longer than it says",
            wrong,
            head("transfer-encoding: chunked\r\n\r\n1\r\nabc\r\n0"),
        ),
        (
            "a trailer that is none",
            wrong,
            head("transfer-encoding: chunked\r\n\r\n0\r\nno field"),
        ),
        (
            "chunks of HTTP/1.0",
            wrong,
            says("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_heads_without_end_are_cut_off_and_take_no_memory() {
    let field = [b"x-filler: ".as_slice(), &[b'x'; 16_000], b"\r\n"].concat();
    let mebibyte = [b"HTTP/1.1 200 OK\r\n".as_slice(), &field.repeat(66), b"\r\n"].concat();
    fail_in_little_memory(
        &[FailureKind::Protocol],
        &[
            ("a head of 1 MiB", says(mebibyte)),
            ("fields without end", says_without_end("HTTP/1.1 200 OK\r\n", field)),
            (
                "a field without end",
                says_without_end("HTTP/1.1 200 OK\r\na: ", vec![b'x'; 1 << 16]),
            ),
            (
                "a reason without end",
                says_without_end("HTTP/1.1 200 ", vec![b'x'; 1 << 16]),
            ),
        ],
        |_| {},
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_interim_answers_without_end_run_into_the_patience_and_take_no_memory() {
    let continues = b"HTTP/1.1 100 Continue\r\nx: y\r\n\r\n".repeat(1000);
    fail_in_little_memory(
        &[FailureKind::BodyTimeout],
        &[("continues without end", says_without_end("", continues))],
        |_| {},
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_but_lawful_answers_are_answers() {
    let half_closed = misdeed(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nuntil the end").await;
        let _ = stream.shutdown().await;
        swallow(&mut stream).await;
    });
    let whole_and_half_closed = misdeed(|mut stream| async move {
        let _ = stream.write_all(GOOD).await;
        let _ = stream.shutdown().await;
        swallow(&mut stream).await;
    });
    are_fine(
        "GET",
        &[
            (
                "many 1xx before",
                says_and_stays(
                    "HTTP/1.1 100 Continue\r\n\r\n".repeat(50)
                        + "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
                ),
            ),
            (
                "extensions and trailers",
                says_and_stays(
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;a=\"b\"\r\nok\r\n0;c\r\ntrailer: x\r\n\r\n",
                ),
            ),
            ("until the end", says("HTTP/1.1 200 OK\r\n\r\nuntil the end")),
            ("until half the end", half_closed),
            ("half closed once it is whole", whole_and_half_closed),
            (
                "a length of what does not follow 304",
                says_and_stays("HTTP/1.1 304 Not Modified\r\ncontent-length: 500\r\n\r\n"),
            ),
            (
                "a length of what does not follow 204",
                says_and_stays("HTTP/1.1 204 No Content\r\ncontent-length: 500\r\n\r\n"),
            ),
        ],
    )
    .await;
    let of_a_get = says_and_stays("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n");
    are_fine("HEAD", &[("the length of a GET's body", of_a_get)]).await;
}

/// Whatever follows an answer belongs to no request: the connection is given up, and the next answer is not shifted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_extra_bytes_shift_no_answer() {
    are_fine(
        "GET",
        &[
            (
                "an answer more",
                says_and_stays(
                    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n",
                ),
            ),
            (
                "a body of 204",
                says_and_stays("HTTP/1.1 204 No Content\r\ncontent-length: 4\r\n\r\nbody"),
            ),
            (
                "a body of 304",
                says_and_stays("HTTP/1.1 304 Not Modified\r\ncontent-length: 4\r\n\r\nbody"),
            ),
            (
                "more than its length",
                says_and_stays("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok and more"),
            ),
            (
                "both lengths",
                says_and_stays(
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n2\r\nok\r\n0\r\n\r\n",
                ),
            ),
        ],
    )
    .await;
    let body = says_and_stays("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody");
    are_fine("HEAD", &[("a body of a HEAD", body)]).await;
}
