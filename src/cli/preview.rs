//! `plan --preview`: what AWS FIS itself makes of the targets of every fault that it would inject. The only plan that
//! touches an account: it creates templates and deletes them again, and has a run directory for the case that it dies.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::anyhow;

use crate::cli::exit::{Exit, Failure};
use crate::cli::out;
use crate::cli::run_dir::{JOURNAL, RunDir};
use crate::cli::target::Target;
use crate::plan::Plan;
use crate::run::chaos::{self, ChaosError, Journal, Previewed, RunHeader};

/// What AWS FIS said.
pub(super) struct Preview {
    all: Vec<Previewed>,
    run_dir: RunDir,
}

/// One fault of it, for machines.
#[derive(serde::Serialize)]
pub(super) struct Line<'p> {
    fault: String,
    named: &'p BTreeSet<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resolved: Option<&'p BTreeSet<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

impl<'p> Line<'p> {
    fn of(one: &'p Previewed) -> Self {
        Self {
            fault: one.fault.to_string(),
            named: &one.named,
            resolved: one.resolved.as_ref().ok(),
            refused: one.resolved.as_ref().err().map(ToString::to_string),
        }
    }
}

/// Lets AWS FIS resolve the targets; none where it injects no fault of the plan.
pub(super) async fn preview(target: &Target, plan: &Plan) -> Result<Option<Preview>, Failure> {
    let mut faults = plan.experiments.iter().flat_map(|experiment| &experiment.faults);
    let (Some((_, writer)), true) = (&target.account, faults.any(|fault| fault.fis.is_some())) else {
        return Ok(None);
    };
    let run_dir = RunDir::create(None, &format!("{}-preview", plan.name))?;
    run_dir.save_plan(plan)?;
    let journal = Journal::create(&run_dir.file(JOURNAL), RunHeader::new(plan))
        .map_err(|error| Failure::usage(anyhow!("cannot write the journal: {error}")))?;
    let all = chaos::preview(plan, writer, &journal, target.clock.cloud_unix()).await;
    Ok(Some(Preview { all, run_dir }))
}

impl Preview {
    /// For people, below the plan.
    pub(super) fn text(&self) -> String {
        let mut text = "\nas AWS FIS resolves it, every action skipped\n".to_owned();
        for one in &self.all {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {}: {}", one.fault, told(one));
        }
        text
    }

    /// For machines, each fault.
    pub(super) fn lines(&self) -> Vec<Line<'_>> {
        self.all.iter().map(Line::of).collect()
    }

    /// What the command ends with; tells what it left behind.
    pub(super) fn exit(&self) -> Exit {
        let any = |is: fn(&ChaosError) -> bool| self.all.iter().any(|one| one.resolved.as_ref().is_err_and(is));
        if any(|error| matches!(error, ChaosError::StillThere { .. })) {
            out::tell(&format!(
                "hint: undo it with: tenfold revert {}",
                self.run_dir.path().display()
            ));
            return Exit::Unreverted;
        }
        match any(|error| matches!(error, ChaosError::Aws(_))) {
            true => Exit::Unreachable,
            false if self.all.iter().all(is_as_planned) => Exit::Met,
            false => Exit::Usage,
        }
    }
}

fn is_as_planned(one: &Previewed) -> bool {
    one.resolved.as_ref().is_ok_and(|resolved| *resolved == one.named)
}

fn told(one: &Previewed) -> String {
    let resolved = match &one.resolved {
        Err(error) => return format!("refused: {error}"),
        Ok(resolved) if *resolved == one.named => {
            return format!("the same {} as planned", listed(resolved));
        }
        Ok(resolved) => resolved,
    };
    let less: BTreeSet<String> = &one.named - resolved;
    let more: BTreeSet<String> = resolved - &one.named;
    format!(
        "other targets than planned: without {}; with {}",
        listed(&less),
        listed(&more)
    )
}

fn listed(arns: &BTreeSet<String>) -> String {
    match arns.len() {
        0 => "none".to_owned(),
        _ => arns.iter().cloned().collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::FaultId;

    #[test]
    fn other_targets_than_planned_are_told_and_are_no_success() {
        let set = |names: &[&str]| -> BTreeSet<String> { names.iter().map(|name| (*name).to_owned()).collect() };
        let one = |resolved| Previewed {
            fault: FaultId {
                experiment: "x".to_owned(),
                index: 0,
            },
            named: set(&["a", "b"]),
            resolved,
        };
        let same = one(Ok(set(&["a", "b"])));
        assert!(is_as_planned(&same));
        assert_eq!(told(&same), "the same a, b as planned");
        let other = one(Ok(set(&["b", "c"])));
        assert!(!is_as_planned(&other));
        assert_eq!(told(&other), "other targets than planned: without a; with c");
        let refused = one(Err(ChaosError::Refused("no".to_owned())));
        assert!(!is_as_planned(&refused));
        assert_eq!(told(&refused), "refused: no");
    }
}
