//! A WebSocket client on a connection: the upgrade, and frames by the protocol core.

use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use wsgateway_proto::decoder::{Decoder, Event, Limits, Violation};
use wsgateway_proto::frame::{self, Opcode, Role};
use wsgateway_proto::handshake::{self, ClientHandshakeError, ClientOffer};

use super::{Io, Target};

/// The protocol that is spoken.
pub(crate) const PROTOCOL: &str = "wsgateway.v1";
/// Largest message that is taken: a stream's messages are smaller unless somebody means harm.
const LARGEST: usize = 64 << 20;
/// Most frames of one message.
const FRAGMENTS: u32 = 1 << 20;
/// Bytes that one read takes at most: several messages of a busy stream.
const READ: usize = 16 << 10;
/// Bytes of a refusal's body that are waited for.
const BODY: usize = 512;
/// How long they may take, at most half of the time for the upgrade: without them the status and its headers count.
const BODY_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a connection did not become, or is no longer, a WebSocket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    #[error(transparent)]
    Handshake(#[from] ClientHandshakeError),
    #[error("the gateway broke the protocol: {0}")]
    Violation(#[from] Violation),
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    #[error("the connection ended during the upgrade, without an answer")]
    Ended,
    #[error("the upgrade has no answer within {0:?}")]
    Late(Duration),
}

/// What an upgrade asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asks<'a> {
    pub(crate) token: Option<&'a str>,
    pub(crate) deflate: bool,
}

/// What a gateway has sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Text(String),
    Ping,
    /// Pongs, and what a gateway does not send to us.
    Other,
    /// With its code (1005 without one) and reason.
    Close(u16, String),
    /// Without a close frame.
    End,
}

/// An open WebSocket.
pub(crate) struct Socket {
    io: Box<dyn Io>,
    decoder: Decoder,
    limits: Limits,
    input: Vec<u8>,
    position: usize,
    /// The response's head, as it came.
    pub(crate) head: String,
    pub(crate) deflate: bool,
}

impl Socket {
    /// Upgrades a connection.
    pub(crate) async fn open(
        io: Box<dyn Io>,
        target: &Target,
        asks: Asks<'_>,
        within: Duration,
    ) -> Result<Self, SocketError> {
        let body_within = BODY_TIMEOUT.min(within / 2);
        let upgraded = timeout(within, upgrade(io, target, asks, body_within)).await;
        upgraded.map_err(|_| SocketError::Late(within))?
    }

    pub(crate) async fn send(&mut self, text: &str) -> io::Result<()> {
        let mut out = Vec::new();
        frame::write_masked(&mut out, Opcode::Text, text.as_bytes(), mask());
        self.io.write_all(&out).await?;
        self.io.flush().await
    }

    /// Says goodbye; whether anybody hears it does not matter.
    pub(crate) async fn close(mut self) {
        let mut out = Vec::new();
        frame::close_masked(&mut out, 1000, "", mask());
        let _ = timeout(Duration::from_millis(200), self.io.write_all(&out)).await;
        let _ = timeout(Duration::from_millis(200), self.io.shutdown()).await;
    }

    /// The next thing; pings are answered. May be dropped while it waits.
    pub(crate) async fn next(&mut self) -> Result<Received, SocketError> {
        loop {
            let event = self.decoder.next(&mut self.input, &mut self.position, &self.limits)?;
            match event {
                Some(Event::Text(text)) => return Ok(Received::Text(text.to_owned())),
                Some(Event::Ping(payload)) => {
                    let mut out = Vec::new();
                    frame::write_masked(&mut out, Opcode::Pong, payload, mask());
                    self.io.write_all(&out).await?;
                    self.io.flush().await?;
                    return Ok(Received::Ping);
                }
                Some(Event::Close(close)) => {
                    let (code, reason) =
                        close.map_or((1005, ""), |close| (close.code, close.reason));
                    return Ok(Received::Close(code, reason.to_owned()));
                }
                Some(Event::Pong(_) | Event::Binary(_) | Event::Deflated(..)) => {
                    return Ok(Received::Other);
                }
                None => {}
            }
            self.input.clear();
            self.position = 0;
            if self.io.read_buf(&mut self.input).await? == 0 {
                return Ok(Received::End);
            }
        }
    }
}

async fn upgrade(
    mut io: Box<dyn Io>,
    target: &Target,
    asks: Asks<'_>,
    body_within: Duration,
) -> Result<Socket, SocketError> {
    let key = STANDARD.encode(fastrand::u128(..).to_ne_bytes());
    let offer = ClientOffer { key: &key, protocol: Some(PROTOCOL), deflate: asks.deflate };
    let mut request = handshake::client_request(&target.authority, &target.resource(), &offer);
    if let Some(token) = asks.token {
        // Before the empty line that ends the head.
        request.truncate(request.len().saturating_sub(2));
        request.extend_from_slice(format!("Authorization: Bearer {token}\r\n\r\n").as_bytes());
    }
    io.write_all(&request).await?;
    io.flush().await?;
    let mut input = Vec::with_capacity(READ);
    loop {
        match handshake::client_response(&input, &offer) {
            Ok(Some(upgraded)) => {
                let head = input.drain(..upgraded.head_bytes).collect::<Vec<u8>>();
                return Ok(Socket {
                    io,
                    decoder: Decoder::new(Role::Client),
                    limits: Limits {
                        message_bytes: LARGEST,
                        fragments: FRAGMENTS,
                        deflate: upgraded.deflate,
                    },
                    input,
                    position: 0,
                    head: String::from_utf8_lossy(&head).into_owned(),
                    deflate: upgraded.deflate,
                });
            }
            Ok(None) => {}
            Err(error) => {
                let reading = read_body(&mut io, &mut input, &error, &offer);
                let _ = timeout(body_within, reading).await;
                return Err(handshake::client_response(&input, &offer)
                    .err()
                    .unwrap_or(error)
                    .into());
            }
        }
        if io.read_buf(&mut input).await? == 0 {
            return match handshake::client_response(&input, &offer) {
                Err(error) => Err(error.into()),
                Ok(_) => Err(SocketError::Ended),
            };
        }
    }
}

/// Reads on while more of a refusal's body is to come.
async fn read_body(
    io: &mut Box<dyn Io>,
    input: &mut Vec<u8>,
    error: &ClientHandshakeError,
    offer: &ClientOffer<'_>,
) {
    let mut error = error.clone();
    while let ClientHandshakeError::Refused { body_head, content_length, .. } = &error
        && (body_head.len() as u64) < content_length.unwrap_or(0).min(BODY as u64)
        && io.read_buf(input).await.is_ok_and(|count| count > 0)
        && let Err(longer) = handshake::client_response(input, offer)
    {
        error = longer;
    }
}

/// Masks are for caches between, which we do not hide from.
fn mask() -> [u8; 4] {
    fastrand::u32(..).to_ne_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "HTTP/1.1 403 Forbidden\r\nContent-Length: 17\r\n\r\n";

    /// What an upgrade ends with whose answer comes in these segments, on a connection that stays open.
    async fn answered(segments: &[&str], within: Duration) -> String {
        let (ours, mut theirs) = tokio::io::duplex(4096);
        let target = Target::parse("ws://a/ws").unwrap();
        let opening = Socket::open(Box::new(ours), &target, Asks::default(), within);
        let answering = async {
            let mut request = [0; 4096];
            assert!(theirs.read(&mut request).await.unwrap() > 0);
            for segment in segments {
                theirs.write_all(segment.as_bytes()).await.unwrap();
                // The other side runs, and reads what there is.
                tokio::task::yield_now().await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            opened = opening => opened.err().unwrap().to_string(),
            () = answering => unreachable!("it waits for ever"),
        }
    }

    #[tokio::test]
    async fn a_refusal_is_told_with_its_body_wherever_it_is_cut() {
        let body = r#"{"code":"banned"}"#;
        let answer = format!("{HEAD}{body}");
        for cut in 1..answer.len() {
            let (first, second) = answer.split_at(cut);
            let said = answered(&[first, second], Duration::from_secs(60)).await;
            assert!(said.contains("403") && said.contains(body), "{cut}: {said}");
        }
    }

    #[tokio::test]
    async fn a_refusal_whose_body_never_comes_is_told_in_time() {
        let said = answered(&[HEAD, "{"], Duration::from_millis(200)).await;
        assert!(said.contains("403"), "{said}");
    }
}
