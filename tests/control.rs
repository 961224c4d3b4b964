//! A run that is steered while it goes on: over its socket, by keys, and what it saved of it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tenfold::event::Event;
use tenfold::recording::{Recording, Slice};

use crate::support::{machine, share_of_the_machine, tenfold};

/// A server that answers everything; it ends with the process.
fn server() -> String {
    let server = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", server.local_addr().expect("it listens"));
    std::thread::spawn(move || {
        for connection in server.incoming().flatten() {
            std::thread::spawn(move || answer(connection));
        }
    });
    url
}

fn answer(mut connection: TcpStream) {
    let (mut request, mut some) = (Vec::new(), [0u8; 1024]);
    // An error or an end: the client is gone.
    while let Ok(count @ 1..) = connection.read(&mut some) {
        request.extend_from_slice(&some[..count]);
        while let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            request.drain(..end + 4);
            let _ = connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    }
}

fn written(dir: &TempDir, name: &str, text: &str) -> String {
    let path = dir.path().join(name);
    std::fs::write(&path, text).expect("the file is written");
    path.display().to_string()
}

/// Two stages: whoever waits for their end has skipped or resumed.
fn two_stages(dir: &TempDir) -> String {
    written(
        dir,
        "profile.yaml",
        "name: steered\njourneys: { browse: { think: 100ms, steps: [{ get: / }] } }\n\
         stages: [{ tier: 1, users: 20, hold: 60s }, { tier: 2, users: 40, hold: 4s }]\n\
         objectives: [errors < 1%]\nhonesty: { requests: 1, steal: 100% }\n",
    )
}

fn start(arguments: &[&str], out: &Path) -> Child {
    tenfold()
        .arg("run")
        .args(arguments)
        .arg("--out")
        .arg(out)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tenfold starts")
}

fn control(out: &Path, command: &[&str]) -> (i32, String, String) {
    let output = tenfold().arg("control").arg(out).args(command).output();
    let Output { status, stdout, stderr } = output.expect("tenfold runs");
    let text = |bytes| String::from_utf8(bytes).expect("it is text");
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

/// Waits until the run's state is as wanted, and returns it.
fn wait_until(out: &Path, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let (code, stdout, stderr) = control(out, &["status", "--json"]);
        if code == 0 {
            let answer: Value = serde_json::from_str(&stdout).expect("the answer is JSON");
            if wanted(&answer["status"]) {
                return answer["status"].clone();
            }
        }
        assert!(Instant::now() < deadline, "{what} did not come: {stdout}{stderr}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn done(out: &Path, command: &[&str], expected: &str) {
    let (code, stdout, stderr) = control(out, command);
    assert_eq!(code, 0, "{command:?}: {stderr}");
    assert!(stdout.contains(expected), "{command:?}: {stdout}");
}

fn refused(out: &Path, command: &[&str], expected: &[&str]) {
    let (code, stdout, stderr) = control(out, command);
    assert_eq!(code, 2, "{command:?}: {stdout}{stderr}");
    for text in expected {
        assert!(stderr.contains(text), "{command:?}: {text} is not in\n{stderr}");
    }
}

fn recording(out: &Path) -> Recording {
    assert!(!out.join("seconds.jsonl").exists(), "the recording has them");
    let text = std::fs::read(out.join("recording.json")).expect("the run was saved");
    serde_json::from_slice(&text).expect("it is a recording")
}

/// Each event that somebody asked for, in a word.
fn commands(recording: &Recording) -> Vec<String> {
    let words = recording.events.iter().filter_map(|stamped| stamped.event.command());
    words
        .map(|did| did.split(':').next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn control_steers_a_run_and_the_report_says_so() {
    let _turn = machine();
    let dir = TempDir::new().expect("a temporary directory");
    let out = dir.path().join("run");
    let run = start(&[&two_stages(&dir), "--target", &server()], &out);
    wait_until(&out, "the load", |status| status["rate"].as_u64() > Some(100));

    done(&out, &["status"], "stage 1 of 2 (hold)");
    let report = tenfold().arg("report").arg(&out).output().expect("tenfold runs");
    let said = String::from_utf8_lossy(&report.stderr);
    assert_eq!(report.status.code(), Some(2), "{said}");
    assert!(said.contains("goes on\nhint: ask it with: tenfold control"), "{said}");
    done(&out, &["scale", "1.5"], "scaled: 1.5 times the schedule");
    wait_until(&out, "more users", |status| status["users"] == 30);
    refused(&out, &["scale", "0"], &["above 0 and at most 100"]);
    refused(&out, &["scale", "NaN"], &["above 0 and at most 100"]);
    refused(&out, &["scale", "101"], &["above 0 and at most 100"]);
    refused(&out, &["scale", "-1"], &["above 0 and at most 100"]);
    refused(&out, &["scale", "much"], &["above 0 and at most 100"]);
    refused(&out, &["mark", " "], &["a mark is one line"]);
    done(&out, &["mark", "deploy", "v2"], "mark: deploy v2");

    done(&out, &["pause"], "paused");
    done(&out, &["pause"], "it was paused already");
    let paused = wait_until(&out, "silence", |status| status["rate"] == 0);
    assert_eq!(paused["users"], 30, "they sleep and do not leave");
    done(&out, &["hold"], "held");
    let held = wait_until(&out, "the hold", |status| status["held"] == true);
    done(&out, &["status"], "paused, held, × 1.5");
    let later = wait_until(&out, "a second", |status| {
        status["elapsed"].as_f64() > held["elapsed"].as_f64().map(|at| at + 1.0)
    });
    assert_eq!(later["schedule"], held["schedule"], "the schedule stands still");
    done(&out, &["resume"], "resumed");
    wait_until(&out, "the load", |status| status["rate"].as_u64() > Some(100));

    done(&out, &["scale", "1"], "scaled: 1 times");
    done(&out, &["skip"], "skipped to stage 2");
    refused(
        &out,
        &["skip"],
        &["no stage comes after this one", "hint: end the run with Ctrl-C"],
    );
    wait_until(&out, "the second stage", |status| status["users"] == 40);

    let output = run.wait_with_output().expect("tenfold ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!([Some(0), Some(3)].contains(&output.status.code()), "{stdout}{stderr}");
    assert!(
        stderr.contains(&format!("steer it with: tenfold control {}", out.display())),
        "{stderr}"
    );
    assert!(stderr.contains("refused: no stage comes after this one"), "{stderr}");
    for text in [
        "The run was steered by",
        "Commands (cloud time)",
        "mark: deploy v2",
        "does not make the same one",
    ] {
        assert!(stdout.contains(text), "{text} is not in\n{stdout}");
    }
    let recording = recording(&out);
    let expected = [
        "scaled",
        "mark",
        "paused",
        "held",
        "resumed",
        "scaled",
        "skipped to stage 2",
    ];
    assert_eq!(commands(&recording), expected);
    assert!(recording.duration < Duration::from_secs(50), "{:?}", recording.duration);
    assert_eq!(recording.slices.iter().map(|slice| slice.dropped).sum::<u64>(), 0);

    assert!(!out.join("control.sock").exists());
    let (code, _, stderr) = control(&out, &["pause"]);
    assert_eq!(code, 5, "{stderr}");
    assert!(
        stderr.contains("is over\nhint: read it with: tenfold report "),
        "{stderr}"
    );
}

#[test]
fn control_steers_an_ad_hoc_load_too() {
    let _turn = machine();
    let dir = TempDir::new().expect("a temporary directory");
    let out = dir.path().join("made/for/it");
    let started = tenfold()
        .args(["load", &server(), "--users", "20", "--for", "2s", "--json", "--control"])
        .arg(&out)
        .stdout(Stdio::piped())
        .spawn();
    let run = started.expect("tenfold starts");
    wait_until(&out, "the load", |_| true);
    done(&out, &["hold"], "held");
    done(&out, &["scale", "2"], "scaled: 2 times the schedule");
    wait_until(&out, "more users", |status| status["users"] == 40);
    refused(&out, &["skip"], &["no stage comes after this one"]);
    wait_until(&out, "what would be the end", |status| {
        status["elapsed"].as_f64() > Some(2.5)
    });
    done(&out, &["resume"], "resumed");
    let output = run.wait_with_output().expect("tenfold ends");
    assert!([Some(0), Some(3)].contains(&output.status.code()), "{output:?}");
    let summary: Value = serde_json::from_slice(&output.stdout).expect("a summary");
    assert_eq!(summary["requests"], summary["ok"], "{summary}");
    assert_eq!(summary["generator"]["connections"], 40, "{summary}");
    let did: Vec<&Value> = summary["commands"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|command| &command["did"])
        .collect();
    assert_eq!(
        did,
        [
            "held: the schedule stands still until resume",
            "scaled: 2 times the schedule from now on",
            "resumed"
        ]
    );
    let [seconds, rate] = ["seconds", "rate"].map(|key| summary[key].as_f64().expect("a number"));
    assert!(seconds > 2.5, "the time held is a part of it: {summary}");
    assert_eq!(
        (seconds * rate).round(),
        summary["requests"].as_f64().expect("a number")
    );
    assert!(!out.join("control.sock").exists());

    let file = written(&dir, "file", "");
    let output = tenfold()
        .args(["load", "127.0.0.1:1", "--control", &file])
        .output()
        .expect("tenfold runs");
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("hint: --control names a directory of yours"),
        "{stderr}"
    );
}

#[test]
fn control_says_where_no_run_listens() {
    let dir = TempDir::new().expect("a temporary directory");
    let (code, _, stderr) = control(dir.path(), &["status"]);
    assert_eq!(code, 5, "{stderr}");
    assert!(
        stderr.contains("error: no run listens in ") && stderr.contains("\nhint: "),
        "{stderr}"
    );
    // What a run that was killed leaves behind.
    drop(std::os::unix::net::UnixListener::bind(dir.path().join("control.sock")).expect("it binds"));
    let (code, _, stderr) = control(dir.path(), &["status"]);
    assert_eq!(code, 5, "{stderr}");
    let (code, _, stderr) = control(dir.path(), &["explode"]);
    assert_eq!(code, 2, "{stderr}");
}

#[test]
fn control_never_leaves_a_fault_out_and_never_keeps_one_longer() {
    let _turn = machine();
    let dir = TempDir::new().expect("a temporary directory");
    let chaos = written(
        &dir,
        "blackout.yaml",
        "name: blackout\nhypothesis: users move\nsettle: 1m\n\
         faults:\n  - { fault: network.deny_region, role: web, at: 4m, lasts: 6m }\n",
    );
    let path = written(
        &dir,
        "profile.yaml",
        &format!(
            "name: cut\ntarget: lab\npace: 75\njourneys: {{ browse: {{ think: 1s..2s, steps: [{{ get: /products/1 }}] }} }}\n\
             stages: [{{ tier: 1, users: 20, hold: 40m }}, {{ tier: 2, users: 30, hold: 5m }}]\nchaos: [{chaos}]\n"
        ),
    );
    let out = dir.path().join("run");
    let run = start(&[&path], &out);
    // It listens before its schedule begins, so the hold comes before the fault.
    let wait_for_socket = |_: &Value| true;
    wait_until(&out, "the socket", wait_for_socket);
    done(&out, &["hold"], "held");
    refused(
        &out,
        &["skip"],
        &["the experiment blackout would be left out; it begins at 4m", "hint:"],
    );
    done(&out, &["resume"], "resumed");
    wait_until(&out, "the fault", |status| status["faults"][0] == "blackout");
    done(&out, &["hold"], "held");
    refused(&out, &["skip"], &["blackout is in the world", "hint:"]);
    // Its own time goes on although the schedule's does not.
    let after = wait_until(&out, "the revert", |status| {
        status["faults"].as_array().is_some_and(Vec::is_empty)
    });
    assert_eq!(after["held"], true);
    refused(&out, &["skip"], &["the experiment blackout is under way", "hint:"]);
    kill(Pid::from_raw(run.id() as i32), Signal::SIGINT).expect("the run goes on");
    let output = run.wait_with_output().expect("tenfold ends");
    assert_eq!(
        output.status.code(),
        Some(130),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let at = |wanted: fn(&Event) -> bool| {
        let recording = recording(&out);
        let found = recording.events.iter().find(|stamped| wanted(&stamped.event));
        found.expect("it happened").at.as_secs_f64()
    };
    let lasted = at(|event| matches!(event, Event::FaultRevertStarted { .. }))
        - at(|event| matches!(event, Event::FaultStarted { .. }));
    assert!((lasted - 360.0 / 75.0).abs() < 0.5, "{lasted}");
}

/// The end of a terminal that a person would sit at.
struct Terminal {
    person: std::fs::File,
    program: std::os::fd::OwnedFd,
}

impl Terminal {
    fn open() -> Self {
        let pair = openpty(None, None).expect("a terminal");
        let person = std::fs::File::from(pair.master);
        let mut screen = person.try_clone().expect("it can be shared");
        // Nobody reads it, but a full screen would stop the program.
        std::thread::spawn(move || std::io::copy(&mut screen, &mut std::io::sink()));
        Self {
            person,
            program: pair.slave,
        }
    }

    fn side(&self) -> Stdio {
        self.program.try_clone().expect("it can be shared").into()
    }

    fn start(&self, arguments: &[&str], out: &Path) -> Child {
        let mut command = tenfold();
        command.arg("run").args(arguments).arg("--out").arg(out);
        command.stdin(self.side()).stderr(self.side()).stdout(Stdio::null());
        command.spawn().expect("tenfold starts")
    }

    fn press(&mut self, keys: &[u8]) {
        self.person.write_all(keys).expect("keys can be pressed");
    }

    fn is_as_found(&self) -> bool {
        let found = tcgetattr(self.program.as_fd()).expect("a terminal").local_flags;
        found.contains(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG)
    }
}

#[test]
fn control_keys_steer_a_run_and_the_terminal_is_put_back() {
    let _turn = machine();
    let dir = TempDir::new().expect("a temporary directory");
    let out: PathBuf = dir.path().join("run");
    let mut terminal = Terminal::open();
    let mut run = terminal.start(&[&two_stages(&dir), "--target", &server()], &out);
    wait_until(&out, "the load", |status| status["rate"].as_u64() > Some(100));
    assert!(!terminal.is_as_found(), "it gives keys one by one");
    terminal.press(b"p");
    wait_until(&out, "the pause", |status| status["paused"] == true);
    terminal.press(b"ph");
    wait_until(&out, "the hold", |status| {
        status["held"] == true && status["paused"] == false
    });
    terminal.press(b"h++-xm");
    wait_until(&out, "the scale", |status| {
        status["held"] == false && status["times"] == 1.1
    });
    terminal.press(b"n");
    wait_until(&out, "the skip", |status| status["stage"] == 2);
    kill(Pid::from_raw(run.id() as i32), Signal::SIGINT).expect("the run goes on");
    assert_eq!(run.wait().expect("tenfold ends").code(), Some(130));
    assert!(terminal.is_as_found(), "after Ctrl-C");
    assert!(commands(&recording(&out)).contains(&"mark".to_owned()));

    // Quiet means quiet.
    let out = dir.path().join("quiet");
    let mut run = terminal.start(&[&two_stages(&dir), "--target", &server(), "--quiet"], &out);
    wait_until(&out, "the load", |status| status["rate"].as_u64() > Some(100));
    assert!(terminal.is_as_found(), "nobody asked for keys");
    kill(Pid::from_raw(run.id() as i32), Signal::SIGINT).expect("the run goes on");
    assert_eq!(run.wait().expect("tenfold ends").code(), Some(130));
}

#[test]
fn what_a_run_measured_until_it_was_killed_is_on_disk() {
    let _share = share_of_the_machine();
    let dir = TempDir::new().expect("a temporary directory");
    let out = dir.path().join("run");
    let mut run = start(&[&two_stages(&dir), "--target", &server()], &out);
    wait_until(&out, "the load", |status| status["rate"].as_u64() > Some(100));
    run.kill().expect("it lives");
    run.wait().expect("it ends");
    let seconds = std::fs::read_to_string(out.join("seconds.jsonl")).expect("the seconds are there");
    let ok: u64 = seconds
        .lines()
        .map(|line| serde_json::from_str::<Slice>(line).expect("each line is a second"))
        .flat_map(|slice| slice.steps)
        .map(|step| step.ok)
        .sum();
    assert!(ok > 100, "{seconds}");
    let told = tenfold().arg("report").arg(&out).output().expect("tenfold runs");
    let stderr = String::from_utf8_lossy(&told.stderr);
    assert_eq!(told.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("died before it was saved"), "{stderr}");
    assert!(stderr.contains("seconds.jsonl, a second a line"), "{stderr}");
    // Another run does not write over it.
    let again = start(&[&two_stages(&dir), "--target", &server()], &out);
    let again = again.wait_with_output().expect("it ends");
    let stderr = String::from_utf8_lossy(&again.stderr);
    assert_eq!(again.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("already holds a run"), "{stderr}");
}
