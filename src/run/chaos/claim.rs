//! Claims of Regions: a run writes on a resource of each that it has the Region for itself, before it sends anything, and
//! takes that off last. So two runs of two machines see each other though neither has anything in the world.
//!
//! A claim is written first and looked around after it: of two that begin at the same time each sees the other's or one
//! does, so both or the later one withdraw, and never do both go on. Nobody is asked which was first, for that would be two
//! machines' clocks. It is journalled, undone and found by a scan as a fault's mark is. Other tools are not kept away.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::ChaosError;
use super::journal::{Before, Journal, Record};
use super::mark;
use super::runner::{EXPIRY_MARGIN, Hand};
use super::scan::{Leftover, look};
use super::undo::{LAG, undo};
use crate::aws::Writer;
use crate::clock::Clock;
use crate::event::FaultId;
use crate::plan::{ClaimOn, ClaimPlan, Plan};

/// How long a claim may take to be read back: cloud time, and at least this in real time.
const SEEN_WITHIN: Duration = Duration::from_secs(60);
const SEEN_WITHIN_FLOOR: Duration = Duration::from_secs(10);

/// The claims of one run. They stay until [`Claims::release`], or until somebody reverts the journal.
pub struct Claims {
    cloud: Writer,
    journal: Arc<Journal>,
    clock: Clock,
    /// Seconds of cloud time for which nobody should begin.
    lasts: Duration,
    planned: Vec<ClaimPlan>,
    /// How many of them the journal announces.
    announced: usize,
}

impl Claims {
    /// Those that a run of this plan makes; nothing is claimed yet.
    #[must_use]
    pub fn of(plan: &Plan, cloud: Writer, journal: Arc<Journal>, clock: Clock) -> Self {
        Self {
            cloud,
            journal,
            clock,
            lasts: plan.ends_at,
            planned: plan.claims(),
            announced: 0,
        }
    }

    /// Claims every Region, reads that back, and looks whether somebody else has claimed one meanwhile, or broken something
    /// in it. After an error, and where this is given up half-way, [`Claims::release`] takes back what was claimed.
    pub async fn make(&mut self) -> Result<(), ChaosError> {
        if self.planned.is_empty() {
            return Ok(());
        }
        for index in 0..self.planned.len() {
            self.write(index).await?;
        }
        self.read_back().await
    }

    async fn write(&mut self, index: usize) -> Result<(), ChaosError> {
        let region = self.planned[index].region.clone();
        let (fault, before) = self.claim(index);
        self.journal.append(&Record::Intent {
            fault: fault.clone(),
            region: region.clone(),
            before: before.clone(),
            lease: None,
        })?;
        self.announced = index + 1;
        let (goes_on, created) = (AtomicBool::new(false), Mutex::default());
        let hand = Hand {
            ending: Some(&goes_on),
            ..self.hand(&fault, &region, &created)
        };
        let expires = self.clock.cloud_unix() + (self.lasts + EXPIRY_MARGIN).as_secs_f64();
        mark::write(&hand, &before, expires).await
    }

    /// What is written is seen by whoever looks this much later, so that who wrote before us is seen by us then.
    async fn read_back(&self) -> Result<(), ChaosError> {
        let pace = self.clock.pace();
        let deadline = Instant::now() + pace.patience(SEEN_WITHIN).max(SEEN_WITHIN_FLOOR);
        loop {
            tokio::time::sleep(pace.patience(LAG)).await;
            let found = look(self.cloud.reader()).await?;
            let (own, others): (Vec<Leftover>, Vec<Leftover>) =
                found.left.into_iter().partition(|one| one.run == self.journal.run());
            if let Some(other) = others.into_iter().next() {
                return Err(ChaosError::Claimed(Box::new(other)));
            }
            let unseen = self
                .planned
                .iter()
                .find(|claim| !own.iter().any(|one| one.region == claim.region));
            match unseen {
                None => return Ok(()),
                Some(claim) if Instant::now() >= deadline => {
                    return Err(not_seen(claim, &found.unseen));
                }
                Some(_) => {}
            }
        }
    }

    /// Takes every claim back, the youngest first; what is left, with how to undo it by hand.
    pub async fn release(self) -> Vec<(FaultId, String)> {
        let mut left = Vec::new();
        for (index, claim) in self.planned.iter().enumerate().take(self.announced).rev() {
            let ((fault, before), created) = (self.claim(index), Mutex::default());
            let hand = self.hand(&fault, &claim.region, &created);
            // A journal that cannot be written must not keep the claim.
            let _ = self.journal.append(&Record::RevertIntent {
                fault: fault.clone(),
                by: None,
            });
            let record = match undo(&hand, &before).await {
                Ok(()) => Record::Reverted { fault },
                Err(error) => {
                    let error = error.into_left();
                    left.push((fault.clone(), error.clone()));
                    Record::RevertFailed { fault, error }
                }
            };
            let _ = self.journal.append(&record);
        }
        left
    }

    fn claim(&self, index: usize) -> (FaultId, Before) {
        let run = self.journal.run().to_owned();
        let on = self.planned[index].on.clone();
        (FaultId::claim(&run, index), Before::Claim { run, index, on })
    }

    fn hand<'a>(&'a self, fault: &'a FaultId, region: &'a str, created: &'a Mutex<Vec<String>>) -> Hand<'a> {
        Hand {
            cloud: &self.cloud,
            journal: Some(&self.journal),
            pace: self.clock.pace(),
            fault,
            region,
            ending: None,
            created,
            refused: Mutex::default(),
            runner: None,
        }
    }
}

fn not_seen(claim: &ClaimPlan, unseen: &[String]) -> ChaosError {
    let why = match unseen {
        [] => "AWS does not show it".to_owned(),
        unseen => unseen.join("; "),
    };
    ChaosError::Refused(format!(
        "the claim of {} on {} cannot be read back: {why}",
        claim.region,
        claim.on.id()
    ))
}

/// The command that ends a claim without us.
pub(super) fn by_hand(before: &Before, id: &FaultId, on: &ClaimOn, region: &str) -> String {
    let keys = mark::keys(before, id, region);
    let of_rds = |kind: &str, id: &str| {
        format!(
            "`aws rds remove-tags-from-resource --region {region} --resource-name ARN --tag-keys {}`, with the ARN of {kind} {id}",
            keys.join(" ")
        )
    };
    match on {
        ClaimOn::Group(name) => {
            let tag = |key: &String| format!("ResourceId={name},ResourceType=auto-scaling-group,Key={key}");
            let tags: Vec<String> = keys.iter().map(tag).collect();
            format!(
                "`aws autoscaling delete-tags --region {region} --tags {}`",
                tags.join(" ")
            )
        }
        ClaimOn::Database(id) => of_rds("the RDS instance", id),
        ClaimOn::Cluster(id) => of_rds("the Aurora cluster", id),
    }
}
