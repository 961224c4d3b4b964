//! A profile: who the users are, how many, doing which journeys, and the objectives.
//! Reads one file's tree; what spans several files is checked in `load`.

use std::time::Duration;

use super::auth;
use super::client::{self, Client};
use super::decode::{self, Fields};
use super::entry::{self, EntryError};
use super::error::{Mistake, Sink};
use super::feeder::{self, Feeder};
use super::files::Files;
use super::grpc;
use super::journey::{self, Given, Journey};
use super::loads::{self, LoadEntry};
use super::node::{Entry, Node};
use super::oauth2;
use super::objective::Objective;
use super::protobuf::{self, Protos, Services};
use super::sigv4::SigV4;
use super::source::{Place, Spanned};
use super::stages::{self, Spacing, Stage};
use super::template::{Holes, Piece};
use super::version;
use crate::units::Pace;

/// What the profile's author wrote, checked.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// The system under test; the lab when nothing is written.
    pub target: TargetRef,
    /// Tables of test data in order.
    pub feeders: Vec<Feeder>,
    /// Journeys in order.
    pub journeys: Vec<Journey>,
    /// Stages of the one load of all journeys, in order; none where there are `loads`.
    pub stages: Vec<Stage>,
    /// Several loads, in the order written.
    pub loads: Vec<LoadEntry>,
    /// How arrivals are spaced.
    pub spacing: Spacing,
    /// Paths of the experiments.
    pub chaos: Vec<Spanned<String>>,
    /// Objectives, those of experiments not included.
    pub objectives: Vec<Spanned<Objective>>,
    /// The generator as a client.
    pub client: Client,
    /// What the services of gRPC look like; none where nothing is called.
    pub services: Option<Services>,
    /// Ledgers in order.
    pub ledgers: Vec<Ledger>,
    /// Write probes.
    pub probes: Vec<Probe>,
    /// Bounds on the generator.
    pub honesty: Honesty,
    /// A real delay before each start, to prove that a starved generator is noticed.
    pub forced_lag: Duration,
    /// Seed of every random choice.
    pub seed: Option<u64>,
    /// How fast the target's cloud lives.
    pub pace: Option<Pace>,
    /// Where the profile begins.
    pub place: Place,
}

/// The system under test as named by a profile or on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetRef {
    /// The embedded lab.
    Lab,
    /// A plain URL; nothing of AWS is touched.
    Url(String),
    /// The path of a target file.
    File(String),
}

impl TargetRef {
    /// Reads `lab`, a URL or a path.
    #[must_use]
    pub fn read(text: &str) -> Self {
        match text {
            "lab" => Self::Lab,
            url if url.contains("://") => Self::Url(url.to_owned()),
            path => Self::File(path.to_owned()),
        }
    }
}

/// The target that a profile names; of a URL it is known here whether it is one.
fn target_ref(node: &Node, sink: &mut Sink) -> Option<TargetRef> {
    let target = TargetRef::read(&decode::text(node, sink)?);
    if let TargetRef::Url(url) = &target
        && let Err(EntryError { message, hint }) = entry::Entry::bare(url)
    {
        sink.push(Mistake::at(&node.place, message).hint(hint));
    }
    Some(target)
}

/// How acknowledged writes are read back.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// Its name.
    pub name: String,
    /// Path with `{{ id }}`.
    pub read: Vec<Piece>,
    /// Headers of the read.
    pub headers: Vec<(String, Vec<Piece>)>,
    /// How the read is signed.
    pub sign: Option<SigV4>,
}

/// One request sent each interval, every result kept.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The step whose request it sends.
    pub step: Spanned<String>,
    /// Real time.
    pub every: Duration,
    /// The Region whose load balancers it asks, past DNS.
    pub region: Option<Spanned<String>>,
}

/// Bounds beyond which the generator's own measurements are not believed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Honesty {
    /// Real time.
    pub lag_p99: Duration,
    /// Share of one core.
    pub cpu: f64,
    /// Share of the machine's CPU time that may be stolen.
    pub steal: f64,
    /// Share of TCP segments that may be sent again outside faults.
    pub retransmits: f64,
    /// Share of the descriptors.
    pub descriptors: f64,
    /// Share of the local ports to one address.
    pub ports: f64,
    /// Requests a phase needs.
    pub requests: u64,
}

/// Reads what stands in a profile's tree.
pub(super) fn profile(
    root: &Node,
    experiments: &[String],
    files: &Files,
    protos: &Protos,
    sink: &mut Sink,
) -> Option<Profile> {
    let mut fields = Fields::of(root, "the profile", sink)?;
    let name = fields
        .require("name", "my-profile", sink)
        .and_then(|node| decode::name(node, sink));
    let target = fields
        .take("target")
        .and_then(|node| target_ref(node, sink))
        .unwrap_or(TargetRef::Lab);
    let journeys = fields.require(
        "journeys",
        "{ browse: { weight: 1, think: 5s..25s, steps: [{ get: / }] } }",
        sink,
    );
    let feeders = fields
        .take("feeders")
        .map(|node| feeder::feeders(node, files, sink))
        .unwrap_or_default();
    let given = Given {
        feeders: &feeders,
        files,
    };
    let journeys = journeys
        .map(|node| journey::journeys(node, &given, sink))
        .unwrap_or_default();
    let loads_node = fields.take("loads");
    let stages_node = match loads_node {
        None => fields.require("stages", "[{ tier: 1, users: 1_000, ramp: 1m, hold: 5m }]", sink),
        Some(_) => {
            for key in ["stages", "spacing"] {
                if let Some(node) = fields.take(key) {
                    let message = format!("a profile with `loads` has no `{key}` of its own");
                    sink.push(Mistake::at(&node.place, message).hint("move it into a load"));
                }
            }
            None
        }
    };
    let stages = stages_node
        .map(|node| stages::stages(node, files, sink))
        .unwrap_or_default();
    let spacing = fields
        .take("spacing")
        .filter(|_| loads_node.is_none())
        .and_then(|node| stages::spacing(node, &stages, sink))
        .unwrap_or_default();
    let loads = loads_node
        .map(|node| loads::loads(node, &journeys, files, sink))
        .unwrap_or_default();
    let chaos = fields.take("chaos").map(|node| chaos(node, sink)).unwrap_or_default();
    let objectives = fields.take("objectives").map(|node| {
        decode::list(node, "objectives", sink)
            .iter()
            .filter_map(|item| super::objective_text::objective(item, experiments, None, sink))
            .collect()
    });
    let client = client::client(fields.take("client"), files, sink);
    let grpc_node = fields.take("grpc");
    let services = grpc_node.and_then(|node| protobuf::services(node, files, protos, sink));
    version::check(&journeys, &client, sink);
    if grpc_node.is_none() {
        grpc::check(&journeys, sink);
    }
    let ledgers = fields
        .take("ledgers")
        .map(|node| ledgers(node, sink))
        .unwrap_or_default();
    let probes = fields.take("probes").map(|node| probes(node, sink)).unwrap_or_default();
    let honesty = honesty(fields.take("honesty"), sink);
    let mut forced_lag = None;
    if let Some(mut test) = fields.take("test").and_then(|node| Fields::of(node, "`test`", sink)) {
        forced_lag = test.take("forced_lag").and_then(|node| decode::duration(node, sink));
        test.finish(sink);
    }
    let seed = fields.take("seed").and_then(|node| decode::count(node, sink));
    let pace = fields.take("pace").and_then(|node| {
        let number = decode::number(node, sink)?;
        Pace::new(number)
            .map_err(|error| sink.push(Mistake::at(&node.place, error.to_string())))
            .ok()
    });
    // The lab reads its own section.
    let _ = fields.take("lab");
    fields.finish(sink);
    let mut check = |node: &Node, stages: &[Stage], journeys: &[&Journey]| {
        oauth2::check_arrivals(node, stages, journeys, sink);
        if let Some(limit) = client.rate_limit {
            stages::rate_possible(node, stages, journeys, limit, sink);
        }
    };
    if let Some(node) = stages_node {
        let all: Vec<&Journey> = journeys.iter().collect();
        check(node, &stages, &all);
    }
    for (node, load) in loads_node
        .iter()
        .flat_map(|node| loads.iter().map(move |load| (node, load)))
    {
        let its_own: Vec<&Journey> = load.journeys.iter().map(|index| &journeys[*index]).collect();
        check(node, &load.stages, &its_own);
    }
    Some(Profile {
        name: name?,
        target,
        feeders,
        journeys,
        stages,
        loads,
        spacing,
        chaos,
        objectives: objectives.unwrap_or_default(),
        client,
        services,
        ledgers,
        probes,
        honesty,
        forced_lag: forced_lag.unwrap_or_default(),
        seed,
        pace,
        place: root.place.clone(),
    })
}

/// The paths of the experiments.
pub(super) fn chaos(node: &Node, sink: &mut Sink) -> Vec<Spanned<String>> {
    decode::list(node, "chaos", sink)
        .iter()
        .filter_map(|item| decode::spanned(item, sink))
        .collect()
}

fn ledgers(node: &Node, sink: &mut Sink) -> Vec<Ledger> {
    let entries = decode::map(node, "ledgers", sink);
    entries.iter().map(|entry| ledger(entry, sink)).collect()
}

/// One that is mistaken is known all the same: that it is unknown would be said of the steps that write into it.
fn ledger(entry: &Entry, sink: &mut Sink) -> Ledger {
    let mut ledger = Ledger {
        name: entry.key.clone(),
        read: Vec::new(),
        headers: Vec::new(),
        sign: None,
    };
    let Some(mut fields) = Fields::of(&entry.node, format!("ledger {:?}", entry.key), sink) else {
        return ledger;
    };
    let read_node = fields.require("read", "\"/orders/{{ id }}\"", sink);
    let holes = Holes {
        variables: &[],
        id: true,
    };
    if let Some(node) = fields.take("headers") {
        ledger.headers = journey::headers(node, &holes, sink);
    }
    let auth = fields.take("auth").and_then(|node| auth::auth(node, &holes, sink));
    ledger.sign = journey::signs_in(auth, &mut ledger.headers);
    fields.finish(sink);
    let Some((node, read)) = read_node.and_then(|node| Some((node, journey::template(node, &holes, sink)?))) else {
        return ledger;
    };
    journey::sendable_path(&read, node, sink);
    if !read.contains(&Piece::Id) {
        let hint = "put `{{ id }}` where the id of the write belongs";
        sink.push(Mistake::at(&node.place, "the read path names no id").hint(hint));
    }
    ledger.read = read;
    ledger
}

fn probes(node: &Node, sink: &mut Sink) -> Vec<Probe> {
    let mut probes = Vec::new();
    for item in decode::list(node, "probes", sink) {
        let Some(mut fields) = Fields::of(item, "a probe", sink) else {
            continue;
        };
        let step = fields
            .require("step", "order", sink)
            .and_then(|node| decode::spanned(node, sink));
        let every = fields.take("every").map_or(Some(Duration::from_millis(50)), |node| {
            let every = decode::duration(node, sink)?;
            if every < Duration::from_millis(1) {
                sink.push(Mistake::at(&node.place, "a probe comes at most each 1ms"));
                return None;
            }
            Some(every)
        });
        let region = fields.take("region").and_then(|node| decode::spanned(node, sink));
        fields.finish(sink);
        probes.extend(step.zip(every).map(|(step, every)| Probe { step, every, region }));
    }
    probes
}

fn honesty(node: Option<&Node>, sink: &mut Sink) -> Honesty {
    let mut honesty = Honesty {
        lag_p99: Duration::from_millis(50),
        cpu: 0.95,
        steal: 0.1,
        retransmits: 0.05,
        descriptors: 0.95,
        ports: 0.95,
        requests: 100,
    };
    let Some(mut fields) = node.and_then(|node| Fields::of(node, "`honesty`", sink)) else {
        return honesty;
    };
    honesty.lag_p99 = fields
        .take("lag_p99")
        .and_then(|node| decode::duration(node, sink))
        .unwrap_or(honesty.lag_p99);
    let shares = [
        ("cpu", &mut honesty.cpu),
        ("steal", &mut honesty.steal),
        ("retransmits", &mut honesty.retransmits),
        ("descriptors", &mut honesty.descriptors),
        ("ports", &mut honesty.ports),
    ];
    for (key, bound) in shares {
        *bound = fields
            .take(key)
            .and_then(|node| decode::share(node, sink))
            .unwrap_or(*bound);
    }
    honesty.requests = fields
        .take("requests")
        .and_then(|node| decode::count(node, sink))
        .unwrap_or(honesty.requests);
    fields.finish(sink);
    honesty
}
