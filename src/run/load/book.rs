//! Acknowledged writes of one shard, kept compactly until the run ends.
//! Bounded: what does not fit is counted, and the verdict on lost writes must then say so.

use std::time::Duration;

use super::ids::Ids;
use crate::recording::Ack;

/// Writes kept over all shards, about 480 MB at most.
pub const WRITES_MAX: usize = 20_000_000;

/// One write; its id is a counter of the shard's [`Ids`].
#[derive(Clone, Copy, Debug)]
pub struct Write {
    /// Counter of the id.
    pub counter: u64,
    /// When its outcome was known or given up, microseconds since t0.
    pub at_us: u64,
    /// Index of the region's name, see [`Book::region`].
    pub region: u16,
    /// Index among the plan's ledgers.
    pub ledger: u16,
}

/// The writes of one shard.
#[derive(Debug, Default)]
pub struct Book {
    regions: Vec<String>,
    acknowledged: Vec<Write>,
    unknown: Vec<Write>,
    limit: usize,
    over: u64,
}

impl Book {
    /// Keeps at most `limit` writes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// The index of a region's name.
    pub fn region(&mut self, name: &str) -> u16 {
        let known = self.regions.iter().position(|region| region == name);
        let index = known.unwrap_or_else(|| {
            self.regions.push(name.to_owned());
            self.regions.len() - 1
        });
        u16::try_from(index).unwrap_or(u16::MAX)
    }

    /// A user was told that the write is done.
    pub fn acknowledged(&mut self, write: Write) {
        if self.has_room() {
            self.acknowledged.push(write);
        }
    }

    /// A write was sent and its user never learned what became of it.
    pub fn unknown(&mut self, write: Write) {
        if self.has_room() {
            self.unknown.push(write);
        }
    }

    fn has_room(&mut self) -> bool {
        let room = self.acknowledged.len() + self.unknown.len() < self.limit;
        self.over += u64::from(!room);
        room
    }

    /// Writes that did not fit.
    #[must_use]
    pub fn over(&self) -> u64 {
        self.over
    }

    /// Everything with its names written out: acknowledged, unknown.
    #[must_use]
    pub fn read_out(&self, ids: &Ids, ledgers: &[String]) -> (Vec<Ack>, Vec<Ack>) {
        let write_out = |write: &Write| Ack {
            ledger: ledgers.get(usize::from(write.ledger)).cloned().unwrap_or_default(),
            id: ids.text(write.counter),
            at: Duration::from_micros(write.at_us),
            region: self.regions.get(usize::from(write.region)).cloned().unwrap_or_default(),
        };
        (
            self.acknowledged.iter().map(write_out).collect(),
            self.unknown.iter().map(write_out).collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_come_back_with_names_and_the_rest_is_counted() {
        let mut book = Book::new(2);
        let region = book.region("us-east-1");
        assert_eq!(book.region("us-east-1"), region);
        let write = |counter| Write {
            counter,
            at_us: 1_500_000,
            region,
            ledger: 0,
        };
        book.acknowledged(write(1));
        book.unknown(write(2));
        book.acknowledged(write(3));
        let ids = Ids::new(7, 1000.0, 4);
        let (acknowledged, unknown) = book.read_out(&ids, &["orders".to_owned()]);
        assert_eq!(book.over(), 1);
        assert_eq!(acknowledged.len(), 1);
        assert_eq!(acknowledged[0].id, ids.text(1));
        assert_eq!(
            (acknowledged[0].ledger.as_str(), acknowledged[0].region.as_str()),
            ("orders", "us-east-1")
        );
        assert_eq!(acknowledged[0].at, Duration::from_millis(1500));
        assert_eq!(unknown[0].id, ids.text(2));
    }
}
