//! The truth: when each thing really broke and really worked again, one JSON line each, flushed at once.
//! Written by the data plane when it acts; only tests read it, the harness must find out from outside.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Clock;

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// An EC2 instance.
    Instance,
    /// An Availability Zone's subnet.
    Zone,
    /// A database.
    Database,
    /// A whole Region.
    Region,
    /// The answer of a DNS record.
    Dns,
}

/// What it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TruthState {
    /// Users can no longer be served by it.
    Down,
    /// It serves.
    Up,
    /// It serves in part, or the answer changed.
    Degraded,
    /// It can survive the next loss again.
    Redundant,
    /// Acknowledged data is gone.
    Lost,
}

/// One line of the truth file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TruthLine {
    /// What changed.
    pub what: What,
    /// Its id or name.
    pub id: String,
    /// Its Region; empty for what is global.
    pub region: String,
    /// What it is now.
    pub state: TruthState,
    /// Cloud time, seconds since the Unix epoch.
    pub cloud: f64,
    /// Real time, seconds since the Unix epoch.
    pub real: f64,
    /// More about it.
    pub detail: Value,
}

/// The writer, cheap to clone; without a file it only remembers.
#[derive(Debug, Clone)]
pub struct Truth {
    clock: Clock,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    file: Option<File>,
    lines: Vec<TruthLine>,
}

/// Lines remembered in memory, a bound for labs that run for days.
const REMEMBERED: usize = 10_000;

impl Truth {
    /// A truth that writes to `path`, or nowhere.
    pub fn new(clock: Clock, path: Option<&Path>) -> std::io::Result<Self> {
        let file = path.map(File::create).transpose()?;
        Ok(Self {
            clock,
            inner: Arc::new(Mutex::new(Inner {
                file,
                lines: Vec::new(),
            })),
        })
    }

    /// Writes that something changed, now.
    pub fn write(&self, what: What, id: &str, region: &str, state: TruthState, detail: Value) {
        let now = std::time::Instant::now();
        let line = TruthLine {
            what,
            id: id.to_owned(),
            region: region.to_owned(),
            state,
            cloud: self.clock.cloud_unix_at(now),
            real: self.clock.real_unix_at(now),
            detail,
        };
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(file), Ok(mut text)) = (inner.file.as_mut(), serde_json::to_string(&line)) {
            text.push('\n');
            // A full disk must not take the lab down; the test that reads the file will miss the line and say so.
            let _ = file.write_all(text.as_bytes()).and_then(|()| file.flush());
        }
        if inner.lines.len() < REMEMBERED {
            inner.lines.push(line);
        }
    }

    /// What was written so far.
    #[must_use]
    pub fn lines(&self) -> Vec<TruthLine> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).lines.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Pace;

    #[test]
    fn each_line_is_on_disk_as_soon_as_it_is_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("truth.jsonl");
        let clock = Clock::starting_now(Pace::new(30.0).expect("a pace"));
        let truth = Truth::new(clock, Some(&path)).expect("a file");
        truth.write(
            What::Database,
            "shop-db",
            "us-east-1",
            TruthState::Lost,
            serde_json::json!({"ids": ["a"]}),
        );
        let text = std::fs::read_to_string(&path).expect("it is there");
        let line: TruthLine = serde_json::from_str(text.trim_end()).expect("one line of JSON");
        assert_eq!((line.what, line.state), (What::Database, TruthState::Lost));
        assert_eq!(line.detail["ids"][0], "a");
        assert!(text.starts_with(r#"{"what":"database","id":"shop-db","region":"us-east-1","state":"lost","cloud":"#));
        let remembered = truth.lines();
        assert_eq!((remembered.len(), &remembered[0].detail), (1, &line.detail));
    }
}
