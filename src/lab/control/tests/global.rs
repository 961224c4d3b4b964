//! Route 53 and STS through their SDKs.

use aws_sdk_route53::types::{Change, ChangeAction, ChangeBatch, ChangeStatus, ResourceRecord, ResourceRecordSet};
use aws_sdk_route53::types::{RrType, TagResourceType};

use super::{code, plain_lab};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_account_is_known() {
    let (lab, sdk) = plain_lab().await;
    let identity = aws_sdk_sts::Client::new(&sdk)
        .get_caller_identity()
        .send()
        .await
        .expect("identity");
    assert_eq!(identity.account(), Some(lab.config.account.as_str()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_listed_and_changed() {
    let (_lab, sdk) = plain_lab().await;
    let client = aws_sdk_route53::Client::new(&sdk);
    let zones = client.list_hosted_zones().send().await.expect("zones");
    let zone = zones.hosted_zones()[0].id().to_owned();
    let got = client.get_hosted_zone().id(&zone).send().await.expect("zone");
    assert_eq!(got.hosted_zone().map(|zone| zone.name()), Some("example.com."));
    let records = client
        .list_resource_record_sets()
        .hosted_zone_id(&zone)
        .send()
        .await
        .expect("records");
    let shop: Vec<_> = records
        .resource_record_sets()
        .iter()
        .filter(|r| r.name() == "shop.example.com.")
        .collect();
    assert_eq!(shop.len(), 2);
    assert!(
        shop.iter()
            .all(|record| record.alias_target().is_some() && record.set_identifier().is_some())
    );

    let batch = |action| {
        let value = ResourceRecord::builder().value("192.0.2.1").build().expect("a value");
        let record = ResourceRecordSet::builder()
            .name("test.example.com")
            .r#type(RrType::A)
            .ttl(60);
        let record = record.resource_records(value).build().expect("a record");
        let change = Change::builder()
            .action(action)
            .resource_record_set(record)
            .build()
            .expect("a change");
        ChangeBatch::builder().changes(change).build().expect("a batch")
    };
    let change = |action| {
        client
            .change_resource_record_sets()
            .hosted_zone_id(&zone)
            .change_batch(batch(action))
            .send()
    };
    let created = change(ChangeAction::Create).await.expect("created");
    let info = created.change_info().expect("a change");
    assert_eq!(info.status(), &ChangeStatus::Pending);
    let status = client.get_change().id(info.id()).send().await.expect("its status");
    assert_eq!(
        status.change_info().map(|info| info.id().to_owned()),
        Some(info.id().to_owned())
    );
    assert_eq!(code(change(ChangeAction::Create).await), "InvalidChangeBatch");
    change(ChangeAction::Delete).await.expect("deleted");
    assert_eq!(code(client.get_hosted_zone().id("Z0").send().await), "NoSuchHostedZone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weights_share_the_users_and_a_zero_takes_a_region_out() {
    let (lab, sdk) = super::lab(serde_json::json!({"routing": "weighted"})).await;
    let client = aws_sdk_route53::Client::new(&sdk);
    let zone = client.list_hosted_zones().send().await.expect("zones").hosted_zones()[0]
        .id()
        .trim_start_matches("/hostedzone/")
        .to_owned();
    let tags = client
        .list_tags_for_resource()
        .resource_type(TagResourceType::Hostedzone)
        .resource_id(&zone)
        .send()
        .await
        .expect("tags");
    let tags = tags.resource_tag_set.expect("a set").tags.unwrap_or_default();
    assert!(tags.iter().any(|tag| tag.key() == Some("chaos")), "{tags:?}");
    let shop = async || {
        let listed = client.list_resource_record_sets().hosted_zone_id(&zone);
        let listed = listed
            .start_record_name("shop.example.com")
            .send()
            .await
            .expect("records");
        let sets = listed.resource_record_sets.into_iter();
        sets.filter(|set| set.name() == "shop.example.com.").collect::<Vec<_>>()
    };
    let weights = |sets: &[ResourceRecordSet]| {
        let mut weights: Vec<_> = sets
            .iter()
            .map(|set| (set.set_identifier.clone(), set.weight))
            .collect();
        weights.sort();
        weights
    };
    let (home, away) = (Some("us-east-1".to_owned()), Some("eu-west-1".to_owned()));
    let before = shop().await;
    assert_eq!(weights(&before), [(away.clone(), Some(1)), (home.clone(), Some(255))]);
    assert!(before.iter().all(|set| set.health_check_id().is_some()));
    let mut set = before
        .iter()
        .find(|set| set.set_identifier == home)
        .expect("it is there")
        .clone();
    set.weight = Some(0);
    let change = Change::builder().action(ChangeAction::Upsert).resource_record_set(set);
    let batch = ChangeBatch::builder()
        .changes(change.build().expect("a change"))
        .build();
    let change = client.change_resource_record_sets().hosted_zone_id(&zone);
    change
        .change_batch(batch.expect("a batch"))
        .send()
        .await
        .expect("changed");
    assert_eq!(weights(&shop().await), [(away, Some(1)), (home, Some(0))]);
    // The servers follow within a minute, and the truth says what they answer then.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let mut answers = lab.truth.lines().into_iter();
        let last = answers.rfind(|line| line.what == crate::lab::truth::What::Dns);
        if let Some(line) = last {
            let addresses = line.detail["addresses"].as_array().expect("addresses");
            assert_eq!(addresses.len(), 3);
            assert!(
                addresses
                    .iter()
                    .all(|one| one.as_str().is_some_and(|one| one.starts_with("127.11.")))
            );
            break;
        }
        assert!(std::time::Instant::now() < deadline, "the answer did not change");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_checks_are_described_and_updated() {
    let (_lab, sdk) = plain_lab().await;
    let client = aws_sdk_route53::Client::new(&sdk);
    let checks = client.list_health_checks().send().await.expect("checks");
    let id = checks.health_checks()[0].id().to_owned();
    let check = client
        .get_health_check()
        .health_check_id(&id)
        .send()
        .await
        .expect("check");
    let version = check.health_check().expect("a check").health_check_version();
    let status = client
        .get_health_check_status()
        .health_check_id(&id)
        .send()
        .await
        .expect("status");
    assert_eq!(status.health_check_observations().len(), 16);
    let update = || {
        client
            .update_health_check()
            .health_check_id(&id)
            .health_check_version(version)
            .disabled(true)
            .send()
    };
    let updated = update().await.expect("updated");
    let config = updated.health_check().and_then(|check| check.health_check_config());
    assert_eq!(config.and_then(|config| config.disabled()), Some(true));
    assert_eq!(code(update().await), "HealthCheckVersionMismatch");
    let tags = client
        .list_tags_for_resource()
        .resource_type(TagResourceType::Healthcheck)
        .resource_id(&id)
        .send()
        .await;
    let tags = tags.expect("tags").resource_tag_set.expect("a set");
    assert_eq!(tags.resource_id(), Some(id.as_str()));
    assert!(tags.tags().iter().any(|tag| tag.key() == Some("chaos")));
    assert_eq!(
        code(client.get_health_check().health_check_id("none").send().await),
        "NoSuchHealthCheck"
    );
}
