//! CloudWatch over `rpcv2Cbor`, `awsJson1.0` and `awsQuery`: alarms, their history, and metrics.

mod alarms;
mod metrics;

use super::Call;
use super::value::Value;
use crate::lab::error::AwsError;
use crate::lab::world::MetricKey;

/// Answers one CloudWatch operation.
pub fn answer(call: &Call<'_>) -> Result<Value, AwsError> {
    match call.action {
        "DescribeAlarms" => alarms::describe(call),
        "DescribeAlarmHistory" => alarms::history(call),
        "SetAlarmState" => alarms::set_state(call),
        "EnableAlarmActions" => alarms::enable_actions(call, true),
        "DisableAlarmActions" => alarms::enable_actions(call, false),
        "GetMetricData" => metrics::data(call),
        "GetMetricStatistics" => metrics::statistics(call),
        "ListMetrics" => metrics::list_metrics(call),
        other => Err(call.unknown(other)),
    }
}

/// The metric that `input` names by Namespace, MetricName and Dimensions.
fn metric_key(input: &Value) -> Result<MetricKey, AwsError> {
    let mut dimensions = Vec::new();
    for dimension in input.elements("Dimensions") {
        dimensions.push((
            dimension.required("Name")?.to_owned(),
            dimension.required("Value")?.to_owned(),
        ));
    }
    dimensions.sort();
    let namespace = input.required("Namespace")?.to_owned();
    Ok(MetricKey {
        namespace,
        name: input.required("MetricName")?.to_owned(),
        dimensions,
    })
}

fn dimensions(key: &MetricKey) -> Value {
    let shown = key
        .dimensions
        .iter()
        .map(|(name, value)| super::value::map([("Name", name.into()), ("Value", value.into())]));
    super::value::list("member", shown)
}
