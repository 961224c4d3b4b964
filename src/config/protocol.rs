//! What a step speaks, and what only that protocol knows; what it sends is its body, whatever the protocol.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::checks::Wanted;

/// The protocol of a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP: the step's method, path and headers.
    #[default]
    Http,
    /// Bytes over a TCP connection.
    Tcp(TcpStep),
    /// Server-sent events, as the answer to the step's GET.
    Events(EventsUntil),
    /// One thing done in a WebSocket session.
    WebSocket(WebSocketStep),
    /// A call of gRPC: the step's path names the method, its headers are the metadata.
    Grpc(GrpcStep),
}

/// What is special about a call of gRPC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrpcStep {
    /// The code that its status must be.
    pub status: u8,
    /// How long its answer is read, where that is a stream of messages.
    #[serde(default)]
    pub until: MessagesUntil,
}

/// When the stream of messages that answers a call has brought what the step came for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessagesUntil {
    /// The server ends it.
    #[default]
    End,
    /// So many messages.
    Messages(u64),
    /// So long after the call, cloud time.
    For(Duration),
}

/// When a stream of server-sent events has brought what the step came for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventsUntil {
    /// So many events.
    Events(u64),
    /// An event of this name.
    Event(String),
    /// An event with exactly this data.
    Data(String),
    /// So long after the request, cloud time.
    For(Duration),
    /// The server ends it.
    End,
}

/// What a step does in its WebSocket session, which lasts over several steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebSocketStep {
    /// Opens it with the step's GET.
    Open,
    /// Sends the step's body as a text message.
    SendText,
    /// Sends it as a binary message.
    SendBinary,
    /// Waits for the next message that is like this; those before it are passed over.
    Receive(Wanted),
    /// Sends a ping and waits for its pong.
    Ping,
    /// Stays for so long, cloud time, and answers pings; messages are passed over.
    Stay(Duration),
    /// Closes it, and waits until the server has done so too.
    Close,
}

impl Protocol {
    /// How long it takes because its user wants it so, cloud time; nobody's patience ends before.
    #[must_use]
    pub fn stays(&self) -> Duration {
        match self {
            Self::Events(EventsUntil::For(length)) | Self::WebSocket(WebSocketStep::Stay(length)) => *length,
            Self::Grpc(GrpcStep {
                until: MessagesUntil::For(length),
                ..
            }) => *length,
            _ => Duration::ZERO,
        }
    }

    /// Whether it belongs to a session that an earlier step opened.
    #[must_use]
    pub fn is_in_session(&self) -> bool {
        matches!(self, Self::WebSocket(step) if *step != WebSocketStep::Open)
    }
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
