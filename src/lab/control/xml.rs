//! Writing answers as XML and reading the bodies of `restXml` requests. Only what AWS's protocols use: elements and
//! text, one namespace on the root, no attributes elsewhere.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::Event;

use super::value::{Value, iso};

/// Deepest nesting that is read.
const DEEPEST: usize = 32;

/// Writes one document whose root is `root` in `namespace`.
pub fn document(root: &str, namespace: &str, body: &Value) -> String {
    let mut out = String::with_capacity(1024);
    out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<");
    out.push_str(root);
    if !namespace.is_empty() {
        out.push_str(" xmlns=\"");
        escape(&mut out, namespace);
        out.push('"');
    }
    out.push('>');
    write(&mut out, body);
    out.push_str("</");
    out.push_str(root);
    out.push('>');
    out
}

fn write(out: &mut String, value: &Value) {
    match value {
        Value::Null => {}
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(value) => out.push_str(&value.to_string()),
        Value::Float(value) => out.push_str(&value.to_string()),
        Value::Text(text) => escape(out, text),
        Value::Time(at) => out.push_str(&iso(*at)),
        Value::List(element, items) => items.iter().for_each(|item| write_element(out, element, item)),
        Value::Map(members) => members.iter().for_each(|(name, value)| write_element(out, name, value)),
    }
}

fn write_element(out: &mut String, name: &str, value: &Value) {
    match value {
        Value::Null => {}
        // A list without an element name is flattened: its items bear the member's own name.
        Value::List("", items) => items.iter().for_each(|item| write_element(out, name, item)),
        _ => {
            out.push('<');
            out.push_str(name);
            out.push('>');
            write(out, value);
            out.push_str("</");
            out.push_str(name);
            out.push('>');
        }
    }
}

fn escape(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\r' => out.push_str("&#13;"),
            // XML 1.0 cannot carry these at all.
            '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {
                out.push('\u{fffd}');
            }
            other => out.push(other),
        }
    }
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the XML you provided was not well-formed: {0}")]
pub struct XmlError(String);

/// The root element's content as a tree; its name is left out.
pub fn parse(text: &str) -> Result<Value, XmlError> {
    let mut reader = Reader::from_str(text);
    let mut open: Vec<(String, Element)> = Vec::new();
    let bad = |why: &str| XmlError(why.to_owned());
    loop {
        match reader.read_event().map_err(|error| XmlError(error.to_string()))? {
            Event::Start(start) => {
                if open.len() == DEEPEST {
                    return Err(bad("nested too deep"));
                }
                open.push((local_name(&start), Element::default()));
            }
            Event::Empty(start) => match open.last_mut() {
                Some((_, parent)) => parent.children.push((local_name(&start), Value::Text(String::new()))),
                None => return Ok(Value::empty()),
            },
            Event::End(_) => {
                let (name, element) = open.pop().ok_or_else(|| bad("an element ends that never began"))?;
                match open.last_mut() {
                    Some((_, parent)) => parent.children.push((name, element.finish())),
                    None => return Ok(element.finish()),
                }
            }
            Event::Text(text) => {
                if let Some((_, element)) = open.last_mut() {
                    element.text.push_str(&text);
                }
            }
            Event::CData(text) => {
                if let Some((_, element)) = open.last_mut() {
                    element.text.push_str(&text);
                }
            }
            Event::GeneralRef(reference) => {
                let character = resolve(&reference).ok_or_else(|| bad("unknown entity"))?;
                if let Some((_, element)) = open.last_mut() {
                    element.text.push(character);
                }
            }
            Event::Eof => return Err(bad("it ends too early")),
            _ => {}
        }
    }
}

#[derive(Default)]
struct Element {
    text: String,
    children: Vec<(String, Value)>,
}

impl Element {
    fn finish(self) -> Value {
        if self.children.is_empty() {
            return Value::Text(self.text);
        }
        Value::Map(
            self.children
                .into_iter()
                .map(|(name, value)| (Cow::Owned(name), value))
                .collect(),
        )
    }
}

fn local_name(start: &quick_xml::events::BytesStart<'_>) -> String {
    let name = start.name();
    let name: &str = name.as_ref();
    name.rsplit(':').next().unwrap_or_default().to_owned()
}

fn resolve(reference: &str) -> Option<char> {
    match reference {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let digits = reference.strip_prefix('#')?;
            let code = match digits.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => digits.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::value::{list, map};
    use super::*;

    #[test]
    fn members_lists_and_namespaces_are_written_as_aws_does() {
        let body = map([
            ("requestId", "r".into()),
            (
                "reservationSet",
                list("item", [map([("id", "a<b".into()), ("gone", Value::Null)])]),
            ),
            ("flat", list("", ["x", "y"])),
            ("at", Value::Time(0.0)),
        ]);
        assert_eq!(
            document("DescribeResponse", "http://n/", &body).lines().nth(1),
            Some(
                "<DescribeResponse xmlns=\"http://n/\"><requestId>r</requestId><reservationSet><item><id>a&lt;b</id>\
                 </item></reservationSet><flat>x</flat><flat>y</flat><at>1970-01-01T00:00:00.000Z</at></DescribeResponse>"
            )
        );
    }

    #[test]
    fn bodies_are_read_with_repeated_children() {
        let text = "<?xml version=\"1.0\"?><R xmlns=\"n\"><Changes>\n<Change><Action>UPSERT</Action></Change>\
                    <Change><Action>DELETE</Action></Change></Changes><Comment>a &amp; b&#33;</Comment><E/></R>";
        let tree = parse(text).expect("well-formed");
        let changes = tree.elements("Changes");
        assert_eq!(
            changes.iter().filter_map(|c| c.text("Action")).collect::<Vec<_>>(),
            ["UPSERT", "DELETE"]
        );
        assert_eq!(tree.text("Comment"), Some("a & b!"));
        for broken in ["", "<a>", "<a></b>", "</a>", "<a>&nope;</a>"] {
            assert!(parse(broken).is_err(), "{broken}");
        }
    }

    proptest! {
        #[test]
        fn every_text_survives(text in "[ -~äß€]{1,40}", other in "[a-z]{0,5}") {
            let body = map([("A", Value::Text(text.clone())), ("B", Value::Text(other.clone()))]);
            let tree = parse(&document("R", "", &body)).expect("what is written can be read");
            prop_assert_eq!(tree, body);
        }

        #[test]
        fn no_body_makes_it_panic(text in ".*") {
            let _ = parse(&text);
        }
    }
}
