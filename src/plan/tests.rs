//! Tests of building and printing plans against a fixed inventory.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::config::{self, Sources};

const TARGET: &str = r#"
name: lab
account: "111122223333"
regions: [us-east-1, eu-west-1]
entry: http://shop.example.com:8080
roles:
  web: { auto_scaling_group: shop-web }
  database: { db_instance: shop-db }
  dns: { hosted_zone: Z1EXAMPLE, record: shop.example.com }
allow: { tag: { chaos: allowed }, share: 34% }
served_by: { header: x-served-by }
"#;

fn target() -> TargetPlan {
    let file = config::load_target("target.yaml", TARGET).unwrap_or_else(|errors| panic!("{errors}"));
    let mut inventory = Inventory {
        account: file.account.clone(),
        ..Inventory::default()
    };
    let allowed = BTreeMap::from([("chaos".to_owned(), "allowed".to_owned())]);
    for (index, region) in file.regions.iter().enumerate() {
        let zones = ["a", "b", "c"].map(|zone| format!("{region}{zone}"));
        let instances = zones.iter().enumerate().map(|(n, az)| InventoryInstance {
            id: format!("i-0{index}{n}"),
            az: az.clone(),
            in_service: true,
            spot: false,
            volumes: Vec::new(),
            tags: allowed.clone(),
        });
        let group = InventoryGroup {
            min: 3,
            max: 12,
            desired: 3,
            instances: instances.collect(),
            tags: allowed.clone(),
            ..InventoryGroup::default()
        };
        let subnets = zones.iter().enumerate().map(|(n, az)| InventorySubnet {
            id: format!("subnet-{index}{n}"),
            vpc: format!("vpc-{index}"),
            az: az.clone(),
            association: format!("aclassoc-{index}{n}"),
            network_acl: format!("acl-{index}"),
            tags: allowed.clone(),
        });
        let found = InventoryRegion {
            groups: BTreeMap::from([("shop-web".to_owned(), group)]),
            databases: BTreeMap::from([(
                "shop-db".to_owned(),
                InventoryDatabase {
                    multi_az: true,
                    tags: allowed.clone(),
                    ..InventoryDatabase::default()
                },
            )]),
            subnets: subnets.collect(),
            ..InventoryRegion::default()
        };
        inventory.regions.insert(region.clone(), found);
    }
    TargetPlan::new(&file, BTreeMap::new(), inventory)
}

fn loaded(profile: &str, overrides: &[(&str, &str)]) -> config::Config {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let overrides: Vec<(String, String)> = overrides
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    let text = read(profile);
    let references = config::references(profile, &text, &overrides).unwrap_or_else(|errors| panic!("{errors}"));
    let experiments = references
        .experiments
        .iter()
        .map(|r| (r.value.clone(), read(&r.value)))
        .collect();
    let sources = Sources {
        profile: (profile.to_owned(), text),
        experiments,
        ..Sources::default()
    };
    config::load(&sources, &overrides).unwrap_or_else(|errors| panic!("{errors}"))
}

fn options() -> PlanOptions {
    let pace = Pace::new(30.0).expect("30 is a pace");
    PlanOptions { seed: 1, pace }
}

fn built(profile: &str, overrides: &[(&str, &str)]) -> Result<Plan, PlanErrors> {
    build(&loaded(profile, overrides), target(), &options())
}

#[test]
fn the_game_day_is_planned_and_printed() {
    let plan = built("profiles/game-day.yaml", &[]).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(plan.ends_at <= Duration::from_secs(110 * 60));
    assert!((plan.expected_rate(&plan.stages[2]) - 5000.0).abs() < 1.0);
    let order: Vec<&str> = plan
        .experiments
        .iter()
        .map(|experiment| experiment.name.as_str())
        .collect();
    assert_eq!(order, ["instance-loss", "database-failover", "region-blackout"]);
    insta::assert_snapshot!(print(&plan));
    let text = serde_json::to_string(&plan).expect("a plan is data");
    let again: Plan = serde_json::from_str(&text).expect("and comes back");
    assert_eq!(serde_json::to_string(&again).expect("twice"), text);
}

#[test]
fn what_goes_on_together_is_printed_so_and_counts_whole() {
    let plan = built("profiles/examples/together.yaml", &[]).unwrap_or_else(|errors| panic!("{errors}"));
    let printed = print(&plan);
    let steps = "steps whole-page (page, together, 6 at once (css, js, (user, basket), a, b, c, d, 50% of the time (more))), \
                 checkout; 10 to 11 requests a pass, 6 at once\n";
    assert!(printed.contains(steps), "{printed}");
    // A tenth of a second of thinking each pass, answers taken as instant.
    assert!((plan.expected_rate(&plan.stages[0]) - 1_050.0).abs() < 1.0);
    let text = serde_json::to_string(&plan).expect("a plan is data");
    let again: Plan = serde_json::from_str(&text).expect("and comes back");
    assert_eq!(again.journeys[0].flow, plan.journeys[0].flow);
}

#[test]
fn the_other_profiles_are_planned() {
    for profile in ["profiles/tier-1.yaml", "profiles/tier-2.yaml"] {
        built(profile, &[]).unwrap_or_else(|errors| panic!("{profile}:\n{errors}"));
    }
}

#[test]
fn compression_is_offered_where_the_step_or_a_client_that_takes_all_of_it_says_so() {
    let profile = "profiles/examples/websocket-compression.yaml";
    let step = "journeys.feed.steps.0.compression";
    for (overrides, offered) in [
        (vec![], true),
        (vec![(step, "false")], false),
        (vec![(step, "false"), ("client", "{ compression: true }")], false),
        (vec![(step, "null"), ("client", "{ compression: true }")], true),
        // These are for bodies of HTTP.
        (vec![(step, "null"), ("client", "{ compression: [deflate] }")], false),
        (vec![(step, "null")], false),
    ] {
        let plan = built(profile, &overrides).unwrap_or_else(|errors| panic!("{errors}"));
        let has_offer = |step: &StepPlan| {
            let value = |(name, value): &(String, Template)| {
                let offer = vec![Part::Text(DEFLATE_OFFER.to_owned())];
                name == "sec-websocket-extensions" && value.parts == offer
            };
            step.headers.iter().any(value)
        };
        let offers: Vec<&str> = plan
            .steps
            .iter()
            .filter(|step| has_offer(step))
            .map(|step| &*step.name)
            .collect();
        let expected: &[&str] = if offered { &["feed.open"] } else { &[] };
        assert_eq!(offers, expected, "{overrides:?}");
    }
}

#[test]
fn levels_follow_ramps_and_holds() {
    let plan = built("profiles/game-day.yaml", &[]).unwrap_or_else(|errors| panic!("{errors}"));
    let level = |seconds| plan.level_at(Duration::from_secs(seconds));
    for (seconds, users) in [
        (0, 0.0),
        (30, 500.0),
        (60, 1000.0),
        (180, 1000.0),
        (240, 5500.0),
        (300, 10_000.0),
        (1380, 100_000.0),
        (9999, 0.0),
    ] {
        assert!((level(seconds) - users).abs() < 1e-6, "{seconds}: {}", level(seconds));
    }
}

#[test]
fn what_the_target_cannot_do_is_said_with_its_place() {
    let table: [(&[(&str, &str)], &str); 12] = [
        (
            &[("experiments.instance-loss.faults.0.role", "wbe")],
            "unknown role \"wbe\"",
        ),
        (
            &[("experiments.instance-loss.faults.0.role", "database")],
            "needs an Auto Scaling group",
        ),
        (
            &[("experiments.instance-loss.faults.0.region", "mars-1")],
            "no Region \"mars-1\"",
        ),
        (&[("experiments.instance-loss.faults.0.at", "stage 9")], "no such stage"),
        (
            &[("experiments.instance-loss.faults.0.at", "hold + 9m")],
            "begins at 33m, while instance-loss lasts until 37m",
        ),
        (
            &[("experiments.instance-loss.faults.0.share", "50%")],
            "a share of 50% is more than the 34%",
        ),
        (&[("stages.2.hold", "20m")], "but the schedule ends at"),
        (
            &[("objectives", "[\"self_heal(database) <= 5m\"]")],
            "is no role that stands for an Auto Scaling group",
        ),
        (
            &[("objectives", "[\"shift(web) <= 5m\"]")],
            "is no role that stands for a DNS record",
        ),
        (
            &[("objectives", "[\"share(region=us-west-1) < 5%\"]")],
            "the target has no Region \"us-west-1\"",
        ),
        (
            &[("objectives", "[\"errors(az=us-east1-b) <= 1%\"]")],
            "the target has no AZ \"us-east1-b\"",
        ),
        (
            &[("objectives", "[\"share(az=eu-west-1d) <= 1%\"]")],
            "AZs of the target in eu-west-1: eu-west-1a, eu-west-1b, eu-west-1c",
        ),
    ];
    for (overrides, message) in table {
        let errors = built("profiles/game-day.yaml", overrides)
            .expect_err(message)
            .to_string();
        assert!(errors.contains(message), "{message} in\n{errors}");
        assert!(errors.contains("hint: ") && errors.contains(" --> "), "{errors}");
    }
}

/// The target with an Aurora cluster in place of its RDS instance.
fn aurora() -> TargetPlan {
    let mut target = target();
    let role = Role::DbCluster("shop-db".to_owned());
    target.roles.insert("database".to_owned(), role);
    let placed = |id: &str, az: &str| (id.to_owned(), az.to_owned());
    for found in target.inventory.regions.values_mut() {
        let cluster = InventoryCluster {
            writer: Some(placed("shop-db-1", "us-east-1a")),
            readers: BTreeMap::from([placed("shop-db-2", "us-east-1b")]),
            ..InventoryCluster::default()
        };
        found.clusters.insert("shop-db".to_owned(), cluster);
    }
    target
}

#[test]
fn a_cluster_is_failed_over_to_a_reader_it_has() {
    let fault = "experiments.database-failover.faults.0.fault";
    let named = |reader: &str| {
        let overrides = [
            (fault, "rds.failover_cluster"),
            ("experiments.database-failover.faults.0.reader", reader),
        ];
        build(&loaded("profiles/game-day.yaml", &overrides), aurora(), &options())
    };
    let plan = named("shop-db-2").unwrap_or_else(|errors| panic!("{errors}"));
    let call = &plan.experiments[1].faults[0].calls[0];
    assert_eq!(call.action, "rds:FailoverDBCluster");
    assert!(
        call.detail.contains("TargetDBInstanceIdentifier=shop-db-2"),
        "{}",
        call.detail
    );
    assert_eq!(call.resources, ["arn:aws:rds:us-east-1:111122223333:cluster:shop-db"]);
    assert!(print(&plan).contains("until a reader has taken over"));
    for (reader, said) in [("shop-db-1", "is no reader"), ("shop-db-9", "readers there: shop-db-2")] {
        let errors = named(reader).expect_err(said).to_string();
        assert!(errors.contains(said) && errors.contains("hint: "), "{errors}");
    }
    let classic = loaded("profiles/game-day.yaml", &[(fault, "rds.failover_cluster")]);
    let errors = build(&classic, target(), &options())
        .expect_err("no cluster")
        .to_string();
    assert!(errors.contains("the fault needs an Aurora cluster"), "{errors}");
}

#[test]
fn a_global_cluster_is_handed_over_to_a_region_it_has() {
    let arn = |region: &str| format!("arn:aws:rds:{region}:111122223333:cluster:shop-db");
    let global = |writer: &str, members: &[&str]| InventoryGlobal {
        id: "all".to_owned(),
        writer: Some(writer.to_owned()),
        members: members
            .iter()
            .map(|region| ((*region).to_owned(), arn(region)))
            .collect(),
    };
    let planned = |kind: &str, to: &str, global: Option<InventoryGlobal>| {
        let mut overrides = vec![
            ("experiments.database-failover.faults.0.fault", kind),
            ("experiments.database-failover.faults.0.to", to),
            // What it says of a standby cannot be judged of these.
            ("experiments.database-failover.objectives", "[]"),
        ];
        if kind == "rds.failover_global" {
            overrides.push(("experiments.database-failover.faults.0.data_may_be_lost", "true"));
        }
        let mut target = aurora();
        for found in target.inventory.regions.values_mut() {
            let clusters = found.clusters.values_mut();
            clusters.for_each(|cluster| cluster.global.clone_from(&global));
        }
        build(&loaded("profiles/game-day.yaml", &overrides), target, &options())
    };
    let both = || Some(global("us-east-1", &["us-east-1", "eu-west-1"]));
    for (kind, action, region, loss) in [
        (
            "rds.switchover_global",
            "rds:SwitchoverGlobalCluster",
            "us-east-1",
            false,
        ),
        ("rds.failover_global", "rds:FailoverGlobalCluster", "eu-west-1", true),
    ] {
        let plan = planned(kind, "eu-west-1", both()).unwrap_or_else(|errors| panic!("{errors}"));
        let fault = &plan.experiments[1].faults[0];
        let call = &fault.calls[0];
        assert_eq!((call.action.as_str(), call.region.as_str()), (action, region));
        assert_eq!(call.detail.contains("AllowDataLoss=true"), loss, "{}", call.detail);
        assert_eq!(fault.resources, [arn("us-east-1"), arn("eu-west-1")]);
        assert_eq!(print(&plan).contains("for ever those that had not reached it"), loss);
    }
    for (to, global, said) in [
        ("us-east-1", both(), "is no other Region of the target"),
        ("mars-1", both(), "is no other Region of the target"),
        ("eu-west-1", None, "belongs to no global cluster"),
        (
            "eu-west-1",
            Some(global("us-east-1", &["us-east-1"])),
            "has no cluster in eu-west-1",
        ),
        (
            "eu-west-1",
            Some(global("eu-west-1", &["us-east-1", "eu-west-1"])),
            "us-east-1 is not the primary",
        ),
    ] {
        let errors = planned("rds.switchover_global", to, global)
            .expect_err(said)
            .to_string();
        assert!(
            errors.contains(said) && errors.contains("hint: "),
            "{said} in\n{errors}"
        );
    }
}

#[test]
fn the_region_that_is_not_reached_is_another_of_the_target() {
    let planned = |to: &str| {
        let of = "experiments.region-blackout.faults.0";
        let (kind, other) = (format!("{of}.fault"), format!("{of}.to"));
        let overrides = [
            (kind.as_str(), "network.cross_region"),
            (other.as_str(), to),
            // What it says of users who move cannot be judged of this one.
            ("experiments.region-blackout.objectives", "[]"),
        ];
        let mut target = target();
        target.fis_role = Some("arn:aws:iam::111122223333:role/fis".to_owned());
        for found in target.inventory.regions.values_mut() {
            let id = "aws:network:route-table-disrupt-cross-region-connectivity";
            found.fis_actions = Some([id.to_owned()].into());
        }
        build(&loaded("profiles/game-day.yaml", &overrides), target, &options())
    };
    let plan = planned("eu-west-1").unwrap_or_else(|errors| panic!("{errors}"));
    assert!(print(&plan).contains("send to the other Region"), "{}", print(&plan));
    for to in ["us-east-1", "mars-1"] {
        let errors = planned(to).expect_err(to).to_string();
        let said = format!("{to:?} is no other Region of the target");
        assert!(errors.contains(&said) && errors.contains("hint: "), "{errors}");
    }
}

#[test]
fn a_target_without_the_resource_plans_no_call() {
    let mut target = target();
    target
        .roles
        .insert("web".to_owned(), Role::AutoScalingGroup("gone".to_owned()));
    let mut plan = built("profiles/game-day.yaml", &[]).unwrap_or_else(|errors| panic!("{errors}"));
    let role = Role::AutoScalingGroup("gone".to_owned());
    let effect = resolve::effect(
        &Fault::Ec2Terminate { share: 0.34 },
        &role,
        "us-east-1",
        &target,
        &resolve::Draw { seed: 1, fault: "x[0]" },
    );
    assert!(effect.calls.is_empty() && effect.resources.is_empty());
    plan.experiments[0].faults[0].calls = effect.calls;
    plan.experiments[0].faults[0].resources = effect.resources;
    assert!(print(&plan).contains("will be inconclusive"));
}

#[test]
fn what_the_guards_would_refuse_is_refused_by_the_plan() {
    type Change = fn(&mut TargetPlan);
    let table: [(Change, &str, &str); 3] = [
        (
            |target| target.allow = None,
            "allows nothing to be touched",
            "chaos/instance-loss.yaml:5:11",
        ),
        (
            |target| target.allow.iter_mut().for_each(|allow| allow.share = 0.335),
            "a share of 34% is more than the 33.5%",
            "chaos/instance-loss.yaml:6:12",
        ),
        (
            |target| target.regions.truncate(1),
            "has no other Region",
            "chaos/region-blackout.yaml:5:11",
        ),
    ];
    for (change, message, place) in table {
        let mut target = target();
        change(&mut target);
        let errors = build(&loaded("profiles/game-day.yaml", &[]), target, &options())
            .expect_err(message)
            .to_string();
        assert!(
            errors.contains(message) && errors.contains(place),
            "{message} in\n{errors}"
        );
    }
}

#[test]
fn what_comes_after_the_schedule_or_in_no_stage_is_refused() {
    for (at, message) in [("hold + 70m", "the schedule ends at"), ("stage 4", "no such stage")] {
        let late = [("experiments.region-blackout.faults.0.at", at)];
        let errors = built("profiles/game-day.yaml", &late).expect_err(at).to_string();
        assert!(errors.contains(message), "{errors}");
    }
}

#[test]
fn a_feeder_that_would_run_dry_is_refused_before_the_run() {
    // 50/s for 100 s of real time: 5,000 passes, half of them fed; or 40 users who come every 2 s.
    let arrivals = "{ tier: 1, arrivals: 50/s, hold: 3000s }";
    let users = "{ tier: 1, users: 40, hold: 3000s }";
    for (stage, order, rows, dry) in [
        (arrivals, "unique", 2_500, false),
        (arrivals, "unique", 2_499, true),
        (arrivals, "sequential", 1, false),
        (users, "unique", 1_000, false),
        (users, "unique", 999, true),
    ] {
        let text = format!(
            "name: fed\nfeeders: {{ ids: {{ csv: ids.csv, order: {order} }} }}\n\
             journeys: {{ a: {{ think: 2s, feed: ids, steps: [ get: '/{{{{ ids.id }}}}' ] }}, \
             b: {{ think: 2s, steps: [ get: / ] }} }}\nstages: [{stage}]\n"
        );
        let ids: String = (0..rows).map(|row| format!("{row}\n")).collect();
        let sources = Sources {
            profile: ("fed.yaml".to_owned(), text),
            files: config::Files::from([("ids.csv".to_owned(), format!("id\n{ids}").into_bytes())]),
            ..Sources::default()
        };
        let config = config::load(&sources, &[]).unwrap_or_else(|errors| panic!("{errors}"));
        let built = build(&config, target(), &options());
        let said = built.err().map(|errors| errors.to_string()).unwrap_or_default();
        assert_eq!(said.contains("it runs dry"), dry, "{stage} {order} {rows}: {said}");
        assert_eq!(said.contains("fed.yaml:2"), dry, "{said}");
    }
}

/// The plan of an experiment with these faults and this alarm as its stop condition.
fn alarmed(fault: &str, alarm: Option<InventoryAlarm>) -> Result<Plan, PlanErrors> {
    let mut target = target();
    let east = target.inventory.regions.get_mut("us-east-1").expect("a Region");
    let group = east.groups.get_mut("shop-web").expect("a group");
    group.target_groups = vec!["arn:aws:elasticloadbalancing:us-east-1:1:targetgroup/shop-web/0a1b".to_owned()];
    east.records.push(InventoryRecord {
        hosted_zone: "Z1EXAMPLE".to_owned(),
        name: "shop.example.com.".to_owned(),
        record_type: "A".to_owned(),
        set_identifier: Some("east".to_owned()),
        weight: None,
        health_check: Some("hc-1".to_owned()),
    });
    east.alarms.extend(alarm.map(|alarm| ("shop-5xx".to_owned(), alarm)));
    let text = format!("name: x\nhypothesis: h\nfaults:\n  - {fault}\nstop_when: [ alarm shop-5xx ]\n");
    let profile = "name: p\njourneys: { a: { think: 1s, steps: [ get: / ] } }\nstages: [{ tier: 1, users: 1, hold: 1h }]\n\
                   chaos: [x.yaml]\n";
    let sources = Sources {
        profile: ("p.yaml".to_owned(), profile.to_owned()),
        experiments: vec![("x.yaml".to_owned(), text)],
        ..Sources::default()
    };
    let config = config::load(&sources, &[]).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.alarms(), ["shop-5xx"]);
    build(&config, target, &options())
}

fn on(namespace: &str, name: &str, dimensions: &[(&str, &str)]) -> InventoryAlarm {
    let dimensions = dimensions.iter();
    InventoryAlarm {
        arn: "arn:aws:cloudwatch:us-east-1:1:alarm:shop-5xx".to_owned(),
        state: "OK".to_owned(),
        metrics: vec![InventoryMetric {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            dimensions: dimensions
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }],
    }
}

#[test]
fn an_alarm_on_the_very_metric_that_the_fault_changes_is_refused() {
    let deregister = "{ fault: elb.deregister, role: web, share: 34%, at: 1m, lasts: 1m }";
    let terminate = "{ fault: ec2.terminate, role: web, share: 34%, at: 1m, irreversible: true }";
    let cut = "{ fault: network.deny_region, role: web, at: 1m, lasts: 1m }";
    let invert = "{ fault: route53.invert_health_check, role: dns, at: 1m, lasts: 1m }";
    let group = ("TargetGroup", "targetgroup/shop-web/0a1b");
    let other = ("TargetGroup", "targetgroup/shop-api/0a1b");
    let elb = "AWS/ApplicationELB";
    let check = ("HealthCheckId", "hc-1");
    for (fault, alarm, refused) in [
        (deregister, on(elb, "UnHealthyHostCount", &[group]), true),
        (
            deregister,
            on(elb, "HealthyHostCount", &[group, ("LoadBalancer", "app/shop/1")]),
            true,
        ),
        (deregister, on(elb, "UnHealthyHostCount", &[other]), false),
        (deregister, on(elb, "HTTPCode_Target_5XX_Count", &[group]), false),
        (
            deregister,
            on(
                "AWS/AutoScaling",
                "GroupInServiceInstances",
                &[("AutoScalingGroupName", "shop-web")],
            ),
            false,
        ),
        (
            terminate,
            on(
                "AWS/AutoScaling",
                "GroupInServiceInstances",
                &[("AutoScalingGroupName", "shop-web")],
            ),
            true,
        ),
        (terminate, on(elb, "UnHealthyHostCount", &[group]), true),
        (
            terminate,
            on("AWS/EC2", "CPUUtilization", &[("AutoScalingGroupName", "shop-web")]),
            false,
        ),
        (cut, on("AWS/Route53", "HealthCheckStatus", &[check]), true),
        (cut, on(elb, "HealthyHostCount", &[group]), true),
        (invert, on("AWS/Route53", "HealthCheckStatus", &[check]), true),
        (
            invert,
            on("AWS/Route53", "HealthCheckStatus", &[("HealthCheckId", "hc-2")]),
            false,
        ),
        (invert, on(elb, "HealthyHostCount", &[group]), false),
    ] {
        let built = alarmed(fault, Some(alarm.clone()));
        let said = built.err().map(|errors| errors.to_string()).unwrap_or_default();
        assert_eq!(
            said.contains("changes on purpose"),
            refused,
            "{fault} {alarm:?}: {said}"
        );
        assert_eq!(
            said.contains("x.yaml:5:14") && said.contains("hint:"),
            refused,
            "{said}"
        );
    }
}

#[test]
fn an_alarm_that_is_not_there_or_rings_already_is_refused() {
    let suspend = "{ fault: autoscaling.suspend, role: web, processes: [Launch], at: 1m, lasts: 1m }";
    let latency = on("AWS/ApplicationELB", "TargetResponseTime", &[]);
    let plan = alarmed(suspend, Some(latency.clone())).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(
        plan.approval()
            .text
            .contains("arn:aws:cloudwatch:us-east-1:1:alarm:shop-5xx")
    );
    let ringing = InventoryAlarm {
        state: "ALARM".to_owned(),
        ..latency
    };
    for (alarm, said) in [
        (None, "there is no alarm \"shop-5xx\" in us-east-1, eu-west-1"),
        (Some(ringing), "alarm \"shop-5xx\" is in ALARM in us-east-1 already"),
    ] {
        let told = alarmed(suspend, alarm).expect_err(said).to_string();
        assert!(
            told.contains(said) && told.contains("x.yaml:5:14") && told.contains("hint:"),
            "{told}"
        );
    }
}

#[test]
fn fis_is_chosen_where_it_can_be_and_otherwise_it_is_said_why_not() {
    type Change = fn(&mut TargetPlan);
    let planned = |via: &str, lasts: &str, change: Change| {
        let profile = "{name: p, journeys: {a: {think: 1s, steps: [{get: /}]}}, chaos: [e.yaml], \
                       stages: [{tier: 1, users: 1, hold: 20h}]}";
        let experiment = format!(
            "{{name: e, hypothesis: h, faults: [{{ fault: network.deny_region, role: web, at: 1m, lasts: {lasts}, via: {via} }}]}}"
        );
        let sources = Sources {
            profile: ("p.yaml".to_owned(), profile.to_owned()),
            experiments: vec![("e.yaml".to_owned(), experiment)],
            ..Sources::default()
        };
        let config = config::load(&sources, &[]).unwrap_or_else(|errors| panic!("{errors}"));
        let mut target = target();
        target.fis_role = Some("arn:aws:iam::111122223333:role/fis".to_owned());
        for region in target.inventory.regions.values_mut() {
            region.fis_actions = Some(BTreeSet::from(["aws:network:disrupt-connectivity".to_owned()]));
        }
        change(&mut target);
        let built = build(&config, target, &options()).map_err(|errors| errors.to_string());
        built.map(|plan| plan.experiments[0].faults[0].clone())
    };
    let fault = planned("fis", "5m", |_| {}).unwrap_or_else(|errors| panic!("{errors}"));
    let template = fault.fis.as_ref().expect("by FIS");
    assert_eq!(template.actions["network-deny-region"].parameters["duration"], "PT6M");
    assert_eq!(template.targets["network-deny-region"].resource_arns.len(), 3);
    assert_eq!(fault.calls[0].action, "fis:CreateExperimentTemplate");
    assert_eq!(fault.reverts[0].action, "fis:StopExperiment");
    assert!(planned("api", "5m", |_| {}).is_ok_and(|fault| fault.fis.is_none()));
    let cases: [(&str, Change, &str); 4] = [
        (
            "5m",
            |target| target.fis_role = None,
            "names no role that AWS FIS acts as",
        ),
        (
            "5m",
            |target| {
                target
                    .inventory
                    .regions
                    .values_mut()
                    .for_each(|one| one.fis_actions = None)
            },
            "AWS FIS does not answer",
        ),
        (
            "5m",
            |target| {
                target
                    .inventory
                    .regions
                    .values_mut()
                    .for_each(|one| one.fis_actions = Some(BTreeSet::new()))
            },
            "has no action aws:network:disrupt-connectivity",
        ),
        ("12h", |_| {}, "undoes everything after twelve hours"),
    ];
    for (lasts, change, why) in cases {
        let refused = planned("fis", lasts, change).expect_err(why);
        assert!(
            refused.contains(why) && refused.contains("e.yaml:1") && refused.ends_with(", or write `via: api`"),
            "{why} in\n{refused}"
        );
        assert!(
            planned("auto", lasts, change).is_ok_and(|fault| fault.fis.is_none()),
            "{why}"
        );
    }
}

#[test]
fn nobody_is_sent_to_an_api_for_what_fis_alone_can_do() {
    let profile = "{name: p, journeys: {a: {think: 1s, steps: [{get: /}]}}, chaos: [e.yaml], \
                   stages: [{tier: 1, users: 1, hold: 20h}]}";
    let experiment =
        "{name: e, hypothesis: h, faults: [{ fault: ebs.pause_io, role: web, share: 34%, at: 1m, lasts: 5m }]}";
    let sources = Sources {
        profile: ("p.yaml".to_owned(), profile.to_owned()),
        experiments: vec![("e.yaml".to_owned(), experiment.to_owned())],
        ..Sources::default()
    };
    let config = config::load(&sources, &[]).unwrap_or_else(|errors| panic!("{errors}"));
    let told = |role: Option<&str>| {
        let mut target = target();
        target.fis_role = role.map(str::to_owned);
        for region in target.inventory.regions.values_mut() {
            region.fis_actions = Some(BTreeSet::new());
        }
        let refused = build(&config, target, &options()).expect_err("FIS cannot");
        refused.to_string()
    };
    for (role, remedy) in [
        (None, "hint: add `fis: { role: NAME }` to the target"),
        (Some("arn:aws:iam::111122223333:role/fis"), "hint: use another Region"),
    ] {
        let told = told(role);
        assert!(told.ends_with(remedy), "{told}");
    }
}

/// What is said of these faults of one experiment, in a target of which so many targets must stay healthy, and that
/// knows its group as `api` too; nothing where they may be together.
fn said_of(faults: &[String], healthy_min: u64) -> String {
    let profile = "{name: p, journeys: {a: {think: 1s, steps: [{get: /}]}}, chaos: [x.yaml], \
                   stages: [{tier: 1, users: 1, hold: 1h}]}";
    let faults: String = faults.iter().map(|fault| format!("  - {{ {fault} }}\n")).collect();
    let sources = Sources {
        profile: ("p.yaml".to_owned(), profile.to_owned()),
        experiments: vec![(
            "x.yaml".to_owned(),
            format!("name: x\nhypothesis: h\nfaults:\n{faults}"),
        )],
        ..Sources::default()
    };
    let config = config::load(&sources, &[]).unwrap_or_else(|errors| panic!("{errors}"));
    let mut target = target();
    target.allow.as_mut().expect("it allows something").healthy_min = healthy_min;
    let web = target.roles["web"].clone();
    target.roles.insert("api".to_owned(), web);
    let built = build(&config, target, &options());
    built.err().map(|errors| errors.to_string()).unwrap_or_default()
}

fn stop(role: &str, at: &str) -> String {
    format!("fault: ec2.stop, role: {role}, share: 34%, at: {at}, lasts: 2m")
}

fn deny_az(role: &str, az: &str, at: &str) -> String {
    format!("fault: network.deny_az, role: {role}, az: us-east-1{az}, at: {at}, lasts: 2m")
}

fn deny_region(role: &str, region: &str, at: &str) -> String {
    format!("fault: network.deny_region, role: {role}, region: {region}, at: {at}, lasts: 2m")
}

#[test]
fn faults_that_leave_too_few_together_are_refused_with_their_line() {
    let few = |stay: u64, least: u64, under: &str| {
        format!(
            "{stay} of the instances of group shop-web would stay in service under {under}, and at least {least} must \
             (`allow.healthy_min`)"
        )
    };
    let two_azs = [deny_az("web", "a", "1m"), deny_az("dns", "b", "2m")];
    let said = said_of(&two_azs, 2);
    assert!(
        said.contains(&few(1, 2, "network.deny_az on web and network.deny_az on dns")),
        "{said}"
    );
    assert!(said.contains("x.yaml:5:") && said.contains("hint:"), "{said}");
    assert_eq!(said_of(&two_azs, 1), "");
    assert_eq!(said_of(&[deny_az("web", "a", "1m"), deny_az("dns", "b", "4m")], 2), "");
    // What one takes alone is the guards' to refuse, at its instant and in a dry run.
    assert_eq!(said_of(&[deny_az("web", "a", "1m")], 3), "");
    let in_the_dark = [deny_region("dns", "us-east-1", "1m"), stop("web", "2m")];
    let said = said_of(&in_the_dark, 1);
    assert!(
        said.contains(&few(0, 1, "network.deny_region on dns and ec2.stop on web")),
        "{said}"
    );
    // Users are elsewhere already when the Region goes, and who is stopped there is missed by nobody.
    assert_eq!(
        said_of(&[stop("web", "1m"), deny_region("dns", "us-east-1", "2m")], 1),
        ""
    );
    let suspend = "fault: autoscaling.suspend, role: web, processes: [Launch], at: 1m, lasts: 2m".to_owned();
    assert_eq!(said_of(&[suspend, deny_az("dns", "b", "2m")], 2), "");
    // Of the stopped instance the AZ does not matter: either both hit one of three, or two.
    let stopped = ["a", "b", "c"].map(|az| said_of(&[stop("web", "1m"), deny_az("dns", az, "2m")], 2));
    assert_eq!(stopped.iter().filter(|said| said.is_empty()).count(), 1, "{stopped:?}");
}

#[test]
fn faults_that_hit_the_same_at_the_same_time_are_refused() {
    let (az, region) = (deny_az, deny_region);
    let cases = [
        (
            vec![stop("web", "1m"), stop("web", "2m")],
            "two faults hit \"web\" in us-east-1 at the same time",
        ),
        (
            vec![stop("web", "1m"), stop("api", "2m")],
            "two faults hit \"api\" in us-east-1 at the same time, which is \"web\" too",
        ),
        (
            vec![az("web", "a", "1m"), az("dns", "a", "2m")],
            "two faults hit subnet-00 in us-east-1 at the same time",
        ),
        (
            vec![region("web", "us-east-1", "1m"), az("dns", "b", "2m")],
            "two faults hit subnet-01 in us-east-1 at the same time",
        ),
        (
            vec![region("web", "us-east-1", "1m"), region("web", "eu-west-1", "2m")],
            "all Regions of the target are cut off at the same time",
        ),
        (
            vec![az("web", "a", "1m"), az("database", "b", "1m"), az("dns", "c", "2m")],
            "all AZs of us-east-1 are cut off at the same time",
        ),
        (vec![stop("web", "1m"), stop("api", "4m")], ""),
        (vec![az("web", "a", "1m"), az("dns", "b", "1m")], ""),
        (
            vec![region("web", "us-east-1", "1m"), region("web", "eu-west-1", "4m")],
            "",
        ),
        // The third meets each of the others, and never both.
        (
            vec![
                az("web", "a", "1m"),
                az("database", "b", "4m"),
                "fault: network.deny_az, role: dns, az: us-east-1c, at: 2m, lasts: 3m".to_owned(),
            ],
            "",
        ),
    ];
    for (faults, said) in cases {
        let told = said_of(&faults, 1);
        assert_eq!(told.is_empty(), said.is_empty(), "{faults:?}: {told}");
        assert!(
            told.contains(said) && (said.is_empty() || told.contains("hint:")),
            "{faults:?}: {told}"
        );
    }
}
