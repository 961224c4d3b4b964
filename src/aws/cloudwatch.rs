//! CloudWatch: the CPU of a group and the alarms that scale it. Spoken as CBOR by this SDK crate.

use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricStat};

use super::{AwsError, Reader};

/// An alarm.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Alarm {
    /// AlarmName.
    pub name: String,
    /// `OK`, `ALARM`, `INSUFFICIENT_DATA`.
    pub state: String,
    /// StateReason.
    pub reason: String,
    /// When the state last changed, Unix seconds on the target's clock.
    pub changed: f64,
    /// Dimensions of its metric, by name.
    pub dimensions: super::Tags,
}

/// One value of a metric.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// Beginning of the period, Unix seconds on the target's clock.
    pub start: f64,
    /// Value.
    pub value: f64,
}

impl Reader {
    /// Every metric alarm of a Region whose name begins with `prefix`.
    pub async fn alarms(&self, region: &str, prefix: Option<&str>) -> Result<Vec<Alarm>, AwsError> {
        const ACTION: &str = "cloudwatch:DescribeAlarms";
        let clients = self.region(ACTION, region)?;
        let request = clients
            .cloudwatch
            .describe_alarms()
            .set_alarm_name_prefix(prefix.map(str::to_owned));
        let answer = clients.gate.call(ACTION, request.send()).await?;
        let alarms = answer.metric_alarms.unwrap_or_default().into_iter();
        Ok(alarms
            .map(|alarm| {
                let changed = alarm.state_transitioned_timestamp.or(alarm.state_updated_timestamp);
                let dimensions = alarm.dimensions.unwrap_or_default().into_iter();
                Alarm {
                    name: alarm.alarm_name.unwrap_or_default(),
                    state: alarm
                        .state_value
                        .map(|state| state.as_str().to_owned())
                        .unwrap_or_default(),
                    reason: alarm.state_reason.unwrap_or_default(),
                    changed: changed.map(|time| time.as_secs_f64()).unwrap_or_default(),
                    dimensions: dimensions
                        .filter_map(|dimension| Some((dimension.name?, dimension.value?)))
                        .collect(),
                }
            })
            .collect())
    }

    /// Average CPU of a group per minute between two times of the target's clock, oldest first.
    pub async fn group_cpu(&self, region: &str, group: &str, from: f64, to: f64) -> Result<Vec<Point>, AwsError> {
        const ACTION: &str = "cloudwatch:GetMetricData";
        let clients = self.region(ACTION, region)?;
        let dimension = Dimension::builder().name("AutoScalingGroupName").value(group).build();
        let metric = Metric::builder()
            .namespace("AWS/EC2")
            .metric_name("CPUUtilization")
            .dimensions(dimension)
            .build();
        let stat = MetricStat::builder().metric(metric).period(60).stat("Average").build();
        let query = MetricDataQuery::builder().id("cpu").metric_stat(stat).build();
        let request = clients
            .cloudwatch
            .get_metric_data()
            .metric_data_queries(query)
            .start_time(DateTime::from_secs_f64(from))
            .end_time(DateTime::from_secs_f64(to));
        let answer = clients.gate.call(ACTION, request.send()).await?;
        let results = answer.metric_data_results.unwrap_or_default();
        let mut points: Vec<Point> = results
            .into_iter()
            .flat_map(|result| {
                let times = result.timestamps.unwrap_or_default();
                times.into_iter().zip(result.values.unwrap_or_default())
            })
            .map(|(time, value)| Point {
                start: time.as_secs_f64(),
                value,
            })
            .collect();
        points.sort_by(|one, other| one.start.total_cmp(&other.start));
        Ok(points)
    }
}
