//! Aurora's clusters: their members, their events, the failover to a reader.

use aws_sdk_rds::types::{Filter, SourceType};

use super::{DbEvent, db_instance, tags};
use crate::aws::{AwsError, Called, ErrorKind, Reader, Tags, Writer};

/// A cluster with its members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DbCluster {
    /// Identifier.
    pub id: String,
    /// ARN.
    pub arn: String,
    /// Status.
    pub status: String,
    /// Its instances.
    pub members: Vec<ClusterMember>,
    /// Tags.
    pub tags: Tags,
}

/// An instance of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterMember {
    /// Identifier.
    pub id: String,
    /// Whether it is the one that writes.
    pub writer: bool,
    /// DBInstanceStatus; empty where the instance is not described.
    pub status: String,
    /// AZ; empty where the instance is not described.
    pub az: String,
}

impl DbCluster {
    /// The member that writes; none in a secondary cluster of a global one.
    #[must_use]
    pub fn writer(&self) -> Option<&ClusterMember> {
        self.members.iter().find(|member| member.writer)
    }

    /// Readers that could take over now.
    pub fn readers(&self) -> impl Iterator<Item = &ClusterMember> {
        let ready = |member: &&ClusterMember| !member.writer && member.status == "available";
        self.members.iter().filter(ready)
    }
}

impl Reader {
    /// A cluster by identifier, with the state of its members; none when there is no such cluster.
    pub async fn db_cluster(&self, region: &str, id: &str) -> Result<Option<DbCluster>, AwsError> {
        const ACTION: &str = "rds:DescribeDBClusters";
        let clients = self.region(ACTION, region)?;
        let request = clients.rds.describe_db_clusters().db_cluster_identifier(id);
        let answer = match clients.gate.call(ACTION, request.send()).await {
            Ok(answer) => answer,
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let clusters = answer.db_clusters.unwrap_or_default().into_iter();
        let Some(mut cluster) = clusters.map(db_cluster).find(|cluster| cluster.id == id) else {
            return Ok(None);
        };
        const OF_CLUSTER: &str = "rds:DescribeDBInstances";
        let filter = Filter::builder().name("db-cluster-id").values(id).build();
        let request = clients.rds.describe_db_instances().filters(filter);
        let answer = clients.gate.call(OF_CLUSTER, request.send()).await?;
        for instance in answer.db_instances.unwrap_or_default().into_iter().map(db_instance) {
            if let Some(member) = cluster.members.iter_mut().find(|member| member.id == instance.id) {
                member.status = instance.status;
                member.az = instance.az;
            }
        }
        Ok(Some(cluster))
    }

    /// Every cluster of a Region, without the state of their members.
    pub async fn db_clusters(&self, region: &str) -> Result<Vec<DbCluster>, AwsError> {
        const ACTION: &str = "rds:DescribeDBClusters";
        let clients = self.region(ACTION, region)?;
        let pages = clients.rds.describe_db_clusters().into_paginator();
        let clusters: Vec<_> = clients
            .gate
            .call(ACTION, pages.items().send().collect::<Result<_, _>>())
            .await?;
        Ok(clusters.into_iter().map(db_cluster).collect())
    }

    /// Events of a cluster since a time of the target's clock, oldest first.
    pub async fn db_cluster_events(&self, region: &str, id: &str, since: f64) -> Result<Vec<DbEvent>, AwsError> {
        self.rds_events(region, SourceType::DbCluster, id, since).await
    }
}

impl Writer {
    /// Lets a reader take over from the writer: the one that is named, or the one that Aurora chooses.
    pub async fn failover_db_cluster(
        &self,
        region: &str,
        id: &str,
        reader: Option<&str>,
    ) -> Result<Called<()>, AwsError> {
        const ACTION: &str = "rds:FailoverDBCluster";
        let clients = self.reader().region(ACTION, region)?;
        self.persist(async || {
            let request = clients
                .rds
                .failover_db_cluster()
                .db_cluster_identifier(id)
                .set_target_db_instance_identifier(reader.map(str::to_owned));
            clients.gate.call(ACTION, request.send()).await.map(|_| ())
        })
        .await
    }
}

fn db_cluster(cluster: aws_sdk_rds::types::DbCluster) -> DbCluster {
    let members = cluster.db_cluster_members.unwrap_or_default().into_iter();
    DbCluster {
        id: cluster.db_cluster_identifier.unwrap_or_default(),
        arn: cluster.db_cluster_arn.unwrap_or_default(),
        status: cluster.status.unwrap_or_default(),
        members: members
            .map(|member| ClusterMember {
                id: member.db_instance_identifier.unwrap_or_default(),
                writer: member.is_cluster_writer.unwrap_or_default(),
                ..ClusterMember::default()
            })
            .collect(),
        tags: tags(cluster.tag_list),
    }
}
