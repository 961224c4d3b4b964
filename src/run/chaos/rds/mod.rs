//! `rds.reboot` and `rds.stop`, and `rds.failover`: the primary of a Multi-AZ instance fails over. A single-AZ instance has nobody to fail over to, so
//! it is rebooted in place and recorded as such: its users feel the outage all the same, and the verdict must show it.
//! Aurora's clusters stand in `cluster` and `global`.

pub(super) mod cluster;
pub(super) mod global;

use super::ChaosError;
use super::before::Before;
use super::guard;
use super::injection::{Context, Foreign, Pass};
use super::runner::{Hand, Sight};
use crate::aws::DbInstance;
use crate::plan::Role;

/// The code of a call that the instance's status does not allow.
const STATE_MISMATCH: &str = "InvalidDBInstanceState";

/// The instance of a role, available and allowed to be touched.
async fn available(sight: &Sight<'_>, context: &Context<'_>, role: &str) -> Result<DbInstance, ChaosError> {
    let Some(Role::DbInstance(id)) = context.target.roles.get(role) else {
        return Err(ChaosError::Refused("its role is not an RDS instance".to_owned()));
    };
    let region = sight.region;
    let instance = sight.reader.db_instance(region, id).await?;
    let instance = instance
        .ok_or_else(|| ChaosError::Refused(format!("there is no RDS instance {id} in {region}; nothing to hit")))?;
    context.may_touch(id, &instance.tags)?;
    if instance.status != "available" {
        return Err(ChaosError::Refused(format!(
            "{id} in {region} is {}, not available",
            instance.status
        )));
    }
    guard::redundant(region, &instance).map_err(ChaosError::Degraded)?;
    Ok(instance)
}

pub(super) async fn prepare_reboot(sight: &Sight<'_>, context: &Context<'_>, role: &str) -> Result<Before, ChaosError> {
    let database = available(sight, context, role).await?.id;
    Ok(Before::RdsReboot { database })
}

pub(super) async fn prepare_stop(sight: &Sight<'_>, context: &Context<'_>, role: &str) -> Result<Before, ChaosError> {
    let database = available(sight, context, role).await?.id;
    Ok(Before::RdsStop { database })
}

/// Checks that the failover can be asked for.
pub(super) async fn prepare_failover(
    sight: &Sight<'_>,
    context: &Context<'_>,
    role: &str,
) -> Result<Before, ChaosError> {
    let instance = available(sight, context, role).await?;
    Ok(Before::RdsFailover {
        failover: instance.multi_az,
        database: instance.id,
        az: instance.az,
        secondary_az: instance.secondary_az,
    })
}

/// Asks for the reboot, with failover or in place.
pub(super) async fn reboot(hand: &Hand<'_>, database: &str, failover: bool) -> Result<(), ChaosError> {
    let answer = hand.cloud.reboot_db_instance(hand.region, database, failover).await;
    let detail = format!("{database}: ForceFailover={failover}");
    hand.called("rds:RebootDBInstance", &detail, answer)
}

/// Looks for the reboot: an event since `since` (cloud time), another status, or the AZs swapped.
pub(super) async fn observe(
    hand: &Hand<'_>,
    database: &str,
    failover: bool,
    az: &str,
    since: f64,
) -> Result<Option<String>, ChaosError> {
    const FAILOVER_WORDS: [&str; 1] = ["failover"];
    const RESTART_WORDS: [&str; 2] = ["shutdown", "restart"];
    let words: &[&str] = if failover { &FAILOVER_WORDS } else { &RESTART_WORDS };
    let note = if failover {
        ""
    } else {
        " (plain reboot: the instance is not Multi-AZ)"
    };
    let events = hand.cloud.reader().db_events(hand.region, database, since).await?;
    let told = events.iter().find(|event| {
        let message = event.message.to_lowercase();
        words.iter().any(|word| message.contains(word))
    });
    if let Some(event) = told {
        return Ok(Some(format!("RDS event \"{}\"{note}", event.message)));
    }
    let Some(instance) = hand.cloud.reader().db_instance(hand.region, database).await? else {
        return Ok(None);
    };
    if instance.az != az {
        return Ok(Some(format!("the primary moved from {az} to {}{note}", instance.az)));
    }
    let rebooting = instance.status != "available";
    Ok(rebooting.then(|| format!("{database} is {}{note}", instance.status)))
}

pub(super) async fn stop(hand: &Hand<'_>, database: &str) -> Result<(), ChaosError> {
    let answer = hand.cloud.stop_db_instance(hand.region, database).await;
    match hand.called("rds:StopDBInstance", database, answer) {
        // An attempt without an answer had its effect, and the next one came too late.
        Err(ChaosError::Aws(error))
            if error.code == STATE_MISMATCH && observe_stopped(hand, database).await?.is_some() =>
        {
            Ok(())
        }
        other => other,
    }
}

/// An event of the restart since `since` (cloud time), or a status that shows it.
pub(super) async fn observe_restart(hand: &Hand<'_>, database: &str, since: f64) -> Result<Option<String>, ChaosError> {
    let events = hand.cloud.reader().db_events(hand.region, database, since).await?;
    let told = events.iter().find(|event| {
        let message = event.message.to_lowercase();
        ["shutdown", "restart"].iter().any(|word| message.contains(word))
    });
    if let Some(event) = told {
        return Ok(Some(format!("RDS event \"{}\"", event.message)));
    }
    let instance = hand.cloud.reader().db_instance(hand.region, database).await?;
    let rebooting = instance.filter(|instance| instance.status == "rebooting");
    Ok(rebooting.map(|_| format!("{database} is rebooting")))
}

pub(super) async fn observe_stopped(hand: &Hand<'_>, database: &str) -> Result<Option<String>, ChaosError> {
    let instance = hand.cloud.reader().db_instance(hand.region, database).await?;
    let seen = instance.filter(|instance| matches!(instance.status.as_str(), "stopping" | "stopped"));
    Ok(seen.map(|instance| format!("{database} is {}", instance.status)))
}

/// Another status than that of one that is stopped: somebody has started it.
pub(super) async fn no_longer_stopped(hand: &Hand<'_>, database: &str) -> Result<Option<String>, ChaosError> {
    let instance = hand.cloud.reader().db_instance(hand.region, database).await?;
    let other = instance.filter(|instance| !matches!(instance.status.as_str(), "stopping" | "stopped"));
    Ok(other.map(|instance| format!("{database} is {}", instance.status)))
}

/// Starts it once it is stopped, and waits until it is available.
pub(super) async fn start_again(hand: &Hand<'_>, database: &str) -> Result<Pass, ChaosError> {
    let mut pass = Pass::default();
    let Some(instance) = hand.cloud.reader().db_instance(hand.region, database).await? else {
        pass.foreign.push(Foreign {
            found: format!("there is no RDS instance {database} any more"),
            by_hand: format!(
                "`aws rds describe-db-snapshots --region {} --db-instance-identifier {database}` shows what `aws rds \
                 restore-db-instance-from-db-snapshot` can restore it from, if it is missed",
                hand.region
            ),
        });
        return Ok(pass);
    };
    match instance.status.as_str() {
        "available" => {}
        "stopped" => {
            let answer = hand.cloud.start_db_instance(hand.region, database).await;
            hand.called("rds:StartDBInstance", database, answer)?;
            pass.left.push(format!("{database} is stopped"));
        }
        status => pass.left.push(format!("{database} is {status}")),
    }
    Ok(pass)
}
