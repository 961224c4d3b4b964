//! The schedule of a run as a list of instants, taken from the plan. Decides nothing: the director acts on it.
//! Reverts are not in it: a fault leaves the world when its own time is over, whatever the schedule is steered to.

use std::time::Duration;

use crate::event::FaultId;
use crate::plan::Plan;

/// Something that is due at an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// A stage's ramp begins.
    Ramp(usize),
    /// A stage's hold begins.
    Hold(usize),
    /// A fault is to be injected.
    Inject(FaultId),
    /// The schedule ends.
    End,
}

/// Everything that is due, in order of the schedule's time (real microseconds since t0 where nobody steers it); what is
/// due together keeps the plan's order.
#[must_use]
pub fn timeline(plan: &Plan) -> Vec<(u64, Due)> {
    let mut entries = Vec::new();
    for (index, stage) in plan.stages.iter().enumerate() {
        entries.push((stage.starts_at, Due::Ramp(index)));
        entries.push((stage.holds_at, Due::Hold(index)));
    }
    for experiment in &plan.experiments {
        for (index, fault) in experiment.faults.iter().enumerate() {
            let id = FaultId {
                experiment: experiment.name.clone(),
                index,
            };
            entries.push((fault.at, Due::Inject(id)));
        }
    }
    entries.push((plan.ends_at, Due::End));
    entries.sort_by_key(|(at, _)| *at);
    entries
        .into_iter()
        .map(|(at, due)| (plan.schedule_us(at), due))
        .collect()
}

/// How long a fault stays in the world, real time; none for one that is irreversible.
#[must_use]
pub fn lasts(plan: &Plan, id: &FaultId) -> Option<Duration> {
    let experiment = plan
        .experiments
        .iter()
        .find(|experiment| experiment.name == id.experiment)?;
    let fault = experiment.faults.get(id.index)?;
    Some(plan.wall(fault.revert_at?.saturating_sub(fault.at)))
}
