//! Elastic Load Balancing: load balancers, target groups and the health of targets.

use super::{AwsError, Reader};

/// A load balancer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadBalancer {
    /// ARN.
    pub arn: String,
    /// Name.
    pub name: String,
    /// DNS name.
    pub dns_name: String,
    /// VPC.
    pub vpc: String,
}

/// A target group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetGroup {
    /// ARN.
    pub arn: String,
    /// ARNs of the load balancers that send to it.
    pub load_balancers: Vec<String>,
}

/// A target and its health.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Instance id.
    pub id: String,
    /// `initial`, `healthy`, `unhealthy`, `unhealthy.draining`, `unused`, `draining`, `unavailable`.
    pub state: String,
    /// Reason, `Target.Timeout` for example.
    pub reason: Option<String>,
}

impl Reader {
    /// Target groups by ARN.
    pub async fn target_groups(&self, region: &str, arns: &[String]) -> Result<Vec<TargetGroup>, AwsError> {
        const ACTION: &str = "elasticloadbalancing:DescribeTargetGroups";
        if arns.is_empty() {
            return Ok(Vec::new());
        }
        let clients = self.region(ACTION, region)?;
        let request = clients
            .elasticloadbalancingv2
            .describe_target_groups()
            .set_target_group_arns(Some(arns.to_vec()));
        let answer = clients.gate.call(ACTION, request.send()).await?;
        let groups = answer.target_groups.unwrap_or_default().into_iter();
        Ok(groups
            .map(|group| TargetGroup {
                arn: group.target_group_arn.unwrap_or_default(),
                load_balancers: group.load_balancer_arns.unwrap_or_default(),
            })
            .collect())
    }

    /// Load balancers by ARN.
    pub async fn load_balancers(&self, region: &str, arns: &[String]) -> Result<Vec<LoadBalancer>, AwsError> {
        const ACTION: &str = "elasticloadbalancing:DescribeLoadBalancers";
        if arns.is_empty() {
            return Ok(Vec::new());
        }
        let clients = self.region(ACTION, region)?;
        let request = clients
            .elasticloadbalancingv2
            .describe_load_balancers()
            .set_load_balancer_arns(Some(arns.to_vec()));
        let answer = clients.gate.call(ACTION, request.send()).await?;
        let balancers = answer.load_balancers.unwrap_or_default().into_iter();
        Ok(balancers
            .map(|balancer| LoadBalancer {
                arn: balancer.load_balancer_arn.unwrap_or_default(),
                name: balancer.load_balancer_name.unwrap_or_default(),
                dns_name: balancer.dns_name.unwrap_or_default(),
                vpc: balancer.vpc_id.unwrap_or_default(),
            })
            .collect())
    }

    /// Health of every target of a group.
    pub async fn target_health(&self, region: &str, target_group: &str) -> Result<Vec<Target>, AwsError> {
        const ACTION: &str = "elasticloadbalancing:DescribeTargetHealth";
        let clients = self.region(ACTION, region)?;
        let request = clients
            .elasticloadbalancingv2
            .describe_target_health()
            .target_group_arn(target_group);
        let answer = clients.gate.call(ACTION, request.send()).await?;
        let targets = answer.target_health_descriptions.unwrap_or_default().into_iter();
        Ok(targets
            .map(|description| {
                let health = description.target_health;
                Target {
                    id: description.target.and_then(|target| target.id).unwrap_or_default(),
                    state: health
                        .as_ref()
                        .and_then(|health| health.state.as_ref())
                        .map(|state| state.as_str().to_owned())
                        .unwrap_or_default(),
                    reason: health
                        .and_then(|health| health.reason)
                        .map(|reason| reason.as_str().to_owned()),
                }
            })
            .collect())
    }
}
