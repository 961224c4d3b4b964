//! The address of a target as a URL: scheme, host, port and path. The one place that takes URLs apart.

use serde::{Deserialize, Serialize};

/// A URL taken apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// `http` or `https`.
    pub scheme: String,
    /// Host name or address, without brackets.
    pub host: String,
    /// Port; the scheme's own where none is written.
    pub port: u16,
    /// Path and query, `/` where none is written.
    pub path: String,
}

/// What is wrong with a URL, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}\nhint: {hint}")]
pub struct EntryError {
    /// What is wrong.
    pub message: String,
    /// The remedy.
    pub hint: String,
}

impl Entry {
    /// Takes `url` apart; it must begin with `http://` or `https://`.
    pub fn read(url: &str) -> Result<Self, EntryError> {
        let wrong = |message: String, hint: &str| EntryError {
            message,
            hint: hint.to_owned(),
        };
        let form = "write it like http://shop.example.com:8080";
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(wrong(format!("{url:?} is not a URL"), form));
        };
        let usual_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => {
                return Err(wrong(
                    format!("the scheme {scheme:?} is not supported"),
                    "use http or https",
                ));
            }
        };
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            let hint = "send them as a header: `auth: { basic: ... }`, or --header 'authorization: ...'";
            return Err(wrong(format!("{url:?} holds credentials"), hint));
        }
        let (host, port) = match authority.rsplit_once(':') {
            // Within brackets it is an address of IPv6, not a port.
            Some((host, port)) if !port.ends_with(']') => match port.parse::<u16>() {
                Ok(port) if port > 0 => (host, port),
                _ => {
                    return Err(wrong(
                        format!("{port:?} is no port"),
                        "a port is a number from 1 to 65535",
                    ));
                }
            },
            _ => (authority, usual_port),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let valid = match bare {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                !host.is_empty()
                    && host
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
            }
        };
        if !valid {
            return Err(wrong(format!("{host:?} is no host name"), form));
        }
        if let Some(odd) = path.chars().find(|char| !char.is_ascii_graphic()) {
            return Err(wrong(
                format!("{odd:?} cannot stand in a URL as it is"),
                "write it percent-encoded, a space as %20",
            ));
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self {
            scheme: scheme.to_owned(),
            host: bare.unwrap_or(host).to_owned(),
            port,
            path: format!("{slash}{path}"),
        })
    }

    /// As it was written, but for the query, which may hold what is nobody's business.
    #[must_use]
    pub fn shown(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        let path = self.path.split('?').next().unwrap_or_default();
        match (self.scheme.as_str(), self.port) {
            ("http", 80) | ("https", 443) => format!("{}://{host}{path}", self.scheme),
            (scheme, port) => format!("{scheme}://{host}:{port}{path}"),
        }
    }

    /// Takes the URL of a target apart, which has no path.
    pub fn bare(url: &str) -> Result<Self, EntryError> {
        let entry = Self::read(url)?;
        if entry.path != "/" {
            return Err(EntryError {
                message: format!("{url:?} has a path"),
                hint: "leave it out; paths belong to the journeys' steps".to_owned(),
            });
        }
        Ok(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn urls_come_apart() {
        let cases = [
            ("http://shop.example.com", ("http", "shop.example.com", 80, "/")),
            ("https://shop.example.com/", ("https", "shop.example.com", 443, "/")),
            ("http://127.0.0.1:8080/a?b=c#d", ("http", "127.0.0.1", 8080, "/a?b=c")),
            ("https://[::1]:8443?x=1", ("https", "::1", 8443, "/?x=1")),
            ("http://[::1]", ("http", "::1", 80, "/")),
        ];
        for (url, (scheme, host, port, path)) in cases {
            let entry = Entry::read(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(
                (
                    entry.scheme.as_str(),
                    entry.host.as_str(),
                    entry.port,
                    entry.path.as_str()
                ),
                (scheme, host, port, path)
            );
        }
    }

    #[test]
    fn a_url_is_shown_without_its_query() {
        for (url, shown) in [
            (
                "https://id.example.com/token?key=secret",
                "https://id.example.com/token",
            ),
            ("http://[::1]:8080/t", "http://[::1]:8080/t"),
        ] {
            assert_eq!(Entry::read(url).unwrap().shown(), shown);
        }
    }

    #[test]
    fn what_is_no_entry_is_said() {
        for (url, message) in [
            ("shop", "is not a URL"),
            ("ftp://shop", "\"ftp\" is not supported"),
            ("http://", "no host name"),
            ("http://a b", "no host name"),
            ("http://[::g]", "no host name"),
            ("http://shop:0", "no port"),
            ("http://shop:99999", "no port"),
            ("http://ann:pw@shop", "credentials"),
            ("http://shop/cart", "has a path"),
        ] {
            let error = Entry::bare(url).expect_err(url);
            assert!(error.message.contains(message), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(url in "(https?://)?[a-z0-9:/?#@\\[\\].%é-]{0,20}") {
            let _ = Entry::read(&url);
        }
    }
}
