//! A run outside its own lab is approved by the hash of what it would do, and by no other.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Account, REGION, SUSPEND, contains, has, records};

#[test]
fn approval_is_demanded_outside_the_lab_and_the_right_hash_runs() {
    let account = Account::with(SUSPEND);
    let stderr = account.refused(&[]);
    contains(
        &stderr,
        &[
            "the run would inject a fault into account 111122223333, and nobody has approved that",
            "hint: look at what it would do with: tenfold plan profile.yaml",
            "--approve",
        ],
    );
    let hash = account.hash();
    assert!(
        !stderr.contains(&hash),
        "a refusal must not hand out what it demands: {stderr}"
    );
    let wrong = "0".repeat(64);
    for given in [wrong.as_str(), &hash[..63], "yes"] {
        let stderr = account.refused(&["--approve", given]);
        contains(
            &stderr,
            &["is not what was approved", "hint:", "tenfold plan profile.yaml"],
        );
    }
    assert_eq!(account.hash(), hash, "an unchanged account gives the same hash");
    let (code, stdout, stderr) = account.said(&["run", "profile.yaml", "--out", "run", "--approve", &hash]);
    assert!([0, 3].contains(&code), "{code}: {stdout}{stderr}");
    let journal = account.path("run/journal.jsonl");
    assert!(
        has(&journal, "observed") && has(&journal, "reverted"),
        "{:#?}",
        records(&journal)
    );
    contains(
        &stdout,
        &[&format!(
            "tenfold run profile.yaml --pace 120 --seed 1 --approve {hash}"
        )],
    );
    // The account is as it was, and so is what would be done to it.
    assert_eq!(account.hash(), hash);
}

/// AWS gives the association of a subnet another id each time, and so with each revert.
#[test]
fn an_approval_outlives_the_run_that_it_was_for() {
    let account = Account::with("{ fault: network.deny_region, role: web, at: 30s, lasts: 30s }");
    let hash = account.hash();
    let (code, stdout, stderr) = account.said(&["run", "profile.yaml", "--out", "run", "--approve", &hash]);
    assert!([0, 3].contains(&code), "{code}: {stdout}{stderr}");
    assert!(has(&account.path("run/journal.jsonl"), "reverted"));
    assert_eq!(account.hash(), hash);
}

#[test]
fn what_would_be_refused_as_a_whole_loads_nothing() {
    let account = Account::with(SUSPEND);
    let hash = account.hash();
    account.target(|target| target["roles"]["web"] = json!({ "auto_scaling_group": "nowhere" }));
    let (_, plan, _) = account.said(&["plan", "profile.yaml"]);
    let empty = plan
        .lines()
        .last()
        .and_then(|line| line.strip_prefix("hash "))
        .expect("a hash");
    let stderr = account.refused(&["--approve", empty]);
    contains(
        &stderr,
        &[
            "harm[0] would be refused now: there is no Auto Scaling group nowhere in us-east-1",
            "hint:",
        ],
    );
    account.target(|target| target["account"] = json!("999999999999"));
    let said = "the credentials belong to account 111122223333, the target is 999999999999";
    contains(&account.refused(&["--approve", &hash]), &[said]);
    let (code, stdout, stderr) = account.said(&["plan", "profile.yaml"]);
    assert!(code == 2 && !stdout.contains("hash "), "{code}: {stdout}");
    contains(&stderr, &[said]);
}

#[test]
fn a_plan_without_faults_needs_no_approval() {
    let account = Account::with(SUSPEND);
    let (code, stdout, _) = account.said(&["plan", "profile.yaml", "--set", "chaos=[]"]);
    assert!(code == 0 && !stdout.contains("hash "), "{stdout}");
    let arguments = [
        "run",
        "profile.yaml",
        "--out",
        "run",
        "--set",
        "chaos=[]",
        "--set",
        "stages.0.hold=1m",
    ];
    let (code, stdout, stderr) = account.said(&arguments);
    assert!([0, 3].contains(&code), "{code}: {stdout}{stderr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_changed_since_its_approval_is_refused_with_what_changed() {
    let account = Account::with("{ fault: ec2.stop, role: web, share: 34%, at: 30s, lasts: 1m }");
    let hash = account.hash();
    let (reader, writer) = account.clients().await;
    let group = reader
        .group(REGION, "shop-web")
        .await
        .expect("AWS answers")
        .expect("a group");
    let gone = group.members[0].id.clone();
    writer
        .terminate_instances(REGION, std::slice::from_ref(&gone))
        .await
        .expect("it is terminated");
    loop {
        let group = reader
            .group(REGION, "shop-web")
            .await
            .expect("AWS answers")
            .expect("a group");
        if group
            .members
            .iter()
            .all(|member| member.id != gone || !member.in_service)
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let stderr = account.refused(&["--approve", &hash]);
    contains(
        &stderr,
        &[
            "what the run would do to account 111122223333 is not what was approved",
            &format!("faults.harm[0].chosen_from: without {gone}"),
            "hint: look at it again with: tenfold plan profile.yaml",
        ],
    );
}

#[test]
fn whatever_a_run_would_do_differently_has_another_hash() {
    let account = Account::with(SUSPEND);
    let hash = account.hash();
    let same = json!({ "tag": { "chaos": "allowed" }, "share": "34%" });
    for (change, allow) in [
        ("experiments.harm.faults.0.lasts=40s", same.clone()),
        ("experiments.harm.faults.0.at=31s", same.clone()),
        ("experiments.harm.faults.0.processes=[Launch]", same.clone()),
        ("experiments.harm.faults.0.region=eu-west-1", same.clone()),
        ("seed=1", json!({ "tag": { "chaos": "allowed" }, "share": "33%" })),
    ] {
        account.target(|target| target["allow"] = allow.clone());
        let (_, stdout, stderr) = account.said(&["plan", "profile.yaml", "--set", change]);
        let ends = format!("hash {hash}\n");
        assert!(
            stdout.contains("\nhash ") && !stdout.ends_with(&ends),
            "{change}: {stdout}{stderr}"
        );
    }
    // How many users there are is no matter of the account.
    account.target(|target| target["allow"] = same.clone());
    let (_, stdout, _) = account.said(&["plan", "profile.yaml", "--set", "stages.0.users=7"]);
    assert!(stdout.ends_with(&format!("hash {hash}\n")), "{stdout}");
    let (_, stdout, _) = account.said(&["plan", "profile.yaml", "--json"]);
    let plan: Value = serde_json::from_str(&stdout).expect("the plan is JSON");
    assert_eq!(plan["hash"], hash.as_str());
}
