//! Elastic Load Balancing: load balancers, target groups, and targets with their health.

use std::collections::BTreeMap;

use aws_sdk_elasticloadbalancingv2::types::{Tag, TargetDescription};

use super::{AwsError, Called, Reader, Tags, Writer};

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
    /// Path of its health check; none where that is not by HTTP.
    pub health_check_path: Option<String>,
}

/// A target and its health.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Instance id.
    pub id: String,
    /// Port it is registered with.
    pub port: Option<i32>,
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
                health_check_path: group.health_check_path,
            })
            .collect())
    }

    /// ARNs of every target group of a Region.
    pub async fn every_target_group(&self, region: &str) -> Result<Vec<String>, AwsError> {
        const ACTION: &str = "elasticloadbalancing:DescribeTargetGroups";
        let clients = self.region(ACTION, region)?;
        let pages = clients
            .elasticloadbalancingv2
            .describe_target_groups()
            .into_paginator()
            .items()
            .send();
        let groups: Vec<_> = clients.gate.call(ACTION, pages.collect::<Result<_, _>>()).await?;
        Ok(groups.into_iter().filter_map(|group| group.target_group_arn).collect())
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

    /// Ports and protocols (`HTTP`, `HTTPS`, …) on which a load balancer listens.
    pub async fn listeners(&self, region: &str, load_balancer: &str) -> Result<Vec<(u16, String)>, AwsError> {
        const ACTION: &str = "elasticloadbalancing:DescribeListeners";
        let clients = self.region(ACTION, region)?;
        let request = clients
            .elasticloadbalancingv2
            .describe_listeners()
            .load_balancer_arn(load_balancer);
        let answer = clients.gate.call(ACTION, request.send()).await?;
        let listeners = answer.listeners.unwrap_or_default().into_iter();
        Ok(listeners
            .filter_map(|one| Some((u16::try_from(one.port?).ok()?, one.protocol?.as_str().to_owned())))
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
                let (health, target) = (description.target_health, description.target);
                Target {
                    port: target.as_ref().and_then(|target| target.port),
                    id: target.and_then(|target| target.id).unwrap_or_default(),
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

    /// Tags of target groups or load balancers, by ARN; 20 of them at most.
    pub async fn elb_tags(&self, region: &str, arns: &[String]) -> Result<BTreeMap<String, Tags>, AwsError> {
        const ACTION: &str = "elasticloadbalancing:DescribeTags";
        if arns.is_empty() {
            return Ok(BTreeMap::new());
        }
        let clients = self.region(ACTION, region)?;
        let request = clients
            .elasticloadbalancingv2
            .describe_tags()
            .set_resource_arns(Some(arns.to_vec()));
        let answer = clients.gate.call(ACTION, request.send()).await?;
        let described = answer.tag_descriptions.unwrap_or_default().into_iter();
        Ok(described
            .filter_map(|one| {
                let tags = one.tags.unwrap_or_default().into_iter();
                let tags = tags.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default())));
                Some((one.resource_arn?, tags.collect()))
            })
            .collect())
    }
}

impl Writer {
    /// Takes targets out of a target group; harmless when repeated.
    pub async fn deregister_targets(
        &self,
        region: &str,
        target_group: &str,
        targets: &[(String, Option<i32>)],
    ) -> Result<Called<()>, AwsError> {
        const ACTION: &str = "elasticloadbalancing:DeregisterTargets";
        let clients = self.reader().region(ACTION, region)?;
        self.persist(async || {
            let request = clients
                .elasticloadbalancingv2
                .deregister_targets()
                .target_group_arn(target_group)
                .set_targets(Some(descriptions(targets)));
            clients.gate.call(ACTION, request.send()).await.map(|_| ())
        })
        .await
    }

    /// Registers targets with a target group; harmless when repeated.
    pub async fn register_targets(
        &self,
        region: &str,
        target_group: &str,
        targets: &[(String, Option<i32>)],
    ) -> Result<Called<()>, AwsError> {
        const ACTION: &str = "elasticloadbalancing:RegisterTargets";
        let clients = self.reader().region(ACTION, region)?;
        self.persist(async || {
            let request = clients
                .elasticloadbalancingv2
                .register_targets()
                .target_group_arn(target_group)
                .set_targets(Some(descriptions(targets)));
            clients.gate.call(ACTION, request.send()).await.map(|_| ())
        })
        .await
    }

    /// Writes tags on a target group; harmless when repeated.
    pub async fn tag_target_group(&self, region: &str, arn: &str, tags: &Tags) -> Result<Called<()>, AwsError> {
        const ACTION: &str = "elasticloadbalancing:AddTags";
        let clients = self.reader().region(ACTION, region)?;
        let tags: Vec<Tag> = tags
            .iter()
            .map(|(key, value)| Tag::builder().key(key).value(value).build())
            .collect();
        self.persist(async || {
            let request = clients.elasticloadbalancingv2.add_tags().resource_arns(arn);
            let request = request.set_tags(Some(tags.clone()));
            clients.gate.call(ACTION, request.send()).await.map(|_| ())
        })
        .await
    }

    /// Takes tags off a target group; harmless when repeated.
    pub async fn untag_target_group(&self, region: &str, arn: &str, keys: &[String]) -> Result<Called<()>, AwsError> {
        const ACTION: &str = "elasticloadbalancing:RemoveTags";
        let clients = self.reader().region(ACTION, region)?;
        self.persist(async || {
            let request = clients.elasticloadbalancingv2.remove_tags().resource_arns(arn);
            let request = request.set_tag_keys(Some(keys.to_vec()));
            clients.gate.call(ACTION, request.send()).await.map(|_| ())
        })
        .await
    }

    /// Gives a target group another health-check path.
    pub async fn set_health_check_path(
        &self,
        region: &str,
        target_group: &str,
        path: &str,
    ) -> Result<Called<()>, AwsError> {
        const ACTION: &str = "elasticloadbalancing:ModifyTargetGroup";
        let clients = self.reader().region(ACTION, region)?;
        self.persist(async || {
            let request = clients
                .elasticloadbalancingv2
                .modify_target_group()
                .target_group_arn(target_group)
                .health_check_path(path);
            clients.gate.call(ACTION, request.send()).await.map(|_| ())
        })
        .await
    }
}

fn descriptions(targets: &[(String, Option<i32>)]) -> Vec<TargetDescription> {
    let described = targets
        .iter()
        .map(|(id, port)| TargetDescription::builder().id(id).set_port(*port).build());
    described.collect()
}
