//! Every fault of the catalogue through the real binary: the shipped experiment is met under the built-in load, its
//! effect is seen, and what can be undone leaves the lab as it was.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tenfold::aws::{Clients, ConnectOptions, Reader};
use tenfold::judge::FaultFindings;
use tenfold::plan::catalogue::{self, CATALOGUE};
use tenfold::units::Pace;

use crate::account::{self, Service, Settings};
use crate::support::{LabProcess, experiment, machine, tenfold};

const PACE: &str = "75";

/// How long a group has to be whole again after the run, and its targets healthy: real time.
const HEALED_WITHIN: Duration = Duration::from_secs(20);

/// The account of a lab that runs in another process.
struct Account {
    reader: Reader,
    hosted_zone: String,
    runtime: tokio::runtime::Runtime,
}

impl Account {
    fn of(lab: &LabProcess) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let options = ConnectOptions {
            endpoint: Some(lab.endpoint.clone()),
            regions: vec![account::REGION.to_owned()],
            pace: PACE.parse::<Pace>().expect("a pace"),
            credentials: Some(("test".to_owned(), "test".to_owned())),
        };
        let reader = runtime.block_on(Clients::connect(&options)).reader();
        let zone = lab.announcement["roles"]["dns"]["hosted_zone"].as_str();
        Self {
            reader,
            hosted_zone: zone.expect("it has a zone").to_owned(),
            runtime,
        }
    }

    fn settings(&self) -> Settings {
        self.runtime
            .block_on(account::settings(&self.reader, &self.hosted_zone))
    }

    fn service(&self) -> Service {
        self.runtime.block_on(account::service(&self.reader))
    }
}

/// Runs a shipped experiment against a lab of its own; answers what it found of its one fault.
fn run(name: &str, keys: &[&str], changes: &[&str]) -> FaultFindings {
    let _turn = machine();
    let lab = LabProcess::with(PACE, keys);
    let account = Account::of(&lab);
    let (settings, service) = (account.settings(), account.service());
    let run = experiment(&format!("chaos/{name}.yaml"), &lab, changes);
    assert!(
        run.stderr.contains("built-in load (profiles/steady.yaml)"),
        "{}",
        run.account()
    );
    let mut faults = run.verdict().faults;
    assert_eq!(faults.len(), 1, "{}", run.account());
    let fault = faults.remove(0);
    assert!(fault.observed, "{}", run.account());
    let entry = catalogue::entry(&fault.fault).expect("it is in the catalogue");
    if entry.reversible {
        assert!(
            fault.reverted_at.is_some() && !fault.in_world_at_end,
            "{}",
            run.account()
        );
        assert_eq!(account.settings(), settings, "{}", run.account());
        let deadline = Instant::now() + HEALED_WITHIN;
        while account.service() != service {
            assert!(Instant::now() < deadline, "{:?}\n{}", account.service(), run.account());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
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
    run("instance-stop", &[], &[]);
}

#[test]
fn faults_ec2_terminate() {
    run(
        "instance-loss",
        &[],
        &["experiments.instance-loss.faults.0.at=hold + 2m"],
    );
}

#[test]
fn faults_ec2_reboot() {
    run("instance-reboot", &[], &[]);
}

#[test]
fn faults_autoscaling_suspend() {
    run("scaling-suspended", &[], &[]);
}

#[test]
fn faults_autoscaling_set_unhealthy() {
    run("instance-unhealthy", &[], &[]);
}

#[test]
fn faults_elb_deregister() {
    let fault = run("target-deregistration", &[], &[]);
    assert_eq!(fault.failed, 0, "nobody notices");
}

#[test]
fn faults_elb_break_health_check() {
    let fault = run("health-check-path", &[], &[]);
    assert!(fault.failed > 0, "the whole group is replaced at once, which is felt");
}

#[test]
fn faults_elb_break_health_check_fails_open() {
    let fault = run("health-check-path", &["web.health_check_type=EC2"], &[]);
    assert_eq!(fault.failed, 0, "the load balancer asks all when none is healthy");
}

#[test]
fn faults_network_deny_az() {
    run("az-outage", &[], &[]);
}

#[test]
fn faults_network_deny_region() {
    let fault = run(
        "region-blackout",
        &[],
        &["experiments.region-blackout.faults.0.at=hold + 2m"],
    );
    assert!(fault.shift.is_some() && fault.fail_back.is_some());
}

#[test]
fn faults_rds_failover() {
    run(
        "database-failover",
        &[],
        &["experiments.database-failover.faults.0.at=hold + 2m"],
    );
}

#[test]
fn faults_rds_reboot() {
    let fault = run("database-restart", &[], &[]);
    assert_eq!(fault.steps.keys().collect::<Vec<_>>(), ["order"]);
}

#[test]
fn faults_rds_stop() {
    let fault = run("database-stop", &[], &[]);
    assert_eq!(fault.steps.keys().collect::<Vec<_>>(), ["order"]);
}

#[test]
fn faults_route53_invert_health_check() {
    let fault = run("health-check-inversion", &[], &[]);
    assert!(fault.failed == 0 && fault.shift.is_some());
}

#[test]
fn faults_route53_zero_weight() {
    let fault = run("weight-zero", &["routing=weighted"], &[]);
    assert!(fault.failed == 0 && fault.shift.is_some());
}
