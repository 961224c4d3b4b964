//! What became of the requests for tokens, in words: they are no requests of the load, and count nowhere else.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::recording::{Hist, Recording, TokenAccount};
use crate::units::{format_count, format_duration, seconds};

/// The requests for tokens of one client.
#[derive(Clone, Debug, Serialize)]
pub struct TokenSummary {
    /// Where it asked.
    pub token_url: String,
    /// Requests.
    pub asked: u64,
    /// Those that brought no token, by what came instead.
    pub failed: BTreeMap<String, u64>,
    /// The slowest, real time.
    #[serde(with = "seconds")]
    pub slowest: Duration,
    /// How long users went on with a token that was over, real time, all tokens together.
    #[serde(with = "seconds")]
    pub expired: Duration,
}

impl TokenSummary {
    /// Of every client of a run.
    #[must_use]
    pub fn all(recording: &Recording) -> Vec<Self> {
        recording.tokens.iter().map(Self::of).collect()
    }

    fn of(account: &TokenAccount) -> Self {
        let mut took = Hist::working();
        // A damaged histogram is told where those of requests are read.
        let _ = account.took.add_to(&mut took);
        Self {
            token_url: account.token_url.clone(),
            asked: account.asked,
            failed: account.failed.clone(),
            slowest: Duration::from_micros(if took.is_empty() { 0 } else { took.max() }),
            expired: account.expired,
        }
    }

    /// All of it in a line.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = format!(
            "{} asked for from {}, the slowest in {}",
            format_count(self.asked),
            self.token_url,
            format_duration(self.slowest)
        );
        let failed: Vec<String> = self
            .failed
            .iter()
            .map(|(why, count)| format!("{} {why}", format_count(*count)))
            .collect();
        if !failed.is_empty() {
            let _ = write!(line, "; failed: {}", failed.join(", "));
        }
        if !self.expired.is_zero() {
            let _ = write!(
                line,
                "; users sent a token that was over for {}, for no other came",
                format_duration(self.expired)
            );
        }
        line
    }
}
