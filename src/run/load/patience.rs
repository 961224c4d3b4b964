//! How long each request may take (its step's own patience, or that of its class of clients) and each connect. A list of
//! deadlines for each length, so that neither costs a timer.

use std::time::Duration;

use super::deadlines::Deadlines;
use crate::plan::{ClassPlan, StepPlan};
use crate::units::Pace;

/// The deadlines of all requests of a shard, or of all its connects.
#[derive(Debug)]
pub struct Patience {
    lists: Vec<Deadlines>,
    /// By class and step: its list.
    list_of: Box<[u32]>,
    steps: usize,
}

impl Patience {
    /// Of requests of these classes at these steps, in real time.
    #[must_use]
    pub fn of_requests(classes: &[ClassPlan], steps: &[StepPlan], pace: Pace) -> Self {
        let of_class = |class: &ClassPlan| {
            let patience = class.request_timeout;
            steps
                .iter()
                .map(move |step| step.timeout.unwrap_or(patience) + step.protocol.stays())
        };
        Self::new(classes.iter().flat_map(of_class), steps.len(), pace)
    }

    /// Of connects of these classes, in real time; there is one step, of index zero.
    #[must_use]
    pub fn of_connects(classes: &[ClassPlan], pace: Pace) -> Self {
        Self::new(classes.iter().map(|class| class.connect_timeout), 1, pace)
    }

    fn new(patience: impl Iterator<Item = Duration>, steps: usize, pace: Pace) -> Self {
        let mut lengths: Vec<u64> = Vec::new();
        let list_of = patience.map(|patience| {
            let length = pace.patience(patience).as_micros() as u64;
            let known = lengths.iter().position(|known| *known == length);
            let list = known.unwrap_or_else(|| {
                lengths.push(length);
                lengths.len() - 1
            });
            list as u32
        });
        Self {
            list_of: list_of.collect(),
            lists: lengths.into_iter().map(Deadlines::new).collect(),
            steps,
        }
    }

    /// What a pass of this class does at this step begins.
    #[inline]
    pub fn push(&mut self, class: u8, step: usize, pass: u32, now_us: u64) {
        self.list(class, step).push(pass, now_us);
    }

    /// It has ended.
    #[inline]
    pub fn remove(&mut self, class: u8, step: usize, pass: u32) {
        self.list(class, step).remove(pass);
    }

    #[inline]
    fn list(&mut self, class: u8, step: usize) -> &mut Deadlines {
        let list = self.list_of[usize::from(class) * self.steps + step];
        &mut self.lists[list as usize]
    }

    /// The next pass that has taken too long; it is listed no longer.
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
