//! Whether the methods that steps call are there and the messages that they send fit: fields, types, values. Holes stand
//! for something that fits as far as their place lets them.

use std::collections::BTreeSet;

use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};
use serde_json::{Value as Json, json};

use super::error::{Mistake, Sink};
use super::grpc::Call;
use super::journey::Journey;
use super::nearest::suggest;
use super::node::{Entry, Node, Value};
use super::source::Spanned;

/// Checks all calls against `services`, a FileDescriptorSet; `others` are names of services that it does not describe.
pub(super) fn check(journeys: &[Journey], services: &[u8], others: &[String], sink: &mut Sink) {
    let pool = match DescriptorPool::decode(services) {
        Ok(pool) => pool,
        Err(problem) => {
            // A target may call its things what it likes.
            let problem = problem.to_string().replace(char::is_control, " ");
            sink.push(Mistake::anywhere(format!(
                "the services are not described whole: {problem}"
            )));
            return;
        }
    };
    let steps = journeys.iter().flat_map(|journey| &journey.steps);
    for call in steps.filter_map(|step| step.call.as_ref()) {
        if let Some(method) = method(&pool, others, call, sink) {
            self::call(&method, call, sink);
        }
    }
}

fn method(pool: &DescriptorPool, others: &[String], call: &Call, sink: &mut Sink) -> Option<MethodDescriptor> {
    let place = &call.method.place;
    let (service_name, name) = call.method.value.split_once('/').unwrap_or_default();
    let Some(service) = pool.get_service_by_name(service_name) else {
        let described = pool.services().map(|service| service.full_name().to_owned());
        let known: BTreeSet<String> = described.chain(others.iter().cloned()).collect();
        let hint = suggest(service_name, known.iter().map(String::as_str));
        let place = place.part(0, service_name.chars().count());
        sink.push(Mistake::at(&place, format!("unknown service {service_name:?}")).hint(hint));
        return None;
    };
    let method = service.methods().find(|method| method.name() == name);
    if method.is_none() {
        let known: Vec<String> = service.methods().map(|method| method.name().to_owned()).collect();
        let hint = suggest(name, known.iter().map(String::as_str));
        let place = place.part(service_name.chars().count() + 1, name.chars().count());
        sink.push(Mistake::at(&place, format!("{service_name} has no method {name:?}")).hint(hint));
    }
    method
}

fn call(method: &MethodDescriptor, call: &Call, sink: &mut Sink) {
    let (place, name) = (&call.method.place, &call.method.value);
    if method.is_client_streaming() {
        let hint = "methods that take one message are called: unary ones, and those whose answers are streams";
        sink.push(Mistake::at(place, format!("{name} takes a stream of messages, which no step sends")).hint(hint));
        return;
    }
    if let Some(until) = &call.until
        && !method.is_server_streaming()
    {
        let message = format!("{name} answers with one message, so there is no stream to leave");
        sink.push(Mistake::at(until, message).hint("remove `until`, or call a method that answers with a stream"));
    }
    for path in &call.paths {
        looked_at(&method.output(), path, sink);
    }
    let Some(node) = &call.message else { return };
    let before = sink.mistakes.len();
    message(&method.input(), node, sink);
    let json = node.to_json();
    // What only shows in the whole, such as two fields of a `oneof`.
    if sink.mistakes.len() == before
        && !json.to_string().contains("{{")
        && let Err(problem) = DynamicMessage::deserialize(method.input(), json)
    {
        let message = format!("the message is no {}: {problem}", method.input().full_name());
        sink.push(Mistake::at(&node.place, message));
    }
}

/// A path whose first field no answer has would never find anything.
fn looked_at(descriptor: &MessageDescriptor, path: &Spanned<String>, sink: &mut Sink) {
    let Some(name) = first_name(&path.value).filter(|_| !is_special(descriptor)) else {
        return;
    };
    if descriptor.get_field_by_json_name(name).is_some() {
        return;
    }
    let known: Vec<String> = descriptor.fields().map(|field| field.json_name().to_owned()).collect();
    let hint = match descriptor.get_field_by_name(name) {
        Some(field) => format!("in JSON it is called {:?}", field.json_name()),
        None => suggest(name, known.iter().map(String::as_str)),
    };
    let message = format!("{} has no field {name:?}", descriptor.full_name());
    sink.push(Mistake::at(&path.place, message).hint(hint));
}

/// The name that a JSONPath begins with, where it is a plain one.
fn first_name(path: &str) -> Option<&str> {
    if let Some(rest) = path.strip_prefix("$.") {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
        return Some(&rest[..end.unwrap_or(rest.len())]).filter(|name| !name.is_empty());
    }
    let quoted = path.strip_prefix("$['").map(|rest| (rest, '\''));
    let (rest, quote) = quoted.or_else(|| path.strip_prefix("$[\"").map(|rest| (rest, '"')))?;
    let (name, rest) = rest.split_once(quote)?;
    (rest.starts_with(']') && !name.contains('\\')).then_some(name)
}

/// Messages that JSON writes in ways of their own (protobuf, "ProtoJSON Format").
fn is_special(message: &MessageDescriptor) -> bool {
    message.package_name() == "google.protobuf"
}

fn message(descriptor: &MessageDescriptor, node: &Node, sink: &mut Sink) {
    let Value::Map(entries) = &node.value else {
        let message = format!(
            "{} is a mapping of its fields, not {}",
            descriptor.full_name(),
            node.kind()
        );
        let fields: Vec<String> = descriptor.fields().map(|field| field.name().to_owned()).collect();
        sink.push(Mistake::at(&node.place, message).hint(format!("its fields are: {}", fields.join(", "))));
        return;
    };
    for entry in entries {
        let by_name = descriptor.get_field_by_json_name(&entry.key);
        match by_name.or_else(|| descriptor.get_field_by_name(&entry.key)) {
            Some(found) => field(&found, entry, sink),
            None => {
                let known: Vec<String> = descriptor.fields().map(|field| field.name().to_owned()).collect();
                let hint = suggest(&entry.key, known.iter().map(String::as_str));
                let message = format!("{} has no field {:?}", descriptor.full_name(), entry.key);
                sink.push(Mistake::at(&entry.place, message).hint(hint));
            }
        }
    }
}

fn field(field: &FieldDescriptor, entry: &Entry, sink: &mut Sink) {
    let node = &entry.node;
    if node.is_null() {
        return;
    }
    match (&node.value, field.kind()) {
        (Value::Map(entries), Kind::Message(map)) if field.is_map() => {
            let kind = map.map_entry_value_field().kind();
            for entry in entries {
                value(
                    field,
                    &kind,
                    &entry.node,
                    &|value| json!({ entry.key.as_str(): value }),
                    sink,
                );
            }
        }
        (Value::List(items), kind) if field.is_list() => {
            for item in items {
                value(field, &kind, item, &|value| json!([value]), sink);
            }
        }
        (_, kind) if field.is_map() || field.is_list() => {
            let what = if field.is_map() { "a mapping" } else { "a list" };
            let message = format!(
                "field {:?} is {what} of {}, not {}",
                entry.key,
                word(&kind),
                node.kind()
            );
            sink.push(Mistake::at(&node.place, message));
        }
        (_, kind) => value(field, &kind, node, &|value| value, sink),
    }
}

/// One value of a field; `within` puts it where it stands among those of a list or a mapping.
fn value(field: &FieldDescriptor, kind: &Kind, node: &Node, within: &dyn Fn(Json) -> Json, sink: &mut Sink) {
    let json = match kind {
        Kind::Message(inner) if !is_special(inner) => return message(inner, node, sink),
        _ => node.to_json(),
    };
    let json = match json {
        Json::String(text) if text.contains("{{") => match filled(&text, kind) {
            Some(text) => Json::String(text),
            None => return,
        },
        other => other,
    };
    let whole = json!({ field.json_name(): within(json.clone()) });
    if let Err(problem) = DynamicMessage::deserialize(field.parent_message().clone(), whole) {
        let message = format!("field {:?} is {}: {problem}", field.name(), word(kind));
        let hint = match kind {
            Kind::Enum(values) => {
                let known: Vec<String> = values.values().map(|value| value.name().to_owned()).collect();
                suggest(json.as_str().unwrap_or_default(), known.iter().map(String::as_str))
            }
            Kind::Bool => "write true or false; no text with holes is one".to_owned(),
            Kind::Bytes => "write them in Base64".to_owned(),
            Kind::String => "put it in quotes".to_owned(),
            _ => "write one".to_owned(),
        };
        sink.push(Mistake::at(&node.place, message).hint(hint));
    }
}

/// A text as it may be once its holes are filled; none where only the run can tell whether that fits.
fn filled(text: &str, kind: &Kind) -> Option<String> {
    let numeric = !matches!(kind, Kind::Enum(_) | Kind::Bytes | Kind::Message(_) | Kind::String);
    if !numeric {
        return None;
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, inner)) = rest.split_once("{{") {
        let (hole, after) = inner.split_once("}}")?;
        out.push_str(before);
        // An id is never a number; whatever else there is may be.
        out.push_str(if hole.trim() == "unique" { "an id" } else { "1" });
        rest = after;
    }
    Some(out + rest)
}

/// A kind as `.proto` files call it.
fn word(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(values) => values.full_name().to_owned(),
        plain => format!("{plain:?}").to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::protocol::{GrpcStep, MessagesUntil, Protocol};
    use crate::config::{Config, ConfigErrors, Protos, Sources, load};

    const SHOP: &str = include_str!("../../profiles/examples/protos/shop.proto");

    fn loaded_with(grpc: &str, client: &str, steps: &str, proto: &str) -> Result<Config, ConfigErrors> {
        let profile = format!(
            "name: x\n{grpc}\nclient: {client}\njourneys: {{ j: {{ steps: {steps} }} }}\nstages: [{{ tier: 1, users: 5, hold: 1m }}]\n"
        );
        let sources = Sources {
            profile: ("x.yaml".to_owned(), profile),
            protos: Protos::from([(
                "shop.proto".to_owned(),
                ("protos/shop.proto".to_owned(), proto.to_owned()),
            )]),
            files: [("shop.pb".to_owned(), b"no descriptors".to_vec())].into(),
            ..Sources::default()
        };
        load(&sources, &[])
    }

    fn loaded(steps: &str) -> Result<Config, ConfigErrors> {
        loaded_with("grpc: { proto: [shop.proto] }", "{ http: 2 }", steps, SHOP)
    }

    fn order(message: &str) -> String {
        format!(
            "[{{ grpc: shop.v1.Shop/GetItem, extract: {{ v: {{ json: $.name }} }} }}, {{ grpc: shop.v1.Shop/Order, message: {message} }}]"
        )
    }

    #[test]
    fn messages_that_fit_are_taken() {
        for message in [
            "{}",
            "{ id: \"{{ unique }}\", lines: [{ item: 5, amount: \"{{ random(1, 9) }}\" }], gift: true }",
            "{ delivery: DELIVERY_HOME, notes: { colour: red, size: \"{{ v }}\" }, card: \"1\" }",
            "{ delivery: 2, signature: aGk=, notes: ~ }",
            "{ delivery: \"{{ v }}\", signature: \"{{ v }}\", lines: [{ item: \"{{ v }}\" }] }",
        ] {
            loaded(&order(message)).unwrap_or_else(|errors| panic!("{message}: {errors}"));
        }
    }

    #[test]
    fn paths_that_an_answer_may_have_are_taken() {
        for path in [
            "$.name",
            "$.tags[0]",
            "$['priceCents']",
            "$",
            "$.*",
            "$..name",
            "$[?@.x]",
            "$['tags', 'name']",
        ] {
            let steps = format!(
                "[{{ grpc: shop.v1.Shop/GetItem, expect: {{ json: {{ \"{path}\": a }} }}, extract: {{ v: {{ json: \"{path}\" }} }} }}]"
            );
            loaded(&steps).unwrap_or_else(|errors| panic!("{path}: {errors}"));
        }
    }

    #[test]
    fn streams_are_read_until_they_end_or_their_user_has_seen_enough() {
        let second = std::time::Duration::from_secs(1);
        for (until, read) in [
            ("", MessagesUntil::End),
            (", until: { end: true }", MessagesUntil::End),
            (", until: { messages: 5 }", MessagesUntil::Messages(5)),
            (", until: { for: 1s }", MessagesUntil::For(second)),
        ] {
            let config = loaded(&format!("[{{ grpc: shop.v1.Shop/Track{until} }}]"));
            let config = config.unwrap_or_else(|errors| panic!("{until}: {errors}"));
            let protocol = &config.profile.journeys[0].steps[0].protocol;
            let step = GrpcStep {
                until: read.clone(),
                ..GrpcStep::default()
            };
            assert_eq!(*protocol, Protocol::Grpc(step), "{until}");
            let stays = if read == MessagesUntil::For(second) {
                second
            } else {
                std::time::Duration::ZERO
            };
            assert_eq!(protocol.stays(), stays);
        }
    }

    #[test]
    fn wrong_calls_are_told_with_place_and_remedy() {
        let call = |call: &str| format!("[{{ {call} }}]");
        let of = |expect: &str| format!("[{{ grpc: shop.v1.Shop/GetItem, expect: {expect} }}]");
        let table = [
            (call("grpc: shop.v1.Shp/GetItem"), "did you mean \"shop.v1.Shop\"?"),
            (call("grpc: shop.v1.Shop/GetItems"), "did you mean \"GetItem\"?"),
            (call("grpc: Shop"), "is no method of a service"),
            (call("grpc: shop.v1.Shop/OrderMany"), "takes a stream of messages"),
            (
                call("grpc: shop.v1.Shop/OrderMany, until: { messages: 1 }"),
                "takes a stream of messages",
            ),
            (
                call("grpc: shop.v1.Shop/GetItem, until: { messages: 1 }"),
                "answers with one message",
            ),
            (
                call("grpc: shop.v1.Shop/GetItem, until: { end: true }"),
                "remove `until`",
            ),
            (
                call("grpc: shop.v1.Shop/Track, until: { messages: 0 }"),
                "left for one reason",
            ),
            (
                call("grpc: shop.v1.Shop/Track, until: { messages: 1, for: 1s }"),
                "write one of { messages: 5 }",
            ),
            (
                call("grpc: shop.v1.Shop/Track, until: { events: 1 }"),
                "unknown key \"events\"",
            ),
            (call("grpc: shop.v1.Shop/GetItem, json: {}"), "unknown key \"json\""),
            (
                call("grpc: shop.v1.Shop/GetItem, metadata: { grpc-timeout: 1S }"),
                "belongs to gRPC itself",
            ),
            (
                call(
                    "grpc: shop.v1.Shop/GetItem, auth: { sigv4: { service: a, region: b, access_key: a, secret_key: \"{{ env(K) }}\" } }",
                ),
                "`sigv4` signs requests of HTTP",
            ),
            (call("grpc: shop.v1.Shop/GetItem, message: 5"), "its fields are: id"),
            (order("{ idd: 5 }"), "did you mean \"id\"?"),
            (order("{ id: 5 }"), "put it in quotes"),
            (order("{ lines: { item: 1 } }"), "is a list of"),
            (order("{ lines: [{ itm: 1 }] }"), "did you mean \"item\"?"),
            (order("{ lines: [{ item: -1 }] }"), "\"item\" is uint32"),
            (order("{ lines: [{ item: 5000000000 }] }"), "\"item\" is uint32"),
            (order("{ lines: [{ item: \"{{ unique }}\" }] }"), "\"item\" is uint32"),
            (
                order("{ lines: [{ item: \"no {{ random(1, 2) }}\" }] }"),
                "\"item\" is uint32",
            ),
            (order("{ delivery: DELIVERY_HOM }"), "did you mean \"DELIVERY_HOME\"?"),
            (order("{ gift: \"{{ v }}\" }"), "write true or false"),
            (order("{ signature: \"?\" }"), "write them in Base64"),
            (order("{ notes: [a] }"), "is a mapping of"),
            (order("{ notes: { a: 5 } }"), "put it in quotes"),
            (order("{ card: a, voucher: b }"), "is no shop.v1.OrderRequest"),
            (order("{ id: \"{{ w }}\" }"), "variable \"w\""),
            (of("{ grpc_status: NOT_FOND }"), "did you mean \"NOT_FOUND\"?"),
            (of("{ grpc_status: 17 }"), "unknown status \"17\" of gRPC"),
            (of("{ status: 200 }"), "check `grpc_status`"),
            (of("{ grpc_stats: OK }"), "did you mean \"grpc_status\"?"),
            (of("{ json: { $.nam: a } }"), "did you mean \"name\"?"),
            (of("{ json: { $.price_cents: 5 } }"), "it is called \"priceCents\""),
            (of("{ json: { \"$['tag'][0]\": a } }"), "did you mean \"tags\"?"),
            (
                call("grpc: shop.v1.Shop/Track, extract: { n: { json: $.nummer } }"),
                "did you mean \"number\"?",
            ),
        ];
        for (steps, said) in table {
            let errors = loaded(&steps).expect_err(&steps).to_string();
            assert!(errors.contains(said), "{steps}: {said} is not in\n{errors}");
            assert!(errors.contains("--> x.yaml:4:"), "{steps}: no place in\n{errors}");
        }
    }

    #[test]
    fn services_that_are_not_described_are_told_with_place_and_remedy() {
        let table = [
            ("", "{ http: 2 }", "nothing describes the service", "x.yaml:4:"),
            (
                "grpc: { proto: [shop.proto] }",
                "{}",
                "add `client: { http: 2 }`",
                "x.yaml:4:",
            ),
            (
                "grpc: { proto: [shop.proto], descriptors: shop.pb }",
                "{ http: 2 }",
                "in one way",
                "x.yaml:2:",
            ),
            (
                "grpc: { reflection: true, descriptors: shop.pb }",
                "{ http: 2 }",
                "in one way",
                "x.yaml:2:",
            ),
            ("grpc: { reflection: false }", "{ http: 2 }", "in one way", "x.yaml:2:"),
            (
                "grpc: { reflection: yes please }",
                "{ http: 2 }",
                "true or false",
                "x.yaml:2:",
            ),
            (
                "grpc: { reflection: true }",
                "{}",
                "add `client: { http: 2 }`",
                "x.yaml:4:",
            ),
            ("grpc: { proto: [] }", "{ http: 2 }", "no file describes", "x.yaml:2:"),
            ("grpc: { include: [a] }", "{ http: 2 }", "there are none", "x.yaml:2:"),
            (
                "grpc: { prot: [a] }",
                "{ http: 2 }",
                "did you mean \"proto\"?",
                "x.yaml:2:",
            ),
            (
                "grpc: { descriptors: shop.pb }",
                "{ http: 2 }",
                "no whole set of descriptors",
                "x.yaml:2:",
            ),
        ];
        for (grpc, client, said, place) in table {
            let errors = loaded_with(grpc, client, "[{ grpc: shop.v1.Shop/GetItem }]", SHOP)
                .expect_err(grpc)
                .to_string();
            assert!(errors.contains(said), "{grpc}: {said} is not in\n{errors}");
            assert!(errors.contains(place), "{grpc}: {place} is not in\n{errors}");
        }
    }

    #[test]
    fn wrong_proto_files_are_told_at_their_line() {
        let table = [
            (
                "syntax = \"proto3\";\nmessage A {\n  strin a = 1;\n}\n",
                "protos/shop.proto:3:",
            ),
            (
                "syntax = \"proto3\";\nmessage A {\n  string a 1;\n}\n",
                "protos/shop.proto:3:",
            ),
            (
                "syntax = \"proto3\";\n\nimport \"other.proto\";\n",
                "protos/shop.proto:3:",
            ),
        ];
        for (proto, place) in table {
            let grpc = "grpc: { proto: [shop.proto] }";
            let errors = loaded_with(grpc, "{ http: 2 }", "[{ grpc: a.B/C }]", proto)
                .expect_err(proto)
                .to_string();
            assert!(errors.contains(place), "{proto}: {place} is not in\n{errors}");
            assert!(errors.contains("hint: "), "{errors}");
        }
    }
}
