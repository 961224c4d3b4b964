//! Calls of gRPC against servers whose answers a test decides: streams of messages, and when their user leaves them.

use h2::server::SendResponse;
use h2::{Reason, SendStream};

use super::*;

/// The plan, whose only step calls `method` of the example's shop.
pub(super) fn calling(mut plan: Plan, method: &str, until: MessagesUntil) -> Plan {
    let shop = protox::compile(["shop.proto"], ["profiles/examples/protos"]).unwrap();
    plan.services = Some(ServicesPlan::Descriptors(prost::Message::encode_to_vec(&shop)));
    plan.client.connections.http2 = Some(10);
    plan.steps = vec![StepPlan {
        protocol: Protocol::Grpc(GrpcStep { status: 0, until }),
        body: Some(Body {
            content_type: "application/grpc".to_owned(),
            template: text("{}"),
            encoding: Encoding::Json,
            compress: None,
        }),
        ..step("call", "POST", &format!("/shop.v1.Shop/{method}"))
    }];
    plan
}

pub(super) fn impatient(plan: &mut Plan) {
    plan.client.request_timeout = Duration::from_millis(300);
}

/// The `number` of the last message is to be this.
pub(super) fn last_is(plan: &mut Plan, number: u8) {
    plan.steps[0].expect.json = vec![("$.number".to_owned(), Wanted::Is(number.to_string()))];
}

/// What users saw, and the server.
pub(super) struct Tracked {
    pub(super) ran: Ran,
    pub(super) connections: u64,
    calls: u64,
    /// Streams that their users left.
    cancelled: u64,
    /// `grpc-timeout` of the last call.
    deadline: String,
}

/// Two users who track parcels at a server that deals with each call by `deed`, on one connection.
pub(super) async fn track<D, A>(until: MessagesUntil, change: impl FnOnce(&mut Plan), deed: D) -> Tracked
where
    D: Fn(SendResponse<Bytes>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Option<Reason>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let counts: [Arc<AtomicU64>; 3] = std::array::from_fn(|_| Arc::default());
    let [connections, calls, cancelled] = counts.clone();
    let deadline = Arc::new(std::sync::Mutex::new(String::new()));
    let told = Arc::clone(&deadline);
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            connections.fetch_add(1, Ordering::SeqCst);
            let (deed, calls, cancelled) = (deed.clone(), calls.clone(), cancelled.clone());
            let told = Arc::clone(&told);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, answer))) = connection.accept().await {
                    calls.fetch_add(1, Ordering::SeqCst);
                    if let Some(timeout) = request.headers().get("grpc-timeout") {
                        *told.lock().unwrap() = timeout.to_str().unwrap().to_owned();
                    }
                    let (deed, cancelled) = (deed.clone(), Arc::clone(&cancelled));
                    tokio::spawn(async move {
                        if deed(answer).await == Some(Reason::CANCEL) {
                            cancelled.fetch_add(1, Ordering::SeqCst);
                        }
                    });
                }
            });
        }
    });
    let mut plan = plan(address);
    plan.client.shards = Some(1);
    plan.client.connections.pool = Some(1);
    // A busy machine does not try it.
    plan.client.request_timeout = Duration::from_secs(3);
    plan.journeys[0].think = Wait::constant(Duration::from_millis(10));
    stage(&mut plan, 2.0, Duration::ZERO, Duration::from_millis(1500));
    let mut plan = calling(plan, "Track", until);
    change(&mut plan);
    let ran = run(plan).await;
    server.abort();
    assert_eq!(ran.dropped(), 0);
    let [connections, calls, cancelled] = counts.map(|count| count.load(Ordering::SeqCst));
    let deadline = deadline.lock().unwrap().clone();
    Tracked {
        ran,
        connections,
        calls,
        cancelled,
        deadline,
    }
}

impl Tracked {
    /// Every call came to this.
    #[track_caller]
    pub(super) fn all(&self, kind: Option<FailureKind>) {
        let failed = self.ran.failed();
        match kind {
            None => assert!(failed.is_empty() && self.ran.ok() > 4, "{failed:?} {}", self.ran.ok()),
            Some(kind) => assert_eq!(
                (self.ran.ok(), failed.keys().copied().collect::<Vec<_>>()),
                (0, vec![kind])
            ),
        }
    }
}

pub(super) fn begin(mut answer: SendResponse<Bytes>) -> SendStream<Bytes> {
    let head = Response::builder().header("content-type", "application/grpc");
    answer.send_response(head.body(()).unwrap(), false).unwrap()
}

fn send(stream: &mut SendStream<Bytes>, number: u8) -> Result<(), h2::Error> {
    stream.send_data(Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, number]), false)
}

fn end(mut stream: SendStream<Bytes>, status: &str) -> Option<Reason> {
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", status.parse().unwrap());
    let _ = stream.send_trailers(trailers);
    None
}

pub(super) async fn left(stream: &mut SendStream<Bytes>) -> Option<Reason> {
    std::future::poll_fn(|context| stream.poll_reset(context)).await.ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_streams_are_left_after_enough_messages_and_their_connection_stays() {
    let tracked = track(
        MessagesUntil::Messages(3),
        |plan| last_is(plan, 3),
        |answer| async move {
            let mut stream = begin(answer);
            // All at once or one by one, the third is the last that counts.
            for number in 1..=5 {
                send(&mut stream, number).unwrap();
            }
            left(&mut stream).await
        },
    )
    .await;
    tracked.all(None);
    assert_eq!(tracked.connections, 1);
    // The connections of those under way at the end may go before their streams do.
    assert!(tracked.calls.abs_diff(tracked.cancelled) <= 2, "{}", tracked.cancelled);
    assert!(tracked.calls.abs_diff(tracked.ran.ok()) <= 2, "{}", tracked.calls);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_streams_are_left_after_a_while_that_comes_on_top_of_the_patience() {
    let tracked = track(
        MessagesUntil::For(Duration::from_millis(450)),
        |plan| {
            last_is(plan, 9);
            plan.steps[0].timeout = Some(Duration::from_millis(300));
        },
        |answer| async move {
            let mut stream = begin(answer);
            tokio::time::sleep(Duration::from_millis(80)).await;
            for number in 1..=9 {
                send(&mut stream, number).unwrap();
            }
            left(&mut stream).await
        },
    )
    .await;
    tracked.all(None);
    assert_eq!((tracked.connections, &*tracked.deadline), (1, "750m"));
    assert!(tracked.ran.quantile(0.0, |step| &step.latency) >= Duration::from_millis(440));
    let first = |quantile| tracked.ran.quantile(quantile, |step| &step.first_byte);
    assert!(
        first(0.0) >= Duration::from_millis(75) && first(0.5) < Duration::from_millis(300),
        "the first message is the first byte: {:?}",
        first(0.5)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_streams_are_read_to_their_end_be_it_without_a_message() {
    for messages in [0_u8, 4] {
        let tracked = track(
            MessagesUntil::End,
            |plan| {
                if messages > 0 {
                    last_is(plan, messages);
                }
            },
            move |answer| async move {
                let mut stream = begin(answer);
                for number in 1..=messages {
                    send(&mut stream, number).unwrap();
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                end(stream, "0")
            },
        )
        .await;
        tracked.all(None);
        assert_eq!((tracked.connections, tracked.cancelled), (1, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_streams_that_end_before_their_user_has_seen_enough_failed() {
    let second = Duration::from_secs(1);
    let cases = [
        (MessagesUntil::Messages(3), "0", FailureKind::Reset),
        (MessagesUntil::For(second), "0", FailureKind::Reset),
        (MessagesUntil::Messages(3), "8", FailureKind::Grpc),
        (MessagesUntil::End, "8", FailureKind::Grpc),
    ];
    for (until, status, kind) in cases {
        let tracked = track(
            until,
            |_| {},
            move |answer| async move {
                let mut stream = begin(answer);
                send(&mut stream, 1).unwrap();
                end(stream, status)
            },
        )
        .await;
        tracked.all(Some(kind));
    }
    let expected = track(
        MessagesUntil::Messages(3),
        |plan| {
            last_is(plan, 1);
            if let Protocol::Grpc(grpc) = &mut plan.steps[0].protocol {
                grpc.status = 8;
            }
        },
        |answer| async move {
            let mut stream = begin(answer);
            send(&mut stream, 1).unwrap();
            end(stream, "8")
        },
    )
    .await;
    expected.all(None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_streams_without_a_head_or_without_an_end_run_into_the_patience() {
    let silent = |answer: SendResponse<Bytes>| async move {
        let mut answer = answer;
        std::future::poll_fn(|context| answer.poll_reset(context)).await.ok()
    };
    let without_end = |answer: SendResponse<Bytes>| async move {
        let mut stream = begin(answer);
        let _ = send(&mut stream, 1);
        left(&mut stream).await
    };
    let a_while = || MessagesUntil::For(Duration::from_millis(200));
    let unheard = track(a_while(), impatient, silent).await;
    unheard.all(Some(FailureKind::Timeout));
    assert!(unheard.ran.quantile(1.0, |step| &step.latency) < Duration::from_millis(400));
    track(MessagesUntil::End, impatient, silent)
        .await
        .all(Some(FailureKind::Timeout));
    for until in [MessagesUntil::End, MessagesUntil::Messages(2)] {
        let failed = track(until, impatient, without_end).await.ran.failed();
        // On a busy machine the head may come too late as well.
        let late = [FailureKind::Timeout, FailureKind::BodyTimeout];
        assert!(failed.contains_key(&late[1]), "{failed:?}");
        assert!(failed.keys().all(|kind| late.contains(kind)), "{failed:?}");
    }
    track(a_while(), |plan| last_is(plan, 1), without_end).await.all(None);
    track(a_while(), |plan| last_is(plan, 2), without_end)
        .await
        .all(Some(FailureKind::Expectation));
}
