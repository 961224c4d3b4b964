//! Which class of clients a user belongs to. Its number alone decides, so that any number of shards makes the same
//! users and nothing is kept for each of them.

use crate::plan::ClassPlan;

/// The golden ratio's fraction of 2^64: its multiples spread so evenly that shares hold among few users too.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The classes of a run as parts of a circle.
#[derive(Clone, Debug)]
pub struct Classes {
    /// Where each part but the last one ends.
    ends: Box<[u64]>,
}

impl Classes {
    /// Parts in proportion to the shares.
    #[must_use]
    pub fn new(classes: &[ClassPlan]) -> Self {
        let shares = classes.iter().take(classes.len().saturating_sub(1));
        let ends = shares.scan(0.0, |end, class| {
            *end += class.share;
            // A float beyond the range becomes its end.
            Some((*end * 2f64.powi(64)) as u64)
        });
        Self { ends: ends.collect() }
    }

    /// The index of the class that the user, or the arrival, of this number belongs to.
    #[must_use]
    #[inline]
    pub fn of(&self, number: u64) -> u8 {
        let point = number.wrapping_mul(GOLDEN);
        self.ends.partition_point(|end| *end <= point) as u8
    }

    /// How many of so many arrivals in a row belong to each class.
    pub fn split(&self, arrivals: u64) -> impl Iterator<Item = u64> {
        let within = move |end: &u64| ((u128::from(arrivals) * u128::from(*end)) >> 64) as u64;
        let ends = self.ends.iter().map(within).chain([arrivals]);
        ends.scan(0, |before, end| Some(end - std::mem::replace(before, end)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::DnsPolicy;

    fn classes(shares: &[f64]) -> Classes {
        let class = |share: &f64| ClassPlan::example("", *share, DnsPolicy::Pin);
        Classes::new(&shares.iter().map(class).collect::<Vec<_>>())
    }

    fn counts(classes: &Classes, numbers: impl Iterator<Item = u64>) -> [i64; 3] {
        let mut counts = [0; 3];
        numbers.for_each(|number| counts[usize::from(classes.of(number))] += 1);
        counts
    }

    #[test]
    fn shares_hold_among_few_users_too() {
        let classes = classes(&[0.7, 0.25, 0.05]);
        for users in [20, 100, 1_000, 100_000] {
            let counted = counts(&classes, 0..users);
            for (counted, share) in counted.iter().zip([0.7, 0.25, 0.05]) {
                let wanted = (users as f64 * share) as i64;
                assert!((counted - wanted).abs() <= 3, "{users} users: {counted} of {wanted}");
            }
        }
    }

    #[test]
    fn many_arrivals_are_split_as_one_by_one() {
        let classes = classes(&[0.7, 0.25, 0.05]);
        for arrivals in [0, 1, 1_000, 100_001] {
            let split: Vec<u64> = classes.split(arrivals).collect();
            assert_eq!(split.iter().sum::<u64>(), arrivals);
            for (split, counted) in split.iter().zip(counts(&classes, 0..arrivals)) {
                assert!(
                    (*split as i64 - counted).abs() <= 3,
                    "{arrivals}: {split} and not {counted}"
                );
            }
        }
        assert_eq!(self::classes(&[]).split(7).collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn one_class_has_everyone_and_so_may_the_last_of_several() {
        for number in [0, 1, 77, u64::MAX] {
            assert_eq!(classes(&[1.0]).of(number), 0);
            assert_eq!(classes(&[]).of(number), 0);
            assert_eq!(classes(&[1e-30, 1.0]).of(number), 1);
        }
    }
}
