//! One HTTP/1.1 exchange as an observer makes it, with its failure named as a user's would be.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::request::Builder;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::plan::{Part, TargetPlan, Template};
use crate::recording::FailureKind;
use crate::run::sigv4::Signer;
use crate::run::tls::Tls;

/// Answers to probes are small; a larger one is not read to its end.
const BODY_MAX: usize = 1 << 20;

/// A connection that sends one request after another.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    /// Connects within `patience`, the TLS handshake included where there is one.
    pub(super) async fn open(address: SocketAddr, patience: Duration, tls: Option<&Tls>) -> Result<Self, FailureKind> {
        let opening = async {
            let stream = Self::connect(address, patience).await?;
            match tls {
                None => Self::shake_hands(stream).await,
                Some(tls) => {
                    let stream = tls.connector.connect(tls.name.clone(), stream).await;
                    Self::shake_hands(stream.map_err(|_| FailureKind::Tls)?).await
                }
            }
        };
        timeout(patience, opening)
            .await
            .unwrap_or(Err(FailureKind::ConnectTimeout))
    }

    async fn connect(address: SocketAddr, patience: Duration) -> Result<TcpStream, FailureKind> {
        let stream = match timeout(patience, TcpStream::connect(address)).await {
            Err(_) => return Err(FailureKind::ConnectTimeout),
            Ok(Err(error)) => return Err(connect_failure(&error)),
            Ok(Ok(stream)) => stream,
        };
        // Without it a small request could wait for an acknowledgement; an error only costs time.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }

    async fn shake_hands<S>(stream: S) -> Result<Self, FailureKind>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failure(&error))?;
        // It ends when the sender is dropped or the peer closes; its error shows in the request.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Self { sender })
    }

    /// Sends a request and reads the whole answer within `patience`; the body is thrown away.
    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
        patience: Duration,
    ) -> Result<Response<()>, FailureKind> {
        let exchange = async {
            self.sender.ready().await.map_err(|error| failure(&error))?;
            let answer = self
                .sender
                .send_request(request)
                .await
                .map_err(|error| failure(&error))?;
            let (parts, body) = answer.into_parts();
            let body = Limited::new(body, BODY_MAX);
            body.collect().await.map_err(|_| FailureKind::Reset)?;
            Ok(Response::from_parts(parts, ()))
        };
        within(patience, exchange).await
    }
}

async fn within<T>(
    patience: Duration,
    exchange: impl Future<Output = Result<T, FailureKind>>,
) -> Result<T, FailureKind> {
    timeout(patience, exchange).await.unwrap_or(Err(FailureKind::Timeout))
}

fn connect_failure(error: &io::Error) -> FailureKind {
    match error.kind() {
        io::ErrorKind::TimedOut => FailureKind::ConnectTimeout,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => FailureKind::Reset,
        _ => FailureKind::Refused,
    }
}

fn failure(error: &hyper::Error) -> FailureKind {
    if error.is_parse() {
        FailureKind::Protocol
    } else if error.is_timeout() {
        FailureKind::Timeout
    } else {
        FailureKind::Reset
    }
}

/// Why a status is a failure; none when it is the expected one.
pub(super) fn status_failure(status: u16, expected: Option<u16>) -> Option<FailureKind> {
    let fine = expected.map_or(status < 400, |expected| status == expected);
    match status {
        _ if fine => None,
        400..=499 => Some(FailureKind::Status4xx),
        500..=599 => Some(FailureKind::Status5xx),
        _ => Some(FailureKind::Expectation),
    }
}

/// Fills a template: random numbers by `random`, `{{ unique }}` and `{{ id }}` both with `id`.
pub(super) fn fill(template: &Template, random: &mut fastrand::Rng, id: &str) -> Vec<u8> {
    let mut text = Vec::new();
    for part in &template.parts {
        match part {
            Part::Text(literal) => text.extend_from_slice(literal.as_bytes()),
            Part::Random(min, max) => {
                text.extend_from_slice(random.u64((*min).min(*max)..=*max).to_string().as_bytes())
            }
            Part::Unique | Part::Id => text.extend_from_slice(id.as_bytes()),
            Part::Bytes(bytes) => text.extend_from_slice(bytes),
            Part::Base64(inner) => text.extend_from_slice(STANDARD.encode(fill(inner, random, id)).as_bytes()),
            // The plan lets no probe use one, and has its environment filled in before it runs.
            Part::Variable(_) | Part::Env(_) => {}
        }
    }
    text
}

/// The request with the fields that a signature adds; none where it cannot be signed.
pub(super) fn signed(request: Builder, body: Bytes, signer: Option<&Signer>) -> Option<Request<Full<Bytes>>> {
    let mut request = request.body(Full::new(body.clone())).ok()?;
    let Some(signer) = signer else { return Some(request) };
    let headers: Option<Vec<_>> = request
        .headers()
        .iter()
        .map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
        .collect();
    let path = request.uri().to_string();
    let fields = signer.fields(request.method().as_str(), &path, &headers?, &body)?;
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        request.headers_mut().insert(name, HeaderValue::from_str(&value).ok()?);
    }
    Some(request)
}

/// The Host header of the target.
pub(super) fn host_header(target: &TargetPlan) -> String {
    match (target.scheme.as_str(), target.port) {
        ("http", 80) | ("https", 443) => target.host.clone(),
        (_, port) => format!("{}:{port}", target.host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_judged_as_the_step_expects() {
        let cases = [
            (200, None, None),
            (201, Some(201), None),
            (200, Some(201), Some(FailureKind::Expectation)),
            (404, None, Some(FailureKind::Status4xx)),
            (404, Some(404), None),
            (503, None, Some(FailureKind::Status5xx)),
        ];
        for (status, expected, outcome) in cases {
            assert_eq!(status_failure(status, expected), outcome, "{status}");
        }
    }

    #[test]
    fn holes_are_filled() {
        let template = Template {
            parts: vec![
                Part::Text("/orders/".to_owned()),
                Part::Id,
                Part::Text("?n=".to_owned()),
                Part::Random(7, 7),
            ],
        };
        assert_eq!(
            fill(&template, &mut fastrand::Rng::with_seed(1), "o-1"),
            b"/orders/o-1?n=7"
        );
    }
}
