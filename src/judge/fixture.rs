//! A small synthetic run for the judge's and the report's tests: two Regions, one fault, two steps, pace 30.
//! Requests start every 20 ms; what happens to them is told by closures over their start.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::objective::{Comparison, Limit, Measure, Objective, Phase, Scope, Statistic};
use crate::event::{Event, FaultId, Stamped};
use crate::plan::*;
use crate::recording::*;
use crate::units::Pace;

pub(crate) const PACE: f64 = 30.0;
pub(crate) const EAST: &str = "us-east-1";
pub(crate) const WEST: &str = "eu-west-1";
/// Real seconds: the fault comes 20 s into a run of 60 s.
pub(crate) const INJECTED: f64 = 20.0;
pub(crate) const LENGTH: u64 = 60;
const CELL_US: u64 = 20_000;

pub(crate) fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// Real seconds as cloud time.
pub(crate) fn cloud(real: f64) -> Duration {
    secs(real * PACE)
}

pub(crate) fn objective(text: &str, measure: Measure, subject: Option<&str>, limit: Limit, scope: Scope) -> Objective {
    Objective {
        text: text.to_owned(),
        measure,
        subject: subject.map(str::to_owned),
        statistic: (measure == Measure::Latency).then_some(Statistic::Percentile(99.0)),
        comparison: match measure {
            Measure::LostWrites | Measure::LateErrors => Comparison::Equal,
            Measure::Throughput | Measure::Share => Comparison::GreaterOrEqual,
            _ => Comparison::LessOrEqual,
        },
        limit,
        scope,
    }
}

pub(crate) fn under_test() -> Scope {
    Scope::Experiment("test".to_owned())
}

pub(crate) fn steady() -> Scope {
    Scope::During(Phase::Steady)
}

pub(crate) fn plan(fault: Fault, role: &str, objectives: Vec<Objective>) -> Plan {
    let step = |name: &str, journey, ledger: Option<&str>| StepPlan {
        name: name.to_owned(),
        ledger: ledger.map(str::to_owned),
        journey,
        method: "GET".to_owned(),
        path: Template {
            parts: vec![Part::Text("/".to_owned())],
        },
        ..StepPlan::default()
    };
    let journey = |name: &str, index| JourneyPlan {
        name: name.to_owned(),
        weight: 1.0,
        think: Wait::Uniform {
            min: secs(1.0),
            max: secs(2.0),
        },
        steps: vec![index],
        ..JourneyPlan::default()
    };
    let region = || InventoryRegion {
        groups: BTreeMap::from([(
            "shop-web".to_owned(),
            InventoryGroup {
                min: 3,
                max: 9,
                desired: 3,
                cpu_target: Some(60.0),
                target_groups: vec!["shop-web".to_owned()],
                ..Default::default()
            },
        )]),
        databases: BTreeMap::from([(
            "shop-db".to_owned(),
            InventoryDatabase {
                multi_az: true,
                status: "available".to_owned(),
                az: "us-east-1a".to_owned(),
                secondary_az: Some("us-east-1b".to_owned()),
                ..Default::default()
            },
        )]),
        ..Default::default()
    };
    let reversible = fault.entry().reversible;
    Plan {
        rerun: "tenfold run profiles/synthetic.yaml --target lab --pace 30 --seed 7".to_owned(),
        name: "synthetic".to_owned(),
        seed: 7,
        pace: Pace::new(PACE).expect("a pace"),
        target: TargetPlan {
            name: "lab".to_owned(),
            scheme: "http".to_owned(),
            host: "shop.test".to_owned(),
            port: 80,
            resolver: None,
            endpoint: None,
            account: None,
            assume: Vec::new(),
            regions: vec![EAST.to_owned(), WEST.to_owned()],
            azs: BTreeMap::new(),
            roles: BTreeMap::from([
                ("web".to_owned(), Role::AutoScalingGroup("shop-web".to_owned())),
                ("database".to_owned(), Role::DbInstance("shop-db".to_owned())),
                (
                    "dns".to_owned(),
                    Role::Dns {
                        hosted_zone: "Z1".to_owned(),
                        record: "shop.test".to_owned(),
                    },
                ),
            ]),
            allow: None,
            runner: RunnerPlan::default(),
            fis_role: None,
            served_by: Some("x-served-by".to_owned()),
            edge: BTreeMap::from([
                ("127.10.0.5".parse().expect("an address"), EAST.to_owned()),
                ("127.11.0.5".parse().expect("an address"), WEST.to_owned()),
            ]),
            zones: BTreeMap::new(),
            inventory: Inventory {
                iam_roles: BTreeMap::new(),
                account: None,
                regions: BTreeMap::from([(EAST.to_owned(), region()), (WEST.to_owned(), region())]),
            },
        },
        feeders: Vec::new(),
        journeys: vec![journey("browse", 0), journey("order", 1)],
        steps: vec![step("browse", 0, None), step("order", 1, Some("orders"))],
        token_clients: Vec::new(),
        model: LoadModel::Users,
        loads: Vec::new(),
        spacing: Spacing::Even,
        stages: vec![StagePlan {
            tier: 2,
            level: 1000.0,
            starts_at: secs(0.0),
            holds_at: cloud(5.0),
            ends_at: cloud(LENGTH as f64),
        }],
        client: ClientPlan {
            dns: DnsPolicy::HonourTtl,
            connections: Connections {
                pool: Some(100),
                ..Connections::default()
            },
            connect_timeout: secs(10.0),
            request_timeout: secs(30.0),
            rate_limit: None,
            shards: None,
            retries: None,
            tls: TlsSettings::default(),
            classes: Vec::new(),
            forced_lag: Duration::ZERO,
        },
        services: None,
        ledgers: BTreeMap::new(),
        probes: vec![ProbePlan {
            step: 1,
            region: None,
            interval: secs(0.1),
        }],
        experiments: vec![ExperimentPlan {
            name: "test".to_owned(),
            hypothesis: "users hardly notice".to_owned(),
            faults: vec![FaultPlan {
                fault,
                role: role.to_owned(),
                region: EAST.to_owned(),
                at: cloud(INJECTED),
                revert_at: reversible.then(|| cloud(INJECTED + 15.0)),
                via: Default::default(),
                fis: None,
                calls: Vec::new(),
                reverts: Vec::new(),
                resources: vec!["i-1".to_owned()],
                fidelity: "nothing of note".to_owned(),
            }],
            stop_when: Vec::new(),
            settle: cloud(if reversible { 15.0 } else { 30.0 }),
        }],
        objectives,
        honesty: HonestyPlan {
            lag_p99_max: secs(0.1),
            cpu_max: 0.9,
            requests_min: 100,
            ..HonestyPlan::default()
        },
        ends_at: cloud(LENGTH as f64),
    }
}

/// What becomes of a request of a step that starts at a real second: the finish, and a failure.
pub(crate) type Fate = fn(usize, f64) -> (f64, Option<FailureKind>);

/// Orders (step 1) fail for two seconds from the injection on.
pub(crate) fn orders_fail_at_first(step: usize, start: f64) -> (f64, Option<FailureKind>) {
    if step == 1 && (INJECTED..INJECTED + 2.0).contains(&start) {
        (start + 0.01, Some(FailureKind::Reset))
    } else {
        well(step, start)
    }
}

/// At most this share of requests fails.
pub(crate) fn errors(share: f64, scope: Scope) -> Objective {
    objective("errors", Measure::Errors, None, Limit::Share(share), scope)
}

/// All is well: an answer after 10 ms.
pub(crate) fn well(_: usize, start: f64) -> (f64, Option<FailureKind>) {
    (start + 0.01, None)
}

pub(crate) struct Fixture {
    pub plan: Plan,
    pub recording: Recording,
}

impl Fixture {
    /// A run in which the fault was injected and observed and requests fared as `fate` says.
    pub(crate) fn new(fault: Fault, role: &str, objectives: Vec<Objective>, fate: Fate) -> Self {
        let plan = plan(fault, role, objectives);
        let mut fixture = Self {
            recording: recording(&plan, fate),
            plan,
        };
        let id = FaultId {
            experiment: "test".to_owned(),
            index: 0,
        };
        fixture.fault_observed(INJECTED, INJECTED + 0.1, &id, "i-1");
        if fixture.plan.experiments[0].faults[0].revert_at.is_some() {
            fixture.event(INJECTED + 15.0, Event::FaultRevertStarted { fault: id.clone() });
            fixture.event(INJECTED + 15.1, Event::FaultReverted { fault: id });
        }
        fixture
    }

    /// The same fault once more, in an experiment that follows.
    pub(crate) fn another_experiment(&mut self, at: f64) {
        let mut next = self.plan.experiments[0].clone();
        next.name = "next".to_owned();
        self.plan.experiments.push(next);
        let fault = FaultId {
            experiment: "next".to_owned(),
            index: 0,
        };
        self.fault_observed(at, at, &fault, "i-2");
    }

    /// A fault started and injected at one instant, and seen to work at another.
    pub(crate) fn fault_observed(&mut self, injected: f64, observed: f64, fault: &FaultId, resource: &str) {
        self.event(
            injected,
            Event::FaultStarted {
                fault: fault.clone(),
                resources: vec![resource.to_owned()],
            },
        );
        self.event(injected, Event::FaultInjected { fault: fault.clone() });
        self.event(
            observed,
            Event::FaultObserved {
                fault: fault.clone(),
                evidence: "seen".to_owned(),
            },
        );
    }

    pub(crate) fn event(&mut self, at: f64, event: Event) {
        self.recording.events.push(Stamped { at: secs(at), event });
        self.recording.events.sort_by_key(|stamped| stamped.at);
    }

    pub(crate) fn without_events(mut self, unwanted: fn(&Event) -> bool) -> Self {
        self.recording.events.retain(|stamped| !unwanted(&stamped.event));
        self
    }

    /// Ends the run early; a fault that can be reverted is, at that instant.
    pub(crate) fn cut(mut self, at: f64, ended: Ended) -> Self {
        let recording = &mut self.recording;
        recording.ended = ended;
        recording.duration = secs(at);
        recording.slices.retain(|slice| (slice.second as f64) < at);
        recording.events.retain(|stamped| stamped.at.as_secs_f64() <= at);
        recording.probes.retain(|probe| probe.finished.as_secs_f64() <= at);
        let cells = (at * 1e6) as u64 / CELL_US;
        for pulse in &mut recording.pulses {
            pulse.cells.retain(|index, _| u64::from(*index) < cells);
        }
        let reversible = self.plan.experiments[0].faults[0].revert_at.is_some();
        if reversible && ended != Ended::Unreverted && at < INJECTED + 15.0 {
            let id = FaultId {
                experiment: "test".to_owned(),
                index: 0,
            };
            self.event(at, Event::FaultRevertStarted { fault: id.clone() });
            self.event(at, Event::FaultReverted { fault: id });
        }
        self
    }

    /// The verdict on the first objective.
    pub(crate) fn first(&self) -> crate::judge::ObjectiveVerdict {
        crate::judge::judge(&self.plan, &self.recording).objectives.remove(0)
    }

    pub(crate) fn poll(&mut self, at: f64, min: u32, members: &[&str], routed: &[&str]) {
        self.poll_wanting(at, min, 3, members, routed);
    }

    pub(crate) fn poll_wanting(&mut self, at: f64, min: u32, desired: u32, members: &[&str], routed: &[&str]) {
        let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        self.event(
            at,
            Event::GroupPolled {
                region: EAST.to_owned(),
                group: "shop-web".to_owned(),
                min,
                desired,
                in_service: members.len() as u32,
                healthy: routed.len() as u32,
                members: owned(members),
                routed: owned(routed),
            },
        );
    }

    pub(crate) fn database(&mut self, at: f64, status: &str, az: &str, standby: Option<&str>, multi_az: bool) {
        self.event(
            at,
            Event::DatabasePolled {
                region: EAST.to_owned(),
                database: "shop-db".to_owned(),
                status: status.to_owned(),
                az: az.to_owned(),
                secondary_az: standby.map(str::to_owned),
                multi_az,
            },
        );
    }

    pub(crate) fn dns(&mut self, at: f64, address: &str) {
        self.event(
            at,
            Event::DnsChanged {
                class: None,
                name: "shop.test".to_owned(),
                addresses: vec![address.parse().expect("an address")],
                ttl: secs(60.0),
            },
        );
    }

    pub(crate) fn unhealthy(&mut self, at: f64) {
        self.event(
            at,
            Event::HealthCheckChanged {
                health_check: "hc-1".to_owned(),
                endpoint: "127.10.0.5:80".to_owned(),
                healthy_checkers: 0,
                checkers: 16,
                healthy: false,
            },
        );
    }

    /// Where requests started in each second go: the share to the first Region.
    pub(crate) fn routes(&mut self, share: fn(u64) -> f64) {
        for slice in &mut self.recording.slices {
            let east = (share(slice.second) * 100.0).round() as u64;
            slice.sent = BTreeMap::from([(EAST.to_owned(), east), (WEST.to_owned(), 100 - east)]);
        }
    }

    pub(crate) fn serves(&mut self, instance: &str, from: u64) {
        let served = ServedBy::parse(&format!("{instance}/us-east-1a/{EAST}"));
        for slice in self.recording.slices.iter_mut().filter(|slice| slice.second >= from) {
            slice.served.insert(served.clone(), 10);
        }
    }

    pub(crate) fn cpu(&mut self, from: f64, to: f64, percent: f64) {
        let mut at = from;
        while at <= to {
            self.event(
                at,
                Event::CpuMeasured {
                    region: EAST.to_owned(),
                    group: "shop-web".to_owned(),
                    percent,
                },
            );
            at += 60.0 / PACE;
        }
    }

    pub(crate) fn alarm(&mut self, at: f64, state: &str) {
        self.event(
            at,
            Event::AlarmChanged {
                region: EAST.to_owned(),
                alarm: "TargetTracking-shop-web-AlarmHigh-1".to_owned(),
                state: state.to_owned(),
                reason: "3 datapoints".to_owned(),
            },
        );
    }

    /// A launch that answers an alarm.
    pub(crate) fn launch(&mut self, at: f64, ended: f64, instance: &str) {
        self.launch_for(
            at,
            ended,
            instance,
            "At 2026-01-01T00:00:00Z a monitor alarm TargetTracking-shop-web-AlarmHigh-1 in state ALARM triggered \
             policy cpu changing the desired capacity from 3 to 5.",
        );
    }

    pub(crate) fn launch_for(&mut self, at: f64, ended: f64, instance: &str, cause: &str) {
        self.event(
            at,
            Event::ScalingActivity {
                region: EAST.to_owned(),
                group: "shop-web".to_owned(),
                id: format!("activity-{instance}"),
                description: format!("Launching a new EC2 instance: {instance}"),
                cause: cause.to_owned(),
                status: "Successful".to_owned(),
                ended: Some(secs(ended)),
            },
        );
    }
}

fn recording(plan: &Plan, fate: Fate) -> Recording {
    let mut slices: Vec<Slice> = Vec::new();
    let mut pulses = vec![
        Pulse {
            cell: Duration::from_micros(CELL_US),
            cells: BTreeMap::new()
        };
        plan.steps.len()
    ];
    let mut probes = Vec::new();
    let mut latencies: BTreeMap<(u64, usize), hdrhistogram::Histogram<u64>> = BTreeMap::new();
    let mut of_failures = latencies.clone();
    for second in 0..LENGTH {
        slices.push(Slice {
            second,
            users: 1000,
            intended: 100,
            retries: 0,
            steps: vec![StepSlice::default(); plan.steps.len()],
            served: BTreeMap::from([
                (ServedBy::parse("i-1/us-east-1a/us-east-1"), 33),
                (ServedBy::parse("i-2/us-east-1b/us-east-1"), 67),
            ]),
            sent: BTreeMap::from([(EAST.to_owned(), 100)]),
            generator: GeneratorSlice {
                cpu_busiest_shard: 0.4,
                cpu_process: 0.7,
                resident_bytes: 64 << 20,
                connections: 40,
                ..Default::default()
            },
            ..Default::default()
        });
    }
    for (step, pulse) in pulses.iter_mut().enumerate() {
        for index in 0..LENGTH * 50 {
            let start = index as f64 * 0.02 + 0.001;
            let (finish, failure) = fate(step, start);
            let (start_us, finish_us) = ((start * 1e6) as u64, (finish * 1e6) as u64);
            let cell = pulse.cells.entry((start_us / CELL_US) as u32).or_default();
            match failure {
                None => cell.merge(&PulseCell {
                    ok: 1,
                    first_ok_finished_us: Some(finish_us),
                    ..Default::default()
                }),
                Some(_) => cell.merge(&PulseCell {
                    failed: 1,
                    first_failed_started_us: Some(start_us),
                    last_failed_finished_us: Some(finish_us),
                    ..Default::default()
                }),
            }
            let Some(slice) = slices.get_mut(finish as usize) else {
                continue;
            };
            match failure {
                None => slice.steps[step].ok += 1,
                Some(kind) => *slice.steps[step].failed.entry(kind).or_default() += 1,
            }
            let took = |histograms: &mut BTreeMap<(u64, usize), hdrhistogram::Histogram<u64>>| {
                let histogram = histograms.entry((finish as u64, step)).or_insert_with(Hist::working);
                histogram
                    .record(((finish - start) * 1e6) as u64)
                    .expect("within bounds");
            };
            took(&mut latencies);
            if failure.is_some() {
                took(&mut of_failures);
            }
            if step == 1 && index % 5 == 0 {
                probes.push(ProbeSample {
                    direct: false,
                    step,
                    started: secs(start),
                    finished: secs(finish),
                    failure,
                    sent_to: EAST.to_owned(),
                });
            }
        }
    }
    for ((second, step), latency) in of_failures {
        slices[second as usize].steps[step].latency_failed = Hist::encode(&latency);
    }
    let mut lag = Hist::working();
    lag.record_n(500, 100).expect("within bounds");
    for ((second, step), latency) in latencies {
        let cell = &mut slices[second as usize].steps[step];
        cell.latency = Hist::encode(&latency);
        cell.service_time = Hist::encode(&latency);
        cell.lag = Hist::encode(&lag);
    }
    Recording {
        version: RECORDING_VERSION,
        recorded_by: "0.1.0".to_owned(),
        t0_unix: 1_700_000_000.0,
        epoch_unix: 1_700_000_000.0,
        duration: secs(LENGTH as f64),
        ended: Ended::Finished,
        slices,
        pulses,
        probes,
        ledgers: BTreeMap::new(),
        tokens: Vec::new(),
        events: Vec::new(),
        dropped: BTreeMap::new(),
    }
}

/// A group at so much CPU, percent, from 10 s until an instant, that is to be large enough within six minutes.
pub(crate) fn busy_until(until: f64, cpu: f64) -> Fixture {
    let objectives = vec![objective(
        "scale_out(web)",
        Measure::ScaleOut,
        Some("web"),
        Limit::Duration(secs(360.0)),
        Scope::Run,
    )];
    let mut fixture = Fixture::new(Fault::Ec2Terminate { share: 0.34 }, "web", objectives, well);
    fixture.cpu(2.0, 8.0, 30.0);
    fixture.cpu(10.0, until, cpu);
    fixture.cpu(until + 2.0, 58.0, 40.0);
    fixture
}
