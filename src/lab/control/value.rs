//! One tree for what a request says and what an answer says, whatever the protocol; and the typed questions that the
//! operations ask of a request. It knows no operation and no encoding.

use std::borrow::Cow;

use crate::lab::error::AwsError;
use crate::lab::world::CloudTime;

/// A node of a request or of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Absent: a member with this value is not written.
    Null,
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Text; every leaf of a form or of XML is text.
    Text(String),
    /// A timestamp: ISO 8601 in XML, epoch seconds in JSON, tag 1 in CBOR.
    Time(CloudTime),
    /// A list, with the name its elements bear in XML.
    List(&'static str, Vec<Value>),
    /// Members in order.
    Map(Vec<(Cow<'static, str>, Value)>),
}

/// A map from names to values.
pub fn map<const N: usize>(members: [(&'static str, Value); N]) -> Value {
    Value::Map(
        members
            .into_iter()
            .map(|(name, value)| (Cow::Borrowed(name), value))
            .collect(),
    )
}

/// A list whose elements are called `element` in XML.
pub fn list<T: Into<Value>>(element: &'static str, items: impl IntoIterator<Item = T>) -> Value {
    Value::List(element, items.into_iter().map(Into::into).collect())
}

/// A timestamp, or nothing.
pub fn time(at: impl Into<Option<CloudTime>>) -> Value {
    at.into().map_or(Value::Null, Value::Time)
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

macro_rules! whole {
    ($($kind:ty),*) => { $(impl From<$kind> for Value {
        fn from(value: $kind) -> Self {
            Self::Int(value.into())
        }
    })* };
}
whole!(i32, i64, u8, u16, u32);

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl Value {
    /// An empty map.
    pub fn empty() -> Self {
        Self::Map(Vec::new())
    }

    /// The member of that name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Map(members) => members.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The member of that name as text, where it has any.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_text).filter(|text| !text.is_empty())
    }

    /// The member of that name as text, or the error AWS gives when a required parameter is missing.
    pub fn required(&self, name: &str) -> Result<&str, AwsError> {
        self.text(name).ok_or_else(|| {
            fault(
                "MissingParameter",
                format!("The request must contain the parameter {name}"),
            )
        })
    }

    /// This leaf as text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The member of that name as a boolean.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, AwsError> {
        match self.get(name) {
            None | Some(Self::Null) => Ok(None),
            Some(Self::Bool(value)) => Ok(Some(*value)),
            Some(Self::Text(text)) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(Self::Text(text)) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(_) => Err(invalid(name, "must be a boolean")),
        }
    }

    /// The member of that name as a number.
    pub fn number(&self, name: &str) -> Result<Option<f64>, AwsError> {
        match self.get(name) {
            None | Some(Self::Null) => Ok(None),
            Some(Self::Int(value)) => Ok(Some(*value as f64)),
            Some(Self::Float(value)) => Ok(Some(*value)),
            Some(Self::Text(text)) => match text.trim().parse::<f64>() {
                Ok(value) if value.is_finite() => Ok(Some(value)),
                _ => Err(invalid(name, "must be a number")),
            },
            Some(_) => Err(invalid(name, "must be a number")),
        }
    }

    /// The member of that name as a whole number within `range`.
    pub fn whole(&self, name: &str, range: std::ops::RangeInclusive<i64>) -> Result<Option<i64>, AwsError> {
        let Some(value) = self.number(name)? else {
            return Ok(None);
        };
        if value.fract() != 0.0 || value < *range.start() as f64 || value > *range.end() as f64 {
            return Err(invalid(
                name,
                &format!("must be a whole number from {} to {}", range.start(), range.end()),
            ));
        }
        Ok(Some(value as i64))
    }

    /// The member of that name as an instant: ISO 8601 text or epoch seconds.
    pub fn instant(&self, name: &str) -> Result<Option<CloudTime>, AwsError> {
        match self.get(name) {
            None | Some(Self::Null) => Ok(None),
            Some(Self::Time(at) | Self::Float(at)) => Ok(Some(*at)),
            Some(Self::Int(at)) => Ok(Some(*at as f64)),
            Some(Self::Text(text)) => parse_time(text)
                .map(Some)
                .ok_or_else(|| invalid(name, "must be an ISO 8601 timestamp")),
            Some(_) => Err(invalid(name, "must be a timestamp")),
        }
    }

    /// The elements of the list of that name. In forms a list is `X.1` or `X.member.1`, in XML a run of children.
    pub fn elements(&self, name: &str) -> Vec<&Value> {
        self.get(name).map(Value::as_elements).unwrap_or_default()
    }

    /// The texts of the list of that name.
    pub fn texts(&self, name: &str) -> Vec<&str> {
        self.elements(name).into_iter().filter_map(Value::as_text).collect()
    }

    fn as_elements(&self) -> Vec<&Value> {
        match self {
            Self::List(_, items) => items.iter().collect(),
            Self::Map(members) => {
                if let [(_, inner @ Self::Map(below))] = members.as_slice()
                    && !members.iter().any(|(key, _)| is_index(key))
                    && !below.is_empty()
                    && below.iter().all(|(key, _)| is_index(key))
                {
                    return inner.as_elements();
                }
                if members.iter().all(|(key, _)| is_index(key)) {
                    let mut numbered: Vec<(u32, &Value)> = members
                        .iter()
                        .filter_map(|(key, value)| Some((key.parse().ok()?, value)))
                        .collect();
                    numbered.sort_by_key(|(number, _)| *number);
                    return numbered.into_iter().map(|(_, value)| value).collect();
                }
                members.iter().map(|(_, value)| value).collect()
            }
            _ => Vec::new(),
        }
    }
}

fn is_index(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit())
}

/// An error of the client's making, status 400.
pub fn fault(code: &'static str, message: impl Into<String>) -> AwsError {
    AwsError::bad_request(code, message)
}

/// The error for a parameter whose value cannot be used.
pub fn invalid(name: &str, why: &str) -> AwsError {
    fault(
        "InvalidParameterValue",
        format!("Value for parameter {name} is invalid: it {why}"),
    )
}

/// Instant of an ISO 8601 text, or of epoch seconds in decimal.
pub fn parse_time(text: &str) -> Option<CloudTime> {
    if let Ok(seconds) = text.parse::<f64>() {
        return seconds.is_finite().then_some(seconds);
    }
    let stamp: jiff::Timestamp = match text.parse() {
        Ok(stamp) => stamp,
        // The aws CLI and some clients leave the zone out; AWS reads such a time as UTC.
        Err(_) => text
            .parse::<jiff::civil::DateTime>()
            .ok()?
            .to_zoned(jiff::tz::TimeZone::UTC)
            .ok()?
            .timestamp(),
    };
    Some(stamp.as_microsecond() as f64 / 1e6)
}

/// ISO 8601 with milliseconds, as AWS writes timestamps in XML.
pub fn iso(at: CloudTime) -> String {
    let stamp = jiff::Timestamp::from_millisecond((at * 1000.0).round() as i64).unwrap_or_default();
    format!("{stamp:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_iso_with_milliseconds_and_read_back() {
        assert_eq!(iso(1_700_000_000.25), "2023-11-14T22:13:20.250Z");
        assert_eq!(parse_time("2023-11-14T22:13:20.250Z"), Some(1_700_000_000.25));
        assert_eq!(parse_time("2023-11-14T22:13:20"), Some(1_700_000_000.0));
        assert_eq!(parse_time("2023-11-15T00:13:20+02:00"), Some(1_700_000_000.0));
        assert_eq!(parse_time("1700000000"), Some(1_700_000_000.0));
        assert_eq!(parse_time("yesterday"), None);
    }

    #[test]
    fn numbers_outside_their_range_are_refused_by_name() {
        let input = map([
            ("MaxRecords", Value::Text("0".into())),
            ("Text", Value::Text("many".into())),
        ]);
        assert_eq!(input.whole("Absent", 1..=10).expect("absent is fine"), None);
        assert!(input.whole("MaxRecords", 1..=10).is_err());
        assert!(input.number("Text").is_err());
        assert!(input.flag("Text").is_err());
    }
}
