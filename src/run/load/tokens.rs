//! The tokens that a shard's users send: those they share, and those of their own, which each user asks for before its first
//! pass, and before a later one when its own is to be renewed. Who waits for a token is no pass yet, and its wait is no
//! part of any latency. Where nobody has a token of its own, nothing is kept.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::passes::Owner;
use crate::plan::{Part, Plan, TokenUse};
use crate::run::oauth2::{Desk, Held, Holder, Inbox, UserToken};

/// Requests of one shard under way at a time; the others wait here, where each takes eight bytes.
const UNDER_WAY_MAX: usize = 64;

/// What one shard's users have and wait for.
pub struct UserTokens {
    /// Those they share.
    pub held: Arc<Held>,
    desk: Desk,
    inbox: Arc<Inbox>,
    /// By load: the clients of which each user has a token of its own.
    wanted: Vec<Vec<u16>>,
    own: HashMap<Holder, Own>,
    /// Users who begin no pass before they get a token.
    waiting: HashSet<(u16, u32)>,
    line: VecDeque<Holder>,
    under_way: usize,
}

/// What a user has of one client.
#[derive(Default)]
struct Own {
    token: Option<UserToken>,
    asked: bool,
    /// The last request brought none.
    failed: bool,
    refused: Refused,
}

/// Whether the target has refused a user's token: that is reason to get another, once.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Refused {
    #[default]
    Never,
    This,
    TheOneBefore,
}

impl UserTokens {
    /// Nobody has any; `waker` is for those who get some.
    #[must_use]
    pub fn new(plan: &Plan, desk: Desk, waker: Waker) -> Self {
        let wanted = plan
            .each_load()
            .iter()
            .map(|load| wanted(plan, &load.journeys))
            .collect();
        Self {
            held: Arc::default(),
            desk,
            inbox: Inbox::new(waker),
            wanted,
            own: HashMap::new(),
            waiting: HashSet::new(),
            line: VecDeque::new(),
            under_way: 0,
        }
    }

    /// What a pass sends as its token of a client.
    #[must_use]
    #[inline]
    pub fn token(&self, client: usize, owner: Owner, counter: u64) -> &str {
        let user = match owner {
            Owner::User { load, row } => {
                if let Some(token) = self.own_token(client, load, row) {
                    return token;
                }
                u64::from(row)
            }
            Owner::Arrival => counter,
        };
        self.held.token(client, user)
    }

    fn own_token(&self, client: usize, load: u16, row: u32) -> Option<&str> {
        // Hardly any load has some.
        if self.own.is_empty() {
            return None;
        }
        let client = u16::try_from(client).ok()?;
        let own = self.own.get(&Holder { client, load, row })?;
        own.token.as_ref().map(|token| &*token.token)
    }

    /// Whether users of a load have tokens of their own.
    #[must_use]
    #[inline]
    pub fn are_own(&self, load: usize) -> bool {
        !self.wanted[load].is_empty()
    }

    /// Whether a user that is to begin a pass waits for a token instead; it is told by [`UserTokens::given`]. Asks for
    /// what is missing or is to be renewed.
    #[must_use]
    pub fn waits(&mut self, load: usize, row: u32) -> bool {
        let now = Instant::now();
        let mut waits = false;
        for client in &self.wanted[load] {
            let holder = Holder {
                client: *client,
                load: load as u16,
                row,
            };
            let own = self.own.entry(holder).or_default();
            let (due, over) = match &own.token {
                None => (true, true),
                // One that is over, and cannot be renewed, is sent on: what the target says to it is the answer.
                Some(token) => (now >= token.renew_at, now >= token.ends && !own.failed),
            };
            if due && !own.asked {
                own.asked = true;
                self.line.push_back(holder);
            }
            waits |= over;
        }
        if waits {
            self.waiting.insert((load as u16, row));
        }
        self.ask();
        waits
    }

    /// Lets the next in line ask.
    fn ask(&mut self) {
        while self.under_way < UNDER_WAY_MAX
            && let Some(holder) = self.line.front()
            && self.desk.ask(*holder, &self.inbox)
        {
            self.line.pop_front();
            self.under_way += 1;
        }
    }

    /// Takes what was given, and tells `ready` the load and row of each user that waits no longer: to look again what it has.
    pub fn given(&mut self, mut ready: impl FnMut(usize, u32)) {
        // Nobody has asked.
        if self.under_way == 0 {
            return;
        }
        for (holder, token) in self.inbox.take() {
            self.under_way -= 1;
            if let Some(own) = self.own.get_mut(&holder) {
                own.take(token);
            }
            if self.waiting.remove(&(holder.load, holder.row)) {
                ready(usize::from(holder.load), holder.row);
            }
        }
        self.ask();
    }

    /// The target has refused what the user sent (401).
    pub fn refused(&mut self, owner: Owner) {
        let Owner::User { load, row } = owner else { return };
        for client in &self.wanted[usize::from(load)] {
            let client = *client;
            if let Some(own) = self.own.get_mut(&Holder { client, load, row }) {
                own.refuse();
            }
        }
    }

    /// The user has left.
    pub fn forget(&mut self, load: usize, row: u32) {
        for client in &self.wanted[load] {
            self.own.remove(&Holder {
                client: *client,
                load: load as u16,
                row,
            });
        }
    }
}

impl Own {
    fn take(&mut self, token: Option<UserToken>) {
        (self.asked, self.failed) = (false, token.is_none());
        if token.is_some() {
            self.token = token;
            self.refused = match self.refused {
                Refused::This => Refused::TheOneBefore,
                _ => Refused::Never,
            };
        }
    }

    fn refuse(&mut self) {
        if let (Some(token), Refused::Never) = (&mut self.token, self.refused) {
            let now = Instant::now();
            (token.renew_at, token.ends) = (now, now);
            self.refused = Refused::This;
        }
    }
}

/// The clients of which each user of these journeys has a token of its own.
fn wanted(plan: &Plan, journeys: &[usize]) -> Vec<u16> {
    let journeys = journeys.iter().filter_map(|journey| plan.journeys.get(*journey));
    let steps = journeys
        .flat_map(|journey| &journey.steps)
        .filter_map(|step| plan.steps.get(*step));
    let parts = steps.flat_map(|step| &step.headers).flat_map(|(_, value)| &value.parts);
    let own = |client: &usize| {
        let client = plan.token_clients.get(*client);
        client.is_some_and(|client| client.tokens == TokenUse::PerUser)
    };
    let mut clients: Vec<u16> = parts
        .filter_map(|part| match part {
            Part::Token(client) if own(client) => u16::try_from(*client).ok(),
            _ => None,
        })
        .collect();
    clients.sort_unstable();
    clients.dedup();
    clients
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn token(text: &str) -> Option<UserToken> {
        let far = Instant::now() + Duration::from_secs(3600);
        Some(UserToken {
            token: text.into(),
            renew_at: far,
            ends: far,
        })
    }

    #[test]
    fn a_refused_token_is_replaced_once() {
        let over = |own: &Own| own.token.as_ref().is_some_and(|token| token.ends <= Instant::now());
        let mut own = Own::default();
        own.take(token("first"));
        own.refuse();
        assert!(over(&own));
        own.take(token("second"));
        own.refuse();
        assert!(!over(&own), "the target says no to whatever it is");
        own.take(token("third"));
        own.refuse();
        assert!(over(&own));
    }

    #[test]
    fn a_token_that_is_over_stays_until_another_comes() {
        let mut own = Own::default();
        own.take(None);
        assert!(own.failed && own.token.is_none());
        own.take(token("first"));
        own.take(None);
        assert!(own.failed && own.token.is_some());
    }
}
