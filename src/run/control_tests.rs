//! Commands to a run: what changes, what does not, what is refused, and what the load is told.

use super::*;
use crate::judge::fixture::{self, cloud};
use crate::plan::{ExperimentPlan, Fault};

const SECOND: u64 = 1_000_000;

/// Two stages of 30 real seconds, a fault at 20 s that has settled at 25 s.
fn plan() -> Plan {
    let mut plan = fixture::plan(Fault::RdsFailover, "database", Vec::new());
    plan.experiments[0].settle = cloud(5.0);
    let mut second = plan.stages[0].clone();
    plan.stages[0].ends_at = cloud(30.0);
    (second.starts_at, second.holds_at) = (cloud(30.0), cloud(30.0));
    plan.stages.push(second);
    plan
}

#[test]
fn a_command_that_changes_nothing_is_no_event() {
    use Command::{Hold, Pause, Resume, Scale, Status};
    let plan = plan();
    let (mut helm, told) = Helm::new(&plan);
    let half = Scale { times: 0.5 };
    let cases = [
        (Status, false),
        (Resume, false),
        (Pause, true),
        (Pause, false),
        (Hold, true),
        (Hold, false),
        (half.clone(), true),
        (half, false),
        (Resume, true),
        (Resume, false),
        (Command::Mark { text: " x ".to_owned() }, true),
    ];
    for (index, (command, changes)) in cases.into_iter().enumerate() {
        let (event, said) = helm.take(&plan, index as u64, &command, &[]).unwrap();
        assert_eq!(event.is_some(), changes, "{command:?}");
        assert!(!said.is_empty());
    }
    let told = told.borrow()[0].steering;
    assert_eq!(told, helm.steering());
    assert!(!told.paused() && !told.held() && told.times() == 0.5);
}

#[test]
fn what_is_refused_leaves_the_run_as_it_was() {
    let plan = plan();
    let text = |text: &str| Command::Mark { text: text.to_owned() };
    let scale = |times| Command::Scale { times };
    let (long, no_fault): (String, &[&str]) = ("x".repeat(201), &[]);
    let cases = [
        (1, Command::Skip, no_fault, "would be left out; it begins at 10m"),
        (21, Command::Skip, no_fault, "test is under way"),
        (26, Command::Skip, &["test"][..], "test is in the world"),
        (31, Command::Skip, no_fault, "no stage comes after this one"),
        (1, scale(0.0), no_fault, "above 0 and at most 100"),
        (1, scale(-1.0), no_fault, "above 0 and at most 100"),
        (1, scale(f64::NAN), no_fault, "above 0 and at most 100"),
        (1, scale(100.5), no_fault, "above 0 and at most 100"),
        (1, text(" "), no_fault, "one line"),
        (1, text("two\nlines"), no_fault, "one line"),
        (1, text("\u{1b}[2J"), no_fault, "one line"),
        (1, text(&long), no_fault, "one line"),
    ];
    for (second, command, in_world, expected) in cases {
        let (mut helm, told) = Helm::new(&plan);
        let in_world: Vec<String> = in_world.iter().map(|fault| (*fault).to_owned()).collect();
        let refusal = helm.take(&plan, second * SECOND, &command, &in_world).unwrap_err();
        assert!(refusal.to_string().contains(expected), "{command:?}: {refusal}");
        assert_eq!(*told.borrow(), [Steered::default()], "{command:?}");
    }
}

#[test]
fn a_skip_goes_to_the_next_stage_and_past_no_fault() {
    let plan = plan();
    let (mut helm, _told) = Helm::new(&plan);
    let (event, _) = helm.take(&plan, 26 * SECOND, &Command::Skip, &[]).unwrap();
    assert_eq!(event, Some(Event::Skipped { stage: 1 }));
    assert_eq!(helm.steering().schedule_us(27 * SECOND), 31 * SECOND);
    // A hold moves the fault, and with it the end of its settle time.
    let (mut helm, _told) = Helm::new(&plan);
    helm.take(&plan, 2 * SECOND, &Command::Hold, &[]).unwrap();
    assert!(helm.take(&plan, 26 * SECOND, &Command::Skip, &[]).is_err());
    // Without the experiment nothing is in the way.
    let mut free = plan.clone();
    free.experiments = Vec::<ExperimentPlan>::new();
    assert!(helm.take(&free, 26 * SECOND, &Command::Skip, &[]).is_ok());
    assert!(helm.steering().held(), "a skip ends no hold");
}

#[test]
fn a_level_that_no_process_can_hold_is_refused_unless_it_is_the_plan_s_own() {
    for (level, times, fits) in [
        (1_000.0, 100.0, true),
        (200_000.0, 60.0, false),
        (2e7, 0.5, true),
        (2e7, 1.1, false),
    ] {
        let mut plan = plan();
        plan.stages[1].level = level;
        assert_eq!(plan.check_scale(times).is_ok(), fits, "{level} {times}");
    }
}

#[tokio::test]
async fn who_asks_a_run_that_is_over_is_told() {
    let (control, orders) = control();
    drop(orders);
    assert_eq!(control.send(Command::Pause).await, Err(Refusal::Ending));
    let (control, mut orders) = super::control();
    let asked = tokio::spawn(async move { control.send(Command::Pause).await });
    drop(orders.recv().await);
    assert_eq!(asked.await.unwrap(), Err(Refusal::Ending));
}
