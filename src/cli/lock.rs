//! One run at a time in an account and Region: two would break things for one another and measure each other's faults.
//!
//! It is a lock file of this user on this machine, and covers no more: runs of other users and machines are kept away by
//! what each claims in the account, and looked for there, by `claim` and `others`; other tools are not seen. The kernel gives a lock back when its process ends, however it ends; what then stands in the file
//! tells which run died, so that nothing is broken on top of what that one left. Who only looks shares a lock that nobody
//! has for an instant, and writes nothing.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use serde::{Deserialize, Serialize};

use crate::cli::exit::{Exit, Failure};
use crate::cli::run_dir::JOURNAL;
use crate::cli::{out, state};
use crate::plan::Plan;
use crate::run::chaos;

/// The folder of locks.
const LOCKS: &str = "locks";
/// How often a lock that somebody has is tried again, and after how long: who only looks has it for an instant.
const TRIES: u32 = 3;
const AGAIN: Duration = Duration::from_millis(20);

/// Locks that are held until this is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    files: Vec<File>,
    journal: PathBuf,
}

/// Who holds a lock.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    run_dir: PathBuf,
}

impl Lock {
    /// Takes the lock of every Region that the plan may break; fails where another run has it, or one that died left
    /// something in the world.
    pub(super) fn take(plan: &Plan, run_dir: &Path) -> Result<Self, Failure> {
        let mut lock = Self {
            files: Vec::new(),
            journal: run_dir.join(JOURNAL),
        };
        let holder = Holder {
            pid: std::process::id(),
            run_dir: run_dir.canonicalize().unwrap_or_else(|_| run_dir.to_owned()),
        };
        let mut lost = BTreeSet::new();
        for (region, path) in of(plan)? {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .with_context(|| format!("cannot open the lock {}", path.display()))?;
            free(lock_now(&file), &mut file, &path, plan, region, &mut lost)?;
            write(&mut file, &holder).with_context(|| format!("cannot write the lock {}", path.display()))?;
            lock.files.push(file);
        }
        Ok(lock)
    }

    /// Fails where [`Lock::take`] would, and takes nothing.
    pub(super) fn look(plan: &Plan) -> Result<(), Failure> {
        let mut lost = BTreeSet::new();
        for (region, path) in of(plan)? {
            let mut file = match File::open(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                opened => opened.with_context(|| format!("cannot open the lock {}", path.display()))?,
            };
            free(file.try_lock_shared(), &mut file, &path, plan, region, &mut lost)?;
        }
        Ok(())
    }
}

/// The lock of every Region that the plan may break.
fn of(plan: &Plan) -> anyhow::Result<Vec<(&str, PathBuf)>> {
    let folder = state::folder(LOCKS)?;
    let path = |region: &str| folder.join(name(account(plan), region, plan.target.endpoint.as_deref()));
    let regions = plan.target.regions.iter();
    Ok(regions.map(|region| (region.as_str(), path(region))).collect())
}

fn account(plan: &Plan) -> &str {
    plan.target.account.as_deref().unwrap_or("unknown")
}

/// Locks a file that nobody has, or has for longer than a look takes.
fn lock_now(file: &File) -> Result<(), TryLockError> {
    let mut tried = file.try_lock();
    for _ in 1..TRIES {
        if !matches!(tried, Err(TryLockError::WouldBlock)) {
            break;
        }
        std::thread::sleep(AGAIN);
        tried = file.try_lock();
    }
    tried
}

/// Whether a lock was to be had, and its last holder has left nothing; whose directory is `lost` is told once.
fn free(
    locked: Result<(), TryLockError>,
    file: &mut File,
    path: &Path,
    plan: &Plan,
    region: &str,
    lost: &mut BTreeSet<PathBuf>,
) -> Result<(), Failure> {
    match locked {
        Ok(()) => read(file).map_or(Ok(()), |dead| take_over(&dead, &plan.target.name, lost)),
        Err(TryLockError::WouldBlock) => Err(taken(account(plan), region, read(file))),
        Err(TryLockError::Error(error)) => {
            let what = format!("cannot lock {}", path.display());
            Err(Failure::usage(anyhow::Error::new(error).context(what)))
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // What stays in the files sends the next run to this one's journal, as after a death.
        let left = chaos::left_in_world(&self.journal).is_ok_and(|left| !left.is_empty());
        for file in self.files.iter().filter(|_| !left) {
            let _ = file.set_len(0);
        }
    }
}

/// The same account at another endpoint is another cloud.
fn name(account: &str, region: &str, endpoint: Option<&str>) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "-.".contains(c) {
            c
        } else {
            '_'
        }
    };
    let at = endpoint.map(|url| format!("@{}", url.chars().map(plain).collect::<String>()));
    format!("{account}-{region}{}.lock", at.unwrap_or_default())
}

fn read(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn write(file: &mut File, holder: &Holder) -> anyhow::Result<()> {
    let text = serde_json::to_vec(holder)?;
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&text)?;
    Ok(())
}

fn taken(account: &str, region: &str, holder: Option<Holder>) -> Failure {
    let who = holder.map_or_else(
        || "another run".to_owned(),
        |holder| format!("the run in {} (process {})", holder.run_dir.display(), holder.pid),
    );
    Failure::usage(anyhow!(
        "{who} is under way in account {account}, Region {region}\n\
         hint: two runs would measure each other's faults; wait for its end, or stop it with Ctrl-C"
    ))
}

/// A run that died may be forgotten once nothing of it is in the world.
fn take_over(dead: &Holder, target: &str, lost: &mut BTreeSet<PathBuf>) -> Result<(), Failure> {
    let run_dir = dead.run_dir.display();
    let journal = dead.run_dir.join(JOURNAL);
    if !journal.exists() {
        if !dead.run_dir.exists() && lost.insert(dead.run_dir.clone()) {
            out::tell(&format!(
                "warning: a run died here, and {run_dir}, which knew what it did, is gone\n\
                 hint: look for what it left with: tenfold revert --scan --target FILE, with the file of {target}"
            ));
        }
        return Ok(());
    }
    let left = chaos::left_in_world(&journal).map_err(Failure::usage)?;
    if left.is_empty() {
        return Ok(());
    }
    let faults = left.iter().filter(|one| !one.is_claim());
    let faults: Vec<String> = faults.map(ToString::to_string).collect();
    let what = match faults.as_slice() {
        [] => "its claim of the account".to_owned(),
        faults => faults.join(", "),
    };
    Err(Failure {
        exit: Exit::Unreverted,
        error: anyhow!(
            "the run in {run_dir} has ended, and {what} may still be in the world\nhint: undo it first with: tenfold revert {run_dir}"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_named_by_account_region_and_cloud() {
        assert_eq!(name("111122223333", "us-east-1", None), "111122223333-us-east-1.lock");
        assert_eq!(
            name("111122223333", "us-east-1", Some("http://127.0.0.1:4000")),
            "111122223333-us-east-1@http___127.0.0.1_4000.lock"
        );
    }
}
