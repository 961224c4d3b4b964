//! The undo of every reversible fault: what it changed is as it was, and what somebody else has changed meanwhile is
//! left as found, with an error that says so.

use std::time::{Duration, Instant};

use serde_json::json;
use tenfold::aws::Tags;
use tenfold::plan::Role;
use tenfold::run::chaos::{ChaosError, Runner};
use tokio::sync::mpsc;

use crate::account::{self, DATABASE, GROUP, RECORD, REGION, Service, Settings};
use crate::chaos_in_lab::{Bench, fault};

/// How long anything is waited for, real time.
const PATIENCE: Duration = Duration::from_secs(20);

/// What an error says of whatever is left as found.
const LEFT_AS_FOUND: &str = "somebody else has changed it meanwhile, so it is left as found";

impl Bench {
    fn hosted_zone(&self) -> &str {
        match &self.plan.target.roles["dns"] {
            Role::Dns { hosted_zone, .. } => hosted_zone,
            other => panic!("{other:?}"),
        }
    }

    /// Describe calls may lag behind a change by two seconds of cloud time.
    async fn settle(&self) {
        self.clock.clock().sleep_cloud(Duration::from_secs(5)).await;
    }

    async fn settings(&self) -> Settings {
        self.settle().await;
        account::settings(&self.reader, self.hosted_zone()).await
    }

    async fn service(&self) -> Service {
        account::service(&self.reader).await
    }

    async fn serves(&self, wanted: impl Fn(&Service) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let service = self.service().await;
            if wanted(&service) {
                return;
            }
            assert!(Instant::now() < deadline, "{service:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Injects the fault; the receiver keeps the runner's events flowing.
    async fn inject(&self, name: &str) -> Runner {
        let (events, mut seen) = mpsc::channel(1000);
        tokio::spawn(async move { while seen.recv().await.is_some() {} });
        let runner = self.runner(events);
        runner.inject(fault(name)).await.expect("it is injected");
        runner
    }

    /// Injects, looks whether its settings show it, reverts: the settings are those before, and the service comes back.
    async fn there_and_back(&self, name: &str, shows: impl Fn(&Settings, &Settings) -> bool) {
        let (before, service) = (self.settings().await, self.service().await);
        let runner = self.inject(name).await;
        let during = self.settings().await;
        assert!(shows(&before, &during), "{during:#?}");
        runner.revert(fault(name)).await.expect("it is reverted");
        assert_eq!(self.settings().await, before);
        self.serves(|now| *now == service).await;
        assert!(runner.in_world().is_empty());
        runner.revert(fault(name)).await.expect("once more is harmless");
        assert_eq!(self.settings().await, before);
    }

    /// Reverts a fault that somebody else has touched meanwhile; answers what the error says.
    async fn left_as_found(&self, runner: &Runner, name: &str) -> String {
        let found = self.settings().await;
        let error = runner.revert(fault(name)).await.expect_err("it is not ours to undo");
        let ChaosError::StillThere { left, .. } = error else {
            panic!("{error}");
        };
        assert!(left.contains(LEFT_AS_FOUND), "{left}");
        assert!(left.contains("to undo it by hand"), "{left}");
        let now = self.settings().await;
        assert_eq!(
            (now.health_check_path, now.records),
            (found.health_check_path, found.records)
        );
        assert_eq!(now.inverted, found.inverted);
        let journal = std::fs::read_to_string(self.journal()).expect("the journal");
        assert!(
            journal.contains("revert_failed") && !journal.contains("\"reverted\""),
            "{journal}"
        );
        left
    }
}

/// What an error says is to be done by hand begins so, and is about nothing else.
fn by_hand(left: &str, command: &str) {
    let (_, said) = left
        .split_once("to undo it by hand in us-east-1: ")
        .unwrap_or_else(|| panic!("{left}"));
    assert!(said.starts_with(command), "{said}\nis not\n{command}");
    assert!(!said.contains(", `aws"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_instance_that_its_group_keeps_is_started_again() {
    let bench = Bench::start(
        json!({"web": {"suspended": ["HealthCheck", "ReplaceUnhealthy"]}}),
        120.0,
    )
    .await;
    let members = async || {
        let group = bench
            .reader
            .group(REGION, GROUP)
            .await
            .expect("an answer")
            .expect("a group");
        group.members.into_iter().map(|member| member.id).collect::<Vec<_>>()
    };
    let before = members().await;
    let healthy = bench.service().await;
    let runner = bench.inject("instance-stop").await;
    bench
        .serves(|now| now.targets.iter().filter(|state| *state == "healthy").count() == 2)
        .await;
    runner.revert(fault("instance-stop")).await.expect("it is reverted");
    bench.serves(|now| *now == healthy).await;
    let states = bench.reader.instances(REGION, &before).await.expect("an answer");
    assert!(states.iter().all(|instance| instance.state == "running"), "{states:?}");
    assert_eq!(members().await, before, "the same instances");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_instance_that_its_group_has_replaced_is_left_to_it() {
    let bench = Bench::start(json!({}), 120.0).await;
    let healthy = bench.service().await;
    let runner = bench.inject("instance-stop").await;
    bench.serves(|now| now.in_service == 3 && now.targets.len() == 3).await;
    runner
        .revert(fault("instance-stop"))
        .await
        .expect("nothing is left to undo");
    bench.serves(|now| *now == healthy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suspended_processes_are_resumed_but_for_those_that_were_suspended_before() {
    let bench = Bench::start(json!({"web": {"suspended": ["Launch"]}}), 120.0).await;
    bench
        .there_and_back("scaling-suspended", |before, during| {
            before.suspended == ["Launch"] && during.suspended.contains(&"Terminate".to_owned())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deregistered_target_is_registered_again() {
    let bench = Bench::start(json!({}), 120.0).await;
    let healthy = bench.service().await;
    let runner = bench.inject("target-deregistration").await;
    bench
        .serves(|now| now.targets.iter().any(|state| state == "draining"))
        .await;
    runner
        .revert(fault("target-deregistration"))
        .await
        .expect("it is reverted");
    bench.serves(|now| *now == healthy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deregistered_target_whose_instance_is_gone_is_left_to_its_group() {
    let bench = Bench::start(json!({}), 120.0).await;
    let healthy = bench.service().await;
    let runner = bench.inject("target-deregistration").await;
    bench.settle().await;
    let arn = bench
        .reader
        .group(REGION, GROUP)
        .await
        .expect("an answer")
        .expect("a group")
        .target_groups;
    let targets = bench.reader.target_health(REGION, &arn[0]).await.expect("an answer");
    let draining = targets
        .iter()
        .find(|target| target.state == "draining")
        .expect("it drains");
    let ids = [draining.id.clone()];
    bench
        .writer
        .terminate_instances(REGION, &ids)
        .await
        .expect("terminated");
    runner
        .revert(fault("target-deregistration"))
        .await
        .expect("nothing is left to undo");
    bench.serves(|now| *now == healthy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_health_check_path_is_mended() {
    let bench = Bench::start(json!({"web": {"health_check_type": "EC2"}}), 120.0).await;
    bench
        .there_and_back("health-check-path", |before, during| {
            before.health_check_path.as_deref() == Some("/health")
                && during.health_check_path != before.health_check_path
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_az_and_a_region_are_put_back_under_their_acl() {
    let bench = Bench::start(json!({}), 120.0).await;
    let moved = |before: &Settings, during: &Settings| {
        let moved = during
            .network
            .iter()
            .filter(|(subnet, acl)| before.network[*subnet] != **acl);
        (moved.count(), during.acls - before.acls)
    };
    bench
        .there_and_back("az-outage", |before, during| moved(before, during) == (1, 1))
        .await;
    let bench = Bench::start(json!({}), 120.0).await;
    bench
        .there_and_back("region-blackout", |before, during| moved(before, during) == (3, 1))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_database_is_started_once_it_has_stopped() {
    let bench = Bench::start(json!({"database": {"stop": "60s", "start": "90s"}}), 120.0).await;
    // The revert comes while it is still stopping.
    bench
        .there_and_back("database-stop", |before, during| {
            before.database == "available" && during.database == "stopping"
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_health_check_is_turned_back_and_a_weight_put_back() {
    let bench = Bench::start(json!({}), 120.0).await;
    bench
        .there_and_back("health-check-inversion", |before, during| {
            before.inverted == [false] && during.inverted == [true]
        })
        .await;
    let bench = Bench::start(json!({"routing": "weighted"}), 120.0).await;
    bench
        .there_and_back("weight-zero", |before, during| {
            let weights = |settings: &Settings| {
                let mut weights: Vec<_> = settings.records.iter().map(|set| set.weight).collect();
                weights.sort();
                weights
            };
            weights(before) == [Some(1), Some(255)] && weights(during) == [Some(0), Some(1)]
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_health_check_path_that_somebody_else_has_changed_is_left_as_found() {
    let bench = Bench::start(json!({"web": {"health_check_type": "EC2"}}), 120.0).await;
    let runner = bench.inject("health-check-path").await;
    let group = bench
        .reader
        .group(REGION, GROUP)
        .await
        .expect("an answer")
        .expect("a group");
    let arn = &group.target_groups[0];
    bench
        .writer
        .set_health_check_path(REGION, arn, "/")
        .await
        .expect("changed");
    let left = bench.left_as_found(&runner, "health-check-path").await;
    let command = "`aws elbv2 modify-target-group --region us-east-1 --target-group-arn ";
    by_hand(&left, &format!("{command}{arn} --health-check-path /health`"));
    assert!(left.contains("has the health-check path /,"), "{left}");
    assert_eq!(bench.settings().await.health_check_path.as_deref(), Some("/"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_weight_that_somebody_else_has_changed_is_left_as_found() {
    let bench = Bench::start(json!({"routing": "weighted"}), 120.0).await;
    let runner = bench.inject("weight-zero").await;
    let sets = bench
        .reader
        .record_sets(bench.hosted_zone(), RECORD)
        .await
        .expect("an answer");
    let mut set = sets.into_iter().find(|set| set.weight == Some(0)).expect("it is there");
    set.weight = Some(7);
    bench
        .writer
        .upsert_record_set(bench.hosted_zone(), &set)
        .await
        .expect("changed");
    let left = bench.left_as_found(&runner, "weight-zero").await;
    assert!(left.contains("record us-east-1 of shop.example.com."), "{left}");
    assert!(bench.settings().await.records.contains(&set));
    let zone = bench.hosted_zone();
    by_hand(
        &left,
        &format!("`aws route53 change-resource-record-sets --hosted-zone-id {zone} --change-batch '"),
    );
    assert!(left.contains("\"Weight\":255"), "{left}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_health_check_of_another_version_is_left_as_found() {
    let bench = Bench::start(json!({}), 120.0).await;
    let ids = bench
        .reader
        .record_health_checks(bench.hosted_zone(), RECORD)
        .await
        .expect("an answer");
    let runner = bench.inject("health-check-inversion").await;
    let ours = bench.reader.health_check(&ids[0]).await.expect("an answer");
    assert!(ours.inverted);
    // Somebody means it to be inverted, and says so.
    bench
        .writer
        .set_inverted(&ids[0], true, ours.version)
        .await
        .expect("changed");
    let left = bench.left_as_found(&runner, "health-check-inversion").await;
    assert!(left.contains(&format!("is at version {}", ours.version + 1)), "{left}");
    let id = &ids[0];
    by_hand(
        &left,
        &format!("`aws route53 update-health-check --health-check-id {id} --no-inverted`"),
    );
    assert!(bench.reader.health_check(&ids[0]).await.expect("an answer").inverted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subnet_that_somebody_else_has_moved_is_left_as_found_and_the_others_are_put_back() {
    let bench = Bench::start(json!({}), 120.0).await;
    let before = bench.settings().await;
    let runner = bench.inject("region-blackout").await;
    let vpc = bench.plan.target.inventory.regions[REGION].subnets[0].vpc.clone();
    let created = bench
        .writer
        .create_network_acl(REGION, &vpc, &Tags::new(), "theirs")
        .await;
    let theirs = created.expect("created").value;
    bench.settle().await;
    let acls = bench.reader.network_acls(REGION, &vpc).await.expect("an answer");
    let ours = acls
        .iter()
        .find(|acl| acl.tags.contains_key("tenfold:run"))
        .expect("it is there");
    let moved = ours.associations[0].clone();
    let replace = bench.writer.replace_network_acl_association(REGION, &moved.id, &theirs);
    replace.await.expect("moved");
    let left = bench.left_as_found(&runner, "region-blackout").await;
    assert!(left.contains(&format!("{} is under {theirs}", moved.subnet)), "{left}");
    let now = bench.reader.network_acls(REGION, &vpc).await.expect("an answer");
    let mut associations = now.iter().flat_map(|acl| &acl.associations);
    let association = associations
        .find(|one| one.subnet == moved.subnet)
        .expect("it is there");
    let (id, was) = (&association.id, &before.network[&moved.subnet]);
    let command = "`aws ec2 replace-network-acl-association --region us-east-1 --association-id ";
    by_hand(&left, &format!("{command}{id} --network-acl-id {was}`"));
    let after = bench.settings().await;
    for (subnet, acl) in &after.network {
        let expected = if *subnet == moved.subnet {
            &theirs
        } else {
            &before.network[subnet]
        };
        assert_eq!(acl, expected, "{subnet}");
    }
    // Theirs is left, ours is gone.
    assert_eq!(after.acls, before.acls + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_gone_by_then_is_told() {
    let bench = Bench::start(json!({"database": {"stop": "30s"}}), 120.0).await;
    let runner = bench.inject("database-stop").await;
    let forgotten = bench
        .lab
        .world()
        .regions
        .get_mut(REGION)
        .expect("it is there")
        .db_instances
        .remove(DATABASE);
    assert!(forgotten.is_some());
    let error = runner
        .revert(fault("database-stop"))
        .await
        .expect_err("there is nothing to start");
    assert!(
        error.to_string().contains("there is no RDS instance shop-db any more"),
        "{error}"
    );
    by_hand(
        &error.to_string(),
        "`aws rds describe-db-snapshots --region us-east-1 --db-instance-identifier shop-db`",
    );
}
