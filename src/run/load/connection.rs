//! One connection: HTTP/1.1 over a socket of its own, one request at a time, without a task. Which request, and what
//! becomes of the connection after it, is the transport's matter.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Wake as _, Waker};

use tokio::io::ReadBuf;

use super::http1::{AtEnd, Progress, Reader, Receiver};
use super::http2::{Joining, Seat};
use super::lookout::Signs;
use super::pool::Next;
use super::ready::Bell;
use super::reasons::{of_break, of_close};
use super::stream::{Opening, Stream, Took, is_tls};
use crate::recording::FailureKind;

/// Reads of one connection in a row before others get their turn, so that an endless body starves nobody.
const READS_PER_TURN: usize = 16;
/// The pass of a connection that is idle.
pub(super) const NOBODY: u32 = u32::MAX;

/// What a look at a connection found.
#[derive(Debug)]
pub enum Happened {
    /// Nothing yet.
    Nothing,
    /// It is open and waits for its first request; how long that took, where it did not share another's.
    Opened(Option<Took>),
    /// It could not be opened, and is gone; who may open one in its room.
    NotOpened(io::Error, Next),
    /// The response is whole.
    Answered {
        /// Whether it may carry another request.
        reusable: bool,
    },
    /// It broke with the response not whole; the shard closes it.
    Broken(Broken),
    /// It was idle and its peer closed it; it is gone, and nobody missed it.
    GoneIdle,
}

/// How a connection broke under a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// What the user sees.
    pub kind: FailureKind,
    /// In words, where there is more to say than the kind does.
    pub why: Option<Box<str>>,
    /// Not one byte of a response had come.
    pub silent: bool,
    /// Not one byte of the request had left, or none that the server has looked at.
    pub unsent: bool,
    /// The server says that it has not looked at it: because it leaves, or because more came at once than it takes,
    /// which nobody knows before its first word (RFC 9113, sections 5.1.2 and 8.7).
    pub refused: bool,
    /// It had carried a request before, so its end may have crossed this one on the way (RFC 9112, section 9.3.1).
    pub reused: bool,
}

/// What a slot of the transport holds.
pub(super) enum Link {
    None,
    Opening(Opening),
    Open(Stream),
    /// Somebody else speaks over it.
    Lent,
    /// To be a seat on a connection of HTTP/2.
    Joining(Joining),
    /// A seat on a connection of HTTP/2.
    Seat(Seat),
}

/// A slot for one connection after another.
pub(super) struct Connection {
    pub(super) bell: Arc<Bell>,
    pub(super) waker: Waker,
    /// What its socket is ready for.
    pub(super) signs: Arc<Signs>,
    pub(super) link: Link,
    pub(super) pool: u32,
    pub(super) pass: u32,
    pub(super) reader: Reader,
    /// What the socket has not taken yet.
    pub(super) unsent: Vec<u8>,
    /// Everything is written, but TLS has not sent all of it.
    pub(super) unflushed: bool,
    pub(super) to_head: bool,
    pub(super) reused: bool,
    pub(super) written: bool,
    pub(super) heard: bool,
    /// The bell is told of the next byte already.
    pub(super) listening: bool,
    pub(super) opened_us: u64,
    /// How many connections this slot has had.
    pub(super) generation: u32,
}

impl Connection {
    /// An empty slot that rings `bell`.
    pub(super) fn new(bell: Arc<Bell>) -> Self {
        Self {
            waker: Waker::from(Arc::clone(&bell)),
            bell,
            signs: Arc::default(),
            link: Link::None,
            pool: 0,
            pass: NOBODY,
            reader: Reader::default(),
            unsent: Vec::new(),
            unflushed: false,
            to_head: false,
            reused: false,
            written: false,
            heard: false,
            listening: false,
            opened_us: 0,
            generation: 0,
        }
    }

    /// Begins to open; the bell rings when there is more to do.
    pub(super) fn begin(&mut self, link: Link, pool: u32, pass: u32) {
        self.link = link;
        (self.pool, self.pass) = (pool, pass);
        (self.reused, self.listening, self.heard) = (false, false, false);
        self.bell.wake_by_ref();
    }

    /// Sends a request of `pass`.
    #[inline]
    pub(super) fn send(&mut self, pass: u32, request: &[u8], to_head: bool, buffer: &mut [u8]) -> Result<(), Broken> {
        (self.pass, self.to_head) = (pass, to_head);
        (self.written, self.heard) = (false, false);
        let written = self.write(request)?;
        self.unsent.clear();
        self.unsent.extend_from_slice(&request[written..]);
        if !self.listening {
            self.listen(buffer);
        }
        Ok(())
    }

    /// Closes it; the slot is empty.
    pub(super) fn reset(&mut self) {
        self.link = Link::None;
        self.pass = NOBODY;
        self.generation = self.generation.wrapping_add(1);
        self.reader.reset();
        self.unsent = Vec::new();
        self.unflushed = false;
    }

    /// Writes what the socket takes.
    #[inline]
    fn write(&mut self, request: &[u8]) -> Result<usize, Broken> {
        let Link::Open(stream) = &mut self.link else {
            return Ok(0);
        };
        let mut context = Context::from_waker(&self.waker);
        let mut written = 0;
        while written < request.len() {
            match stream.poll_write(&mut context, &request[written..]) {
                Poll::Pending => break,
                Poll::Ready(Ok(count)) => {
                    written += count;
                    self.written = true;
                }
                Poll::Ready(Err(error)) => return Err(self.broken_by(&error)),
            }
        }
        self.unflushed = match stream.poll_flush(&mut context) {
            Poll::Pending => true,
            Poll::Ready(Ok(())) => false,
            Poll::Ready(Err(error)) => return Err(self.broken_by(&error)),
        };
        Ok(written)
    }

    /// Has the bell rung when the peer says something; false if it has said something already, or is gone.
    #[inline]
    pub(super) fn listen(&mut self, buffer: &mut [u8]) -> bool {
        let Link::Open(stream) = &mut self.link else {
            // The end of a shared connection shows with the next request, which is then sent over another.
            return matches!(self.link, Link::Seat(_));
        };
        let mut context = Context::from_waker(&self.waker);
        if self.pass == NOBODY {
            let mut buffer = ReadBuf::new(buffer);
            self.listening = stream.poll_read(&mut context, &mut buffer).is_pending();
        } else {
            match stream.poll_readable(&mut context) {
                Poll::Pending => self.listening = true,
                // The answer is there already, or the readiness is stale; a look will tell.
                Poll::Ready(()) => self.bell.wake_by_ref(),
            }
        }
        self.listening
    }

    /// Sends what is left to send and reads what has come.
    #[inline]
    pub(super) fn go_on(&mut self, buffer: &mut [u8], receiver: &mut impl Receiver) -> Happened {
        if !self.unsent.is_empty() || self.unflushed {
            let unsent = std::mem::take(&mut self.unsent);
            match self.write(&unsent) {
                Ok(written) => self.unsent = unsent[written..].to_vec(),
                Err(broken) => return Happened::Broken(broken),
            }
        }
        for _ in 0..READS_PER_TURN {
            let Link::Open(stream) = &mut self.link else {
                return Happened::Nothing;
            };
            let mut context = Context::from_waker(&self.waker);
            let mut read = ReadBuf::new(buffer);
            let input = match stream.poll_read(&mut context, &mut read) {
                Poll::Pending => {
                    self.listening = true;
                    return Happened::Nothing;
                }
                Poll::Ready(Err(error)) => return Happened::Broken(self.broken_by(&error)),
                Poll::Ready(Ok(())) => read.filled(),
            };
            if input.is_empty() {
                return match self.reader.at_end() {
                    AtEnd::Whole => Happened::Answered { reusable: false },
                    AtEnd::Cut => Happened::Broken(Broken {
                        why: Some(of_close(self.heard).into()),
                        ..self.broken(FailureKind::Reset)
                    }),
                };
            }
            self.heard = true;
            match self.reader.feed(input, self.to_head, receiver) {
                Ok(Progress::More) => {}
                Ok(Progress::Whole { used, reusable }) => {
                    // What came unasked belongs to no request.
                    let reusable = reusable && used == input.len();
                    return Happened::Answered { reusable };
                }
                Err(error) => {
                    let why = Some(error.to_string().into());
                    let broken = self.broken(FailureKind::Protocol);
                    return Happened::Broken(Broken { why, ..broken });
                }
            }
        }
        self.bell.wake_by_ref();
        Happened::Nothing
    }

    fn broken(&self, kind: FailureKind) -> Broken {
        Broken {
            kind: match kind {
                FailureKind::Timeout if self.heard => FailureKind::BodyTimeout,
                kind => kind,
            },
            why: None,
            silent: !self.heard,
            unsent: !self.written,
            refused: false,
            reused: self.reused,
        }
    }

    #[cold]
    fn broken_by(&self, error: &io::Error) -> Broken {
        Broken {
            why: Some(of_break(error, self.heard).into()),
            ..self.broken(io_failure(error))
        }
    }
}

/// What an error of an open connection means to the user.
#[must_use]
pub fn io_failure(error: &io::Error) -> FailureKind {
    match error.kind() {
        io::ErrorKind::TimedOut => FailureKind::Timeout,
        _ if is_tls(error) => FailureKind::Tls,
        _ => FailureKind::Reset,
    }
}

/// What a failed connect means to the user; none where the generator itself lacks what it takes.
#[must_use]
pub fn connect_failure(error: &io::Error) -> Option<FailureKind> {
    use nix::errno::Errno;
    if is_tls(error) {
        return Some(FailureKind::Tls);
    }
    // The server took the connection and ended it within the handshake.
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return Some(FailureKind::Reset);
    }
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE | Errno::ENFILE | Errno::EADDRNOTAVAIL | Errno::ENOBUFS | Errno::ENOMEM) => None,
        Some(Errno::ECONNRESET | Errno::ECONNABORTED | Errno::EPIPE) => Some(FailureKind::Reset),
        Some(Errno::ETIMEDOUT | Errno::EHOSTUNREACH | Errno::ENETUNREACH | Errno::EHOSTDOWN) => {
            Some(FailureKind::ConnectTimeout)
        }
        _ => Some(FailureKind::Refused),
    }
}
