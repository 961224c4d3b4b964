//! What keeps a run from breaking what nobody meant it to: approval, guards, windows, locks and stop conditions, with the
//! real binary against a lab that stands alone, as an account does.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use tenfold::aws::{Clients, ConnectOptions, Reader, Writer};
use tenfold::clock::{Clock, from_unix};
use tenfold::plan::Plan;
use tenfold::run::control::uncontrolled;
use tenfold::run::director::{self, Keep, RunError, Setup};
use tenfold::units::Pace;
use tokio::sync::mpsc;

use crate::left_behind::watchdog_of;
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
            "name: safety\ntarget: target.json\nchaos: [harm.yaml]\nobjectives: [errors <= 100%]\nhonesty: { requests: 1 }\n\
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
        assert!(!self.path("refused/journal.jsonl").exists(), "it began: {stderr}");
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

#[test]
fn approval_is_demanded_outside_the_lab_and_the_right_hash_runs() {
    let account = Account::with(SUSPEND);
    let stderr = account.refused(&[]);
    contains(
        &stderr,
        &[
            "the run would inject a fault into account 111122223333, and nobody has approved that",
            "hint: look at what it would do with: tenfold plan profile.yaml",
            "--approve",
        ],
    );
    let hash = account.hash();
    assert!(
        !stderr.contains(&hash),
        "a refusal must not hand out what it demands: {stderr}"
    );
    let wrong = "0".repeat(64);
    for given in [wrong.as_str(), &hash[..63], "yes"] {
        let stderr = account.refused(&["--approve", given]);
        contains(
            &stderr,
            &["is not what was approved", "hint:", "tenfold plan profile.yaml"],
        );
    }
    assert_eq!(account.hash(), hash, "an unchanged account gives the same hash");
    let (code, stdout, stderr) = account.said(&["run", "profile.yaml", "--out", "run", "--approve", &hash]);
    assert!([0, 3].contains(&code), "{code}: {stdout}{stderr}");
    let journal = account.path("run/journal.jsonl");
    assert!(
        has(&journal, "observed") && has(&journal, "reverted"),
        "{:#?}",
        records(&journal)
    );
    // The account is as it was, and so is what would be done to it.
    assert_eq!(account.hash(), hash);
}

#[test]
fn a_plan_without_faults_needs_no_approval() {
    let account = Account::with(SUSPEND);
    let (code, stdout, _) = account.said(&["plan", "profile.yaml", "--set", "chaos=[]"]);
    assert!(code == 0 && !stdout.contains("hash "), "{stdout}");
    let arguments = [
        "run",
        "profile.yaml",
        "--out",
        "run",
        "--set",
        "chaos=[]",
        "--set",
        "stages.0.hold=1m",
    ];
    let (code, stdout, stderr) = account.said(&arguments);
    assert!([0, 3].contains(&code), "{code}: {stdout}{stderr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_changed_since_its_approval_is_refused_with_what_changed() {
    let account = Account::with("{ fault: ec2.stop, role: web, share: 34%, at: 30s, lasts: 1m }");
    let hash = account.hash();
    let (reader, writer) = account.clients().await;
    let group = reader
        .group(REGION, "shop-web")
        .await
        .expect("AWS answers")
        .expect("a group");
    let gone = group.members[0].id.clone();
    writer
        .terminate_instances(REGION, std::slice::from_ref(&gone))
        .await
        .expect("it is terminated");
    loop {
        let group = reader
            .group(REGION, "shop-web")
            .await
            .expect("AWS answers")
            .expect("a group");
        if group
            .members
            .iter()
            .all(|member| member.id != gone || !member.in_service)
        {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let stderr = account.refused(&["--approve", &hash]);
    contains(
        &stderr,
        &[
            "what the run would do to account 111122223333 is not what was approved",
            &format!("faults.harm[0].chosen_from: without {gone}"),
            "hint: look at it again with: tenfold plan profile.yaml",
        ],
    );
}

#[test]
fn whatever_a_run_would_do_differently_has_another_hash() {
    let account = Account::with(SUSPEND);
    let hash = account.hash();
    let same = json!({ "tag": { "chaos": "allowed" }, "share": "34%" });
    for (change, allow) in [
        ("experiments.harm.faults.0.lasts=40s", same.clone()),
        ("experiments.harm.faults.0.at=31s", same.clone()),
        ("experiments.harm.faults.0.processes=[Launch]", same.clone()),
        ("experiments.harm.faults.0.region=eu-west-1", same.clone()),
        ("seed=1", json!({ "tag": { "chaos": "allowed" }, "share": "33%" })),
    ] {
        account.target(|target| target["allow"] = allow.clone());
        let (_, stdout, stderr) = account.said(&["plan", "profile.yaml", "--set", change]);
        let ends = format!("hash {hash}\n");
        assert!(
            stdout.contains("\nhash ") && !stdout.ends_with(&ends),
            "{change}: {stdout}{stderr}"
        );
    }
    // How many users there are is no matter of the account.
    account.target(|target| target["allow"] = same.clone());
    let (_, stdout, _) = account.said(&["plan", "profile.yaml", "--set", "stages.0.users=7"]);
    assert!(stdout.ends_with(&format!("hash {hash}\n")), "{stdout}");
    let (_, stdout, _) = account.said(&["plan", "profile.yaml", "--json"]);
    let plan: Value = serde_json::from_str(&stdout).expect("the plan is JSON");
    assert_eq!(plan["hash"], hash.as_str());
}

#[test]
fn a_dry_run_asks_the_guards_and_changes_nothing() {
    let account = Account::with("{ fault: ec2.stop, role: web, share: 34%, at: 30s, lasts: 1m }");
    let (code, stdout, stderr) = account.said(&["run", "profile.yaml", "--dry-run", "--out", "run"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    contains(
        &stdout,
        &[
            "dry run of safety: nothing is loaded, nothing is changed",
            "harm[0] ec2.stop on web in us-east-1: 30s to 1m30s",
            "would call ec2:StopInstances InstanceIds=i-",
            "would undo ec2:StartInstances InstanceIds=i-",
            "every fault would be injected now",
        ],
    );
    assert!(!account.path("run").exists());
    let hits = |text: &str| {
        let line = text
            .lines()
            .find(|line| line.contains("StopInstances"))
            .expect("a call")
            .to_owned();
        line.split("InstanceIds=").nth(1).expect("ids").trim().to_owned()
    };
    assert!(stdout.contains(&format!("would hit {}", hits(&stdout))), "{stdout}");
    let (_, plan, _) = account.said(&["plan", "profile.yaml"]);
    assert_eq!(hits(&plan), hits(&stdout), "what is planned is what would be hit");

    account.target(|target| target["allow"] = json!({ "tag": { "chaos": "never" } }));
    let (code, stdout, _) = account.said(&["run", "profile.yaml", "--dry-run"]);
    assert_eq!(code, 2, "{stdout}");
    contains(
        &stdout,
        &[
            "refused now: group shop-web",
            "is not tagged chaos=never",
            "1 of 1 faults would be refused",
        ],
    );
}

#[test]
fn a_dry_run_tells_every_refusal_of_the_guards() {
    let account = Account::with("{ fault: ec2.stop, role: web, share: 34%, at: 30s, lasts: 1m }");
    let allowed = || json!({ "tag": { "chaos": "allowed" }, "share": "34%" });
    let with = |key: &str, value: Value| {
        let mut allow = allowed();
        allow[key] = value;
        move |target: &mut Value| target["allow"] = allow.clone()
    };
    let refusal = || {
        let (code, stdout, stderr) = account.said(&["run", "profile.yaml", "--dry-run"]);
        assert_eq!(code, 2, "{stdout}{stderr}");
        stdout
    };
    account.target(with("healthy_min", json!(3)));
    contains(
        &refusal(),
        &["2 of the 3 healthy targets of group shop-web would stay, and at least 3 must"],
    );
    // The lab announces every AZ of a Region by its subnets; the run claims to be in one of them.
    let (_, stdout, _) = account.said(&["plan", "profile.yaml", "--json"]);
    let plan: Value = serde_json::from_str(&stdout).expect("the plan is JSON");
    let subnet = &plan["target"]["inventory"]["regions"][REGION]["subnets"][0];
    let (id, az) = (
        subnet["id"].as_str().expect("an id"),
        subnet["az"].as_str().expect("an AZ"),
    );
    let deny_az = format!(
        "name: harm\nhypothesis: h\nfaults:\n  - {{ fault: network.deny_az, role: web, az: {az}, at: 30s, lasts: 1m }}\nsettle: 30s\n"
    );
    account.experiment(&deny_az);
    account.target(|target| {
        target["allow"] = allowed();
        target["runner"] = json!({ "subnet": id });
    });
    contains(
        &refusal(),
        &[&format!("this run itself is in {id}, and would cut itself off")],
    );
    account.target(with("healthy_min", json!(3)));
    contains(&refusal(), &["healthy targets of group shop-web would stay"]);
    account.experiment(
        "name: harm\nhypothesis: h\nfaults:\n  - { fault: network.deny_region, role: web, at: 30s, lasts: 1m }\nsettle: 30s\n",
    );
    account.target(with("healthy_min", json!(4)));
    contains(&refusal(), &["and at least 4 must (`allow.healthy_min`); in eu-west-1"]);
    account.experiment(&deny_az);
    // By its instance alone: the one that the variable names is in the AZ.
    let instances = plan["target"]["inventory"]["regions"][REGION]["groups"]["shop-web"]["instances"].clone();
    let own = instances
        .as_array()
        .expect("instances")
        .iter()
        .find(|one| one["az"] == az)
        .expect("one there")["id"]
        .clone();
    account.target(|target| target["allow"] = allowed());
    let mut command = account.tenfold(&["run", "profile.yaml", "--dry-run"]);
    command.env("TENFOLD_RUNNER_INSTANCE", own.as_str().expect("an id"));
    let (code, stdout, _) = said(command.output().expect("tenfold runs"));
    assert_eq!(code, 2, "{stdout}");
    contains(&stdout, &["and would cut itself off"]);
}

#[test]
fn the_runs_own_instance_is_not_among_those_hit() {
    let account = Account::with("{ fault: ec2.stop, role: web, share: 34%, at: 30s, lasts: 1m }");
    let hit = |own: Option<&str>| {
        let mut command = account.tenfold(&["run", "profile.yaml", "--dry-run"]);
        if let Some(own) = own {
            command.env("TENFOLD_RUNNER_INSTANCE", own);
        }
        let (code, stdout, _) = said(command.output().expect("tenfold runs"));
        assert_eq!(code, 0, "{stdout}");
        let line = stdout.lines().find_map(|line| line.trim().strip_prefix("would hit "));
        line.expect("it hits one").to_owned()
    };
    let chosen = hit(None);
    assert_ne!(hit(Some(&chosen)), chosen);
}

#[test]
fn outside_its_windows_a_target_is_not_touched() {
    let account = Account::with(SUSPEND);
    let now = jiff::Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC);
    let hour = |hours: i64| {
        let at = &now + jiff::SignedDuration::from_hours(hours);
        format!("{:02}:00", at.hour())
    };
    let with = |key: &str, value: Value| {
        account.target(|target| {
            target["allow"]["zone"] = json!("UTC");
            target["allow"][key] = value.clone();
        });
        let hash = account.hash();
        account.refused(&["--approve", &hash])
    };
    // A window of an hour that begins in two hours.
    let stderr = with("windows", json!([format!("{}-{}", hour(2), hour(3))]));
    contains(
        &stderr,
        &[
            "begun now, harm[0] would come when it may not: it is",
            "in UTC, and the target may be touched only",
            "hint:",
        ],
    );
    let stderr = with(
        "not_on",
        json!([format!("{}..{}", now.date(), now.date().tomorrow().expect("a day"))]),
    );
    contains(&stderr, &["not to be touched on", "hint:"]);
    let (code, stdout, _) = account.said(&["run", "profile.yaml", "--dry-run"]);
    assert_eq!(code, 2, "{stdout}");
    contains(&stdout, &["refused now: it is", "not to be touched on"]);
    // Inside the window nothing keeps it back.
    account.target(|target| {
        target["allow"]["zone"] = json!("UTC");
        target["allow"]["windows"] = json!([format!("{}-{}", hour(-1), hour(3))]);
    });
    let (code, stdout, stderr) = account.said(&["run", "profile.yaml", "--dry-run"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
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

#[test]
fn one_run_at_a_time_and_none_on_top_of_what_a_dead_one_left() {
    let account = Account::with(BLACKOUT);
    let mut first = blackout(&account, "first");
    account.write(
        "harm.yaml",
        &format!("name: harm\nhypothesis: h\nfaults:\n  - {SUSPEND}\nsettle: 30s\n"),
    );
    let hash = account.hash();
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
    // Nobody is left who would undo it.
    let watchdog = watchdog_of(&account.path("first")).expect("it is watched");
    kill(watchdog, Signal::SIGKILL).expect("it watches");
    signal(&first, Signal::SIGKILL);
    first.wait().expect("it ends");
    let (code, _, stderr) = account.said(&["run", "profile.yaml", "--out", "second", "--approve", &hash]);
    assert_eq!(code, 6, "{stderr}");
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
    let account = Account::with(BLACKOUT);
    let mut first = blackout(&account, "first");
    account.write(
        "harm.yaml",
        &format!("name: harm\nhypothesis: h\nfaults:\n  - {SUSPEND}\nsettle: 30s\n"),
    );
    let hash = account.hash();
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
    assert!(!account.path("second/journal.jsonl").exists(), "it began");
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

#[test]
fn a_second_interrupt_tells_how_to_revert_and_the_run_goes_on_reverting() {
    let account = Account::with(BLACKOUT);
    let run = blackout(&account, "run");
    // A lab that stands still keeps the revert waiting.
    account.lab.signal(Signal::SIGSTOP);
    signal(&run, Signal::SIGINT);
    let journal = account.path("run/journal.jsonl");
    wait_for("the revert", || has(&journal, "revert_intent"));
    signal(&run, Signal::SIGTERM);
    std::thread::sleep(Duration::from_millis(200));
    account.lab.signal(Signal::SIGCONT);
    let (code, _, stderr) = said(run.wait_with_output().expect("tenfold ends"));
    assert_eq!(code, 130, "{stderr}");
    contains(
        &stderr,
        &[
            "interrupted: reverting what is in the world",
            "still reverting\nhint: if this process dies, undo by hand with: tenfold revert ",
        ],
    );
    assert!(has(&journal, "reverted"), "{:#?}", records(&journal));
}

/// What happened in a saved run, as real seconds since t0 and the event.
fn events(run: &Path) -> Vec<(f64, Value)> {
    let text = std::fs::read(run.join("recording.json")).expect("the run was saved");
    let recording: Value = serde_json::from_slice(&text).expect("it is JSON");
    let events = recording["events"].as_array().expect("events").iter();
    events
        .map(|event| (event["at"].as_f64().expect("a time"), event.clone()))
        .collect()
}

fn at(events: &[(f64, Value)], name: &str) -> f64 {
    let found = events.iter().find(|(_, event)| event["event"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {events:#?}")).0
}

#[test]
fn a_stop_condition_acts_within_a_second_of_being_met() {
    let account = Account::with(SUSPEND);
    // Everything fails from the first request on; a minute of cloud time is half a second, which one slice decides.
    account.write(
        "harm.yaml",
        "name: harm\nhypothesis: h\nfaults:\n  - { fault: autoscaling.suspend, role: web, processes: [Launch], at: 8m, lasts: 9m }\n\
         settle: 30s\nstop_when: [ errors > 50% for 1m ]\n",
    );
    let always_fails = [
        "--set",
        "journeys.browse.steps.0={ get: /products/1, expect: { status: 299 } }",
        "--set",
        "stages.0.hold=20m",
    ];
    let hash = account.hash_of(&always_fails);
    let arguments = [
        &["run", "profile.yaml", "--out", "run", "--approve", &hash][..],
        &always_fails,
    ]
    .concat();
    let (code, stdout, stderr) = account.said(&arguments);
    assert_eq!(code, 4, "{stdout}{stderr}");
    let events = events(&account.path("run"));
    // The first whole second of the schedule in which the condition counts is the one in which the fault comes.
    let met = at(&events, "fault_started").floor() + 1.0;
    let (stopped, reverting) = (at(&events, "stop_condition_met"), at(&events, "fault_revert_started"));
    assert!(
        stopped >= met && stopped < met + 1.0,
        "met at {met}, stopped at {stopped}"
    );
    assert!(
        reverting - stopped < 1.0,
        "stopped at {stopped}, reverting at {reverting}"
    );
    assert!(has(&account.path("run/journal.jsonl"), "reverted"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_stops_and_reverts_and_one_that_is_not_there_or_rings_is_refused() {
    let account = Account::with(SUSPEND);
    let (reader, _) = account.clients().await;
    let all = reader
        .alarms(REGION, Some("TargetTracking-"))
        .await
        .expect("AWS answers");
    let high = all
        .iter()
        .find(|alarm| alarm.name.contains("AlarmHigh"))
        .expect("an alarm");
    let stop_when = |alarm: &str| {
        account.write(
            "harm.yaml",
            &format!(
                "name: harm\nhypothesis: h\nfaults:\n  - {{ fault: autoscaling.suspend, role: web, processes: [Launch], at: 1m, lasts: 50m }}\n\
                 settle: 30s\nstop_when:\n  - alarm {alarm}\n"
            ),
        );
    };
    stop_when("no-such-alarm");
    let stderr = account.refused(&["--set", "stages.0.hold=60m"]);
    contains(
        &stderr,
        &[
            "there is no alarm \"no-such-alarm\" in us-east-1",
            "harm.yaml:7:5",
            "hint:",
        ],
    );
    stop_when(&high.name);
    let long = ["--set", "stages.0.hold=60m"];
    let hash = account.hash_of(&long);
    let run = account
        .tenfold(&[&["run", "profile.yaml", "--out", "run", "--approve", &hash][..], &long].concat())
        .spawn()
        .expect("tenfold starts");
    let journal = account.path("run/journal.jsonl");
    wait_for("the fault", || has(&journal, "observed"));
    let ringing = tokio::spawn(ring(account.lab.endpoint.clone(), high.name.clone()));
    let (code, stdout, stderr) = said(run.wait_with_output().expect("tenfold ends"));
    assert_eq!(code, 4, "{stdout}{stderr}");
    assert!(has(&journal, "reverted"), "{:#?}", records(&journal));
    let events = events(&account.path("run"));
    let met = events
        .iter()
        .find(|(_, event)| event["event"] == "stop_condition_met")
        .expect("it stopped");
    assert_eq!(met.1["condition"], format!("alarm {}", high.name));
    let stderr = account.refused(&[&["--approve", &hash][..], &long].concat());
    contains(&stderr, &["is in ALARM in us-east-1 already", "harm.yaml:7:5", "hint:"]);
    ringing.abort();
}

/// Says again and again that an alarm rings, since its next evaluation, a minute of the lab's time later, says otherwise.
async fn ring(endpoint: String, alarm: String) {
    let config = aws_config::defaults(aws_config::BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(aws_config::Region::new(REGION))
        .credentials_provider(aws_credential_types::Credentials::new(
            "test", "test", None, None, "test",
        ))
        .load()
        .await;
    let client = aws_sdk_cloudwatch::Client::new(&config);
    loop {
        let call = client.set_alarm_state().alarm_name(&alarm).state_reason("a test");
        call.state_value(aws_sdk_cloudwatch::types::StateValue::Alarm)
            .send()
            .await
            .expect("the lab answers");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistake_of_the_runs_own_reverts_what_is_in_the_world() {
    let account = Account::with(BLACKOUT);
    let (_, plan, stderr) = account.said(&["plan", "profile.yaml", "--set", "stages.0.hold=2h", "--json"]);
    let plan: Plan = serde_json::from_str(&plan).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    let epoch = account.lab.announcement["clock"]["epoch"].as_f64().expect("a time");
    let journal = account.path("journal.jsonl");
    let watched = journal.clone();
    let (_interrupt, interrupts) = mpsc::channel(1);
    let setup = Setup {
        clock: Clock::new(from_unix(epoch), plan.pace),
        plan: Arc::new(plan),
        account: Some(account.clients().await),
        journal: journal.clone(),
        interrupts,
        orders: uncontrolled(),
        // What tells of each second stands in the middle of the run.
        progress: Box::new(move |_| assert!(!has(&watched, "observed"), "this panic is the test's")),
        keep: Keep::Seconds,
    };
    let Err(RunError::Broken(reverts)) = director::run(setup).await else {
        panic!("it did not break off");
    };
    assert_eq!((reverts.reverted.len(), reverts.failed.len()), (1, 0), "{reverts:?}");
    assert!(has(&journal, "reverted"), "{:#?}", records(&journal));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_degraded_already_is_not_hit() {
    let account = Account::with("{ fault: ec2.stop, role: web, share: 34%, at: 30s, lasts: 1m }");
    let (reader, writer) = account.clients().await;
    let refusal = || {
        let (code, stdout, stderr) = account.said(&["run", "profile.yaml", "--dry-run"]);
        assert_eq!(code, 2, "{stdout}{stderr}");
        stdout
    };
    // A group that cannot launch stays short of an instance.
    let launch = ["Launch".to_owned()];
    writer
        .suspend_processes(REGION, "shop-web", &launch)
        .await
        .expect("it is suspended");
    let group = async || {
        reader
            .group(REGION, "shop-web")
            .await
            .expect("AWS answers")
            .expect("a group")
    };
    let lost = group().await.members[0].id.clone();
    writer
        .terminate_instances(REGION, std::slice::from_ref(&lost))
        .await
        .expect("it is terminated");
    while group()
        .await
        .members
        .iter()
        .any(|member| member.id == lost && member.in_service)
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    contains(
        &refusal(),
        &["refused now: group shop-web is degraded already: 2 of 3 instances are in service"],
    );
    // After a failover the new standby takes minutes of cloud time.
    account.experiment(
        "name: harm\nhypothesis: h\nfaults:\n  - { fault: rds.reboot, role: database, at: 30s, irreversible: true }\nsettle: 30s\n",
    );
    writer
        .reboot_db_instance(REGION, "shop-db", true)
        .await
        .expect("it fails over");
    loop {
        let database = reader
            .db_instance(REGION, "shop-db")
            .await
            .expect("AWS answers")
            .expect("a database");
        if database.status == "available" && database.secondary_az.is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    contains(
        &refusal(),
        &["refused now: shop-db in us-east-1 has no standby at the moment"],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_are_moved_only_where_another_region_is_healthy() {
    let account = Account::in_lab(
        "{ fault: route53.invert_health_check, role: dns, at: 30s, lasts: 1m }",
        &["--set", "routing=latency"],
    );
    let dry_run = || account.said(&["run", "profile.yaml", "--dry-run"]);
    let (code, stdout, stderr) = dry_run();
    assert_eq!(code, 0, "{stdout}{stderr}");
    let (_, plan, _) = account.said(&["plan", "profile.yaml", "--json"]);
    let plan: Value = serde_json::from_str(&plan).expect("the plan is JSON");
    let record = &plan["target"]["inventory"]["regions"]["eu-west-1"]["records"][0];
    let check = record["health_check"].as_str().expect("a health check");
    let (reader, writer) = account.clients().await;
    let version = reader.health_check(check).await.expect("AWS answers").version;
    writer.set_inverted(check, true, version).await.expect("it is inverted");
    let (code, stdout, _) = dry_run();
    assert_eq!(code, 2, "{stdout}");
    contains(&stdout, &["is healthy, so users would have nowhere to go"]);
}
