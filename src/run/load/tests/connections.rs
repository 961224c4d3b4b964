//! How connections are kept: shared, of each user, of each request; for how long, and from where.

use std::collections::BTreeSet;
use std::sync::Mutex;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// Ten users with about ten requests each in a second.
async fn run_with(change: impl FnOnce(&mut ClientPlan)) -> (Ran, Server) {
    let server = serve("127.0.0.1:0", |_| async { answer(200, "") }).await;
    let mut plan = plan(server.address);
    change(&mut plan.client);
    stage(&mut plan, 10.0, Duration::ZERO, Duration::from_secs(1));
    (run(plan).await, server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_user_has_its_own_connection_each_request_its_own_or_all_share_a_few() {
    let (shared, server) = run_with(|client| client.connections.pool = Some(1)).await;
    assert!(
        shared.ok() > 60 && server.connections() == 1,
        "{}",
        server.connections()
    );
    let (shared, server) = run_with(|client| {
        client.connections.pool = Some(3);
        client.shards = Some(2);
    })
    .await;
    let most = shared.slices.iter().map(|slice| slice.generator.connections).max();
    assert!(shared.ok() > 60 && most <= Some(3), "{most:?}");
    assert!(server.connections() <= 3, "{}", server.connections());
    let (own, server) = run_with(|client| client.connections.used_by = ConnectionUse::PerUser).await;
    assert!(own.ok() > 60 && server.connections() == 10, "{}", server.connections());
    let (closed, server) = run_with(|client| client.connections.used_by = ConnectionUse::PerRequest).await;
    assert_eq!(server.connections(), closed.ok());
    let unseen = |slice: &&Slice| slice.steps[0].ok > 0 && slice.generator.connections == 0;
    assert_eq!(
        closed.slices.iter().filter(unseen).count(),
        0,
        "none is open when its second ends"
    );
    assert_eq!(closed.failed(), BTreeMap::new());
}

/// Answers whatever comes and keeps every connection open, though it was asked to close it.
async fn stubborn(opened: Arc<AtomicU64>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            opened.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while matches!(stream.read(&mut buffer).await, Ok(1..)) {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    stream.write_all(answer).await.ok()?;
                }
                Some(())
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_one_request_carry_no_other_whatever_their_server_would_take() {
    let opened = Arc::new(AtomicU64::new(0));
    let mut plan = plan(stubborn(Arc::clone(&opened)).await);
    plan.client.connections.used_by = ConnectionUse::PerRequest;
    stage(&mut plan, 10.0, Duration::ZERO, Duration::from_secs(1));
    let ran = run(plan).await;
    assert!(ran.ok() > 60, "{}", ran.ok());
    assert_eq!(
        (opened.load(Ordering::SeqCst), ran.failed()),
        (ran.ok(), BTreeMap::new())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_arrival_takes_its_connection_with_it() {
    let server = serve("127.0.0.1:0", |_| async { answer(200, "") }).await;
    let mut plan = plan(server.address);
    plan.client.connections.used_by = ConnectionUse::PerUser;
    plan.model = LoadModel::Arrivals;
    plan.steps = vec![step("one", "GET", "/"), step("two", "GET", "/")];
    plan.journeys[0].steps = vec![0, 1];
    stage(&mut plan, 50.0, Duration::ZERO, Duration::from_secs(1));
    let ran = run(plan).await;
    assert_eq!((ran.ok(), server.connections()), (100, 50));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_grow_old_and_idle_ones_are_closed() {
    for connections in [ConnectionUse::Pool, ConnectionUse::PerUser] {
        let (aged, server) = run_with(|client| {
            client.connections.used_by = connections;
            client.connections.max_age = Some(Duration::from_millis(250));
        })
        .await;
        assert_eq!(aged.failed(), BTreeMap::new());
        let opened = server.connections();
        assert!(
            (3..=60).contains(&opened) && opened < aged.ok(),
            "{connections:?}: {opened}"
        );
        // Each user comes every half second, and is idle for longer than that allows.
        let server = serve("127.0.0.1:0", |_| async { answer(200, "") }).await;
        let mut plan = plan(server.address);
        plan.journeys[0].think = Wait::constant(Duration::from_millis(500));
        plan.client.connections.used_by = connections;
        plan.client.connections.idle = Some(Duration::from_millis(200));
        plan.client.shards = Some(1);
        stage(&mut plan, 1.0, Duration::ZERO, Duration::from_secs(2));
        let idle = run(plan).await;
        assert_eq!(idle.failed(), BTreeMap::new());
        assert_eq!(server.connections(), idle.ok(), "{connections:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_come_from_the_addresses_given_in_turn() {
    let peers = Arc::new(Mutex::new(BTreeSet::new()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::clone(&peers);
    tokio::spawn(async move {
        loop {
            let (stream, peer) = listener.accept().await.unwrap();
            seen.lock().unwrap().insert(peer.ip());
            let service = service_fn(|_| async { Ok::<_, hyper::Error>(answer(200, "")) });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    let mut plan = plan(address);
    plan.client.connections.used_by = ConnectionUse::PerRequest;
    plan.client.connections.sources = vec!["127.0.0.7".parse().unwrap(), "127.0.0.8".parse().unwrap()];
    stage(&mut plan, 4.0, Duration::ZERO, Duration::from_secs(1));
    let sources: BTreeSet<IpAddr> = plan.client.connections.sources.iter().copied().collect();
    let ran = run(plan).await;
    assert!(ran.ok() > 10);
    assert_eq!(*peers.lock().unwrap(), sources);
}
