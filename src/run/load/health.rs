//! The generator's own health: CPU of this thread and process, resident memory, and what `machine` reads.
//! Read from the kernel once a second; judges nothing.

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

use super::machine::Machine;
use crate::recording::GeneratorSlice;

/// Shorter spans than this say nothing: a wake-up fills them. The last second of a run can be one.
const SPAN_MIN: Duration = Duration::from_millis(100);

/// CPU meter of one shard's thread.
pub struct Meter {
    at: Instant,
    thread: Duration,
    process: Duration,
    /// Of the shard that also measures process and machine.
    machine: Option<Machine>,
}

impl Meter {
    /// Starts measuring on the current thread; one shard also measures the process and the machine.
    #[must_use]
    pub fn start(whole_process: bool) -> Self {
        Self {
            at: Instant::now(),
            thread: cpu(UsageWho::RUSAGE_THREAD),
            process: cpu(UsageWho::RUSAGE_SELF),
            machine: whole_process.then(Machine::start),
        }
    }

    /// What was used since the last reading, beside open connections and the most of them to one address.
    pub fn read(&mut self, connections: u64, busiest: u64) -> GeneratorSlice {
        let (now, thread) = (Instant::now(), cpu(UsageWho::RUSAGE_THREAD));
        let wall = now.duration_since(self.at).max(SPAN_MIN).as_secs_f64();
        let mut slice = GeneratorSlice {
            cpu_busiest_shard: (thread.saturating_sub(self.thread).as_secs_f64() / wall).min(1.0),
            connections,
            ports: busiest,
            ..GeneratorSlice::default()
        };
        (self.at, self.thread) = (now, thread);
        if let Some(machine) = &mut self.machine {
            let process = cpu(UsageWho::RUSAGE_SELF);
            slice.cpu_process = process.saturating_sub(self.process).as_secs_f64() / wall;
            slice.resident_bytes = resident_bytes();
            self.process = process;
            machine.read(&mut slice);
        }
        slice
    }
}

fn cpu(who: UsageWho) -> Duration {
    let Ok(usage) = getrusage(who) else {
        return Duration::ZERO;
    };
    let of = |time: nix::sys::time::TimeVal| {
        Duration::new(time.tv_sec().max(0) as u64, (time.tv_usec().max(0) * 1000) as u32)
    };
    of(usage.user_time()) + of(usage.system_time())
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_thread_is_seen_busy() {
        let mut meter = Meter::start(true);
        let end = Instant::now() + Duration::from_millis(100);
        let mut sum = 0u64;
        while Instant::now() < end {
            sum = sum.wrapping_add(std::hint::black_box(1));
        }
        let slice = meter.read(3, 2);
        assert!(
            slice.cpu_busiest_shard > 0.05 && slice.cpu_busiest_shard <= 1.0,
            "{slice:?}"
        );
        assert!(slice.cpu_process >= slice.cpu_busiest_shard * 0.9);
        assert!(slice.resident_bytes > 1_000_000);
        assert_eq!((slice.connections, slice.ports), (3, 2));
        assert!(slice.descriptors_limit > 0);
        let other = Meter::start(false).read(3, 2);
        assert_eq!(other.descriptors_limit, 0, "one shard speaks for the machine");
    }
}
