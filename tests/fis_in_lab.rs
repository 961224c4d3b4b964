//! Faults by way of AWS FIS against the lab: the same effect as by the API, undone by FIS, and nothing left behind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tenfold::aws::{Clients, ConnectOptions, Group, Reader, Writer};
use tenfold::clock::{Clock, RunClock, from_unix};
use tenfold::config::{self, Sources};
use tenfold::event::{Event, FaultId, Stamped};
use tenfold::lab::{self, Lab, LabConfig, LabOptions};
use tenfold::plan::{self, Plan, PlanOptions, TargetPlan};
use tenfold::run::chaos::{Journal, RunHeader, Runner, revert_journal};
use tenfold::run::observe;
use tenfold::units::Pace;
use tokio::sync::mpsc;

use crate::support::{LabProcess, machine, tenfold, venv};

pub const REGION: &str = "us-east-1";

/// A lab, and a plan with one fault against it.
pub struct Bench {
    pub lab: Arc<Lab>,
    pub plan: Arc<Plan>,
    pub clock: RunClock,
    pub reader: Reader,
    pub writer: Writer,
    pub folder: tempfile::TempDir,
}

impl Bench {
    /// `fault` is an entry of `faults`, without `at`; `more` further keys of the experiment.
    pub async fn start(fault: &str, more: &str, lab_config: serde_json::Value) -> Self {
        let pace = Pace::new(60.0).expect("a pace");
        let lab_config = LabConfig::from_json(lab_config).expect("a lab configuration");
        let (lab, announcement) = lab::start(lab_config, LabOptions::at_pace(pace)).await.expect("a lab");
        let clients = Clients::connect(&ConnectOptions {
            endpoint: Some(announcement.endpoint.clone()),
            regions: announcement.regions.clone(),
            pace,
            assume: Vec::new(),
            credentials: Some(("test".to_owned(), "test".to_owned())),
        })
        .await;
        let (reader, writer) = (clients.reader(), clients.writer());
        let json = serde_json::to_string(&announcement).expect("serialises");
        let file = config::load_target("announcement", &json).expect("a target");
        let bare = TargetPlan::new(&file, BTreeMap::new(), plan::Inventory::default());
        let inventory = observe::inventory(&reader, &bare.regions, &bare.roles, None, pace).await;
        let mut inventory = inventory.expect("an inventory");
        observe::ask_fis(&reader, &mut inventory).await;
        let profile = "{name: p, journeys: {a: {think: 1s, steps: [{get: /}]}}, chaos: [e.yaml], \
                       stages: [{tier: 1, users: 1, hold: 2h}]}";
        let experiment =
            format!("{{name: e, hypothesis: h, settle: 1m, {more} faults: [{{ at: hold + 1m, {fault} }}]}}");
        let sources = Sources {
            profile: ("p.yaml".to_owned(), profile.to_owned()),
            experiments: vec![("e.yaml".to_owned(), experiment)],
            ..Sources::default()
        };
        let config = config::load(&sources, &[]).unwrap_or_else(|errors| panic!("{errors}"));
        let alarms = observe::alarms(&reader, &mut inventory, &config.alarms()).await;
        alarms.expect("alarms");
        let target = TargetPlan::new(&file, BTreeMap::new(), inventory);
        let plan = plan::build(&config, target, &PlanOptions { seed: 7, pace });
        Self {
            lab,
            plan: Arc::new(plan.unwrap_or_else(|errors| panic!("{errors}"))),
            clock: RunClock::new(Clock::new(from_unix(announcement.clock.epoch), pace), Instant::now()),
            reader,
            writer,
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    pub fn journal(&self) -> std::path::PathBuf {
        self.folder.path().join("journal.jsonl")
    }

    pub fn runner(&self) -> (Runner, mpsc::Receiver<Stamped>) {
        let (events, seen) = mpsc::channel(1000);
        let journal = Journal::create(&self.journal(), RunHeader::new(&self.plan)).expect("a journal");
        let runner = Runner::new(Arc::clone(&self.plan), self.writer.clone(), self.clock, journal, events);
        (runner, seen)
    }

    /// The group whose instances faults hit.
    pub async fn group(&self) -> Group {
        let group = self.reader.group(REGION, "shop-web").await;
        group.expect("answers").expect("a group")
    }

    /// What there is of FIS and of the network, as the account shows it.
    pub async fn world(&self) -> (usize, Vec<String>, BTreeMap<String, String>, usize) {
        let templates = self.reader.experiment_templates(REGION).await.expect("templates").len();
        let vpc = self.plan.target.inventory.regions[REGION].subnets[0].vpc.clone();
        let acls = self.reader.network_acls(REGION, &vpc).await.expect("ACLs");
        let under = acls
            .iter()
            .flat_map(|acl| acl.associations.iter().map(|one| (one.subnet.clone(), acl.id.clone())));
        let world = self.lab.world();
        let experiments = world.regions[REGION].fis.experiments.values();
        let states = experiments.map(|one| one.status.name().to_owned()).collect();
        (templates, states, under.collect(), acls.len())
    }
}

/// What the lab has to be for a fault.
fn needed(entry: &str) -> serde_json::Value {
    if entry.contains("rds.failover_cluster") {
        serde_json::json!({"database": {"engine": "aurora-postgresql"}})
    } else {
        serde_json::json!({})
    }
}

pub fn fault() -> FaultId {
    FaultId {
        experiment: "e".to_owned(),
        index: 0,
    }
}

pub fn drained(seen: &mut mpsc::Receiver<Stamped>) -> Vec<Event> {
    std::iter::from_fn(|| seen.try_recv().ok())
        .map(|stamped| stamped.event)
        .collect()
}

pub fn evidence(events: &[Event]) -> String {
    let found = events.iter().find_map(|event| match event {
        Event::FaultObserved { evidence, .. } => Some(evidence.clone()),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("it was not observed: {events:#?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fis_cuts_a_region_off_and_puts_it_back() {
    let bench = Bench::start(
        "fault: network.deny_region, role: web, lasts: 6m, via: fis",
        "",
        serde_json::json!({}),
    )
    .await;
    let before = bench.world().await;
    let (runner, mut seen) = bench.runner();
    runner.inject(fault()).await.expect("is injected");
    let said = evidence(&drained(&mut seen));
    assert!(
        said.contains("of AWS FIS is running") && said.contains("3 of 3 subnets"),
        "{said}"
    );
    let during = bench.world().await;
    assert_eq!((during.0, during.3), (1, before.3 + 3));
    runner.revert(fault()).await.expect("is reverted");
    let after = bench.world().await;
    assert_eq!((after.0, &after.2, after.3), (0, &before.2, before.3));
    assert_eq!(after.1, ["stopped"]);
    runner.revert(fault()).await.expect("nothing is left to revert");
    assert!(runner.in_world().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fis_cannot_undo_leaves_no_template() {
    for entry in [
        "fault: ec2.terminate, role: web, share: 34%, irreversible: true, via: fis",
        "fault: ec2.reboot, role: web, share: 34%, irreversible: true, via: auto",
        "fault: rds.failover, role: database, irreversible: true, via: fis",
        "fault: rds.reboot, role: database, irreversible: true, via: fis",
        "fault: rds.failover_cluster, role: database, irreversible: true, via: fis",
    ] {
        let bench = Bench::start(entry, "", needed(entry)).await;
        let (runner, mut seen) = bench.runner();
        runner
            .inject(fault())
            .await
            .unwrap_or_else(|error| panic!("{entry}: {error}"));
        let events = drained(&mut seen);
        assert!(evidence(&events).contains("of AWS FIS"), "{entry}");
        let reverts = |event: &Event| matches!(event, Event::FaultRevertStarted { .. });
        assert!(!events.iter().any(reverts), "{entry}: nothing of it is undone");
        let (templates, experiments, ..) = bench.world().await;
        assert_eq!((templates, experiments), (0, vec!["completed".to_owned()]), "{entry}");
        assert!(runner.in_world().is_empty(), "{entry}");
        let again = revert_journal(&bench.journal(), &bench.writer, |_| true)
            .await
            .expect("is readable");
        assert_eq!(again, Default::default(), "{entry}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_runs_experiment_is_stopped_and_its_template_deleted() {
    for entry in [
        "fault: network.deny_az, role: web, az: us-east-1b, lasts: 6m, via: fis",
        "fault: ec2.stop, role: web, share: 34%, lasts: 6m, via: fis",
    ] {
        let bench = Bench::start(entry, "", serde_json::json!({})).await;
        let before = bench.world().await;
        let (runner, _seen) = bench.runner();
        runner
            .inject(fault())
            .await
            .unwrap_or_else(|error| panic!("{entry}: {error}"));
        drop(runner);
        let summary = revert_journal(&bench.journal(), &bench.writer, |_| true)
            .await
            .expect("is readable");
        assert_eq!(summary.reverted, vec![fault()], "{summary:?}");
        let after = bench.world().await;
        assert_eq!(
            (after.0, after.1, after.2),
            (0, vec!["stopped".to_owned()], before.2),
            "{entry}"
        );
        let again = revert_journal(&bench.journal(), &bench.writer, |_| true)
            .await
            .expect("is readable");
        assert_eq!(again, Default::default());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_that_nobody_noted_is_found_by_its_tags() {
    let bench = Bench::start(
        "fault: network.deny_region, role: web, lasts: 6m, via: fis",
        "",
        serde_json::json!({}),
    )
    .await;
    let before = bench.world().await;
    let (runner, _seen) = bench.runner();
    runner.inject(fault()).await.expect("is injected");
    drop(runner);
    // As if the run had died before the first answer reached the journal: only the intent is there.
    let text = std::fs::read_to_string(bench.journal()).expect("a journal");
    let intent: String = text.lines().take(2).map(|line| format!("{line}\n")).collect();
    std::fs::write(bench.journal(), intent).expect("written");
    let summary = revert_journal(&bench.journal(), &bench.writer, |_| true)
        .await
        .expect("is readable");
    assert_eq!(summary.reverted, vec![fault()], "{summary:?}");
    let after = bench.world().await;
    assert_eq!((after.0, after.1, after.2), (0, vec!["stopped".to_owned()], before.2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engaged_safety_lever_is_obeyed_before_and_during() {
    let entry = "fault: network.deny_region, role: web, lasts: 6m, via: fis";
    let bench = Bench::start(entry, "", serde_json::json!({})).await;
    let lever = |engaged| {
        tenfold::lab::dynamics::fis::move_lever(&bench.lab, REGION, engaged, "not today".to_owned()).expect("moved");
    };
    lever(true);
    let (runner, mut seen) = bench.runner();
    let refused = runner.inject(fault()).await.expect_err("it is refused");
    assert!(refused.to_string().contains("not today"), "{refused}");
    assert_eq!(bench.world().await.0, 0, "nothing was created");
    lever(false);
    runner.inject(fault()).await.expect("is injected");
    drained(&mut seen);
    lever(true);
    runner.tend(fault()).await;
    let events = drained(&mut seen);
    let stopped =
        |event: &Event| matches!(event, Event::StopConditionMet { condition, .. } if condition.contains("lever"));
    assert!(events.iter().any(stopped), "{events:#?}");
    assert_eq!(runner.revert_all().await.failed, vec![]);
    assert_eq!(bench.world().await.0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_of_the_experiment_ends_it() {
    let entry = "fault: network.deny_az, role: web, az: us-east-1a, lasts: 6m, via: fis";
    // Its name is drawn by the seed, so a lab of the same seed tells it.
    let other = Bench::start(entry, "", serde_json::json!({})).await;
    let name = other.lab.world().regions[REGION]
        .alarms
        .keys()
        .next()
        .expect("an alarm")
        .clone();
    let bench = Bench::start(entry, &format!("stop_when: [ alarm {name} ],"), serde_json::json!({})).await;
    assert!(plan::print(&bench.plan).contains(&format!("alarm:{name} is in ALARM")));
    let (runner, mut seen) = bench.runner();
    runner.inject(fault()).await.expect("is injected");
    let arn = bench.lab.world().regions[REGION].alarms[&name].arn.clone();
    let template = bench.plan.experiments[0].faults[0].fis.as_ref().expect("by FIS");
    assert_eq!(template.stop_conditions[0].value.as_ref(), Some(&arn));
    // CloudWatch's own look at the metric, once a minute, puts the state back.
    let ringing = tokio::spawn({
        let lab = Arc::clone(&bench.lab);
        async move {
            loop {
                if let Some(region) = lab.world().regions.get_mut(REGION) {
                    region
                        .alarms
                        .entry(name.clone())
                        .and_modify(|one| one.state = "ALARM".to_owned());
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    });
    runner.tend(fault()).await;
    ringing.abort();
    let events = drained(&mut seen);
    let stopped = |event: &Event| matches!(event, Event::StopConditionMet { condition, .. } if condition.contains("stop condition"));
    assert!(events.iter().any(stopped), "{events:#?}");
    assert_eq!(runner.revert_all().await.failed, vec![]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auto_takes_the_api_where_there_is_no_fis() {
    let without = serde_json::json!({ "fis": { "enabled": false } });
    let entry = "fault: network.deny_az, role: web, az: us-east-1a, lasts: 6m, via: auto";
    let bench = Bench::start(entry, "", without).await;
    let printed = plan::print(&bench.plan);
    assert!(
        printed.contains("by     the service's own API (chosen by auto)"),
        "{printed}"
    );
    assert!(
        printed.contains("call   ec2:CreateNetworkAcl") && !printed.contains("call   fis:"),
        "{printed}"
    );
    let with = Bench::start(entry, "", serde_json::json!({})).await;
    let printed = plan::print(&with.plan);
    assert!(printed.contains("by     AWS FIS (chosen by auto)"), "{printed}");
    assert!(
        printed.contains("call   fis:CreateExperimentTemplate aws:network:disrupt-connectivity"),
        "{printed}"
    );
    assert!(printed.contains("1 of 5 targets an action"), "{printed}");
    assert!(printed.contains("revert fis:StopExperiment"), "{printed}");
}

#[test]
fn the_catalogue_names_the_action_of_fis() {
    for (name, says) in [
        (
            "ec2.stop",
            "aws:ec2:stop-instances on aws:ec2:instance; FIS undoes: the instances are started again",
        ),
        ("network.deny_az", "aws:network:disrupt-connectivity on aws:ec2:subnet"),
        ("autoscaling.insufficient_capacity", "(no API does it)"),
        (
            "ebs.pause_io",
            "aws:ebs:pause-volume-io on aws:ec2:ebs-volume (no API does it)",
        ),
        (
            "network.cross_region",
            "aws:network:route-table-disrupt-cross-region-connectivity on aws:ec2:subnet (no API does it)",
        ),
        ("route53.zero_weight", "none; by the API only"),
    ] {
        let text = succeed(tenfold().args(["faults", name]));
        assert!(text.contains(says), "{text}");
    }
}

/// Runs a program to its end; what it said, where it ended well.
fn succeed(command: &mut std::process::Command) -> String {
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

#[test]
fn what_is_exported_is_a_template_that_fis_takes() {
    let folder = tempfile::tempdir().expect("a folder");
    let lab = LabProcess::start("60");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let target = file("target.yaml", &lab.announcement.to_string());
    let experiment = file(
        "two.yaml",
        "name: two\nhypothesis: both are borne\nfaults:\n  \
         - { fault: network.deny_az, role: web, az: us-east-1c, at: hold + 4m, lasts: 3m }\n  \
         - { fault: ec2.stop, role: web, share: 34%, at: hold + 10m, lasts: 90s }\n\
         objectives: [ recovery(order) <= 120s ]\n",
    );
    let export = |experiment: &std::path::Path| {
        let mut command = tenfold();
        command
            .args(["export", "fis"])
            .arg(experiment)
            .arg("--target")
            .arg(&target);
        command
    };
    let text = succeed(&mut export(&experiment));
    let template: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        template["actions"]["2-ec2-stop-waits"]["parameters"]["duration"],
        "PT6M"
    );
    assert_eq!(template["actions"]["2-ec2-stop"]["startAfter"][0], "2-ec2-stop-waits");
    assert_eq!(
        template["actions"]["2-ec2-stop"]["parameters"]["startInstancesAfterDuration"],
        "PT2M"
    );
    let input = file("template.json", &text);
    let made = succeed(
        venv("aws")
            .args([
                "--endpoint-url",
                &lab.endpoint,
                "--output",
                "json",
                "fis",
                "create-experiment-template",
            ])
            .arg("--cli-input-json")
            .arg(format!("file://{}", input.display())),
    );
    let made: serde_json::Value = serde_json::from_str(&made).expect("JSON");
    let made = &made["experimentTemplate"];
    assert_eq!(
        made["targets"]["2-ec2-stop"]["resourceArns"],
        template["targets"]["2-ec2-stop"]["resourceArns"]
    );
    assert_eq!(made["actions"]["2-ec2-stop"], template["actions"]["2-ec2-stop"]);

    let unable = file(
        "dns.yaml",
        "name: dns\nhypothesis: h\nfaults: [{ fault: route53.zero_weight, role: dns, at: 1m, lasts: 3m }]\n",
    );
    let refused = export(&unable).output().expect("it runs");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(
        said.contains("has no action that does what route53.zero_weight does"),
        "{said}"
    );
    let refused = export("profiles/game-day.yaml".as_ref()).output().expect("it runs");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("game-day.yaml is a profile, not an experiment"), "{said}");
}

#[test]
fn the_experiment_of_a_run_that_was_killed_is_stopped_by_revert() {
    let _turn = machine();
    let folder = tempfile::tempdir().expect("a folder");
    let lab = LabProcess::start("60");
    let path = |name: &str| folder.path().join(name);
    let file = |name: &str, text: &str| std::fs::write(path(name), text).expect("written");
    file("target.yaml", &lab.announcement.to_string());
    file(
        "e.yaml",
        "name: e\nhypothesis: h\nfaults:\n  \
         - { fault: network.deny_region, role: web, at: 10s, lasts: 30m, via: fis }\n",
    );
    file(
        "p.yaml",
        "name: p\njourneys: { browse: { think: 1s, steps: [ get: /products/1 ] } }\n\
         stages: [ { tier: 1, users: 5, hold: 1h } ]\nchaos: [ e.yaml ]\n",
    );
    let fis = |operation: &[&str]| -> serde_json::Value {
        let mut command = venv("aws");
        command.args(["--endpoint-url", &lab.endpoint, "--output", "json", "fis"]);
        serde_json::from_str(&succeed(command.args(operation))).expect("JSON")
    };
    let told = |command: &str| {
        let mut told = tenfold();
        told.arg(command)
            .arg(path("p.yaml"))
            .arg("--target")
            .arg(path("target.yaml"));
        told
    };
    let planned = succeed(&mut told("plan"));
    let hash = planned.lines().last().and_then(|line| line.strip_prefix("hash "));
    let mut run = told("run")
        .arg("--approve")
        .arg(hash.unwrap_or_else(|| panic!("no hash in\n{planned}")))
        .arg("--quiet")
        .arg("--out")
        .arg(path("run"))
        .spawn()
        .expect("tenfold starts");
    let state = || fis(&["list-experiments"])["experiments"][0]["state"]["status"].clone();
    let deadline = Instant::now() + Duration::from_secs(20);
    while state() != "running" {
        assert!(Instant::now() < deadline, "the experiment never ran");
    }
    run.kill().expect("it lives");
    run.wait().expect("it is dead");
    let said = succeed(tenfold().arg("revert").arg(path("run")));
    assert!(said.contains("nothing of this run is in the world"), "{said}");
    assert_eq!(state(), "stopped");
    assert_eq!(
        fis(&["list-experiment-templates"])["experimentTemplates"],
        serde_json::json!([])
    );
    succeed(tenfold().arg("revert").arg(path("run")));
}

/// The account as it is, and a plan whose faults go either way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preview_is_what_fis_resolves_and_leaves_nothing() {
    let lab = LabProcess::start("60");
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("it is written");
    write("target.json", &lab.announcement.to_string());
    write(
        "harm.yaml",
        "name: harm\nhypothesis: h\nfaults:\n\
         \x20 - { fault: ec2.stop, role: web, share: 34%, via: fis, at: 1m, lasts: 2m }\n\
         \x20 - { fault: network.deny_az, role: web, az: us-east-1a, via: api, at: 4m, lasts: 2m }\nsettle: 30s\n",
    );
    write(
        "profile.yaml",
        "name: p\ntarget: target.json\nchaos: [harm.yaml]\njourneys: { a: { think: 1s, steps: [{ get: / }] } }\n\
         stages: [{ tier: 1, users: 1, hold: 20m }]\n",
    );
    let preview = || {
        let done = tenfold()
            .current_dir(folder.path())
            .args(["plan", "profile.yaml", "--preview"])
            .output();
        let done = done.expect("it runs");
        (
            done.status.code(),
            String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr),
        )
    };
    let (code, said) = preview();
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("harm[0]: the same arn:aws:ec2:us-east-1:111122223333:instance/i-"),
        "{said}"
    );
    assert!(!said.contains("harm[1]: "), "the API injects it: {said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.starts_with("hash "), "it is the last line: {said}");
    let clients = Clients::connect(&ConnectOptions {
        endpoint: Some(lab.endpoint.clone()),
        regions: vec![REGION.to_owned()],
        pace: Pace::new(60.0).expect("a pace"),
        assume: Vec::new(),
        credentials: Some(("test".to_owned(), "test".to_owned())),
    })
    .await;
    let reader = clients.reader();
    assert_eq!(reader.experiment_templates(REGION).await.expect("templates"), []);
    let experiments = reader.experiments(REGION).await.expect("experiments");
    assert_eq!((experiments.len(), experiments[0].status.as_str()), (1, "completed"));
    let done = tenfold()
        .current_dir(folder.path())
        .args(["plan", "profile.yaml", "--preview", "--json"])
        .output()
        .expect("it runs");
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let plan: serde_json::Value = serde_json::from_slice(&done.stdout).expect("one object");
    let asked = plan["preview"].as_array().expect("what FIS resolves");
    assert_eq!((asked.len(), &asked[0]["fault"]), (1, &"harm[0]".into()));
    assert_eq!(asked[0]["resolved"], asked[0]["named"]);
    assert_eq!(asked[0]["resolved"].as_array().map(Vec::len), Some(1), "{asked:?}");
    assert!(plan["hash"].is_string());
    let group = reader
        .group(REGION, "shop-web")
        .await
        .expect("an answer")
        .expect("a group");
    assert!(
        group.members.iter().all(|member| member.in_service),
        "nothing is stopped"
    );
    // What the guards refuse is not previewed.
    let mut target = lab.announcement.clone();
    target["allow"]["tag"] = serde_json::json!({ "chaos": "never" });
    write("target.json", &target.to_string());
    let (code, said) = preview();
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("harm[0]: refused: ") && said.contains("is not tagged chaos=never"),
        "{said}"
    );
    assert_eq!(reader.experiments(REGION).await.expect("experiments").len(), 2);
}
