//! Classes of clients: shares of the users that differ in what they do with DNS answers and with failures, as browsers,
//! JVMs and devices with pinned addresses do. What a class does not say is as the client says.

use std::time::Duration;

use super::client::{self, Client, DNS_POLICIES, DnsPolicy};
use super::decode::{self, Fields};
use super::error::{Mistake, Sink};
use super::node::{Entry, Node, Value};
use super::retry::{self, Retries};

/// Each has lookups and connections of its own.
const CLASSES_MAX: usize = 16;
/// Shares are read from percents, which binary fractions do not hold exactly.
const SHARE_SLACK: f64 = 1e-6;

/// One class.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// Its share of the users, above 0 to 1; those of all classes sum to 1.
    pub share: f64,
    /// What becomes of an answer when its time is over.
    pub dns: DnsPolicy,
    /// Cloud time.
    pub connect_timeout: Duration,
    /// Cloud time.
    pub request_timeout: Duration,
    /// What is done when a request fails; none for nothing.
    pub retries: Option<Retries>,
}

/// The `classes` of a client whose other keys have been read.
pub(super) fn classes(node: &Node, client: &Client, sink: &mut Sink) -> Vec<Class> {
    let entries = decode::map(node, "`classes`", sink);
    if entries.len() > CLASSES_MAX {
        let message = format!("{} classes are more than {CLASSES_MAX}", entries.len());
        sink.push(Mistake::at(&node.place, message).hint("put clients that behave alike into one class"));
        return Vec::new();
    }
    let read: Vec<Class> = entries.iter().filter_map(|entry| class(entry, client, sink)).collect();
    let sum: f64 = read.iter().map(|class| class.share).sum();
    if read.len() == entries.len() && (sum - 1.0).abs() > SHARE_SLACK {
        let percent = (sum * 1e6).round() / 1e4;
        let message = format!("the shares of the classes are {percent}% together");
        sink.push(Mistake::at(&node.place, message).hint("every user is in one class: make them 100%"));
    }
    read
}

fn class(entry: &Entry, client: &Client, sink: &mut Sink) -> Option<Class> {
    let mut fields = Fields::of(&entry.node, format!("class {:?}", entry.key), sink)?;
    let share = fields.require("share", "50%", sink).and_then(|node| {
        let share = decode::share(node, sink)?;
        if share == 0.0 {
            let hint = "give it a share, or take it out";
            sink.push(Mistake::at(&node.place, "a class of 0% has no users").hint(hint));
        }
        Some(share)
    });
    let dns = fields.take("dns");
    let dns = dns.and_then(|node| decode::choice(node, "DNS policy", &DNS_POLICIES, sink));
    let connect_timeout = client::timeout(&mut fields, "connect_timeout", client.connect_timeout, sink);
    let request_timeout = client::timeout(&mut fields, "request_timeout", client.request_timeout, sink);
    let retries = fields.take("retries");
    fields.finish(sink);
    Some(Class {
        name: entry.key.clone(),
        share: share?,
        dns: dns.unwrap_or(client.dns),
        connect_timeout,
        request_timeout,
        retries: retries.map_or_else(|| client.retries.clone(), |node| own_retries(node, sink)),
    })
}

/// `none`, for a class that takes failures as they come, or what `retries` of a client can be.
fn own_retries(node: &Node, sink: &mut Sink) -> Option<Retries> {
    match &node.value {
        Value::Scalar { text, .. } if text == "none" => None,
        _ => retry::retries(node, sink),
    }
}
