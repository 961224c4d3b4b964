//! RDS over `awsQuery`: instances, their events and tags, the reboot that fails over, stop and start. Aurora's clusters
//! stand in `cluster` and `global`.

mod cluster;
mod global;
mod tagging;

use super::Call;
use super::page::page;
use super::value::{Value, fault, list, map, time};
use crate::lab::config::Engine;
use crate::lab::dynamics::rds;
use crate::lab::error::AwsError;
use crate::lab::world::{DbEvent, DbInstance, Region, Tags};

/// Port of every endpoint.
const PORT: u16 = 5432;
const ENGINE_VERSION: &str = "17.4";
/// DescribeEvents looks back this many minutes unless told otherwise, and keeps fourteen days.
const DEFAULT_DURATION_MIN: i64 = 60;
const KEPT_MIN: i64 = 14 * 24 * 60;
const EVENT_SOURCES: [&str; 9] = [
    "db-instance",
    "db-parameter-group",
    "db-security-group",
    "db-snapshot",
    "db-cluster",
    "db-cluster-snapshot",
    "custom-engine-version",
    "db-proxy",
    "blue-green-deployment",
];

/// Answers one RDS operation.
pub fn answer(call: &Call<'_>) -> Result<Value, AwsError> {
    match call.action {
        "DescribeDBInstances" => describe(call),
        "DescribeEvents" => events(call),
        "RebootDBInstance" => reboot(call),
        "StopDBInstance" => stop(call),
        "StartDBInstance" => start(call),
        "DescribeDBClusters" => cluster::describe(call),
        "FailoverDBCluster" => cluster::fail_over(call),
        "DescribeGlobalClusters" => global::describe(call),
        "SwitchoverGlobalCluster" => global::switch_over(call),
        "FailoverGlobalCluster" => global::fail_over(call),
        "ListTagsForResource" => tagging::show(call),
        "AddTagsToResource" => tagging::add(call),
        "RemoveTagsFromResource" => tagging::remove(call),
        other => Err(call.unknown(other)),
    }
}

fn not_found(id: &str) -> AwsError {
    AwsError::not_found("DBInstanceNotFound", format!("DBInstance {id} not found."))
}

fn in_region<T>(call: &Call<'_>, read: impl FnOnce(&Region) -> Result<T, AwsError>) -> Result<T, AwsError> {
    let world = call.world();
    read(world.regions.get(call.region).ok_or_else(|| call.unknown_region())?)
}

fn paged<T>(call: &Call<'_>, items: Vec<T>, key: impl Fn(&T) -> String) -> Result<(Vec<T>, Option<String>), AwsError> {
    let most = call.input.whole("MaxRecords", 20..=100)?.unwrap_or(100) as usize;
    page(items, key, call.input.text("Marker"), most, "InvalidParameterValue")
}

fn describe(call: &Call<'_>) -> Result<Value, AwsError> {
    in_region(call, |region| {
        let mut chosen: Vec<&DbInstance> = match call.input.text("DBInstanceIdentifier") {
            // Identifiers are stored in lower case, and the ARN is accepted as well.
            Some(id) => {
                let found = region
                    .db_instances
                    .values()
                    .find(|db| db.id.eq_ignore_ascii_case(id) || db.arn == id);
                vec![found.ok_or_else(|| not_found(id))?]
            }
            None => region.db_instances.values().collect(),
        };
        for filter in call.input.elements("Filters") {
            let values = filter.texts("Values");
            match filter.required("Name")? {
                "db-instance-id" => {
                    chosen.retain(|db| values.contains(&db.id.as_str()) || values.contains(&db.arn.as_str()))
                }
                "engine" => chosen.retain(|db| values.contains(&engine(db).name())),
                "db-cluster-id" => chosen.retain(|db| cluster::is_member_of(region, db, &values)),
                "dbi-resource-id" | "domain" => chosen.clear(),
                other => {
                    let message = format!("Unrecognized filter name: {other}");
                    return Err(fault("InvalidParameterValue", message));
                }
            }
        }
        let (chosen, marker) = paged(call, chosen, |db| db.id.clone())?;
        let shown = chosen.into_iter().map(|db| shown(region, db));
        Ok(map([
            ("DBInstances", list("DBInstance", shown)),
            ("Marker", marker.into()),
        ]))
    })
}

fn shown(region: &Region, db: &DbInstance) -> Value {
    let mut subnets: Vec<_> = region.subnets.values().collect();
    subnets.sort_by_key(|subnet| subnet.az_index);
    let subnets = subnets.into_iter().map(|subnet| {
        map([
            ("SubnetIdentifier", (&subnet.id).into()),
            ("SubnetAvailabilityZone", map([("Name", (&subnet.az).into())])),
            ("SubnetStatus", "Active".into()),
        ])
    });
    let subnet_group = map([
        ("DBSubnetGroupName", (&db.id).into()),
        ("DBSubnetGroupDescription", "every AZ of the VPC".into()),
        ("VpcId", (&region.vpc_id).into()),
        ("SubnetGroupStatus", "Complete".into()),
        ("Subnets", list("Subnet", subnets)),
    ]);
    let storage = match engine(db) {
        Engine::Postgres => "gp3",
        Engine::AuroraPostgresql => "aurora",
    };
    map([
        ("DBInstanceIdentifier", (&db.id).into()),
        ("DBInstanceClass", "db.m7g.large".into()),
        ("Engine", engine(db).name().into()),
        ("EngineVersion", ENGINE_VERSION.into()),
        ("DBInstanceStatus", (&db.status).into()),
        ("MasterUsername", "shop".into()),
        ("DBName", "shop".into()),
        (
            "Endpoint",
            map([("Address", (&db.endpoint).into()), ("Port", PORT.into())]),
        ),
        ("AllocatedStorage", 100.into()),
        ("InstanceCreateTime", time(db.created_at)),
        ("BackupRetentionPeriod", 7.into()),
        ("AvailabilityZone", (&db.az).into()),
        ("DBSubnetGroup", subnet_group),
        ("PendingModifiedValues", Value::empty()),
        ("MultiAZ", db.multi_az.into()),
        ("AutoMinorVersionUpgrade", true.into()),
        ("SecondaryAvailabilityZone", db.secondary_az.as_ref().into()),
        ("PubliclyAccessible", false.into()),
        ("StorageType", storage.into()),
        ("StorageEncrypted", true.into()),
        ("CopyTagsToSnapshot", false.into()),
        ("DBInstanceArn", (&db.arn).into()),
        ("DeletionProtection", false.into()),
        ("DBClusterIdentifier", db.cluster.as_ref().into()),
        ("PromotionTier", cluster::promotion_tier(region, db).into()),
        ("TagList", tag_list(&db.tags)),
    ])
}

fn engine(db: &DbInstance) -> Engine {
    match db.cluster {
        None => Engine::Postgres,
        Some(_) => Engine::AuroraPostgresql,
    }
}

fn tag_list(tags: &Tags) -> Value {
    list(
        "Tag",
        tags.iter()
            .map(|(key, value)| map([("Key", key.into()), ("Value", value.into())])),
    )
}

fn events(call: &Call<'_>) -> Result<Value, AwsError> {
    let input = &call.input;
    let source_type = input.text("SourceType");
    let source = input.text("SourceIdentifier");
    if let Some(unknown) = source_type.filter(|kind| !EVENT_SOURCES.contains(kind)) {
        return Err(fault(
            "InvalidParameterValue",
            format!("Invalid source type: {unknown}"),
        ));
    }
    if source.is_some() && source_type.is_none() {
        let message = "The parameter SourceType must be specified when SourceIdentifier is";
        return Err(fault("InvalidParameterCombination", message));
    }
    let duration = input.whole("Duration", 0..=KEPT_MIN)?;
    let end = input.instant("EndTime")?;
    let start = match (input.instant("StartTime")?, duration) {
        (Some(_), Some(_)) => {
            return Err(fault(
                "InvalidParameterCombination",
                "StartTime and Duration cannot be given together",
            ));
        }
        (Some(start), None) => start,
        (None, minutes) => end.unwrap_or(call.now) - minutes.unwrap_or(DEFAULT_DURATION_MIN) as f64 * 60.0,
    };
    let end = end.unwrap_or(f64::INFINITY);
    if start > end {
        return Err(fault(
            "InvalidParameterCombination",
            "The start time must be before the end time",
        ));
    }
    let categories = input.texts("EventCategories");
    in_region(call, |region| {
        let wanted = |event: &&(usize, &DbEvent)| {
            let event = event.1;
            source_type.is_none_or(|kind| kind == event.source_type)
                && source.is_none_or(|id| id.eq_ignore_ascii_case(&event.source_id))
                && (start..=end).contains(&event.date)
                && (categories.is_empty() || event.categories.iter().any(|has| categories.contains(&has.as_str())))
        };
        let numbered: Vec<(usize, &DbEvent)> = region.db_events.iter().enumerate().collect();
        let chosen: Vec<(usize, &DbEvent)> = numbered.iter().filter(wanted).copied().collect();
        let (chosen, marker) = paged(call, chosen, |(number, _)| number.to_string())?;
        let shown = chosen.into_iter().map(|(_, event)| {
            let arn = match event.source_type.as_str() {
                "db-cluster" => region.db_clusters.get(&event.source_id).map(|cluster| &cluster.arn),
                _ => region.db_instances.get(&event.source_id).map(|db| &db.arn),
            };
            map([
                ("SourceIdentifier", (&event.source_id).into()),
                ("SourceType", (&event.source_type).into()),
                ("Message", (&event.message).into()),
                ("EventCategories", list("EventCategory", &event.categories)),
                ("Date", time(event.date)),
                ("SourceArn", arn.into()),
            ])
        });
        Ok(map([("Events", list("Event", shown)), ("Marker", marker.into())]))
    })
}

fn reboot(call: &Call<'_>) -> Result<Value, AwsError> {
    let force = call.input.flag("ForceFailover")?.unwrap_or(false);
    changed(call, |id| rds::reboot(call.lab, call.region, id, force))
}

fn stop(call: &Call<'_>) -> Result<Value, AwsError> {
    if call.input.text("DBSnapshotIdentifier").is_some() {
        let message = "The lab keeps no snapshots, so an instance is stopped without DBSnapshotIdentifier only";
        return Err(fault("InvalidParameterCombination", message));
    }
    changed(call, |id| rds::stop(call.lab, call.region, id))
}

fn start(call: &Call<'_>) -> Result<Value, AwsError> {
    changed(call, |id| rds::start(call.lab, call.region, id))
}

/// Makes a change to the instance that the request names, and shows what it is now.
fn changed(call: &Call<'_>, change: impl FnOnce(&str) -> Result<(), AwsError>) -> Result<Value, AwsError> {
    let id = call.input.required("DBInstanceIdentifier")?.to_ascii_lowercase();
    in_region(call, |region| {
        region.db_instances.get(&id).map(|_| ()).ok_or_else(|| not_found(&id))
    })?;
    change(&id)?;
    in_region(call, |region| {
        let db = region.db_instances.get(&id).ok_or_else(|| not_found(&id))?;
        Ok(map([("DBInstance", shown(region, db))]))
    })
}
