//! Runs the real binary on the shipped files and reads what it saved.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Condvar, Mutex, PoisonError};

use serde_json::Value;
use tempfile::TempDir;
use tenfold::judge::Verdict;
use tenfold::plan::Plan;
use tenfold::recording::Recording;

/// Pace of the shipped game day in tests; timeouts keep their real floor of 200 ms, so it cannot be much higher.
pub const PACE: &str = "75";

/// How often a game day is made before its machine is taken for the reason.
const ATTEMPTS_MAX: usize = 3;
/// Arguments of a run that is about behaviour and not about milliseconds: a busy or stolen machine is no reason against it.
pub const ON_ANY_MACHINE: [&str; 4] = ["--set", "honesty.lag_p99=2s", "--set", "honesty.steal=100%"];

/// How a test uses the machine; those of one kind go beside one another, as many as there are threads for tests.
#[derive(Clone, Copy, PartialEq)]
enum Use {
    /// Whole game days share two cores with nothing: two at once would make the generator lag, and rightly say so.
    Alone,
    /// Measured by the clock, with a load of a fraction of a core.
    Light,
    /// Much work that judges nothing by the clock.
    Heavy,
}

/// Who has the machine, and how many of them there are.
static MACHINE: Mutex<(Use, usize)> = Mutex::new((Use::Alone, 0));
static FREE: Condvar = Condvar::new();

/// The right to use the machine, until it is dropped.
pub struct Turn(());

impl Turn {
    fn wait(wanted: Use) -> Self {
        let taken = |(held, count): &mut (Use, usize)| *count > 0 && (*held != wanted || wanted == Use::Alone);
        let holders = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut holders = FREE.wait_while(holders, taken).unwrap_or_else(PoisonError::into_inner);
        *holders = (wanted, holders.1 + 1);
        Self(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        MACHINE.lock().unwrap_or_else(PoisonError::into_inner).1 -= 1;
        FREE.notify_all();
    }
}

/// Waits until it has the machine to itself.
pub fn machine() -> Turn {
    Turn::wait(Use::Alone)
}

/// Waits until nobody has the machine to himself or works hard: for a light load that is measured.
pub fn little_of_the_machine() -> Turn {
    Turn::wait(Use::Light)
}

/// Waits until nothing is measured: for much work that judges nothing by the clock.
pub fn share_of_the_machine() -> Turn {
    Turn::wait(Use::Heavy)
}

/// The binary, in the root of the checkout.
pub fn tenfold() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenfold"));
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("XDG_STATE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::null());
    command
}

/// A finished run.
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub dir: TempDir,
}

impl Run {
    fn new(output: Output, dir: TempDir) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            dir,
        }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    pub fn plan(&self) -> Plan {
        read_json(&self.path().join("plan.json"))
    }

    pub fn recording(&self) -> Recording {
        read_json(&self.path().join("recording.json"))
    }

    pub fn verdict(&self) -> Verdict {
        tenfold::judge::judge(&self.plan(), &self.recording())
    }

    /// The lab's own account of what happened.
    pub fn truth(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path().join("lab-truth.jsonl")).expect("the lab wrote its truth");
        text.lines()
            .map(|line| serde_json::from_str(line).expect("a truth line is JSON"))
            .collect()
    }

    /// Nothing is saved of a run that never began, and nothing whole of one that could not save it.
    fn is_whole(&self) -> bool {
        let saved = std::fs::read(self.path().join("recording.json")).unwrap_or_default();
        serde_json::from_slice::<Recording>(&saved).is_ok()
    }

    /// Its machine stood still, or an objective of it is not judged because the hypervisor took so much of it away: the
    /// seconds that one objective looks at may be few, and those of the run many.
    fn had_no_machine(&self) -> bool {
        self.is_whole() && {
            let verdict = self.verdict();
            verdict.honesty.stood_still > 0 || spoilt(&verdict).any(|why| why.contains("hypervisor"))
        }
    }

    /// Its generator says itself that it was kept from its work, be it in the seconds of one objective.
    fn was_kept_from_its_work(&self) -> bool {
        self.is_whole() && spoilt(&self.verdict()).next().is_some()
    }

    /// What to print when an expectation fails.
    pub fn account(&self) -> String {
        format!("exit {}\n{}\n{}", self.code, self.stdout, self.stderr)
    }
}

/// Why the run, or what one of its objectives looks at, is not believed.
fn spoilt(verdict: &Verdict) -> impl Iterator<Item = &str> {
    let objectives = verdict.objectives.iter().map(|objective| objective.why.as_str());
    let objectives = objectives.filter(|why| why.starts_with("the measurement is spoilt"));
    verdict.honesty.spoiled.as_deref().into_iter().chain(objectives)
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The shipped game day at the tests' pace, with one thing changed, and the exit code it must end with.
///
/// A run that did not, and says itself that its machine stood still, has measured the machine: it is made again.
pub fn game_day(code: i32, changes: &[&str]) -> Run {
    attempted(code, || {
        let dir = TempDir::new().expect("a temporary directory");
        let output = game_day_command(dir.path(), changes).output().expect("tenfold runs");
        Run::new(output, dir)
    })
}

/// A run that ends with this code; one whose machine stood still, or was taken away from it, is made again.
pub fn attempted(code: i32, once: impl FnMut() -> Run) -> Run {
    made_again(code, once, Run::had_no_machine)
}

/// The same of a run that has [`little_of_the_machine`], whose neighbours may have kept its generator from its work.
pub fn attempted_beside_others(code: i32, once: impl FnMut() -> Run) -> Run {
    made_again(code, once, |run| run.had_no_machine() || run.was_kept_from_its_work())
}

fn made_again(code: i32, mut once: impl FnMut() -> Run, excused: impl Fn(&Run) -> bool) -> Run {
    let mut run = once();
    for _ in 1..ATTEMPTS_MAX {
        if run.code == code || !excused(&run) {
            break;
        }
        eprintln!("made again, for its machine kept it from its work\n{}", run.account());
        run = once();
    }
    assert_eq!(run.code, code, "{}", run.account());
    run
}

/// Starts an experiment alone, in a lab of its own under the built-in load.
pub fn start_experiment(file: &str, pace: &str, changes: &[&str]) -> (Child, TempDir) {
    let dir = TempDir::new().expect("a temporary directory");
    let mut command = tenfold();
    command.args([
        "run",
        file,
        "--quiet",
        "--pace",
        pace,
        "--set",
        "honesty.steal=100%",
        "--out",
    ]);
    command.arg(dir.path().join("run"));
    for change in changes {
        command.args(["--set", change]);
    }
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    (child.expect("tenfold starts"), dir)
}

/// The command of [`game_day`], saving below `dir`.
pub fn game_day_command(dir: &Path, changes: &[&str]) -> Command {
    let mut command = tenfold();
    command
        .args(["run", "profiles/game-day.yaml", "--pace", PACE, "--out"])
        .arg(dir.join("run"));
    for change in changes {
        command.args(["--set", change]);
    }
    command
}

/// Starts the game day and leaves it running.
pub fn start_game_day(changes: &[&str]) -> (Child, TempDir) {
    let dir = TempDir::new().expect("a temporary directory");
    let child = game_day_command(dir.path(), changes)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tenfold starts");
    (child, dir)
}

/// Waits for a started game day.
pub fn finish(child: Child, dir: TempDir) -> Run {
    Run::new(child.wait_with_output().expect("tenfold ends"), dir)
}

/// A lab that runs alone, ended with the value.
pub struct LabProcess {
    child: Child,
    pub endpoint: String,
    pub announcement: Value,
}

impl LabProcess {
    pub fn start(pace: &str) -> Self {
        Self::start_with(pace, &[])
    }

    /// The same with more arguments.
    pub fn start_with(pace: &str, arguments: &[&str]) -> Self {
        use std::io::{BufRead, BufReader};
        let mut child = tenfold()
            .args(["lab", "--json", "--until-stdin-closes", "--pace", pace])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the lab starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("standard output is piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("the lab announces itself");
        let announcement: Value = serde_json::from_str(&line).expect("the announcement is JSON");
        let endpoint = announcement["endpoint"]
            .as_str()
            .expect("it names its endpoint")
            .to_owned();
        Self {
            child,
            endpoint,
            announcement,
        }
    }
}

impl LabProcess {
    /// Sends its process a signal.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let process = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(process, signal).expect("the lab lives");
    }
}

impl Drop for LabProcess {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// No file below `dir` holds one of these.
pub fn nowhere_in(dir: &Path, secrets: &[&str]) {
    let mut files = vec![dir.to_owned()];
    let mut looked = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(
                std::fs::read_dir(&path)
                    .expect("a directory")
                    .map(|entry| entry.expect("a file").path()),
            );
            continue;
        }
        let bytes = std::fs::read(&path).expect("a file");
        looked += 1;
        for secret in secrets {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{} holds {secret}", path.display());
        }
    }
    assert!(looked > 0);
}

/// A program of the pinned virtual environment that `scripts/test` makes.
pub fn venv(program: &str) -> Command {
    let dir = std::env::var("TENFOLD_TEST_VENV").expect("run the tests with scripts/test, which installs the clients");
    let mut command = Command::new(Path::new(&dir).join("bin").join(program));
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_EC2_METADATA_DISABLED", "true");
    command
}
