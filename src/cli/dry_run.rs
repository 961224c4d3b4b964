//! `run --dry-run`: what would be called now, and what the guards say to it. It is given a client that can only read.

use jiff::Timestamp;

use crate::aws::Reader;
use crate::cli::args::ProfileArguments;
use crate::cli::exit::{Exit, Failure};
use crate::cli::{out, plan};
use crate::plan::{Plan, print_times};
use crate::run::chaos::{self, Rehearsed};

/// Resolves the profile against its target and prints what every fault would do now; fails where one would be refused.
pub(super) async fn dry_run(arguments: &ProfileArguments) -> Result<Exit, Failure> {
    plan::with_target(arguments, async |target, plan| {
        let reader = target.account.as_ref().map(|(reader, _)| reader);
        rehearsed(&plan, reader).await
    })
    .await
}

async fn rehearsed(plan: &Plan, reader: Option<&Reader>) -> Result<Exit, Failure> {
    let rehearsed = match reader {
        Some(reader) => chaos::rehearse(plan, reader, Timestamp::now()).await,
        None => Vec::new(),
    };
    let refused = rehearsed.iter().filter(|one| one.hits.is_err()).count();
    let mut text = format!("dry run of {}: nothing is loaded, nothing is changed\n", plan.name);
    for one in &rehearsed {
        text.push_str(&told(plan, one));
    }
    let unreachable = rehearsed
        .iter()
        .any(|one| matches!(&one.hits, Err(chaos::ChaosError::Aws(_))));
    let (exit, end) = match refused {
        0 if rehearsed.is_empty() => (Exit::Met, "it breaks nothing\n".to_owned()),
        0 => (Exit::Met, "every fault would be injected now\n".to_owned()),
        _ if unreachable => (Exit::Unreachable, "not everything could be looked at\n".to_owned()),
        _ => (
            Exit::Usage,
            format!("{refused} of {} faults would be refused now\n", rehearsed.len()),
        ),
    };
    text.push_str(&end);
    out::print(&text)?;
    Ok(exit)
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
