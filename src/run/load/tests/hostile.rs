//! Servers that misbehave: every outcome has its name, memory stays bounded, and the user goes on.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

/// What a hostile server does with a request it was asked on `stream`.
type Misdeed = fn(TcpStream) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Every second request of a user is answered well, so that it is seen to go on: successes, failures by kind, and
/// the most memory the process had.
async fn meet(method: &str, misdeed: Misdeed) -> (u64, BTreeMap<FailureKind, u64>, u64) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicU64::new(0));
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let asked = Arc::clone(&asked);
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).await.is_ok_and(|length| length > 0) {
                    if asked.fetch_add(1, Ordering::SeqCst) % 2 == 1 {
                        return misdeed(stream).await;
                    }
                    stream.write_all(GOOD).await.unwrap();
                }
            });
        }
    });
    let mut plan = plan(address);
    plan.steps[0].method = method.to_owned();
    plan.client.shards = Some(1);
    plan.client.request_timeout = Duration::from_millis(300);
    plan.journeys[0].think = Wait::Uniform {
        min: Duration::from_millis(20),
        max: Duration::from_millis(20),
    };
    stage(&mut plan, 1.0, Duration::ZERO, Duration::from_secs(2));
    let ran = run(plan).await;
    assert_eq!(ran.dropped(), 0);
    let memory = ran.slices.iter().map(|slice| slice.generator.resident_bytes).max();
    (ran.ok(), ran.failed(), memory.unwrap_or_default())
}

/// Each misdeed fails as `kind`, and as often as the user was answered well, give or take the last.
async fn fails(kind: FailureKind, misdeed: Misdeed) {
    let (ok, failed, _) = meet("POST", misdeed).await;
    assert_eq!(failed.keys().collect::<Vec<_>>(), [&kind]);
    assert!(ok >= 3 && ok.abs_diff(failed[&kind]) <= 1, "{ok} {failed:?}");
}

/// Each misdeed is an answer like any other.
async fn is_fine(method: &str, misdeed: Misdeed) {
    let (ok, failed, _) = meet(method, misdeed).await;
    assert_eq!(failed, BTreeMap::new());
    assert!(ok > 10, "{ok}");
}

/// Sends bytes and closes.
macro_rules! says {
    ($bytes:expr) => {
        |mut stream| {
            Box::pin(async move {
                let _ = stream.write_all($bytes.as_ref()).await;
            })
        }
    };
}

/// Sends bytes and keeps the connection open.
macro_rules! says_and_stays {
    ($bytes:expr) => {
        |mut stream| {
            Box::pin(async move {
                let _ = stream.write_all($bytes.as_ref()).await;
                let mut rest = [0; 64];
                while stream.read(&mut rest).await.is_ok_and(|length| length > 0) {
                    let _ = stream.write_all(GOOD).await;
                }
            })
        }
    };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_garbage_is_a_protocol_failure() {
    fails(FailureKind::Protocol, says!("\u{0}\u{1}\u{2} nothing of HTTP \r\n\r\n")).await;
    fails(
        FailureKind::Protocol,
        says!("HTTP/1.1 200 OK\r\nfolded: a\r\n b\r\n\r\n"),
    )
    .await;
    fails(
        FailureKind::Protocol,
        says!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nok"),
    )
    .await;
    fails(
        FailureKind::Protocol,
        says!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_heads_without_end_are_cut_off() {
    let head = |mut stream: TcpStream| -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
            let line = [b"x-filler: ".as_slice(), &[b'x'; 16_000], b"\r\n"].concat();
            for _ in 0..(1 << 20) / line.len() {
                if stream.write_all(&line).await.is_err() {
                    return;
                }
            }
            let _ = stream.write_all(b"\r\n").await;
        })
    };
    fails(FailureKind::Protocol, head).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_bodies_without_end_are_cut_off_and_take_no_memory() {
    let (_, _, before) = meet("GET", says_and_stays!(GOOD)).await;
    let endless: Misdeed = |mut stream| {
        Box::pin(async move {
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                .await;
            let chunk = [b"100000\r\n".as_slice(), &vec![b'x'; 1 << 20], b"\r\n"].concat();
            while stream.write_all(&chunk).await.is_ok() {}
        })
    };
    let (ok, failed, memory) = meet("POST", endless).await;
    // Whichever comes first: the bound of a body, or the user's patience.
    let cut: u64 = [FailureKind::Protocol, FailureKind::BodyTimeout]
        .iter()
        .filter_map(|kind| failed.get(kind))
        .sum();
    assert_eq!(cut, failed.values().sum::<u64>(), "{failed:?}");
    assert!(cut >= 3 && ok.abs_diff(cut) <= 1, "{ok} {failed:?}");
    assert!(memory < before + (48 << 20), "{before} {memory}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_slow_drips_are_timeouts() {
    let drip: Misdeed = |mut stream| {
        Box::pin(async move {
            for byte in GOOD {
                if stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
    };
    fails(FailureKind::BodyTimeout, drip).await;
    let silent: Misdeed = |mut stream| {
        Box::pin(async move {
            let mut rest = [0; 64];
            while stream.read(&mut rest).await.is_ok_and(|length| length > 0) {}
        })
    };
    fails(FailureKind::Timeout, silent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_ends_and_resets_are_resets() {
    fails(FailureKind::Reset, says!("HTTP/1.1 200 OK\r\nconten")).await;
    fails(
        FailureKind::Reset,
        says!("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"),
    )
    .await;
    fails(
        FailureKind::Reset,
        says!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhe"),
    )
    .await;
    let reset: Misdeed = |mut stream| {
        Box::pin(async move {
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
                .await;
            tokio::time::sleep(Duration::from_millis(5)).await;
            socket2::SockRef::from(&stream)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
        })
    };
    fails(FailureKind::Reset, reset).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_but_lawful_answers_are_answers() {
    is_fine(
        "GET",
        says_and_stays!(
            "HTTP/1.1 100 Continue\r\n\r\n".repeat(50)
                + "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
        ),
    )
    .await;
    is_fine(
        "GET",
        says_and_stays!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;a=\"b\"\r\nok\r\n0;c\r\ntrailer: x\r\n\r\n"
        ),
    )
    .await;
    is_fine("GET", says!("HTTP/1.1 200 OK\r\n\r\nuntil the end")).await;
    let half_closed: Misdeed = |mut stream| {
        Box::pin(async move {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nuntil the end").await;
            let _ = stream.shutdown().await;
            let mut rest = [0; 64];
            while stream.read(&mut rest).await.is_ok_and(|length| length > 0) {}
        })
    };
    is_fine("GET", half_closed).await;
    is_fine(
        "HEAD",
        says_and_stays!("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n"),
    )
    .await;
    is_fine(
        "GET",
        says_and_stays!("HTTP/1.1 304 Not Modified\r\ncontent-length: 500\r\n\r\n"),
    )
    .await;
}

/// Whatever follows an answer belongs to no request: the connection is given up, and the next answer is not shifted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_extra_bytes_shift_no_answer() {
    let misdeeds: [Misdeed; 4] = [
        says_and_stays!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n"),
        says_and_stays!("HTTP/1.1 204 No Content\r\ncontent-length: 4\r\n\r\nbody"),
        says_and_stays!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok and more"),
        says_and_stays!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n2\r\nok\r\n0\r\n\r\n"
        ),
    ];
    for misdeed in misdeeds {
        is_fine("GET", misdeed).await;
    }
}

/// What a bomb, or any other body that is not what its head says, does to a step that looks at bodies.
async fn fails_where_bodies_are_looked_at(kind: FailureKind, body: &[u8], coding: &str) {
    let answer = [
        format!(
            "HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .as_bytes(),
        body,
    ]
    .concat();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicU64::new(0));
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (asked, answer) = (Arc::clone(&asked), answer.clone());
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).await.is_ok_and(|length| length > 0) {
                    let bad = asked.fetch_add(1, Ordering::SeqCst) % 2 == 1;
                    let answer = if bad { &answer } else { GOOD };
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let mut plan = plan(address);
    plan.client.shards = Some(1);
    plan.journeys[0].think = Wait::constant(Duration::from_millis(20));
    stage(&mut plan, 1.0, Duration::ZERO, Duration::from_secs(1));
    let unseen = run(plan.clone()).await;
    assert_eq!(
        unseen.failed(),
        BTreeMap::new(),
        "a body nobody looks at is not decoded"
    );
    plan.steps[0].expect.body = vec![Wanted::Contains("ok".to_owned())];
    let ran = run(plan).await;
    let (ok, failed) = (ran.ok(), ran.failed());
    assert_eq!(failed.keys().collect::<Vec<_>>(), [&kind], "{coding}");
    assert!(ok >= 3 && ok.abs_diff(failed[&kind]) <= 1, "{coding}: {ok} {failed:?}");
    let memory = |ran: &Ran| {
        let slices = ran.slices.iter();
        slices
            .map(|slice| slice.generator.resident_bytes)
            .max()
            .unwrap_or_default()
    };
    assert!(memory(&ran) < memory(&unseen) + (48 << 20), "{coding}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_gzip_bombs_are_protocol_failures_and_take_no_memory() {
    use crate::run::coding::encode;
    let bomb = vec![b'o'; 256 << 20];
    fails_where_bodies_are_looked_at(FailureKind::Protocol, &encode(Coding::Gzip, &bomb), "gzip").await;
    let nested = encode(Coding::Zstd, &encode(Coding::Gzip, &bomb));
    fails_where_bodies_are_looked_at(FailureKind::Protocol, &nested, "gzip, zstd").await;
    let cut = encode(Coding::Gzip, b"this is ok");
    fails_where_bodies_are_looked_at(FailureKind::Protocol, &cut[..cut.len() - 1], "gzip").await;
    fails_where_bodies_are_looked_at(FailureKind::Protocol, b"this is ok", "gzip").await;
    fails_where_bodies_are_looked_at(FailureKind::Protocol, b"this is ok", "rot13").await;
}
