//! What an action does to the world, through the same functions as the direct calls, and how it is undone.

use std::sync::Arc;
use std::time::Duration;

use super::resolve::name_of;
use super::seconds_of;
use crate::lab::Lab;
use crate::lab::dynamics::{ebs, ec2, network, rds, region_mut, routes};
use crate::lab::error::AwsError;
use crate::lab::experiments::{Action, ApiError, ApiFault, Shortage, VolumeIo};
use crate::lab::world::{InstanceState, Tags};

/// The tag of what FIS creates.
const MANAGED: (&str, &str) = ("managedByFIS", "true");

/// What is in the world and how it was before.
#[derive(Debug)]
pub(super) enum Effect {
    /// Nothing to undo.
    Done,
    /// Instances that were stopped, to be started again.
    Stopped {
        ids: Vec<String>,
        /// A terminated instance is no failure.
        or_terminated: bool,
    },
    /// Groups whose launches fail, by the id of the shortage.
    Short(String),
    /// Subnets under a network ACL that denies everything.
    Cut(Vec<Cut>),
    /// Volumes whose I/O is disturbed, by the id of what disturbs them.
    Disturbed(String),
    /// Subnets from which another Region is not reached, by the id of what lets it be so.
    Isolated(String),
    /// Roles whose calls fail, by the id of what lets them.
    Failing(String),
}

/// One subnet that is cut off.
#[derive(Debug)]
pub(super) struct Cut {
    subnet: String,
    was_under: String,
    copy: String,
}

/// Does what the action does to these resources.
pub(super) fn begin(lab: &Arc<Lab>, region: &str, action: &Action, arns: &[String]) -> Result<Effect, AwsError> {
    let ids: Vec<String> = arns.iter().map(|arn| name_of(arn)).collect();
    let is = |parameter: &str| action.parameters.get(parameter).is_some_and(|value| value == "true");
    match action.action_id.as_str() {
        "aws:ec2:stop-instances" => {
            ec2::stop(lab, region, &ids)?;
            if !action.parameters.contains_key("startInstancesAfterDuration") {
                return Ok(Effect::Done);
            }
            let or_terminated = is("completeIfInstancesTerminated");
            Ok(Effect::Stopped { ids, or_terminated })
        }
        "aws:ec2:send-spot-instance-interruptions" => {
            let notice = action.parameters.get("durationBeforeInterruption");
            let notice = notice.and_then(|text| seconds_of(text)).unwrap_or_default();
            // Once it is sent it is not called back, whatever becomes of the experiment.
            ec2::interrupt(lab, region, &ids, Duration::from_secs_f64(notice)).map(|()| Effect::Done)
        }
        "aws:ebs:pause-volume-io" => ebs::disturb(lab, region, &ids, VolumeIo::Paused).map(Effect::Disturbed),
        "aws:ebs:volume-io-latency" => ebs::disturb(lab, region, &ids, slow_writes(action)).map(Effect::Disturbed),
        "aws:fis:inject-api-internal-error" => fail_calls(lab, region, action, ids, ApiError::Internal),
        "aws:fis:inject-api-throttle-error" => fail_calls(lab, region, action, ids, ApiError::Throttled),
        "aws:fis:inject-api-unavailable-error" => fail_calls(lab, region, action, ids, ApiError::Unavailable),
        "aws:ec2:terminate-instances" => ec2::terminate(lab, region, &ids).map(|_| Effect::Done),
        "aws:ec2:reboot-instances" => ec2::reboot(lab, region, &ids).map(|()| Effect::Done),
        "aws:rds:reboot-db-instances" => {
            for id in &ids {
                rds::reboot(lab, region, id, is("forceFailover"))?;
            }
            Ok(Effect::Done)
        }
        "aws:rds:failover-db-cluster" => {
            for id in &ids {
                rds::cluster::fail_over(lab, region, id, None)?;
            }
            Ok(Effect::Done)
        }
        "aws:ec2:asg-insufficient-instance-capacity-error" => short(lab, region, action, ids),
        "aws:network:route-table-disrupt-cross-region-connectivity" => {
            let to = action.parameters.get("region").map(String::as_str).unwrap_or_default();
            routes::isolate(lab, region, &ids, to).map(Effect::Isolated)
        }
        "aws:network:disrupt-connectivity" => {
            let mut cuts = Vec::new();
            for id in ids {
                match cut(lab, region, &id) {
                    Ok(cut) => cuts.push(cut),
                    Err(error) => {
                        // What was cut off already must not stay so.
                        let _ = Effect::Cut(cuts).undo(lab, region);
                        return Err(error);
                    }
                }
            }
            Ok(Effect::Cut(cuts))
        }
        _ => Ok(Effect::Done),
    }
}

fn slow_writes(action: &Action) -> VolumeIo {
    let number = |key: &str| action.parameters.get(key).and_then(|text| text.parse::<f64>().ok());
    VolumeIo::SlowWrites {
        percent: number("writeIOPercentage").unwrap_or_default(),
        by: Duration::from_secs_f64(number("writeIOLatencyMilliseconds").unwrap_or_default() / 1000.0),
    }
}

/// Lets calls of roles fail that the action names.
fn fail_calls(
    lab: &Arc<Lab>,
    region: &str,
    action: &Action,
    roles: Vec<String>,
    error: ApiError,
) -> Result<Effect, AwsError> {
    let text = |key: &str| action.parameters.get(key).map(String::as_str).unwrap_or_default();
    let id = lab.uuid();
    let mut world = lab.world();
    let faults = &mut region_mut(&mut world, region)?.fis.api_faults;
    faults.extend(roles.into_iter().map(|role| ApiFault {
        id: id.clone(),
        role,
        service: text("service").to_owned(),
        operations: text("operations").split(',').map(|one| one.trim().to_owned()).collect(),
        percent: text("percentage").parse().unwrap_or(100.0),
        error,
    }));
    Ok(Effect::Failing(id))
}

/// Lets the launches of groups fail in the AZs that the action names.
fn short(lab: &Arc<Lab>, region: &str, action: &Action, groups: Vec<String>) -> Result<Effect, AwsError> {
    let azs = action
        .parameters
        .get("availabilityZoneIdentifiers")
        .map(String::as_str)
        .unwrap_or_default();
    let percent = action.parameters.get("percentage").and_then(|text| text.parse().ok());
    let id = lab.uuid();
    let mut world = lab.world();
    let shortages = &mut region_mut(&mut world, region)?.fis.shortages;
    shortages.extend(groups.into_iter().map(|group| Shortage {
        id: id.clone(),
        group,
        azs: azs.split(',').map(|az| az.trim().to_owned()).collect(),
        percent: percent.unwrap_or(100.0),
    }));
    Ok(Effect::Short(id))
}

/// Puts a subnet under a network ACL of its own that denies everything.
fn cut(lab: &Arc<Lab>, region: &str, subnet: &str) -> Result<Cut, AwsError> {
    let (vpc, association, was_under) = {
        let world = lab.world();
        let state = world.regions.get(region);
        let found = state.and_then(|state| Some((state, state.subnets.get(subnet)?)));
        let (state, found) = found.ok_or_else(|| {
            let message = format!("The subnet ID '{subnet}' does not exist");
            AwsError::bad_request("InvalidSubnetID.NotFound", message)
        })?;
        (
            state.vpc_id.clone(),
            found.acl_association_id.clone(),
            found.network_acl_id.clone(),
        )
    };
    let tags = Tags::from([(MANAGED.0.to_owned(), MANAGED.1.to_owned())]);
    let copy = network::create_acl(lab, region, &vpc, tags, None)?.id;
    network::replace_association(lab, region, &association, &copy)?;
    Ok(Cut {
        subnet: subnet.to_owned(),
        was_under,
        copy,
    })
}

impl Effect {
    /// Undoes what it can; says whether all is done, or that something was changed by others and stays as it is.
    pub(super) fn undo(&mut self, lab: &Arc<Lab>, region: &str) -> Result<bool, String> {
        match self {
            Effect::Done => Ok(true),
            Effect::Stopped { ids, or_terminated } => start_again(lab, region, ids, *or_terminated),
            Effect::Short(id) => {
                if let Some(state) = lab.world().regions.get_mut(region) {
                    state.fis.shortages.retain(|one| one.id != *id);
                }
                Ok(true)
            }
            Effect::Failing(id) => {
                if let Some(state) = lab.world().regions.get_mut(region) {
                    state.fis.api_faults.retain(|one| one.id != *id);
                }
                Ok(true)
            }
            Effect::Isolated(id) => {
                routes::rejoin(lab, region, id);
                Ok(true)
            }
            Effect::Disturbed(id) => {
                ebs::mend(lab, region, id);
                Ok(true)
            }
            Effect::Cut(cuts) => {
                let changed: Vec<String> = cuts.drain(..).filter_map(|cut| mend(lab, region, &cut).err()).collect();
                if changed.is_empty() {
                    Ok(true)
                } else {
                    Err(changed.join("; "))
                }
            }
        }
    }
}

fn start_again(lab: &Arc<Lab>, region: &str, ids: &[String], or_terminated: bool) -> Result<bool, String> {
    let states: Vec<(&String, Option<InstanceState>)> = {
        let world = lab.world();
        let instances = world.regions.get(region).map(|state| &state.instances);
        let state = |id: &String| instances.and_then(|all| all.get(id)).map(|one| one.state);
        ids.iter().map(|id| (id, state(id))).collect()
    };
    let in_state = |wanted: InstanceState| states.iter().filter(move |(_, state)| *state == Some(wanted));
    let stopped: Vec<String> = in_state(InstanceState::Stopped).map(|(id, _)| (*id).clone()).collect();
    if !stopped.is_empty() {
        ec2::start(lab, region, &stopped).map_err(|error| error.to_string())?;
    }
    if in_state(InstanceState::Stopping).next().is_some() {
        return Ok(false);
    }
    let there = |state: &Option<InstanceState>| {
        state.is_some_and(|state| !matches!(state, InstanceState::ShuttingDown | InstanceState::Terminated))
    };
    match states.iter().find(|(_, state)| !there(state)) {
        Some((id, _)) if !or_terminated => Err(format!("{id} was terminated")),
        _ => Ok(true),
    }
}

fn mend(lab: &Arc<Lab>, region: &str, cut: &Cut) -> Result<(), String> {
    let association = {
        let world = lab.world();
        let subnet = world
            .regions
            .get(region)
            .and_then(|state| state.subnets.get(&cut.subnet));
        subnet
            .filter(|subnet| subnet.network_acl_id == cut.copy)
            .map(|subnet| subnet.acl_association_id.clone())
    };
    let Some(association) = association else {
        // Nobody uses it any more, and if it is gone already there is nothing left to do.
        let _ = network::delete_acl(lab, region, &cut.copy);
        return Err(format!("{} was put under another network ACL meanwhile", cut.subnet));
    };
    network::replace_association(lab, region, &association, &cut.was_under)
        .and_then(|_| network::delete_acl(lab, region, &cut.copy))
        .map_err(|error| error.to_string())
}
