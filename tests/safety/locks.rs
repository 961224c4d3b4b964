//! One run at a time in an account, and none on top of what a dead one left.

use std::process::Child;

use nix::sys::signal::{Signal, kill};

use super::{Account, BLACKOUT, SUSPEND, blackout, contains, said, signal};
use crate::left_behind::watchdog_of;

/// An account in which a run is under way, and the hash of the plan of another.
fn one_under_way() -> (Account, Child, String) {
    let account = Account::with(BLACKOUT);
    let first = blackout(&account, "first");
    account.write(
        "harm.yaml",
        &format!("name: harm\nhypothesis: h\nfaults:\n  - {SUSPEND}\nsettle: 30s\n"),
    );
    let hash = account.hash();
    (account, first, hash)
}

#[test]
fn one_run_at_a_time_and_none_on_top_of_what_a_dead_one_left() {
    let (account, mut first, hash) = one_under_way();
    let stderr = account.refused(&["--approve", &hash]);
    contains(
        &stderr,
        &[
            "is under way in account 111122223333, Region us-east-1",
            &format!("(process {})", first.id()),
            "first",
            "hint: two runs would measure each other's faults",
        ],
    );
    // A dry run says the same, and takes no lock.
    let dry_run = || account.said(&["run", "profile.yaml", "--dry-run"]);
    let locks = || {
        let all = std::fs::read_dir(account.path("state/tenfold/locks")).expect("the locks");
        let mut all: Vec<String> = all
            .map(|one| std::fs::read_to_string(one.expect("a file").path()).expect("text"))
            .collect();
        all.sort();
        all
    };
    let before = locks();
    let (code, stdout, stderr) = dry_run();
    assert_eq!(code, 2, "{stdout}{stderr}");
    contains(
        &stdout,
        &[
            "the run would not begin now: the run in ",
            &format!("(process {})", first.id()),
            // Whether the health checks have seen the blackout by now, and its group is degraded, is another matter.
            "\nthe run would not begin now; ",
        ],
    );
    assert_eq!(locks(), before);
    // What is under way will end, so a plan is worth its hash.
    let (code, stdout, stderr) = account.said(&["plan", "profile.yaml"]);
    assert!(code == 0 && stdout.contains("\nhash "), "{stdout}{stderr}");
    contains(&stderr, &["warning: the run would not begin now: the run in "]);
    // Nobody is left who would undo it.
    let watchdog = watchdog_of(&account.path("first")).expect("it is watched");
    kill(watchdog, Signal::SIGKILL).expect("it watches");
    signal(&first, Signal::SIGKILL);
    first.wait().expect("it ends");
    let (code, stdout, stderr) = dry_run();
    assert_eq!(code, 6, "{stdout}{stderr}");
    contains(
        &stdout,
        &[
            "the run would not begin now: the run in ",
            "has ended, and harm[0] may still be in the world",
            "hint: undo it first with: tenfold revert ",
        ],
    );
    // Nor is a world that a dead run left broken one to approve anything of.
    let (code, stdout, stderr) = account.said(&["plan", "profile.yaml"]);
    assert_eq!(code, 6, "{stdout}{stderr}");
    assert!(!stdout.contains("hash "), "{stdout}");
    contains(
        &stderr,
        &[
            "error: no approval of this would be worth anything: the run in ",
            "harm[0] may still be in the world",
            "hint: undo it first with: tenfold revert ",
        ],
    );
    let (code, stdout, _) = account.said(&["doctor", "profile.yaml"]);
    assert_eq!(code, 2, "{stdout}");
    contains(&stdout, &["other runs", "harm[0] may still be in the world"]);
    // What is left is told before what was not approved.
    let unapproved = "0".repeat(64);
    let (code, _, stderr) = account.said(&["run", "profile.yaml", "--out", "second", "--approve", &unapproved]);
    assert_eq!(code, 6, "{stderr}");
    assert!(!account.path("second").exists());
    contains(
        &stderr,
        &[
            "has ended, and harm[0] may still be in the world",
            "hint: undo it first with: tenfold revert ",
        ],
    );
    let (code, stdout, stderr) = account.said(&["revert", "first"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let (code, stdout, stderr) = account.said(&["run", "profile.yaml", "--out", "third", "--approve", &hash]);
    assert!([0, 3].contains(&code), "{code}: {stdout}{stderr}");
}

/// Another machine has another state, and so knows nothing of this one's locks.
#[test]
fn a_run_of_another_machine_is_seen_in_the_account() {
    let (account, mut first, hash) = one_under_way();
    let elsewhere = |out: &str| {
        let mut command = account.tenfold(&["run", "profile.yaml", "--out", out, "--approve", &hash]);
        command.env("XDG_STATE_HOME", account.path("elsewhere"));
        said(command.output().expect("tenfold runs"))
    };
    let (code, _, stderr) = elsewhere("second");
    assert_eq!(code, 2, "{stderr}");
    contains(
        &stderr,
        &[
            "another run is under way, perhaps on another machine, or died in account 111122223333: harm[0] of run ",
            "expires 20",
            "hint: two runs would measure each other's faults; wait for its end",
            "tenfold revert --scan --target FILE",
        ],
    );
    assert!(!account.path("second").exists(), "it began, or left something");
    let mut dry_run = account.tenfold(&["run", "profile.yaml", "--dry-run"]);
    dry_run.env("XDG_STATE_HOME", account.path("elsewhere"));
    let (code, stdout, stderr) = said(dry_run.output().expect("tenfold runs"));
    assert_eq!(code, 2, "{stdout}{stderr}");
    contains(
        &stdout,
        &["the run would not begin now: another run is under way, perhaps on another machine"],
    );
    let watchdog = watchdog_of(&account.path("first")).expect("it is watched");
    kill(watchdog, Signal::SIGKILL).expect("it watches");
    signal(&first, Signal::SIGKILL);
    first.wait().expect("it ends");
    std::fs::remove_dir_all(account.path("first")).expect("it is lost");
    assert_eq!(elsewhere("third").0, 2);
    let (code, stdout, stderr) = account.said(&["revert", "--scan", "--target", "target.json", "--all"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let (code, stdout, stderr) = elsewhere("fourth");
    assert!([0, 3].contains(&code), "{code}: {stdout}{stderr}");
}
