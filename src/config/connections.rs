//! How a client keeps connections: `connections`, `max_age`, `idle` and `source_addresses` of a profile's client.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::decode::{self, Fields};
use super::error::{Mistake, Sink};
use super::node::Node;
use crate::units::seconds;

/// Connections of a pool at most: there are no more ports to one address.
const POOL_MAX: u64 = 60_000;

/// Of a pool for which no number is given: in each shard.
const POOL: usize = 1024;

/// Requests that share a connection of HTTP/2 when none are given: as many as servers commonly take.
const STREAMS: usize = 100;
const STREAMS_MAX: u64 = 10_000;

/// Who uses a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionUse {
    /// Whoever needs one next: as many as a pool has, as behind a proxy or in a service's own client.
    #[default]
    Pool,
    /// One user, as long as both last, as browsers do.
    PerUser,
    /// One request; it is closed after its answer.
    PerRequest,
}

/// How connections are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Connections {
    /// Who uses one.
    pub used_by: ConnectionUse,
    /// Of a pool: to each address at most, all shards together; without a number as many as suit the shards.
    pub pool: Option<usize>,
    /// Older ones are closed after their request, cloud time, never below 200 ms real.
    #[serde(with = "seconds::option")]
    pub max_age: Option<Duration>,
    /// Those that nobody used for so long are closed, cloud time, never below 200 ms real.
    #[serde(with = "seconds::option")]
    pub idle: Option<Duration>,
    /// Local addresses they come from in turn; the system's choice when none.
    pub sources: Vec<IpAddr>,
    /// Requests at once on each connection, where HTTP/2 is spoken; none where it is HTTP/1.1.
    pub http2: Option<usize>,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            used_by: ConnectionUse::Pool,
            pool: None,
            max_age: None,
            idle: None,
            sources: Vec::new(),
            http2: None,
        }
    }
}

impl Connections {
    /// How many of these `shards` there can be: each opens one connection of the pool at least.
    #[must_use]
    pub fn shards_of(&self, shards: usize) -> usize {
        match self.pool {
            Some(pool) if self.used_by != ConnectionUse::PerUser => shards.min(pool),
            _ => shards,
        }
    }

    /// Those of a pool to one address at most, all `shards` together.
    #[must_use]
    pub fn pool_of(&self, shards: usize) -> usize {
        self.pool.unwrap_or(POOL.saturating_mul(shards))
    }
}

/// Reads them from a client's keys.
pub(super) fn connections(fields: &mut Fields<'_>, sink: &mut Sink) -> Connections {
    let mut connections = Connections::default();
    if let Some(node) = fields.take("connections") {
        used_by(node, &mut connections, sink);
    }
    http(fields, &mut connections, sink);
    let mut limit = |key: &'static str, sink: &mut Sink| {
        let node = fields.take(key)?;
        let limit = decode::duration(node, sink)?;
        if limit.is_zero() {
            let hint = "write `connections: per_request` for connections that carry one request";
            sink.push(Mistake::at(&node.place, format!("a {key} of zero")).hint(hint));
        }
        Some(limit)
    };
    connections.max_age = limit("max_age", sink);
    connections.idle = limit("idle", sink);
    if let Some(node) = fields.take("source_addresses") {
        for item in decode::list(node, "source_addresses", sink) {
            let Some(text) = decode::text(item, sink) else { continue };
            match text.parse() {
                Ok(address) => connections.sources.push(address),
                Err(_) => sink.push(
                    Mistake::at(&item.place, format!("{text:?} is no address"))
                        .hint("write addresses of this machine, such as 10.0.0.5"),
                ),
            }
        }
    }
    connections
}

/// The version of HTTP, and how many requests share a connection.
fn http(fields: &mut Fields<'_>, connections: &mut Connections, sink: &mut Sink) {
    let version = fields.take("http");
    if let Some(node) = version
        && let Some(text) = decode::text(node, sink)
    {
        match text.as_str() {
            "1.1" => {}
            "2" => connections.http2 = Some(STREAMS),
            _ => {
                sink.push(Mistake::at(&node.place, format!("unknown version {text:?} of HTTP")).hint("write 1.1 or 2"))
            }
        }
        if connections.http2.is_some() && connections.used_by != ConnectionUse::Pool {
            let message = "connections of HTTP/2 are shared by those who need one";
            sink.push(Mistake::at(&node.place, message).hint("write `connections: 10` for a pool of so many"));
        }
    }
    let Some(node) = fields.take("streams") else { return };
    let Some(streams) = decode::count(node, sink) else {
        return;
    };
    if connections.http2.is_none() {
        let message = "`streams` is for HTTP/2, where requests share a connection";
        sink.push(Mistake::at(&node.place, message).hint("write `http: 2` beside it"));
    } else if (1..=STREAMS_MAX).contains(&streams) {
        connections.http2 = Some(streams as usize);
    } else {
        let message = format!("streams is a number from 1 to {STREAMS_MAX}");
        sink.push(Mistake::at(&node.place, message));
    }
}

fn used_by(node: &Node, connections: &mut Connections, sink: &mut Sink) {
    let Some(text) = decode::text(node, sink) else { return };
    match text.as_str() {
        "per_user" => connections.used_by = ConnectionUse::PerUser,
        "per_request" => connections.used_by = ConnectionUse::PerRequest,
        _ => match text.replace('_', "").parse::<u64>() {
            Ok(pool) if (1..=POOL_MAX).contains(&pool) => connections.pool = Some(pool as usize),
            _ => {
                let message = format!("connections is a number from 1 to {POOL_MAX}, per_user or per_request");
                sink.push(Mistake::at(&node.place, message));
            }
        },
    }
}
