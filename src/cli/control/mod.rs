//! Live control of a run: the socket in its directory, the command that speaks to it, and the keys of the terminal.
//! What a command means is `run::control`'s.
//!
//! The socket takes one JSON object a line, `{"command":"scale","times":1.5}`, and answers each with one: `{"said":…,
//! "status":…}` for what was done and `{"error":…}` for what was not.

mod client;
mod keys;
mod server;

use serde::{Deserialize, Serialize};

pub(super) use self::client::{Alive, alive, control, listens, times};
pub(super) use self::keys::Keys;
pub(super) use self::server::Listening;
use crate::run::control::{Done, Refusal};

/// The socket's name in the directory of a run.
pub(super) const SOCKET: &str = "control.sock";

/// What the socket says to a line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Answer {
    Done(Done),
    Refused { error: String },
}

impl From<Result<Done, Refusal>> for Answer {
    fn from(result: Result<Done, Refusal>) -> Self {
        match result {
            Ok(done) => Answer::Done(done),
            Err(refusal) => Answer::refused(&refusal),
        }
    }
}

impl Answer {
    fn refused(why: &impl ToString) -> Self {
        Answer::Refused { error: why.to_string() }
    }
}
