//! ARC zonal shift: what moves a load balancer's users away from one AZ.

use aws_sdk_arczonalshift::types::ZonalShiftStatus;

use super::{AwsError, Called, Reader, Writer};

/// A zonal shift.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ZonalShift {
    /// Id.
    pub id: String,
    /// ARN of what is shifted.
    pub resource: String,
    /// Id of the AZ, `use1-az1` for example.
    pub away_from: String,
    /// Comment.
    pub comment: String,
    /// ExpiryTime, Unix seconds of the target's clock.
    pub expires: f64,
}

impl Reader {
    /// The shift that a resource is under now, if it is under one.
    pub async fn active_zonal_shift(&self, region: &str, resource: &str) -> Result<Option<ZonalShift>, AwsError> {
        let shifts = self.active(region, Some(resource)).await?;
        Ok(shifts.into_iter().find(|shift| shift.resource == resource))
    }

    /// Every shift that something of a Region is under now.
    pub async fn active_zonal_shifts(&self, region: &str) -> Result<Vec<ZonalShift>, AwsError> {
        self.active(region, None).await
    }

    async fn active(&self, region: &str, resource: Option<&str>) -> Result<Vec<ZonalShift>, AwsError> {
        const ACTION: &str = "arc-zonal-shift:ListZonalShifts";
        let clients = self.region(ACTION, region)?;
        let request = clients
            .arczonalshift
            .list_zonal_shifts()
            .status(ZonalShiftStatus::Active)
            .set_resource_identifier(resource.map(str::to_owned));
        let pages = request.into_paginator().items().send();
        let shifts: Vec<_> = clients.gate.call(ACTION, pages.collect::<Result<_, _>>()).await?;
        let active = shifts.into_iter().filter(|one| one.status == ZonalShiftStatus::Active);
        Ok(active
            .map(|one| ZonalShift {
                expires: one.expiry_time.as_secs_f64(),
                id: one.zonal_shift_id,
                resource: one.resource_identifier,
                away_from: one.away_from,
                comment: one.comment,
            })
            .collect())
    }
}

impl Writer {
    /// Shifts a resource away from an AZ until `expires_in` (`3m`) is over; answers the shift's id. Refused while it is
    /// under another shift.
    pub async fn start_zonal_shift(
        &self,
        region: &str,
        resource: &str,
        away_from: &str,
        expires_in: &str,
        comment: &str,
    ) -> Result<Called<String>, AwsError> {
        const ACTION: &str = "arc-zonal-shift:StartZonalShift";
        let clients = self.reader().region(ACTION, region)?;
        self.persist(async || {
            let request = clients
                .arczonalshift
                .start_zonal_shift()
                .resource_identifier(resource)
                .away_from(away_from)
                .expires_in(expires_in)
                .comment(comment);
            let answer = clients.gate.call(ACTION, request.send()).await?;
            Ok(answer.zonal_shift_id)
        })
        .await
    }

    /// Lets a shift expire that long from now; refused for one that is over.
    pub async fn renew_zonal_shift(&self, region: &str, id: &str, expires_in: &str) -> Result<Called<()>, AwsError> {
        const ACTION: &str = "arc-zonal-shift:UpdateZonalShift";
        let clients = self.reader().region(ACTION, region)?;
        self.persist(async || {
            let request = clients
                .arczonalshift
                .update_zonal_shift()
                .zonal_shift_id(id)
                .expires_in(expires_in);
            clients.gate.call(ACTION, request.send()).await.map(|_| ())
        })
        .await
    }

    /// Ends a shift; refused for one that is over.
    pub async fn cancel_zonal_shift(&self, region: &str, id: &str) -> Result<Called<()>, AwsError> {
        const ACTION: &str = "arc-zonal-shift:CancelZonalShift";
        let clients = self.reader().region(ACTION, region)?;
        self.persist(async || {
            let request = clients.arczonalshift.cancel_zonal_shift().zonal_shift_id(id);
            clients.gate.call(ACTION, request.send()).await.map(|_| ())
        })
        .await
    }
}
