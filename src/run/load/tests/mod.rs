//! The generator against real sockets: small servers on the loopback range, a small DNS server, whole runs.

mod classes;
mod client;
mod closed;
mod connections;
mod dns;
mod flow;
mod grpc;
mod honesty;
mod hostile;
mod http2;
mod journeys;
mod loads;
mod open;
mod redirects;
mod steered;
mod streams;
mod tcp;
mod times;
mod tls;
mod together;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::{LoadEnd, ShardSecond, Signals, assemble, merge, start};
use crate::clock::{Clock, RunClock};
use crate::event::{Event, Stamped};
use crate::plan::*;
use crate::recording::{FailureKind, Hist, Slice, StepSlice};
use crate::run::oauth2::Desk;
use crate::units::Pace;

/// Has an experiment, though without a fault, so that pulses are kept.
fn watch_pulses(plan: &mut Plan) {
    plan.experiments.push(ExperimentPlan {
        name: "nothing".to_owned(),
        hypothesis: String::new(),
        faults: Vec::new(),
        stop_when: Vec::new(),
        settle: Duration::ZERO,
    });
}

/// A plan of one journey `browse` with one GET step against `address`.
fn plan(address: SocketAddr) -> Plan {
    Plan {
        rerun: String::new(),
        name: "test".to_owned(),
        seed: 42,
        pace: Pace::REAL,
        target: TargetPlan {
            served_by: Some("x-served-by".to_owned()),
            edge: BTreeMap::from([(address.ip(), "us-east-1".to_owned())]),
            zones: BTreeMap::from([(address.ip(), "us-east-1a".to_owned())]),
            ..TargetPlan::entry(
                "test".to_owned(),
                "http".to_owned(),
                address.ip().to_string(),
                address.port(),
            )
        },
        feeders: Vec::new(),
        journeys: vec![JourneyPlan {
            name: "browse".to_owned(),
            weight: 1.0,
            think: Wait::Uniform {
                min: Duration::from_millis(100),
                max: Duration::from_millis(100),
            },
            steps: vec![0],
            ..JourneyPlan::default()
        }],
        steps: vec![step("browse", "GET", "/")],
        token_clients: Vec::new(),
        model: LoadModel::Users,
        loads: Vec::new(),
        spacing: Spacing::Even,
        stages: Vec::new(),
        client: ClientPlan {
            dns: DnsPolicy::HonourTtl,
            connections: Connections {
                pool: Some(200),
                ..Connections::default()
            },
            connect_timeout: Duration::from_secs(1),
            request_timeout: Duration::from_secs(5),
            rate_limit: None,
            shards: Some(2),
            retries: None,
            tls: TlsSettings::default(),
            classes: Vec::new(),
            forced_lag: Duration::ZERO,
        },
        services: None,
        ledgers: BTreeMap::new(),
        probes: Vec::new(),
        experiments: Vec::new(),
        objectives: Vec::new(),
        honesty: HonestyPlan {
            lag_p99_max: Duration::from_millis(50),
            cpu_max: 0.9,
            requests_min: 100,
            ..HonestyPlan::default()
        },
        ends_at: Duration::ZERO,
    }
}

pub(super) fn step(name: &str, method: &str, path: &str) -> StepPlan {
    StepPlan {
        name: name.to_owned(),
        journey: 0,
        method: method.to_owned(),
        path: text(path),
        ..StepPlan::default()
    }
}

fn text(text: &str) -> Template {
    Template {
        parts: vec![Part::Text(text.to_owned())],
    }
}

/// Adds a stage after the last one and moves the end of the plan.
fn stage(plan: &mut Plan, level: f64, ramp: Duration, hold: Duration) {
    let starts_at = plan.ends_at;
    plan.ends_at = starts_at + ramp + hold;
    plan.stages.push(StagePlan {
        tier: 1,
        level,
        starts_at,
        holds_at: starts_at + ramp,
        ends_at: plan.ends_at,
    });
}

struct Ran {
    slices: Vec<Slice>,
    events: Vec<Stamped>,
    end: LoadEnd,
}

impl Ran {
    fn ok(&self) -> u64 {
        self.slices
            .iter()
            .flat_map(|slice| &slice.steps)
            .map(|step| step.ok)
            .sum()
    }

    fn failed(&self) -> BTreeMap<FailureKind, u64> {
        let mut all = BTreeMap::new();
        for (kind, count) in self
            .slices
            .iter()
            .flat_map(|slice| &slice.steps)
            .flat_map(|step| &step.failed)
        {
            *all.entry(*kind).or_default() += count;
        }
        all
    }

    /// Why the first of each kind failed.
    fn why(&self) -> BTreeMap<FailureKind, String> {
        let steps = self.slices.iter().flat_map(|slice| &slice.steps);
        steps.flat_map(|step| step.why.clone()).collect()
    }

    /// What a kind leaves open is told beside it, whatever was spoken.
    fn tells_what_its_kinds_do_not(&self) {
        let (failed, why) = (self.failed(), self.why());
        for kind in [
            FailureKind::Protocol,
            FailureKind::Expectation,
            FailureKind::Tls,
            FailureKind::Reset,
        ] {
            assert!(
                !failed.contains_key(&kind) || why.contains_key(&kind),
                "{kind:?} without a reason"
            );
        }
    }

    /// Failures by Region.
    fn served_badly(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for (by, count) in self.slices.iter().flat_map(|slice| &slice.served_failed) {
            *all.entry(by.region.clone()).or_default() += count;
        }
        all
    }

    fn intended(&self) -> u64 {
        self.slices.iter().map(|slice| slice.intended).sum()
    }

    fn dropped(&self) -> u64 {
        self.slices.iter().map(|slice| slice.dropped).sum()
    }

    fn quantile(&self, quantile: f64, of: impl Fn(&crate::recording::StepSlice) -> &Hist) -> Duration {
        let mut all = Hist::working();
        for step in self.slices.iter().flat_map(|slice| &slice.steps) {
            of(step).add_to(&mut all).unwrap();
        }
        Duration::from_micros(all.value_at_quantile(quantile))
    }

    fn answers(&self) -> Vec<(Duration, Vec<IpAddr>)> {
        let changed = self.events.iter().filter_map(|stamped| match &stamped.event {
            Event::DnsChanged { addresses, .. } => Some((stamped.at, addresses.clone())),
            _ => None,
        });
        changed.collect()
    }
}

/// Runs a plan to its end.
async fn run(plan: Plan) -> Ran {
    let (_stop, stopped) = watch::channel(false);
    run_until(plan, stopped).await
}

/// Signals of a load that is stopped like this and that nobody steers.
fn unsteered(stop: watch::Receiver<bool>) -> Signals {
    let (_, steered) = watch::channel(Vec::new());
    let (_, tokens) = watch::channel(Arc::default());
    Signals {
        stop,
        steered,
        tokens,
        desk: Desk::default(),
    }
}

async fn run_until(plan: Plan, stopped: watch::Receiver<bool>) -> Ran {
    run_with(plan, unsteered(stopped), |_, _| {}).await
}

/// Runs a plan and tells `after` of each second of the first shard, with the real time since t0, as soon as it is over.
async fn run_with(plan: Plan, signals: Signals, mut after: impl FnMut(u64, Duration)) -> Ran {
    let plan = Arc::new(plan);
    let crowds = assemble(Arc::clone(&plan)).await;
    let clock = RunClock::new(
        Clock::starting_now(plan.pace),
        Instant::now() + Duration::from_millis(200),
    );
    let (seconds_tx, mut seconds_rx) = mpsc::channel(64);
    let (events_tx, mut events_rx) = mpsc::channel(64);
    let load = start(plan, crowds, clock, seconds_tx, events_tx, signals).unwrap();
    let receive = async {
        let mut parts: BTreeMap<u64, Vec<ShardSecond>> = BTreeMap::new();
        while let Some(second) = seconds_rx.recv().await {
            if second.shard == 0 {
                after(second.slice.second, clock.elapsed());
            }
            parts.entry(second.slice.second).or_default().push(second);
        }
        parts
    };
    let (mut parts, mut end) = tokio::join!(receive, load.join());
    for second in std::mem::take(&mut end.rest) {
        parts.entry(second.slice.second).or_default().push(second);
    }
    let mut events = Vec::new();
    while let Ok(event) = events_rx.try_recv() {
        events.push(event);
    }
    assert_eq!(end.shards_lost, 0);
    let ran = Ran {
        slices: parts.into_values().map(merge).collect(),
        events,
        end,
    };
    ran.tells_what_its_kinds_do_not();
    ran
}

/// An HTTP server whose answers a test decides.
struct Server {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
}

impl Server {
    fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve<F, A>(address: &str, answer: F) -> Server
where
    F: Fn(Request<Bytes>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let listener = TcpListener::bind(address).await.unwrap();
    let server = Server {
        address: listener.local_addr().unwrap(),
        requests: Arc::default(),
        connections: Arc::default(),
    };
    let (requests, connections) = (Arc::clone(&server.requests), Arc::clone(&server.connections));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            connections.fetch_add(1, Ordering::SeqCst);
            let (requests, answer) = (Arc::clone(&requests), answer.clone());
            tokio::spawn(async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    requests.fetch_add(1, Ordering::SeqCst);
                    let answer = answer.clone();
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await?.to_bytes();
                        Ok::<_, hyper::Error>(answer(Request::from_parts(head, body)).await)
                    }
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    server
}

fn answer(status: u16, served_by: &str) -> Response<Full<Bytes>> {
    Response::builder()
        .status(status)
        .header("x-served-by", served_by)
        .body(Full::from("hello, user\n"))
        .unwrap()
}
