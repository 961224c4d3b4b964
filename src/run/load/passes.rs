//! Passes under way: one user's way through its journey, or one arrival's. Rows that are used again and again, so
//! that only those who do something take room; users who think are rows of the wheel.

use super::checks::{CAPTURE_MAX, Values};
use super::redirect::Follow;
use super::together::Parts;
use super::transport::Own;
use super::users::choices;
use crate::recording::FailureKind;
use crate::run::coding::Codings;

/// Memory for a body that a row keeps for its next pass.
const BODY_KEPT: usize = 16 * 1024;

/// No step yet.
const NO_STEP: u32 = u32::MAX;
/// Where a part is that has come to its end; no program is so long.
pub const PAST_END: u32 = u32::MAX;

/// Who makes a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A user.
    User {
        /// Index of its load.
        load: u16,
        /// Its row there.
        row: u32,
    },
    /// An arrival; it leaves when its journey ends.
    Arrival,
}

/// Where the request of a pass is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Between requests.
    Nowhere,
    /// Waiting for a connection to the address of this pool.
    InLine(u32),
    /// Opening this connection.
    Opening(u32),
    /// On this connection.
    Sent(u32),
}

/// A group that a pass is in.
#[derive(Clone, Copy, Debug)]
pub struct OpenGroup {
    /// Its number.
    pub number: u32,
    /// When its first request was due, and when the last one so far was over.
    pub from_to_us: Option<(u64, u64)>,
    /// Why the first of its requests failed that did.
    pub failure: Option<FailureKind>,
    /// A request of it was not sent.
    pub lacks: bool,
}

impl OpenGroup {
    /// Nothing of it has been done.
    #[must_use]
    pub fn enter(number: u32) -> Self {
        Self {
            number,
            from_to_us: None,
            failure: None,
            lacks: false,
        }
    }

    /// What a part of the pass did in it counts too.
    pub fn take_in(&mut self, part: &Self) {
        if let Some((from_us, to_us)) = part.from_to_us {
            let all = self.from_to_us.get_or_insert((from_us, to_us));
            *all = (all.0.min(from_us), all.1.max(to_us));
        }
        self.failure = self.failure.or(part.failure);
        self.lacks |= part.lacks;
    }
}

/// One pass.
#[derive(Clone, Debug)]
pub struct Pass {
    /// Who makes it.
    pub owner: Owner,
    /// The pass that it is a part of.
    pub parent: Option<u32>,
    /// Its own parts, once it has had some.
    pub parts: Option<Box<Parts>>,
    /// Class of clients of who makes it.
    pub class: u8,
    /// Index of its journey.
    pub journey: u32,
    /// Where in its journey's program it is; a part may be at [`PAST_END`].
    pub at: u32,
    /// The plan's index of the step that it is at; [`NO_STEP`] before its first request.
    pub step: u32,
    /// Rounds left of the loops that it is in, the outermost first; empty where its journey has none.
    pub rounds: Vec<u32>,
    /// The groups that it is in, the outermost first.
    pub groups: Vec<OpenGroup>,
    /// When it was due.
    pub begun_us: u64,
    /// Choices of the requests to come.
    pub choices: fastrand::Rng,
    /// Choices of the request under way; a second attempt draws the same.
    pub drawn: fastrand::Rng,
    /// Counter of its id.
    pub counter: u64,
    /// When it was meant to start, microseconds since t0, as all instants here.
    pub intended_us: u64,
    /// When it started.
    pub started_us: u64,
    /// When a connection was free for it.
    pub free_us: Option<u64>,
    /// When it was handed to a connection.
    pub sent_us: u64,
    /// When something of its answer was first seen.
    pub heard_us: Option<u64>,
    /// Where it is.
    pub place: Place,
    /// The idle connection of its user's own, where users have their own.
    pub own: Option<Own>,
    /// Recorder's index of where it was sent to.
    pub destination: usize,
    /// It was sent again over a new connection because the old one may have been closed just then; only once.
    pub resent: bool,
    /// Attempts of the client, the one under way included.
    pub attempts: u32,
    /// Why the last attempt failed, while the next one is waited for.
    pub failure: Option<FailureKind>,
    /// Some of it may have reached the target.
    pub sent: bool,
    /// An attempt before this one may have been carried out, whatever this one is answered.
    pub unsure: bool,
    /// Redirects followed.
    pub redirects: u32,
    /// What the request has become after a redirect, and its path.
    pub going: Option<(Follow, String)>,
    /// Where the answer sends its user.
    pub location: Vec<u8>,
    /// Status of the answer; zero before its head.
    pub status: u16,
    /// Recorder's index of who served.
    pub served: usize,
    /// The head was as wanted.
    pub head_fine: bool,
    /// What its body is encoded in, where its step looks at it.
    pub codings: Codings,
    /// Bytes of the answer's body as they were sent.
    pub body_length: u64,
    /// The body, where its step looks at it; at most [`CAPTURE_MAX`] bytes.
    pub body: Vec<u8>,
    /// What its steps have kept of their answers, by the number of the variable.
    pub values: Values,
}

impl Pass {
    /// A request begins; nothing of the one before it is left but the values.
    pub fn begin_request(&mut self, intended_us: u64, now_us: u64, counter: u64, variables: usize) {
        (self.intended_us, self.started_us, self.free_us) = (intended_us, now_us, None);
        (self.resent, self.sent, self.unsure) = (false, false, false);
        (self.attempts, self.failure) = (1, None);
        (self.redirects, self.going) = (0, None);
        self.counter = counter;
        self.drawn = self.choices.clone();
        // Every attempt draws the same numbers; the next request draws others.
        self.choices.u64(..);
        if self.values.len() != variables {
            self.values.resize_with(variables, Vec::new);
        }
        self.begin_answer();
    }

    /// The request is made once more.
    pub fn begin_attempt(&mut self) {
        self.attempts += 1;
        self.resent = false;
        (self.redirects, self.going) = (0, None);
        self.begin_answer();
    }

    /// Nothing of an answer has come.
    pub fn begin_answer(&mut self) {
        (self.status, self.served, self.head_fine, self.body_length) = (0, 0, true, 0);
        self.heard_us = None;
        self.body.clear();
    }

    /// A request of the groups that it is in is over.
    pub fn request_of_groups(&mut self, now_us: u64, failure: Option<FailureKind>) {
        for group in &mut self.groups {
            let (_, to_us) = group.from_to_us.get_or_insert((self.intended_us, now_us));
            *to_us = now_us;
            group.failure = group.failure.or(failure);
        }
    }

    /// Whether it has come to a request.
    #[must_use]
    #[inline]
    pub fn has_asked(&self) -> bool {
        self.step != NO_STEP
    }

    /// Most of its time so far passed in line for a connection.
    #[must_use]
    pub fn waited_most(&self, now_us: u64) -> bool {
        let free_us = self.free_us.unwrap_or(now_us);
        free_us.saturating_sub(self.started_us) > now_us.saturating_sub(free_us)
    }

    /// A piece of the answer's body that its step looks at.
    pub fn keep_body(&mut self, piece: &[u8]) {
        let room = CAPTURE_MAX.saturating_sub(self.body.len());
        self.body.extend_from_slice(&piece[..piece.len().min(room)]);
    }

    /// A row that no pass was in yet.
    pub(super) fn empty() -> Self {
        let choices = choices(0, 0, 0);
        Self {
            owner: Owner::Arrival,
            parent: None,
            parts: None,
            class: 0,
            journey: 0,
            at: 0,
            step: NO_STEP,
            rounds: Vec::new(),
            groups: Vec::new(),
            begun_us: 0,
            drawn: choices.clone(),
            choices,
            counter: 0,
            intended_us: 0,
            started_us: 0,
            free_us: None,
            sent_us: 0,
            heard_us: None,
            place: Place::Nowhere,
            own: None,
            destination: 0,
            resent: false,
            attempts: 0,
            failure: None,
            redirects: 0,
            going: None,
            location: Vec::new(),
            sent: false,
            unsure: false,
            status: 0,
            served: 0,
            head_fine: true,
            codings: Codings::default(),
            body_length: 0,
            body: Vec::new(),
            values: Vec::new(),
        }
    }

    /// A pass begins in this row. What belongs to a request is set by [`Pass::begin_request`].
    #[inline]
    fn begin(&mut self, owner: Owner, class: u8, choices: fastrand::Rng) {
        (self.owner, self.class, self.choices) = (owner, class, choices);
        (self.at, self.step, self.place, self.own) = (0, NO_STEP, Place::Nowhere, None);
        (self.parent, self.parts) = (None, None);
        self.rounds.clear();
        self.groups.clear();
    }
}

/// All passes of a shard.
#[derive(Debug, Default)]
pub struct Passes {
    rows: Vec<Pass>,
    free: Vec<u32>,
}

impl Passes {
    /// A pass begins and lasts until [`Passes::end`]; its row's memory for values and bodies is used again. The same
    /// `choices` make the same pass.
    #[inline]
    pub fn begin(&mut self, owner: Owner, class: u8, choices: fastrand::Rng) -> u32 {
        let row = self.free.pop().unwrap_or_else(|| {
            self.rows.push(Pass::empty());
            u32::try_from(self.rows.len() - 1).expect("lines and connections are bounded, so passes are")
        });
        self.rows[row as usize].begin(owner, class, choices);
        row
    }

    /// The pass is over; its row will be another's.
    #[inline]
    pub fn end(&mut self, row: u32) {
        let pass = &mut self.rows[row as usize];
        pass.body.clear();
        pass.body.shrink_to(BODY_KEPT);
        pass.values.iter_mut().for_each(Vec::clear);
        self.free.push(row);
    }

    /// Two passes.
    pub fn both(&mut self, one: u32, other: u32) -> [&mut Pass; 2] {
        let rows = [one as usize, other as usize];
        self.rows.get_disjoint_mut(rows).expect("a pass is no part of itself")
    }

    /// How many are under way, their parts too.
    #[must_use]
    #[inline]
    pub fn live(&self) -> usize {
        self.rows.len() - self.free.len()
    }
}

impl std::ops::Index<u32> for Passes {
    type Output = Pass;

    #[inline]
    fn index(&self, row: u32) -> &Pass {
        &self.rows[row as usize]
    }
}

impl std::ops::IndexMut<u32> for Passes {
    #[inline]
    fn index_mut(&mut self, row: u32) -> &mut Pass {
        &mut self.rows[row as usize]
    }
}
