//! What must hold before anything is touched. Pure: facts in, a refusal in words out.

use std::collections::BTreeSet;

use crate::aws::Tags;
use crate::plan::{Allow, TargetPlan};

/// Why something must not be touched.
pub type Refusal = String;

/// The credentials belong to the account the target names.
pub fn account(target: &TargetPlan, found: &str) -> Result<(), Refusal> {
    match &target.account {
        Some(expected) => same_account(expected, found),
        None => Err("the target names no account, so nothing in it may be broken".to_owned()),
    }
}

/// Both are the same account.
pub fn same_account(expected: &str, found: &str) -> Result<(), Refusal> {
    if expected == found {
        Ok(())
    } else {
        Err(format!(
            "the credentials belong to account {found}, the target is {expected}"
        ))
    }
}

/// The Region belongs to the target.
pub fn region(target: &TargetPlan, region: &str) -> Result<(), Refusal> {
    if target.regions.iter().any(|known| known == region) {
        Ok(())
    } else {
        Err(format!("Region {region} does not belong to the target"))
    }
}

/// The resource carries the tag that allows chaos; with no tag demanded, everything named by role may be touched.
pub fn tagged(allow: Option<&Allow>, what: &str, tags: &Tags) -> Result<(), Refusal> {
    let Some(allow) = allow else {
        return Err(format!(
            "the target allows nothing to be touched, so {what} is left alone"
        ));
    };
    match &allow.tag {
        Some((key, value)) if tags.get(key) != Some(value) => Err(format!("{what} is not tagged {key}={value}")),
        _ => Ok(()),
    }
}

/// How many of `members` instances a fault with this share takes: rounded to the nearest, at least one, never more
/// than the target allows (but for the one), never the last.
pub fn victims(allow: Option<&Allow>, share: f64, members: usize) -> Result<usize, Refusal> {
    let limit = allow.map_or(0.0, |allow| allow.share);
    if share > limit + 1e-9 {
        return Err(format!(
            "a share of {:.1}% is more than the {:.1}% that the target allows",
            share * 100.0,
            limit * 100.0
        ));
    }
    let allowed = (members as f64 * limit + 1e-9).floor() as usize;
    let wanted = (members as f64 * share).round() as usize;
    let count = wanted.min(allowed).max(1);
    if count < members {
        Ok(count)
    } else {
        Err(format!(
            "it would take {count} of {members} instances in service, the last one included"
        ))
    }
}

/// Another Region of the target stays in the world.
pub fn another_region(target: &TargetPlan, region: &str, cut: &BTreeSet<String>) -> Result<(), Refusal> {
    let left = target
        .regions
        .iter()
        .any(|other| other != region && !cut.contains(other));
    if left {
        Ok(())
    } else {
        Err(format!("{region} is the last Region of the target that is not cut off"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "111122223333";

    fn target() -> TargetPlan {
        let entry = TargetPlan::entry("test".to_owned(), "http".to_owned(), "shop.example.com".to_owned(), 80);
        TargetPlan {
            account: Some(ACCOUNT.to_owned()),
            regions: vec!["us-east-1".to_owned(), "eu-west-1".to_owned()],
            ..entry
        }
    }

    fn allow(share: f64) -> Allow {
        Allow {
            tag: Some(("chaos".to_owned(), "allowed".to_owned())),
            share,
        }
    }

    #[test]
    fn the_account_and_the_region_must_be_the_targets() {
        let mut target = target();
        assert!(account(&target, ACCOUNT).is_ok());
        assert!(account(&target, "999999999999").is_err());
        target.account = None;
        assert!(account(&target, ACCOUNT).is_err());
        assert!(region(&target, "us-east-1").is_ok());
        assert!(region(&target, "ap-south-1").is_err());
    }

    #[test]
    fn a_share_never_takes_more_than_allowed_nor_the_last_instance() {
        let cases = [
            (1.0 / 3.0, 3, Some(1)),
            (1.0 / 3.0, 4, Some(1)),
            (1.0 / 3.0, 5, Some(1)), // nearest would be 2, which is 40 %
            (1.0 / 3.0, 6, Some(2)),
            (0.34, 12, Some(4)),
            (0.01, 2, Some(1)),
            (0.34, 1, None),
            (0.34, 0, None),
            (0.5, 10, None),
        ];
        for (share, members, expected) in cases {
            assert_eq!(
                victims(Some(&allow(0.34)), share, members).ok(),
                expected,
                "{share} of {members}"
            );
        }
        assert!(victims(None, 0.1, 10).is_err());
    }

    #[test]
    fn only_what_is_tagged_may_be_touched() {
        let tags = |value: &str| Tags::from([("chaos".to_owned(), value.to_owned())]);
        assert!(tagged(Some(&allow(1.0)), "i-1", &tags("allowed")).is_ok());
        assert!(tagged(Some(&allow(1.0)), "i-1", &tags("never")).is_err());
        assert!(tagged(Some(&allow(1.0)), "i-1", &Tags::new()).is_err());
        assert!(tagged(None, "i-1", &tags("allowed")).is_err());
        let untagged = Allow { tag: None, share: 1.0 };
        assert!(tagged(Some(&untagged), "i-1", &Tags::new()).is_ok());
    }

    #[test]
    fn the_last_region_stays() {
        let mut target = target();
        let cut = BTreeSet::from(["eu-west-1".to_owned()]);
        assert!(another_region(&target, "us-east-1", &BTreeSet::new()).is_ok());
        assert!(another_region(&target, "us-east-1", &cut).is_err());
        target.regions.truncate(1);
        assert!(another_region(&target, "us-east-1", &BTreeSet::new()).is_err());
    }
}
