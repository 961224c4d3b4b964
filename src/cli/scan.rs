//! `tenfold revert --scan --target FILE`: repairs an account when the directory of a run is lost.

use std::path::Path;

use anyhow::anyhow;

use crate::aws::{Clients, ConnectOptions};
use crate::cli::exit::{Exit, Failure};
use crate::cli::revert::failure;
use crate::cli::target::credentials;
use crate::cli::{out, profile};
use crate::clock::{Clock, from_unix};
use crate::config;
use crate::run::chaos::{self, Leftover};
use crate::units::Pace;

/// Scans the account of a target, and undoes what has expired, or everything.
pub(super) async fn scan(target: &Path, all: bool) -> Result<Exit, Failure> {
    let name = target.display().to_string();
    let file = config::load_target(&name, &profile::read(target)?).map_err(Failure::usage)?;
    let account = file.account.clone().filter(|_| !file.regions.is_empty());
    let Some(account) = account else {
        let hint = "hint: write account and regions, so that no other account is touched";
        return Err(anyhow!("{name} names no account, or no Regions, to look in\n{hint}").into());
    };
    let clock = match file.clock {
        Some(clock) => Clock::new(from_unix(clock.epoch), clock.pace),
        None => Clock::starting_now(Pace::REAL),
    };
    let clients = Clients::connect(&ConnectOptions {
        endpoint: file.endpoint.clone(),
        regions: file.regions.clone(),
        pace: clock.pace(),
        assume: file.assume.clone(),
        credentials: credentials(file.endpoint.as_deref()),
    })
    .await;
    let found = chaos::scan(&clients.reader(), &account, clock.pace())
        .await
        .map_err(failure)?;
    let mut still_there = false;
    for strange in &found.strange {
        out::tell(&format!(
            "error: {strange} is a run's, but does not say how it is undone; look at it yourself"
        ));
        still_there = true;
    }
    let mut left_alone = false;
    for leftover in &found.left {
        left_alone |= !undone(&clients, &clock, leftover, all).await?;
    }
    if left_alone {
        out::tell_endpoint(file.endpoint.as_deref());
    }
    still_there |= left_alone;
    for unseen in &found.unseen {
        out::tell(&format!("error: could not look everywhere: {unseen}"));
    }
    if found == chaos::Scan::default() {
        let regions = file.regions.join(", ");
        out::line(&format!(
            "nothing in account {account} is marked as a run's, in {regions}"
        ))?;
    }
    out::line(SEES)?;
    Ok(match (still_there, found.unseen.is_empty()) {
        (true, _) => Exit::Unreverted,
        (false, true) => Exit::Met,
        (false, false) => Exit::Unreachable,
    })
}

/// Undoes one leftover unless it has not expired; whether it is gone.
async fn undone(clients: &Clients, clock: &Clock, leftover: &Leftover, all: bool) -> Result<bool, Failure> {
    out::line(&format!("found: {leftover}"))?;
    if !all && !leftover.is_expired(clock.cloud_unix()) {
        out::tell(&format!(
            "error: {} is left alone, for it has not expired and its run may go on\n\
             hint: --all undoes it too; {}",
            leftover.fault,
            leftover.by_hand()
        ));
        return Ok(false);
    }
    match chaos::undo_leftover(&clients.writer(), clock.pace(), leftover).await {
        Ok(()) => {
            out::line(&format!("reverted: {}", leftover.fault))?;
            Ok(true)
        }
        Err(error) => {
            out::tell(&format!("error: {error}"));
            Ok(false)
        }
    }
}

/// Where a scan looks, so that nobody takes its silence for more than it is.
const SEES: &str = "a scan looks at network ACLs, templates and experiments of AWS FIS, zonal shifts, and the marks on \
                    instances, Auto Scaling groups, target groups, RDS instances, Aurora clusters, health checks and \
                    hosted zones";
