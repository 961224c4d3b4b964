//! Starts what is due: users who wake, arrivals whose time has come. What becomes of a pass is in `exchange`, how it ends
//! in `ends`.

use super::Shard;
use crate::plan::LoadModel;
use crate::run::load::passes::Owner;
use crate::run::load::steered::Steered;
use crate::run::load::users::choices;

/// How often new users are added within a ramp.
const RAMP_TICK_US: u64 = 5_000;
/// Requests started in a row before answers are looked at again.
const STARTS_PER_TURN: usize = 256;

impl Shard {
    /// What was due before the schedule was steered anew is started, or counted, however late this thread woke.
    pub(super) fn start_arrivals_before(&mut self, load: usize, steered: &Steered) {
        let since_us = steered.steering.since_us();
        loop {
            let source = &self.sources[load];
            if source.model == LoadModel::Users
                || !steered.is_past(source.arrivals.mass())
                || *self.common.stop.borrow()
            {
                return;
            }
            let due_us = source.steered.arrival_us(&source.curve, source.arrivals.mass());
            let due_us = due_us.map_or(since_us, |due_us| due_us.min(since_us));
            self.start_arrival(load, due_us, self.now_us());
        }
    }

    /// Starts what is due of every load and says when to look again.
    #[inline]
    pub(super) fn start_due(&mut self, now_us: u64) -> Option<u64> {
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
    /// are made no more. Arrivals that the word to stop leaves behind count as not sent.
    pub(super) fn start_last(&mut self) {
        let end_us = self.end_us;
        for load in 0..self.sources.len() {
            match self.sources[load].model {
                LoadModel::Users => self.count_unmade(load, end_us),
                LoadModel::Arrivals | LoadModel::Mixed => {
                    let stop = self.common.stop.clone();
                    let is_due = |at_us: Option<u64>| at_us.is_some_and(|at_us| at_us <= end_us);
                    // However many they are, the user need not wait for them.
                    while is_due(self.start_arrivals(load, end_us)) && !*stop.borrow() {}
                    self.count_unstarted(load, end_us);
                }
            }
        }
    }

    /// The run is cut short: what was due by now and has not begun does not begin any more.
    pub(super) fn leave_due(&mut self, now_us: u64) {
        for load in 0..self.sources.len() {
            if self.sources[load].model != LoadModel::Users {
                self.count_unstarted(load, now_us);
            }
        }
    }

    /// Arrivals due by then that are not started any more. They may be millions, so they are not gone through.
    fn count_unstarted(&mut self, load: usize, until_us: u64) {
        let unstarted = self.sources[load].pass_over_arrivals(until_us);
        for (class, arrivals) in self.common.classes.split(unstarted).enumerate() {
            self.recorder.not_sent(class as u8, arrivals);
        }
    }

    fn count_unmade(&mut self, load: usize, now_us: u64) {
        let unmade = self.sources[load].unmade(now_us);
        self.recorder.unmade(unmade);
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
            self.recorder.not_sent(class, 1);
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
        if !self.common.feeders.fill(journey, &mut state.values, &mut state.choices) {
            self.leave_dry(pass);
            return;
        }
        self.walk(pass, due_us, now_us, true);
    }

    /// There is no row left for the pass: it is not made, which is counted, and its user does not come again.
    fn leave_dry(&mut self, pass: u32) {
        self.recorder.rowless(self.passes[pass].class);
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
}
