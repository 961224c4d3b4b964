//! Tags of instances and of Aurora's clusters: they go by ARN, and what remembers one knows no more than its identifier.

use aws_sdk_rds::types::Tag;

use crate::aws::{AwsError, Called, Tags, Writer};

const ADD: &str = "rds:AddTagsToResource";
const REMOVE: &str = "rds:RemoveTagsFromResource";

impl Writer {
    /// Writes tags on an instance, in whatever state it is; harmless when repeated.
    pub async fn tag_db_instance(&self, region: &str, id: &str, tags: &Tags) -> Result<Called<()>, AwsError> {
        let arn = self.db_arn(ADD, region, id).await?;
        self.add_rds_tags(region, &arn, tags).await
    }

    /// Takes tags off an instance; harmless when repeated.
    pub async fn untag_db_instance(&self, region: &str, id: &str, keys: &[String]) -> Result<Called<()>, AwsError> {
        let arn = self.db_arn(REMOVE, region, id).await?;
        self.remove_rds_tags(region, &arn, keys).await
    }

    /// Writes tags on a cluster; harmless when repeated.
    pub async fn tag_db_cluster(&self, region: &str, id: &str, tags: &Tags) -> Result<Called<()>, AwsError> {
        let arn = self.cluster_arn(ADD, region, id).await?;
        self.add_rds_tags(region, &arn, tags).await
    }

    /// Takes tags off a cluster; harmless when repeated.
    pub async fn untag_db_cluster(&self, region: &str, id: &str, keys: &[String]) -> Result<Called<()>, AwsError> {
        let arn = self.cluster_arn(REMOVE, region, id).await?;
        self.remove_rds_tags(region, &arn, keys).await
    }

    async fn add_rds_tags(&self, region: &str, arn: &str, tags: &Tags) -> Result<Called<()>, AwsError> {
        let clients = self.reader().region(ADD, region)?;
        let tags: Vec<Tag> = tags
            .iter()
            .map(|(key, value)| Tag::builder().key(key).value(value).build())
            .collect();
        self.persist(async || {
            let request = clients.rds.add_tags_to_resource().resource_name(arn);
            let request = request.set_tags(Some(tags.clone()));
            clients.gate.call(ADD, request.send()).await.map(|_| ())
        })
        .await
    }

    async fn remove_rds_tags(&self, region: &str, arn: &str, keys: &[String]) -> Result<Called<()>, AwsError> {
        let clients = self.reader().region(REMOVE, region)?;
        self.persist(async || {
            let request = clients.rds.remove_tags_from_resource().resource_name(arn);
            let request = request.set_tag_keys(Some(keys.to_vec()));
            clients.gate.call(REMOVE, request.send()).await.map(|_| ())
        })
        .await
    }

    async fn db_arn(&self, action: &'static str, region: &str, id: &str) -> Result<String, AwsError> {
        let found = self.reader().db_instance(region, id).await?;
        found
            .map(|found| found.arn)
            .ok_or_else(|| AwsError::absent(action, region, &format!("RDS instance {id}")))
    }

    async fn cluster_arn(&self, action: &'static str, region: &str, id: &str) -> Result<String, AwsError> {
        let found = self.reader().db_cluster(region, id).await?;
        found
            .map(|found| found.arn)
            .ok_or_else(|| AwsError::absent(action, region, &format!("Aurora cluster {id}")))
    }
}
