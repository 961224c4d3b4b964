//! A small cloud in memory behind the seam of faults, with stale answers and failures on demand; for unit tests only.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::cloud::{Cloud, Read, Wrote};
use crate::aws::{
    Association, AwsError, Called, DbEvent, DbInstance, ErrorKind, Group, Instance, Member, NetworkAcl, Subnet, Tags,
};
use crate::event::FaultId;
use crate::plan::{
    Allow, ClientPlan, DnsPolicy, ExperimentPlan, Fault, FaultPlan, HonestyPlan, Inventory, LoadModel, Plan, Role,
    TargetPlan, TlsSettings,
};
use crate::units::Pace;

pub(super) const ACCOUNT: &str = "111122223333";
pub(super) const REGION: &str = "us-east-1";

#[derive(Default)]
pub(super) struct World {
    pub(super) acls: Vec<NetworkAcl>,
    pub(super) subnets: Vec<Subnet>,
    pub(super) group: Option<Group>,
    pub(super) instances: Vec<Instance>,
    pub(super) database: Option<DbInstance>,
    pub(super) events: Vec<DbEvent>,
    /// Answers of `network_acls` that are given before the present one.
    pub(super) stale_acls: VecDeque<Vec<NetworkAcl>>,
    /// Calls that fail: name, how many of that name succeed before, kind.
    pub(super) failures: Vec<(&'static str, u32, ErrorKind)>,
    /// Changing calls in order.
    pub(super) calls: Vec<String>,
    pub(super) account: String,
    next: u32,
}

#[derive(Clone)]
pub(super) struct FakeCloud(pub(super) Arc<Mutex<World>>);

fn allowed() -> Tags {
    Tags::from([("chaos".to_owned(), "allowed".to_owned())])
}

impl FakeCloud {
    /// Three subnets under one ACL, three instances in service, a Multi-AZ database; everything tagged.
    pub(super) fn new() -> Self {
        let names = ["a", "b", "c"];
        let subnets: Vec<Subnet> = names
            .iter()
            .map(|az| Subnet {
                id: format!("subnet-{az}"),
                vpc: "vpc-1".to_owned(),
                az: format!("{REGION}{az}"),
                tags: allowed(),
            })
            .collect();
        let associations = subnets
            .iter()
            .map(|subnet| Association {
                id: format!("aclassoc-{}", subnet.id),
                subnet: subnet.id.clone(),
            })
            .collect();
        let members = names.map(|az| Member {
            id: format!("i-{az}"),
            az: format!("{REGION}{az}"),
            in_service: true,
        });
        let instances = members
            .iter()
            .map(|member| Instance {
                id: member.id.clone(),
                state: "running".to_owned(),
                az: member.az.clone(),
                tags: allowed(),
            })
            .collect();
        Self(Arc::new(Mutex::new(World {
            acls: vec![NetworkAcl {
                id: "acl-default".to_owned(),
                vpc: "vpc-1".to_owned(),
                tags: Tags::new(),
                associations,
            }],
            group: Some(Group {
                name: "shop-web".to_owned(),
                subnets: subnets.iter().map(|subnet| subnet.id.clone()).collect(),
                members: members.to_vec(),
                ..Group::default()
            }),
            subnets,
            instances,
            database: Some(DbInstance {
                id: "shop-db".to_owned(),
                status: "available".to_owned(),
                multi_az: true,
                az: "us-east-1a".to_owned(),
                secondary_az: Some("us-east-1b".to_owned()),
                tags: allowed(),
            }),
            account: ACCOUNT.to_owned(),
            ..World::default()
        })))
    }

    pub(super) fn with<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut self.0.lock().expect("no test panics while it holds the world"))
    }

    /// Which ACL each subnet is under.
    pub(super) fn placement(&self) -> BTreeMap<String, String> {
        self.with(|world| {
            let acls = world.acls.iter();
            acls.flat_map(|acl| acl.associations.iter().map(|one| (one.subnet.clone(), acl.id.clone())))
                .collect()
        })
    }

    fn change<T>(
        &self,
        name: &'static str,
        act: impl FnOnce(&mut World) -> Result<T, (&'static str, ErrorKind)>,
    ) -> Wrote<T> {
        self.with(|world| {
            world.calls.push(name.to_owned());
            let refused = |(code, kind): (&str, ErrorKind)| AwsError {
                action: name,
                region: REGION.to_owned(),
                code: code.to_owned(),
                message: "refused".to_owned(),
                kind,
                attempts: 1,
            };
            if let Some(at) = world.failures.iter().position(|(call, _, _)| *call == name) {
                let (_, before, kind) = &mut world.failures[at];
                if *before == 0 {
                    let kind = *kind;
                    world.failures.remove(at);
                    return Err(refused(("Injected", kind)));
                }
                *before -= 1;
            }
            let value = act(world).map_err(refused)?;
            let retried = Vec::new();
            Ok(Called { value, retried })
        })
    }
}

impl Cloud for FakeCloud {
    async fn account(&self, _: &str) -> Read<String> {
        Ok(self.with(|world| world.account.clone()))
    }

    async fn group(&self, _: &str, name: &str) -> Read<Option<Group>> {
        Ok(self.with(|world| world.group.clone().filter(|group| group.name == name)))
    }

    async fn instances(&self, _: &str, ids: &[String]) -> Read<Vec<Instance>> {
        let wanted = |instance: &&Instance| ids.contains(&instance.id);
        Ok(self.with(|world| world.instances.iter().filter(wanted).cloned().collect()))
    }

    async fn terminate(&self, _: &str, ids: &[String]) -> Wrote<()> {
        self.change("terminate", |world| {
            for instance in world.instances.iter_mut().filter(|instance| ids.contains(&instance.id)) {
                instance.state = "shutting-down".to_owned();
            }
            Ok(())
        })
    }

    async fn db_instance(&self, _: &str, id: &str) -> Read<Option<DbInstance>> {
        Ok(self.with(|world| world.database.clone().filter(|database| database.id == id)))
    }

    async fn db_events(&self, _: &str, _: &str, since: f64) -> Read<Vec<DbEvent>> {
        let recent = |event: &&DbEvent| event.date >= since;
        Ok(self.with(|world| world.events.iter().filter(recent).cloned().collect()))
    }

    async fn reboot(&self, _: &str, _: &str, failover: bool) -> Wrote<()> {
        let name = if failover { "reboot with failover" } else { "reboot" };
        self.change(name, |world| {
            if let Some(database) = &mut world.database {
                database.status = "rebooting".to_owned();
            }
            Ok(())
        })
    }

    async fn subnets(&self, _: &str, ids: &[String]) -> Read<Vec<Subnet>> {
        let wanted = |subnet: &&Subnet| ids.contains(&subnet.id);
        Ok(self.with(|world| world.subnets.iter().filter(wanted).cloned().collect()))
    }

    async fn subnets_of(&self, _: &str, vpc: &str) -> Read<Vec<Subnet>> {
        let wanted = |subnet: &&Subnet| subnet.vpc == vpc;
        Ok(self.with(|world| world.subnets.iter().filter(wanted).cloned().collect()))
    }

    async fn network_acls(&self, _: &str, _: &str) -> Read<Vec<NetworkAcl>> {
        Ok(self.with(|world| world.stale_acls.pop_front().unwrap_or_else(|| world.acls.clone())))
    }

    async fn create_acl(&self, _: &str, vpc: &str, tags: &Tags, _: &str) -> Wrote<String> {
        self.change("create", |world| {
            world.next += 1;
            let id = format!("acl-new-{}", world.next);
            world.acls.push(NetworkAcl {
                id: id.clone(),
                vpc: vpc.to_owned(),
                tags: tags.clone(),
                associations: Vec::new(),
            });
            Ok(id)
        })
    }

    async fn replace_association(&self, _: &str, association: &str, acl: &str) -> Wrote<String> {
        self.change("replace", |world| {
            if !world.acls.iter().any(|one| one.id == acl) {
                return Err(("InvalidNetworkAclID.NotFound", ErrorKind::NotFound));
            }
            let from = world.acls.iter_mut().find_map(|one| {
                let at = one.associations.iter().position(|known| known.id == association)?;
                Some(one.associations.remove(at))
            });
            let mut moved = from.ok_or(("InvalidAssociationID.NotFound", ErrorKind::NotFound))?;
            world.next += 1;
            moved.id = format!("aclassoc-new-{}", world.next);
            let id = moved.id.clone();
            let to = world.acls.iter_mut().find(|one| one.id == acl);
            to.expect("it was looked for above").associations.push(moved);
            Ok(id)
        })
    }

    async fn delete_acl(&self, _: &str, acl: &str) -> Wrote<()> {
        self.change("delete", |world| {
            let at = world.acls.iter().position(|one| one.id == acl);
            let at = at.ok_or(("InvalidNetworkAclID.NotFound", ErrorKind::NotFound))?;
            if !world.acls[at].associations.is_empty() {
                return Err(("DependencyViolation", ErrorKind::Other));
            }
            world.acls.remove(at);
            Ok(())
        })
    }
}

pub(super) fn target() -> TargetPlan {
    TargetPlan {
        name: "test".to_owned(),
        scheme: "http".to_owned(),
        host: "shop.example.com".to_owned(),
        port: 80,
        resolver: None,
        endpoint: None,
        account: Some(ACCOUNT.to_owned()),
        regions: vec![REGION.to_owned(), "eu-west-1".to_owned()],
        roles: BTreeMap::from([
            ("web".to_owned(), Role::AutoScalingGroup("shop-web".to_owned())),
            ("database".to_owned(), Role::DbInstance("shop-db".to_owned())),
        ]),
        allow: Some(Allow {
            tag: Some(("chaos".to_owned(), "allowed".to_owned())),
            share: 0.34,
        }),
        served_by: None,
        edge: BTreeMap::new(),
        inventory: Inventory::default(),
    }
}

/// A plan with one experiment per fault, named after it.
pub(super) fn plan() -> Plan {
    let faults = [
        ("loss", "web", Fault::Ec2Terminate { share: 0.34 }),
        ("failover", "database", Fault::RdsFailover),
        ("blackout", "web", Fault::NetworkDenyRegion),
    ];
    let experiments = faults.into_iter().map(|(name, role, fault)| ExperimentPlan {
        name: name.to_owned(),
        hypothesis: String::new(),
        faults: vec![FaultPlan {
            fault,
            role: role.to_owned(),
            region: REGION.to_owned(),
            at: Duration::ZERO,
            revert_at: None,
            calls: Vec::new(),
            reverts: Vec::new(),
            resources: Vec::new(),
            fidelity: String::new(),
        }],
        stop_when: Vec::new(),
        settle: Duration::ZERO,
    });
    Plan {
        rerun: String::new(),
        name: "test".to_owned(),
        seed: 1,
        pace: Pace::new(1000.0).expect("1000 is a pace"),
        target: target(),
        feeders: Vec::new(),
        journeys: Vec::new(),
        steps: Vec::new(),
        token_clients: Vec::new(),
        model: LoadModel::Users,
        loads: Vec::new(),
        spacing: crate::plan::Spacing::Even,
        stages: Vec::new(),
        client: ClientPlan {
            dns: DnsPolicy::HonourTtl,
            connections: crate::plan::Connections {
                pool: 1,
                ..crate::plan::Connections::default()
            },
            connect_timeout: Duration::from_secs(1),
            request_timeout: Duration::from_secs(1),
            rate_limit: None,
            shards: None,
            retries: None,
            tls: TlsSettings::default(),
            classes: Vec::new(),
            forced_lag: Duration::ZERO,
        },
        services: None,
        ledgers: BTreeMap::new(),
        probes: Vec::new(),
        experiments: experiments.collect(),
        objectives: Vec::new(),
        honesty: HonestyPlan {
            lag_p99_max: Duration::from_millis(50),
            cpu_max: 0.9,
            requests_min: 1,
            ..HonestyPlan::default()
        },
        ends_at: Duration::ZERO,
    }
}

pub(super) fn fault(experiment: &str) -> FaultId {
    FaultId {
        experiment: experiment.to_owned(),
        index: 0,
    }
}
