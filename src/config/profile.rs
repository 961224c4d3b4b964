//! A profile: who the users are, how many, doing which journeys, and the objectives.
//! Reads one file's tree; what spans several files is checked in `load`.

use std::time::Duration;

use super::decode::{self, Fields};
use super::error::{Mistake, Sink};
use super::nearest::suggest;
use super::node::{Node, Value};
use super::objective::Objective;
use super::source::{Place, Spanned};
use super::template::{self, Piece};
use crate::units::Pace;

/// What the profile's author wrote, checked.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// The system under test; the lab when nothing is written.
    pub target: TargetRef,
    /// Journeys in order.
    pub journeys: Vec<Journey>,
    /// Stages in order, at least one.
    pub stages: Vec<Stage>,
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

/// The steps one user repeats.
#[derive(Clone, Debug)]
pub struct Journey {
    /// Its name.
    pub name: String,
    /// Relative weight, positive.
    pub weight: f64,
    /// Shortest and longest think time, real time.
    pub think: (Duration, Duration),
    /// Requests in order.
    pub steps: Vec<Step>,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Step {
    /// The name given or derived: the journey's, with `.2` and so on for further steps.
    pub name: String,
    /// HTTP method, upper case.
    pub method: String,
    /// Path.
    pub path: Vec<Piece>,
    /// Extra headers.
    pub headers: Vec<(String, Vec<Piece>)>,
    /// Body.
    pub body: Option<RequestBody>,
    /// Expected status; none means any below 400.
    pub expect_status: Option<u16>,
    /// The ledger that records the acknowledged id.
    pub ledger: Option<Spanned<String>>,
}

/// A body with its content type.
#[derive(Clone, Debug)]
pub struct RequestBody {
    /// Content-Type.
    pub content_type: String,
    /// The text.
    pub text: Vec<Piece>,
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
    /// Per shard and address at most.
    pub connections: usize,
    /// Cloud time.
    pub connect_timeout: Duration,
    /// Cloud time.
    pub request_timeout: Duration,
    /// Requests per second at most.
    pub rate_limit: Option<f64>,
    /// Threads; one per core when none.
    pub shards: Option<usize>,
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
    /// Requests a phase needs.
    pub requests: u64,
}

const METHODS: [&str; 6] = ["get", "post", "put", "patch", "delete", "head"];

/// Reads what stands in a profile's tree.
pub(super) fn profile(root: &Node, experiments: &[String], sink: &mut Sink) -> Option<Profile> {
    let mut fields = Fields::of(root, "the profile", sink)?;
    let name = fields
        .require("name", "my-profile", sink)
        .and_then(|node| decode::text(node, sink));
    let target = fields
        .take("target")
        .and_then(|node| decode::text(node, sink))
        .map_or(TargetRef::Lab, |t| TargetRef::read(&t));
    let journeys = fields.require(
        "journeys",
        "{ browse: { weight: 1, think: 5s..25s, steps: [{ get: / }] } }",
        sink,
    );
    let journeys = journeys.map(|node| self::journeys(node, sink)).unwrap_or_default();
    let stages_node = fields.require("stages", "[{ tier: 1, users: 1_000, ramp: 1m, hold: 5m }]", sink);
    let stages = stages_node.map(|node| self::stages(node, sink)).unwrap_or_default();
    let chaos = fields.take("chaos").map(|node| chaos(node, sink)).unwrap_or_default();
    let objectives = fields.take("objectives").map(|node| {
        decode::list(node, "objectives", sink)
            .iter()
            .filter_map(|item| super::objective_text::objective(item, experiments, None, sink))
            .collect()
    });
    let client = client(fields.take("client"), sink);
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
        journeys,
        stages,
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
    let think: f64 = journeys
        .iter()
        .map(|journey| journey.weight * (journey.think.0 + journey.think.1).as_secs_f64() / 2.0)
        .sum();
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

fn journeys(node: &Node, sink: &mut Sink) -> Vec<Journey> {
    let entries = decode::map(node, "journeys", sink);
    if entries.is_empty() && matches!(node.value, Value::Map(_)) {
        sink.push(Mistake::at(&node.place, "there are no journeys").hint("users need at least one"));
    }
    let mut names: Vec<String> = Vec::new();
    entries
        .iter()
        .filter_map(|entry| journey(&entry.key, &entry.node, &mut names, sink))
        .collect()
}

fn journey(name: &str, node: &Node, names: &mut Vec<String>, sink: &mut Sink) -> Option<Journey> {
    let mut fields = Fields::of(node, format!("journey {name:?}"), sink)?;
    let weight = fields.take("weight").and_then(|node| {
        let weight = decode::number(node, sink)?;
        if weight <= 0.0 {
            let hint = "write a positive number, or remove the journey";
            sink.push(Mistake::at(&node.place, format!("a weight of {weight} means nobody does it")).hint(hint));
            return None;
        }
        Some(weight)
    });
    let think = fields
        .take("think")
        .and_then(|node| think(node, sink))
        .unwrap_or_default();
    let steps_node = fields.require("steps", "[{ get: / }]", sink);
    fields.finish(sink);
    let items = decode::list(steps_node?, "steps", sink);
    if items.is_empty() {
        sink.push(Mistake::at(&node.place, format!("journey {name:?} has no steps")).hint("add `- get: /`"));
    }
    let mut steps = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let derived = if index == 0 {
            name.to_owned()
        } else {
            format!("{name}.{}", index + 1)
        };
        let Some(step) = step(derived, item, sink) else {
            continue;
        };
        if names.contains(&step.name) {
            let hint = "give the step another `name`";
            sink.push(Mistake::at(&item.place, format!("two steps are called {:?}", step.name)).hint(hint));
        }
        names.push(step.name.clone());
        steps.push(step);
    }
    Some(Journey {
        name: name.to_owned(),
        weight: weight.unwrap_or(1.0),
        think,
        steps,
    })
}

fn think(node: &Node, sink: &mut Sink) -> Option<(Duration, Duration)> {
    let text = decode::text(node, sink)?;
    let (low, high) = text.split_once("..").unwrap_or((&text, &text));
    let read = |text: &str| crate::units::parse_duration(text).ok();
    match (read(low), read(high)) {
        (Some(low), Some(high)) if low <= high => Some((low, high)),
        (Some(_), Some(_)) => {
            sink.push(
                Mistake::at(&node.place, format!("{text:?} ends before it begins"))
                    .hint(format!("write {high}..{low}")),
            );
            None
        }
        _ => {
            let mistake = Mistake::at(&node.place, format!("{text:?} is not a think time"));
            sink.push(mistake.hint("write one duration or two, such as 5s or 5s..25s"));
            None
        }
    }
}

fn step(derived: String, node: &Node, sink: &mut Sink) -> Option<Step> {
    let mut fields = Fields::of(node, "a step", sink)?;
    let name = fields
        .take("name")
        .and_then(|node| decode::text(node, sink))
        .unwrap_or(derived);
    let mut found: Option<(&str, &Node)> = None;
    for method in METHODS {
        let Some(path) = fields.take(method) else { continue };
        if let Some((first, _)) = found {
            sink.push(Mistake::at(
                &path.place,
                format!("a step sends one request, but has {first:?} and {method:?}"),
            ));
        }
        found = found.or(Some((method, path)));
    }
    let path = found.and_then(|(_, node)| {
        let path = template(node, false, sink)?;
        let rooted = matches!(path.first(), Some(Piece::Text(text)) if text.starts_with('/'));
        if !rooted {
            sink.push(Mistake::at(&node.place, "a path begins with `/`").hint("the host comes from the target"));
        }
        Some(path)
    });
    let mut headers = Vec::new();
    for entry in fields
        .take("headers")
        .map(|node| decode::map(node, "headers", sink))
        .unwrap_or_default()
    {
        let valid = !entry.key.is_empty()
            && entry
                .key
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        if !valid {
            sink.push(Mistake::at(
                &entry.place,
                format!("{:?} is not a header name", entry.key),
            ));
        }
        headers.extend(template(&entry.node, false, sink).map(|value| (entry.key.clone(), value)));
    }
    let body = body(&mut fields, sink);
    let mut expect_status = None;
    if let Some(mut expect) = fields
        .take("expect")
        .and_then(|node| Fields::of(node, "`expect`", sink))
    {
        expect_status = expect.take("status").and_then(|node| {
            let status = decode::count(node, sink)?;
            let status = u16::try_from(status).ok().filter(|status| (100..=599).contains(status));
            if status.is_none() {
                sink.push(Mistake::at(&node.place, "an HTTP status is a number from 100 to 599"));
            }
            status
        });
        expect.finish(sink);
    }
    let ledger = fields.take("ledger").and_then(|node| decode::spanned(node, sink));
    let unknown_method = found.is_none();
    fields.finish(sink);
    if unknown_method {
        sink.push(
            Mistake::at(&node.place, "the step sends nothing")
                .hint(format!("add one of {}: /path", METHODS.join(", "))),
        );
    }
    Some(Step {
        name,
        method: found?.0.to_uppercase(),
        path: path?,
        headers,
        body,
        expect_status,
        ledger,
    })
}

fn body(fields: &mut Fields<'_>, sink: &mut Sink) -> Option<RequestBody> {
    let json = fields.take("json");
    let body = fields.take("body");
    let content_type = fields.take("content_type").and_then(|node| decode::text(node, sink));
    if let (Some(_), Some(body)) = (json, body) {
        sink.push(Mistake::at(&body.place, "a step has either `json` or `body`").hint("remove one of the two"));
    }
    if let Some(json) = json {
        let before = sink.mistakes.len();
        check_templates(json, sink);
        if sink.mistakes.len() > before {
            return None;
        }
        // Holes stay as they are in JSON text: none of them contains a character that JSON escapes.
        let text = json.to_json().to_string();
        let text = template::parse(&text, false).ok()?;
        return Some(RequestBody {
            content_type: content_type.unwrap_or_else(|| "application/json".to_owned()),
            text,
        });
    }
    let text = template(body?, false, sink)?;
    Some(RequestBody {
        content_type: content_type.unwrap_or_else(|| "text/plain; charset=utf-8".to_owned()),
        text,
    })
}

fn check_templates(node: &Node, sink: &mut Sink) {
    match &node.value {
        Value::Scalar { .. } if node.is_null() => {}
        Value::Scalar { .. } => {
            let _ = template(node, false, sink);
        }
        Value::List(items) => items.iter().for_each(|item| check_templates(item, sink)),
        Value::Map(entries) => entries.iter().for_each(|entry| check_templates(&entry.node, sink)),
    }
}

fn template(node: &Node, id: bool, sink: &mut Sink) -> Option<Vec<Piece>> {
    let text = decode::text(node, sink)?;
    template::parse(&text, id)
        .map_err(|wrong| {
            sink.push(Mistake::at(&node.part(wrong.offset, wrong.length), wrong.message).hint(wrong.hint));
        })
        .ok()
}

fn stages(node: &Node, sink: &mut Sink) -> Vec<Stage> {
    let items = decode::list(node, "stages", sink);
    if items.is_empty() && matches!(node.value, Value::List(_)) {
        sink.push(
            Mistake::at(&node.place, "there are no stages")
                .hint("add `- { tier: 1, users: 1_000, ramp: 1m, hold: 5m }`"),
        );
    }
    let stages: Vec<Stage> = items.iter().filter_map(|item| stage(item, sink)).collect();
    for stage in stages.iter().skip(1) {
        if matches!(stage.load, Load::Users(_)) != matches!(stages[0].load, Load::Users(_)) {
            let hint = "use `users` in every stage (closed model) or `arrivals` in every stage (open model)";
            sink.push(Mistake::at(&stage.place, "stages mix `users` and `arrivals`").hint(hint));
        }
    }
    stages
}

fn stage(node: &Node, sink: &mut Sink) -> Option<Stage> {
    let mut fields = Fields::of(node, "a stage", sink)?;
    let tier = fields.require("tier", "1", sink).and_then(|node| {
        let tier = decode::count(node, sink)?;
        let tier = u8::try_from(tier).ok().filter(|tier| (1..=6).contains(tier));
        if tier.is_none() {
            sink.push(Mistake::at(&node.place, "a tier is a number from 1 to 6"));
        }
        tier
    });
    let users_node = fields.take("users");
    let arrivals_node = fields.take("arrivals");
    let ramp = fields
        .take("ramp")
        .map_or(Some(Duration::ZERO), |node| decode::duration(node, sink));
    let hold = fields
        .require("hold", "5m", sink)
        .and_then(|node| decode::duration(node, sink));
    fields.finish(sink);
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

fn client(node: Option<&Node>, sink: &mut Sink) -> Client {
    let mut client = Client {
        dns: "honour-ttl".to_owned(),
        connections: 1024,
        connect_timeout: Duration::from_secs(5),
        request_timeout: Duration::from_secs(30),
        rate_limit: None,
        shards: None,
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
    let mut positive = |key: &'static str, max: u64, sink: &mut Sink| {
        let node = fields.take(key)?;
        let count = decode::count(node, sink)?;
        if !(1..=max).contains(&count) {
            sink.push(Mistake::at(&node.place, format!("{key} is a number from 1 to {max}")));
            return None;
        }
        usize::try_from(count).ok()
    };
    client.connections = positive("connections", 60_000, sink).unwrap_or(client.connections);
    client.shards = positive("shards", 1024, sink);
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
    client.rate_limit = fields.take("rate_limit").and_then(|node| decode::rate(node, sink));
    fields.finish(sink);
    client
}

fn ledgers(node: &Node, sink: &mut Sink) -> Vec<Ledger> {
    let mut ledgers = Vec::new();
    for entry in decode::map(node, "ledgers", sink) {
        let Some(mut fields) = Fields::of(&entry.node, format!("ledger {:?}", entry.key), sink) else {
            continue;
        };
        let read_node = fields.require("read", "\"/orders/{{ id }}\"", sink);
        fields.finish(sink);
        let Some((node, read)) = read_node.and_then(|node| Some((node, template(node, true, sink)?))) else {
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
        requests: 100,
    };
    let Some(mut fields) = node.and_then(|node| Fields::of(node, "`honesty`", sink)) else {
        return honesty;
    };
    honesty.lag_p99 = fields
        .take("lag_p99")
        .and_then(|node| decode::duration(node, sink))
        .unwrap_or(honesty.lag_p99);
    honesty.cpu = fields
        .take("cpu")
        .and_then(|node| decode::share(node, sink))
        .unwrap_or(honesty.cpu);
    honesty.requests = fields
        .take("requests")
        .and_then(|node| decode::count(node, sink))
        .unwrap_or(honesty.requests);
    fields.finish(sink);
    honesty
}
