//! `tenfold report`: renders a saved run again; also saves the reports of a run that just ended.

use std::path::PathBuf;

use crate::cli::args::ReportArguments;
use crate::cli::exit::{Exit, Failure};
use crate::cli::out;
use crate::cli::run_dir::RunDir;
use crate::judge::{Verdict, judge};
use crate::plan::Plan;
use crate::recording::Recording;
use crate::report::{self, Report};

/// Renders a saved run.
pub(super) fn report(arguments: &ReportArguments) -> Result<Exit, Failure> {
    let run_dir = RunDir::open(&arguments.run_dir)?;
    // The recording first: its absence says most about a run that died.
    let recording = run_dir.load_recording()?;
    let plan = run_dir.load_plan()?;
    let verdict = judge(&plan, &recording);
    save_reports(&run_dir, &plan, &recording, &verdict, arguments.json)?;
    Ok(Exit::Met)
}

/// Writes report.json, report.html, junit.xml and latency.hlog, and prints the summary or the JSON. What cannot be written
/// keeps nobody from seeing what came of the run.
pub(super) fn save_reports(
    run_dir: &RunDir,
    plan: &Plan,
    recording: &Recording,
    verdict: &Verdict,
    json: bool,
) -> Result<(), Failure> {
    let report = Report::new(plan, recording, verdict.clone());
    // Its newline is part of it: what is printed is the file.
    let json_text = report::json(&report);
    let written = write_reports(run_dir, plan, recording, &report, &json_text);
    let printed = if json {
        out::print(&json_text)
    } else {
        let summary = report::terminal(&report, true);
        let html = written.as_ref().map(|html| format!("\nreport: {}\n", html.display()));
        out::print(&format!("{summary}{}", html.unwrap_or_default()))
    };
    written?;
    printed
}

/// Writes them; gives where the report for people is.
fn write_reports(
    run_dir: &RunDir,
    plan: &Plan,
    recording: &Recording,
    report: &Report,
    json: &str,
) -> anyhow::Result<PathBuf> {
    run_dir.write("report.json", json)?;
    let html = run_dir.write("report.html", report::html(report))?;
    run_dir.write("junit.xml", report::junit(report))?;
    run_dir.write("latency.hlog", report::hlog(plan, recording))?;
    Ok(html)
}
