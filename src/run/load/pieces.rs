//! Texts with holes, compiled: everything constant is bytes already, holes are filled per request and written so that
//! none of them can end the place it stands in. Knows nothing of HTTP's framing.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

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
    Path,
    Header,
    /// Within a JSON string.
    Json,
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
            // What is percent-encoded already stays as it is.
            Place::Path => {
                for byte in value {
                    match byte {
                        0..=b' ' | 0x7f.. | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | b'#' => {
                            write!(out, "%{byte:02X}").expect(MEMORY);
                        }
                        plain => out.push(*plain),
                    }
                }
            }
            Place::Json => {
                let text = serde_json::to_string(&String::from_utf8_lossy(value)).expect("a text is JSON");
                out.extend_from_slice(&text.as_bytes()[1..text.len() - 1]);
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

    pub fn template(&mut self, template: &Template, place: Place) {
        for part in &template.parts {
            match part {
                Part::Text(text) => self.text(text),
                Part::Random(min, max) => self.push(Piece::Random(*min, *max)),
                Part::Unique => self.push(Piece::Unique),
                Part::Variable(name) => {
                    let number = self.variables.iter().position(|variable| variable == name);
                    self.pieces.extend(number.map(|number| Piece::Variable(number, place)));
                }
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
