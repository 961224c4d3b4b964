//! What a fault writes on what it changes, before it changes it: whose it is, until when it is meant, and how the resource
//! was. By that a scan undoes what a run left whose journal is lost. Faults that create something tag that instead.
//!
//! A mark is one text in as few tags as hold it. What not every service takes in a tag stands in it as `=` and two
//! hexadecimal digits, so that a person can read most of the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::ChaosError;
use super::bearer::Bearer;
use super::before::Before;
use super::guard::Refusal;
use super::injection::Pass;
use super::journal::{timestamp, unix_of};
use super::runner::Hand;
use crate::aws::Tags;
use crate::event::FaultId;

/// Begins the key of every tag of a mark; the fault follows, and in all but the first a number.
pub(super) const MARK: &str = "tenfold:mark:";
/// Longest value of a tag, and what of a fault's name its keys hold of the 128 that they may have.
const VALUE_MAX: usize = 256;
const NAME_MAX: usize = 100;
/// Tags of one mark: a resource has 50, and its owner's are among them.
const TAGS_MAX: usize = 40;

/// What is written on a resource.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mark {
    /// Id of the run.
    pub(super) run: String,
    /// Fault.
    pub(super) fault: FaultId,
    /// Region that it hits.
    pub(super) region: String,
    /// Unix seconds of the target's clock after which nobody means it to be there; none where that is unreadable.
    pub(super) expires: Option<f64>,
    /// What of the world the resource stands for, as it was.
    pub(super) before: Before,
}

impl Mark {
    /// As tags; an error where they would be too many.
    pub(super) fn tags(&self) -> Result<Tags, ChaosError> {
        let expires = self.expires.map(timestamp).unwrap_or_default();
        let fields = (&self.run, self.fault.to_string(), &self.region, expires, &self.before);
        let text = escaped(&serde_json::to_string(&fields).map_err(std::io::Error::from)?);
        let name = name(&self.fault);
        let values = text.as_bytes().chunks(VALUE_MAX).map(String::from_utf8_lossy);
        let tags: Tags = values
            .enumerate()
            .map(|(index, value)| match index {
                0 => (format!("{MARK}{name}"), value.into_owned()),
                more => (format!("{MARK}{name}:{more}"), value.into_owned()),
            })
            .collect();
        if tags.len() > TAGS_MAX {
            let why = "how it was does not fit the tags by which it could be undone without its journal";
            return Err(ChaosError::Refused(format!("{why}; a smaller share may")));
        }
        Ok(tags)
    }

    /// The marks among the tags of a resource, and the names of those that cannot be read.
    pub(super) fn read(tags: &Tags) -> (Vec<Mark>, Vec<String>) {
        let mut texts: BTreeMap<&str, BTreeMap<usize, &str>> = BTreeMap::new();
        for (key, value) in tags {
            let Some(rest) = key.strip_prefix(MARK) else { continue };
            let (name, index) = match rest.rsplit_once(':') {
                Some((name, index)) => (name, index.parse().unwrap_or_default()),
                None => (rest, 0),
            };
            texts.entry(name).or_default().insert(index, value);
        }
        let (mut marks, mut strange) = (Vec::new(), Vec::new());
        for (name, parts) in texts {
            match Self::of(&parts.into_values().collect::<String>()) {
                Some(mark) => marks.push(mark),
                None => strange.push(unescaped(name).unwrap_or_else(|| name.to_owned())),
            }
        }
        (marks, strange)
    }

    fn of(text: &str) -> Option<Self> {
        let text = unescaped(text)?;
        let (run, fault, region, expires, before): (String, String, String, String, Before) =
            serde_json::from_str(&text).ok()?;
        Some(Self {
            fault: FaultId::parse(&fault)?,
            expires: unix_of(&expires),
            run,
            region,
            before,
        })
    }
}

/// No other run is at it, or has left something, by the marks among its tags.
pub(super) fn of_nobody_else(run: &str, what: &str, tags: &Tags) -> Result<(), Refusal> {
    let (marks, _) = Mark::read(tags);
    match marks.into_iter().find(|mark| mark.run != run) {
        None => Ok(()),
        Some(Mark {
            run, fault, expires, ..
        }) => {
            let expires = expires.map_or("at no readable time".to_owned(), timestamp);
            Err(format!(
                "{what} bears the mark of {fault} of another run ({run}), which expires {expires}; \
                 two runs would measure each other's faults"
            ))
        }
    }
}

/// The name of a fault in the keys of its mark: the number first, for long names are cut.
fn name(fault: &FaultId) -> String {
    let mut name = format!("{}.{}", fault.index, escaped(&fault.experiment));
    name.truncate(NAME_MAX);
    name
}

/// Whether a tag is part of the mark of a fault.
fn is_of(key: &str, fault: &FaultId) -> bool {
    let rest = key.strip_prefix(MARK).and_then(|rest| rest.strip_prefix(&name(fault)));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._/@".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "={byte:02X}");
        }
    }
    escaped
}

fn unescaped(text: &str) -> Option<String> {
    let mut parts = text.split('=');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(part.get(2..)?.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

/// Whether a fault could be marked, which is known before anything is touched.
pub(super) fn fits(run: &str, fault: &FaultId, region: &str, before: &Before) -> Result<(), ChaosError> {
    for (_, before) in Bearer::of(before) {
        let mark = Mark {
            run: run.to_owned(),
            fault: fault.clone(),
            region: region.to_owned(),
            expires: Some(0.0),
            before,
        };
        mark.tags()?;
    }
    Ok(())
}

/// The keys of the tags that a claim is written in.
pub(super) fn keys(claim: &Before, id: &FaultId, region: &str) -> Vec<String> {
    let mark = Mark {
        run: id.experiment.clone(),
        fault: id.clone(),
        region: region.to_owned(),
        expires: Some(0.0),
        before: claim.clone(),
    };
    mark.tags().unwrap_or_default().into_keys().collect()
}

/// Marks everything that a fault is about to change; `expires` is cloud time.
pub(super) async fn write(hand: &Hand<'_>, before: &Before, expires: f64) -> Result<(), ChaosError> {
    let run = hand.journal.map(|journal| journal.run().to_owned()).unwrap_or_default();
    for (bearer, before) in Bearer::of(before) {
        if hand.is_ending() {
            return Err(ChaosError::Ending);
        }
        let mark = Mark {
            run: run.clone(),
            fault: hand.fault.clone(),
            region: hand.region.to_owned(),
            expires: Some(expires),
            before,
        };
        bearer.tag(hand, &mark.tags()?).await?;
    }
    Ok(())
}

/// Whether everything that a fault marked still bears its mark.
pub(super) async fn is_there(hand: &Hand<'_>, before: &Before) -> Result<bool, ChaosError> {
    for (bearer, _) in Bearer::of(before) {
        let tags = bearer.tags(hand).await?;
        if !tags
            .iter()
            .any(|(_, tags)| tags.keys().any(|key| is_of(key, hand.fault)))
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// One pass that takes the marks of a fault off again; `erased` holds those of which that was accepted before.
pub(super) async fn erase(hand: &Hand<'_>, before: &Before, erased: &mut BTreeSet<String>) -> Result<Pass, ChaosError> {
    let mut pass = Pass::default();
    let bearers = Bearer::of(before);
    for (bearer, _) in &bearers {
        let mut keys = BTreeSet::new();
        let mut ids = Vec::new();
        for (id, tags) in bearer.tags(hand).await? {
            let ours: Vec<String> = tags.into_keys().filter(|key| is_of(key, hand.fault)).collect();
            if !ours.is_empty() {
                ids.push(id);
            }
            keys.extend(ours);
        }
        if keys.is_empty() {
            continue;
        }
        let keys: Vec<String> = keys.into_iter().collect();
        let answer = bearer.untag(hand, &ids, &keys).await;
        if answer.is_ok() {
            erased.insert(bearer.to_string());
        }
        // What is gone meanwhile bears nothing.
        pass.left_after(&format!("{bearer} bears the mark of {}", hand.fault), answer)?;
    }
    // A look that comes too early may show no mark that is there; one that was taken off is not there.
    pass.proven = bearers.iter().all(|(bearer, _)| erased.contains(&bearer.to_string()));
    Ok(pass)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::RecordSet;

    fn mark(experiment: &str, before: Before) -> Mark {
        Mark {
            run: "63f0a1b2c3d4e-1f2a".to_owned(),
            fault: FaultId {
                experiment: experiment.to_owned(),
                index: 1,
            },
            region: "us-east-1".to_owned(),
            expires: Some(1_767_225_600.0),
            before,
        }
    }

    fn weight() -> Before {
        Before::Route53ZeroWeight {
            hosted_zone: "Z0123456789ABCDEFGHIJ".to_owned(),
            sets: vec![RecordSet {
                name: "shop.example.com.".to_owned(),
                record_type: "A".to_owned(),
                set_identifier: Some("primär, 100%".to_owned()),
                weight: Some(100),
                alias: Some(("lb.example.com".to_owned(), "Z2".to_owned(), true)),
                ..RecordSet::default()
            }],
        }
    }

    #[test]
    fn what_is_written_is_read_back_beside_other_tags_and_marks() {
        let long = "x".repeat(300);
        let stopped = Before::Ec2Stop {
            group: "shop-web".to_owned(),
            instances: vec!["i-0123456789abcdef0".to_owned(), "i-0123456789abcdef1".to_owned()],
        };
        let marks = [
            mark("a: b [c]", weight()),
            mark("x", stopped.clone()),
            mark(&long, stopped),
        ];
        let mut tags = Tags::from([("chaos".to_owned(), "allowed".to_owned())]);
        for mark in &marks {
            tags.extend(mark.tags().expect("it fits"));
        }
        for (key, value) in &tags {
            // What all services take (Elastic Load Balancing and RDS are the strictest).
            let sound = |text: &str| {
                text.bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_.:/=+-@".contains(&byte))
            };
            assert!(sound(key) && sound(value), "{key}={value}");
            assert!(key.len() <= 128 && value.len() <= 256, "{key}={value}");
        }
        let (read, strange) = Mark::read(&tags);
        assert_eq!((read.len(), strange.len()), (3, 0));
        assert!(marks.iter().all(|mark| read.contains(mark)), "{read:?}");
        let of = |mark: &Mark| tags.keys().filter(|key| is_of(key, &mark.fault)).count();
        assert_eq!(
            marks.iter().map(of).sum::<usize>(),
            tags.len() - 1,
            "each is of one mark"
        );
        // Route 53 takes ten tags in all.
        assert!(of(&marks[0]) <= 3, "{tags:#?}");
    }

    #[test]
    fn the_mark_of_another_run_keeps_this_one_away() {
        let mark = mark("dns", weight());
        let tags = mark.tags().expect("it fits");
        assert_eq!(of_nobody_else(&mark.run, "hosted zone Z1", &tags), Ok(()));
        let refusal = of_nobody_else("another", "hosted zone Z1", &tags).expect_err("it is another's");
        assert!(
            refusal.contains("hosted zone Z1 bears the mark of dns[1] of another run (63f0a1b2c3d4e-1f2a)")
                && refusal.contains("expires 2026-01-01T00:00:00Z"),
            "{refusal}"
        );
        assert_eq!(of_nobody_else("another", "web", &Tags::new()), Ok(()));
    }

    #[test]
    fn a_mark_that_somebody_cut_is_named_and_not_obeyed() {
        let mark = mark("dns", weight());
        let mut tags = mark.tags().expect("it fits");
        assert!(tags.len() > 1);
        tags.pop_last();
        assert_eq!(Mark::read(&tags), (Vec::new(), vec!["1.dns".to_owned()]));
    }

    #[test]
    fn what_does_not_fit_is_refused_before_anything_is_touched() {
        let many = (0..1000).map(|index| format!("i-{index:017}")).collect();
        let before = Before::Ec2Stop {
            group: "shop-web".to_owned(),
            instances: many,
        };
        let fault = mark("x", weight()).fault;
        let refusal = fits("r1", &fault, "us-east-1", &before).expect_err("too many");
        assert!(refusal.to_string().contains("a smaller share"), "{refusal}");
        assert!(fits("r1", &fault, "us-east-1", &weight()).is_ok());
    }
}
