//! The watchdog: what a run has in the world when it dies, hangs, or lets a fault stay past its lease.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{PACE, Scene, holds, pid, wait_for, watchdog_of};
use crate::chaos_in_lab::{Bench, fault};
use crate::support::{little_of_the_machine, tenfold};

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
