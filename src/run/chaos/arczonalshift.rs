//! `elb.zonal_shift`: a role's load balancers leave one AZ. A shift expires by itself within minutes and is renewed for
//! as long as the fault lasts, so that a run that died leaves nothing for long.

use std::time::Duration;

use super::before::{Before, ShiftBefore};
use super::injection::{Context, Pass};
use super::runner::{Hand, Sight};
use super::scan::{Leftover, Scan};
use super::{ChaosError, ec2};
use crate::aws::{AwsError, Reader, ZonalShift};
use crate::event::FaultId;

/// How long a shift lasts unless it is renewed.
const EXPIRES_IN: &str = "3m";
/// How often it is renewed, cloud time.
pub(super) const RENEW_EVERY: Duration = Duration::from_secs(60);
/// Begins the comment of every shift; the run and the fault follow.
const COMMENT: &str = "tenfold run ";
/// Longest comment that AWS takes.
const COMMENT_MAX: usize = 128;

/// Finds the role's load balancers, none of them under a shift, and the id of the AZ.
pub(super) async fn prepare(
    sight: &Sight<'_>,
    context: &Context<'_>,
    role: &str,
    az: &str,
) -> Result<Before, ChaosError> {
    let (reader, region) = (sight.reader, sight.region);
    let group = ec2::group(sight, context, role).await?;
    let subnets = reader.subnets(region, &group.subnets).await?;
    if !subnets.iter().any(|subnet| subnet.az != az) {
        return Err(ChaosError::Refused(format!(
            "{az} is the only AZ of group {}",
            group.name
        )));
    }
    let Some(subnet) = subnets.iter().find(|subnet| subnet.az == az) else {
        return Err(ChaosError::Refused(format!(
            "group {} has no subnet in {az}",
            group.name
        )));
    };
    let target_groups = reader.target_groups(region, &group.target_groups).await?;
    let mut load_balancers: Vec<String> = target_groups.into_iter().flat_map(|one| one.load_balancers).collect();
    load_balancers.sort();
    load_balancers.dedup();
    if load_balancers.is_empty() {
        return Err(ChaosError::Refused(format!(
            "group {} has no load balancer",
            group.name
        )));
    }
    let tags = reader.elb_tags(region, &load_balancers).await?;
    for arn in &load_balancers {
        let tags = tags.get(arn).cloned().unwrap_or_default();
        context.may_touch(arn, &tags)?;
        if let Some(shift) = reader.active_zonal_shift(region, arn).await? {
            let why = format!(
                "{arn} is already shifted away from {}: {}",
                shift.away_from, shift.comment
            );
            return Err(ChaosError::Refused(why));
        }
    }
    let comment = format!("{COMMENT}{}, {}", context.run, sight.fault);
    Ok(Before::ElbZonalShift(ShiftBefore {
        load_balancers,
        away_from: subnet.az_id.clone(),
        comment: comment.chars().take(COMMENT_MAX).collect(),
    }))
}

/// Starts the shifts.
pub(super) async fn shift(hand: &Hand<'_>, before: &ShiftBefore) -> Result<(), ChaosError> {
    for arn in &before.load_balancers {
        if hand.is_ending() {
            return Err(ChaosError::Ending);
        }
        let (region, away_from) = (hand.region, &before.away_from);
        let answer = hand
            .cloud
            .start_zonal_shift(region, arn, away_from, EXPIRES_IN, &before.comment)
            .await;
        let detail = format!("{arn} away from {away_from}");
        match hand.called("arc-zonal-shift:StartZonalShift", &detail, answer) {
            Ok(id) => hand.created(&id)?,
            // An attempt before the last may have done it without an answer.
            Err(error) => match ours(hand, before, arn).await {
                Ok(Some(shift)) => hand.created(&shift.id)?,
                _ => return Err(error),
            },
        }
    }
    Ok(())
}

/// The shift of a load balancer that is this fault's.
async fn ours(hand: &Hand<'_>, before: &ShiftBefore, arn: &str) -> Result<Option<ZonalShift>, AwsError> {
    let shift = hand.cloud.reader().active_zonal_shift(hand.region, arn).await?;
    Ok(shift.filter(|shift| shift.comment == before.comment))
}

/// Evidence once every load balancer is under its shift.
pub(super) async fn observe(hand: &Hand<'_>, before: &ShiftBefore) -> Result<Option<String>, ChaosError> {
    let mut seen = Vec::new();
    for arn in &before.load_balancers {
        let Some(shift) = ours(hand, before, arn).await? else {
            return Ok(None);
        };
        seen.push(format!(
            "zonal shift {} of {arn} away from {} is active",
            shift.id, shift.away_from
        ));
    }
    Ok(Some(seen.join(", ")))
}

/// Renews the shifts; answers which of them is over, if one is.
pub(super) async fn renew(hand: &Hand<'_>, before: &ShiftBefore) -> Result<Option<String>, ChaosError> {
    for arn in &before.load_balancers {
        let Some(shift) = ours(hand, before, arn).await? else {
            return Ok(Some(format!("the zonal shift of {arn} is not active")));
        };
        let answer = hand.cloud.renew_zonal_shift(hand.region, &shift.id, EXPIRES_IN).await;
        hand.called("arc-zonal-shift:UpdateZonalShift", &shift.id, answer)?;
    }
    Ok(None)
}

/// Cancels the shifts that are still there.
pub(super) async fn cancel(hand: &Hand<'_>, before: &ShiftBefore) -> Result<Pass, ChaosError> {
    let mut pass = Pass::default();
    for arn in &before.load_balancers {
        let Some(shift) = ours(hand, before, arn).await? else {
            continue;
        };
        let answer = hand.cloud.cancel_zonal_shift(hand.region, &shift.id).await;
        let answer = hand.called("arc-zonal-shift:CancelZonalShift", &shift.id, answer);
        // One that failed may have expired just now.
        pass.left_after(&format!("zonal shift {} of {arn} is active", shift.id), answer)?;
    }
    Ok(pass)
}

/// What runs left in a Region, by the comments of their shifts. One that has not expired may be renewed by a run that
/// goes on.
pub(super) async fn left_in(reader: &Reader, region: &str, scan: &mut Scan) -> Result<(), AwsError> {
    for shift in reader.active_zonal_shifts(region).await? {
        let Some(whose) = shift.comment.strip_prefix(COMMENT) else {
            continue;
        };
        let parsed = whose
            .split_once(", ")
            .and_then(|(run, fault)| Some((run.to_owned(), FaultId::parse(fault)?)));
        let Some((run, fault)) = parsed else {
            scan.strange.push(format!("zonal shift {} in {region}", shift.id));
            continue;
        };
        scan.add(Leftover {
            region: region.to_owned(),
            run,
            fault,
            expires: Some(shift.expires),
            resources: vec![shift.id],
            befores: vec![Before::ElbZonalShift(ShiftBefore {
                load_balancers: vec![shift.resource],
                away_from: shift.away_from,
                comment: shift.comment,
            })],
        });
    }
    Ok(())
}

/// The commands that undo it without us.
pub(super) fn by_hand(before: &ShiftBefore, region: &str) -> String {
    format!(
        "`aws arc-zonal-shift list-zonal-shifts --region {region} --status ACTIVE` shows those with the comment {:?}; cancel each with \
         `aws arc-zonal-shift cancel-zonal-shift --region {region} --zonal-shift-id ID`, or wait {EXPIRES_IN} until it expires",
        before.comment
    )
}
