//! Where requests of one shard went and who answered them, each place with an index of its own, within bounds.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use crate::recording::{ClassSlice, ServedBy, Slice};

/// Distinct servers kept apart per shard; a header that never repeats must not fill the memory.
const SERVED_MAX: usize = 4096;
/// Addresses kept apart per shard and class of clients; names whose answer is always another must not either.
const DESTINATIONS_MAX: usize = 1024;

/// Who answers, and how often well and badly.
#[derive(Default)]
struct Served {
    by: ServedBy,
    ok: u64,
    failed: u64,
}

/// Where requests of one class of clients went: how many started towards it, and those of them that nobody answered.
pub(super) struct Sent {
    pub(super) class: usize,
    /// None for what is beyond the bound of destinations.
    address: Option<IpAddr>,
    pub(super) region: String,
    /// The index of the place behind the address, for answers that do not say who served; zero where it is not known.
    server: usize,
    pub(super) started: u64,
    failed: u64,
}

/// All places of a shard.
pub(super) struct Places {
    served_index: HashMap<Box<[u8]>, usize>,
    served: Vec<Served>,
    sent: Vec<Sent>,
    /// Where all users are alike, only the Region is told.
    by_address: bool,
}

impl Places {
    pub(super) fn new(by_address: bool) -> Self {
        Self {
            served_index: HashMap::new(),
            served: vec![Served::default()],
            sent: Vec::new(),
            by_address,
        }
    }

    /// The index under which requests of a class to an address of `region` are counted.
    pub(super) fn destination(&mut self, class: u32, address: IpAddr, region: &str, place: &str) -> usize {
        let server = self.server(place.as_bytes());
        let class = class as usize;
        let of_class = self.sent.iter().filter(|known| known.class == class).count();
        let address = (self.by_address && of_class < DESTINATIONS_MAX).then_some(address);
        let is_same = |known: &Sent| {
            known.class == class && known.address == address && known.region == region && known.server == server
        };
        match self.sent.iter().position(is_same) {
            Some(index) => index,
            None => {
                self.sent.push(Sent {
                    class,
                    address,
                    region: region.to_owned(),
                    server,
                    started: 0,
                    failed: 0,
                });
                self.sent.len() - 1
            }
        }
    }

    /// Where requests of this index go.
    #[inline]
    pub(super) fn sent(&self, destination: usize) -> Option<&Sent> {
        self.sent.get(destination)
    }

    /// A request, or one more attempt of it, started towards this index.
    #[inline]
    pub(super) fn started(&mut self, destination: usize) -> Option<&Sent> {
        let sent = self.sent.get_mut(destination)?;
        sent.started += 1;
        Some(sent)
    }

    /// The index of the server that this header names; zero where it names none.
    #[inline]
    pub(super) fn server(&mut self, header: &[u8]) -> usize {
        match self.served_index.get(header) {
            Some(index) => *index,
            None if self.served.len() >= SERVED_MAX || header.is_empty() => 0,
            None => {
                self.served.push(Served {
                    by: ServedBy::parse(&String::from_utf8_lossy(header)),
                    ..Served::default()
                });
                self.served_index.insert(header.into(), self.served.len() - 1);
                self.served.len() - 1
            }
        }
    }

    #[inline]
    pub(super) fn served(&mut self, index: usize, destination: usize) {
        let index = match self.sent.get(destination) {
            Some(sent) if index == 0 => sent.server,
            _ => index,
        };
        self.served[index].ok += 1;
    }

    pub(super) fn served_badly(&mut self, index: usize, destination: usize) {
        match self.sent.get_mut(destination) {
            Some(sent) if index == 0 => sent.failed += 1,
            _ => self.served[index].failed += 1,
        }
    }

    #[inline]
    pub(super) fn served_by(&self, index: usize) -> &ServedBy {
        &self.served[index].by
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.sent.iter().any(|sent| sent.started > 0)
    }

    /// Moves the second's counts into a slice whose classes are there already.
    pub(super) fn take(&mut self, slice: &mut Slice) {
        for of in &mut self.served {
            count(&mut slice.served, || of.by.clone(), &mut of.ok);
            count(&mut slice.served_failed, || of.by.clone(), &mut of.failed);
        }
        for of in &mut self.sent {
            if let Some(class) = slice.classes.get_mut(of.class) {
                attempted(class, of);
            }
            count(&mut slice.sent, || of.region.clone(), &mut of.started);
            let by = ServedBy {
                region: of.region.clone(),
                ..ServedBy::default()
            };
            count(&mut slice.served_failed, || by, &mut of.failed);
        }
    }
}

fn attempted(class: &mut ClassSlice, of: &Sent) {
    class.attempts += of.started;
    if let Some(address) = of.address.filter(|_| of.started > 0) {
        *class.sent.entry(address).or_default() += of.started;
    }
}

/// Moves a count into a map, if there is one.
fn count<K: Ord>(into: &mut BTreeMap<K, u64>, key: impl FnOnce() -> K, count: &mut u64) {
    if *count > 0 {
        *into.entry(key()).or_default() += std::mem::take(count);
    }
}
