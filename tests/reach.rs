//! Reaching an account, through roles too: what `discover` finds in a lab is what the lab says of itself, and `doctor` finds what is ill.

use std::process::Output;

use serde_json::Value;

use crate::support::{LabProcess, tenfold};

fn discovered(lab: &LabProcess, options: &[&str]) -> Output {
    tenfold()
        .args([
            "discover",
            "--region",
            "us-east-1,eu-west-1",
            "--endpoint",
            &lab.endpoint,
        ])
        .args(options)
        .env_remove("AWS_ACCESS_KEY_ID")
        .output()
        .expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn discover_finds_what_the_lab_announces() {
    let lab = LabProcess::start("60");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("shop.yaml");
    let out = file.display().to_string();
    let done = discovered(&lab, &["--stack", "shop", "--out", &out]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let written = std::fs::read_to_string(&file).expect("the file");
    let target = tenfold::config::load_target("shop.yaml", &written).unwrap_or_else(|errors| panic!("{errors}"));
    let announced = serde_json::to_string(&lab.announcement).expect("JSON");
    let announced = tenfold::config::load_target("lab", &announced).unwrap_or_else(|errors| panic!("{errors}"));
    let sorted = |mut roles: Vec<(String, tenfold::config::RoleEntry)>| {
        // Whose calls are to fail is for the user to say: a stack has roles for everything.
        roles.retain(|(_, entry)| !matches!(entry, tenfold::config::RoleEntry::IamRole(_)));
        roles.sort_by(|one, other| one.0.cmp(&other.0));
        roles
    };
    assert_eq!(sorted(target.roles), sorted(announced.roles));
    assert_eq!(
        (target.account, target.regions, target.host, target.port),
        (announced.account, announced.regions, announced.host, announced.port)
    );
    assert_eq!(target.allow, None, "it allows nothing");
    assert_eq!(target.addresses.len(), 6, "one of each AZ of each Region: {written}");
    assert!(target.addresses.iter().all(|one| one.az.starts_with(&one.region)));
    // A file that is there already may have been corrected by hand.
    let again = discovered(&lab, &["--stack", "shop", "--out", &out]);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("it writes over no file"));
    let nowhere = discovered(&lab, &["--stack", "shop", "--out", &format!("{out}/x.yaml")]);
    let said = text(&nowhere.stderr);
    assert!(
        said.contains("cannot write ") && !said.contains("it writes over no file"),
        "{said}"
    );
}

#[test]
fn discover_says_where_it_found_nothing() {
    let lab = LabProcess::start("60");
    let done = discovered(&lab, &["--tag", "app=other"]);
    assert_eq!(done.status.code(), Some(2));
    let said = text(&done.stderr);
    assert!(said.contains("app=other") && said.contains("hint:"), "{said}");
    let done = discovered(&lab, &["--tag", "chaos=allowed"]);
    assert!(done.status.success() && text(&done.stdout).contains("auto_scaling_group: shop-web"));
}

fn doctor(options: &[&str]) -> (Option<i32>, String) {
    let done = tenfold().arg("doctor").args(options).output().expect("it runs");
    (done.status.code(), text(&done.stdout) + &text(&done.stderr))
}

fn announced(lab: &LabProcess, change: impl FnOnce(&mut Value)) -> tempfile::NamedTempFile {
    let mut announcement = lab.announcement.clone();
    change(&mut announcement);
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().expect("a file");
    std::fs::write(file.path(), announcement.to_string()).expect("written");
    file
}

#[test]
fn doctor_finds_the_game_day_fit_and_names_what_is_denied() {
    let (code, said) = doctor(&["profiles/game-day.yaml"]);
    assert_eq!(code, Some(0), "{said}");
    for line in [
        "credentials",
        "Region us-east-1",
        "permissions",
        "quotas us-east-1",
        "clock",
        "DNS",
        "entry",
        "limits",
    ] {
        let well = said.lines().any(|one| one.starts_with("ok") && one.contains(line));
        assert!(well, "{line} in\n{said}");
    }
    for (change, ill) in [
        (
            "lab.control_plane.denied=['rds:RebootDBInstance']",
            "may not use rds:RebootDBInstance",
        ),
        ("client.source_addresses=[203.0.113.9]", "cannot send from 203.0.113.9"),
        (
            "journeys.browse.steps.0.headers={x-shop: '{{ env(TENFOLD_NOT_SET) }}'}",
            "needs the variable TENFOLD_NOT_SET of the environment",
        ),
    ] {
        let (code, said) = doctor(&["profiles/game-day.yaml", "--set", change]);
        assert_eq!(code, Some(2), "{said}");
        assert!(
            said.lines().any(|line| line.starts_with("bad") && line.contains(ill)),
            "{said}"
        );
    }
}

#[test]
fn a_name_that_leads_nowhere_is_no_entry_whatever_addresses_are_known() {
    let lab = LabProcess::start("60");
    let other = announced(&lab, |target| target["entry"] = "http://shop.example.org:8080".into());
    let target = other.path().display().to_string();
    let dir = tempfile::TempDir::new().expect("a temporary directory");
    let out = dir.path().join("run");
    let run = tenfold()
        .args([
            "run",
            "profiles/game-day.yaml",
            "--set",
            "chaos=[]",
            "--target",
            &target,
            "--out",
        ])
        .arg(&out)
        .output()
        .expect("it runs");
    let said = text(&run.stderr);
    assert_eq!(run.status.code(), Some(5), "{said}");
    assert!(
        said.contains("error: cannot resolve shop.example.org") && said.contains("hint: correct `entry`"),
        "{said}"
    );
    assert!(!out.exists());
}

#[test]
fn doctor_finds_another_account_an_empty_role_and_nobody_there() {
    let lab = LabProcess::start("60");
    let other = announced(&lab, |target| {
        target["account"] = "999999999999".into();
        target["roles"]["database"]["db_instance"] = "shop-other".into();
    });
    let target = other.path().display().to_string();
    let (code, said) = doctor(&["profiles/game-day.yaml", "--target", &target]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("the target is 999999999999"), "{said}");
    assert!(said.contains("rds.failover finds nothing to hit"), "{said}");
    let missing = said.lines().any(|one| {
        one.starts_with("bad") && one.ends_with("there is no RDS instance shop-other in us-east-1, eu-west-1")
    });
    assert!(missing, "{said}");
    let endpoint = lab.endpoint.clone();
    drop(lab);
    let (code, said) = doctor(&["profiles/game-day.yaml", "--target", &target]);
    assert_eq!(code, Some(5), "{said}");
    let away = |what: &str, why: &str| {
        let told = said
            .lines()
            .any(|one| one.starts_with(&format!("away  {what} ")) && one.contains(why));
        assert!(told, "{what}: {why} in\n{said}");
    };
    away("target", "sts:GetCallerIdentity in us-east-1 failed");
    away("credentials", "not asked whose they are");
    away("Region eu-west-1", "not asked what the roles stand for there");
    away("experiments", "not asked what their faults would hit");
    away("quotas us-east-1", "not asked whether");
    away("permissions", "actions are allowed (iam:SimulatePrincipalPolicy)");
    away("DNS", "shop.example.com");
    assert!(said.contains("clock "), "{said}");
    assert!(
        said.contains(&format!(
            "hint: nobody answers at {endpoint}; start it, or correct `endpoint`"
        )),
        "{said}"
    );
    let planned = tenfold()
        .args(["plan", "profiles/game-day.yaml", "--target", &target])
        .output();
    let planned = planned.expect("it runs");
    let said = text(&planned.stderr);
    assert_eq!(planned.status.code(), Some(5), "{said}");
    assert!(
        said.contains("\nhint: check `regions` (us-east-1) and `endpoint` of the target"),
        "{said}"
    );
}

fn connect(endpoint: &str, assume: &[&str]) -> tenfold::aws::ConnectOptions {
    tenfold::aws::ConnectOptions {
        endpoint: Some(endpoint.to_owned()),
        regions: vec!["us-east-1".to_owned()],
        pace: tenfold::units::Pace::REAL,
        assume: assume.iter().map(|role| (*role).to_owned()).collect(),
        credentials: Some(("own".to_owned(), "secret".to_owned())),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_of_roles_ends_in_the_account_and_is_renewed_before_it_expires() {
    use tenfold::lab::{LabConfig, LabOptions, start};
    // The SDK renews credentials ten seconds before they expire, so these last two.
    let config =
        LabConfig::from_json(serde_json::json!({"control_plane": {"session": "12s"}})).expect("a configuration");
    let options = LabOptions::at_pace(tenfold::units::Pace::new(60.0).expect("a pace"));
    let (_lab, announced) = start(config, options).await.expect("a lab");
    let chain = [
        "arn:aws:iam::999988887777:role/hub",
        "arn:aws:iam::111122223333:role/ops/game-day",
    ];
    let clients = tenfold::aws::Clients::connect(&connect(&announced.endpoint, &chain)).await;
    let reader = clients.reader();
    let caller = reader.caller("us-east-1").await.expect("it answers");
    assert_eq!(caller.arn, "arn:aws:sts::111122223333:assumed-role/game-day/tenfold");
    assert_eq!(caller.account, "111122223333");
    // Longer than one session lasts: an expired token would be refused.
    let began = std::time::Instant::now();
    while began.elapsed() < std::time::Duration::from_secs(15) {
        reader
            .group("us-east-1", "shop-web")
            .await
            .expect("the session is renewed")
            .expect("the group");
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    let short = tenfold::aws::Clients::connect(&connect(&announced.endpoint, &chain[..1])).await;
    let caller = short.reader().caller("us-east-1").await.expect("it answers");
    assert_eq!(caller.account, "999988887777");
}

/// The way to one Region's control plane is cut while a fault of the run is in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_outlives_the_control_plane_of_its_region_and_keeps_the_fault_until_it_answers() {
    use tenfold::lab::{LabConfig, LabOptions, start};
    let pace = tenfold::units::Pace::new(120.0).expect("a pace");
    let config = LabConfig::from_json(serde_json::json!({})).expect("a configuration");
    let (lab, announced) = start(config, LabOptions::at_pace(pace)).await.expect("a lab");
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("it is written");
    write("target.json", &serde_json::to_string(&announced).expect("JSON"));
    write(
        "harm.yaml",
        "name: harm\nhypothesis: h\nfaults:\n\
         \x20 - { fault: autoscaling.suspend, role: web, processes: [AZRebalance], at: 30s, lasts: 8m }\nsettle: 30s\n",
    );
    write(
        "profile.yaml",
        "name: cut\ntarget: target.json\nchaos: [harm.yaml]\nhonesty: { requests: 1, steal: 100% }\n\
         journeys: { browse: { think: 1s..2s, steps: [{ get: /products/1 }] } }\n\
         stages: [{ tier: 1, users: 5, hold: 12m }]\n",
    );
    let tenfold = |arguments: &[&str]| {
        let mut command = tokio::process::Command::from(tenfold());
        command
            .current_dir(folder.path())
            .env("XDG_STATE_HOME", folder.path().join("state"))
            .args(arguments)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        command
    };
    let planned = tenfold(&["plan", "profile.yaml"]).output().await.expect("it runs");
    let planned = text(&planned.stdout);
    let hash = planned.lines().last().and_then(|line| line.strip_prefix("hash "));
    let hash = hash.unwrap_or_else(|| panic!("no hash in {planned}"));
    let run = tenfold(&["run", "profile.yaml", "--out", "run", "--approve", hash])
        .spawn()
        .expect("it starts");
    let journal = folder.path().join("run/journal.jsonl");
    let wrote = |record: &str| {
        let text = std::fs::read_to_string(&journal).unwrap_or_default();
        // Its claim of the Region that answers is given back whatever becomes of the fault.
        text.lines()
            .any(|line| line.contains(&format!("\"{record}\"")) && line.contains("\"harm\""))
    };
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !wrote("observed") {
        assert!(std::time::Instant::now() < patience, "the fault did not come");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let reachable = |yes: bool| {
        let mut world = lab.world();
        world.regions.get_mut("us-east-1").expect("a Region").unreachable = !yes;
    };
    reachable(false);
    let cut = std::time::Instant::now();
    let output = run.wait_with_output().await.expect("it ends");
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{stderr}");
    assert!(cut.elapsed().as_secs() >= 5, "the schedule went on to its end");
    assert!(stderr.contains("harm[0] is still in the world"), "{stderr}");
    assert!(stderr.contains("hint: undo it with: tenfold revert "), "{stderr}");
    assert!(
        stderr.contains("hint: `aws` commands go there with: export AWS_ENDPOINT_URL=http://127.0.0.1:"),
        "{stderr}"
    );
    assert!(wrote("revert_failed") && !wrote("reverted"));
    let recording = std::fs::read_to_string(folder.path().join("run/recording.json")).expect("it was saved");
    assert!(recording.contains("aws_call_failed"), "what did not answer is told");
    // Nobody is told that it is undone while nobody can know.
    let revert = tenfold(&["revert", "run"]).output().await.expect("it runs");
    assert_eq!(revert.status.code(), Some(6), "{revert:?}");
    reachable(true);
    let revert = tenfold(&["revert", "run"]).output().await.expect("it runs");
    assert_eq!(revert.status.code(), Some(0), "{revert:?}");
    assert!(wrote("reverted"));
    let world = lab.world();
    let group = &world.regions["us-east-1"].groups["shop-web"];
    assert!(group.suspended.is_empty(), "{:?}", group.suspended);
    assert!(
        group.tags.keys().all(|key| !key.starts_with("tenfold:")),
        "{:?}",
        group.tags
    );
}
