//! TLS as a user's browser speaks it: verified against the system's authorities and those the user adds.
//! Makes connectors, for the load and for those who observe; the handshake belongs to opening a connection.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

use crate::plan::{Identity, TargetPlan, TlsSettings};

/// Why TLS cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The user's file of authorities.
    #[error("the file of authorities holds no certificate in PEM form")]
    Authorities,
    /// Neither the system nor the user names an authority.
    #[error("no certificate authority is known\nhint: install ca-certificates, or give a file of authorities")]
    NoAuthorities,
    /// The client's own certificate or key.
    #[error("the client's certificate and key cannot be used")]
    Identity(#[source] rustls::Error),
    /// The client's own files hold something else.
    #[error("the client's files hold no certificate and key in PEM form")]
    IdentityPem,
    /// The host cannot be named in TLS.
    #[error("{0:?} is neither a DNS name nor an address, so no certificate can be for it")]
    Name(String),
    /// The library refuses the settings.
    #[error("cannot set TLS up")]
    Settings(#[from] rustls::Error),
}

/// What it takes to open a TLS connection to the target.
#[derive(Clone)]
pub struct Tls {
    /// Shakes hands.
    pub connector: TlsConnector,
    /// Who the certificate must be for, and the name sent in the clear (SNI).
    pub name: ServerName<'static>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Tls {
    /// What a target needs; none where it speaks in the clear.
    pub fn to(target: &TargetPlan, plan: &TlsSettings) -> Result<Option<Arc<Self>>, TlsError> {
        match target.scheme.as_str() {
            "https" => Ok(Some(Arc::new(Self::new(&target.host, plan, &[b"http/1.1"])?))),
            _ => Ok(None),
        }
    }

    /// HTTP to another host than the target, whose certificate is for that host whatever the target's is for.
    pub fn to_host(host: &str, plan: &TlsSettings) -> Result<Self, TlsError> {
        let plan = TlsSettings {
            server_name: None,
            ..plan.clone()
        };
        Self::new(host, &plan, &[b"http/1.1"])
    }

    /// TLS to `host` for a protocol that has no name in ALPN.
    pub fn without_alpn(host: &str, plan: &TlsSettings) -> Result<Self, TlsError> {
        Self::new(host, plan, &[])
    }

    /// TLS to `host`, where these protocols are offered. Sessions are resumed, as browsers do, unless the plan says
    /// otherwise.
    fn new(host: &str, plan: &TlsSettings, alpn: &[&[u8]]) -> Result<Self, TlsError> {
        let host = plan.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Name(host.to_owned()))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder =
            ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
        let builder = if plan.verify {
            builder.with_root_certificates(authorities(plan)?)
        } else {
            let anyone = Arc::new(Anyone(provider));
            builder.dangerous().with_custom_certificate_verifier(anyone)
        };
        let mut config = match &plan.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (certificates, key) = own(identity)?;
                builder
                    .with_client_auth_cert(certificates, key)
                    .map_err(TlsError::Identity)?
            }
        };
        if plan.key_log {
            config.key_log = Arc::new(rustls::KeyLogFile::new());
        }
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        if !plan.resume {
            config.resumption = rustls::client::Resumption::disabled();
        }
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            name,
        })
    }
}

fn own(identity: &Identity) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(identity.certificates.as_bytes()).collect();
    let certificates = certificates.map_err(|_| TlsError::IdentityPem)?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).map_err(|_| TlsError::IdentityPem)?;
    Ok((certificates, key))
}

fn authorities(plan: &TlsSettings) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    // Authorities of the system that cannot be read are as good as missing; the handshake will name the lack.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(pem) = &plan.authorities {
        let own: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let own = own.ok().filter(|own| !own.is_empty()).ok_or(TlsError::Authorities)?;
        for certificate in own {
            roots.add(certificate)?;
        }
    }
    if roots.is_empty() {
        return Err(TlsError::NoAuthorities);
    }
    Ok(roots)
}

/// Believes every certificate, because the user said so.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
