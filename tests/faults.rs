//! Every fault of the catalogue through the real binary: the shipped experiment is met under the built-in load, its
//! effect is seen, and what can be undone leaves the lab as it was.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use tenfold::aws::{Clients, ConnectOptions, Reader};
use tenfold::judge::FaultFindings;
use tenfold::plan::catalogue::{self, CATALOGUE, Entry};
use tenfold::plan::{Plan, Role};

use crate::account::{self, Service, Settings};
use crate::support::{
    LabProcess, Run, attempted_beside_others, finish, little_of_the_machine, start_experiment, tenfold,
};

/// Timeouts keep their real floor of 200 ms, so it cannot be much higher.
const PACE: &str = "75";

/// How long a run has until it knows its plan, real time.
const PLANNED_WITHIN: Duration = Duration::from_secs(30);

/// The account of a run's own lab, read from another process while the run lasts.
struct Account {
    reader: Reader,
    hosted_zone: String,
    runtime: tokio::runtime::Runtime,
}

impl Account {
    fn of(plan: &Plan) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let options = ConnectOptions {
            endpoint: plan.target.endpoint.clone(),
            regions: vec![account::REGION.to_owned()],
            pace: plan.pace,
            assume: Vec::new(),
            credentials: Some(("test".to_owned(), "test".to_owned())),
        };
        let reader = runtime.block_on(Clients::connect(&options)).reader();
        let Some(Role::Dns { hosted_zone, .. }) = plan.target.roles.get("dns") else {
            panic!("the lab has a zone");
        };
        Self {
            reader,
            hosted_zone: hosted_zone.clone(),
            runtime,
        }
    }

    fn now(&self) -> (Settings, Service) {
        self.runtime.block_on(async {
            let settings = account::settings(&self.reader, &self.hosted_zone).await;
            (settings, account::service(&self.reader).await)
        })
    }
}

/// What a fault left behind, once its run has said that it is undone: nothing, or what is not as it was.
fn left(child: &mut Child, run_dir: &Path) -> Option<String> {
    let began = Instant::now();
    let plan = loop {
        let text = std::fs::read(run_dir.join("plan.json")).unwrap_or_default();
        if let Ok(plan) = serde_json::from_slice::<Plan>(&text) {
            break plan;
        }
        if began.elapsed() > PLANNED_WITHIN || ended(child) {
            return Some("the run has no plan".to_owned());
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let account = Account::of(&plan);
    let before = account.now();
    let reverted = || {
        let journal = std::fs::read_to_string(run_dir.join("journal.jsonl")).unwrap_or_default();
        journal.contains(r#""record":"reverted""#)
    };
    while !reverted() {
        if ended(child) {
            return Some("nothing was reverted".to_owned());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // The lab ends with the run; until then the group and the load balancer have time to follow.
    loop {
        let now = account.now();
        if now == before {
            return None;
        }
        std::thread::sleep(Duration::from_millis(100));
        if ended(child) {
            return Some(format!("{now:#?}\nand not as before\n{before:#?}"));
        }
    }
}

/// Whether users were served all the time; a busy machine may cost a request now and then.
fn is_unfelt(fault: &FaultFindings) -> bool {
    fault.outage.is_none_or(|outage| outage < Duration::from_secs(20))
}

fn ended(child: &mut Child) -> bool {
    child.try_wait().expect("it can be asked").is_some()
}

/// Runs a shipped experiment alone, which must be met; answers what it found of its one fault.
fn run(name: &str, changes: &[&str]) -> FaultFindings {
    let _turn = little_of_the_machine();
    the_fault(&alone(name, changes))
}

/// Runs a shipped experiment alone, which must be met and leave nothing behind.
fn alone(name: &str, changes: &[&str]) -> Run {
    let mut left_behind = None;
    let run = attempted_beside_others(0, || {
        let (mut child, dir) = start_experiment(&format!("chaos/{name}.yaml"), PACE, changes);
        if entry_of(name).reversible {
            left_behind = left(&mut child, &dir.path().join("run"));
        }
        finish(child, dir)
    });
    assert_eq!(left_behind, None, "{}", run.account());
    assert!(
        run.stderr.contains("built-in load (profiles/steady.yaml)"),
        "{}",
        run.account()
    );
    run
}

/// How often two windows are compared, since a busy machine is slow now and then, but not each time.
const COMPARED_MAX: usize = 3;
/// By how much they may be apart, real time.
const APART: Duration = Duration::from_secs(1);

/// Runs a shipped experiment by the API and by AWS FIS: it has the same verdict, and its fault the same window.
fn either_way(name: &str, changes: &[&str]) -> FaultFindings {
    let _turn = little_of_the_machine();
    let by = |via: &str| {
        let via = format!("experiments.{name}.via={via}");
        alone(name, &[changes, &[via.as_str()]].concat())
    };
    let (mut apart, mut api) = (Vec::new(), None);
    while apart.len() < COMPARED_MAX && apart.last().is_none_or(|apart| *apart >= APART) {
        let (by_api, by_fis) = (by("api"), by("fis"));
        let found = [&by_api, &by_fis].map(the_fault);
        assert!(!found[0].evidence.contains("AWS FIS"), "{}", found[0].evidence);
        assert!(found[1].evidence.contains("of AWS FIS"), "{}", found[1].evidence);
        assert_eq!(outcomes(&by_api), outcomes(&by_fis));
        apart.push(most_apart(&by_api.plan(), &found));
        api = Some(found[0].clone());
    }
    assert!(apart.last().is_some_and(|apart| *apart < APART), "{name}: {apart:?}");
    api.expect("it has run")
}

/// What was judged, and how.
fn outcomes(run: &Run) -> Vec<(String, String)> {
    let objectives = run.verdict().objectives.into_iter();
    objectives.map(|one| (one.objective, one.outcome.to_string())).collect()
}

/// How far two windows of one fault are apart at the end where they are more so, real time.
fn most_apart(plan: &Plan, [one, other]: &[FaultFindings; 2]) -> Duration {
    let ends = |fault: &FaultFindings| [fault.injected_at, fault.reverted_at];
    let apart = ends(one).into_iter().zip(ends(other)).filter_map(|(one, other)| {
        assert_eq!(one.is_some(), other.is_some(), "{one:?} {other:?}");
        Some(plan.wall(one?.abs_diff(other?)))
    });
    apart.max().expect("both were injected")
}

/// What the catalogue says of the fault of a shipped experiment.
fn entry_of(name: &str) -> &'static Entry {
    let text = std::fs::read_to_string(format!("chaos/{name}.yaml")).expect("it can be read");
    let fault = text.lines().find_map(|line| line.trim().strip_prefix("- fault: "));
    catalogue::entry(fault.expect("it has a fault")).expect("it is in the catalogue")
}

/// The one fault of a run: it was seen, and where it can be undone it was.
fn the_fault(run: &Run) -> FaultFindings {
    let mut faults = run.verdict().faults;
    assert_eq!(faults.len(), 1, "{}", run.account());
    let fault = faults.remove(0);
    assert!(fault.observed && !fault.in_world_at_end, "{}", run.account());
    let entry = catalogue::entry(&fault.fault).expect("it is in the catalogue");
    assert_eq!(fault.reverted_at.is_some(), entry.reversible, "{}", run.account());
    fault
}

#[test]
fn faults_of_the_catalogue_have_an_experiment_each_that_is_valid() {
    let mut shipped = BTreeSet::new();
    for entry in std::fs::read_dir("chaos").expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        let text = std::fs::read_to_string(&path).expect("it can be read");
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
        assert!(text.contains(&format!("name: {name}\n")), "{name} is called otherwise");
        shipped.extend(
            text.lines()
                .filter_map(|line| line.trim().strip_prefix("- fault: ").map(str::to_owned)),
        );
        let output = tenfold().arg("validate").arg(&path).output().expect("tenfold runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(
            said.contains("is an experiment, not a profile: it runs under the built-in load"),
            "{said}"
        );
    }
    let catalogue: BTreeSet<String> = CATALOGUE.iter().map(|entry| entry.name.to_owned()).collect();
    assert_eq!(shipped, catalogue);
}

#[test]
fn faults_that_go_either_way_are_compared_and_every_experiment_is_run() {
    let here = include_str!("faults.rs");
    for entry in std::fs::read_dir("chaos").expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
        let run = |how: &str| {
            let how = format!("{how}(");
            let mut calls = here.split(how.as_str()).skip(1).map(str::trim_start);
            calls.any(|call| call.starts_with(&format!("{name:?}")))
        };
        let either = entry_of(name).fis().is_some_and(|action| !action.only);
        // One of the two experiments with the blackout is enough.
        let compared = run("either_way") || (name == "dns-convergence" && run("run"));
        assert!(if either { compared } else { run("run") }, "{name} is not run");
    }
}

#[test]
fn faults_planned_alone_show_their_calls_under_the_built_in_load() {
    let output = tenfold().args(["plan", "chaos/target-deregistration.yaml"]).output();
    let output = output.expect("tenfold runs");
    let (plan, said) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(plan.contains("target-deregistration-on-steady-load"), "{plan}");
    assert!(plan.contains("elasticloadbalancing:RegisterTargets"), "{plan}");
    assert!(said.contains("500 users who browse and order"), "{said}");
}

#[test]
fn faults_alone_can_be_planned_against_a_lab_that_runs_alone() {
    let lab = LabProcess::start(PACE);
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("lab.json");
    std::fs::write(&file, lab.announcement.to_string()).expect("it can be written");
    let mut command = tenfold();
    command
        .args(["plan", "chaos/instance-stop.yaml", "--target"])
        .arg(&file);
    let output = command.output().expect("tenfold runs");
    let plan = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(plan.contains("ec2:StartInstances"), "{plan}");
}

#[test]
fn faults_alone_are_refused_where_the_built_in_load_does_not_belong() {
    let run = |target: &str| {
        let output = tenfold()
            .args(["run", "chaos/instance-stop.yaml", "--target", target])
            .output();
        let output = output.expect("tenfold runs");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("shop.yaml");
    let text = "{name: shop, account: '111122223333', regions: [us-east-1], entry: 'http://shop.example.com', \
                roles: {web: {auto_scaling_group: web}}}";
    std::fs::write(&file, text).expect("it can be written");
    for target in ["http://127.0.0.1:1", file.to_str().expect("a path")] {
        let (code, said) = run(target);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("for labs only") && said.contains("hint:"), "{said}");
    }
}

#[test]
fn faults_ec2_stop() {
    either_way("instance-stop", &[]);
}

#[test]
fn faults_ec2_terminate() {
    either_way("instance-loss", &["experiments.instance-loss.faults.0.at=hold + 2m"]);
}

#[test]
fn faults_ec2_reboot() {
    either_way("instance-reboot", &[]);
}

#[test]
fn faults_autoscaling_suspend() {
    run("scaling-suspended", &[]);
}

#[test]
fn faults_autoscaling_set_unhealthy() {
    run("instance-unhealthy", &[]);
}

#[test]
fn faults_elb_deregister() {
    let fault = run("target-deregistration", &[]);
    assert!(is_unfelt(&fault), "{fault:?}");
}

#[test]
fn faults_elb_break_health_check() {
    let fault = run("health-check-path", &[]);
    assert!(!is_unfelt(&fault), "the whole group is replaced at once: {fault:?}");
}

#[test]
fn faults_elb_break_health_check_fails_open() {
    let fault = run("health-check-path", &["lab.web.health_check_type=EC2"]);
    assert!(
        is_unfelt(&fault),
        "the load balancer asks all when none is healthy: {fault:?}"
    );
}

#[test]
fn faults_network_deny_az() {
    either_way("az-outage", &[]);
}

#[test]
fn faults_network_deny_region() {
    let fault = either_way(
        "region-blackout",
        &["experiments.region-blackout.faults.0.at=hold + 2m"],
    );
    assert!(fault.shift.is_some() && fault.fail_back.is_some());
}

#[test]
fn faults_network_deny_region_under_every_policy_of_dns() {
    let fault = run("dns-convergence", &[]);
    assert!(fault.shift.is_some(), "{fault:?}");
}

#[test]
fn faults_rds_failover() {
    either_way(
        "database-failover",
        &["experiments.database-failover.faults.0.at=hold + 2m"],
    );
}

#[test]
fn faults_rds_reboot() {
    let fault = either_way("database-restart", &[]);
    assert_eq!(fault.steps.keys().collect::<Vec<_>>(), ["order"]);
}

#[test]
fn faults_rds_stop() {
    let fault = run("database-stop", &[]);
    assert_eq!(fault.steps.keys().collect::<Vec<_>>(), ["order"]);
}

#[test]
fn faults_rds_failover_cluster() {
    let fault = either_way("cluster-failover", &[]);
    assert_eq!(fault.steps.keys().collect::<Vec<_>>(), ["order"]);
    let least = Duration::from_secs(5);
    assert!(fault.redundancy.is_some() && fault.outage.is_some_and(|outage| outage > least));
}

#[test]
fn faults_rds_failover_cluster_to_a_named_reader() {
    let fault = run(
        "cluster-failover",
        &["experiments.cluster-failover.faults.0.reader=shop-db-3"],
    );
    assert!(fault.evidence.contains("shop-db-3"), "{}", fault.evidence);
}

#[test]
fn faults_rds_switchover_global() {
    let fault = run("global-switchover", &[]);
    assert_eq!(fault.steps.keys().collect::<Vec<_>>(), ["order"]);
    assert_eq!(fault.lost_writes, Some(0));
}

#[test]
fn faults_rds_failover_global() {
    run("global-failover", &[]);
}

#[test]
fn faults_rds_failover_global_loses_what_had_not_reached_the_other_region() {
    let _turn = little_of_the_machine();
    // At this pace the default lag of 0.2-1 s is a few real milliseconds, in which now and then no order falls.
    let changes = [
        "lab.database={engine: aurora-postgresql, global: true, global_lag: [10s, 20s]}",
        "experiments.global-failover.objectives=[lost_writes(orders) == 0]",
    ];
    let run = attempted_beside_others(1, || {
        let (child, dir) = start_experiment("chaos/global-failover.yaml", PACE, &changes);
        finish(child, dir)
    });
    let mut truth: Vec<String> = run
        .truth()
        .iter()
        .filter(|line| line["state"] == "lost")
        .flat_map(|line| line["detail"]["ids"].as_array().cloned().unwrap_or_default())
        .filter_map(|id| id.as_str().map(str::to_owned))
        .collect();
    let recording = run.recording();
    let lost = recording.ledgers["orders"].lost.iter();
    let mut lost: Vec<String> = lost.map(|write| write.id.clone()).collect();
    lost.sort();
    truth.sort();
    assert!(!truth.is_empty(), "the lab lost nothing\n{}", run.account());
    assert_eq!(lost, truth);
}

#[test]
fn faults_route53_invert_health_check() {
    let fault = run("health-check-inversion", &[]);
    assert!(is_unfelt(&fault) && fault.shift.is_some(), "{fault:?}");
}

#[test]
fn faults_route53_zero_weight() {
    let fault = run("weight-zero", &[]);
    assert!(is_unfelt(&fault) && fault.shift.is_some(), "{fault:?}");
}

#[test]
fn faults_elb_zonal_shift() {
    let fault = run("zonal-shift", &[]);
    assert!(is_unfelt(&fault), "{fault:?}");
}

#[test]
fn faults_autoscaling_insufficient_capacity() {
    let fault = run("capacity-shortage", &[]);
    assert!(is_unfelt(&fault) && fault.evidence.contains("AWS FIS"), "{fault:?}");
}

#[test]
fn faults_ec2_spot_interruption() {
    let fault = run("spot-interruption", &[]);
    assert!(fault.self_heal.is_some(), "{fault:?}");
    // Nothing is felt while the notice lasts.
    assert!(
        fault.onset.is_none_or(|onset| onset >= Duration::from_secs(120)),
        "{fault:?}"
    );
    assert!(fault.evidence.contains("AWS FIS"), "{fault:?}");
}

#[test]
fn faults_api_errors() {
    let fault = run("api-errors", &[]);
    assert!(
        is_unfelt(&fault) && fault.evidence.contains("calls of arn:aws:iam::"),
        "{fault:?}"
    );
}

#[test]
fn faults_network_cross_region() {
    let fault = run("cross-region", &[]);
    assert_eq!(fault.steps.keys().collect::<Vec<_>>(), ["order"]);
    assert!(fault.evidence.contains("reaches eu-west-1"), "{fault:?}");
}

#[test]
fn faults_ebs_pause_io() {
    let fault = run("disk-stall", &[]);
    assert!(!is_unfelt(&fault), "{fault:?}");
    let seen = ["is impaired", "is unhealthy", "is draining"];
    assert!(seen.iter().any(|seen| fault.evidence.contains(seen)), "{fault:?}");
}

#[test]
fn faults_ebs_latency() {
    let fault = run("disk-latency", &[]);
    assert!(fault.evidence.contains("takes longer"), "{fault:?}");
}
