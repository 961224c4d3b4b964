//! What a step speaks, and what only that protocol knows; what it sends is its body, whatever the protocol.

use serde::{Deserialize, Serialize};

/// The protocol of a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP: the step's method, path and headers.
    #[default]
    Http,
    /// Bytes over a TCP connection.
    Tcp(TcpStep),
}

/// A request over raw TCP, and where its answer ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TcpStep {
    /// Port; the target's own when none.
    pub port: Option<u16>,
    /// Through TLS.
    pub tls: bool,
    /// Where the answer ends.
    pub until: TcpUntil,
    /// The connection is closed after the answer.
    pub close: bool,
}

/// Where an answer over raw TCP ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TcpUntil {
    /// No answer is awaited.
    Sent,
    /// Before these bytes.
    Delimiter(String),
    /// After so many bytes.
    Bytes(u64),
    /// After so many bytes as a number in front says, which is itself so many bytes long, the highest first.
    Prefix(u8),
    /// With the connection.
    Close,
}
