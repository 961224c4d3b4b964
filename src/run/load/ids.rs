//! Ids that no other request has, over shards and runs: what `{{ unique }}` stands for and a ledger remembers.

use std::fmt;

/// Ids no other request has: the run (seed and t0), the shard, and a counter.
#[derive(Clone, Debug)]
pub struct Ids {
    prefix: String,
    next: u64,
}

impl Ids {
    /// Ids of `shard` in the run that began at `t0_unix` (seconds).
    #[must_use]
    pub fn new(seed: u64, t0_unix: f64, shard: usize) -> Self {
        Self {
            prefix: format!("{seed:x}-{:x}-{shard}-", (t0_unix * 1000.0) as u64),
            next: 0,
        }
    }

    /// The next counter.
    #[inline]
    pub fn take(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The id of a counter.
    #[must_use]
    pub fn text(&self, counter: u64) -> String {
        Unique { ids: self, counter }.to_string()
    }
}

/// The id of one request, written only where a hole wants it.
#[derive(Clone, Copy, Debug)]
pub struct Unique<'a> {
    /// The run's ids.
    pub ids: &'a Ids,
    /// Which one.
    pub counter: u64,
}

impl fmt::Display for Unique<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.ids.prefix, self.counter)
    }
}
