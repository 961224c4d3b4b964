//! One shard: a thread that starts its share of the requests on time and records what becomes of them.
//! One task does all of it: it looks at the sockets that have something to say, starts what is due, and sleeps. What a
//! request does is in `exchange`, how it travels in `transport`, what is measured in `measure`.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::book::Book;
use super::classes::Classes;
use super::exchange::HeadTold;
use super::feed::{Feeders, Rows};
use super::flow::Pauses;
use super::health::Meter;
use super::http1::Known;
use super::ids::Ids;
use super::lane::Lane;
use super::lookout::Watch;
use super::measure::{Kept, Recorder};
use super::passes::{Owner, Passes};
use super::patience::Patience;
use super::program::Program;
use super::ready::{Bell, Ready, Token};
use super::request::{CompiledStep, Scratch};
use super::resolver::Answers;
use super::retry::Retrying;
use super::seconds::{ShardSecond, fold_into_next};
use super::source::Source;
use super::steered::Steered;
use super::timer::Timer;
use super::tokens::UserTokens;
use super::transport::{Seen, Transport, TransportSettings};
use super::users::{choices, wait_us};
use crate::clock::RunClock;
use crate::plan::{ConnectionUse, LoadModel, Plan, Steering};
use crate::recording::{Ack, Pulse};
use crate::run::oauth2::{Desk, Held};

/// Seconds kept while nobody takes them; older ones are folded together.
const BACKLOG_MAX: usize = 8;
/// How long the last seconds may wait to be taken before they are handed over at the end instead.
const LAST_SECONDS_WAIT: Duration = Duration::from_secs(2);
/// A user whose request was not sent waits at least this long, or a journey without think time would spin.
const NOT_SENT_WAIT_US: u64 = 1_000;
/// How long a user who is not wanted any more may go on with its pass, as anyone's patience; then it begins no further
/// step.
const GRACE: Duration = Duration::from_secs(30);
/// How often new users are added within a ramp.
const RAMP_TICK_US: u64 = 5_000;
/// Requests started in a row before answers are looked at again.
const STARTS_PER_TURN: usize = 256;
/// What is due, or answered, this soon after another waits for one look together: a wake-up costs more than a request.
const SLACK_US: u64 = 50;
/// The runtime's tasks (signals, and whatever reads in their own way) wait no longer than this for a busy shard.
const WAY_US: u64 = 1_000;
/// The slack after a second with so many requests: a tenth less CPU time than with 80 us, for 0.03 ms more at the median
/// (0.17 ms of 60,000/s).
const CROWD: u64 = 40_000;
const CROWDED_SLACK_US: u64 = 140;

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
    rows: Rows,
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
    /// When the runtime's tasks had their last turn.
    gave_way_us: u64,
    /// The last rest was a nap, and nothing came meanwhile.
    napped_in_vain: bool,
    /// There was a crowd in the last second.
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
            transport: Transport::new(&common.transport, index, ready.clone(), watch),
            tokens: UserTokens::new(plan, common.desk.clone(), Waker::from(Arc::clone(&signal))),
            signal,
            lane: Lane::new(ready.clone()),
            ready,
            destinations: Vec::new(),
            sources,
            arriving: 0,
            rows: Rows::new(common.feeders.clone(), index, common.shards),
            passes: Passes::default(),
            patience: Patience::of_requests(&classes, &plan.steps, pace),
            retrying: Retrying::new(&classes, pace),
            pauses: Pauses::default(),
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
            gave_way_us: 0,
            napped_in_vain: false,
            crowded: false,
            naps: naps(plan),
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
        if !self.cut {
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

    /// What was due before the schedule was steered anew is started, or counted, however late this thread woke.
    fn start_arrivals_before(&mut self, load: usize, steered: &Steered) {
        let since_us = steered.steering.since_us();
        loop {
            let source = &self.sources[load];
            if source.model == LoadModel::Users || !steered.is_past(source.arrivals.mass()) {
                return;
            }
            let due_us = source.steered.arrival_us(&source.curve, source.arrivals.mass());
            let due_us = due_us.map_or(since_us, |due_us| due_us.min(since_us));
            self.start_arrival(load, due_us, self.now_us());
        }
    }

    /// Starts what is due of every load and says when to look again.
    #[inline]
    fn start_due(&mut self, now_us: u64) -> Option<u64> {
        let mut look_us: Option<u64> = None;
        for load in 0..self.sources.len() {
            let next_us = match self.sources[load].model {
                LoadModel::Users => self.wake_users(load, now_us),
                LoadModel::Arrivals | LoadModel::Mixed => self.start_arrivals(load, now_us),
            };
            look_us = look_us.into_iter().chain(next_us).min();
        }
        look_us
    }

    /// The last arrivals were due before the end, however late this thread woke; passes that were to be made by then
    /// are made no more.
    fn start_last(&mut self) {
        let end_us = self.end_us;
        for load in 0..self.sources.len() {
            match self.sources[load].model {
                LoadModel::Users => self.count_unmade(load, end_us),
                LoadModel::Arrivals | LoadModel::Mixed => {
                    let stop = self.common.stop.clone();
                    let is_due = |at_us: Option<u64>| at_us.is_some_and(|at_us| at_us <= end_us);
                    // However many they are, the user need not wait for them.
                    while is_due(self.start_arrivals(load, end_us)) && !*stop.borrow() {}
                }
            }
        }
    }

    fn count_unmade(&mut self, load: usize, now_us: u64) {
        let unmade = self.sources[load].unmade(now_us);
        self.recorder.unmade(unmade);
    }

    /// Sleeps until something rings; at `look_us`, at a deadline or at the end of the second the timer does.
    async fn rest(&mut self, look_us: Option<u64>, ready: &mut Vec<Token>) -> io::Result<()> {
        let now_us = self.now_us();
        let end_us = if self.stopping { u64::MAX } else { self.end_us };
        let waits = [
            self.patience.next_us(),
            self.connecting.next_us(),
            self.retrying.next_us(),
            self.pause_us(),
            self.transport.idle_until_us(),
        ];
        let until_us = std::iter::once(look_us)
            .chain(waits)
            .flatten()
            .fold(self.second_ends_us.min(end_us), u64::min);
        let more_is_due = until_us <= now_us || self.transport.is_held_back();
        let rested_us = now_us.saturating_sub(self.looked_us);
        let slack_us = if self.crowded { CROWDED_SLACK_US } else { SLACK_US };
        let naps = !more_is_due && self.naps && !self.napped_in_vain && rested_us < slack_us;
        if naps {
            std::thread::sleep(Duration::from_micros(slack_us - rested_us));
        }
        let seen = self.transport.look_around()?;
        if seen || naps || more_is_due {
            self.give_way(now_us).await;
            self.take_bells(ready);
        } else {
            self.timer.set(until_us.max(now_us + SLACK_US), now_us)?;
            self.sleep_until_a_bell(ready).await?;
        }
        self.looked_us = self.now_us();
        // Where nothing comes so soon, the next rest lasts until something does.
        self.napped_in_vain = naps && !seen && ready.is_empty();
        Ok(())
    }

    /// Lets the tasks of the runtime have their turn, where they need each or have not had one for a while.
    async fn give_way(&mut self, now_us: u64) {
        if self.transport.has_tasks() || now_us.saturating_sub(self.gave_way_us) >= WAY_US {
            self.gave_way_us = now_us;
            tokio::task::yield_now().await;
        }
    }

    fn take_bells(&mut self, ready: &mut Vec<Token>) {
        // Nobody has to be woken: it does not sleep.
        let _ = self.ready.poll(&mut Context::from_waker(Waker::noop()), ready);
    }

    async fn sleep_until_a_bell(&mut self, ready: &mut Vec<Token>) -> io::Result<()> {
        self.transport.ring();
        // What happened before that does not ring.
        if self.transport.look_around()? {
            self.take_bells(ready);
            return Ok(());
        }
        let list = &self.ready;
        std::future::poll_fn(|context| list.poll(context, ready)).await;
        self.gave_way_us = self.now_us();
        self.transport.look_around()?;
        Ok(())
    }

    fn wake_users(&mut self, load: usize, now_us: u64) -> Option<u64> {
        let steering = self.steering;
        let awake_us = steering.awake_us(now_us);
        let source = &mut self.sources[load];
        let level = source.level(now_us);
        let plan = &self.common.plan;
        source.crowd.set_level(level, awake_us, plan, &source.journeys);
        if source.counted {
            self.count_unmade(load, now_us);
        }
        if steering.paused() {
            return self.ramp_us(load, now_us);
        }
        let source = &mut self.sources[load];
        source.crowd.advance(awake_us, &mut source.due);
        for _ in 0..STARTS_PER_TURN {
            let source = &mut self.sources[load];
            let Some((due_us, row)) = source.due.pop_front() else {
                let look_us = source
                    .crowd
                    .next_look_us()
                    .map(|at_us| steering.real_of_awake_us(at_us));
                return [self.ramp_us(load, now_us), look_us].into_iter().flatten().min();
            };
            self.wake_user(load, row, steering.real_of_awake_us(due_us));
        }
        Some(now_us)
    }

    /// When the number of users changes next; never while the schedule is held.
    fn ramp_us(&self, load: usize, now_us: u64) -> Option<u64> {
        let steering = self.steering;
        if steering.held() {
            return None;
        }
        let change_us = self.sources[load].curve.next_change(steering.schedule_us(now_us))?;
        Some(steering.real_us(change_us)?.max(now_us + RAMP_TICK_US))
    }

    fn wake_user(&mut self, load: usize, row: u32, due_us: u64) {
        let source = &mut self.sources[load];
        // Who is to leave needs no token for that.
        if self.tokens.are_own(load) && source.crowd.is_wanted(row) && self.tokens.waits(load, row) {
            return;
        }
        let own = source.own.get_mut(row as usize).and_then(Option::take);
        let Some((number, pass)) = source.crowd.begin_pass(row) else {
            own.into_iter().for_each(|own| self.transport.give_up(own));
            self.tokens.forget(load, row);
            return;
        };
        let owner = Owner::User { load: load as u16, row };
        let class = self.common.classes.of(number);
        let pass = self.passes.begin(owner, class, choices(source.seed, number, pass));
        self.passes[pass].own = own;
        self.begin(load, pass, due_us);
    }

    /// Starts every arrival whose time has come, whatever became of those before it; says when the next one is due.
    fn start_arrivals(&mut self, load: usize, now_us: u64) -> Option<u64> {
        for _ in 0..STARTS_PER_TURN {
            let source = &self.sources[load];
            let at_us = source.steered.arrival_us(&source.curve, source.arrivals.mass())?;
            if at_us > now_us {
                return Some(at_us);
            }
            self.start_arrival(load, at_us, now_us);
        }
        Some(now_us)
    }

    fn start_arrival(&mut self, load: usize, due_us: u64, now_us: u64) {
        let source = &mut self.sources[load];
        let number = source.arrivals.number();
        source.arrivals.advance();
        let class = self.common.classes.of(number);
        // Past anyone's patience it cannot be sent in time any more.
        if now_us.saturating_sub(due_us) > self.patience_us {
            self.recorder.intended(class);
            self.recorder.dropped(class);
            return;
        }
        let choices = choices(source.seed, number, 0);
        let pass = self.passes.begin(Owner::Arrival, class, choices);
        self.arriving += 1;
        self.begin(load, pass, due_us);
    }

    fn begin(&mut self, load: usize, pass: u32, due_us: u64) {
        let now_us = self.now_us();
        let state = &mut self.passes[pass];
        let journey = self.sources[load].journeys.pick(&mut state.choices);
        (state.journey, state.begun_us) = (journey as u32, due_us);
        if !self.rows.fill(journey, &mut state.values, &mut state.choices) {
            self.leave_dry(pass);
            return;
        }
        self.walk(pass, due_us, now_us, true);
    }

    /// There is no row left for the pass: it is not made, which is counted, and its user does not come again.
    fn leave_dry(&mut self, pass: u32) {
        let class = self.passes[pass].class;
        self.recorder.intended(class);
        self.recorder.dropped(class);
        if let Some(own) = self.passes[pass].own.take() {
            self.transport.give_up(own);
        }
        match self.passes[pass].owner {
            Owner::User { load, row } => {
                self.sources[usize::from(load)].crowd.leave(row);
                self.tokens.forget(usize::from(load), row);
            }
            Owner::Arrival => self.arriving -= 1,
        }
        self.passes.end(pass);
    }

    /// A user leaves, and its connection goes with it.
    fn see_off(&mut self, load: usize, row: u32) {
        let source = &mut self.sources[load];
        source.crowd.leave(row);
        let own = source.own.get_mut(row as usize).and_then(Option::take);
        own.into_iter().for_each(|own| self.transport.give_up(own));
        self.tokens.forget(load, row);
    }

    /// The user of the pass was to leave, and its grace is over.
    pub(super) fn overstays(&self, pass: u32, now_us: u64) -> bool {
        match self.passes[pass].owner {
            Owner::User { load, row } => self.sources[usize::from(load)].overstays(row, now_us, self.grace_us),
            Owner::Arrival => false,
        }
    }

    pub(super) fn end_pass(&mut self, pass: u32, now_us: u64, sent: bool) {
        self.leave_session(pass, now_us);
        if let Some(parent) = self.passes[pass].parent {
            return self.end_part(parent, pass, now_us, sent);
        }
        self.keep_own(pass);
        self.leave_groups(pass, 0);
        let state = &mut self.passes[pass];
        match state.owner {
            Owner::User { load, row } if !self.sources[usize::from(load)].crowd.is_wanted(row) => {
                self.see_off(usize::from(load), row);
            }
            Owner::User { load, row } if !self.stopping => {
                let journey = &self.common.plan.journeys[state.journey as usize];
                let mut wait = wait_us(&journey.think, &mut state.choices);
                if let Some(pacing) = &journey.pacing {
                    let next_us = state.begun_us + wait_us(pacing, &mut state.choices);
                    wait = wait.max(next_us.saturating_sub(now_us));
                }
                if !sent {
                    wait = wait.max(NOT_SENT_WAIT_US);
                }
                self.sleep(load, row, wait, now_us);
            }
            Owner::User { .. } => {}
            Owner::Arrival => self.arriving -= 1,
        }
        self.passes.end(pass);
    }

    /// A user waits for its next pass. Who does not wait at all is due now, and needs no place in the wheel; it begins
    /// after all answers of this turn, since requests sent in a row cost the kernel less than one after each answer.
    #[inline]
    fn sleep(&mut self, load: u16, row: u32, wait_us: u64, now_us: u64) {
        let awake_us = self.steering.awake_us(now_us);
        let source = &mut self.sources[usize::from(load)];
        if wait_us == 0 && now_us < self.end_us && !self.steering.paused() {
            source.due.push_back((awake_us, row));
        } else {
            source.crowd.sleep(row, awake_us, wait_us);
        }
    }

    /// A user keeps its connection while it thinks, but no others; that of an arrival leaves with it.
    fn keep_own(&mut self, pass: u32) {
        let parts = self.passes[pass].parts.take();
        for own in parts.into_iter().flat_map(|parts| parts.into_spare()) {
            self.transport.give_up(own);
        }
        let Some(own) = self.passes[pass].own.take() else {
            return;
        };
        match self.passes[pass].owner {
            Owner::User { load, row } => {
                let kept = &mut self.sources[usize::from(load)].own;
                if kept.len() <= row as usize {
                    kept.resize(row as usize + 1, None);
                }
                kept[row as usize] = Some(own);
            }
            Owner::Arrival => self.transport.give_up(own),
        }
    }

    /// Ends every second that has passed; an empty one is a second too.
    pub(super) fn close_seconds(&mut self, now_us: u64) {
        while now_us >= self.second_ends_us {
            self.close_second();
            self.second_ends_us += 1_000_000;
        }
    }

    fn close_second(&mut self) {
        let present: u64 = self.sources.iter().map(|source| source.crowd.present()).sum();
        let users = present + self.arriving;
        let generator = self.meter.read(self.transport.open(), self.transport.busiest());
        let second = self.recorder.close_second(users, generator);
        self.crowded = second.slice.intended >= CROWD;
        self.backlog.push_back(second);
        self.offer();
        if self.backlog.len() > BACKLOG_MAX
            && let Some(earlier) = self.backlog.pop_front()
            && let Some(next) = self.backlog.front_mut()
        {
            fold_into_next(&earlier, next);
        }
    }

    /// Hands seconds over in order, without ever waiting.
    fn offer(&mut self) {
        while let Ok(room) = self.common.seconds.try_reserve() {
            match self.backlog.pop_front() {
                Some(second) => room.send(second),
                None => return,
            }
        }
    }

    /// Lets what was started end by itself; nothing outlives its own deadline.
    async fn finish_in_flight(&mut self, ready: &mut Vec<Token>) -> io::Result<()> {
        self.try_again(self.now_us());
        self.cut_pauses(self.now_us());
        while self.passes.live() > 0 {
            self.rest(None, ready).await?;
            self.look_at(ready);
            let now_us = self.now_us();
            self.close_seconds(now_us);
            self.expire(now_us);
            self.open_more(now_us);
            self.try_again(now_us);
        }
        Ok(())
    }

    async fn hand_over_last(&mut self) -> Vec<ShardSecond> {
        if self.recorder.is_dirty() {
            self.close_second();
        }
        let mut rest = std::mem::take(&mut self.backlog);
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
}

/// Whether all starts of a plan come by the clock alone; users wait for their answers.
fn naps(plan: &Plan) -> bool {
    let loads = plan.each_load();
    loads.iter().all(|load| load.model == LoadModel::Arrivals)
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
