//! EBS volumes as AWS FIS disturbs them: I/O that is paused or takes longer, felt by the application that writes.
//! Nothing else happens to a volume here: it is born with its instance and goes with it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::region_mut;
use crate::lab::Lab;
use crate::lab::data::DiskIo;
use crate::lab::error::AwsError;
use crate::lab::experiments::{VolumeFault, VolumeIo};
use crate::lab::world::{CloudTime, InstanceState, Region};

/// How long I/O is stalled until the volume's status says so: EBS promises it within 120 s, and counts I/O as stalled after
/// a minute.
const IMPAIRED_AFTER_S: f64 = 60.0;

/// Disturbs the I/O of volumes, which are all in one AZ, as FIS demands; answers the id by which it ends.
pub fn disturb(lab: &Arc<Lab>, region: &str, volumes: &[String], io: VolumeIo) -> Result<String, AwsError> {
    let (id, since) = (lab.uuid(), lab.now());
    {
        let mut world = lab.world();
        let state = region_mut(&mut world, region)?;
        let mut azs = BTreeSet::new();
        for volume in volumes {
            azs.insert(az_of(state, volume).ok_or_else(|| no_volume(volume))?);
        }
        if azs.len() > 1 {
            let message = "The target volumes must be in the same Availability Zone.";
            return Err(AwsError::bad_request("InvalidParameterValue", message.to_owned()));
        }
        state.fis.volume_faults.extend(volumes.iter().map(|volume| VolumeFault {
            id: id.clone(),
            volume: volume.clone(),
            since,
            io,
        }));
    }
    settle(lab, region, volumes);
    Ok(id)
}

/// Ends what [`disturb`] began.
pub fn mend(lab: &Arc<Lab>, region: &str, id: &str) {
    let volumes: Vec<String> = {
        let mut world = lab.world();
        let Some(state) = world.regions.get_mut(region) else {
            return;
        };
        let over = state.fis.volume_faults.extract_if(.., |one| one.id == id);
        over.map(|one| one.volume).collect()
    };
    settle(lab, region, &volumes);
}

/// Whether the status checks of a volume fail.
#[must_use]
pub fn is_impaired(region: &Region, volume: &str, now: CloudTime) -> bool {
    let mut faults = region.fis.volume_faults.iter();
    faults.any(|one| one.volume == volume && one.io == VolumeIo::Paused && now - one.since >= IMPAIRED_AFTER_S)
}

fn no_volume(id: &str) -> AwsError {
    AwsError::bad_request("InvalidVolume.NotFound", format!("The volume '{id}' does not exist."))
}

fn az_of(region: &Region, volume: &str) -> Option<String> {
    let mut there = region
        .instances
        .values()
        .filter(|one| one.state != InstanceState::Terminated);
    there.find(|one| one.volume.id == volume).map(|one| one.az.clone())
}

/// Lets the data plane know what volumes are like now.
fn settle(lab: &Arc<Lab>, region: &str, volumes: &[String]) {
    let disks: Vec<(String, DiskIo)> = {
        let world = lab.world();
        let Some(state) = world.regions.get(region) else {
            return;
        };
        let of = state.instances.values().filter(|one| volumes.contains(&one.volume.id));
        of.map(|one| (one.id.clone(), felt(state, &one.volume.id))).collect()
    };
    for (instance, io) in disks {
        lab.data.set_disk(&instance, io);
    }
}

/// What all faults of a volume together come to; of several latencies the longest.
fn felt(region: &Region, volume: &str) -> DiskIo {
    let mut felt = DiskIo::default();
    for fault in region.fis.volume_faults.iter().filter(|one| one.volume == volume) {
        match fault.io {
            VolumeIo::Paused => felt.paused = true,
            VolumeIo::SlowWrites { percent, by } if by > felt.slower_by => {
                (felt.slow_percent, felt.slower_by) = (percent, by);
            }
            VolumeIo::SlowWrites { .. } => {}
        }
    }
    felt
}
