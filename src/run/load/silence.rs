//! How long somebody says nothing who has something to say now and then: a stream of events, or a server in a session of
//! WebSocket in which its user stays. Measures, and says when it has been too long; waits for nothing itself.

use std::time::Duration;

use tokio::time::Instant;

use super::measure::Gaps;

/// The silences of one exchange.
pub struct Silence {
    gaps: Gaps,
    max: Option<Duration>,
    /// Since when; none before it has begun.
    since: Option<Instant>,
    longest: Duration,
}

impl Silence {
    /// None has begun; one of more than `max` is too long.
    #[must_use]
    pub fn new(gaps: Gaps, max: Option<Duration>) -> Self {
        Self {
            gaps,
            max,
            since: None,
            longest: Duration::ZERO,
        }
    }

    /// From now on something may come.
    pub fn begin(&mut self) {
        self.since = Some(Instant::now());
    }

    /// Something has come, and the next silence begins.
    pub fn ends(&mut self) {
        let now = Instant::now();
        if let Some(since) = self.since.replace(now) {
            let gap = now - since;
            self.longest = self.longest.max(gap);
            self.gaps.record(gap);
        }
    }

    /// When the one that lasts is too long.
    #[must_use]
    pub fn too_long_at(&self) -> Option<Instant> {
        self.since?.checked_add(self.max?)
    }

    /// One that has ended was too long.
    #[must_use]
    pub fn was_too_long(&self) -> bool {
        self.max.is_some_and(|max| self.longest > max)
    }
}

/// Whoever leaves, or is left, does not learn when something would have come: only that the silence was as long as this.
/// It counts where that is the longest already, so that a stream that stalls shows and one that is left in the middle of
/// a beat does not look faster.
impl Drop for Silence {
    fn drop(&mut self) {
        let lasts = self.since.map(|since| since.elapsed());
        if let Some(lasts) = lasts.filter(|lasts| *lasts > self.longest) {
            self.gaps.record(lasts);
        }
    }
}
