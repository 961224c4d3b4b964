//! WebSocket sessions (RFC 6455), spoken by tungstenite over a lent connection. Each thing a user does in a session is an
//! exchange of its own; between them the session waits for its pass.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request, header};
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::checks::Test;
use super::connection::io_failure;
use super::deflate::{self, Agreed, Wire};
use super::lane::{Captured, Line, Told};
use super::silence::Silence;
use crate::recording::FailureKind;

/// Bytes of a message at most; a longer one fails.
const MESSAGE_MAX: usize = 16 << 20;
/// Memory of a session that waits; there may be many.
const READ_BUFFER: usize = 4 * 1024;
/// Header fields of a step at most.
const HEADERS_MAX: usize = 128;

/// An open session.
pub type Session = Box<WebSocketStream<Wire>>;

/// What is done in a session.
#[derive(Clone, Debug)]
pub enum Talk {
    /// Opens it.
    Open,
    /// Sends a text message.
    SendText,
    /// Sends a binary message.
    SendBinary,
    /// Waits for a message like this.
    Receive(Test),
    /// Sends a ping and waits for its pong.
    Ping,
    /// Stays for so long, and the server is silent for so long at most, where that is expected of it; real time.
    Stay {
        /// How long.
        length: Duration,
        /// The longest silence.
        gap_max: Option<Duration>,
    },
    /// Closes it.
    Close,
}

/// Opens a session with the GET whose head is `head`.
pub async fn open(line: Line, head: Vec<u8>) -> Told {
    let Some(request) = handshake(&head) else {
        return Told::failed(FailureKind::Protocol);
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_message_size(Some(MESSAGE_MAX))
        .max_frame_size(Some(MESSAGE_MAX));
    let offers = request.headers().contains_key(header::SEC_WEBSOCKET_EXTENSIONS);
    match client_async_with_config(request, Wire::new(line, offers), Some(config)).await {
        Ok((mut session, answer)) => {
            let Some(agreed) = Agreed::of(offers, answer.headers()) else {
                let why = "the server agrees to an extension that was not offered";
                return Told::garbled(why);
            };
            session.get_mut().agree(agreed);
            Told {
                status: answer.status().as_u16(),
                headers: answer.into_parts().0.headers,
                session: Some(Box::new(session)),
                ..Told::default()
            }
        }
        Err(Error::Http(answer)) => {
            let (head, begun) = answer.into_parts();
            let mut body = Captured::default();
            body.push(&begun.unwrap_or_default());
            Told {
                status: head.status.as_u16(),
                headers: head.headers,
                body,
                ..Told::default()
            }
        }
        Err(error) => Failed::from(error).into(),
    }
}

/// The step's own head, and what makes it a handshake.
fn handshake(head: &[u8]) -> Option<Request<()>> {
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut fields);
    parsed.parse(head).ok()?;
    // Only the path is sent; the library wants to be sure that a WebSocket is meant.
    let mut request = Request::get(format!("ws://target{}", parsed.path?));
    for field in parsed.headers.iter() {
        request = request.header(field.name, field.value);
    }
    let mut request = request.body(()).ok()?;
    let headers = request.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(header::SEC_WEBSOCKET_KEY, HeaderValue::try_from(generate_key()).ok()?);
    Some(request)
}

/// Does one thing in an open session; `message` is what the step sends, `silence` what is taken down while it stays.
pub async fn talk(mut session: Session, talk: Talk, message: Vec<u8>, silence: Option<Silence>) -> Told {
    let done = match talk {
        Talk::SendText => match Utf8Bytes::try_from(message) {
            Ok(text) if session.get_ref().deflates() => {
                let frame = deflate::compressed(Data::Text, text.as_bytes());
                send(&mut session, Message::Frame(frame)).await
            }
            Ok(text) => send(&mut session, Message::Text(text)).await,
            Err(_) => Err(Failed::because(
                FailureKind::Protocol,
                "what was to be sent as text is not UTF-8",
            )),
        },
        Talk::SendBinary if session.get_ref().deflates() => {
            let frame = deflate::compressed(Data::Binary, &message);
            send(&mut session, Message::Frame(frame)).await
        }
        Talk::SendBinary => send(&mut session, Message::Binary(message.into())).await,
        Talk::Receive(test) => receive(&mut session, &test).await,
        Talk::Ping => ping(&mut session).await,
        Talk::Stay { length, .. } => stay(&mut session, length, silence).await,
        Talk::Close => {
            return match close(&mut session).await {
                Ok(()) => Told::default(),
                Err(failed) => failed.into(),
            };
        }
        // Who is in a session has opened it.
        Talk::Open => Err(Failed::because(FailureKind::Protocol, "the session is open already")),
    };
    match done {
        Ok(body) => Told {
            body,
            session: Some(session),
            ..Told::default()
        },
        Err(failed) => failed.into(),
    }
}

async fn send(session: &mut Session, message: Message) -> Result<Captured, Failed> {
    session.send(message).await?;
    Ok(Captured::default())
}

/// The next message that is as wanted; pings before it are answered by the library.
async fn receive(session: &mut Session, wanted: &Test) -> Result<Captured, Failed> {
    loop {
        let message = match next(session).await? {
            Message::Text(text) => Bytes::from(text),
            Message::Binary(bytes) => bytes,
            _ => continue,
        };
        if wanted.holds(&message) {
            let mut body = Captured::default();
            body.push(&message);
            return Ok(body);
        }
    }
}

async fn ping(session: &mut Session) -> Result<Captured, Failed> {
    let payload = Bytes::copy_from_slice(&fastrand::u64(..).to_be_bytes());
    send(session, Message::Ping(payload.clone())).await?;
    loop {
        if matches!(next(session).await?, Message::Pong(answer) if answer == payload) {
            return Ok(Captured::default());
        }
    }
}

/// A server that ends the session meanwhile, or is silent for too long, has failed its user.
async fn stay(session: &mut Session, length: Duration, silence: Option<Silence>) -> Result<Captured, Failed> {
    let leaves_at = Instant::now() + length;
    let Some(mut silence) = silence else {
        while let Ok(message) = timeout_at(leaves_at, next(session)).await {
            message?;
        }
        return Ok(Captured::default());
    };
    silence.begin();
    loop {
        let silent_at = silence.too_long_at().filter(|at| *at < leaves_at);
        match timeout_at(silent_at.unwrap_or(leaves_at), next(session)).await {
            Ok(message) => {
                if matches!(message?, Message::Text(_) | Message::Binary(_)) {
                    silence.ends();
                }
            }
            Err(_) if silent_at.is_some() => return Err(Failed::silent()),
            Err(_) => return Ok(Captured::default()),
        }
        if silence.was_too_long() {
            return Err(Failed::silent());
        }
    }
}

/// Messages that are still on their way are passed over.
async fn close(session: &mut Session) -> Result<(), Failed> {
    let frame = CloseFrame {
        code: CloseCode::Normal,
        reason: Utf8Bytes::from_static(""),
    };
    session.send(Message::Close(Some(frame))).await?;
    loop {
        match session.next().await {
            None | Some(Ok(Message::Close(_))) => return Ok(()),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error.into()),
        }
    }
}

/// Says that its user goes away, as browsers do, where the connection takes it at once; nobody waits for the answer.
pub fn go_away(session: &mut Session) {
    let frame = CloseFrame {
        code: CloseCode::Away,
        reason: Utf8Bytes::from_static(""),
    };
    let _ = session.send(Message::Close(Some(frame))).now_or_never();
}

/// The next frame or whole message; a session that the server closes is over.
async fn next(session: &mut Session) -> Result<Message, Failed> {
    match session.next().await {
        None => Err(Error::ConnectionClosed.into()),
        Some(Ok(Message::Close(frame))) => Err(closed(frame.as_ref())),
        Some(Ok(message)) => Ok(message),
        Some(Err(error)) => Err(error.into()),
    }
}

/// The server ended the session, and said why or did not (RFC 6455, section 5.5.1).
fn closed(frame: Option<&CloseFrame>) -> Failed {
    let why = match frame {
        None => "the server closed the session".to_owned(),
        Some(CloseFrame { code, reason }) if reason.is_empty() => format!("the server closed the session with {code}"),
        Some(CloseFrame { code, reason }) => format!("the server closed the session with {code}: {reason}"),
    };
    Failed::because(FailureKind::Reset, &why)
}

/// How a session failed its user.
struct Failed {
    kind: FailureKind,
    why: Box<str>,
}

impl Failed {
    fn because(kind: FailureKind, why: &str) -> Self {
        Self { kind, why: why.into() }
    }

    fn silent() -> Self {
        Self::because(FailureKind::Expectation, "no message came for longer than is expected")
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::because(failure(&error), &error.to_string())
    }
}

impl From<Failed> for Told {
    fn from(failed: Failed) -> Self {
        Self::because(failed.kind, failed.why)
    }
}

fn failure(error: &Error) -> FailureKind {
    match error {
        Error::Io(error) if deflate::is_damaged(error) => FailureKind::Protocol,
        Error::Io(error) => io_failure(error),
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::HandshakeIncomplete | ProtocolError::ResetWithoutClosingHandshake) => {
            FailureKind::Reset
        }
        _ => FailureKind::Protocol,
    }
}
