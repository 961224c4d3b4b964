//! The lab's account as its control plane shows it, without what differs from one moment to the next: for comparing
//! how things were before a fault with how they are after its undo.

use std::collections::BTreeMap;

use tenfold::aws::{Reader, RecordSet};

/// The Region that faults hit here.
pub const REGION: &str = "us-east-1";
pub const GROUP: &str = "shop-web";
pub const DATABASE: &str = "shop-db";
pub const RECORD: &str = "shop.example.com";

/// What a fault changes and its undo puts back.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Suspended processes of the group.
    pub suspended: Vec<String>,
    pub health_check_path: Option<String>,
    /// Network ACL by subnet.
    pub network: BTreeMap<String, String>,
    /// How many network ACLs there are.
    pub acls: usize,
    /// Status of the instance, or of the cluster.
    pub database: String,
    /// Of each health check of the record.
    pub inverted: Vec<bool>,
    pub records: Vec<RecordSet>,
}

/// What the group and the load balancer put back in their own time; instances may be others.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    pub in_service: usize,
    /// State of each target.
    pub targets: Vec<String>,
}

pub async fn settings(reader: &Reader, hosted_zone: &str) -> Settings {
    let group = reader.group(REGION, GROUP).await.expect("an answer").expect("a group");
    let targets = reader
        .target_groups(REGION, &group.target_groups)
        .await
        .expect("an answer");
    let subnets = reader.subnets(REGION, &group.subnets).await.expect("an answer");
    let acls = reader.network_acls(REGION, &subnets[0].vpc).await.expect("an answer");
    let under = acls.iter().flat_map(|acl| {
        let associations = acl.associations.iter();
        associations.map(|one| (one.subnet.clone(), acl.id.clone()))
    });
    let instance = reader.db_instance(REGION, DATABASE).await.expect("an answer");
    let cluster = reader.db_cluster(REGION, DATABASE).await.expect("an answer");
    let database = instance.map(|one| one.status).or(cluster.map(|one| one.status));
    let mut inverted = Vec::new();
    for id in reader
        .record_health_checks(hosted_zone, RECORD)
        .await
        .expect("an answer")
    {
        inverted.push(reader.health_check(&id).await.expect("an answer").inverted);
    }
    Settings {
        suspended: group.suspended,
        health_check_path: targets[0].health_check_path.clone(),
        network: under.collect(),
        acls: acls.len(),
        database: database.expect("a database, alone or as a cluster"),
        inverted,
        records: reader.record_sets(hosted_zone, RECORD).await.expect("an answer"),
    }
}

pub async fn service(reader: &Reader) -> Service {
    let group = reader.group(REGION, GROUP).await.expect("an answer").expect("a group");
    let health = reader
        .target_health(REGION, &group.target_groups[0])
        .await
        .expect("an answer");
    Service {
        in_service: group.members.iter().filter(|member| member.in_service).count(),
        targets: health.into_iter().map(|target| target.state).collect(),
    }
}
