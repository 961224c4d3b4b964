//! A connection's bytes, plain or through TLS. Opening it includes the TLS handshake.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::client::TlsStream;

use crate::run::tls::Tls;

/// An open connection.
pub enum Stream {
    /// As it is.
    Plain(TcpStream),
    /// Encrypted; boxed, since it is many times larger.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Connects, and shakes hands where `tls` says so. Without delay (RFC 896): a small request would otherwise wait
    /// for an acknowledgement.
    pub async fn open(address: SocketAddr, source: Option<IpAddr>, tls: Option<Arc<Tls>>) -> io::Result<Self> {
        let stream = match source {
            None => TcpStream::connect(address).await?,
            Some(source) => Self::connect_from(source, address).await?,
        };
        // A socket that refuses it is still usable.
        let _ = stream.set_nodelay(true);
        match tls {
            None => Ok(Self::Plain(stream)),
            Some(tls) => {
                let stream = tls.connector.connect(tls.name.clone(), stream).await?;
                Ok(Self::Tls(Box::new(stream)))
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

/// Whether an error is TLS's own: a bad certificate, an alert, a record that does not verify.
#[must_use]
pub fn is_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}
