//! `--approve`: outside the lab nothing is broken that nobody has looked at. `plan` shows what would be done and ends
//! with its hash; `run` resolves the same again and goes on only when the hash it is given is the one it finds.

use std::time::Duration;

use anyhow::anyhow;

use crate::cli::args::ProfileArguments;
use crate::cli::exit::Failure;
use crate::cli::{out, state, typed};
use crate::plan::{self, Approval, Plan};

/// The folder of plans that were shown.
const SHOWN: &str = "plans";
/// How long a plan is remembered after it was shown.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// The hash of a plan that breaks something. What was shown of an account is remembered, so that a later refusal can say
/// what has changed.
pub(super) fn shown(plan: &Plan, own_lab: bool) -> Option<String> {
    if !plan.has_faults() {
        return None;
    }
    let approval = plan.approval();
    if !own_lab && let Err(error) = remember(&approval) {
        out::tell(&format!(
            "warning: this plan cannot be remembered, so a refusal could not say what changed: {error:#}"
        ));
    }
    Some(approval.hash)
}

fn remember(approval: &Approval) -> anyhow::Result<()> {
    let folder = state::folder(SHOWN)?;
    for old in std::fs::read_dir(&folder)?.flatten() {
        let age = old.metadata().and_then(|about| about.modified()).map(|at| at.elapsed());
        if matches!(age, Ok(Ok(age)) if age > KEPT) {
            // One that another tenfold has removed just now is as good.
            let _ = std::fs::remove_file(old.path());
        }
    }
    let path = folder.join(format!("{}.json", approval.hash));
    Ok(std::fs::write(path, &approval.text)?)
}

/// Demands the approval of exactly this plan where it breaks something. The lab that a run starts for itself needs none,
/// since nothing of it outlives the run.
pub(super) fn demand(
    plan: &Plan,
    own_lab: bool,
    given: Option<&str>,
    arguments: &ProfileArguments,
) -> Result<(), Failure> {
    if !plan.has_faults() {
        return Ok(());
    }
    let see = format!("tenfold plan {}", typed::words(arguments));
    let account = plan.target.account.as_deref().unwrap_or("of the target");
    let approval = plan.approval();
    match given {
        Some(given) if given == approval.hash => Ok(()),
        None if own_lab => Ok(()),
        None => {
            let count: usize = plan.experiments.iter().map(|experiment| experiment.faults.len()).sum();
            let faults = if count == 1 { "a fault" } else { "faults" };
            Err(Failure::usage(anyhow!(
                "the run would inject {faults} into account {account}, and nobody has approved that\n\
                 hint: look at what it would do with: {see}\n\
                 hint: then add --approve with the hash that the plan ends with"
            )))
        }
        Some(given) => Err(Failure::usage(anyhow!(
            "what the run would do to account {account} is not what was approved\n{}\n\
             hint: look at it again with: {see}",
            difference(given, &approval)
        ))),
    }
}

/// The plan whose command to run again has the approval too.
pub(super) fn with_approval(plan: Plan, given: Option<&str>) -> Plan {
    let Some(given) = given.filter(|_| plan.has_faults()) else {
        return plan;
    };
    Plan {
        rerun: format!("{} --approve {given}", plan.rerun),
        ..plan
    }
}

fn difference(given: &str, now: &Approval) -> String {
    let is_hash = given.len() == 64 && given.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hash {
        return format!("  {given:?} is no hash of a plan, which has 64 hexadecimal digits");
    }
    let shown =
        state::folder(SHOWN).and_then(|folder| Ok(std::fs::read_to_string(folder.join(format!("{given}.json")))?));
    match shown {
        Ok(approved) => {
            let lines: Vec<String> = plan::changes(&approved, &now.text);
            let lines: Vec<String> = lines.iter().map(|line| format!("  {line}")).collect();
            lines.join("\n")
        }
        Err(_) => "  what has changed is not known: no plan with this hash was shown on this machine".to_owned(),
    }
}
