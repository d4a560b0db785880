//! Reading: bytes from sockets become events of the protocol.

use std::io::{self, Read};

use wsgateway_proto::decoder::{Decoder, Event, Limits};
use wsgateway_proto::frame::{self, Opcode, Role};

use super::{Session, Shard};
use crate::conn::Phase;
use crate::hub::wheel::Timer;

/// Reads of one socket per turn: 1 MiB; whoever sends more waits for the others.
const READS: usize = 16;

impl Shard {
    /// Reads what a socket has. `to_the_end`: do not take a short read for the end of it.
    pub(super) fn read(&mut self, conn: u32, to_the_end: bool) {
        let mut input = std::mem::take(&mut self.scratch.input);
        let mut more = true;
        for _ in 0..READS {
            let Some(connection) = self.connections.get_mut(conn as usize) else { break };
            match connection.stream.read(&mut input) {
                Ok(0) => {
                    self.remove(conn, 1006);
                    more = false;
                }
                Ok(count) => {
                    connection.heard = self.clock.tick;
                    connection.pinged = false;
                    // The kernel had less than we asked for: it will tell us when there is more.
                    more = count == input.len() || to_the_end;
                    if connection.phase == Phase::Open {
                        self.consume(conn, input.get_mut(..count).unwrap_or_default());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => more = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.remove(conn, 1006);
                    more = false;
                }
            }
            if !more {
                break;
            }
        }
        self.scratch.input = input;
        if more && let Some(connection) = self.connections.get(conn as usize) {
            self.scratch.unread.push(Timer { conn, serial: connection.serial });
        }
    }

    /// Decodes bytes and acts on every event in them.
    pub(super) fn consume(&mut self, conn: u32, bytes: &mut [u8]) {
        let Some(connection) = self.connections.get_mut(conn as usize) else { return };
        let serial = connection.serial;
        // The decoder lends out its buffer while we act on the shard: it is put back afterwards.
        let mut decoder = std::mem::replace(&mut connection.decoder, Decoder::new(Role::Server));
        let limits = Limits { deflate: connection.form.deflate, ..self.settings.decoder };
        let mut position = 0;
        loop {
            match decoder.next(bytes, &mut position, &limits) {
                Ok(None) => break,
                Ok(Some(event)) => self.event(conn, event),
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
            connection.decoder = decoder;
        }
    }

    fn event(&mut self, conn: u32, event: Event<'_>) {
        match event {
            Event::Pong(_) => {}
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
            Ok(event) => self.event(conn, event),
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
