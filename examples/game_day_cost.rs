//! What the game day costs: memory and CPU of the harness and of the lab while 100,000 users are held.
//! Prints figures and asserts nothing: machines differ and are noisy.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tenfold::plan::Plan;
use tenfold::recording::Recording;

/// Clock ticks per second of /proc/PID/stat on Linux.
const TICKS: f64 = 100.0;

/// One reading of a process.
#[derive(Clone, Copy)]
struct Reading {
    at: Instant,
    cpu_seconds: f64,
    resident_mib: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let out = std::env::temp_dir().join(format!("tenfold-cost-{}", std::process::id()));
    let binary = std::env::current_exe()?
        .parent()
        .and_then(Path::parent)
        .ok_or("no target directory")?
        .join("tenfold");
    if !binary.exists() {
        return Err("build the binary first: cargo build --release".into());
    }
    let started = Instant::now();
    let mut harness = Command::new(binary)
        .args(["run", "profiles/game-day.yaml", "--quiet", "--out"])
        .arg(&out)
        .args(std::env::args().skip(1))
        .stdout(Stdio::null())
        .spawn()?;
    let (mut harness_readings, mut lab_readings) = (Vec::new(), Vec::new());
    while harness.try_wait()?.is_none() {
        harness_readings.extend(read(harness.id()));
        lab_readings.extend(child_of(harness.id()).and_then(read));
        std::thread::sleep(Duration::from_millis(500));
    }
    let plan: Plan = serde_json::from_slice(&fs::read(out.join("plan.json"))?)?;
    let recording: Recording = serde_json::from_slice(&fs::read(out.join("recording.json"))?)?;
    print(&plan, &recording, started, &harness_readings, &lab_readings);
    fs::remove_dir_all(&out)?;
    Ok(())
}

fn print(plan: &Plan, recording: &Recording, started: Instant, harness: &[Reading], lab: &[Reading]) {
    let Some(stage) = plan.stages.last() else { return };
    let now_unix = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64();
    // t0 on the monotonic clock of this process.
    let t0 = Instant::now() - Duration::from_secs_f64((now_unix - recording.t0_unix).max(0.0));
    let from = t0 + plan.pace.to_real(stage.holds_at);
    let until = t0 + plan.pace.to_real(stage.ends_at);
    let seconds = plan.pace.to_real(stage.holds_at).as_secs()..plan.pace.to_real(stage.ends_at).as_secs();
    let finished: u64 = recording
        .slices
        .iter()
        .filter(|slice| seconds.contains(&slice.second))
        .flat_map(|slice| &slice.steps)
        .map(|step| step.ok + step.failures())
        .sum();
    println!(
        "{} users held for {:.0} s real, {finished} requests, pace {}",
        stage.level,
        (until - from).as_secs_f64(),
        plan.pace
    );
    for (name, readings) in [("harness", harness), ("lab", lab)] {
        let held: Vec<&Reading> = readings
            .iter()
            .filter(|reading| reading.at >= from && reading.at <= until)
            .collect();
        let (Some(first), Some(last)) = (held.first(), held.last()) else {
            println!("{name:>8}: no reading in the stage");
            continue;
        };
        let cpu = last.cpu_seconds - first.cpu_seconds;
        let peak = held.iter().map(|reading| reading.resident_mib).fold(0.0, f64::max);
        println!(
            "{name:>8}: peak resident {peak:.0} MiB, {:.2} cores, {:.1} CPU s per million requests",
            cpu / (last.at - first.at).as_secs_f64(),
            cpu / (finished as f64 / 1e6)
        );
    }
    println!("whole run: {:.0} s real", started.elapsed().as_secs_f64());
}

fn read(pid: u32) -> Option<Reading> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name may hold spaces; the fields after it do not.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(Reading {
        at: Instant::now(),
        cpu_seconds: ticks / TICKS,
        resident_mib: kib / 1024.0,
    })
}

fn child_of(pid: u32) -> Option<u32> {
    fs::read_dir(PathBuf::from("/proc")).ok()?.flatten().find_map(|entry| {
        let child: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let parent: u32 = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        (parent == pid).then_some(child)
    })
}
