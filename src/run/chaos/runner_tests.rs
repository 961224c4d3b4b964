//! The runner against the small cloud in memory: what is journalled, told, undone and refused.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use super::ChaosError;
use super::journal::{Journal, Record, RunHeader, read};
use super::revert::revert_journal;
use super::runner::Runner;
use super::testing::{FakeCloud, REGION, fault, plan};
use crate::aws::{Association, ErrorKind, NetworkAcl, Tags};
use crate::clock::{Clock, RunClock};
use crate::event::{Event, Stamped};

struct Bench {
    runner: Runner<FakeCloud>,
    cloud: FakeCloud,
    events: mpsc::Receiver<Stamped>,
    folder: tempfile::TempDir,
}

fn bench() -> Bench {
    bench_with(|_| {})
}

fn bench_with(change: impl FnOnce(&mut crate::plan::Plan)) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = plan();
    change(&mut plan);
    let journal = Journal::create(&folder.path().join("journal.jsonl"), RunHeader::new(&plan)).unwrap();
    let clock = RunClock::new(Clock::starting_now(plan.pace), Instant::now());
    let (sender, events) = mpsc::channel(100);
    let cloud = FakeCloud::new();
    Bench {
        runner: Runner::new(Arc::new(plan), cloud.clone(), clock, journal, sender),
        cloud,
        events,
        folder,
    }
}

impl Bench {
    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.events.try_recv().ok())
            .map(|stamped| stamped.event)
            .collect()
    }

    fn records(&self) -> Vec<Record> {
        read(&self.folder.path().join("journal.jsonl")).unwrap().records
    }

    fn names(&mut self) -> Vec<String> {
        let name = |event: &Event| {
            serde_json::to_value(event).unwrap()["event"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        self.events().iter().map(name).collect()
    }
}

#[tokio::test]
async fn a_blackout_is_put_back_exactly_and_only_once() {
    let mut bench = bench();
    let before = bench.cloud.placement();
    bench.runner.inject(fault("blackout")).await.unwrap();
    assert!(bench.cloud.placement().values().all(|acl| acl == "acl-new-1"));
    assert_eq!(bench.runner.in_world(), vec![fault("blackout")]);
    bench.runner.revert(fault("blackout")).await.unwrap();
    assert_eq!(bench.cloud.placement(), before);
    assert_eq!(bench.cloud.with(|world| world.acls.len()), 1);
    let calls = bench.cloud.with(|world| world.calls.len());
    bench.runner.revert(fault("blackout")).await.unwrap();
    assert!(bench.runner.revert_all().await.reverted.is_empty());
    assert_eq!(bench.cloud.with(|world| world.calls.len()), calls);
    let expected = [
        "fault_started",
        "fault_injected",
        "fault_observed",
        "fault_revert_started",
        "fault_reverted",
    ];
    assert_eq!(bench.names(), expected);
    let records = bench.records();
    let intent = records
        .iter()
        .position(|record| matches!(record, Record::Intent { .. }));
    let call = records.iter().position(|record| matches!(record, Record::Call { .. }));
    assert!(intent.unwrap() < call.unwrap());
}

#[tokio::test]
async fn a_blackout_that_fails_half_way_is_withdrawn() {
    let mut bench = bench();
    let before = bench.cloud.placement();
    bench.cloud.with(|world| {
        // The second replacement is refused for good.
        world.failures.push(("replace", 1, ErrorKind::Denied));
    });
    assert!(bench.runner.inject(fault("blackout")).await.is_err());
    assert_eq!(bench.cloud.placement(), before);
    assert_eq!(bench.cloud.with(|world| world.acls.len()), 1);
    let names = bench.names();
    assert_eq!(names.last().unwrap(), "fault_failed");
    assert!(!names.contains(&"fault_injected".to_owned()));
}

#[tokio::test]
async fn old_answers_do_not_make_a_revert_look_done() {
    let bench = bench();
    let before = bench.cloud.placement();
    let old = bench.cloud.with(|world| world.acls.clone());
    bench.runner.inject(fault("blackout")).await.unwrap();
    bench.cloud.with(|world| world.stale_acls.extend([old.clone(), old]));
    let summary = bench.runner.revert_all().await;
    assert_eq!(summary.reverted, vec![fault("blackout")]);
    assert_eq!(bench.cloud.placement(), before);
}

#[tokio::test]
async fn a_subnet_that_somebody_else_moved_is_left_alone() {
    let bench = bench();
    bench.runner.inject(fault("blackout")).await.unwrap();
    bench.cloud.with(|world| {
        let ours = world.acls.iter_mut().find(|acl| acl.id == "acl-new-1").unwrap();
        let taken: Association = ours.associations.remove(0);
        world.acls.push(NetworkAcl {
            id: "acl-theirs".to_owned(),
            vpc: "vpc-1".to_owned(),
            tags: Tags::new(),
            associations: vec![taken],
        });
    });
    bench.runner.revert(fault("blackout")).await.unwrap();
    let placement = bench.cloud.placement();
    assert_eq!(placement["subnet-a"], "acl-theirs");
    assert_eq!(placement["subnet-b"], "acl-default");
    assert_eq!(placement["subnet-c"], "acl-default");
}

#[tokio::test]
async fn a_dead_run_is_undone_from_its_journal_alone() {
    let bench = bench();
    let before = bench.cloud.placement();
    bench.runner.inject(fault("blackout")).await.unwrap();
    let path = bench.folder.path().join("journal.jsonl");
    // The crash tore the last line.
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 20]).unwrap();
    let summary = revert_journal(&path, &bench.cloud).await.unwrap();
    assert_eq!(summary.reverted, vec![fault("blackout")]);
    assert_eq!(bench.cloud.placement(), before);
    assert_eq!(revert_journal(&path, &bench.cloud).await.unwrap(), Default::default());
}

#[tokio::test]
async fn a_journal_is_not_reverted_in_another_account() {
    let bench = bench();
    bench.runner.inject(fault("blackout")).await.unwrap();
    bench.cloud.with(|world| world.account = "999999999999".to_owned());
    let calls = bench.cloud.with(|world| world.calls.len());
    let path = bench.folder.path().join("journal.jsonl");
    assert!(matches!(
        revert_journal(&path, &bench.cloud).await,
        Err(ChaosError::Refused(_))
    ));
    assert_eq!(bench.cloud.with(|world| world.calls.len()), calls);
}

#[tokio::test]
async fn instances_are_terminated_and_never_called_back() {
    let mut bench = bench();
    bench.runner.inject(fault("loss")).await.unwrap();
    let gone = |world: &mut super::testing::World| {
        world
            .instances
            .iter()
            .filter(|one| one.state == "shutting-down")
            .count()
    };
    assert_eq!(bench.cloud.with(gone), 1);
    assert!(bench.runner.in_world().is_empty());
    assert_eq!(bench.runner.revert_all().await, Default::default());
    assert_eq!(bench.names(), ["fault_started", "fault_injected", "fault_observed"]);
}

#[tokio::test]
async fn what_matches_nothing_or_may_not_be_touched_is_never_started() {
    type Change = fn(&mut super::testing::World);
    let cases: [(&str, Change); 7] = [
        ("loss", |world| world.group = None),
        ("loss", |world| world.group.as_mut().unwrap().members.clear()),
        ("loss", |world| {
            world.instances.iter_mut().for_each(|one| one.tags.clear())
        }),
        ("loss", |world| world.account = "999999999999".to_owned()),
        ("failover", |world| world.database = None),
        ("failover", |world| world.database.as_mut().unwrap().secondary_az = None),
        ("blackout", |world| world.subnets[1].tags.clear()),
    ];
    for (name, change) in cases {
        let mut bench = bench();
        bench.cloud.with(change);
        assert!(bench.runner.inject(fault(name)).await.is_err(), "{name}");
        assert_eq!(bench.names(), ["fault_failed"], "{name}");
        assert!(bench.cloud.with(|world| world.calls.is_empty()), "{name}");
        assert_eq!(bench.records().len(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_single_az_database_is_rebooted_and_said_to_be() {
    let mut bench = bench();
    bench.cloud.with(|world| {
        let database = world.database.as_mut().unwrap();
        (database.multi_az, database.secondary_az) = (false, None);
    });
    bench.runner.inject(fault("failover")).await.unwrap();
    assert_eq!(bench.cloud.with(|world| world.calls.clone()), ["reboot"]);
    let evidence = bench.events().into_iter().find_map(|event| match event {
        Event::FaultObserved { evidence, .. } => Some(evidence),
        _ => None,
    });
    assert!(evidence.unwrap().contains("not Multi-AZ"));
}

#[tokio::test]
async fn an_unanswered_call_that_had_its_effect_counts_as_injected() {
    let mut bench = bench();
    bench.cloud.with(|world| {
        world.failures.push(("terminate", 0, ErrorKind::Unreachable));
        world
            .instances
            .iter_mut()
            .for_each(|one| one.state = "running".to_owned());
    });
    let cloud = bench.cloud.clone();
    let late = tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        cloud.with(|world| {
            world
                .instances
                .iter_mut()
                .for_each(|one| one.state = "terminated".to_owned())
        });
    });
    bench.runner.inject(fault("loss")).await.unwrap();
    late.await.unwrap();
    assert_eq!(bench.names(), ["fault_started", "fault_injected", "fault_observed"]);
}

#[tokio::test]
async fn nothing_is_injected_once_the_run_is_ending_and_the_last_region_stays() {
    let mut bench = bench();
    bench.runner.revert_all().await;
    assert!(matches!(
        bench.runner.inject(fault("blackout")).await,
        Err(ChaosError::Ending)
    ));
    assert_eq!(bench.names(), ["fault_failed"]);
    let mut alone = bench_with(|plan| plan.target.regions = vec![REGION.to_owned()]);
    assert!(alone.runner.inject(fault("blackout")).await.is_err());
    assert_eq!(alone.names(), ["fault_failed"]);
}
