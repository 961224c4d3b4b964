//! A profile: who the users are, how many, doing which journeys, and the objectives.
//! Reads one file's tree; what spans several files is checked in `load`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::connections::{self, Connections};
use super::decode::{self, Fields};
use super::error::{Mistake, Sink};
use super::feeder::{self, Feeder};
use super::journey::{self, Given, Journey};
use super::load::Files;
use super::nearest::suggest;
use super::node::{Node, Value};
use super::objective::Objective;
use super::replay;
use super::retry::{self, Retries};
use super::source::{Place, Spanned};
use super::template::{Holes, Piece};
use super::tls::{self, Tls};
use crate::units::Pace;

/// Longest schedule; whatever is longer was written by mistake.
const SCHEDULE_MAX: Duration = Duration::from_secs(31 * 24 * 3600);

/// More threads than any machine has cores.
const SHARDS_MAX: u64 = 1024;

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
    /// Stages in order, at least one.
    pub stages: Vec<Stage>,
    /// How arrivals are spaced.
    pub spacing: Spacing,
    /// Paths of the experiments.
    pub chaos: Vec<Spanned<String>>,
    /// Objectives, those of experiments not included.
    pub objectives: Vec<Spanned<Objective>>,
    /// The generator as a client.
    pub client: Client,
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

/// How much load a stage reaches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Load {
    /// Users with think time.
    Users(u64),
    /// Arrivals per second of real time.
    Arrivals(f64),
}

impl Load {
    /// The number alone.
    #[must_use]
    pub fn level(self) -> f64 {
        match self {
            Load::Users(users) => users as f64,
            Load::Arrivals(rate) => rate,
        }
    }
}

/// How the arrivals of the open model are spaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spacing {
    /// At equal distances.
    #[default]
    Even,
    /// As independent users come: a Poisson process.
    Poisson,
}

/// One ramp and hold.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Tier 1 to 6.
    pub tier: u8,
    /// Reached at the end of the ramp.
    pub load: Load,
    /// Cloud time.
    pub ramp: Duration,
    /// Cloud time.
    pub hold: Duration,
    /// Where.
    pub place: Place,
}

/// The generator as a client.
#[derive(Clone, Debug, PartialEq)]
pub struct Client {
    /// `honour-ttl`, `pin` or `forever`.
    pub dns: String,
    /// How connections are kept.
    pub connections: Connections,
    /// Cloud time.
    pub connect_timeout: Duration,
    /// Cloud time.
    pub request_timeout: Duration,
    /// Requests per second at most.
    pub rate_limit: Option<f64>,
    /// Threads; one per core when none.
    pub shards: Option<usize>,
    /// What is done when a request fails; none for nothing.
    pub retries: Option<Retries>,
    /// How it speaks TLS, to an https target.
    pub tls: Tls,
}

/// How acknowledged writes are read back.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// Its name.
    pub name: String,
    /// Path with `{{ id }}`.
    pub read: Vec<Piece>,
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
pub(super) fn profile(root: &Node, experiments: &[String], files: &Files, sink: &mut Sink) -> Option<Profile> {
    let mut fields = Fields::of(root, "the profile", sink)?;
    let name = fields
        .require("name", "my-profile", sink)
        .and_then(|node| decode::name(node, sink));
    let target = fields
        .take("target")
        .and_then(|node| decode::text(node, sink))
        .map_or(TargetRef::Lab, |t| TargetRef::read(&t));
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
    let stages_node = fields.require("stages", "[{ tier: 1, users: 1_000, ramp: 1m, hold: 5m }]", sink);
    let stages = stages_node
        .map(|node| self::stages(node, files, sink))
        .unwrap_or_default();
    let spacing = fields
        .take("spacing")
        .and_then(|node| spacing(node, &stages, sink))
        .unwrap_or_default();
    let chaos = fields.take("chaos").map(|node| chaos(node, sink)).unwrap_or_default();
    let objectives = fields.take("objectives").map(|node| {
        decode::list(node, "objectives", sink)
            .iter()
            .filter_map(|item| super::objective_text::objective(item, experiments, None, sink))
            .collect()
    });
    let client = client(fields.take("client"), files, sink);
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
    if let (Some(node), [stage, ..], Some(limit)) = (stages_node, stages.as_slice(), client.rate_limit) {
        rate_possible(node, stage, &stages, &journeys, limit, sink);
    }
    Some(Profile {
        name: name?,
        target,
        feeders,
        journeys,
        stages,
        spacing,
        chaos,
        objectives: objectives.unwrap_or_default(),
        client,
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

/// Requests per second (real time) that `load` means with these journeys, answers taken as instant.
pub(super) fn expected_rate(load: Load, journeys: &[Journey]) -> f64 {
    let weights: f64 = journeys.iter().map(|journey| journey.weight).sum();
    let steps: f64 = journeys
        .iter()
        .map(|journey| journey.weight * journey.steps.len() as f64)
        .sum();
    let think: f64 = journeys.iter().map(|journey| journey.weight * journey.cycle()).sum();
    match load {
        Load::Users(users) if think > 0.0 => users as f64 * steps / think,
        Load::Arrivals(rate) if weights > 0.0 => rate * steps / weights,
        _ => 0.0,
    }
}

fn rate_possible(node: &Node, first: &Stage, stages: &[Stage], journeys: &[Journey], limit: f64, sink: &mut Sink) {
    let highest = stages
        .iter()
        .fold(first, |a, b| if b.load.level() > a.load.level() { b } else { a });
    let rate = expected_rate(highest.load, journeys);
    if rate > limit {
        let place = if highest.place.name() == node.place.name() {
            &highest.place
        } else {
            &node.place
        };
        let message =
            format!("this stage means about {rate:.0} requests/s, more than client.rate_limit of {limit:.0}/s allows");
        sink.push(
            Mistake::at(place, message).hint("raise client.rate_limit, or use fewer users or longer think times"),
        );
    }
}

fn spacing(node: &Node, stages: &[Stage], sink: &mut Sink) -> Option<Spacing> {
    let text = decode::text(node, sink)?;
    let spacing = match text.as_str() {
        "even" => Spacing::Even,
        "poisson" => Spacing::Poisson,
        _ => {
            sink.push(Mistake::at(&node.place, format!("unknown spacing {text:?}")).hint("write even or poisson"));
            return None;
        }
    };
    if stages.iter().any(|stage| matches!(stage.load, Load::Users(_))) {
        let hint =
            "users come when they have thought; `think: exponential(10s)` makes their requests a Poisson process";
        sink.push(Mistake::at(&node.place, "`spacing` is for `arrivals`").hint(hint));
    }
    Some(spacing)
}

fn stages(node: &Node, files: &Files, sink: &mut Sink) -> Vec<Stage> {
    let items = decode::list(node, "stages", sink);
    if items.is_empty() && matches!(node.value, Value::List(_)) {
        sink.push(
            Mistake::at(&node.place, "there are no stages")
                .hint("add `- { tier: 1, users: 1_000, ramp: 1m, hold: 5m }`"),
        );
    }
    let mut stages: Vec<Stage> = Vec::new();
    for item in items {
        match item.get("replay") {
            Some(_) => stages.extend(replay::stages(item, files, sink)),
            None => stages.extend(stage(item, sink)),
        }
    }
    not_too_long(&stages, sink);
    for stage in stages.iter().skip(1) {
        if matches!(stage.load, Load::Users(_)) != matches!(stages[0].load, Load::Users(_)) {
            let hint = "use `users` in every stage (closed model) or `arrivals` in every stage (open model)";
            sink.push(Mistake::at(&stage.place, "stages mix `users` and `arrivals`").hint(hint));
        }
    }
    stages
}

fn not_too_long(stages: &[Stage], sink: &mut Sink) {
    let mut whole = Duration::ZERO;
    for stage in stages {
        whole = whole.saturating_add(stage.ramp).saturating_add(stage.hold);
        if whole > SCHEDULE_MAX {
            let mistake = Mistake::at(&stage.place, "with this stage the schedule lasts longer than 31 days");
            sink.push(mistake.hint("shorten `ramp` or `hold`; they are cloud time, such as 90s, 5m or 1h30m"));
            return;
        }
    }
}

pub(super) fn tier(node: &Node, sink: &mut Sink) -> Option<u8> {
    let tier = decode::count(node, sink)?;
    let tier = u8::try_from(tier).ok().filter(|tier| (1..=6).contains(tier));
    if tier.is_none() {
        sink.push(Mistake::at(&node.place, "a tier is a number from 1 to 6"));
    }
    tier
}

fn stage(node: &Node, sink: &mut Sink) -> Option<Stage> {
    let mut fields = Fields::of(node, "a stage", sink)?;
    let tier = fields.require("tier", "1", sink).and_then(|node| tier(node, sink));
    let users_node = fields.take("users");
    let arrivals_node = fields.take("arrivals");
    let ramp = fields
        .take("ramp")
        .map_or(Some(Duration::ZERO), |node| decode::duration(node, sink));
    let hold = fields
        .require("hold", "5m", sink)
        .and_then(|node| decode::duration(node, sink));
    fields.finish(sink);
    if ramp
        .zip(hold)
        .is_some_and(|(ramp, hold)| ramp.is_zero() && hold.is_zero())
    {
        sink.push(Mistake::at(&node.place, "a stage without ramp and hold takes no time").hint("add `hold: 5m`"));
    }
    let load = match (users_node, arrivals_node) {
        (Some(_), Some(arrivals)) => {
            let hint = "`users` think between requests (closed model), `arrivals` come whatever happens (open model); keep one";
            sink.push(Mistake::at(&arrivals.place, "a stage has either `users` or `arrivals`").hint(hint));
            None
        }
        (Some(node), None) => decode::count(node, sink).and_then(|users| {
            if users == 0 {
                sink.push(Mistake::at(&node.place, "zero users send nothing").hint("write at least one user"));
            }
            // One user is a row of data; past this the rows no longer fit the memory of any one machine.
            if users > 100_000_000 {
                sink.push(Mistake::at(&node.place, "more than 100_000_000 users"));
            }
            (1..=100_000_000).contains(&users).then_some(Load::Users(users))
        }),
        (None, Some(node)) => decode::rate(node, sink).and_then(|rate| {
            if rate <= 0.0 {
                sink.push(Mistake::at(&node.place, "zero arrivals send nothing").hint("write a rate such as 500/s"));
            }
            (rate > 0.0).then_some(Load::Arrivals(rate))
        }),
        (None, None) => {
            sink.push(
                Mistake::at(&node.place, "the stage has no load").hint("add `users: 1_000` or `arrivals: 500/s`"),
            );
            None
        }
    };
    Some(Stage {
        tier: tier?,
        load: load?,
        ramp: ramp?,
        hold: hold?,
        place: node.place.clone(),
    })
}

fn client(node: Option<&Node>, files: &Files, sink: &mut Sink) -> Client {
    let mut client = Client {
        dns: "honour-ttl".to_owned(),
        connections: Connections::default(),
        connect_timeout: Duration::from_secs(5),
        request_timeout: Duration::from_secs(30),
        rate_limit: None,
        shards: None,
        retries: None,
        tls: Tls::default(),
    };
    let Some(mut fields) = node.and_then(|node| Fields::of(node, "`client`", sink)) else {
        return client;
    };
    if let Some(node) = fields.take("dns")
        && let Some(dns) = decode::text(node, sink)
    {
        let known = ["honour-ttl", "pin", "forever"];
        if !known.contains(&dns.as_str()) {
            sink.push(Mistake::at(&node.place, format!("unknown DNS policy {dns:?}")).hint(suggest(&dns, known)));
        }
        client.dns = dns;
    }
    client.shards = fields.take("shards").and_then(|node| shards(node, sink));
    let mut timeout = |key: &'static str, default: Duration, sink: &mut Sink| {
        let Some(node) = fields.take(key) else { return default };
        let timeout = decode::duration(node, sink).unwrap_or(default);
        if timeout.is_zero() {
            sink.push(Mistake::at(&node.place, format!("a {key} of zero fails every request")));
        }
        timeout
    };
    client.connect_timeout = timeout("connect_timeout", client.connect_timeout, sink);
    client.request_timeout = timeout("request_timeout", client.request_timeout, sink);
    client.connections = connections::connections(&mut fields, sink);
    client.rate_limit = fields.take("rate_limit").and_then(|node| decode::rate(node, sink));
    if let Some(node) = fields.take("tls") {
        client.tls = tls::tls(node, files, sink);
    }
    client.retries = fields.take("retries").and_then(|node| retry::retries(node, sink));
    fields.finish(sink);
    client
}

fn shards(node: &Node, sink: &mut Sink) -> Option<usize> {
    let shards = decode::count(node, sink)?;
    if !(1..=SHARDS_MAX).contains(&shards) {
        sink.push(Mistake::at(
            &node.place,
            format!("shards is a number from 1 to {SHARDS_MAX}"),
        ));
        return None;
    }
    usize::try_from(shards).ok()
}

fn ledgers(node: &Node, sink: &mut Sink) -> Vec<Ledger> {
    let mut ledgers = Vec::new();
    for entry in decode::map(node, "ledgers", sink) {
        let Some(mut fields) = Fields::of(&entry.node, format!("ledger {:?}", entry.key), sink) else {
            continue;
        };
        let read_node = fields.require("read", "\"/orders/{{ id }}\"", sink);
        fields.finish(sink);
        let Some((node, read)) = read_node.and_then(|node| {
            Some((
                node,
                journey::template(
                    node,
                    &Holes {
                        variables: &[],
                        id: true,
                    },
                    sink,
                )?,
            ))
        }) else {
            continue;
        };
        if !read.contains(&Piece::Id) {
            let hint = "put `{{ id }}` where the id of the write belongs";
            sink.push(Mistake::at(&node.place, "the read path names no id").hint(hint));
        }
        ledgers.push(Ledger {
            name: entry.key.clone(),
            read,
        });
    }
    ledgers
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
