//! Auto Scaling: groups, their members, activities and target-tracking policies; processes and the health of members.

use aws_sdk_autoscaling::types::Tag;
use aws_sdk_autoscaling::types::builders::TagBuilder;

use super::{AwsError, Called, Reader, Tags, Writer};

/// A group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// Name.
    pub name: String,
    /// AutoScalingGroupARN.
    pub arn: String,
    /// MinSize.
    pub min: u32,
    /// MaxSize.
    pub max: u32,
    /// DesiredCapacity.
    pub desired: u32,
    /// Members.
    pub members: Vec<Member>,
    /// Target group ARNs.
    pub target_groups: Vec<String>,
    /// Subnets it launches into.
    pub subnets: Vec<String>,
    /// Suspended processes.
    pub suspended: Vec<String>,
    /// Tags.
    pub tags: Tags,
}

/// A member of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Instance id.
    pub id: String,
    /// AZ.
    pub az: String,
    /// LifecycleState is `InService`.
    pub in_service: bool,
    /// HealthStatus is `Healthy`.
    pub healthy: bool,
}

/// A scaling activity.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Activity {
    /// ActivityId.
    pub id: String,
    /// Description.
    pub description: String,
    /// Cause.
    pub cause: String,
    /// StatusCode.
    pub status: String,
    /// StartTime, Unix seconds on the target's clock.
    pub start: f64,
    /// EndTime.
    pub end: Option<f64>,
}

impl Reader {
    /// A group by name; none when there is no such group.
    pub async fn group(&self, region: &str, name: &str) -> Result<Option<Group>, AwsError> {
        const ACTION: &str = "autoscaling:DescribeAutoScalingGroups";
        let clients = self.region(ACTION, region)?;
        let request = clients
            .autoscaling
            .describe_auto_scaling_groups()
            .auto_scaling_group_names(name);
        let answer = clients.gate.call(ACTION, request.send()).await?;
        let groups = answer.auto_scaling_groups.unwrap_or_default();
        Ok(groups.into_iter().map(group).find(|group| group.name == name))
    }

    /// Every group of a Region.
    pub async fn groups(&self, region: &str) -> Result<Vec<Group>, AwsError> {
        const ACTION: &str = "autoscaling:DescribeAutoScalingGroups";
        let clients = self.region(ACTION, region)?;
        let pages = clients.autoscaling.describe_auto_scaling_groups().into_paginator();
        let groups: Vec<_> = clients
            .gate
            .call(ACTION, pages.items().send().collect::<Result<_, _>>())
            .await?;
        Ok(groups.into_iter().map(group).collect())
    }

    /// The newest activities of a group, newest first; AWS keeps six weeks, this asks for the last hundred.
    pub async fn scaling_activities(&self, region: &str, group: &str) -> Result<Vec<Activity>, AwsError> {
        const ACTION: &str = "autoscaling:DescribeScalingActivities";
        let clients = self.region(ACTION, region)?;
        let request = clients
            .autoscaling
            .describe_scaling_activities()
            .auto_scaling_group_name(group)
            .max_records(100);
        let answer = clients.gate.call(ACTION, request.send()).await?;
        let activities = answer.activities.unwrap_or_default().into_iter();
        Ok(activities
            .map(|activity| Activity {
                id: activity.activity_id.unwrap_or_default(),
                description: activity.description.unwrap_or_default(),
                cause: activity.cause.unwrap_or_default(),
                status: activity
                    .status_code
                    .map(|code| code.as_str().to_owned())
                    .unwrap_or_default(),
                start: activity.start_time.map(|time| time.as_secs_f64()).unwrap_or_default(),
                end: activity.end_time.map(|time| time.as_secs_f64()),
            })
            .collect())
    }

    /// The CPU percentage that a group's target-tracking policy keeps, if it has one.
    pub async fn cpu_target(&self, region: &str, group: &str) -> Result<Option<f64>, AwsError> {
        const ACTION: &str = "autoscaling:DescribePolicies";
        let clients = self.region(ACTION, region)?;
        let request = clients.autoscaling.describe_policies().auto_scaling_group_name(group);
        let answer = clients.gate.call(ACTION, request.send()).await?;
        let policies = answer.scaling_policies.unwrap_or_default();
        Ok(policies.into_iter().find_map(|policy| {
            let tracking = policy.target_tracking_configuration?;
            let metric = tracking
                .predefined_metric_specification
                .as_ref()?
                .predefined_metric_type
                .as_ref()?;
            let cpu = metric.as_str() == "ASGAverageCPUUtilization";
            cpu.then_some(tracking.target_value).flatten()
        }))
    }
}

impl Writer {
    /// Suspends processes of a group; harmless when repeated.
    pub async fn suspend_processes(
        &self,
        region: &str,
        group: &str,
        processes: &[String],
    ) -> Result<Called<()>, AwsError> {
        const ACTION: &str = "autoscaling:SuspendProcesses";
        let clients = self.reader().region(ACTION, region)?;
        self.persist(async || {
            let request = clients
                .autoscaling
                .suspend_processes()
                .auto_scaling_group_name(group)
                .set_scaling_processes(Some(processes.to_vec()));
            clients.gate.call(ACTION, request.send()).await.map(|_| ())
        })
        .await
    }

    /// Resumes processes of a group; harmless when repeated.
    pub async fn resume_processes(
        &self,
        region: &str,
        group: &str,
        processes: &[String],
    ) -> Result<Called<()>, AwsError> {
        const ACTION: &str = "autoscaling:ResumeProcesses";
        let clients = self.reader().region(ACTION, region)?;
        self.persist(async || {
            let request = clients
                .autoscaling
                .resume_processes()
                .auto_scaling_group_name(group)
                .set_scaling_processes(Some(processes.to_vec()));
            clients.gate.call(ACTION, request.send()).await.map(|_| ())
        })
        .await
    }

    /// Writes tags on a group, which its instances do not get; harmless when repeated.
    pub async fn tag_group(&self, region: &str, group: &str, tags: &Tags) -> Result<Called<()>, AwsError> {
        const ACTION: &str = "autoscaling:CreateOrUpdateTags";
        let clients = self.reader().region(ACTION, region)?;
        let tags: Vec<Tag> = tags
            .iter()
            .map(|(key, value)| tag(group, key).value(value).propagate_at_launch(false).build())
            .collect();
        self.persist(async || {
            let request = clients.autoscaling.create_or_update_tags().set_tags(Some(tags.clone()));
            clients.gate.call(ACTION, request.send()).await.map(|_| ())
        })
        .await
    }

    /// Takes tags off a group; harmless when repeated.
    pub async fn untag_group(&self, region: &str, group: &str, keys: &[String]) -> Result<Called<()>, AwsError> {
        const ACTION: &str = "autoscaling:DeleteTags";
        let clients = self.reader().region(ACTION, region)?;
        let tags: Vec<Tag> = keys.iter().map(|key| tag(group, key).build()).collect();
        self.persist(async || {
            let request = clients.autoscaling.delete_tags().set_tags(Some(tags.clone()));
            clients.gate.call(ACTION, request.send()).await.map(|_| ())
        })
        .await
    }

    /// Reports an instance as unhealthy to its group, its grace period notwithstanding.
    pub async fn set_instance_unhealthy(&self, region: &str, id: &str) -> Result<Called<()>, AwsError> {
        const ACTION: &str = "autoscaling:SetInstanceHealth";
        let clients = self.reader().region(ACTION, region)?;
        self.persist(async || {
            let request = clients
                .autoscaling
                .set_instance_health()
                .instance_id(id)
                .health_status("Unhealthy")
                .should_respect_grace_period(false);
            clients.gate.call(ACTION, request.send()).await.map(|_| ())
        })
        .await
    }
}

fn tag(group: &str, key: &str) -> TagBuilder {
    Tag::builder()
        .resource_id(group)
        .resource_type("auto-scaling-group")
        .key(key)
}

fn group(group: aws_sdk_autoscaling::types::AutoScalingGroup) -> Group {
    let count = |number: Option<i32>| u32::try_from(number.unwrap_or_default()).unwrap_or_default();
    let zones = group.vpc_zone_identifier.unwrap_or_default();
    let tags = group.tags.unwrap_or_default().into_iter();
    Group {
        name: group.auto_scaling_group_name.unwrap_or_default(),
        arn: group.auto_scaling_group_arn.unwrap_or_default(),
        min: count(group.min_size),
        max: count(group.max_size),
        desired: count(group.desired_capacity),
        members: group
            .instances
            .unwrap_or_default()
            .into_iter()
            .map(|member| Member {
                id: member.instance_id.unwrap_or_default(),
                az: member.availability_zone.unwrap_or_default(),
                in_service: member
                    .lifecycle_state
                    .is_some_and(|state| state.as_str() == "InService"),
                healthy: member
                    .health_status
                    .is_some_and(|health| health.eq_ignore_ascii_case("healthy")),
            })
            .collect(),
        target_groups: group.target_group_arns.unwrap_or_default(),
        subnets: zones
            .split(',')
            .map(|subnet| subnet.trim().to_owned())
            .filter(|subnet| !subnet.is_empty())
            .collect(),
        suspended: group
            .suspended_processes
            .unwrap_or_default()
            .into_iter()
            .filter_map(|process| process.process_name)
            .collect(),
        tags: tags
            .filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default())))
            .collect(),
    }
}
