//! RDS: instances, their events, the reboot that fails over, stop and start; Aurora's clusters stand in `cluster` and `global`.

mod cluster;
mod global;
mod tagging;

use aws_sdk_rds::primitives::DateTime;
use aws_sdk_rds::types::SourceType;

use super::{AwsError, Called, Reader, Tags, Writer};

pub use cluster::{ClusterMember, DbCluster};
pub use global::{GlobalCluster, GlobalMember};

/// An RDS instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DbInstance {
    /// Identifier.
    pub id: String,
    /// ARN.
    pub arn: String,
    /// DBInstanceStatus.
    pub status: String,
    /// Multi-AZ.
    pub multi_az: bool,
    /// AZ of the primary.
    pub az: String,
    /// AZ of the standby; none while it is missing.
    pub secondary_az: Option<String>,
    /// The cluster that it is a member of.
    pub cluster: Option<String>,
    /// Tags.
    pub tags: Tags,
}

/// An RDS event. `RDS-EVENT-nnnn` ids are not part of the API's answer, so the message must be matched.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DbEvent {
    /// Date, Unix seconds on the target's clock.
    pub date: f64,
    /// Message.
    pub message: String,
    /// Categories.
    pub categories: Vec<String>,
}

impl Reader {
    /// An instance by identifier; none when there is no such instance.
    pub async fn db_instance(&self, region: &str, id: &str) -> Result<Option<DbInstance>, AwsError> {
        const ACTION: &str = "rds:DescribeDBInstances";
        let clients = self.region(ACTION, region)?;
        let request = clients.rds.describe_db_instances().db_instance_identifier(id);
        match clients.gate.call(ACTION, request.send()).await {
            Ok(answer) => {
                let instances = answer.db_instances.unwrap_or_default();
                Ok(instances
                    .into_iter()
                    .map(db_instance)
                    .find(|instance| instance.id == id))
            }
            Err(error) if error.kind == super::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every instance of a Region.
    pub async fn db_instances(&self, region: &str) -> Result<Vec<DbInstance>, AwsError> {
        const ACTION: &str = "rds:DescribeDBInstances";
        let clients = self.region(ACTION, region)?;
        let pages = clients.rds.describe_db_instances().into_paginator();
        let instances: Vec<_> = clients
            .gate
            .call(ACTION, pages.items().send().collect::<Result<_, _>>())
            .await?;
        Ok(instances.into_iter().map(db_instance).collect())
    }

    /// Events of an instance since a time of the target's clock, oldest first.
    pub async fn db_events(&self, region: &str, id: &str, since: f64) -> Result<Vec<DbEvent>, AwsError> {
        self.rds_events(region, SourceType::DbInstance, id, since).await
    }

    async fn rds_events(&self, region: &str, of: SourceType, id: &str, since: f64) -> Result<Vec<DbEvent>, AwsError> {
        const ACTION: &str = "rds:DescribeEvents";
        let clients = self.region(ACTION, region)?;
        let request = clients
            .rds
            .describe_events()
            .source_type(of)
            .source_identifier(id)
            .start_time(DateTime::from_secs_f64(since));
        let answer = clients.gate.call(ACTION, request.send()).await?;
        let events = answer.events.unwrap_or_default().into_iter();
        let mut events: Vec<DbEvent> = events
            .map(|event| DbEvent {
                date: event.date.map(|date| date.as_secs_f64()).unwrap_or_default(),
                message: event.message.unwrap_or_default(),
                categories: event.event_categories.unwrap_or_default(),
            })
            .collect();
        events.sort_by(|one, other| one.date.total_cmp(&other.date));
        Ok(events)
    }
}

impl Writer {
    /// Reboots an instance; `failover` asks for the standby to take over, which only a Multi-AZ instance can do.
    pub async fn reboot_db_instance(&self, region: &str, id: &str, failover: bool) -> Result<Called<()>, AwsError> {
        const ACTION: &str = "rds:RebootDBInstance";
        let clients = self.reader().region(ACTION, region)?;
        self.persist(async || {
            let request = clients
                .rds
                .reboot_db_instance()
                .db_instance_identifier(id)
                .set_force_failover(failover.then_some(true));
            clients.gate.call(ACTION, request.send()).await.map(|_| ())
        })
        .await
    }

    /// Stops an instance.
    pub async fn stop_db_instance(&self, region: &str, id: &str) -> Result<Called<()>, AwsError> {
        const ACTION: &str = "rds:StopDBInstance";
        let clients = self.reader().region(ACTION, region)?;
        self.persist(async || {
            let request = clients.rds.stop_db_instance().db_instance_identifier(id);
            clients.gate.call(ACTION, request.send()).await.map(|_| ())
        })
        .await
    }

    /// Starts an instance that is stopped.
    pub async fn start_db_instance(&self, region: &str, id: &str) -> Result<Called<()>, AwsError> {
        const ACTION: &str = "rds:StartDBInstance";
        let clients = self.reader().region(ACTION, region)?;
        self.persist(async || {
            let request = clients.rds.start_db_instance().db_instance_identifier(id);
            clients.gate.call(ACTION, request.send()).await.map(|_| ())
        })
        .await
    }
}

fn db_instance(instance: aws_sdk_rds::types::DbInstance) -> DbInstance {
    DbInstance {
        id: instance.db_instance_identifier.unwrap_or_default(),
        arn: instance.db_instance_arn.unwrap_or_default(),
        status: instance.db_instance_status.unwrap_or_default(),
        multi_az: instance.multi_az.unwrap_or_default(),
        az: instance.availability_zone.unwrap_or_default(),
        secondary_az: instance.secondary_availability_zone.filter(|az| !az.is_empty()),
        cluster: instance.db_cluster_identifier.filter(|cluster| !cluster.is_empty()),
        tags: tags(instance.tag_list),
    }
}

fn tags(list: Option<Vec<aws_sdk_rds::types::Tag>>) -> Tags {
    let tags = list.unwrap_or_default().into_iter();
    tags.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default())))
        .collect()
}
