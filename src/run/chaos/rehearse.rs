//! What every fault of a plan would hit now, and whether it may: the guards with all they look at, through a client that
//! has no call that changes anything.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::before::Before;
use super::injection::{self, Context};
use super::own::{Own, Standing};
use super::runner::{self, OBSERVE_PATIENCE, Sight};
use super::{ChaosError, guard};
use crate::aws::Reader;
use crate::event::FaultId;
use crate::plan::{FaultPlan, Plan, unmarked};

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

/// A fault that would be in the world, and until when, cloud time of the run.
struct There {
    standing: Standing,
    until: Duration,
}

/// Looks at every fault as if its time had come, if the run began at `start`, in the order of their times. Those before
/// it that would still be in the world count as in the run; what else they would have done to the world is not seen.
pub async fn rehearse<'p>(plan: &'p Plan, reader: &Reader, start: Timestamp) -> Vec<Rehearsed<'p>> {
    let (mut all, mut there): (Vec<Rehearsed<'p>>, Vec<There>) = (Vec::new(), Vec::new());
    for (fault, planned) in in_time(plan) {
        let others = there.iter().filter(|other| other.until >= planned.at);
        let own: Own = others.map(|other| other.standing.clone()).collect();
        let prepared = prepared(plan, reader, &fault, planned, &own, start).await;
        let hits = prepared.map(|before| {
            let hits = before.resources();
            there.push(There::of(&fault, planned, before));
            hits
        });
        all.push(Rehearsed {
            fault,
            plan: planned,
            hits,
        });
    }
    all
}

impl There {
    fn of(fault: &FaultId, planned: &FaultPlan, before: Before) -> Self {
        // What comes back by itself counts in a run until its effect was looked for; how soon it is seen, nobody knows
        // beforehand.
        let looked_for = planned.at.saturating_add(OBSERVE_PATIENCE);
        Self {
            until: planned.revert_at.unwrap_or(looked_for),
            standing: Standing {
                fault: fault.clone(),
                region: planned.region.clone(),
                before,
            },
        }
    }
}

/// The faults of a plan in the order in which they are injected.
#[must_use]
pub fn in_time(plan: &Plan) -> Vec<(FaultId, &FaultPlan)> {
    let of = |experiment: &str, index| FaultId {
        experiment: experiment.to_owned(),
        index,
    };
    let faults = plan.experiments.iter().flat_map(|experiment| {
        let faults = experiment.faults.iter().enumerate();
        faults.map(move |(index, fault)| (of(&experiment.name, index), fault))
    });
    let mut faults: Vec<_> = faults.collect();
    faults.sort_by_key(|(_, fault)| fault.at);
    faults
}

/// The first fault that would begin or end when the target may not be touched, if the run began at `start`, and why.
#[must_use]
pub fn closed(plan: &Plan, start: Timestamp) -> Option<(FaultId, String)> {
    in_time(plan).into_iter().find_map(|(id, fault)| {
        let mut both = [fault.at, fault.ends_at()].into_iter().map(|at| later(plan, start, at));
        let why = both.find_map(|at| guard::open(plan.target.allow.as_ref(), at).err())?;
        Some((id, why))
    })
}

/// The first fault that hits what is not marked as allowed, as far as the plan knows, and why it would be refused.
#[must_use]
pub fn not_allowed(plan: &Plan) -> Option<(FaultId, String)> {
    let mut faults = in_time(plan).into_iter();
    faults.find_map(|(id, fault)| Some((id, unmarked(fault, &plan.target)?)))
}

/// The wall's time when so much cloud time of the run has passed.
fn later(plan: &Plan, start: Timestamp, cloud: Duration) -> Timestamp {
    let after = SignedDuration::try_from(plan.wall(cloud)).unwrap_or_default();
    start.saturating_add(after).unwrap_or(start)
}

async fn prepared(
    plan: &Plan,
    reader: &Reader,
    id: &FaultId,
    fault: &FaultPlan,
    own: &Own,
    start: Timestamp,
) -> Result<Before, ChaosError> {
    runner::may(&plan.target, fault, &own.cut_regions(), later(plan, start, fault.at))?;
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
        own,
    };
    injection::prepare(&sight, &context, fault).await
}
