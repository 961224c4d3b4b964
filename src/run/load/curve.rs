//! The stages as a piecewise linear curve over real time: users alive, or arrivals as the integral of a rate.
//! Pure arithmetic; pace is applied once, when the curve is made.

use std::time::Duration;

use crate::plan::StagePlan;
use crate::units::Pace;

/// Arrivals by which the integral may miss a number of theirs at the very end, after rounding.
const REACHED: f64 = 1e-3;

/// A straight piece: from `start_us` to `end_us` (real time since t0) the level goes from `from` to `to`.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start_us: u64,
    end_us: u64,
    from: f64,
    to: f64,
    /// Integral of the level (per second) over all pieces before this one.
    before: f64,
}

impl Piece {
    fn seconds(&self) -> f64 {
        (self.end_us - self.start_us) as f64 / 1e6
    }

    fn integral(&self) -> f64 {
        (self.from + self.to) / 2.0 * self.seconds()
    }

    /// The level at an instant of the piece, its end included.
    fn level(&self, at_us: u64) -> f64 {
        let share = (at_us - self.start_us) as f64 / (self.end_us - self.start_us) as f64;
        self.from + (self.to - self.from) * share
    }
}

/// The level over real time, in microseconds since t0.
#[derive(Clone, Debug)]
pub struct Curve {
    pieces: Vec<Piece>,
    /// The level after the last piece.
    after: f64,
}

impl Curve {
    /// The curve of `stages` at `pace`; each ramp starts from the level before it, the first from zero.
    #[must_use]
    pub fn new(stages: &[StagePlan], pace: Pace) -> Self {
        let real = |at: Duration| pace.to_real(at).as_micros() as u64;
        let mut pieces = Vec::with_capacity(stages.len() * 2);
        let (mut level, mut before) = (0.0, 0.0);
        for stage in stages {
            let bounds = [
                (stage.starts_at, stage.holds_at, level),
                (stage.holds_at, stage.ends_at, stage.level),
            ];
            for (start, end, from) in bounds {
                let (start_us, end_us) = (real(start), real(end));
                if end_us > start_us {
                    let piece = Piece {
                        start_us,
                        end_us,
                        from,
                        to: stage.level,
                        before,
                    };
                    before += piece.integral();
                    pieces.push(piece);
                }
            }
            level = stage.level;
        }
        Self { pieces, after: level }
    }

    /// Of a load that is over before the run is: from its end on, its level is zero.
    #[must_use]
    pub fn ending(stages: &[StagePlan], pace: Pace) -> Self {
        Self {
            after: 0.0,
            ..Self::new(stages, pace)
        }
    }

    /// When the last piece ends.
    #[must_use]
    pub fn end_us(&self) -> u64 {
        self.pieces.last().map_or(0, |piece| piece.end_us)
    }

    /// The level at `at_us`; after the end, the last one unless the load is over.
    #[must_use]
    #[inline]
    pub fn level(&self, at_us: u64) -> f64 {
        let index = self.pieces.partition_point(|piece| piece.start_us <= at_us);
        let Some(piece) = index.checked_sub(1).map(|index| &self.pieces[index]) else {
            return 0.0;
        };
        if at_us >= piece.end_us {
            // Pieces follow one another, so it is the last.
            return self.after;
        }
        piece.level(at_us)
    }

    /// The highest level ever reached.
    #[must_use]
    pub fn peak(&self) -> f64 {
        self.pieces
            .iter()
            .map(|piece| piece.from.max(piece.to))
            .fold(0.0, f64::max)
    }

    /// When the level changes next after `at_us`: within a ramp that is at once.
    #[must_use]
    #[inline]
    pub fn next_change(&self, at_us: u64) -> Option<u64> {
        let now = self.pieces.partition_point(|piece| piece.end_us <= at_us);
        let mut level = match now.checked_sub(1) {
            Some(before) => self.pieces[before].to,
            None => 0.0,
        };
        for piece in &self.pieces[now..] {
            if piece.start_us > at_us && piece.from != level {
                return Some(piece.start_us);
            }
            if piece.from != piece.to {
                return Some(piece.start_us.max(at_us));
            }
            level = piece.to;
        }
        let end_us = self.end_us();
        (end_us > at_us && self.after != level).then_some(end_us)
    }

    /// The instant at which the integral of the rate reaches `wanted`, however late anything was sent; none past the
    /// end of the curve.
    #[must_use]
    #[inline]
    pub fn instant_us(&self, wanted: f64) -> Option<u64> {
        let last = self.pieces.last()?;
        // An arrival in the very last instant is not lost to rounding.
        if wanted > last.before + last.integral() + 1e-6 {
            return None;
        }
        self.reaches(wanted)
    }

    /// The integral of the level (per second) from t0 to `at_us`; past the end of the curve nothing is added.
    #[must_use]
    pub fn integral(&self, at_us: u64) -> f64 {
        let index = self.pieces.partition_point(|piece| piece.start_us <= at_us);
        let Some(piece) = index.checked_sub(1).map(|index| &self.pieces[index]) else {
            return 0.0;
        };
        let until_us = at_us.min(piece.end_us);
        let seconds = (until_us - piece.start_us) as f64 / 1e6;
        piece.before + (piece.from + piece.level(until_us)) / 2.0 * seconds
    }

    /// When the integral gets to `wanted`, which lies above zero; none where it never does.
    #[must_use]
    #[inline]
    pub fn reaches(&self, wanted: f64) -> Option<u64> {
        let at = self
            .pieces
            .partition_point(|piece| piece.before < wanted)
            .checked_sub(1)?;
        let piece = &self.pieces[at];
        if wanted > piece.before + piece.integral() + REACHED {
            return None;
        }
        let rest = wanted - piece.before;
        let slope = (piece.to - piece.from) / piece.seconds();
        // The stable root of slope/2 x^2 + from x = rest; the plain one loses precision where the slope is small.
        let root = (piece.from * piece.from + 2.0 * slope * rest).max(0.0).sqrt();
        let seconds = (2.0 * rest / (piece.from + root)).min(piece.seconds());
        Some(piece.start_us + (seconds * 1e6).round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stage(level: f64, start: u64, hold: u64, end: u64) -> StagePlan {
        StagePlan {
            tier: 1,
            level,
            starts_at: Duration::from_secs(start),
            holds_at: Duration::from_secs(hold),
            ends_at: Duration::from_secs(end),
        }
    }

    #[test]
    fn users_follow_the_ramp_in_real_time() {
        let pace = Pace::new(10.0).unwrap();
        let curve = Curve::new(&[stage(100.0, 0, 100, 200), stage(1000.0, 200, 300, 400)], pace);
        for (at_us, level) in [
            (0, 0.0),
            (5_000_000, 50.0),
            (10_000_000, 100.0),
            (19_000_000, 100.0),
            (25_000_000, 550.0),
            (35_000_000, 1000.0),
            (90_000_000, 1000.0),
        ] {
            assert!((curve.level(at_us) - level).abs() < 1e-6, "{at_us}");
        }
        assert_eq!(curve.next_change(5_000_000), Some(5_000_000));
        assert_eq!(curve.next_change(12_000_000), Some(20_000_000));
        assert_eq!(curve.next_change(31_000_000), None);
        assert_eq!(curve.peak(), 1000.0);
    }

    #[test]
    fn the_integral_and_the_instant_that_reaches_it_are_inverse() {
        let curve = Curve::new(&[stage(100.0, 0, 10, 20), stage(300.0, 20, 20, 30)], Pace::REAL);
        for (at_us, integral) in [
            (0, 0.0),
            (5_000_000, 125.0),
            (10_000_000, 500.0),
            (20_000_000, 1500.0),
            (30_000_000, 4500.0),
        ] {
            assert!((curve.integral(at_us) - integral).abs() < 1e-6, "{at_us}");
            if at_us > 0 {
                assert_eq!(curve.reaches(integral), Some(at_us));
            }
        }
        assert_eq!(curve.integral(99_000_000), 4500.0);
        assert_eq!(curve.reaches(4501.0), None);
    }

    #[test]
    fn arrivals_of_a_constant_rate_are_even() {
        let curve = Curve::new(&[stage(250.0, 0, 0, 4)], Pace::REAL);
        for index in 0..1000 {
            assert_eq!(curve.instant_us(index as f64 + 0.5), Some(index * 4000 + 2000));
        }
        assert_eq!(curve.instant_us(1000.5), None);
    }

    proptest! {
        #[test]
        fn arrivals_are_where_the_integral_reaches_their_number(
            levels in prop::collection::vec((0f64..5000.0, 0u64..20, 1u64..20), 1..5),
        ) {
            let mut stages = Vec::new();
            let mut at = 0;
            for (level, ramp, hold) in levels {
                stages.push(stage(level, at, at + ramp, at + ramp + hold));
                at += ramp + hold;
            }
            let curve = Curve::new(&stages, Pace::REAL);
            let mut last = 0;
            let total = curve.pieces.last().map_or(0, |piece| (piece.before + piece.integral() + 0.5) as u64);
            for index in (0..total).step_by((total as usize / 50).max(1)) {
                let at_us = curve.instant_us(index as f64 + 0.5).unwrap();
                prop_assert!(at_us >= last);
                last = at_us;
                // Midpoint sums over each piece are exact for straight lines.
                let mut integral = 0.0;
                for piece in &curve.pieces {
                    let end = piece.end_us.min(at_us);
                    if end > piece.start_us {
                        let middle = (piece.start_us + end) / 2;
                        integral += curve.level(middle) * (end - piece.start_us) as f64 / 1e6;
                    }
                }
                prop_assert!((integral - (index as f64 + 0.5)).abs() < 0.02, "{} {}", integral, index);
            }
        }
    }
}
