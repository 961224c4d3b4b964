//! Texts with holes, compiled: everything constant is bytes already, holes are filled per request and written so that
//! none of them can end the place it stands in. Knows nothing of HTTP's framing.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Number;

use super::checks::Values;
use super::ids::Unique;
use super::passes::Owner;
use super::tokens::UserTokens;
use crate::plan::{Part, Template};

const MEMORY: &str = "writing to memory cannot fail";

/// The seeded choices and the id of one request.
pub struct Filling<'a> {
    /// Source of `random(min, max)`.
    pub random: &'a mut fastrand::Rng,
    /// `{{ unique }}`.
    pub unique: Unique<'a>,
    /// What earlier steps of the pass extracted.
    pub values: &'a Values,
    /// Where a redirect leads.
    pub going: &'a str,
    /// Tokens as they are now.
    pub tokens: &'a UserTokens,
    /// Who makes it.
    pub owner: Owner,
}

/// What a request is made of.
#[derive(Clone, Debug)]
pub enum Piece {
    Bytes(Box<[u8]>),
    Random(u64, u64),
    Unique,
    /// The value of this number, written as its place needs it.
    Variable(usize, Place),
    /// What these give, in Base64.
    Base64(Box<[Piece]>),
    /// The length of the body, which stands before it.
    BodyLength,
    /// A Cookie header of the value of this number, where it has any.
    Cookies(usize),
    /// Where a redirect leads.
    Going,
    /// The token of the client of this number.
    Token(usize),
}

/// Where a value is put in; none of them lets it end the place it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The beginning of a path: a link, which may have a query.
    Link,
    /// Further on in a path.
    Path,
    /// After the question mark.
    Query,
    Header,
    /// Within a JSON string.
    Json,
    /// A whole value of JSON: a number as it is, anything else as a string, so that it stays JSON.
    JsonNumber,
    /// A value of a form.
    Form,
    /// Anywhere in a body.
    Body,
}

impl Place {
    fn write(self, value: &[u8], out: &mut Vec<u8>) {
        match self {
            Place::Body => out.extend_from_slice(value),
            // A header value has no control characters (RFC 9110, section 5.5).
            Place::Header => out.extend(value.iter().filter(|byte| **byte >= b' ' && **byte != 0x7f)),
            Place::Form => {
                for piece in form_urlencoded::byte_serialize(value) {
                    out.extend_from_slice(piece.as_bytes());
                }
            }
            Place::Link => {
                // Neither nothing nor another host's address may stand in a request's first line.
                out.extend((!value.starts_with(b"/")).then_some(b'/'));
                IN_LINK.write(value, out);
            }
            Place::Path => IN_PATH.write(value, out),
            Place::Query => IN_QUERY.write(value, out),
            Place::Json => {
                let text = json_string(value);
                out.extend_from_slice(&text.as_bytes()[1..text.len() - 1]);
            }
            Place::JsonNumber => match serde_json::from_slice::<Number>(value) {
                Ok(_) => out.extend_from_slice(value.trim_ascii()),
                Err(_) => out.extend_from_slice(json_string(value).as_bytes()),
            },
        }
    }
}

fn json_string(value: &[u8]) -> String {
    serde_json::to_string(&String::from_utf8_lossy(value)).expect("a text is JSON")
}

/// Which bytes stand for themselves, by their number; the others are percent-encoded.
struct Plain([bool; 256]);

/// What is percent-encoded already stays as it is.
static IN_LINK: Plain = Plain::of(&[UNRESERVED, SUB_DELIMS, b":@/?[]%"]);
static IN_PATH: Plain = Plain::of(&[UNRESERVED, SUB_DELIMS, b":@/"]);
/// Neither `&` nor `=`, which would begin another parameter.
static IN_QUERY: Plain = Plain::of(&[UNRESERVED]);

/// RFC 3986, section 2.3.
const UNRESERVED: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
/// RFC 3986, section 2.2.
const SUB_DELIMS: &[u8] = b"!$&'()*+,;=";

impl Plain {
    const fn of(sets: &[&[u8]]) -> Self {
        let mut plain = [false; 256];
        let mut set = 0;
        while set < sets.len() {
            let mut byte = 0;
            while byte < sets[set].len() {
                plain[sets[set][byte] as usize] = true;
                byte += 1;
            }
            set += 1;
        }
        Self(plain)
    }

    fn write(&self, value: &[u8], out: &mut Vec<u8>) {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        for byte in value {
            if self.0[usize::from(*byte)] {
                out.push(*byte);
            } else {
                let digit = |of: u8| DIGITS[usize::from(of & 15)];
                out.extend_from_slice(&[b'%', digit(byte >> 4), digit(*byte)]);
            }
        }
    }
}

/// Fills the holes of `pieces`; `body_length` is for the one that tells it.
pub fn write(pieces: &[Piece], filling: &mut Filling<'_>, body_length: usize, out: &mut Vec<u8>) {
    for piece in pieces {
        match piece {
            Piece::Bytes(bytes) => out.extend_from_slice(bytes),
            Piece::Random(min, max) => {
                let number = filling.random.u64((*min).min(*max)..=*max);
                write!(out, "{number}").expect(MEMORY);
            }
            Piece::Unique => write!(out, "{}", filling.unique).expect(MEMORY),
            Piece::Variable(number, place) => {
                if let Some(value) = filling.values.get(*number) {
                    place.write(value, out);
                }
            }
            Piece::Base64(pieces) => {
                let mut plain = Vec::new();
                write(pieces, filling, 0, &mut plain);
                out.extend_from_slice(STANDARD.encode(plain).as_bytes());
            }
            Piece::Cookies(number) => {
                if let Some(cookies) = filling.values.get(*number).filter(|cookies| !cookies.is_empty()) {
                    out.extend_from_slice(b"cookie: ");
                    Place::Header.write(cookies, out);
                    out.extend_from_slice(b"\r\n");
                }
            }
            Piece::Going => out.extend_from_slice(filling.going.as_bytes()),
            Piece::Token(client) => {
                let token = filling.tokens.token(*client, filling.owner, filling.unique.counter);
                out.extend_from_slice(token.as_bytes());
            }
            Piece::BodyLength => write!(out, "{body_length}").expect(MEMORY),
        }
    }
}

/// Pieces in which neighbouring bytes are one piece.
pub struct Pieces<'a> {
    pieces: Vec<Piece>,
    variables: &'a [String],
}

impl<'a> Pieces<'a> {
    pub fn new(variables: &'a [String]) -> Self {
        Self {
            pieces: Vec::new(),
            variables,
        }
    }

    /// These bytes, with no hole in them.
    pub fn of(bytes: &[u8]) -> Self {
        let mut pieces = Self::new(&[]);
        pieces.literal(bytes);
        pieces
    }

    pub fn text(&mut self, text: &str) {
        self.literal(text.as_bytes());
    }

    fn literal(&mut self, literal: &[u8]) {
        match self.pieces.last_mut() {
            Some(Piece::Bytes(bytes)) => *bytes = [&**bytes, literal].concat().into(),
            _ => self.pieces.push(Piece::Bytes(literal.into())),
        }
    }

    pub fn push(&mut self, piece: Piece) {
        self.pieces.push(piece);
    }

    /// A path with its query: what a value may bring in depends on what is before its hole.
    pub fn path(&mut self, path: &Template) {
        let mut place = Place::Link;
        for part in &path.parts {
            self.part(part, place);
            place = match part {
                Part::Text(text) if text.contains('?') => Place::Query,
                _ if place == Place::Link => Place::Path,
                _ => place,
            };
        }
    }

    pub fn template(&mut self, template: &Template, place: Place) {
        for part in &template.parts {
            self.part(part, place);
        }
    }

    fn part(&mut self, part: &Part, place: Place) {
        match part {
            Part::Text(text) => self.text(text),
            Part::Random(min, max) => self.push(Piece::Random(*min, *max)),
            Part::Unique => self.push(Piece::Unique),
            Part::Variable(name) => self.variable(name, place),
            Part::Number(name) => self.variable(name, Place::JsonNumber),
            Part::Bytes(bytes) => self.literal(bytes),
            Part::Token(client) => self.push(Piece::Token(*client)),
            Part::Base64(inner) => {
                let mut pieces = Pieces::new(self.variables);
                pieces.template(inner, Place::Body);
                match pieces.fixed() {
                    Some(_) => self.text(&STANDARD.encode(pieces.bytes())),
                    None => self.push(Piece::Base64(pieces.done())),
                }
            }
            // Only a ledger's read path has an id, and the environment is filled in before a plan is compiled.
            Part::Id | Part::Env(_) => {}
        }
    }

    fn variable(&mut self, name: &str, place: Place) {
        let number = self.variables.iter().position(|variable| variable == name);
        self.pieces.extend(number.map(|number| Piece::Variable(number, place)));
    }

    /// Its length, where it has no holes.
    pub fn fixed(&self) -> Option<usize> {
        match self.pieces.as_slice() {
            [] => Some(0),
            [Piece::Bytes(bytes)] => Some(bytes.len()),
            _ => None,
        }
    }

    pub fn bytes(&self) -> &[u8] {
        match self.pieces.as_slice() {
            [Piece::Bytes(bytes)] => bytes,
            _ => &[],
        }
    }

    pub fn done(self) -> Box<[Piece]> {
        self.pieces.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The path of these texts with the holes between them filled with `value`.
    fn path(texts: &[&str], value: &str) -> String {
        let hole = || Part::Variable("v".to_owned());
        let mut parts = Vec::new();
        for text in texts {
            parts.extend((!text.is_empty()).then(|| Part::Text((*text).to_owned())));
            parts.push(hole());
        }
        parts.pop();
        let variables = ["v".to_owned()];
        let mut pieces = Pieces::new(&variables);
        pieces.path(&Template { parts });
        let mut out = Vec::new();
        for piece in &pieces.done() {
            match piece {
                Piece::Bytes(bytes) => out.extend_from_slice(bytes),
                Piece::Variable(0, place) => place.write(value.as_bytes(), &mut out),
                other => panic!("{other:?}"),
            }
        }
        String::from_utf8(out).expect("a path is ASCII")
    }

    #[test]
    fn a_number_in_json_has_no_quotes_and_anything_else_has() {
        let cases = [
            ("5", "5"),
            ("-1.5e3", "-1.5e3"),
            (" 7 ", "7"),
            ("1, \"admin\": true", r#""1, \"admin\": true""#),
            ("007", r#""007""#),
            ("true", r#""true""#),
            ("NaN", r#""NaN""#),
            ("", r#""""#),
        ];
        for (value, expected) in cases {
            let mut out = Vec::new();
            Place::JsonNumber.write(value.as_bytes(), &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected, "{value:?}");
        }
    }

    #[test]
    fn a_value_in_a_url_stays_within_its_place() {
        let query = ["/echo?q=", "&z=1"];
        let cases: [(&[&str], &str, &str); 11] = [
            (&query, "a&b=c", "/echo?q=a%26b%3Dc&z=1"),
            (&query, "1+1 100%?#/é", "/echo?q=1%2B1%20100%25%3F%23%2F%C3%A9&z=1"),
            (&query, "A-z_0.9~", "/echo?q=A-z_0.9~&z=1"),
            (&["/of/", "?q=", ""], "a?b", "/of/a%3Fb?q=a%3Fb"),
            (&["/of/", "/items"], "a?b#c 50%", "/of/a%3Fb%23c%2050%25/items"),
            (&["/of/", ""], "a/b:c@d;e=f&g", "/of/a/b:c@d;e=f&g"),
            (&["", ""], "/next?page=2&of=a%20b", "/next?page=2&of=a%20b"),
            (&["", ""], "http://other/", "/http://other/"),
            (&["", ""], "", "/"),
            (&["", "&more=", ""], "/a?b=1", "/a?b=1&more=/a%3Fb=1"),
            (&["", "?more=", ""], "/a&b", "/a&b?more=%2Fa%26b"),
        ];
        for (texts, value, expected) in cases {
            assert_eq!(path(texts, value), expected, "{texts:?} with {value:?}");
        }
    }
}
