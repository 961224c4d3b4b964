//! A call of gRPC as a stream of a connection of HTTP/2 (gRPC, "gRPC over HTTP2"): a message goes, messages come, and the
//! trailers say how it went.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request};

use super::super::grpc::{Call, STATUS};
use super::{Hold, answered, read, settled, translated};
use crate::clock::RunClock;
use crate::recording::FailureKind;
use crate::run::load::lane::{Captured, Ear, Told};

/// Makes the call whose head and message are `request`, as HTTP/1.1 writes it.
pub async fn exchange(
    hold: Hold,
    request: Vec<u8>,
    https: bool,
    ear: Arc<Ear>,
    clock: RunClock,
    call: Arc<Call>,
) -> Told {
    let Some((request, body)) = translated(&request, https) else {
        return Told::failed(FailureKind::Protocol);
    };
    let Ok(message) = call.encode(&body) else {
        // What was extracted or fed does not fit the message, so nothing is sent; its status is not as expected.
        return Told {
            keeps_seat: true,
            ..Told::default()
        };
    };
    let told = converse(&hold, request, message, &ear, clock, &call).await;
    settled(&hold, told)
}

async fn converse(
    hold: &Hold,
    request: Request<()>,
    message: Bytes,
    ear: &Ear,
    clock: RunClock,
    call: &Call,
) -> Result<Told, h2::Error> {
    let mut sender = hold.sender.clone().ready().await?;
    let (answer, stream) = sender.send_request(request, false)?;
    ear.write();
    let answer = answered(answer, stream, message).await?;
    ear.hear(clock.elapsed().as_micros() as u64);
    let (head, mut stream) = answer.into_parts();
    let protocol = || Ok(Told::failed(FailureKind::Protocol));
    if head.status != 200 {
        // A proxy's answer, or one that is no service's.
        let Some(body) = read(stream).await? else {
            return protocol();
        };
        return Ok(Told {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
            keeps_seat: true,
            ..Told::default()
        });
    }
    if !is_grpc(&head.headers) {
        return protocol();
    }
    let mut messages = call.messages();
    let mut last: Option<Captured> = None;
    let mut count = 0_u64;
    while let Some(piece) = stream.data().await {
        let piece = piece?;
        let fed = messages.feed(&piece, |message| {
            last = Some(message);
            count += 1;
        });
        if fed.is_err() || count > 1 {
            return protocol();
        }
        stream.flow_control().release_capacity(piece.len())?;
    }
    let mut headers = head.headers;
    if let Some(trailers) = stream.trailers().await? {
        headers.extend(trailers);
    }
    let Some(code) = status(&headers) else {
        return protocol();
    };
    // Who says that all went well has answered, and whole.
    if code == 0 && (messages.is_cut() || count == 0) {
        return protocol();
    }
    let shown = match last.filter(|_| code == 0) {
        Some(message) => call.shown(&message),
        None => Some(Captured::default()),
    };
    let Some(body) = shown else {
        return protocol();
    };
    Ok(Told {
        status: STATUS + u16::from(code),
        headers,
        body,
        keeps_seat: true,
        ..Told::default()
    })
}

/// `application/grpc`, perhaps with a word on how messages are encoded.
fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get("content-type").map(|value| value.as_bytes());
    let rest = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

fn status(headers: &HeaderMap) -> Option<u8> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}
