//! Faults and observers against the lab, through real sockets: what is injected is seen, felt and put back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tenfold::aws::{Clients, ConnectOptions, Reader, Writer};
use tenfold::clock::{Clock, RunClock, from_unix};
use tenfold::event::{Event, FaultId, Stamped};
use tenfold::lab::{self, Lab, LabConfig, LabOptions};
use tenfold::plan::{
    Body, ClientPlan, Connections, DnsPolicy, Encoding, Expect, ExperimentPlan, Fault, FaultPlan, HonestyPlan,
    LedgerPlan, LoadModel, Part, Plan, ProbePlan, Spacing, StepPlan, TargetPlan, Template, TlsSettings,
};
use tenfold::recording::{Ack, ProbeSample};
use tenfold::run::chaos::{ChaosError, Journal, RunHeader, Runner, revert_journal};
use tenfold::run::observe::{self, Access, ObserveEnd};
use tenfold::units::Pace;
use tokio::sync::{mpsc, watch};

pub const REGION: &str = "us-east-1";
const PROBE_EVERY: Duration = Duration::from_millis(50);

/// Everything a test of faults needs.
pub struct Bench {
    /// Keeps the lab's state reachable for the whole test.
    pub lab: Arc<Lab>,
    pub plan: Arc<Plan>,
    pub clock: RunClock,
    pub reader: Reader,
    pub writer: Writer,
    folder: tempfile::TempDir,
}

impl Bench {
    pub async fn start(config: serde_json::Value, pace: f64) -> Self {
        let pace = Pace::new(pace).expect("a pace");
        let config = LabConfig::from_json(config).expect("a lab configuration");
        let (lab, announcement) = lab::start(config, LabOptions::at_pace(pace)).await.expect("a lab");
        let options = ConnectOptions {
            endpoint: Some(announcement.endpoint.clone()),
            regions: announcement.regions.clone(),
            pace,
            assume: Vec::new(),
            credentials: Some(("test".to_owned(), "test".to_owned())),
        };
        let clients = Clients::connect(&options).await;
        let (reader, writer) = (clients.reader(), clients.writer());
        let json = serde_json::to_string(&announcement).expect("serialises");
        let file = tenfold::config::load_target("announcement", &json).expect("a target");
        let found = TargetPlan::new(&file, BTreeMap::new(), tenfold::plan::Inventory::default());
        let resolver: SocketAddr = announcement.resolver.parse().expect("an address");
        let inventory = observe::inventory(&reader, &found.regions, &found.roles, Some(resolver), pace).await;
        let inventory = inventory.expect("an inventory");
        let target = TargetPlan::new(&file, observe::edge(&inventory), inventory);
        let clock = Clock::new(from_unix(announcement.clock.epoch), pace);
        Self {
            lab,
            plan: Arc::new(plan(target, pace)),
            clock: RunClock::new(clock, Instant::now()),
            reader,
            writer,
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    pub fn journal(&self) -> std::path::PathBuf {
        self.folder.path().join("journal.jsonl")
    }

    pub fn runner(&self, events: mpsc::Sender<Stamped>) -> Runner {
        let journal = Journal::create(&self.journal(), RunHeader::new(&self.plan)).expect("a journal");
        Runner::new(Arc::clone(&self.plan), self.writer.clone(), self.clock, journal, events)
    }

    /// The ACL of every subnet of the primary Region, and how many ACLs there are.
    pub async fn network(&self) -> (BTreeMap<String, String>, usize) {
        // Describe calls may lag behind a change by two seconds of cloud time.
        self.clock.clock().sleep_cloud(Duration::from_secs(5)).await;
        let vpc = self.plan.target.inventory.regions[REGION].subnets[0].vpc.clone();
        let acls = self.reader.network_acls(REGION, &vpc).await.expect("ACLs");
        let under = acls
            .iter()
            .flat_map(|acl| acl.associations.iter().map(|one| (one.subnet.clone(), acl.id.clone())));
        (under.collect(), acls.len())
    }
}

/// The one fault of an experiment of the bench.
pub fn fault(name: &str) -> FaultId {
    FaultId {
        experiment: name.to_owned(),
        index: 0,
    }
}

fn text(parts: &[Part]) -> Template {
    Template { parts: parts.to_vec() }
}

/// An experiment of one fault.
pub fn experiment(name: &str, role: &str, fault: Fault) -> ExperimentPlan {
    ExperimentPlan {
        name: name.to_owned(),
        hypothesis: String::new(),
        faults: vec![FaultPlan {
            fault,
            role: role.to_owned(),
            region: REGION.to_owned(),
            at: Duration::ZERO,
            revert_at: None,
            via: Default::default(),
            fis: None,
            calls: Vec::new(),
            reverts: Vec::new(),
            resources: Vec::new(),
            fidelity: String::new(),
        }],
        stop_when: Vec::new(),
        settle: Duration::ZERO,
    }
}

fn plan(target: TargetPlan, pace: Pace) -> Plan {
    let literal = |text: &str| Part::Text(text.to_owned());
    let faults = [
        ("instance-loss", "web", Fault::Ec2Terminate { share: 1.0 / 3.0 }),
        ("database-failover", "database", Fault::RdsFailover),
        ("region-blackout", "web", Fault::NetworkDenyRegion),
        ("instance-stop", "web", Fault::Ec2Stop { share: 1.0 / 3.0 }),
        (
            "scaling-suspended",
            "web",
            Fault::AutoScalingSuspend {
                processes: vec!["Launch".to_owned(), "Terminate".to_owned()],
            },
        ),
        (
            "target-deregistration",
            "web",
            Fault::ElbDeregister { share: 1.0 / 3.0 },
        ),
        ("health-check-path", "web", Fault::ElbBreakHealthCheck),
        (
            "az-outage",
            "web",
            Fault::NetworkDenyAz {
                az: format!("{REGION}b"),
            },
        ),
        ("database-stop", "database", Fault::RdsStop),
        ("health-check-inversion", "dns", Fault::Route53InvertHealthCheck),
        ("weight-zero", "dns", Fault::Route53ZeroWeight),
    ];
    let experiments = faults.map(|(name, role, fault)| experiment(name, role, fault));
    Plan {
        rerun: String::new(),
        name: "chaos-in-lab".to_owned(),
        seed: 7,
        pace,
        target,
        feeders: Vec::new(),
        journeys: Vec::new(),
        steps: vec![StepPlan {
            name: "order".to_owned(),
            journey: 0,
            method: "POST".to_owned(),
            path: text(&[literal("/orders")]),
            body: Some(Body {
                content_type: "application/json".to_owned(),
                template: text(&[literal(r#"{"id":""#), Part::Unique, literal(r#"","item":"1"}"#)]),
                encoding: Encoding::Json,
                compress: None,
            }),
            expect: Expect {
                status: Some(201),
                ..Expect::default()
            },
            ledger: Some("orders".to_owned()),
            ..StepPlan::default()
        }],
        token_clients: Vec::new(),
        model: LoadModel::Users,
        loads: Vec::new(),
        spacing: Spacing::Even,
        stages: Vec::new(),
        client: ClientPlan {
            dns: DnsPolicy::HonourTtl,
            connections: Connections {
                pool: Some(200),
                ..Connections::default()
            },
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            rate_limit: None,
            shards: None,
            retries: None,
            tls: TlsSettings::default(),
            classes: Vec::new(),
            forced_lag: Duration::ZERO,
        },
        services: None,
        ledgers: BTreeMap::from([(
            "orders".to_owned(),
            LedgerPlan {
                read: text(&[literal("/orders/"), Part::Id]),
                headers: Vec::new(),
                sign: None,
            },
        )]),
        probes: vec![ProbePlan {
            step: 0,
            region: None,
            interval: PROBE_EVERY,
        }],
        experiments: experiments.to_vec(),
        objectives: Vec::new(),
        honesty: HonestyPlan {
            lag_p99_max: Duration::from_millis(50),
            cpu_max: 0.9,
            requests_min: 1,
            ..HonestyPlan::default()
        },
        ends_at: Duration::ZERO,
    }
}

/// Observers that collect until they are stopped.
struct Watching {
    observe: observe::Observe,
    stop: watch::Sender<bool>,
    events: mpsc::Receiver<Stamped>,
    probes: mpsc::Receiver<ProbeSample>,
}

impl Watching {
    fn start(bench: &Bench) -> (Self, mpsc::Sender<Stamped>) {
        let (event_sender, events) = mpsc::channel(100_000);
        let (probe_sender, probes) = mpsc::channel(100_000);
        let (stop, stopped) = watch::channel(false);
        let reader = Some(bench.reader.clone());
        let observe = observe::start(
            &bench.plan,
            &Access::default(),
            reader,
            bench.clock,
            event_sender.clone(),
            probe_sender,
            &stopped,
        );
        let watching = Self {
            observe,
            stop,
            events,
            probes,
        };
        (watching, event_sender)
    }

    async fn end(mut self) -> (Vec<Stamped>, Vec<ProbeSample>, ObserveEnd) {
        self.stop.send(true).expect("observers listen");
        let end = self.observe.join().await;
        let events = std::iter::from_fn(|| self.events.try_recv().ok()).collect();
        let probes = std::iter::from_fn(|| self.probes.try_recv().ok()).collect();
        (events, probes, end)
    }
}

fn offset_of(events: &[Stamped], wanted: impl Fn(&Event) -> bool) -> Duration {
    let found = events.iter().find(|stamped| wanted(&stamped.event));
    found.unwrap_or_else(|| panic!("an event is missing in {events:#?}")).at
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_inventory_finds_what_the_roles_name() {
    let bench = Bench::start(serde_json::json!({}), 120.0).await;
    let inventory = &bench.plan.target.inventory;
    assert_eq!(inventory.account, bench.plan.target.account);
    assert_eq!(inventory.regions.len(), 2);
    for region in inventory.regions.values() {
        let group = &region.groups["shop-web"];
        assert_eq!(group.instances.len(), 3);
        assert!(
            group
                .instances
                .iter()
                .all(|one| one.tags.get("chaos").is_some_and(|tag| tag == "allowed"))
        );
        assert!(group.cpu_target.is_some());
        assert!(region.databases["shop-db"].multi_az);
        assert!(region.databases["shop-db"].secondary_az.is_some());
        assert_eq!(region.subnets.len(), 3);
        assert!(
            region
                .subnets
                .iter()
                .all(|one| !one.association.is_empty() && !one.network_acl.is_empty())
        );
        assert_eq!(region.edge.len(), 3);
    }
    assert_eq!(bench.plan.target.edge.len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blackout_is_seen_felt_and_put_back_exactly() {
    let bench = Bench::start(serde_json::json!({}), 60.0).await;
    let before = bench.network().await;
    let (watching, events) = Watching::start(&bench);
    let runner = bench.runner(events);
    tokio::time::sleep(Duration::from_millis(500)).await;
    runner.inject(fault("region-blackout")).await.expect("is injected");
    let during = bench.network().await;
    assert!(
        during.0.iter().all(|(subnet, acl)| before.0[subnet] != *acl),
        "{during:?}"
    );
    tokio::time::sleep(Duration::from_secs(3)).await;
    runner.revert(fault("region-blackout")).await.expect("is reverted");
    assert_eq!(bench.network().await, before);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (events, probes, end) = watching.end().await;
    let injected = offset_of(&events, |event| matches!(event, Event::FaultInjected { .. }));
    offset_of(&events, |event| matches!(event, Event::FaultObserved { .. }));
    let reverted = offset_of(&events, |event| matches!(event, Event::FaultReverted { .. }));
    let unhealthy = |event: &Event| matches!(event, Event::HealthCheckChanged { healthy: false, .. });
    assert!(offset_of(&events, unhealthy) > injected);
    let early: Vec<_> = probes.iter().filter(|probe| probe.finished < injected).collect();
    assert!(
        !early.is_empty()
            && early
                .iter()
                .all(|probe| probe.failure.is_none() && probe.sent_to == REGION)
    );
    let felt = |probe: &&ProbeSample| probe.failure.is_some() && probe.started > injected && probe.started < reverted;
    assert!(probes.iter().any(|probe| felt(&probe)), "no probe felt the blackout");
    assert!(end.dropped.is_empty(), "{:?}", end.dropped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_loses_nothing_and_its_redundancy_comes_back() {
    let bench = Bench::start(serde_json::json!({}), 120.0).await;
    let (watching, events) = Watching::start(&bench);
    let runner = bench.runner(events);
    tokio::time::sleep(Duration::from_millis(500)).await;
    runner.inject(fault("database-failover")).await.expect("is injected");
    // 120 s until it accepts writes and 600 s until the standby is in sync, at most, at pace 120.
    tokio::time::sleep(Duration::from_secs(7)).await;
    let (events, probes, end) = watching.end().await;
    let injected = offset_of(&events, |event| matches!(event, Event::FaultInjected { .. }));
    let completed =
        |event: &Event| matches!(event, Event::DatabaseEvent { message, .. } if message.contains("completed"));
    let completed = offset_of(&events, completed).saturating_sub(injected);
    assert!(
        completed > Duration::from_millis(250) && completed < Duration::from_millis(1500),
        "{completed:?}"
    );
    let mut polled = events.iter().filter_map(|stamped| match &stamped.event {
        Event::DatabasePolled {
            region, secondary_az, ..
        } if region == REGION => Some(secondary_az.is_some()),
        _ => None,
    });
    assert!(polled.by_ref().any(|standby| !standby), "the standby was never missing");
    assert!(polled.any(|standby| standby), "the standby never came back");
    assert!(
        probes.iter().any(|probe| probe.failure.is_some()),
        "no probe felt the failover"
    );
    assert!(probes.last().is_some_and(|probe| probe.failure.is_none()));
    let acknowledged = end.acknowledged.len() as u64;
    let ledgers = observe::read_back(&bench.plan, &Access::default(), end.acknowledged, &end.unknown).await;
    let orders = &ledgers["orders"];
    assert_eq!((orders.found, orders.unreadable), (acknowledged, 0));
    assert!(orders.lost.is_empty(), "{:?}", orders.lost);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_third_of_the_instances_dies_and_is_replaced() {
    let bench = Bench::start(serde_json::json!({}), 120.0).await;
    let (watching, events) = Watching::start(&bench);
    let runner = bench.runner(events);
    tokio::time::sleep(Duration::from_millis(300)).await;
    runner.inject(fault("instance-loss")).await.expect("is injected");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(runner.revert_all().await.failed.is_empty());
    let (events, _, _) = watching.end().await;
    let started = events.iter().find_map(|stamped| match &stamped.event {
        Event::FaultStarted { resources, .. } => Some(resources.clone()),
        _ => None,
    });
    let started = started.expect("it was started");
    assert_eq!(started.len(), 1);
    let in_service: Vec<u32> = events
        .iter()
        .filter_map(|stamped| match &stamped.event {
            Event::GroupPolled { region, in_service, .. } if region == REGION => Some(*in_service),
            _ => None,
        })
        .collect();
    assert!(in_service.contains(&2), "{in_service:?}");
    assert_eq!(in_service.last(), Some(&3), "{in_service:?}");
    let launched = |event: &Event| {
        matches!(event, Event::ScalingActivity { description, status, .. }
            if description.starts_with("Launching") && status == "Successful")
    };
    offset_of(&events, launched);
}

/// A group that cannot launch stays short of an instance.
pub async fn lose_an_instance(reader: &Reader, writer: &Writer) {
    let launch = ["Launch".to_owned()];
    let suspended = writer.suspend_processes(REGION, "shop-web", &launch);
    suspended.await.expect("it is suspended");
    let group = async || {
        let group = reader.group(REGION, "shop-web").await;
        group.expect("answers").expect("a group")
    };
    let lost = group().await.members[0].id.clone();
    let terminated = writer.terminate_instances(REGION, std::slice::from_ref(&lost));
    terminated.await.expect("it is terminated");
    while group().await.members.iter().any(|one| one.id == lost && one.in_service) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_is_short_of_instances_is_waited_for_and_not_hit_while_it_is() {
    let bench = Bench::start(serde_json::json!({}), 60.0).await;
    let (reader, writer) = (&bench.reader, &bench.writer);
    lose_an_instance(reader, writer).await;
    let (events, _seen) = mpsc::channel(1000);
    let runner = bench.runner(events);
    let refused = runner.inject(fault("instance-loss")).await;
    assert!(matches!(refused, Err(ChaosError::Degraded(_))), "{refused:?}");
    let group = reader
        .group(REGION, "shop-web")
        .await
        .expect("answers")
        .expect("a group");
    assert_eq!(group.members.iter().filter(|one| one.in_service).count(), 2);
    let resume = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        writer
            .resume_processes(REGION, "shop-web", &["Launch".to_owned()])
            .await
            .expect("it is resumed");
    };
    let (injected, ()) = tokio::join!(runner.inject(fault("instance-loss")), resume);
    injected.expect("it is injected once the group is whole");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_runs_blackout_is_undone_from_its_journal() {
    let bench = Bench::start(serde_json::json!({}), 120.0).await;
    let before = bench.network().await;
    let (events, _seen) = mpsc::channel(1000);
    let runner = bench.runner(events);
    runner.inject(fault("region-blackout")).await.expect("is injected");
    drop(runner);
    let summary = revert_journal(&bench.journal(), &bench.writer, |_| true)
        .await
        .expect("is readable");
    assert_eq!(summary.reverted, vec![fault("region-blackout")]);
    assert_eq!(bench.network().await, before);
    let again = revert_journal(&bench.journal(), &bench.writer, |_| true)
        .await
        .expect("is readable");
    assert_eq!(again, Default::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_multi_az_the_database_restarts_in_place() {
    let config = serde_json::json!({ "database": { "multi_az": false } });
    let bench = Bench::start(config, 120.0).await;
    let (events, mut seen) = mpsc::channel(1000);
    let runner = bench.runner(events);
    runner.inject(fault("database-failover")).await.expect("is injected");
    let mut evidence = None;
    while let Ok(stamped) = seen.try_recv() {
        if let Event::FaultObserved { evidence: text, .. } = stamped.event {
            evidence = Some(text);
        }
    }
    assert!(evidence.expect("it was observed").contains("not Multi-AZ"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_is_not_there_is_lost_and_one_that_cannot_be_read_is_neither() {
    let bench = Bench::start(serde_json::json!({}), 120.0).await;
    let ack = |id: &str, region: &str| Ack {
        ledger: "orders".to_owned(),
        id: id.to_owned(),
        at: Duration::from_secs(1),
        region: region.to_owned(),
    };
    let acks = vec![ack("never-written", REGION), ack("never-written-2", "eu-west-1")];
    let ledgers = observe::read_back(&bench.plan, &Access::default(), acks.clone(), &acks[..1]).await;
    let orders = &ledgers["orders"];
    assert_eq!(
        (orders.lost.len(), orders.found, orders.unreadable, orders.unknown),
        (2, 0, 0, 1)
    );
    let (events, _seen) = mpsc::channel(1000);
    let runner = bench.runner(events);
    runner.inject(fault("region-blackout")).await.expect("is injected");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let ledgers = observe::read_back(&bench.plan, &Access::default(), acks, &[]).await;
    let orders = &ledgers["orders"];
    assert_eq!((orders.lost.len(), orders.found, orders.unreadable), (1, 0, 1));
    assert!(runner.revert_all().await.failed.is_empty());
}

/// Prints how fast a ledger is read back; run it by name with `--ignored --nocapture`.
#[ignore = "a measurement, not a test"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn measure_read_back() {
    let mut bench = Bench::start(serde_json::json!({}), 30.0).await;
    // Products are always there, so that nothing has to be written first.
    let read = text(&[Part::Text("/products/".to_owned()), Part::Id]);
    Arc::make_mut(&mut bench.plan).ledgers.insert(
        "orders".to_owned(),
        LedgerPlan {
            read,
            headers: Vec::new(),
            sign: None,
        },
    );
    let acks: Vec<Ack> = (0..20_000)
        .map(|index| Ack {
            ledger: "orders".to_owned(),
            id: format!("{}", index % 500 + 1),
            at: Duration::ZERO,
            region: if index % 2 == 0 { REGION } else { "eu-west-1" }.to_owned(),
        })
        .collect();
    let began = Instant::now();
    let ledgers = observe::read_back(&bench.plan, &Access::default(), acks, &[]).await;
    let orders = &ledgers["orders"];
    println!(
        "{} found, {} unreadable in {:?}",
        orders.found,
        orders.unreadable,
        began.elapsed()
    );
}
