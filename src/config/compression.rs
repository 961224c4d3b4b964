//! Content codings: which ones a step asks for (`compression`) and which one its body is sent in (`compress`).

use serde::{Deserialize, Serialize};

use super::decode;
use super::error::{Mistake, Sink};
use super::node::{Node, Value};

/// A content coding (RFC 9110, section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Coding {
    /// `gzip`.
    Gzip,
    /// `deflate`: zlib.
    Deflate,
    /// `br`.
    Brotli,
    /// `zstd`.
    Zstd,
}

/// What sessions of WebSocket offer whose messages may be compressed (RFC 7692): neither side refers to earlier messages,
/// so that a session that waits holds no window.
pub const DEFLATE_OFFER: &str = "permessage-deflate; client_no_context_takeover; server_no_context_takeover";

const KNOWN: [(&str, Coding); 4] = [
    ("gzip", Coding::Gzip),
    ("deflate", Coding::Deflate),
    ("br", Coding::Brotli),
    ("zstd", Coding::Zstd),
];

impl Coding {
    /// Its name in a header field.
    #[must_use]
    pub fn name(self) -> &'static str {
        KNOWN
            .iter()
            .find(|(_, coding)| *coding == self)
            .map_or("identity", |(name, _)| name)
    }
}

/// The Accept-Encoding that `compression` means: of all codings, of those listed, or none.
pub(super) fn compression(node: &Node, sink: &mut Sink) -> Option<Option<String>> {
    let codings = match &node.value {
        Value::List(items) => {
            let read = |item| decode::choice(item, "content coding", &KNOWN, sink);
            items.iter().filter_map(read).collect()
        }
        _ if is_all(node) => KNOWN.map(|(_, coding)| coding).to_vec(),
        Value::Scalar { text, .. } if text == "false" => Vec::new(),
        _ => {
            let hint = "write true, false or a list such as [gzip, br, zstd, deflate]";
            sink.push(Mistake::at(&node.place, "`compression` says which content codings are asked for").hint(hint));
            return None;
        }
    };
    let names: Vec<&str> = codings.into_iter().map(Coding::name).collect();
    Some((!names.is_empty()).then(|| names.join(", ")))
}

/// Whether it asks for all there is, of sessions of WebSocket too.
pub(super) fn is_all(node: &Node) -> bool {
    matches!(&node.value, Value::Scalar { text, .. } if text == "true")
}

/// Whether a session of WebSocket offers to compress messages.
pub(super) fn of_messages(node: &Node, sink: &mut Sink) -> Option<bool> {
    match &node.value {
        Value::Scalar { text, .. } if text == "false" => Some(false),
        _ if is_all(node) => Some(true),
        _ => {
            let hint = "write `compression: true`, or false";
            sink.push(Mistake::at(&node.place, "there is one way to compress messages of WebSocket").hint(hint));
            None
        }
    }
}

/// The coding that a request's body is sent in.
pub(super) fn compress(node: &Node, sink: &mut Sink) -> Option<Coding> {
    let coding = decode::choice(node, "content coding", &KNOWN, sink)?;
    if coding == Coding::Brotli {
        let hint = "write gzip, deflate or zstd";
        sink.push(Mistake::at(&node.place, "bodies are not sent in `br`").hint(hint));
        return None;
    }
    Some(coding)
}
