//! A call of gRPC as a stream of a connection of HTTP/2 (gRPC, "gRPC over HTTP2"): a message goes, messages come, and the
//! trailers say how it went; or their user leaves, who has seen enough of them.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request};
use tokio::time::{Instant, timeout_at};

use super::super::grpc::{Call, Messages, STATUS, Unreadable};
use super::{Hold, answered, read, settled, translated};
use crate::clock::RunClock;
use crate::plan::MessagesUntil;
use crate::recording::FailureKind;
use crate::run::load::lane::{Captured, Ear, Told};

/// The code of gRPC for what went well.
const OK: u8 = 0;

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
    let leaves = Leaves::of(call);
    let mut sender = hold.sender.clone().ready().await?;
    let (answer, stream) = sender.send_request(request, false)?;
    ear.write();
    let Some(answer) = leaves.before(answered(answer, stream, message)).await else {
        // Who has not even seen a head was not answered.
        return Ok(Told::failed(FailureKind::Timeout));
    };
    let (head, mut stream) = answer?.into_parts();
    ear.hear(clock.elapsed().as_micros() as u64);
    if head.status != 200 {
        // A proxy's answer, or one that is no service's.
        let Some(body) = read(stream).await? else {
            return Ok(Told::too_long());
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
        return Ok(Told::garbled("the answer's content-type is not application/grpc"));
    }
    let mut answer = Answer::to(call, clock);
    let mut headers = head.headers;
    while !answer.is_enough() {
        // Whoever leaves drops the stream, which tells the server so (RST_STREAM, CANCEL).
        let Some(piece) = leaves.before(stream.data()).await else {
            break;
        };
        let Some(piece) = piece else {
            headers.extend(stream.trailers().await?.unwrap_or_default());
            return Ok(answer.ended(headers));
        };
        let piece = piece?;
        if answer.take(&piece).is_err() {
            return Ok(Told::garbled("a message cannot be read, or is one too many"));
        }
        stream.flow_control().release_capacity(piece.len())?;
    }
    Ok(answer.told(OK, headers))
}

/// When the user of a stream leaves, whatever comes; none where only the stream decides.
struct Leaves(Option<Instant>);

impl Leaves {
    fn of(call: &Call) -> Self {
        Self(match call.until() {
            // Beyond all time is never.
            Some(MessagesUntil::For(length)) => Instant::now().checked_add(*length),
            _ => None,
        })
    }

    /// What comes before; a server that never stops does not keep him.
    async fn before<T>(&self, what: impl Future<Output = T>) -> Option<T> {
        match self.0 {
            None => Some(what.await),
            Some(at) if at <= Instant::now() => None,
            Some(at) => timeout_at(at, what).await.ok(),
        }
    }
}

/// What has come of an answer.
struct Answer<'c> {
    call: &'c Call,
    clock: RunClock,
    messages: Messages,
    count: u64,
    /// When the first message was whole, microseconds since t0.
    first_us: Option<u64>,
    last: Option<Captured>,
}

impl<'c> Answer<'c> {
    fn to(call: &'c Call, clock: RunClock) -> Self {
        Self {
            call,
            clock,
            messages: call.messages(),
            count: 0,
            first_us: None,
            last: None,
        }
    }

    /// Takes the next bytes of messages; what comes after enough of them is nobody's business.
    fn take(&mut self, piece: &[u8]) -> Result<(), Unreadable> {
        let until = self.call.until();
        let Self {
            clock,
            messages,
            count,
            first_us,
            last,
            ..
        } = self;
        let fed = messages.feed(piece, |message| {
            if is_enough(until, *count) {
                return;
            }
            first_us.get_or_insert_with(|| clock.elapsed().as_micros() as u64);
            *count += 1;
            *last = Some(message);
        });
        match self.call.until() {
            _ if self.is_enough() => Ok(()),
            None if self.count > 1 => Err(Unreadable),
            _ => fed,
        }
    }

    /// Its user has seen what he came for.
    fn is_enough(&self) -> bool {
        is_enough(self.call.until(), self.count)
    }

    /// The server ended it with these headers and trailers.
    fn ended(self, headers: HeaderMap) -> Told {
        let Some(code) = status(&headers) else {
            return Told::garbled("the answer ended without grpc-status");
        };
        // Who says that all went well has answered, and whole.
        let lacks = self.count == 0 && self.call.until().is_none();
        if code == OK && (self.messages.is_cut() || lacks) {
            return Told::garbled("grpc-status is 0 and the answer is not whole");
        }
        let waits = matches!(
            self.call.until(),
            Some(MessagesUntil::Messages(_) | MessagesUntil::For(_))
        );
        if code == OK && waits {
            return Told::ended_early();
        }
        self.told(code, headers)
    }

    /// What is told of it: its status, and the last message.
    fn told(self, code: u8, headers: HeaderMap) -> Told {
        // What comes before an error is no answer, unless it is one by itself.
        let counts = code == OK || self.call.until().is_some();
        let shown = match self.last.filter(|_| counts) {
            Some(message) => self.call.shown(&message),
            None => Some(Captured::default()),
        };
        let Some(body) = shown else {
            return Told::garbled("a message is not of the type that the method answers with");
        };
        Told {
            status: STATUS + u16::from(code),
            headers,
            body,
            keeps_seat: true,
            // `first byte` of a stream is its first message.
            heard_us: self.first_us.filter(|_| self.call.until().is_some()),
            ..Told::default()
        }
    }
}

fn is_enough(until: Option<&MessagesUntil>, count: u64) -> bool {
    matches!(until, Some(MessagesUntil::Messages(wanted)) if count >= *wanted)
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
