//! `tenfold revert --scan`: what runs left in an account, with no journal to tell of it.

use std::path::Path;
use std::process::Child;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use tenfold::plan::{CATALOGUE, Fault};
use tenfold::run::chaos;
use tokio::sync::mpsc;

use super::{Scene, pid, wait_for, watchdog_of};
use crate::chaos_in_lab::{Bench, REGION, fault};
use crate::kill_matrix::{difference, quick, state};
use crate::support::little_of_the_machine;

/// Ends a run with its watchdog, and takes away its directory, so that nobody knows what it did.
fn lose(run: &mut Child, dir: &Path) {
    kill(watchdog_of(dir).expect("it watches"), Signal::SIGKILL).expect("it lives");
    kill(pid(run), Signal::SIGKILL).expect("the run goes on");
    run.wait().expect("it ends");
    std::fs::remove_dir_all(dir).expect("it is deleted");
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
