//! Network ACLs: associations, rules, and their effect on a subnet a few seconds after the call.
//! A subnet either passes packets or is silent: rules are judged for the users' address and TCP, so an ACL that
//! denies only some peers or ports acts on all of a subnet's traffic or on none.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::{pause, region_mut};
use crate::lab::Lab;
use crate::lab::error::AwsError;
use crate::lab::world::{NetworkAcl, NetworkAclEntry, Region, Tags};

/// The rule number AWS shows as `*`.
pub const FINAL_RULE: i32 = 32767;
/// Whom the rules are judged for: the users, who come from here.
const USERS: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// ReplaceNetworkAclAssociation; answers the new association id.
pub fn replace_association(lab: &Arc<Lab>, region: &str, association: &str, acl: &str) -> Result<String, AwsError> {
    let new = lab.new_id("aclassoc-");
    {
        let mut world = lab.world();
        let state = region_mut(&mut world, region)?;
        known(state, acl)?;
        let subnet = state
            .subnets
            .values_mut()
            .find(|s| s.acl_association_id == association)
            .ok_or_else(|| {
                let message = format!("The association ID '{association}' does not exist");
                AwsError::bad_request("InvalidAssociationID.NotFound", message)
            })?;
        subnet.acl_association_id.clone_from(&new);
        subnet.network_acl_id = acl.to_owned();
    }
    take_effect(lab, region);
    Ok(new)
}

/// CreateNetworkAcl: a new ACL denies everything. The same client token creates it only once.
pub fn create_acl(
    lab: &Arc<Lab>,
    region: &str,
    vpc_id: &str,
    tags: Tags,
    token: Option<&str>,
) -> Result<NetworkAcl, AwsError> {
    let id = lab.new_id("acl-");
    let mut world = lab.world();
    let state = region_mut(&mut world, region)?;
    if state.vpc_id != vpc_id {
        let message = format!("The vpc ID '{vpc_id}' does not exist");
        return Err(AwsError::bad_request("InvalidVpcID.NotFound", message));
    }
    if let Some(known) = token.and_then(|token| state.acl_tokens.get(token))
        && let Some(acl) = state.network_acls.get(known)
    {
        return Ok(acl.clone());
    }
    if let Some(token) = token {
        state.acl_tokens.insert(token.to_owned(), id.clone());
    }
    let acl = NetworkAcl {
        id: id.clone(),
        is_default: false,
        entries: final_denies(),
        tags,
    };
    state.network_acls.insert(id, acl.clone());
    Ok(acl)
}

/// DeleteNetworkAcl; refused for the default ACL and while a subnet uses it.
pub fn delete_acl(lab: &Arc<Lab>, region: &str, acl: &str) -> Result<(), AwsError> {
    let mut world = lab.world();
    let state = region_mut(&mut world, region)?;
    if known(state, acl)?.is_default {
        let message = format!("cannot delete default network ACL {acl}");
        return Err(AwsError::bad_request("InvalidParameterValue", message));
    }
    if state.subnets.values().any(|s| s.network_acl_id == acl) {
        let message = format!("The networkAcl '{acl}' has dependencies and cannot be deleted.");
        return Err(AwsError::bad_request("DependencyViolation", message));
    }
    state.network_acls.remove(acl);
    Ok(())
}

/// CreateNetworkAclEntry; with `replace`, ReplaceNetworkAclEntry.
pub fn create_entry(
    lab: &Arc<Lab>,
    region: &str,
    acl: &str,
    entry: NetworkAclEntry,
    replace: bool,
) -> Result<(), AwsError> {
    if !(1..FINAL_RULE).contains(&entry.rule_number) {
        let message = format!("Invalid value '{}' for ruleNumber", entry.rule_number);
        return Err(AwsError::bad_request("InvalidParameterValue", message));
    }
    if parse_cidr(&entry.cidr_block).is_none() {
        let message = format!("Value ({}) for parameter cidrBlock is invalid.", entry.cidr_block);
        return Err(AwsError::bad_request("InvalidParameterValue", message));
    }
    {
        let mut world = lab.world();
        let entries = &mut known_mut(region_mut(&mut world, region)?, acl)?.entries;
        let same = |e: &NetworkAclEntry| e.rule_number == entry.rule_number && e.egress == entry.egress;
        let exists = entries.iter().any(same);
        if exists && !replace {
            let message = format!(
                "The network acl entry identified by {} already exists.",
                entry.rule_number
            );
            return Err(AwsError::bad_request("NetworkAclEntryAlreadyExists", message));
        }
        if !exists && replace {
            return Err(no_entry(entry.rule_number));
        }
        entries.retain(|e| !same(e));
        entries.push(entry);
        entries.sort_by_key(|e| (e.egress, e.rule_number));
    }
    take_effect(lab, region);
    Ok(())
}

/// DeleteNetworkAclEntry.
pub fn delete_entry(lab: &Arc<Lab>, region: &str, acl: &str, rule_number: i32, egress: bool) -> Result<(), AwsError> {
    {
        let mut world = lab.world();
        let entries = &mut known_mut(region_mut(&mut world, region)?, acl)?.entries;
        let before = entries.len();
        entries.retain(|e| e.rule_number == FINAL_RULE || e.rule_number != rule_number || e.egress != egress);
        if entries.len() == before {
            return Err(no_entry(rule_number));
        }
    }
    take_effect(lab, region);
    Ok(())
}

/// The two rules that end every network ACL.
#[must_use]
pub fn final_denies() -> Vec<NetworkAclEntry> {
    [false, true]
        .map(|egress| NetworkAclEntry {
            rule_number: FINAL_RULE,
            protocol: "-1".to_owned(),
            allow: false,
            egress,
            cidr_block: "0.0.0.0/0".to_owned(),
        })
        .to_vec()
}

/// Whether an ACL with these rules lets the users through in both directions; ACLs are stateless.
#[must_use]
pub fn passes(entries: &[NetworkAclEntry]) -> bool {
    [false, true].into_iter().all(|egress| {
        entries
            .iter()
            .filter(|e| e.egress == egress && matches!(e.protocol.as_str(), "-1" | "6" | "tcp"))
            .filter(|e| parse_cidr(&e.cidr_block).is_some_and(|(network, bits)| contains(network, bits, USERS)))
            .min_by_key(|e| e.rule_number)
            .is_some_and(|e| e.allow)
    })
}

/// Some seconds from now, every subnet of the Region goes silent or speaks, as the rules of that moment say.
fn take_effect(lab: &Arc<Lab>, region: &str) {
    let (lab, region) = (lab.clone(), region.to_owned());
    tokio::spawn(async move {
        pause(&lab, lab.config.network_acl.effect).await;
        let changed: Vec<(String, bool)> = {
            let world = lab.world();
            let Some(state) = world.regions.get(&region) else {
                return;
            };
            let silent = |acl: &str| state.network_acls.get(acl).is_some_and(|a| !passes(&a.entries));
            let subnets = state
                .subnets
                .values()
                .map(|s| (s.id.clone(), s.silent, silent(&s.network_acl_id)));
            subnets
                .filter(|(_, now, then)| now != then)
                .map(|(id, _, then)| (id, then))
                .collect()
        };
        for (subnet, silent) in changed {
            lab.data.set_silent(&lab, &subnet, silent);
        }
    });
}

fn known<'r>(region: &'r Region, acl: &str) -> Result<&'r NetworkAcl, AwsError> {
    region.network_acls.get(acl).ok_or_else(|| no_acl(acl))
}

fn known_mut<'r>(region: &'r mut Region, acl: &str) -> Result<&'r mut NetworkAcl, AwsError> {
    region.network_acls.get_mut(acl).ok_or_else(|| no_acl(acl))
}

fn no_acl(acl: &str) -> AwsError {
    AwsError::bad_request(
        "InvalidNetworkAclID.NotFound",
        format!("The networkAcl ID '{acl}' does not exist"),
    )
}

fn no_entry(rule_number: i32) -> AwsError {
    let message = format!("The network acl entry identified by rule number {rule_number} does not exist");
    AwsError::bad_request("InvalidNetworkAclEntry.NotFound", message)
}

fn parse_cidr(text: &str) -> Option<(Ipv4Addr, u32)> {
    let (network, bits) = text.split_once('/')?;
    let bits = bits.parse().ok().filter(|bits| *bits <= 32)?;
    Some((network.parse().ok()?, bits))
}

fn contains(network: Ipv4Addr, bits: u32, address: Ipv4Addr) -> bool {
    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
    u32::from(network) & mask == u32::from(address) & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(rule_number: i32, allow: bool, egress: bool, cidr: &str, protocol: &str) -> NetworkAclEntry {
        NetworkAclEntry {
            rule_number,
            protocol: protocol.into(),
            allow,
            egress,
            cidr_block: cidr.into(),
        }
    }

    #[test]
    fn rules_are_judged_by_number_first_match_then_deny() {
        let with = |rules: &[NetworkAclEntry]| [final_denies(), rules.to_vec()].concat();
        let all = "0.0.0.0/0";
        assert!(!passes(&[]), "no rule is no passage");
        assert!(!passes(&with(&[])), "a new ACL denies everything");
        assert!(passes(&with(&[
            rule(100, true, false, all, "-1"),
            rule(100, true, true, all, "-1")
        ])));
        assert!(
            !passes(&with(&[rule(100, true, false, all, "-1")])),
            "answers must get out too"
        );
        let shadowed = [
            rule(100, true, false, all, "-1"),
            rule(100, true, true, all, "-1"),
            rule(90, false, true, all, "6"),
        ];
        assert!(!passes(&with(&shadowed)), "the lower number wins");
        let elsewhere = [
            rule(100, true, false, all, "-1"),
            rule(100, true, true, all, "-1"),
            rule(1, false, false, "10.0.0.0/8", "-1"),
        ];
        assert!(passes(&with(&elsewhere)), "a rule for others does not match");
        let udp = [
            rule(100, true, false, all, "-1"),
            rule(100, true, true, all, "-1"),
            rule(1, false, false, all, "17"),
        ];
        assert!(passes(&with(&udp)), "a rule for UDP does not match TCP");
    }

    #[test]
    fn blocks_contain_what_their_prefix_says() {
        assert!(contains(Ipv4Addr::UNSPECIFIED, 0, USERS));
        assert!(contains(Ipv4Addr::new(127, 0, 0, 0), 8, USERS));
        assert!(contains(USERS, 32, USERS) && !contains(Ipv4Addr::new(127, 0, 0, 2), 32, USERS));
        for bad in ["", "1.2.3.4", "1.2.3.4/33", "1.2.3/8", "a/8"] {
            assert_eq!(parse_cidr(bad), None, "{bad:?}");
        }
    }
}
