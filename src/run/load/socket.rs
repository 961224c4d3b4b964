//! A TCP socket of a connection: watched by its shard, or by tokio's reactor where tasks read it (HTTP/2). Both look the
//! same to TLS and to those to whom a connection is lent; one that is watched wakes nobody, since its shard looks at
//! whatever has happened to it.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use nix::errno::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::{Domain, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::lookout::{Lookout, Signs};

/// An open socket.
#[derive(Debug)]
pub enum Socket {
    /// Its shard looks at it.
    Watched(Watched),
    /// Tasks do.
    Tokio(tokio::net::TcpStream),
}

/// A socket that its shard looks at. Its calls go straight to the kernel: those of the C library are points at which a
/// thread can be cancelled, which costs two atomic operations each time.
#[derive(Debug)]
pub struct Watched {
    stream: TcpStream,
    signs: Arc<Signs>,
}

impl Watched {
    /// Begins to connect from `source`, or from whatever address the system chooses.
    pub fn connect(address: SocketAddr, source: Option<IpAddr>, lookout: &Lookout) -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
        if let Some(source) = source {
            // Each takes a port of its own: about 28,000 connections a source address by Linux's default.
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => return Err(error),
            _ => {}
        }
        // Only now: a socket that does not connect yet would be said to have ended.
        lookout.watch(&socket)?;
        Ok(Self {
            stream: socket.into(),
            signs: Arc::clone(&lookout.signs),
        })
    }

    /// Whether it is connected by now.
    pub fn poll_connected(&self) -> Poll<io::Result<()>> {
        if !self.signs.is_writable() {
            return Poll::Pending;
        }
        if let Some(error) = self.stream.take_error()? {
            return Poll::Ready(Err(error));
        }
        match self.stream.peer_addr() {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Pending,
            other => Poll::Ready(other.map(|_| ())),
        }
    }

    #[inline]
    fn poll_read(&mut self, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.signs.is_readable() {
            return Poll::Pending;
        }
        let room = buffer.initialize_unfilled();
        let length = room.len();
        loop {
            match recv(&self.stream, &mut *room, RecvFlags::empty()).map_err(io::Error::from) {
                Ok((read, _)) => {
                    // The rest has not come yet, and will tell of itself; the end has told already.
                    if read < length && !self.signs.is_ended() {
                        self.signs.was_read();
                    }
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.signs.was_read();
                    return Poll::Pending;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    #[inline]
    fn poll_write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.signs.is_writable() {
            return Poll::Pending;
        }
        loop {
            match send(&self.stream, bytes, SendFlags::NOSIGNAL).map_err(io::Error::from) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.signs.was_filled();
                    return Poll::Pending;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return Poll::Ready(other),
            }
        }
    }
}

impl Socket {
    /// Small requests go out at once (RFC 896 would have them wait for an acknowledgement); a socket that refuses is
    /// still usable.
    pub fn set_nodelay(&self) {
        let _ = match self {
            Self::Watched(watched) => watched.stream.set_nodelay(true),
            Self::Tokio(stream) => stream.set_nodelay(true),
        };
    }

    /// Ready when there may be something to read, or it has ended.
    #[inline]
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Watched(watched) if watched.signs.is_readable() => Poll::Ready(()),
            Self::Watched(_) => Poll::Pending,
            Self::Tokio(stream) => {
                // An error shows in the read that follows.
                let _ = ready!(stream.poll_read_ready(context));
                Poll::Ready(())
            }
        }
    }
}

impl AsyncRead for Socket {
    #[inline]
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Watched(watched) => watched.poll_read(buffer),
            Self::Tokio(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Watched(watched) => watched.poll_write(bytes),
            Self::Tokio(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Watched(watched) => Poll::Ready(watched.stream.shutdown(std::net::Shutdown::Write)),
            Self::Tokio(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
