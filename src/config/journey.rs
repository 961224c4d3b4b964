//! Journeys: the steps one user repeats, what they send and what they take from the answers.
//! Reads one part of a profile's tree; names across files are checked in `load`.

use std::time::Duration;

use super::checks::{self, Expect, Extract};
use super::decode::{self, Fields};
use super::error::{Mistake, Sink};
use super::node::{Node, Value};
use super::source::Spanned;
use super::template::{self, Holes, Piece};

const METHODS: [&str; 6] = ["get", "post", "put", "patch", "delete", "head"];

/// The steps one user repeats.
#[derive(Clone, Debug)]
pub struct Journey {
    /// Its name.
    pub name: String,
    /// Relative weight, positive.
    pub weight: f64,
    /// Shortest and longest think time, real time.
    pub think: (Duration, Duration),
    /// Requests in order.
    pub steps: Vec<Step>,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Step {
    /// The name given or derived: the journey's, with `.2` and so on for further steps.
    pub name: String,
    /// HTTP method, upper case.
    pub method: String,
    /// Path.
    pub path: Vec<Piece>,
    /// Extra headers.
    pub headers: Vec<(String, Vec<Piece>)>,
    /// Body.
    pub body: Option<RequestBody>,
    /// What an answer must be.
    pub expect: Expect,
    /// What later steps of the journey take from the answer.
    pub extract: Vec<Extract>,
    /// The ledger that records the acknowledged id.
    pub ledger: Option<Spanned<String>>,
}

impl Step {
    /// Whether it sends anything that an earlier step extracted.
    #[must_use]
    pub fn has_variables(&self) -> bool {
        let headers = self.headers.iter().flat_map(|(_, value)| value);
        let body = self.body.iter().flat_map(|body| &body.text);
        let mut pieces = self.path.iter().chain(headers).chain(body);
        pieces.any(|piece| matches!(piece, Piece::Variable(_)))
    }
}

/// A body with its content type.
#[derive(Clone, Debug)]
pub struct RequestBody {
    /// Content-Type.
    pub content_type: String,
    /// The text.
    pub text: Vec<Piece>,
    /// It is JSON whose strings hold the holes.
    pub json: bool,
}

/// All journeys of a profile.
pub(super) fn journeys(node: &Node, sink: &mut Sink) -> Vec<Journey> {
    let entries = decode::map(node, "journeys", sink);
    if entries.is_empty() && matches!(node.value, Value::Map(_)) {
        sink.push(Mistake::at(&node.place, "there are no journeys").hint("users need at least one"));
    }
    let mut names: Vec<String> = Vec::new();
    entries
        .iter()
        .filter_map(|entry| journey(&entry.key, &entry.node, &mut names, sink))
        .collect()
}

fn journey(name: &str, node: &Node, names: &mut Vec<String>, sink: &mut Sink) -> Option<Journey> {
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
        .and_then(|node| think(node, sink))
        .unwrap_or_default();
    let steps_node = fields.require("steps", "[{ get: / }]", sink);
    fields.finish(sink);
    let items = decode::list(steps_node?, "steps", sink);
    if items.is_empty() {
        sink.push(Mistake::at(&node.place, format!("journey {name:?} has no steps")).hint("add `- get: /`"));
    }
    let mut steps = Vec::new();
    // What the steps so far have extracted.
    let mut variables: Vec<String> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let derived = if index == 0 {
            name.to_owned()
        } else {
            format!("{name}.{}", index + 1)
        };
        let Some(step) = step(derived, item, &variables, sink) else {
            continue;
        };
        if names.contains(&step.name) {
            let hint = "give the step another `name`";
            sink.push(Mistake::at(&item.place, format!("two steps are called {:?}", step.name)).hint(hint));
        }
        names.push(step.name.clone());
        variables.extend(step.extract.iter().map(|extract| extract.name.clone()));
        steps.push(step);
    }
    Some(Journey {
        name: name.to_owned(),
        weight: weight.unwrap_or(1.0),
        think,
        steps,
    })
}

fn think(node: &Node, sink: &mut Sink) -> Option<(Duration, Duration)> {
    let text = decode::text(node, sink)?;
    let (low, high) = text.split_once("..").unwrap_or((&text, &text));
    let read = |text: &str| crate::units::parse_duration(text).ok();
    match (read(low), read(high)) {
        (Some(low), Some(high)) if low <= high => Some((low, high)),
        (Some(_), Some(_)) => {
            sink.push(
                Mistake::at(&node.place, format!("{text:?} ends before it begins"))
                    .hint(format!("write {high}..{low}")),
            );
            None
        }
        _ => {
            let mistake = Mistake::at(&node.place, format!("{text:?} is not a think time"));
            sink.push(mistake.hint("write one duration or two, such as 5s or 5s..25s"));
            None
        }
    }
}

fn step(derived: String, node: &Node, variables: &[String], sink: &mut Sink) -> Option<Step> {
    let holes = Holes { variables, id: false };
    let mut fields = Fields::of(node, "a step", sink)?;
    let name = fields
        .take("name")
        .and_then(|node| decode::text(node, sink))
        .unwrap_or(derived);
    let mut found: Option<(&str, &Node)> = None;
    for method in METHODS {
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
        let rooted = matches!(path.first(), Some(Piece::Text(text)) if text.starts_with('/'));
        if !rooted {
            sink.push(Mistake::at(&node.place, "a path begins with `/`").hint("the host comes from the target"));
        }
        Some(path)
    });
    let mut headers = Vec::new();
    for entry in fields
        .take("headers")
        .map(|node| decode::map(node, "headers", sink))
        .unwrap_or_default()
    {
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
        headers.extend(template(&entry.node, &holes, sink).map(|value| (entry.key.clone(), value)));
    }
    let body = body(&mut fields, &holes, sink);
    let expect = fields
        .take("expect")
        .map(|node| checks::expect(node, sink))
        .unwrap_or_default();
    let extract = fields
        .take("extract")
        .map(|node| checks::extract(node, variables, sink))
        .unwrap_or_default();
    let ledger = fields.take("ledger").and_then(|node| decode::spanned(node, sink));
    let unknown_method = found.is_none();
    fields.finish(sink);
    if unknown_method {
        sink.push(
            Mistake::at(&node.place, "the step sends nothing")
                .hint(format!("add one of {}: /path", METHODS.join(", "))),
        );
    }
    Some(Step {
        name,
        method: found?.0.to_uppercase(),
        path: path?,
        headers,
        body,
        expect,
        extract,
        ledger,
    })
}

fn body(fields: &mut Fields<'_>, holes: &Holes<'_>, sink: &mut Sink) -> Option<RequestBody> {
    let json = fields.take("json");
    let body = fields.take("body");
    let content_type = fields.take("content_type").and_then(|node| decode::text(node, sink));
    if let (Some(_), Some(body)) = (json, body) {
        sink.push(Mistake::at(&body.place, "a step has either `json` or `body`").hint("remove one of the two"));
    }
    if let Some(json) = json {
        let before = sink.mistakes.len();
        check_templates(json, holes, sink);
        if sink.mistakes.len() > before {
            return None;
        }
        // Holes stay as they are in JSON text: none of them contains a character that JSON escapes.
        let text = json.to_json().to_string();
        let text = template::parse(&text, holes).ok()?;
        return Some(RequestBody {
            content_type: content_type.unwrap_or_else(|| "application/json".to_owned()),
            text,
            json: true,
        });
    }
    let text = template(body?, holes, sink)?;
    Some(RequestBody {
        content_type: content_type.unwrap_or_else(|| "text/plain; charset=utf-8".to_owned()),
        text,
        json: false,
    })
}

fn check_templates(node: &Node, holes: &Holes<'_>, sink: &mut Sink) {
    match &node.value {
        Value::Scalar { .. } if node.is_null() => {}
        Value::Scalar { .. } => {
            let _ = template(node, holes, sink);
        }
        Value::List(items) => items.iter().for_each(|item| check_templates(item, holes, sink)),
        Value::Map(entries) => entries
            .iter()
            .for_each(|entry| check_templates(&entry.node, holes, sink)),
    }
}

/// A text with holes.
pub(super) fn template(node: &Node, holes: &Holes<'_>, sink: &mut Sink) -> Option<Vec<Piece>> {
    let text = decode::text(node, sink)?;
    template::parse(&text, holes)
        .map_err(|wrong| {
            sink.push(Mistake::at(&node.part(wrong.offset, wrong.length), wrong.message).hint(wrong.hint));
        })
        .ok()
}
