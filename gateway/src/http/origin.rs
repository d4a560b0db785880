//! Which pages and which hosts may be asked for: patterns of the configuration against header lines. Pure.

use std::net::Ipv6Addr;

/// Origins (RFC 6454) whose pages may connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Origins(Vec<Pattern>);

/// Hosts that requests may be for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hosts(Vec<Pattern>);

/// One text, or everything with a beginning and an end that has a name in between.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Exact(Box<str>),
    Below { before: Box<str>, after: Box<str> },
}

/// A page that may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotAllowed;

impl Pattern {
    fn new(text: &str) -> Self {
        match text.split_once("*.") {
            Some((before, after)) => {
                Self::Below { before: before.into(), after: format!(".{after}").into() }
            }
            None => Self::Exact(text.into()),
        }
    }

    fn matches(&self, text: &[u8]) -> bool {
        let (before, after) = match self {
            Self::Exact(own) => return own.as_bytes().eq_ignore_ascii_case(text),
            Self::Below { before, after } => (before.as_bytes(), after.as_bytes()),
        };
        let Some((start, rest)) = text.split_at_checked(before.len()) else { return false };
        let Some(cut) = rest.len().checked_sub(after.len()) else { return false };
        let (name, end) = rest.split_at(cut);
        let in_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
        // Nothing but a name: with a colon or an @ the rest would be something else than the end of a host.
        !name.is_empty()
            && name.iter().all(in_name)
            && start.eq_ignore_ascii_case(before)
            && end.eq_ignore_ascii_case(after)
    }
}

impl Origins {
    pub(super) fn new(origins: &[String]) -> Self {
        Self(origins.iter().map(|origin| Pattern::new(origin)).collect())
    }

    /// Whether any page may connect.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The origin in the lines of a request, if it has one; clients that are no browsers have none. `null` is that of pages
    /// that hide theirs, and matches nothing.
    pub(super) fn judge<'a>(
        &self,
        mut lines: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Option<&'a [u8]>, NotAllowed> {
        let origin = lines.next();
        match origin {
            _ if self.is_empty() => Ok(origin),
            None => Ok(None),
            Some(origin)
                if lines.next().is_none() && self.0.iter().any(|own| own.matches(origin)) =>
            {
                Ok(Some(origin))
            }
            Some(_) => Err(NotAllowed),
        }
    }
}

impl Hosts {
    pub(super) fn new(hosts: &[String]) -> Self {
        Self(hosts.iter().map(|host| Pattern::new(host)).collect())
    }

    /// Whether any host will do.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a request is for one of the hosts: its one `Host`, and that of its target if that is an absolute one.
    pub(super) fn allow<'a>(
        &self,
        mut lines: impl Iterator<Item = &'a [u8]>,
        target: Option<&str>,
    ) -> bool {
        let is_own = |value: &[u8]| {
            let host = without_port(value);
            self.0.iter().any(|own| own.matches(host))
        };
        self.is_empty()
            || lines.next().is_some_and(is_own)
                && lines.next().is_none()
                && target.is_none_or(|target| is_own(target.as_bytes()))
    }
}

/// A host without its port and without the dot at its end.
fn without_port(value: &[u8]) -> &[u8] {
    let value = value.trim_ascii();
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    let host = match value.iter().rposition(|byte| *byte == b':') {
        Some(colon) if value[colon + 1..].iter().all(is_digit) && !is_bare_ipv6(value) => {
            &value[..colon]
        }
        _ => value,
    };
    host.strip_suffix(b".").unwrap_or(host)
}

fn is_bare_ipv6(value: &[u8]) -> bool {
    str::from_utf8(value).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(texts: &[&str]) -> Origins {
        Origins::new(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    fn hosts(texts: &[&str]) -> Hosts {
        Hosts::new(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    fn allows(origins: &Origins, lines: &[&str]) -> bool {
        origins.judge(lines.iter().map(|line| line.as_bytes())).is_ok()
    }

    #[test]
    fn an_empty_list_allows_every_page_and_every_host() {
        assert!(
            allows(&origins(&[]), &["null"]) && allows(&origins(&[]), &["https://evil.example"])
        );
        assert!(hosts(&[]).allow([].into_iter(), Some("evil.example")));
    }

    #[test]
    fn pages_of_a_list_and_clients_that_are_no_browsers_may_connect() {
        let list = origins(&[
            "https://app.example.com",
            "http://localhost:3000",
            "https://*.example.org:8443",
        ]);
        for good in [
            &[][..],
            &["https://app.example.com"],
            &["HTTPS://App.Example.com"],
            &["http://localhost:3000"],
            &["https://a.example.org:8443"],
            &["https://a.b-1.example.org:8443"],
        ] {
            assert!(allows(&list, good), "{good:?}");
        }
        for bad in [
            &["null"][..],
            &[""],
            &["https://app.example.com:443"],
            &["https://app.example.com/"],
            &["http://app.example.com"],
            &["https://app.example.com.evil.example"],
            &["https://evil.example/https://app.example.com"],
            &["http://localhost"],
            &["http://localhost:30000"],
            &["https://example.org:8443"],
            &["https://.example.org:8443"],
            &["https://evilexample.org:8443"],
            &["https://evil.example:1.example.org:8443"],
            &["https://evil.example/.example.org:8443"],
            &["https://user@a.example.org:8443"],
            &["https://a.example.org"],
            &["https://*.example.org:8443"],
            &["https://\u{e9}.example.org:8443"],
            &["https://app.example.com", "https://app.example.com"],
            &["https://app.example.com", "null"],
        ] {
            assert!(!allows(&list, bad), "{bad:?}");
        }
    }

    #[test]
    fn a_request_is_for_a_host_of_the_list_whatever_the_port() {
        let list = hosts(&["live.example.com", "*.example.org", "192.0.2.7", "[fd00::1]"]);
        let allow =
            |lines: &[&str], target| list.allow(lines.iter().map(|line| line.as_bytes()), target);
        for good in [
            "live.example.com",
            "Live.Example.com:8080",
            "live.example.com.",
            "live.example.com.:443",
            "a.example.org",
            "192.0.2.7:80",
            "[fd00::1]",
            "[fd00::1]:8080",
        ] {
            assert!(allow(&[good], None), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "example.org",
            "live.example.com:80:80",
            "192.0.2.70",
            "fd00::1",
            "a:b",
        ] {
            assert!(!allow(&[bad], None), "{bad}");
        }
        assert!(!allow(&[], None) && !allow(&["live.example.com", "live.example.com"], None));
        assert!(!allow(&["live.example.com"], Some("evil.example")), "GET http://evil.example/ws");
        assert!(allow(&["live.example.com"], Some("a.example.org:80")));
    }
}
