//! Exit codes, one meaning each; scripts depend on them.

use std::process::ExitCode;

use crate::judge::Outcome;
use crate::recording::Ended;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// 0: objectives met, or the command did what it was asked.
    Met,
    /// 1: an objective was missed.
    Missed,
    /// 2: usage or configuration.
    Usage,
    /// 3: inconclusive.
    Inconclusive,
    /// 4: stopped by a stop condition, and reverted.
    Stopped,
    /// 5: target or AWS unreachable.
    Unreachable,
    /// 6: a fault is still in the world, or a run's claim.
    Unreverted,
    /// 130: interrupted, and reverted.
    Interrupted,
}

impl Exit {
    /// The exit of a run: how it ended comes before what it proved.
    #[must_use]
    pub(super) fn of_run(ended: Ended, outcome: Outcome) -> Self {
        match (ended, outcome) {
            (Ended::Unreverted, _) => Exit::Unreverted,
            (Ended::Interrupted, _) => Exit::Interrupted,
            (Ended::Stopped, _) => Exit::Stopped,
            (Ended::Unreachable, _) => Exit::Unreachable,
            (Ended::Finished, Outcome::Met) => Exit::Met,
            (Ended::Finished, Outcome::Missed) => Exit::Missed,
            (Ended::Finished, Outcome::Inconclusive) => Exit::Inconclusive,
        }
    }

    /// The number the shell sees.
    #[must_use]
    pub(super) fn code(self) -> u8 {
        match self {
            Exit::Met => 0,
            Exit::Missed => 1,
            Exit::Usage => 2,
            Exit::Inconclusive => 3,
            Exit::Stopped => 4,
            Exit::Unreachable => 5,
            Exit::Unreverted => 6,
            Exit::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

/// An error with the exit code it leads to.
#[derive(Debug, thiserror::Error)]
#[error("{error:#}")]
pub(super) struct Failure {
    /// The code.
    pub(super) exit: Exit,
    /// What went wrong, with its causes and, where the user can act, a `hint:` line.
    pub(super) error: anyhow::Error,
}

impl Failure {
    /// A usage or configuration mistake.
    pub(super) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: Exit::Usage,
            error: error.into(),
        }
    }

    /// The target or AWS cannot be reached.
    pub(super) fn unreachable(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: Exit::Unreachable,
            error: error.into(),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self {
            exit: Exit::Usage,
            error,
        }
    }
}
