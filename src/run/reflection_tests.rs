//! Targets that answer questions of reflection, each in its own way, over real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use h2::Reason;
use h2::server::SendResponse;
use http::Response;
use prost_reflect::DescriptorPool;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// What a target does with a question.
enum Deed {
    Answers(Reply),
    /// A message of other bytes.
    Says(Vec<u8>),
    /// No message, but what would be one's beginning.
    Begins(Vec<u8>),
    Ends(&'static str),
    Status(u16),
    Resets,
    IsSilent,
}

/// What it does with a question to a service of this version.
type Deeds = fn(&str, &Question) -> Deed;

async fn serve(deeds: Deeds) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let questions = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&questions);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, answer))) = connection.accept().await {
                    let counted = Arc::clone(&counted);
                    tokio::spawn(talk(request, answer, deeds, counted));
                }
            });
        }
    });
    (address, questions)
}

fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.extend_from_slice(message);
    framed.freeze()
}

fn trailers(status: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", status.parse().unwrap());
    trailers
}

async fn talk(
    request: Request<RecvStream>,
    mut answer: SendResponse<Bytes>,
    deeds: Deeds,
    counted: Arc<AtomicUsize>,
) -> Option<()> {
    let service = request.uri().path().trim_matches('/').split('/').next()?.to_owned();
    let mut questions = request.into_body();
    let head = Response::builder().header("content-type", "application/grpc");
    let mut head = Some(head.body(()).unwrap());
    let mut stream = None;
    // Each comes in a piece of its own, since the next one waits for its answer.
    while let Some(Ok(piece)) = questions.data().await {
        let _ = questions.flow_control().release_capacity(piece.len());
        counted.fetch_add(1, Ordering::SeqCst);
        let question = Question::decode(&piece[PREFIX..]).unwrap();
        let says = match deeds(&service, &question) {
            Deed::Answers(reply) => framed(&reply.encode_to_vec()),
            Deed::Says(bytes) => framed(&bytes),
            Deed::Begins(bytes) => bytes.into(),
            Deed::Ends(status) => {
                match (head.take(), &mut stream) {
                    (Some(mut head), _) => {
                        head.headers_mut().extend(trailers(status));
                        answer.send_response(head, true).ok()?;
                    }
                    (None, Some(stream)) => SendStream::send_trailers(stream, trailers(status)).ok()?,
                    (None, None) => {}
                }
                return None;
            }
            Deed::Status(status) => {
                let page = Response::builder().status(status).body(()).unwrap();
                answer.send_response(page, true).ok()?;
                return None;
            }
            Deed::Resets => {
                answer.send_reset(Reason::INTERNAL_ERROR);
                return None;
            }
            Deed::IsSilent => std::future::pending().await,
        };
        if let Some(head) = head.take() {
            stream = Some(answer.send_response(head, false).ok()?);
        }
        stream.as_mut()?.send_data(says, false).ok()?;
    }
    None
}

fn files(all: &[FileDescriptorProto]) -> Deed {
    let files = all.iter().map(prost::Message::encode_to_vec).collect();
    Deed::Answers(Reply {
        files: Some(FilesReply { files }),
        ..Reply::default()
    })
}

fn fails(code: i32) -> Deed {
    Deed::Answers(Reply {
        error: Some(ErrorReply { code }),
        ..Reply::default()
    })
}

/// `a.proto` has the service `shop.A`; it imports `b.proto`, and that a file that every compiler knows.
fn shop() -> Vec<FileDescriptorProto> {
    struct Texts;
    impl protox::file::FileResolver for Texts {
        fn open_file(&self, name: &str) -> Result<protox::file::File, protox::Error> {
            let text = match name {
                "a.proto" => {
                    "syntax = \"proto3\"; package shop; import \"b.proto\"; service A { rpc Get(B) returns (B); }"
                }
                "b.proto" => {
                    "syntax = \"proto3\"; package shop; import \"google/protobuf/timestamp.proto\";
                     message B { google.protobuf.Timestamp at = 1; }"
                }
                name => return GoogleFileResolver::new().open_file(name),
            };
            protox::file::File::from_source(name, text)
        }
    }
    let mut compiler = protox::Compiler::with_file_resolver(Texts);
    compiler.include_imports(true).open_file("a.proto").unwrap();
    compiler.file_descriptor_set().file
}

async fn asked_at(address: SocketAddr, services: &[&str]) -> Result<Reflected, ReflectionError> {
    let target = TargetPlan::entry(
        "t".to_owned(),
        "http".to_owned(),
        "127.0.0.1".to_owned(),
        address.port(),
    );
    let services: Vec<String> = services.iter().map(|&name| name.to_owned()).collect();
    let by = Instant::now() + Duration::from_millis(500);
    ask_by(&target, &TlsSettings::default(), &[address], &services, by).await
}

#[tokio::test]
async fn reflection_gathers_a_service_and_all_that_it_imports_file_by_file() {
    let deeds: Deeds = |service, question| {
        let named = |name: &str| shop().into_iter().find(|file| file.name() == name);
        match (service, question) {
            ("grpc.reflection.v1.ServerReflection", _) => Deed::Ends("12"),
            (
                _,
                Question {
                    file_containing_symbol: Some(name),
                    ..
                },
            ) if name == "shop.A" => files(&[named("a.proto").unwrap()]),
            // What every compiler knows it does not hand out.
            (
                _,
                Question {
                    file_by_filename: Some(name),
                    ..
                },
            ) if name == "b.proto" => files(&[named("b.proto").unwrap()]),
            (
                _,
                Question {
                    list_services: Some(_), ..
                },
            ) => Deed::Answers(Reply {
                services: Some(ServicesReply {
                    services: ["shop.A", "\x1b[31mred", &"x".repeat(NAME_MAX + 1), "shop.Other"]
                        .map(|name| ServiceReply { name: name.to_owned() })
                        .to_vec(),
                }),
                ..Reply::default()
            }),
            _ => fails(5),
        }
    };
    let (address, questions) = serve(deeds).await;
    let reflected = asked_at(address, &["shop.A"]).await.unwrap();
    let pool = DescriptorPool::decode(&reflected.descriptors[..]).unwrap();
    let services: Vec<_> = pool.services().map(|service| service.full_name().to_owned()).collect();
    assert_eq!((services, reflected.offered), (vec!["shop.A".to_owned()], vec![]));
    // The older version after the newer: the service, and two files.
    assert_eq!(questions.load(Ordering::SeqCst), 1 + 3);
    let reflected = asked_at(address, &["shop.A", "shop.B2"]).await.unwrap();
    assert_eq!(
        reflected.offered,
        ["shop.A", "shop.Other"],
        "names that nobody could show are left out"
    );
    assert_eq!(
        DescriptorPool::decode(&reflected.descriptors[..])
            .unwrap()
            .services()
            .len(),
        1
    );
}

#[tokio::test]
async fn hostile_reflection_is_named_and_over_soon() {
    let table: [(&str, Deeds, &str, bool); 19] = [
        (
            "no reflection",
            |_, _| Deed::Ends("12"),
            "has no server reflection",
            false,
        ),
        (
            "no such path",
            |_, _| Deed::Status(404),
            "has no server reflection",
            false,
        ),
        ("the error itself", |_, _| fails(12), "has no server reflection", false),
        ("not for everyone", |_, _| Deed::Ends("7"), "refuses to say", false),
        ("an error for the question", |_, _| fails(16), "refuses to say", false),
        ("not now", |_, _| Deed::Ends("14"), "status 14", true),
        ("a proxy", |_, _| Deed::Status(503), "a proxy answers", true),
        (
            "an end without an answer",
            |_, _| Deed::Ends("0"),
            "no whole answer",
            true,
        ),
        ("a reset", |_, _| Deed::Resets, "no whole answer", true),
        ("silence", |_, _| Deed::IsSilent, "no answer in time", true),
        (
            "half an answer",
            |_, _| Deed::Begins(vec![0, 0, 0, 0, 9, 1]),
            "no answer in time",
            true,
        ),
        (
            "a long answer",
            |_, _| Deed::Begins(vec![0, 255, 0, 0, 0]),
            "longer than 4 MiB",
            true,
        ),
        (
            "one that is compressed",
            |_, _| Deed::Begins(vec![1, 0, 0, 0, 0]),
            "is compressed",
            true,
        ),
        ("garbage", |_, _| Deed::Says(vec![0xff; 8]), "does not speak gRPC", true),
        ("nothing", |_, _| Deed::Says(vec![]), "none to its question", true),
        (
            "files that are none",
            |_, _| {
                Deed::Answers(Reply {
                    files: Some(FilesReply {
                        files: vec![vec![0xff; 8]],
                    }),
                    ..Reply::default()
                })
            },
            "no description of a file",
            true,
        ),
        (
            "a file that it has not",
            |_, question| match question.file_by_filename {
                None => files(&shop()[2..]),
                Some(_) => fails(5),
            },
            "it has no b.proto",
            true,
        ),
        (
            "another file than was asked for",
            |_, _| files(&shop()[2..]),
            "it has no b.proto",
            true,
        ),
        (
            "files without end",
            |_, question| {
                let number: u64 = question
                    .file_by_filename
                    .as_ref()
                    .map_or(0, |name| name.parse().unwrap());
                files(&[FileDescriptorProto {
                    name: Some(number.to_string()),
                    dependency: vec![(number + 1).to_string()],
                    package: Some("x".repeat(ANSWER_MAX / 2)),
                    ..FileDescriptorProto::default()
                }])
            },
            "",
            true,
        ),
    ];
    assert_eq!(shop()[2].name(), "a.proto");
    let meet = async |(what, deeds, said, unreachable): (&str, Deeds, &str, bool)| {
        let (address, _) = serve(deeds).await;
        let begun = std::time::Instant::now();
        let error = asked_at(address, &["shop.A"]).await.expect_err(what);
        let told = error.to_string();
        assert!(told.contains(said), "{what}: {told}");
        assert_eq!(
            (error.is_unreachable(), error.is_refusal()),
            (unreachable, !unreachable),
            "{what}: {told}"
        );
        assert!(begun.elapsed() < Duration::from_secs(3), "{what}");
    };
    // Each in a box, for together they are too much for a stack.
    let met = table.into_iter().map(|case| Box::pin(meet(case)));
    futures_util::future::join_all(met).await;
}

#[test]
fn reflection_keeps_little_however_much_is_said() {
    let file = |number: usize, length: usize| FileDescriptorProto {
        name: Some(number.to_string()),
        package: Some("x".repeat(length)),
        ..FileDescriptorProto::default()
    };
    for (length, fits) in [(ANSWER_MAX / 2, 7), (0, FILES_MAX)] {
        let mut files = Files::default();
        let mut take = |number| {
            let files_of_one = vec![file(number, length).encode_to_vec()];
            files.take(FilesReply { files: files_of_one })
        };
        assert!((0..fits).all(|number| take(number).is_ok()), "{length}");
        // The same again is no more.
        assert!(take(0).is_ok(), "{length}");
        assert!(take(fits).is_err(), "{length}");
    }
}

#[tokio::test]
async fn hostile_reflection_by_what_is_no_server_of_grpc_is_named() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let error = asked_at(address, &["shop.A"]).await.expect_err("nobody");
    assert!(
        error.is_unreachable() && error.to_string().contains("connection refused"),
        "{error}"
    );

    let old = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = old.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = old.accept().await.unwrap();
            tokio::spawn(async move {
                let _ = stream
                    .write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
                    .await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            });
        }
    });
    let error = asked_at(address, &["shop.A"]).await.expect_err("HTTP/1.1");
    assert!(error.is_unreachable(), "{error}");
    assert!(error.to_string().contains("does not speak HTTP/2"), "{error}");
}
