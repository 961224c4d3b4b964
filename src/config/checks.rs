//! What a step expects of its answer and what later steps take from it: `expect` and `extract`.
//! Patterns and paths are checked here, and compiled again where they run.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::decode::{self, Fields};
use super::error::{Mistake, Sink};
use super::node::{Node, Value};
use crate::units::seconds;

/// What an answer must be; whatever is not written may be anything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Expect {
    /// Status; none means any below 400.
    pub status: Option<u16>,
    /// Header fields by name.
    pub headers: Vec<(String, Wanted)>,
    /// Values by JSONPath (RFC 9535).
    pub json: Vec<(String, Wanted)>,
    /// The body as text.
    pub body: Vec<Wanted>,
    /// Bytes of the body, both ends included.
    pub size: Option<(u64, u64)>,
    /// Latency at most, real time.
    #[serde(with = "seconds::option")]
    pub within: Option<Duration>,
    /// How long a stream may be silent at most, from its head to the first event and between events, or a server while
    /// its user stays in a session, real time.
    #[serde(with = "seconds::option", skip_serializing_if = "Option::is_none")]
    pub gap: Option<Duration>,
}

/// What a text must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// There, whatever it is.
    Exists,
    /// Exactly this.
    Is(String),
    /// With this in it.
    Contains(String),
    /// With a match of this regular expression in it.
    Matches(String),
}

/// One value that later steps of the journey use as `{{ name }}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extract {
    /// Its name.
    pub name: String,
    /// Where it comes from.
    pub from: Source,
}

/// Where in an answer a value is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The first value at this JSONPath.
    Json(String),
    /// The first group of the first match in the body, or the whole match where there is no group.
    Regex(String),
    /// The first header field of this name.
    Header(String),
    /// The cookie of this name that the answer sets.
    Cookie(String),
}

/// The `expect` of a step.
pub(super) fn expect(node: &Node, sink: &mut Sink) -> Expect {
    let Some(mut fields) = Fields::of(node, "`expect`", sink) else {
        return Expect::default();
    };
    let expect = expectations(&mut fields, sink);
    fields.finish(sink);
    expect
}

/// The same of a stream of events.
pub(super) fn expect_of_stream(node: &Node, sink: &mut Sink) -> Expect {
    let Some(mut fields) = Fields::of(node, "`expect`", sink) else {
        return Expect::default();
    };
    let gap = fields.take("gap").and_then(|node| gap(node, sink));
    let expect = expectations(&mut fields, sink);
    fields.finish(sink);
    Expect { gap, ..expect }
}

/// The same of who stays in a session, in which answers come unasked.
pub(super) fn expect_of_stay(node: &Node, sink: &mut Sink) -> Expect {
    let Some(mut fields) = Fields::of(node, "`expect` of a stay", sink) else {
        return Expect::default();
    };
    let gap = fields.take("gap").and_then(|node| gap(node, sink));
    fields.finish(sink);
    Expect {
        gap,
        ..Expect::default()
    }
}

fn gap(node: &Node, sink: &mut Sink) -> Option<Duration> {
    let gap = decode::duration(node, sink)?;
    if gap.is_zero() {
        let hint = "write how long it may be silent, e.g. 5s";
        sink.push(Mistake::at(&node.place, "no stream is never silent").hint(hint));
    }
    Some(gap)
}

/// The same from the keys of a mapping that may have others.
pub(super) fn expectations(fields: &mut Fields<'_>, sink: &mut Sink) -> Expect {
    let mut expect = Expect {
        status: fields.take("status").and_then(|node| status(node, sink)),
        ..Expect::default()
    };
    if let Some(node) = fields.take("headers") {
        for entry in decode::map(node, "headers", sink) {
            expect
                .headers
                .extend(wanted(&entry.node, sink).map(|wanted| (entry.key.clone(), wanted)));
        }
    }
    if let Some(node) = fields.take("json") {
        for entry in decode::map(node, "json", sink) {
            if let Err(problem) = jsonpath_rust::parser::parse_json_path(&entry.key) {
                sink.push(no_path(&entry.key, &problem.to_string(), &entry.place));
            }
            expect
                .json
                .extend(wanted(&entry.node, sink).map(|wanted| (entry.key.clone(), wanted)));
        }
    }
    expect
        .body
        .extend(fields.take("body").and_then(|node| wanted(node, sink)));
    expect.size = fields.take("size").and_then(|node| size(node, sink));
    expect.within = fields.take("within").and_then(|node| decode::duration(node, sink));
    expect
}

/// The `extract` of a step; `before` are the names taken already.
pub(super) fn extract(node: &Node, before: &[String], sink: &mut Sink) -> Vec<Extract> {
    let mut extracts: Vec<Extract> = Vec::new();
    for entry in decode::map(node, "extract", sink) {
        let plain = entry.key.starts_with(|c: char| c.is_ascii_lowercase())
            && entry.key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !plain || ["random", "unique", "id"].contains(&entry.key.as_str()) {
            let hint = "use lower-case letters, digits and `_`; `id`, `random` and `unique` are taken";
            sink.push(Mistake::at(&entry.place, format!("{:?} cannot name a variable", entry.key)).hint(hint));
            continue;
        }
        if before.contains(&entry.key) {
            let hint = "an earlier step of the journey extracts it already; choose another name";
            sink.push(Mistake::at(&entry.place, format!("two variables are called {:?}", entry.key)).hint(hint));
            continue;
        }
        extracts.extend(source(&entry.node, sink).map(|from| Extract {
            name: entry.key.clone(),
            from,
        }));
    }
    extracts
}

fn source(node: &Node, sink: &mut Sink) -> Option<Source> {
    let mut fields = Fields::of(node, "an extract", sink)?;
    let mut found = Vec::new();
    for kind in ["json", "regex", "header", "cookie"] {
        if let Some(node) = fields.take(kind) {
            found.extend(decode::text(node, sink).map(|text| (kind, text, node)));
        }
    }
    fields.finish(sink);
    let [(kind, text, at)] = found.as_slice() else {
        let hint = "write one of { json: $.id }, { regex: 'id=(\\d+)' }, { header: etag } or { cookie: sid }";
        sink.push(Mistake::at(&node.place, "a value comes from one place of the answer").hint(hint));
        return None;
    };
    match *kind {
        "json" => match jsonpath_rust::parser::parse_json_path(text) {
            Ok(_) => Some(Source::Json(text.clone())),
            Err(problem) => {
                sink.push(no_path(text, &problem.to_string(), &at.place));
                None
            }
        },
        "regex" => regex(text, at, sink).map(Source::Regex),
        "header" => Some(Source::Header(text.clone())),
        _ => Some(Source::Cookie(text.clone())),
    }
}

/// What a text must be.
pub(super) fn wanted(node: &Node, sink: &mut Sink) -> Option<Wanted> {
    if !matches!(node.value, Value::Map(_)) {
        return decode::text(node, sink).map(Wanted::Is);
    }
    let mut fields = Fields::of(node, "a check", sink)?;
    let given = ["exists", "contains", "matches"].map(|key| node.get(key).is_some());
    let is_one = given.into_iter().filter(|given| *given).count() == 1;
    let exists = fields.take("exists").and_then(|node| decode::boolean(node, sink));
    let contains = fields.take("contains").and_then(|node| decode::text(node, sink));
    let matches = fields
        .take("matches")
        .and_then(|node| regex(&decode::text(node, sink)?, node, sink));
    fields.finish(sink);
    match (exists, contains, matches) {
        (Some(true), None, None) => Some(Wanted::Exists),
        (None, Some(text), None) => Some(Wanted::Contains(text)),
        (None, None, Some(pattern)) => Some(Wanted::Matches(pattern)),
        // What is wrong with it is told already.
        _ if is_one && exists != Some(false) => None,
        _ => {
            let hint = "write a value, { contains: TEXT }, { matches: REGEX } or { exists: true }";
            sink.push(Mistake::at(&node.place, "a check wants one thing").hint(hint));
            None
        }
    }
}

fn regex(pattern: &str, node: &Node, sink: &mut Sink) -> Option<String> {
    match regex::bytes::Regex::new(pattern) {
        Ok(_) => Some(pattern.to_owned()),
        Err(problem) => {
            let problem = problem.to_string();
            let problem = problem.lines().last().unwrap_or_default().trim();
            let message = format!("{pattern:?} is not a regular expression: {problem}");
            sink.push(Mistake::at(&node.place, message));
            None
        }
    }
}

fn no_path(path: &str, problem: &str, place: &super::source::Place) -> Mistake {
    let problem = problem.lines().last().unwrap_or_default().trim();
    Mistake::at(place, format!("{path:?} is not a JSONPath: {problem}")).hint("write e.g. $.id or $.items[0].price")
}

fn status(node: &Node, sink: &mut Sink) -> Option<u16> {
    let text = decode::text(node, sink)?;
    let status = text.parse().ok().filter(|status| (100..=599).contains(status));
    if status.is_none() {
        let message = format!("an HTTP status is a number from 100 to 599, {text:?} is not");
        let hint = "write one status, such as 201, or leave it out: then any below 400 is as expected";
        sink.push(Mistake::at(&node.place, message).hint(hint));
    }
    status
}

fn size(node: &Node, sink: &mut Sink) -> Option<(u64, u64)> {
    let text = decode::text(node, sink)?;
    let (low, high) = text.split_once("..").unwrap_or((&text, &text));
    let read = |text: &str| text.trim().replace('_', "").parse::<u64>().ok();
    match (read(low), read(high)) {
        (Some(low), Some(high)) if low <= high => Some((low, high)),
        _ => {
            let hint = "write one number of bytes or two, such as 13 or 1..100_000";
            sink.push(Mistake::at(&node.place, format!("{text:?} is not a size")).hint(hint));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};

    fn profile(steps: &str) -> Result<Vec<(Expect, Vec<Extract>)>, String> {
        let text = format!(
            "name: x\ntarget: http://127.0.0.1:1\nstages: [{{ tier: 1, users: 1, hold: 1m }}]\njourneys:\n  shop:\n    steps:\n{steps}"
        );
        let sources = Sources {
            profile: ("x.yaml".to_owned(), text),
            ..Sources::default()
        };
        let config = load(&sources, &[]).map_err(|errors| errors.to_string())?;
        let steps = config.profile.journeys[0].steps.iter();
        Ok(steps.map(|step| (step.expect.clone(), step.extract.clone())).collect())
    }

    #[test]
    fn checks_and_extracts_are_read() {
        let steps = profile(
            "      - post: /orders
        expect:
          status: 201
          headers: { content-type: { contains: json } }
          json: { $.state: new, \"$.items[0]\": { exists: true } }
          body: { matches: 'a+b' }
          size: 1..1_000
          within: 300ms
        extract: { order: { json: $.id }, tag: { header: etag }, sid: { cookie: sid }, n: { regex: 'n=(\\d+)' } }
      - get: /orders/{{ order }}?n={{ n }}
",
        )
        .unwrap();
        let (expect, extract) = &steps[0];
        assert_eq!(expect.status, Some(201));
        assert_eq!(
            expect.headers,
            [("content-type".to_owned(), Wanted::Contains("json".to_owned()))]
        );
        assert_eq!(expect.json[1], ("$.items[0]".to_owned(), Wanted::Exists));
        assert_eq!(
            (expect.size, expect.within),
            (Some((1, 1000)), Some(Duration::from_millis(300)))
        );
        assert_eq!(extract.len(), 4);
        assert_eq!(extract[3].from, Source::Regex("n=(\\d+)".to_owned()));
    }

    #[test]
    fn a_stream_may_be_silent_for_so_long() {
        let steps = "      - sse: /prices\n        until: { for: 1m }\n        expect: { gap: 5s, within: 2m }\n";
        let (expect, _) = &profile(steps).unwrap()[0];
        assert_eq!(expect.gap, Some(Duration::from_secs(5)));
        assert_eq!(expect.within, Some(Duration::from_secs(120)));
        let steps = "      - websocket: /feed\n        steps: [{ stay: 1m, expect: { gap: 5s } }, close]\n";
        let (expect, _) = &profile(steps).unwrap()[1];
        assert_eq!(expect.gap, Some(Duration::from_secs(5)));
        let written = serde_json::to_value(Expect::default()).unwrap();
        assert!(written.get("gap").is_none(), "only where it is expected: {written}");
    }

    #[test]
    fn wrong_checks_are_told_with_place_and_remedy() {
        for (steps, parts) in [
            (
                "      - get: /{{ order }}\n",
                &["x.yaml:7:", "unknown template function or variable \"order\""][..],
            ),
            (
                "      - get: /\n        extract: { order: { json: $.id } }\n      - get: /{{ ordr }}\n",
                &["x.yaml:9:", "did you mean \"order\"?"],
            ),
            (
                "      - get: /\n        extract: { id: { json: $.id } }\n",
                &["x.yaml:8:", "cannot name a variable"],
            ),
            (
                "      - get: /\n        extract: { a: { json: 'id[' } }\n",
                &["is not a JSONPath", "write e.g. $.id"],
            ),
            (
                "      - get: /\n        extract: { a: { jsn: $.id } }\n",
                &["unknown key \"jsn\"", "json"],
            ),
            (
                "      - get: /\n        expect: { body: { matches: '(' } }\n",
                &["is not a regular expression"],
            ),
            ("      - get: /\n        expect: { size: 9..1 }\n", &["is not a size"]),
            (
                "      - get: /\n        expect: { gap: 5s }\n",
                &["x.yaml:8:", "unknown key \"gap\""],
            ),
            (
                "      - sse: /\n        until: { end: true }\n        expect: { gap: 0s }\n",
                &["x.yaml:9:", "no stream is never silent", "e.g. 5s"],
            ),
            (
                "      - websocket: /\n        steps: [{ stay: 1m, expect: { within: 5s } }]\n",
                &["x.yaml:8:", "unknown key \"within\"", "gap"],
            ),
            (
                "      - websocket: /\n        steps: [{ receive: any, expect: { gap: 5s } }]\n",
                &["x.yaml:8:", "unknown key \"gap\""],
            ),
            ("      - get: /\n        expect: { status: 99 }\n", &["100 to 599"]),
            (
                "      - get: /\n        expect: { status: 2xx }\n",
                &["x.yaml:8:", "\"2xx\" is not", "such as 201", "any below 400"],
            ),
            (
                "      - gte: /\n      - pauze: 5s\n",
                &["did you mean \"get\"?", "did you mean \"pause\"?"],
            ),
            (
                "      - get: /\n        whatever: 5s\n",
                &["repeat", "if", "group", "pause", "together", "steps"],
            ),
            (
                "      - get: /\n        expect: { json: { $.a: { exists: false } } }\n",
                &["a check wants one thing"],
            ),
        ] {
            let told = profile(steps).unwrap_err();
            for part in parts {
                assert!(told.contains(part), "{part} is not in\n{told}");
            }
        }
    }
}
