//! What people type, get right and get wrong, against the real binary.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::{machine, share_of_the_machine, tenfold};

const GAME_DAY: &str = "profiles/game-day.yaml";

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
    let long = "x".repeat(65);
    for name in ["../../evil/x", ".hidden", "a b", "", "a/b", &long] {
        for key in ["name", "experiments.instance-loss.name"] {
            let (code, _, stderr) = said(&["validate", GAME_DAY, "--set", &format!("{key}={name}")]);
            assert_eq!(code, 2, "{key}={name}: {stderr}");
            assert!(stderr.contains("hint:") && stderr.contains(" --> "), "{stderr}");
        }
    }
    let (code, _, stderr) = said(&[
        "validate",
        GAME_DAY,
        "--set",
        &format!("name=a-B_1.2{}", "x".repeat(57)),
    ]);
    assert_eq!(code, 0, "{stderr}");
}

#[test]
fn plan_tells_a_wrong_value_of_the_lab_with_its_place() {
    for wrong in [
        "lab.database.multi_az=maybe",
        "lab.routing=foo",
        "lab.health_checks.interval=0s",
    ] {
        for command in ["plan", "validate"] {
            let (code, _, stderr) = said(&[command, GAME_DAY, "--set", wrong]);
            assert_eq!(code, 2, "{command} {wrong}: {stderr}");
            assert!(stderr.contains("--> --set:1:"), "{command} {wrong}: {stderr}");
        }
    }
}

#[test]
fn more_than_the_target_allows_is_refused_before_anything_starts() {
    let _turn = machine();
    let dir = TempDir::new().expect("a temporary directory");
    let out = dir.path().join("run").display().to_string();
    let share = "experiments.instance-loss.faults.0.share=50%";
    for command in [&["plan"][..], &["run", "--out", &out]] {
        let began = Instant::now();
        let (code, stdout, stderr) = said(&[command, &[GAME_DAY, "--set", share]].concat());
        assert_eq!(code, 2, "{stdout}{stderr}");
        for expected in [
            "a share of 50% is more than the 34% that the target allows",
            "--> --set:1:",
            "hint:",
        ] {
            assert!(stderr.contains(expected), "{expected} is not in\n{stderr}");
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }
    assert!(!Path::new(&out).join("recording.json").exists());
}

#[test]
fn validate_says_what_can_be_known_without_a_target() {
    let dir = TempDir::new().expect("a temporary directory");
    let target = dir.path().join("target.yaml");
    let text = "name: one\naccount: \"111122223333\"\nregions: [us-east-1]\nentry: http://shop.example.com\n\
                roles: { web: { auto_scaling_group: w }, database: { db_instance: d }, dns: { hosted_zone: Z, record: r } }\n\
                allow: { share: 20% }\n";
    std::fs::write(&target, text).expect("the target is written");
    let target = target.display().to_string();
    let cases: [(&[&str], &[&str]); 9] = [
        (
            &["--target", &target, "--pace", "30"],
            &[
                "--pace 30: the cloud of ",
                " lives at pace 1",
                "hint: leave `--pace` out",
            ],
        ),
        (&["--target", "mars"], &["cannot read mars", "hint:"]),
        (&["--target", "http://"], &["is no host name", "hint:"]),
        (
            &["--target", "ftp://shop"],
            &["the scheme \"ftp\" is not supported", "hint:"],
        ),
        (
            &["--target", &target],
            &[
                "a share of 34% is more than the 20%",
                "chaos/instance-loss.yaml:6:12",
                "has no other Region",
                "chaos/region-blackout.yaml:5:11",
            ],
        ),
        (
            &["--set", "experiments.instance-loss.faults.0.at=hold + 70m"],
            &["but the schedule ends at 1h1m", "--> --set:1:", "hint:"],
        ),
        (
            &["--set", "experiments.instance-loss.faults.0.at=stage 9"],
            &["there is no such stage"],
        ),
        (
            &["--set", "stages.2.hold=9999h"],
            &["lasts longer than 31 days", "hint:"],
        ),
        (
            &["--set", "stages.0={ tier: 1, users: 5, ramp: 0s, hold: 0s }"],
            &["a stage without ramp and hold takes no time", "hint:"],
        ),
    ];
    for (arguments, expected) in cases {
        let (code, stdout, stderr) = said(&[&["validate", GAME_DAY], arguments].concat());
        assert_eq!(code, 2, "{arguments:?}: {stdout}{stderr}");
        for text in expected {
            assert!(stderr.contains(text), "{arguments:?}: {text} is not in\n{stderr}");
        }
    }
}

#[test]
fn a_pace_against_a_url_is_warned_of() {
    let dir = TempDir::new().expect("a temporary directory");
    let text = "name: fast\ntarget: http://127.0.0.1:9\nobjectives: [errors < 1%]\n\
                journeys: { browse: { think: 1s, steps: [{ get: / }] } }\nstages: [{ tier: 1, users: 1, hold: 1m }]\n";
    let profile = profile(&dir, text);
    let told = "warning: http://127.0.0.1:9 is no lab, and at pace 30 the schedule takes 1/30 of the time";
    let (code, _, stderr) = said(&["plan", &profile, "--pace", "30"]);
    assert!(code == 0 && stderr.contains(told), "{code} {stderr}");
    let (code, _, stderr) = said(&["plan", &profile]);
    assert!(code == 0 && !stderr.contains("warning"), "{code} {stderr}");
}

#[test]
fn hints_say_what_is_known_and_nothing_else() {
    let dir = TempDir::new().expect("a temporary directory");
    let journeys =
        "journeys: { browse: { think: 1s, steps: [{ get: / }] } }\nstages: [{ tier: 1, users: 1, hold: 1s }]\n";
    let path = profile(
        &dir,
        &format!("name: a\n{journeys}probes: [{{ step: browse, region: us-east-1 }}]\n"),
    );
    let (code, _, stderr) = said(&["validate", &path, "--target", "http://127.0.0.1:1"]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("hint: the target names no Regions"), "{stderr}");

    let (code, _, stderr) = said(&["validate", GAME_DAY, "--set", "chaos.1=chaos/instance-loss.yaml"]);
    assert_eq!(code, 2, "{stderr}");
    assert!(
        stderr.contains("\"chaos/instance-loss.yaml\" is listed twice"),
        "{stderr}"
    );
    assert!(!stderr.contains("differently"), "{stderr}");

    let binary = dir.path().join("binary.yaml");
    std::fs::write(&binary, [0xff, 0xfe, b'a']).expect("the file is written");
    let (code, _, stderr) = said(&["validate", &binary.display().to_string()]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("binary.yaml is not UTF-8 text\nhint: save"), "{stderr}");
    let path = profile(&dir, &format!("name: a\n{journeys}chaos: [{}]\n", binary.display()));
    let (code, _, stderr) = said(&["validate", &path]);
    assert_eq!(code, 2, "{stderr}");
    assert!(
        stderr.contains("is not UTF-8 text") && stderr.contains("profile.yaml:4:9"),
        "{stderr}"
    );
}

/// A run of a second against a server of this test.
fn short_run(dir: &TempDir) -> std::path::PathBuf {
    let server = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", server.local_addr().expect("it listens"));
    // It ends with the process; nothing waits for it.
    std::thread::spawn(move || {
        for connection in server.incoming().flatten() {
            std::thread::spawn(move || answer(connection));
        }
    });
    let path = profile(
        dir,
        "name: short\njourneys: { browse: { think: 100ms, steps: [{ get: / }] } }\n\
         stages: [{ tier: 1, users: 5, hold: 1s }]\nobjectives: [errors < 1%]\nhonesty: { requests: 1, steal: 100% }\n",
    );
    let out = dir.path().join("run");
    let (code, stdout, stderr) = said(&[
        "run",
        &path,
        "--target",
        &url,
        "--out",
        &out.display().to_string(),
        "--json",
    ]);
    assert!([0, 3].contains(&code), "{code}: {stderr}");
    let saved = std::fs::read_to_string(out.join("report.json")).expect("the report was saved");
    assert!(stdout == saved, "what `run --json` prints is not what it saved");
    out
}

fn answer(mut connection: std::net::TcpStream) {
    use std::io::{Read, Write};
    let mut request = Vec::new();
    let mut some = [0u8; 1024];
    // An error or an end: the client is gone.
    while let Ok(count) = connection.read(&mut some)
        && count > 0
    {
        request.extend_from_slice(&some[..count]);
        while let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            request.drain(..end + 4);
            let _ = connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    }
}

#[test]
fn what_report_prints_as_json_is_the_file_it_saves() {
    let _turn = machine();
    let dir = TempDir::new().expect("a temporary directory");
    let run = short_run(&dir);
    let (code, stdout, stderr) = said(&["report", &run.display().to_string(), "--json"]);
    assert_eq!(code, 0, "{stderr}");
    let saved = std::fs::read_to_string(run.join("report.json")).expect("the report was saved");
    assert!(stdout == saved && saved.ends_with("}\n") && !saved.ends_with("\n\n"));
}

#[test]
fn a_full_standard_output_is_an_error_and_a_closed_one_is_none() {
    let _turn = machine();
    let dir = TempDir::new().expect("a temporary directory");
    let run = short_run(&dir).display().to_string();
    let commands: [&[&str]; 6] = [
        &["report", &run],
        &["report", &run, "--json"],
        &["plan", "profiles/tier-1.yaml"],
        &["plan", "profiles/tier-1.yaml", "--json"],
        &["validate", "profiles/tier-1.yaml"],
        &["completions", "bash"],
    ];
    for command in commands {
        let full = std::fs::File::create("/dev/full").expect("/dev/full is there");
        let output = tenfold().args(command).stdout(full).output().expect("tenfold runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command:?}: {stderr}");
        assert!(
            stderr.contains("error: cannot write to standard output: "),
            "{command:?}: {stderr}"
        );
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = tenfold().args(command).stdout(writer).output().expect("tenfold runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*stderr), (Some(0), ""), "{command:?}");
    }
}

#[test]
fn the_target_file_of_the_readme_is_one() {
    let readme = include_str!("../README.md");
    let section = readme
        .split("## Target file")
        .nth(1)
        .expect("the README has the section");
    let text = section
        .split("```")
        .nth(1)
        .and_then(|block| block.strip_prefix("yaml\n"));
    let dir = TempDir::new().expect("a temporary directory");
    let target = dir.path().join("target.yaml");
    std::fs::write(&target, text.expect("the section begins with the file")).expect("the target is written");
    let (code, _, stderr) = said(&["validate", GAME_DAY, "--target", &target.display().to_string()]);
    assert_eq!(code, 0, "{stderr}");
}

#[test]
fn the_report_of_a_run_that_was_killed_points_to_revert() {
    let dir = TempDir::new().expect("a temporary directory");
    let (code, _, stderr) = said(&["report", &dir.path().display().to_string()]);
    assert_eq!(code, 2, "{stderr}");
    assert!(
        stderr.contains("holds no run") && !stderr.contains("revert"),
        "{stderr}"
    );
    for name in ["plan.json", "journal.jsonl"] {
        std::fs::write(dir.path().join(name), "{}").expect("the file is written");
    }
    let (code, _, stderr) = said(&["report", &dir.path().display().to_string()]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("died before it was saved"), "{stderr}");
    assert!(stderr.contains("with: tenfold revert "), "{stderr}");
}

#[test]
fn a_run_that_is_refused_leaves_nothing_behind() {
    let _turn = share_of_the_machine();
    let dir = TempDir::new().expect("a temporary directory");
    let out = dir.path().join("made/run");
    let alarm = "experiments.instance-loss.stop_when=[alarm nosuch]";
    let (code, _, stderr) = said(&[
        "run",
        "chaos/instance-loss.yaml",
        "--quiet",
        "--set",
        alarm,
        "--out",
        &out.display().to_string(),
    ]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("nosuch"), "{stderr}");
    assert!(!dir.path().join("made").exists(), "{stderr}");
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
    let folders = ["/profiles", "/profiles/examples"].map(|folder| env!("CARGO_MANIFEST_DIR").to_owned() + folder);
    let entries = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).expect("profiles").flatten());
    for entry in entries.filter(|entry| entry.path().is_file()) {
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

const BLACKOUT: &str = "name: blackout\nhypothesis: users move\nfaults:\n  - { fault: network.deny_region, role: web, at: 1m, lasts: 20m }\nsettle: 1m\n";

/// A profile against the lab with a blackout that begins soon and lasts.
fn blackout(dir: &TempDir) -> String {
    let chaos = dir.path().join("blackout.yaml");
    std::fs::write(&chaos, BLACKOUT).expect("the experiment is written");
    profile(
        dir,
        &format!(
            "name: cut\ntarget: lab\npace: 75\njourneys:\n  browse:\n    think: 1s..2s\n    steps:\n      - get: /products/1\n\
             stages:\n  - {{ tier: 1, users: 20, hold: 40m }}\nchaos: [{}]\n",
            chaos.display()
        ),
    )
}

/// Processes that `parent` started and that live.
fn children(parent: u32) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").expect("/proc is readable").flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|process| {
            // One that ended since then is none.
            let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            let after_name = stat.rsplit(')').next().unwrap_or_default();
            after_name.split_whitespace().nth(1) == Some(parent.to_string().as_str())
        })
        .collect()
}

fn wait_for(what: &str, mut found: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !found() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn holds(path: &Path, text: &str) -> bool {
    std::fs::read_to_string(path).unwrap_or_default().contains(text)
}

/// A run whose blackout is in the world, and the process of its lab.
fn run_with_a_blackout(dir: &TempDir) -> (std::process::Child, Pid, std::path::PathBuf) {
    let path = blackout(dir);
    let out = dir.path().join("run");
    let run = tenfold()
        .args(["run", &path, "--out"])
        .arg(&out)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tenfold starts");
    wait_for("the fault", || holds(&out.join("journal.jsonl"), "\"observed\""));
    let [lab] = children(run.id())[..] else {
        panic!("the run has not one child");
    };
    (run, Pid::from_raw(lab), out)
}

#[test]
fn a_lab_that_dies_during_the_revert_ends_that_too() {
    let _turn = machine();
    let dir = TempDir::new().expect("a temporary directory");
    let (run, lab, out) = run_with_a_blackout(&dir);
    // A lab that stands still keeps the revert waiting for its answer.
    kill(lab, Signal::SIGSTOP).expect("the lab lives");
    kill(Pid::from_raw(run.id() as i32), Signal::SIGINT).expect("the run goes on");
    wait_for("the revert", || holds(&out.join("journal.jsonl"), "\"revert_intent\""));
    let killed = Instant::now();
    kill(lab, Signal::SIGKILL).expect("the lab lives");
    let output = run.wait_with_output().expect("tenfold ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{stderr}");
    assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
    assert!(stderr.contains("error: the lab process ended (signal 9)"), "{stderr}");
    assert!(
        stderr.contains("nothing is left to undo") && !stderr.contains("still in the world"),
        "{stderr}"
    );
}

#[test]
fn a_lab_that_dies_ends_the_run_and_is_not_blamed_on_the_architecture() {
    let _turn = machine();
    let dir = TempDir::new().expect("a temporary directory");
    let (run, lab, out) = run_with_a_blackout(&dir);
    let killed = Instant::now();
    kill(lab, Signal::SIGKILL).expect("the lab lives");
    let output = run.wait_with_output().expect("tenfold ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{stderr}");
    assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
    for expected in [
        "error: the lab process ended (signal 9); see ",
        "lab.log",
        "blackout[0] was in the world of that lab and ended with it; nothing is left to undo",
    ] {
        assert!(stderr.contains(expected), "{expected} is not in\n{stderr}");
    }
    assert!(!stderr.contains("aws ec2"), "{stderr}");
    // Its journal still holds the fault; there is no cloud any more to undo it in.
    let (code, stdout, stderr) = said(&["revert", &out.display().to_string()]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("the lab of this run has ended"), "{stdout}");
}

#[test]
fn a_revert_that_cannot_reach_aws_is_exit_6_with_what_to_do_by_hand() {
    let _turn = machine();
    let dir = TempDir::new().expect("a temporary directory");
    // The lab that was planned against is gone: its endpoint answers nobody.
    let (code, plan, stderr) = said(&["plan", "profiles/tier-1.yaml", "--json"]);
    assert_eq!(code, 0, "{stderr}");
    std::fs::write(dir.path().join("plan.json"), &plan).expect("the plan is written");
    let plan: serde_json::Value = serde_json::from_str(&plan).expect("the plan is JSON");
    let run = serde_json::json!({
        "record": "run", "run": "r1", "endpoint": plan["target"]["endpoint"], "account": "111122223333",
        "regions": ["us-east-1"], "pace": 75.0,
    });
    let intent = serde_json::json!({
        "record": "intent", "fault": { "experiment": "blackout", "index": 0 }, "region": "us-east-1",
        "before": { "fault": "network_deny_region", "run": "r1", "subnets": [
            { "subnet": "subnet-1", "vpc": "vpc-1", "association": "aclassoc-1", "network_acl": "acl-1" },
        ] },
    });
    let journal = dir.path().join("journal.jsonl");
    std::fs::write(&journal, format!("{run}\n{intent}\n")).expect("the journal is written");
    let (code, _, stderr) = said(&["revert", &dir.path().display().to_string()]);
    assert_eq!(code, 6, "{stderr}");
    for expected in [
        "error: blackout[0] is still in the world: cannot reach AWS: sts:GetCallerIdentity in us-east-1 failed",
        "put subnet-1 under acl-1 with `aws ec2 replace-network-acl-association --region us-east-1",
        "Name=tag:tenfold:run,Values=r1`",
        "hint: once AWS can be reached, undo it with: tenfold revert ",
    ] {
        assert!(stderr.contains(expected), "{expected} is not in\n{stderr}");
    }
    assert_eq!(stderr.matches("still in the world").count(), 1, "{stderr}");
    // Where nobody can read what was announced, nobody can say that nothing is left of it.
    let glued = intent.to_string().replacen("{", "{\"at\":\"20{", 1);
    std::fs::write(&journal, format!("{run}\n{glued}\n")).expect("the journal is written");
    let (code, stdout, stderr) = said(&["revert", &dir.path().display().to_string()]);
    assert_eq!((code, stdout.as_str()), (6, ""), "{stderr}");
    assert!(
        stderr.contains("1 of the journal's lines cannot be read") && stderr.contains("hint: "),
        "{stderr}"
    );
    // With nothing open nobody has to be asked.
    std::fs::write(&journal, format!("{run}\n")).expect("the journal is written");
    let (code, stdout, stderr) = said(&["revert", &dir.path().display().to_string()]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("nothing of this run is in the world"), "{stdout}");
}

const BARE: &str = "name: bare\ntarget: http://127.0.0.1:1\njourneys: { browse: { steps: [{ get: / }] } }\n";

#[test]
fn validate_counts_what_there_is_and_says_what_a_run_without_objectives_comes_to() {
    let dir = TempDir::new().expect("a temporary directory");
    let path = profile(
        &dir,
        &format!("{BARE}loads: {{ a: {{ journeys: [browse], stages: [{{ tier: 1, users: 1, hold: 1s }}] }} }}\n"),
    );
    let (code, stdout, stderr) = said(&["validate", &path]);
    assert_eq!(code, 0, "{stderr}");
    for expected in [
        "1 journey, 1 load, 1 stage, 0 experiments with 0 faults; no mistakes",
        "note: there are no objectives, so a run is inconclusive and ends with exit code 3",
    ] {
        assert!(stdout.contains(expected), "{expected} is not in\n{stdout}");
    }
    let (code, stdout, stderr) = said(&["validate", GAME_DAY]);
    assert!(
        code == 0 && !stdout.contains("there are no objectives"),
        "{stdout}{stderr}"
    );
}

#[test]
fn an_objective_that_no_run_can_judge_is_refused() {
    let dir = TempDir::new().expect("a temporary directory");
    let path = profile(
        &dir,
        &format!(
            "{BARE}stages: [{{ tier: 1, users: 1, hold: 1s }}]\nobjectives:\n  - lost_writes == 0\n  - outage <= 1m\n"
        ),
    );
    for command in ["validate", "run"] {
        let (code, _, stderr) = said(&[command, &path]);
        assert_eq!(code, 2, "{command}: {stderr}");
        for expected in [
            "profile.yaml:6:5",
            "profile.yaml:7:5",
            "can never be judged",
            "ledger: orders",
            "hint:",
        ] {
            assert!(stderr.contains(expected), "{command}: {expected} is not in\n{stderr}");
        }
    }
}
