//! What a run claims before it breaks anything: in every Region of its target one resource bears the run's mark for as long
//! as the run lasts, so that a run of another machine sees it before either has anything in the world.
//!
//! A claim is made on what the target's owner has marked as allowed, and on nothing else. Where a Region has nothing of
//! the kind, it is not claimed.

use serde::{Deserialize, Serialize};

use super::resolve::arn;
use super::{CallPlan, Plan, Role, TargetPlan};

/// What the calls that make a claim and end it write in the plan.
const TAG: &str = "tag tenfold:mark:* (whose run it is, and until when)";

/// What bears a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimOn {
    /// An Auto Scaling group, by name.
    Group(String),
    /// An RDS instance, by identifier.
    Database(String),
    /// An Aurora cluster, by identifier.
    Cluster(String),
}

impl ClaimOn {
    /// Its name or identifier.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            ClaimOn::Group(id) | ClaimOn::Database(id) | ClaimOn::Cluster(id) => id,
        }
    }

    /// The IAM actions that make a claim on it and that end one.
    fn actions(&self) -> (&'static str, &'static str) {
        match self {
            ClaimOn::Group(_) => ("autoscaling:CreateOrUpdateTags", "autoscaling:DeleteTags"),
            ClaimOn::Database(_) | ClaimOn::Cluster(_) => ("rds:AddTagsToResource", "rds:RemoveTagsFromResource"),
        }
    }
}

/// The claim of one Region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClaimPlan {
    /// Region.
    pub region: String,
    /// What bears it.
    pub on: ClaimOn,
    /// The call that makes it.
    pub call: CallPlan,
    /// The call that ends it.
    pub revert: CallPlan,
}

impl Plan {
    /// The claims of a run of this plan, in the order of its Regions; none where it breaks nothing.
    #[must_use]
    pub fn claims(&self) -> Vec<ClaimPlan> {
        let regions = self.target.regions.iter().filter(|_| self.has_faults());
        let claims =
            regions.filter_map(|region| Some(ClaimPlan::on(&self.target, region, bearer(&self.target, region)?)));
        claims.collect()
    }
}

impl ClaimPlan {
    /// The IAM action that makes it.
    pub(super) fn write(&self) -> &'static str {
        self.on.actions().0
    }

    /// The IAM action that ends it.
    pub(super) fn erase(&self) -> &'static str {
        self.on.actions().1
    }

    fn on(target: &TargetPlan, region: &str, on: ClaimOn) -> Self {
        let (service, resource, detail) = match &on {
            ClaimOn::Group(name) => (
                "autoscaling",
                format!("autoScalingGroup:*:autoScalingGroupName/{name}"),
                format!("AutoScalingGroupName={name}"),
            ),
            ClaimOn::Database(id) => ("rds", format!("db:{id}"), format!("DBInstanceIdentifier={id}")),
            ClaimOn::Cluster(id) => ("rds", format!("cluster:{id}"), format!("DBClusterIdentifier={id}")),
        };
        let (write, erase) = on.actions();
        let call = |action: &str| CallPlan {
            action: action.to_owned(),
            region: region.to_owned(),
            detail: format!("{detail} {TAG}"),
            resources: vec![arn(target, region, service, &resource)],
        };
        Self {
            region: region.to_owned(),
            call: call(write),
            revert: call(erase),
            on,
        }
    }
}

/// What bears the claim of a Region: a group before a database, whose tags are looked at more often.
fn bearer(target: &TargetPlan, region: &str) -> Option<ClaimOn> {
    let found = target.inventory.regions.get(region)?;
    let covers = |tags| target.allow.as_ref().is_some_and(|allow| allow.covers(tags));
    let of_role = |role: &Role| match role {
        Role::AutoScalingGroup(name) => {
            let group = found.groups.get(name)?;
            covers(&group.tags).then(|| (0, ClaimOn::Group(name.clone())))
        }
        Role::DbInstance(id) => {
            let database = found.databases.get(id)?;
            covers(&database.tags).then(|| (1, ClaimOn::Database(id.clone())))
        }
        Role::DbCluster(id) => {
            let cluster = found.clusters.get(id)?;
            covers(&cluster.tags).then(|| (2, ClaimOn::Cluster(id.clone())))
        }
        Role::IamRole(_) | Role::Dns { .. } => None,
    };
    let able = target.roles.values().filter_map(of_role);
    able.min_by_key(|(rank, _)| *rank).map(|(_, on)| on)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::plan::{Allow, InventoryCluster, InventoryDatabase, InventoryGroup, InventoryRegion};

    const REGION: &str = "eu-west-1";

    fn tags(value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("chaos".to_owned(), value.to_owned())])
    }

    /// A target with a group, a database and a cluster, each with its tag.
    fn target(group: &str, database: &str, cluster: &str) -> TargetPlan {
        let mut target = TargetPlan::entry("shop".to_owned(), "http".to_owned(), "shop".to_owned(), 80);
        target.account = Some("111122223333".to_owned());
        target.allow = Some(Allow::up_to(Some(("chaos".to_owned(), "allowed".to_owned())), 1.0));
        let roles = [
            ("a", Role::DbCluster("orders".to_owned())),
            ("b", Role::DbInstance("shop-db".to_owned())),
            ("c", Role::AutoScalingGroup("shop-web".to_owned())),
        ];
        target.roles = roles.map(|(name, role)| (name.to_owned(), role)).into();
        let mut found = InventoryRegion::default();
        let tags_of = |value| InventoryGroup {
            tags: tags(value),
            ..InventoryGroup::default()
        };
        found.groups.insert("shop-web".to_owned(), tags_of(group));
        let tags_of = |value| InventoryDatabase {
            tags: tags(value),
            ..InventoryDatabase::default()
        };
        found.databases.insert("shop-db".to_owned(), tags_of(database));
        let tags_of = |value| InventoryCluster {
            tags: tags(value),
            ..InventoryCluster::default()
        };
        found.clusters.insert("orders".to_owned(), tags_of(cluster));
        target.inventory.regions.insert(REGION.to_owned(), found);
        target
    }

    #[test]
    fn a_claim_is_made_on_what_may_be_touched_and_on_nothing_else() {
        let on = |group, database, cluster| bearer(&target(group, database, cluster), REGION);
        let yes = "allowed";
        assert_eq!(on(yes, yes, yes), Some(ClaimOn::Group("shop-web".to_owned())));
        assert_eq!(on("no", yes, yes), Some(ClaimOn::Database("shop-db".to_owned())));
        assert_eq!(on("no", "no", yes), Some(ClaimOn::Cluster("orders".to_owned())));
        assert_eq!(on("no", "no", "no"), None);
        assert_eq!(bearer(&target(yes, yes, yes), "us-east-1"), None, "nothing is there");
        let mut closed = target(yes, yes, yes);
        closed.allow = None;
        assert_eq!(bearer(&closed, REGION), None);
    }

    #[test]
    fn the_calls_of_a_claim_name_what_they_write_on() {
        let target = target("allowed", "allowed", "allowed");
        let claim = |on| ClaimPlan::on(&target, REGION, on);
        let group = claim(ClaimOn::Group("shop-web".to_owned()));
        assert_eq!(
            (group.write(), group.erase()),
            (group.call.action.as_str(), group.revert.action.as_str())
        );
        assert_eq!(
            group.call.resources,
            ["arn:aws:autoscaling:eu-west-1:111122223333:autoScalingGroup:*:autoScalingGroupName/shop-web"]
        );
        let database = claim(ClaimOn::Database("shop-db".to_owned()));
        assert_eq!(
            database.revert.resources,
            ["arn:aws:rds:eu-west-1:111122223333:db:shop-db"]
        );
        let cluster = claim(ClaimOn::Cluster("orders".to_owned()));
        assert_eq!(
            cluster.call.resources,
            ["arn:aws:rds:eu-west-1:111122223333:cluster:orders"]
        );
        assert!(
            cluster
                .call
                .detail
                .starts_with("DBClusterIdentifier=orders tag tenfold:mark:"),
            "{cluster:?}"
        );
    }
}
