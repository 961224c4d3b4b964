//! A small cloud in one process: AWS control plane on the wire, data plane on real sockets, Route 53 on real DNS.
//! Knows nothing of the harness, which meets it only through sockets.

pub mod build;
pub mod config;
pub mod control;
pub mod data;
pub mod dynamics;
pub mod error;
pub mod experiments;
pub mod serve;
pub mod truth;
pub mod world;

use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;

pub use config::{LabConfig, LabConfigError};
pub use serve::{Announcement, LabError, LabOptions, start};

use config::Range;
use data::DataPlane;
use truth::Truth;
use world::{CloudTime, World};

/// The running lab, shared by everything that serves or moves it.
#[derive(Debug)]
pub struct Lab {
    /// What was configured.
    pub config: LabConfig,
    /// Real and cloud time.
    pub clock: Clock,
    /// All state; lock it with [`Lab::world`], never across an await.
    pub world: Mutex<World>,
    /// What really happened.
    pub truth: Truth,
    /// The sockets.
    pub data: DataPlane,
    random: Mutex<fastrand::Rng>,
}

impl Lab {
    pub(crate) fn new(config: LabConfig, clock: Clock, truth: Truth, data: DataPlane, seed: u64) -> Self {
        let random = Mutex::new(fastrand::Rng::with_seed(seed));
        Self {
            config,
            clock,
            world: Mutex::new(World::default()),
            truth,
            data,
            random,
        }
    }

    /// The state, locked.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cloud time now.
    #[must_use]
    pub fn now(&self) -> CloudTime {
        self.clock.cloud_unix()
    }

    /// A number drawn evenly from `range` by the lab's seed.
    #[must_use]
    pub fn draw(&self, range: RangeInclusive<f64>) -> f64 {
        range.start() + (range.end() - range.start()) * self.random().f64()
    }

    /// A duration drawn evenly from a configured range.
    #[must_use]
    pub fn draw_duration(&self, range: Range) -> Duration {
        range.min + range.max.saturating_sub(range.min).mul_f64(self.random().f64())
    }

    /// A new resource id: the prefix with its dash (`i-`) and 17 hex digits.
    #[must_use]
    pub fn new_id(&self, prefix: &str) -> String {
        let number = self.random().u128(..);
        format!("{prefix}0{:016x}", number as u64)
    }

    /// A random UUID (version 4) from the lab's seed.
    #[must_use]
    pub fn uuid(&self) -> String {
        let number = self.random().u128(..);
        let (high, low) = ((number >> 64) as u64, number as u64);
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 48 & 0x3fff | 0x8000,
            low & 0xffff_ffff_ffff
        )
    }

    /// `length` random characters out of `alphabet`.
    #[must_use]
    pub fn random_text(&self, alphabet: &[u8], length: usize) -> String {
        let mut random = self.random();
        (0..length)
            .filter_map(|_| random.choice(alphabet))
            .map(|byte| char::from(*byte))
            .collect()
    }

    /// A seed for a generator of its own.
    pub(crate) fn seed(&self) -> u64 {
        self.random().u64(..)
    }

    fn random(&self) -> MutexGuard<'_, fastrand::Rng> {
        self.random.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
