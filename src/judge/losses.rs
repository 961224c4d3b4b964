//! Which acknowledged writes were lost: those that were looked for and were not there. One that could not be looked
//! for is neither kept nor lost.

use super::Value;
use super::baseline;
use super::objectives::Finding;
use super::timeline::Timeline;
use crate::event::Event;
use crate::plan::{Objective, Scope, StepPlan};
use crate::recording::{LedgerResult, ProbeSample};

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
            Some(span) => Some(span),
            None => return Finding::Unknown("the experiment never began".to_owned()),
        },
        Scope::Run | Scope::During(_) => None,
    };
    let wanted = objective.subject.as_deref();
    let ledgers: Vec<_> = timeline
        .recording
        .ledgers
        .iter()
        .filter(|(name, _)| wanted.is_none_or(|wanted| wanted == *name))
        .collect();
    if ledgers.is_empty() {
        return Finding::Unknown("the ledger was not read back".to_owned());
    }
    let losses = losses(timeline, &ledgers, span);
    if losses.acknowledged == 0 {
        return Finding::Unknown("no write was acknowledged".to_owned());
    }
    if losses.lost == 0 && losses.around == 0 {
        return Finding::Unknown("no write was acknowledged around the experiment, so none could be lost".to_owned());
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
    /// Of the whole run.
    pub acknowledged: u64,
    /// Of them, those in the span.
    pub around: u64,
    /// Of those in the span.
    pub lost: u64,
    /// Acknowledged in the run and not read back: lost or not.
    pub unread: u64,
}

impl Losses {
    /// How many were lost; none where nothing was acknowledged that could be, or where those not read back may be the lost
    /// ones.
    pub(super) fn known(&self) -> Option<u64> {
        (self.lost > 0 || (self.around > 0 && self.unread == 0)).then_some(self.lost)
    }
}

/// The losses among writes acknowledged in a span, real seconds since t0, or in all of the run.
pub(super) fn losses(
    timeline: &Timeline<'_>,
    ledgers: &[(&String, &LedgerResult)],
    span: Option<(f64, f64)>,
) -> Losses {
    let (from, to) = span.unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
    let lost = ledgers
        .iter()
        .flat_map(|(_, ledger)| &ledger.lost)
        .filter(|lost| (from..=to).contains(&lost.acknowledged.as_secs_f64()))
        .count();
    let of_run = ledgers.iter().flat_map(|(_, ledger)| ledger.acknowledged.values());
    let acknowledged = of_run.sum();
    Losses {
        acknowledged,
        around: match span {
            Some((from, to)) => written_between(timeline, ledgers, from, to).min(acknowledged),
            None => acknowledged,
        },
        lost: lost as u64,
        unread: ledgers.iter().map(|(_, ledger)| ledger.unreadable).sum(),
    }
}

/// Writes into ledgers that were started in a span and succeeded, by users and probes: when a write was acknowledged is
/// kept of the lost ones only.
fn written_between(timeline: &Timeline<'_>, ledgers: &[(&String, &LedgerResult)], from: f64, to: f64) -> u64 {
    let into = |step: &StepPlan| {
        let mut names = ledgers.iter().map(|(name, _)| *name);
        step.ledger
            .as_ref()
            .is_some_and(|ledger| names.any(|name| name == ledger))
    };
    let steps = timeline.plan.steps.iter().enumerate();
    let writing = steps.filter(|(_, step)| into(step));
    writing
        .map(|(index, _)| {
            let probes = timeline.recording.probes.iter();
            let probes: Vec<&ProbeSample> = probes.filter(|probe| probe.step == index).collect();
            baseline::succeeded(timeline.recording.pulses.get(index), &probes, from, to)
        })
        .sum()
}

fn interrupted(timeline: &Timeline<'_>) -> bool {
    timeline.events().any(|(_, event)| matches!(event, Event::Interrupted))
}
