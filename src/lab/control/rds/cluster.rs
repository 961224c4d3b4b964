//! Aurora's clusters over `awsQuery`: what they are, and the failover to a reader.

use super::{ENGINE_VERSION, PORT, paged, tag_list};
use crate::lab::config::Engine;
use crate::lab::control::Call;
use crate::lab::control::value::{Value, fault, list, map, time};
use crate::lab::dynamics::rds::cluster::{self, not_found};
use crate::lab::error::AwsError;
use crate::lab::world::{DbCluster, DbInstance, Region, World};

/// DescribeDBClusters.
pub(super) fn describe(call: &Call<'_>) -> Result<Value, AwsError> {
    seen(call, |world, region| {
        let mut chosen: Vec<&DbCluster> = match call.input.text("DBClusterIdentifier") {
            Some(id) => vec![find(region, id)?],
            None => region.db_clusters.values().collect(),
        };
        for filter in call.input.elements("Filters") {
            let values = filter.texts("Values");
            match filter.required("Name")? {
                "db-cluster-id" => chosen.retain(|cluster| is_named(cluster, &values)),
                "engine" => chosen.retain(|_| values.contains(&Engine::AuroraPostgresql.name())),
                "db-cluster-resource-id" | "clone-group-id" | "domain" => chosen.clear(),
                other => {
                    let message = format!("Unrecognized filter name: {other}");
                    return Err(fault("InvalidParameterValue", message));
                }
            }
        }
        let (chosen, marker) = paged(call, chosen, |cluster| cluster.id.clone())?;
        let shown = chosen.into_iter().map(|cluster| shown(world, region, cluster));
        Ok(map([
            ("DBClusters", list("DBCluster", shown)),
            ("Marker", marker.into()),
        ]))
    })
}

/// FailoverDBCluster.
pub(super) fn fail_over(call: &Call<'_>) -> Result<Value, AwsError> {
    let id = call.input.required("DBClusterIdentifier")?;
    let id = seen(call, |_, region| find(region, id).map(|cluster| cluster.id.clone()))?;
    let reader = call.input.text("TargetDBInstanceIdentifier");
    cluster::fail_over(call.lab, call.region, &id, reader)?;
    seen(call, |world, region| {
        let cluster = find(region, &id)?;
        Ok(map([("DBCluster", shown(world, region, cluster))]))
    })
}

/// Reads the world with the call's Region.
fn seen<T>(call: &Call<'_>, read: impl FnOnce(&World, &Region) -> Result<T, AwsError>) -> Result<T, AwsError> {
    let world = call.world();
    let region = world.regions.get(call.region).ok_or_else(|| call.unknown_region())?;
    read(&world, region)
}

/// Identifiers are stored in lower case, and the ARN is accepted as well.
fn find<'r>(region: &'r Region, id: &str) -> Result<&'r DbCluster, AwsError> {
    let mut clusters = region.db_clusters.values();
    let found = clusters.find(|cluster| cluster.id.eq_ignore_ascii_case(id) || cluster.arn == id);
    found.ok_or_else(|| not_found(id))
}

fn is_named(cluster: &DbCluster, names: &[&str]) -> bool {
    names.contains(&cluster.id.as_str()) || names.contains(&cluster.arn.as_str())
}

/// Whether an instance is a member of one of these clusters.
pub(super) fn is_member_of(region: &Region, db: &DbInstance, names: &[&str]) -> bool {
    let cluster = db.cluster.as_ref().and_then(|id| region.db_clusters.get(id));
    cluster.is_some_and(|cluster| is_named(cluster, names))
}

/// A member's place in the order in which readers take over; none of an instance that stands alone.
pub(super) fn promotion_tier(region: &Region, db: &DbInstance) -> Option<i64> {
    let cluster = region.db_clusters.get(db.cluster.as_ref()?)?;
    let place = cluster.members.iter().position(|id| *id == db.id)?;
    i64::try_from(place).ok()
}

fn shown(world: &World, region: &Region, cluster: &DbCluster) -> Value {
    let secondary = world.is_secondary(&region.name, &cluster.id);
    let mut globals = world.global_clusters.values();
    let global = globals.find(|one| one.members.get(&region.name) == Some(&cluster.arn));
    let members = cluster.members.iter().filter_map(|id| region.db_instances.get(id));
    let member = |db: &DbInstance| {
        map([
            ("DBInstanceIdentifier", (&db.id).into()),
            ("IsClusterWriter", (db.id == cluster.writer && !secondary).into()),
            ("DBClusterParameterGroupStatus", "in-sync".into()),
            ("PromotionTier", promotion_tier(region, db).into()),
        ])
    };
    let mut azs: Vec<&String> = region.subnets.values().map(|subnet| &subnet.az).collect();
    azs.sort();
    map([
        ("DBClusterIdentifier", (&cluster.id).into()),
        ("DBClusterArn", (&cluster.arn).into()),
        ("Status", (&cluster.status).into()),
        ("Engine", Engine::AuroraPostgresql.name().into()),
        ("EngineVersion", ENGINE_VERSION.into()),
        ("EngineMode", "provisioned".into()),
        ("DatabaseName", "shop".into()),
        ("MasterUsername", "shop".into()),
        ("Endpoint", (&cluster.endpoint).into()),
        ("ReaderEndpoint", (&cluster.reader_endpoint).into()),
        ("Port", PORT.into()),
        ("MultiAZ", (cluster.members.len() > 1).into()),
        ("AvailabilityZones", list("AvailabilityZone", azs)),
        ("DBClusterMembers", list("DBClusterMember", members.map(member))),
        ("BackupRetentionPeriod", 7.into()),
        ("StorageEncrypted", true.into()),
        ("DeletionProtection", false.into()),
        ("ClusterCreateTime", time(cluster.created_at)),
        ("GlobalClusterIdentifier", global.map(|global| &global.id).into()),
        ("TagList", tag_list(&cluster.tags)),
    ])
}
