//! Faults that were in the world past their revert, because that failed: whatever is measured after it was due is not of
//! the planned experiment. The mirror image of a fault that somebody else ended early.

use super::objectives;
use super::scaling::Decision;
use super::timeline::{FaultTimes, Timeline};
use super::{ObjectiveVerdict, RevertedLate};
use crate::plan::{Limit, Measure, Objective, Phase, Scope};

/// Cloud seconds: a call that is refused once or twice, and goes through when it is repeated, makes no other experiment.
const OVERSTAY_MIN: f64 = 60.0;

/// A fault that was in the world past its revert, because that failed; real seconds since t0.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Overstay {
    pub due: f64,
    /// None where it was in the world when the run ended.
    pub left: Option<f64>,
    pub why: String,
}

impl Overstay {
    /// As the verdict tells it.
    pub fn told(self, timeline: &Timeline<'_>) -> RevertedLate {
        RevertedLate {
            due: timeline.cloud(self.due),
            at: self.left.map(|left| timeline.cloud(left)),
            why: self.why,
        }
    }
}

impl Timeline<'_> {
    /// How a fault was in the world past its revert, where that failed for longer than a call or two.
    pub(super) fn overstay(&self, fault: &FaultTimes<'_>) -> Option<Overstay> {
        fault.instant().filter(|_| fault.reversible())?;
        let (due, why) = (fault.revert_due?, fault.revert_failed.clone()?);
        let left = fault.leaving();
        let over = left.is_none_or(|left| (left - due) * self.pace() > OVERSTAY_MIN);
        over.then_some(Overstay { due, left, why })
    }
}

/// Why what was measured is not of the planned fault: one was in the world past its revert, which says nothing of what
/// was over before.
pub(super) fn overstayed(
    timeline: &Timeline<'_>,
    objective: &Objective,
    verdict: &ObjectiveVerdict,
    decisions: &[Decision],
) -> Option<String> {
    let (from, to) = match &objective.scope {
        Scope::Experiment(name) => timeline
            .windows
            .get(name.as_str())
            .map(|window| (window.begin, window.end))?,
        Scope::During(Phase::Steady | Phase::Ramp) => return None,
        Scope::Run | Scope::During(_) => (f64::NEG_INFINITY, f64::INFINITY),
    };
    let over = over_at(timeline, objective, verdict, decisions).unwrap_or(to);
    timeline.faults.iter().find_map(|fault| {
        let overstay = timeline.overstay(fault)?;
        let within = overstay.due < over && overstay.left.is_none_or(|left| left > from);
        within.then(|| {
            let name = fault.plan.fault.name();
            format!("{name} {}", overstay.told(timeline))
        })
    })
}

/// When what an objective measures was over at the latest, real seconds; none where that is the end of its scope.
fn over_at(
    timeline: &Timeline<'_>,
    objective: &Objective,
    verdict: &ObjectiveVerdict,
    decisions: &[Decision],
) -> Option<f64> {
    let of_each = matches!(
        objective.measure,
        Measure::Recovery | Measure::Shift | Measure::SelfHeal | Measure::Redundancy
    );
    let lasted = match objective.measure {
        // It begins with the onset, but a recovery with the injection, and no sooner is it over.
        Measure::Outage => {
            let recovery = Objective {
                measure: Measure::Recovery,
                ..objective.clone()
            };
            objectives::longest(&objectives::find(timeline, &recovery, decisions))?
        }
        _ => match verdict.measured.filter(|_| of_each && !verdict.at_least)? {
            Limit::Duration(lasted) => lasted,
            _ => return None,
        },
    };
    let covered = timeline.faults_in(&objective.scope).into_iter();
    let last = covered
        .filter_map(|index| timeline.faults[index].instant())
        .reduce(f64::max)?;
    Some(last + timeline.real(lasted))
}
