//! Steps that stay connected: `sse: /path` and `websocket: /path` with the steps of its session.

use super::body::{self, Encoding, RequestBody};
use super::checks::{self, Expect, Source, Wanted};
use super::decode::{self, Fields};
use super::error::{Mistake, Sink};
use super::journey::{self, Step};
use super::node::{Node, Value};
use super::protocol::{EventsUntil, Protocol, WebSocketStep};
use super::tcp;
use super::template::{Holes, Piece};

/// The status of a WebSocket handshake that succeeds.
const SWITCHING_PROTOCOLS: u16 = 101;
/// The header field that offers extensions.
const EXTENSIONS: &str = "sec-websocket-extensions";
/// What stands for a method where there is none.
const METHOD: &str = "WEBSOCKET";
/// What a session's step may be.
const KINDS: [&str; 7] = ["send", "send_json", "send_hex", "receive", "ping", "stay", "close"];

/// Makes `step`, a GET, one of server-sent events.
pub(super) fn events(mut step: Step, until: Option<&Node>, at: &Node, sink: &mut Sink) -> Step {
    if until.is_none() {
        let hint = "add `until: { events: 5 }`, { event: NAME }, { data: TEXT }, { for: 10s } or { end: true }";
        sink.push(Mistake::at(&at.place, "`sse` does not say when its user has seen enough").hint(hint));
    }
    let until = until.and_then(|node| self::until(node, sink));
    step.protocol = Protocol::Events(until.unwrap_or(EventsUntil::End));
    let says = |(name, _): &(String, Vec<Piece>)| name.eq_ignore_ascii_case("accept");
    if !step.headers.iter().any(says) {
        let accept = vec![Piece::Text("text/event-stream".to_owned())];
        step.headers.push(("accept".to_owned(), accept));
    }
    step
}

fn until(node: &Node, sink: &mut Sink) -> Option<EventsUntil> {
    let mut fields = Fields::of(node, "`until`", sink)?;
    let events_node = fields.take("events");
    let events = events_node.and_then(|node| decode::count(node, sink));
    let event = fields.take("event").and_then(|node| decode::text(node, sink));
    let data = fields.take("data").and_then(|node| decode::text(node, sink));
    let length = fields.take("for").and_then(|node| decode::duration(node, sink));
    let end = fields.take("end").and_then(|node| decode::boolean(node, sink));
    fields.finish(sink);
    if let (Some(node), Some(0)) = (events_node, events) {
        sink.push(Mistake::at(&node.place, "no stream is left before its first event").hint("write 1 or more"));
        return None;
    }
    match (events, event, data, length, end) {
        (Some(events @ 1..), None, None, None, None) => Some(EventsUntil::Events(events)),
        (None, Some(event), None, None, None) => Some(EventsUntil::Event(event)),
        (None, None, Some(data), None, None) => Some(EventsUntil::Data(data)),
        (None, None, None, Some(length), None) if !length.is_zero() => Some(EventsUntil::For(length)),
        (None, None, None, None, Some(true)) => Some(EventsUntil::End),
        _ => {
            let hint = "write one of { events: 5 }, { event: NAME }, { data: TEXT }, { for: 10s } and { end: true }";
            sink.push(Mistake::at(&node.place, "a stream is left for one reason").hint(hint));
            None
        }
    }
}

/// Makes `open`, a GET, the beginning of a WebSocket session, and reads the steps that follow in it.
pub(super) fn websocket(
    mut open: Step,
    steps: Option<&Node>,
    at: &Node,
    variables: &[String],
    sink: &mut Sink,
) -> Vec<Step> {
    let session = open.name.clone();
    open.name = format!("{session}.open");
    open.protocol = Protocol::WebSocket(WebSocketStep::Open);
    open.expect.status.get_or_insert(SWITCHING_PROTOCOLS);
    let of_extensions = |(name, _): &(String, Vec<Piece>)| name.eq_ignore_ascii_case(EXTENSIONS);
    if open.headers.iter().any(of_extensions) {
        let message = format!("{EXTENSIONS:?} follows from `compression` and cannot be set");
        let hint = "write `compression: true` to offer permessage-deflate; no other extension is spoken";
        sink.push(Mistake::at(&at.place, message).hint(hint));
    }
    let Some(steps) = steps else {
        let hint = "add `steps: [{ send: hello }, receive, close]`";
        sink.push(Mistake::at(&at.place, "a WebSocket session has no steps").hint(hint));
        return vec![open];
    };
    let mut variables = variables.to_vec();
    variables.extend(open.extract.iter().map(|extract| extract.name.clone()));
    let mut all = vec![open];
    for node in decode::list(steps, "the steps of a session", sink) {
        let Some(step) = talk(&session, node, &all, &variables, sink) else {
            continue;
        };
        variables.extend(step.extract.iter().map(|extract| extract.name.clone()));
        all.push(step);
    }
    all
}

/// One step of a session: a word, or a mapping.
fn talk(session: &str, node: &Node, before: &[Step], variables: &[String], sink: &mut Sink) -> Option<Step> {
    let named = |kind: &str| derived(session, kind, before);
    if !matches!(node.value, Value::Map(_)) {
        let words = ["receive", "ping", "close"].map(|word| (word, word));
        let word = decode::choice(node, "step of a session", &words, sink)?;
        return Some(Step {
            name: named(word),
            method: METHOD.to_owned(),
            protocol: Protocol::WebSocket(match word {
                "receive" => WebSocketStep::Receive(Wanted::Exists),
                "ping" => WebSocketStep::Ping,
                _ => WebSocketStep::Close,
            }),
            ..Step::default()
        });
    }
    let mut fields = Fields::of(node, "a step of a session", sink)?;
    let found: Vec<(&str, &Node)> = KINDS
        .iter()
        .filter_map(|kind| fields.take(kind).map(|node| (*kind, node)))
        .collect();
    let [(kind, what)] = found.as_slice() else {
        let hint = format!("write one of {}", KINDS.join(", "));
        sink.push(Mistake::at(&node.place, "a step of a session does one thing").hint(hint));
        return None;
    };
    let mut step = Step {
        name: fields
            .take("name")
            .and_then(|node| decode::title(node, sink))
            .map(|name| name.value)
            .unwrap_or_else(|| named(kind)),
        method: METHOD.to_owned(),
        timeout: journey::timeout(&mut fields, sink),
        ..Step::default()
    };
    let holes = Holes { variables, id: false };
    let doing = doing(kind, what, &mut step, &holes, sink)?;
    if let WebSocketStep::Receive(_) = doing {
        step.expect = fields.take("expect").map(|node| expect(node, sink)).unwrap_or_default();
        step.extract = fields
            .take("extract")
            .map(|node| extract(node, variables, sink))
            .unwrap_or_default();
    }
    if let WebSocketStep::Stay(_) = doing {
        let node = fields.take("expect");
        step.expect = node.map(|node| checks::expect_of_stay(node, sink)).unwrap_or_default();
    }
    fields.finish(sink);
    step.protocol = Protocol::WebSocket(doing);
    Some(step)
}

fn doing(kind: &str, what: &Node, step: &mut Step, holes: &Holes<'_>, sink: &mut Sink) -> Option<WebSocketStep> {
    let (text, encoding, doing) = match kind {
        "send" => (
            journey::template(what, holes, sink)?,
            Encoding::Plain,
            WebSocketStep::SendText,
        ),
        "send_json" => (body::json(what, holes, sink)?, Encoding::Json, WebSocketStep::SendText),
        "send_hex" => (
            vec![Piece::Bytes(tcp::hex(what, sink)?)],
            Encoding::Plain,
            WebSocketStep::SendBinary,
        ),
        "stay" => return decode::duration(what, sink).map(WebSocketStep::Stay),
        "receive" => return message(what, sink).map(WebSocketStep::Receive),
        plain => {
            if !decode::boolean(what, sink)? {
                let hint = format!("write `{plain}: true`, or remove the step");
                sink.push(Mistake::at(&what.place, "the step does nothing").hint(hint));
            }
            return Some(match plain {
                "ping" => WebSocketStep::Ping,
                _ => WebSocketStep::Close,
            });
        }
    };
    step.body = Some(RequestBody {
        compress: None,
        content_type: String::new(),
        text,
        encoding,
    });
    Some(doing)
}

/// The message that is waited for: `any`, or one like this.
fn message(node: &Node, sink: &mut Sink) -> Option<Wanted> {
    let any = matches!(&node.value, Value::Scalar { text, .. } if text == "any");
    if any {
        Some(Wanted::Exists)
    } else {
        checks::wanted(node, sink)
    }
}

fn expect(node: &Node, sink: &mut Sink) -> Expect {
    let expect = checks::expect(node, sink);
    bodily(&expect, "a message", node, sink);
    expect
}

fn extract(node: &Node, variables: &[String], sink: &mut Sink) -> Vec<checks::Extract> {
    let extract = checks::extract(node, variables, sink);
    without_head(&extract, "a message", node, sink);
    extract
}

/// What has no head cannot be expected to have one.
pub(super) fn bodily(expect: &Expect, what: &str, at: &Node, sink: &mut Sink) {
    if expect.status.is_some() || !expect.headers.is_empty() {
        let message = format!("{what} has neither status nor headers");
        sink.push(Mistake::at(&at.place, message).hint("check `body`, `json`, `size` or `within`"));
    }
}

/// The same for what is taken from it.
pub(super) fn without_head(extract: &[checks::Extract], what: &str, at: &Node, sink: &mut Sink) {
    let of_head = |from: &Source| matches!(from, Source::Header(_) | Source::Cookie(_));
    if extract.iter().any(|extract| of_head(&extract.from)) {
        sink.push(Mistake::at(&at.place, format!("{what} has no headers")).hint("extract by `regex` or `json`"));
    }
}

/// `chat.receive`, and `chat.receive.2` for the second.
fn derived(session: &str, kind: &str, before: &[Step]) -> String {
    let first = format!("{session}.{}", kind.split('_').next().unwrap_or(kind));
    let taken = |name: &str| before.iter().any(|step| step.name == name);
    let further = (2..).map(|number| format!("{first}.{number}"));
    let mut names = std::iter::once(first.clone()).chain(further);
    names.find(|name| !taken(name)).unwrap_or(first)
}
