"""Drives a running lab with boto3: every operation it answers, shapes and values asserted.

Usage: lab_boto3.py http://127.0.0.1:PORT

Any credentials will do; the lab reads only the scope of a signature. Exits with 1 when an assertion fails. Takes
under a minute at pace 60: it terminates one instance, reboots the database with failover, and undoes the rest.
"""

import datetime
import sys
import time
import traceback
import urllib.error
import urllib.request

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

ENDPOINT = sys.argv[1] if len(sys.argv) > 1 else ""
REGION = "us-east-1"
OTHER = "eu-west-1"


def client(service, region=REGION, **config):
    return boto3.client(
        service,
        endpoint_url=ENDPOINT,
        region_name=region,
        aws_access_key_id="lab",
        aws_secret_access_key="lab",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=10, parameter_validation=False, **config),
    )


ec2 = client("ec2")
autoscaling = client("autoscaling")
elbv2 = client("elbv2")
rds = client("rds")
cloudwatch = client("cloudwatch")
route53 = client("route53")
sts = client("sts")
fis = client("fis")


def refuses(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        found = error.response["Error"]["Code"]
        assert found == code, f"expected {code}, got {found}: {error}"
        assert error.response["Error"]["Message"], "an error has a message"
        return error
    raise AssertionError(f"expected {code}, but {arguments} was accepted")


def eventually(what, check, seconds=10.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = check()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {what}")


def group():
    groups = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=["shop-web"])["AutoScalingGroups"]
    assert len(groups) == 1
    return groups[0]


def is_time(value):
    return isinstance(value, datetime.datetime) and value.tzinfo is not None


def running():
    filters = [{"Name": "instance-state-name", "Values": ["running"]}, {"Name": "tag:chaos", "Values": ["allowed"]}]
    reservations = ec2.describe_instances(Filters=filters)["Reservations"]
    return [instance for reservation in reservations for instance in reservation["Instances"]]


def test_sts_identity():
    identity = sts.get_caller_identity()
    assert identity["Account"] == "111122223333"
    assert identity["Arn"].startswith("arn:aws:iam::111122223333:")
    refuses("InvalidAction", sts.get_session_token)


def test_ec2_instances():
    instances = running()
    assert len(instances) >= 3
    one = instances[0]
    assert one["InstanceId"].startswith("i-") and len(one["InstanceId"]) == 19
    assert one["State"] == {"Code": 16, "Name": "running"}
    assert one["Placement"]["AvailabilityZone"].startswith(REGION)
    assert one["SubnetId"].startswith("subnet-") and one["VpcId"].startswith("vpc-")
    assert one["PrivateIpAddress"].startswith("127.10.")
    assert is_time(one["LaunchTime"])
    tags = {tag["Key"]: tag["Value"] for tag in one["Tags"]}
    assert tags["chaos"] == "allowed" and tags["aws:autoscaling:groupName"] == "shop-web"
    assert {instance["Placement"]["AvailabilityZone"] for instance in instances} == {REGION + az for az in "abc"}

    def count(**arguments):
        return sum(len(r["Instances"]) for r in ec2.describe_instances(**arguments)["Reservations"])

    assert count(InstanceIds=[one["InstanceId"]]) == 1
    assert count(Filters=[{"Name": "subnet-id", "Values": [one["SubnetId"]]}]) >= 1
    assert count(Filters=[{"Name": "vpc-id", "Values": ["vpc-other"]}]) == 0
    assert count(Filters=[{"Name": "instance-id", "Values": ["i-*"]}]) >= 3
    refuses("InvalidInstanceID.NotFound", ec2.describe_instances, InstanceIds=["i-00000000000000000"])
    refuses("InvalidInstanceID.Malformed", ec2.describe_instances, InstanceIds=["web"])
    refuses("InvalidParameterValue", ec2.describe_instances, Filters=[{"Name": "colour", "Values": ["red"]}])
    refuses("InvalidAction", ec2.describe_images)
    status = ec2.describe_instance_status(InstanceIds=[one["InstanceId"]])["InstanceStatuses"]
    assert status[0]["InstanceState"]["Name"] == "running"
    assert status[0]["InstanceStatus"]["Status"] in ("ok", "initializing")
    pages = list(ec2.get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": 5}))
    assert sum(len(page["Reservations"]) for page in pages) >= 3


def test_ec2_volumes():
    one = running()[0]
    root = one["BlockDeviceMappings"][0]
    assert root["DeviceName"] == one["RootDeviceName"] and root["Ebs"]["Status"] == "attached"
    assert "InstanceLifecycle" not in one
    id = root["Ebs"]["VolumeId"]
    assert id.startswith("vol-") and len(id) == 21
    volume = ec2.describe_volumes(VolumeIds=[id])["Volumes"][0]
    assert volume["State"] == "in-use" and volume["VolumeType"] == "gp3" and is_time(volume["CreateTime"])
    assert [one["InstanceId"]] == [attachment["InstanceId"] for attachment in volume["Attachments"]]
    assert {"Key": "chaos", "Value": "allowed"} in volume["Tags"]
    by_instance = [{"Name": "attachment.instance-id", "Values": [one["InstanceId"]]}]
    assert [v["VolumeId"] for v in ec2.describe_volumes(Filters=by_instance)["Volumes"]] == [id]
    status = ec2.describe_volume_status(VolumeIds=[id])["VolumeStatuses"]
    assert [(s["VolumeId"], s["VolumeStatus"]["Status"]) for s in status] == [(id, "ok")]
    ec2.create_tags(Resources=[id], Tags=[{"Key": "note", "Value": "a test"}])
    assert ec2.describe_volumes(Filters=[{"Name": "tag:note", "Values": ["a test"]}])["Volumes"]
    ec2.delete_tags(Resources=[id], Tags=[{"Key": "note"}])
    refuses("InvalidVolume.NotFound", ec2.describe_volumes, VolumeIds=["vol-00000000000000000"])
    refuses("InvalidParameterValue", ec2.describe_volumes, VolumeIds=["web"])


def test_ec2_stop_start_reboot_terminate():
    autoscaling.suspend_processes(
        AutoScalingGroupName="shop-web", ScalingProcesses=["HealthCheck", "ReplaceUnhealthy", "Terminate"]
    )
    try:
        first, second = [instance["InstanceId"] for instance in running()[:2]]
        assert refuses("DryRunOperation", ec2.stop_instances, InstanceIds=[first], DryRun=True)
        ec2.reboot_instances(InstanceIds=[first])
        stopping = ec2.stop_instances(InstanceIds=[first])["StoppingInstances"][0]
        assert stopping["InstanceId"] == first
        assert stopping["PreviousState"]["Name"] == "running" and stopping["CurrentState"]["Name"] == "stopping"
        refuses("IncorrectInstanceState", ec2.reboot_instances, InstanceIds=[first])

        def state():
            return ec2.describe_instances(InstanceIds=[first])["Reservations"][0]["Instances"][0]["State"]["Name"]

        eventually("stopped", lambda: state() == "stopped")
        started = ec2.start_instances(InstanceIds=[first])["StartingInstances"][0]
        assert started["CurrentState"]["Name"] == "pending"
        terminated = ec2.terminate_instances(InstanceIds=[second])["TerminatingInstances"][0]
        assert terminated["CurrentState"] == {"Code": 32, "Name": "shutting-down"}
        refuses("InvalidInstanceID.NotFound", ec2.terminate_instances, InstanceIds=["i-00000000000000000"])
    finally:
        autoscaling.resume_processes(AutoScalingGroupName="shop-web")
    reaches = lambda: len([m for m in group()["Instances"] if m["LifecycleState"] == "InService"]) >= 3  # noqa: E731
    eventually("the group has healed", lambda: reaches() and second not in str(group()["Instances"]), 15)
    activities = autoscaling.describe_scaling_activities(AutoScalingGroupName="shop-web", MaxRecords=100)["Activities"]
    assert any("EC2 health check" in activity["Cause"] for activity in activities), activities


def test_ec2_network():
    subnets = ec2.describe_subnets(Filters=[{"Name": "availability-zone", "Values": [REGION + "a"]}])["Subnets"]
    assert len(subnets) == 1 and subnets[0]["CidrBlock"] == "127.10.1.0/24"
    subnet, vpc = subnets[0]["SubnetId"], subnets[0]["VpcId"]
    assert ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]["VpcId"] == vpc
    assert len(ec2.describe_subnets(SubnetIds=[subnet])["Subnets"]) == 1
    refuses("InvalidSubnetID.NotFound", ec2.describe_subnets, SubnetIds=["subnet-0"])

    def association():
        filters = [{"Name": "association.subnet-id", "Values": [subnet]}]
        acls = ec2.describe_network_acls(Filters=filters)["NetworkAcls"]
        assert len(acls) == 1
        own = [a for a in acls[0]["Associations"] if a["SubnetId"] == subnet]
        return acls[0], own[0]["NetworkAclAssociationId"]

    default, before = association()
    assert default["IsDefault"] and any(entry["RuleAction"] == "allow" for entry in default["Entries"])
    specification = [{"ResourceType": "network-acl", "Tags": [{"Key": "tenfold", "Value": "test"}]}]
    created = ec2.create_network_acl(VpcId=vpc, TagSpecifications=specification)["NetworkAcl"]
    acl = created["NetworkAclId"]
    assert created["Tags"] == [{"Key": "tenfold", "Value": "test"}]
    assert not created["IsDefault"] and {entry["RuleAction"] for entry in created["Entries"]} == {"deny"}
    rule = dict(NetworkAclId=acl, RuleNumber=100, Egress=False)
    ec2.create_network_acl_entry(**rule, Protocol="-1", RuleAction="allow", CidrBlock="0.0.0.0/0")
    refuses(
        "NetworkAclEntryAlreadyExists",
        ec2.create_network_acl_entry,
        **rule,
        Protocol="-1",
        RuleAction="allow",
        CidrBlock="0.0.0.0/0",
    )
    ec2.replace_network_acl_entry(**rule, Protocol="-1", RuleAction="deny", CidrBlock="0.0.0.0/0")
    entries = ec2.describe_network_acls(NetworkAclIds=[acl])["NetworkAcls"][0]["Entries"]
    assert [e["RuleAction"] for e in entries if e["RuleNumber"] == 100] == ["deny"]
    ec2.delete_network_acl_entry(**rule)
    replaced = ec2.replace_network_acl_association(AssociationId=before, NetworkAclId=acl)["NewAssociationId"]
    assert replaced != before and association()[1] == replaced
    refuses("DependencyViolation", ec2.delete_network_acl, NetworkAclId=acl)
    arguments = dict(AssociationId=before, NetworkAclId=acl)
    refuses("InvalidAssociationID.NotFound", ec2.replace_network_acl_association, **arguments)
    again = ec2.replace_network_acl_association(AssociationId=replaced, NetworkAclId=default["NetworkAclId"])
    assert again["NewAssociationId"] not in (before, replaced)
    ec2.delete_network_acl(NetworkAclId=acl)
    refuses("InvalidNetworkAclID.NotFound", ec2.delete_network_acl, NetworkAclId=acl)
    refuses("InvalidVpcID.NotFound", ec2.create_network_acl, VpcId="vpc-0")


def test_ec2_tags_and_places():
    one = running()[0]["InstanceId"]
    ec2.create_tags(Resources=[one], Tags=[{"Key": "note", "Value": "a & b"}])
    found = ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [one]}, {"Name": "key", "Values": ["note"]}])
    assert found["Tags"] == [{"ResourceId": one, "ResourceType": "instance", "Key": "note", "Value": "a & b"}]
    ec2.delete_tags(Resources=[one], Tags=[{"Key": "note"}])
    assert not ec2.describe_tags(Filters=[{"Name": "key", "Values": ["note"]}])["Tags"]
    refuses("InvalidID", ec2.create_tags, Resources=["x-1"], Tags=[{"Key": "a", "Value": "b"}])
    zones = ec2.describe_availability_zones()["AvailabilityZones"]
    assert [zone["ZoneName"] for zone in zones] == [REGION + az for az in "abc"]
    assert zones[0]["ZoneId"] == "use1-az1" and zones[0]["State"] == "available"
    assert {region["RegionName"] for region in ec2.describe_regions()["Regions"]} == {REGION, OTHER}
    other = client("ec2", OTHER).describe_availability_zones()["AvailabilityZones"]
    assert other[0]["RegionName"] == OTHER
    refuses("AuthFailure", client("ec2", "ap-south-1").describe_instances)


def test_autoscaling():
    found = group()
    assert found["MinSize"] == 3 and found["MaxSize"] >= 3 and found["DesiredCapacity"] >= 3
    assert found["HealthCheckType"] == "ELB" and len(found["AvailabilityZones"]) == 3
    assert found["AutoScalingGroupARN"].startswith("arn:aws:autoscaling:") and is_time(found["CreatedTime"])
    assert found["TargetGroupARNs"][0].startswith("arn:aws:elasticloadbalancing:")
    assert {tag["Key"]: tag["Value"] for tag in found["Tags"]}["chaos"] == "allowed"
    member = found["Instances"][0]
    assert member["HealthStatus"] in ("Healthy", "Unhealthy") and member["ProtectedFromScaleIn"] is False
    managed = autoscaling.describe_auto_scaling_instances()["AutoScalingInstances"]
    assert managed and managed[0]["AutoScalingGroupName"] == "shop-web"
    assert not autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=["none"])["AutoScalingGroups"]
    policy = autoscaling.describe_policies(AutoScalingGroupName="shop-web")["ScalingPolicies"][0]
    assert policy["PolicyType"] == "TargetTrackingScaling"
    assert policy["TargetTrackingConfiguration"]["TargetValue"] > 0
    assert len(policy["Alarms"]) == 2 and policy["Alarms"][0]["AlarmARN"].startswith("arn:aws:cloudwatch:")
    # Whether it is suspended, and again not.
    autoscaling.suspend_processes(AutoScalingGroupName="shop-web", ScalingProcesses=["AZRebalance"])
    suspended = {process["ProcessName"]: process["SuspensionReason"] for process in group()["SuspendedProcesses"]}
    assert suspended["AZRebalance"].startswith("User suspended at ")
    autoscaling.resume_processes(AutoScalingGroupName="shop-web", ScalingProcesses=["AZRebalance"])
    assert "AZRebalance" not in str(group()["SuspendedProcesses"])
    refuses(
        "ValidationError", autoscaling.suspend_processes, AutoScalingGroupName="shop-web", ScalingProcesses=["Sleep"]
    )
    # Sizes.
    maximum = found["MaxSize"]
    autoscaling.update_auto_scaling_group(AutoScalingGroupName="shop-web", MaxSize=maximum + 1)
    assert group()["MaxSize"] == maximum + 1
    autoscaling.update_auto_scaling_group(AutoScalingGroupName="shop-web", MaxSize=maximum)
    wanted = group()["DesiredCapacity"] + 1
    autoscaling.set_desired_capacity(AutoScalingGroupName="shop-web", DesiredCapacity=wanted)
    assert group()["DesiredCapacity"] == wanted
    refuses("ValidationError", autoscaling.set_desired_capacity, AutoScalingGroupName="shop-web", DesiredCapacity=999)
    refuses("ValidationError", autoscaling.set_desired_capacity, AutoScalingGroupName="none", DesiredCapacity=3)

    def activities():
        return autoscaling.describe_scaling_activities(AutoScalingGroupName="shop-web")["Activities"]

    launched = eventually("an activity for the new instance", activities)[0]
    assert launched["ActivityId"] and launched["Cause"].startswith("At ") and is_time(launched["StartTime"])
    assert launched["AutoScalingGroupName"] == "shop-web" and "Availability Zone" in launched["Details"]
    token = autoscaling.describe_scaling_activities(AutoScalingGroupName="shop-web", MaxRecords=1).get("NextToken")
    if token:
        second = autoscaling.describe_scaling_activities(
            AutoScalingGroupName="shop-web", MaxRecords=1, NextToken=token
        )["Activities"]
        assert len(second) == 1
    refuses("ValidationError", autoscaling.describe_scaling_activities, AutoScalingGroupName="none")
    # Health and termination through the group.
    eventually("more than the minimum in service", lambda: len(in_service()) > 3, 15)
    victim = in_service()[0]
    autoscaling.set_instance_health(InstanceId=victim, HealthStatus="Unhealthy", ShouldRespectGracePeriod=False)
    eventually("the unhealthy one is replaced", lambda: victim not in in_service())
    refuses("ValidationError", autoscaling.set_instance_health, InstanceId="i-0", HealthStatus="Unhealthy")
    victim = in_service()[0]
    ended = autoscaling.terminate_instance_in_auto_scaling_group(
        InstanceId=victim, ShouldDecrementDesiredCapacity=True
    )["Activity"]
    assert victim in ended["Description"] and "user request" in ended["Cause"], ended
    assert group()["DesiredCapacity"] == wanted - 1
    refuses(
        "ValidationError",
        autoscaling.terminate_instance_in_auto_scaling_group,
        InstanceId="i-0",
        ShouldDecrementDesiredCapacity=True,
    )


def in_service():
    return [m["InstanceId"] for m in group()["Instances"] if m["LifecycleState"] == "InService"]


def test_elbv2():
    balancer = elbv2.describe_load_balancers(Names=["shop-web"])["LoadBalancers"][0]
    arn = balancer["LoadBalancerArn"]
    assert balancer["DNSName"].endswith(f".{REGION}.elb.amazonaws.com") and balancer["State"] == {"Code": "active"}
    assert balancer["Type"] == "application" and len(balancer["AvailabilityZones"]) == 3
    assert elbv2.describe_load_balancers(LoadBalancerArns=[arn])["LoadBalancers"]
    refuses("LoadBalancerNotFound", elbv2.describe_load_balancers, Names=["none"])
    targets = elbv2.describe_target_groups(LoadBalancerArn=arn)["TargetGroups"][0]
    assert targets["HealthCheckPath"] == "/health" and targets["UnhealthyThresholdCount"] == 2
    assert targets["LoadBalancerArns"] == [arn] and targets["Matcher"] == {"HttpCode": "200"}
    refuses("TargetGroupNotFound", elbv2.describe_target_groups, Names=["none"])
    target_arn = targets["TargetGroupArn"]

    def described():
        health = elbv2.describe_target_health(TargetGroupArn=target_arn)["TargetHealthDescriptions"]
        return health if len(health) >= 3 else None

    # Other tests leave a group that is still growing back.
    health = eventually("three targets", described)
    states = {"initial", "healthy", "unhealthy", "draining", "unused"}
    assert {target["TargetHealth"]["State"] for target in health} <= states
    assert health[0]["Target"]["Id"].startswith("i-") and health[0]["Target"]["Port"] == targets["Port"]
    one = elbv2.describe_target_health(TargetGroupArn=target_arn, Targets=[{"Id": health[0]["Target"]["Id"]}])
    assert len(one["TargetHealthDescriptions"]) == 1
    refuses("TargetGroupNotFound", elbv2.describe_target_health, TargetGroupArn="arn:none")
    refuses("InvalidTarget", elbv2.describe_target_health, TargetGroupArn=target_arn, Targets=[{"Id": "i-0"}])
    listener = elbv2.describe_listeners(LoadBalancerArn=arn)["Listeners"][0]
    assert listener["Protocol"] == "HTTP" and listener["DefaultActions"][0]["TargetGroupArn"] == target_arn
    assert elbv2.describe_listeners(ListenerArns=[listener["ListenerArn"]])["Listeners"]
    refuses("ListenerNotFound", elbv2.describe_listeners, ListenerArns=["arn:none"])
    tags = elbv2.describe_tags(ResourceArns=[arn, target_arn])["TagDescriptions"]
    assert [tag["ResourceArn"] for tag in tags] == [arn, target_arn]
    assert {"Key": "chaos", "Value": "allowed"} in tags[0]["Tags"]
    assert {"Key": "chaos", "Value": "allowed"} in tags[1]["Tags"]
    attributes = elbv2.describe_target_group_attributes(TargetGroupArn=target_arn)["Attributes"]
    assert {a["Key"]: a["Value"] for a in attributes}["deregistration_delay.timeout_seconds"] == "300"


def test_marks():
    def own(key="tenfold:mark:0.x", **more):
        return {"ResourceId": "shop-web", "ResourceType": "auto-scaling-group", "Key": key, **more}

    def of_group():
        return {tag["Key"]: (tag["Value"], tag["PropagateAtLaunch"]) for tag in group()["Tags"]}

    autoscaling.create_or_update_tags(Tags=[own(Value="a", PropagateAtLaunch=False)])
    assert of_group()["tenfold:mark:0.x"] == ("a", False) and of_group()["chaos"] == ("allowed", True)
    autoscaling.delete_tags(Tags=[own(), own("never")])
    assert "tenfold:mark:0.x" not in of_group()
    missing = {**own(Value="a"), "ResourceId": "none"}
    refuses("ValidationError", autoscaling.create_or_update_tags, Tags=[missing])

    arn = elbv2.describe_target_groups(Names=["shop-web"])["TargetGroups"][0]["TargetGroupArn"]

    def of_targets():
        described = elbv2.describe_tags(ResourceArns=[arn])["TagDescriptions"][0]["Tags"]
        return {tag["Key"]: tag["Value"] for tag in described}

    elbv2.add_tags(ResourceArns=[arn], Tags=[{"Key": "tenfold:mark:0.x", "Value": "=5Ba"}])
    assert of_targets()["tenfold:mark:0.x"] == "=5Ba"
    elbv2.remove_tags(ResourceArns=[arn], TagKeys=["tenfold:mark:0.x", "never"])
    assert "tenfold:mark:0.x" not in of_targets() and "chaos" in of_targets()
    refuses("ValidationError", elbv2.add_tags, ResourceArns=[arn], Tags=[{"Key": "x", "Value": "a[0]"}])
    refuses("TargetGroupNotFound", elbv2.add_tags, ResourceArns=[arn + "0"], Tags=[{"Key": "x", "Value": "a"}])

    arn = rds.describe_db_instances(DBInstanceIdentifier="shop-db")["DBInstances"][0]["DBInstanceArn"]

    def of_database():
        described = rds.describe_db_instances(DBInstanceIdentifier="shop-db")["DBInstances"][0]["TagList"]
        assert rds.list_tags_for_resource(ResourceName=arn)["TagList"] == described
        return {tag["Key"]: tag["Value"] for tag in described}

    rds.add_tags_to_resource(ResourceName=arn, Tags=[{"Key": "tenfold:mark:0.x", "Value": "=5Ba"}])
    assert of_database()["tenfold:mark:0.x"] == "=5Ba"
    rds.remove_tags_from_resource(ResourceName=arn, TagKeys=["tenfold:mark:0.x", "never"])
    assert "tenfold:mark:0.x" not in of_database() and "chaos" in of_database()
    bad = [{"Key": "x", "Value": "a[0]"}]
    refuses("InvalidParameterValue", rds.add_tags_to_resource, ResourceName=arn, Tags=bad)
    good = [{"Key": "x", "Value": "a"}]
    refuses("DBInstanceNotFound", rds.add_tags_to_resource, ResourceName=arn + "0", Tags=good)

    zone = route53.list_hosted_zones()["HostedZones"][0]["Id"].rsplit("/")[-1]
    check = route53.list_health_checks()["HealthChecks"][0]["Id"]
    for kind, one in (("hostedzone", zone), ("healthcheck", check)):

        def tags():
            sets = route53.list_tags_for_resources(ResourceType=kind, ResourceIds=[one])["ResourceTagSets"]
            assert [found["ResourceId"] for found in sets] == [one]
            return {tag["Key"]: tag["Value"] for tag in sets[0]["Tags"]}

        arguments = dict(ResourceType=kind, ResourceId=one)
        route53.change_tags_for_resource(AddTags=[{"Key": "tenfold:mark:0.x", "Value": "a"}], **arguments)
        assert tags()["tenfold:mark:0.x"] == "a"
        many = [{"Key": f"k{index}", "Value": "a"} for index in range(10)]
        refuses("InvalidInput", route53.change_tags_for_resource, AddTags=many, **arguments)
        route53.change_tags_for_resource(RemoveTagKeys=["tenfold:mark:0.x"], **arguments)
        assert "tenfold:mark:0.x" not in tags()
    refuses("NoSuchHealthCheck", route53.list_tags_for_resources, ResourceType="healthcheck", ResourceIds=["none"])


def test_elbv2_targets_leave_and_return():
    arn = elbv2.describe_target_groups(Names=["shop-web"])["TargetGroups"][0]["TargetGroupArn"]

    def health(target=None):
        arguments = {"Targets": [{"Id": target}]} if target else {}
        described = elbv2.describe_target_health(TargetGroupArn=arn, **arguments)["TargetHealthDescriptions"]
        return {one["Target"]["Id"]: one["TargetHealth"] for one in described}

    # The group shrinks and replaces as it likes, and would take the very instance: what does not run cannot be registered.
    autoscaling.suspend_processes(AutoScalingGroupName="shop-web", ScalingProcesses=["Terminate", "HealthCheck"])
    try:
        # Of the group as it is now: other tests leave instances that drain.
        victim = in_service()[0]
        eventually("it is healthy", lambda: health().get(victim, {}).get("State") == "healthy", 15)
        elbv2.deregister_targets(TargetGroupArn=arn, Targets=[{"Id": victim}])
        drains = {"State": "draining", "Reason": "Target.DeregistrationInProgress"}
        eventually("it drains", lambda: drains.items() <= health()[victim].items())
        eventually("the deregistration delay is over", lambda: victim not in health())
        assert health(victim)[victim]["Reason"] == "Target.NotRegistered"
        # As documented, what is not registered is no error.
        elbv2.deregister_targets(TargetGroupArn=arn, Targets=[{"Id": victim}])
        elbv2.register_targets(TargetGroupArn=arn, Targets=[{"Id": victim}])
        eventually("it is healthy again", lambda: health()[victim]["State"] == "healthy")
    finally:
        autoscaling.resume_processes(AutoScalingGroupName="shop-web", ScalingProcesses=["Terminate", "HealthCheck"])
    refuses("InvalidTarget", elbv2.register_targets, TargetGroupArn=arn, Targets=[{"Id": "i-0"}])
    refuses("TargetGroupNotFound", elbv2.deregister_targets, TargetGroupArn="arn:none", Targets=[{"Id": victim}])

    autoscaling.suspend_processes(AutoScalingGroupName="shop-web", ScalingProcesses=["HealthCheck"])
    try:
        changed = elbv2.modify_target_group(TargetGroupArn=arn, HealthCheckPath="/nowhere")["TargetGroups"][0]
        assert changed["TargetGroupArn"] == arn and changed["HealthCheckPath"] == "/nowhere"
        reasons = lambda: {one.get("Reason") for one in health().values() if one["State"] != "draining"}  # noqa: E731
        eventually("all fail the check", lambda: reasons() == {"Target.ResponseCodeMismatch"})
        refuses("ValidationError", elbv2.modify_target_group, TargetGroupArn=arn, HealthCheckPath="no slash")
        elbv2.modify_target_group(TargetGroupArn=arn, HealthCheckPath="/health")
        states = lambda: {one["State"] for one in health().values()} - {"draining"}  # noqa: E731
        eventually("all pass it", lambda: states() == {"healthy"})
    finally:
        autoscaling.resume_processes(AutoScalingGroupName="shop-web", ScalingProcesses=["HealthCheck"])


def database():
    return rds.describe_db_instances(DBInstanceIdentifier="shop-db")["DBInstances"][0]


def test_rds():
    # Right after another failover the standby is still being rebuilt.
    ready = lambda: database() if "SecondaryAvailabilityZone" in database() else None  # noqa: E731
    before = eventually("a standby", ready, 12)
    assert before["DBInstanceStatus"] == "available" and before["MultiAZ"] is True
    assert before["AvailabilityZone"] != before["SecondaryAvailabilityZone"]
    assert before["Endpoint"]["Address"].startswith("shop-db.") and before["Endpoint"]["Port"] > 0
    assert is_time(before["InstanceCreateTime"]) and {"Key": "chaos", "Value": "allowed"} in before["TagList"]
    assert len(rds.describe_db_instances()["DBInstances"]) == 1
    tags = rds.list_tags_for_resource(ResourceName=before["DBInstanceArn"])["TagList"]
    assert {"Key": "chaos", "Value": "allowed"} in tags
    refuses("DBInstanceNotFound", rds.describe_db_instances, DBInstanceIdentifier="none")
    refuses("DBInstanceNotFound", rds.reboot_db_instance, DBInstanceIdentifier="none")
    answer = rds.reboot_db_instance(DBInstanceIdentifier="shop-db", ForceFailover=True)["DBInstance"]
    assert answer["DBInstanceStatus"] == "rebooting"
    refuses("InvalidDBInstanceState", rds.reboot_db_instance, DBInstanceIdentifier="shop-db", ForceFailover=True)

    def messages(**arguments):
        events = rds.describe_events(SourceIdentifier="shop-db", SourceType="db-instance", **arguments)["Events"]
        assert all(is_time(event["Date"]) and event["SourceType"] == "db-instance" for event in events)
        return [event["Message"] for event in events if "failover" in event["EventCategories"]]

    assert "Multi-AZ instance failover started." in messages(Duration=10)
    eventually("failover completed", lambda: "Multi-AZ instance failover completed." in messages())
    after = eventually("available", lambda: database()["DBInstanceStatus"] == "available" and database())
    assert after["AvailabilityZone"] == before["SecondaryAvailabilityZone"]
    assert messages(EventCategories=["failover"]) and not messages(EventCategories=["backup"])
    far = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=9)
    assert not messages(StartTime=far, EndTime=far + datetime.timedelta(hours=1))
    refuses("InvalidParameterCombination", rds.describe_events, SourceIdentifier="shop-db")
    refuses("InvalidParameterValue", rds.describe_events, SourceType="toaster")


def test_rds_stop_and_start():
    eventually("available", lambda: database()["DBInstanceStatus"] == "available")
    refuses("InvalidDBInstanceState", rds.start_db_instance, DBInstanceIdentifier="shop-db")
    stopping = rds.stop_db_instance(DBInstanceIdentifier="shop-db")["DBInstance"]
    assert stopping["DBInstanceStatus"] == "stopping"
    refuses("InvalidDBInstanceState", rds.stop_db_instance, DBInstanceIdentifier="shop-db")
    eventually("stopped", lambda: database()["DBInstanceStatus"] == "stopped")
    starting = rds.start_db_instance(DBInstanceIdentifier="shop-db")["DBInstance"]
    assert starting["DBInstanceStatus"] == "starting"
    eventually("available", lambda: database()["DBInstanceStatus"] == "available")
    events = rds.describe_events(SourceIdentifier="shop-db", SourceType="db-instance")["Events"]
    told = [event["Message"] for event in events if "notification" in event["EventCategories"]]
    assert told[-2:] == ["DB instance stopped", "DB instance started"], told
    refuses("DBInstanceNotFound", rds.stop_db_instance, DBInstanceIdentifier="none")
    refuses("DBInstanceNotFound", rds.start_db_instance, DBInstanceIdentifier="none")


def test_cloudwatch():
    alarms = cloudwatch.describe_alarms()["MetricAlarms"]
    tracking = [alarm for alarm in alarms if alarm["AlarmName"].startswith("TargetTracking-shop-web")]
    assert len(tracking) == 2
    high = next(alarm for alarm in tracking if "High" in alarm["AlarmName"])
    assert high["StateValue"] in ("OK", "ALARM", "INSUFFICIENT_DATA") and is_time(high["StateUpdatedTimestamp"])
    assert high["MetricName"] == "CPUUtilization" and high["Namespace"] == "AWS/EC2" and high["Period"] == 60
    assert high["EvaluationPeriods"] == 3 and high["AlarmActions"][0].startswith("arn:aws:autoscaling:")
    assert high["Dimensions"] == [{"Name": "AutoScalingGroupName", "Value": "shop-web"}]
    name = high["AlarmName"]
    assert len(cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]) == 1
    assert len(cloudwatch.describe_alarms(AlarmNamePrefix="none")["MetricAlarms"]) == 0
    page = cloudwatch.describe_alarms(MaxRecords=1)
    assert len(page["MetricAlarms"]) == 1 and page["NextToken"]
    cloudwatch.disable_alarm_actions(AlarmNames=[name])
    assert cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["ActionsEnabled"] is False
    # With its actions off, the alarm's state changes nothing else.
    state = "ALARM" if high["StateValue"] != "ALARM" else "OK"
    cloudwatch.set_alarm_state(AlarmName=name, StateValue=state, StateReason="test")
    history = cloudwatch.describe_alarm_history(AlarmName=name, HistoryItemType="StateUpdate")["AlarmHistoryItems"]
    assert history and history[0]["AlarmName"] == name and is_time(history[0]["Timestamp"])
    assert history[0]["HistoryItemType"] == "StateUpdate" and state in history[0]["HistorySummary"] + str(history)
    cloudwatch.enable_alarm_actions(AlarmNames=[name])
    arguments = dict(AlarmName="none", StateValue="OK", StateReason="test")
    refuses("ResourceNotFound", cloudwatch.set_alarm_state, **arguments)
    refuses("InvalidParameterValue", cloudwatch.set_alarm_state, AlarmName=name, StateValue="x", StateReason="test")

    # Cloud time runs ahead of ours; the alarms' timestamps say how far at most.
    now = datetime.datetime.now(datetime.timezone.utc)
    span = dict(StartTime=now - datetime.timedelta(hours=1), EndTime=now + datetime.timedelta(days=2))
    dimensions = [{"Name": "AutoScalingGroupName", "Value": "shop-web"}]
    metric = dict(Namespace="AWS/EC2", MetricName="CPUUtilization", Dimensions=dimensions)
    query = {"Id": "cpu", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Average"}}

    def data():
        return cloudwatch.get_metric_data(MetricDataQueries=[query], ScanBy="TimestampAscending", **span)

    result = eventually("CPU of the group", lambda: data()["MetricDataResults"][0]["Values"] and data())
    result = result["MetricDataResults"][0]
    assert result["Id"] == "cpu" and result["StatusCode"] == "Complete"
    assert len(result["Timestamps"]) == len(result["Values"]) and is_time(result["Timestamps"][0])
    assert result["Timestamps"] == sorted(result["Timestamps"]) and all(0 <= cpu <= 100 for cpu in result["Values"])
    points = cloudwatch.get_metric_statistics(Period=60, Statistics=["Average", "Maximum"], **metric, **{
        "StartTime": result["Timestamps"][0], "EndTime": result["Timestamps"][0] + datetime.timedelta(hours=4)
    })["Datapoints"]
    assert points and points[0]["Unit"] == "Percent" and points[0]["Average"] <= points[0]["Maximum"]
    listed = cloudwatch.list_metrics(Namespace="AWS/EC2", MetricName="CPUUtilization", Dimensions=dimensions)
    assert len(listed["Metrics"]) == 1 and listed["Metrics"][0]["Dimensions"] == dimensions
    refuses("ValidationError", cloudwatch.get_metric_data, MetricDataQueries=[{"Id": "m", "Expression": "1"}], **span)
    backwards = dict(StartTime=span["EndTime"], EndTime=span["StartTime"])
    refuses("InvalidParameterValue", cloudwatch.get_metric_data, MetricDataQueries=[query], **backwards)


def test_cloudwatch_query_protocol():
    """As clients from before 2024 speak to it."""
    body = b"Action=DescribeAlarms&Version=2010-08-01&AlarmNamePrefix=TargetTracking&MaxRecords=1"
    request = urllib.request.Request(ENDPOINT, data=body)
    request.add_header("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
    scope = f"Credential=lab/20260101/{REGION}/monitoring/aws4_request"
    request.add_header("Authorization", f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0")
    with urllib.request.urlopen(request) as response:
        text = response.read().decode()
    assert "<DescribeAlarmsResult>" in text and "<MetricAlarms><member><AlarmName>" in text, text


def test_route53():
    zone = route53.list_hosted_zones()["HostedZones"][0]
    assert zone["Name"] == "example.com." and zone["Id"].startswith("/hostedzone/Z")
    zone_id = zone["Id"].rsplit("/")[-1]
    assert route53.list_hosted_zones_by_name(DNSName="example.com")["HostedZones"][0]["Id"] == zone["Id"]
    got = route53.get_hosted_zone(Id=zone["Id"])
    assert got["HostedZone"]["Id"] == zone["Id"] and got["DelegationSet"]["NameServers"]
    refuses("NoSuchHostedZone", route53.get_hosted_zone, Id="Z0")

    def records(**arguments):
        return route53.list_resource_record_sets(HostedZoneId=zone_id, **arguments)["ResourceRecordSets"]

    shop = [record for record in records() if record["Name"] == "shop.example.com." and record["Type"] == "A"]
    assert len(shop) == 2 and all(record["SetIdentifier"] for record in shop)
    alias = shop[0]["AliasTarget"]
    assert ".elb.amazonaws.com." in alias["DNSName"] and alias["EvaluateTargetHealth"] in (True, False)
    assert {"Failover", "Region"} & set(shop[0])
    first = route53.list_resource_record_sets(HostedZoneId=zone_id, MaxItems="1")
    assert first["IsTruncated"] and first["NextRecordName"] and first["MaxItems"] == "1"
    following = dict(StartRecordName=first["NextRecordName"], StartRecordType=first["NextRecordType"])
    assert len(records(**following)) >= 1

    def batch(action, value="192.0.2.1"):
        record = {"Name": "test.example.com", "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": value}]}
        return dict(
            HostedZoneId=zone_id, ChangeBatch={"Changes": [{"Action": action, "ResourceRecordSet": record}]}
        )

    change = route53.change_resource_record_sets(**batch("UPSERT"))["ChangeInfo"]
    assert change["Id"].startswith("/change/C") and change["Status"] == "PENDING" and is_time(change["SubmittedAt"])
    assert [r["Name"] for r in records(StartRecordName="test.example.com", MaxItems="1")] == ["test.example.com."]
    error = refuses("InvalidChangeBatch", route53.change_resource_record_sets, **batch("CREATE"))
    assert "already exists" in str(error)
    refuses("InvalidChangeBatch", route53.change_resource_record_sets, **batch("DELETE", "192.0.2.9"))
    eventually("INSYNC", lambda: route53.get_change(Id=change["Id"])["ChangeInfo"]["Status"] == "INSYNC")
    route53.change_resource_record_sets(**batch("DELETE"))
    refuses("NoSuchChange", route53.get_change, Id="C0")

    checks = route53.list_health_checks()["HealthChecks"]
    used = {record.get("HealthCheckId") for record in shop} - {None}
    assert used and used <= {check["Id"] for check in checks}
    check_id = sorted(used)[0]
    check = route53.get_health_check(HealthCheckId=check_id)["HealthCheck"]
    config = check["HealthCheckConfig"]
    assert config["Type"] == "HTTP" and config["RequestInterval"] in (10, 30) and config["FailureThreshold"] >= 1
    seen = route53.get_health_check_status(HealthCheckId=check_id)["HealthCheckObservations"]
    assert len(seen) == 16 and seen[0]["StatusReport"]["Status"] and seen[0]["IPAddress"]
    updated = route53.update_health_check(HealthCheckId=check_id, Inverted=False, Disabled=True)["HealthCheck"]
    assert updated["HealthCheckConfig"]["Disabled"] and updated["HealthCheckVersion"] == check["HealthCheckVersion"] + 1
    route53.update_health_check(HealthCheckId=check_id, Disabled=config["Disabled"])
    refuses("HealthCheckVersionMismatch", route53.update_health_check, HealthCheckId=check_id, HealthCheckVersion=999)
    refuses("NoSuchHealthCheck", route53.get_health_check, HealthCheckId="none")
    refuses("NoSuchHealthCheck", route53.get_health_check_status, HealthCheckId="none")
    tags = route53.list_tags_for_resource(ResourceType="healthcheck", ResourceId=check_id)["ResourceTagSet"]
    assert tags["ResourceId"] == check_id and {"Key": "chaos", "Value": "allowed"} in tags["Tags"]
    tags = route53.list_tags_for_resource(ResourceType="hostedzone", ResourceId=zone_id)["ResourceTagSet"]
    assert tags["ResourceId"] == zone_id and {"Key": "chaos", "Value": "allowed"} in tags["Tags"]


def test_unsigned_requests_are_refused():
    unsigned = client("ec2", signature_version=UNSIGNED)
    try:
        unsigned.describe_instances()
        raise AssertionError("an unsigned request was answered")
    except ClientError as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    refuses("MissingAuthenticationToken", client("rds", signature_version=UNSIGNED).describe_db_instances)
    refuses("MissingAuthenticationToken", client("cloudwatch", signature_version=UNSIGNED).describe_alarms)
    try:
        urllib.request.urlopen(ENDPOINT + "/2013-04-01/hostedzone")
        raise AssertionError("an unsigned request was answered")
    except urllib.error.HTTPError as error:
        assert error.code == 403 and b"<Code>MissingAuthenticationToken</Code>" in error.read()


def test_fis_experiment():
    ids = {action["id"] for action in fis.list_actions()["actions"]}
    assert "aws:network:disrupt-connectivity" in ids, ids
    assert "duration" in fis.get_action(id="aws:network:disrupt-connectivity")["action"]["parameters"]
    subnet = ec2.describe_subnets(Filters=[{"Name": "availability-zone", "Values": [REGION + "c"]}])["Subnets"][0]
    template = {
        "description": "a test",
        "roleArn": "arn:aws:iam::111122223333:role/fis",
        "stopConditions": [{"source": "none"}],
        "targets": {
            "az": {
                "resourceType": "aws:ec2:subnet",
                "resourceArns": [f"arn:aws:ec2:{REGION}:111122223333:subnet/{subnet['SubnetId']}"],
                "selectionMode": "ALL",
            }
        },
        "actions": {
            "cut": {
                "actionId": "aws:network:disrupt-connectivity",
                "parameters": {"duration": "PT10M", "scope": "all"},
                "targets": {"Subnets": "az"},
            }
        },
        "tags": {"owner": "boto3"},
    }
    made = fis.create_experiment_template(**template)["experimentTemplate"]
    assert made["id"].startswith("EXT") and is_time(made["creationTime"]) and made["actions"] == {
        "cut": {**template["actions"]["cut"], "startAfter": []}
    }
    listed = fis.list_experiment_templates()["experimentTemplates"]
    assert [one["tags"] for one in listed if one["id"] == made["id"]] == [{"owner": "boto3"}]
    assert fis.list_tags_for_resource(resourceArn=made["arn"])["tags"] == {"owner": "boto3"}
    fis.tag_resource(resourceArn=made["arn"], tags={"more": "yes"})
    assert fis.get_experiment_template(id=made["id"])["experimentTemplate"]["tags"]["more"] == "yes"
    started = fis.start_experiment(experimentTemplateId=made["id"])["experiment"]

    def status():
        return fis.get_experiment(id=started["id"])["experiment"]["state"]["status"]

    eventually("it runs", lambda: status() == "running")
    acls = ec2.describe_network_acls(Filters=[{"Name": "tag:managedByFIS", "Values": ["true"]}])["NetworkAcls"]
    assert [one["SubnetId"] for acl in acls for one in acl["Associations"]] == [subnet["SubnetId"]]
    resolved = fis.list_experiment_resolved_targets(experimentId=started["id"])["resolvedTargets"]
    assert [one["targetName"] for one in resolved] == ["az"]
    assert fis.stop_experiment(id=started["id"])["experiment"]["state"]["status"] == "stopping"
    eventually("it is stopped", lambda: status() == "stopped")
    of_template = fis.list_experiments(experimentTemplateId=made["id"])["experiments"]
    assert [one["id"] for one in of_template] == [started["id"]]
    assert not ec2.describe_network_acls(Filters=[{"Name": "tag:managedByFIS", "Values": ["true"]}])["NetworkAcls"]
    fis.delete_experiment_template(id=made["id"])
    refuses("ResourceNotFoundException", fis.get_experiment_template, id=made["id"])
    refuses("ValidationException", fis.create_experiment_template, **{**template, "actions": {}})
    lever = fis.update_safety_lever_state(id="default", state={"status": "engaged", "reason": "a test"})["safetyLever"]
    assert lever["state"] == {"status": "engaged", "reason": "a test"}
    assert fis.get_safety_lever(id="default")["safetyLever"] == lever
    fis.update_safety_lever_state(id="default", state={"status": "disengaged", "reason": "over"})


def test_fis_api_errors():
    role = client("iam").get_role(RoleName="shop-app")["Role"]
    assert role["Arn"].endswith(":role/shop-app") and {"Key": "chaos", "Value": "allowed"} in role["Tags"]
    refuses("NoSuchEntity", client("iam").get_role, RoleName="nobody")

    def ec2_as(name):
        arn = f"arn:aws:iam::111122223333:role/{name}"
        keys = sts.assume_role(RoleArn=arn, RoleSessionName="boto3")["Credentials"]
        return boto3.client(
            "ec2",
            endpoint_url=ENDPOINT,
            region_name=REGION,
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys["SessionToken"],
            config=Config(retries={"max_attempts": 0}),
        )

    app = ec2_as("shop-app")
    for kind, code in [("internal", "InternalError"), ("throttle", "RequestLimitExceeded"), ("unavailable", "Unavailable")]:
        made = fis.create_experiment_template(
            description="a test",
            roleArn="arn:aws:iam::111122223333:role/fis",
            stopConditions=[{"source": "none"}],
            targets={"app": {"resourceType": "aws:iam:role", "resourceArns": [role["Arn"]], "selectionMode": "ALL"}},
            actions={
                "fail": {
                    "actionId": f"aws:fis:inject-api-{kind}-error",
                    "parameters": {
                        "duration": "PT10M",
                        "service": "ec2",
                        "operations": "DescribeInstances,DescribeVolumes",
                        "percentage": "100",
                    },
                    "targets": {"Roles": "app"},
                }
            },
        )["experimentTemplate"]
        app.describe_instances()
        started = fis.start_experiment(experimentTemplateId=made["id"])["experiment"]

        def status():
            return fis.get_experiment(id=started["id"])["experiment"]["state"]["status"]

        def fails():
            try:
                app.describe_instances()
            except ClientError as error:
                return error.response["Error"]["Code"] == code
            return False

        eventually(f"it fails with {code}", fails)
        refuses(code, app.describe_volumes)
        app.describe_subnets()
        ec2.describe_instances()
        ec2_as("somebody-else").describe_instances()
        fis.stop_experiment(id=started["id"])
        eventually("it is stopped", lambda: status() == "stopped")
        app.describe_instances()
        fis.delete_experiment_template(id=made["id"])


def test_fis_cross_region():
    found = ec2.describe_subnets()["Subnets"]
    arns = [f"arn:aws:ec2:{REGION}:111122223333:subnet/{one['SubnetId']}" for one in found]
    id = "aws:network:route-table-disrupt-cross-region-connectivity"
    parameters = fis.get_action(id=id)["action"]["parameters"]
    assert {key: one["required"] for key, one in parameters.items()} == {"duration": True, "region": True}
    template = {
        "description": "a test",
        "roleArn": "arn:aws:iam::111122223333:role/fis",
        "stopConditions": [{"source": "none"}],
        "targets": {"all": {"resourceType": "aws:ec2:subnet", "resourceArns": arns, "selectionMode": "ALL"}},
        "actions": {
            "cross": {
                "actionId": id,
                "parameters": {"duration": "PT10M", "region": OTHER},
                "targets": {"Subnets": "all"},
            }
        },
    }
    made = fis.create_experiment_template(**template)["experimentTemplate"]
    started = fis.start_experiment(experimentTemplateId=made["id"])["experiment"]

    def status():
        return fis.get_experiment(id=started["id"])["experiment"]["state"]["status"]

    eventually("it runs", lambda: status() == "running")
    fis.stop_experiment(id=started["id"])
    eventually("it is stopped", lambda: status() == "stopped")
    fis.delete_experiment_template(id=made["id"])
    action = {**template["actions"]["cross"], "parameters": {"duration": "PT10M"}}
    refuses("ValidationException", fis.create_experiment_template, **{**template, "actions": {"cross": action}})


def test_fis_volumes():
    instance = running()[0]
    id = instance["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    template = {
        "description": "a test",
        "roleArn": "arn:aws:iam::111122223333:role/fis",
        "stopConditions": [{"source": "none"}],
        "targets": {
            "disk": {
                "resourceType": "aws:ec2:ebs-volume",
                "resourceArns": [f"arn:aws:ec2:{REGION}:111122223333:volume/{id}"],
                "selectionMode": "ALL",
            }
        },
        "actions": {
            "pause": {
                "actionId": "aws:ebs:pause-volume-io",
                "parameters": {"duration": "PT10M"},
                "targets": {"Volumes": "disk"},
            }
        },
    }
    made = fis.create_experiment_template(**template)["experimentTemplate"]
    # The volume would go with its instance, which fails its health checks.
    autoscaling.suspend_processes(AutoScalingGroupName="shop-web", ScalingProcesses=["ReplaceUnhealthy"])
    started = fis.start_experiment(experimentTemplateId=made["id"])["experiment"]

    def status():
        return fis.get_experiment(id=started["id"])["experiment"]["state"]["status"]

    def volume_status():
        statuses = ec2.describe_volume_status(Filters=[{"Name": "volume-id", "Values": [id]}])["VolumeStatuses"]
        return statuses[0]["VolumeStatus"]["Status"]

    eventually("the volume is impaired", lambda: volume_status() == "impaired")
    fis.stop_experiment(id=started["id"])
    eventually("it is stopped", lambda: status() == "stopped")
    assert volume_status() == "ok"
    autoscaling.resume_processes(AutoScalingGroupName="shop-web", ScalingProcesses=["ReplaceUnhealthy"])
    fis.delete_experiment_template(id=made["id"])
    slow = {"duration": "PT10M", "writeIOPercentage": "100", "writeIOLatencyMilliseconds": "5"}
    action = {**template["actions"]["pause"], "actionId": "aws:ebs:volume-io-latency", "parameters": slow}
    refuses("ValidationException", fis.create_experiment_template, **{**template, "actions": {"slow": action}})
    spot = {"resourceType": "aws:ec2:spot-instance", "selectionMode": "ALL"}
    spot["resourceArns"] = [f"arn:aws:ec2:{REGION}:111122223333:instance/{instance['InstanceId']}"]
    action = {
        "actionId": "aws:ec2:send-spot-instance-interruptions",
        "parameters": {"durationBeforeInterruption": "PT1M"},
        "targets": {"SpotInstances": "spot"},
    }
    wrong = {**template, "targets": {"spot": spot}, "actions": {"interrupt": action}}
    refuses("ValidationException", fis.create_experiment_template, **wrong)


def test_zonal_shift():
    arc = client("arc-zonal-shift")
    resource = arc.list_managed_resources()["items"][0]["arn"]
    shift = {"resourceIdentifier": resource, "awayFrom": "use1-az1", "expiresIn": "3m", "comment": "a test"}
    started = arc.start_zonal_shift(**shift)
    assert started["status"] == "ACTIVE" and is_time(started["expiryTime"])
    refuses("ConflictException", arc.start_zonal_shift, **shift)
    weights = arc.get_managed_resource(resourceIdentifier=resource)["appliedWeights"]
    assert weights == {"use1-az1": 0.0, "use1-az2": 1.0, "use1-az3": 1.0}, weights
    later = arc.update_zonal_shift(zonalShiftId=started["zonalShiftId"], expiresIn="1h")
    assert later["expiryTime"] > started["expiryTime"]
    assert arc.cancel_zonal_shift(zonalShiftId=started["zonalShiftId"])["status"] == "CANCELED"
    assert not arc.list_zonal_shifts(status="ACTIVE")["items"]
    refuses("ConflictException", arc.cancel_zonal_shift, zonalShiftId=started["zonalShiftId"])
    refuses("ResourceNotFoundException", arc.cancel_zonal_shift, zonalShiftId="0" * 36)
    refuses("ValidationException", arc.start_zonal_shift, **{**shift, "awayFrom": "use1-az9"})
    refuses("ValidationException", arc.start_zonal_shift, **{**shift, "expiresIn": "90s"})


def main(tests):
    if not ENDPOINT:
        sys.exit(f"usage: {sys.argv[0]} ENDPOINT")
    tests = [(name, test) for name, test in tests.items() if name.startswith("test_")]
    failed = 0
    for name, test in tests:
        begun = time.monotonic()
        try:
            test()
            print(f"ok     {name} ({time.monotonic() - begun:.1f} s)", flush=True)
        except Exception:  # Every failure is wanted, not only the first.
            failed += 1
            print(f"FAILED {name}\n{traceback.format_exc()}", flush=True)
    print(f"{len(tests) - failed} of {len(tests)} passed", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main(globals())
