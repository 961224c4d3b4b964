//! How the client speaks TLS: the `tls` of a profile's client. Checks that what it names is there; the handshake decides
//! whether it is any good.

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
    tls.authorities = fields.take("ca").and_then(|node| pem(node, files, sink));
    let certificate = fields.take("certificate");
    let key = fields.take("key");
    match (certificate, key) {
        (Some(certificate), Some(key)) => {
            let both = pem(certificate, files, sink).zip(pem(key, files, sink));
            tls.identity = both.map(|(certificates, key)| Identity { certificates, key });
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

fn pem(node: &Node, files: &Files, sink: &mut Sink) -> Option<String> {
    let text = std::str::from_utf8(files::read(node, files, sink)?).unwrap_or_default();
    if !text.contains("-----BEGIN ") {
        let hint = "it begins with a line such as -----BEGIN CERTIFICATE-----";
        sink.push(Mistake::at(&node.place, "is no file in PEM form").hint(hint));
        return None;
    }
    Some(text.to_owned())
}
