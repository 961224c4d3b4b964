//! Who a step says it is: the Authorization header that `auth` means.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::decode::Fields;
use super::error::{Mistake, Sink};
use super::journey::template;
use super::node::Node;
use super::template::{Holes, Piece};

/// The value of the Authorization header that `auth` means.
pub(super) fn auth(node: &Node, holes: &Holes<'_>, sink: &mut Sink) -> Option<Vec<Piece>> {
    let mut fields = Fields::of(node, "`auth`", sink)?;
    let (basic, bearer) = (fields.take("basic"), fields.take("bearer"));
    fields.finish(sink);
    match (basic, bearer) {
        (Some(node), None) => basic_auth(node, holes, sink),
        (None, Some(node)) => {
            let mut value = vec![Piece::Text("Bearer ".to_owned())];
            value.extend(template(node, holes, sink)?);
            Some(value)
        }
        (None, None) => {
            let hint =
                "add `basic: { user: ann, password: \"{{ env(PASSWORD) }}\" }` or `bearer: \"{{ env(TOKEN) }}\"`";
            sink.push(Mistake::at(&node.place, "`auth` names no way").hint(hint));
            None
        }
        (Some(_), Some(bearer)) => {
            sink.push(
                Mistake::at(&bearer.place, "`auth` has either `basic` or `bearer`").hint("remove one of the two"),
            );
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
