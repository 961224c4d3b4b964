//! Proof that the verdict means something: the shipped game day, one thing changed, and what must come of it.
//!
//! Where the change concerns one experiment, the day is made of that one alone and of the way up that `truth` takes,
//! where all three experiments are met with every seed.

use std::process::Command;
use std::time::{Duration, Instant};

use tenfold::event::Event;
use tenfold::judge::{ObjectiveVerdict, Outcome};
use tenfold::recording::Ended;

use crate::support::{Run, finish, game_day, machine, start_game_day};

/// The verdicts of one measure, by the word that begins the objective.
fn objectives(run: &Run, measure: &str) -> Vec<ObjectiveVerdict> {
    let is_it = |text: &str| text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next() == Some(measure);
    run.verdict()
        .objectives
        .into_iter()
        .filter(|verdict| is_it(&verdict.objective))
        .collect()
}

fn assert_outcome(run: &Run, measure: &str, outcome: Outcome) {
    let found = objectives(run, measure);
    assert!(
        found.iter().any(|verdict| verdict.outcome == outcome),
        "{measure} is not {outcome:?}\n{}",
        run.account()
    );
}

/// A day of one experiment, held until that is over.
struct Day {
    chaos: &'static str,
    stages: &'static str,
    at: &'static str,
}

const INSTANCE_LOSS: Day = Day {
    chaos: "chaos=[chaos/instance-loss.yaml]",
    stages: "stages=[{tier: 3, users: 20_000, ramp: 3m, hold: 10m}]",
    at: "experiments.instance-loss.faults.0.at=hold + 4m",
};

const DATABASE_FAILOVER: Day = Day {
    chaos: "chaos=[chaos/database-failover.yaml]",
    stages: "stages=[{tier: 3, users: 20_000, ramp: 3m, hold: 18m}]",
    at: "experiments.database-failover.faults.0.at=hold + 4m",
};

const REGION_BLACKOUT: Day = Day {
    chaos: "chaos=[chaos/region-blackout.yaml]",
    stages: "stages=[{tier: 3, users: 20_000, ramp: 3m, hold: 18m}]",
    at: "experiments.region-blackout.faults.0.at=hold + 4m",
};

/// The shipped way up, without the hold that the experiments need.
const WAY_UP: &str = "stages.2.hold=4m";

impl Day {
    fn with(&self, change: &'static str) -> [&'static str; 4] {
        [self.chaos, self.stages, self.at, change]
    }
}

#[test]
fn verdict_unchanged_game_day_is_met() {
    let _turn = machine();
    let run = game_day(0, &[]);
    let verdict = run.verdict();
    assert!(verdict.objectives.len() >= 10, "{}", run.account());
    assert_eq!(verdict.faults.len(), 3);
    for name in ["report.json", "report.html", "junit.xml", "journal.jsonl"] {
        assert!(
            run.path().join(name).metadata().is_ok_and(|meta| meta.len() > 0),
            "{name} is missing"
        );
    }
    report_again_is_byte_for_byte_the_same(&run);
}

fn report_again_is_byte_for_byte_the_same(run: &Run) {
    let before = std::fs::read(run.path().join("report.json")).expect("the report is saved");
    std::fs::remove_file(run.path().join("report.json")).expect("it can be removed");
    let again = crate::support::tenfold()
        .arg("report")
        .arg(run.path())
        .output()
        .expect("tenfold runs");
    assert_eq!(
        again.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&again.stderr)
    );
    assert_eq!(
        before,
        std::fs::read(run.path().join("report.json")).expect("the report is saved again")
    );
}

#[test]
fn verdict_without_multi_az_recovery_is_missed() {
    let _turn = machine();
    let run = game_day(1, &DATABASE_FAILOVER.with("lab.database.multi_az=false"));
    assert_outcome(&run, "recovery", Outcome::Missed);
}

#[test]
fn verdict_with_an_asynchronous_standby_counts_exactly_the_lost_writes() {
    let _turn = machine();
    // At this pace the default lag of 0.2-2 s is a few real milliseconds, in which now and then no order falls.
    let run = game_day(
        1,
        &DATABASE_FAILOVER.with("lab.database={replication: asynchronous, standby_lag: [10s, 20s]}"),
    );
    assert_outcome(&run, "lost_writes", Outcome::Missed);
    let mut lost: Vec<String> = run.recording().ledgers["orders"]
        .lost
        .iter()
        .map(|write| write.id.clone())
        .collect();
    let mut truth: Vec<String> = run
        .truth()
        .iter()
        .filter(|line| line["what"] == "database" && line["state"] == "lost")
        .flat_map(|line| line["detail"]["ids"].as_array().cloned().unwrap_or_default())
        .filter_map(|id| id.as_str().map(str::to_owned))
        .collect();
    lost.sort();
    truth.sort();
    assert!(!truth.is_empty(), "the lab lost nothing\n{}", run.account());
    assert_eq!(lost, truth);
}

#[test]
fn verdict_without_health_checks_routing_is_missed() {
    let _turn = machine();
    let run = game_day(1, &REGION_BLACKOUT.with("lab.health_checks.enabled=false"));
    assert_outcome(&run, "shift", Outcome::Missed);
}

#[test]
fn verdict_with_launch_suspended_self_heal_is_missed() {
    let _turn = machine();
    let run = game_day(1, &INSTANCE_LOSS.with("lab.web.suspended=[Launch]"));
    assert_outcome(&run, "self_heal", Outcome::Missed);
}

#[test]
fn verdict_with_too_small_a_group_scale_out_or_latency_is_missed() {
    let _turn = machine();
    let run = game_day(1, &["lab.web.max=3", "chaos=[]", WAY_UP]);
    let missed = |measure| {
        objectives(&run, measure)
            .iter()
            .any(|verdict| verdict.outcome == Outcome::Missed)
    };
    assert!(missed("scale_out") || missed("latency"), "{}", run.account());
}

#[test]
fn verdict_when_the_target_matches_nothing_is_inconclusive() {
    let _turn = machine();
    // Nothing carries the tag that allows it to be broken.
    let run = game_day(3, &["lab.tagged=false", crate::truth::SHORTER]);
    assert_outcome(&run, "self_heal", Outcome::Inconclusive);
}

#[test]
fn verdict_when_the_fault_has_no_effect_is_inconclusive() {
    let _turn = machine();
    let run = game_day(3, &INSTANCE_LOSS.with("lab.ec2.terminate_has_effect=false"));
    assert_outcome(&run, "self_heal", Outcome::Inconclusive);
}

#[test]
fn verdict_of_a_starved_generator_is_inconclusive() {
    let _turn = machine();
    let run = game_day(3, &INSTANCE_LOSS.with("test.forced_lag=400ms"));
    assert_outcome(&run, "latency", Outcome::Inconclusive);
}

#[test]
fn verdict_after_a_stop_condition_is_stopped_and_reverted() {
    let _turn = machine();
    let run = game_day(
        4,
        &REGION_BLACKOUT.with("experiments.region-blackout.stop_when=[\"errors > 20% for 30s\"]"),
    );
    let recording = run.recording();
    assert_eq!(recording.ended, Ended::Stopped);
    assert!(
        recording
            .events
            .iter()
            .any(|stamped| matches!(stamped.event, Event::StopConditionMet { .. }))
    );
    assert_reverted(&run);
}

#[test]
fn verdict_after_ctrl_c_in_the_blackout_is_130_and_the_network_is_back() {
    let _turn = machine();
    let (child, dir) = start_game_day(&REGION_BLACKOUT.with("seed=1"));
    let journal = dir.path().join("run/journal.jsonl");
    let truth = dir.path().join("run/lab-truth.jsonl");
    let deadline = Instant::now() + Duration::from_secs(90);
    let blacked_out = || {
        std::fs::read_to_string(&truth).is_ok_and(|text| {
            let lines = text
                .lines()
                .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            lines
                .into_iter()
                .any(|line| line["what"] == "region" && line["state"] == "down")
        })
    };
    while !blacked_out() {
        assert!(
            Instant::now() < deadline,
            "the blackout never came; journal: {:?}",
            std::fs::read_to_string(&journal)
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .expect("kill runs");
    assert!(sent.success());
    let run = finish(child, dir);
    assert_eq!(run.code, 130, "{}", run.account());
    assert_eq!(run.recording().ended, Ended::Interrupted);
    assert_reverted(&run);
}

/// The lab itself says that the Region came back.
fn assert_reverted(run: &Run) {
    let states: Vec<String> = run
        .truth()
        .iter()
        .filter(|line| line["what"] == "region")
        .filter_map(|line| line["state"].as_str().map(str::to_owned))
        .collect();
    assert!(states.iter().any(|state| state == "down"), "{}", run.account());
    assert_eq!(states.last().map(String::as_str), Some("up"), "{}", run.account());
}
