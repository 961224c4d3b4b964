//! `network.deny_region`: every subnet of a VPC goes under an empty network ACL, which denies everything, and back.
//! The association's id changes with every replacement, so the revert looks it up and trusts no id it remembers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::ChaosError;
use super::cloud::Cloud;
use super::guard;
use super::journal::{Before, NetworkBefore, SubnetBefore, timestamp};
use super::runner::Hand;
use crate::aws::{AwsError, ErrorKind, NetworkAcl, Tags};
use crate::plan::{Allow, Role};

/// Tags of what a run creates; a person who finds one knows whose it is and since when it may be deleted.
const TAG_RUN: &str = "tenfold:run";
const TAG_FAULT: &str = "tenfold:fault";
const TAG_EXPIRES: &str = "tenfold:expires";
/// How long the revert keeps trying: cloud time, and at least this in real time.
const REVERT_PATIENCE: Duration = Duration::from_secs(180);
const REVERT_PATIENCE_FLOOR: Duration = Duration::from_secs(20);
/// Pause between two looks, cloud time.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Describe calls may lag behind a change; a clean answer counts only when it is repeated after this, cloud time.
const LAG: Duration = Duration::from_secs(5);
/// Longest client token that EC2 takes.
const TOKEN_MAX: usize = 64;

/// Finds the subnets and the ACLs they are under.
pub(super) async fn prepare<C: Cloud>(
    hand: &Hand<'_, C>,
    roles: &BTreeMap<String, Role>,
    role: &str,
    allow: Option<&Allow>,
    run: &str,
) -> Result<Before, ChaosError> {
    let mut subnets = Vec::new();
    for vpc in vpcs(hand, roles, role).await? {
        let acls = hand.cloud.network_acls(hand.region, &vpc).await?;
        for subnet in hand.cloud.subnets_of(hand.region, &vpc).await? {
            guard::tagged(allow, &subnet.id, &subnet.tags).map_err(ChaosError::Refused)?;
            let (acl, association) = current(&acls, &subnet.id).ok_or_else(|| {
                ChaosError::Refused(format!("no network ACL shows an association with {}", subnet.id))
            })?;
            if let Some(other) = acl.tags.get(TAG_RUN) {
                let why = format!("{} is already cut off by run {other} ({})", subnet.id, acl.id);
                return Err(ChaosError::Refused(why));
            }
            subnets.push(SubnetBefore {
                association: association.to_owned(),
                network_acl: acl.id.clone(),
                subnet: subnet.id,
                vpc: vpc.clone(),
            });
        }
    }
    if subnets.is_empty() {
        return Err(ChaosError::Refused(format!(
            "no subnet was found in {}; nothing to cut off",
            hand.region
        )));
    }
    Ok(Before::NetworkDenyRegion(NetworkBefore {
        run: run.to_owned(),
        subnets,
    }))
}

/// The VPCs of the role's group, or of every group of the target where the role is none.
async fn vpcs<C: Cloud>(
    hand: &Hand<'_, C>,
    roles: &BTreeMap<String, Role>,
    role: &str,
) -> Result<BTreeSet<String>, ChaosError> {
    let named = |role: &Role| match role {
        Role::AutoScalingGroup(name) => Some(name.clone()),
        _ => None,
    };
    let groups: Vec<String> = match roles.get(role).and_then(named) {
        Some(group) => vec![group],
        None => roles.values().filter_map(named).collect(),
    };
    let mut vpcs = BTreeSet::new();
    for name in groups {
        if let Some(group) = hand.cloud.group(hand.region, &name).await? {
            let subnets = hand.cloud.subnets(hand.region, &group.subnets).await?;
            vpcs.extend(subnets.into_iter().map(|subnet| subnet.vpc));
        }
    }
    Ok(vpcs)
}

/// Creates one ACL per VPC and puts every subnet under it. `expires` is cloud time.
pub(super) async fn act<C: Cloud>(hand: &Hand<'_, C>, before: &NetworkBefore, expires: f64) -> Result<(), ChaosError> {
    let tags = Tags::from([
        ("Name".to_owned(), format!("tenfold {}", hand.fault)),
        (TAG_RUN.to_owned(), before.run.clone()),
        (TAG_FAULT.to_owned(), hand.fault.to_string()),
        (TAG_EXPIRES.to_owned(), timestamp(expires)),
    ]);
    let vpcs: BTreeSet<&str> = before.subnets.iter().map(|subnet| subnet.vpc.as_str()).collect();
    for (index, vpc) in vpcs.into_iter().enumerate() {
        let token = token(&before.run, index, &hand.fault.to_string());
        let answer = hand.cloud.create_acl(hand.region, vpc, &tags, &token).await;
        let acl = hand.called("ec2:CreateNetworkAcl", vpc, answer)?;
        hand.created(&acl)?;
        for subnet in before.subnets.iter().filter(|subnet| subnet.vpc == vpc) {
            if hand.is_ending() {
                return Err(ChaosError::Ending);
            }
            let detail = format!("{}: {} -> {acl}", subnet.subnet, subnet.network_acl);
            let answer = hand
                .cloud
                .replace_association(hand.region, &subnet.association, &acl)
                .await;
            hand.called("ec2:ReplaceNetworkAclAssociation", &detail, answer)?;
        }
    }
    Ok(())
}

/// Looks whether every subnet is under an ACL of ours.
pub(super) async fn observe<C: Cloud>(
    hand: &Hand<'_, C>,
    before: &NetworkBefore,
) -> Result<Option<String>, ChaosError> {
    let acls = acls(hand, before).await?;
    let ours: BTreeSet<&str> = before
        .subnets
        .iter()
        .filter_map(|subnet| current(&acls, &subnet.subnet))
        .filter(|(acl, _)| is_ours(acl, before, hand))
        .map(|(acl, _)| acl.id.as_str())
        .collect();
    let cut = before
        .subnets
        .iter()
        .filter(|subnet| current(&acls, &subnet.subnet).is_some_and(|(acl, _)| is_ours(acl, before, hand)));
    let (cut, all) = (cut.count(), before.subnets.len());
    let acl = ours.into_iter().collect::<Vec<_>>().join(", ");
    Ok((cut == all).then(|| format!("{cut} of {all} subnets are under {acl}, which denies everything")))
}

/// Puts every subnet that is still under our ACL back, deletes our ACLs, and makes sure of both. Repeating it is
/// harmless. The proof is that the ACLs could be deleted, which AWS refuses while a subnet is under them; where none
/// is known, two clean answers further apart than describe calls lag.
pub(super) async fn revert<C: Cloud>(hand: &Hand<'_, C>, before: &NetworkBefore) -> Result<(), ChaosError> {
    let deadline = Instant::now() + hand.pace.patience(REVERT_PATIENCE).max(REVERT_PATIENCE_FLOOR);
    let vpcs: BTreeSet<&str> = before.subnets.iter().map(|subnet| subnet.vpc.as_str()).collect();
    let mut deleted = BTreeSet::new();
    let mut clean_since: Option<Instant> = None;
    loop {
        let left = match pass(hand, before, &mut deleted).await {
            Ok(left) => left,
            Err(ChaosError::Aws(error)) => vec![error.to_string()],
            Err(other) => return Err(other),
        };
        if left.is_empty() {
            let since = *clean_since.get_or_insert_with(Instant::now);
            if deleted.len() >= vpcs.len() || since.elapsed() > hand.pace.patience(LAG) {
                return Ok(());
            }
        } else {
            clean_since = None;
            if Instant::now() >= deadline {
                return Err(ChaosError::StillThere {
                    fault: hand.fault.clone(),
                    left: format!("{}; {}", left.join(", "), by_hand(hand.region, before)),
                });
            }
        }
        tokio::time::sleep(hand.pace.patience(LOOK_AGAIN)).await;
    }
}

/// One look at everything, doing what is left to do; answers what could not be done yet.
async fn pass<C: Cloud>(
    hand: &Hand<'_, C>,
    before: &NetworkBefore,
    deleted: &mut BTreeSet<String>,
) -> Result<Vec<String>, ChaosError> {
    let acls = acls(hand, before).await?;
    let mut left = Vec::new();
    for subnet in &before.subnets {
        let Some((acl, association)) = current(&acls, &subnet.subnet) else {
            left.push(format!("{} shows no network ACL", subnet.subnet));
            continue;
        };
        // Somebody else's ACL is somebody else's decision: only what is ours is put back.
        if !is_ours(acl, before, hand) || deleted.contains(&acl.id) {
            continue;
        }
        let detail = format!("{}: {} -> {}", subnet.subnet, acl.id, subnet.network_acl);
        let answer = hand
            .cloud
            .replace_association(hand.region, association, &subnet.network_acl)
            .await;
        match hand.called("ec2:ReplaceNetworkAclAssociation", &detail, answer) {
            Ok(_) => {}
            Err(ChaosError::Aws(error)) => left.push(format!("{}: {}", subnet.subnet, error.brief())),
            Err(other) => return Err(other),
        }
    }
    if !left.is_empty() {
        return Ok(left);
    }
    // Those that are known to have been created are deleted even when an old answer does not show them.
    let shown = acls
        .iter()
        .filter(|acl| is_ours(acl, before, hand))
        .map(|acl| acl.id.clone());
    let ours: BTreeSet<String> = shown.chain(hand.created_ids()).collect();
    for acl in &ours - &*deleted {
        let answer = hand.cloud.delete_acl(hand.region, &acl).await;
        match hand.called("ec2:DeleteNetworkAcl", &acl, answer) {
            Err(ChaosError::Aws(error)) if !is_gone(&error) => left.push(format!("{acl}: {}", error.brief())),
            Ok(()) | Err(ChaosError::Aws(_)) => {
                deleted.insert(acl);
            }
            Err(other) => return Err(other),
        }
    }
    Ok(left)
}

async fn acls<C: Cloud>(hand: &Hand<'_, C>, before: &NetworkBefore) -> Result<Vec<NetworkAcl>, ChaosError> {
    let vpcs: BTreeSet<&str> = before.subnets.iter().map(|subnet| subnet.vpc.as_str()).collect();
    let mut acls = Vec::new();
    for vpc in vpcs {
        acls.extend(hand.cloud.network_acls(hand.region, vpc).await?);
    }
    Ok(acls)
}

fn current<'a>(acls: &'a [NetworkAcl], subnet: &str) -> Option<(&'a NetworkAcl, &'a str)> {
    acls.iter().find_map(|acl| {
        let association = acl
            .associations
            .iter()
            .find(|association| association.subnet == subnet)?;
        Some((acl, association.id.as_str()))
    })
}

fn is_ours<C: Cloud>(acl: &NetworkAcl, before: &NetworkBefore, hand: &Hand<'_, C>) -> bool {
    acl.tags.get(TAG_RUN) == Some(&before.run) && acl.tags.get(TAG_FAULT) == Some(&hand.fault.to_string())
}

fn is_gone(error: &AwsError) -> bool {
    error.kind == ErrorKind::NotFound
}

/// A token that is the same for every attempt of one creation, and for no other.
fn token(run: &str, index: usize, fault: &str) -> String {
    let text = format!("{run}-{index}-{fault}");
    text.chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' })
        .take(TOKEN_MAX)
        .collect()
}

/// The commands that undo it without us.
pub(super) fn by_hand(region: &str, before: &NetworkBefore) -> String {
    let subnets: Vec<String> = before
        .subnets
        .iter()
        .map(|subnet| format!("{} under {}", subnet.subnet, subnet.network_acl))
        .collect();
    format!(
        "to undo it by hand in {region}: put {} with `aws ec2 replace-network-acl-association`, then delete the network \
         ACL tagged {TAG_RUN}={}",
        subnets.join(", "),
        before.run
    )
}
