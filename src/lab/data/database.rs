//! A database as its clients feel it: orders in memory, a primary that serves, hangs or is fenced, and a standby
//! that has every acknowledged write or lags behind. When it changes state is decided in `dynamics`.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::watch;

use super::gate::Gate;
use super::stats::{DatabaseMinute, Recorder};
use crate::clock::Clock;
use crate::lab::config::Range;
use crate::lab::truth::{Truth, TruthState, What};

/// What a statement meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseState {
    /// Reads and writes are answered.
    Serving,
    /// Statements hang, old and new.
    Hung,
    /// Open statements get a connection reset; new connections are refused.
    Fenced,
}

/// Why a statement failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseError {
    /// The connection was reset while the statement was open.
    #[error("connection reset by the database")]
    Reset,
    /// Nothing listens at the address.
    #[error("connection refused by the database")]
    Refused,
}

/// A record in the orders table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// What was ordered, as the client wrote it (JSON).
    pub item: String,
}

/// The data and the reachability of an RDS instance or of an Aurora cluster.
#[derive(Debug)]
pub struct Database {
    region: String,
    id: String,
    statement_time: Duration,
    /// By how much those who may take over lag behind; none where they have every write.
    lag: Option<Range>,
    /// What statements from other Regions pass, by the second and third octet of the address they go to.
    gates: BTreeMap<[u8; 2], Arc<Gate>>,
    clock: Clock,
    truth: Truth,
    state: watch::Sender<DatabaseState>,
    /// Where the endpoint's record points; a statement to any other address is refused.
    primary: Mutex<Ipv4Addr>,
    orders: Mutex<Orders>,
    writes: AtomicU64,
    write_latency: Recorder,
    open: AtomicU64,
    most_open: AtomicU64,
}

#[derive(Debug, Default)]
struct Orders {
    records: HashMap<String, Order>,
    /// Acknowledged writes that the standby may lack: id and the cloud time at which it has them.
    in_flight: VecDeque<(String, f64)>,
    /// When the primary stopped, and with it replication; none while it serves.
    stopped_at: Option<f64>,
    /// The standby applies in order, so a write arrives no earlier than the one before it.
    last_arrival: f64,
    random: fastrand::Rng,
}

impl Database {
    /// The database of a Region and an identifier.
    pub(crate) fn new(
        (region, id): (String, String),
        address: Ipv4Addr,
        statement_time: Duration,
        lag: Option<Range>,
        clock: Clock,
        truth: Truth,
        seed: u64,
    ) -> Self {
        let orders = Orders {
            random: fastrand::Rng::with_seed(seed),
            ..Orders::default()
        };
        Self {
            region,
            id,
            statement_time,
            lag,
            gates: BTreeMap::new(),
            clock,
            truth,
            state: watch::Sender::new(DatabaseState::Serving),
            primary: Mutex::new(address),
            orders: Mutex::new(orders),
            writes: AtomicU64::new(0),
            write_latency: Recorder::new(),
            open: AtomicU64::new(0),
            most_open: AtomicU64::new(0),
        }
    }

    /// The same, written to from several Regions: a subnet that is silent takes no statements and sends no writes on.
    pub(crate) fn behind(mut self, gates: BTreeMap<[u8; 2], Arc<Gate>>) -> Self {
        self.gates = gates;
        self
    }

    fn gate(&self, address: Ipv4Addr) -> Option<&Arc<Gate>> {
        let [_, region, az, _] = address.octets();
        self.gates.get(&[region, az])
    }

    /// The Region that an address of a database lies in which several Regions write to.
    pub(crate) fn region_of(&self, address: Ipv4Addr) -> Option<&str> {
        self.gate(address).map(|gate| gate.region.as_str())
    }

    /// Notes that the primary's subnet went silent, and its replication with it, or that it is back.
    pub(crate) fn follow_silence(&self) {
        let Some(gate) = self.gate(self.endpoint_address()) else {
            return;
        };
        let mut orders = self.orders();
        if gate.is_silent() {
            orders.stopped_at.get_or_insert(self.clock.cloud_unix());
        } else if self.state() == DatabaseState::Serving {
            orders.stopped_at = None;
        }
    }

    /// What a statement meets now.
    #[must_use]
    pub fn state(&self) -> DatabaseState {
        *self.state.borrow()
    }

    /// Changes what statements meet; writes `down` to the truth when writes stop and `up` when they are accepted again.
    pub fn set_state(&self, state: DatabaseState) {
        let served = |state| state == DatabaseState::Serving;
        let mut orders = self.orders();
        let before = self.state.send_replace(state);
        if served(state) {
            orders.stopped_at = None;
        } else {
            orders.stopped_at.get_or_insert(self.clock.cloud_unix());
        }
        drop(orders);
        if served(before) != served(state) {
            let truth = if served(state) {
                TruthState::Up
            } else {
                TruthState::Down
            };
            let detail = json!({"address": self.endpoint_address().to_string()});
            self.truth.write(What::Database, &self.id, &self.region, truth, detail);
        }
    }

    /// Points the endpoint's record at a new primary; clients follow within the record's TTL.
    pub fn move_endpoint(&self, address: Ipv4Addr) {
        *self.primary.lock().unwrap_or_else(PoisonError::into_inner) = address;
    }

    /// Where the endpoint's record points.
    #[must_use]
    pub fn endpoint_address(&self) -> Ipv4Addr {
        *self.primary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says in the truth that the standby has everything again.
    pub fn mark_redundant(&self) {
        self.truth
            .write(What::Database, &self.id, &self.region, TruthState::Redundant, json!({}));
    }

    /// Promotes the standby: with asynchronous replication, drops the acknowledged writes that had not reached it when
    /// the primary stopped, writes their ids to the truth and returns them. Synchronous replication loses nothing.
    pub fn lose_unreplicated(&self) -> Vec<String> {
        let mut orders = self.orders();
        let now = orders.stopped_at.unwrap_or_else(|| self.clock.cloud_unix());
        let in_flight = std::mem::take(&mut orders.in_flight);
        let mut lost: Vec<String> = in_flight
            .into_iter()
            .filter(|(_, at)| *at > now)
            .map(|(id, _)| id)
            .collect();
        // An order written twice is lost once.
        lost.retain(|id| orders.records.remove(id).is_some());
        drop(orders);
        if !lost.is_empty() {
            self.truth.write(
                What::Database,
                &self.id,
                &self.region,
                TruthState::Lost,
                json!({ "ids": lost }),
            );
        }
        lost
    }

    /// How many orders it holds.
    #[must_use]
    pub fn order_count(&self) -> usize {
        self.orders().records.len()
    }

    /// Writes an order through a connection to `address`; hangs while the database hangs.
    pub async fn write(&self, address: Ipv4Addr, id: &str, order: Order) -> Result<(), DatabaseError> {
        let began = Instant::now();
        let _open = self.open();
        self.statement(address).await?;
        let mut orders = self.orders();
        // Checked under the lock, so that no write is acknowledged after `set_state` has told the truth.
        if self.state() != DatabaseState::Serving {
            return Err(DatabaseError::Reset);
        }
        if let Some(lag) = self.lag {
            let now = self.clock.cloud_unix();
            let (min, max) = (lag.min.as_secs_f64(), lag.max.as_secs_f64());
            let arrival = (now + min + (max - min) * orders.random.f64()).max(orders.last_arrival);
            orders.last_arrival = arrival;
            while orders.in_flight.front().is_some_and(|(_, at)| *at <= now) {
                orders.in_flight.pop_front();
            }
            orders.in_flight.push_back((id.to_owned(), arrival));
        }
        orders.records.insert(id.to_owned(), order);
        drop(orders);
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.write_latency.record(began.elapsed());
        Ok(())
    }

    /// Reads an order through a connection to `address`; hangs while the database hangs.
    pub async fn read(&self, address: Ipv4Addr, id: &str) -> Result<Option<Order>, DatabaseError> {
        let _open = self.open();
        self.statement(address).await?;
        Ok(self.orders().records.get(id).cloned())
    }

    pub(crate) fn take_minute(&self) -> DatabaseMinute {
        DatabaseMinute {
            writes: self.writes.swap(0, Ordering::Relaxed),
            write_latency: self.write_latency.take(),
            connections: self
                .most_open
                .swap(self.open.load(Ordering::Relaxed), Ordering::Relaxed),
        }
    }

    async fn statement(&self, address: Ipv4Addr) -> Result<(), DatabaseError> {
        if let Some(gate) = self.gate(address) {
            gate.passes().await;
        }
        let mut state = self.state.subscribe();
        if address != self.endpoint_address() || *state.borrow_and_update() == DatabaseState::Fenced {
            return Err(DatabaseError::Refused);
        }
        let work = tokio::time::sleep(self.statement_time);
        tokio::pin!(work);
        let mut worked = false;
        loop {
            match *state.borrow_and_update() {
                DatabaseState::Fenced => return Err(DatabaseError::Reset),
                DatabaseState::Serving if worked => return Ok(()),
                DatabaseState::Serving | DatabaseState::Hung => {}
            }
            tokio::select! {
                () = &mut work, if !worked => worked = true,
                changed = state.changed() => if changed.is_err() { return Err(DatabaseError::Reset) },
            }
        }
    }

    fn open(&self) -> OpenStatement<'_> {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_open.fetch_max(open, Ordering::Relaxed);
        OpenStatement(&self.open)
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct OpenStatement<'a>(&'a AtomicU64);

impl Drop for OpenStatement<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What one instance believes about the endpoint's address, with the record's TTL.
#[derive(Debug)]
pub(crate) struct ResolvedEndpoint(Mutex<Option<(Ipv4Addr, f64)>>);

impl ResolvedEndpoint {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(None))
    }

    pub(crate) fn address(&self, database: &Database, now: f64, ttl: Duration) -> Ipv4Addr {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *cached {
            Some((address, expires)) if now < expires => address,
            _ => {
                let address = database.endpoint_address();
                *cached = Some((address, now + ttl.as_secs_f64()));
                address
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Pace;
    use std::sync::Arc;
    use tokio::time::timeout;

    const ONE: Ipv4Addr = Ipv4Addr::new(127, 10, 1, 8);
    const TWO: Ipv4Addr = Ipv4Addr::new(127, 10, 2, 8);

    fn database(lag: Option<Range>) -> (Arc<Database>, Truth) {
        let clock = Clock::starting_now(Pace::new(1.0).expect("a pace"));
        let truth = Truth::new(clock, None).expect("no file");
        let key = ("us-east-1".to_owned(), "shop-db".to_owned());
        let statement = Duration::from_millis(2);
        let database = Database::new(key, ONE, statement, lag, clock, truth.clone(), 7);
        (Arc::new(database), truth)
    }

    fn order() -> Order {
        Order { item: "7".to_owned() }
    }

    #[tokio::test]
    async fn statements_hang_then_reset_then_are_refused_until_the_new_primary_serves() {
        let (database, truth) = database(None);
        database.write(ONE, "a", order()).await.expect("it serves");
        database.set_state(DatabaseState::Hung);
        let hanging = tokio::spawn({
            let database = Arc::clone(&database);
            async move { database.write(ONE, "b", order()).await }
        });
        assert!(
            timeout(Duration::from_millis(50), database.read(ONE, "a"))
                .await
                .is_err(),
            "it must hang"
        );
        assert!(!hanging.is_finished());
        database.set_state(DatabaseState::Fenced);
        assert_eq!(hanging.await.expect("it ran"), Err(DatabaseError::Reset));
        assert_eq!(database.write(ONE, "c", order()).await, Err(DatabaseError::Refused));
        database.move_endpoint(TWO);
        database.set_state(DatabaseState::Serving);
        assert_eq!(database.write(ONE, "c", order()).await, Err(DatabaseError::Refused));
        assert_eq!(database.read(TWO, "a").await, Ok(Some(order())));
        assert_eq!(database.read(TWO, "b").await, Ok(None));
        assert!(database.lose_unreplicated().is_empty());
        let states: Vec<_> = truth.lines().iter().map(|line| line.state).collect();
        assert_eq!(states, [TruthState::Down, TruthState::Up]);
    }

    #[tokio::test]
    async fn an_asynchronous_standby_loses_exactly_what_the_truth_names() {
        let lag = Range {
            min: Duration::from_millis(200),
            max: Duration::from_secs(2),
        };
        let (database, truth) = database(Some(lag));
        for number in 0..20 {
            database
                .write(ONE, &number.to_string(), order())
                .await
                .expect("it serves");
        }
        // Nothing arrives after the primary stopped, however long promotion takes.
        database.set_state(DatabaseState::Hung);
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        let lost = database.lose_unreplicated();
        let line = truth.lines().pop().expect("the loss is written");
        database.set_state(DatabaseState::Serving);
        assert!(!lost.is_empty());
        assert_eq!(database.order_count(), 20 - lost.len());
        for id in &lost {
            assert_eq!(database.read(ONE, id).await, Ok(None));
        }
        assert_eq!(line.state, TruthState::Lost);
        assert_eq!(line.detail["ids"], json!(lost));
    }

    #[tokio::test]
    async fn an_instance_follows_the_endpoint_only_after_the_ttl() {
        let (database, _) = database(None);
        let resolved = ResolvedEndpoint::new();
        let ttl = Duration::from_secs(5);
        assert_eq!(resolved.address(&database, 100.0, ttl), ONE);
        database.move_endpoint(TWO);
        assert_eq!(resolved.address(&database, 104.9, ttl), ONE);
        assert_eq!(resolved.address(&database, 105.0, ttl), TWO);
    }
}
