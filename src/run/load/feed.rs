//! Who gets which row of a feeder: passes take turns, whatever shard they are in, so that no row is left out and how many
//! cores there are changes nothing. Holds no test data of its own; tables are shared by all shards.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
    /// How many turns were taken.
    taken: AtomicU64,
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
                taken: AtomicU64::new(0),
            }
        });
        Self {
            feeders: shared.collect(),
            journeys: plan.journeys.iter().map(|journey| journey.feed.clone()).collect(),
        }
    }

    /// Puts the next row of each feeder of a journey into the first values of a pass; false when one has run dry.
    #[inline]
    pub fn fill(&self, journey: usize, values: &mut Values, choices: &mut fastrand::Rng) -> bool {
        let mut number = 0;
        for feeder in &self.journeys[journey] {
            let shared = &self.feeders[*feeder];
            let Some(row) = shared.next(choices) else {
                return false;
            };
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
    /// The row whose turn it is; none where each is taken once and there are no more.
    fn next(&self, choices: &mut fastrand::Rng) -> Option<usize> {
        let rows = self.table.rows() as u64;
        // Nothing else is published with a turn.
        let turn = || self.taken.fetch_add(1, Ordering::Relaxed);
        let row = match self.order {
            RowOrder::Unique => Some(turn()).filter(|turn| *turn < rows)?,
            RowOrder::Random => choices.u64(..rows),
            RowOrder::Sequential => turn() % rows,
            RowOrder::Shuffled => u64::from(self.shuffled[(turn() % rows) as usize]),
        };
        usize::try_from(row).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feeders(order: RowOrder) -> Feeders {
        let table = Table::from_csv(b"a,b\n0,x\n1,x\n2,x\n3,x\n4,x\n").expect("a table");
        let shared = Shared {
            shuffled: vec![3, 1, 4, 0, 2],
            table: Arc::new(table),
            order,
            taken: AtomicU64::new(0),
        };
        Feeders {
            feeders: [shared].into(),
            journeys: [vec![0]].into(),
        }
    }

    /// The rows of so many passes, each made by one of two shards as `shard` says.
    fn taken(order: RowOrder, passes: usize, shard: fn(usize) -> usize) -> Vec<Vec<String>> {
        let feeders = feeders(order);
        let shards = [feeders.clone(), feeders];
        let mut choices = fastrand::Rng::with_seed(1);
        (0..passes)
            .filter_map(|pass| {
                let mut values = Values::new();
                let filled = shards[shard(pass)].fill(0, &mut values, &mut choices);
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
    fn shards_together_take_each_row_in_order_however_passes_fall_on_them() {
        for shard in [|pass| pass % 2, |_| 0, |pass| usize::from(pass % 3 == 2)] {
            assert_eq!(first(&taken(RowOrder::Sequential, 7, shard)), "0123401");
            assert_eq!(first(&taken(RowOrder::Shuffled, 7, shard)), "3140231");
            assert_eq!(first(&taken(RowOrder::Unique, 9, shard)), "01234", "then it is dry");
            let random = first(&taken(RowOrder::Random, 200, shard));
            assert!("01234".chars().all(|row| random.matches(row).count() > 20), "{random}");
            assert_eq!(taken(RowOrder::Sequential, 1, shard)[0], ["0", "x"]);
        }
    }

    #[test]
    fn threads_that_take_rows_at_once_use_each_exactly_once() {
        let feeders = feeders(RowOrder::Sequential);
        let take = || {
            let mut choices = fastrand::Rng::with_seed(1);
            let mut values = Values::new();
            let mut counts = [0; 5];
            for _ in 0..10_000 {
                assert!(feeders.fill(0, &mut values, &mut choices));
                counts[usize::from(values[0][0] - b'0')] += 1;
            }
            counts
        };
        let counts =
            std::thread::scope(|scope| [scope.spawn(take), scope.spawn(take)].map(|taken| taken.join().unwrap()));
        for row in 0..5 {
            assert_eq!(counts[0][row] + counts[1][row], 4_000, "{counts:?}");
        }
    }
}
