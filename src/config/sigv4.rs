//! Signature Version 4: `auth: { sigv4: ... }`. What is secret stands in the environment, and only its name in a file.

use super::auth::{same_for_all, secret};
use super::decode::{self, Fields};
use super::error::{Mistake, Sink};
use super::node::Node;
use super::template::Piece;

/// How requests are signed for AWS.
#[derive(Clone, Debug)]
pub struct SigV4 {
    /// The service's name in signatures, such as `execute-api`.
    pub service: String,
    /// The Region.
    pub region: String,
    /// Access key id.
    pub access_key: Vec<Piece>,
    /// Secret access key.
    pub secret_key: Vec<Piece>,
    /// Session token of temporary credentials.
    pub session_token: Option<Vec<Piece>>,
}

/// Reads `sigv4`.
pub(super) fn sigv4(node: &Node, sink: &mut Sink) -> Option<SigV4> {
    let mut fields = Fields::of(node, "`sigv4`", sink)?;
    let service = fields.require("service", "execute-api", sink);
    let region = fields.require("region", "us-east-1", sink);
    let access_key = fields.require("access_key", "\"{{ env(AWS_ACCESS_KEY_ID) }}\"", sink);
    let secret_key = fields.require("secret_key", "\"{{ env(AWS_SECRET_ACCESS_KEY) }}\"", sink);
    let session_token = fields.take("session_token");
    fields.finish(sink);
    let name = |node: &Node, sink: &mut Sink| {
        let name = decode::text(node, sink)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if name.is_empty() || !name.bytes().all(plain) {
            let hint = "write it as AWS does, such as execute-api and us-east-1";
            sink.push(Mistake::at(&node.place, format!("{name:?} is neither a service nor a Region")).hint(hint));
            return None;
        }
        Some(name)
    };
    let service = service.and_then(|node| name(node, sink));
    let region = region.and_then(|node| name(node, sink));
    let access_key = access_key.and_then(|node| same_for_all(node, sink));
    let secret_key = secret_key.and_then(|node| secret(node, "AWS_SECRET_ACCESS_KEY", sink));
    let session_token = match session_token {
        Some(node) => Some(secret(node, "AWS_SESSION_TOKEN", sink)?),
        None => None,
    };
    Some(SigV4 {
        service: service?,
        region: region?,
        access_key: access_key?,
        secret_key: secret_key?,
        session_token,
    })
}
