//! CloudWatch: the CPU of a group and the alarms that scale it. Spoken as CBOR by this SDK crate.

use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{
    AlarmType, CompositeAlarm, Dimension, Metric, MetricAlarm, MetricDataQuery, MetricStat,
};

use super::{AwsError, Reader, Tags};

/// An alarm.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Alarm {
    /// AlarmName.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// `OK`, `ALARM`, `INSUFFICIENT_DATA`.
    pub state: String,
    /// StateReason.
    pub reason: String,
    /// When the state last changed, Unix seconds on the target's clock.
    pub changed: f64,
    /// The metrics it looks at; none of one that is made of other alarms.
    pub metrics: Vec<AlarmMetric>,
}

/// A metric that an alarm looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlarmMetric {
    /// Namespace.
    pub namespace: String,
    /// MetricName.
    pub name: String,
    /// Dimensions, by name.
    pub dimensions: Tags,
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
        Ok(alarms.map(metric_alarm).collect())
    }

    /// The alarms of these names that a Region has, those made of other alarms too; a hundred names at most.
    pub async fn alarms_named(&self, region: &str, names: &[String]) -> Result<Vec<Alarm>, AwsError> {
        const ACTION: &str = "cloudwatch:DescribeAlarms";
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let clients = self.region(ACTION, region)?;
        let request = clients
            .cloudwatch
            .describe_alarms()
            .set_alarm_names(Some(names.to_vec()))
            .alarm_types(AlarmType::MetricAlarm)
            .alarm_types(AlarmType::CompositeAlarm)
            .max_records(100);
        let answer = clients.gate.call(ACTION, request.send()).await?;
        let metric = answer.metric_alarms.unwrap_or_default().into_iter();
        let composite = answer.composite_alarms.unwrap_or_default().into_iter();
        Ok(metric.map(metric_alarm).chain(composite.map(composite_alarm)).collect())
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

fn metric_alarm(alarm: MetricAlarm) -> Alarm {
    let changed = alarm.state_transitioned_timestamp.or(alarm.state_updated_timestamp);
    let own = alarm.metric_name.map(|name| AlarmMetric {
        namespace: alarm.namespace.unwrap_or_default(),
        name,
        dimensions: dimensions(alarm.dimensions),
    });
    // An alarm on an expression names the metrics of the expression instead.
    let queries = alarm.metrics.unwrap_or_default().into_iter();
    let queried = queries
        .filter_map(|query| query.metric_stat?.metric)
        .map(|metric| AlarmMetric {
            namespace: metric.namespace.unwrap_or_default(),
            name: metric.metric_name.unwrap_or_default(),
            dimensions: dimensions(metric.dimensions),
        });
    Alarm {
        name: alarm.alarm_name.unwrap_or_default(),
        arn: alarm.alarm_arn.unwrap_or_default(),
        state: alarm
            .state_value
            .map(|state| state.as_str().to_owned())
            .unwrap_or_default(),
        reason: alarm.state_reason.unwrap_or_default(),
        changed: changed.map(|time| time.as_secs_f64()).unwrap_or_default(),
        metrics: own.into_iter().chain(queried).collect(),
    }
}

fn composite_alarm(alarm: CompositeAlarm) -> Alarm {
    let changed = alarm.state_transitioned_timestamp.or(alarm.state_updated_timestamp);
    Alarm {
        name: alarm.alarm_name.unwrap_or_default(),
        arn: alarm.alarm_arn.unwrap_or_default(),
        state: alarm
            .state_value
            .map(|state| state.as_str().to_owned())
            .unwrap_or_default(),
        reason: alarm.state_reason.unwrap_or_default(),
        changed: changed.map(|time| time.as_secs_f64()).unwrap_or_default(),
        metrics: Vec::new(),
    }
}

fn dimensions(dimensions: Option<Vec<Dimension>>) -> Tags {
    let pairs = dimensions.unwrap_or_default().into_iter();
    pairs
        .filter_map(|dimension| Some((dimension.name?, dimension.value?)))
        .collect()
}
