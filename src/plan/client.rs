//! How the generator behaves towards the target: names, connections, patience, retries, TLS.

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use crate::config::client::DnsPolicy;
use crate::config::connections::Connections;
use crate::config::retry::Retries;
use crate::config::tls::TlsSettings;
pub use crate::config::version::CONNECTION_FIELDS;
use crate::units::seconds;

/// Users of one kind among the others.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClassPlan {
    /// Its name; empty where all users are of one kind.
    pub name: String,
    /// Its share of the users, above 0 to 1; those of all classes sum to 1.
    pub share: f64,
    /// What happens to a connection when the DNS answer no longer has its address.
    pub dns: DnsPolicy,
    /// Patience for a connect (cloud time, never below 200 ms real).
    #[serde(with = "seconds")]
    pub connect_timeout: Duration,
    /// Patience for a whole request (cloud time, never below 200 ms real).
    #[serde(with = "seconds")]
    pub request_timeout: Duration,
    /// How failed requests are tried again; not at all when none.
    pub retries: Option<Retries>,
}

/// The generator as a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientPlan {
    /// What happens to a connection when the DNS answer no longer has its address.
    pub dns: DnsPolicy,
    /// How connections are kept.
    #[serde(default)]
    pub connections: Connections,
    /// Patience for a connect (cloud time, never below 200 ms real).
    #[serde(with = "seconds")]
    pub connect_timeout: Duration,
    /// Patience for a whole request (cloud time, never below 200 ms real).
    #[serde(with = "seconds")]
    pub request_timeout: Duration,
    /// Requests per second of real time at most, a safety limit; what exceeds it is counted as dropped.
    pub rate_limit: Option<f64>,
    /// Shards (threads); one per core when none.
    pub shards: Option<usize>,
    /// How failed requests are tried again; not at all when none.
    #[serde(default)]
    pub retries: Option<Retries>,
    /// How TLS is spoken, where the target's scheme is https.
    #[serde(default)]
    pub tls: TlsSettings,
    /// Shares of the users that behave in their own ways; `dns`, timeouts and `retries` are theirs then. None where all
    /// are alike.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassPlan>,
    /// A real delay added before each start, to force lag in tests of the honesty checks.
    #[serde(with = "seconds")]
    pub forced_lag: Duration,
}

#[cfg(test)]
impl ClassPlan {
    /// A class for tests to change: it connects within 1 s, waits 5 s and never tries again.
    pub(crate) fn example(name: &str, share: f64, dns: DnsPolicy) -> Self {
        Self {
            name: name.to_owned(),
            share,
            dns,
            connect_timeout: Duration::from_secs(1),
            request_timeout: Duration::from_secs(5),
            retries: None,
        }
    }
}

impl ClientPlan {
    /// The classes, or the client as the only one.
    #[must_use]
    pub fn each_class(&self) -> Vec<ClassPlan> {
        if !self.classes.is_empty() {
            return self.classes.clone();
        }
        vec![ClassPlan {
            name: String::new(),
            share: 1.0,
            dns: self.dns,
            connect_timeout: self.connect_timeout,
            request_timeout: self.request_timeout,
            retries: self.retries.clone(),
        }]
    }

    /// The patience of the most patient class for a whole request.
    #[must_use]
    pub fn request_timeout_max(&self) -> Duration {
        let classes = self.each_class();
        classes
            .iter()
            .map(|class| class.request_timeout)
            .max()
            .unwrap_or_default()
    }
}
