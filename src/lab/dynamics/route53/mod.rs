//! Route 53's control side: record changes on their way to the DNS servers, and health checks.
//! Answers to queries are `dns`'s.

mod changes;
mod checkers;

pub use changes::{ChangeAction, change_records};
pub use checkers::{HealthCheckUpdate, default_checkers, is_healthy, update_health_check};

use std::sync::Arc;

use crate::lab::Lab;

/// Starts the health checkers of every health check.
pub(super) fn spawn(lab: &Arc<Lab>) {
    let checks: Vec<(String, usize)> = {
        let mut world = lab.world();
        let wanted = lab.config.health_checks.checkers as usize;
        for check in world
            .route53
            .health_checks
            .values_mut()
            .filter(|check| check.checkers.is_empty())
        {
            check.checkers = default_checkers(wanted);
        }
        world
            .route53
            .health_checks
            .values()
            .map(|check| (check.id.clone(), check.checkers.len()))
            .collect()
    };
    for (check, count) in checks {
        for checker in 0..count {
            tokio::spawn(checkers::run(lab.clone(), check.clone(), checker));
        }
    }
}
