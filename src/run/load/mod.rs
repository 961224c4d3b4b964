//! The generator: starts requests when they are due, on one thread per shard, and measures from the due time.
//! It knows the plan and the users' DNS; it knows neither faults nor AWS.

mod arrivals;
mod book;
mod checks;
mod classes;
mod connection;
mod counts;
mod crowd;
mod curve;
mod deadlines;
mod deflate;
mod door;
mod events;
mod exchange;
mod feed;
mod flow;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
mod gather;
mod grpc;
mod health;
mod http1;
mod http2;
mod ids;
mod jar;
mod lane;
mod lookout;
mod machine;
mod measure;
mod passes;
mod patience;
mod pieces;
mod pool;
mod program;
mod pulses;
mod ready;
mod reasons;
mod redirect;
mod request;
mod resolver;
mod retry;
mod seconds;
mod shard;
mod silence;
mod sizing;
mod socket;
mod source;
mod spoken;
mod steered;
mod stream;
mod tcp;
#[cfg(test)]
mod tests;
mod timer;
mod together;
mod tokens;
mod transport;
mod users;

mod websocket;
mod wheel;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use hyper::header::HeaderName;
use tokio::sync::{mpsc, watch};

pub use seconds::{ShardSecond, merge, move_measured};

use self::classes::Classes;
pub use self::curve::Curve;
use self::feed::Feeders;
pub use self::machine::limits;
use self::program::Program;
use self::request::{CompiledStep, StepError};
use self::resolver::{Resolver, ResolverError};
use self::shard::{Common, ShardEnd};
pub use self::sizing::{connections_max, cores, shards};
pub use self::source::{Source, curves};
pub use self::steered::Steered;
use self::transport::TransportSettings;
use crate::clock::RunClock;
use crate::event::Stamped;
use crate::plan::{ConnectionUse, Plan};
use crate::recording::{Ack, Pulse};
use crate::run::oauth2::{Desk, Held};
use crate::run::tls::TlsError;

/// Why the load cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A step cannot be sent as written.
    #[error(transparent)]
    Step(#[from] StepError),
    /// The host cannot be looked up.
    #[error(transparent)]
    Resolver(#[from] ResolverError),
    /// The plan names a response header that cannot exist.
    #[error("served_by: {0:?} is not a header name")]
    ServedBy(String),
    /// TLS cannot be spoken.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A thread could not start.
    #[error("cannot start a shard")]
    Thread(#[from] std::io::Error),
}

/// A running load.
#[derive(Debug)]
pub struct Load {
    shards: Vec<JoinHandle<io::Result<ShardEnd>>>,
    resolver: Resolver,
}

/// What the load is told while it runs.
#[derive(Clone, Debug)]
pub struct Signals {
    /// True ends it early.
    pub stop: watch::Receiver<bool>,
    /// How each load is steered; nobody has steered any while it is empty.
    pub steered: watch::Receiver<Vec<Steered>>,
    /// Tokens as they are now.
    pub tokens: watch::Receiver<Arc<Held>>,
    /// Where users get tokens of their own.
    pub desk: Desk,
}

/// What is left when the load is over.
#[derive(Debug, Default)]
pub struct LoadEnd {
    /// By step index, all shards together.
    pub pulses: Vec<Pulse>,
    /// Acknowledged writes.
    pub acknowledged: Vec<Ack>,
    /// Writes that were sent and whose outcome their user never learned.
    pub unknown: Vec<Ack>,
    /// Writes that could not be kept; above zero, a loss of zero proves nothing.
    pub writes_over: u64,
    /// Lookups that got no usable answer; users kept the last one.
    pub lookups_failed: u64,
    /// Shards that died; their measurements are missing.
    pub shards_lost: usize,
    /// Seconds the channel had no room for until the end; they belong to the run like those received.
    pub rest: Vec<ShardSecond>,
}

/// Assembles the loads of every shard with their users, off the caller's thread; t0 can be set once it is done.
pub async fn assemble(plan: Arc<Plan>) -> Vec<Vec<Source>> {
    let assembled = tokio::task::spawn_blocking(move || Source::assemble(&plan, plan.pace, shards(&plan))).await;
    assembled.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// What a shard gets of so many, so that all `shards` together have exactly these.
fn share(all: usize, shard: usize, shards: usize) -> usize {
    all.saturating_sub(shard).div_ceil(shards.max(1))
}

/// Starts the load, a shard for each of the `sources`. Call it before t0: threads, connections' bookkeeping and the first
/// DNS answer are then ready when the schedule begins. It ends by itself at the end of the schedule as it is steered, or
/// early once it is told to stop.
pub fn start(
    plan: Arc<Plan>,
    sources: Vec<Vec<Source>>,
    clock: RunClock,
    seconds: mpsc::Sender<ShardSecond>,
    events: mpsc::Sender<Stamped>,
    signals: Signals,
) -> Result<Load, LoadError> {
    let target = &plan.target;
    let doors = door::doors(&plan)?;
    let served_by = target.served_by.as_ref().map(|name| {
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| LoadError::ServedBy(name.clone()))?;
        Ok::<Arc<str>, LoadError>(header.as_str().into())
    });
    let pace = clock.pace();
    let client = &plan.client;
    let classes = client.each_class();
    let shards = sources.len();
    let steps = CompiledStep::all(&plan)?;
    let resolver = Resolver::start(target, &classes, clock, events)?;
    let common = Common {
        clock,
        steps: steps.into(),
        programs: Program::all(&plan).into(),
        shards,
        feeders: Feeders::new(&plan),
        transport: TransportSettings {
            doors: doors.into(),
            connections_max: connections_max(&plan),
            streams: client.connections.http2,
            policies: classes.iter().map(|class| class.dns).collect(),
            age_max: client.connections.max_age.map(|age| pace.patience(age)),
            once: client.connections.used_by == ConnectionUse::PerRequest,
            idle_max: client.connections.idle.map(|idle| pace.patience(idle)),
            sources: client.connections.sources.clone().into(),
        },
        served_by: served_by.transpose()?,
        limiter: client.rate_limit.and_then(shard::limiter).map(Arc::new),
        seconds,
        classes: Classes::new(&classes),
        answers: resolver.answers(),
        stop: signals.stop,
        steered: signals.steered,
        tokens: signals.tokens,
        desk: signals.desk,
        writes_max: book::WRITES_MAX / shards,
        plan: Arc::clone(&plan),
    };
    let mut threads = Vec::with_capacity(shards);
    for (index, sources) in sources.into_iter().enumerate() {
        let common = common.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new()
            .name(format!("shard-{index}"))
            .spawn(move || runtime.block_on(shard::run(index, common, sources)))?;
        threads.push(thread);
    }
    Ok(Load {
        shards: threads,
        resolver,
    })
}

impl Load {
    /// How many shards it has; each sends every second once.
    #[must_use]
    pub fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// Waits for the end. Seconds must be received meanwhile; what found no room comes back in [`LoadEnd::rest`].
    pub async fn join(self) -> LoadEnd {
        let joined = tokio::task::spawn_blocking(move || self.join_blocking()).await;
        joined.unwrap_or_default()
    }

    fn join_blocking(self) -> LoadEnd {
        let mut end = LoadEnd::default();
        for shard in self.shards {
            match shard.join() {
                Ok(Ok(part)) => {
                    pulses::merge_pulses(&mut end.pulses, part.pulses);
                    end.acknowledged.extend(part.acknowledged);
                    end.unknown.extend(part.unknown);
                    end.writes_over += part.writes_over;
                    end.rest.extend(part.rest);
                }
                Ok(Err(_)) | Err(_) => end.shards_lost += 1,
            }
        }
        end.lookups_failed = self.resolver.stop();
        end
    }
}
