//! What was measured: per-second slices with histograms, pulses, probes, ledgers, the generator's own health, events.
//! Percentiles are only ever computed from merged histograms, never averaged.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer as HistogramReader, Serializer as _, V2Serializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event::Stamped;
use crate::units::seconds;

/// Version of the recording's format.
pub const RECORDING_VERSION: u32 = 1;

/// Highest value a histogram holds: an hour in microseconds; longer is counted as this.
pub const HISTOGRAM_MAX_US: u64 = 3_600_000_000;

/// Everything that happened in a run; enough to judge it again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recording {
    /// [`RECORDING_VERSION`].
    pub version: u32,
    /// Version of tenfold that recorded it.
    pub recorded_by: String,
    /// Unix seconds (real) of t0.
    pub t0_unix: f64,
    /// Unix seconds at which cloud and real time agreed.
    pub epoch_unix: f64,
    /// Real time from t0 to the end of the run.
    #[serde(with = "seconds")]
    pub duration: Duration,
    /// How it ended.
    pub ended: Ended,
    /// One per real second, in order.
    pub slices: Vec<Slice>,
    /// Fine-grained outcome per step, by step index.
    pub pulses: Vec<Pulse>,
    /// Probe results.
    pub probes: Vec<ProbeSample>,
    /// Ledgers by name.
    pub ledgers: BTreeMap<String, LedgerResult>,
    /// What became of the requests for tokens, by client; they are no requests of the load.
    #[serde(default)]
    pub tokens: Vec<TokenAccount>,
    /// Events in order of `at`.
    pub events: Vec<Stamped>,
    /// What could not be kept, with a count each (events over the bound, probe results over the bound).
    pub dropped: BTreeMap<String, u64>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// The schedule was finished.
    Finished,
    /// A stop condition held; everything was reverted.
    Stopped,
    /// The user interrupted; everything was reverted.
    Interrupted,
    /// The target or AWS could not be reached.
    Unreachable,
    /// A fault is still in the world.
    Unreverted,
}

/// One real second of all shards together.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Slice {
    /// Whole real seconds since t0 at which it begins. A request belongs to the slice in which it finished.
    pub second: u64,
    /// Users alive at its end (closed model), or requests in flight (open model).
    pub users: u64,
    /// Requests intended in it.
    pub intended: u64,
    /// Requests not sent because of the safety limit or a full queue.
    pub dropped: u64,
    /// Of them, passes that the end of their load left unmade.
    #[serde(default)]
    pub unmade: u64,
    /// Of them, passes for which a feeder that gives each row once had none left.
    #[serde(default)]
    pub rowless: u64,
    /// Attempts after the first one of a request: the client's retries, and those of requests that are sent once more
    /// because the server had just closed the connection they were sent on.
    #[serde(default)]
    pub retries: u64,
    /// By step index.
    pub steps: Vec<StepSlice>,
    /// By group, in the order in which the plan names them: passes through it and, as `latency`, the time from the
    /// intended start of the first request to the end of the last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<StepSlice>,
    /// How long it took to connect, microseconds, of connections opened in it: they belong to no step.
    #[serde(default)]
    pub connect: Hist,
    /// The same of TLS handshakes.
    #[serde(default)]
    pub tls: Hist,
    /// Successful requests by who served them.
    pub served: BTreeMap<ServedBy, u64>,
    /// Failed requests by who answered them; where no answer says it, only by the Region of the address.
    #[serde(default)]
    pub served_failed: BTreeMap<ServedBy, u64>,
    /// Requests started, by the Region of the address they were sent to; `unknown` where no map has it.
    pub sent: BTreeMap<String, u64>,
    /// By class of clients, in the order of the plan; none where all users are alike.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassSlice>,
    /// The generator's own health in this second.
    pub generator: GeneratorSlice,
}

/// One step in one second.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StepSlice {
    /// Succeeded.
    pub ok: u64,
    /// Failed, by kind.
    pub failed: BTreeMap<FailureKind, u64>,
    /// Why the first of a kind failed, where that is known and not told in an earlier second.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub why: BTreeMap<FailureKind, String>,
    /// Latency (from the intended start) of all finished requests, failed ones too, microseconds; what an objective on
    /// `latency` means.
    pub latency: Hist,
    /// The same of those that failed, so that the rest is that of successes, exactly; an older recording has none.
    #[serde(default)]
    pub latency_failed: Hist,
    /// Service time of all finished requests that had a connection, microseconds.
    pub service_time: Hist,
    /// Lag of all started requests, microseconds.
    pub lag: Hist,
    /// How long finished requests stood in line for a connection, microseconds; zero for those that did not.
    #[serde(default)]
    pub blocked: Hist,
    /// From sending to the first byte of the answer, microseconds, of finished requests that got one.
    #[serde(default)]
    pub first_byte: Hist,
    /// How long streams of events were silent, microseconds: from the head to the first event and from each event to the
    /// next, in the second in which that came. A silence that lasts to the end counts where it is the longest of its
    /// stream. The same of messages while a user stays in a session, where something is expected of it.
    #[serde(default, skip_serializing_if = "Hist::is_empty")]
    pub gaps: Hist,
}

impl StepSlice {
    /// All failures.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }
}

/// One class of clients in one second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClassSlice {
    /// Requests intended in it.
    pub intended: u64,
    /// Requests not sent because of the safety limit or a full queue.
    pub dropped: u64,
    /// Attempts after the first one of a request.
    pub retries: u64,
    /// Requests that succeeded.
    pub ok: u64,
    /// Requests that failed, after all their attempts.
    pub failed: u64,
    /// Attempts begun, the first ones included.
    pub attempts: u64,
    /// The same by the address they were sent to; those to addresses beyond a bound are only in `attempts`.
    pub sent: BTreeMap<IpAddr, u64>,
}

impl ClassSlice {
    /// Attempts per intended request; none where nothing was intended.
    #[must_use]
    pub fn amplification(&self) -> Option<f64> {
        (self.intended > 0).then(|| self.attempts as f64 / self.intended as f64)
    }

    /// Adds another shard's share, or another second.
    pub fn merge(&mut self, other: &ClassSlice) {
        self.intended += other.intended;
        self.dropped += other.dropped;
        self.retries += other.retries;
        self.ok += other.ok;
        self.failed += other.failed;
        self.attempts += other.attempts;
        for (address, count) in &other.sent {
            *self.sent.entry(*address).or_default() += count;
        }
    }
}

/// An enum of names alone, with a list of all of them in the order in which they are declared.
macro_rules! listed {
    ($(#[$of_all:meta])* pub enum $name:ident { $($(#[$of_one:meta])* $one:ident,)+ }) => {
        $(#[$of_all])*
        pub enum $name {
            $($(#[$of_one])* $one,)+
        }

        impl $name {
            /// Each of them, at the index that it is as a number.
            pub const ALL: [Self; [$(stringify!($one)),+].len()] = [$(Self::$one),+];
        }
    };
}

listed! {
    /// Why a request failed.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum FailureKind {
        /// No DNS answer.
        Dns,
        /// Connection refused.
        Refused,
        /// No connection in time; see [`FailureKind::TlsTimeout`].
        ConnectTimeout,
        /// Sent, and no byte of a response in time; of a probe, no whole response.
        Timeout,
        /// Connection reset or closed before the whole response.
        Reset,
        /// The response was not HTTP.
        Protocol,
        /// 4xx.
        Status4xx,
        /// 5xx.
        Status5xx,
        /// Another status or body than expected, or a stream that is silent for longer.
        Expectation,
        /// No TLS: a bad certificate, an alert, a record that does not verify.
        Tls,
        /// A redirect that was not followed: one too many, or to another host.
        Redirect,
        /// The time ran out in the line for a connection, or most of it passed there.
        BlockedTimeout,
        /// Connected, and no TLS in time.
        TlsTimeout,
        /// The response began and was not whole in time.
        BodyTimeout,
        /// Another status of gRPC than expected.
        Grpc,
    }
}

impl FailureKind {
    /// Whether an answer came, if not the wished one.
    #[must_use]
    pub fn is_answer(self) -> bool {
        match self {
            Self::Status4xx | Self::Status5xx | Self::Expectation | Self::Redirect | Self::BodyTimeout | Self::Grpc => {
                true
            }
            Self::Dns
            | Self::Refused
            | Self::ConnectTimeout
            | Self::Timeout
            | Self::Reset
            | Self::Protocol
            | Self::Tls
            | Self::BlockedTimeout
            | Self::TlsTimeout => false,
        }
    }
}

/// The instance, AZ and Region that served a response; empty strings where the response did not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServedBy {
    /// Instance id.
    pub instance: String,
    /// AZ.
    pub az: String,
    /// Region.
    pub region: String,
}

impl ServedBy {
    /// Reads `i-…/us-east-1a/us-east-1`; missing parts stay empty.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut parts = text.split('/').map(|part| part.trim().to_owned());
        Self {
            instance: parts.next().unwrap_or_default(),
            az: parts.next().unwrap_or_default(),
            region: parts.next().unwrap_or_default(),
        }
    }
}

impl std::fmt::Display for ServedBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.instance, self.az, self.region)
    }
}

impl Serialize for ServedBy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ServedBy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::parse(&String::deserialize(deserializer)?))
    }
}

/// The generator's own health in one second.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct GeneratorSlice {
    /// CPU of the busiest shard thread, share of one core, 0 to 1.
    pub cpu_busiest_shard: f64,
    /// CPU of the whole process, in cores.
    pub cpu_process: f64,
    /// Resident memory, bytes.
    pub resident_bytes: u64,
    /// Open connections, the most at once.
    pub connections: u64,
    /// Share of the machine's CPU time that its hypervisor gave to others, 0 to 1.
    #[serde(default)]
    pub steal: f64,
    /// TCP segments sent by everything in this network namespace.
    #[serde(default)]
    pub segments_sent: u64,
    /// Of them, sent again because no acknowledgement came.
    #[serde(default)]
    pub segments_resent: u64,
    /// Descriptors in use by the process; zero where the kernel does not say.
    #[serde(default)]
    pub descriptors: u64,
    /// How many it may use; zero where that is not known.
    #[serde(default)]
    pub descriptors_limit: u64,
    /// Most connections to one address, open or being opened, each with a local port.
    #[serde(default)]
    pub ports: u64,
    /// How many local ports there are; zero where that is not known.
    #[serde(default)]
    pub ports_limit: u64,
    /// Longest time for which a shard did not look at its users although it had to, real time.
    #[serde(default, with = "seconds")]
    pub standstill: Duration,
}

impl GeneratorSlice {
    /// Adds another shard's share of the same second.
    pub fn merge(&mut self, other: &GeneratorSlice) {
        self.connections += other.connections;
        self.ports += other.ports;
        self.merge_machine(other);
    }

    /// Adds an earlier second of the same shard.
    pub fn follow(&mut self, earlier: &GeneratorSlice) {
        self.ports = self.ports.max(earlier.ports);
        self.merge_machine(earlier);
    }

    /// What adds up alike for shards and for seconds: what was sent is summed, of everything else the most is kept.
    fn merge_machine(&mut self, other: &GeneratorSlice) {
        self.cpu_busiest_shard = self.cpu_busiest_shard.max(other.cpu_busiest_shard);
        self.cpu_process = self.cpu_process.max(other.cpu_process);
        self.resident_bytes = self.resident_bytes.max(other.resident_bytes);
        self.steal = self.steal.max(other.steal);
        self.segments_sent += other.segments_sent;
        self.segments_resent += other.segments_resent;
        self.descriptors = self.descriptors.max(other.descriptors);
        self.descriptors_limit = self.descriptors_limit.max(other.descriptors_limit);
        self.ports_limit = self.ports_limit.max(other.ports_limit);
        self.standstill = self.standstill.max(other.standstill);
    }
}

/// Fine-grained outcome of one step over the run: one cell per `cell` of real time, by the instant requests started.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Pulse {
    /// Width of a cell, real time.
    #[serde(with = "seconds")]
    pub cell: Duration,
    /// Sparse: only cells in which something finished.
    pub cells: BTreeMap<u32, PulseCell>,
}

/// Requests that started within one cell, by the Region they were sent to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PulseCell {
    /// Succeeded.
    pub ok: u32,
    /// Failed.
    pub failed: u32,
    /// Earliest finish of a success, microseconds of real time since t0.
    pub first_ok_finished_us: Option<u64>,
    /// Exact start of the earliest failure, microseconds since t0.
    pub first_failed_started_us: Option<u64>,
    /// Latest finish of a failure, microseconds since t0.
    pub last_failed_finished_us: Option<u64>,
}

impl PulseCell {
    /// Adds another shard's cell.
    pub fn merge(&mut self, other: &PulseCell) {
        self.ok += other.ok;
        self.failed += other.failed;
        self.first_ok_finished_us = least(self.first_ok_finished_us, other.first_ok_finished_us);
        self.first_failed_started_us = least(self.first_failed_started_us, other.first_failed_started_us);
        self.last_failed_finished_us = self.last_failed_finished_us.max(other.last_failed_finished_us);
    }
}

fn least(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// One probe's result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeSample {
    /// Step index.
    pub step: usize,
    /// Real time since t0.
    #[serde(with = "seconds")]
    pub started: Duration,
    /// Real time since t0.
    #[serde(with = "seconds")]
    pub finished: Duration,
    /// None for a success.
    pub failure: Option<FailureKind>,
    /// Region of the address it was sent to.
    pub sent_to: String,
    /// Sent straight to its Region, past DNS: it says what the Region did, not what users felt.
    #[serde(default)]
    pub direct: bool,
}

/// The requests for tokens of one client.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TokenAccount {
    /// Where it asked.
    pub token_url: String,
    /// Requests.
    pub asked: u64,
    /// Those that brought no token, by what came instead.
    pub failed: BTreeMap<String, u64>,
    /// How long all of them took, microseconds.
    pub took: Hist,
    /// How long users went on with a token that was over, real time, all tokens together.
    #[serde(with = "seconds")]
    pub expired: Duration,
}

/// A ledger after read-back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LedgerResult {
    /// Writes acknowledged to a user, by Region that served them.
    pub acknowledged: BTreeMap<String, u64>,
    /// Writes whose outcome the user never learned.
    pub unknown: u64,
    /// Acknowledged and read back.
    pub found: u64,
    /// Acknowledged and reliably not there.
    pub lost: Vec<LostWrite>,
    /// Acknowledged and not readable because the read itself failed; makes a loss of zero inconclusive.
    pub unreadable: u64,
}

/// A write into a ledger as its user saw it; kept in memory until the read-back, never written to the recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Ledger name.
    pub ledger: String,
    /// The write's unique id.
    pub id: String,
    /// When it was acknowledged, or given up, real time since t0.
    pub at: Duration,
    /// Region that acknowledged it, or to which it was sent; empty where that is not known.
    pub region: String,
}

/// A lost write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LostWrite {
    /// Its id.
    pub id: String,
    /// When it was acknowledged, real time since t0.
    #[serde(with = "seconds")]
    pub acknowledged: Duration,
    /// Region that acknowledged it.
    pub region: String,
}

/// A latency histogram in its compact V2 form; merged by decoding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hist {
    encoded: Vec<u8>,
}

impl Hist {
    /// An empty working histogram of the bounds we use everywhere: 1 us to an hour, two significant digits
    /// (an error below 1 %).
    #[must_use]
    pub fn working() -> Histogram<u64> {
        Histogram::new_with_bounds(1, HISTOGRAM_MAX_US, 2).expect("the bounds are valid constants")
    }

    /// Encodes a working histogram; an empty one takes no space.
    #[must_use]
    pub fn encode(histogram: &Histogram<u64>) -> Self {
        let mut encoded = Vec::new();
        if !histogram.is_empty() {
            V2Serializer::new()
                .serialize(histogram, &mut encoded)
                .expect("writing to memory cannot fail");
        }
        Self { encoded }
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.encoded.is_empty()
    }

    /// Adds it to a working histogram; fails on a damaged file.
    pub fn add_to(&self, into: &mut Histogram<u64>) -> Result<(), HistError> {
        if self.encoded.is_empty() {
            return Ok(());
        }
        let decoded: Histogram<u64> = HistogramReader::new()
            .deserialize(&mut self.encoded.as_slice())
            .map_err(|_| HistError)?;
        into.add(&decoded).map_err(|_| HistError)
    }
}

/// A histogram that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a histogram in the recording is damaged")]
pub struct HistError;

impl Serialize for Hist {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&base64::engine::general_purpose::STANDARD.encode(&self.encoded))
    }
}

impl<'de> Deserialize<'de> for Hist {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let encoded = base64::engine::general_purpose::STANDARD
            .decode(text)
            .map_err(serde::de::Error::custom)?;
        Ok(Self { encoded })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_merge_exactly_through_their_encoding() {
        let (mut one, mut other, mut both) = (Hist::working(), Hist::working(), Hist::working());
        for value in 1..2000u64 {
            one.record(value * 7).expect("within bounds");
            other.record(value * 131).expect("within bounds");
            both.record(value * 7).expect("within bounds");
            both.record(value * 131).expect("within bounds");
        }
        let mut merged = Hist::working();
        for part in [&one, &other] {
            let text = serde_json::to_string(&Hist::encode(part)).expect("serialises");
            let read: Hist = serde_json::from_str(&text).expect("parses");
            read.add_to(&mut merged).expect("is whole");
        }
        assert_eq!(merged, both);
        assert!(Hist { encoded: vec![1, 2, 3] }.add_to(&mut merged).is_err());
    }

    #[test]
    fn every_kind_of_failure_is_listed_once_where_its_number_is() {
        let numbers = FailureKind::ALL.map(|kind| kind as usize);
        assert!(numbers.into_iter().eq(0..FailureKind::ALL.len()), "{numbers:?}");
    }

    #[test]
    fn served_by_keeps_what_it_is_told() {
        let served = ServedBy::parse("i-1/us-east-1a/us-east-1");
        assert_eq!(served.region, "us-east-1");
        assert_eq!(ServedBy::parse(&served.to_string()), served);
        assert_eq!(ServedBy::parse("").instance, "");
    }
}
