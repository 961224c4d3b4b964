//! The watchdog of a run: a process that undoes what the run has put into the world when the run dies, hangs, or lets
//! a fault stay past its lease. `run` starts it, and sends it a heartbeat through a pipe, which also ends with the run.
//! It knows no more than `tenfold revert` does: the journal, which it keeps open, so that it still knows when somebody
//! deletes the directory of the run.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::aws::Writer;
use crate::cli::args::WatchdogArguments;
use crate::cli::exit::{Exit, Failure};
use crate::cli::out;
use crate::cli::revert::connect;
use crate::cli::run_dir::{JOURNAL, RunDir};
use crate::clock::{Clock, from_unix};
use crate::event::FaultId;
use crate::plan::Plan;
use crate::run::chaos::{self, Kept, RevertSummary};
use crate::units::Pace;

/// What the run sends: that it lives, and that it has ended in order.
const ALIVE: u8 = b'.';
const ENDED: u8 = b'E';
/// What the watchdog answers once it watches.
const READY: &str = "ready";
/// Real time between two heartbeats.
const BEAT: Duration = Duration::from_secs(1);
/// Real time between two looks for a journal that is not there yet.
const JOURNAL_LOOK: Duration = Duration::from_millis(50);
/// The watchdog must say that it is ready within this (real time), and be gone this long after the run.
const READY_WITHIN: Duration = Duration::from_secs(20);
const GONE_WITHIN: Duration = Duration::from_secs(5);
/// A run that is silent for this long hangs: cloud time, and at least this in real time.
const SILENCE: Duration = Duration::from_secs(60);
const SILENCE_FLOOR: Duration = Duration::from_secs(15);
/// How long after the end of its lease a fault may still be there, since its revert takes time: as above.
const MARGIN: Duration = Duration::from_secs(300);
const MARGIN_FLOOR: Duration = Duration::from_secs(30);
/// How long it goes on trying to undo what a dead run left: as above.
const PATIENCE: Duration = Duration::from_secs(3600);
const PATIENCE_FLOOR: Duration = Duration::from_secs(60);
/// Pause between two tries, cloud time.
const TRY_AGAIN: Duration = Duration::from_secs(30);
/// Who the journal says reverts.
const WATCHDOG: &str = "the watchdog";
/// The file of a run directory that holds what it had to say.
pub(super) const LOG: &str = "watchdog.log";

/// The watchdog of this run, seen from the run.
pub(super) struct Watchdog {
    child: Child,
    end: oneshot::Sender<()>,
    beating: JoinHandle<()>,
}

impl Watchdog {
    /// Starts one when the plan has faults that an API call undoes, or claims; it watches when this returns.
    pub(super) async fn start(plan: &Plan, clock: &Clock, run_dir: &RunDir) -> anyhow::Result<Option<Self>> {
        let mut faults = plan.experiments.iter().flat_map(|experiment| &experiment.faults);
        if !faults.any(|planned| planned.fault.entry().reversible) && plan.claims().is_empty() {
            return Ok(None);
        }
        let log = run_dir.file(LOG);
        let stderr = std::fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut child = Command::new(std::env::current_exe().context("cannot find the tenfold binary")?)
            .arg("watchdog")
            .arg(run_dir.path())
            .args(["--epoch", &clock.epoch_unix().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .context("cannot start the watchdog")?;
        let stdout = child.stdout.take().expect("standard output is piped");
        let mut lines = BufReader::new(stdout).lines();
        match tokio::time::timeout(READY_WITHIN, lines.next_line()).await {
            Ok(Ok(Some(line))) if line == READY => {}
            _ => bail!("the watchdog did not start; see {}", log.display()),
        }
        let stdin = child.stdin.take().expect("standard input is piped");
        let (end, ended) = oneshot::channel();
        let beating = tokio::spawn(beat(stdin, ended));
        Ok(Some(Self { child, end, beating }))
    }

    /// Tells it that the run has ended in order, and waits until it is gone.
    pub(super) async fn end(mut self) {
        // A heart that has stopped has told why.
        let _ = self.end.send(());
        let _ = self.beating.await;
        if tokio::time::timeout(GONE_WITHIN, self.child.wait()).await.is_err() {
            // Nothing is left for it to do, so it must not stay.
            let _ = self.child.kill().await;
        }
    }
}

async fn beat(mut stdin: ChildStdin, mut ended: oneshot::Receiver<()>) {
    let mut ticks = tokio::time::interval(BEAT);
    loop {
        let byte = tokio::select! {
            _ = ticks.tick() => ALIVE,
            told = &mut ended => match told {
                Ok(()) => ENDED,
                // The run ends without having said that it is in order, by a panic for one: as if it had died.
                Err(_) => return,
            },
        };
        if stdin.write_all(&[byte]).await.is_err() {
            out::tell("warning: the watchdog of this run has died; should the run die too, use tenfold revert");
            return;
        }
        if byte == ENDED {
            return;
        }
    }
}

/// What the watchdog learns of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Alive,
    Ended,
    Died,
}

/// `tenfold watchdog`: watches until the run has ended, or has died and is undone.
pub(super) async fn watchdog(arguments: WatchdogArguments) -> Result<Exit, Failure> {
    // A session of its own: neither Ctrl-C nor the end of the terminal reaches it. It fails only for the leader of a
    // group, who has that already.
    let _ = nix::unistd::setsid();
    let run_dir = RunDir::open(&arguments.run_dir)?;
    let plan = run_dir.load_plan()?;
    let mut watch = Watch {
        cloud: connect(&plan).await.writer(),
        journal: run_dir.file(JOURNAL),
        kept: None,
        clock: Clock::new(from_unix(arguments.epoch), plan.pace),
    };
    let heard = listen();
    out::line(READY)?;
    watch.until_the_end(heard).await
}

fn listen() -> mpsc::Receiver<Heard> {
    let (tell, heard) = mpsc::channel(16);
    tokio::spawn(async move {
        let mut stdin = tokio::io::stdin();
        loop {
            let mut some = [0u8; 64];
            let news = match stdin.read(&mut some).await {
                // An error is as good as an end: the run is gone.
                Ok(0) | Err(_) => Heard::Died,
                Ok(count) if some[..count].contains(&ENDED) => Heard::Ended,
                Ok(_) => Heard::Alive,
            };
            if tell.send(news).await.is_err() || news != Heard::Alive {
                return;
            }
        }
    });
    heard
}

struct Watch {
    cloud: Writer,
    journal: PathBuf,
    /// The same, once it was there.
    kept: Option<Kept>,
    clock: Clock,
}

impl Watch {
    async fn until_the_end(&mut self, mut heard: mpsc::Receiver<Heard>) -> Result<Exit, Failure> {
        let pace = self.clock.pace();
        let silence = at_least(pace, SILENCE, SILENCE_FLOOR);
        let mut last = Instant::now();
        let mut next_look = Instant::now();
        loop {
            // Nothing is injected until the journal has been there for longer than this.
            let pause = self.journal().map_or(JOURNAL_LOOK, |_| BEAT);
            match tokio::time::timeout(pause, heard.recv()).await {
                Ok(Some(Heard::Alive)) => last = Instant::now(),
                Ok(Some(Heard::Ended)) => return Ok(Exit::Met),
                Ok(Some(Heard::Died) | None) => {
                    out::tell("the run has died; reverting what it left");
                    return Ok(self.repair().await);
                }
                Err(_) if last.elapsed() > silence => {
                    out::tell("the run hangs; reverting what it has in the world");
                    // Nobody else may begin while it may come to itself.
                    self.revert(&|fault| !fault.is_claim()).await;
                    // Should it come to itself, it is watched as before.
                    last = Instant::now();
                }
                Err(_) => {}
            }
            if Instant::now() >= next_look {
                next_look = Instant::now() + self.look_at_leases().await;
            }
        }
    }

    /// Undoes what is overdue; answers when to look again.
    async fn look_at_leases(&mut self) -> Duration {
        let pace = self.clock.pace();
        let margin = at_least(pace, MARGIN, MARGIN_FLOOR);
        let time = self.clock.cloud_unix() - pace.to_cloud(margin).as_secs_f64();
        let overdue = self.journal().and_then(|journal| chaos::overdue(journal, time).ok());
        let overdue = overdue.unwrap_or_default();
        if overdue.is_empty() {
            return BEAT;
        }
        for fault in &overdue {
            out::tell(&format!(
                "the lease of {fault} is over, and it is still in the world; reverting it"
            ));
        }
        self.revert(&|fault| overdue.contains(fault)).await;
        margin
    }

    /// The journal, which the run begins a moment after its watchdog.
    fn journal(&mut self) -> Option<&Kept> {
        if self.kept.is_none() {
            self.kept = Kept::open(&self.journal).ok();
        }
        self.kept.as_ref()
    }

    /// Undoes what a dead run left, again and again where it has to.
    async fn repair(&mut self) -> Exit {
        let pace = self.clock.pace();
        let deadline = Instant::now() + at_least(pace, PATIENCE, PATIENCE_FLOOR);
        loop {
            if self.revert(&|_| true).await {
                return Exit::Met;
            }
            if Instant::now() >= deadline {
                out::tell("giving up");
                return Exit::Unreverted;
            }
            tokio::time::sleep(pace.patience(TRY_AGAIN)).await;
        }
    }

    /// Undoes some of the faults once, and says in the log what came of it; whether nothing of them is left.
    async fn revert(&mut self, chosen: &(dyn Fn(&FaultId) -> bool + Sync)) -> bool {
        if self.journal().is_none() && !self.journal.exists() {
            out::tell("there is no journal, so nothing was injected, or nobody can know what");
            return true;
        }
        let Some(journal) = &self.kept else {
            out::tell(&format!("error: cannot read {}", self.journal.display()));
            return false;
        };
        match chaos::revert_chosen(journal, &self.cloud, WATCHDOG, chosen).await {
            Ok(RevertSummary {
                reverted,
                failed,
                unreadable,
                ..
            }) => {
                for fault in reverted {
                    out::tell(&format!("reverted: {fault}"));
                }
                out::tell_left(&failed, None);
                out::tell_unreadable(unreadable);
                failed.is_empty()
            }
            Err(error) => {
                out::tell(&format!("error: {error}"));
                false
            }
        }
    }
}

/// A wait in cloud time that is never shorter than `floor` of real time.
fn at_least(pace: Pace, cloud: Duration, floor: Duration) -> Duration {
    pace.to_real(cloud).max(floor)
}
