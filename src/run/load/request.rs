//! Steps compiled for sending: templates are filled per request, everything constant is prepared once.
//! Knows nothing of connections; ids are unique over shards and runs.

use std::fmt::Write as _;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};

use crate::plan::{Part, Plan, Template};
use crate::recording::FailureKind;

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
}

/// The seeded choices and the id of one request.
pub struct Filling<'a> {
    /// Source of `random(min, max)`.
    pub random: &'a mut fastrand::Rng,
    /// `{{ unique }}`.
    pub unique: &'a str,
}

#[derive(Clone, Debug)]
enum Field<T> {
    Fixed(T),
    Varying(Template),
}

/// A step ready to be filled and sent.
#[derive(Clone, Debug)]
pub struct CompiledStep {
    method: Method,
    path: Template,
    headers: Vec<(HeaderName, Field<HeaderValue>)>,
    body: Option<Field<Bytes>>,
    /// Expected status; none means any below 400.
    pub expect_status: Option<u16>,
    /// Index of its ledger among the plan's ledgers in order.
    pub ledger: Option<u16>,
}

impl CompiledStep {
    /// Compiles every step of `plan`.
    pub fn all(plan: &Plan) -> Result<Vec<Self>, StepError> {
        let host = if plan.target.port == 80 {
            plan.target.host.clone()
        } else {
            format!("{}:{}", plan.target.host, plan.target.port)
        };
        plan.steps
            .iter()
            .map(|step| {
                let header_error = |header: &str| StepError::Header {
                    step: step.name.clone(),
                    header: header.to_owned(),
                };
                let value = |name: &str, text: &str| HeaderValue::from_str(text).map_err(|_| header_error(name));
                let method = Method::from_bytes(step.method.as_bytes()).map_err(|_| StepError::Method {
                    step: step.name.clone(),
                    method: step.method.clone(),
                })?;
                let mut headers = Vec::with_capacity(step.headers.len() + 2);
                for (name, template) in &step.headers {
                    let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| header_error(name))?;
                    let field = match constant(template) {
                        Some(text) => Field::Fixed(value(name, &text)?),
                        None => Field::Varying(template.clone()),
                    };
                    headers.push((header, field));
                }
                if !headers.iter().any(|(name, _)| name == HOST) {
                    headers.insert(0, (HOST, Field::Fixed(value("host", &host)?)));
                }
                let mut body = None;
                if let Some(written) = &step.body {
                    if !headers.iter().any(|(name, _)| name == CONTENT_TYPE) {
                        let content_type = value("content-type", &written.content_type)?;
                        headers.push((CONTENT_TYPE, Field::Fixed(content_type)));
                    }
                    body = Some(match constant(&written.template) {
                        Some(text) => Field::Fixed(Bytes::from(text)),
                        None => Field::Varying(written.template.clone()),
                    });
                }
                let ledger = step.ledger.as_ref().and_then(|name| {
                    let index = plan.ledgers.keys().position(|ledger| ledger == name)?;
                    u16::try_from(index).ok()
                });
                Ok(Self {
                    method,
                    path: step.path.clone(),
                    headers,
                    body,
                    expect_status: step.expect_status,
                    ledger,
                })
            })
            .collect()
    }

    /// Whether a request of it carries an id.
    #[must_use]
    pub fn needs_id(&self) -> bool {
        let varying = self.headers.iter().filter_map(|(_, field)| match field {
            Field::Varying(template) => Some(template),
            Field::Fixed(_) => None,
        });
        let body = match &self.body {
            Some(Field::Varying(template)) => Some(template),
            _ => None,
        };
        varying
            .chain(body)
            .chain([&self.path])
            .any(|template| template.parts.contains(&Part::Unique))
    }

    /// Why an answer of this status is a failure; none when it is the expected one.
    #[must_use]
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

    /// Whether sending it twice is the same as sending it once (RFC 9110, 9.2.2).
    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        self.method.is_idempotent()
    }

    /// One request of this step; none where the filled text cannot be sent.
    #[must_use]
    pub fn fill(&self, filling: &mut Filling<'_>) -> Option<Request<Full<Bytes>>> {
        let body = match &self.body {
            None => Bytes::new(),
            Some(Field::Fixed(bytes)) => bytes.clone(),
            Some(Field::Varying(template)) => Bytes::from(text(template, filling)),
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = Uri::try_from(text(&self.path, filling)).ok()?;
        let headers = request.headers_mut();
        headers.reserve(self.headers.len());
        for (name, field) in &self.headers {
            let value = match field {
                Field::Fixed(value) => value.clone(),
                Field::Varying(template) => HeaderValue::try_from(text(template, filling)).ok()?,
            };
            headers.append(name.clone(), value);
        }
        Some(request)
    }
}

fn constant(template: &Template) -> Option<String> {
    template
        .parts
        .iter()
        .map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

fn text(template: &Template, filling: &mut Filling<'_>) -> String {
    let mut out = String::with_capacity(64);
    for part in &template.parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Random(min, max) => {
                let number = filling.random.u64((*min).min(*max)..=*max);
                write!(out, "{number}").expect("writing to memory cannot fail");
            }
            Part::Unique => out.push_str(filling.unique),
            // Only a ledger's read path has an id; the plan allows it nowhere else.
            Part::Id => {}
        }
    }
    out
}

/// Ids no other request has: the run (seed and t0), the shard, and a counter.
#[derive(Clone, Debug)]
pub struct Ids {
    prefix: String,
    next: u64,
}

impl Ids {
    /// Ids of `shard` in the run that began at `t0_unix` (seconds).
    #[must_use]
    pub fn new(seed: u64, t0_unix: f64, shard: usize) -> Self {
        Self {
            prefix: format!("{seed:x}-{:x}-{shard}-", (t0_unix * 1000.0) as u64),
            next: 0,
        }
    }

    /// The next counter.
    pub fn take(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The id of a counter.
    #[must_use]
    pub fn text(&self, counter: u64) -> String {
        format!("{}{counter}", self.prefix)
    }
}
