//! What is looked at in the control plane: groups and their targets, scaling activities, alarms, CPU, databases and
//! their events, health checks. Each tells changes only; what happened before t0 is not of this run.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch as stop_channel;
use tokio::task::JoinSet;

use super::control_plane::{Look, Sink, watch};
use crate::aws::{AwsError, DbCluster, DbInstance, HealthCheckView, Reader};
use crate::event::Event;
use crate::plan::{Plan, Role};

/// A group's counts are told again after this cloud time even when nothing changed, so that charts have no holes.
const GROUP_TOLD_EVERY: Duration = Duration::from_secs(60);
/// How far back metrics are asked for: they appear a minute late, and a look may have failed.
const CPU_WINDOW: f64 = 600.0;

/// Starts every poller that the target's roles call for.
pub(super) fn spawn_all(
    pollers: &mut JoinSet<()>,
    plan: &Plan,
    reader: &Reader,
    sink: &Arc<Sink>,
    stop: &stop_channel::Receiver<bool>,
) {
    macro_rules! spawn {
        ($look:expr) => {
            pollers.spawn(watch($look, Arc::clone(sink), stop.clone()));
        };
    }
    for region in &plan.target.regions {
        for role in plan.target.roles.values() {
            let place = |name: &String| Place {
                reader: reader.clone(),
                region: region.clone(),
                name: name.clone(),
            };
            match role {
                Role::AutoScalingGroup(name) => {
                    spawn!(Groups::new(place(name)));
                    spawn!(Activities::new(place(name)));
                    spawn!(Cpu::new(place(name)));
                }
                Role::DbInstance(name) => {
                    spawn!(Databases::new(place(name)));
                    spawn!(DatabaseEvents::new(place(name), Told::Instance));
                }
                Role::DbCluster(name) => {
                    spawn!(Clusters::new(place(name)));
                    spawn!(DatabaseEvents::new(place(name), Told::Cluster));
                }
                Role::Dns { .. } | Role::IamRole(_) => {}
            }
        }
        let groups = |role: &Role| matches!(role, Role::AutoScalingGroup(_));
        if plan.target.roles.values().any(groups) {
            spawn!(Alarms::new(reader.clone(), region.clone()));
        }
        let stops = stop_alarms(plan, region);
        if !stops.is_empty() {
            spawn!(StopAlarms::new(reader.clone(), region.clone(), stops));
        }
    }
    for role in plan.target.roles.values() {
        if let Role::Dns { hosted_zone, record } = role {
            spawn!(HealthChecks::new(reader.clone(), hosted_zone.clone(), record.clone()));
        }
    }
}

/// The alarms of a Region that stop experiments.
fn stop_alarms(plan: &Plan, region: &str) -> Vec<String> {
    let known = plan.target.inventory.regions.get(region);
    known
        .map(|known| known.alarms.keys().cloned().collect())
        .unwrap_or_default()
}

/// A named resource in a Region.
struct Place {
    reader: Reader,
    region: String,
    name: String,
}

struct Groups {
    place: Place,
    last: Option<(Event, Duration)>,
}

impl Groups {
    fn new(place: Place) -> Self {
        Self { place, last: None }
    }
}

impl Look for Groups {
    const EVERY: Duration = Duration::from_secs(5);

    async fn look(&mut self, sink: &Sink) -> Result<(), AwsError> {
        let Place { reader, region, name } = &self.place;
        let Some(group) = reader.group(region, name).await? else {
            return Ok(());
        };
        let (mut healthy, mut routed) = (BTreeSet::new(), BTreeSet::new());
        for target_group in &group.target_groups {
            let targets = reader.target_health(region, target_group).await?;
            let in_state = |states: &[&str]| -> Vec<String> {
                let there = targets.iter().filter(|target| states.contains(&target.state.as_str()));
                there.map(|target| target.id.clone()).collect()
            };
            let well = in_state(&["healthy"]);
            // With nobody healthy the load balancer fails open and sends to every registered target.
            routed.extend(match well.is_empty() {
                true => in_state(&["unhealthy", "initial", "unavailable"]),
                false => well.clone(),
            });
            healthy.extend(well);
        }
        let mut members: Vec<String> = group
            .members
            .into_iter()
            .filter(|member| member.in_service)
            .map(|member| member.id)
            .collect();
        members.sort();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let event = Event::GroupPolled {
            region: region.clone(),
            group: group.name,
            min: group.min,
            desired: group.desired,
            in_service: count(members.len()),
            healthy: count(healthy.len()),
            members,
            routed: routed.into_iter().collect(),
        };
        let now = sink.clock().elapsed();
        let again = sink.clock().pace().to_real(GROUP_TOLD_EVERY);
        let known = self.last.as_ref();
        if known.is_some_and(|(last, at)| *last == event && now.saturating_sub(*at) < again) {
            return Ok(());
        }
        self.last = Some((event.clone(), now));
        sink.now(event);
        Ok(())
    }
}

struct Activities {
    place: Place,
    /// Status last told, by id.
    told: HashMap<String, String>,
}

impl Activities {
    fn new(place: Place) -> Self {
        let told = HashMap::new();
        Self { place, told }
    }
}

impl Look for Activities {
    const EVERY: Duration = Duration::from_secs(10);

    async fn look(&mut self, sink: &Sink) -> Result<(), AwsError> {
        let Place { reader, region, name } = &self.place;
        let mut activities = reader.scaling_activities(region, name).await?;
        activities.sort_by(|one, other| one.start.total_cmp(&other.start));
        for activity in activities {
            let known = self.told.get(&activity.id);
            if activity.start < sink.t0_cloud() || known == Some(&activity.status) {
                continue;
            }
            self.told.insert(activity.id.clone(), activity.status.clone());
            let event = Event::ScalingActivity {
                region: region.clone(),
                group: name.clone(),
                id: activity.id,
                description: activity.description,
                cause: activity.cause,
                status: activity.status,
                ended: activity.end.map(|end| sink.clock().offset_of_cloud(end)),
            };
            sink.dated(activity.start, event);
        }
        Ok(())
    }
}

struct Cpu {
    place: Place,
    /// Beginning of the last minute told.
    last: f64,
}

impl Cpu {
    fn new(place: Place) -> Self {
        Self { place, last: 0.0 }
    }
}

impl Look for Cpu {
    const EVERY: Duration = Duration::from_secs(30);

    async fn look(&mut self, sink: &Sink) -> Result<(), AwsError> {
        let Place { reader, region, name } = &self.place;
        let now = sink.clock().clock().cloud_unix();
        let t0 = sink.t0_cloud();
        let from = (now - CPU_WINDOW).max(t0 - 60.0);
        for point in reader.group_cpu(region, name, from, now).await? {
            let end = point.start + 60.0;
            if point.start <= self.last || end < t0 {
                continue;
            }
            self.last = point.start;
            let event = Event::CpuMeasured {
                region: region.clone(),
                group: name.clone(),
                percent: point.value,
            };
            sink.dated(end, event);
        }
        Ok(())
    }
}

struct Alarms {
    reader: Reader,
    region: String,
    /// State and time of change last told, by name.
    told: HashMap<String, (String, f64)>,
}

impl Alarms {
    fn new(reader: Reader, region: String) -> Self {
        let told = HashMap::new();
        Self { reader, region, told }
    }
}

impl Look for Alarms {
    const EVERY: Duration = Duration::from_secs(15);

    async fn look(&mut self, sink: &Sink) -> Result<(), AwsError> {
        for alarm in self.reader.alarms(&self.region, None).await? {
            let state = (alarm.state.clone(), alarm.changed);
            if alarm.changed < sink.t0_cloud() || self.told.get(&alarm.name) == Some(&state) {
                continue;
            }
            self.told.insert(alarm.name.clone(), state);
            let event = Event::AlarmChanged {
                region: self.region.clone(),
                alarm: alarm.name,
                state: alarm.state,
                reason: alarm.reason,
            };
            sink.dated(alarm.changed, event);
        }
        Ok(())
    }
}

/// The alarms that stop experiments: looked at often, and told whatever they were before the run.
struct StopAlarms {
    reader: Reader,
    region: String,
    names: Vec<String>,
    /// State last told, by name.
    told: HashMap<String, String>,
}

impl StopAlarms {
    fn new(reader: Reader, region: String, names: Vec<String>) -> Self {
        let told = HashMap::new();
        Self {
            reader,
            region,
            names,
            told,
        }
    }
}

impl Look for StopAlarms {
    const EVERY: Duration = Duration::from_secs(5);

    async fn look(&mut self, sink: &Sink) -> Result<(), AwsError> {
        for alarm in self.reader.alarms_named(&self.region, &self.names).await? {
            if self.told.get(&alarm.name) == Some(&alarm.state) {
                continue;
            }
            self.told.insert(alarm.name.clone(), alarm.state.clone());
            sink.now(Event::StopAlarmChanged {
                region: self.region.clone(),
                alarm: alarm.name,
                state: alarm.state,
                reason: alarm.reason,
            });
        }
        Ok(())
    }
}

struct Databases {
    place: Place,
    last: Option<DbInstance>,
}

impl Databases {
    fn new(place: Place) -> Self {
        Self { place, last: None }
    }
}

impl Look for Databases {
    const EVERY: Duration = Duration::from_secs(5);

    async fn look(&mut self, sink: &Sink) -> Result<(), AwsError> {
        let Place { reader, region, name } = &self.place;
        let Some(instance) = reader.db_instance(region, name).await? else {
            return Ok(());
        };
        if self.last.as_ref() == Some(&instance) {
            return Ok(());
        }
        sink.now(Event::DatabasePolled {
            region: region.clone(),
            database: name.clone(),
            status: instance.status.clone(),
            az: instance.az.clone(),
            secondary_az: instance.secondary_az.clone(),
            multi_az: instance.multi_az,
        });
        self.last = Some(instance);
        Ok(())
    }
}

struct Clusters {
    place: Place,
    last: Option<DbCluster>,
}

impl Clusters {
    fn new(place: Place) -> Self {
        Self { place, last: None }
    }
}

impl Look for Clusters {
    const EVERY: Duration = Duration::from_secs(5);

    async fn look(&mut self, sink: &Sink) -> Result<(), AwsError> {
        let Place { reader, region, name } = &self.place;
        let Some(cluster) = reader.db_cluster(region, name).await? else {
            return Ok(());
        };
        if self.last.as_ref() == Some(&cluster) {
            return Ok(());
        }
        let writer = cluster.writer().map(|writer| writer.az.clone());
        sink.now(Event::DatabasePolled {
            region: region.clone(),
            database: name.clone(),
            status: cluster.status.clone(),
            az: writer.unwrap_or_default(),
            secondary_az: cluster.readers().next().map(|reader| reader.az.clone()),
            multi_az: cluster.members.len() > 1,
        });
        self.last = Some(cluster);
        Ok(())
    }
}

/// Whose events are asked for.
#[derive(Clone, Copy)]
enum Told {
    Instance,
    Cluster,
}

struct DatabaseEvents {
    place: Place,
    of: Told,
    told: BTreeSet<(u64, String)>,
    newest: f64,
}

impl DatabaseEvents {
    fn new(place: Place, of: Told) -> Self {
        Self {
            place,
            of,
            told: BTreeSet::new(),
            newest: 0.0,
        }
    }
}

impl Look for DatabaseEvents {
    const EVERY: Duration = Duration::from_secs(10);

    async fn look(&mut self, sink: &Sink) -> Result<(), AwsError> {
        let Place { reader, region, name } = &self.place;
        // Events may be published out of order by a little.
        let since = sink.t0_cloud().max(self.newest - 120.0);
        let events = match self.of {
            Told::Instance => reader.db_events(region, name, since).await?,
            Told::Cluster => reader.db_cluster_events(region, name, since).await?,
        };
        for event in events {
            let key = ((event.date * 1000.0) as u64, event.message.clone());
            if event.date < sink.t0_cloud() || !self.told.insert(key) {
                continue;
            }
            self.newest = self.newest.max(event.date);
            let told = Event::DatabaseEvent {
                region: region.clone(),
                database: name.clone(),
                message: event.message,
            };
            sink.dated(event.date, told);
        }
        Ok(())
    }
}

struct HealthChecks {
    reader: Reader,
    hosted_zone: String,
    record: String,
    /// What each checks and what its checkers said last; empty until the record's checks are known.
    checks: BTreeMap<String, (String, Option<HealthCheckView>)>,
}

impl HealthChecks {
    fn new(reader: Reader, hosted_zone: String, record: String) -> Self {
        Self {
            reader,
            hosted_zone,
            record,
            checks: BTreeMap::new(),
        }
    }
}

impl Look for HealthChecks {
    const EVERY: Duration = Duration::from_secs(5);

    async fn look(&mut self, sink: &Sink) -> Result<(), AwsError> {
        if self.checks.is_empty() {
            for id in self
                .reader
                .record_health_checks(&self.hosted_zone, &self.record)
                .await?
            {
                let check = self.reader.health_check(&id).await?;
                self.checks.insert(id, (check.endpoint, None));
            }
        }
        for (id, (endpoint, last)) in &mut self.checks {
            let view = self.reader.health_check_view(id).await?;
            if *last == Some(view) {
                continue;
            }
            *last = Some(view);
            sink.now(Event::HealthCheckChanged {
                health_check: id.clone(),
                endpoint: endpoint.clone(),
                healthy_checkers: view.healthy,
                checkers: view.checkers,
                healthy: view.is_healthy(),
            });
        }
        Ok(())
    }
}
