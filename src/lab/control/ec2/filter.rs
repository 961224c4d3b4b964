//! EC2's `Filter.N`: every filter must match, by any of its values, with `*` and `?` as wildcards.

use super::super::value::{Value, fault};
use crate::lab::error::AwsError;
use crate::lab::world::Tags;

/// Filters of a request.
pub struct Filters(Vec<(String, Vec<String>)>);

impl Filters {
    /// Reads `Filter.N.Name` and `Filter.N.Value.M`.
    pub fn of(input: &Value) -> Result<Self, AwsError> {
        let read = |filter: &Value| {
            let values = filter.texts("Value").into_iter().map(str::to_owned).collect();
            Ok((filter.required("Name")?.to_owned(), values))
        };
        input
            .elements("Filter")
            .into_iter()
            .map(read)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether a resource passes. `values` answers the resource's values for a filter name, none for a name that the
    /// operation does not know; `tag:KEY` and `tag-key` are answered here.
    pub fn pass(&self, tags: &Tags, values: impl Fn(&str) -> Option<Vec<String>>) -> Result<bool, AwsError> {
        for (name, wanted) in &self.0 {
            let found = if let Some(key) = name.strip_prefix("tag:") {
                tags.get(key).cloned().into_iter().collect()
            } else if name == "tag-key" {
                tags.keys().cloned().collect()
            } else {
                values(name).ok_or_else(|| fault("InvalidParameterValue", format!("The filter '{name}' is invalid")))?
            };
            if !wanted
                .iter()
                .any(|pattern| found.iter().any(|value| matches(pattern, value)))
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Whether `value` matches `pattern`; `\` makes the next character literal.
fn matches(pattern: &str, value: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let value: Vec<char> = value.chars().collect();
    let (mut p, mut v) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while v < value.len() {
        let step = match pattern.get(p) {
            Some('*') => {
                star = Some((p, v));
                p += 1;
                continue;
            }
            Some('?') => Some(1),
            Some('\\') if pattern.get(p + 1) == Some(&value[v]) => Some(2),
            Some(character) if *character == value[v] && *character != '\\' => Some(1),
            _ => None,
        };
        match (step, star) {
            (Some(step), _) => {
                p += step;
                v += 1;
            }
            (None, Some((at, taken))) => {
                star = Some((at, taken + 1));
                p = at + 1;
                v = taken + 1;
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|character| *character == '*')
}

#[cfg(test)]
mod tests {
    use super::super::super::query;
    use super::*;

    #[test]
    fn wildcards_match_as_ec2_says() {
        for (pattern, value, expected) in [
            ("shop-*", "shop-web", true),
            ("*web", "shop-web", true),
            ("shop-???", "shop-web", true),
            ("shop-??", "shop-web", false),
            ("*", "", true),
            ("", "", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("*a*b", "xaxxb", true),
            ("*a*b", "xaxxc", false),
        ] {
            assert_eq!(matches(pattern, value), expected, "{pattern} on {value}");
        }
    }

    #[test]
    fn filters_are_joined_by_and_their_values_by_or() {
        let form = query::decode(
            "Filter.1.Name=tag:chaos&Filter.1.Value.1=allowed&Filter.2.Name=state&Filter.2.Value.1=a&Filter.2.Value.2=b",
        );
        let filters = Filters::of(&form).expect("valid");
        let tags = Tags::from([("chaos".to_owned(), "allowed".to_owned())]);
        let state = |state: &'static str| move |name: &str| (name == "state").then(|| vec![state.to_owned()]);
        assert!(filters.pass(&tags, state("b")).expect("known"));
        assert!(!filters.pass(&tags, state("c")).expect("known"));
        assert!(!filters.pass(&Tags::new(), state("b")).expect("known"));
        assert_eq!(
            filters.pass(&tags, |_| None).expect_err("unknown").code,
            "InvalidParameterValue"
        );
    }
}
