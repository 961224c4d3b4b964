//! HTTPS: verified by default, and every way to fail at it has its name.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

use super::*;

/// An HTTPS server with a certificate for `name`, and the authority that signed it, in PEM.
async fn secure(name: &str) -> (SocketAddr, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
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
    (address, authority.pem())
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
