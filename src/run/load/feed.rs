//! Who gets which row of a feeder: every shard takes every n-th row, so that together they take each row once.
//! Holds no test data of its own; tables are shared by all shards.

use std::sync::Arc;

use super::checks::Values;
use crate::plan::{Plan, RowOrder, Table};

/// What all shards share of the feeders.
#[derive(Clone, Debug, Default)]
pub struct Feeders {
    feeders: Arc<[Shared]>,
    /// By journey: the feeders it takes rows of.
    journeys: Arc<[Vec<usize>]>,
}

#[derive(Debug)]
struct Shared {
    table: Arc<Table>,
    order: RowOrder,
    /// The order of a shuffled one.
    shuffled: Vec<u32>,
}

impl Feeders {
    /// The feeders of a plan, shuffled by its seed.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let shared = plan.feeders.iter().enumerate().map(|(number, feeder)| {
            let rows = u32::try_from(feeder.table.rows()).unwrap_or(u32::MAX);
            let mut shuffled = Vec::new();
            if feeder.order == RowOrder::Shuffled {
                shuffled.extend(0..rows);
                fastrand::Rng::with_seed(plan.seed ^ number as u64).shuffle(&mut shuffled);
            }
            Shared {
                table: Arc::clone(&feeder.table),
                order: feeder.order,
                shuffled,
            }
        });
        Self {
            feeders: shared.collect(),
            journeys: plan.journeys.iter().map(|journey| journey.feed.clone()).collect(),
        }
    }
}

/// The rows that one shard takes.
#[derive(Debug)]
pub struct Rows {
    feeders: Feeders,
    /// By feeder: the number of the next row, counted on after the last one.
    next: Vec<u64>,
    shards: u64,
}

impl Rows {
    /// Those of this shard.
    #[must_use]
    pub fn new(feeders: Feeders, shard: usize, shards: usize) -> Self {
        Self {
            next: vec![shard as u64; feeders.feeders.len()],
            feeders,
            shards: shards as u64,
        }
    }

    /// Puts the next row of each feeder of a journey into the first values of a pass; false when one has run dry.
    #[inline]
    pub fn fill(&mut self, journey: usize, values: &mut Values, choices: &mut fastrand::Rng) -> bool {
        let feeders = &self.feeders.journeys[journey];
        let mut number = 0;
        for feeder in feeders {
            let shared = &self.feeders.feeders[*feeder];
            let Some(row) = shared.row(self.next[*feeder], choices) else {
                return false;
            };
            self.next[*feeder] += self.shards;
            for cell in shared.table.row(row) {
                if values.len() <= number {
                    values.push(Vec::new());
                }
                values[number].clear();
                values[number].extend_from_slice(cell.as_bytes());
                number += 1;
            }
        }
        true
    }
}

impl Shared {
    /// The row of this number; none where each is taken once and there are no more.
    fn row(&self, number: u64, choices: &mut fastrand::Rng) -> Option<usize> {
        let rows = self.table.rows() as u64;
        let row = match self.order {
            RowOrder::Unique => (number < rows).then_some(number)?,
            RowOrder::Random => choices.u64(..rows),
            RowOrder::Sequential => number % rows,
            RowOrder::Shuffled => u64::from(self.shuffled[(number % rows) as usize]),
        };
        usize::try_from(row).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(order: RowOrder, passes: usize) -> Vec<Vec<String>> {
        let table = Table::from_csv(b"a,b\n0,x\n1,x\n2,x\n3,x\n4,x\n").expect("a table");
        let shared = Shared {
            shuffled: vec![3, 1, 4, 0, 2],
            table: Arc::new(table),
            order,
        };
        let feeders = Feeders {
            feeders: [shared].into(),
            journeys: [vec![0]].into(),
        };
        let mut choices = fastrand::Rng::with_seed(1);
        let mut shards: Vec<Rows> = (0..2).map(|shard| Rows::new(feeders.clone(), shard, 2)).collect();
        (0..passes)
            .filter_map(|pass| {
                let mut values = Values::new();
                let filled = shards[pass % 2].fill(0, &mut values, &mut choices);
                filled.then(|| {
                    values
                        .iter()
                        .map(|value| String::from_utf8_lossy(value).into_owned())
                        .collect()
                })
            })
            .collect()
    }

    fn first(rows: &[Vec<String>]) -> String {
        rows.iter().map(|row| row[0].as_str()).collect()
    }

    #[test]
    fn shards_together_take_each_row_in_order() {
        assert_eq!(first(&taken(RowOrder::Sequential, 7)), "0123401");
        assert_eq!(first(&taken(RowOrder::Shuffled, 7)), "3140231");
        assert_eq!(first(&taken(RowOrder::Unique, 9)), "01234", "then it is dry");
        let random = first(&taken(RowOrder::Random, 200));
        assert!("01234".chars().all(|row| random.matches(row).count() > 20), "{random}");
        assert_eq!(taken(RowOrder::Sequential, 1)[0], ["0", "x"]);
    }
}
