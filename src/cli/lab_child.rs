//! Starts the lab as a child process and ends it. The child's standard input is the leash: when this process is gone,
//! it ends by itself.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::units::Pace;

/// The file of a run directory that says that the run had a lab of its own.
pub(super) const LAB_CONFIG: &str = "lab.json";
/// Where what it says is kept.
pub(super) const LAB_LOG: &str = "lab.log";
/// What really happened in it.
pub(super) const LAB_TRUTH: &str = "lab-truth.jsonl";
/// The lab must say that it is ready within this (real time).
const READY_WITHIN: Duration = Duration::from_secs(20);

/// A running lab.
#[derive(Debug)]
pub(super) struct LabChild {
    /// Its end ends the lab.
    leash: Option<ChildStdin>,
    /// Holds the child, and ends with it.
    waiting: JoinHandle<()>,
    ended: watch::Receiver<Option<String>>,
    /// The target as the lab announced it: one line of JSON.
    pub(super) announcement: String,
}

impl LabChild {
    /// Starts the lab with the `lab:` section of the profile; its files go into `dir`.
    pub(super) async fn start(section: &serde_json::Value, pace: Pace, seed: u64, dir: &Path) -> anyhow::Result<Self> {
        let config = dir.join(LAB_CONFIG);
        std::fs::write(&config, serde_json::to_vec_pretty(section)?)
            .with_context(|| format!("cannot write {}", config.display()))?;
        let log = dir.join(LAB_LOG);
        let stderr = std::fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut child = Command::new(std::env::current_exe().context("cannot find the tenfold binary")?)
            .arg("lab")
            .args(["--json", "--until-stdin-closes"])
            .arg("--config")
            .arg(&config)
            .arg("--truth")
            .arg(dir.join(LAB_TRUTH))
            .args(["--pace", &pace.to_string(), "--seed", &seed.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            // Its own group: a Ctrl-C in the terminal must reach us, and not take the cloud away before the revert.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the lab")?;
        let stdout = child.stdout.take().expect("standard output is piped");
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(READY_WITHIN, lines.next_line()).await;
        match line {
            Ok(Ok(Some(announcement))) => Ok(Self::watched(child, announcement, log)),
            // Nothing is kept of a run that never began, so what the lab said is told here.
            Ok(_) => bail!("the lab did not start: {}", said(&log)),
            Err(_) => bail!("the lab was not ready within {READY_WITHIN:?}: {}", said(&log)),
        }
    }

    fn watched(mut child: Child, announcement: String, log: PathBuf) -> Self {
        // Taken before the wait, which would close it.
        let leash = child.stdin.take();
        let (tell, ended) = watch::channel(None);
        let waiting = tokio::spawn(async move {
            let status = child.wait().await;
            // Nobody listening means that the run is over.
            let _ = tell.send(Some(how_it_ended(status, &log)));
        });
        Self {
            leash,
            waiting,
            ended,
            announcement,
        }
    }

    /// Says how the lab ended by itself; `None` while it runs.
    pub(super) fn ended(&self) -> watch::Receiver<Option<String>> {
        self.ended.clone()
    }

    /// Closes the leash and waits for its end; kills it when it does not end.
    pub(super) async fn end(mut self) {
        drop(self.leash.take());
        if tokio::time::timeout(Duration::from_secs(5), &mut self.waiting)
            .await
            .is_err()
        {
            // The child is killed as it is dropped. Nothing is lost by it: the lab's state ends with the run.
            self.waiting.abort();
            let _ = self.waiting.await;
        }
    }
}

fn said(log: &Path) -> String {
    let said = std::fs::read_to_string(log).unwrap_or_default();
    match said.trim() {
        "" => "it said nothing".to_owned(),
        said => said.to_owned(),
    }
}

fn how_it_ended(status: std::io::Result<ExitStatus>, log: &Path) -> String {
    let how = match status {
        Ok(status) => match (status.signal(), status.code()) {
            (Some(signal), _) => format!("signal {signal}"),
            (None, code) => format!("exit code {}", code.unwrap_or_default()),
        },
        Err(error) => error.to_string(),
    };
    format!("the lab process ended ({how}); see {}", log.display())
}
