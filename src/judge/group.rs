//! What an Auto Scaling group did about instances it lost, and whether their requests failed after they had left.

use std::collections::{BTreeMap, BTreeSet};

use super::Value;
use super::disturbance;
use super::objectives::Finding;
use super::timeline::{FaultTimes, Timeline, Window};
use crate::event::Event;
use crate::plan::Role;

/// Cloud seconds between two looks of the observer at a group, which tells of every change.
const LOOK: f64 = 5.0;

/// Real seconds that two looks are at least apart.
const LOOK_FLOOR: f64 = 0.2;

/// Share of the time waited that may lie behind the last look.
const UNSEEN_MAX: f64 = 0.1;

#[derive(Debug)]
struct Poll<'a> {
    at: f64,
    min: u32,
    desired: u32,
    in_service: u32,
    healthy: u32,
    members: &'a [String],
    routed: &'a [String],
}

fn polls<'a>(timeline: &Timeline<'a>, fault: &FaultTimes<'_>) -> Vec<Poll<'a>> {
    let Some(Role::AutoScalingGroup(wanted)) = timeline.plan.target.roles.get(&fault.plan.role) else {
        return Vec::new();
    };
    let balanced = is_balanced(timeline, fault);
    timeline
        .events()
        .filter_map(|(at, event)| match event {
            Event::GroupPolled {
                region,
                group,
                min,
                desired,
                in_service,
                healthy,
                members,
                routed,
                ..
            } if *region == fault.plan.region && group == wanted => Some(Poll {
                at,
                min: *min,
                desired: *desired,
                in_service: *in_service,
                healthy: if balanced { *healthy } else { *in_service },
                members,
                routed,
            }),
            _ => None,
        })
        .collect()
}

/// Whether a load balancer sends to the group; without one, all that is known of its instances is what the group itself
/// says.
fn is_balanced(timeline: &Timeline<'_>, fault: &FaultTimes<'_>) -> bool {
    let target = &timeline.plan.target;
    let Some(Role::AutoScalingGroup(name)) = target.roles.get(&fault.plan.role) else {
        return true;
    };
    let region = target.inventory.regions.get(&fault.plan.region);
    let group = region.and_then(|region| region.groups.get(name));
    group.is_none_or(|group| !group.target_groups.is_empty())
}

/// Whether anybody was sent to the fault's Region in a span, as far as it is known where users are sent.
fn is_sent_to(timeline: &Timeline<'_>, fault: &FaultTimes<'_>, from: f64, to: f64) -> bool {
    let within = |second: u64| second as f64 + 1.0 > from && (second as f64) < to;
    let slices = timeline.recording.slices.iter().filter(|slice| within(slice.second));
    let mut sent = slices.filter_map(|slice| slice.sent.get(&fault.plan.region));
    timeline.plan.target.edge.is_empty() || sent.any(|count| *count > 0)
}

/// Whether any of these instances was seen to serve.
fn served(timeline: &Timeline<'_>, instances: &[String]) -> bool {
    let mut all = timeline.recording.slices.iter().flat_map(|slice| slice.served.keys());
    all.any(|served| instances.contains(&served.instance))
}

/// How many instances a group needs again, after a fault killed some of them.
struct Need {
    /// Healthy and in service just before the fault, or its minimum where that is more.
    before: u32,
    killed: usize,
}

impl Need {
    /// As many as before, or as the group wants by then where it has been scaled in.
    fn healthy(&self, poll: &Poll<'_>) -> u32 {
        self.before.min(poll.desired.max(poll.min))
    }

    /// As many as were killed, less those the group no longer wants.
    fn replacements(&self, poll: &Poll<'_>) -> usize {
        let fewer = self.before.saturating_sub(self.healthy(poll)) as usize;
        self.killed.saturating_sub(fewer)
    }
}

/// Injection to the group as large and healthy as before, with as many replacements serving as were killed where anybody
/// asks its instances.
pub(super) fn self_heal(timeline: &Timeline<'_>, fault: &FaultTimes<'_>) -> Finding {
    let (Some(injected), Some(window)) = (fault.instant(), timeline.window(fault)) else {
        return Finding::Unknown("the fault never got into the world".to_owned());
    };
    let polls = polls(timeline, fault);
    let killed: BTreeSet<&str> = fault.resources.iter().map(String::as_str).collect();
    if killed.is_empty() {
        return Finding::Unknown("the fault hit no instance".to_owned());
    }
    let Some(last_before) = polls.iter().rev().find(|poll| poll.at <= injected) else {
        return Finding::Unknown("the group was not polled before the fault".to_owned());
    };
    let need = Need {
        before: last_before.in_service.min(last_before.healthy).max(last_before.min),
        killed: killed.len(),
    };
    // What the first poll after the window shows may have been so before its end.
    let first_after = polls.partition_point(|poll| poll.at <= injected);
    let within = polls.partition_point(|poll| poll.at <= window.end);
    let after = polls
        .get(first_after..(within + 1).min(polls.len()))
        .unwrap_or_default();
    if after.is_empty() {
        return Finding::Unknown("the group was not polled after the fault".to_owned());
    }
    let gone = |poll: &Poll<'_>| !poll.members.iter().any(|member| killed.contains(member.as_str()));
    let whole = |poll: &Poll<'_>| poll.in_service >= need.healthy(poll) && poll.healthy >= need.healthy(poll);
    let dropped = after.iter().position(|poll| gone(poll) || !whole(poll));
    let healed =
        dropped.and_then(|dropped| (dropped..after.len()).find(|index| gone(&after[*index]) && whole(&after[*index])));
    let Some(healed) = healed else {
        return unhealed(timeline, injected, window, after);
    };
    let poll = &after[healed];
    // A group is looked at often and told of when it changes: it was not yet whole one look before.
    let earliest = match healed.checked_sub(1) {
        Some(before) => after[before].at.max(poll.at - look(timeline)),
        None => injected,
    };
    let needed = need.replacements(poll);
    let serving = replacements(timeline, fault, injected, &polls, poll.at.max(window.end));
    // Of instances that nobody asks, no request tells.
    let routed = is_balanced(timeline, fault) && is_sent_to(timeline, fault, injected, window.end);
    let asked = routed || served(timeline, last_before.members);
    let served = match needed.checked_sub(1).filter(|_| asked) {
        None => injected,
        Some(last) => match serving.get(last) {
            Some(served) => *served,
            None => {
                return Finding::AtLeast(
                    Value::Duration(timeline.cloud(window.end - injected)),
                    format!("{} of {needed} replacements served a request", serving.len()),
                    window.cut,
                );
            }
        },
    };
    let since = |at: f64| Value::Duration(timeline.cloud(at.max(served) - injected));
    Finding::Between {
        earliest: since(earliest),
        latest: since(poll.at),
        why: match needed {
            _ if !asked => "the group was whole, and nobody asks its instances".to_owned(),
            0 => "the group had been scaled in meanwhile and needed no replacement".to_owned(),
            1 => "1 replacement served".to_owned(),
            _ => format!("{needed} replacements served"),
        },
    }
}

fn unhealed(timeline: &Timeline<'_>, injected: f64, window: Window, after: &[Poll<'_>]) -> Finding {
    let why = "the group was not as large and healthy as before";
    let waited = window.end - injected;
    let known = after
        .last()
        .map_or(injected, |poll| poll.at)
        .max(window.end - look(timeline))
        .min(window.end);
    if window.end - known > UNSEEN_MAX * waited && after.last().is_none_or(|poll| poll.at < window.end) {
        let known = Value::Duration(timeline.cloud(known - injected));
        return Finding::AtLeast(known, format!("{why}, nor looked at often enough"), false);
    }
    Finding::AtLeast(Value::Duration(timeline.cloud(waited)), why.to_owned(), window.cut)
}

/// Real seconds between two looks at a group.
fn look(timeline: &Timeline<'_>) -> f64 {
    (LOOK / timeline.pace()).max(LOOK_FLOOR)
}

/// Instances that the group launched for the killed ones, by the instants of their first answers, in order of time.
fn replacements(
    timeline: &Timeline<'_>,
    fault: &FaultTimes<'_>,
    injected: f64,
    polls: &[Poll<'_>],
    to: f64,
) -> Vec<f64> {
    let known = |instance: &str| {
        let mut before = polls.iter().filter(|poll| poll.at <= injected);
        before.any(|poll| poll.members.iter().any(|member| member == instance))
    };
    let mut first: BTreeMap<&str, u64> = BTreeMap::new();
    for slice in &timeline.recording.slices {
        for served in slice.served.keys().filter(|served| served.region == fault.plan.region) {
            first.entry(served.instance.as_str()).or_insert(slice.second);
        }
    }
    let mut at: Vec<f64> = first
        .into_iter()
        .filter(|(instance, second)| !instance.is_empty() && *second as f64 + 1.0 > injected && (*second as f64) < to)
        .filter(|(instance, _)| !known(instance) && !was_wanted_anyway(timeline, instance, injected))
        .map(|(instance, second)| first_served(timeline, instance, second).clamp(injected, to))
        .collect();
    at.sort_by(f64::total_cmp);
    at
}

/// Whether an instance's launch began before the fault, or answered an alarm: it replaces none of the dead.
fn was_wanted_anyway(timeline: &Timeline<'_>, instance: &str, injected: f64) -> bool {
    timeline.events().any(|(at, event)| match event {
        Event::ScalingActivity { description, cause, .. }
            if description.starts_with("Launching") && description.contains(instance) =>
        {
            at < injected || cause.contains("TargetTracking")
        }
        _ => false,
    })
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
    let injected = fault.instant().filter(|_| is_balanced(timeline, fault))?;
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
    if !is_balanced(timeline, fault) {
        return unknown("no load balancer sends to the group, so none could stop");
    }
    if polls(timeline, fault)
        .iter()
        .all(|poll| Some(poll.at) <= fault.instant())
    {
        return unknown("the group was not polled after the fault");
    }
    let left = match left_target_group(timeline, fault) {
        Some(left) if left <= window.end => left,
        _ if window.cut => {
            return unknown("the load balancer still sent to the dead instances when it was cut short");
        }
        _ => {
            return Err(Finding::Never(
                "the load balancer never stopped sending to the dead instances".to_owned(),
            ));
        }
    };
    // What the next fault hits, and may have hit in flight, is that one's.
    let next = timeline
        .next_fault(left)
        .map(|next| next - disturbance::patience(timeline));
    let end = next.map_or(window.end, |next| next.min(window.end));
    let all: Vec<usize> = (0..timeline.plan.steps.len()).collect();
    let steps = steps.unwrap_or(&all);
    let attempts: u64 = steps
        .iter()
        .map(|step| disturbance::attempts_between(timeline, *step, left, end))
        .sum();
    if attempts < disturbance::ATTEMPTS_MIN {
        return unknown("too few requests started after the dead instances had left");
    }
    if !is_sent_to(timeline, fault, left, end) {
        return unknown("no request went to the group's Region after the dead instances had left");
    }
    let failed = steps
        .iter()
        .map(|step| disturbance::failed_between(timeline, *step, left, end))
        .sum();
    Ok((
        failed,
        format!("of {attempts} requests and probes after the dead instances had left"),
    ))
}
