//! Config against a target: resolves times, names and API calls. Decides nothing at random.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::feed::{self, FedLoads};
use super::fis::{self, FisFor};
use super::oauth2;
use super::{
    Allow, Body, ClassPlan, ClientPlan, DEFLATE_OFFER, ExperimentPlan, Fault, FaultPlan, FeederPlan, Hits, HonestyPlan,
    Inventory, JourneyPlan, LedgerPlan, Measure, OAuth2Plan, Objective, Part, Plan, ProbePlan, Protocol, Role,
    RunnerPlan, ServicesPlan, SigV4Plan, StagePlan, StepPlan, StopCondition, TargetPlan, Template, WebSocketStep,
};
use super::{alarms, resolve, schedule, together};
use crate::config::classes::Class;
use crate::config::oauth2::OAuth2;
use crate::config::protobuf::Services;
use crate::config::sigv4::SigV4;
use crate::config::template::Piece;
use crate::config::{
    Client, Config, ConfigErrors, Experiment, FaultEntry, Mistake, Place, RoleEntry, Spanned, Step, TargetFile,
};
use crate::units::Pace;

/// Shares are read from percents, which binary fractions do not hold exactly.
const SHARE_SLACK: f64 = 1e-9;

/// What the command line decides about a plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlanOptions {
    /// Seed of every random choice.
    pub seed: u64,
    /// How fast the target's cloud lives.
    pub pace: Pace,
}

/// Why there is no plan: every mistake, each with its place in what the user wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct PlanErrors(#[from] ConfigErrors);

impl TargetPlan {
    /// A target file with what was found behind it.
    #[must_use]
    pub fn new(file: &TargetFile, mut edge: BTreeMap<IpAddr, String>, inventory: Inventory) -> Self {
        let said = file.addresses.iter();
        edge.extend(said.clone().map(|one| (one.address, one.region.clone())));
        let role = |entry: &RoleEntry| match entry {
            RoleEntry::AutoScalingGroup(name) => Role::AutoScalingGroup(name.clone()),
            RoleEntry::DbInstance(name) => Role::DbInstance(name.clone()),
            RoleEntry::IamRole(name) => Role::IamRole(name.clone()),
            RoleEntry::DbCluster(name) => Role::DbCluster(name.clone()),
            RoleEntry::Dns { hosted_zone, record } => Role::Dns {
                hosted_zone: hosted_zone.clone(),
                record: record.clone(),
            },
        };
        Self {
            name: file.name.clone(),
            scheme: file.scheme.clone(),
            host: file.host.clone(),
            port: file.port,
            resolver: file.resolver,
            endpoint: file.endpoint.clone(),
            account: file.account.clone(),
            assume: file.assume.clone(),
            regions: file.regions.clone(),
            azs: BTreeMap::new(),
            roles: file
                .roles
                .iter()
                .map(|(name, entry)| (name.clone(), role(entry)))
                .collect(),
            allow: file.allow.as_ref().map(|allow| Allow {
                tag: allow.tag.clone(),
                share: allow.share,
                count: allow.count,
                healthy_min: allow.healthy_min,
                calendar: allow.calendar.clone(),
            }),
            runner: file
                .runner
                .as_ref()
                .map_or_else(RunnerPlan::default, |runner| RunnerPlan {
                    instance: runner.instance.clone(),
                    subnet: runner.subnet.clone(),
                }),
            served_by: file.served_by.clone(),
            fis_role: file.fis_role.as_deref().map(|role| {
                let region = file.regions.first().map(String::as_str);
                fis::role_arn(role, file.account.as_deref(), region)
            }),
            edge,
            zones: said.map(|one| (one.address, one.az.clone())).collect(),
            inventory,
        }
    }
}

/// Resolves a configuration against a target.
pub fn build(config: &Config, target: TargetPlan, options: &PlanOptions) -> Result<Plan, PlanErrors> {
    let mut mistakes = Vec::new();
    let profile = &config.profile;
    let clients = oauth2::clients(profile);
    let mut steps = Vec::new();
    let mut journeys = Vec::new();
    for (index, journey) in profile.journeys.iter().enumerate() {
        let first = steps.len();
        steps.extend(journey.steps.iter().map(|step| StepPlan {
            name: step.name.clone(),
            journey: index,
            protocol: step.protocol.clone(),
            method: step.method.clone(),
            path: template(&step.path),
            headers: headers(step, &profile.client, &clients),
            sign: step.sign.as_ref().map(sign),
            body: step.body.as_ref().map(|body| Body {
                content_type: body.content_type.clone(),
                template: template(&body.text),
                encoding: body.encoding,
                compress: body.compress,
            }),
            timeout: step.timeout,
            redirects: step.redirects,
            expect: step.expect.clone(),
            extract: step.extract.clone(),
            ledger: step.ledger.as_ref().map(|ledger| ledger.value.clone()),
        }));
        journeys.push(JourneyPlan {
            name: journey.name.clone(),
            weight: journey.weight,
            think: journey.think,
            pacing: journey.pacing,
            cookies: journey.cookies,
            feed: journey
                .feed
                .iter()
                .filter_map(|name| profile.feeders.iter().position(|feeder| feeder.name == name.value))
                .collect(),
            steps: (first..steps.len()).collect(),
            flow: journey
                .flow
                .iter()
                .map(|part| part.map(&|pieces: &Vec<Piece>| template(pieces)))
                .collect(),
        });
    }
    let schedule = schedule::schedule(config, &journeys);
    let stages = schedule.stages;
    let ends_at = stages.last().map(|stage| stage.ends_at).unwrap_or_default();
    for region in profile.probes.iter().filter_map(|probe| probe.region.as_ref()) {
        if !target.regions.contains(&region.value) {
            let hint = regions_hint(&target.regions);
            mistakes.push(Mistake::at(&region.place, format!("unknown Region {:?}", region.value)).hint(hint));
        }
    }
    let probes = profile
        .probes
        .iter()
        .filter_map(|probe| {
            let step = steps.iter().position(|step| step.name == probe.step.value)?;
            Some(ProbePlan {
                step,
                interval: probe.every,
                region: probe.region.as_ref().map(|region| region.value.clone()),
            })
        })
        .collect();
    let mut experiments: Vec<ExperimentPlan> = Vec::new();
    for experiment in &config.experiments {
        experiments.push(self::experiment(
            experiment,
            &stages,
            &target,
            options.seed,
            &mut mistakes,
        ));
    }
    experiments.sort_by_key(ExperimentPlan::starts_at);
    schedule::check(config, &stages, &mut mistakes);
    let load = FedLoads {
        journeys: &journeys,
        loads: &schedule.loads,
        pace: options.pace,
    };
    feed::check(&profile.feeders, &load, &mut mistakes);
    let objectives = objectives(config, &target, &mut mistakes);
    if !mistakes.is_empty() {
        return Err(ConfigErrors::new(mistakes).into());
    }
    let client = &profile.client;
    Ok(Plan {
        rerun: String::new(),
        name: profile.name.clone(),
        seed: options.seed,
        pace: options.pace,
        target,
        feeders: profile
            .feeders
            .iter()
            .map(|feeder| FeederPlan {
                name: feeder.name.clone(),
                order: feeder.order,
                table: Arc::clone(&feeder.table),
            })
            .collect(),
        journeys,
        steps,
        token_clients: clients.iter().map(token_client).collect(),
        model: schedule.model,
        spacing: profile.spacing,
        stages,
        loads: if profile.loads.is_empty() {
            Vec::new()
        } else {
            schedule.loads
        },
        client: ClientPlan {
            dns: client.dns,
            connections: client.connections.clone(),
            connect_timeout: client.connect_timeout,
            request_timeout: client.request_timeout,
            rate_limit: client.rate_limit,
            shards: client.shards,
            retries: client.retries.clone(),
            tls: client.tls.clone(),
            classes: client.classes.iter().map(class).collect(),
            forced_lag: profile.forced_lag,
        },
        services: profile.services.as_ref().map(|services| match services {
            Services::Described(descriptors) => ServicesPlan::Descriptors(descriptors.clone()),
            Services::Asked(_) => ServicesPlan::Reflection,
        }),
        ledgers: profile
            .ledgers
            .iter()
            .map(|l| {
                (
                    l.name.clone(),
                    LedgerPlan {
                        read: template(&l.read),
                        headers: l
                            .headers
                            .iter()
                            .map(|(name, value)| (name.clone(), with_tokens(value, &clients)))
                            .collect(),
                        sign: l.sign.as_ref().map(sign),
                    },
                )
            })
            .collect(),
        probes,
        experiments,
        objectives,
        honesty: HonestyPlan {
            lag_p99_max: profile.honesty.lag_p99,
            cpu_max: profile.honesty.cpu,
            steal_max: profile.honesty.steal,
            retransmits_max: profile.honesty.retransmits,
            descriptors_max: profile.honesty.descriptors,
            ports_max: profile.honesty.ports,
            requests_min: profile.honesty.requests,
        },
        ends_at,
    })
}

/// The headers of a step, with what it says of the answers' encoding.
fn headers(step: &Step, client: &Client, clients: &[OAuth2]) -> Vec<(String, Template)> {
    let written = step.headers.iter();
    let mut headers: Vec<_> = written
        .map(|(name, value)| (name.clone(), with_tokens(value, clients)))
        .collect();
    let codings = step.accept_encoding.as_ref().unwrap_or(&client.accept_encoding);
    let has = headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("accept-encoding"));
    if let Some(codings) = codings.clone().filter(|_| !has && step.protocol == Protocol::Http) {
        let parts = vec![Part::Text(codings)];
        headers.push(("accept-encoding".to_owned(), Template { parts }));
    }
    let opens = step.protocol == Protocol::WebSocket(WebSocketStep::Open);
    if opens && step.deflate.unwrap_or(client.deflate) {
        let parts = vec![Part::Text(DEFLATE_OFFER.to_owned())];
        headers.push(("sec-websocket-extensions".to_owned(), Template { parts }));
    }
    headers
}

fn class(class: &Class) -> ClassPlan {
    ClassPlan {
        name: class.name.clone(),
        share: class.share,
        dns: class.dns,
        connect_timeout: class.connect_timeout,
        request_timeout: class.request_timeout,
        retries: class.retries.clone(),
    }
}

fn sign(sign: &SigV4) -> SigV4Plan {
    SigV4Plan {
        service: sign.service.clone(),
        region: sign.region.clone(),
        access_key: template(&sign.access_key),
        secret_key: template(&sign.secret_key),
        session_token: sign.session_token.as_deref().map(template),
    }
}

fn token_client(client: &OAuth2) -> OAuth2Plan {
    OAuth2Plan {
        token_url: client.token_url.clone(),
        client_id: template(&client.client_id),
        client_secret: template(&client.client_secret),
        scope: client.scope.clone(),
        audience: client.audience.clone(),
        credentials: client.credentials,
        tokens: client.tokens,
        refresh_before: client.refresh_before,
        spacing: client.spacing,
    }
}

/// A text that no token stands in: only headers have them.
fn template(pieces: &[Piece]) -> Template {
    with_tokens(pieces, &[])
}

fn with_tokens(pieces: &[Piece], clients: &[OAuth2]) -> Template {
    Template {
        parts: pieces.iter().filter_map(|piece| part(piece, clients)).collect(),
    }
}

fn part(piece: &Piece, clients: &[OAuth2]) -> Option<Part> {
    Some(match piece {
        Piece::Text(text) => Part::Text(text.clone()),
        Piece::Random(low, high) => Part::Random(*low, *high),
        Piece::Unique => Part::Unique,
        Piece::Id => Part::Id,
        Piece::Variable(name) => Part::Variable(name.clone()),
        Piece::Number(inner) => match &**inner {
            Piece::Variable(name) => Part::Number(name.clone()),
            other => return part(other, clients),
        },
        Piece::Env(name) => Part::Env(name.clone()),
        Piece::Base64(pieces) => Part::Base64(template(pieces)),
        Piece::Bytes(bytes) => Part::Bytes(bytes.clone()),
        Piece::Token(client) => Part::Token(clients.iter().position(|known| *known == **client)?),
    })
}

pub(super) fn experiment(
    experiment: &Experiment,
    stages: &[StagePlan],
    target: &TargetPlan,
    seed: u64,
    mistakes: &mut Vec<Mistake>,
) -> ExperimentPlan {
    let mut faults: Vec<FaultPlan> = Vec::new();
    for entry in &experiment.faults {
        let at = schedule::instant(entry.at.value, stages);
        let resolved = role(entry, target, mistakes)
            .zip(region(entry, target, mistakes))
            .zip(at);
        let Some(((role, region), at)) = resolved else { continue };
        let fault = entry.fault.clone();
        allowed(entry, &region, target, mistakes);
        let draw = resolve::Draw {
            seed,
            fault: &format!("{}[{}]", experiment.name, faults.len()),
        };
        let effect = resolve::effect(&fault, role, &region, target, &draw);
        let revert_at = entry.lasts.map(|lasts| at.saturating_add(lasts));
        let of = FisFor {
            fault: &fault,
            region: &region,
            lasts: entry.lasts.map(fis::leased),
            account: target.account.as_deref().unwrap_or_default(),
        };
        let template = fis::choose(entry, &of, &experiment.alarms(), target, &effect.resources, mistakes);
        let effect = match &template {
            Some(template) => fis::effect(template, entry.lasts.is_some(), &region, effect.resources),
            None => effect,
        };
        let planned = FaultPlan {
            via: entry.via(),
            fis: template,
            fidelity: fault.entry().fidelity.to_owned(),
            fault,
            role: entry.role.value.clone(),
            region,
            at,
            revert_at,
            calls: effect.calls,
            reverts: effect.reverts,
            resources: effect.resources,
        };
        if let Some((message, hint)) = together::clash(&planned, &faults, target) {
            mistakes.push(Mistake::at(&entry.at.place, message).hint(hint));
        }
        faults.push(planned);
    }
    alarms::check(&experiment.stop_when, &faults, target, mistakes);
    let stop = |stop: &crate::config::Stop| StopCondition {
        text: stop.text.clone(),
        when: stop.when.clone(),
    };
    ExperimentPlan {
        name: experiment.name.clone(),
        hypothesis: experiment.hypothesis.clone(),
        faults,
        stop_when: experiment.stop_when.iter().map(stop).collect(),
        settle: experiment.settle,
    }
}

fn role<'t>(entry: &FaultEntry, target: &'t TargetPlan, mistakes: &mut Vec<Mistake>) -> Option<&'t Role> {
    let name = &entry.role.value;
    let Some(role) = target.roles.get(name) else {
        let known: Vec<&str> = target.roles.keys().map(String::as_str).collect();
        let hint = match known.as_slice() {
            [] => format!(
                "the target {:?} names no roles; use a target file or the lab",
                target.name
            ),
            known => format!("roles of the target {:?}: {}", target.name, known.join(", ")),
        };
        mistakes.push(Mistake::at(&entry.role.place, format!("unknown role {name:?}")).hint(hint));
        return None;
    };
    let hits = entry.fault.entry().hits;
    let fits = match hits {
        Hits::Group => matches!(role, Role::AutoScalingGroup(_)),
        Hits::Database => matches!(role, Role::DbInstance(_)),
        Hits::Cluster => matches!(role, Role::DbCluster(_)),
        Hits::Dns => matches!(role, Role::Dns { .. }),
        Hits::IamRole => matches!(role, Role::IamRole(_)),
        Hits::Network => true,
    };
    if !fits {
        let hint = "name another role, or another fault";
        let message = format!("the fault needs {}, and {name:?} is none", hits.in_words());
        mistakes.push(Mistake::at(&entry.role.place, message).hint(hint));
        return None;
    }
    Some(role)
}

fn region(entry: &FaultEntry, target: &TargetPlan, mistakes: &mut Vec<Mistake>) -> Option<String> {
    match &entry.region {
        None => target.regions.first().cloned(),
        Some(region) if target.regions.contains(&region.value) => Some(region.value.clone()),
        Some(region) => {
            let hint = regions_hint(&target.regions);
            mistakes
                .push(Mistake::at(&region.place, format!("the target has no Region {:?}", region.value)).hint(hint));
            None
        }
    }
}

fn regions_hint(regions: &[String]) -> String {
    if regions.is_empty() {
        "the target names no Regions, so leave `region` out".to_owned()
    } else {
        format!("Regions of the target: {}", regions.join(", "))
    }
}

/// What the guards would refuse at the instant of the fault, said before anything starts.
fn allowed(entry: &FaultEntry, region: &str, target: &TargetPlan, mistakes: &mut Vec<Mistake>) {
    let Some(allow) = &target.allow else {
        let hint = "add `allow: { tag: { chaos: allowed }, share: 34% }` to the target, once its owner agrees";
        let message = format!("the target {:?} allows nothing to be touched", target.name);
        mistakes.push(Mistake::at(&entry.role.place, message).hint(hint));
        return;
    };
    let place = |key: &str| entry.parameters.get(key).unwrap_or(&entry.role.place);
    match &entry.fault {
        Fault::NetworkDenyRegion if target.regions.len() < 2 => {
            let hint = "a Region is cut off only where another one stays; use a target with two";
            let message = format!("the target {:?} has no other Region", target.name);
            mistakes.push(Mistake::at(&entry.role.place, message).hint(hint));
        }
        Fault::NetworkCrossRegion { to } if !is_other(to, region, target) => {
            mistakes.push(no_other(to, region, target, place("to")));
        }
        Fault::NetworkDenyAz { az } | Fault::ElbZonalShift { az } | Fault::AutoScalingInsufficientCapacity { az } => {
            mistakes.extend(other_az(az, region, target, place("az")));
        }
        Fault::RdsFailoverCluster { reader: Some(reader) } => {
            let found = target.inventory.regions.get(region);
            let cluster = match target.roles.get(&entry.role.value) {
                Some(Role::DbCluster(id)) => found.and_then(|found| found.clusters.get(id)),
                _ => None,
            };
            // Nothing is known of it before the target is reached.
            let Some(cluster) = cluster.filter(|cluster| !cluster.readers.contains_key(reader)) else {
                return;
            };
            let message = format!("{reader:?} is no reader of {} in {region}", entry.role.value);
            let known = cluster
                .readers
                .keys()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(", ");
            let hint = match known.as_str() {
                "" => "it has no reader, so that nobody could take over".to_owned(),
                known => format!("readers there: {known}; without `reader` Aurora chooses"),
            };
            mistakes.push(Mistake::at(place("reader"), message).hint(hint));
        }
        fault if fault.hands_over_to().is_some() => {
            let to = fault.hands_over_to().unwrap_or_default();
            handed_over(entry, region, to, target, place("to"), mistakes);
        }
        fault => {
            let Some(share) = fault.share().filter(|share| *share > allow.share + SHARE_SLACK) else {
                return;
            };
            let message = format!(
                "a share of {} is more than the {} that the target allows",
                percent(share),
                percent(allow.share)
            );
            let hint = "lower the fault's `share`, or raise `allow.share` of the target";
            mistakes.push(Mistake::at(place("share"), message).hint(hint));
        }
    }
}

/// Why an AZ cannot be taken away, as far as the target's are known.
fn other_az(az: &str, region: &str, target: &TargetPlan, place: &Place) -> Option<Mistake> {
    let zones = zones_of(region, target);
    if zones.is_empty() {
        // An AZ is named by its Region and what tells it from the others there (EC2 user guide, Regions and Zones).
        let is_there = az.strip_prefix(region).is_some_and(|rest| !rest.is_empty());
        let message = format!("{az:?} is no AZ of {region}");
        let hint = format!("AZs of {region} are {region}a, {region}b and so on; `region` says which Region is meant");
        return (!is_there).then(|| Mistake::at(place, message).hint(hint));
    }
    if !zones.contains(az) {
        let known = zones.into_iter().collect::<Vec<_>>().join(", ");
        let message = format!("{region} has no subnet of the target in {az:?}");
        return Some(Mistake::at(place, message).hint(format!("AZs of the target there: {known}")));
    }
    (zones.len() < 2).then(|| {
        let message = format!("{az} is the only AZ of the target in {region}");
        Mistake::at(place, message).hint("an AZ is taken away only where another one stays")
    })
}

/// AZs of a Region that the target is known to have.
fn zones_of<'t>(region: &str, target: &'t TargetPlan) -> BTreeSet<&'t str> {
    let found = target.inventory.regions.get(region);
    let subnets = found.iter().flat_map(|found| &found.subnets);
    let zones: BTreeSet<&str> = subnets.map(|subnet| subnet.az.as_str()).collect();
    if !zones.is_empty() {
        return zones;
    }
    let known = target.azs.get(region).into_iter().flatten();
    known.map(String::as_str).collect()
}

/// Why nothing can be measured of a Region or an AZ that is an objective's subject: a run would find no answer of it, and
/// a share of nothing meets a limit from above.
fn unknown_place(subject: &str, target: &TargetPlan, place: &Place) -> Option<Mistake> {
    let az = subject.strip_prefix("az=");
    let named = az.or_else(|| subject.strip_prefix("region="))?;
    if target.served_by.is_none() && target.edge.is_empty() {
        let message = format!("nobody says which answers came from {named}");
        let hint = "a target file does: `served_by: { header: ... }`, or `addresses` with their Regions";
        return Some(Mistake::at(place, message).hint(hint));
    }
    let region = match az {
        // An AZ is named by its Region and what tells it from the others there (EC2 user guide, Regions and Zones).
        Some(az) => target.regions.iter().find(|region| az.starts_with(region.as_str())),
        None => target.regions.iter().find(|region| *region == named),
    };
    let Some(region) = region else {
        let what = if az.is_some() { "AZ" } else { "Region" };
        let message = format!("the target has no {what} {named:?}");
        return Some(Mistake::at(place, message).hint(regions_hint(&target.regions)));
    };
    let zones = az.map(|_| zones_of(region, target)).unwrap_or_default();
    if zones.is_empty() || zones.contains(named) {
        return None;
    }
    let known = zones.into_iter().collect::<Vec<_>>().join(", ");
    let message = format!("the target has no AZ {named:?}");
    Some(Mistake::at(place, message).hint(format!("AZs of the target in {region}: {known}")))
}

/// Whether `to` is a Region of the target beside `region`.
fn is_other(to: &str, region: &str, target: &TargetPlan) -> bool {
    to != region && target.regions.iter().any(|known| known == to)
}

fn no_other(to: &str, region: &str, target: &TargetPlan, place: &Place) -> Mistake {
    let message = format!("{to:?} is no other Region of the target {:?}", target.name);
    let others = target
        .regions
        .iter()
        .map(String::as_str)
        .filter(|other| *other != region);
    let hint = match others.collect::<Vec<_>>().join(", ").as_str() {
        "" => "use a target with two Regions".to_owned(),
        others => format!("beside {region} the target has: {others}"),
    };
    Mistake::at(place, message).hint(hint)
}

/// Whether the other Region has a cluster that could take over.
fn handed_over(
    entry: &FaultEntry,
    region: &str,
    to: &str,
    target: &TargetPlan,
    place: &Place,
    mistakes: &mut Vec<Mistake>,
) {
    if !is_other(to, region, target) {
        mistakes.push(no_other(to, region, target, place));
        return;
    }
    let found = target.inventory.regions.get(region);
    let cluster = match target.roles.get(&entry.role.value) {
        Some(Role::DbCluster(id)) => found.and_then(|found| found.clusters.get(id)),
        _ => None,
    };
    // Nothing is known of it before the target is reached.
    let Some(cluster) = cluster else { return };
    let Some(global) = &cluster.global else {
        let message = format!("{} in {region} belongs to no global cluster", entry.role.value);
        let hint = "name a role whose cluster does, or use rds.failover_cluster";
        mistakes.push(Mistake::at(&entry.role.place, message).hint(hint));
        return;
    };
    let known = || global.members.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    if !global.members.contains_key(to) {
        let message = format!("the global cluster {} has no cluster in {to}", global.id);
        mistakes.push(Mistake::at(place, message).hint(format!("its Regions: {}", known())));
    } else if global.writer.as_deref().is_some_and(|writer| writer != region) {
        let writer = global.writer.as_deref().unwrap_or_default();
        let message = format!("{region} is not the primary of the global cluster {}", global.id);
        mistakes
            .push(Mistake::at(place, message).hint(format!("write `region: {writer}`, the primary, and another `to`")));
    }
}

/// As written: without digits that rounding brought.
fn percent(share: f64) -> String {
    format!("{}%", (share * 1e6).round() / 1e4)
}

fn objectives(config: &Config, target: &TargetPlan, mistakes: &mut Vec<Mistake>) -> Vec<Objective> {
    let of_experiments = config.experiments.iter().flat_map(|experiment| &experiment.objectives);
    let all = config.profile.objectives.iter().chain(of_experiments);
    all.map(|objective| {
        subject(objective, target, mistakes);
        objective.value.clone()
    })
    .collect()
}

/// The subjects that only the target knows.
fn subject(objective: &Spanned<Objective>, target: &TargetPlan, mistakes: &mut Vec<Mistake>) {
    let Some(subject) = objective.value.subject.as_deref() else {
        return;
    };
    let (kind, fits): (&str, fn(&Role) -> bool) = match objective.value.measure {
        Measure::Redundancy => ("an RDS instance or an Aurora cluster", |role| role.database().is_some()),
        Measure::ScaleOut | Measure::SelfHeal | Measure::LateErrors => ("an Auto Scaling group", |role| {
            matches!(role, Role::AutoScalingGroup(_))
        }),
        Measure::Shift | Measure::FailBack | Measure::StaleShare => {
            ("a DNS record", |role| matches!(role, Role::Dns { .. }))
        }
        _ => return mistakes.extend(unknown_place(subject, target, &objective.place)),
    };
    if target.roles.get(subject).is_some_and(fits) {
        return;
    }
    let known: Vec<&str> = target
        .roles
        .iter()
        .filter(|(_, role)| fits(role))
        .map(|(name, _)| name.as_str())
        .collect();
    let hint = match known.as_slice() {
        [] => format!("the target {:?} has none", target.name),
        known => format!("the target has: {}", known.join(", ")),
    };
    mistakes.push(
        Mistake::at(
            &objective.place,
            format!("{subject:?} is no role that stands for {kind}"),
        )
        .hint(hint),
    );
}
