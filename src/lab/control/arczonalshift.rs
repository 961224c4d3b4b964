//! ARC zonal shift over `restJson1`: shifts of the load balancers, and what they come to.

use super::Call;
use super::page::page;
use super::value::{Value, list, map, time};
use crate::lab::dynamics::zonal_shift;
use crate::lab::error::AwsError;
use crate::lab::world::{LoadBalancer, Region, ShiftStatus, ZonalShift};

/// The operation of a method and path, and the ids in the path.
pub fn operation<'p>(method: &str, segments: &[&'p str]) -> Option<(&'static str, Vec<&'p str>)> {
    Some(match (method, segments) {
        ("POST", ["zonalshifts"]) => ("StartZonalShift", vec![]),
        ("GET", ["zonalshifts"]) => ("ListZonalShifts", vec![]),
        ("PATCH", ["zonalshifts", id]) => ("UpdateZonalShift", vec![*id]),
        ("DELETE", ["zonalshifts", id]) => ("CancelZonalShift", vec![*id]),
        ("GET", ["managedresources"]) => ("ListManagedResources", vec![]),
        ("GET", ["managedresources", id]) => ("GetManagedResource", vec![*id]),
        _ => return None,
    })
}

/// Answers one operation.
pub fn answer(call: &Call<'_>) -> Result<Value, AwsError> {
    let answer = match call.action {
        "StartZonalShift" => start(call),
        "ListZonalShifts" => shifts(call),
        "UpdateZonalShift" => {
            let (expires_in, comment) = (call.input.text("expiresIn"), call.input.text("comment"));
            zonal_shift::update(call.lab, call.region, id(call), expires_in, comment).map(|shift| shown(&shift))
        }
        "CancelZonalShift" => zonal_shift::cancel(call.lab, call.region, id(call)).map(|shift| shown(&shift)),
        "ListManagedResources" => resources(call),
        "GetManagedResource" => resource(call),
        other => Err(call.unknown(other)),
    };
    answer.map_err(|error| match error.code.as_str() {
        "MissingParameter" | "InvalidParameterValue" => AwsError::bad_request("ValidationException", error.message),
        _ => error,
    })
}

fn id<'c>(call: &'c Call<'_>) -> &'c str {
    call.path_ids.first().map(String::as_str).unwrap_or_default()
}

fn start(call: &Call<'_>) -> Result<Value, AwsError> {
    let input = &call.input;
    let shift = zonal_shift::start(
        call.lab,
        call.region,
        input.required("resourceIdentifier")?,
        input.required("awayFrom")?,
        input.required("expiresIn")?,
        input.required("comment")?,
    )?;
    Ok(shown(&shift))
}

fn shown(shift: &ZonalShift) -> Value {
    map([
        ("zonalShiftId", (&shift.id).into()),
        ("resourceIdentifier", (&shift.resource).into()),
        ("awayFrom", (&shift.away_from).into()),
        ("expiryTime", time(shift.expires_at)),
        ("startTime", time(shift.started_at)),
        ("status", shift.status.name().into()),
        ("comment", (&shift.comment).into()),
        ("shiftType", "ZONAL_SHIFT".into()),
    ])
}

fn shifts(call: &Call<'_>) -> Result<Value, AwsError> {
    let (status, resource) = (call.query.text("status"), call.query.text("resourceIdentifier"));
    let world = call.lab.world();
    let region = world.regions.get(call.region).ok_or_else(|| call.unknown_region())?;
    let wanted = |shift: &&ZonalShift| {
        status.is_none_or(|status| status == shift.status.name())
            && resource.is_none_or(|resource| resource == shift.resource)
    };
    let found = region.zonal_shifts.values().filter(wanted).collect();
    paged(call, found, |shift: &&ZonalShift| shift.id.clone(), shown)
}

/// The page that the query asks for.
fn paged<T>(
    call: &Call<'_>,
    items: Vec<&T>,
    key: impl Fn(&&T) -> String,
    show: impl Fn(&T) -> Value,
) -> Result<Value, AwsError> {
    let most = call.query.whole("maxResults", 1..=100)?.unwrap_or(100) as usize;
    let (items, next) = page(items, key, call.query.text("nextToken"), most, "ValidationException")?;
    Ok(map([
        ("items", list("member", items.into_iter().map(show))),
        ("nextToken", next.into()),
    ]))
}

/// The members that a summary of a load balancer and its description share.
fn described(region: &Region, balancer: &LoadBalancer) -> [(&'static str, Value); 5] {
    let zone_id = |az: &str| {
        let subnet = region.subnets.values().find(|subnet| subnet.az == az);
        subnet.map(|subnet| region.zone_id(subnet)).unwrap_or_default()
    };
    let weights = balancer.nodes.iter().map(|node| {
        let weight = if region.is_shifted(&balancer.arn, &node.az) {
            0.0
        } else {
            1.0
        };
        (zone_id(&node.az).into(), Value::Float(weight))
    });
    let active = |shift: &&ZonalShift| shift.resource == balancer.arn && shift.status == ShiftStatus::Active;
    let shifts = region.zonal_shifts.values().filter(active).map(|shift| {
        let Value::Map(mut members) = shown(shift) else {
            return Value::Null;
        };
        members.push(("appliedStatus".into(), "APPLIED".into()));
        Value::Map(members)
    });
    [
        ("arn", (&balancer.arn).into()),
        ("name", (&balancer.name).into()),
        ("appliedWeights", Value::Map(weights.collect())),
        ("zonalShifts", list("member", shifts)),
        ("autoshifts", list::<Value>("member", [])),
    ]
}

fn resources(call: &Call<'_>) -> Result<Value, AwsError> {
    let world = call.lab.world();
    let region = world.regions.get(call.region).ok_or_else(|| call.unknown_region())?;
    let show = |balancer: &LoadBalancer| {
        let [arn, name, weights, shifts, autoshifts] = described(region, balancer);
        let zones = balancer.nodes.iter().map(|node| &node.az);
        let zones = ("availabilityZones", list("member", zones));
        map([arn, name, zones, weights, shifts, autoshifts])
    };
    let all = region.load_balancers.values().collect();
    paged(call, all, |balancer: &&LoadBalancer| balancer.arn.clone(), show)
}

fn resource(call: &Call<'_>) -> Result<Value, AwsError> {
    let world = call.lab.world();
    let region = world.regions.get(call.region).ok_or_else(|| call.unknown_region())?;
    let balancer = region.load_balancers.get(id(call)).ok_or_else(|| {
        let message = format!("Resource {} does not exist.", id(call));
        AwsError::not_found("ResourceNotFoundException", message)
    })?;
    Ok(map(described(region, balancer)))
}
