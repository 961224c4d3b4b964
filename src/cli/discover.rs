//! `tenfold discover`: writes a target file from what carries a tag in an account. Reads the account only, and allows
//! nothing to be touched: that word is its owner's.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::anyhow;

use crate::aws::{Clients, ConnectOptions};
use crate::cli::args::DiscoverArguments;
use crate::cli::exit::{Exit, Failure};
use crate::cli::out;
use crate::cli::target::credentials;
use crate::run::observe::{self, Found, FoundBalancer, Tagged};
use crate::units::Pace;

/// The tag that CloudFormation sets on what a stack makes.
const STACK_TAG: &str = "aws:cloudformation:stack-name";
/// The tag that names a resource's role, where it has one.
const ROLE_TAG: &str = "role";

/// A tag as `KEY=VALUE`.
pub(super) fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE, such as app=shop".to_owned()),
    }
}

/// Writes the target file.
pub(super) async fn discover(arguments: DiscoverArguments) -> Result<Exit, Failure> {
    let (key, value) = match (&arguments.stack, &arguments.tag) {
        (Some(stack), _) => (STACK_TAG.to_owned(), stack.clone()),
        (None, Some(tag)) => tag.clone(),
        (None, None) => return Err(Failure::usage(anyhow!("name a --stack or a --tag"))),
    };
    let clients = Clients::connect(&ConnectOptions {
        endpoint: arguments.endpoint.clone(),
        regions: arguments.regions.clone(),
        pace: Pace::REAL,
        assume: arguments.assume.clone(),
        credentials: credentials(arguments.endpoint.as_deref()),
    })
    .await;
    let found = observe::discover(&clients.reader(), &arguments.regions, &key, &value)
        .await
        .map_err(|error| {
            Failure::unreachable(anyhow::Error::new(error).context("cannot look around in the account"))
        })?;
    if found.groups.is_empty() && found.databases.is_empty() {
        return Err(Failure::usage(anyhow!(
            "no Auto Scaling group and no RDS instance carries {key}={value} in {}\n\
             hint: check --region and the tag; the account is {}",
            arguments.regions.join(", "),
            found.account
        )));
    }
    let text = target_file(&arguments, &value, &found);
    match &arguments.out {
        None => out::print(&text)?,
        Some(path) => {
            let mut options = std::fs::OpenOptions::new();
            let file = options.write(true).create_new(true).open(path);
            let written = file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
            written
                .map_err(|error| unwritten(path, error))
                .map_err(Failure::usage)?;
            out::tell(&format!("wrote {}; read it before you use it", path.display()));
        }
    }
    Ok(Exit::Met)
}

fn target_file(arguments: &DiscoverArguments, value: &str, found: &Found) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut text, arguments, value, found);
    text
}

fn write(text: &mut String, arguments: &DiscoverArguments, value: &str, found: &Found) -> std::fmt::Result {
    let name = arguments.name.as_deref().unwrap_or(value);
    writeln!(text, "# Written by tenfold discover: correct what it could not know.")?;
    writeln!(text, "name: {}", quoted(name))?;
    writeln!(text, "account: {}", quoted(&found.account))?;
    writeln!(text, "regions: [{}]", arguments.regions.join(", "))?;
    match entry(found) {
        Some(entry) => writeln!(text, "entry: {entry}")?,
        None => writeln!(
            text,
            "entry: http://shop.example.com    # no load balancer was found: write what users ask"
        )?,
    }
    if let Some(endpoint) = &arguments.endpoint {
        writeln!(text, "endpoint: {endpoint}")?;
    }
    if !arguments.assume.is_empty() {
        writeln!(text, "assume: [{}]", arguments.assume.join(", "))?;
    }
    writeln!(text, "roles:")?;
    for (role, resource) in roles(found) {
        writeln!(text, "  {}: {resource}", quoted(&role))?;
    }
    writeln!(
        text,
        "# Nothing may be broken until the owner of the account says so, for example:"
    )?;
    writeln!(text, "# allow: {{ tag: {{ chaos: allowed }}, share: 34% }}")?;
    left_out(text, arguments)?;
    writeln!(
        text,
        "# How an answer says which instance, AZ and Region served it (`INSTANCE/AZ/REGION`):"
    )?;
    writeln!(text, "# served_by: {{ header: x-served-by }}")?;
    addresses(text, found)
}

/// What nothing in an account tells, for the owner to fill in where it is needed.
fn left_out(text: &mut String, arguments: &DiscoverArguments) -> std::fmt::Result {
    writeln!(
        text,
        "# The role that AWS FIS acts as, for faults that it injects (`aws iam list-roles` shows which roles trust \
         fis.amazonaws.com):"
    )?;
    writeln!(text, "# fis: {{ role: tenfold-fis }}")?;
    writeln!(
        text,
        "# Roles of IAM whose calls may fail (`app: {{ iam_role: shop-app }}` among `roles`), and where tenfold itself runs \
         (`runner`), are not found either."
    )?;
    if arguments.endpoint.is_none() {
        return Ok(());
    }
    writeln!(
        text,
        "# What is at an endpoint of its own may live faster than real and have names of its own; no call tells (of a lab, \
         `tenfold lab --json` does):"
    )?;
    writeln!(text, "# clock: {{ epoch: 1767225600.0, pace: 30 }}")?;
    writeln!(text, "# resolver: 127.0.0.1:5353")
}

/// Where users go: a name that leads to a load balancer, or the first load balancer's own.
fn entry(found: &Found) -> Option<String> {
    let balancer = found.balancers.first()?;
    let (port, scheme) = listener(balancer);
    let host = found.records.first().map_or(&balancer.dns_name, |(_, record)| record);
    let usual = (scheme == "https" && port == 443) || (scheme == "http" && port == 80);
    let port = if usual { String::new() } else { format!(":{port}") };
    Some(format!("{scheme}://{host}{port}"))
}

/// HTTPS where it listens for it.
fn listener(balancer: &FoundBalancer) -> (u16, &'static str) {
    let of = |wanted: &str| balancer.listeners.iter().find(|(_, protocol)| protocol == wanted);
    match (of("HTTPS"), of("HTTP")) {
        (Some((port, _)), _) => (*port, "https"),
        (None, Some((port, _))) => (*port, "http"),
        (None, None) => (80, "http"),
    }
}

/// Roles with their resources as a target file writes them. A resource of the same name in several Regions is one role.
fn roles(found: &Found) -> BTreeMap<String, String> {
    let mut roles = BTreeMap::new();
    let mut put = |role: String, resource: String| {
        if roles.values().any(|known| *known == resource) {
            return;
        }
        let mut name = role.clone();
        let mut count = 1;
        while roles.contains_key(&name) {
            count += 1;
            name = format!("{role}-{count}");
        }
        roles.insert(name, resource);
    };
    let role_of = |one: &Tagged, usual: &str| one.tags.get(ROLE_TAG).cloned().unwrap_or_else(|| usual.to_owned());
    for group in &found.groups {
        let resource = format!("{{ auto_scaling_group: {} }}", quoted(&group.name));
        put(role_of(group, "web"), resource);
    }
    for database in &found.databases {
        let resource = format!("{{ db_instance: {} }}", quoted(&database.name));
        put(role_of(database, "database"), resource);
    }
    for cluster in &found.clusters {
        let resource = format!("{{ db_cluster: {} }}", quoted(&cluster.name));
        put(role_of(cluster, "database"), resource);
    }
    for (zone, record) in &found.records {
        put(
            "dns".to_owned(),
            format!("{{ hosted_zone: {zone}, record: {} }}", quoted(record)),
        );
    }
    roles
}

fn addresses(text: &mut String, found: &Found) -> std::fmt::Result {
    if found.balancers.iter().all(|balancer| balancer.addresses.is_empty()) {
        return Ok(());
    }
    writeln!(
        text,
        "# Where answers without such a header come from. A load balancer's addresses change: write it anew then."
    )?;
    writeln!(text, "addresses:")?;
    for balancer in &found.balancers {
        for (address, az) in &balancer.addresses {
            let region = &balancer.region;
            writeln!(
                text,
                "  - {{ address: {}, region: {region}, az: {az} }}",
                quoted(&address.to_string())
            )?;
        }
    }
    Ok(())
}

/// As YAML reads it back: in quotes unless it is plain.
fn quoted(text: &str) -> String {
    let plain = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text.to_lowercase().as_str());
    if plain {
        text.to_owned()
    } else {
        serde_json::Value::from(text).to_string()
    }
}

fn unwritten(path: &Path, error: std::io::Error) -> anyhow::Error {
    let hint = match error.kind() {
        std::io::ErrorKind::AlreadyExists => "\nhint: it writes over no file",
        _ => "",
    };
    anyhow!("cannot write {}: {error}{hint}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_target;

    fn arguments() -> DiscoverArguments {
        DiscoverArguments {
            stack: Some("shop".to_owned()),
            tag: None,
            regions: vec!["us-east-1".to_owned(), "eu-west-1".to_owned()],
            endpoint: None,
            assume: vec!["arn:aws:iam::012345678901:role/look".to_owned()],
            name: None,
            out: None,
        }
    }

    fn tagged(name: &str, region: &str, role: Option<&str>) -> Tagged {
        Tagged {
            name: name.to_owned(),
            region: region.to_owned(),
            tags: role
                .map(|role| (ROLE_TAG.to_owned(), role.to_owned()))
                .into_iter()
                .collect(),
        }
    }

    #[test]
    fn what_was_found_is_a_target_file_that_allows_nothing() {
        let balancer = FoundBalancer {
            region: "us-east-1".to_owned(),
            dns_name: "shop-1.elb.amazonaws.com".to_owned(),
            listeners: vec![(80, "HTTP".to_owned()), (443, "HTTPS".to_owned())],
            addresses: vec![("203.0.113.7".parse().expect("an address"), "us-east-1a".to_owned())],
        };
        let found = Found {
            account: "012345678901".to_owned(),
            groups: vec![
                tagged("shop: web", "us-east-1", None),
                tagged("shop: web", "eu-west-1", None),
                tagged("shop-api", "us-east-1", Some("api")),
                tagged("123", "us-east-1", None),
            ],
            databases: vec![tagged("shop-db", "us-east-1", None)],
            clusters: vec![tagged("shop-aurora", "us-east-1", None)],
            balancers: vec![balancer],
            records: vec![("Z1".to_owned(), "shop.example.com".to_owned())],
        };
        let text = target_file(&arguments(), "shop", &found);
        let target = load_target("found.yaml", &text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        assert_eq!(
            (target.scheme.as_str(), target.host.as_str(), target.port),
            ("https", "shop.example.com", 443)
        );
        let roles: Vec<&str> = target.roles.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            roles,
            ["api", "database", "database-2", "dns", "web", "web-2"],
            "{text}"
        );
        assert!(text.contains("{ db_cluster: shop-aurora }"), "{text}");
        assert!(
            text.contains("\n# fis: { role: ") && !text.contains("resolver"),
            "{text}"
        );
        assert_eq!((target.allow, target.addresses.len()), (None, 1));
        assert_eq!(target.account.as_deref(), Some("012345678901"));
    }

    #[test]
    fn what_no_call_tells_is_left_to_fill_in_and_can_be() {
        let lab = DiscoverArguments {
            endpoint: Some("http://127.0.0.1:4000".to_owned()),
            ..arguments()
        };
        let found = Found {
            account: "012345678901".to_owned(),
            groups: vec![tagged("web", "us-east-1", None)],
            ..Found::default()
        };
        let text = target_file(&lab, "shop", &found);
        let mut filled = text.clone();
        for key in ["fis", "clock", "resolver", "served_by"] {
            assert!(text.contains(&format!("\n# {key}: ")), "{key} in\n{text}");
            filled = filled.replace(&format!("\n# {key}: "), &format!("\n{key}: "));
        }
        let target = load_target("found.yaml", &filled).unwrap_or_else(|errors| panic!("{errors}\n{filled}"));
        assert_eq!(target.fis_role.as_deref(), Some("tenfold-fis"));
        assert!(target.clock.is_some() && target.resolver.is_some());
    }

    #[test]
    fn a_tag_is_a_key_and_a_value() {
        assert_eq!(tag("app=a=b"), Ok(("app".to_owned(), "a=b".to_owned())));
        assert!(tag("app").is_err() && tag("=x").is_err());
    }
}
