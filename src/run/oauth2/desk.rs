//! Where users get tokens of their own: they ask, wait, and are told. Never faster than the identity provider is said to bear,
//! and slower while it fails.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Instant;

use tokio::sync::mpsc;

/// Requests that wait at most; each shard has far fewer.
const WANTS_MAX: usize = 65_536;

/// One user's token of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    /// Of the plan's clients.
    pub client: u16,
    /// Index of the user's load.
    pub load: u16,
    /// The user's row there.
    pub row: u32,
}

/// A token for a user.
pub struct UserToken {
    /// Itself.
    pub token: Box<str>,
    /// From when on it is to be renewed.
    pub renew_at: Instant,
    /// When it is over.
    pub ends: Instant,
}

/// What came of asking for a user's token; none where none came.
pub type Given = (Holder, Option<UserToken>);

/// What a shard's users were given since it looked; it is woken for each.
pub struct Inbox {
    given: Mutex<Vec<Given>>,
    waker: Waker,
}

impl Inbox {
    /// An empty one that wakes by `waker`.
    #[must_use]
    pub fn new(waker: Waker) -> Arc<Self> {
        Arc::new(Self {
            given: Mutex::default(),
            waker,
        })
    }

    /// Takes everything out.
    #[must_use]
    pub fn take(&self) -> Vec<Given> {
        std::mem::take(&mut *self.given.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, given: Given) {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).push(given);
        self.waker.wake_by_ref();
    }
}

/// A user that waits.
pub(super) struct Want {
    holder: Holder,
    inbox: Arc<Inbox>,
}

impl Want {
    pub(super) fn answer(self, token: Option<UserToken>) {
        self.inbox.put((self.holder, token));
    }
}

/// Takes the users' requests, by client.
#[derive(Clone, Debug, Default)]
pub struct Desk {
    clients: Vec<mpsc::Sender<Want>>,
}

impl Desk {
    /// Adds the next client; its requests come out of what this gives.
    pub(super) fn add(&mut self) -> mpsc::Receiver<Want> {
        let (wants, asked) = mpsc::channel(WANTS_MAX);
        self.clients.push(wants);
        asked
    }

    /// A user asks; false where there is no room for it.
    #[must_use]
    pub fn ask(&self, holder: Holder, inbox: &Arc<Inbox>) -> bool {
        let want = Want {
            holder,
            inbox: Arc::clone(inbox),
        };
        let client = self.clients.get(usize::from(holder.client));
        client.is_some_and(|client| client.try_send(want).is_ok())
    }
}
