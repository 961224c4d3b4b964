//! What the version of HTTP that a client speaks means for its steps: all of them share its connections, and not all
//! can be spoken over each version. Raw TCP has connections of its own, so it goes with both.

use super::client::Client;
use super::error::{Mistake, Sink};
use super::journey::{Journey, Step};
use super::protocol::{Protocol, WebSocketStep};

/// Header fields about the connection, which HTTP/2 does not have (RFC 9113, section 8.2.2).
pub const CONNECTION_FIELDS: [&str; 5] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
];

/// Says which steps the client cannot make.
pub(super) fn check(journeys: &[Journey], client: &Client, sink: &mut Sink) {
    let over_http2 = client.connections.http2.is_some();
    for step in journeys.iter().flat_map(|journey| &journey.steps) {
        let Some(place) = &step.place else { continue };
        let mistake = match over_http2 {
            true => over_http1_only(step).or_else(|| connection_field(step)),
            false => over_http2_only(step),
        };
        if let Some((message, hint)) = mistake {
            sink.push(Mistake::at(place, message).hint(hint));
        }
    }
}

type Said = (String, &'static str);

/// A session is refused as a whole, where it is opened.
fn over_http1_only(step: &Step) -> Option<Said> {
    let what = match step.protocol {
        Protocol::Events(_) => "`sse` is",
        Protocol::WebSocket(WebSocketStep::Open) => "sessions of WebSocket are",
        _ => return None,
    };
    let message = format!("{what} spoken over HTTP/1.1, and the client speaks HTTP/2");
    let hint = "leave `client.http` out, or put what needs HTTP/2 into a profile of its own";
    Some((message, hint))
}

fn over_http2_only(step: &Step) -> Option<Said> {
    let hint = "add `client: { http: 2 }`; all requests of the profile are made over it then";
    let message = "gRPC is spoken over HTTP/2, and the client speaks HTTP/1.1";
    matches!(step.protocol, Protocol::Grpc(_)).then(|| (message.to_owned(), hint))
}

/// A server may close the connection over one.
fn connection_field(step: &Step) -> Option<Said> {
    let is_one = |name: &str| CONNECTION_FIELDS.iter().any(|field| name.eq_ignore_ascii_case(field));
    let (name, _) = step.headers.iter().find(|(name, _)| is_one(name))?;
    let message = format!("header {name:?} is about the connection, which HTTP/2 does not let a request speak of");
    Some((message, "leave it out"))
}

#[cfg(test)]
mod tests {
    use crate::config::{ConfigErrors, Protos, Sources, load};

    /// What is wrong with these steps, each on a line of its own from the fifth, where the client is this.
    fn loaded(client: &str, steps: &[&str]) -> Result<(), ConfigErrors> {
        let steps: String = steps.iter().map(|step| format!("      - {step}\n")).collect();
        let text = format!(
            "name: x\njourneys:\n  j:\n    steps:\n{steps}stages: [{{ tier: 1, users: 1, hold: 1m }}]\n\
             client: {client}\ngrpc: {{ proto: [s.proto] }}\n"
        );
        let proto = "syntax = \"proto3\"; package p; message M {} service S { rpc Do(M) returns (M); }";
        let sources = Sources {
            profile: ("x.yaml".to_owned(), text),
            protos: Protos::from([("s.proto".to_owned(), ("s.proto".to_owned(), proto.to_owned()))]),
            ..Sources::default()
        };
        load(&sources, &[]).map(|_| ())
    }

    const SSE: &str = "{ sse: /events, until: { events: 1 } }";
    const SESSION: &str = "{ websocket: /chat, steps: [ping, { send: hello }, close] }";
    const CALL: &str = "{ grpc: p.S/Do }";
    const TCP: &str = "{ tcp: { port: 7, send: x, until: y } }";

    #[test]
    fn steps_that_the_client_cannot_speak_are_refused_where_they_stand() {
        for (client, step, said, hint) in [
            (
                "{ http: 2 }",
                SSE,
                "`sse` is spoken over HTTP/1.1",
                "leave `client.http` out",
            ),
            (
                "{ http: 2 }",
                SESSION,
                "sessions of WebSocket are spoken over",
                "leave `client.http` out",
            ),
            (
                "{ http: 1.1 }",
                CALL,
                "gRPC is spoken over HTTP/2",
                "add `client: { http: 2 }`",
            ),
            ("{}", CALL, "gRPC is spoken over HTTP/2", "add `client: { http: 2 }`"),
            (
                "{ http: 2 }",
                "{ get: /b, headers: { Upgrade: h2c } }",
                "\"Upgrade\" is about the connection",
                "leave it out",
            ),
            (
                "{ http: 2 }",
                "{ grpc: p.S/Do, metadata: { connection: close } }",
                "\"connection\" is about",
                "leave it out",
            ),
        ] {
            let plain = "{ get: /a }";
            let told = loaded(client, &[plain, step]).expect_err(step).to_string();
            for part in ["x.yaml:6:", said, hint] {
                assert!(told.contains(part), "{client} {step}: {part} is not in\n{told}");
            }
            assert_eq!(told.matches("hint:").count(), 1, "one mistake: {told}");
        }
    }

    #[test]
    fn everything_else_goes_with_either() {
        let plain = "{ get: /, headers: { te: trailers } }";
        for (client, steps) in [
            ("{ http: 2 }", &[plain, TCP, CALL][..]),
            ("{}", &[SSE, SESSION, TCP, "{ get: /, headers: { connection: close } }"]),
        ] {
            loaded(client, steps).unwrap_or_else(|errors| panic!("{client}: {errors}"));
        }
    }
}
