//! The plan of an ad hoc run: one request again and again, no file, as wrk and oha users expect.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{
    Body, ClientPlan, Connections, DnsPolicy, Encoding, HonestyPlan, JourneyPlan, LoadModel, Part, Plan, Spacing,
    StagePlan, StepPlan, TargetPlan, Template, TlsSettings, Wait,
};
use crate::units::Pace;

/// What to send, how much of it, and for how long.
#[derive(Clone, Debug)]
pub struct AdHoc {
    /// `http` or `https`.
    pub scheme: String,
    /// How TLS is spoken.
    pub tls: TlsSettings,
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path and query.
    pub path: String,
    /// Method, upper case.
    pub method: String,
    /// Header fields.
    pub headers: Vec<(String, String)>,
    /// Body with its content type.
    pub body: Option<(String, String)>,
    /// How much.
    pub amount: Amount,
    /// Real time.
    pub duration: Duration,
    /// Real time a user thinks between two requests.
    pub think: Wait,
    /// Connections to each address, all shards together.
    pub connections: usize,
    /// Requests at once on each connection, where HTTP/2 is spoken.
    pub streams: Option<usize>,
    /// Shards, one thread each.
    pub cores: usize,
    /// Real time a request may take.
    pub timeout: Duration,
    /// Response header that says who served.
    pub served_by: Option<String>,
    /// Seed of every random choice.
    pub seed: u64,
}

/// How much is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// This many users, each waiting for its answer before its next request (closed model).
    Users(u64),
    /// This many requests a second, whatever becomes of those before (open model).
    Rate(f64),
}

impl AdHoc {
    /// The plan.
    #[must_use]
    pub fn plan(self) -> Plan {
        let (model, level) = match self.amount {
            Amount::Users(users) => (LoadModel::Users, users as f64),
            Amount::Rate(rate) => (LoadModel::Arrivals, rate),
        };
        let text = |text: String| Template {
            parts: vec![Part::Text(text)],
        };
        let name = format!("{}:{}", self.host, self.port);
        let step = StepPlan {
            name: "request".to_owned(),
            journey: 0,
            method: self.method,
            path: text(self.path),
            headers: self
                .headers
                .into_iter()
                .map(|(name, value)| (name, text(value)))
                .collect(),
            body: self.body.map(|(content_type, body)| Body {
                content_type,
                template: text(body),
                encoding: Encoding::Plain,
                compress: None,
            }),
            ..StepPlan::default()
        };
        Plan {
            name: "load".to_owned(),
            rerun: String::new(),
            seed: self.seed,
            pace: Pace::REAL,
            target: TargetPlan {
                served_by: self.served_by,
                ..TargetPlan::entry(name, self.scheme, self.host, self.port)
            },
            feeders: Vec::new(),
            journeys: vec![JourneyPlan {
                name: "request".to_owned(),
                weight: 1.0,
                think: self.think,
                steps: vec![0],
                ..JourneyPlan::default()
            }],
            steps: vec![step],
            token_clients: Vec::new(),
            model,
            spacing: Spacing::Even,
            stages: vec![StagePlan {
                tier: 1,
                level,
                starts_at: Duration::ZERO,
                holds_at: Duration::ZERO,
                ends_at: self.duration,
            }],
            loads: Vec::new(),
            client: ClientPlan {
                dns: DnsPolicy::HonourTtl,
                connections: Connections {
                    pool: Some(self.connections),
                    http2: self.streams,
                    ..Connections::default()
                },
                connect_timeout: self.timeout,
                request_timeout: self.timeout,
                rate_limit: None,
                shards: Some(self.cores),
                retries: None,
                tls: self.tls,
                classes: Vec::new(),
                forced_lag: Duration::ZERO,
            },
            services: None,
            ledgers: BTreeMap::new(),
            probes: Vec::new(),
            experiments: Vec::new(),
            objectives: Vec::new(),
            honesty: HonestyPlan {
                // Users who do not think take whatever the generator can give; only a rate has to be kept up with.
                cpu_max: match model {
                    LoadModel::Users => 1.0,
                    LoadModel::Arrivals | LoadModel::Mixed => HonestyPlan::default().cpu_max,
                },
                requests_min: 1,
                ..HonestyPlan::default()
            },
            ends_at: self.duration,
        }
    }
}
