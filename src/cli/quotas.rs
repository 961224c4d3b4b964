//! Whether what a plan needs fits beside what an account has already, by the quotas that AWS sets by default. Those that an
//! account has raised are not asked for.

use std::collections::BTreeSet;

use crate::aws::{AwsError, Reader};
use crate::plan::{Fault, FaultPlan, Plan};

/// Experiments of AWS FIS that may be active at the same time in a Region, and templates that there may be.
const EXPERIMENTS_MAX: usize = 5;
const TEMPLATES_MAX: usize = 500;
/// Network ACLs of a VPC.
const ACLS_MAX: usize = 200;

/// One quota that the plan needs something of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Quota {
    /// What is counted, and where.
    pub(super) of: String,
    /// What the plan needs at once.
    pub(super) needs: usize,
    /// What there is already.
    pub(super) used: usize,
    /// The quota.
    pub(super) most: usize,
}

impl Quota {
    pub(super) fn fits(&self) -> bool {
        self.needs + self.used <= self.most
    }

    pub(super) fn in_words(&self) -> String {
        format!(
            "{}: {} needed at once, {} there already, {} allowed by default",
            self.of, self.needs, self.used, self.most
        )
    }
}

/// The quotas that a plan's faults need in a Region.
pub(super) async fn quotas(plan: &Plan, reader: &Reader, region: &str) -> Result<Vec<Quota>, AwsError> {
    let mut quotas = Vec::new();
    let by_fis = most_at_once(plan, |fault| fault.region == region && fault.fis.is_some());
    if by_fis > 0 {
        let experiments = reader.experiments(region).await?;
        quotas.push(Quota {
            of: format!("active experiments of AWS FIS in {region}"),
            needs: by_fis,
            used: experiments.iter().filter(|one| !one.has_ended()).count(),
            most: EXPERIMENTS_MAX,
        });
        quotas.push(Quota {
            of: format!("experiment templates of AWS FIS in {region}"),
            needs: by_fis,
            used: reader.experiment_templates(region).await?.len(),
            most: TEMPLATES_MAX,
        });
    }
    let cuts = |fault: &FaultPlan| {
        let cuts = matches!(fault.fault, Fault::NetworkDenyAz { .. } | Fault::NetworkDenyRegion);
        cuts && fault.region == region
    };
    let cut = most_at_once(plan, cuts);
    if cut > 0 {
        let subnets = plan.target.inventory.regions.get(region).map(|found| &found.subnets);
        let vpcs: BTreeSet<&String> = subnets.into_iter().flatten().map(|subnet| &subnet.vpc).collect();
        for vpc in vpcs {
            quotas.push(Quota {
                of: format!("network ACLs of {vpc}"),
                needs: cut,
                used: reader.network_acls(region, vpc).await?.len(),
                most: ACLS_MAX,
            });
        }
    }
    Ok(quotas)
}

/// How many of these faults are in the world at the same time at most.
fn most_at_once(plan: &Plan, wanted: impl Fn(&FaultPlan) -> bool) -> usize {
    let all = plan.experiments.iter().flat_map(|experiment| &experiment.faults);
    let faults: Vec<&FaultPlan> = all.filter(|fault| wanted(fault)).collect();
    let there = |fault: &&FaultPlan| {
        let at = fault.at;
        faults
            .iter()
            .filter(|other| other.at <= at && at <= other.ends_at())
            .count()
    };
    faults.iter().map(there).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_that_is_used_up_does_not_fit() {
        let quota = |used| Quota {
            of: "active experiments".to_owned(),
            needs: 2,
            used,
            most: 5,
        };
        assert!(quota(3).fits() && !quota(4).fits());
        assert_eq!(
            quota(4).in_words(),
            "active experiments: 2 needed at once, 4 there already, 5 allowed by default"
        );
    }
}
