//! Who a step says it is: `auth`, an Authorization header or a signature.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::decode::Fields;
use super::error::{Mistake, Sink};
use super::journey::template;
use super::node::Node;
use super::oauth2;
use super::sigv4::{self, SigV4};
use super::template::{Holes, Piece};

/// Who a step says it is.
#[derive(Clone, Debug)]
pub enum Auth {
    /// By an Authorization header of this value.
    Header(Vec<Piece>),
    /// By signing what it sends.
    SigV4(SigV4),
}

/// Reads `auth`.
pub(super) fn auth(node: &Node, holes: &Holes<'_>, sink: &mut Sink) -> Option<Auth> {
    let mut fields = Fields::of(node, "`auth`", sink)?;
    let ways = ["basic", "bearer", "sigv4", "oauth2"];
    let written: Vec<_> = ways.iter().filter_map(|way| Some((*way, fields.take(way)?))).collect();
    fields.finish(sink);
    match written.as_slice() {
        [("basic", node)] => basic_auth(node, holes, sink).map(Auth::Header),
        [("bearer", node)] => {
            let mut value = vec![Piece::Text("Bearer ".to_owned())];
            value.extend(template(node, holes, sink)?);
            Some(Auth::Header(value))
        }
        [("oauth2", node)] => {
            let client = Box::new(oauth2::oauth2(node, sink)?);
            let value = vec![Piece::Text("Bearer ".to_owned()), Piece::Token(client)];
            Some(Auth::Header(value))
        }
        [(_, node)] => sigv4::sigv4(node, sink).map(Auth::SigV4),
        [] => {
            let hint = "add `basic: { user: ann, password: \"{{ env(PASSWORD) }}\" }`, `bearer: \"{{ env(TOKEN) }}\"`, \
                        `sigv4: { service: execute-api, region: us-east-1, .. }` or `oauth2: { token_url: .. }`";
            sink.push(Mistake::at(&node.place, "`auth` names no way").hint(hint));
            None
        }
        [(first, _), (second, node), ..] => {
            let message = format!("`auth` has either `{first}` or `{second}`");
            sink.push(Mistake::at(&node.place, message).hint("remove one of the two"));
            None
        }
    }
}

/// RFC 7617: the user cannot hold a colon.
fn basic_auth(node: &Node, holes: &Holes<'_>, sink: &mut Sink) -> Option<Vec<Piece>> {
    let mut fields = Fields::of(node, "`basic`", sink)?;
    let user_node = fields.require("user", "ann", sink);
    let password = fields
        .require("password", "\"{{ env(PASSWORD) }}\"", sink)
        .and_then(|node| template(node, holes, sink));
    fields.finish(sink);
    let (user_node, password) = (user_node?, password?);
    let user = template(user_node, holes, sink)?;
    if user
        .iter()
        .any(|piece| matches!(piece, Piece::Text(text) if text.contains(':')))
    {
        sink.push(Mistake::at(
            &user_node.place,
            "a user of basic authentication has no `:` (RFC 7617)",
        ));
        return None;
    }
    let mut pair = user;
    pair.push(Piece::Text(":".to_owned()));
    pair.extend(password);
    let text: Option<String> = pair
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    Some(match text {
        Some(text) => vec![Piece::Text(format!("Basic {}", STANDARD.encode(text)))],
        None => vec![Piece::Text("Basic ".to_owned()), Piece::Base64(pair)],
    })
}

/// A text that is the same for every request.
pub(super) fn same_for_all(node: &Node, sink: &mut Sink) -> Option<Vec<Piece>> {
    let holes = Holes {
        variables: &[],
        id: false,
    };
    let pieces = template(node, &holes, sink)?;
    if pieces
        .iter()
        .any(|piece| !matches!(piece, Piece::Text(_) | Piece::Env(_)))
    {
        let hint = "write a text or `{{ env(NAME) }}`";
        sink.push(Mistake::at(&node.place, "credentials are the same for every request").hint(hint));
        return None;
    }
    Some(pieces)
}

/// A text that may only stand in the environment, where `name` is how its variable could be called.
pub(super) fn secret(node: &Node, name: &str, sink: &mut Sink) -> Option<Vec<Piece>> {
    let pieces = same_for_all(node, sink)?;
    if !matches!(pieces.as_slice(), [Piece::Env(_)]) {
        let hint = format!("write \"{{{{ env({name}) }}}}\", and export {name}=...");
        sink.push(Mistake::at(&node.place, "a secret stands in the environment, not in a file").hint(hint));
        return None;
    }
    Some(pieces)
}
