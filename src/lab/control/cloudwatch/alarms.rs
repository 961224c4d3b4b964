//! Alarms: what they are, what they did, and SetAlarmState, which exercises the action path until the next evaluation.

use super::super::Call;
use super::super::page::page;
use super::super::value::{Value, fault, invalid, list, map, time};
use super::dimensions;
use crate::lab::dynamics::cloudwatch;
use crate::lab::error::AwsError;
use crate::lab::world::{Alarm, AlarmHistoryItem, Region};

pub fn describe(call: &Call<'_>) -> Result<Value, AwsError> {
    let input = &call.input;
    let names = input.texts("AlarmNames");
    let prefix = input.text("AlarmNamePrefix");
    if !names.is_empty() && prefix.is_some() {
        return Err(fault(
            "InvalidParameterCombination",
            "AlarmNames and AlarmNamePrefix cannot be given together",
        ));
    }
    let state = input.text("StateValue");
    let action = input.text("ActionPrefix");
    let types = input.texts("AlarmTypes");
    let most = input.whole("MaxRecords", 1..=100)?.unwrap_or(50) as usize;
    let wanted = |alarm: &&Alarm| {
        (names.is_empty() || names.contains(&alarm.name.as_str()))
            && prefix.is_none_or(|prefix| alarm.name.starts_with(prefix))
            && state.is_none_or(|state| state == alarm.state)
            && action.is_none_or(|prefix| alarm.alarm_actions.iter().any(|action| action.starts_with(prefix)))
            && (types.is_empty() || types.contains(&"MetricAlarm"))
    };
    with_region(call, |region| {
        let chosen: Vec<&Alarm> = region.alarms.values().filter(wanted).collect();
        let (chosen, next) = page(
            chosen,
            |alarm| alarm.name.clone(),
            input.text("NextToken"),
            most,
            "InvalidNextToken",
        )?;
        Ok(map([
            ("CompositeAlarms", list::<Value>("member", [])),
            ("MetricAlarms", list("member", chosen.into_iter().map(shown))),
            ("NextToken", next.into()),
        ]))
    })
}

fn with_region<T>(call: &Call<'_>, read: impl FnOnce(&Region) -> Result<T, AwsError>) -> Result<T, AwsError> {
    let world = call.lab.world();
    read(world.regions.get(call.region).ok_or_else(|| call.unknown_region())?)
}

fn shown(alarm: &Alarm) -> Value {
    let extended = alarm.statistic.starts_with('p');
    map([
        ("AlarmName", (&alarm.name).into()),
        ("AlarmArn", (&alarm.arn).into()),
        ("AlarmDescription", (&alarm.description).into()),
        ("ActionsEnabled", alarm.actions_enabled.into()),
        ("OKActions", list::<Value>("member", [])),
        ("AlarmActions", list("member", &alarm.alarm_actions)),
        ("InsufficientDataActions", list::<Value>("member", [])),
        ("StateValue", (&alarm.state).into()),
        ("StateReason", (&alarm.state_reason).into()),
        ("StateUpdatedTimestamp", time(alarm.state_updated_at)),
        ("MetricName", (&alarm.metric.name).into()),
        ("Namespace", (&alarm.metric.namespace).into()),
        ("Statistic", (!extended).then_some(&alarm.statistic).into()),
        ("ExtendedStatistic", extended.then_some(&alarm.statistic).into()),
        ("Dimensions", dimensions(&alarm.metric)),
        ("Period", alarm.period_s.into()),
        ("EvaluationPeriods", alarm.evaluation_periods.into()),
        ("DatapointsToAlarm", alarm.datapoints_to_alarm.into()),
        ("Threshold", alarm.threshold.into()),
        ("ComparisonOperator", (&alarm.comparison).into()),
        ("TreatMissingData", (&alarm.treat_missing_data).into()),
        ("StateTransitionedTimestamp", time(alarm.state_transitioned_at)),
    ])
}

pub fn history(call: &Call<'_>) -> Result<Value, AwsError> {
    let input = &call.input;
    let name = input.text("AlarmName");
    let item_type = input.text("HistoryItemType");
    let start = input.instant("StartDate")?.unwrap_or(f64::NEG_INFINITY);
    let end = input.instant("EndDate")?.unwrap_or(f64::INFINITY);
    let most = input.whole("MaxRecords", 1..=100)?.unwrap_or(100) as usize;
    let ascending = match input.text("ScanBy") {
        None | Some("TimestampDescending") => false,
        Some("TimestampAscending") => true,
        Some(_) => return Err(invalid("ScanBy", "must be TimestampDescending or TimestampAscending")),
    };
    let wanted = |item: &AlarmHistoryItem| {
        name.is_none_or(|name| name == item.alarm)
            && item_type.is_none_or(|kind| kind == item.item_type)
            && (start..=end).contains(&item.at)
    };
    with_region(call, |region| {
        // The place in the history is what a token names: it never changes, since entries are only added.
        let mut chosen: Vec<(usize, &AlarmHistoryItem)> = region
            .alarm_history
            .iter()
            .enumerate()
            .filter(|(_, item)| wanted(item))
            .collect();
        if !ascending {
            chosen.reverse();
        }
        let (chosen, next) = page(
            chosen,
            |(place, _)| place.to_string(),
            input.text("NextToken"),
            most,
            "InvalidNextToken",
        )?;
        let shown = chosen.into_iter().map(|(_, item)| {
            map([
                ("AlarmName", (&item.alarm).into()),
                ("AlarmType", "MetricAlarm".into()),
                ("Timestamp", time(item.at)),
                ("HistoryItemType", (&item.item_type).into()),
                ("HistorySummary", (&item.summary).into()),
                ("HistoryData", (&item.data).into()),
            ])
        });
        Ok(map([
            ("AlarmHistoryItems", list("member", shown)),
            ("NextToken", next.into()),
        ]))
    })
}

pub fn set_state(call: &Call<'_>) -> Result<Value, AwsError> {
    let name = call.input.required("AlarmName")?;
    let reason = call.input.required("StateReason")?;
    let state = match call.input.required("StateValue")? {
        state @ ("OK" | "ALARM" | "INSUFFICIENT_DATA") => state,
        _ => return Err(invalid("StateValue", "must be OK, ALARM or INSUFFICIENT_DATA")),
    };
    cloudwatch::set_alarm_state(call.lab, call.region, name, state, reason)?;
    Ok(Value::Null)
}

pub fn enable_actions(call: &Call<'_>, enabled: bool) -> Result<Value, AwsError> {
    let names: Vec<String> = call.input.texts("AlarmNames").into_iter().map(str::to_owned).collect();
    cloudwatch::set_actions_enabled(call.lab, call.region, &names, enabled)?;
    Ok(Value::Null)
}
