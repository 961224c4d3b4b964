//! How the client speaks TLS: the `tls` of a profile's client. Checks that what it names is there; the handshake decides
//! whether it is any good.

use super::Files;
use super::decode::{self, Fields};
use super::error::{Mistake, Sink};
use super::load;
use super::node::Node;

/// TLS settings as written.
#[derive(Clone, PartialEq, Eq)]
pub struct Tls {
    /// Certificates are verified.
    pub verify: bool,
    /// Authorities believed besides the system's, PEM.
    pub authorities: Option<String>,
    /// The client's own certificates and key, PEM.
    pub identity: Option<(String, String)>,
    /// The name in the certificate and in the clear (SNI), where it is not the target's host.
    pub server_name: Option<String>,
    /// Sessions are resumed.
    pub resume: bool,
    /// Keys are written to the file that SSLKEYLOGFILE names.
    pub key_log: bool,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            verify: true,
            authorities: None,
            identity: None,
            server_name: None,
            resume: true,
            key_log: false,
        }
    }
}

impl std::fmt::Debug for Tls {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("verify", &self.verify)
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

/// The keys whose values are paths.
pub(super) const PATHS: [&str; 3] = ["ca", "certificate", "key"];

/// The `tls` of a client.
pub(super) fn tls(node: &Node, files: &Files, sink: &mut Sink) -> Tls {
    let mut tls = Tls::default();
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
            tls.identity = pem(certificate, files, sink).zip(pem(key, files, sink));
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
    let text = std::str::from_utf8(load::file(node, files, sink)?).unwrap_or_default();
    if !text.contains("-----BEGIN ") {
        let hint = "it begins with a line such as -----BEGIN CERTIFICATE-----";
        sink.push(Mistake::at(&node.place, "is no file in PEM form").hint(hint));
        return None;
    }
    Some(text.to_owned())
}
