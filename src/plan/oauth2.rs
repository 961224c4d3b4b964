//! Clients that get tokens for their users, by OAuth 2.0 client credentials; each once, however many steps send its tokens.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Template;
use crate::config::entry::Entry;
use crate::config::oauth2::{CredentialsIn, OAuth2, TokenUse};
use crate::config::template::Piece;
use crate::config::{Profile, Step};
use crate::units::seconds;

/// A client that gets tokens for its users.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OAuth2Plan {
    /// Where it asks.
    pub token_url: Entry,
    /// Its identifier.
    pub client_id: Template,
    /// Its secret: the name of its variable, until the environment is filled in.
    pub client_secret: Template,
    /// What tokens are for, as the identity provider calls it.
    pub scope: Option<String>,
    /// Whom they are for.
    pub audience: Option<String>,
    /// How the client names itself.
    pub credentials: CredentialsIn,
    /// Who has them.
    pub tokens: TokenUse,
    /// How long before its end a token is renewed, real time.
    #[serde(with = "seconds")]
    pub refresh_before: Duration,
    /// Between two token requests at least, real time.
    #[serde(with = "seconds")]
    pub spacing: Duration,
}

impl OAuth2Plan {
    /// The texts that the environment may have a part in.
    pub(super) fn templates(&mut self) -> impl Iterator<Item = &mut Template> {
        [&mut self.client_id, &mut self.client_secret].into_iter()
    }
}

/// The clients whose tokens a profile's steps and ledgers send; a token in a header is that of one of them.
pub(super) fn clients(profile: &Profile) -> Vec<OAuth2> {
    let steps = profile.journeys.iter().flat_map(|journey| &journey.steps);
    let of_steps = steps.flat_map(|step: &Step| &step.headers);
    let of_ledgers = profile.ledgers.iter().flat_map(|ledger| &ledger.headers);
    let mut clients: Vec<OAuth2> = Vec::new();
    for piece in of_steps.chain(of_ledgers).flat_map(|(_, value)| value) {
        match piece {
            Piece::Token(client) if !clients.contains(client) => clients.push((**client).clone()),
            _ => {}
        }
    }
    clients
}
