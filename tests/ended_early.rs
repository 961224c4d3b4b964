//! A fault that somebody else ends before its time: every kind is read back while it holds, and what is left of it is
//! undone.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tenfold::event::{Event, Stamped};
use tenfold::plan::{Fault, Role};
use tenfold::run::chaos::{Record, Runner, read_journal, revert_journal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::account::{DATABASE, GROUP, RECORD, REGION};
use crate::chaos_in_lab::{Bench, fault};
use crate::chaos_runner::add;
use crate::fis_in_lab;

/// How long anything is waited for, real time.
const PATIENCE: Duration = Duration::from_secs(20);

/// A fault in the world, and the runner that looks after it.
struct Held {
    bench: Bench,
    name: &'static str,
    runner: Arc<Runner>,
    events: mpsc::Receiver<Stamped>,
    tending: JoinHandle<()>,
}

impl Held {
    /// Injects the fault; it is still held half a cloud minute later, however often it is looked at.
    async fn start(role: &str, injected: Fault) -> Self {
        let name = injected.name();
        // Of a group that heals itself, nobody can start an instance again.
        let passive = json!({"suspended": ["HealthCheck", "ReplaceUnhealthy"]});
        let config = json!({
            "web": passive, "routing": "weighted", "control_plane": {"lag": "2s"},
            "database": {"stop": "30s", "start": "30s"},
        });
        let mut bench = Bench::start(config, 60.0).await;
        add(&mut bench, role, injected);
        let (sender, mut events) = mpsc::channel(1000);
        let runner = Arc::new(bench.runner(sender));
        runner
            .inject(fault(name))
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let tending = tokio::spawn({
            let runner = Arc::clone(&runner);
            async move { runner.tend(fault(name)).await }
        });
        bench.clock.clock().sleep_cloud(Duration::from_secs(30)).await;
        assert!(!tending.is_finished(), "{name} is held, and looked after");
        let told = ended(&mut events);
        assert_eq!(told, None, "{name} is held");
        Self {
            bench,
            name,
            runner,
            events,
            tending,
        }
    }

    fn hosted_zone(&self) -> &str {
        match &self.bench.plan.target.roles["dns"] {
            Role::Dns { hosted_zone, .. } => hosted_zone,
            other => panic!("{other:?}"),
        }
    }

    async fn arn(&self) -> String {
        let group = self.bench.reader.group(REGION, GROUP).await;
        group.expect("an answer").expect("a group").target_groups.remove(0)
    }

    /// Somebody else has ended it: that is told with what shows it, and what is left is undone.
    async fn noticed(mut self, shown: &str) {
        let name = self.name;
        tokio::time::timeout(PATIENCE, self.tending)
            .await
            .unwrap_or_else(|_| panic!("{name}: nobody noticed"))
            .expect("it ends");
        let all: Vec<Stamped> = std::iter::from_fn(|| self.events.try_recv().ok()).collect();
        let at = |wanted: &dyn Fn(&Event) -> bool| {
            let found = all.iter().find(|stamped| wanted(&stamped.event));
            found.unwrap_or_else(|| panic!("{name}: {all:#?}")).at
        };
        let early = |event: &Event| {
            let found = matches!(event, Event::FaultEndedEarly { evidence, .. } if evidence.contains(shown));
            found
        };
        let (early, begun) = (
            at(&early),
            at(&|event| matches!(event, Event::FaultRevertStarted { .. })),
        );
        assert!(early <= begun, "{name}: {early:?} and {begun:?}");
        at(&|event| matches!(event, Event::FaultReverted { .. }));
        let stops = |stamped: &Stamped| matches!(stamped.event, Event::StopConditionMet { .. });
        assert!(!all.iter().any(stops), "{name}: the run goes on: {all:#?}");
        assert_eq!(self.runner.in_world(), vec![], "{name}");
        let records = read_journal(&self.bench.journal()).expect("a journal").records;
        let told = records
            .iter()
            .position(|record| matches!(record, Record::EndedEarly { .. }));
        // Another process that reverts it may have noted that before; the run's own is the last.
        let reverted = records
            .iter()
            .rposition(|record| matches!(record, Record::Reverted { .. }));
        assert!(told.is_some() && told < reverted, "{name}: {records:#?}");
        self.runner.revert(fault(name)).await.expect("once more is harmless");
    }
}

/// The evidence of an end that was told already.
fn ended(events: &mut mpsc::Receiver<Stamped>) -> Option<String> {
    std::iter::from_fn(|| events.try_recv().ok()).find_map(|stamped| match stamped.event {
        Event::FaultEndedEarly { evidence, .. } => Some(evidence),
        _ => None,
    })
}

async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_somebody_has_started_ends_its_fault() {
    let held = Held::start("web", Fault::Ec2Stop { share: 0.34 }).await;
    let group = held.bench.reader.group(REGION, GROUP).await;
    let members = group.expect("an answer").expect("a group").members;
    let members: Vec<String> = members.into_iter().map(|member| member.id).collect();
    let stopped = until("a stopped instance", async || {
        let all = held.bench.reader.instances(REGION, &members).await.expect("an answer");
        all.into_iter().find(|one| one.state == "stopped").map(|one| one.id)
    })
    .await;
    let ids = [stopped.clone()];
    held.bench.writer.start_instances(REGION, &ids).await.expect("started");
    held.noticed(&format!("{stopped} is ")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_somebody_has_resumed_ends_its_fault() {
    let processes = vec!["Launch".to_owned(), "AZRebalance".to_owned()];
    let held = Held::start("web", Fault::AutoScalingSuspend { processes }).await;
    let launch = ["Launch".to_owned()];
    let resumed = held.bench.writer.resume_processes(REGION, GROUP, &launch).await;
    resumed.expect("resumed");
    held.noticed("shop-web shows Launch not suspended, seen by reading it back")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_somebody_has_registered_ends_its_fault() {
    let held = Held::start("web", Fault::ElbDeregister { share: 0.34 }).await;
    let arn = held.arn().await;
    let group = held.bench.reader.group(REGION, GROUP).await;
    let members = group.expect("an answer").expect("a group").members;
    let health = held.bench.reader.target_health(REGION, &arn).await.expect("an answer");
    let serves = |id: &str| health.iter().any(|target| target.id == id && target.state == "healthy");
    let away = members.iter().find(|member| !serves(&member.id)).expect("one is out");
    let targets = [(away.id.clone(), None)];
    let registered = held.bench.writer.register_targets(REGION, &arn, &targets).await;
    registered.expect("registered");
    held.noticed(&format!("{} is ", targets[0].0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_health_check_path_that_somebody_has_mended_ends_its_fault() {
    let held = Held::start("web", Fault::ElbBreakHealthCheck).await;
    let arn = held.arn().await;
    let mended = held.bench.writer.set_health_check_path(REGION, &arn, "/health").await;
    mended.expect("mended");
    held.noticed("has the health-check path /health").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zonal_shift_that_somebody_has_cancelled_ends_its_fault() {
    let az = format!("{REGION}b");
    let held = Held::start("web", Fault::ElbZonalShift { az }).await;
    let shifts = held.bench.reader.active_zonal_shifts(REGION).await.expect("an answer");
    let cancelled = held.bench.writer.cancel_zonal_shift(REGION, &shifts[0].id).await;
    cancelled.expect("cancelled");
    held.noticed("is not active").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subnet_that_somebody_has_put_back_ends_its_fault() {
    let before = {
        let bench = Bench::start(json!({}), 60.0).await;
        bench.network().await.1
    };
    for injected in [
        Fault::NetworkDenyAz {
            az: format!("{REGION}b"),
        },
        Fault::NetworkDenyRegion,
    ] {
        let held = Held::start("web", injected).await;
        let vpc = held.bench.plan.target.inventory.regions[REGION].subnets[0].vpc.clone();
        let acls = held.bench.reader.network_acls(REGION, &vpc).await.expect("an answer");
        let ours = acls.iter().find(|acl| acl.tags.contains_key("tenfold:run"));
        let theirs = acls.iter().find(|acl| !acl.tags.contains_key("tenfold:run"));
        let (moved, theirs) = (
            ours.expect("it is there").associations[0].clone(),
            theirs.expect("the default").id.clone(),
        );
        let replaced = held
            .bench
            .writer
            .replace_network_acl_association(REGION, &moved.id, &theirs);
        replaced.await.expect("put back");
        let lab = Arc::clone(&held.bench.lab);
        held.noticed(&format!("{} is under {theirs}", moved.subnet)).await;
        let acls = lab.world().regions[REGION].network_acls.len();
        assert_eq!(acls, before, "the other subnets are put back, and our ACL is gone");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_somebody_has_started_ends_its_fault() {
    let held = Held::start("database", Fault::RdsStop).await;
    until("a stopped database", async || {
        let found = held
            .bench
            .reader
            .db_instance(REGION, DATABASE)
            .await
            .expect("an answer");
        found.filter(|found| found.status == "stopped")
    })
    .await;
    held.bench
        .writer
        .start_db_instance(REGION, DATABASE)
        .await
        .expect("started");
    held.noticed("shop-db is ").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_health_check_that_somebody_has_turned_back_ends_its_fault() {
    let held = Held::start("dns", Fault::Route53InvertHealthCheck).await;
    let ids = held.bench.reader.record_health_checks(held.hosted_zone(), RECORD).await;
    let mut turned = None;
    for id in ids.expect("an answer") {
        let check = held.bench.reader.health_check(&id).await.expect("an answer");
        if check.inverted {
            let back = held.bench.writer.set_inverted(&id, false, check.version).await;
            back.expect("turned back");
            turned = Some(id);
        }
    }
    let turned = turned.expect("one was inverted");
    held.noticed(&format!("health check {turned} is as it was")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_weight_that_somebody_has_put_back_ends_its_fault() {
    let held = Held::start("dns", Fault::Route53ZeroWeight).await;
    let sets = held.bench.reader.record_sets(held.hosted_zone(), RECORD).await;
    let set = sets.expect("an answer").into_iter().find(|set| set.weight == Some(0));
    let mut set = set.expect("it is there");
    set.weight = Some(255);
    let put_back = held.bench.writer.upsert_record_set(held.hosted_zone(), &set).await;
    put_back.expect("put back");
    held.noticed("has the weight 255").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revert_by_another_process_ends_the_fault_and_is_told_by_name() {
    let held = Held::start("web", Fault::NetworkDenyRegion).await;
    let summary = revert_journal(&held.bench.journal(), &held.bench.writer, |_| true).await;
    assert_eq!(summary.expect("is readable").reverted, vec![fault(held.name)]);
    held.noticed("tenfold revert, another process, reverted it").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_has_put_back_of_a_fault_by_fis_ends_it() {
    let entry = "fault: network.deny_az, role: web, az: us-east-1a, lasts: 20m, via: fis";
    let bench = fis_in_lab::Bench::start(entry, "", json!({})).await;
    let before = bench.world().await;
    let (runner, mut seen) = bench.runner();
    runner.inject(fis_in_lab::fault()).await.expect("is injected");
    let during = bench.world().await;
    let (subnet, theirs) = (before.2.iter())
        .find(|(subnet, acl)| during.2[*subnet] != **acl)
        .expect("one is cut off");
    let vpc = bench.plan.target.inventory.regions[REGION].subnets[0].vpc.clone();
    let acls = bench.reader.network_acls(REGION, &vpc).await.expect("an answer");
    let mut associations = acls.iter().flat_map(|acl| &acl.associations);
    let moved = associations.find(|one| one.subnet == *subnet).expect("it is there");
    let replaced = bench.writer.replace_network_acl_association(REGION, &moved.id, theirs);
    replaced.await.expect("put back");
    tokio::time::timeout(PATIENCE, runner.tend(fis_in_lab::fault()))
        .await
        .expect("it is noticed");
    let told = ended(&mut seen).expect("it is told");
    assert!(told.contains(&format!("{subnet} is under {theirs}")), "{told}");
    assert_eq!(runner.in_world(), vec![]);
    let after = bench.world().await;
    assert_eq!(
        (after.0, after.2),
        (0, before.2),
        "the experiment is stopped, its template gone"
    );
}
