"""Drives a running lab whose database is an Aurora cluster with boto3: what `lab_boto3.py` does for the rest.

Usage: lab_boto3_cluster.py http://127.0.0.1:PORT
"""

from lab_boto3 import eventually, is_time, main, rds, refuses


def cluster():
    return rds.describe_db_clusters(DBClusterIdentifier="shop-db")["DBClusters"][0]


def writer():
    writers = [one["DBInstanceIdentifier"] for one in cluster()["DBClusterMembers"] if one["IsClusterWriter"]]
    assert len(writers) == 1, writers
    return writers[0]


def statuses():
    return {one["DBInstanceIdentifier"]: one["DBInstanceStatus"] for one in members()}


def members():
    filters = [{"Name": "db-cluster-id", "Values": ["shop-db"]}]
    return rds.describe_db_instances(Filters=filters)["DBInstances"]


def whole():
    return cluster()["Status"] == "available" and set(statuses().values()) == {"available"}


def test_describe_db_clusters():
    found = cluster()
    assert found["Engine"] == "aurora-postgresql" and found["MultiAZ"] is True
    assert found["Endpoint"].startswith("shop-db.cluster-") and "cluster-ro-" in found["ReaderEndpoint"]
    assert is_time(found["ClusterCreateTime"]) and {"Key": "chaos", "Value": "allowed"} in found["TagList"]
    assert sorted(one["PromotionTier"] for one in found["DBClusterMembers"]) == [0, 1, 2]
    assert len(rds.describe_db_clusters()["DBClusters"]) == 1
    assert not rds.describe_db_clusters(Filters=[{"Name": "db-cluster-id", "Values": ["none"]}])["DBClusters"]
    refuses("DBClusterNotFoundFault", rds.describe_db_clusters, DBClusterIdentifier="none")
    tags = rds.list_tags_for_resource(ResourceName=found["DBClusterArn"])["TagList"]
    assert {"Key": "chaos", "Value": "allowed"} in tags


def test_members():
    found = members()
    assert len({one["AvailabilityZone"] for one in found}) == len(found) == 3
    assert all(one["DBClusterIdentifier"] == "shop-db" and one["MultiAZ"] is False for one in found)
    refuses("InvalidParameterCombination", rds.stop_db_instance, DBInstanceIdentifier=found[0]["DBInstanceIdentifier"])


def test_failover_db_cluster():
    for wanted in (None, "shop-db-3"):
        eventually("whole", whole)
        before = writer()
        target = {} if wanted is None else {"TargetDBInstanceIdentifier": wanted}
        answer = rds.failover_db_cluster(DBClusterIdentifier="shop-db", **target)["DBCluster"]
        assert answer["Status"] == "failing-over"
        refuses("InvalidDBClusterStateFault", rds.failover_db_cluster, DBClusterIdentifier="shop-db")
        eventually("available", lambda: cluster()["Status"] == "available")
        assert writer() != before and wanted in (None, writer())
        events = rds.describe_events(SourceIdentifier="shop-db", SourceType="db-cluster")["Events"]
        assert all(is_time(event["Date"]) and event["SourceArn"].endswith(":cluster:shop-db") for event in events)
        told = [event["Message"] for event in events if "failover" in event["EventCategories"]]
        assert told[-2:] == [
            f"Started cross AZ failover to DB instance: {writer()}",
            f"Completed failover to DB instance: {writer()}",
        ], told
    eventually("whole", whole)
    refuses("DBClusterNotFoundFault", rds.failover_db_cluster, DBClusterIdentifier="none")
    refuses(
        "InvalidDBInstanceState",
        rds.failover_db_cluster,
        DBClusterIdentifier="shop-db",
        TargetDBInstanceIdentifier=writer(),
    )


def test_global_clusters():
    if not rds.describe_global_clusters()["GlobalClusters"]:
        refuses("GlobalClusterNotFoundFault", rds.describe_global_clusters, GlobalClusterIdentifier="none")
        return
    for loses in (False, True):
        found = eventually("whole", lambda: whole() and replicating())
        arns = {one["IsWriter"]: one["DBClusterArn"] for one in found["GlobalClusterMembers"]}
        wanted = {"GlobalClusterIdentifier": found["GlobalClusterIdentifier"], "TargetDbClusterIdentifier": arns[False]}
        if loses:
            state = rds.failover_global_cluster(AllowDataLoss=True, **wanted)["GlobalCluster"]["FailoverState"]
        else:
            state = rds.switchover_global_cluster(**wanted)["GlobalCluster"]["FailoverState"]
        assert state["IsDataLossAllowed"] is loses and state["ToDbClusterArn"] == arns[False]
        refuses("InvalidGlobalClusterStateFault", rds.switchover_global_cluster, **wanted)
        after = eventually("another writer", lambda: whole() and replicating())
        assert {one["IsWriter"]: one["DBClusterArn"] for one in after["GlobalClusterMembers"]}[True] == arns[False]
    refuses("DBClusterNotFoundFault", rds.switchover_global_cluster, **{**wanted, "TargetDbClusterIdentifier": "none"})


def replicating():
    found = rds.describe_global_clusters()["GlobalClusters"][0]
    connected = {one["SynchronizationStatus"] for one in found["GlobalClusterMembers"]} == {"connected"}
    return found if found["Status"] == "available" and connected else None


if __name__ == "__main__":
    main(globals())
