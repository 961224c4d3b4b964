//! What the run's own faults take away, by their before-images: the guards count it from the intent on, while health
//! checks and describe calls still show the world as it was. Of a zonal shift and a broken health check only the world
//! tells.

use std::collections::BTreeMap;

use super::before::Before;
use super::guard::Refusal;
use crate::event::FaultId;

/// A fault of the run that is in the world or on its way there or back.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) fault: FaultId,
    pub(super) region: String,
    pub(super) before: Before,
}

/// All of them, but for the one that is being prepared.
#[derive(Clone, Debug, Default)]
pub(super) struct Own(Vec<Standing>);

impl FromIterator<Standing> for Own {
    fn from_iter<T: IntoIterator<Item = Standing>>(all: T) -> Self {
        Self(all.into_iter().collect())
    }
}

impl Own {
    fn of<'a>(&'a self, region: &'a str) -> impl Iterator<Item = &'a Standing> {
        self.0.iter().filter(move |standing| standing.region == region)
    }

    /// The Regions that are cut off, and by what.
    pub(super) fn cut_regions(&self) -> BTreeMap<String, FaultId> {
        let cut = self
            .0
            .iter()
            .filter(|standing| matches!(standing.before.world(), Before::NetworkDenyRegion(_)));
        cut.map(|standing| (standing.region.clone(), standing.fault.clone()))
            .collect()
    }

    /// The subnets of a Region that are cut off, and by what.
    pub(super) fn cut_subnets(&self, region: &str) -> BTreeMap<String, FaultId> {
        let subnets = self.of(region).flat_map(|standing| match standing.before.world() {
            Before::NetworkDenyAz(before) | Before::NetworkDenyRegion(before) => before
                .subnets
                .iter()
                .map(|one| (one.subnet.clone(), standing.fault.clone()))
                .collect(),
            _ => Vec::new(),
        });
        subnets.collect()
    }

    /// The instances of a Region that serve nobody, and by what; those in subnets that are cut off are not among them.
    pub(super) fn lost_instances(&self, region: &str) -> BTreeMap<String, FaultId> {
        let lost = self.of(region).flat_map(|standing| {
            let mut hit = hit(&standing.before);
            hit.retain(|(kind, _)| *kind == INSTANCE && !matches!(standing.before.world(), Before::EbsLatency(_)));
            hit.into_iter().map(|(_, id)| (id, standing.fault.clone()))
        });
        lost.collect()
    }

    /// Nothing that a fault would hit in a Region is hit already.
    pub(super) fn apart(&self, region: &str, before: &Before) -> Result<(), Refusal> {
        let wanted = hit(before);
        for standing in &self.0 {
            let taken = hit(&standing.before);
            let twice = wanted
                .iter()
                .find(|one| taken.contains(one) && (standing.region == region || one.0 == GLOBAL_CLUSTER));
            if let Some((kind, id)) = twice {
                let fault = &standing.fault;
                return Err(format!("{kind} {id} is already hit by {fault} of this run"));
            }
        }
        Ok(())
    }
}

const INSTANCE: &str = "instance";
const GLOBAL_CLUSTER: &str = "global cluster";

/// What is hit, each with its kind: a group and a database may have the same name.
fn hit(before: &Before) -> Vec<(&'static str, String)> {
    let (kind, ids) = match before.world() {
        Before::Ec2Stop { .. }
        | Before::Ec2Terminate { .. }
        | Before::Ec2Reboot { .. }
        | Before::Ec2SpotInterruption { .. }
        | Before::AutoScalingSetUnhealthy { .. }
        | Before::ElbDeregister { .. } => (INSTANCE, before.resources()),
        Before::EbsPauseIo(disks) | Before::EbsLatency(disks) => (INSTANCE, disks.instances.clone()),
        Before::ApiErrors { .. } => ("role", before.resources()),
        Before::AutoScalingSuspend { .. } | Before::AutoScalingInsufficientCapacity { .. } => {
            ("group", before.resources())
        }
        Before::ElbBreakHealthCheck { .. } => ("target group", before.resources()),
        Before::ElbZonalShift(_) => ("load balancer", before.resources()),
        Before::NetworkDenyAz(_) | Before::NetworkDenyRegion(_) | Before::NetworkCrossRegion { .. } => {
            ("subnet", before.resources())
        }
        Before::RdsFailover { .. } | Before::RdsReboot { .. } | Before::RdsStop { .. } => {
            ("database", before.resources())
        }
        Before::RdsFailoverCluster { .. } => ("cluster", before.resources()),
        Before::RdsSwitchoverGlobal(global) | Before::RdsFailoverGlobal(global) => {
            (GLOBAL_CLUSTER, vec![global.global.clone()])
        }
        Before::Route53InvertHealthCheck { .. } => ("health check", before.resources()),
        Before::Route53ZeroWeight { .. } => ("record", before.resources()),
        Before::Fis(_) => ("experiment", before.resources()),
        Before::Claim { .. } => ("claim", before.resources()),
    };
    ids.into_iter().map(|id| (kind, id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::chaos::before::{DisksBefore, NetworkBefore, SubnetBefore};

    fn standing(index: usize, region: &str, before: Before) -> Standing {
        Standing {
            fault: fault(index),
            region: region.to_owned(),
            before,
        }
    }

    fn fault(index: usize) -> FaultId {
        FaultId {
            experiment: "harm".to_owned(),
            index,
        }
    }

    fn stop(id: &str) -> Before {
        Before::Ec2Stop {
            group: "web".to_owned(),
            instances: vec![id.to_owned()],
        }
    }

    fn disks(id: &str) -> DisksBefore {
        DisksBefore {
            group: "web".to_owned(),
            instances: vec![id.to_owned()],
            volumes: vec![format!("vol-{id}")],
        }
    }

    fn network(subnet: &str) -> NetworkBefore {
        NetworkBefore {
            run: "run".to_owned(),
            subnets: vec![SubnetBefore {
                subnet: subnet.to_owned(),
                vpc: "vpc-1".to_owned(),
                association: "aclassoc-1".to_owned(),
                network_acl: "acl-1".to_owned(),
            }],
        }
    }

    #[test]
    fn one_resource_is_hit_by_one_fault_at_a_time() {
        let own = Own::from_iter([standing(0, "r", stop("i-1"))]);
        let refusal = own.apart("r", &Before::EbsPauseIo(disks("i-1"))).expect_err("twice");
        assert_eq!(refusal, "instance i-1 is already hit by harm[0] of this run");
        assert_eq!(own.apart("r", &stop("i-2")), Ok(()));
        // The same name in another Region, or of another kind, is something else.
        let stop_db = |name: &str| Before::RdsStop {
            database: name.to_owned(),
        };
        let own = Own::from_iter([standing(0, "r", stop_db("shop"))]);
        assert_eq!(own.apart("s", &stop_db("shop")), Ok(()));
        let suspend = Before::AutoScalingSuspend {
            group: "shop".to_owned(),
            processes: Vec::new(),
        };
        assert_eq!(own.apart("r", &suspend), Ok(()));
        assert!(own.apart("r", &stop_db("shop")).is_err());
    }

    #[test]
    fn what_faults_take_away_counts_in_their_region_alone() {
        let own = Own::from_iter([
            standing(0, "r", stop("i-1")),
            standing(1, "r", Before::EbsLatency(disks("i-2"))),
            standing(2, "r", Before::EbsPauseIo(disks("i-3"))),
            standing(3, "r", Before::NetworkDenyAz(network("subnet-1"))),
            standing(4, "s", Before::NetworkDenyRegion(network("subnet-2"))),
        ]);
        let lost = BTreeMap::from([("i-1".to_owned(), fault(0)), ("i-3".to_owned(), fault(2))]);
        assert_eq!(own.lost_instances("r"), lost, "what is slow still serves");
        assert!(own.lost_instances("s").is_empty());
        assert_eq!(
            own.cut_subnets("r"),
            BTreeMap::from([("subnet-1".to_owned(), fault(3))])
        );
        assert_eq!(own.cut_regions(), BTreeMap::from([("s".to_owned(), fault(4))]));
    }
}
