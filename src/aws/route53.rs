//! Route 53: which health checks decide about a record, and what their checkers say.

use std::collections::BTreeMap;

use aws_sdk_route53::types::{
    AliasTarget, Change, ChangeAction, ChangeBatch, HostedZone, ResourceRecord, ResourceRecordSet, RrType, Tag,
    TagResourceType,
};
use serde::{Deserialize, Serialize};

use super::{AwsError, Called, Reader, Tags, Writer};

/// Resources of one ListTagsForResources (API reference).
const TAGGED_AT_ONCE: usize = 10;

/// A health check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthCheck {
    /// Id.
    pub id: String,
    /// What it checks, readable.
    pub endpoint: String,
    /// Whether its verdict is turned over.
    pub inverted: bool,
    /// HealthCheckVersion; each change raises it.
    pub version: i64,
}

/// A record set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordSet {
    /// Name.
    pub name: String,
    /// `A`, `AAAA`, `CNAME`, …
    pub record_type: String,
    /// SetIdentifier; none without a routing policy.
    pub set_identifier: Option<String>,
    /// Weight; none where it is not weighted.
    pub weight: Option<i64>,
    /// Region of latency routing.
    pub region: Option<String>,
    /// Seconds; none for an alias.
    pub ttl: Option<i64>,
    /// Values; none for an alias.
    pub values: Vec<String>,
    /// DNS name, hosted zone and EvaluateTargetHealth of an alias.
    pub alias: Option<(String, String, bool)>,
    /// Health check that decides about it.
    pub health_check: Option<String>,
}

/// What the checkers of one health check say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HealthCheckView {
    /// Checkers whose last check succeeded.
    pub healthy: u32,
    /// Checkers in all.
    pub checkers: u32,
}

impl HealthCheckView {
    /// Healthy overall: more than 18 % of the checkers say so, as AWS documents it.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        u64::from(self.healthy) * 100 > u64::from(self.checkers) * 18
    }
}

impl Reader {
    /// Ids of the health checks on the record sets of a name.
    pub async fn record_health_checks(&self, hosted_zone: &str, record: &str) -> Result<Vec<String>, AwsError> {
        let sets = self.record_sets(hosted_zone, record).await?;
        let mut ids: Vec<String> = sets.into_iter().filter_map(|set| set.health_check).collect();
        ids.sort();
        ids.dedup();
        Ok(ids)
    }

    /// The record sets of a name, its first 300.
    pub async fn record_sets(&self, hosted_zone: &str, record: &str) -> Result<Vec<RecordSet>, AwsError> {
        const ACTION: &str = "route53:ListResourceRecordSets";
        let request = self
            .shared
            .route53
            .list_resource_record_sets()
            .hosted_zone_id(hosted_zone)
            .start_record_name(record);
        let answer = self.global().call(ACTION, request.send()).await?;
        let wanted = record.trim_end_matches('.');
        let sets = answer.resource_record_sets.into_iter();
        Ok(sets
            .filter(|set| set.name.trim_end_matches('.').eq_ignore_ascii_case(wanted))
            .map(RecordSet::of_sdk)
            .collect())
    }

    /// Id and name of every public hosted zone.
    pub async fn hosted_zones(&self) -> Result<Vec<(String, String)>, AwsError> {
        let zones = self.list_hosted_zones().await?;
        let public = zones
            .into_iter()
            .filter(|zone| !zone.config.as_ref().is_some_and(|config| config.private_zone));
        Ok(public.map(|zone| (bare_id(&zone.id), zone.name)).collect())
    }

    /// Id of every hosted zone, the private ones included.
    pub async fn every_hosted_zone(&self) -> Result<Vec<String>, AwsError> {
        let zones = self.list_hosted_zones().await?;
        Ok(zones.iter().map(|zone| bare_id(&zone.id)).collect())
    }

    async fn list_hosted_zones(&self) -> Result<Vec<HostedZone>, AwsError> {
        const ACTION: &str = "route53:ListHostedZones";
        let pages = self.shared.route53.list_hosted_zones().into_paginator();
        let zones = pages.items().send().collect::<Result<_, _>>();
        self.global().call(ACTION, zones).await
    }

    /// Every record set of a zone.
    pub async fn all_record_sets(&self, hosted_zone: &str) -> Result<Vec<RecordSet>, AwsError> {
        const ACTION: &str = "route53:ListResourceRecordSets";
        let mut all = Vec::new();
        let mut next: Option<(String, RrType, Option<String>)> = None;
        loop {
            let mut request = self
                .shared
                .route53
                .list_resource_record_sets()
                .hosted_zone_id(hosted_zone);
            if let Some((name, of_type, identifier)) = next {
                request = request
                    .start_record_name(name)
                    .start_record_type(of_type)
                    .set_start_record_identifier(identifier);
            }
            let answer = self.global().call(ACTION, request.send()).await?;
            all.extend(answer.resource_record_sets.into_iter().map(RecordSet::of_sdk));
            next = match (answer.is_truncated, answer.next_record_name, answer.next_record_type) {
                (true, Some(name), Some(of_type)) => Some((name, of_type, answer.next_record_identifier)),
                _ => return Ok(all),
            };
        }
    }

    /// Tags of a `healthcheck` or a `hostedzone`.
    pub async fn route53_tags(&self, kind: &str, id: &str) -> Result<Tags, AwsError> {
        const ACTION: &str = "route53:ListTagsForResource";
        let request = self
            .shared
            .route53
            .list_tags_for_resource()
            .resource_type(TagResourceType::from(kind))
            .resource_id(id);
        let answer = self.global().call(ACTION, request.send()).await?;
        let tags = answer.resource_tag_set.and_then(|set| set.tags).unwrap_or_default();
        let pairs = tags.into_iter();
        Ok(pairs
            .filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default())))
            .collect())
    }

    /// Tags of some `healthcheck`s or `hostedzone`s, by id.
    pub async fn every_route53_tag(&self, kind: &str, ids: &[String]) -> Result<BTreeMap<String, Tags>, AwsError> {
        const ACTION: &str = "route53:ListTagsForResources";
        let mut found = BTreeMap::new();
        for some in ids.chunks(TAGGED_AT_ONCE) {
            let request = self
                .shared
                .route53
                .list_tags_for_resources()
                .resource_type(TagResourceType::from(kind))
                .set_resource_ids(Some(some.to_vec()));
            let answer = self.global().call(ACTION, request.send()).await?;
            for set in answer.resource_tag_sets {
                let tags = set.tags.unwrap_or_default().into_iter();
                let tags = tags.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default())));
                found.insert(set.resource_id.unwrap_or_default(), tags.collect());
            }
        }
        Ok(found)
    }

    /// Ids of every health check of the account.
    pub async fn every_health_check(&self) -> Result<Vec<String>, AwsError> {
        const ACTION: &str = "route53:ListHealthChecks";
        let pages = self.shared.route53.list_health_checks().into_paginator();
        let checks: Vec<_> = self
            .global()
            .call(ACTION, pages.items().send().collect::<Result<_, _>>())
            .await?;
        Ok(checks.into_iter().map(|check| check.id).collect())
    }

    /// What a health check looks at.
    pub async fn health_check(&self, id: &str) -> Result<HealthCheck, AwsError> {
        const ACTION: &str = "route53:GetHealthCheck";
        let request = self.shared.route53.get_health_check().health_check_id(id);
        let answer = self.global().call(ACTION, request.send()).await?;
        let check = answer.health_check;
        let version = check
            .as_ref()
            .map(|check| check.health_check_version)
            .unwrap_or_default();
        let config = check.and_then(|check| check.health_check_config);
        let inverted = config.as_ref().and_then(|config| config.inverted).unwrap_or_default();
        let endpoint = config
            .map(|config| {
                let host = config
                    .fully_qualified_domain_name
                    .or(config.ip_address)
                    .unwrap_or_default();
                let port = config.port.map(|port| format!(":{port}")).unwrap_or_default();
                format!("{host}{port}{}", config.resource_path.unwrap_or_default())
            })
            .unwrap_or_default();
        Ok(HealthCheck {
            id: id.to_owned(),
            endpoint,
            inverted,
            version,
        })
    }

    /// What the checkers say now. AWS gives one text per checker; those that begin with `Success` are healthy.
    pub async fn health_check_view(&self, id: &str) -> Result<HealthCheckView, AwsError> {
        const ACTION: &str = "route53:GetHealthCheckStatus";
        let request = self.shared.route53.get_health_check_status().health_check_id(id);
        let answer = self.global().call(ACTION, request.send()).await?;
        let observations = answer.health_check_observations;
        let healthy = observations.iter().filter(|observation| {
            let report = observation.status_report.as_ref();
            let status = report.and_then(|report| report.status.as_deref());
            status.is_some_and(|status| status.starts_with("Success"))
        });
        Ok(HealthCheckView {
            healthy: u32::try_from(healthy.count()).unwrap_or(u32::MAX),
            checkers: u32::try_from(observations.len()).unwrap_or(u32::MAX),
        })
    }
}

impl Writer {
    /// Writes tags on a `healthcheck` or a `hostedzone`; harmless when repeated.
    pub async fn tag_route53(&self, kind: &str, id: &str, tags: &Tags) -> Result<Called<()>, AwsError> {
        let tags = tags
            .iter()
            .map(|(key, value)| Tag::builder().key(key).value(value).build());
        self.change_tags(kind, id, Some(tags.collect()), None).await
    }

    /// Takes tags off a `healthcheck` or a `hostedzone`; harmless when repeated.
    pub async fn untag_route53(&self, kind: &str, id: &str, keys: &[String]) -> Result<Called<()>, AwsError> {
        self.change_tags(kind, id, None, Some(keys.to_vec())).await
    }

    async fn change_tags(
        &self,
        kind: &str,
        id: &str,
        add: Option<Vec<Tag>>,
        remove: Option<Vec<String>>,
    ) -> Result<Called<()>, AwsError> {
        const ACTION: &str = "route53:ChangeTagsForResource";
        let reader = self.reader();
        self.persist(async || {
            let request = reader
                .shared
                .route53
                .change_tags_for_resource()
                .resource_type(TagResourceType::from(kind))
                .resource_id(id)
                .set_add_tags(add.clone())
                .set_remove_tag_keys(remove.clone());
            reader.global().call(ACTION, request.send()).await.map(|_| ())
        })
        .await
    }

    /// Turns a health check's verdict over, or back; refused where its version is another one by now.
    pub async fn set_inverted(&self, id: &str, inverted: bool, version: i64) -> Result<Called<()>, AwsError> {
        const ACTION: &str = "route53:UpdateHealthCheck";
        let reader = self.reader();
        self.persist(async || {
            let request = reader
                .shared
                .route53
                .update_health_check()
                .health_check_id(id)
                .inverted(inverted)
                .health_check_version(version);
            reader.global().call(ACTION, request.send()).await.map(|_| ())
        })
        .await
    }

    /// Writes a record set as given, whatever it was.
    pub async fn upsert_record_set(&self, hosted_zone: &str, set: &RecordSet) -> Result<Called<()>, AwsError> {
        const ACTION: &str = "route53:ChangeResourceRecordSets";
        let reader = self.reader();
        let missing = |_| AwsError::incomplete(ACTION, "global", "member that a record set needs");
        let set = set.to_sdk().map_err(missing)?;
        let change = Change::builder()
            .action(ChangeAction::Upsert)
            .resource_record_set(set)
            .build()
            .map_err(missing)?;
        let batch = ChangeBatch::builder().changes(change).build().map_err(missing)?;
        self.persist(async || {
            let request = reader
                .shared
                .route53
                .change_resource_record_sets()
                .hosted_zone_id(hosted_zone)
                .change_batch(batch.clone());
            reader.global().call(ACTION, request.send()).await.map(|_| ())
        })
        .await
    }
}

fn bare_id(id: &str) -> String {
    id.trim_start_matches("/hostedzone/").to_owned()
}

impl RecordSet {
    fn of_sdk(set: ResourceRecordSet) -> Self {
        Self {
            name: set.name,
            record_type: set.r#type.as_str().to_owned(),
            set_identifier: set.set_identifier,
            weight: set.weight,
            region: set.region.map(|region| region.as_str().to_owned()),
            ttl: set.ttl,
            values: set
                .resource_records
                .unwrap_or_default()
                .into_iter()
                .map(|record| record.value)
                .collect(),
            alias: set
                .alias_target
                .map(|alias| (alias.dns_name, alias.hosted_zone_id, alias.evaluate_target_health)),
            health_check: set.health_check_id,
        }
    }

    /// As the API takes it; of the routing policies only the weighted one, which is what is ever written back.
    fn to_sdk(&self) -> Result<ResourceRecordSet, aws_sdk_route53::error::BuildError> {
        let alias = self.alias.as_ref().map(|(name, zone, evaluate)| {
            AliasTarget::builder()
                .dns_name(name)
                .hosted_zone_id(zone)
                .evaluate_target_health(*evaluate)
                .build()
        });
        let values = self
            .values
            .iter()
            .map(|value| ResourceRecord::builder().value(value).build());
        let values: Vec<ResourceRecord> = values.collect::<Result<_, _>>()?;
        ResourceRecordSet::builder()
            .name(&self.name)
            .r#type(RrType::from(self.record_type.as_str()))
            .set_set_identifier(self.set_identifier.clone())
            .set_weight(self.weight)
            .set_ttl(self.ttl)
            .set_resource_records((!values.is_empty()).then_some(values))
            .set_alias_target(alias.transpose()?)
            .set_health_check_id(self.health_check.clone())
            .build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_eighteen_percent_is_healthy() {
        let view = |healthy| HealthCheckView { healthy, checkers: 16 };
        assert!(!view(2).is_healthy());
        assert!(view(3).is_healthy());
        assert!(!HealthCheckView::default().is_healthy());
    }
}
