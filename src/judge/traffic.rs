//! Latency, errors, throughput and shares over the seconds of a scope, from merged histograms.

use std::time::Duration;

use super::Value;
use super::objectives::Finding;
use super::timeline::Timeline;
use crate::plan::{Measure, Objective, Scope, Statistic};
use crate::recording::{Hist, Slice, StepSlice};
use crate::units::format_count;

/// Measures one of the per-second measures.
pub(super) fn measure(timeline: &Timeline<'_>, objective: &Objective, slices: &[&Slice], steps: &[usize]) -> Finding {
    let cells = || {
        slices
            .iter()
            .flat_map(|slice| steps.iter().filter_map(|step| slice.steps.get(*step)))
    };
    let finished: u64 = cells().map(|step| step.ok + step.failures()).sum();
    let needed = timeline.plan.honesty.requests_min.max(1);
    if finished < needed {
        return Finding::Unknown(format!(
            "only {} requests finished{}; {} are needed",
            format_count(finished),
            scope_text(&objective.scope),
            format_count(needed)
        ));
    }
    let of = format!("over {} requests in {}s", format_count(finished), slices.len());
    match objective.measure {
        Measure::Latency => distribution(cells().map(|step| &step.latency), objective.statistic, of),
        Measure::ServiceTime => distribution(cells().map(|step| &step.service_time), objective.statistic, of),
        Measure::Errors => {
            let failed: u64 = cells().map(StepSlice::failures).sum();
            Finding::Reached(
                Value::Share(failed as f64 / finished as f64),
                format!("{} of {} requests failed", format_count(failed), format_count(finished)),
            )
        }
        Measure::Throughput => throughput(timeline, slices, steps),
        Measure::Share => share(objective, slices, needed),
        _ => Finding::Unknown("this measure is not taken per second".to_owned()),
    }
}

/// A pause is no second of low throughput.
fn throughput(timeline: &Timeline<'_>, slices: &[&Slice], steps: &[usize]) -> Finding {
    let running: Vec<&&Slice> = slices
        .iter()
        .filter(|slice| !timeline.steered.paused(slice.second))
        .collect();
    if running.is_empty() {
        return Finding::Unknown("the load was paused all the time".to_owned());
    }
    let cells = || {
        running
            .iter()
            .flat_map(|slice| steps.iter().filter_map(|step| slice.steps.get(*step)))
    };
    let ok: u64 = cells().map(|step| step.ok).sum();
    let finished: u64 = cells().map(|step| step.ok + step.failures()).sum();
    Finding::Reached(
        Value::Rate(ok as f64 / running.len() as f64),
        format!("over {} requests in {}s", format_count(finished), running.len()),
    )
}

fn share(objective: &Objective, slices: &[&Slice], needed: u64) -> Finding {
    let subject = objective.subject.as_deref().unwrap_or_default();
    let Some((kind, name)) = subject.split_once('=') else {
        return Finding::Unknown("a share needs region=NAME or az=NAME".to_owned());
    };
    let (mut matching, mut all) = (0u64, 0u64);
    for (served, count) in slices.iter().flat_map(|slice| &slice.served) {
        all += count;
        let place = if kind.trim() == "az" {
            &served.az
        } else {
            &served.region
        };
        if place == name.trim() {
            matching += count;
        }
    }
    if all < needed {
        return Finding::Unknown(format!("only {} answers said who served them", format_count(all)));
    }
    Finding::Reached(
        Value::Share(matching as f64 / all as f64),
        format!("{} of {} answers", format_count(matching), format_count(all)),
    )
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

fn scope_text(scope: &Scope) -> String {
    match scope {
        Scope::Run => String::new(),
        Scope::During(phase) => format!(" during {}", format!("{phase:?}").to_lowercase()),
        Scope::Experiment(name) => format!(" during {name}"),
    }
}
