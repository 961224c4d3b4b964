//! Servers that misbehave: every outcome has its name, memory stays bounded, and the user goes on.

mod answers;
mod bodies;
mod grpc;
mod http2;
mod ways;

use std::pin::Pin;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use super::*;

const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Memory that a process may take for what a server does to it, and for the other tests beside it, bytes; no server here
/// sends less than five times that.
const LITTLE: u64 = 96 << 20;

/// One at a time, since they share one process and look at its memory.
static MEMORY: Mutex<()> = Mutex::const_new(());

/// What a hostile server does with a request it was asked on a stream.
type Misdeed = Arc<dyn Fn(TcpStream) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

fn misdeed<F, A>(does: F) -> Misdeed
where
    F: Fn(TcpStream) -> A + Send + Sync + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    Arc::new(move |stream| Box::pin(does(stream)))
}

/// Sends bytes and closes.
fn says(bytes: impl AsRef<[u8]>) -> Misdeed {
    let bytes = Bytes::copy_from_slice(bytes.as_ref());
    misdeed(move |mut stream| {
        let bytes = bytes.clone();
        async move {
            let _ = stream.write_all(&bytes).await;
        }
    })
}

/// Sends bytes and keeps the connection open, on which it behaves from then on.
fn says_and_stays(bytes: impl AsRef<[u8]>) -> Misdeed {
    let bytes = Bytes::copy_from_slice(bytes.as_ref());
    misdeed(move |mut stream| {
        let bytes = bytes.clone();
        async move {
            let _ = stream.write_all(&bytes).await;
            let mut rest = [0; 64];
            while stream.read(&mut rest).await.is_ok_and(|length| length > 0) {
                let _ = stream.write_all(GOOD).await;
            }
        }
    })
}

/// Sends bytes and says nothing more.
fn says_no_more_than(bytes: impl AsRef<[u8]>) -> Misdeed {
    let bytes = Bytes::copy_from_slice(bytes.as_ref());
    misdeed(move |mut stream| {
        let bytes = bytes.clone();
        async move {
            let _ = stream.write_all(&bytes).await;
            swallow(&mut stream).await;
        }
    })
}

/// Sends bytes, and then others again and again.
fn says_without_end(head: &'static str, piece: Vec<u8>) -> Misdeed {
    let piece = Bytes::from(piece);
    misdeed(move |mut stream| {
        let piece = piece.clone();
        async move {
            let _ = stream.write_all(head.as_bytes()).await;
            while stream.write_all(&piece).await.is_ok() {}
        }
    })
}

async fn swallow(stream: &mut TcpStream) {
    let mut rest = [0; 4096];
    while stream.read(&mut rest).await.is_ok_and(|length| length > 0) {}
}

fn reset(stream: &TcpStream) {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// What came of meeting a server.
struct Met {
    ok: u64,
    failed: BTreeMap<FailureKind, u64>,
    retries: u64,
    /// The most that the process had, bytes.
    memory: u64,
}

impl Met {
    fn by(ran: &Ran) -> Self {
        assert_eq!(ran.dropped(), 0);
        let memory = ran.slices.iter().map(|slice| slice.generator.resident_bytes).max();
        Self {
            ok: ran.ok(),
            failed: ran.failed(),
            retries: ran.slices.iter().map(|slice| slice.retries).sum(),
            memory: memory.unwrap_or_default(),
        }
    }

    /// Failed like this only, and as often as it went well in between, give or take the last.
    #[track_caller]
    fn fails_every_second_time(&self, what: &str, kinds: &[FailureKind]) {
        let Self { ok, failed, .. } = self;
        assert!(failed.keys().all(|kind| kinds.contains(kind)), "{what}: {failed:?}");
        let times: u64 = failed.values().sum();
        assert!(times >= 3 && ok.abs_diff(times) <= 1, "{what}: {ok} {failed:?}");
    }
}

/// Every second request of a user is answered well, so that it is seen to go on.
async fn meet(method: &str, misdeed: &Misdeed, change: impl Fn(&mut Plan)) -> Met {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicU64::new(0));
    let misdeed = Arc::clone(misdeed);
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (asked, misdeed) = (Arc::clone(&asked), Arc::clone(&misdeed));
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).await.is_ok_and(|length| length > 0) {
                    if asked.fetch_add(1, Ordering::SeqCst) % 2 == 1 {
                        return misdeed(stream).await;
                    }
                    if stream.write_all(GOOD).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let mut plan = one_user(address);
    plan.steps[0].method = method.to_owned();
    change(&mut plan);
    let ran = run(plan).await;
    server.abort();
    Met::by(&ran)
}

/// A while of one user who hardly thinks and has little patience.
fn one_user(address: SocketAddr) -> Plan {
    let mut plan = plan(address);
    plan.client.shards = Some(1);
    plan.client.request_timeout = Duration::from_millis(300);
    plan.journeys[0].think = Wait::constant(Duration::from_millis(20));
    stage(&mut plan, 1.0, Duration::ZERO, Duration::from_millis(1500));
    plan
}

/// Each misdeed fails as its kind.
async fn fail(cases: &[(&str, FailureKind, Misdeed)]) {
    let met = join_all(cases.iter().map(|(_, _, misdeed)| meet("POST", misdeed, |_| {}))).await;
    for ((what, kind, _), met) in cases.iter().zip(met) {
        met.fails_every_second_time(what, &[*kind]);
    }
}

/// Memory of this process now, bytes.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() << 10
}

/// Each misdeed fails as one of these kinds, and all together cost no memory.
async fn fail_in_little_memory(kinds: &[FailureKind], cases: &[(&str, Misdeed)], change: impl Fn(&mut Plan) + Copy) {
    let _alone = MEMORY.lock().await;
    let before = resident();
    let met = join_all(cases.iter().map(|(_, misdeed)| meet("POST", misdeed, change))).await;
    for ((what, _), met) in cases.iter().zip(met) {
        met.fails_every_second_time(what, kinds);
        assert!(met.memory < before + LITTLE, "{what}: {before} {}", met.memory);
    }
}

/// Each misdeed is an answer like any other.
async fn are_fine(method: &str, cases: &[(&str, Misdeed)]) {
    let met = join_all(cases.iter().map(|(_, misdeed)| meet(method, misdeed, |_| {}))).await;
    for ((what, _), met) in cases.iter().zip(met) {
        assert_eq!(met.failed, BTreeMap::new(), "{what}");
        assert!(met.ok > 10, "{what}: {}", met.ok);
    }
}
