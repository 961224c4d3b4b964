//! Which acknowledged writes were lost: those that were looked for and were not there. One that could not be looked
//! for is neither kept nor lost.

use super::Value;
use super::objectives::Finding;
use super::timeline::Timeline;
use crate::event::Event;
use crate::plan::{Objective, Scope};
use crate::recording::LedgerResult;

/// Cloud seconds before an injection from which on a lost write is laid to the experiment.
const LOSS_LEAD: f64 = 60.0;

/// Real seconds between which an acknowledged write belongs to an experiment.
pub(super) fn loss_window(timeline: &Timeline<'_>, experiment: &str) -> Option<(f64, f64)> {
    let window = timeline.windows.get(experiment)?;
    Some((window.begin - LOSS_LEAD / timeline.pace(), window.end))
}

/// The lost writes of an objective's ledgers, around its experiment.
pub(super) fn lost_writes(timeline: &Timeline<'_>, objective: &Objective) -> Finding {
    let span = match &objective.scope {
        Scope::Experiment(name) => match loss_window(timeline, name) {
            Some(span) => span,
            None => return Finding::Unknown("the experiment never began".to_owned()),
        },
        Scope::Run | Scope::During(_) => (f64::NEG_INFINITY, f64::INFINITY),
    };
    let wanted = objective.subject.as_deref();
    let ledgers: Vec<_> = timeline
        .recording
        .ledgers
        .iter()
        .filter(|(name, _)| wanted.is_none_or(|wanted| wanted == *name))
        .map(|(_, ledger)| ledger)
        .collect();
    if ledgers.is_empty() {
        return Finding::Unknown("the ledger was not read back".to_owned());
    }
    let losses = losses(&ledgers, span);
    if losses.acknowledged == 0 {
        return Finding::Unknown("no write was acknowledged".to_owned());
    }
    match losses.known() {
        Some(lost) => Finding::Reached(
            Value::Count(lost),
            format!("of {} acknowledged writes of the run", losses.acknowledged),
        ),
        None if interrupted(timeline) && losses.unread == losses.acknowledged => Finding::Unknown(format!(
            "{} acknowledged writes were not read back: the run was interrupted",
            losses.unread
        )),
        None => Finding::Unknown(format!("{} acknowledged writes could not be read back", losses.unread)),
    }
}

/// What reading ledgers back brought.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Losses {
    pub acknowledged: u64,
    pub lost: u64,
    /// Acknowledged and not read back: lost or not.
    pub unread: u64,
}

impl Losses {
    /// How many were lost; none where nothing was acknowledged, or where those not read back may be the lost ones.
    pub(super) fn known(&self) -> Option<u64> {
        (self.acknowledged > 0 && (self.lost > 0 || self.unread == 0)).then_some(self.lost)
    }
}

/// The losses among writes acknowledged in a span, real seconds since t0; the other counts are of the whole run.
pub(super) fn losses(ledgers: &[&LedgerResult], (from, to): (f64, f64)) -> Losses {
    let lost = ledgers
        .iter()
        .flat_map(|ledger| &ledger.lost)
        .filter(|lost| (from..=to).contains(&lost.acknowledged.as_secs_f64()))
        .count();
    Losses {
        acknowledged: ledgers.iter().flat_map(|ledger| ledger.acknowledged.values()).sum(),
        lost: lost as u64,
        unread: ledgers.iter().map(|ledger| ledger.unreadable).sum(),
    }
}

fn interrupted(timeline: &Timeline<'_>) -> bool {
    timeline.events().any(|(_, event)| matches!(event, Event::Interrupted))
}
