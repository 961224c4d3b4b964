//! `--set KEY=VALUE`: overrides in the tree before it is read, so that every key can be set and every mistake in a
//! set value points at the argument.

use super::error::{Mistake, Sink};
use super::node::{self, Entry, Node, Value};
use super::source::{Place, Source};

/// Sets `key` (dotted, list items by index) below `root` to the YAML in `value`. `skip` segments of the key were
/// already followed by the caller.
pub(super) fn apply(root: &mut Node, key: &str, value: &str, skip: usize, sink: &mut Sink) {
    let text = format!("{key}={value}");
    let source = Source::new("--set", &text);
    let key_place = Place::start(&source).part(0, key.chars().count());
    if key.is_empty() || key.split('.').any(str::is_empty) {
        let hint = "write `--set stages.0.users=500`";
        sink.push(Mistake::at(&key_place, format!("{key:?} is not a key")).hint(hint));
        return;
    }
    let empty = Node {
        value: Value::Scalar {
            text: String::new(),
            plain: true,
        },
        place: key_place.clone(),
    };
    let parsed = if value.trim().is_empty() {
        Some(empty)
    } else {
        node::parse(&source, value, key.chars().count() + 1, sink)
    };
    let Some(parsed) = parsed else { return };
    let segments: Vec<&str> = key.split('.').skip(skip).collect();
    if let Err((message, hint)) = set(root, &segments, parsed, &key_place) {
        sink.push(Mistake::at(&key_place, message).hint(hint));
    }
}

fn set(node: &mut Node, segments: &[&str], value: Node, place: &Place) -> Result<(), (String, String)> {
    let Some((segment, rest)) = segments.split_first() else {
        *node = value;
        return Ok(());
    };
    if node.is_null() {
        *node = Node {
            value: Value::Map(Vec::new()),
            place: place.clone(),
        };
    }
    match &mut node.value {
        Value::Map(entries) => {
            let index = entries
                .iter()
                .position(|entry| entry.key == *segment)
                .unwrap_or_else(|| {
                    let node = Node {
                        value: Value::Scalar {
                            text: String::new(),
                            plain: true,
                        },
                        place: place.clone(),
                    };
                    entries.push(Entry {
                        key: (*segment).to_owned(),
                        place: place.clone(),
                        node,
                    });
                    entries.len() - 1
                });
            if rest.is_empty() {
                entries[index].place = place.clone();
            }
            set(&mut entries[index].node, rest, value, place)
        }
        Value::List(items) => {
            let length = items.len();
            let item = segment.parse::<usize>().ok().filter(|index| *index <= length);
            let Some(index) = item else {
                let hint =
                    format!("it is a list of {length}; use an index from 0 to {length}, where {length} adds one");
                return Err((format!("{segment:?} is no item of the list"), hint));
            };
            if index == length {
                items.push(Node {
                    value: Value::Scalar {
                        text: String::new(),
                        plain: true,
                    },
                    place: place.clone(),
                });
            }
            set(&mut items[index], rest, value, place)
        }
        Value::Scalar { text, .. } => Err((
            format!("there is no {segment:?} in {text:?}"),
            "the key before it holds a single value; set that one".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str, key: &str, value: &str) -> (serde_json::Value, Vec<Mistake>) {
        let mut sink = Sink::default();
        let mut root = node::parse(&Source::new("x", text), text, 0, &mut sink).expect("yaml");
        apply(&mut root, key, value, 0, &mut sink);
        (root.to_json(), sink.mistakes)
    }

    #[test]
    fn any_key_can_be_set() {
        let text = "a: 1\nb: [{ c: 2 }]\n";
        for (key, value, json) in [
            ("a", "5", serde_json::json!({"a": 5, "b": [{"c": 2}]})),
            ("b.0.c", "[x]", serde_json::json!({"a": 1, "b": [{"c": ["x"]}]})),
            ("b.1", "new", serde_json::json!({"a": 1, "b": [{"c": 2}, "new"]})),
            (
                "lab.web.max",
                "{ d: 1 }",
                serde_json::json!({"a": 1, "b": [{"c": 2}], "lab": {"web": {"max": {"d": 1}}}}),
            ),
            ("a", "", serde_json::json!({"a": null, "b": [{"c": 2}]})),
        ] {
            let (set, mistakes) = with(text, key, value);
            assert_eq!(mistakes, [], "{key}");
            assert_eq!(set, json, "{key}");
        }
    }

    #[test]
    fn a_mistake_names_the_argument() {
        for (key, value) in [
            ("a.x", "1"),
            ("b.7", "1"),
            ("b.x", "1"),
            ("", "1"),
            ("a..b", "1"),
            ("a", "["),
        ] {
            let (_, mistakes) = with("a: 1\nb: []\n", key, value);
            assert_eq!(mistakes.len(), 1, "{key}={value}");
            assert_eq!(mistakes[0].place.as_ref().map(Place::name), Some("--set"));
        }
    }
}
