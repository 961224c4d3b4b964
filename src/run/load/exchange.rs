//! One request from its due time to its end: route, connection, sending, answer, retry, what is written down.
//! The part of a shard between its users and its sockets; decides nothing about who starts when.

use std::io;

use super::book::Write;
use super::checks::Checks;
use super::http1::{Head, Receiver};
use super::ids::Unique;
use super::measure::{Finished, Recorder};
use super::passes::{Pass, Place};
use super::pool::{Next, NoRoute, Slot};
use super::request::{CompiledStep, Filling};
use super::shard::Shard;
use super::transport::{Broken, Happened, connect_failure};
use crate::recording::FailureKind;

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

/// Takes down what the head of an answer says.
struct Answer<'a> {
    pass: &'a mut Pass,
    recorder: &'a mut Recorder,
    served_by: Option<&'a str>,
    checks: Option<&'a Checks>,
}

impl Receiver for Answer<'_> {
    fn head(&mut self, head: &Head<'_>) {
        self.pass.status = head.status;
        let by = self.served_by.and_then(|name| head.get(name)).unwrap_or_default();
        self.pass.served = self.recorder.server(by);
        if let Some(checks) = self.checks {
            self.pass.head_fine = checks.head(head, &mut self.pass.values);
        }
    }

    fn body(&mut self, piece: &[u8]) {
        self.pass.body_length += piece.len() as u64;
        if self.checks.is_some_and(Checks::needs_body) {
            self.pass.keep_body(piece);
        }
    }
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
        let (counter, variables) = (self.ids.take(), self.common.steps[step].variables);
        self.passes[pass].begin_request(intended_us, now_us, counter, variables);
        self.recorder.intended();
        let limiter = self.common.limiter.as_ref();
        if limiter.is_some_and(|limiter| limiter.check().is_err()) {
            self.recorder.dropped();
            return Started::NotSent;
        }
        let pool = match self.transport.route() {
            Ok(pool) => pool,
            Err(NoRoute::QueueFull) => {
                self.recorder.dropped();
                return Started::NotSent;
            }
            Err(NoRoute::NoAddress) => {
                self.recorder.started(step, intended_us, now_us, None);
                self.recorder.finished(&Finished {
                    step,
                    intended_us,
                    started_us: now_us,
                    served_from_us: now_us,
                    first_byte: None,
                    finished_us: now_us,
                    failure: Some(FailureKind::Dns),
                });
                return Started::NotSent;
            }
        };
        let region = self.region_of(pool);
        self.recorder.started(step, intended_us, now_us, Some(region));
        self.passes[pass].region = region;
        self.patience.push(pass, now_us);
        match self.transport.take(pool, pass) {
            Slot::Idle(connection) => self.send(pass, connection, now_us),
            Slot::New => self.connect(pass, pool, now_us),
            Slot::InLine => self.passes[pass].place = Place::InLine(pool),
        }
        Started::UnderWay
    }

    fn connect(&mut self, pass: u32, pool: u32, now_us: u64) {
        self.passes[pass].free_us.get_or_insert(now_us);
        let connection = self.transport.connect(pool, pass);
        self.passes[pass].place = Place::Opening(connection);
        self.connecting.push(pass, now_us);
    }

    /// Sends the pass's request; a failure to do so is dealt with like one later on.
    fn send(&mut self, pass: u32, connection: u32, now_us: u64) {
        let step = self.step_of(pass);
        let compiled = &self.common.steps[step];
        let state = &mut self.passes[pass];
        state.free_us.get_or_insert(now_us);
        state.sent_us = now_us;
        state.place = Place::Sent(connection);
        let mut drawn = state.drawn.clone();
        let mut filling = Filling {
            random: &mut drawn,
            unique: Unique {
                ids: &self.ids,
                counter: state.counter,
            },
            values: &state.values,
        };
        let request = compiled.fill(&mut filling, &mut self.scratch);
        let sent = self.transport.send(connection, pass, request, compiled.is_to_head());
        if let Err(broken) = sent {
            self.broke(pass, connection, broken, now_us);
        }
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
            served_by: self.common.served_by.as_deref(),
            checks: self.common.steps[step].checks.as_ref(),
        };
        match self.transport.look(connection, &mut answer) {
            Happened::Nothing => self.heard(pass, connection),
            Happened::GoneIdle => {}
            Happened::Opened(took) => {
                self.connecting.remove(pass);
                self.recorder.opened(took);
                let now_us = self.now_us();
                self.send(pass, connection, now_us);
            }
            Happened::NotOpened(error, next) => self.not_opened(pass, &error, next),
            Happened::Answered { reusable } => {
                let now_us = self.now_us();
                self.passes[pass].heard_us.get_or_insert(now_us);
                let (next, connection) = self.transport.release(connection, reusable);
                self.give(next, connection, now_us);
                self.end_request(pass, Ending::Answered, now_us);
            }
            Happened::Broken(broken) => {
                let now_us = self.now_us();
                self.broke(pass, connection, broken, now_us);
            }
        }
    }

    /// Takes down when an answer began that is not whole yet; one that comes at once needs no second look at the clock.
    #[inline]
    fn heard(&mut self, pass: u32, connection: u32) {
        if self.passes[pass].heard_us.is_none() && self.transport.has_heard(connection) {
            self.passes[pass].heard_us = Some(self.now_us());
        }
    }

    /// The first in line gets a connection, or the right to open one.
    fn give(&mut self, next: Next, connection: Option<u32>, now_us: u64) {
        let Next::Pass(pass) = next else { return };
        match (connection, self.passes[pass].place) {
            (Some(connection), _) => self.send(pass, connection, now_us),
            (None, Place::InLine(pool)) => self.connect(pass, pool, now_us),
            (None, _) => {}
        }
    }

    fn not_opened(&mut self, pass: u32, error: &io::Error, next: Next) {
        self.connecting.remove(pass);
        let now_us = self.now_us();
        self.give(next, None, now_us);
        let ending = connect_failure(error).map_or(Ending::NotSent, Ending::Failed);
        self.end_request(pass, ending, now_us);
    }

    fn broke(&mut self, pass: u32, connection: u32, broken: Broken, now_us: u64) {
        let compiled = &self.common.steps[self.step_of(pass)];
        let state = &mut self.passes[pass];
        let lost = broken.kind == FailureKind::Reset && broken.silent;
        // As browsers do: an idle connection may have been closed just then (RFC 9112, section 9.3.1).
        if broken.reused && !state.retried && (broken.unsent || (lost && compiled.is_idempotent())) {
            state.retried = true;
            state.begin_answer();
            state.sent |= !broken.unsent;
            let connection = self.transport.replace(connection);
            state.place = Place::Opening(connection);
            self.connecting.push(pass, now_us);
            return;
        }
        state.sent |= !broken.unsent;
        if !broken.silent {
            state.heard_us.get_or_insert(now_us);
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
            self.connecting.remove(pass);
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
            Place::Sent(_) if self.passes[pass].heard_us.is_some() => FailureKind::BodyTimeout,
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
                let next = self.transport.close(connection);
                self.give(next, None, now_us);
            }
            Place::InLine(pool) => self.transport.leave_line(pool, pass),
            Place::Nowhere => {}
        }
        self.end_request(pass, Ending::Failed(kind), now_us);
    }

    /// Writes down how a request ended and lets its pass go on.
    fn end_request(&mut self, pass: u32, ending: Ending, now_us: u64) {
        self.patience.remove(pass);
        self.close_seconds(now_us);
        let step = self.step_of(pass);
        let state = &mut self.passes[pass];
        state.place = Place::Nowhere;
        let compiled = &self.common.steps[step];
        let failure = match ending {
            Ending::Answered => {
                state.sent = true;
                compiled.judge(state.status).or_else(|| check(compiled, state, now_us))
            }
            Ending::Failed(kind) => Some(kind),
            Ending::NotSent => {
                self.recorder.dropped();
                self.go_on(pass, now_us, false);
                return;
            }
        };
        self.recorder.finished(&Finished {
            step,
            intended_us: state.intended_us,
            started_us: state.started_us,
            // Who never got a connection only waited.
            served_from_us: state.free_us.unwrap_or(now_us),
            first_byte: state.heard_us.map(|heard_us| heard_us.saturating_sub(state.sent_us)),
            finished_us: now_us,
            failure,
        });
        match failure {
            None => self.recorder.served(state.served),
            Some(_) => self.recorder.served_badly(state.served, state.region),
        }
        if let Some(ledger) = compiled.ledger {
            let served = &self.recorder.served_by(state.served).region;
            let region = match failure {
                None if !served.is_empty() => served,
                _ => self.recorder.sent_to(state.region),
            };
            let write = Write {
                counter: state.counter,
                at_us: now_us,
                region: self.book.region(region),
                ledger,
            };
            match failure {
                None => self.book.acknowledged(write),
                // A 4xx is a refusal: the user knows that nothing was written.
                Some(FailureKind::Status4xx) => {}
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

    /// Whether the steps to come would send what this one was to bring.
    pub(super) fn needs_answer(&self, pass: u32) -> bool {
        let checks = &self.common.steps[self.step_of(pass)].checks;
        checks.as_ref().is_some_and(Checks::keeps)
    }

    /// The recorder's index of the Region that a pool's address belongs to.
    fn region_of(&mut self, pool: u32) -> usize {
        while self.regions.len() <= pool as usize {
            let address = self.transport.address(self.regions.len() as u32).ip();
            let region = self.common.plan.target.edge.get(&address);
            self.regions
                .push(self.recorder.region(region.map_or("unknown", String::as_str)));
        }
        self.regions[pool as usize]
    }
}

/// Whether an answer of the right status is what the step wants of it.
fn check(step: &CompiledStep, pass: &mut Pass, now_us: u64) -> Option<FailureKind> {
    let checks = step.checks.as_ref()?;
    let latency_us = now_us.saturating_sub(pass.intended_us);
    let fine = checks.whole(&pass.body, pass.body_length, latency_us, &mut pass.values);
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
