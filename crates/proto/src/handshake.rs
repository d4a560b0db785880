//! The upgrade from HTTP to WebSocket, both sides (RFC 6455 section 4).
//!
//! Server: the parts of a request in, what to answer out. Client: the bytes of a request out, the
//! bytes of a response in. No state, no sockets; whoever reads the head bounds its size.

mod client;
mod extensions;
mod fields;
mod head;
mod quirks;
mod token;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{HeaderMap, HeaderValue};
use http::{Method, StatusCode, Version};
use sha1::{Digest, Sha1};
use thiserror::Error;

pub use fields::HeadFields;
pub use head::{Head, MAX_HEAD, head};
pub use token::{SeveralTokens, Token, cookie_token, token};

pub use client::{
    ClientHandshakeError, ClientOffer, MAX_RESPONSE_HEAD, Upgraded, client_request, client_response,
};

/// Appended to the client's key before hashing (RFC 6455 section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The only version there is (RFC 6455 section 4.1).
const VERSION: &str = "13";

/// Bytes of a `Sec-WebSocket-Key` once decoded.
const KEY_BYTES: usize = 16;

/// Entries of `Sec-WebSocket-Protocol` that begin so carry a token and name no protocol.
const TOKEN_PREFIX: &str = "bearer.";

/// What `Sec-WebSocket-Accept` must say for a key.
pub fn accept_key(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(GUID);
    STANDARD.encode(hash.finalize())
}

/// A good upgrade request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The value of `Sec-WebSocket-Accept`.
    pub accept: String,
    /// The subprotocol to speak.
    pub protocol: &'static str,
    /// The client named it, so `Sec-WebSocket-Protocol` must answer it; otherwise that header must
    /// not be sent.
    pub echo_protocol: bool,
    /// Compression was offered, allowed and is agreed on: [`crate::decoder::Limits::deflate`].
    pub deflate: bool,
    /// What `Sec-WebSocket-Extensions` must say; that header must not be sent without.
    pub extensions: Option<&'static str>,
}

/// Why a request is not upgraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Some other method.
    #[error("open a WebSocket with GET")]
    NotGet,
    /// HTTP/1.0, or HTTP/2 and later, where upgrades do not exist.
    #[error("open a WebSocket over HTTP/1.1")]
    NotHttp11,
    /// Missing or sent twice (RFC 6455 section 4.2.1, RFC 9112 section 3.2).
    #[error("send one Host header")]
    BadHost,
    /// `Upgrade: websocket` or `Connection: Upgrade` is missing.
    #[error("this path speaks WebSocket: send Connection: Upgrade and Upgrade: websocket")]
    NotUpgrade,
    /// Not the version that RFC 6455 names.
    #[error("send Sec-WebSocket-Version: 13")]
    BadVersion,
    /// Missing, sent twice, or not 16 bytes in base64.
    #[error("send one Sec-WebSocket-Key: 16 random bytes in base64")]
    BadKey,
    /// The client named protocols and none is spoken here.
    #[error("none of the protocols in Sec-WebSocket-Protocol is spoken here")]
    NoCommonProtocol,
    /// The list of extensions cannot be read (RFC 6455 section 9.1).
    #[error("Sec-WebSocket-Extensions is not a list of extensions: correct it or leave it out")]
    BadExtensions,
}

impl Accepted {
    /// The header fields of the 101, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let protocol = self.echo_protocol.then_some(("Sec-WebSocket-Protocol", self.protocol));
        let extensions = self.extensions.map(|value| ("Sec-WebSocket-Extensions", value));
        [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Accept", self.accept.as_str()),
        ]
        .into_iter()
        .chain(protocol)
        .chain(extensions)
    }

    /// The whole answer, status line and all, for whoever writes it to the socket.
    pub fn response(&self) -> Vec<u8> {
        let mut response = Vec::with_capacity(256);
        response.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
        for (name, value) in self.headers() {
            for part in [name, ": ", value, "\r\n"] {
                response.extend_from_slice(part.as_bytes());
            }
        }
        response.extend_from_slice(b"\r\n");
        response
    }
}

impl Refusal {
    /// The status to answer with. To 426 belongs `Sec-WebSocket-Version: 13`, see
    /// [`Self::headers`].
    pub const fn status(self) -> StatusCode {
        match self {
            Self::NotGet => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotUpgrade | Self::BadVersion => StatusCode::UPGRADE_REQUIRED,
            Self::NotHttp11
            | Self::BadHost
            | Self::BadKey
            | Self::NoCommonProtocol
            | Self::BadExtensions => StatusCode::BAD_REQUEST,
        }
    }

    /// The `code` of the JSON body.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotGet => "method_not_allowed",
            Self::NotHttp11 => "http_1_1_required",
            Self::BadHost => "invalid_host",
            Self::NotUpgrade => "upgrade_required",
            Self::BadVersion => "unsupported_version",
            Self::BadKey => "invalid_key",
            Self::NoCommonProtocol => "no_common_protocol",
            Self::BadExtensions => "invalid_extensions",
        }
    }

    /// Headers that the answer must carry, by name (RFC 9110 for 405 and 426, RFC 6455
    /// section 4.4).
    pub const fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::NotGet => &[("allow", "GET")],
            Self::NotUpgrade | Self::BadVersion => &[
                ("upgrade", "websocket"),
                ("connection", "Upgrade"),
                ("sec-websocket-version", VERSION),
            ],
            Self::NotHttp11
            | Self::BadHost
            | Self::BadKey
            | Self::NoCommonProtocol
            | Self::BadExtensions => &[],
        }
    }
}

/// Checks an upgrade request and picks the subprotocol: the first that the client names among
/// those `offered`, or `default` when it names none. With `deflate_allowed` the first offer of
/// permessage-deflate that can be met is taken, unless the client is known to break its promise.
///
/// # Errors
/// What to answer instead of 101.
pub fn check(
    method: &Method,
    version: Version,
    headers: &impl Fields,
    offered: &[&'static str],
    default: &'static str,
    deflate_allowed: bool,
) -> Result<Accepted, Refusal> {
    if method != Method::GET {
        return Err(Refusal::NotGet);
    }
    if version != Version::HTTP_11 {
        return Err(Refusal::NotHttp11);
    }
    let says = |name: &'static str, word: &str| {
        entries(headers, name).any(|entry| entry.eq_ignore_ascii_case(word))
    };
    if !says("upgrade", "websocket") || !says("connection", "upgrade") {
        return Err(Refusal::NotUpgrade);
    }
    if single(headers, "host").is_none() {
        return Err(Refusal::BadHost);
    }
    if single(headers, "sec-websocket-version") != Some(VERSION) {
        return Err(Refusal::BadVersion);
    }
    let key =
        single(headers, "sec-websocket-key").filter(|key| is_key(key)).ok_or(Refusal::BadKey)?;
    let mut named = entries(headers, "sec-websocket-protocol")
        .filter(|entry| !entry.starts_with(TOKEN_PREFIX))
        .peekable();
    let echo_protocol = named.peek().is_some();
    let protocol = match echo_protocol {
        false => default,
        true => named
            .find_map(|name| offered.iter().copied().find(|offer| *offer == name))
            .ok_or(Refusal::NoCommonProtocol)?,
    };
    let lines = headers.lines("sec-websocket-extensions");
    let extensions = extensions::answer(lines.map(text))
        .map_err(|_| Refusal::BadExtensions)?
        .filter(|_| deflate_allowed && !quirks::keeps_its_window(headers));
    Ok(Accepted {
        accept: accept_key(key),
        protocol,
        echo_protocol,
        deflate: extensions.is_some(),
        extensions,
    })
}

/// The header fields of a request, however they are kept.
pub trait Fields {
    /// The values of a field, a line each; `name` is in lower case.
    fn lines(&self, name: &'static str) -> impl Iterator<Item = &[u8]>;
}

impl<F: Fields> Fields for &F {
    fn lines(&self, name: &'static str) -> impl Iterator<Item = &[u8]> {
        (**self).lines(name)
    }
}

impl Fields for HeaderMap {
    fn lines(&self, name: &'static str) -> impl Iterator<Item = &[u8]> {
        self.get_all(name).into_iter().map(HeaderValue::as_bytes)
    }
}

/// A line as text: visible ASCII, spaces and tabs.
fn text(line: &[u8]) -> Option<&str> {
    let visible = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
    line.iter().all(visible).then(|| std::str::from_utf8(line).ok())?
}

/// The entries of a comma-separated field, over all its lines.
fn entries<'a>(headers: &'a impl Fields, name: &'static str) -> impl Iterator<Item = &'a str> {
    let lines = headers.lines(name).filter_map(text);
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|entry| !entry.is_empty())
}

/// The value of a field that is there exactly once.
fn single<'a>(headers: &'a impl Fields, name: &'static str) -> Option<&'a str> {
    let mut values = headers.lines(name);
    let value = text(values.next()?)?.trim();
    values.next().is_none().then_some(value)
}

fn is_key(key: &str) -> bool {
    // 16 bytes are 24 characters; the decoder asks for room by the character.
    let mut bytes = [0; 24];
    key.len() == 24 && STANDARD.decode_slice(key, &mut bytes) == Ok(KEY_BYTES)
}

#[cfg(test)]
mod tests;
