//! ChangeResourceRecordSets: a batch is applied whole or not at all, and reaches the DNS servers some time later.

use std::sync::Arc;

use crate::lab::Lab;
use crate::lab::dynamics::sleep_until;
use crate::lab::error::AwsError;
use crate::lab::world::{DnsChange, RecordSet};

/// What to do with a record set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeAction {
    /// Fails when it exists.
    Create,
    /// Fails when it does not exist with exactly these values.
    Delete,
    /// Creates or replaces.
    Upsert,
}

/// ChangeResourceRecordSets; the change is INSYNC from `in_sync_at` on.
pub fn change_records(
    lab: &Arc<Lab>,
    zone_id: &str,
    changes: &[(ChangeAction, RecordSet)],
) -> Result<DnsChange, AwsError> {
    let delay = lab.draw_duration(lab.config.propagation).as_secs_f64();
    let id = format!("C{}", lab.random_text(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", 20));
    let mut world = lab.world();
    let now = lab.now();
    let route53 = &mut world.route53;
    let zone = route53
        .zones
        .get_mut(zone_id)
        .ok_or_else(|| AwsError::not_found("NoSuchHostedZone", format!("No hosted zone found with ID: {zone_id}")))?;
    zone.records = applied(&zone.records, &zone.name, changes)?;
    zone.batches_made += 1;
    let (batch, records) = (zone.batches_made, zone.records.clone());
    // Changes to a zone reach the servers in the order they were made.
    let earlier = route53
        .changes
        .values()
        .filter(|c| c.zone_id == zone_id)
        .map(|c| c.in_sync_at);
    let in_sync_at = earlier.fold(now + delay, f64::max);
    let change = DnsChange {
        id: id.clone(),
        zone_id: zone_id.to_owned(),
        submitted_at: now,
        in_sync_at,
    };
    route53.changes.insert(id, change.clone());
    drop(world);
    let (lab, zone_id) = (lab.clone(), zone_id.to_owned());
    tokio::spawn(async move {
        sleep_until(&lab, in_sync_at).await;
        if let Some(zone) = lab.world().route53.zones.get_mut(&zone_id) {
            zone.serve(batch, records);
        }
    });
    Ok(change)
}

/// The zone's records after the batch, or why it is refused.
fn applied(
    records: &[RecordSet],
    zone: &str,
    changes: &[(ChangeAction, RecordSet)],
) -> Result<Vec<RecordSet>, AwsError> {
    let mut records = records.to_vec();
    let mut problems = Vec::new();
    for (action, record) in changes {
        let mut record = record.clone();
        record.name = absolute(&record.name);
        if record.name != zone && !record.name.ends_with(&format!(".{zone}")) {
            problems.push(format!(
                "RRSet with DNS name {} is not permitted in zone {zone}",
                record.name
            ));
            continue;
        }
        let same = |r: &RecordSet| {
            r.name == record.name && r.record_type == record.record_type && r.set_identifier == record.set_identifier
        };
        let at = records.iter().position(same);
        let label = describe(&record);
        match (action, at) {
            (ChangeAction::Create, Some(_)) => {
                problems.push(format!(
                    "Tried to create resource record set {label} but it already exists"
                ));
            }
            (ChangeAction::Delete, None) => {
                problems.push(format!(
                    "Tried to delete resource record set {label} but it was not found"
                ));
            }
            (ChangeAction::Delete, Some(at)) if records[at] != record => problems.push(format!(
                "Tried to delete resource record set {label} but the values provided do not match the current values"
            )),
            (ChangeAction::Delete, Some(at)) => drop(records.remove(at)),
            (ChangeAction::Upsert, Some(at)) => records[at] = record,
            (ChangeAction::Create | ChangeAction::Upsert, None) => records.push(record),
        }
    }
    if problems.is_empty() {
        Ok(records)
    } else {
        Err(AwsError::bad_request(
            "InvalidChangeBatch",
            format!("[{}]", problems.join(", ")),
        ))
    }
}

fn describe(record: &RecordSet) -> String {
    let set = record
        .set_identifier
        .as_ref()
        .map(|set| format!(", set-identifier='{set}'"))
        .unwrap_or_default();
    format!("[name='{}', type='{}'{set}]", record.name, record.record_type)
}

fn absolute(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    if name.ends_with('.') { name } else { format!("{name}.") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::world::{HostedZone, Routing, Tags};

    fn record(name: &str, value: &str) -> RecordSet {
        RecordSet {
            name: name.into(),
            record_type: "A".into(),
            set_identifier: None,
            routing: Routing::Simple,
            ttl_s: Some(60),
            values: vec![value.into()],
            alias: None,
            health_check_id: None,
        }
    }

    #[test]
    fn a_batch_that_reaches_the_servers_after_a_later_one_changes_nothing() {
        let of = |value: &str| vec![record("a.example.com.", value)];
        let mut zone = HostedZone {
            id: "Z1".into(),
            name: "example.com.".into(),
            records: of("127.0.0.3"),
            served: of("127.0.0.1"),
            batches_made: 2,
            batch_served: 0,
            tags: Tags::new(),
        };
        zone.serve(2, of("127.0.0.3"));
        zone.serve(1, of("127.0.0.2"));
        assert_eq!(zone.served, of("127.0.0.3"));
        zone.serve(3, of("127.0.0.4"));
        assert_eq!(zone.served, of("127.0.0.4"));
    }

    #[test]
    fn a_batch_is_applied_whole_or_not_at_all() {
        use ChangeAction::{Create, Delete, Upsert};
        let records = vec![record("a.example.com.", "127.0.0.1")];
        let zone = "example.com.";
        let changed = applied(
            &records,
            zone,
            &[
                (Upsert, record("a.example.com", "127.0.0.2")),
                (Create, record("b.example.com.", "127.0.0.3")),
            ],
        )
        .expect("a valid batch");
        assert_eq!(
            changed,
            [
                record("a.example.com.", "127.0.0.2"),
                record("b.example.com.", "127.0.0.3")
            ]
        );
        let refused = [
            (Create, record("a.example.com.", "127.0.0.9"), "already exists"),
            (Delete, record("a.example.com.", "127.0.0.9"), "do not match"),
            (Delete, record("c.example.com.", "127.0.0.9"), "was not found"),
            (Upsert, record("a.example.org.", "127.0.0.9"), "not permitted"),
        ];
        for (action, record, why) in refused {
            let error = applied(&records, zone, &[(action, record)]).expect_err(why);
            assert_eq!(error.code, "InvalidChangeBatch");
            assert!(error.message.contains(why), "{error}");
        }
        assert!(
            applied(&records, zone, &[(Delete, records[0].clone())])
                .expect("valid")
                .is_empty()
        );
    }
}
