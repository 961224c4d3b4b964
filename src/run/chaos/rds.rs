//! `rds.failover`: the primary of a Multi-AZ instance fails over. A single-AZ instance has nobody to fail over to, so
//! it is rebooted in place and recorded as such: its users feel the outage all the same, and the verdict must show it.

use super::ChaosError;
use super::cloud::Cloud;
use super::guard;
use super::journal::Before;
use super::runner::Hand;
use crate::plan::{Allow, Role};

/// Checks that the failover can be asked for.
pub(super) async fn prepare<C: Cloud>(
    hand: &Hand<'_, C>,
    role: Option<&Role>,
    allow: Option<&Allow>,
) -> Result<Before, ChaosError> {
    let Some(Role::DbInstance(id)) = role else {
        return Err(ChaosError::Refused("its role is not an RDS instance".to_owned()));
    };
    let region = hand.region;
    let instance = hand.cloud.db_instance(region, id).await?;
    let instance = instance.ok_or_else(|| {
        ChaosError::Refused(format!(
            "there is no RDS instance {id} in {region}; nothing to fail over"
        ))
    })?;
    guard::tagged(allow, id, &instance.tags).map_err(ChaosError::Refused)?;
    if instance.status != "available" {
        return Err(ChaosError::Refused(format!(
            "{id} in {region} is {}, not available",
            instance.status
        )));
    }
    if instance.multi_az && instance.secondary_az.is_none() {
        return Err(ChaosError::Refused(format!(
            "{id} in {region} has no standby at the moment, so its redundancy is already down"
        )));
    }
    Ok(Before::RdsFailover {
        database: id.clone(),
        failover: instance.multi_az,
        az: instance.az,
        secondary_az: instance.secondary_az,
    })
}

/// Asks for the reboot.
pub(super) async fn act<C: Cloud>(hand: &Hand<'_, C>, database: &str, failover: bool) -> Result<(), ChaosError> {
    let answer = hand.cloud.reboot(hand.region, database, failover).await;
    let detail = if failover {
        format!("{database}, ForceFailover")
    } else {
        format!("{database}, without ForceFailover since it is not Multi-AZ")
    };
    hand.called("rds:RebootDBInstance", &detail, answer)
}

/// Looks for the reboot: an event since `since` (cloud time), another status, or the AZs swapped.
pub(super) async fn observe<C: Cloud>(
    hand: &Hand<'_, C>,
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
    let events = hand.cloud.db_events(hand.region, database, since).await?;
    let told = events.iter().find(|event| {
        let message = event.message.to_lowercase();
        words.iter().any(|word| message.contains(word))
    });
    if let Some(event) = told {
        return Ok(Some(format!("RDS event \"{}\"{note}", event.message)));
    }
    let Some(instance) = hand.cloud.db_instance(hand.region, database).await? else {
        return Ok(None);
    };
    if instance.az != az {
        return Ok(Some(format!("the primary moved from {az} to {}{note}", instance.az)));
    }
    let rebooting = instance.status != "available";
    Ok(rebooting.then(|| format!("{database} is {}{note}", instance.status)))
}
