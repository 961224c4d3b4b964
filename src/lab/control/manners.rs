//! How the endpoint treats its callers: a token bucket per Region, service and action, and the refusals, 5xx and
//! silences that a test can switch on. Rates count real time, since a caller's rate does.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::lab::Lab;
use crate::lab::config::ControlPlaneConfig;
use crate::lab::error::AwsError;

/// What becomes of a call.
#[derive(Debug)]
pub enum Treatment {
    /// It is answered.
    Serve,
    /// It gets this error.
    Refuse(AwsError),
    /// It is left hanging.
    NeverAnswer,
}

type Key = (String, String, String);

/// The buckets of every caller.
#[derive(Debug)]
pub struct Manners {
    reads: Option<DefaultKeyedRateLimiter<Key>>,
    writes: Option<DefaultKeyedRateLimiter<Key>>,
}

impl Manners {
    /// Buckets as configured; a rate of zero means none.
    pub fn new(config: &ControlPlaneConfig) -> Self {
        Self {
            reads: bucket(config.read_rate, config.read_burst),
            writes: bucket(config.write_rate, config.write_burst),
        }
    }

    /// Decides about one call. Only actions with a sound name are counted, so that the buckets stay few.
    pub fn treat(&self, lab: &Lab, region: &str, service: &str, action: &str) -> Treatment {
        let config = &lab.config.control_plane;
        let asked = format!("{}:{action}", iam_prefix(service));
        if config.denied.iter().any(|denied| denied.eq_ignore_ascii_case(&asked)) {
            return Treatment::Refuse(denied(service, &asked));
        }
        let chance = |share: f64| share > 0.0 && lab.draw(0.0..=1.0) < share;
        if chance(config.timeout_share) {
            return Treatment::NeverAnswer;
        }
        if chance(config.error_share) {
            return Treatment::Refuse(internal(service));
        }
        if chance(config.throttle_share) {
            return Treatment::Refuse(throttled(service));
        }
        let is_read = ["Describe", "Get", "List"].iter().any(|verb| action.starts_with(verb));
        let buckets = if is_read { &self.reads } else { &self.writes };
        let known = lab.config.regions.iter().any(|has| has == region) || service == "route53" || service == "sts";
        let sound = known && action.len() <= 64 && action.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if let Some(buckets) = buckets.as_ref().filter(|_| sound) {
            let key = (region.to_owned(), service.to_owned(), action.to_owned());
            if buckets.check_key(&key).is_err() {
                return Treatment::Refuse(throttled(service));
            }
        }
        Treatment::Serve
    }
}

fn bucket(rate: f64, burst: u32) -> Option<DefaultKeyedRateLimiter<Key>> {
    let interval = Duration::try_from_secs_f64(1.0 / rate)
        .ok()
        .filter(|interval| !interval.is_zero())?;
    let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
    Some(RateLimiter::keyed(Quota::with_period(interval)?.allow_burst(burst)))
}

/// What IAM calls a service, by the name it is signed for.
fn iam_prefix(service: &str) -> &str {
    match service {
        "monitoring" => "cloudwatch",
        other => other,
    }
}

fn denied(service: &str, action: &str) -> AwsError {
    match service {
        "ec2" => AwsError::new(
            "UnauthorizedOperation",
            "You are not authorized to perform this operation.",
            403,
        ),
        _ => AwsError::new(
            "AccessDenied",
            format!("User: tenfold is not authorized to perform: {action}"),
            403,
        ),
    }
}

fn throttled(service: &str) -> AwsError {
    match service {
        "ec2" => AwsError::new("RequestLimitExceeded", "Request limit exceeded.", 503),
        _ => AwsError::bad_request("Throttling", "Rate exceeded"),
    }
}

fn internal(service: &str) -> AwsError {
    match service {
        "ec2" => AwsError::new("InternalError", "An internal error has occurred", 500),
        "monitoring" => AwsError::new("InternalServiceError", "Request processing has failed", 500),
        _ => AwsError::new("InternalFailure", "Request processing has failed", 500),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_per_action_and_zero_means_no_limit() {
        let limiter = bucket(0.001, 3).expect("a rate");
        let key = |action: &str| ("us-east-1".to_owned(), "ec2".to_owned(), action.to_owned());
        let passed = (0..10).filter(|_| limiter.check_key(&key("A")).is_ok()).count();
        assert_eq!(passed, 3);
        assert!(
            limiter.check_key(&key("B")).is_ok(),
            "another action has its own bucket"
        );
        assert!(bucket(0.0, 3).is_none());
    }
}
