//! When the arrivals of one shard come: evenly, or as a Poisson process of its share of the rate.
//! Says where the integral of the rate has to be for each; when that is, the curve and its steering say.

use crate::plan::Spacing;

/// The arrivals of one shard, one after another.
#[derive(Debug)]
pub struct Arrivals {
    spacing: Spacing,
    /// Number of the next one in the whole run.
    number: u64,
    shards: u64,
    /// Where the integral of the rate has to be for it.
    mass: f64,
    gaps: fastrand::Rng,
}

impl Arrivals {
    /// Those of this shard.
    #[must_use]
    pub fn new(spacing: Spacing, seed: u64, shard: usize, shards: usize) -> Self {
        let mut arrivals = Self {
            spacing,
            number: shard as u64,
            shards: shards as u64,
            mass: 0.0,
            gaps: fastrand::Rng::with_seed(seed ^ (shard as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)),
        };
        arrivals.place();
        arrivals
    }

    /// Number of the next arrival in the whole run.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Where the integral of the rate has to be for the next arrival.
    #[must_use]
    #[inline]
    pub fn mass(&self) -> f64 {
        self.mass
    }

    /// On to the one after it.
    #[inline]
    pub fn advance(&mut self) {
        self.number += self.shards;
        self.place();
    }

    /// Passes over those until the integral of the rate is there, without going through them; says how many they are: of
    /// a Poisson process as many as are to be expected.
    pub fn pass_over(&mut self, until: f64) -> u64 {
        if self.mass > until {
            return 0;
        }
        let further = (until - self.mass) / self.shards as f64;
        let further = match self.spacing {
            Spacing::Even => further as u64,
            Spacing::Poisson => further.round() as u64,
        };
        self.number += (further + 1) * self.shards;
        self.mass = until;
        self.place();
        further + 1
    }

    fn place(&mut self) {
        match self.spacing {
            // Halfway, so that the first interval is as long as the others; from the number, so that nothing adds up.
            Spacing::Even => self.mass = self.number as f64 + 0.5,
            // Shards are independent processes of their share of the rate, which together are one of the whole.
            Spacing::Poisson => self.mass -= (1.0 - self.gaps.f64()).ln() * self.shards as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::StagePlan;
    use crate::run::load::curve::Curve;
    use crate::units::Pace;
    use std::time::Duration;

    fn instants(spacing: Spacing, seed: u64) -> Vec<u64> {
        let stage = StagePlan {
            tier: 1,
            level: 1000.0,
            starts_at: Duration::ZERO,
            holds_at: Duration::ZERO,
            ends_at: Duration::from_secs(60),
        };
        let curve = Curve::new(&[stage], Pace::REAL);
        let mut all = Vec::new();
        for shard in 0..3 {
            let mut arrivals = Arrivals::new(spacing, seed, shard, 3);
            while let Some(at_us) = curve.instant_us(arrivals.mass()) {
                all.push(at_us);
                arrivals.advance();
            }
        }
        all.sort_unstable();
        all
    }

    #[test]
    fn even_arrivals_of_all_shards_are_even() {
        let all = instants(Spacing::Even, 1);
        assert_eq!(all.len(), 60_000);
        assert!(all.windows(2).all(|pair| pair[1] - pair[0] == 1000));
    }

    #[test]
    fn those_passed_over_are_as_many_as_one_by_one() {
        for until in [0.0, 0.5, 1.7, 10.5, 1_000.2, 1e7] {
            let counts = [Spacing::Even, Spacing::Poisson].map(|spacing| {
                let mut shards = (0..3).map(|shard| Arrivals::new(spacing, 7, shard, 3));
                shards
                    .by_ref()
                    .map(|mut shard| {
                        let passed = shard.pass_over(until);
                        assert!(shard.mass() > until && shard.pass_over(until) == 0);
                        passed
                    })
                    .sum::<u64>()
            });
            assert_eq!(counts[0], (until + 0.5) as u64, "of {until}");
            assert!(counts[0].abs_diff(counts[1]) <= 9, "{counts:?} of {until}");
        }
        let mut arrivals = Arrivals::new(Spacing::Even, 1, 1, 3);
        arrivals.advance();
        assert_eq!((arrivals.number(), arrivals.pass_over(10.6)), (4, 3));
        assert_eq!(arrivals.number(), 13);
    }

    #[test]
    fn poisson_arrivals_have_the_variance_of_their_mean_and_follow_the_seed() {
        let all = instants(Spacing::Poisson, 1);
        assert!((59_000..61_000).contains(&all.len()), "{}", all.len());
        let mut counts = vec![0f64; 600];
        for at_us in &all {
            counts[(*at_us as usize / 100_000).min(599)] += 1.0;
        }
        let mean = counts.iter().sum::<f64>() / 600.0;
        let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / 600.0;
        assert!((0.8..1.25).contains(&(variance / mean)), "{variance} {mean}");
        assert_eq!(all, instants(Spacing::Poisson, 1));
        assert_ne!(all, instants(Spacing::Poisson, 2));
    }
}
