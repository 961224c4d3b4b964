//! What a person is told of an event while the run goes on.

use crate::event::Event;
use crate::units::format_duration;

/// The sentence a person wants to see while the run goes on; most events have none.
pub(super) fn note(event: &Event) -> Option<String> {
    match event {
        Event::FaultStarted { fault, resources } => Some(format!("{fault}: injecting into {}", resources.join(", "))),
        Event::FaultObserved { fault, evidence } => Some(format!("{fault}: in effect ({evidence})")),
        Event::FaultNotObserved { fault, reason } => Some(format!("{fault}: no effect seen ({reason})")),
        Event::FaultFailed { fault, error } => Some(format!("{fault}: not injected: {error}")),
        Event::FaultEndedEarly { fault, evidence } => {
            Some(format!("{fault}: ended early, not by this run: {evidence}"))
        }
        Event::FaultReverted { fault } => Some(format!("{fault}: reverted")),
        Event::FaultRevertRetried { fault, error } => Some(format!("{fault}: cannot revert, trying again: {error}")),
        Event::FaultRevertFailed { fault, error } => Some(format!("{fault}: revert failed: {error}")),
        Event::DnsChanged {
            class, name, addresses, ..
        } => {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            let who = class.as_ref().map(|class| format!(" ({class})")).unwrap_or_default();
            Some(format!("dns{who}: {name} -> {}", addresses.join(" ")))
        }
        Event::ScalingActivity {
            region,
            description,
            status,
            ..
        } => Some(format!("{region}: {description} ({status})")),
        Event::AlarmChanged {
            region, alarm, state, ..
        } => Some(format!("{region}: alarm {alarm} is {state}")),
        Event::StopAlarmChanged {
            region, alarm, state, ..
        } if state == "ALARM" => Some(format!(
            "{region}: alarm {alarm} is {state}, which stops the experiment"
        )),
        Event::DatabaseEvent {
            region,
            database,
            message,
        } => Some(format!("{region}: {database}: {message}")),
        Event::HealthCheckChanged { endpoint, healthy, .. } => Some(format!(
            "route 53: {endpoint} is {}",
            if *healthy { "healthy" } else { "unhealthy" }
        )),
        Event::TokenNotRenewed { token_url, reason } => Some(format!("{token_url}: token not renewed: {reason}")),
        Event::TokenExpired { token_url } => Some(format!("{token_url}: the token is over, and is sent all the same")),
        Event::TokenRenewed { token_url } => Some(format!("{token_url}: the token is renewed again")),
        Event::StopConditionMet { condition, experiment } => {
            Some(format!("{experiment}: stop condition met: {condition}"))
        }
        Event::RunFroze { lasted } => Some(format!(
            "this run stood still for {}, so it is inconclusive",
            format_duration(*lasted)
        )),
        Event::Interrupted => Some("interrupted; reverting".to_owned()),
        Event::ClaimLost { reason } => Some(format!("{reason}; reverting")),
        Event::TargetGone { reason } => Some(reason.clone()),
        other => other.command(),
    }
}
