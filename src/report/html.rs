//! `report.html`: one file that needs no network. The page's texts are made here; `reports/report.html.j2` only places
//! them, and `reports/report.js` draws the charts from the embedded series.

use minijinja::{AutoEscape, Environment, Value, context};
use serde::Serialize;

use super::times::Row;
use super::{Report, TokenSummary, classes, failures, json, terminal, text};
use crate::judge::{FaultFindings, Outcome, format_share, format_value};
use crate::plan::LoadModel;
use crate::units::{format_count, format_duration};

const TEMPLATE: &str = include_str!("../../reports/report.html.j2");
const STYLE: &str = include_str!("../../reports/report.css");
const SCRIPT: &str = include_str!("../../reports/report.js");
const UPLOT: &str = include_str!("../../reports/vendor/uPlot.iife.min.js");
const UPLOT_STYLE: &str = include_str!("../../reports/vendor/uPlot.min.css");

/// The report as a self-contained page.
#[must_use]
pub fn html(report: &Report) -> String {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment
        .render_named_str("report.html", TEMPLATE, page(report))
        .expect("the shipped template renders every report")
}

fn page(report: &Report) -> Value {
    let verdict = &report.verdict;
    context! {
        name => report.plan.name.clone(),
        outcome => verdict.outcome.to_string(),
        heading => text::heading(report.ended, verdict.outcome),
        mark => text::mark(verdict.outcome),
        sentence => verdict.sentence.clone(),
        facts => run_facts(report),
        objectives => objectives(report),
        met => count(report, Outcome::Met),
        missed => count(report, Outcome::Missed),
        inconclusive => count(report, Outcome::Inconclusive),
        faults => verdict.faults.iter().map(fault).collect::<Vec<_>>(),
        scale_outs => scale_outs(report),
        scale_out_lines => verdict.scale_outs.iter().map(terminal::scale_out_line).collect::<Vec<_>>(),
        convergence => verdict.convergence.iter().map(|curve| context! {
            name => curve.fault.experiment.clone(),
            region => curve.region.clone(),
            points => curve.points.iter().map(|(at, share)| (format!("{at:.0}s"), format_share(*share))).collect::<Vec<_>>(),
        }).collect::<Vec<_>>(),
        failure_columns => failures::COLUMNS,
        failures => report.failures.iter().map(|failures| context! {
            row => failures.row().to_vec(),
            first => failures.first.clone().unwrap_or_default(),
        }).collect::<Vec<_>>(),
        class_columns => classes::COLUMNS,
        classes => verdict.classes.iter().map(|class| classes::row(class).to_vec()).collect::<Vec<_>>(),
        move_columns => classes::MOVE_COLUMNS,
        moves => verdict.moves.iter().map(|moved| context! {
            title => classes::move_title(moved),
            rows => moved.classes.iter().map(|class| classes::move_row(class).to_vec()).collect::<Vec<_>>(),
        }).collect::<Vec<_>>(),
        moves_more => verdict.moves_more,
        times => report.times.rows().iter().map(time_row).collect::<Vec<_>>(),
        step_times => report.times.step_rows().into_iter().map(|(name, rows)| context! {
            name => name,
            rows => rows.iter().map(time_row).collect::<Vec<_>>(),
        }).collect::<Vec<_>>(),
        places => places(report),
        honesty => honesty(report),
        spoiled => verdict.honesty.spoiled.clone(),
        commands => report.commands.iter().map(|command| (format_duration(command.at), command.did.clone())).collect::<Vec<_>>(),
        tokens => report.tokens.iter().map(TokenSummary::line).collect::<Vec<_>>(),
        rerun => report.rerun.clone(),
        not_the_same => text::not_the_same(report),
        tenfold => report.tenfold.clone(),
        data => Value::from_safe_string(data(report)),
        style => Value::from_safe_string(STYLE.to_owned()),
        script => Value::from_safe_string(SCRIPT.to_owned()),
        uplot => Value::from_safe_string(UPLOT.to_owned()),
        uplot_style => Value::from_safe_string(UPLOT_STYLE.to_owned()),
    }
}

fn count(report: &Report, outcome: Outcome) -> usize {
    report
        .verdict
        .objectives
        .iter()
        .filter(|objective| objective.outcome == outcome)
        .count()
}

/// What the script draws. `<` is escaped so that no text of the run can end the script element.
fn data(report: &Report) -> String {
    #[derive(Serialize)]
    struct Window<'a> {
        name: &'a str,
        from: f64,
        revert: Option<f64>,
        to: f64,
    }
    #[derive(Serialize)]
    struct Data<'a> {
        pace: f64,
        closed: bool,
        series: &'a super::Series,
        stages: &'a [super::StageSummary],
        windows: Vec<Window<'a>>,
        convergence: &'a [crate::judge::Convergence],
        moves: &'a [crate::judge::DnsMove],
        commands: &'a [super::CommandSummary],
    }
    let windows = report
        .verdict
        .faults
        .iter()
        .filter_map(|fault| {
            let from = fault.injected_at?.as_secs_f64();
            let to = fault.experiment_ended_at.map_or(from, |at| at.as_secs_f64());
            let felt_until = fault.recovery.map(|recovery| from + recovery.as_secs_f64());
            let left = fault.reverted_at.map(|at| at.as_secs_f64()).or(felt_until);
            Some(Window {
                name: &fault.id.experiment,
                from,
                // A revert that failed for long may come after all that is drawn.
                revert: if fault.in_world_at_end {
                    Some(to)
                } else {
                    left.map(|left| left.min(to))
                },
                to,
            })
        })
        .collect();
    json::rounded(&Data {
        pace: report.plan.pace,
        closed: report.plan.model != LoadModel::Arrivals,
        series: &report.series,
        stages: &report.plan.stages,
        windows,
        convergence: &report.verdict.convergence,
        moves: &report.verdict.moves,
        commands: &report.commands,
    })
    .replace('<', "\\u003c")
}

fn run_facts(report: &Report) -> Vec<(&'static str, String)> {
    let started = jiff::Timestamp::from_second(report.started_unix as i64)
        .map(|at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
        .unwrap_or_default();
    let cloud = std::time::Duration::try_from_secs_f64(report.real_duration.as_secs_f64() * report.plan.pace)
        .unwrap_or_default();
    let unit = match report.plan.model {
        LoadModel::Users => "users",
        LoadModel::Arrivals => "arrivals/s",
        LoadModel::Mixed => "requests/s",
    };
    let stages: Vec<String> = report
        .plan
        .stages
        .iter()
        .map(|stage| format_count(stage.level.max(0.0) as u64))
        .collect();
    vec![
        ("target", report.plan.target.clone()),
        ("Regions", report.plan.regions.join(", ")),
        ("stages", format!("{} {unit}", stages.join(" → "))),
        ("requests", format_count(report.verdict.honesty.requests)),
        ("pace", format!("{}×", report.plan.pace)),
        (
            "took",
            format!(
                "{} real, {} cloud",
                format_duration(report.real_duration),
                format_duration(cloud)
            ),
        ),
        ("started", started),
        ("ended", text::ended(report.ended).to_owned()),
        ("seed", report.plan.seed.to_string()),
    ]
}

fn objectives(report: &Report) -> Vec<Value> {
    report
        .verdict
        .objectives
        .iter()
        .map(|objective| {
            context! {
                outcome => objective.outcome.to_string(),
                mark => text::mark(objective.outcome),
                objective => objective.objective.clone(),
                experiment => objective.experiment.clone().unwrap_or_else(|| report.plan.name.clone()),
                measured => text::measured(objective),
                limit => format_value(&objective.limit),
                margin => text::margin(objective),
                why => objective.why.clone(),
            }
        })
        .collect()
}

fn fault(fault: &FaultFindings) -> Value {
    let parts = [
        ("detect", fault.parts.detect),
        ("promote", fault.parts.promote),
        ("propagate", fault.parts.propagate),
        ("client", fault.parts.client),
    ];
    let known: Vec<(&str, f64)> = parts
        .iter()
        .filter_map(|(name, length)| Some((*name, (*length)?.as_secs_f64())))
        .collect();
    let total: f64 = known.iter().map(|(_, length)| length).sum();
    let bar: Vec<Value> = known
        .iter()
        .filter(|_| total > 0.0)
        .map(|(name, length)| context! { name => *name, width => format!("{:.2}", length / total * 100.0) })
        .collect();
    context! {
        experiment => fault.id.experiment.clone(),
        fault => fault.fault.clone(),
        role => fault.role.clone(),
        region => fault.region.clone(),
        hypothesis => fault.hypothesis.clone(),
        observed => fault.observed,
        evidence => fault.evidence.clone(),
        ended_early => text::ended_early(fault),
        reverted_late => text::reverted_late(fault),
        resources => fault.resources.join(", "),
        at => fault.injected_at.map(format_duration),
        fidelity => fault.fidelity.clone(),
        facts => text::facts(fault).into_iter().map(|fact| context! {
            name => fact.name, value => fact.value, bound => fact.bound,
        }).collect::<Vec<_>>(),
        bar => bar,
        steps => fault.steps.iter().map(|(name, step)| context! {
            name => name,
            onset => format_duration(step.onset),
            outage => format_duration(step.outage),
            recovery => step.recovery.map_or_else(|| "not recovered".to_owned(), format_duration),
            failed => format_count(step.failed),
            probes => format_count(step.probes_failed),
        }).collect::<Vec<_>>(),
    }
}

fn scale_outs(report: &Report) -> Vec<Value> {
    let longest = report
        .verdict
        .scale_outs
        .iter()
        .filter_map(|scale_out| scale_out.total)
        .map(|total| total.as_secs_f64())
        .fold(1.0, f64::max);
    report
        .verdict
        .scale_outs
        .iter()
        .map(|scale_out| {
            let stages = [
                ("breach", scale_out.breach),
                ("alarm", scale_out.alarm),
                ("activity", Some(scale_out.activity)),
                ("in service", scale_out.in_service),
                ("first served", scale_out.first_served),
            ];
            let mut last = None;
            let cells: Vec<Value> = stages
                .iter()
                .map(|(name, at)| {
                    let since = at
                        .zip(last)
                        .map(|(at, last): (std::time::Duration, std::time::Duration)| at.saturating_sub(last));
                    last = at.or(last);
                    let text = match (at, since) {
                        (Some(_), Some(since)) => format!("+{}", format_duration(since)),
                        (Some(at), None) => format_duration(*at),
                        (None, _) if *name == "alarm" && scale_out.in_alarm_since.is_some() => "already".to_owned(),
                        (None, _) => "–".to_owned(),
                    };
                    let width = since.map_or(0.0, |since| since.as_secs_f64() / longest * 100.0);
                    context! { name => *name, text => text, width => format!("{width:.2}") }
                })
                .collect();
            context! {
                region => scale_out.region.clone(),
                group => scale_out.group.clone(),
                instances => match scale_out.killed {
                    0 => scale_out.instances.len().to_string(),
                    killed => format!("{} ({killed} killed)", scale_out.instances.len()),
                },
                cells => cells,
                total => scale_out.total.map_or_else(|| "–".to_owned(), format_duration),
            }
        })
        .collect()
}

/// Regions, then AZs; instances may be hundreds and are in report.json.
fn places(report: &Report) -> Vec<Value> {
    let places = &report.places;
    let named = [("Region", &places.regions), ("AZ", &places.azs)];
    let all = named
        .into_iter()
        .flat_map(|(kind, of)| of.iter().map(move |(name, ended)| (kind, name, ended)));
    all.map(|(kind, name, ended)| {
        context! {
            kind => kind,
            name => name.clone(),
            ok => format_count(ended.ok),
            failed => format_count(ended.failed),
            share => format_share(ended.failed as f64 / (ended.ok + ended.failed).max(1) as f64),
        }
    })
    .collect()
}

fn time_row(row: &Row) -> Value {
    context! {
        name => row.name,
        count => format_count(row.of.count),
        figures => row.of.figures().to_vec(),
        what => row.what.clone(),
    }
}

fn honesty(report: &Report) -> Vec<(&'static str, String, String)> {
    let honesty = &report.verdict.honesty;
    let dropped: u64 = honesty.dropped_records.values().sum();
    let mut rows = vec![
        (
            "lag p99 (real time)",
            format_duration(honesty.lag_p99),
            format!(
                "at most {}; stood still in {}s",
                format_duration(honesty.lag_p99_max),
                format_count(honesty.stood_still as u64)
            ),
        ),
        (
            "busiest shard, CPU",
            format_share(honesty.cpu_max),
            format!(
                "over {} in {} of seconds",
                format_share(honesty.cpu_bound),
                format_share(honesty.cpu_over)
            ),
        ),
        (
            "process, CPU",
            format!("{:.2} cores", honesty.cpu_process_max),
            String::new(),
        ),
        ("resident memory", text::bytes(honesty.resident_max), String::new()),
        ("connections", format_count(honesty.connections_max), String::new()),
        (
            "requests not sent",
            format_count(honesty.dropped_requests),
            String::new(),
        ),
        (
            "requests sent again",
            format_count(honesty.retries),
            "the client's retries, and what met a connection just closed".to_owned(),
        ),
        ("records lost", format_count(dropped), "none allowed".to_owned()),
        (
            "CPU time stolen from the machine",
            format_share(honesty.steal_max),
            format!(
                "over {} in {} of seconds",
                format_share(honesty.steal_bound),
                format_share(honesty.steal_over)
            ),
        ),
        (
            "TCP segments sent again",
            format_share(honesty.retransmits_run),
            format!(
                "{} outside faults, at most {}",
                format_share(honesty.retransmits),
                format_share(honesty.retransmits_bound)
            ),
        ),
    ];
    rows.extend(
        text::resources(honesty)
            .map(|(used, limit, what)| (what, format_count(used), format!("of {}", format_count(limit)))),
    );
    rows
}
