//! One connection of a swarm: its socket, its stage, its record.

mod fallback;
mod frames;

use std::io::{self, Read, Write};
use std::net::Shutdown;

use wsgateway_proto::decoder::Decoder;
use wsgateway_proto::frame::{self, Opcode, Role};
use wsgateway_proto::handshake::{self, ClientHandshakeError};

use super::dial::Dialer;
use super::hear::Place;
use super::link::Link;
use super::record::Record;
use crate::ledger::Ledger;
use crate::{handshake_key, mask_key};

/// Bytes that may wait for a server that does not read. Beyond it pongs are left out.
pub(super) const MAX_OUTBOX: usize = 256 * 1024;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// No answer to the connection request yet.
    #[default]
    Dialing,
    /// No answer to the upgrade request yet.
    Upgrading,
    /// Open.
    Open,
    /// A close frame was sent or received; the server has not hung up.
    Closing,
    /// Over.
    Ended,
}

/// What one connection has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Where it stands.
    pub state: State,
    /// Data messages.
    pub messages: u64,
    /// Acknowledgements.
    pub acks: u32,
    /// `error` pushes.
    pub errors: u32,
    /// The HTTP status, if its upgrade was refused.
    pub refused: Option<u16>,
    /// The advice of a `reconnect` push.
    pub reconnect_after_ms: Option<u64>,
    /// The server's close code once it has ended; 1005: none given, 1006: without a close frame.
    pub close_code: Option<u16>,
}

/// An upgrade that is not answered yet.
#[derive(Debug)]
struct Upgrade {
    key: String,
    head: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: Option<Link>,
    decoder: Decoder,
    upgrade: Option<Box<Upgrade>>,
    /// What the socket did not take.
    outbox: Vec<u8>,
    /// What a dialect has not heard to the end.
    rest: Vec<u8>,
    /// The beginning of an event.
    stream_rest: Vec<u8>,
    ledger: Ledger,
    place: Place,
    tally: Tally,
    number: u32,
    /// The server agreed to compress.
    deflate: bool,
    /// It is an event stream.
    events: bool,
    /// It polls.
    polls: bool,
}

impl Connection {
    /// A connection without a socket yet; `number` is its place in the swarm.
    pub(super) fn new(number: usize) -> Self {
        Self {
            stream: None,
            decoder: Decoder::new(Role::Client),
            upgrade: None,
            outbox: Vec::new(),
            rest: Vec::new(),
            stream_rest: Vec::new(),
            ledger: Ledger::default(),
            place: Place::default(),
            tally: Tally::default(),
            number: number as u32,
            deflate: false,
            events: false,
            polls: false,
        }
    }

    /// One that nobody has dialled yet.
    pub(super) fn away(number: usize) -> Self {
        let mut connection = Self::new(number);
        connection.tally.state = State::Ended;
        connection
    }

    /// Back to the beginning after the end, with or without the cursor. What was counted stays,
    /// but for what is asked of each attempt.
    pub(super) fn again(&mut self, keep_cursor: bool) {
        self.tally = Tally { messages: self.tally.messages, ..Tally::default() };
        match keep_cursor {
            true => self.ledger.reconnect(),
            false => (self.ledger, self.place) = (Ledger::default(), Place::default()),
        }
        self.place.greeted = None;
        self.deflate = false;
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(super) fn is_open(&self) -> bool {
        self.tally.state == State::Open
    }

    #[cfg(test)]
    pub(super) fn owns_no_buffer(&self) -> bool {
        self.outbox.capacity() + self.rest.capacity() == 0
            && self.upgrade.is_none()
            && self.decoder.buffered() == 0
    }

    /// The socket takes bytes, perhaps for the first time.
    pub(super) fn writable(&mut self, record: &mut Record, dialer: &Dialer) {
        if self.tally.state == State::Dialing && !self.connected(record, dialer) {
            return;
        }
        if let Some(stream) = &mut self.stream {
            // What the socket does not take now, it takes with its next edge; reading tells the end.
            let _ = stream.flush();
        }
        if !self.outbox.is_empty() {
            let waiting = std::mem::take(&mut self.outbox);
            self.write(&waiting, record);
        }
    }

    /// Asks for the upgrade once the connection stands; false while it does not.
    fn connected(&mut self, record: &mut Record, dialer: &Dialer) -> bool {
        let Some(Link { socket, .. }) = &self.stream else { return false };
        match socket.take_error().and_then(|error| error.map_or(Ok(()), Err)) {
            Ok(()) if socket.peer_addr().is_err() => return false,
            Ok(()) => {}
            Err(error) => {
                self.end(record, Some(&error));
                return false;
            }
        }
        let key = handshake_key();
        let cursor = self.cursor(record);
        let request = dialer.options.request(&dialer.host, &key, (self.number as usize, cursor));
        self.tally.state = State::Upgrading;
        self.upgrade = Some(Box::new(Upgrade { key, head: Vec::new() }));
        self.write(&request, record);
        true
    }

    /// Reads once.
    pub(super) fn read(
        &mut self,
        input: &mut [u8],
        to_the_end: bool,
        record: &mut Record,
        dialer: &Dialer,
    ) -> Next {
        let Some(stream) = &mut self.stream else { return Next::Event };
        match stream.read(input) {
            Ok(0) => self.end(record, None),
            Ok(count) => {
                let more = count == input.len() || to_the_end || stream.keeps_bytes();
                let bytes = input.get_mut(..count).unwrap_or_default();
                match self.upgrade.is_some() {
                    true => self.upgrading(bytes, record, dialer),
                    false if self.polls => self.polled(bytes, record, dialer),
                    false => self.consume(bytes, record),
                }
                return if more { Next::Read } else { Next::Event };
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Next::Turn,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // Told before the connection stands: the edge that follows says more.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
            Err(error) => self.end(record, Some(&error)),
        }
        Next::Event
    }

    fn upgrading(&mut self, bytes: &[u8], record: &mut Record, dialer: &Dialer) {
        let Some(mut upgrade) = self.upgrade.take() else { return };
        upgrade.head.extend_from_slice(bytes);
        if dialer.options.events {
            return self.answered(upgrade, record);
        }
        if dialer.options.polls {
            return self.first_answer(upgrade, record, dialer);
        }
        match handshake::client_response(&upgrade.head, &dialer.options.offer(&upgrade.key)) {
            Ok(None) => self.upgrade = Some(upgrade),
            Ok(Some(upgraded)) => {
                record.counters.connecting -= 1;
                record.counters.connected += 1;
                record.counters.opened += 1;
                self.tally.state = State::Open;
                self.deflate = upgraded.deflate;
                let cursor = self.cursor(record);
                for command in dialer.first_words(self.number as usize, cursor) {
                    self.send(Opcode::Text, command.as_bytes(), record);
                }
                self.consume(
                    upgrade.head.get_mut(upgraded.head_bytes..).unwrap_or_default(),
                    record,
                );
            }
            Err(error) => self.refused(&error, record),
        }
    }

    /// Where this connection continues, if it was in the stream before.
    fn cursor<'a>(&self, record: &'a Record) -> Option<(&'a str, u64)> {
        let epoch = self.place.cursor.and_then(|number| record.epochs.name(number))?;
        Some((epoch, self.ledger.last_offset()))
    }

    fn refused(&mut self, error: &ClientHandshakeError, record: &mut Record) {
        record.counters.connecting -= 1;
        match error.status().map(|status| status.as_u16()) {
            Some(status) => {
                *record.counters.refused.entry(status).or_default() += 1;
                self.tally.refused = Some(status);
            }
            None => record.counters.failed("not an upgrade"),
        }
        record.last_error = Some(error.to_string());
        self.tally.state = State::Ended;
        self.stream = None;
    }

    /// Treats frames.
    fn consume(&mut self, bytes: &mut [u8], record: &mut Record) {
        if self.tally.close_code.is_some() {
            return;
        }
        record.counters.bytes += bytes.len() as u64;
        record.out.clear();
        let closed = match self.events {
            true => self.hear_events(bytes, record),
            false => self.hear(bytes, record),
        };
        if let Some(code) = closed {
            self.closed(code, record);
        } else if !record.out.is_empty() {
            let out = std::mem::take(&mut record.out);
            if self.outbox.len() < MAX_OUTBOX {
                self.write(&out, record);
            }
            record.out = out;
        }
    }

    /// The server's close frame: answer it, unless it answers ours, and wait for the end.
    fn closed(&mut self, code: u16, record: &mut Record) {
        if self.tally.close_code.is_some() {
            return;
        }
        self.count_end(code, record);
        if self.tally.state == State::Open {
            self.tally.state = State::Closing;
            if !(self.events || self.polls) {
                let mut out = Vec::new();
                let answer = if code == 1005 { 1000 } else { code };
                frame::close_masked(&mut out, answer, "", mask_key());
                self.write(&out, record);
            }
        }
        if let Some(stream) = &mut self.stream {
            stream.finish();
        }
    }

    fn count_end(&mut self, code: u16, record: &mut Record) {
        record.counters.connected -= 1;
        *record.counters.closes.entry(code).or_default() += 1;
        self.tally.close_code = Some(code);
    }

    /// Begins to close from this side.
    pub(super) fn close(&mut self, code: u16, record: &mut Record) {
        if !self.is_open() {
            return;
        }
        self.tally.state = State::Closing;
        if self.events || self.polls {
            // They end with their socket.
            if let Some(stream) = &self.stream {
                let _ = stream.socket.shutdown(Shutdown::Both);
            }
            return;
        }
        let mut out = Vec::new();
        frame::close_masked(&mut out, code, "", mask_key());
        self.write(&out, record);
    }

    /// Leaves an open conversation in order.
    pub(super) fn part(&mut self, record: &mut Record) {
        if self.events {
            // An event stream has no closing handshake: ending it is how a client leaves.
            self.count_end(1000, record);
            self.end(record, None);
        } else {
            self.close(1000, record);
        }
    }

    /// The socket is over, for whatever reason.
    pub(super) fn end(&mut self, record: &mut Record, error: Option<&io::Error>) {
        if let Some(error) = error {
            record.last_error = Some(error.to_string());
        }
        match self.tally.state {
            State::Dialing | State::Upgrading => {
                record.counters.connecting -= 1;
                record.counters.failed(error.map_or("hung up before the upgrade", kind_of));
            }
            State::Open | State::Closing if self.tally.close_code.is_none() => {
                self.count_end(1006, record);
            }
            _ => {}
        }
        self.tally.state = State::Ended;
        self.stream = None;
        self.upgrade = None;
        self.outbox = Vec::new();
        self.rest = Vec::new();
        self.stream_rest = Vec::new();
        self.events = false;
        self.polls = false;
        self.decoder = Decoder::new(Role::Client);
    }

    /// Sends one frame; false when too much is waiting already.
    pub(super) fn send(&mut self, opcode: Opcode, payload: &[u8], record: &mut Record) -> bool {
        if self.outbox.len() >= MAX_OUTBOX {
            return false;
        }
        let mut out = Vec::new();
        frame::write_masked(&mut out, opcode, payload, mask_key());
        self.write(&out, record);
        true
    }

    /// Writes what the socket takes and keeps the rest for later.
    fn write(&mut self, mut bytes: &[u8], record: &mut Record) {
        while self.outbox.is_empty() && !bytes.is_empty() {
            let Some(stream) = &mut self.stream else { return };
            match stream.write(bytes) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // What the server said last may still be in the socket: reading tells the end.
                Err(error) => {
                    record.last_error = Some(error.to_string());
                    return;
                }
            }
        }
        self.outbox.extend_from_slice(bytes);
    }
}

/// When a connection is read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// When its socket says so.
    Event,
    /// At once: there may be more.
    Read,
    /// In the next turn, after others: there may be more, and this was a lot of work already.
    Turn,
}

/// The kind of a failure, as it is counted.
fn kind_of(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "connection reset",
        io::ErrorKind::TimedOut => "no answer in time",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "no route",
        io::ErrorKind::PermissionDenied => "forbidden by the system",
        io::ErrorKind::InvalidData => "TLS failed",
        _ => "other",
    }
}
