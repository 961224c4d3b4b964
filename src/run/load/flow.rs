//! The way of a pass through its journey's program, from one request to the next, and the pauses on it.
//! What a request does is in `exchange`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::exchange::{Started, filling};
use super::passes::{OpenGroup, PAST_END};
use super::program::Op;
use super::shard::Shard;
use super::users::wait_us;

/// Passes that wait between two requests, by the users' own time, which stands still while the load is paused.
#[derive(Debug, Default)]
pub struct Pauses {
    waiting: BinaryHeap<Reverse<(u64, u32)>>,
}

impl Pauses {
    /// The first of those that are over at `awake_us`, with when.
    #[inline]
    fn pop_over(&mut self, awake_us: u64) -> Option<(u64, u32)> {
        if self.next_us()? > awake_us {
            return None;
        }
        self.waiting.pop().map(|Reverse(pause)| pause)
    }

    /// When the first one is over.
    #[must_use]
    #[inline]
    pub fn next_us(&self) -> Option<u64> {
        self.waiting.peek().map(|Reverse((until_us, _))| *until_us)
    }
}

/// What a pass does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The request of the step that it is at now.
    Request,
    /// Nothing for now.
    Pause,
    /// Parts at the same time.
    Together,
    /// Nothing more.
    End,
}

impl Shard {
    /// A request of the pass is over at `now_us`: the next one, or the end of the pass.
    pub(super) fn go_on(&mut self, pass: u32, now_us: u64, sent: bool) {
        if !sent && self.needs_answer(pass) {
            self.end_pass(pass, now_us, false);
        } else {
            self.walk(pass, now_us, now_us, sent);
        }
    }

    /// Starts the next request of the pass, due at `due_us`, or ends the pass; `sent` says whether the one before was
    /// sent.
    pub(super) fn walk(&mut self, pass: u32, mut due_us: u64, now_us: u64, mut sent: bool) {
        loop {
            if self.passes[pass].has_asked() && self.overstays(pass, now_us) {
                break;
            }
            match self.next(pass, due_us, sent) {
                Next::Request => {}
                Next::Pause => return,
                Next::Together => match self.begin_together(pass, due_us, sent) {
                    None => return,
                    Some(ended) => {
                        sent = ended.sent;
                        if !ended.whole {
                            break;
                        }
                        if ended.asked {
                            due_us = now_us;
                        }
                        continue;
                    }
                },
                Next::End => break,
            }
            if self.start_request(pass, due_us, now_us) == Started::UnderWay {
                return;
            }
            (due_us, sent) = (now_us, false);
            let groups = self.passes[pass].groups.iter_mut();
            groups.for_each(|group| group.lacks = true);
            if self.needs_answer(pass) {
                break;
            }
        }
        let sent = sent && self.passes[pass].has_asked();
        self.end_pass(pass, now_us, sent);
    }

    #[inline]
    fn next(&mut self, pass: u32, due_us: u64, sent: bool) -> Next {
        let state = &mut self.passes[pass];
        match self.common.programs[state.journey as usize].ops.get(state.at as usize) {
            Some(Op::Request(step)) if !self.stopping => {
                (state.at, state.step) = (state.at + 1, *step);
                Next::Request
            }
            Some(Op::Request(_)) | None => Next::End,
            Some(_) => self.follow_program(pass, due_us, sent),
        }
    }

    /// Follows jumps and loops up to a request, a pause, parts or the end.
    fn follow_program(&mut self, pass: u32, due_us: u64, sent: bool) -> Next {
        let programs = Arc::clone(&self.common.programs);
        let program = &programs[self.passes[pass].journey as usize];
        loop {
            let state = &mut self.passes[pass];
            let Some(op) = program.ops.get(state.at as usize) else {
                return Next::End;
            };
            state.at += 1;
            match op {
                Op::Leave => self.leave_group(pass),
                Op::Done => {
                    state.at = PAST_END;
                    return Next::End;
                }
                _ if self.stopping => return Next::End,
                Op::Enter(number) => state.groups.push(OpenGroup::enter(*number)),
                Op::Request(step) => {
                    state.step = *step;
                    return Next::Request;
                }
                Op::Pause(wait) => {
                    let wait_us = wait_us(wait, &mut state.choices);
                    if wait_us > 0 {
                        let until_us = self.gather.due_us(self.steering.awake_us(due_us), wait_us);
                        self.pauses.waiting.push(Reverse((until_us, pass)));
                        return Next::Pause;
                    }
                }
                Op::Chance { share, to } => {
                    if state.choices.f64() >= *share {
                        state.at = *to;
                    }
                }
                Op::Branch { asked, when, to } => {
                    let mut choices = state.choices.clone();
                    let holds = asked.holds(&mut filling(state, &self.ids, &self.tokens, &mut choices));
                    let state = &mut self.passes[pass];
                    state.choices = choices;
                    if holds == *when {
                        state.at = *to;
                    }
                }
                Op::Jump(to) => state.at = *to,
                Op::Together(_) => {
                    // It is there until its parts have ended.
                    state.at -= 1;
                    return Next::Together;
                }
                Op::Loop { counter, min, max } => {
                    if state.rounds.len() < program.counters {
                        state.rounds.resize(program.counters, 0);
                    }
                    state.rounds[*counter as usize] = state.choices.u32(*min..=*max);
                }
                // What cannot be sent is not tried over and over in the same instant.
                Op::Again { .. } if !sent => return Next::End,
                Op::Again { counter, to } => {
                    let left = &mut state.rounds[*counter as usize];
                    *left -= 1;
                    if *left > 0 {
                        state.at = *to;
                    }
                }
            }
        }
    }

    /// The innermost group of a pass is over. One that sent nothing, or not all of it, says nothing about the target.
    fn leave_group(&mut self, pass: u32) {
        let Some(group) = self.passes[pass].groups.pop() else {
            return;
        };
        if let Some((from_us, to_us)) = group.from_to_us
            && (group.failure.is_some() || !group.lacks)
        {
            let took_us = to_us.saturating_sub(from_us);
            self.recorder
                .group_finished(group.number as usize, took_us, group.failure);
        }
    }

    /// A pass ends within groups, the first few of which are its parent's: those of which a request failed have failed,
    /// the others were only not finished.
    #[inline]
    pub(super) fn leave_groups(&mut self, pass: u32, around: usize) {
        while let Some(group) = self.passes[pass].groups.get_mut(around..).and_then(<[_]>::last_mut) {
            group.lacks = true;
            self.leave_group(pass);
        }
    }

    /// Passes whose pause is over go on.
    pub(super) fn end_pauses(&mut self, now_us: u64) {
        let steering = self.steering;
        if steering.paused() {
            return;
        }
        while let Some((until_us, pass)) = self.pauses.pop_over(steering.awake_us(now_us)) {
            self.walk(pass, steering.real_of_awake_us(until_us), now_us, true);
        }
    }

    /// When the first pause is over; never while the load is paused.
    pub(super) fn pause_us(&self) -> Option<u64> {
        let steering = self.steering;
        let until_us = self.pauses.next_us().filter(|_| !steering.paused())?;
        Some(steering.real_of_awake_us(until_us))
    }

    /// Nobody waits longer than the run.
    pub(super) fn cut_pauses(&mut self, now_us: u64) {
        while let Some(Reverse((_, pass))) = self.pauses.waiting.pop() {
            self.end_pass(pass, now_us, true);
        }
    }
}
