//! Asks a target what its services look like, by gRPC's server reflection (`grpc.reflection.v1`, or `v1alpha` where that
//! is not there), over a connection of its own and before any load. Gathers files; what is in them is not its business.
//! Whatever a target answers, this ends soon and keeps little.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use prost::Message as _;
use prost_reflect::prost_types::FileDescriptorProto;
use protox::file::{FileResolver as _, GoogleFileResolver};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::plan::{TargetPlan, TlsSettings};
use crate::run::tls::{Tls, TlsError};

/// The services that answer, the newer one first; they differ in nothing else.
const SERVICES: [&str; 2] = [
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];
/// Real time for everything: a target that takes longer to say what it is would not take a load either.
const PATIENCE: Duration = Duration::from_secs(10);
/// Addresses that are tried.
const ADDRESSES_MAX: usize = 3;
/// Bytes of one answer, and of all files together.
const ANSWER_MAX: usize = 4 << 20;
const FILES_BYTES_MAX: usize = 16 << 20;
/// Files.
const FILES_MAX: usize = 10_000;
/// Names of services that are remembered, and how long one is.
const OFFERED_MAX: usize = 1_000;
const NAME_MAX: usize = 200;
/// Before each message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Codes of gRPC that matter here.
const DEADLINE_EXCEEDED: u32 = 4;
const NOT_FOUND: u32 = 5;
const UNIMPLEMENTED: u32 = 12;
const UNAVAILABLE: u32 = 14;

/// What a target says of its services.
#[derive(Debug, Default, PartialEq)]
pub struct Reflected {
    /// A FileDescriptorSet with the services that were asked for, as far as the target has them.
    pub descriptors: Vec<u8>,
    /// The names of all its services, where one was asked for that it has not.
    pub offered: Vec<String>,
}

/// Why it is not known.
#[derive(Debug, thiserror::Error)]
pub enum ReflectionError {
    /// It cannot be asked, or does not answer as a server of gRPC does.
    #[error(
        "{address} does not say what its services look like: {why}\nhint: the target has to be there and speak gRPC; look at `target`, `entry` or --target"
    )]
    Unanswered {
        /// Whom.
        address: SocketAddr,
        /// What happened instead.
        why: &'static str,
    },
    /// It answers no such questions.
    #[error("the target has no server reflection")]
    Absent,
    /// It answers that it will not.
    #[error("the target refuses to say what its services look like: status {0} of gRPC")]
    Refused(u32),
    /// What it says is no description.
    #[error(
        "what the target says of its services is of no use: {0}\nhint: describe them with `grpc: {{ proto: [shop.proto] }}`"
    )]
    Unusable(String),
    /// TLS cannot be spoken.
    #[error("the target cannot be asked what its services look like")]
    Tls(#[from] TlsError),
}

impl ReflectionError {
    /// Whether the profile should describe the services in another way, since the target as it is will not.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Absent => true,
            Self::Refused(code) => ![DEADLINE_EXCEEDED, UNAVAILABLE].contains(code),
            _ => false,
        }
    }

    /// Whether it is the target that is not there, or nothing that speaks gRPC.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Unanswered { .. } | Self::Unusable(_) => true,
            Self::Refused(_) => !self.is_refusal(),
            Self::Absent | Self::Tls(_) => false,
        }
    }
}

/// Asks the target, at the first of these addresses that can be connected to, for `services` by their full names.
pub async fn ask(
    target: &TargetPlan,
    tls: &TlsSettings,
    addresses: &[SocketAddr],
    services: &[String],
) -> Result<Reflected, ReflectionError> {
    ask_by(target, tls, addresses, services, Instant::now() + PATIENCE).await
}

async fn ask_by(
    target: &TargetPlan,
    tls: &TlsSettings,
    addresses: &[SocketAddr],
    services: &[String],
    by: Instant,
) -> Result<Reflected, ReflectionError> {
    let tls = Tls::to_http2(target, tls)?;
    let mut failure = ReflectionError::Unusable("it has no address".to_owned());
    for address in addresses.iter().take(ADDRESSES_MAX) {
        let unanswered = |why| ReflectionError::Unanswered { address: *address, why };
        match within(by, connect(*address, tls.as_deref())).await {
            Ok(sender) => {
                return asked(sender, target, services, by)
                    .await
                    .map_err(|problem| problem.at(*address));
            }
            Err(why) => failure = unanswered(why),
        }
    }
    Err(failure)
}

/// What went wrong while somebody was asked.
enum Problem {
    /// Nobody, or nobody who speaks gRPC, answered.
    Silence(&'static str),
    Known(ReflectionError),
}

impl Problem {
    fn at(self, address: SocketAddr) -> ReflectionError {
        match self {
            Self::Silence(why) => ReflectionError::Unanswered { address, why },
            Self::Known(error) => error,
        }
    }

    fn unusable(what: impl Into<String>) -> Self {
        Self::Known(ReflectionError::Unusable(what.into()))
    }
}

impl From<&'static str> for Problem {
    fn from(why: &'static str) -> Self {
        Self::Silence(why)
    }
}

async fn within<T>(by: Instant, what: impl Future<Output = Result<T, &'static str>>) -> Result<T, &'static str> {
    timeout_at(by, what).await.unwrap_or(Err("no answer in time"))
}

async fn connect(address: SocketAddr, tls: Option<&Tls>) -> Result<SendRequest<Bytes>, &'static str> {
    let stream = TcpStream::connect(address).await.map_err(|_| "connection refused")?;
    let Some(tls) = tls else {
        return begin(stream).await;
    };
    let stream = tls.connector.connect(tls.name.clone(), stream).await;
    let stream = stream.map_err(|_| "no TLS; it is verified as client.tls says")?;
    if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err("its TLS does not speak HTTP/2");
    }
    begin(stream).await
}

async fn begin<S>(stream: S) -> Result<SendRequest<Bytes>, &'static str>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let begun = h2::client::Builder::new().enable_push(false).handshake(stream).await;
    let (sender, connection) = begun.map_err(said)?;
    // It ends with its last stream; how, the stream is told.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// What an error of HTTP/2 means.
fn said(error: h2::Error) -> &'static str {
    match error.is_library() {
        true => "it does not speak HTTP/2",
        false => "no whole answer",
    }
}

async fn asked(
    sender: SendRequest<Bytes>,
    target: &TargetPlan,
    services: &[String],
    by: Instant,
) -> Result<Reflected, Problem> {
    let mut absent = Problem::Known(ReflectionError::Absent);
    for service in SERVICES {
        let talk = Talk::begin(sender.clone(), target, service, by).await?;
        match gathered(talk, services).await {
            Err(Problem::Known(ReflectionError::Absent)) => absent = Problem::Known(ReflectionError::Absent),
            other => return other,
        }
    }
    Err(absent)
}

async fn gathered(mut talk: Talk, services: &[String]) -> Result<Reflected, Problem> {
    let mut files = Files::default();
    let mut lacks = false;
    for service in services {
        match talk.ask(&Question::symbol(service)).await? {
            Reply { files: Some(found), .. } => files.take(found)?,
            Reply { error: Some(error), .. } if error.code == NOT_FOUND as i32 => lacks = true,
            other => return Err(other.otherwise()),
        }
    }
    while let Some(name) = files.wanted.pop_first() {
        match talk.ask(&Question::file(&name)).await? {
            Reply { files: Some(found), .. } => files.take(found)?,
            Reply { error: Some(_), .. } => files.take_known(&name),
            other => return Err(other.otherwise()),
        }
        if !files.found.contains_key(&name) {
            return Err(Problem::unusable(format!("it has no {}", shown(&name))));
        }
    }
    let offered = match lacks {
        true => talk.ask(&Question::services()).await?.offered(),
        false => Vec::new(),
    };
    Ok(Reflected {
        descriptors: files.set(),
        offered,
    })
}

/// Files by name, and which they import that are still to come.
#[derive(Default)]
struct Files {
    found: BTreeMap<String, Bytes>,
    wanted: BTreeSet<String>,
    length: usize,
}

impl Files {
    fn take(&mut self, files: FilesReply) -> Result<(), Problem> {
        for bytes in files.files {
            let file = FileDescriptorProto::decode(&bytes[..])
                .map_err(|_| Problem::unusable("an answer holds no description of a file"))?;
            self.add(file, bytes.into());
        }
        match self.found.len() > FILES_MAX || self.length > FILES_BYTES_MAX {
            true => Err(Problem::unusable("it is longer than 16 MiB, or more than 10,000 files")),
            false => Ok(()),
        }
    }

    /// One that every compiler knows, which some servers do not hand out.
    fn take_known(&mut self, name: &str) {
        if let Ok(file) = GoogleFileResolver::new().open_file(name) {
            let file = file.file_descriptor_proto().clone();
            let bytes = file.encode_to_vec();
            self.add(file, bytes.into());
        }
    }

    fn add(&mut self, file: FileDescriptorProto, bytes: Bytes) {
        let name = file.name().to_owned();
        self.wanted.remove(&name);
        if self.found.contains_key(&name) {
            return;
        }
        self.length += bytes.len();
        self.found.insert(name, bytes);
        let imports = file.dependency.into_iter();
        self.wanted
            .extend(imports.filter(|import| !self.found.contains_key(import)));
    }

    /// All of them as a FileDescriptorSet, byte for byte as they came.
    fn set(&self) -> Vec<u8> {
        let files = self.found.values().cloned().collect();
        FileSet { files }.encode_to_vec()
    }
}

/// A conversation on one stream: question, answer, question.
struct Talk {
    send: SendStream<Bytes>,
    /// Until the first answer has come.
    head: Option<ResponseFuture>,
    receive: Option<RecvStream>,
    buffer: BytesMut,
    by: Instant,
}

impl Talk {
    async fn begin(
        sender: SendRequest<Bytes>,
        target: &TargetPlan,
        service: &str,
        by: Instant,
    ) -> Result<Self, Problem> {
        let host = match (target.scheme.as_str(), target.port) {
            ("http", 80) | ("https", 443) => target.host.clone(),
            (_, port) if target.host.contains(':') => format!("[{}]:{port}", target.host),
            (_, port) => format!("{}:{port}", target.host),
        };
        let request = Request::post(format!("{}://{host}/{service}/ServerReflectionInfo", target.scheme))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-accept-encoding", "identity")
            .header("user-agent", concat!("tenfold/", env!("CARGO_PKG_VERSION")))
            .body(())
            .map_err(|_| "its host cannot be named in a request")?;
        let ready = async { sender.ready().await.map_err(said) };
        let mut sender = within(by, ready).await?;
        let (head, send) = sender.send_request(request, false).map_err(said)?;
        Ok(Self {
            send,
            head: Some(head),
            receive: None,
            buffer: BytesMut::new(),
            by,
        })
    }

    async fn ask(&mut self, question: &Question) -> Result<Reply, Problem> {
        let mut framed = BytesMut::with_capacity(PREFIX + question.encoded_len());
        framed.put_u8(0);
        framed.put_u32(question.encoded_len() as u32);
        framed.extend_from_slice(&question.encode_to_vec());
        // Where the stream is over already, its answer says why.
        let _ = self.send.send_data(framed.freeze(), false);
        let by = self.by;
        timeout_at(by, self.answer())
            .await
            .unwrap_or(Err(Problem::Silence("no answer in time")))
    }

    async fn answer(&mut self) -> Result<Reply, Problem> {
        if let Some(head) = self.head.take() {
            let (head, receive) = head.await.map_err(said)?.into_parts();
            match head.status.as_u16() {
                200 => {}
                // What a web server says of a path that it does not have.
                400..=499 => return Err(Problem::Known(ReflectionError::Absent)),
                _ => return Err("a proxy answers in its place".into()),
            }
            // Nothing but a status.
            if let Some(code) = status(&head.headers) {
                return Err(refused(code));
            }
            self.receive = Some(receive);
        }
        loop {
            if let Some(message) = self.message()? {
                let reply = Reply::decode(message);
                return reply.map_err(|_| "it does not speak gRPC".into());
            }
            let Some(receive) = &mut self.receive else {
                return Err("no whole answer".into());
            };
            let Some(piece) = receive.data().await else {
                let trailers = receive.trailers().await.map_err(said)?.unwrap_or_default();
                return Err(status(&trailers).map_or("no whole answer".into(), refused));
            };
            let piece = piece.map_err(said)?;
            receive.flow_control().release_capacity(piece.len()).map_err(said)?;
            self.buffer.extend_from_slice(&piece);
        }
    }

    /// The next message, once it is whole.
    fn message(&mut self) -> Result<Option<Bytes>, Problem> {
        let Some((&[compressed, a, b, c, d], rest)) = self.buffer.split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if compressed != 0 || length > ANSWER_MAX {
            return Err(Problem::unusable("an answer is compressed, or longer than 4 MiB"));
        }
        if rest.len() < length {
            return Ok(None);
        }
        self.buffer.advance(PREFIX);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}

fn status(headers: &HeaderMap) -> Option<u32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

fn refused(code: u32) -> Problem {
    match code {
        UNIMPLEMENTED => Problem::Known(ReflectionError::Absent),
        0 => Problem::Silence("no whole answer"),
        code => Problem::Known(ReflectionError::Refused(code)),
    }
}

/// A name as a terminal may show it.
fn shown(name: &str) -> String {
    name.chars().take(NAME_MAX).filter(|c| !c.is_control()).collect()
}

/// ServerReflectionRequest, as far as it is asked here.
#[derive(Clone, PartialEq, prost::Message)]
struct Question {
    #[prost(string, optional, tag = "3")]
    file_by_filename: Option<String>,
    #[prost(string, optional, tag = "4")]
    file_containing_symbol: Option<String>,
    #[prost(string, optional, tag = "7")]
    list_services: Option<String>,
}

impl Question {
    fn file(name: &str) -> Self {
        Self {
            file_by_filename: Some(name.to_owned()),
            ..Self::default()
        }
    }

    fn symbol(name: &str) -> Self {
        Self {
            file_containing_symbol: Some(name.to_owned()),
            ..Self::default()
        }
    }

    fn services() -> Self {
        Self {
            list_services: Some("*".to_owned()),
            ..Self::default()
        }
    }
}

/// ServerReflectionResponse.
#[derive(Clone, PartialEq, prost::Message)]
struct Reply {
    #[prost(message, optional, tag = "4")]
    files: Option<FilesReply>,
    #[prost(message, optional, tag = "6")]
    services: Option<ServicesReply>,
    #[prost(message, optional, tag = "7")]
    error: Option<ErrorReply>,
}

impl Reply {
    /// What is wrong with an answer that is none to the question.
    fn otherwise(self) -> Problem {
        match self.error.map(|error| u32::try_from(error.code)) {
            Some(Ok(code)) => refused(code),
            _ => Problem::unusable("an answer is none to its question"),
        }
    }

    fn offered(self) -> Vec<String> {
        let services = self.services.unwrap_or_default().services.into_iter();
        let names = services.map(|service| service.name);
        let plain = |c: char| c.is_ascii_alphanumeric() || "._".contains(c);
        let names = names.filter(|name| name.len() <= NAME_MAX && name.chars().all(plain));
        names.take(OFFERED_MAX).collect()
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct FilesReply {
    #[prost(bytes = "vec", repeated, tag = "1")]
    files: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ServicesReply {
    #[prost(message, repeated, tag = "1")]
    services: Vec<ServiceReply>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ServiceReply {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ErrorReply {
    #[prost(int32, tag = "1")]
    code: i32,
}

/// A FileDescriptorSet whose files are not looked into.
#[derive(Clone, PartialEq, prost::Message)]
struct FileSet {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    files: Vec<Bytes>,
}

#[cfg(test)]
#[path = "reflection_tests.rs"]
mod tests;
