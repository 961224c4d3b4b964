//! What somebody else does to a fault: reverts it while its run goes on or stands still, or changes what it changed.

use std::path::Path;
use std::process::Child;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use tenfold::plan::Fault;
use tokio::sync::mpsc;

use super::{Scene, holds, pid, wait_for};
use crate::chaos_in_lab::{Bench, REGION, fault};
use crate::support::{machine, tenfold};

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
