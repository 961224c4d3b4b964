//! Texts with holes: `{{ random(1, 500) }}`, `{{ unique }}`, `{{ env(NAME) }}`, what was extracted or fed and, in a
//! ledger's read path, `{{ id }}`; in JSON also `{{ random(1, 500) | number }}`.
//! Only takes them apart; filling them is the generator's work.

use super::feeder::ANY_COLUMN;
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
    /// A random number or a variable that is written into JSON without quotes where it is a number.
    Number(Box<Piece>),
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
            Piece::Number(inner) => inner.is_of_a_pass(),
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

impl Holes<'_> {
    fn know(&self, name: &str) -> bool {
        let is_it = |variable: &String| match variable.strip_suffix(ANY_COLUMN) {
            Some(feeder) => name.starts_with(feeder),
            None => variable == name,
        };
        self.variables.iter().any(is_it)
    }
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
    take_apart(text, holes, false)
}

/// Takes a value of JSON apart, which may be a number where one hole is all of it: `{{ random(1, 500) | number }}`.
pub(super) fn parse_json_value(text: &str, holes: &Holes<'_>) -> Result<Vec<Piece>, TemplateMistake> {
    let is_one_hole = text.starts_with("{{") && text.find("}}").is_some_and(|close| close + 2 == text.len());
    take_apart(text, holes, is_one_hole)
}

/// Takes JSON apart whose values [`parse_json_value`] takes; its numbers lose their quotes.
pub(super) fn parse_json(text: &str, holes: &Holes<'_>) -> Result<Vec<Piece>, TemplateMistake> {
    let mut pieces = take_apart(text, holes, true)?;
    for number in 0..pieces.len() {
        if !matches!(pieces[number], Piece::Number(_)) {
            continue;
        }
        // A hole that is all of a value has nothing but the quotes beside it.
        if let Some(Piece::Text(before)) = number.checked_sub(1).map(|before| &mut pieces[before]) {
            before.pop();
        }
        if let Some(Piece::Text(after)) = pieces.get_mut(number + 1) {
            after.remove(0);
        }
    }
    Ok(pieces)
}

fn take_apart(text: &str, holes: &Holes<'_>, numbers: bool) -> Result<Vec<Piece>, TemplateMistake> {
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
        let piece = match hole
            .rsplit_once('|')
            .map(|(inner, filter)| (inner.trim_end(), filter.trim()))
        {
            Some((inner, "number")) => number(inner, holes, numbers),
            Some((_, filter)) => Err((
                format!("unknown filter {filter:?}"),
                "there is one: `{{ price | number }}`, in `json`".to_owned(),
            )),
            None => self::hole(hole, holes),
        };
        pieces.push(piece.map_err(|(message, hint)| TemplateMistake {
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

fn number(hole: &str, holes: &Holes<'_>, here: bool) -> Result<Piece, (String, String)> {
    if !here {
        let message = "`| number` leaves out the quotes of a value of `json`, which the hole must be all of".to_owned();
        return Err((message, "remove `| number`".to_owned()));
    }
    match self::hole(hole, holes)? {
        piece @ (Piece::Random(..) | Piece::Variable(_)) => Ok(Piece::Number(Box::new(piece))),
        _ => Err((
            format!("`{hole}` is no number"),
            "`| number` goes with `random(1, 500)` and with what was extracted or fed".to_owned(),
        )),
    }
}

fn hole(hole: &str, holes: &Holes<'_>) -> Result<Piece, (String, String)> {
    let (name, arguments) = match hole.split_once('(') {
        Some((name, rest)) => (name.trim(), Some(rest.trim_end().strip_suffix(')').unwrap_or(rest))),
        None => (hole, None),
    };
    let id = holes.id;
    match (name, arguments) {
        (name, None) if holes.know(name) => Ok(Piece::Variable(name.to_owned())),
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
            "use `{{ unique }}` for a new id; one that an earlier step was answered is kept by its `extract`"
                .to_owned(),
        )),
        ("random", Some(arguments)) => {
            let mistake = || {
                let message = format!("`random({arguments})` needs two whole numbers from 0 on, the smaller one first");
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
    let variables = holes.variables.iter().map(String::as_str);
    let named = variables.filter(|variable| !variable.ends_with(ANY_COLUMN));
    suggest(name, functions.iter().copied().chain(named))
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

    #[test]
    fn numbers_are_whole_values_of_json() {
        let variables = ["price".to_owned()];
        let holes = Holes {
            variables: &variables,
            id: false,
        };
        let text = |text: &str| Piece::Text(text.to_owned());
        let number = |piece: Piece| Piece::Number(Box::new(piece));
        assert_eq!(
            parse_json(
                r#"{"a":"{{ random(1, 5) | number }}","b":["{{price|number}}"],"c":"{{ price }}"}"#,
                &holes
            ),
            Ok(vec![
                text(r#"{"a":"#),
                number(Piece::Random(1, 5)),
                text(r#","b":["#),
                number(Piece::Variable("price".to_owned())),
                text(r#"],"c":""#),
                Piece::Variable("price".to_owned()),
                text(r#""}"#),
            ])
        );
        assert!(parse_json_value("{{ price | number }}", &holes).is_ok());
        for bad in [
            "{{ price | number }} ",
            "a{{ price | number }}",
            "{{ price | number }}{{ price }}",
            "{{ unique | number }}",
            "{{ number }}",
            "{{ | number }}",
            "{{ price number }}",
        ] {
            assert!(parse_json_value(bad, &holes).is_err(), "{bad}");
        }
        assert!(parse("{{ price | number }}", &holes).is_err());
    }

    proptest! {
        #[test]
        fn no_json_panics(text in "[{}() a-z|,\"]{0,20}", numbers in 0_usize..2) {
            let text = serde_json::json!({ "a": text, "b": "{{ random(1, 2) | number }}".repeat(numbers) });
            let _ = parse_json(&text.to_string(), &ID);
        }

        #[test]
        fn no_text_panics(text in "[{}() a-zé0-9,]{0,60}") {
            let _ = parse(&text, &ID);
        }
    }
}
