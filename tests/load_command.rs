//! `tenfold load`: one URL, no file; and whether its figures tell the truth about a server that stops for a while.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::{machine, tenfold, venv};

/// The benchmark server as a process of its own, so that it can be stopped; ends with its standard input.
struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn start() -> Self {
        let example = std::path::Path::new(env!("CARGO_BIN_EXE_tenfold")).with_file_name("examples/bench_server");
        let mut process = Command::new(&example)
            .arg("127.0.0.1:0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", example.display()));
        let mut address = String::new();
        BufReader::new(process.stdout.take().expect("its output is piped"))
            .read_line(&mut address)
            .expect("it says where it listens");
        Self {
            process,
            url: format!("http://{}/hello", address.trim()),
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id() as i32), signal).expect("the server lives");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(Signal::SIGCONT);
        drop(self.process.stdin.take());
        // It ends by itself now; nothing to do about one that is gone already.
        let _ = self.process.wait();
    }
}

fn load(url: &str, options: &[&str]) -> (i32, Value, String) {
    let output = tenfold()
        .args(["load", url, "--json"])
        .args(options)
        .output()
        .expect("tenfold runs");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let summary = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code().unwrap_or(-1), summary, stderr)
}

#[test]
fn a_rate_is_told_of_as_arrivals_and_users_as_users() {
    let server = Server::start();
    let told = |options: &[&str]| {
        let output = tenfold()
            .args(["load", &server.url, "--for", "2s"])
            .args(options)
            .output();
        let output = output.expect("tenfold runs");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let rate = told(&["--rate", "200"]);
    assert!(
        rate.contains("hold  arrivals in flight ") && !rate.contains("users"),
        "{rate}"
    );
    let users = told(&["--users", "3", "--think", "10ms"]);
    assert!(users.contains("hold  users 3  rate "), "{users}");
}

#[test]
fn load_counts_every_request_once() {
    let server = Server::start();
    let (code, summary, stderr) = load(
        &server.url,
        &[
            "--rate",
            "500",
            "--for",
            "2s",
            "--served-by",
            "x-served-by",
            "-H",
            "accept: text/plain",
        ],
    );
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(summary["intended"], 1000);
    assert_eq!(summary["ok"], 1000);
    assert_eq!(summary["served"]["i-1/us-east-1a/us-east-1"], 1000);
    assert_eq!(summary["failed"], serde_json::json!({}));
    assert!(summary["latency_ms"]["p50"].as_f64() > Some(0.0));
    for of_all in ["latency_ok_ms", "blocked_ms", "first_byte_ms"] {
        assert_eq!(summary[of_all]["count"], 1000, "{of_all}: {summary}");
    }
    assert_eq!(summary["latency_failed_ms"], Value::Null);
    assert!(summary["connect_ms"]["count"].as_u64() >= Some(1), "{summary}");
    assert_eq!(summary["tls_ms"], Value::Null);
    let (code, summary, stderr) = load(
        &server.url,
        &[
            "-u",
            "3",
            "--think",
            "5ms..15ms",
            "--for",
            "1s",
            "-X",
            "post",
            "-d",
            "x={{ y }}",
        ],
    );
    assert_eq!(code, 0);
    assert!(stderr.starts_with("warning: `{{` is sent as it stands"), "{stderr}");
    assert!(summary["requests"].as_u64() > Some(100), "{summary}");
    assert_eq!(summary["ok"], summary["requests"]);
}

#[test]
fn load_says_what_is_wrong_and_sends_nothing() {
    for (arguments, part) in [
        (&["ftp://127.0.0.1/"][..], "supported"),
        (&["http://"], "hint:"),
        (&["127.0.0.1:1", "--rate", "0"], "above zero"),
        (
            &["127.0.0.1:1", "--rate", "0.1/s", "--for", "4s"],
            "give --for 10s at least",
        ),
        (&["127.0.0.1:1", "--users", "0"], "0 is not in"),
        (&["127.0.0.1:1", "--users", "5", "--rate", "5"], "cannot be used with"),
        (&["127.0.0.1:1", "-H", "no colon"], "is not a header"),
        (&["127.0.0.1:1", "--for", "5 parsecs"], "parsecs"),
        (&["127.0.0.1:1", "--think", "soon"], "write 5s, 5s..25s"),
        (&["127.0.0.1:1", "--think", "9s..5s"], "write 5s..9s"),
        (&["127.0.0.1:1/a b"], "as %20"),
        (&["127.0.0.1:1/caf\u{e9}"], "percent-encoded"),
    ] {
        let (code, _, stderr) = load(arguments[0], &arguments[1..]);
        assert_eq!(code, 2, "{arguments:?}: {stderr}");
        assert!(stderr.contains(part), "{arguments:?}: {stderr}");
    }
    let (code, _, stderr) = load("127.0.0.1:1", &["--for", "1s"]);
    assert_eq!(code, 5, "{stderr}");
    assert!(stderr.contains("hint:"), "{stderr}");
}

/// Answers one request a connection with this status, and tells each request's first line.
fn answering(status: &'static str) -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (tell, told) = std::sync::mpsc::sync_channel(64);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or_default();
            let line = String::from_utf8_lossy(&request[..length]);
            // The test may have seen enough.
            let _ = tell.try_send(line.lines().next().unwrap_or_default().to_owned());
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (format!("http://{address}/"), told)
}

#[test]
fn load_reaches_a_target_that_answers_whatever_it_answers() {
    for (status, kind) in [("404 Not Found", "4xx"), ("500 Broken", "5xx")] {
        let (url, _told) = answering(status);
        let (code, summary, stderr) = load(&url, &["-u", "1", "--think", "20ms", "--for", "1s"]);
        assert_eq!((code, summary["ok"].as_u64()), (0, Some(0)), "{stderr} {summary}");
        assert!(summary["failed"][kind].as_u64() > Some(5), "{summary}");
    }
}

#[test]
fn load_whose_users_think_until_its_end_says_why_nothing_was_sent() {
    let idle = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", idle.local_addr().expect("it has an address"));
    let (code, summary, stderr) = load(&url, &["--users", "1", "--think", "1m", "--for", "1s"]);
    assert_eq!((code, &summary["intended"]), (3, &Value::from(0)), "{stderr}");
    assert!(
        stderr.contains("every user still thought when the load ended"),
        "{stderr}"
    );
}

#[test]
fn load_does_not_take_what_is_no_http_for_an_answer() {
    for options in [&[][..], &["--http2"]] {
        let (url, _told) = answering("no status");
        let (code, summary, stderr) = load(
            &url,
            &[&["-u", "1", "--think", "20ms", "--for", "1s"], options].concat(),
        );
        assert_eq!(
            (code, summary["ok"].as_u64()),
            (5, Some(0)),
            "{options:?}: {stderr} {summary}"
        );
        assert!(
            summary["failed"]["protocol"].as_u64() > Some(5),
            "{options:?}: {summary}"
        );
        let why = summary["failures"].to_string();
        assert!(why.contains("\"first\":\""), "{options:?}: {why}");
    }
}

#[test]
fn load_posts_a_body_unless_told_otherwise() {
    for (options, method) in [
        (&[][..], "GET"),
        (&["-d", "x=1"], "POST"),
        (&["-d", "x=1", "-X", "put"], "PUT"),
    ] {
        let (url, told) = answering("200 OK");
        let all = [&["-u", "1", "--think", "50ms", "--for", "300ms"], options].concat();
        let (code, summary, stderr) = load(&url, &all);
        assert_eq!(code, 0, "{stderr} {summary}");
        // One connection only asks whether there is anyone.
        let mut lines = std::iter::from_fn(|| told.recv_timeout(Duration::from_secs(10)).ok());
        let first = lines.find(|line| !line.is_empty());
        assert_eq!(first, Some(format!("{method} / HTTP/1.1")));
    }
}

#[test]
fn load_opens_no_more_connections_than_it_may() {
    let server = Server::start();
    for connections in ["1", "3"] {
        let (code, summary, stderr) = load(
            &server.url,
            &["-c", connections, "-u", "20", "--think", "5ms", "--for", "1s"],
        );
        assert_eq!(code, 0, "{stderr}");
        assert_eq!(
            summary["generator"]["connections"].to_string(),
            connections,
            "{summary}"
        );
    }
}

#[test]
fn load_uses_no_more_cores_than_there_are() {
    let there_are = std::thread::available_parallelism().map_or(1, usize::from);
    let wanted = (there_are + 1).to_string();
    let (code, _, stderr) = load("127.0.0.1:1", &["--cores", &wanted]);
    assert_eq!(code, 2, "{stderr}");
    let part = format!("--cores {wanted} is more than the {there_are}");
    assert!(stderr.contains(&part) && stderr.contains("hint:"), "{stderr}");
}

#[test]
fn load_that_cannot_be_sent_is_counted_and_believed_by_nobody() {
    let _machine = machine();
    let server = Server::start();
    let (code, summary, stderr) = load(&server.url, &["--rate", "3000000/s", "--for", "1s"]);
    assert_eq!(code, 3, "{stderr} {summary}");
    assert_eq!(summary["intended"], 3_000_000);
    let [requests, not_sent] = ["requests", "not_sent"].map(|key| summary[key].as_u64().expect("a number"));
    assert_eq!(requests + not_sent, 3_000_000, "{summary}");
    assert!(not_sent > 1_000_000, "{summary}");
}

/// What the Python port of the Java tools reads from an interval log.
fn read_by_others(hlog: &std::path::Path) -> Value {
    let output = venv("python")
        .arg("tests/independent/hlog_percentiles.py")
        .arg(hlog)
        .output()
        .expect("python runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}\n{stderr}"))
}

/// Our figures are milliseconds, those of the log microseconds. The Python package rounds the rank of a percentile
/// where we, as the Java tools, take the next one, so two neighbouring values of the sample can stand for it.
fn assert_same(ours: &Value, theirs: &Value) {
    assert!(ours["count"].as_u64() > Some(0), "{ours}");
    assert_eq!(ours["count"], theirs["count"]);
    let micros = |figure: &str| ours[figure].as_f64().map_or(0.0, |millis| millis * 1e3);
    assert_eq!(
        Some(micros("max").round() as u64),
        theirs["max"].as_u64(),
        "{ours} {theirs}"
    );
    for figure in ["p50", "p90"] {
        let (ours, theirs) = (micros(figure), theirs[figure].as_f64().unwrap_or_default());
        assert!((ours - theirs).abs() <= 0.1 * ours + 2.0, "{figure}: {ours} {theirs}");
    }
}

#[test]
fn load_writes_an_interval_log_that_others_read_alike() {
    let server = Server::start();
    let dir = tempfile::TempDir::new().expect("a temporary directory");
    let hlog = dir.path().join("load.hlog");
    let path = hlog.to_str().expect("a path in UTF-8");
    let before = std::time::SystemTime::now();
    let (code, summary, stderr) = load(&server.url, &["--rate", "2000", "--for", "3s", "--hlog", path]);
    assert_eq!(code, 0, "{stderr}");
    let read = read_by_others(&hlog);
    assert_same(&summary["latency_ms"], &read["tags"]["request"]);
    let unix = before
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs_f64();
    let start = read["start"].as_f64().expect("a number");
    assert!((unix..unix + 5.0).contains(&start), "{unix} {read}");
    assert!(
        (read["first"].as_f64().expect("a number") - start).abs() < 0.01,
        "{read}"
    );

    let (code, _, stderr) = load(&server.url, &["--for", "1s", "--hlog", "/nowhere/load.hlog"]);
    assert_eq!(code, 2, "{stderr}");
    assert!(
        stderr.contains("/nowhere/load.hlog") && stderr.contains("hint:"),
        "{stderr}"
    );
}

#[test]
fn run_leaves_an_interval_log_with_a_tag_for_each_step() {
    let server = Server::start();
    let dir = tempfile::TempDir::new().expect("a temporary directory");
    let profile = dir.path().join("two.yaml");
    let text = "name: two\njourneys:\n  browse: { think: 10ms..20ms, steps: [{ get: / }, { get: /two, name: second }] }\n\
                stages: [{ tier: 1, users: 10, hold: 2s }]\n";
    std::fs::write(&profile, text).expect("writes");
    let out = dir.path().join("run");
    let target = server.url.trim_end_matches("/hello");
    let output = tenfold()
        .arg("run")
        .arg(&profile)
        .args(["--target", target, "--json", "--quiet", "--out"])
        .arg(&out)
        .output()
        .expect("tenfold runs");
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}\n{}", String::from_utf8_lossy(&output.stderr)));
    let read = read_by_others(&out.join("latency.hlog"));
    for step in ["browse", "second"] {
        assert_same(&report["times"]["steps"][step]["latency"], &read["tags"][step]);
    }
    assert_eq!(read["tags"].as_object().map(serde_json::Map::len), Some(2));
}

/// `tenfold load` with no more than these descriptors, and what it says.
fn load_within(descriptors: u32, url: &str, options: &[&str]) -> (i32, String) {
    let output = Command::new("sh")
        .args(["-c", &format!("ulimit -n {descriptors}; exec \"$0\" load \"$@\"")])
        .arg(env!("CARGO_BIN_EXE_tenfold"))
        .arg(url)
        .args(options)
        .args(["--quiet", "--json"])
        .output()
        .expect("tenfold runs");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap_or(-1), stderr)
}

#[test]
fn load_that_lacks_descriptors_is_refused_before_its_first_request() {
    let server = Server::start();
    let (code, said) = load_within(200, &server.url, &["--users", "500", "--for", "1s"]);
    assert_eq!(code, 2, "{said}");
    assert!(
        said.contains("needs 500 connections at once") && said.contains("hint:"),
        "{said}"
    );

    let options = ["--rate", "20", "--for", "1s", "--timeout", "30s"];
    let (code, said) = load_within(200, &server.url, &options);
    assert_eq!(code, 0, "{said}");
    assert!(
        said.starts_with("warning: ") && said.contains("600 connections"),
        "{said}"
    );

    let (code, said) = load_within(2_000, &server.url, &options);
    assert_eq!((code, said.as_str()), (0, ""));
}

/// A server that stands still for 1 s in 10 s makes a tenth of all requests wait, evenly from 0 to 1 s: the 99th
/// percentile is 900 ms. Tools that measure from the send, or stop sending, show less.
#[test]
fn stall_of_the_server_is_in_the_percentiles_and_loses_nothing() {
    let _machine = machine();
    let server = Server::start();
    let pid = server.process.id() as i32;
    let stall = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(5));
        kill(Pid::from_raw(pid), Signal::SIGSTOP).expect("the server lives");
        std::thread::sleep(Duration::from_secs(1));
        kill(Pid::from_raw(pid), Signal::SIGCONT).expect("the server lives");
    });
    let (code, summary, stderr) = load(
        &server.url,
        &["--rate", "5000", "--for", "10s", "--connections", "50", "--cores", "1"],
    );
    stall.join().expect("the server was stopped and went on");
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(summary["intended"], 50_000);
    assert_eq!(summary["ok"], 50_000, "{summary}");
    let p99 = summary["latency_ms"]["p99"].as_f64().expect("a number");
    assert!((873.0..=927.0).contains(&p99), "{summary}");
    let lag = summary["lag_ms"]["p99"].as_f64().expect("a number");
    assert!(lag < 20.0, "the stall was not the generator's: {summary}");
}

/// The shipped profile of ten million users, in one process beside the lab; whether the architecture kept its
/// objectives at this pace is not the question here.
#[test]
fn ten_million_users_sleep_in_one_process() {
    let _machine = machine();
    let dir = tempfile::TempDir::new().expect("a temporary directory");
    let output = tenfold()
        .args(["run", "profiles/ten-million.yaml", "--json", "--pace", "75"])
        // What its hypervisor takes away says nothing of memory, and lag tells whether it was felt.
        .args(["--set", "honesty.steal=100%"])
        .arg("--out")
        .arg(dir.path().join("run"))
        .output()
        .expect("tenfold runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}\n{stderr}"));
    let users = report["series"]["users"].as_array().expect("users over time");
    let most = users.iter().filter_map(Value::as_u64).max();
    assert_eq!(most, Some(10_000_000));
    let honesty = &report["verdict"]["honesty"];
    assert_eq!(honesty["spoiled"], Value::Null, "{honesty}");
    assert!(honesty["resident_max"].as_u64() < Some(1 << 30), "{honesty}");
    assert!(honesty["requests"].as_u64() > Some(30_000), "{honesty}");
}
