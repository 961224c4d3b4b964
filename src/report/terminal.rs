//! The summary at the end of a run, plain or in colour.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::{Failures, Report, classes, failures, text};
use crate::judge::{FaultFindings, Outcome, ScaleOut, format_share};
use crate::units::{format_count, format_duration};

struct Paint {
    color: bool,
}

impl Paint {
    fn with(&self, style: Style, text: &str) -> String {
        if self.color {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    fn bold(&self, text: &str) -> String {
        self.with(Style::new().bold(), text)
    }

    fn dim(&self, text: &str) -> String {
        self.with(Style::new().dimmed(), text)
    }

    fn outcome(&self, outcome: Outcome, text: &str) -> String {
        let color = match outcome {
            Outcome::Met => AnsiColor::Green,
            Outcome::Missed => AnsiColor::Red,
            Outcome::Inconclusive => AnsiColor::Yellow,
        };
        self.with(Style::new().bold().fg_color(Some(color.into())), text)
    }
}

/// The report as text.
#[must_use]
pub fn terminal(report: &Report, color: bool) -> String {
    let paint = Paint { color };
    let mut out = String::new();
    let verdict = &report.verdict;
    let word = text::heading(report.ended, verdict.outcome).to_uppercase();
    line(
        &mut out,
        &format!(
            "{}  {}",
            paint.outcome(verdict.outcome, &word),
            paint.bold(&verdict.sentence)
        ),
    );
    line(
        &mut out,
        &paint.dim(&format!(
            "{} against {}, pace {}, seed {}, {} of cloud time in {} real, {}",
            report.plan.name,
            report.plan.target,
            report.plan.pace,
            report.plan.seed,
            format_duration(
                std::time::Duration::try_from_secs_f64(report.real_duration.as_secs_f64() * report.plan.pace)
                    .unwrap_or_default()
            ),
            format_duration(report.real_duration),
            text::ended(report.ended)
        )),
    );
    objectives(&mut out, report, &paint);
    if !verdict.faults.is_empty() {
        heading(&mut out, &paint, "Faults (cloud time)");
        for fault in &verdict.faults {
            fault_card(&mut out, fault, &paint);
        }
    }
    if !verdict.scale_outs.is_empty() {
        heading(&mut out, &paint, "Scale-outs (cloud time)");
        for scale_out in &verdict.scale_outs {
            line(&mut out, &format!("  {}", scale_out_line(scale_out)));
        }
    }
    if !report.commands.is_empty() {
        heading(&mut out, &paint, "Commands (cloud time)");
        for command in &report.commands {
            line(
                &mut out,
                &format!("  {}  {}", pad_left(&format_duration(command.at), 7), command.did),
            );
        }
    }
    self::failures(&mut out, report, &paint);
    self::classes(&mut out, report, &paint);
    let times = report.times.table();
    if !times.is_empty() {
        heading(&mut out, &paint, "Where the time went (real time)");
        out.push_str(&times);
    }
    if !report.tokens.is_empty() {
        heading(&mut out, &paint, "Tokens (real time)");
        for tokens in &report.tokens {
            line(&mut out, &format!("  {}", tokens.line()));
        }
    }
    honesty(&mut out, report, &paint);
    heading(&mut out, &paint, "Again");
    line(&mut out, &format!("  {}", report.rerun));
    if let Some(why) = text::not_the_same(report) {
        line(&mut out, &format!("  {}", paint.dim(&why)));
    }
    out
}

fn failures(out: &mut String, report: &Report, paint: &Paint) {
    if report.failures.is_empty() {
        return;
    }
    heading(out, paint, "What failed");
    let rows: Vec<_> = report.failures.iter().map(Failures::row).collect();
    let table = classes::table("  ", failures::COLUMNS, &rows);
    let first = report.failures.iter().map(|failures| failures.first.as_deref());
    for (row, first) in table.lines().zip(std::iter::once(None).chain(first)) {
        let first = first.map(|first| format!("  {}", paint.dim(first)));
        line(out, &format!("{row}{}", first.unwrap_or_default()));
    }
}

fn classes(out: &mut String, report: &Report, paint: &Paint) {
    let verdict = &report.verdict;
    if verdict.classes.is_empty() {
        return;
    }
    heading(
        out,
        paint,
        "Classes of clients (attempts for each request, in the worst second at most)",
    );
    let rows: Vec<_> = verdict.classes.iter().map(classes::row).collect();
    out.push_str(&classes::table("  ", classes::COLUMNS, &rows));
    if verdict.moves.is_empty() {
        return;
    }
    heading(
        out,
        paint,
        "Who moved when (cloud time since the first class had the new answer)",
    );
    for moved in &verdict.moves {
        line(out, &format!("  {}", classes::move_title(moved)));
        let rows: Vec<_> = moved.classes.iter().map(classes::move_row).collect();
        out.push_str(&classes::table("    ", classes::MOVE_COLUMNS, &rows));
    }
    if verdict.moves_more > 0 {
        line(
            out,
            &format!(
                "  and {} more changes of the answer",
                format_count(verdict.moves_more as u64)
            ),
        );
    }
}

fn line(out: &mut String, text: &str) {
    out.push_str(text.trim_end());
    out.push('\n');
}

fn heading(out: &mut String, paint: &Paint, text: &str) {
    out.push('\n');
    line(out, &paint.bold(text));
}

fn objectives(out: &mut String, report: &Report, paint: &Paint) {
    heading(out, paint, "Objectives");
    let rows: Vec<[String; 4]> = report
        .verdict
        .objectives
        .iter()
        .map(|objective| {
            [
                objective.experiment.clone().unwrap_or_else(|| report.plan.name.clone()),
                objective.objective.clone(),
                text::measured(objective),
                text::margin(objective),
            ]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2), width(3)];
    let mut experiment = "";
    for (row, objective) in rows.iter().zip(&report.verdict.objectives) {
        if row[0] != experiment {
            experiment = &row[0];
            line(out, &format!("  {}", paint.dim(experiment)));
        }
        let mark = paint.outcome(objective.outcome, text::mark(objective.outcome));
        let mut text = format!(
            "  {mark} {}  {}  {}",
            pad(&row[1], widths[1]),
            pad_left(&row[2], widths[2]),
            pad_left(&row[3], widths[3])
        );
        if !objective.why.is_empty() {
            let _ = write!(text, "  {}", paint.dim(&objective.why));
        }
        line(out, &text);
    }
    if rows.is_empty() {
        line(out, "  none");
    }
}

fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.chars().count())))
}

fn pad_left(text: &str, width: usize) -> String {
    format!("{}{text}", " ".repeat(width.saturating_sub(text.chars().count())))
}

fn fault_card(out: &mut String, fault: &FaultFindings, paint: &Paint) {
    let at = match fault.injected_at {
        Some(at) => format!("at {}", format_duration(at)),
        None => "not injected".to_owned(),
    };
    line(
        out,
        &format!(
            "  {} {} on {} in {}, {at}",
            paint.bold(&fault.id.experiment),
            fault.fault,
            fault.role,
            fault.region
        ),
    );
    if !fault.hypothesis.is_empty() {
        line(
            out,
            &format!("    {}", paint.dim(&format!("hypothesis: {}", fault.hypothesis))),
        );
    }
    let seen = if fault.observed {
        format!("seen: {}", fault.evidence)
    } else {
        paint.outcome(Outcome::Inconclusive, &format!("not seen: {}", fault.evidence))
    };
    line(out, &format!("    {seen}"));
    if let Some(ended) = text::ended_early(fault) {
        line(out, &format!("    {}", paint.outcome(Outcome::Inconclusive, &ended)));
    }
    if let Some(late) = text::reverted_late(fault) {
        line(out, &format!("    {}", paint.outcome(Outcome::Inconclusive, &late)));
    }
    for fact in text::facts(fault) {
        let bound = fact
            .bound
            .map(|bound| paint.dim(&format!("AWS: {bound}")))
            .unwrap_or_default();
        line(
            out,
            &format!("    {} {}  {bound}", pad(fact.name, 16), pad_left(&fact.value, 9)),
        );
    }
    if !fault.fidelity.is_empty() {
        line(
            out,
            &format!("    {}", paint.dim(&format!("does not reproduce: {}", fault.fidelity))),
        );
    }
}

/// `us-east-1 web +3: breach 4m -> alarm +2m -> activity +5s -> in service +1m10s -> first served +12s = 3m27s`.
pub(super) fn scale_out_line(scale_out: &ScaleOut) -> String {
    let mut text = format!(
        "{} {} +{}: ",
        scale_out.region,
        scale_out.group,
        scale_out.instances.len()
    );
    if scale_out.killed > 0 {
        let _ = write!(text, "{} killed by a fault before serving, ", scale_out.killed);
    }
    let stages = [
        ("breach", scale_out.breach),
        ("alarm", scale_out.alarm),
        ("activity", Some(scale_out.activity)),
        ("in service", scale_out.in_service),
        ("first served", scale_out.first_served),
    ];
    let mut last = None;
    let mut parts = Vec::new();
    for (name, at) in stages {
        parts.push(match (at, last) {
            (Some(at), None) => format!("{name} at {}", format_duration(at)),
            (Some(at), Some(before)) => format!("{name} +{}", format_duration(at.saturating_sub(before))),
            (None, _) if name == "alarm" && scale_out.in_alarm_since.is_some() => "already in alarm".to_owned(),
            (None, _) => format!("{name} –"),
        });
        last = at.or(last);
    }
    text.push_str(&parts.join(" → "));
    if let Some(total) = scale_out.total {
        let _ = write!(text, " = {}", format_duration(total));
    }
    text
}

fn honesty(out: &mut String, report: &Report, paint: &Paint) {
    let honesty = &report.verdict.honesty;
    heading(out, paint, "Was the generator honest?");
    let answer = match &honesty.spoiled {
        None => paint.outcome(Outcome::Met, "yes"),
        Some(why) => paint.outcome(Outcome::Inconclusive, &format!("no: {why}")),
    };
    let again = match honesty.retries {
        0 => String::new(),
        retries => format!(", {} sent again", format_count(retries)),
    };
    let still = match honesty.stood_still {
        0 => String::new(),
        seconds => format!(", stood still in {}s", format_count(seconds as u64)),
    };
    line(
        out,
        &format!(
            "  {answer}  {} requests, lag p99 {} of {}{still}, busiest shard {} of {}, process {:.2} cores, {}, {} connections, {} not sent{again}",
            format_count(honesty.requests),
            format_duration(honesty.lag_p99),
            format_duration(honesty.lag_p99_max),
            format_share(honesty.cpu_max),
            format_share(honesty.cpu_bound),
            honesty.cpu_process_max,
            text::bytes(honesty.resident_max),
            format_count(honesty.connections_max),
            format_count(honesty.dropped_requests)
        ),
    );
    let mut machine = format!(
        "  machine: {} of CPU time stolen at most, {} of TCP segments sent again ({} outside faults)",
        format_share(honesty.steal_max),
        format_share(honesty.retransmits_run),
        format_share(honesty.retransmits)
    );
    for (used, limit, what) in text::resources(honesty) {
        let _ = write!(machine, ", {} of {} {what}", format_count(used), format_count(limit));
    }
    line(out, &machine);
}
