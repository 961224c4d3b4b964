//! The data plane: every instance and load balancer node on its own loopback address, databases in memory, and
//! subnets that can go silent. Decides nothing about when things change; `dynamics` does.

pub mod database;
pub mod stats;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::lab::Lab;

pub use database::{Database, DatabaseError, DatabaseState, Order};
pub use stats::{DatabaseMinute, InstanceMinute, Latency, LoadBalancerMinute, MinuteStats};

/// All sockets and stores of the lab's data plane.
#[derive(Debug)]
pub struct DataPlane {
    port: u16,
    databases: Mutex<BTreeMap<(String, String), Arc<Database>>>,
}

impl DataPlane {
    pub(crate) fn new(port: u16) -> Self {
        Self {
            port,
            databases: Mutex::default(),
        }
    }

    /// The port of every instance and load balancer.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Begins to serve as instance `id` at `address`: its application is ready.
    pub fn open_instance(&self, lab: &Arc<Lab>, id: &str, address: Ipv4Addr) {
        let _ = (lab, id, address);
    }

    /// Ends instance `id`: its listener goes and every connection is reset. Harmless when it is not open.
    pub fn close_instance(&self, id: &str) {
        let _ = id;
    }

    /// Whether instance `id` serves.
    #[must_use]
    pub fn is_open(&self, id: &str) -> bool {
        let _ = id;
        false
    }

    /// Makes packets to and from a subnet vanish, or pass again.
    pub fn set_silent(&self, lab: &Arc<Lab>, subnet_id: &str, silent: bool) {
        let _ = (lab, subnet_id, silent);
    }

    /// What was counted since the last call; counters start again at zero.
    #[must_use]
    pub fn take_minute(&self) -> MinuteStats {
        MinuteStats::default()
    }

    /// The store behind an RDS instance.
    #[must_use]
    pub fn database(&self, region: &str, db_id: &str) -> Option<Arc<Database>> {
        let databases = self.databases.lock().unwrap_or_else(PoisonError::into_inner);
        databases.get(&(region.to_owned(), db_id.to_owned())).cloned()
    }
}
