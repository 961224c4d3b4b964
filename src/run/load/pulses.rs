//! Pulses while they are filled: the fine-grained outcome of a step over the whole run.
//! Memory grows with the time in which something happened, never with the number of requests.

use std::time::Duration;

use crate::recording::{Pulse, PulseCell};

/// Cells that are side by side in time are side by side in memory.
const BLOCK_BITS: u32 = 6;

/// The cells of one step while they are filled: blocks, made when something falls into them.
#[derive(Default)]
pub struct Cells {
    blocks: Vec<Option<Box<[PulseCell; 1 << BLOCK_BITS]>>>,
}

impl Cells {
    /// The cell of this index.
    #[inline]
    pub fn cell(&mut self, index: u32) -> &mut PulseCell {
        let (block, within) = (
            (index >> BLOCK_BITS) as usize,
            (index & ((1 << BLOCK_BITS) - 1)) as usize,
        );
        if self.blocks.len() <= block {
            self.blocks.resize_with(block + 1, || None);
        }
        &mut self.blocks[block].get_or_insert_with(|| Box::new([PulseCell::default(); 1 << BLOCK_BITS]))[within]
    }

    /// What was filled.
    #[must_use]
    pub fn into_pulse(self, cell: Duration) -> Pulse {
        let blocks = self.blocks.into_iter().enumerate();
        let filled = blocks.filter_map(|(number, block)| Some((number, block?)));
        let cells = filled.flat_map(|(number, block)| {
            let first = (number as u32) << BLOCK_BITS;
            (first..).zip(*block)
        });
        Pulse {
            cell,
            cells: cells.filter(|(_, cell)| cell.ok + cell.failed > 0).collect(),
        }
    }
}

/// Adds the pulses of another shard.
pub fn merge_pulses(into: &mut Vec<Pulse>, part: Vec<Pulse>) {
    if into.is_empty() {
        *into = part;
        return;
    }
    for (into, part) in into.iter_mut().zip(part) {
        for (index, cell) in part.cells {
            into.cells.entry(index).or_default().merge(&cell);
        }
    }
}
