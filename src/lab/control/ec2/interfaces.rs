//! Network interfaces: those of the load balancers' nodes, described as AWS describes its own, and one of each instance.

use std::net::Ipv4Addr;

use super::super::Call;
use super::super::value::{Value, list, map};
use super::filter::Filters;
use super::{in_region, paged};
use crate::lab::error::AwsError;
use crate::lab::world::{InstanceState, Region, Tags};

struct Interface<'r> {
    description: String,
    az: &'r str,
    subnet: &'r str,
    address: Ipv4Addr,
    instance: Option<&'r str>,
}

impl Interface<'_> {
    /// The same for the same address, as long as it is used.
    fn id(&self) -> String {
        format!("eni-{:017x}", u32::from(self.address))
    }
}

pub fn describe(call: &Call<'_>) -> Result<Value, AwsError> {
    let named = call.input.texts("NetworkInterfaceId");
    let filters = Filters::of(&call.input)?;
    in_region(call, |region, account| {
        let mut chosen = Vec::new();
        for interface in all(region) {
            let asked = named.is_empty() || named.contains(&interface.id().as_str());
            if asked && filters.pass(&Tags::new(), |name| values(region, &interface, name))? {
                chosen.push(interface);
            }
        }
        let (chosen, next) = paged(call, chosen, Interface::id)?;
        let shown = chosen.iter().map(|interface| shown(region, account, interface));
        Ok(map([
            ("networkInterfaceSet", list("item", shown)),
            ("nextToken", next.into()),
        ]))
    })
}

fn all(region: &Region) -> Vec<Interface<'_>> {
    let nodes = region.load_balancers.values().flat_map(|balancer| {
        let name = balancer.arn.split_once(":loadbalancer/").map_or("", |(_, name)| name);
        balancer.nodes.iter().map(move |node| Interface {
            description: format!("ELB {name}"),
            az: &node.az,
            subnet: &node.subnet_id,
            address: node.address,
            instance: None,
        })
    });
    let instances = region
        .instances
        .values()
        .filter(|instance| instance.state != InstanceState::Terminated)
        .map(|instance| Interface {
            description: String::new(),
            az: &instance.az,
            subnet: &instance.subnet_id,
            address: instance.address,
            instance: Some(&instance.id),
        });
    nodes.chain(instances).collect()
}

fn values(region: &Region, interface: &Interface<'_>, name: &str) -> Option<Vec<String>> {
    Some(match name {
        "description" => vec![interface.description.clone()],
        "availability-zone" => vec![interface.az.to_owned()],
        "subnet-id" => vec![interface.subnet.to_owned()],
        "vpc-id" => vec![region.vpc_id.clone()],
        "private-ip-address" | "addresses.private-ip-address" => vec![interface.address.to_string()],
        "attachment.instance-id" => interface.instance.map(str::to_owned).into_iter().collect(),
        "network-interface-id" => vec![interface.id()],
        _ => return None,
    })
}

fn shown(region: &Region, account: &str, interface: &Interface<'_>) -> Value {
    let attachment = interface
        .instance
        .map(|id| map([("instanceId", id.into()), ("status", "attached".into())]));
    map([
        ("networkInterfaceId", interface.id().into()),
        ("subnetId", interface.subnet.into()),
        ("vpcId", (&region.vpc_id).into()),
        ("availabilityZone", interface.az.into()),
        ("description", interface.description.as_str().into()),
        ("ownerId", account.into()),
        ("requesterManaged", interface.instance.is_none().into()),
        ("status", "in-use".into()),
        ("privateIpAddress", interface.address.to_string().into()),
        ("interfaceType", "interface".into()),
        ("attachment", attachment.unwrap_or(Value::Null)),
        ("tagSet", list::<Value>("item", [])),
    ])
}
