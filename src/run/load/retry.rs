//! Requests that failed and are tried again: who, when, and how many at most.
//! Holds passes that wait for their next attempt; sends nothing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::share;
use crate::plan::{ClassPlan, Retries, RetryOn};
use crate::recording::FailureKind;
use crate::units::Pace;

/// Retries a budget allows before it has been earned, all shards together, so that a client's first failure can be tried
/// again; one of nothing allows none.
const TOKENS_FIRST: usize = 10;
/// What a budget can save up at most, all shards together.
const TOKENS_MAX: usize = 100;

/// The retries of one shard.
#[derive(Debug, Default)]
pub struct Retrying {
    /// By class of clients; empty where none tries again.
    how: Box<[Option<How>]>,
    waiting: BinaryHeap<Reverse<(u64, u32)>>,
}

#[derive(Debug)]
struct How {
    retries: Retries,
    base_us: u64,
    cap_us: u64,
    tokens: f64,
    tokens_max: f64,
}

/// A failed attempt.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// The class of its client.
    pub class: u8,
    /// How many were made, this one included.
    pub made: u32,
    /// Why it failed.
    pub kind: FailureKind,
    /// Its status, zero without an answer.
    pub status: u16,
    /// Sending it again changes nothing.
    pub idempotent: bool,
}

impl Retrying {
    /// As each of the plan's classes of clients does it, with a shard's share of their budgets.
    #[must_use]
    pub fn new(classes: &[ClassPlan], pace: Pace, shard: usize, shards: usize) -> Self {
        let how = |retries: &Retries| How {
            base_us: pace.patience(retries.base).as_micros() as u64,
            cap_us: pace.patience(retries.cap).as_micros() as u64,
            tokens: match retries.budget {
                Some(0.0) => 0.0,
                _ => share(TOKENS_FIRST, shard, shards) as f64,
            },
            // Less than one would never be enough for one.
            tokens_max: share(TOKENS_MAX, shard, shards).max(1) as f64,
            retries: retries.clone(),
        };
        let any = classes.iter().any(|class| class.retries.is_some());
        let of = classes.iter().filter(|_| any);
        Self {
            how: of.map(|class| class.retries.as_ref().map(how)).collect(),
            waiting: BinaryHeap::new(),
        }
    }

    /// A request is made for the first time; its share of the budget is earned.
    #[inline]
    pub fn earn(&mut self, class: u8) {
        if let Some(Some(how)) = self.how.get_mut(usize::from(class))
            && let Some(share) = how.retries.budget
        {
            how.tokens = (how.tokens + share).min(how.tokens_max);
        }
    }

    /// How long to wait before the next attempt, microseconds; none when there is to be none.
    pub fn wait_us(&mut self, attempt: &Attempt, choices: &mut fastrand::Rng) -> Option<u64> {
        let how = self.how.get_mut(usize::from(attempt.class))?.as_mut()?;
        let retries = &how.retries;
        let may = attempt.made < retries.attempts
            && (attempt.idempotent || retries.non_idempotent)
            && retries.on.iter().any(|on| covers(*on, attempt));
        if !may {
            return None;
        }
        if retries.budget.is_some() {
            if how.tokens < 1.0 {
                return None;
            }
            how.tokens -= 1.0;
        }
        let doubled = how.base_us.saturating_mul(1 << (attempt.made - 1).min(32));
        let longest = doubled.min(how.cap_us);
        Some(if retries.jitter {
            choices.u64(..=longest)
        } else {
            longest
        })
    }

    /// The pass tries again at this instant.
    pub fn wait(&mut self, pass: u32, until_us: u64) {
        self.waiting.push(Reverse((until_us, pass)));
    }

    /// When the next one is due.
    #[must_use]
    #[inline]
    pub fn next_us(&self) -> Option<u64> {
        self.waiting.peek().map(|Reverse((at_us, _))| *at_us)
    }

    /// The next pass that is due.
    #[inline]
    pub fn pop_due(&mut self, now_us: u64) -> Option<u32> {
        if self.next_us()? > now_us {
            return None;
        }
        self.waiting.pop().map(|Reverse((_, pass))| pass)
    }
}

fn covers(on: RetryOn, attempt: &Attempt) -> bool {
    match on {
        RetryOn::ServerError => attempt.kind == FailureKind::Status5xx,
        RetryOn::TooManyRequests => attempt.status == 429,
        RetryOn::Timeout => matches!(
            attempt.kind,
            FailureKind::Timeout | FailureKind::BlockedTimeout | FailureKind::BodyTimeout
        ),
        RetryOn::Connect => matches!(
            attempt.kind,
            FailureKind::Refused | FailureKind::ConnectTimeout | FailureKind::TlsTimeout
        ),
        RetryOn::Reset => attempt.kind == FailureKind::Reset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::DnsPolicy;
    use std::time::Duration;

    const FAILED: Attempt = Attempt {
        class: 0,
        made: 1,
        kind: FailureKind::Status5xx,
        status: 503,
        idempotent: true,
    };

    fn class(retries: Option<Retries>) -> ClassPlan {
        ClassPlan {
            retries,
            ..ClassPlan::example("", 1.0, DnsPolicy::Pin)
        }
    }

    fn retrying(change: impl FnOnce(&mut Retries)) -> Retrying {
        let mut retries = Retries {
            base: Duration::from_secs(1),
            cap: Duration::from_secs(5),
            jitter: false,
            attempts: 5,
            ..Retries::default()
        };
        change(&mut retries);
        Retrying::new(&[class(Some(retries))], Pace::REAL, 0, 1)
    }

    #[test]
    fn waits_double_to_the_cap_and_attempts_end() {
        let mut retrying = retrying(|_| {});
        let mut choices = fastrand::Rng::with_seed(1);
        let waits: Vec<_> = (1..=5)
            .map(|made| retrying.wait_us(&Attempt { made, ..FAILED }, &mut choices))
            .collect();
        let s = |seconds: u64| Some(seconds * 1_000_000);
        assert_eq!(waits, [s(1), s(2), s(4), s(5), None]);
    }

    #[test]
    fn full_jitter_spreads_the_whole_wait() {
        let mut retrying = retrying(|retries| retries.jitter = true);
        let mut choices = fastrand::Rng::with_seed(1);
        let waits: Vec<u64> = (0..1000)
            .filter_map(|_| retrying.wait_us(&FAILED, &mut choices))
            .collect();
        assert_eq!(waits.len(), 1000);
        for tenth in 0..10 {
            let share = waits.iter().filter(|wait| **wait / 100_000 == tenth).count();
            assert!((60..140).contains(&share), "{tenth}: {share}");
        }
    }

    #[test]
    fn a_budget_bounds_retries_to_its_share() {
        let mut retrying = retrying(|retries| retries.budget = Some(0.1));
        let mut choices = fastrand::Rng::with_seed(1);
        let mut again = 0;
        for _ in 0..1000 {
            retrying.earn(0);
            again += u32::from(retrying.wait_us(&FAILED, &mut choices).is_some());
        }
        assert!((100..=111).contains(&again), "{again}");
    }

    #[test]
    fn a_budget_of_nothing_allows_none_and_shards_share_what_is_not_earned() {
        let again = |budget, shards| -> usize {
            let retries = Retries {
                attempts: 5,
                budget: Some(budget),
                ..Retries::default()
            };
            let classes = [class(Some(retries))];
            let mut choices = fastrand::Rng::with_seed(1);
            let of = |shard| {
                let mut retrying = Retrying::new(&classes, Pace::REAL, shard, shards);
                (0..50)
                    .filter(|_| retrying.wait_us(&FAILED, &mut choices).is_some())
                    .count()
            };
            (0..shards).map(of).sum()
        };
        for shards in [1, 2, 3, 64] {
            assert_eq!((again(0.0, shards), again(0.2, shards)), (0, 10), "{shards} shards");
        }
    }

    #[test]
    fn each_class_has_a_budget_of_its_own_and_one_may_have_no_retries() {
        let budget = Retries {
            attempts: 5,
            budget: Some(0.1),
            ..Retries::default()
        };
        let classes = [class(Some(budget.clone())), class(None), class(Some(budget))];
        let mut retrying = Retrying::new(&classes, Pace::REAL, 0, 1);
        let mut choices = fastrand::Rng::with_seed(1);
        let mut again = |class| retrying.wait_us(&Attempt { class, ..FAILED }, &mut choices).is_some();
        assert_eq!((0..50).filter(|_| again(0)).count(), 10);
        assert!(!again(1));
        assert_eq!(
            (0..50).filter(|_| again(2)).count(),
            10,
            "the first class has spent its own only"
        );
    }

    #[test]
    fn only_what_is_named_is_tried_again() {
        let mut choices = fastrand::Rng::with_seed(1);
        let mut may = |retrying: &mut Retrying, attempt| retrying.wait_us(&attempt, &mut choices).is_some();
        let refused = Attempt {
            kind: FailureKind::Refused,
            status: 0,
            ..FAILED
        };
        let limited = Attempt {
            kind: FailureKind::Status4xx,
            status: 429,
            ..FAILED
        };
        let all = &mut retrying(|_| {});
        assert!(may(all, FAILED) && may(all, refused) && may(all, limited));
        assert!(!may(all, Attempt { status: 404, ..limited }));
        assert!(!may(
            all,
            Attempt {
                kind: FailureKind::Expectation,
                status: 200,
                ..FAILED
            }
        ));
        assert!(!may(
            all,
            Attempt {
                idempotent: false,
                ..FAILED
            }
        ));
        let posts = &mut retrying(|retries| retries.non_idempotent = true);
        assert!(may(
            posts,
            Attempt {
                idempotent: false,
                ..FAILED
            }
        ));
        let some = &mut retrying(|retries| retries.on = vec![RetryOn::Connect]);
        assert!(may(some, refused) && !may(some, FAILED));
        assert!(!may(&mut Retrying::default(), FAILED));
    }

    #[test]
    fn those_who_wait_come_in_order() {
        let mut retrying = retrying(|_| {});
        for (pass, until_us) in [(7, 30), (8, 10), (9, 20)] {
            retrying.wait(pass, until_us);
        }
        assert_eq!(retrying.next_us(), Some(10));
        assert_eq!(retrying.pop_due(5), None);
        let due: Vec<u32> = std::iter::from_fn(|| retrying.pop_due(25)).collect();
        assert_eq!(due, [8, 9]);
    }
}
