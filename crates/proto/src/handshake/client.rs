//! The client's half of the upgrade.

use http::StatusCode;
use thiserror::Error;

use super::{VERSION, accept_key, extensions};
use crate::deflate;

/// Longest response head that is read on: real ones are a few hundred bytes.
pub const MAX_RESPONSE_HEAD: usize = 16 * 1024;

/// Most header lines in a response.
const MAX_HEADERS: usize = 64;

/// Bytes of a refusal's body that are kept for a message.
const BODY_HEAD: usize = 512;

/// Why a server did not upgrade.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClientHandshakeError {
    /// It answered, and not with 101.
    #[error("the server answered {status}: {body_head}")]
    Refused {
        /// What it answered.
        status: StatusCode,
        /// `Retry-After` in seconds, if it was sent so.
        retry_after: Option<u64>,
        /// `Content-Length`: tells whether more of the body is on its way.
        content_length: Option<u64>,
        /// Up to 512 bytes of the body: what had come with the head.
        body_head: String,
    },
    /// It answered 101 and not as one that upgrades to WebSocket.
    #[error("the server switches to something else: {0} is missing or wrong")]
    NotUpgraded(&'static str),
    /// It chose a subprotocol or an extension that was not offered.
    #[error("the server chose what was not offered: see {0}")]
    NotOffered(&'static str),
    /// `Sec-WebSocket-Accept` does not belong to the key that was sent.
    #[error("Sec-WebSocket-Accept is missing or wrong: this is no WebSocket server, or a cache")]
    BadAccept,
    /// Not HTTP/1.1, or longer than [`MAX_RESPONSE_HEAD`].
    #[error("the answer is not HTTP: {0}")]
    NotHttp(&'static str),
}

impl ClientHandshakeError {
    /// The status of a refusal.
    pub const fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// What a client asks for, and what it holds the answer against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientOffer<'a> {
    /// `Sec-WebSocket-Key`: 16 random bytes in base64.
    pub key: &'a str,
    /// `Sec-WebSocket-Protocol`: one name, or several and commas between.
    pub protocol: Option<&'a str>,
    /// Offer permessage-deflate, as [`deflate::OFFER`] says.
    pub deflate: bool,
}

/// A server's agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upgraded {
    /// Length of the response's head; frames follow.
    pub head_bytes: usize,
    /// Both sides may send compressed messages: [`crate::decoder::Limits::deflate`].
    pub deflate: bool,
}

/// An upgrade request. `host` is the value of `Host`, `path` may have a query.
pub fn client_request(host: &str, path: &str, offer: &ClientOffer<'_>) -> Vec<u8> {
    let ClientOffer { key, protocol, deflate } = offer;
    let mut request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: {VERSION}\r\nSec-WebSocket-Key: {key}\r\n"
    );
    if let Some(protocol) = protocol {
        request.push_str("Sec-WebSocket-Protocol: ");
        request.push_str(protocol);
        request.push_str("\r\n");
    }
    if *deflate {
        request.push_str("Sec-WebSocket-Extensions: ");
        request.push_str(deflate::OFFER);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    request.into_bytes()
}

/// Reads the head of a response: what was agreed on if the server upgrades, `None` while it is
/// incomplete. A refusal is reported as soon as its head is complete, with as
/// much of the body as is there.
///
/// # Errors
/// What the server did instead.
pub fn client_response(
    bytes: &[u8],
    offer: &ClientOffer<'_>,
) -> Result<Option<Upgraded>, ClientHandshakeError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let used = match response.parse(bytes) {
        Ok(httparse::Status::Complete(used)) => used,
        Ok(httparse::Status::Partial) if bytes.len() >= MAX_RESPONSE_HEAD => {
            return Err(ClientHandshakeError::NotHttp("the head is too long"));
        }
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(ClientHandshakeError::NotHttp("the head cannot be read")),
    };
    let value = |name: &str| {
        let header = response.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name));
        header.and_then(|header| std::str::from_utf8(header.value).ok()).map(str::trim)
    };
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
    let Some(status) = status else {
        return Err(ClientHandshakeError::NotHttp("there is no status"));
    };
    if status != StatusCode::SWITCHING_PROTOCOLS {
        let body = bytes.get(used..).unwrap_or_default();
        let body_head = String::from_utf8_lossy(body.get(..BODY_HEAD).unwrap_or(body)).into_owned();
        let number = |name| value(name).and_then(|number| number.parse().ok());
        return Err(ClientHandshakeError::Refused {
            status,
            retry_after: number("retry-after"),
            content_length: number("content-length"),
            body_head,
        });
    }
    let deflate = agreed(response.headers, offer)?;
    Ok(Some(Upgraded { head_bytes: used, deflate }))
}

/// RFC 6455 section 4.1, what a client must check in a response with status 101; says whether
/// compression was agreed on.
fn agreed(
    headers: &[httparse::Header<'_>],
    offer: &ClientOffer<'_>,
) -> Result<bool, ClientHandshakeError> {
    let lines = |name: &'static str| {
        let named = headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| std::str::from_utf8(header.value).ok().map(str::trim))
    };
    let says = |name, word: &str| {
        let entries = lines(name).flatten().flat_map(|line| line.split(','));
        entries.into_iter().any(|entry| entry.trim().eq_ignore_ascii_case(word))
    };
    for (name, word) in [("upgrade", "websocket"), ("connection", "upgrade")] {
        if !says(name, word) {
            return Err(ClientHandshakeError::NotUpgraded(name));
        }
    }
    let accept = accept_key(offer.key);
    if !lines("sec-websocket-accept").eq([Some(accept.as_str())]) {
        return Err(ClientHandshakeError::BadAccept);
    }
    let offered =
        |name| offer.protocol.into_iter().flat_map(|p| p.split(',')).any(|p| p.trim() == name);
    let mut protocols = lines("sec-websocket-protocol");
    if let Some(chosen) = protocols.next()
        && (!chosen.is_some_and(offered) || protocols.next().is_some())
    {
        return Err(ClientHandshakeError::NotOffered("Sec-WebSocket-Protocol"));
    }
    extensions::agreed(lines("sec-websocket-extensions"), offer.deflate)
        .map_err(|_| ClientHandshakeError::NotOffered("Sec-WebSocket-Extensions"))
}
