//! Metrics: which there are and what they measured. No metric math: an `Expression` is refused, not guessed.
//! Percentiles are answered as measured, one minute each; minutes are never averaged into a longer percentile.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::super::Call;
use super::super::page::page;
use super::super::value::{Value, fault, invalid, list, map, time};
use super::{dimensions, metric_key};
use crate::lab::error::AwsError;
use crate::lab::world::{CloudTime, MetricKey, MetricPoint, MetricStore, Region};

/// Most points of one GetMetricStatistics call.
const MOST_POINTS: f64 = 1440.0;
/// Most queries of one GetMetricData call.
const MOST_QUERIES: usize = 500;

/// Points that fall into one period.
#[derive(Debug, Clone, Copy)]
struct Datapoint {
    at: CloudTime,
    count: f64,
    sum: f64,
    min: f64,
    max: f64,
    percentiles: Option<(f64, f64)>,
}

/// A metric's points between the two instants, joined by period, oldest first.
fn datapoints(
    store: &MetricStore,
    key: &MetricKey,
    span: std::ops::Range<CloudTime>,
    period: f64,
    now: CloudTime,
) -> Vec<Datapoint> {
    let mut joined: BTreeMap<i64, Datapoint> = BTreeMap::new();
    let visible = |point: &&MetricPoint| point.visible_at <= now && span.contains(&point.minute) && point.count > 0.0;
    for point in store.series.get(key).into_iter().flatten().filter(visible) {
        let place = (point.minute / period).floor();
        let one = Datapoint {
            at: place * period,
            count: point.count,
            sum: point.sum,
            min: point.min,
            max: point.max,
            percentiles: point.percentiles,
        };
        joined
            .entry(place as i64)
            .and_modify(|all| {
                all.count += one.count;
                all.sum += one.sum;
                all.min = all.min.min(one.min);
                all.max = all.max.max(one.max);
            })
            .or_insert(one);
    }
    joined.into_values().collect()
}

fn statistic(point: &Datapoint, name: &str) -> Option<f64> {
    match name {
        "Average" => Some(point.sum / point.count),
        "Sum" => Some(point.sum),
        "Minimum" => Some(point.min),
        "Maximum" => Some(point.max),
        "SampleCount" => Some(point.count),
        "p50" => point.percentiles.map(|(median, _)| median),
        "p99" => point.percentiles.map(|(_, high)| high),
        _ => None,
    }
}

/// Refuses what cannot be answered honestly.
fn check_statistic(name: &str, period: f64) -> Result<(), AwsError> {
    match name {
        "Average" | "Sum" | "Minimum" | "Maximum" | "SampleCount" => Ok(()),
        "p50" | "p99" if period <= 60.0 => Ok(()),
        "p50" | "p99" => Err(fault(
            "InvalidParameterValue",
            "percentiles are kept for a period of 60 seconds only",
        )),
        other => Err(fault(
            "InvalidParameterValue",
            format!("The value {other} for parameter Stat is not supported"),
        )),
    }
}

fn period(input: &Value) -> Result<f64, AwsError> {
    let period = input
        .whole("Period", 1..=86_400)?
        .ok_or_else(|| fault("MissingParameter", "The parameter Period is required."))?;
    if period % 60 != 0 && ![1, 5, 10, 20, 30].contains(&period) {
        return Err(fault(
            "InvalidParameterValue",
            "The parameter Period must be a multiple of 60",
        ));
    }
    Ok(period.max(60) as f64)
}

fn span(input: &Value) -> Result<std::ops::Range<CloudTime>, AwsError> {
    let required = |name: &str| {
        input
            .instant(name)?
            .ok_or_else(|| fault("MissingParameter", format!("The parameter {name} is required.")))
    };
    let (start, end) = (required("StartTime")?, required("EndTime")?);
    if start >= end {
        let message = "The parameter StartTime must be less than the parameter EndTime.";
        return Err(fault("InvalidParameterValue", message));
    }
    Ok(start..end)
}

fn region<T>(call: &Call<'_>, read: impl FnOnce(&Region) -> Result<T, AwsError>) -> Result<T, AwsError> {
    let world = call.lab.world();
    read(world.regions.get(call.region).ok_or_else(|| call.unknown_region())?)
}

pub fn data(call: &Call<'_>) -> Result<Value, AwsError> {
    let input = &call.input;
    let span = span(input)?;
    let ascending = match input.text("ScanBy") {
        None | Some("TimestampDescending") => false,
        Some("TimestampAscending") => true,
        Some(_) => return Err(invalid("ScanBy", "must be TimestampDescending or TimestampAscending")),
    };
    let queries = input.elements("MetricDataQueries");
    if queries.is_empty() || queries.len() > MOST_QUERIES {
        return Err(fault(
            "ValidationError",
            format!("Give from 1 to {MOST_QUERIES} metric data queries"),
        ));
    }
    let mut results = Vec::new();
    for query in queries {
        let id = query.required("Id")?;
        let Some(stat) = query.get("MetricStat") else {
            let message = format!("Error in expression '{id}': this endpoint answers MetricStat queries only");
            return Err(fault("ValidationError", message));
        };
        if query.flag("ReturnData")? == Some(false) {
            continue;
        }
        let key = metric_key(stat.get("Metric").unwrap_or(&Value::Null))?;
        let (period, name) = (period(stat)?, stat.required("Stat")?);
        check_statistic(name, period)?;
        let mut points = region(call, |region| {
            Ok(datapoints(&region.metrics, &key, span.clone(), period, call.now))
        })?;
        if !ascending {
            points.reverse();
        }
        let points = points
            .iter()
            .filter_map(|point| Some((point.at, statistic(point, name)?)));
        let (timestamps, values): (Vec<_>, Vec<_>) =
            points.map(|(at, value)| (Value::Time(at), Value::Float(value))).unzip();
        results.push(map([
            ("Id", id.into()),
            ("Label", query.text("Label").unwrap_or(&key.name).into()),
            ("Timestamps", Value::List("member", timestamps)),
            ("Values", Value::List("member", values)),
            ("StatusCode", "Complete".into()),
        ]));
    }
    Ok(map([
        ("MetricDataResults", Value::List("member", results)),
        ("Messages", list::<Value>("member", [])),
    ]))
}

pub fn statistics(call: &Call<'_>) -> Result<Value, AwsError> {
    let input = &call.input;
    let (span, period, key) = (span(input)?, period(input)?, metric_key(input)?);
    let (plain, extended) = (input.texts("Statistics"), input.texts("ExtendedStatistics"));
    if plain.is_empty() && extended.is_empty() {
        return Err(fault(
            "MissingParameter",
            "Must specify either Statistics or ExtendedStatistics",
        ));
    }
    plain
        .iter()
        .chain(&extended)
        .try_for_each(|name| check_statistic(name, period))?;
    if (span.end - span.start) / period > MOST_POINTS {
        let message = format!("You have requested more than {MOST_POINTS} datapoints; use a longer period");
        return Err(fault("InvalidParameterCombination", message));
    }
    let points = region(call, |region| {
        Ok(datapoints(&region.metrics, &key, span, period, call.now))
    })?;
    let shown = points.iter().map(|point| {
        let mut members: Vec<(Cow<'static, str>, Value)> = vec![("Timestamp".into(), time(point.at))];
        members.extend(
            plain
                .iter()
                .map(|name| (Cow::Owned((*name).to_owned()), statistic(point, name).into())),
        );
        members.push(("Unit".into(), unit(&key.name).into()));
        if !extended.is_empty() {
            members.push(("ExtendedStatistics".into(), extended_statistics(call, point, &extended)));
        }
        Value::Map(members)
    });
    Ok(map([
        ("Label", (&key.name).into()),
        ("Datapoints", list("member", shown)),
    ]))
}

/// A map in CBOR and JSON, a list of entries in XML.
fn extended_statistics(call: &Call<'_>, point: &Datapoint, names: &[&str]) -> Value {
    let values = names.iter().filter_map(|name| Some((*name, statistic(point, name)?)));
    if call.is_query() {
        return list(
            "entry",
            values.map(|(name, value)| map([("key", name.into()), ("value", value.into())])),
        );
    }
    Value::Map(
        values
            .map(|(name, value)| (Cow::Owned(name.to_owned()), value.into()))
            .collect(),
    )
}

/// The unit AWS gives a metric of that name.
fn unit(name: &str) -> &'static str {
    match name {
        "CPUUtilization" => "Percent",
        "TargetResponseTime" | "WriteLatency" | "ReadLatency" => "Seconds",
        "HealthCheckStatus" | "HealthCheckPercentageHealthy" => "None",
        _ => "Count",
    }
}

pub fn list_metrics(call: &Call<'_>) -> Result<Value, AwsError> {
    let input = &call.input;
    let (namespace, name) = (input.text("Namespace"), input.text("MetricName"));
    let filters = input.elements("Dimensions");
    let has = |key: &MetricKey, filter: &Value| {
        let (name, value) = (filter.text("Name"), filter.text("Value"));
        key.dimensions
            .iter()
            .any(|(has, of)| name == Some(has) && value.is_none_or(|value| value == of))
    };
    region(call, |region| {
        let wanted = |key: &&MetricKey| {
            namespace.is_none_or(|namespace| namespace == key.namespace)
                && name.is_none_or(|name| name == key.name)
                && filters.iter().all(|filter| has(key, filter))
        };
        let chosen: Vec<&MetricKey> = region.metrics.series.keys().filter(wanted).collect();
        let identity = |key: &&MetricKey| format!("{}/{}/{:?}", key.namespace, key.name, key.dimensions);
        let (chosen, next) = page(chosen, identity, input.text("NextToken"), 500, "InvalidNextToken")?;
        let shown = chosen.into_iter().map(|key| {
            map([
                ("Namespace", (&key.namespace).into()),
                ("MetricName", (&key.name).into()),
                ("Dimensions", dimensions(key)),
            ])
        });
        Ok(map([("Metrics", list("member", shown)), ("NextToken", next.into())]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_join_into_longer_periods_and_hidden_ones_stay_hidden() {
        let key = MetricKey {
            namespace: "N".into(),
            name: "M".into(),
            dimensions: Vec::new(),
        };
        let mut store = MetricStore::default();
        let point = |minute: f64, sum: f64| MetricPoint {
            minute,
            visible_at: minute + 120.0,
            count: 2.0,
            sum,
            min: sum / 4.0,
            max: sum,
            percentiles: Some((sum / 2.0, sum)),
        };
        store.series.insert(
            key.clone(),
            [point(120.0, 4.0), point(180.0, 8.0), point(240.0, 100.0)].into(),
        );
        let joined = datapoints(&store, &key, 0.0..1e9, 120.0, 300.0);
        assert_eq!(joined.len(), 1, "the third minute is not visible yet");
        assert_eq!(joined[0].at, 120.0);
        let of = |name| statistic(&joined[0], name);
        assert_eq!(of("Average"), Some(3.0));
        assert_eq!(
            (of("Sum"), of("Minimum"), of("Maximum"), of("SampleCount")),
            (Some(12.0), Some(1.0), Some(8.0), Some(4.0))
        );
        assert!(check_statistic("p99", 120.0).is_err());
        let minutes = datapoints(&store, &key, 0.0..1e9, 60.0, 1000.0);
        assert_eq!(minutes.len(), 3);
        assert_eq!(statistic(&minutes[2], "p99"), Some(100.0));
    }
}
