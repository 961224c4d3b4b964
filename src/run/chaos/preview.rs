//! What AWS FIS itself would hit: for every fault that it injects, an experiment whose actions are all skipped, so that its
//! targets are resolved and nothing is done to them. The template is journalled before and deleted after, as a fault's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use jiff::Timestamp;

use super::before::{Before, FisBefore};
use super::injection::{self, Context};
use super::journal::{Journal, Record};
use super::own::Own;
use super::runner::{self, Hand, Sight};
use super::undo::undo;
use super::{ChaosError, fis, guard};
use crate::aws::Writer;
use crate::event::FaultId;
use crate::plan::{FaultPlan, Plan};

/// How long a template may stay before a scan takes it for left behind, cloud seconds.
const EXPIRES_AFTER: f64 = 3600.0;

/// What one fault came to.
#[derive(Debug)]
pub struct Previewed {
    /// Which.
    pub fault: FaultId,
    /// ARNs that the template names.
    pub named: BTreeSet<String>,
    /// ARNs that FIS made of them, or why it would not.
    pub resolved: Result<BTreeSet<String>, ChaosError>,
}

/// Asks AWS FIS about every fault of the plan that it injects. `now` is the target's clock, Unix seconds.
pub async fn preview(plan: &Plan, cloud: &Writer, journal: &Journal, now: f64) -> Vec<Previewed> {
    let mut all = Vec::new();
    for experiment in &plan.experiments {
        for (index, fault) in experiment.faults.iter().enumerate() {
            if fault.fis.is_none() {
                continue;
            }
            let id = FaultId {
                experiment: experiment.name.clone(),
                index,
            };
            let (named, resolved) = match prepared(plan, cloud, journal, &id, fault).await {
                Ok(before) => (
                    named(&before),
                    resolved(plan, cloud, journal, &id, fault, before, now).await,
                ),
                Err(error) => (BTreeSet::new(), Err(error)),
            };
            all.push(Previewed {
                fault: id,
                named,
                resolved,
            });
        }
    }
    all
}

fn named(before: &FisBefore) -> BTreeSet<String> {
    let targets = before.template.targets.values();
    targets
        .flat_map(|target| target.resource_arns.iter().cloned())
        .collect()
}

/// The guards, and the template that they let pass.
async fn prepared(
    plan: &Plan,
    cloud: &Writer,
    journal: &Journal,
    id: &FaultId,
    fault: &FaultPlan,
) -> Result<FisBefore, ChaosError> {
    runner::may(&plan.target, fault, &BTreeMap::new(), Timestamp::now())?;
    let caller = cloud.reader().caller(&fault.region).await?;
    guard::account(&plan.target, &caller.account).map_err(ChaosError::Refused)?;
    let sight = Sight {
        reader: cloud.reader(),
        fault: id,
        region: &fault.region,
    };
    let context = Context {
        target: &plan.target,
        seed: plan.seed,
        run: journal.run(),
        planned: &fault.resources,
        own: &Own::default(),
    };
    match injection::prepare(&sight, &context, fault).await? {
        Before::Fis(before) => Ok(before),
        _ => Err(ChaosError::Refused("AWS FIS does not inject it".to_owned())),
    }
}

async fn resolved(
    plan: &Plan,
    cloud: &Writer,
    journal: &Journal,
    id: &FaultId,
    fault: &FaultPlan,
    before: FisBefore,
    now: f64,
) -> Result<BTreeSet<String>, ChaosError> {
    let of_fis = Before::Fis(before.clone());
    journal.append(&Record::Intent {
        fault: id.clone(),
        region: fault.region.clone(),
        before: of_fis.clone(),
        lease: None,
    })?;
    let (created, never) = (Mutex::default(), AtomicBool::new(false));
    let hand = |ending| Hand {
        cloud,
        journal: Some(journal),
        pace: plan.pace,
        fault: id,
        region: &fault.region,
        ending,
        created: &created,
        refused: Mutex::default(),
        runner: None,
    };
    let resolved = fis::resolve(&hand(Some(&never)), &before, now + EXPIRES_AFTER).await;
    undo(&hand(None), &of_fis).await?;
    journal.append(&Record::Reverted { fault: id.clone() })?;
    resolved
}
