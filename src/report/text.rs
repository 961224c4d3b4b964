//! How values read to a person; the same words on the terminal and on the page.

use super::Report;
use crate::judge::{FaultFindings, Honesty, ObjectiveVerdict, Outcome, format_beside, format_share};
use crate::recording::{Ended, FailureKind};
use crate::units::{format_count, format_duration};

pub(super) fn failure(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Dns => "dns",
        FailureKind::Refused => "refused",
        FailureKind::ConnectTimeout => "connect timeout",
        FailureKind::Timeout => "timeout",
        FailureKind::Reset => "reset",
        FailureKind::Protocol => "protocol",
        FailureKind::Status4xx => "4xx",
        FailureKind::Status5xx => "5xx",
        FailureKind::Redirect => "redirect",
        FailureKind::Expectation => "expectation",
        FailureKind::Tls => "tls",
        FailureKind::BlockedTimeout => "blocked timeout",
        FailureKind::TlsTimeout => "tls timeout",
        FailureKind::BodyTimeout => "body timeout",
        FailureKind::Grpc => "grpc",
    }
}

pub(super) fn measured(objective: &ObjectiveVerdict) -> String {
    match (&objective.measured, objective.at_least) {
        (Some(of), true) => format!("over {}", format_beside(of, &objective.limit)),
        (Some(of), false) => format_beside(of, &objective.limit),
        (None, _) => "–".to_owned(),
    }
}

pub(super) fn margin(objective: &ObjectiveVerdict) -> String {
    match objective.margin {
        Some(margin) if margin < -9.99 => "far over".to_owned(),
        Some(margin) => format!("{:+.0}%", margin * 100.0),
        None => "–".to_owned(),
    }
}

pub(super) fn mark(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Met => "✔",
        Outcome::Missed => "✘",
        Outcome::Inconclusive => "?",
    }
}

/// What stands above everything: how the run ended where that decides the exit code, otherwise the verdict.
pub(super) fn heading(ended: Ended, outcome: Outcome) -> String {
    match ended {
        Ended::Finished => outcome.to_string(),
        Ended::Stopped => "stopped".to_owned(),
        Ended::Interrupted => "interrupted".to_owned(),
        Ended::Unreachable => "unreachable".to_owned(),
        Ended::Unreverted => "not reverted".to_owned(),
    }
}

pub(super) fn ended(ended: Ended) -> &'static str {
    match ended {
        Ended::Finished => "finished",
        Ended::Stopped => "stopped by a stop condition",
        Ended::Interrupted => "interrupted",
        Ended::Unreachable => "target or AWS unreachable",
        Ended::Unreverted => "a fault is still in the world",
    }
}

pub(super) fn bytes(bytes: u64) -> String {
    format!("{} MiB", format_count(bytes.div_ceil(1 << 20)))
}

/// What there is only so much of, as far as it was recorded: used at most, how much there is, what.
pub(super) fn resources(honesty: &Honesty) -> impl Iterator<Item = (u64, u64, &'static str)> {
    let all = [
        (honesty.descriptors_max, honesty.descriptors_limit, "descriptors"),
        (honesty.ports_max, honesty.ports_limit, "local ports to one address"),
    ];
    all.into_iter().filter(|(_, limit, _)| *limit > 0)
}

/// What a fault's card says where somebody else ended it.
pub(super) fn ended_early(fault: &FaultFindings) -> Option<String> {
    let ended = fault.ended_early.as_ref()?;
    let (at, evidence) = (format_duration(ended.at), &ended.evidence);
    Some(format!("ended early, at {at}, and not by this run: {evidence}"))
}

/// What a fault's card says where its revert failed for a while, or for good.
pub(super) fn reverted_late(fault: &FaultFindings) -> Option<String> {
    let late = fault.reverted_late.as_ref()?;
    Some(format!("reverted late: it {late}: {}", late.why))
}

fn outage(fault: &FaultFindings) -> Option<String> {
    match (fault.failed, fault.probes_failed) {
        (1, 0) => Some("none: 1 request failed".to_owned()),
        (0, 1) => Some("none: 1 probe failed".to_owned()),
        _ => fault.outage.map(format_duration),
    }
}

/// One measurement of a fault for its card.
pub(super) struct Fact {
    pub name: &'static str,
    pub value: String,
    /// What AWS documents, where it does.
    pub bound: Option<&'static str>,
}

/// What a fault's card shows, in the order things happened.
pub(super) fn facts(fault: &FaultFindings) -> Vec<Fact> {
    let mut facts = Vec::new();
    if fault.injected_at.is_none() {
        return facts;
    }
    let name = fault.fault.as_str();
    let mut push = |name: &'static str, value: Option<String>, bound: Option<&'static str>| {
        if let Some(value) = value {
            facts.push(Fact { name, value, bound });
        }
    };
    let duration = |of: Option<std::time::Duration>| of.map(format_duration);
    if fault.onset.is_none() && fault.failing_before.is_empty() {
        push("felt", Some("by no user".to_owned()), None);
    }
    let failing_before = fault.failing_before.join(", ");
    push(
        "failing before",
        Some(failing_before).filter(|steps| !steps.is_empty()),
        None,
    );
    push("onset", duration(fault.onset), None);
    push("outage", outage(fault), super::bounds::outage(name));
    let recovery = if fault.unrecovered {
        Some("not before the experiment ended".to_owned())
    } else {
        duration(fault.recovery)
    };
    push("recovery", recovery, super::bounds::recovery(name));
    push("· detect", duration(fault.parts.detect), super::bounds::detect(name));
    push("· promote", duration(fault.parts.promote), None);
    push(
        "· propagate",
        duration(fault.parts.propagate),
        super::bounds::propagate(name),
    );
    push("· client", duration(fault.parts.client), None);
    push(
        "failed requests",
        (fault.failed > 0).then(|| format_count(fault.failed)),
        None,
    );
    push(
        "failed probes",
        (fault.probes_failed > 0).then(|| format_count(fault.probes_failed)),
        None,
    );
    push("self-heal", duration(fault.self_heal), super::bounds::self_heal(name));
    push("late errors", fault.late_errors.map(format_count), None);
    push("redundancy", duration(fault.redundancy), None);
    push("shift", duration(fault.shift), super::bounds::shift(name));
    push("stale share", fault.stale_share.map(format_share), None);
    push("fail-back", duration(fault.fail_back), None);
    push(
        "reverted",
        fault.in_world_at_end.then(|| "not before the run ended".to_owned()),
        None,
    );
    push("region silent", duration(fault.region_silent), None);
    push("region answered", duration(fault.region_answered), None);
    push("lost writes", lost_writes(fault), super::bounds::lost_writes(name));
    facts
}

fn lost_writes(fault: &FaultFindings) -> Option<String> {
    match (fault.lost_writes, fault.unread_writes) {
        (Some(lost), 0) => Some(format_count(lost)),
        (Some(lost), _) => Some(format!("{} or more", format_count(lost))),
        (None, 0) => None,
        (None, unread) => Some(format!("unknown: {} not read back", format_count(unread))),
    }
}

/// Why the command alone does not make the same run; none where it does.
pub(super) fn not_the_same(report: &Report) -> Option<String> {
    let commands = report.commands.iter().filter(|command| command.steers).count();
    (commands > 0).then(|| {
        format!(
            "This run was steered by {} while it went on; the command alone does not make the same one.",
            if commands == 1 {
                "a command".to_owned()
            } else {
                format!("{} commands", format_count(commands as u64))
            }
        )
    })
}
