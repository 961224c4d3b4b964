//! What every fault of a plan would hit now, and whether it may: the guards with all they look at, through a client that
//! has no call that changes anything.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::injection::{self, Context};
use super::own::Own;
use super::runner::{self, Sight};
use super::{ChaosError, guard};
use crate::aws::Reader;
use crate::event::FaultId;
use crate::plan::{FaultPlan, Plan};

/// One fault as it would be injected.
#[derive(Debug)]
pub struct Rehearsed<'p> {
    /// Which.
    pub fault: FaultId,
    /// As planned.
    pub plan: &'p FaultPlan,
    /// Ids of what it would hit, or why it would be refused.
    pub hits: Result<Vec<String>, ChaosError>,
}

/// Looks at every fault as if its time had come, if the run began at `start`. Faults do not see the effects of those
/// before them.
pub async fn rehearse<'p>(plan: &'p Plan, reader: &Reader, start: Timestamp) -> Vec<Rehearsed<'p>> {
    let mut all = Vec::new();
    for experiment in &plan.experiments {
        for (index, fault) in experiment.faults.iter().enumerate() {
            let id = FaultId {
                experiment: experiment.name.clone(),
                index,
            };
            let hits = hits(plan, reader, &id, fault, start).await;
            all.push(Rehearsed {
                fault: id,
                plan: fault,
                hits,
            });
        }
    }
    all
}

/// The first fault that would begin or end when the target may not be touched, if the run began at `start`, and why.
#[must_use]
pub fn closed(plan: &Plan, start: Timestamp) -> Option<(FaultId, String)> {
    for experiment in &plan.experiments {
        for (index, fault) in experiment.faults.iter().enumerate() {
            let both = [fault.at, fault.ends_at()].map(|at| later(plan, start, at));
            let refusal = both
                .into_iter()
                .find_map(|at| guard::open(plan.target.allow.as_ref(), at).err());
            if let Some(why) = refusal {
                let experiment = experiment.name.clone();
                return Some((FaultId { experiment, index }, why));
            }
        }
    }
    None
}

/// The wall's time when so much cloud time of the run has passed.
fn later(plan: &Plan, start: Timestamp, cloud: Duration) -> Timestamp {
    let after = SignedDuration::try_from(plan.wall(cloud)).unwrap_or_default();
    start.saturating_add(after).unwrap_or(start)
}

async fn hits(
    plan: &Plan,
    reader: &Reader,
    id: &FaultId,
    fault: &FaultPlan,
    start: Timestamp,
) -> Result<Vec<String>, ChaosError> {
    runner::may(&plan.target, fault, &BTreeMap::new(), later(plan, start, fault.at))?;
    let found = reader.caller(&fault.region).await?;
    guard::account(&plan.target, &found.account).map_err(ChaosError::Refused)?;
    let sight = Sight {
        reader,
        fault: id,
        region: &fault.region,
    };
    let context = Context {
        target: &plan.target,
        seed: plan.seed,
        run: "dry-run",
        planned: &fault.resources,
        own: &Own::default(),
    };
    let before = injection::prepare(&sight, &context, fault).await?;
    Ok(before.resources())
}
