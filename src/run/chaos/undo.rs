//! The loop of every revert: do what is left, look again, and believe a clean answer only when it is repeated.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::bearer::Bearer;
use super::before::Before;
use super::injection::Foreign;
use super::journal::Record;
use super::runner::Hand;
use super::{ChaosError, mark};

/// How long a revert keeps trying: cloud time, and at least this in real time.
const PATIENCE: Duration = Duration::from_secs(180);
const PATIENCE_FLOOR: Duration = Duration::from_secs(20);
/// A database takes minutes to stop and to start (RDS names no bound).
const PATIENCE_DATABASE: Duration = Duration::from_secs(1800);
/// Pause between two looks, cloud time.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Describe calls may lag behind a change; a clean answer counts only when it is repeated after this, cloud time.
pub(super) const LAG: Duration = Duration::from_secs(5);

/// What a pass of a revert is about.
#[derive(Clone, Copy)]
enum Of {
    World,
    /// What the fault wrote on what it changed; the last to go, since a scan finds the fault by it.
    Marks,
}

/// Undoes a fault and reads it back. Repeating it is harmless. What somebody else has changed meanwhile is left as
/// found, and is an error that says so.
pub(super) async fn undo(hand: &Hand<'_>, before: &Before) -> Result<(), ChaosError> {
    until_clean(hand, before, Of::World).await?;
    if Bearer::of(before).is_empty() {
        return Ok(());
    }
    until_clean(hand, before, Of::Marks).await
}

/// As [`undo`], announced and concluded in the journal, which says who does it where that is not the run itself; an error
/// is what is left.
pub(super) async fn undo_on_record(hand: &Hand<'_>, before: &Before, by: Option<&str>) -> Result<(), String> {
    let fault = || hand.fault.clone();
    // What cannot be written down is undone all the same, and found undone by the next who looks.
    let _ = hand.note(&Record::RevertIntent {
        fault: fault(),
        by: by.map(str::to_owned),
    });
    let undone = undo(hand, before).await.map_err(ChaosError::into_left);
    let _ = hand.note(&match &undone {
        Ok(()) => Record::Reverted { fault: fault() },
        Err(error) => Record::RevertFailed {
            fault: fault(),
            error: error.clone(),
        },
    });
    undone
}

async fn until_clean(hand: &Hand<'_>, before: &Before, of: Of) -> Result<(), ChaosError> {
    let patience = match before {
        Before::RdsStop { .. } => PATIENCE_DATABASE,
        _ => PATIENCE,
    };
    let deadline = Instant::now() + hand.pace.patience(patience).max(PATIENCE_FLOOR);
    let mut sure = BTreeSet::new();
    let mut clean_since: Option<Instant> = None;
    loop {
        let began = Instant::now();
        let pass = match of {
            Of::World => before.undo(hand, &mut sure).await,
            Of::Marks => mark::erase(hand, before, &mut sure).await,
        };
        let (left, foreign, proven) = match pass {
            Ok(pass) => (pass.left, pass.foreign, pass.proven),
            Err(ChaosError::Aws(error)) => {
                hand.refuse(&error);
                (vec![error.to_string()], Vec::new(), false)
            }
            Err(other) => return Err(other),
        };
        tell(hand, of, hand.take_refused().filter(|_| !left.is_empty()), began).await;
        if left.is_empty() {
            let since = *clean_since.get_or_insert_with(Instant::now);
            if proven || since.elapsed() > hand.pace.patience(LAG) {
                return if foreign.is_empty() {
                    Ok(())
                } else {
                    Err(left_as_found(hand, &foreign))
                };
            }
        } else {
            clean_since = None;
            if Instant::now() >= deadline {
                return Err(still_there(hand, before, &left.join(", ")));
            }
        }
        tokio::time::sleep(hand.pace.patience(LOOK_AGAIN)).await;
    }
}

/// Tells how a pass that began then went. What is refused of the marks keeps no fault in the world, so nothing goes on
/// with them.
async fn tell(hand: &Hand<'_>, of: Of, refused: Option<String>, began: Instant) {
    let Some(runner) = hand.runner else { return };
    match (refused, of) {
        (Some(error), _) => runner.tell_retried(hand.fault, error).await,
        (None, Of::World) => runner.tell_resumed(hand.fault, began).await,
        (None, Of::Marks) => {}
    }
}

/// What is told of each thing is what to do about that one alone: the rest of the fault is undone.
fn left_as_found(hand: &Hand<'_>, foreign: &[Foreign]) -> ChaosError {
    let all = |of: fn(&Foreign) -> &str| foreign.iter().map(of).collect::<Vec<_>>().join(", ");
    let (found, by_hand) = (all(|one| &one.found), all(|one| &one.by_hand));
    ChaosError::StillThere {
        fault: hand.fault.clone(),
        left: format!(
            "{found}: somebody else has changed it meanwhile, so it is left as found; to undo it by hand in {}: {by_hand}",
            hand.region
        ),
    }
}

fn still_there(hand: &Hand<'_>, before: &Before, left: &str) -> ChaosError {
    ChaosError::StillThere {
        fault: hand.fault.clone(),
        left: format!("{left}; {}", before.by_hand(hand.region)),
    }
}
