//! The example profile of gRPC and its variations, run as a user would run them against a server by grpcio.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{ON_ANY_MACHINE, little_of_the_machine, tenfold, venv};

/// The profiles that are run here.
pub const EXAMPLES: [&str; 3] = ["grpc", "grpc-reflection", "grpc-streams"];

struct Server {
    process: Child,
    stdout: BufReader<ChildStdout>,
    url: String,
    dir: TempDir,
}

struct Ran {
    code: Option<i32>,
    told: String,
    report: Value,
    /// As it is saved; empty where nothing is.
    plan: String,
    seen: Value,
}

impl Ran {
    /// Kinds of failures.
    fn errors(&self) -> Vec<&String> {
        self.report["series"]["errors"]
            .as_object()
            .expect("errors by kind")
            .keys()
            .collect()
    }

    fn seen(&self, what: &str) -> u64 {
        self.seen[what].as_u64().unwrap_or_default()
    }
}

impl Server {
    fn start() -> Self {
        Self::in_dir(TempDir::new().expect("a directory"), "http", &[])
    }

    /// Which says what its services look like, by this version of reflection.
    fn reflecting(version: &str) -> Self {
        let dir = TempDir::new().expect("a directory");
        Self::in_dir(dir, "http", &["--reflection", version])
    }

    /// With a certificate for this name by the authority in `ca.pem`, and reflection.
    fn over_tls(name: &str) -> Self {
        let dir = TempDir::new().expect("a directory");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Who signs has another name than who is signed; OpenSSL takes them for one otherwise.
        params.distinguished_name.push(DnType::CommonName, "authority");
        let authority =
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
        let key = KeyPair::generate().expect("a key");
        let server = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let server = server.signed_by(&key, &authority).expect("a certificate");
        for (file, text) in [
            ("ca.pem", authority.pem()),
            ("server.pem", server.pem()),
            ("server.key", key.serialize_pem()),
        ] {
            std::fs::write(dir.path().join(file), text).expect("it is written");
        }
        let tls = dir.path().display().to_string();
        Self::in_dir(dir, "https", &["--tls", &tls, "--reflection", "v1"])
    }

    fn in_dir(dir: TempDir, scheme: &str, arguments: &[&str]) -> Self {
        let set = protox::compile(["shop.proto"], ["profiles/examples/protos"]).expect("the example compiles");
        let descriptors = dir.path().join("shop.pb");
        std::fs::write(&descriptors, prost::Message::encode_to_vec(&set)).expect("a file");
        let mut process = venv("python")
            .arg("tests/independent/grpc_server.py")
            .arg(&descriptors)
            .args(arguments)
            // Handshakes that fail are what some tests are about.
            .env("GRPC_VERBOSITY", "NONE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut stdout = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("it says its port");
        let ports: Value = serde_json::from_str(&line).expect("a port");
        Self {
            url: format!("{scheme}://127.0.0.1:{}", ports["port"]),
            process,
            stdout,
            dir,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(self, set: &[&str]) -> Ran {
        self.run_profile("grpc", set)
    }

    fn run_profile(mut self, name: &str, set: &[&str]) -> Ran {
        let out = self.dir.path().join("run");
        let output = tenfold()
            .args(["run", &format!("profiles/examples/{name}.yaml"), "--quiet", "--target"])
            .arg(&self.url)
            .arg("--out")
            .arg(&out)
            .args(ON_ANY_MACHINE)
            .args(set.iter().flat_map(|set| ["--set", set]))
            .output()
            .expect("tenfold runs");
        drop(self.process.stdin.take());
        let mut seen = String::new();
        self.stdout.read_to_string(&mut seen).expect("it says what it saw");
        self.process.wait().expect("it ends");
        let report = std::fs::read(out.join("report.json")).unwrap_or_default();
        Ran {
            code: output.status.code(),
            told: format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            ),
            report: serde_json::from_slice(&report).unwrap_or_default(),
            plan: std::fs::read_to_string(out.join("plan.json")).unwrap_or_default(),
            seen: serde_json::from_str(&seen).expect("JSON"),
        }
    }
}

#[test]
fn example_grpc_calls_methods_and_uses_their_answers() {
    let _turn = little_of_the_machine();
    let ran = Server::start().run(&[]);
    assert_eq!(ran.code, Some(0), "{}", ran.told);
    assert!(ran.errors().is_empty(), "{:?}", ran.errors());
    let orders = ran.seen["orders"].as_object().expect("orders");
    let [(kind, count)] = orders.iter().collect::<Vec<_>>()[..] else {
        panic!("one kind of order: {}", ran.seen)
    };
    assert_eq!(kind, "[[2], 2, {}, false]");
    assert!(count.as_u64() > Some(100), "{}", ran.seen);
    assert_eq!(Some(ran.seen("carts")), count.as_u64(), "metadata comes as it was sent");
    assert_eq!(Some(ran.seen("deadlines")), count.as_u64(), "so does the patience");
    assert!(ran.seen("items") > ran.seen("carts"), "{}", ran.seen);
}

#[test]
fn example_grpc_streams_are_read_to_their_end_or_left() {
    let _turn = little_of_the_machine();
    let ran = Server::start().run_profile("grpc-streams", &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.told);
    assert!(ran.errors().is_empty(), "{:?}", ran.errors());
    let (tracked, left) = (ran.seen("tracked"), ran.seen("left"));
    assert!(tracked > 100, "{}", ran.seen);
    // Two of three are left, and each user's last may be.
    assert!(left.abs_diff(tracked * 2 / 3) <= 20, "{}", ran.seen);

    let ends = "journeys.parcel.steps.0.until={ messages: 5 }";
    let ran = Server::start().run_profile("grpc-streams", &[ends, "stages.0.hold=1s"]);
    assert_eq!(ran.code, Some(1), "{}", ran.told);
    assert_eq!(ran.errors(), ["reset"], "the stream ends before");
}

#[test]
fn grpc_services_may_be_described_by_a_set_of_descriptors() {
    let _turn = little_of_the_machine();
    let server = Server::start();
    let descriptors = format!("grpc={{ descriptors: {} }}", server.file("shop.pb").display());
    let ran = server.run(&[&descriptors, "stages.0.hold=1s"]);
    assert_eq!(ran.code, Some(0), "{}", ran.told);
    assert!(ran.seen("carts") > 50, "{}", ran.seen);
}

#[test]
fn example_grpc_reflection_asks_the_target_once_and_needs_no_files() {
    let _turn = little_of_the_machine();
    for (version, asked) in [("v1", 1), ("v1alpha", 1)] {
        let ran = Server::reflecting(version).run_profile("grpc-reflection", &[]);
        assert_eq!(ran.code, Some(0), "{version}: {}", ran.told);
        assert!(ran.seen("items") > 50, "{version}: {}", ran.seen);
        assert_eq!(ran.seen("reflected"), asked, "{version}");
        assert!(
            ran.plan.contains("\"descriptors\""),
            "what it said is saved: {}",
            ran.plan
        );
    }
    let server = Server::over_tls("127.0.0.1");
    let believed = format!("client.tls.ca={}", server.file("ca.pem").display());
    let ran = server.run_profile("grpc-reflection", &[&believed]);
    assert_eq!(ran.code, Some(0), "{}", ran.told);
    let ran = Server::over_tls("127.0.0.1").run_profile("grpc-reflection", &[]);
    assert_eq!((ran.code, ran.seen("items")), (Some(5), 0), "{}", ran.told);
    assert!(ran.told.contains("no TLS"), "{}", ran.told);
}

#[test]
fn grpc_reflection_that_is_not_there_and_calls_that_do_not_fit_are_told_before_any_load() {
    let _turn = little_of_the_machine();
    let steps = |step: &str| format!("journeys.shop.steps=[{{ {step} }}]");
    let ran = Server::start().run_profile("grpc-reflection", &[]);
    assert_eq!((ran.code, ran.seen("items")), (Some(2), 0), "{}", ran.told);
    for said in [
        "has no server reflection",
        "grpc-reflection.yaml:3:",
        "hint: have the target serve",
    ] {
        assert!(ran.told.contains(said), "{said}: {}", ran.told);
    }
    for (step, said) in [
        ("grpc: shop.v1.Shp/GetItem", "did you mean \"shop.v1.Shop\"?"),
        ("grpc: shop.v1.Shop/GetItems", "did you mean \"GetItem\"?"),
        (
            "grpc: shop.v1.Shop/GetItem, message: { ide: 5 }",
            "did you mean \"id\"?",
        ),
        ("grpc: shop.v1.Shop/OrderMany", "takes a stream of messages"),
    ] {
        let ran = Server::reflecting("v1alpha").run_profile("grpc-reflection", &[&steps(step)]);
        assert_eq!((ran.code, ran.seen("items")), (Some(2), 0), "{step}: {}", ran.told);
        assert!(ran.told.contains(said), "{step}: {}", ran.told);
        assert!(ran.told.contains("--> --set:1:"), "{step}: {}", ran.told);
    }
}

#[test]
fn grpc_reflection_asks_no_target_before_a_run_and_names_one_that_is_not_there() {
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", nowhere.local_addr().expect("an address"));
    drop(nowhere);
    let dir = TempDir::new().expect("a directory");
    let ran = |command: &str| {
        let mut tenfold = tenfold();
        tenfold.args([command, "profiles/examples/grpc-reflection.yaml", "--target", &url]);
        if command == "run" {
            tenfold.arg("--out").arg(dir.path().join("run"));
        }
        let output = tenfold.output().expect("tenfold runs");
        let told = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&told).into_owned())
    };
    for command in ["validate", "plan"] {
        let (code, told) = ran(command);
        assert_eq!(code, Some(0), "{told}");
        assert!(
            told.contains("the target is asked what its services of gRPC look like"),
            "{told}"
        );
    }
    let (code, told) = ran("run");
    assert_eq!(code, Some(5), "{told}");
    assert!(told.contains("connection refused") && told.contains("hint: "), "{told}");
}

#[test]
fn grpc_goes_through_tls_that_is_verified() {
    let _turn = little_of_the_machine();
    let ca = |server: &Server| format!("client.tls.ca={}", server.file("ca.pem").display());
    let server = Server::over_tls("127.0.0.1");
    let believed = ca(&server);
    let ran = server.run(&[&believed, "stages.0.hold=1s"]);
    assert_eq!(ran.code, Some(0), "{}", ran.told);
    assert!(ran.seen("carts") > 50, "{}", ran.seen);

    let wrong_name = Server::over_tls("shop.example.com");
    let believed = ca(&wrong_name);
    for (server, set) in [(wrong_name, vec![&*believed]), (Server::over_tls("127.0.0.1"), vec![])] {
        let ran = server.run(&[&set[..], &["stages.0.hold=1s"]].concat());
        assert_eq!(ran.code, Some(1), "{}", ran.told);
        assert_eq!(ran.errors(), ["tls"]);
        assert_eq!(ran.seen("items"), 0);
    }
    let named = Server::over_tls("shop.example.com");
    let believed = ca(&named);
    let ran = named.run(&[&believed, "client.tls.server_name=shop.example.com", "stages.0.hold=1s"]);
    assert_eq!(ran.code, Some(0), "{}", ran.told);
}

#[test]
fn grpc_statuses_and_patience_that_end_otherwise_are_failures_by_kind() {
    let _turn = little_of_the_machine();
    let stranger = Server::start().run(&["journeys.shop.auth={ bearer: other }", "stages.0.hold=1s"]);
    assert_eq!(stranger.code, Some(1), "{}", stranger.told);
    assert_eq!(stranger.errors(), ["grpc"]);
    assert_eq!(stranger.seen("carts"), 0, "what needs the answer is left out");
    let slow = Server::start().run(&[
        "journeys.shop.steps=[{ grpc: shop.v1.Shop/GetItem, message: { id: 500 }, timeout: 300ms }]",
        "honesty.requests=10",
        "stages.0.hold=1s",
    ]);
    assert_eq!(slow.code, Some(1), "{}", slow.told);
    // Whoever is first to say so: the server knows the deadline too.
    let late = |kind: &&String| ["timeout", "grpc"].contains(&kind.as_str());
    assert!(slow.errors().iter().all(late), "{:?}", slow.errors());
    assert!(!slow.errors().is_empty());
}
