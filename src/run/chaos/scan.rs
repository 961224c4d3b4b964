//! Finds what runs left in an account without any journal, by what they wrote on what they created or changed, and undoes
//! it. Every fault that can be undone leaves a trace.

use std::collections::BTreeSet;
use std::sync::Mutex;

use super::bearer::{bearers_in, global_bearers};
use super::before::Before;
use super::journal::timestamp;
use super::mark::{MARK, Mark};
use super::runner::Hand;
use super::undo::{LAG, undo};
use super::{ChaosError, arczonalshift, fis, guard, network};
use crate::aws::{AwsError, Reader, Tags, Writer};
use crate::event::FaultId;
use crate::units::Pace;

/// What one fault of one run left in one Region.
#[derive(Clone, Debug, PartialEq)]
pub struct Leftover {
    /// Region.
    pub region: String,
    /// Id of the run.
    pub run: String,
    /// Fault.
    pub fault: FaultId,
    /// Unix seconds of the target's clock after which nobody means it to be there; none where that is unreadable,
    /// which nobody means either.
    pub expires: Option<f64>,
    /// Ids of what it created, or marked.
    pub resources: Vec<String>,
    /// How the world was, in the parts that were found.
    pub(super) befores: Vec<Before>,
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
        let commands = self.befores.iter().map(|before| before.by_hand(&self.region));
        commands.collect::<Vec<_>>().join("; ")
    }
}

impl std::fmt::Display for Leftover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let expires = self.expires.map_or("at no readable time".to_owned(), timestamp);
        let (fault, run, region, resources) = (&self.fault, &self.run, &self.region, self.resources.join(", "));
        if fault.is_claim() {
            let host = self.befores.iter().find_map(|before| match before {
                Before::Claim { host, .. } => Some(host.as_str()),
                _ => None,
            });
            let host = host.unwrap_or_default();
            return write!(
                f,
                "the claim of run {run} of machine {host} on {region}, by {resources}, expires {expires}"
            );
        }
        let hit: BTreeSet<String> = self.befores.iter().flat_map(Before::resources).collect();
        let hit = hit.into_iter().collect::<Vec<_>>().join(", ");
        write!(
            f,
            "{fault} of run {run} in {region}: {resources} for {hit}, expires {expires}"
        )
    }
}

/// What a scan found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scan {
    /// What can be undone.
    pub left: Vec<Leftover>,
    /// What is a run's, but does not say how it can be undone.
    pub strange: Vec<String>,
    /// What could not be looked at, and why.
    pub unseen: Vec<String>,
}

impl Scan {
    /// Adds what was found, to what else was found of the same fault.
    pub(super) fn add(&mut self, found: Leftover) {
        let is_same =
            |one: &&mut Leftover| (&one.run, &one.fault, &one.region) == (&found.run, &found.fault, &found.region);
        let Some(same) = self.left.iter_mut().find(is_same) else {
            return self.left.push(found);
        };
        same.resources.extend(found.resources);
        let new = found
            .befores
            .into_iter()
            .filter(|before| !same.befores.contains(before));
        let new: Vec<Before> = new.collect();
        same.befores.extend(new);
        same.expires = match (same.expires, found.expires) {
            (Some(one), Some(other)) => Some(one.max(other)),
            (one, other) => one.or(other),
        };
    }

    fn add_marks(&mut self, bearers: Vec<(String, Tags)>) {
        for (id, tags) in bearers {
            let (marks, strange) = Mark::read(&tags);
            self.strange
                .extend(strange.into_iter().map(|name| format!("the mark {name} of {id}")));
            for mark in marks {
                self.add(Leftover {
                    region: mark.region,
                    run: mark.run,
                    fault: mark.fault,
                    expires: mark.expires,
                    resources: vec![id.clone()],
                    befores: vec![mark.before],
                });
            }
        }
    }

    /// Keeps what one service said. One that does not answer ends the scan; one that may not be asked is told of.
    fn heard<T: Default>(&mut self, answer: Result<T, AwsError>) -> Result<T, AwsError> {
        match answer {
            Err(error) if error.is_transient() => Err(error),
            Err(error) => {
                self.unseen.push(error.to_string());
                Ok(T::default())
            }
            answer => answer,
        }
    }
}

/// Looks in every Region for what runs left, in this account and no other.
pub async fn scan(reader: &Reader, account: &str, pace: Pace) -> Result<Scan, ChaosError> {
    let regions: Vec<&str> = reader.regions().collect();
    if let Some(region) = regions.first() {
        let found = reader.caller(region).await?;
        guard::same_account(account, &found.account).map_err(ChaosError::Refused)?;
    }
    let found = look(reader).await?;
    if found != Scan::default() {
        return Ok(found);
    }
    // An answer that lags behind a change may not show it yet.
    tokio::time::sleep(pace.patience(LAG)).await;
    Ok(look(reader).await?)
}

/// What runs have in the account at the moment, or left in it, whosever it is. What is seen only in an answer
/// that lags behind a change is not there.
pub async fn in_account(reader: &Reader, pace: Pace) -> Result<Scan, ChaosError> {
    let found = look(reader).await?;
    if found.left.is_empty() && found.strange.is_empty() {
        return Ok(found);
    }
    tokio::time::sleep(pace.patience(LAG)).await;
    Ok(look(reader).await?)
}

/// One look at every Region.
pub(super) async fn look(reader: &Reader) -> Result<Scan, AwsError> {
    let mut scan = Scan::default();
    for region in reader.regions() {
        let answer = network::left_in(reader, region, &mut scan).await;
        scan.heard(answer)?;
        let answer = fis::left_in(reader, region, &mut scan).await;
        scan.heard(answer)?;
        let answer = arczonalshift::left_in(reader, region, &mut scan).await;
        scan.heard(answer)?;
        let bearers = bearers_in(reader, region, &format!("{MARK}*")).await;
        let bearers = scan.heard(bearers)?;
        scan.add_marks(bearers);
    }
    let bearers = scan.heard(global_bearers(reader).await)?;
    scan.add_marks(bearers);
    // A claim is the last to go, and what somebody has broken says more than that somebody is there.
    scan.left.sort_by_key(|one| one.fault.is_claim());
    Ok(scan)
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
        refused: Mutex::default(),
        runner: None,
    };
    for before in &leftover.befores {
        undo(&hand, before).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_one_fault_are_one_leftover() {
        let part = |id: &str, expires| Leftover {
            region: "us-east-1".to_owned(),
            run: "r1".to_owned(),
            fault: FaultId {
                experiment: "x".to_owned(),
                index: 0,
            },
            expires,
            resources: vec![id.to_owned()],
            befores: vec![Before::RdsStop {
                database: "shop-db".to_owned(),
            }],
        };
        let mut scan = Scan::default();
        scan.add(part("a", Some(1.0)));
        scan.add(part("b", Some(2.0)));
        let other = Leftover {
            run: "r2".to_owned(),
            ..part("c", None)
        };
        scan.add(other.clone());
        assert_eq!(scan.left.len(), 2);
        let first = &scan.left[0];
        assert_eq!((first.resources.len(), first.befores.len()), (2, 1), "{first}");
        assert!(!first.is_expired(1.5) && first.is_expired(2.0) && other.is_expired(0.0));
    }
}
