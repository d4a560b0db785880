//! One blocking connection, for a test that says and hears one thing at a time.
//!
//! The caller owns the socket through it; every wait has a deadline. Pings are answered while
//! waiting, unless that is switched off.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;
use thiserror::Error;
use wsgateway_proto::decoder::{Decoder, Event, Limits, Violation};
use wsgateway_proto::deflate::Inflater;
use wsgateway_proto::frame::{self, Opcode, Role};
use wsgateway_proto::handshake::{self, ClientHandshakeError, ClientOffer};

use crate::{handshake_key, mask_key, with_headers};

/// Bytes asked for in one read.
const READ_BYTES: usize = 16 * 1024;

/// How to connect.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Path and query.
    pub path: String,
    /// `Sec-WebSocket-Protocol`, if any.
    pub protocol: Option<String>,
    /// Further header lines of the request, names and values.
    pub headers: Vec<(String, String)>,
    /// How long to wait for the connection and its handshake.
    pub timeout: Duration,
    /// Answer pings while waiting for something else.
    pub answer_pings: bool,
    /// The largest message to take, also after inflating.
    pub message_bytes: usize,
    /// Offer permessage-deflate. A server that agrees costs about 50 KiB for the connection.
    pub deflate: bool,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            path: "/ws".into(),
            protocol: None,
            headers: Vec::new(),
            timeout: Duration::from_secs(20),
            answer_pings: true,
            message_bytes: 16 << 20,
            deflate: false,
        }
    }
}

/// Something that a server sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// A ping, answered already unless that is switched off.
    Ping(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// The server closes: its code (1005 for none) and reason.
    Close(u16, String),
    /// The server hung up.
    End,
}

impl From<Event<'_>> for Received {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text(text.into()),
            Event::Binary(bytes) => Self::Binary(bytes.into()),
            // Inflated before by whoever offers compression; the decoder refuses it elsewhere.
            Event::Deflated(_, bytes) => Self::Binary(bytes.into()),
            Event::Ping(bytes) => Self::Ping(bytes.into()),
            Event::Pong(bytes) => Self::Pong(bytes.into()),
            Event::Close(None) => Self::Close(1005, String::new()),
            Event::Close(Some(close)) => Self::Close(close.code, close.reason.into()),
        }
    }
}

/// Why a connection is of no more use.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The server did not upgrade.
    #[error(transparent)]
    Handshake(#[from] ClientHandshakeError),
    /// The server broke the protocol.
    #[error("the server broke the protocol: {0}")]
    Violation(#[from] Violation),
    /// The socket failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// Nothing came in time.
    #[error("nothing that was waited for came within {0:?}")]
    Deadline(Duration),
    /// The connection ended while something was waited for.
    #[error("the connection ended before what was waited for: {0:?}")]
    Ended(Received),
}

impl ClientError {
    /// The HTTP status, if the server refused the upgrade.
    pub fn refused_status(&self) -> Option<u16> {
        match self {
            Self::Handshake(error) => error.status().map(|status| status.as_u16()),
            _ => None,
        }
    }
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    decoder: Decoder,
    limits: Limits,
    input: Vec<u8>,
    position: usize,
    answer_pings: bool,
    /// Where compression was agreed on.
    inflater: Option<Inflater>,
}

impl Client {
    /// Connects and upgrades.
    ///
    /// # Errors
    /// When the server cannot be reached, refuses, or takes longer than the timeout.
    pub fn connect(addr: SocketAddr, options: &ClientOptions) -> Result<Self, ClientError> {
        let deadline = Deadline::new(options.timeout);
        let stream = TcpStream::connect_timeout(&addr, options.timeout)?;
        stream.set_nodelay(true)?;
        let mut client = Self {
            stream,
            decoder: Decoder::new(Role::Client),
            limits: Limits {
                message_bytes: options.message_bytes,
                fragments: u32::MAX,
                deflate: false,
            },
            input: Vec::new(),
            position: 0,
            answer_pings: options.answer_pings,
            inflater: None,
        };
        let key = handshake_key();
        client.send_raw(&request(addr, &key, options))?;
        loop {
            match handshake::client_response(&client.input, &offer(&key, options)) {
                Ok(Some(upgraded)) => {
                    client.input.drain(..upgraded.head_bytes);
                    client.limits.deflate = upgraded.deflate;
                    client.inflater = upgraded.deflate.then(Inflater::new);
                    return Ok(client);
                }
                Ok(None) => {}
                Err(error) => {
                    return Err(client.refusal(error, &offer(&key, options), &deadline));
                }
            }
            if client.fill(&deadline)? == 0 {
                return Err(ClientError::Ended(Received::End));
            }
        }
    }

    /// The socket, for options and half-closes.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends one text message.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn send_text(&mut self, text: &str) -> io::Result<()> {
        self.send_frame(Opcode::Text, text.as_bytes())
    }

    /// Sends one masked frame of any kind.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn send_frame(&mut self, opcode: Opcode, payload: &[u8]) -> io::Result<()> {
        let mut out = Vec::new();
        frame::write_masked(&mut out, opcode, payload, mask_key());
        self.send_raw(&out)
    }

    /// Sends bytes as they are: half a frame, a broken one, or none.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next thing that the server sends, whatever it is.
    ///
    /// # Errors
    /// When nothing comes in time, or the server breaks the protocol.
    pub fn next_event(&mut self, within: Duration) -> Result<Received, ClientError> {
        let deadline = Deadline::new(within);
        loop {
            let event = self.decoder.next(&mut self.input, &mut self.position, &self.limits)?;
            let event = match (event, &mut self.inflater) {
                (Some(Event::Deflated(opcode, data)), Some(inflater)) => {
                    Some(inflater.message(opcode, data, self.limits.message_bytes)?)
                }
                (event, _) => event,
            };
            if let Some(event) = event.map(Received::from) {
                if let Received::Ping(payload) = &event
                    && self.answer_pings
                {
                    self.send_frame(Opcode::Pong, payload)?;
                }
                return Ok(event);
            }
            self.input.clear();
            self.position = 0;
            if self.fill(&deadline)? == 0 {
                return Ok(Received::End);
            }
        }
    }

    /// The next text; pings and pongs before it are passed over.
    ///
    /// # Errors
    /// As [`Self::next_event`], and when the connection ends.
    pub fn next_text(&mut self, within: Duration) -> Result<String, ClientError> {
        let deadline = Deadline::new(within);
        loop {
            match self.next_event(deadline.left()?)? {
                Received::Text(text) => return Ok(text),
                Received::Ping(_) | Received::Pong(_) => {}
                other => return Err(ClientError::Ended(other)),
            }
        }
    }

    /// The next text that is a JSON object with this `type`; others are passed over.
    ///
    /// # Errors
    /// As [`Self::next_text`].
    pub fn next_of_type(&mut self, kind: &str, within: Duration) -> Result<Value, ClientError> {
        let deadline = Deadline::new(within);
        loop {
            let text = self.next_text(deadline.left()?)?;
            if let Ok(value) = serde_json::from_str::<Value>(&text)
                && value.get("type").and_then(Value::as_str) == Some(kind)
            {
                return Ok(value);
            }
        }
    }

    /// Waits for the end: the server's close code and reason, or 1006 if it just hangs up.
    ///
    /// # Errors
    /// As [`Self::next_event`].
    pub fn wait_closed(&mut self, within: Duration) -> Result<(u16, String), ClientError> {
        let deadline = Deadline::new(within);
        loop {
            match self.next_event(deadline.left()?) {
                Ok(Received::Close(code, reason)) => return Ok((code, reason)),
                Ok(Received::End) => return Ok((1006, String::new())),
                Ok(_) => {}
                Err(ClientError::Io(error)) if is_hang_up(&error) => {
                    return Ok((1006, String::new()));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Closes as the protocol wants it: a close frame, then wait for the server's answer.
    ///
    /// # Errors
    /// As [`Self::next_event`].
    pub fn close(mut self, code: u16, within: Duration) -> Result<(u16, String), ClientError> {
        let mut out = Vec::new();
        frame::close_masked(&mut out, code, "", mask_key());
        self.send_raw(&out)?;
        let answer = self.wait_closed(within);
        // The server may have hung up already: there is nothing left to end then.
        let _ = self.stream.shutdown(Shutdown::Both);
        answer
    }

    /// Reads once, at the latest until the deadline; 0 at the end of the stream.
    fn fill(&mut self, deadline: &Deadline) -> Result<usize, ClientError> {
        let start = self.input.len();
        self.input.resize(start + READ_BYTES, 0);
        let read = self.read_into(start, deadline);
        self.input.truncate(start + read.as_ref().map_or(0, |count| *count));
        read
    }

    fn read_into(&mut self, start: usize, deadline: &Deadline) -> Result<usize, ClientError> {
        loop {
            self.stream.set_read_timeout(Some(deadline.left()?))?;
            match self.stream.read(self.input.get_mut(start..).unwrap_or_default()) {
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // How a read timeout shows differs by platform; the loop asks the deadline.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Completes the body of a refusal, which may come after its head.
    fn refusal(
        &mut self,
        mut error: ClientHandshakeError,
        offer: &ClientOffer<'_>,
        deadline: &Deadline,
    ) -> ClientError {
        while let ClientHandshakeError::Refused { body_head, content_length, .. } = &error
            && (body_head.len() as u64) < content_length.unwrap_or(0).min(512)
            && self.fill(deadline).is_ok_and(|count| count > 0)
            && let Err(longer) = handshake::client_response(&self.input, offer)
        {
            error = longer;
        }
        error.into()
    }
}

fn offer<'a>(key: &'a str, options: &'a ClientOptions) -> ClientOffer<'a> {
    ClientOffer { key, protocol: options.protocol.as_deref(), deflate: options.deflate }
}

fn request(addr: SocketAddr, key: &str, options: &ClientOptions) -> Vec<u8> {
    let offer = offer(key, options);
    let request = handshake::client_request(&addr.to_string(), &options.path, &offer);
    with_headers(request, &options.headers)
}

fn is_hang_up(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

/// A span of time that has begun.
struct Deadline {
    start: Instant,
    span: Duration,
}

impl Deadline {
    fn new(span: Duration) -> Self {
        Self { start: Instant::now(), span }
    }

    fn left(&self) -> Result<Duration, ClientError> {
        match self.span.checked_sub(self.start.elapsed()) {
            Some(left) if !left.is_zero() => Ok(left),
            _ => Err(ClientError::Deadline(self.span)),
        }
    }
}

#[cfg(test)]
mod tests;
