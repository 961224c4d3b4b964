//! Shards' seconds come in out of step; this holds them until a second is whole and then merges it.

use std::collections::BTreeMap;

use crate::recording::Slice;
use crate::run::load::{ShardSecond, merge};

/// Seconds that a shard may be behind another before it is waited for no longer: one that is dead sends nothing more, and
/// stop conditions are to go on.
const BEHIND_MAX: u64 = 10;

/// Collects shard seconds into slices, in order.
#[derive(Debug)]
pub struct SliceBuffer {
    /// Of each shard, the first second that it has not closed. What it could not hand over in time it has folded into a
    /// later one, so the one it sends next need not be the next one there is.
    open: Vec<u64>,
    /// The first second that was not given back.
    next: u64,
    pending: BTreeMap<u64, Vec<ShardSecond>>,
}

impl SliceBuffer {
    /// A buffer for `shards` shards.
    #[must_use]
    pub fn new(shards: usize) -> Self {
        Self {
            open: vec![0; shards],
            next: 0,
            pending: BTreeMap::new(),
        }
    }

    /// Takes one shard's second and gives back every slice that is whole by it.
    pub fn push(&mut self, mut second: ShardSecond) -> Vec<Slice> {
        if let Some(open) = self.open.get_mut(second.shard) {
            *open = second.slice.second + 1;
        }
        // Of a shard that was not waited for: nothing counted is lost.
        second.slice.second = second.slice.second.max(self.next);
        self.pending.entry(second.slice.second).or_default().push(second);
        let (first, last) = (self.open.iter().min(), self.open.iter().max());
        let waited_for = last.map_or(0, |last| last.saturating_sub(BEHIND_MAX));
        let whole_until = first.map_or(0, |first| waited_for.max(*first));
        let rest = self.pending.split_off(&whole_until);
        let whole = std::mem::replace(&mut self.pending, rest);
        self.next = self.next.max(whole_until);
        whole.into_values().map(merge).collect()
    }

    /// What is left when the shards have ended, whole or not.
    pub fn finish(self) -> Vec<Slice> {
        self.pending.into_values().map(merge).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(shard: usize, second: u64) -> ShardSecond {
        let slice = Slice {
            second,
            intended: 1,
            ..Slice::default()
        };
        ShardSecond { shard, slice }
    }

    /// The seconds given back, and what was counted in each.
    fn told(slices: &[Slice]) -> Vec<(u64, u64)> {
        slices.iter().map(|slice| (slice.second, slice.intended)).collect()
    }

    #[test]
    fn a_second_is_whole_when_every_shard_has_closed_it() {
        let mut buffer = SliceBuffer::new(2);
        assert_eq!(told(&buffer.push(second(0, 0))), []);
        assert_eq!(told(&buffer.push(second(0, 1))), []);
        assert_eq!(told(&buffer.push(second(1, 0))), [(0, 2)]);
        assert_eq!(told(&buffer.push(second(1, 1))), [(1, 2)]);
        buffer.push(second(1, 2));
        assert_eq!(told(&buffer.finish()), [(2, 1)]);
    }

    #[test]
    fn a_second_that_a_shard_has_folded_into_a_later_one_holds_nothing_up() {
        let mut buffer = SliceBuffer::new(2);
        buffer.push(second(0, 0));
        buffer.push(second(0, 1));
        assert_eq!(told(&buffer.push(second(1, 3))), [(0, 1), (1, 1)]);
        assert_eq!(told(&buffer.push(second(0, 2))), [(2, 1)]);
        assert_eq!(told(&buffer.push(second(0, 3))), [(3, 2)]);
    }

    #[test]
    fn a_shard_that_sends_nothing_more_is_not_waited_for_and_what_it_sends_late_is_counted() {
        let mut buffer = SliceBuffer::new(2);
        let sent = 3 * BEHIND_MAX;
        let given: usize = (0..sent).map(|at| buffer.push(second(0, at)).len()).sum();
        assert_eq!(given as u64, sent - BEHIND_MAX);
        assert_eq!(told(&buffer.push(second(1, 0))), []);
        let whole = buffer.push(second(1, sent));
        assert_eq!(told(&whole)[0], (sent - BEHIND_MAX, 2));
        assert_eq!(whole.len() as u64, BEHIND_MAX);
    }
}
