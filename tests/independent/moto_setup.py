"""Builds in moto the architecture that the lab has, as far as moto can, and prints its names as JSON."""

import json
import sys

import boto3


def main(endpoint: str) -> None:
    def client(service: str):
        return boto3.client(service, endpoint_url=endpoint, region_name="us-east-1")

    ec2, autoscaling, elb, rds, route53 = map(client, ["ec2", "autoscaling", "elbv2", "rds", "route53"])
    subnets = ec2.describe_subnets()["Subnets"][:3]
    subnet_ids = [subnet["SubnetId"] for subnet in subnets]
    image = ec2.describe_images()["Images"][0]["ImageId"]
    template = ec2.create_launch_template(
        LaunchTemplateName="shop-web", LaunchTemplateData={"ImageId": image, "InstanceType": "m5.large"}
    )["LaunchTemplate"]["LaunchTemplateId"]
    balancer = elb.create_load_balancer(Name="shop-web", Subnets=subnet_ids)["LoadBalancers"][0]
    group = elb.create_target_group(Name="shop-web", Protocol="HTTP", Port=80, VpcId=subnets[0]["VpcId"])["TargetGroups"][0]
    elb.create_listener(
        LoadBalancerArn=balancer["LoadBalancerArn"],
        Protocol="HTTP",
        Port=80,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": group["TargetGroupArn"]}],
    )
    autoscaling.create_auto_scaling_group(
        AutoScalingGroupName="shop-web",
        LaunchTemplate={"LaunchTemplateId": template, "Version": "$Latest"},
        MinSize=3,
        MaxSize=12,
        DesiredCapacity=3,
        VPCZoneIdentifier=",".join(subnet_ids),
        TargetGroupARNs=[group["TargetGroupArn"]],
        Tags=[{"Key": "chaos", "Value": "allowed", "PropagateAtLaunch": True}],
    )
    autoscaling.put_scaling_policy(
        AutoScalingGroupName="shop-web",
        PolicyName="cpu",
        PolicyType="TargetTrackingScaling",
        TargetTrackingConfiguration={
            "PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"},
            "TargetValue": 40.0,
        },
    )
    rds.create_db_instance(
        DBInstanceIdentifier="shop-db",
        DBInstanceClass="db.m5.large",
        Engine="postgres",
        MasterUsername="shop",
        MasterUserPassword="not-a-secret",
        AllocatedStorage=20,
        MultiAZ=True,
    )
    client("iam").create_role(
        RoleName="shop-app",
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": []}),
        Tags=[{"Key": "chaos", "Value": "allowed"}],
    )
    rds.create_db_cluster(
        DBClusterIdentifier="shop-db",
        Engine="aurora-postgresql",
        MasterUsername="shop",
        MasterUserPassword="not-a-secret",
    )
    for number in (1, 2, 3):
        rds.create_db_instance(
            DBInstanceIdentifier=f"shop-db-{number}",
            DBClusterIdentifier="shop-db",
            DBInstanceClass="db.r6g.large",
            Engine="aurora-postgresql",
        )
    zone = route53.create_hosted_zone(Name="example.com", CallerReference="parity")["HostedZone"]["Id"]
    check = route53.create_health_check(
        CallerReference="parity",
        HealthCheckConfig={"Type": "HTTP", "FullyQualifiedDomainName": "shop.example.com", "Port": 80, "ResourcePath": "/health"},
    )["HealthCheck"]["Id"]
    route53.change_resource_record_sets(
        HostedZoneId=zone,
        ChangeBatch={
            "Changes": [
                {
                    "Action": "CREATE",
                    "ResourceRecordSet": {
                        "Name": "shop.example.com",
                        "Type": "A",
                        "SetIdentifier": "primary",
                        "Failover": "PRIMARY",
                        "TTL": 60,
                        "ResourceRecords": [{"Value": "127.0.0.1"}],
                        "HealthCheckId": check,
                    },
                }
            ]
        },
    )
    print(json.dumps({"zone": zone.removeprefix("/hostedzone/"), "target_group": group["TargetGroupArn"]}))


if __name__ == "__main__":
    main(sys.argv[1])
