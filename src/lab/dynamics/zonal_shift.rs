//! Zonal shifts: the DNS answers of a load balancer leave out its node in one AZ, until the shift expires or is
//! cancelled. Connections that are open already stay, as on AWS. Not modelled: practice runs and autoshift.

use std::sync::Arc;

use super::{region_mut, sleep_until};
use crate::lab::Lab;
use crate::lab::error::AwsError;
use crate::lab::world::{CloudTime, Region, ShiftStatus, ZonalShift};

/// Longest time until a shift expires (documented: three days).
const LONGEST_S: f64 = 3.0 * 86_400.0;

/// `3m` or `2h` in cloud seconds.
fn seconds_of(expires_in: &str) -> Option<f64> {
    let (number, unit) = expires_in.split_at_checked(expires_in.len().checked_sub(1)?)?;
    let number: u32 = number.parse().ok().filter(|_| !number.starts_with(['0', '+']))?;
    let each = match unit {
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    Some(f64::from(number) * each).filter(|seconds| *seconds <= LONGEST_S)
}

fn invalid(message: String) -> AwsError {
    AwsError::bad_request("ValidationException", message)
}

fn expiry(lab: &Lab, expires_in: &str) -> Result<CloudTime, AwsError> {
    let seconds = seconds_of(expires_in).ok_or_else(|| invalid(format!("{expires_in} is no expiresIn.")))?;
    Ok(lab.now() + seconds)
}

fn no_shift(id: &str) -> AwsError {
    AwsError::not_found("ResourceNotFoundException", format!("Zonal shift {id} does not exist."))
}

/// StartZonalShift, of a load balancer by its ARN and away from an AZ by its id.
pub fn start(
    lab: &Arc<Lab>,
    region: &str,
    resource: &str,
    away_from: &str,
    expires_in: &str,
    comment: &str,
) -> Result<ZonalShift, AwsError> {
    let shift = ZonalShift {
        id: lab.uuid(),
        resource: resource.to_owned(),
        away_from: away_from.to_owned(),
        comment: comment.to_owned(),
        started_at: lab.now(),
        expires_at: expiry(lab, expires_in)?,
        status: ShiftStatus::Active,
    };
    {
        let mut world = lab.world();
        let state = region_mut(&mut world, region)?;
        if !state.load_balancers.contains_key(resource) {
            let message = format!("Resource {resource} does not exist.");
            return Err(AwsError::not_found("ResourceNotFoundException", message));
        }
        if !state.subnets.values().any(|subnet| state.zone_id(subnet) == away_from) {
            return Err(invalid(format!("{away_from} is no Availability Zone id of {region}.")));
        }
        if active(state, resource).is_some() {
            let message = format!("There is an active zonal shift of {resource} already.");
            return Err(AwsError::new("ConflictException", message, 409));
        }
        state.zonal_shifts.insert(shift.id.clone(), shift.clone());
    }
    tokio::spawn(expire(lab.clone(), region.to_owned(), shift.id.clone()));
    Ok(shift)
}

/// The shift that a resource is under now.
fn active<'r>(region: &'r Region, resource: &str) -> Option<&'r ZonalShift> {
    let mut shifts = region.zonal_shifts.values();
    shifts.find(|shift| shift.resource == resource && shift.status == ShiftStatus::Active)
}

/// UpdateZonalShift: expires so long from now instead.
pub fn update(
    lab: &Arc<Lab>,
    region: &str,
    id: &str,
    expires_in: Option<&str>,
    comment: Option<&str>,
) -> Result<ZonalShift, AwsError> {
    let expires_at = expires_in.map(|text| expiry(lab, text)).transpose()?;
    change(lab, region, id, |shift| {
        shift.expires_at = expires_at.unwrap_or(shift.expires_at);
        if let Some(comment) = comment {
            comment.clone_into(&mut shift.comment);
        }
    })
}

/// CancelZonalShift.
pub fn cancel(lab: &Arc<Lab>, region: &str, id: &str) -> Result<ZonalShift, AwsError> {
    change(lab, region, id, |shift| shift.status = ShiftStatus::Canceled)
}

fn change(lab: &Lab, region: &str, id: &str, change: impl FnOnce(&mut ZonalShift)) -> Result<ZonalShift, AwsError> {
    let mut world = lab.world();
    let shift = region_mut(&mut world, region)?
        .zonal_shifts
        .get_mut(id)
        .ok_or_else(|| no_shift(id))?;
    if shift.status != ShiftStatus::Active {
        let message = format!("Zonal shift {id} is not active.");
        return Err(AwsError::new("ConflictException", message, 409));
    }
    change(shift);
    Ok(shift.clone())
}

/// Ends a shift when it expires, which an update may put off.
async fn expire(lab: Arc<Lab>, region: String, id: String) {
    loop {
        let expires_at = {
            let now = lab.now();
            let mut world = lab.world();
            let shifts = world.regions.get_mut(&region).map(|state| &mut state.zonal_shifts);
            let Some(shift) = shifts.and_then(|shifts| shifts.get_mut(&id)) else {
                return;
            };
            if shift.status != ShiftStatus::Active {
                return;
            }
            if shift.expires_at <= now {
                shift.status = ShiftStatus::Expired;
                return;
            }
            shift.expires_at
        };
        sleep_until(&lab, expires_at).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_minutes_or_hours_up_to_three_days() {
        assert_eq!(seconds_of("3m"), Some(180.0));
        assert_eq!(seconds_of("72h"), Some(259_200.0));
        for wrong in ["", "m", "0m", "90s", "73h", "+1m", "1.5h", "3µ"] {
            assert_eq!(seconds_of(wrong), None, "{wrong}");
        }
    }
}
