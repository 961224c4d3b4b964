//! One token request and its answer. No error says more of an answer than the names that RFC 6749 has for errors, since
//! anything else in it may be a secret.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use form_urlencoded::{Serializer, byte_serialize};
use http_body_util::Full;
use hyper::Request;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use serde::Deserialize;
use tokio::time::timeout;

use crate::plan::{CredentialsIn, OAuth2Plan, TlsSettings};
use crate::recording::FailureKind;
use crate::run::http1::Connection;
use crate::run::tls::{Tls, TlsError};

/// Real time that a lookup, a connect and an answer may take each: an identity provider does not live in the lab.
const PATIENCE: Duration = Duration::from_secs(5);
/// Addresses that are tried.
const ADDRESSES_MAX: usize = 3;
/// How long a token lasts whose answer does not say it.
const LASTS: Duration = Duration::from_secs(3600);
/// Longer is as good as for ever.
const LASTS_MAX: f64 = 365.0 * 86_400.0;
/// What the standard calls errors (RFC 6749, sections 4.1.2.1 and 5.2), and what audiences add (RFC 8707).
const ERRORS: [&str; 11] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "access_denied",
    "server_error",
    "temporarily_unavailable",
    "invalid_target",
    "unsupported_token_type",
];

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// No answer came.
    #[error("no token from {url}: {}", why(*.kind))]
    Unanswered {
        /// Who was asked.
        url: String,
        /// What happened instead.
        kind: FailureKind,
    },
    /// The answer is a refusal.
    #[error("no token from {url}: {}status {status}{}", said(*.name), remedy(*.name))]
    Refused {
        /// Who was asked.
        url: String,
        /// The standard's name for why, where the answer gives one.
        name: Option<&'static str>,
        /// Status.
        status: u16,
    },
    /// The answer holds no token that can be sent.
    #[error("no token from {url}: {what}")]
    Unusable {
        /// Who was asked.
        url: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The client cannot be named in a request.
    #[error("{url} cannot be asked with this client_id")]
    Client {
        /// Who was to be asked.
        url: String,
    },
    /// TLS cannot be spoken.
    #[error("{url} cannot be asked")]
    Tls {
        /// Who was to be asked.
        url: String,
        /// Why.
        source: TlsError,
    },
}

impl TokenError {
    /// What it is counted as.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            TokenError::Unanswered { kind, .. } => why(*kind).to_owned(),
            TokenError::Refused { name: Some(name), .. } => (*name).to_owned(),
            TokenError::Refused { status, .. } => format!("status {status}"),
            TokenError::Unusable { what, .. } => (*what).to_owned(),
            TokenError::Client { .. } | TokenError::Tls { .. } => "not asked".to_owned(),
        }
    }

    /// Whether it is the identity provider that is not there, rather than the profile that is wrong.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        match self {
            TokenError::Unanswered { .. } => true,
            TokenError::Refused { status, .. } => *status >= 500,
            _ => false,
        }
    }
}

fn why(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Dns => "its host has no address",
        FailureKind::Refused => "connection refused",
        FailureKind::ConnectTimeout => "no connection in time",
        FailureKind::Tls => "no TLS; it is verified as client.tls says",
        FailureKind::Timeout => "no answer in time",
        FailureKind::Reset => "no whole answer",
        _ => "the answer is not HTTP",
    }
}

fn said(name: Option<&str>) -> String {
    name.map_or_else(String::new, |name| format!("{name}, "))
}

fn remedy(name: Option<&str>) -> &'static str {
    match name.unwrap_or_default() {
        "invalid_client" => {
            "\nhint: look at client_id and at the variable of client_secret; some want `credentials: form`"
        }
        "invalid_scope" => "\nhint: look at scope",
        "invalid_target" => "\nhint: look at audience",
        _ => "",
    }
}

/// A token as it was granted.
pub(super) struct Granted {
    /// Itself.
    pub(super) token: Box<str>,
    /// When it was asked for: it may count from then on.
    pub(super) asked: Instant,
    /// How long it lasts.
    pub(super) lasts: Duration,
    /// What it can be renewed with; hardly any client of this kind gets one.
    pub(super) refresh: Option<Box<str>>,
}

impl Granted {
    /// When it is over.
    pub(super) fn ends(&self) -> Instant {
        self.asked + self.lasts
    }
}

/// Asks for the tokens of one client.
pub(super) struct Asker {
    plan: OAuth2Plan,
    tls: Option<Tls>,
    authorization: Option<HeaderValue>,
}

impl Asker {
    /// Asks as the plan says, whose environment is filled in.
    pub(super) fn new(plan: &OAuth2Plan, tls: &TlsSettings) -> Result<Self, TokenError> {
        let url = plan.token_url.shown();
        let tls = match plan.token_url.scheme.as_str() {
            "https" => Some(Tls::to_host(&plan.token_url.host, tls)),
            _ => None,
        };
        let tls = tls.transpose().map_err(|source| TokenError::Tls {
            url: url.clone(),
            source,
        })?;
        let authorization = match plan.credentials {
            CredentialsIn::Header => Some(basic(plan).ok_or(TokenError::Client { url })?),
            CredentialsIn::Form => None,
        };
        Ok(Self {
            plan: plan.clone(),
            tls,
            authorization,
        })
    }

    /// Who is asked.
    pub(super) fn url(&self) -> String {
        self.plan.token_url.shown()
    }

    /// Gets a token, in exchange for what an earlier answer gave for it where there is such a thing.
    pub(super) async fn ask(&self, refresh: Option<&str>) -> Result<Granted, TokenError> {
        let asked = Instant::now();
        let unanswered = |kind| TokenError::Unanswered { url: self.url(), kind };
        let mut connection = self.connect().await.map_err(unanswered)?;
        let request = self.request(refresh);
        let answer = connection.send(request, PATIENCE).await.map_err(unanswered)?;
        self.read(answer.status().as_u16(), answer.body(), asked)
    }

    async fn connect(&self) -> Result<Connection, FailureKind> {
        let url = &self.plan.token_url;
        let looked_up = timeout(PATIENCE, tokio::net::lookup_host((url.host.as_str(), url.port))).await;
        let addresses: Vec<SocketAddr> = match looked_up {
            Ok(Ok(addresses)) => addresses.take(ADDRESSES_MAX).collect(),
            _ => return Err(FailureKind::Dns),
        };
        let mut failure = FailureKind::Dns;
        for address in addresses {
            match Connection::open(address, PATIENCE, self.tls.as_ref()).await {
                Ok(connection) => return Ok(connection),
                Err(kind) => failure = kind,
            }
        }
        Err(failure)
    }

    fn request(&self, refresh: Option<&str>) -> Request<Full<Bytes>> {
        let plan = &self.plan;
        let url = &plan.token_url;
        let mut form = Serializer::new(String::new());
        match refresh {
            Some(refresh) => form
                .append_pair("grant_type", "refresh_token")
                .append_pair("refresh_token", refresh),
            None => form.append_pair("grant_type", "client_credentials"),
        };
        let optional = [("scope", &plan.scope), ("audience", &plan.audience)];
        for (name, value) in optional {
            form.extend_pairs(value.iter().map(|value| (name, value)));
        }
        if self.authorization.is_none() {
            form.append_pair("client_id", &plan.client_id.text())
                .append_pair("client_secret", &plan.client_secret.text());
        }
        let host = match (url.scheme.as_str(), url.port) {
            ("http", 80) | ("https", 443) => url.host.clone(),
            (_, port) if url.host.contains(':') => format!("[{}]:{port}", url.host),
            (_, port) => format!("{}:{port}", url.host),
        };
        let mut request = Request::new(Full::from(form.finish()));
        *request.method_mut() = hyper::Method::POST;
        // What cannot be asked for is answered as what it is: not found.
        *request.uri_mut() = url.path.parse().unwrap_or_default();
        let headers = request.headers_mut();
        headers.extend(HeaderValue::from_str(&host).ok().map(|host| (HOST, host)));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        let agent = concat!("tenfold/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        headers.extend(self.authorization.clone().map(|value| (AUTHORIZATION, value)));
        request
    }

    fn read(&self, status: u16, body: &[u8], asked: Instant) -> Result<Granted, TokenError> {
        let url = || self.url();
        if status != 200 {
            let said = serde_json::from_slice::<Refusal>(body).unwrap_or_default();
            let known = ERRORS.into_iter().find(|name| *name == said.error);
            return Err(TokenError::Refused {
                url: url(),
                name: known,
                status,
            });
        }
        let unusable = |what| TokenError::Unusable { url: url(), what };
        let answer: Answer =
            serde_json::from_slice(body).map_err(|_| unusable("the answer is no JSON with an access_token"))?;
        if !answer.token_type.is_none_or(|kind| kind.eq_ignore_ascii_case("bearer")) {
            return Err(unusable("its token_type is not Bearer"));
        }
        let sendable = |token: &str| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        if !sendable(&answer.access_token) {
            return Err(unusable("its access_token cannot be sent in a header"));
        }
        let lasts = match answer.expires_in.as_ref().map(Number::seconds) {
            None => LASTS,
            Some(seconds) if seconds > 0.0 => Duration::from_secs_f64(seconds.min(LASTS_MAX)),
            Some(_) => return Err(unusable("its token is over at once")),
        };
        Ok(Granted {
            token: answer.access_token.into(),
            asked,
            lasts,
            refresh: answer.refresh_token.map(Into::into),
        })
    }
}

/// The client in an Authorization header: each part is written as in a form first (RFC 6749, section 2.3.1).
fn basic(plan: &OAuth2Plan) -> Option<HeaderValue> {
    let written = |text: String| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!(
        "{}:{}",
        written(plan.client_id.text()),
        written(plan.client_secret.text())
    );
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    token_type: Option<String>,
    expires_in: Option<Number>,
    refresh_token: Option<String>,
}

/// Some write numbers as texts.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(f64),
    Text(String),
}

impl Number {
    fn seconds(&self) -> f64 {
        match self {
            Number::Number(number) => *number,
            Number::Text(text) => text.trim().parse().unwrap_or_default(),
        }
    }
}

#[derive(Default, Deserialize)]
struct Refusal {
    error: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Entry, Part, Template};

    fn plan(credentials: CredentialsIn) -> OAuth2Plan {
        let text = |text: &str| Template {
            parts: vec![Part::Text(text.to_owned())],
        };
        OAuth2Plan {
            token_url: Entry {
                scheme: "http".to_owned(),
                host: "127.0.0.1".to_owned(),
                port: 8080,
                path: "/token?key=query-secret".to_owned(),
            },
            client_id: text("load:test"),
            client_secret: text("s p&c ret"),
            scope: Some("a b".to_owned()),
            audience: None,
            credentials,
            tokens: crate::plan::TokenUse::Shared(1),
            refresh_before: Duration::from_secs(30),
            spacing: Duration::ZERO,
        }
    }

    fn asker(credentials: CredentialsIn) -> Asker {
        Asker::new(&plan(credentials), &TlsSettings::default()).expect("nothing is wrong with it")
    }

    fn read(status: u16, body: &str) -> Result<Granted, TokenError> {
        asker(CredentialsIn::Form).read(status, body.as_bytes(), Instant::now())
    }

    #[tokio::test]
    async fn the_client_names_itself_in_the_header_or_in_the_form() {
        use http_body_util::BodyExt as _;
        let body = |request: Request<Full<Bytes>>| async {
            let bytes = request.into_body().collect().await.expect("it is there").to_bytes();
            String::from_utf8(bytes.to_vec()).expect("a form is text")
        };
        let in_header = asker(CredentialsIn::Header).request(None);
        let value = in_header.headers()[AUTHORIZATION].to_str().expect("it is text");
        let pair = STANDARD
            .decode(value.trim_start_matches("Basic "))
            .expect("it is Base64");
        assert_eq!(pair, b"load%3Atest:s+p%26c+ret");
        assert_eq!(in_header.uri(), "/token?key=query-secret");
        assert_eq!(body(in_header).await, "grant_type=client_credentials&scope=a+b");
        let in_form = asker(CredentialsIn::Form).request(Some("r-1"));
        assert!(!in_form.headers().contains_key(AUTHORIZATION));
        assert_eq!(
            body(in_form).await,
            "grant_type=refresh_token&refresh_token=r-1&scope=a+b&client_id=load%3Atest&client_secret=s+p%26c+ret"
        );
    }

    #[test]
    fn answers_are_read_as_identity_providers_write_them() {
        for (body, lasts) in [
            (r#"{"access_token":"t","token_type":"bearer","expires_in":7.5}"#, 7.5),
            (
                r#"{"access_token":"t","token_type":"Bearer","expires_in":"60","scope":"a"}"#,
                60.0,
            ),
            (r#"{"access_token":"t"}"#, 3600.0),
            (r#"{"access_token":"t","expires_in":1e300}"#, LASTS_MAX),
        ] {
            let granted = read(200, body).unwrap_or_else(|error| panic!("{body}: {error}"));
            assert_eq!((&*granted.token, granted.lasts.as_secs_f64()), ("t", lasts), "{body}");
            assert!(granted.refresh.is_none());
        }
    }

    #[test]
    fn what_is_no_token_is_named_without_what_the_answer_says() {
        for (status, body, name) in [
            (
                401,
                r#"{"error":"invalid_client","error_description":"s p&c ret"}"#,
                "invalid_client",
            ),
            (400, r#"{"error":"s p&c ret"}"#, "status 400"),
            (503, "query-secret", "status 503"),
            (302, "", "status 302"),
            (200, "s p&c ret", "no JSON"),
            (200, r#"{"token":"s p&c ret"}"#, "no JSON"),
            (200, r#"{"access_token":""}"#, "cannot be sent"),
            (200, r#"{"access_token":"a\r\nb: c"}"#, "cannot be sent"),
            (200, r#"{"access_token":"t","token_type":"mac"}"#, "not Bearer"),
            (200, r#"{"access_token":"t","expires_in":-1}"#, "over at once"),
            (200, r#"{"access_token":"t","expires_in":"soon"}"#, "over at once"),
        ] {
            let error = read(status, body).err().unwrap_or_else(|| panic!("{body} is taken"));
            assert!(error.name().contains(name), "{body}: {}", error.name());
            assert_eq!(error.is_unreachable(), status == 503, "{body}");
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("p&c") && !shown.contains("query-secret"), "{shown}");
        }
    }
}
