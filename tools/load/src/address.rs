//! Addresses of targets, as people write them (pure).

/// A target as it was given, in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Path and query; empty if none was given.
    pub path: String,
    /// Whether it is reached by TLS.
    pub secure: bool,
}

/// Why a text is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Another scheme.
    #[error("{0}: write ws://host:port/path, or wss://")]
    Scheme(String),
    /// A password, which would end up in the report.
    #[error("an address with a user or a password is not taken: give tokens with --token-file")]
    User,
    /// No host, no port, or what no request line may have.
    #[error("{0}: not an address of the kind ws://host:port/path")]
    Malformed(String),
}

impl Address {
    /// Reads `ws://host:port/path`, or `wss://` for TLS; scheme, port (80, or 443) and path may be missing.
    ///
    /// # Errors
    /// When it is something else.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("ws", text));
        let malformed = || AddressError::Malformed(shown(text));
        let (secure, usual) = match scheme {
            "ws" | "http" => (false, "80"),
            "wss" | "https" => (true, "443"),
            _ => return Err(AddressError::Scheme(shown(text))),
        };
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        if authority.contains('@') {
            return Err(AddressError::User);
        }
        let clean = |text: &str| text.chars().all(|c| c.is_ascii_graphic());
        if !clean(path) || !clean(authority) {
            return Err(malformed());
        }
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, usual),
            Some((host, port)) => (host, port.strip_prefix(':').ok_or_else(malformed)?),
            None => authority.split_once(':').unwrap_or((authority, usual)),
        };
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(malformed)?;
        if host.is_empty() {
            return Err(malformed());
        }
        let path = if path.starts_with('?') { format!("/{path}") } else { path.to_owned() };
        Ok(Self { host: host.to_owned(), port, path, secure })
    }

    /// As in `Host`.
    #[must_use]
    pub fn host_header(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// For a report: without the query, which may hold a token.
    #[must_use]
    pub fn public(&self) -> String {
        let path = self.path.split('?').next().unwrap_or_default();
        let scheme = if self.secure { "wss" } else { "ws" };
        format!("{scheme}://{}{path}", self.host_header())
    }
}

/// As much of a text as an error needs, without a query.
fn shown(text: &str) -> String {
    let text = text.split('?').next().unwrap_or_default();
    // What stands before it could be a password.
    let text = text.rsplit('@').next().unwrap_or_default();
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_understood() {
        let parts = |text| Address::parse(text).map(|a| (a.host_header(), a.path)).unwrap();
        assert_eq!(parts("ws://127.0.0.1:8080/ws"), ("127.0.0.1:8080".into(), "/ws".into()));
        assert_eq!(parts("localhost:1"), ("localhost:1".into(), String::new()));
        assert_eq!(parts("http://a?x=1"), ("a:80".into(), "/?x=1".into()));
        assert_eq!(parts("wss://a/ws"), ("a:443".into(), "/ws".into()));
        assert_eq!(Address::parse("https://a:8443/ws").unwrap().public(), "wss://a:8443/ws");
        assert_eq!(parts("ws://[::1]:9/x"), ("[::1]:9".into(), "/x".into()));
    }

    #[test]
    fn what_is_no_target_is_refused_without_its_secrets() {
        for text in ["", "ws://", "ws://:1", "a:0", "a:x", "a:99999", "ws://a/\r\nX: y", "[::1]x"] {
            assert!(matches!(Address::parse(text), Err(AddressError::Malformed(_))), "{text}");
        }
        assert!(matches!(Address::parse("ftp://a"), Err(AddressError::Scheme(_))));
        assert_eq!(Address::parse("ws://u:secret@a"), Err(AddressError::User));
        let error = Address::parse("ftp://a/?token=secret").unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
        assert!(!Address::parse("a/ws?token=secret").unwrap().public().contains("secret"));
    }
}
