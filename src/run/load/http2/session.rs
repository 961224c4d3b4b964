//! Connections of HTTP/2 and the seats on them. A pool's places are seats, one for each stream that may be open at once;
//! whoever takes a place sits down at a connection that has a seat free, or opens another. A connection whose seats are
//! all empty is closed.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;

use super::super::stream::{Opening, Stream, Took, as_if_again};

/// What a server may send of one answer before it is read.
const STREAM_WINDOW: u32 = 1 << 20;
/// The same of all answers on one connection.
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Bytes of an answer's head at most.
const HEAD_MAX: u32 = 64 * 1024;
/// Streams of a connection that were given up and are remembered at once: what the server still sends of others counts as
/// its fault, and a thousand such faults end the connection. Each costs some hundred bytes.
const GIVEN_UP_MAX: usize = 10_000;
/// How long they are remembered: an answer may come long after its user has lost patience.
const GIVEN_UP_FOR: Duration = Duration::from_secs(30);

type Opened = io::Result<(SendRequest<Bytes>, Took)>;

enum State {
    Opening(Pin<Box<dyn Future<Output = Opened>>>),
    Open(SendRequest<Bytes>),
    Failed(io::Error),
}

struct Session {
    state: RefCell<State>,
    /// Those who wait for it to open; the socket knows only the one who looked last.
    waiting: RefCell<Vec<Waker>>,
    taken: Cell<usize>,
    /// Nobody sits down any more.
    leaving: Cell<bool>,
    shakes_hands: Rc<Cell<bool>>,
    /// When its first seat was taken in use, microseconds since t0.
    opened_us: Cell<Option<u64>>,
    /// How many of them the shard has open.
    open: Rc<Cell<u64>>,
}

/// The connections of one shard that have a seat taken.
pub struct Sessions {
    streams: usize,
    open: Rc<Cell<u64>>,
    by_pool: HashMap<u32, Vec<Weak<Session>>>,
}

/// A place on a connection: one request at a time.
pub struct Seat {
    session: Rc<Session>,
}

/// What the request under way on a seat needs of its connection.
pub struct Hold {
    /// Sends it.
    pub sender: SendRequest<Bytes>,
    session: Rc<Session>,
}

/// A seat on a connection that may still have to open.
pub struct Joining {
    seat: Option<Seat>,
    opens: bool,
    session: Rc<Session>,
}

impl Sessions {
    /// None is open; each will carry so many streams at once.
    #[must_use]
    pub fn new(streams: usize) -> Self {
        Self {
            streams: streams.max(1),
            open: Rc::default(),
            by_pool: HashMap::new(),
        }
    }

    /// Open connections.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.get()
    }

    /// Takes a seat on a connection of the pool; `open` begins to open another where none is free.
    pub fn join(&mut self, pool: u32, open: impl FnOnce() -> Opening) -> Joining {
        let sessions = self.by_pool.entry(pool).or_default();
        sessions.retain(|session| session.strong_count() > 0);
        let has_room = |session: &Rc<Session>| session.taken.get() < self.streams && session.is_well();
        let free = sessions.iter().filter_map(Weak::upgrade).find(has_room);
        let opens = free.is_none();
        let session = free.unwrap_or_else(|| {
            let session = Rc::new(Session::opening(open(), Rc::clone(&self.open)));
            sessions.push(Rc::downgrade(&session));
            session
        });
        session.taken.set(session.taken.get() + 1);
        let seat = Seat {
            session: Rc::clone(&session),
        };
        Joining {
            seat: Some(seat),
            opens,
            session,
        }
    }
}

impl Session {
    fn opening(mut opening: Opening, open: Rc<Cell<u64>>) -> Self {
        let shakes_hands = Rc::new(Cell::new(false));
        let shaking = Rc::clone(&shakes_hands);
        let opening = async move {
            let (stream, took) = std::future::poll_fn(|context| {
                let polled = opening.poll(context);
                shaking.set(opening.is_handshake());
                polled
            })
            .await?;
            Ok((begin(stream).await?, took))
        };
        Self {
            state: RefCell::new(State::Opening(Box::pin(opening))),
            waiting: RefCell::default(),
            taken: Cell::new(0),
            leaving: Cell::new(false),
            shakes_hands,
            opened_us: Cell::new(None),
            open,
        }
    }

    fn poll_open(&self, context: &mut Context<'_>) -> Poll<io::Result<Option<Took>>> {
        let mut state = self.state.borrow_mut();
        let opening = match &mut *state {
            State::Open(_) => return Poll::Ready(Ok(None)),
            State::Failed(error) => return Poll::Ready(Err(as_if_again(error))),
            State::Opening(opening) => opening,
        };
        let Poll::Ready(opened) = opening.as_mut().poll(context) else {
            let mut waiting = self.waiting.borrow_mut();
            if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                waiting.push(context.waker().clone());
            }
            return Poll::Pending;
        };
        self.wake();
        match opened {
            Ok((sender, took)) => {
                *state = State::Open(sender);
                self.open.set(self.open.get() + 1);
                Poll::Ready(Ok(Some(took)))
            }
            Err(error) => {
                self.leaving.set(true);
                let again = as_if_again(&error);
                *state = State::Failed(error);
                Poll::Ready(Err(again))
            }
        }
    }

    /// Whether it takes requests, or may once it is open; not after the server's word that it leaves (GOAWAY).
    fn is_well(&self) -> bool {
        if let State::Open(sender) = &mut *self.state.borrow_mut()
            && let Poll::Ready(Err(_)) = sender.poll_ready(&mut Context::from_waker(Waker::noop()))
        {
            self.leaving.set(true);
        }
        !self.leaving.get()
    }

    fn wake(&self) {
        self.waiting.borrow_mut().drain(..).for_each(Waker::wake);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let State::Open(_) = self.state.get_mut() {
            self.open.set(self.open.get() - 1);
        }
    }
}

/// Speaks first, and leaves the connection to a task that lives as long as it has seats.
async fn begin(stream: Stream) -> io::Result<SendRequest<Bytes>> {
    if let Stream::Tls(tls) = &stream
        && tls.get_ref().1.alpn_protocol() != Some(b"h2")
    {
        let error = rustls::Error::NoApplicationProtocol;
        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
    }
    let begun = h2::client::Builder::new()
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEAD_MAX)
        .max_concurrent_reset_streams(GIVEN_UP_MAX)
        .reset_stream_duration(GIVEN_UP_FOR)
        // Small frames of streams that were given up would use it up, and whatever else comes is read at once.
        .data_frame_budget(usize::MAX)
        .handshake(stream)
        .await;
    let (sender, connection) = begun.map_err(|error| match error.into_io() {
        Some(error) => error,
        None => io::ErrorKind::ConnectionReset.into(),
    })?;
    // How it ends, its streams are told.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

impl Joining {
    /// The connection is shaking hands.
    #[must_use]
    pub fn is_handshake(&self) -> bool {
        self.session.shakes_hands.get()
    }

    /// It was there before.
    #[must_use]
    pub fn is_guest(&self) -> bool {
        !self.opens
    }

    /// Waits for the connection; says how long opening took to one of those who wait for it.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<(Seat, Option<Took>)>> {
        let took = std::task::ready!(self.session.poll_open(context))?;
        match self.seat.take() {
            Some(seat) => Poll::Ready(Ok((seat, took))),
            None => Poll::Pending,
        }
    }
}

impl Seat {
    /// What a request on it needs; none where the connection takes no more.
    #[must_use]
    pub fn hold(&self) -> Option<Hold> {
        if !self.session.is_well() {
            return None;
        }
        match &*self.session.state.borrow() {
            State::Open(sender) => Some(Hold {
                sender: sender.clone(),
                session: Rc::clone(&self.session),
            }),
            _ => None,
        }
    }

    /// When the connection opened, which somebody sees at `now_us`.
    #[must_use]
    pub fn opened_us(&self, now_us: u64) -> u64 {
        let opened_us = self.session.opened_us.get().unwrap_or(now_us);
        self.session.opened_us.set(Some(opened_us));
        opened_us
    }

    /// The connection carries what it has begun, and nobody sits down on it any more.
    pub fn leave(&self) {
        self.session.leaving.set(true);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.session.taken.set(self.session.taken.get() - 1);
        // Were it the one whom the socket would have told, another has to look.
        self.session.wake();
    }
}

impl Hold {
    /// As [`Seat::leave`].
    pub fn leave(&self) {
        self.session.leaving.set(true);
    }
}
