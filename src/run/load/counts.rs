//! How often each time was measured within a second, in the cells of our histograms (HdrHistogram's layout, two
//! significant digits). Adding one costs what it costs to add to an array: no bounds that grow, no least and greatest,
//! all of which follow from the cells when the second is over.

use hdrhistogram::Histogram;

use crate::recording::{HISTOGRAM_MAX_US, Hist};

/// Values below 2^8 have a cell each; of all others, the highest eight bits do.
const CELL_BITS: u32 = 8;
const HALF: usize = 1 << (CELL_BITS - 1);

/// Counts of microseconds.
#[derive(Clone, Debug)]
pub struct Counts {
    /// A second has fewer requests than such a number can count.
    cells: Box<[u32]>,
    total: u64,
}

/// The cell of a value.
#[inline]
fn cell_of(value: u64) -> usize {
    let shift = (u64::BITS - CELL_BITS) - (value | ((1 << CELL_BITS) - 1)).leading_zeros();
    ((shift as usize) << (CELL_BITS - 1)) + (value >> shift) as usize
}

/// The least value of a cell.
fn value_of(cell: usize) -> u64 {
    if cell < 2 * HALF {
        return cell as u64;
    }
    let shift = cell / HALF - 1;
    ((cell % HALF + HALF) as u64) << shift
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            cells: vec![0; Hist::working().distinct_values()].into(),
            total: 0,
        }
    }
}

impl Counts {
    /// A time was measured; one beyond all cells counts as the longest that histograms are asked for.
    #[inline]
    pub fn add(&mut self, micros: u64) {
        self.add_many(micros, 1);
    }

    /// The same so many times.
    #[inline]
    pub fn add_many(&mut self, micros: u64, times: u64) {
        let cell = match cell_of(micros) {
            cell if cell < self.cells.len() => cell,
            _ => cell_of(HISTOGRAM_MAX_US),
        };
        let cell = &mut self.cells[cell];
        *cell = cell.saturating_add(u32::try_from(times).unwrap_or(u32::MAX));
        self.total += times;
    }

    /// All that others counted.
    pub fn add_all(&mut self, others: &Self) {
        if others.is_empty() {
            return;
        }
        for (cell, other) in self.cells.iter_mut().zip(&others.cells) {
            *cell = cell.saturating_add(*other);
        }
        self.total += others.total;
    }

    /// How many times were measured.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.total
    }

    /// Whether none was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Takes everything as a histogram; `scratch` is a working one, used for nothing else meanwhile.
    pub fn take(&mut self, scratch: &mut Histogram<u64>) -> Hist {
        if self.is_empty() {
            return Hist::default();
        }
        scratch.reset();
        for (index, cell) in self.cells.iter_mut().enumerate().filter(|(_, cell)| **cell > 0) {
            scratch.saturating_record_n(value_of(index), u64::from(std::mem::take(cell)));
        }
        self.total = 0;
        Hist::encode(scratch)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_cell_begins_with_its_least_value() {
        let counts = Counts::default();
        for cell in 0..counts.cells.len() {
            assert_eq!(cell_of(value_of(cell)), cell);
            assert!(cell == 0 || cell_of(value_of(cell) - 1) == cell - 1);
        }
        assert_eq!([0, 1, 255, 256, 257, 258].map(cell_of), [0, 1, 255, 256, 256, 257]);
    }

    proptest! {
        #[test]
        fn they_are_what_a_histogram_counts(values in prop::collection::vec((0u64..2 * HISTOGRAM_MAX_US, 0u32..34), 1..200)) {
            let (mut counts, mut more, mut expected) = (Counts::default(), Counts::default(), Hist::working());
            for (number, (value, shift)) in values.iter().enumerate() {
                let (value, into) = (value >> shift, if number % 3 == 0 { &mut more } else { &mut counts });
                into.add(value);
                expected.saturating_record(value);
            }
            counts.add_all(&more);
            counts.add_many(7, 1_000);
            expected.record_n(7, 1_000).unwrap();
            prop_assert_eq!(counts.len(), expected.len());
            let mut scratch = Hist::working();
            scratch.record(5).unwrap();
            prop_assert_eq!(counts.take(&mut scratch), Hist::encode(&expected));
            prop_assert!(counts.is_empty() && counts.take(&mut scratch).is_empty());
        }
    }
}
