//! A run whose directory is taken away while it goes on, and a revert of one that is not over.

use std::process::Child;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Account, BLACKOUT, blackout, contains, said, signal, wait_for};

/// A run that injects after twenty minutes of cloud time, as soon as it loads.
fn before_its_fault(account: &Account, out: &str) -> Child {
    let longer = ["--set", "stages.0.hold=30m"];
    let hash = account.hash_of(&longer);
    let arguments = ["run", "profile.yaml", "--out", out, "--approve", &hash];
    let run = account.tenfold(&[&arguments[..], &longer].concat()).spawn();
    wait_for("the load", || account.said(&["control", out, "status"]).0 == 0);
    run.expect("tenfold starts")
}

const LATE: &str = "{ fault: autoscaling.suspend, role: web, processes: [AZRebalance], at: 20m, lasts: 1m }";

#[test]
fn nothing_is_injected_that_no_journal_on_disk_would_tell_of() {
    let account = Account::with(LATE);
    let run = before_its_fault(&account, "run");
    std::fs::remove_dir_all(account.path("run")).expect("it is deleted");
    let (code, stdout, stderr) = said(run.wait_with_output().expect("it ends"));
    assert_eq!(code, 3, "{stdout}{stderr}");
    contains(&stdout, &["run/journal.jsonl was deleted or moved"]);
    contains(&stderr, &["error: cannot write run/recording.json"]);
    let (code, stdout, stderr) = account.said(&["revert", "--scan", "--target", "target.json"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    contains(&stdout, &["is marked as a run's"]);
}

#[test]
fn what_became_of_a_run_whose_directory_is_gone_is_told_all_the_same() {
    let account = Account::with(BLACKOUT);
    let run = blackout(&account, "run");
    std::fs::remove_dir_all(account.path("run")).expect("it is deleted");
    signal(&run, Signal::SIGINT);
    let (code, stdout, stderr) = said(run.wait_with_output().expect("it ends"));
    assert_eq!(code, 130, "{stdout}{stderr}");
    contains(&stderr, &["reverted: harm[0]", "error: cannot write "]);
    contains(&stdout, &["interrupted", "harm"]);
    assert!(!stdout.contains("report.html"), "it was not written: {stdout}");
    let (code, stdout, stderr) = account.said(&["revert", "--scan", "--target", "target.json", "--all"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
}

#[test]
fn a_revert_of_a_run_that_goes_on_says_what_is_to_come_and_how_to_stop_it() {
    let account = Account::with(LATE);
    let run = before_its_fault(&account, "run");
    std::thread::sleep(Duration::from_millis(800));
    let (code, stdout, stderr) = account.said(&["revert", "run"]);
    assert_eq!(code, 2, "{stdout}{stderr}");
    let process = run.id();
    contains(
        &stderr,
        &[
            &format!("the run goes on (process {process}), is at "),
            "and will inject harm[0] autoscaling.suspend at 20m",
            &format!("kill -TERM {process}"),
        ],
    );
    signal(&run, Signal::SIGTERM);
    let (code, stdout, stderr) = said(run.wait_with_output().expect("it ends"));
    assert_eq!(code, 130, "{stdout}{stderr}");
    let (code, stdout, stderr) = account.said(&["revert", "run"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
}
