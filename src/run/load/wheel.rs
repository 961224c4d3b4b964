//! A timing wheel over row numbers: who is due next, in constant time for millions of rows.
//! Due times stay exact to the microsecond, so that lag is measured and not rounded away; waiting is not its work.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// A tick is 1,024 us.
const TICK_BITS: u32 = 10;
/// A span of the wheel is 2^18 ticks, 268 s: most users are due within this one or the next, and are never moved.
const SPAN_BITS: u32 = 18;
const WORDS: usize = 1 << (SPAN_BITS - 6);
/// Rows of a later span that are brought to their slots at each look, so that a million of them hold nobody up.
const MOVED_PER_LOOK: usize = 64;

/// Ticks that are looked at before their time. Rows that are inserted meanwhile for them cost more than in a slot, so
/// they are few.
const AHEAD: u64 = 16;

/// Rows of a slot are chained through the rows themselves, so a scheduled row costs 16 bytes and no allocation.
/// A link is the row's number plus one, so that a slot's memory is all zeros until it is used.
type Link = u32;
const END: Link = 0;

#[derive(Clone, Copy, Debug)]
struct Row {
    due_us: u64,
    next: Link,
}

/// Not all zeros, or the memory would only be promised.
const UNUSED: Row = Row {
    due_us: u64::MAX,
    next: END,
};

/// The slots of a span, one a tick, and which of them hold rows.
#[derive(Clone, Debug)]
struct Span {
    heads: Vec<Link>,
    occupied: Vec<u64>,
    /// Which words of `occupied` are not zero, and which words of this one.
    words: [u64; WORDS / 64],
    blocks: u64,
}

impl Span {
    fn new() -> Self {
        Self {
            heads: vec![END; 1 << SPAN_BITS],
            occupied: vec![0; WORDS],
            words: [0; WORDS / 64],
            blocks: 0,
        }
    }

    /// The first slot with a row.
    #[inline]
    fn first(&self) -> Option<usize> {
        if self.blocks == 0 {
            return None;
        }
        let block = self.blocks.trailing_zeros() as usize;
        let word = block * 64 + self.words[block].trailing_zeros() as usize;
        Some(word * 64 + self.occupied[word].trailing_zeros() as usize)
    }

    /// Puts `link` before the slot's rows and gives the link to these.
    #[inline]
    fn push(&mut self, slot: usize, link: Link) -> Link {
        let word = slot / 64;
        self.occupied[word] |= 1 << (slot % 64);
        self.words[word / 64] |= 1 << (word % 64);
        self.blocks |= 1 << (word / 64);
        std::mem::replace(&mut self.heads[slot], link)
    }

    /// Empties a slot.
    #[inline]
    fn take(&mut self, slot: usize) -> Link {
        let word = slot / 64;
        self.occupied[word] &= !(1 << (slot % 64));
        if self.occupied[word] == 0 {
            self.words[word / 64] &= !(1 << (word % 64));
            if self.words[word / 64] == 0 {
                self.blocks &= !(1 << (word / 64));
            }
        }
        std::mem::replace(&mut self.heads[slot], END)
    }
}

/// Rows waiting for their due time. A row is in the wheel at most once.
#[derive(Clone, Debug)]
pub struct Wheel {
    rows: Vec<Row>,
    /// Rows due in the current span, after the current tick.
    current: Span,
    /// Rows due in the span after it.
    following: Span,
    /// Rows due in the following span that still have to be brought to their slots.
    moving: Link,
    /// Rows due in spans after that, by span.
    later: BTreeMap<u64, Link>,
    /// Rows due in the current tick or before it, in order; the current tick may be ahead of the time.
    near: BinaryHeap<Reverse<(u64, u32)>>,
    /// The tick up to which slots were emptied.
    tick: u64,
}

impl Wheel {
    /// An empty wheel at time zero with room for `rows` rows.
    #[must_use]
    pub fn new(rows: usize) -> Self {
        Self {
            rows: vec![UNUSED; rows],
            current: Span::new(),
            following: Span::new(),
            moving: END,
            later: BTreeMap::new(),
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
        self.move_rows(MOVED_PER_LOOK);
        let target = now_us >> TICK_BITS;
        while self.tick < target {
            match self.first_tick() {
                Some(tick) if tick <= target => self.come_to(tick),
                None if self.tick >> SPAN_BITS < target >> SPAN_BITS => self.turn(target >> SPAN_BITS),
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
        self.look_ahead();
    }

    /// Empties the next slot a little before its tick, so that nobody has to wake up for that alone.
    #[inline]
    fn look_ahead(&mut self) {
        if self.near.is_empty()
            && let Some(tick) = self.first_tick()
            && tick <= self.tick + AHEAD
        {
            self.come_to(tick);
        }
    }

    /// The first tick of the current span with rows in its slot.
    #[inline]
    fn first_tick(&self) -> Option<u64> {
        let slot = self.current.first()?;
        Some((self.tick >> SPAN_BITS << SPAN_BITS) + slot as u64)
    }

    /// Goes on to a tick of the current span and empties its slot.
    #[inline]
    fn come_to(&mut self, tick: u64) {
        self.tick = tick;
        self.empty(tick as usize & ((1 << SPAN_BITS) - 1));
    }

    /// When to look again: never later than the next due time, and exact for rows due within the current tick.
    #[must_use]
    #[inline]
    pub fn next_look_us(&self) -> Option<u64> {
        if let Some(&Reverse((due_us, _))) = self.near.peek() {
            return Some(due_us);
        }
        let tick = match self.first_tick() {
            Some(tick) => tick,
            None => self.next_span(self.tick >> SPAN_BITS)? << SPAN_BITS,
        };
        Some(tick << TICK_BITS)
    }

    #[inline]
    fn place(&mut self, row: u32) {
        let due_us = self.rows[row as usize].due_us;
        let tick = due_us >> TICK_BITS;
        if tick <= self.tick {
            self.near.push(Reverse((due_us, row)));
            return;
        }
        let (span, slot) = (tick >> SPAN_BITS, tick as usize & ((1 << SPAN_BITS) - 1));
        let link = row + 1;
        self.rows[row as usize].next = match span - (self.tick >> SPAN_BITS) {
            0 => self.current.push(slot, link),
            1 => self.following.push(slot, link),
            _ => std::mem::replace(self.later.entry(span).or_insert(END), link),
        };
    }

    /// Rows of a slot whose tick has come.
    #[inline]
    fn empty(&mut self, slot: usize) {
        let mut link = self.current.take(slot);
        while link != END {
            let row = self.rows[link as usize - 1];
            self.near.push(Reverse((row.due_us, link - 1)));
            link = row.next;
        }
    }

    /// The span after `span` in which the next row is due.
    fn next_span(&self, span: u64) -> Option<u64> {
        match self.moving {
            END if self.following.blocks == 0 => self.later.keys().next().copied(),
            _ => Some(span + 1),
        }
    }

    /// Goes on to the next span with rows, but not past `last`; the current one is empty.
    fn turn(&mut self, last: u64) {
        let span = self.tick >> SPAN_BITS;
        let next = self.next_span(span).map_or(last, |next| next.min(last));
        if next == span + 1 {
            self.move_rows(usize::MAX);
            std::mem::swap(&mut self.current, &mut self.following);
        }
        self.tick = next << SPAN_BITS;
        if self.current.first() == Some(0) {
            self.empty(0);
        }
        let mut link = self.later.remove(&next).unwrap_or(END);
        while link != END {
            let row = link - 1;
            link = self.rows[row as usize].next;
            self.place(row);
        }
        self.moving = self.later.remove(&(next + 1)).unwrap_or(END);
    }

    /// Brings some rows of the following span to their slots.
    #[inline]
    fn move_rows(&mut self, most: usize) {
        for _ in 0..most {
            if self.moving == END {
                return;
            }
            let link = self.moving;
            let row = &mut self.rows[link as usize - 1];
            let slot = (row.due_us >> TICK_BITS) as usize & ((1 << SPAN_BITS) - 1);
            self.moving = std::mem::replace(&mut row.next, self.following.push(slot, link));
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

    #[test]
    fn rows_of_later_spans_are_brought_over_a_few_at_a_time() {
        let span_us = 1u64 << (SPAN_BITS + TICK_BITS);
        let due_us = |row: u64| 2 * span_us + row * 1_000;
        let mut wheel = Wheel::new(200);
        for row in 0..200 {
            wheel.insert(row, due_us(u64::from(row)));
        }
        let mut out = Vec::new();
        assert_eq!(wheel.next_look_us(), Some(2 * span_us));
        wheel.advance(span_us, &mut out);
        let waiting = |wheel: &Wheel| {
            std::iter::successors(Some(wheel.moving), |link| {
                (*link != END).then(|| wheel.rows[*link as usize - 1].next)
            })
            .count()
                - 1
        };
        assert_eq!(waiting(&wheel), 200);
        wheel.advance(span_us + 1, &mut out);
        assert_eq!(waiting(&wheel), 200 - MOVED_PER_LOOK);
        wheel.advance(due_us(150), &mut out);
        assert!(out.iter().map(|(at_us, _)| *at_us).is_sorted());
        assert_eq!((out.len(), waiting(&wheel)), (151, 0));
    }

    #[derive(Clone, Debug)]
    enum Op {
        Insert(u64),
        Advance(u64),
        Look,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => prop_oneof![0u64..3_000, 0u64..200_000, 0u64..90_000_000, 0u64..20_000_000_000, 0u64..400_000_000_000].prop_map(Op::Insert),
            2 => prop_oneof![0u64..2_000, 0u64..100_000, 0u64..5_000_000, 0u64..9_000_000_000, 0u64..400_000_000_000].prop_map(Op::Advance),
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
