//! Finds what runs left in an account by the tags of what they created, without any journal, and undoes it.
//! What leaves no tag is not found: [`FINDS`] says what does.

use std::sync::Mutex;

use super::journal::{Before, NetworkBefore, timestamp};
use super::runner::Hand;
use super::undo::{LAG, undo};
use super::{ChaosError, guard, network};
use crate::aws::{Reader, Writer};
use crate::event::FaultId;
use crate::units::Pace;

/// The faults that a scan finds.
pub const FINDS: [&str; 2] = ["network.deny_az", "network.deny_region"];

/// What one fault of one run left in one Region.
#[derive(Clone, Debug, PartialEq)]
pub struct Leftover {
    /// Region.
    pub region: String,
    /// Id of the run.
    pub run: String,
    /// Fault.
    pub fault: FaultId,
    /// Unix seconds of the target's clock after which nobody means it to be there; none where its tag is unreadable,
    /// which nobody means either.
    pub expires: Option<f64>,
    /// Ids of what it created.
    pub resources: Vec<String>,
    pub(super) network: NetworkBefore,
}

impl Leftover {
    /// Whether nobody means it to be there any more at `now`, Unix seconds of the target's clock.
    #[must_use]
    pub fn is_expired(&self, now: f64) -> bool {
        self.expires.is_none_or(|expires| expires <= now)
    }

    /// How to undo it without us.
    #[must_use]
    pub fn by_hand(&self) -> String {
        self.before().by_hand(&self.region)
    }

    fn before(&self) -> Before {
        Before::NetworkDenyRegion(self.network.clone())
    }
}

impl std::fmt::Display for Leftover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let subnets: Vec<&str> = self.network.subnets.iter().map(|one| one.subnet.as_str()).collect();
        let expires = self.expires.map_or("at no readable time".to_owned(), timestamp);
        let (fault, run, region, resources) = (&self.fault, &self.run, &self.region, self.resources.join(", "));
        let subnets = subnets.join(", ");
        write!(
            f,
            "{fault} of run {run} in {region}: {resources} for {subnets}, expires {expires}"
        )
    }
}

/// What a scan found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scan {
    /// What can be undone.
    pub left: Vec<Leftover>,
    /// What is tagged as a run's, but does not say how it can be undone.
    pub strange: Vec<String>,
}

/// Looks in every Region for what runs left, in this account and no other.
pub async fn scan(reader: &Reader, account: &str, pace: Pace) -> Result<Scan, ChaosError> {
    let regions: Vec<String> = reader.regions().map(str::to_owned).collect();
    if let Some(region) = regions.first() {
        guard::same_account(account, &reader.account(region).await?).map_err(ChaosError::Refused)?;
    }
    let found = look(reader, &regions).await?;
    if found != Scan::default() {
        return Ok(found);
    }
    // An answer that lags behind a change may not show it yet.
    tokio::time::sleep(pace.patience(LAG)).await;
    look(reader, &regions).await
}

async fn look(reader: &Reader, regions: &[String]) -> Result<Scan, ChaosError> {
    let mut found = Scan::default();
    for region in regions {
        let (left, strange) = network::left_in(reader, region).await?;
        found.left.extend(left);
        found
            .strange
            .extend(strange.into_iter().map(|one| format!("{one} in {region}")));
    }
    Ok(found)
}

/// Undoes what a scan found, and reads it back; an error says what is left.
pub async fn undo_leftover(cloud: &Writer, pace: Pace, leftover: &Leftover) -> Result<(), ChaosError> {
    let created = Mutex::new(leftover.resources.clone());
    let hand = Hand {
        cloud,
        journal: None,
        pace,
        fault: &leftover.fault,
        region: &leftover.region,
        ending: None,
        created: &created,
    };
    undo(&hand, &leftover.before()).await
}

#[cfg(test)]
mod tests {
    use super::FINDS;
    use crate::plan::catalogue::entry;

    #[test]
    fn what_a_scan_finds_is_in_the_catalogue() {
        for name in FINDS {
            assert!(entry(name).is_some_and(|entry| entry.reversible), "{name}");
        }
    }
}
