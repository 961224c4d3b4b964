//! A target file: the account, its entry, and the AWS resources by role. The lab announces itself in the same form.

use std::net::{IpAddr, SocketAddr};

use super::decode::{self, Fields};
use super::entry::Entry;
use super::error::{ConfigErrors, Mistake, Sink};
use super::node::{self, Node};
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
    /// Response header that names instance, AZ and Region.
    pub served_by: Option<String>,
    /// Where addresses are, for answers without such a header.
    pub addresses: Vec<AddressEntry>,
    /// ARNs of roles to assume one after the other, from one's own credentials to those of the account.
    pub assume: Vec<String>,
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
            served_by: None,
            addresses: Vec::new(),
            assume: Vec::new(),
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
    if let (Some(node), true) = (regions_node, regions.is_empty()) {
        sink.push(Mistake::at(&node.place, "there are no Regions"));
    }
    let entry = fields
        .require("entry", "http://shop.example.com", sink)
        .and_then(|node| {
            let text = decode::text(node, sink)?;
            Entry::bare(&text)
                .map_err(|error| sink.push(Mistake::at(&node.place, error.message).hint(error.hint)))
                .ok()
        });
    let endpoint = fields.take("endpoint").and_then(|node| decode::text(node, sink));
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
        served_by: served_by.map(|header| header.to_lowercase()),
        addresses,
        assume,
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
    let zone = text("hosted_zone", sink);
    let record = text("record", sink);
    fields.finish(sink);
    match (group, database, zone, record) {
        (Some(group), None, None, None) => Some(RoleEntry::AutoScalingGroup(group)),
        (None, Some(database), None, None) => Some(RoleEntry::DbInstance(database)),
        (None, None, Some(hosted_zone), Some(record)) => Some(RoleEntry::Dns { hosted_zone, record }),
        _ => {
            let mistake = Mistake::at(&node.place, format!("role {name:?} does not name one resource"));
            sink.push(mistake.hint("write `auto_scaling_group`, or `db_instance`, or `hosted_zone` with `record`"));
            None
        }
    }
}

fn allow(node: &Node, sink: &mut Sink) -> Option<AllowEntry> {
    let mut fields = Fields::of(node, "`allow`", sink)?;
    let tag = fields
        .take("tag")
        .and_then(|node| match decode::map(node, "tag", sink) {
            [entry] => Some((entry.key.clone(), decode::text(&entry.node, sink)?)),
            _ => {
                sink.push(Mistake::at(&node.place, "`tag` names one tag").hint("write `tag: { chaos: allowed }`"));
                None
            }
        });
    let share = fields.take("share").map_or(Some(1.0), |node| decode::share(node, sink));
    fields.finish(sink);
    Some(AllowEntry { tag, share: share? })
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
}
