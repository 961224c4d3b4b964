//! Steps over gRPC: `grpc: pkg.Service/Method` with `message`, `metadata`, `until`, `expect` and so on. That the method is there
//! and its message fits is checked in `message`, once the services are described.

use super::auth::{self, Auth};
use super::body::{self, Encoding, RequestBody};
use super::checks::{self, Expect};
use super::decode::{self, Fields};
use super::error::{Mistake, Sink};
use super::journey::{self, Journey, Step, Usual};
use super::nearest::suggest;
use super::node::Node;
use super::protocol::{GrpcStep, MessagesUntil, Protocol};
use super::source::{Place, Spanned};
use super::template::{Holes, Piece};

/// The codes of gRPC in order, from 0 (gRPC, "Status codes and their use in gRPC").
pub const STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Metadata that the call itself is made of.
const OWN: [&str; 4] = ["content-type", "te", "host", "content-length"];

/// What a step calls, as it is written: it is checked once the services are described.
#[derive(Clone, Debug)]
pub struct Call {
    /// `pkg.Service/Method`.
    pub method: Spanned<String>,
    /// The message; an empty one when none.
    pub(super) message: Option<Node>,
    /// Where it is said how long its answer is read, which only streams have.
    pub(super) until: Option<Place>,
    /// The JSONPaths at which its answer is looked at.
    pub(super) paths: Vec<Spanned<String>>,
}

/// A step with `grpc`, whose other keys are in `fields`.
pub(super) fn step(
    name: String,
    node: &Node,
    mut fields: Fields<'_>,
    variables: &[String],
    usual: &Usual,
    sink: &mut Sink,
) -> Option<Step> {
    let holes = Holes { variables, id: false };
    let method = method(node, sink);
    let message = fields.take("message");
    let metadata_node = fields.take("metadata");
    let mut headers = metadata_node
        .map(|node| metadata(node, &holes, sink))
        .unwrap_or_default();
    let auth_node = fields.take("auth");
    let own_auth = auth_node.map(|node| auth::auth(node, &holes, sink));
    let auth = own_auth.unwrap_or_else(|| usual.auth.clone());
    if let Some(Auth::SigV4(_)) = auth {
        let place = &auth_node.unwrap_or(node).place;
        let message = "`sigv4` signs requests of HTTP, and this is a call of gRPC";
        sink.push(Mistake::at(place, message).hint("use `bearer`, `basic` or `oauth2`, or `metadata`"));
    }
    journey::signs_in(auth, &mut headers);
    let mut grpc = GrpcStep::default();
    let until_node = fields.take("until");
    if let Some(until) = until_node.and_then(|node| until(node, sink)) {
        grpc.until = until;
    }
    let (expect_node, extract_node) = (fields.take("expect"), fields.take("extract"));
    let expect = expect_node
        .map(|node| expect(node, &mut grpc, sink))
        .unwrap_or_default();
    let extract = extract_node
        .map(|node| checks::extract(node, variables, sink))
        .unwrap_or_default();
    let timeout = journey::timeout(&mut fields, sink);
    let ledger = fields.take("ledger").and_then(|node| decode::spanned(node, sink));
    fields.finish(sink);
    let text = match message {
        Some(node) => body::json(node, &holes, sink)?,
        None => vec![Piece::Text("{}".to_owned())],
    };
    let method = method?;
    Some(Step {
        name,
        place: Some(node.place.clone()),
        protocol: Protocol::Grpc(grpc),
        method: "POST".to_owned(),
        path: vec![Piece::Text(format!("/{}", method.value))],
        headers,
        body: Some(RequestBody {
            content_type: "application/grpc".to_owned(),
            text,
            encoding: Encoding::Json,
            compress: None,
        }),
        timeout,
        expect,
        extract,
        ledger,
        call: Some(Box::new(Call {
            method,
            message: message.cloned(),
            until: until_node.map(|node| node.place.clone()),
            paths: paths(expect_node, extract_node),
        })),
        ..Step::default()
    })
}

fn method(node: &Node, sink: &mut Sink) -> Option<Spanned<String>> {
    let text = decode::text(node, sink)?;
    let word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let (service, method) = text.split_once('/').unwrap_or_default();
    if !service.split('.').all(word) || !word(method) {
        let hint = "write the service with its package and the method, such as shop.v1.Orders/Place";
        sink.push(Mistake::at(&node.place, format!("{text:?} is no method of a service")).hint(hint));
        return None;
    }
    Some(Spanned {
        value: text,
        place: node.place.clone(),
    })
}

fn metadata(node: &Node, holes: &Holes<'_>, sink: &mut Sink) -> Vec<(String, Vec<Piece>)> {
    let headers = journey::headers(node, holes, sink);
    for entry in decode::map(node, "metadata", &mut Sink::default()) {
        let name = entry.key.to_ascii_lowercase();
        if OWN.contains(&name.as_str()) || name.starts_with("grpc-") {
            let message = format!("{:?} belongs to gRPC itself", entry.key);
            let hint = "leave it out; `timeout` is sent as grpc-timeout";
            sink.push(Mistake::at(&entry.place, message).hint(hint));
        }
    }
    headers
}

fn expect(node: &Node, grpc: &mut GrpcStep, sink: &mut Sink) -> Expect {
    let Some(mut fields) = Fields::of(node, "`expect`", sink) else {
        return Expect::default();
    };
    if let Some(status) = fields.take("grpc_status").and_then(|node| status(node, sink)) {
        grpc.status = status;
    }
    let expect = checks::expectations(&mut fields, sink);
    fields.finish(sink);
    for (key, there) in [("status", expect.status.is_some()), ("size", expect.size.is_some())] {
        if there {
            let hint = "check `grpc_status`, `json`, `body` (the message as JSON), `headers` (metadata) or `within`";
            sink.push(Mistake::at(&node.place, format!("an answer of gRPC has no `{key}`")).hint(hint));
        }
    }
    expect
}

fn paths(expect: Option<&Node>, extract: Option<&Node>) -> Vec<Spanned<String>> {
    // What is wrong with them in other ways has been said.
    let quietly = &mut Sink::default();
    let checked = expect.and_then(|node| node.get("json"));
    let checked = checked.map_or(&[][..], |node| decode::map(node, "json", quietly));
    let mut paths: Vec<_> = checked
        .iter()
        .map(|entry| Spanned {
            value: entry.key.clone(),
            place: entry.place.clone(),
        })
        .collect();
    let extracted = extract.map_or(&[][..], |node| decode::map(node, "extract", quietly));
    let extracted = extracted.iter().filter_map(|entry| entry.node.get("json"));
    paths.extend(extracted.filter_map(|node| decode::spanned(node, &mut Sink::default())));
    paths
}

fn until(node: &Node, sink: &mut Sink) -> Option<MessagesUntil> {
    let mut fields = Fields::of(node, "`until`", sink)?;
    let messages = fields.take("messages").and_then(|node| decode::count(node, sink));
    let length = fields.take("for").and_then(|node| decode::duration(node, sink));
    let end = fields.take("end").and_then(|node| decode::boolean(node, sink));
    fields.finish(sink);
    match (messages, length, end) {
        (Some(messages @ 1..), None, None) => Some(MessagesUntil::Messages(messages)),
        (None, Some(length), None) if !length.is_zero() => Some(MessagesUntil::For(length)),
        (None, None, Some(true)) => Some(MessagesUntil::End),
        _ => {
            let hint = "write one of { messages: 5 }, { for: 10s } and { end: true }";
            sink.push(Mistake::at(&node.place, "a stream is left for one reason").hint(hint));
            None
        }
    }
}

/// A code by its name or number.
fn status(node: &Node, sink: &mut Sink) -> Option<u8> {
    let text = decode::text(node, sink)?;
    let known = STATUSES.iter().enumerate();
    let found = known
        .filter(|(code, name)| **name == text || code.to_string() == text)
        .map(|(code, _)| code as u8)
        .next();
    if found.is_none() {
        let hint = suggest(&text, STATUSES);
        sink.push(Mistake::at(&node.place, format!("unknown status {text:?} of gRPC")).hint(hint));
    }
    found
}

/// What calls need of the rest of a profile, where nothing describes services in it.
pub(super) fn check(journeys: &[Journey], sink: &mut Sink) {
    let steps = journeys.iter().flat_map(|journey| &journey.steps);
    for call in steps.filter_map(|step| step.call.as_ref()) {
        let hint =
            "add `grpc: { proto: [shop.proto] }`, { descriptors: shop.pb } or { reflection: true } to the profile";
        let message = "nothing describes the service that is called";
        sink.push(Mistake::at(&call.method.place, message).hint(hint));
    }
}
