//! What the data plane counted in one minute, per instance, load balancer and database. CloudWatch publishes it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use hdrhistogram::Histogram;

/// Everything counted since the last call of `take_minute`.
#[derive(Debug, Default, Clone)]
pub struct MinuteStats {
    /// By instance id; every instance that is open.
    pub instances: BTreeMap<String, InstanceMinute>,
    /// By load balancer ARN.
    pub load_balancers: BTreeMap<String, LoadBalancerMinute>,
    /// By Region and DB identifier.
    pub databases: BTreeMap<(String, String), DatabaseMinute>,
}

/// One instance's minute.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct InstanceMinute {
    /// Busy worker-seconds over worker-seconds, 0 to 1.
    pub busy: f64,
    /// Requests received, health checks excluded.
    pub requests: u64,
}

/// One load balancer's minute.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct LoadBalancerMinute {
    /// Requests received (RequestCount).
    pub requests: u64,
    /// HTTPCode_Target_2XX_Count.
    pub target_2xx: u64,
    /// HTTPCode_Target_4XX_Count.
    pub target_4xx: u64,
    /// HTTPCode_Target_5XX_Count.
    pub target_5xx: u64,
    /// HTTPCode_ELB_5XX_Count.
    pub elb_5xx: u64,
    /// HTTPCode_ELB_502_Count.
    pub elb_502: u64,
    /// HTTPCode_ELB_503_Count.
    pub elb_503: u64,
    /// HTTPCode_ELB_504_Count.
    pub elb_504: u64,
    /// TargetConnectionErrorCount.
    pub target_connection_errors: u64,
    /// TargetResponseTime.
    pub latency: Latency,
}

/// One database's minute.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct DatabaseMinute {
    /// Acknowledged writes.
    pub writes: u64,
    /// WriteLatency.
    pub write_latency: Latency,
    /// Most connections in use at once (DatabaseConnections).
    pub connections: u64,
}

/// A summary of latencies in seconds; zero where `count` is zero.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Latency {
    /// How many.
    pub count: u64,
    /// Average.
    pub average: f64,
    /// Shortest.
    pub min: f64,
    /// Longest.
    pub max: f64,
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
}

/// Latencies being recorded, in microseconds up to ten minutes.
#[derive(Debug)]
pub(crate) struct Recorder(Mutex<Histogram<u64>>);

const LONGEST_US: u64 = 600_000_000;

impl Recorder {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(
            Histogram::new_with_max(LONGEST_US, 2).expect("two digits up to ten minutes fit"),
        ))
    }

    pub(crate) fn record(&self, elapsed: std::time::Duration) {
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(LONGEST_US);
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .saturating_record(micros.max(1));
    }

    pub(crate) fn take(&self) -> Latency {
        let mut histogram = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if histogram.is_empty() {
            return Latency::default();
        }
        let seconds = |micros: u64| micros as f64 / 1e6;
        let taken = Latency {
            count: histogram.len(),
            average: histogram.mean() / 1e6,
            min: seconds(histogram.min()),
            max: seconds(histogram.max()),
            p50: seconds(histogram.value_at_quantile(0.5)),
            p99: seconds(histogram.value_at_quantile(0.99)),
        };
        histogram.reset();
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_minute_is_summarised_and_forgotten() {
        let recorder = Recorder::new();
        for ms in 1..=100 {
            recorder.record(Duration::from_millis(ms));
        }
        let taken = recorder.take();
        assert_eq!(taken.count, 100);
        assert!(
            (taken.p50 - 0.050).abs() < 0.001 && (taken.p99 - 0.099).abs() < 0.002,
            "{taken:?}"
        );
        assert!((taken.average - 0.0505).abs() < 0.001, "{taken:?}");
        assert_eq!(recorder.take(), Latency::default());
    }
}
