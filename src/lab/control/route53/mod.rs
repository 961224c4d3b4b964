//! Route 53 over `restXml`: the operation comes from the method and the path.

mod health_checks;
mod records;
mod tagging;
mod zones;

use super::Call;
use super::page::page;
use super::value::{Value, map};
use crate::lab::error::AwsError;

/// Namespace of every document.
pub const NAMESPACE: &str = "https://route53.amazonaws.com/doc/2013-04-01/";

/// The operation of a method and path, and the ids in the path.
pub fn operation(method: &str, path: &str) -> Option<(&'static str, Vec<String>)> {
    let rest = path.strip_prefix("/2013-04-01/")?;
    let segments: Vec<&str> = rest.split('/').filter(|segment| !segment.is_empty()).collect();
    let (name, ids): (_, &[&str]) = match (method, segments.as_slice()) {
        ("GET", ["hostedzone"]) => ("ListHostedZones", &[]),
        ("GET", ["hostedzonesbyname"]) => ("ListHostedZonesByName", &[]),
        ("GET", ["hostedzone", id]) => ("GetHostedZone", &[*id]),
        ("GET", ["hostedzone", id, "rrset"]) => ("ListResourceRecordSets", &[*id]),
        ("POST", ["hostedzone", id, "rrset"]) => ("ChangeResourceRecordSets", &[*id]),
        ("GET", ["change", id]) => ("GetChange", &[*id]),
        ("GET", ["healthcheck"]) => ("ListHealthChecks", &[]),
        ("GET", ["healthcheck", id]) => ("GetHealthCheck", &[*id]),
        ("GET", ["healthcheck", id, "status"]) => ("GetHealthCheckStatus", &[*id]),
        ("POST", ["healthcheck", id]) => ("UpdateHealthCheck", &[*id]),
        ("GET", ["tags", kind, id]) => ("ListTagsForResource", &[*kind, *id]),
        ("POST", ["tags", kind]) => ("ListTagsForResources", &[*kind]),
        ("POST", ["tags", kind, id]) => ("ChangeTagsForResource", &[*kind, *id]),
        _ => return None,
    };
    Some((name, ids.iter().map(|id| super::query::unescape_path(id)).collect()))
}

/// Answers one Route 53 operation.
pub fn answer(call: &Call<'_>) -> Result<Value, AwsError> {
    match call.action {
        "ListHostedZones" => zones::list_zones(call),
        "ListHostedZonesByName" => zones::list_by_name(call),
        "GetHostedZone" => zones::get(call),
        "ListResourceRecordSets" => records::list_records(call),
        "ChangeResourceRecordSets" => records::change(call),
        "GetChange" => records::get_change(call),
        "ListHealthChecks" => health_checks::list_checks(call),
        "GetHealthCheck" => health_checks::get(call),
        "GetHealthCheckStatus" => health_checks::status(call),
        "UpdateHealthCheck" => health_checks::update(call),
        "ListTagsForResource" => tagging::of_one(call),
        "ListTagsForResources" => tagging::of_some(call),
        "ChangeTagsForResource" => tagging::change(call),
        other => Err(call.unknown(other)),
    }
}

/// The id in the path, without a prefix such as `/hostedzone/` that AWS accepts before it.
fn path_id<'c>(call: &'c Call<'_>, place: usize) -> &'c str {
    let id = call.path_ids.get(place).map(String::as_str).unwrap_or_default();
    id.rsplit('/').next().unwrap_or_default()
}

fn most(call: &Call<'_>, default: usize) -> Result<usize, AwsError> {
    let bad = |_| AwsError::bad_request("InvalidInput", "maxitems must be a positive whole number");
    Ok(call
        .query
        .whole("maxitems", 1..=100_000)
        .map_err(bad)?
        .map_or(default, |most| most as usize)
        .min(300))
}

/// A page by marker, with the members that all of Route 53's plain lists share.
fn marked<T>(
    call: &Call<'_>,
    name: &'static str,
    items: Vec<T>,
    key: impl Fn(&T) -> String,
    shown: impl Fn(Vec<T>) -> Value,
) -> Result<Value, AwsError> {
    let most = most(call, 100)?;
    let marker = call.query.text("marker");
    let (items, next) = page(items, key, marker, most, "InvalidInput")?;
    Ok(map([
        (name, shown(items)),
        ("Marker", marker.unwrap_or_default().into()),
        ("IsTruncated", next.is_some().into()),
        ("NextMarker", next.into()),
        ("MaxItems", most.to_string().into()),
    ]))
}

#[cfg(test)]
mod tests {
    use super::operation;

    #[test]
    fn paths_name_operations() {
        for (method, path, name, ids) in [
            ("GET", "/2013-04-01/hostedzone", "ListHostedZones", vec![]),
            (
                "POST",
                "/2013-04-01/hostedzone/Z1/rrset/",
                "ChangeResourceRecordSets",
                vec!["Z1"],
            ),
            (
                "POST",
                "/2013-04-01/hostedzone/Z1/rrset",
                "ChangeResourceRecordSets",
                vec!["Z1"],
            ),
            (
                "GET",
                "/2013-04-01/healthcheck/a-b/status",
                "GetHealthCheckStatus",
                vec!["a-b"],
            ),
            (
                "GET",
                "/2013-04-01/tags/hostedzone/Z1",
                "ListTagsForResource",
                vec!["hostedzone", "Z1"],
            ),
        ] {
            let (found, found_ids) = operation(method, path).expect(path);
            assert_eq!(
                (found, found_ids),
                (name, ids.into_iter().map(str::to_owned).collect()),
                "{method} {path}"
            );
        }
        assert!(operation("PATCH", "/2013-04-01/hostedzone").is_none());
        assert!(operation("GET", "/").is_none());
    }
}
