//! `tenfold lab`: the small cloud alone, until Ctrl-C or, as a child of `run`, until its standard input ends.

use anyhow::Context;
use tokio::io::AsyncReadExt;

use crate::cli::args::LabArguments;
use crate::cli::exit::{Exit, Failure};
use crate::cli::{out, profile};
use crate::lab::{self, Announcement, LabConfig, LabOptions};

/// Runs the lab.
pub(super) async fn lab(arguments: LabArguments) -> Result<Exit, Failure> {
    let config = match &arguments.config {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            let value = serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
            LabConfig::from_json(value).map_err(Failure::usage)?
        }
        None => profile::load_lab(arguments.profile.as_deref(), &arguments.set)?,
    };
    let options = LabOptions {
        pace: arguments.pace,
        seed: arguments.seed,
        bind: arguments.bind,
        port: arguments.port,
        truth: arguments.truth.clone(),
        dns_port: 0,
    };
    let (lab, announcement) = lab::start(config, options).await.map_err(Failure::usage)?;
    if arguments.json {
        let line = serde_json::to_string(&announcement).context("cannot encode the announcement")?;
        out::line(&line)?;
    } else {
        out::print(&exports(&announcement))?;
    }
    if arguments.until_stdin_closes {
        let mut byte = [0u8; 1];
        // An error is as good as an end: the parent is gone.
        while tokio::io::stdin().read(&mut byte).await.is_ok_and(|count| count > 0) {}
    } else {
        tokio::signal::ctrl_c().await.context("cannot listen for Ctrl-C")?;
    }
    drop(lab);
    // Standard input may still be held by a blocking read; nothing of the lab outlives the process.
    std::process::exit(0)
}

/// What to export so that the aws command line and boto3 talk to this lab.
fn exports(announcement: &Announcement) -> String {
    let region = announcement.regions.first().map_or("us-east-1", String::as_str);
    let (host, port) = announcement
        .resolver
        .rsplit_once(':')
        .unwrap_or((&announcement.resolver, "53"));
    let record = announcement
        .entry
        .trim_start_matches("http://")
        .split(':')
        .next()
        .unwrap_or_default();
    format!(
        "the lab is running at pace {pace}; Ctrl-C ends it\n\n\
         export AWS_ENDPOINT_URL={endpoint}\n\
         export AWS_ACCESS_KEY_ID=lab AWS_SECRET_ACCESS_KEY=lab\n\
         export AWS_DEFAULT_REGION={region}\n\n\
         version 1 of the aws CLI ignores AWS_ENDPOINT_URL for rds in us-east-1, so these commands name the endpoint:\n\n\
         aws --endpoint-url {endpoint} ec2 describe-instances\n\
         aws --endpoint-url {endpoint} autoscaling describe-scaling-activities\n\
         aws --endpoint-url {endpoint} rds describe-events --source-type db-instance\n\
         aws --endpoint-url {endpoint} route53 list-resource-record-sets --hosted-zone-id {zone}\n\
         aws --endpoint-url {endpoint} cloudwatch describe-alarms\n\
         dig @{host} -p {port} {record}\n\
         entry: {entry}\n",
        zone = announcement
            .roles
            .get("dns")
            .and_then(|dns| dns.get("hosted_zone"))
            .map_or("", String::as_str),
        pace = announcement.clock.pace,
        endpoint = announcement.endpoint,
        entry = announcement.entry,
    )
}
