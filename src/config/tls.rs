//! How the client speaks TLS: the `tls` of a profile's client. Checks that what it names is there and goes together; the
//! handshake decides whether the other side believes it.

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use serde::{Deserialize, Serialize};

use super::decode::{self, Fields};
use super::error::{Mistake, Sink};
use super::files::{self, Files};
use super::node::Node;

/// How TLS is spoken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TlsSettings {
    /// Certificates are verified.
    pub verify: bool,
    /// Authorities believed besides the system's, PEM.
    pub authorities: Option<String>,
    /// Sessions are resumed.
    pub resume: bool,
    /// The name in the certificate and in the clear (SNI); the target's host when none.
    pub server_name: Option<String>,
    /// Keys are written to the file that SSLKEYLOGFILE names.
    pub key_log: bool,
    /// The client's own certificates and key, PEM; never written down.
    #[serde(skip)]
    pub identity: Option<Identity>,
}

/// A client's certificates and key, PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its certificate, then those that lead to an authority.
    pub certificates: String,
    /// The private key.
    pub key: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self {
            verify: true,
            authorities: None,
            resume: true,
            server_name: None,
            key_log: false,
            identity: None,
        }
    }
}

/// The keys whose values are paths.
pub(super) const PATHS: [&str; 3] = ["ca", "certificate", "key"];

/// The `tls` of a client.
pub(super) fn tls(node: &Node, files: &Files, sink: &mut Sink) -> TlsSettings {
    let mut tls = TlsSettings::default();
    let Some(mut fields) = Fields::of(node, "`tls`", sink) else {
        return tls;
    };
    let mut truth = |key: &'static str, usual: bool, sink: &mut Sink| {
        let node = fields.take(key)?;
        Some(decode::boolean(node, sink).unwrap_or(usual))
    };
    tls.verify = truth("verify", true, sink).unwrap_or(true);
    tls.resume = truth("resume", true, sink).unwrap_or(true);
    tls.key_log = truth("key_log", false, sink).unwrap_or(false);
    tls.server_name = fields.take("server_name").and_then(|node| decode::text(node, sink));
    tls.authorities = fields.take("ca").and_then(|node| authorities(node, files, sink));
    let certificate = fields.take("certificate");
    let key = fields.take("key");
    match (certificate, key) {
        (Some(certificate), Some(key)) => {
            let both = pem(certificate, files, sink).zip(pem(key, files, sink));
            tls.identity = both.map(|(certificates, key)| Identity { certificates, key });
            if let Some(identity) = &tls.identity {
                sink.mistakes.extend(unfit(identity, certificate, key));
            }
        }
        (None, None) => {}
        (Some(only), None) | (None, Some(only)) => {
            let hint = "a client shows its certificate and proves it with the key; name both";
            sink.push(Mistake::at(&only.place, "`certificate` and `key` belong together").hint(hint));
        }
    }
    fields.finish(sink);
    tls
}

/// Why a certificate and a key cannot be shown together.
fn unfit(identity: &Identity, certificate: &Node, key: &Node) -> Option<Mistake> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(identity.certificates.as_bytes()).collect();
    let Some(chain) = chain.ok().filter(|chain| !chain.is_empty()) else {
        let hint = "it holds the client's certificate first, then those that lead to an authority";
        return Some(Mistake::at(&certificate.place, "holds no certificate in PEM form").hint(hint));
    };
    let Ok(private) = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()) else {
        let hint = "it begins with a line such as -----BEGIN PRIVATE KEY-----, and is not encrypted";
        return Some(Mistake::at(&key.place, "holds no private key in PEM form").hint(hint));
    };
    match CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider()) {
        Ok(_) => None,
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            let hint =
                "name the key that the certificate was made for; the client's certificate comes first in its file";
            Some(Mistake::at(&key.place, "the key belongs to another certificate").hint(hint))
        }
        Err(error) => {
            let message = format!("the certificate and its key cannot be used: {error}");
            let hint = "keys are RSA of 2048 bits or more, ECDSA on P-256, P-384 or P-521, or Ed25519";
            Some(Mistake::at(&key.place, message).hint(hint))
        }
    }
}

/// Certificates to trust: a file without any, of a key say, would let nobody be trusted.
fn authorities(node: &Node, files: &Files, sink: &mut Sink) -> Option<String> {
    let text = pem(node, files, sink)?;
    let mut certificates = CertificateDer::pem_slice_iter(text.as_bytes());
    if matches!(certificates.next(), Some(Ok(_))) {
        return Some(text);
    }
    let hint = "it holds the certificates of the authorities to trust, in PEM form";
    sink.push(Mistake::at(&node.place, "holds no certificate").hint(hint));
    None
}

fn pem(node: &Node, files: &Files, sink: &mut Sink) -> Option<String> {
    let text = std::str::from_utf8(files::read(node, files, sink)?).unwrap_or_default();
    if !text.contains("-----BEGIN ") {
        let hint = "it begins with a line such as -----BEGIN CERTIFICATE-----";
        sink.push(Mistake::at(&node.place, "is no file in PEM form").hint(hint));
        return None;
    }
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::node;
    use crate::config::source::Source;

    #[test]
    fn what_is_trusted_is_a_certificate_and_no_key() {
        let key = rcgen::KeyPair::generate().expect("a key").serialize_pem();
        let text = "{ ca: ca.pem }";
        let files = Files::from([("ca.pem".to_owned(), key.into_bytes())]);
        let mut sink = Sink::default();
        let node = node::parse(&Source::new("p.yaml", text), text, 0, &mut sink).expect("YAML");
        assert_eq!(tls(&node, &files, &mut sink).authorities, None);
        let said = sink.finish(Some(())).expect_err("it is refused").to_string();
        assert!(
            said.contains("holds no certificate") && said.contains("hint:"),
            "{said}"
        );
    }

    fn said(certificate: &str, key: &str) -> Option<String> {
        let text = "{ certificate: client.pem,\n  key: client.key }";
        let files = Files::from([
            ("client.pem".to_owned(), certificate.as_bytes().to_vec()),
            ("client.key".to_owned(), key.as_bytes().to_vec()),
        ]);
        let mut sink = Sink::default();
        let node = node::parse(&Source::new("p.yaml", text), text, 0, &mut sink).expect("YAML");
        let read = tls(&node, &files, &mut sink);
        let finished = sink.finish(Some(read));
        finished.err().map(|errors| errors.to_string())
    }

    #[test]
    fn a_key_of_another_certificate_is_refused_where_it_is_written() {
        let made = || rcgen::generate_simple_self_signed(["tenfold.example.com".to_owned()]).expect("a certificate");
        let (one, other) = (made(), made());
        let (certificate, key) = (one.cert.pem(), one.signing_key.serialize_pem());
        assert_eq!(said(&certificate, &key), None);
        let cases = [
            (
                certificate.as_str(),
                other.signing_key.serialize_pem(),
                "p.yaml:2:8",
                "the key belongs to another certificate",
            ),
            (
                certificate.as_str(),
                certificate.clone(),
                "p.yaml:2:8",
                "holds no private key",
            ),
            (key.as_str(), key.clone(), "p.yaml:1:16", "holds no certificate"),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                key.clone(),
                "p.yaml:2:8",
                "cannot be used",
            ),
        ];
        for (certificate, key, place, why) in cases {
            let said = said(certificate, &key).expect(why);
            assert!(
                said.contains(place) && said.contains(why) && said.contains("hint:"),
                "{said}"
            );
            assert!(!said.contains("BEGIN PRIVATE KEY-----\n"), "{said}");
        }
    }
}
