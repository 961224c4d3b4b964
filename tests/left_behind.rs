//! What a run leaves behind when it dies, and who undoes it: the watchdog, `revert`, or a scan of the account; and that
//! nothing of it all holds the credentials.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use tenfold::aws::{Clients, ConnectOptions, Reader};
use tenfold::lab::{self, Lab, LabConfig, LabOptions};
use tenfold::plan::{CATALOGUE, Fault};
use tenfold::run::chaos;
use tenfold::units::Pace;
use tokio::sync::mpsc;

use crate::chaos_in_lab::{Bench, REGION, fault};
use crate::kill_matrix::{difference, quick, state};
use crate::support::{little_of_the_machine, machine, nowhere_in, tenfold};

const PACE: &str = "75";
const BLACKOUT: &str = "name: blackout\nhypothesis: users move\n\
                        faults:\n  - { fault: network.deny_region, role: web, at: 1m, lasts: 20m }\nsettle: 1m\n";

/// A lab that the runs do not know, a target file for it, and a profile whose blackout begins soon and lasts. The lab
/// lives here, as long as the runtime does, so that all of its state can be looked at.
struct Scene {
    lab: Arc<Lab>,
    announcement: Value,
    dir: TempDir,
    reader: Reader,
    runtime: tokio::runtime::Runtime,
    before: Network,
}

/// The ACL of every subnet, and how many ACLs there are.
type Network = (BTreeMap<String, String>, usize);

impl Scene {
    fn new() -> Self {
        Self::with(BLACKOUT)
    }

    /// With another experiment than the blackout.
    fn with(experiment: &str) -> Self {
        Self::holding(experiment, "40m")
    }

    /// The same, under a load that holds for so long.
    fn holding(experiment: &str, hold: &str) -> Self {
        let pace: Pace = PACE.parse().expect("a pace");
        let config = LabConfig::from_json(json!({"control_plane": {"lag": "2s"}})).expect("a lab configuration");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let started = runtime.block_on(lab::start(config, LabOptions::at_pace(pace)));
        let (lab, announcement) = started.expect("a lab");
        let announcement = serde_json::to_value(announcement).expect("serialises");
        let dir = TempDir::new().expect("a temporary directory");
        let write = |name: &str, text: String| std::fs::write(dir.path().join(name), text).expect("is written");
        write("target.yaml", announcement.to_string());
        write("blackout.yaml", experiment.to_owned());
        let chaos = dir.path().join("blackout.yaml").display().to_string();
        let stages = format!(
            "journeys: {{ browse: {{ think: 1s..2s, steps: [{{ get: /products/1 }}] }} }}\n\
             stages: [{{ tier: 1, users: 20, hold: {hold} }}]\n"
        );
        write("profile.yaml", format!("name: cut\n{stages}chaos: [{chaos}]\n"));
        let options = ConnectOptions {
            endpoint: announcement["endpoint"].as_str().map(str::to_owned),
            regions: vec![REGION.to_owned(), "eu-west-1".to_owned()],
            pace,
            assume: Vec::new(),
            credentials: Some(("test".to_owned(), "test".to_owned())),
        };
        let reader = runtime.block_on(Clients::connect(&options)).reader();
        let before = runtime.block_on(network(&reader));
        Self {
            lab,
            announcement,
            dir,
            reader,
            runtime,
            before,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The network is as before, once its Describe calls show it: they lag.
    fn comes_back(&self) {
        wait_for("the network", Duration::from_secs(5), || self.network() == self.before);
    }

    fn network(&self) -> Network {
        self.runtime.block_on(network(&self.reader))
    }

    /// Starts a run and waits until its blackout is in the world.
    fn run_until_it_is_dark(&self, environment: &[(&str, &str)]) -> Child {
        let run = self.run_until_observed(1, environment);
        assert_ne!(self.network(), self.before);
        run
    }

    /// Starts a run and waits until so many of its faults are in the world.
    fn run_until_observed(&self, faults: usize, environment: &[(&str, &str)]) -> Child {
        let with = |command: &str| {
            let mut with = tenfold();
            with.arg(command)
                .arg(self.path("profile.yaml"))
                .arg("--target")
                .arg(self.path("target.yaml"))
                .env("XDG_STATE_HOME", self.path("state"))
                .envs(environment.iter().copied());
            with
        };
        let planned = with("plan").output().expect("tenfold runs");
        let planned = String::from_utf8_lossy(&planned.stdout).into_owned();
        let hash = planned.lines().last().and_then(|line| line.strip_prefix("hash "));
        let run = with("run")
            .arg("--out")
            .arg(self.path("run"))
            .args(["--approve", hash.unwrap_or_else(|| panic!("no hash in {planned}"))])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("tenfold starts");
        let journal = self.path("run/journal.jsonl");
        wait_for("the faults", Duration::from_secs(60), || {
            let text = std::fs::read_to_string(&journal).unwrap_or_default();
            text.matches("\"observed\"").count() >= faults
        });
        assert!(watchdog_of(&self.path("run")).is_some(), "nobody watches");
        run
    }

    fn revert(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = tenfold().arg("revert").args(arguments).output().expect("tenfold runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code().unwrap_or(-1),
            text(&output.stdout),
            text(&output.stderr),
        )
    }
}

async fn network(reader: &Reader) -> Network {
    let group = reader
        .group(REGION, "shop-web")
        .await
        .expect("an answer")
        .expect("a group");
    let subnets = reader.subnets(REGION, &group.subnets).await.expect("subnets");
    let acls = reader.network_acls(REGION, &subnets[0].vpc).await.expect("ACLs");
    let under = acls
        .iter()
        .flat_map(|acl| acl.associations.iter().map(|one| (one.subnet.clone(), acl.id.clone())));
    (under.collect(), acls.len())
}

fn wait_for(what: &str, patience: Duration, mut found: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !found() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn holds(path: &Path, text: &str) -> bool {
    std::fs::read_to_string(path).unwrap_or_default().contains(text)
}

/// The process that watches this run.
pub fn watchdog_of(run: &Path) -> Option<Pid> {
    let run = run.display().to_string();
    let processes = std::fs::read_dir("/proc").expect("/proc is readable").flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .find(|process| {
            // One that ended since then is none.
            let line = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            words.get(1) == Some(&&b"watchdog"[..]) && words.get(2) == Some(&run.as_bytes())
        })
        .map(Pid::from_raw)
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id() as i32)
}

#[test]
fn a_run_that_is_killed_is_undone_by_its_watchdog() {
    let _turn = little_of_the_machine();
    let scene = Scene::new();
    let mut run = scene.run_until_it_is_dark(&[]);
    kill(pid(&run), Signal::SIGKILL).expect("the run goes on");
    run.wait().expect("it ends");
    wait_for("the light", Duration::from_secs(15), || scene.network() == scene.before);
    let dir = scene.path("run");
    wait_for("its end", Duration::from_secs(15), || watchdog_of(&dir).is_none());
    assert!(holds(&dir.join("journal.jsonl"), "\"reverted\""));
    assert!(holds(&dir.join("watchdog.log"), "reverted: blackout[0]"));
    let (code, stdout, stderr) = scene.revert(&[&dir.display().to_string()]);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stdout.contains("nothing of this run is in the world") && !stdout.contains("reverted"),
        "{stdout}"
    );
}

#[test]
fn a_run_that_is_killed_is_undone_though_its_directory_was_deleted_before() {
    let _turn = little_of_the_machine();
    let scene = Scene::new();
    let mut run = scene.run_until_it_is_dark(&[]);
    let dir = scene.path("run");
    std::fs::remove_dir_all(&dir).expect("it is deleted");
    kill(pid(&run), Signal::SIGKILL).expect("the run goes on");
    run.wait().expect("it ends");
    wait_for("the light", Duration::from_secs(15), || scene.network() == scene.before);
    wait_for("its end", Duration::from_secs(15), || watchdog_of(&dir).is_none());
}

/// Ends a run with its watchdog, and takes away its directory, so that nobody knows what it did.
fn lose(run: &mut Child, dir: &Path) {
    kill(watchdog_of(dir).expect("it watches"), Signal::SIGKILL).expect("it lives");
    kill(pid(run), Signal::SIGKILL).expect("the run goes on");
    run.wait().expect("it ends");
    std::fs::remove_dir_all(dir).expect("it is deleted");
}

#[test]
fn a_run_that_hangs_is_undone_by_its_watchdog_which_stays() {
    let _turn = little_of_the_machine();
    let scene = Scene::new();
    let mut run = scene.run_until_it_is_dark(&[]);
    kill(pid(&run), Signal::SIGSTOP).expect("the run goes on");
    wait_for("the light", Duration::from_secs(40), || scene.network() == scene.before);
    let dir = scene.path("run");
    assert!(watchdog_of(&dir).is_some());
    kill(pid(&run), Signal::SIGKILL).expect("the run is there");
    run.wait().expect("it ends");
    wait_for("its end", Duration::from_secs(15), || watchdog_of(&dir).is_none());
    assert!(holds(&dir.join("watchdog.log"), "the run hangs"));
}

/// A blackout that lasts longer than a watchdog lets a run be silent.
const LONG_BLACKOUT: &str = "name: blackout\nhypothesis: users move\n\
                             faults:\n  - { fault: network.deny_region, role: web, at: 1m, lasts: 40m }\n\
                             settle: 1m\nobjectives: [ errors <= 100% ]\n";

/// What a run that was left to itself says in the end, on the terminal and in its report.
fn says_that_it_ended_early(run: Child, scene: &Scene, evidence: &str) -> (String, Value) {
    let output = run.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(3), "{stdout}{stderr}");
    let card = format!(", and not by this run: {evidence}");
    let told = stdout.matches(&card).count();
    assert!(told >= 2, "the sentence and the card say {card:?}:\n{stdout}");
    assert!(stderr.contains("blackout[0]: ended early, not by this run"), "{stderr}");
    let dir = scene.path("run");
    assert!(holds(&dir.join("journal.jsonl"), "\"ended_early\""));
    assert!(holds(&dir.join("report.html"), &format!("not by this run: {evidence}")));
    let report = std::fs::read(dir.join("report.json")).expect("a report");
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    let fault = &report["verdict"]["faults"][0];
    assert_eq!(fault["ended_early"]["at"], fault["reverted_at"], "{fault}");
    assert_eq!(report["verdict"]["outcome"], "inconclusive");
    scene.comes_back();
    (stdout, fault.clone())
}

#[test]
fn a_revert_by_somebody_else_during_the_run_ends_the_fault_in_its_report() {
    let _turn = machine();
    let scene = Scene::with(&LONG_BLACKOUT.replace("40m", "30m"));
    let run = scene.run_until_it_is_dark(&[]);
    let dir = scene.path("run").display().to_string();
    let (code, stdout, stderr) = scene.revert(&[&dir]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("reverted: blackout[0]"), "{stdout}");
    let (_, fault) = says_that_it_ended_early(run, &scene, "tenfold revert, another process, reverted it");
    let lasted = fault["reverted_at"].as_f64().unwrap_or_default() - fault["injected_at"].as_f64().unwrap_or_default();
    assert!((0.0..1200.0).contains(&lasted), "{fault}");
}

#[test]
fn a_run_that_was_frozen_is_inconclusive_and_tells_what_its_watchdog_did() {
    let _turn = machine();
    let second = "  - { fault: rds.reboot, role: database, at: 3m, irreversible: true }\nsettle:";
    let scene = Scene::holding(&LONG_BLACKOUT.replace("settle:", second), "45m");
    let run = scene.run_until_it_is_dark(&[]);
    kill(pid(&run), Signal::SIGSTOP).expect("the run goes on");
    let log = scene.path("run").join("watchdog.log");
    wait_for("the watchdog", Duration::from_secs(40), || {
        holds(&log, "reverted: blackout[0]")
    });
    kill(pid(&run), Signal::SIGCONT).expect("it is there");
    let (stdout, fault) = says_that_it_ended_early(run, &scene, "the watchdog, another process, reverted it");
    assert!(
        stdout.contains("could not be injected: it was due "),
        "nothing is caught up with:\n{stdout}"
    );
    for expected in [
        "the measurement is spoilt; the run itself was frozen for ",
        "no: the run itself was frozen for ",
    ] {
        assert!(stdout.contains(expected), "{expected} is not in\n{stdout}");
    }
    let at = fault["ended_early"]["at"].as_f64().unwrap_or_default();
    assert!(at < 41.0 * 60.0, "when the watchdog did it, before its time: {fault}");
}

#[test]
fn a_watchdog_ends_with_its_run_and_no_ctrl_c_reaches_it() {
    let _turn = little_of_the_machine();
    let scene = Scene::new();
    let run = scene.run_until_it_is_dark(&[]);
    let dir = scene.path("run");
    let watchdog = watchdog_of(&dir).expect("it watches");
    assert_eq!(
        nix::unistd::getsid(Some(watchdog)),
        Ok(watchdog),
        "it has a session of its own"
    );
    kill(pid(&run), Signal::SIGINT).expect("the run goes on");
    let output = run.wait_with_output().expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert_eq!(watchdog_of(&dir), None, "it ends before its run does");
    assert_eq!(std::fs::read_to_string(dir.join("watchdog.log")).expect("a log"), "");
    scene.comes_back();
}

#[test]
fn a_run_is_told_that_its_watchdog_has_died_and_goes_on() {
    let _turn = little_of_the_machine();
    let scene = Scene::new();
    let run = scene.run_until_it_is_dark(&[]);
    let dir = scene.path("run");
    kill(watchdog_of(&dir).expect("it watches"), Signal::SIGKILL).expect("it lives");
    // The next heartbeat finds nobody.
    std::thread::sleep(Duration::from_secs(2));
    kill(pid(&run), Signal::SIGINT).expect("the run goes on");
    let output = run.wait_with_output().expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(
        stderr.contains("warning: the watchdog of this run has died"),
        "{stderr}"
    );
    scene.comes_back();
}

#[test]
fn a_run_that_is_killed_takes_its_own_lab_with_it_and_needs_no_watchdog() {
    let _turn = little_of_the_machine();
    let scene = Scene::new();
    let dir = scene.path("run");
    let mut run = tenfold()
        .arg("run")
        .arg(scene.path("profile.yaml"))
        .env("XDG_STATE_HOME", scene.path("state"))
        .args(["--pace", PACE, "--out"])
        .arg(&dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("tenfold starts");
    let journal = dir.join("journal.jsonl");
    wait_for("the blackout", Duration::from_secs(60), || {
        holds(&journal, "\"observed\"")
    });
    assert_eq!(watchdog_of(&dir), None);
    let plan: Value = serde_json::from_slice(&std::fs::read(dir.join("plan.json")).expect("a plan")).expect("JSON");
    let endpoint = plan["target"]["endpoint"]
        .as_str()
        .expect("an endpoint")
        .replace("http://", "");
    std::net::TcpStream::connect(&endpoint).expect("the lab answers");
    kill(pid(&run), Signal::SIGKILL).expect("the run goes on");
    run.wait().expect("it ends");
    let gone = || std::net::TcpStream::connect(&endpoint).is_err();
    wait_for("the end of the lab", Duration::from_secs(10), gone);
}

/// The test is the run here, whose heart beats and whose revert does not come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_whose_lease_is_over_is_undone_while_its_run_lives() {
    use tokio::io::AsyncWriteExt as _;
    let mut bench = Bench::start(json!({}), 120.0).await;
    let minute = Duration::from_secs(60);
    let experiments = &mut Arc::make_mut(&mut bench.plan).experiments;
    experiments[2].faults[0].revert_at = Some(minute);
    let before = bench.network().await;
    let (events, _seen) = mpsc::channel(1000);
    let runner = bench.runner(events);
    runner.inject(fault("region-blackout")).await.expect("is injected");
    let dir = bench.journal().parent().expect("a folder").to_owned();
    let plan = serde_json::to_vec(&*bench.plan).expect("a plan serialises");
    std::fs::write(dir.join("plan.json"), plan).expect("the plan is written");
    let mut watchdog = tokio::process::Command::from(tenfold())
        .arg("watchdog")
        .arg(&dir)
        .args(["--epoch", &bench.clock.clock().epoch_unix().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tenfold starts");
    let mut heart = watchdog.stdin.take().expect("it is piped");
    let began = Instant::now();
    loop {
        heart.write_all(b".").await.expect("it lives");
        if bench.network().await == before {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "nobody undid it");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(
        began.elapsed() > Duration::from_secs(25),
        "a revert has time to be made by the run itself"
    );
    assert!(watchdog.try_wait().expect("it can be asked").is_none(), "it watches on");
    heart.write_all(b"E").await.expect("it lives");
    let output = watchdog.wait_with_output().await.expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("the lease of region-blackout[0] is over"), "{stderr}");
}

#[test]
fn a_scan_repairs_an_account_whose_run_directory_is_lost() {
    let _turn = little_of_the_machine();
    let scene = Scene::new();
    let mut run = scene.run_until_it_is_dark(&[]);
    lose(&mut run, &scene.path("run"));
    assert_ne!(scene.network(), scene.before);
    let target = scene.path("target.yaml").display().to_string();
    let (code, stdout, stderr) = scene.revert(&["--scan", "--target", &target]);
    assert_eq!(code, 6, "{stdout}{stderr}");
    assert!(
        stdout.contains("found: blackout[0] of run ") && stdout.contains("expires 20"),
        "{stdout}"
    );
    for expected in [
        "has not expired",
        "hint: --all",
        "aws ec2 replace-network-acl-association",
    ] {
        assert!(stderr.contains(expected), "{expected} is not in\n{stderr}");
    }
    assert_ne!(scene.network(), scene.before);
    let (code, stdout, stderr) = scene.revert(&["--scan", "--target", &target, "--all"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("reverted: blackout[0]"), "{stdout}");
    assert!(stdout.contains("a scan looks at network ACLs"), "{stdout}");
    wait_for("the light", Duration::from_secs(5), || scene.network() == scene.before);
    let (code, stdout, stderr) = scene.revert(&["--scan", "--target", &target, "--all"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("is marked as a run's"), "{stdout}");

    let mut other = scene.announcement.clone();
    other["account"] = json!("999999999999");
    std::fs::write(&target, other.to_string()).expect("is written");
    let (code, _, stderr) = scene.revert(&["--scan", "--target", &target, "--all"]);
    assert_eq!(code, 2, "{stderr}");
    assert!(
        stderr.contains("the credentials belong to account 111122223333"),
        "{stderr}"
    );
}

/// One fault of each kind of trace: a mark on a group, a template of FIS, a mark that belongs to no Region, an ACL.
const GAME_DAY: &str = "name: game-day\nhypothesis: users move\nfaults:\n\
    \x20 - { fault: autoscaling.suspend, role: web, processes: [Launch, Terminate], at: 1m, lasts: 25m }\n\
    \x20 - { fault: ec2.stop, role: web, region: eu-west-1, share: 34%, via: fis, at: 1m, lasts: 25m }\n\
    \x20 - { fault: route53.invert_health_check, role: dns, at: 2m, lasts: 25m }\n\
    \x20 - { fault: network.deny_az, role: database, az: us-east-1c, at: 3m, lasts: 20m }\nsettle: 1m\n";

#[test]
fn a_scan_after_a_game_day_whose_run_directory_is_lost_leaves_nothing() {
    let _turn = little_of_the_machine();
    let scene = Scene::with(GAME_DAY);
    let now = |all| state(&scene.lab.world(), all);
    let (before, works) = (now(false), now(true));
    let mut run = scene.run_until_observed(4, &[]);
    lose(&mut run, &scene.path("run"));
    let broken = difference(&before, &now(false));
    for expected in ["Terminate", "true, false", "acl-", "EXT"] {
        assert!(broken.contains(expected), "{expected} is not in\n{broken}");
    }
    let target = scene.path("target.yaml").display().to_string();
    let (code, stdout, stderr) = scene.revert(&["--scan", "--target", &target]);
    assert_eq!(code, 6, "nothing has expired: {stdout}{stderr}");
    let (code, stdout, stderr) = scene.revert(&["--scan", "--target", &target, "--all"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    for index in 0..4 {
        assert!(stdout.contains(&format!("reverted: game-day[{index}]")), "{stdout}");
    }
    let left = difference(&before, &now(false));
    assert!(left.is_empty(), "{left}");
    wait_for("the group", Duration::from_secs(30), || now(true) == works);
    let (code, stdout, stderr) = scene.revert(&["--scan", "--target", &target]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("is marked as a run's"), "{stdout}");
}

/// Every reversible fault by the API of its service, and nobody left who remembers it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_undoes_every_fault_that_can_be_undone() {
    let az = || format!("{REGION}b");
    let faults = [
        ("web", Fault::Ec2Stop { share: 0.34 }),
        (
            "web",
            Fault::AutoScalingSuspend {
                processes: vec!["Launch".to_owned(), "AZRebalance".to_owned()],
            },
        ),
        ("web", Fault::ElbDeregister { share: 0.34 }),
        ("web", Fault::ElbBreakHealthCheck),
        ("web", Fault::ElbZonalShift { az: az() }),
        ("web", Fault::NetworkDenyAz { az: az() }),
        ("web", Fault::NetworkDenyRegion),
        ("database", Fault::RdsStop),
        ("dns", Fault::Route53InvertHealthCheck),
        ("dns", Fault::Route53ZeroWeight),
    ];
    let by_api = CATALOGUE.iter().filter(|entry| entry.reversible);
    let by_api = by_api.filter(|entry| entry.fis().is_none_or(|fis| !fis.only));
    for entry in by_api {
        assert!(
            faults.iter().any(|(_, fault)| fault.name() == entry.name),
            "{}",
            entry.name
        );
    }
    for (role, injected) in faults {
        let name = injected.name();
        let mut config = quick();
        // A group that heals itself would leave nothing to start again.
        config["web"]["suspended"] = json!(["HealthCheck", "ReplaceUnhealthy", "Terminate"]);
        config["routing"] = json!("weighted");
        // A zonal shift expires by itself after three minutes.
        let pace = if name == "elb.zonal_shift" { 20.0 } else { 240.0 };
        let mut bench = Bench::start(config, pace).await;
        crate::chaos_runner::add(&mut bench, role, injected);
        let before = state(&bench.lab.world(), false);
        let (events, _seen) = mpsc::channel(1000);
        let runner = bench.runner(events);
        runner
            .inject(fault(name))
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        drop(runner);
        std::fs::remove_file(bench.journal()).expect("the journal is lost");
        assert_ne!(state(&bench.lab.world(), false), before, "{name} changes nothing");
        let pace = bench.clock.pace();
        let account = bench.plan.target.account.clone().expect("an account");
        let found = chaos::scan(&bench.reader, &account, pace).await.expect("a scan");
        assert!(found.strange.is_empty() && found.unseen.is_empty(), "{name}: {found:?}");
        let [leftover] = &found.left[..] else {
            panic!("{name} is there: {found:?}");
        };
        assert_eq!(leftover.fault, fault(name));
        assert!(!leftover.is_expired(bench.clock.clock().cloud_unix()), "{leftover}");
        chaos::undo_leftover(&bench.writer, pace, leftover)
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let left = difference(&before, &state(&bench.lab.world(), false));
        assert!(left.is_empty(), "{name}: {left}");
        let found = chaos::scan(&bench.reader, &account, pace).await.expect("a scan");
        assert_eq!(found, chaos::Scan::default(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_says_what_it_may_not_look_at_and_what_it_cannot_read() {
    let bench = Bench::start(
        json!({"control_plane": {"denied": ["fis:ListExperimentTemplates"]}}),
        240.0,
    )
    .await;
    {
        let mut world = bench.lab.world();
        let group = world
            .regions
            .get_mut(REGION)
            .and_then(|region| region.groups.get_mut("shop-web"));
        let tags = &mut group.expect("a group").tags;
        tags.insert("tenfold:mark:0.dns".to_owned(), "=5B=22r1".to_owned());
    }
    let account = bench.plan.target.account.clone().expect("an account");
    let found = chaos::scan(&bench.reader, &account, bench.clock.pace())
        .await
        .expect("a scan");
    assert_eq!(found.strange, ["the mark 0.dns of shop-web"]);
    let regions = bench.plan.target.regions.len();
    assert_eq!(found.unseen.len(), regions, "{found:?}");
    assert!(found.unseen[0].contains("fis:ListExperimentTemplates"), "{found:?}");
}

#[test]
fn credentials_reach_neither_the_run_directory_nor_the_terminal() {
    const SECRETS: [&str; 3] = [
        "AKIAQ7TENFOLDTESTKEY",
        "wJalrXUtnFEMIbPxRfiCYTENFOLDTEST",
        "FwoGZXIvYXdzTENFOLDTOKEN",
    ];
    let _turn = little_of_the_machine();
    let scene = Scene::new();
    let environment = [
        ("AWS_ACCESS_KEY_ID", SECRETS[0]),
        ("AWS_SECRET_ACCESS_KEY", SECRETS[1]),
        ("AWS_SESSION_TOKEN", SECRETS[2]),
    ];
    let run = scene.run_until_it_is_dark(&environment);
    kill(pid(&run), Signal::SIGINT).expect("the run goes on");
    let output = run.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let dir = scene.path("run");
    nowhere_in(&dir, &SECRETS);
    let mut said = [output.stdout, output.stderr].concat();
    // An account that cannot be reached is when a harness is most tempted to say everything it knows.
    let journal = std::fs::read_to_string(dir.join("journal.jsonl")).expect("a journal");
    std::fs::write(
        dir.join("journal.jsonl"),
        journal.replace("\"reverted\"", "\"revert_failed\""),
    )
    .expect("written");
    let target = scene.path("target.yaml");
    scene.runtime.shutdown_background();
    for arguments in [
        vec![dir.as_os_str()],
        vec!["--scan".as_ref(), "--target".as_ref(), target.as_os_str()],
    ] {
        let output = tenfold()
            .arg("revert")
            .args(arguments)
            .envs(environment)
            .output()
            .expect("tenfold runs");
        assert!(matches!(output.status.code(), Some(5 | 6)), "{output:?}");
        said.extend([output.stdout, output.stderr].concat());
    }
    nowhere_in(&dir, &SECRETS);
    let said = String::from_utf8_lossy(&said);
    for secret in SECRETS {
        assert!(!said.contains(secret), "{said}");
    }
}

/// `tenfold revert` on the run directory of a bench.
async fn revert_of(dir: &Path) -> (i32, String, String) {
    let mut command = tokio::process::Command::from(tenfold());
    let output = command.arg("revert").arg(dir).output().await.expect("tenfold runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap_or(-1),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_else_has_changed_meanwhile_is_left_and_is_exit_6() {
    let mut bench = Bench::start(json!({}), 120.0).await;
    crate::chaos_runner::add(&mut bench, "dns", Fault::Route53InvertHealthCheck);
    let (events, _seen) = mpsc::channel(1000);
    let runner = bench.runner(events);
    runner.inject(fault("region-blackout")).await.expect("is injected");
    runner
        .inject(fault("route53.invert_health_check"))
        .await
        .expect("is injected");
    drop(runner);
    let dir = bench.journal().parent().expect("a folder").to_owned();
    let plan = serde_json::to_vec(&*bench.plan).expect("a plan serialises");
    std::fs::write(dir.join("plan.json"), plan).expect("the plan is written");
    // Somebody moves a subnet under an ACL of theirs, and gives the health check another path.
    let (subnet, check) = {
        let mut world = bench.lab.world();
        let region = world.regions.get_mut(REGION).expect("a Region");
        let default = region.network_acls.values().find(|acl| acl.is_default).expect("an ACL");
        let mut theirs = default.clone();
        theirs.id = "acl-theirs".to_owned();
        theirs.is_default = false;
        region.network_acls.insert(theirs.id.clone(), theirs);
        let subnet = region.subnets.values_mut().next().expect("a subnet");
        subnet.network_acl_id = "acl-theirs".to_owned();
        let subnet = subnet.id.clone();
        let check = world
            .route53
            .health_checks
            .values_mut()
            .find(|check| check.inverted)
            .expect("inverted");
        check.version += 1;
        check.resource_path = "/theirs".to_owned();
        (subnet, check.id.clone())
    };
    for _ in 0..2 {
        let (code, stdout, stderr) = revert_of(&dir).await;
        assert_eq!(code, 6, "{stdout}{stderr}");
        for expected in [
            "error: region-blackout[0] is still in the world",
            &format!("{subnet} is under acl-theirs, and was under "),
            "error: route53.invert_health_check[0] is still in the world",
            &format!("health check {check} is at version "),
            "somebody else has changed it meanwhile, so it is left as found",
            "hint:",
        ] {
            assert!(stderr.contains(expected), "{expected} is not in\n{stderr}");
        }
        let first = stderr.find("region-blackout[0]").expect("it is told");
        assert!(
            stderr.find("route53.invert").expect("it is told") < first,
            "the youngest first: {stderr}"
        );
        let world = bench.lab.world();
        let region = &world.regions[REGION];
        assert_eq!(region.subnets[&subnet].network_acl_id, "acl-theirs");
        assert_eq!(region.network_acls.len(), 2, "ours is deleted, theirs is not");
        let check = &world.route53.health_checks[&check];
        assert!(check.inverted && check.resource_path == "/theirs");
    }
    // They put it back: nothing is left, and nothing more is done.
    {
        let mut world = bench.lab.world();
        let region = world.regions.get_mut(REGION).expect("a Region");
        let default = region
            .network_acls
            .values()
            .find(|acl| acl.is_default)
            .expect("an ACL")
            .id
            .clone();
        region.subnets.get_mut(&subnet).expect("a subnet").network_acl_id = default;
        world.route53.health_checks.get_mut(&check).expect("a check").inverted = false;
    }
    let (code, stdout, stderr) = revert_of(&dir).await;
    assert_eq!(code, 0, "{stdout}{stderr}");
    let journal = std::fs::read_to_string(bench.journal()).expect("a journal");
    let (code, stdout, stderr) = revert_of(&dir).await;
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    assert_eq!(stdout, "nothing of this run is in the world\n");
    assert_eq!(
        std::fs::read_to_string(bench.journal()).expect("a journal"),
        journal,
        "nothing more is done"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_finds_what_it_needs_in_the_tags_alone() {
    let bench = Bench::start(json!({}), 240.0).await;
    let before = bench.network().await;
    let (events, _seen) = mpsc::channel(1000);
    let runner = bench.runner(events);
    runner.inject(fault("region-blackout")).await.expect("is injected");
    let tags: Value = {
        let world = bench.lab.world();
        let acls = &world.regions[REGION].network_acls;
        let ours = acls.values().find(|acl| !acl.is_default).expect("an ACL of ours");
        json!(ours.tags)
    };
    for (subnet, acl) in &before.0 {
        assert_eq!(tags[format!("tenfold:before:{subnet}")], json!(acl), "{tags}");
    }
    let pace = bench.clock.pace();
    let account = bench.plan.target.account.clone().expect("an account");
    let refused = chaos::scan(&bench.reader, "999999999999", pace).await;
    assert!(matches!(refused, Err(chaos::ChaosError::Refused(_))), "{refused:?}");
    let found = chaos::scan(&bench.reader, &account, pace).await.expect("a scan");
    let [leftover] = &found.left[..] else {
        panic!("one fault is there: {found:?}");
    };
    let now = bench.clock.clock().cloud_unix();
    assert!(
        !leftover.is_expired(now) && leftover.is_expired(now + 3601.0),
        "{leftover}"
    );
    chaos::undo_leftover(&bench.writer, pace, leftover)
        .await
        .expect("is undone");
    assert_eq!(bench.network().await, before);
    let found = chaos::scan(&bench.reader, &account, pace).await.expect("a scan");
    assert_eq!(found, chaos::Scan::default());
}
