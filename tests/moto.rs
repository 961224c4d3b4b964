//! The same `aws/` functions against moto and against the lab: answers of the same shape.
//!
//! What moto cannot do is listed here, not faked (moto 5.2.1; see its own source):
//! - CloudWatch: the Rust SDK speaks rpc-v2-cbor, which moto does not route, so no CloudWatch function is compared.
//! - DescribeScalingActivities answers an empty list, so only the lab's activities are looked at by other tests.
//! - RebootDBInstance ignores ForceFailover: no AZ swap, no SecondaryAvailabilityZone, no failover events.
//! - FailoverDBCluster moves the writer at once, so that the status stays available, and tells no event.
//! - SwitchoverGlobalCluster and FailoverGlobalCluster are not there, and no cluster of a global one writes.
//! - GetHealthCheckStatus is a constant.
//! - ReplaceNetworkAclAssociation with an unknown association is a 500 instead of AWS's error code.
//! - A replacement launched by a group is not registered with its target group.
//! - AWS FIS: templates are created, deleted and tagged, and nothing else is answered: no actions, no lists, no
//!   experiments, no safety lever.
//! - ARC zonal shift is not there at all.
//! - DescribeVolumeStatus is not there.
//! - UpdateHealthCheck does not look at HealthCheckVersion, and HealthCheckVersion does not rise.

use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use tenfold::aws::{Clients, ConnectOptions, NewAction, NewTemplate, Reader, RecordSet, Tags, Writer};
use tenfold::units::Pace;

use crate::support::{LabProcess, venv};

const REGION: &str = "us-east-1";

struct Moto {
    child: Child,
    endpoint: String,
}

impl Moto {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|socket| socket.local_addr())
            .expect("a free port")
            .port();
        let child = venv("moto_server")
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto starts");
        let moto = Self {
            child,
            endpoint: format!("http://127.0.0.1:{port}"),
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "moto did not start");
            std::thread::sleep(Duration::from_millis(100));
        }
        moto
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn connect(endpoint: &str) -> (Reader, Writer) {
    let clients = Clients::connect(&ConnectOptions {
        endpoint: Some(endpoint.to_owned()),
        regions: vec![REGION.to_owned()],
        pace: Pace::REAL,
        assume: Vec::new(),
        credentials: Some(("test".to_owned(), "test".to_owned())),
    })
    .await;
    (clients.reader(), clients.writer())
}

/// Everything the two are asked, as facts that do not depend on ids and times.
async fn shape(reader: &Reader, zone: &str) -> Vec<(&'static str, String)> {
    let account = reader.caller(REGION).await.expect("sts answers").account;
    let group = reader
        .group(REGION, "shop-web")
        .await
        .expect("autoscaling answers")
        .expect("the group is there");
    let ids: Vec<String> = group.members.iter().map(|member| member.id.clone()).collect();
    let instances = reader.instances(REGION, &ids).await.expect("ec2 answers");
    let subnets = reader.subnets(REGION, &group.subnets).await.expect("ec2 answers");
    let disks: Vec<String> = instances.iter().flat_map(|one| one.volumes.clone()).collect();
    let volumes = reader.volumes(REGION, &disks).await.expect("ec2 answers");
    let vpc = subnets[0].vpc.clone();
    let acls = reader.network_acls(REGION, &vpc).await.expect("ec2 answers");
    let targets = reader
        .target_groups(REGION, &group.target_groups)
        .await
        .expect("elbv2 answers");
    let balancers = reader
        .load_balancers(REGION, &targets[0].load_balancers)
        .await
        .expect("elbv2 answers");
    let health = reader
        .target_health(REGION, &group.target_groups[0])
        .await
        .expect("elbv2 answers");
    let database = reader
        .db_instance(REGION, "shop-db")
        .await
        .expect("rds answers")
        .expect("the database is there");
    let missing = reader
        .db_instance(REGION, "no-such-db")
        .await
        .expect("an absent database is not an error");
    let role = reader.iam_role("shop-app").await.expect("iam answers");
    let nobody = reader.iam_role("nobody").await.expect("an absent role is not an error");
    let checks = reader
        .record_health_checks(zone, "shop.example.com")
        .await
        .expect("route53 answers");
    let check = reader.health_check(&checks[0]).await.expect("route53 answers");
    vec![
        ("account digits", account.len().to_string()),
        (
            "group",
            format!("{} {}-{} desired {}", group.name, group.min, group.max, group.desired),
        ),
        ("members", group.members.len().to_string()),
        (
            "members in service",
            group
                .members
                .iter()
                .filter(|member| member.in_service)
                .count()
                .to_string(),
        ),
        (
            "member ids",
            ids.iter().all(|id| id.starts_with("i-") && id.len() == 19).to_string(),
        ),
        ("group tag", format!("{:?}", group.tags.get("chaos"))),
        ("instances", instances.len().to_string()),
        (
            "instance states",
            instances
                .iter()
                .map(|instance| instance.state.clone())
                .collect::<Vec<_>>()
                .join(" "),
        ),
        (
            "spot instances",
            instances.iter().filter(|one| one.spot).count().to_string(),
        ),
        (
            "volumes of instances",
            instances.iter().map(|one| one.volumes.len()).sum::<usize>().to_string(),
        ),
        (
            "their AZs",
            instances
                .iter()
                .flat_map(|one| one.volumes.iter().map(|id| (id, &one.az)))
                .all(|(id, az)| volumes.iter().any(|volume| volume.id == *id && volume.az == *az))
                .to_string(),
        ),
        (
            "role",
            format!(
                "{:?}",
                role.map(|role| (role.arn.ends_with(":role/shop-app"), role.tags.get("chaos").cloned()))
            ),
        ),
        ("no role", nobody.is_none().to_string()),
        ("subnets", subnets.len().to_string()),
        (
            "subnet ids",
            subnets
                .iter()
                .all(|subnet| subnet.id.starts_with("subnet-"))
                .to_string(),
        ),
        (
            "every subnet associated",
            subnets
                .iter()
                .all(|subnet| {
                    acls.iter()
                        .any(|acl| acl.associations.iter().any(|one| one.subnet == subnet.id))
                })
                .to_string(),
        ),
        ("target groups", targets.len().to_string()),
        ("load balancers", balancers.len().to_string()),
        ("targets", health.len().to_string()),
        (
            "targets healthy",
            health.iter().all(|target| target.state == "healthy").to_string(),
        ),
        (
            "cpu target",
            format!(
                "{:?}",
                reader
                    .cpu_target(REGION, "shop-web")
                    .await
                    .expect("autoscaling answers")
            ),
        ),
        (
            "database",
            format!("{} multi-az {}", database.status, database.multi_az),
        ),
        ("no database", missing.is_none().to_string()),
        ("health checks of the record", checks.len().to_string()),
        (
            "health check path",
            format!("{check:?}").contains("/health").to_string(),
        ),
    ]
}

async fn errors(writer: &Writer) -> Vec<String> {
    let absent = vec!["i-0123456789abcdef0".to_owned()];
    let terminated = writer
        .terminate_instances(REGION, &absent)
        .await
        .expect_err("there is no such instance");
    let rebooted = writer
        .reboot_db_instance(REGION, "no-such-db", true)
        .await
        .expect_err("there is no such database");
    let nothing = "arn:aws:elasticloadbalancing:us-east-1:111122223333:targetgroup/none/0123456789abcdef";
    let deregistered = writer
        .deregister_targets(REGION, nothing, &[(absent[0].clone(), None)])
        .await
        .expect_err("there is no such target group");
    let stopped = writer
        .stop_db_instance(REGION, "no-such-db")
        .await
        .expect_err("there is no such database");
    vec![terminated.code, rebooted.code, deregistered.code, stopped.code]
}

/// Waits until a look brings what is wanted; moto and the lab take their own time for it.
async fn until<T: PartialEq + std::fmt::Debug>(wanted: T, look: impl AsyncFn() -> T) -> String {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let found = look().await;
        if found == wanted {
            return format!("{found:?}");
        }
        assert!(Instant::now() < deadline, "{found:?}, not {wanted:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Every change that faults and their undo make, with what it comes to; afterwards all is as before.
async fn changes(reader: &Reader, writer: &Writer, zone: &str) -> Vec<(&'static str, String)> {
    let group = async || {
        let group = reader.group(REGION, "shop-web").await.expect("autoscaling answers");
        group.expect("the group is there")
    };
    let mut told = Vec::new();

    // Nothing is to be replaced meanwhile.
    let processes = ["HealthCheck", "ReplaceUnhealthy"].map(str::to_owned);
    let answer = writer.suspend_processes(REGION, "shop-web", &processes).await;
    answer.expect("suspended");
    let suspended = async || {
        let mut suspended = group().await.suspended;
        suspended.sort();
        suspended
    };
    told.push(("suspended", until(processes.to_vec(), suspended).await));

    let id = group().await.members.remove(0).id;
    let one = [id.clone()];
    let state = async || {
        let found = reader.instances(REGION, &one).await.expect("ec2 answers");
        found.into_iter().map(|instance| instance.state).collect::<Vec<_>>()
    };
    writer.reboot_instances(REGION, &one).await.expect("rebooted");
    writer.stop_instances(REGION, &one).await.expect("stopped");
    told.push(("stopped", until(vec!["stopped".to_owned()], state).await));
    writer.start_instances(REGION, &one).await.expect("started");
    told.push(("started", until(vec!["running".to_owned()], state).await));

    let arn = group().await.target_groups.remove(0);
    let healthy = async || {
        let health = reader.target_health(REGION, &arn).await.expect("elbv2 answers");
        health.iter().any(|target| target.id == id && target.state == "healthy")
    };
    told.push(("healthy", until(true, healthy).await));
    let targets = [(id.clone(), None)];
    let answer = writer.deregister_targets(REGION, &arn, &targets).await;
    answer.expect("deregistered");
    told.push(("deregistered", until(false, healthy).await));
    writer
        .register_targets(REGION, &arn, &targets)
        .await
        .expect("registered");
    told.push(("registered", until(true, healthy).await));

    let path = async || {
        let groups = reader.target_groups(REGION, std::slice::from_ref(&arn)).await;
        groups.expect("elbv2 answers")[0].health_check_path.clone()
    };
    let before = path().await.expect("it has one");
    for path_now in ["/broken", &before] {
        writer.set_health_check_path(REGION, &arn, path_now).await.expect("set");
        until(Some(path_now.to_owned()), path).await;
    }
    let tags = reader
        .elb_tags(REGION, std::slice::from_ref(&arn))
        .await
        .expect("elbv2 answers");
    told.push(("tags of target groups", tags.len().to_string()));
    writer
        .resume_processes(REGION, "shop-web", &processes)
        .await
        .expect("resumed");
    told.push(("resumed", until(Vec::new(), suspended).await));

    let status = async || {
        let database = reader.db_instance(REGION, "shop-db").await.expect("rds answers");
        database.expect("the database is there").status
    };
    let early = writer
        .start_db_instance(REGION, "shop-db")
        .await
        .expect_err("it is not stopped");
    told.push(("start of one that runs", early.code));
    writer.stop_db_instance(REGION, "shop-db").await.expect("stopped");
    told.push(("database stopped", until("stopped".to_owned(), status).await));
    writer.start_db_instance(REGION, "shop-db").await.expect("started");
    told.push(("database started", until("available".to_owned(), status).await));

    let check = reader.record_health_checks(zone, "shop.example.com").await;
    let check = check.expect("route53 answers").remove(0);
    for inverted in [true, false] {
        let version = reader.health_check(&check).await.expect("route53 answers").version;
        writer.set_inverted(&check, inverted, version).await.expect("set");
        let found = async || reader.health_check(&check).await.expect("route53 answers").inverted;
        told.push(("inverted", until(inverted, found).await));
    }
    reader
        .route53_tags("healthcheck", &check)
        .await
        .expect("route53 answers");
    reader.route53_tags("hostedzone", zone).await.expect("route53 answers");

    for weight in [7, 0] {
        let set = RecordSet {
            name: "weighted.example.com.".to_owned(),
            record_type: "A".to_owned(),
            set_identifier: Some("one".to_owned()),
            weight: Some(weight),
            ttl: Some(60),
            values: vec!["127.0.0.1".to_owned()],
            ..RecordSet::default()
        };
        writer.upsert_record_set(zone, &set).await.expect("set");
        let found = async || {
            reader
                .record_sets(zone, "weighted.example.com")
                .await
                .expect("route53 answers")
        };
        told.push(("weighted", until(vec![set], found).await));
    }
    told.extend(network_changes(reader, writer).await);
    // Its state is on the heap, for what is not optimised has little room on a test's stack.
    told.extend(Box::pin(marks(reader, writer, &id, &arn, &check, zone)).await);
    told
}

/// Everything that bears a mark: it is written, shown and taken off, what is not there included.
async fn marks(
    reader: &Reader,
    writer: &Writer,
    instance: &str,
    target_group: &str,
    check: &str,
    zone: &str,
) -> Vec<(&'static str, String)> {
    let tags = Tags::from([("tenfold:mark:0.x".to_owned(), "=5Ba".to_owned())]);
    let keys = ["tenfold:mark:0.x", "tenfold:mark:0.x:1"].map(str::to_owned);
    let (ids, arns) = ([instance.to_owned()], [target_group.to_owned()]);
    let of = async |what: &str| {
        let tags = match what {
            "instance" => reader.instances(REGION, &ids).await.map(|mut all| all.remove(0).tags),
            "group" => reader
                .group(REGION, "shop-web")
                .await
                .map(|one| one.expect("a group").tags),
            "target group" => reader
                .elb_tags(REGION, &arns)
                .await
                .map(|mut all| all.remove(target_group).expect("it")),
            "database" => reader
                .db_instance(REGION, "shop-db")
                .await
                .map(|one| one.expect("a database").tags),
            "health check" => reader.route53_tags("healthcheck", check).await,
            _ => {
                let zones = [zone.to_owned()];
                let tags = reader.every_route53_tag("hostedzone", &zones).await;
                tags.map(|mut all| all.remove(zone).expect("it"))
            }
        };
        tags.expect("it answers").get("tenfold:mark:0.x").cloned()
    };
    let mut told = Vec::new();
    for what in [
        "instance",
        "group",
        "target group",
        "database",
        "health check",
        "hosted zone",
    ] {
        let written = match what {
            "instance" => writer.tag(REGION, &ids, &tags).await,
            "group" => writer.tag_group(REGION, "shop-web", &tags).await,
            "target group" => writer.tag_target_group(REGION, target_group, &tags).await,
            "database" => writer.tag_db_instance(REGION, "shop-db", &tags).await,
            "health check" => writer.tag_route53("healthcheck", check, &tags).await,
            _ => writer.tag_route53("hostedzone", zone, &tags).await,
        };
        written.unwrap_or_else(|error| panic!("{what}: {error}"));
        told.push((what, until(Some("=5Ba".to_owned()), async || of(what).await).await));
        let found = reader
            .instances_tagged(REGION, "tenfold:mark:*")
            .await
            .expect("ec2 answers");
        told.push(("instances with a mark", found.len().to_string()));
        let erased = match what {
            "instance" => writer.untag(REGION, &ids, &keys).await,
            "group" => writer.untag_group(REGION, "shop-web", &keys).await,
            "target group" => writer.untag_target_group(REGION, target_group, &keys).await,
            "database" => writer.untag_db_instance(REGION, "shop-db", &keys).await,
            "health check" => writer.untag_route53("healthcheck", check, &keys).await,
            _ => writer.untag_route53("hostedzone", zone, &keys).await,
        };
        erased.unwrap_or_else(|error| panic!("{what}: {error}"));
        told.push((what, until(None, async || of(what).await).await));
    }
    let arns = reader.every_target_group(REGION).await.expect("elbv2 answers");
    told.push(("target groups", arns.contains(&target_group.to_owned()).to_string()));
    let checks = reader.every_health_check().await.expect("route53 answers");
    told.push(("health checks", checks.contains(&check.to_owned()).to_string()));
    let zones = reader.every_hosted_zone().await.expect("route53 answers");
    told.push(("hosted zones", zones.contains(&zone.to_owned()).to_string()));
    told
}

/// A subnet under an ACL of its own, and back.
async fn network_changes(reader: &Reader, writer: &Writer) -> Vec<(&'static str, String)> {
    let group = reader.group(REGION, "shop-web").await.expect("autoscaling answers");
    let subnets = group.expect("the group is there").subnets;
    let subnet = &reader.subnets(REGION, &subnets).await.expect("ec2 answers")[0];
    let under = async || {
        let acls = reader.network_acls(REGION, &subnet.vpc).await.expect("ec2 answers");
        let found = acls.into_iter().find_map(|acl| {
            let association = acl.associations.iter().find(|one| one.subnet == subnet.id)?.id.clone();
            Some((acl.id, association))
        });
        found.expect("every subnet is under an ACL")
    };
    let (before, association) = under().await;
    let tags = Tags::from([("tenfold:run".to_owned(), "parity".to_owned())]);
    let created = writer.create_network_acl(REGION, &subnet.vpc, &tags, "parity").await;
    let ours = created.expect("created").value;
    let replace = async |association: String, acl: &str| {
        let replaced = writer.replace_network_acl_association(REGION, &association, acl).await;
        replaced.expect("replaced");
    };
    replace(association, &ours).await;
    // The lab's answers may lag behind a change by two seconds of its time.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (now, association) = under().await;
    let moved = now == ours;
    replace(association, &before).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let back = under().await.0 == before;
    writer.delete_network_acl(REGION, &ours).await.expect("deleted");
    vec![
        ("moved to another ACL", moved.to_string()),
        ("and back", back.to_string()),
    ]
}

#[tokio::test]
async fn moto_and_the_lab_answer_in_the_same_shape() {
    let moto = Moto::start();
    let setup = venv("python")
        .arg("tests/independent/moto_setup.py")
        .arg(&moto.endpoint)
        .output()
        .expect("python runs");
    assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stderr));
    let names: serde_json::Value = serde_json::from_slice(&setup.stdout).expect("the set-up prints JSON");
    let lab = LabProcess::start("60");
    let lab_zone = lab.announcement["roles"]["dns"]["hosted_zone"]
        .as_str()
        .expect("the lab names its zone")
        .to_owned();

    let (moto_reader, moto_writer) = connect(&moto.endpoint).await;
    let (lab_reader, lab_writer) = connect(&lab.endpoint).await;
    let moto_shape = shape(&moto_reader, names["zone"].as_str().expect("the set-up names its zone")).await;
    let lab_shape = shape(&lab_reader, &lab_zone).await;
    assert_eq!(moto_shape, lab_shape);
    assert_eq!(errors(&moto_writer).await, errors(&lab_writer).await);
    let moto_changes = changes(&moto_reader, &moto_writer, names["zone"].as_str().expect("a zone")).await;
    let lab_changes = changes(&lab_reader, &lab_writer, &lab_zone).await;
    assert_eq!(moto_changes, lab_changes);
}

/// The cluster of both, before and after a failover to a reader.
async fn clusters(reader: &Reader, writer: &Writer) -> Vec<(&'static str, String)> {
    let tags = Tags::from([("tenfold:mark:0.x".to_owned(), "=5Ba".to_owned())]);
    let keys: Vec<String> = tags.keys().cloned().collect();
    let tagged = async || {
        let cluster = reader.db_cluster(REGION, "shop-db").await.expect("rds answers");
        cluster.expect("a cluster").tags.get("tenfold:mark:0.x").cloned()
    };
    writer
        .tag_db_cluster(REGION, "shop-db", &tags)
        .await
        .expect("it is written");
    let written = until(Some("=5Ba".to_owned()), tagged).await;
    writer
        .untag_db_cluster(REGION, "shop-db", &keys)
        .await
        .expect("it is taken off");
    let erased = until(None, tagged).await;
    let cluster = async || {
        let found = reader.db_cluster(REGION, "shop-db").await.expect("rds answers");
        found.expect("the cluster is there")
    };
    let writes = async || cluster().await.writer().map(|member| member.id.clone());
    let before = cluster().await;
    let mut told = vec![
        ("status", before.status.clone()),
        ("writer", format!("{:?}", before.writer().map(|member| &member.id))),
        ("readers", before.readers().count().to_string()),
        (
            "clusters",
            reader.db_clusters(REGION).await.expect("rds answers").len().to_string(),
        ),
        ("marked", written),
        ("not marked", erased),
    ];
    let members = before.members.iter().map(|member| member.az.is_empty());
    told.push((
        "members without an AZ",
        members.filter(|none| *none).count().to_string(),
    ));
    let absent = reader
        .db_cluster(REGION, "no-such-db")
        .await
        .expect("an absent one is no error");
    told.push(("no cluster", absent.is_none().to_string()));
    let refused = writer.failover_db_cluster(REGION, "no-such-db", None).await;
    told.push(("failover of none", refused.expect_err("there is none").code));
    let answer = writer.failover_db_cluster(REGION, "shop-db", Some("shop-db-2")).await;
    answer.expect("it fails over");
    told.push(("failed over", until(Some("shop-db-2".to_owned()), writes).await));
    let status = async || cluster().await.status;
    told.push(("and available", until("available".to_owned(), status).await));
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_fails_over_in_both() {
    let moto = Moto::start();
    let setup = venv("python")
        .arg("tests/independent/moto_setup.py")
        .arg(&moto.endpoint)
        .output()
        .expect("python runs");
    assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stderr));
    let lab = LabProcess::start_with("60", &["--set", "database.engine=aurora-postgresql"]);
    let mut told = Vec::new();
    for endpoint in [&moto.endpoint, &lab.endpoint] {
        let (reader, writer) = connect(endpoint).await;
        told.push(clusters(&reader, &writer).await);
    }
    assert_eq!(told[0], told[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn templates_of_fis_are_created_and_deleted_in_both() {
    let (moto, lab) = (Moto::start(), LabProcess::start("60"));
    for endpoint in [&moto.endpoint, &lab.endpoint] {
        let (_, writer) = connect(endpoint).await;
        let arn = format!("arn:aws:ec2:{REGION}:111122223333:instance/i-00000000000000001");
        let action = NewAction {
            id: "aws:ec2:terminate-instances".to_owned(),
            targets: [("Instances".to_owned(), "hit".to_owned())].into(),
            ..NewAction::default()
        };
        let template = NewTemplate {
            description: "both".to_owned(),
            role_arn: "arn:aws:iam::111122223333:role/fis".to_owned(),
            targets: [("hit".to_owned(), ("aws:ec2:instance".to_owned(), vec![arn]))].into(),
            actions: [("act".to_owned(), action)].into(),
            tags: Tags::from([("tenfold:run".to_owned(), "r1".to_owned())]),
            ..NewTemplate::default()
        };
        let made = writer.create_experiment_template(REGION, &template, "t1").await;
        let id = made.expect("it is created").value;
        let deleted = writer.delete_experiment_template(REGION, &id).await;
        deleted.expect("it is deleted");
        let gone = writer.delete_experiment_template(REGION, &id).await;
        let kind = gone.expect_err("it is gone").kind;
        assert_eq!(kind, tenfold::aws::ErrorKind::NotFound, "{endpoint}");
    }
}
