//! Which instances of a group a fault takes. The plan asks when it is made, and the runner again at the instant of the
//! fault, so that what is printed is what is hit as long as the group stays as it is.

use super::Allow;

/// Shares are read from percents, which binary fractions do not hold exactly.
const SLACK: f64 = 1e-9;

/// How many of `members` instances a share means: rounded to the nearest, at least one, and but for the one no more than
/// the target allows by share and by count.
#[must_use]
pub fn how_many(allow: &Allow, share: f64, members: usize) -> usize {
    let allowed = (members as f64 * allow.share + SLACK).floor() as usize;
    let wanted = (members as f64 * share).round() as usize;
    let most = allow
        .count
        .map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
    wanted.min(allowed).max(1).min(most)
}

/// Chooses `count` of the candidates: those of `first` before others, else by the seed and the fault's name. The same
/// candidates always give the same choice, in whatever order they are listed.
#[must_use]
pub fn choose(mut candidates: Vec<String>, first: &[String], count: usize, seed: u64, fault: &str) -> Vec<String> {
    candidates.sort();
    // FNV-1a: the standard library's hasher may change between releases.
    let hash = |state: u64, byte: u8| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let salt = fault.bytes().fold(0xcbf2_9ce4_8422_2325, hash);
    fastrand::Rng::with_seed(seed ^ salt).shuffle(&mut candidates);
    candidates.sort_by_key(|id| !first.contains(id));
    candidates.truncate(count);
    candidates.sort();
    candidates
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids(count: usize) -> Vec<String> {
        (0..count).map(|index| format!("i-{index:02}")).collect()
    }

    #[test]
    fn the_choice_depends_on_seed_and_fault_only() {
        let reversed = ids(30).into_iter().rev().collect();
        let chosen = choose(ids(30), &[], 10, 7, "instance-loss[0]");
        assert_eq!(chosen, choose(reversed, &[], 10, 7, "instance-loss[0]"));
        assert_eq!(chosen.len(), 10);
        assert_ne!(chosen, choose(ids(30), &[], 10, 8, "instance-loss[0]"));
        assert_ne!(chosen, choose(ids(30), &[], 10, 7, "instance-loss[1]"));
    }

    #[test]
    fn what_was_planned_comes_first_as_long_as_it_is_there() {
        let planned = ["i-02", "i-28", "i-77"].map(str::to_owned);
        let chosen = choose(ids(30), &planned, 3, 7, "x[0]");
        assert!(
            chosen.contains(&planned[0]) && chosen.contains(&planned[1]),
            "{chosen:?}"
        );
        assert!(!chosen.contains(&planned[2]));
        assert_eq!(choose(ids(30), &planned, 1, 7, "x[0]").len(), 1);
    }

    #[test]
    fn a_count_bounds_what_a_share_takes() {
        let limit = |count| Allow {
            count,
            ..Allow::up_to(None, 0.5)
        };
        assert_eq!(how_many(&limit(None), 0.34, 50), 17);
        assert_eq!(how_many(&limit(Some(5)), 0.34, 50), 5);
        assert_eq!(how_many(&limit(Some(5)), 0.01, 50), 1);
        assert_eq!(how_many(&limit(Some(20)), 0.34, 50), 17);
    }

    proptest! {
        #[test]
        fn a_share_never_takes_more_than_allowed_but_for_one(
            members in 1usize..60, share in 0.0f64..=1.0, limit in 0.0f64..=1.0, most in 1u64..20,
        ) {
            let allow = Allow { count: Some(most), ..Allow::up_to(None, limit) };
            let count = how_many(&allow, share, members);
            prop_assert!(count == 1 || count as f64 <= members as f64 * limit + 1e-6);
            prop_assert!(count as u64 <= most);
            let chosen = choose(ids(members), &[], count, 1, "x[0]");
            prop_assert_eq!(chosen.len(), count.min(members));
        }
    }
}
