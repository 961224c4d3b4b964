//! Steps over raw TCP: `tcp: { port, tls, send, send_hex, until, close }`.

use super::body::{Encoding, RequestBody};
use super::checks;
use super::decode::{self, Fields};
use super::error::{Mistake, Sink};
use super::journey::{self, Step};
use super::node::{Node, Value};
use super::protocol::{Protocol, TcpStep, TcpUntil};
use super::streams;
use super::template::{Holes, Piece};

/// Bytes of an answer at most; a longer one fails.
const ANSWER_MAX: u64 = 64 << 20;

/// A step with `tcp`, whose other keys are in `fields`.
pub(super) fn step(
    name: String,
    node: &Node,
    mut fields: Fields<'_>,
    variables: &[String],
    sink: &mut Sink,
) -> Option<Step> {
    let holes = Holes { variables, id: false };
    let mut step = Step {
        name,
        method: "TCP".to_owned(),
        timeout: journey::timeout(&mut fields, sink),
        ledger: fields.take("ledger").and_then(|node| decode::spanned(node, sink)),
        ..Step::default()
    };
    if let Some(node) = fields.take("expect") {
        step.expect = checks::expect(node, sink);
        streams::bodily(&step.expect, "an answer over TCP", node, sink);
    }
    if let Some(node) = fields.take("extract") {
        step.extract = checks::extract(node, variables, sink);
        streams::without_head(&step.extract, "an answer over TCP", node, sink);
    }
    fields.finish(sink);
    let mut fields = Fields::of(node, "`tcp`", sink)?;
    let until_node = fields.take("until");
    let tcp = TcpStep {
        port: fields.take("port").and_then(|node| port(node, sink)),
        tls: fields
            .take("tls")
            .and_then(|node| decode::boolean(node, sink))
            .unwrap_or_default(),
        until: until_node.and_then(|node| until(node, sink)).unwrap_or(TcpUntil::Sent),
        close: fields
            .take("close")
            .and_then(|node| decode::boolean(node, sink))
            .unwrap_or_default(),
    };
    let (text, hex) = (fields.take("send"), fields.take("send_hex"));
    fields.finish(sink);
    if let (Some(_), Some(hex)) = (text, hex) {
        let message = "a step has either `send` or `send_hex`";
        sink.push(Mistake::at(&hex.place, message).hint("remove one of the two"));
    }
    if text.is_none() && hex.is_none() && until_node.is_none() {
        let hint = "add `send: \"PING\\r\\n\"`, and `until: \"\\r\\n\"` for its answer";
        sink.push(Mistake::at(&node.place, "the step neither sends nor awaits anything").hint(hint));
    }
    let text = match (text, hex) {
        (Some(node), _) => journey::template(node, &holes, sink),
        (None, Some(node)) => self::hex(node, sink).map(|bytes| vec![Piece::Bytes(bytes)]),
        (None, None) => None,
    };
    if let (Some(ledger), None) = (&step.ledger, until_node) {
        let message = "what nobody answers is not acknowledged";
        sink.push(Mistake::at(&ledger.place, message).hint("add `until`, or remove `ledger`"));
    }
    step.body = text.map(|text| RequestBody {
        content_type: String::new(),
        text,
        encoding: Encoding::Plain,
        compress: None,
    });
    step.protocol = Protocol::Tcp(tcp);
    Some(step)
}

fn port(node: &Node, sink: &mut Sink) -> Option<u16> {
    let port = decode::count(node, sink)?;
    let port = u16::try_from(port).ok().filter(|port| *port > 0);
    if port.is_none() {
        sink.push(Mistake::at(&node.place, "a port is a number from 1 to 65535"));
    }
    port
}

fn until(node: &Node, sink: &mut Sink) -> Option<TcpUntil> {
    if !matches!(node.value, Value::Map(_)) {
        let delimiter = decode::text(node, sink)?;
        if delimiter.is_empty() {
            sink.push(Mistake::at(&node.place, "an empty delimiter ends nothing").hint("write e.g. \"\\r\\n\""));
            return None;
        }
        return Some(TcpUntil::Delimiter(delimiter));
    }
    let mut fields = Fields::of(node, "`until`", sink)?;
    let bytes = fields.take("bytes").and_then(|node| decode::count(node, sink));
    let prefix = fields.take("prefix").and_then(|node| decode::count(node, sink));
    let close = fields.take("close").and_then(|node| decode::boolean(node, sink));
    fields.finish(sink);
    match (bytes, prefix, close) {
        (Some(bytes @ 1..=ANSWER_MAX), None, None) => Some(TcpUntil::Bytes(bytes)),
        (None, Some(prefix @ (1 | 2 | 4 | 8)), None) => Some(TcpUntil::Prefix(prefix as u8)),
        (None, None, Some(true)) => Some(TcpUntil::Close),
        _ => {
            let hint = "write \"\\r\\n\" (a delimiter), { bytes: 12 }, { prefix: 4 } (a length of 1, 2, 4 or 8 bytes in front) or { close: true }";
            sink.push(Mistake::at(&node.place, "an answer ends in one way").hint(hint));
            None
        }
    }
}

/// Bytes as two digits each.
pub(super) fn hex(node: &Node, sink: &mut Sink) -> Option<Vec<u8>> {
    let text = decode::text(node, sink)?;
    let digits: Vec<u32> = text
        .chars()
        .filter(|c| !c.is_ascii_whitespace())
        .map_while(|c| c.to_digit(16))
        .collect();
    let whole = digits.len() == text.chars().filter(|c| !c.is_ascii_whitespace()).count();
    if !whole || digits.is_empty() || digits.len() % 2 == 1 {
        let hint = "write two digits for each byte, such as \"0d 0a\"";
        sink.push(Mistake::at(&node.place, format!("{text:?} is not hexadecimal")).hint(hint));
        return None;
    }
    Some(
        digits
            .chunks_exact(2)
            .map(|pair| (pair[0] * 16 + pair[1]) as u8)
            .collect(),
    )
}
