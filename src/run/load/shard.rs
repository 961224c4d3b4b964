//! One shard: a thread that starts its share of the requests on time and records what becomes of them.
//! What a user does is decided in `users`, how it travels in `transport`, what is measured in `measure`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use super::book::{Book, Write};
use super::curve::Curve;
use super::health::Meter;
use super::measure::{Finished, Recorder, ShardSecond, fold_into_next};
use super::pool::NoRoute;
use super::request::{CompiledStep, Filling, Ids};
use super::resolver::Answer;
use super::transport::{Outcome, Transport, TransportSettings};
use super::users::{Journeys, Users, choices, first_think_us, think_us};
use super::wheel::Wheel;
use crate::clock::RunClock;
use crate::plan::{LoadModel, Plan};
use crate::recording::{Ack, FailureKind, Pulse};

/// How often new users are added within a ramp.
const RAMP_TICK_US: u64 = 5_000;
/// Seconds kept while nobody takes them; older ones are folded together.
const BACKLOG_MAX: usize = 8;
/// How long the last seconds may wait to be taken before they are handed over at the end instead.
const LAST_SECONDS_WAIT: Duration = Duration::from_secs(2);
/// A user whose request was not sent waits at least this long, or a journey without think time would spin.
const NOT_SENT_WAIT_US: u64 = 1_000;
/// Requests started in a row before answers are looked at again.
const STARTS_PER_TURN: usize = 256;

/// What all shards share.
#[derive(Clone)]
pub struct Common {
    /// The run.
    pub plan: Arc<Plan>,
    /// Its clock.
    pub clock: RunClock,
    /// Steps ready to be sent.
    pub steps: Arc<[CompiledStep]>,
    /// Users or arrivals over time.
    pub curve: Arc<Curve>,
    /// How many shards there are.
    pub shards: usize,
    /// Connections.
    pub transport: TransportSettings,
    /// The safety limit.
    pub limiter: Option<Arc<DefaultDirectRateLimiter>>,
    /// Where seconds go.
    pub seconds: mpsc::Sender<ShardSecond>,
    /// The users' DNS.
    pub answers: watch::Receiver<Answer>,
    /// True ends the load early.
    pub stop: watch::Receiver<bool>,
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

/// Runs a shard on the current thread until the load is over.
pub async fn run(index: usize, common: Common) -> ShardEnd {
    let shard = Rc::new(Shard::new(index, common));
    let follow = tokio::task::spawn_local(follow_answers(Rc::clone(&shard)));
    shard.drive().await;
    follow.abort();
    // The aborted task holds the shard until the runtime has dropped it.
    let _ = follow.await;
    let rest = shard.hand_over_last().await;
    let ledgers: Vec<String> = shard.common.plan.ledgers.keys().cloned().collect();
    let book = shard.book.take();
    let (acknowledged, unknown) = book.read_out(&shard.ids.borrow(), &ledgers);
    let pulses = shard
        .recorder
        .replace(Recorder::new(index, 0, Duration::ZERO))
        .into_pulses();
    ShardEnd {
        pulses,
        acknowledged,
        unknown,
        writes_over: book.over(),
        rest,
    }
}

async fn follow_answers(shard: Rc<Shard>) {
    let mut answers = shard.common.answers.clone();
    loop {
        let answer = Arc::clone(&answers.borrow_and_update());
        shard.transport.set_answer(&answer);
        if answers.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

struct Shard {
    index: usize,
    common: Common,
    end_us: u64,
    patience: Duration,
    transport: Transport,
    journeys: Journeys,
    wheel: RefCell<Wheel>,
    users: RefCell<Users>,
    ids: RefCell<Ids>,
    book: RefCell<Book>,
    recorder: RefCell<Recorder>,
    meter: RefCell<Meter>,
    backlog: RefCell<VecDeque<ShardSecond>>,
    /// Set while the driver sleeps past this instant and something is due earlier.
    wake: Notify,
    sleeping_until_us: Cell<u64>,
    in_flight: Cell<u64>,
    /// Passes under way, thinking excluded.
    passes: Cell<u64>,
    stopping: Cell<bool>,
}

impl Shard {
    fn new(index: usize, common: Common) -> Self {
        let plan = &common.plan;
        let pace = common.clock.pace();
        let peak = match plan.model {
            LoadModel::Users => common.curve.peak(),
            LoadModel::Arrivals => 0.0,
        };
        let end = pace.to_real(plan.ends_at);
        Self {
            index,
            end_us: end.as_micros() as u64,
            patience: pace.patience(plan.client.request_timeout),
            transport: Transport::new(common.transport.clone(), index),
            journeys: Journeys::new(&plan.journeys),
            wheel: RefCell::new(Wheel::with_capacity(peak as usize / common.shards + 1)),
            users: RefCell::new(Users::new(index, common.shards, peak)),
            ids: RefCell::new(Ids::new(
                plan.seed,
                common.clock.clock().real_unix_at(common.clock.t0()),
                index,
            )),
            book: RefCell::new(Book::new(common.writes_max)),
            recorder: RefCell::new(Recorder::new(index, plan.steps.len(), end)),
            meter: RefCell::new(Meter::start(index == 0)),
            backlog: RefCell::new(VecDeque::new()),
            wake: Notify::new(),
            sleeping_until_us: Cell::new(0),
            in_flight: Cell::new(0),
            passes: Cell::new(0),
            stopping: Cell::new(false),
            common,
        }
    }

    fn now_us(&self) -> u64 {
        self.common.clock.elapsed().as_micros() as u64
    }

    async fn drive(self: &Rc<Self>) {
        let mut stop = self.common.stop.clone();
        tokio::time::sleep_until(self.common.clock.t0().into()).await;
        self.meter.replace(Meter::start(self.index == 0));
        let mut due = Vec::new();
        let mut arrival = self.index as u64;
        let mut lag = ForcedLag::new(self.common.plan.client.forced_lag);
        loop {
            lag.block(self.now_us());
            let now_us = self.now_us();
            self.close_seconds(now_us);
            if *stop.borrow() {
                break;
            }
            if now_us >= self.end_us {
                // The last arrivals were due before the end, however late this thread woke.
                if self.common.plan.model == LoadModel::Arrivals {
                    self.start_arrivals(self.end_us, &mut arrival).await;
                }
                break;
            }
            let look_us = match self.common.plan.model {
                LoadModel::Users => self.wake_users(now_us, &mut due).await,
                LoadModel::Arrivals => self.start_arrivals(now_us, &mut arrival).await,
            };
            let second_us = (self.recorder.borrow().second() + 1) * 1_000_000;
            let until_us = look_us.unwrap_or(u64::MAX).min(second_us).min(self.end_us);
            self.sleeping_until_us.set(until_us);
            tokio::select! {
                () = tokio::time::sleep_until(self.instant(until_us)) => {}
                () = self.wake.notified() => {}
                () = told_to_stop(&mut stop) => {}
            }
            self.sleeping_until_us.set(0);
        }
        self.stopping.set(true);
        self.finish_in_flight().await;
    }

    /// Starts what is due and says when to look again.
    async fn wake_users(self: &Rc<Self>, now_us: u64, due: &mut Vec<(u64, u32)>) -> Option<u64> {
        let curve = &self.common.curve;
        self.users.borrow_mut().set_level(curve.level(now_us), |row| {
            let number = u64::from(row) * self.common.shards as u64 + self.index as u64;
            let mut choices = choices(self.common.plan.seed, number, 0);
            let journey = self.common.plan.journeys.get(self.journeys.pick_thinking(&mut choices));
            let first_us = journey.map_or(0, |journey| first_think_us(&journey.think, &mut choices));
            self.wheel.borrow_mut().insert(row, now_us + first_us);
        });
        self.wheel.borrow_mut().advance(now_us, due);
        for (started, (due_us, row)) in due.drain(..).enumerate() {
            if started % STARTS_PER_TURN == STARTS_PER_TURN - 1 {
                tokio::task::yield_now().await;
            }
            let shard = Rc::clone(self);
            let pass = self.users.borrow_mut().begin_pass(row);
            if let Some(pass) = pass {
                self.spawn_pass(async move { shard.user_pass(row, pass, due_us).await });
            }
        }
        let change_us = curve.next_change(now_us).map(|at| at.max(now_us + RAMP_TICK_US));
        let due_us = self.wheel.borrow().next_look_us();
        match (change_us, due_us) {
            (Some(change), Some(due)) => Some(change.min(due)),
            (one, other) => one.or(other),
        }
    }

    fn spawn_pass(self: &Rc<Self>, pass: impl Future<Output = ()> + 'static) {
        let shard = Rc::clone(self);
        self.passes.set(self.passes.get() + 1);
        tokio::task::spawn_local(async move {
            pass.await;
            shard.passes.set(shard.passes.get() - 1);
        });
    }

    /// One pass of a user: its journey's steps in order, then its think time.
    async fn user_pass(self: Rc<Self>, row: u32, pass: u32, due_us: u64) {
        let number = self.users.borrow().number(row);
        let mut choices = choices(self.common.plan.seed, number, pass);
        let plan = Arc::clone(&self.common.plan);
        let Some(journey) = plan.journeys.get(self.journeys.pick(&mut choices)) else {
            return;
        };
        let mut intended_us = due_us;
        let mut sent = false;
        for &step in &journey.steps {
            if self.stopping.get() {
                return;
            }
            sent = self.perform(step, intended_us, &mut choices).await;
            intended_us = self.now_us();
        }
        let wait_us = think_us(&journey.think, &mut choices);
        let wait_us = if sent { wait_us } else { wait_us.max(NOT_SENT_WAIT_US) };
        self.wheel.borrow_mut().insert(row, intended_us + wait_us);
        if intended_us + wait_us < self.sleeping_until_us.get() {
            self.wake.notify_one();
        }
    }

    /// Starts every arrival whose time has come, whatever became of those before it.
    async fn start_arrivals(self: &Rc<Self>, now_us: u64, next: &mut u64) -> Option<u64> {
        let mut started = 0;
        loop {
            let at_us = self.common.curve.arrival_us(*next)?;
            if at_us > now_us {
                return Some(at_us);
            }
            let number = *next;
            *next += self.common.shards as u64;
            // Past anyone's patience it cannot be sent in time any more.
            if now_us - at_us > self.patience.as_micros() as u64 {
                let mut recorder = self.recorder.borrow_mut();
                recorder.intended();
                recorder.dropped();
                continue;
            }
            let shard = Rc::clone(self);
            self.spawn_pass(async move { shard.arrival_pass(number, at_us).await });
            started += 1;
            if started % STARTS_PER_TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// One arrival: its journey's steps in order; the first is due at its time, each other when the one before ended.
    async fn arrival_pass(self: Rc<Self>, number: u64, due_us: u64) {
        let mut choices = choices(self.common.plan.seed, number, 0);
        let plan = Arc::clone(&self.common.plan);
        let Some(journey) = plan.journeys.get(self.journeys.pick(&mut choices)) else {
            return;
        };
        let mut intended_us = due_us;
        for (index, &step) in journey.steps.iter().enumerate() {
            if index > 0 && self.stopping.get() {
                return;
            }
            self.perform(step, intended_us, &mut choices).await;
            intended_us = self.now_us();
        }
    }

    /// One request from its due time to its end; false when it was not sent.
    async fn perform(&self, step: usize, intended_us: u64, choices: &mut fastrand::Rng) -> bool {
        let started = Instant::now();
        let started_us = self.common.clock.offset(started.into_std()).as_micros() as u64;
        self.recorder.borrow_mut().intended();
        if self
            .common
            .limiter
            .as_ref()
            .is_some_and(|limiter| limiter.check().is_err())
        {
            self.recorder.borrow_mut().dropped();
            return false;
        }
        let route = match self.transport.route() {
            Ok(route) => route,
            Err(NoRoute::QueueFull) => {
                self.recorder.borrow_mut().dropped();
                return false;
            }
            Err(NoRoute::NoAddress) => {
                let mut recorder = self.recorder.borrow_mut();
                recorder.started(step, intended_us, started_us, None);
                recorder.finished(&Finished {
                    step,
                    intended_us,
                    started_us,
                    served_from_us: started_us,
                    finished_us: started_us,
                    failure: Some(FailureKind::Dns),
                });
                return false;
            }
        };
        let edge = &self.common.plan.target.edge;
        let sent_to = edge.get(&route.address()).map_or("unknown", String::as_str);
        {
            let mut recorder = self.recorder.borrow_mut();
            let region = recorder.region(sent_to);
            recorder.started(step, intended_us, started_us, Some(region));
        }
        let compiled = &self.common.steps[step];
        let (counter, unique) = {
            let mut ids = self.ids.borrow_mut();
            let counter = ids.take();
            (
                counter,
                if compiled.needs_id() {
                    ids.text(counter)
                } else {
                    String::new()
                },
            )
        };
        let drawn = choices.clone();
        // Every attempt draws the same numbers; the next request draws others.
        choices.u64(..);
        let make = || {
            compiled.fill(&mut Filling {
                random: &mut drawn.clone(),
                unique: &unique,
            })
        };
        self.in_flight.set(self.in_flight.get() + 1);
        let deadline = started + self.patience;
        let exchange = self
            .transport
            .exchange(route, &make, compiled.is_idempotent(), deadline)
            .await;
        self.in_flight.set(self.in_flight.get() - 1);
        let finished_us = self.now_us();
        self.close_seconds(finished_us);
        let (failure, served_by) = match exchange.outcome {
            Outcome::NotSent => {
                self.recorder.borrow_mut().dropped();
                return false;
            }
            Outcome::Failed(kind) => (Some(kind), None),
            Outcome::Answered { status, served_by } => (compiled.judge(status), served_by),
        };
        let free_at = exchange.free_at.map(|at| self.common.clock.offset(at.into_std()));
        let mut recorder = self.recorder.borrow_mut();
        recorder.finished(&Finished {
            step,
            intended_us,
            started_us,
            // Who never got a connection only waited.
            served_from_us: free_at.map_or(finished_us, |at| at.as_micros() as u64),
            finished_us,
            failure,
        });
        let mut region = sent_to;
        if failure.is_none() {
            let index = recorder.served(served_by.as_ref().map_or(b"", |header| header.as_bytes()));
            let served = &recorder.served_by(index).region;
            if !served.is_empty() {
                region = served;
            }
        }
        if let Some(ledger) = compiled.ledger {
            let mut book = self.book.borrow_mut();
            let write = Write {
                counter,
                at_us: finished_us,
                region: book.region(region),
                ledger,
            };
            match failure {
                None => book.acknowledged(write),
                // A 4xx is a refusal: the user knows that nothing was written.
                Some(FailureKind::Status4xx) => {}
                Some(_) if exchange.sent => book.unknown(write),
                Some(_) => {}
            }
        }
        true
    }

    /// Ends every second that has passed; an empty one is a second too.
    fn close_seconds(&self, now_us: u64) {
        let current = now_us / 1_000_000;
        let mut closed = self.recorder.borrow().second();
        while closed < current {
            self.close_second();
            closed += 1;
        }
    }

    fn close_second(&self) {
        let users = match self.common.plan.model {
            LoadModel::Users => self.users.borrow().present(),
            LoadModel::Arrivals => self.in_flight.get(),
        };
        let generator = self.meter.borrow_mut().read(self.transport.connections());
        let second = self.recorder.borrow_mut().close_second(users, generator);
        let mut backlog = self.backlog.borrow_mut();
        backlog.push_back(second);
        self.offer(&mut backlog);
        if backlog.len() > BACKLOG_MAX
            && let Some(earlier) = backlog.pop_front()
            && let Some(next) = backlog.front_mut()
        {
            fold_into_next(&earlier, next);
        }
    }

    /// Hands seconds over in order, without ever waiting.
    fn offer(&self, backlog: &mut VecDeque<ShardSecond>) {
        while let Ok(room) = self.common.seconds.try_reserve() {
            match backlog.pop_front() {
                Some(second) => room.send(second),
                None => return,
            }
        }
    }

    /// Lets what was started end by itself; nothing can outlive its own timeout.
    async fn finish_in_flight(&self) {
        let deadline = Instant::now() + self.patience + Duration::from_millis(500);
        while self.passes.get() > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
            self.close_seconds(self.now_us());
        }
    }

    async fn hand_over_last(&self) -> Vec<ShardSecond> {
        if self.recorder.borrow().is_dirty() {
            self.close_second();
        }
        let mut rest = std::mem::take(&mut *self.backlog.borrow_mut());
        let deadline = Instant::now() + LAST_SECONDS_WAIT;
        while !rest.is_empty() {
            match tokio::time::timeout_at(deadline, self.common.seconds.reserve()).await {
                Ok(Ok(room)) => {
                    if let Some(second) = rest.pop_front() {
                        room.send(second);
                    }
                }
                _ => break,
            }
        }
        rest.into()
    }

    fn instant(&self, at_us: u64) -> Instant {
        self.common.clock.instant(Duration::from_micros(at_us)).into()
    }
}

async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        // Nobody is left who could say stop.
        std::future::pending::<()>().await;
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
