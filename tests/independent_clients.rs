//! Parties that owe us nothing talk to the lab: boto3 and the aws command line.

use std::process::Command;

use crate::support::{LabProcess, venv};

fn succeed(command: &mut Command) -> String {
    let output = command.output().expect("the client runs");
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{command:?}\n{said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn boto3_uses_every_operation_the_harness_uses() {
    let lab = LabProcess::start("60");
    succeed(venv("python").arg("tests/independent/lab_boto3.py").arg(&lab.endpoint));
}

#[test]
fn boto3_fails_a_cluster_over() {
    let engine = ["--set", "database.engine=aurora-postgresql"];
    let global = ["--set", "database.global=true"];
    let script = "tests/independent/lab_boto3_cluster.py";
    for arguments in [&engine[..], &[engine, global].concat()] {
        let lab = LabProcess::start_with("60", arguments);
        succeed(venv("python").arg(script).arg(&lab.endpoint));
    }
}

#[test]
fn the_aws_command_line_reads_the_lab() {
    let lab = LabProcess::start("60");
    let aws = |args: &[&str]| -> serde_json::Value {
        let text = succeed(
            venv("aws")
                .args(["--endpoint-url", &lab.endpoint, "--output", "json"])
                .args(args),
        );
        serde_json::from_str(&text).expect("the aws command line prints JSON")
    };
    let instances = aws(&["ec2", "describe-instances"]);
    assert!(
        instances["Reservations"].as_array().is_some_and(|list| list.len() >= 3),
        "{instances}"
    );
    let activities = aws(&[
        "autoscaling",
        "describe-scaling-activities",
        "--auto-scaling-group-name",
        "shop-web",
    ]);
    assert!(activities["Activities"].is_array(), "{activities}");
    let events = aws(&[
        "rds",
        "describe-events",
        "--source-type",
        "db-instance",
        "--source-identifier",
        "shop-db",
    ]);
    assert!(events["Events"].is_array(), "{events}");
    let zones = aws(&["route53", "list-hosted-zones"]);
    let zone = zones["HostedZones"][0]["Id"]
        .as_str()
        .expect("there is a zone")
        .to_owned();
    let records = aws(&["route53", "list-resource-record-sets", "--hosted-zone-id", &zone]);
    assert!(
        records["ResourceRecordSets"]
            .as_array()
            .is_some_and(|list| list.len() >= 2),
        "{records}"
    );
    let alarms = aws(&["cloudwatch", "describe-alarms"]);
    assert!(
        alarms["MetricAlarms"].as_array().is_some_and(|list| list.len() >= 2),
        "{alarms}"
    );
}
