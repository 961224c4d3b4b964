//! Scale-outs: from the CPU's breach of its target over alarm, activity and service to the first request served.

use std::collections::{BTreeMap, BTreeSet};

use super::objectives::Finding;
use super::timeline::Timeline;
use super::{ScaleOut, Value, group};
use crate::event::Event;
use crate::plan::{Objective, Role, Scope};
use crate::recording::Slice;
use crate::units::format_duration;

/// Activities of one decision start within this many cloud seconds.
const SAME_DECISION: f64 = 30.0;

/// Cloud seconds over the target at the maximum size after which the group is too small.
const CAPPED_MAX: f64 = 600.0;

/// Cloud seconds over the target without any decision after which autoscaling did not act: the alarm needs three
/// minutes and a metric appears a minute late.
const UNANSWERED_MAX: f64 = 300.0;

/// Cloud seconds from being in service to the first request: a pass of the load balancer's health check and a poll.
const FIRST_REQUESTS: f64 = 120.0;

/// What the cause of a launch says that is tried again: the alarm that the first try answered need not be named any more.
const FILLS_A_GAP: &str = "a difference between desired and actual capacity";

/// One decision with real seconds since t0.
#[derive(Clone, Debug, Default)]
pub(super) struct Decision {
    pub region: String,
    pub group: String,
    pub instances: Vec<String>,
    pub unserved: usize,
    /// No launch of it came to anything: it adds no instance, and so answers no breach.
    pub failed: bool,
    /// Instances that a fault of ours killed before they served.
    pub killed: usize,
    pub breach: Option<f64>,
    pub alarm: Option<f64>,
    /// The alarm had been in ALARM since then, before this breach: it is the one of an earlier decision.
    pub in_alarm_since: Option<f64>,
    pub activity: f64,
    pub in_service: Option<f64>,
    pub first_served: Option<f64>,
}

impl Decision {
    /// Breach to the last first answer, real seconds.
    fn total(&self) -> Option<f64> {
        Some(self.first_served? - self.breach?)
    }

    /// Every instance it added was killed by a fault of ours.
    fn proves_nothing(&self) -> bool {
        self.killed > 0 && self.killed == self.instances.len()
    }

    pub(super) fn summary(&self, timeline: &Timeline<'_>) -> ScaleOut {
        let cloud = |at: Option<f64>| at.map(|at| timeline.cloud(at));
        ScaleOut {
            region: self.region.clone(),
            group: self.group.clone(),
            instances: self.instances.clone(),
            killed: self.killed,
            breach: cloud(self.breach),
            alarm: cloud(self.alarm),
            in_alarm_since: cloud(self.in_alarm_since),
            activity: timeline.cloud(self.activity),
            in_service: cloud(self.in_service),
            first_served: cloud(self.first_served),
            total: cloud(self.total()),
        }
    }
}

struct Launch<'a> {
    start: f64,
    /// An alarm of target tracking caused it; any other one fills what a failed launch left open.
    by_alarm: bool,
    ended: Option<f64>,
    cause: &'a str,
    status: &'a str,
    instance: Option<&'a str>,
}

impl Launch<'_> {
    fn came_to_nothing(&self) -> bool {
        matches!(self.status, "Failed" | "Cancelled")
    }
}

/// Every decision of target tracking to add instances, in order of time.
pub(super) fn decisions(timeline: &Timeline<'_>) -> Vec<Decision> {
    let mut by_group: BTreeMap<(&str, &str), BTreeMap<&str, Launch<'_>>> = BTreeMap::new();
    for (at, event) in timeline.events() {
        let Event::ScalingActivity {
            region,
            group,
            id,
            description,
            cause,
            status,
            ended,
        } = event
        else {
            continue;
        };
        let by_alarm = cause.contains("TargetTracking") && cause.contains("AlarmHigh");
        if description.starts_with("Launching") && (by_alarm || cause.contains(FILLS_A_GAP)) {
            let launch = Launch {
                start: at,
                by_alarm,
                ended: ended.map(|ended| ended.as_secs_f64()),
                cause,
                status,
                instance: instance_id(description),
            };
            by_group.entry((region, group)).or_default().insert(id, launch);
        }
    }
    let mut all = Vec::new();
    for ((region, group), launches) in by_group {
        let mut launches: Vec<Launch<'_>> = launches.into_values().collect();
        launches.sort_by(|one, other| one.start.total_cmp(&other.start));
        all.extend(group_decisions(timeline, region, group, &launches));
    }
    all.sort_by(|one, other| one.activity.total_cmp(&other.activity));
    all
}

fn group_decisions(timeline: &Timeline<'_>, region: &str, group: &str, launches: &[Launch<'_>]) -> Vec<Decision> {
    let waves = waves(timeline, region, group, launches);
    let killed: BTreeSet<&str> = timeline
        .faults
        .iter()
        .flat_map(|fault| &fault.resources)
        .map(String::as_str)
        .collect();
    let mut earlier = None;
    let mut decisions = Vec::new();
    for wave in waves {
        let mut decision = decision(timeline, region, group, &wave, &killed);
        decision.breach = breach(timeline, region, group, decision.activity, earlier);
        (decision.alarm, decision.in_alarm_since) = alarm(timeline, &decision);
        earlier = Some((decision.activity, decision.in_service));
        decisions.push(decision);
    }
    decisions
}

/// Launches of one decision together.
fn waves<'l, 'a>(
    timeline: &Timeline<'_>,
    region: &str,
    group: &str,
    launches: &'l [Launch<'a>],
) -> Vec<Vec<&'l Launch<'a>>> {
    let near = SAME_DECISION / timeline.pace();
    let spans = over(timeline, region, group);
    let mut waves: Vec<Vec<&Launch<'_>>> = Vec::new();
    for launch in launches {
        match waves.last_mut() {
            Some(wave)
                if launch.by_alarm
                    && (launch.start - wave[0].start <= near
                        || first_sentence(launch.cause) == first_sentence(wave[0].cause)) =>
            {
                wave.push(launch);
            }
            Some(wave) if repeats(timeline, wave, launch, &spans) => wave.push(launch),
            _ if launch.by_alarm => waves.push(vec![launch]),
            _ => {}
        }
    }
    waves
}

/// Whether a launch is to bring what the first ones of a wave failed to: it is tried again, or the same breach caused it.
fn repeats(timeline: &Timeline<'_>, wave: &[&Launch<'_>], launch: &Launch<'_>, spans: &[(f64, f64)]) -> bool {
    let lasts = UNANSWERED_MAX / timeline.pace();
    let same_breach = || {
        let mut spans = spans.iter();
        spans.any(|(begin, end)| *begin <= wave[0].start && launch.start <= end + lasts)
    };
    let failed = wave.iter().take_while(|launch| launch.status == "Failed").count();
    wave.len() < 2 * failed && (!launch.by_alarm || same_breach())
}

/// What a wave of launches brought. An instance killed by a fault of ours before it served proves nothing either way.
fn decision(
    timeline: &Timeline<'_>,
    region: &str,
    group: &str,
    wave: &[&Launch<'_>],
    killed: &BTreeSet<&str>,
) -> Decision {
    let activity = wave[0].start;
    let launched: Vec<(&Launch<'_>, Option<f64>)> = wave
        .iter()
        .filter(|launch| !launch.came_to_nothing())
        .map(|launch| (*launch, launch.instance.and_then(|id| served_at(timeline, id))))
        .collect();
    // What was only cancelled was no longer wanted.
    let failed = launched.is_empty() && wave.iter().any(|launch| launch.status == "Failed");
    let is_killed = |launch: &Launch<'_>| launch.instance.is_some_and(|id| killed.contains(id));
    let (dead, counted): (Vec<_>, Vec<_>) = launched
        .iter()
        .partition(|(launch, served)| served.is_none() && is_killed(launch));
    // An activity ends when Auto Scaling next looks: an instance that serves is in service.
    let in_service = |(launch, served): &(&Launch<'_>, Option<f64>)| {
        let ended = launch.ended?;
        Some(served.map_or(ended, |served| ended.min(served)).max(activity))
    };
    let serving: Vec<_> = counted.iter().filter(|(_, served)| served.is_some()).collect();
    let first_served = serving.iter().filter_map(|(_, served)| *served).reduce(f64::max);
    Decision {
        region: region.to_owned(),
        group: group.to_owned(),
        instances: launched
            .iter()
            .filter_map(|(launch, _)| launch.instance.map(str::to_owned))
            .collect(),
        unserved: if failed {
            wave.len()
        } else {
            counted
                .iter()
                .filter(|(launch, _)| is_missing(timeline, region, launch))
                .count()
        },
        failed,
        killed: dead.len(),
        activity,
        in_service: if serving.is_empty() {
            counted.iter().filter_map(in_service).reduce(f64::max)
        } else {
            // One that came into service when the users had left would not be the slowest to serve.
            serving.iter().filter_map(|of| in_service(of)).reduce(f64::max)
        },
        first_served: first_served.map(|served| served.max(activity)),
        ..Decision::default()
    }
}

/// Whether an added instance never served although its Region had users: one that came into service when they had just
/// been sent elsewhere had nothing to serve.
fn is_missing(timeline: &Timeline<'_>, region: &str, launch: &Launch<'_>) -> bool {
    if launch.instance.is_none_or(|id| served_at(timeline, id).is_some()) {
        return false;
    }
    let Some(ended) = launch.ended else { return true };
    let until = ended + FIRST_REQUESTS / timeline.pace();
    let users_left = |slice: &Slice| {
        let all: u64 = slice.sent.values().sum();
        let here = slice.sent.get(region).copied().unwrap_or_default();
        all > 0 && here * 100 < all
    };
    let window = |slice: &&Slice| slice.second as f64 + 1.0 >= ended && (slice.second as f64) <= until;
    !timeline.recording.slices.iter().filter(window).any(users_left)
}

fn first_sentence(cause: &str) -> &str {
    cause.split(". ").next().unwrap_or(cause)
}

fn instance_id(description: &str) -> Option<&str> {
    let start = description.find("i-")?;
    let rest = &description[start..];
    let end = rest[2..]
        .find(|c: char| !c.is_ascii_alphanumeric())
        .map_or(rest.len(), |end| end + 2);
    Some(&rest[..end])
}

fn served_at(timeline: &Timeline<'_>, instance: &str) -> Option<f64> {
    let slice = timeline
        .recording
        .slices
        .iter()
        .find(|slice| slice.served.keys().any(|served| served.instance == instance))?;
    Some(group::first_served(timeline, instance, slice.second))
}

fn target(timeline: &Timeline<'_>, region: &str, group: &str) -> Option<f64> {
    let found = timeline.plan.target.inventory.regions.get(region)?.groups.get(group)?;
    found.cpu_target
}

fn minutes(timeline: &Timeline<'_>, region: &str, group: &str) -> Vec<(f64, f64)> {
    let mut minutes: Vec<(f64, f64)> = timeline
        .events()
        .filter_map(|(at, event)| match event {
            Event::CpuMeasured {
                region: of,
                group: name,
                percent,
            } if of == region && name == group => Some((at, *percent)),
            _ => None,
        })
        .collect();
    minutes.sort_by(|one, other| one.0.total_cmp(&other.0));
    minutes
}

/// Spans of consecutive minutes over the target, by the ends of their first and last minute.
fn over(timeline: &Timeline<'_>, region: &str, group: &str) -> Vec<(f64, f64)> {
    let Some(target) = target(timeline, region, group) else {
        return Vec::new();
    };
    let mut spans: Vec<(f64, f64)> = Vec::new();
    let mut open = false;
    for (at, percent) in minutes(timeline, region, group) {
        if percent <= target {
            open = false;
        } else if open && let Some(span) = spans.last_mut() {
            span.1 = at;
        } else {
            spans.push((at, at));
            open = true;
        }
    }
    spans
}

/// The end of the first minute over the target that a decision answers: after an earlier decision what was still too
/// much once that one had taken effect, or, where this one came before it could, once that one was made.
fn breach(
    timeline: &Timeline<'_>,
    region: &str,
    group: &str,
    activity: f64,
    earlier: Option<(f64, Option<f64>)>,
) -> Option<f64> {
    let target = target(timeline, region, group)?;
    let (begin, end) = over(timeline, region, group)
        .into_iter()
        .rev()
        .find(|(begin, _)| *begin <= activity)?;
    let Some((made, in_service)) = earlier else {
        return Some(begin);
    };
    let minutes = minutes(timeline, region, group);
    let since = |after: f64| {
        let mut over = minutes.iter().filter(|(_, percent)| *percent > target);
        over.find(|(at, _)| *at > after && (begin..=end.min(activity)).contains(at))
            .map(|(at, _)| *at)
    };
    since(in_service.unwrap_or(made))
        .or_else(|| since(made))
        .or(Some(begin))
}

/// When the alarm of a decision went to ALARM; where that was before its breach, the second of the pair has it: the
/// alarm was raised by what an earlier decision answered, and has not been OK since.
fn alarm(timeline: &Timeline<'_>, decision: &Decision) -> (Option<f64>, Option<f64>) {
    let slack = 1.0 / timeline.pace();
    let raised = timeline
        .events()
        .filter_map(|(at, event)| match event {
            Event::AlarmChanged {
                region: of,
                alarm,
                state,
                ..
            } if *of == decision.region
                && alarm.contains("AlarmHigh")
                && alarm.contains(&decision.group)
                && state == "ALARM"
                && at <= decision.activity + slack =>
            {
                Some(at.min(decision.activity))
            }
            _ => None,
        })
        .next_back();
    match (raised, decision.breach) {
        (Some(raised), Some(breach)) if raised < breach => (None, Some(raised)),
        (raised, _) => (raised, None),
    }
}

/// The slowest decision of a role's groups within a scope.
pub(super) fn scale_out(timeline: &Timeline<'_>, objective: &Objective, decisions: &[Decision]) -> Finding {
    let role = objective.subject.as_deref().unwrap_or("web");
    let Some(Role::AutoScalingGroup(name)) = timeline.plan.target.roles.get(role) else {
        return Finding::Unknown(format!("role {role} is no Auto Scaling group"));
    };
    let (from, to) = match &objective.scope {
        Scope::Experiment(experiment) => match timeline.windows.get(experiment.as_str()) {
            Some(window) => (window.begin, window.end),
            None => return Finding::Unknown("the experiment never began".to_owned()),
        },
        Scope::Run | Scope::During(_) => (0.0, timeline.end),
    };
    let mine: Vec<&Decision> = decisions
        .iter()
        .filter(|decision| decision.group == *name && (from..=to).contains(&decision.activity))
        .collect();
    let regions: Vec<&str> = timeline
        .plan
        .target
        .inventory
        .regions
        .iter()
        .filter(|(_, found)| found.groups.contains_key(name))
        .map(|(region, _)| region.as_str())
        .collect();
    if regions.iter().all(|region| minutes(timeline, region, name).is_empty()) {
        return Finding::Unknown(format!("no CPU metric of {name} was seen"));
    }
    for region in &regions {
        if let Some(why) = too_small(timeline, region, name, from, to) {
            return Finding::Never(why);
        }
        if let Some(why) = unanswered(timeline, region, name, &mine, from, to) {
            return Finding::Never(why);
        }
    }
    slowest(timeline, &mine, to)
}

fn slowest(timeline: &Timeline<'_>, decisions: &[&Decision], to: f64) -> Finding {
    let waiting = decisions
        .iter()
        .filter(|decision| decision.unserved > 0)
        .filter_map(|decision| Some(to - decision.breach?))
        .reduce(f64::max);
    let done = decisions
        .iter()
        .filter(|decision| decision.unserved == 0)
        .filter_map(|decision| Some((decision.total()?, decision)))
        .max_by(|one, other| one.0.total_cmp(&other.0));
    match (done, waiting) {
        (Some((total, slowest)), waiting) if waiting.is_none_or(|waiting| waiting <= total) => Finding::Reached(
            Value::Duration(timeline.cloud(total)),
            format!(
                "the slowest of {} scale-outs, {} instance(s) in {}{}",
                decisions.len(),
                slowest.instances.len(),
                slowest.region,
                killed_text(decisions)
            ),
        ),
        (done, Some(waiting)) => {
            // A decision taken shortly before the end proves nothing against the ones that were completed.
            let value = Value::Duration(timeline.cloud(waiting));
            match done {
                Some((total, _)) => Finding::Pending {
                    done: Value::Duration(timeline.cloud(total)),
                    waiting: value,
                    why: "an added instance had not served when the run ended".to_owned(),
                },
                // The end of a run does not wait for a scale-out.
                None => Finding::AtLeast(value, "no added instance served a request".to_owned(), false),
            }
        }
        (None, None) if decisions.is_empty() => {
            Finding::Unknown("the CPU never stayed over its target: nothing had to scale".to_owned())
        }
        (None, None) if decisions.iter().all(|decision| decision.proves_nothing()) => {
            Finding::Unknown("every instance that was added was killed by a fault before it served".to_owned())
        }
        (Some(_) | None, None) => {
            Finding::Unknown("no breach of the CPU target was seen before the scale-outs".to_owned())
        }
    }
}

fn killed_text(decisions: &[&Decision]) -> String {
    match decisions.iter().map(|decision| decision.killed).sum::<usize>() {
        0 => String::new(),
        1 => "; 1 more was killed by a fault before it served".to_owned(),
        killed => format!("; {killed} more were killed by faults before they served"),
    }
}

fn too_small(timeline: &Timeline<'_>, region: &str, group: &str, from: f64, to: f64) -> Option<String> {
    let max = timeline
        .plan
        .target
        .inventory
        .regions
        .get(region)?
        .groups
        .get(group)?
        .max;
    let limit = CAPPED_MAX / timeline.pace();
    over(timeline, region, group)
        .into_iter()
        .map(|(begin, end)| (begin.max(from), end.min(to)))
        .find(|(begin, end)| {
            let capped = timeline.events().find_map(|(at, event)| match event {
                Event::GroupPolled {
                    region: of,
                    group: name,
                    desired,
                    ..
                } if of == region && name == group && at >= *begin && *desired >= max => Some(at),
                _ => None,
            });
            capped.is_some_and(|capped| end - capped > limit)
        })
        .map(|(begin, end)| {
            format!(
                "{group} in {region} stayed over its CPU target for {} at its maximum size of {max}",
                format_duration(timeline.cloud(end - begin))
            )
        })
}

fn unanswered(
    timeline: &Timeline<'_>,
    region: &str,
    group: &str,
    decisions: &[&Decision],
    from: f64,
    to: f64,
) -> Option<String> {
    let limit = UNANSWERED_MAX / timeline.pace();
    let decided = |(begin, end): (f64, f64)| {
        let near = (begin - limit)..=(end + limit);
        let here = decisions.iter().filter(move |decision| decision.region == region);
        here.filter(move |decision| near.contains(&decision.activity))
    };
    over(timeline, region, group)
        .into_iter()
        .map(|(begin, end)| (begin.max(from), end.min(to)))
        .find(|span| span.1 - span.0 >= limit && decided(*span).all(|decision| decision.failed))
        .map(|span| {
            let what = match decided(span).next() {
                Some(_) => "every launch for it failed",
                None => "nothing was launched for it",
            };
            format!(
                "{group} in {region} was over its CPU target for {} and {what}",
                format_duration(timeline.cloud(span.1 - span.0))
            )
        })
}
