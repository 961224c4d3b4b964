//! Working counters of one step, group or class of clients within a second. Holds no rule of when a second ends.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::super::counts::Counts;
use super::Finished;
use crate::recording::{ClassSlice, FailureKind, Hist, StepSlice};

/// What one step or group measured since the second began.
#[derive(Default)]
pub(super) struct WorkingStep {
    ok: u64,
    failed: [u64; FailureKind::ALL.len()],
    latency_ok: Counts,
    latency_failed: Counts,
    service_time: Counts,
    lag: Counts,
    /// Only of those that waited; how many did not is known from the count of all.
    blocked: Counts,
    first_byte: Counts,
    /// None until the step is a stream that is read.
    gaps: Option<Gaps>,
}

/// How long the streams of one step were silent: shared with those who read them, who may do so for hours.
#[derive(Clone)]
pub struct Gaps(Rc<RefCell<Histogram<u64>>>);

impl Gaps {
    /// A silence is over.
    pub fn record(&self, silence: Duration) {
        let micros = u64::try_from(silence.as_micros()).unwrap_or(u64::MAX);
        self.0.borrow_mut().saturating_record(micros);
    }
}

impl WorkingStep {
    #[inline]
    pub(super) fn started(&mut self, lag_us: u64) {
        self.lag.add(lag_us.max(1));
    }

    #[inline]
    pub(super) fn finished(&mut self, request: &Finished) {
        let since = |from: u64| request.finished_us.saturating_sub(from);
        self.outcome(since(request.intended_us), request.failure);
        // Whoever gave up before it was his turn was served for no time, which is not a short one.
        if request.failure.is_none() || request.served_from_us < request.finished_us {
            self.service_time.add(since(request.served_from_us).max(1));
        }
        let blocked = request.served_from_us.saturating_sub(request.started_us);
        if blocked > 0 {
            self.blocked.add(blocked);
        }
        if let Some(first_byte) = request.first_byte {
            self.first_byte.add(first_byte.max(1));
        }
    }

    /// Something is over, of which no more is known than this.
    #[inline]
    pub(super) fn outcome(&mut self, latency_us: u64, failure: Option<FailureKind>) {
        match failure {
            None => {
                self.ok += 1;
                self.latency_ok.add(latency_us.max(1));
            }
            Some(kind) => {
                self.failed[kind as usize] += 1;
                self.latency_failed.add(latency_us.max(1));
            }
        }
    }

    pub(super) fn gaps(&mut self) -> Gaps {
        let none = || Gaps(Rc::new(RefCell::new(Hist::working())));
        self.gaps.get_or_insert_with(none).clone()
    }

    pub(super) fn is_dirty(&self) -> bool {
        let gaps = self.gaps.as_ref().is_some_and(|Gaps(gaps)| !gaps.borrow().is_empty());
        let ended = !self.latency_ok.is_empty() || !self.latency_failed.is_empty();
        ended || !self.lag.is_empty() || gaps
    }

    /// A group waits for no connection; its requests do.
    pub(super) fn take_group(&mut self, scratch: &mut Histogram<u64>) -> StepSlice {
        StepSlice {
            blocked: Hist::default(),
            ..self.take(scratch)
        }
    }

    /// Takes the second; `scratch` is a working histogram, used for nothing else meanwhile.
    pub(super) fn take(&mut self, scratch: &mut Histogram<u64>) -> StepSlice {
        let failed = FailureKind::ALL
            .into_iter()
            .zip(std::mem::take(&mut self.failed))
            .filter(|(_, count)| *count > 0);
        let failed: BTreeMap<FailureKind, u64> = failed.collect();
        // Most requests wait for no connection, so they are not recorded one by one.
        let finished = self.ok + failed.values().sum::<u64>();
        self.blocked.add_many(0, finished - self.blocked.len());
        // One of successes becomes one of all; where nothing failed they are the same.
        self.latency_ok.add_all(&self.latency_failed);
        StepSlice {
            ok: std::mem::take(&mut self.ok),
            failed,
            why: BTreeMap::new(),
            latency: self.latency_ok.take(scratch),
            latency_failed: self.latency_failed.take(scratch),
            service_time: self.service_time.take(scratch),
            lag: self.lag.take(scratch),
            blocked: self.blocked.take(scratch),
            first_byte: self.first_byte.take(scratch),
            gaps: match &self.gaps {
                Some(Gaps(gaps)) => take(&mut gaps.borrow_mut()),
                None => Hist::default(),
            },
        }
    }
}

/// What one class of clients did since the second began.
#[derive(Clone, Copy, Default)]
pub(super) struct WorkingClass {
    pub(super) intended: u64,
    pub(super) dropped: u64,
    pub(super) retries: u64,
    pub(super) ok: u64,
    pub(super) failed: u64,
}

impl WorkingClass {
    pub(super) fn take(&mut self) -> ClassSlice {
        let Self {
            intended,
            dropped,
            retries,
            ok,
            failed,
        } = std::mem::take(self);
        ClassSlice {
            intended,
            dropped,
            retries,
            ok,
            failed,
            ..ClassSlice::default()
        }
    }
}

/// Takes what a histogram recorded.
pub(super) fn take(histogram: &mut Histogram<u64>) -> Hist {
    let hist = Hist::encode(histogram);
    if !hist.is_empty() {
        histogram.reset();
    }
    hist
}
