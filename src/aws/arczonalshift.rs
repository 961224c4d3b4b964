//! ARC zonal shift: what moves a load balancer's users away from one AZ.

use aws_sdk_arczonalshift::types::ZonalShiftStatus;

use super::{AwsError, Called, Reader, Writer};

/// A zonal shift.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZonalShift {
    /// Id.
    pub id: String,
    /// ARN of what is shifted.
    pub resource: String,
    /// Id of the AZ, `use1-az1` for example.
    pub away_from: String,
    /// Comment.
    pub comment: String,
}

impl Reader {
    /// The shift that a resource is under now, if it is under one.
    pub async fn active_zonal_shift(&self, region: &str, resource: &str) -> Result<Option<ZonalShift>, AwsError> {
        const ACTION: &str = "arc-zonal-shift:ListZonalShifts";
        let clients = self.region(ACTION, region)?;
        let request = clients
            .arczonalshift
            .list_zonal_shifts()
            .status(ZonalShiftStatus::Active)
            .resource_identifier(resource);
        let pages = request.into_paginator().items().send();
        let shifts: Vec<_> = clients.gate.call(ACTION, pages.collect::<Result<_, _>>()).await?;
        let found = shifts
            .into_iter()
            .find(|one| one.resource_identifier == resource && one.status == ZonalShiftStatus::Active);
        Ok(found.map(|one| ZonalShift {
            id: one.zonal_shift_id,
            resource: one.resource_identifier,
            away_from: one.away_from,
            comment: one.comment,
        }))
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
