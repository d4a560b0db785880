//! Who may come in at the client port: pages, names of hosts, proxies, and how often.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{ConfigError, Network};

/// Most origins, and most hosts.
pub const MAX_ORIGINS: usize = 64;
/// Longest origin or host (bytes).
pub const MAX_ORIGIN_BYTES: usize = 255;
/// Most networks of a list: content delivery networks publish some hundred.
pub const MAX_NETWORKS: usize = 256;
/// Largest rate a second and largest burst of connections.
pub const MAX_ACCEPTS: u32 = 1_000_000;

/// The header in which trusted proxies write where a request comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, as nearly all of them do.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Whether trusted proxies begin connections with the PROXY protocol, version 1 or 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProxyProtocol {
    /// No: its header is a bad request.
    #[default]
    None,
    /// They may.
    Accept,
    /// They do; a connection without its header, or from anybody else, is refused.
    Require,
}

/// Connections over time (generic cell rate).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AcceptRate {
    /// Sustained connections a second; 0 = unlimited.
    pub per_second: u32,
    /// Connections that may come at once.
    pub burst: u32,
}

/// How many connections may come: WebSockets, event streams, and connections with long-polls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Accepts {
    /// Of all clients together.
    pub all: AcceptRate,
    /// Of each address; IPv6 by the first 64 bits.
    pub per_address: AcceptRate,
    /// Most connections of one address at a time; 0 = unlimited.
    pub connections_per_address: u32,
    /// Networks whose addresses have no limit of their own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exempt_networks: Vec<Network>,
}

impl AcceptRate {
    /// Whether there is a limit.
    pub fn is_limited(&self) -> bool {
        self.per_second > 0
    }
}

impl Accepts {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let rates = [("accepts.all", self.all), ("accepts.perAddress", self.per_address)];
        for (path, rate) in rates {
            if rate.per_second > MAX_ACCEPTS || !(1..=MAX_ACCEPTS).contains(&rate.burst) {
                let message = format!(
                    "must be 0 to {MAX_ACCEPTS} a second and a burst of 1 to {MAX_ACCEPTS}; got {} and {}",
                    rate.per_second, rate.burst
                );
                return Err(ConfigError::value(path, message));
            }
        }
        most_networks("accepts.exemptNetworks", &self.exempt_networks)
    }
}

impl Default for AcceptRate {
    fn default() -> Self {
        Self { per_second: 0, burst: 100 }
    }
}

pub(super) fn most_networks(path: &str, networks: &[Network]) -> Result<(), ConfigError> {
    match networks.len() {
        ..=MAX_NETWORKS => Ok(()),
        count => {
            let message = format!("must be at most {MAX_NETWORKS} networks; got {count}");
            Err(ConfigError::value(path, message))
        }
    }
}

/// Refuses a list with an entry that `is_good` does not take.
pub(super) fn all(
    path: &str,
    texts: &[String],
    is_good: fn(&str) -> bool,
    hint: &str,
) -> Result<(), ConfigError> {
    if texts.len() > MAX_ORIGINS {
        let message = format!("must be at most {MAX_ORIGINS}; got {}", texts.len());
        return Err(ConfigError::value(path, message));
    }
    match texts.iter().position(|text| !is_good(text)) {
        Some(index) => Err(ConfigError::value(
            format!("{path}[{index}]"),
            format!("{hint}; got {:?}", texts[index]),
        )),
        None => Ok(()),
    }
}

/// What an origin looks like, for messages.
pub const ORIGIN_HINT: &str = "write an origin as browsers send it, in lower case, without a path and without the usual port, such as \
     https://app.example.com, or https://*.example.com for every name below example.com";

/// What a host looks like, for messages.
pub const HOST_HINT: &str = "write a name or an address in lower case, without a port, such as live.example.com, 192.0.2.7 or [fd00::1], or \
     *.example.com for every name below example.com";

/// Whether a text is an origin (RFC 6454), or a pattern for the origins below a domain: `https://*.example.com`.
pub fn is_origin_pattern(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+.-".contains(c));
    let end_of_address = authority.find(']').map_or(0, |index| index + 1);
    let colon = authority.get(end_of_address..).and_then(|rest| rest.find(':'));
    let (host, port) = match colon.map(|colon| authority.split_at(end_of_address + colon)) {
        Some((host, port)) => (host, port.get(1..)),
        None => (authority, None),
    };
    let usual = match scheme {
        "http" => "80",
        "https" => "443",
        _ => "",
    };
    text.len() <= MAX_ORIGIN_BYTES
        && is_scheme
        && is_host_pattern(host)
        && port.is_none_or(|port| is_port(port) && port != usual)
}

fn is_port(text: &str) -> bool {
    !text.starts_with(['0', '+']) && text.parse::<u16>().is_ok()
}

/// Whether a text is a host, or a pattern for the names below a domain: `*.example.com`.
pub fn is_host_pattern(text: &str) -> bool {
    if let Some(address) = text.strip_prefix('[') {
        let address = address.strip_suffix(']').and_then(|address| address.parse::<IpAddr>().ok());
        return address.is_some_and(|address| address.is_ipv6());
    }
    let name = text.strip_prefix("*.").unwrap_or(text);
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    text.len() <= MAX_ORIGIN_BYTES
        && name.split('.').all(|label| !label.is_empty() && label.chars().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_sends_or_everything_below_a_domain() {
        for good in [
            "https://app.example.com",
            "http://localhost:3000",
            "https://*.example.com",
            "https://*.example.com:8443",
            "https://[fd00::1]:8443",
            "http://192.0.2.7",
            "capacitor://localhost",
            "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
        ] {
            assert!(is_origin_pattern(good), "{good}");
        }
        let long = format!("https://{}", "a".repeat(MAX_ORIGIN_BYTES));
        for bad in [
            "",
            "*",
            "null",
            "app.example.com",
            "https://",
            "https://App.example.com",
            "https://app.example.com/",
            "https://app.example.com:443",
            "http://app.example.com:80",
            "https://app.example.com:0",
            "https://app.example.com:65536",
            "https://app.example.com:",
            "https://user@app.example.com",
            "https://*",
            "https://*.",
            "https://a.*.example.com",
            "https://*example.com",
            "https://a..b",
            "https://[fd00::1",
            "https://[192.0.2.7]",
            "*://app.example.com",
            &long,
        ] {
            assert!(!is_origin_pattern(bad), "{bad}");
        }
    }

    #[test]
    fn a_host_has_no_port() {
        for good in ["live.example.com", "*.example.com", "localhost", "192.0.2.7", "[fd00::1]"] {
            assert!(is_host_pattern(good), "{good}");
        }
        for bad in ["", "*", "a:80", "A", "a.", "fd00::1", "a/b", "*.*.a"] {
            assert!(!is_host_pattern(bad), "{bad}");
        }
    }
}
