//! The generator as a client: a profile's `client`. What has parts of its own is read in `classes`, `connections`, `retry`
//! and `tls`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::classes::{self, Class};
use super::compression;
use super::connections::{self, Connections};
use super::decode::{self, Fields};
use super::error::{Mistake, Sink};
use super::files::Files;
use super::node::Node;
use super::retry::{self, Retries};
use super::tls::{self, TlsSettings};

/// More threads than any machine has cores.
const SHARDS_MAX: u64 = 1024;

/// DNS policy of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DnsPolicy {
    /// Ask again when the TTL ends; give old connections up when their address left the answer.
    HonourTtl,
    /// Ask again for new connections only; keep old ones.
    Pin,
    /// Ask once.
    Forever,
    /// As a JVM does by default: an answer counts for 30 s of cloud time whatever its TTL says, a failed lookup for 10 s
    /// (`networkaddress.cache.ttl` and `networkaddress.cache.negative.ttl`); old connections are kept.
    #[serde(rename = "jvm-30s")]
    Jvm,
}

/// The policies by the words that name them.
pub(super) const DNS_POLICIES: [(&str, DnsPolicy); 4] = [
    ("honour-ttl", DnsPolicy::HonourTtl),
    ("pin", DnsPolicy::Pin),
    ("forever", DnsPolicy::Forever),
    ("jvm-30s", DnsPolicy::Jvm),
];

impl std::fmt::Display for DnsPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = DNS_POLICIES.iter().find(|(_, policy)| policy == self);
        f.write_str(word.map_or("", |(word, _)| word))
    }
}

/// The generator as a client.
#[derive(Clone, Debug, PartialEq)]
pub struct Client {
    /// What becomes of an answer when its time is over.
    pub dns: DnsPolicy,
    /// How connections are kept.
    pub connections: Connections,
    /// Cloud time.
    pub connect_timeout: Duration,
    /// Cloud time.
    pub request_timeout: Duration,
    /// Requests per second at most.
    pub rate_limit: Option<f64>,
    /// Threads; one per core when none.
    pub shards: Option<usize>,
    /// What is done when a request fails; none for nothing.
    pub retries: Option<Retries>,
    /// Accept-Encoding of steps that say nothing of `compression`.
    pub accept_encoding: Option<String>,
    /// Sessions of WebSocket that say nothing of `compression` offer to compress messages.
    pub deflate: bool,
    /// How it speaks TLS, to an https target.
    pub tls: TlsSettings,
    /// Shares of the users that behave in their own ways; none where all are alike.
    pub classes: Vec<Class>,
}

/// The `client` of a profile.
pub(super) fn client(node: Option<&Node>, files: &Files, sink: &mut Sink) -> Client {
    let mut client = Client {
        dns: DnsPolicy::HonourTtl,
        connections: Connections::default(),
        connect_timeout: Duration::from_secs(5),
        request_timeout: Duration::from_secs(30),
        rate_limit: None,
        shards: None,
        retries: None,
        accept_encoding: None,
        deflate: false,
        tls: TlsSettings::default(),
        classes: Vec::new(),
    };
    let Some(mut fields) = node.and_then(|node| Fields::of(node, "`client`", sink)) else {
        return client;
    };
    let dns = fields.take("dns");
    let dns = dns.and_then(|node| decode::choice(node, "DNS policy", &DNS_POLICIES, sink));
    client.dns = dns.unwrap_or(client.dns);
    client.shards = fields.take("shards").and_then(|node| shards(node, sink));
    client.connect_timeout = timeout(&mut fields, "connect_timeout", client.connect_timeout, sink);
    client.request_timeout = timeout(&mut fields, "request_timeout", client.request_timeout, sink);
    client.connections = connections::connections(&mut fields, sink);
    client.rate_limit = fields.take("rate_limit").and_then(|node| rate_limit(node, sink));
    if let Some(node) = fields.take("tls") {
        client.tls = tls::tls(node, files, sink);
    }
    if let Some(node) = fields.take("compression") {
        client.accept_encoding = compression::compression(node, sink).flatten();
        client.deflate = compression::is_all(node);
    }
    client.retries = fields.take("retries").and_then(|node| retry::retries(node, sink));
    if let Some(node) = fields.take("classes") {
        client.classes = classes::classes(node, &client, sink);
    }
    fields.finish(sink);
    client
}

/// A timeout of a client or of a class of clients.
pub(super) fn timeout(fields: &mut Fields<'_>, key: &'static str, default: Duration, sink: &mut Sink) -> Duration {
    let Some(node) = fields.take(key) else { return default };
    let timeout = decode::duration(node, sink).unwrap_or(default);
    if timeout.is_zero() {
        sink.push(Mistake::at(&node.place, format!("a {key} of zero fails every request")));
    }
    timeout
}

fn rate_limit(node: &Node, sink: &mut Sink) -> Option<f64> {
    let limit = decode::rate(node, sink)?;
    if limit <= 0.0 {
        let hint = "leave rate_limit out where there is none";
        sink.push(Mistake::at(&node.place, "a rate_limit of zero sends nothing").hint(hint));
        return None;
    }
    Some(limit)
}

fn shards(node: &Node, sink: &mut Sink) -> Option<usize> {
    let shards = decode::count(node, sink)?;
    if !(1..=SHARDS_MAX).contains(&shards) {
        sink.push(Mistake::at(
            &node.place,
            format!("shards is a number from 1 to {SHARDS_MAX}"),
        ));
        return None;
    }
    usize::try_from(shards).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_written_in_recordings_as_in_profiles() {
        for (word, policy) in DNS_POLICIES {
            assert_eq!(serde_json::to_value(policy).expect("writes"), word);
            assert_eq!(policy.to_string(), word);
        }
    }
}
