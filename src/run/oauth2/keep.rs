//! Keeps the tokens of all clients: gets them before the load begins, renews each before it ends, at different times, and
//! counts what was asked. Never faster than the identity provider is said to bear.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::ask::{Asker, Granted, TokenError};
use super::held::Held;
use crate::clock::RunClock;
use crate::event::{Event, Stamped};
use crate::plan::Plan;
use crate::recording::{Hist, TokenAccount};

/// The first wait after a token was not renewed; it doubles up to the second.
const BACKOFF: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Tokens of one age are renewed at times that differ by as much of their time.
const JITTER: f64 = 0.1;

/// The tokens that a run begins with.
pub struct Tokens {
    held: Arc<watch::Sender<Arc<Held>>>,
    clients: Vec<Arc<Client>>,
    slots: Vec<Slot>,
}

/// Tokens while they are renewed.
pub struct Keeping {
    renewals: JoinSet<()>,
    clients: Vec<Arc<Client>>,
}

impl Tokens {
    /// Gets every token that users share; the first that does not come is an error.
    pub async fn obtain(plan: &Plan) -> Result<Self, TokenError> {
        let mut held = Held::default();
        let (mut clients, mut slots) = (Vec::new(), Vec::new());
        for (number, asked) in plan.token_clients.iter().enumerate() {
            let client = Arc::new(Client {
                asker: Asker::new(asked, &plan.client.tls)?,
                spacing: asked.spacing,
                turn: tokio::sync::Mutex::new(None),
                account: Mutex::new(Account::default()),
            });
            for index in 0..asked.tokens as usize {
                let granted = client.ask(None).await?;
                held.put(number, index, Arc::from(&*granted.token));
                slots.push(Slot {
                    client: number,
                    index,
                    refresh_before: asked.refresh_before,
                    random: fastrand::Rng::with_seed(plan.seed ^ (number as u64) << 32 ^ index as u64),
                    granted,
                });
            }
            clients.push(client);
        }
        Ok(Self {
            held: Arc::new(watch::Sender::new(Arc::new(held))),
            clients,
            slots,
        })
    }

    /// The tokens as they are at any time.
    #[must_use]
    pub fn held(&self) -> watch::Receiver<Arc<Held>> {
        self.held.subscribe()
    }

    /// Renews them from now on, on the current runtime.
    #[must_use]
    pub fn keep(self, clock: RunClock, events: &mpsc::Sender<Stamped>) -> Keeping {
        let mut renewals = JoinSet::new();
        for slot in self.slots {
            let renewing = Renewing {
                client: Arc::clone(&self.clients[slot.client]),
                held: Arc::clone(&self.held),
                clock,
                events: events.clone(),
                slot,
            };
            renewals.spawn(renewing.go_on());
        }
        Keeping {
            renewals,
            clients: self.clients,
        }
    }
}

impl Keeping {
    /// Renews no more, and says what was asked, by client.
    #[must_use]
    pub fn end(mut self) -> Vec<TokenAccount> {
        self.renewals.abort_all();
        let account = |client: &Arc<Client>| client.account().written(client.asker.url());
        self.clients.iter().map(account).collect()
    }
}

/// Who asks for tokens.
struct Client {
    asker: Asker,
    /// Between two requests at least.
    spacing: Duration,
    /// When the last request had its turn.
    turn: tokio::sync::Mutex<Option<Instant>>,
    account: Mutex<Account>,
}

impl Client {
    /// Asks when it is its turn.
    async fn ask(&self, refresh: Option<&str>) -> Result<Granted, TokenError> {
        self.wait_for_turn().await;
        let began = Instant::now();
        let answer = self.asker.ask(refresh).await;
        self.account().take(began.elapsed(), answer.as_ref().err());
        answer
    }

    async fn wait_for_turn(&self) {
        let mut turn = self.turn.lock().await;
        if let Some(last) = *turn {
            tokio::time::sleep_until((last + self.spacing).into()).await;
        }
        *turn = Some(Instant::now());
    }

    /// Counts stay right whoever panicked with them.
    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was asked, while the run goes on.
struct Account {
    asked: u64,
    failed: BTreeMap<String, u64>,
    took: Histogram<u64>,
    /// For how long tokens were over that have been renewed since.
    expired: Duration,
    /// When the tokens that are over ended, by their place.
    over: BTreeMap<usize, Instant>,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            asked: 0,
            failed: BTreeMap::new(),
            took: Hist::working(),
            expired: Duration::ZERO,
            over: BTreeMap::new(),
        }
    }
}

impl Account {
    fn take(&mut self, took: Duration, error: Option<&TokenError>) {
        self.asked += 1;
        self.took.saturating_record(took.as_micros() as u64);
        if let Some(error) = error {
            *self.failed.entry(error.name()).or_default() += 1;
        }
    }

    fn written(&self, token_url: String) -> TokenAccount {
        TokenAccount {
            token_url,
            asked: self.asked,
            failed: self.failed.clone(),
            took: Hist::encode(&self.took),
            expired: self
                .over
                .values()
                .fold(self.expired, |all, ended| all + ended.elapsed()),
        }
    }
}

/// One token, and when it is to be renewed.
struct Slot {
    client: usize,
    index: usize,
    refresh_before: Duration,
    random: fastrand::Rng,
    granted: Granted,
}

impl Slot {
    fn ends(&self) -> Instant {
        self.granted.asked + self.granted.lasts
    }

    /// A token that lasts no longer than it is to be renewed before its end has half of its time.
    fn renewed(&mut self) -> Instant {
        let lasts = self.granted.lasts;
        let after = lasts.saturating_sub(self.refresh_before).max(lasts / 2);
        self.granted.asked + after.mul_f64(1.0 - JITTER * self.random.f64())
    }

    fn backoff(&mut self, failures: u32) -> Duration {
        let whole = BACKOFF.saturating_mul(1 << failures.min(8)).min(BACKOFF_MAX);
        whole.mul_f64(0.5 + self.random.f64() / 2.0)
    }
}

struct Renewing {
    client: Arc<Client>,
    held: Arc<watch::Sender<Arc<Held>>>,
    clock: RunClock,
    events: mpsc::Sender<Stamped>,
    slot: Slot,
}

impl Renewing {
    async fn go_on(mut self) {
        let mut failures = 0;
        let mut due = self.slot.renewed();
        loop {
            tokio::time::sleep_until(due.into()).await;
            match self.renew().await {
                Ok(granted) => {
                    if failures > 0 {
                        self.tell(|token_url| Event::TokenRenewed { token_url });
                    }
                    self.replace(granted);
                    failures = 0;
                    due = self.slot.renewed();
                }
                Err(error) => {
                    let reason = error.name();
                    self.tell(|token_url| Event::TokenNotRenewed { token_url, reason });
                    let now = Instant::now();
                    due = now + self.slot.backoff(failures);
                    failures += 1;
                    let ends = self.slot.ends();
                    if now < ends {
                        // It is tried once more when it is over.
                        due = due.min(ends);
                    } else {
                        self.end_token(ends);
                    }
                }
            }
        }
    }

    /// Asks with what came with the last token for this; where that does not count any more, as at first.
    async fn renew(&mut self) -> Result<Granted, TokenError> {
        if let Some(refresh) = self.slot.granted.refresh.take()
            && let Ok(granted) = self.client.ask(Some(&refresh)).await
        {
            let refresh = granted.refresh.or(Some(refresh));
            return Ok(Granted { refresh, ..granted });
        }
        self.client.ask(None).await
    }

    fn replace(&mut self, granted: Granted) {
        let Slot { client, index, .. } = self.slot;
        let token = Arc::from(&*granted.token);
        self.held
            .send_modify(|held| Arc::make_mut(held).put(client, index, token));
        let mut account = self.client.account();
        if let Some(ended) = account.over.remove(&index) {
            account.expired += ended.elapsed();
        }
        drop(account);
        self.slot.granted = granted;
    }

    /// The token is over, and there is no other.
    fn end_token(&self, ends: Instant) {
        let before = self.client.account().over.insert(self.slot.index, ends);
        if before.is_none() {
            self.tell(|token_url| Event::TokenExpired { token_url });
        }
    }

    /// An event for which there is no room is missed by the time axis only: all of it is counted too.
    fn tell(&self, event: impl FnOnce(String) -> Event) {
        let at = self.clock.elapsed();
        let event = event(self.client.asker.url());
        let _ = self.events.try_send(Stamped { at, event });
    }
}
