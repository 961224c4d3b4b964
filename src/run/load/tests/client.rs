//! The client's manners: what counts as which failure, what is retried, how much is read.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

/// A raw server: `talk` gets each connection with its number.
async fn talk<F, A>(talk: F) -> SocketAddr
where
    F: Fn(TcpStream, u64) -> A + Send + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(talk(stream, number));
        }
    });
    address
}

async fn read_request(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 4096];
    stream.read(&mut buffer).await.is_ok_and(|length| length > 0)
}

fn reset(stream: &TcpStream) {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// A port that lets whoever wants to connect wait for ever: its backlog is full.
pub(super) struct FullBacklog {
    pub(super) socket: socket2::Socket,
    _fillers: Vec<TcpStream>,
}

pub(super) async fn full_backlog(address: SocketAddr) -> FullBacklog {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(0).unwrap();
    let full = socket.local_addr().unwrap().as_socket().unwrap();
    let mut fillers = Vec::new();
    for _ in 0..4 {
        let filler = tokio::time::timeout(Duration::from_millis(50), TcpStream::connect(full)).await;
        fillers.extend(filler.ok().and_then(Result::ok));
    }
    FullBacklog {
        socket,
        _fillers: fillers,
    }
}

async fn only_failure(address: SocketAddr) -> (FailureKind, Ran) {
    let mut plan = plan(address);
    watch_pulses(&mut plan);
    plan.client.request_timeout = Duration::from_millis(400);
    plan.client.connect_timeout = Duration::from_millis(250);
    stage(&mut plan, 4.0, Duration::ZERO, Duration::from_millis(900));
    let ran = run(plan).await;
    assert_eq!(ran.ok(), 0);
    let failed = ran.failed();
    assert_eq!(failed.len(), 1, "{failed:?}");
    (*failed.keys().next().unwrap(), ran)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_and_early_ends_are_resets() {
    let address = talk(|mut stream, number| async move {
        read_request(&mut stream).await;
        match number % 3 {
            0 => reset(&stream),
            1 => stream.write_all(b"HTTP/1.1 200 OK\r\nconten").await.unwrap(),
            _ => stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
                .await
                .unwrap(),
        }
    })
    .await;
    assert_eq!(only_failure(address).await.0, FailureKind::Reset);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_says_who_ended_the_connection_and_when() {
    const HALF: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf";
    for (begins, resets, why) in [
        (false, false, "the server closed the connection before the answer began"),
        (true, false, "the server closed the connection within the answer"),
        (
            false,
            true,
            "Connection reset by peer (os error 104), before the answer began",
        ),
        (true, true, "Connection reset by peer (os error 104), within the answer"),
    ] {
        let address = talk(move |mut stream, _| async move {
            read_request(&mut stream).await;
            if begins {
                stream.write_all(HALF).await.unwrap();
            }
            if resets {
                // What is to be read is read first, or the reset takes it along.
                tokio::time::sleep(Duration::from_millis(5)).await;
                reset(&stream);
            }
        })
        .await;
        let (kind, ran) = only_failure(address).await;
        assert_eq!(
            (kind, ran.why()),
            (FailureKind::Reset, BTreeMap::from([(kind, why.to_owned())]))
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_endless_bodies_are_protocol_failures() {
    let address = talk(|mut stream, number| async move {
        read_request(&mut stream).await;
        if number % 2 == 0 {
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n").await;
        } else {
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n")
                .await;
            while stream.write_all(&[b'x'; 65536]).await.is_ok() {}
        }
    })
    .await;
    assert_eq!(only_failure(address).await.0, FailureKind::Protocol);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_a_timeout_and_its_pulse_says_when() {
    let address = talk(|mut stream, _| async move { while read_request(&mut stream).await {} }).await;
    let (kind, ran) = only_failure(address).await;
    assert_eq!(kind, FailureKind::Timeout);
    let failed = ran.failed()[&FailureKind::Timeout];
    let of_the_address = BTreeMap::from([("us-east-1".to_owned(), failed)]);
    assert_eq!(
        ran.served_badly(),
        of_the_address,
        "nobody answered, but it is known who was asked"
    );
    let (cell, pulse) = ran.end.pulses[0].cells.iter().next().unwrap();
    let started = pulse.first_failed_started_us.unwrap();
    assert_eq!(started / 10_000, u64::from(*cell));
    let took = pulse.last_failed_finished_us.unwrap() - started;
    assert!((400_000..600_000).contains(&took), "{took}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_port_refuses_and_a_full_backlog_is_a_connect_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(only_failure(closed).await.0, FailureKind::Refused);

    let full = full_backlog(SocketAddr::from(([127, 0, 0, 1], 0))).await;
    let address = full.socket.local_addr().unwrap().as_socket().unwrap();
    assert_eq!(only_failure(address).await.0, FailureKind::ConnectTimeout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reset_on_a_reused_connection_is_retried_for_idempotent_methods_only() {
    for (method, retried) in [("GET", true), ("POST", false)] {
        // Each connection answers once and resets the second request on it.
        let address = talk(|mut stream, _| async move {
            read_request(&mut stream).await;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .await
                .unwrap();
            read_request(&mut stream).await;
            reset(&stream);
        })
        .await;
        let mut plan = plan(address);
        plan.steps[0].method = method.to_owned();
        plan.client.shards = Some(1);
        stage(&mut plan, 5.0, Duration::ZERO, Duration::from_secs(1));
        let ran = run(plan).await;
        assert!(ran.ok() > 10);
        match retried {
            true => assert_eq!(ran.failed(), BTreeMap::new()),
            false => assert!(ran.failed()[&FailureKind::Reset] > 10, "{:?}", ran.failed()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_closed_while_idle_costs_nothing() {
    let address = talk(|mut stream, _| async move {
        read_request(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .await
            .unwrap();
    })
    .await;
    let mut plan = plan(address);
    plan.steps[0].method = "POST".to_owned();
    stage(&mut plan, 5.0, Duration::ZERO, Duration::from_secs(1));
    let ran = run(plan).await;
    assert!(ran.ok() > 20);
    assert_eq!(ran.failed(), BTreeMap::new());
}
