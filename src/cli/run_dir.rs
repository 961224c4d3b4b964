//! A run on disk: the plan, the recording, the journal and the reports. Knows paths and formats, decides nothing.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cli::{control, lab_child, watchdog};
use crate::plan::Plan;
use crate::recording::{RECORDING_VERSION, Recording};

/// What a run says that it does to its target.
pub(super) const JOURNAL: &str = "journal.jsonl";
/// Where the seconds of a run are until it is over.
pub(super) const SECONDS: &str = "seconds.jsonl";

/// What a run may have made before it begins.
const BEFORE_IT_BEGINS: [&str; 7] = [
    "plan.json",
    SECONDS,
    lab_child::LAB_CONFIG,
    lab_child::LAB_LOG,
    lab_child::LAB_TRUTH,
    watchdog::LOG,
    control::SOCKET,
];

/// The directory of one run.
#[derive(Debug, Clone)]
pub(super) struct RunDir {
    path: PathBuf,
    /// Directories that were made for it, the outermost first.
    made: Vec<PathBuf>,
    /// What of a run was in it before.
    found: Vec<&'static str>,
}

impl RunDir {
    /// Creates the directory; refuses one that already holds a run, so that none is overwritten.
    pub(super) fn create(out: Option<&Path>, profile_name: &str) -> anyhow::Result<Self> {
        let path = match out {
            Some(path) => path.to_owned(),
            None => {
                let time = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
                free_path(&Path::new("reports/runs").join(format!("{time}-{profile_name}")))
            }
        };
        let of_a_run = ["recording.json", JOURNAL, SECONDS];
        if of_a_run.iter().any(|name| path.join(name).exists()) {
            bail!(
                "{} already holds a run\nhint: choose another --out, or remove it",
                path.display()
            );
        }
        let missing = path
            .ancestors()
            .take_while(|one| !one.as_os_str().is_empty() && !one.exists());
        let mut made: Vec<PathBuf> = missing.map(Path::to_owned).collect();
        made.reverse();
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        let there = BEFORE_IT_BEGINS.into_iter().filter(|name| path.join(name).exists());
        let found = there.collect();
        Ok(Self { path, made, found })
    }

    /// Takes away what was made for a run that never began; what was there before stays.
    pub(super) fn withdraw(self) {
        // What cannot be removed is in nobody's way; what another process put here meanwhile is not ours.
        for name in BEFORE_IT_BEGINS {
            if !self.found.contains(&name) {
                let _ = fs::remove_file(self.path.join(name));
            }
        }
        for made in self.made.iter().rev() {
            let _ = fs::remove_dir(made);
        }
    }

    /// Whether something may have been done to the target that this directory alone tells of.
    pub(super) fn has_begun(&self) -> bool {
        self.file(JOURNAL).exists() || self.file("recording.json").exists()
    }

    /// Opens the directory of a finished run.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        if !path.is_dir() {
            bail!(
                "{} is not a directory\nhint: give the directory that `tenfold run` printed",
                path.display()
            );
        }
        Ok(Self {
            path: path.to_owned(),
            made: Vec::new(),
            found: Vec::new(),
        })
    }

    /// The directory itself.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file in it.
    pub(super) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> anyhow::Result<PathBuf> {
        let path = self.file(name);
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Removes a file of it.
    pub(super) fn remove(&self, name: &str) -> anyhow::Result<()> {
        let path = self.file(name);
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
    }

    /// Saves the plan, before anything moves.
    pub(super) fn save_plan(&self, plan: &Plan) -> anyhow::Result<()> {
        self.save("plan.json", plan)
    }

    /// Saves the recording.
    pub(super) fn save_recording(&self, recording: &Recording) -> anyhow::Result<()> {
        self.save("recording.json", recording)
    }

    /// Loads the plan of a saved run.
    pub(super) fn load_plan(&self) -> anyhow::Result<Plan> {
        self.load("plan.json")
    }

    /// Loads the recording of a saved run; refuses another version.
    pub(super) fn load_recording(&self) -> anyhow::Result<Recording> {
        self.check_saved()?;
        let recording: Recording = self.load("recording.json")?;
        if recording.version != RECORDING_VERSION {
            bail!(
                "{} has version {}, this tenfold reads version {RECORDING_VERSION}\nhint: use tenfold {}",
                self.file("recording.json").display(),
                recording.version,
                recording.recorded_by
            );
        }
        Ok(recording)
    }

    /// A run that was killed leaves its plan and, where it could inject anything, its journal, but no recording.
    fn check_saved(&self) -> anyhow::Result<()> {
        let has = |name| self.file(name).exists();
        let path = self.path.display();
        let measured = match has(SECONDS) {
            true => format!("\nhint: what it measured until then is in {path}/{SECONDS}, a second a line"),
            false => String::new(),
        };
        match (has("recording.json"), has("plan.json"), has(JOURNAL)) {
            (true, ..) => Ok(()),
            _ if control::listens(&self.path) => {
                bail!("the run in {path} goes on\nhint: ask it with: tenfold control {path} status")
            }
            (false, _, true) => bail!(
                "the run in {path} died before it was saved, so there is nothing to report{measured}\n\
                 hint: undo what it may have left in the world with: tenfold revert {path}"
            ),
            (false, true, false) if has(SECONDS) => {
                bail!("the run in {path} died before it was saved, so there is nothing to report{measured}")
            }
            (false, true, false) => {
                bail!("the run in {path} ended before it began, so there is nothing to report\nhint: run it again")
            }
            (false, false, false) => bail!("{path} holds no run\nhint: give the directory that `tenfold run` printed"),
        }
    }

    fn save(&self, name: &str, value: &impl Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_vec(value).with_context(|| format!("cannot encode {name}"))?;
        self.write(name, text).map(|_| ())
    }

    fn load<T: DeserializeOwned>(&self, name: &str) -> anyhow::Result<T> {
        let path = self.file(name);
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))
    }
}

fn free_path(path: &Path) -> PathBuf {
    let taken = |candidate: &PathBuf| candidate.exists();
    let numbered = (2..).map(|number| PathBuf::from(format!("{}-{number}", path.display())));
    std::iter::once(path.to_owned())
        .chain(numbered)
        .find(|candidate| !taken(candidate))
        .expect("the numbers do not end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_that_never_began_made_is_taken_away_and_nothing_else() {
        let dir = tempfile::TempDir::new().expect("a directory");
        let out = dir.path().join("a/b/run");
        let run_dir = RunDir::create(Some(&out), "x").expect("it is made");
        run_dir.write("lab.log", "").expect("it is written");
        run_dir.withdraw();
        assert!(!dir.path().join("a").exists());
        fs::create_dir(dir.path().join("a")).expect("it is made");
        fs::write(dir.path().join("a/notes"), "mine").expect("it is written");
        let run_dir = RunDir::create(Some(&dir.path().join("a")), "x").expect("it is there");
        run_dir.write("plan.json", "{}").expect("it is written");
        fs::write(dir.path().join("a/theirs"), "another process's").expect("it is written");
        run_dir.withdraw();
        let entries = fs::read_dir(dir.path().join("a")).expect("it is there");
        let mut left: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
        left.sort();
        assert_eq!(left, ["notes", "theirs"]);
    }
}
