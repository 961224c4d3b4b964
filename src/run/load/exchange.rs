//! One request from its due time to its end: route, connection, sending, answer, retry, what is written down.
//! The part of a shard between its users and its sockets; decides nothing about who starts when.

use std::io;

use super::book::Write;
use super::checks::{CAPTURE_MAX, Checks};
use super::connection::{Broken, Happened, connect_failure};
use super::grpc::UNAUTHENTICATED;
use super::http1::{Found, Head, Known, Receiver};
use super::ids::{Ids, Unique};
use super::jar;
use super::measure::{Finished, Recorder};
use super::passes::{Pass, Place};
use super::pieces::Filling;
use super::pool::{Next, NoRoute, Slot};
use super::reasons::of_connection;
use super::request::CompiledStep;
use super::retry::Attempt;
use super::shard::Shard;
use super::spoken::{self, Spoken};
use super::tokens::UserTokens;
use super::websocket::Talk;
use crate::recording::FailureKind;
use crate::run::coding::{Codings, Decoded};

/// The status of an answer to whom the target does not know.
const UNAUTHORIZED: u16 = 401;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// A whole response came.
    Answered,
    /// None came.
    Failed(FailureKind),
    /// The generator could not send it (no descriptors, no local ports).
    NotSent,
}

/// What is taken from the head of an answer to a step that looks at no field of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadTold {
    status: u16,
    served: usize,
    codings: Codings,
}

/// Takes down what an answer says.
pub(super) struct Answer<'a> {
    pub(super) pass: &'a mut Pass,
    pub(super) recorder: &'a mut Recorder,
    pub(super) heads: &'a mut Known<HeadTold>,
    pub(super) served_by: Option<&'a str>,
    pub(super) step: &'a CompiledStep,
}

impl Receiver for Answer<'_> {
    fn head(&mut self, head: &Head<'_>) {
        self.pass.status = head.status;
        let by = self.served_by.and_then(|name| head.get(name)).unwrap_or_default();
        self.pass.served = self.recorder.server(by);
        let kept = self
            .step
            .jar
            .is_none_or(|jar| jar::store(&mut self.pass.values[jar], head));
        if self.step.follows(head.status).is_some() {
            self.pass.location.clear();
            self.pass
                .location
                .extend_from_slice(head.get("location").unwrap_or_default());
        } else if let Some(checks) = &self.step.checks {
            // The head of a redirect that is followed is not the one that the step is about.
            self.pass.head_fine = checks.head(head, &mut self.pass.values);
            if !self.pass.head_fine && self.step.judge(head.status).is_none() {
                let step = self.pass.step as usize;
                self.recorder
                    .reason(step, FailureKind::Expectation, || checks.why_head(head));
            }
            if checks.needs_body() {
                self.pass.codings = codings(head);
            }
        }
        self.pass.head_fine &= kept;
    }

    fn body(&mut self, piece: &[u8]) {
        self.pass.body_length += piece.len() as u64;
        if self.step.checks.as_ref().is_some_and(Checks::needs_body) {
            self.pass.keep_body(piece);
        }
    }

    #[inline]
    fn recall(&mut self, input: &[u8]) -> Option<(usize, Found)> {
        if self.step.looks_at_heads {
            return None;
        }
        let (length, found, told) = self.heads.recall(input)?;
        (self.pass.status, self.pass.served, self.pass.codings) = (told.status, told.served, told.codings);
        Some((length, found))
    }

    fn learn(&mut self, bytes: &[u8], head: &Head<'_>, found: Found) {
        let told = HeadTold {
            status: self.pass.status,
            served: self.pass.served,
            codings: codings(head),
        };
        self.heads.learn(bytes, found, told);
    }
}

/// What the body that follows a head is encoded in.
fn codings(head: &Head<'_>) -> Codings {
    let fields = head.headers.iter();
    let of = |field: &&httparse::Header<'_>| field.name.eq_ignore_ascii_case("content-encoding");
    Codings::of(fields.filter(of).map(|field| field.value))
}

/// Nobody asked, so nobody listens.
struct Unheard;

impl Receiver for Unheard {
    fn head(&mut self, _: &Head<'_>) {}

    fn body(&mut self, _: &[u8]) {}
}

impl Shard {
    /// Starts the request of the step that the pass is at.
    pub(super) fn start_request(&mut self, pass: u32, intended_us: u64, now_us: u64) -> Started {
        let step = self.step_of(pass);
        let CompiledStep { variables, door, .. } = self.common.steps[step];
        let counter = self.ids.take();
        self.passes[pass].begin_request(intended_us, now_us, counter, variables);
        let class = self.passes[pass].class;
        self.recorder.intended(class);
        let limiter = self.common.limiter.as_ref();
        if limiter.is_some_and(|limiter| limiter.check().is_err()) {
            self.recorder.dropped(class);
            return Started::NotSent;
        }
        match &self.common.steps[step].spoken {
            // Nobody could go on in the one before it.
            Spoken::WebSocket(Talk::Open) => self.leave_session(pass, now_us),
            Spoken::WebSocket(_) => return self.go_on_in_session(pass, step, now_us),
            _ => {}
        }
        let pool = match self.route(pass, door) {
            Ok(pool) => pool,
            Err(NoRoute::QueueFull) => {
                self.recorder.dropped(class);
                return Started::NotSent;
            }
            Err(NoRoute::NoAddress) => {
                self.recorder.started(step, intended_us, now_us, None);
                self.recorder.finished(&Finished {
                    step,
                    class,
                    intended_us,
                    started_us: now_us,
                    served_from_us: now_us,
                    first_byte: None,
                    finished_us: now_us,
                    failure: Some(FailureKind::Dns),
                });
                self.passes[pass].request_of_groups(now_us, Some(FailureKind::Dns));
                return Started::NotSent;
            }
        };
        let destination = self.destination_of(pool);
        self.recorder.started(step, intended_us, now_us, Some(destination));
        self.retrying.earn(class);
        self.attempt(pass, step, pool, now_us);
        Started::UnderWay
    }

    /// Where the next attempt of a pass goes: where its user's own connection does, or as the DNS says.
    #[inline]
    pub(super) fn route(&mut self, pass: u32, door: u32) -> Result<u32, NoRoute> {
        let Pass { class, own, .. } = self.passes[pass];
        if self.owned
            && let Some(pool) = self.transport.kept_pool(own, class, door)
        {
            return Ok(pool);
        }
        self.transport.route(class, door)
    }

    fn attempt(&mut self, pass: u32, step: usize, pool: u32, now_us: u64) {
        self.passes[pass].destination = self.destination_of(pool);
        self.patience.push(self.passes[pass].class, step, pass, now_us);
        self.take_connection(pass, pool, now_us);
    }

    pub(super) fn take_connection(&mut self, pass: u32, pool: u32, now_us: u64) {
        let slot = match self.owned {
            true => self.transport.take_own(pool, self.passes[pass].own.take()),
            false => self.transport.take(pool, pass),
        };
        match slot {
            Slot::Idle(connection) => self.send(pass, connection, now_us),
            Slot::New => self.connect(pass, pool, now_us),
            Slot::InLine => self.passes[pass].place = Place::InLine(pool),
        }
    }

    /// Opens connections for those who were to wait for this turn.
    pub(super) fn open_more(&mut self, now_us: u64) {
        self.transport.begin_turn();
        while self.transport.is_held_back()
            && let Some((pool, pass)) = self.transport.let_open()
        {
            self.connect(pass, pool, now_us);
        }
    }

    /// Sends again what has waited for it; what cannot be sent, and all of it once the run is stopped, stays as it
    /// failed.
    pub(super) fn try_again(&mut self, now_us: u64) {
        let due_us = if self.cut { u64::MAX } else { now_us };
        while let Some(pass) = self.retrying.pop_due(due_us) {
            let limiter = self.common.limiter.as_ref();
            let refused = limiter.is_some_and(|limiter| limiter.check().is_err());
            let door = self.common.steps[self.step_of(pass)].door;
            let pool = match self.route(pass, door) {
                Ok(pool) if !refused && !self.cut => pool,
                _ => {
                    self.conclude(pass, self.passes[pass].failure, now_us);
                    continue;
                }
            };
            let destination = self.destination_of(pool);
            self.recorder.retried(destination);
            self.passes[pass].begin_attempt();
            self.attempt(pass, self.step_of(pass), pool, now_us);
        }
    }

    /// How long the client waits before it tries again, microseconds; none when it takes the failure as final.
    fn retry_wait_us(&mut self, pass: u32, kind: FailureKind, now_us: u64) -> Option<u64> {
        let compiled = &self.common.steps[self.step_of(pass)];
        if compiled.spoken.is_in_session() {
            // Its session is gone, or has gone on.
            return None;
        }
        let idempotent = compiled.is_idempotent();
        let state = &mut self.passes[pass];
        let attempt = Attempt {
            class: state.class,
            made: state.attempts,
            kind,
            status: state.status,
            idempotent,
        };
        let wait_us = self.retrying.wait_us(&attempt, &mut state.choices)?;
        // A run does not go on for longer than one request may take after its schedule has ended.
        let in_time = now_us + wait_us <= self.end_us.saturating_add(self.patience_us);
        (in_time && !self.cut).then_some(wait_us)
    }

    /// A connect takes as long as the client's class has patience for; it is the only step of its kind.
    fn await_connection(&mut self, pass: u32, now_us: u64) {
        self.connecting.push(self.passes[pass].class, 0, pass, now_us);
    }

    fn end_connecting(&mut self, pass: u32) {
        self.connecting.remove(self.passes[pass].class, 0, pass);
    }

    fn connect(&mut self, pass: u32, pool: u32, now_us: u64) {
        self.passes[pass].free_us.get_or_insert(now_us);
        let connection = self.transport.connect(pool, pass);
        self.passes[pass].place = Place::Opening(connection);
        self.await_connection(pass, now_us);
    }

    /// Sends the pass's request; a failure to do so is dealt with like one later on.
    fn send(&mut self, pass: u32, connection: u32, now_us: u64) {
        let step = self.step_of(pass);
        let compiled = &self.common.steps[step];
        let state = &mut self.passes[pass];
        state.free_us.get_or_insert(now_us);
        state.sent_us = now_us;
        state.place = Place::Sent(connection);
        let follow = state.going.as_ref().map(|(follow, _)| *follow);
        let request = compiled.fill(
            follow,
            &mut filling(state, &self.ids, &self.tokens, &mut state.drawn.clone()),
            &mut self.scratch,
        );
        let sent = match &compiled.spoken {
            Spoken::Http => self.transport.send(connection, pass, request, compiled.is_to_head()),
            Spoken::Http2 | Spoken::Grpc(_) => {
                let Some(hold) = self.transport.hold(connection, pass) else {
                    // The server has said that it leaves; nothing was sent.
                    state.place = Place::Opening(self.transport.replace(connection));
                    self.await_connection(pass, now_us);
                    return;
                };
                let https = self.common.plan.target.scheme == "https";
                let clock = self.common.clock;
                spoken::start_on(&mut self.lane, pass, hold, clock, request, https, &compiled.spoken);
                Ok(())
            }
            other => {
                if let Some(stream) = self.transport.lend(connection, pass) {
                    let (clock, gaps) = (self.common.clock, || self.recorder.gaps(step));
                    spoken::start(&mut self.lane, pass, stream, clock, request, other, gaps);
                }
                Ok(())
            }
        };
        if let Err(broken) = sent {
            self.broke(pass, connection, broken, now_us);
        }
    }

    /// What the step of a pass sends, as it was before any redirect.
    pub(super) fn request_of(&mut self, pass: u32) -> &[u8] {
        let compiled = &self.common.steps[self.step_of(pass)];
        let state = &self.passes[pass];
        compiled.fill(
            None,
            &mut filling(state, &self.ids, &self.tokens, &mut state.drawn.clone()),
            &mut self.scratch,
        )
    }

    /// The path that the request of a pass asks for.
    pub(super) fn path_of(&mut self, pass: u32) -> String {
        let request = self.request_of(pass);
        let path = request.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        String::from_utf8_lossy(path).into_owned()
    }

    /// Deals with whatever happened on a connection whose bell rang.
    pub(super) fn look(&mut self, connection: u32) {
        let Some(pass) = self.transport.pass(connection) else {
            self.transport.look(connection, &mut Unheard);
            return;
        };
        let step = self.step_of(pass);
        let mut answer = Answer {
            pass: &mut self.passes[pass],
            recorder: &mut self.recorder,
            heads: &mut self.heads,
            served_by: self.common.served_by.as_deref(),
            step: &self.common.steps[step],
        };
        match self.transport.look(connection, &mut answer) {
            Happened::Nothing => self.heard(pass, connection),
            Happened::GoneIdle => {}
            Happened::Opened(took) => {
                self.end_connecting(pass);
                if let Some(took) = took {
                    self.recorder.opened(took);
                }
                let now_us = self.now_us();
                self.transport.opened(connection, now_us);
                self.send(pass, connection, now_us);
            }
            Happened::NotOpened(error, next) => self.not_opened(pass, &error, next),
            Happened::Answered { reusable } => {
                let now_us = self.now_us();
                self.passes[pass].heard_us.get_or_insert(now_us);
                self.answered(pass, connection, reusable, now_us);
            }
            Happened::Broken(broken) => {
                let now_us = self.now_us();
                self.broke(pass, connection, broken, now_us);
            }
        }
    }

    /// The answer is whole; its connection is free again, if it can be used again.
    #[inline]
    pub(super) fn answered(&mut self, pass: u32, connection: u32, reusable: bool, now_us: u64) {
        if self.owned {
            self.passes[pass].own = self.transport.release_own(connection, reusable, now_us);
        } else {
            let (next, connection) = self.transport.release(connection, reusable, now_us);
            self.give(next, connection, now_us);
        }
        self.end_request(pass, Ending::Answered, now_us);
    }

    /// Takes down when an answer began that is not whole yet; one that comes at once needs no second look at the clock.
    #[inline]
    fn heard(&mut self, pass: u32, connection: u32) {
        if self.passes[pass].heard_us.is_none() && self.transport.has_heard(connection) {
            self.passes[pass].heard_us = Some(self.now_us());
        }
    }

    /// The first in line gets a connection, or the right to open one.
    pub(super) fn give(&mut self, next: Next, connection: Option<u32>, now_us: u64) {
        let Next::Pass(pass) = next else { return };
        match (connection, self.passes[pass].place) {
            (Some(connection), _) => self.send(pass, connection, now_us),
            (None, Place::InLine(pool)) => self.connect(pass, pool, now_us),
            (None, _) => {}
        }
    }

    fn not_opened(&mut self, pass: u32, error: &io::Error, next: Next) {
        self.end_connecting(pass);
        let now_us = self.now_us();
        self.give(next, None, now_us);
        let ending = connect_failure(error).map_or(Ending::NotSent, Ending::Failed);
        if let Ending::Failed(kind) = ending {
            self.recorder.reason(self.step_of(pass), kind, || of_connection(error));
        }
        self.end_request(pass, ending, now_us);
    }

    pub(super) fn broke(&mut self, pass: u32, connection: u32, broken: Broken, now_us: u64) {
        let compiled = &self.common.steps[self.step_of(pass)];
        let state = &mut self.passes[pass];
        let lost = broken.kind == FailureKind::Reset && broken.silent;
        // As browsers do: an idle connection may have been closed just then (RFC 9112, section 9.3.1).
        let crossed = broken.reused && (broken.unsent || (lost && compiled.is_idempotent()));
        if (broken.refused || crossed) && !state.resent {
            state.resent = true;
            state.begin_answer();
            state.sent |= !broken.unsent;
            if !broken.unsent {
                state.unsure = true;
                self.recorder.retried(state.destination);
            }
            let connection = self.transport.replace(connection);
            state.place = Place::Opening(connection);
            self.await_connection(pass, now_us);
            return;
        }
        state.sent |= !broken.unsent;
        if !broken.silent {
            state.heard_us.get_or_insert(now_us);
        }
        if let Some(why) = broken.why {
            self.recorder.reason(self.step_of(pass), broken.kind, || why.into());
        }
        let next = self.transport.close(connection);
        self.give(next, None, now_us);
        self.end_request(pass, Ending::Failed(broken.kind), now_us);
    }

    /// Gives up what has waited too long.
    pub(super) fn expire(&mut self, now_us: u64) {
        while let Some(pass) = self.connecting.pop_due(now_us) {
            if let Some(stage) = self.stage(pass) {
                self.give_up(pass, stage, now_us);
            }
        }
        while let Some(pass) = self.patience.pop_due(now_us) {
            self.end_connecting(pass);
            if let Some(stage) = self.stage(pass) {
                // Who got a connection at the last instant has not lost his time to it.
                let most_in_line = self.passes[pass].waited_most(now_us);
                let kind = if most_in_line {
                    FailureKind::BlockedTimeout
                } else {
                    stage
                };
                self.give_up(pass, kind, now_us);
            }
        }
    }

    /// What a timeout is called where the request of the pass is now.
    fn stage(&self, pass: u32) -> Option<FailureKind> {
        Some(match self.passes[pass].place {
            Place::Nowhere => return None,
            Place::InLine(_) => FailureKind::BlockedTimeout,
            Place::Opening(connection) if self.transport.is_handshake(connection) => FailureKind::TlsTimeout,
            Place::Opening(_) => FailureKind::ConnectTimeout,
            Place::Sent(_) if self.passes[pass].heard_us.or(self.heard_in_lane(pass)).is_some() => {
                FailureKind::BodyTimeout
            }
            Place::Sent(_) => FailureKind::Timeout,
        })
    }

    fn give_up(&mut self, pass: u32, kind: FailureKind, now_us: u64) {
        match self.passes[pass].place {
            Place::Opening(connection) => {
                let next = self.transport.close(connection);
                self.give(next, None, now_us);
            }
            Place::Sent(connection) => {
                self.passes[pass].sent = true;
                self.leave_lane(pass);
                let next = self.transport.close(connection);
                self.give(next, None, now_us);
            }
            Place::InLine(pool) => self.transport.leave_line(pool, pass),
            Place::Nowhere => {}
        }
        self.end_request(pass, Ending::Failed(kind), now_us);
    }

    /// An attempt is over: its request is, or it is tried again.
    pub(super) fn end_request(&mut self, pass: u32, ending: Ending, now_us: u64) {
        let ending = match ending {
            Ending::Answered => match self.follow(pass, now_us) {
                Ok(()) => return,
                Err(otherwise) => otherwise.unwrap_or(ending),
            },
            ending => ending,
        };
        let step = self.step_of(pass);
        self.patience.remove(self.passes[pass].class, step, pass);
        self.close_seconds(now_us);
        let state = &mut self.passes[pass];
        state.place = Place::Nowhere;
        let compiled = &self.common.steps[step];
        let failure = match ending {
            Ending::Answered => {
                state.sent = true;
                match compiled.judge(state.status) {
                    None => check(compiled, state, &mut self.recorder, now_us),
                    Some(kind) => {
                        self.recorder.reason(step, kind, || compiled.unexpected(state.status));
                        Some(kind)
                    }
                }
            }
            Ending::Failed(kind) => Some(kind),
            Ending::NotSent => {
                self.recorder.dropped(state.class);
                state.groups.iter_mut().for_each(|group| group.lacks = true);
                self.go_on(pass, now_us, false);
                return;
            }
        };
        if let Some(kind) = failure
            && let Some(wait_us) = self.retry_wait_us(pass, kind, now_us)
        {
            let state = &mut self.passes[pass];
            state.failure = failure;
            state.unsure |= state.sent && kind != FailureKind::Status4xx;
            self.retrying.wait(pass, now_us + wait_us);
            return;
        }
        self.conclude(pass, failure, now_us);
    }

    /// Writes down what became of a request, and its pass goes on.
    pub(super) fn conclude(&mut self, pass: u32, failure: Option<FailureKind>, now_us: u64) {
        let step = self.step_of(pass);
        let compiled = &self.common.steps[step];
        let state = &mut self.passes[pass];
        self.recorder.finished(&Finished {
            step,
            class: state.class,
            intended_us: state.intended_us,
            started_us: state.started_us,
            // Who never got a connection only waited.
            served_from_us: state.free_us.unwrap_or(now_us),
            first_byte: state.heard_us.map(|heard_us| heard_us.saturating_sub(state.sent_us)),
            finished_us: now_us,
            failure,
        });
        if !state.groups.is_empty() {
            state.request_of_groups(now_us, failure);
        }
        match failure {
            None => self.recorder.served(state.served, state.destination),
            Some(_) => {
                self.recorder.served_badly(state.served, state.destination);
                if [UNAUTHORIZED, UNAUTHENTICATED].contains(&state.status) {
                    self.tokens.refused(state.owner);
                }
            }
        }
        if let Some(ledger) = compiled.ledger {
            let served = &self.recorder.served_by(state.served).region;
            let region = match failure {
                None if !served.is_empty() => served,
                _ => self.recorder.sent_to(state.destination),
            };
            let write = Write {
                counter: state.counter,
                at_us: now_us,
                region: self.book.region(region),
                ledger,
            };
            match failure {
                None => self.book.acknowledged(write),
                // A 4xx is a refusal: the user knows that nothing was written, unless an attempt before may have been.
                Some(FailureKind::Status4xx) if !state.unsure => {}
                Some(_) if state.sent => self.book.unknown(write),
                Some(_) => {}
            }
        }
        if failure.is_some() && self.needs_answer(pass) {
            self.end_pass(pass, now_us, true);
        } else {
            self.go_on(pass, now_us, true);
        }
    }

    /// Whether the steps to come would send what this one was to bring, or go on in a session that is gone.
    pub(super) fn needs_answer(&self, pass: u32) -> bool {
        let compiled = &self.common.steps[self.step_of(pass)];
        let session_is_gone = || matches!(compiled.spoken, Spoken::WebSocket(_)) && !self.lane.has_session(pass);
        compiled.checks.as_ref().is_some_and(Checks::keeps) || session_is_gone()
    }

    /// The recorder's index of where a pool's connections go.
    fn destination_of(&mut self, pool: u32) -> usize {
        while self.destinations.len() <= pool as usize {
            let pool = self.destinations.len() as u32;
            let address = self.transport.address(pool).ip();
            let target = &self.common.plan.target;
            let place = target.place(address);
            let region = target.edge.get(&address).map_or("unknown", String::as_str);
            let class = self.transport.class(pool);
            self.destinations
                .push(self.recorder.destination(class, address, region, &place));
        }
        self.destinations[pool as usize]
    }
}

/// What fills the holes of a pass's request.
pub(super) fn filling<'a>(
    pass: &'a Pass,
    ids: &'a Ids,
    tokens: &'a UserTokens,
    drawn: &'a mut fastrand::Rng,
) -> Filling<'a> {
    Filling {
        random: drawn,
        unique: Unique {
            ids,
            counter: pass.counter,
        },
        values: &pass.values,
        going: pass.going.as_ref().map_or("", |(_, path)| path),
        tokens,
        owner: pass.owner,
    }
}

/// Whether an answer of the right status is what the step wants of it.
fn check(step: &CompiledStep, pass: &mut Pass, recorder: &mut Recorder, now_us: u64) -> Option<FailureKind> {
    let checks = step.checks.as_ref()?;
    let latency_us = now_us.saturating_sub(pass.intended_us);
    let mut whole = pass.body.len() as u64 == pass.body_length;
    if whole && checks.needs_body() && !pass.codings.is_plain() {
        match pass.codings.decode(&mut pass.body, CAPTURE_MAX) {
            Ok(decoded) => whole = decoded == Decoded::Whole,
            Err(_) => {
                let why = || "the body is not what its content-encoding says".to_owned();
                recorder.reason(pass.step as usize, FailureKind::Protocol, why);
                return Some(FailureKind::Protocol);
            }
        }
    }
    let body = whole.then_some(pass.body.as_slice());
    let fine = checks.whole(body, pass.body_length, latency_us, &mut pass.values);
    if !fine {
        let why = || checks.why(body, pass.body_length, latency_us);
        recorder.reason(pass.step as usize, FailureKind::Expectation, why);
    }
    (!fine || !pass.head_fine).then_some(FailureKind::Expectation)
}

/// What came of starting a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Started {
    /// It is in line, opening a connection, or sent.
    UnderWay,
    /// It ended at once without being sent.
    NotSent,
}
