//! A connection's bytes, plain or through TLS, and how it is opened: a connect, then a TLS handshake where there is one.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::Connect;
use tokio_rustls::client::TlsStream;

use crate::run::tls::Tls;

/// An open connection.
pub enum Stream {
    /// As it is.
    Plain(TcpStream),
    /// Encrypted; boxed, since it is many times larger.
    Tls(Box<TlsStream<TcpStream>>),
}

/// How long the stages of opening took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Took {
    /// The connect.
    pub connect: Duration,
    /// The TLS handshake, where there was one.
    pub tls: Option<Duration>,
}

/// A connection while it is opened.
pub struct Opening {
    tls: Option<Arc<Tls>>,
    stage: Stage,
}

/// The socket, and when it was asked for: with the first poll, since nothing is sent before.
type Connecting = dyn Future<Output = io::Result<(TcpStream, Instant)>>;

enum Stage {
    Connecting(Pin<Box<Connecting>>),
    Handshake {
        connect: Box<Connect<TcpStream>>,
        took: Duration,
        since: Instant,
    },
}

impl Opening {
    /// Connects, and shakes hands where `tls` says so. Without delay (RFC 896): a small request would otherwise wait
    /// for an acknowledgement.
    #[must_use]
    pub fn new(address: SocketAddr, source: Option<IpAddr>, tls: Option<Arc<Tls>>) -> Self {
        let connecting = async move {
            let since = Instant::now();
            let stream = match source {
                None => TcpStream::connect(address).await?,
                Some(source) => connect_from(source, address).await?,
            };
            // A socket that refuses it is still usable.
            let _ = stream.set_nodelay(true);
            Ok((stream, since))
        };
        Self {
            tls,
            stage: Stage::Connecting(Box::pin(connecting)),
        }
    }

    /// The socket is connected; TLS is not there yet.
    #[must_use]
    pub fn is_handshake(&self) -> bool {
        matches!(self.stage, Stage::Handshake { .. })
    }

    /// Goes on opening.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<(Stream, Took)>> {
        loop {
            match &mut self.stage {
                Stage::Connecting(connecting) => {
                    let (stream, since) = ready!(connecting.as_mut().poll(context))?;
                    let now = Instant::now();
                    let took = now - since;
                    let Some(tls) = &self.tls else {
                        let took = Took {
                            connect: took,
                            tls: None,
                        };
                        return Poll::Ready(Ok((Stream::Plain(stream), took)));
                    };
                    self.stage = Stage::Handshake {
                        connect: Box::new(tls.connector.connect(tls.name.clone(), stream)),
                        took,
                        since: now,
                    };
                }
                Stage::Handshake { connect, took, since } => {
                    let stream = ready!(Pin::new(connect.as_mut()).poll(context))?;
                    let took = Took {
                        connect: *took,
                        tls: Some(since.elapsed()),
                    };
                    return Poll::Ready(Ok((Stream::Tls(Box::new(stream)), took)));
                }
            }
        }
    }
}

async fn connect_from(source: IpAddr, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Each takes a port of its own: about 28,000 connections a source address by Linux's default.
    socket.bind(SocketAddr::new(source, 0))?;
    socket.connect(address).await
}

impl Stream {
    /// Reads what has come.
    #[inline]
    pub fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
        }
    }

    /// Writes what the socket takes; what TLS has sealed and not sent yet goes along with the next call.
    #[inline]
    pub fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
        }
    }

    /// Sends what TLS has sealed; a plain socket holds nothing back.
    #[inline]
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(context),
        }
    }

    /// Says that nothing more will be sent.
    pub fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
        }
    }

    /// Ready when the socket has something to read, or has ended.
    #[inline]
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        let socket = match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        };
        // An error shows in the read that follows.
        let _ = ready!(socket.poll_read_ready(context));
        Poll::Ready(())
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Self::poll_read(self.get_mut(), context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Self::poll_write(self.get_mut(), context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_flush(self.get_mut(), context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_shutdown(self.get_mut(), context)
    }
}

/// The same error for one more who waits for it.
#[must_use]
pub fn as_if_again(error: &io::Error) -> io::Error {
    if let Some(code) = error.raw_os_error() {
        return io::Error::from_raw_os_error(code);
    }
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(tls) => io::Error::new(error.kind(), tls.clone()),
        None => error.kind().into(),
    }
}

/// Whether an error is TLS's own: a bad certificate, an alert, a record that does not verify.
#[must_use]
pub fn is_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}
