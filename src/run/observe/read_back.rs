//! The ledger read back: every acknowledged write is asked for in the Region that acknowledged it.
//! Not there twice is lost; anything else that is not an answer is unreadable and never counts as found or lost.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Request;
use hyper::header::HOST;
use tokio::task::JoinSet;

use super::dns;
use super::exchange::{Access, fill, host_header, signed};
use crate::plan::Plan;
use crate::recording::{Ack, LedgerResult, LostWrite};
use crate::run::http1::Connection;
use crate::run::sigv4::Signer;

/// Connections per Region.
const CONNECTIONS: usize = 64;
/// Tries of one read before it is unreadable.
const TRIES: usize = 3;
/// Pause before another try, cloud time.
const PAUSE: Duration = Duration::from_secs(5);
/// Patience with one read in real time at least: the read-back is about truth, not about speed.
const READ_PATIENCE_FLOOR: Duration = Duration::from_secs(1);
/// The whole read-back ends after this plus a second per this many writes; the rest is unreadable.
const WHOLE_PATIENCE: Duration = Duration::from_secs(30);
const READS_PER_SECOND_LEAST: u64 = 1000;

/// Ledgers of which nothing was read back: a loss of zero then proves nothing.
pub fn unread(plan: &Plan, acknowledged: Vec<Ack>, unknown: &[Ack]) -> BTreeMap<String, LedgerResult> {
    let empty = |name: &String| (name.clone(), LedgerResult::default());
    let mut results: BTreeMap<String, LedgerResult> = plan.ledgers.keys().map(empty).collect();
    for write in acknowledged {
        if let Some(result) = results.get_mut(&write.ledger) {
            *result.acknowledged.entry(write.region).or_default() += 1;
            result.unreadable += 1;
        }
    }
    for write in unknown {
        if let Some(result) = results.get_mut(&write.ledger) {
            result.unknown += 1;
        }
    }
    results
}

/// Reads every acknowledged write back; `unknown` are the writes whose outcome their user never learned.
pub async fn read_back(
    plan: &Arc<Plan>,
    access: &Access,
    acknowledged: Vec<Ack>,
    unknown: &[Ack],
) -> BTreeMap<String, LedgerResult> {
    let mut results: BTreeMap<String, LedgerResult> = plan
        .ledgers
        .keys()
        .map(|name| (name.clone(), LedgerResult::default()))
        .collect();
    for write in unknown {
        if let Some(result) = results.get_mut(&write.ledger) {
            result.unknown += 1;
        }
    }
    let whole = WHOLE_PATIENCE + Duration::from_secs(acknowledged.len() as u64 / READS_PER_SECOND_LEAST);
    let deadline = Instant::now() + whole;
    let mut by_region: BTreeMap<String, Vec<Ack>> = BTreeMap::new();
    for ack in acknowledged {
        if let Some(result) = results.get_mut(&ack.ledger) {
            *result.acknowledged.entry(ack.region.clone()).or_default() += 1;
            by_region.entry(ack.region.clone()).or_default().push(ack);
        }
    }
    let signed = plan.ledgers.iter();
    let signers = signed.filter_map(|(name, ledger)| Some((name.clone(), Signer::new(ledger.sign.as_ref()?))));
    let signers = Arc::new(signers.collect());
    let mut workers: JoinSet<Vec<(usize, Arc<Queue>, Found)>> = JoinSet::new();
    for (region, acks) in by_region {
        let edge = edge(plan, &region).await;
        let queue = Arc::new(Queue {
            plan: Arc::clone(plan),
            access: access.clone(),
            signers: Arc::clone(&signers),
            edge,
            acks,
            next: AtomicUsize::new(0),
            deadline,
        });
        for worker in 0..CONNECTIONS.min(queue.acks.len()) {
            workers.spawn(Arc::clone(&queue).work(worker));
        }
    }
    while let Some(joined) = workers.join_next().await {
        for (index, queue, found) in joined.unwrap_or_default() {
            let ack = &queue.acks[index];
            let Some(result) = results.get_mut(&ack.ledger) else {
                continue;
            };
            match found {
                Found::There => result.found += 1,
                Found::Lost => result.lost.push(LostWrite {
                    id: ack.id.clone(),
                    acknowledged: ack.at,
                    region: ack.region.clone(),
                }),
                Found::Unreadable => {}
            }
        }
    }
    for result in results.values_mut() {
        let all: u64 = result.acknowledged.values().sum();
        // By difference, so that a read that was never answered for cannot look like a found one.
        result.unreadable = all - result.found - result.lost.len() as u64;
        result.lost.sort_by_key(|lost| lost.acknowledged);
    }
    results
}

/// Addresses to ask for a Region's writes: its load balancers, or the target's name where the Region is not known.
async fn edge(plan: &Plan, region: &str) -> Vec<IpAddr> {
    let target = &plan.target;
    if let Some(known) = target
        .inventory
        .regions
        .get(region)
        .filter(|known| !known.edge.is_empty())
    {
        return known.edge.clone();
    }
    let answer = dns::resolve(target.resolver, &target.host, plan.pace).await;
    answer.map(|answer| answer.addresses).unwrap_or_default()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    There,
    Lost,
    Unreadable,
}

struct Queue {
    plan: Arc<Plan>,
    access: Access,
    /// By the ledgers whose reads are signed.
    signers: Arc<BTreeMap<String, Signer>>,
    edge: Vec<IpAddr>,
    acks: Vec<Ack>,
    next: AtomicUsize,
    deadline: Instant,
}

impl Queue {
    async fn work(self: Arc<Self>, worker: usize) -> Vec<(usize, Arc<Self>, Found)> {
        let mut done = Vec::new();
        let mut line = Line {
            address: worker,
            connection: None,
        };
        while Instant::now() < self.deadline {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(ack) = self.acks.get(index) else { break };
            done.push((index, Arc::clone(&self), self.find(ack, &mut line).await));
        }
        done
    }

    async fn find(&self, ack: &Ack, line: &mut Line) -> Found {
        let mut missed = 0;
        for _ in 0..TRIES {
            match self.read(ack, line).await {
                Some(200) => return Found::There,
                Some(404) if missed > 0 => return Found::Lost,
                // Another load balancer's address must say the same.
                Some(404) => {
                    missed += 1;
                    line.elsewhere();
                    continue;
                }
                Some(_) => {}
                None => line.elsewhere(),
            }
            if Instant::now() >= self.deadline {
                break;
            }
            tokio::time::sleep(self.plan.pace.patience(PAUSE)).await;
        }
        Found::Unreadable
    }

    /// A read has nothing random in it but what its author wrote; the seed keeps even that the same.
    fn random(&self) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.plan.seed)
    }

    /// The status of one read; none when no answer came.
    async fn read(&self, ack: &Ack, line: &mut Line) -> Option<u16> {
        let target = &self.plan.target;
        let ledger = self.plan.ledgers.get(&ack.ledger)?;
        let tokens = Arc::clone(&self.access.tokens.borrow());
        let path = fill(&ledger.read, &mut self.random(), &ack.id, &tokens);
        let mut request = Request::get(path);
        let mut names = ledger.headers.iter().map(|(name, _)| name);
        if !names.any(|name| name.eq_ignore_ascii_case("host")) {
            request = request.header(HOST, host_header(target));
        }
        for (name, value) in &ledger.headers {
            request = request.header(name.as_str(), fill(value, &mut self.random(), &ack.id, &tokens));
        }
        let request = signed(request, Bytes::new(), self.signers.get(&ack.ledger))?;
        let pace = self.plan.pace;
        let mut connection = match line.connection.take() {
            Some(connection) => connection,
            None => {
                let address = *self.edge.get(line.address % self.edge.len().max(1))?;
                let patience = pace.patience(self.plan.client.connect_timeout).max(READ_PATIENCE_FLOOR);
                Connection::open(
                    SocketAddr::new(address, target.port),
                    patience,
                    self.access.tls.as_deref(),
                )
                .await
                .ok()?
            }
        };
        let patience = pace.patience(self.plan.client.request_timeout).max(READ_PATIENCE_FLOOR);
        let status = connection.send(request, patience).await.ok()?.status().as_u16();
        line.connection = Some(connection);
        Some(status)
    }
}

/// One worker's connection.
struct Line {
    address: usize,
    connection: Option<Connection>,
}

impl Line {
    /// Asks another address next time.
    fn elsewhere(&mut self) {
        self.address += 1;
        self.connection = None;
    }
}
