//! Steps compiled for sending: everything constant is bytes already, holes are filled per request.
//! Knows nothing of connections.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};

use super::checks::{CheckError, Checks, Values};
use super::ids::Unique;
use super::redirect::Follow;
use crate::plan::{ConnectionUse, Encoding, Part, Plan, StepPlan, TargetPlan, Template};
use crate::recording::FailureKind;

const MEMORY: &str = "writing to memory cannot fail";

/// A step that cannot be sent as written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// Not an HTTP method.
    #[error("step {step:?}: {method:?} is not an HTTP method")]
    Method {
        /// Step name.
        step: String,
        /// As written.
        method: String,
    },
    /// Not a header name or value.
    #[error("step {step:?}: header {header:?} cannot be sent")]
    Header {
        /// Step name.
        step: String,
        /// Header name.
        header: String,
    },
    /// The length of a body is counted, never told.
    #[error("step {step:?}: {header:?} follows from the body and cannot be set")]
    Framing {
        /// Step name.
        step: String,
        /// Header name.
        header: String,
    },
    /// A check that cannot be compiled.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// Not a path.
    #[error("step {step:?}: {path:?} is not a path that can be sent; write `%20` for a space")]
    Path {
        /// Step name.
        step: String,
        /// As written.
        path: String,
    },
}

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
}

/// What a request is made of.
#[derive(Clone, Debug)]
enum Piece {
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
}

/// Where a value is put in; none of them lets it end the place it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
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

#[derive(Clone, Debug)]
enum Shape {
    /// The same bytes every time.
    Fixed(Box<[u8]>),
    Varying {
        head: Box<[Piece]>,
        body: Box<[Piece]>,
    },
}

/// A step ready to be filled and sent.
#[derive(Clone, Debug)]
pub struct CompiledStep {
    shape: Shape,
    idempotent: bool,
    to_head: bool,
    expect_status: Option<u16>,
    /// What it wants of an answer beyond its status; none where it wants nothing more.
    pub checks: Option<Checks>,
    /// How many values its journey keeps.
    pub variables: usize,
    /// The number of the value that keeps a pass's cookies; none where it keeps none.
    pub jar: Option<usize>,
    /// Redirects that are followed at most.
    pub redirects_max: u32,
    redirected: Option<Redirected>,
    method: Box<str>,
    /// Index of its ledger among the plan's ledgers in order.
    pub ledger: Option<u16>,
}

impl CompiledStep {
    /// Compiles every step of `plan`.
    pub fn all(plan: &Plan) -> Result<Vec<Self>, StepError> {
        let ledger = |step: &StepPlan| {
            let name = step.ledger.as_ref()?;
            let index = plan.ledgers.keys().position(|ledger| ledger == name)?;
            u16::try_from(index).ok()
        };
        let compile = |step: &StepPlan| {
            let step = &closing(step, plan.client.connections.used_by);
            let variables = variables(plan, step.journey);
            let method = Method::from_bytes(step.method.as_bytes()).map_err(|_| StepError::Method {
                step: step.name.clone(),
                method: step.method.clone(),
            })?;
            Ok(Self {
                shape: shape(step, &method, Line::Own, &plan.target, &variables)?,
                idempotent: method.is_idempotent(),
                to_head: method == Method::HEAD,
                expect_status: step.expect.status,
                checks: Checks::compile(step, &variables)?,
                variables: variables.len(),
                jar: jar(&variables),
                redirects_max: step.redirects,
                redirected: redirected(step, &plan.target, &variables)?,
                method: step.method.as_str().into(),
                ledger: ledger(step),
            })
        };
        plan.steps.iter().map(compile).collect()
    }

    /// Why an answer of this status is a failure; none when it is the expected one.
    #[must_use]
    #[inline]
    pub fn judge(&self, status: u16) -> Option<FailureKind> {
        let expected = match self.expect_status {
            Some(expected) => status == expected,
            None => status < 400,
        };
        match status {
            _ if expected => None,
            400..=499 => Some(FailureKind::Status4xx),
            500..=599 => Some(FailureKind::Status5xx),
            _ => Some(FailureKind::Expectation),
        }
    }

    /// Whether sending it twice is the same as sending it once (RFC 9110, section 9.2.2).
    #[must_use]
    #[inline]
    pub fn is_idempotent(&self) -> bool {
        self.idempotent
    }

    /// Whether it is a HEAD, whose response has no body.
    #[must_use]
    #[inline]
    pub fn is_to_head(&self) -> bool {
        self.to_head
    }

    /// Its method, upper case.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The bytes of the request that a redirect has made of it, to this path.
    pub fn fill_redirected<'a>(
        &'a self,
        follow: Follow,
        path: &str,
        filling: &mut Filling<'_>,
        scratch: &'a mut Scratch,
    ) -> &'a [u8] {
        let shape = match (&self.redirected, follow) {
            (Some(redirected), Follow::Get) => &redirected.get,
            (Some(redirected), Follow::Same) => &redirected.same,
            // Only steps that follow redirects are sent to another path.
            (None, _) => &self.shape,
        };
        let mut filling = Filling {
            random: filling.random,
            unique: filling.unique,
            values: filling.values,
            going: path,
        };
        shape.fill(&mut filling, scratch)
    }

    /// The bytes of one request of this step; `scratch` holds them where they differ from time to time.
    #[inline]
    pub fn fill<'a>(&'a self, filling: &mut Filling<'_>, scratch: &'a mut Scratch) -> &'a [u8] {
        self.shape.fill(filling, scratch)
    }
}

/// The step, saying that its connection is for this request alone where that is so.
fn closing(step: &StepPlan, connections: ConnectionUse) -> StepPlan {
    let mut step = step.clone();
    let says = |(name, _): &(String, Template)| name.eq_ignore_ascii_case("connection");
    if connections == ConnectionUse::PerRequest && !step.headers.iter().any(says) {
        let parts = vec![Part::Text("close".to_owned())];
        step.headers.push(("connection".to_owned(), Template { parts }));
    }
    step
}

/// A step's requests after a redirect.
#[derive(Clone, Debug)]
struct Redirected {
    get: Shape,
    same: Shape,
}

impl Shape {
    #[inline]
    fn fill<'a>(&'a self, filling: &mut Filling<'_>, scratch: &'a mut Scratch) -> &'a [u8] {
        let (head, body) = match self {
            Shape::Fixed(bytes) => return bytes,
            Shape::Varying { head, body } => (head, body),
        };
        scratch.body.clear();
        write(body, filling, 0, &mut scratch.body);
        scratch.request.clear();
        write(head, filling, scratch.body.len(), &mut scratch.request);
        scratch.request.extend_from_slice(&scratch.body);
        &scratch.request
    }
}

/// Memory for one request at a time.
#[derive(Debug, Default)]
pub struct Scratch {
    request: Vec<u8>,
    body: Vec<u8>,
}

fn write(pieces: &[Piece], filling: &mut Filling<'_>, body_length: usize, out: &mut Vec<u8>) {
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
            Piece::BodyLength => write!(out, "{body_length}").expect(MEMORY),
        }
    }
}

/// The names of everything a journey is fed and extracts; a value's number is its place among them.
fn variables(plan: &Plan, journey: usize) -> Vec<String> {
    let fed = plan.journeys.get(journey).into_iter().flat_map(|journey| &journey.feed);
    let columns = fed.filter_map(|feeder| plan.feeders.get(*feeder)).flat_map(|feeder| {
        let columns = feeder.table.columns().iter();
        columns.map(|column| format!("{}.{column}", feeder.name))
    });
    let steps = plan.steps.iter().filter(|step| step.journey == journey);
    let extracts = steps.flat_map(|step| &step.extract);
    let cookies = plan.journeys.get(journey).is_some_and(|journey| journey.cookies);
    let jar = cookies.then(|| JAR.to_owned());
    let extracted = extracts.map(|extract| extract.name.clone());
    columns.chain(extracted).chain(jar).collect()
}

/// No variable of a user's can be called so.
const JAR: &str = "(cookies)";

fn jar(variables: &[String]) -> Option<usize> {
    variables.iter().position(|variable| variable == JAR)
}

fn redirected(step: &StepPlan, target: &TargetPlan, variables: &[String]) -> Result<Option<Redirected>, StepError> {
    if step.redirects == 0 {
        return Ok(None);
    }
    let going = Line::Going;
    let method = |method: &str| if method == "HEAD" { Method::HEAD } else { Method::GET };
    let get = StepPlan {
        body: None,
        headers: step
            .headers
            .iter()
            .filter(|(name, _)| !name.to_ascii_lowercase().starts_with("content-"))
            .cloned()
            .collect(),
        ..step.clone()
    };
    let same = Method::from_bytes(step.method.as_bytes()).unwrap_or(Method::GET);
    Ok(Some(Redirected {
        get: shape(&get, &method(&step.method), going, target, variables)?,
        same: shape(step, &same, going, target, variables)?,
    }))
}

/// What stands in a request's first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// The step's own path.
    Own,
    /// Where a redirect leads.
    Going,
}

fn shape(
    step: &StepPlan,
    method: &Method,
    line: Line,
    target: &TargetPlan,
    variables: &[String],
) -> Result<Shape, StepError> {
    let mut pieces = Pieces::new(variables);
    pieces.text(method.as_str());
    pieces.text(" ");
    path(step)?;
    match line {
        Line::Own => pieces.template(&step.path, Place::Path),
        Line::Going => pieces.push(Piece::Going),
    }
    pieces.text(" HTTP/1.1\r\n");
    let has = |name: &str| step.headers.iter().any(|(header, _)| header.eq_ignore_ascii_case(name));
    if !has("host") {
        let host = match (target.scheme.as_str(), target.port) {
            ("http", 80) | ("https", 443) => target.host.clone(),
            (_, port) => format!("{}:{port}", target.host),
        };
        pieces.text(&format!("host: {host}\r\n"));
    }
    if !has("user-agent") {
        pieces.text(concat!("user-agent: tenfold/", env!("CARGO_PKG_VERSION"), "\r\n"));
    }
    if let Some(jar) = jar(variables).filter(|_| !has("cookie")) {
        pieces.push(Piece::Cookies(jar));
    }
    for (name, value) in &step.headers {
        header(step, name, value)?;
        pieces.text(name);
        pieces.text(": ");
        pieces.template(value, Place::Header);
        pieces.text("\r\n");
    }
    let mut body = Pieces::new(variables);
    if let Some(written) = &step.body {
        if !has("content-type") {
            pieces.text(&format!("content-type: {}\r\n", written.content_type));
        }
        let place = match written.encoding {
            Encoding::Plain => Place::Body,
            Encoding::Json => Place::Json,
            Encoding::Form => Place::Form,
        };
        body.template(&written.template, place);
    }
    // A method that is expected to carry a body says so when it carries none (RFC 9110, section 8.6).
    if step.body.is_some() || matches!(method.as_str(), "POST" | "PUT" | "PATCH") {
        pieces.text("content-length: ");
        match body.fixed() {
            Some(length) => pieces.text(&length.to_string()),
            None => pieces.push(Piece::BodyLength),
        }
        pieces.text("\r\n");
    }
    pieces.text("\r\n");
    Ok(match (pieces.fixed(), body.fixed()) {
        (Some(_), Some(_)) => Shape::Fixed([pieces.bytes(), body.bytes()].concat().into()),
        _ => Shape::Varying {
            head: pieces.done(),
            body: body.done(),
        },
    })
}

/// Only what a hole cannot bring in has to be checked: holes hold digits and ids.
fn path(step: &StepPlan) -> Result<(), StepError> {
    let bad = |text: &String| text.bytes().any(|byte| byte <= b' ' || byte == 0x7f);
    let texts = |template: &Template| {
        template.parts.iter().any(|part| match part {
            Part::Text(text) => bad(text),
            _ => false,
        })
    };
    if texts(&step.path) {
        return Err(StepError::Path {
            step: step.name.clone(),
            path: text_of(&step.path),
        });
    }
    Ok(())
}

fn header(step: &StepPlan, name: &str, value: &Template) -> Result<(), StepError> {
    let wrong = || StepError::Header {
        step: step.name.clone(),
        header: name.to_owned(),
    };
    if ["content-length", "transfer-encoding"]
        .iter()
        .any(|own| name.eq_ignore_ascii_case(own))
    {
        return Err(StepError::Framing {
            step: step.name.clone(),
            header: name.to_owned(),
        });
    }
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
    HeaderValue::from_str(&text_of(value)).map_err(|_| wrong())?;
    Ok(())
}

/// A template with its holes left out.
fn text_of(template: &Template) -> String {
    template
        .parts
        .iter()
        .filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

/// Pieces in which neighbouring bytes are one piece.
struct Pieces<'a> {
    pieces: Vec<Piece>,
    variables: &'a [String],
}

impl<'a> Pieces<'a> {
    fn new(variables: &'a [String]) -> Self {
        Self {
            pieces: Vec::new(),
            variables,
        }
    }

    fn text(&mut self, text: &str) {
        self.literal(text.as_bytes());
    }

    fn literal(&mut self, literal: &[u8]) {
        match self.pieces.last_mut() {
            Some(Piece::Bytes(bytes)) => *bytes = [&**bytes, literal].concat().into(),
            _ => self.pieces.push(Piece::Bytes(literal.into())),
        }
    }

    fn push(&mut self, piece: Piece) {
        self.pieces.push(piece);
    }

    fn template(&mut self, template: &Template, place: Place) {
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
    fn fixed(&self) -> Option<usize> {
        match self.pieces.as_slice() {
            [] => Some(0),
            [Piece::Bytes(bytes)] => Some(bytes.len()),
            _ => None,
        }
    }

    fn bytes(&self) -> &[u8] {
        match self.pieces.as_slice() {
            [Piece::Bytes(bytes)] => bytes,
            _ => &[],
        }
    }

    fn done(self) -> Box<[Piece]> {
        self.pieces.into()
    }
}
