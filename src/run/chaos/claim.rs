//! Claims of Regions: a run writes on a resource of each that it has the Region for itself, before it sends anything, and
//! takes that off last. So two runs of two machines see each other though neither has anything in the world.
//!
//! A claim is written first and looked around after it: of two that begin at the same time each sees the other's or one
//! does, so both or the later one withdraw, and never do both go on. Nobody is asked which was first, for that would be two
//! machines' clocks. It is journalled, undone and found by a scan as a fault's mark is, and renewed while the run lasts, so
//! that only a dead run's expires. Other tools are not kept away.

use std::future::Future;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::ChaosError;
use super::before::Before;
use super::journal::{Journal, Record};
use super::mark;
use super::runner::Hand;
use super::scan::{Leftover, look};
use super::undo::{LAG, undo_on_record};
use crate::aws::Writer;
use crate::clock::Clock;
use crate::event::FaultId;
use crate::plan::{ClaimOn, ClaimPlan, Plan};

/// How long a claim may take to be read back: cloud time, and at least this in real time.
const SEEN_WITHIN: Duration = Duration::from_secs(60);
const SEEN_WITHIN_FLOOR: Duration = Duration::from_secs(10);

/// How long a claim holds unless it is renewed, how often that is done, and how often it is looked at, all cloud time; what
/// is looked at is so at most once a second of real time.
const HOLDS: Duration = Duration::from_secs(3600);
const RENEWED_EVERY: Duration = Duration::from_secs(600);
const LOOKED_AT_EVERY: Duration = Duration::from_secs(30);
const LOOKED_AT_FLOOR: Duration = Duration::from_secs(1);
/// Longest name of a machine that a claim tells (Linux has none that is longer).
const HOST_MAX: usize = 64;

/// The claims of one run. They stay until [`Claims::release`], or until somebody reverts the journal.
pub struct Claims {
    cloud: Writer,
    journal: Arc<Journal>,
    clock: Clock,
    /// The machine that runs it.
    host: String,
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
            host: host(),
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
        let (fault, before) = self.claim(index);
        self.journal.append(&Record::Intent {
            fault,
            region: self.planned[index].region.clone(),
            before,
            lease: None,
        })?;
        self.announced = index + 1;
        self.mark(index).await
    }

    async fn mark(&self, index: usize) -> Result<(), ChaosError> {
        let (fault, before) = self.claim(index);
        let (ending, created) = (AtomicBool::new(false), Mutex::default());
        let hand = Hand {
            ending: Some(&ending),
            ..self.hand(&fault, &self.planned[index].region, &created)
        };
        let expires = self.clock.cloud_unix() + HOLDS.as_secs_f64();
        mark::write(&hand, &before, expires).await
    }

    /// Renews the claims until the run is `over`, or one of them is lost: then it answers which. What AWS does not answer is
    /// asked again.
    pub async fn keep(&self, over: impl Future<Output = ()>) -> Option<String> {
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return None,
                lost = self.lost() => if let Some(claim) = lost {
                    return Some(lost_text(claim));
                },
            }
            // It is waited for: a renewal that is given up could come after the claim is taken back.
            for index in 0..self.planned.len() {
                // One that cannot be renewed holds for a while yet.
                let _ = self.mark(index).await;
            }
        }
    }

    /// Looks at the claims until one is lost, or it is time to renew them.
    async fn lost(&self) -> Option<&ClaimPlan> {
        let pace = self.clock.pace();
        let every = pace.patience(LOOKED_AT_EVERY).max(LOOKED_AT_FLOOR);
        let due = Instant::now() + pace.to_real(RENEWED_EVERY);
        loop {
            tokio::time::sleep(every).await;
            for (index, claim) in self.planned.iter().enumerate() {
                if self.is_lost(index).await {
                    return Some(claim);
                }
            }
            if Instant::now() >= due {
                return None;
            }
        }
    }

    /// One look is not believed: it may be of before.
    async fn is_lost(&self, index: usize) -> bool {
        let (fault, before) = self.claim(index);
        let created = Mutex::default();
        let hand = self.hand(&fault, &self.planned[index].region, &created);
        if !matches!(mark::is_there(&hand, &before).await, Ok(false)) {
            return false;
        }
        tokio::time::sleep(self.clock.pace().patience(LAG)).await;
        matches!(mark::is_there(&hand, &before).await, Ok(false))
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

    /// Takes every claim back; what is left, with how to undo it by hand.
    pub async fn release(self) -> Vec<(FaultId, String)> {
        let released = join_all((0..self.announced).map(|index| self.take_back(index))).await;
        released.into_iter().flatten().collect()
    }

    async fn take_back(&self, index: usize) -> Option<(FaultId, String)> {
        let ((fault, before), created) = (self.claim(index), Mutex::default());
        let undone = {
            let hand = self.hand(&fault, &self.planned[index].region, &created);
            undo_on_record(&hand, &before, None).await
        };
        undone.err().map(|left| (fault, left))
    }

    fn claim(&self, index: usize) -> (FaultId, Before) {
        let run = self.journal.run().to_owned();
        let (on, host) = (self.planned[index].on.clone(), self.host.clone());
        (FaultId::claim(&run, index), Before::Claim { run, index, host, on })
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

/// The name of this machine, for who finds the claim and wonders whether its run lives.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().chars().take(HOST_MAX).collect()
}

fn lost_text(ClaimPlan { region, on, .. }: &ClaimPlan) -> String {
    format!(
        "somebody has taken this run's claim of {region} off {}, so another may have begun",
        on.id()
    )
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
