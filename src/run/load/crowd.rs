//! All users of one load in one shard and when each is due: built before t0, so that no memory is asked for while the
//! clock runs. Knows who is due, not what they do then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::users::{Journeys, Users, choices, first_wait_us};
use super::wheel::Wheel;
use crate::plan::Plan;

/// Passes that may still be made, where their number is fixed.
#[derive(Debug)]
pub enum Budget {
    /// So many by each user.
    Each {
        /// By one.
        each: u32,
        /// By all that have come, together.
        left: u64,
    },
    /// So many by all users of all shards together.
    Shared(Arc<AtomicU64>),
}

impl Budget {
    /// Takes the pass of this number, which counts from one, if it is there to be made.
    fn take(&mut self, pass: u32) -> bool {
        match self {
            Budget::Each { each, left } => {
                let may = pass <= *each;
                *left -= u64::from(may);
                may
            }
            Budget::Shared(left) => {
                let less = |left: u64| left.checked_sub(1);
                left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
            }
        }
    }
}

/// The users of one load in one shard.
#[derive(Debug)]
pub struct Crowd {
    users: Users,
    wheel: Wheel,
    seed: u64,
    budget: Option<Budget>,
}

impl Crowd {
    /// Nobody yet, with room for this shard's part of `peak`.
    #[must_use]
    pub fn new(seed: u64, peak: f64, shard: usize, shards: usize, budget: Option<Budget>) -> Self {
        let rows = (peak / shards as f64).ceil() as usize;
        Self {
            users: Users::new(shard, shards, rows),
            wheel: Wheel::new(rows),
            seed,
            budget,
        }
    }

    /// Brings the users of the whole run up or down to `level`; who comes is found thinking, or begins at once where
    /// there is a fixed number of passes to make.
    #[inline]
    pub fn set_level(&mut self, level: f64, now_us: u64, plan: &Plan, journeys: &Journeys) {
        let (wheel, seed, budget) = (&mut self.wheel, self.seed, &mut self.budget);
        self.users.set_level(level, |row, number| {
            if let Some(budget) = budget {
                if let Budget::Each { each, left } = budget {
                    *left += u64::from(*each);
                }
                wheel.insert(row, now_us);
                return;
            }
            let mut choices = choices(seed, number, 0);
            let journey = plan.journeys.get(journeys.pick_thinking(&mut choices));
            let first_us = journey.map_or(0, |journey| first_wait_us(&journey.cycle(), &mut choices));
            wheel.insert(row, now_us + first_us);
        });
    }

    /// Moves everyone due at `now_us` or before into `due`, in order of due time.
    #[inline]
    pub fn advance(&mut self, now_us: u64, due: &mut impl Extend<(u64, u32)>) {
        self.wheel.advance(now_us, due);
    }

    /// When to look again at the latest.
    #[must_use]
    #[inline]
    pub fn next_look_us(&self) -> Option<u64> {
        self.wheel.next_look_us()
    }

    /// Begins the next pass of a user: its number in the whole run and the number of the pass; none when it is to
    /// leave instead.
    #[inline]
    pub fn begin_pass(&mut self, row: u32) -> Option<(u64, u32)> {
        let pass = self.users.begin_pass(row)?;
        if let Some(budget) = &mut self.budget
            && !budget.take(pass)
        {
            self.users.leave(row);
            return None;
        }
        Some((self.users.number(row), pass))
    }

    /// Whether the user is to come again.
    #[must_use]
    #[inline]
    pub fn is_wanted(&self, row: u32) -> bool {
        self.users.is_wanted(row)
    }

    /// The user's number in the whole run.
    #[must_use]
    pub fn number(&self, row: u32) -> u64 {
        self.users.number(row)
    }

    /// The user is due again at `due_us`.
    #[inline]
    pub fn sleep(&mut self, row: u32, due_us: u64) {
        self.wheel.insert(row, due_us);
    }

    /// Takes what is left of a fixed number of passes; nobody makes them any more.
    pub fn unmade(&mut self) -> u64 {
        match &mut self.budget {
            Some(Budget::Each { left, .. }) => std::mem::take(left),
            Some(Budget::Shared(left)) => left.swap(0, Ordering::Relaxed),
            None => 0,
        }
    }

    /// The user does not come again.
    pub fn leave(&mut self, row: u32) {
        self.users.leave(row);
    }

    /// How many are present.
    #[must_use]
    pub fn present(&self) -> u64 {
        self.users.present()
    }
}
