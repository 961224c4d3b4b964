//! What people type, get right and get wrong, against the real binary.

use std::net::TcpListener;

use tempfile::TempDir;

use crate::support::{machine, tenfold};

fn said(args: &[&str]) -> (i32, String, String) {
    let output = tenfold().args(args).output().expect("tenfold runs");
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn profile(dir: &TempDir, text: &str) -> String {
    let path = dir.path().join("profile.yaml");
    std::fs::write(&path, text).expect("the profile is written");
    path.display().to_string()
}

#[test]
fn several_mistakes_at_once_are_each_told_with_line_column_and_remedy() {
    let dir = TempDir::new().expect("a temporary directory");
    let path = profile(
        &dir,
        "name: wrong\ntarget: lab\nstagess: []\njourneys:\n  browse:\n    weight: 1\n    think: 5 parsecs\n    steps:\n      - get: /\n\
         stages:\n  - { tier: 1, users: 10, ramp: 1m, hold: 1m }\nname: twice\nobjectives:\n  - latencyy p99 < 300ms\n",
    );
    let (code, _, stderr) = said(&["validate", &path]);
    assert_eq!(code, 2, "{stderr}");
    for expected in [
        "profile.yaml:3:1",
        "stages",
        "profile.yaml:7:12",
        "profile.yaml:12:1",
        "profile.yaml:14:5",
        "latency",
    ] {
        assert!(stderr.contains(expected), "{expected} is not in\n{stderr}");
    }
    assert!(stderr.matches("hint:").count() >= 3, "{stderr}");
}

#[test]
fn a_name_that_leaves_its_directory_is_no_name() {
    for name in ["../../evil/x", ".hidden", "a b", ""] {
        let (code, _, stderr) = said(&["validate", "profiles/game-day.yaml", "--set", &format!("name={name}")]);
        assert_eq!(code, 2, "{name}: {stderr}");
    }
}

#[test]
fn plan_tells_a_wrong_value_of_the_lab_with_its_place() {
    let (code, _, stderr) = said(&["plan", "profiles/game-day.yaml", "--set", "lab.database.multi_az=maybe"]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains(" --> "), "{stderr}");
}

#[test]
fn revert_without_a_journal_claims_nothing() {
    let dir = TempDir::new().expect("a temporary directory");
    let (code, _, stderr) = said(&["revert", &dir.path().display().to_string()]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("nothing is known"), "{stderr}");
}

#[test]
fn a_wrong_key_of_the_lab_section_is_told_with_its_line() {
    let (code, _, stderr) = said(&[
        "run",
        "profiles/game-day.yaml",
        "--set",
        "lab.web.maxx=3",
        "--out",
        "target/never-created",
    ]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("maxx") && stderr.contains("max"), "{stderr}");
}

#[test]
fn a_dead_endpoint_is_exit_5() {
    // Bound and dropped: nothing listens there any more.
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port();
    let dir = TempDir::new().expect("a temporary directory");
    let path = profile(
        &dir,
        "name: dead\ntarget: lab\njourneys:\n  browse:\n    weight: 1\n    think: 1s..2s\n    steps:\n      - get: /\n\
         stages:\n  - { tier: 1, users: 10, ramp: 1s, hold: 1s }\nobjectives: []\n",
    );
    let out = dir.path().join("run").display().to_string();
    let (code, _, stderr) = said(&[
        "run",
        &path,
        "--target",
        &format!("http://127.0.0.1:{port}"),
        "--out",
        &out,
    ]);
    assert_eq!(code, 5, "{stderr}");
    assert!(stderr.contains("hint:"), "{stderr}");
}

#[test]
fn the_plan_prints_every_call_and_its_revert_and_changes_nothing() {
    let _turn = machine();
    let (code, stdout, stderr) = said(&["plan", "profiles/game-day.yaml"]);
    assert_eq!(code, 0, "{stderr}");
    for expected in [
        "100,000",
        "ec2:TerminateInstances",
        "rds:RebootDBInstance",
        "ec2:CreateNetworkAcl",
        "ec2:ReplaceNetworkAclAssociation",
        "ec2:DeleteNetworkAcl",
        "instance-loss",
        "database-failover",
        "region-blackout",
    ] {
        assert!(stdout.contains(expected), "{expected} is not in\n{stdout}");
    }
}

#[test]
fn the_lab_refuses_to_bind_to_anything_but_loopback() {
    let (code, _, stderr) = said(&["lab", "--bind", "0.0.0.0"]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("loopback"), "{stderr}");
}

#[test]
fn every_shipped_profile_is_valid() {
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/profiles"))
        .expect("profiles")
        .flatten()
    {
        let path = entry.path().display().to_string();
        let (code, _, stderr) = said(&["validate", &path]);
        assert_eq!(code, 0, "{path}: {stderr}");
    }
}

#[test]
fn a_missing_run_directory_is_told() {
    let (code, _, stderr) = said(&["report", "target/never-created"]);
    assert_eq!(code, 2);
    assert!(
        stderr.contains("target/never-created") && stderr.contains("hint:"),
        "{stderr}"
    );
}
