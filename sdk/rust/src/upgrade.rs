//! The upgrade: sends the request and reads the whole answer, wherever the segments end.
//!
//! In: a connected socket, the request, and when the attempt ends. Out: what was agreed on, or the end that a refusal means. The body
//! of a refusal says which one it is (`banned`), so it is read up to its length; bytes and time are bounded.

use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::client::{Request, Response, generate_request};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::handshake::machine::TryParse as _;
use tokio_tungstenite::tungstenite::http::header::{
    CONNECTION, CONTENT_LENGTH, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_PROTOCOL, TRANSFER_ENCODING, UPGRADE,
};
use tokio_tungstenite::tungstenite::http::{HeaderName, StatusCode};

use crate::backoff::End;
use crate::deflate;

/// The subprotocol that is spoken.
pub(crate) const PROTOCOL: &str = "wsgateway.v1";
/// Bounds the head of an answer in bytes: a gateway's is below 1 KiB, and a proxy adds some.
pub(crate) const MAX_HEAD: usize = 16 << 10;
/// Bounds the body of a refusal in bytes: a gateway's is below 1 KiB.
pub(crate) const MAX_BODY: usize = 8 << 10;
/// How long the body of a refusal may take after its head. Without it, the status alone decides.
const BODY_TIMEOUT: Duration = Duration::from_secs(3);

/// The header by which compression is agreed on.
const EXTENSIONS: &str = "Sec-WebSocket-Extensions";

/// What a server agreed to.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Upgraded {
    /// What came behind its answer.
    pub rest: Vec<u8>,
    /// It compresses, as [`deflate::OFFER`] says.
    pub deflate: bool,
}

/// Upgrades a connection. Compression is offered if the request says so.
pub(crate) async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut S,
    request: Request,
    give_up: Instant,
) -> Result<Upgraded, End> {
    let offers = request.headers().contains_key(SEC_WEBSOCKET_EXTENSIONS);
    let request = generate_request(request);
    // No error text of the request: it may hold the token.
    let (request, key) = request.map_err(|_| End::abnormal("the request cannot be sent"))?;
    let io = |error: std::io::Error| End::abnormal(error.to_string());
    socket.write_all(&request).await.map_err(io)?;
    socket.flush().await.map_err(io)?;
    let (response, mut rest) = head(socket).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        // Ends before the attempt does: "not connected in time" would hide the refusal.
        let left = give_up.saturating_duration_since(Instant::now()) / 2;
        let reading = read_body(socket, &response, &mut rest);
        let _ = timeout(left.min(BODY_TIMEOUT), reading).await;
        return Err(refused(&response, &rest));
    }
    let deflate = agreed(&response, &key, offers).map_err(|what| End {
        garbled: what == EXTENSIONS,
        ..End::abnormal(format!("the server does not upgrade: {what} is missing or wrong"))
    })?;
    Ok(Upgraded { rest, deflate })
}

/// The head of the answer, and what has come after it.
async fn head<S: AsyncRead + Unpin>(socket: &mut S) -> Result<(Response, Vec<u8>), End> {
    let mut bytes = Vec::with_capacity(4096);
    while bytes.len() < MAX_HEAD {
        let known = bytes.len();
        let read = socket.read_buf(&mut bytes).await;
        if read.map_err(|error| End::abnormal(error.to_string()))? == 0 {
            return Err(End::abnormal("the connection ended before the upgrade was answered"));
        }
        // A head ends with a line: parsing each byte of a slow one again would cost its square.
        if !bytes[known..].contains(&b'\n') {
            continue;
        }
        let parsed = Response::try_parse(&bytes);
        if let Some((used, response)) = parsed.map_err(|e| End::abnormal(e.to_string()))? {
            return Ok((response, bytes.split_off(used)));
        }
    }
    Err(End::abnormal(format!("an answer whose head has more than {MAX_HEAD} bytes")))
}

/// Reads on until the body is complete, too long, or the connection ends.
async fn read_body<S: AsyncRead + Unpin>(socket: &mut S, response: &Response, body: &mut Vec<u8>) {
    while body.len() < MAX_BODY && !is_complete(response, body) {
        if !socket.read_buf(body).await.is_ok_and(|count| count > 0) {
            return;
        }
    }
}

fn is_complete(response: &Response, body: &[u8]) -> bool {
    if matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return true;
    }
    if says(response, &TRANSFER_ENCODING, "chunked") {
        return dechunked(body).1;
    }
    let length = text(response, &CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
    length.is_some_and(|length| body.len() >= length)
}

fn refused(response: &Response, body: &[u8]) -> End {
    let length = text(response, &CONTENT_LENGTH).and_then(|length| length.parse().ok());
    let body = if says(response, &TRANSFER_ENCODING, "chunked") {
        dechunked(body).0
    } else {
        body[..body.len().min(length.unwrap_or(usize::MAX))].to_vec()
    };
    End::from_http(response.status().as_u16(), text(response, &RETRY_AFTER), &body)
}

/// The data of the chunks that are there, and whether it is all of it (RFC 9112 section 7.1).
fn dechunked(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut data = Vec::new();
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, after) = rest.split_at(end + 1);
        let size = std::str::from_utf8(line).ok().and_then(|line| line.split(';').next());
        let size = size.and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
        let Some(size) = size.filter(|size| *size > 0) else {
            return (data, true); // the last chunk, or something that is none
        };
        let (chunk, next) = after.split_at(size.min(after.len()));
        data.extend_from_slice(chunk);
        match next.strip_prefix(b"\r\n") {
            Some(next) => rest = next,
            None => return (data, next.len() >= 2),
        }
    }
    (data, false)
}

/// What a client checks in an answer with status 101 (RFC 6455 section 4.1); whether it agrees to compression, or the name of
/// what is wrong.
fn agreed(response: &Response, key: &str, offers: bool) -> Result<bool, &'static str> {
    if !says(response, &UPGRADE, "websocket") {
        return Err("Upgrade");
    }
    if !says(response, &CONNECTION, "upgrade") {
        return Err("Connection");
    }
    if text(response, &SEC_WEBSOCKET_ACCEPT) != Some(&derive_accept_key(key.as_bytes())) {
        return Err("Sec-WebSocket-Accept");
    }
    if text(response, &SEC_WEBSOCKET_PROTOCOL) != Some(PROTOCOL) {
        return Err("Sec-WebSocket-Protocol");
    }
    let extensions = response.headers().get_all(SEC_WEBSOCKET_EXTENSIONS).iter();
    let deflate = deflate::agreed(extensions.map(|line| line.to_str().unwrap_or("no text")));
    deflate.filter(|deflate| offers || !deflate).ok_or(EXTENSIONS)
}

fn text<'a>(response: &'a Response, name: &HeaderName) -> Option<&'a str> {
    response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

/// One of the words of a header, in whatever case.
fn says(response: &Response, name: &HeaderName, word: &str) -> bool {
    let lines = response.headers().get_all(name).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|entry| entry.trim().eq_ignore_ascii_case(word))
}
