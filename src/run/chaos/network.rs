//! `network.deny_region` and `network.deny_az`: every subnet of a VPC, or of one AZ of it, goes under an empty network ACL, which denies everything, and back.
//! The association's id changes with every replacement, so the revert looks it up and trusts no id it remembers.

use std::collections::{BTreeMap, BTreeSet};

use super::ChaosError;
use super::injection::{Context, Pass};
use super::journal::{Before, NetworkBefore, SubnetBefore, timestamp};
use super::runner::{Hand, Sight};
use super::{ec2, guard};
use crate::aws::{AwsError, ErrorKind, NetworkAcl, Tags};
use crate::plan::Role;

/// Tags of what a run creates; a person who finds one knows whose it is and since when it may be deleted.
const TAG_RUN: &str = "tenfold:run";
const TAG_FAULT: &str = "tenfold:fault";
const TAG_EXPIRES: &str = "tenfold:expires";
/// Longest client token that EC2 takes.
const TOKEN_MAX: usize = 64;

/// Finds the subnets, those of one AZ where one is named, and the ACLs they are under.
pub(super) async fn prepare(
    sight: &Sight<'_>,
    context: &Context<'_>,
    role: &str,
    az: Option<&str>,
) -> Result<Before, ChaosError> {
    let allow = context.target.allow.as_ref();
    let own = own_subnet(sight, context).await?;
    let mut others = 0;
    let mut subnets = Vec::new();
    for vpc in vpcs(sight, &context.target.roles, role).await? {
        let acls = sight.reader.network_acls(sight.region, &vpc).await?;
        for subnet in sight.reader.subnets_of(sight.region, &vpc).await? {
            if az.is_some_and(|az| az != subnet.az) {
                others += usize::from(!is_cut(&acls, &subnet.id));
                continue;
            }
            guard::tagged(allow, &subnet.id, &subnet.tags).map_err(ChaosError::Refused)?;
            guard::not_own_subnet(own.as_deref(), &subnet.id).map_err(ChaosError::Refused)?;
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
            sight.region
        )));
    }
    enough_elsewhere(sight, context, az).await?;
    let before = NetworkBefore {
        run: context.run.to_owned(),
        subnets,
    };
    match az {
        None => Ok(Before::NetworkDenyRegion(before)),
        Some(_) if others > 0 => Ok(Before::NetworkDenyAz(before)),
        Some(az) => Err(ChaosError::Refused(format!(
            "{az} is the last AZ in {} that is not cut off",
            sight.region
        ))),
    }
}

/// The subnet that this run itself is in, as far as that is known.
async fn own_subnet(sight: &Sight<'_>, context: &Context<'_>) -> Result<Option<String>, ChaosError> {
    let runner = &context.target.runner;
    match (&runner.subnet, &runner.instance) {
        (None, Some(id)) => {
            let own = ec2::described(sight, std::slice::from_ref(id)).await?;
            Ok(own.into_iter().find_map(|instance| instance.subnet))
        }
        (subnet, _) => Ok(subnet.clone()),
    }
}

/// Every group of the target that is hit serves enough elsewhere: in other AZs, or in another Region.
async fn enough_elsewhere(sight: &Sight<'_>, context: &Context<'_>, az: Option<&str>) -> Result<(), ChaosError> {
    let target = context.target;
    for role in target.roles.values() {
        let Role::AutoScalingGroup(name) = role else { continue };
        let here = |region: &str| region == sight.region;
        let mut refusal = None;
        for region in target.regions.iter().filter(|region| here(region) == az.is_some()) {
            let there = Sight { region, ..*sight };
            let Some(group) = there.reader.group(region, name).await? else {
                continue;
            };
            let facts = ec2::facts(&there, group).await?;
            if az.is_some() {
                facts.sound().map_err(ChaosError::Degraded)?;
            }
            match facts.enough_without(target.allow.as_ref(), |member| az == Some(member.az.as_str())) {
                Ok(()) => {
                    refusal = None;
                    break;
                }
                Err(why) => refusal = Some(format!("{why}; in {region}")),
            }
        }
        if let Some(why) = refusal {
            return Err(ChaosError::Refused(why));
        }
    }
    Ok(())
}

/// Whether a subnet is under an ACL of a run already.
fn is_cut(acls: &[NetworkAcl], subnet: &str) -> bool {
    current(acls, subnet).is_some_and(|(acl, _)| acl.tags.contains_key(TAG_RUN))
}

/// The VPCs of the role's group, or of every group of the target where the role is none.
async fn vpcs(sight: &Sight<'_>, roles: &BTreeMap<String, Role>, role: &str) -> Result<BTreeSet<String>, ChaosError> {
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
        if let Some(group) = sight.reader.group(sight.region, &name).await? {
            let subnets = sight.reader.subnets(sight.region, &group.subnets).await?;
            vpcs.extend(subnets.into_iter().map(|subnet| subnet.vpc));
        }
    }
    Ok(vpcs)
}

/// Creates one ACL per VPC and puts every subnet under it. `expires` is cloud time.
pub(super) async fn act(hand: &Hand<'_>, before: &NetworkBefore, expires: f64) -> Result<(), ChaosError> {
    let tags = Tags::from([
        ("Name".to_owned(), format!("tenfold {}", hand.fault)),
        (TAG_RUN.to_owned(), before.run.clone()),
        (TAG_FAULT.to_owned(), hand.fault.to_string()),
        (TAG_EXPIRES.to_owned(), timestamp(expires)),
    ]);
    let vpcs: BTreeSet<&str> = before.subnets.iter().map(|subnet| subnet.vpc.as_str()).collect();
    for (index, vpc) in vpcs.into_iter().enumerate() {
        let token = token(&before.run, index, &hand.fault.to_string());
        let answer = hand.cloud.create_network_acl(hand.region, vpc, &tags, &token).await;
        let acl = hand.called("ec2:CreateNetworkAcl", vpc, answer)?;
        hand.created(&acl)?;
        for subnet in before.subnets.iter().filter(|subnet| subnet.vpc == vpc) {
            if hand.is_ending() {
                return Err(ChaosError::Ending);
            }
            let detail = format!("{}: {} -> {acl}", subnet.subnet, subnet.network_acl);
            let answer = hand
                .cloud
                .replace_network_acl_association(hand.region, &subnet.association, &acl)
                .await;
            hand.called("ec2:ReplaceNetworkAclAssociation", &detail, answer)?;
        }
    }
    Ok(())
}

/// Looks whether every subnet is under an ACL of ours.
pub(super) async fn observe(hand: &Hand<'_>, before: &NetworkBefore) -> Result<Option<String>, ChaosError> {
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

/// Puts every subnet that is still under our ACL back and deletes our ACLs. The proof that nothing is left is that the
/// ACLs could be deleted, which AWS refuses while a subnet is under them; `deleted` holds those of earlier passes.
pub(super) async fn undo(
    hand: &Hand<'_>,
    before: &NetworkBefore,
    deleted: &mut BTreeSet<String>,
) -> Result<Pass, ChaosError> {
    let acls = acls(hand, before).await?;
    let mut pass = Pass::default();
    for subnet in &before.subnets {
        let Some((acl, association)) = current(&acls, &subnet.subnet) else {
            pass.left.push(format!("{} shows no network ACL", subnet.subnet));
            continue;
        };
        if acl.id == subnet.network_acl || deleted.contains(&acl.id) {
            continue;
        }
        // Somebody else's ACL is somebody else's decision: only what is ours is put back.
        if !is_ours(acl, before, hand) {
            let (subnet, was) = (&subnet.subnet, &subnet.network_acl);
            pass.foreign
                .push(format!("{subnet} is under {}, and was under {was}", acl.id));
            continue;
        }
        let detail = format!("{}: {} -> {}", subnet.subnet, acl.id, subnet.network_acl);
        let answer = hand
            .cloud
            .replace_network_acl_association(hand.region, association, &subnet.network_acl)
            .await;
        match hand.called("ec2:ReplaceNetworkAclAssociation", &detail, answer) {
            Ok(_) => {}
            Err(ChaosError::Aws(error)) => pass.left.push(format!("{}: {}", subnet.subnet, error.brief())),
            Err(other) => return Err(other),
        }
    }
    if !pass.left.is_empty() {
        return Ok(pass);
    }
    // Those that are known to have been created are deleted even when an old answer does not show them.
    let shown = acls
        .iter()
        .filter(|acl| is_ours(acl, before, hand))
        .map(|acl| acl.id.clone());
    let ours: BTreeSet<String> = shown.chain(hand.created_ids()).collect();
    for acl in &ours - &*deleted {
        let answer = hand.cloud.delete_network_acl(hand.region, &acl).await;
        match hand.called("ec2:DeleteNetworkAcl", &acl, answer) {
            Err(ChaosError::Aws(error)) if !is_gone(&error) => pass.left.push(format!("{acl}: {}", error.brief())),
            Ok(()) | Err(ChaosError::Aws(_)) => {
                deleted.insert(acl);
            }
            Err(other) => return Err(other),
        }
    }
    let vpcs: BTreeSet<&str> = before.subnets.iter().map(|subnet| subnet.vpc.as_str()).collect();
    pass.proven = deleted.len() >= vpcs.len();
    Ok(pass)
}

async fn acls(hand: &Hand<'_>, before: &NetworkBefore) -> Result<Vec<NetworkAcl>, ChaosError> {
    let vpcs: BTreeSet<&str> = before.subnets.iter().map(|subnet| subnet.vpc.as_str()).collect();
    let mut acls = Vec::new();
    for vpc in vpcs {
        acls.extend(hand.cloud.reader().network_acls(hand.region, vpc).await?);
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

fn is_ours(acl: &NetworkAcl, before: &NetworkBefore, hand: &Hand<'_>) -> bool {
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
pub(super) fn by_hand(before: &NetworkBefore) -> String {
    let subnets: Vec<String> = before
        .subnets
        .iter()
        .map(|subnet| format!("{} under {}", subnet.subnet, subnet.network_acl))
        .collect();
    format!(
        "put {} with `aws ec2 replace-network-acl-association`, then delete the network ACL tagged {TAG_RUN}={}",
        subnets.join(", "),
        before.run
    )
}
