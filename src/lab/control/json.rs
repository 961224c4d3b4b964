//! JSON as `awsJson1.0` uses it, which boto3 and the aws CLI choose for CloudWatch. Timestamps are epoch seconds.

use std::borrow::Cow;

use serde_json::{Map, Number, Value as Json};

use super::value::Value;

/// The tree of a JSON body; an empty body is an empty map.
pub fn decode(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    if bytes.is_empty() {
        return Ok(Value::empty());
    }
    serde_json::from_slice(bytes).map(from_json)
}

/// The text of a value.
pub fn encode(value: &Value) -> Vec<u8> {
    to_json(value).to_string().into_bytes()
}

fn from_json(json: Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(value),
        Json::Number(number) => match number.as_i64() {
            Some(value) => Value::Int(value),
            None => Value::Float(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::Text(text),
        Json::Array(items) => Value::List("member", items.into_iter().map(from_json).collect()),
        Json::Object(members) => Value::Map(
            members
                .into_iter()
                .map(|(name, value)| (Cow::Owned(name), from_json(value)))
                .collect(),
        ),
    }
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value) => Json::from(*value),
        Value::Float(value) | Value::Time(value) => Number::from_f64(*value).map_or(Json::Null, Json::Number),
        Value::Text(text) => Json::from(text.as_str()),
        Value::List(_, items) => items.iter().map(to_json).collect(),
        Value::Map(members) => members
            .iter()
            .filter(|(_, value)| *value != Value::Null)
            .map(|(name, value)| (name.to_string(), to_json(value)))
            .collect::<Map<_, _>>()
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::value::{list, map};
    use super::*;

    #[test]
    fn what_boto3_sends_is_read_and_answers_leave_absent_members_out() {
        let body = br#"{"StartTime": 1795407041, "Statistics": ["Sum"], "Period": 60}"#;
        let tree = decode(body).expect("valid");
        assert_eq!(tree.instant("StartTime").expect("an instant"), Some(1_795_407_041.0));
        assert_eq!(tree.texts("Statistics"), ["Sum"]);
        let answer = map([
            ("A", list("member", [1, 2])),
            ("B", Value::Null),
            ("T", Value::Time(1.5)),
        ]);
        assert_eq!(encode(&answer), br#"{"A":[1,2],"T":1.5}"#);
    }
}
