//! Faults against the inventory: which resources, which API calls, which reverts, and what is not reproduced.

use std::collections::BTreeSet;

use super::{
    CallPlan, Fault, Hits, InventoryCluster, InventoryDatabase, InventoryGroup, InventoryRecord, InventoryRegion,
    InventorySubnet, Role, TargetPlan, choose, how_many,
};

/// What a fault would touch and call.
#[derive(Debug, Default)]
pub(super) struct Effect {
    pub(super) resources: Vec<String>,
    pub(super) calls: Vec<CallPlan>,
    pub(super) reverts: Vec<CallPlan>,
}

impl Effect {
    /// With what the fault writes on what it changes before it changes it, and takes off when that is as it was. `on` is
    /// what is marked, and its ARNs.
    fn marked(mut self, fault: &Fault, calls: &Calls<'_>, on: Vec<(String, Vec<String>)>) -> Self {
        let Some((write, erase)) = fault.entry().marks() else {
            return self;
        };
        let all = |action: &str| -> Vec<CallPlan> {
            let mark = |(on, arns): &(String, Vec<String>)| {
                let detail = format!("{on} tag tenfold:mark:* (how it was)");
                calls.call(action, detail, arns)
            };
            on.iter().map(mark).collect()
        };
        self.reverts.extend(all(erase));
        self.calls.splice(..0, all(write));
        self
    }
}

/// What decides which of several a fault takes.
pub(super) struct Draw<'d> {
    pub(super) seed: u64,
    /// The fault's name among the plan's, `instance-loss[0]`.
    pub(super) fault: &'d str,
}

/// Resolves a fault; an empty effect when the target has nothing of the kind, which the run then finds inconclusive.
pub(super) fn effect(fault: &Fault, role: &Role, region: &str, target: &TargetPlan, draw: &Draw<'_>) -> Effect {
    let Some(found) = target.inventory.regions.get(region) else {
        return Effect::default();
    };
    let calls = Calls { region, target, draw };
    match role {
        Role::AutoScalingGroup(_) if matches!(fault, Fault::ElbZonalShift { .. }) => {
            calls.on_load_balancers(fault, found)
        }
        Role::AutoScalingGroup(name) => match found.groups.get(name) {
            Some(group) if fault.entry().hits == Hits::Group => calls.on_group(fault, name, group),
            _ => calls.on_network(fault, found),
        },
        Role::DbInstance(name) if fault.entry().hits == Hits::Database => match found.databases.get(name) {
            Some(database) => calls.on_database(fault, name, database),
            None => Effect::default(),
        },
        Role::IamRole(name) if fault.entry().hits == Hits::IamRole => Effect {
            resources: target.inventory.iam_roles.get(name).cloned().into_iter().collect(),
            ..Effect::default()
        },
        Role::DbCluster(name) if fault.entry().hits == Hits::Cluster => match found.clusters.get(name) {
            Some(cluster) => calls.on_cluster(fault, name, cluster),
            None => Effect::default(),
        },
        Role::Dns { hosted_zone, record } if fault.entry().hits == Hits::Dns => {
            let of_role = |one: &&InventoryRecord| one.hosted_zone == *hosted_zone && one.is_named(record);
            calls.on_records(fault, found.records.iter().filter(of_role))
        }
        _ => calls.on_network(fault, found),
    }
}

/// What a fault hits with these instances that no API injects; none for any other.
fn by_fis_alone(fault: &Fault, group: &InventoryGroup, instances: &[String]) -> Option<Vec<String>> {
    match fault {
        Fault::Ec2SpotInterruption { .. } => Some(instances.to_vec()),
        Fault::EbsPauseIo { .. } | Fault::EbsLatency { .. } => {
            let hit = group.instances.iter().filter(|one| instances.contains(&one.id));
            Some(hit.flat_map(|one| one.volumes.clone()).collect())
        }
        _ => None,
    }
}

/// The ARN of a resource of a Region of the target.
pub(super) fn arn(target: &TargetPlan, region: &str, service: &str, resource: &str) -> String {
    let account = target.account.as_deref().unwrap_or("*");
    format!("arn:{}:{service}:{region}:{account}:{resource}", partition(region))
}

fn partition(region: &str) -> &'static str {
    match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

/// Writes the calls of one Region.
struct Calls<'r> {
    region: &'r str,
    target: &'r TargetPlan,
    draw: &'r Draw<'r>,
}

impl Calls<'_> {
    fn call(&self, action: &str, detail: String, resources: &[String]) -> CallPlan {
        CallPlan {
            action: action.to_owned(),
            region: self.region.to_owned(),
            detail,
            resources: resources.to_vec(),
        }
    }

    /// The ARN of a resource of the Region.
    fn arn(&self, service: &str, resource: &str) -> String {
        arn(self.target, self.region, service, resource)
    }

    fn on_group(&self, fault: &Fault, name: &str, group: &InventoryGroup) -> Effect {
        // The middle of a group's ARN is an id that no call asks for.
        let arn = [self.arn(
            "autoscaling",
            &format!("autoScalingGroup:*:autoScalingGroupName/{name}"),
        )];
        if let Fault::AutoScalingSuspend { processes } = fault {
            let detail = format!("AutoScalingGroupName={name} ScalingProcesses={}", processes.join(","));
            let effect = Effect {
                resources: vec![name.to_owned()],
                calls: vec![self.call("autoscaling:SuspendProcesses", detail.clone(), &arn)],
                reverts: vec![self.call("autoscaling:ResumeProcesses", detail, &arn)],
            };
            let on = format!("AutoScalingGroupName={name}");
            return effect.marked(fault, self, vec![(on, arn.to_vec())]);
        }
        let target_groups: BTreeSet<&String> = group.target_groups.iter().collect();
        let on_target_groups = || -> Vec<(String, Vec<String>)> {
            let each = target_groups.iter();
            each.map(|arn| (format!("TargetGroupArn={arn}"), vec![(*arn).clone()]))
                .collect()
        };
        if matches!(fault, Fault::AutoScalingInsufficientCapacity { .. }) {
            return Effect {
                resources: vec![group.arn.clone()],
                ..Effect::default()
            };
        }
        if *fault == Fault::ElbBreakHealthCheck {
            let each = |now: &'static str| {
                move |arn: &&String| {
                    let detail = format!("TargetGroupArn={arn} HealthCheckPath={now}");
                    let arn = [(*arn).clone()];
                    self.call("elasticloadbalancing:ModifyTargetGroup", detail, &arn)
                }
            };
            let effect = Effect {
                resources: target_groups.iter().map(|arn| (*arn).clone()).collect(),
                calls: target_groups.iter().map(each("one that no target answers")).collect(),
                reverts: target_groups.iter().map(each("as it was")).collect(),
            };
            return effect.marked(fault, self, on_target_groups());
        }
        let spot = matches!(fault, Fault::Ec2SpotInterruption { .. });
        let resources = self.take(fault.share().unwrap_or_default(), group, spot);
        if resources.is_empty() {
            return Effect::default();
        }
        if let Some(resources) = by_fis_alone(fault, group, &resources) {
            return Effect {
                resources,
                ..Effect::default()
            };
        }
        let ids = resources.join(",");
        let instances = format!("InstanceIds={ids}");
        let arns: Vec<String> = resources
            .iter()
            .map(|id| self.arn("ec2", &format!("instance/{id}")))
            .collect();
        let targets = |action: &str| {
            let call = |arn: &&String| {
                let detail = format!("TargetGroupArn={arn} Targets={ids}");
                self.call(action, detail, &[(*arn).clone()])
            };
            target_groups.iter().map(call).collect::<Vec<_>>()
        };
        let (calls, reverts) = match fault {
            Fault::Ec2Stop { .. } => {
                let then = format!("{instances}, those that are stopped then");
                (
                    vec![self.call("ec2:StopInstances", instances, &arns)],
                    vec![self.call("ec2:StartInstances", then, &arns)],
                )
            }
            Fault::Ec2Terminate { .. } => (vec![self.call("ec2:TerminateInstances", instances, &arns)], Vec::new()),
            Fault::Ec2Reboot { .. } => (vec![self.call("ec2:RebootInstances", instances, &arns)], Vec::new()),
            Fault::AutoScalingSetUnhealthy { .. } => {
                let each = |id: &String| {
                    let detail = format!("InstanceId={id} HealthStatus=Unhealthy");
                    self.call("autoscaling:SetInstanceHealth", detail, &arn)
                };
                (resources.iter().map(each).collect(), Vec::new())
            }
            _ => (
                targets("elasticloadbalancing:DeregisterTargets"),
                targets("elasticloadbalancing:RegisterTargets"),
            ),
        };
        let on = match fault {
            Fault::Ec2Stop { .. } => vec![(format!("Resources={ids}"), arns.clone())],
            _ => on_target_groups(),
        };
        let effect = Effect {
            resources,
            calls,
            reverts,
        };
        effect.marked(fault, self, on)
    }

    /// The instances that a share of the group means now, of those that may be touched; only Spot Instances if `spot`.
    fn take(&self, share: f64, group: &InventoryGroup, spot: bool) -> Vec<String> {
        let Some(allow) = &self.target.allow else {
            return Vec::new();
        };
        let in_service: Vec<_> = group.instances.iter().filter(|one| one.in_service).collect();
        let own = self.target.runner.instance.as_ref();
        let candidates: Vec<String> = in_service
            .iter()
            .filter(|one| allow.covers(&one.tags) && Some(&one.id) != own && (one.spot || !spot))
            .map(|one| one.id.clone())
            .collect();
        let count = how_many(allow, share, in_service.len());
        choose(candidates, &[], count, self.draw.seed, self.draw.fault)
    }

    fn on_load_balancers(&self, fault: &Fault, found: &InventoryRegion) -> Effect {
        let Fault::ElbZonalShift { az } = fault else {
            return Effect::default();
        };
        // Only their names are known here.
        let arn = [self.arn("elasticloadbalancing", "loadbalancer/*")];
        let each = |action: &'static str| {
            let arn = arn.clone();
            move |name: &String| {
                let detail = format!("the load balancer {name}, awayFrom the id of {az}");
                self.call(action, detail, &arn)
            }
        };
        Effect {
            resources: found.load_balancers.clone(),
            calls: found
                .load_balancers
                .iter()
                .map(each("arc-zonal-shift:StartZonalShift"))
                .collect(),
            reverts: found
                .load_balancers
                .iter()
                .map(each("arc-zonal-shift:CancelZonalShift"))
                .collect(),
        }
    }

    fn on_database(&self, fault: &Fault, name: &str, database: &InventoryDatabase) -> Effect {
        let id = format!("DBInstanceIdentifier={name}");
        let arn = [self.arn("rds", &format!("db:{name}"))];
        let call = |action: &str, detail: String| vec![self.call(action, detail, &arn)];
        let (calls, reverts) = match fault {
            Fault::RdsFailover if database.multi_az => {
                let detail = format!("{id} ForceFailover=true");
                (call("rds:RebootDBInstance", detail), Vec::new())
            }
            Fault::RdsStop => (call("rds:StopDBInstance", id.clone()), call("rds:StartDBInstance", id)),
            _ => (call("rds:RebootDBInstance", id), Vec::new()),
        };
        let on = vec![(format!("DBInstanceIdentifier={name}"), arn.to_vec())];
        Effect {
            resources: vec![name.to_owned()],
            calls,
            reverts,
        }
        .marked(fault, self, on)
    }

    fn on_cluster(&self, fault: &Fault, name: &str, cluster: &InventoryCluster) -> Effect {
        let reader = match fault {
            Fault::RdsFailoverCluster { reader } => reader,
            Fault::RdsSwitchoverGlobal { to } => return self.hand_over(cluster, to, false),
            Fault::RdsFailoverGlobal { to } => return self.hand_over(cluster, to, true),
            _ => return Effect::default(),
        };
        let arn = [self.arn("rds", &format!("cluster:{name}"))];
        let writer = cluster.writer.as_ref().map_or("none", |(writer, _)| writer.as_str());
        let takes_over = match reader {
            Some(reader) => format!(" TargetDBInstanceIdentifier={reader}"),
            None => String::new(),
        };
        let detail = format!("DBClusterIdentifier={name}{takes_over} (the writer now: {writer})");
        Effect {
            resources: vec![name.to_owned()],
            calls: vec![self.call("rds:FailoverDBCluster", detail, &arn)],
            reverts: Vec::new(),
        }
    }

    /// To another Region's cluster of the same global one; nothing where there is none.
    fn hand_over(&self, cluster: &InventoryCluster, to: &str, loses: bool) -> Effect {
        let global = cluster.global.as_ref();
        let found = global.and_then(|global| Some((global, global.members.get(self.region)?, global.members.get(to)?)));
        let Some((global, from_arn, to_arn)) = found else {
            return Effect::default();
        };
        let both = vec![from_arn.clone(), to_arn.clone()];
        let account = self.target.account.as_deref().unwrap_or("*");
        let own = format!(
            "arn:{}:rds::{account}:global-cluster:{}",
            partition(self.region),
            global.id
        );
        let (action, loss) = if loses {
            ("rds:FailoverGlobalCluster", " AllowDataLoss=true")
        } else {
            ("rds:SwitchoverGlobalCluster", "")
        };
        let detail = format!(
            "GlobalClusterIdentifier={} TargetDbClusterIdentifier={to_arn}{loss}",
            global.id
        );
        let mut call = self.call(action, detail, &[both.as_slice(), &[own]].concat());
        // In a disaster only the Region that takes over would answer.
        if loses {
            call.region = to.to_owned();
        }
        Effect {
            resources: both,
            calls: vec![call],
            reverts: Vec::new(),
        }
    }

    fn on_records<'i>(&self, fault: &Fault, records: impl Iterator<Item = &'i InventoryRecord>) -> Effect {
        let mut effect = Effect::default();
        let mut bearers: BTreeSet<(String, String)> = BTreeSet::new();
        let mut records: Vec<&InventoryRecord> = records.collect();
        records.sort_by_key(|record| (&record.record_type, &record.set_identifier));
        for record in records {
            match (fault, &record.health_check, record.weight) {
                (Fault::Route53InvertHealthCheck, Some(check), _) if !effect.resources.contains(check) => {
                    let detail = |inverted: &str| format!("HealthCheckId={check} Inverted={inverted}");
                    let arn = [format!("arn:{}:route53:::healthcheck/{check}", partition(self.region))];
                    bearers.insert((format!("ResourceType=healthcheck ResourceId={check}"), arn[0].clone()));
                    effect.resources.push(check.clone());
                    effect
                        .calls
                        .push(self.call("route53:UpdateHealthCheck", detail("turned over"), &arn));
                    effect
                        .reverts
                        .push(self.call("route53:UpdateHealthCheck", detail("as it was"), &arn));
                }
                (Fault::Route53ZeroWeight, _, Some(weight)) if weight > 0 => {
                    let set = record.set_identifier.as_deref().unwrap_or_default();
                    let of = format!("{} {} of {}", record.name, record.record_type, record.hosted_zone);
                    let detail = |weight: i64| format!("UPSERT {of} SetIdentifier={set} Weight={weight}");
                    let zone = record.hosted_zone.trim_start_matches("/hostedzone/");
                    let arn = [format!("arn:{}:route53:::hostedzone/{zone}", partition(self.region))];
                    bearers.insert((format!("ResourceType=hostedzone ResourceId={zone}"), arn[0].clone()));
                    effect.resources.push(set.to_owned());
                    effect
                        .calls
                        .push(self.call("route53:ChangeResourceRecordSets", detail(0), &arn));
                    effect
                        .reverts
                        .push(self.call("route53:ChangeResourceRecordSets", detail(weight), &arn));
                }
                _ => {}
            }
        }
        let on = bearers.into_iter().map(|(on, arn)| (on, vec![arn]));
        effect.marked(fault, self, on.collect())
    }

    fn on_network(&self, fault: &Fault, found: &InventoryRegion) -> Effect {
        let cut = |subnet: &&InventorySubnet| match fault {
            Fault::NetworkDenyAz { az } => subnet.az == *az,
            fault => matches!(fault, Fault::NetworkDenyRegion | Fault::NetworkCrossRegion { .. }),
        };
        let mut subnets: Vec<&InventorySubnet> = found.subnets.iter().filter(cut).collect();
        subnets.sort_by_key(|subnet| &subnet.id);
        if matches!(fault, Fault::NetworkCrossRegion { .. }) {
            return Effect {
                resources: subnets.iter().map(|subnet| subnet.id.clone()).collect(),
                ..Effect::default()
            };
        }
        let vpcs: BTreeSet<&str> = subnets.iter().map(|subnet| subnet.vpc.as_str()).collect();
        let mut effect = Effect::default();
        for vpc in &vpcs {
            let detail = format!("VpcId={vpc} (a new ACL denies everything)");
            let arn = [self.arn("ec2", &format!("vpc/{vpc}"))];
            effect.calls.push(self.call("ec2:CreateNetworkAcl", detail, &arn));
        }
        for subnet in subnets {
            effect.resources.push(subnet.id.clone());
            let arn = [self.arn("ec2", &format!("subnet/{}", subnet.id))];
            // Without the id of the association, which is another one after each replacement: an approval outlives it.
            let detail = format!(
                "the association of {}: {} -> the new ACL",
                subnet.id, subnet.network_acl
            );
            effect
                .calls
                .push(self.call("ec2:ReplaceNetworkAclAssociation", detail, &arn));
            let detail = format!("the new association of {} -> {}", subnet.id, subnet.network_acl);
            effect
                .reverts
                .push(self.call("ec2:ReplaceNetworkAclAssociation", detail, &arn));
        }
        for vpc in &vpcs {
            let arn = [self.arn("ec2", "network-acl/*")];
            effect
                .reverts
                .push(self.call("ec2:DeleteNetworkAcl", format!("the new ACL of {vpc}"), &arn));
        }
        effect
    }
}
