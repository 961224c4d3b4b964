//! All users of one shard and when each is due: built before t0, so that no memory is asked for while the clock runs.
//! Knows who is due, not what they do then.

use super::curve::Curve;
use super::users::{Journeys, Users, choices, first_wait_us};
use super::wheel::Wheel;
use crate::plan::{LoadModel, Plan};
use crate::units::Pace;

/// The users of one shard.
#[derive(Debug)]
pub struct Crowd {
    users: Users,
    wheel: Wheel,
    seed: u64,
}

impl Crowd {
    /// The crowds of all shards, with everyone in place who is there from the start. Blocks: ten million users take
    /// about a second.
    #[must_use]
    pub fn assemble(plan: &Plan, pace: Pace, shards: usize) -> Vec<Self> {
        let curve = Curve::new(&plan.stages, pace);
        let journeys = Journeys::new(&plan.journeys);
        std::thread::scope(|scope| {
            let build = |shard| {
                let (curve, journeys) = (&curve, &journeys);
                scope.spawn(move || Self::new(plan, curve, journeys, shard, shards))
            };
            let threads: Vec<_> = (0..shards).map(build).collect();
            let join =
                |thread: std::thread::ScopedJoinHandle<'_, Self>| thread.join().expect("building does not panic");
            threads.into_iter().map(join).collect()
        })
    }

    fn new(plan: &Plan, curve: &Curve, journeys: &Journeys, shard: usize, shards: usize) -> Self {
        let peak = match plan.model {
            LoadModel::Users => curve.peak(),
            LoadModel::Arrivals => 0.0,
        };
        let rows = (peak / shards as f64).ceil() as usize;
        let mut crowd = Self {
            users: Users::new(shard, shards, rows),
            wheel: Wheel::new(rows),
            seed: plan.seed,
        };
        if plan.model == LoadModel::Users {
            crowd.set_level(curve.level(0), 0, plan, journeys);
        }
        crowd
    }

    /// Brings the users of the whole run up or down to `level`; who comes is found thinking.
    #[inline]
    pub fn set_level(&mut self, level: f64, now_us: u64, plan: &Plan, journeys: &Journeys) {
        let (wheel, seed) = (&mut self.wheel, self.seed);
        self.users.set_level(level, |row, number| {
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
        Some((self.users.number(row), pass))
    }

    /// The user is due again.
    #[inline]
    pub fn sleep(&mut self, row: u32, now_us: u64, wait_us: u64) {
        self.wheel.insert(row, now_us + wait_us);
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
