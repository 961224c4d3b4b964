//! What is shown while a run goes on: one line that is redrawn on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::plan::Plan;
use crate::run::director::Progress;
use crate::units::{format_count, format_duration};

/// Real time between two plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// Is told about each second.
pub(super) type Tell = Box<dyn FnMut(&Progress) + Send>;

/// Shows the progress of `plan` from a task of its own: what is to be told of each second, and the task, which ends
/// when nobody can tell it anything more.
pub(super) fn follow(plan: &Plan, quiet: bool) -> (Tell, JoinHandle<()>) {
    let mut view = ProgressView::new(plan, quiet);
    let (told, mut to_show) = mpsc::channel::<Progress>(64);
    let shown = tokio::spawn(async move {
        while let Some(progress) = to_show.recv().await {
            view.show(&progress);
        }
        view.finish();
    });
    let tell = move |progress: &Progress| {
        // A slow terminal loses lines of progress, never time of the run.
        let _ = told.try_send(progress.clone());
    };
    (Box::new(tell), shown)
}

/// Shows progress on standard error.
struct ProgressView {
    bar: Option<ProgressBar>,
    quiet: bool,
    pace: crate::units::Pace,
    tiers: Vec<u8>,
    /// What the plan's model counts.
    counted: &'static str,
    last_plain: Option<Duration>,
}

impl ProgressView {
    /// A view for `plan`; shows nothing when `quiet`.
    fn new(plan: &Plan, quiet: bool) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let total = plan.pace.to_real(plan.ends_at).as_secs();
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{bar:24} {msg}").expect("the template is a valid constant");
            bar.set_style(style);
            bar
        });
        let tiers = plan.stages.iter().map(|stage| stage.tier).collect();
        Self {
            bar,
            quiet,
            pace: plan.pace,
            tiers,
            counted: plan.model.counted(),
            last_plain: None,
        }
    }

    /// Shows one second.
    fn show(&mut self, progress: &Progress) {
        if self.quiet {
            return;
        }
        let line = self.line(progress);
        match &self.bar {
            Some(bar) => {
                for note in &progress.notes {
                    bar.println(format!("{} {note}", self.time(progress)));
                }
                bar.set_position(progress.schedule.as_secs());
                bar.set_message(line);
            }
            None => self.show_plain(progress, &line),
        }
    }

    /// Removes the redrawn line, so that the summary stands alone.
    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn show_plain(&mut self, progress: &Progress, line: &str) {
        let mut out = std::io::stderr().lock();
        // A closed standard error takes the progress away, not the run.
        for note in &progress.notes {
            let _ = writeln!(out, "{} {note}", self.time(progress));
        }
        if self
            .last_plain
            .is_none_or(|last| progress.elapsed >= last + PLAIN_EVERY)
        {
            let _ = writeln!(out, "{} {line}", self.time(progress));
            self.last_plain = Some(progress.elapsed);
        }
    }

    fn time(&self, progress: &Progress) -> String {
        format!("[{:>6}]", format_duration(self.pace.to_cloud(progress.elapsed)))
    }

    fn line(&self, progress: &Progress) -> String {
        let tier = self.tiers.get(progress.stage).copied().unwrap_or_default();
        let what = if progress.holding { "hold" } else { "ramp" };
        let p99 = progress.p99.map_or("-".to_owned(), |seconds| {
            format_duration(Duration::from_secs_f64(seconds))
        });
        let errors = progress
            .errors
            .map_or("-".to_owned(), |share| format!("{:.2}%", share * 100.0));
        let faults = if progress.faults.is_empty() {
            String::new()
        } else {
            format!("  fault {}", progress.faults.join(", "))
        };
        let steered = match &progress.steered {
            Some(steered) => format!(" ({steered})"),
            None => String::new(),
        };
        format!(
            "tier {tier} {what}{steered}  {} {}  rate {}/s  p99 {p99}  errors {errors}{faults}",
            self.counted,
            format_count(progress.users),
            format_count(progress.rate)
        )
    }
}
