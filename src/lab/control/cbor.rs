//! CBOR as `rpcv2Cbor` uses it: maps with text keys, timestamps under tag 1. Reads definite and indefinite lengths.

use std::borrow::Cow;

use minicbor::data::{IanaTag, Type};
use minicbor::{Decoder, Encoder};

use super::value::Value;

/// Deepest nesting that is read.
const DEEPEST: usize = 32;

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CborError {
    /// Not CBOR.
    #[error("the body is not valid CBOR: {0}")]
    Syntax(#[from] minicbor::decode::Error),
    /// CBOR, but not what the protocol allows.
    #[error("the body holds {0}, which the protocol does not allow")]
    Unsupported(&'static str),
}

/// The bytes of a value.
pub fn encode(value: &Value) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::with_capacity(512));
    write(&mut encoder, value).expect("writing to memory cannot fail");
    encoder.into_writer()
}

type Written = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

fn write(encoder: &mut Encoder<Vec<u8>>, value: &Value) -> Written {
    match value {
        Value::Null => encoder.null()?,
        Value::Bool(value) => encoder.bool(*value)?,
        Value::Int(value) => encoder.i64(*value)?,
        Value::Float(value) => encoder.f64(*value)?,
        Value::Text(text) => encoder.str(text)?,
        Value::Time(at) => encoder.tag(IanaTag::Timestamp)?.f64(*at)?,
        Value::List(_, items) => {
            encoder.array(items.len() as u64)?;
            items.iter().try_for_each(|item| write(encoder, item))?;
            encoder
        }
        Value::Map(members) => {
            let present = members.iter().filter(|(_, value)| *value != Value::Null);
            encoder.map(present.clone().count() as u64)?;
            for (name, value) in present {
                encoder.str(name)?;
                write(encoder, value)?;
            }
            encoder
        }
    };
    Ok(())
}

/// The value of a body; an empty body is an empty map.
pub fn decode(bytes: &[u8]) -> Result<Value, CborError> {
    if bytes.is_empty() {
        return Ok(Value::empty());
    }
    read(&mut Decoder::new(bytes), 0)
}

fn read(decoder: &mut Decoder<'_>, depth: usize) -> Result<Value, CborError> {
    if depth == DEEPEST {
        return Err(CborError::Unsupported("nesting that deep"));
    }
    Ok(match decoder.datatype()? {
        Type::Null => {
            decoder.null()?;
            Value::Null
        }
        Type::Undefined => {
            decoder.undefined()?;
            Value::Null
        }
        Type::Bool => Value::Bool(decoder.bool()?),
        Type::U8 | Type::U16 | Type::U32 | Type::U64 | Type::I8 | Type::I16 | Type::I32 | Type::I64 => {
            Value::Int(decoder.i64()?)
        }
        Type::F16 | Type::F32 | Type::F64 => Value::Float(decoder.f64()?),
        Type::String => Value::Text(decoder.str()?.to_owned()),
        Type::StringIndef => {
            let mut text = String::new();
            for part in decoder.str_iter()? {
                text.push_str(part?);
            }
            Value::Text(text)
        }
        Type::Array | Type::ArrayIndef => {
            let length = decoder.array()?;
            let mut items = Vec::new();
            while more(decoder, length, items.len())? {
                items.push(read(decoder, depth + 1)?);
            }
            Value::List("member", items)
        }
        Type::Map | Type::MapIndef => {
            let length = decoder.map()?;
            let mut members = Vec::new();
            while more(decoder, length, members.len())? {
                let Value::Text(name) = read(decoder, depth + 1)? else {
                    return Err(CborError::Unsupported("a key that is not text"));
                };
                members.push((Cow::Owned(name), read(decoder, depth + 1)?));
            }
            Value::Map(members)
        }
        Type::Tag => {
            let tag = decoder.tag()?;
            let inner = read(decoder, depth + 1)?;
            match inner {
                Value::Int(at) if tag == IanaTag::Timestamp.tag() => Value::Time(at as f64),
                Value::Float(at) if tag == IanaTag::Timestamp.tag() => Value::Time(at),
                _ => return Err(CborError::Unsupported("an unknown tag")),
            }
        }
        _ => return Err(CborError::Unsupported("an unknown type")),
    })
}

/// Whether an array or map has another entry; consumes the break of an indefinite one.
fn more(decoder: &mut Decoder<'_>, length: Option<u64>, read: usize) -> Result<bool, CborError> {
    match length {
        Some(length) => Ok((read as u64) < length),
        None if decoder.datatype()? == Type::Break => {
            decoder.skip()?;
            Ok(false)
        }
        None => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::value::map;
    use super::*;

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            (-1e12..1e12f64).prop_map(Value::Float),
            (0.0..4e9f64).prop_map(Value::Time),
            ".*".prop_map(Value::Text),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(|items| Value::List("member", items)),
                prop::collection::vec(("[a-zA-Z]{0,8}", inner), 0..6).prop_map(|members| Value::Map(
                    members
                        .into_iter()
                        .map(|(name, value)| (Cow::Owned(name), value))
                        .collect()
                )),
            ]
        })
    }

    #[test]
    fn timestamps_are_tag_one_with_a_double() {
        let bytes = encode(&map([("T", Value::Time(1.5)), ("gone", Value::Null)]));
        assert_eq!(bytes, [0xa1, 0x61, b'T', 0xc1, 0xfb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn indefinite_maps_as_the_rust_sdk_writes_them_are_read() {
        let bytes = [
            0xbf, 0x61, b'A', 0x9f, 0x01, 0x20, 0xff, 0x61, b'B', 0xc1, 0x1a, 0, 0, 0, 9, 0xff,
        ];
        let expected = map([
            ("A", Value::List("member", vec![Value::Int(1), Value::Int(-1)])),
            ("B", Value::Time(9.0)),
        ]);
        assert_eq!(decode(&bytes).expect("valid"), expected);
        assert!(decode(&bytes[..bytes.len() - 1]).is_err());
    }

    proptest! {
        #[test]
        fn every_value_survives(value in any_value()) {
            prop_assert_eq!(decode(&encode(&value)).expect("valid"), value);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&bytes);
        }
    }
}
