//! Steps that speak something other than HTTP/1.1: what starts them in the lane, and how what they found becomes the
//! same as an answer of HTTP/1.1. What they say is in a file for each protocol.

use std::sync::Arc;

use super::connection::Broken;
use super::exchange::Answer;
use super::http1::{Head, Receiver as _};
use super::lane::{Ear, Lane, Line, Told};
use super::passes::Place;
use super::shard::Shard;
use super::stream::Stream;
use super::tcp;
use crate::clock::RunClock;
use crate::plan::Protocol;

/// Begins the exchange of `pass` over `stream`.
pub(super) fn start(lane: &mut Lane, pass: u32, stream: Stream, clock: RunClock, request: &[u8], protocol: &Protocol) {
    let ear = Arc::new(Ear::default());
    let line = Line::new(stream, Arc::clone(&ear), clock);
    match protocol {
        // The transport speaks it itself.
        Protocol::Http => {}
        Protocol::Tcp(step) => lane.start(pass, ear, tcp::exchange(line, request.to_vec(), step.clone())),
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
        self.passes[pass].heard_us = ear.heard_us();
        if let Some(kind) = told.failure {
            let broken = Broken {
                kind,
                silent: ear.heard_us().is_none(),
                unsent: !ear.has_written(),
                reused: self.transport.is_reused(connection),
            };
            self.broke(pass, connection, broken, now_us);
            return;
        }
        let line = self.take_down(pass, told);
        let reusable = line.is_some();
        if let Some(line) = line {
            self.transport.take_back(connection, line.into_stream());
        }
        self.answered(pass, connection, reusable, now_us);
    }

    /// What the exchange found, as checks and records want it.
    fn take_down(&mut self, pass: u32, told: Told) -> Option<Line> {
        let step = self.step_of(pass);
        let mut answer = Answer {
            pass: &mut self.passes[pass],
            recorder: &mut self.recorder,
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
        told.line
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
