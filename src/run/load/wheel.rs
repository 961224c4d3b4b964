//! A hierarchical timing wheel over row numbers: who is due next, in constant time for millions of rows.
//! Due times stay exact to the microsecond, so that lag is measured and not rounded away; waiting is not its work.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Rows per slot are chained through the rows themselves, so a scheduled row costs 16 bytes and no allocation.
const NONE: u32 = u32::MAX;
/// A tick is 1,024 us.
const TICK_BITS: u32 = 10;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// 8 levels of 64 slots over 1 ms ticks reach beyond any run.
const LEVELS: usize = 8;

#[derive(Clone, Copy, Debug)]
struct Row {
    due_us: u64,
    next: u32,
}

/// Not all zeros, or the memory would only be promised.
const UNUSED: Row = Row { due_us: 0, next: NONE };

#[derive(Clone, Debug)]
struct Level {
    heads: [u32; SLOTS],
    occupied: u64,
}

/// Rows waiting for their due time. A row is in the wheel at most once.
#[derive(Clone, Debug)]
pub struct Wheel {
    rows: Vec<Row>,
    levels: Vec<Level>,
    /// Rows due in the current tick or before it, in order.
    near: BinaryHeap<Reverse<(u64, u32)>>,
    /// The tick up to which slots were emptied.
    tick: u64,
}

impl Wheel {
    /// An empty wheel at time zero with room for `rows` rows.
    #[must_use]
    pub fn new(rows: usize) -> Self {
        let level = Level {
            heads: [NONE; SLOTS],
            occupied: 0,
        };
        Self {
            rows: vec![UNUSED; rows],
            levels: vec![level; LEVELS],
            near: BinaryHeap::new(),
            tick: 0,
        }
    }

    /// Schedules `row`, which must not be waiting already.
    #[inline]
    pub fn insert(&mut self, row: u32, due_us: u64) {
        let index = row as usize;
        if self.rows.len() <= index {
            self.rows.resize(index + 1, UNUSED);
        }
        self.rows[index].due_us = due_us;
        self.place(row);
    }

    /// Moves every row due at `now_us` or before into `out`, in order of due time.
    #[inline]
    pub fn advance(&mut self, now_us: u64, out: &mut impl Extend<(u64, u32)>) {
        let target = now_us >> TICK_BITS;
        while self.tick < target {
            match self.next_slot_tick() {
                Some(tick) if tick <= target => {
                    self.tick = tick;
                    self.cascade();
                }
                _ => self.tick = target,
            }
        }
        while let Some(&Reverse((due_us, row))) = self.near.peek() {
            if due_us > now_us {
                break;
            }
            self.near.pop();
            out.extend([(due_us, row)]);
        }
    }

    /// When to look again: never later than the next due time, and exact for rows due within the current tick.
    #[must_use]
    #[inline]
    pub fn next_look_us(&self) -> Option<u64> {
        match self.near.peek() {
            Some(&Reverse((due_us, _))) => Some(due_us),
            None => self.next_slot_tick().map(|tick| tick << TICK_BITS),
        }
    }

    #[inline]
    fn place(&mut self, row: u32) {
        let due_us = self.rows[row as usize].due_us;
        let tick = due_us >> TICK_BITS;
        if tick <= self.tick {
            self.near.push(Reverse((due_us, row)));
            return;
        }
        let differing = 63 - (tick ^ self.tick).leading_zeros();
        let level = ((differing / SLOT_BITS) as usize).min(LEVELS - 1);
        let slot = (tick >> (level as u32 * SLOT_BITS)) as usize & (SLOTS - 1);
        let level = &mut self.levels[level];
        self.rows[row as usize].next = level.heads[slot];
        level.heads[slot] = row;
        level.occupied |= 1 << slot;
    }

    /// The earliest tick at which a slot must be emptied: a row's own tick on the lowest level, the start of its
    /// slot's span above.
    fn next_slot_tick(&self) -> Option<u64> {
        // A row sits on the level of the highest digit in which its tick differs from the current one, so the lowest
        // occupied level holds the earliest rows, and only slots after the current digit are occupied.
        self.levels.iter().enumerate().find_map(|(number, level)| {
            (level.occupied != 0).then(|| {
                let shift = number as u32 * SLOT_BITS;
                let slot = u64::from(level.occupied.trailing_zeros());
                let span_start = self.tick >> (shift + SLOT_BITS) << (shift + SLOT_BITS);
                span_start + (slot << shift)
            })
        })
    }

    /// Empties the slots that begin at the current tick, from the top so that rows fall through the levels.
    fn cascade(&mut self) {
        for number in (0..LEVELS).rev() {
            let shift = number as u32 * SLOT_BITS;
            if self.tick & ((1u64 << shift) - 1) != 0 {
                continue;
            }
            let slot = (self.tick >> shift) as usize & (SLOTS - 1);
            let level = &mut self.levels[number];
            if level.occupied & (1 << slot) == 0 {
                continue;
            }
            level.occupied &= !(1 << slot);
            let mut row = std::mem::replace(&mut level.heads[slot], NONE);
            while row != NONE {
                let next = self.rows[row as usize].next;
                self.place(row);
                row = next;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sub_millisecond_due_times_stay_exact() {
        let mut wheel = Wheel::new(4);
        wheel.insert(0, 5_000_321);
        wheel.insert(1, 5_000_123);
        let mut out = Vec::new();
        while wheel.next_look_us().is_some_and(|look| look <= 5_000_122) {
            wheel.advance(wheel.next_look_us().unwrap(), &mut out);
        }
        assert!(out.is_empty());
        assert_eq!(wheel.next_look_us(), Some(5_000_123));
        wheel.advance(5_000_123, &mut out);
        assert_eq!(out, [(5_000_123, 1)]);
        wheel.advance(6_000_000, &mut out);
        assert_eq!(out, [(5_000_123, 1), (5_000_321, 0)]);
        assert_eq!(wheel.next_look_us(), None);
    }

    #[derive(Clone, Debug)]
    enum Op {
        Insert(u64),
        Advance(u64),
        Look,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => prop_oneof![0u64..3_000, 0u64..200_000, 0u64..90_000_000, 0u64..20_000_000_000].prop_map(Op::Insert),
            2 => prop_oneof![0u64..2_000, 0u64..100_000, 0u64..5_000_000, 0u64..9_000_000_000].prop_map(Op::Advance),
            1 => Just(Op::Look),
        ]
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_binary_heap(ops in prop::collection::vec(op(), 1..300)) {
            let mut wheel = Wheel::new(0);
            let mut model: BinaryHeap<Reverse<(u64, u32)>> = BinaryHeap::new();
            let (mut now, mut row) = (0u64, 0u32);
            for op in ops {
                match op {
                    Op::Insert(after) => {
                        wheel.insert(row, now + after);
                        model.push(Reverse((now + after, row)));
                        row += 1;
                    }
                    Op::Advance(by) => {
                        now += by;
                        let mut out = Vec::new();
                        wheel.advance(now, &mut out);
                        let mut expected = Vec::new();
                        while model.peek().is_some_and(|Reverse((due, _))| *due <= now) {
                            expected.extend(model.pop().map(|Reverse(entry)| entry));
                        }
                        prop_assert_eq!(out, expected);
                    }
                    Op::Look => {
                        let due = model.peek().map(|Reverse((due, _))| *due);
                        prop_assert_eq!(wheel.next_look_us().is_some(), due.is_some());
                        if let (Some(look), Some(due)) = (wheel.next_look_us(), due) {
                            prop_assert!(look <= due, "look {} due {}", look, due);
                            prop_assert!(look > now || due <= now);
                        }
                    }
                }
            }
        }
    }
}
