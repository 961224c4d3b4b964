//! Auto Scaling, Elastic Load Balancing, RDS and CloudWatch through their SDKs.

use std::time::{Duration, Instant};

use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{
    Dimension, HistoryItemType, Metric, MetricDataQuery, MetricStat, StateValue, Statistic,
};
use aws_sdk_rds::types::SourceType;

use super::{code, lab, plain_lab};

const GROUP: &str = "shop-web";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_described_and_resized() {
    let (_lab, sdk) = plain_lab().await;
    let client = aws_sdk_autoscaling::Client::new(&sdk);
    let groups = client
        .describe_auto_scaling_groups()
        .auto_scaling_group_names(GROUP)
        .send()
        .await
        .expect("groups");
    let group = &groups.auto_scaling_groups()[0];
    assert_eq!((group.min_size(), group.desired_capacity()), (Some(3), Some(3)));
    assert_eq!(group.instances().len(), 3);
    assert!(group.created_time().is_some());
    let policies = client
        .describe_policies()
        .auto_scaling_group_name(GROUP)
        .send()
        .await
        .expect("policies");
    let tracking = policies.scaling_policies()[0]
        .target_tracking_configuration()
        .expect("target tracking");
    assert!(tracking.target_value().is_some_and(|target| target > 0.0));
    assert_eq!(policies.scaling_policies()[0].alarms().len(), 2);

    let suspend = client
        .suspend_processes()
        .auto_scaling_group_name(GROUP)
        .scaling_processes("AZRebalance");
    suspend.send().await.expect("suspended");
    let groups = client.describe_auto_scaling_groups().send().await.expect("groups");
    assert_eq!(
        groups.auto_scaling_groups()[0].suspended_processes()[0].process_name(),
        Some("AZRebalance")
    );
    client
        .resume_processes()
        .auto_scaling_group_name(GROUP)
        .send()
        .await
        .expect("resumed");
    client
        .update_auto_scaling_group()
        .auto_scaling_group_name(GROUP)
        .max_size(9)
        .send()
        .await
        .expect("updated");
    client
        .set_desired_capacity()
        .auto_scaling_group_name(GROUP)
        .desired_capacity(4)
        .send()
        .await
        .expect("set");
    let too_many = client
        .set_desired_capacity()
        .auto_scaling_group_name(GROUP)
        .desired_capacity(10)
        .send()
        .await;
    assert_eq!(code(too_many), "ValidationError");
    let one = group.instances()[0].instance_id().expect("an id");
    let health = client.set_instance_health().instance_id(one).health_status("Healthy");
    health.send().await.expect("health set");
    let ended = client
        .terminate_instance_in_auto_scaling_group()
        .instance_id(one)
        .should_decrement_desired_capacity(true)
        .send()
        .await
        .expect("terminated");
    assert!(ended.activity().is_some_and(|activity| activity.cause().is_some()));
    let activities = client
        .describe_scaling_activities()
        .auto_scaling_group_name(GROUP)
        .max_records(1)
        .send()
        .await;
    let activities = activities.expect("activities");
    assert_eq!(activities.activities().len(), 1);
    assert!(activities.activities()[0].start_time().is_some());
    let unknown = client
        .describe_scaling_activities()
        .auto_scaling_group_name("none")
        .send()
        .await;
    assert_eq!(code(unknown), "ValidationError");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_balancers_and_their_targets_are_described() {
    let (_lab, sdk) = plain_lab().await;
    let client = aws_sdk_elasticloadbalancingv2::Client::new(&sdk);
    let balancers = client
        .describe_load_balancers()
        .names(GROUP)
        .send()
        .await
        .expect("load balancers");
    let balancer = &balancers.load_balancers()[0];
    let arn = balancer.load_balancer_arn().expect("an arn");
    assert!(
        balancer
            .dns_name()
            .is_some_and(|name| name.ends_with(".us-east-1.elb.amazonaws.com"))
    );
    assert_eq!(balancer.availability_zones().len(), 3);
    let groups = client
        .describe_target_groups()
        .load_balancer_arn(arn)
        .send()
        .await
        .expect("target groups");
    let group = groups.target_groups()[0].target_group_arn().expect("an arn");
    let health = client
        .describe_target_health()
        .target_group_arn(group)
        .send()
        .await
        .expect("health");
    assert_eq!(health.target_health_descriptions().len(), 3);
    let listeners = client
        .describe_listeners()
        .load_balancer_arn(arn)
        .send()
        .await
        .expect("listeners");
    assert_eq!(
        listeners.listeners()[0].default_actions()[0].target_group_arn(),
        Some(group)
    );
    let tags = client
        .describe_tags()
        .resource_arns(arn)
        .resource_arns(group)
        .send()
        .await
        .expect("tags");
    assert_eq!(tags.tag_descriptions().len(), 2);
    let attributes = client
        .describe_target_group_attributes()
        .target_group_arn(group)
        .send()
        .await;
    assert!(!attributes.expect("attributes").attributes().is_empty());
    assert_eq!(
        code(client.describe_load_balancers().names("none").send().await),
        "LoadBalancerNotFound"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_fails_over_and_says_so() {
    let (_lab, sdk) = plain_lab().await;
    let client = aws_sdk_rds::Client::new(&sdk);
    let described = client
        .describe_db_instances()
        .db_instance_identifier("shop-db")
        .send()
        .await
        .expect("described");
    let database = &described.db_instances()[0];
    assert_eq!(database.db_instance_status(), Some("available"));
    let standby = database.secondary_availability_zone().expect("a standby").to_owned();
    let tags = client
        .list_tags_for_resource()
        .resource_name(database.db_instance_arn().expect("an arn"));
    assert!(
        tags.send()
            .await
            .expect("tags")
            .tag_list()
            .iter()
            .any(|tag| tag.key() == Some("chaos"))
    );
    let reboot = || {
        client
            .reboot_db_instance()
            .db_instance_identifier("shop-db")
            .force_failover(true)
            .send()
    };
    let rebooted = reboot().await.expect("rebooted");
    assert_eq!(
        rebooted.db_instance().and_then(|db| db.db_instance_status()),
        Some("rebooting")
    );
    assert_eq!(code(reboot().await), "InvalidDBInstanceState");
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let described = client.describe_db_instances().send().await.expect("described");
        let database = &described.db_instances()[0];
        if database.db_instance_status() == Some("available") {
            assert_eq!(database.availability_zone(), Some(standby.as_str()));
            break;
        }
        assert!(Instant::now() < deadline, "still {:?}", database.db_instance_status());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let events = client
        .describe_events()
        .source_type(SourceType::DbInstance)
        .source_identifier("shop-db");
    let events = events.send().await.expect("events");
    let messages: Vec<_> = events.events().iter().filter_map(|event| event.message()).collect();
    assert!(
        messages.contains(&"Multi-AZ instance failover started."),
        "{messages:?}"
    );
    assert!(
        messages.contains(&"Multi-AZ instance failover completed."),
        "{messages:?}"
    );
    let unknown = client
        .describe_db_instances()
        .db_instance_identifier("none")
        .send()
        .await;
    assert_eq!(code(unknown), "DBInstanceNotFound");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_fails_over_and_says_so() {
    let (_lab, sdk) = lab(serde_json::json!({"database": {"engine": "aurora-postgresql"}})).await;
    let client = aws_sdk_rds::Client::new(&sdk);
    let cluster = async || {
        let request = client.describe_db_clusters().db_cluster_identifier("shop-db");
        request
            .send()
            .await
            .expect("described")
            .db_clusters
            .expect("clusters")
            .remove(0)
    };
    let writer = |cluster: &aws_sdk_rds::types::DbCluster| {
        let members = cluster.db_cluster_members().iter();
        let writers: Vec<_> = members
            .filter(|member| member.is_cluster_writer() == Some(true))
            .collect();
        assert_eq!(writers.len(), 1);
        writers[0].db_instance_identifier().expect("an id").to_owned()
    };
    let before = cluster().await;
    assert_eq!(
        (before.status(), before.db_cluster_members().len()),
        (Some("available"), 3)
    );
    assert!(before.reader_endpoint().expect("an endpoint").contains(".cluster-ro-"));
    let filter = |value: &str| {
        let filter = aws_sdk_rds::types::Filter::builder().name("db-cluster-id");
        client
            .describe_db_instances()
            .filters(filter.values(value).build())
            .send()
    };
    let members = filter("shop-db").await.expect("described");
    let members = members.db_instances();
    assert!(members.iter().all(|one| one.db_cluster_identifier() == Some("shop-db")));
    assert_eq!(
        (
            members.len(),
            filter("other").await.expect("described").db_instances().len()
        ),
        (3, 0)
    );
    let fail_over = || client.failover_db_cluster().db_cluster_identifier("shop-db").send();
    let failing = fail_over().await.expect("it is available");
    assert_eq!(
        failing.db_cluster().and_then(|cluster| cluster.status()),
        Some("failing-over")
    );
    assert_eq!(code(fail_over().await), "InvalidDBClusterStateFault");
    let deadline = Instant::now() + Duration::from_secs(10);
    while cluster().await.status() != Some("available") {
        assert!(Instant::now() < deadline, "it fails over for too long");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_ne!(writer(&cluster().await), writer(&before));
    let events = client
        .describe_events()
        .source_type(SourceType::DbCluster)
        .source_identifier("shop-db");
    let events = events.send().await.expect("events");
    let messages: Vec<_> = events.events().iter().filter_map(|event| event.message()).collect();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages[0].starts_with("Started cross AZ failover"), "{messages:?}");
    assert!(messages[1].starts_with("Completed failover"), "{messages:?}");
    assert!(events.events().iter().all(|event| event.source_arn().is_some()));
    let unknown = client.describe_db_clusters().db_cluster_identifier("none").send().await;
    assert_eq!(code(unknown), "DBClusterNotFoundFault");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_global_cluster_switches_over_and_fails_back() {
    let (_lab, sdk) = lab(serde_json::json!({"database": {"engine": "aurora-postgresql", "global": true}})).await;
    let client = aws_sdk_rds::Client::new(&sdk);
    let global = async || {
        let answer = client.describe_global_clusters().send().await.expect("described");
        answer.global_clusters.expect("clusters").remove(0)
    };
    let before = global().await;
    let arn = |region: &str| {
        let members = before.global_cluster_members().iter();
        let mut arns = members.filter_map(|member| member.db_cluster_arn());
        arns.find(|arn| arn.contains(region)).expect("a member").to_owned()
    };
    let writer = |global: &aws_sdk_rds::types::GlobalCluster| {
        let mut members = global.global_cluster_members().iter();
        let writer = members
            .find(|member| member.is_writer() == Some(true))
            .expect("a writer");
        writer.db_cluster_arn().expect("an ARN").to_owned()
    };
    assert_eq!(writer(&before), arn("us-east-1"));
    let deadline = Instant::now() + Duration::from_secs(30);
    for (to, loses) in [("eu-west-1", false), ("us-east-1", true)] {
        let state = if loses {
            let failover = client.failover_global_cluster().allow_data_loss(true);
            let failover = failover.global_cluster_identifier("shop-db-global");
            let answer = failover.target_db_cluster_identifier(arn(to)).send().await;
            answer.expect("it is available").global_cluster
        } else {
            let switchover = client
                .switchover_global_cluster()
                .global_cluster_identifier("shop-db-global");
            let answer = switchover.target_db_cluster_identifier(arn(to)).send().await;
            answer.expect("it is available").global_cluster
        };
        let state = state.and_then(|global| global.failover_state).expect("it is under way");
        assert_eq!(state.is_data_loss_allowed(), Some(loses));
        assert_eq!(state.to_db_cluster_arn(), Some(arn(to).as_str()));
        while global().await.status() != Some("available") {
            assert!(Instant::now() < deadline, "it takes too long");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(writer(&global().await), arn(to));
    }
    let unknown = client
        .describe_global_clusters()
        .global_cluster_identifier("none")
        .send()
        .await;
    assert_eq!(code(unknown), "GlobalClusterNotFoundFault");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alarms_and_metrics_are_answered_in_cbor() {
    let (lab, sdk) = plain_lab().await;
    let client = aws_sdk_cloudwatch::Client::new(&sdk);
    let alarms = client
        .describe_alarms()
        .alarm_name_prefix("TargetTracking-")
        .send()
        .await
        .expect("alarms");
    assert_eq!(alarms.metric_alarms().len(), 2);
    let alarm = &alarms.metric_alarms()[0];
    assert!(alarm.state_updated_timestamp().is_some() && alarm.threshold().is_some());
    let name = alarm.alarm_name().expect("a name");
    let set = client.set_alarm_state().alarm_name(name).state_reason("test");
    set.state_value(StateValue::Ok).send().await.expect("OK");
    let set = client.set_alarm_state().alarm_name(name).state_reason("test");
    set.state_value(StateValue::Alarm).send().await.expect("ALARM");
    let history = client
        .describe_alarm_history()
        .alarm_name(name)
        .history_item_type(HistoryItemType::StateUpdate);
    let history = history.send().await.expect("history");
    assert!(
        history
            .alarm_history_items()
            .iter()
            .all(|item| item.timestamp().is_some())
    );
    assert!(!history.alarm_history_items().is_empty());
    let unknown = client
        .set_alarm_state()
        .alarm_name("none")
        .state_reason("test")
        .state_value(StateValue::Ok);
    assert_eq!(code(unknown.send().await), "ResourceNotFound");

    let dimension = Dimension::builder().name("AutoScalingGroupName").value(GROUP).build();
    let metric = Metric::builder()
        .namespace("AWS/EC2")
        .metric_name("CPUUtilization")
        .dimensions(dimension.clone());
    let stat = MetricStat::builder()
        .metric(metric.build())
        .period(60)
        .stat("Average")
        .build();
    let (start, end) = (
        DateTime::from_secs_f64(lab.now() - 3600.0),
        DateTime::from_secs_f64(lab.now() + 36_000.0),
    );
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let query = MetricDataQuery::builder().id("cpu").metric_stat(stat.clone()).build();
        let data = client
            .get_metric_data()
            .metric_data_queries(query)
            .start_time(start)
            .end_time(end)
            .send()
            .await;
        let data = data.expect("data");
        let result = &data.metric_data_results()[0];
        assert_eq!(result.timestamps().len(), result.values().len());
        if !result.values().is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "no CPU was published");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let statistics = client
        .get_metric_statistics()
        .namespace("AWS/EC2")
        .metric_name("CPUUtilization")
        .dimensions(dimension)
        .start_time(start)
        .end_time(end)
        .period(60)
        .statistics(Statistic::Maximum)
        .send()
        .await
        .expect("statistics");
    assert!(statistics.datapoints()[0].maximum().is_some());
    let listed = client
        .list_metrics()
        .namespace("AWS/EC2")
        .send()
        .await
        .expect("metrics");
    assert!(!listed.metrics().is_empty());
}
