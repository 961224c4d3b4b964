//! Why requests failed, in words: of each step and kind the first one that a shard sees. Successes never come here, and a
//! failure whose reason is told already costs one look at a bit.

use std::borrow::Cow;
use std::io;

use super::stream::is_tls;
use crate::recording::{FailureKind, StepSlice};

/// Characters of a reason that are kept.
const LENGTH_MAX: usize = 200;
/// A field or variable with one of these in its name may hold what nobody else is to know.
const SECRETS: [&str; 9] = [
    "auth",
    "cookie",
    "credential",
    "key",
    "pass",
    "secret",
    "session",
    "sid",
    "token",
];

/// The reasons of one shard.
#[derive(Debug, Default)]
pub struct Reasons {
    /// By step, a bit for each kind whose reason is told.
    told: Vec<u32>,
    /// Those that no slice has yet.
    fresh: Vec<(usize, FailureKind, String)>,
}

impl Reasons {
    /// Of so many steps.
    #[must_use]
    pub fn new(steps: usize) -> Self {
        Self {
            told: vec![0; steps],
            fresh: Vec::new(),
        }
    }

    /// A request of this step fails as this kind.
    #[cold]
    pub fn tell(&mut self, step: usize, kind: FailureKind, why: impl FnOnce() -> String) {
        let bit = 1 << kind as u32;
        let Some(told) = self.told.get_mut(step).filter(|told| **told & bit == 0) else {
            return;
        };
        *told |= bit;
        self.fresh.push((step, kind, bounded(&why())));
    }

    /// Puts what is new into the slices of the second in which it came.
    pub fn hand_over(&mut self, steps: &mut [StepSlice]) {
        for (step, kind, why) in self.fresh.drain(..) {
            if let Some(slice) = steps.get_mut(step) {
                slice.why.insert(kind, why);
            }
        }
    }
}

fn bounded(why: &str) -> String {
    let mut chars = why.chars().map(|char| if char.is_control() { ' ' } else { char });
    let mut kept: String = chars.by_ref().take(LENGTH_MAX).collect();
    if chars.next().is_some() {
        kept.push('…');
    }
    kept
}

/// What was found under a name, for a reason; kept back where the name says that it is secret.
pub fn found(name: &str, value: &[u8]) -> String {
    let name = name.to_ascii_lowercase();
    if SECRETS.iter().any(|secret| name.contains(secret)) {
        return "another value".to_owned();
    }
    // Longer than any reason; the rest would only be thrown away.
    let shown = &value[..value.len().min(4 * LENGTH_MAX)];
    format!("{:?}", String::from_utf8_lossy(shown))
}

/// Why a connection could not be opened, or TLS over it broke.
pub fn of_connection(error: &io::Error) -> String {
    use rustls::CertificateError::{BadSignature, Other, UnknownIssuer};
    use rustls::Error::InvalidCertificate;
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    // The latter where an authority of the same name is known, and is another.
    let unknown = matches!(tls, Some(InvalidCertificate(UnknownIssuer | BadSignature)));
    if unknown {
        return format!("{error}; name the authority with --ca or client.tls.ca");
    }
    // webpki's own errors have no place of their own in rustls's.
    if let Some(InvalidCertificate(Other(other))) = tls
        && other.to_string().contains("CaUsedAsEndEntity")
    {
        return format!(
            "{error}; the server shows an authority's own certificate: have it show one with CA:FALSE, or use --insecure or client.tls.verify: false"
        );
    }
    error.to_string()
}

/// The server closed a connection that was to carry an answer, some of which had come.
pub fn of_close(heard: bool) -> String {
    format!("the server closed the connection {}", when(heard))
}

/// A connection that was to carry an answer, some of which had come, broke.
pub fn of_break(error: &io::Error, heard: bool) -> String {
    match is_tls(error) {
        true => of_connection(error),
        false => format!("{error}, {}", when(heard)),
    }
}

fn when(heard: bool) -> &'static str {
    match heard {
        true => "within the answer",
        false => "before the answer began",
    }
}

/// Where a redirect leads, without what may be secret in it.
pub fn place(location: &[u8]) -> Cow<'_, str> {
    let end = location
        .iter()
        .position(|byte| matches!(byte, b'?' | b'#'))
        .unwrap_or(location.len());
    match String::from_utf8_lossy(&location[..end]) {
        place if place.contains('@') => Cow::Borrowed("an address with a user in it"),
        place => place,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_of_each_step_and_kind_is_told_and_none_is_long() {
        let mut reasons = Reasons::new(2);
        let long = "é\r\n".repeat(300);
        reasons.tell(0, FailureKind::Reset, || "first".to_owned());
        reasons.tell(0, FailureKind::Reset, || unreachable!("it is told already"));
        reasons.tell(1, FailureKind::Reset, || long);
        reasons.tell(2, FailureKind::Reset, || unreachable!("there is no such step"));
        let mut slices = vec![StepSlice::default(); 2];
        reasons.hand_over(&mut slices);
        assert_eq!(slices[0].why[&FailureKind::Reset], "first");
        let told = &slices[1].why[&FailureKind::Reset];
        assert!(
            told.chars().count() == LENGTH_MAX + 1 && told.starts_with("é  é"),
            "{told}"
        );
        let mut later = vec![StepSlice::default(); 2];
        reasons.hand_over(&mut later);
        assert!(later.iter().all(|slice| slice.why.is_empty()));
    }

    #[test]
    fn no_reason_tells_a_secret() {
        assert_eq!(found("$.state", b"old"), "\"old\"");
        for name in ["$.access_token", "Set-Cookie", "X-Api-Key", "$.user.password"] {
            assert_eq!(found(name, b"hunter2"), "another value", "{name}");
        }
        assert_eq!(place(b"https://id.test/login?code=1#x"), "https://id.test/login");
        assert!(!place(b"https://me:hunter2@id.test/").contains("hunter2"));
    }

    #[test]
    fn an_unknown_authority_comes_with_a_remedy() {
        let error = |error| of_connection(&io::Error::other(rustls::Error::InvalidCertificate(error)));
        let unknown = error(rustls::CertificateError::UnknownIssuer);
        assert!(error(rustls::CertificateError::BadSignature).contains("--ca"));
        assert!(
            unknown.contains("UnknownIssuer") && unknown.contains("--ca or client.tls.ca"),
            "{unknown}"
        );
        let own = rustls::OtherError(std::sync::Arc::new(io::Error::other("CaUsedAsEndEntity")));
        let own = error(rustls::CertificateError::Other(own));
        assert!(own.contains("CA:FALSE") && own.contains("--insecure"), "{own}");
        let expired = error(rustls::CertificateError::Expired);
        assert!(!expired.contains("--ca"), "{expired}");
    }
}
