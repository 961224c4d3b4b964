//! What a step sends besides its head: `json`, `form`, `multipart`, `file` or `body`.
//! Texts are encoded here once; what holes bring in is encoded where they are filled.

use serde::{Deserialize, Serialize};

use super::compression::{self, Coding};
use super::decode::{self, Fields};
use super::error::{Mistake, Sink};
use super::files::{self, Files};
use super::journey::{template, template_by};
use super::node::{Node, Value};
use super::template::{self, Holes, Piece};

/// Between the parts of a multipart body (RFC 2046, section 5.1.1): long and unlike anything people upload.
const BOUNDARY: &str = "----tenfold-7f3a9c51e0b84d26-part";

/// How what a hole brings in has to be written within a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// As it is.
    #[default]
    Plain,
    /// Within a JSON string.
    Json,
    /// As a value of a form (application/x-www-form-urlencoded).
    Form,
}

/// A body with its content type.
#[derive(Clone, Debug)]
pub struct RequestBody {
    /// Content-Type.
    pub content_type: String,
    /// The text.
    pub text: Vec<Piece>,
    /// How holes are filled.
    pub encoding: Encoding,
    /// What it is sent in.
    pub compress: Option<Coding>,
}

/// The body of a step, from whichever of its keys is there.
pub(super) fn body(fields: &mut Fields<'_>, holes: &Holes<'_>, files: &Files, sink: &mut Sink) -> Option<RequestBody> {
    let kinds = ["json", "form", "multipart", "file", "body"];
    let mut found: Option<(&str, &Node)> = None;
    for kind in kinds {
        let Some(node) = fields.take(kind) else { continue };
        if let Some((first, _)) = found {
            let message = format!("a step has either `{first}` or `{kind}`");
            sink.push(Mistake::at(&node.place, message).hint("remove one of the two"));
        }
        found = found.or(Some((kind, node)));
    }
    let content_type = fields.take("content_type").and_then(|node| decode::text(node, sink));
    let compress_node = fields.take("compress");
    let compress = compress_node.and_then(|node| compression::compress(node, sink));
    let Some((kind, node)) = found else {
        if let Some(node) = compress_node {
            let hint = "add a body, or write `compression: true` to ask for compressed answers";
            sink.push(Mistake::at(&node.place, "`compress` has no body to compress").hint(hint));
        }
        return None;
    };
    let (usual, text, encoding) = match kind {
        "json" => ("application/json".to_owned(), json(node, holes, sink)?, Encoding::Json),
        "form" => (
            "application/x-www-form-urlencoded".to_owned(),
            form(node, holes, sink),
            Encoding::Form,
        ),
        "multipart" => (
            format!("multipart/form-data; boundary={BOUNDARY}"),
            multipart(node, holes, files, sink),
            Encoding::Plain,
        ),
        "file" => (
            "application/octet-stream".to_owned(),
            vec![Piece::Bytes(files::read(node, files, sink)?.to_vec())],
            Encoding::Plain,
        ),
        _ => (
            "text/plain; charset=utf-8".to_owned(),
            template(node, holes, sink)?,
            Encoding::Plain,
        ),
    };
    if let (Some(content_type), "multipart") = (&content_type, kind) {
        let hint = "the boundary between the parts belongs to it; leave `content_type` out";
        sink.push(Mistake::at(&node.place, format!("{content_type:?} cannot be set for `multipart`")).hint(hint));
    }
    Some(RequestBody {
        content_type: content_type.unwrap_or(usual),
        text,
        encoding,
        compress,
    })
}

/// JSON with holes in its texts.
pub(super) fn json(node: &Node, holes: &Holes<'_>, sink: &mut Sink) -> Option<Vec<Piece>> {
    let before = sink.mistakes.len();
    check_templates(node, holes, sink);
    if sink.mistakes.len() > before {
        return None;
    }
    // Holes stay as they are in JSON text: none of them contains a character that JSON escapes.
    template::parse_json(&node.to_json().to_string(), holes).ok()
}

fn check_templates(node: &Node, holes: &Holes<'_>, sink: &mut Sink) {
    match &node.value {
        Value::Scalar { .. } if node.is_null() => {}
        Value::Scalar { .. } => {
            let _ = template_by(node, sink, |text| template::parse_json_value(text, holes));
        }
        Value::List(items) => items.iter().for_each(|item| check_templates(item, holes, sink)),
        Value::Map(entries) => {
            for entry in entries {
                if let Err(wrong) = template::parse(&entry.key, holes) {
                    sink.push(Mistake::at(&entry.place, wrong.message).hint(wrong.hint));
                }
                check_templates(&entry.node, holes, sink);
            }
        }
    }
}

fn form(node: &Node, holes: &Holes<'_>, sink: &mut Sink) -> Vec<Piece> {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let mut text = Vec::new();
    for entry in decode::map(node, "form", sink) {
        let Some(value) = template(&entry.node, holes, sink) else {
            continue;
        };
        let separator = if text.is_empty() { "" } else { "&" };
        text.push(Piece::Text(format!("{separator}{}=", encode(&entry.key))));
        text.extend(value.into_iter().map(|piece| match piece {
            Piece::Text(literal) => Piece::Text(encode(&literal)),
            hole => hole,
        }));
    }
    text
}

fn multipart(node: &Node, holes: &Holes<'_>, files: &Files, sink: &mut Sink) -> Vec<Piece> {
    let mut text = Vec::new();
    for entry in decode::map(node, "multipart", sink) {
        if entry.key.contains(['"', '\r', '\n']) {
            sink.push(Mistake::at(&entry.place, format!("{:?} cannot name a part", entry.key)));
            continue;
        }
        let Some((head, content)) = part(&entry.key, &entry.node, holes, files, sink) else {
            continue;
        };
        text.push(Piece::Text(format!("--{BOUNDARY}\r\n{head}\r\n\r\n")));
        text.extend(content);
        text.push(Piece::Text("\r\n".to_owned()));
    }
    text.push(Piece::Text(format!("--{BOUNDARY}--\r\n")));
    text
}

/// The head lines and the content of one part (RFC 7578).
fn part(name: &str, node: &Node, holes: &Holes<'_>, files: &Files, sink: &mut Sink) -> Option<(String, Vec<Piece>)> {
    let disposition = format!("content-disposition: form-data; name=\"{name}\"");
    if !matches!(node.value, Value::Map(_)) {
        return Some((disposition, template(node, holes, sink)?));
    }
    let mut fields = Fields::of(node, format!("part {name:?}"), sink)?;
    let file = fields.require("file", "data/photo.png", sink);
    let mut text = |key: &'static str, sink: &mut Sink| {
        let node = fields.take(key)?;
        let text = decode::text(node, sink)?;
        if text.contains(['"', '\r', '\n']) {
            sink.push(Mistake::at(
                &node.place,
                format!("{text:?} cannot stand in a head line"),
            ));
            return None;
        }
        Some(text)
    };
    let filename = text("filename", sink);
    let content_type = text("content_type", sink).unwrap_or_else(|| "application/octet-stream".to_owned());
    fields.finish(sink);
    let file = file?;
    let content = files::read(file, files, sink)?.to_vec();
    let path = decode::text(file, sink)?;
    let filename = filename.unwrap_or_else(|| path.rsplit('/').next().unwrap_or(&path).replace('"', "_"));
    Some((
        format!("{disposition}; filename=\"{filename}\"\r\ncontent-type: {content_type}"),
        vec![Piece::Bytes(content)],
    ))
}
