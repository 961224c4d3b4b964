//! One HTTP/1.1 exchange as an observer makes it: what is asked, and whether the answer is a failure.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::request::Builder;
use tokio::sync::watch;

use crate::plan::{Part, TargetPlan, Template};
use crate::recording::FailureKind;
use crate::run::oauth2::Held;
use crate::run::sigv4::Signer;
use crate::run::tls::Tls;

/// What it takes to be let in by the target.
#[derive(Clone)]
pub struct Access {
    /// TLS, where it is spoken.
    pub tls: Option<Arc<Tls>>,
    /// Tokens as they are now.
    pub tokens: watch::Receiver<Arc<Held>>,
}

/// Lets in by a target that is spoken to in the clear and wants no tokens.
impl Default for Access {
    fn default() -> Self {
        let (_, tokens) = watch::channel(Arc::default());
        Self { tls: None, tokens }
    }
}

/// Why a status is a failure; none when it is the expected one.
pub(super) fn status_failure(status: u16, expected: Option<u16>) -> Option<FailureKind> {
    let fine = expected.map_or(status < 400, |expected| status == expected);
    match status {
        _ if fine => None,
        400..=499 => Some(FailureKind::Status4xx),
        500..=599 => Some(FailureKind::Status5xx),
        _ => Some(FailureKind::Expectation),
    }
}

/// Fills a template: random numbers by `random`, `{{ unique }}` and `{{ id }}` both with `id`, tokens with those held.
pub(super) fn fill(template: &Template, random: &mut fastrand::Rng, id: &str, tokens: &Held) -> Vec<u8> {
    let mut text = Vec::new();
    for part in &template.parts {
        match part {
            Part::Text(literal) => text.extend_from_slice(literal.as_bytes()),
            Part::Random(min, max) => {
                text.extend_from_slice(random.u64((*min).min(*max)..=*max).to_string().as_bytes())
            }
            Part::Unique | Part::Id => text.extend_from_slice(id.as_bytes()),
            Part::Bytes(bytes) => text.extend_from_slice(bytes),
            Part::Base64(inner) => text.extend_from_slice(STANDARD.encode(fill(inner, random, id, tokens)).as_bytes()),
            Part::Token(client) => text.extend_from_slice(tokens.token(*client, 0).as_bytes()),
            // The plan lets no probe use one, and has its environment filled in before it runs.
            Part::Variable(_) | Part::Number(_) | Part::Env(_) => {}
        }
    }
    text
}

/// The request with the fields that a signature adds; none where it cannot be signed.
pub(super) fn signed(request: Builder, body: Bytes, signer: Option<&Signer>) -> Option<Request<Full<Bytes>>> {
    let mut request = request.body(Full::new(body.clone())).ok()?;
    let Some(signer) = signer else { return Some(request) };
    let headers: Option<Vec<_>> = request
        .headers()
        .iter()
        .map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
        .collect();
    let path = request.uri().to_string();
    let fields = signer.fields(request.method().as_str(), &path, &headers?, &body)?;
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        request.headers_mut().insert(name, HeaderValue::from_str(&value).ok()?);
    }
    Some(request)
}

/// The Host header of the target.
pub(super) fn host_header(target: &TargetPlan) -> String {
    match (target.scheme.as_str(), target.port) {
        ("http", 80) | ("https", 443) => target.host.clone(),
        (_, port) => format!("{}:{port}", target.host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_judged_as_the_step_expects() {
        let cases = [
            (200, None, None),
            (201, Some(201), None),
            (200, Some(201), Some(FailureKind::Expectation)),
            (404, None, Some(FailureKind::Status4xx)),
            (404, Some(404), None),
            (503, None, Some(FailureKind::Status5xx)),
        ];
        for (status, expected, outcome) in cases {
            assert_eq!(status_failure(status, expected), outcome, "{status}");
        }
    }

    #[test]
    fn holes_are_filled() {
        let template = Template {
            parts: vec![
                Part::Text("/orders/".to_owned()),
                Part::Id,
                Part::Text("?n=".to_owned()),
                Part::Random(7, 7),
            ],
        };
        assert_eq!(
            fill(&template, &mut fastrand::Rng::with_seed(1), "o-1", &Held::default()),
            b"/orders/o-1?n=7"
        );
    }
}
