//! Health checkers: each connects over HTTP on its own beat, one check after the other, and holds its own view.
//! The patience of a check has a floor of real time, so at a pace above about 50 a silent endpoint is found after
//! three floors instead of three intervals.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::lab::Lab;
use crate::lab::dynamics::{POLL_FLOOR, dns};
use crate::lab::error::AwsError;
use crate::lab::world::{CheckerView, HealthCheck};

/// Where Route 53 checks from, with one of the published address blocks of each Region.
const LOCATIONS: [(&str, &str); 8] = [
    ("us-east-1", "15.177.2"),
    ("us-west-1", "15.177.14"),
    ("us-west-2", "15.177.22"),
    ("eu-west-1", "15.177.34"),
    ("ap-southeast-1", "15.177.42"),
    ("ap-southeast-2", "15.177.46"),
    ("ap-northeast-1", "15.177.50"),
    ("sa-east-1", "15.177.54"),
];

/// What UpdateHealthCheck changes; none leaves as it is.
#[derive(Clone, Debug, Default)]
pub struct HealthCheckUpdate {
    /// Fails unless this is the current version.
    pub version: Option<u64>,
    /// FullyQualifiedDomainName.
    pub fqdn: Option<String>,
    /// Port.
    pub port: Option<u16>,
    /// ResourcePath.
    pub resource_path: Option<String>,
    /// FailureThreshold, 1 to 10.
    pub failure_threshold: Option<u32>,
    /// Inverted.
    pub inverted: Option<bool>,
    /// Disabled.
    pub disabled: Option<bool>,
}

/// UpdateHealthCheck; `disabled` and `inverted` take effect at once.
pub fn update_health_check(lab: &Arc<Lab>, id: &str, update: HealthCheckUpdate) -> Result<HealthCheck, AwsError> {
    if update
        .failure_threshold
        .is_some_and(|threshold| !(1..=10).contains(&threshold))
    {
        let message = "Invalid parameter : Failure threshold must be 1 to 10";
        return Err(AwsError::bad_request("InvalidInput", message));
    }
    let share = lab.config.health_checks.healthy_share;
    let mut world = lab.world();
    let check = world.route53.health_checks.get_mut(id).ok_or_else(|| {
        AwsError::not_found(
            "NoSuchHealthCheck",
            format!("A health check with id {id} does not exist."),
        )
    })?;
    if update.version.is_some_and(|version| version != check.version) {
        let message = format!(
            "The health check version does not match; the current version is {}",
            check.version
        );
        return Err(AwsError::new("HealthCheckVersionMismatch", message, 409));
    }
    let HealthCheckUpdate {
        version: _,
        fqdn,
        port,
        resource_path,
        failure_threshold,
        inverted,
        disabled,
    } = update;
    set(&mut check.fqdn, fqdn);
    set(&mut check.port, port);
    set(&mut check.resource_path, resource_path);
    set(&mut check.failure_threshold, failure_threshold);
    set(&mut check.inverted, inverted);
    set(&mut check.disabled, disabled);
    check.version += 1;
    check.healthy = is_healthy(check, share);
    Ok(check.clone())
}

/// The overall view: more than `share` of the checkers healthy, then `Inverted`; `Disabled` is always healthy.
#[must_use]
pub fn is_healthy(check: &HealthCheck, share: f64) -> bool {
    if check.disabled {
        return true;
    }
    let healthy = check.checkers.iter().filter(|checker| checker.healthy).count() as f64;
    (healthy > share * check.checkers.len() as f64) != check.inverted
}

/// `count` checkers that have not checked yet, spread over Route 53's locations.
#[must_use]
pub fn default_checkers(count: usize) -> Vec<CheckerView> {
    (0..count)
        .map(|number| {
            let (region, block) = LOCATIONS[number % LOCATIONS.len()];
            CheckerView {
                region: region.to_owned(),
                ip: format!("{block}.{}", 10 + number / LOCATIONS.len()),
                healthy: true,
                streak: 0,
                status: "Success: initial state".to_owned(),
                checked_at: 0.0,
            }
        })
        .collect()
}

/// One checker's life: it ends with its health check.
pub(super) async fn run(lab: Arc<Lab>, check_id: String, checker: usize) {
    let first = lab.draw(0.0..=lab.config.health_checks.interval.as_secs_f64());
    lab.clock.sleep_cloud(Duration::from_secs_f64(first)).await;
    let mut turn = checker;
    loop {
        let began = Instant::now();
        let Some((check, addresses)) = endpoint(&lab, &check_id) else {
            return;
        };
        let result = match addresses.get(turn % addresses.len().max(1)) {
            Some(address) => probe(&lab, &check, *address).await,
            None => Err("Failure: DNS resolution failed".to_owned()),
        };
        turn += 1;
        record(&lab, &check_id, checker, result);
        let interval = lab
            .clock
            .pace()
            .to_real(Duration::from_secs(u64::from(check.request_interval_s.max(1))));
        // A check that took longer than the interval is followed by the next one at once, never by two.
        tokio::time::sleep(interval.max(POLL_FLOOR).saturating_sub(began.elapsed())).await;
    }
}

fn endpoint(lab: &Lab, check_id: &str) -> Option<(HealthCheck, Vec<Ipv4Addr>)> {
    let world = lab.world();
    let check = world.route53.health_checks.get(check_id)?.clone();
    let addresses = dns::addresses_of(&world, &check.fqdn);
    Some((check, addresses))
}

async fn probe(lab: &Lab, check: &HealthCheck, address: Ipv4Addr) -> Result<String, String> {
    let (pace, config) = (lab.clock.pace(), &lab.config.health_checks);
    let to = SocketAddr::from((address, check.port));
    let mut stream = match timeout(pace.patience(config.connect_timeout), TcpStream::connect(to)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            return Err("Failure: Connection refused. The endpoint does not accept connections.".to_owned());
        }
        Ok(Err(error)) => return Err(format!("Failure: {error}")),
        Err(_) => return Err("Failure: Connection timed out. The endpoint or the internet connection is down, or requests are being blocked by your firewall.".to_owned()),
    };
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: Amazon-Route53-Health-Check-Service\r\nConnection: close\r\n\r\n",
        check.resource_path, check.fqdn
    );
    let answer = async {
        stream.write_all(request.as_bytes()).await?;
        let mut head = [0u8; 12];
        stream.read_exact(&mut head).await?;
        Ok::<_, std::io::Error>(head)
    };
    match timeout(pace.patience(config.answer_timeout), answer).await {
        Ok(Ok(head)) => judge(&head),
        Ok(Err(error)) => Err(format!("Failure: {error}")),
        Err(_) => Err("Failure: The endpoint did not answer in time.".to_owned()),
    }
}

/// 2xx and 3xx pass.
fn judge(head: &[u8]) -> Result<String, String> {
    let status = std::str::from_utf8(head)
        .ok()
        .and_then(|head| head.strip_prefix("HTTP/1."));
    match status
        .and_then(|rest| rest.get(2..5))
        .and_then(|code| code.parse::<u16>().ok())
    {
        Some(code @ 200..400) => Ok(format!("Success: HTTP Status Code {code}, OK")),
        Some(code) => Err(format!("Failure: HTTP Status Code {code}.")),
        None => Err("Failure: The answer is not HTTP.".to_owned()),
    }
}

fn record(lab: &Lab, check_id: &str, checker: usize, result: Result<String, String>) {
    let now = lab.now();
    let share = lab.config.health_checks.healthy_share;
    let mut world = lab.world();
    let Some(check) = world.route53.health_checks.get_mut(check_id) else {
        return;
    };
    let threshold = check.failure_threshold;
    if let Some(view) = check.checkers.get_mut(checker) {
        observe(view, result.is_ok(), threshold);
        view.status = result.unwrap_or_else(|failure| failure);
        view.checked_at = now;
    }
    check.healthy = is_healthy(check, share);
}

/// A checker changes its mind after as many results in a row against it as the threshold says.
fn observe(view: &mut CheckerView, passed: bool, threshold: u32) {
    if passed == view.healthy {
        view.streak = 0;
        return;
    }
    view.streak += 1;
    if view.streak >= threshold.max(1) {
        view.healthy = passed;
        view.streak = 0;
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::world::Tags;

    fn check(healthy: usize) -> HealthCheck {
        let mut checkers = default_checkers(16);
        checkers
            .iter_mut()
            .skip(healthy)
            .for_each(|checker| checker.healthy = false);
        HealthCheck {
            id: "hc".into(),
            check_type: "HTTP".into(),
            fqdn: "127.10.1.5".into(),
            port: 80,
            resource_path: "/health".into(),
            request_interval_s: 10,
            failure_threshold: 3,
            inverted: false,
            disabled: false,
            checkers,
            healthy: true,
            version: 1,
            caller_reference: String::new(),
            tags: Tags::new(),
        }
    }

    #[test]
    fn healthy_means_more_than_eighteen_percent_of_the_checkers() {
        let healthy = |count| is_healthy(&check(count), 0.18);
        assert_eq!(
            (0..=4).map(healthy).collect::<Vec<_>>(),
            [false, false, false, true, true]
        );
        let inverted = HealthCheck {
            inverted: true,
            ..check(0)
        };
        assert!(is_healthy(&inverted, 0.18));
        let disabled = HealthCheck {
            disabled: true,
            ..check(0)
        };
        assert!(is_healthy(&disabled, 0.18));
    }

    #[test]
    fn a_checker_changes_its_mind_only_after_the_threshold_in_a_row() {
        let mut view = default_checkers(1).remove(0);
        for (passed, healthy) in [
            (false, true),
            (false, true),
            (true, true),
            (false, true),
            (false, true),
            (false, false),
        ] {
            observe(&mut view, passed, 3);
            assert_eq!(view.healthy, healthy);
        }
        for healthy in [false, false, true] {
            observe(&mut view, true, 3);
            assert_eq!(view.healthy, healthy);
        }
    }

    #[test]
    fn only_two_and_three_hundreds_pass() {
        for (head, passes) in [
            (&b"HTTP/1.1 200"[..], true),
            (b"HTTP/1.1 302", true),
            (b"HTTP/1.1 503", false),
            (b"HTTP/1.1 404", false),
            (b"SSH-2.0-Open", false),
            (b"\xff\xfe", false),
        ] {
            assert_eq!(judge(head).is_ok(), passes, "{head:?}");
        }
    }
}
