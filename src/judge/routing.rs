//! Where users were sent while a Region was dead, or taken for it: the shift away, who stayed behind, the way back.
//!
//! Shares come from per-second slices. Inside the one second in which a shift ends, failed starts tell finer, since
//! every request to a Region that drops all packets fails and no other does.

use super::objectives::Finding;
use super::timeline::{FaultTimes, Timeline};
use super::verdict::format_share;
use super::{Convergence, FaultFindings, Value};
use crate::event::Event;
use crate::recording::Slice;
use crate::units::format_duration;

/// Below this share of started requests users have left a Region.
const LEFT: f64 = 0.01;

/// This part of the share it had, and a Region has its users back.
const BACK: f64 = 0.99;

/// Standard deviations by which a share may be off by chance. Every second is compared, so that three would now and then
/// be too few.
const CHANCE: f64 = 4.0;

/// TTL of an alias record to a load balancer, cloud seconds; used where no answer was recorded.
const ALIAS_TTL: f64 = 60.0;

/// Cloud seconds after which Route 53 has surely given up an endpoint: three failures 30 s apart, and the TTL.
const GIVES_UP: f64 = 150.0;

fn share(slice: &Slice, region: &str) -> Option<f64> {
    let all: u64 = slice.sent.values().sum();
    (all > 0).then(|| slice.sent.get(region).copied().unwrap_or(0) as f64 / all as f64)
}

fn share_over<'a>(slices: impl Iterator<Item = &'a Slice>, region: &str) -> Option<(f64, u64)> {
    let (dead, all) = slices.fold((0u64, 0u64), |(dead, all), slice| {
        (
            dead + slice.sent.get(region).copied().unwrap_or(0),
            all + slice.sent.values().sum::<u64>(),
        )
    });
    (all > 0).then(|| (dead as f64 / all as f64, all))
}

/// Requests started in these seconds.
fn requests(slices: &[&Slice]) -> u64 {
    slices.iter().flat_map(|slice| slice.sent.values()).sum()
}

/// How many requests it takes to show where users are.
fn needed(timeline: &Timeline<'_>) -> u64 {
    timeline.plan.honesty.requests_min.max(1)
}

/// Share of started requests that went to the Region in the seconds before the fault, and how many were started.
fn share_before(timeline: &Timeline<'_>, fault: &FaultTimes<'_>, injected: f64) -> Option<(f64, u64)> {
    let before = timeline
        .recording
        .slices
        .iter()
        .rev()
        .filter(|slice| slice.second as f64 + 1.0 <= injected)
        .take(5);
    share_over(before, &fault.plan.region)
}

fn within<'a>(timeline: &Timeline<'a>, from: f64, to: f64) -> impl Iterator<Item = &'a Slice> {
    timeline
        .recording
        .slices
        .iter()
        .filter(move |slice| slice.second as f64 >= from && slice.second as f64 + 1.0 <= to)
}

/// Injection until fewer than 1 % of started requests go to the Region, and stay so until the fault ends.
pub(super) fn shift(timeline: &Timeline<'_>, fault: &FaultTimes<'_>) -> Finding {
    let Some((injected, end)) = span(timeline, fault) else {
        return Finding::Unknown("the fault never got into the world".to_owned());
    };
    let region = &fault.plan.region;
    match share_before(timeline, fault, injected) {
        None => return Finding::Unknown("no request was started before the fault".to_owned()),
        Some((share, _)) if share < LEFT => {
            return Finding::Unknown(format!("no users were in {region} before the fault"));
        }
        Some(_) => {}
    }
    let slices: Vec<&Slice> = within(timeline, injected.floor(), end)
        .filter(|slice| !slice.sent.is_empty())
        .collect();
    if slices.is_empty() {
        return Finding::Unknown("no whole second was measured while the Region was dead".to_owned());
    }
    let stayed = slices
        .iter()
        .rev()
        .take_while(|slice| share(slice, region).is_none_or(|share| share < LEFT))
        .count();
    let Some(last_bad) = slices.len().checked_sub(stayed + 1).and_then(|index| slices.get(index)) else {
        let followed = requests(&slices);
        if followed < needed(timeline) {
            return Finding::Unknown(format!(
                "only {followed} requests were started while the Region was dead"
            ));
        }
        return Finding::Reached(Value::Duration(Default::default()), "users left at once".to_owned());
    };
    let second = last_bad.second as f64;
    let failing = last_failing_start(timeline, second, second + 1.0);
    let followed = requests(&slices[slices.len() - stayed..]);
    if stayed > 0 && followed < needed(timeline) {
        return Finding::AtLeast(
            Value::Duration(timeline.cloud(failing.unwrap_or(second) - injected)),
            format!("only {followed} requests were started after the last second in which 1% went to {region}"),
            false,
        );
    }
    if stayed == 0 {
        // What came in the part of a second that followed is not known.
        let share = share(last_bad, region).unwrap_or_default();
        return Finding::AtLeast(
            Value::Duration(timeline.cloud(failing.unwrap_or(second) - injected)),
            format!(
                "{:.0}% of requests still went to {region} in the last whole second of the fault",
                share * 100.0
            ),
            false,
        );
    }
    let at = failing.unwrap_or(second + 1.0);
    Finding::Reached(
        Value::Duration(timeline.cloud(at - injected)),
        format!("then fewer than 1% of requests went to {region}"),
    )
}

/// End of the last cell of a second in which at least 1 % of all started requests failed.
fn last_failing_start(timeline: &Timeline<'_>, from: f64, to: f64) -> Option<f64> {
    let mut counts: std::collections::BTreeMap<u32, (u64, u64)> = std::collections::BTreeMap::new();
    let width = timeline.recording.pulses.first()?.cell.as_secs_f64();
    for pulse in &timeline.recording.pulses {
        for (index, cell) in &pulse.cells {
            let entry = counts.entry(*index).or_default();
            entry.0 += u64::from(cell.failed);
            entry.1 += u64::from(cell.ok) + u64::from(cell.failed);
        }
    }
    counts
        .into_iter()
        .filter(|(_, (failed, all))| *failed > 0 && *failed as f64 >= LEFT * *all as f64)
        .map(|(index, _)| (f64::from(index) + 1.0) * width)
        .filter(|end| *end > from && *end <= to + width)
        .reduce(f64::max)
        .map(|end| end.min(to))
}

fn span(timeline: &Timeline<'_>, fault: &FaultTimes<'_>) -> Option<(f64, f64)> {
    let injected = fault.instant()?;
    let end = fault.leaving().or_else(|| timeline.fault_end(fault))?;
    Some((injected, end.min(timeline.end).max(injected)))
}

fn is_in_region(timeline: &Timeline<'_>, endpoint: &str, region: &str) -> bool {
    let target = &timeline.plan.target;
    endpoint.contains(region)
        || target
            .edge
            .iter()
            .any(|(address, of)| of == region && endpoint.split([':', '/']).any(|part| part == address.to_string()))
        || target
            .inventory
            .regions
            .get(region)
            .is_some_and(|found| found.load_balancers.iter().any(|name| endpoint.contains(name.as_str())))
}

/// When Route 53 first called the Region's endpoint unhealthy, real seconds since t0.
pub(super) fn detected(timeline: &Timeline<'_>, fault: &FaultTimes<'_>) -> Option<f64> {
    let (injected, end) = span(timeline, fault)?;
    timeline.events().find_map(|(at, event)| match event {
        Event::HealthCheckChanged {
            endpoint,
            healthy: false,
            ..
        } if at >= injected && at <= end && is_in_region(timeline, endpoint, &fault.plan.region) => Some(at),
        _ => None,
    })
}

/// When the users' answer first had no address of the Region, real seconds since t0.
pub(super) fn answered_elsewhere(timeline: &Timeline<'_>, fault: &FaultTimes<'_>) -> Option<f64> {
    let (injected, end) = span(timeline, fault)?;
    let edge = &timeline.plan.target.edge;
    timeline.events().find_map(|(at, event)| match event {
        Event::DnsChanged { addresses, .. }
            if at >= injected
                && at <= end
                && !addresses.is_empty()
                && addresses
                    .iter()
                    .all(|address| edge.get(address).is_some_and(|region| *region != fault.plan.region)) =>
        {
            Some(at)
        }
        _ => None,
    })
}

/// Share of requests started to the dead Region after detection plus TTL; `Err` says why there is none.
pub(super) fn stale_share(timeline: &Timeline<'_>, fault: &FaultTimes<'_>) -> Result<(f64, String), Finding> {
    let Some((injected, end)) = span(timeline, fault) else {
        return Err(Finding::Unknown("the fault never got into the world".to_owned()));
    };
    let known = [detected(timeline, fault), answered_elsewhere(timeline, fault)];
    let Some(known) = known.into_iter().flatten().reduce(f64::min) else {
        let why = format!(
            "Route 53 never gave {} up: no health check failed and no answer changed",
            fault.plan.region
        );
        let cut = timeline.window(fault).is_none_or(|window| window.cut);
        return Err(if cut || (end - injected) * timeline.pace() < GIVES_UP {
            Finding::Unknown(format!(
                "{why} in the {} it had",
                format_duration(timeline.cloud(end - injected))
            ))
        } else {
            Finding::Never(why)
        });
    };
    let ttl = timeline
        .events()
        .take_while(|(at, _)| *at <= injected)
        .filter_map(|(_, event)| match event {
            Event::DnsChanged { ttl, .. } => Some(ttl.as_secs_f64()),
            _ => None,
        })
        .last()
        .unwrap_or(ALIAS_TTL);
    let from = known + ttl / timeline.pace();
    // Whole seconds only: in a second that straddles the instant, an early request cannot be told from a stale one.
    match share_over(within(timeline, from, end), &fault.plan.region) {
        Some((share, all)) if all >= timeline.plan.honesty.requests_min => {
            Ok((share, format!("of {all} requests after detection plus TTL")))
        }
        Some((_, all)) => Err(Finding::Unknown(format!(
            "only {all} requests were started between detection plus TTL and the end of the fault"
        ))),
        None => Err(Finding::Unknown(
            "no whole second was measured between detection plus TTL and the end of the fault".to_owned(),
        )),
    }
}

/// Revert until the Region has 99 % of the share it had before the fault, and keeps it.
pub(super) fn fail_back(timeline: &Timeline<'_>, fault: &FaultTimes<'_>) -> Finding {
    let (Some(injected), Some(window)) = (fault.instant(), timeline.window(fault)) else {
        return Finding::Unknown("the fault never got into the world".to_owned());
    };
    let Some(reverted) = fault.leaving() else {
        return Finding::Unknown("the fault was not reverted: it was in the world when the run ended".to_owned());
    };
    let region = &fault.plan.region;
    let Some((share, of)) = share_before(timeline, fault, injected).filter(|(share, _)| *share >= LEFT) else {
        return Finding::Unknown(format!("no users were in {region} before the fault"));
    };
    let former = Former { share, of };
    let slices: Vec<&Slice> = within(timeline, reverted, window.end)
        .filter(|slice| !slice.sent.is_empty())
        .collect();
    if slices.is_empty() {
        return Finding::Unknown("no whole second was measured after the revert".to_owned());
    }
    let sent: Vec<Sent> = slices.iter().map(|slice| Sent::of(slice, region)).collect();
    let Some((last, from)) = last_of(&sent, needed(timeline)) else {
        let all = requests(&slices);
        return Finding::Unknown(format!("only {all} requests were started after the revert"));
    };
    let not_back = |until: f64, why: String| {
        let waited = Value::Duration(timeline.cloud(until - reverted));
        Finding::AtLeast(waited, why, window.cut)
    };
    let away = format!("{region} did not get its users back");
    let Some(back) = former.back_from(&sent) else {
        return not_back(window.end, away);
    };
    let at = slices[back].second as f64;
    if back > from {
        let since = requests(&slices[back..]);
        return not_back(
            at,
            format!("only {since} requests were started since {region} may have its users back"),
        );
    }
    if !former.is_met(last) {
        return not_back(window.end, away);
    }
    if !former.tells(last.all) {
        return Finding::Unknown(format!(
            "{} requests are too few to tell whether {region} has {} of them again",
            last.all.min(of),
            format_share(share)
        ));
    }
    Finding::Reached(
        Value::Duration(timeline.cloud(at - reverted)),
        format!("then {region} had its users back"),
    )
}

/// Requests started in a second or several: to a Region, and to any.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    here: u64,
    all: u64,
}

impl Sent {
    fn of(slice: &Slice, region: &str) -> Self {
        Self {
            here: slice.sent.get(region).copied().unwrap_or(0),
            all: slice.sent.values().sum(),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            here: self.here + other.here,
            all: self.all + other.all,
        }
    }
}

/// The last so many requests, by whole seconds, and the second they begin with; none where there are fewer.
fn last_of(sent: &[Sent], needed: u64) -> Option<(Sent, usize)> {
    let mut last = Sent::default();
    for (index, second) in sent.iter().enumerate().rev() {
        last = last.and(*second);
        if last.all >= needed {
            return Some((last, index));
        }
    }
    None
}

/// The share of a Region before a fault, and of how many requests.
#[derive(Clone, Copy, Debug)]
struct Former {
    share: f64,
    of: u64,
}

impl Former {
    /// By how much the share among so many requests may be smaller by chance, since both it and the former share are
    /// those of samples.
    fn chance(&self, all: u64) -> f64 {
        let samples = 1.0 / all.max(1) as f64 + 1.0 / self.of.max(1) as f64;
        CHANCE * (self.share * (1.0 - self.share) * samples).sqrt()
    }

    /// Whether so many requests can tell a Region that has its users back from one that has not.
    fn tells(&self, all: u64) -> bool {
        self.chance(all) <= self.share / 2.0
    }

    fn is_met(&self, sent: Sent) -> bool {
        sent.all == 0 || sent.here as f64 / sent.all as f64 >= self.share * BACK - self.chance(sent.all)
    }

    /// The first second from which on the Region has its users back: in each later second, and in all up to each of them,
    /// which tell more finely.
    fn back_from(&self, sent: &[Sent]) -> Option<usize> {
        let away = sent.iter().rposition(|second| !self.is_met(*second));
        let first = away.map_or(0, |away| away + 1);
        (first..sent.len()).find(|from| {
            let mut since = Sent::default();
            sent[*from..].iter().all(|second| {
                since = since.and(*second);
                self.is_met(since)
            })
        })
    }
}

/// The curve of every fault that made a Region's users leave.
pub(super) fn convergence(timeline: &Timeline<'_>, findings: &[FaultFindings]) -> Vec<Convergence> {
    timeline
        .faults
        .iter()
        .zip(findings)
        .filter(|(fault, _)| fault.plan.fault.moves_users())
        .filter_map(|(fault, found)| {
            let (injected, window) = (fault.instant()?, timeline.window(fault)?);
            let points = timeline
                .recording
                .slices
                .iter()
                .filter(|slice| (injected - 5.0..=window.end).contains(&(slice.second as f64)))
                .filter_map(|slice| {
                    let middle = slice.second as f64 + 0.5 - injected;
                    Some((middle * timeline.pace(), share(slice, &fault.plan.region)?))
                })
                .collect();
            Some(Convergence {
                fault: found.id.clone(),
                region: fault.plan.region.clone(),
                points,
            })
        })
        .collect()
}
