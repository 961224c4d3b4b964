//! Where the time goes, and in which stage it runs out: each stage is made slow in turn and is the one that shows.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A server that reads requests and does with each what `answer` says.
async fn talk<F, A>(answer: F) -> SocketAddr
where
    F: Fn(TcpStream) -> A + Send + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(answer(stream));
        }
    });
    address
}

async fn asked(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 4096];
    stream.read(&mut buffer).await.is_ok_and(|length| length > 0)
}

/// Half a second of `users` who do not think, on one shard.
fn half_a_second(address: SocketAddr, users: f64, connections: usize) -> Plan {
    let mut plan = plan(address);
    plan.client.shards = Some(1);
    plan.journeys[0].think = Wait::Uniform {
        min: Duration::ZERO,
        max: Duration::ZERO,
    };
    plan.client.connections.pool = Some(connections);
    plan.client.request_timeout = Duration::from_millis(400);
    plan.client.connect_timeout = Duration::from_millis(250);
    stage(&mut plan, users, Duration::ZERO, Duration::from_millis(500));
    plan
}

fn all(ran: &Ran, of: impl Fn(&Slice) -> &Hist) -> hdrhistogram::Histogram<u64> {
    let mut all = Hist::working();
    for slice in &ran.slices {
        of(slice).add_to(&mut all).unwrap();
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_of_waiting_for_a_connection_are_blocked_and_no_service() {
    let slow = |_| async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        answer(200, "")
    };
    let (busy, free) = (serve("127.0.0.1:0", slow).await, serve("127.0.0.1:0", slow).await);
    let ran = run(half_a_second(busy.address, 4.0, 1)).await;
    let [p50, service] = [
        ran.quantile(0.5, |step| &step.blocked),
        ran.quantile(0.5, |step| &step.service_time),
    ];
    assert!(p50 > Duration::from_millis(20), "{p50:?}");
    assert!(service < Duration::from_millis(60), "{service:?}");
    let ran = run(half_a_second(free.address, 4.0, 4)).await;
    assert_eq!(ran.quantile(1.0, |step| &step.blocked), Duration::ZERO);
    assert!(ran.ok() > 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_to_the_first_byte_end_where_the_answer_begins() {
    let address = talk(|mut stream| async move {
        while asked(&mut stream).await {
            tokio::time::sleep(Duration::from_millis(40)).await;
            let (head, body) = GOOD.split_at(GOOD.len() - 1);
            let _ = stream.write_all(head).await;
            tokio::time::sleep(Duration::from_millis(80)).await;
            let _ = stream.write_all(body).await;
        }
    })
    .await;
    let ran = run(half_a_second(address, 2.0, 2)).await;
    assert!(ran.ok() > 2);
    let first = ran.quantile(0.5, |step| &step.first_byte);
    assert!(
        (Duration::from_millis(39)..Duration::from_millis(80)).contains(&first),
        "{first:?}"
    );
    assert!(ran.quantile(0.0, |step| &step.service_time) > Duration::from_millis(118));
    let opened = all(&ran, |slice| &slice.connect);
    assert_eq!(opened.len(), 2, "each user opened one connection and kept it");
    assert!(all(&ran, |slice| &slice.tls).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timeout_in_line_is_the_lines_and_not_the_answers() {
    let address = talk(|mut stream| async move { while asked(&mut stream).await {} }).await;
    let failed = run(half_a_second(address, 6.0, 1)).await.failed();
    let [unheard, in_line] = [FailureKind::Timeout, FailureKind::BlockedTimeout].map(|kind| failed[&kind]);
    assert_eq!(failed.len(), 2, "{failed:?}");
    // Whoever came first was heard by a server that says nothing; the others had their connection too late.
    assert!(unheard > 0 && in_line >= 4 * unheard, "{failed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timeout_of_a_handshake_a_first_byte_and_a_body_are_told_apart() {
    let silent = talk(|mut stream| async move { while asked(&mut stream).await {} }).await;
    let failed = run(half_a_second(silent, 2.0, 2)).await.failed();
    assert_eq!(failed.keys().collect::<Vec<_>>(), [&FailureKind::Timeout]);

    let mut plan = half_a_second(silent, 2.0, 2);
    plan.target.scheme = "https".to_owned();
    plan.client.tls.verify = false;
    let ran = run(plan).await;
    assert_eq!(ran.failed().keys().collect::<Vec<_>>(), [&FailureKind::TlsTimeout]);
    assert!(all(&ran, |slice| &slice.connect).is_empty(), "none was opened");

    let half = talk(|mut stream| async move {
        while asked(&mut stream).await {
            let _ = stream.write_all(&GOOD[..GOOD.len() - 1]).await;
        }
    })
    .await;
    let ran = run(half_a_second(half, 2.0, 2)).await;
    assert_eq!(ran.failed().keys().collect::<Vec<_>>(), [&FailureKind::BodyTimeout]);
    assert!(ran.quantile(1.0, |step| &step.first_byte) < Duration::from_millis(200));
}
