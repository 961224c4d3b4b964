//! The same `aws/` functions against moto and against the lab: answers of the same shape.
//!
//! What moto cannot do is listed here, not faked (moto 5.2.1; see its own source):
//! - CloudWatch: the Rust SDK speaks rpc-v2-cbor, which moto does not route, so no CloudWatch function is compared.
//! - DescribeScalingActivities answers an empty list, so only the lab's activities are looked at by other tests.
//! - RebootDBInstance ignores ForceFailover: no AZ swap, no SecondaryAvailabilityZone, no failover events.
//! - GetHealthCheckStatus is a constant.
//! - ReplaceNetworkAclAssociation with an unknown association is a 500 instead of AWS's error code.
//! - A replacement launched by a group is not registered with its target group.

use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use tenfold::aws::{Clients, ConnectOptions, Reader, Writer};
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
    let account = reader.account(REGION).await.expect("sts answers");
    let group = reader
        .group(REGION, "shop-web")
        .await
        .expect("autoscaling answers")
        .expect("the group is there");
    let ids: Vec<String> = group.members.iter().map(|member| member.id.clone()).collect();
    let instances = reader.instances(REGION, &ids).await.expect("ec2 answers");
    let subnets = reader.subnets(REGION, &group.subnets).await.expect("ec2 answers");
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
    vec![terminated.code, rebooted.code]
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
}
