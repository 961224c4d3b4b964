//! The cookies of one pass: what answers set and later requests of the pass send back. A pass is a visit of its own, so
//! it begins without any.
//!
//! One host is asked, so Domain and Path do not matter; an expiry matters only where it takes a cookie away at once.

use super::http1::Head;

/// Bytes of cookies that a pass keeps; browsers keep 4 KiB a cookie and about fifty (RFC 6265, section 6.1).
const JAR_MAX: usize = 64 * 1024;

/// Puts the cookies of an answer into `jar`, as the value of a Cookie header; false when they are too many to be kept.
pub fn store(jar: &mut Vec<u8>, head: &Head<'_>) -> bool {
    let set = |field: &&httparse::Header<'_>| field.name.eq_ignore_ascii_case("set-cookie");
    for field in head.headers.iter().filter(set) {
        let mut parts = field.value.split(|byte| *byte == b';');
        let Some(pair) = parts.next().map(<[u8]>::trim_ascii) else {
            continue;
        };
        let Some(at) = pair.iter().position(|byte| *byte == b'=') else {
            continue;
        };
        let (name, value) = (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii());
        if name.is_empty() {
            continue;
        }
        remove(jar, name);
        if parts.any(takes_away) {
            continue;
        }
        if jar.len() + name.len() + value.len() + 3 > JAR_MAX {
            return false;
        }
        if !jar.is_empty() {
            jar.extend_from_slice(b"; ");
        }
        jar.extend_from_slice(name);
        jar.push(b'=');
        jar.extend_from_slice(value);
    }
    true
}

/// Makes of `jar` what the answers have that made `after` of `before`. Where not all cookies can be kept, those that have
/// been there for longest make room (RFC 6265, section 5.3).
pub fn merge(jar: &mut Vec<u8>, before: &[u8], after: &[u8]) {
    if before == after {
        return;
    }
    let kept: Vec<&[u8]> = cookies(after).map(name).collect();
    for gone in cookies(before).map(name).filter(|name| !kept.contains(name)) {
        remove(jar, gone);
    }
    // What is set is put at the end, so that those in front are as they were, in the order in which they were.
    let mut old = cookies(before);
    for new in cookies(after).skip_while(|cookie| old.any(|old| old == *cookie)) {
        remove(jar, name(new));
        while jar.len() + new.len() + 2 > JAR_MAX && !jar.is_empty() {
            let oldest = cookies(jar).next().map_or(0, <[u8]>::len);
            jar.drain(..(oldest + 2).min(jar.len()));
        }
        if !jar.is_empty() {
            jar.extend_from_slice(b"; ");
        }
        jar.extend_from_slice(new);
    }
}

/// The cookies of a jar, as `name=value`.
fn cookies(jar: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = jar;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.windows(2).position(|end| end == b"; ");
        let cookie = &rest[..end.unwrap_or(rest.len())];
        rest = end.map_or(&[], |end| &rest[end + 2..]);
        Some(cookie)
    })
}

fn name(cookie: &[u8]) -> &[u8] {
    let end = cookie.iter().position(|byte| *byte == b'=');
    &cookie[..end.unwrap_or(cookie.len())]
}

fn remove(jar: &mut Vec<u8>, name: &[u8]) {
    let mut from = 0;
    while from < jar.len() {
        let to = jar[from..]
            .windows(2)
            .position(|end| end == b"; ")
            .map_or(jar.len(), |end| from + end + 2);
        let rest = &jar[from..];
        if rest.len() > name.len() && rest.starts_with(name) && rest[name.len()] == b'=' {
            jar.drain(from..to);
            if from == jar.len() && jar.ends_with(b"; ") {
                jar.truncate(jar.len() - 2);
            }
            return;
        }
        from = to;
    }
}

/// An attribute with which servers delete a cookie: a lifetime of zero, or an end in 1970.
fn takes_away(attribute: &[u8]) -> bool {
    let attribute = attribute.trim_ascii().to_ascii_lowercase();
    if let Some(age) = attribute.strip_prefix(b"max-age=") {
        let age = std::str::from_utf8(age)
            .ok()
            .and_then(|age| age.trim().parse::<i64>().ok());
        return age.is_some_and(|age| age <= 0);
    }
    attribute.starts_with(b"expires=") && attribute.windows(4).any(|year| year == b"1970")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(jar: &mut Vec<u8>, cookies: &[&str]) -> bool {
        let headers: Vec<httparse::Header<'_>> = cookies
            .iter()
            .map(|cookie| httparse::Header {
                name: "Set-Cookie",
                value: cookie.as_bytes(),
            })
            .collect();
        store(
            jar,
            &Head {
                status: 200,
                headers: &headers,
            },
        )
    }

    #[test]
    fn cookies_are_kept_replaced_and_taken_away() {
        let mut jar = Vec::new();
        let steps: [(&[&str], &str); 7] = [
            (&["sid=1; Path=/; HttpOnly", "ab=x y"], "sid=1; ab=x y"),
            (&["sid=2"], "ab=x y; sid=2"),
            (&["b=3", "nonsense", "=4"], "ab=x y; sid=2; b=3"),
            (&["sid=; Max-Age=0"], "ab=x y; b=3"),
            (&["b=; Expires=Thu, 01 Jan 1970 00:00:00 GMT"], "ab=x y"),
            (
                &["c=1; Max-Age=60; Expires=Thu, 01 Jan 2060 00:00:00 GMT"],
                "ab=x y; c=1",
            ),
            (&["ab=; max-age=-1", "c=; max-age=0"], ""),
        ];
        for (cookies, expected) in steps {
            assert!(set(&mut jar, cookies));
            assert_eq!(String::from_utf8_lossy(&jar), expected);
        }
    }

    #[test]
    fn jars_that_parts_made_of_one_are_merged_in_their_order() {
        let cases: [(&str, &[&str], &str); 8] = [
            ("", &["a=1", "b=2"], "a=1; b=2"),
            ("a=1", &["a=1; b=2", "a=1", "a=1; c=3"], "a=1; b=2; c=3"),
            // The same cookie set by two: the later step's stays.
            ("a=1; b=2", &["b=2; a=5", "b=2; a=6"], "b=2; a=6"),
            ("a=1; b=2", &["b=2; a=5", "b=2; a=1"], "b=2; a=1"),
            // Taken away, and set again by a later one or not at all.
            ("a=1; b=2", &["b=2"], "b=2"),
            ("a=1; b=2", &["b=2", "b=2; a=7"], "b=2; a=7"),
            ("a=1; b=2", &["", "a=1; b=2; c=x y"], "c=x y"),
            ("a=1; b=2; c=3", &["b=2; c=3; d=4; a=9"], "b=2; c=3; d=4; a=9"),
        ];
        for (before, parts, expected) in cases {
            let mut jar = before.as_bytes().to_vec();
            for after in parts {
                merge(&mut jar, before.as_bytes(), after.as_bytes());
            }
            assert_eq!(String::from_utf8_lossy(&jar), expected, "{before} {parts:?}");
        }
    }

    #[test]
    fn of_merged_jars_that_are_too_many_the_oldest_cookies_go() {
        let long = |name: &str| format!("{name}={}", "x".repeat(30_000));
        let mut jar = Vec::new();
        for name in ["a", "b", "c"] {
            merge(&mut jar, b"", long(name).as_bytes());
        }
        assert_eq!(String::from_utf8_lossy(&jar), format!("{}; {}", long("b"), long("c")));
        assert!(jar.len() <= JAR_MAX);
    }

    #[test]
    fn a_jar_is_bounded() {
        let mut jar = Vec::new();
        let long = "x".repeat(30_000);
        assert!(set(&mut jar, &[&format!("a={long}"), &format!("b={long}")]));
        assert!(!set(&mut jar, &[&format!("c={long}")]));
        assert!(jar.len() <= JAR_MAX);
    }
}
