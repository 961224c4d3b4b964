//! A connection's bytes, plain or through TLS, and how it is opened: a connect, then a TLS handshake where there is one.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpSocket;
use tokio_rustls::Connect;
use tokio_rustls::client::TlsStream;

use super::lookout::Lookout;
use super::socket::{Socket, Watched};
use crate::run::tls::Tls;

/// An open connection.
pub enum Stream {
    /// As it is.
    Plain(Socket),
    /// Encrypted; boxed, since it is many times larger.
    Tls(Box<TlsStream<Socket>>),
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

/// A socket that tasks will read.
type Connecting = dyn Future<Output = io::Result<Socket>>;

/// Where a connection goes and how it is watched. The socket is asked for with the first poll, since nothing is sent
/// before.
struct Wanted {
    address: SocketAddr,
    source: Option<IpAddr>,
    lookout: Option<Lookout>,
}

enum Stage {
    Wanted(Wanted),
    Watched {
        socket: Option<Watched>,
        since: Instant,
    },
    Connecting {
        connecting: Pin<Box<Connecting>>,
        since: Instant,
    },
    Handshake {
        connect: Box<Connect<Socket>>,
        took: Duration,
        since: Instant,
    },
}

impl Wanted {
    fn begin(&self) -> io::Result<Stage> {
        let since = Instant::now();
        Ok(match &self.lookout {
            Some(lookout) => Stage::Watched {
                socket: Some(Watched::connect(self.address, self.source, lookout)?),
                since,
            },
            None => Stage::Connecting {
                connecting: Box::pin(connect(self.address, self.source)),
                since,
            },
        })
    }
}

impl Opening {
    /// Connects, and shakes hands where `tls` says so. The connection's shard looks at it where a `lookout` is given, else
    /// a task may.
    #[must_use]
    pub fn new(address: SocketAddr, source: Option<IpAddr>, tls: Option<Arc<Tls>>, lookout: Option<Lookout>) -> Self {
        Self {
            tls,
            stage: Stage::Wanted(Wanted {
                address,
                source,
                lookout,
            }),
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
            let (socket, since) = match &mut self.stage {
                Stage::Wanted(wanted) => {
                    self.stage = wanted.begin()?;
                    continue;
                }
                Stage::Watched { socket, since } => {
                    let Some(connecting) = socket else {
                        return Poll::Pending;
                    };
                    ready!(connecting.poll_connected())?;
                    match socket.take() {
                        Some(connected) => (Socket::Watched(connected), *since),
                        None => return Poll::Pending,
                    }
                }
                Stage::Connecting { connecting, since } => (ready!(connecting.as_mut().poll(context))?, *since),
                Stage::Handshake { connect, took, since } => {
                    let stream = ready!(Pin::new(connect.as_mut()).poll(context))?;
                    let took = Took {
                        connect: *took,
                        tls: Some(since.elapsed()),
                    };
                    return Poll::Ready(Ok((Stream::Tls(Box::new(stream)), took)));
                }
            };
            socket.set_nodelay();
            let now = Instant::now();
            let took = now - since;
            let Some(tls) = &self.tls else {
                let took = Took {
                    connect: took,
                    tls: None,
                };
                return Poll::Ready(Ok((Stream::Plain(socket), took)));
            };
            self.stage = Stage::Handshake {
                connect: Box::new(tls.connector.connect(tls.name.clone(), socket)),
                took,
                since: now,
            };
        }
    }
}

async fn connect(address: SocketAddr, source: Option<IpAddr>) -> io::Result<Socket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(source) = source {
        // Each takes a port of its own: about 28,000 connections a source address by Linux's default.
        socket.bind(SocketAddr::new(source, 0))?;
    }
    Ok(Socket::Tokio(socket.connect(address).await?))
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
        match self {
            Self::Plain(socket) => socket.poll_readable(context),
            Self::Tls(stream) => stream.get_ref().0.poll_readable(context),
        }
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
