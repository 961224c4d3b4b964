//! What a run claims before it breaks anything keeps every other away, of whichever machine, though neither has anything
//! in the world.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;
use tenfold::plan::{Fault, Plan};
use tenfold::run::chaos::{ChaosError, Claims, Journal, RunHeader, in_account, left_in_world};

use super::{Account, SUSPEND, contains, records, said, signal, wait_for};
use crate::chaos_in_lab::{Bench, experiment};
use crate::kill_matrix::{difference, quick, state};

/// A fault that comes after twenty minutes, so that nothing is in the world before.
const LATE: &str = "{ fault: autoscaling.suspend, role: web, processes: [AZRebalance], at: 20m, lasts: 1m }";
const HOURS: [&str; 2] = ["--set", "stages.0.hold=2h"];

fn has_claimed(account: &Account, out: &str) -> bool {
    let calls = records(&account.path(&format!("{out}/journal.jsonl")));
    let claims = calls
        .iter()
        .filter(|one| one["record"] == "call" && one["error"].is_null());
    claims.count() == 2
}

#[test]
fn a_run_of_another_machine_is_seen_though_it_has_nothing_in_the_world_yet() {
    let account = Account::with(LATE);
    let hash = account.hash_of(&HOURS);
    let run = |out: &str, state: &str| {
        let mut command =
            account.tenfold(&[&["run", "profile.yaml", "--out", out, "--approve", &hash], &HOURS[..]].concat());
        command
            .env("XDG_STATE_HOME", account.path(state))
            .spawn()
            .expect("tenfold starts")
    };
    let first = run("first", "here");
    wait_for("the claims", || has_claimed(&account, "first"));
    let (code, _, stderr) = said(run("second", "there").wait_with_output().expect("it ends"));
    assert_eq!(code, 2, "{stderr}");
    contains(
        &stderr,
        &[
            "another run is under way, perhaps on another machine, or died in account 111122223333: the claim of run ",
            " of machine ",
            "-1, by shop-web, expires 20",
            "hint: two runs would measure each other's faults; wait for its end",
        ],
    );
    assert!(!account.path("second").exists(), "it began, or left something");
    // Who reverts what the run has in the world does not end its claim.
    wait_for("the load", || account.said(&["control", "first", "status"]).0 == 0);
    let (code, stdout, _) = account.said(&["revert", "first"]);
    assert!(code == 2 && !stdout.contains("@claim"), "{stdout}");
    let (code, stdout, stderr) = account.said(&["revert", "--scan", "--target", "target.json"]);
    assert_eq!(code, 6, "{stdout}{stderr}");
    contains(&stdout, &["found: the claim of run ", "on eu-west-1, by shop-web"]);
    contains(
        &stderr,
        &[
            "has not expired and its run may go on",
            "`aws autoscaling delete-tags --region us-east-1 --tags \
             ResourceId=shop-web,ResourceType=auto-scaling-group,Key=tenfold:mark:0.@claim-",
        ],
    );
    signal(&first, Signal::SIGTERM);
    let (code, _, stderr) = said(first.wait_with_output().expect("it ends"));
    assert_eq!(code, 130, "{stderr}");
    let (code, stdout, stderr) = account.said(&["revert", "--scan", "--target", "target.json"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    contains(&stdout, &["is marked as a run's"]);
    let third = run("third", "there");
    wait_for("the claims", || has_claimed(&account, "third"));
    signal(&third, Signal::SIGTERM);
    assert_eq!(said(third.wait_with_output().expect("it ends")).0, 130);
}

#[test]
fn a_run_whose_claim_is_taken_off_stops_and_says_so() {
    let account = Account::with(LATE);
    let hash = account.hash_of(&HOURS);
    let arguments = [&["run", "profile.yaml", "--out", "run", "--approve", &hash], &HOURS[..]].concat();
    let run = account.tenfold(&arguments).spawn().expect("tenfold starts");
    wait_for("the load", || account.said(&["control", "run", "status"]).0 == 0);
    // Twice as long as a claim is left unseen.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(
        account.said(&["control", "run", "status"]).0,
        0,
        "nobody has touched it"
    );
    let (code, stdout, stderr) = account.said(&["revert", "--scan", "--target", "target.json", "--all"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let (code, stdout, stderr) = said(run.wait_with_output().expect("it ends"));
    assert_eq!(code, 4, "{stdout}{stderr}");
    contains(
        &stdout,
        &[
            "somebody has taken this run's claim of ",
            "-1 off shop-web, so another may have begun",
        ],
    );
    let (code, stdout, stderr) = account.said(&["revert", "--scan", "--target", "target.json"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
}

/// Who holds the schedule stays longer than anybody planned.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_is_renewed_while_its_run_goes_on() {
    let bench = Bench::start(quick(), 600.0).await;
    let mut claims = claims(&bench, &plan(&bench));
    claims.make().await.expect("nobody else is there");
    let expires = async || {
        let found = in_account(&bench.reader, bench.plan.pace).await.expect("AWS answers");
        assert_eq!(found.left.len(), 2, "{found:?}");
        found.left[0].expires.expect("a time")
    };
    let first = expires().await;
    let kept = tokio::time::timeout(Duration::from_secs(8), claims.keep(std::future::pending())).await;
    assert!(kept.is_err(), "{kept:?}");
    // More than an hour of cloud time has gone by.
    assert!(bench.clock.clock().cloud_unix() > first, "it did not last");
    assert!(expires().await > bench.clock.clock().cloud_unix());
    assert_eq!(claims.release().await, []);
}

/// What would come first is not for two machines' clocks to say, so either both withdraw, or the later one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_that_begin_together_never_do_both_go_on() {
    let bench = Bench::start(quick(), 120.0).await;
    let before = state(&bench.lab.world(), false);
    let plan = plan(&bench);
    let (mut both, mut one) = (0, 0);
    for apart in [0, 0, 2, 8, 30, 120].map(Duration::from_secs) {
        let (mut first, mut second) = (claims(&bench, &plan), claims(&bench, &plan));
        let later = async {
            bench.clock.clock().sleep_cloud(apart).await;
            second.make().await
        };
        let (this, that) = tokio::join!(first.make(), later);
        match (&this, &that) {
            (Ok(()), Ok(())) => panic!("both go on, {apart:?} apart"),
            (Err(_), Err(_)) => both += 1,
            (Ok(()), Err(why)) | (Err(why), Ok(())) => {
                one += 1;
                assert!(matches!(why, ChaosError::Claimed(_)), "{why}");
                let marked = difference(&before, &state(&bench.lab.world(), false));
                assert!(marked.contains("tenfold:mark:"), "{marked}");
            }
        }
        for claims in [first, second] {
            assert_eq!(claims.release().await, []);
        }
        let left = difference(&before, &state(&bench.lab.world(), false));
        assert!(left.is_empty(), "{left}");
    }
    assert!(both > 0 && one > 0, "{both} times both withdrew, {one} times one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_claimed_half_way_is_given_back() {
    let bench = Bench::start(quick(), 1.0).await;
    let before = state(&bench.lab.world(), false);
    let mut claims = claims(&bench, &plan(&bench));
    // Whatever has been written by then; it is looked around only after five seconds.
    let made = tokio::time::timeout(Duration::from_millis(200), claims.make()).await;
    assert!(made.is_err(), "{made:?}");
    assert_eq!(claims.release().await, []);
    let left = difference(&before, &state(&bench.lab.world(), false));
    assert!(left.is_empty(), "{left}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_cannot_be_given_back_is_told_with_how_to_end_it() {
    let mut config = quick();
    config["control_plane"]["misbehave"] = json!([{ "action": "DeleteTags", "times": 1000, "answer": "denied" }]);
    let bench = Bench::start(config, 240.0).await;
    let mut claims = claims(&bench, &plan(&bench));
    claims.make().await.expect("nobody else is there");
    let left = claims.release().await;
    let told: BTreeMap<String, String> = left
        .into_iter()
        .map(|(fault, left)| (fault.to_string(), left))
        .collect();
    assert_eq!(told.len(), 2, "{told:#?}");
    for (fault, left) in told {
        assert!(fault.starts_with("@claim-"), "{fault}");
        contains(
            &left,
            &[
                "shop-web bears the mark of @claim-",
                "`aws autoscaling delete-tags --region ",
            ],
        );
    }
}

/// Whatever AWS answers, nothing is left that the journal does not tell of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_of_aws_loses_a_claim() {
    for action in ["CreateOrUpdateTags", "DeleteTags"] {
        for answer in ["throttle", "error", "denied", "not_found", "timeout", "silent_success"] {
            let told = format!("{action} {answer}");
            let mut config = quick();
            config["control_plane"]["misbehave"] = json!([{ "action": action, "skip": 1, "answer": answer }]);
            let bench = Bench::start(config, 240.0).await;
            let before = state(&bench.lab.world(), false);
            let (mut claims, journal) = journalled(&bench, &plan(&bench));
            let made = claims.make().await;
            let refused = action == "CreateOrUpdateTags" && ["denied", "not_found"].contains(&answer);
            assert_eq!(made.is_err(), refused, "{told}: {made:?}");
            assert_eq!(claims.release().await, [], "{told}");
            assert_eq!(left_in_world(&journal).expect("a journal"), [], "{told}");
            let left = difference(&before, &state(&bench.lab.world(), false));
            assert!(left.is_empty(), "{told}: {left}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_and_clusters_bear_claims_where_no_group_may_be_touched() {
    for engine in ["postgres", "aurora-postgresql"] {
        let mut config = quick();
        config["database"] = json!({ "engine": engine });
        let bench = Bench::start(config, 240.0).await;
        let before = state(&bench.lab.world(), false);
        let mut plan = plan(&bench);
        plan.target.roles.retain(|name, _| name == "database");
        let mut claims = claims(&bench, &plan);
        claims.make().await.expect("nobody else is there");
        let marked = difference(&before, &state(&bench.lab.world(), false));
        assert!(
            marked.contains("@claim-") && !marked.contains("shop-web"),
            "{engine}: {marked}"
        );
        assert_eq!(claims.release().await, []);
        let left = difference(&before, &state(&bench.lab.world(), false));
        assert!(left.is_empty(), "{engine}: {left}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_nobody_would_see_is_none() {
    let mut config = quick();
    config["control_plane"]["misbehave"] =
        json!([{ "action": "DescribeDBClusters", "times": 1000, "answer": "denied" }]);
    let bench = Bench::start(config, 240.0).await;
    let mut claims = claims(&bench, &plan(&bench));
    let refused = claims.make().await.expect_err("it cannot be read back").to_string();
    contains(
        &refused,
        &[
            "the claim of us-east-1 on shop-web cannot be read back: ",
            "DescribeDBClusters",
        ],
    );
    assert_eq!(claims.release().await, []);
}

/// Without the tag of `allow` nothing may be touched, and a claim is no exception.
#[test]
fn what_may_not_be_touched_bears_no_claim_and_the_plan_says_so() {
    let account = Account::with(SUSPEND);
    let (code, stdout, stderr) = account.said(&["plan", "profile.yaml"]);
    assert_eq!(code, 0, "{stderr}");
    contains(
        &stdout,
        &[
            "\nclaims, while the run lasts",
            "\n  us-east-1\n    call   autoscaling:CreateOrUpdateTags AutoScalingGroupName=shop-web tag tenfold:mark:*",
            "\n    IAM policy to claim {",
            "\n    IAM policy to end a claim {",
        ],
    );
    account.target(|target| target["allow"]["tag"] = json!({ "chaos": "forbidden" }));
    let (_, stdout, _) = account.said(&["plan", "profile.yaml"]);
    contains(
        &stdout,
        &["\n  us-east-1: none, for no group and no database of the target there may be touched"],
    );
    assert!(!stdout.contains("to claim {"), "{stdout}");
}

fn plan(bench: &Bench) -> Plan {
    Plan {
        experiments: vec![experiment("harm", "web", Fault::Ec2Stop { share: 0.34 })],
        ..Plan::clone(&bench.plan)
    }
}

/// Those of a run of its own.
fn claims(bench: &Bench, plan: &Plan) -> Claims {
    journalled(bench, plan).0
}

/// The same with the run's journal.
fn journalled(bench: &Bench, plan: &Plan) -> (Claims, PathBuf) {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    // The id of a run is of its process and microsecond.
    std::thread::sleep(Duration::from_micros(10));
    let name = format!("{}.jsonl", RUNS.fetch_add(1, Ordering::SeqCst));
    let path = bench.journal().with_file_name(name);
    let journal = Journal::create(&path, RunHeader::new(plan)).expect("a journal");
    let claims = Claims::of(plan, bench.writer.clone(), Arc::new(journal), *bench.clock.clock());
    (claims, path)
}
