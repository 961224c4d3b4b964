//! What an Auto Scaling group did about instances it lost, and whether their requests failed after they had left.

use std::collections::{BTreeMap, BTreeSet};

use super::Value;
use super::disturbance;
use super::objectives::Finding;
use super::timeline::{FaultTimes, Timeline};
use crate::event::Event;
use crate::plan::Role;

struct Poll<'a> {
    at: f64,
    min: u32,
    in_service: u32,
    healthy: u32,
    members: &'a [String],
    routed: &'a [String],
}

fn polls<'a>(timeline: &Timeline<'a>, fault: &FaultTimes<'_>) -> Vec<Poll<'a>> {
    let Some(Role::AutoScalingGroup(wanted)) = timeline.plan.target.roles.get(&fault.plan.role) else {
        return Vec::new();
    };
    timeline
        .events()
        .filter_map(|(at, event)| match event {
            Event::GroupPolled {
                region,
                group,
                min,
                in_service,
                healthy,
                members,
                routed,
                ..
            } if *region == fault.plan.region && group == wanted => Some(Poll {
                at,
                min: *min,
                in_service: *in_service,
                healthy: *healthy,
                members,
                routed,
            }),
            _ => None,
        })
        .collect()
}

/// Injection to the group at its minimum, in service, healthy, with enough new instances serving.
pub(super) fn self_heal(timeline: &Timeline<'_>, fault: &FaultTimes<'_>) -> Finding {
    let (Some(injected), Some(window)) = (fault.instant(), timeline.window(fault)) else {
        return Finding::Unknown("the fault never got into the world".to_owned());
    };
    let polls = polls(timeline, fault);
    let killed: BTreeSet<&str> = fault.resources.iter().map(String::as_str).collect();
    if killed.is_empty() {
        return Finding::Unknown("the fault hit no instance".to_owned());
    }
    let lost = |members: &[String]| !members.iter().any(|member| killed.contains(member.as_str()));
    let after = || polls.iter().filter(|poll| poll.at > injected && poll.at <= window.end);
    if after().next().is_none() {
        return Finding::Unknown("the group was not polled after the fault".to_owned());
    }
    let survivors = polls
        .iter()
        .rev()
        .find(|poll| poll.at <= injected)
        .or_else(|| polls.first())
        .map_or(0, |poll| {
            poll.members
                .iter()
                .filter(|member| !killed.contains(member.as_str()))
                .count()
        });
    let dropped = after()
        .find(|poll| poll.in_service < poll.min || poll.healthy < poll.min || lost(poll.members))
        .map(|poll| poll.at);
    let healed = dropped.and_then(|dropped| {
        after()
            .find(|poll| {
                poll.at >= dropped && poll.in_service >= poll.min && poll.healthy >= poll.min && lost(poll.members)
            })
            .map(|poll| (poll.at, poll.min))
    });
    let waited = Value::Duration(timeline.cloud(window.end - injected));
    let Some((healed, min)) = healed else {
        return Finding::AtLeast(
            waited,
            "the group was not back at its minimum, in service and healthy".to_owned(),
            window.cut,
        );
    };
    let needed = (min as usize).saturating_sub(survivors).max(1);
    let mut serving: Vec<f64> = new_servers(timeline, &fault.plan.region, injected, window.end)
        .into_values()
        .collect();
    serving.sort_by(f64::total_cmp);
    match serving.get(needed - 1) {
        Some(served) => Finding::Reached(
            Value::Duration(timeline.cloud(healed.max(*served) - injected)),
            format!("{needed} replacement{} served", if needed == 1 { "" } else { "s" }),
        ),
        None => Finding::AtLeast(
            waited,
            format!("{} of {needed} replacements served a request", serving.len()),
            window.cut,
        ),
    }
}

/// Instances of a Region that first served in a span, with the instant of their first answer.
fn new_servers(timeline: &Timeline<'_>, region: &str, from: f64, to: f64) -> BTreeMap<String, f64> {
    let mut first: BTreeMap<&str, u64> = BTreeMap::new();
    for slice in &timeline.recording.slices {
        for served in slice.served.keys().filter(|served| served.region == region) {
            first.entry(served.instance.as_str()).or_insert(slice.second);
        }
    }
    first
        .into_iter()
        .filter(|(instance, second)| !instance.is_empty() && *second as f64 > from && (*second as f64) < to)
        .map(|(instance, second)| {
            let at = first_served(timeline, instance, second).min(to);
            (instance.to_owned(), at)
        })
        .collect()
}

/// When an instance first served: in the second that shows it, and not before its scaling activity ended.
pub(super) fn first_served(timeline: &Timeline<'_>, instance: &str, second: u64) -> f64 {
    let begins = second as f64;
    timeline
        .events()
        .filter_map(|(_, event)| match event {
            Event::ScalingActivity {
                description,
                ended: Some(ended),
                ..
            } if description.starts_with("Launching") && description.contains(instance) => Some(ended.as_secs_f64()),
            _ => None,
        })
        .next_back()
        .unwrap_or(begins)
        .clamp(begins, begins + 1.0)
}

/// When the load balancer was first seen not to send to any dead instance, real seconds since t0.
pub(super) fn left_target_group(timeline: &Timeline<'_>, fault: &FaultTimes<'_>) -> Option<f64> {
    let injected = fault.instant()?;
    polls(timeline, fault)
        .iter()
        .filter(|poll| poll.at > injected)
        .find(|poll| !poll.routed.iter().any(|routed| fault.resources.contains(routed)))
        .map(|poll| poll.at)
}

/// Failed requests that started after the dead instances had left; `Err` says why that cannot be told.
pub(super) fn late_errors(
    timeline: &Timeline<'_>,
    fault: &FaultTimes<'_>,
    steps: Option<&[usize]>,
) -> Result<(u64, String), Finding> {
    let unknown = |why: &str| Err(Finding::Unknown(why.to_owned()));
    let Some(window) = timeline.window(fault) else {
        return unknown("the fault never got into the world");
    };
    if fault.resources.is_empty() {
        return unknown("the fault hit no instance");
    }
    if polls(timeline, fault)
        .iter()
        .all(|poll| Some(poll.at) <= fault.instant())
    {
        return unknown("the group was not polled after the fault");
    }
    let left = match left_target_group(timeline, fault) {
        Some(left) if left <= window.end => left,
        _ => {
            return Err(Finding::Never(
                "the load balancer never stopped sending to the dead instances".to_owned(),
            ));
        }
    };
    let all: Vec<usize> = (0..timeline.plan.steps.len()).collect();
    let steps = steps.unwrap_or(&all);
    let attempts: u64 = steps
        .iter()
        .map(|step| disturbance::attempts_between(timeline, *step, left, window.end))
        .sum();
    if attempts < disturbance::ATTEMPTS_MIN {
        return unknown("too few requests started after the dead instances had left");
    }
    let failed = steps
        .iter()
        .map(|step| disturbance::failed_between(timeline, *step, left, window.end))
        .sum();
    Ok((
        failed,
        format!("of {attempts} requests after the dead instances had left"),
    ))
}
