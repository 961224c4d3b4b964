//! What is in the account before the run: groups, databases, subnets and the addresses users may be sent to.
//! A role that names nothing in a Region is simply not in the inventory; the plan says what follows from that.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::dns;
use crate::aws::{AwsError, ClusterMember, GlobalCluster, Reader, RecordSet};
use crate::plan::{
    Inventory, InventoryAlarm, InventoryCluster, InventoryDatabase, InventoryGlobal, InventoryGroup, InventoryInstance,
    InventoryMetric, InventoryRecord, InventoryRegion, InventorySubnet, Role,
};
use crate::units::Pace;

/// Looks at everything the roles name, in every Region; load balancers' names are resolved through `resolver`.
pub async fn inventory(
    reader: &Reader,
    regions: &[String],
    roles: &BTreeMap<String, Role>,
    resolver: Option<SocketAddr>,
    pace: Pace,
) -> Result<Inventory, AwsError> {
    let mut inventory = Inventory::default();
    for name in regions {
        if inventory.account.is_none() {
            inventory.account = Some(reader.caller(name).await?.account);
        }
        let mut region = InventoryRegion::default();
        let mut vpcs = BTreeSet::new();
        for role in roles.values() {
            match role {
                Role::AutoScalingGroup(group) => group_into(&mut region, &mut vpcs, reader, name, group).await?,
                Role::DbInstance(id) => database_into(&mut region, reader, name, id).await?,
                Role::DbCluster(id) => cluster_into(&mut region, reader, name, id).await?,
                // Which load balancers there are is known only when all roles were seen, and IAM is in no Region.
                Role::Dns { .. } | Role::IamRole(_) => {}
            }
        }
        for vpc in vpcs {
            region.subnets.extend(subnets(reader, name, &vpc).await?);
        }
        for balancer in &region.load_balancers {
            // A name that does not resolve now leaves its addresses unknown, which the report shows as such.
            if let Ok(answer) = dns::resolve(resolver, balancer, pace).await {
                region.edge.extend(answer.addresses);
            }
        }
        region.edge.sort();
        region.edge.dedup();
        for role in roles.values() {
            if let Role::Dns { hosted_zone, record } = role {
                let sets = reader.record_sets(hosted_zone, record).await?;
                let here = sets.into_iter().filter(|set| leads_to(set, name, &region));
                region
                    .records
                    .extend(here.map(|set| record_entry(hosted_zone, set)).collect::<Vec<_>>());
            }
        }
        inventory.regions.insert(name.clone(), region);
    }
    for role in roles.values() {
        if let Role::IamRole(name) = role
            && let Some(found) = reader.iam_role(name).await?
        {
            inventory.iam_roles.insert(name.clone(), found.arn);
        }
    }
    Ok(inventory)
}

/// Adds the alarms of these names, wherever there is one.
pub async fn alarms(reader: &Reader, inventory: &mut Inventory, names: &[String]) -> Result<(), AwsError> {
    for (name, region) in &mut inventory.regions {
        for alarm in reader.alarms_named(name, names).await? {
            let metrics = alarm.metrics.into_iter().map(|metric| InventoryMetric {
                namespace: metric.namespace,
                name: metric.name,
                dimensions: metric.dimensions,
            });
            let entry = InventoryAlarm {
                arn: alarm.arn,
                state: alarm.state,
                metrics: metrics.collect(),
            };
            region.alarms.insert(alarm.name, entry);
        }
    }
    Ok(())
}

/// Asks AWS FIS of every Region which actions it has; where it does not answer, whatever the reason, there are none.
pub async fn ask_fis(reader: &Reader, inventory: &mut Inventory) {
    for (name, region) in &mut inventory.regions {
        region.fis_actions = reader.fis_actions(name).await.ok();
    }
}

/// Whether a record set sends users to the load balancers of a Region.
fn leads_to(set: &RecordSet, name: &str, region: &InventoryRegion) -> bool {
    let balancers: BTreeSet<String> = region.load_balancers.iter().map(|one| bare(one)).collect();
    let alias = set.alias.as_ref().map(|(dns_name, ..)| bare(dns_name));
    let address = |value: &String| {
        value
            .parse()
            .is_ok_and(|address: IpAddr| region.edge.contains(&address))
    };
    alias.is_some_and(|alias| balancers.contains(&alias))
        || set.region.as_deref() == Some(name)
        || set
            .values
            .iter()
            .any(|value| address(value) || balancers.contains(&bare(value)))
}

/// The name of a load balancer as its own Describe call writes it.
pub(super) fn bare(dns_name: &str) -> String {
    let lower = dns_name.trim_end_matches('.').to_ascii_lowercase();
    lower.strip_prefix("dualstack.").map_or(lower.clone(), str::to_owned)
}

fn record_entry(hosted_zone: &str, set: RecordSet) -> InventoryRecord {
    InventoryRecord {
        hosted_zone: hosted_zone.to_owned(),
        name: set.name,
        record_type: set.record_type,
        set_identifier: set.set_identifier,
        weight: set.weight,
        health_check: set.health_check,
    }
}

/// The Region of every address of a load balancer.
#[must_use]
pub fn edge(inventory: &Inventory) -> BTreeMap<IpAddr, String> {
    let regions = inventory.regions.iter();
    regions
        .flat_map(|(name, region)| region.edge.iter().map(move |address| (*address, name.clone())))
        .collect()
}

async fn group_into(
    into: &mut InventoryRegion,
    vpcs: &mut BTreeSet<String>,
    reader: &Reader,
    region: &str,
    name: &str,
) -> Result<(), AwsError> {
    let Some(group) = reader.group(region, name).await? else {
        return Ok(());
    };
    let ids: Vec<String> = group.members.iter().map(|member| member.id.clone()).collect();
    let described = reader.instances(region, &ids).await?;
    let facts_of = |id: &str| described.iter().find(|one| one.id == id).cloned().unwrap_or_default();
    let found = reader.subnets(region, &group.subnets).await?;
    vpcs.extend(found.into_iter().map(|subnet| subnet.vpc));
    let target_groups = reader.target_groups(region, &group.target_groups).await?;
    let balancers: BTreeSet<String> = target_groups.into_iter().flat_map(|one| one.load_balancers).collect();
    let balancers: Vec<String> = balancers.into_iter().collect();
    for balancer in reader.load_balancers(region, &balancers).await? {
        if !into.load_balancers.contains(&balancer.dns_name) {
            into.load_balancers.push(balancer.dns_name);
        }
    }
    let cpu_target = reader.cpu_target(region, name).await?;
    let instances = group.members.into_iter().map(|member| {
        let facts = facts_of(&member.id);
        InventoryInstance {
            spot: facts.spot,
            volumes: facts.volumes,
            tags: facts.tags,
            id: member.id,
            az: member.az,
            in_service: member.in_service,
        }
    });
    let entry = InventoryGroup {
        arn: group.arn,
        min: group.min,
        max: group.max,
        desired: group.desired,
        instances: instances.collect(),
        target_groups: group.target_groups,
        tags: group.tags,
        cpu_target,
    };
    into.groups.insert(name.to_owned(), entry);
    Ok(())
}

async fn database_into(into: &mut InventoryRegion, reader: &Reader, region: &str, id: &str) -> Result<(), AwsError> {
    if let Some(instance) = reader.db_instance(region, id).await? {
        let entry = InventoryDatabase {
            multi_az: instance.multi_az,
            status: instance.status,
            az: instance.az,
            secondary_az: instance.secondary_az,
            tags: instance.tags,
        };
        into.databases.insert(id.to_owned(), entry);
    }
    Ok(())
}

async fn cluster_into(into: &mut InventoryRegion, reader: &Reader, region: &str, id: &str) -> Result<(), AwsError> {
    if let Some(cluster) = reader.db_cluster(region, id).await? {
        let placed = |member: &ClusterMember| (member.id.clone(), member.az.clone());
        let readers = cluster.members.iter().filter(|member| !member.writer);
        let global = reader.global_cluster_of(region, &cluster.arn).await?;
        let entry = InventoryCluster {
            global: global.map(global_entry),
            writer: cluster.writer().map(placed),
            readers: readers.map(placed).collect(),
            status: cluster.status,
            tags: cluster.tags,
        };
        into.clusters.insert(id.to_owned(), entry);
    }
    Ok(())
}

fn global_entry(global: GlobalCluster) -> InventoryGlobal {
    let members = global.members.iter();
    InventoryGlobal {
        writer: global.writer().map(|writer| writer.region().to_owned()),
        members: members
            .map(|member| (member.region().to_owned(), member.arn.clone()))
            .collect(),
        id: global.id,
    }
}

async fn subnets(reader: &Reader, region: &str, vpc: &str) -> Result<Vec<InventorySubnet>, AwsError> {
    let acls = reader.network_acls(region, vpc).await?;
    let found = reader.subnets_of(region, vpc).await?;
    let entry = |subnet: crate::aws::Subnet| {
        let under = acls.iter().find_map(|acl| {
            let association = acl.associations.iter().find(|one| one.subnet == subnet.id)?;
            Some((acl.id.clone(), association.id.clone()))
        });
        let (network_acl, association) = under.unwrap_or_default();
        InventorySubnet {
            id: subnet.id,
            vpc: subnet.vpc,
            az: subnet.az,
            association,
            network_acl,
            tags: subnet.tags,
        }
    };
    Ok(found.into_iter().map(entry).collect())
}
