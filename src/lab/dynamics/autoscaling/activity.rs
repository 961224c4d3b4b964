//! Scaling activities as DescribeScalingActivities answers them, and the sentences AWS puts into their causes.
//! Decides nothing; `reconcile` and `policy` say what happened.

use crate::lab::Lab;
use crate::lab::dynamics::iso;
use crate::lab::world::{AutoScalingGroup, CloudTime, Instance, ScalingActivity};

/// AWS keeps six weeks of them; the lab keeps this many.
const REMEMBERED: usize = 500;

/// Records the start of a launch.
pub fn launching(lab: &Lab, group: &mut AutoScalingGroup, instance: &Instance, cause: String, now: CloudTime) {
    let description = format!("Launching a new EC2 instance: {}", instance.id);
    begin(lab, group, instance, description, cause, "PreInService", now);
}

/// Records the start of a termination.
pub fn terminating(
    lab: &Lab,
    group: &mut AutoScalingGroup,
    instance: &Instance,
    cause: String,
    status: &str,
    now: CloudTime,
) {
    let description = format!("Terminating EC2 instance: {}", instance.id);
    begin(lab, group, instance, description, cause, status, now);
}

/// Records a launch that failed for want of capacity, in AWS's words.
pub fn failed(lab: &Lab, group: &mut AutoScalingGroup, subnet: &str, az: &str, cause: String, now: CloudTime) {
    let message = format!(
        "We currently do not have sufficient m7i.large capacity in the Availability Zone you requested ({az}). Our \
         system will be working on provisioning additional capacity. Launching EC2 instance failed."
    );
    let details = serde_json::json!({"Subnet ID": subnet, "Availability Zone": az}).to_string();
    group.activities.push_front(ScalingActivity {
        id: lab.uuid(),
        description: format!("Launching a new EC2 instance.  Status Reason: {message}"),
        cause,
        start_time: now,
        end_time: Some(now),
        status_code: "Failed".to_owned(),
        status_message: Some(message),
        progress: 100,
        details,
        instance_id: None,
    });
    group.activities.truncate(REMEMBERED);
}

/// Ends the open activity of an instance.
pub fn finish(group: &mut AutoScalingGroup, instance_id: &str, now: CloudTime, failure: Option<&str>) {
    let open = |a: &&mut ScalingActivity| a.end_time.is_none() && a.instance_id.as_deref() == Some(instance_id);
    if let Some(activity) = group.activities.iter_mut().find(open) {
        activity.end_time = Some(now);
        activity.progress = 100;
        activity.status_code = if failure.is_some() { "Failed" } else { "Successful" }.to_owned();
        activity.status_message = failure.map(str::to_owned);
    }
}

/// Moves the open activity of an instance on to another status.
pub fn advance(group: &mut AutoScalingGroup, instance_id: &str, status: &str, progress: u32) {
    let open = |a: &&mut ScalingActivity| a.end_time.is_none() && a.instance_id.as_deref() == Some(instance_id);
    if let Some(activity) = group.activities.iter_mut().find(open) {
        activity.status_code = status.to_owned();
        activity.progress = progress;
    }
}

/// Cause of a launch that fills a gap; `because` is the sentence of the change that made it, if one did.
#[must_use]
pub fn started(now: CloudTime, because: Option<&str>, from: usize, to: u32) -> String {
    let gap = format!(
        "At {} an instance was started in response to a difference between desired and actual capacity, increasing \
         the capacity from {from} to {to}.",
        iso(now)
    );
    because.map_or(gap.clone(), |sentence| format!("{sentence}  {gap}"))
}

/// Cause of a launch for a member that was taken out.
#[must_use]
pub fn replaced(now: CloudTime) -> String {
    format!(
        "At {} an instance was launched in response to an unhealthy instance needing to be replaced.",
        iso(now)
    )
}

/// Cause of a launch for AZRebalance.
#[must_use]
pub fn rebalanced(now: CloudTime, azs: &str, from: usize, to: usize) -> String {
    format!(
        "At {} an instance was launched to aid in balancing the group's zones ({azs}), increasing the capacity from \
         {from} to {to}.",
        iso(now)
    )
}

/// Cause of a scale-in.
#[must_use]
pub fn shrunk(now: CloudTime, because: Option<&str>, id: &str, from: usize, to: u32) -> String {
    let at = iso(now);
    let gap = format!(
        "At {at} an instance was taken out of service in response to a difference between desired and actual \
         capacity, shrinking the capacity from {from} to {to}.  At {at} instance {id} was selected for termination."
    );
    because.map_or(gap.clone(), |sentence| format!("{sentence}  {gap}"))
}

/// Why a member is unhealthy, in the words of AWS's causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Illness {
    /// EC2 says it is not running.
    NotRunning,
    /// The load balancer's health check fails.
    Elb,
    /// Somebody called SetInstanceHealth.
    SetByUser,
}

/// Cause of taking out an unhealthy member.
#[must_use]
pub fn taken_out(now: CloudTime, illness: Illness) -> String {
    let because = match illness {
        Illness::NotRunning => "an EC2 health check that indicated it had been terminated or stopped",
        Illness::Elb => "an ELB system health check failure",
        Illness::SetByUser => "a user health-check",
    };
    format!(
        "At {} an instance was taken out of service in response to {because}.",
        iso(now)
    )
}

fn begin(
    lab: &Lab,
    group: &mut AutoScalingGroup,
    instance: &Instance,
    description: String,
    cause: String,
    status: &str,
    now: CloudTime,
) {
    let details = serde_json::json!({"Subnet ID": instance.subnet_id, "Availability Zone": instance.az}).to_string();
    group.activities.push_front(ScalingActivity {
        id: lab.uuid(),
        description,
        cause,
        start_time: now,
        end_time: None,
        status_code: status.to_owned(),
        status_message: None,
        progress: 30,
        details,
        instance_id: Some(instance.id.clone()),
    });
    group.activities.truncate(REMEMBERED);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_read_as_aws_writes_them() {
        assert_eq!(
            started(0.0, None, 2, 3),
            "At 1970-01-01T00:00:00Z an instance was started in response to a difference between desired and actual \
             capacity, increasing the capacity from 2 to 3."
        );
        assert!(taken_out(0.0, Illness::NotRunning).ends_with("had been terminated or stopped."));
        assert!(shrunk(0.0, Some("At X a user said so."), "i-1", 3, 2).starts_with("At X a user said so.  At 1970"));
    }
}
