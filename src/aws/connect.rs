//! Connections: one SDK configuration and one HTTP client for all services, SDK retries off, calls capped per Region.
//! Reading and changing are different types, so that a dry run cannot change anything.

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use aws_config::environment::credentials::EnvironmentVariableCredentialsProvider;
use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_ec2::config::Credentials;
use aws_sdk_ec2::config::http::HttpResponse;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::error::{AwsError, Called};
use crate::units::Pace;

/// Route 53 and IAM are global; their APIs are signed for this Region.
const GLOBAL_REGION: &str = "us-east-1";
/// Calls per second of cloud time in one Region; AWS's own buckets for describe calls are of this order.
const CALLS_PER_CLOUD_SECOND: f64 = 10.0;
/// Calls per second of real time at most, however fast the cloud lives.
const CALLS_PER_SECOND_MAX: f64 = 200.0;
/// What the sessions of assumed roles are called; CloudTrail shows it.
const SESSION: &str = "tenfold";
/// Patience with a connect and with a whole call, cloud time.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
const CALL_PATIENCE: Duration = Duration::from_secs(60);
/// A call takes real work on both sides, so its patience is never scaled below this.
const CALL_PATIENCE_FLOOR: Duration = Duration::from_secs(3);
/// Attempts of a changing call, the first included, and the pause before the second (cloud time, doubled each time).
const ATTEMPTS_MAX: u32 = 5;
const BACKOFF: Duration = Duration::from_secs(1);

/// How to reach the account.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// Endpoint override for every service; AWS itself when none.
    pub endpoint: Option<String>,
    /// Regions to talk to.
    pub regions: Vec<String>,
    /// Pace of the target's cloud.
    pub pace: Pace,
    /// ARNs of roles to assume one after the other, from those credentials to the account's.
    pub assume: Vec<String>,
    /// Access key id and secret; none takes them from the environment (and, without an endpoint override, from the
    /// SDK's other sources).
    pub credentials: Option<(String, String)>,
}

/// Clients of every Region.
#[derive(Clone)]
pub struct Clients {
    shared: Arc<Shared>,
}

/// Calls that change nothing.
#[derive(Clone)]
pub struct Reader {
    pub(super) shared: Arc<Shared>,
}

/// Calls that change something; retried a bounded number of times, each failure kept.
#[derive(Clone)]
pub struct Writer {
    reader: Reader,
}

pub(super) struct Shared {
    regions: BTreeMap<String, RegionClients>,
    pub(super) iam: aws_sdk_iam::Client,
    pub(super) route53: aws_sdk_route53::Client,
    global: Gate,
    pace: Pace,
}

pub(super) struct RegionClients {
    pub(super) gate: Gate,
    pub(super) arczonalshift: aws_sdk_arczonalshift::Client,
    pub(super) autoscaling: aws_sdk_autoscaling::Client,
    pub(super) cloudwatch: aws_sdk_cloudwatch::Client,
    pub(super) ec2: aws_sdk_ec2::Client,
    pub(super) elasticloadbalancingv2: aws_sdk_elasticloadbalancingv2::Client,
    pub(super) fis: aws_sdk_fis::Client,
    pub(super) rds: aws_sdk_rds::Client,
    pub(super) sts: aws_sdk_sts::Client,
}

/// One Region's call limit.
pub(super) struct Gate {
    region: String,
    limiter: DefaultDirectRateLimiter,
}

impl Clients {
    /// Prepares the clients; sends nothing yet.
    pub async fn connect(options: &ConnectOptions) -> Self {
        let base = assuming(base_config(options).await, &options.assume).await;
        let regions = options
            .regions
            .iter()
            .map(|region| (region.clone(), RegionClients::new(&base, region, options.pace)))
            .collect();
        Self {
            shared: Arc::new(Shared {
                regions,
                iam: aws_sdk_iam::Client::new(&in_region(&base, GLOBAL_REGION)),
                route53: aws_sdk_route53::Client::new(&in_region(&base, GLOBAL_REGION)),
                global: Gate::new("global", options.pace),
                pace: options.pace,
            }),
        }
    }

    /// The reading side.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader {
            shared: Arc::clone(&self.shared),
        }
    }

    /// The changing side.
    #[must_use]
    pub fn writer(&self) -> Writer {
        Writer { reader: self.reader() }
    }
}

impl Reader {
    /// The Regions it was connected to.
    pub fn regions(&self) -> impl Iterator<Item = &str> {
        self.shared.regions.keys().map(String::as_str)
    }

    pub(super) fn region(&self, action: &'static str, region: &str) -> Result<&RegionClients, AwsError> {
        let missing = || AwsError::absent(action, region, "a connection to this Region");
        self.shared.regions.get(region).ok_or_else(missing)
    }

    pub(super) fn global(&self) -> &Gate {
        &self.shared.global
    }
}

impl Writer {
    /// The same account, reading only.
    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Tries a call until it succeeds, is refused for good, or the attempts are used up.
    pub(super) async fn persist<T, F>(&self, mut call: impl FnMut() -> F) -> Result<Called<T>, AwsError>
    where
        F: Future<Output = Result<T, AwsError>>,
    {
        let mut retried: Vec<AwsError> = Vec::new();
        let mut pause = BACKOFF;
        for attempt in 1..=ATTEMPTS_MAX {
            match call().await {
                Ok(value) => return Ok(Called { value, retried }),
                Err(error) if error.is_transient() && attempt < ATTEMPTS_MAX => retried.push(error),
                Err(error) => {
                    return Err(AwsError {
                        attempts: attempt,
                        ..error
                    });
                }
            }
            tokio::time::sleep(self.reader.shared.pace.patience(pause)).await;
            pause *= 2;
        }
        unreachable!("the last attempt returns")
    }
}

impl RegionClients {
    fn new(base: &SdkConfig, region: &str, pace: Pace) -> Self {
        let config = in_region(base, region);
        Self {
            gate: Gate::new(region, pace),
            arczonalshift: aws_sdk_arczonalshift::Client::new(&config),
            autoscaling: aws_sdk_autoscaling::Client::new(&config),
            cloudwatch: aws_sdk_cloudwatch::Client::new(&config),
            ec2: aws_sdk_ec2::Client::new(&config),
            elasticloadbalancingv2: aws_sdk_elasticloadbalancingv2::Client::new(&config),
            fis: aws_sdk_fis::Client::new(&config),
            rds: aws_sdk_rds::Client::new(&config),
            sts: aws_sdk_sts::Client::new(&config),
        }
    }
}

impl Gate {
    fn new(region: &str, pace: Pace) -> Self {
        let rate = (CALLS_PER_CLOUD_SECOND * pace.times()).clamp(1.0, CALLS_PER_SECOND_MAX);
        let rate = NonZeroU32::new(rate as u32).unwrap_or(NonZeroU32::MIN);
        Self {
            region: region.to_owned(),
            limiter: RateLimiter::direct(Quota::per_second(rate)),
        }
    }

    /// Waits for the Region's turn, sends, and translates the failure.
    pub(super) async fn call<T, E>(
        &self,
        action: &'static str,
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, AwsError>
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        self.limiter.until_ready().await;
        request
            .await
            .map_err(|error| AwsError::from_sdk(action, &self.region, &error))
    }
}

async fn base_config(options: &ConnectOptions) -> SdkConfig {
    let patience = |cloud| options.pace.patience(cloud).max(CALL_PATIENCE_FLOOR);
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(patience(CONNECT_PATIENCE))
        .operation_timeout(patience(CALL_PATIENCE))
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        .region(Region::new(GLOBAL_REGION));
    if let Some(endpoint) = &options.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    match (&options.credentials, &options.endpoint) {
        (Some((key, secret)), _) => {
            let credentials = Credentials::new(key, secret, None, None, "tenfold");
            loader.credentials_provider(credentials).load().await
        }
        // An endpoint of one's own must not wait for an instance metadata service that is not there.
        (None, Some(_)) => {
            let environment = EnvironmentVariableCredentialsProvider::new();
            loader.credentials_provider(environment).load().await
        }
        (None, None) => loader.load().await,
    }
}

/// The same with the credentials at the end of a chain of roles. They are asked for with the first call that needs them,
/// and again before they expire, however long a run lasts.
async fn assuming(base: SdkConfig, roles: &[String]) -> SdkConfig {
    let mut config = base;
    for role in roles {
        let provider = AssumeRoleProvider::builder(role)
            .session_name(SESSION)
            .configure(&config)
            .build()
            .await;
        let provider = SharedCredentialsProvider::new(provider);
        config = config.to_builder().credentials_provider(provider).build();
    }
    config
}

fn in_region(base: &SdkConfig, region: &str) -> SdkConfig {
    base.to_builder().region(Region::new(region.to_owned())).build()
}
