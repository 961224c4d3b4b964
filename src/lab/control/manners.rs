//! How the endpoint treats its callers: a token bucket per Region, service and action, and the refusals, 5xx and
//! silences that a test can switch on, by share or for certain calls. Rates count real time, since a caller's rate does.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::lab::Lab;
use crate::lab::config::{ControlPlaneConfig, Misanswer, Misbehaviour};
use crate::lab::error::AwsError;
use crate::lab::experiments::ApiError;

/// What becomes of a call.
#[derive(Debug)]
pub enum Treatment {
    /// It is answered.
    Serve,
    /// It gets this error.
    Refuse(AwsError),
    /// It is left hanging.
    NeverAnswer,
    /// It has its effect and is left hanging.
    ServeSilently,
}

/// Who calls what.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'c> {
    /// The Region it was signed for.
    pub region: &'c str,
    /// The service, by the name it was signed for.
    pub service: &'c str,
    /// The IAM role it acts as, if any.
    pub role: Option<&'c str>,
}

/// Services that belong to no Region, though their calls are signed for one.
const GLOBAL: [&str; 2] = ["iam", "route53"];

type Key = (String, String, String);

/// The buckets of every caller, and what is to go wrong.
#[derive(Debug)]
pub struct Manners {
    reads: Option<DefaultKeyedRateLimiter<Key>>,
    writes: Option<DefaultKeyedRateLimiter<Key>>,
    /// Each with how many calls of its action have come.
    misbehave: Vec<(Misbehaviour, AtomicU32)>,
}

/// Whether an operation changes nothing, by AWS's own way of naming.
pub fn is_read(action: &str) -> bool {
    ["Describe", "Get", "List"].iter().any(|verb| action.starts_with(verb))
}

impl Manners {
    /// Buckets as configured; a rate of zero means none.
    pub fn new(config: &ControlPlaneConfig) -> Self {
        Self {
            reads: bucket(config.read_rate, config.read_burst),
            writes: bucket(config.write_rate, config.write_burst),
            misbehave: config
                .misbehave
                .iter()
                .map(|one| (one.clone(), AtomicU32::new(0)))
                .collect(),
        }
    }

    /// Counts a call of `action`; how it goes wrong, if it is one of those that do.
    fn misanswer(&self, action: &str) -> Option<Misanswer> {
        let mut found = None;
        for (one, calls) in self.misbehave.iter().filter(|(one, _)| one.action == action) {
            let before = calls.fetch_add(1, Ordering::Relaxed);
            let hit = before >= one.skip && before - one.skip < one.times;
            found = found.or(hit.then_some(one.answer));
        }
        found
    }

    /// Decides about one call. Only actions with a sound name are counted, so that the buckets stay few.
    pub fn treat(&self, lab: &Lab, caller: &Caller<'_>, action: &str) -> Treatment {
        let Caller { region, service, .. } = *caller;
        if let Some(error) = injected(lab, caller, action) {
            return Treatment::Refuse(error);
        }
        let config = &lab.config.control_plane;
        let asked = format!("{}:{action}", iam_prefix(service));
        if config.denied.iter().any(|denied| denied.eq_ignore_ascii_case(&asked)) {
            return Treatment::Refuse(denied(service, &asked));
        }
        let unreachable = lab.world().regions.get(region).is_some_and(|found| found.unreachable);
        if unreachable && !GLOBAL.contains(&service) {
            return Treatment::NeverAnswer;
        }
        match self.misanswer(action) {
            None => {}
            Some(Misanswer::Throttle) => return Treatment::Refuse(throttled(service)),
            Some(Misanswer::Error) => return Treatment::Refuse(internal(service)),
            Some(Misanswer::Denied) => return Treatment::Refuse(denied(service, &asked)),
            Some(Misanswer::NotFound) => return Treatment::Refuse(not_found(service, action)),
            Some(Misanswer::Timeout) => return Treatment::NeverAnswer,
            Some(Misanswer::SilentSuccess) => return Treatment::ServeSilently,
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
        let buckets = if is_read(action) { &self.reads } else { &self.writes };
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

/// The error that AWS FIS injects into a call of this role, if it does.
fn injected(lab: &Lab, caller: &Caller<'_>, action: &str) -> Option<AwsError> {
    let role = caller.role?;
    let (percent, error) = {
        let world = lab.world();
        let mut faults = world.regions.get(caller.region)?.fis.api_faults.iter();
        let hit = faults.find(|one| {
            one.role == role && one.service == caller.service && one.operations.iter().any(|name| name == action)
        })?;
        (hit.percent, hit.error)
    };
    let hit = percent >= 100.0 || lab.draw(0.0..=100.0) < percent;
    hit.then(|| match error {
        ApiError::Internal => internal(caller.service),
        ApiError::Throttled => throttled(caller.service),
        ApiError::Unavailable => unavailable(),
    })
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
        "fis" | "arc-zonal-shift" => AwsError::new("ThrottlingException", "Rate exceeded", 429),
        _ => AwsError::bad_request("Throttling", "Rate exceeded"),
    }
}

fn unavailable() -> AwsError {
    let message = "The server is overloaded and can't handle the request.";
    AwsError::new("Unavailable", message, 503)
}

fn internal(service: &str) -> AwsError {
    match service {
        "ec2" => AwsError::new("InternalError", "An internal error has occurred", 500),
        "monitoring" => AwsError::new("InternalServiceError", "Request processing has failed", 500),
        _ => AwsError::new("InternalFailure", "Request processing has failed", 500),
    }
}

fn not_found(service: &str, action: &str) -> AwsError {
    let (code, status) = match service {
        "ec2" if action.contains("NetworkAcl") => ("InvalidNetworkAclID.NotFound", 400),
        "ec2" => ("InvalidInstanceID.NotFound", 400),
        "elasticloadbalancing" => ("TargetGroupNotFound", 400),
        "rds" => ("DBInstanceNotFound", 404),
        "route53" if action.contains("HealthCheck") => ("NoSuchHealthCheck", 404),
        "route53" => ("NoSuchHostedZone", 404),
        _ => ("ValidationError", 400),
    };
    AwsError::new(code, "What the request names does not exist", status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certain_calls_go_wrong_and_the_others_do_not() {
        let one = |skip, times, answer| Misbehaviour {
            action: "StopInstances".to_owned(),
            skip,
            times,
            answer,
        };
        let manners = Manners::new(&ControlPlaneConfig {
            misbehave: vec![one(1, 2, Misanswer::Throttle), one(2, 2, Misanswer::Denied)],
            ..ControlPlaneConfig::default()
        });
        assert_eq!(manners.misanswer("StartInstances"), None);
        let said: Vec<_> = (0..5).map(|_| manners.misanswer("StopInstances")).collect();
        let throttle = Some(Misanswer::Throttle);
        assert_eq!(said, [None, throttle, throttle, Some(Misanswer::Denied), None]);
    }

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
