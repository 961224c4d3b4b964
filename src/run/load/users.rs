//! Users as rows: which pass each one is in and whether it is still wanted. A user's choices depend only on the seed,
//! its number and its pass, so any number of shards makes the same users.

use std::time::Duration;

use crate::plan::{JourneyPlan, Wait};

#[derive(Clone, Copy, Debug)]
struct User {
    /// The pass it is in; counted from [`NEW`].
    pass: u32,
    /// In the wheel or under way; a user that leaves finishes what it does first.
    present: bool,
}

/// Not all zeros, or the memory of a million of them would only be promised.
const NEW: User = User {
    pass: u32::MAX,
    present: false,
};

/// The users of one shard: every `shards`-th of the run, by number.
#[derive(Debug)]
pub struct Users {
    rows: Vec<User>,
    shard: u64,
    shards: u64,
    wanted: usize,
    present: u64,
}

impl Users {
    /// No users yet, room for `rows` here.
    #[must_use]
    pub fn new(shard: usize, shards: usize, rows: usize) -> Self {
        Self {
            rows: vec![NEW; rows],
            shard: shard as u64,
            shards: shards as u64,
            wanted: 0,
            present: 0,
        }
    }

    /// Sets the number of users of the whole run and calls `join` for each that comes alive, with its row and its
    /// number in the whole run.
    #[inline]
    pub fn set_level(&mut self, level: f64, mut join: impl FnMut(u32, u64)) {
        let level = level.max(0.0) as u64;
        let wanted = level
            .saturating_sub(self.shard)
            .div_ceil(self.shards)
            .min(u64::from(u32::MAX - 1)) as usize;
        if self.rows.len() < wanted {
            self.rows.resize(wanted, NEW);
        }
        for row in self.wanted..wanted {
            if !self.rows[row].present {
                self.rows[row].present = true;
                self.present += 1;
                join(row as u32, row as u64 * self.shards + self.shard);
            }
        }
        self.wanted = wanted;
    }

    /// How many are present.
    #[must_use]
    pub fn present(&self) -> u64 {
        self.present
    }

    /// Begins the next pass of a row; none when it is to leave instead.
    #[inline]
    pub fn begin_pass(&mut self, row: u32) -> Option<u32> {
        let wanted = (row as usize) < self.wanted;
        let user = self.rows.get_mut(row as usize)?;
        if !wanted {
            user.present = false;
            self.present -= 1;
            return None;
        }
        user.pass = user.pass.wrapping_add(1);
        Some(user.pass.wrapping_add(1))
    }

    /// The user of a row is gone for good.
    pub fn leave(&mut self, row: u32) {
        if let Some(user) = self.rows.get_mut(row as usize)
            && std::mem::take(&mut user.present)
        {
            self.present -= 1;
        }
    }

    /// Whether the user of a row is to come again.
    #[must_use]
    #[inline]
    pub fn is_wanted(&self, row: u32) -> bool {
        (row as usize) < self.wanted
    }

    /// The number of a row in the whole run.
    #[must_use]
    #[inline]
    pub fn number(&self, row: u32) -> u64 {
        u64::from(row) * self.shards + self.shard
    }
}

/// The generator of choices for one pass of one user, or of one arrival.
#[must_use]
#[inline]
pub fn choices(seed: u64, number: u64, pass: u32) -> fastrand::Rng {
    // SplitMix64's finaliser spreads neighbouring numbers over the whole range.
    let mut state = seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (u64::from(pass) << 40);
    state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    fastrand::Rng::with_seed(state ^ (state >> 31))
}

/// Longest wait that is drawn; a distribution without an end is cut here.
const WAIT_MAX_US: f64 = 24.0 * 3600.0 * 1e6;

/// Draws a wait, microseconds.
#[inline]
pub fn wait_us(wait: &Wait, choices: &mut fastrand::Rng) -> u64 {
    match wait {
        Wait::Uniform { min, max } => {
            let (min, max) = (min.as_micros() as u64, max.as_micros() as u64);
            if max > min { choices.u64(min..=max) } else { min }
        }
        Wait::Exponential { mean } => exponential_us(*mean, choices),
        Wait::LogNormal { median, sigma } => log_normal_us(*median, 0.0, *sigma, choices),
    }
}

fn exponential_us(mean: Duration, choices: &mut fastrand::Rng) -> u64 {
    // One minus a number below one is never zero, so its logarithm is finite.
    (mean.as_micros() as f64 * -(1.0 - choices.f64()).ln()).min(WAIT_MAX_US) as u64
}

/// `shift` moves the mean of the logarithm.
fn log_normal_us(median: Duration, shift: f64, sigma: f64, choices: &mut fastrand::Rng) -> u64 {
    // Box and Muller's transform of two uniform numbers into a normal one.
    let radius = (-2.0 * (1.0 - choices.f64()).ln()).sqrt();
    let normal = radius * (std::f64::consts::TAU * choices.f64()).cos();
    (median.as_micros() as f64 * (shift + sigma * normal).exp()).min(WAIT_MAX_US) as u64
}

/// How long a new user still waits, microseconds. Someone met at a random moment is more likely within a long wait
/// than a short one, so the length is drawn in proportion to itself, then a uniform part of it is left; the request
/// rate is then the same from the first second on.
pub fn first_wait_us(wait: &Wait, choices: &mut fastrand::Rng) -> u64 {
    let whole = match wait {
        Wait::Uniform { min, max } => {
            let (min, max) = (min.as_micros() as f64, max.max(min).as_micros() as f64);
            (min * min + choices.f64() * (max * max - min * min)).sqrt()
        }
        // It has no memory: what is left of it is as long as the whole.
        Wait::Exponential { mean } => return exponential_us(*mean, choices),
        // In proportion to its length it is log-normal again, the mean of the logarithm moved by the variance.
        Wait::LogNormal { median, sigma } => log_normal_us(*median, sigma * sigma, *sigma, choices) as f64,
    };
    (choices.f64() * whole) as u64
}

/// Picks journeys by weight.
#[derive(Clone, Debug)]
pub struct Journeys {
    cumulated: Vec<f64>,
    /// By weight and mean wait: the share of users found waiting after each journey.
    thinking: Vec<f64>,
}

impl Journeys {
    /// Those of these journeys that are `wanted`, by index; the others are never picked.
    #[must_use]
    pub fn new(journeys: &[JourneyPlan], wanted: &[usize]) -> Self {
        let weight = |index: usize, journey: &JourneyPlan| match wanted.contains(&index) {
            true => journey.weight,
            false => 0.0,
        };
        let all = || journeys.iter().enumerate();
        let cumulated = cumulate(all().map(|(index, journey)| weight(index, journey)));
        let thinking = cumulate(all().map(|(index, journey)| weight(index, journey) * journey.cycle().mean()));
        let any_thinks = thinking.last().is_some_and(|sum| *sum > 0.0);
        Self {
            thinking: if any_thinks { thinking } else { cumulated.clone() },
            cumulated,
        }
    }

    /// The journey of the next pass; zero where none has weight.
    #[inline]
    pub fn pick(&self, choices: &mut fastrand::Rng) -> usize {
        pick(&self.cumulated, choices)
    }

    /// The journey after which a new user is found thinking.
    pub fn pick_thinking(&self, choices: &mut fastrand::Rng) -> usize {
        pick(&self.thinking, choices)
    }
}

fn cumulate(weights: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut total = 0.0;
    weights
        .map(|weight| {
            total += weight.max(0.0);
            total
        })
        .collect()
}

fn pick(cumulated: &[f64], choices: &mut fastrand::Rng) -> usize {
    let at = choices.f64() * cumulated.last().copied().unwrap_or(0.0);
    let index = cumulated.partition_point(|end| *end <= at);
    index.min(cumulated.len().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_together_have_exactly_the_level() {
        for level in [0.0, 1.0, 7.9, 100.0, 1001.0] {
            let mut numbers = Vec::new();
            for shard in 0..3 {
                let mut users = Users::new(shard, 3, 34);
                let mut rows = Vec::new();
                users.set_level(level, |row, _| rows.push(row));
                assert_eq!(users.present(), rows.len() as u64);
                numbers.extend(rows.iter().map(|row| users.number(*row)));
            }
            numbers.sort_unstable();
            assert_eq!(numbers, (0..level as u64).collect::<Vec<_>>());
        }
    }

    #[test]
    fn users_leave_at_their_next_pass_and_are_not_doubled() {
        let mut users = Users::new(0, 1, 10);
        users.set_level(3.0, |_, _| {});
        users.set_level(1.0, |_, _| {});
        assert_eq!(users.present(), 3);
        assert_eq!(users.begin_pass(2), None);
        assert_eq!(users.present(), 2);
        let mut joined = Vec::new();
        users.set_level(3.0, |row, _| joined.push(row));
        assert_eq!(joined, [2], "user 1 never left");
        assert_eq!(users.begin_pass(1), Some(1));
    }

    #[test]
    fn journeys_are_picked_by_weight() {
        let journeys = Journeys {
            cumulated: cumulate([9.0, 1.0].into_iter()),
            thinking: Vec::new(),
        };
        let picked = (0..20_000)
            .filter(|number| journeys.pick(&mut choices(5, *number, 1)) == 1)
            .count();
        assert!((1800..2200).contains(&picked), "{picked}");
        let (mut one, mut again) = (choices(5, 6, 7), choices(5, 6, 7));
        assert_eq!(one.u64(..), again.u64(..));
    }

    #[test]
    fn the_request_rate_of_new_users_is_steady_from_the_start() {
        let s = Duration::from_secs;
        // Each has a mean of 5 s: 50,000 users make 10,000 requests a second.
        let waits = [
            Wait::Uniform { min: s(1), max: s(9) },
            Wait::Exponential { mean: s(5) },
            Wait::LogNormal {
                median: s(5).mul_f64((-0.32f64).exp()),
                sigma: 0.8,
            },
        ];
        for wait in waits {
            assert!((wait.mean() - 5.0).abs() < 1e-6, "{wait:?}");
            let mut seconds = [0u32; 20];
            for number in 0..50_000 {
                let mut choices = choices(1, number, 0);
                let mut at_us = first_wait_us(&wait, &mut choices);
                while at_us < 20_000_000 {
                    seconds[(at_us / 1_000_000) as usize] += 1;
                    at_us += wait_us(&wait, &mut choices);
                }
            }
            assert!(
                seconds.iter().all(|count| (9_600..10_400).contains(count)),
                "{wait:?}: {seconds:?}"
            );
        }
    }
}
