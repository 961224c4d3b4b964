//! Shards' seconds come in out of step; this holds them until a second is whole and then merges it.

use std::collections::BTreeMap;

use crate::recording::Slice;
use crate::run::load::{ShardSecond, merge};

/// Collects shard seconds into slices, in order.
#[derive(Debug)]
pub struct SliceBuffer {
    shards: usize,
    pending: BTreeMap<u64, Vec<ShardSecond>>,
}

impl SliceBuffer {
    /// A buffer for `shards` shards.
    #[must_use]
    pub fn new(shards: usize) -> Self {
        Self {
            shards,
            pending: BTreeMap::new(),
        }
    }

    /// Takes one shard's second and gives back every slice that is whole by it.
    pub fn push(&mut self, second: ShardSecond) -> Vec<Slice> {
        self.pending.entry(second.slice.second).or_default().push(second);
        let mut whole = Vec::new();
        while let Some(entry) = self.pending.first_entry() {
            if entry.get().len() < self.shards {
                break;
            }
            whole.push(merge(entry.remove()));
        }
        whole
    }

    /// What is left when the shards have ended, whole or not.
    pub fn finish(self) -> Vec<Slice> {
        self.pending.into_values().map(merge).collect()
    }
}
