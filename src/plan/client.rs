//! How the generator behaves towards the target: names, connections, patience, retries, TLS.

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use crate::config::client::DnsPolicy;
use crate::config::connections::Connections;
use crate::config::retry::Retries;
use crate::config::tls::TlsSettings;
use crate::units::seconds;

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
    /// A real delay added before each start, to force lag in tests of the honesty checks.
    #[serde(with = "seconds")]
    pub forced_lag: Duration,
}

/// Header fields about the connection, which HTTP/2 does not have (RFC 9113, section 8.2.2).
pub const CONNECTION_FIELDS: [&str; 5] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
];
