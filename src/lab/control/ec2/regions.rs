//! Regions and Availability Zones.

use super::super::Call;
use super::super::value::{Value, fault, list, map};
use super::filter::Filters;
use super::in_region;
use crate::lab::error::AwsError;
use crate::lab::world::{Subnet, Tags};

pub fn describe_zones(call: &Call<'_>) -> Result<Value, AwsError> {
    let named = call.input.texts("ZoneName");
    let filters = Filters::of(&call.input)?;
    in_region(call, |region, _| {
        if let Some(unknown) = named
            .iter()
            .find(|name| !region.subnets.values().any(|subnet| subnet.az == **name))
        {
            return Err(fault(
                "InvalidParameterValue",
                format!("Invalid availability zone: [{unknown}]"),
            ));
        }
        let mut zones = Vec::new();
        let mut subnets: Vec<&Subnet> = region.subnets.values().collect();
        subnets.sort_by_key(|subnet| subnet.az_index);
        for subnet in subnets
            .into_iter()
            .filter(|subnet| named.is_empty() || named.contains(&subnet.az.as_str()))
        {
            let known = |name: &str| {
                Some(vec![match name {
                    "zone-name" => subnet.az.clone(),
                    "zone-id" => region.zone_id(subnet),
                    "region-name" => region.name.clone(),
                    "state" => "available".to_owned(),
                    "zone-type" => "availability-zone".to_owned(),
                    "opt-in-status" => "opt-in-not-required".to_owned(),
                    _ => return None,
                }])
            };
            if filters.pass(&Tags::new(), known)? {
                zones.push(map([
                    ("zoneName", (&subnet.az).into()),
                    ("zoneId", region.zone_id(subnet).into()),
                    ("zoneState", "available".into()),
                    ("zoneType", "availability-zone".into()),
                    ("regionName", (&region.name).into()),
                    ("groupName", (&region.name).into()),
                    ("optInStatus", "opt-in-not-required".into()),
                    ("messageSet", list::<Value>("item", [])),
                ]));
            }
        }
        Ok(map([("availabilityZoneInfo", list("item", zones))]))
    })
}

pub fn describe_regions(call: &Call<'_>) -> Result<Value, AwsError> {
    let named = call.input.texts("RegionName");
    let world = call.lab.world();
    if let Some(unknown) = named.iter().find(|name| !world.regions.contains_key(**name)) {
        return Err(fault("InvalidParameterValue", format!("Invalid region: [{unknown}]")));
    }
    let regions = world
        .regions
        .keys()
        .filter(|name| named.is_empty() || named.contains(&name.as_str()))
        .map(|name| {
            map([
                ("regionName", name.into()),
                ("regionEndpoint", format!("ec2.{name}.amazonaws.com").into()),
                ("optInStatus", "opt-in-not-required".into()),
            ])
        });
    Ok(map([("regionInfo", list("item", regions))]))
}
