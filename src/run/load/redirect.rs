//! Redirects: where an answer sends the user, and the request that goes there. Within the target only: another host is
//! not what the user of this tool allowed to be loaded.

use hyper::Method;
use url::Url;

use super::exchange::Ending;
use super::pool::NoRoute;
use super::reasons::place;
use super::shard::Shard;
use crate::plan::TargetPlan;
use crate::recording::FailureKind;

/// What the request that follows is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// A GET without a body.
    Get,
    /// The same method and body.
    Same,
}

impl Follow {
    /// What a status asks for (RFC 9110, section 15.4); none where it is no redirect. A POST becomes a GET after 301
    /// and 302, as every browser has it.
    #[must_use]
    pub fn of(status: u16, method: &Method) -> Option<Self> {
        match (status, method.as_str()) {
            (307 | 308, _) | (301..=303, "GET" | "HEAD") | (301 | 302, "PUT" | "PATCH" | "DELETE") => Some(Self::Same),
            (301..=303, _) => Some(Self::Get),
            _ => None,
        }
    }
}

/// The path and query that `location` means when the request was for `path`; none when that is not on the target.
#[must_use]
pub fn resolve(target: &TargetPlan, path: &str, location: &[u8]) -> Option<String> {
    let location = std::str::from_utf8(location).ok()?;
    let host = if target.host.contains(':') {
        format!("[{}]", target.host)
    } else {
        target.host.clone()
    };
    let root = Url::parse(&format!("{}://{host}:{}", target.scheme, target.port)).ok()?;
    let there = root.join(path).ok()?.join(location).ok()?;
    (there.origin() == root.origin()).then(|| match there.query() {
        Some(query) => format!("{}?{query}", there.path()),
        None => there.path().to_owned(),
    })
}

impl Shard {
    /// Follows the redirect that a pass was answered with. `Err` says that there is none to follow, or how the request
    /// ends because this one cannot be.
    pub(super) fn follow(&mut self, pass: u32, now_us: u64) -> Result<(), Option<Ending>> {
        let compiled = &self.common.steps[self.step_of(pass)];
        let (door, state) = (compiled.door, &self.passes[pass]);
        let Some(follow) = compiled.follows(state.status) else {
            return Err(None);
        };
        let failed = Err(Some(Ending::Failed(FailureKind::Redirect)));
        let step = state.step as usize;
        if state.location.is_empty() {
            // Joined to the path it would be the same request once more.
            self.recorder
                .reason(step, FailureKind::Redirect, || "without a Location to go to".to_owned());
            return failed;
        }
        if state.redirects >= compiled.redirects_max {
            let most = compiled.redirects_max;
            let why = || format!("more redirects than the {most} that are followed");
            self.recorder.reason(step, FailureKind::Redirect, why);
            return failed;
        }
        let path = match &state.going {
            Some((_, path)) => path.clone(),
            None => self.path_of(pass),
        };
        let Some(there) = resolve(&self.common.plan.target, &path, &self.passes[pass].location) else {
            let location = &self.passes[pass].location;
            let why = || format!("to {}, which is not on the target", place(location));
            self.recorder.reason(step, FailureKind::Redirect, why);
            return failed;
        };
        let pool = self.route(pass, door).map_err(|no_route| {
            Some(match no_route {
                NoRoute::QueueFull => Ending::NotSent,
                NoRoute::NoAddress => Ending::Failed(FailureKind::Dns),
            })
        })?;
        let state = &mut self.passes[pass];
        state.redirects += 1;
        // Once without a body, it stays so.
        let get = matches!(state.going, Some((Follow::Get, _)));
        state.going = Some((if get { Follow::Get } else { follow }, there));
        state.resent = false;
        state.begin_answer();
        self.take_connection(pass, pool, now_us);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_resolved_within_the_target() {
        let target = |scheme: &str, port| TargetPlan::entry("x".into(), scheme.into(), "shop.example.com".into(), port);
        let cases = [
            ("http", 80, "/a/b?c=1", "/d", Some("/d")),
            ("http", 80, "/a/b?c=1", "d?e=2", Some("/a/d?e=2")),
            ("http", 80, "/a/b", "../d", Some("/d")),
            ("http", 80, "/a/b", "?q=1", Some("/a/b?q=1")),
            ("http", 80, "/", "http://shop.example.com/d#top", Some("/d")),
            ("http", 8080, "/", "http://shop.example.com:8080/d", Some("/d")),
            ("https", 443, "/", "https://SHOP.example.com:443/d e", Some("/d%20e")),
            ("http", 80, "/", "https://shop.example.com/d", None),
            ("http", 80, "/", "//evil.example.com/d", None),
            ("http", 8080, "/", "http://shop.example.com/d", None),
            ("http", 80, "/", "http://[", None),
        ];
        for (scheme, port, path, location, expected) in cases {
            let found = resolve(&target(scheme, port), path, location.as_bytes());
            assert_eq!(found.as_deref(), expected, "{path} {location}");
        }
        assert_eq!(resolve(&target("http", 80), "/", b"\xff"), None);
    }

    #[test]
    fn methods_follow_as_in_browsers() {
        for (status, method, expected) in [
            (301, Method::GET, Some(Follow::Same)),
            (302, Method::POST, Some(Follow::Get)),
            (303, Method::PUT, Some(Follow::Get)),
            (303, Method::HEAD, Some(Follow::Same)),
            (307, Method::POST, Some(Follow::Same)),
            (308, Method::PUT, Some(Follow::Same)),
            (304, Method::GET, None),
            (200, Method::GET, None),
        ] {
            assert_eq!(Follow::of(status, &method), expected, "{status} {method}");
        }
    }
}
