//! What must hold before anything is touched. Pure: facts in, a refusal in words out.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::aws::{ClusterMember, DbCluster, DbInstance, GlobalCluster, Group, Member, Tags, Target};
use crate::event::FaultId;
use crate::plan::{Allow, TargetPlan, how_many};

/// Why something must not be touched.
pub type Refusal = String;

/// The credentials belong to the account the target names.
pub fn account(target: &TargetPlan, found: &str) -> Result<(), Refusal> {
    match &target.account {
        Some(expected) => same_account(expected, found),
        None => Err("the target names no account, so nothing in it may be broken".to_owned()),
    }
}

/// Both are the same account.
pub fn same_account(expected: &str, found: &str) -> Result<(), Refusal> {
    if expected == found {
        Ok(())
    } else {
        Err(format!(
            "the credentials belong to account {found}, the target is {expected}"
        ))
    }
}

/// The Region belongs to the target.
pub fn region(target: &TargetPlan, region: &str) -> Result<(), Refusal> {
    if target.regions.iter().any(|known| known == region) {
        Ok(())
    } else {
        Err(format!("Region {region} does not belong to the target"))
    }
}

/// The target may be touched at this time.
pub fn open(allow: Option<&Allow>, at: Timestamp) -> Result<(), Refusal> {
    let calendar = allow.and_then(|allow| allow.calendar.as_ref());
    calendar.map_or(Ok(()), |calendar| calendar.check(at))
}

/// The resource carries the tag that allows chaos; with no tag demanded, everything named by role may be touched.
pub fn tagged(allow: Option<&Allow>, what: &str, tags: &Tags) -> Result<(), Refusal> {
    let Some(allow) = allow else {
        return Err(format!(
            "the target allows nothing to be touched, so {what} is left alone"
        ));
    };
    match &allow.tag {
        Some((key, value)) if !allow.covers(tags) => Err(format!("{what} is not tagged {key}={value}")),
        _ => Ok(()),
    }
}

/// How many of `members` instances a fault with this share takes: rounded to the nearest, at least one, never more
/// than the target allows (but for the one), never the last.
pub fn victims(allow: Option<&Allow>, share: f64, members: usize) -> Result<usize, Refusal> {
    let Some(allow) = allow else {
        return Err("the target allows nothing to be touched".to_owned());
    };
    if share > allow.share + 1e-9 {
        return Err(format!(
            "a share of {:.1}% is more than the {:.1}% that the target allows",
            share * 100.0,
            allow.share * 100.0
        ));
    }
    let count = how_many(allow, share, members);
    if count < members {
        Ok(count)
    } else {
        Err(format!(
            "it would take {count} of {members} instances in service, the last one included"
        ))
    }
}

/// A group and the targets of its target groups, as they are at the moment.
#[derive(Clone, Debug)]
pub struct GroupFacts {
    /// The group.
    pub group: Group,
    /// Targets by the ARN of their target group.
    pub targets: Vec<(String, Vec<Target>)>,
    /// Instances that the run's own faults take away, whatever the health checks still say, and by what.
    pub lost: BTreeMap<String, FaultId>,
}

impl GroupFacts {
    /// Members that serve: in service, healthy to their group and to every load balancer, and not ours already.
    fn serving(&self) -> impl Iterator<Item = &Member> {
        let healthy_everywhere = |member: &&Member| {
            let is_it = |target: &Target| target.id == member.id && target.state == "healthy";
            self.targets.iter().all(|(_, targets)| targets.iter().any(is_it))
        };
        let members = self.group.members.iter();
        members
            .filter(|member| member.in_service && member.healthy && !self.lost.contains_key(&member.id))
            .filter(healthy_everywhere)
    }

    /// Nothing is broken in it already: it has as many instances in service as it wants, all healthy, and no target of it
    /// fails its health check. One that is still being registered is no failure.
    pub fn sound(&self) -> Result<(), Refusal> {
        let Group {
            name, desired, members, ..
        } = &self.group;
        let in_service = members.iter().filter(|member| member.in_service);
        let count = in_service.clone().count();
        if count < *desired as usize {
            return Err(format!(
                "group {name} is degraded already: {count} of {desired} instances are in service"
            ));
        }
        if let Some(ill) = in_service.clone().find(|member| !member.healthy) {
            return Err(format!("group {name} is degraded already: {} is unhealthy", ill.id));
        }
        for (arn, targets) in &self.targets {
            if let Some(ill) = targets.iter().find(|target| target.state == "unhealthy") {
                let reason = ill.reason.as_deref().unwrap_or("no reason given");
                return Err(format!(
                    "group {name} is degraded already: target {} of {arn} is unhealthy ({reason})",
                    ill.id
                ));
            }
        }
        Ok(())
    }

    /// Enough of it serves without those that are `taken`.
    pub fn enough_without(&self, allow: Option<&Allow>, taken: impl Fn(&Member) -> bool) -> Result<(), Refusal> {
        let least = allow.map_or(1, |allow| allow.healthy_min);
        let stay = self.serving().filter(|member| !taken(member)).count();
        if stay as u64 >= least {
            return Ok(());
        }
        let now = self.serving().count();
        Err(format!(
            "{stay} of the {now} healthy targets of group {} would stay, and at least {least} must (`allow.healthy_min`){}",
            self.group.name,
            already(self.group.members.iter().filter_map(|member| self.lost.get(&member.id)))
        ))
    }
}

/// A Multi-AZ instance has its standby.
pub fn redundant(region: &str, database: &DbInstance) -> Result<(), Refusal> {
    if database.multi_az && database.secondary_az.is_none() {
        return Err(format!(
            "{} in {region} has no standby at the moment, so its redundancy is already down",
            database.id
        ));
    }
    Ok(())
}

/// The instance is a reader of the cluster.
pub fn reads(region: &str, cluster: &DbCluster, name: &str) -> Result<(), Refusal> {
    let id = &cluster.id;
    match cluster.members.iter().find(|member| member.id == name) {
        None => Err(format!("{name} is no member of {id} in {region}")),
        Some(member) if member.writer => Err(format!("{name} is the writer of {id} in {region} already")),
        Some(_) => Ok(()),
    }
}

/// Every member of a cluster is available, and one beside the writer is there to take over.
pub fn can_take_over(region: &str, cluster: &DbCluster) -> Result<(), Refusal> {
    let id = &cluster.id;
    if let Some(member) = cluster.members.iter().find(|member| member.status != "available") {
        let ClusterMember { id: name, status, .. } = member;
        return Err(format!(
            "{name} of {id} in {region} is {status}, so its redundancy is already down"
        ));
    }
    if cluster.readers().next().is_none() {
        return Err(format!("{id} in {region} has no reader, so nobody could take over"));
    }
    Ok(())
}

/// Every cluster of a global one replicates, and nobody is about to take over.
pub fn whole(global: &GlobalCluster) -> Result<(), Refusal> {
    let GlobalCluster { id, status, .. } = global;
    if status != "available" {
        return Err(format!("the global cluster {id} is {status}, not available"));
    }
    match global.members.iter().find(|member| !member.connected) {
        Some(member) => Err(format!("{} of the global cluster {id} does not replicate", member.arn)),
        None => Ok(()),
    }
}

/// A cluster and its members are available, of which it has one at least.
pub fn serves(region: &str, cluster: &DbCluster) -> Result<(), Refusal> {
    let DbCluster {
        id, status, members, ..
    } = cluster;
    if status != "available" {
        return Err(format!("{id} in {region} is {status}, not available"));
    }
    match members.iter().find(|member| member.status != "available") {
        Some(member) => Err(format!("{} of {id} in {region} is {}", member.id, member.status)),
        None if members.is_empty() => Err(format!("{id} in {region} has no instance that could serve")),
        None => Ok(()),
    }
}

/// The harness does not run there: cut off, it could neither see nor undo anything.
pub fn not_own_subnet(own: Option<&str>, subnet: &str) -> Result<(), Refusal> {
    if own == Some(subnet) {
        Err(format!("this run itself is in {subnet}, and would cut itself off"))
    } else {
        Ok(())
    }
}

/// The harness does not act as this role: with its own calls failing it could neither see nor undo anything. `own` are
/// ARNs of whom it acts as, those of sessions or of roles.
pub fn not_own_role<'a>(own: impl IntoIterator<Item = &'a str>, role: &str) -> Result<(), Refusal> {
    let named = role_of(role);
    let is_it = |own: &str| own == role || (named.is_some() && role_of(own) == named);
    if own.into_iter().any(is_it) {
        Err(format!("this run itself acts as {role}, and would break its own calls"))
    } else {
        Ok(())
    }
}

/// AWS FIS does not act as this role (ARNs): an experiment whose own calls fail undoes nothing.
pub fn not_fis_role(fis: Option<&str>, role: &str) -> Result<(), Refusal> {
    match fis {
        Some(fis) if role_of(fis).is_some() && role_of(fis) == role_of(role) => {
            Err(format!("AWS FIS acts as {role}, and would undo nothing"))
        }
        _ => Ok(()),
    }
}

/// Account and name of a role, by its ARN or by that of a session of it. A session's ARN has no path, and needs none:
/// names are unique in an account, whatever their case (IAM User Guide, IAM identifiers).
fn role_of(arn: &str) -> Option<(&str, String)> {
    let mut parts = arn.splitn(6, ':').skip(2);
    let (service, _, account, resource) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let name = match service {
        "iam" => resource.strip_prefix("role/")?.rsplit('/').next()?,
        "sts" => resource.strip_prefix("assumed-role/")?.split('/').next()?,
        _ => return None,
    };
    Some((account, name.to_lowercase()))
}

/// Names the faults of the run that have taken the rest; says nothing where there are none.
pub fn already<'a>(by: impl IntoIterator<Item = &'a FaultId>) -> String {
    let names: BTreeSet<String> = by.into_iter().map(FaultId::to_string).collect();
    let names: Vec<String> = names.into_iter().collect();
    match names.as_slice() {
        [] => String::new(),
        names => format!("; of this run, {} hit the rest already", names.join(", ")),
    }
}

/// Another Region of the target stays in the world.
pub fn another_region(target: &TargetPlan, region: &str, cut: &BTreeMap<String, FaultId>) -> Result<(), Refusal> {
    let left = target
        .regions
        .iter()
        .any(|other| other != region && !cut.contains_key(other));
    if left {
        Ok(())
    } else {
        Err(format!(
            "{region} is the last Region of the target that is not cut off{}",
            already(cut.values())
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::GlobalMember;

    const ACCOUNT: &str = "111122223333";

    fn target() -> TargetPlan {
        let entry = TargetPlan::entry("test".to_owned(), "http".to_owned(), "shop.example.com".to_owned(), 80);
        TargetPlan {
            account: Some(ACCOUNT.to_owned()),
            regions: vec!["us-east-1".to_owned(), "eu-west-1".to_owned()],
            ..entry
        }
    }

    fn harm(index: usize) -> FaultId {
        FaultId {
            experiment: "harm".to_owned(),
            index,
        }
    }

    fn allow(share: f64) -> Allow {
        Allow::up_to(Some(("chaos".to_owned(), "allowed".to_owned())), share)
    }

    /// A group whose members are all in service and healthy.
    fn facts(azs: &[&str]) -> GroupFacts {
        let member = |(index, az): (usize, &&str)| Member {
            id: format!("i-{index}"),
            az: (*az).to_owned(),
            in_service: true,
            healthy: true,
        };
        let members: Vec<Member> = azs.iter().enumerate().map(member).collect();
        let target = |member: &Member| Target {
            id: member.id.clone(),
            state: "healthy".to_owned(),
            ..Target::default()
        };
        GroupFacts {
            targets: vec![("arn".to_owned(), members.iter().map(target).collect())],
            lost: BTreeMap::new(),
            group: Group {
                name: "web".to_owned(),
                desired: members.len() as u32,
                members,
                ..Group::default()
            },
        }
    }

    #[test]
    fn the_account_and_the_region_must_be_the_targets() {
        let mut target = target();
        assert!(account(&target, ACCOUNT).is_ok());
        assert!(account(&target, "999999999999").is_err());
        target.account = None;
        assert!(account(&target, ACCOUNT).is_err());
        assert!(region(&target, "us-east-1").is_ok());
        assert!(region(&target, "ap-south-1").is_err());
    }

    #[test]
    fn a_share_never_takes_more_than_allowed_nor_the_last_instance() {
        let cases = [
            (1.0 / 3.0, 3, Some(1)),
            (1.0 / 3.0, 4, Some(1)),
            (1.0 / 3.0, 5, Some(1)), // nearest would be 2, which is 40 %
            (1.0 / 3.0, 6, Some(2)),
            (0.34, 12, Some(4)),
            (0.01, 2, Some(1)),
            (0.34, 1, None),
            (0.34, 0, None),
            (0.5, 10, None),
        ];
        for (share, members, expected) in cases {
            assert_eq!(
                victims(Some(&allow(0.34)), share, members).ok(),
                expected,
                "{share} of {members}"
            );
        }
        assert!(victims(None, 0.1, 10).is_err());
        let few = Allow {
            count: Some(2),
            ..allow(1.0)
        };
        assert_eq!(victims(Some(&few), 0.5, 10), Ok(2));
    }

    #[test]
    fn only_what_is_tagged_may_be_touched() {
        let tags = |value: &str| Tags::from([("chaos".to_owned(), value.to_owned())]);
        assert!(tagged(Some(&allow(1.0)), "i-1", &tags("allowed")).is_ok());
        assert!(tagged(Some(&allow(1.0)), "i-1", &tags("never")).is_err());
        assert!(tagged(Some(&allow(1.0)), "i-1", &Tags::new()).is_err());
        assert!(tagged(None, "i-1", &tags("allowed")).is_err());
        assert!(tagged(Some(&Allow::up_to(None, 1.0)), "i-1", &Tags::new()).is_ok());
    }

    #[test]
    fn a_cluster_fails_over_only_while_all_of_it_is_there() {
        let member = |id: &str, writer: bool| ClusterMember {
            id: id.to_owned(),
            writer,
            status: "available".to_owned(),
            az: "a".to_owned(),
        };
        let mut cluster = DbCluster {
            id: "db".to_owned(),
            members: vec![member("db-1", true), member("db-2", false)],
            ..DbCluster::default()
        };
        assert_eq!(can_take_over("r", &cluster), Ok(()));
        assert_eq!(reads("r", &cluster, "db-2"), Ok(()));
        assert!(reads("r", &cluster, "db-1").is_err_and(|why| why.contains("the writer")));
        assert!(reads("r", &cluster, "db-3").is_err_and(|why| why.contains("no member")));
        cluster.members[1].status = "rebooting".to_owned();
        assert!(can_take_over("r", &cluster).is_err_and(|why| why.contains("db-2 of db in r is rebooting")));
        cluster.members.truncate(1);
        assert!(can_take_over("r", &cluster).is_err_and(|why| why.contains("no reader")));
    }

    #[test]
    fn a_global_cluster_is_handed_over_only_while_all_of_it_replicates() {
        let member = |connected| GlobalMember {
            arn: "arn".to_owned(),
            writer: false,
            connected,
        };
        let mut global = GlobalCluster {
            id: "all".to_owned(),
            status: "available".to_owned(),
            members: vec![member(true)],
        };
        assert_eq!(whole(&global), Ok(()));
        global.members.push(member(false));
        assert!(whole(&global).is_err_and(|why| why.contains("does not replicate")));
        global.status = "failing-over".to_owned();
        assert!(whole(&global).is_err_and(|why| why.contains("failing-over")));
        let mut cluster = DbCluster {
            id: "db".to_owned(),
            status: "available".to_owned(),
            ..DbCluster::default()
        };
        assert!(serves("r", &cluster).is_err_and(|why| why.contains("no instance")));
        cluster.members.push(ClusterMember {
            status: "available".to_owned(),
            ..ClusterMember::default()
        });
        assert_eq!(serves("r", &cluster), Ok(()));
        cluster.members[0].status = "rebooting".to_owned();
        assert!(serves("r", &cluster).is_err_and(|why| why.contains("rebooting")));
        cluster.status = "failing-over".to_owned();
        assert!(serves("r", &cluster).is_err_and(|why| why.contains("failing-over")));
    }

    #[test]
    fn what_is_degraded_already_is_left_alone() {
        type Change = fn(&mut GroupFacts);
        let cases: [(Change, &str); 4] = [
            (|facts| facts.group.desired = 4, "3 of 4 instances are in service"),
            (
                |facts| facts.group.members[1].in_service = false,
                "2 of 3 instances are in service",
            ),
            (|facts| facts.group.members[1].healthy = false, "i-1 is unhealthy"),
            (
                |facts| facts.targets[0].1[2].state = "unhealthy".to_owned(),
                "target i-2 of arn is unhealthy",
            ),
        ];
        assert_eq!(facts(&["a", "b", "c"]).sound(), Ok(()));
        for (change, said) in cases {
            let mut facts = facts(&["a", "b", "c"]);
            change(&mut facts);
            let refusal = facts.sound().expect_err(said);
            assert!(refusal.contains(said), "{refusal}");
        }
        let mut registering = facts(&["a", "b", "c"]);
        registering.targets[0].1[2].state = "initial".to_owned();
        assert_eq!(registering.sound(), Ok(()));
        let mut database = DbInstance {
            multi_az: true,
            ..DbInstance::default()
        };
        assert!(redundant("us-east-1", &database).is_err());
        database.secondary_az = Some("b".to_owned());
        assert!(redundant("us-east-1", &database).is_ok());
    }

    #[test]
    fn the_last_healthy_target_and_the_last_az_stay() {
        let three = facts(&["a", "b", "b"]);
        let least = |healthy_min| Allow {
            healthy_min,
            ..allow(1.0)
        };
        let one = |member: &Member| member.id == "i-0";
        assert!(three.enough_without(Some(&least(2)), one).is_ok());
        let refusal = three.enough_without(Some(&least(3)), one).expect_err("too few stay");
        assert!(
            refusal.contains("2 of the 3 healthy targets") && refusal.contains("at least 3"),
            "{refusal}"
        );
        assert!(three.enough_without(Some(&least(1)), |member| member.az == "b").is_ok());
        assert!(
            facts(&["b", "b"])
                .enough_without(None, |member| member.az == "b")
                .is_err()
        );
        // One that the load balancer does not send to yet is none that stays.
        let mut two = facts(&["a", "b"]);
        two.targets[0].1[1].state = "initial".to_owned();
        assert!(two.enough_without(Some(&least(1)), one).is_err());
    }

    #[test]
    fn what_the_run_itself_takes_away_is_not_healthy() {
        let mut three = facts(&["a", "b", "c"]);
        let least = Allow {
            healthy_min: 2,
            ..allow(1.0)
        };
        let one = |member: &Member| member.id == "i-0";
        assert_eq!(three.enough_without(Some(&least), one), Ok(()));
        three.lost = BTreeMap::from([("i-2".to_owned(), harm(1))]);
        let refusal = three.enough_without(Some(&least), one).expect_err("too few stay");
        assert!(
            refusal.contains("1 of the 2 healthy targets") && refusal.contains("harm[1]"),
            "{refusal}"
        );
        // Hit twice, it is lost once.
        let same = |member: &Member| member.id == "i-2";
        assert_eq!(three.enough_without(Some(&least), same), Ok(()));
    }

    #[test]
    fn the_run_does_not_cut_itself_off() {
        assert!(not_own_subnet(Some("subnet-1"), "subnet-1").is_err());
        assert!(not_own_subnet(Some("subnet-1"), "subnet-2").is_ok());
        assert!(not_own_subnet(None, "subnet-1").is_ok());
    }

    #[test]
    fn the_run_does_not_break_the_role_it_acts_as() {
        let own = [
            "arn:aws:sts::111122223333:assumed-role/Game-Day/tenfold",
            "arn:aws:iam::999988887777:role/hub",
        ];
        for role in [
            "arn:aws:iam::111122223333:role/Game-Day",
            "arn:aws:iam::111122223333:role/ops/game-day",
            "arn:aws:iam::999988887777:role/hub",
        ] {
            let refusal = not_own_role(own, role).expect_err(role);
            assert!(refusal.contains(role), "{refusal}");
        }
        for role in [
            "arn:aws:iam::111122223333:role/shop-web",
            "arn:aws:iam::111122223333:role/game-day/shop-web",
            "arn:aws:iam::999988887777:role/game-day",
            "arn:aws:iam::111122223333:user/game-day",
            "game-day",
        ] {
            assert_eq!(not_own_role(own, role), Ok(()), "{role}");
        }
        let user = "arn:aws:iam::111122223333:user/ops";
        assert!(not_own_role([user], "arn:aws:iam::111122223333:role/ops").is_ok());
    }

    #[test]
    fn fis_keeps_the_role_it_acts_as() {
        let fis = Some("arn:aws:iam::111122223333:role/tenfold-fis");
        assert!(not_fis_role(fis, "arn:aws:iam::111122223333:role/ops/Tenfold-FIS").is_err());
        assert!(not_fis_role(fis, "arn:aws:iam::111122223333:role/shop-web").is_ok());
        assert!(not_fis_role(None, "arn:aws:iam::111122223333:role/shop-web").is_ok());
    }

    #[test]
    fn outside_its_windows_the_target_is_left_alone() {
        let work = Allow {
            calendar: Some(crate::plan::Calendar {
                zone: "Europe/Berlin".to_owned(),
                windows: vec!["mon-fri 09:00-16:00".parse().unwrap()],
                not_on: Vec::new(),
            }),
            ..allow(1.0)
        };
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert!(open(Some(&work), at("2026-11-26T10:00:00Z")).is_ok());
        assert!(open(Some(&work), at("2026-11-26T16:00:00Z")).is_err());
        assert!(open(Some(&allow(1.0)), at("2026-11-26T16:00:00Z")).is_ok());
        assert!(open(None, at("2026-11-26T16:00:00Z")).is_ok());
    }

    #[test]
    fn the_last_region_stays() {
        let mut target = target();
        let cut = BTreeMap::from([("eu-west-1".to_owned(), harm(0))]);
        assert!(another_region(&target, "us-east-1", &BTreeMap::new()).is_ok());
        assert!(another_region(&target, "us-east-1", &cut).is_err_and(|why| why.contains("harm[0]")));
        target.regions.truncate(1);
        assert!(another_region(&target, "us-east-1", &BTreeMap::new()).is_err());
    }
}
