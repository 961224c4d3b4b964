//! Calls of gRPC, compiled: which messages go and come, and how they are written as bytes and as JSON. A message without
//! holes is encoded once; all others are filled as JSON and encoded when they are sent. Knows nothing of connections.

use std::io;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor, SerializeOptions};
use serde::de::Error as _;

use super::checks::CAPTURE_MAX;
use super::http1::BODY_MAX;
use super::lane::Captured;
use crate::plan::{Encoding, MessagesUntil, Part, Plan, Protocol, ServicesPlan, StepPlan, Template};
use crate::units::Pace;

/// Statuses of gRPC stand beyond those of HTTP, so that one number tells both: NOT_FOUND is 1005.
pub const STATUS: u16 = 1000;
/// Who says so does not know the caller.
pub const UNAUTHENTICATED: u16 = STATUS + 16;

/// Before each message: whether it is compressed, and its length (gRPC over HTTP/2, "Length-Prefixed-Message").
const PREFIX: usize = 5;

/// A call that cannot be made as written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The descriptors miss something.
    #[error("the services of gRPC are not described whole: {0}")]
    Services(String),
    /// No descriptor is of the method.
    #[error("step {step:?}: nothing describes the method {path}\nhint: name what does in `grpc` of the profile")]
    Unknown {
        /// Step name.
        step: String,
        /// As it is asked for.
        path: String,
    },
    /// Only one message goes.
    #[error("step {step:?}: {method} takes a stream of messages, which no step sends")]
    Streaming {
        /// Step name.
        step: String,
        /// Method.
        method: String,
    },
    /// What is to be sent is no such message.
    #[error("step {step:?}: what it sends is no {message}: {problem}")]
    Message {
        /// Step name.
        step: String,
        /// The kind of message.
        message: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// What steps may call.
pub struct Services(Option<DescriptorPool>);

/// A step's call, ready to be made.
#[derive(Clone, Debug)]
pub struct Call {
    /// What is sent, where it has holes.
    input: Option<MessageDescriptor>,
    output: MessageDescriptor,
    /// How long the stream that answers it is read, real time; none where one message does.
    until: Option<MessagesUntil>,
    /// Somebody looks at what comes.
    keeps: bool,
}

impl Services {
    /// Those that a plan describes.
    pub fn of(plan: &Plan) -> Result<Self, CallError> {
        match &plan.services {
            Some(ServicesPlan::Descriptors(descriptors)) => {
                let pool = DescriptorPool::decode(&descriptors[..]);
                let pool = pool.map_err(|problem| CallError::Services(problem.to_string()))?;
                Ok(Self(Some(pool)))
            }
            // Nobody asked; every call will be one that nothing describes.
            Some(ServicesPlan::Reflection) | None => Ok(Self(None)),
        }
    }

    /// The step as it is sent and its call; none where it speaks something else.
    pub fn prepare(&self, step: &StepPlan, pace: Pace) -> Result<Option<(StepPlan, Call)>, CallError> {
        let Protocol::Grpc(grpc) = &step.protocol else {
            return Ok(None);
        };
        let path = step.path.text();
        let method = self.method(&path).ok_or_else(|| CallError::Unknown {
            step: step.name.clone(),
            path,
        })?;
        if method.is_client_streaming() {
            return Err(CallError::Streaming {
                step: step.name.clone(),
                method: method.full_name().to_owned(),
            });
        }
        let until = match &grpc.until {
            _ if !method.is_server_streaming() => None,
            MessagesUntil::For(length) => Some(MessagesUntil::For(pace.patience(*length))),
            other => Some(other.clone()),
        };
        let mut step = step.clone();
        head(&mut step, pace);
        let mut call = Call {
            input: Some(method.input()),
            output: method.output(),
            until,
            keeps: false,
        };
        if let Some(body) = &mut step.body
            && body.template.parts.iter().all(|part| matches!(part, Part::Text(_)))
        {
            let encoded = call.encode(body.template.text().as_bytes());
            let message = encoded.map_err(|problem| CallError::Message {
                step: step.name.clone(),
                message: method.input().full_name().to_owned(),
                problem: problem.to_string(),
            })?;
            body.template.parts = vec![Part::Bytes(message.to_vec())];
            body.encoding = Encoding::Plain;
            call.input = None;
        }
        Ok(Some((step, call)))
    }

    fn method(&self, path: &str) -> Option<MethodDescriptor> {
        let (service, name) = path.strip_prefix('/')?.split_once('/')?;
        let service = self.0.as_ref()?.get_service_by_name(service)?;
        service.methods().find(|method| method.name() == name)
    }
}

/// What every call says of itself.
fn head(step: &mut StepPlan, pace: Pace) {
    let mut say = |name: &str, value: String| {
        let parts = vec![Part::Text(value)];
        step.headers.push((name.to_owned(), Template { parts }));
    };
    say("te", "trailers".to_owned());
    say("grpc-accept-encoding", "identity".to_owned());
    if let Some(timeout) = step.timeout {
        say("grpc-timeout", deadline(pace.patience(timeout + step.protocol.stays())));
    }
}

/// At most eight digits with a unit.
fn deadline(timeout: Duration) -> String {
    match timeout.as_millis() {
        millis @ ..=99_999_999 => format!("{millis}m"),
        millis => format!("{}S", (millis / 1000).min(99_999_999)),
    }
}

impl Call {
    /// The same, whose answers somebody looks at, or nobody does.
    #[must_use]
    pub fn keeping(self, keeps: bool) -> Self {
        Self { keeps, ..self }
    }

    /// How long the stream that answers it is read; none where one message does.
    #[must_use]
    pub fn until(&self) -> Option<&MessagesUntil> {
        self.until.as_ref()
    }

    /// What is sent for a body as it was filled, or what is wrong with it.
    pub fn encode(&self, body: &[u8]) -> Result<Bytes, serde_json::Error> {
        let Some(input) = &self.input else {
            return Ok(Bytes::copy_from_slice(body));
        };
        let mut json = serde_json::Deserializer::from_slice(body);
        let message = DynamicMessage::deserialize(input.clone(), &mut json)?;
        let length = message.encoded_len();
        let told = u32::try_from(length).map_err(serde_json::Error::custom)?;
        let mut framed = BytesMut::with_capacity(PREFIX + length);
        framed.put_u8(0);
        framed.put_u32(told);
        message.encode(&mut framed).map_err(serde_json::Error::custom)?;
        Ok(framed.freeze())
    }

    /// A message as checks look at it, where any do: JSON in which nothing is left out for being zero. None where it is
    /// no such message.
    #[must_use]
    pub fn shown(&self, message: &Captured) -> Option<Captured> {
        if !self.keeps {
            return Some(Captured::default());
        }
        if (message.bytes.len() as u64) < message.length {
            // Too long to be looked at.
            return Some(Captured {
                bytes: Vec::new(),
                length: message.length,
            });
        }
        let message = DynamicMessage::decode(self.output.clone(), &message.bytes[..]).ok()?;
        let mut shown = Bounded(Captured::default());
        let mut json = serde_json::Serializer::new(&mut shown);
        let options = SerializeOptions::new().skip_default_fields(false);
        match message.serialize_with_options(&mut json, &options) {
            Ok(()) => Some(shown.0),
            // It ended beyond what is kept, or is nothing that JSON can say.
            Err(_) if shown.0.length > CAPTURE_MAX as u64 => Some(shown.0),
            Err(_) => None,
        }
    }

    /// Takes an answer to it apart.
    #[must_use]
    pub fn messages(&self) -> Messages {
        Messages {
            keeps: self.keeps,
            prefix: Vec::with_capacity(PREFIX),
            left: 0,
            message: Captured::default(),
        }
    }
}

/// Stops what writes to it once nobody would look at more: a few bytes can be a lot of JSON.
struct Bounded(Captured);

impl io::Write for Bounded {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.0.push(piece);
        match self.0.length > CAPTURE_MAX as u64 {
            true => Err(io::ErrorKind::FileTooLarge.into()),
            false => Ok(piece.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes the body of an answer apart into messages.
#[derive(Debug)]
pub struct Messages {
    keeps: bool,
    prefix: Vec<u8>,
    left: u64,
    message: Captured,
}

/// A body that is not made of messages that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

impl Messages {
    /// Takes the next bytes; `whole` gets each message that ends in them.
    pub fn feed(&mut self, mut piece: &[u8], mut whole: impl FnMut(Captured)) -> Result<(), Unreadable> {
        loop {
            if self.prefix.len() < PREFIX {
                let taken = piece.len().min(PREFIX - self.prefix.len());
                self.prefix.extend_from_slice(&piece[..taken]);
                piece = &piece[taken..];
                let [compressed, a, b, c, d] = *self.prefix else {
                    return Ok(());
                };
                self.left = u64::from(u32::from_be_bytes([a, b, c, d]));
                // Nobody was asked to compress.
                if compressed != 0 || self.left > BODY_MAX {
                    return Err(Unreadable);
                }
            }
            let taken = piece.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            match self.keeps {
                true => self.message.push(&piece[..taken]),
                false => self.message.length += taken as u64,
            }
            self.left -= taken as u64;
            piece = &piece[taken..];
            if self.left > 0 {
                return Ok(());
            }
            self.prefix.clear();
            whole(std::mem::take(&mut self.message));
            if piece.is_empty() {
                return Ok(());
            }
        }
    }

    /// It ends within a message.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        !self.prefix.is_empty()
    }
}

/// The status that a step wants.
#[must_use]
pub fn wanted(step: &StepPlan) -> Option<u16> {
    match &step.protocol {
        Protocol::Grpc(grpc) => Some(STATUS + u16::from(grpc.status)),
        _ => step.expect.status,
    }
}
