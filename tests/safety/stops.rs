//! What ends a run, and undoes what it has in the world: interrupts, stop conditions, alarms and its own mistakes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tenfold::clock::{Clock, from_unix};
use tenfold::plan::Plan;
use tenfold::run::chaos::{Journal, RunHeader};
use tenfold::run::control::uncontrolled;
use tenfold::run::director::{self, Keep, RunError, Setup};
use tokio::sync::mpsc;

use super::{Account, BLACKOUT, REGION, SUSPEND, blackout, contains, has, records, said, signal, wait_for};

#[test]
fn a_second_interrupt_tells_how_to_revert_and_the_run_goes_on_reverting() {
    let account = Account::with(BLACKOUT);
    let run = blackout(&account, "run");
    // A lab that stands still keeps the revert waiting.
    account.lab.signal(Signal::SIGSTOP);
    signal(&run, Signal::SIGINT);
    let journal = account.path("run/journal.jsonl");
    wait_for("the revert", || has(&journal, "revert_intent"));
    signal(&run, Signal::SIGTERM);
    std::thread::sleep(Duration::from_millis(200));
    account.lab.signal(Signal::SIGCONT);
    let (code, _, stderr) = said(run.wait_with_output().expect("tenfold ends"));
    assert_eq!(code, 130, "{stderr}");
    contains(
        &stderr,
        &[
            "interrupted: reverting what is in the world",
            "still reverting\nhint: if this process dies, undo by hand with: tenfold revert ",
        ],
    );
    assert!(has(&journal, "reverted"), "{:#?}", records(&journal));
}

/// What happened in a saved run, as real seconds since t0 and the event.
fn events(run: &Path) -> Vec<(f64, Value)> {
    let text = std::fs::read(run.join("recording.json")).expect("the run was saved");
    let recording: Value = serde_json::from_slice(&text).expect("it is JSON");
    let events = recording["events"].as_array().expect("events").iter();
    events
        .map(|event| (event["at"].as_f64().expect("a time"), event.clone()))
        .collect()
}

fn at(events: &[(f64, Value)], name: &str) -> f64 {
    let found = events.iter().find(|(_, event)| event["event"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {events:#?}")).0
}

#[test]
fn a_stop_condition_acts_within_a_second_of_being_met() {
    let account = Account::with(SUSPEND);
    // Everything fails from the first request on; a minute of cloud time is half a second, which one slice decides.
    account.write(
        "harm.yaml",
        "name: harm\nhypothesis: h\nfaults:\n  - { fault: autoscaling.suspend, role: web, processes: [Launch], at: 8m, lasts: 9m }\n\
         settle: 30s\nstop_when: [ errors > 50% for 1m ]\n",
    );
    let always_fails = [
        "--set",
        "journeys.browse.steps.0={ get: /products/1, expect: { status: 299 } }",
        "--set",
        "stages.0.hold=20m",
    ];
    let hash = account.hash_of(&always_fails);
    let arguments = [
        &["run", "profile.yaml", "--out", "run", "--approve", &hash][..],
        &always_fails,
    ]
    .concat();
    let (code, stdout, stderr) = account.said(&arguments);
    assert_eq!(code, 4, "{stdout}{stderr}");
    let says = "STOPPED  Stopped by the stop condition \"errors > 50% for 1m\" and reverted. ";
    assert!(stdout.starts_with(says), "{stdout}");
    let events = events(&account.path("run"));
    // The first whole second of the schedule in which the condition counts is the one in which the fault comes.
    let met = at(&events, "fault_started").floor() + 1.0;
    let (stopped, reverting) = (at(&events, "stop_condition_met"), at(&events, "fault_revert_started"));
    assert!(
        stopped >= met && stopped < met + 1.0,
        "met at {met}, stopped at {stopped}"
    );
    assert!(
        reverting - stopped < 1.0,
        "stopped at {stopped}, reverting at {reverting}"
    );
    assert!(has(&account.path("run/journal.jsonl"), "reverted"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_stops_and_reverts_and_one_that_is_not_there_or_rings_is_refused() {
    let account = Account::with(SUSPEND);
    let (reader, _) = account.clients().await;
    let all = reader
        .alarms(REGION, Some("TargetTracking-"))
        .await
        .expect("AWS answers");
    let high = all
        .iter()
        .find(|alarm| alarm.name.contains("AlarmHigh"))
        .expect("an alarm");
    let stop_when = |alarm: &str| {
        account.write(
            "harm.yaml",
            &format!(
                "name: harm\nhypothesis: h\nfaults:\n  - {{ fault: autoscaling.suspend, role: web, processes: [Launch], at: 1m, lasts: 50m }}\n\
                 settle: 30s\nstop_when:\n  - alarm {alarm}\n"
            ),
        );
    };
    stop_when("no-such-alarm");
    let stderr = account.refused(&["--set", "stages.0.hold=60m"]);
    contains(
        &stderr,
        &[
            "there is no alarm \"no-such-alarm\" in us-east-1",
            "harm.yaml:7:5",
            "hint:",
        ],
    );
    stop_when(&high.name);
    let long = ["--set", "stages.0.hold=60m"];
    let hash = account.hash_of(&long);
    let run = account
        .tenfold(&[&["run", "profile.yaml", "--out", "run", "--approve", &hash][..], &long].concat())
        .spawn()
        .expect("tenfold starts");
    let journal = account.path("run/journal.jsonl");
    wait_for("the fault", || has(&journal, "observed"));
    let ringing = tokio::spawn(ring(account.lab.endpoint.clone(), high.name.clone()));
    let (code, stdout, stderr) = said(run.wait_with_output().expect("tenfold ends"));
    assert_eq!(code, 4, "{stdout}{stderr}");
    assert!(has(&journal, "reverted"), "{:#?}", records(&journal));
    let events = events(&account.path("run"));
    let met = events
        .iter()
        .find(|(_, event)| event["event"] == "stop_condition_met")
        .expect("it stopped");
    assert_eq!(met.1["condition"], format!("alarm {}", high.name));
    let refused = (0..ATTEMPTS_MAX).find_map(|attempt| {
        let out = format!("run-{attempt}");
        let (code, stdout, stderr) =
            account.said(&[&["run", "profile.yaml", "--out", &out, "--approve", &hash][..], &long].concat());
        // An evaluation that falls on the moment of the check says otherwise: such a run begins, and is stopped.
        (code != 4).then(|| (code, stdout + &stderr))
    });
    ringing.abort();
    let (code, said) = refused.expect("it is refused");
    assert_eq!(code, 2, "{said}");
    contains(&said, &["is in ALARM in us-east-1 already", "harm.yaml:7:5", "hint:"]);
}

/// How often a run is begun while an alarm rings, until its evaluation leaves it ringing.
const ATTEMPTS_MAX: usize = 5;

/// Says again and again that an alarm rings, since its next evaluation, a minute of the lab's time later, says otherwise.
async fn ring(endpoint: String, alarm: String) {
    let config = aws_config::defaults(aws_config::BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(aws_config::Region::new(REGION))
        .credentials_provider(aws_credential_types::Credentials::new(
            "test", "test", None, None, "test",
        ))
        .load()
        .await;
    let client = aws_sdk_cloudwatch::Client::new(&config);
    loop {
        let call = client.set_alarm_state().alarm_name(&alarm).state_reason("a test");
        call.state_value(aws_sdk_cloudwatch::types::StateValue::Alarm)
            .send()
            .await
            .expect("the lab answers");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistake_of_the_runs_own_reverts_what_is_in_the_world() {
    let account = Account::with(BLACKOUT);
    let (_, plan, stderr) = account.said(&["plan", "profile.yaml", "--set", "stages.0.hold=2h", "--json"]);
    let plan: Plan = serde_json::from_str(&plan).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    let epoch = account.lab.announcement["clock"]["epoch"].as_f64().expect("a time");
    let journal = account.path("journal.jsonl");
    let watched = journal.clone();
    let written = Journal::create(&journal, RunHeader::new(&plan))
        .expect("a journal")
        .into();
    let (_interrupt, interrupts) = mpsc::channel(1);
    let setup = Setup {
        clock: Clock::new(from_unix(epoch), plan.pace),
        plan: Arc::new(plan),
        account: Some(account.clients().await),
        journal: Some(written),
        interrupts,
        orders: uncontrolled(),
        // What tells of each second stands in the middle of the run.
        progress: Box::new(move |_| assert!(!has(&watched, "observed"), "this panic is the test's")),
        keep: Keep::Seconds,
    };
    let Err(RunError::Broken(reverts)) = director::run(setup).await else {
        panic!("it did not break off");
    };
    assert_eq!((reverts.reverted.len(), reverts.failed.len()), (1, 0), "{reverts:?}");
    assert!(has(&journal, "reverted"), "{:#?}", records(&journal));
}
