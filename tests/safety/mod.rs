//! What keeps a run from breaking what nobody meant it to, with the real binary against a lab that stands alone, as an
//! account does. Here is that lab with its files; the tests are beside, by subject.

mod approval;
mod claims;
mod guards;
mod locks;
mod lost;
mod stops;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tenfold::aws::{Clients, ConnectOptions, Reader, Writer};
use tenfold::units::Pace;

use crate::support::{LabProcess, tenfold};

const REGION: &str = "us-east-1";
const PACE: &str = "120";
/// A fault that is over soon, in a run of three minutes of cloud time.
const SUSPEND: &str = "{ fault: autoscaling.suspend, role: web, processes: [AZRebalance], at: 30s, lasts: 30s }";

/// A lab that stands alone, with a profile, an experiment and a target file beside it.
struct Account {
    lab: LabProcess,
    dir: TempDir,
}

impl Account {
    /// With one experiment of these faults.
    fn with(faults: &str) -> Self {
        Self::in_lab(faults, &[])
    }

    /// The same in a lab that is started with these arguments.
    fn in_lab(faults: &str, arguments: &[&str]) -> Self {
        let lab = LabProcess::start_with(PACE, arguments);
        let account = Self {
            lab,
            dir: TempDir::new().expect("a temporary directory"),
        };
        account.experiment(&format!(
            "name: harm\nhypothesis: h\nfaults:\n  - {faults}\nsettle: 30s\n"
        ));
        account.write(
            "profile.yaml",
            "name: safety\ntarget: target.json\nchaos: [harm.yaml]\nobjectives: [errors <= 100%]\nhonesty: { requests: 1, steal: 100% }\n\
             journeys: { browse: { think: 1s..2s, steps: [{ get: /products/1 }] } }\n\
             stages: [{ tier: 1, users: 5, hold: 3m }]\n",
        );
        account.target(|_| {});
        account
    }

    fn experiment(&self, text: &str) {
        self.write("harm.yaml", text);
    }

    /// Writes the target file anew, as the lab announced it with changes.
    fn target(&self, change: impl Fn(&mut Value)) {
        let mut target = self.lab.announcement.clone();
        change(&mut target);
        self.write("target.json", &target.to_string());
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("the file is written");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The binary, in the directory of the files, with a state of its own.
    fn tenfold(&self, arguments: &[&str]) -> Command {
        let mut command = tenfold();
        command
            .current_dir(self.dir.path())
            .env("XDG_STATE_HOME", self.path("state"))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn said(&self, arguments: &[&str]) -> (i32, String, String) {
        said(self.tenfold(arguments).output().expect("tenfold runs"))
    }

    /// The hash that the plan ends with.
    fn hash(&self) -> String {
        self.hash_of(&[])
    }

    /// The same with more arguments.
    fn hash_of(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.said(&[&["plan", "profile.yaml"], arguments].concat());
        assert_eq!(code, 0, "{stderr}");
        let last = stdout.lines().last().unwrap_or_default();
        let hash = last
            .strip_prefix("hash ")
            .unwrap_or_else(|| panic!("no hash in\n{stdout}"));
        assert_eq!(hash.len(), 64, "{hash}");
        hash.to_owned()
    }

    /// A run that must be refused before it does anything.
    fn refused(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.said(&[&["run", "profile.yaml", "--out", "refused"], arguments].concat());
        assert_eq!(code, 2, "{stdout}{stderr}");
        assert!(!self.path("refused").exists(), "it began, or left something: {stderr}");
        stderr
    }

    async fn clients(&self) -> (Reader, Writer) {
        let clients = Clients::connect(&ConnectOptions {
            endpoint: Some(self.lab.endpoint.clone()),
            regions: vec![REGION.to_owned(), "eu-west-1".to_owned()],
            pace: PACE.parse::<Pace>().expect("a pace"),
            assume: Vec::new(),
            credentials: Some(("test".to_owned(), "test".to_owned())),
        })
        .await;
        (clients.reader(), clients.writer())
    }
}

fn said(output: Output) -> (i32, String, String) {
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn contains(text: &str, expected: &[&str]) {
    for expected in expected {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
}

fn records(journal: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(journal).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

fn has(journal: &Path, record: &str) -> bool {
    records(journal).iter().any(|one| one["record"] == record)
}

/// Waits for something to be so.
fn wait_for(what: &str, mut found: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !found() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

const BLACKOUT: &str = "{ fault: network.deny_region, role: web, at: 30s, lasts: 90m }";

/// A run of hours, with a blackout that is in the world when this returns.
fn blackout(account: &Account, out: &str) -> std::process::Child {
    let hash = account.hash_of(&["--set", "stages.0.hold=2h"]);
    let path = account.path(out);
    let run = account
        .tenfold(&[
            "run",
            "profile.yaml",
            "--set",
            "stages.0.hold=2h",
            "--out",
            &path.display().to_string(),
            "--approve",
            &hash,
        ])
        .spawn()
        .expect("tenfold starts");
    let journal = path.join("journal.jsonl");
    wait_for("the fault", || has(&journal, "observed"));
    run
}

fn signal(run: &std::process::Child, signal: Signal) {
    kill(Pid::from_raw(run.id() as i32), signal).expect("the run lives");
}
