//! The calls that faults are made of, as a seam: the real one is the AWS writer, tests hold a small cloud in memory.

use std::future::Future;

use crate::aws::{AwsError, Called, DbEvent, DbInstance, ErrorKind, Group, Instance, NetworkAcl, Subnet, Tags, Writer};

/// Result of a reading call.
pub type Read<T> = Result<T, AwsError>;
/// Result of a changing call.
pub type Wrote<T> = Result<Called<T>, AwsError>;

/// What faults need of an account.
pub trait Cloud: Send + Sync {
    /// Account id of the credentials.
    fn account(&self, region: &str) -> impl Future<Output = Read<String>> + Send;
    /// An Auto Scaling group.
    fn group(&self, region: &str, name: &str) -> impl Future<Output = Read<Option<Group>>> + Send;
    /// Instances by id.
    fn instances(&self, region: &str, ids: &[String]) -> impl Future<Output = Read<Vec<Instance>>> + Send;
    /// Terminates instances.
    fn terminate(&self, region: &str, ids: &[String]) -> impl Future<Output = Wrote<()>> + Send;
    /// An RDS instance.
    fn db_instance(&self, region: &str, id: &str) -> impl Future<Output = Read<Option<DbInstance>>> + Send;
    /// Its events since a cloud time.
    fn db_events(&self, region: &str, id: &str, since: f64) -> impl Future<Output = Read<Vec<DbEvent>>> + Send;
    /// Reboots it.
    fn reboot(&self, region: &str, id: &str, failover: bool) -> impl Future<Output = Wrote<()>> + Send;
    /// Subnets by id.
    fn subnets(&self, region: &str, ids: &[String]) -> impl Future<Output = Read<Vec<Subnet>>> + Send;
    /// Subnets of a VPC.
    fn subnets_of(&self, region: &str, vpc: &str) -> impl Future<Output = Read<Vec<Subnet>>> + Send;
    /// Network ACLs of a VPC.
    fn network_acls(&self, region: &str, vpc: &str) -> impl Future<Output = Read<Vec<NetworkAcl>>> + Send;
    /// Creates an ACL that denies everything.
    fn create_acl(
        &self,
        region: &str,
        vpc: &str,
        tags: &Tags,
        token: &str,
    ) -> impl Future<Output = Wrote<String>> + Send;
    /// Puts a subnet under another ACL.
    fn replace_association(
        &self,
        region: &str,
        association: &str,
        acl: &str,
    ) -> impl Future<Output = Wrote<String>> + Send;
    /// Deletes an ACL.
    fn delete_acl(&self, region: &str, acl: &str) -> impl Future<Output = Wrote<()>> + Send;
}

impl Cloud for Writer {
    async fn account(&self, region: &str) -> Read<String> {
        self.reader().account(region).await
    }

    async fn group(&self, region: &str, name: &str) -> Read<Option<Group>> {
        self.reader().group(region, name).await
    }

    async fn instances(&self, region: &str, ids: &[String]) -> Read<Vec<Instance>> {
        match self.reader().instances(region, ids).await {
            // One forgotten id spoils the whole call; a caller then sees none of them, which is the truth for all.
            Err(error) if error.kind == ErrorKind::NotFound => Ok(Vec::new()),
            answer => answer,
        }
    }

    async fn terminate(&self, region: &str, ids: &[String]) -> Wrote<()> {
        self.terminate_instances(region, ids).await
    }

    async fn db_instance(&self, region: &str, id: &str) -> Read<Option<DbInstance>> {
        self.reader().db_instance(region, id).await
    }

    async fn db_events(&self, region: &str, id: &str, since: f64) -> Read<Vec<DbEvent>> {
        self.reader().db_events(region, id, since).await
    }

    async fn reboot(&self, region: &str, id: &str, failover: bool) -> Wrote<()> {
        self.reboot_db_instance(region, id, failover).await
    }

    async fn subnets(&self, region: &str, ids: &[String]) -> Read<Vec<Subnet>> {
        self.reader().subnets(region, ids).await
    }

    async fn subnets_of(&self, region: &str, vpc: &str) -> Read<Vec<Subnet>> {
        self.reader().subnets_of(region, vpc).await
    }

    async fn network_acls(&self, region: &str, vpc: &str) -> Read<Vec<NetworkAcl>> {
        self.reader().network_acls(region, vpc).await
    }

    async fn create_acl(&self, region: &str, vpc: &str, tags: &Tags, token: &str) -> Wrote<String> {
        self.create_network_acl(region, vpc, tags, token).await
    }

    async fn replace_association(&self, region: &str, association: &str, acl: &str) -> Wrote<String> {
        self.replace_network_acl_association(region, association, acl).await
    }

    async fn delete_acl(&self, region: &str, acl: &str) -> Wrote<()> {
        self.delete_network_acl(region, acl).await
    }
}
