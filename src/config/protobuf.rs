//! Where the descriptions of gRPC's services come from: `grpc: { proto, include }`, `{ descriptors }` or `{ reflection }`
//! of a profile. Compiles the `.proto` files that the caller has read; asks no server.

use std::collections::BTreeMap;
use std::path::Path;

use prost_reflect::DescriptorPool;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

use super::decode::{self, Fields};
use super::error::{Mistake, Sink};
use super::files::{self, Files};
use super::load::Reference;
use super::node::{Node, Value};
use super::source::{Place, Source};

/// `.proto` files by the name that they are imported with: the path that they were found at, and their text.
pub type Protos = BTreeMap<String, (String, String)>;

/// The `.proto` files that a profile names, and where what they import is looked for.
#[derive(Clone, Debug, Default)]
pub struct ProtoReferences {
    /// The files.
    pub files: Vec<Reference>,
    /// Directories.
    pub include: Vec<Reference>,
}

/// What the services of the target look like.
#[derive(Clone, Debug)]
pub enum Services {
    /// A FileDescriptorSet, whole with what it imports.
    Described(Vec<u8>),
    /// As the target says itself, once it is there to be asked; where that is written.
    Asked(Place),
}

/// What has to be read for the `grpc` of a profile besides its descriptor set.
pub(super) fn references(root: &Node, sink: &mut Sink) -> ProtoReferences {
    let mut paths = |key: &str| {
        let Some(Value::List(items)) = root.get("grpc").and_then(|grpc| grpc.get(key)).map(|node| &node.value) else {
            return Vec::new();
        };
        items.iter().filter_map(|item| decode::spanned(item, sink)).collect()
    };
    ProtoReferences {
        files: paths("proto"),
        include: paths("include"),
    }
}

/// The names that the text of a `.proto` file imports; none where it cannot be read, which is said once it is compiled.
#[must_use]
pub fn imports(text: &str) -> Vec<String> {
    let file = File::from_source("file.proto", text);
    file.map(|file| file.file_descriptor_proto().dependency.clone())
        .unwrap_or_default()
}

/// The `grpc` of a profile.
pub(super) fn services(node: &Node, files: &Files, protos: &Protos, sink: &mut Sink) -> Option<Services> {
    let mut fields = Fields::of(node, "`grpc`", sink)?;
    let proto = fields.take("proto");
    let include = fields.take("include");
    let descriptors = fields.take("descriptors");
    let reflection = fields.take("reflection");
    fields.finish(sink);
    let asks = |node: &&Node| decode::boolean(node, sink) == Some(true);
    let reflection = reflection.filter(asks);
    if let (Some(include), None) = (include, proto) {
        let message = "`include` is where `proto` files find what they import, and there are none";
        sink.push(Mistake::at(&include.place, message).hint("add `proto: [shop.proto]`, or remove it"));
    }
    if let Some(include) = include {
        decode::list(include, "include", sink);
    }
    match (proto, descriptors, reflection) {
        (Some(node), None, None) => compiled(node, protos, sink).map(Services::Described),
        (None, Some(node), None) => described(node, files, sink).map(Services::Described),
        (None, None, Some(node)) => Some(Services::Asked(node.place.clone())),
        _ => {
            let hint =
                "write { proto: [shop.proto], include: [protos] }, { descriptors: shop.pb } or { reflection: true }";
            sink.push(Mistake::at(&node.place, "services are described in one way").hint(hint));
            None
        }
    }
}

fn described(node: &Node, files: &Files, sink: &mut Sink) -> Option<Vec<u8>> {
    let bytes = files::read(node, files, sink)?;
    match DescriptorPool::decode(bytes) {
        Ok(pool) if pool.services().len() > 0 => Some(bytes.to_vec()),
        Ok(_) => {
            let hint = "make it with: protoc --include_imports --descriptor_set_out=shop.pb shop.proto";
            sink.push(Mistake::at(&node.place, "the file describes no service").hint(hint));
            None
        }
        Err(problem) => {
            let hint = "make it with: protoc --include_imports --descriptor_set_out=shop.pb shop.proto";
            let message = format!("the file is no whole set of descriptors: {problem}");
            sink.push(Mistake::at(&node.place, message).hint(hint));
            None
        }
    }
}

/// What has been read, as the compiler wants it.
struct Read(Protos);

impl FileResolver for Read {
    fn resolve_path(&self, path: &Path) -> Option<String> {
        path.to_str().map(str::to_owned)
    }

    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.0.get(name) {
            Some((_, text)) => File::from_source(name, text),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

fn compiled(node: &Node, protos: &Protos, sink: &mut Sink) -> Option<Vec<u8>> {
    let mut resolver = ChainFileResolver::new();
    resolver.add(Read(protos.clone()));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true);
    let items = decode::list(node, "proto", sink);
    if items.is_empty() && matches!(node.value, Value::List(_)) {
        sink.push(Mistake::at(&node.place, "no file describes the services").hint("write [shop.proto]"));
        return None;
    }
    for item in items {
        let name = decode::text(item, sink)?;
        if let Err(problem) = compiler.open_file(&name) {
            sink.push(wrong(&problem, item, protos));
            return None;
        }
    }
    Some(compiler.encode_file_descriptor_set())
}

/// What is wrong with a `.proto` file, at its line where the compiler says it.
fn wrong(problem: &protox::Error, item: &Node, protos: &Protos) -> Mistake {
    let message = problem.to_string();
    let hint = match problem.is_file_not_found() {
        true => "name the directory that it is in with `grpc: { include: [..] }`",
        false => "the file is read as protoc reads it",
    };
    let source = problem.file().and_then(|file| protos.get(file));
    let place = source.map_or_else(
        || item.place.clone(),
        |(path, text)| {
            let (line, column) = position(problem).unwrap_or((1, 1));
            let start = Place::start(&Source::new(path, text));
            Place { line, column, ..start }
        },
    );
    Mistake::at(&place, message).hint(hint)
}

/// Line and column, which the compiler only says in its longer form: `file:line:column: message`.
fn position(problem: &protox::Error) -> Option<(usize, usize)> {
    let long = format!("{problem:?}");
    let rest = long.strip_prefix(problem.file()?)?.strip_prefix(':')?;
    let mut numbers = rest.splitn(3, ':');
    let mut number = || numbers.next()?.trim().parse().ok();
    Some((number()?, number()?))
}
