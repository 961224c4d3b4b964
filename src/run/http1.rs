//! HTTP/1.1 by hyper, one request after another over one connection, for those of a run who ask seldom: probes, reads of
//! a ledger, token requests. Failures are named as a user's would be. The load does not speak by it.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::recording::FailureKind;
use crate::run::tls::Tls;

/// Answers are small; a larger one is not read to its end.
const BODY_MAX: usize = 1 << 20;

/// A connection that sends one request after another.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    /// Connects within `patience`, the TLS handshake included where there is one.
    pub async fn open(address: SocketAddr, patience: Duration, tls: Option<&Tls>) -> Result<Self, FailureKind> {
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

    /// Sends a request and reads the whole answer within `patience`.
    pub async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
        patience: Duration,
    ) -> Result<Response<Bytes>, FailureKind> {
        let exchange = async {
            self.sender.ready().await.map_err(|error| failure(&error))?;
            let answer = self
                .sender
                .send_request(request)
                .await
                .map_err(|error| failure(&error))?;
            let (parts, body) = answer.into_parts();
            let body = Limited::new(body, BODY_MAX);
            let body = body.collect().await.map_err(|_| FailureKind::Reset)?;
            Ok(Response::from_parts(parts, body.to_bytes()))
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
