//! How long each request may take: its step's own patience, or the client's. A list of deadlines for each length, so
//! that a request costs no timer.

use super::deadlines::Deadlines;
use crate::plan::{ClientPlan, StepPlan};
use crate::units::Pace;

/// The deadlines of all requests of a shard.
#[derive(Debug)]
pub struct Patience {
    lists: Vec<Deadlines>,
    /// By step: its list.
    of_step: Box<[u32]>,
}

impl Patience {
    /// Of these steps, in real time.
    #[must_use]
    pub fn new(steps: &[StepPlan], client: &ClientPlan, pace: Pace) -> Self {
        let mut lengths: Vec<u64> = Vec::new();
        let of_step = steps.iter().map(|step| {
            let patience = step.timeout.unwrap_or(client.request_timeout) + step.protocol.stays();
            let length = pace.patience(patience).as_micros() as u64;
            let known = lengths.iter().position(|known| *known == length);
            let list = known.unwrap_or_else(|| {
                lengths.push(length);
                lengths.len() - 1
            });
            list as u32
        });
        Self {
            of_step: of_step.collect(),
            lists: lengths.into_iter().map(Deadlines::new).collect(),
        }
    }

    /// The request of a pass at this step begins.
    #[inline]
    pub fn push(&mut self, step: usize, pass: u32, now_us: u64) {
        self.lists[self.of_step[step] as usize].push(pass, now_us);
    }

    /// It has ended.
    #[inline]
    pub fn remove(&mut self, step: usize, pass: u32) {
        self.lists[self.of_step[step] as usize].remove(pass);
    }

    /// The next pass whose request has taken too long; it is listed no longer.
    #[inline]
    pub fn pop_due(&mut self, now_us: u64) -> Option<u32> {
        self.lists.iter_mut().find_map(|list| list.pop_due(now_us))
    }

    /// When the next one will have.
    #[must_use]
    #[inline]
    pub fn next_us(&self) -> Option<u64> {
        self.lists.iter().filter_map(Deadlines::next_us).min()
    }
}
