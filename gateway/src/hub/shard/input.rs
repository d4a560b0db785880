//! Reading: bytes from sockets become events of the protocol.

use std::io::{self, Read};
use std::num::NonZeroU32;
use std::time::Duration;

use wsgateway_proto::decoder::{Decoder, Event, Limits};
use wsgateway_proto::frame::{self, Opcode, Role};

use super::{Session, Shard, ticks};
use crate::conn::Phase;
use crate::hub::wheel::{Deadline, Timer};

/// What sockets may take of a turn, in bytes; whoever is over it waits for the next one, before others. About 5 ms of
/// small commands.
pub(super) const PER_TURN: usize = 512 << 10;

/// The same between two writes of a long flush: live messages are on their way.
pub(super) const PER_LOOK: usize = 64 << 10;

/// The least that a read counts for: each is a system call, and most bring a command.
const LEAST: usize = 1 << 10;

/// Time that a message may take from its first byte to its last: even 64 KiB over a poor radio link take less, and what
/// is half there is held in memory.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

impl Shard {
    /// Reads once what a socket has, 64 KiB at most, as far as the turn's budget goes. `to_the_end`: do not take a short
    /// read for the end of it.
    pub(super) fn read(&mut self, conn: u32, to_the_end: bool, budget: &mut usize) {
        let Some(connection) = self.connections.get_mut(conn as usize) else { return };
        if connection.unread {
            return; // its turn comes
        }
        if *budget == 0 {
            return self.read_later(conn);
        }
        let mut input = std::mem::take(&mut self.scratch.input);
        let more = match connection.stream.read(&mut input) {
            Ok(0) => {
                self.remove(conn, 1006);
                false
            }
            Ok(count) => {
                *budget = budget.saturating_sub(count.max(LEAST));
                connection.heard = self.clock.tick;
                connection.pinged = false;
                if connection.phase == Phase::Open {
                    self.consume(conn, input.get_mut(..count).unwrap_or_default());
                }
                // The kernel had less than we asked for: it will tell us when there is more.
                count == input.len() || to_the_end
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
            Err(_) => {
                self.remove(conn, 1006);
                false
            }
        };
        self.scratch.input = input;
        if more {
            self.read_later(conn);
        }
    }

    /// The socket has more to read, and is in the line for it once.
    fn read_later(&mut self, conn: u32) {
        if let Some(connection) = self.connections.get_mut(conn as usize)
            && !std::mem::replace(&mut connection.unread, true)
        {
            self.scratch.unread.push(Timer { conn, serial: connection.serial });
        }
    }

    /// Reads from those that were cut short before, as far as the budget goes.
    pub(super) fn read_unread(&mut self, budget: &mut usize) {
        let mut unread = std::mem::take(&mut self.scratch.unread);
        let mut served = 0;
        for timer in &unread {
            if *budget == 0 {
                break;
            }
            served += 1;
            if self.is_current(*timer) {
                if let Some(connection) = self.connections.get_mut(timer.conn as usize) {
                    connection.unread = false;
                }
                self.read(timer.conn, true, budget);
            }
        }
        // Those that still have more queue behind those that were not served.
        unread.drain(..served);
        unread.append(&mut self.scratch.unread);
        self.scratch.unread = unread;
    }

    /// A message has begun and not ended: it has a time to come.
    fn watch_message(&mut self, conn: u32) {
        let now = self.clock.tick;
        let Some(connection) = self.connections.get_mut(conn as usize) else { return };
        if !connection.decoder.is_unfinished() || self.settings.session == Session::Echo {
            connection.unfinished_since = None;
            return;
        }
        connection.unfinished_since = connection.unfinished_since.or(NonZeroU32::new(now.max(1)));
        if !std::mem::replace(&mut connection.message_timer, true) {
            let timer = Timer { conn, serial: connection.serial };
            self.wheel.insert(timer, Deadline::Message, now + ticks(MESSAGE_TIMEOUT));
        }
    }

    /// The time of a message may be over. One timer looks at all messages of a connection.
    pub(super) fn message_over(&mut self, timer: Timer) {
        let Some(connection) = self.connections.get_mut(timer.conn as usize) else { return };
        let end = connection.unfinished_since.map(|since| since.get() + ticks(MESSAGE_TIMEOUT));
        match end {
            None => connection.message_timer = false,
            Some(end) if self.clock.tick < end => {
                self.wheel.insert(timer, Deadline::Message, end);
            }
            Some(_) => self.close(timer.conn, 1008, "a message was begun and not ended in time"),
        }
    }

    /// Decodes bytes and acts on every event in them.
    pub(super) fn consume(&mut self, conn: u32, bytes: &mut [u8]) {
        let Some(connection) = self.connections.get_mut(conn as usize) else { return };
        let serial = connection.serial;
        if self.settings.session == Session::Clients
            && !connection.rate.take_bytes(&self.settings.rate, self.clock.now_us, bytes.len())
        {
            return self.close(conn, 4009, "too many bytes: slow down");
        }
        let mut ended_one = false;
        // The decoder lends out its buffer while we act on the shard: it is put back afterwards.
        let mut decoder = std::mem::replace(&mut connection.decoder, Decoder::new(Role::Server));
        self.unfinished.take_out(&decoder);
        let limits = Limits { deflate: connection.form.deflate, ..self.settings.decoder };
        let mut position = 0;
        loop {
            match decoder.next(bytes, &mut position, &limits) {
                Ok(None) => break,
                Ok(Some(event)) => {
                    ended_one |= event.is_message();
                    self.event(conn, event);
                }
                Err(violation) => self.close(conn, violation.close_code, violation.reason),
            }
            let open = |timer: &Timer| {
                let connection = self.connections.get(timer.conn as usize);
                connection.is_some_and(|c| c.serial == timer.serial && c.phase == Phase::Open)
            };
            if !open(&Timer { conn, serial }) {
                return;
            }
        }
        if let Some(connection) = self.connections.get_mut(conn as usize) {
            self.unfinished.enter(&decoder);
            connection.decoder = decoder;
            if ended_one {
                // What is unfinished now is another message.
                connection.unfinished_since = None;
            }
        }
        self.watch_message(conn);
        self.bound_unfinished();
    }

    fn event(&mut self, conn: u32, event: Event<'_>) {
        match event {
            Event::Pong(_) => self.pong(conn),
            Event::Text(text) => {
                if self.settings.session == Session::Echo {
                    self.echo(conn, Opcode::Text, text.as_bytes());
                } else if self.may_command(conn) {
                    self.command(conn, text);
                }
            }
            Event::Deflated(opcode, compressed) => self.inflate(conn, opcode, compressed),
            Event::Ping(payload) => {
                if self.settings.session == Session::Echo || self.may_command(conn) {
                    self.send(conn, |out| frame::write(out, Opcode::Pong, payload));
                }
            }
            Event::Binary(bytes) if self.settings.session == Session::Echo => {
                self.echo(conn, Opcode::Binary, bytes);
            }
            Event::Binary(_) => self.close(conn, 1003, "commands are JSON text"),
            Event::Close(None) => self.close(conn, 1000, ""),
            Event::Close(Some(close)) => self.close(conn, close.code, ""),
        }
    }

    /// Acts on a compressed message. One inflater serves every connection: no message leans on one before it.
    fn inflate(&mut self, conn: u32, opcode: Opcode, compressed: &[u8]) {
        let mut inflater = self.inflater.take().unwrap_or_default();
        match inflater.message(opcode, compressed, self.settings.decoder.message_bytes) {
            // What was small on the way is charged for what it has become.
            Ok(event) if self.may_inflate(conn, &event) => self.event(conn, event),
            Ok(_) => self.close(conn, 4009, "too many bytes: slow down"),
            Err(violation) => self.close(conn, violation.close_code, violation.reason),
        }
        inflater.release();
        self.inflater = Some(inflater);
    }

    fn echo(&mut self, conn: u32, opcode: Opcode, message: &[u8]) {
        let connection = self.connections.get(conn as usize);
        if !connection.is_some_and(|connection| connection.form.deflate) {
            return self.send(conn, |out| frame::write(out, opcode, message));
        }
        let mut echo = Vec::new();
        if !self.due.deflater().frame(opcode, message, &mut echo) {
            frame::write(&mut echo, opcode, message);
        }
        self.send(conn, |out| out.append(&mut echo));
    }

    /// An answer to a ping is free, one that nobody has asked for is not.
    fn pong(&mut self, conn: u32) {
        let Some(connection) = self.connections.get_mut(conn as usize) else { return };
        let asked = std::mem::take(&mut connection.owes_pong);
        if !asked && self.settings.session == Session::Clients {
            self.may_command(conn);
        }
    }

    /// Charges the bytes of an inflated message.
    fn may_inflate(&mut self, conn: u32, event: &Event<'_>) -> bool {
        let (now_us, limit) = (self.clock.now_us, &self.settings.rate);
        let Some(connection) = self.connections.get_mut(conn as usize) else { return false };
        let bytes = match event {
            Event::Text(text) => text.len(),
            _ => 0,
        };
        self.settings.session == Session::Echo || connection.rate.take_bytes(limit, now_us, bytes)
    }

    /// Charges one command; a client that sends too many is closed.
    fn may_command(&mut self, conn: u32) -> bool {
        let now_us = self.clock.now_us;
        let Some(connection) = self.connections.get_mut(conn as usize) else { return false };
        self.totals.commands += 1;
        if connection.rate.take(&self.settings.rate, now_us) {
            return true;
        }
        self.close(conn, 4009, "too many commands: slow down");
        false
    }
}
