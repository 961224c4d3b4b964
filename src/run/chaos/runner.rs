//! Injects and reverts the faults of a plan, one at a time each, in any order; tells what happened as events.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendTimeoutError;

use super::before::Before;
use super::injection::{self, Context, Over};
use super::journal::{Journal, Record};
use super::own::{Own, Standing};
use super::undo::{LAG, undo};
use super::{ChaosError, RevertSummary, elsewhere, fis, guard};
use crate::aws::{AwsError, Called, Reader, Writer};
use crate::clock::RunClock;
use crate::event::{Event, FaultId, Stamped};
use crate::plan::{Fault, FaultPlan, Plan, TargetPlan};
use crate::units::Pace;

/// How long an effect is looked for: cloud time, and at least this in real time.
pub(super) const OBSERVE_PATIENCE: Duration = Duration::from_secs(90);
const OBSERVE_PATIENCE_FLOOR: Duration = Duration::from_secs(5);
/// Pause between two looks for an effect, cloud time.
const OBSERVE_EVERY: Duration = Duration::from_secs(3);
/// How long what is degraded may take to be whole again before its fault is refused, cloud time: a group that scales out
/// has its instances within this, and one that does not is broken.
pub const SOUND_PATIENCE: Duration = Duration::from_secs(180);
/// How long an event may wait for the one who reads them before it is given up.
const EVENT_PATIENCE: Duration = Duration::from_secs(1);
/// What a run creates is said to expire this long after its planned revert, cloud time.
const EXPIRY_MARGIN: Duration = Duration::from_secs(3600);

/// The faults of one run.
pub struct Runner {
    plan: Arc<Plan>,
    cloud: Writer,
    clock: RunClock,
    journal: Arc<Journal>,
    events: mpsc::Sender<Stamped>,
    ending: AtomicBool,
    account_checked: AtomicBool,
    /// Held from a fault's guards to the end of its injection, so that those of one instant see each other.
    injecting: tokio::sync::Mutex<()>,
    /// In the order of injection.
    states: Mutex<Vec<Arc<State>>>,
    /// Events that nobody took in time.
    untold: AtomicU64,
}

struct State {
    fault: FaultId,
    region: String,
    /// Held while calls that change something are under way.
    acting: tokio::sync::Mutex<()>,
    /// Set once the intent is in the journal, cleared once the revert was read back.
    before: Mutex<Option<Before>>,
    created: Mutex<Vec<String>>,
    reverting: AtomicBool,
    /// Why its revert fails, as it was told last; none while it does not.
    failing: Mutex<Option<String>>,
    /// It has been told that somebody else ended it.
    ended_early: AtomicBool,
    /// Its effect has been looked for, so that the world shows what there is of it.
    looked_for: AtomicBool,
}

/// What one fault's calls are made with.
pub(super) struct Hand<'a> {
    pub(super) cloud: &'a Writer,
    /// None for a revert whose journal is lost or cannot be written.
    pub(super) journal: Option<&'a Journal>,
    pub(super) pace: Pace,
    pub(super) fault: &'a FaultId,
    pub(super) region: &'a str,
    /// None while reverting, which goes on whatever ends.
    pub(super) ending: Option<&'a AtomicBool>,
    /// Ids of what the fault created.
    pub(super) created: &'a Mutex<Vec<String>>,
    /// The last call that was refused, with why, until somebody takes it.
    pub(super) refused: Mutex<Option<String>>,
    /// Who tells how a revert goes; none outside a run.
    pub(super) runner: Option<&'a Runner>,
}

/// What looking needs, and all that a dry run has: nothing can be changed with it.
pub(super) struct Sight<'a> {
    pub(super) reader: &'a Reader,
    pub(super) fault: &'a FaultId,
    pub(super) region: &'a str,
}

impl Hand<'_> {
    /// The same fault, looking only.
    pub(super) fn sight(&self) -> Sight<'_> {
        Sight {
            reader: self.cloud.reader(),
            fault: self.fault,
            region: self.region,
        }
    }

    /// Puts the outcome of a changing call in the journal.
    pub(super) fn called<T>(
        &self,
        action: &str,
        detail: &str,
        answer: Result<Called<T>, AwsError>,
    ) -> Result<T, ChaosError> {
        let (retried, error) = match &answer {
            Ok(called) => (called.retried.iter().map(|error| error.brief()).collect(), None),
            Err(error) => {
                self.refuse(error);
                (Vec::new(), Some(error.brief()))
            }
        };
        self.note(&Record::Call {
            fault: self.fault.clone(),
            action: action.to_owned(),
            detail: detail.to_owned(),
            error,
            retried,
        })?;
        Ok(answer?.value)
    }

    /// Remembers a call that was refused.
    pub(super) fn refuse(&self, error: &AwsError) {
        let told = format!("{}: {}", error.action, error.brief());
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
    }

    /// The last call that was refused since this was asked last, with why.
    pub(super) fn take_refused(&self) -> Option<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Puts a record in the journal. One that cannot be written must not keep a fault in the world, so it ends an
    /// injection, but no revert.
    pub(super) fn note(&self, record: &Record) -> Result<(), ChaosError> {
        let written = self.journal.map_or(Ok(()), |journal| journal.append(record));
        match (written, self.ending) {
            (Err(error), Some(_)) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Remembers, first in the journal, what the revert must delete.
    pub(super) fn created(&self, id: &str) -> Result<(), ChaosError> {
        self.created
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(id.to_owned());
        self.note(&Record::Created {
            fault: self.fault.clone(),
            resource: id.to_owned(),
        })?;
        Ok(())
    }

    /// What it created.
    pub(super) fn created_ids(&self) -> Vec<String> {
        self.created.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether everything is about to be reverted, so that nothing more should be broken.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.is_some_and(|ending| ending.load(Ordering::Acquire))
    }
}

impl Runner {
    /// A runner of the plan's faults.
    #[must_use]
    pub fn new(
        plan: Arc<Plan>,
        cloud: Writer,
        clock: RunClock,
        journal: impl Into<Arc<Journal>>,
        events: mpsc::Sender<Stamped>,
    ) -> Self {
        Self {
            plan,
            cloud,
            clock,
            journal: journal.into(),
            events,
            ending: AtomicBool::new(false),
            account_checked: AtomicBool::new(false),
            injecting: tokio::sync::Mutex::default(),
            states: Mutex::new(Vec::new()),
            untold: AtomicU64::new(0),
        }
    }

    /// Injects a fault and looks for its effect. Every outcome is also an event; an error means that the fault is
    /// not in the world, unless it is [`ChaosError::StillThere`].
    pub async fn inject(&self, id: FaultId) -> Result<(), ChaosError> {
        let plan = Arc::clone(&self.plan);
        let fault = planned(&plan, &id)?;
        let state = self.state(&id, &fault.region);
        let since = self.clock.clock().cloud_unix();
        let outcome = {
            let _acting = state.acting.lock().await;
            match self.act(fault, &state).await {
                Err(error) => self.withdraw(fault, &state, error, since).await,
                acted => acted,
            }
        };
        if let Err(error) = outcome {
            if !matches!(error, ChaosError::StillThere { .. }) {
                let error = error.to_string();
                self.emit(Event::FaultFailed { fault: id, error }).await;
            }
            return Err(error);
        }
        self.emit(Event::FaultInjected { fault: id.clone() }).await;
        let seen = self.look(fault, &state, since).await;
        state.looked_for.store(true, Ordering::Release);
        match seen {
            Some(evidence) => {
                let fault = id.clone();
                let record = Record::Observed {
                    fault: id.clone(),
                    evidence: evidence.clone(),
                };
                self.emit(Event::FaultObserved { fault, evidence }).await;
                self.journal.append(&record)?;
            }
            None => {
                let reason = format!("{} had no effect that the control plane shows", fault.fault.name());
                self.emit(Event::FaultNotObserved { fault: id, reason }).await;
            }
        }
        self.tidy(&state).await
    }

    /// Looks after a fault for as long as it is in the world: renews what would expire, reads back what it changed, and
    /// tells when somebody else has ended it. What is left of it then is reverted at once: it is not the planned fault any
    /// more, and whoever intervened wants it gone. Returns at once for faults that nothing ends.
    pub async fn tend(&self, id: FaultId) {
        let Some(state) = self.known(&id) else { return };
        loop {
            let before = state.before().clone();
            let Some((before, every)) = before.and_then(|before| Some((before.clone(), before.tended_every()?))) else {
                return;
            };
            self.sleep(every).await;
            match self.over(&state, &before).await {
                // Our own revert ends it too.
                _ if self.is_over(&state) => return,
                Ok(Some((at, over))) => return self.ended(&state, at, over).await,
                Ok(None) => {}
                Err(ChaosError::Aws(error)) => self.call_failed(&state.region, &error).await,
                // The journal has failed; what needs it next says so.
                Err(_) => return,
            }
        }
    }

    async fn sleep(&self, cloud: Duration) {
        tokio::time::sleep(self.clock.pace().patience(cloud)).await;
    }

    /// Whether its time in the world is over by our own doing.
    fn is_over(&self, state: &State) -> bool {
        state.reverting.load(Ordering::Acquire) || self.ending.load(Ordering::Acquire)
    }

    /// Why a fault is over before its time, and since when, if it is. One look is not believed: it may be of before.
    async fn over(&self, state: &State, before: &Before) -> Result<Option<(Duration, Over)>, ChaosError> {
        if let Some(elsewhere) = self.elsewhere(state) {
            return Ok(Some(elsewhere));
        }
        let (at, hand) = (self.clock.elapsed(), self.hand(state));
        match before.tend(&hand).await? {
            Some(over) if over.ends_run => Ok(Some((at, over))),
            Some(_) => {
                self.sleep(LAG).await;
                let over = before.tend(&hand).await?;
                // Who has done it may have said so meanwhile.
                Ok(self.elsewhere(state).or(over.map(|over| (at, over))))
            }
            None => Ok(None),
        }
    }

    /// The revert of a fault by another process, by the journal.
    fn elsewhere(&self, state: &State) -> Option<(Duration, Over)> {
        let found = elsewhere::reverted(self.journal.path(), &state.fault)?;
        Some((self.clock.offset_of_real(found.at), Over::reverted_by(&found.by)))
    }

    async fn ended(&self, state: &State, at: Duration, over: Over) {
        let condition = over.why.clone();
        self.tell_ended_early(state, at, over.why).await;
        if over.ends_run {
            let experiment = state.fault.experiment.clone();
            self.emit(Event::StopConditionMet { condition, experiment }).await;
        } else {
            // Every outcome is an event.
            let _ = self.revert(state.fault.clone()).await;
        }
    }

    async fn tell_ended_early(&self, state: &State, at: Duration, evidence: String) {
        if state.ended_early.swap(true, Ordering::AcqRel) {
            return;
        }
        let fault = state.fault.clone();
        let _ = self.journal.append(&Record::EndedEarly {
            fault: fault.clone(),
            evidence: evidence.clone(),
        });
        self.emit_at(at, Event::FaultEndedEarly { fault, evidence }).await;
    }

    /// Deletes what AWS FIS needed for a fault that nothing undoes; what fails is tried again when everything is
    /// reverted.
    async fn tidy(&self, state: &State) -> Result<(), ChaosError> {
        let before = state.before().clone();
        let Some(before) = before.filter(|before| before.is_reversible() && !before.world().is_reversible()) else {
            return Ok(());
        };
        fis::ended(&self.hand(state)).await;
        let _acting = state.acting.lock().await;
        let hand = Hand {
            ending: None,
            ..self.hand(state)
        };
        if state.before().is_some() && undo(&hand, &before).await.is_ok() {
            self.forget(state);
            self.journal.append(&Record::Reverted {
                fault: state.fault.clone(),
            })?;
        }
        Ok(())
    }

    /// Nothing of it is in the world any more.
    fn forget(&self, state: &State) {
        *state.before() = None;
        state.created.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    async fn call_failed(&self, region: &str, error: &AwsError) {
        let (action, region) = (error.action.to_owned(), region.to_owned());
        let error = error.brief();
        self.emit(Event::AwsCallFailed { action, region, error }).await;
    }

    /// Undoes a fault and reads it back. Nothing happens for one that is irreversible, was never injected, or is
    /// reverted already.
    pub async fn revert(&self, id: FaultId) -> Result<(), ChaosError> {
        let Some(state) = self.known(&id) else {
            return planned(&self.plan, &id).map(|_| ());
        };
        state.reverting.store(true, Ordering::Release);
        let _acting = state.acting.lock().await;
        self.undo(&state).await
    }

    /// Undoes everything that is in the world, the youngest first; afterwards nothing can be injected any more.
    pub async fn revert_all(&self) -> RevertSummary {
        self.ending.store(true, Ordering::Release);
        let states: Vec<Arc<State>> = self.states().iter().rev().cloned().collect();
        let mut summary = RevertSummary::default();
        for state in states {
            state.reverting.store(true, Ordering::Release);
            let _acting = state.acting.lock().await;
            let in_world = state.before().as_ref().is_some_and(Before::is_reversible);
            match self.undo(&state).await {
                Ok(()) if in_world => summary.reverted.push(state.fault.clone()),
                Ok(()) => {}
                Err(error) => summary.failed.push((state.fault.clone(), error.into_left())),
            }
        }
        summary
    }

    /// Gives up what is in the world because the target itself is gone; afterwards nothing can be injected any more.
    #[must_use]
    pub fn abandon(&self) -> RevertSummary {
        self.ending.store(true, Ordering::Release);
        RevertSummary {
            gone: self.in_world(),
            ..RevertSummary::default()
        }
    }

    /// The faults that an API call could undo and that are in the world now.
    #[must_use]
    pub fn in_world(&self) -> Vec<FaultId> {
        let states = self.states();
        let there = states
            .iter()
            .filter(|state| state.before().as_ref().is_some_and(Before::is_reversible));
        there.map(|state| state.fault.clone()).collect()
    }

    async fn act(&self, fault: &FaultPlan, state: &State) -> Result<(), ChaosError> {
        let hand = self.hand(state);
        let (before, _injecting) = self.prepared(&hand, fault, state).await?;
        // Its time may have passed while a sound target was waited for.
        if self.is_over(state) {
            return Err(ChaosError::Ending);
        }
        let now = self.clock.clock().cloud_unix();
        let lasts = fault.revert_at.map(|at| at.saturating_sub(fault.at));
        self.journal.append(&Record::Intent {
            fault: state.fault.clone(),
            region: state.region.clone(),
            before: before.clone(),
            lease: lasts.map(|lasts| now + lasts.as_secs_f64()),
        })?;
        *state.before() = Some(before.clone());
        self.emit(Event::FaultStarted {
            fault: state.fault.clone(),
            resources: before.resources(),
        })
        .await;
        let expires = now + (lasts.unwrap_or_default() + EXPIRY_MARGIN).as_secs_f64();
        before.inject(&hand, expires).await
    }

    /// What the fault is about to change, with the right to inject it before any other. A group that is only scaling at
    /// that moment is waited for, and meanwhile the others go on.
    async fn prepared(
        &self,
        hand: &Hand<'_>,
        fault: &FaultPlan,
        state: &State,
    ) -> Result<(Before, tokio::sync::MutexGuard<'_, ()>), ChaosError> {
        let pace = self.clock.pace();
        let deadline = Instant::now() + pace.patience(SOUND_PATIENCE);
        loop {
            let injecting = self.injecting.lock().await;
            let prepared = self.prepare(hand, fault).await;
            let over = state.reverting.load(Ordering::Acquire) || hand.is_ending() || Instant::now() >= deadline;
            if over || !matches!(prepared, Err(ChaosError::Degraded(_))) {
                return prepared.map(|before| (before, injecting));
            }
            drop(injecting);
            tokio::time::sleep(pace.patience(OBSERVE_EVERY)).await;
        }
    }

    async fn prepare(&self, hand: &Hand<'_>, fault: &FaultPlan) -> Result<Before, ChaosError> {
        if hand.is_ending() {
            return Err(ChaosError::Ending);
        }
        let own = self.others(hand.fault);
        self.guard(fault, &own).await?;
        let context = Context {
            target: &self.plan.target,
            seed: self.plan.seed,
            run: self.journal.run(),
            planned: &fault.resources,
            own: &own,
        };
        injection::prepare(&hand.sight(), &context, fault).await
    }

    async fn guard(&self, fault: &FaultPlan, own: &Own) -> Result<(), ChaosError> {
        let target = &self.plan.target;
        may(target, fault, &own.cut_regions(), Timestamp::now())?;
        if !self.account_checked.load(Ordering::Acquire) {
            let found = self.cloud.reader().caller(&fault.region).await?;
            guard::account(target, &found.account).map_err(ChaosError::Refused)?;
            self.account_checked.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// After a call failed: what can be undone is, and what cannot may have happened although no answer came.
    async fn withdraw(
        &self,
        fault: &FaultPlan,
        state: &State,
        error: ChaosError,
        since: f64,
    ) -> Result<(), ChaosError> {
        let before = state.before().clone();
        match before {
            None => Err(error),
            Some(before) if before.is_reversible() => {
                self.undo(state).await?;
                Err(error)
            }
            Some(_) => {
                let unanswered = matches!(&error, ChaosError::Aws(error) if error.is_transient());
                if unanswered && self.look(fault, state, since).await.is_some() {
                    return Ok(());
                }
                *state.before() = None;
                Err(error)
            }
        }
    }

    /// Looks for the effect until it is seen, the fault is being reverted, or patience ends.
    async fn look(&self, fault: &FaultPlan, state: &State, since: f64) -> Option<String> {
        let hand = self.hand(state);
        let before = state.before().clone()?;
        let pace = self.clock.pace();
        let due = Instant::now() + pace.patience(before.due_after());
        let deadline = due + pace.patience(OBSERVE_PATIENCE).max(OBSERVE_PATIENCE_FLOOR);
        loop {
            let seen = before.observe(&hand, since).await;
            match seen {
                Ok(Some(evidence)) => return Some(evidence),
                Ok(None) => {}
                Err(ChaosError::Aws(error)) => self.call_failed(&fault.region, &error).await,
                Err(_) => return None,
            }
            let over = state.reverting.load(Ordering::Acquire) || hand.is_ending();
            if over || Instant::now() >= deadline {
                return None;
            }
            tokio::time::sleep(pace.patience(OBSERVE_EVERY)).await;
        }
    }

    async fn undo(&self, state: &State) -> Result<(), ChaosError> {
        let fault = state.fault.clone();
        let Some(before) = state.before().clone().filter(Before::is_reversible) else {
            return Ok(());
        };
        // While this process stood still, another may have come first.
        if let Some((at, over)) = self.elsewhere(state) {
            self.tell_ended_early(state, at, over.why).await;
        }
        // A journal that cannot be written must not keep the fault in the world.
        let _ = self.journal.append(&Record::RevertIntent {
            fault: fault.clone(),
            by: None,
        });
        self.emit(Event::FaultRevertStarted { fault: fault.clone() }).await;
        let hand = Hand {
            ending: None,
            ..self.hand(state)
        };
        match undo(&hand, &before).await {
            Ok(()) => {
                self.forget(state);
                let _ = self.journal.append(&Record::Reverted { fault: fault.clone() });
                self.emit(Event::FaultReverted { fault }).await;
                Ok(())
            }
            Err(error) => {
                let text = error.into_left();
                let record = Record::RevertFailed {
                    fault: fault.clone(),
                    error: text.clone(),
                };
                let _ = self.journal.append(&record);
                let event = Event::FaultRevertFailed {
                    fault: fault.clone(),
                    error: text.clone(),
                };
                self.emit(event).await;
                Err(ChaosError::StillThere { fault, left: text })
            }
        }
    }

    /// Tells that a try to revert a fault failed: once, and again when the reason is another.
    pub(super) async fn tell_retried(&self, fault: &FaultId, error: String) {
        let Some(state) = self.known(fault) else { return };
        let told_before = state.failing().replace(error.clone());
        if told_before.as_ref() != Some(&error) {
            let fault = fault.clone();
            self.emit(Event::FaultRevertRetried { fault, error }).await;
        }
    }

    /// Tells that the revert of a fault goes on, since `at`, where tries failed before.
    pub(super) async fn tell_resumed(&self, fault: &FaultId, at: Instant) {
        let Some(state) = self.known(fault) else { return };
        if state.failing().take().is_some() {
            let fault = fault.clone();
            self.emit_at(self.clock.offset(at), Event::FaultRevertStarted { fault })
                .await;
        }
    }

    /// What the other faults of the run take away.
    fn others(&self, fault: &FaultId) -> Own {
        let states = self.states();
        let others = states.iter().filter(|state| state.fault != *fault);
        let standing = others.filter_map(|state| {
            Some(Standing {
                fault: state.fault.clone(),
                region: state.region.clone(),
                before: state.standing()?,
            })
        });
        standing.collect()
    }

    fn hand<'a>(&'a self, state: &'a State) -> Hand<'a> {
        Hand {
            cloud: &self.cloud,
            journal: Some(&self.journal),
            pace: self.clock.pace(),
            fault: &state.fault,
            region: &state.region,
            ending: Some(&self.ending),
            created: &state.created,
            refused: Mutex::default(),
            runner: Some(self),
        }
    }

    fn state(&self, id: &FaultId, region: &str) -> Arc<State> {
        let mut states = self.states();
        if let Some(state) = states.iter().find(|state| state.fault == *id) {
            return Arc::clone(state);
        }
        let state = Arc::new(State {
            fault: id.clone(),
            region: region.to_owned(),
            acting: tokio::sync::Mutex::new(()),
            before: Mutex::new(None),
            created: Mutex::default(),
            reverting: AtomicBool::new(false),
            failing: Mutex::default(),
            ended_early: AtomicBool::new(false),
            looked_for: AtomicBool::new(false),
        });
        states.push(Arc::clone(&state));
        state
    }

    fn known(&self, id: &FaultId) -> Option<Arc<State>> {
        self.states().iter().find(|state| state.fault == *id).cloned()
    }

    fn states(&self) -> MutexGuard<'_, Vec<Arc<State>>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn emit(&self, event: Event) -> impl Future<Output = ()> + Send + '_ {
        self.emit_at(self.clock.elapsed(), event)
    }

    async fn emit_at(&self, at: Duration, event: Event) {
        // When nobody reads any more, the journal still holds what happened.
        let sent = self.events.send_timeout(Stamped { at, event }, EVENT_PATIENCE).await;
        if let Err(SendTimeoutError::Timeout(_)) = sent {
            self.untold.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Events that nobody took in time, and that no recording has.
    #[must_use]
    pub fn untold(&self) -> u64 {
        self.untold.load(Ordering::Acquire)
    }
}

impl State {
    fn before(&self) -> MutexGuard<'_, Option<Before>> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failing(&self) -> MutexGuard<'_, Option<String>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it takes away. What comes back by itself is left to what the world shows once its effect was looked for.
    fn standing(&self) -> Option<Before> {
        let before = self.before().clone()?;
        let stays = before.is_reversible() || before.takes_for_good() || !self.looked_for.load(Ordering::Acquire);
        stays.then_some(before)
    }
}

/// What the target says of a fault at this time, with these Regions cut off; asks nobody.
pub(super) fn may(
    target: &TargetPlan,
    fault: &FaultPlan,
    cut: &BTreeMap<String, FaultId>,
    now: Timestamp,
) -> Result<(), ChaosError> {
    let mut checked = guard::region(target, &fault.region).and_then(|()| guard::open(target.allow.as_ref(), now));
    if fault.fault == Fault::NetworkDenyRegion {
        checked = checked.and_then(|()| guard::another_region(target, &fault.region, cut));
    }
    checked.map_err(ChaosError::Refused)
}

fn planned<'a>(plan: &'a Plan, id: &FaultId) -> Result<&'a FaultPlan, ChaosError> {
    let experiment = plan.experiments.iter().find(|one| one.name == id.experiment);
    let fault = experiment.and_then(|experiment| experiment.faults.get(id.index));
    fault.ok_or_else(|| ChaosError::UnknownFault(id.clone()))
}
