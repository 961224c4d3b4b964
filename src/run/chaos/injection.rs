//! From a fault of the plan to a before-image, and what can be done with one: inject, look for the effect, undo.
//! How, service by service, stands in the files beside it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::before::Before;
use super::own::Own;
use super::runner::{Hand, Sight};
use super::{
    ChaosError, arczonalshift, autoscaling, claim, ebs, ec2, elasticloadbalancingv2, fis, guard, iam, mark, network,
    rds, route53,
};
use crate::aws::Tags;
use crate::event::FaultId;
use crate::plan::{Fault, FaultPlan, TargetPlan};

/// How often a fault is read back, or its experiment looked at, cloud time: a call or two each time, far below what any of
/// these services throttles.
const READ_BACK_EVERY: Duration = Duration::from_secs(10);

/// What no call of ours takes out of the world: it is irreversible, or AWS FIS alone injects and ends it.
macro_rules! not_undone_by_us {
    () => {
        Before::Ec2Terminate { .. }
            | Before::Ec2Reboot { .. }
            | Before::Ec2SpotInterruption { .. }
            | Before::ApiErrors { .. }
            | Before::EbsPauseIo(_)
            | Before::EbsLatency(_)
            | Before::NetworkCrossRegion { .. }
            | Before::AutoScalingInsufficientCapacity { .. }
            | Before::AutoScalingSetUnhealthy { .. }
            | Before::RdsFailover { .. }
            | Before::RdsReboot { .. }
            | Before::RdsFailoverCluster { .. }
            | Before::RdsSwitchoverGlobal(_)
            | Before::RdsFailoverGlobal(_)
    };
}

/// What a fault is prepared with.
pub(super) struct Context<'a> {
    pub(super) target: &'a TargetPlan,
    pub(super) seed: u64,
    /// Id of the run.
    pub(super) run: &'a str,
    /// What the plan chose, which is hit as long as it can be.
    pub(super) planned: &'a [String],
    /// The other faults of the run; none where nothing is injected.
    pub(super) own: &'a Own,
}

impl Context<'_> {
    /// The target allows it, and nobody else is at it.
    pub(super) fn may_touch(&self, what: &str, tags: &Tags) -> Result<(), ChaosError> {
        guard::tagged(self.target.allow.as_ref(), what, tags)
            .and_then(|()| mark::of_nobody_else(self.run, what, tags))
            .map_err(ChaosError::Refused)
    }
}

/// One look at what a revert has to do, which does it.
#[derive(Debug, Default)]
pub(super) struct Pass {
    /// What is not as it was yet.
    pub(super) left: Vec<String>,
    /// What somebody else has changed meanwhile; it is left as found.
    pub(super) foreign: Vec<Foreign>,
    /// It is sure already that nothing is left, so that it need not look again.
    pub(super) proven: bool,
}

impl Pass {
    /// Something is not as it was yet, and this is what the call that was to change it answered: what came of that the next
    /// look tells.
    pub(super) fn left_after<T>(&mut self, what: &str, answer: Result<T, ChaosError>) -> Result<(), ChaosError> {
        let why = match answer {
            Ok(_) => String::new(),
            Err(ChaosError::Aws(error)) => format!(" ({})", error.brief()),
            Err(other) => return Err(other),
        };
        self.left.push(format!("{what}{why}"));
        Ok(())
    }
}

/// One thing that is neither as the fault left it nor as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Foreign {
    /// As it is found.
    pub(super) found: String,
    /// What makes it as it was, for whoever means it to be.
    pub(super) by_hand: String,
}

/// Why a fault is over before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Over {
    pub(super) why: String,
    /// It was stopped for a reason that holds for the whole run.
    pub(super) ends_run: bool,
}

impl Over {
    /// Somebody has put back what it changed, as this shows.
    pub(super) fn put_back(seen: String) -> Self {
        Self {
            why: format!("{seen}, seen by reading it back"),
            ends_run: false,
        }
    }

    /// Another process has begun to revert it.
    pub(super) fn reverted_by(whom: &str) -> Self {
        Self {
            why: format!("{whom}, another process, reverted it"),
            ends_run: false,
        }
    }

    /// An alarm or a safety lever has stopped it.
    pub(super) fn stopped(why: String) -> Self {
        Self { why, ends_run: true }
    }
}

/// Checks what the fault needs and notes what it is about to change, as it is.
pub(super) async fn prepare(sight: &Sight<'_>, context: &Context<'_>, fault: &FaultPlan) -> Result<Before, ChaosError> {
    let world = prepare_world(sight, context, fault).await?;
    context.own.apart(sight.region, &world).map_err(ChaosError::Refused)?;
    match &fault.fis {
        Some(template) => fis::prepare(sight, context, fault, template, world).await,
        None => {
            mark::fits(context.run, sight.fault, sight.region, &world)?;
            Ok(world)
        }
    }
}

async fn prepare_world(sight: &Sight<'_>, context: &Context<'_>, fault: &FaultPlan) -> Result<Before, ChaosError> {
    let role = &fault.role;
    match &fault.fault {
        Fault::Ec2Stop { share } => {
            let (group, instances) = ec2::victims(sight, context, role, *share).await?;
            Ok(Before::Ec2Stop { group, instances })
        }
        Fault::Ec2Terminate { share } => {
            let (group, instances) = ec2::victims(sight, context, role, *share).await?;
            Ok(Before::Ec2Terminate { group, instances })
        }
        Fault::Ec2Reboot { share } => {
            let (group, instances) = ec2::victims(sight, context, role, *share).await?;
            Ok(Before::Ec2Reboot { group, instances })
        }
        Fault::Ec2SpotInterruption { share } => {
            let (group, instances) = ec2::spot_victims(sight, context, role, *share).await?;
            Ok(Before::Ec2SpotInterruption { group, instances })
        }
        Fault::ApiErrors { .. } => iam::prepare(sight, context, role).await,
        Fault::EbsPauseIo { share } => {
            let disks = ebs::prepare(sight, context, role, *share).await?;
            Ok(Before::EbsPauseIo(disks))
        }
        Fault::EbsLatency { share, .. } => {
            let disks = ebs::prepare(sight, context, role, *share).await?;
            Ok(Before::EbsLatency(disks))
        }
        Fault::AutoScalingSuspend { processes } => autoscaling::prepare_suspend(sight, context, role, processes).await,
        Fault::AutoScalingInsufficientCapacity { az } => {
            autoscaling::prepare_insufficient_capacity(sight, context, role, az).await
        }
        Fault::AutoScalingSetUnhealthy { share } => {
            let (group, instances) = ec2::victims(sight, context, role, *share).await?;
            Ok(Before::AutoScalingSetUnhealthy { group, instances })
        }
        Fault::ElbDeregister { share } => {
            elasticloadbalancingv2::prepare_deregister(sight, context, role, *share).await
        }
        Fault::ElbBreakHealthCheck => elasticloadbalancingv2::prepare_path(sight, context, role).await,
        Fault::ElbZonalShift { az } => arczonalshift::prepare(sight, context, role, az).await,
        Fault::NetworkDenyAz { az } => network::prepare(sight, context, role, Some(az)).await,
        Fault::NetworkDenyRegion => network::prepare(sight, context, role, None).await,
        Fault::NetworkCrossRegion { to } => network::prepare_cross_region(sight, context, role, to).await,
        Fault::RdsFailover => rds::prepare_failover(sight, context, role).await,
        Fault::RdsReboot => rds::prepare_reboot(sight, context, role).await,
        Fault::RdsStop => rds::prepare_stop(sight, context, role).await,
        Fault::RdsFailoverCluster { reader } => rds::cluster::prepare(sight, context, role, reader.as_deref()).await,
        Fault::RdsSwitchoverGlobal { to } => {
            let before = rds::global::prepare(sight, context, role, to).await?;
            Ok(Before::RdsSwitchoverGlobal(before))
        }
        Fault::RdsFailoverGlobal { to } => {
            let before = rds::global::prepare(sight, context, role, to).await?;
            Ok(Before::RdsFailoverGlobal(before))
        }
        Fault::Route53InvertHealthCheck => route53::prepare_invert(sight, context, role).await,
        Fault::Route53ZeroWeight => route53::prepare_weight(sight, context, role).await,
    }
}

impl Before {
    /// Makes the calls that put the fault into the world; what it creates, or marks before it changes it, says that it
    /// expires at `expires`, cloud time.
    pub(super) async fn inject(&self, hand: &Hand<'_>, expires: f64) -> Result<(), ChaosError> {
        mark::write(hand, self, expires).await?;
        match self {
            Before::Ec2Stop { instances, .. } => ec2::stop(hand, instances).await,
            Before::Ec2Terminate { instances, .. } => ec2::terminate(hand, instances).await,
            Before::Ec2Reboot { instances, .. } => ec2::reboot(hand, instances).await,
            Before::AutoScalingSuspend { group, processes } => autoscaling::suspend(hand, group, processes).await,
            Before::AutoScalingInsufficientCapacity { .. }
            | Before::Ec2SpotInterruption { .. }
            | Before::ApiErrors { .. }
            | Before::EbsPauseIo(_)
            | Before::EbsLatency(_)
            | Before::NetworkCrossRegion { .. } => {
                Err(ChaosError::Refused("no API does this, only AWS FIS".to_owned()))
            }
            Before::AutoScalingSetUnhealthy { instances, .. } => autoscaling::set_unhealthy(hand, instances).await,
            Before::ElbDeregister { targets } => elasticloadbalancingv2::deregister(hand, targets).await,
            Before::ElbBreakHealthCheck { groups } => elasticloadbalancingv2::break_path(hand, groups).await,
            Before::ElbZonalShift(before) => arczonalshift::shift(hand, before).await,
            Before::NetworkDenyAz(before) | Before::NetworkDenyRegion(before) => {
                network::act(hand, before, expires).await
            }
            Before::RdsFailover { database, failover, .. } => rds::reboot(hand, database, *failover).await,
            Before::RdsReboot { database } => rds::reboot(hand, database, false).await,
            Before::RdsStop { database } => rds::stop(hand, database).await,
            Before::RdsFailoverCluster { cluster, reader, .. } => {
                rds::cluster::fail_over(hand, cluster, reader.as_deref()).await
            }
            Before::RdsSwitchoverGlobal(before) => rds::global::switch_over(hand, before).await,
            Before::RdsFailoverGlobal(before) => rds::global::fail_over(hand, before).await,
            Before::Route53InvertHealthCheck { checks } => route53::invert(hand, checks).await,
            Before::Route53ZeroWeight { hosted_zone, sets } => route53::zero_weight(hand, hosted_zone, sets).await,
            Before::Fis(before) => fis::inject(hand, before, expires).await,
            Before::Claim { .. } => Ok(()),
        }
    }

    /// Evidence of the effect, once it can be seen; `since` is the cloud time of the injection.
    pub(super) async fn observe(&self, hand: &Hand<'_>, since: f64) -> Result<Option<String>, ChaosError> {
        match self {
            Before::Ec2Stop { instances, .. } => ec2::observe_stopped(hand, instances).await,
            Before::Ec2Terminate { instances, .. } => ec2::observe_gone(hand, instances).await,
            Before::Ec2Reboot { group, instances } => ec2::observe_rebooting(hand, group, instances).await,
            Before::AutoScalingSuspend { group, processes } => autoscaling::observe(hand, group, processes).await,
            // FIS alone brings it about, and alone knows that it is there.
            Before::AutoScalingInsufficientCapacity { .. }
            | Before::Ec2SpotInterruption { .. }
            | Before::ApiErrors { .. }
            | Before::EbsPauseIo(_)
            | Before::EbsLatency(_)
            | Before::NetworkCrossRegion { .. }
            | Before::Claim { .. } => Ok(None),
            Before::AutoScalingSetUnhealthy { group, instances } => {
                autoscaling::observe_unhealthy(hand, group, instances).await
            }
            Before::ElbDeregister { targets } => elasticloadbalancingv2::observe_deregistered(hand, targets).await,
            Before::ElbBreakHealthCheck { groups } => elasticloadbalancingv2::observe_broken(hand, groups).await,
            Before::ElbZonalShift(before) => arczonalshift::observe(hand, before).await,
            Before::NetworkDenyAz(before) | Before::NetworkDenyRegion(before) => network::observe(hand, before).await,
            Before::RdsFailover {
                database, failover, az, ..
            } => rds::observe(hand, database, *failover, az, since).await,
            Before::RdsReboot { database } => rds::observe_restart(hand, database, since).await,
            Before::RdsStop { database } => rds::observe_stopped(hand, database).await,
            Before::RdsFailoverCluster { cluster, writer, .. } => {
                rds::cluster::observe(hand, cluster, writer, since).await
            }
            Before::RdsSwitchoverGlobal(before) | Before::RdsFailoverGlobal(before) => {
                rds::global::observe(hand, before).await
            }
            Before::Route53InvertHealthCheck { checks } => route53::observe_inverted(hand, checks).await,
            Before::Route53ZeroWeight { hosted_zone, sets } => route53::observe_zero(hand, hosted_zone, sets).await,
            Before::Fis(before) => fis::observe(hand, before, since).await,
        }
    }

    /// How much later than that of others its effect may show, cloud time.
    pub(super) fn due_after(&self) -> Duration {
        match self.world() {
            Before::Ec2SpotInterruption { .. } => ec2::SPOT_NOTICE,
            Before::EbsPauseIo(_) => ebs::IMPAIRED_WITHIN,
            _ => Duration::ZERO,
        }
    }

    /// How often it is looked after while it is in the world, cloud time; none where nothing could take it out of it.
    pub(super) fn tended_every(&self) -> Option<Duration> {
        match self {
            Before::ElbZonalShift(_) => Some(arczonalshift::RENEW_EVERY),
            // Of what nothing undoes, the end is the point.
            other => other.world().is_reversible().then_some(READ_BACK_EVERY),
        }
    }

    /// Looks after it: renews what would expire, and answers why it is over before its time, if it is.
    pub(super) async fn tend(&self, hand: &Hand<'_>) -> Result<Option<Over>, ChaosError> {
        let put_back = match self {
            Before::Fis(before) => return fis::over(hand, before).await,
            Before::Ec2Stop { instances, .. } => ec2::no_longer_stopped(hand, instances).await,
            Before::AutoScalingSuspend { group, processes } => {
                autoscaling::no_longer_suspended(hand, group, processes).await
            }
            Before::ElbDeregister { targets } => elasticloadbalancingv2::no_longer_deregistered(hand, targets).await,
            Before::ElbBreakHealthCheck { groups } => elasticloadbalancingv2::no_longer_broken(hand, groups).await,
            Before::ElbZonalShift(before) => arczonalshift::renew(hand, before).await,
            Before::NetworkDenyAz(before) | Before::NetworkDenyRegion(before) => {
                network::no_longer_cut(hand, before, false).await
            }
            Before::RdsStop { database } => rds::no_longer_stopped(hand, database).await,
            Before::Route53InvertHealthCheck { checks } => route53::no_longer_inverted(hand, checks).await,
            Before::Route53ZeroWeight { hosted_zone, sets } => route53::no_longer_zero(hand, hosted_zone, sets).await,
            Before::Claim { .. } | not_undone_by_us!() => Ok(None),
        };
        Ok(put_back?.map(Over::put_back))
    }

    /// One pass of the revert; `sure` keeps what earlier passes are sure of.
    pub(super) async fn undo(&self, hand: &Hand<'_>, sure: &mut BTreeSet<String>) -> Result<Pass, ChaosError> {
        match self {
            Before::Ec2Stop { instances, .. } => ec2::start_again(hand, instances).await,
            Before::AutoScalingSuspend { group, processes } => autoscaling::resume(hand, group, processes).await,
            Before::ElbDeregister { targets } => elasticloadbalancingv2::register_again(hand, targets).await,
            Before::ElbBreakHealthCheck { groups } => elasticloadbalancingv2::mend_path(hand, groups).await,
            Before::ElbZonalShift(before) => arczonalshift::cancel(hand, before).await,
            Before::NetworkDenyAz(before) | Before::NetworkDenyRegion(before) => {
                network::undo(hand, before, sure).await
            }
            Before::RdsStop { database } => rds::start_again(hand, database).await,
            Before::Route53InvertHealthCheck { checks } => route53::turn_back(hand, checks).await,
            Before::Route53ZeroWeight { hosted_zone, sets } => route53::weigh_again(hand, hosted_zone, sets).await,
            Before::Fis(before) => fis::undo(hand, before, sure).await,
            // It is nothing but its mark.
            Before::Claim { .. } | not_undone_by_us!() => Ok(Pass {
                proven: true,
                ..Pass::default()
            }),
        }
    }

    /// The commands that undo it without us.
    pub(super) fn by_hand(&self, region: &str) -> String {
        let commands = match self {
            Before::Claim { run, index, on, .. } => claim::by_hand(self, &FaultId::claim(run, *index), on, region),
            Before::Ec2Stop { instances, .. } => {
                format!(
                    "`aws ec2 start-instances --region {region} --instance-ids {}`",
                    instances.join(" ")
                )
            }
            Before::AutoScalingSuspend { group, processes } => format!(
                "`aws autoscaling resume-processes --region {region} --auto-scaling-group-name {group} --scaling-processes {}`",
                processes.join(" ")
            ),
            Before::ElbDeregister { targets } => elasticloadbalancingv2::register_by_hand(targets, region),
            Before::ElbBreakHealthCheck { groups } => elasticloadbalancingv2::mend_by_hand(groups, region),
            Before::ElbZonalShift(before) => arczonalshift::by_hand(before, region),
            Before::NetworkDenyAz(before) | Before::NetworkDenyRegion(before) => network::by_hand(before, region),
            Before::RdsStop { database } => {
                format!(
                    "`aws rds start-db-instance --region {region} --db-instance-identifier {database}` once it is stopped"
                )
            }
            Before::Route53InvertHealthCheck { checks } => route53::turn_back_by_hand(checks),
            Before::Route53ZeroWeight { hosted_zone, sets } => route53::weigh_by_hand(hosted_zone, sets),
            Before::Fis(before) => fis::by_hand(before, region),
            not_undone_by_us!() => "nothing can be called back".to_owned(),
        };
        format!("to undo it by hand in {region}: {commands}")
    }
}
