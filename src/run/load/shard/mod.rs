//! One shard: a thread that starts its share of the requests on time and records what becomes of them.
//! One task does all of it: it looks at the sockets that have something to say, starts what is due, and sleeps. What a
//! request does is in `exchange`, how it travels in `transport`, what is measured in `measure`.

mod closing;
mod ends;
mod rest;
mod starts;

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{mpsc, watch};

use super::book::Book;
use super::classes::Classes;
use super::exchange::HeadTold;
use super::feed::Feeders;
use super::flow::Pauses;
use super::gather::Gather;
use super::health::Meter;
use super::http1::Known;
use super::ids::Ids;
use super::lane::Lane;
use super::lookout::Watch;
use super::measure::{Kept, Recorder};
use super::passes::Passes;
use super::patience::Patience;
use super::program::Program;
use super::ready::{Bell, Ready, Token};
use super::request::{CompiledStep, Scratch};
use super::resolver::Answers;
use super::retry::Retrying;
use super::seconds::ShardSecond;
use super::sizing::first_rate;
use super::source::Source;
use super::steered::Steered;
use super::timer::Timer;
use super::tokens::UserTokens;
use super::transport::{Seen, Transport, TransportSettings};
use crate::clock::RunClock;
use crate::plan::{ConnectionUse, Plan, Steering};
use crate::recording::{Ack, Pulse};
use crate::run::oauth2::{Desk, Held};

/// How long a user who is not wanted any more may go on with its pass, as anyone's patience; then it begins no further
/// step.
const GRACE: Duration = Duration::from_secs(30);

/// What all shards share.
#[derive(Clone)]
pub struct Common {
    /// The run.
    pub plan: Arc<Plan>,
    /// Its clock.
    pub clock: RunClock,
    /// Steps ready to be sent.
    pub steps: Arc<[CompiledStep]>,
    /// What passes do, by journey.
    pub programs: Arc<[Program]>,
    /// How many shards there are.
    pub shards: usize,
    /// Test data.
    pub feeders: Feeders,
    /// Connections.
    pub transport: TransportSettings,
    /// Header that names who served.
    pub served_by: Option<Arc<str>>,
    /// The safety limit.
    pub limiter: Option<Arc<DefaultDirectRateLimiter>>,
    /// Where seconds go.
    pub seconds: mpsc::Sender<ShardSecond>,
    /// Which class of clients a user belongs to.
    pub classes: Classes,
    /// The users' DNS.
    pub answers: watch::Receiver<Answers>,
    /// True ends the load early.
    pub stop: watch::Receiver<bool>,
    /// How each load is steered; nobody has steered any while it is empty.
    pub steered: watch::Receiver<Vec<Steered>>,
    /// Tokens as they are now.
    pub tokens: watch::Receiver<Arc<Held>>,
    /// Where users get tokens of their own.
    pub desk: Desk,
    /// Writes kept per shard.
    pub writes_max: usize,
}

/// What a shard leaves behind.
#[derive(Debug, Default)]
pub struct ShardEnd {
    /// By step index.
    pub pulses: Vec<Pulse>,
    /// Acknowledged writes.
    pub acknowledged: Vec<Ack>,
    /// Writes whose outcome nobody learned.
    pub unknown: Vec<Ack>,
    /// Writes that were not kept.
    pub writes_over: u64,
    /// Seconds nobody took in time.
    pub rest: Vec<ShardSecond>,
}

/// The safety limit of a run; it never paces, it only refuses.
#[must_use]
pub fn limiter(per_second: f64) -> Option<DefaultDirectRateLimiter> {
    let period = Duration::try_from_secs_f64(1.0 / per_second).ok()?;
    // A twentieth of a second's worth may come at once, or even arrivals would be refused for their jitter.
    let burst = NonZeroU32::new((per_second / 20.0) as u32).unwrap_or(NonZeroU32::MIN);
    Some(RateLimiter::direct(Quota::with_period(period)?.allow_burst(burst)))
}

/// Runs a shard on the current thread, inside its runtime, until the load is over.
pub async fn run(index: usize, common: Common, sources: Vec<Source>) -> io::Result<ShardEnd> {
    // Timers otherwise fire up to 50 us late (PR_SET_TIMERSLACK in prctl(2)); where that is refused, they do.
    let _ = nix::sys::prctl::set_timerslack(1);
    let ready = Ready::default();
    let mut shard = Shard::new(index, common, sources, ready)?;
    let signals = tokio::spawn(ring_for_signals(
        shard.common.answers.clone(),
        shard.common.stop.clone(),
        shard.common.steered.clone(),
        shard.common.tokens.clone(),
        Waker::from(Arc::clone(&shard.signal)),
    ));
    // Its turns are bounded by its own means; tokio's would make sockets look idle that are not.
    tokio::task::unconstrained(shard.drive()).await?;
    signals.abort();
    let rest = shard.hand_over_last().await;
    let ledgers: Vec<String> = shard.common.plan.ledgers.keys().cloned().collect();
    let (acknowledged, unknown) = shard.book.read_out(&shard.ids, &ledgers);
    Ok(ShardEnd {
        pulses: shard.recorder.into_pulses(),
        acknowledged,
        unknown,
        writes_over: shard.book.over(),
        rest,
    })
}

/// Wakes the shard for a new DNS answer, for the word to stop, for a turn of the wheel and for new tokens.
async fn ring_for_signals(
    mut answers: watch::Receiver<Answers>,
    mut stop: watch::Receiver<bool>,
    mut steered: watch::Receiver<Vec<Steered>>,
    mut tokens: watch::Receiver<Arc<Held>>,
    waker: Waker,
) {
    loop {
        tokio::select! {
            Ok(()) = answers.changed() => {}
            Ok(()) = stop.changed() => {}
            Ok(()) = steered.changed() => {}
            Ok(()) = tokens.changed() => {}
            // Nobody is left who could tell anything.
            else => return,
        }
        waker.wake_by_ref();
    }
}

pub(super) struct Shard {
    index: usize,
    pub(super) common: Common,
    /// When the schedule ends; not before it goes on, where it is held.
    pub(super) end_us: u64,
    /// Where the schedule is; the same for every load.
    pub(super) steering: Steering,
    ready: Ready,
    signal: Arc<Bell>,
    timer: Timer,
    pub(super) transport: Transport,
    /// What is spoken over lent connections.
    pub(super) lane: Lane,
    /// The recorder's index of where its connections go, by pool.
    pub(super) destinations: Vec<usize>,
    /// By load.
    sources: Vec<Source>,
    /// Passes of arrivals under way.
    arriving: u64,
    pub(super) passes: Passes,
    /// How long a request may take altogether.
    pub(super) patience: Patience,
    /// How long a connect may take.
    pub(super) connecting: Patience,
    pub(super) patience_us: u64,
    /// How long users who are to leave may go on.
    grace_us: u64,
    pub(super) retrying: Retrying,
    /// Between two requests.
    pub(super) pauses: Pauses,
    /// When who thinks is due again.
    pub(super) gather: Gather,
    pub(super) ids: Ids,
    pub(super) scratch: Scratch,
    /// What its users send as their tokens.
    pub(super) tokens: UserTokens,
    pub(super) book: Book,
    pub(super) recorder: Recorder,
    /// Heads of answers that came before.
    pub(super) heads: Known<HeadTold>,
    meter: Meter,
    backlog: VecDeque<ShardSecond>,
    second_ends_us: u64,
    /// When it last looked at its sockets.
    looked_us: u64,
    /// Longest time in the second under way in which it did not look at them, though it had to.
    stood_still_us: u64,
    /// When the runtime's tasks had their last turn.
    gave_way_us: u64,
    /// The last rest was a nap, and nothing came meanwhile.
    napped_in_vain: bool,
    /// There was a crowd in the last second; in the first, there is to be one.
    crowded: bool,
    /// Starts come by the clock, not by the answers before them, so that looking a moment later delays none.
    naps: bool,
    /// Users have connections of their own.
    pub(super) owned: bool,
    pub(super) stopping: bool,
    /// It ends before its schedule does.
    pub(super) cut: bool,
}

impl Shard {
    fn new(index: usize, common: Common, sources: Vec<Source>, ready: Ready) -> io::Result<Self> {
        let plan = &common.plan;
        let pace = common.clock.pace();
        let classes = plan.client.each_class();
        let end = pace.to_real(plan.ends_at);
        let micros = |duration: Duration| duration.as_micros() as u64;
        let signal = ready.bell(Token::Signal);
        let patience_us = micros(pace.patience(plan.client.request_timeout_max()));
        let watch = Watch::new(&ready)?;
        Ok(Self {
            index,
            end_us: micros(end),
            steering: Steering::default(),
            timer: Timer::new(&watch)?,
            transport: Transport::new(&common.transport, index, common.shards, ready.clone(), watch),
            tokens: UserTokens::new(plan, common.desk.clone(), Waker::from(Arc::clone(&signal))),
            signal,
            lane: Lane::new(ready.clone()),
            ready,
            destinations: Vec::new(),
            sources,
            arriving: 0,
            passes: Passes::default(),
            patience: Patience::of_requests(&classes, &plan.steps, pace),
            retrying: Retrying::new(&classes, pace, index, common.shards),
            pauses: Pauses::default(),
            gather: Gather::new(index, common.shards),
            connecting: Patience::of_connects(&classes, pace),
            patience_us,
            grace_us: micros(pace.patience(GRACE)),
            ids: Ids::new(plan.seed, common.clock.clock().real_unix_at(common.clock.t0()), index),
            scratch: Scratch::default(),
            book: Book::new(common.writes_max),
            recorder: Recorder::new(
                index,
                Kept {
                    steps: plan.steps.len(),
                    groups: plan.groups().len(),
                    classes: plan.client.classes.len(),
                    pulses: plan.keeps_pulses(),
                },
                end,
            ),
            heads: Known::default(),
            meter: Meter::start(index == 0),
            backlog: VecDeque::new(),
            second_ends_us: 1_000_000,
            looked_us: 0,
            stood_still_us: 0,
            gave_way_us: 0,
            napped_in_vain: false,
            crowded: first_rate(plan, common.shards) >= rest::CROWD as f64,
            naps: rest::naps(plan),
            owned: plan.client.connections.used_by == ConnectionUse::PerUser,
            stopping: false,
            cut: false,
            common,
        })
    }

    pub(super) fn now_us(&self) -> u64 {
        self.common.clock.elapsed().as_micros() as u64
    }

    /// The plan's index of the step that a pass is at.
    #[inline]
    pub(super) fn step_of(&self, pass: u32) -> usize {
        self.passes[pass].step as usize
    }

    async fn drive(&mut self) -> io::Result<()> {
        tokio::time::sleep_until(self.common.clock.t0().into()).await;
        self.take_signals();
        self.meter = Meter::start(self.index == 0);
        let mut lag = ForcedLag::new(self.common.plan.client.forced_lag);
        let mut ready = Vec::new();
        loop {
            lag.block(self.now_us());
            self.look_at(&mut ready);
            let now_us = self.now_us();
            self.close_seconds(now_us);
            self.expire(now_us);
            self.transport.expire_idle(now_us);
            self.open_more(now_us);
            self.try_again(now_us);
            self.end_pauses(now_us);
            self.cut = now_us < self.end_us && *self.common.stop.borrow();
            if now_us >= self.end_us || self.cut {
                break;
            }
            let look_us = self.start_due(now_us);
            self.rest(look_us, &mut ready).await?;
        }
        if self.cut {
            self.leave_due(self.now_us());
        } else {
            self.start_last();
        }
        self.stopping = true;
        self.finish_in_flight(&mut ready).await
    }

    /// Deals with everything that rang and was seen.
    fn look_at(&mut self, ready: &mut Vec<Token>) {
        for token in ready.drain(..) {
            match token {
                Token::Connection(connection) => self.look(connection),
                Token::Lane(pass) => self.look_in_lane(pass),
                Token::Signal => self.take_signals(),
                // What it rang for is seen.
                Token::Watch => {}
            }
        }
        for index in 0.. {
            match self.transport.seen(index) {
                Some(Seen::Connection(connection)) => self.look(connection),
                Some(Seen::Lent(pass)) => self.look_in_lane(pass),
                Some(Seen::Timer) => self.timer.rang(),
                Some(Seen::Nothing) => {}
                None => return,
            }
        }
    }

    fn take_signals(&mut self) {
        self.signal.hush();
        let answers = self.common.answers.borrow_and_update().clone();
        for (class, answer) in answers.iter().enumerate() {
            self.transport.set_answer(class, answer);
        }
        self.tokens.held = Arc::clone(&self.common.tokens.borrow_and_update());
        let awake_us = self.steering.awake_us(self.now_us());
        // They go on like those who have slept.
        let sources = &mut self.sources;
        self.tokens
            .given(|load, row| sources[load].due.push_back((awake_us, row)));
        let steered = self.common.steered.borrow_and_update().clone();
        if !self.stopping {
            self.steer(&steered);
        }
    }

    fn steer(&mut self, steered: &[Steered]) {
        for (load, steered) in steered.iter().enumerate() {
            if *steered != self.sources[load].steered {
                self.start_arrivals_before(load, steered);
                self.sources[load].steered = *steered;
                self.steering = steered.steering;
            }
        }
        let plan = &self.common.plan;
        let end_us = self.steering.real_us(plan.schedule_us(plan.ends_at));
        self.end_us = end_us.unwrap_or(u64::MAX);
    }
}

/// Blocks the thread at times, so that tests can see what lag does to a verdict.
struct ForcedLag {
    length: Duration,
    every_us: u64,
    next_us: u64,
}

impl ForcedLag {
    fn new(length: Duration) -> Self {
        // At least a fifth of all starts are late, so that a p99 sees it.
        let every_us = (length.as_micros() as u64 * 5).min(1_000_000);
        Self {
            length,
            every_us,
            next_us: every_us,
        }
    }

    fn block(&mut self, now_us: u64) {
        if !self.length.is_zero() && now_us >= self.next_us {
            std::thread::sleep(self.length);
            self.next_us = now_us + self.every_us.max(self.length.as_micros() as u64 + 1);
        }
    }
}
