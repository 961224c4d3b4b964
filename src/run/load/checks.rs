//! What a step wants of its answer, compiled: patterns, paths and the places of the values it keeps.
//! Looks at heads and bodies it is given; keeps nothing itself.

use jsonpath_rust::parser::model::JpQuery;
use jsonpath_rust::parser::parse_json_path;
use jsonpath_rust::query::js_path_process;
use regex::bytes::Regex;
use serde_json::{Number, Value};

use super::http1::Head;
use super::reasons::found;
use crate::plan::{Source, StepPlan, Wanted};

/// Bytes of a body that are kept for checks; a longer one fails them.
pub const CAPTURE_MAX: usize = 1 << 20;

/// A pattern or path that cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("step {step:?}: {text:?} is no pattern or path: {problem}")]
pub struct CheckError {
    /// Step name.
    pub step: String,
    /// As written.
    pub text: String,
    /// What is wrong with it.
    pub problem: String,
}

/// What a text must be, compiled.
#[derive(Clone, Debug)]
pub enum Test {
    /// Anything.
    Exists,
    /// Exactly this.
    Is(String),
    /// A pattern, or a text that is looked for as one.
    Matches(Regex),
}

#[derive(Clone, Debug)]
enum Path {
    /// Only names and indexes: found without searching.
    Pointer(String),
    Query(JpQuery),
}

#[derive(Clone, Debug)]
enum FromHead {
    Header(String),
    Cookie(String),
}

#[derive(Clone, Debug)]
enum FromBody {
    Json(Path),
    Regex(Regex),
}

/// The checks of one step, and what it keeps by the number of the variable.
#[derive(Clone, Debug, Default)]
pub struct Checks {
    headers: Vec<(String, Test)>,
    /// With the path as it is written.
    json: Vec<(String, Path, Test)>,
    body: Vec<Test>,
    size: Option<(u64, u64)>,
    within_us: Option<u64>,
    from_head: Vec<(usize, FromHead)>,
    from_body: Vec<(usize, FromBody)>,
    /// The variables by their number.
    names: Vec<String>,
}

/// The values a pass has kept so far, by the number of the variable.
pub type Values = Vec<Vec<u8>>;

impl Checks {
    /// The checks of `step`, whose journey numbers its variables by `variables`; none where it has none.
    pub fn compile(step: &StepPlan, variables: &[String]) -> Result<Option<Self>, CheckError> {
        let compiler = Compiler(step);
        let expect = &step.expect;
        let mut checks = Self {
            size: expect.size,
            within_us: expect.within.map(|within| within.as_micros() as u64),
            names: variables.to_vec(),
            ..Self::default()
        };
        for (name, wanted) in &expect.headers {
            checks.headers.push((name.clone(), compiler.test(wanted)?));
        }
        for (path, wanted) in &expect.json {
            checks
                .json
                .push((path.clone(), compiler.path(path)?, compiler.test(wanted)?));
        }
        for wanted in &expect.body {
            checks.body.push(compiler.test(wanted)?);
        }
        for extract in &step.extract {
            let Some(number) = variables.iter().position(|name| *name == extract.name) else {
                continue;
            };
            match &extract.from {
                Source::Header(name) => checks.from_head.push((number, FromHead::Header(name.clone()))),
                Source::Cookie(name) => checks.from_head.push((number, FromHead::Cookie(name.clone()))),
                Source::Json(path) => checks.from_body.push((number, FromBody::Json(compiler.path(path)?))),
                Source::Regex(text) => checks.from_body.push((number, FromBody::Regex(compiler.regex(text)?))),
            }
        }
        let any = checks.need_head() || checks.needs_body() || checks.size.is_some() || checks.within_us.is_some();
        Ok(any.then_some(checks))
    }

    /// Whether the body has to be kept until it is whole.
    #[must_use]
    pub fn needs_body(&self) -> bool {
        !self.json.is_empty() || !self.body.is_empty() || !self.from_body.is_empty()
    }

    /// Whether they look at a field of the head.
    #[must_use]
    pub fn need_head(&self) -> bool {
        !self.headers.is_empty() || !self.from_head.is_empty()
    }

    /// Whether a later step waits for something of this answer.
    #[must_use]
    pub fn keeps(&self) -> bool {
        !self.from_head.is_empty() || !self.from_body.is_empty()
    }

    /// Looks at the head; false when it is not what was wanted.
    pub fn head(&self, head: &Head<'_>, values: &mut Values) -> bool {
        let fine = self
            .headers
            .iter()
            .all(|(name, test)| head.get(name).is_some_and(|value| test.holds(value)));
        let mut found_all = true;
        for (number, from) in &self.from_head {
            let found = match from {
                FromHead::Header(name) => head.get(name),
                FromHead::Cookie(name) => cookie(head, name),
            };
            found_all &= keep(values, *number, found);
        }
        fine && found_all
    }

    /// Looks at the whole answer; false when it is not what was wanted. `length` is that of the body as it was sent;
    /// `body` is the body without its content codings, where it was kept whole.
    pub fn whole(&self, body: Option<&[u8]>, length: u64, latency_us: u64, values: &mut Values) -> bool {
        let sized = self.size.is_none_or(|(least, most)| (least..=most).contains(&length));
        let timely = self.within_us.is_none_or(|within_us| latency_us <= within_us);
        if !self.needs_body() {
            return sized && timely;
        }
        let Some(body) = body else { return false };
        let wants_json =
            !self.json.is_empty() || self.from_body.iter().any(|(_, from)| matches!(from, FromBody::Json(_)));
        let json: Option<Value> = wants_json.then(|| serde_json::from_slice(body).ok()).flatten();
        let checked = self.json.iter().all(|(_, path, test)| {
            let found = json.as_ref().and_then(|json| path.find(json));
            found.is_some_and(|value| test.holds_json(value))
        });
        let mut found_all = true;
        for (number, from) in &self.from_body {
            found_all &= match from {
                FromBody::Json(path) => {
                    let found = json.as_ref().and_then(|json| path.find(json));
                    let found = found.filter(|value| is_exact(value)).map(text);
                    keep(values, *number, found.as_deref())
                }
                FromBody::Regex(regex) => {
                    let found = regex.captures(body);
                    let group = found.as_ref().and_then(|found| found.get(1).or_else(|| found.get(0)));
                    keep(values, *number, group.map(|group| group.as_bytes()))
                }
            };
        }
        sized && timely && checked && found_all && self.body.iter().all(|test| test.holds(body))
    }
}

/// What is wrong with an answer, in words; asked once a check has failed.
impl Checks {
    /// The first that a head of these fields fails.
    #[must_use]
    pub fn why_head(&self, head: &Head<'_>) -> String {
        let failed = self.headers.iter().find_map(|(name, test)| match head.get(name) {
            None => Some(format!("there is no header {name}")),
            Some(value) if test.holds(value) => None,
            Some(value) => Some(format!("header {name} is {}, {}", found(name, value), test.wanted())),
        });
        let missing = || {
            let missing = self.from_head.iter().find(|(_, from)| match from {
                FromHead::Header(name) => head.get(name).is_none(),
                FromHead::Cookie(name) => cookie(head, name).is_none(),
            });
            missing.map(|(number, _)| self.nothing_for(*number))
        };
        failed.or_else(missing).unwrap_or_default()
    }

    /// The first that a whole answer fails, with what [`Checks::whole`] is given.
    #[must_use]
    pub fn why(&self, body: Option<&[u8]>, length: u64, latency_us: u64) -> String {
        let sized = self.size.filter(|(least, most)| !(least..=most).contains(&&length));
        if let Some((least, most)) = sized {
            return format!("the body has {length} bytes, not {least}..{most}");
        }
        if let Some(within_us) = self.within_us.filter(|within_us| latency_us > *within_us) {
            return format!(
                "it took {:.1}ms, not within {:.1}ms",
                latency_us as f64 / 1e3,
                within_us as f64 / 1e3
            );
        }
        let Some(body) = body else {
            return format!("the body is longer than the {CAPTURE_MAX} bytes that are kept for checks");
        };
        let json: Result<Value, String> = serde_json::from_slice(body).map_err(|error| not_json(&error));
        self.why_json(&json)
            .or_else(|| self.why_body(body, &json))
            .unwrap_or_default()
    }

    fn why_json(&self, json: &Result<Value, String>) -> Option<String> {
        self.json.iter().find_map(|(written, path, test)| {
            let json = match json {
                Ok(json) => json,
                Err(why) => return Some(why.clone()),
            };
            let Some(value) = path.find(json) else {
                return Some(format!("there is no {written}"));
            };
            let (text, wanted) = (text(value), || test.wanted());
            (!test.holds_json(value)).then(|| match value {
                value if !is_exact(value) => {
                    format!("{written} has a number of more than 64 bits; look at the `body` with `matches`")
                }
                // Whatever else is in there is nobody's business.
                Value::Object(_) | Value::Array(_) => format!("{written} is another, {}", wanted()),
                _ => format!("{written} is {}, {}", found(written, &text), wanted()),
            })
        })
    }

    fn why_body(&self, body: &[u8], json: &Result<Value, String>) -> Option<String> {
        if let Some(test) = self.body.iter().find(|test| !test.holds(body)) {
            return Some(format!("the body, {} bytes, is another, {}", body.len(), test.wanted()));
        }
        self.from_body.iter().find_map(|(number, from)| match from {
            FromBody::Json(path) => match json.as_ref().map(|json| path.find(json)) {
                Err(why) => Some(why.clone()),
                Ok(None) => Some(self.nothing_for(*number)),
                Ok(Some(value)) if !is_exact(value) => Some(format!(
                    "what is to be extracted as {:?} has a number of more than 64 bits; extract it with `regex`",
                    self.name(*number)
                )),
                Ok(Some(_)) => None,
            },
            FromBody::Regex(regex) => (!regex.is_match(body)).then(|| self.nothing_for(*number)),
        })
    }

    fn name(&self, number: usize) -> &str {
        self.names.get(number).map_or("", String::as_str)
    }

    fn nothing_for(&self, number: usize) -> String {
        format!("there is nothing to extract as {:?}", self.name(number))
    }
}

/// Without where it is, or there would be as many reasons as answers; nothing of the body is shown.
fn not_json(error: &serde_json::Error) -> String {
    let told = error.to_string();
    let what = told.split(" at line ").next().unwrap_or_default();
    format!("the body is not JSON that can be read: {what}")
}

fn keep(values: &mut Values, number: usize, found: Option<&[u8]>) -> bool {
    let (Some(found), Some(value)) = (found, values.get_mut(number)) else {
        return false;
    };
    value.clear();
    value.extend_from_slice(found);
    true
}

/// The cookie that the answer sets under this name (RFC 6265, section 4.1).
fn cookie<'a>(head: &Head<'a>, name: &str) -> Option<&'a [u8]> {
    let set = |field: &&httparse::Header<'a>| field.name.eq_ignore_ascii_case("set-cookie");
    head.headers.iter().filter(set).find_map(|field| {
        let pair = field.value.split(|byte| *byte == b';').next()?;
        let at = pair.iter().position(|byte| *byte == b'=')?;
        (pair[..at].trim_ascii() == name.as_bytes()).then(|| pair[at + 1..].trim_ascii())
    })
}

/// Whether a value is as it was written. A number that 64 bits do not hold is read as the nearest float, and would be sent
/// as another one.
fn is_exact(value: &Value) -> bool {
    match value {
        Value::Number(number) if number.is_f64() => number
            .as_f64()
            .is_some_and(|number| (i64::MIN as f64) < number && number < u64::MAX as f64),
        Value::Array(values) => values.iter().all(is_exact),
        Value::Object(fields) => fields.values().all(is_exact),
        _ => true,
    }
}

/// A value as a later step sends it: strings without their quotes.
fn text(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.as_bytes().to_vec(),
        other => other.to_string().into_bytes(),
    }
}

impl Test {
    /// What `step` wants of a text.
    pub fn compile(step: &StepPlan, wanted: &Wanted) -> Result<Self, CheckError> {
        Compiler(step).test(wanted)
    }

    /// What a value under this name was to be, in words.
    fn wanted(&self) -> String {
        match self {
            Test::Exists => "and is to be there".to_owned(),
            // As the profile has it, which everyone may read.
            Test::Is(wanted) => format!("not {wanted:?}"),
            Test::Matches(regex) => format!("which does not match {:?}", regex.as_str()),
        }
    }

    /// Whether this value is as wanted.
    #[must_use]
    pub fn holds(&self, value: &[u8]) -> bool {
        match self {
            Test::Exists => true,
            Test::Is(wanted) => value == wanted.as_bytes(),
            Test::Matches(regex) => regex.is_match(value),
        }
    }

    /// Whether this value of JSON is as wanted; a number in whichever way it is written.
    fn holds_json(&self, value: &Value) -> bool {
        let same = || match (self, value) {
            (Test::Is(wanted), Value::Number(number)) => is_number(wanted, number),
            _ => false,
        };
        // What it is nobody knows, so it is not what was wanted.
        let known = matches!(self, Test::Exists) || is_exact(value);
        known && (self.holds(&text(value)) || same())
    }
}

/// Whether a text is another way to write a number: 1.50 is 1.5. Whole numbers are compared exactly.
fn is_number(text: &str, number: &Number) -> bool {
    let whole = number.is_i64() || number.is_u64();
    match serde_json::from_str::<Number>(text) {
        Ok(wanted) if whole && !wanted.is_f64() => wanted == *number,
        Ok(wanted) => wanted.as_f64() == number.as_f64(),
        Err(_) => false,
    }
}

impl Path {
    fn find<'a>(&self, json: &'a Value) -> Option<&'a Value> {
        match self {
            Path::Pointer(pointer) => json.pointer(pointer),
            Path::Query(query) => {
                let found = js_path_process(query, json).ok()?;
                found.into_iter().next().map(|found| found.val())
            }
        }
    }
}

struct Compiler<'a>(&'a StepPlan);

impl Compiler<'_> {
    fn error(&self, text: &str, problem: impl ToString) -> CheckError {
        CheckError {
            step: self.0.name.clone(),
            text: text.to_owned(),
            problem: problem.to_string(),
        }
    }

    fn regex(&self, text: &str) -> Result<Regex, CheckError> {
        Regex::new(text).map_err(|problem| self.error(text, problem))
    }

    fn test(&self, wanted: &Wanted) -> Result<Test, CheckError> {
        Ok(match wanted {
            Wanted::Exists => Test::Exists,
            Wanted::Is(text) => Test::Is(text.clone()),
            Wanted::Contains(text) => Test::Matches(self.regex(&regex::escape(text))?),
            Wanted::Matches(pattern) => Test::Matches(self.regex(pattern)?),
        })
    }

    fn path(&self, text: &str) -> Result<Path, CheckError> {
        let query = parse_json_path(text).map_err(|problem| self.error(text, problem))?;
        Ok(pointer(text).map_or(Path::Query(query), Path::Pointer))
    }
}

/// `$.a.b[0]` as the JSON pointer `/a/b/0`; none where it is more than names and indexes.
fn pointer(path: &str) -> Option<String> {
    let mut rest = path.strip_prefix('$')?;
    let mut pointer = String::new();
    while !rest.is_empty() {
        let (step, after) = if let Some(name) = rest.strip_prefix('.') {
            let end = name.find(['.', '[']).unwrap_or(name.len());
            name.split_at(end)
        } else {
            let (index, after) = rest.strip_prefix('[')?.split_once(']')?;
            index
                .bytes()
                .all(|byte| byte.is_ascii_digit())
                .then_some((index, after))?
        };
        if step.is_empty() || !step.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return None;
        }
        pointer.push('/');
        pointer.push_str(step);
        rest = after;
    }
    Some(pointer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Expect, Extract};

    fn checks(expect: Expect, extract: &[(&str, Source)]) -> (Checks, Values) {
        let mut step = crate::run::load::tests::step("step", "GET", "/");
        step.expect = expect;
        let variables: Vec<String> = extract.iter().map(|(name, _)| (*name).to_owned()).collect();
        step.extract = extract
            .iter()
            .map(|(name, from)| Extract {
                name: (*name).to_owned(),
                from: from.clone(),
            })
            .collect();
        let values = vec![Vec::new(); variables.len()];
        (Checks::compile(&step, &variables).unwrap().unwrap(), values)
    }

    #[test]
    fn every_check_can_hold_and_can_fail() {
        let body = br#"{"state":"new","items":[{"n":3},{"n":4}],"ok":true,"price":1.5,"big":18446744073709551615,"beyond":18446744073709551616}"#;
        let json = |path: &str, wanted| Expect {
            json: vec![(path.to_owned(), wanted)],
            ..Expect::default()
        };
        let on_body = |wanted| Expect {
            body: vec![wanted],
            ..Expect::default()
        };
        let is = |text: &str| Wanted::Is(text.to_owned());
        let matches = |text: &str| Wanted::Matches(text.to_owned());
        let cases = [
            (json("$.state", is("new")), true),
            (json("$.state", is("old")), false),
            (json("$.items[1].n", is("4")), true),
            (json("$.items[?(@.n==3)].n", is("3")), true),
            (json("$.items[?(@.n==5)].n", Wanted::Exists), false),
            (json("$.ok", is("true")), true),
            (json("$.items[1].n", is("4.0")), true),
            (json("$.price", is("1.50")), true),
            (json("$.price", is("1.5")), true),
            (json("$.price", is("1.51")), false),
            (json("$.big", is("18446744073709551615")), true),
            (json("$.big", is("18446744073709551614")), false),
            (json("$.beyond", is("18446744073709551616")), false),
            (json("$.beyond", is("18446744073709551617")), false),
            (json("$.beyond", Wanted::Exists), true),
            (json("$.none", Wanted::Exists), false),
            (json("$.state", matches("^n.w$")), true),
            (on_body(Wanted::Contains("[{".to_owned())), true),
            (on_body(Wanted::Contains("[}".to_owned())), false),
            (on_body(matches(r#""n":\d"#)), true),
            (on_body(matches(r#""n":\D"#)), false),
        ];
        for (expect, holds) in cases {
            let (checks, mut values) = checks(expect.clone(), &[]);
            assert_eq!(
                checks.whole(Some(body), body.len() as u64, 0, &mut values),
                holds,
                "{expect:?}"
            );
        }
        let (sized, mut values) = checks(
            Expect {
                size: Some((1, 10)),
                within: Some(std::time::Duration::from_millis(5)),
                ..Expect::default()
            },
            &[],
        );
        assert!(!sized.needs_body());
        assert!(sized.whole(None, 10, 5_000, &mut values));
        assert!(!sized.whole(None, 11, 5_000, &mut values));
        assert!(!sized.whole(None, 10, 5_001, &mut values));
        let (cut, mut values) = checks(on_body(Wanted::Exists), &[]);
        assert!(
            !cut.whole(None, 400, 0, &mut values),
            "a body that was not kept whole proves nothing"
        );
    }

    #[test]
    fn values_are_kept_from_heads_and_bodies() {
        let (checks, mut values) = checks(
            Expect::default(),
            &[
                ("order", Source::Json("$.order.id".to_owned())),
                ("count", Source::Regex(r"n=(\d+)".to_owned())),
                ("tag", Source::Header("ETag".to_owned())),
                ("sid", Source::Cookie("sid".to_owned())),
            ],
        );
        let headers = [
            httparse::Header {
                name: "etag",
                value: b"\"v1\"",
            },
            httparse::Header {
                name: "Set-Cookie",
                value: b"other=1",
            },
            httparse::Header {
                name: "set-cookie",
                value: b"sid=abc=; Path=/; HttpOnly",
            },
        ];
        let head = Head {
            status: 200,
            headers: &headers,
        };
        assert!(checks.head(&head, &mut values));
        let body = br#"{"order":{"id":17},"text":"n=42"}"#;
        assert!(checks.whole(Some(body), body.len() as u64, 0, &mut values));
        let texts: Vec<_> = values
            .iter()
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .collect();
        assert_eq!(texts, ["17", "42", "\"v1\"", "abc="]);
        assert!(
            !checks.whole(Some(b"{}"), 2, 0, &mut values),
            "nothing to keep is a failure"
        );
        for (id, exact) in [
            ("18446744073709551615", true),
            ("18446744073709551617", false),
            ("-9223372036854775808", true),
            ("-9223372036854775809", false),
            ("1.5", true),
        ] {
            let body = format!(r#"{{"order":{{"id":{id}}},"text":"n=42"}}"#);
            let kept = checks.whole(Some(body.as_bytes()), body.len() as u64, 0, &mut values);
            assert_eq!(kept, exact, "{id}");
            assert!(!exact || values[0] == id.as_bytes(), "{id}");
        }
    }

    #[test]
    fn what_fails_a_check_is_told_and_no_secret() {
        let wanted = |text: &str| Wanted::Is(text.to_owned());
        let expect = Expect {
            headers: vec![("etag".to_owned(), wanted("v1")), ("x-token".to_owned(), wanted("abc"))],
            json: vec![
                ("$.state".to_owned(), wanted("new")),
                ("$.secret".to_owned(), Wanted::Exists),
            ],
            body: vec![Wanted::Matches("ready".to_owned())],
            size: Some((1, 100)),
            within: Some(std::time::Duration::from_millis(5)),
            ..Expect::default()
        };
        let (checks, _) = checks(expect, &[("order", Source::Json("$.id".to_owned()))]);
        let of_head = |fields: &[(&str, &str)]| {
            let fields = fields.iter().map(|(name, value)| httparse::Header {
                name,
                value: value.as_bytes(),
            });
            let headers: Vec<_> = fields.collect();
            checks.why_head(&Head {
                status: 200,
                headers: &headers,
            })
        };
        assert_eq!(of_head(&[]), "there is no header etag");
        assert_eq!(of_head(&[("ETag", "v2")]), "header etag is \"v2\", not \"v1\"");
        assert_eq!(
            of_head(&[("etag", "v1"), ("x-token", "hunter2")]),
            "header x-token is another value, not \"abc\""
        );
        let of = |body: &str| checks.why(Some(body.as_bytes()), 10, 1_000);
        let cases = [
            ("ready", "the body is not JSON that can be read: expected value"),
            (
                r#"{"state":"new","e":1e400}"#,
                "the body is not JSON that can be read: number out of range",
            ),
            (
                r#"{"state":18446744073709551617}"#,
                "$.state has a number of more than 64 bits; look at the `body` with `matches`",
            ),
            (r#"{"ready":1}"#, "there is no $.state"),
            (r#"{"state":"old"}"#, "$.state is \"old\", not \"new\""),
            (r#"{"state":{"pin":1}}"#, "$.state is another, not \"new\""),
            (r#"{"state":"new"}"#, "there is no $.secret"),
            (
                r#"{"state":"new","secret":"hunter2"}"#,
                "the body, 34 bytes, is another, which does not match \"ready\"",
            ),
            (
                r#"{"state":"new","secret":"ready"}"#,
                "there is nothing to extract as \"order\"",
            ),
            (
                r#"{"state":"new","secret":"ready","id":[18446744073709551617]}"#,
                "what is to be extracted as \"order\" has a number of more than 64 bits; extract it with `regex`",
            ),
        ];
        for (body, why) in cases {
            assert_eq!(of(body), why, "{body}");
        }
        assert_eq!(checks.why(None, 101, 0), "the body has 101 bytes, not 1..100");
        assert_eq!(checks.why(None, 10, 7_500), "it took 7.5ms, not within 5.0ms");
        assert!(checks.why(None, 10, 0).contains("longer than"));
    }

    #[test]
    fn plain_paths_become_pointers() {
        for (path, expected) in [
            ("$.a", Some("/a")),
            ("$.a.b_c[10].d", Some("/a/b_c/10/d")),
            ("$", Some("")),
            ("$..a", None),
            ("$.a[*]", None),
            ("$['a b']", None),
            ("$.a[-1]", None),
        ] {
            assert_eq!(pointer(path).as_deref(), expected, "{path}");
        }
    }
}
