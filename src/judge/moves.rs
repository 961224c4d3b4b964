//! Who moved when after the DNS answer did, by class of clients: the convergence curve of each.
//!
//! A move begins when the first class has an answer that addresses have left; it ends with the next one, or with what was
//! measured. How old the change itself was by then is not known here: at most the TTL, where a class honours it.
//! A class has moved by a share when no more than the rest of what it sent there before goes there in any later second.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use super::timeline::Timeline;
use crate::event::Event;
use crate::recording::{ClassSlice, Slice};
use crate::units::seconds;

/// Moves that are told; a name whose answer is always another would have one for each.
const MOVES_MAX: usize = 20;
/// Real seconds before a move that say what went where.
const BEFORE: usize = 5;
/// Shares are sums of counts, so that equal ones may differ by less.
const SLACK: f64 = 1e-9;

/// Addresses left the answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DnsMove {
    /// When the first class had the new answer, cloud time since t0.
    #[serde(with = "seconds")]
    pub at: Duration,
    /// The addresses that left.
    pub from: Vec<IpAddr>,
    /// The new answer.
    pub to: Vec<IpAddr>,
    /// Its TTL, cloud time.
    #[serde(with = "seconds")]
    pub ttl: Duration,
    /// Cloud seconds since the move, the middle of each measured second, from shortly before it.
    pub since: Vec<f64>,
    /// Those that had sent requests to the addresses that left.
    pub classes: Vec<ClassMove>,
}

/// How one class followed. Durations are cloud time since the move, and as coarse as a second of real time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassMove {
    /// Its name.
    pub class: String,
    /// When it had the new answer; none where it never did.
    #[serde(with = "seconds::option")]
    pub learned: Option<Duration>,
    /// When half of what it sent to the addresses that left went elsewhere.
    #[serde(with = "seconds::option")]
    pub half: Option<Duration>,
    /// When nine tenths did.
    #[serde(with = "seconds::option")]
    pub most: Option<Duration>,
    /// When 99 of 100 did.
    #[serde(with = "seconds::option")]
    pub nearly_all: Option<Duration>,
    /// When all did.
    #[serde(with = "seconds::option")]
    pub all: Option<Duration>,
    /// The share of it that still went there in the last second.
    pub left: Option<f64>,
    /// The share of its attempts that went to the addresses that left, by the seconds of [`DnsMove::since`].
    pub shares: Vec<Option<f64>>,
}

/// A new answer, in real seconds since t0.
struct Change {
    at: f64,
    from: BTreeSet<IpAddr>,
    to: BTreeSet<IpAddr>,
    ttl: Duration,
}

/// The first moves of a run, and how many changes of the answer came after them; none where all users are alike.
pub(super) fn moves(timeline: &Timeline<'_>) -> (Vec<DnsMove>, usize) {
    if timeline.plan.client.classes.is_empty() {
        return (Vec::new(), 0);
    }
    let changes = changes(timeline);
    let ends = changes.iter().skip(1).map(|next| next.at).chain([timeline.end]);
    let mut rest = changes.iter().zip(ends);
    let found = rest.by_ref().map(|(change, end)| followed(timeline, change, end));
    let moves: Vec<DnsMove> = found
        .filter(|found| !found.classes.is_empty())
        .take(MOVES_MAX)
        .collect();
    (moves, rest.count())
}

fn changes(timeline: &Timeline<'_>) -> Vec<Change> {
    let mut known: BTreeSet<IpAddr> = BTreeSet::new();
    let mut changes = Vec::new();
    for (at, event) in timeline.events() {
        let Event::DnsChanged { addresses, ttl, .. } = event else {
            continue;
        };
        let to: BTreeSet<IpAddr> = addresses.iter().copied().collect();
        let from: BTreeSet<IpAddr> = known.difference(&to).copied().collect();
        if !from.is_empty() {
            let ttl = *ttl;
            let to = to.clone();
            changes.push(Change { at, from, to, ttl });
        }
        known = to;
    }
    changes
}

fn followed(timeline: &Timeline<'_>, change: &Change, end: f64) -> DnsMove {
    let slices = &timeline.recording.slices;
    let first = slices.partition_point(|slice| (slice.second as f64) + 1.0 <= change.at);
    let last = slices.partition_point(|slice| (slice.second as f64) + 1.0 <= end);
    let (before, shown) = (first.saturating_sub(BEFORE), last.max(first));
    let classes = timeline.plan.client.classes.iter().enumerate();
    DnsMove {
        at: timeline.cloud(change.at),
        from: change.from.iter().copied().collect(),
        to: change.to.iter().copied().collect(),
        ttl: change.ttl,
        since: slices[before..shown]
            .iter()
            .map(|slice| (slice.second as f64 + 0.5 - change.at) * timeline.pace())
            .collect(),
        classes: classes
            .filter_map(|(index, class)| {
                let of = |slice: &Slice| share(slice.classes.get(index)?, &change.from);
                let was = mean(slices[before..first].iter().filter_map(of))?;
                let after: Vec<(f64, f64)> = slices[first..shown]
                    .iter()
                    .filter_map(|slice| Some((slice.second as f64, of(slice)? / was)))
                    .collect();
                let when = |left: f64| {
                    let second = gone(&after, left)?;
                    Some(timeline.cloud((second - change.at).max(0.0)))
                };
                Some(ClassMove {
                    class: class.name.clone(),
                    learned: learned(timeline, &class.name, change, end),
                    half: when(0.5),
                    most: when(0.1),
                    nearly_all: when(0.01),
                    all: when(0.0),
                    left: after.last().map(|(_, left)| *left),
                    shares: slices[before..shown].iter().map(of).collect(),
                })
            })
            .collect(),
    }
}

/// The part of what a class sent in a second that went to these addresses; none where it sent nothing.
fn share(class: &ClassSlice, addresses: &BTreeSet<IpAddr>) -> Option<f64> {
    let there: u64 = addresses.iter().filter_map(|address| class.sent.get(address)).sum();
    (class.attempts > 0).then(|| there as f64 / class.attempts as f64)
}

/// None where it is zero: who was not there has nowhere to move from.
fn mean(shares: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = shares.fold((0.0, 0.0), |(sum, count), share| (sum + share, count + 1.0));
    (sum > 0.0).then(|| sum / count)
}

/// The second from which on at most `left` is left; none while more is.
fn gone(after: &[(f64, f64)], left: f64) -> Option<f64> {
    let stayed = after
        .iter()
        .rev()
        .take_while(|(_, share)| *share <= left + SLACK)
        .count();
    after.get(after.len() - stayed).map(|(second, _)| *second)
}

/// When a class had the new answer, cloud time since the move.
fn learned(timeline: &Timeline<'_>, name: &str, change: &Change, end: f64) -> Option<Duration> {
    timeline.events().find_map(|(at, event)| match event {
        Event::DnsChanged { class, addresses, .. }
            if class.as_deref() == Some(name)
                && (change.at..=end).contains(&at)
                && addresses.iter().copied().collect::<BTreeSet<_>>() == change.to =>
        {
            Some(timeline.cloud(at - change.at))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::fixture::{Fixture, PACE, cloud, secs, well};
    use super::super::judge;
    use super::*;
    use crate::plan::{ClassPlan, DnsPolicy, Fault};

    const OLD: &str = "127.10.0.5";
    const NEW: &str = "127.11.0.5";

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// How many of ten attempts a class sends to the old address in a second of the run.
    type Curve = fn(u64) -> u64;

    fn fixture(classes: &[(&str, Curve)]) -> Fixture {
        let mut fixture = Fixture::new(Fault::NetworkDenyRegion, "dns", Vec::new(), well);
        fixture.plan.client.classes = classes
            .iter()
            .map(|(name, _)| ClassPlan::example(name, 1.0 / classes.len() as f64, DnsPolicy::Pin))
            .collect();
        for slice in &mut fixture.recording.slices {
            let of = |(_, curve): &(&str, Curve)| {
                let old = curve(slice.second);
                ClassSlice {
                    intended: 10,
                    ok: 10,
                    attempts: 10,
                    sent: BTreeMap::from([(ip(OLD), old), (ip(NEW), 10 - old)]),
                    ..ClassSlice::default()
                }
            };
            slice.classes = classes.iter().map(of).collect();
        }
        fixture
    }

    fn answer(fixture: &mut Fixture, at: f64, class: &str, address: &str) {
        let event = Event::DnsChanged {
            class: Some(class.to_owned()),
            name: "shop.test".to_owned(),
            addresses: vec![ip(address)],
            ttl: secs(60.0),
        };
        fixture.event(at, event);
    }

    #[test]
    fn each_class_moves_in_its_own_time_and_one_that_stays_is_said_to_stay() {
        let mut fixture = fixture(&[
            ("browser", |second| if second < 25 { 10 } else { 0 }),
            ("jvm", |second| match second {
                0..=25 => 10,
                26..=27 => 4,
                28..=29 => 1,
                _ => 0,
            }),
            ("pinned", |second| if second == 40 { 0 } else { 10 }),
            ("elsewhere", |_| 0),
        ]);
        for class in ["browser", "jvm", "pinned"] {
            answer(&mut fixture, 0.0, class, OLD);
        }
        answer(&mut fixture, 24.5, "browser", NEW);
        answer(&mut fixture, 25.5, "jvm", NEW);
        let verdict = judge(&fixture.plan, &fixture.recording);
        let [moved] = verdict.moves.as_slice() else {
            panic!("{:?}", verdict.moves)
        };
        assert_eq!((moved.at, moved.ttl), (cloud(24.5), secs(60.0)));
        assert_eq!((&moved.from, &moved.to), (&vec![ip(OLD)], &vec![ip(NEW)]));
        let names: Vec<&str> = moved.classes.iter().map(|class| class.class.as_str()).collect();
        assert_eq!(names, ["browser", "jvm", "pinned"], "who was not there does not move");
        let when = |index: usize| {
            let class = &moved.classes[index];
            [class.learned, class.half, class.most, class.nearly_all, class.all]
        };
        let half = Some(cloud(0.5));
        assert_eq!(when(0), [Some(Duration::ZERO), half, half, half, half]);
        let rest = Some(cloud(5.5));
        assert_eq!(
            when(1),
            [Some(cloud(1.0)), Some(cloud(1.5)), Some(cloud(3.5)), rest, rest]
        );
        assert_eq!(when(2), [None; 5], "a quiet second is not a move");
        let left: Vec<_> = moved.classes.iter().map(|class| class.left).collect();
        assert_eq!(left, [Some(0.0), Some(0.0), Some(1.0)]);
        assert_eq!(moved.since[0], (19.5 - 24.5) * PACE);
        assert!(
            moved
                .classes
                .iter()
                .all(|class| class.shares.len() == moved.since.len())
        );
        assert_eq!(moved.classes[1].shares[8], Some(0.4));
    }

    #[test]
    fn a_move_ends_with_the_next_and_more_than_a_page_holds_are_counted() {
        let mut fixture = fixture(&[("browser", |second| if second.is_multiple_of(2) { 10 } else { 0 })]);
        for second in 0..60 {
            let address = if second % 2 == 0 { OLD } else { NEW };
            answer(&mut fixture, f64::from(second), "browser", address);
        }
        let verdict = judge(&fixture.plan, &fixture.recording);
        assert_eq!((verdict.moves.len(), verdict.moves_more), (20, 39));
        let second = &verdict.moves[1];
        assert_eq!((second.since.len(), second.classes[0].all), (3, Some(Duration::ZERO)));
    }

    #[test]
    fn without_classes_and_without_a_change_there_is_no_move() {
        let mut alike = fixture(&[]);
        answer(&mut alike, 0.0, "", OLD);
        answer(&mut alike, 20.0, "", NEW);
        assert!(judge(&alike.plan, &alike.recording).moves.is_empty());
        let mut more = fixture(&[("browser", |_| 10)]);
        answer(&mut more, 0.0, "browser", OLD);
        let both = Event::DnsChanged {
            class: Some("browser".to_owned()),
            name: "shop.test".to_owned(),
            addresses: vec![ip(OLD), ip(NEW)],
            ttl: secs(60.0),
        };
        more.event(20.0, both);
        assert!(
            judge(&more.plan, &more.recording).moves.is_empty(),
            "nothing left the answer"
        );
    }

    #[test]
    fn amplification_is_of_the_whole_run_and_of_its_worst_second() {
        let mut fixture = fixture(&[("eager", |_| 10), ("calm", |_| 10)]);
        for slice in &mut fixture.recording.slices {
            let eager = &mut slice.classes[0];
            match slice.second {
                30 => (eager.attempts, eager.retries) = (40, 30),
                // Too few to tell.
                31 => (eager.intended, eager.attempts) = (1, 9),
                _ => {}
            }
        }
        let classes = judge(&fixture.plan, &fixture.recording).classes;
        let attempts = 58 * 10 + 40 + 9;
        assert_eq!((classes[0].intended, classes[0].attempts), (591, attempts));
        assert_eq!(classes[0].amplification, Some(attempts as f64 / 591.0));
        assert_eq!(classes[0].amplification_max, Some(4.0));
        assert_eq!(
            (classes[1].amplification, classes[1].amplification_max),
            (Some(1.0), Some(1.0))
        );
    }
}
