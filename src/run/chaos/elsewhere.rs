//! What another process has begun to undo of a run that goes on: its watchdog, or `tenfold revert`. Both say so in the
//! run's journal before they touch anything, so the run reads that again.

use std::path::Path;

use serde::Deserialize;

use super::journal::Record;
use crate::event::FaultId;

/// A revert that is not the run's own.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Elsewhere {
    /// Unix seconds of real time at which it began.
    pub(super) at: f64,
    /// Who made it.
    pub(super) by: String,
}

#[derive(Deserialize)]
struct Dated {
    at: String,
    #[serde(flatten)]
    record: Record,
}

/// The first revert of a fault by another process; none too where the journal cannot be read, which whoever needs it next
/// says.
pub(super) fn reverted(journal: &Path, wanted: &FaultId) -> Option<Elsewhere> {
    let text = std::fs::read(journal).ok()?;
    let mut lines = text.split(|byte| *byte == b'\n');
    lines.find_map(|line| {
        let Dated { at, record } = serde_json::from_slice(line).ok()?;
        match record {
            Record::RevertIntent { fault, by: Some(by) } if fault == *wanted => {
                let at = at.parse::<jiff::Timestamp>().ok()?.as_millisecond() as f64 / 1e3;
                Some(Elsewhere { at, by })
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::chaos::journal::{Journal, RunHeader};
    use crate::units::Pace;

    #[test]
    fn only_what_another_process_reverts_is_told_with_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let header = RunHeader {
            run: "r1".to_owned(),
            endpoint: None,
            account: None,
            regions: Vec::new(),
            pace: Pace::REAL,
        };
        let journal = Journal::create(&path, header).unwrap();
        let fault = |index| FaultId {
            experiment: "x".to_owned(),
            index,
        };
        let reverts = |index, by: Option<&str>| {
            let (fault, by) = (fault(index), by.map(str::to_owned));
            journal.append(&Record::RevertIntent { fault, by }).unwrap();
        };
        reverts(0, None);
        reverts(1, Some("the watchdog"));
        reverts(0, Some("tenfold revert"));
        assert_eq!(reverted(&path, &fault(2)), None);
        let first = reverted(&path, &fault(0)).unwrap();
        assert_eq!(first.by, "tenfold revert");
        let now = jiff::Timestamp::now().as_millisecond() as f64 / 1e3;
        assert!((now - first.at).abs() < 60.0, "{first:?} at {now}");
        assert_eq!(reverted(&path, &fault(1)).unwrap().by, "the watchdog");
        assert_eq!(reverted(&folder.path().join("none"), &fault(1)), None);
    }
}
