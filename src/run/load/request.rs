//! Steps compiled for sending: everything constant is bytes already, holes are filled per request.
//! Knows nothing of connections.

use std::borrow::Cow;
use std::sync::Arc;

use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};

use super::checks::{CheckError, Checks};
use super::door::door_of;
use super::grpc::{self, CallError, Services};
use super::pieces::{Filling, Piece, Pieces, Place, write};
use super::redirect::Follow;
use super::spoken::Spoken;
use crate::plan::{
    CONNECTION_FIELDS, Coding, ConnectionUse, Encoding, Part, Plan, Protocol, StepPlan, TargetPlan, Template,
};
use crate::recording::FailureKind;
use crate::run::coding::encode;
use crate::run::sigv4::Signer;

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
    /// HTTP/2 has fields about requests only.
    #[error(
        "step {step:?}: {header:?} is about the connection, which HTTP/2 does not let a request speak of\nhint: leave it out"
    )]
    Connection {
        /// Step name.
        step: String,
        /// Header name.
        header: String,
    },
    /// Sessions and streams of events are spoken over HTTP/1.1.
    #[error("step {step:?} is spoken over HTTP/1.1, and the client speaks HTTP/2\nhint: leave `client.http` out")]
    OverHttp1 {
        /// Step name.
        step: String,
    },
    /// Calls are streams of HTTP/2.
    #[error("step {step:?} calls over HTTP/2, and the client speaks HTTP/1.1\nhint: add `client: {{ http: 2 }}`")]
    OverHttp2 {
        /// Step name.
        step: String,
    },
    /// A call of gRPC that cannot be made.
    #[error(transparent)]
    Call(#[from] CallError),
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

#[derive(Clone, Debug)]
enum Shape {
    /// The same bytes every time.
    Fixed(Box<[u8]>),
    Varying {
        head: Box<[Piece]>,
        body: Box<[Piece]>,
    },
    /// Something is done to it once it is filled.
    Finished(Box<Finished>),
}

/// A request that is not ready to be sent when it is filled.
#[derive(Clone, Debug)]
struct Finished {
    head: Box<[Piece]>,
    body: Box<[Piece]>,
    /// What the body is sent in.
    compress: Option<Coding>,
    /// Who signs it; every time it is sent, for a signature is good for minutes.
    signer: Option<Arc<Signer>>,
}

impl Finished {
    fn fill<'a>(&self, filling: &mut Filling<'_>, scratch: &'a mut Scratch) -> &'a [u8] {
        scratch.body.clear();
        write(&self.body, filling, 0, &mut scratch.body);
        if let Some(coding) = self.compress {
            scratch.body = encode(coding, &scratch.body);
        }
        scratch.request.clear();
        write(&self.head, filling, scratch.body.len(), &mut scratch.request);
        if let Some(signer) = &self.signer {
            signer.sign_head(&mut scratch.request, &scratch.body);
        }
        scratch.request.extend_from_slice(&scratch.body);
        &scratch.request
    }
}

/// A step ready to be filled and sent.
#[derive(Clone, Debug)]
pub struct CompiledStep {
    method: Method,
    /// What it speaks.
    pub spoken: Spoken,
    /// The way that its connections take.
    pub door: u32,
    shape: Shape,
    expect_status: Option<u16>,
    /// What it wants of an answer beyond its status; none where it wants nothing more.
    pub checks: Option<Checks>,
    /// Somebody wants more of an answer's head than status, server and coding.
    pub looks_at_heads: bool,
    /// How many values its journey keeps.
    pub variables: usize,
    /// The number of the value that keeps a pass's cookies; none where it keeps none.
    pub jar: Option<usize>,
    /// Redirects that are followed at most.
    pub redirects_max: u32,
    redirected: Option<Redirected>,
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
        let services = Services::of(plan)?;
        let compile = |step: &StepPlan| {
            let step = &closing(step, plan.client.connections.used_by);
            let (step, call) = &match services.prepare(step, plan.pace)? {
                Some((step, call)) => (Cow::Owned(step), Some(call)),
                None => (Cow::Borrowed(&**step), None),
            };
            if plan.client.connections.http2.is_some() {
                without_connection_fields(step)?;
            }
            let variables = variables(plan, step.journey);
            let method = Method::from_bytes(step.method.as_bytes()).map_err(|_| StepError::Method {
                step: step.name.clone(),
                method: step.method.clone(),
            })?;
            let checks = Checks::compile(step, &variables)?;
            Ok(Self {
                shape: shape(step, &method, Line::Own, &plan.target, &variables)?,
                expect_status: grpc::wanted(step).or(step.expect.status),
                looks_at_heads: step.redirects > 0
                    || jar(&variables).is_some()
                    || checks.as_ref().is_some_and(Checks::need_head),
                variables: variables.len(),
                jar: jar(&variables),
                redirects_max: step.redirects,
                redirected: redirected(step, &method, &plan.target, &variables)?,
                ledger: ledger(step),
                spoken: match (call, plan.client.connections.http2) {
                    (Some(call), Some(_)) => {
                        let keeps = checks.as_ref().is_some_and(Checks::needs_body);
                        Spoken::Grpc(Arc::new(call.clone().keeping(keeps)))
                    }
                    (Some(_), None) => {
                        return Err(StepError::OverHttp2 {
                            step: step.name.clone(),
                        });
                    }
                    (None, Some(_)) if step.protocol == Protocol::Http => Spoken::Http2,
                    (None, Some(_)) if !matches!(step.protocol, Protocol::Tcp(_)) => {
                        return Err(StepError::OverHttp1 {
                            step: step.name.clone(),
                        });
                    }
                    (None, _) => Spoken::compile(step, plan.pace)?,
                },
                checks,
                door: door_of(plan, step),
                method,
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
            grpc::STATUS.. => Some(FailureKind::Grpc),
            _ => Some(FailureKind::Expectation),
        }
    }

    /// A status that is not the expected one, in words.
    #[must_use]
    pub fn unexpected(&self, status: u16) -> String {
        let (name, base) = match status {
            grpc::STATUS.. => ("grpc-status", grpc::STATUS),
            _ => ("status", 0),
        };
        let found = status - base;
        match self.expect_status {
            Some(expected) => format!("{name} {found}, not {}", expected.saturating_sub(base)),
            None => format!("{name} {found}"),
        }
    }

    /// Whether sending it twice is the same as sending it once (RFC 9110, section 9.2.2).
    #[must_use]
    #[inline]
    pub fn is_idempotent(&self) -> bool {
        self.method.is_idempotent()
    }

    /// Whether it is a HEAD, whose response has no body.
    #[must_use]
    #[inline]
    pub fn is_to_head(&self) -> bool {
        self.method == Method::HEAD
    }

    /// What its user does after an answer of this status that the step does not take as its answer; none where the
    /// answer is the step's own.
    #[must_use]
    #[inline]
    pub fn follows(&self, status: u16) -> Option<Follow> {
        match self.redirects_max {
            0 => None,
            _ => Follow::of(status, &self.method),
        }
    }

    /// The bytes of one request of this step, or of what redirects have made of it; `scratch` holds them where they
    /// differ from time to time.
    #[inline]
    pub fn fill<'a>(&'a self, follow: Option<Follow>, filling: &mut Filling<'_>, scratch: &'a mut Scratch) -> &'a [u8] {
        let shape = match (&self.redirected, follow) {
            (Some(redirected), Some(Follow::Get)) => &redirected.get,
            (Some(redirected), Some(Follow::Same)) => &redirected.same,
            // Only steps that follow redirects are sent to another path.
            _ => &self.shape,
        };
        shape.fill(filling, scratch)
    }
}

/// HTTP/2 forbids them, and a server may close the connection over one (RFC 9113, section 8.2.2).
fn without_connection_fields(step: &StepPlan) -> Result<(), StepError> {
    let is_one = |name: &str| CONNECTION_FIELDS.iter().any(|field| name.eq_ignore_ascii_case(field));
    match step.headers.iter().find(|(name, _)| is_one(name)) {
        None => Ok(()),
        Some((name, _)) => Err(StepError::Connection {
            step: step.name.clone(),
            header: name.clone(),
        }),
    }
}

/// The step, saying that its connection is for this request alone where that is so.
fn closing(step: &StepPlan, connections: ConnectionUse) -> Cow<'_, StepPlan> {
    let says = |(name, _): &(String, Template)| name.eq_ignore_ascii_case("connection");
    if connections != ConnectionUse::PerRequest || step.headers.iter().any(says) {
        return Cow::Borrowed(step);
    }
    let mut step = step.clone();
    match &mut step.protocol {
        Protocol::Http => {}
        Protocol::Tcp(tcp) => {
            tcp.close = true;
            return Cow::Owned(step);
        }
        // Nobody uses the connection of a stream again, and calls share theirs.
        Protocol::Events(_) | Protocol::WebSocket(_) | Protocol::Grpc(_) => return Cow::Owned(step),
    }
    let parts = vec![Part::Text("close".to_owned())];
    step.headers.push(("connection".to_owned(), Template { parts }));
    Cow::Owned(step)
}

/// A step's requests after a redirect.
#[derive(Clone, Debug)]
struct Redirected {
    get: Shape,
    same: Shape,
}

/// Memory for one request at a time.
#[derive(Debug, Default)]
pub struct Scratch {
    request: Vec<u8>,
    body: Vec<u8>,
}

impl Shape {
    fn of(head: Pieces<'_>, body: Pieces<'_>) -> Self {
        match (head.fixed(), body.fixed()) {
            (Some(_), Some(_)) => Self::Fixed([head.bytes(), body.bytes()].concat().into()),
            _ => Self::Varying {
                head: head.done(),
                body: body.done(),
            },
        }
    }

    #[inline]
    fn fill<'a>(&'a self, filling: &mut Filling<'_>, scratch: &'a mut Scratch) -> &'a [u8] {
        let (head, body) = match self {
            Shape::Fixed(bytes) => return bytes,
            Shape::Varying { head, body } => (head, body),
            Shape::Finished(finished) => return finished.fill(filling, scratch),
        };
        scratch.body.clear();
        write(body, filling, 0, &mut scratch.body);
        scratch.request.clear();
        write(head, filling, scratch.body.len(), &mut scratch.request);
        scratch.request.extend_from_slice(&scratch.body);
        &scratch.request
    }
}

/// The names of everything a journey is fed and extracts; a value's number is its place among them.
pub(super) fn variables(plan: &Plan, journey: usize) -> Vec<String> {
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

/// The number of the value that keeps a pass's cookies.
pub(super) fn jar(variables: &[String]) -> Option<usize> {
    variables.iter().position(|variable| variable == JAR)
}

fn redirected(
    step: &StepPlan,
    method: &Method,
    target: &TargetPlan,
    variables: &[String],
) -> Result<Option<Redirected>, StepError> {
    if step.redirects == 0 {
        return Ok(None);
    }
    let about_body = |name: &str| name.to_ascii_lowercase().starts_with("content-");
    let headers = step.headers.iter().filter(|(name, _)| !about_body(name));
    let bodyless = StepPlan {
        headers: headers.cloned().collect(),
        sign: step.sign.clone(),
        body: None,
        name: step.name.clone(),
        ..StepPlan::default()
    };
    let get = if *method == Method::HEAD {
        &Method::HEAD
    } else {
        &Method::GET
    };
    Ok(Some(Redirected {
        get: shape(&bodyless, get, Line::Going, target, variables)?,
        same: shape(step, method, Line::Going, target, variables)?,
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
    if step.protocol.is_in_session() || matches!(step.protocol, Protocol::Tcp(_)) {
        return Ok(bare(step, variables));
    }
    let mut pieces = Pieces::new(variables);
    pieces.text(method.as_str());
    pieces.text(" ");
    path(step)?;
    match line {
        Line::Own => pieces.path(&step.path),
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
    let mut compress = step.body.as_ref().and_then(|body| body.compress);
    if let Some(written) = &step.body {
        if !has("content-type") {
            pieces.text(&format!("content-type: {}\r\n", written.content_type));
        }
        body.template(&written.template, place_of(written.encoding));
        if let Some(coding) = written.compress {
            if !has("content-encoding") {
                pieces.text(&format!("content-encoding: {}\r\n", coding.name()));
            }
            // What is the same every time is compressed once.
            if body.fixed().is_some() {
                body = Pieces::of(&encode(coding, body.bytes()));
                compress = None;
            }
        }
    }
    // A method that is expected to carry a body says so when it carries none (RFC 9110, section 8.6).
    let is_counted = step.body.is_some() || matches!(method.as_str(), "POST" | "PUT" | "PATCH");
    // What a call sends is only made of the body that is filled here, and says its length itself.
    if is_counted && !matches!(step.protocol, Protocol::Grpc(_)) {
        pieces.text("content-length: ");
        match body.fixed().filter(|_| compress.is_none()) {
            Some(length) => pieces.text(&length.to_string()),
            None => pieces.push(Piece::BodyLength),
        }
        pieces.text("\r\n");
    }
    pieces.text("\r\n");
    let signer = step.sign.as_ref().map(|sign| Arc::new(Signer::new(sign)));
    if compress.is_some() || signer.is_some() {
        return Ok(Shape::Finished(Box::new(Finished {
            head: pieces.done(),
            body: body.done(),
            compress,
            signer,
        })));
    }
    Ok(Shape::of(pieces, body))
}

/// Of a protocol that frames its messages itself: only what the step sends.
fn bare(step: &StepPlan, variables: &[String]) -> Shape {
    let mut body = Pieces::new(variables);
    if let Some(written) = &step.body {
        body.template(&written.template, place_of(written.encoding));
    }
    Shape::of(Pieces::new(variables), body)
}

fn place_of(encoding: Encoding) -> Place {
    match encoding {
        Encoding::Plain => Place::Body,
        Encoding::Json => Place::Json,
        Encoding::Form => Place::Form,
    }
}

/// Only what a hole cannot bring in has to be checked: values are escaped.
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
