//! What carries a tag in an account: groups, databases, the load balancers behind the groups, the records that lead to
//! them, and where their addresses are. Reads only; how a target file is written from it is the command line's business.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::inventory::bare;
use crate::aws::{AwsError, LoadBalancer, Reader, RecordSet, Tags};

/// What was found in one account.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Account id of the credentials.
    pub account: String,
    /// Groups, by Region in the order asked for.
    pub groups: Vec<Tagged>,
    /// RDS instances of their own.
    pub databases: Vec<Tagged>,
    /// Aurora clusters.
    pub clusters: Vec<Tagged>,
    /// Load balancers of the groups.
    pub balancers: Vec<FoundBalancer>,
    /// Names that lead to them: hosted zone and record.
    pub records: Vec<(String, String)>,
}

/// A resource that carries the tag.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tagged {
    /// Its name.
    pub name: String,
    /// Region.
    pub region: String,
    /// All its tags.
    pub tags: Tags,
}

/// A load balancer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FoundBalancer {
    /// Region.
    pub region: String,
    /// DNS name.
    pub dns_name: String,
    /// Port and protocol of its listeners.
    pub listeners: Vec<(u16, String)>,
    /// Address and AZ of its nodes, as they are now.
    pub addresses: Vec<(IpAddr, String)>,
}

/// Looks for everything that carries the tag.
pub async fn discover(reader: &Reader, regions: &[String], key: &str, value: &str) -> Result<Found, AwsError> {
    let mut found = Found::default();
    let carries = |tags: &Tags| tags.get(key).is_some_and(|has| has == value);
    for region in regions {
        if found.account.is_empty() {
            found.account = reader.caller(region).await?.account;
        }
        let mut balancers = BTreeSet::new();
        for group in reader.groups(region).await? {
            if carries(&group.tags) {
                let target_groups = reader.target_groups(region, &group.target_groups).await?;
                balancers.extend(target_groups.into_iter().flat_map(|one| one.load_balancers));
                found.groups.push(Tagged {
                    name: group.name,
                    region: region.clone(),
                    tags: group.tags,
                });
            }
        }
        let databases = reader.db_instances(region).await?.into_iter();
        found.databases.extend(
            databases
                .filter(|one| one.cluster.is_none() && carries(&one.tags))
                .map(|one| Tagged {
                    name: one.id,
                    region: region.clone(),
                    tags: one.tags,
                }),
        );
        let clusters = reader.db_clusters(region).await?.into_iter();
        found
            .clusters
            .extend(clusters.filter(|one| carries(&one.tags)).map(|one| Tagged {
                name: one.id,
                region: region.clone(),
                tags: one.tags,
            }));
        let arns: Vec<String> = balancers.into_iter().collect();
        for balancer in reader.load_balancers(region, &arns).await? {
            found.balancers.push(described(reader, region, balancer).await?);
        }
    }
    found.records = records(reader, &found.balancers).await?;
    Ok(found)
}

async fn described(reader: &Reader, region: &str, balancer: LoadBalancer) -> Result<FoundBalancer, AwsError> {
    let name = balancer.arn.split_once(":loadbalancer/").map_or("", |(_, name)| name);
    let interfaces = reader.load_balancer_interfaces(region, name).await?;
    let mut addresses: Vec<(IpAddr, String)> = interfaces
        .into_iter()
        .flat_map(|one| one.addresses.into_iter().map(move |address| (address, one.az.clone())))
        .collect();
    addresses.sort();
    Ok(FoundBalancer {
        region: region.to_owned(),
        listeners: reader.listeners(region, &balancer.arn).await?,
        dns_name: balancer.dns_name,
        addresses,
    })
}

/// The names of public zones that lead to one of the load balancers.
async fn records(reader: &Reader, balancers: &[FoundBalancer]) -> Result<Vec<(String, String)>, AwsError> {
    let mut records = BTreeSet::new();
    if balancers.is_empty() {
        return Ok(Vec::new());
    }
    let names: BTreeSet<String> = balancers.iter().map(|one| bare(&one.dns_name)).collect();
    let leads = |set: &RecordSet| {
        let alias = set.alias.iter().map(|(name, ..)| name);
        alias.chain(&set.values).any(|name| names.contains(&bare(name)))
    };
    for (zone, _) in reader.hosted_zones().await? {
        for set in reader.all_record_sets(&zone).await? {
            if leads(&set) {
                records.insert((zone.clone(), set.name.trim_end_matches('.').to_owned()));
            }
        }
    }
    Ok(records.into_iter().collect())
}
