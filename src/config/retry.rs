//! What a client does when a request fails: how often, when and on what it tries again.
//! A property of the client, as in real ones, so that a retry storm can be shown, and prevented by a budget.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::decode::{self, Fields};
use super::error::{Mistake, Sink};
use super::node::Node;
use crate::units::{parse_duration, seconds};

/// Most attempts; nobody waits for more.
const ATTEMPTS_MAX: u64 = 20;

/// How failed requests are tried again. The defaults are those of the AWS SDKs' standard mode (SDKs and Tools Reference
/// Guide, "Retry behavior"): three attempts, full jitter, 20 s at most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retries {
    /// Attempts in all, the first one included.
    pub attempts: u32,
    /// Longest wait before the second attempt, cloud time; it doubles with each further one.
    #[serde(with = "seconds")]
    pub base: Duration,
    /// Longest wait before any attempt, cloud time.
    #[serde(with = "seconds")]
    pub cap: Duration,
    /// The wait is drawn between zero and the longest; otherwise it is the longest.
    pub jitter: bool,
    /// Retries at most, as a share of requests; none for as many as wanted.
    pub budget: Option<f64>,
    /// What is tried again.
    pub on: Vec<RetryOn>,
    /// Whether requests that are not idempotent are sent again too.
    pub non_idempotent: bool,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts: 3,
            base: Duration::from_secs(1),
            cap: Duration::from_secs(20),
            jitter: true,
            budget: None,
            on: KINDS.map(|(_, kind)| kind).to_vec(),
            non_idempotent: false,
        }
    }
}

/// A failure that may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryOn {
    /// Status 500 to 599.
    ServerError,
    /// Status 429.
    TooManyRequests,
    /// No whole answer in time.
    Timeout,
    /// No connection: refused, or not in time.
    Connect,
    /// The connection broke.
    Reset,
}

const KINDS: [(&str, RetryOn); 5] = [
    ("5xx", RetryOn::ServerError),
    ("429", RetryOn::TooManyRequests),
    ("timeout", RetryOn::Timeout),
    ("connect", RetryOn::Connect),
    ("reset", RetryOn::Reset),
];

const JITTERS: [(&str, bool); 2] = [("full", true), ("none", false)];

/// The `retries` of a client.
pub(super) fn retries(node: &Node, sink: &mut Sink) -> Option<Retries> {
    let mut fields = Fields::of(node, "`retries`", sink)?;
    let mut retries = Retries::default();
    if let Some(node) = fields.take("attempts")
        && let Some(attempts) = decode::count(node, sink)
    {
        if !(2..=ATTEMPTS_MAX).contains(&attempts) {
            let hint = "the first attempt counts; leave `retries` out for one attempt";
            let message = format!("attempts is a number from 2 to {ATTEMPTS_MAX}");
            sink.push(Mistake::at(&node.place, message).hint(hint));
        }
        retries.attempts = attempts.min(ATTEMPTS_MAX) as u32;
    }
    if let Some((base, cap)) = fields.take("backoff").and_then(|node| backoff(node, sink)) {
        (retries.base, retries.cap) = (base, cap);
    }
    if let Some(node) = fields.take("jitter") {
        retries.jitter = decode::choice(node, "jitter", &JITTERS, sink).unwrap_or(retries.jitter);
    }
    retries.budget = fields.take("budget").and_then(|node| decode::share(node, sink));
    if let Some(node) = fields.take("on") {
        let items = decode::list(node, "on", sink);
        retries.on = items
            .iter()
            .filter_map(|item| decode::choice(item, "failure", &KINDS, sink))
            .collect();
    }
    if let Some(node) = fields.take("non_idempotent") {
        retries.non_idempotent = decode::boolean(node, sink).unwrap_or_default();
    }
    fields.finish(sink);
    Some(retries)
}

fn backoff(node: &Node, sink: &mut Sink) -> Option<(Duration, Duration)> {
    let text = decode::text(node, sink)?;
    let ends = text.split_once("..").unwrap_or((&text, &text));
    let read = |text: &str| parse_duration(text.trim()).ok();
    match (read(ends.0), read(ends.1)) {
        (Some(base), Some(cap)) if base <= cap => Some((base, cap)),
        _ => {
            let hint = "write the longest first wait and the longest of all, such as 100ms..20s";
            sink.push(Mistake::at(&node.place, format!("{text:?} is not a backoff")).hint(hint));
            None
        }
    }
}
