//! Aurora's global clusters: which Region writes, and who takes over from it.

use aws_sdk_rds::types::GlobalClusterMemberSynchronizationStatus;

use crate::aws::{AwsError, Called, ErrorKind, Reader, Writer};

/// A global cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GlobalCluster {
    /// Identifier.
    pub id: String,
    /// Status.
    pub status: String,
    /// Its clusters.
    pub members: Vec<GlobalMember>,
}

/// A cluster of a global cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GlobalMember {
    /// ARN.
    pub arn: String,
    /// Whether it is the one that writes.
    pub writer: bool,
    /// Whether it replicates; false while it is put together anew after a failover.
    pub connected: bool,
}

impl GlobalCluster {
    /// The cluster that writes.
    #[must_use]
    pub fn writer(&self) -> Option<&GlobalMember> {
        self.members.iter().find(|member| member.writer)
    }

    /// Its cluster in a Region.
    #[must_use]
    pub fn in_region(&self, region: &str) -> Option<&GlobalMember> {
        self.members.iter().find(|member| member.region() == region)
    }
}

impl GlobalMember {
    /// Its Region.
    #[must_use]
    pub fn region(&self) -> &str {
        self.arn.split(':').nth(3).unwrap_or_default()
    }

    /// Its DBClusterIdentifier.
    #[must_use]
    pub fn cluster(&self) -> &str {
        self.arn.rsplit(':').next().unwrap_or_default()
    }
}

impl Reader {
    /// The global cluster that a cluster belongs to; none when it stands alone.
    pub async fn global_cluster_of(&self, region: &str, arn: &str) -> Result<Option<GlobalCluster>, AwsError> {
        const ACTION: &str = "rds:DescribeGlobalClusters";
        let clients = self.region(ACTION, region)?;
        let pages = clients.rds.describe_global_clusters().into_paginator();
        let found: Vec<_> = clients
            .gate
            .call(ACTION, pages.items().send().collect::<Result<_, _>>())
            .await?;
        let has = |global: &GlobalCluster| global.members.iter().any(|member| member.arn == arn);
        Ok(found.into_iter().map(global_cluster).find(has))
    }

    /// A global cluster as a Region sees it; none when there is no such.
    pub async fn global_cluster(&self, region: &str, id: &str) -> Result<Option<GlobalCluster>, AwsError> {
        const ACTION: &str = "rds:DescribeGlobalClusters";
        let clients = self.region(ACTION, region)?;
        let request = clients.rds.describe_global_clusters().global_cluster_identifier(id);
        match clients.gate.call(ACTION, request.send()).await {
            Ok(answer) => {
                let found = answer.global_clusters.unwrap_or_default().into_iter();
                Ok(found.map(global_cluster).find(|global| global.id == id))
            }
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Writer {
    /// Lets a secondary cluster, by its ARN, take over from the primary once it has every write.
    pub async fn switchover_global_cluster(&self, region: &str, id: &str, to: &str) -> Result<Called<()>, AwsError> {
        const ACTION: &str = "rds:SwitchoverGlobalCluster";
        let clients = self.reader().region(ACTION, region)?;
        self.persist(async || {
            let request = clients
                .rds
                .switchover_global_cluster()
                .global_cluster_identifier(id)
                .target_db_cluster_identifier(to);
            clients.gate.call(ACTION, request.send()).await.map(|_| ())
        })
        .await
    }

    /// Lets a secondary cluster, by its ARN, take over as it is: what had not reached it is lost.
    pub async fn failover_global_cluster(&self, region: &str, id: &str, to: &str) -> Result<Called<()>, AwsError> {
        const ACTION: &str = "rds:FailoverGlobalCluster";
        let clients = self.reader().region(ACTION, region)?;
        self.persist(async || {
            let request = clients
                .rds
                .failover_global_cluster()
                .global_cluster_identifier(id)
                .target_db_cluster_identifier(to)
                .allow_data_loss(true);
            clients.gate.call(ACTION, request.send()).await.map(|_| ())
        })
        .await
    }
}

fn global_cluster(global: aws_sdk_rds::types::GlobalCluster) -> GlobalCluster {
    let members = global.global_cluster_members.unwrap_or_default().into_iter();
    GlobalCluster {
        id: global.global_cluster_identifier.unwrap_or_default(),
        status: global.status.unwrap_or_default(),
        members: members
            .map(|member| GlobalMember {
                arn: member.db_cluster_arn.unwrap_or_default(),
                writer: member.is_writer.unwrap_or_default(),
                connected: member.synchronization_status
                    != Some(GlobalClusterMemberSynchronizationStatus::PendingResync),
            })
            .collect(),
    }
}
