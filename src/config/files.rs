//! The files beside a profile that it feeds from, sends or signs with: which it names, and what stands in them. Opens
//! none; the caller does.

use std::collections::BTreeMap;

use super::decode;
use super::error::{Mistake, Sink};
use super::load::Reference;
use super::node::{Entry, Node, Value};
use super::tls;

/// Contents of files by the path that the profile names them with.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Longest file that feeds or is sent, bytes: it is kept in memory while the run lasts.
pub const FILE_MAX: u64 = 256 << 20;

/// The files that feed journeys or are sent by steps.
pub(super) fn named(root: &Node, sink: &mut Sink) -> Vec<Reference> {
    let mut nodes = Vec::new();
    for entry in root.get("feeders").map(entries).unwrap_or_default() {
        nodes.extend(["csv", "json"].iter().filter_map(|key| entry.node.get(key)));
    }
    nodes.extend(root.get("grpc").and_then(|grpc| grpc.get("descriptors")));
    if let Some(tls) = root.get("client").and_then(|client| client.get("tls")) {
        nodes.extend(tls::PATHS.iter().filter_map(|key| tls.get(key)));
    }
    let loads = root.get("loads").map(entries).unwrap_or_default();
    let of_loads = loads.iter().filter_map(|load| load.node.get("stages"));
    for stages in root.get("stages").into_iter().chain(of_loads) {
        if let Value::List(stages) = &stages.value {
            nodes.extend(stages.iter().filter_map(|stage| stage.get("replay")));
        }
    }
    if let Some(journeys) = root.get("journeys") {
        files_of_steps(journeys, &mut nodes);
    }
    let mut found: Vec<Reference> = Vec::new();
    for node in nodes
        .into_iter()
        .filter(|node| matches!(node.value, Value::Scalar { .. }))
    {
        let known = |path: &Reference, found: &[Reference]| found.iter().any(|other| other.value == path.value);
        found.extend(decode::spanned(node, sink).filter(|path| !known(path, &found)));
    }
    found
}

fn entries(node: &Node) -> &[Entry] {
    match &node.value {
        Value::Map(entries) => entries,
        _ => &[],
    }
}

/// Every `file` below journeys, except where the same word is the user's own.
fn files_of_steps<'n>(node: &'n Node, found: &mut Vec<&'n Node>) {
    match &node.value {
        Value::List(items) => items.iter().for_each(|item| files_of_steps(item, found)),
        Value::Map(entries) => {
            for entry in entries {
                match entry.key.as_str() {
                    "json" | "form" | "headers" | "message" | "metadata" | "expect" | "extract" => {}
                    // The names of its parts are the user's own too.
                    "multipart" => found.extend(
                        self::entries(&entry.node)
                            .iter()
                            .filter_map(|part| part.node.get("file")),
                    ),
                    "file" if matches!(entry.node.value, Value::Scalar { .. }) => found.push(&entry.node),
                    _ => files_of_steps(&entry.node, found),
                }
            }
        }
        Value::Scalar { .. } => {}
    }
}

/// What stands in the file that a node names.
pub(super) fn read<'f>(node: &Node, files: &'f Files, sink: &mut Sink) -> Option<&'f [u8]> {
    let path = decode::text(node, sink)?;
    let bytes = files.get(&path);
    if bytes.is_none() {
        sink.push(Mistake::at(&node.place, format!("{path:?} was not read")));
    }
    bytes.map(Vec::as_slice)
}
