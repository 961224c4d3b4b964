//! Mistakes in target and experiment files are told before anything is called: exit 2, the file, the line, the remedy.

use std::io::ErrorKind;
use std::net::TcpListener;

use tempfile::TempDir;

use crate::support::tenfold;

const TARGET: &str = "\
name: shop
account: \"111122223333\"
regions: [us-east-1, eu-west-1]
entry: http://shop.example.com
endpoint: ENDPOINT
roles:
  web: { auto_scaling_group: shop-web }
  database: { db_instance: shop-db }
runner: { instance: i-0123456789abcdef0 }
allow:
  tag: { chaos: allowed }
  share: 34%
  count: 2
  healthy_min: 1
  zone: Europe/Berlin
  windows: [ mon-fri 09:00-16:00 ]
  not_on: [ 2026-12-24..2027-01-02 ]
";

const EXPERIMENT: &str = "\
name: harm
hypothesis: nobody notices
faults:
  - fault: ec2.stop
    role: web
    share: 34%
    at: 1m
    lasts: 1m
settle: 1m
stop_when: [ errors > 90% for 1m ]
";

const PROFILE: &str = "\
name: bad
target: target.yaml
chaos: [harm.yaml]
journeys: { browse: { think: 1s, steps: [{ get: / }] } }
stages: [{ tier: 1, users: 1, hold: 5m }]
";

/// What is written instead of what, the line that is named, and what is said of it.
type Case = (&'static str, &'static str, usize, &'static str);

const TARGETS: &[Case] = &[
    ("\"111122223333\"", "1111-2222", 2, "is not an AWS account id"),
    ("[us-east-1, eu-west-1]", "[]", 3, "there are no Regions"),
    ("ENDPOINT", "127.0.0.1:4000", 5, "write it like http://127.0.0.1:4000"),
    (
        "auto_scaling_group",
        "auto_scaling_gruop",
        7,
        "did you mean \"auto_scaling_group\"",
    ),
    ("i-0123456789abcdef0", "web-1", 9, "is no id of an AWS instance"),
    ("allow:", "alow:", 10, "did you mean \"allow\""),
    ("{ chaos: allowed }", "chaos", 11, "`tag` names one tag"),
    ("share: 34%", "share: 34", 12, "is not a share in percent"),
    ("count: 2", "count: 0", 13, "`count` is at least one"),
    ("healthy_min: 1", "healthy_min: 0", 14, "`healthy_min` is at least one"),
    (
        "Europe/Berlin",
        "Europe/Belin",
        15,
        "is no time zone of the IANA database",
    ),
    ("mon-fri 09:00-16:00", "weekdays 9-16", 16, "is no window"),
    ("[ mon-fri 09:00-16:00 ]", "[]", 16, "nothing is ever allowed"),
    (
        "2026-12-24..2027-01-02",
        "2027-01-02..2026-12-24",
        17,
        "ends before it begins",
    ),
];

const EXPERIMENTS: &[Case] = &[
    ("ec2.stop", "ec2.stpo", 4, "did you mean \"ec2.stop\""),
    ("role: web", "role: wbe", 5, "unknown role \"wbe\""),
    (
        "role: web",
        "role: database",
        5,
        "the fault needs an Auto Scaling group",
    ),
    (
        "share: 34%",
        "share: 50%",
        6,
        "a share of 50% is more than the 34% that the target allows",
    ),
    (
        "ec2.stop",
        "rds.failover_global",
        4,
        "does not say that acknowledged writes may be lost for ever",
    ),
    (
        "fault: ec2.stop\n    role: web\n    share: 34%\n    at: 1m\n    lasts: 1m",
        "fault: rds.failover_global\n    role: web\n    data_may_be_lost: false",
        6,
        "may lose acknowledged writes",
    ),
    (
        "role: web",
        "role: web\n    region: ap-south-1",
        6,
        "Regions of the target: us-east-1, eu-west-1",
    ),
    (
        "fault: ec2.stop\n    role: web\n    share: 34%",
        "fault: network.deny_az\n    role: web\n    az: eu-west-1a",
        6,
        "\"eu-west-1a\" is no AZ of us-east-1",
    ),
    (
        "fault: ec2.stop\n    role: web\n    share: 34%",
        "fault: api.errors\n    role: app\n    error: throttle\n    calls: 50%\n    operations: [DescribeInstance]",
        8,
        "did you mean \"DescribeInstances\"",
    ),
    ("at: 1m", "at: noon", 7, "is no point in time"),
    ("at: 1m", "at: 10m", 7, "the schedule ends at 5m"),
    ("lasts: 1m", "lasts: 0s", 8, "what lasts no time breaks nothing"),
    ("    lasts: 1m\n", "", 4, "is reverted, but `lasts` does not say when"),
    (
        "lasts: 1m",
        "lasts: 1m\n    irreversible: true",
        9,
        "ec2.stop can be reverted",
    ),
    ("errors > 90% for 1m", "errors > 90%", 10, "the line ends where"),
    ("errors > 90% for 1m", "alarm", 10, "names no alarm"),
];

/// Runs with one thing changed in one of the files, against an endpoint that must not hear of it.
fn refused(file: &str, (instead, written, line, said): &Case) {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", server.local_addr().expect("an address"));
    let dir = TempDir::new().expect("a directory");
    for (name, text) in [
        ("target.yaml", TARGET),
        ("harm.yaml", EXPERIMENT),
        ("profile.yaml", PROFILE),
    ] {
        let mut text = text.to_owned();
        if name == file {
            assert!(text.contains(instead), "{instead}");
            text = text.replacen(instead, written, 1);
        }
        std::fs::write(dir.path().join(name), text.replace("ENDPOINT", &endpoint)).expect("it is written");
    }
    for command in [
        &["run", "profile.yaml", "--out", "run"][..],
        &["plan", "profile.yaml"],
        &["validate", "profile.yaml"],
    ] {
        let output = tenfold()
            .current_dir(dir.path())
            .args(command)
            .output()
            .expect("tenfold runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{written}: {stderr}");
        let place = format!("{file}:{line}:");
        for expected in [place.as_str(), said] {
            assert!(stderr.contains(expected), "{written}: {expected} is not in\n{stderr}");
        }
        let remedy = ["hint:", ", such as "].iter().any(|remedy| stderr.contains(remedy));
        assert!(remedy, "{written}: no remedy in\n{stderr}");
    }
    server.set_nonblocking(true).expect("it need not wait");
    let heard = server.accept().map_err(|error| error.kind());
    assert!(matches!(heard, Err(ErrorKind::WouldBlock)), "{written}: AWS was asked");
    assert!(!dir.path().join("run").exists(), "{written}");
}

#[test]
fn bad_target_files_are_refused_with_file_line_and_remedy() {
    TARGETS.iter().for_each(|case| refused("target.yaml", case));
}

#[test]
fn bad_experiment_files_are_refused_with_file_line_and_remedy() {
    EXPERIMENTS.iter().for_each(|case| refused("harm.yaml", case));
}

#[test]
fn what_an_experiment_names_and_the_lab_has_not_is_refused_before_the_lab_starts() {
    let dir = TempDir::new().expect("a directory");
    std::fs::write(
        dir.path().join("profile.yaml"),
        PROFILE.replace("target: target.yaml\n", ""),
    )
    .expect("written");
    let deny = "fault: network.deny_az\n    role: web\n    az: us-east-1a";
    let cases: [(&str, &str, usize, &str); 4] = [
        (
            "role: web",
            "role: wbe",
            5,
            "roles of the target \"lab\": app, database, dns, web",
        ),
        (
            "role: web",
            "role: web\n    region: ap-south-1",
            6,
            "Regions of the target: us-east-1, eu-west-1",
        ),
        (
            "us-east-1a",
            "us-east-1d",
            6,
            "AZs of the target there: us-east-1a, us-east-1b, us-east-1c",
        ),
        ("us-east-1a", "us-east-1a", 0, ""),
    ];
    for (instead, written, line, said) in cases {
        let text = EXPERIMENT.replace("fault: ec2.stop\n    role: web\n    share: 34%", deny);
        assert!(text.contains(instead), "{instead}");
        std::fs::write(dir.path().join("harm.yaml"), text.replacen(instead, written, 1)).expect("it is written");
        let output = tenfold()
            .current_dir(dir.path())
            .args(["validate", "profile.yaml"])
            .output()
            .expect("tenfold runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        if line == 0 {
            assert_eq!(output.status.code(), Some(0), "{stderr}");
            continue;
        }
        assert_eq!(output.status.code(), Some(2), "{written}: {stderr}");
        assert!(
            stderr.contains(&format!("harm.yaml:{line}:")) && stderr.contains(said),
            "{stderr}"
        );
    }
}
