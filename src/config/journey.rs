//! Journeys: the steps one user repeats, what they send and what they take from the answers.
//! Reads one part of a profile's tree; names across files are checked in `load`.

use std::time::Duration;

use super::auth::{self, Auth};
use super::body::{self, RequestBody};
use super::checks::{self, Expect, Extract};
use super::compression;
use super::decode::{self, Fields};
use super::error::{Mistake, Sink};
use super::feeder::{self, Feeder};
use super::files::Files;
use super::flow::{Flow, Part, Passes, amount, time};
use super::grpc::{self, Call};
use super::node::{Node, Value};
use super::protocol::Protocol;
use super::sigv4::SigV4;
use super::source::{Place, Spanned};
use super::steps::{BLOCKS, Walk};
use super::streams;
use super::tcp;
use super::template::{self, Holes, Piece, TemplateMistake};
use super::wait::{self, Wait};

/// What journeys may refer to.
pub(super) struct Given<'g> {
    /// The feeders of the profile.
    pub(super) feeders: &'g [Feeder],
    /// What stands in the files that steps send.
    pub(super) files: &'g Files,
}

impl Given<'_> {
    fn columns(&self, feed: &[Spanned<String>]) -> Vec<String> {
        let fed = feed
            .iter()
            .filter_map(|name| self.feeders.iter().find(|feeder| feeder.name == name.value));
        fed.flat_map(Feeder::variables).collect()
    }
}

/// Redirects that may be followed; browsers give up after twenty.
const REDIRECTS_MAX: u64 = 20;

/// Opened with a GET, and read for longer than an answer.
const STREAMS: [&str; 2] = ["sse", "websocket"];

const METHODS: [&str; 6] = ["get", "post", "put", "patch", "delete", "head"];

/// The steps one user repeats.
#[derive(Clone, Debug)]
pub struct Journey {
    /// Its name.
    pub name: String,
    /// Relative weight, positive.
    pub weight: f64,
    /// Think time after each pass.
    pub think: Wait,
    /// From the start of one pass to that of the next at least.
    pub pacing: Option<Wait>,
    /// Answers' cookies are sent back within the pass.
    pub cookies: bool,
    /// Feeders of which each pass takes a row.
    pub feed: Vec<Spanned<String>>,
    /// Requests, as they are written.
    pub steps: Vec<Step>,
    /// Names of steps that are timed together.
    pub groups: Vec<Spanned<String>>,
    /// In what order they come; empty where it is the one that they are written in.
    pub flow: Vec<Flow<Vec<Piece>>>,
}

/// One request.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// The name given or derived: the journey's, with `.2` and so on for further steps.
    pub name: String,
    /// Where what it sends is written; none of a step within a session, which stands where that is opened.
    pub place: Option<Place>,
    /// What it speaks.
    pub protocol: Protocol,
    /// HTTP method, upper case; another protocol's name where there is none.
    pub method: String,
    /// Path.
    pub path: Vec<Piece>,
    /// Extra headers.
    pub headers: Vec<(String, Vec<Piece>)>,
    /// How it is signed.
    pub sign: Option<SigV4>,
    /// Body.
    pub body: Option<RequestBody>,
    /// Accept-Encoding, or none for no such field; the client's where the step says nothing.
    pub accept_encoding: Option<Option<String>>,
    /// Whether a session offers to compress messages; as the client does where the step says nothing.
    pub deflate: Option<bool>,
    /// Patience for its answer, cloud time; the client's when none.
    pub timeout: Option<Duration>,
    /// Redirects that are followed at most.
    pub redirects: u32,
    /// What an answer must be.
    pub expect: Expect,
    /// What later steps of the journey take from the answer.
    pub extract: Vec<Extract>,
    /// The ledger that records the acknowledged id.
    pub ledger: Option<Spanned<String>>,
    /// What it calls, where it speaks gRPC.
    pub call: Option<Box<Call>>,
}

impl Journey {
    /// Mean time from the start of one pass to that of the next, in seconds, answers taken as instant.
    #[must_use]
    pub fn cycle(&self) -> f64 {
        let pauses = |part: Part<'_>| match part {
            Part::Pause(wait) => wait.mean(),
            Part::Request => 0.0,
        };
        let waiting = self.think.mean() + time(&self.flow, Passes::Mean, &pauses);
        waiting.max(self.pacing.map_or(0.0, |pacing| pacing.mean()))
    }

    /// Mean number of requests of a pass.
    #[must_use]
    pub fn requests(&self) -> f64 {
        if self.flow.is_empty() {
            return self.steps.len() as f64;
        }
        amount(&self.flow, Passes::Mean, &|part| {
            f64::from(u8::from(matches!(part, Part::Request)))
        })
    }
}

impl Step {
    /// Whether it sends anything that an earlier step extracted or a feeder brings.
    #[must_use]
    pub fn has_variables(&self) -> bool {
        let headers = self.headers.iter().flat_map(|(_, value)| value);
        let body = self.body.iter().flat_map(|body| &body.text);
        let mut pieces = self.path.iter().chain(headers).chain(body);
        pieces.any(Piece::is_of_a_pass)
    }
}

/// All journeys of a profile.
pub(super) fn journeys(node: &Node, given: &Given<'_>, sink: &mut Sink) -> Vec<Journey> {
    let entries = decode::map(node, "journeys", sink);
    if entries.is_empty() && matches!(node.value, Value::Map(_)) {
        sink.push(Mistake::at(&node.place, "there are no journeys").hint("users need at least one"));
    }
    let mut names: Vec<String> = Vec::new();
    entries
        .iter()
        .filter_map(|entry| journey(&entry.key, &entry.node, given, &mut names, sink))
        .collect()
}

fn journey(name: &str, node: &Node, given: &Given<'_>, names: &mut Vec<String>, sink: &mut Sink) -> Option<Journey> {
    let mut fields = Fields::of(node, format!("journey {name:?}"), sink)?;
    let weight = fields.take("weight").and_then(|node| {
        let weight = decode::number(node, sink)?;
        if weight <= 0.0 {
            let hint = "write a positive number, or remove the journey";
            sink.push(Mistake::at(&node.place, format!("a weight of {weight} means nobody does it")).hint(hint));
            return None;
        }
        Some(weight)
    });
    let think = fields
        .take("think")
        .and_then(|node| wait::wait(node, "think time", sink))
        .unwrap_or_default();
    let pacing = fields.take("pacing").and_then(|node| wait::wait(node, "pacing", sink));
    let feed = fields
        .take("feed")
        .map(|node| feeder::named(node, given.feeders, sink))
        .unwrap_or_default();
    let auth_node = fields.take("auth");
    let cookies = fields.take("cookies").and_then(|node| decode::boolean(node, sink));
    let redirects = fields.take("redirects").and_then(|node| redirects(node, sink));
    let steps_node = fields.require("steps", "[{ get: / }]", sink);
    fields.finish(sink);
    let steps_node = steps_node?;
    if decode::list(steps_node, "steps", sink).is_empty() {
        sink.push(Mistake::at(&node.place, format!("journey {name:?} has no steps")).hint("add `- get: /`"));
    }
    let variables: Vec<String> = given.columns(&feed);
    let holes = Holes {
        variables: &variables,
        id: false,
    };
    let usual = Usual {
        auth: auth_node.and_then(|node| auth::auth(node, &holes, sink)),
        redirects: redirects.unwrap_or_default(),
    };
    let mut walk = Walk::new(name, names, &usual, given.files, variables.clone());
    let flow = walk.journey(steps_node, sink);
    let (steps, groups) = (walk.steps, walk.groups);
    let plain = flow.iter().all(|part| matches!(part, Flow::Request(_)));
    Some(Journey {
        name: name.to_owned(),
        weight: weight.unwrap_or(1.0),
        think,
        pacing,
        feed,
        cookies: cookies.unwrap_or_default(),
        steps,
        groups,
        flow: if plain { Vec::new() } else { flow },
    })
}

/// What the steps of a journey do where they say nothing else.
pub(super) struct Usual {
    pub(super) auth: Option<Auth>,
    redirects: u32,
}

fn redirects(node: &Node, sink: &mut Sink) -> Option<u32> {
    let count = decode::count(node, sink)?;
    if count > REDIRECTS_MAX {
        let message = format!("at most {REDIRECTS_MAX} redirects are followed");
        sink.push(Mistake::at(&node.place, message).hint("browsers give up after 20"));
    }
    u32::try_from(count).ok()
}

/// A request; its chance is read with the flow.
pub(super) fn step(
    derived: String,
    node: &Node,
    variables: &[String],
    usual: &Usual,
    files: &Files,
    sink: &mut Sink,
) -> Vec<Step> {
    let holes = Holes { variables, id: false };
    let Some(mut fields) = Fields::of(node, "a step", sink) else {
        return Vec::new();
    };
    fields.take("chance");
    // A step that has one of these is read elsewhere; who mistypes one finds it among what is known.
    for key in BLOCKS.into_iter().chain(["steps"]) {
        fields.take(key);
    }
    let name = fields
        .take("name")
        .and_then(|node| decode::title(node, sink))
        .map(|name| name.value)
        .unwrap_or(derived);
    if let Some(node) = fields.take("tcp") {
        return tcp::step(name, node, fields, variables, sink).into_iter().collect();
    }
    if let Some(node) = fields.take("grpc") {
        return grpc::step(name, node, fields, variables, usual, sink)
            .into_iter()
            .collect();
    }
    let mut found: Option<(&str, &Node)> = None;
    for method in METHODS.into_iter().chain(STREAMS) {
        let Some(path) = fields.take(method) else { continue };
        if let Some((first, _)) = found {
            sink.push(Mistake::at(
                &path.place,
                format!("a step sends one request, but has {first:?} and {method:?}"),
            ));
        }
        found = found.or(Some((method, path)));
    }
    let path = found.and_then(|(_, node)| {
        let path = template(node, &holes, sink)?;
        let rooted = match path.first() {
            Some(Piece::Text(text)) => text.starts_with('/'),
            // A link that an earlier step extracted.
            Some(Piece::Variable(_)) => true,
            _ => false,
        };
        if !rooted {
            sink.push(Mistake::at(&node.place, "a path begins with `/`").hint("the host comes from the target"));
        }
        sendable_path(&path, node, sink);
        Some(path)
    });
    let headers_node = fields.take("headers");
    let mut headers = headers_node.map(|node| headers(node, &holes, sink)).unwrap_or_default();
    headers_node.iter().for_each(|node| without_framing(node, sink));
    let own_auth = fields.take("auth").map(|node| auth::auth(node, &holes, sink));
    let sign = signs_in(own_auth.unwrap_or_else(|| usual.auth.clone()), &mut headers);
    let stream = found.filter(|(method, _)| STREAMS.contains(method));
    // The GET that opens a stream has no body, and what comes is read as it is.
    let (body, accept_encoding) = match stream {
        None => {
            let coding = fields.take("compression");
            let accept = coding.and_then(|node| compression::compression(node, sink));
            (body::body(&mut fields, &holes, files, sink), accept)
        }
        Some(_) => (None, None),
    };
    let (until, session) = match stream {
        Some(("sse", _)) => (fields.take("until"), None),
        Some(_) => (None, fields.take("steps")),
        None => (None, None),
    };
    let deflate = match stream {
        Some(("websocket", _)) => fields.take("compression"),
        _ => None,
    };
    let deflate = deflate.and_then(|node| compression::of_messages(node, sink));
    let expect = fields
        .take("expect")
        .map(|node| match stream {
            Some(("sse", _)) => checks::expect_of_stream(node, sink),
            _ => checks::expect(node, sink),
        })
        .unwrap_or_default();
    let extract = fields
        .take("extract")
        .map(|node| checks::extract(node, variables, sink))
        .unwrap_or_default();
    let timeout = timeout(&mut fields, sink);
    let redirects = match stream {
        None => fields.take("redirects").and_then(|node| redirects(node, sink)),
        // Browsers follow none when they open a WebSocket; a stream that moves is an answer to look at.
        Some(_) => None,
    };
    let ledger = fields.take("ledger").and_then(|node| decode::spanned(node, sink));
    let unknown_method = found.is_none();
    fields.finish(sink);
    if unknown_method {
        sink.push(Mistake::at(&node.place, "the step sends nothing").hint(format!(
            "add one of {}, {}: /path, grpc: pkg.Service/Method, or tcp: {{ .. }}",
            METHODS.join(", "),
            STREAMS.join(", ")
        )));
    }
    let (Some((method, at)), Some(path)) = (found, path) else {
        return Vec::new();
    };
    let step = Step {
        name,
        place: Some(at.place.clone()),
        protocol: Protocol::Http,
        method: match stream {
            None => method.to_uppercase(),
            Some(_) => "GET".to_owned(),
        },
        path,
        headers,
        sign,
        body,
        accept_encoding,
        deflate,
        timeout,
        redirects: match stream {
            None => redirects.unwrap_or(usual.redirects),
            Some(_) => 0,
        },
        expect,
        extract,
        ledger,
        call: None,
    };
    match method {
        "sse" => vec![streams::events(step, until, at, sink)],
        "websocket" => streams::websocket(step, session, at, variables, sink),
        _ => vec![step],
    }
}

/// `headers`, with holes in their values.
pub(super) fn headers(node: &Node, holes: &Holes<'_>, sink: &mut Sink) -> Vec<(String, Vec<Piece>)> {
    let mut headers: Vec<(String, Vec<Piece>)> = Vec::new();
    for entry in decode::map(node, "headers", sink) {
        let valid = !entry.key.is_empty()
            && entry
                .key
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        if !valid {
            sink.push(Mistake::at(
                &entry.place,
                format!("{:?} is not a header name", entry.key),
            ));
        }
        if headers.iter().any(|(name, _)| entry.key.eq_ignore_ascii_case(name)) {
            let message = format!("header {:?} stands twice: names of headers ignore case", entry.key);
            sink.push(Mistake::at(&entry.place, message).hint("remove one"));
        }
        let value = template(&entry.node, holes, sink);
        let holds = |byte: u8| byte == b'\t' || (b' '..=b'~').contains(&byte);
        if texts(value.iter().flatten()).any(|text| !text.bytes().all(holds)) {
            let hint = "write ASCII on one line, and anything else percent-encoded";
            sink.push(
                Mistake::at(
                    &entry.node.place,
                    format!("the value of {:?} cannot be sent", entry.key),
                )
                .hint(hint),
            );
        }
        headers.extend(value.map(|value| (entry.key.clone(), value)));
    }
    headers
}

/// Only what a hole cannot bring in: that is escaped, or checked when it is there.
fn texts<'p>(pieces: impl Iterator<Item = &'p Piece>) -> impl Iterator<Item = &'p str> {
    pieces.filter_map(|piece| match piece {
        Piece::Text(text) => Some(text.as_str()),
        _ => None,
    })
}

/// A request ends its path with a space.
pub(super) fn sendable_path(path: &[Piece], node: &Node, sink: &mut Sink) {
    if texts(path.iter()).any(|text| text.bytes().any(|byte| byte <= b' ' || byte == 0x7f)) {
        let message = "a path has neither spaces nor control characters";
        sink.push(Mistake::at(&node.place, message).hint("write `%20` for a space"));
    }
    if texts(path.iter()).any(|text| text.contains('#')) {
        let message = "a path has no fragment: what stands after `#` is for the browser and never sent";
        sink.push(Mistake::at(&node.place, message).hint("remove it, or write `%23` for the sign itself"));
    }
}

/// The length of a body is counted, never told.
fn without_framing(node: &Node, sink: &mut Sink) {
    for entry in decode::map(node, "headers", &mut Sink::default()) {
        let name = entry.key.to_ascii_lowercase();
        if ["content-length", "transfer-encoding"].contains(&name.as_str()) {
            let message = format!("{:?} follows from the body and cannot be set", entry.key);
            sink.push(Mistake::at(&entry.place, message).hint("leave it out"));
        }
    }
}

/// Adds the header that `auth` means, or gives how the request is signed; an Authorization header that is written goes first.
pub(super) fn signs_in(auth: Option<Auth>, headers: &mut Vec<(String, Vec<Piece>)>) -> Option<SigV4> {
    let mut names = headers.iter().map(|(name, _)| name);
    if names.any(|name| name.eq_ignore_ascii_case("authorization")) {
        return None;
    }
    match auth? {
        Auth::Header(value) => {
            headers.push(("authorization".to_owned(), value));
            None
        }
        Auth::SigV4(sign) => Some(sign),
    }
}

/// The `timeout` of a step.
pub(super) fn timeout(fields: &mut Fields<'_>, sink: &mut Sink) -> Option<Duration> {
    let node = fields.take("timeout")?;
    let timeout = decode::duration(node, sink)?;
    if timeout.is_zero() {
        sink.push(Mistake::at(&node.place, "a timeout of zero fails every request"));
    }
    Some(timeout)
}

/// A text with holes.
pub(super) fn template(node: &Node, holes: &Holes<'_>, sink: &mut Sink) -> Option<Vec<Piece>> {
    template_by(node, sink, |text| template::parse(text, holes))
}

/// The same by another of the ways to take a text apart.
pub(super) fn template_by(
    node: &Node,
    sink: &mut Sink,
    parse: impl FnOnce(&str) -> Result<Vec<Piece>, TemplateMistake>,
) -> Option<Vec<Piece>> {
    let text = decode::text(node, sink)?;
    parse(&text)
        .map_err(|wrong| {
            sink.push(Mistake::at(&node.part(wrong.offset, wrong.length), wrong.message).hint(wrong.hint));
        })
        .ok()
}
