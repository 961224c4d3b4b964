//! The example profile of OAuth 2.0, run as a user would run it against an identity provider by oauthlib.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{ON_ANY_MACHINE, little_of_the_machine, nowhere_in, tenfold, venv};

/// The profile that is run here.
pub const EXAMPLES: [&str; 1] = ["oauth2"];
/// Has what a form and a Basic header write otherwise.
const SECRET: &str = "s3cret&more:%";
const USERS: &str = "journeys.orders.auth.oauth2";
const LEDGER: &str = "ledgers.orders.auth.oauth2";

struct Provider {
    process: Child,
    stdout: BufReader<ChildStdout>,
    port: u16,
    tls_port: Option<u16>,
}

struct Ran {
    output: Output,
    seen: Value,
    dir: TempDir,
}

impl Provider {
    fn start(settings: &Value) -> Self {
        let mut process = venv("python")
            .arg("tests/independent/oauth2_server.py")
            .arg(settings.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut stdout = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("it says its port");
        let ports: Vec<u16> = serde_json::from_str(&line).expect("ports");
        Self {
            port: ports[0],
            tls_port: ports.get(1).copied(),
            process,
            stdout,
        }
    }

    /// Runs the example with these keys of users' and ledger's clients set, and these of the profile.
    fn run(self, oauth2: &[(&str, &str)], set: &[&str]) -> Ran {
        let url = format!("http://127.0.0.1:{}/oauth/token", self.port);
        self.run_asking(&url, oauth2, set)
    }

    fn run_asking(mut self, url: &str, oauth2: &[(&str, &str)], set: &[&str]) -> Ran {
        let dir = TempDir::new().expect("a directory");
        let keys = [("token_url", url)];
        let keys = keys.iter().chain(oauth2);
        let of_both = keys.flat_map(|(key, value)| [USERS, LEDGER].map(|client| format!("{client}.{key}={value}")));
        let output = tenfold()
            .args(["run", "profiles/examples/oauth2.yaml", "--target"])
            .arg(format!("http://127.0.0.1:{}", self.port))
            .arg("--out")
            .arg(dir.path().join("run"))
            .args(ON_ANY_MACHINE)
            .args(of_both.flat_map(|set| ["--set".to_owned(), set]))
            .args(set.iter().flat_map(|set| ["--set", set]))
            .env("CLIENT_SECRET", SECRET)
            .output()
            .expect("tenfold runs");
        drop(self.process.stdin.take());
        let mut seen = String::new();
        self.stdout.read_to_string(&mut seen).expect("it says what it saw");
        self.process.wait().expect("it ends");
        let seen = serde_json::from_str(&seen).expect("JSON");
        Ran { output, seen, dir }
    }
}

impl Ran {
    fn expect(&self, code: i32) {
        assert_eq!(self.output.status.code(), Some(code), "{}", self.account());
        let said = self.account();
        for secret in [SECRET, "tok-"] {
            assert!(!said.contains(secret), "{said}");
        }
        // A run that was refused leaves nothing that could hold them.
        match code {
            2 | 5 => assert!(!self.dir.path().join("run").exists()),
            _ => nowhere_in(self.dir.path(), &[SECRET, "s3cret%26more", "tok-"]),
        }
    }

    fn account(&self) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        format!("{}{}", text(&self.output.stdout), text(&self.output.stderr))
    }

    fn report(&self) -> Value {
        let report = std::fs::read(self.dir.path().join("run/report.json")).expect("the report");
        serde_json::from_slice(&report).expect("JSON")
    }

    fn asked_at(&self) -> Vec<f64> {
        let asked = self.seen["asked"].as_array().into_iter().flatten();
        asked.filter_map(Value::as_f64).collect()
    }

    fn asked(&self) -> usize {
        self.seen["asked"].as_array().expect("a list").len()
    }

    fn requests(&self) -> u64 {
        let steps = self.seen["used"].as_object().expect("a map");
        steps.values().filter_map(Value::as_u64).sum()
    }
}

#[test]
fn example_oauth2_asks_once_for_all_users_probes_and_reads() {
    let _turn = little_of_the_machine();
    for (credentials, tokens) in [("header", 1), ("form", 4)] {
        let count = tokens.to_string();
        let keys = [("credentials", credentials), ("tokens", &count), ("rate", "10/s")];
        let ran = Provider::start(&json!({})).run(&keys, &[]);
        ran.expect(0);
        assert_eq!(ran.asked(), tokens, "{}", ran.seen);
        assert_eq!(ran.seen["credentials"], json!({ credentials: tokens }));
        assert_eq!(ran.seen["grants"], json!({ "client_credentials": tokens }));
        assert_eq!(ran.seen["audiences"], json!(["https://api.example.com"]));
        assert_eq!(ran.seen["used"].as_object().map(serde_json::Map::len), Some(tokens));
        assert!(ran.seen["refused"] == 0 && ran.requests() > 300, "{}", ran.seen);
        let asked = ran.asked_at();
        assert!(asked.windows(2).all(|pair| pair[1] - pair[0] > 0.09), "{asked:?}");
        let report = ran.report();
        assert_eq!(
            (&report["tokens"][0]["asked"], &report["tokens"][0]["failed"]),
            (&json!(tokens), &json!({}))
        );
    }
}

#[test]
fn oauth2_tokens_are_renewed_before_they_end() {
    let _turn = little_of_the_machine();
    for (refresh, grants) in [
        (false, ["client_credentials"].as_slice()),
        (true, &["client_credentials", "refresh_token"]),
    ] {
        let ran = Provider::start(&json!({ "lasts": 2, "refresh": refresh }))
            .run(&[("refresh_before", "1s")], &["stages.0.hold=5s"]);
        ran.expect(0);
        assert!((5..=8).contains(&ran.asked()), "{}", ran.seen);
        assert!(
            ran.seen["grants"].as_object().expect("a map").keys().eq(grants),
            "{}",
            ran.seen
        );
        assert_eq!((&ran.seen["refused"], &ran.seen["failed"]), (&json!(0), &json!(0)));
        assert_eq!(ran.report()["tokens"][0]["expired"], 0.0);
    }
}

#[test]
fn oauth2_goes_on_with_a_token_that_cannot_be_renewed_and_says_so() {
    let _turn = little_of_the_machine();
    let settings = json!({ "lasts": 2, "fails": [2, 5] });
    let ran = Provider::start(&settings).run(&[("refresh_before", "1s")], &["stages.0.hold=10s"]);
    // What the API refuses meanwhile misses the objective.
    ran.expect(1);
    assert!(ran.seen["refused"].as_u64() > Some(5), "{}", ran.seen);
    let report = ran.report();
    let tokens = &report["tokens"][0];
    assert_eq!(tokens["failed"], json!({ "status 503": 3 }), "{tokens}");
    let expired = tokens["expired"].as_f64().unwrap_or_default();
    assert!((1.9..6.5).contains(&expired), "{tokens}");
    assert!(
        report["series"]["errors"]
            .as_object()
            .is_some_and(|errors| errors.keys().eq(["4xx"]))
    );
    for said in [
        "token not renewed: status 503",
        "is renewed again",
        "3 status 503",
        "a token that was over for",
    ] {
        assert!(ran.account().contains(said), "{said}: {}", ran.account());
    }
}

#[test]
fn oauth2_tokens_of_their_own_are_got_by_users_in_turn_and_their_wait_is_in_no_latency() {
    let _turn = little_of_the_machine();
    let keys = [("tokens", "per_user"), ("rate", "10/s")];
    let ran = Provider::start(&json!({})).run(&keys, &["stages.0.hold=3s"]);
    ran.expect(0);
    // One more for the probes and the reads.
    assert_eq!(ran.asked(), 11, "{}", ran.seen);
    let asked = ran.asked_at();
    assert!(asked.windows(2).all(|pair| pair[1] - pair[0] > 0.08), "{asked:?}");
    assert_eq!(ran.seen["used"].as_object().map(serde_json::Map::len), Some(11));
    assert!(ran.seen["refused"] == 0 && ran.requests() > 200, "{}", ran.seen);
    // The last one has waited for almost a second.
    let report = ran.report();
    let slowest = report["times"]["latency"]["max"].as_f64().expect("a latency");
    assert!(slowest < 500.0, "{}", report["times"]);
}

#[test]
fn oauth2_tokens_of_their_own_are_renewed_in_time_and_once_where_they_are_refused() {
    let _turn = little_of_the_machine();
    let keys = [("tokens", "per_user"), ("rate", "100/s"), ("refresh_before", "1s")];
    let ran = Provider::start(&json!({ "lasts": 2 })).run(&keys, &["stages.0.hold=4s"]);
    ran.expect(0);
    assert!(ran.asked() > 30 && ran.seen["refused"] == 0, "{}", ran.seen);
    // Each user is refused in the pass that it makes, and then has another.
    let keys = [("tokens", "per_user"), ("rate", "100/s")];
    let ran = Provider::start(&json!({ "revoke": 200 })).run(&keys, &["stages.0.hold=4s"]);
    ran.expect(1);
    assert_eq!(ran.asked(), 21, "{}", ran.seen);
    let refused = ran.seen["refused"].as_u64().unwrap_or_default();
    assert!((10..=20).contains(&refused), "{}", ran.seen);
}

#[test]
fn oauth2_users_wait_for_their_own_tokens_while_there_are_none() {
    let _turn = little_of_the_machine();
    let keys = [("tokens", "per_user"), ("rate", "50/s")];
    let ran = Provider::start(&json!({ "fails": [3, 6] })).run(&keys, &["stages.0.hold=10s"]);
    ran.expect(0);
    let report = ran.report();
    assert_eq!(
        report["tokens"][0]["failed"],
        json!({ "status 503": 3 }),
        "{}",
        report["tokens"]
    );
    assert_eq!((ran.asked(), &ran.seen["refused"]), (14, &json!(0)), "{}", ran.seen);
    assert!(
        ran.account().contains("token not renewed: status 503"),
        "{}",
        ran.account()
    );
}

#[test]
fn oauth2_that_gives_no_token_stops_the_run_before_it_begins() {
    let _turn = little_of_the_machine();
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let nobody = format!("http://{}/oauth/token", free.expect("a port"));
    let none: &[(&str, &str)] = &[];
    let cases = [
        (
            json!({}),
            None,
            [("client_id", "stranger")].as_slice(),
            2,
            "invalid_client, status 401",
        ),
        (
            json!({}),
            None,
            [("scope", "everything")].as_slice(),
            2,
            "invalid_scope, status 400",
        ),
        (json!({ "fails": [1, 9] }), None, none, 5, "status 503"),
        (json!({}), Some(&nobody), none, 5, "connection refused"),
    ];
    for (settings, url, keys, code, said) in cases {
        let provider = Provider::start(&settings);
        let ran = match url {
            None => provider.run(keys, &[]),
            Some(url) => provider.run_asking(url, keys, &[]),
        };
        ran.expect(code);
        assert!(ran.account().contains(said), "{said}: {}", ran.account());
        assert_eq!((ran.requests(), &ran.seen["refused"]), (0, &json!(0)), "{said}");
    }
}

#[test]
fn oauth2_over_tls_believes_whom_the_profile_believes() {
    let _turn = little_of_the_machine();
    let dir = TempDir::new().expect("a directory");
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let (pem, ca) = (dir.path().join("server.pem"), dir.path().join("ca.pem"));
    std::fs::write(&pem, made.cert.pem() + &made.signing_key.serialize_pem()).expect("it is written");
    std::fs::write(&ca, made.cert.pem()).expect("it is written");
    let believes = format!("client.tls.ca={}", ca.display());
    for (set, code) in [([believes.as_str()].as_slice(), 0), (&[], 5)] {
        let provider = Provider::start(&json!({ "pem": pem }));
        let url = format!("https://127.0.0.1:{}/oauth/token", provider.tls_port.expect("a port"));
        let ran = provider.run_asking(&url, &[], set);
        ran.expect(code);
        assert_eq!(ran.asked(), usize::from(code == 0), "{}", ran.seen);
        assert!(code == 0 || ran.account().contains("no TLS"), "{}", ran.account());
    }
}

#[test]
fn oauth2_whose_secret_is_not_set_is_said_before_anyone_is_asked() {
    let output = tenfold()
        .args([
            "run",
            "profiles/examples/oauth2.yaml",
            "--target",
            "http://127.0.0.1:9",
            "--out",
        ])
        .arg(Path::new(&std::env::temp_dir()).join(format!("tenfold-oauth2-{}", std::process::id())))
        .env_remove("CLIENT_SECRET")
        .output()
        .expect("tenfold runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("the client of https://id.example.com/oauth/token needs the variable CLIENT_SECRET"),
        "{said}"
    );
}
