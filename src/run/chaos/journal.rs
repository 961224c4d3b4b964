//! The write-ahead log of injections: one JSON line per record, on disk before the act it announces.
//! What is needed to undo is in `before`. Reading tolerates the torn line that a crash leaves.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::before::Before;
use crate::clock::{from_unix, unix};
use crate::event::FaultId;
use crate::plan::Plan;
use crate::units::Pace;

/// Everything needed to reach the account again after the run died.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunHeader {
    /// Id of the run; resources that the run creates carry it as a tag.
    pub run: String,
    /// AWS endpoint override.
    pub endpoint: Option<String>,
    /// Expected account.
    pub account: Option<String>,
    /// Regions.
    pub regions: Vec<String>,
    /// Pace of the target's cloud.
    pub pace: Pace,
}

impl RunHeader {
    /// The header of a run of this plan that begins now.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let micros = (unix(SystemTime::now()) * 1e6) as u64;
        Self {
            run: format!("{micros:x}-{:x}", std::process::id()),
            endpoint: plan.target.endpoint.clone(),
            account: plan.target.account.clone(),
            regions: plan.target.regions.clone(),
            pace: plan.pace,
        }
    }
}

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "record")]
pub enum Record {
    /// The first line.
    Run(RunHeader),
    /// A fault is about to be injected. It stands for every call of the fault: the before-image names all that they
    /// touch, and how far they got is asked of the world, never of the journal.
    Intent {
        /// Which.
        fault: FaultId,
        /// Region it hits.
        region: String,
        /// What the world was like.
        before: Before,
        /// Unix seconds of the target's clock at which the run means to undo it; none for what stays until it ends.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lease: Option<f64>,
    },
    /// A call was answered.
    Call {
        /// For which fault.
        fault: FaultId,
        /// `ec2:TerminateInstances`.
        action: String,
        /// What it was about.
        detail: String,
        /// Error of the call; none when it was accepted.
        error: Option<String>,
        /// Failures of earlier attempts.
        retried: Vec<String>,
    },
    /// A resource was created that the revert must delete.
    Created {
        /// For which fault.
        fault: FaultId,
        /// Its id.
        resource: String,
    },
    /// The effect was seen.
    Observed {
        /// Which.
        fault: FaultId,
        /// What was seen.
        evidence: String,
    },
    /// Somebody else has taken it out of the world before its time.
    EndedEarly {
        /// Which.
        fault: FaultId,
        /// How that is known.
        evidence: String,
    },
    /// The revert is about to begin.
    RevertIntent {
        /// Which.
        fault: FaultId,
        /// Who reverts; none for the run itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// The revert was read back.
    Reverted {
        /// Which.
        fault: FaultId,
    },
    /// The revert failed.
    RevertFailed {
        /// Which.
        fault: FaultId,
        /// What is left.
        error: String,
    },
}

/// When a journal calls its observer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// Before a record is written.
    Before,
    /// Once it is on disk.
    After,
}

/// Told about every record; an error of its own fails the record, as a disk would.
pub type Observer = Box<dyn Fn(Moment, &Record) -> io::Result<()> + Send + Sync>;

/// A journal open for appending.
pub struct Journal {
    path: PathBuf,
    file: Mutex<File>,
    run: String,
    observer: Option<Observer>,
}

#[derive(Serialize)]
struct Line<'a> {
    at: String,
    #[serde(flatten)]
    record: &'a Record,
}

impl Journal {
    /// Starts a new journal; refuses to write over an old one, which may be needed to revert.
    pub fn create(path: &Path, header: RunHeader) -> io::Result<Self> {
        Self::begin(path, header, None)
    }

    /// As [`Journal::create`], with somebody who is told about every record, the first included. It is how tests end
    /// the process, or fill the disk, at any point of a run.
    pub fn observed(path: &Path, header: RunHeader, observer: Observer) -> io::Result<Self> {
        Self::begin(path, header, Some(observer))
    }

    fn begin(path: &Path, header: RunHeader, observer: Option<Observer>) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create_new(true).open(path)?;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
        let journal = Self {
            path: path.to_owned(),
            file: Mutex::new(file),
            run: header.run.clone(),
            observer,
        };
        journal.append(&Record::Run(header))?;
        Ok(journal)
    }

    /// Id of the run.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a record and waits until it is on disk. It blocks for a few milliseconds: the act that follows must
    /// not overtake it. An intent counts only where somebody else would find it.
    pub fn append(&self, record: &Record) -> io::Result<()> {
        let announces = matches!(record, Record::Intent { .. });
        if announces {
            self.is_found()?;
        }
        self.tell(Moment::Before, record)?;
        self.write(record)?;
        if announces {
            self.is_found()?;
        }
        self.tell(Moment::After, record)
    }

    /// Fails where its path does not lead to it any more: what is written then goes with this process.
    fn is_found(&self) -> io::Result<()> {
        let written = self.file.lock().unwrap_or_else(PoisonError::into_inner).metadata()?;
        let found = std::fs::metadata(&self.path).ok();
        if found.is_some_and(|found| (found.dev(), found.ino()) == (written.dev(), written.ino())) {
            return Ok(());
        }
        let path = self.path.display();
        Err(io::Error::other(format!(
            "{path} was deleted or moved, so nobody could undo what it announces"
        )))
    }

    fn tell(&self, moment: Moment, record: &Record) -> io::Result<()> {
        self.observer
            .as_ref()
            .map_or(Ok(()), |observer| observer(moment, record))
    }

    fn write(&self, record: &Record) -> io::Result<()> {
        let at = jiff::Timestamp::try_from(SystemTime::now()).map(|time| time.to_string());
        let line = Line {
            at: at.unwrap_or_default(),
            record,
        };
        let mut text = serde_json::to_string(&line)?;
        text.push('\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let before = file.metadata()?.len();
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_data());
        if written.is_err() {
            take_back(&mut file, before, text.len());
        }
        written
    }
}

/// Takes a record back whose writing has failed, for a part of it would spoil the one that comes next; as long as nobody
/// else has added to the journal, which who reverts may.
fn take_back(file: &mut File, before: u64, length: usize) {
    let now = file.metadata().map_or(u64::MAX, |found| found.len());
    if now > before && (now > before + length as u64 || file.set_len(before).is_err()) {
        // A full disk takes no more, but one that has recovered does.
        let _ = file.write_all(b"\n");
    }
}

/// What a journal holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    /// Records in order.
    pub records: Vec<Record>,
    /// Lines that nobody can read. A line that a crash tore is none of them: what it was to announce has not happened.
    pub unreadable: usize,
}

/// Another process's journal, kept open: it can be read and gone on with when nothing leads to it any more.
#[derive(Debug)]
pub struct Kept {
    path: PathBuf,
    file: File,
}

impl Kept {
    /// Opens one that is there; one that may not be written can still be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let opened = OpenOptions::new().read(true).append(true).open(path);
        Ok(Self {
            path: path.to_owned(),
            file: opened.or_else(|_| File::open(path))?,
        })
    }

    /// What it holds by now.
    pub fn read(&self) -> io::Result<Contents> {
        let mut bytes = Vec::new();
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))?;
        file.read_to_end(&mut bytes)?;
        Ok(contents(&bytes))
    }

    /// Goes on with it where the run is dead; a torn last line is closed off first.
    pub fn reopen(&self, run: &str) -> io::Result<Journal> {
        let mut file = self.file.try_clone()?;
        if file.metadata()?.len() > 0 {
            let mut last = [0u8];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        }
        Ok(Journal {
            path: self.path.clone(),
            file: Mutex::new(file),
            run: run.to_owned(),
            observer: None,
        })
    }
}

/// Reads a journal, leaving out lines that a crash tore and counting those that nobody can read.
pub fn read(path: &Path) -> io::Result<Contents> {
    Ok(contents(&std::fs::read(path)?))
}

fn contents(bytes: &[u8]) -> Contents {
    let mut contents = Contents::default();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let ended = line.strip_suffix(b"\n");
        match serde_json::from_slice(ended.unwrap_or(line)) {
            Ok(record) => contents.records.push(record),
            Err(_) if ended.is_none() => {}
            // Who goes on with a torn line ends it first.
            Err(error) if error.is_eof() => {}
            Err(_) => contents.unreadable += 1,
        }
    }
    contents
}

/// A time of the target's clock as AWS writes it.
pub(super) fn timestamp(unix_seconds: f64) -> String {
    jiff::Timestamp::try_from(from_unix(unix_seconds.round()))
        .map(|time| time.to_string())
        .unwrap_or_default()
}

/// Unix seconds of a time that [`timestamp`] wrote.
pub(super) fn unix_of(text: &str) -> Option<f64> {
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(time.as_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::chaos::before::{NetworkBefore, SubnetBefore};

    fn header() -> RunHeader {
        RunHeader {
            run: "r1".to_owned(),
            endpoint: None,
            account: None,
            regions: vec!["us-east-1".to_owned()],
            pace: Pace::REAL,
        }
    }

    fn intent(index: usize) -> Record {
        Record::Intent {
            fault: FaultId {
                experiment: "blackout".to_owned(),
                index,
            },
            region: "us-east-1".to_owned(),
            before: Before::NetworkDenyRegion(NetworkBefore {
                run: "r1".to_owned(),
                subnets: vec![SubnetBefore {
                    subnet: "subnet-1".to_owned(),
                    vpc: "vpc-1".to_owned(),
                    association: "aclassoc-1".to_owned(),
                    network_acl: "acl-1".to_owned(),
                }],
            }),
            lease: None,
        }
    }

    #[test]
    fn every_prefix_of_a_journal_reads_as_its_whole_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let journal = Journal::create(&path, header()).unwrap();
        for index in 0..3 {
            journal.append(&intent(index)).unwrap();
        }
        let whole = read(&path).unwrap();
        assert_eq!((whole.records.len(), whole.unreadable), (4, 0));
        assert_eq!(whole.records[3], intent(2));
        let bytes = std::fs::read(&path).unwrap();
        let torn = folder.path().join("torn.jsonl");
        for cut in 0..bytes.len() {
            std::fs::write(&torn, &bytes[..cut]).unwrap();
            let contents = read(&torn).unwrap();
            let lines = bytes[..cut].iter().filter(|byte| **byte == b'\n').count();
            assert!(
                contents.records.len() >= lines && contents.unreadable == 0,
                "cut at {cut}"
            );
            assert_eq!(contents.records[..], whole.records[..contents.records.len()]);
        }
    }

    #[test]
    fn a_torn_line_does_not_swallow_what_is_appended_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        Journal::create(&path, header()).unwrap().append(&intent(0)).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
        let kept = Kept::open(&path).unwrap();
        kept.reopen("r1").unwrap().append(&intent(1)).unwrap();
        let contents = read(&path).unwrap();
        assert_eq!(contents.unreadable, 0);
        assert_eq!(contents.records, vec![Record::Run(header()), intent(1)]);
    }

    #[test]
    fn a_record_that_was_written_in_part_is_taken_back_and_what_nobody_can_read_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let journal = Journal::create(&path, header()).unwrap();
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        let before = file.metadata().unwrap().len();
        file.write_all(b"{\"at\":\"20").unwrap();
        take_back(&mut file, before, 300);
        journal.append(&intent(0)).unwrap();
        let whole = read(&path).unwrap();
        assert_eq!((whole.records.len(), whole.unreadable), (2, 0));

        // Somebody else has written meanwhile: nothing is taken away, and the part stays by itself.
        let before = file.metadata().unwrap().len();
        file.write_all(b"{\"at\":\"20").unwrap();
        take_back(&mut file, before, 5);
        journal.append(&intent(1)).unwrap();
        let whole = read(&path).unwrap();
        assert_eq!((whole.records.len(), whole.unreadable), (3, 0));

        file.write_all(b"{\"at\":\"20{\"at\":1}\n").unwrap();
        assert_eq!(read(&path).unwrap().unreadable, 1);
    }

    #[test]
    fn an_old_journal_is_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        Journal::create(&path, header()).unwrap();
        assert!(Journal::create(&path, header()).is_err());
    }

    #[test]
    fn an_intent_that_nobody_would_find_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let journal = Journal::create(&path, header()).unwrap();
        journal.append(&intent(0)).unwrap();
        let kept = Kept::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let refused = journal.append(&intent(1)).expect_err("it is gone");
        assert!(refused.to_string().contains("was deleted or moved"), "{refused}");
        // Another file in its place is not it.
        std::fs::write(&path, "").unwrap();
        assert!(journal.append(&intent(1)).is_err());
        // What undoes is written down as far as it can be, and read by whoever had it open.
        let fault = FaultId {
            experiment: "blackout".to_owned(),
            index: 0,
        };
        let reverted = Record::Reverted { fault };
        journal.append(&reverted).unwrap();
        let records = kept.read().unwrap().records;
        assert_eq!(records, vec![Record::Run(header()), intent(0), reverted]);
        assert_eq!(kept.read().unwrap().records.len(), 3, "it is read again from its start");
    }
}
