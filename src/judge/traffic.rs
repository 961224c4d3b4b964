//! Latency, errors, throughput and shares over the seconds of a scope, from merged histograms.

use std::time::Duration;

use super::Value;
use super::asked_for::asked_for;
use super::objectives::Finding;
use super::timeline::Timeline;
use crate::plan::{Measure, Objective, Scope, Statistic};
use crate::recording::{Hist, ServedBy, Slice, StepSlice};
use crate::units::format_count;

/// Measures one of the per-second measures.
pub(super) fn measure(timeline: &Timeline<'_>, objective: &Objective, slices: &[&Slice], steps: &[usize]) -> Finding {
    if let Some(place) = objective.subject.as_deref().and_then(Place::parse) {
        return at_place(timeline, objective, slices, &place);
    }
    let group = group(timeline, objective);
    let cells = || cells(slices, steps, group);
    let what = if group.is_some() { "passes" } else { "requests" };
    let finished: u64 = cells().map(|step| step.ok + step.failures()).sum();
    let needed = timeline.plan.honesty.requests_min.max(1);
    if finished < needed {
        return Finding::Unknown(format!(
            "only {} {what} finished{}; {} are needed{}",
            format_count(finished),
            scope_text(&objective.scope),
            format_count(needed),
            left_out(timeline)
        ));
    }
    let of = format!("over {} {what} in {}s", format_count(finished), slices.len());
    match objective.measure {
        Measure::Latency => distribution(cells().map(|step| &step.latency), objective.statistic, of),
        Measure::ServiceTime => distribution(cells().map(|step| &step.service_time), objective.statistic, of),
        Measure::Errors => {
            let failed: u64 = cells().map(StepSlice::failures).sum();
            Finding::Reached(
                Value::Share(failed as f64 / finished as f64),
                format!("{} of {} {what} failed", format_count(failed), format_count(finished)),
            )
        }
        Measure::Throughput => throughput(timeline, slices, steps, group),
        _ => Finding::Unknown("this measure is not taken per second".to_owned()),
    }
}

/// The group that an objective is about.
fn group(timeline: &Timeline<'_>, objective: &Objective) -> Option<usize> {
    let subject = objective.subject.as_deref()?;
    timeline.plan.groups().iter().position(|group| *group == subject)
}

/// What an objective is about, second by second: a group, or else steps.
fn cells<'a>(slices: &[&'a Slice], steps: &[usize], group: Option<usize>) -> impl Iterator<Item = &'a StepSlice> {
    slices.iter().flat_map(move |slice| {
        let steps: &[usize] = if group.is_some() { &[] } else { steps };
        let of_group = group.and_then(|group| slice.groups.get(group));
        of_group
            .into_iter()
            .chain(steps.iter().filter_map(move |step| slice.steps.get(*step)))
    })
}

/// A pause is no second of low throughput.
fn running<'a>(timeline: &Timeline<'_>, slices: &[&'a Slice]) -> Vec<&'a Slice> {
    let paused = |slice: &&&Slice| timeline.steered.paused(slice.second);
    slices.iter().filter(|slice| !paused(slice)).copied().collect()
}

/// What succeeded, over the time in which the schedule asked for it: neither the last answers, for which nobody else is
/// asked any more, nor the seconds of another load are time of low throughput.
fn throughput(timeline: &Timeline<'_>, slices: &[&Slice], steps: &[usize], group: Option<usize>) -> Finding {
    let running = running(timeline, slices);
    if running.is_empty() {
        return Finding::Unknown("the load was paused all the time".to_owned());
    }
    let cells = || cells(&running, steps, group);
    let groups = timeline.plan.groups();
    let seconds = asked_for(timeline, &running, |journey| match group {
        Some(group) => journey.groups().contains(&groups[group]),
        None => journey.steps.iter().any(|step| steps.contains(step)),
    });
    if seconds <= 0.0 {
        return Finding::Unknown("the schedule asked for none of it then".to_owned());
    }
    let ok: u64 = cells().map(|step| step.ok).sum();
    let finished: u64 = cells().map(|step| step.ok + step.failures()).sum();
    let what = if group.is_some() { "passes" } else { "requests" };
    Finding::Reached(
        Value::Rate(ok as f64 / seconds),
        format!("over {} {what} in {}", format_count(finished), in_seconds(seconds)),
    )
}

/// `3s`, `1.5s`.
fn in_seconds(seconds: f64) -> String {
    format!("{}s", (seconds * 10.0).round() / 10.0)
}

/// A Region or an AZ.
struct Place<'a> {
    is_az: bool,
    name: &'a str,
}

impl<'a> Place<'a> {
    fn parse(subject: &'a str) -> Option<Self> {
        let (kind, name) = subject.split_once('=')?;
        let is_az = kind.trim() == "az";
        (is_az || kind.trim() == "region").then_some(Self {
            is_az,
            name: name.trim(),
        })
    }

    /// Requests that ended there, and all that ended anywhere known.
    fn count<'s>(&self, ended: impl Iterator<Item = (&'s ServedBy, &'s u64)>) -> (u64, u64) {
        ended.fold((0, 0), |(here, all), (by, count)| {
            let at = if self.is_az { &by.az } else { &by.region };
            (here + if at == self.name { *count } else { 0 }, all + count)
        })
    }
}

/// What is measured of a Region or an AZ. A request that nobody answered belongs to the Region it was sent to, and to no
/// AZ: which one it would have reached is not known.
fn at_place(timeline: &Timeline<'_>, objective: &Objective, slices: &[&Slice], place: &Place<'_>) -> Finding {
    let needed = timeline.plan.honesty.requests_min.max(1);
    let (ok, all) = place.count(slices.iter().flat_map(|slice| &slice.served));
    let (failed, failed_all) = place.count(slices.iter().flat_map(|slice| &slice.served_failed));
    let too_few = |count| Finding::Unknown(format!("only {} answers said who served them", format_count(count)));
    match objective.measure {
        Measure::Share if all < needed => too_few(all),
        Measure::Share => Finding::Reached(
            Value::Share(ok as f64 / all as f64),
            format!("{} of {} answers", format_count(ok), format_count(all)),
        ),
        Measure::Throughput if all < needed => too_few(all),
        Measure::Throughput => {
            let seconds = asked_for(timeline, &running(timeline, slices), |_| true);
            if seconds <= 0.0 {
                return Finding::Unknown("the load was paused or over all the time".to_owned());
            }
            let (here, all) = (format_count(ok), format_count(all));
            Finding::Reached(
                Value::Rate(ok as f64 / seconds),
                format!("{here} of {all} answers in {}", in_seconds(seconds)),
            )
        }
        Measure::Errors if failed_all == 0 && any_failed(slices) => {
            Finding::Unknown("the recording does not say where requests failed".to_owned())
        }
        Measure::Errors if ok + failed < needed => Finding::Unknown(format!(
            "only {} requests ended there{}; {} are needed",
            format_count(ok + failed),
            scope_text(&objective.scope),
            format_count(needed)
        )),
        Measure::Errors => Finding::Reached(
            Value::Share(failed as f64 / (ok + failed) as f64),
            format!(
                "{} of {} requests failed",
                format_count(failed),
                format_count(ok + failed)
            ),
        ),
        _ => Finding::Unknown("this measure is not taken of a place".to_owned()),
    }
}

/// An older recording counts failures, and not by place.
fn any_failed(slices: &[&Slice]) -> bool {
    slices
        .iter()
        .flat_map(|slice| &slice.steps)
        .any(|step| step.failures() > 0)
}

fn distribution<'a>(parts: impl Iterator<Item = &'a Hist>, statistic: Option<Statistic>, of: String) -> Finding {
    let mut merged = Hist::working();
    for part in parts {
        if let Err(error) = part.add_to(&mut merged) {
            return Finding::Unknown(error.to_string());
        }
    }
    if merged.is_empty() {
        return Finding::Unknown("no latency was recorded".to_owned());
    }
    let micros = match statistic.unwrap_or(Statistic::Percentile(99.0)) {
        Statistic::Percentile(percentile) => merged.value_at_percentile(percentile.clamp(0.0, 100.0)),
        Statistic::Mean => merged.mean().round() as u64,
        Statistic::Max => merged.max(),
    };
    Finding::Reached(Value::Duration(Duration::from_micros(micros)), of)
}

/// Where what finished may be that counts nowhere.
fn left_out(timeline: &Timeline<'_>) -> String {
    let slices = timeline.recording.slices.iter();
    let scaled = slices.filter(|slice| timeline.steered.scaled(slice.second)).count();
    match scaled {
        0 => String::new(),
        scaled => format!("; {scaled}s in which the load was scaled are not counted"),
    }
}

fn scope_text(scope: &Scope) -> String {
    match scope {
        Scope::Run => String::new(),
        Scope::During(phase) => format!(" during {}", format!("{phase:?}").to_lowercase()),
        Scope::Experiment(name) => format!(" during {name}"),
    }
}
