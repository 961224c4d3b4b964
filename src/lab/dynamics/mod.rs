//! Everything in the lab that moves by itself: instances boot, groups heal and scale, alarms fire, databases fail
//! over, health checkers probe, names change their answers. Changes asked for over the wire arrive here as functions.
//! Opens no data-plane socket (that is `data`) and speaks no AWS protocol (that is `control`).

pub mod autoscaling;
pub mod cloudwatch;
pub mod dns;
pub mod ebs;
pub mod ec2;
pub mod elasticloadbalancingv2;
pub mod fis;
pub mod network;
pub mod rds;
pub mod route53;
pub mod routes;
#[cfg(test)]
mod tests;
pub mod zonal_shift;

use std::sync::Arc;
use std::time::Duration;

use super::Lab;
use super::config::Range;
use super::error::AwsError;
use super::world::{CloudTime, Region, World};

/// No loop polls faster than this in real time, whatever the pace.
const POLL_FLOOR: Duration = Duration::from_millis(5);

/// Starts every loop: Auto Scaling, CloudWatch, the watch on load balancers' nodes, RDS's watch, Route 53's checkers and
/// the watch on DNS answers.
pub fn spawn_all(lab: &Arc<Lab>) {
    autoscaling::spawn(lab);
    cloudwatch::spawn(lab);
    elasticloadbalancingv2::spawn(lab);
    rds::spawn(lab);
    route53::spawn(lab);
    dns::spawn_watch(lab);
}

/// Waits `seconds` of cloud time, but at least the floor for polling.
async fn poll(lab: &Lab, seconds: f64) {
    tokio::time::sleep(
        lab.clock
            .pace()
            .to_real(Duration::from_secs_f64(seconds))
            .max(POLL_FLOOR),
    )
    .await;
}

/// Waits a duration drawn from `range`.
async fn pause(lab: &Lab, range: Range) {
    lab.clock.sleep_cloud(lab.draw_duration(range)).await;
}

/// Waits until the cloud's clock shows `at`.
async fn sleep_until(lab: &Lab, at: CloudTime) {
    lab.clock
        .sleep_cloud(Duration::try_from_secs_f64(at - lab.now()).unwrap_or_default())
        .await;
}

/// The Region's state; an unknown Region answers as AWS's endpoint would, with a client error.
pub(in crate::lab) fn region_mut<'w>(world: &'w mut World, region: &str) -> Result<&'w mut Region, AwsError> {
    world
        .regions
        .get_mut(region)
        .ok_or_else(|| AwsError::bad_request("InvalidParameterValue", format!("the lab has no Region {region}")))
}

/// A cloud instant as AWS writes it in sentences: `2026-11-23T04:24:26Z`.
pub(in crate::lab) fn iso(at: CloudTime) -> String {
    jiff::Timestamp::from_second(at as i64)
        .map(|t| t.to_string())
        .unwrap_or_default()
}
