//! EC2 through its SDK.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, InstanceStateName, ResourceType, RuleAction, Tag, TagSpecification};

use super::{code, plain_lab};

fn filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_are_described_stopped_started_and_terminated() {
    let (_lab, sdk) = plain_lab().await;
    let ec2 = Client::new(&sdk);
    let described = ec2
        .describe_instances()
        .filters(filter("instance-state-name", "running"))
        .filters(filter("tag:chaos", "allowed"))
        .send()
        .await
        .expect("described");
    let instances: Vec<_> = described.reservations().iter().flat_map(|r| r.instances()).collect();
    assert_eq!(instances.len(), 3);
    let one = instances[0];
    let id = one.instance_id().expect("an id").to_owned();
    assert!(
        one.private_ip_address()
            .is_some_and(|address| address.starts_with("127.10."))
    );
    assert!(
        one.placement()
            .and_then(|p| p.availability_zone())
            .is_some_and(|az| az.starts_with("us-east-1"))
    );
    assert!(one.launch_time().is_some() && one.subnet_id().is_some() && one.vpc_id().is_some());
    let status = ec2
        .describe_instance_status()
        .instance_ids(&id)
        .send()
        .await
        .expect("status");
    assert_eq!(status.instance_statuses().len(), 1);

    let stopped = ec2.stop_instances().instance_ids(&id).send().await.expect("stopped");
    let change = &stopped.stopping_instances()[0];
    let name = |state: Option<&aws_sdk_ec2::types::InstanceState>| state.and_then(|s| s.name()).cloned();
    assert_eq!(name(change.previous_state()), Some(InstanceStateName::Running));
    assert_eq!(name(change.current_state()), Some(InstanceStateName::Stopping));
    assert_eq!(
        code(ec2.start_instances().instance_ids(&id).send().await),
        "IncorrectInstanceState"
    );
    let other = instances[1].instance_id().expect("an id");
    ec2.reboot_instances()
        .instance_ids(other)
        .send()
        .await
        .expect("rebooted");
    let ended = ec2
        .terminate_instances()
        .instance_ids(other)
        .send()
        .await
        .expect("terminated");
    assert_eq!(
        name(ended.terminating_instances()[0].current_state()),
        Some(InstanceStateName::ShuttingDown)
    );

    let unknown = "i-00000000000000000";
    assert_eq!(
        code(ec2.terminate_instances().instance_ids(unknown).send().await),
        "InvalidInstanceID.NotFound"
    );
    assert_eq!(
        code(ec2.describe_instances().instance_ids("web").send().await),
        "InvalidInstanceID.Malformed"
    );
    assert_eq!(
        code(ec2.terminate_instances().instance_ids(id).dry_run(true).send().await),
        "DryRunOperation"
    );
    assert_eq!(code(ec2.describe_images().send().await), "InvalidAction");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subnets_are_cut_off_and_put_back() {
    let (lab, sdk) = plain_lab().await;
    let ec2 = Client::new(&sdk);
    let subnets = ec2
        .describe_subnets()
        .filters(filter("availability-zone", "us-east-1a"))
        .send()
        .await;
    let subnets = subnets.expect("subnets");
    let subnet = subnets.subnets()[0].subnet_id().expect("an id").to_owned();
    let vpc = subnets.subnets()[0].vpc_id().expect("a vpc").to_owned();
    let of_subnet = ec2
        .describe_network_acls()
        .filters(filter("association.subnet-id", &subnet))
        .send()
        .await;
    let of_subnet = of_subnet.expect("acls");
    let default = &of_subnet.network_acls()[0];
    let association = default
        .associations()
        .iter()
        .find(|a| a.subnet_id() == Some(&subnet))
        .expect("associated");
    let before = association.network_acl_association_id().expect("an id").to_owned();

    let tag = Tag::builder().key("tenfold").value("test").build();
    let specification = TagSpecification::builder()
        .resource_type(ResourceType::NetworkAcl)
        .tags(tag)
        .build();
    let created = ec2
        .create_network_acl()
        .vpc_id(&vpc)
        .tag_specifications(specification)
        .send()
        .await;
    let created = created.expect("created").network_acl().cloned().expect("an acl");
    assert_eq!(created.tags()[0].value(), Some("test"));
    assert!(
        created
            .entries()
            .iter()
            .all(|entry| entry.rule_action() == Some(&RuleAction::Deny))
    );
    let acl = created.network_acl_id().expect("an id");
    let replaced = ec2
        .replace_network_acl_association()
        .association_id(&before)
        .network_acl_id(acl)
        .send()
        .await;
    let after = replaced
        .expect("replaced")
        .new_association_id()
        .expect("an id")
        .to_owned();
    assert_ne!(before, after, "every replacement has an id of its own");
    let again = ec2
        .replace_network_acl_association()
        .association_id(&before)
        .network_acl_id(acl)
        .send()
        .await;
    assert_eq!(code(again), "InvalidAssociationID.NotFound");
    assert_eq!(
        code(ec2.delete_network_acl().network_acl_id(acl).send().await),
        "DependencyViolation"
    );
    let silent = || lab.world().regions["us-east-1"].subnets[&subnet].silent;
    for _ in 0..200 {
        if silent() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(silent(), "the denial takes effect");
    ec2.create_network_acl_entry()
        .network_acl_id(acl)
        .rule_number(100)
        .protocol("-1")
        .rule_action(RuleAction::Allow)
        .egress(true)
        .cidr_block("0.0.0.0/0")
        .send()
        .await
        .expect("an entry");
    let default = default.network_acl_id().expect("an id");
    let back = ec2
        .replace_network_acl_association()
        .association_id(&after)
        .network_acl_id(default)
        .send()
        .await;
    assert!(back.expect("back").new_association_id().is_some_and(|id| id != after));
    ec2.delete_network_acl()
        .network_acl_id(acl)
        .send()
        .await
        .expect("deleted");
    assert_eq!(
        code(ec2.delete_network_acl().network_acl_id(acl).send().await),
        "InvalidNetworkAclID.NotFound"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_zones_and_regions_are_described() {
    let (_lab, sdk) = plain_lab().await;
    let ec2 = Client::new(&sdk);
    let subnets = ec2.describe_subnets().send().await.expect("subnets");
    let subnet = subnets.subnets()[0].subnet_id().expect("an id");
    let tag = Tag::builder().key("note").value("a & b").build();
    ec2.create_tags()
        .resources(subnet)
        .tags(tag)
        .send()
        .await
        .expect("tagged");
    let found = ec2
        .describe_tags()
        .filters(filter("key", "note"))
        .send()
        .await
        .expect("tags");
    assert_eq!(
        found.tags().iter().map(|tag| tag.value()).collect::<Vec<_>>(),
        [Some("a & b")]
    );
    let zones = ec2.describe_availability_zones().send().await.expect("zones");
    let names: Vec<_> = zones
        .availability_zones()
        .iter()
        .filter_map(|zone| zone.zone_name())
        .collect();
    assert_eq!(names, ["us-east-1a", "us-east-1b", "us-east-1c"]);
    let regions = ec2.describe_regions().send().await.expect("regions");
    assert_eq!(regions.regions().len(), 2);
}
