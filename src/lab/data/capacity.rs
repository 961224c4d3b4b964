//! How much one instance can do: a fixed number of workers, log-normal service times and a bounded queue.
//! Works on instants alone: a request is told at once when it will be done, so no task holds a worker and the
//! coarse timers of the runtime do not eat capacity.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

/// The workers of one instance.
#[derive(Debug)]
pub(crate) struct Capacity {
    /// When each worker is free again.
    free: BinaryHeap<Reverse<Instant>>,
    /// Starts of the requests that still wait; requests are served in order, so they ascend.
    waiting: VecDeque<Instant>,
    queue: usize,
    median: f64,
    sigma: f64,
    busy: Duration,
    since: Instant,
    random: fastrand::Rng,
}

impl Capacity {
    pub(crate) fn new(now: Instant, workers: u32, queue: u32, median: Duration, sigma: f64, seed: u64) -> Self {
        Self {
            free: (0..workers).map(|_| Reverse(now)).collect(),
            waiting: VecDeque::new(),
            queue: queue as usize,
            median: median.as_secs_f64(),
            sigma,
            busy: Duration::ZERO,
            since: now,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// When a request that arrives now will be done, or none where the queue is full.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<Instant> {
        while self.waiting.front().is_some_and(|start| *start <= now) {
            self.waiting.pop_front();
        }
        let service = self.service_time();
        let mut earliest = self.free.peek_mut()?;
        let start = earliest.0.max(now);
        if start > now {
            if self.waiting.len() >= self.queue {
                return None;
            }
            self.waiting.push_back(start);
        }
        let done = start + service;
        *earliest = Reverse(done);
        drop(earliest);
        self.busy += service;
        Some(done)
    }

    /// The busy share of all workers since the last call, 0 to 1.
    pub(crate) fn take_busy(&mut self, now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(self.since).as_secs_f64() * self.free.len() as f64;
        self.since = now;
        let busy = std::mem::take(&mut self.busy).as_secs_f64();
        if elapsed > 0.0 { (busy / elapsed).min(1.0) } else { 0.0 }
    }

    fn service_time(&mut self) -> Duration {
        // Box-Muller; 1 - f64() lies in (0, 1], where the logarithm is finite.
        let radius = (-2.0 * (1.0 - self.random.f64()).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * self.random.f64()).cos();
        Duration::from_secs_f64(self.median * (self.sigma * normal).exp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity(now: Instant) -> Capacity {
        Capacity::new(now, 12, 500, Duration::from_millis(6), 0.35, 3)
    }

    #[test]
    fn a_saturated_instance_completes_its_workers_over_the_mean() {
        let began = Instant::now();
        let mut capacity = capacity(began);
        let mut now = began;
        let (mut admitted, mut refused) = (0_u32, 0_u32);
        // 4,000 a second for ten seconds, about twice what it can do.
        for _ in 0..40_000 {
            now += Duration::from_micros(250);
            match capacity.admit(now) {
                Some(done) => {
                    admitted += 1;
                    assert!(done - now < Duration::from_millis(500), "the queue is bounded");
                }
                None => refused += 1,
            }
        }
        assert!((1_750..2_000).contains(&(admitted / 10)), "{admitted}");
        assert!(refused > 15_000, "{refused}");
        assert!(capacity.take_busy(now) > 0.98);
    }

    #[test]
    fn cpu_follows_the_load() {
        let began = Instant::now();
        let mut capacity = capacity(began);
        let mut now = began;
        for _ in 0..5_000 {
            now += Duration::from_millis(2);
            assert!(capacity.admit(now).is_some());
        }
        let busy = capacity.take_busy(now);
        // 500 a second at a mean of 6.38 ms on 12 workers.
        assert!((busy - 0.266).abs() < 0.02, "{busy}");
        assert!(capacity.take_busy(now + Duration::from_secs(1)) < 1e-9);
    }
}
