//! The runner against a lab that behaves badly: what is journalled, told, undone and refused.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tenfold::event::{Event, Stamped};
use tenfold::lab::world::World;
use tenfold::plan::{Fault, Plan, Role};
use tenfold::run::chaos::{
    self, ChaosError, Journal, Moment, Observer, Record, RunHeader, Runner, read_journal, revert_journal,
};
use tokio::sync::mpsc;

use crate::chaos_in_lab::{self, Bench, REGION, fault};
use crate::kill_matrix::{alone, difference, quick, state};
use crate::support::share_of_the_machine;

/// A bench whose endpoint gets these calls wrong: action, calls before, how many, how.
async fn bad(pace: f64, misbehave: &[(&str, u32, u32, &str)]) -> Bench {
    let wrong = misbehave
        .iter()
        .map(|(action, skip, times, answer)| json!({"action": action, "skip": skip, "times": times, "answer": answer}));
    let wrong: Vec<Value> = wrong.collect();
    Bench::start(json!({"control_plane": {"misbehave": wrong, "lag": "2s"}}), pace).await
}

/// A runner, and the events it tells.
fn runner(bench: &Bench) -> (Runner, mpsc::Receiver<Stamped>) {
    let (sender, events) = mpsc::channel(1000);
    (bench.runner(sender), events)
}

fn names(events: &mut mpsc::Receiver<Stamped>) -> Vec<String> {
    let name = |stamped: Stamped| {
        let value = serde_json::to_value(&stamped.event).expect("an event serialises");
        value["event"].as_str().expect("it has a name").to_owned()
    };
    std::iter::from_fn(|| events.try_recv().ok()).map(name).collect()
}

fn records(bench: &Bench) -> Vec<Record> {
    read_journal(&bench.journal()).expect("a journal").records
}

/// The ACL of every subnet of the primary Region, and how many ACLs there are: as it is, not as it is described.
fn network(bench: &Bench) -> (BTreeMap<String, String>, usize) {
    let world = bench.lab.world();
    let region = &world.regions[REGION];
    let under = region
        .subnets
        .values()
        .map(|subnet| (subnet.id.clone(), subnet.network_acl_id.clone()));
    (under.collect(), region.network_acls.len())
}

/// Adds an experiment of one fault that is named after it.
pub fn add(bench: &mut Bench, role: &str, fault: Fault) {
    let experiment = chaos_in_lab::experiment(fault.name(), role, fault);
    Arc::make_mut(&mut bench.plan).experiments.push(experiment);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blackout_that_fails_half_way_is_withdrawn() {
    // The second subnet is refused for good, and nothing of the withdrawal goes well at first.
    let bench = bad(
        120.0,
        &[
            ("ReplaceNetworkAclAssociation", 1, 1, "denied"),
            ("ReplaceNetworkAclAssociation", 2, 2, "throttle"),
            ("DescribeNetworkAcls", 4, 2, "error"),
            ("DeleteNetworkAcl", 0, 6, "error"),
        ],
    )
    .await;
    let before = network(&bench);
    let (runner, mut events) = runner(&bench);
    let refused = runner.inject(fault("region-blackout")).await.expect_err("is refused");
    assert!(refused.to_string().contains("UnauthorizedOperation"), "{refused}");
    assert_eq!(network(&bench), before);
    assert!(runner.in_world().is_empty());
    let names = names(&mut events);
    assert_eq!(names.last().map(String::as_str), Some("fault_failed"), "{names:?}");
    assert!(!names.contains(&"fault_injected".to_owned()), "{names:?}");
    assert!(matches!(records(&bench).last(), Some(Record::Reverted { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stale_answers_do_not_make_a_revert_look_done() {
    // As late as AWS is believed to be, and long enough that every look of a revert may be of before.
    let mut bench = Bench::start(json!({"control_plane": {"lag": "4s"}}), 20.0).await;
    let processes = vec!["Launch".to_owned()];
    add(&mut bench, "web", Fault::AutoScalingSuspend { processes });
    let before = network(&bench);
    let (runner, _events) = runner(&bench);
    let suspended = |world: &World| world.regions[REGION].groups["shop-web"].suspended.len();
    let looked_at_once = async |name: &str| {
        // Not waiting for the effect to be seen is what a Ctrl-C does.
        let (injected, reverted) = tokio::join!(runner.inject(fault(name)), async {
            while runner.in_world().is_empty() {
                tokio::task::yield_now().await;
            }
            runner.revert(fault(name)).await
        });
        injected.expect("is injected");
        reverted.expect("is reverted");
    };
    looked_at_once("autoscaling.suspend").await;
    assert_eq!(suspended(&bench.lab.world()), 0);
    looked_at_once("region-blackout").await;
    assert_eq!(network(&bench), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_a_mark_cannot_be_taken_off_is_told() {
    let bench = bad(240.0, &[("DeleteTags", 0, u32::MAX, "denied")]).await;
    let (runner, _events) = runner(&bench);
    runner.inject(fault("scaling-suspended")).await.expect("is injected");
    let summary = runner.revert_all().await;
    let left = &summary.failed.first().expect("the mark is left").1;
    assert!(
        left.contains("bears the mark of scaling-suspended[0] (AccessDenied: "),
        "{left}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_bears_the_mark_of_another_run_is_left_alone() {
    let mut bench = Bench::start(json!({}), 120.0).await;
    let processes = vec!["AZRebalance".to_owned()];
    add(&mut bench, "web", Fault::AutoScalingSuspend { processes });
    let (first, _events) = runner(&bench);
    first.inject(fault("scaling-suspended")).await.expect("is injected");
    let (sender, _events) = mpsc::channel(1000);
    let path = bench.journal().with_file_name("second.jsonl");
    let journal = Journal::create(&path, RunHeader::new(&bench.plan)).expect("a journal");
    let second = Runner::new(
        Arc::clone(&bench.plan),
        bench.writer.clone(),
        bench.clock,
        journal,
        sender,
    );
    for name in ["autoscaling.suspend", "instance-stop"] {
        let refused = second.inject(fault(name)).await.expect_err("another run is at it");
        let said = "shop-web bears the mark of scaling-suspended[0] of another run";
        assert!(refused.to_string().contains(said), "{refused}");
    }
    assert!(first.revert_all().await.failed.is_empty());
    second
        .inject(fault("autoscaling.suspend"))
        .await
        .expect("nobody else is at it");
    assert!(second.revert_all().await.failed.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_is_not_reverted_in_another_account() {
    let bench = Bench::start(json!({}), 120.0).await;
    let (runner, _events) = runner(&bench);
    runner.inject(fault("region-blackout")).await.expect("is injected");
    let during = network(&bench);
    let text = std::fs::read_to_string(bench.journal()).expect("a journal");
    let account = bench.plan.target.account.clone().expect("an account");
    let other = bench.journal().with_file_name("other.jsonl");
    std::fs::write(&other, text.replace(&account, "999999999999")).expect("written");
    let refused = revert_journal(&other, &bench.writer, |_| true)
        .await
        .expect_err("is refused");
    assert!(matches!(refused, ChaosError::Refused(_)), "{refused}");
    assert_eq!(network(&bench), during);
    assert_eq!(
        std::fs::read_to_string(&other).expect("a journal").lines().count(),
        text.lines().count()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_matches_nothing_or_may_not_be_touched_is_never_started() {
    type Change = fn(&mut Plan, &mut World);
    fn group(world: &mut World) -> &mut tenfold::lab::world::AutoScalingGroup {
        let region = world.regions.get_mut(REGION).expect("a Region");
        region.groups.get_mut("shop-web").expect("a group")
    }
    fn share_of(plan: &mut Plan, share: f64) {
        plan.experiments[0].faults[0].fault = Fault::Ec2Terminate { share };
    }
    let cases: [(&str, &str, Change); 11] = [
        ("instance-loss", "no Auto Scaling group", |plan, _| {
            let role = Role::AutoScalingGroup("gone".to_owned());
            plan.target.roles.insert("web".to_owned(), role);
        }),
        ("instance-loss", "no instance in service", |_, world| {
            let members = group(world).members.iter_mut();
            members.for_each(|member| member.lifecycle_state = "Terminating".to_owned());
        }),
        ("instance-loss", "is not tagged", |_, world| {
            let region = world.regions.get_mut(REGION).expect("a Region");
            region.instances.values_mut().for_each(|one| one.tags.clear());
        }),
        ("instance-loss", "more than the 34.0%", |plan, _| share_of(plan, 0.67)),
        ("instance-loss", "account", |plan, _| {
            plan.target.account = Some("999999999999".to_owned())
        }),
        ("instance-loss", "account", |plan, _| plan.target.account = None),
        ("instance-loss", "allows nothing", |plan, _| plan.target.allow = None),
        ("database-failover", "no RDS instance", |plan, _| {
            plan.target
                .roles
                .insert("database".to_owned(), Role::DbInstance("gone".to_owned()));
        }),
        ("database-failover", "no standby", |_, world| {
            let region = world.regions.get_mut(REGION).expect("a Region");
            region.db_instances.get_mut("shop-db").expect("a database").secondary_az = None;
        }),
        ("region-blackout", "is not tagged", |_, world| {
            let region = world.regions.get_mut(REGION).expect("a Region");
            region.subnets.values_mut().last().expect("a subnet").tags.clear();
        }),
        ("region-blackout", "last Region", |plan, _| {
            plan.target.regions.truncate(1)
        }),
    ];
    for (name, why, change) in cases {
        // Nothing but the fault itself could touch an instance.
        let passive = json!({"suspended": ["Launch", "Terminate", "HealthCheck", "ReplaceUnhealthy"]});
        let mut bench = Bench::start(json!({"web": passive}), 60.0).await;
        change(Arc::make_mut(&mut bench.plan), &mut bench.lab.world());
        let before = network(&bench);
        let (runner, mut events) = runner(&bench);
        let refused = runner.inject(fault(name)).await.expect_err(why);
        assert!(
            refused.to_string().contains(why),
            "{name}: {refused} does not say {why}"
        );
        assert_eq!(names(&mut events), ["fault_failed"], "{name}: {why}");
        assert_eq!(records(&bench).len(), 1, "{name}: {why}");
        assert_eq!(network(&bench), before, "{name}: {why}");
        let world = bench.lab.world();
        let mut states = world.regions[REGION]
            .instances
            .values()
            .map(|one| format!("{:?}", one.state));
        assert!(states.all(|state| state == "Running"), "{name}: {why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_could_not_bear_it_is_not_failed_over() {
    type Change = fn(&mut Plan, &mut World);
    fn member<'w>(world: &'w mut World, id: &str) -> &'w mut tenfold::lab::world::DbInstance {
        let region = world.regions.get_mut(REGION).expect("a Region");
        region.db_instances.get_mut(id).expect("a member")
    }
    fn wants(plan: &mut Plan, reader: &str) {
        let reader = Some(reader.to_owned());
        plan.experiments[0].faults[0].fault = Fault::RdsFailoverCluster { reader };
    }
    let cases: [(&str, Change); 7] = [
        ("no Aurora cluster gone", |plan, _| {
            let role = Role::DbCluster("gone".to_owned());
            plan.target.roles.insert("database".to_owned(), role);
        }),
        ("is not an Aurora cluster", |plan, _| {
            let role = Role::DbInstance("shop-db-1".to_owned());
            plan.target.roles.insert("database".to_owned(), role);
        }),
        ("is not tagged", |_, world| {
            let region = world.regions.get_mut(REGION).expect("a Region");
            region.db_clusters.get_mut("shop-db").expect("a cluster").tags.clear();
        }),
        ("no reader", |_, world| {
            let region = world.regions.get_mut(REGION).expect("a Region");
            region
                .db_clusters
                .get_mut("shop-db")
                .expect("a cluster")
                .members
                .truncate(1);
        }),
        ("shop-db-2 of shop-db in us-east-1 is rebooting", |_, world| {
            member(world, "shop-db-2").status = "rebooting".to_owned();
        }),
        ("the writer of shop-db", |plan, _| wants(plan, "shop-db-1")),
        ("no member of shop-db", |plan, _| wants(plan, "shop-db-9")),
    ];
    for (why, change) in cases {
        let mut bench = Bench::start(json!({"database": {"engine": "aurora-postgresql"}}), 120.0).await;
        let mut plan = bench.plan.as_ref().clone();
        let failover = Fault::RdsFailoverCluster { reader: None };
        plan.experiments = vec![chaos_in_lab::experiment("cluster-failover", "database", failover)];
        change(&mut plan, &mut bench.lab.world());
        bench.plan = Arc::new(plan);
        let (runner, mut events) = runner(&bench);
        let refused = runner.inject(fault("cluster-failover")).await.expect_err(why);
        assert!(refused.to_string().contains(why), "{refused} does not say {why}");
        assert_eq!(names(&mut events), ["fault_failed"], "{why}");
        assert_eq!(records(&bench).len(), 1, "{why}");
        let world = bench.lab.world();
        assert_eq!(
            world.regions[REGION].db_clusters["shop-db"].writer, "shop-db-1",
            "{why}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_global_cluster_that_could_not_bear_it_is_not_handed_over() {
    type Change = fn(&mut Plan, &mut World);
    const AWAY: &str = "eu-west-1";
    fn away(world: &mut World) -> &mut tenfold::lab::world::DbCluster {
        let region = world.regions.get_mut(AWAY).expect("a Region");
        region.db_clusters.get_mut("shop-db").expect("a cluster")
    }
    fn global(world: &mut World) -> &mut tenfold::lab::world::GlobalCluster {
        world.global_clusters.values_mut().next().expect("a global cluster")
    }
    let cases: [(&str, Change); 8] = [
        ("belongs to no global cluster", |_, world| world.global_clusters.clear()),
        ("us-east-1 is not the primary", |_, world| {
            global(world).writer = AWAY.to_owned();
        }),
        ("has no cluster in eu-west-1", |_, world| {
            global(world).members.remove(AWAY);
        }),
        ("shop-db in eu-west-1 is not tagged", |_, world| {
            away(world).tags.clear()
        }),
        ("shop-db in eu-west-1 is failing-over", |_, world| {
            away(world).status = "failing-over".to_owned();
        }),
        ("no instance that could serve", |_, world| away(world).members.clear()),
        ("does not replicate", |_, world| {
            global(world).resyncing.insert(AWAY.to_owned());
        }),
        ("eu-west-1", |plan, _| plan.target.regions.truncate(1)),
    ];
    let config = json!({"database": {"engine": "aurora-postgresql", "global": true}});
    for (why, change) in cases {
        let mut bench = Bench::start(config.clone(), 120.0).await;
        let mut plan = bench.plan.as_ref().clone();
        let failover = Fault::RdsFailoverGlobal { to: AWAY.to_owned() };
        plan.experiments = vec![chaos_in_lab::experiment("global-failover", "database", failover)];
        change(&mut plan, &mut bench.lab.world());
        bench.plan = Arc::new(plan);
        let (runner, mut events) = runner(&bench);
        let refused = runner.inject(fault("global-failover")).await.expect_err(why);
        assert!(refused.to_string().contains(why), "{refused} does not say {why}");
        assert_eq!(names(&mut events), ["fault_failed"], "{why}");
        assert_eq!(records(&bench).len(), 1, "{why}");
        let globals = bench.lab.world().global_clusters.clone();
        assert!(globals.values().all(|global| global.handover.is_none()), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unanswered_call_that_had_its_effect_counts_as_injected() {
    // The first attempt has its effect and gets no answer, the others are not answered in order either.
    let bench = bad(
        120.0,
        &[
            ("TerminateInstances", 0, 1, "silent_success"),
            ("TerminateInstances", 1, 4, "error"),
        ],
    )
    .await;
    let (runner, mut events) = runner(&bench);
    runner.inject(fault("instance-loss")).await.expect("it happened");
    assert_eq!(
        names(&mut events),
        ["fault_started", "fault_injected", "fault_observed"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unanswered_call_that_had_none_is_not_injected() {
    let bench = bad(120.0, &[("TerminateInstances", 0, 5, "error")]).await;
    let (runner, mut events) = runner(&bench);
    let failed = runner
        .inject(fault("instance-loss"))
        .await
        .expect_err("it did not happen");
    assert!(failed.to_string().contains("InternalError"), "{failed}");
    assert_eq!(names(&mut events), ["fault_started", "fault_failed"]);
    assert!(runner.in_world().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_whose_answer_was_lost_are_not_made_twice() {
    let mut bench = bad(
        120.0,
        &[
            ("CreateNetworkAcl", 0, 1, "silent_success"),
            ("ReplaceNetworkAclAssociation", 1, 1, "silent_success"),
            ("UpdateHealthCheck", 0, 1, "silent_success"),
            // Undoing is the fourth and the second call of these.
            ("ReplaceNetworkAclAssociation", 4, 1, "silent_success"),
            ("DeleteNetworkAcl", 0, 1, "silent_success"),
        ],
    )
    .await;
    add(&mut bench, "dns", Fault::Route53InvertHealthCheck);
    let before = network(&bench);
    let (runner, _events) = runner(&bench);
    runner.inject(fault("region-blackout")).await.expect("is injected");
    let during = network(&bench);
    assert_eq!(during.1, before.1 + 1, "one ACL, however often it was asked for");
    assert!(
        during.0.iter().all(|(subnet, acl)| before.0[subnet] != *acl),
        "{during:?}"
    );
    runner
        .inject(fault("route53.invert_health_check"))
        .await
        .expect("is injected");
    let inverted = || {
        bench
            .lab
            .world()
            .route53
            .health_checks
            .values()
            .filter(|check| check.inverted)
            .count()
    };
    assert_eq!(inverted(), 1);
    assert!(runner.revert_all().await.failed.is_empty());
    assert_eq!((network(&bench), inverted()), (before, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_injected_once_the_run_is_ending() {
    let bench = Bench::start(json!({}), 120.0).await;
    let before = network(&bench);
    let (runner, mut events) = runner(&bench);
    runner.revert_all().await;
    let refused = runner.inject(fault("region-blackout")).await.expect_err("is refused");
    assert!(matches!(refused, ChaosError::Ending), "{refused}");
    assert_eq!(names(&mut events), ["fault_failed"]);
    assert_eq!((network(&bench), records(&bench).len()), (before, 1));
}

/// Injects an experiment each of these faults (role, Region, fault), all at once; the outcomes in their order.
async fn all_at_once(bench: &mut Bench, faults: &[(&str, &str, Fault)]) -> Vec<Result<(), String>> {
    let name = |index: usize| format!("fault-{index}");
    for (index, (role, region, planned)) in faults.iter().enumerate() {
        let mut experiment = chaos_in_lab::experiment(&name(index), role, planned.clone());
        (*region).clone_into(&mut experiment.faults[0].region);
        Arc::make_mut(&mut bench.plan).experiments.push(experiment);
    }
    let (runner, _events) = runner(bench);
    let runner = Arc::new(runner);
    let mut under_way = Vec::new();
    for index in 0..faults.len() {
        let (injecting, id) = (Arc::clone(&runner), fault(&name(index)));
        under_way.push(tokio::spawn(async move { injecting.inject(id).await }));
        // Each is polled before the next is there: the first of them comes first.
        tokio::task::yield_now().await;
    }
    let mut outcomes = Vec::new();
    for injected in under_way {
        outcomes.push(injected.await.expect("no panic").map_err(|error| error.to_string()));
    }
    let summary = runner.revert_all().await;
    assert!(summary.failed.is_empty(), "{summary:?}");
    outcomes
}

/// One of them is refused, and its words name another.
fn one_is_refused(outcomes: &[Result<(), String>], why: &str) {
    let refused: Vec<(usize, &String)> = outcomes
        .iter()
        .enumerate()
        .filter_map(|(index, outcome)| Some((index, outcome.as_ref().err()?)))
        .collect();
    let [(index, refusal)] = refused.as_slice() else {
        panic!("{outcomes:?}")
    };
    assert!(refusal.contains(why), "{refusal} does not say {why}");
    let others = (0..outcomes.len()).filter(|other| other != index);
    let named = others.map(|other| format!("fault-{other}[0]"));
    assert!(named.clone().any(|name| refusal.contains(&name)), "{refusal}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_one_instant_leave_a_region_and_an_az() {
    let mut bench = Bench::start(json!({"control_plane": {"lag": "2s"}}), 60.0).await;
    let before = network(&bench);
    let regions = bench.plan.target.regions.clone();
    let blackouts: Vec<(&str, &str, Fault)> = regions
        .iter()
        .map(|region| ("web", region.as_str(), Fault::NetworkDenyRegion))
        .collect();
    one_is_refused(
        &all_at_once(&mut bench, &blackouts).await,
        "is the last Region of the target",
    );
    assert_eq!(network(&bench), before);

    let mut bench = Bench::start(json!({"control_plane": {"lag": "2s"}}), 60.0).await;
    let az = |letter: char| Fault::NetworkDenyAz {
        az: format!("{REGION}{letter}"),
    };
    let outages = [
        ("web", REGION, az('a')),
        ("database", REGION, az('b')),
        ("dns", REGION, az('c')),
    ];
    one_is_refused(&all_at_once(&mut bench, &outages).await, "is the last AZ in us-east-1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_one_instant_leave_enough_healthy_targets() {
    let mut bench = Bench::start(json!({"control_plane": {"lag": "2s"}}), 60.0).await;
    let plan = Arc::make_mut(&mut bench.plan);
    plan.target.allow.as_mut().expect("the lab allows faults").healthy_min = 2;
    // The one that is stopped is not in the AZ that is cut off, or there would be enough.
    let chosen = {
        let world = bench.lab.world();
        let instances = world.regions[REGION].instances.values();
        let there = instances.filter(|one| one.az.ends_with('b')).map(|one| one.id.clone());
        there.collect::<Vec<String>>()
    };
    let mut stop = chaos_in_lab::experiment("later", "web", Fault::Ec2Stop { share: 1.0 / 3.0 });
    stop.faults[0].resources = chosen;
    let cut = chaos_in_lab::experiment(
        "first",
        "dns",
        Fault::NetworkDenyAz {
            az: format!("{REGION}a"),
        },
    );
    Arc::make_mut(&mut bench.plan).experiments.extend([cut, stop]);
    let (runner, _events) = runner(&bench);
    let (first, later) = tokio::join!(runner.inject(fault("first")), runner.inject(fault("later")));
    first.expect("the first is injected");
    let refusal = later.expect_err("too few would stay").to_string();
    assert!(
        refusal.contains("1 of the 2 healthy targets") && refusal.contains("first[0]"),
        "{refusal}"
    );
    assert_eq!(runner.in_world(), [fault("first")]);
    runner.revert_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_roles_of_one_group_do_not_hit_an_instance_twice() {
    let mut bench = Bench::start(json!({"control_plane": {"lag": "2s"}}), 60.0).await;
    let web = bench.plan.target.roles["web"].clone();
    let plan = Arc::make_mut(&mut bench.plan);
    plan.target.roles.insert("api".to_owned(), web);
    let one = bench.lab.world().regions[REGION].groups["shop-web"].members[0]
        .instance_id
        .clone();
    for (name, role, planned) in [
        ("first", "web", Fault::Ec2Stop { share: 1.0 / 3.0 }),
        ("later", "api", Fault::Ec2Terminate { share: 1.0 / 3.0 }),
    ] {
        let mut experiment = chaos_in_lab::experiment(name, role, planned);
        experiment.faults[0].resources = vec![one.clone()];
        Arc::make_mut(&mut bench.plan).experiments.push(experiment);
    }
    let (runner, _events) = runner(&bench);
    let (first, later) = tokio::join!(runner.inject(fault("first")), runner.inject(fault("later")));
    first.expect("the first is injected");
    let refusal = later.expect_err("it is hit already").to_string();
    assert_eq!(
        refusal,
        format!("instance {one} is already hit by first[0] of this run")
    );
    runner.revert_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subnet_that_somebody_else_moved_is_left_and_told() {
    let bench = Bench::start(json!({}), 120.0).await;
    let before = network(&bench);
    let (runner, mut events) = runner(&bench);
    runner.inject(fault("region-blackout")).await.expect("is injected");
    let (moved, theirs) = {
        let mut world = bench.lab.world();
        let region = world.regions.get_mut(REGION).expect("a Region");
        let mut acl = region.network_acls[before.0.values().next().expect("an ACL")].clone();
        acl.id = "acl-theirs".to_owned();
        region.network_acls.insert(acl.id.clone(), acl.clone());
        let subnet = region.subnets.values_mut().next().expect("a subnet");
        subnet.network_acl_id.clone_from(&acl.id);
        subnet.acl_association_id = "aclassoc-theirs".to_owned();
        (subnet.id.clone(), acl.id)
    };
    let left = runner
        .revert(fault("region-blackout"))
        .await
        .expect_err("not all is as it was");
    assert!(matches!(left, ChaosError::StillThere { .. }), "{left}");
    assert!(
        left.to_string().contains(&format!("{moved} is under {theirs}")),
        "{left}"
    );
    let after = network(&bench);
    for (subnet, acl) in &after.0 {
        let expected = if *subnet == moved { &theirs } else { &before.0[subnet] };
        assert_eq!(acl, expected, "{subnet}");
    }
    assert_eq!(after.1, before.1 + 1, "ours is deleted, theirs stays");
    assert_eq!(
        names(&mut events).last().map(String::as_str),
        Some("fault_revert_failed")
    );
}

/// A journal whose disk is full from its record number `full_from` on.
fn on_a_full_disk(bench: &Bench, full_from: usize) -> (Journal, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let observer: Observer = Box::new(move |moment, _| match moment {
        Moment::Before if counted.fetch_add(1, Ordering::SeqCst) >= full_from => {
            Err(io::Error::from(io::ErrorKind::StorageFull))
        }
        _ => Ok(()),
    });
    let path = bench.journal().with_file_name(format!("full-{full_from}.jsonl"));
    let journal = Journal::observed(&path, RunHeader::new(&bench.plan), observer).expect("a journal");
    (journal, count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_up_ends_the_injection_and_never_the_revert() {
    let bench = Bench::start(json!({}), 240.0).await;
    let before = network(&bench);
    let mut injected = 0;
    for full_from in 1..12 {
        let (journal, count) = on_a_full_disk(&bench, full_from);
        let (sender, mut events) = mpsc::channel(1000);
        let runner = Runner::new(
            Arc::clone(&bench.plan),
            bench.writer.clone(),
            bench.clock,
            journal,
            sender,
        );
        let outcome = runner.inject(fault("region-blackout")).await;
        if full_from == 1 {
            assert!(matches!(outcome, Err(ChaosError::Journal(_))), "{outcome:?}");
            assert_eq!(
                count.load(Ordering::SeqCst),
                2,
                "the intent could not be written, so no call was made"
            );
            assert_eq!(names(&mut events), ["fault_failed"]);
        }
        injected += usize::from(outcome.is_ok());
        assert!(runner.revert_all().await.failed.is_empty(), "full from {full_from}");
        assert_eq!(network(&bench), before, "full from {full_from}");
    }
    assert!(injected > 0, "the disk fills up during the revert too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_stands_behind_the_intent_that_announces_it() {
    let mut bench = Bench::start(json!({}), 240.0).await;
    add(&mut bench, "dns", Fault::Route53InvertHealthCheck);
    let (runner, mut events) = runner(&bench);
    runner.inject(fault("region-blackout")).await.expect("is injected");
    runner
        .inject(fault("route53.invert_health_check"))
        .await
        .expect("is injected");
    assert!(runner.revert_all().await.failed.is_empty());
    let mut announced: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut calls = 0;
    for record in records(&bench) {
        match record {
            Record::Intent { fault, before, .. } => {
                announced.insert(fault.to_string(), before.resources());
            }
            Record::Call {
                fault, action, detail, ..
            } => {
                calls += 1;
                let resources = announced.get(&fault.to_string());
                let resources = resources.unwrap_or_else(|| panic!("{action} {detail} is not announced"));
                let of_ours = action == "ec2:CreateNetworkAcl" || action == "ec2:DeleteNetworkAcl";
                assert!(
                    of_ours || resources.iter().any(|id| detail.contains(id.as_str())),
                    "{action} {detail}"
                );
            }
            _ => {}
        }
    }
    // The ACL, three subnets and back; the mark, the health check and back.
    assert_eq!(calls, (1 + 3) + (3 + 1) + (1 + 1) + (1 + 1));
    let order: Vec<String> = std::iter::from_fn(|| events.try_recv().ok())
        .filter_map(|stamped| match stamped.event {
            Event::FaultReverted { fault } => Some(fault.experiment),
            _ => None,
        })
        .collect();
    assert_eq!(
        order,
        ["route53.invert_health_check", "region-blackout"],
        "the youngest first"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revert_that_is_refused_for_good_is_told_and_stays_in_the_journal() {
    let mut bench = bad(240.0, &[("ResumeProcesses", 0, u32::MAX, "denied")]).await;
    let processes = vec!["Launch".to_owned()];
    add(&mut bench, "web", Fault::AutoScalingSuspend { processes });
    let (runner, mut events) = runner(&bench);
    let id = fault("autoscaling.suspend");
    runner.inject(id.clone()).await.expect("is injected");
    let summary = runner.revert_all().await;
    let [(failed, left)] = &summary.failed[..] else {
        panic!("one is left: {summary:?}");
    };
    assert_eq!((failed, runner.in_world()), (&id, vec![id.clone()]));
    assert!(left.contains("AccessDenied"), "{left}");
    let by_hand = "`aws autoscaling resume-processes --region us-east-1 --auto-scaling-group-name shop-web --scaling-processes Launch`";
    assert!(left.contains(by_hand), "{left}");
    assert_eq!(
        names(&mut events).last().map(String::as_str),
        Some("fault_revert_failed")
    );
    assert!(matches!(records(&bench).last(), Some(Record::RevertFailed { .. })));
    // Whoever comes later finds it in the journal still.
    drop(runner);
    assert!(
        chaos::overdue(&chaos::Kept::open(&bench.journal()).expect("a journal"), f64::MAX)
            .expect("a journal")
            .is_empty(),
        "it has no lease"
    );
    let summary = revert_journal(&bench.journal(), &bench.writer, |_| true)
        .await
        .expect("is readable");
    assert_eq!(summary.failed.len(), 1, "{summary:?}");
}

/// A quick lab in which the fault can be injected.
fn quick_for(fault: &Fault) -> Value {
    let mut config = quick();
    if *fault == Fault::Route53ZeroWeight {
        config["routing"] = "weighted".into();
    }
    config
}

/// One call of a fault that goes wrong in one way, and what is expected of it all: it is undone, whatever was told.
/// None where it was not even begun: in the lab of a machine that stands still a target may be unhealthy for a moment.
async fn goes_wrong(role: &str, planned: Fault, action: &str, skip: usize, answer: &str) -> Option<String> {
    let mut config = quick_for(&planned);
    config["control_plane"]["misbehave"] = json!([{"action": action, "skip": skip, "answer": answer}]);
    let mut bench = Bench::start(config, 240.0).await;
    let name = planned.name();
    add(&mut bench, role, planned);
    let before = state(&bench.lab.world(), false);
    let (runner, mut events) = runner(&bench);
    let injected = runner.inject(fault(name)).await;
    let left = runner.revert_all().await.failed;
    let told = names(&mut events);
    let cell = format!("{name}: {action} {skip} {answer}");
    assert!(left.is_empty(), "{cell}: {left:?}");
    let after = difference(&before, &state(&bench.lab.world(), false));
    assert!(after.is_empty(), "{cell}: {after}");
    let has = |name: &str| told.iter().any(|told| told == name);
    assert_eq!(
        (has("fault_injected"), has("fault_failed")),
        (injected.is_ok(), injected.is_err()),
        "{cell}: {told:?}"
    );
    let records = records(&bench);
    if records.len() == 1 {
        return None;
    }
    assert!(
        matches!(records.last(), Some(Record::Reverted { .. })),
        "{cell}: {records:#?}"
    );
    let said = if injected.is_ok() {
        "injected, reverted"
    } else {
        "withdrawn"
    };
    Some(format!("{cell}: {said}"))
}

/// The calls that a fault makes when all goes well: action, and how many of it came before.
async fn calls_of(role: &'static str, planned: Fault) -> Vec<(String, usize)> {
    let mut bench = Bench::start(quick_for(&planned), 240.0).await;
    let name = planned.name();
    add(&mut bench, role, planned);
    let (runner, _events) = runner(&bench);
    runner.inject(fault(name)).await.expect("is injected");
    assert!(runner.revert_all().await.failed.is_empty());
    let mut calls: Vec<(String, usize)> = Vec::new();
    for record in records(&bench) {
        if let Record::Call { action, .. } = record {
            let action = action.split(':').nth(1).expect("service:Action").to_owned();
            let before = calls.iter().filter(|(one, _)| *one == action).count();
            calls.push((action, before));
        }
    }
    calls
}

#[test]
fn whatever_call_goes_wrong_in_whatever_way_the_fault_is_undone() {
    let _share = share_of_the_machine();
    let az = format!("{REGION}a");
    let processes = vec!["Launch".to_owned()];
    let faults = [
        ("web", Fault::Ec2Stop { share: 0.34 }),
        ("web", Fault::AutoScalingSuspend { processes }),
        ("web", Fault::NetworkDenyAz { az }),
        ("dns", Fault::Route53InvertHealthCheck),
        ("dns", Fault::Route53ZeroWeight),
        ("web", Fault::ElbDeregister { share: 0.34 }),
        ("web", Fault::ElbBreakHealthCheck),
        ("database", Fault::RdsStop),
    ];
    let mut cells = Vec::new();
    for (role, fault) in faults {
        for (action, skip) in alone(calls_of(role, fault.clone())) {
            for answer in ["throttle", "error", "denied", "not_found", "timeout", "silent_success"] {
                cells.push((role, fault.clone(), action.clone(), skip, answer));
            }
        }
    }
    assert!(cells.len() >= 40, "{}", cells.len());
    let (cells, table) = (Mutex::new(cells), Mutex::new(Vec::new()));
    // More than there are cores: most of them only wait for an answer that does not come.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let cell = cells.lock().expect("no cell is wrong").pop();
                    let Some((role, fault, action, skip, answer)) = cell else {
                        return;
                    };
                    let said = (0..3).find_map(|_| alone(goes_wrong(role, fault.clone(), &action, skip, answer)));
                    table.lock().expect("no cell is wrong").push(said.expect("it is begun"));
                }
            });
        }
    });
    let mut table = table.into_inner().expect("no cell is wrong");
    table.sort();
    let _ = writeln!(io::stdout(), "{}", table.join("\n"));
    assert!(table.iter().any(|cell| cell.ends_with("withdrawn")));
    assert!(table.iter().any(|cell| cell.ends_with("injected, reverted")));
}
