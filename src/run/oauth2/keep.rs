//! Keeps the tokens of all clients: gets them before the load begins, renews each before it ends, at different times, and
//! counts what was asked. Never faster than the identity provider is said to bear.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::ask::{Asker, Granted, TokenError};
use super::desk::{Desk, UserToken, Want};
use super::held::Held;
use crate::clock::RunClock;
use crate::event::{Event, Stamped};
use crate::plan::{Plan, TokenUse};
use crate::recording::{Hist, TokenAccount};

/// The first wait after a token was not renewed; it doubles up to the second.
const BACKOFF: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Tokens of one age are renewed at times that differ by as much of their time.
const JITTER: f64 = 0.1;
/// Requests for users' own tokens under way at a time.
const UNDER_WAY_MAX: usize = 64;

/// The tokens that a run begins with.
pub struct Tokens {
    held: Arc<watch::Sender<Arc<Held>>>,
    clients: Vec<Arc<Client>>,
    slots: Vec<Slot>,
    desk: Desk,
    wants: Vec<mpsc::Receiver<Want>>,
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
        let (mut desk, mut wants) = (Desk::default(), Vec::new());
        for (number, asked) in plan.token_clients.iter().enumerate() {
            let client = Arc::new(Client {
                asker: Asker::new(asked, &plan.client.tls)?,
                spacing: asked.spacing,
                turn: tokio::sync::Mutex::new(None),
                account: Mutex::new(Account::default()),
                refresh_before: asked.refresh_before,
                per_user: asked.tokens == TokenUse::PerUser,
            });
            // Where users have their own, probes and reads still need one.
            let count = match asked.tokens {
                TokenUse::Shared(count) => count,
                TokenUse::PerUser => 1,
            };
            for index in 0..count as usize {
                let granted = client.ask(None).await?;
                held.put(number, index, Arc::from(&*granted.token));
                slots.push(Slot {
                    client: number,
                    index,
                    random: fastrand::Rng::with_seed(plan.seed ^ (number as u64) << 32 ^ index as u64),
                    granted,
                });
            }
            clients.push(client);
            wants.push(desk.add());
        }
        Ok(Self {
            held: Arc::new(watch::Sender::new(Arc::new(held))),
            clients,
            slots,
            desk,
            wants,
        })
    }

    /// The tokens as they are at any time.
    #[must_use]
    pub fn held(&self) -> watch::Receiver<Arc<Held>> {
        self.held.subscribe()
    }

    /// Where users get tokens of their own once [`Tokens::keep`] serves them.
    #[must_use]
    pub fn desk(&self) -> Desk {
        self.desk.clone()
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
        for (client, wants) in self.clients.iter().zip(self.wants) {
            if client.per_user {
                let events = events.clone();
                renewals.spawn(serve(Arc::clone(client), wants, clock, events));
            }
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
    refresh_before: Duration,
    per_user: bool,
    /// When the last request had its turn.
    turn: tokio::sync::Mutex<Option<Instant>>,
    account: Mutex<Account>,
}

impl Client {
    /// Asks when it is its turn.
    async fn ask(&self, refresh: Option<&str>) -> Result<Granted, TokenError> {
        self.wait_for_turn().await;
        self.ask_now(refresh).await
    }

    async fn ask_now(&self, refresh: Option<&str>) -> Result<Granted, TokenError> {
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

    /// When a token is to be renewed. One that lasts no longer than it is to be renewed before its end has half of its time.
    fn renewed(&self, granted: &Granted, random: &mut fastrand::Rng) -> Instant {
        let after = granted.lasts.saturating_sub(self.refresh_before).max(granted.lasts / 2);
        granted.asked + after.mul_f64(1.0 - JITTER * random.f64())
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
    random: fastrand::Rng,
    granted: Granted,
}

impl Slot {
    fn renewed(&mut self, client: &Client) -> Instant {
        client.renewed(&self.granted, &mut self.random)
    }
}

/// How long to wait after so many failures before the last one.
fn backoff(failures: u32, random: &mut fastrand::Rng) -> Duration {
    let whole = BACKOFF.saturating_mul(1 << failures.min(8)).min(BACKOFF_MAX);
    whole.mul_f64(0.5 + random.f64() / 2.0)
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
        let mut due = self.slot.renewed(&self.client);
        loop {
            tokio::time::sleep_until(due.into()).await;
            match self.renew().await {
                Ok(granted) => {
                    if failures > 0 {
                        self.tell(|token_url| Event::TokenRenewed { token_url });
                    }
                    self.replace(granted);
                    failures = 0;
                    due = self.slot.renewed(&self.client);
                }
                Err(error) => {
                    let reason = error.name();
                    self.tell(|token_url| Event::TokenNotRenewed { token_url, reason });
                    let now = Instant::now();
                    due = now + backoff(failures, &mut self.slot.random);
                    failures += 1;
                    let ends = self.slot.granted.ends();
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

    fn tell(&self, event: impl FnOnce(String) -> Event) {
        tell(&self.events, self.clock, event(self.client.asker.url()));
    }
}

/// An event for which there is no room is missed by the time axis only: all of it is counted too.
fn tell(events: &mpsc::Sender<Stamped>, clock: RunClock, event: Event) {
    let at = clock.elapsed();
    let _ = events.try_send(Stamped { at, event });
}

/// Gets users tokens of their own, in the order in which they ask.
async fn serve(client: Arc<Client>, mut wants: mpsc::Receiver<Want>, clock: RunClock, events: mpsc::Sender<Stamped>) {
    let mut random = fastrand::Rng::new();
    let mut under_way: JoinSet<Result<(), String>> = JoinSet::new();
    let mut failures = 0;
    loop {
        // While it fails, one request at a time shows whether it still does.
        let at_a_time = if failures > 0 { 1 } else { UNDER_WAY_MAX };
        tokio::select! {
            biased;
            Some(done) = under_way.join_next() => match done {
                Ok(Err(reason)) => {
                    if failures == 0 {
                        let token_url = client.asker.url();
                        tell(&events, clock, Event::TokenNotRenewed { token_url, reason });
                    }
                    failures += 1;
                }
                _ if failures > 0 => {
                    let token_url = client.asker.url();
                    tell(&events, clock, Event::TokenRenewed { token_url });
                    failures = 0;
                }
                _ => {}
            },
            Some(want) = wants.recv(), if under_way.len() < at_a_time => {
                if failures > 0 {
                    tokio::time::sleep(backoff(failures - 1, &mut random)).await;
                }
                client.wait_for_turn().await;
                let (client, mut random) = (Arc::clone(&client), random.fork());
                under_way.spawn(async move {
                    let granted = client.ask_now(None).await;
                    let reason = granted.as_ref().err().map(TokenError::name);
                    want.answer(granted.ok().map(|granted| UserToken {
                        renew_at: client.renewed(&granted, &mut random),
                        ends: granted.ends(),
                        token: granted.token,
                    }));
                    reason.map_or(Ok(()), Err)
                });
            }
            else => return,
        }
    }
}
