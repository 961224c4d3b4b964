//! An instance's disk as its application feels it: a write waits while I/O is paused, and takes longer while it is slow.
//! Keeps nothing: what the application writes is a line of its log. What it reads is in memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

/// How I/O goes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct DiskIo {
    /// It does not go at all.
    pub paused: bool,
    /// How many writes in a hundred take longer.
    pub slow_percent: f64,
    /// By how much; real time, since it is a latency.
    pub slower_by: Duration,
}

impl DiskIo {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        *self == Self::default()
    }
}

/// One disk.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    io: watch::Sender<DiskIo>,
    writes: AtomicU64,
}

impl Disk {
    pub(crate) fn set(&self, io: DiskIo) {
        self.io.send_replace(io);
    }

    /// One write; ends when it is on the disk.
    pub(crate) async fn write(&self) {
        if self.io.borrow().is_sound() {
            return;
        }
        let mut state = self.io.subscribe();
        let Ok(io) = state.wait_for(|io| !io.paused).await.map(|io| *io) else {
            return;
        };
        let write = self.writes.fetch_add(1, Ordering::Relaxed);
        // So many in a hundred, evenly: no draw, so that a lab of one seed goes the same way with and without it.
        let slow = |writes: u64| (writes as f64 * io.slow_percent / 100.0).floor();
        if slow(write + 1) > slow(write) {
            tokio::time::sleep(io.slower_by).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_write_waits_while_it_is_paused() {
        let disk = Arc::new(Disk::default());
        disk.write().await;
        disk.set(DiskIo {
            paused: true,
            ..DiskIo::default()
        });
        let (waiting, began) = (Arc::clone(&disk), Instant::now());
        let written = tokio::spawn(async move { waiting.write().await });
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert!(!written.is_finished());
        disk.set(DiskIo::default());
        written.await.expect("it is written");
        assert!(began.elapsed() >= Duration::from_millis(30));
    }

    #[tokio::test]
    async fn so_many_writes_in_a_hundred_are_slow() {
        let disk = Disk::default();
        let by = Duration::from_millis(5);
        disk.set(DiskIo {
            paused: false,
            slow_percent: 25.0,
            slower_by: by,
        });
        let mut slow = 0;
        for _ in 0..40 {
            let began = Instant::now();
            disk.write().await;
            slow += usize::from(began.elapsed() >= by);
        }
        // A busy machine may make another one as slow.
        assert!((10..15).contains(&slow), "{slow}");
    }
}
