//! How the generator behaves towards the target: names, connections, patience, retries, TLS.

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use crate::config::client::DnsPolicy;
use crate::config::connections::Connections;
use crate::config::retry::Retries;
use crate::config::tls::TlsSettings;
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
    /// Shares of the users that behave in their own ways; `dns` and `retries` are theirs then. None where all are alike.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassPlan>,
    /// A real delay added before each start, to force lag in tests of the honesty checks.
    #[serde(with = "seconds")]
    pub forced_lag: Duration,
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
            retries: self.retries.clone(),
        }]
    }
}
