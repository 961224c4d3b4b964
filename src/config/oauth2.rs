//! Tokens of OAuth 2.0 by client credentials (RFC 6749, section 4.4): `auth: { oauth2: ... }`. The client's secret stands
//! in the environment, and only its name in a file.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::auth::{same_for_all, secret};
use super::decode::{self, Fields};
use super::entry::Entry;
use super::error::{Mistake, Sink};
use super::journey::Journey;
use super::node::Node;
use super::stages::{Load, Stage};
use super::template::Piece;

/// As many tokens as one client may share among its users.
const SHARED_MAX: u64 = 1_000;
/// Before its end a token is renewed by so much, unless the profile says otherwise.
const REFRESH_BEFORE: Duration = Duration::from_secs(30);
/// Token requests per second at most, unless the profile says otherwise.
const RATE: f64 = 20.0;

/// A client that gets tokens for its users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth2 {
    /// Where it asks.
    pub token_url: Entry,
    /// Its identifier.
    pub client_id: Vec<Piece>,
    /// Its secret.
    pub client_secret: Vec<Piece>,
    /// What the token is for, as the identity provider calls it.
    pub scope: Option<String>,
    /// Whom the token is for; an extension that several identity providers want.
    pub audience: Option<String>,
    /// How the client names itself.
    pub credentials: CredentialsIn,
    /// Who has them.
    pub tokens: TokenUse,
    /// How long before its end a token is renewed, real time.
    pub refresh_before: Duration,
    /// Between two token requests at least, real time.
    pub spacing: Duration,
}

/// Where a token request has the client's identifier and secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialsIn {
    /// In an Authorization header, as every identity provider must understand.
    Header,
    /// In the body.
    Form,
}

/// Who has the tokens of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenUse {
    /// All users share so many.
    Shared(u32),
    /// Each user has its own.
    PerUser,
}

const CREDENTIALS: [(&str, CredentialsIn); 2] = [("header", CredentialsIn::Header), ("form", CredentialsIn::Form)];

/// Reads `oauth2`.
pub(super) fn oauth2(node: &Node, sink: &mut Sink) -> Option<OAuth2> {
    let mut fields = Fields::of(node, "`oauth2`", sink)?;
    let token_url = fields.require("token_url", "https://id.example.com/oauth/token", sink);
    let client_id = fields.require("client_id", "load-test", sink);
    let client_secret = fields.require("client_secret", "\"{{ env(CLIENT_SECRET) }}\"", sink);
    let scope = fields.take("scope").and_then(|node| decode::text(node, sink));
    let audience = fields.take("audience").and_then(|node| decode::text(node, sink));
    let credentials = fields
        .take("credentials")
        .map(|node| decode::choice(node, "place of credentials", &CREDENTIALS, sink));
    let tokens = fields.take("tokens").map(|node| tokens(node, sink));
    let refresh_before = fields.take("refresh_before").map(|node| decode::duration(node, sink));
    let rate = fields.take("rate");
    fields.finish(sink);
    let token_url = token_url.and_then(|node| url(node, sink));
    let client_id = client_id.and_then(|node| same_for_all(node, sink));
    let client_secret = client_secret.and_then(|node| secret(node, "CLIENT_SECRET", sink));
    let spacing = rate.map_or(Some(spacing(RATE)), |node| {
        let rate = decode::rate(node, sink)?;
        if !(0.01..=10_000.0).contains(&rate) {
            let hint = "write 0.01/s to 10_000/s; ask the identity provider's owner what it bears";
            sink.push(Mistake::at(&node.place, "this is no rate to ask for tokens at").hint(hint));
            return None;
        }
        Some(spacing(rate))
    });
    Some(OAuth2 {
        token_url: token_url?,
        client_id: client_id?,
        client_secret: client_secret?,
        scope,
        audience,
        credentials: credentials.unwrap_or(Some(CredentialsIn::Header))?,
        tokens: tokens.unwrap_or(Some(TokenUse::Shared(1)))?,
        refresh_before: refresh_before.unwrap_or(Some(REFRESH_BEFORE))?,
        spacing: spacing?,
    })
}

fn spacing(rate: f64) -> Duration {
    Duration::from_secs_f64(1.0 / rate)
}

fn url(node: &Node, sink: &mut Sink) -> Option<Entry> {
    let text = decode::text(node, sink)?;
    Entry::read(&text)
        .map_err(|error| sink.push(Mistake::at(&node.place, error.message).hint(error.hint)))
        .ok()
}

/// `shared`, how many, or `per_user`.
fn tokens(node: &Node, sink: &mut Sink) -> Option<TokenUse> {
    let text = decode::text(node, sink)?;
    match text.as_str() {
        "shared" => return Some(TokenUse::Shared(1)),
        "per_user" => return Some(TokenUse::PerUser),
        _ => {}
    }
    let count = text.replace('_', "").parse().ok();
    let count = count.filter(|count| (1..=SHARED_MAX).contains(count));
    if count.is_none() {
        let hint = format!("write `shared`, `per_user`, or how many tokens users share: 1 to {SHARED_MAX}");
        sink.push(Mistake::at(&node.place, format!("{text:?} is no number of tokens")).hint(hint));
    }
    count.and_then(|count| u32::try_from(count).ok()).map(TokenUse::Shared)
}

/// Arrivals come once, so that each would ask for a token, however many come.
pub(super) fn check_arrivals(node: &Node, stages: &[Stage], journeys: &[&Journey], sink: &mut Sink) {
    let arrivals = stages.iter().any(|stage| !matches!(stage.load, Load::Users(_)));
    let steps = journeys.iter().flat_map(|journey| &journey.steps);
    let mut pieces = steps.flat_map(|step| &step.headers).flat_map(|(_, value)| value);
    let own = |piece: &Piece| matches!(piece, Piece::Token(client) if client.tokens == TokenUse::PerUser);
    if arrivals && pieces.any(own) {
        let hint = "write `tokens: 100`, or as many as they are to share";
        sink.push(Mistake::at(&node.place, "arrivals come once, and have no tokens `per_user`").hint(hint));
    }
}
