//! The lane beside HTTP/1.1: exchanges in other protocols, each a future that the shard polls when its bell rings, at
//! most one for each pass. An exchange speaks over a connection that the transport opened and lends it, so that
//! connecting, pools, lines and patience are the same for every protocol; it knows neither passes nor measurements, and
//! tells what it found. Only how long a stream is silent is taken down while it goes on.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake as _, Waker};

use hyper::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::checks::CAPTURE_MAX;
use super::connection::io_failure;
use super::http1::BODY_MAX;
use super::ready::{Bell, Ready, Token};
use super::reasons::{of_break, of_close};
use super::stream::Stream;
use super::websocket::Session;
use crate::clock::RunClock;
use crate::recording::FailureKind;

/// Reads in a row before others get their turn, so that an endless answer starves nobody.
pub const READS_PER_TURN: u32 = 16;
const UNHEARD: u64 = u64::MAX;

/// What an exchange found.
#[derive(Default)]
pub struct Told {
    /// Status of the answer; zero where the protocol has none.
    pub status: u16,
    /// Its header fields, where it has any.
    pub headers: HeaderMap,
    /// What checks and extracts look at.
    pub body: Captured,
    /// Why there is no whole answer; none when there is one.
    pub failure: Option<FailureKind>,
    /// In words, where there is more to say than the kind does.
    pub why: Option<Box<str>>,
    /// The server says that it has not looked at the request (RFC 9113, section 8.7).
    pub refused: bool,
    /// When what the step came for began to come, microseconds since t0; none where that is the first byte.
    pub heard_us: Option<u64>,
    /// The connection, where it can carry another exchange.
    pub line: Option<Line>,
    /// Its seat on a connection of HTTP/2 can.
    pub keeps_seat: bool,
    /// The session, where it goes on.
    pub session: Option<Session>,
}

impl Told {
    /// There is no whole answer.
    #[must_use]
    pub fn failed(kind: FailureKind) -> Self {
        Self {
            failure: Some(kind),
            ..Self::default()
        }
    }

    /// The same, with what there is to say of it.
    #[must_use]
    pub fn because(kind: FailureKind, why: impl Into<Box<str>>) -> Self {
        Self {
            why: Some(why.into()),
            ..Self::failed(kind)
        }
    }

    /// The server closed the connection, after some of the answer or before all of it.
    #[must_use]
    pub fn closed(heard: bool) -> Self {
        Self::because(FailureKind::Reset, of_close(heard))
    }

    /// The stream ended before what its step waits for had come.
    #[must_use]
    pub fn ended_early() -> Self {
        Self::because(
            FailureKind::Reset,
            "the stream ended before what was waited for had come",
        )
    }

    /// The connection broke, after some of the answer or before all of it.
    #[must_use]
    pub fn broke(error: &io::Error, heard: bool) -> Self {
        Self::because(io_failure(error), of_break(error, heard))
    }

    /// What came is none of the protocol.
    #[must_use]
    pub fn garbled(why: impl Into<Box<str>>) -> Self {
        Self::because(FailureKind::Protocol, why)
    }

    /// The answer is longer than any may be.
    #[must_use]
    pub fn too_long() -> Self {
        Self::garbled(format!("the answer is longer than {BODY_MAX} bytes"))
    }
}

/// A body as checks need it: how long it is, and of its bytes at most [`CAPTURE_MAX`].
#[derive(Debug, Default)]
pub struct Captured {
    /// The bytes kept.
    pub bytes: Vec<u8>,
    /// Of all that came.
    pub length: u64,
}

impl Captured {
    /// A piece has come.
    pub fn push(&mut self, piece: &[u8]) {
        let room = CAPTURE_MAX.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&piece[..piece.len().min(room)]);
        self.length += piece.len() as u64;
    }
}

/// What shows of an exchange while it is under way.
#[derive(Debug)]
pub struct Ear {
    heard_us: AtomicU64,
    written: AtomicBool,
}

impl Default for Ear {
    fn default() -> Self {
        Self {
            heard_us: AtomicU64::new(UNHEARD),
            written: AtomicBool::new(false),
        }
    }
}

impl Ear {
    /// When something of an answer was first seen, microseconds since t0.
    #[must_use]
    pub fn heard_us(&self) -> Option<u64> {
        let heard_us = self.heard_us.load(Ordering::Relaxed);
        (heard_us != UNHEARD).then_some(heard_us)
    }

    /// Another exchange begins on the same line.
    fn begin(&self) {
        self.heard_us.store(UNHEARD, Ordering::Relaxed);
        self.written.store(false, Ordering::Relaxed);
    }

    /// Something of an answer has come.
    pub fn hear(&self, now_us: u64) {
        self.heard_us.store(now_us, Ordering::Relaxed);
    }

    /// The request leaves.
    pub fn write(&self) {
        self.written.store(true, Ordering::Relaxed);
    }

    /// Some of the request has left.
    #[must_use]
    pub fn has_written(&self) -> bool {
        self.written.load(Ordering::Relaxed)
    }
}

/// A lent connection, as tokio's traits want it; it notes when the first byte goes and comes.
pub struct Line {
    stream: Stream,
    ear: Arc<Ear>,
    clock: RunClock,
    reads: u32,
}

impl Line {
    /// An exchange begins on `stream`.
    #[must_use]
    pub fn new(stream: Stream, ear: Arc<Ear>, clock: RunClock) -> Self {
        Self {
            stream,
            ear,
            clock,
            reads: 0,
        }
    }

    /// The connection as it was lent.
    #[must_use]
    pub fn into_stream(self) -> Stream {
        self.stream
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.reads += 1;
        if self.reads > READS_PER_TURN {
            self.reads = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = self.stream.poll_read(context, buffer);
        match &read {
            Poll::Pending => self.reads = 0,
            Poll::Ready(_) if buffer.filled().len() > before && self.ear.heard_us().is_none() => {
                let now_us = self.clock.elapsed().as_micros() as u64;
                self.ear.heard_us.store(now_us, Ordering::Relaxed);
            }
            Poll::Ready(_) => {}
        }
        read
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = self.stream.poll_write(context, bytes);
        if let Poll::Ready(Ok(1..)) = wrote {
            self.ear.written.store(true, Ordering::Relaxed);
        }
        wrote
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_shutdown(context)
    }
}

/// The exchanges of one shard, by the row of their pass, and the sessions that last from one exchange to the next.
pub struct Lane {
    ready: Ready,
    rows: Vec<Option<Row>>,
    kept: HashMap<u32, Kept>,
}

/// A session while nobody speaks in it.
pub struct Kept {
    /// Itself.
    pub session: Session,
    /// The slot of the connection it is spoken over.
    pub connection: u32,
    /// Recorder's index of who serves it.
    pub served: usize,
    /// That of its line.
    pub ear: Arc<Ear>,
}

struct Row {
    exchange: Pin<Box<dyn Future<Output = Told>>>,
    bell: Arc<Bell>,
    waker: Waker,
    ear: Arc<Ear>,
}

impl Lane {
    /// Nothing is under way.
    #[must_use]
    pub fn new(ready: Ready) -> Self {
        Self {
            ready,
            rows: Vec::new(),
            kept: HashMap::new(),
        }
    }

    /// Keeps a session of `pass` until its next exchange.
    pub fn keep(&mut self, pass: u32, kept: Kept) {
        self.kept.insert(pass, kept);
    }

    /// The session of `pass`, for its next exchange or its end.
    #[inline]
    pub fn resume(&mut self, pass: u32) -> Option<Kept> {
        // Hardly any load has sessions.
        if self.kept.is_empty() {
            return None;
        }
        let kept = self.kept.remove(&pass)?;
        kept.ear.begin();
        Some(kept)
    }

    /// Whether a session of `pass` is kept.
    #[must_use]
    pub fn has_session(&self, pass: u32) -> bool {
        self.kept.contains_key(&pass)
    }

    /// Begins an exchange of `pass`, which has none under way; `ear` is that of its line.
    pub fn start(&mut self, pass: u32, ear: Arc<Ear>, exchange: impl Future<Output = Told> + 'static) {
        let index = pass as usize;
        if self.rows.len() <= index {
            self.rows.resize_with(index + 1, || None);
        }
        let bell = self.ready.bell(Token::Lane(pass));
        // Its first turn comes like every other.
        bell.wake_by_ref();
        self.rows[index] = Some(Row {
            exchange: Box::pin(exchange),
            waker: Waker::from(Arc::clone(&bell)),
            bell,
            ear,
        });
    }

    /// Goes on with the exchange whose bell rang; what it found, once it is over.
    pub fn look(&mut self, pass: u32) -> Option<(Told, Arc<Ear>)> {
        let row = self.rows.get_mut(pass as usize)?;
        let under_way = row.as_mut()?;
        under_way.bell.hush();
        let mut context = Context::from_waker(&under_way.waker);
        match under_way.exchange.as_mut().poll(&mut context) {
            Poll::Pending => None,
            Poll::Ready(told) => row.take().map(|row| (told, row.ear)),
        }
    }

    /// Drops the exchange of `pass`, if there is one, and its connection with it.
    pub fn stop(&mut self, pass: u32) {
        if let Some(row) = self.rows.get_mut(pass as usize) {
            *row = None;
        }
    }

    /// What shows of the exchange of `pass`.
    #[must_use]
    pub fn ear(&self, pass: u32) -> Option<&Ear> {
        let row = self.rows.get(pass as usize)?.as_ref();
        row.map(|row| &*row.ear)
    }
}
