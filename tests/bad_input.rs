//! What people get wrong in a profile is said before anything is sent: exit 2, the line, and what to do about it.

use std::io::ErrorKind;
use std::net::TcpListener;

use tempfile::TempDir;

use crate::support::tenfold;

/// A profile without mistakes; the tests count its lines.
const PROFILE: &str = "\
name: good
feeders:
  accounts: { csv: accounts.csv }
journeys:
  order:
    think: 1s
    feed: accounts
    steps:
      - post: /orders/{{ accounts.id }}
        name: place
        extract: { order: { json: $.id } }
      - get: /orders/{{ order }}
stages:
  - { tier: 1, users: 5, hold: 1s }
client: {}
probes: []
chaos: []
objectives: [ errors < 1% ]
";

/// What is written instead of what, the line that is named, and what is said of it.
type Case = (&'static str, &'static str, usize, &'static str);

const RATES: &[Case] = &[
    ("users: 5", "arrivals: 0/s", 14, "zero arrivals send nothing"),
    ("users: 5", "arrivals: -5/s", 14, "-5/s"),
    ("users: 5", "arrivals: NaN/s", 14, "NaN/s"),
    ("users: 5", "arrivals: inf/s", 14, "inf/s"),
    ("users: 5", "arrivals: fast", 14, "fast"),
    (
        "users: 5",
        "arrivals: 200_000_000/s",
        14,
        "more than 100_000_000 arrivals a second",
    ),
    (
        "{}",
        "{ rate_limit: 1/s }",
        14,
        "more than client.rate_limit of 1/s allows",
    ),
    ("{}", "{ rate_limit: 0/s }", 15, "a rate_limit of zero sends nothing"),
    ("hold: 1s", "hold: 0s", 14, "takes no time"),
];

const USERS: &[Case] = &[
    ("users: 5", "users: 0", 14, "zero users send nothing"),
    ("users: 5", "users: -1", 14, "-1"),
    ("users: 5", "users: many", 14, "many"),
    ("users: 5", "users: 200_000_000", 14, "more than 100_000_000 users"),
    (
        "users: 5",
        "users: 5, arrivals: 5/s",
        14,
        "either `users` or `arrivals`",
    ),
    ("users: 5, ", "", 14, "the stage has no load"),
];

const STEPS: &[Case] = &[
    ("errors < 1%", "latency(plase) p99 < 1s", 18, "plase"),
    ("errors < 1%", "errors(orders) < 1%", 18, "orders"),
    ("probes: []", "probes: [{ step: plase }]", 16, "plase"),
    ("- post:", "- pots:", 9, "pots"),
    ("- post: /orders/{{ accounts.id }}", "- name: x", 9, ""),
    (
        "- get: /orders/{{ order }}",
        "- together: [{ get: /a, extract: { a: { header: a } } }, { get: \"/{{ a }}\" }]",
        12,
        "parts of a `together` do not see one another's values",
    ),
    (
        "- get: /orders/{{ order }}",
        "- { together: [{ get: /a }, { together: [{ get: /b }] }] }",
        12,
        "put its parts among those of the outer one",
    ),
];

const UNSENDABLE: &[Case] = &[
    (
        "- get: /orders/{{ order }}",
        "- get: /my orders",
        12,
        "neither spaces nor control characters",
    ),
    (
        "- get: /orders/{{ order }}",
        "- get: \"/orders#last\"",
        12,
        "a path has no fragment",
    ),
    (
        "- get: /orders/{{ order }}",
        "- { get: /, headers: { Host: a.test, host: b.test } }",
        12,
        "header \"host\" stands twice",
    ),
    (
        "- get: /orders/{{ order }}",
        "- { get: /, name: \"\" }",
        12,
        "\"\" is no name",
    ),
    (
        "- get: /orders/{{ order }}",
        "- { group: \" a\", steps: [{ get: / }] }",
        12,
        "\" a\" is no name",
    ),
    (
        "- get: /orders/{{ order }}",
        "- { get: /, headers: { Content-Length: 5 } }",
        12,
        "\"Content-Length\" follows from the body",
    ),
    (
        "- get: /orders/{{ order }}",
        "- { get: /, headers: { x-name: J\u{fc}rgen } }",
        12,
        "the value of \"x-name\" cannot be sent",
    ),
    (
        "- get: /orders/{{ order }}",
        "- { get: /, headers: { x-name: \"a\\r\\nb: c\" } }",
        12,
        "the value of \"x-name\" cannot be sent",
    ),
    (
        "chaos: []",
        "ledgers: { orders: { read: \"/or ders/{{ id }}\" } }",
        17,
        "neither spaces nor control characters",
    ),
];

const TEMPLATES: &[Case] = &[
    (
        "- get: /orders/{{ order }}",
        "- { post: /, json: { id: \"{{ order | numbr }}\" } }",
        12,
        "unknown filter \"numbr\"",
    ),
    ("{{ accounts.id }}", "{{ acounts.id }}", 9, "acounts.id"),
    (
        "{{ accounts.id }}",
        "{{ accounts.di }}",
        9,
        "did you mean \"accounts.id\"",
    ),
    ("{{ accounts.id }}", "{{ order }}", 9, "order"),
    ("{{ order }}", "{{ oder }}", 12, "did you mean \"order\""),
    ("{{ order }}", "{{ random(9, 1) }}", 12, "the smaller one first"),
    ("{{ order }}", "{{ order", 12, "never closed"),
    (
        "{{ order }}",
        "{{ id }}",
        12,
        "only means something in a ledger's read path",
    ),
    (
        "- get: /orders/{{ order }}",
        "- { if: \"{{ order }} => 2\", steps: [{ get: / }] }",
        12,
        "`=>` compares nothing",
    ),
    (
        "- get: /orders/{{ order }}",
        "- { if: \"{{ order }} > two\", steps: [{ get: / }] }",
        12,
        "is never true: one side is no number",
    ),
    (
        "name: good\n",
        "name: good\ntarget: https://shop:99999\n",
        2,
        "is no port",
    ),
    (
        "name: good\n",
        "name: good\ntarget: https://shop/cart\n",
        2,
        "has a path",
    ),
];

const FEEDERS: &[Case] = &[
    (
        "accounts.csv",
        "accounts.csv, order: unique",
        3,
        "passes take one each (`order: unique`): it runs dry",
    ),
    ("feed: accounts", "feed: acounts", 7, "did you mean \"accounts\""),
    ("accounts.csv", "empty.csv", 3, "empty.csv"),
];

/// What stands in the profile from its second step to its client.
const FROM_STEP: &str = "- get: /orders/{{ order }}
stages:
  - { tier: 1, users: 5, hold: 1s }
client: {}";

const VERSIONS: &[Case] = &[
    (
        FROM_STEP,
        "- { sse: /prices, until: { end: true } }
stages: [{ tier: 1, users: 5, hold: 1s }]
client: { http: 2 }",
        12,
        "`sse` is spoken over HTTP/1.1, and the client speaks HTTP/2",
    ),
    (
        FROM_STEP,
        "- { websocket: /chat, steps: [ping, close] }
stages: [{ tier: 1, users: 5, hold: 1s }]
client: { http: 2 }",
        12,
        "WebSocket are spoken over HTTP/1.1, and the client speaks HTTP/2",
    ),
    (
        FROM_STEP,
        "- { get: /, headers: { connection: close } }
stages: [{ tier: 1, users: 5, hold: 1s }]
client: { http: 2 }",
        12,
        "header \"connection\" is about the connection",
    ),
    (
        "- get: /orders/{{ order }}",
        "- { grpc: shop.v1.Shop/Order }",
        12,
        "gRPC is spoken over HTTP/2, and the client speaks HTTP/1.1",
    ),
];

const FILES: &[Case] = &[
    ("accounts.csv", "none.csv", 3, "none.csv"),
    ("        name: place", "        file: none.bin", 10, "none.bin"),
    ("chaos: []", "chaos: [none.yaml]", 17, "none.yaml"),
    ("{}", "{ tls: { ca: none.pem } }", 15, "none.pem"),
    ("users: 5, hold: 1s", "replay: none.csv", 14, "none.csv"),
    (
        "users: 5, hold: 1s",
        "replay: zeros.csv",
        14,
        "asks for no load at any time",
    ),
];

/// Runs the profile with one thing changed against a server that must not hear of it.
fn refused(instead: &str, written: &str) -> String {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let dir = TempDir::new().expect("a directory");
    let changed = PROFILE.replacen(instead, written, 1);
    assert_ne!(changed, PROFILE, "{instead}");
    let path = dir.path().join("profile.yaml");
    std::fs::write(&path, changed).expect("it is written");
    std::fs::write(dir.path().join("accounts.csv"), "id\n1\n2\n").expect("it is written");
    std::fs::write(dir.path().join("empty.csv"), "").expect("it is written");
    std::fs::write(dir.path().join("zeros.csv"), "seconds,users\n0,0\n9,0\n").expect("it is written");
    let out = dir.path().join("run");
    let output = tenfold()
        .current_dir(dir.path())
        .args(["run", "profile.yaml", "--target"])
        .arg(format!("http://{}", server.local_addr().expect("an address")))
        .arg("--out")
        .arg(&out)
        .output()
        .expect("tenfold runs");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{written}: {stderr}");
    server.set_nonblocking(true).expect("it need not wait");
    let heard = server.accept().map_err(|error| error.kind());
    assert!(matches!(heard, Err(ErrorKind::WouldBlock)), "{written}: it was asked");
    assert!(!out.join("recording.json").exists(), "{written}");
    stderr
}

fn all_are_refused(cases: &[Case]) {
    for (instead, written, line, said) in cases {
        let stderr = refused(instead, written);
        let place = format!("profile.yaml:{line}:");
        for expected in [place.as_str(), *said] {
            assert!(stderr.contains(expected), "{written}: {expected} is not in\n{stderr}");
        }
        let remedy = ["hint:", ", such as "].iter().any(|remedy| stderr.contains(remedy));
        assert!(remedy, "{written}: no remedy in\n{stderr}");
    }
}

#[test]
fn bad_input_rates_that_cannot_be_are_refused() {
    all_are_refused(RATES);
}

#[test]
fn bad_input_users_that_send_nothing_are_refused() {
    all_are_refused(USERS);
}

#[test]
fn bad_input_steps_nobody_wrote_are_refused() {
    all_are_refused(STEPS);
}

#[test]
fn bad_input_holes_that_nothing_fills_are_refused() {
    all_are_refused(TEMPLATES);
}

#[test]
fn bad_input_feeders_that_run_dry_are_refused() {
    all_are_refused(FEEDERS);
}

#[test]
fn bad_input_a_feeder_that_cannot_be_read_is_the_only_mistake_of_its_profile() {
    for file in ["empty.csv", "none.csv", "accounts.csv, order: sequentail"] {
        let stderr = refused("accounts.csv", file);
        assert_eq!(stderr.matches("error: ").count(), 1, "{file}: {stderr}");
    }
}

#[test]
fn bad_input_requests_that_cannot_be_sent_are_refused() {
    all_are_refused(UNSENDABLE);
}

#[test]
fn bad_input_steps_that_the_version_of_http_does_not_have_are_refused() {
    all_are_refused(VERSIONS);
}

#[test]
fn bad_input_files_that_are_missing_are_refused() {
    all_are_refused(FILES);
}
