//! Write probes: one request each interval on a connection of its own, never waiting for the one before, every result
//! kept. What a probe wrote belongs to the ledger like any other write.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::dns::Cached;
use super::exchange::{Access, fill, host_header, signed, status_failure};
use crate::clock::RunClock;
use crate::plan::{Plan, StepPlan};
use crate::recording::{Ack, FailureKind, ProbeSample, ServedBy};
use crate::run::coding::encode;
use crate::run::http1::Connection;
use crate::run::sigv4::Signer;

/// Probes of one step in flight at most; a silent target keeps each one for its whole patience.
const IN_FLIGHT_MAX: usize = 512;
/// Writes remembered for the read-back at most.
const WRITES_MAX: usize = 1_000_000;

/// What one step's probes leave behind.
#[derive(Debug, Default)]
pub(super) struct ProbeEnd {
    pub(super) acknowledged: Vec<Ack>,
    pub(super) unknown: Vec<Ack>,
    pub(super) over: Over,
}

/// What did not fit.
#[derive(Debug, Default)]
pub(super) struct Over {
    pub(super) not_sent: u64,
    pub(super) results: u64,
    pub(super) writes: u64,
}

impl Over {
    pub(super) fn add(&mut self, other: &Over) {
        self.not_sent += other.not_sent;
        self.results += other.results;
        self.writes += other.writes;
    }
}

/// Starts the probes of the plan.
pub(super) fn spawn_all(
    probes: &mut JoinSet<ProbeEnd>,
    plan: &Arc<Plan>,
    access: &Access,
    clock: RunClock,
    results: &mpsc::Sender<ProbeSample>,
    stop: &watch::Receiver<bool>,
) {
    let target = &plan.target;
    let lookups = Arc::new(Cached::new(target.resolver, &target.host, clock.pace()));
    for (index, probe) in plan.probes.iter().enumerate() {
        let Some(step) = plan.steps.get(probe.step) else {
            continue;
        };
        let t0 = (clock.clock().real_unix_at(clock.t0()) * 1000.0) as u64;
        let prober = Arc::new(Prober {
            plan: Arc::clone(plan),
            step: probe.step,
            region: probe.region.clone(),
            clock,
            lookups: Arc::clone(&lookups),
            access: access.clone(),
            signer: step.sign.as_ref().map(Signer::new),
            turn: AtomicUsize::new(0),
            ids: format!("probe-{:x}-{t0:x}-{index}-", plan.seed),
        });
        probes.spawn(run(prober, probe.interval, results.clone(), stop.clone()));
    }
}

struct Prober {
    plan: Arc<Plan>,
    step: usize,
    /// The Region it asks past DNS.
    region: Option<String>,
    clock: RunClock,
    lookups: Arc<Cached>,
    access: Access,
    signer: Option<Signer>,
    turn: AtomicUsize,
    ids: String,
}

struct Done {
    sample: ProbeSample,
    write: Option<Write>,
}

enum Write {
    Acknowledged(Ack),
    Unknown(Ack),
}

async fn run(
    prober: Arc<Prober>,
    interval: Duration,
    results: mpsc::Sender<ProbeSample>,
    mut stop: watch::Receiver<bool>,
) -> ProbeEnd {
    let mut end = ProbeEnd::default();
    let mut flying: JoinSet<Done> = JoinSet::new();
    let mut ticks = tokio::time::interval_at(prober.clock.t0().into(), interval.max(Duration::from_millis(1)));
    let mut count: u64 = 0;
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            _ = ticks.tick() => {
                if flying.len() >= IN_FLIGHT_MAX {
                    end.over.not_sent += 1;
                } else {
                    count += 1;
                    let prober = Arc::clone(&prober);
                    flying.spawn(async move { prober.probe(count).await });
                }
            }
            Some(done) = flying.join_next() => keep(done.ok(), &results, &mut end),
        }
    }
    // Each one ends by its own patience.
    while let Some(done) = flying.join_next().await {
        keep(done.ok(), &results, &mut end);
    }
    end
}

fn keep(done: Option<Done>, results: &mpsc::Sender<ProbeSample>, end: &mut ProbeEnd) {
    let Some(done) = done else {
        end.over.results += 1;
        return;
    };
    if results.try_send(done.sample).is_err() {
        end.over.results += 1;
    }
    let Some(write) = done.write else { return };
    if end.acknowledged.len() + end.unknown.len() >= WRITES_MAX {
        end.over.writes += 1;
        return;
    }
    match write {
        Write::Acknowledged(ack) => end.acknowledged.push(ack),
        Write::Unknown(ack) => end.unknown.push(ack),
    }
}

impl Prober {
    async fn probe(&self, count: u64) -> Done {
        let started = self.clock.elapsed();
        let step = &self.plan.steps[self.step];
        let id = format!("{}{count:x}", self.ids);
        let outcome = self.exchange(step, &id, count).await;
        let finished = self.clock.elapsed();
        let region = match &outcome.served_by {
            Some(served) if !served.region.is_empty() => served.region.clone(),
            _ => outcome.sent_to.clone(),
        };
        let ack = |ledger: &String| Ack {
            ledger: ledger.clone(),
            id: id.clone(),
            at: finished,
            region,
        };
        let write = step.ledger.as_ref().map(ack).and_then(|ack| match outcome.failure {
            None => Some(Write::Acknowledged(ack)),
            Some(_) if outcome.sent => Some(Write::Unknown(ack)),
            Some(_) => None,
        });
        let sample = ProbeSample {
            step: self.step,
            started,
            finished,
            failure: outcome.failure,
            sent_to: outcome.sent_to,
            direct: self.region.is_some(),
        };
        Done { sample, write }
    }

    async fn exchange(&self, step: &StepPlan, id: &str, count: u64) -> Outcome {
        let mut outcome = Outcome {
            failure: Some(FailureKind::Dns),
            sent: false,
            sent_to: "unknown".to_owned(),
            served_by: None,
        };
        let Some(addresses) = self.addresses().await else {
            return outcome;
        };
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let Some(address) = addresses.get(turn % addresses.len().max(1)).copied() else {
            return outcome;
        };
        outcome.sent_to = region_of(&self.plan.target.edge, address);
        let Some(request) = self.request(step, id, count) else {
            outcome.failure = Some(FailureKind::Protocol);
            return outcome;
        };
        let pace = self.clock.pace();
        let connect_patience = pace.patience(self.plan.client.connect_timeout);
        let socket = SocketAddr::new(address, self.plan.target.port);
        let mut connection = match Connection::open(socket, connect_patience, self.access.tls.as_deref()).await {
            Ok(connection) => connection,
            Err(failure) => {
                outcome.failure = Some(failure);
                return outcome;
            }
        };
        outcome.sent = true;
        let patience = pace.patience(self.plan.client.request_timeout);
        match connection.send(request, patience).await {
            Ok(answer) => {
                outcome.failure = status_failure(answer.status().as_u16(), step.expect.status);
                outcome.served_by = self.plan.target.served_by.as_ref().and_then(|name| {
                    let value = answer.headers().get(name)?.to_str().ok()?;
                    Some(ServedBy::parse(value))
                });
            }
            Err(failure) => outcome.failure = Some(failure),
        }
        outcome
    }

    /// Where to send it: the users' DNS answer, or the load balancers of its own Region.
    async fn addresses(&self) -> Option<Vec<IpAddr>> {
        match &self.region {
            None => self.lookups.addresses().await.ok(),
            Some(region) => Some(self.plan.target.inventory.regions.get(region)?.edge.clone()),
        }
    }

    fn request(&self, step: &StepPlan, id: &str, count: u64) -> Option<Request<Full<Bytes>>> {
        let mut random = fastrand::Rng::with_seed(self.plan.seed ^ count.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let tokens = Arc::clone(&self.access.tokens.borrow());
        let target = &self.plan.target;
        let mut request =
            Request::builder()
                .method(step.method.as_str())
                .uri(fill(&step.path, &mut random, id, &tokens));
        if !step.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            request = request.header(HOST, host_header(target));
        }
        for (name, value) in &step.headers {
            request = request.header(name.as_str(), fill(value, &mut random, id, &tokens));
        }
        let mut bytes = Bytes::new();
        if let Some(body) = &step.body {
            request = request.header(CONTENT_TYPE, body.content_type.as_str());
            let plain = fill(&body.template, &mut random, id, &tokens);
            bytes = Bytes::from(match body.compress {
                Some(coding) => encode(coding, &plain),
                None => plain,
            });
            if let Some(coding) = body.compress {
                request = request.header(CONTENT_ENCODING, coding.name());
            }
        }
        signed(request, bytes, self.signer.as_ref())
    }
}

struct Outcome {
    failure: Option<FailureKind>,
    /// Whether the request may have reached the target.
    sent: bool,
    sent_to: String,
    served_by: Option<ServedBy>,
}

fn region_of(edge: &BTreeMap<IpAddr, String>, address: IpAddr) -> String {
    edge.get(&address).cloned().unwrap_or_else(|| "unknown".to_owned())
}
