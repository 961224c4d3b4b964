//! Undoes what a dead run left in the world, from its journal alone.

use std::path::Path;
use std::sync::Mutex;

use super::before::Before;
use super::journal::{self, Kept, Record, RunHeader};
use super::runner::Hand;
use super::undo::undo_on_record;
use super::{ChaosError, RevertSummary, guard};
use crate::aws::{AwsError, Writer};
use crate::event::FaultId;

/// The header of a journal: where the account is that the run touched.
pub fn run_header(path: &Path) -> Result<RunHeader, ChaosError> {
    let contents = journal::read(path)?;
    header_of(&contents.records).cloned()
}

/// Faults of a journal that were to be undone before `time`, Unix seconds of the target's clock, and are not.
pub fn overdue(journal: &Kept, time: f64) -> Result<Vec<FaultId>, ChaosError> {
    let contents = journal.read()?;
    let left = still_there(&contents.records).into_iter();
    let late = left.filter(|one| one.lease.is_some_and(|lease| lease < time));
    Ok(late.map(|one| one.fault).collect())
}

/// Faults that a journal does not show reverted, in the order of their intents.
pub fn left_in_world(path: &Path) -> Result<Vec<FaultId>, ChaosError> {
    let contents = journal::read(path)?;
    let left = still_there(&contents.records).into_iter();
    Ok(left.map(|one| one.fault).collect())
}

/// Faults that a journal says were to be injected, whatever became of them.
pub fn begun(path: &Path) -> Result<Vec<FaultId>, ChaosError> {
    let contents = journal::read(path)?;
    let begun = contents.records.into_iter().filter_map(|record| match record {
        Record::Intent { fault, .. } => Some(fault),
        _ => None,
    });
    Ok(begun.collect())
}

/// Who reverts a journal unless somebody else says so.
const COMMAND: &str = "tenfold revert";

/// Undoes every chosen fault of a journal that was not reverted, the youngest first, and adds what it does to the journal.
/// Harmless when repeated.
pub async fn revert_journal(
    path: &Path,
    cloud: &Writer,
    chosen: impl Fn(&FaultId) -> bool,
) -> Result<RevertSummary, ChaosError> {
    revert_chosen(&Kept::open(path)?, cloud, COMMAND, chosen).await
}

/// As [`revert_journal`], of a journal that is open; it says who `by`.
pub async fn revert_chosen(
    kept: &Kept,
    cloud: &Writer,
    by: &str,
    chosen: impl Fn(&FaultId) -> bool,
) -> Result<RevertSummary, ChaosError> {
    let contents = kept.read()?;
    let header = header_of(&contents.records)?;
    let mut left = still_there(&contents.records);
    left.retain(|one| chosen(&one.fault));
    let mut summary = RevertSummary {
        unreadable: contents.unreadable,
        ..RevertSummary::default()
    };
    if left.is_empty() {
        return Ok(summary);
    }
    if let (Some(expected), Some(region)) = (&header.account, header.regions.first()) {
        match cloud.reader().caller(region).await {
            Ok(found) => guard::same_account(expected, &found.account).map_err(ChaosError::Refused)?,
            Err(error) => return Ok(unreached(&left, &error)),
        }
    }
    let journal = kept.reopen(&header.run).ok();
    while let Some(Open {
        fault, region, before, ..
    }) = left.pop()
    {
        let created = Mutex::new(created_by(&contents.records, &fault));
        let hand = Hand {
            cloud,
            journal: journal.as_ref(),
            pace: header.pace,
            fault: &fault,
            region: &region,
            ending: None,
            created: &created,
            refused: Mutex::default(),
            runner: None,
        };
        match undo_on_record(&hand, &before, Some(by)).await {
            Ok(()) => summary.reverted.push(fault),
            Err(left) => summary.failed.push((fault, left)),
        }
    }
    Ok(summary)
}

/// Nothing can be undone while the account cannot be reached, so every fault is told with how to undo it by hand.
fn unreached(left: &[Open], error: &AwsError) -> RevertSummary {
    let why = if error.is_transient() {
        "cannot reach AWS"
    } else {
        "AWS does not say whose account this is"
    };
    let told = left.iter().rev().map(|one| {
        let by_hand = one.before.by_hand(&one.region);
        (one.fault.clone(), format!("{why}: {error}; {by_hand}"))
    });
    RevertSummary {
        failed: told.collect(),
        ..RevertSummary::default()
    }
}

fn header_of(records: &[Record]) -> Result<&RunHeader, ChaosError> {
    let header = records.iter().find_map(|record| match record {
        Record::Run(header) => Some(header),
        _ => None,
    });
    header.ok_or_else(|| {
        ChaosError::Refused(
            "the journal does not say whose run it is\n\
             hint: what it left in the account is found with: tenfold revert --scan --target FILE"
                .to_owned(),
        )
    })
}

/// A fault that an API call must undo.
struct Open {
    fault: FaultId,
    region: String,
    before: Before,
    lease: Option<f64>,
}

/// Faults that an API call must undo, in the order of their intents.
fn still_there(records: &[Record]) -> Vec<Open> {
    let mut there: Vec<Open> = Vec::new();
    for record in records {
        match record {
            Record::Intent {
                fault,
                region,
                before,
                lease,
            } if before.is_reversible() => there.push(Open {
                fault: fault.clone(),
                region: region.clone(),
                before: before.clone(),
                lease: *lease,
            }),
            Record::Reverted { fault } => there.retain(|one| one.fault != *fault),
            _ => {}
        }
    }
    there
}

fn created_by(records: &[Record], wanted: &FaultId) -> Vec<String> {
    let created = records.iter().filter_map(|record| match record {
        Record::Created { fault, resource } if fault == wanted => Some(resource.clone()),
        _ => None,
    });
    created.collect()
}
