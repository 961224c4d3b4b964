//! EC2: instances and their volumes, subnets, network ACLs, and the network interfaces of load balancers.

use std::net::IpAddr;

use aws_sdk_ec2::types::{Filter, ResourceType, Tag, TagSpecification};

use super::{AwsError, Called, Reader, Tags, Writer};

/// An instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    /// Id.
    pub id: String,
    /// `pending`, `running`, `shutting-down`, `terminated`, `stopping`, `stopped`.
    pub state: String,
    /// AZ.
    pub az: String,
    /// Subnet; none once it is terminated.
    pub subnet: Option<String>,
    /// Whether it is a Spot Instance.
    pub spot: bool,
    /// Ids of the EBS volumes attached to it.
    pub volumes: Vec<String>,
    /// Tags.
    pub tags: Tags,
}

/// An EBS volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Id.
    pub id: String,
    /// AZ.
    pub az: String,
    /// Tags.
    pub tags: Tags,
}

impl Instance {
    /// Whether it is terminated, or about to be.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self.state.as_str(), "shutting-down" | "terminated")
    }
}

/// A subnet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subnet {
    /// Id.
    pub id: String,
    /// VPC.
    pub vpc: String,
    /// AZ.
    pub az: String,
    /// Id of the AZ, which is the same in every account.
    pub az_id: String,
    /// Tags.
    pub tags: Tags,
}

/// A network ACL with the subnets it applies to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkAcl {
    /// Id.
    pub id: String,
    /// VPC.
    pub vpc: String,
    /// Tags.
    pub tags: Tags,
    /// Associations.
    pub associations: Vec<Association>,
}

/// Which subnet an ACL applies to; the id changes with every replacement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Association {
    /// Id of the association.
    pub id: String,
    /// Subnet.
    pub subnet: String,
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkInterface {
    /// Description; AWS writes `ELB app/NAME/ID` into those of its load balancers.
    pub description: String,
    /// AZ.
    pub az: String,
    /// Addresses, private and public.
    pub addresses: Vec<IpAddr>,
}

impl Reader {
    /// The network interfaces of a load balancer, by the end of its ARN (`app/NAME/ID`).
    pub async fn load_balancer_interfaces(&self, region: &str, name: &str) -> Result<Vec<NetworkInterface>, AwsError> {
        const ACTION: &str = "ec2:DescribeNetworkInterfaces";
        let clients = self.region(ACTION, region)?;
        let request = clients
            .ec2
            .describe_network_interfaces()
            .filters(filter("description", &format!("ELB {name}")));
        let pages = request.into_paginator().items().send();
        let found: Vec<_> = clients.gate.call(ACTION, pages.collect::<Result<_, _>>()).await?;
        Ok(found.into_iter().map(network_interface).collect())
    }

    /// The given instances, the terminated ones that AWS still remembers included.
    pub async fn instances(&self, region: &str, ids: &[String]) -> Result<Vec<Instance>, AwsError> {
        const ACTION: &str = "ec2:DescribeInstances";
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let clients = self.region(ACTION, region)?;
        let request = clients.ec2.describe_instances().set_instance_ids(Some(ids.to_vec()));
        let answer = clients.gate.call(ACTION, request.send()).await?;
        let instances = answer
            .reservations
            .unwrap_or_default()
            .into_iter()
            .flat_map(|reservation| reservation.instances.unwrap_or_default())
            .map(instance)
            .collect();
        Ok(instances)
    }

    /// Every instance of a Region that has a tag whose key is like this, with `*` for anything.
    pub async fn instances_tagged(&self, region: &str, key: &str) -> Result<Vec<Instance>, AwsError> {
        const ACTION: &str = "ec2:DescribeInstances";
        let clients = self.region(ACTION, region)?;
        let request = clients.ec2.describe_instances().filters(filter("tag-key", key));
        let pages = request.into_paginator().items().send();
        let found: Vec<_> = clients.gate.call(ACTION, pages.collect::<Result<_, _>>()).await?;
        let instances = found
            .into_iter()
            .flat_map(|reservation| reservation.instances.unwrap_or_default());
        Ok(instances.map(instance).collect())
    }

    /// The given instances whose status checks have not passed since they started, of those that run.
    pub async fn not_ready(&self, region: &str, ids: &[String]) -> Result<Vec<String>, AwsError> {
        const ACTION: &str = "ec2:DescribeInstanceStatus";
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let clients = self.region(ACTION, region)?;
        let request = clients
            .ec2
            .describe_instance_status()
            .set_instance_ids(Some(ids.to_vec()));
        let answer = clients.gate.call(ACTION, request.send()).await?;
        let statuses = answer.instance_statuses.unwrap_or_default().into_iter();
        Ok(statuses
            .filter(|one| {
                let summary = one.instance_status.as_ref().and_then(|summary| summary.status.as_ref());
                summary.is_some_and(|status| status.as_str() != "ok")
            })
            .filter_map(|one| one.instance_id)
            .collect())
    }

    /// The given volumes.
    pub async fn volumes(&self, region: &str, ids: &[String]) -> Result<Vec<Volume>, AwsError> {
        const ACTION: &str = "ec2:DescribeVolumes";
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let clients = self.region(ACTION, region)?;
        let request = clients.ec2.describe_volumes().set_volume_ids(Some(ids.to_vec()));
        let answer = clients.gate.call(ACTION, request.send()).await?;
        let volumes = answer.volumes.unwrap_or_default().into_iter();
        Ok(volumes
            .map(|volume| Volume {
                id: volume.volume_id.unwrap_or_default(),
                az: volume.availability_zone.unwrap_or_default(),
                tags: tags(volume.tags),
            })
            .collect())
    }

    /// Those of the given volumes whose status checks fail. One that went with its instance is none of them.
    pub async fn impaired_volumes(&self, region: &str, ids: &[String]) -> Result<Vec<String>, AwsError> {
        const ACTION: &str = "ec2:DescribeVolumeStatus";
        let clients = self.region(ACTION, region)?;
        // By a filter, not by their ids: one id that is gone would spoil the whole call.
        let wanted = Filter::builder()
            .name("volume-id")
            .set_values(Some(ids.to_vec()))
            .build();
        let request = clients.ec2.describe_volume_status().filters(wanted);
        let pages = request.into_paginator().items().send();
        let statuses: Vec<_> = clients.gate.call(ACTION, pages.collect::<Result<_, _>>()).await?;
        let impaired = statuses.into_iter().filter(|one| {
            let status = one.volume_status.as_ref().and_then(|status| status.status.as_ref());
            status.is_some_and(|status| status.as_str() == "impaired")
        });
        Ok(impaired.filter_map(|one| one.volume_id).collect())
    }

    /// The given subnets.
    pub async fn subnets(&self, region: &str, ids: &[String]) -> Result<Vec<Subnet>, AwsError> {
        const ACTION: &str = "ec2:DescribeSubnets";
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let clients = self.region(ACTION, region)?;
        let request = clients.ec2.describe_subnets().set_subnet_ids(Some(ids.to_vec()));
        let answer = clients.gate.call(ACTION, request.send()).await?;
        Ok(answer.subnets.unwrap_or_default().into_iter().map(subnet).collect())
    }

    /// Every subnet of a VPC.
    pub async fn subnets_of(&self, region: &str, vpc: &str) -> Result<Vec<Subnet>, AwsError> {
        const ACTION: &str = "ec2:DescribeSubnets";
        let clients = self.region(ACTION, region)?;
        let request = clients.ec2.describe_subnets().filters(filter("vpc-id", vpc));
        let pages = request.into_paginator().items().send();
        let subnets: Vec<_> = clients.gate.call(ACTION, pages.collect::<Result<_, _>>()).await?;
        Ok(subnets.into_iter().map(subnet).collect())
    }

    /// Every network ACL of a VPC.
    pub async fn network_acls(&self, region: &str, vpc: &str) -> Result<Vec<NetworkAcl>, AwsError> {
        const ACTION: &str = "ec2:DescribeNetworkAcls";
        let clients = self.region(ACTION, region)?;
        let request = clients.ec2.describe_network_acls().filters(filter("vpc-id", vpc));
        let pages = request.into_paginator().items().send();
        let acls: Vec<_> = clients.gate.call(ACTION, pages.collect::<Result<_, _>>()).await?;
        Ok(acls.into_iter().map(network_acl).collect())
    }

    /// Every network ACL of a Region that has this tag, whatever its value.
    pub async fn network_acls_tagged(&self, region: &str, key: &str) -> Result<Vec<NetworkAcl>, AwsError> {
        const ACTION: &str = "ec2:DescribeNetworkAcls";
        let clients = self.region(ACTION, region)?;
        let request = clients.ec2.describe_network_acls().filters(filter("tag-key", key));
        let pages = request.into_paginator().items().send();
        let acls: Vec<_> = clients.gate.call(ACTION, pages.collect::<Result<_, _>>()).await?;
        Ok(acls.into_iter().map(network_acl).collect())
    }
}

impl Writer {
    /// Writes tags on resources; harmless when repeated.
    pub async fn tag(&self, region: &str, ids: &[String], tags: &Tags) -> Result<Called<()>, AwsError> {
        const ACTION: &str = "ec2:CreateTags";
        let clients = self.reader().region(ACTION, region)?;
        self.persist(async || {
            let tags = tags
                .iter()
                .map(|(key, value)| Tag::builder().key(key).value(value).build());
            let request = clients.ec2.create_tags().set_resources(Some(ids.to_vec()));
            let request = request.set_tags(Some(tags.collect()));
            clients.gate.call(ACTION, request.send()).await.map(|_| ())
        })
        .await
    }

    /// Takes tags off resources, whatever their values; harmless when repeated.
    pub async fn untag(&self, region: &str, ids: &[String], keys: &[String]) -> Result<Called<()>, AwsError> {
        const ACTION: &str = "ec2:DeleteTags";
        let clients = self.reader().region(ACTION, region)?;
        self.persist(async || {
            let tags = keys.iter().map(|key| Tag::builder().key(key).build());
            let request = clients.ec2.delete_tags().set_resources(Some(ids.to_vec()));
            let request = request.set_tags(Some(tags.collect()));
            clients.gate.call(ACTION, request.send()).await.map(|_| ())
        })
        .await
    }

    /// Terminates instances; harmless when repeated.
    pub async fn terminate_instances(&self, region: &str, ids: &[String]) -> Result<Called<()>, AwsError> {
        const ACTION: &str = "ec2:TerminateInstances";
        let clients = self.reader().region(ACTION, region)?;
        self.persist(async || {
            let request = clients.ec2.terminate_instances().set_instance_ids(Some(ids.to_vec()));
            clients.gate.call(ACTION, request.send()).await.map(|_| ())
        })
        .await
    }

    /// Stops instances; harmless when repeated.
    pub async fn stop_instances(&self, region: &str, ids: &[String]) -> Result<Called<()>, AwsError> {
        const ACTION: &str = "ec2:StopInstances";
        let clients = self.reader().region(ACTION, region)?;
        self.persist(async || {
            let request = clients.ec2.stop_instances().set_instance_ids(Some(ids.to_vec()));
            clients.gate.call(ACTION, request.send()).await.map(|_| ())
        })
        .await
    }

    /// Starts instances; harmless when repeated, refused for one that is still stopping.
    pub async fn start_instances(&self, region: &str, ids: &[String]) -> Result<Called<()>, AwsError> {
        const ACTION: &str = "ec2:StartInstances";
        let clients = self.reader().region(ACTION, region)?;
        self.persist(async || {
            let request = clients.ec2.start_instances().set_instance_ids(Some(ids.to_vec()));
            clients.gate.call(ACTION, request.send()).await.map(|_| ())
        })
        .await
    }

    /// Reboots instances.
    pub async fn reboot_instances(&self, region: &str, ids: &[String]) -> Result<Called<()>, AwsError> {
        const ACTION: &str = "ec2:RebootInstances";
        let clients = self.reader().region(ACTION, region)?;
        self.persist(async || {
            let request = clients.ec2.reboot_instances().set_instance_ids(Some(ids.to_vec()));
            clients.gate.call(ACTION, request.send()).await.map(|_| ())
        })
        .await
    }

    /// Creates a network ACL, which denies everything until it has entries. The same token creates it only once.
    pub async fn create_network_acl(
        &self,
        region: &str,
        vpc: &str,
        tags: &Tags,
        token: &str,
    ) -> Result<Called<String>, AwsError> {
        const ACTION: &str = "ec2:CreateNetworkAcl";
        let clients = self.reader().region(ACTION, region)?;
        self.persist(async || {
            let tags = tags
                .iter()
                .map(|(key, value)| Tag::builder().key(key).value(value).build());
            let tagging = TagSpecification::builder()
                .resource_type(ResourceType::NetworkAcl)
                .set_tags(Some(tags.collect()))
                .build();
            let request = clients
                .ec2
                .create_network_acl()
                .vpc_id(vpc)
                .client_token(token)
                .tag_specifications(tagging);
            let answer = clients.gate.call(ACTION, request.send()).await?;
            let id = answer.network_acl.and_then(|acl| acl.network_acl_id);
            id.ok_or_else(|| AwsError::incomplete(ACTION, region, "network ACL id"))
        })
        .await
    }

    /// Puts a subnet under another ACL, by its current association; answers the new association's id.
    pub async fn replace_network_acl_association(
        &self,
        region: &str,
        association: &str,
        acl: &str,
    ) -> Result<Called<String>, AwsError> {
        const ACTION: &str = "ec2:ReplaceNetworkAclAssociation";
        let clients = self.reader().region(ACTION, region)?;
        self.persist(async || {
            let request = clients
                .ec2
                .replace_network_acl_association()
                .association_id(association)
                .network_acl_id(acl);
            let answer = clients.gate.call(ACTION, request.send()).await?;
            let id = answer.new_association_id;
            id.ok_or_else(|| AwsError::incomplete(ACTION, region, "new association id"))
        })
        .await
    }

    /// Deletes an ACL; refused while a subnet is associated with it.
    pub async fn delete_network_acl(&self, region: &str, acl: &str) -> Result<Called<()>, AwsError> {
        const ACTION: &str = "ec2:DeleteNetworkAcl";
        let clients = self.reader().region(ACTION, region)?;
        self.persist(async || {
            let request = clients.ec2.delete_network_acl().network_acl_id(acl);
            clients.gate.call(ACTION, request.send()).await.map(|_| ())
        })
        .await
    }
}

fn filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

fn instance(instance: aws_sdk_ec2::types::Instance) -> Instance {
    Instance {
        state: instance
            .state
            .and_then(|state| state.name)
            .map(|name| name.as_str().to_owned())
            .unwrap_or_default(),
        az: instance
            .placement
            .and_then(|placement| placement.availability_zone)
            .unwrap_or_default(),
        subnet: instance.subnet_id,
        spot: instance.instance_lifecycle.is_some_and(|kind| kind.as_str() == "spot"),
        volumes: instance
            .block_device_mappings
            .unwrap_or_default()
            .into_iter()
            .filter_map(|mapping| mapping.ebs?.volume_id)
            .collect(),
        tags: tags(instance.tags),
        id: instance.instance_id.unwrap_or_default(),
    }
}

fn tags(tags: Option<Vec<Tag>>) -> Tags {
    let pairs = tags.unwrap_or_default().into_iter();
    pairs
        .filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default())))
        .collect()
}

fn network_interface(interface: aws_sdk_ec2::types::NetworkInterface) -> NetworkInterface {
    let public = interface.association.and_then(|association| association.public_ip);
    NetworkInterface {
        description: interface.description.unwrap_or_default(),
        az: interface.availability_zone.unwrap_or_default(),
        addresses: [interface.private_ip_address, public]
            .into_iter()
            .flatten()
            .filter_map(|address| address.parse().ok())
            .collect(),
    }
}

fn subnet(subnet: aws_sdk_ec2::types::Subnet) -> Subnet {
    Subnet {
        id: subnet.subnet_id.unwrap_or_default(),
        vpc: subnet.vpc_id.unwrap_or_default(),
        az: subnet.availability_zone.unwrap_or_default(),
        az_id: subnet.availability_zone_id.unwrap_or_default(),
        tags: tags(subnet.tags),
    }
}

fn network_acl(acl: aws_sdk_ec2::types::NetworkAcl) -> NetworkAcl {
    NetworkAcl {
        id: acl.network_acl_id.unwrap_or_default(),
        vpc: acl.vpc_id.unwrap_or_default(),
        tags: tags(acl.tags),
        associations: acl
            .associations
            .unwrap_or_default()
            .into_iter()
            .map(|association| Association {
                id: association.network_acl_association_id.unwrap_or_default(),
                subnet: association.subnet_id.unwrap_or_default(),
            })
            .collect(),
    }
}
