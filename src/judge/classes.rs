//! What each class of clients did over the run, and how much it made of what was wanted of it by trying again.

use serde::Serialize;

use super::timeline::Timeline;
use crate::plan::{ClassPlan, DnsPolicy};
use crate::recording::ClassSlice;

/// Requests a second below which a few retries would look like a storm.
const BUSY: u64 = 10;

/// One class of clients.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassFindings {
    /// Its name.
    pub name: String,
    /// Its share of the users.
    pub share: f64,
    /// What it does with DNS answers.
    pub dns: DnsPolicy,
    /// Requests whose time came.
    pub intended: u64,
    /// Of them, those that were not sent.
    pub not_sent: u64,
    /// Requests that succeeded.
    pub ok: u64,
    /// Requests that failed, after all their attempts.
    pub failed: u64,
    /// Attempts, the first ones included.
    pub attempts: u64,
    /// Attempts per intended request; none where nothing was intended.
    pub amplification: Option<f64>,
    /// The same in the worst second of those with requests enough to tell.
    pub amplification_max: Option<f64>,
}

/// The classes of the plan in their order; none where all users are alike.
pub(super) fn findings(timeline: &Timeline<'_>) -> Vec<ClassFindings> {
    let classes = &timeline.plan.client.classes;
    let of = |(index, class)| found(timeline, index, class);
    classes.iter().enumerate().map(of).collect()
}

fn found(timeline: &Timeline<'_>, index: usize, class: &ClassPlan) -> ClassFindings {
    let seconds = || {
        timeline
            .recording
            .slices
            .iter()
            .filter_map(|slice| slice.classes.get(index))
    };
    let mut all = ClassSlice::default();
    seconds().for_each(|second| all.merge(second));
    let worst = seconds()
        .filter(|second| second.intended >= BUSY)
        .filter_map(ClassSlice::amplification);
    ClassFindings {
        name: class.name.clone(),
        share: class.share,
        dns: class.dns,
        intended: all.intended,
        not_sent: all.dropped,
        ok: all.ok,
        failed: all.failed,
        attempts: all.attempts,
        amplification: all.amplification(),
        amplification_max: worst.reduce(f64::max),
    }
}
