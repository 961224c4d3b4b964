//! `network.deny_region` and `network.deny_az`: every subnet of a VPC, or of one AZ of it, goes under an empty network ACL, which denies everything, and back.
//! `network.cross_region`: from which subnets AWS FIS is to let another Region not be reached.
//! The association's id changes with every replacement, so the revert looks it up and trusts no id it remembers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::ChaosError;
use super::before::{Before, NetworkBefore, SubnetBefore};
use super::injection::{Context, Foreign, Pass};
use super::journal::{timestamp, unix_of};
use super::runner::{Hand, Sight};
use super::scan::{Leftover, Scan};
use super::undo::{LAG, LOOK_AGAIN};
use super::{ec2, guard};
use crate::aws::{AwsError, ErrorKind, NetworkAcl, Reader, Tags};
use crate::event::FaultId;
use crate::plan::Role;

/// Tags of what a run creates; a person who finds one knows whose it is and since when it may be deleted.
pub(super) const TAG_RUN: &str = "tenfold:run";
pub(super) const TAG_FAULT: &str = "tenfold:fault";
pub(super) const TAG_EXPIRES: &str = "tenfold:expires";
/// Followed by a subnet: the ACL that it was under.
pub(super) const TAG_BEFORE: &str = "tenfold:before:";
/// Most subnets of one ACL: AWS takes 50 tags of a resource, and each subnet has one, beside those above and `Name`.
const SUBNETS_MAX: usize = 46;
/// The code of a call that names an ACL which AWS does not know, or not yet.
const ACL_UNKNOWN: &str = "InvalidNetworkAclID.NotFound";
/// How long a new ACL may be unknown to some of AWS, cloud time.
const KNOWN_WITHIN: Duration = Duration::from_secs(20);
/// Tag of what AWS FIS creates.
const TAG_FIS: &str = "managedByFIS";
/// Longest client token that EC2 takes.
const TOKEN_MAX: usize = 64;

/// Finds the subnets, those of one AZ where one is named, and the ACLs they are under.
pub(super) async fn prepare(
    sight: &Sight<'_>,
    context: &Context<'_>,
    role: &str,
    az: Option<&str>,
) -> Result<Before, ChaosError> {
    let before = subnets(sight, context, role, az).await?;
    Ok(match az {
        None => Before::NetworkDenyRegion(before),
        Some(_) => Before::NetworkDenyAz(before),
    })
}

/// Finds the subnets from which `to` is not to be reached.
pub(super) async fn prepare_cross_region(
    sight: &Sight<'_>,
    context: &Context<'_>,
    role: &str,
    to: &str,
) -> Result<Before, ChaosError> {
    let before = subnets(sight, context, role, None).await?;
    Ok(Before::NetworkCrossRegion {
        subnets: before.subnets.into_iter().map(|subnet| subnet.subnet).collect(),
        to: to.to_owned(),
    })
}

/// The subnets that a fault hits, all or those of one AZ, with the ACLs they are under, once it is sure that each may be
/// hit.
async fn subnets(
    sight: &Sight<'_>,
    context: &Context<'_>,
    role: &str,
    az: Option<&str>,
) -> Result<NetworkBefore, ChaosError> {
    let own = own_subnet(sight, context).await?;
    let cut = context.own.cut_subnets(sight.region);
    let (mut others, mut by): (usize, Vec<&FaultId>) = (0, Vec::new());
    let mut subnets = Vec::new();
    for vpc in vpcs(sight, &context.target.roles, role).await? {
        let acls = sight.reader.network_acls(sight.region, &vpc).await?;
        for subnet in sight.reader.subnets_of(sight.region, &vpc).await? {
            if az.is_some_and(|az| az != subnet.az) {
                // An ACL of this run may not be shown yet.
                let ours = cut.get(&subnet.id);
                by.extend(ours);
                others += usize::from(ours.is_none() && !is_cut(&acls, &subnet.id));
                continue;
            }
            if let Some(by) = cut.get(&subnet.id) {
                let why = format!("{} is already cut off by {by} of this run", subnet.id);
                return Err(ChaosError::Refused(why));
            }
            context.may_touch(&subnet.id, &subnet.tags)?;
            guard::not_own_subnet(own.as_deref(), &subnet.id).map_err(ChaosError::Refused)?;
            let (acl, association) = current(&acls, &subnet.id).ok_or_else(|| {
                ChaosError::Refused(format!("no network ACL shows an association with {}", subnet.id))
            })?;
            if let Some(who) = cut_by(acl) {
                let why = format!("{} is already cut off by {who} ({})", subnet.id, acl.id);
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
    if let Some(az) = az.filter(|_| others == 0) {
        return Err(ChaosError::Refused(format!(
            "{az} is the last AZ in {} that is not cut off{}",
            sight.region,
            guard::already(by)
        )));
    }
    enough_elsewhere(sight, context, az).await?;
    let before = NetworkBefore {
        run: context.run.to_owned(),
        subnets,
    };
    Ok(before)
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
            let facts = ec2::facts(&there, context, group).await?;
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

/// Whether a subnet is under an ACL of a run, or of AWS FIS, already.
fn is_cut(acls: &[NetworkAcl], subnet: &str) -> bool {
    current(acls, subnet).is_some_and(|(acl, _)| cut_by(acl).is_some())
}

/// Who has put this ACL over subnets to cut them off.
fn cut_by(acl: &NetworkAcl) -> Option<String> {
    let run = acl.tags.get(TAG_RUN).map(|run| format!("run {run}"));
    run.or_else(|| is_of_fis(acl).then(|| "AWS FIS".to_owned()))
}

fn is_of_fis(acl: &NetworkAcl) -> bool {
    acl.tags.get(TAG_FIS).is_some_and(|value| value == "true")
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

/// The subnets of one ACL each, with their VPC.
fn parts(before: &NetworkBefore) -> Vec<(&str, Vec<&SubnetBefore>)> {
    let mut vpcs: BTreeMap<&str, Vec<&SubnetBefore>> = BTreeMap::new();
    for subnet in &before.subnets {
        vpcs.entry(&subnet.vpc).or_default().push(subnet);
    }
    let parts = vpcs.into_iter().flat_map(|(vpc, subnets)| {
        let parts: Vec<_> = subnets.chunks(SUBNETS_MAX).map(|part| (vpc, part.to_vec())).collect();
        parts
    });
    parts.collect()
}

/// What an ACL says of itself from its creation on: enough to undo it when the journal is lost.
fn tags(hand: &Hand<'_>, run: &str, subnets: &[&SubnetBefore], expires: f64) -> Tags {
    let ours = [
        ("Name".to_owned(), format!("tenfold {}", hand.fault)),
        (TAG_RUN.to_owned(), run.to_owned()),
        (TAG_FAULT.to_owned(), hand.fault.to_string()),
        (TAG_EXPIRES.to_owned(), timestamp(expires)),
    ];
    let before = subnets
        .iter()
        .map(|subnet| (format!("{TAG_BEFORE}{}", subnet.subnet), subnet.network_acl.clone()));
    ours.into_iter().chain(before).collect()
}

/// Creates one ACL per VPC, or more where there are many subnets, and puts every subnet under it. `expires` is cloud
/// time.
pub(super) async fn act(hand: &Hand<'_>, before: &NetworkBefore, expires: f64) -> Result<(), ChaosError> {
    for (index, (vpc, subnets)) in parts(before).into_iter().enumerate() {
        let token = token(&before.run, index, &hand.fault.to_string());
        let tags = tags(hand, &before.run, &subnets, expires);
        let answer = hand.cloud.create_network_acl(hand.region, vpc, &tags, &token).await;
        let acl = hand.called("ec2:CreateNetworkAcl", vpc, answer)?;
        hand.created(&acl)?;
        for subnet in subnets {
            if hand.is_ending() {
                return Err(ChaosError::Ending);
            }
            put_under(hand, subnet, &acl).await?;
        }
    }
    Ok(())
}

/// Puts one subnet under an ACL that was created a moment ago.
async fn put_under(hand: &Hand<'_>, subnet: &SubnetBefore, acl: &str) -> Result<(), ChaosError> {
    let detail = format!("{}: {} -> {acl}", subnet.subnet, subnet.network_acl);
    let deadline = Instant::now() + hand.pace.patience(KNOWN_WITHIN);
    loop {
        let answer = hand
            .cloud
            .replace_network_acl_association(hand.region, &subnet.association, acl)
            .await;
        match hand.called("ec2:ReplaceNetworkAclAssociation", &detail, answer) {
            // What was created is not known everywhere at once.
            Err(ChaosError::Aws(error)) if error.code == ACL_UNKNOWN && Instant::now() < deadline => {}
            // An attempt without an answer had its effect, and the next one found the association gone.
            Err(ChaosError::Aws(error)) if is_gone(&error) && is_under(hand, subnet, acl).await => return Ok(()),
            other => return other.map(|_| ()),
        }
        tokio::time::sleep(hand.pace.patience(LOOK_AGAIN)).await;
    }
}

/// Whether a subnet is seen under an ACL within the time that Describe calls may lag.
async fn is_under(hand: &Hand<'_>, subnet: &SubnetBefore, acl: &str) -> bool {
    let deadline = Instant::now() + hand.pace.patience(LAG);
    loop {
        // An answer that does not come is one that shows nothing.
        let acls = hand.cloud.reader().network_acls(hand.region, &subnet.vpc).await;
        let acls = acls.unwrap_or_default();
        if current(&acls, &subnet.subnet).is_some_and(|(found, _)| found.id == acl) {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(hand.pace.patience(LOOK_AGAIN)).await;
    }
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

/// Looks whether every subnet is under an ACL of AWS FIS.
pub(super) async fn observe_by_fis(hand: &Hand<'_>, before: &NetworkBefore) -> Result<Option<String>, ChaosError> {
    let acls = acls(hand, before).await?;
    let under = |one: &SubnetBefore| current(&acls, &one.subnet).is_some_and(|(acl, _)| is_of_fis(acl));
    let (cut, all) = (
        before.subnets.iter().filter(|one| under(one)).count(),
        before.subnets.len(),
    );
    Ok(
        (cut == all)
            .then(|| format!("{cut} of {all} subnets are under network ACLs of AWS FIS, which deny everything")),
    )
}

/// The first subnet that somebody has put under another ACL than the one that cuts it off, of ours or of AWS FIS.
pub(super) async fn no_longer_cut(
    hand: &Hand<'_>,
    before: &NetworkBefore,
    by_fis: bool,
) -> Result<Option<String>, ChaosError> {
    let acls = acls(hand, before).await?;
    let cuts = |acl: &NetworkAcl| {
        if by_fis {
            is_of_fis(acl)
        } else {
            is_ours(acl, before, hand)
        }
    };
    let mut others = before.subnets.iter().filter_map(|one| {
        let (acl, _) = current(&acls, &one.subnet).filter(|(acl, _)| !cuts(acl))?;
        Some(format!("{} is under {}", one.subnet, acl.id))
    });
    Ok(others.next())
}

/// After AWS FIS has ended: what it has not put back is. Its ACLs are its own business.
pub(super) async fn put_back(hand: &Hand<'_>, before: &NetworkBefore) -> Result<Pass, ChaosError> {
    let acls = acls(hand, before).await?;
    let mut pass = Pass::default();
    for subnet in &before.subnets {
        match current(&acls, &subnet.subnet) {
            None => pass.left.push(format!("{} shows no network ACL", subnet.subnet)),
            Some((acl, _)) if acl.id == subnet.network_acl => {}
            Some((acl, association)) if is_of_fis(acl) => {
                let detail = format!("{}: {} -> {}", subnet.subnet, acl.id, subnet.network_acl);
                let answer = hand
                    .cloud
                    .replace_network_acl_association(hand.region, association, &subnet.network_acl)
                    .await;
                let answer = hand.called("ec2:ReplaceNetworkAclAssociation", &detail, answer);
                pass.left_after(&format!("{} is under {}", subnet.subnet, acl.id), answer)?;
            }
            Some((acl, association)) => pass.foreign.push(moved(hand, subnet, acl, association)),
        }
    }
    Ok(pass)
}

/// A subnet that somebody else has put under an ACL of theirs.
fn moved(hand: &Hand<'_>, subnet: &SubnetBefore, acl: &NetworkAcl, association: &str) -> Foreign {
    let (was, region) = (&subnet.network_acl, hand.region);
    Foreign {
        found: format!("{} is under {}, and was under {was}", subnet.subnet, acl.id),
        by_hand: format!(
            "`aws ec2 replace-network-acl-association --region {region} --association-id {association} --network-acl-id {was}`"
        ),
    }
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
            pass.foreign.push(moved(hand, subnet, acl, association));
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
            Ok(()) => {
                deleted.insert(acl);
            }
            // Gone, or not known everywhere yet: no proof, so it is looked for again.
            Err(ChaosError::Aws(_)) => {}
            Err(other) => return Err(other),
        }
    }
    pass.proven = deleted.len() >= parts(before).len();
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

/// What runs left in a Region, by the tags of their ACLs.
pub(super) async fn left_in(reader: &Reader, region: &str, scan: &mut Scan) -> Result<(), AwsError> {
    type Found = (Option<f64>, NetworkBefore, Vec<String>);
    let mut found: BTreeMap<(String, String), Found> = BTreeMap::new();
    for acl in reader.network_acls_tagged(region, TAG_RUN).await? {
        let run = acl.tags.get(TAG_RUN).cloned().unwrap_or_default();
        let fault = acl.tags.get(TAG_FAULT).cloned().unwrap_or_default();
        let (_, network, resources) = found.entry((run.clone(), fault)).or_insert_with(|| {
            let expires = acl.tags.get(TAG_EXPIRES).and_then(|text| unix_of(text));
            let subnets = Vec::new();
            (expires, NetworkBefore { run, subnets }, Vec::new())
        });
        network.subnets.extend(acl.tags.iter().filter_map(|(key, network_acl)| {
            Some(SubnetBefore {
                subnet: key.strip_prefix(TAG_BEFORE)?.to_owned(),
                vpc: acl.vpc.clone(),
                association: String::new(),
                network_acl: network_acl.clone(),
            })
        }));
        resources.push(acl.id);
    }
    for ((run, fault), (expires, network, resources)) in found {
        match FaultId::parse(&fault) {
            None => scan
                .strange
                .push(format!("{} of run {run} in {region}", resources.join(", "))),
            Some(fault) => scan.add(Leftover {
                region: region.to_owned(),
                run,
                fault,
                expires,
                resources,
                befores: vec![Before::NetworkDenyRegion(network)],
            }),
        }
    }
    Ok(())
}

fn is_gone(error: &AwsError) -> bool {
    error.kind == ErrorKind::NotFound
}

/// A token that is the same for every attempt of one creation, and for no other.
pub(super) fn token(run: &str, index: usize, fault: &str) -> String {
    let text = format!("{run}-{index}-{fault}");
    text.chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' })
        .take(TOKEN_MAX)
        .collect()
}

/// The commands that undo it without us.
pub(super) fn by_hand(before: &NetworkBefore, region: &str) -> String {
    let subnets: Vec<String> = before
        .subnets
        .iter()
        .map(|subnet| format!("{} under {}", subnet.subnet, subnet.network_acl))
        .collect();
    format!(
        "put {} with `aws ec2 replace-network-acl-association --region {region} --association-id ID --network-acl-id ACL` \
         (`aws ec2 describe-network-acls --region {region} --filters Name=tag:{TAG_RUN},Values={}` shows their IDs), then \
         delete that network ACL",
        subnets.join(", "),
        before.run
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_are_parted_by_vpc_and_by_what_tags_hold() {
        let subnet = |vpc: &str, index: usize| SubnetBefore {
            subnet: format!("subnet-{vpc}-{index}"),
            vpc: vpc.to_owned(),
            association: String::new(),
            network_acl: "acl-1".to_owned(),
        };
        let many = (0..100).map(|index| subnet("vpc-a", index));
        let before = NetworkBefore {
            run: "r1".to_owned(),
            subnets: many.chain([subnet("vpc-b", 0)]).collect(),
        };
        let sizes: Vec<(&str, usize)> = parts(&before).iter().map(|(vpc, part)| (*vpc, part.len())).collect();
        assert_eq!(sizes, [("vpc-a", 46), ("vpc-a", 46), ("vpc-a", 8), ("vpc-b", 1)]);
        assert!(
            parts(&before)
                .iter()
                .all(|(vpc, part)| part.iter().all(|one| one.vpc == *vpc))
        );
    }
}
