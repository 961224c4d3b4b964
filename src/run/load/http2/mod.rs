//! HTTP/2: one request as a stream of a shared connection, from the bytes that a step compiles to for HTTP/1.1, so that
//! templates, cookies and redirects are the same for both. Frames, HPACK and flow control are the `h2` crate's; who sits
//! on which connection is in `session`.

mod call;
mod session;

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri};

use super::connection::io_failure;
use super::http1::BODY_MAX;
use super::lane::{Captured, Ear, Told};
use crate::clock::RunClock;
use crate::recording::FailureKind;

pub use call::exchange as call;
pub use session::{Hold, Joining, Seat, Sessions};

/// Fields of a request's head at most; the compiled ones are far fewer.
const HEADERS_MAX: usize = 256;

/// Sends `request`, as HTTP/1.1 writes it, to a target of this scheme and reads the answer.
pub async fn exchange(hold: Hold, request: Vec<u8>, https: bool, ear: Arc<Ear>, clock: RunClock) -> Told {
    let Some((request, body)) = translated(&request, https) else {
        return Told::failed(FailureKind::Protocol);
    };
    let told = converse(&hold, request, body, &ear, clock).await;
    settled(&hold, told)
}

/// What an exchange came to, whose connection and request are dealt with as its error says.
fn settled(hold: &Hold, told: Result<Told, h2::Error>) -> Told {
    match told {
        Ok(told) => told,
        Err(error) => {
            if !error.is_reset() {
                hold.leave();
            }
            Told {
                refused: is_unprocessed(&error),
                ..Told::because(failure(&error), why(&error))
            }
        }
    }
}

async fn converse(
    hold: &Hold,
    request: Request<()>,
    body: Bytes,
    ear: &Ear,
    clock: RunClock,
) -> Result<Told, h2::Error> {
    let mut sender = hold.sender.clone().ready().await?;
    let (answer, stream) = sender.send_request(request, body.is_empty())?;
    ear.write();
    let answer = answered(answer, stream, body).await?;
    ear.hear(clock.elapsed().as_micros() as u64);
    let (head, stream) = answer.into_parts();
    let Some(body) = read(stream).await? else {
        return Ok(Told::too_long());
    };
    Ok(Told {
        status: head.status.as_u16(),
        headers: head.headers,
        body,
        keeps_seat: true,
        ..Told::default()
    })
}

/// The head of the answer, which may come before the whole body has gone; what is left of it then stays unsent.
async fn answered(
    mut answer: h2::client::ResponseFuture,
    mut stream: SendStream<Bytes>,
    mut body: Bytes,
) -> Result<Response<RecvStream>, h2::Error> {
    poll_fn(|context| {
        if let Poll::Ready(answer) = Pin::new(&mut answer).poll(context) {
            return Poll::Ready(answer);
        }
        while !body.is_empty() {
            stream.reserve_capacity(body.len());
            match stream.poll_capacity(context) {
                Poll::Pending => break,
                Poll::Ready(Some(Ok(room))) => {
                    let piece = body.split_to(room.min(body.len()));
                    stream.send_data(piece, body.is_empty())?;
                }
                // The stream is over; the answer says how.
                Poll::Ready(_) => break,
            }
        }
        Poll::Pending
    })
    .await
}

/// The body; none when it is longer than [`BODY_MAX`].
async fn read(mut stream: RecvStream) -> Result<Option<Captured>, h2::Error> {
    let mut body = Captured::default();
    while let Some(piece) = stream.data().await {
        let piece = piece?;
        body.push(&piece);
        if body.length > BODY_MAX {
            return Ok(None);
        }
        stream.flow_control().release_capacity(piece.len())?;
    }
    Ok(Some(body))
}

/// What HTTP/1.1 would send, as HTTP/2 says it (RFC 9113, section 8.3.1): the host is part of the address.
fn translated(bytes: &[u8], https: bool) -> Option<(Request<()>, Bytes)> {
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(length) = parsed.parse(bytes).ok()? else {
        return None;
    };
    let mut host: &[u8] = b"";
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    for field in parsed.headers.iter() {
        if field.name.eq_ignore_ascii_case("host") {
            host = field.value;
        } else {
            let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
            headers.append(name, HeaderValue::from_bytes(field.value).ok()?);
        }
    }
    let uri = Uri::builder()
        .scheme(if https { "https" } else { "http" })
        .authority(host)
        .path_and_query(parsed.path?)
        .build();
    let mut request = Request::new(());
    *request.method_mut() = parsed.method?.parse().ok()?;
    *request.uri_mut() = uri.ok()?;
    *request.headers_mut() = headers;
    *request.version_mut() = http::Version::HTTP_2;
    Some((request, Bytes::copy_from_slice(&bytes[length..])))
}

/// The server says that it has not looked at the request, so it may be sent again (RFC 9113, section 8.7).
fn is_unprocessed(error: &h2::Error) -> bool {
    let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    refused || (error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR))
}

/// What an error means to the user.
fn failure(error: &h2::Error) -> FailureKind {
    match error.get_io() {
        Some(error) => io_failure(error),
        None if error.is_library() => FailureKind::Protocol,
        None => FailureKind::Reset,
    }
}

/// How a connection or stream ended. One that speaks HTTP/1.1 alone answers the preface with text, which looks like a
/// frame of a wrong size.
fn why(error: &h2::Error) -> Box<str> {
    match error.is_go_away() && error.is_library() {
        true => format!("{error}; does the server speak HTTP/2?").into(),
        false => error.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_said_as_http2_has_it() {
        let bytes = b"POST /a?b=1 HTTP/1.1\r\nhost: shop:81\r\nX-Id: 7\r\ncontent-length: 2\r\n\r\nhi";
        let (request, body) = translated(bytes, true).expect("a request");
        assert_eq!(request.uri(), "https://shop:81/a?b=1");
        assert_eq!(request.method(), "POST");
        let fields: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(fields, ["x-id", "content-length"]);
        assert_eq!(&body[..], b"hi");
        assert!(translated(b"GET / HTTP/1.1\r\nhost: b\x01d\r\n\r\n", false).is_none());
    }
}
