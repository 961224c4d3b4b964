//! Reading the form of an `ec2Query` or `awsQuery` request into a tree: `Filter.1.Value.2=x` is a path.
//! Lists stay maps with numbers for names; [`Value::elements`] reads them.

use std::borrow::Cow;

use super::value::Value;

/// Deepest path that is followed; real requests stay below eight segments.
const DEEPEST: usize = 16;
/// Most parameters read from one form.
const MOST_PARAMETERS: usize = 10_000;

/// The tree of a form. Later values of the same path replace earlier ones.
pub fn decode(form: &str) -> Value {
    let mut root = Value::empty();
    for pair in form.split('&').filter(|pair| !pair.is_empty()).take(MOST_PARAMETERS) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = unescape(name);
        let path: Vec<&str> = name.split('.').collect();
        if path.len() <= DEEPEST {
            put(&mut root, &path, unescape(value));
        }
    }
    root
}

fn put(node: &mut Value, path: &[&str], text: String) {
    let Some((first, rest)) = path.split_first() else {
        *node = Value::Text(text);
        return;
    };
    if !matches!(node, Value::Map(_)) {
        *node = Value::empty();
    }
    let Value::Map(members) = node else { return };
    // Most forms name one parameter after the other, so the last member is the likeliest parent.
    let place = members.iter().rposition(|(key, _)| key == first).unwrap_or_else(|| {
        members.push((Cow::Owned((*first).to_owned()), Value::Null));
        members.len() - 1
    });
    put(&mut members[place].1, rest, text);
}

/// Undoes percent-encoding with `+` for a space.
pub fn unescape(text: &str) -> String {
    decode_percent(text, true)
}

/// Undoes percent-encoding in a path, where `+` is itself.
pub fn unescape_path(text: &str) -> String {
    decode_percent(text, false)
}

fn decode_percent(text: &str, plus_is_space: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
        match bytes[at] {
            b'+' if plus_is_space => out.push(b' '),
            b'%' if at + 2 < bytes.len() => match (hex(bytes[at + 1]), hex(bytes[at + 2])) {
                (Some(high), Some(low)) => {
                    out.push(high * 16 + low);
                    at += 2;
                }
                _ => out.push(b'%'),
            },
            byte => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_are_read_in_all_three_spellings() {
        let ec2 = decode("Action=DescribeInstances&InstanceId.2=i-2&InstanceId.1=i-1&InstanceId.10=i-10");
        assert_eq!(ec2.texts("InstanceId"), ["i-1", "i-2", "i-10"]);
        let autoscaling = decode("AutoScalingGroupNames.member.1=a%20b&AutoScalingGroupNames.member.2=c+d");
        assert_eq!(autoscaling.texts("AutoScalingGroupNames"), ["a b", "c d"]);
        let rds = decode("Filters.Filter.1.Name=n&Filters.Filter.1.Values.Value.1=v");
        let filters = rds.elements("Filters");
        assert_eq!(filters.len(), 1);
        assert_eq!(filters[0].text("Name"), Some("n"));
        assert_eq!(filters[0].texts("Values"), ["v"]);
    }

    #[test]
    fn filters_keep_their_values() {
        let form = decode("Filter.1.Name=tag%3Achaos&Filter.1.Value.1=allowed&Filter.2.Name=vpc-id&Filter.2.Value.1=v");
        let filters = form.elements("Filter");
        assert_eq!(filters[0].text("Name"), Some("tag:chaos"));
        assert_eq!(filters[1].texts("Value"), ["v"]);
    }

    fn escape(text: &str) -> String {
        text.bytes().map(|byte| format!("%{byte:02X}")).collect()
    }

    proptest! {
        #[test]
        fn every_text_survives(values in prop::collection::vec(".*", 0..6)) {
            let form: Vec<String> =
                values.iter().enumerate().map(|(n, v)| format!("X.member.{}={}", n + 1, escape(v))).collect();
            let tree = decode(&form.join("&"));
            prop_assert_eq!(tree.texts("X"), values.iter().map(String::as_str).collect::<Vec<_>>());
        }

        #[test]
        fn no_form_makes_it_panic(form in ".*") {
            decode(&form);
        }
    }
}
