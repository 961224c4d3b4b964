//! CloudWatch: each minute of the data plane becomes metrics, alarms are evaluated, their actions are executed and
//! the history says so.

pub mod alarm;
mod collect;

use std::sync::Arc;

use serde_json::json;

use super::{autoscaling, iso, region_mut, sleep_until};
use crate::lab::Lab;
use crate::lab::error::AwsError;
use crate::lab::world::{Alarm, AlarmHistoryItem, CloudTime, Region, World};

/// Entries of alarm history that a Region keeps; AWS keeps 30 days.
const REMEMBERED: usize = 2000;

/// Starts the loop that publishes each minute and evaluates the alarms.
pub(super) fn spawn(lab: &Arc<Lab>) {
    let lab = lab.clone();
    tokio::spawn(async move {
        let mut minute = next_minute(lab.now());
        loop {
            sleep_until(&lab, minute).await;
            collect::publish(&lab, minute - 60.0);
            evaluate_all(&lab);
            // A minute that was missed under load is skipped, its counts belong to the next one.
            minute = next_minute(lab.now()).max(minute + 60.0);
        }
    });
}

/// SetAlarmState: the state holds until the next evaluation.
pub fn set_alarm_state(lab: &Arc<Lab>, region: &str, name: &str, state: &str, reason: &str) -> Result<(), AwsError> {
    let now = lab.now();
    let mut world = lab.world();
    let region_state = region_mut(&mut world, region)?;
    let alarm = region_state
        .alarms
        .get_mut(name)
        .ok_or_else(|| AwsError::not_found("ResourceNotFound", format!("Unknown alarm: {name}")))?;
    let before = alarm.state.clone();
    change_state(alarm, state, reason.to_owned(), now);
    let alarm = alarm.clone();
    if before != state {
        remember_update(region_state, &alarm, &before, now);
        execute_actions(&mut world, region, &alarm, now, true);
    }
    Ok(())
}

/// EnableAlarmActions and DisableAlarmActions; names that do not exist are ignored, as AWS does.
pub fn set_actions_enabled(lab: &Arc<Lab>, region: &str, names: &[String], enabled: bool) -> Result<(), AwsError> {
    let mut world = lab.world();
    let region = region_mut(&mut world, region)?;
    for name in names {
        if let Some(alarm) = region.alarms.get_mut(name) {
            alarm.actions_enabled = enabled;
        }
    }
    Ok(())
}

fn next_minute(now: CloudTime) -> CloudTime {
    (now / 60.0).floor() * 60.0 + 60.0
}

fn evaluate_all(lab: &Lab) {
    let now = lab.now();
    let delay = lab.config.cloudwatch.delay.as_secs_f64();
    let mut world = lab.world();
    let regions: Vec<String> = world.regions.keys().cloned().collect();
    for name in regions {
        let mut executed = Vec::new();
        if let Some(region) = world.regions.get_mut(&name) {
            for alarm_name in region.alarms.keys().cloned().collect::<Vec<_>>() {
                executed.extend(evaluate(region, &alarm_name, delay, now));
            }
        }
        for (alarm, fresh) in executed {
            execute_actions(&mut world, &name, &alarm, now, fresh);
        }
    }
}

/// Evaluates one alarm; answers it when it is in ALARM, and whether that is new.
fn evaluate(region: &mut Region, name: &str, delay: f64, now: CloudTime) -> Option<(Alarm, bool)> {
    let alarm = region.alarms.get_mut(name)?;
    let range = alarm::datapoints(alarm, region.metrics.series.get(&alarm.metric), delay, now);
    let verdict = alarm::evaluate(alarm, &range);
    let before = alarm.state.clone();
    let state = verdict.state(&before).to_owned();
    if state != before {
        let reason = alarm::reason(alarm, &range, &state);
        change_state(alarm, &state, reason, now);
        let changed = alarm.clone();
        remember_update(region, &changed, &before, now);
    }
    let alarm = region.alarms.get(name)?;
    // For Auto Scaling actions CloudWatch repeats the action each minute while the alarm stays in ALARM.
    (state == "ALARM").then(|| (alarm.clone(), state != before))
}

fn change_state(alarm: &mut Alarm, state: &str, reason: String, now: CloudTime) {
    if alarm.state != state {
        alarm.state = state.to_owned();
        alarm.state_transitioned_at = now;
    }
    alarm.state_reason = reason;
    alarm.state_updated_at = now;
}

fn execute_actions(world: &mut World, region: &str, alarm: &Alarm, now: CloudTime, fresh: bool) {
    if alarm.state != "ALARM" || !alarm.actions_enabled {
        return;
    }
    for action in &alarm.alarm_actions {
        let is_policy = action.contains(":autoscaling:");
        let changed = if is_policy {
            autoscaling::policy::execute(world, region, action, alarm, now)
        } else {
            None
        };
        if !fresh && changed.is_none() {
            continue;
        }
        let Some(state) = world.regions.get_mut(region) else {
            return;
        };
        let data = json!({
            "actionState": "Succeeded",
            "stateUpdateTimestamp": (alarm.state_updated_at * 1000.0) as i64,
            "notificationResource": action,
            "publishedMessage": changed.map(|(from, to)| format!("desired capacity from {from} to {to}")),
        });
        let summary = format!("Successfully executed action {action}");
        remember(state, &alarm.name, "Action", summary, data.to_string(), now);
    }
}

fn remember_update(region: &mut Region, alarm: &Alarm, before: &str, now: CloudTime) {
    let data = json!({
        "version": "1.0",
        "oldState": {"stateValue": before},
        "newState": {"stateValue": alarm.state, "stateReason": alarm.state_reason, "stateUpdated": iso(now)},
    });
    let summary = format!("Alarm updated from {before} to {}", alarm.state);
    remember(region, &alarm.name, "StateUpdate", summary, data.to_string(), now);
}

fn remember(region: &mut Region, alarm: &str, item_type: &str, summary: String, data: String, at: CloudTime) {
    region.alarm_history.push(AlarmHistoryItem {
        alarm: alarm.to_owned(),
        item_type: item_type.to_owned(),
        summary,
        data,
        at,
    });
    let excess = region.alarm_history.len().saturating_sub(REMEMBERED);
    region.alarm_history.drain(..excess);
}
