//! Kills the runner by SIGKILL before and after every record of its journal, for every reversible fault, lets a fresh
//! `tenfold revert` undo what is left, and compares the lab's whole state with the state before.
//!
//! The runner is a process of its own: this binary, which runs one ignored test of this file. The lab lives in the
//! test, so that nothing ends with the runner.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tenfold::aws::{Clients, ConnectOptions};
use tenfold::clock::{Clock, RunClock, from_unix};
use tenfold::lab::world::{Region, ShiftStatus, World};
use tenfold::plan::catalogue::{ApiError, CATALOGUE};
use tenfold::plan::{Fault, FisTemplate, Plan};
use tenfold::run::chaos::{Claims, Journal, Moment, Observer, Record, RunHeader, Runner, read_journal};
use tokio::process::Command;
use tokio::sync::mpsc;

use crate::chaos_in_lab::{Bench, REGION, experiment};
use crate::support::{share_of_the_machine, tenfold};

/// How the runner's process is told what to do.
const ORDERS: &str = "TENFOLD_KILL_MATRIX_ORDERS";
/// Name of the test that is the runner's process.
const RUNNER: &str = "kill_matrix::runs_one_fault_until_it_is_killed";
/// High, so that instances boot and health checks pass in moments of real time.
const PACE: f64 = 240.0;
/// Real time within which the lab must be as it was.
const SETTLED_WITHIN: Duration = Duration::from_secs(30);

/// What the runner's process does.
#[derive(Serialize, Deserialize)]
struct Orders {
    /// Run directory, with the plan.
    dir: PathBuf,
    /// The lab's clock.
    epoch: f64,
    /// When it dies; never for the run that counts the records.
    dies: Option<Death>,
    /// Whether it claims the account, and injects nothing.
    claims: bool,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Death {
    /// Index of the record in the journal.
    record: usize,
    how: How,
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
enum How {
    Before,
    /// While it is written: half of a line is on disk.
    Torn,
    After,
}

impl How {
    fn name(self) -> &'static str {
        match self {
            How::Before => "before",
            How::Torn => "torn",
            How::After => "after",
        }
    }
}

/// Dies as the machine of a run dies: at once, whatever is under way.
fn die() -> ! {
    kill(Pid::this(), Signal::SIGKILL).expect("it may end itself");
    loop {
        std::thread::park();
    }
}

fn observer(journal: PathBuf, death: Option<Death>) -> Observer {
    let count = AtomicUsize::new(0);
    Box::new(move |moment, _| {
        let index = match moment {
            Moment::Before => count.fetch_add(1, Ordering::SeqCst),
            Moment::After => count.load(Ordering::SeqCst) - 1,
        };
        let Some(death) = death.filter(|death| death.record == index) else {
            return Ok(());
        };
        match (moment, death.how) {
            (Moment::Before, How::Before) | (Moment::After, How::After) => die(),
            (Moment::Before, How::Torn) => {
                let mut file = std::fs::OpenOptions::new().append(true).open(&journal)?;
                file.write_all(br#"{"at":"2026-11-26T15:00:00Z","record":"int"#)?;
                file.sync_data()?;
                die()
            }
            _ => Ok(()),
        }
    })
}

/// The runner's process.
#[test]
#[ignore = "a process of the kill matrix, which starts it"]
fn runs_one_fault_until_it_is_killed() {
    let Ok(orders) = std::env::var(ORDERS) else { return };
    let orders: Orders = serde_json::from_str(&orders).expect("orders");
    alone(run(orders));
}

/// On a runtime of its own, since a lab lives as long as its runtime does.
pub fn alone<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let value = runtime.block_on(future);
    runtime.shutdown_background();
    value
}

/// So much work would spoil what others measure.
fn in_turn(future: impl Future<Output = ()>) {
    let _share = share_of_the_machine();
    alone(future);
}

async fn run(orders: Orders) {
    let plan = std::fs::read(orders.dir.join("plan.json")).expect("a plan");
    let plan: Plan = serde_json::from_slice(&plan).expect("a plan");
    let clients = Clients::connect(&ConnectOptions {
        endpoint: plan.target.endpoint.clone(),
        regions: plan.target.regions.clone(),
        pace: plan.pace,
        assume: Vec::new(),
        credentials: Some(("test".to_owned(), "test".to_owned())),
    })
    .await;
    let clock = RunClock::new(Clock::new(from_unix(orders.epoch), plan.pace), Instant::now());
    let path = orders.dir.join("journal.jsonl");
    let journal = Journal::observed(&path, RunHeader::new(&plan), observer(path.clone(), orders.dies));
    let journal = Arc::new(journal.expect("a journal"));
    if orders.claims {
        let mut claims = Claims::of(&plan, clients.writer(), journal, *clock.clock());
        claims.make().await.expect("nobody else is there");
        let left = claims.release().await;
        assert!(left.is_empty(), "{left:?}");
        return;
    }
    let (sender, _events) = mpsc::channel(1000);
    let fault = tenfold::event::FaultId {
        experiment: plan.experiments[0].name.clone(),
        index: 0,
    };
    let runner = Runner::new(Arc::new(plan), clients.writer(), clock, journal, sender);
    runner.inject(fault).await.expect("is injected");
    let left = runner.revert_all().await.failed;
    assert!(left.is_empty(), "{left:?}");
}

/// What is asked for in one Region: whatever is not as before here was forgotten by the revert.
fn configured(region: &Region, state: &mut BTreeMap<String, String>) {
    let mut put = |what: String, how: String| state.insert(format!("{} {what}", region.name), how);
    for subnet in region.subnets.values() {
        put(
            subnet.id.clone(),
            format!("under {} with {:?}", subnet.network_acl_id, subnet.tags),
        );
    }
    for acl in region.network_acls.values() {
        put(acl.id.clone(), format!("{:?} with {:?}", acl.entries, acl.tags));
    }
    for group in region.groups.values() {
        let (sizes, suspended) = ((group.min, group.max), &group.suspended);
        let policy = &group.policy;
        put(
            group.name.clone(),
            format!("{sizes:?} {suspended:?} {policy:?} {:?}", group.tags),
        );
    }
    for group in region.target_groups.values() {
        put(
            group.arn.clone(),
            format!(
                "{} {} {:?}",
                group.health_check_path, group.health_check_interval_s, group.tags
            ),
        );
    }
    // Instances come and go; a mark that stays on one is what a revert forgot.
    let marked = |tags: &BTreeMap<String, String>| tags.keys().any(|key| key.starts_with("tenfold:"));
    let there = region.instances.values().filter(|one| one.terminated_at.is_none());
    for instance in there.filter(|one| marked(&one.tags)) {
        put(instance.id.clone(), format!("{:?}", instance.tags));
    }
    for database in region.db_instances.values() {
        put(
            database.id.clone(),
            format!("{} {:?}", database.multi_az, database.tags),
        );
    }
    for cluster in region.db_clusters.values() {
        put(format!("cluster {}", cluster.id), format!("{:?}", cluster.tags));
    }
    for template in region.fis.templates.values() {
        put(template.id.clone(), format!("{:?}", template.tags));
    }
    let under_way = region.fis.experiments.values().filter(|one| !one.status.has_ended());
    for experiment in under_way {
        put(experiment.id.clone(), experiment.status.name().to_owned());
    }
    for fault in &region.fis.api_faults {
        put(fault.role.clone(), format!("{fault:?}"));
    }
    for fault in &region.fis.route_faults {
        put(format!("routes of {}", fault.subnet), format!("{fault:?}"));
    }
    for fault in &region.fis.volume_faults {
        put(fault.volume.clone(), format!("{fault:?}"));
    }
    for shortage in &region.fis.shortages {
        put(shortage.id.clone(), format!("{shortage:?}"));
    }
    let active = region
        .zonal_shifts
        .values()
        .filter(|one| one.status == ShiftStatus::Active);
    for shift in active {
        put(shift.id.clone(), format!("{shift:?}"));
    }
}

/// What follows from it after a while.
fn working(region: &Region, state: &mut BTreeMap<String, String>) {
    let mut put = |what: String, how: String| state.insert(format!("{} {what} works", region.name), how);
    for subnet in region.subnets.values() {
        put(subnet.id.clone(), format!("silent: {}", subnet.silent));
    }
    for group in region.groups.values() {
        let in_service = group
            .members
            .iter()
            .filter(|one| one.lifecycle_state == "InService")
            .count();
        let (all, desired) = (group.members.len(), group.desired);
        put(
            group.name.clone(),
            format!("{in_service} of {all} in service, {desired} desired"),
        );
    }
    for group in region.target_groups.values() {
        let healthy = group
            .targets
            .values()
            .filter(|target| target.state == "healthy")
            .count();
        put(
            group.arn.clone(),
            format!("{healthy} healthy of {}", group.targets.len()),
        );
    }
    for database in region.db_instances.values() {
        let standby = database.secondary_az.is_some() && database.standby_in_sync;
        put(database.id.clone(), format!("{}, standby: {standby}", database.status));
    }
}

/// Everything that a revert answers for, and with `all` what has to follow from it.
pub fn state(world: &World, all: bool) -> BTreeMap<String, String> {
    let mut state = BTreeMap::new();
    for region in world.regions.values() {
        configured(region, &mut state);
        if all {
            working(region, &mut state);
        }
    }
    for zone in world.route53.zones.values() {
        state.insert(zone.id.clone(), format!("{:?} {:?}", zone.records, zone.tags));
        if all {
            state.insert(format!("{} works", zone.id), format!("{:?}", zone.served));
        }
    }
    for check in world.route53.health_checks.values() {
        let how = (
            check.inverted,
            check.disabled,
            &check.fqdn,
            check.port,
            &check.resource_path,
            &check.tags,
        );
        state.insert(check.id.clone(), format!("{how:?}"));
        if all {
            state.insert(format!("{} works", check.id), format!("healthy: {}", check.healthy));
        }
    }
    state
}

pub fn difference(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> String {
    let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut text = String::new();
    for key in keys.into_iter().filter(|key| before.get(*key) != after.get(*key)) {
        let _ = writeln!(text, "{key}: {:?} before, {:?} after", before.get(key), after.get(key));
    }
    text
}

/// Runs that nobody kills, in each lab of a matrix.
const WHOLE_RUNS: usize = 2;
/// Runs of which one at least should come as far as the record at which it is to die.
const ATTEMPTS_MAX: usize = 12;

/// A lab that recovers quickly, so that much can be broken in little time; its answers lag as AWS's do.
pub fn quick() -> Value {
    json!({
        "web": {"boot": "20s", "app_start": "5s", "grace": "60s"},
        "load_balancer": {"health_check_interval": "10s", "healthy_threshold": 2, "deregistration_delay": "30s"},
        "database": {"resync": "30s"},
        "network_acl": {"effect": "1s"},
        "propagation": "10s",
        "control_plane": {"lag": "2s"},
    })
}

/// One fault in one lab, where its runner dies in one way.
struct Column {
    how: How,
    name: &'static str,
    claims: bool,
    bench: Bench,
    plan: Vec<u8>,
    folder: tempfile::TempDir,
    before: BTreeMap<String, String>,
}

impl Column {
    /// By the API or by AWS FIS, in a lab with other sections.
    async fn start(how: How, role: &str, fault: Fault, more: &Value, fis: bool) -> Self {
        let name = fault.entry().name;
        let mut config = quick();
        for (section, value) in more.as_object().into_iter().flatten() {
            config[section.as_str()] = value.clone();
        }
        let bench = Bench::start(config, PACE).await;
        let mut experiment = experiment(name, role, fault);
        if fis {
            let planned = &mut experiment.faults[0];
            // FIS needs to know how long it lasts.
            planned.revert_at = planned.fault.entry().reversible.then_some(Duration::from_secs(1200));
            let role = "arn:aws:iam::111122223333:role/tenfold-fis".to_owned();
            let template = FisTemplate::new(name.to_owned(), role, &[], REGION, "111122223333");
            planned.fis = Some(template);
        }
        let plan = Plan {
            experiments: vec![experiment],
            ..Plan::clone(&bench.plan)
        };
        let before = state(&bench.lab.world(), true);
        let column = Self {
            how,
            name,
            claims: false,
            before,
            plan: serde_json::to_vec(&plan).expect("a plan serialises"),
            folder: tempfile::tempdir().expect("a folder"),
            bench,
        };
        column.settled().await.expect("a lab begins in order");
        column
    }

    /// Waits until the lab is as it was; says what is not.
    async fn settled(&self) -> Result<(), String> {
        let deadline = Instant::now() + SETTLED_WITHIN;
        loop {
            let now = state(&self.bench.lab.world(), true);
            if now == self.before {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(difference(&self.before, &now));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn runner(&self, dir: &Path, dies: Option<Death>) -> std::process::Output {
        std::fs::create_dir_all(dir).expect("a folder");
        std::fs::write(dir.join("plan.json"), &self.plan).expect("the plan is written");
        let orders = Orders {
            dir: dir.to_owned(),
            epoch: self.bench.clock.clock().epoch_unix(),
            dies,
            claims: self.claims,
        };
        Command::new(std::env::current_exe().expect("this binary"))
            .args([RUNNER, "--exact", "--ignored", "--nocapture"])
            .env(ORDERS, serde_json::to_string(&orders).expect("orders serialise"))
            .stdin(Stdio::null())
            .output()
            .await
            .expect("the runner starts")
    }

    async fn reverted(&self, dir: &Path) -> std::process::Output {
        let mut command = Command::from(tenfold());
        command.arg("revert").arg(dir).output().await.expect("tenfold runs")
    }

    /// The records of a run that nobody kills. Answers lag by chance, which costs some runs a call more: the shortest
    /// of a few has what every run has.
    async fn records(&self) -> Vec<String> {
        let mut shortest: Option<Vec<String>> = None;
        for run in 0..WHOLE_RUNS {
            let dir = self.folder.path().join(format!("whole-{run}"));
            let output = self.runner(&dir, None).await;
            assert!(output.status.success(), "{}: {output:?}", self.name);
            let left = difference(&state(&self.bench.lab.world(), false), &only_configured(&self.before));
            assert!(left.is_empty(), "{}: {left}", self.name);
            self.settled().await.expect("it reverts what it injected");
            let records = read_journal(&dir.join("journal.jsonl")).expect("a journal").records;
            if shortest.as_ref().is_none_or(|shortest| records.len() < shortest.len()) {
                shortest = Some(records.iter().map(name_of).collect());
            }
        }
        shortest.expect("it has run")
    }

    /// Runs the fault until it is killed; answers the run's directory.
    async fn killed(&self, death: Death) -> Result<PathBuf, String> {
        for attempt in 1..=ATTEMPTS_MAX {
            let name = format!("{}-{}-{attempt}", death.record, death.how.name());
            let dir = self.folder.path().join(name);
            let output = self.runner(&dir, Some(death)).await;
            if output.status.signal() == Some(Signal::SIGKILL as i32) {
                return Ok(dir);
            }
            // Answers lag by chance, so that a run may need a call less than the one whose records were counted; and in
            // the lab of a machine that stands still a target may be unhealthy for a moment, so that nothing is begun.
            let written = read_journal(&dir.join("journal.jsonl")).map_or(0, |contents| contents.records.len());
            if attempt == ATTEMPTS_MAX || written > death.record {
                return Err(format!("was not killed: {output:?}"));
            }
            self.settled().await?;
        }
        unreachable!("the last attempt returns")
    }

    async fn cell(&self, record: usize) -> Result<(), String> {
        let death = Death { record, how: self.how };
        let dir = self.killed(death).await?;
        let written = read_journal(&dir.join("journal.jsonl")).map_or(0, |contents| contents.records.len());
        if written != death.record + usize::from(death.how == How::After) {
            return Err(format!("was killed at another place, after {written} records"));
        }
        let output = self.reverted(&dir).await;
        // Nothing has happened before the journal says whose run it is.
        let expected = if written == 0 { 2 } else { 0 };
        if output.status.code() != Some(expected) {
            return Err(format!("revert does not end with {expected}: {output:?}"));
        }
        let now = state(&self.bench.lab.world(), false);
        let before = only_configured(&self.before);
        if now != before {
            return Err(difference(&before, &now));
        }
        self.settled().await
    }

    /// A cell for each record.
    async fn cells(&self, records: usize) -> Vec<Result<(), String>> {
        let mut cells = Vec::new();
        for record in 0..records {
            cells.push(self.cell(record).await);
        }
        cells
    }
}

fn only_configured(state: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let kept = state.iter().filter(|(what, _)| !what.ends_with(" works"));
    kept.map(|(what, how)| (what.clone(), how.clone())).collect()
}

fn name_of(record: &Record) -> String {
    match record {
        Record::Run(_) => "run".to_owned(),
        Record::Intent { .. } => "intent".to_owned(),
        Record::Call { action, .. } => format!("call {action}"),
        Record::Created { .. } => "created".to_owned(),
        Record::Observed { .. } => "observed".to_owned(),
        Record::EndedEarly { .. } => "ended early".to_owned(),
        Record::RevertIntent { .. } => "revert intent".to_owned(),
        Record::Reverted { .. } => "reverted".to_owned(),
        Record::RevertFailed { .. } => "revert failed".to_owned(),
    }
}

/// Every cell of one fault; the matrix is printed whatever comes of it.
async fn matrix(role: &str, fault: Fault) {
    matrix_in(role, fault, Value::Null).await;
}

/// As [`matrix`], in labs with other sections.
async fn matrix_in(role: &str, fault: Fault, more: Value) {
    matrix_of(async |how| Column::start(how, role, fault.clone(), &more, false).await).await;
}

/// As [`matrix`], by way of AWS FIS.
async fn matrix_by_fis(role: &str, fault: Fault) {
    matrix_of(async |how| Column::start(how, role, fault.clone(), &Value::Null, true).await).await;
}

/// Each way to die has a lab of its own, since a lab takes its time after each cell.
async fn matrix_of(column: impl AsyncFn(How) -> Column) {
    let began = Instant::now();
    let columns = join_all([How::Before, How::Torn, How::After].map(|how| column(how))).await;
    let counted = join_all(columns.iter().map(Column::records)).await;
    let records = counted.into_iter().min_by_key(Vec::len).expect("there are columns");
    assert!(records.contains(&"intent".to_owned()) && records.last().is_some_and(|last| last == "reverted"));
    let cells = join_all(columns.iter().map(|column| column.cells(records.len()))).await;
    let (mut table, mut wrong) = (String::new(), String::new());
    for (record, name) in records.iter().enumerate() {
        let fault = columns[0].name;
        let _ = write!(table, "{fault:24} {record:2} {name:40}");
        for (column, outcomes) in columns.iter().zip(&cells) {
            let how = column.how.name();
            let said = if outcomes[record].is_ok() { "reverted" } else { "WRONG" };
            let _ = write!(table, " {how}: {said}");
            if let Err(why) = &outcomes[record] {
                let _ = writeln!(wrong, "{fault} {record} {name} {how}: {why}");
            }
        }
        table.push('\n');
    }
    let cells = records.len() * columns.len();
    let _ = writeln!(io::stdout(), "{table}{cells} cells in {:?}", began.elapsed());
    assert!(wrong.is_empty(), "{table}{wrong}");
}

/// No fault, but what a run writes into the account before its first one.
#[test]
fn kill_matrix_claim() {
    let column = async |how| Column {
        name: "claim",
        claims: true,
        ..Column::start(how, "web", Fault::Ec2Stop { share: 0.34 }, &Value::Null, false).await
    };
    in_turn(matrix_of(column));
}

#[test]
fn kill_matrix_ec2_stop() {
    in_turn(matrix("web", Fault::Ec2Stop { share: 0.34 }));
}

/// A group that heals itself leaves nothing to start again.
#[test]
fn kill_matrix_ec2_stop_in_a_group_that_does_not_heal() {
    let mut web = quick()["web"].clone();
    web["suspended"] = json!(["HealthCheck", "ReplaceUnhealthy", "Terminate"]);
    in_turn(matrix_in("web", Fault::Ec2Stop { share: 0.34 }, json!({"web": web})));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_matrix_cells_can_be_wrong() {
    let processes = vec!["Launch".to_owned()];
    let suspend = Fault::AutoScalingSuspend { processes };
    let column = Column::start(How::Before, "web", suspend, &Value::Null, false).await;
    let before = only_configured(&column.before);
    let dir = column.folder.path().join("killed");
    // Killed after its call and before anybody has reverted it.
    let death = Death {
        record: 2,
        how: column.how,
    };
    let output = column.runner(&dir, Some(death)).await;
    assert_eq!(output.status.signal(), Some(Signal::SIGKILL as i32), "{output:?}");
    let left = difference(&before, &state(&column.bench.lab.world(), false));
    assert!(left.contains("Launch"), "{left}");
    // A cell whose runner lives on is wrong too.
    assert!(column.reverted(&dir).await.status.success());
    let why = column.cell(1000).await.expect_err("nobody was killed");
    assert!(why.contains("was not killed"), "{why}");
}

#[test]
fn kill_matrix_autoscaling_suspend() {
    let processes = vec!["Launch".to_owned(), "Terminate".to_owned()];
    in_turn(matrix("web", Fault::AutoScalingSuspend { processes }));
}

#[test]
fn kill_matrix_network_deny_az() {
    let az = format!("{REGION}a");
    in_turn(matrix("web", Fault::NetworkDenyAz { az }));
}

#[test]
fn kill_matrix_network_deny_region() {
    in_turn(matrix("web", Fault::NetworkDenyRegion));
}

#[test]
fn kill_matrix_route53_invert_health_check() {
    in_turn(matrix("dns", Fault::Route53InvertHealthCheck));
}

#[test]
fn kill_matrix_route53_zero_weight() {
    in_turn(matrix_in(
        "dns",
        Fault::Route53ZeroWeight,
        json!({"routing": "weighted"}),
    ));
}

#[test]
fn kill_matrix_elb_deregister() {
    in_turn(matrix("web", Fault::ElbDeregister { share: 0.34 }));
}

#[test]
fn kill_matrix_elb_break_health_check() {
    in_turn(matrix("web", Fault::ElbBreakHealthCheck));
}

#[test]
fn kill_matrix_rds_stop() {
    in_turn(matrix("database", Fault::RdsStop));
}

#[test]
fn kill_matrix_elb_zonal_shift() {
    let az = format!("{REGION}b");
    in_turn(matrix("web", Fault::ElbZonalShift { az }));
}

#[test]
fn kill_matrix_autoscaling_insufficient_capacity() {
    let az = format!("{REGION}b");
    in_turn(matrix_by_fis("web", Fault::AutoScalingInsufficientCapacity { az }));
}

#[test]
fn kill_matrix_network_cross_region() {
    let to = "eu-west-1".to_owned();
    in_turn(matrix_by_fis("web", Fault::NetworkCrossRegion { to }));
}

#[test]
fn kill_matrix_api_errors() {
    let fault = Fault::ApiErrors {
        error: ApiError::Unavailable,
        operations: vec!["DescribeInstances".to_owned()],
        calls: 1.0,
    };
    in_turn(matrix_by_fis("app", fault));
}

#[test]
fn kill_matrix_ebs_pause_io() {
    in_turn(matrix_by_fis("web", Fault::EbsPauseIo { share: 0.34 }));
}

#[test]
fn kill_matrix_ebs_latency() {
    let latency = Duration::from_millis(50);
    in_turn(matrix_by_fis("web", Fault::EbsLatency { share: 0.34, latency }));
}

#[test]
fn kill_matrix_ec2_stop_by_fis() {
    in_turn(matrix_by_fis("web", Fault::Ec2Stop { share: 0.34 }));
}

#[test]
fn kill_matrix_network_deny_az_by_fis() {
    let az = format!("{REGION}a");
    in_turn(matrix_by_fis("web", Fault::NetworkDenyAz { az }));
}

#[test]
fn kill_matrix_network_deny_region_by_fis() {
    in_turn(matrix_by_fis("web", Fault::NetworkDenyRegion));
}

/// Nothing brings the instances back but their group; the template must go all the same.
#[test]
fn kill_matrix_ec2_terminate_by_fis() {
    in_turn(matrix_by_fis("web", Fault::Ec2Terminate { share: 0.34 }));
}

#[test]
fn kill_matrix_has_every_reversible_fault() {
    let here = include_str!("kill_matrix.rs");
    let reversible = CATALOGUE.iter().filter(|entry| entry.reversible);
    for entry in reversible {
        let test = format!("fn kill_matrix_{}()", entry.name.replace('.', "_"));
        assert!(here.contains(&test), "{} has no matrix", entry.name);
    }
}
