//! Route 53: which health checks decide about a record, and what their checkers say.

use super::{AwsError, Reader};

/// A health check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthCheck {
    /// Id.
    pub id: String,
    /// What it checks, readable.
    pub endpoint: String,
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
        const ACTION: &str = "route53:ListResourceRecordSets";
        let request = self
            .shared
            .route53
            .list_resource_record_sets()
            .hosted_zone_id(hosted_zone)
            .start_record_name(record);
        let answer = self.global().call(ACTION, request.send()).await?;
        let wanted = record.trim_end_matches('.');
        let mut ids: Vec<String> = answer
            .resource_record_sets
            .into_iter()
            .filter(|set| set.name.trim_end_matches('.').eq_ignore_ascii_case(wanted))
            .filter_map(|set| set.health_check_id)
            .collect();
        ids.sort();
        ids.dedup();
        Ok(ids)
    }

    /// What a health check looks at.
    pub async fn health_check(&self, id: &str) -> Result<HealthCheck, AwsError> {
        const ACTION: &str = "route53:GetHealthCheck";
        let request = self.shared.route53.get_health_check().health_check_id(id);
        let answer = self.global().call(ACTION, request.send()).await?;
        let endpoint = answer
            .health_check
            .and_then(|check| check.health_check_config)
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
