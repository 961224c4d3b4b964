//! Whether descriptors and local ports suffice for a plan, said before it starts. Pure arithmetic, by Little's law:
//! requests under way = requests a second x the time each takes, and each one under way has a connection of its own.
//!
//! How long answers will take is what the run is to find out. So the load is refused only where even answers within
//! [`FASTEST`] would need more than there is, and warned of where a target that stands still, so that everyone waits for
//! the request timeout, would.

use std::time::Duration;

use super::{ConnectionUse, JourneyPlan, LoadModel, LoadPlan, Passes, Plan};
use crate::units::{format_count, format_duration};

/// An answer that is hardly ever beaten; real time.
const FASTEST: Duration = Duration::from_millis(1);
/// Descriptors for everything that is no connection of a user: probes, the AWS clients, files, the terminal.
const RESERVE: u64 = 64;

/// How many addresses users are sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// At most.
    pub all: usize,
    /// When the others are out of the DNS answer.
    pub fewest: usize,
}

/// What the process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Descriptors it may have open.
    pub descriptors: u64,
    /// Descriptors it has open before the load.
    pub in_use: u64,
    /// Local ports to one address.
    pub ports: u64,
}

/// Whether it suffices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capacity {
    /// Whatever happens.
    Enough,
    /// Not if the target stands still; with the reason.
    Doubtful(String),
    /// Surely not; with the reason and a hint.
    Lacking(String),
}

/// Holds the connections that `plan` means, so many of them to one address at most, against what there is.
#[must_use]
pub fn capacity(plan: &Plan, pool: usize, addresses: Addresses, limits: Limits) -> Capacity {
    let slowest = plan.pace.patience(plan.client.request_timeout_max());
    let need = |answers: Duration, passes, addresses: usize| Need::new(plan, pool, addresses.max(1), answers, passes);
    let sources = plan.client.connections.sources.len().max(1);
    let room = limits.descriptors.saturating_sub(limits.in_use + RESERVE);
    let lacking = need(FASTEST, Passes::Least, addresses.all).beyond(room, limits, sources);
    if let Some((needs, raise)) = lacking {
        let less = match room {
            0 => "",
            _ => ", or ask for less with fewer users, a lower rate or fewer connections",
        };
        return Capacity::Lacking(format!("the load needs {needs}\nhint: {raise}{less}"));
    }
    let stalled = [addresses.all, addresses.fewest].into_iter().find_map(|addresses| {
        let (needs, raise) = need(slowest, Passes::Most, addresses).beyond(room, limits, sources)?;
        Some(format!(
            "were the target to stand still for {} of real time, the load would need {needs}; \
             what could not be sent then would be counted and make the run inconclusive\nhint: {raise}",
            format_duration(slowest)
        ))
    });
    stalled.map_or(Capacity::Enough, Capacity::Doubtful)
}

/// Connections at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Need {
    all: u64,
    to_one: u64,
}

impl Need {
    /// When every answer takes `answers` (real time): what is under way, but no more than the pools allow; users with
    /// connections of their own keep one while they think, and open others for what they send at once.
    fn new(plan: &Plan, pool: usize, addresses: usize, answers: Duration, passes: Passes) -> Self {
        // Each class of clients has pools of its own.
        let pools = plan.client.classes.len().max(1);
        let to_one_max = pool as f64 * pools as f64;
        // Requests of HTTP/2 share connections, and open another only when those there are full.
        let streams = plan.client.connections.http2.unwrap_or(1) as f64;
        let per_user = plan.client.connections.used_by == ConnectionUse::PerUser;
        let most = plan.peak(|load, level| match load.model {
            LoadModel::Users if per_user => level * of_a_user(plan, load, passes),
            _ => under_way(plan, load, level, answers, passes) / streams,
        });
        let all = if per_user {
            most
        } else {
            most.min(to_one_max * addresses as f64)
        };
        let all = all.ceil();
        Self {
            all: all as u64,
            to_one: (all / addresses as f64).ceil() as u64,
        }
    }

    /// What is needed beyond what there is, and how to get it.
    fn beyond(self, room: u64, limits: Limits, sources: usize) -> Option<(String, String)> {
        if self.all > room {
            let needed = self.all + limits.in_use + RESERVE;
            return Some((
                format!(
                    "{} connections at once, and of the {} descriptors this process may have open {} are left for them",
                    format_count(self.all),
                    format_count(limits.descriptors),
                    format_count(room)
                ),
                format!("allow more with `ulimit -n {needed}`"),
            ));
        }
        // Each source address has ports of its own.
        let ports = limits.ports.saturating_mul(sources as u64);
        (self.to_one > ports).then(|| {
            (
                format!(
                    "{} connections to one address at once, and there are {} local ports",
                    format_count(self.to_one),
                    format_count(ports)
                ),
                "widen net.ipv4.ip_local_port_range, or give the client more `source_addresses`".to_owned(),
            )
        })
    }
}

/// Connections of a user's own: one, or those that its pass has in use at once at most, where all may be in use.
fn of_a_user(plan: &Plan, load: &LoadPlan, passes: Passes) -> f64 {
    match passes {
        Passes::Least => 1.0,
        Passes::Mean | Passes::Most => at_once(plan, load),
    }
}

/// Requests of a pass under way at once at most, as its journeys' weights have it; never less than one.
fn at_once(plan: &Plan, load: &LoadPlan) -> f64 {
    let once = load.mean(&plan.journeys, |journey| journey.at_once() as f64);
    once.unwrap_or_default().max(1.0)
}

/// Little's law for a load at this level, every answer taking `answers` and branches and loops leading `passes` through.
fn under_way(plan: &Plan, load: &LoadPlan, level: f64, answers: Duration, passes: Passes) -> f64 {
    let mean = |of: &dyn Fn(&JourneyPlan) -> f64| load.mean(&plan.journeys, of).unwrap_or_default();
    let steps = mean(&|journey| journey.requests(passes));
    match load.model {
        LoadModel::Arrivals | LoadModel::Mixed => {
            let sent = plan.client.rate_limit.unwrap_or(f64::INFINITY);
            (level * steps).min(sent) * answers.as_secs_f64()
        }
        LoadModel::Users => {
            // Who waits longest asks least.
            let longest = match passes {
                Passes::Least => Passes::Most,
                Passes::Mean => Passes::Mean,
                Passes::Most => Passes::Least,
            };
            // A pass sends its steps one after the other, but for those that go together, then waits.
            let thinking = mean(&|journey| journey.cycle_seconds(longest));
            let share = |requests: f64, turns: f64| {
                let whole = turns * answers.as_secs_f64() + thinking;
                if whole > 0.0 {
                    requests * answers.as_secs_f64() / whole
                } else {
                    0.0
                }
            };
            let turns = |passes| mean(&|journey| journey.turns(passes));
            level
                * match passes {
                    // Both are surely needed: as if one at a time, and as if those who ask least took longest.
                    Passes::Least => share(turns(passes), turns(passes)).max(share(steps, turns(longest))),
                    Passes::Mean => share(steps, turns(passes)),
                    // All of them may be where they ask most at once.
                    Passes::Most => share(turns(passes), turns(passes)) * at_once(plan, load),
                }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{AdHoc, Amount, Flow, TlsSettings, Wait};

    /// Two shards' pool.
    fn pool(plan: &Plan) -> usize {
        plan.client.connections.pool_of(2)
    }

    fn load(amount: Amount, think_ms: u64, connections: usize) -> Plan {
        AdHoc {
            scheme: "http".to_owned(),
            tls: TlsSettings::default(),
            host: "127.0.0.1".to_owned(),
            port: 80,
            path: "/".to_owned(),
            method: "GET".to_owned(),
            headers: Vec::new(),
            body: None,
            amount,
            duration: Duration::from_secs(10),
            think: Wait::constant(Duration::from_millis(think_ms)),
            connections,
            streams: None,
            cores: 2,
            timeout: Duration::from_secs(10),
            served_by: None,
            seed: 1,
        }
        .plan()
    }

    #[test]
    fn needs_follow_littles_law_and_the_pools() {
        let (users, rate) = (Amount::Users, Amount::Rate);
        // Amount, think ms, connections in all, addresses, answers ms: connections in all, and to one address.
        let cases = [
            (users(500), 0, 500, 1, 1, 500, 500),
            (users(500), 0, 100, 1, 1, 100, 100),
            (users(500), 0, 100, 4, 1, 400, 100),
            (users(1_000), 9_000, 5_000, 1, 1_000, 100, 100),
            (users(1_000), 9_000, 5_000, 3, 1_000, 100, 34),
            (rate(5_000.0), 0, 60_000, 1, 1, 5, 5),
            (rate(5_000.0), 0, 60_000, 1, 10_000, 50_000, 50_000),
            (rate(5_000.0), 0, 1_000, 1, 10_000, 1_000, 1_000),
        ];
        for (amount, think, connections, addresses, answers, all, to_one) in cases {
            let plan = load(amount, think, connections);
            let need = Need::new(
                &plan,
                pool(&plan),
                addresses,
                Duration::from_millis(answers),
                Passes::Mean,
            );
            assert_eq!(
                need,
                Need { all, to_one },
                "{amount:?} {think} {connections} {addresses} {answers}"
            );
        }
        let mut own = load(users(70_000), 9_000, 100);
        own.client.connections.used_by = ConnectionUse::PerUser;
        let need = Need::new(&own, pool(&own), 1, Duration::from_millis(1), Passes::Mean);
        assert_eq!(need.all, 70_000);
        let limits = Limits {
            descriptors: 1_000_000,
            in_use: 10,
            ports: 28_000,
        };
        assert!(need.beyond(900_000, limits, 2).is_some());
        assert!(need.beyond(900_000, limits, 3).is_none());
        let mut limited = load(rate(5_000.0), 0, 60_000);
        limited.client.rate_limit = Some(100.0);
        assert_eq!(
            Need::new(&limited, pool(&limited), 1, Duration::from_secs(10), Passes::Mean).all,
            1_000
        );
    }

    #[test]
    fn journeys_count_by_their_weight_and_their_steps() {
        let mut plan = load(Amount::Users(1_000), 1_000, 10_000);
        let mut long = plan.journeys[0].clone();
        (long.weight, long.steps) = (3.0, vec![0, 0, 0, 0, 0]);
        plan.journeys.push(long);
        // Four steps on average, of a quarter of a second: as long as the thinking.
        assert_eq!(
            Need::new(&plan, pool(&plan), 1, Duration::from_millis(250), Passes::Mean).all,
            500
        );
    }

    #[test]
    fn requests_at_the_same_time_need_connections_at_the_same_time() {
        let flow = |at_most| {
            let parts = (1..11).map(|place| vec![Flow::Request(place)]).collect();
            vec![Flow::Request(0), Flow::Together { parts, at_most }]
        };
        let second = Duration::from_secs(1);
        let need = |plan: &Plan, passes| Need::new(plan, pool(plan), 1, second, passes).all;
        // At most, Little's law, all where they ask most; and with connections of their own.
        for (at_most, mean, most, own) in [
            (None, 138, 250, 1_000),
            (Some(5), 123, 167, 500),
            (Some(1), 65, 65, 100),
        ] {
            let mut users = load(Amount::Users(100), 6_000, 10_000);
            users.journeys[0].steps = vec![0; 11];
            users.journeys[0].flow = flow(at_most);
            assert_eq!(need(&users, Passes::Least), mean, "{at_most:?}");
            assert_eq!(need(&users, Passes::Mean), mean, "{at_most:?}");
            assert_eq!(need(&users, Passes::Most), most, "{at_most:?}");
            users.client.connections.used_by = ConnectionUse::PerUser;
            assert_eq!(need(&users, Passes::Least), 100, "one is kept while they think");
            assert_eq!(need(&users, Passes::Most), own, "{at_most:?}");
            let mut arrivals = load(Amount::Rate(100.0), 0, 10_000);
            arrivals.journeys = users.journeys;
            assert_eq!(need(&arrivals, Passes::Most), 1_100, "{at_most:?}");
        }
    }

    const ONE: Addresses = Addresses { all: 1, fewest: 1 };

    fn limits(descriptors: u64, ports: u64) -> Limits {
        Limits {
            descriptors,
            in_use: 10,
            ports,
        }
    }

    #[test]
    fn what_cannot_suffice_is_refused_and_what_may_not_is_doubted() {
        let busy = load(Amount::Users(500), 0, 500);
        assert_eq!(capacity(&busy, pool(&busy), ONE, limits(574, 500)), Capacity::Enough);
        for (limits, why) in [
            (
                limits(573, 500),
                "500 connections at once, and of the 573 descriptors this process may have open 499 are left",
            ),
            (
                limits(574, 499),
                "500 connections to one address at once, and there are 499 local ports",
            ),
        ] {
            let Capacity::Lacking(text) = capacity(&busy, pool(&busy), ONE, limits) else {
                panic!("{limits:?}");
            };
            assert!(text.contains(why) && text.contains("\nhint: "), "{text}");
            assert!(text.contains("fewer users"), "{text}");
        }
        let Capacity::Lacking(text) = capacity(&busy, pool(&busy), ONE, limits(60, 500)) else {
            panic!("no descriptor is left for a connection");
        };
        assert!(text.contains("\nhint: ") && !text.contains("fewer users"), "{text}");
        // 100/s and 10 s of patience: a thousand if nobody answers, one if all is well.
        let calm = load(Amount::Rate(100.0), 0, 5_000);
        assert_eq!(
            capacity(&calm, pool(&calm), ONE, limits(1_074, 1_000)),
            Capacity::Enough
        );
        for (limits, why) in [
            (limits(1_073, 1_000), "of the 1,073 descriptors"),
            (limits(1_074, 999), "there are 999 local ports"),
        ] {
            let Capacity::Doubtful(text) = capacity(&calm, pool(&calm), ONE, limits) else {
                panic!("{limits:?}");
            };
            assert!(text.contains(why) && text.contains("stand still for 10s"), "{text}");
        }
    }

    #[test]
    fn when_a_region_is_lost_the_others_addresses_must_do() {
        let calm = load(Amount::Rate(100.0), 0, 5_000);
        let halved = Addresses { all: 4, fewest: 2 };
        assert_eq!(
            capacity(&calm, pool(&calm), halved, limits(20_000, 500)),
            Capacity::Enough
        );
        assert!(matches!(
            capacity(&calm, pool(&calm), halved, limits(20_000, 499)),
            Capacity::Doubtful(_)
        ));
    }
}
