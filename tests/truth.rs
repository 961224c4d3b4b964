//! What was measured against what the lab says really happened, over ten seeds.

use std::time::Duration;

use tenfold::recording::{FailureKind, ProbeSample};

use crate::support::{Run, game_day, machine};

const SEEDS: u64 = 10;

/// Fewer users and a shorter way up than the shipped game day, so that ten runs stay short; the experiments are the
/// shipped ones.
pub const SHORTER: &str = "stages=[{tier: 3, users: 20_000, ramp: 3m, hold: 38m}]";

/// The same with so many users, and instances for them, that some are always being answered by the one that is lost:
/// nine or so. Of 20,000 it is two or three, and now and then truly nobody, who then feels nothing that could be timed.
const FELT_BY_SOME: [&str; 2] = [
    "stages=[{tier: 3, users: 60_000, ramp: 3m, hold: 38m}]",
    "lab.web.workers=36",
];

/// One comparison, real milliseconds: measured minus true.
struct Difference {
    seed: u64,
    what: &'static str,
    ms: f64,
    bound_ms: f64,
}

#[test]
fn truth_outage_start_and_recovery_agree_within_one_probe_interval() {
    let _turn = machine();
    let mut differences = Vec::new();
    for seed in 1..=SEEDS {
        let [users, workers] = FELT_BY_SOME;
        let run = game_day(0, &[users, workers, "objectives=[]", &format!("seed={seed}")]);
        differences.extend(compare(seed, &run));
    }
    print_distribution(&differences);
    assert_eq!(
        differences.len() as u64,
        SEEDS * 6,
        "every seed compares three onsets and three recoveries"
    );
    let outside: Vec<String> = differences
        .iter()
        .filter(|one| one.ms.abs() > one.bound_ms)
        .map(|one| {
            format!(
                "seed {} {}: {:.1} ms, bound {:.1} ms",
                one.seed, one.what, one.ms, one.bound_ms
            )
        })
        .collect();
    assert!(outside.is_empty(), "outside one probe interval: {outside:#?}");
}

fn compare(seed: u64, run: &Run) -> Vec<Difference> {
    let (plan, recording, verdict) = (run.plan(), run.recording(), run.verdict());
    let interval = plan
        .probes
        .iter()
        .map(|probe| probe.interval)
        .min()
        .expect("the game day probes");
    let bound_ms = interval.as_secs_f64() * 1e3;
    let truth = run.truth();
    let region = plan.target.regions[0].clone();
    // Real seconds since t0 of the first such line at or after an instant.
    let happened = |what: &str, state: &str, after: f64| {
        truth
            .iter()
            .filter(|line| line["what"] == what && line["state"] == state && line["region"] == region.as_str())
            .filter_map(|line| line["real"].as_f64())
            .map(|unix| unix - recording.t0_unix)
            .find(|at| *at >= after)
            .unwrap_or_else(|| panic!("the truth has no {what} {state} after {after}"))
    };
    let real = |cloud: Duration| plan.pace.to_real(cloud).as_secs_f64();
    let mut differences = instance_loss(seed, run, bound_ms);
    for (experiment, what, onset) in [
        ("database-failover", "database", "database onset"),
        ("region-blackout", "region", "region onset"),
    ] {
        let findings = verdict
            .faults
            .iter()
            .find(|fault| fault.id.experiment == experiment)
            .expect("the fault was judged");
        let injected = real(findings.injected_at.expect("it was injected"));
        let order = &findings.steps["order"];
        let down = happened(what, "down", injected - 0.5);
        let felt = injected + real(order.onset);
        differences.push(Difference {
            seed,
            what: onset,
            ms: (felt - down) * 1e3,
            bound_ms,
        });
        // Users recover from the failover when the database accepts writes again. From the blackout they recover
        // elsewhere, each when his own DNS answer ends; what comes back is the Region itself.
        let up = happened(what, "up", down);
        let (name, recovery, direct) = match what {
            "database" => ("database recovery", order.recovery, false),
            _ => ("region recovery", findings.region_answered, true),
        };
        let recovered = injected + real(recovery.expect("it was seen to come back"));
        differences.push(Difference {
            seed,
            what: name,
            ms: (recovered - up) * 1e3,
            bound_ms: as_probed(&recording.probes, direct, recovered, bound_ms),
        });
    }
    differences
}

/// One probe interval as it really was, from the probe that came too early to the answer of the first that did not:
/// where a probe is what saw the recovery, the answer's own time and the lateness of a tick belong to it. Never more
/// than half an interval, so that probes that stop for a while are still found out.
fn as_probed(probes: &[ProbeSample], direct: bool, recovered: f64, interval_ms: f64) -> f64 {
    let since = |at: Duration| (recovered - at.as_secs_f64()) * 1e3;
    let mut same: Vec<&ProbeSample> = probes.iter().filter(|probe| probe.direct == direct).collect();
    same.sort_by_key(|probe| (probe.step, probe.started));
    same.windows(2)
        .filter(|pair| pair[0].step == pair[1].step)
        .find(|pair| pair[1].failure.is_none() && since(pair[1].finished).abs() < 0.1)
        .map_or(interval_ms, |pair| {
            since(pair[0].started).clamp(interval_ms, 1.5 * interval_ms)
        })
}

#[test]
fn truth_allows_a_probe_its_answer_and_no_more() {
    let probe_of = |step: usize, started_ms: u64, finished_ms: u64, ok: bool| ProbeSample {
        step,
        started: Duration::from_millis(started_ms),
        finished: Duration::from_millis(finished_ms),
        failure: (!ok).then_some(FailureKind::Refused),
        sent_to: String::new(),
        direct: false,
    };
    let probe = |started_ms: u64, finished_ms: u64, ok: bool| probe_of(0, started_ms, finished_ms, ok);
    for (probes, recovered, bound) in [
        (vec![probe(0, 1, false), probe(51, 54, true)], 0.054, 54.0),
        (vec![probe(0, 1, false), probe(500, 504, true)], 0.504, 75.0),
        (vec![probe(0, 1, false), probe(51, 54, true)], 0.030, 50.0),
        // Another step's probe is none of its interval.
        (
            vec![probe(0, 1, false), probe_of(1, 30, 31, true), probe(51, 54, true)],
            0.054,
            54.0,
        ),
        (vec![probe_of(1, 0, 1, true), probe(51, 54, true)], 0.054, 50.0),
        (vec![], 0.030, 50.0),
    ] {
        let allowed = as_probed(&probes, false, recovered, 50.0);
        assert!((allowed - bound).abs() < 1e-6, "{allowed} {bound} {probes:?}");
    }
}

/// The loss of instances begins for users when the first of them goes, and ends with the last: the load balancer sends
/// nobody to one that is gone.
fn instance_loss(seed: u64, run: &Run, bound_ms: f64) -> Vec<Difference> {
    let (plan, recording, verdict, truth) = (run.plan(), run.recording(), run.verdict(), run.truth());
    let findings = verdict
        .faults
        .iter()
        .find(|fault| fault.id.experiment == "instance-loss")
        .expect("the fault was judged");
    let real = |cloud: Duration| plan.pace.to_real(cloud).as_secs_f64();
    let injected = real(findings.injected_at.expect("it was injected"));
    let gone: Vec<f64> = truth
        .iter()
        .filter(|line| line["what"] == "instance" && line["state"] == "down")
        .filter(|line| findings.resources.iter().any(|id| line["id"] == id.as_str()))
        .filter_map(|line| line["real"].as_f64())
        .map(|unix| unix - recording.t0_unix)
        .filter(|at| *at >= injected - 0.5)
        .collect();
    assert!(
        gone.len() >= findings.resources.len(),
        "the truth has every instance that was lost: {gone:?} {:?}",
        findings.resources
    );
    let first = gone.iter().copied().fold(f64::INFINITY, f64::min);
    let last = gone.iter().copied().fold(0.0, f64::max);
    [
        ("instance onset", findings.onset, first),
        ("instance recovery", findings.recovery, last),
    ]
    .into_iter()
    .map(|(what, measured, happened)| {
        let felt = injected + real(measured.unwrap_or_else(|| panic!("seed {seed}: nobody felt it")));
        Difference {
            seed,
            what,
            ms: (felt - happened) * 1e3,
            bound_ms: as_probed(&recording.probes, false, felt, bound_ms),
        }
    })
    .collect()
}

fn print_distribution(differences: &[Difference]) {
    println!("measured minus true, real ms, sorted");
    for what in [
        "instance onset",
        "instance recovery",
        "database onset",
        "database recovery",
        "region onset",
        "region recovery",
    ] {
        let mut ms: Vec<f64> = differences
            .iter()
            .filter(|one| one.what == what)
            .map(|one| one.ms)
            .collect();
        ms.sort_by(f64::total_cmp);
        let texts: Vec<String> = ms.iter().map(|ms| format!("{ms:.1}")).collect();
        println!("{what:>18}  {}", texts.join(" "));
    }
}
