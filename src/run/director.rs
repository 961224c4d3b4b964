//! Owns the state of a run: selects over samples, the timeline, signals and stop conditions.
//! Events flow up to it, requests go down from it. It judges nothing and prints nothing.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::aws::{Reader, Writer};
use crate::clock::{Clock, RunClock};
use crate::event::{Event, FaultId, Stamped};
use crate::plan::Plan;
use crate::recording::{Ended, LedgerResult, ProbeSample, Recording, Slice};
use crate::run::chaos::{Journal, RevertSummary, Runner, SOUND_PATIENCE};
use crate::run::control::{self, Done, Helm, Order, Orders, Status};
use crate::run::freeze;
use crate::run::load::{self, Load, LoadEnd, LoadError};
use crate::run::notes::note;
use crate::run::oauth2::{Keeping, TokenError, Tokens};
use crate::run::observe::{self, Access, Observe, ObserveEnd};
pub use crate::run::recorded::Keep;
use crate::run::recorded::Recorded;
use crate::run::slices::SliceBuffer;
use crate::run::stop::{Stop, StopWatch, error_share, latency};
use crate::run::timeline::{Due, lasts, timeline};
use crate::run::tls::Tls;
use crate::units::format_duration;

/// How long before t0 everything is started, so that nothing is built while the clock runs.
const LEAD: Duration = Duration::from_millis(700);

/// Without a second of load for so long (real time) there is no more of it.
const LOAD_OVER: Duration = Duration::from_secs(2);

/// A fault that could not be begun for so long (real time) after it was due is not begun any more.
const LATE_MAX: Duration = Duration::from_secs(5);

/// What a run needs.
pub struct Setup {
    /// The plan.
    pub plan: Arc<Plan>,
    /// The target's clock.
    pub clock: Clock,
    /// Reading and writing the account; none for a plain URL target, which has no faults.
    pub account: Option<(Reader, Writer)>,
    /// The journal of the run; none without an account.
    pub journal: Option<Arc<Journal>>,
    /// A message for each reason to end early.
    pub interrupts: mpsc::Receiver<Interrupt>,
    /// Commands that steer it.
    pub orders: Orders,
    /// Told about each second.
    pub progress: Box<dyn FnMut(&Progress) + Send>,
    /// How much of the past is kept.
    pub keep: Keep,
}

/// Why a run ends before its schedule, told from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// The user asks for it.
    User,
    /// The target does not exist any more, so there is nothing to load and nothing to revert.
    TargetGone(String),
    /// Somebody has taken off what kept other runs away.
    ClaimLost(String),
}

/// One second, for the progress line.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Real time since t0.
    pub elapsed: Duration,
    /// Where the schedule is: real time too, the same while nobody steers it.
    pub schedule: Duration,
    /// How the run differs from its schedule; none where it does not.
    pub steered: Option<String>,
    /// Stage index and whether it holds.
    pub stage: usize,
    /// Whether the stage holds.
    pub holding: bool,
    /// Users.
    pub users: u64,
    /// Requests finished in the second.
    pub rate: u64,
    /// p99 of latency, seconds.
    pub p99: Option<f64>,
    /// Share of errors.
    pub errors: Option<f64>,
    /// Faults in the world now.
    pub faults: Vec<String>,
    /// What happened since the last one, worth a line.
    pub notes: Vec<String>,
}

/// What went wrong with the run itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The measurements could not be written: nothing was sent.
    #[error("cannot write what is measured")]
    Recording(#[source] std::io::Error),
    /// A token that users need could not be got: nothing was sent to the target.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The user did not wait for it to begin.
    #[error("interrupted before the load began")]
    Interrupted,
    /// The load could not be built.
    #[error("cannot start the load")]
    Load(#[from] LoadError),
    /// It panicked; what was in the world was reverted, as far as this says.
    #[error("the run broke off by a mistake of tenfold's own; what it had in the world was reverted")]
    Broken(RevertSummary),
}

/// Runs the plan to its end, to a stop condition or to an interrupt, and always reverts what it injected.
pub async fn run(setup: Setup) -> Result<(Recording, RevertSummary), RunError> {
    let Setup {
        plan,
        clock,
        account,
        journal,
        mut interrupts,
        orders,
        progress,
        keep,
    } = setup;
    let recorded = Recorded::new(keep, plan.ends_at).map_err(RunError::Recording)?;
    let tokens = tokio::select! {
        tokens = Tokens::obtain(&plan) => tokens?,
        Some(_) = interrupts.recv() => return Err(RunError::Interrupted),
    };
    let sources = load::assemble(plan.clone()).await;
    let run_clock = RunClock::new(clock, Instant::now() + LEAD);
    let (events_tx, events) = mpsc::channel(8192);
    let (probes_tx, probes) = mpsc::channel(8192);
    let (shards_tx, shards) = mpsc::channel(1024);
    let (stop_tx, stop_rx) = watch::channel(false);
    let (helm, steered) = Helm::new(&plan);
    let signals = load::Signals {
        stop: stop_rx.clone(),
        steered,
        tokens: tokens.held(),
        desk: tokens.desk(),
    };

    let runner = account.as_ref().zip(journal).map(|((_, writer), journal)| {
        let (plan, events) = (plan.clone(), events_tx.clone());
        Arc::new(Runner::new(plan, writer.clone(), run_clock, journal, events))
    });
    let access = Access {
        tls: Tls::to(&plan.target, &plan.client.tls).map_err(LoadError::from)?,
        tokens: tokens.held(),
    };
    let load = load::start(plan.clone(), sources, run_clock, shards_tx, events_tx.clone(), signals)?;
    let reader = account.as_ref().map(|(reader, _)| reader.clone());
    let observe = observe::start(
        &plan,
        &access,
        reader,
        run_clock,
        events_tx.clone(),
        probes_tx,
        &stop_rx,
    );
    let reverting = runner.clone();
    let director = Director {
        access,
        keeping: tokens.keep(run_clock, &events_tx),
        _heart: freeze::watch(run_clock, events_tx.clone()),
        recorded,
        stops: StopWatch::new(&plan),
        slices: SliceBuffer::new(load.shard_count()),
        stage: (0, false),
        helm,
        last: (0, 0),
        told: 0,
        notes: Vec::new(),
        injections: JoinSet::new(),
        reverts: Vec::new(),
        plan,
        clock: run_clock,
        runner,
        interrupts,
        orders,
        progress,
    };
    let directed = director.direct(load, observe, Inputs { events, probes, shards }, stop_tx);
    // A mistake of ours must not keep a fault in the world; the state that it may have broken is not looked at again.
    match AssertUnwindSafe(directed).catch_unwind().await {
        Ok(done) => Ok(done),
        Err(_) => {
            let reverts = match reverting {
                Some(runner) => runner.revert_all().await,
                None => RevertSummary::default(),
            };
            Err(RunError::Broken(reverts))
        }
    }
}

struct Inputs {
    events: mpsc::Receiver<Stamped>,
    probes: mpsc::Receiver<ProbeSample>,
    shards: mpsc::Receiver<load::ShardSecond>,
}

struct Director {
    plan: Arc<Plan>,
    access: Access,
    /// Tokens are renewed until the last request is sent.
    keeping: Keeping,
    /// Notices that the run itself stood still.
    _heart: JoinSet<()>,
    clock: RunClock,
    runner: Option<Arc<Runner>>,
    recorded: Recorded,
    stops: StopWatch,
    slices: SliceBuffer,
    stage: (usize, bool),
    helm: Helm,
    /// Users and rate of the last second.
    last: (u64, u64),
    /// Whole seconds of load that were told.
    told: u64,
    notes: Vec<String>,
    /// Injections and reverts under way; each waits for its effect, so they run beside the loop.
    injections: JoinSet<()>,
    /// Faults whose time in the world ends at a real instant, whatever becomes of the schedule.
    reverts: Vec<(Duration, FaultId)>,
    interrupts: mpsc::Receiver<Interrupt>,
    orders: Orders,
    progress: Box<dyn FnMut(&Progress) + Send>,
}

impl Director {
    async fn direct(
        mut self,
        load: Load,
        observe: Observe,
        mut inputs: Inputs,
        stop_tx: watch::Sender<bool>,
    ) -> (Recording, RevertSummary) {
        let ended = self.follow_timeline(&mut inputs).await;
        // Who waits for an answer now, and who asks later, is told that the run is ending.
        self.orders = control::uncontrolled();
        let (ended, reverts) = self.revert_all(ended, &mut inputs).await;
        let duration = self.clock.elapsed();
        // Receivers gone means everything has stopped by itself, which is what is asked for.
        let _ = stop_tx.send(true);
        let load_end = self.drain(tokio::spawn(load.join()), &mut inputs).await;
        let observed = self.drain(tokio::spawn(observe.join()), &mut inputs).await;
        self.finish(ended, duration, load_end, observed, reverts).await
    }

    async fn follow_timeline(&mut self, inputs: &mut Inputs) -> Ended {
        let schedule = timeline(&self.plan);
        let mut next = 0;
        loop {
            let (at_us, due) = &schedule[next];
            let at = self.helm.steering().real_us(*at_us).map(Duration::from_micros);
            let revert_at = self.reverts.iter().map(|(at, _)| *at).min();
            tokio::select! {
                biased;
                Some(interrupt) = self.interrupts.recv() => return self.interrupted(interrupt),
                () = sleep_until(self.clock, revert_at) => self.revert_due(revert_at),
                () = sleep_until(self.clock, at) => {
                    if *due == Due::End {
                        return Ended::Finished;
                    }
                    self.begin(due.clone(), at.unwrap_or_default());
                    next += 1;
                }
                Some(order) = self.orders.recv() => {
                    if let Some(to_us) = self.obey(order) {
                        next += passed(&schedule[next..], to_us);
                    }
                }
                Some(second) = inputs.shards.recv() => {
                    if self.take_second(second) {
                        return Ended::Stopped;
                    }
                }
                Some(event) = inputs.events.recv() => {
                    if self.take_event(event) {
                        return Ended::Stopped;
                    }
                }
                Some(sample) = inputs.probes.recv() => self.recorded.probe(sample),
                Some(_) = self.injections.join_next() => {}
            }
        }
    }

    fn interrupted(&mut self, interrupt: Interrupt) -> Ended {
        match interrupt {
            Interrupt::User => {
                self.record_now(Event::Interrupted);
                Ended::Interrupted
            }
            Interrupt::TargetGone(reason) => {
                self.record_now(Event::TargetGone { reason });
                Ended::Unreachable
            }
            Interrupt::ClaimLost(reason) => {
                self.record_now(Event::ClaimLost { reason });
                Ended::Stopped
            }
        }
    }

    /// Does what a command asks for, and answers it; where the schedule goes on, if it was to skip.
    fn obey(&mut self, order: Order) -> Option<u64> {
        let at = self.clock.elapsed();
        let in_world = self.in_world();
        let at_us = at.as_micros() as u64;
        let taken = self.helm.take(&self.plan, at_us, &order.command, &in_world);
        let mut skipped_to = None;
        let answer = taken.map(|(event, said)| {
            if let Some(event) = event {
                if matches!(event, Event::Skipped { .. }) {
                    skipped_to = Some(self.helm.steering().schedule_us(at_us));
                }
                self.record(Stamped { at, event });
            }
            let status = self.status();
            Done { said, status }
        });
        if let Err(refusal) = &answer {
            self.notes
                .push(format!("refused: {}", refusal.to_string().replace('\n', "; ")));
        }
        // Who asked may have gone meanwhile; what was done stays done.
        let _ = order.answer.send(answer);
        skipped_to
    }

    fn in_world(&self) -> Vec<String> {
        let faults = self.runner.as_ref().map(|runner| runner.in_world()).unwrap_or_default();
        faults.iter().map(|fault| fault.experiment.clone()).collect()
    }

    fn status(&self) -> Status {
        let elapsed = self.clock.elapsed();
        let steering = self.helm.steering();
        let schedule = Duration::from_micros(steering.schedule_us(elapsed.as_micros() as u64));
        Status {
            elapsed: elapsed.as_secs_f64(),
            schedule: self.plan.pace.to_cloud(schedule).as_secs_f64(),
            ends_at: self.plan.ends_at.as_secs_f64(),
            stage: self.stage.0 + 1,
            stages: self.plan.stages.len(),
            holding: self.stage.1,
            users: self.last.0,
            model: Some(self.plan.model),
            rate: self.last.1,
            paused: steering.paused(),
            held: steering.held(),
            times: steering.times(),
            faults: self.in_world(),
        }
    }

    fn revert_due(&mut self, at: Option<Duration>) {
        let due = |(of, _): &mut (Duration, FaultId)| Some(*of) == at;
        let faults: Vec<_> = self.reverts.extract_if(.., due).collect();
        for (_, fault) in faults {
            self.spawn_chaos(fault, ChaosRequest::Revert);
        }
    }

    /// Begins what was due at the real instant `at`.
    fn begin(&mut self, due: Due, at: Duration) {
        match due {
            Due::Ramp(stage) => {
                self.stage = (stage, false);
                self.record_now(Event::StageStarted { stage });
            }
            Due::Hold(stage) => {
                self.stage = (stage, true);
                self.record_now(Event::HoldStarted { stage });
            }
            Due::Inject(fault) => {
                let late = self.clock.elapsed().saturating_sub(at);
                if late > LATE_MAX {
                    // The world may be another one, and a schedule that is caught up with at once is not the planned one.
                    let error = format!("it was due {} before, while the run stood still", format_duration(late));
                    return self.record_now(Event::FaultFailed { fault, error });
                }
                // It may have to wait for a sound target; its time in the world begins when it is there.
                if let Some(lasts) = lasts(&self.plan, &fault) {
                    let latest = at + self.plan.pace.patience(SOUND_PATIENCE) + lasts;
                    self.reverts.push((latest, fault.clone()));
                }
                self.spawn_chaos(fault, ChaosRequest::Inject);
            }
            Due::End => {}
        }
    }

    fn spawn_chaos(&mut self, fault: FaultId, request: ChaosRequest) {
        let Some(runner) = self.runner.clone() else { return };
        self.injections.spawn(async move {
            // The runner reports every outcome as an event, errors included.
            let _ = match request {
                ChaosRequest::Inject => match runner.inject(fault.clone()).await {
                    Ok(()) => {
                        runner.tend(fault).await;
                        Ok(())
                    }
                    failed => failed,
                },
                ChaosRequest::Revert => runner.revert(fault).await,
            };
        });
    }

    /// Undoes everything in the world, while samples and events go on being recorded; what was in the world of a
    /// target that is gone is gone with it.
    async fn revert_all(&mut self, ended: Ended, inputs: &mut Inputs) -> (Ended, RevertSummary) {
        let Some(runner) = self.runner.clone() else {
            return (ended, RevertSummary::default());
        };
        if ended == Ended::Unreachable {
            return (ended, runner.abandon());
        }
        let reverting = runner.clone();
        let work = tokio::spawn(async move { reverting.revert_all().await });
        let stop = work.abort_handle();
        let mut interrupts = std::mem::replace(&mut self.interrupts, mpsc::channel(1).1);
        tokio::select! {
            biased;
            gone = target_gone(&mut interrupts) => {
                stop.abort();
                (self.interrupted(gone), runner.abandon())
            }
            summary = self.drain(work, inputs) => (ended, summary),
        }
    }

    /// Waits for `work` while it keeps the channels empty, so that nothing upstream blocks.
    async fn drain<T: Send + 'static>(&mut self, mut work: tokio::task::JoinHandle<T>, inputs: &mut Inputs) -> T {
        loop {
            tokio::select! {
                done = &mut work => {
                    while let Ok(second) = inputs.shards.try_recv() {
                        self.take_second(second);
                    }
                    while let Ok(event) = inputs.events.try_recv() {
                        self.record(event);
                    }
                    while let Ok(sample) = inputs.probes.try_recv() {
                        self.recorded.probe(sample);
                    }
                    return done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
                }
                Some(second) = inputs.shards.recv() => { self.take_second(second); }
                Some(event) = inputs.events.recv() => {
                    self.record(event);
                    if self.clock.elapsed() > Duration::from_secs(self.told) + LOAD_OVER {
                        self.tell_without_load();
                    }
                }
                Some(sample) = inputs.probes.recv() => self.recorded.probe(sample),
            }
        }
    }

    /// Takes a shard's second; says whether a stop condition has been met by it.
    fn take_second(&mut self, second: load::ShardSecond) -> bool {
        let mut stopped = false;
        for slice in self.slices.push(second) {
            let schedule_us = self.helm.steering().schedule_us(slice.second * 1_000_000);
            if let Some(stop) = self.stops.observe(&slice, schedule_us / 1_000_000) {
                self.stop_met(stop);
                stopped = true;
            }
            self.tell_progress(&slice);
            self.recorded.second(slice);
        }
        stopped
    }

    fn tell_progress(&mut self, slice: &Slice) {
        let finished = slice.steps.iter().map(|step| step.ok + step.failures()).sum();
        self.last = (slice.users, finished);
        self.told = slice.second + 1;
        let steering = self.helm.steering();
        let elapsed = Duration::from_secs(slice.second + 1);
        let progress = Progress {
            steered: control::steered(steering.paused(), steering.held(), steering.times()),
            users: slice.users,
            rate: finished,
            p99: latency(slice, None),
            errors: error_share(slice),
            ..self.progress_without_load(elapsed)
        };
        (self.progress)(&progress);
    }

    /// Tells what happened since the last second of load: reverts may go on long after there is one to tell it with.
    fn tell_without_load(&mut self) {
        if self.notes.is_empty() {
            return;
        }
        let progress = self.progress_without_load(self.clock.elapsed());
        (self.progress)(&progress);
    }

    /// Where the run is, with what was not told yet.
    fn progress_without_load(&mut self, elapsed: Duration) -> Progress {
        let schedule_us = self.helm.steering().schedule_us(elapsed.as_micros() as u64);
        Progress {
            elapsed,
            schedule: Duration::from_micros(schedule_us),
            steered: None,
            stage: self.stage.0,
            holding: self.stage.1,
            users: 0,
            rate: 0,
            p99: None,
            errors: None,
            faults: self.in_world(),
            notes: std::mem::take(&mut self.notes),
        }
    }

    fn record_now(&mut self, event: Event) {
        self.record(Stamped {
            at: self.clock.elapsed(),
            event,
        });
    }

    /// Takes an event; says whether a stop condition has been met by it.
    fn take_event(&mut self, stamped: Stamped) -> bool {
        let met = match &stamped.event {
            Event::StopAlarmChanged {
                region, alarm, state, ..
            } => {
                let schedule_us = self
                    .helm
                    .steering()
                    .schedule_us(self.clock.elapsed().as_micros() as u64);
                self.stops.alarm(region, alarm, state, schedule_us / 1_000_000)
            }
            _ => None,
        };
        if let Event::FaultStarted { fault, .. } = &stamped.event {
            self.lasts_from(stamped.at, fault);
        }
        // Somebody else has ended a fault: AWS FIS by an alarm, say.
        let ended = matches!(stamped.event, Event::StopConditionMet { .. });
        self.record(stamped);
        if ended {
            return true;
        }
        met.is_some_and(|stop| {
            self.stop_met(stop);
            true
        })
    }

    /// A fault leaves the world when its own time is over, and that has begun at the real instant `at`.
    fn lasts_from(&mut self, at: Duration, fault: &FaultId) {
        let lasts = lasts(&self.plan, fault);
        let due = self.reverts.iter_mut().find(|(_, of)| of == fault);
        if let (Some(lasts), Some((due, _))) = (lasts, due) {
            *due = at + lasts;
        }
    }

    fn stop_met(&mut self, stop: Stop) {
        self.record_now(Event::StopConditionMet {
            condition: stop.condition,
            experiment: stop.experiment,
        });
    }

    fn record(&mut self, stamped: Stamped) {
        if let Some(note) = note(&stamped.event) {
            self.notes.push(note);
        }
        self.recorded.event(stamped);
    }

    async fn ledgers(&self, ended: Ended, load: &LoadEnd, observed: &ObserveEnd) -> BTreeMap<String, LedgerResult> {
        let acknowledged = [load.acknowledged.as_slice(), &observed.acknowledged].concat();
        let unknown = [load.unknown.as_slice(), &observed.unknown].concat();
        match ended {
            // The user waits for the prompt, or nobody is there to ask.
            Ended::Interrupted | Ended::Unreachable => observe::unread(&self.plan, acknowledged, &unknown),
            _ => observe::read_back(&self.plan, &self.access, acknowledged, &unknown).await,
        }
    }

    async fn finish(
        mut self,
        ended: Ended,
        duration: Duration,
        load_end: LoadEnd,
        observed: ObserveEnd,
        reverts: RevertSummary,
    ) -> (Recording, RevertSummary) {
        self.tell_without_load();
        let ledgers = self.ledgers(ended, &load_end, &observed).await;
        self.recorded.lost(observed.dropped);
        self.recorded.lost([
            ("ledger writes".to_owned(), load_end.writes_over),
            ("shards".to_owned(), load_end.shards_lost as u64),
            (
                "events of faults".to_owned(),
                self.runner.as_ref().map_or(0, |runner| runner.untold()),
            ),
        ]);
        for second in load_end.rest {
            let whole = self.slices.push(second);
            whole.into_iter().for_each(|slice| self.recorded.second(slice));
        }
        for slice in self.slices.finish() {
            self.recorded.second(slice);
        }
        let ended = if reverts.failed.is_empty() {
            ended
        } else {
            Ended::Unreverted
        };
        let recording = self.recorded.recording(
            self.clock,
            duration,
            ended,
            load_end.pulses,
            ledgers,
            self.keeping.end(),
        );
        (recording, reverts)
    }
}

/// How many entries a skip to `to_us` goes past: they begin no more. A fault is never among them.
fn passed(schedule: &[(u64, Due)], to_us: u64) -> usize {
    let passed = |(at_us, due): &&(u64, Due)| *at_us < to_us && matches!(due, Due::Ramp(_) | Due::Hold(_));
    schedule.iter().take_while(passed).count()
}

/// Waits until a real instant, for ever where there is none.
async fn sleep_until(clock: RunClock, at: Option<Duration>) {
    match at {
        Some(at) => clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Waits until the target is gone, for ever where it stays; the user has asked to stop already, and more of it changes
/// nothing.
async fn target_gone(interrupts: &mut mpsc::Receiver<Interrupt>) -> Interrupt {
    loop {
        match interrupts.recv().await {
            Some(Interrupt::User | Interrupt::ClaimLost(_)) => {}
            Some(gone) => return gone,
            None => std::future::pending().await,
        }
    }
}

#[derive(Clone, Copy)]
enum ChaosRequest {
    Inject,
    Revert,
}
