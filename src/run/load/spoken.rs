//! Steps that speak something other than HTTP/1.1: what starts them in the lane, and how what they found becomes the
//! same as an answer of HTTP/1.1. What they say is in a file for each protocol.

use std::sync::Arc;

use super::checks::{CheckError, Test};
use super::connection::Broken;
use super::events::Watch;
use super::exchange::{Answer, Ending, Started};
use super::grpc::Call;
use super::http1::{Head, Receiver as _};
use super::http2::{self, Hold};
use super::lane::{Ear, Kept, Lane, Line, Told};
use super::measure::Gaps;
use super::passes::Place;
use super::shard::Shard;
use super::silence::Silence;
use super::stream::Stream;
use super::websocket::{self, Session, Talk};
use super::{events, tcp};
use crate::clock::RunClock;
use crate::plan::{EventsUntil, Protocol, StepPlan, TcpStep, WebSocketStep};
use crate::units::Pace;

/// The protocol of a step, ready to be spoken.
#[derive(Clone, Debug)]
pub enum Spoken {
    /// By the transport itself.
    Http,
    /// The same over HTTP/2.
    Http2,
    /// A call of gRPC.
    Grpc(Arc<Call>),
    /// Bytes over TCP.
    Tcp(TcpStep),
    /// Server-sent events.
    Events(Watch),
    /// In a session.
    WebSocket(Talk),
}

impl Spoken {
    /// What `step` speaks, where it is no call.
    pub fn compile(step: &StepPlan, pace: Pace) -> Result<Self, CheckError> {
        Ok(match &step.protocol {
            Protocol::Http | Protocol::Grpc(_) => Self::Http,
            Protocol::Tcp(tcp) => Self::Tcp(tcp.clone()),
            Protocol::Events(until) => Self::Events(Watch {
                until: match until {
                    EventsUntil::For(length) => EventsUntil::For(pace.patience(*length)),
                    until => until.clone(),
                },
                gap_max: step.expect.gap,
            }),
            Protocol::WebSocket(doing) => Self::WebSocket(match doing {
                WebSocketStep::Open => Talk::Open,
                WebSocketStep::SendText => Talk::SendText,
                WebSocketStep::SendBinary => Talk::SendBinary,
                WebSocketStep::Receive(wanted) => Talk::Receive(Test::compile(step, wanted)?),
                WebSocketStep::Ping => Talk::Ping,
                WebSocketStep::Stay(length) => Talk::Stay {
                    length: pace.patience(*length),
                    gap_max: step.expect.gap,
                },
                WebSocketStep::Close => Talk::Close,
            }),
        })
    }

    /// Whether it belongs to a session that an earlier step opened.
    #[must_use]
    #[inline]
    pub fn is_in_session(&self) -> bool {
        match self {
            Self::WebSocket(talk) => !matches!(talk, Talk::Open),
            _ => false,
        }
    }
}

/// Begins the exchange of `pass` on a seat of HTTP/2: a call where it makes one.
pub(super) fn start_on(
    lane: &mut Lane,
    pass: u32,
    hold: Hold,
    clock: RunClock,
    request: &[u8],
    https: bool,
    spoken: &Spoken,
) {
    let ear = Arc::new(Ear::default());
    let (request, heard) = (request.to_vec(), Arc::clone(&ear));
    match spoken {
        Spoken::Grpc(call) => {
            let exchange = http2::call(hold, request, https, heard, clock, Arc::clone(call));
            lane.start(pass, ear, exchange);
        }
        _ => lane.start(pass, ear, http2::exchange(hold, request, https, heard, clock)),
    }
}

/// Begins the exchange of `pass` over `stream`; only streams of events ask for `gaps`.
pub(super) fn start(
    lane: &mut Lane,
    pass: u32,
    stream: Stream,
    clock: RunClock,
    request: &[u8],
    spoken: &Spoken,
    gaps: impl FnOnce() -> Gaps,
) {
    let ear = Arc::new(Ear::default());
    let line = Line::new(stream, Arc::clone(&ear), clock);
    let request = request.to_vec();
    match spoken {
        // The transport speaks it itself, or a seat carries it.
        Spoken::Http | Spoken::Http2 | Spoken::Grpc(_) => {}
        Spoken::Tcp(step) => lane.start(pass, ear, tcp::exchange(line, request, step.clone())),
        Spoken::Events(watch) => {
            let exchange = events::exchange(line, request, watch.clone(), clock, gaps());
            lane.start(pass, ear, exchange);
        }
        // All others have a session.
        Spoken::WebSocket(_) => lane.start(pass, ear, websocket::open(line, request)),
    }
}

impl Shard {
    /// Deals with whatever the exchange of a pass came to.
    pub(super) fn look_in_lane(&mut self, pass: u32) {
        let Some((told, ear)) = self.lane.look(pass) else {
            return;
        };
        let Place::Sent(connection) = self.passes[pass].place else {
            return;
        };
        let now_us = self.now_us();
        self.passes[pass].heard_us = told.heard_us.or(ear.heard_us());
        if let Some(kind) = told.failure {
            let broken = Broken {
                kind,
                why: told.why,
                silent: ear.heard_us().is_none(),
                unsent: told.refused || !ear.has_written(),
                refused: told.refused,
                // A session's connection carried its handshake, and cannot be replaced.
                reused: self.transport.is_reused(connection) && !self.is_in_session(pass),
            };
            self.broke(pass, connection, broken, now_us);
            return;
        }
        let keeps_seat = told.keeps_seat;
        let (line, session) = self.take_down(pass, told);
        if let Some(session) = session {
            let kept = Kept {
                session,
                connection,
                served: self.passes[pass].served,
                ear,
            };
            self.lane.keep(pass, kept);
            self.end_request(pass, Ending::Answered, now_us);
            return;
        }
        let reusable = line.is_some() || keeps_seat;
        if let Some(line) = line {
            self.transport.take_back(connection, line.into_stream());
        }
        self.answered(pass, connection, reusable, now_us);
    }

    /// What the exchange found, as checks and records want it.
    fn take_down(&mut self, pass: u32, told: Told) -> (Option<Line>, Option<Session>) {
        let step = self.step_of(pass);
        let mut answer = Answer {
            pass: &mut self.passes[pass],
            recorder: &mut self.recorder,
            heads: &mut self.heads,
            served_by: self.common.served_by.as_deref(),
            step: &self.common.steps[step],
        };
        if told.status > 0 {
            let fields = told.headers.iter().map(|(name, value)| httparse::Header {
                name: name.as_str(),
                value: value.as_bytes(),
            });
            answer.head(&Head {
                status: told.status,
                headers: &fields.collect::<Vec<_>>(),
            });
        }
        answer.body(&told.body.bytes);
        answer.pass.body_length = told.body.length;
        (told.line, told.session)
    }

    /// Whether the pass is at a step of a session that an earlier one opened.
    #[inline]
    pub(super) fn is_in_session(&self, pass: u32) -> bool {
        self.common.steps[self.step_of(pass)].spoken.is_in_session()
    }

    /// Goes on in the session of a pass with the step it is at, whose request has begun; without one there is nothing
    /// to send.
    pub(super) fn go_on_in_session(&mut self, pass: u32, step: usize, now_us: u64) -> Started {
        let Some(kept) = self.lane.resume(pass) else {
            self.recorder.dropped(self.passes[pass].class);
            return Started::NotSent;
        };
        let Kept {
            session,
            connection,
            served,
            ear,
        } = kept;
        let state = &mut self.passes[pass];
        (state.free_us, state.sent_us, state.place) = (Some(now_us), now_us, Place::Sent(connection));
        // Only the handshake says it.
        state.served = served;
        self.recorder
            .started(step, state.intended_us, now_us, Some(state.destination));
        self.patience.push(self.passes[pass].class, step, pass, now_us);
        let message = self.request_of(pass).to_vec();
        if let Spoken::WebSocket(talk) = &self.common.steps[step].spoken {
            let silence = match talk {
                Talk::Stay { gap_max: Some(max), .. } => Some(Silence::new(self.recorder.gaps(step), Some(*max))),
                _ => None,
            };
            let exchange = websocket::talk(session, talk.clone(), message, silence);
            self.lane.start(pass, ear, exchange);
        }
        Started::UnderWay
    }

    /// The pass needs its session no longer, if it has one; the connection is closed with it.
    #[inline]
    pub(super) fn leave_session(&mut self, pass: u32, now_us: u64) {
        if let Some(mut kept) = self.lane.resume(pass) {
            websocket::go_away(&mut kept.session);
            let next = self.transport.close(kept.connection);
            self.give(next, None, now_us);
        }
    }

    /// When something of an answer came to the exchange of a pass that is under way.
    pub(super) fn heard_in_lane(&self, pass: u32) -> Option<u64> {
        self.lane.ear(pass).and_then(Ear::heard_us)
    }

    /// The pass waits no longer for its exchange, if it has one.
    pub(super) fn leave_lane(&mut self, pass: u32) {
        let heard_us = self.heard_in_lane(pass);
        let state = &mut self.passes[pass];
        state.heard_us = state.heard_us.or(heard_us);
        self.lane.stop(pass);
    }
}
