//! How a pass ends: its user thinks, paces or leaves, and its connections go where they belong.

use super::Shard;
use crate::run::load::passes::Owner;
use crate::run::load::users::wait_us;

/// A user whose request was not sent waits at least this long, or a journey without think time would spin.
const NOT_SENT_WAIT_US: u64 = 1_000;

impl Shard {
    /// A user leaves, and its connection goes with it.
    fn see_off(&mut self, load: usize, row: u32) {
        let source = &mut self.sources[load];
        source.crowd.leave(row);
        let own = source.own.get_mut(row as usize).and_then(Option::take);
        own.into_iter().for_each(|own| self.transport.give_up(own));
        self.tokens.forget(load, row);
    }

    /// The user of the pass was to leave, and its grace is over.
    pub(in crate::run::load) fn overstays(&self, pass: u32, now_us: u64) -> bool {
        match self.passes[pass].owner {
            Owner::User { load, row } => self.sources[usize::from(load)].overstays(row, now_us, self.grace_us),
            Owner::Arrival => false,
        }
    }

    pub(in crate::run::load) fn end_pass(&mut self, pass: u32, now_us: u64, sent: bool) {
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
                let think_us = wait_us(&journey.think, &mut state.choices);
                let mut wait = if sent { 0 } else { NOT_SENT_WAIT_US };
                if let Some(pacing) = &journey.pacing {
                    let next_us = state.begun_us + wait_us(pacing, &mut state.choices);
                    wait = wait.max(next_us.saturating_sub(now_us));
                }
                self.sleep(load, row, think_us, wait, now_us);
            }
            Owner::User { .. } => {}
            Owner::Arrival => self.arriving -= 1,
        }
        self.passes.end(pass);
    }

    /// A user thinks, and waits no less than `wait_us`, until its next pass. Who does not wait at all is due now, and needs
    /// no place in the wheel; it begins after all answers of this turn, since requests sent in a row cost the kernel less
    /// than one after each answer.
    #[inline]
    fn sleep(&mut self, load: u16, row: u32, think_us: u64, wait_us: u64, now_us: u64) {
        let awake_us = self.steering.awake_us(now_us);
        let due_us = self.gather.due_us(awake_us, think_us).max(awake_us + wait_us);
        let source = &mut self.sources[usize::from(load)];
        if due_us == awake_us && now_us < self.end_us && !self.steering.paused() {
            source.due.push_back((due_us, row));
        } else {
            source.crowd.sleep(row, due_us);
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
}
