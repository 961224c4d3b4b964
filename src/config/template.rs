//! Texts with holes: `{{ random(1, 500) }}`, `{{ unique }}`, `{{ env(NAME) }}`, what was extracted or fed and, in a
//! ledger's read path, `{{ id }}`.
//! Only takes them apart; filling them is the generator's work.

use super::nearest::suggest;
use super::oauth2::OAuth2;

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Literal text.
    Text(String),
    /// A whole number between both ends, included.
    Random(u64, u64),
    /// An id no other request of the run has.
    Unique,
    /// The acknowledged id, only where a write is read back.
    Id,
    /// What an earlier step of the same journey extracted under this name, or a column of a feeder.
    Variable(String),
    /// A variable of the environment, which is asked for only when the run starts: it may be a secret.
    Env(String),
    /// What these pieces give, in Base64.
    Base64(Vec<Piece>),
    /// What stood in a file.
    Bytes(Vec<u8>),
    /// A token that this client has got.
    Token(Box<OAuth2>),
}

impl Piece {
    /// Whether it needs what only a pass of its journey has.
    #[must_use]
    pub fn is_of_a_pass(&self) -> bool {
        match self {
            Piece::Variable(_) => true,
            Piece::Base64(pieces) => pieces.iter().any(Piece::is_of_a_pass),
            _ => false,
        }
    }
}

/// What holes can hold besides random numbers and unique ids.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holes<'a> {
    /// What earlier steps extracted.
    pub(super) variables: &'a [String],
    /// Whether `{{ id }}` means the id of an acknowledged write.
    pub(super) id: bool,
}

/// What is wrong with a text, and where in it (characters).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TemplateMistake {
    pub(super) offset: usize,
    pub(super) length: usize,
    pub(super) message: String,
    pub(super) hint: String,
}

/// Takes a text apart.
pub(super) fn parse(text: &str, holes: &Holes<'_>) -> Result<Vec<Piece>, TemplateMistake> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find("{{") {
        if open > 0 {
            pieces.push(Piece::Text(rest[..open].to_owned()));
        }
        let offset = text[..text.len() - rest.len() + open].chars().count();
        let inner = &rest[open + 2..];
        let Some(close) = inner.find("}}") else {
            return Err(TemplateMistake {
                offset,
                length: 2,
                message: "`{{` is never closed".to_owned(),
                hint: "close it with `}}`".to_owned(),
            });
        };
        let hole = inner[..close].trim();
        let length = rest[open..open + close + 4].chars().count();
        pieces.push(self::hole(hole, holes).map_err(|(message, hint)| TemplateMistake {
            offset,
            length,
            message,
            hint,
        })?);
        rest = &inner[close + 2..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

fn hole(hole: &str, holes: &Holes<'_>) -> Result<Piece, (String, String)> {
    let (name, arguments) = match hole.split_once('(') {
        Some((name, rest)) => (name.trim(), Some(rest.trim_end().strip_suffix(')').unwrap_or(rest))),
        None => (hole, None),
    };
    let id = holes.id;
    match (name, arguments) {
        (name, None) if holes.variables.iter().any(|variable| variable == name) => Ok(Piece::Variable(name.to_owned())),
        ("unique", None) => Ok(Piece::Unique),
        ("id", None) if id => Ok(Piece::Id),
        ("env", arguments) => match arguments.map(str::trim) {
            Some(name) if is_environment_name(name) => Ok(Piece::Env(name.to_owned())),
            _ => Err((
                "`env` needs the name of a variable of the environment".to_owned(),
                "write `{{ env(API_TOKEN) }}`".to_owned(),
            )),
        },
        ("id", None) => Err((
            "`{{ id }}` only means something in a ledger's read path".to_owned(),
            "use `{{ unique }}` for a new id".to_owned(),
        )),
        ("random", Some(arguments)) => {
            let mistake = || {
                let message = format!("`random({arguments})` needs two whole numbers, the smaller one first");
                (message, "write `{{ random(1, 500) }}`".to_owned())
            };
            let (low, high) = arguments.split_once(',').ok_or_else(mistake)?;
            let read = |text: &str| text.trim().replace('_', "").parse::<u64>().ok();
            match (read(low), read(high)) {
                (Some(low), Some(high)) if low <= high => Ok(Piece::Random(low, high)),
                _ => Err(mistake()),
            }
        }
        ("random", None) => Err((
            "`random` needs its two ends".to_owned(),
            "write `{{ random(1, 500) }}`".to_owned(),
        )),
        ("unique", Some(_)) => Err((
            "`unique` takes nothing in brackets".to_owned(),
            "write `{{ unique }}`".to_owned(),
        )),
        _ => Err((
            match arguments {
                Some(_) => format!("unknown template function {name:?}"),
                None => unknown_variable(name),
            },
            unknown(name, holes),
        )),
    }
}

fn is_environment_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// What is said of a hole that holds nothing known.
pub(super) fn unknown_variable(name: &str) -> String {
    format!("unknown template function or variable {name:?}")
}

/// The nearest name that would be known; a variable comes from an earlier step of the same journey.
fn unknown(name: &str, holes: &Holes<'_>) -> String {
    let functions = if holes.id {
        &["id", "random", "unique", "env"][..]
    } else {
        &["random", "unique", "env"]
    };
    let known = functions
        .iter()
        .copied()
        .chain(holes.variables.iter().map(String::as_str));
    suggest(name, known)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Holes<'static> = Holes {
        variables: &[],
        id: false,
    };
    const ID: Holes<'static> = Holes {
        variables: &[],
        id: true,
    };
    use proptest::prelude::*;

    #[test]
    fn texts_come_apart() {
        assert_eq!(
            parse("/p/{{ random(1, 500) }}?u={{unique}}", &NONE),
            Ok(vec![
                Piece::Text("/p/".to_owned()),
                Piece::Random(1, 500),
                Piece::Text("?u=".to_owned()),
                Piece::Unique
            ])
        );
        assert_eq!(
            parse("/o/{{ id }}", &ID),
            Ok(vec![Piece::Text("/o/".to_owned()), Piece::Id])
        );
        for bad in [
            "{{",
            "{{ id }}",
            "{{ random }}",
            "{{ random(5, 1) }}",
            "{{ random(1) }}",
            "{{ x }}",
            "{{ unique(1) }}",
        ] {
            assert!(parse(bad, &NONE).is_err(), "{bad}");
        }
        let mistake = parse("é {{ uniqe }}", &NONE).expect_err("misspelt");
        assert_eq!(
            (mistake.offset, mistake.length, mistake.hint.as_str()),
            (2, 11, "did you mean \"unique\"?")
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[{}() a-zé0-9,]{0,60}") {
            let _ = parse(&text, &ID);
        }
    }
}
