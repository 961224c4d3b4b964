//! The arithmetic of target tracking: how many instances a metric asks for. Pure; alarms call it through `policy`.

/// What the policy knows when its alarm fires.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// DesiredCapacity now.
    pub desired: u32,
    /// MinSize.
    pub min: u32,
    /// MaxSize.
    pub max: u32,
    /// Average of the metric over the instances that it counts.
    pub metric: f64,
    /// How many instances the metric counts; those warming up are not among them.
    pub counted: u32,
    /// Whether instances are on their way in or out.
    pub in_motion: bool,
}

/// The new desired capacity after the high alarm; none when nothing is to be done.
/// Instances on their way in are part of `desired` but not of `counted`, so they are never asked for twice.
#[must_use]
pub fn scale_out(seen: Observation, target: f64) -> Option<u32> {
    let wanted = needed(seen, target)?.min(seen.max);
    (wanted > seen.desired).then_some(wanted)
}

/// The new desired capacity after the low alarm: one fewer, if the rest then stays below the target.
/// One step at a time: not while instances are still on their way in or out.
#[must_use]
pub fn scale_in(seen: Observation, target: f64) -> Option<u32> {
    if seen.in_motion || seen.desired <= seen.min {
        return None;
    }
    let wanted = seen.desired - 1;
    (needed(seen, target)? <= wanted).then_some(wanted)
}

fn needed(seen: Observation, target: f64) -> Option<u32> {
    if !seen.metric.is_finite() || seen.counted == 0 || target <= 0.0 {
        return None;
    }
    // Half a thousandth of slack: 3 x 40 / 40 must be 3, not 4 by rounding.
    let wanted = (f64::from(seen.counted) * seen.metric / target - 0.0005).ceil();
    Some(wanted.clamp(0.0, 1e6) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seen(desired: u32, metric: f64, counted: u32) -> Observation {
        Observation {
            desired,
            min: 3,
            max: 12,
            metric,
            counted,
            in_motion: false,
        }
    }

    #[test]
    fn the_high_alarm_asks_for_what_the_load_needs() {
        assert_eq!(scale_out(seen(3, 80.0, 3), 40.0), Some(6));
        assert_eq!(scale_out(seen(3, 41.0, 3), 40.0), Some(4));
        assert_eq!(scale_out(seen(3, 100.0, 3), 20.0), Some(12), "capped at max");
        assert_eq!(scale_out(seen(3, 40.0, 3), 40.0), None);
        assert_eq!(scale_out(seen(12, 100.0, 12), 40.0), None);
        assert_eq!(scale_out(seen(3, f64::NAN, 3), 40.0), None);
    }

    #[test]
    fn instances_warming_up_are_not_asked_for_twice() {
        assert_eq!(scale_out(seen(6, 80.0, 3), 40.0), None, "three of six are on their way");
        assert_eq!(scale_out(seen(6, 100.0, 3), 40.0), Some(8));
    }

    #[test]
    fn scale_in_takes_one_step_and_never_below_min_or_above_target() {
        assert_eq!(scale_in(seen(8, 5.0, 8), 40.0), Some(7));
        assert_eq!(scale_in(seen(3, 1.0, 3), 40.0), None, "min");
        assert_eq!(scale_in(seen(4, 35.0, 4), 40.0), None, "three would run at 47 %");
        assert_eq!(
            scale_in(
                Observation {
                    in_motion: true,
                    ..seen(8, 5.0, 8)
                },
                40.0
            ),
            None
        );
    }

    proptest! {
        #[test]
        fn capacity_stays_within_its_bounds(desired in 3u32..=12, metric in 0.0f64..100.0, counted in 0u32..=12) {
            let seen = seen(desired, metric, counted);
            if let Some(out) = scale_out(seen, 40.0) {
                prop_assert!(out > desired && out <= 12);
            }
            if let Some(less) = scale_in(seen, 40.0) {
                prop_assert!(less + 1 == desired && less >= 3);
                prop_assert!(metric * f64::from(counted) / f64::from(less) <= 40.1);
            }
        }
    }
}
