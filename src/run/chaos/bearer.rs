//! What can carry the mark of a fault: which resources a fault changes, and how tags are written on each kind, read from it
//! and taken off.

use std::fmt;

use super::ChaosError;
use super::before::Before;
use super::ec2;
use super::runner::Hand;
use crate::aws::{AwsError, ErrorKind, Reader, Tags};
use crate::plan::ClaimOn;

const HEALTH_CHECK: &str = "healthcheck";
const HOSTED_ZONE: &str = "hostedzone";
/// Target groups of one DescribeTags.
const AT_ONCE: usize = 20;

/// Resources that carry the same tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bearer {
    /// Instances by id.
    Instances(Vec<String>),
    /// An Auto Scaling group by name.
    Group(String),
    /// A target group by ARN.
    TargetGroup(String),
    /// An RDS instance by identifier.
    Database(String),
    /// An Aurora cluster by identifier.
    Cluster(String),
    /// A health check by id.
    HealthCheck(String),
    /// A hosted zone by id.
    HostedZone(String),
}

impl fmt::Display for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bearer::Instances(ids) => f.write_str(&ids.join(", ")),
            Bearer::Group(id)
            | Bearer::TargetGroup(id)
            | Bearer::Database(id)
            | Bearer::Cluster(id)
            | Bearer::HealthCheck(id)
            | Bearer::HostedZone(id) => f.write_str(id),
        }
    }
}

impl Bearer {
    /// What bears the mark of a fault, each with its part of how the world was. Nothing where the fault creates something
    /// that tells of it, or cannot be undone.
    pub(super) fn of(before: &Before) -> Vec<(Self, Before)> {
        match before {
            Before::Ec2Stop { instances, .. } => vec![(Self::Instances(instances.clone()), before.clone())],
            Before::AutoScalingSuspend { group, .. } => vec![(Self::Group(group.clone()), before.clone())],
            Before::ElbDeregister { targets } => {
                let mut arns: Vec<&String> = targets.iter().map(|target| &target.target_group).collect();
                arns.sort();
                arns.dedup();
                let part = |arn: &String| Before::ElbDeregister {
                    targets: targets.iter().filter(|one| one.target_group == *arn).cloned().collect(),
                };
                let parts = arns.into_iter().map(|arn| (Self::TargetGroup(arn.clone()), part(arn)));
                parts.collect()
            }
            Before::ElbBreakHealthCheck { groups } => {
                let part = |one: &super::PathBefore| Before::ElbBreakHealthCheck {
                    groups: vec![one.clone()],
                };
                let parts = groups
                    .iter()
                    .map(|one| (Self::TargetGroup(one.target_group.clone()), part(one)));
                parts.collect()
            }
            Before::RdsStop { database } => vec![(Self::Database(database.clone()), before.clone())],
            Before::Route53InvertHealthCheck { checks } => {
                let part = |one: &super::CheckBefore| Before::Route53InvertHealthCheck {
                    checks: vec![one.clone()],
                };
                let parts = checks.iter().map(|one| (Self::HealthCheck(one.id.clone()), part(one)));
                parts.collect()
            }
            Before::Route53ZeroWeight { hosted_zone, .. } => {
                vec![(Self::HostedZone(hosted_zone.clone()), before.clone())]
            }
            Before::Claim { on, .. } => {
                let bearer = match on {
                    ClaimOn::Group(name) => Self::Group(name.clone()),
                    ClaimOn::Database(id) => Self::Database(id.clone()),
                    ClaimOn::Cluster(id) => Self::Cluster(id.clone()),
                };
                vec![(bearer, before.clone())]
            }
            _ => Vec::new(),
        }
    }

    /// Writes tags on all of them.
    pub(super) async fn tag(&self, hand: &Hand<'_>, tags: &Tags) -> Result<(), ChaosError> {
        let (cloud, region) = (hand.cloud, hand.region);
        let (action, answer) = match self {
            Bearer::Instances(ids) => ("ec2:CreateTags", cloud.tag(region, ids, tags).await),
            Bearer::Group(name) => (
                "autoscaling:CreateOrUpdateTags",
                cloud.tag_group(region, name, tags).await,
            ),
            Bearer::TargetGroup(arn) => (
                "elasticloadbalancing:AddTags",
                cloud.tag_target_group(region, arn, tags).await,
            ),
            Bearer::Database(id) => ("rds:AddTagsToResource", cloud.tag_db_instance(region, id, tags).await),
            Bearer::Cluster(id) => ("rds:AddTagsToResource", cloud.tag_db_cluster(region, id, tags).await),
            Bearer::HealthCheck(id) => (
                "route53:ChangeTagsForResource",
                cloud.tag_route53(HEALTH_CHECK, id, tags).await,
            ),
            Bearer::HostedZone(id) => (
                "route53:ChangeTagsForResource",
                cloud.tag_route53(HOSTED_ZONE, id, tags).await,
            ),
        };
        let keys: Vec<&str> = tags.keys().map(String::as_str).collect();
        hand.called(action, &format!("{self}: {}", keys.join(", ")), answer)
    }

    /// Takes tags off those of them with these ids.
    pub(super) async fn untag(&self, hand: &Hand<'_>, ids: &[String], keys: &[String]) -> Result<(), ChaosError> {
        let (cloud, region) = (hand.cloud, hand.region);
        let (action, answer) = match self {
            Bearer::Instances(_) => ("ec2:DeleteTags", cloud.untag(region, ids, keys).await),
            Bearer::Group(name) => ("autoscaling:DeleteTags", cloud.untag_group(region, name, keys).await),
            Bearer::TargetGroup(arn) => (
                "elasticloadbalancing:RemoveTags",
                cloud.untag_target_group(region, arn, keys).await,
            ),
            Bearer::Database(id) => (
                "rds:RemoveTagsFromResource",
                cloud.untag_db_instance(region, id, keys).await,
            ),
            Bearer::Cluster(id) => (
                "rds:RemoveTagsFromResource",
                cloud.untag_db_cluster(region, id, keys).await,
            ),
            Bearer::HealthCheck(id) => (
                "route53:ChangeTagsForResource",
                cloud.untag_route53(HEALTH_CHECK, id, keys).await,
            ),
            Bearer::HostedZone(id) => (
                "route53:ChangeTagsForResource",
                cloud.untag_route53(HOSTED_ZONE, id, keys).await,
            ),
        };
        hand.called(action, &format!("{}: {}", ids.join(", "), keys.join(", ")), answer)
    }

    /// The tags of those that are still there, by id.
    pub(super) async fn tags(&self, hand: &Hand<'_>) -> Result<Vec<(String, Tags)>, AwsError> {
        let (reader, region) = (hand.cloud.reader(), hand.region);
        match self {
            Bearer::Instances(ids) => {
                let mut all = Vec::new();
                for id in ids {
                    // One by one: an instance that AWS has forgotten must not hide the others.
                    let found = ec2::described(&hand.sight(), std::slice::from_ref(id)).await?;
                    all.extend(
                        found
                            .into_iter()
                            .filter(|one| !one.is_gone())
                            .map(|one| (one.id, one.tags)),
                    );
                }
                Ok(all)
            }
            Bearer::Group(name) => {
                let group = reader.group(region, name).await?;
                Ok(group.map(|group| (group.name, group.tags)).into_iter().collect())
            }
            Bearer::TargetGroup(arn) => {
                let tags = reader.elb_tags(region, std::slice::from_ref(arn)).await;
                there(tags.map(|tags| tags.into_iter().collect()))
            }
            Bearer::Database(id) => {
                let instance = reader.db_instance(region, id).await?;
                Ok(instance.map(|one| (one.id, one.tags)).into_iter().collect())
            }
            Bearer::Cluster(id) => {
                let cluster = reader.db_cluster(region, id).await?;
                Ok(cluster.map(|one| (one.id, one.tags)).into_iter().collect())
            }
            Bearer::HealthCheck(id) => {
                let tags = reader.route53_tags(HEALTH_CHECK, id).await;
                there(tags.map(|tags| vec![(id.clone(), tags)]))
            }
            Bearer::HostedZone(id) => {
                let tags = reader.route53_tags(HOSTED_ZONE, id).await;
                there(tags.map(|tags| vec![(id.clone(), tags)]))
            }
        }
    }
}

/// Nothing, where what was asked about is gone.
fn there<T>(answer: Result<Vec<T>, AwsError>) -> Result<Vec<T>, AwsError> {
    match answer {
        Err(error) if error.kind == ErrorKind::NotFound => Ok(Vec::new()),
        answer => answer,
    }
}

/// The tags of everything in a Region that can bear a mark, by id.
pub(super) async fn bearers_in(reader: &Reader, region: &str, pattern: &str) -> Result<Vec<(String, Tags)>, AwsError> {
    let instances = reader.instances_tagged(region, pattern).await?;
    let mut all: Vec<(String, Tags)> = instances
        .into_iter()
        .filter(|one| !one.is_gone())
        .map(|one| (one.id, one.tags))
        .collect();
    let groups = reader.groups(region).await?;
    all.extend(groups.into_iter().map(|group| (group.name, group.tags)));
    let databases = reader.db_instances(region).await?;
    all.extend(databases.into_iter().map(|one| (one.id, one.tags)));
    let clusters = reader.db_clusters(region).await?;
    all.extend(clusters.into_iter().map(|one| (one.id, one.tags)));
    for arns in reader.every_target_group(region).await?.chunks(AT_ONCE) {
        all.extend(reader.elb_tags(region, arns).await?);
    }
    Ok(all)
}

/// The same of what belongs to no Region.
pub(super) async fn global_bearers(reader: &Reader) -> Result<Vec<(String, Tags)>, AwsError> {
    let checks = reader.every_health_check().await?;
    let zones = reader.every_hosted_zone().await?;
    let mut all: Vec<(String, Tags)> = Vec::new();
    for (kind, ids) in [(HEALTH_CHECK, checks), (HOSTED_ZONE, zones)] {
        all.extend(reader.every_route53_tag(kind, &ids).await?);
    }
    Ok(all)
}
