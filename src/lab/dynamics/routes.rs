//! Routes of subnets as AWS FIS changes them: what is sent to another Region vanishes, and what comes from there passes.
//! The lab has no route tables to show; what there is of them is their effect.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::region_mut;
use crate::lab::Lab;
use crate::lab::error::AwsError;
use crate::lab::experiments::RouteFault;

/// Lets what subnets send to the Region `to` vanish, as FIS demands; answers the id by which it ends.
pub fn isolate(lab: &Arc<Lab>, region: &str, subnets: &[String], to: &str) -> Result<String, AwsError> {
    if to == region {
        let message = format!("{to} is the Region of the subnets themselves.");
        return Err(AwsError::bad_request("InvalidParameterValue", message));
    }
    let id = lab.uuid();
    {
        let mut world = lab.world();
        let state = region_mut(&mut world, region)?;
        if let Some(unknown) = subnets.iter().find(|subnet| !state.subnets.contains_key(*subnet)) {
            let message = format!("The subnet ID '{unknown}' does not exist");
            return Err(AwsError::bad_request("InvalidSubnetID.NotFound", message));
        }
        state.fis.route_faults.extend(subnets.iter().map(|subnet| RouteFault {
            id: id.clone(),
            subnet: subnet.clone(),
            to: to.to_owned(),
        }));
    }
    settle(lab, region, subnets);
    Ok(id)
}

/// Ends what [`isolate`] began.
pub fn rejoin(lab: &Arc<Lab>, region: &str, id: &str) {
    let subnets: Vec<String> = {
        let mut world = lab.world();
        let Some(state) = world.regions.get_mut(region) else {
            return;
        };
        let over = state.fis.route_faults.extract_if(.., |one| one.id == id);
        over.map(|one| one.subnet).collect()
    };
    settle(lab, region, &subnets);
}

/// Lets the data plane know which Regions are not reached from subnets now.
fn settle(lab: &Arc<Lab>, region: &str, subnets: &[String]) {
    for subnet in subnets {
        let unreached: BTreeSet<String> = {
            let world = lab.world();
            let faults = world.regions.get(region).map(|state| &state.fis.route_faults);
            let of = faults.into_iter().flatten().filter(|one| one.subnet == *subnet);
            of.map(|one| one.to.clone()).collect()
        };
        lab.data.set_unreached(subnet, unreached);
    }
}
