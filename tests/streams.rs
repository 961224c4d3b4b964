//! The example profiles of raw TCP, server-sent events and WebSocket, each run as a user would run it against servers by
//! aiohttp, websockets and asyncio.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{ON_ANY_MACHINE, little_of_the_machine, tenfold, venv};

/// The profiles that are run here.
pub const EXAMPLES: [&str; 4] = ["tcp", "server-sent-events", "websocket", "websocket-compression"];

struct Servers {
    process: Child,
    stdout: BufReader<ChildStdout>,
    ports: Value,
}

impl Servers {
    fn start() -> Self {
        let mut process = venv("python")
            .arg("tests/independent/streams_server.py")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the servers start");
        let mut stdout = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("they say their ports");
        Self {
            ports: serde_json::from_str(&line).expect("ports"),
            process,
            stdout,
        }
    }

    /// Runs an example against the server of HTTP; its report, and what the servers saw.
    fn run(self, name: &str, set: &[String], code: i32) -> (Value, Value) {
        self.run_against("http", name, set, code)
    }

    fn run_against(mut self, server: &str, name: &str, set: &[String], code: i32) -> (Value, Value) {
        let dir = TempDir::new().expect("a directory");
        let out = dir.path().join("run");
        let output = tenfold()
            .args(["run", &format!("profiles/examples/{name}.yaml"), "--quiet", "--target"])
            .arg(format!("http://127.0.0.1:{}", self.ports[server]))
            .arg("--out")
            .arg(&out)
            .args(ON_ANY_MACHINE)
            .args(set.iter().flat_map(|set| ["--set", set]))
            .output()
            .expect("tenfold runs");
        assert_eq!(
            output.status.code(),
            Some(code),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        drop(self.process.stdin.take());
        let mut seen = String::new();
        self.stdout.read_to_string(&mut seen).expect("they say what they saw");
        self.process.wait().expect("they end");
        let report = std::fs::read(out.join("report.json")).expect("the report");
        (
            serde_json::from_slice(&report).expect("JSON"),
            serde_json::from_str(&seen).expect("JSON"),
        )
    }
}

fn errors(report: &Value) -> &serde_json::Map<String, Value> {
    report["series"]["errors"].as_object().expect("errors by kind")
}

#[test]
fn example_tcp_keeps_a_connection_for_each_user_until_it_closes_it() {
    let _turn = little_of_the_machine();
    let servers = Servers::start();
    let port = &servers.ports["tcp"];
    let set: Vec<String> = (0..4)
        .map(|step| format!("journeys.cache.steps.{step}.tcp.port={port}"))
        .collect();
    let (_, seen) = servers.run("tcp", &set, 0);
    let lines = seen["lines"].as_u64().unwrap_or_default();
    let connections = seen["connections"].as_u64().unwrap_or_default();
    assert!(lines > 400, "{seen}");
    assert!((lines / 4..=lines / 4 + 20).contains(&connections), "{seen}");
}

#[test]
fn example_server_sent_events_are_read_until_their_user_has_seen_enough() {
    let _turn = little_of_the_machine();
    let (report, seen) = Servers::start().run("server-sent-events", &[], 0);
    assert!(seen["streams"].as_u64() > Some(100), "{seen}");
    assert!(seen["live"].as_u64() > Some(50), "{seen}");
    assert_eq!(seen["accept"], serde_json::json!(["text/event-stream"]));
    assert!(errors(&report).is_empty(), "{report}");
    // An event each 10 ms, as their user sees them.
    let gaps = |step: &str| &report["times"]["steps"][step]["gaps"];
    let live = gaps("a-while");
    assert!(live["count"].as_u64() > Some(500), "{live}");
    assert!(
        live["p50"].as_f64().is_some_and(|p50| (8.0..100.0).contains(&p50)),
        "{live}"
    );
    assert_eq!(
        gaps("to-the-end")["count"],
        report["times"]["steps"]["to-the-end"]["latency"]["count"]
            .as_u64()
            .unwrap_or_default()
            * 4
    );
    let shorter = ["journeys.ticker.steps.2.expect.gap=5ms".to_owned()];
    let (report, _) = Servers::start().run("server-sent-events", &shorter, 1);
    assert!(errors(&report).keys().eq(["expectation"]), "{:?}", errors(&report));
    let more = ["journeys.ticker.steps.0.until={ events: 5 }".to_owned()];
    let (report, _) = Servers::start().run("server-sent-events", &more, 1);
    assert!(
        errors(&report).contains_key("reset"),
        "the stream ends before: {:?}",
        errors(&report)
    );
}

#[test]
fn example_websocket_sessions_are_opened_talked_in_and_closed() {
    let _turn = little_of_the_machine();
    let (_, seen) = Servers::start().run("websocket", &[], 0);
    let sessions = seen["sessions"].as_u64().unwrap_or_default();
    assert!(sessions > 100, "{seen}");
    let closed = seen["closed"]["1000"].as_u64().unwrap_or_default();
    let away = ["1001", "1006"].map(|code| seen["closed"][code].as_u64().unwrap_or_default());
    // Those under way when the run ends are left, one for each user at most.
    let away: u64 = away.iter().sum();
    assert_eq!(closed + away, sessions, "{seen}");
    assert!(away <= 20, "{seen}");
    for what in ["said", "pings"] {
        let times = seen[what].as_u64().unwrap_or_default();
        assert!((closed..=sessions).contains(&times), "{what}: {seen}");
    }
    let stranger = ["journeys.chat.auth={ bearer: other }".to_owned()];
    let (report, seen) = Servers::start().run("websocket", &stranger, 1);
    assert!(errors(&report).keys().eq(["4xx"]), "{:?}", errors(&report));
    assert_eq!(seen["sessions"], 0);
}

#[test]
fn example_websocket_compression_is_agreed_on_and_used_both_ways() {
    let _turn = little_of_the_machine();
    let run = |set: &[String], code| Servers::start().run_against("feed", "websocket-compression", set, code);
    let (_, seen) = run(&[], 0);
    let count = |seen: &Value, what: &str| seen[what].as_u64().unwrap_or_default();
    assert!(count(&seen, "feeds") > 100, "{seen}");
    assert!(count(&seen, "compressed") > 2 * count(&seen, "feeds") - 40, "{seen}");
    assert_eq!(count(&seen, "plain"), 0, "{seen}");
    let agreed = seen["agreed"].as_object().expect("by what was agreed");
    let [(agreed, _)] = agreed.iter().collect::<Vec<_>>()[..] else {
        panic!("{seen}");
    };
    assert!(
        agreed.contains("remote_no_context_takeover=True, local_no_context_takeover=True"),
        "{agreed}"
    );
    // The same messages as they are.
    let plain = ["journeys.feed.steps.0.compression=false".to_owned()];
    let (_, seen) = run(&plain, 0);
    assert!(count(&seen, "feeds") > 100 && count(&seen, "compressed") == 0, "{seen}");
    assert_eq!(seen["agreed"], serde_json::json!({}));
    // What is looked at is not what is sent.
    let other = ["journeys.feed.steps.0.steps.1.expect.size=1..1000".to_owned()];
    let (report, _) = run(&other, 1);
    assert!(errors(&report).keys().eq(["expectation"]), "{:?}", errors(&report));
    // Another server that knows it, asked because the client compresses whatever it can.
    let client = ["client={ compression: true }".to_owned()];
    let (_, seen) = Servers::start().run("websocket", &client, 0);
    assert_eq!(seen["agreed"], serde_json::json!({ "15": count(&seen, "sessions") }));
}
