//! `junit.xml`: one test case per objective; missed is a failure, inconclusive an error, no objective at all an error, as is
//! a run that proves nothing although each of them held.

use quick_junit::{NonSuccessKind, Report as Junit, TestCase, TestCaseStatus, TestSuite};

use super::{Report, text};
use crate::judge::Outcome;

/// The report as JUnit XML.
#[must_use]
pub fn junit(report: &Report) -> String {
    let mut junit = Junit::new(format!("tenfold {}", report.plan.name));
    let mut suites: Vec<(String, TestSuite)> = Vec::new();
    for objective in &report.verdict.objectives {
        let name = objective.experiment.clone().unwrap_or_else(|| report.plan.name.clone());
        let status = match objective.outcome {
            Outcome::Met => TestCaseStatus::success(),
            Outcome::Missed => failed(NonSuccessKind::Failure, "missed", objective),
            Outcome::Inconclusive => failed(NonSuccessKind::Error, "inconclusive", objective),
        };
        let mut case = TestCase::new(objective.objective.clone(), status);
        case.set_classname(format!("{}.{name}", report.plan.name));
        case.set_system_out(format!("measured {}: {}", text::measured(objective), objective.why));
        add(&mut suites, name, case);
    }
    let objectives = &report.verdict.objectives;
    if objectives.is_empty() {
        // A file without a test case is green to every CI system.
        add(
            &mut suites,
            report.plan.name.clone(),
            unproven(report, "there are no objectives"),
        );
    } else if report.verdict.outcome != Outcome::Met && objectives.iter().all(|one| one.outcome == Outcome::Met) {
        // So is one in which every case passes, of a run that proves nothing.
        add(
            &mut suites,
            report.plan.name.clone(),
            unproven(report, "the run as a whole"),
        );
    }
    for (_, suite) in suites {
        junit.add_test_suite(suite);
    }
    junit.to_string().expect("writing XML to memory cannot fail")
}

fn add(suites: &mut Vec<(String, TestSuite)>, name: String, case: TestCase) {
    match suites.iter_mut().find(|(of, _)| *of == name) {
        Some((_, suite)) => {
            suite.add_test_case(case);
        }
        None => {
            let mut suite = TestSuite::new(name.clone());
            suite.add_test_case(case);
            suites.push((name, suite));
        }
    }
}

/// A case of its own for what no objective says.
fn unproven(report: &Report, name: &str) -> TestCase {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status.set_type("inconclusive");
    status.set_message(report.verdict.sentence.clone());
    let mut case = TestCase::new(name, status);
    case.set_classname(format!("{0}.{0}", report.plan.name));
    case
}

fn failed(kind: NonSuccessKind, word: &str, objective: &crate::judge::ObjectiveVerdict) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(word);
    status.set_message(format!("measured {}: {}", text::measured(objective), objective.why));
    status
}
