//! A target file: the account, its entry, and the AWS resources by role. The lab announces itself in the same form.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use super::calendar::{self, Calendar, DaysOff, Window};
use super::decode::{self, Fields};
use super::entry::Entry;
use super::error::{ConfigErrors, Mistake, Sink};
use super::node::{self, Node, Value};
use super::source::{Place, Source};
use crate::units::Pace;

/// A target as written.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetFile {
    /// Its name.
    pub name: String,
    /// The account the credentials must belong to.
    pub account: Option<String>,
    /// Regions, the primary first; empty for a plain URL.
    pub regions: Vec<String>,
    /// `http`; the only scheme for now.
    pub scheme: String,
    /// Host users resolve.
    pub host: String,
    /// Port.
    pub port: u16,
    /// AWS endpoint override.
    pub endpoint: Option<String>,
    /// DNS server to ask.
    pub resolver: Option<SocketAddr>,
    /// The target's clock, when it lives faster than real time.
    pub clock: Option<TargetClock>,
    /// Roles in order.
    pub roles: Vec<(String, RoleEntry)>,
    /// What may be touched.
    pub allow: Option<AllowEntry>,
    /// Where the harness itself runs.
    pub runner: Option<RunnerEntry>,
    /// Response header that names instance, AZ and Region.
    pub served_by: Option<String>,
    /// Where addresses are, for answers without such a header.
    pub addresses: Vec<AddressEntry>,
    /// ARNs of roles to assume one after the other, from one's own credentials to those of the account.
    pub assume: Vec<String>,
    /// Role that AWS FIS acts as: its name, or its ARN.
    pub fis_role: Option<String>,
}

/// Where an address that users are sent to is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressEntry {
    /// The address.
    pub address: IpAddr,
    /// Region.
    pub region: String,
    /// AZ.
    pub az: String,
}

/// The clock of a target that lives faster than real time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TargetClock {
    /// Unix seconds at which cloud and real time agreed.
    pub epoch: f64,
    /// How many times faster.
    pub pace: Pace,
}

/// What a role stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleEntry {
    /// An Auto Scaling group's name.
    AutoScalingGroup(String),
    /// A DB instance identifier.
    DbInstance(String),
    /// An IAM role's name.
    IamRole(String),
    /// A DB cluster identifier.
    DbCluster(String),
    /// A record of a hosted zone.
    Dns {
        /// Zone id.
        hosted_zone: String,
        /// Record name.
        record: String,
    },
}

/// What may be touched.
#[derive(Clone, Debug, PartialEq)]
pub struct AllowEntry {
    /// Tag a resource must carry.
    pub tag: Option<(String, String)>,
    /// Largest share of a role's instances one fault may take, 0 to 1.
    pub share: f64,
    /// Most instances of a role that one fault may take; no limit of its own when none.
    pub count: Option<u64>,
    /// How many targets of a group must stay in service and healthy, at least one.
    pub healthy_min: u64,
    /// When; always when none.
    pub calendar: Option<Calendar>,
}

/// Where the harness itself runs, so that it does not cut itself off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunnerEntry {
    /// Id of its instance.
    pub instance: Option<String>,
    /// Id of its subnet.
    pub subnet: Option<String>,
}

impl TargetFile {
    /// A target that is nothing but a URL: load only, no AWS.
    pub fn from_url(url: &str) -> Result<Self, ConfigErrors> {
        let Entry { scheme, host, port, .. } = Entry::bare(url).map_err(|error| {
            ConfigErrors::new(vec![
                Mistake::at(
                    &Place::start(&Source::new("--target", url)).part(0, url.chars().count()),
                    error.message,
                )
                .hint(error.hint),
            ])
        })?;
        Ok(Self {
            name: host.clone(),
            account: None,
            regions: Vec::new(),
            scheme,
            host,
            port,
            endpoint: None,
            resolver: None,
            clock: None,
            roles: Vec::new(),
            allow: None,
            runner: None,
            served_by: None,
            addresses: Vec::new(),
            assume: Vec::new(),
            fis_role: None,
        })
    }
}

/// Reads a target file or the lab's announcement (JSON is YAML too).
pub fn load_target(name: &str, text: &str) -> Result<TargetFile, ConfigErrors> {
    let mut sink = Sink::default();
    let root = node::parse(&Source::new(name, text), text, 0, &mut sink);
    let target = root.and_then(|root| target(&root, &mut sink));
    sink.finish(target)
}

fn target(root: &Node, sink: &mut Sink) -> Option<TargetFile> {
    let mut fields = Fields::of(root, "the target", sink)?;
    let name = fields
        .require("name", "shop-staging", sink)
        .and_then(|node| decode::text(node, sink));
    let account = fields.require("account", "\"111122223333\"", sink).and_then(|node| {
        let account = decode::text(node, sink)?;
        if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
            let hint = "write its twelve digits in quotes, so that leading zeros stay";
            sink.push(Mistake::at(&node.place, format!("{account:?} is not an AWS account id")).hint(hint));
        }
        Some(account)
    });
    let regions_node = fields.require("regions", "[us-east-1, eu-west-1]", sink);
    let regions: Vec<String> = regions_node
        .map(|node| {
            decode::list(node, "regions", sink)
                .iter()
                .filter_map(|item| decode::text(item, sink))
                .collect()
        })
        .unwrap_or_default();
    if let Some((node, twice)) = regions_node.zip(first_twice(&regions)) {
        let message = format!("{twice} is named twice");
        sink.push(Mistake::at(&node.place, message).hint("name each Region once"));
    }
    if let (Some(node), true) = (regions_node, regions.is_empty()) {
        sink.push(Mistake::at(&node.place, "there are no Regions").hint("write `regions: [us-east-1]`"));
    }
    let entry = fields
        .require("entry", "http://shop.example.com", sink)
        .and_then(|node| {
            let text = decode::text(node, sink)?;
            Entry::bare(&text)
                .map_err(|error| sink.push(Mistake::at(&node.place, error.message).hint(error.hint)))
                .ok()
        });
    let endpoint = fields.take("endpoint").and_then(|node| {
        let text = decode::text(node, sink)?;
        if let Err(error) = Entry::bare(&text) {
            let hint = "write it like http://127.0.0.1:4000, or leave `endpoint` out for AWS itself";
            sink.push(Mistake::at(&node.place, error.message).hint(hint));
        }
        Some(text)
    });
    let resolver = fields.take("resolver").and_then(|node| {
        let text = decode::text(node, sink)?;
        let address = text.parse().ok();
        if address.is_none() {
            sink.push(
                Mistake::at(&node.place, format!("{text:?} is no DNS server"))
                    .hint("write address:port, such as 127.0.0.1:5353"),
            );
        }
        address
    });
    let clock = fields.take("clock").and_then(|node| clock(node, sink));
    let roles = fields
        .require("roles", "{ web: { auto_scaling_group: shop-web } }", sink)
        .map(|node| {
            let entries = decode::map(node, "roles", sink);
            entries
                .iter()
                .filter_map(|entry| Some((entry.key.clone(), role(&entry.key, &entry.node, sink)?)))
                .collect()
        });
    let allow = fields.take("allow").and_then(|node| allow(node, sink));
    let runner = fields.take("runner").and_then(|node| runner(node, sink));
    let mut fis_role = None;
    if let Some(mut fis) = fields.take("fis").and_then(|node| Fields::of(node, "`fis`", sink)) {
        fis_role = fis
            .require("role", "tenfold-fis", sink)
            .and_then(|node| decode::text(node, sink));
        fis.finish(sink);
    }
    let mut served_by = None;
    if let Some(mut by) = fields
        .take("served_by")
        .and_then(|node| Fields::of(node, "`served_by`", sink))
    {
        served_by = by
            .require("header", "x-served-by", sink)
            .and_then(|node| decode::text(node, sink));
        by.finish(sink);
    }
    let addresses = fields.take("addresses");
    let addresses = addresses
        .map(|node| self::addresses(node, &regions, sink))
        .unwrap_or_default();
    let assume = fields.take("assume").map(|node| assume(node, sink)).unwrap_or_default();
    fields.finish(sink);
    let Entry { scheme, host, port, .. } = entry?;
    Some(TargetFile {
        name: name?,
        account: Some(account?),
        regions,
        scheme,
        host,
        port,
        endpoint,
        resolver,
        clock,
        roles: roles?,
        allow,
        runner,
        served_by: served_by.map(|header| header.to_lowercase()),
        addresses,
        assume,
        fis_role,
    })
}

fn assume(node: &Node, sink: &mut Sink) -> Vec<String> {
    let mut roles = Vec::new();
    for item in decode::list(node, "assume", sink) {
        let Some(role) = decode::text(item, sink) else { continue };
        if !(role.starts_with("arn:") && role.contains(":iam::") && role.contains(":role/")) {
            let mistake = Mistake::at(&item.place, format!("{role:?} is not the ARN of a role"));
            sink.push(mistake.hint("write arn:aws:iam::111122223333:role/game-day"));
        }
        roles.push(role);
    }
    roles
}

fn first_twice(names: &[String]) -> Option<&String> {
    let mut seen = BTreeSet::new();
    names.iter().find(|name| !seen.insert(*name))
}

fn addresses(node: &Node, regions: &[String], sink: &mut Sink) -> Vec<AddressEntry> {
    let mut all: Vec<AddressEntry> = Vec::new();
    for item in decode::list(node, "addresses", sink) {
        let Some(mut fields) = Fields::of(item, "an address", sink) else {
            continue;
        };
        let address = fields.require("address", "203.0.113.7", sink).and_then(|node| {
            let text = decode::text(node, sink)?;
            let address = text.parse().ok();
            if address.is_none() {
                sink.push(Mistake::at(&node.place, format!("{text:?} is no IP address")));
            } else if all.iter().any(|other| Some(other.address) == address) {
                sink.push(Mistake::at(&node.place, format!("{text} stands here twice")));
            }
            address
        });
        let region = fields.require("region", "us-east-1", sink).and_then(|node| {
            let region = decode::text(node, sink)?;
            if !regions.contains(&region) {
                let hint = format!("Regions of the target: {}", regions.join(", "));
                sink.push(Mistake::at(&node.place, format!("the target has no Region {region:?}")).hint(hint));
            }
            Some(region)
        });
        let az = fields
            .require("az", "us-east-1a", sink)
            .and_then(|node| decode::text(node, sink));
        fields.finish(sink);
        if let (Some(address), Some(region), Some(az)) = (address, region, az) {
            all.push(AddressEntry { address, region, az });
        }
    }
    all
}

fn clock(node: &Node, sink: &mut Sink) -> Option<TargetClock> {
    let mut fields = Fields::of(node, "`clock`", sink)?;
    let epoch = fields
        .require("epoch", "1767225600.0", sink)
        .and_then(|node| decode::number(node, sink));
    let pace = fields.require("pace", "30", sink).and_then(|node| {
        let times = decode::number(node, sink)?;
        Pace::new(times)
            .map_err(|error| sink.push(Mistake::at(&node.place, error.to_string())))
            .ok()
    });
    fields.finish(sink);
    Some(TargetClock {
        epoch: epoch?,
        pace: pace?,
    })
}

fn role(name: &str, node: &Node, sink: &mut Sink) -> Option<RoleEntry> {
    let mut fields = Fields::of(node, format!("role {name:?}"), sink)?;
    let mut text = |key: &'static str, sink: &mut Sink| fields.take(key).and_then(|node| decode::text(node, sink));
    let group = text("auto_scaling_group", sink);
    let database = text("db_instance", sink);
    let cluster = text("db_cluster", sink);
    let caller = text("iam_role", sink);
    let zone = text("hosted_zone", sink);
    let record = text("record", sink);
    fields.finish(sink);
    match (group, database, cluster, caller, zone, record) {
        (Some(group), None, None, None, None, None) => Some(RoleEntry::AutoScalingGroup(group)),
        (None, Some(database), None, None, None, None) => Some(RoleEntry::DbInstance(database)),
        (None, None, Some(cluster), None, None, None) => Some(RoleEntry::DbCluster(cluster)),
        (None, None, None, Some(caller), None, None) => Some(RoleEntry::IamRole(caller)),
        (None, None, None, None, Some(hosted_zone), Some(record)) => Some(RoleEntry::Dns { hosted_zone, record }),
        _ => {
            let mistake = Mistake::at(&node.place, format!("role {name:?} does not name one resource"));
            let hint = "write `auto_scaling_group`, or `db_instance`, or `db_cluster`, or `iam_role`, or `hosted_zone` with `record`";
            sink.push(mistake.hint(hint));
            None
        }
    }
}

fn allow(node: &Node, sink: &mut Sink) -> Option<AllowEntry> {
    let mut fields = Fields::of(node, "`allow`", sink)?;
    let tag = fields.take("tag").and_then(|node| match &node.value {
        Value::Map(entries) if entries.len() == 1 => {
            let entry = entries.first()?;
            Some((entry.key.clone(), decode::text(&entry.node, sink)?))
        }
        _ => {
            sink.push(Mistake::at(&node.place, "`tag` names one tag").hint("write `tag: { chaos: allowed }`"));
            None
        }
    });
    let share = fields.take("share").map_or(Some(1.0), |node| decode::share(node, sink));
    let count = fields.take("count").map(|node| at_least_one(node, "count", sink));
    let healthy_min = fields
        .take("healthy_min")
        .map_or(Some(1), |node| at_least_one(node, "healthy_min", sink));
    let calendar = calendar(&mut fields, node, sink);
    fields.finish(sink);
    Some(AllowEntry {
        tag,
        share: share?,
        count: match count {
            Some(count) => Some(count?),
            None => None,
        },
        healthy_min: healthy_min?,
        calendar,
    })
}

fn at_least_one(node: &Node, what: &str, sink: &mut Sink) -> Option<u64> {
    let count = decode::count(node, sink)?;
    if count == 0 {
        let hint = "write 1 or more; leave `allow` out where nothing may be touched";
        sink.push(Mistake::at(&node.place, format!("`{what}` is at least one")).hint(hint));
    }
    Some(count)
}

/// `windows`, `not_on` and the `zone` in which both are meant.
fn calendar(fields: &mut Fields<'_>, allow: &Node, sink: &mut Sink) -> Option<Calendar> {
    const WINDOW: &str = "write `mon-fri 09:00-16:00`, `sat,sun` or `22:00-04:00`";
    const DAYS: &str = "write `2026-12-24` or `2026-12-24..2027-01-02`";
    let windows_node = fields.take("windows");
    let windows: Option<Vec<Window>> = windows_node.map(|node| parsed(node, "windows", WINDOW, sink));
    let not_on_node = fields.take("not_on");
    let not_on: Option<Vec<DaysOff>> = not_on_node.map(|node| parsed(node, "not_on", DAYS, sink));
    let zone_node = fields.take("zone");
    let zone = zone_node.and_then(|node| {
        let name = decode::text(node, sink)?;
        if let Err(error) = calendar::zone(&name) {
            sink.push(Mistake::at(&node.place, error.to_string()).hint("write `zone: Europe/Berlin` or `zone: UTC`"));
        }
        Some(name)
    });
    if let Some(node) = windows_node.filter(|node| matches!(&node.value, Value::List(items) if items.is_empty())) {
        sink.push(Mistake::at(&node.place, "there are no windows, so nothing is ever allowed").hint(WINDOW));
    }
    if windows.is_none() && not_on.is_none() {
        if let Some(node) = zone_node {
            let hint = "add `windows: [mon-fri 09:00-16:00]`, or remove `zone`";
            sink.push(Mistake::at(&node.place, "`zone` is of `windows` and `not_on`, and there are none").hint(hint));
        }
        return None;
    }
    if zone_node.is_none() {
        let hint = "add `zone: Europe/Berlin`, the one in which they are meant";
        sink.push(Mistake::at(&allow.place, "`windows` and `not_on` are in no time zone").hint(hint));
    }
    Some(Calendar {
        zone: zone?,
        windows: windows.unwrap_or_default(),
        not_on: not_on.unwrap_or_default(),
    })
}

fn parsed<T: std::str::FromStr<Err = calendar::CalendarError>>(
    node: &Node,
    what: &str,
    hint: &str,
    sink: &mut Sink,
) -> Vec<T> {
    let mut read = Vec::new();
    for item in decode::list(node, what, sink) {
        let Some(text) = decode::text(item, sink) else { continue };
        match text.parse::<T>() {
            Ok(value) => read.push(value),
            Err(error) => sink.push(Mistake::at(&item.place, error.to_string()).hint(hint)),
        }
    }
    read
}

fn runner(node: &Node, sink: &mut Sink) -> Option<RunnerEntry> {
    let mut fields = Fields::of(node, "`runner`", sink)?;
    let mut id = |key: &'static str, prefix: &str, sink: &mut Sink| {
        let node = fields.take(key)?;
        let id = decode::text(node, sink)?;
        if !id.starts_with(prefix) {
            let message = format!("{id:?} is no id of an AWS {key}");
            sink.push(Mistake::at(&node.place, message).hint(format!("write one that begins with `{prefix}`")));
        }
        Some(id)
    };
    let (instance, subnet) = (id("instance", "i-", sink), id("subnet", "subnet-", sink));
    fields.finish(sink);
    Some(RunnerEntry { instance, subnet })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAB: &str = r#"{"name":"lab","account":"111122223333","regions":["us-east-1","eu-west-1"],"entry":"http://shop.example.com:8080","endpoint":"http://127.0.0.1:4000","resolver":"127.0.0.1:5300","clock":{"epoch":1767225600.25,"pace":30.0},"roles":{"web":{"auto_scaling_group":"shop-web"},"database":{"db_instance":"shop-db"},"dns":{"hosted_zone":"Z1","record":"shop.example.com"}},"allow":{"tag":{"chaos":"allowed"},"share":"34%"},"served_by":{"header":"x-served-by"}}"#;

    #[test]
    fn the_labs_announcement_is_a_target() {
        let target = load_target("lab", LAB).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!((target.host.as_str(), target.port), ("shop.example.com", 8080));
        assert_eq!(target.regions, ["us-east-1", "eu-west-1"]);
        assert_eq!(
            target.clock.map(|clock| (clock.epoch, clock.pace.times())),
            Some((1_767_225_600.25, 30.0))
        );
        assert_eq!(target.roles.len(), 3);
        assert_eq!(
            target.allow.and_then(|allow| allow.tag),
            Some(("chaos".to_owned(), "allowed".to_owned()))
        );
    }

    #[test]
    fn a_region_is_named_once() {
        let text = LAB.replace(
            "[\"us-east-1\",\"eu-west-1\"]",
            "[\"us-east-1\",\"eu-west-1\",\"us-east-1\"]",
        );
        let errors = load_target("t.json", &text).expect_err("twice").to_string();
        assert!(errors.contains("us-east-1 is named twice"), "{errors}");
    }

    #[test]
    fn mistakes_of_a_target_are_named() {
        let text = "name: x\naccount: 12\nregions: []\nentry: shop\nroles: { web: { group: a } }\nallow: { share: 340% }\naddresses: [{ address: here, region: eu-west-1, az: a }]\nassume: [game-day]\n";
        let errors = load_target("t.yaml", text).expect_err("wrong");
        let messages = errors.to_string();
        for part in [
            "\"game-day\" is not the ARN of a role",
            "\"here\" is no IP address",
            "no Region \"eu-west-1\"",
            "not an AWS account id",
            "no Regions",
            "not a URL",
            "unknown key \"group\"",
            "share in percent",
        ] {
            assert!(messages.contains(part), "{part} in\n{messages}");
        }
        assert!(TargetFile::from_url("http://127.0.0.1:8080/").is_ok_and(|target| target.port == 8080));
        assert!(TargetFile::from_url("ftp://x").is_err());
    }

    #[test]
    fn limits_of_a_target_are_read() {
        let text = "name: x\naccount: \"111122223333\"\nregions: [us-east-1]\nentry: http://shop\nroles: {}\n\
                    runner: { instance: i-1, subnet: subnet-1 }\n\
                    allow: { count: 2, healthy_min: 3, windows: [ \"mon-fri 09:00-16:00\" ], zone: Europe/Berlin, \
                    not_on: [2026-12-24..2027-01-02] }\n";
        let target = load_target("t.yaml", text).unwrap_or_else(|errors| panic!("{errors}"));
        let allow = target.allow.expect("it allows something");
        assert_eq!((allow.share, allow.count, allow.healthy_min), (1.0, Some(2), 3));
        let calendar = allow.calendar.expect("it has windows");
        assert_eq!(
            calendar.to_string(),
            "mon-fri 09:00-16:00, not on 2026-12-24..2027-01-02 (Europe/Berlin)"
        );
        let runner = target.runner.expect("it names the runner");
        assert_eq!(
            (runner.instance.as_deref(), runner.subnet.as_deref()),
            (Some("i-1"), Some("subnet-1"))
        );
    }
}
