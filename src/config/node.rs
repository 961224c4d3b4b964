//! YAML text -> a small tree in which every value knows its place. Duplicate keys are mistakes; size, depth and the
//! number of values (aliases expanded) are bounded. Types are decided by whoever reads the tree, not here.

use std::collections::HashMap;
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle, Span};

use super::error::{Mistake, Sink};
use super::source::{Place, Source};

const SIZE_MAX: usize = 1 << 20;
const DEPTH_MAX: usize = 32;
const NODES_MAX: usize = 50_000;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// Text; `plain` when it was written without quotes and may therefore be a number, a boolean or nothing.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) node: Node,
}

impl Node {
    /// Whether it was left empty (`key:`, `~` or `null`).
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null"))
    }

    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            _ if self.is_null() => "nothing",
            Value::Scalar { .. } => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// The place of a part of a scalar's text, counted in characters.
    pub(super) fn part(&self, offset: usize, length: usize) -> Place {
        match &self.value {
            Value::Scalar { plain: true, .. } => self.place.part(offset, length),
            Value::Scalar { plain: false, .. } => self.place.part(offset + 1, length),
            _ => self.place.clone(),
        }
    }

    /// The value of a key of a mapping.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node),
            _ => None,
        }
    }

    /// The same as JSON, with plain scalars read as YAML's core schema does (and `10_000` as a number).
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Scalar { text, plain } => scalar_to_json(text, *plain),
            Value::List(items) => items.iter().map(Node::to_json).collect(),
            Value::Map(entries) => entries
                .iter()
                .map(|entry| (entry.key.clone(), entry.node.to_json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }
}

fn scalar_to_json(text: &str, plain: bool) -> serde_json::Value {
    if !plain {
        return text.into();
    }
    match text {
        "" | "~" | "null" => return serde_json::Value::Null,
        "true" => return true.into(),
        "false" => return false.into(),
        _ => {}
    }
    let numeric = text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.');
    let digits = text.replace('_', "");
    if numeric {
        if let Ok(whole) = digits.parse::<i64>() {
            return whole.into();
        }
        if let Ok(number) = digits.parse::<f64>() {
            return number.into();
        }
    }
    text.into()
}

/// Parses one YAML document. `shift` is how many characters of the source's first line stand before `text`.
pub(super) fn parse(source: &Arc<Source>, text: &str, shift: usize, sink: &mut Sink) -> Option<Node> {
    if text.len() > SIZE_MAX {
        sink.push(Mistake::at(&Place::start(source), "the file is larger than 1 MiB").hint("split it, or write less"));
        return None;
    }
    let mut builder = Builder {
        source,
        shift,
        stack: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        nodes: 0,
        documents: 0,
    };
    let options = granit_parser::options! { emit_comments: false, flow_nesting_limit: DEPTH_MAX + 1, block_nesting_limit: DEPTH_MAX + 1 };
    for step in Parser::new_from_str_with_options(text, options) {
        let built = match step {
            Ok((event, span)) => builder.event(event, span, sink),
            Err(error) => {
                let marker = error.marker();
                let place = builder.place(marker.line(), marker.col(), 1);
                Err(Mistake::at(&place, format!("this is not YAML: {}", error.info()))
                    .hint("check the indentation, colons, quotes and brackets around here"))
            }
        };
        if let Err(mistake) = built {
            sink.push(mistake);
            return None;
        }
    }
    builder.root.or_else(|| {
        sink.push(Mistake::at(&Place::start(source), "the file is empty"));
        None
    })
}

enum Open {
    List {
        items: Vec<Node>,
        place: Place,
        anchor: usize,
    },
    Map {
        entries: Vec<Entry>,
        key: Option<(String, Place)>,
        place: Place,
        anchor: usize,
    },
}

struct Builder<'s> {
    source: &'s Arc<Source>,
    shift: usize,
    stack: Vec<Open>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    nodes: usize,
    documents: usize,
}

impl Builder<'_> {
    fn place(&self, line: usize, column: usize, length: usize) -> Place {
        let line = line.max(1);
        let shift = if line == 1 { self.shift } else { 0 };
        Place {
            source: Arc::clone(self.source),
            line,
            column: column + 1 + shift,
            length: length.max(1),
        }
    }

    fn place_of(&self, span: Span) -> Place {
        let same_line = span.end.line() == span.start.line();
        let length = if same_line {
            span.end.col().saturating_sub(span.start.col())
        } else {
            1
        };
        self.place(span.start.line(), span.start.col(), length)
    }

    fn event(&mut self, event: Event<'_>, span: Span, sink: &mut Sink) -> Result<(), Mistake> {
        let place = self.place_of(span);
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(Mistake::at(&place, "a second document begins here")
                        .hint("one file holds one document; remove the `---`"));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                refuse_tag(tag.is_some(), &place)?;
                let plain = style == ScalarStyle::Plain;
                let node = Node {
                    value: Value::Scalar {
                        text: text.into_owned(),
                        plain,
                    },
                    place,
                };
                self.add(node, anchor, 1, sink)?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                refuse_tag(tag.is_some(), &place)?;
                let place = place.part(0, 1);
                self.open(Open::List {
                    items: Vec::new(),
                    place,
                    anchor,
                })?;
            }
            Event::MappingStart(_, anchor, tag) => {
                refuse_tag(tag.is_some(), &place)?;
                let place = place.part(0, 1);
                self.open(Open::Map {
                    entries: Vec::new(),
                    key: None,
                    place,
                    anchor,
                })?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let (node, anchor) = match self.stack.pop() {
                    Some(Open::List { items, place, anchor }) => (
                        Node {
                            value: Value::List(items),
                            place,
                        },
                        anchor,
                    ),
                    Some(Open::Map {
                        entries, place, anchor, ..
                    }) => (
                        Node {
                            value: Value::Map(entries),
                            place,
                        },
                        anchor,
                    ),
                    None => return Ok(()),
                };
                self.add(node, anchor, 1, sink)?;
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(Mistake::at(&place, "an alias to the value it lies in").hint("write the value out"));
                };
                let weight = count(&node);
                self.add(node, 0, weight, sink)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, open: Open) -> Result<(), Mistake> {
        let (Open::List { place, .. } | Open::Map { place, .. }) = &open;
        if self.stack.len() >= DEPTH_MAX {
            return Err(Mistake::at(place, format!("nested more than {DEPTH_MAX} levels deep")));
        }
        if let Some(Open::Map { key: None, .. }) = self.stack.last() {
            return Err(
                Mistake::at(place, "a key must be text").hint("put quotes around it, for instance around `{{ … }}`")
            );
        }
        self.stack.push(open);
        Ok(())
    }

    fn add(&mut self, node: Node, anchor: usize, weight: usize, sink: &mut Sink) -> Result<(), Mistake> {
        self.nodes = self.nodes.saturating_add(weight);
        if self.nodes > NODES_MAX {
            return Err(Mistake::at(
                &node.place,
                format!("more than {NODES_MAX} values, with aliases written out"),
            ));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, key, .. }) => match key.take() {
                None => {
                    let Value::Scalar { text, .. } = node.value else {
                        return Err(Mistake::at(&node.place, "a key must be text"));
                    };
                    *key = Some((text, node.place));
                }
                Some((key, place)) => {
                    if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                        let hint = format!("it is already on line {}; keep one of the two", first.place.line);
                        sink.push(Mistake::at(&place, format!("duplicate key {key:?}")).hint(hint));
                    } else {
                        entries.push(Entry { key, place, node });
                    }
                }
            },
        }
        Ok(())
    }
}

fn refuse_tag(tagged: bool, place: &Place) -> Result<(), Mistake> {
    if tagged {
        return Err(Mistake::at(place, "YAML tags are not supported").hint("remove the `!…` before the value"));
    }
    Ok(())
}

fn count(node: &Node) -> usize {
    match &node.value {
        Value::Scalar { .. } => 1,
        Value::List(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|entry| count(&entry.node)).sum::<usize>(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> (Option<Node>, Vec<Mistake>) {
        let mut sink = Sink::default();
        let node = parse(&Source::new("x.yaml", text), text, 0, &mut sink);
        (node, sink.mistakes)
    }

    #[test]
    fn values_know_their_place() {
        let (node, mistakes) = read("a: 1\nb:\n  - { c: \"x y\" }\n");
        assert!(mistakes.is_empty(), "{mistakes:?}");
        let node = node.expect("a tree");
        assert_eq!(node.to_json(), serde_json::json!({"a": 1, "b": [{"c": "x y"}]}));
        let Some(Value::List(items)) = node.get("b").map(|b| b.value.clone()) else {
            panic!("a list")
        };
        let c = items[0].get("c").expect("c");
        assert_eq!((c.place.line, c.place.column, c.place.length), (3, 10, 5));
    }

    #[test]
    fn hostile_documents_are_refused_not_expanded() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let refs = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{refs}]\n"));
        }
        assert!(read(&bomb).1[0].message.contains("more than 50000 values"));
        assert!(!read(&"[".repeat(5000)).1.is_empty());
        assert!(!read(&format!("{}x", "- ".repeat(5000))).1.is_empty());
        assert!(read(&"#".repeat(SIZE_MAX + 1)).1[0].message.contains("1 MiB"));
        assert!(read("a: &a [*a]").1[0].message.contains("alias"));
        assert!(read("a: 1\na: 2\n").1[0].message.contains("duplicate key"));
        assert!(read("a: !x 1").1[0].message.contains("tags"));
        assert!(read("a: 1\n---\nb: 2\n").1[0].message.contains("second document"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(?s).{0,200}") {
            let _ = read(&text);
        }

        #[test]
        fn near_yaml_never_panics(text in "[-a-c:{}\\[\\],&*!|>'\" \n#%~]{0,80}") {
            let (_, mistakes) = read(&text);
            for mistake in mistakes { let _ = mistake.to_string(); }
        }

        #[test]
        fn json_survives_a_round_trip(keys in proptest::collection::btree_map("[a-z]{1,6}", any::<i32>(), 1..8)) {
            let value = serde_json::json!(keys);
            prop_assert_eq!(read(&value.to_string()).0.expect("a tree").to_json(), value);
        }
    }
}
