//! Tests of loading: the shipped files, every mistake at once, overrides.

use super::*;
use crate::config::Honesty;
use crate::config::client::DnsPolicy;
use proptest::prelude::*;

const PROFILE: &str = "\
name: small
journeys:
  order:
    weight: 1
    think: 5s..10s
    steps:
      - post: /orders
        json: { id: \"{{ unique }}\" }
        ledger: orders
ledgers: { orders: { read: \"/orders/{{ id }}\" } }
stages:
  - { tier: 1, users: 100, ramp: 1m, hold: 5m }
chaos: [a.yaml]
lab: { web: { max: 5 } }
";
const EXPERIMENT: &str = "\
name: failover
hypothesis: the standby takes over
faults:
  - { fault: rds.failover, role: database, at: hold + 1m, irreversible: true }
settle: 2m
objectives: [ recovery(order) <= 120s ]
";

fn sources(profile: &str, experiments: &[(&str, &str)]) -> Sources {
    Sources {
        profile: ("profiles/x.yaml".to_owned(), profile.to_owned()),
        experiments: experiments
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect(),
        ..Sources::default()
    }
}

fn set(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn a_profile_loads_with_its_experiment() {
    let references = references("profiles/x.yaml", PROFILE, &[]).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(references.experiments[0].value, "a.yaml");
    assert_eq!(references.target, TargetRef::Lab);
    let config = load(&sources(PROFILE, &[("a.yaml", EXPERIMENT)]), &[]).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.lab, serde_json::json!({"web": {"max": 5}}));
    assert_eq!(
        config.experiments[0].objectives[0].value.scope,
        crate::config::objective::Scope::Experiment("failover".to_owned())
    );
}

#[test]
fn any_key_of_profile_lab_and_experiment_can_be_set() {
    let overrides = set(&[
        ("stages.0.users", "7"),
        ("lab.database.multi_az", "false"),
        ("experiments.failover.settle", "9m"),
        ("experiments.failover.faults.0.at", "3m"),
    ]);
    let config =
        load(&sources(PROFILE, &[("a.yaml", EXPERIMENT)]), &overrides).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.profile.stages[0].load, crate::config::Load::Users(7));
    assert_eq!(
        config.lab,
        serde_json::json!({"web": {"max": 5}, "database": {"multi_az": false}})
    );
    assert_eq!(config.experiments[0].settle.as_secs(), 540);
    let none = references("x", PROFILE, &set(&[("chaos", "[]")])).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(none.experiments.is_empty());
}

#[test]
fn all_mistakes_come_at_once_with_place_and_remedy() {
    let profile = "\
name: broken
journeys:
  browse:
    wieght: 9
    think: 25s..5s
    steps:
      - get: /products/{{ rnadom(1, 500) }}
  order:
    weight: 0
    steps:
      - post: /orders
        ledger: ordrs
ledgers: { orders: { read: /orders } }
stagess: []
stages:
  - { tier: 7, users: 0, ramp: 5, hold: 5m }
  - { tier: 2, users: 10_000, arrivals: 5/s, hold: 5 minutos }
name: twice
objectives:
  - latancy p99 < 300ms
  - errors < 300ms during steady
  - recovery(ordr) <= 120s
";
    let experiment = "\
name: blackout
hypothesis: x
faults:
  - { fault: network.deny_region, role: dns, at: hold }
  - { fault: rds.failover, role: database, at: later }
  - { fault: rds.failovr, role: database, at: hold }
stop_when: [ errors > 90% ]
";
    let errors = load(
        &sources(profile, &[("chaos/b.yaml", experiment)]),
        &set(&[("client.dns", "honor-ttl"), ("experiments.blackot.x", "1")]),
    )
    .expect_err("many mistakes");
    insta::assert_snapshot!(errors.to_string());
}

#[test]
fn a_mistake_of_the_lab_points_at_its_line() {
    let config = load(
        &sources(PROFILE, &[("a.yaml", EXPERIMENT)]),
        &set(&[("lab.web.maxx", "1")]),
    )
    .unwrap_or_else(|errors| panic!("{errors}"));
    let text = config.lab_mistake("lab.web.maxx", "unknown key").to_string();
    assert!(
        text.contains("--> --set:1:1") && text.contains("lab.web.maxx=1"),
        "{text}"
    );
    let text = config.lab_mistake("lab.web.max", "too small").to_string();
    assert!(text.contains("profiles/x.yaml:14:20"), "{text}");
}

#[test]
fn the_shipped_profiles_load() {
    for profile in ["game-day", "tier-1", "tier-2"] {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let path = format!("profiles/{profile}.yaml");
        let read =
            |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        let text = read(&path);
        let references = references(&path, &text, &[]).unwrap_or_else(|errors| panic!("{errors}"));
        let experiments = references
            .experiments
            .iter()
            .map(|r| (r.value.clone(), read(&r.value)))
            .collect();
        load(
            &Sources {
                profile: (path, text),
                experiments,
                ..Sources::default()
            },
            &[],
        )
        .unwrap_or_else(|errors| panic!("{errors}"));
    }
}

proptest! {
    #[test]
    fn no_edit_of_a_profile_panics(at in 0usize..PROFILE.len(), length in 0usize..12, with in "[a-z0-9:{}\\[\\]\"% \n-]{0,6}") {
        let end = (at + length).min(PROFILE.len());
        let text = format!("{}{with}{}", &PROFILE[..at], &PROFILE[end..]);
        if let Err(errors) = load(&sources(&text, &[("a.yaml", EXPERIMENT)]), &[]) {
            prop_assert!(!errors.mistakes().is_empty());
            prop_assert!(errors.to_string().starts_with("error: "));
        }
    }

    #[test]
    fn no_override_panics(key in "[a-z0-9.]{0,20}", value in ".{0,20}") {
        let _ = load(&sources(PROFILE, &[("a.yaml", EXPERIMENT)]), &[(key, value)]);
    }
}

#[test]
fn a_schedule_takes_some_time_and_not_for_ever() {
    for (stages, message) in [
        ("[{ tier: 1, users: 1, hold: 0s }]", "takes no time"),
        ("[{ tier: 1, users: 1, hold: 9999h }]", "longer than 31 days"),
        ("[{ tier: 1, users: 1, hold: 99999999999h }]", "longer than ten years"),
        (
            "[{ tier: 1, users: 1, hold: 400h }, { tier: 1, users: 1, hold: 400h }]",
            "longer than 31 days",
        ),
    ] {
        let errors = load(
            &sources(PROFILE, &[("a.yaml", EXPERIMENT)]),
            &set(&[("stages", stages)]),
        )
        .expect_err(stages)
        .to_string();
        assert!(errors.contains(message) && errors.contains("hint: "), "{errors}");
    }
    let month = "[{ tier: 1, users: 1, ramp: 1m, hold: 743h }]";
    assert!(load(&sources(PROFILE, &[("a.yaml", EXPERIMENT)]), &set(&[("stages", month)])).is_ok());
}

#[test]
fn a_file_listed_twice_is_not_a_name_taken_twice() {
    let twice = set(&[("chaos", "[a.yaml, a.yaml]")]);
    let errors = load(
        &sources(PROFILE, &[("a.yaml", EXPERIMENT), ("a.yaml", EXPERIMENT)]),
        &twice,
    )
    .expect_err("twice")
    .to_string();
    assert!(
        errors.contains("\"a.yaml\" is listed twice") && !errors.contains("two experiments"),
        "{errors}"
    );
    let two = set(&[("chaos", "[a.yaml, b.yaml]")]);
    let errors = load(
        &sources(PROFILE, &[("a.yaml", EXPERIMENT), ("b.yaml", EXPERIMENT)]),
        &two,
    )
    .expect_err("two of one name")
    .to_string();
    assert!(errors.contains("two experiments are called"), "{errors}");
}

#[test]
fn a_policy_is_the_one_that_is_named() {
    let files = sources(PROFILE, &[("a.yaml", EXPERIMENT)]);
    for (word, policy) in [
        ("pin", DnsPolicy::Pin),
        ("jvm-30s", DnsPolicy::Jvm),
        ("forever", DnsPolicy::Forever),
    ] {
        let config = load(&files, &set(&[("client.dns", word)])).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(config.profile.client.dns, policy, "{word}");
    }
}

#[test]
fn every_bound_on_the_generator_can_be_set() {
    let profile = format!(
        "{PROFILE}honesty: {{ lag_p99: 9ms, cpu: 61%, steal: 62%, retransmits: 63%, descriptors: 64%, ports: 65%, requests: 7 }}\n"
    );
    let files = sources(&profile, &[("a.yaml", EXPERIMENT)]);
    let config = load(&files, &[]).unwrap_or_else(|errors| panic!("{errors}"));
    let wanted = Honesty {
        lag_p99: std::time::Duration::from_millis(9),
        cpu: 0.61,
        steal: 0.62,
        retransmits: 0.63,
        descriptors: 0.64,
        ports: 0.65,
        requests: 7,
    };
    assert_eq!(config.profile.honesty, wanted);
    let overrides = set(&[("honesty.steal", "1%")]);
    let config = load(&files, &overrides).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.profile.honesty, Honesty { steal: 0.01, ..wanted });
}

/// Replacements in the profile; place, message and hint of the mistake they make.
type Mistake<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str, &'a str);

#[test]
fn mistakes_of_journeys_and_clients_are_said_with_what_to_do() {
    let feeders = "{ accounts: { csv: a.csv } }";
    let step = "journeys.order.steps.0";
    // What is set besides, what is set wrongly, and what is said.
    let table: [Mistake; 52] = [
        (&[], "feeders", "{ accounts: {} }", "names no file"),
        (&[], "feeders", "{ accounts: { csv: b.csv } }", "\"b.csv\" was not read"),
        (
            &[],
            "feeders",
            "{ accounts: { csv: a.csv, json: a.csv } }",
            "either `csv` or `json`",
        ),
        (&[], "feeders", "{ accounts: { json: a.csv } }", "list of objects"),
        (&[], "feeders", "{ Accounts: { csv: a.csv } }", "cannot name a feeder"),
        (
            &[],
            "feeders",
            "{ accounts: { csv: a.csv, order: shufled } }",
            "did you mean \"shuffled\"",
        ),
        (
            &[("feeders", feeders)],
            "journeys.order.feed",
            "acounts",
            "did you mean \"accounts\"",
        ),
        (&[], "journeys.order.feed", "accounts", "add `feeders: { accounts:"),
        (
            &[("feeders", feeders), ("journeys.order.feed", "accounts")],
            "journeys.order.steps.0.post",
            "/{{ accounts.emial }}",
            "did you mean \"accounts.email\"",
        ),
        (&[], "journeys.order.think", "log_normal(1s, 9)", "not between 0 and 3"),
        (&[], "journeys.order.pacing", "often", "is not a pacing"),
        (&[], "journeys.order.redirects", "21", "at most 20 redirects"),
        (&[], "journeys.order.auth", "{}", "names no way"),
        (
            &[],
            "journeys.order.auth",
            "{ basic: { user: 'a:b', password: c } }",
            "has no `:`",
        ),
        (
            &[],
            "journeys.order.auth",
            "{ bearer: '{{ env() }}' }",
            "`env` needs the name",
        ),
        (
            &[],
            step,
            "{ post: /, json: 1, form: { a: b } }",
            "either `json` or `form`",
        ),
        (
            &[],
            step,
            "{ post: /, multipart: { a: b }, content_type: x/y }",
            "cannot be set for `multipart`",
        ),
        (
            &[],
            step,
            "{ post: /, multipart: { a: { file: none.png } } }",
            "\"none.png\" was not read",
        ),
        (&[], step, "{ post: /, timeout: 0s }", "fails every request"),
        (&[], step, "{ tcp: {} }", "neither sends nor awaits"),
        (
            &[],
            step,
            "{ tcp: { send: a, send_hex: 0a } }",
            "either `send` or `send_hex`",
        ),
        (&[], step, "{ tcp: { send_hex: 0a0 } }", "is not hexadecimal"),
        (
            &[],
            step,
            "{ tcp: { send: a, until: { prefix: 3 } } }",
            "an answer ends in one way",
        ),
        (&[], step, "{ tcp: { send: a, port: 70000 } }", "from 1 to 65535"),
        (
            &[],
            step,
            "{ tcp: { send: a }, expect: { status: 200 } }",
            "neither status nor headers",
        ),
        (
            &[],
            step,
            "{ tcp: { send: a }, headers: { a: b } }",
            "unknown key \"headers\"",
        ),
        (
            &[(step, "{ name: ping, tcp: { send: a } }")],
            "probes",
            "[{ step: ping }]",
            "does not speak HTTP",
        ),
        (&[], step, "{ tcp: { send: a }, ledger: orders }", "is not acknowledged"),
        (&[], step, "{ sse: / }", "when its user has seen enough"),
        (&[], step, "{ sse: /, until: { events: 0 } }", "before its first event"),
        (
            &[],
            step,
            "{ sse: /, until: { events: 1 }, json: 1 }",
            "unknown key \"json\"",
        ),
        (&[], step, "{ websocket: / }", "has no steps"),
        (
            &[],
            step,
            "{ websocket: /, steps: [recieve] }",
            "did you mean \"receive\"",
        ),
        (
            &[],
            step,
            "{ websocket: /, steps: [{ send: a, ping: true }] }",
            "does one thing",
        ),
        (&[], step, "{ websocket: /, steps: [{ close: false }] }", "does nothing"),
        (
            &[],
            step,
            "{ websocket: /, steps: [{ receive: any, expect: { status: 200 } }] }",
            "a message has neither status",
        ),
        (
            &[],
            step,
            "{ websocket: /, steps: [{ send: '{{ user }}' }, { receive: any, extract: { user: { json: $.u } } }] }",
            "variable \"user\"",
        ),
        (&[], "client.retries", "{ attempts: 1 }", "from 2 to 20"),
        (&[], "client.retries", "{ backoff: 5s..1s }", "is not a backoff"),
        (&[], "client.retries", "{ jitter: ful }", "did you mean \"full\""),
        (&[], "client.retries", "{ on: [5x] }", "did you mean \"5xx\""),
        (&[], "client.connections", "per_usr", "per_user or per_request"),
        (&[], "client.idle", "0s", "connections: per_request"),
        (&[], "client.http", "3", "write 1.1 or 2"),
        (&[], "client", "{ http: 2, connections: per_user }", "a pool of so many"),
        (&[], "client", "{ http: 2, streams: 0 }", "streams is a number from 1"),
        (&[], "client.streams", "10", "write `http: 2` beside it"),
        (&[], "client.source_addresses", "[here]", "\"here\" is no address"),
        (&[], "client.tls", "{ certificate: a.csv }", "belong together"),
        (&[], "client.tls", "{ ca: a.csv }", "no file in PEM form"),
        (&[], "spacing", "poisson", "`spacing` is for `arrivals`"),
        (
            &[],
            "stages",
            "[{ tier: 1, replay: rates.csv, scale: 1e6 }]",
            "more than 100_000_000",
        ),
    ];
    let mut sources = sources(PROFILE, &[("a.yaml", EXPERIMENT)]);
    sources.files = Files::from([
        ("a.csv".to_owned(), b"email\na@x\n".to_vec()),
        ("rates.csv".to_owned(), b"seconds,arrivals\n0,1000\n9,0\n".to_vec()),
    ]);
    all_are_said(&sources, &table);
}

fn all_are_said(sources: &Sources, table: &[Mistake]) {
    for (besides, key, value, said) in table {
        let wrong = set(&[*besides, &[(*key, *value)]].concat());
        let errors = load(sources, &wrong).expect_err(value).to_string();
        assert!(errors.contains(said), "{key}={value}: {said} is not in\n{errors}");
        assert!(errors.contains("--> "), "{key}={value}: no place in\n{errors}");
    }
}

#[test]
fn classes_are_as_the_client_but_for_what_they_say() {
    let files = sources(PROFILE, &[("a.yaml", EXPERIMENT)]);
    let client = "{ dns: pin, retries: { attempts: 5 }, classes: { \
                  browser: { share: 70%, dns: honour-ttl, retries: { attempts: 2 } }, \
                  jvm: { share: 29.9%, dns: jvm-30s, request_timeout: 2s }, calm: { share: 0.1%, retries: none } } }";
    let config = load(&files, &set(&[("client", client)])).unwrap_or_else(|errors| panic!("{errors}"));
    let classes = config.profile.client.classes.iter();
    let read: Vec<_> = classes
        .map(|class| {
            let attempts = class.retries.as_ref().map(|retries| retries.attempts);
            (class.name.as_str(), class.share, class.dns, attempts)
        })
        .collect();
    assert_eq!(
        read,
        [
            ("browser", 0.7, DnsPolicy::HonourTtl, Some(2)),
            ("jvm", 0.299, DnsPolicy::Jvm, Some(5)),
            ("calm", 0.001, DnsPolicy::Pin, None)
        ]
    );
    let timeouts = config
        .profile
        .client
        .classes
        .iter()
        .map(|class| class.request_timeout.as_secs());
    assert_eq!(timeouts.collect::<Vec<_>>(), [30, 2, 30]);
    let less = set(&[
        ("client", client),
        ("client.classes.jvm.dns", "forever"),
        ("client.classes.jvm.share", "29%"),
        ("client.classes.calm.share", "1%"),
    ]);
    let config = load(&files, &less).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.profile.client.classes[1].dns, DnsPolicy::Forever);
}

#[test]
fn mistakes_of_classes_are_said_with_what_to_do() {
    let many: Vec<String> = (0..17).map(|number| format!("c{number}: {{ share: 1% }}")).collect();
    let many = format!("{{ {} }}", many.join(", "));
    let table: &[Mistake] = &[
        (
            &[],
            "client.classes",
            "{ a: { share: 60% }, b: { share: 30% } }",
            "90% together",
        ),
        (
            &[],
            "client.classes",
            "{ a: { share: 60% }, b: { share: 50% } }",
            "make them 100%",
        ),
        (&[], "client.classes", "{}", "0% together"),
        (&[], "client.classes", "[a]", "`classes` is a mapping"),
        (&[], "client.classes", "{ a: 100% }", "class \"a\" is a mapping"),
        (&[], "client.classes", "{ a: { dns: pin } }", "add `share: 50%`"),
        (
            &[],
            "client.classes",
            "{ a: { share: 0.7 }, b: { share: 30% } }",
            "a share in percent",
        ),
        (
            &[],
            "client.classes",
            "{ a: { share: 0% }, b: { share: 100% } }",
            "has no users",
        ),
        (
            &[],
            "client.classes",
            "{ a: { share: 100%, dns: honor-ttl } }",
            "did you mean \"honour-ttl\"",
        ),
        (
            &[],
            "client.classes",
            "{ a: { share: 100%, retry: {} } }",
            "known here: share, dns",
        ),
        (
            &[],
            "client.classes",
            "{ a: { share: 100%, retries: { attempts: 1 } } }",
            "from 2 to 20",
        ),
        (
            &[],
            "client.classes",
            "{ a: { share: 100%, request_timeout: 0s } }",
            "fails every request",
        ),
        (
            &[],
            "client.classes",
            "{ a: { share: 100%, retries: never } }",
            "is a mapping",
        ),
        (&[], "client.classes", &many, "17 classes are more than 16"),
    ];
    all_are_said(&sources(PROFILE, &[("a.yaml", EXPERIMENT)]), table);
}

#[test]
fn mistakes_of_compression_and_signatures_are_said_with_what_to_do() {
    let step = "journeys.order.steps.0";
    let table: &[Mistake] = &[
        (&[], "client.compression", "maybe", "write true, false or a list"),
        (&[], step, "{ get: /, compression: [gzp] }", "did you mean \"gzip\""),
        (
            &[],
            step,
            "{ post: /, body: x, compress: br }",
            "write gzip, deflate or zstd",
        ),
        (&[], step, "{ get: /, compress: gzip }", "write `compression: true`"),
        (
            &[],
            step,
            "{ websocket: /, compression: [gzip], steps: [close] }",
            "write `compression: true`",
        ),
        (
            &[],
            step,
            "{ websocket: /, headers: { Sec-WebSocket-Extensions: permessage-deflate }, steps: [close] }",
            "write `compression: true` to offer permessage-deflate",
        ),
        (
            &[],
            step,
            "{ sse: /, compression: true, until: { end: true } }",
            "\"compression\"",
        ),
        (
            &[],
            "journeys.order.auth",
            "{ sigv4: { service: s3, region: x, access_key: A, secret_key: abc } }",
            "export AWS_SECRET_ACCESS_KEY=",
        ),
        (
            &[],
            "journeys.order.auth",
            "{ sigv4: { service: 's 3', region: x, access_key: A, secret_key: '{{ env(S) }}' } }",
            "such as execute-api",
        ),
        (
            &[],
            "journeys.order.auth",
            "{ sigv4: { service: s3, region: x, access_key: '{{ unique }}', secret_key: '{{ env(S) }}' } }",
            "the same for every request",
        ),
        (
            &[],
            "journeys.order.auth",
            "{ sigv4: { region: x, access_key: A, secret_key: '{{ env(S) }}' } }",
            "add `service: execute-api`",
        ),
        (
            &[],
            "journeys.order.auth",
            "{ bearer: t, sigv4: { service: s3 } }",
            "either `bearer` or `sigv4`",
        ),
        (
            &[],
            "journeys.order.auth",
            "{ oauth2: { client_id: a, client_secret: '{{ env(S) }}' } }",
            "add `token_url: https://",
        ),
        (
            &[],
            "journeys.order.auth",
            "{ oauth2: { token_url: 'id/token', client_id: a, client_secret: '{{ env(S) }}' } }",
            "is not a URL",
        ),
        (
            &[],
            "journeys.order.auth",
            "{ oauth2: { token_url: 'https://id/t', client_id: a, client_secret: b } }",
            "export CLIENT_SECRET=",
        ),
        (
            &[],
            "journeys.order.auth",
            "{ oauth2: { token_url: 'https://id/t', client_id: '{{ unique }}', client_secret: '{{ env(S) }}' } }",
            "the same for every request",
        ),
        (
            &[],
            "journeys.order.auth",
            "{ oauth2: { token_url: 'https://id/t', client_id: a, client_secret: '{{ env(S) }}', credentials: frm } }",
            "did you mean \"form\"",
        ),
        (
            &[],
            "journeys.order.auth",
            "{ oauth2: { token_url: 'https://id/t', client_id: a, client_secret: '{{ env(S) }}', tokens: 0 } }",
            "write `shared`",
        ),
        (
            &[("stages", "[{ tier: 1, arrivals: 5/s, hold: 1m }]")],
            "journeys.order.auth",
            "{ oauth2: { token_url: 'https://id/t', client_id: a, client_secret: '{{ env(S) }}', tokens: per_user } }",
            "arrivals come once",
        ),
        (
            &[],
            "journeys.order.auth",
            "{ oauth2: { token_url: 'https://id/t', client_id: a, client_secret: '{{ env(S) }}', rate: 0/s } }",
            "what it bears",
        ),
        (
            &[],
            "journeys.order.auth",
            "{ oauth2: { token_url: 'https://id/t', client_id: a, client_secret: '{{ env(S) }}', refresh_before: 30 } }",
            "add a unit",
        ),
        (
            &[],
            "journeys.order.auth",
            "{ oauth2: { token_url: 'https://id/t', client_id: a, client_secret: '{{ env(S) }}', scop: b } }",
            "did you mean \"scope\"",
        ),
        (
            &[],
            "ledgers.orders",
            "{ read: '/orders/{{ id }}', headers: { 'a b': c } }",
            "is not a header name",
        ),
        (
            &[],
            "ledgers.orders",
            "{ read: '/orders/{{ id }}', auth: {} }",
            "names no way",
        ),
    ];
    all_are_said(&sources(PROFILE, &[("a.yaml", EXPERIMENT)]), table);
}

#[test]
fn a_profile_names_the_files_it_feeds_from_sends_and_signs_with() {
    let overrides = set(&[
        ("feeders", "{ a: { csv: a.csv }, b: { json: b.json } }"),
        (
            "journeys.order.steps",
            "[{ post: /, json: { file: no } }, { put: /, file: c.png }, \
             { post: /, multipart: { file: no, photo: { file: d.png } } }, { put: /2, file: c.png }]",
        ),
        ("client.tls", "{ ca: e.pem }"),
        ("stages", "[{ tier: 1, replay: f.csv }]"),
    ]);
    let named = references("x", PROFILE, &overrides).unwrap_or_else(|errors| panic!("{errors}"));
    let mut files: Vec<&str> = named.files.iter().map(|file| file.value.as_str()).collect();
    files.sort_unstable();
    assert_eq!(files, ["a.csv", "b.json", "c.png", "d.png", "e.pem", "f.csv"]);
}

#[test]
fn every_mistake_in_loads_is_said_with_its_place_and_a_remedy() {
    let stages = "stages: [{ tier: 1, users: 5, hold: 1m }]";
    let counted = |rest: &str| format!("{{ a: {{ iterations: {{ tier: 1, users: 5, {rest} }} }} }}");
    let cases = [
        ("{}".to_owned(), "there are no loads"),
        (format!("{{ 5m: {{ {stages} }} }}"), "\"5m\" is a duration and no name"),
        (
            "{ a: { journeys: [order] } }".to_owned(),
            "neither `stages` nor `iterations`",
        ),
        (
            format!("{{ a: {{ {stages}, iterations: {{}} }} }}"),
            "either `stages` or `iterations`",
        ),
        (
            format!("{{ a: {{ {stages}, stats: 1 }} }}"),
            "unknown key \"stats\" in load \"a\"",
        ),
        (
            format!("{{ a: {{ {stages}, journeys: [ordr] }} }}"),
            "unknown journey \"ordr\"",
        ),
        (
            format!("{{ a: {{ {stages}, journeys: [order, order] }} }}"),
            "named twice",
        ),
        (format!("{{ a: {{ {stages}, journeys: [] }} }}"), "sends nothing"),
        (
            format!("{{ a: {{ {stages}, journeys: [] }} }}"),
            "journey \"order\" is in no load",
        ),
        (
            format!("{{ a: {{ {stages}, spacing: poisson }} }}"),
            "`spacing` is for `arrivals`",
        ),
        (format!("{{ a: {{ {stages}, start_after: b }} }}"), "unknown load \"b\""),
        (
            format!("{{ a: {{ {stages}, start_after: a }} }}"),
            "a load waits for itself: a, which starts after a",
        ),
        (
            format!("{{ a: {{ {stages}, start_after: b }}, b: {{ {stages}, start_after: a + 5s }} }}"),
            "a load waits for itself: b, which starts after a, which starts after b",
        ),
        (format!("{{ a: {{ {stages}, start_after: a + soon }} }}"), "is no start"),
        (
            format!("{{ a: {{ {stages}, start_after: 750h }} }}"),
            "later than 31 days",
        ),
        (counted("within: 1m"), "either `each` or `shared`"),
        (counted("each: 1, shared: 5, within: 1m"), "either `each` or `shared`"),
        (counted("each: 0, within: 1m"), "iterations are 1 to "),
        (
            counted("each: 5_000_000_000, within: 1m"),
            "iterations are 1 to 4294967295",
        ),
        (counted("each: 5"), "`iterations` has no \"within\""),
        (counted("each: 5, within: 0s"), "no time is no time"),
        (
            "{ a: { iterations: { tier: 1, users: 0, each: 5, within: 1m } } }".to_owned(),
            "zero users",
        ),
    ];
    let profile = PROFILE.replace("stages:\n  - { tier: 1, users: 100, ramp: 1m, hold: 5m }\n", "");
    for (loads, message) in cases {
        let set = set(&[("loads", &loads)]);
        let errors = self::load(&sources(&profile, &[("a.yaml", EXPERIMENT)]), &set).expect_err(&loads);
        let mistake = errors
            .mistakes()
            .iter()
            .find(|mistake| mistake.message.contains(message));
        let mistake = mistake.unwrap_or_else(|| panic!("{loads}: {message} is not in\n{errors}"));
        assert!(mistake.place.is_some(), "{loads}: {message}");
        let plain = ["unknown key", "iterations are"];
        assert!(
            mistake.hint.is_some() || plain.iter().any(|plain| message.contains(plain)),
            "{message}"
        );
    }
    let both = set(&[("loads", &format!("{{ a: {{ {stages} }} }}"))]);
    let errors = self::load(&sources(PROFILE, &[("a.yaml", EXPERIMENT)]), &both).expect_err("both");
    assert!(
        errors
            .to_string()
            .contains("a profile with `loads` has no `stages` of its own"),
        "{errors}"
    );
}

#[test]
fn a_load_starts_when_what_it_waits_for_has_ended() {
    let profile = PROFILE.replace(
        "stages:\n  - { tier: 1, users: 100, ramp: 1m, hold: 5m }\n",
        "loads:\n  last: { start_after: batch + 30s, stages: [{ tier: 1, arrivals: 5/s, hold: 1m }] }\n  \
         batch: { start_after: first, iterations: { tier: 1, users: 5, shared: 9, within: 2m } }\n  \
         first: { start_after: 1m, stages: [{ tier: 1, users: 5, ramp: 1m, hold: 1m }, { tier: 1, users: 9, hold: 1m }] }\n",
    );
    let config = load(&sources(&profile, &[("a.yaml", EXPERIMENT)]), &[]).unwrap_or_else(|errors| panic!("{errors}"));
    let starts: Vec<u64> = config
        .profile
        .loads
        .iter()
        .map(|load| load.starts_at.as_secs())
        .collect();
    assert_eq!(starts, [390, 240, 60]);
    assert_eq!(
        config.profile.loads[1].iterations,
        Some(crate::config::loads::Iterations::Shared(9))
    );
}

#[test]
fn a_ledger_with_a_mistake_in_it_is_no_unknown_one() {
    for wrong in [
        "{ read: '/orders/{{ idd }}' }",
        "{ red: '/orders/{{ id }}' }",
        "/orders",
    ] {
        let set = set(&[("ledgers.orders", wrong)]);
        let told = load(&sources(PROFILE, &[("a.yaml", EXPERIMENT)]), &set).expect_err(wrong);
        let told = told.to_string();
        assert!(!told.contains("unknown ledger"), "{wrong}:\n{told}");
        assert!(told.contains("--set"), "{wrong}:\n{told}");
    }
}
