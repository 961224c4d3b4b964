//! Users who think wake up together: each wake-up of a thread costs more than a request does, and who has thought for
//! seconds does not mind half a millisecond. Lag counts from when they are due so; arrivals and pacing are never moved.

/// Who is due within one of these is due together.
const GATHERED_US: u64 = 1_000;
/// Shorter waits stay as they are drawn: of longer ones this is one percent at most.
const GATHERED_FROM_US: u64 = 50 * GATHERED_US;
/// With more requests a second of one shard, so many would come together that they would wait for each other, here and
/// at the server; they need no gathering anyway.
const GATHERED_RATE: u64 = 10_000;

/// When the users of one shard are due who think.
#[derive(Clone, Copy, Debug)]
pub struct Gather {
    /// Each shard's users wake at a time of their own, or all of them would burst upon the server.
    phase_us: u64,
    /// There are not too many of them.
    few: bool,
}

impl Gather {
    /// Of the shard of this index among `shards`.
    #[must_use]
    pub fn new(index: usize, shards: usize) -> Self {
        Self {
            phase_us: GATHERED_US * index as u64 / shards.max(1) as u64,
            few: true,
        }
    }

    /// The last second had so many requests.
    pub fn last_second_had(&mut self, requests: u64) {
        self.few = requests <= GATHERED_RATE;
    }

    /// When a user is due who begins to wait at `from_us` for `wait_us`.
    #[must_use]
    #[inline]
    pub fn due_us(&self, from_us: u64, wait_us: u64) -> u64 {
        let due_us = from_us + wait_us;
        if !self.few || wait_us < GATHERED_FROM_US {
            return due_us;
        }
        let nearest = (due_us - self.phase_us + GATHERED_US / 2) / GATHERED_US;
        nearest * GATHERED_US + self.phase_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_waits_end_at_the_nearest_millisecond_of_their_shard() {
        let first = Gather::new(0, 4);
        assert_eq!(first.due_us(123, 2_000_000), 2_000_000);
        assert_eq!(first.due_us(500, 2_000_000), 2_001_000);
        let third = Gather::new(2, 4);
        assert_eq!(third.due_us(123, 2_000_000), 2_000_500);
        assert_eq!(third.due_us(999, 2_000_000), 2_000_500);
        assert_eq!(third.due_us(1_000, 2_000_000), 2_001_500);
    }

    #[test]
    fn short_waits_and_the_waits_of_many_stay_as_they_are() {
        let mut gather = Gather::new(0, 1);
        assert_eq!(gather.due_us(123, 49_999), 50_122);
        gather.last_second_had(10_001);
        assert_eq!(gather.due_us(123, 2_000_000), 2_000_123);
        gather.last_second_had(10_000);
        assert_eq!(gather.due_us(123, 2_000_000), 2_000_000);
    }
}
