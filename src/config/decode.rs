//! Reading typed values out of the tree, noting every mistake and going on.

use std::time::Duration;

use super::error::{Mistake, Sink};
use super::nearest::suggest;
use super::node::{Entry, Node, Value};
use super::source::Spanned;
use crate::units::{DurationError, parse_duration};

/// The keys of a mapping while they are read; what nobody asked for is an unknown key.
pub(super) struct Fields<'n> {
    node: &'n Node,
    what: String,
    entries: &'n [Entry],
    known: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// The keys of `node`, which must be a mapping.
    pub(super) fn of(node: &'n Node, what: impl Into<String>, sink: &mut Sink) -> Option<Self> {
        let what = what.into();
        match &node.value {
            Value::Map(entries) => Some(Self {
                node,
                what,
                entries,
                known: Vec::new(),
            }),
            _ => {
                sink.push(Mistake::at(
                    &node.place,
                    format!("{what} is a mapping of keys, not {}", node.kind()),
                ));
                None
            }
        }
    }

    /// The value of a key, if it is there and not empty.
    pub(super) fn take(&mut self, key: &'static str) -> Option<&'n Node> {
        self.known.push(key);
        self.entries
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| &entry.node)
            .filter(|node| !node.is_null())
    }

    /// The value of a key that must be there.
    pub(super) fn require(&mut self, key: &'static str, form: &str, sink: &mut Sink) -> Option<&'n Node> {
        let found = self.take(key);
        if found.is_none() {
            sink.push(
                Mistake::at(&self.node.place, format!("{} has no {key:?}", self.what))
                    .hint(format!("add `{key}: {form}`")),
            );
        }
        found
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self, sink: &mut Sink) {
        for entry in self
            .entries
            .iter()
            .filter(|entry| !self.known.contains(&entry.key.as_str()))
        {
            let hint = suggest(&entry.key, self.known.iter().copied());
            sink.push(Mistake::at(&entry.place, format!("unknown key {:?} in {}", entry.key, self.what)).hint(hint));
        }
    }
}

/// The items of a list.
pub(super) fn list<'n>(node: &'n Node, what: &str, sink: &mut Sink) -> &'n [Node] {
    match &node.value {
        Value::List(items) => items,
        _ => {
            let hint = "write `- item` lines below the key, or [item, item]";
            sink.push(Mistake::at(&node.place, format!("{what} is a list, not {}", node.kind())).hint(hint));
            &[]
        }
    }
}

/// The keys and values of a mapping with free keys.
pub(super) fn map<'n>(node: &'n Node, what: &str, sink: &mut Sink) -> &'n [Entry] {
    match &node.value {
        Value::Map(entries) => entries,
        _ => {
            sink.push(Mistake::at(
                &node.place,
                format!("{what} is a mapping, not {}", node.kind()),
            ));
            &[]
        }
    }
}

/// Text, also when it looks like a number.
pub(super) fn text(node: &Node, sink: &mut Sink) -> Option<String> {
    match &node.value {
        Value::Scalar { text, .. } if !node.is_null() => Some(text.clone()),
        _ => {
            sink.push(Mistake::at(
                &node.place,
                format!("expected text, found {}", node.kind()),
            ));
            None
        }
    }
}

/// A name that reports print and objectives ask for.
pub(super) fn title(node: &Node, sink: &mut Sink) -> Option<Spanned<String>> {
    let name = spanned(node, sink)?;
    let text = &name.value;
    if text.is_empty() || text.trim() != text || text.chars().any(char::is_control) {
        let message = format!("{text:?} is no name: it is empty, or begins or ends with a space, or has a line break");
        sink.push(Mistake::at(&node.place, message).hint("write one like `checkout` or `pay by card`"));
    }
    Some(name)
}

/// A name that can also be that of a directory.
pub(super) fn name(node: &Node, sink: &mut Sink) -> Option<String> {
    let name = text(node, sink)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.chars().all(plain) {
        let hint = "use at most 64 letters, digits, `-`, `_` and `.`, and no `.` in front";
        sink.push(Mistake::at(&node.place, format!("{name:?} cannot be a name")).hint(hint));
        return None;
    }
    Some(name)
}

/// One of several words, each with its meaning.
pub(super) fn choice<T: Copy>(node: &Node, what: &str, known: &[(&'static str, T)], sink: &mut Sink) -> Option<T> {
    let text = text(node, sink)?;
    let found = known.iter().find(|(word, _)| *word == text);
    if found.is_none() {
        let hint = suggest(&text, known.iter().map(|(word, _)| *word));
        sink.push(Mistake::at(&node.place, format!("unknown {what} {text:?}")).hint(hint));
    }
    found.map(|(_, meaning)| *meaning)
}

/// Text with its place.
pub(super) fn spanned(node: &Node, sink: &mut Sink) -> Option<Spanned<String>> {
    Some(Spanned {
        value: text(node, sink)?,
        place: node.place.clone(),
    })
}

/// A value read by `read`, or a mistake that says which form is expected.
fn parsed<T>(node: &Node, form: &str, sink: &mut Sink, read: impl Fn(&str) -> Option<T>) -> Option<T> {
    let text = text(node, sink)?;
    let value = read(&text);
    if value.is_none() {
        sink.push(Mistake::at(&node.place, format!("{text:?} is not {form}")));
    }
    value
}

/// `300ms`, `90s`, `5m`, `1h30m`.
pub(super) fn duration(node: &Node, sink: &mut Sink) -> Option<Duration> {
    let text = text(node, sink)?;
    let mistake = match parse_duration(&text) {
        Ok(duration) => return Some(duration),
        Err(error @ DurationError::TooLong(_)) => {
            Mistake::at(&node.place, error.to_string()).hint("write a shorter one".to_owned())
        }
        Err(DurationError::Not(_)) => {
            let hint = match text.trim().parse::<f64>() {
                Ok(_) => format!("add a unit: {0}s, {0}m or {0}h", text.trim()),
                Err(_) => "write a number with a unit, such as 300ms, 90s, 5m or 1h30m".to_owned(),
            };
            Mistake::at(&node.place, format!("{text:?} is not a duration")).hint(hint)
        }
    };
    sink.push(mistake);
    None
}

/// `5`, `0.5`, `10_000`.
pub(super) fn number(node: &Node, sink: &mut Sink) -> Option<f64> {
    parsed(node, "a number", sink, read_number)
}

/// `10_000`.
pub(super) fn count(node: &Node, sink: &mut Sink) -> Option<u64> {
    parsed(node, "a whole number, such as 10_000", sink, |text| {
        text.replace('_', "").parse().ok()
    })
}

/// `true` or `false`.
pub(super) fn boolean(node: &Node, sink: &mut Sink) -> Option<bool> {
    parsed(node, "true or false", sink, |text| text.parse().ok())
}

/// `34%`, 0 to 100.
pub(super) fn share(node: &Node, sink: &mut Sink) -> Option<f64> {
    parsed(
        node,
        "a share in percent from 0% to 100%, such as 34%",
        sink,
        read_share,
    )
}

/// `500/s`.
pub(super) fn rate(node: &Node, sink: &mut Sink) -> Option<f64> {
    parsed(node, "a rate per second, such as 500/s", sink, read_rate)
}

pub(super) fn read_number(text: &str) -> Option<f64> {
    let digits = text.trim().replace('_', "");
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.' || c == '-') {
        return None;
    }
    digits.parse::<f64>().ok().filter(|number| number.is_finite())
}

pub(super) fn read_share(text: &str) -> Option<f64> {
    let percent = read_number(text.trim().strip_suffix('%')?)?;
    (0.0..=100.0).contains(&percent).then_some(percent / 100.0)
}

pub(super) fn read_rate(text: &str) -> Option<f64> {
    read_number(text.trim().strip_suffix("/s")?).filter(|rate| *rate >= 0.0)
}
