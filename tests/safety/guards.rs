//! What the guards refuse, as a dry run tells it.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Account, REGION, SUSPEND, contains, said};
use crate::chaos_in_lab::lose_an_instance;

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
fn what_is_not_marked_as_allowed_is_told_before_any_load() {
    let never = |target: &mut Value| target["allow"] = json!({ "tag": { "chaos": "never" } });
    for (harm, why) in [
        (
            "{ fault: ec2.stop, role: web, share: 34%, at: 30s, lasts: 1m }",
            "no instance in service of group shop-web is tagged chaos=never",
        ),
        (SUSPEND, "shop-web is not tagged chaos=never"),
        (
            "{ fault: rds.failover, role: database, at: 30s, irreversible: true }",
            "shop-db is not tagged chaos=never",
        ),
        (
            "{ fault: network.deny_region, role: web, at: 30s, lasts: 1m }",
            " are not tagged chaos=never",
        ),
    ] {
        let account = Account::with(harm);
        account.target(never);
        let hash = account.hash_of(&[]);
        let stderr = account.refused(&["--approve", &hash]);
        contains(
            &stderr,
            &["error: harm[0] would be refused: ", why, "\nhint: its owner marks"],
        );
        let (code, stdout, _) = account.said(&["plan", "profile.yaml"]);
        assert_eq!(code, 0, "{stdout}");
        contains(&stdout, &["    refused as things are: ", why]);
        assert!(!stdout.contains("the target has nothing of this kind"), "{stdout}");
        let (code, stdout, _) = account.said(&["doctor", "profile.yaml"]);
        assert_eq!(code, 2, "{stdout}");
        let told = |line: &str| line.starts_with("bad   experiment harm") && line.contains(why);
        assert!(stdout.lines().any(told), "{stdout}");
    }
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
    account.experiment(
        "name: harm\nhypothesis: h\nfaults:\n  - { fault: network.cross_region, role: web, to: eu-west-1, at: 30s, lasts: 1m }\nsettle: 30s\n",
    );
    contains(&refusal(), &["and at least 4 must (`allow.healthy_min`); in eu-west-1"]);
    account.target(|target| {
        target["allow"] = allowed();
        target["runner"] = json!({ "subnet": id });
    });
    contains(
        &refusal(),
        &[&format!("this run itself is in {id}, and would cut itself off")],
    );
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

/// Two faults that the plan sees apart: the second comes when the first is done, and while its group is being healed.
#[test]
fn a_dry_run_counts_what_the_runs_other_faults_take() {
    let account = Account::with(SUSPEND);
    let terminate = "{ fault: ec2.terminate, role: web, share: 34%, at: 30s, irreversible: true }";
    let with = |more: &str| {
        account.experiment(&format!(
            "name: harm\nhypothesis: h\nfaults:\n  - {terminate}\n{more}settle: 30s\n"
        ));
    };
    account.target(|target| target["allow"]["healthy_min"] = json!(2));
    with("");
    let (code, stdout, stderr) = account.said(&["run", "profile.yaml", "--dry-run"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let hit = stdout.lines().find_map(|line| line.trim().strip_prefix("would hit "));
    let (_, stdout, _) = account.said(&["plan", "profile.yaml", "--json"]);
    let plan: Value = serde_json::from_str(&stdout).expect("the plan is JSON");
    let group = &plan["target"]["inventory"]["regions"][REGION]["groups"]["shop-web"];
    let mut instances = group["instances"].as_array().expect("instances").iter();
    let other = instances.find(|one| one["id"].as_str() != hit).expect("another one");
    let az = other["az"].as_str().expect("an AZ");
    let deny = |at: &str| format!("  - {{ fault: network.deny_az, role: dns, az: {az}, at: {at}, lasts: 20s }}\n");
    with(&deny("1m"));
    let (code, stdout, stderr) = account.said(&["run", "profile.yaml", "--dry-run"]);
    assert_eq!(code, 2, "{stdout}{stderr}");
    contains(
        &stdout,
        &[
            "harm[1] network.deny_az on dns in us-east-1: 1m to 1m20s",
            "  refused now: 1 of the 2 healthy targets of group shop-web would stay",
            "and at least 2 must (`allow.healthy_min`); of this run, harm[0] hit the rest already",
            "1 of 2 faults would be refused now",
        ],
    );
    // By then the group may have replaced what was terminated.
    with(&deny("2m10s"));
    let (code, stdout, stderr) = account.said(&["run", "profile.yaml", "--dry-run"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    // What it sees of two at the same time, the plan refuses by itself.
    account.experiment(
        "name: harm\nhypothesis: h\nfaults:\n\
         \x20 - { fault: network.deny_az, role: web, az: us-east-1a, at: 1m, lasts: 20s }\n\
         \x20 - { fault: network.deny_az, role: dns, az: us-east-1b, at: 70s, lasts: 20s }\nsettle: 30s\n",
    );
    let said = "1 of the instances of group shop-web would stay in service under network.deny_az on web and network.deny_az on dns";
    let (code, _, stderr) = account.said(&["plan", "profile.yaml"]);
    assert_eq!(code, 2, "{stderr}");
    contains(&stderr, &[said, "harm.yaml:5:", "hint:"]);
    contains(&account.refused(&[]), &[said, "harm.yaml:5:"]);
}

#[test]
fn a_dry_run_checks_an_approval_as_the_run_does() {
    let account = Account::with(SUSPEND);
    let hash = account.hash();
    let dry_run = |hash: &str| account.said(&["run", "profile.yaml", "--dry-run", "--approve", hash]);
    let (code, stdout, stderr) = dry_run(&hash);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let (code, stdout, stderr) = dry_run(&"0".repeat(64));
    assert_eq!(code, 2, "{stdout}{stderr}");
    contains(
        &stdout,
        &[
            "the run would not begin now: what the run would do to account 111122223333 is not what was approved",
            "hint: look at it again with: tenfold plan profile.yaml",
            "would call autoscaling:SuspendProcesses",
        ],
    );
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_degraded_already_is_not_hit() {
    let account = Account::with("{ fault: ec2.stop, role: web, share: 34%, at: 30s, lasts: 1m }");
    let (reader, writer) = account.clients().await;
    let refusal = || {
        let (code, stdout, stderr) = account.said(&["run", "profile.yaml", "--dry-run"]);
        assert_eq!(code, 2, "{stdout}{stderr}");
        stdout
    };
    lose_an_instance(&reader, &writer).await;
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
