//! What failed where: failed requests by step and kind of failure, over the whole run.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::judge::format_share;
use crate::plan::Plan;
use crate::recording::{FailureKind, Recording, StepSlice};
use crate::units::format_count;

/// The columns of [`Failures::row`].
pub(super) const COLUMNS: [&str; 4] = ["step", "failed", "of its requests", "as"];

/// Requests of one step that failed as one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failures {
    /// Step name.
    pub step: String,
    /// The kind, as a reader knows it.
    pub kind: &'static str,
    /// How many.
    pub count: u64,
    /// Of how many requests of the step that ended, well or not.
    pub of: u64,
    /// Why the first of them failed; none where the kind says it all, or a recording does not have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<String>,
}

impl Failures {
    /// All there were: steps in the order of the plan, of each the most frequent kind first.
    #[must_use]
    pub fn all(plan: &Plan, recording: &Recording) -> Vec<Self> {
        let steps = plan.steps.iter().enumerate();
        steps
            .flat_map(|(index, step)| Self::of_step(&step.name, cells(recording, index)))
            .collect()
    }

    fn of_step<'a>(name: &str, cells: impl Iterator<Item = &'a StepSlice>) -> Vec<Self> {
        let (mut of, mut kinds) = (0, BTreeMap::<FailureKind, u64>::new());
        let mut first = BTreeMap::new();
        for cell in cells {
            of += cell.ok + cell.failures();
            for (kind, count) in &cell.failed {
                *kinds.entry(*kind).or_default() += count;
            }
            for (kind, why) in &cell.why {
                first.entry(*kind).or_insert_with(|| why.clone());
            }
        }
        let failures = |(kind, count)| Self {
            step: name.to_owned(),
            kind: super::text::failure(kind),
            count,
            of,
            first: first.get(&kind).cloned(),
        };
        let mut all: Vec<Self> = kinds.into_iter().map(failures).filter(|of| of.count > 0).collect();
        all.sort_by_key(|of| std::cmp::Reverse(of.count));
        all
    }

    /// As a person reads it.
    pub(super) fn row(&self) -> [String; 4] {
        [
            self.step.clone(),
            format_count(self.count),
            format_share(self.count as f64 / self.of.max(1) as f64),
            self.kind.to_owned(),
        ]
    }
}

fn cells(recording: &Recording, step: usize) -> impl Iterator<Item = &StepSlice> {
    recording.slices.iter().filter_map(move |slice| slice.steps.get(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_summed_over_seconds_and_the_most_frequent_comes_first() {
        let cell = |ok, failed: &[(FailureKind, u64)]| StepSlice {
            ok,
            failed: failed.iter().copied().collect(),
            ..StepSlice::default()
        };
        let mut cells = [
            cell(7, &[(FailureKind::Dns, 1), (FailureKind::Status5xx, 2)]),
            cell(0, &[(FailureKind::Status5xx, 6), (FailureKind::Reset, 0)]),
        ];
        for (cell, status) in cells.iter_mut().zip(["status 500", "status 503"]) {
            cell.why.insert(FailureKind::Status5xx, status.to_owned());
        }
        let all = Failures::of_step("pay", cells.iter());
        let first: Vec<_> = all.iter().map(|of| of.first.as_deref()).collect();
        assert_eq!(first, [Some("status 500"), None]);
        let rows: Vec<_> = all.iter().map(Failures::row).collect();
        assert_eq!(rows, [["pay", "8", "50.0%", "5xx"], ["pay", "1", "6.25%", "dns"]]);
        assert_eq!(Failures::of_step("pay", [cell(9, &[])].iter()), []);
    }
}
