//! One connection of a swarm: its socket, its stage, its record.

use std::io::{self, Read, Write};
use std::net::Shutdown;

use mio::net::TcpStream;
use wsgateway_proto::decoder::{Decoder, Event};
use wsgateway_proto::frame::{self, Opcode, Role};
use wsgateway_proto::handshake::{self, ClientHandshakeError, ClientOffer};

use super::dial::Dialer;
use super::pushes;
use super::record::Record;
use crate::envelope;
use crate::ledger::{Ledger, Verdict};
use crate::{handshake_key, mask_key};

/// Bytes that may wait for a server that does not read. Beyond it pongs are left out.
const MAX_OUTBOX: usize = 256 * 1024;

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
    pub(super) stream: Option<TcpStream>,
    decoder: Decoder,
    upgrade: Option<Box<Upgrade>>,
    /// What the socket did not take.
    outbox: Vec<u8>,
    ledger: Ledger,
    tally: Tally,
    number: u32,
}

impl Connection {
    /// A connection without a socket yet; `number` is its place in the swarm.
    pub(super) fn new(number: usize) -> Self {
        Self {
            stream: None,
            decoder: Decoder::new(Role::Client),
            upgrade: None,
            outbox: Vec::new(),
            ledger: Ledger::default(),
            tally: Tally::default(),
            number: number as u32,
        }
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(super) fn is_open(&self) -> bool {
        self.tally.state == State::Open
    }

    #[cfg(test)]
    pub(super) fn owns_no_buffer(&self) -> bool {
        self.outbox.capacity() == 0 && self.upgrade.is_none() && self.decoder.buffered() == 0
    }

    /// The socket takes bytes, perhaps for the first time.
    pub(super) fn writable(&mut self, record: &mut Record, dialer: &Dialer) {
        if self.tally.state == State::Dialing && !self.connected(record, dialer) {
            return;
        }
        if !self.outbox.is_empty() {
            let waiting = std::mem::take(&mut self.outbox);
            self.write(&waiting, record);
        }
    }

    /// Asks for the upgrade once the connection stands; false while it does not.
    fn connected(&mut self, record: &mut Record, dialer: &Dialer) -> bool {
        let Some(stream) = &self.stream else { return false };
        match stream.take_error().and_then(|error| error.map_or(Ok(()), Err)) {
            Ok(()) if stream.peer_addr().is_err() => return false,
            Ok(()) => {}
            Err(error) => {
                self.end(record, Some(&error));
                return false;
            }
        }
        let options = &dialer.options;
        let key = handshake_key();
        let protocol = options.protocol.as_deref();
        let offer = ClientOffer { key: &key, protocol, deflate: false };
        let request = handshake::client_request(&dialer.host, &options.path, &offer);
        self.tally.state = State::Upgrading;
        self.upgrade = Some(Box::new(Upgrade { key, head: Vec::new() }));
        self.write(&request, record);
        true
    }

    /// Reads once; true when there may be more.
    pub(super) fn read(
        &mut self,
        input: &mut [u8],
        to_the_end: bool,
        record: &mut Record,
        dialer: &Dialer,
    ) -> bool {
        let Some(stream) = &mut self.stream else { return false };
        match stream.read(input) {
            Ok(0) => self.end(record, None),
            Ok(count) => {
                let full = count == input.len();
                let bytes = input.get_mut(..count).unwrap_or_default();
                match self.upgrade.is_some() {
                    true => self.upgrading(bytes, record, dialer),
                    false => self.consume(bytes, record),
                }
                return full || to_the_end;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // Told before the connection stands: the edge that follows says more.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
            Err(error) => self.end(record, Some(&error)),
        }
        false
    }

    fn upgrading(&mut self, bytes: &[u8], record: &mut Record, dialer: &Dialer) {
        let Some(mut upgrade) = self.upgrade.take() else { return };
        upgrade.head.extend_from_slice(bytes);
        let protocol = dialer.options.protocol.as_deref();
        let offer = ClientOffer { key: &upgrade.key, protocol, deflate: false };
        match handshake::client_response(&upgrade.head, &offer) {
            Ok(None) => self.upgrade = Some(upgrade),
            Ok(Some(upgraded)) => {
                record.counters.connecting -= 1;
                record.counters.connected += 1;
                record.counters.opened += 1;
                self.tally.state = State::Open;
                for command in (dialer.options.commands)(self.number as usize) {
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

    fn refused(&mut self, error: &ClientHandshakeError, record: &mut Record) {
        record.counters.connecting -= 1;
        match error.status().map(|status| status.as_u16()) {
            Some(status) => {
                *record.counters.refused.entry(status).or_default() += 1;
                self.tally.refused = Some(status);
            }
            None => record.counters.failed += 1,
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
        let arrival = record.arrival();
        let Self { decoder, tally, ledger, .. } = self;
        let mut position = 0;
        let mut closed = None;
        record.out.clear();
        loop {
            match decoder.next(bytes, &mut position, &record.limits) {
                Ok(None) => break,
                Ok(Some(Event::Text(text))) => read_text(text, arrival, tally, ledger, record),
                Ok(Some(Event::Ping(payload))) => {
                    record.counters.pings += 1;
                    if record.answer_pings && record.out.len() < MAX_OUTBOX {
                        frame::write_masked(&mut record.out, Opcode::Pong, payload, mask_key());
                    }
                }
                Ok(Some(Event::Pong(_))) => {}
                // Compression is never offered, so the decoder refuses it before.
                Ok(Some(Event::Binary(_) | Event::Deflated(..))) => record.counters.other += 1,
                Ok(Some(Event::Close(close))) => {
                    closed = Some(close.map_or(1005, |close| close.code));
                }
                Err(violation) => {
                    record.counters.violations += 1;
                    record.last_error = Some(violation.to_string());
                    closed = Some(violation.close_code);
                    break;
                }
            }
        }
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
            let mut out = Vec::new();
            let answer = if code == 1005 { 1000 } else { code };
            frame::close_masked(&mut out, answer, "", mask_key());
            self.write(&out, record);
        }
        if let Some(stream) = &self.stream {
            // The server may be gone already.
            let _ = stream.shutdown(Shutdown::Write);
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
        let mut out = Vec::new();
        frame::close_masked(&mut out, code, "", mask_key());
        self.tally.state = State::Closing;
        self.write(&out, record);
    }

    /// The socket is over, for whatever reason.
    pub(super) fn end(&mut self, record: &mut Record, error: Option<&io::Error>) {
        if let Some(error) = error {
            record.last_error = Some(error.to_string());
        }
        match self.tally.state {
            State::Dialing | State::Upgrading => {
                record.counters.connecting -= 1;
                record.counters.failed += 1;
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

/// Counts a text: data by its envelope, anything else by its JSON.
fn read_text(
    text: &str,
    arrival: u64,
    tally: &mut Tally,
    ledger: &mut Ledger,
    record: &mut Record,
) {
    let Some(envelope) = envelope::scan(text) else {
        match envelope::is_message(text) {
            true => record.counters.malformed += 1,
            false => pushes::count(text, tally, ledger, &mut record.counters),
        }
        return;
    };
    tally.messages += 1;
    record.counters.messages += 1;
    record.latency(&envelope, arrival);
    let verdict = ledger.message(&envelope);
    let counters = &mut record.counters;
    match verdict {
        Verdict::InOrder => {}
        Verdict::AfterGap => counters.gaps += 1,
        Verdict::Duplicate => counters.duplicates += 1,
        Verdict::OutOfOrder => counters.out_of_order += 1,
        Verdict::Inconsistent => counters.inconsistent += 1,
    }
    if let Some(field) = &record.number_field
        && matches!(verdict, Verdict::InOrder | Verdict::AfterGap)
    {
        let number = envelope::number_after(envelope.rest, field);
        if !number.is_some_and(|number| ledger.number(envelope.channel, number)) {
            counters.number_gaps += 1;
        }
    }
}
