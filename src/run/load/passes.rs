//! Passes under way: one user's way through its journey, or one arrival's. Rows that are used again and again, so
//! that only those who do something take room; users who think are rows of the wheel.

use super::users::choices;

/// Who makes a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The user in this row.
    User(u32),
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

/// One pass.
#[derive(Clone, Debug)]
pub struct Pass {
    /// Who makes it.
    pub owner: Owner,
    /// Index of its journey.
    pub journey: u32,
    /// How many steps of it are over.
    pub done: u32,
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
    /// Where it is.
    pub place: Place,
    /// Recorder's index of the Region it was sent to.
    pub region: usize,
    /// A second attempt is under way; there is no third.
    pub retried: bool,
    /// Some of it may have reached the target.
    pub sent: bool,
    /// Status of the answer; zero before its head.
    pub status: u16,
    /// Recorder's index of who served.
    pub served: usize,
}

impl Pass {
    /// A pass that begins; the same seed, number and pass make the same choices.
    #[must_use]
    pub fn new(owner: Owner, seed: u64, number: u64, pass: u32) -> Self {
        let choices = choices(seed, number, pass);
        Self {
            owner,
            journey: 0,
            done: 0,
            drawn: choices.clone(),
            choices,
            counter: 0,
            intended_us: 0,
            started_us: 0,
            free_us: None,
            place: Place::Nowhere,
            region: 0,
            retried: false,
            sent: false,
            status: 0,
            served: 0,
        }
    }
}

/// All passes of a shard.
#[derive(Debug, Default)]
pub struct Passes {
    rows: Vec<Pass>,
    free: Vec<u32>,
}

impl Passes {
    /// Keeps a pass until [`Passes::end`].
    pub fn begin(&mut self, pass: Pass) -> u32 {
        match self.free.pop() {
            Some(row) => {
                self.rows[row as usize] = pass;
                row
            }
            None => {
                self.rows.push(pass);
                u32::try_from(self.rows.len() - 1).expect("lines and connections are bounded, so passes are")
            }
        }
    }

    /// The pass is over; its row will be another's.
    pub fn end(&mut self, row: u32) {
        self.free.push(row);
    }

    /// How many are under way.
    #[must_use]
    pub fn live(&self) -> usize {
        self.rows.len() - self.free.len()
    }
}

impl std::ops::Index<u32> for Passes {
    type Output = Pass;

    fn index(&self, row: u32) -> &Pass {
        &self.rows[row as usize]
    }
}

impl std::ops::IndexMut<u32> for Passes {
    fn index_mut(&mut self, row: u32) -> &mut Pass {
        &mut self.rows[row as usize]
    }
}
