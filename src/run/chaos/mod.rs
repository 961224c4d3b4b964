//! Faults in the world: guarded, journalled before, observed, reverted after. Knows nothing of load.
//! When a fault is due is the director's business; this folder only knows how.

mod arczonalshift;
mod autoscaling;
mod bearer;
mod before;
mod claim;
mod ebs;
mod ec2;
mod elasticloadbalancingv2;
mod elsewhere;
mod fis;
mod guard;
mod iam;
mod injection;
mod journal;
mod mark;
mod network;
mod own;
mod preview;
mod rds;
mod rehearse;
mod revert;
mod route53;
mod runner;
mod scan;
mod undo;

pub use before::{
    Before, CheckBefore, FisBefore, GlobalBefore, NetworkBefore, PathBefore, ShiftBefore, SubnetBefore, TargetBefore,
};
pub use claim::Claims;
pub use journal::{Contents, Journal, Kept, Moment, Observer, Record, RunHeader, read as read_journal};
pub use preview::{Previewed, preview};
pub use rehearse::{Rehearsed, closed, in_time, not_allowed, rehearse};
pub use revert::{begun, left_in_world, overdue, revert_chosen, revert_journal, run_header};
pub use runner::{Runner, SOUND_PATIENCE};
pub use scan::{Leftover, Scan, in_account, scan, undo_leftover};

use crate::aws::AwsError;
use crate::event::FaultId;

/// Why a fault could not be injected or reverted.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// The plan has no such fault.
    #[error("the plan has no fault {0}")]
    UnknownFault(FaultId),
    /// A guard said no, or there is nothing to hit.
    #[error("{0}")]
    Refused(String),
    /// What would be hit is degraded already, which may be over in a moment.
    #[error("{0}")]
    Degraded(String),
    /// Another run has claimed the account, or has something in it.
    #[error("another run is at the account, perhaps on another machine: {0}")]
    Claimed(Box<Leftover>),
    /// The run is being reverted.
    #[error("the run is ending")]
    Ending,
    /// The journal could not be written or read; nothing is done that it does not hold.
    #[error("the journal cannot be used: {0}")]
    Journal(#[from] std::io::Error),
    /// AWS refused or did not answer.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// The fault is still in the world.
    #[error("{fault} is still in the world: {left}")]
    StillThere {
        /// Which.
        fault: FaultId,
        /// What is left, and how to undo it by hand.
        left: String,
    },
}

impl ChaosError {
    /// What is left in the world, for a message that names the fault itself.
    fn into_left(self) -> String {
        match self {
            ChaosError::StillThere { left, .. } => left,
            other => other.to_string(),
        }
    }
}

/// What reverting everything came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevertSummary {
    /// Faults that were in the world and are not any more.
    pub reverted: Vec<FaultId>,
    /// Faults that are still in the world, with what is left and how to undo it by hand.
    pub failed: Vec<(FaultId, String)>,
    /// Faults that ended with the target itself, so that nothing is left to undo.
    pub gone: Vec<FaultId>,
    /// Lines of the journal that nobody can read: what they announced is not known.
    pub unreadable: usize,
}
