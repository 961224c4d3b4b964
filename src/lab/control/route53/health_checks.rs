//! Health checks: configuration, the checkers' views, and updates.

use super::super::Call;
use super::super::value::{Value, list, map, time};
use super::{marked, path_id};
use crate::lab::dynamics::route53::{self, HealthCheckUpdate};
use crate::lab::error::AwsError;
use crate::lab::world::HealthCheck;

pub fn no_check(id: &str) -> AwsError {
    AwsError::not_found(
        "NoSuchHealthCheck",
        format!("A health check with id {id} does not exist."),
    )
}

fn shown(check: &HealthCheck) -> Value {
    // What is checked is an address or a name; AWS shows the one that was configured.
    let is_address = check.fqdn.parse::<std::net::Ipv4Addr>().is_ok();
    let config = map([
        ("IPAddress", is_address.then_some(&check.fqdn).into()),
        ("Port", check.port.into()),
        ("Type", (&check.check_type).into()),
        ("ResourcePath", (&check.resource_path).into()),
        ("FullyQualifiedDomainName", (!is_address).then_some(&check.fqdn).into()),
        ("RequestInterval", check.request_interval_s.into()),
        ("FailureThreshold", check.failure_threshold.into()),
        ("MeasureLatency", false.into()),
        ("Inverted", check.inverted.into()),
        ("Disabled", check.disabled.into()),
        ("EnableSNI", false.into()),
    ]);
    map([
        ("Id", (&check.id).into()),
        ("CallerReference", (&check.caller_reference).into()),
        ("HealthCheckConfig", config),
        ("HealthCheckVersion", (check.version as i64).into()),
    ])
}

fn with_check<T>(call: &Call<'_>, read: impl FnOnce(&HealthCheck) -> T) -> Result<T, AwsError> {
    let id = path_id(call, 0);
    call.lab
        .world()
        .route53
        .health_checks
        .get(id)
        .map(read)
        .ok_or_else(|| no_check(id))
}

pub fn list_checks(call: &Call<'_>) -> Result<Value, AwsError> {
    let world = call.lab.world();
    let checks = world.route53.health_checks.values().collect();
    marked(
        call,
        "HealthChecks",
        checks,
        |check| check.id.clone(),
        |checks| list("HealthCheck", checks.into_iter().map(shown)),
    )
}

pub fn get(call: &Call<'_>) -> Result<Value, AwsError> {
    Ok(map([("HealthCheck", with_check(call, shown)?)]))
}

pub fn status(call: &Call<'_>) -> Result<Value, AwsError> {
    let observations = with_check(call, |check| {
        let views = check.checkers.iter().map(|checker| {
            let report = map([
                ("Status", (&checker.status).into()),
                ("CheckedTime", time(checker.checked_at)),
            ]);
            map([
                ("Region", (&checker.region).into()),
                ("IPAddress", (&checker.ip).into()),
                ("StatusReport", report),
            ])
        });
        list("HealthCheckObservation", views)
    })?;
    Ok(map([("HealthCheckObservations", observations)]))
}

pub fn update(call: &Call<'_>) -> Result<Value, AwsError> {
    let input = &call.input;
    let bad = |error: AwsError| AwsError::bad_request("InvalidInput", error.message);
    let whole = |name: &str, most: i64| input.whole(name, 1..=most).map_err(bad);
    let name = input.text("FullyQualifiedDomainName").or(input.text("IPAddress"));
    let update = HealthCheckUpdate {
        version: whole("HealthCheckVersion", i64::MAX)?.map(|version| version as u64),
        fqdn: name.map(str::to_owned),
        port: whole("Port", 65_535)?.map(|port| port as u16),
        resource_path: input.text("ResourcePath").map(str::to_owned),
        failure_threshold: whole("FailureThreshold", 10)?.map(|threshold| threshold as u32),
        inverted: input.flag("Inverted").map_err(bad)?,
        disabled: input.flag("Disabled").map_err(bad)?,
    };
    let check = route53::update_health_check(call.lab, path_id(call, 0), update)?;
    Ok(map([("HealthCheck", shown(&check))]))
}
