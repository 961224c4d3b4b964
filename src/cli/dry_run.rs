//! `run --dry-run`: whether the run would begin now, what would be called, and what the guards say to it. It is given a
//! client that can only read, and looks at the locks of other runs without taking them.

use jiff::Timestamp;

use crate::aws::Reader;
use crate::cli::args::ProfileArguments;
use crate::cli::exit::{Exit, Failure};
use crate::cli::{approval, begin, out, plan};
use crate::plan::{Plan, print_times};
use crate::run::chaos::{self, Rehearsed};

/// Resolves the profile against its target and prints what every fault would do now; fails where the run would not
/// begin, or one of them would be refused. An approval that is given is checked as the run would.
pub(super) async fn dry_run(arguments: &ProfileArguments, approve: Option<&str>) -> Result<Exit, Failure> {
    plan::with_target(arguments, async |target, plan| {
        let mut against = Vec::from_iter(begin::in_window(&plan).err());
        against.extend(begin::against(target, &plan).await);
        if let (Some(_), Err(failure)) = (
            approve,
            approval::demand(&plan, target.is_own_lab(), approve, arguments),
        ) {
            against.push(failure);
        }
        let reader = target.account.as_ref().map(|(reader, _)| reader);
        rehearsed(&plan, reader, &against).await
    })
    .await
}

async fn rehearsed(plan: &Plan, reader: Option<&Reader>, against: &[Failure]) -> Result<Exit, Failure> {
    let rehearsed = match reader {
        Some(reader) => chaos::rehearse(plan, reader, Timestamp::now()).await,
        None => Vec::new(),
    };
    let mut text = format!("dry run of {}: nothing is loaded, nothing is changed\n", plan.name);
    for failure in against {
        text.push_str(&format!("\nthe run would not begin now: {failure}\n"));
    }
    for claim in plan.claims() {
        let (call, revert) = (&claim.call, &claim.revert);
        text.push_str(&format!(
            "\nwould claim {}: {} {}, and in the end {}\n",
            claim.region, call.action, call.detail, revert.action
        ));
    }
    for one in &rehearsed {
        text.push_str(&told(plan, one));
    }
    let (exit, end) = concluded(&rehearsed, against);
    text.push_str(&format!("\n{end}\n"));
    out::print(&text)?;
    Ok(exit)
}

/// What it comes to: what keeps the run from its start comes before what would become of its faults.
fn concluded(rehearsed: &[Rehearsed<'_>], against: &[Failure]) -> (Exit, String) {
    let refused = rehearsed.iter().filter(|one| one.hits.is_err()).count();
    let away = |one: &Rehearsed<'_>| matches!(&one.hits, Err(chaos::ChaosError::Aws(_)));
    let of_faults = match refused {
        0 if rehearsed.is_empty() => "it breaks nothing".to_owned(),
        0 => "every fault would be injected now".to_owned(),
        _ => format!("{refused} of {} faults would be refused now", rehearsed.len()),
    };
    if let Some(first) = against.first() {
        return (first.exit, format!("the run would not begin now; {of_faults}"));
    }
    match refused {
        0 => (Exit::Met, of_faults),
        _ if rehearsed.iter().any(away) => (Exit::Unreachable, "not everything could be looked at".to_owned()),
        _ => (Exit::Usage, of_faults),
    }
}

fn told(plan: &Plan, one: &Rehearsed<'_>) -> String {
    let fault = one.plan;
    let mut text = format!(
        "\n{} {} on {} in {}: {}\n",
        one.fault,
        fault.fault.name(),
        fault.role,
        fault.region,
        print_times(plan, fault)
    );
    match &one.hits {
        Err(why) => text.push_str(&format!("  refused now: {why}\n")),
        Ok(hits) => {
            text.push_str(&format!("  would hit {}\n", hits.join(", ")));
            for call in &fault.calls {
                text.push_str(&format!("  would call {} {}\n", call.action, call.detail));
            }
            for call in &fault.reverts {
                text.push_str(&format!("  would undo {} {}\n", call.action, call.detail));
            }
        }
    }
    text
}
