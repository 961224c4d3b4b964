//! Aurora's global clusters over `awsQuery`: what they are, the switchover and the failover to another Region.

use super::{ENGINE_VERSION, paged, tag_list};
use crate::lab::config::Engine;
use crate::lab::control::Call;
use crate::lab::control::value::{Value, fault, list, map};
use crate::lab::dynamics::rds::global;
use crate::lab::error::AwsError;
use crate::lab::world::GlobalCluster;

/// DescribeGlobalClusters, the same in every Region.
pub(super) fn describe(call: &Call<'_>) -> Result<Value, AwsError> {
    let world = call.world();
    let mut chosen: Vec<&GlobalCluster> = match call.input.text("GlobalClusterIdentifier") {
        Some(id) => vec![world.global_clusters.get(id).ok_or_else(|| not_found(id))?],
        None => world.global_clusters.values().collect(),
    };
    for filter in call.input.elements("Filters") {
        let values = filter.texts("Values");
        match filter.required("Name")? {
            "db-cluster-id" => chosen.retain(|one| one.members.values().any(|arn| values.contains(&arn.as_str()))),
            "region" => chosen.retain(|one| one.members.keys().any(|region| values.contains(&region.as_str()))),
            other => {
                let message = format!("Unrecognized filter name: {other}");
                return Err(fault("InvalidParameterValue", message));
            }
        }
    }
    let (chosen, marker) = paged(call, chosen, |one| one.id.clone())?;
    Ok(map([
        (
            "GlobalClusters",
            list("GlobalClusterMember", chosen.into_iter().map(shown)),
        ),
        ("Marker", marker.into()),
    ]))
}

/// SwitchoverGlobalCluster.
pub(super) fn switch_over(call: &Call<'_>) -> Result<Value, AwsError> {
    hand_over(call, false)
}

/// FailoverGlobalCluster: with `AllowDataLoss` a failover, and without it, as AWS has it, a switchover.
pub(super) fn fail_over(call: &Call<'_>) -> Result<Value, AwsError> {
    let loses = call.input.flag("AllowDataLoss")?.unwrap_or(false);
    if loses && call.input.flag("Switchover")?.unwrap_or(false) {
        let message = "Switchover and AllowDataLoss cannot be given together";
        return Err(fault("InvalidParameterCombination", message));
    }
    hand_over(call, loses)
}

fn hand_over(call: &Call<'_>, loses: bool) -> Result<Value, AwsError> {
    let id = call.input.required("GlobalClusterIdentifier")?;
    let to = call.input.required("TargetDbClusterIdentifier")?;
    global::hand_over(call.lab, id, to, loses)?;
    let world = call.world();
    let one = world.global_clusters.get(id).ok_or_else(|| not_found(id))?;
    Ok(map([("GlobalCluster", shown(one))]))
}

fn not_found(id: &str) -> AwsError {
    AwsError::not_found("GlobalClusterNotFoundFault", format!("Global cluster {id} not found."))
}

fn shown(one: &GlobalCluster) -> Value {
    let member = |(region, arn): (&String, &String)| {
        let writer = *region == one.writer;
        let others = one.members.values().filter(|other| writer && *other != arn);
        let synchronized = if one.resyncing.contains(region) {
            "pending-resync"
        } else {
            "connected"
        };
        map([
            ("DBClusterArn", arn.into()),
            ("IsWriter", writer.into()),
            ("Readers", list("member", others)),
            ("SynchronizationStatus", synchronized.into()),
        ])
    };
    let failover = one.handover.as_ref().map(|handover| {
        map([
            ("Status", (&one.status).into()),
            ("FromDbClusterArn", one.members.get(&handover.from).into()),
            ("ToDbClusterArn", one.members.get(&handover.to).into()),
            ("IsDataLossAllowed", handover.loses.into()),
        ])
    });
    map([
        ("GlobalClusterIdentifier", (&one.id).into()),
        ("GlobalClusterArn", (&one.arn).into()),
        ("Status", (&one.status).into()),
        ("Engine", Engine::AuroraPostgresql.name().into()),
        ("EngineVersion", ENGINE_VERSION.into()),
        ("DatabaseName", "shop".into()),
        ("StorageEncrypted", true.into()),
        ("DeletionProtection", false.into()),
        (
            "GlobalClusterMembers",
            list("GlobalClusterMember", one.members.iter().map(member)),
        ),
        ("Endpoint", (&one.endpoint).into()),
        ("FailoverState", failover.into()),
        ("TagList", tag_list(&one.tags)),
    ])
}
