//! Subnets, the VPC and network ACLs.

use super::super::Call;
use super::super::value::{Value, fault, invalid, list, map};
use super::filter::Filters;
use super::{in_region, paged, specified_tags, tag_set};
use crate::lab::dynamics::network;
use crate::lab::error::AwsError;
use crate::lab::world::{NetworkAcl, NetworkAclEntry, Region, Subnet};

pub fn describe_subnets(call: &Call<'_>) -> Result<Value, AwsError> {
    let named = call.input.texts("SubnetId");
    let filters = Filters::of(&call.input)?;
    in_region(call, |region, account| {
        if let Some(unknown) = named.iter().find(|id| !region.subnets.contains_key(**id)) {
            return Err(fault(
                "InvalidSubnetID.NotFound",
                format!("The subnet ID '{unknown}' does not exist"),
            ));
        }
        let mut subnets = Vec::new();
        for subnet in region
            .subnets
            .values()
            .filter(|subnet| named.is_empty() || named.contains(&subnet.id.as_str()))
        {
            if filters.pass(&subnet.tags, |name| subnet_values(region, subnet, name))? {
                subnets.push(subnet);
            }
        }
        let (subnets, next) = paged(call, subnets, |subnet| subnet.id.clone())?;
        let shown = subnets.into_iter().map(|subnet| {
            map([
                ("subnetId", (&subnet.id).into()),
                (
                    "subnetArn",
                    format!("arn:aws:ec2:{}:{account}:subnet/{}", region.name, subnet.id).into(),
                ),
                ("state", "available".into()),
                ("ownerId", account.into()),
                ("vpcId", (&region.vpc_id).into()),
                ("cidrBlock", (&subnet.cidr).into()),
                ("availableIpAddressCount", 251.into()),
                ("availabilityZone", (&subnet.az).into()),
                ("availabilityZoneId", region.zone_id(subnet).into()),
                ("defaultForAz", false.into()),
                ("mapPublicIpOnLaunch", false.into()),
                ("tagSet", tag_set(&subnet.tags)),
            ])
        });
        Ok(map([("subnetSet", list("item", shown)), ("nextToken", next.into())]))
    })
}

fn subnet_values(region: &Region, subnet: &Subnet, name: &str) -> Option<Vec<String>> {
    Some(vec![match name {
        "subnet-id" => subnet.id.clone(),
        "vpc-id" => region.vpc_id.clone(),
        "availability-zone" | "availabilityZone" => subnet.az.clone(),
        "cidr-block" | "cidr" => subnet.cidr.clone(),
        "state" => "available".to_owned(),
        _ => return None,
    }])
}

pub fn describe_vpcs(call: &Call<'_>) -> Result<Value, AwsError> {
    let named = call.input.texts("VpcId");
    in_region(call, |region, account| {
        if let Some(unknown) = named.iter().find(|id| **id != region.vpc_id) {
            return Err(fault(
                "InvalidVpcID.NotFound",
                format!("The vpc ID '{unknown}' does not exist"),
            ));
        }
        let vpc = map([
            ("vpcId", (&region.vpc_id).into()),
            ("ownerId", account.into()),
            ("state", "available".into()),
            (
                "cidrBlock",
                format!("127.{}.0.0/16", 10 + u16::from(region.index)).into(),
            ),
            ("instanceTenancy", "default".into()),
            ("isDefault", false.into()),
        ]);
        Ok(map([("vpcSet", list("item", [vpc]))]))
    })
}

pub fn describe_acls(call: &Call<'_>) -> Result<Value, AwsError> {
    let named = call.input.texts("NetworkAclId");
    let filters = Filters::of(&call.input)?;
    in_region(call, |region, account| {
        if let Some(unknown) = named.iter().find(|id| !region.network_acls.contains_key(**id)) {
            return Err(unknown_acl(unknown));
        }
        let mut acls = Vec::new();
        for acl in region
            .network_acls
            .values()
            .filter(|acl| named.is_empty() || named.contains(&acl.id.as_str()))
        {
            if filters.pass(&acl.tags, |name| acl_values(region, acl, name))? {
                acls.push(acl);
            }
        }
        let (acls, next) = paged(call, acls, |acl| acl.id.clone())?;
        let shown = acls.into_iter().map(|acl| shown_acl(region, account, acl));
        Ok(map([
            ("networkAclSet", list("item", shown)),
            ("nextToken", next.into()),
        ]))
    })
}

fn acl_values(region: &Region, acl: &NetworkAcl, name: &str) -> Option<Vec<String>> {
    let associated = |value: fn(&Subnet) -> &String| {
        region
            .subnets
            .values()
            .filter(|subnet| subnet.network_acl_id == acl.id)
            .map(|s| value(s).clone())
            .collect()
    };
    Some(match name {
        "association.subnet-id" => associated(|subnet| &subnet.id),
        "association.association-id" => associated(|subnet| &subnet.acl_association_id),
        "association.network-acl-id" | "network-acl-id" => vec![acl.id.clone()],
        "vpc-id" => vec![region.vpc_id.clone()],
        "default" => vec![acl.is_default.to_string()],
        _ => return None,
    })
}

fn shown_acl(region: &Region, account: &str, acl: &NetworkAcl) -> Value {
    let mut entries: Vec<&NetworkAclEntry> = acl.entries.iter().collect();
    entries.sort_by_key(|entry| (!entry.egress, entry.rule_number));
    let mut entries: Vec<Value> = entries.into_iter().map(shown_entry).collect();
    // Every ACL ends with a rule that denies, which nobody can remove.
    for egress in [true, false] {
        if !acl
            .entries
            .iter()
            .any(|entry| entry.rule_number == 32767 && entry.egress == egress)
        {
            let rule_number = 32767;
            let last = NetworkAclEntry {
                rule_number,
                protocol: "-1".into(),
                allow: false,
                egress,
                cidr_block: "0.0.0.0/0".into(),
            };
            entries.push(shown_entry(&last));
        }
    }
    let associations = region
        .subnets
        .values()
        .filter(|subnet| subnet.network_acl_id == acl.id)
        .map(|subnet| {
            map([
                ("networkAclAssociationId", (&subnet.acl_association_id).into()),
                ("networkAclId", (&acl.id).into()),
                ("subnetId", (&subnet.id).into()),
            ])
        });
    map([
        ("networkAclId", (&acl.id).into()),
        ("vpcId", (&region.vpc_id).into()),
        ("default", acl.is_default.into()),
        ("entrySet", list("item", entries)),
        ("associationSet", list("item", associations)),
        ("tagSet", tag_set(&acl.tags)),
        ("ownerId", account.into()),
    ])
}

fn shown_entry(entry: &NetworkAclEntry) -> Value {
    map([
        ("ruleNumber", entry.rule_number.into()),
        ("protocol", (&entry.protocol).into()),
        ("ruleAction", if entry.allow { "allow" } else { "deny" }.into()),
        ("egress", entry.egress.into()),
        ("cidrBlock", (&entry.cidr_block).into()),
    ])
}

fn unknown_acl(id: &str) -> AwsError {
    fault(
        "InvalidNetworkAclID.NotFound",
        format!("The networkAcl ID '{id}' does not exist"),
    )
}

pub fn create_acl(call: &Call<'_>) -> Result<Value, AwsError> {
    let vpc = call.input.required("VpcId")?;
    let tags = specified_tags(call, "network-acl")?;
    let acl = network::create_acl(call.lab, call.region, vpc, tags, call.input.text("ClientToken"))?;
    in_region(call, |region, account| {
        Ok(map([("networkAcl", shown_acl(region, account, &acl))]))
    })
}

pub fn create_entry(call: &Call<'_>) -> Result<Value, AwsError> {
    put_entry(call, false)
}

pub fn replace_entry(call: &Call<'_>) -> Result<Value, AwsError> {
    put_entry(call, true)
}

fn rule_number(call: &Call<'_>) -> Result<i32, AwsError> {
    call.input.required("RuleNumber")?;
    match call.input.whole("RuleNumber", 1..=32766)? {
        Some(number) => Ok(number as i32),
        None => Err(invalid("RuleNumber", "must be a whole number")),
    }
}

pub fn delete_entry(call: &Call<'_>) -> Result<Value, AwsError> {
    let acl = call.input.required("NetworkAclId")?;
    let Some(egress) = call.input.flag("Egress")? else {
        return Err(fault(
            "MissingParameter",
            "The request must contain the parameter Egress",
        ));
    };
    network::delete_entry(call.lab, call.region, acl, rule_number(call)?, egress)?;
    Ok(map([("return", true.into())]))
}

fn put_entry(call: &Call<'_>, replace: bool) -> Result<Value, AwsError> {
    let input = &call.input;
    let acl_id = input.required("NetworkAclId")?;
    let allow = match input.required("RuleAction")? {
        "allow" => true,
        "deny" => false,
        _ => return Err(invalid("RuleAction", "must be allow or deny")),
    };
    let entry = NetworkAclEntry {
        rule_number: rule_number(call)?,
        protocol: input.required("Protocol")?.to_owned(),
        allow,
        egress: input.flag("Egress")?.unwrap_or(false),
        cidr_block: input.required("CidrBlock")?.to_owned(),
    };
    network::create_entry(call.lab, call.region, acl_id, entry, replace)?;
    Ok(map([("return", true.into())]))
}

pub fn replace_association(call: &Call<'_>) -> Result<Value, AwsError> {
    let association = call.input.required("AssociationId")?;
    let acl = call.input.required("NetworkAclId")?;
    let id = network::replace_association(call.lab, call.region, association, acl)?;
    Ok(map([("newAssociationId", id.into())]))
}

pub fn delete_acl(call: &Call<'_>) -> Result<Value, AwsError> {
    network::delete_acl(call.lab, call.region, call.input.required("NetworkAclId")?)?;
    Ok(map([("return", true.into())]))
}
