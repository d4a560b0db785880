//! Where spans are sent to: the base address of an OTLP/HTTP receiver.

use std::fmt;

/// Longest endpoint in bytes.
pub const MAX_ENDPOINT_BYTES: usize = 512;

/// Path of the signal, behind the base that people write (OTLP specification, "OTLP/HTTP Request").
const PATH: &str = "v1/traces";

/// Base address of an OTLP/HTTP receiver, such as `http://collector.monitoring:4318`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpEndpoint(String);

/// Why an endpoint cannot be used. It never repeats the endpoint, which could hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEndpoint {
    /// Not an address.
    #[error(
        "is the base address of an OTLP/HTTP receiver: write http:// or https://, a host and a port, such as \
         http://collector.monitoring:4318"
    )]
    NotHttp,
    /// User and password in the address.
    #[error("must hold no user or password, since it is shown: use a header from a Secret instead")]
    Credentials,
    /// Too long.
    #[error("must have at most {MAX_ENDPOINT_BYTES} bytes")]
    TooLong,
}

impl OtlpEndpoint {
    /// Reads a base address.
    ///
    /// # Errors
    /// [`BadEndpoint`] for anything that is no `http` or `https` address with a host, and for one with a password.
    pub fn parse(text: &str) -> Result<Self, BadEndpoint> {
        if text.len() > MAX_ENDPOINT_BYTES {
            return Err(BadEndpoint::TooLong);
        }
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        let rest = rest.ok_or(BadEndpoint::NotHttp)?;
        let authority = rest.split('/').next().unwrap_or_default();
        if authority.contains('@') {
            return Err(BadEndpoint::Credentials);
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/:[]".contains(c);
        if !rest.chars().all(plain) || !is_authority(authority) {
            return Err(BadEndpoint::NotHttp);
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }

    /// Where spans are posted to.
    pub fn traces(&self) -> String {
        format!("{}/{PATH}", self.0)
    }
}

/// A name or an address (in brackets if it is IPv6), and perhaps a port.
fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, rest.strip_prefix(':').or(Some(""))),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    !host.is_empty() && !host.contains(['[', ']']) && port.is_none_or(is_port)
}

impl fmt::Display for OtlpEndpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_address_becomes_that_of_the_signal() {
        let traces = |text: &str| OtlpEndpoint::parse(text).map(|endpoint| endpoint.traces());
        assert_eq!(traces("http://a:4318").unwrap(), "http://a:4318/v1/traces");
        assert_eq!(traces("http://a:4318/").unwrap(), "http://a:4318/v1/traces");
        assert_eq!(traces("https://a/otlp").unwrap(), "https://a/otlp/v1/traces");
        assert_eq!(traces("http://[::1]:4318").unwrap(), "http://[::1]:4318/v1/traces");
        for bad in [
            "",
            "a:4318",
            "ftp://a",
            "http://",
            "//a",
            "http://a b",
            "http://a?x=1",
            "http://a:0",
            "http://a:port",
            "http://[::1",
            "http://[::1]x",
            "http://:4318",
        ] {
            assert_eq!(traces(bad), Err(BadEndpoint::NotHttp), "{bad}");
        }
        assert_eq!(traces("https://u:secret@a"), Err(BadEndpoint::Credentials));
        assert_eq!(traces(&format!("http://{}", "a".repeat(600))), Err(BadEndpoint::TooLong));
    }
}
