//! What the kernel says of the machine and of the process's limits: stolen CPU time, TCP segments sent again,
//! descriptors and local ports. Judges nothing.

use nix::sys::resource::{Resource, getrlimit};

use crate::plan::Limits;
use crate::recording::GeneratorSlice;

/// Reads the machine; remembers the counters of the last reading.
pub struct Machine {
    cpu: Cpu,
    tcp: Tcp,
    limits: Limits,
}

/// What this process may use, and uses already. Unlimited where the kernel does not say.
#[must_use]
pub fn limits() -> Limits {
    Limits {
        descriptors: getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft),
        in_use: std::fs::read_dir("/proc/self/fd").map_or(0, |open| open.count() as u64),
        ports: ports(&read("/proc/sys/net/ipv4/ip_local_port_range")).unwrap_or(u64::MAX),
    }
}

/// CPU time of the whole machine since it started, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cpu {
    all: u64,
    steal: u64,
}

/// TCP segments of the whole network namespace since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tcp {
    sent: u64,
    /// Those of connections that were being opened not among them: a target that takes no more drops them, and that is
    /// for its users to feel and not for the generator to answer for.
    resent: u64,
}

impl Tcp {
    fn now() -> Self {
        tcp(&read("/proc/net/snmp"), &read("/proc/net/netstat"))
    }
}

impl Machine {
    /// Begins to measure.
    #[must_use]
    pub fn start() -> Self {
        Self {
            cpu: cpu(&read("/proc/stat")),
            tcp: Tcp::now(),
            limits: limits(),
        }
    }

    /// Writes down what happened since the last reading, and what is in use now.
    pub fn read(&mut self, slice: &mut GeneratorSlice) {
        let (cpu, tcp) = (cpu(&read("/proc/stat")), Tcp::now());
        let ticks = cpu.all.saturating_sub(self.cpu.all).max(1);
        slice.steal = cpu.steal.saturating_sub(self.cpu.steal) as f64 / ticks as f64;
        slice.segments_sent = tcp.sent.saturating_sub(self.tcp.sent);
        slice.segments_resent = tcp.resent.saturating_sub(self.tcp.resent);
        (self.cpu, self.tcp) = (cpu, tcp);
        slice.descriptors = descriptors();
        slice.descriptors_limit = known(self.limits.descriptors);
        slice.ports_limit = known(self.limits.ports);
    }
}

/// To whoever judges a limit of zero is none.
fn known(limit: u64) -> u64 {
    if limit == u64::MAX { 0 } else { limit }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Kernels from 6.2 on say in one call how many there are; counting them one by one would cost a loaded thread
/// milliseconds, so on older ones they stay unknown.
fn descriptors() -> u64 {
    std::fs::metadata("/proc/self/fd").map_or(0, |directory| directory.len())
}

/// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal; what guests took is in user.
fn cpu(stat: &str) -> Cpu {
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).flat_map(str::parse).take(8).collect();
    Cpu {
        all: ticks.iter().sum(),
        steal: ticks.get(7).copied().unwrap_or_default(),
    }
}

/// Of `/proc/net/snmp` and `/proc/net/netstat`, each counter in a line of values below a line of names.
fn tcp(snmp: &str, netstat: &str) -> Tcp {
    Tcp {
        sent: counter(snmp, "Tcp:", "OutSegs"),
        // The kernel counts a SYN that it sends again in both (tcp_retransmit_skb, tcp_rtx_synack).
        resent: counter(snmp, "Tcp:", "RetransSegs").saturating_sub(counter(netstat, "TcpExt:", "TCPSynRetrans")),
    }
}

fn counter(text: &str, group: &str, name: &str) -> u64 {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(group));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut pairs = names.split_whitespace().zip(values.split_whitespace());
    let value = pairs.find(|(of, _)| *of == name).map(|(_, value)| value.parse());
    value.and_then(Result::ok).unwrap_or_default()
}

/// How many ports lie between the two of `ip_local_port_range`, both included: as many connections may go to one
/// address and port.
fn ports(range: &str) -> Option<u64> {
    let ends: Vec<u64> = range.split_whitespace().flat_map(str::parse).collect();
    match ends.as_slice() {
        [first, last] if first <= last => Some(last - first + 1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_files_are_read_as_the_kernel_writes_them() {
        let stat = "cpu  2501310 3190 439219 4542911 25999 7 104910 5317 11 12\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        let all = 2_501_310 + 3_190 + 439_219 + 4_542_911 + 25_999 + 7 + 104_910 + 5_317;
        assert_eq!(cpu(stat), Cpu { all, steal: 5_317 });
        let snmp = "Ip: Forwarding\nIp: 1\nTcp: RtoAlgorithm InSegs OutSegs RetransSegs InErrs\nTcp: 1 10 250 3 0\n";
        let netstat =
            "TcpExt: SyncookiesSent TCPSynRetrans TCPOrigDataSent\nTcpExt: 0 2 9\nIpExt: InNoRoutes\nIpExt: 0\n";
        assert_eq!(tcp(snmp, netstat), Tcp { sent: 250, resent: 1 });
        assert_eq!(tcp(snmp, "").resent, 3);
        assert_eq!(ports("32768\t60999\n"), Some(28_232));
        assert_eq!((cpu(""), tcp("", ""), ports("")), Default::default());
    }

    #[test]
    fn machine_of_this_test_is_measured() {
        let mut machine = Machine::start();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        let stream = std::net::TcpStream::connect(listener.local_addr().expect("is bound")).expect("connects");
        let mut slice = GeneratorSlice::default();
        machine.read(&mut slice);
        assert!(slice.segments_sent > 0, "a connect sends segments: {slice:?}");
        assert!((0.0..=1.0).contains(&slice.steal));
        assert!(slice.descriptors_limit > slice.descriptors, "{slice:?}");
        assert!(slice.ports_limit > 1, "{slice:?}");
        drop(stream);
    }
}
