//! HTTPS: verified by default, and every way to fail at it has its name.

use std::ops::Range;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;

/// Who signs certificates.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    /// Whoever has a certificate for `name` that is valid in these years.
    pub(super) fn acceptor(&self, name: &str, years: Range<i32>) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(years.start, 1, 1);
        params.not_after = date_time_ymd(years.end, 1, 1);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Whoever has a certificate for `name`, and the authority that signed it, in PEM.
fn vouched(name: &str) -> (TlsAcceptor, String) {
    let authority = Authority::new();
    (authority.acceptor(name, 2020..4000), authority.pem())
}

/// An HTTPS server with a certificate for `name`, and the authority that signed it, in PEM.
async fn secure(name: &str) -> (SocketAddr, String) {
    let (acceptor, authority) = vouched(name);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let service = service_fn(|request: Request<Incoming>| async move {
                    let length = request.into_body().collect().await?.to_bytes().len();
                    Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from(vec![b'x'; 100_000 + length]))))
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    (address, authority)
}

fn over_tls(address: SocketAddr, tls: TlsSettings) -> Plan {
    let mut plan = plan(address);
    plan.target.scheme = "https".to_owned();
    plan.client.tls = tls;
    stage(&mut plan, 20.0, Duration::ZERO, Duration::from_secs(1));
    plan
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn https_is_verified_and_bodies_of_any_size_come_whole() {
    let (address, authorities) = secure("127.0.0.1").await;
    let mut plan = over_tls(
        address,
        TlsSettings {
            authorities: Some(authorities),
            ..TlsSettings::default()
        },
    );
    plan.steps[0] = StepPlan {
        body: Some(Body {
            content_type: "text/plain".to_owned(),
            // More than any socket's buffer takes at once.
            template: text(&"y".repeat(9_000_000)),
            encoding: Encoding::Plain,
            compress: None,
        }),
        expect: Expect {
            size: Some((9_100_000, 9_100_000)),
            ..Expect::default()
        },
        ..step("upload", "POST", "/")
    };
    plan.stages[0].level = 2.0;
    let ran = run(plan).await;
    assert_eq!(ran.failed(), BTreeMap::new());
    assert!(ran.ok() > 5, "{}", ran.ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn https_with_a_certificate_nobody_vouches_for_is_a_tls_failure() {
    let (address, _) = secure("127.0.0.1").await;
    let (_, other) = secure("127.0.0.1").await;
    let strangers = TlsSettings {
        authorities: Some(other),
        ..TlsSettings::default()
    };
    let ran = run(over_tls(address, strangers)).await;
    assert_eq!(
        (ran.ok(), ran.failed().keys().collect::<Vec<_>>()),
        (0, vec![&FailureKind::Tls])
    );
    let why = &ran.why()[&FailureKind::Tls];
    assert!(
        why.contains("invalid peer certificate") && why.contains("--ca"),
        "{why}"
    );

    let (address, authorities) = secure("shop.example.com").await;
    let wrong_name = TlsSettings {
        authorities: Some(authorities),
        ..TlsSettings::default()
    };
    let ran = run(over_tls(address, wrong_name)).await;
    assert_eq!(
        (ran.ok(), ran.failed().keys().collect::<Vec<_>>()),
        (0, vec![&FailureKind::Tls])
    );

    let unverified = TlsSettings {
        verify: false,
        ..TlsSettings::default()
    };
    let ran = run(over_tls(address, unverified)).await;
    assert_eq!(ran.failed(), BTreeMap::new());
    assert!(ran.ok() > 50);
    let timed = |of: fn(&Slice) -> &Hist| {
        let mut all = Hist::working();
        for slice in &ran.slices {
            of(slice).add_to(&mut all).unwrap();
        }
        all
    };
    let (connects, handshakes) = (timed(|slice| &slice.connect), timed(|slice| &slice.tls));
    assert!(!connects.is_empty() && connects.len() == handshakes.len());
    assert!(connects.value_at_quantile(0.5) < handshakes.value_at_quantile(0.5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn https_to_a_server_without_tls_is_a_tls_failure() {
    let server = serve("127.0.0.1:0", |_| async { answer(200, "") }).await;
    let ran = run(over_tls(
        server.address,
        TlsSettings {
            verify: false,
            ..TlsSettings::default()
        },
    ))
    .await;
    assert_eq!(
        (ran.ok(), ran.failed().keys().collect::<Vec<_>>()),
        (0, vec![&FailureKind::Tls])
    );
}

/// A TLS server that does `talk` with every connection, and the authority that signed its certificate, in PEM.
async fn talks<T>(talk: fn(TlsStream<TcpStream>) -> T) -> (SocketAddr, String)
where
    T: Future<Output = ()> + Send + 'static,
{
    let (acceptor, authority) = vouched("127.0.0.1");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    talk(stream).await;
                }
            });
        }
    });
    (address, authority)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raw_tcp_and_websocket_go_through_tls_too() {
    let (address, authority) = talks(|mut stream| async move {
        let mut line = [0; 3];
        while stream.read_exact(&mut line).await.is_ok() {
            stream.write_all(&line).await.unwrap();
        }
    })
    .await;
    let authorities = |authority| TlsSettings {
        authorities: Some(authority),
        ..TlsSettings::default()
    };
    let mut plan = over_tls(address, authorities(authority));
    // The target speaks in the clear, this step does not.
    plan.target.scheme = "http".to_owned();
    plan.steps[0] = super::tcp::tcp(
        "line",
        None,
        &[Part::Text("ab\n".to_owned())],
        TcpUntil::Delimiter("\n".to_owned()),
    );
    plan.steps[0].expect.body = vec![Wanted::Is("ab".to_owned())];
    if let Protocol::Tcp(tcp) = &mut plan.steps[0].protocol {
        tcp.tls = true;
    }
    let ran = run(plan).await;
    assert_eq!(ran.failed(), BTreeMap::new());
    assert!(ran.ok() > 100, "{}", ran.ok());

    let (address, authority) = talks(|stream| async move {
        let _ = super::streams::hold_a_session(stream).await;
    })
    .await;
    let mut plan = over_tls(address, authorities(authority));
    plan.steps = super::streams::session();
    plan.journeys[0].steps = (0..plan.steps.len()).collect();
    let ran = run(plan).await;
    assert_eq!(ran.failed(), BTreeMap::new());
    assert!(ran.ok() > 100, "{}", ran.ok());
}
