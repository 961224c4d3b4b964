//! The schedule of a run as a list of instants, taken from the plan. Decides nothing: the director acts on it.

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
    /// A fault is to be reverted.
    Revert(FaultId),
    /// The schedule ends.
    End,
}

/// Everything that is due, in order of real time since t0; what is due together keeps the plan's order.
#[must_use]
pub fn timeline(plan: &Plan) -> Vec<(Duration, Due)> {
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
            entries.push((fault.at, Due::Inject(id.clone())));
            if let Some(revert_at) = fault.revert_at {
                entries.push((revert_at, Due::Revert(id)));
            }
        }
    }
    entries.push((plan.ends_at, Due::End));
    entries.sort_by_key(|(at, _)| *at);
    entries
        .into_iter()
        .map(|(at, due)| (plan.pace.to_real(at), due))
        .collect()
}
