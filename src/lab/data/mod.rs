//! The data plane: every instance and load balancer node on its own loopback address, databases in memory, and
//! subnets that can go silent. Decides nothing about when things change; `dynamics` does.

mod balancer;
mod capacity;
pub mod database;
mod disk;
mod gate;
mod health;
mod instance;
pub mod stats;
#[cfg(test)]
mod tests;
mod upstream;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;

use crate::lab::Lab;
use crate::lab::config::Range;
use crate::lab::truth::{Truth, TruthState, What};
use crate::lab::world::World;
use balancer::Balancer;
use disk::Disk;
use gate::Gate;
use instance::Instance;

pub use database::{Database, DatabaseError, DatabaseState, Order};
pub use disk::DiskIo;
pub use stats::{DatabaseMinute, InstanceMinute, Latency, LoadBalancerMinute, MinuteStats};

/// All sockets and stores of the lab's data plane. None of its methods may be called with the world locked.
#[derive(Debug)]
pub struct DataPlane {
    port: u16,
    truth: Truth,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By subnet id.
    gates: BTreeMap<String, Arc<Gate>>,
    /// Subnet ids by the second and third octet of their addresses.
    places: BTreeMap<[u8; 2], String>,
    instances: BTreeMap<String, Arc<Instance>>,
    /// Disks with which something is wrong, by instance id: they are the same after a reboot.
    disks: BTreeMap<String, Arc<Disk>>,
    balancers: Vec<Arc<Balancer>>,
    databases: BTreeMap<(String, String), Arc<Database>>,
}

impl Inner {
    /// The Region that an address lies in.
    fn region_of(&self, address: Ipv4Addr) -> Option<&String> {
        let [_, region, az, _] = address.octets();
        let gate = self.gates.get(self.places.get(&[region, az])?)?;
        Some(&gate.region)
    }
}

impl DataPlane {
    pub(crate) fn new(port: u16, truth: Truth) -> Self {
        Self {
            port,
            truth,
            inner: Mutex::default(),
        }
    }

    /// The port of every instance and load balancer.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Takes over subnets and databases from the initial world, which the caller has not locked.
    pub(crate) fn prepare(&self, lab: &Lab, world: &World) {
        let database = |region: &str, id: &str, address: Ipv4Addr, lag: Option<Range>| {
            Database::new(
                (region.to_owned(), id.to_owned()),
                address,
                lab.config.database.statement_time,
                lag,
                lab.clock,
                self.truth.clone(),
                lab.seed(),
            )
        };
        let mut inner = self.inner();
        for region in world.regions.values() {
            for subnet in region.subnets.values() {
                let gate = Gate::new(subnet.id.clone(), subnet.az.clone(), region.name.clone());
                inner.gates.insert(subnet.id.clone(), Arc::new(gate));
                inner
                    .places
                    .insert([10 + region.index, subnet.az_index], subnet.id.clone());
            }
            // The members of a cluster share its storage.
            let alone = region.db_instances.values().filter(|db| db.cluster.is_none());
            let alone = alone.map(|db| (&db.id, db.endpoint_address, lab.config.database.lag()));
            let clusters = region.db_clusters.values();
            let clusters = clusters.map(|cluster| (&cluster.id, cluster.endpoint_address, None));
            for (id, address, lag) in alone.chain(clusters) {
                let key = (region.name.clone(), id.clone());
                let database = database(&region.name, id, address, lag);
                inner.databases.insert(key, Arc::new(database));
            }
        }
        // Whoever writes to a global cluster writes to its primary.
        for global in world.global_clusters.values() {
            let primary = world.regions.get(&global.writer);
            let Some(primary) = primary.and_then(|region| region.db_clusters.get(&global.cluster)) else {
                continue;
            };
            let lag = Some(lab.config.database.global_lag);
            let shared = database(&global.writer, &global.cluster, primary.endpoint_address, lag);
            let gates = inner.places.iter();
            let gates = gates.filter_map(|(place, subnet)| Some((*place, Arc::clone(inner.gates.get(subnet)?))));
            let shared = Arc::new(shared.behind(gates.collect()));
            for region in global.members.keys() {
                let key = (region.clone(), global.cluster.clone());
                inner.databases.insert(key, Arc::clone(&shared));
            }
        }
    }

    /// Binds the load balancers and begins their health checks.
    pub(crate) fn start_balancers(&self, lab: &Arc<Lab>) -> io::Result<()> {
        let mut balancers = Vec::new();
        {
            let world = lab.world();
            let inner = self.inner();
            for region in world.regions.values() {
                for balancer in region.load_balancers.values() {
                    let nodes = balancer
                        .nodes
                        .iter()
                        .filter_map(|node| Some((Arc::clone(inner.gates.get(&node.subnet_id)?), node.address)))
                        .collect();
                    balancers.push(Arc::new(Balancer::new(
                        lab,
                        &region.name,
                        &balancer.arn,
                        &balancer.target_group_arn,
                        nodes,
                    )));
                }
            }
        }
        for balancer in &balancers {
            balancer.start(lab, self.port)?;
            tokio::spawn(health::run(Arc::clone(lab), Arc::clone(balancer)));
        }
        self.inner().balancers = balancers;
        Ok(())
    }

    /// Begins to serve as instance `id` at `address`: its application is ready.
    pub fn open_instance(&self, lab: &Arc<Lab>, id: &str, address: Ipv4Addr) {
        if let Err(error) = self.try_open_instance(lab, id, address) {
            // The application failed to start; health checks will find out, as they would on AWS.
            eprintln!("lab: instance {id} cannot listen at {address}:{}: {error}", self.port);
        }
    }

    fn try_open_instance(&self, lab: &Arc<Lab>, id: &str, address: Ipv4Addr) -> io::Result<()> {
        let seed = lab.seed();
        let mut inner = self.inner();
        if inner.instances.contains_key(id) {
            return Ok(());
        }
        let [_, region_octet, az_octet, _] = address.octets();
        let gate = inner
            .places
            .get(&[region_octet, az_octet])
            .and_then(|subnet| inner.gates.get(subnet))
            .map(Arc::clone)
            .ok_or_else(|| io::Error::other("the address lies in no subnet"))?;
        let region = gate.region.clone();
        let database = inner
            .databases
            .get(&(region.clone(), lab.config.database.name.clone()))
            .cloned();
        let az = gate.az.clone();
        let disk = inner.disks.get(id).cloned().unwrap_or_default();
        let instance = Arc::new(Instance::new(id, gate, &lab.config, lab.clock, database, disk, seed));
        instance.start(SocketAddrV4::new(address, self.port))?;
        inner.instances.insert(id.to_owned(), instance);
        drop(inner);
        self.truth.write(
            What::Instance,
            id,
            &region,
            TruthState::Up,
            json!({"az": az, "address": address.to_string()}),
        );
        Ok(())
    }

    /// Ends instance `id`: its listener goes and every connection is reset. Harmless when it is not open.
    pub fn close_instance(&self, id: &str) {
        let mut inner = self.inner();
        let Some(instance) = inner.instances.remove(id) else {
            return;
        };
        instance.stop();
        let balancers: Vec<_> = inner
            .balancers
            .iter()
            .filter(|balancer| balancer.region == instance.gate.region)
            .cloned()
            .collect();
        drop(inner);
        let detail = json!({"az": instance.gate.az});
        self.truth.write(
            What::Instance,
            &instance.id,
            &instance.gate.region,
            TruthState::Down,
            detail,
        );
        balancers.iter().for_each(|balancer| balancer.refresh.notify_one());
    }

    /// Lets the I/O of an instance's disk go as `io` says, from now on.
    pub fn set_disk(&self, id: &str, io: DiskIo) {
        let mut inner = self.inner();
        let serving = inner.instances.get(id).cloned();
        let known = serving.as_ref().map(|instance| &instance.disk).or(inner.disks.get(id));
        let disk = known.cloned().unwrap_or_default();
        disk.set(io);
        if io.is_sound() {
            inner.disks.remove(id);
        } else {
            inner.disks.insert(id.to_owned(), disk);
        }
        drop(inner);
        let Some(instance) = serving else { return };
        let state = match (io.paused, io.is_sound()) {
            (true, _) => TruthState::Down,
            (_, true) => TruthState::Up,
            _ => TruthState::Degraded,
        };
        let detail = json!({"az": instance.gate.az, "disk": format!("{io:?}")});
        self.truth
            .write(What::Instance, id, &instance.gate.region, state, detail);
    }

    /// Whether instance `id` serves.
    #[must_use]
    pub fn is_open(&self, id: &str) -> bool {
        self.inner().instances.contains_key(id)
    }

    /// Makes packets to and from a subnet vanish, or pass again, and notes it in the world.
    pub fn set_silent(&self, lab: &Arc<Lab>, subnet_id: &str, silent: bool) {
        let gate = self.inner().gates.get(subnet_id).cloned();
        let Some(gate) = gate.filter(|gate| gate.set_silent(silent)) else {
            return;
        };
        if let Some(subnet) = lab
            .world()
            .regions
            .get_mut(&gate.region)
            .and_then(|region| region.subnets.get_mut(subnet_id))
        {
            subnet.silent = silent;
        }
        self.truth.write(
            What::Zone,
            &gate.az,
            &gate.region,
            gate.truth(),
            json!({"subnet": gate.subnet_id}),
        );
        let quiet: Vec<bool> = {
            let inner = self.inner();
            inner.databases.values().for_each(|database| database.follow_silence());
            inner
                .gates
                .values()
                .filter(|other| other.region == gate.region)
                .map(|other| other.is_silent())
                .collect()
        };
        let of = quiet.len();
        let silent_zones = quiet.into_iter().filter(|quiet| *quiet).count();
        let state = match silent_zones {
            0 => TruthState::Up,
            all if all == of => TruthState::Down,
            _ => TruthState::Degraded,
        };
        let detail = json!({"silent_zones": silent_zones, "zones": of});
        self.truth
            .write(What::Region, &gate.region, &gate.region, state, detail);
    }

    /// Lets packets from a subnet to these other Regions vanish, and to all others pass.
    pub fn set_unreached(&self, subnet_id: &str, regions: BTreeSet<String>) {
        let gate = self.inner().gates.get(subnet_id).cloned();
        let detail = json!({"subnet": subnet_id, "unreached": regions});
        if let Some(gate) = gate.filter(|gate| gate.set_unreached(regions)) {
            self.truth
                .write(What::Zone, &gate.az, &gate.region, gate.truth(), detail);
        }
    }

    /// Whether packets to and from a subnet vanish.
    #[must_use]
    pub fn is_silent(&self, subnet_id: &str) -> bool {
        self.inner().gates.get(subnet_id).is_some_and(|gate| gate.is_silent())
    }

    /// What was counted since the last call; counters start again at zero.
    #[must_use]
    pub fn take_minute(&self) -> MinuteStats {
        let inner = self.inner();
        MinuteStats {
            instances: inner
                .instances
                .iter()
                .map(|(id, one)| (id.clone(), one.take_minute()))
                .collect(),
            load_balancers: inner
                .balancers
                .iter()
                .map(|one| (one.arn.clone(), one.take_minute()))
                .collect(),
            databases: inner
                .databases
                .iter()
                .filter(|((region, _), one)| inner.region_of(one.endpoint_address()) == Some(region))
                .map(|(key, one)| (key.clone(), one.take_minute()))
                .collect(),
        }
    }

    /// The store behind an RDS instance.
    #[must_use]
    pub fn database(&self, region: &str, db_id: &str) -> Option<Arc<Database>> {
        self.inner()
            .databases
            .get(&(region.to_owned(), db_id.to_owned()))
            .cloned()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
