//! EC2 instances: launch, boot, stop, start, reboot and terminate, with the delays of AWS's state machine.
//! Sockets are `data`'s: this opens an instance when its application is ready and closes it when it leaves.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use super::autoscaling::{self, targets};
use super::{pause, region_mut};
use crate::lab::Lab;
use crate::lab::error::AwsError;
use crate::lab::world::{CloudTime, Instance, InstanceState, Region, Tags, Volume};

/// Hosts below are the load balancers' and databases'.
const FIRST_HOST: u8 = 10;
/// Who ends an instance, as StateTransitionReason says it.
const USER: &str = "User initiated";
/// As above, of an interrupted Spot Instance.
pub const SERVICE: &str = "Service initiated";
/// How often an application looks for its notice [D: AWS recommends it].
const NOTICE_LOOK: Duration = Duration::from_secs(5);
/// How long a terminated instance stays visible, seconds.
const TERMINATED_VISIBLE_S: f64 = 3600.0;

/// What StopInstances and its kin answer per instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// Instance id.
    pub instance_id: String,
    /// The state it was in.
    pub previous: InstanceState,
    /// The state it is in now.
    pub current: InstanceState,
}

/// Launches an instance into a subnet; none when the subnet is unknown or full.
pub fn launch(lab: &Arc<Lab>, region: &str, subnet_id: &str, group: Option<&str>, mut tags: Tags) -> Option<String> {
    let id = lab.new_id("i-");
    let now = lab.now();
    {
        let mut world = lab.world();
        let state = world.regions.get_mut(region)?;
        let address = free_address(state, subnet_id)?;
        let az = state.subnets.get(subnet_id)?.az.clone();
        let volume_tags = tags.clone();
        if let Some(group) = group {
            tags.insert("aws:autoscaling:groupName".to_owned(), group.to_owned());
        }
        let instance = Instance {
            id: id.clone(),
            subnet_id: subnet_id.to_owned(),
            az,
            address,
            state: InstanceState::Pending,
            launched_at: now,
            running_at: None,
            ready_at: None,
            terminated_at: None,
            state_reason: String::new(),
            group: group.map(str::to_owned),
            spot: group.is_some_and(|group| autoscaling::launches_spot(state, group)),
            volume: Volume::root(&id, &volume_tags),
            tags,
        };
        state.instances.insert(id.clone(), instance);
    }
    tokio::spawn(boot(lab.clone(), region.to_owned(), id.clone()));
    Some(id)
}

/// TerminateInstances: sockets are reset at once; `terminated` follows.
pub fn terminate(lab: &Arc<Lab>, region: &str, ids: &[String]) -> Result<Vec<StateChange>, AwsError> {
    end(lab, region, ids, USER)
}

/// What AWS FIS does to Spot Instances: the notice now, and when its time is over they are ended by the service. The
/// notice goes to the instance's own metadata (`spot/instance-action`), which is not served here: that its application
/// reads it there shows in what it does then.
pub fn interrupt(lab: &Arc<Lab>, region: &str, ids: &[String], notice: Duration) -> Result<(), AwsError> {
    {
        let mut world = lab.world();
        let instances = &region_mut(&mut world, region)?.instances;
        let on_demand = ids
            .iter()
            .find(|id| instances.get(*id).is_none_or(|instance| !instance.spot));
        if let Some(id) = on_demand {
            let message = format!("The instance '{id}' is not a Spot Instance");
            return Err(AwsError::bad_request("InvalidParameterValue", message));
        }
    }
    let (lab, region, ids) = (lab.clone(), region.to_owned(), ids.to_vec());
    tokio::spawn(async move {
        let read_after = NOTICE_LOOK.min(notice);
        lab.clock.sleep_cloud(read_after).await;
        if lab.config.web.drains_on_notice {
            leave_rotation(&lab, &region, &ids);
        }
        lab.clock.sleep_cloud(notice - read_after).await;
        // One that has left meanwhile is gone already.
        let _ = end(&lab, &region, &ids, SERVICE);
    });
    Ok(())
}

/// What an application does that reads its notice: it takes itself out of its target groups, and ends what it has begun.
fn leave_rotation(lab: &Lab, region: &str, ids: &[String]) {
    let now = lab.now();
    if let Some(state) = lab.world().regions.get_mut(region) {
        for id in ids {
            targets::deregister(state, id, now);
        }
    }
}

fn end(lab: &Arc<Lab>, region: &str, ids: &[String], by: &str) -> Result<Vec<StateChange>, AwsError> {
    let changes = transition(lab, region, ids, by, |state| match state {
        InstanceState::ShuttingDown | InstanceState::Terminated => Ok(state),
        _ => Ok(InstanceState::ShuttingDown),
    })?;
    for change in changes.iter().filter(|c| c.previous != c.current) {
        lab.data.close_instance(&change.instance_id);
        tokio::spawn(settle(
            lab.clone(),
            region.to_owned(),
            change.instance_id.clone(),
            InstanceState::Terminated,
        ));
    }
    Ok(changes)
}

/// StopInstances.
pub fn stop(lab: &Arc<Lab>, region: &str, ids: &[String]) -> Result<Vec<StateChange>, AwsError> {
    let changes = transition(lab, region, ids, USER, |state| match state {
        InstanceState::Running | InstanceState::Pending => Ok(InstanceState::Stopping),
        InstanceState::Stopping | InstanceState::Stopped => Ok(state),
        _ => Err("stopped"),
    })?;
    for change in changes.iter().filter(|c| c.previous != c.current) {
        lab.data.close_instance(&change.instance_id);
        tokio::spawn(settle(
            lab.clone(),
            region.to_owned(),
            change.instance_id.clone(),
            InstanceState::Stopped,
        ));
    }
    Ok(changes)
}

/// StartInstances.
pub fn start(lab: &Arc<Lab>, region: &str, ids: &[String]) -> Result<Vec<StateChange>, AwsError> {
    let changes = transition(lab, region, ids, "", |state| match state {
        InstanceState::Stopped => Ok(InstanceState::Pending),
        InstanceState::Pending | InstanceState::Running => Ok(state),
        _ => Err("started"),
    })?;
    for change in changes.iter().filter(|c| c.previous != c.current) {
        tokio::spawn(boot(lab.clone(), region.to_owned(), change.instance_id.clone()));
    }
    Ok(changes)
}

/// RebootInstances: the state stays `running`, the application is gone until the system is up again.
pub fn reboot(lab: &Arc<Lab>, region: &str, ids: &[String]) -> Result<(), AwsError> {
    transition(lab, region, ids, "", |state| match state {
        InstanceState::Running => Ok(state),
        _ => Err("rebooted"),
    })?;
    let now = lab.now();
    for id in ids {
        if let Some(instance) = lab
            .world()
            .regions
            .get_mut(region)
            .and_then(|r| r.instances.get_mut(id))
        {
            instance.ready_at = None;
            instance.running_at = Some(now);
        }
        lab.data.close_instance(id);
        let (lab, region, id) = (lab.clone(), region.to_owned(), id.clone());
        tokio::spawn(async move {
            pause(&lab, lab.config.web.boot).await;
            become_ready(&lab, &region, &id, now).await;
        });
    }
    Ok(())
}

/// Forgets instances that were terminated more than an hour ago, as AWS does.
pub(super) fn forget_terminated(region: &mut Region, now: CloudTime) {
    region.instances.retain(|_, instance| {
        instance.state != InstanceState::Terminated
            || instance.terminated_at.is_none_or(|at| now - at < TERMINATED_VISIBLE_S)
    });
}

/// Puts every instance into its next state, or none when one is unknown or in the wrong state.
fn transition(
    lab: &Lab,
    region: &str,
    ids: &[String],
    reason: &str,
    next: impl Fn(InstanceState) -> Result<InstanceState, &'static str>,
) -> Result<Vec<StateChange>, AwsError> {
    let now = lab.now();
    let mut world = lab.world();
    let region = region_mut(&mut world, region)?;
    let mut changes = Vec::with_capacity(ids.len());
    for id in ids {
        let instance = region.instances.get(id).ok_or_else(|| {
            AwsError::bad_request(
                "InvalidInstanceID.NotFound",
                format!("The instance ID '{id}' does not exist"),
            )
        })?;
        let current = next(instance.state).map_err(|verb| {
            let message = format!("The instance '{id}' is not in a state from which it can be {verb}.");
            AwsError::bad_request("IncorrectInstanceState", message)
        })?;
        changes.push(StateChange {
            instance_id: id.clone(),
            previous: instance.state,
            current,
        });
    }
    for change in changes.iter().filter(|c| c.previous != c.current) {
        if let Some(instance) = region.instances.get_mut(&change.instance_id) {
            instance.state = change.current;
            instance.ready_at = None;
            instance.state_reason = if reason.is_empty() {
                String::new()
            } else {
                format!("{reason} ({} GMT)", spoken(now))
            };
            if change.current == InstanceState::ShuttingDown {
                instance.terminated_at = Some(now);
            }
        }
    }
    Ok(changes)
}

/// `2026-11-23 04:24:26`, as in StateTransitionReason.
fn spoken(at: CloudTime) -> String {
    super::iso(at).replace('T', " ").replace('Z', "")
}

/// Completes `stopping` or `shutting-down`.
async fn settle(lab: Arc<Lab>, region: String, id: String, state: InstanceState) {
    let takes = if state == InstanceState::Stopped {
        lab.config.ec2.stopping
    } else {
        lab.config.ec2.shutting_down
    };
    pause(&lab, takes).await;
    let mut world = lab.world();
    let Some(region) = world.regions.get_mut(&region) else {
        return;
    };
    let Some(instance) = region.instances.get_mut(&id) else {
        return;
    };
    // A stop that was overtaken by a termination must not bring the instance back.
    let expected = if state == InstanceState::Stopped {
        InstanceState::Stopping
    } else {
        InstanceState::ShuttingDown
    };
    if instance.state != expected {
        return;
    }
    instance.state = state;
    instance.running_at = None;
    if state == InstanceState::Terminated {
        for group in region.target_groups.values_mut() {
            group.targets.remove(&id);
        }
    }
}

async fn boot(lab: Arc<Lab>, region: String, id: String) {
    pause(&lab, lab.config.web.boot).await;
    let now = lab.now();
    {
        let mut world = lab.world();
        let Some(instance) = world.regions.get_mut(&region).and_then(|r| r.instances.get_mut(&id)) else {
            return;
        };
        if instance.state != InstanceState::Pending {
            return;
        }
        instance.state = InstanceState::Running;
        instance.running_at = Some(now);
    }
    become_ready(&lab, &region, &id, now).await;
}

/// Starts the application, unless the instance has left the run that began at `running_at`.
async fn become_ready(lab: &Arc<Lab>, region: &str, id: &str, running_at: CloudTime) {
    pause(lab, lab.config.web.app_start).await;
    let now = lab.now();
    let address = {
        let mut world = lab.world();
        let Some(instance) = world.regions.get_mut(region).and_then(|r| r.instances.get_mut(id)) else {
            return;
        };
        if instance.state != InstanceState::Running || instance.running_at != Some(running_at) {
            return;
        }
        instance.ready_at = Some(now);
        instance.address
    };
    lab.data.open_instance(lab, id, address);
    // It may have been terminated between the two steps; closing twice is harmless, serving on is not.
    let running = |i: &Instance| i.state == InstanceState::Running;
    if !lab
        .world()
        .regions
        .get(region)
        .and_then(|r| r.instances.get(id))
        .is_some_and(running)
    {
        lab.data.close_instance(id);
    }
}

fn free_address(region: &Region, subnet_id: &str) -> Option<Ipv4Addr> {
    let subnet = region.subnets.get(subnet_id)?;
    let taken: BTreeSet<Ipv4Addr> = region
        .instances
        .values()
        .filter(|i| i.state != InstanceState::Terminated)
        .map(|i| i.address)
        .collect();
    let second = 10u8.checked_add(region.index)?;
    (FIRST_HOST..=254)
        .map(|host| Ipv4Addr::new(127, second, subnet.az_index, host))
        .find(|a| !taken.contains(a))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::world::Subnet;

    fn region() -> Region {
        let mut region = Region {
            name: "us-east-1".into(),
            index: 1,
            ..Region::default()
        };
        let subnet = Subnet {
            id: "subnet-b".into(),
            az: "us-east-1b".into(),
            az_index: 2,
            cidr: "127.11.2.0/24".into(),
            acl_association_id: String::new(),
            network_acl_id: String::new(),
            silent: false,
            tags: Tags::new(),
        };
        region.subnets.insert(subnet.id.clone(), subnet);
        region
    }

    fn instance(id: &str, address: Ipv4Addr, state: InstanceState, terminated_at: Option<f64>) -> Instance {
        Instance {
            id: id.into(),
            subnet_id: "subnet-b".into(),
            az: "us-east-1b".into(),
            address,
            state,
            launched_at: 0.0,
            running_at: None,
            ready_at: None,
            terminated_at,
            state_reason: String::new(),
            group: None,
            spot: false,
            volume: Volume::root(id, &Tags::new()),
            tags: Tags::new(),
        }
    }

    #[test]
    fn addresses_follow_region_and_zone_and_are_reused_after_termination() {
        let mut region = region();
        assert_eq!(free_address(&region, "subnet-b"), Some(Ipv4Addr::new(127, 11, 2, 10)));
        assert_eq!(free_address(&region, "subnet-x"), None);
        let first = instance("i-1", Ipv4Addr::new(127, 11, 2, 10), InstanceState::Running, None);
        region.instances.insert("i-1".into(), first);
        assert_eq!(free_address(&region, "subnet-b"), Some(Ipv4Addr::new(127, 11, 2, 11)));
        region.instances.get_mut("i-1").unwrap().state = InstanceState::Terminated;
        assert_eq!(free_address(&region, "subnet-b"), Some(Ipv4Addr::new(127, 11, 2, 10)));
    }

    #[test]
    fn terminated_instances_are_forgotten_after_an_hour() {
        let mut region = region();
        let address = Ipv4Addr::new(127, 11, 2, 10);
        region.instances.insert(
            "i-1".into(),
            instance("i-1", address, InstanceState::Terminated, Some(0.0)),
        );
        region
            .instances
            .insert("i-2".into(), instance("i-2", address, InstanceState::Running, None));
        forget_terminated(&mut region, 3599.0);
        assert_eq!(region.instances.len(), 2);
        forget_terminated(&mut region, 3601.0);
        assert_eq!(region.instances.keys().collect::<Vec<_>>(), ["i-2"]);
    }
}
